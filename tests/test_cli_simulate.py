"""`josephson simulate` and `josephson testbench`: what they print, what they refuse, and how they leave."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli import main
from app.cli.door import Door
from app.cli.simulation_options import corner_of, simulate_request
from app.errors import InvalidRequest
from app.requests import AnalogSimulateRequest, JobRequest
from app.testbenches._base import testbenches
from app.testing import FakeWorkshop
from app.workshop import Row
from tests.bench_workshop import PAIR


@pytest.fixture
def netlist(tmp_path: Path) -> str:
    source = tmp_path / "pair.cir"
    source.write_text(PAIR)
    return str(source)


def run(*words: str, workshop: FakeWorkshop | None = None) -> int:
    return main(words, Door(make_simulations=lambda settings: workshop or FakeWorkshop()))


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class NeverConverging(FakeWorkshop):
    """Every sizing fails."""

    async def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        for index in indices:
            await asyncio.sleep(0)
            why = {"cause": "simulator", "reason": "ngspice found no operating point"}
            common = {"index": index, "status": "not_converged", "relaxed": False, "sizes": {}, "timings": {}}
            yield common | {"metrics": {"gain_db": None}, "undefined": {"gain_db": why}, "message": why["reason"]}


def test_one_sizing_is_a_table_of_metrics_with_units_and_reasons(netlist: str, capsys: pytest.CaptureFixture[str]):
    assert run("simulate", netlist, "--testbench", "opamp") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0] == "opamp in generic180 (tt, 1.8 V, 27 C): ok"
    assert any(line.split()[0::2] == ["gain_db", "dB"] for line in lines if line.startswith("gain_db"))
    assert any(line.startswith("r1_ohm") and line.endswith("ohm") for line in lines)
    assert "1 sizing in" in said.err
    seed = next(seed for seed in range(99) if undefined_at(netlist, seed))
    assert run("simulate", netlist, "--testbench", "opamp", "-n", "1", "--seed", str(seed)) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("ugf_hz"))
    assert line.split(maxsplit=3) == ["ugf_hz", "-", "Hz", "the gain never crosses 0 dB"]


def undefined_at(netlist: str, seed: int) -> bool:
    """True where the fake's first row of this seed is ok and has no unity-gain frequency."""

    async def first() -> Row:
        request = AnalogSimulateRequest(netlist=netlist, testbench="opamp", seed=seed)
        return await anext(aiter(FakeWorkshop().produce("analog.simulate", request, [0])))

    row = asyncio.run(first())
    return row["status"] == "ok" and bool(row["undefined"])


def test_many_sizings_are_a_table_of_ranges(netlist: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    target = tmp_path / "rows.ndjson"
    words = ("simulate", netlist, "--testbench", "opamp", "--count", "60", "--seed", "1", "-o", str(target))
    assert run(*words) == 0
    said = capsys.readouterr()
    rows = rows_of(target)
    ok = sum(row["status"] == "ok" for row in rows)
    assert [row["index"] for row in rows] == list(range(60))
    assert f"{ok} ok" in said.out
    assert f"{60 - ok} not_converged" in said.out
    gains = [row["metrics"]["gain_db"] for row in rows if row["metrics"]["gain_db"] is not None]
    (line,) = (line.split() for line in said.out.splitlines() if line.startswith("gain_db"))
    assert line[:2] == ["gain_db", f"{len(gains)}/60"]
    assert [float(line[2]), float(line[4])] == pytest.approx([min(gains), max(gains)], rel=1e-4)
    assert "60 sizings in" in said.err
    assert f"({ok} ok, {60 - ok} invalid); seed 1" in said.err


def test_rows_go_to_standard_output_where_that_is_asked_for(netlist: str, capsys: pytest.CaptureFixture[str]):
    assert run("simulate", netlist, "--testbench", "opamp", "-n", "5", "--output", "-") == 0
    assert [json.loads(line)["index"] for line in capsys.readouterr().out.splitlines()] == [0, 1, 2, 3, 4]


def test_json_is_one_document(netlist: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for output in ((), ("--output", "-")):
        assert run("simulate", netlist, "--testbench", "opamp", "-n", "4", "--seed", "2", "--json", *output) == 0
        document = json.loads(capsys.readouterr().out)
        assert [row["index"] for row in document["rows"]] == [0, 1, 2, 3]
        assert (document["testbench"], document["seed"], document["counts"]["total"]) == ("opamp", 2, 4)
        assert document["sizes"][0]["name"] == "r1_ohm"
    target = tmp_path / "rows.ndjson"
    assert run("simulate", netlist, "--testbench", "opamp", "-n", "4", "--json", "-o", str(target)) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["output"] == str(target)
    assert "rows" not in document
    assert document["counts"]["done"] == len(rows_of(target)) == 4


def test_where_no_sizing_has_a_result_the_status_is_1(netlist: str, capsys: pytest.CaptureFixture[str]):
    assert run("simulate", netlist, "--testbench", "opamp", workshop=NeverConverging()) == 1
    out = capsys.readouterr().out
    assert "(tt, 1.8 V, 27 C): not_converged" in out
    assert "  ngspice found no operating point" in out
    assert run("simulate", netlist, "--testbench", "opamp", "-n", "3", workshop=NeverConverging()) == 1
    assert "gain_db: ngspice found no operating point (3)" in capsys.readouterr().out


def test_what_is_asked_reaches_the_request(netlist: str, tmp_path: Path):
    lines = tmp_path / "sizings.ndjson"
    lines.write_text('{"w_m1": 5e-6}\n\n{"index": 3, "status": "ok", "sizes": {"w_m1": 1e-5, "l_m1": 2e-7}}\n')
    common: dict[str, Any] = {"netlist": netlist, "testbench": "opamp"}
    fields = simulate_request(
        **common, technology="generic45", corner="ss,0.9,-40", sizings=str(lines), metric=["gain_db"],
        setting=["load_f=2p"], port=["output=VOUT1"], deck=True, operating_point=True,
    )  # fmt: skip
    assert fields == {
        "netlist": PAIR, "testbench": "opamp", "technology": "generic45",
        "corner": {"process": "ss", "supply_v": 0.9, "celsius": -40.0},
        "sizings": [{"w_m1": 5e-6}, {"w_m1": 1e-5, "l_m1": 2e-7}],
        "metrics": ["gain_db"], "settings": {"load_f": 2e-12}, "ports": {"output": "VOUT1"},
        "include_deck": True, "include_operating_point": True,
    }  # fmt: skip
    assert simulate_request(**common, sizing=["w_m1=5u", "l_m1=0.2u"])["sizings"] == [{"w_m1": 5e-6, "l_m1": 2e-7}]
    assert simulate_request(**common, count=7)["draw"] == {"count": 7}
    assert simulate_request(**common, method="log_uniform")["draw"] == {"count": 1, "method": "log_uniform"}
    whole = simulate_request(**common, count=7, seed=1, corner="ss", metric=["x"], setting=["a=1"], port=["b=c"],
                             technology="t", sizing=["d=1"])  # fmt: skip
    assert set(whole) == set(AnalogSimulateRequest.model_fields)


@pytest.mark.parametrize(
    ("text", "corner"),
    [
        ("ss", {"process": "ss"}),
        ("ss,1.62", {"process": "ss", "supply_v": 1.62}),
        ("ss,1.62V,125C", {"process": "ss", "supply_v": 1.62, "celsius": 125.0}),
        (",,-40", {"celsius": -40.0}),
    ],
)
def test_a_corner_is_a_process_a_supply_and_a_temperature(text: str, corner: dict[str, object]):
    assert corner_of(text) == corner


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--corner", "ss,1,2,3"), "--corner 'ss,1,2,3' has more than process, volts and degrees Celsius"),
        (("--corner", "ss,high"), "--corner: 'high' is not a SPICE number"),
        (("--sizing", "w_m1"), "--sizing 'w_m1' is not of the form NAME=VALUE"),
        (("--sizing", "w_m1=wide"), "--sizing: 'wide' is not a SPICE number"),
        (("--sizing", "w_m1=nan"), "--sizing: 'nan' is not a SPICE number"),
        (("--sizing", "w_m1=1u", "--sizing", "w_m1=2u"), "--sizing names 'w_m1' twice"),
        (("--sizing", "w_m1=1u", "--sizings", "x"), "--sizing and --sizings are both given; give one of them"),
        (("--sizing", "w_m1=1u", "--count", "3"), "--count: sizings and draw are both given; give one of them"),
        (("--sizings", "/nowhere/x"), "--sizings: /nowhere/x cannot be read: No such file"),
        (("--count", "0"), "--count: Input should be greater than or equal to 1"),
        (("--count", "2000000"), "--count: Input should be less than or equal to 1000000"),
        (("--method", "gudied"), "--count: Input should be 'guided', 'log_uniform' or 'start'"),
        (("--setting", "load_f"), "--setting 'load_f' is not of the form NAME=VALUE"),
        (("--port", "=N1"), "--port '=N1' is not of the form NAME=VALUE"),
        (("--output", "/nowhere/rows"), "--output: /nowhere/rows cannot be written: No such file"),
    ],
)
def test_what_was_asked_wrongly_is_status_2_and_names_the_option(
    netlist: str, words: Sequence[str], sentence: str, capsys: pytest.CaptureFixture[str]
):
    assert run("simulate", netlist, "--testbench", "opamp", *words, "--json") == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert sentence in json.loads(said.out)["error"]["message"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"w_m1": 1e-6}\n{"w_m1": \n', "line 2 is not JSON; a sizing is an object such as"),
        ("[1]\n", "line 1 is no JSON object; a sizing is one such as"),
        ("\n", "has no sizing; write one JSON object a line"),
        ('{"sizes": 3}\n', "--sizing: Input should be a valid dictionary"),
        ('{"w_m1": NaN}\n', "--sizing: Input should be a finite number"),
    ],
)
def test_a_file_of_sizings_is_one_object_a_line(
    netlist: str, tmp_path: Path, text: str, sentence: str, capsys: pytest.CaptureFixture[str]
):
    lines = tmp_path / "sizings.ndjson"
    lines.write_text(text)
    assert run("simulate", netlist, "--testbench", "opamp", "--sizings", str(lines)) == 2
    assert sentence in capsys.readouterr().err


def test_a_file_of_sizings_that_is_no_text_or_too_long_is_refused(
    netlist: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lines = tmp_path / "sizings.ndjson"
    lines.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidRequest, match="is not UTF-8 text; convert it first"):
        simulate_request(netlist=netlist, testbench="opamp", sizings=str(lines))
    lines.write_text("{}\n" * 4)
    monkeypatch.setattr("app.requests.MAX_JOB_COUNT", 3)
    with pytest.raises(InvalidRequest, match="has more than 3 sizings; split it"):
        simulate_request(netlist=netlist, testbench="opamp", sizings=str(lines))


def test_a_job_of_sizings_is_submitted_with_the_same_options(netlist: str, capsys: pytest.CaptureFixture[str]):
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(202, json={"id": "01job"})

    door = Door(make_client=lambda url: httpx.Client(base_url=url, transport=httpx.MockTransport(answer)))
    words = ("jobs", "submit", "simulate", netlist, "--testbench", "opamp", "-n", "100000", "--seed", "1")
    assert main(words, door) == 0
    assert capsys.readouterr().out == "01job\n"
    assert bodies[0]["kind"] == "analog.simulate"
    assert bodies[0]["request"]["draw"] == {"count": 100_000}
    assert bodies[0]["request"]["netlist"] == PAIR


def test_testbenches_are_listed_and_shown(capsys: pytest.CaptureFixture[str]):
    assert run("testbench", "list") == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == set(testbenches)
    assert run("testbench", "list", "--json") == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["testbenches"]] == list(testbenches)
    assert run("testbench", "show", "opamp") == 0
    shown = capsys.readouterr().out
    for metric in testbenches["opamp"].metrics:
        assert f"{metric.name:<28} {metric.unit:<8} {metric.definition}" in shown
        assert metric.undefined in shown
    assert run("testbench", "show", "opamp", "--json") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "opamp"
    assert run("testbench", "show", "opmap") == 2
    assert "no testbench named 'opmap'; did you mean 'opamp'?" in capsys.readouterr().err


def test_simulating_loads_neither_torch_nor_qiskit():
    code = (
        "import sys, app.cli.simulate, app.cli.rows, app.simulations\n"
        "print([name for name in ('torch', 'qiskit', 'fastapi', 'sqlalchemy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.simulator
def test_the_command_simulates(
    netlist: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path))
    target = tmp_path / "rows.ndjson"
    words = ("simulate", netlist, "--testbench", "opamp", "--metric", "gain_db", "--corner", "ss,1.62,125")
    assert main([*words, "-n", "8", "--seed", "1", "-o", str(target)]) == 0
    assert "opamp in generic180 (ss, 1.62 V, 125 C): 8 ok" in capsys.readouterr().out
    assert main([*words, "--sizings", str(target), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["rows"]
    assert [row["metrics"] for row in again] == [row["metrics"] for row in rows_of(target)]
    assert main([*words, "--sizing", "w_m1=1"]) == 2
    assert "size w_m1 is 1 m, it may be 2.2e-07 to 0.0002 m" in capsys.readouterr().err
