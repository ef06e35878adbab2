"""A trained model on disk: configuration, vocabulary, weights, card, checksums. Loading checks that they fit together.

models/<name>/config.json        name, kind, language, shape of the decoder, what it was trained on
models/<name>/vocabulary.json    token names in id order
models/<name>/weights.safetensors (bfloat16; or weights-1.safetensors ... where one file would exceed 16 MB)
models/<name>/manifest.json      sha256 of every other file
models/<name>/card.md, card.json what it can and cannot do
models/<name>/training_index.npz what it has seen, as hashes
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from app.errors import ModelDamaged
from app.nn.decoder import Decoder, DecoderConfig
from app.tokens._base import Language, languages

FORMAT = 1

#: The `kind` in the configuration of networks that generate no circuits: one that judges them, one that predicts what
#: they do.
MEASURE, SIMULATOR = "measure", "simulator"

#: The file of a model folder that says what the model has seen; `measures.novelty.TrainingIndex` reads it.
INDEX_NAME = "training_index.npz"

_LARGEST_SHARD = 15_500_000
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model. `config` is config.json as it is; `sha256` names the weights."""

    folder: Path
    name: str
    kind: str
    language: Language[Any, Any, Any]
    network: Decoder
    config: Mapping[str, Any]
    sha256: str

    @property
    def card(self) -> Mapping[str, Any]:
        """card.json, or an empty mapping where the model has none yet."""
        path = self.folder / "card.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def save_checkpoint(
    folder: Path,
    network: Decoder,
    language: Language[Any, Any, Any],
    *,
    name: str,
    kind: str,
    training: Mapping[str, Any],
) -> None:
    """The folder holds the model with weights rounded to bfloat16, and nothing that was said of an earlier one."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("weights*.safetensors", "card.*", INDEX_NAME):
        for old in folder.glob(pattern):
            old.unlink()
    config = {
        "format": FORMAT, "name": name, "kind": kind, "language": language.name,
        "decoder": asdict(network.config), "parameters": network.parameter_count(), "training": dict(training),
    }  # fmt: skip
    _write_json(folder / "config.json", config)
    _write_json(folder / "vocabulary.json", list(language.vocabulary.tokens))
    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for key, tensor in network.state_dict().items():
        half = tensor.detach().to("cpu", torch.bfloat16).contiguous()
        if size + half.nbytes > _LARGEST_SHARD and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][key] = half
        size += half.nbytes
    for number, shard in enumerate(shards, 1):
        suffix = "" if len(shards) == 1 else f"-{number}"
        path = folder / f"weights{suffix}.safetensors"
        save_file(shard, path)
        path.chmod(0o644)  # the library makes it the owner's alone, an installed model is everybody's to read
    seal(folder)


def list_models(folder: Path) -> list[str]:
    """Names of the folders of generators in `folder`, in order.

    A folder is a model when it has a configuration, also one that cannot be read: loading it says why. A measure's or
    a simulator's network is sealed and verified like a model, but generates nothing.
    """
    folders = (path.parent for path in folder.glob("*/config.json"))
    return sorted(each.name for each in folders if not _generates_nothing(each))


def kind_of(folder: Path) -> str | None:
    """The kind of a model by its configuration, None where that says none; ModelDamaged where it cannot be read."""
    about = _read_json(folder / "config.json")
    return about.get("kind") if isinstance(about, Mapping) else None


def _generates_nothing(folder: Path) -> bool:
    try:
        return kind_of(folder) in (MEASURE, SIMULATOR)
    except ModelDamaged:
        return False


def seal(folder: Path) -> None:
    """manifest.json holds the checksum of every file of the folder."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != _MANIFEST)
    _write_json(folder / _MANIFEST, {path.name: _sha256(path) for path in files})


def verify(folder: Path) -> None:
    """Every file of the manifest is there and unchanged, else ModelDamaged that names the first one that is not."""
    manifest = _read_json(folder / _MANIFEST)
    for name, expected in manifest.items():
        path = folder / str(name)
        if not path.is_file():
            raise ModelDamaged(
                f"model {folder.name}: {name} is missing; restore models/{folder.name} from the repository"
            )
        if _sha256(path) != expected:
            raise ModelDamaged(
                f"model {folder.name}: {name} does not match its checksum; restore models/{folder.name} from the "
                "repository, or train it anew with 'josephson train'"
            )


def load_checkpoint(folder: Path) -> Checkpoint:
    """The model of a folder, in float32 on the CPU, in evaluation.

    Raises:
        ModelDamaged: a file is missing or changed, or the files do not belong together.
    """
    config, tokens = _read_config(folder)
    language = languages[config["language"]]
    if tokens != list(language.vocabulary.tokens):
        raise ModelDamaged(
            f"model {folder.name}: its vocabulary is not that of the language {language.name!r} in this version; "
            "train it anew with 'josephson train', or go on from it with 'josephson train --from'"
        )
    weights, sha256 = _read_weights(folder)
    network = _network(folder, config["decoder"], weights)
    return Checkpoint(folder, config["name"], config["kind"], language, network, config, sha256)


@dataclass(frozen=True)
class Beginning:
    """What training goes on from: a model's `network` for the vocabulary that its language has now, of which
    `new_tokens` were not known to it. `config` is config.json as it is; `sha256` names the weights.
    """

    config: Mapping[str, Any]
    network: Decoder
    sha256: str
    new_tokens: int


def load_beginning(folder: Path) -> Beginning:
    """A model to go on from, also one of an earlier version of its language.

    A token that the vocabulary had then keeps its vector; vectors of new ones are drawn as those of a new network are.

    Raises:
        ModelDamaged: a file is missing or changed, or the files do not belong together.
    """
    config, tokens = _read_config(folder)
    vocabulary = languages[config["language"]].vocabulary
    weights, sha256 = _read_weights(folder)
    decoder = {**config["decoder"], "vocab": len(vocabulary)}
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        vectors = Decoder(DecoderConfig(**decoder)).embedding.weight.detach()
    place = {token: number for number, token in enumerate(tokens)}
    kept = [(number, place[token]) for number, token in enumerate(vocabulary.tokens) if token in place]
    before = weights.get("embedding.weight")
    if before is not None and before.shape == (len(tokens), vectors.shape[1]):
        vectors[[ours for ours, _ in kept]] = before[[theirs for _, theirs in kept]].to(torch.float32)
        weights["embedding.weight"] = vectors
    return Beginning(config, _network(folder, decoder, weights), sha256, len(vocabulary) - len(kept))


def _read_config(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """config.json and the vocabulary of a folder whose files are whole."""
    verify(folder)
    config = _read_json(folder / "config.json")
    if config.get("format") != FORMAT:
        raise ModelDamaged(f"model {folder.name}: format {config.get('format')!r}, this version reads format {FORMAT}")
    return config, _read_json(folder / "vocabulary.json")


def _read_weights(folder: Path) -> tuple[dict[str, torch.Tensor], str]:
    """All weights of a folder, and their checksum."""
    weights: dict[str, torch.Tensor] = {}
    digest = hashlib.sha256()
    try:
        for path in sorted(folder.glob("weights*.safetensors")):
            digest.update(path.read_bytes())
            weights.update(load_file(path))
    except (SafetensorError, OSError) as error:
        raise _unfit(folder, error) from error
    return weights, digest.hexdigest()


def _network(folder: Path, decoder: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> Decoder:
    """A decoder with these weights, in float32, in evaluation."""
    network = Decoder(DecoderConfig(**decoder))
    try:
        network.load_state_dict({key: tensor.to(torch.float32) for key, tensor in weights.items()})
    except RuntimeError as error:
        raise _unfit(folder, error) from error
    return network.eval()


def _unfit(folder: Path, error: Exception) -> ModelDamaged:
    return ModelDamaged(f"model {folder.name}: the weights do not fit its configuration ({error})")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelDamaged(
            f"model {path.parent.name}: {path.name} cannot be read ({error}); restore models/{path.parent.name} from "
            "the repository, or train it anew with 'josephson train'"
        ) from error
