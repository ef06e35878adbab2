"""The testbench of samplers against switched capacitors worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.simulators.processes import WorkerPool
from app.testbenches._base import Corner, Reading, Undefined, Waveforms, testbenches
from tests.bench_rows import archetype, circuit, refusal_of, row_of

PORTS = "VDD VSS VIN1 VOUT1 VCLK1 VCLK2"
SWITCH = "M1 VIN1 VCLK1 X VSS nmos W=20u L=0.18u"
SLOW = {"clock_hz": 200e3, "load_f": 0.0}


def test_a_circuit_without_a_clock_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        testbenches["sampler"].wire(circuit("VDD VSS VIN1 VOUT1", "R1 VDD VOUT1", "R2 VIN1 VSS"))
    assert str(refused.value) == (
        "testbench sampler cannot drive this circuit: it has no track clock (the clock that is high while the circuit "
        "takes its sample); name the port VCLK1 or VTRACK1, or say which it is under 'ports'"
    )


@pytest.mark.simulator
def test_a_resistor_and_a_capacitor_track_and_hold_by_the_formulas(ngspice: WorkerPool) -> None:
    netlist = circuit(PORTS, SWITCH, "R1 X VOUT1 100k", "C1 VOUT1 VSS 10p", "R9 VDD VSS 1meg", "C9 VCLK2 VSS 10p")
    row = row_of(ngspice, netlist, "sampler", settings=SLOW | {"clock_hz": 50e3, "input_v": 0.4})
    assert row["status"] == "ok"
    metrics = row["metrics"]
    assert metrics["supply_current_a"] == pytest.approx(1.8e-6, rel=0.01)
    assert metrics["power_w"] == pytest.approx(3.24e-6, rel=0.01)
    assert metrics["area_m2"] == pytest.approx(3.6e-12)
    assert metrics["track_bandwidth_hz"] == pytest.approx(1 / (2 * math.pi * 1e-6), rel=0.01)
    assert metrics["track_noise_v"] == pytest.approx(math.sqrt(1.380649e-23 * 300.15 / 10e-12), rel=0.01)
    assert metrics["acquisition_time_s"] == pytest.approx(math.log(100) * 1e-6, rel=0.01)
    assert metrics["sample_gain"] == pytest.approx(1, abs=0.002)
    assert metrics["memory"] == pytest.approx(0, abs=0.002)
    assert metrics["gain_error"] == pytest.approx(0, abs=0.002)
    assert metrics["fit_error"] < 0.001
    assert metrics["energy_per_sample_j"] == pytest.approx(3.24e-6 * 20e-6 + 10e-12 * 1.8**2, rel=0.01)
    assert "it does not integrate" in refusal_of(row, "step_offset_v")[1]


@pytest.mark.simulator
def test_a_clock_that_couples_to_the_held_voltage_lifts_it_by_the_capacitors_ratio(ngspice: WorkerPool) -> None:
    netlist = circuit(
        PORTS, "M1 VIN1 VCLK1 VOUT1 VSS nmos W=1u L=0.18u", "C1 VOUT1 VSS 10p", "C2 VCLK2 VOUT1 1p", "R9 VDD VSS 1meg"
    )
    metrics = row_of(ngspice, netlist, "sampler", settings=SLOW)["metrics"]
    assert metrics["pedestal_v"] == pytest.approx(1.8 / 11, rel=0.01)
    assert metrics["offset_v"] == pytest.approx(1.8 / 11, rel=0.01)
    assert metrics["hold_settling_time_s"] < 0.07 / 200e3


@pytest.mark.simulator
def test_a_divider_is_a_gain_error_and_a_capacitor_past_the_switch_feeds_through(ngspice: WorkerPool) -> None:
    netlist = circuit(
        PORTS, "R1 VIN1 Y 1k", "R2 Y VSS 1k", "M1 Y VCLK1 VOUT1 VSS nmos W=1u L=0.18u", "C1 VOUT1 VSS 9.9p",
        "C2 VIN1 VOUT1 0.1p", "R9 VDD VSS 1meg",
    )  # fmt: skip
    metrics = row_of(ngspice, netlist, "sampler", settings=SLOW)["metrics"]
    assert metrics["hold_feedthrough_db"] == pytest.approx(-40, abs=0.1)
    assert metrics["track_bandwidth_hz"] > 1e6
    # What feeds through when the input moves is gone in the next track phase, but stands in the held value.
    assert metrics["gain_error"] == pytest.approx(-0.5, abs=0.01)
    assert metrics["offset_v"] == pytest.approx(-0.45, rel=0.01)


@pytest.mark.simulator
def test_a_leak_makes_the_held_voltage_droop_with_its_time_constant(ngspice: WorkerPool) -> None:
    netlist = circuit(
        PORTS, "M1 VIN1 VCLK1 VOUT1 VSS nmos W=1u L=0.5u", "C1 VOUT1 VSS 10p", "R1 VOUT1 VSS 1g", "R9 VDD VSS 1meg"
    )
    metrics = row_of(ngspice, netlist, "sampler", settings=SLOW, metrics=["droop_v_per_s"])["metrics"]
    early, late = (0.9 * math.exp(-time / 10e-3) for time in (50e-6, 500e-6))
    assert metrics["droop_v_per_s"] == pytest.approx((late - early) / 450e-6, rel=0.01)


@pytest.mark.simulator
def test_shared_charge_remembers_by_the_capacitors_ratio(ngspice: WorkerPool) -> None:
    netlist = circuit(
        PORTS, "M1 VIN1 VCLK1 X VSS nmos W=1u L=0.18u", "M2 X VCLK2 VOUT1 VSS nmos W=1u L=0.18u", "C1 X VSS 2p",
        "C2 VOUT1 VSS 8p", "R9 VDD VSS 1meg",
    )  # fmt: skip
    row = row_of(ngspice, netlist, "sampler", settings=SLOW)
    metrics = row["metrics"]
    assert metrics["memory"] == pytest.approx(0.8, rel=0.01)
    assert metrics["sample_gain"] == pytest.approx(0.2, rel=0.01)
    assert metrics["sample_gain_db"] == pytest.approx(20 * math.log10(0.2), abs=0.09)
    assert refusal_of(row, "gain_error")[1].startswith("the output remembers 0.8")
    assert refusal_of(row, "track_noise_v")[1] == "the output does not follow the input in the track phase"


@pytest.mark.simulator
def test_an_output_that_stands_still_or_never_holds_is_told(ngspice: WorkerPool) -> None:
    still = circuit(PORTS, "M1 VIN1 VCLK1 X VSS nmos", "C1 X VSS 1p", "R1 VDD VOUT1", "R2 VOUT1 VSS", "R3 VCLK2 VSS")
    row = row_of(ngspice, still, "sampler", metrics=["sample_gain", "fit_error"])
    assert refusal_of(row, "sample_gain") == ("circuit", "the held output does not change with the input")
    wire = circuit(PORTS, "R1 VIN1 VOUT1 1k", "M1 VIN1 VCLK1 VOUT1 VSS nmos", "R2 VCLK2 VSS", "R3 VDD VSS")
    assert row_of(ngspice, wire, "sampler", metrics=["fit_error"])["metrics"]["fit_error"] > 0.1


def reading_of(held: list[float]) -> Reading:
    """What the metrics see of these held outputs, one a period of 1 us."""
    bench, corner = testbenches["sampler"], Corner("tt", 1.8, 27.0)
    time = np.arange(0, 7e-6, 10e-9)
    output = np.array(held)[np.minimum((time * 1e6).astype(int), 6)]
    waves = Waveforms(time, {"v(out)": output, "i(v_vdd)": np.zeros_like(time)})
    return Reading(
        {"samples": waves}, {}, {"output": "out"}, bench.settings_for(corner), corner, {}, 0.0, bench.metric_of
    )


def test_even_distortion_bows_the_held_output() -> None:
    levels = np.array([0, 0, 1, 1, -1, -1, 0])
    assert reading_of(list(0.9 + 0.18 * levels - 2e-3 * levels**2)).number("bow_v") == pytest.approx(2e-3)


def test_an_integrator_moves_by_its_offset_when_its_input_rests() -> None:
    steps = np.cumsum([0, 0, 1, 1, -1, -1, 0]) * 0.09
    reading = reading_of(list(0.9 + steps + 1e-3 * np.arange(7)))
    assert reading.number("memory") == pytest.approx(1)
    assert reading.number("sample_gain") == pytest.approx(0.5)
    assert reading.number("step_offset_v") == pytest.approx(1e-3)
    assert isinstance(reading.value("offset_v"), Undefined)


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("name", "gain", "memory"),
    [
        ("bootstrapped_sampler", 1.0, 0.0),
        ("flip_around_sample_hold", 1.0, 0.0),
        ("integrator", 1.0, 1.0),
        ("track_and_hold", 0.77, 0.0),
    ],
)
def test_the_archetypes_sample_at_their_starting_sizes(
    name: str, gain: float, memory: float, ngspice: WorkerPool
) -> None:
    row = row_of(ngspice, archetype(f"switched_cap/{name}"), "sampler")
    assert row["status"] == "ok"
    metrics = row["metrics"]
    assert metrics["sample_gain"] == pytest.approx(gain, abs=0.05)
    assert metrics["memory"] == pytest.approx(memory, abs=0.02)
    assert metrics["fit_error"] < 0.01
    assert 1e-12 < metrics["energy_per_sample_j"] < 100e-12
    for bound in testbenches["sampler"].works:
        assert bound.low is None or metrics[bound.metric] >= bound.low
        assert bound.high is None or metrics[bound.metric] <= bound.high
