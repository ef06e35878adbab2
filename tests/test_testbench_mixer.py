"""The testbench of mixers against circuits worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.simulators.processes import WorkerPool
from app.testbenches._base import RunFailed, testbenches
from app.testbenches._tones import tones
from tests.bench_rows import archetype, circuit, refusal_of, row_of

THERMAL_V = 1.380649e-23 * 300.15 / 1.602177e-19


@pytest.mark.parametrize(
    ("ports", "sentence"),
    [
        (
            "VIN1 VOUT1",
            "testbench mixer cannot drive this circuit: it has no lo input (the input of the local oscillator); "
            "name the port VLO1 or VCLK1, or say which it is under 'ports'",
        ),
        (
            "VLO1 VOUT1",
            "testbench mixer cannot drive this circuit: it has no rf input (the input of the radio signal); "
            "name the port VRF1 or VIN1 or VBB1, or say which it is under 'ports'",
        ),
        (
            "VLO1 VRF1",
            "testbench mixer cannot drive this circuit: it has no if output (the output of the difference frequency); "
            "name the port VIF1 or VOUT1, or say which it is under 'ports'",
        ),
    ],
)
def test_a_missing_port_is_named(ports: str, sentence: str) -> None:
    first, second = ports.split()
    with pytest.raises(InvalidRequest) as refused:
        testbenches["mixer"].wire(circuit(f"VDD VSS {ports}", f"M1 {second} {first} VSS VSS nmos", f"R1 VDD {second}"))
    assert str(refused.value) == sentence


def test_ports_of_different_names_are_no_pair() -> None:
    netlist = circuit("VSS VRF1 VIN2 VLO1 VIF1", "M1 VIF1 VLO1 VRF1 VSS nmos", "R1 VIF1 VSS", "R2 VIN2 VSS")
    wiring = testbenches["mixer"].wire(netlist)
    assert "rf_input_2" not in wiring.port_of
    assert wiring.biased == ("VIN2",)


def test_tones_are_found_in_one_period_of_their_common_base() -> None:
    time = np.arange(0, 3e-6, 1.25e-9)
    curve = 0.7 + 0.2 * np.cos(2 * np.pi * 3e6 * time + 0.5) + 1e-6 * np.sin(2 * np.pi * 4e6 * time)
    for found in tones(time, curve + 1e3 * time, 1e6, (1, 3, 4), 2.5e-6):
        assert abs(found[3]) == pytest.approx(0.2, rel=1e-6)
        assert np.angle(found[3]) == pytest.approx(0.5, abs=1e-6)
        assert abs(found[4]) == pytest.approx(1e-6, rel=1e-2)
        assert abs(found[1]) < 1e-8


def test_a_transient_that_was_stopped_early_has_no_tones() -> None:
    time = np.linspace(0, 2.4e-6, 1000)
    with pytest.raises(RunFailed) as failed:
        tones(time, np.sin(time), 1e6, (1,), 2.5e-6)
    assert str(failed.value) == "the simulator cut its time step so often that the transient was stopped"
    assert failed.value.undefined.cause == "simulator"


LOAD_OHM = 10e3


@pytest.mark.simulator
def test_four_switches_convert_with_two_over_pi(ngspice: WorkerPool) -> None:
    """The source and the load divide; everything else an ideal commutating switch does."""
    sizing = {"w_m1": 20e-6, "l_m1": 0.18e-6, "r_r1": LOAD_OHM, "c_c1": 5e-15}
    settings = {"lo_frequency_hz": 1e6, "lo_amplitude_v": 3.6, "load_f": 0.0}
    row = row_of(ngspice, archetype("mixer/passive_ring"), "mixer", sizing, settings=settings)
    assert row["status"] == "ok"
    divider = 2 * LOAD_OHM / (2 * LOAD_OHM + 50)
    assert 10 ** (row["metrics"]["conversion_gain_db"] / 20) == pytest.approx(2 / math.pi * divider, rel=0.01)
    assert 10 ** (row["metrics"]["static_gain_db"] / 20) == pytest.approx(divider, rel=0.01)
    assert row["metrics"]["driven_current_a"] == pytest.approx(0.0, abs=1e-9)
    cancelled = ("circuit", "it is more than 120 dB down: equal transistors cancel it")
    assert refusal_of(row, "lo_if_isolation_db") == cancelled


@pytest.mark.simulator
def test_resistors_let_tones_through_and_convert_nothing(ngspice: WorkerPool) -> None:
    """Output: 1k from the source (950 and its own 50), 3k from the oscillator, 1k to VSS and 2k to VDD."""
    network = circuit(
        "VDD VSS VRF1 VLO1 VIF1", "R1 VRF1 VIF1 950", "R2 VLO1 VIF1 3k", "R3 VIF1 VSS 1k", "R4 VDD VIF1 2k"
    )
    settings = {"lo_frequency_hz": 1e6, "load_f": 0.0}
    row = row_of(ngspice, network, "mixer", settings=settings)
    total = 1 / 1e3 + 1 / 3e3 + 1 / 1e3 + 1 / 2e3
    metrics = row["metrics"]
    assert metrics["rf_if_isolation_db"] == pytest.approx(20 * math.log10(1e3 * total), abs=0.05)
    assert metrics["lo_if_isolation_db"] == pytest.approx(20 * math.log10(3e3 * total), abs=0.05)
    # At the radio port the oscillator's tone at the output divides again, 50 of 1000 ohm.
    assert metrics["lo_rf_isolation_db"] == pytest.approx(20 * math.log10(3e3 * total * 20), abs=0.05)
    assert metrics["static_gain_db"] == pytest.approx(-20 * math.log10(1e3 * total), abs=0.05)
    assert refusal_of(row, "conversion_gain_db") == (
        "circuit", "the difference frequency is more than 120 dB below the radio signal",
    )  # fmt: skip
    assert metrics["driven_power_w"] == pytest.approx(1.8 * metrics["driven_current_a"])


@pytest.mark.simulator
def test_current_and_power_are_means_over_a_period(ngspice: WorkerPool) -> None:
    network = circuit("VDD VSS VRF1 VLO1 VIF1", "R1 VRF1 VIF1", "R2 VLO1 VIF1", "R3 VDD VSS 1k")
    metrics = row_of(ngspice, network, "mixer", metrics=["driven_current_a", "driven_power_w"])["metrics"]
    assert metrics["driven_current_a"] == pytest.approx(1.8e-3, rel=1e-3)
    assert metrics["driven_power_w"] == pytest.approx(3.24e-3, rel=1e-3)


@pytest.mark.simulator
def test_a_bipolar_mixer_has_the_intercept_of_its_exponential_input(ngspice: WorkerPool) -> None:
    """A current that the switching pair only commutes keeps the sqrt(8) Vt of the transistor that makes it."""
    mixer = circuit(
        "VDD VSS VRF1 VLO1 VLO2 VIF1 VIF2",
        "Q1 LOW VRF1 VSS npn",
        "Q2 VIF1 VLO1 LOW npn",
        "Q3 VIF2 VLO2 LOW npn",
        "R1 VDD VIF1 10k",
        "R2 VDD VIF2 10k",
    )
    settings = {"lo_frequency_hz": 1e6, "lo_amplitude_v": 0.2, "rf_offset_v": -0.08, "tone_dbm": -46.0, "load_f": 0.0}
    row = row_of(ngspice, mixer, "mixer", settings=settings, metrics=["conversion_gain_db", "iip3_dbm"])
    power_mw = 1e3 * 8 * THERMAL_V**2 / (8 * 50)
    assert row["metrics"]["iip3_dbm"] == pytest.approx(10 * math.log10(power_mw), abs=0.1)


@pytest.mark.simulator
def test_an_output_that_has_not_settled_has_no_conversion_gain(ngspice: WorkerPool) -> None:
    """A resonator of quality 125 at the difference frequency takes longer than the transient lasts."""
    mixer = circuit(
        "VDD VSS VRF1 VLO1 VIF1",
        "M1 LOW VRF1 VSS VSS nmos",
        "M2 VIF1 VLO1 LOW VSS nmos",
        "L1 VDD VIF1 100n",
        "C1 VIF1 VSS 25.33p",
    )
    row = row_of(ngspice, mixer, "mixer", metrics=["conversion_gain_db"])
    assert refusal_of(row, "conversion_gain_db") == (
        "simulator", "the output has not settled after 5 periods of the difference frequency",
    )  # fmt: skip


#: Archetype -> sizes where the starting ones are not enough, and the least conversion gain.
CASES = {
    "gilbert": ({}, -6.0),
    "single_balanced": ({}, -3.0),
    "bipolar_gilbert": ({"r_r1": 100.0, "r_r3": 1e3, "r_r4": 2e3, "vb1_v": 0.95, "area_q1": 4}, -6.0),
    "passive_ring": ({"w_m1": 50e-6, "l_m1": 0.18e-6}, -6.0),
}


@pytest.mark.simulator
@pytest.mark.parametrize("name", CASES)
def test_the_archetypes_convert(name: str, ngspice: WorkerPool) -> None:
    sizing, least = CASES[name]
    row = row_of(ngspice, archetype(f"mixer/{name}"), "mixer", sizing)
    assert row["status"] == "ok"
    metrics = row["metrics"]
    assert least < metrics["conversion_gain_db"] < 20
    assert metrics["conversion_gain_db"] < metrics["static_gain_db"] + 3
    assert -25 < metrics["iip3_dbm"] < 20
    assert metrics["driven_current_a"] >= 0
