"""`josephson size` and `josephson jobs submit size`: what they print, what they refuse, and how they leave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli import main
from app.cli.door import Door
from app.cli.jobs import news_of
from app.cli.progress import ProgressBar
from app.cli.rows import generate_rows, lines_to, read_request
from app.cli.size import size_request
from app.errors import InvalidRequest
from app.requests import AnalogSizeRequest
from app.testing import FakeWorkshop
from app.workshop import RowMaker
from tests.sizing import EASY, IMPOSSIBLE, MILLER, sizings
from tests.sizing import size_request as requested


@pytest.fixture
def netlist(tmp_path: Path) -> str:
    source = tmp_path / "miller.cir"
    source.write_text(MILLER)
    return str(source)


def run(*words: str, maker: RowMaker | None = None) -> int:
    return main(("size", *words), Door(make_sizings=lambda settings: maker or sizings()))


def words_for(netlist: str, *bounds: str) -> list[str]:
    """Words of a run at random on the op-amp's testbench."""
    asked = [word for bound in bounds or (EASY,) for word in ("--spec", bound)]
    return [netlist, "--testbench", "opamp", "--method", "random", "--seed", "3", *asked]


def test_a_sizing_is_a_table_of_margins_by_corner_and_of_sizes(netlist: str, capsys: pytest.CaptureFixture[str]):
    assert run(*words_for(netlist, "gain_db>60", "power_w<1m")) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].startswith("opamp in generic180, random: met after ")
    assert " simulations and 0 offline in " in lines[0]
    (head,) = (line for line in lines if line.startswith("bound "))
    assert head.split()[1:6] == ["tt,1.8V,27C", "ss,1.62V,125C", "ss,1.62V,-40C", "ff,1.98V,125C", "ff,1.98V,-40C"]
    (gain,) = (line.split() for line in lines if line.startswith("gain_db>60"))
    values = [float(word) for word in gain[1:11:2]]
    assert gain[2:12:2] == ["dB"] * 5
    assert float(gain[11]) == pytest.approx(min(values) - 60, abs=1e-3)
    assert any(line.startswith("power_w<0.001 ") and line.endswith("uW") for line in lines)
    assert any(line.startswith("w_m1 ") and line.endswith("um") for line in lines)
    assert "1 sizing in" in said.err
    assert "(1 ok); seed 3" in said.err


def test_what_is_not_met_is_status_1_with_the_best_found_and_what_holds_it_back(
    netlist: str, capsys: pytest.CaptureFixture[str]
):
    assert run(*words_for(netlist, IMPOSSIBLE), "--simulations", "30", "--corners", "nominal") == 1
    out = capsys.readouterr().out
    assert "random: not met (30 simulations and 0 offline" in out
    assert "\n  gain_db>150: gain_db is " in out
    (limit,) = (line for line in out.splitlines() if line.startswith("gain_db>150 "))
    assert limit.endswith("dB  missed")
    assert "w_m1" in out


def test_many_runs_are_counted_and_the_soonest_is_shown(netlist: str, capsys: pytest.CaptureFixture[str]):
    words = words_for(netlist, "gain_db>70", "ugf_hz>30meg")
    assert run(*words, "--runs", "6", "--corners", "nominal", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    soonest = min(document["rows"], key=lambda row: row["met_after"] or 10**6)
    met = [row for row in document["rows"] if row["status"] == "ok"]
    assert run(*words, "--runs", "6", "--corners", "nominal") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"opamp in generic180, random: {len(met)} of 6 runs meet the specification, after ")
    assert lines[0].endswith(f"; run {soonest['index']}:")
    assert lines[1].startswith(f"met after {soonest['met_after']} simulations")


def test_json_is_one_document_with_decks_unless_they_are_not_wanted(
    netlist: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    target = tmp_path / "rows.ndjson"
    assert run(*words_for(netlist), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    (row,) = document["rows"]
    assert set(row["decks"]) == set(document["corners"])
    assert (document["method"], document["seed"], document["counts"]["ok"]) == ("random", 3, 1)
    assert document["specification"]["bounds"] == [{"metric": "gain_db", "low": 50.0}]
    assert run(*words_for(netlist), "--json", "--no-deck", "--output", str(target)) == 0
    assert json.loads(capsys.readouterr().out)["output"] == str(target)
    (line,) = target.read_text().splitlines()
    assert "decks" not in json.loads(line)
    assert json.loads(line)["sizes"] == row["sizes"]


def test_what_is_asked_reaches_the_request(netlist: str):
    fields = size_request(
        netlist, ["gain_db>60", "power_w<1m"], type_="opamp", technology="generic45", objective="minimize:power_w",
        corner=["tt", "ss,0.9,125"], setting=["common_mode_v=0.5"], load_f="2p", supply="1.0", port=["output=VOUT1"],
        method="random", simulations=50, minutes=2.5, runs=3, seed=7, adapt=True, deck=False,
    )  # fmt: skip
    assert fields == {
        "netlist": MILLER, "type": "opamp", "technology": "generic45",
        "specification": {
            "bounds": ["gain_db>60", "power_w<1m"], "objective": {"minimize": "power_w"},
            "corners": [{"process": "tt"}, {"process": "ss", "supply_v": 0.9, "celsius": 125.0}],
            "settings": {"common_mode_v": 0.5, "load_f": 2e-12}, "supply_v": 1.0,
        },
        "ports": {"output": "VOUT1"}, "method": "random", "budget": {"simulations": 50, "minutes": 2.5}, "runs": 3,
        "seed": 7, "adapt": True, "include_decks": False,
    }  # fmt: skip
    assert set(fields) | {"testbench"} == set(AnalogSizeRequest.model_fields)
    assert AnalogSizeRequest.model_validate(size_request(netlist, [EASY], "opamp")).budget.simulations == 200


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--spec", "gain_db"), "--spec: 'gain_db' is no bound; write METRIC>NUMBER or METRIC<NUMBER"),
        (("--spec", "gian_db>60"), "no metric of testbench opamp named 'gian_db'; did you mean 'gain_db'?"),
        (("--spec", "gain_db>1e9"), "gain_db is asked to be at least 1e+09 dB; no circuit has more than 160 dB"),
        (("--spec", "gain_db<40"), "gain_db is asked to be at least 50 and at most 40, which contradict each other"),
        (("--objective", "power_w"), "--objective 'power_w' is not of the form minimize:METRIC or maximize:METRIC"),
        (("--objective", "minimize:powr_w"), "no metric of testbench opamp named 'powr_w'; did you mean 'power_w'?"),
        (("--corners", "all"), "--corners: Input should be 'nominal' or 'pvt'"),
        (("--corners", "pvt", "--corner", "ss"), "--corners and --corner are both given; give one of them"),
        (("--corner", "xx"), "no process corner of generic180 named 'xx'"),
        (("--corner", "ss,1,2,3"), "has more than process, volts and degrees Celsius"),
        (("--supply", "high"), "--supply: 'high' is not a SPICE number"),
        (("--supply", "5"), "the specification's supply is 5 V, generic180 is made for 1.8 V"),
        (("--load-f", "2p", "--setting", "load_f=1p"), "--setting names 'load_f' twice"),
        (("--setting", "lod_f=1p"), "no setting of testbench opamp named 'lod_f'; did you mean 'load_f'?"),
        (("--simulations", "0"), "--simulations: Input should be greater than or equal to 10"),
        (("--minutes", "0"), "--minutes: Input should be greater than or equal to 0.1"),
        (("--runs", "0"), "--runs: Input should be greater than or equal to 1"),
        (("--type", "opamp"), "--type: a netlist is sized on a testbench or by its type; give one of them"),
        (("--method", "guess"), "no sizing method named 'guess'"),
        (("--port", "output"), "--port 'output' is not of the form NAME=VALUE"),
        (("--output", "/nowhere/rows"), "--output: /nowhere/rows cannot be written: No such file"),
    ],
)
def test_what_was_asked_wrongly_is_status_2_and_names_the_option(
    netlist: str, words: Sequence[str], sentence: str, capsys: pytest.CaptureFixture[str]
):
    assert run(*words_for(netlist), *words, "--json") == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert sentence in json.loads(said.out)["error"]["message"]


def test_without_a_bound_there_is_nothing_to_size_for(netlist: str, capsys: pytest.CaptureFixture[str]):
    assert run(netlist, "--testbench", "opamp") == 2
    assert "Missing option '--spec'" in capsys.readouterr().err


def test_the_bar_says_how_far_the_search_is(tmp_path: Path):
    notes: list[str] = []

    class Noting(ProgressBar):
        def advance_to(self, done: int, note: str = "", *, total: int | None = None) -> None:
            notes.append(note)

    request = requested(IMPOSSIBLE, corners="nominal", budget={"simulations": 20})
    tally = generate_rows(sizings(), "analog.size", request, lines_to(str(tmp_path / "rows")), Noting("sizings", 1))
    assert notes[0] == "4 of 20 simulations, the best misses gain_db>150"
    assert notes[-1] == ""
    assert tally.counts == {"ok": 0, "invalid": 1, "error": 0}


def test_a_request_of_a_nested_field_names_the_option_that_sets_it():
    fields: dict[str, Any] = {
        "netlist": "x",
        "testbench": "opamp",
        "specification": {"bounds": [EASY], "supply_v": "1"},
    }
    with pytest.raises(InvalidRequest, match=r"^--supply: Input should be a valid number \(got '1'\)$"):
        read_request("analog.size", fields)


def test_a_job_is_submitted_with_the_same_options(netlist: str, capsys: pytest.CaptureFixture[str]):
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(202, json={"id": "01job"})

    door = Door(make_client=lambda url: httpx.Client(base_url=url, transport=httpx.MockTransport(answer)))
    assert main(("jobs", "submit", "size", *words_for(netlist), "--simulations", "60"), door) == 0
    assert capsys.readouterr().out == "01job\n"
    assert bodies[0]["kind"] == "analog.size"
    assert bodies[0]["request"]["specification"] == {"bounds": [EASY]}
    assert bodies[0]["request"]["budget"] == {"simulations": 60}


def test_who_watches_a_job_is_told_its_status_and_what_is_being_made():
    unfinished = {"index": 4, "status": "running", "progress": {"note": "8 of 60 simulations"}}
    assert news_of({"status": "running", "unfinished": [unfinished]}) == "running; 8 of 60 simulations"
    assert news_of({"status": "queued"}) == "queued"


def test_a_fake_workshop_is_enough_for_the_command(netlist: str, capsys: pytest.CaptureFixture[str]):
    assert run(*words_for(netlist), "--runs", "20", maker=FakeWorkshop()) == 0
    assert "of 20 runs meet the specification" in capsys.readouterr().out
