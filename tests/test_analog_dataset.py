"""The data set: each circuit once, typed by rule, split by what stands inside what."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from app.analog.canonical import wiring_hash
from app.analog.corpus import read_archetypes
from app.analog.dataset import Dataset, read_dataset
from app.analog.kinds import CIRCUIT_TYPES
from app.analog.relabelling import type_by_rule
from app.analog.repair import remaining_faults
from app.analog.rules import electrical_findings
from app.analog.spice import parse_spice
from app.errors import InvalidInput
from app.findings import has_errors
from app.split import HELD_OUT_SHARE
from app.training import analog
from app.training.sentences import split

#: A pair with a resistor load and a tail resistor: an op-amp that no archetype is.
CELL = (
    "M0 (A VIN1 T VSS) nmos4\nM1 (VOUT1 VIN2 T VSS) nmos4\nR0 (VDD A) resistor\nR1 (VDD VOUT1) resistor\n"
    "R2 (T VSS) resistor\nR3 (A VSS) resistor"
)
CELL_PORTS = ["VDD", "VSS", "VIN1", "VIN2", "VOUT1"]


def host_of(cell: str, pass_device: str) -> str:
    """A regulator around the op-amp."""
    inside = cell.replace("VOUT1", "ERR").replace("VIN1", "VREF1").replace("VIN2", "FB")
    return f"{inside}\n{pass_device}\nR8 (VOUT1 FB) resistor\nR9 (FB VSS) resistor"


HOST_PORTS = ["VDD", "VSS", "VREF1", "VOUT1"]
BY_PMOS = "M9 (VOUT1 ERR VDD VDD) pmos4"
BY_NMOS = "M9 (VDD ERR VOUT1 VSS) nmos4"


def row(id_: int, type_: str, ports: list[str], netlist: str, **more: Any) -> dict[str, Any]:
    return {"id": id_, "type": type_, "source": "A book", "ports": ports, "netlist": netlist, **more}


def dataset_of(folder: Path, *rows: dict[str, Any]) -> Dataset:
    (folder / "circuits.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return read_dataset(folder)


def class_of(dataset: Dataset, id_: str) -> str:
    return next(circuit.split_class for circuit in dataset.circuits if circuit.id == id_)


@pytest.fixture(scope="module")
def archetypes() -> Dataset:
    return read_dataset(None)


@pytest.fixture(scope="module")
def whole(shared_data: Path) -> Dataset:
    return read_dataset(shared_data / "analoggenie")


# Archetypes alone.


def test_archetypes_alone_are_a_data_set_of_every_type(archetypes: Dataset):
    shipped = read_archetypes()
    assert [(c.id, c.type, c.netlist) for c in archetypes.circuits] == [(c.id, c.type, c.netlist) for c in shipped]
    assert {circuit.type for circuit in archetypes.training} == set(CIRCUIT_TYPES)
    assert archetypes.report.repair is None
    assert not archetypes.report.merged
    assert not archetypes.report.relabelled
    assert archetypes.report.archetypes == archetypes.report.circuits == len(shipped)


def test_the_sides_are_the_ones_that_training_uses(archetypes: Dataset):
    seen, unseen = split(analog.examples(archetypes.circuits), HELD_OUT_SHARE)
    assert seen == analog.examples(archetypes.training)
    assert unseen == analog.examples(archetypes.held_out)
    assert len(seen) + len(unseen) == len(archetypes.circuits)


def test_a_type_of_a_dozen_classes_holds_out_two_and_the_order_does_not_matter(archetypes: Dataset):
    shuffled = list(archetypes.circuits)
    random.Random(1).shuffle(shuffled)
    _, unseen = split(analog.examples(shuffled), HELD_OUT_SHARE)
    assert Counter(map(repr, unseen)) == Counter(map(repr, analog.examples(archetypes.held_out)))
    held_out = Counter(example.label for example in unseen)
    for type_, size in Counter(circuit.type for circuit in archetypes.circuits).items():
        assert held_out[type_] == (2 if size >= 12 else int(size * HELD_OUT_SHARE + 0.5))


def test_training_says_where_its_circuits_are_from(tmp_path: Path):
    circuits, told = analog.read_circuits(None)
    assert told == f"{len(circuits)} archetypes of data/archetypes"
    dataset_of(tmp_path, row(1, "opamp", CELL_PORTS, CELL), row(2, "opamp", CELL_PORTS, CELL))
    _, told = analog.read_circuits(tmp_path)
    shipped = f"{len(circuits)} archetypes of data/archetypes"
    assert (
        told
        == f"1 circuits of the AnalogGenie data set (2 read), repaired and merged, with the op-amps in them; {shipped}"
    )


# Equal circuits.


def test_a_twin_is_merged_and_one_with_other_port_names_is_on_the_same_side(tmp_path: Path):
    dataset = dataset_of(
        tmp_path,
        row(1, "opamp", CELL_PORTS, CELL),
        row(
            2,
            "comparator",
            CELL_PORTS,
            "\n".join(reversed(CELL.replace("(T ", "(X ").replace(" T ", " X ").splitlines())),
        ),
        row(3, "amplifier", ["VDD", "VSS", "VB1", "VB2", "VOUT1"], CELL.replace("VIN", "VB")),
    )
    assert [circuit.id for circuit in dataset.circuits[:2]] == ["1", "3"]
    assert class_of(dataset, "1") == class_of(dataset, "3")
    [merge] = dataset.report.merged
    assert (merge.id, merge.type, merge.into, merge.into_type) == ("2", "comparator", "1", "opamp")
    assert "merged  2 (comparator) into 1 (opamp)" in dataset.report.as_text()
    assert dataset.report.largest_class == 2


def test_an_archetype_gives_way_to_an_equal_circuit_and_tells_its_type(tmp_path: Path):
    netlist = (
        "M0 (N1 VIN1 T VSS) nmos4\nM1 (VOUT1 VIN2 T VSS) nmos4\nM2 (N1 N1 VDD VDD) pmos4\nM3 (VOUT1 N1 VDD VDD) pmos4\n"
        "M4 (T VB1 VSS VSS) nmos4"
    )
    dataset = dataset_of(tmp_path, row(157, "amplifier", [*CELL_PORTS, "VB1"], netlist))
    assert [merge.into for merge in dataset.report.merged] == ["157"]
    assert dataset.circuits[0].type == "opamp"
    [change] = dataset.report.relabelled
    assert (change.before, change.after, change.rule) == ("amplifier", "opamp", "it equals an archetype")
    assert len(dataset.circuits) == len(read_archetypes())


# Op-amps inside circuits.


def test_an_op_amp_and_the_circuits_around_it_are_on_one_side(tmp_path: Path):
    dataset = dataset_of(
        tmp_path,
        row(1, "opamp", CELL_PORTS, CELL),
        row(2, "ldo", HOST_PORTS, host_of(CELL, BY_PMOS), opamp_netlist=CELL),
        row(3, "ldo", HOST_PORTS, host_of(CELL, BY_NMOS), opamp_netlist=CELL),
        row(4, "ldo", HOST_PORTS, host_of(CELL, BY_PMOS) + "\nC9 (VOUT1 VSS) capacitor"),
    )
    assert class_of(dataset, "1") == class_of(dataset, "2") == class_of(dataset, "3") != class_of(dataset, "4")
    cells = dataset.report.cells
    assert (cells.hosts, cells.distinct, cells.met, cells.added, cells.classes_joined) == (2, 1, 1, 0, (3, 1))
    assert dataset.report.largest_class == 3


def test_an_op_amp_that_is_drawn_nowhere_alone_becomes_a_circuit(tmp_path: Path):
    dataset = dataset_of(
        tmp_path,
        row(2, "ldo", HOST_PORTS, host_of(CELL, BY_PMOS), opamp_netlist=CELL),
        row(3, "ldo", HOST_PORTS, host_of(CELL, BY_NMOS), opamp_netlist=CELL),
    )
    added = dataset.circuits[2]
    assert (added.id, added.type, added.source) == ("2/opamp", "opamp", "op-amp inside a circuit of A book")
    assert set(added.netlist.ports) == set(CELL_PORTS)
    assert len({circuit.split_class for circuit in dataset.circuits[:3]}) == 1
    assert "1 became one" in dataset.report.as_text()


def test_an_op_amp_without_its_ports_joins_and_does_not_become_a_circuit(tmp_path: Path):
    cell = CELL.replace("VIN2", "FB")
    dataset = dataset_of(
        tmp_path,
        row(2, "ldo", HOST_PORTS, host_of(CELL, BY_PMOS), opamp_netlist=cell),
        row(3, "ldo", HOST_PORTS, host_of(CELL, BY_NMOS), opamp_netlist=cell),
    )
    assert class_of(dataset, "2") == class_of(dataset, "3")
    assert dataset.report.cells.added == 0


def test_both_layouts_tell_of_the_op_amps(tmp_path: Path):
    (tmp_path / "lines").mkdir()
    lines = dataset_of(tmp_path / "lines", row(2, "ldo", HOST_PORTS, host_of(CELL, BY_PMOS), opamp_netlist=CELL))
    folder = tmp_path / "Dataset" / "2"
    folder.mkdir(parents=True)
    (folder / "2.cir").write_text(host_of(CELL, BY_PMOS))
    (folder / "Port2.txt").write_text(" ".join(HOST_PORTS))
    (folder / "Opamp2.cir").write_text(CELL)
    folders = read_dataset(tmp_path)
    assert [c.netlist for c in folders.circuits[:2]] == [c.netlist for c in lines.circuits[:2]]
    assert folders.circuits[1].id == "2/opamp"
    assert class_of(folders, "2") == class_of(lines, "2")


def test_an_op_amp_that_is_no_text_is_refused(tmp_path: Path):
    sentence = (
        r"circuits\.jsonl line 1 is not a circuit of the JSON Lines form \(TypeError: opamp_netlist has to be text\)"
    )
    with pytest.raises(InvalidInput, match=sentence):
        dataset_of(tmp_path, row(2, "ldo", HOST_PORTS, host_of(CELL, BY_PMOS), opamp_netlist=[CELL]))


# Types.


STAGE = "M1 VOUT1 VIN1 0 0 nmos/R1 VDD VOUT1"
MIRROR = "M1 IIN1 IIN1 0 0 nmos/M2 IOUT1 IIN1 0 0 nmos"
PTAT = "Q1 a a 0 npn/Q2 VREF1 a b npn/R1 b 0/R2 VDD VREF1/R3 VDD a"
CROSSED = "M8 VOUT1 VOUT2 a 0 nmos/M9 VOUT2 VOUT1 a 0 nmos"


@pytest.mark.parametrize(
    ("filed_under", "ports", "devices", "after"),
    [
        ("adc_dac", "VDD VSS VIN1 VOUT1 VLATCH1", f"{STAGE}/M2 VOUT1 VLATCH1 0 0 nmos", "comparator"),
        ("other", "VSS VIN1 VOUT1 VLO1", "M1 VOUT1 VLO1 VIN1 0 nmos/R1 VOUT1 0", "mixer"),
        ("other", "VDD VSS LOGICA1 LOGICQ1", "M1 LOGICQ1 LOGICA1 0 0 nmos/R1 VDD LOGICQ1", "pll"),
        ("opamp", "VSS IIN1 IOUT1", MIRROR, "current_mirror"),
        ("opamp", "VSS IIN1 IOUT1", f"{MIRROR}/C1 IOUT1 0", None),
        ("ldo", "VDD VSS VB1", "M1 VB1 VB1 0 0 nmos/R1 VDD VB1", "current_mirror"),
        ("opamp", "VDD VSS VB1", "Q1 VB1 VB1 0 npn/R1 VDD VB1", "current_mirror"),
        ("bandgap", "VDD VSS VB1", "Q1 VB1 VB1 0 npn/R1 VDD VB1", None),
        ("other", "VDD VSS VREF1", PTAT, "bandgap"),
        ("current_mirror", "VDD VSS VOUT1", PTAT.replace("VREF1", "VOUT1"), "bandgap"),
        ("ldo", "VDD VSS VREF1", PTAT, "bandgap"),
        ("ldo", "VDD VSS VREF1 VOUT1", f"{PTAT}/M1 VOUT1 VREF1 0 0 nmos", None),
        ("opamp", "VDD VSS IIN1 VOUT1", "M1 VOUT1 IIN1 0 0 nmos/R1 VDD VOUT1/R2 VOUT1 IIN1", "amplifier"),
        ("opamp", "VDD VSS VIN1 VOUT1", STAGE, None),
        ("switched_cap", "VDD VSS VIN1 VOUT1", STAGE, "amplifier"),
        ("switched_cap", "VSS IIN1 IOUT1", MIRROR, "other"),
        ("switched_cap", "VSS VIN1 VOUT1 VCLK1", "M1 VOUT1 VCLK1 VIN1 0 nmos/C1 VOUT1 0", None),
        ("current_mirror", "VDD VSS VIN1 VOUT1", STAGE, "amplifier"),
        ("comparator", "VDD VSS VCLK1 VOUT1", STAGE.replace("VIN1", "VCLK1"), "other"),
        ("pll", "VDD VSS VOUT1 VOUT2", f"{CROSSED}/L1 VDD VOUT1/L2 VDD VOUT2/R1 a 0", "oscillator"),
        ("pll", "VDD VSS VCONT1 VOUT1", STAGE.replace("VIN1", "VCONT1"), None),
        ("filter", "VDD VSS VIN1 VOUT1", STAGE, "amplifier"),
        ("filter", "VDD VSS VIN1 VOUT1", f"{STAGE}/C1 VOUT1 0", None),
        ("other", "VSS VIN1 VOUT1", "R1 VIN1 VOUT1/C1 VOUT1 0", "filter"),
        ("other", "VSS VIN1 VOUT1", "R1 VIN1 VOUT1/R2 VOUT1 0", None),
        ("other", "VDD VSS VIN1 VOUT1", STAGE, "amplifier"),
        ("other", "VDD VSS VIN1 VOUT1 VCONT1", f"{STAGE}/M2 VOUT1 VCONT1 0 0 nmos", None),
        ("other", "VSS VIN1 VOUT1 VB1", "M1 VOUT1 VB1 VIN1 0 nmos/C1 VOUT1 0", None),
        ("other", "VDD VSS VIN1 VIN2 VOUT1", f"{STAGE.replace('0 0', 't 0')}/M2 VDD VIN2 t 0 nmos/R2 t 0", "amplifier"),
        ("other", "VDD VSS VIN1 VIN2 VOUT1", f"{STAGE}/M2 VOUT1 VIN2 0 0 nmos", None),
        ("other", "VDD VSS VIN1 VCLK1 VOUT1 VOUT2", f"{STAGE}/{CROSSED}/M3 a VCLK1 0 0 nmos", "comparator"),
        ("other", "VDD VSS VIN1 VOUT1 VOUT2 VREF1", f"{STAGE}/{CROSSED}/M3 a VREF1 0 0 nmos", None),
        ("oscillator", "VDD VSS VIN1 VOUT1", f"{STAGE}/C1 VOUT1 0", "amplifier"),
        ("oscillator", "VDD VSS VIN1 VOUT1", f"{STAGE}/C1 VOUT1 VIN1", None),
        ("oscillator", "VDD VSS VIN1 VOUT1 VOUT2", f"{STAGE}/{CROSSED}/R2 a 0", None),
        ("oscillator", "VSS IIN1", "L1 IIN1 0/C1 IIN1 0", "other"),
    ],
)
def test_ports_and_devices_correct_the_heading_where_they_decide(
    filed_under: str, ports: str, devices: str, after: str | None
):
    deck = f"* a circuit\n* ports: {ports}\n" + devices.replace("/", "\n") + "\n"
    told = type_by_rule(parse_spice(deck).netlist, filed_under)
    assert (told and told[0]) == after


def test_no_rule_contradicts_who_wrote_an_archetype():
    told = {circuit.id: type_by_rule(circuit.netlist, circuit.type) for circuit in read_archetypes()}
    assert {name: rule for name, rule in told.items() if rule is not None} == {}


def test_a_corrected_type_is_reported(tmp_path: Path):
    netlist = "M0 (VOUT1 VIN1 VSS VSS) nmos4\nR0 (VDD VOUT1) resistor\nR1 (VOUT1 VSS) resistor"
    report = dataset_of(tmp_path, row(5, "filter", ["VDD", "VSS", "VIN1", "VOUT1"], netlist)).report
    [change] = report.relabelled
    assert (change.id, change.before, change.after, change.rule) == ("5", "filter", "amplifier", "no reactance")
    assert report.as_json()["relabelled"] == [
        {"id": "5", "before": "filter", "after": "amplifier", "rule": "no reactance"}
    ]
    assert "  retyped filter -> amplifier, no reactance: 1 circuits (5)" in report.as_text().splitlines()


# The report.


def test_the_report_counts_what_there_is(tmp_path: Path):
    dataset = dataset_of(
        tmp_path,
        row(1, "opamp", CELL_PORTS, CELL),
        row(2, "opamp", CELL_PORTS, CELL),
        row(3, "ldo", HOST_PORTS, host_of(CELL, BY_PMOS), opamp_netlist=CELL),
        row(4, "ldo", HOST_PORTS, "M0 (LOOSE VOUT1 VDD VDD) pmos4\nR0 (VOUT1 VSS) resistor"),
    )
    told = dataset.report.as_json()
    assert (told["corpus"]["read"], told["corpus"]["kept"]) == (4, 3)
    assert told["corpus"]["dropped"] == {"floating_net": ["4"]}
    assert [merge["id"] for merge in told["merged"]] == ["2"]
    assert told["cells"] == {
        "hosts": 1, "distinct": 1, "met": 1, "added": 0, "classes_joined": 2, "into_classes": 1,
    }  # fmt: skip
    assert told["circuits"] == len(dataset.circuits) == told["archetypes"] + 2
    assert told["training"] == len(dataset.training)
    assert told["held_out"] == len(dataset.held_out)
    assert told["largest_split_class"] == 2
    assert told["split_classes"] == told["circuits"] - 1
    by_type = told["by_type"]
    assert list(by_type) == list(CIRCUIT_TYPES)
    assert sum(count["circuits"] for count in by_type.values()) == told["circuits"]
    assert sum(count["held_out"] for count in by_type.values()) == told["held_out"]
    for type_, count in Counter(circuit.type for circuit in dataset.held_out).items():
        assert by_type[type_]["held_out"] == count
    sizes = sorted(len(circuit.netlist.devices) for circuit in dataset.circuits)
    assert told["devices"]["most"] == sizes[-1]
    text = dataset.report.as_text()
    assert "3 of 4 circuits kept" in text
    assert f"{told['circuits']} circuits: {told['training']} for training, {told['held_out']} held out" in text


# The whole corpus.


def test_the_whole_corpus_is_typed_and_legal(whole: Dataset):
    report = whole.report
    assert len(whole.circuits) == report.circuits >= 3200
    assert set(report.by_type) == set(CIRCUIT_TYPES)
    assert len({circuit.id for circuit in whole.circuits}) == len(whole.circuits)
    for circuit in whole.circuits:
        assert remaining_faults(circuit.netlist) == ()
        assert not has_errors(electrical_findings(circuit.netlist))
    assert (report.cells.hosts, report.cells.distinct, report.cells.met, report.cells.added) == (640, 84, 52, 32)
    assert report.cells.classes_joined == (724, 84)
    assert {merge.id for merge in report.merged} > {"97", "489", "249", "271", "243", "263", "831", "504"}
    assert 100 < len(report.relabelled) < 160


def test_each_type_of_the_whole_corpus_holds_out_its_share(whole: Dataset):
    assert len(whole.held_out) / len(whole.circuits) == pytest.approx(HELD_OUT_SHARE, abs=0.005)
    for count in whole.report.by_type.values():
        assert count.held_out / count.circuits == pytest.approx(HELD_OUT_SHARE, abs=0.04)
        assert count.held_out_classes >= (2 if count.classes >= 12 else 0)


def test_no_held_out_circuit_is_in_training_under_any_name(whole: Dataset):
    seen = {wiring_hash(circuit.netlist) for circuit in whole.training}
    assert not any(wiring_hash(circuit.netlist) in seen for circuit in whole.held_out)


def test_no_held_out_op_amp_stands_inside_a_training_circuit(whole: Dataset, shared_data: Path):
    held_out = {circuit.id for circuit in whole.held_out}
    sides: dict[str, set[bool]] = defaultdict(set)
    for line in (shared_data / "analoggenie" / "circuits.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "opamp_netlist" in entry and any(circuit.id == str(entry["id"]) for circuit in whole.circuits):
            cell = sorted(" ".join(line.split()[1:]) for line in entry["opamp_netlist"].splitlines())
            sides["\n".join(cell)].add(str(entry["id"]) in held_out)
    assert len(sides) >= 84
    assert all(len(side) == 1 for side in sides.values())
