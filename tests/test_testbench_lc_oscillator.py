"""The testbench of LC oscillators against circuits worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.simulators.processes import WorkerPool
from app.testbenches._base import testbenches
from tests.bench_rows import archetype, circuit, refusal_of, row_of

COIL_H, COIL_OHM, CAPACITOR_F = 50e-9, 0.5, 50e-12

THERMAL_V = 1.380649e-23 * 300.15 / 1.602177e-19


def test_a_circuit_without_a_coil_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        testbenches["lc_oscillator"].wire(archetype("oscillator/ring_three_stage"))
    assert str(refused.value) == (
        "testbench lc_oscillator cannot drive this circuit: it has no coil; use testbench ring_oscillator"
    )


def test_a_circuit_without_an_output_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        testbenches["lc_oscillator"].wire(circuit("VDD VSS", "L1 VDD A", "C1 A VSS"))
    assert str(refused.value) == (
        "testbench lc_oscillator cannot drive this circuit: it has no output (the output, or one end of the "
        "resonator); name the port VOUT1, or say which it is under 'ports'"
    )


@pytest.mark.simulator
def test_a_resonator_alone_has_its_resonance_and_does_not_start(ngspice: WorkerPool) -> None:
    """A coil with the resistance of its wire beside a capacitor and a resistor, on a single output."""
    tank = circuit("VDD VSS VOUT1", f"L1 VDD VOUT1 {COIL_H:g}", f"C1 VOUT1 VSS {CAPACITOR_F:g}", "R1 VOUT1 VSS 2k")
    row = row_of(ngspice, tank, "lc_oscillator", settings={"load_f": 0.0})
    assert row["status"] == "ok"
    omega = math.sqrt(1 / (COIL_H * CAPACITOR_F) - (COIL_OHM / COIL_H) ** 2)
    conductance = 1 / 2e3 + COIL_OHM / (COIL_OHM**2 + (omega * COIL_H) ** 2)
    assert row["metrics"]["resonance_hz"] == pytest.approx(omega / (2 * math.pi), rel=1e-3)
    assert row["metrics"]["startup_conductance_s"] == pytest.approx(conductance, rel=0.01)
    sentence = "it does not start: at its resonance the outputs have a conductance of +0.001 S"
    for metric in ("growth_time_s", "frequency_hz", "amplitude_v", "startup_time_s", "distortion_db"):
        assert refusal_of(row, metric) == ("circuit", sentence)
    assert refusal_of(row, "resonance_tuning_hz_per_v") == ("circuit", "the circuit has no control port")
    assert refusal_of(row, "kvco_hz_per_v")[1] == "the circuit has no control port"


@pytest.mark.simulator
def test_outputs_without_a_resonance_say_so(ngspice: WorkerPool) -> None:
    row = row_of(ngspice, circuit("VDD VSS VOUT1", "R1 VOUT1 VSS 1k", "L1 VDD VSS 1u"), "lc_oscillator")
    assert refusal_of(row, "resonance_hz") == (
        "circuit", "there is no parallel resonance at the outputs between 1 MHz and 200 GHz",
    )  # fmt: skip


CURRENT_A, LOAD_OHM = 200e-6, 4e3

#: Large enough that the transistors are far from high injection.
AREA = 8.0

#: A cross-coupled bipolar pair that a constant current feeds; the current switches wholly from one side to the other.
PAIR = circuit(
    "VDD VSS VOUT1 VOUT2 IB1",
    "Q1 VOUT1 VOUT2 IB1 npn",
    "Q2 VOUT2 VOUT1 IB1 npn",
    f"L1 VDD VOUT1 {COIL_H:g}",
    f"L2 VDD VOUT2 {COIL_H:g}",
    f"C1 VOUT1 VSS {CAPACITOR_F:g}",
    f"C2 VOUT2 VSS {CAPACITOR_F:g}",
    f"R1 VOUT1 VOUT2 {LOAD_OHM:g}",
)


@pytest.mark.simulator
def test_a_bipolar_pair_starts_and_limits_as_the_hyperbolic_tangent_says(ngspice: WorkerPool) -> None:
    row = row_of(ngspice, PAIR, "lc_oscillator", {"ib1_a": CURRENT_A, "area_q1": AREA}, settings={"load_f": 0.0})
    assert row["status"] == "ok"
    metrics = row["metrics"]
    omega = 1 / math.sqrt(COIL_H * CAPACITOR_F)
    coil = COIL_OHM / (omega * COIL_H) ** 2
    loss = 1 / LOAD_OHM + coil / 2
    # Half of each collector current's transconductance, less base currents (bf 60) and emitter and base resistance.
    gm = CURRENT_A / 2 * 60 / 61 / THERMAL_V
    pair = (gm / (1 + gm * (5 + 150 / 60) / AREA) - gm / 60) / 2
    assert metrics["startup_conductance_s"] == pytest.approx(loss - pair, rel=0.03)
    # What the transistors add to each capacitor shows in the resonance.
    capacitance = 1 / ((2 * math.pi * metrics["resonance_hz"]) ** 2 * COIL_H)
    assert capacitance == pytest.approx(CAPACITOR_F, rel=0.05)
    assert metrics["growth_time_s"] == pytest.approx(capacitance / -metrics["startup_conductance_s"], rel=0.01)
    assert metrics["frequency_hz"] == pytest.approx(metrics["resonance_hz"], rel=0.01)
    # An output loses the collector current of one transistor and the base current of the other.
    amplitude = _limited_amplitude(CURRENT_A * 59 / 61, loss)
    assert metrics["amplitude_v"] == pytest.approx(amplitude, rel=0.01)
    assert metrics["oscillating_current_a"] == pytest.approx(CURRENT_A, rel=0.01)
    assert metrics["oscillating_power_w"] == pytest.approx(1.8 * metrics["oscillating_current_a"])
    assert metrics["startup_time_s"] == pytest.approx(
        metrics["growth_time_s"] * math.log(0.9 * metrics["amplitude_v"] / 1e-3)
    )


def _limited_amplitude(current_a: float, conductance_s: float) -> float:
    """The voltage whose fundamental of half the switched current the loss takes: the fixed point of a tanh limiter."""
    turn = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    amplitude = 0.3
    for _ in range(100):
        switched = current_a / 2 * np.tanh(amplitude * np.sin(turn) / (2 * THERMAL_V))
        amplitude = float(2 * np.mean(switched * np.sin(turn))) / conductance_s
    return amplitude


#: Sizes at which the archetypes have enough transconductance; at their start they have not, and say so.
SIZES = {
    "lc_cross_coupled": {"ind_l1": 2e-9, "w_m1": 40e-6, "l_m1": 0.18e-6, "w_m3": 60e-6, "vb1_v": 0.55},
    "lc_complementary": {
        "ind_l1": 3e-9, "w_m1": 30e-6, "l_m1": 0.18e-6, "w_m3": 75e-6, "l_m3": 0.18e-6, "w_m5": 60e-6, "vb1_v": 0.75,
    },
    "colpitts": {"ind_l1": 3e-9, "w_m1": 100e-6, "l_m1": 0.18e-6, "w_m2": 60e-6, "vb1_v": 1.3, "vb2_v": 0.75},
}  # fmt: skip


@pytest.mark.simulator
@pytest.mark.parametrize("name", SIZES)
def test_the_archetypes_oscillate_with_enough_transconductance(name: str, ngspice: WorkerPool) -> None:
    row = row_of(ngspice, archetype(f"oscillator/{name}"), "lc_oscillator", SIZES[name])
    assert row["status"] == "ok"
    metrics = row["metrics"]
    assert metrics["startup_conductance_s"] < 0
    assert metrics["frequency_hz"] == pytest.approx(metrics["resonance_hz"], rel=0.1)
    assert 0.5 < metrics["amplitude_v"] < 5
    assert metrics["distortion_db"] < -10


@pytest.mark.simulator
def test_tuning_gains_are_differences_of_two_simulations(ngspice: WorkerPool) -> None:
    oscillator, sizes = archetype("oscillator/lc_cross_coupled"), SIZES["lc_cross_coupled"]
    low, high = (
        row_of(ngspice, oscillator, "lc_oscillator", sizes, settings={"control_v": level})["metrics"]
        for level in (0.3, 0.39)
    )
    tuning = (high["resonance_hz"] - low["resonance_hz"]) / 0.09
    assert low["resonance_tuning_hz_per_v"] == pytest.approx(tuning, rel=0.01)
    assert low["kvco_hz_per_v"] == pytest.approx((high["frequency_hz"] - low["frequency_hz"]) / 0.09, rel=0.25)
    assert low["kvco_hz_per_v"] < 0
