"""The bias search: what it lifts, what it leaves, and that it is the same every time."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.analog.netlist import Netlist
from app.analog.spice import parse_spice
from app.errors import SimulatorFailure
from app.simulators.bias_search import BiasSearchResult, Judged, Lever, judge, search_bias, search_levers
from app.simulators.operating_point import OperatingPointSimulator
from app.simulators.processes import WorkerPool
from app.technologies._base import Technology, technologies
from app.testbenches._pool import simulation_pool
from tests.answering_pool import AnsweringPool

GENERIC = technologies["generic180"]

#: The same, with guesses that keep every MOS off.
MISBIASED = replace(GENERIC, gate_bias_v=0.0, pmos_gate_bias_v=0.0)

#: A telescopic amplifier: five levels, and little room between the rails.
TELESCOPIC = """
M1 N1 VIN1 TAIL VSS nmos
M2 N2 VIN2 TAIL VSS nmos
M3 TAIL VB1 VSS VSS nmos
M4 N3 VB2 N1 VSS nmos
M5 VOUT1 VB2 N2 VSS nmos
M6 N3 VB3 N4 VDD pmos
M7 VOUT1 VB3 N5 VDD pmos
M8 N4 N3 VDD VDD pmos
M9 N5 N3 VDD VDD pmos
"""


def circuit(cards: str) -> Netlist:
    return parse_spice(f"* test\n{cards}\n.end\n").netlist


def found(cards: str, pool: WorkerPool, technology: Technology = GENERIC, points: int = 64) -> BiasSearchResult:
    return search_bias(circuit(cards), technology, pool, points=points)


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("turn_on_v", "cards"),
    [
        (0.0, "M1 VOUT1 VIN1 VSS VSS nmos\nR1 VDD VOUT1 100k"),
        (1.8, "M1 VOUT1 VIN1 VSS VSS nmos\nR1 VDD VOUT1 100k"),
        (0.0, "M1 N1 VIN1 VSS VSS nmos\nM2 VOUT1 VB1 N1 VSS nmos\nM3 VOUT1 VB2 VDD VDD pmos"),
        (1.8, "M1 N1 VIN1 VSS VSS nmos\nM2 VOUT1 VB1 N1 VSS nmos\nR1 VDD VOUT1 10k"),
    ],
)
def test_a_stage_whose_plan_is_wrong_is_lifted_until_all_of_it_is_saturated(
    turn_on_v: float, cards: str, ngspice: WorkerPool
) -> None:
    technology = replace(GENERIC, gate_bias_v=turn_on_v, pmos_gate_bias_v=turn_on_v)
    result = found(cards, ngspice, technology)
    assert result.plan_saturated_share == 0.0
    assert (result.conducting_share, result.saturated_share, result.score) == (1.0, 1.0, 1.0)
    assert 1 < result.points_tried <= 64


@pytest.mark.simulator
def test_a_stack_of_five_levels_is_brought_into_saturation(ngspice: WorkerPool) -> None:
    result = found(TELESCOPIC, ngspice, MISBIASED)
    assert result.plan_saturated_share == 0.0
    assert result.conducting_share == 1.0
    assert result.saturated_share is not None
    assert result.saturated_share >= 0.8


@pytest.mark.simulator
def test_the_bias_that_is_reported_gives_the_figures_that_are_reported(ngspice: WorkerPool) -> None:
    result = found(TELESCOPIC, ngspice, MISBIASED)
    point = OperatingPointSimulator(ngspice, GENERIC).run(circuit(TELESCOPIC), result.bias)
    assert point.conducting_share == result.conducting_share
    assert point.saturated_share == result.saturated_share
    assert point.supply_current_a == pytest.approx(result.supply_current_a, rel=1e-6)
    largest = max(abs(state.current_a) for state in point.devices.values())
    assert largest == pytest.approx(result.largest_current_a, rel=1e-6)


@pytest.mark.simulator
def test_a_search_has_the_same_answer_twice_in_any_worker_and_for_any_order_of_devices(ngspice: WorkerPool) -> None:
    first = found(TELESCOPIC, ngspice, MISBIASED)
    assert first.points_tried > 1
    assert first.bias is not None
    found("M1 VOUT1 VIN1 VSS VSS nmos\nR1 VDD VOUT1 100k", ngspice)
    assert found(TELESCOPIC, ngspice, MISBIASED) == first
    with simulation_pool(size=1) as other:
        assert found(TELESCOPIC, other, MISBIASED) == first
    lines = TELESCOPIC.strip().splitlines()
    random.Random(0).shuffle(lines)
    shuffled = found("\n".join(lines), ngspice, MISBIASED)
    assert shuffled.bias is not None
    assert set(shuffled.bias.voltages) == set(first.bias.voltages)
    assert shuffled.score == first.score


@pytest.mark.simulator
def test_a_bias_that_the_circuit_makes_itself_may_be_fed_from_outside(ngspice: WorkerPool) -> None:
    loop = """
    M1 VB1 VB1 VSS VSS nmos
    M2 N1 VB1 VSS VSS nmos
    M3 N1 N1 VDD VDD pmos
    M4 VOUT1 N1 VDD VDD pmos
    M5 VOUT1 VOUT1 VSS VSS nmos
    """
    result = found(loop, ngspice)
    assert (result.plan_conducting_share, result.conducting_share) == (0.0, 1.0)
    assert result.bias is not None
    (feed,) = result.bias.currents
    assert (feed.net, feed.flows_in) == ("VB1", True)
    assert feed.amperes > 0


@pytest.mark.simulator
def test_what_nothing_sets_is_tried_at_one_point(ngspice: WorkerPool) -> None:
    result = found("M1 N1 N1 VSS VSS nmos\nM2 N1 N1 N2 VDD pmos\nM3 N2 VSS VSS VSS nmos\nR1 VDD N2 1k", ngspice)
    assert (result.points_tried, result.points_converged) == (1, 1)
    assert result.conducting_share == result.plan_conducting_share
    assert result.conducting_share is not None
    assert result.conducting_share < 1


@pytest.mark.simulator
@pytest.mark.parametrize("points", [1, 5, 64])
def test_no_more_points_are_tried_than_were_asked_for(points: int, ngspice: WorkerPool) -> None:
    result = found("M1 N1 VSS VSS VSS nmos\nM2 VOUT1 VIN1 N1 VSS nmos\nR1 VDD VOUT1 10k", ngspice, points=points)
    assert result.points_tried == result.points_converged == points
    assert result.conducting_share == 0.0


@pytest.mark.simulator
@pytest.mark.parametrize(
    "cards",
    [
        "L1 VIN1 VOUT1 1n\nL2 VOUT1 VIN2 1n\nL3 VIN1 VIN2 1n\nM1 VIN1 VIN2 VSS VSS nmos",
        "\n".join(f"M{i} N{i} VIN{1 + i % 9} N{i + 1} VSS nmos\nR{i} N{i} VDD 1" for i in range(100))
        + "\nR200 N100 VSS",
        "\n".join(f"X{i} N{i % 7} N{(i + 1) % 7} VDD VSS inverter" for i in range(14)) + "\nM1 N0 VIN1 VSS VSS nmos",
        "\n".join(f"Q{i} N{i} N{i + 1} N{(i * 7) % 20} npn" for i in range(20)) + "\nR1 N0 VDD\nR2 N20 VSS\nR3 N5 IB1",
        "M1 VOUT1 VIN1 VSS VSS nmos W=1m L=180n M=1000\nR1 VDD VOUT1 1f\nR2 VOUT1 VIN1 1f",
    ],
)
def test_hostile_circuits_end_in_time(cards: str, ngspice: WorkerPool) -> None:
    began = time.monotonic()
    result = found(cards, ngspice)
    assert time.monotonic() - began < 30
    assert result.status in ("ok", "not_converged")
    assert result.points_tried <= 64


def test_a_stopped_search_is_a_failure_and_no_verdict() -> None:
    with pytest.raises(SimulatorFailure, match="the simulation was stopped before it had a result; ask again"):
        found("M1 VOUT1 VIN1 VSS VSS nmos\nR1 VDD VOUT1 100k", AnsweringPool(None))


def test_figures_count_what_conducts_and_what_is_saturated_and_how_near_the_rest_is() -> None:
    on, linear, off = (1e-5, 1.0, 0.2), (1e-5, 0.1, 0.2), (1e-12, 1.0, 0.2)
    judged = judge([on, linear, off, (-1e-5, -1.0, -0.2)], [1e-4], 2e-4)
    assert (judged.conducting, judged.saturated) == (4 / 5, 2 / 4)
    assert judged.score == pytest.approx((4 / 5 + 3 / 5) / 2)
    assert (judged.supply_a, judged.largest_a) == (2e-4, 1e-4)
    assert judge([off], [], 0.0).goal < judge([(1e-9, 1.0, 0.2)], [], 0.0).goal
    assert judge([], [], 1e-6) == Judged(None, None, 1.0, 1.0, 1e-6, 0.0)


def test_a_point_that_does_not_converge_counts_and_is_never_the_best() -> None:
    def evaluate(values: Sequence[float]) -> Judged | None:
        return None if values[0] > 0.5 else Judged(values[0], 0.0, values[0], values[0], 0.0, 0.0)

    trail = search_levers([Lever("voltage", 1.0, 1.8)], evaluate, 64)
    assert trail.plan is None
    assert trail.tried == 64 > trail.converged > 0
    assert trail.best is not None
    assert 0.3 < trail.best.score <= 0.5
    assert trail.values[0] == trail.best.score


def test_the_search_of_a_smooth_hill_ends_near_its_top() -> None:
    top = {"voltage": 1.1, "clock": 0.0, "current": 1e-4, "injection": 2e-5}
    levers = [
        Lever("voltage", 0.2, 1.8),
        Lever("clock", 1.8, 1.8),
        Lever("current", 1e-5, 1e-3),
        Lever("injection", 0.0, 1e-3),
    ]

    def evaluate(values: Sequence[float]) -> Judged:
        off = sum(abs(one.place_of(v) - one.place_of(top[one.kind])) for one, v in zip(levers, values, strict=True))
        return Judged(0.5, 0.5, 0.5, -off, 0.0, 0.0)

    trail = search_levers(levers, evaluate, 64)
    assert trail.best is not None
    assert trail.best.goal > -0.25


@pytest.mark.parametrize("lever", [Lever("voltage", 0.9, 1.8), Lever("clock", 1.8, 1.8), Lever("current", 1e-5, 1e-3)])
def test_a_lever_stays_in_its_range(lever: Lever) -> None:
    assert lever.value_at(lever.place_of(lever.start)) == pytest.approx(lever.start)
    place = lever.place_of(lever.start)
    for step in (0.3, 0.3, 0.3, 0.3, -0.3, -0.3, -0.3, -0.3, -0.3, -0.3):
        place = lever.moved(place, step)
        assert 0 <= lever.value_at(place) <= lever.high
