from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from app.analog.spice import parse_spice
from app.cli import main
from app.quantum.corpus import read_rows


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_analog_corpus_is_repaired_counted_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    circuit = {
        "id": "7", "type": "amplifier", "source": "a book", "ports": ["VIN1", "VOUT1", "VDD", "VSS"],
        "netlist": "M0 (VOUT1 VIN1 VSS VSS) nmos4\nR0 (VDD VOUT1) resistor\n",
    }  # fmt: skip
    (tmp_path / "circuits.jsonl").write_text(json.dumps(circuit) + "\n")
    target = tmp_path / "repaired.ndjson"
    assert main(["corpus", "analog", "--source", str(tmp_path), "--output", str(target), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = rows_of(target)
    assert told["circuits"] == len(rows) == told["report"]["circuits"]
    assert told["report"]["corpus"]["kept"] == 1
    assert Counter(row["side"] for row in rows) == {key: told["report"][key] for key in ("training", "held_out")}
    assert set(rows[0]) == {"id", "type", "source", "side", "split_class", "netlist"}
    assert (rows[0]["id"], rows[0]["type"], rows[0]["source"]) == ("7", "amplifier", "a book")
    assert len(parse_spice(rows[0]["netlist"]).netlist.devices) == 2
    assert main(["corpus", "analog", "--source", str(tmp_path)]) == 0
    assert "1 of 1 circuits kept" in capsys.readouterr().err


def test_the_archetypes_are_a_corpus_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    target = tmp_path / "archetypes.ndjson"
    assert main(["corpus", "analog", "--output", str(target)]) == 0
    told = capsys.readouterr().err
    rows = rows_of(target)
    assert f"{len(rows)} archetypes" in told
    assert "0 circuits merged" in told
    assert {row["type"] for row in rows} == {row["type"] for row in rows if row["side"] == "training"}
    assert {row["source"] for row in rows} == {"archetypes"}


def test_a_quantum_corpus_is_read_counted_and_written_so_that_it_reads_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    program = {
        "id": "ghz_2", "family": "ghz", "kind": "algorithm", "source": "by hand", "regenerable": True,
        "qasm": 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\nh q[0];\ncx q[0],q[1];\nz q[1];\n',
    }  # fmt: skip
    (tmp_path / "circuits.jsonl").write_text(json.dumps(program) + "\n")
    target = tmp_path / "again" / "circuits.jsonl"
    target.parent.mkdir()
    assert main(["corpus", "quantum", "--source", str(tmp_path), "--output", str(target), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["programs"] == told["report"]["programs"] == 1
    assert told["report"]["by_family"] == {"ghz": {"programs": 1, "held_out": 0, "classes": 1, "held_out_classes": 0}}
    (again,) = read_rows(target.parent).programs
    assert again == read_rows(tmp_path).programs[0]
    (row,) = rows_of(target)
    assert (row["side"], row["split_class"]) == ("training", again.skeleton)
    assert main(["corpus", "quantum", "--source", str(tmp_path)]) == 0
    assert "1 of 1 programs kept" in capsys.readouterr().err


def test_a_clone_of_qasmbench_joins_the_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    clone = tmp_path / "clone" / "small" / "bell_n2"
    clone.mkdir(parents=True)
    (clone / "bell_n2.qasm").write_text(
        'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\nh q[0];\ncx q[0],q[1];\nh q[1];'
    )
    ghz = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\nh q[0];\ncx q[0],q[1];\nx q[0];'
    row = {"id": "a", "family": "ghz", "kind": "algorithm", "source": "test", "regenerable": True, "qasm": ghz}
    (tmp_path / "circuits.jsonl").write_text(json.dumps(row))
    command = ["corpus", "quantum", "--source", str(tmp_path), "--qasmbench", str(tmp_path / "clone"), "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["report"]["sources"] == {"test": 1, "QASMBench": 1}


def test_technologies_are_listed(capsys: pytest.CaptureFixture[str]):
    assert main(["technology", "list"]) == 0
    assert capsys.readouterr().out.startswith("generic180")
    assert main(["technology", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["technologies"][0]["name"] == "generic180"
