"""`josephson convert`: rows of circuits from one form into another, and what it says of rows that are none."""

from __future__ import annotations

import io
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.analog.canonical import are_isomorphic
from app.analog.corpus import read_archetypes
from app.analog.netlist import Netlist
from app.analog.spice import parse_spice, write_spice
from app.cli import main
from app.cli.convert import MAX_LINE
from app.tokens._eulerian_walk import walk_tokens

#: One of every circuit type.
ARCHETYPES = list({circuit.type: circuit for circuit in read_archetypes()}.values())
WALK = ["VSS", "R1_P", "R1", "R1_N", "VIN1", "R1_N", "R1", "R1_P", "VSS"]
GOOD = json.dumps({"id": "good", "tokens": WALK})


def convert(source: str, target: str, *words: str) -> int:
    return main(["convert", "analog", "--from", source, "--to", target, *words])


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_archetype_goes_through_every_form_and_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    forms = ["spice", "eulerian", "spice", "device_lines", "eulerian", "device_lines", "spice"]
    rows = ({"id": c.id, "type": c.type, "netlist": write_spice(c.netlist)} for c in ARCHETYPES)
    (tmp_path / "0").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for step, (source, target) in enumerate(pairwise(forms)):
        words = ("--input", str(tmp_path / str(step)), "--output", str(tmp_path / str(step + 1)), "--seed", "4")
        assert convert(source, target, *words) == 0
        assert f"{len(ARCHETYPES)} of {len(ARCHETYPES)} circuits converted" in capsys.readouterr().err
    for circuit, row in zip(ARCHETYPES, rows_of(tmp_path / str(len(forms) - 1)), strict=True):
        assert (row["id"], row["type"]) == (circuit.id, circuit.type)
        assert are_isomorphic(parse_spice(row["netlist"]).netlist, circuit.netlist), circuit.id


def test_the_reference_walks_become_netlists_and_walks_again(shared_data: Path, tmp_path: Path):
    walks, netlists, again = (tmp_path / name for name in ("walks.ndjson", "netlists.ndjson", "again.ndjson"))
    with (shared_data / "analoggenie" / "eulerian_walks.jsonl").open() as lines, walks.open("w") as target:
        for row in map(json.loads, lines):
            for tokens in row["walks"]:
                target.write(json.dumps({"id": row["id"], "tokens": tokens}) + "\n")
    assert convert("eulerian", "spice", "--input", str(walks), "--output", str(netlists)) == 0
    assert convert("spice", "eulerian", "--input", str(netlists), "--output", str(again)) == 0
    rows = list(zip(rows_of(walks), rows_of(again), strict=True))
    assert len(rows) == 160
    assert all(before["id"] == after["id"] for before, after in rows)
    assert all(sorted(before["tokens"]) == sorted(after["tokens"]) for before, after in rows)


def test_one_order_is_fixed_and_a_seed_draws_another_one_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    circuit = max(ARCHETYPES, key=lambda circuit: len(circuit.netlist.devices)).netlist
    source = tmp_path / "in"
    source.write_text((json.dumps({"id": 1, "netlist": write_spice(circuit)}) + "\n") * 2)

    def tokens(*words: str) -> list[list[str]]:
        assert convert("spice", "eulerian", "--input", str(source), *words) == 0
        return [json.loads(line)["tokens"] for line in capsys.readouterr().out.splitlines()]

    assert tokens() == [walk_tokens(parse_spice(write_spice(circuit)).netlist)] * 2
    assert tokens("--seed", "1") == tokens("--seed", "1") != tokens("--seed", "2")
    first, second = tokens("--seed", "1")
    assert first != second


def fed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_rows_go_from_standard_input_to_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    fed(monkeypatch, f"\n{GOOD}\n  \n{GOOD}".encode())
    assert convert("eulerian", "spice", "--input", "-", "--output", "-") == 0
    said = capsys.readouterr()
    first, second = (json.loads(line) for line in said.out.splitlines())
    assert first == second == {"id": "good", "netlist": "* netlist\n* ports: VIN1 VSS\nR1 VSS VIN1\n.end\n"}
    assert "2 of 2 circuits converted" in said.err


@pytest.mark.parametrize(
    ("line", "name", "problem"),
    [
        (b"no", None, "the line is not JSON (column 1: Expecting value)"),
        (b"\xff{}", None, "the line is not UTF-8 text (byte 0)"),
        (b"[1]", None, "the line is JSON, and not an object with an id"),
        (b"[" * 100_000, None, "the line is JSON with a number too long or lists too deep to be read"),
        (b"9" * 10_000, None, "the line is JSON with a number too long or lists too deep to be read"),
        (b'{"tokens": []}', None, "a row needs an id, text or a whole number"),
        (b'{"id": true, "tokens": []}', None, "a row needs an id, text or a whole number"),
        (b'{"id": 3}', 3, "a row needs 'tokens' beside its id"),
        (b'{"id": 3, "tokens": "VSS"}', 3, "the tokens of a row are a list of token names"),
        (b'{"id": 3, "tokens": [1]}', 3, "the tokens of a row are a list of token names"),
        (b'{"id": 3, "tokens": ["VSS", "NM99"]}', 3, "token 1: 'NM99' is not a token of this language"),
        (b'{"id": 3, "tokens": ["VSS", "\\ud800"]}', 3, "token 1: '\\ud800' is not a token of this language"),
        (b'{"id": 3, "type": 1, "tokens": %s}' % json.dumps(WALK).encode(), 3, "the type of a circuit is text"),
        (b" " * MAX_LINE + b"{}", None, f"the line is longer than {MAX_LINE:,} bytes"),
    ],
    ids=lambda value: str(value)[:24],
)  # fmt: skip
def test_a_line_that_is_no_circuit_becomes_a_row_that_says_why_and_the_next_goes_on(
    line: bytes, name: Any, problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    fed(monkeypatch, GOOD.encode() + b"\n" + line + b"\n" + GOOD.encode() + b"\n")
    assert convert("eulerian", "spice", "--input", "-") == 1
    said = capsys.readouterr()
    first, bad, last = (json.loads(row) for row in said.out.splitlines())
    assert bad == {"id": name, "line": 2, "problem": f"line 2: {problem}"}
    assert first == last
    assert "netlist" in first
    assert "2 of 3 circuits converted" in said.err


@pytest.mark.parametrize(
    ("source", "target", "row", "problem"),
    [
        ("spice", "eulerian", {"netlist": 7}, "the netlist of a row is SPICE text"),
        ("spice", "eulerian", {"netlist": "R1 a\n"}, "line 1"),
        (
            "spice",
            "eulerian",
            {"netlist": "* ports: VIN1 VDD\nR1 VIN1 VDD 1k\n"},
            "no device stands on VSS, where every walk begins",
        ),
        ("eulerian", "device_lines", {"tokens": WALK, "type": "toaster"}, "no token for 'type:toaster'"),
        ("device_lines", "spice", {"tokens": ["<begin>", "x"]}, "no token for 'x' in this language"),
        ("device_lines", "spice", {"tokens": ["<begin>"]}, "token 1: the sequence stops where a circuit type is due"),
    ],
)
def test_what_a_form_refuses_is_a_problem_of_its_row(
    source: str, target: str, row: dict[str, Any], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "in").write_text(json.dumps({"id": 1, **row}))
    assert convert(source, target, "--input", str(tmp_path / "in")) == 1
    [said] = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert said["id"] == 1
    assert said["problem"].startswith("line 1: ")
    assert problem in said["problem"]


def test_a_circuit_without_a_type_is_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "in").write_text(GOOD)
    assert convert("eulerian", "device_lines", "--input", str(tmp_path / "in")) == 0
    assert json.loads(capsys.readouterr().out)["tokens"][:2] == ["<begin>", "type:other"]


def test_json_is_one_document_that_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "in").write_text(f"{GOOD}\nno\n")
    target = str(tmp_path / "out")
    assert convert("eulerian", "spice", "--input", str(tmp_path / "in"), "--output", target, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document.pop("seconds") >= 0
    assert document == {
        "from": "eulerian", "to": "spice", "lines": 2, "converted": 1, "problems": 1, "output": target,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("verilog", "spice", "--input", "-"), "no form of circuits (option --from) named 'verilog'"),
        (("spice", "verilog", "--input", "-"), "no form of circuits (option --to) named 'verilog'"),
        (("eulerian", "spice", "--input", "nowhere"), "--input: nowhere cannot be read: No such file or directory"),
        (("eulerian", "spice", "--input", "."), "--input: . cannot be read: Is a directory"),
        (("eulerian", "spice", "--input", "in", "--output", "in"), "--output: in is the input too"),
        (("eulerian", "spice", "--input", "in", "--output", "no/out"), "--output: no/out cannot be written"),
        (("eulerian", "spice", "--input", "in", "--json"), "give --output a file for the rows"),
    ],
)
def test_a_command_that_cannot_be_done_is_one_sentence(
    words: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("in").write_text(GOOD)
    assert convert(*words) == 2
    assert sentence in capsys.readouterr().err
    assert Path("in").read_text() == GOOD


def test_a_netlist_of_nothing_has_no_walk(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "in").write_text(json.dumps({"id": 1, "netlist": write_spice(Netlist((), ("VSS",)))}))
    assert convert("spice", "eulerian", "--input", str(tmp_path / "in")) == 1
    assert "line 1: " in json.loads(capsys.readouterr().out)["problem"]
