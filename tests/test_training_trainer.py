"""The training loop on a dozen archetypes, and whole runs from a recipe file to a model folder."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from app.analog.corpus import read_archetypes
from app.errors import InvalidRequest
from app.inference.checkpoint import load_checkpoint
from app.measures.novelty import TrainingIndex
from app.quantum.program import Operation, QuantumProgram
from app.quantum.qasm import write_qasm2
from app.tokens.device_lines import VOCABULARY, DeviceLines
from app.training import analog
from app.training.recipe import NetworkShape, Recipe, read_recipe
from app.training.run import TrainingRun, read_examples, shortened, train, training_index
from app.training.sentences import SentenceStream
from app.training.trainer import Progress, Trainer, TrainingResult, held_out_loss
from tests.tiny_models import CPU, tiny_decoder

SHAPE = NetworkShape(width=16, layers=1, heads=2, kv_heads=2, mlp_width=32, dropout=0.0)
RECIPE = Recipe(
    "analog", "toy", "device_lines", tokens=60_000, batch_tokens=2048, context=256, learning_rate=1e-2,
    warmup_tokens=2_000, ema_tokens=5_000, precision="float32", network=SHAPE,
)  # fmt: skip

LANGUAGE = DeviceLines()
EXAMPLES = analog.examples(tuple(sorted(read_archetypes(), key=lambda c: len(c.netlist.devices))[:12]))
STREAM = SentenceStream(EXAMPLES, LANGUAGE.encode, context=256, label_exponent=0.5)


def trainer_in(folder: Path, recipe: Recipe = RECIPE) -> Trainer:
    return Trainer(recipe, STREAM, STREAM.fixed(0), len(VOCABULARY), folder, CPU)


def finished(trainer: Trainer) -> tuple[TrainingResult, list[Progress]]:
    told: list[Progress] = []
    result = trainer.run(report=told.append)
    assert result is not None
    return result, told


def test_a_run_on_a_dozen_archetypes_learns_them(tmp_path: Path):
    untrained = held_out_loss(trainer_in(tmp_path).network, STREAM.fixed(0), "float32", CPU)
    assert untrained == pytest.approx(math.log(len(VOCABULARY)), abs=0.2)
    result, told = finished(trainer_in(tmp_path))
    assert result.held_out_nats < 0.55 * untrained
    assert told[-1].loss < 0.7 * told[0].loss
    assert [progress.total for progress in told] == [RECIPE.tokens] * len(told)
    assert told[-1].tokens == result.tokens >= RECIPE.tokens
    assert not result.network.training
    assert result.held_out_nats == held_out_loss(result.network, STREAM.fixed(0), "float32", CPU)


def test_the_log_holds_what_the_history_holds(tmp_path: Path):
    result, _ = finished(trainer_in(tmp_path, replace(RECIPE, tokens=1_000)))
    lines = [json.loads(line) for line in (tmp_path / "log.ndjson").read_text().splitlines()]
    assert lines == result.history
    assert set(lines[0]) == {"tokens", "loss", "held_out", "seconds"}


@pytest.mark.parametrize("matrix_learning_rate", [0.0, 5e-3], ids=["AdamW", "Muon"])
def test_a_run_that_was_interrupted_ends_where_it_would_have_ended(tmp_path: Path, matrix_learning_rate: float):
    recipe = replace(RECIPE, matrix_learning_rate=matrix_learning_rate)
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
    assert result.tokens == whole.tokens
    for name, tensor in whole.network.state_dict().items():
        torch.testing.assert_close(result.network.state_dict()[name], tensor, rtol=0, atol=1e-6)


def test_the_same_seed_learns_the_same_and_another_seed_another_way(tmp_path: Path):
    short = replace(RECIPE, tokens=1_000)
    first, again, other = (
        finished(trainer_in(tmp_path / str(n), replace(short, seed=seed)))[1][0].loss
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


def test_a_recipe_file_becomes_a_model_folder_that_loads(tmp_path: Path):
    recipe = recipe_in(tmp_path, "analog")
    result = train(TrainingRun(recipe, None, tmp_path / "work", tmp_path / "models" / "tiny"))
    assert result is not None
    checkpoint = load_checkpoint(tmp_path / "models" / "tiny")
    training = checkpoint.config["training"]
    assert (checkpoint.name, checkpoint.kind) == ("tiny-analog", "analog")
    assert training["training_circuits"] + training["held_out_circuits"] + sum(training["left_out"].values()) >= 60
    assert training["held_out_circuits"] > 0
    assert training["tokens_seen"] == result.tokens >= 20_000
    assert training["held_out_nats_per_token"] == round(result.held_out_nats, 4)
    assert training["held_out_bits_per_unit"] > training["held_out_nats_per_token"] / math.log(2)
    assert (training["split"], training["unit"]) == ("by isomorphism class", "device")
    assert training["corpus"].endswith("archetypes of data/archetypes")
    assert training["command"] == "josephson train analog"
    assert training["recipe"] == recipe.as_json()
    seen = TrainingIndex.load(tmp_path / "models" / "tiny" / "training_index.npz")
    assert len(seen) == training["training_circuits"]
    assert json.loads((tmp_path / "work" / "facts.json").read_text()) == training


def test_a_run_out_of_time_keeps_its_state_and_leaves_no_model(tmp_path: Path):
    run = TrainingRun(recipe_in(tmp_path, "analog"), None, tmp_path / "work", tmp_path / "model", seconds=0.0)
    assert train(run) is None
    assert (tmp_path / "work" / "state.pt").is_file()
    assert not (tmp_path / "model").exists()
    assert train(replace(run, seconds=None)) is not None
    assert load_checkpoint(tmp_path / "model").name == "tiny-analog"


def test_a_run_that_holds_nothing_out_claims_no_held_out_loss(tmp_path: Path):
    recipe = shortened(recipe_in(tmp_path, "analog", held_out_share=0.0), 1_000)
    train(TrainingRun(recipe, None, tmp_path / "work", tmp_path / "model"))
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


def test_programs_in_a_file_become_a_quantum_model(tmp_path: Path):
    rows = [
        {"id": str(n), "family": family, "kind": "algorithm", "source": "here", "regenerable": True,
         "qasm": write_qasm2(program)}
        for n, (family, program) in enumerate(some_programs())
    ]  # fmt: skip
    (tmp_path / "circuits.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    recipe = shortened(recipe_in(tmp_path, "quantum"), 2_000)
    train(TrainingRun(recipe, tmp_path, tmp_path / "work", tmp_path / "model"))
    checkpoint = load_checkpoint(tmp_path / "model")
    training = checkpoint.config["training"]
    assert (checkpoint.kind, checkpoint.language.name) == ("quantum", "qasm_domain")
    assert training["training_circuits"] + training["held_out_circuits"] == len(rows)
    assert (training["split"], training["unit"]) == ("by skeleton", "statement")
    assert training["command"] == "josephson train quantum --source DIR"
    examples, told = read_examples("quantum", tmp_path)
    assert told == "JSON Lines corpus (mqt.bench, Qiskit builders, QASMBench), 12 programs"
    assert len(training_index("quantum", examples)) == len(rows)


def test_there_is_no_training_for_another_kind():
    with pytest.raises(InvalidRequest, match="no training for kind 'optical'; known: analog, quantum"):
        read_examples("optical", None)


def test_a_shortened_recipe_is_the_recipe_with_fewer_tokens():
    assert shortened(RECIPE, None) == RECIPE
    assert shortened(RECIPE, 7) == replace(RECIPE, tokens=7)
