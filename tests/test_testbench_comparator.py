"""The comparator testbench: a resistive network and exponentials worked by hand, and the archetypes for real."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.simulators.processes import WorkerPool
from app.testbenches._base import Reading, Undefined, Waveforms, testbenches
from app.testbenches._function import unmet_bounds
from tests.worked_circuits import FOUR_KT, archetype, circuit, mos, reading, reason, simulate, values

ONE = {"positive_input": "vin1", "negative_input": "vin2", "output": "vout1"}
BOTH = {**ONE, "output_complement": "vout2"}
CLOCKED = {**BOTH, "clock": "vclk1"}

#: The output is a quarter of VIN1, a quarter of VDD and nothing else: 2.5 kohm, which 40 pF make 100 ns.
NETWORK = circuit(
    """VDD VSS VIN1 VIN2 VOUT1
    R1 VIN1 VOUT1 10k
    R2 VDD VOUT1 10k
    R3 VOUT1 VSS 5k
    R4 VIN2 VSS 10k
    C1 VOUT1 VSS 40p"""
)
COMMON_V = 1.7
TAU_S = 2.5e3 * 40e-12


@pytest.mark.simulator
def test_every_continuous_metric_of_a_resistive_network_is_what_kirchhoff_says(ngspice: WorkerPool) -> None:
    settings = {"common_mode_v": COMMON_V, "step_v": 0.4, "load_f": 0.0}
    row = simulate(ngspice, NETWORK, "comparator", settings=settings)
    measured = values(row)
    balance = 2 * (4 * 0.9 - 1.8 - COMMON_V)
    middle = (COMMON_V + 1.8) / 4
    worked = {
        "supply_current_a": (1.8 - 0.9) / 10e3,
        "power_w": 1.8 * (1.8 - 0.9) / 10e3,
        "gain_db": 20 * math.log10(1 / 8),
        "input_noise_v_per_rthz": 8 * math.sqrt(FOUR_KT * 2.5e3),
        "offset_v": balance,
        "output_high_v": middle + 0.05,
        "output_low_v": middle - 0.05,
        "decision_swing": 0.1 / 1.8,
        "propagation_delay_s": TAU_S * math.log(2),
    }
    for name, value in worked.items():
        assert measured[name] == pytest.approx(value, rel=0.01), name
    assert "does not change the decision" in row["undefined"]["hysteresis_v"]["reason"]
    swept = simulate(ngspice, NETWORK, "comparator", settings={**settings, "sweep_v": 0.5})
    assert values(swept)["hysteresis_v"] == pytest.approx(0, abs=1e-9)


@pytest.mark.simulator
def test_the_energy_of_a_decision_is_the_supply_times_its_charge(ngspice: WorkerPool) -> None:
    network = circuit(
        """VDD VSS VIN1 VIN2 VOUT1 VOUT2 VCLK1
        R1 VDD VOUT1 10k
        R2 VOUT1 VSS 10k
        R3 VDD VOUT2 10k
        R4 VOUT2 VSS 10k
        R5 VIN1 VIN2 10k
        R6 VCLK1 VSS 10k"""
    )
    row = simulate(ngspice, network, "comparator", settings={"clock_hz": 1e7})
    assert values(row)["energy_per_decision_j"] == pytest.approx(1.8 * 2 * 90e-6 * 1e-7, rel=0.01)
    assert values(row)["decision_swing"] == 0
    assert "same output" in row["undefined"]["propagation_delay_s"]["reason"]
    assert "same output" in row["undefined"]["regeneration_time_constant_s"]["reason"]
    assert "do not part" in row["undefined"]["offset_v"]["reason"]


def test_hysteresis_is_the_distance_of_both_thresholds() -> None:
    up, down = np.linspace(-0.1, 0.1, 101), np.linspace(0.1, -0.1, 101)
    rising = Waveforms(up, {"v(vout1)": 0.9 + 0.9 * np.tanh((up - 0.03) / 1e-3)})
    falling = Waveforms(down, {"v(vout1)": 0.9 + 0.9 * np.tanh((down + 0.01) / 1e-3)})
    found = reading("comparator", {"up": rising, "down": falling}, ONE)
    assert found.number("hysteresis_v") == pytest.approx(0.04, rel=0.01)


PERIOD_S, TAU_LATCH_S, OFFSET_V = 20e-9, 0.4e-9, 0.3e-3


def latched(difference: Callable[[float, np.ndarray], np.ndarray], *, left_v: float = 0.0) -> Reading:
    """Decisions of a clocked comparator: the outputs' difference for an input, over the time since the clock's edge."""
    time = np.linspace(0, 2.6 * PERIOD_S, 26001)
    edges = np.floor((time / PERIOD_S) - 0.1)
    since = time - (edges + 0.1) * PERIOD_S - 0.0025 * PERIOD_S
    signs = np.where(edges == 1, 1.0, -1.0)
    wave = np.full_like(time, left_v)
    deciding = (since >= 0) & (since < 0.5 * PERIOD_S) & (edges >= 0)
    for sign in (1.0, -1.0):
        chosen = deciding & (signs == sign)
        wave[chosen] = difference(sign * 1e-3, since[chosen])
    outputs = {"v(vout1)": 0.9 + wave / 2, "v(vout2)": 0.9 - wave / 2, "i(v_vdd)": np.full_like(time, -1e-4)}
    return reading("comparator", {"decide": Waveforms(time, outputs)}, CLOCKED, clock_hz=1 / PERIOD_S)


def regenerated(input_v: float, since: np.ndarray) -> np.ndarray:
    return np.clip(4 * (input_v - OFFSET_V) * np.exp(since / TAU_LATCH_S), -1.8, 1.8)


def test_a_latch_that_grows_exponentially_tells_time_constant_offset_delay_and_energy() -> None:
    found = latched(regenerated, left_v=2e-3)
    assert found.number("regeneration_time_constant_s") == pytest.approx(TAU_LATCH_S, rel=0.01)
    assert found.number("offset_v") == pytest.approx(OFFSET_V, rel=0.01)
    slower = TAU_LATCH_S * math.log(0.9 / (4 * (1e-3 - OFFSET_V)))
    assert found.number("propagation_delay_s") == pytest.approx(slower, rel=0.01)
    assert found.number("decision_swing") == pytest.approx(1.0, rel=0.01)
    assert found.number("output_high_v") == pytest.approx(1.8, rel=0.01)
    assert found.number("output_low_v") == pytest.approx(0.0, abs=1e-3)
    assert found.number("reset_residue_v") == pytest.approx(2e-3, rel=0.01)
    assert found.number("energy_per_decision_j") == pytest.approx(1.8 * 1e-4 * PERIOD_S, rel=0.01)
    for name in ("gain_db", "input_noise_v_per_rthz", "hysteresis_v"):
        assert "clocked" in reason(found.value(name))


def test_a_latch_that_decides_one_way_only_does_not_decide() -> None:
    found = latched(lambda input_v, since: regenerated(abs(input_v), since))
    assert found.number("decision_swing") == 0
    assert "same output" in reason(found.value("propagation_delay_s"))
    assert "both signs" in reason(found.value("offset_v"))


def test_outputs_that_stay_close_have_no_growth() -> None:
    found = latched(lambda input_v, since: np.full_like(since, np.sign(input_v) * 0.05))
    assert "do not grow" in reason(found.value("regeneration_time_constant_s"))


def test_a_clocked_comparator_with_one_output_has_no_difference_to_grow() -> None:
    curves = {"v(vout1)": np.linspace(0, 1.8, 27), "i(v_vdd)": np.zeros(27)}
    wave = Waveforms(np.linspace(0, 2.6e-8, 27), curves)
    found = reading("comparator", {"decide": wave}, {**ONE, "clock": "vclk1"}, clock_hz=1e8)
    for name in ("offset_v", "propagation_delay_s", "regeneration_time_constant_s", "reset_residue_v"):
        assert "only one output" in reason(found.value(name))


def test_a_continuous_comparator_has_no_decisions_to_count() -> None:
    found = reading("comparator", {}, ONE)
    for name in ("regeneration_time_constant_s", "reset_residue_v", "energy_per_decision_j"):
        assert "no clock" in reason(found.value(name))


def test_an_output_that_no_input_balances_has_no_offset() -> None:
    op = Waveforms(np.zeros(1), {"v(tb_id)": np.array([0.3])})
    assert "balances the output" in reason(reading("comparator", {"op": op}, ONE).value("offset_v"))


def test_an_output_that_never_comes_back_has_no_delay() -> None:
    time = np.linspace(0, 2.1e-6, 211)
    wave = Waveforms(time, {"v(vout1)": np.where(time > 0.05e-6, 1.0, 0.0), "v(tb_id)": time, "i(v_vdd)": time})
    assert "does not decide" in reason(reading("comparator", {"decide": wave}, ONE).value("propagation_delay_s"))
    late = Waveforms(time, {"v(vout1)": np.where(time > 2.09e-6, 0.0, 1.0), "v(tb_id)": time, "i(v_vdd)": time})
    found = reading("comparator", {"decide": late}, ONE).value("propagation_delay_s")
    assert "does not pass the middle" in reason(found)


def test_a_step_is_timed_by_the_speed_in_balance() -> None:
    frequency = np.logspace(1, 10, 91)
    gain = Waveforms(frequency, {"v(vout1)": (1e3 / (1 + 1j * frequency / 1e4)).astype(np.complex128)})
    op = Waveforms(np.zeros(1), {"v(tb_id)": np.zeros(1)})
    derive = testbenches["comparator"].derive["decide"]
    times = derive(reading("comparator", {"op": op, "gain": gain}, ONE))
    assert not isinstance(times, Undefined)
    assert times["tb_stop"] == pytest.approx(2.1 * 60 / (2 * math.pi * 1e7), rel=0.01)
    slow = derive(reading("comparator", {"op": Waveforms(np.zeros(1), {"v(tb_id)": np.ones(1)})}, ONE))
    assert not isinstance(slow, Undefined)
    assert slow["tb_stop"] == pytest.approx(2.1e-6)
    assert derive(reading("comparator", {}, CLOCKED)) == {}


def test_a_circuit_without_a_second_input_is_refused_by_name() -> None:
    lone = circuit("VDD VSS VIN1 VOUT1\nM1 VOUT1 VIN1 VSS VSS nmos\nR1 VDD VOUT1 1k")
    with pytest.raises(InvalidRequest, match=r"comparator cannot drive this circuit: it has no negative input .* VIN2"):
        testbenches["comparator"].wire(lone)


@pytest.mark.simulator
@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("name", ["double_tail", "hysteresis", "strongarm"])
def test_the_archetypes_decide_both_ways_at_their_starting_sizes(name: str, guided: bool, ngspice: WorkerPool) -> None:
    measured = values(simulate(ngspice, archetype(f"comparator/{name}"), "comparator", guided=guided))
    assert not unmet_bounds(testbenches["comparator"].works, measured)
    assert measured["decision_swing"] > 0.9
    assert abs(measured["offset_v"]) < 1e-3
    if name == "hysteresis":
        assert measured["gain_db"] > 40
    else:
        assert 1e-12 < measured["regeneration_time_constant_s"] < measured["propagation_delay_s"] < 1e-8
        assert 1e-14 < measured["energy_per_decision_j"] < 1e-11


@pytest.mark.simulator
def test_stronger_cross_coupling_makes_hysteresis(ngspice: WorkerPool) -> None:
    sizes = {"M3 M4": mos(4, 0.5), "M5 M6": mos(10, 0.5), "M7 M8": mos(4, 0.5)}
    measured = values(simulate(ngspice, archetype("comparator/hysteresis", sizes), "comparator"))
    assert 0.01 < measured["hysteresis_v"] < 0.2


@pytest.mark.simulator
def test_a_latch_with_pmos_inputs_decides_at_the_low_clock(ngspice: WorkerPool) -> None:
    latch = circuit(
        """VDD VSS VIN1 VIN2 VOUT1 VOUT2 VCLK1
        M1 LOWA VIN1 TAIL VDD pmos W=20u L=0.18u
        M2 LOWB VIN2 TAIL VDD pmos W=20u L=0.18u
        M3 VOUT1 VOUT2 LOWA VDD pmos W=20u L=0.18u
        M4 VOUT2 VOUT1 LOWB VDD pmos W=20u L=0.18u
        M5 VOUT1 VOUT2 VSS VSS nmos W=5u L=0.18u
        M6 VOUT2 VOUT1 VSS VSS nmos W=5u L=0.18u
        M7 TAIL VCLK1 VDD VDD pmos W=40u L=0.18u
        M8 VOUT1 VCLK1 VSS VSS nmos W=5u L=0.18u
        M9 VOUT2 VCLK1 VSS VSS nmos W=5u L=0.18u
        M10 LOWA VCLK1 VSS VSS nmos W=5u L=0.18u
        M11 LOWB VCLK1 VSS VSS nmos W=5u L=0.18u"""
    )
    measured = values(simulate(ngspice, latch, "comparator", settings={"common_mode_v": 0.6}))
    assert measured["decision_swing"] > 0.9


@pytest.mark.simulator
def test_the_offset_of_unequal_loads_is_where_the_decision_turns(ngspice: WorkerPool) -> None:
    source = archetype("comparator/strongarm")
    uneven = type(source)(
        (*source.devices, circuit("VOUT1 VSS\nC1 VOUT1 VSS 5f").devices[0]),
        source.ports,
    )
    offset = values(simulate(ngspice, uneven, "comparator", settings={"overdrive_v": 5e-3}))["offset_v"]
    assert 1e-4 < abs(offset) < 5e-2
    for factor, decides in ((0.8, False), (1.2, True)):
        row = simulate(ngspice, uneven, "comparator", settings={"overdrive_v": factor * abs(offset)})
        assert (values(row)["decision_swing"] > 0.5) == decides
