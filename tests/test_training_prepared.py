"""Prepared token files: what they hold, and that torch and numpy are enough to train on one."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.analog.canonical import canonical_hash, wl_labels
from app.analog.dataset import read_dataset
from app.analog.netlist import Device, Netlist
from app.errors import CorpusMissing, InvalidRequest
from app.inference.checkpoint import load_checkpoint
from app.quantum.program import Operation, QuantumProgram
from app.tokens._base import languages
from app.training import analog
from app.training.corpora import facts_of
from app.training.prepared import Prepared, prepare
from app.training.recipe import read_recipe
from app.training.run import TrainingRun, train
from app.training.sentences import Example, SentenceStream

REPOSITORY = Path(__file__).resolve().parent.parent
ARCHETYPES = analog.examples(sorted(read_dataset(None).circuits, key=lambda c: len(c.netlist.devices)))
CIRCUITS = ARCHETYPES[20:40]

TINY_RECIPE = """
kind = "analog"
name = "tiny"
language = "device_lines"
tokens = 3_000
batch_tokens = 1024
context = 128
warmup_tokens = 500
held_out_share = 0.25
precision = "float32"
[network]
width = 16
layers = 1
heads = 2
kv_heads = 2
mlp_width = 32
"""


def corpus_of(examples: list[Example[Netlist]] = CIRCUITS, language: str = "device_lines") -> Prepared:
    """The examples, every fourth of them held out."""
    return prepare(
        examples, [n % 4 == 3 for n in range(len(examples))], languages[language], facts_of,
        kind="analog", corpus="twenty archetypes", split="by number", held_out_share=0.25, unit="device",
    )  # fmt: skip


@pytest.mark.parametrize("language", ["device_lines", "eulerian"])
def test_a_prepared_file_holds_every_circuit_with_its_label_side_and_size(tmp_path: Path, language: str):
    written = corpus_of(language=language)
    written.save(tmp_path / "new" / "corpus.npz")
    corpus = Prepared.load(tmp_path / "new" / "corpus.npz")
    assert corpus.about == written.about
    assert corpus.labels == tuple(example.label for example in CIRCUITS)
    assert corpus.ids.dtype == np.uint16
    for is_held_out in (False, True):
        originals = [example for n, example in enumerate(CIRCUITS) if (n % 4 == 3) == is_held_out]
        side = corpus.side(is_held_out=is_held_out)
        assert len(side) == len(originals)
        for ours, original in zip(side, originals, strict=True):
            assert ours.label == original.label
            assert canonical_hash(ours.circuit) == canonical_hash(original.circuit)
        assert side.units([0, 2]) == len(originals[0].circuit.devices) + len(originals[2].circuit.devices)
        for original in originals:
            known = corpus.index.novelty(canonical_hash(original.circuit), wl_labels(original.circuit))
            assert known.is_novel == is_held_out


def test_a_part_of_a_side_is_a_side():
    side = corpus_of().side(is_held_out=True)
    assert list(side[1:3]) == [side[1], side[2]]


def test_what_a_language_cannot_write_is_left_out_and_counted():
    shorted = Netlist((Device("R1", "resistor", ("VSS", "VSS")),), ("VSS",))
    corpus = corpus_of([*CIRCUITS[:3], Example(shorted, "other"), Example(shorted, "other"), CIRCUITS[3]])
    assert corpus.about.left_out == {"not expressible": 2}
    assert corpus.labels == tuple(example.label for example in CIRCUITS[:4])
    assert corpus.is_held_out.tolist() == [False] * 4


def test_a_circuit_is_written_from_a_file_in_the_orders_that_the_corpus_gives():
    many = next(example for example in ARCHETYPES if len(example.circuit.devices) >= 14)
    language = languages["device_lines"]
    orders = []
    for examples in ([many], corpus_of([many]).side(is_held_out=False)):
        stream = SentenceStream(examples, language.encode, context=1024, label_exponent=0.5)
        circuits = (language.decode(ids)[0] for ids in stream.draw(random.Random(0), 1500))
        orders.append(Counter(tuple(device.kind for device in circuit.devices[:6]) for circuit in circuits))
    assert len(orders[0]) >= 4
    for kinds, count in orders[0].most_common(4):
        assert orders[1][kinds] / 1500 == pytest.approx(count / 1500, abs=0.05)


def test_programs_are_prepared_like_netlists():
    program = QuantumProgram(3, 0, (Operation("h", (0,)), Operation("cx", (0, 1)), Operation("cx", (1, 2))))
    corpus = prepare(
        [Example(program, "ghz")], [False], languages["qasm_domain"], facts_of,
        kind="quantum", corpus="one", split="by hand", held_out_share=0.0, unit="statement",
    )  # fmt: skip
    side = corpus.side(is_held_out=False)
    assert (side[0].circuit, side[0].label, side.units([0])) == (program, "ghz", 3)


def test_a_file_that_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(
        CorpusMissing, match=r"no prepared token file at .*x\.npz; write one with 'josephson train KIND --"
    ):
        Prepared.load(tmp_path / "x.npz")


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidRequest, match=r"corpus\.npz cannot be written: File exists"):
        corpus_of().save(tmp_path / "file" / "corpus.npz")


def rewritten(folder: Path, **changes: object) -> Path:
    """A prepared file with some of its arrays replaced."""
    corpus_of().save(folder / "good.npz")
    with np.load(folder / "good.npz") as data:
        arrays: dict[str, object] = {name: data[name] for name in data.files}
    np.savez(folder / "bad.npz", **(arrays | changes))  # type: ignore[arg-type]  # arrays and what becomes arrays
    return folder / "bad.npz"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": 7}, r"bad\.npz is of format 7, this version reads format 1; prepare it anew"),
        ({"offsets": np.arange(3)}, r"bad\.npz is damaged: its parts do not belong together; prepare it anew"),
        ({"about": "{}"}, r"bad\.npz is no prepared token file: .*missing 8 required positional arguments"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, changes: dict[str, object], sentence: str):
    with pytest.raises(InvalidRequest, match=sentence):
        Prepared.load(rewritten(tmp_path, **changes))


def test_a_file_that_is_something_else_is_refused(tmp_path: Path):
    (tmp_path / "other.npz").write_text("a text")
    with pytest.raises(InvalidRequest, match=r"other\.npz is no prepared token file"):
        Prepared.load(tmp_path / "other.npz")


def test_a_file_of_another_vocabulary_is_refused(tmp_path: Path):
    about = json.dumps({**vars(corpus_of().about), "vocabulary": "0" * 64})
    with pytest.raises(
        InvalidRequest, match=r"prepared with another vocabulary of the language 'device_lines'; prepare"
    ):
        Prepared.load(rewritten(tmp_path, about=about))


#: Only Python's own modules, the project, torch, numpy, and what torch itself asks for can be imported.
ONLY_TORCH_AND_NUMPY = """
import importlib.metadata, sys
allowed = {"app", "torch", "torchgen", "functorch", "numpy", "typing_extensions", "sympy", "mpmath", "filelock",
           "jinja2", "markupsafe", "fsspec"}
for name in importlib.metadata.packages_distributions():
    if name not in allowed:
        sys.modules[name] = None
from app.training.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_torch_and_numpy_are_enough_to_train(tmp_path: Path):
    corpus_of().save(tmp_path / "corpus.npz")
    (tmp_path / "tiny.toml").write_text(TINY_RECIPE)
    words = [
        "corpus.npz",
        "--recipe",
        "tiny.toml",
        "--work",
        "work",
        "--output",
        "model",
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    done = subprocess.run(
        [sys.executable, "-c", ONLY_TORCH_AND_NUMPY, *words],
        cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    assert " of 3,000 tokens: " in lines[0], done.stderr
    assert lines[-1] == (
        "the weights cannot be written without the package 'safetensors'; the finished run is in work/state.pt, and "
        "--resume goes on from it, here once the package is installed, or on another machine that has it"
    )
    assert done.returncode == 1
    recipe = read_recipe("analog", str(tmp_path / "tiny.toml"))
    run = TrainingRun(recipe, tmp_path / "work", tmp_path / "model")
    result = train(run, Prepared.load(tmp_path / "corpus.npz"))
    assert result is not None
    assert result.done >= 3_000
    assert load_checkpoint(tmp_path / "model").config["training"]["training_circuits"] == 15
    assert train(replace(run, output=tmp_path / "again"), corpus_of()) is not None
