from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from app.benchmarks.simulator import ANALYSES, bench_simulator, memory_of_a_worker
from app.cli import main
from app.technologies._base import technologies


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """A short run in one technology."""
    said: list[str] = []
    found = bench_simulator([technologies["generic180"]], seconds=0.02, rounds=1, decks=2, note=said.append)
    assert said == [f"generic180, {analysis}" for analysis in ANALYSES]
    return found


@pytest.mark.simulator
def test_every_way_simulates_the_same_sizings_to_the_same_digits(report: dict[str, Any]):
    assert [cell["analysis"] for cell in report["cells"]] == list(ANALYSES)
    for cell in report["cells"]:
        assert cell["workers_and_loop_agree"]
        assert {"one_worker", "bare_loop", "two_workers"} <= set(cell["ways"])
        assert cell["pool_to_bare"] > 0
        assert cell["two_to_one"] > 0
        if shutil.which("ngspice"):
            assert cell["ngspice_b_agrees"]
            assert cell["ways"]["ngspice_b"]["per_cpu_s"] > 0


@pytest.mark.simulator
def test_memory_of_a_worker_is_told_before_and_after():
    found = memory_of_a_worker(technologies["generic180"], runs=100)
    assert found["runs"] == 128
    assert 10e6 < found["first_bytes"] <= found["most_bytes"] < 200e6
    assert found["growth_bytes"] == found["last_bytes"] - found["first_bytes"]


@pytest.mark.simulator
def test_the_command_prints_a_row_for_every_analysis(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("app.benchmarks.simulator.bench_simulator", lambda *which, **how: report)
    assert main(["bench", "simulator", "--technology", "generic180"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[2:]] == [["generic180", analysis] for analysis in ANALYSES]
    assert all(line.endswith("yes") for line in lines[2:])


def test_an_unknown_technology_is_named(capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "simulator", "--technology", "generic18", "--json"]) == 2
    assert "did you mean 'generic180'" in json.loads(capsys.readouterr().out)["error"]["message"]
