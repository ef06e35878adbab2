"""The training loop on a dozen archetypes, and whole runs from a recipe file to a model folder."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from app.analog.dataset import read_dataset
from app.analog.netlist import Netlist
from app.errors import InvalidRequest, Unavailable
from app.inference.checkpoint import INDEX_NAME, load_checkpoint, save_checkpoint, seal
from app.measures.novelty import TrainingIndex
from app.nn.decoder import Decoder
from app.quantum.program import Operation, QuantumProgram
from app.quantum.qasm import write_qasm2
from app.tokens.device_lines import VOCABULARY, DeviceLines
from app.training import analog, trainer
from app.training.corpora import facts_of, prepared_corpus, read_examples
from app.training.loop import Progress, TrainingResult
from app.training.prepared import Prepared, prepare
from app.training.recipe import NetworkShape, Recipe, read_recipe
from app.training.run import TrainingRun, check_writable, shortened, train
from app.training.sentences import SentenceStream, pack, pad
from app.training.trainer import Trainer, batch_loss, held_out_loss
from tests.tiny_models import CPU, save_tiny_model, tiny_decoder

SHAPE = NetworkShape(width=16, layers=1, heads=2, kv_heads=2, mlp_width=32, dropout=0.0)
RECIPE = Recipe(
    "analog", "toy", "device_lines", tokens=60_000, batch_tokens=2048, context=256, learning_rate=1e-2,
    warmup_tokens=2_000, ema_tokens=5_000, precision="float32", network=SHAPE,
)  # fmt: skip

REPOSITORY = Path(__file__).resolve().parent.parent
LANGUAGE = DeviceLines()
EXAMPLES = analog.examples(tuple(sorted(read_dataset(None).circuits, key=lambda c: len(c.netlist.devices))[:12]))
STREAM = SentenceStream(EXAMPLES, LANGUAGE.encode, context=256, label_exponent=0.5)


def trainer_in(folder: Path, recipe: Recipe = RECIPE) -> Trainer:
    return Trainer(recipe, STREAM, STREAM.fixed(0), len(VOCABULARY), folder, CPU)


def finished(trainer: Trainer) -> tuple[TrainingResult[Decoder], list[Progress]]:
    told: list[Progress] = []
    result = trainer.run(report=told.append)
    assert result is not None
    return result, told


def test_a_run_on_a_dozen_archetypes_learns_them(tmp_path: Path):
    untrained = held_out_loss(trainer_in(tmp_path).network, STREAM.fixed(0), "float32", CPU)
    assert untrained == pytest.approx(math.log(len(VOCABULARY)), abs=0.2)
    result, told = finished(trainer_in(tmp_path))
    assert result.held_out < 0.55 * untrained
    assert told[-1].loss < 0.8 * told[0].loss
    assert [progress.total for progress in told] == [RECIPE.tokens] * len(told)
    assert told[-1].done == result.done >= RECIPE.tokens
    assert not result.network.training
    assert result.held_out == held_out_loss(result.network, STREAM.fixed(0), "float32", CPU)


def test_the_log_holds_what_the_history_holds(tmp_path: Path):
    result, _ = finished(trainer_in(tmp_path, replace(RECIPE, tokens=1_000)))
    lines = [json.loads(line) for line in (tmp_path / "log.ndjson").read_text().splitlines()]
    assert [{key: line[key] for key in result.history[0]} for line in lines] == result.history
    assert set(lines[0]) == {"tokens", "loss", "held_out", "seconds", "tokens_per_s", "left_s"}
    assert lines[0]["tokens_per_s"] > 0


def test_progress_tells_the_speed_and_what_is_left_at_it():
    at = Progress(done=400, total=1000, loss=1.0, held_out=1.0, seconds=9.0, per_s=30.0)
    assert at.left_s == 20.0
    assert replace(at, done=1100).left_s == 0.0
    assert math.isnan(replace(at, per_s=math.nan).left_s)


@pytest.mark.parametrize("matrix_learning_rate", [0.0, 5e-3], ids=["AdamW", "Muon"])
@pytest.mark.parametrize("is_packed", [False, True], ids=["padded", "packed"])
def test_a_run_that_was_interrupted_ends_where_it_would_have_ended(
    tmp_path: Path, matrix_learning_rate: float, is_packed: bool
):
    shape = replace(SHAPE, dropout=0.2)
    recipe = replace(RECIPE, tokens=16_000, matrix_learning_rate=matrix_learning_rate, packed=is_packed, network=shape)
    whole, _ = finished(trainer_in(tmp_path / "whole", recipe))
    folder, interruptions = tmp_path / "pieces", 0
    while True:
        trainer = trainer_in(folder, recipe)
        assert trainer.resume() == (interruptions > 0)
        result = trainer.run(seconds=0.0)
        if result is not None:
            break
        interruptions += 1
        assert (folder / "state.pt").is_file()
        assert not (folder / "state.pt.partial").exists()
    assert interruptions >= 2
    assert (result.done, result.held_out) == (whole.done, whole.held_out)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(result.network.state_dict()[name], tensor)


def test_a_run_may_go_on_for_more_tokens_but_not_by_another_recipe_or_corpus(tmp_path: Path):
    finished(trainer_in(tmp_path, replace(RECIPE, tokens=1_000)))
    assert trainer_in(tmp_path, replace(RECIPE, tokens=3_000, name="longer")).resume()
    with pytest.raises(
        InvalidRequest, match=r"state\.pt is of another recipe: learning_rate was 0\.01 and is 0\.02; go on"
    ):
        trainer_in(tmp_path, replace(RECIPE, learning_rate=2e-2)).resume()
    other = SentenceStream(EXAMPLES[:5], LANGUAGE.encode, context=256, label_exponent=0.5)
    with pytest.raises(InvalidRequest, match=r"state\.pt is of another corpus: 12 circuits of [\d.]+ tokens, now 5"):
        Trainer(RECIPE, other, [], len(VOCABULARY), tmp_path, CPU).resume()


@pytest.mark.parametrize("content", [b"", b"nonsense", None], ids=["empty", "nonsense", "of another program"])
def test_a_state_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None):
    if content is None:
        torch.save({"network": {}}, tmp_path / "state.pt")
    else:
        (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(
        InvalidRequest, match=r"state\.pt is no state of a training run that this version can go on from"
    ):
        trainer_in(tmp_path).resume()


def test_a_resumed_log_has_no_lines_of_what_is_done_again(tmp_path: Path):
    trainer_in(tmp_path).run(seconds=0.0)
    log = tmp_path / "log.ndjson"
    before = log.read_text()
    log.write_text(before + json.dumps({"tokens": 50_000}) + '\n{"tok')
    assert trainer_in(tmp_path).resume()
    assert log.read_text() == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a full disk at hand, /dev/full")
def test_a_folder_that_cannot_be_written_is_said_and_nothing_half_written_stays(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(
        Unavailable, match=r"log\.ndjson cannot be written \(Not a directory\); make room or name another"
    ):
        trainer_in(tmp_path / "file" / "work").run(seconds=0.0)
    (tmp_path / "state.pt.partial").symlink_to("/dev/full")
    with pytest.raises(Unavailable, match=r"state\.pt cannot be written \(.*No space left on device.*\); make room"):
        trainer_in(tmp_path).run(seconds=0.0)
    assert not (tmp_path / "state.pt.partial").is_symlink()
    assert not (tmp_path / "state.pt").exists()


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path):
    wild = replace(RECIPE, learning_rate=1e30, warmup_tokens=0, gradient_clip=1e30)
    with pytest.raises(InvalidRequest, match=r"the loss became (nan|inf) after \d+ tokens; go on from the last state"):
        trainer_in(tmp_path, wild).run()


def test_a_run_starts_from_given_weights(tmp_path: Path):
    short = replace(RECIPE, tokens=4_000)
    first, _ = finished(trainer_in(tmp_path / "first", short))
    assert held_out_loss(first.network, STREAM.fixed(0), "float32", CPU) == first.held_out
    second = Trainer(
        short, STREAM, STREAM.fixed(0), len(VOCABULARY), tmp_path / "second", CPU, initial=first.network
    )  # fmt: skip
    assert held_out_loss(second.network, STREAM.fixed(0), "float32", CPU) == first.held_out
    result, told = finished(second)
    assert told[0].held_out == pytest.approx(first.held_out, abs=0.5)
    assert result.held_out < first.held_out
    for name, tensor in first.network.state_dict().items():
        assert not torch.equal(result.network.state_dict()[name], tensor), name


def test_a_run_goes_on_only_from_the_weights_that_it_started_from(tmp_path: Path):
    def begun(weights: str | None) -> Trainer:
        return Trainer(RECIPE, STREAM, [], len(VOCABULARY), tmp_path, CPU, beginning=weights)

    begun("abc").run(seconds=0.0)
    assert begun("abc").resume()
    for other in ("def", None):
        with pytest.raises(InvalidRequest, match=f"another recipe: beginning was 'abc' and is {other!r}; go on"):
            begun(other).resume()


def test_given_weights_of_another_shape_are_refused(tmp_path: Path):
    with pytest.raises(InvalidRequest, match="the initial network has layers 2, recipe toy wants 1"):
        Trainer(RECIPE, STREAM, [], len(VOCABULARY), tmp_path, CPU, initial=tiny_decoder(len(VOCABULARY), kv_heads=2))


@pytest.mark.slow
def test_a_network_that_cannot_be_compiled_is_said(tmp_path: Path):
    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from dataclasses import replace\n"
        "from tests.test_training_trainer import RECIPE, trainer_in\n"
        "trainer_in(Path(sys.argv[1]), replace(RECIPE, packed=True, compile=True)).run(seconds=0.0)\n"
    )
    environment = {**os.environ, "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert (
        "Unavailable: recipe toy wants the network compiled, which this machine cannot do; set compile" in done.stderr
    )


def test_the_same_seed_learns_the_same_and_another_seed_another_way(tmp_path: Path):
    short = replace(RECIPE, tokens=1_000)
    first, again, other = (
        finished(trainer_in(tmp_path / str(n), replace(short, seed=seed)))[1][-1].loss
        for n, seed in enumerate((1, 1, 2))
    )
    assert first == again != other


def test_the_loss_of_a_batch_is_the_loss_of_its_sentences_padding_or_not():
    network = tiny_decoder(len(VOCABULARY))
    sentences = STREAM.fixed(3)
    total = 0.0
    with torch.no_grad():
        for sentence in sentences:
            scores = network(torch.tensor([sentence[:-1]]))[0]
            total += float(F.cross_entropy(scores, torch.tensor(sentence[1:]), reduction="sum"))
    count = sum(len(sentence) - 1 for sentence in sentences)
    assert len({len(sentence) for sentence in sentences}) > 1
    assert held_out_loss(network, sentences, "float32", CPU) == pytest.approx(total / count, rel=1e-5)


def test_packed_and_padded_sentences_have_the_same_loss_and_gradient():
    network = tiny_decoder(len(VOCABULARY)).train()
    sentences = STREAM.fixed(3)
    found = []
    for batch in (pad(sentences), pack(sentences, 256, 2)):
        network.zero_grad()
        loss = batch_loss(network, batch, "float32", CPU)
        torch.autograd.backward(loss)
        found.append((float(loss.detach()), [p.grad.clone() for p in network.parameters() if p.grad is not None]))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-5)
    assert len(found[0][1]) == len(list(network.parameters()))
    for padded, packed in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(packed, padded, rtol=0, atol=1e-5)


def test_training_in_bfloat16_learns_as_well(tmp_path: Path):
    result, told = finished(trainer_in(tmp_path, replace(RECIPE, tokens=30_000, precision="bfloat16")))
    assert told[-1].loss < told[0].loss
    assert all(parameter.dtype == torch.float32 for parameter in result.network.parameters())


TINY_RECIPE = """
kind = "{kind}"
name = "tiny-{kind}"
language = "{language}"
tokens = 20_000
batch_tokens = 2048
context = 256
learning_rate = 1e-2
warmup_tokens = 1_000
held_out_share = {held_out_share}
precision = "float32"
[network]
width = 16
layers = 1
heads = 2
kv_heads = 2
mlp_width = 32
"""


def recipe_in(folder: Path, kind: str, held_out_share: float = 0.2) -> Recipe:
    language = {"analog": "device_lines", "quantum": "qasm_domain"}[kind]
    path = folder / "tiny.toml"
    path.write_text(TINY_RECIPE.format(kind=kind, language=language, held_out_share=held_out_share))
    return read_recipe(kind, str(path))


def few(held_out_share: float = 0.2) -> Prepared:
    """A dozen archetypes, prepared; the last three are held out unless nothing is."""
    return prepare(
        EXAMPLES, [n >= 9 and held_out_share > 0 for n in range(12)], LANGUAGE, facts_of,
        kind="analog", corpus="a dozen archetypes", split="by hand", held_out_share=held_out_share, unit="device",
    )  # fmt: skip


def test_a_recipe_file_becomes_a_model_folder_that_loads(tmp_path: Path):
    recipe = recipe_in(tmp_path, "analog")
    corpus = prepared_corpus("analog", "device_lines", 0.2, None)
    run = TrainingRun(recipe, tmp_path / "work", tmp_path / "models" / "tiny", command="josephson train analog")
    result = train(run, corpus)
    assert result is not None
    checkpoint = load_checkpoint(tmp_path / "models" / "tiny")
    training = checkpoint.config["training"]
    assert (checkpoint.name, checkpoint.kind) == ("tiny-analog", "analog")
    assert training["training_circuits"] + training["held_out_circuits"] + sum(training["left_out"].values()) >= 60
    assert training["held_out_circuits"] > 0
    assert training["tokens_seen"] == result.done >= 20_000
    assert training["held_out_nats_per_token"] == round(result.held_out, 4)
    assert training["held_out_bits_per_unit"] > training["held_out_nats_per_token"] / math.log(2)
    assert (training["split"], training["unit"]) == ("by wiring and by the op-amps inside", "device")
    assert "archetypes of data/archetypes; complements of " in training["corpus"]
    assert training["command"] == "josephson train analog"
    assert training["recipe"] == recipe.as_json()
    seen = TrainingIndex.load(tmp_path / "models" / "tiny" / INDEX_NAME)
    assert len(seen) == training["training_circuits"]
    assert json.loads((tmp_path / "work" / "facts.json").read_text()) == training


def test_a_run_out_of_time_keeps_its_state_and_leaves_no_model(tmp_path: Path):
    run = TrainingRun(recipe_in(tmp_path, "analog"), tmp_path / "work", tmp_path / "model", seconds=0.0)
    assert train(run, few()) is None
    assert (tmp_path / "work" / "state.pt").is_file()
    assert not (tmp_path / "model").exists()
    assert train(replace(run, seconds=None), few()) is not None
    assert load_checkpoint(tmp_path / "model").name == "tiny-analog"


def test_a_run_that_goes_on_from_a_model_begins_with_its_weights_and_has_seen_what_it_had(tmp_path: Path):
    recipe = shortened(recipe_in(tmp_path, "analog"), 1_000)
    first = train(TrainingRun(recipe, tmp_path / "work", tmp_path / "first"), few())
    assert first is not None
    folder = tmp_path / "first"
    mark = [("f" * 32, Counter({7: 1}))]
    TrainingIndex.load(folder / INDEX_NAME).joined(TrainingIndex.build(mark)).save(folder / INDEX_NAME)
    seal(folder)
    told: list[Progress] = []
    again = TrainingRun(recipe, tmp_path / "again", tmp_path / "second", beginning=folder)
    assert train(again, few(), told.append) is not None
    assert told[0].held_out == pytest.approx(first.held_out, abs=0.3)
    training = load_checkpoint(tmp_path / "second").config["training"]
    before = load_checkpoint(folder)
    assert training["from"] == {
        "model": "tiny-analog", "weights": before.sha256, "new_tokens": 0, "from": None,
        "command": before.config["training"]["command"], "tokens_seen": first.done,
    }  # fmt: skip
    assert "from" not in before.config["training"]
    seen = TrainingIndex.load(tmp_path / "second" / INDEX_NAME)
    assert len(seen) == training["training_circuits"] + 1
    assert seen.knows("f" * 32)


def test_a_run_goes_on_from_a_model_of_its_own_kind_and_shape(tmp_path: Path):
    recipe = recipe_in(tmp_path, "analog")
    other, wider = save_tiny_model(tmp_path, "quantum", name="other"), save_tiny_model(tmp_path, "analog", name="wider")
    run = TrainingRun(recipe, tmp_path / "work", tmp_path / "model", beginning=other)
    with pytest.raises(InvalidRequest, match="model other has kind 'quantum', recipe tiny-analog wants 'analog'"):
        train(run, few())
    with pytest.raises(InvalidRequest, match="the initial network has layers 2, recipe tiny-analog wants 1"):
        train(replace(run, beginning=wider), few())


def test_in_the_course_of_a_run_the_loss_is_taken_on_some_of_many_held_out_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    judged: list[int] = []
    usual = trainer.held_out_loss

    def held_out_loss(network: Decoder, sentences: Sequence[list[int]], *rest: Any) -> float:
        judged.append(len(sentences))
        return usual(network, sentences, *rest)

    monkeypatch.setattr(trainer, "held_out_loss", held_out_loss)
    sentences = STREAM.fixed(0)
    monkeypatch.setattr(trainer, "_SPOT_TOKENS", sum(map(len, sentences)) // 3)
    finished(trainer_in(tmp_path, replace(RECIPE, tokens=6_000)))
    assert 1 < judged[0] < len(sentences)
    assert judged[-1] == len(sentences)


def test_a_run_that_holds_nothing_out_claims_no_held_out_loss(tmp_path: Path):
    recipe = shortened(recipe_in(tmp_path, "analog", held_out_share=0.0), 1_000)
    train(TrainingRun(recipe, tmp_path / "work", tmp_path / "model"), few(0.0))
    training = load_checkpoint(tmp_path / "model").config["training"]
    assert training["held_out_circuits"] == 0
    assert training["held_out_nats_per_token"] is None
    assert training["held_out_bits_per_unit"] is None


def some_programs() -> list[tuple[str, QuantumProgram]]:
    ghz = [
        QuantumProgram(n, 0, (Operation("h", (0,)), *(Operation("cx", (q, q + 1)) for q in range(n - 1))))
        for n in range(3, 9)
    ]
    rotations = [
        QuantumProgram(n, 0, tuple(Operation("ry", (q,), (0.3 + q,)) for q in range(n)) * 2) for n in range(3, 9)
    ]
    return [("ghz", program) for program in ghz] + [("vqe_other", program) for program in rotations]


def test_sentences_begin_anywhere_as_often_as_the_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: Counter[bool] = Counter()
    usual = DeviceLines.encode

    def encode(self: DeviceLines, circuit: Netlist, label: str, rng: random.Random, **how: bool) -> list[int]:
        calls[how.get("begins_anywhere", False)] += 1
        return usual(self, circuit, label, rng, **how)

    monkeypatch.setattr(DeviceLines, "encode", encode)
    recipe = replace(recipe_in(tmp_path, "analog"), anywhere_share=0.5)
    train(TrainingRun(recipe, tmp_path / "work", tmp_path / "model"), few())
    assert calls[True] > 100
    assert 0.3 < calls[True] / calls.total() < 0.55
    other = replace(few(), about=replace(few().about, language="eulerian"))
    with pytest.raises(InvalidRequest, match="has anywhere_share, which is nothing to language eulerian; leave it out"):
        train(TrainingRun(replace(recipe, language="eulerian"), tmp_path / "other", tmp_path / "model"), other)


def test_programs_in_a_file_become_a_quantum_model(tmp_path: Path):
    rows = [
        {"id": str(n), "family": family, "kind": "algorithm", "source": "here", "regenerable": True,
         "qasm": write_qasm2(program)}
        for n, (family, program) in enumerate(some_programs())
    ]  # fmt: skip
    (tmp_path / "circuits.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    recipe = shortened(recipe_in(tmp_path, "quantum"), 2_000)
    corpus = prepared_corpus("quantum", "qasm_domain", 0.2, tmp_path)
    train(TrainingRun(recipe, tmp_path / "work", tmp_path / "model"), corpus)
    checkpoint = load_checkpoint(tmp_path / "model")
    training = checkpoint.config["training"]
    assert (checkpoint.kind, checkpoint.language.name) == ("quantum", "qasm_domain")
    assert training["training_circuits"] + training["held_out_circuits"] == len(rows)
    assert (training["split"], training["unit"]) == ("by skeleton", "statement")
    assert corpus.about.corpus == training["corpus"] == "JSON Lines corpus, 12 of 12 programs (here 12)"
    assert len(TrainingIndex.load(tmp_path / "model" / INDEX_NAME)) == training["training_circuits"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"kind": "quantum"},
            "the corpus was prepared with kind 'analog', recipe tiny-analog wants 'quantum'; prepare it",
        ),
        ({"language": "eulerian"}, "prepared with language 'device_lines', recipe tiny-analog wants 'eulerian'"),
        ({"held_out_share": 0.5}, r"prepared with held_out_share 0\.2, recipe tiny-analog wants 0\.5"),
        ({"context": 3}, r"no circuit to train on: \{'longer than the context': 9\} of 9 were left out"),
    ],
)
def test_a_recipe_for_another_corpus_is_refused(tmp_path: Path, change: dict[str, Any], sentence: str):
    recipe = replace(recipe_in(tmp_path, "analog"), **change)
    with pytest.raises(InvalidRequest, match=sentence):
        train(TrainingRun(recipe, tmp_path / "work", tmp_path / "model"), few())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an accelerator")
def test_an_accelerator_that_is_not_there_is_said(tmp_path: Path):
    run = TrainingRun(recipe_in(tmp_path, "analog"), tmp_path / "work", tmp_path / "model", device="cuda")
    with pytest.raises(Unavailable, match="no CUDA accelerator that this torch can use; train with --device cpu, or"):
        train(run, few())


def test_an_output_that_cannot_be_written_is_said_before_training(tmp_path: Path):
    recipe = recipe_in(tmp_path, "analog")
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match=r"model cannot be written to: .*/file is a file; name another folder"):
        train(TrainingRun(recipe, tmp_path / "work", tmp_path / "file" / "model"), few())
    assert not (tmp_path / "work").exists()


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write anywhere; for a while the process is not root, where it was."""
    was_root = os.geteuid() == 0
    if was_root:
        os.setresuid(65534, 65534, 0)
    yield
    if was_root:
        os.setresuid(0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="takes another user's identity for a while")
def test_a_folder_without_permission_is_said_before_training():
    with as_nobody(), pytest.raises(Unavailable) as caught:
        check_writable(Path("/usr/models/tiny"))
    assert str(caught.value) == "/usr/models/tiny cannot be written to: no permission for /usr; name another folder"


def test_a_model_that_cannot_be_written_leaves_the_finished_run(tmp_path: Path):
    run = TrainingRun(shortened(recipe_in(tmp_path, "analog"), 1_000), tmp_path / "work", tmp_path / "model")
    (tmp_path / "model" / "config.json").mkdir(parents=True)
    with pytest.raises(
        Unavailable, match=r"model cannot be written \(Is a directory\); the finished run is in .*state\.pt"
    ):
        train(run, few())
    (tmp_path / "model" / "config.json").rmdir()
    result = train(run, few())
    assert result is not None
    assert load_checkpoint(tmp_path / "model").config["training"]["tokens_seen"] == result.done


def test_a_large_network_is_saved_in_files_below_sixteen_megabytes(tmp_path: Path):
    shape = NetworkShape(width=512, layers=4, heads=8, kv_heads=8, mlp_width=1024, dropout=0.0)
    recipe = replace(RECIPE, tokens=1, batch_tokens=64, network=shape)
    network = Trainer(recipe, STREAM, [], len(VOCABULARY), tmp_path, CPU).network
    save_checkpoint(tmp_path / "model", network, LANGUAGE, name="large", kind="analog", training={})
    sizes = [path.stat().st_size for path in (tmp_path / "model").glob("weights-*.safetensors")]
    assert len(sizes) == 2
    assert max(sizes) < 16_000_000
    assert load_checkpoint(tmp_path / "model").network.parameter_count() == network.parameter_count()


def test_there_is_no_training_for_another_kind():
    with pytest.raises(InvalidRequest, match="no training for kind 'optical'; known: analog, quantum"):
        read_examples("optical", None)


def test_a_shortened_recipe_is_the_recipe_with_fewer_tokens():
    assert shortened(RECIPE, None) == RECIPE
    assert shortened(RECIPE, 7) == replace(RECIPE, tokens=7)
