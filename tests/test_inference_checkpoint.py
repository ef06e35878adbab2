"""Model folders: what is saved comes back, and what does not belong together says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from app.errors import ModelDamaged
from app.inference.checkpoint import (
    INDEX_NAME,
    MEASURE,
    SIMULATOR,
    list_models,
    load_beginning,
    load_checkpoint,
    save_checkpoint,
    seal,
)
from app.tokens._base import languages
from tests.tiny_models import save_tiny_model, tiny_decoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path, "analog", name="tiny", seed=3)


def changed(folder: Path, name: str, **fields: object) -> None:
    """A JSON file of the folder has other fields, and the manifest knows."""
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    seal(folder)


def damage_of(folder: Path) -> str:
    with pytest.raises(ModelDamaged) as caught:
        load_checkpoint(folder)
    return str(caught.value)


def test_a_saved_model_comes_back_rounded_to_bfloat16(folder: Path):
    checkpoint = load_checkpoint(folder)
    original = tiny_decoder(len(languages["device_lines"].vocabulary), seed=3)
    assert (checkpoint.name, checkpoint.kind, checkpoint.language.name) == ("tiny", "analog", "device_lines")
    assert checkpoint.network.config == original.config
    assert not checkpoint.network.training
    for name, tensor in original.state_dict().items():
        loaded = checkpoint.network.state_dict()[name]
        assert loaded.dtype == torch.float32
        assert torch.equal(loaded, tensor.to(torch.bfloat16).to(torch.float32)), name


def test_a_loaded_model_can_be_saved_again_without_another_bit(folder: Path, tmp_path: Path):
    first = load_checkpoint(folder)
    save_checkpoint(
        tmp_path / "again", first.network, first.language, name="tiny", kind="analog", training=first.config["training"]
    )
    second = load_checkpoint(tmp_path / "again")
    assert second.sha256 == first.sha256
    for name in ("config.json", "vocabulary.json", "weights.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_the_checksum_names_the_weights(folder: Path, tmp_path: Path):
    other = save_tiny_model(tmp_path / "elsewhere", "analog", name="tiny", seed=4)
    assert load_checkpoint(folder).sha256 != load_checkpoint(other).sha256


def test_a_model_without_a_card_has_an_empty_one(folder: Path):
    assert load_checkpoint(folder).card == {}
    (folder / "card.json").write_text('{"evaluation": {"count": 1}}')
    assert load_checkpoint(folder).card == {"evaluation": {"count": 1}}


def test_models_are_the_folders_with_a_configuration(folder: Path, tmp_path: Path):
    save_tiny_model(tmp_path, "quantum", name="another")
    (tmp_path / "notes").mkdir()
    assert list_models(tmp_path) == ["another", "tiny"]
    assert list_models(tmp_path / "nowhere") == []


@pytest.mark.parametrize("kind", [MEASURE, SIMULATOR])
def test_a_network_that_only_measures_or_predicts_is_no_model(folder: Path, tmp_path: Path, kind: str):
    other = save_tiny_model(tmp_path, "analog", name="judge")
    changed(other, "config.json", kind=kind)
    assert list_models(tmp_path) == ["tiny"]


def test_a_configuration_that_cannot_be_read_is_listed_so_that_loading_says_why(folder: Path, tmp_path: Path):
    (folder / "config.json").write_text("[]")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "config.json").write_text("{")
    assert list_models(tmp_path) == ["tiny", "torn"]


@pytest.mark.parametrize("name", ["weights.safetensors", "vocabulary.json", "config.json"])
def test_a_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    assert damage_of(folder) == f"model tiny: {name} is missing; restore models/tiny from the repository"


@pytest.mark.parametrize("name", ["weights.safetensors", "vocabulary.json", "config.json"])
def test_a_file_that_was_changed_is_named(folder: Path, name: str):
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    assert damage_of(folder) == (
        f"model tiny: {name} does not match its checksum; restore models/tiny from the repository, or train it anew "
        "with 'josephson train'"
    )


def test_a_missing_manifest_is_damage(folder: Path):
    (folder / "manifest.json").unlink()
    assert damage_of(folder).startswith("model tiny: manifest.json cannot be read (")
    assert damage_of(folder).endswith("or train it anew with 'josephson train'")


def test_another_vocabulary_is_damage(folder: Path):
    tokens = json.loads((folder / "vocabulary.json").read_text())
    (folder / "vocabulary.json").write_text(json.dumps([*tokens[:-1], "N999"]))
    seal(folder)
    assert damage_of(folder) == (
        "model tiny: its vocabulary is not that of the language 'device_lines' in this version; "
        "train it anew with 'josephson train', or go on from it with 'josephson train --from'"
    )


def test_another_format_is_damage(folder: Path):
    changed(folder, "config.json", format=99)
    assert damage_of(folder) == "model tiny: format 99, this version reads format 1"


def test_weights_cut_short_are_damage(folder: Path):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    seal(folder)
    assert damage_of(folder).startswith("model tiny: the weights do not fit its configuration (")


def test_weights_of_another_shape_are_damage(folder: Path):
    decoder = json.loads((folder / "config.json").read_text())["decoder"]
    changed(folder, "config.json", decoder={**decoder, "mlp_width": 8})
    assert damage_of(folder).startswith("model tiny: the weights do not fit its configuration (")


def test_weights_that_are_not_there_are_damage(folder: Path):
    (folder / "weights.safetensors").unlink()
    seal(folder)
    assert damage_of(folder).startswith("model tiny: the weights do not fit its configuration (")


def test_saving_anew_leaves_nothing_that_was_said_of_the_earlier_model(folder: Path):
    (folder / INDEX_NAME).write_bytes(b"index")
    (folder / "card.json").write_text("{}")
    (folder / "weights-2.safetensors").write_bytes(b"of an older, larger model")
    language = languages["device_lines"]
    network = tiny_decoder(len(language.vocabulary), seed=8)
    save_checkpoint(folder, network, language, name="tiny", kind="analog", training={})
    assert not (folder / "weights-2.safetensors").exists()
    assert not (folder / INDEX_NAME).exists()
    assert load_checkpoint(folder).card == {}


@pytest.mark.slow
def test_weights_beyond_sixteen_megabytes_come_in_several_files(tmp_path: Path):
    language = languages["device_lines"]
    network = tiny_decoder(len(language.vocabulary), width=1024)
    save_checkpoint(tmp_path / "wide", network, language, name="wide", kind="analog", training={})
    files = sorted((tmp_path / "wide").glob("weights*.safetensors"))
    assert [path.name for path in files] == [f"weights-{number}.safetensors" for number in range(1, len(files) + 1)]
    assert len(files) > 1
    assert all(path.stat().st_size < 16_000_000 for path in files)
    loaded = load_checkpoint(tmp_path / "wide").network
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.to(torch.bfloat16).to(torch.float32))


def test_training_goes_on_from_the_weights_as_they_are(folder: Path):
    beginning, checkpoint = load_beginning(folder), load_checkpoint(folder)
    assert beginning.config == checkpoint.config
    assert (beginning.sha256, beginning.new_tokens) == (checkpoint.sha256, 0)
    for name, tensor in checkpoint.network.state_dict().items():
        assert torch.equal(beginning.network.state_dict()[name], tensor), name


def test_training_goes_on_from_another_vocabulary_token_by_token(folder: Path):
    tokens = list(languages["device_lines"].vocabulary.tokens)
    before = load_checkpoint(folder).network.state_dict()
    others = ["unheard", *reversed(tokens[:-3])]
    weights = {key: tensor.to(torch.bfloat16) for key, tensor in before.items()}
    old = torch.stack([torch.zeros_like(weights["embedding.weight"][0]), *weights["embedding.weight"][:-3].flip(0)])
    save_file({**weights, "embedding.weight": old}, folder / "weights.safetensors")
    (folder / "vocabulary.json").write_text(json.dumps(others))
    config = json.loads((folder / "config.json").read_text())
    changed(folder, "config.json", decoder={**config["decoder"], "vocab": len(others)})
    with pytest.raises(ModelDamaged, match="or go on from it with 'josephson train --from'"):
        load_checkpoint(folder)
    beginning = load_beginning(folder)
    assert (beginning.new_tokens, beginning.network.config.vocab) == (3, len(tokens))
    after = beginning.network.state_dict()
    assert torch.equal(after["embedding.weight"][:-3], before["embedding.weight"][:-3])
    assert 0.005 < float(after["embedding.weight"][-3:].std()) < 0.05, "as those of a new network are"
    assert torch.equal(after["embedding.weight"], load_beginning(folder).network.embedding.weight)
    for name in before.keys() - {"embedding.weight"}:
        assert torch.equal(after[name], before[name]), name


def test_weights_that_do_not_fit_are_no_beginning(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    changed(folder, "config.json", decoder={**config["decoder"], "width": 32})
    with pytest.raises(ModelDamaged, match="model tiny: the weights do not fit its configuration"):
        load_beginning(folder)
