"""The judge of types: blind to names, told apart from generators, wrong only as often as its card says."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from app.analog.corpus import CorpusCircuit, read_archetypes
from app.analog.dataset import DatasetCircuit, read_dataset
from app.analog.kinds import CIRCUIT_TYPES
from app.analog.netlist import Device, Netlist
from app.cli import main
from app.errors import ModelDamaged
from app.inference.checkpoint import list_models, seal, verify
from app.measures.type_classifier import NAME, Neighbourhoods, TypeClassifier, labels_of, softened
from app.resources import models_path
from app.training.type_card import card_text, scored
from app.training.type_classifier import PARTS, ClassifierRecipe, best_temperature, sides_of, train_types, trained
from tests.test_analog_canonical import ARCHETYPES, renamed

QUICK = ClassifierRecipe(epochs=2)


@pytest.fixture(scope="module")
def shipped() -> TypeClassifier:
    return TypeClassifier.load()


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a classifier that has hardly learnt anything."""
    folder = tmp_path_factory.mktemp("models") / "quick"
    train_types(None, folder, QUICK)
    return folder


@pytest.fixture
def folder(quick: Path, tmp_path: Path) -> Path:
    """A copy of it to be damaged."""
    copy = tmp_path / "quick"
    copy.mkdir()
    for path in quick.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def damage_of(folder: Path) -> str:
    with pytest.raises(ModelDamaged) as caught:
        TypeClassifier.load(folder)
    return str(caught.value)


def changed(folder: Path, **fields: object) -> None:
    """The configuration has other fields, and the manifest knows."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    seal(folder)


def unseen_archetypes() -> list[CorpusCircuit]:
    config = json.loads(models_path(NAME, "config.json").read_text())
    return [circuit for circuit in ARCHETYPES if circuit.id in set(config["training"]["unseen_archetypes"])]


# What ships.


def test_archetypes_that_it_was_not_trained_on_are_told_by_type(shipped: TypeClassifier):
    circuits = unseen_archetypes()
    told = shipped.types([circuit.netlist for circuit in circuits])
    right = sum(circuit.type == word for circuit, word in zip(circuits, told, strict=True))
    assert len(circuits) >= 30
    assert right / len(circuits) >= 0.6


def test_its_card_says_how_often_it_is_right(shipped: TypeClassifier):
    known, blind = (shipped.card["accuracy"][key] for key in ("with_port_roles", "without_port_roles"))
    assert known["accuracy"] >= 0.9
    assert blind["accuracy"] >= 0.85
    assert known["calibration_error"] <= 0.03
    assert len(known["confusion"]) == len(CIRCUIT_TYPES)


@pytest.mark.parametrize("with_port_roles", [True, False])
def test_equal_circuits_get_equal_probabilities(shipped: TypeClassifier, with_port_roles: bool):
    netlists = [circuit.netlist for circuit in ARCHETYPES]
    others = [renamed(netlist, seed) for seed, netlist in enumerate(netlists)]
    order = random.Random(1).sample(range(len(others)), len(others))
    first = shipped.probabilities(netlists, with_port_roles=with_port_roles)
    second = shipped.probabilities([others[n] for n in order], with_port_roles=with_port_roles)
    assert np.array_equal(first[order], second)


def test_the_same_circuits_get_the_same_digits(shipped: TypeClassifier):
    netlists = [circuit.netlist for circuit in ARCHETYPES[:20]]
    assert np.array_equal(shipped.probabilities(netlists), shipped.probabilities(netlists))


def test_probabilities_are_of_sixteen_types_and_sum_to_one(shipped: TypeClassifier):
    probabilities = shipped.probabilities([circuit.netlist for circuit in ARCHETYPES[:300]])
    assert probabilities.shape == (min(300, len(ARCHETYPES)), 16)
    assert probabilities.dtype == np.float32
    assert probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert shipped.probabilities([]).shape == (0, 16)
    assert shipped.types([]) == []


def test_without_port_roles_the_names_of_ports_do_not_matter(shipped: TypeClassifier):
    circuit = next(circuit for circuit in ARCHETYPES if "VIN1" in circuit.netlist.ports).netlist
    names = {"VIN1": "VCLK1"}
    other = Netlist(
        tuple(replace(d, nets=tuple(names.get(net, net) for net in d.nets)) for d in circuit.devices),
        tuple(names.get(port, port) for port in circuit.ports),
    )
    blind = [shipped.probabilities([netlist], with_port_roles=False) for netlist in (circuit, other)]
    assert np.array_equal(blind[0], blind[1])
    assert np.abs(shipped.probabilities([circuit]) - shipped.probabilities([other])).max() > 1e-4


def test_it_is_small_and_no_generator():
    folder = models_path(NAME)
    verify(folder)
    assert (folder / "weights.safetensors").stat().st_size < 2_000_000
    assert NAME not in list_models(models_path())


def test_what_cannot_be_told_still_gets_an_answer(shipped: TypeClassifier):
    empty = Netlist((), ("VDD", "VSS"))
    strange = Netlist((Device("R1", "resistor", ("FOO1", "VSS")),), ("FOO1", "VSS"))
    assert np.isfinite(shipped.probabilities([empty, strange])).all()
    assert np.isfinite(shipped.probabilities([empty])).all()


# Kinds and ports that no training circuit had.


def test_kinds_and_ports_that_it_never_met_do_not_crash_it():
    circuits = [c for c in read_dataset(None).circuits if {d.kind for d in c.netlist.devices} <= {"nmos", "resistor"}]
    narrow = trained(circuits, QUICK).classifier
    netlists = [circuit.netlist for circuit in ARCHETYPES]
    assert {d.kind for netlist in netlists for d in netlist.devices} > {"nmos", "resistor"}
    assert np.isfinite(narrow.probabilities(netlists)).all()


def test_labels_that_do_not_count_are_overlooked():
    netlist = Netlist((Device("R1", "resistor", ("VIN1", "VSS")), Device("R2", "resistor", ("VIN1", "VSS"))), ("VIN1",))
    counts = labels_of(netlist, 0)
    assert sorted(counts.values()) == [1, 1, 2]  # the input, the ground, two resistors
    resistor = next(label for label, count in counts.items() if count == 2)
    one = Neighbourhoods(np.array([resistor - 1, resistor]), 0).features(netlist)
    assert (one.places.tolist(), one.values.tolist()) == ([1], [1.0])
    every = Neighbourhoods(np.array(sorted(counts)), 0).features(netlist)
    assert sorted(every.values) == pytest.approx(np.log1p([1, 1, 2]) / np.linalg.norm(np.log1p([1, 1, 2])))
    none = Neighbourhoods(np.array([], dtype=np.int64), 0).features(netlist)
    assert (len(none.places), len(none.values)) == (0, 0)


def test_a_port_whose_role_is_not_told_is_any_port():
    def divider(port: str) -> Netlist:
        return Netlist((Device("R1", "resistor", (port, "VSS")),), (port, "VSS"))

    assert labels_of(divider("VIN1"), 2) != labels_of(divider("VRF1"), 2)
    assert labels_of(divider("VIN1"), 2, {"VIN1"}) == labels_of(divider("VRF1"), 2, {"VRF1"})
    assert labels_of(divider("VIN1"), 2, {"VSS"}) == labels_of(divider("VIN1"), 2)


# Training.


def two_types(count: int) -> list[DatasetCircuit]:
    """Chains of resistors are filters, chains of transistors are mirrors; ports and lengths are alike."""
    circuits = []
    for number in range(count):
        kind, pins, circuit_type = ("resistor", 2, "filter") if number % 2 else ("nmos", 4, "current_mirror")
        devices = []
        for place in range(2 + number // 2 % 6):
            nets = (f"N{place + 1}" if place else "VOUT1", f"N{place + 2}", "VSS", "VSS")[:pins]
            devices.append(Device(f"D{place}", kind, nets))
        netlist = Netlist(tuple(devices), ("VOUT1", "VSS"))
        circuits.append(DatasetCircuit(str(number), circuit_type, netlist, "by hand", str(number)))
    return circuits


def test_training_learns_a_problem_that_a_person_sees_at_once():
    circuits = two_types(48)
    classifier = trained(circuits[:32], replace(QUICK, epochs=40)).classifier
    netlists = [circuit.netlist for circuit in circuits[32:]]
    assert classifier.types(netlists) == [circuit.type for circuit in circuits[32:]]
    assert classifier.probabilities(netlists).max(axis=1).mean() > 0.9


def test_the_same_seed_trains_the_same_classifier_and_another_seed_another():
    circuits = two_types(16)
    netlists = [circuit.netlist for circuit in circuits]
    first, again, other = (
        trained(circuits, replace(QUICK, seed=seed, batch=8)).classifier.probabilities(netlists) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_classifier_is_judged_by_what_neither_it_nor_the_generators_have_seen():
    dataset = read_dataset(None)
    sides = sides_of(dataset)
    assert {c.id for c in dataset.held_out} < {c.id for c in sides.unseen}
    assert {c.split_class for c in sides.seen}.isdisjoint(c.split_class for c in sides.unseen)
    assert len(sides.seen) + len(sides.unseen) == len(dataset.circuits)
    assert 0.15 < (len(sides.unseen) - len(dataset.held_out)) / len(dataset.training) < 0.25


def test_the_temperature_undoes_a_scale():
    rng = np.random.default_rng(0)
    scores = (2 * rng.normal(size=(4000, 4))).astype(np.float32)
    answers = np.array([rng.choice(4, p=row / row.sum()) for row in softened(scores, 1.0).astype(np.float64)])
    assert best_temperature(scores, answers) == pytest.approx(1.0, abs=0.1)
    assert best_temperature(3 * scores, answers) == pytest.approx(3.0, abs=0.3)


def test_progress_is_told_epoch_by_epoch():
    heard: list[tuple[int, int]] = []
    trained(two_types(8), QUICK, lambda done, total: heard.append((done, total)))
    total = (PARTS + 1) * QUICK.epochs
    assert heard == [(done, total) for done in range(1, total + 1)]


# The numbers of the card, by hand.


def sure(*types: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Probabilities 0.75 of one type each; the rest is spread."""
    rows = np.full((len(types), 16), 0.25 / 15, dtype=np.float32)
    for row, name in enumerate(types):
        rows[row, CIRCUIT_TYPES.index(name)] = 0.75
    return rows


def numbers(types: Sequence[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array([CIRCUIT_TYPES.index(name) for name in types], dtype=np.int64)


def test_accuracy_recall_and_calibration_by_hand():
    told = sure("opamp", "opamp", "ldo", "opamp", "other")
    report = scored(told, numbers(["opamp", "opamp", "ldo", "other", "other"]))
    assert report["accuracy"] == 0.8
    assert report["accuracy_without_other"] == 1.0
    assert report["by_type"]["opamp"] == {"circuits": 2, "recall": 1.0, "precision": 0.6667}
    assert report["by_type"]["other"] == {"circuits": 2, "recall": 0.5, "precision": 1.0}
    assert report["by_type"]["mixer"] == {"circuits": 0, "recall": None, "precision": None}
    assert report["mean_recall"] == pytest.approx((1 + 1 + 0.5) / 3, abs=1e-4)
    assert report["calibration_error"] == pytest.approx(0.05, abs=1e-4)  # 0.75 sure, 0.8 right
    assert report["confusion"][CIRCUIT_TYPES.index("other")][CIRCUIT_TYPES.index("opamp")] == 1


def test_nothing_to_judge_gives_no_numbers():
    report = scored(np.zeros((0, 16), dtype=np.float32), numbers([]))
    assert (report["accuracy"], report["mean_recall"], report["calibration_error"]) == (None, None, None)


def test_a_card_tells_data_command_and_what_is_taken_for_what(quick: Path):
    config, card = (json.loads((quick / name).read_text()) for name in ("config.json", "card.json"))
    text = card_text(config, card["accuracy"])
    assert text == (quick / "card.md").read_text()
    assert "`josephson train types` (seed 1)" in text
    assert "| opamp | " in text


# The folder.


def test_what_was_trained_is_what_comes_back(quick: Path):
    circuits = [circuit.netlist for circuit in read_archetypes()[:50]]
    sides = sides_of(read_dataset(None))
    again = trained(sides.seen, QUICK).classifier
    assert np.array_equal(TypeClassifier.load(quick).probabilities(circuits), again.probabilities(circuits))


def test_a_folder_without_a_manifest_is_damage(tmp_path: Path):
    assert damage_of(tmp_path / "nowhere").startswith("model nowhere: manifest.json cannot be read (")


def test_a_changed_file_is_damage(folder: Path):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert damage_of(folder).startswith("model quick: weights.safetensors does not match its checksum; restore")


def test_weights_cut_short_are_damage(folder: Path):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    seal(folder)
    sentence = damage_of(folder)
    assert sentence.startswith("model quick: it cannot be used (")
    assert sentence.endswith("restore models/quick from the repository, or train it anew with 'josephson train types'")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"format": 99}, "it is not a type classifier of format 1"),
        ({"kind": "analog"}, "it is not a type classifier of format 1"),
        ({"types": ["opamp"]}, "its types are not those of this version"),
        ({"temperature": "warm"}, "could not convert string to float: 'warm'"),
        ({"depth": None}, "int() argument must be a string"),
    ],
)
def test_files_that_do_not_belong_together_are_damage(folder: Path, fields: dict[str, object], reason: str):
    changed(folder, **fields)
    sentence = damage_of(folder)
    assert sentence.startswith("model quick: it cannot be used (")
    assert reason in sentence


def test_weights_of_another_shape_are_damage(folder: Path):
    tensors = load_file(folder / "weights.safetensors")
    save_file({**tensors, "labels": tensors["labels"][:-1].copy()}, folder / "weights.safetensors")
    seal(folder)
    rows = len(tensors["labels"])
    assert f"weights of shape ({rows}, 16) for {rows - 1} labels" in damage_of(folder)


def test_weights_that_are_not_there_are_damage(folder: Path):
    (folder / "weights.safetensors").unlink()
    seal(folder)
    assert damage_of(folder).startswith("model quick: it cannot be used (")


def test_the_command_trains_a_classifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "types"
    assert main(["train", "types", "--epochs", "1", "--seed", "3", "--output", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == str(folder)
    assert (
        told["accuracy"]["with_port_roles"]
        == TypeClassifier.load(folder).card["accuracy"]["with_port_roles"]["accuracy"]
    )
    assert json.loads((folder / "config.json").read_text())["training"]["recipe"]["seed"] == 3


def test_a_corpus_that_is_not_there_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", "types", "--source", str(tmp_path), "--output", str(tmp_path / "types")]) == 1
    assert f"no AnalogGenie data at {tmp_path}" in capsys.readouterr().err
