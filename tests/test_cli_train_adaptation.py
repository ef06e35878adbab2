"""`josephson train simulator --adapt`, `--adapted` and `--forget`: what they keep, tell, refuse and drop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app.analog.canonical import canonical_hash
from app.cli import main
from app.cli.door import Door
from app.simulated_rows import SimulatedRows, simulated_rows_of
from tests.predicting import MILLER, FormulaNetwork, drawn, predictions, simulated_rows
from tests.simulated_rows import bench_of

BENCH = bench_of("opamp/two_stage_miller")
TOPOLOGY = canonical_hash(BENCH.topology)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimulatedRows:
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path / "data"))
    return simulated_rows_of(tmp_path / "data")


@pytest.fixture
def netlist(tmp_path: Path) -> str:
    source = tmp_path / "miller.cir"
    source.write_text(MILLER)
    return str(source)


def run(store: SimulatedRows, *words: str) -> int:
    network = FormulaNetwork()
    door = Door(make_predictions=lambda settings: predictions(network, simulated=store))
    return main(("train", "simulator", *words), door)


def rows_file(tmp_path: Path, rows: Sequence[Any]) -> str:
    target = tmp_path / "rows.ndjson"
    target.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(target)


def simulated(count: int) -> list[dict[str, Any]]:
    made = predictions()
    rows = simulated_rows(made.circuit_model(BENCH), drawn(BENCH, count))
    made.close()
    return rows


def test_rows_are_kept_and_what_they_are_worth_is_told_metric_by_metric(
    store: SimulatedRows, netlist: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = rows_file(tmp_path, simulated(24))
    assert run(store, "--adapt", file, "--netlist", netlist, "--testbench", "opamp") == 0
    said = capsys.readouterr()
    assert said.out.startswith("opamp in generic180: median error of rows that were left out")
    (gain,) = (line.split() for line in said.out.splitlines() if line.startswith("gain_db"))
    assert gain[1] == "24"
    assert float(gain[3]) < float(gain[2]) / 3
    assert "24 rows are kept; predictions of this circuit follow them" in said.err
    assert len(store.rows(BENCH)) == 24
    assert run(store, "--adapt", file, "--netlist", netlist, "--testbench", "opamp", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["corner"]["process"], told["physics"]) == (24, "tt", False)
    assert {each["metric"] for each in told["metrics"]} == {metric.name for metric in BENCH.metrics[:-1]}
    assert len(store.rows(BENCH)) == 24


def test_rows_of_a_corner_are_kept_as_that_corners(store: SimulatedRows, netlist: str, tmp_path: Path):
    file = rows_file(tmp_path, simulated(3))
    words = ("--adapt", file, "--netlist", netlist, "--testbench", "opamp", "--corner", "ss,1.62", "--setting")
    assert run(store, *words, "load_f=3p") == 0
    assert store.rows(BENCH) == ()
    (found,) = store.siblings(BENCH)
    assert (found.corner.process, found.corner.supply_v, found.settings["load_f"]) == ("ss", 1.62, 3e-12)


def test_circuits_with_rows_are_told_and_forgotten(store: SimulatedRows, capsys: pytest.CaptureFixture[str]):
    assert run(store, "--adapted") == 0
    assert "no circuit was simulated here" in capsys.readouterr().err
    store.add(BENCH, simulated(2))
    assert run(store, "--adapted") == 0
    assert f"{TOPOLOGY[:12]}  opamp in generic180" in capsys.readouterr().out
    assert run(store, "--adapted", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)["circuits"]
    assert (told["topology_id"], told["rows"]) == (TOPOLOGY, 2)
    assert run(store, "--forget", "0123456789") == 0
    assert "there were no such rows" in capsys.readouterr().err
    assert run(store, "--forget", TOPOLOGY[:12], "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"forgotten": 2}
    store.add(BENCH, simulated(1))
    assert run(store, "--forget", "all") == 0
    assert store.circuits() == ()


ADAPT = ("--netlist", "NETLIST", "--testbench", "opamp")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--netlist", "x.cir"), "--netlist goes with --adapt ROWS"),
        (("--adapt", "ROWS"), "--adapt needs --netlist: rows do not say what was simulated"),
        (("--adapt", "ROWS", "--netlist", "NETLIST"), "--adapt needs --testbench"),
        (("--adapt", "ROWS", "--adapted"), "--adapt and --adapted are both given; give one of them"),
        (("--forget", "ab"), "--forget 'ab' is too short a name; give 6 letters"),
        (("--adapt", "/nowhere/rows.ndjson", *ADAPT), "--adapt: /nowhere/rows.ndjson cannot be read"),
        (("--adapt", "ROWS", "--netlist", "NETLIST", "--testbench", "opmap"), "did you mean 'opamp'?"),
        (("--adapt", "ROWS", "--netlist", "NETLIST", "--testbench", "mixer"), "has not learnt the testbench 'mixer'"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    store: SimulatedRows, netlist: str, tmp_path: Path, words: tuple[str, ...], sentence: str,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    named = {"ROWS": rows_file(tmp_path, simulated(2)), "NETLIST": netlist}
    assert run(store, *(named.get(word, word) for word in words)) == 2
    assert sentence in capsys.readouterr().err
    assert store.circuits() == ()


def without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda row: {"w_m1": 1e-6}, "--adapt: row 2 is no row of a simulation"),
        (lambda row: without(row, "metrics"), "--adapt: row 2 is no row of a simulation"),
        (lambda row: row | {"metrics": {"gain_db": "high"}}, "--adapt: row 2: gain_db is 'high', which is no number"),
        (lambda row: row | {"metrics": {"gain_db": float("nan")}}, "row 2: gain_db is 'nan', which is no number"),
        (lambda row: row | {"undefined": {"gain_db": "none"}}, "--adapt: row 2: 'undefined' does not say why"),
        (lambda row: row | {"sizes": without(row["sizes"], "w_m1")}, "--adapt: row 2 has no size w_m1"),
        (lambda row: row | {"sizes": row["sizes"] | {"w_m99": 1e-6}}, "no size named 'w_m99'"),
        (lambda row: row | {"sizes": row["sizes"] | {"w_m1": None}}, "row 2: w_m1 is 'None', which is no number"),
        (lambda row: row | {"sizes": row["sizes"] | {"w_m1": -1.0}}, "size w_m1 is -1 m, it must be positive"),
    ],
)
def test_what_is_no_row_of_the_netlists_simulation_is_refused_before_anything_is_kept(
    store: SimulatedRows, netlist: str, tmp_path: Path, spoil: Any, sentence: str, capsys: pytest.CaptureFixture[str]
):
    first, second = simulated(2)
    file = rows_file(tmp_path, [first, spoil(second)])
    assert run(store, "--adapt", file, "--netlist", netlist, "--testbench", "opamp") == 2
    assert sentence in capsys.readouterr().err
    assert store.circuits() == ()


def test_rows_that_say_nothing_are_refused(
    store: SimulatedRows, netlist: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    silent = BENCH.failed_row(0, BENCH.space.start, "timeout", "it took too long")
    assert run(store, "--adapt", rows_file(tmp_path, [silent]), "--netlist", netlist, "--testbench", "opamp") == 2
    assert "no row has a metric that the model has learnt" in capsys.readouterr().err


def test_predictions_say_how_many_simulations_they_follow(
    store: SimulatedRows, netlist: str, capsys: pytest.CaptureFixture[str]
):
    store.add(BENCH, simulated(12))
    door = Door(make_predictions=lambda settings: predictions(simulated=store))
    assert main(("predict", netlist, "--testbench", "opamp"), door) == 0
    assert "  following 12 simulations of this circuit on this machine\n" in capsys.readouterr().out
    assert main(("predict", netlist, "--testbench", "opamp", "--no-adapt"), door) == 0
    assert "following" not in capsys.readouterr().out
