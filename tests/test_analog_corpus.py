"""The corpora: the shipped archetypes, and AnalogGenie in both of its layouts."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from app.analog.corpus import AnalogCorpus, read_analoggenie, read_archetypes
from app.analog.kinds import CIRCUIT_TYPES
from app.analog.repair import remaining_faults
from app.analog.rules import electrical_findings
from app.analog.spice import parse_spice, write_spice
from app.errors import CorpusMissing, InvalidInput, UnknownName
from app.findings import has_errors
from app.resources import data_path

ROW = {
    "id": 6,
    "type": "amplifier",
    "source": "A book",
    "ports": ["VDD", "VSS", "VIN1", "VOUT1"],
    "netlist": "M0 (VOUT1 VIN1 VSS VSS) nmos4\nR0 (VDD VOUT1) resistor \n",
}


@pytest.fixture(scope="module")
def corpus(shared_data: Path) -> AnalogCorpus:
    return read_analoggenie(shared_data / "analoggenie")


def test_nearly_every_circuit_of_the_corpus_is_kept_and_fit(corpus: AnalogCorpus) -> None:
    report = corpus.report
    assert report.read == 3015
    assert report.kept == len(corpus.circuits) >= 2950
    assert report.kept + sum(map(len, report.dropped.values())) == report.read
    for circuit in corpus.circuits:
        assert remaining_faults(circuit.netlist) == ()
        assert not has_errors(electrical_findings(circuit.netlist))
        assert circuit.type in CIRCUIT_TYPES
        internal = circuit.netlist.internal_nets
        assert internal == tuple(f"N{index}" for index in range(1, len(internal) + 1))


def test_every_corpus_circuit_survives_spice(corpus: AnalogCorpus) -> None:
    for circuit in corpus.circuits:
        parsed = parse_spice(write_spice(circuit.netlist, title=circuit.id))
        assert parsed.netlist == circuit.netlist
        assert not parsed.notes


def test_the_known_defects_are_the_ones_that_are_mended(corpus: AnalogCorpus, shared_data: Path) -> None:
    flags: Counter[str] = Counter()
    for line in (shared_data / "analoggenie" / "circuits.jsonl").read_text().splitlines():
        flags.update(json.loads(line)["flags"])
    mended = corpus.report.mended
    assert len(mended["duplicate_name_renamed"]) == flags["duplicate_instance_names"]
    assert len(mended["shorted_device_removed"]) == flags["shorted_capacitor"]
    assert len(mended["dead_device_removed"]) == flags["mos_d_g_s_same_net"]
    assert set(corpus.report.dropped) == {"floating_net", "no free VBB port"}


def test_the_original_layout_reads_as_the_json_lines_form(
    corpus: AnalogCorpus, shared_data: Path, tmp_path: Path
) -> None:
    ranges: dict[tuple[str, str], list[int]] = {}
    for line in (shared_data / "analoggenie" / "circuits.jsonl").read_text().splitlines()[::10]:
        row = json.loads(line)
        folder = tmp_path / "Dataset" / str(row["id"])
        folder.mkdir(parents=True)
        (folder / f"{row['id']}.cir").write_text(row["netlist"])
        (folder / f"Port{row['id']}.txt").write_text(" ".join(row["ports"]))
        if row["section"]:
            ranges.setdefault((row["source"], row["section"]), []).append(row["id"])
    text = ""
    for book in dict.fromkeys(book for book, _ in ranges):
        text += f"\n## 1. **{book}**\n\n"
        for (other, section), ids in ranges.items():
            if other == book:
                text += (
                    f"  - {', '.join(map(str, ids[:-1])) + ', ' if ids[:-1] else ''}{ids[-1]}–{ids[-1]}: {section}\n"
                )
    (tmp_path / "Dataset" / "data_categorization.md").write_text(text, encoding="utf-8")
    there = {circuit.id: circuit for circuit in corpus.circuits}
    read = read_analoggenie(tmp_path)
    assert read.report.read == 302
    for circuit in read.circuits:
        assert circuit.netlist == there[circuit.id].netlist
        assert circuit.type == there[circuit.id].type, circuit.id
        assert circuit.source == there[circuit.id].source
    assert read_analoggenie(tmp_path / "Dataset").circuits == read.circuits


def write_rows(folder: Path, *rows: object) -> Path:
    path = folder / "circuits.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    return path


def test_a_file_and_its_folder_are_the_same_corpus(tmp_path: Path) -> None:
    path = write_rows(tmp_path, ROW, {**ROW, "id": 7, "type": None, "source": None})
    for place in (path, tmp_path):
        first, second = read_analoggenie(place).circuits
        assert (first.id, first.type, first.source) == ("6", "amplifier", "A book")
        assert (second.id, second.type, second.source) == ("7", "other", "AnalogGenie")


@pytest.mark.parametrize(
    ("netlist", "reason"),
    [
        ("M0 VOUT1 VIN1 VSS VSS nmos4", "line is not a device"),
        ("M0 (VOUT1 VIN1 VSS VSS) tube", "line is not a device"),
        ("M0 (VOUT1 VIN1 VSS) nmos4", "wrong number of pins"),
    ],
)
def test_a_line_that_is_no_device_drops_its_circuit(tmp_path: Path, netlist: str, reason: str) -> None:
    corpus = read_analoggenie(write_rows(tmp_path, {**ROW, "netlist": netlist}, {**ROW, "id": 7}))
    assert corpus.report.dropped == {reason: ["6"]}
    assert [circuit.id for circuit in corpus.circuits] == ["7"]


def test_the_substrate_of_a_bipolar_transistor_is_left_out(tmp_path: Path) -> None:
    netlist = "// a comment\nQ0 (VOUT1 VIN1 VSS 0) npn\nR0 (VDD VOUT1) resistor"
    (circuit,) = read_analoggenie(write_rows(tmp_path, {**ROW, "netlist": netlist})).circuits
    assert circuit.netlist.devices[0].nets == ("VOUT1", "VIN1", "VSS")


@pytest.mark.parametrize("row", [{"id": 1}, [1, 2], "text", {**ROW, "ports": "VDD"}, {**ROW, "netlist": None}])
def test_a_damaged_line_is_named(tmp_path: Path, row: object) -> None:
    path = write_rows(tmp_path, ROW, row)
    with pytest.raises(InvalidInput, match=r"circuits\.jsonl line 2 is not a circuit of the JSON Lines form"):
        read_analoggenie(path)


def test_no_data_is_told_with_what_to_do(tmp_path: Path) -> None:
    sentence = f"no AnalogGenie data at {tmp_path}; give a clone of the repository xz-group/AnalogGenie"
    with pytest.raises(CorpusMissing, match=re.escape(sentence)):
        read_analoggenie(tmp_path)


def test_a_clone_without_its_table_of_types_reads_as_other(tmp_path: Path) -> None:
    (tmp_path / "6").mkdir()
    (tmp_path / "6" / "6.cir").write_text(str(ROW["netlist"]))
    (tmp_path / "8").mkdir()
    (circuit,) = read_analoggenie(tmp_path).circuits
    assert (circuit.id, circuit.type, circuit.source) == ("6", "other", "AnalogGenie")
    assert set(circuit.netlist.ports) == {"VDD", "VSS", "VIN1", "VOUT1"}


def test_types_and_books_come_from_the_table_of_id_ranges(tmp_path: Path) -> None:
    (tmp_path / "data_categorization.md").write_text(
        "## **Data Hierarchy**\n\n- #.cir: netlist\n\n## 1. **First Book**\n\n  **Author:** Somebody\n\n"
        "- 1-3: operational amplifiers\n- 4: CMOS processing technology\n\n"
        "## 7. **Assorted Papers** and Other\n\n  - 5\u20136, 9: LDO papers\n",
        encoding="utf-8",
    )
    for number in range(1, 10):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / f"{number}.cir").write_text(str(ROW["netlist"]))
    found = [(circuit.id, circuit.type, circuit.source) for circuit in read_analoggenie(tmp_path).circuits]
    assert found == [
        ("1", "opamp", "First Book"), ("2", "opamp", "First Book"), ("3", "opamp", "First Book"),
        ("4", "other", "First Book"), ("5", "ldo", "Assorted Papers and Other"),
        ("6", "ldo", "Assorted Papers and Other"), ("7", "other", "AnalogGenie"), ("8", "other", "AnalogGenie"),
        ("9", "ldo", "Assorted Papers and Other"),
    ]  # fmt: skip


def test_duplicate_names_are_renamed_and_counted(tmp_path: Path) -> None:
    netlist = "M0 (VOUT1 VIN1 VSS VSS) nmos4\nM0 (VOUT1 VIN1 VDD VDD) pmos4\nM0 (VOUT1 VIN1 VDD VDD) pmos4"
    corpus = read_analoggenie(write_rows(tmp_path, {**ROW, "netlist": netlist}))
    assert [device.name for device in corpus.circuits[0].netlist.devices] == ["M1", "M2", "M3"]
    assert corpus.report.mends == {"duplicate_name_renamed": 2}


def test_the_archetypes_cover_every_type_and_are_sound() -> None:
    circuits = read_archetypes()
    assert len(circuits) >= 32
    assert {circuit.type for circuit in circuits} == set(CIRCUIT_TYPES)
    for circuit in circuits:
        assert remaining_faults(circuit.netlist) == ()
        assert not has_errors(electrical_findings(circuit.netlist))


def test_every_archetype_file_is_as_the_writer_writes_it() -> None:
    for file in sorted(data_path("archetypes").glob("*/*.cir")):
        text = file.read_text()
        title = text.splitlines()[0].removeprefix("* ")
        assert write_spice(parse_spice(text).netlist, title=title) == text


def test_a_folder_without_archetypes_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusMissing, match=re.escape(f"no archetypes in {tmp_path}; install the project again")):
        read_archetypes(tmp_path)


def test_an_archetype_is_of_a_known_type(tmp_path: Path) -> None:
    (tmp_path / "opamps").mkdir()
    (tmp_path / "opamps" / "one.cir").write_text("R1 VDD VSS\n")
    with pytest.raises(UnknownName, match="no circuit type named 'opamps'; did you mean 'opamp'"):
        read_archetypes(tmp_path)


def test_an_archetype_needs_no_mending(tmp_path: Path) -> None:
    (tmp_path / "opamp").mkdir()
    file = tmp_path / "opamp" / "one.cir"
    file.write_text("M1 VOUT1 VIN1 VSS WELL nmos\nR1 VDD VOUT1\n")
    with pytest.raises(InvalidInput, match="archetype opamp/one is not fit for a corpus: bulk_tied_to_source"):
        read_archetypes(tmp_path)
    file.write_text("M1 VOUT1 VIN1 LOOSE VSS nmos\nR1 VDD VOUT1\n")
    with pytest.raises(InvalidInput, match="archetype opamp/one is not fit for a corpus: floating_net"):
        read_archetypes(tmp_path)
