"""`josephson design`: what it prints, what it refuses, and how it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.analog.spice import parse_spice
from app.cli import main
from app.cli.design import objective_of
from app.cli.door import Door
from app.design.stages import REACHED
from app.specification import Objective
from tests.designing import DEAD, ONE_INPUT, TWO_INPUT_PAIRS, DesignWorkshop, archetype, designs
from tests.sizing import IMPOSSIBLE

ASKED = ("--type", "opamp", "--method", "random", "--corners", "nominal", "--seed", "3", "--max-devices", "10")
NETLISTS = (archetype("opamp/telescopic_cascode"), ONE_INPUT, DEAD, TWO_INPUT_PAIRS)


def run(*words: str) -> int:
    return main(("design", *ASKED, *words), Door(make_workshop=lambda settings: DesignWorkshop(designs(*NETLISTS))))


def document_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_the_document_has_the_funnel_the_ranking_who_fell_out_and_what_it_cost(capsys: pytest.CaptureFixture[str]):
    assert run("--spec", "gain_db>50", "--spec", "ugf_hz>1meg", "-n", "8", "--enough", "2", "--json") == 0
    document = document_of(capsys)
    assert list(document["funnel"]) == list(REACHED)
    assert document["funnel"]["proposed"] == 8
    assert document["funnel"]["passing"] == len(document["results"]) == 2
    best = document["results"][0]
    assert best["pareto_rank"] == 1
    assert {limit["bound"] for limit in best["margins"]} == {"gain_db>50", "ugf_hz>1e+06"}
    assert parse_spice(best["netlist"]).netlist.devices[0].sizes
    assert len(document["fell_out"]) == 6
    assert all(row["why"] for row in document["fell_out"])
    assert document["cost"]["simulations"] == sum(row["simulations"] for row in document["results"])
    assert (document["type"], document["testbench"], document["seed"]) == ("opamp", "opamp", 3)
    assert document["counts"]["ok"] == 2


def test_people_are_told_the_funnel_the_circuits_and_why_others_fell_out(capsys: pytest.CaptureFixture[str]):
    assert run("--spec", "gain_db>50", "-n", "8", "--enough", "2") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0] == "opamp on opamp in generic180, random"
    assert lines[1].startswith("8 proposed > 6 legal > 5 conducting > 5 promising > 2 sized > 2 passing")
    assert any(line.split()[:2] == ["rank", "candidate"] and "gain_db>50" in line for line in lines)
    assert any(line.split()[:3] == ["1", "0", "opamp/bipolar_two_stage"] for line in lines)
    assert any("1 not conducting, such as 6 generated" in line for line in lines)
    assert any("not tried" in line and "enough candidates" in line for line in lines)
    assert ".end" in lines
    assert "8 candidates in" in said.err


def test_where_no_candidate_passes_the_nearest_and_what_it_misses_are_told_and_the_status_is_1(
    capsys: pytest.CaptureFixture[str],
):
    assert run("--spec", IMPOSSIBLE, "-n", "4", "--simulations", "40") == 1
    said = capsys.readouterr().out
    assert "no candidate meets the specification\nthe nearest is" in said
    assert "gain_db>150: gain_db is" in said


def test_rows_go_to_a_file_one_a_line_with_their_decks(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    target = tmp_path / "rows.ndjson"
    assert run("--spec", "gain_db>50", "-n", "3", "--output", str(target)) == 0
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert "decks" in rows[0]
    assert "3 candidates in" in capsys.readouterr().err


def test_standard_output_has_rows_alone_where_they_are_asked_for_there(capsys: pytest.CaptureFixture[str]):
    assert run("--spec", "gain_db>50", "-n", "2", "--output", "-", "--no-deck") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["index"] for row in rows] == [0, 1]
    assert all("decks" not in row for row in rows)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--spec", "gian_db>60"), 2, "gain_db"),
        (("--spec", "gain_db>1e9"), 2, "no circuit has more"),
        (("--spec", "gain_db>60", "--spec", "gain_db<50"), 2, "contradict"),
        (("--spec", "gain_db>60", "--simulations", "0"), 2, "--simulations"),
        (("--spec", "gain_db>60", "--enough", "0"), 2, "--enough"),
        (("--spec", "gain_db>60", "--supply", "9"), 2, "bears"),
        (("--spec", "gain_db>60", "--sources", "books"), 2, "--sources"),
    ],
)
def test_what_cannot_be_designed_is_said_and_nothing_is_printed(
    words: tuple[str, ...], status: int, said: str, capsys: pytest.CaptureFixture[str]
):
    assert run(*words) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err


def test_the_objective_of_a_heading_is_what_was_asked_for():
    assert objective_of({"specification": {"objective": {"minimize": "power_w"}}}) == Objective("power_w", "minimize")
    assert objective_of({"specification": {"objective": None}}) is None
    assert objective_of({}) is None
