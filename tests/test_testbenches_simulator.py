"""Sizings through worker processes: the same digits every way, a row for every accident, nothing lost on the way."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.analog.corpus import read_archetypes
from app.analog.netlist import Netlist
from app.analog.spice import parse_spice
from app.errors import InvalidRequest, UnknownName
from app.simulators.processes import WorkerPool
from app.technologies._base import technologies
from app.testbenches._base import testbenches
from app.testbenches._pool import simulation_pool
from app.testbenches._simulator import Bench, BenchSimulator, make_corner, prepare_bench

pytestmark = pytest.mark.simulator


@pytest.fixture(scope="module")
def miller() -> Netlist:
    return next(circuit.netlist for circuit in read_archetypes() if circuit.id.endswith("two_stage_miller"))


@pytest.fixture(scope="module")
def bench(miller: Netlist) -> Bench:
    return prepare_bench(miller, testbenches["opamp"], technologies["generic180"])


def vectors(bench: Bench, count: int) -> list[tuple[float, ...]]:
    """Different sizings around the start."""
    return [
        bench.space.vector(
            {
                variable.name: min(variable.high, variable.start * (1 + 0.07 * ((7 * number + place) % 13)))
                for place, variable in enumerate(bench.space.variables)
                if not variable.is_integer
            }
        )
        for number in range(count)
    ]


def digits(rows: list[dict[str, Any]]) -> dict[int, str]:
    return {row["index"]: repr(row["metrics"]) for row in rows}


def test_a_sizing_has_the_same_digits_alone_in_a_crowd_and_on_any_worker(bench: Bench, ngspice: WorkerPool) -> None:
    sizings = vectors(bench, 12)
    simulator = BenchSimulator(ngspice)
    crowd = digits(list(simulator.run(bench, sizings)))
    backwards = {11 - index: text for index, text in digits(list(simulator.run(bench, sizings[::-1]))).items()}
    with simulation_pool(size=1) as pool:
        alone = {
            index: digits(list(BenchSimulator(pool).run(bench, [sizing])))[0] for index, sizing in enumerate(sizings)
        }
    assert crowd == backwards == alone
    assert len(set(crowd.values())) == 12


def test_no_testbench_leaves_anything_to_the_circuit_after_it(bench: Bench) -> None:
    """Options, breakpoints and shunt capacitances of a deck end with it."""
    circuits = {circuit.type: circuit.netlist for circuit in read_archetypes()}
    with simulation_pool(size=1) as pool:
        simulator = BenchSimulator(pool)
        first = digits(list(simulator.run(bench, [bench.space.start])))
        for other in testbenches.values():
            netlist = circuits[other.types[0]]
            try:
                between = prepare_bench(netlist, other, technologies["generic180"])
            except InvalidRequest:
                continue
            assert len(list(simulator.run(between, [between.space.start]))) == 1
            assert digits(list(simulator.run(bench, [bench.space.start]))) == first, other.name


def test_a_metric_has_the_same_digits_whatever_else_is_asked_for(miller: Netlist, ngspice: WorkerPool) -> None:
    def gain(*metrics: str) -> Any:
        prepared = prepare_bench(miller, testbenches["opamp"], technologies["generic180"], metrics=metrics)
        (row,) = BenchSimulator(ngspice).run(prepared, [prepared.space.start])
        assert set(row["metrics"]) == set(metrics)
        return row["metrics"]["psrr_db"]

    assert gain("psrr_db") == gain("supply_current_a", "psrr_db", "input_noise_v", "slew_rate_v_per_s")


def test_runs_that_no_metric_reads_are_not_simulated(miller: Netlist) -> None:
    prepared = prepare_bench(miller, testbenches["opamp"], technologies["generic180"], metrics=["psrr_db"])
    assert [run.name for setup in prepared.setups for run in setup.runs] == ["op", "differential", "supply"]
    assert prepared.setups[0].runs[2].before[0] == "alter v_tb_common acmag=1"


@pytest.mark.skipif(shutil.which("ngspice") is None, reason="the ngspice program is not installed")
def test_the_deck_of_a_row_gives_the_same_figures_in_the_ngspice_program(
    bench: Bench, ngspice: WorkerPool, tmp_path: Path
) -> None:
    sizing = vectors(bench, 3)[2]
    (row,) = BenchSimulator(ngspice).run(bench, [sizing])
    deck = tmp_path / "deck.cir"
    decks = bench.decks(sizing, row["derived"])
    assert set(decks) == {"open_loop", "buffer"}
    deck.write_text(decks["open_loop"])
    printed = subprocess.run(
        ["ngspice", "-b", "-n", str(deck)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OMP_THREAD_LIMIT": "1"},
    ).stdout
    currents = [float(line.split("=")[1]) for line in printed.splitlines() if line.startswith("i(v_vdd) =")]
    assert -currents[0] == pytest.approx(row["metrics"]["supply_current_a"], rel=1e-10)


def test_corners_change_the_answer_in_the_direction_of_the_corner(miller: Netlist, ngspice: WorkerPool) -> None:
    technology = technologies["generic180"]

    def at(**corner: Any) -> dict[str, float]:
        prepared = prepare_bench(miller, testbenches["opamp"], technology, corner=make_corner(technology, **corner))
        (row,) = BenchSimulator(ngspice).run(prepared, [prepared.space.start])
        assert row["status"] == "ok"
        metrics: dict[str, float] = row["metrics"]
        return metrics

    nominal = at()
    assert at(celsius=125.0)["ugf_hz"] < nominal["ugf_hz"] < at(celsius=-40.0)["ugf_hz"]
    assert at(supply_v=1.98)["power_w"] > nominal["power_w"] > at(supply_v=1.62)["power_w"]


def test_a_circuit_whose_nets_float_is_a_row_without_any_simulation(ngspice: WorkerPool) -> None:
    netlist = parse_spice(
        "* t\n* ports: VDD VSS VIN1 VIN2 VOUT1\nM1 VOUT1 N1 VSS VSS nmos\nM2 VOUT1 N1 VDD VDD pmos\n"
        "C1 VIN1 N1 1p\nC2 VIN2 N1 1p\n.end\n"
    ).netlist
    prepared = prepare_bench(netlist, testbenches["opamp"], technologies["generic180"])
    (row,) = BenchSimulator(ngspice).run(prepared, [prepared.space.start])
    assert row["status"] == "not_converged"
    assert row["message"] == "no direct current can reach net N1, so its voltage is undefined"
    assert row["undefined"]["gain_db"]["cause"] == "simulator"


def test_a_sizing_without_end_costs_a_timeout_and_no_other_row(miller: Netlist) -> None:
    prepared = prepare_bench(miller, testbenches["opamp"], technologies["generic180"])
    with simulation_pool(size=1, timeout_s=0.2) as pool:
        simulator = BenchSimulator(pool)
        list(simulator.run(prepared, [prepared.space.start]))
        pool.timeout_s = 1e-3
        rows = list(simulator.run(prepared, vectors(prepared, 4)))
        assert [row["status"] for row in rows] == ["timeout"] * 4
        assert {row["index"] for row in rows} == {0, 1, 2, 3}
        assert all(row["metrics"]["gain_db"] is None for row in rows)
        pool.timeout_s = 20.0
        assert [row["status"] for row in simulator.run(prepared, vectors(prepared, 4))] == ["ok"] * 4


def test_closing_the_iterator_stops_the_work(bench: Bench) -> None:
    with simulation_pool(size=1) as pool:
        rows = BenchSimulator(pool).run(bench, vectors(bench, 500))
        next(rows)
        rows.close()
        (row,) = BenchSimulator(pool).run(bench, [bench.space.start])
        assert row["status"] == "ok"
        assert pool.statistics()["queued"] == 0


def test_two_callers_share_the_workers_and_each_gets_its_own_rows(bench: Bench, ngspice: WorkerPool) -> None:
    first = BenchSimulator(ngspice).run(bench, vectors(bench, 20), range(100, 120))
    second = BenchSimulator(ngspice).run(bench, vectors(bench, 20), range(200, 220))
    seen = [row["index"] for pair in zip(first, second, strict=True) for row in pair]
    assert sorted(seen) == [*range(100, 120), *range(200, 220)]


def test_sizes_are_checked_before_anything_is_simulated(bench: Bench) -> None:
    name = bench.space.variables[0].name
    high = bench.space.variables[0].high
    with pytest.raises(UnknownName, match="no size named 'w_nothing'"):
        bench.space.vector({"w_nothing": 1e-6})
    with pytest.raises(InvalidRequest, match=f"size {name} is nan, which is no number"):
        bench.space.vector({name: math.nan})
    with pytest.raises(InvalidRequest, match=f"size {name} is .* it may be"):
        bench.space.vector({name: 2 * high})


def test_an_operating_point_tells_of_every_transistor(miller: Netlist, ngspice: WorkerPool) -> None:
    prepared = prepare_bench(
        miller, testbenches["opamp"], technologies["generic180"], metrics=["gain_db"], with_facts=True
    )
    (row,) = BenchSimulator(ngspice).run(prepared, [prepared.space.start])
    assert set(row["operating_point"]) == {f"M{number}" for number in range(1, 9)}
    assert row["operating_point"]["M1"]["gm"] > 0


@pytest.mark.slow
def test_ten_thousand_sizings_stay_below_a_hundred_megabytes(miller: Netlist) -> None:
    prepared = prepare_bench(miller, testbenches["opamp"], technologies["generic180"], metrics=["gain_db"])
    with simulation_pool(size=1) as pool:
        pool.recycle_after = 10**9
        sizings = vectors(prepared, 50)
        simulator = BenchSimulator(pool)
        for _ in range(200):
            assert sum(1 for _ in simulator.run(prepared, sizings)) == 50
        (process,) = _children()
        kilobytes = int(next(line for line in process.read_text().splitlines() if line.startswith("VmRSS")).split()[1])
    assert kilobytes < 100_000


def _children() -> list[Path]:
    """The status files of this process's own workers."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            is_ours = f"PPid:\t{os.getpid()}\n" in status.read_text()
            if is_ours and b"app.testbenches._worker" in (status.parent / "cmdline").read_bytes():
                found.append(status)
        except OSError:
            continue
    return found
