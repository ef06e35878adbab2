"""The testbench of ring oscillators, and what counts as a steady oscillation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.analog.netlist import Netlist
from app.errors import InvalidRequest
from app.simulators.processes import WorkerPool
from app.technologies._base import technologies
from app.testbenches._base import Undefined, testbenches
from app.testbenches._oscillation import Oscillation, expected_swing, find_oscillation, high_share
from app.testbenches._simulator import make_corner
from app.testbenches.ring_oscillator import held_net
from tests.bench_rows import archetype, circuit, refusal_of, row_of

TIME = np.linspace(0, 30e-9, 1201)


def sine(envelope: np.ndarray | float = 1.0, frequency_hz: float = 1e9) -> np.ndarray:
    return np.asarray(0.9 + envelope * np.sin(2 * np.pi * frequency_hz * TIME + 0.3))


def steady(curve: np.ndarray) -> Oscillation:
    found = find_oscillation(TIME, curve, 0.01)
    assert isinstance(found, Oscillation)
    return found


def reason(curve: np.ndarray, time: np.ndarray = TIME) -> Undefined:
    found = find_oscillation(time, curve, 0.01)
    assert isinstance(found, Undefined)
    return found


def test_a_sine_has_its_frequency_and_swing() -> None:
    found = steady(sine())
    assert found.frequency_hz == pytest.approx(1e9, rel=1e-4)
    assert found.swing == pytest.approx(2.0, rel=1e-3)
    assert (found.end_s - found.begin_s) * 1e9 == pytest.approx(found.periods, rel=1e-4)


def test_a_dip_within_the_period_is_no_period() -> None:
    assert steady(sine() + 0.5 * np.sin(6 * np.pi * 1e9 * TIME)).frequency_hz == pytest.approx(1e9, rel=1e-3)


def test_an_oscillation_has_started_where_its_swing_stays_within_a_tenth_of_the_final_one() -> None:
    started = steady(sine(1 - np.exp(-TIME / 3e-9))).started_s
    assert started == pytest.approx(3e-9 * math.log(10), abs=1e-9)


def test_a_curve_that_settles_does_not_oscillate() -> None:
    found = reason(sine(np.exp(-TIME / 1e-9)))
    assert found == Undefined("it does not oscillate: the output settles at 0.9 V", "circuit")


def test_an_oscillation_that_dies_away_is_the_circuits_doing() -> None:
    found = reason(sine(np.exp(-TIME / 15e-9)))
    assert found.cause == "circuit"
    assert found.reason.startswith("the oscillation dies away: its swing falls from 0.")


def test_an_oscillation_that_still_grows_is_told_apart_from_one_that_dies() -> None:
    found = reason(sine(0.1 * np.exp(TIME / 15e-9)))
    assert found.cause == "simulator"
    assert "is not steady by the end of the transient: its swing still grows, from 0." in found.reason


def test_a_swing_that_falls_to_a_smaller_one_is_not_dying() -> None:
    falling = 1 + np.exp(-TIME / 10e-9)
    found = reason(sine(falling))
    assert found.cause == "simulator"
    assert "still falls" in found.reason
    assert expected_swing(TIME, sine(falling), 0.01) == pytest.approx(2.0, rel=0.05)


def test_the_swing_that_a_growing_oscillation_is_heading_for_is_at_most_doubled() -> None:
    growing = 0.1 * np.exp(TIME / 15e-9)
    expected = expected_swing(TIME, sine(growing), 0.01)
    assert expected == pytest.approx(4 * growing[TIME > 20e-9].mean(), rel=0.1)
    assert isinstance(expected_swing(TIME, 0 * TIME, 0.01), Undefined)


def test_too_few_periods_are_no_oscillation() -> None:
    found = reason(sine(frequency_hz=0.1e9))
    assert found == Undefined("the transient of 3e-08 s holds 2 whole periods, fewer than 4", "simulator")


def test_a_curve_without_a_steady_period_is_no_oscillation() -> None:
    wandering = 0.9 + np.sin(2 * np.pi * 1e9 * (TIME + 0.1e-9 * np.sin(2 * np.pi * 0.21e9 * TIME)))
    assert reason(wandering) == Undefined("the output swings without a steady period", "simulator")


def test_the_share_of_time_above_a_level_is_the_duty_cycle() -> None:
    square = np.where((TIME * 1e9) % 1 < 0.3, 1.8, 0.0)
    share = high_share(TIME, square, 0.9, steady(square))
    assert share == pytest.approx(0.3, abs=0.01)
    assert high_share(TIME, square, 2.0, steady(square)) is None


def test_a_circuit_without_an_output_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        testbenches["ring_oscillator"].wire(circuit("VDD VSS", "R1 VDD A 1k", "R2 A VSS 1k"))
    assert str(refused.value) == (
        "testbench ring_oscillator cannot drive this circuit: it has no output (the output whose swing is measured); "
        "name the port VOUT1, or say which it is under 'ports'"
    )


@pytest.mark.parametrize(
    ("name", "net"), [("ring_three_stage", "VOUT1"), ("current_starved_ring", "VOUT1"), ("lc_complementary", "VOUT1")]
)
def test_an_output_in_the_loop_is_held(name: str, net: str) -> None:
    assert held_net(archetype(f"oscillator/{name}"), net) == net


def test_a_net_of_the_loop_is_held_where_the_output_follows_a_buffer() -> None:
    ring = archetype("oscillator/ring_three_stage")
    buffer = circuit("VDD VSS VOUT2", "M7 VOUT2 VOUT1 VSS VSS nmos", "M8 VOUT2 VOUT1 VDD VDD pmos")
    assert held_net(Netlist((*ring.devices, *buffer.devices), ring.ports), "VOUT2") == "N1"


def test_without_a_loop_the_output_is_held() -> None:
    mirror = circuit("VDD VSS VOUT1", "M1 A A VSS VSS nmos", "M2 VOUT1 A VSS VSS nmos", "R1 VDD A", "R2 VDD VOUT1")
    assert held_net(mirror, "VOUT1") == "VOUT1"


def test_a_circuit_with_a_coil_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        testbenches["ring_oscillator"].wire(archetype("oscillator/lc_complementary"))
    assert str(refused.value) == (
        "testbench ring_oscillator cannot drive this circuit: it has a coil (L1); use testbench lc_oscillator"
    )


R_OHM, C_F = 10e3, 20e-12


def resistive_ring(width: str, *more: str) -> Netlist:
    """Three common-source stages with resistive loads; each is one pole of (1/R + gds) / C."""
    stages = (("VOUT1", "A"), ("A", "B"), ("B", "VOUT1"))
    cards = [
        card
        for number, (into, out) in enumerate(stages)
        for card in (
            f"M{number} {out} {into} VSS VSS nmos W={width} L=1u",
            f"R{number} VDD {out} {R_OHM:g}",
            f"C{number} {out} VSS {C_F:g}",
        )
    ]
    return circuit("VDD VSS VOUT1", *cards, *more)


@pytest.mark.simulator
def test_a_ring_of_three_poles_has_root_three_times_their_frequency(ngspice: WorkerPool) -> None:
    """Barkhausen: each stage turns by 60 degrees, where its gain is half of gm R, so that has to be just above 2."""
    row = row_of(ngspice, resistive_ring("2.2u"), "ring_oscillator", settings={"load_f": 0.0}, with_facts=True)
    facts = row["operating_point"]["M0"]
    conductance = 1 / R_OHM + facts["gds"]
    assert 2.05 < facts["gm"] / conductance < 2.25
    expected = math.sqrt(3) * conductance / (2 * math.pi * C_F)
    metrics = row["metrics"]
    assert metrics["frequency_hz"] == pytest.approx(expected, rel=0.01)
    assert 0.1 < metrics["swing_v"] < 1.0
    assert metrics["oscillating_power_w"] == pytest.approx(1.8 * metrics["oscillating_current_a"])
    assert metrics["energy_per_cycle_j"] == pytest.approx(metrics["oscillating_power_w"] / expected, rel=0.01)


@pytest.mark.simulator
def test_a_ring_whose_stages_have_too_little_gain_settles(ngspice: WorkerPool) -> None:
    row = row_of(ngspice, resistive_ring("1.5u"), "ring_oscillator", settings={"load_f": 0.0}, with_facts=True)
    facts = row["operating_point"]["M0"]
    assert facts["gm"] / (1 / R_OHM + facts["gds"]) < 2
    cause, sentence = refusal_of(row, "frequency_hz")
    assert cause == "circuit"
    assert sentence.startswith("it does not oscillate: the output settles at 1.")


@pytest.mark.simulator
def test_a_resistor_across_the_supply_adds_its_current(ngspice: WorkerPool) -> None:
    only = ["supply_current_a", "oscillating_current_a"]
    alone, beside = (
        row_of(ngspice, resistive_ring("5u", *more), "ring_oscillator", metrics=only)["metrics"]
        for more in ((), ("R9 VDD VSS 1k",))
    )
    assert beside["oscillating_current_a"] - alone["oscillating_current_a"] == pytest.approx(1.8e-3, rel=0.01)
    assert beside["supply_current_a"] - alone["supply_current_a"] == pytest.approx(1.8e-3, rel=0.01)


@pytest.mark.simulator
def test_tuning_gain_and_pushing_are_differences_of_two_simulations(ngspice: WorkerPool) -> None:
    ring, technology = archetype("oscillator/current_starved_ring"), technologies["generic180"]
    low = row_of(ngspice, ring, "ring_oscillator", settings={"control_v": 0.7})["metrics"]
    only = ["frequency_hz"]
    high = row_of(ngspice, ring, "ring_oscillator", settings={"control_v": 0.79}, metrics=only)["metrics"]
    corner = make_corner(technology, supply_v=1.89)
    pushed = row_of(ngspice, ring, "ring_oscillator", settings={"control_v": 0.7}, metrics=only, corner=corner)[
        "metrics"
    ]
    tuning = (high["frequency_hz"] - low["frequency_hz"]) / 0.09
    assert low["kvco_hz_per_v"] == pytest.approx(tuning, rel=0.01)
    assert low["supply_pushing_hz_per_v"] == pytest.approx(
        (pushed["frequency_hz"] - low["frequency_hz"]) / 0.09, rel=0.01
    )
    assert low["kvco_hz_per_v"] > 0


@pytest.mark.simulator
@pytest.mark.parametrize(("name", "frequency_hz"), [("ring_three_stage", 0.9e9), ("current_starved_ring", 0.4e9)])
def test_the_archetypes_oscillate_at_their_starting_sizes(name: str, frequency_hz: float, ngspice: WorkerPool) -> None:
    row = row_of(ngspice, archetype(f"oscillator/{name}"), "ring_oscillator")
    assert row["status"] == "ok"
    assert 0.2 < row["metrics"]["frequency_hz"] / frequency_hz < 5
    assert 1.5 < row["metrics"]["swing_v"] < 2.2
    assert 0.4 < row["metrics"]["duty_cycle"] < 0.6


@pytest.mark.simulator
def test_a_ring_a_thousand_times_slower_is_measured_in_the_same_number_of_points(ngspice: WorkerPool) -> None:
    ring, only = archetype("oscillator/ring_three_stage"), ["frequency_hz"]
    slow = dict.fromkeys(("l_m1", "l_m2"), 10e-6) | dict.fromkeys(("w_m1", "w_m2"), 2e-6)
    frequencies = [
        row_of(ngspice, ring, "ring_oscillator", sizing, metrics=only)["metrics"]["frequency_hz"]
        for sizing in ({}, slow)
    ]
    assert frequencies[0] / frequencies[1] > 100


@pytest.mark.simulator
def test_an_even_ring_latches_and_says_so(ngspice: WorkerPool) -> None:
    latch = circuit(
        "VDD VSS VOUT1",
        *(
            f"M{kind}{number} {out} {into} V{rail} V{rail} {kind}mos"
            for number, (into, out) in enumerate((("VOUT1", "A"), ("A", "VOUT1")))
            for kind, rail in (("n", "SS"), ("p", "DD"))
        ),
    )
    row = row_of(ngspice, latch, "ring_oscillator")
    cause, sentence = refusal_of(row, "frequency_hz")
    assert cause == "circuit"
    assert sentence.startswith("it does not oscillate: the output settles at ")
    assert refusal_of(row, "kvco_hz_per_v") == ("circuit", "the circuit has no control port")


@pytest.mark.simulator
def test_a_swing_beside_half_the_supply_has_no_duty_cycle(ngspice: WorkerPool) -> None:
    """A divider of one to three after the ring stays below a quarter of the supply."""
    divided = resistive_ring("5u", "R8 A VOUT2 3meg", "R9 VOUT2 VSS 1meg")
    ports = {"output": "VOUT2", "output_2": "VOUT1"}
    row = row_of(ngspice, divided, "ring_oscillator", ports=ports, settings={"load_f": 0.0})
    assert row["metrics"]["swing_v"] > 0.1
    assert refusal_of(row, "duty_cycle") == ("circuit", "the output does not pass half the supply")
