"""The voltage-reference testbench: a divider worked by hand, and the archetypes for real."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.simulators.processes import WorkerPool
from app.testbenches._base import Waveforms, testbenches
from app.testbenches._function import unmet_bounds
from tests.worked_circuits import FOUR_KT, archetype, circuit, mos, ohm, reading, reason, simulate, values

EIGHT = {"area": 8.0}

OPAMP_PNP = archetype(
    "bandgap/opamp_pnp",
    {
        "Q2": EIGHT,
        "R1": ohm(5.4e3),
        "R2": ohm(43.5e3),
        "M1 M2 M3": mos(20, 2),
        "M4 M5": mos(20, 1),
        "M6 M7": mos(10, 1),
        "M8": mos(4, 1),
    },
)
BANBA = archetype(
    "bandgap/banba_sub_one_volt",
    {
        "Q2": EIGHT,
        "R1 R3": ohm(50e3),
        "R2": ohm(5e3),
        "R4": ohm(30e3),
        "M1 M2 M3": mos(40, 2),
        "M4 M5": mos(40, 1),
        "M6 M7": mos(2, 1),
        "M8": mos(4, 1),
    },
)
SELF_BIASED = archetype(
    "bandgap/self_biased_pnp",
    {
        "Q2": EIGHT,
        "R1": ohm(5.4e3),
        "R2": ohm(46e3),
        "M1 M2": mos(40, 2),
        "M3 M4 M5": mos(60, 4),
        "M6": mos(1, 1),
        "M7": mos(5, 0.5),
        "R3": ohm(200e3),
    },
)
BROKAW = archetype(
    "bandgap/brokaw", {"Q1": EIGHT, "R1": ohm(5.4e3), "R2": ohm(25e3), "R3": ohm(100e3), "M1 M2": mos(20, 2)}
)

#: Half the supply behind 5 kohm; with 1 nF its time constant is 5 us.
DIVIDER = circuit("VDD VSS VOUT1\nR1 VDD VOUT1 10k\nR2 VOUT1 VSS 10k")
TAU_S = 5e3 * 1e-9
POLE_HZ = 1 / (2 * math.pi * TAU_S)


@pytest.mark.simulator
def test_every_metric_of_a_divider_is_what_ohm_says(ngspice: WorkerPool) -> None:
    measured = values(simulate(ngspice, DIVIDER, "bandgap", settings={"load_f": 1e-9, "ramp_s": 1e-9}))
    half_db = 20 * math.log10(2)
    worked = {
        "supply_current_a": 90e-6,
        "power_w": 162e-6,
        "reference_v": 0.9,
        "psrr_db": half_db,
        "psrr_worst_db": half_db,
        "psrr_at_frequency_db": half_db + 10 * math.log10(1 + (1e5 / POLE_HZ) ** 2),
        "output_resistance_ohm": 5e3,
        "output_noise_v_per_rthz": math.sqrt(FOUR_KT * 5e3),
        "output_noise_v": math.sqrt(FOUR_KT * 5e3 * POLE_HZ * math.atan(1e5 / POLE_HZ)),
        "line_sensitivity_per_v": 1 / 1.8,
        "minimum_supply_v": 0.99 * 1.8,
        "startup_time_s": TAU_S * math.log(10),
    }
    for name, value in worked.items():
        assert measured[name] == pytest.approx(value, rel=0.01), name
    assert measured["temperature_coefficient_ppm_per_c"] == pytest.approx(0, abs=0.1)
    assert measured["startup_overshoot"] == 0
    unmet = {bound.metric for bound in unmet_bounds(testbenches["bandgap"].works, measured)}
    assert unmet == {"line_sensitivity_per_v"}


def test_the_temperature_coefficient_is_the_box_around_the_curve() -> None:
    cold = Waveforms(np.linspace(27, -40, 6), {"v(vout1)": np.linspace(1.2, 1.194, 6)})
    hot = Waveforms(np.linspace(27, 125, 8), {"v(vout1)": np.linspace(1.2, 1.206, 8)})
    found = reading("bandgap", {"cold": cold, "hot": hot}, {"output": "vout1"})
    assert found.number("temperature_coefficient_ppm_per_c") == pytest.approx(1e6 * 0.01 / 165, rel=0.01)


def test_overshoot_is_what_the_start_goes_beyond_the_reference() -> None:
    time = np.linspace(0, 20e-6, 2001)
    since = time / 2e-6
    start = Waveforms(time, {"v(vout1)": 1.2 * (1 - np.exp(-since) * np.cos(np.pi * since))})
    op = Waveforms(np.zeros(1), {"v(vout1)": np.array([1.2])})
    found = reading("bandgap", {"op": op, "start": start}, {"output": "vout1"})
    peak = np.max(-np.exp(-since) * np.cos(np.pi * since))
    assert found.number("startup_overshoot") == pytest.approx(peak, rel=0.01)


def test_a_dead_reference_says_what_it_lacks() -> None:
    flat = Waveforms(np.linspace(1.98, 0, 45), {"v(vout1)": np.zeros(45)})
    small = Waveforms(np.logspace(0, 8, 41), {"v(vout1)": np.zeros(41, dtype=complex)})
    op = Waveforms(np.zeros(1), {"v(vout1)": np.zeros(1)})
    runs = {"op": op, "line": flat, "supply": small, "cold": flat, "hot": flat, "start": flat}
    found = reading("bandgap", runs, {"output": "vout1"})
    for name in ("psrr_db", "psrr_at_frequency_db", "psrr_worst_db"):
        assert "nothing of the supply" in reason(found.value(name))
    assert "reference is zero" in reason(found.value("line_sensitivity_per_v"))
    assert "never 1 % below" in reason(found.value("minimum_supply_v"))
    assert "mean over temperature is zero" in reason(found.value("temperature_coefficient_ppm_per_c"))
    assert "nothing to start" in reason(found.value("startup_time_s"))


def test_a_circuit_without_an_output_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match=r"bandgap cannot drive this circuit: it has no output .* VOUT1 or VREF1"):
        testbenches["bandgap"].wire(circuit("VDD VSS\nR1 VDD MIDDLE 1k\nR2 MIDDLE VSS 1k"))


@pytest.mark.simulator
@pytest.mark.parametrize("name", ["banba_sub_one_volt", "brokaw", "opamp_pnp", "self_biased_pnp"])
def test_the_archetypes_simulate_at_their_guided_sizes(name: str, ngspice: WorkerPool) -> None:
    measured = values(simulate(ngspice, archetype(f"bandgap/{name}"), "bandgap", guided=True))
    assert 0.1 < measured["reference_v"] < 1.8
    assert measured["temperature_coefficient_ppm_per_c"] < 5000


@pytest.mark.simulator
def test_a_bandgap_of_proportions_is_flat_over_temperature_and_starts(ngspice: WorkerPool) -> None:
    measured = values(simulate(ngspice, OPAMP_PNP, "bandgap"))
    assert not unmet_bounds(testbenches["bandgap"].works, measured)
    assert measured["reference_v"] == pytest.approx(1.2, abs=0.06)
    assert measured["startup_time_s"] < 5e-6
    assert measured["line_sensitivity_per_v"] < 0.02


@pytest.mark.simulator
def test_a_self_biased_bandgap_starts_through_its_own_start_up(ngspice: WorkerPool) -> None:
    measured = values(simulate(ngspice, SELF_BIASED, "bandgap"))
    assert measured["reference_v"] == pytest.approx(1.2, abs=0.06)
    assert measured["startup_time_s"] < 5e-6


@pytest.mark.simulator
def test_a_reference_without_start_up_works_once_kicked_and_is_said_not_to_start(ngspice: WorkerPool) -> None:
    row = simulate(ngspice, BANBA, "bandgap")
    measured = values(row)
    assert measured["reference_v"] == pytest.approx(0.79, abs=0.1)
    assert measured["temperature_coefficient_ppm_per_c"] < 600
    assert measured["psrr_db"] > 40
    assert "startup_time_s" not in measured
    assert "does not start within" in row["undefined"]["startup_time_s"]["reason"]
    assert row["undefined"]["startup_time_s"]["cause"] == "circuit"


@pytest.mark.simulator
def test_a_brokaw_cell_needs_more_headroom_than_the_nominal_supply(ngspice: WorkerPool) -> None:
    measured = values(simulate(ngspice, BROKAW, "bandgap", supply_v=2.5))
    assert measured["reference_v"] == pytest.approx(1.24, abs=0.05)
    assert 1.8 < measured["minimum_supply_v"] < 2.5


@pytest.mark.simulator
def test_a_metric_asked_for_alone_is_the_same_as_among_all(ngspice: WorkerPool) -> None:
    among = values(simulate(ngspice, OPAMP_PNP, "bandgap"))
    for name in ("psrr_db", "startup_overshoot"):
        assert values(simulate(ngspice, OPAMP_PNP, "bandgap", metrics=[name])) == {name: among[name]}
