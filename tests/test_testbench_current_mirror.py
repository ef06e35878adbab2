"""The current-mirror testbench: a resistive network worked by hand, and the archetypes for real."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.simulators.processes import WorkerPool
from app.testbenches._base import Waveforms, testbenches
from app.testbenches._function import unmet_bounds
from tests.worked_circuits import FOUR_KT, archetype, circuit, mos, ohm, reading, reason, simulate, values

MIRRORS = ("cascode_mirror", "improved_wilson", "wide_swing", "widlar", "wilson")

BETA_MULTIPLIER = archetype(
    "current_mirror/beta_multiplier",
    {
        "M1": mos(10, 2),
        "M2": mos(40, 2),
        "M3 M4 M5": mos(20, 2),
        "M6": mos(1, 1),
        "M7": mos(5, 0.5),
        "R1": ohm(5e3),
        "R2": ohm(500e3),
    },
)

#: 10 uA go into a net that 5 kohm join to VSS, 10 kohm to VDD and 10 kohm to the output, which is held at 0.9 V.
RESISTORS = circuit(
    """VDD VSS IIN1 IOUT1
    R1 IIN1 VSS 5k
    R2 IIN1 IOUT1 10k
    R3 VDD IIN1 10k
    C1 IIN1 VSS 10p"""
)
TO_GROUND_S, TO_OUTPUT_S, TO_SUPPLY_S = 1 / 5e3, 1e-4, 1e-4
TOTAL_S = TO_GROUND_S + TO_OUTPUT_S + TO_SUPPLY_S
INPUT_V = (10e-6 + 0.9 * TO_OUTPUT_S + 1.8 * TO_SUPPLY_S) / TOTAL_S
OUTPUT_OHM = 1 / TO_OUTPUT_S + 1 / (TO_GROUND_S + TO_SUPPLY_S)
INNER_V = (10e-6 + 1.8 * TO_SUPPLY_S) / (TO_GROUND_S + TO_SUPPLY_S)
OUTPUT_A = (0.9 - INNER_V) / OUTPUT_OHM


@pytest.mark.simulator
def test_every_metric_of_a_resistive_network_is_what_kirchhoff_says(ngspice: WorkerPool) -> None:
    measured = values(simulate(ngspice, RESISTORS, "current_mirror"))
    worked = {
        "supply_current_a": 10e-6 + (1.8 - INPUT_V) * TO_SUPPLY_S,
        "power_w": 1.8 * (10e-6 + (1.8 - INPUT_V) * TO_SUPPLY_S),
        "output_current_a": OUTPUT_A,
        "current_ratio": OUTPUT_A / 10e-6,
        "input_voltage_v": INPUT_V,
        "output_resistance_ohm": OUTPUT_OHM,
        "current_gain": TO_OUTPUT_S / TOTAL_S,
        "bandwidth_hz": TOTAL_S / (2 * math.pi * 10e-12),
        "supply_sensitivity_per_v": TO_OUTPUT_S * TO_SUPPLY_S / TOTAL_S / OUTPUT_A,
        "output_noise_a_per_rthz": math.sqrt(FOUR_KT / OUTPUT_OHM),
        "compliance_v": INNER_V + 0.95 * OUTPUT_A * OUTPUT_OHM,
        "output_variation": 0.9 / OUTPUT_OHM / OUTPUT_A,
    }
    for name, value in worked.items():
        assert measured[name] == pytest.approx(value, rel=0.01), name
    assert measured["temperature_coefficient_ppm_per_c"] == pytest.approx(0, abs=0.1)


@pytest.mark.simulator
def test_a_capacitor_charges_to_within_a_tenth_after_the_logarithm_of_twenty_time_constants(
    ngspice: WorkerPool,
) -> None:
    network = circuit("VDD VSS IOUT1\nR1 VDD MIDDLE 10k\nR2 MIDDLE IOUT1 10k\nC1 MIDDLE VSS 100p")
    measured = values(simulate(ngspice, network, "current_mirror", settings={"ramp_s": 1e-9}))
    assert measured["output_current_a"] == pytest.approx(45e-6, rel=1e-3)
    assert measured["startup_time_s"] == pytest.approx(5e3 * 100e-12 * math.log(20), rel=0.01)


def test_the_temperature_coefficient_is_the_box_around_the_curve() -> None:
    cold = Waveforms(np.linspace(27, -40, 6), {"i(v_tb_out)": np.linspace(-10.0e-6, -9.8e-6, 6)})
    hot = Waveforms(np.linspace(27, 125, 8), {"i(v_tb_out)": np.linspace(-10.0e-6, -10.2e-6, 8)})
    found = reading("current_mirror", {"cold": cold, "hot": hot}, {"output": "iout1"})
    assert found.number("temperature_coefficient_ppm_per_c") == pytest.approx(1e6 * 0.04 / 165, rel=0.01)


def test_a_circuit_without_current_or_input_says_what_it_lacks() -> None:
    dead = Waveforms(np.zeros(1), {"i(v_tb_out)": np.zeros(1)})
    sweep = Waveforms(np.linspace(0, 1.8, 61), {"i(v_tb_out)": np.zeros(61)})
    small = Waveforms(np.ones(1), {"i(v_tb_out)": np.zeros(1, dtype=complex)})
    runs = {"op": dead, "sweep": sweep, "supply": small, "output": small, "cold": sweep, "hot": sweep, "start": sweep}
    found = reading("current_mirror", runs, {"output": "iout1"})
    assert "no input" in reason(found.value("current_ratio"))
    assert "no input" in reason(found.value("input_voltage_v"))
    assert "no input" in reason(found.value("current_gain"))
    assert "no input" in reason(found.value("bandwidth_hz"))
    assert "no output current" in reason(found.value("output_variation"))
    assert "nothing of the supply" in reason(found.value("supply_sensitivity_per_v"))
    assert "not positive" in reason(found.value("output_resistance_ohm"))
    assert "does not fall below 95 %" in reason(found.value("compliance_v"))
    assert "mean over temperature is zero" in reason(found.value("temperature_coefficient_ppm_per_c"))
    assert "nothing to start" in reason(found.value("startup_time_s"))
    mirror = reading("current_mirror", runs, {"output": "iout1", "input": "iin1"})
    assert "does not start by itself" in reason(mirror.value("startup_time_s"))


def test_a_response_without_a_corner_has_no_bandwidth() -> None:
    flat = Waveforms(np.logspace(3, 11, 81), {"i(v_tb_out)": np.ones(81, dtype=complex)})
    found = reading("current_mirror", {"transfer": flat}, {"output": "iout1", "input": "iin1"})
    assert "does not fall by 3 dB" in reason(found.value("bandwidth_hz"))


def test_a_circuit_without_a_current_output_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match=r"current_mirror cannot drive this circuit: it has no output .* IOUT1"):
        testbenches["current_mirror"].wire(circuit("VDD VSS VOUT1\nR1 VDD VOUT1 1k\nR2 VOUT1 VSS 1k"))


@pytest.mark.simulator
@pytest.mark.parametrize("name", MIRRORS)
def test_mirrors_copy_their_input_at_the_default_sizes(name: str, ngspice: WorkerPool) -> None:
    measured = values(simulate(ngspice, archetype(f"current_mirror/{name}"), "current_mirror"))
    assert not unmet_bounds(testbenches["current_mirror"].works, measured)
    assert measured["output_resistance_ohm"] > 5e6
    assert 0.2 < measured["input_voltage_v"] < 1.5
    assert 0.05 < measured["compliance_v"] < 0.7
    if name == "widlar":
        assert 0.1 < measured["current_ratio"] < 0.5
    else:
        assert measured["current_ratio"] == pytest.approx(1.0, abs=0.1)


@pytest.mark.simulator
def test_a_pmos_mirror_has_the_numbers_of_its_own_rail(ngspice: WorkerPool) -> None:
    mirror = circuit("VDD IIN1 IOUT1\nM1 IIN1 IIN1 VDD VDD pmos W=20u L=1u\nM2 IOUT1 IIN1 VDD VDD pmos W=40u L=1u")
    measured = values(simulate(ngspice, mirror, "current_mirror"))
    assert measured["current_ratio"] == pytest.approx(2.0, rel=0.1)
    assert 0.4 < measured["input_voltage_v"] < 0.8
    assert 0.05 < measured["compliance_v"] < 0.4


@pytest.mark.simulator
def test_a_beta_multiplier_makes_its_current_and_starts(ngspice: WorkerPool) -> None:
    measured = values(simulate(ngspice, BETA_MULTIPLIER, "current_mirror"))
    assert not unmet_bounds(testbenches["current_mirror"].works, measured)
    assert 2e-6 < measured["output_current_a"] < 50e-6
    assert measured["startup_time_s"] < 5e-6


@pytest.mark.simulator
def test_an_input_never_goes_beyond_its_rail(ngspice: WorkerPool) -> None:
    narrow = archetype("current_mirror/wilson", {"M1 M2 M3": mos(0.22, 10)})
    measured = values(simulate(ngspice, narrow, "current_mirror", settings={"input_a": 1e-3}))
    assert measured["input_voltage_v"] < 1.81


@pytest.mark.simulator
def test_the_bias_of_a_pmos_current_source_follows_its_supply(ngspice: WorkerPool) -> None:
    source = circuit("VDD VSS VB1 IOUT1\nM1 IOUT1 VB1 VDD VDD pmos W=20u L=1u\nR1 IOUT1 VSS 1meg")
    nominal, higher = (values(simulate(ngspice, source, "current_mirror", supply_v=supply)) for supply in (1.8, 1.98))
    assert nominal["supply_sensitivity_per_v"] < 0.3
    assert higher["output_current_a"] == pytest.approx(nominal["output_current_a"], rel=0.1)
