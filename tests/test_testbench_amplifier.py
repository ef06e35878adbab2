"""The testbenches of single stages, voltage in or current in, against networks worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.simulators.processes import WorkerPool
from app.testbenches._base import Corner, Metric, Reading, Undefined, Waveforms, testbenches
from app.testbenches._transfer import (
    harmonic_distortion_db,
    lower_cutoff,
    peaking_db,
    reference_index,
    rms_over,
    unity_frequency,
    upper_cutoff,
)
from tests.bench_rows import archetype, circuit, refusal_of, row_of

BOLTZMANN_T = 1.380649e-23 * 300.15
FREQUENCY = np.logspace(1, 11, 101)

#: Sizes with which the archetypes whose starting sizes give no gain have one.
SIZED = {
    "bipolar_differential_pair": {"r_r1": 100e3, "vb1_v": 0.85},
    "common_source": {"r_r1": 10e3, "r_r2": 1e3},
}


@pytest.mark.parametrize(
    ("bench", "needs", "port"),
    [
        ("amplifier", "input (the voltage that is amplified)", "VIN1"),
        ("transimpedance", "input (the current that is amplified)", "IIN1"),
    ],
)
def test_a_stage_without_an_input_is_refused(bench: str, needs: str, port: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        testbenches[bench].wire(circuit("VDD VSS VOUT1", "R1 VDD VOUT1", "R2 VOUT1 VSS"))
    assert str(refused.value) == (
        f"testbench {bench} cannot drive this circuit: it has no {needs}; name the port {port}, or say which it is "
        "under 'ports'"
    )


def test_the_cutoffs_of_a_bandpass_are_those_of_its_poles() -> None:
    transfer = 8 * (1j * FREQUENCY / 1e4) / (1 + 1j * FREQUENCY / 1e4) / (1 + 1j * FREQUENCY / 1e8)
    assert reference_index(transfer) == pytest.approx(50, abs=1)
    assert lower_cutoff(FREQUENCY, transfer) == pytest.approx(1e4, rel=0.01)
    assert upper_cutoff(FREQUENCY, transfer) == pytest.approx(1e8, rel=0.01)
    assert unity_frequency(FREQUENCY, transfer) == pytest.approx(math.sqrt(63) * 1e8, rel=0.01)


def test_a_resonance_peaks_above_the_gain_and_does_not_replace_it() -> None:
    ratio = np.asarray(1j * FREQUENCY / 1e6, dtype=np.complex128)
    transfer = np.asarray(1 / (1 + ratio / 4 + ratio**2), dtype=np.complex128)
    assert reference_index(transfer) == 0
    assert peaking_db(transfer) == pytest.approx(20 * math.log10(4), abs=0.1)
    assert lower_cutoff(FREQUENCY, transfer) is None


def test_noise_adds_up_to_the_root_of_the_band_for_white_and_to_that_of_its_logarithm_for_flicker_noise() -> None:
    assert rms_over(FREQUENCY, np.full(101, 1e-9), 10, 1e8) == pytest.approx(1e-9 * math.sqrt(1e8 - 10))
    assert rms_over(FREQUENCY, 1e-6 / np.sqrt(FREQUENCY), 10, 1e5) == pytest.approx(1e-6 * math.sqrt(math.log(1e4)))


def test_a_square_law_distorts_by_half_the_ratio_of_its_terms() -> None:
    wave = np.cos(np.arange(64) * np.pi / 32)
    assert harmonic_distortion_db(wave + 0.02 * wave**2) == pytest.approx(-40)


@pytest.mark.simulator
def test_a_common_source_stage_has_the_gain_poles_and_resistance_of_its_transistor(ngspice: WorkerPool) -> None:
    netlist = circuit("VDD VSS VIN1 VOUT1", "M1 VOUT1 VIN1 VSS VSS nmos W=20u L=0.5u", "R1 VDD VOUT1 10k")
    row = row_of(ngspice, netlist, "amplifier", settings={"load_f": 20e-12}, with_facts=True)
    metrics, facts = row["metrics"], row["operating_point"]["M1"]
    resistance = 1 / (1e-4 + facts["gds"])
    gain = facts["gm"] * resistance
    assert metrics["gain_db"] == pytest.approx(20 * math.log10(gain), abs=0.05)
    assert metrics["output_resistance_ohm"] == pytest.approx(resistance, rel=0.01)
    assert metrics["bandwidth_hz"] == pytest.approx(1 / (2 * math.pi * resistance * 20e-12), rel=0.01)
    assert metrics["ugf_hz"] == pytest.approx(metrics["bandwidth_hz"] * math.sqrt(gain**2 - 1), rel=0.01)
    assert metrics["psrr_db"] == pytest.approx(20 * math.log10(facts["gm"] * 1e4), abs=0.05)
    assert metrics["supply_current_a"] == pytest.approx((1.8 - metrics["output_v"]) / 1e4, rel=0.01)
    assert metrics["power_w"] == pytest.approx(1.8 * metrics["supply_current_a"])
    assert metrics["area_m2"] == pytest.approx(10e-12)
    assert metrics["input_bias_v"] == pytest.approx(facts["vgs"], rel=0.01)
    assert metrics["peaking_db"] == pytest.approx(0, abs=0.01)
    assert 0.2 < metrics["output_swing_v"] < 1.7
    assert -60 < metrics["thd_db"] < -20
    assert refusal_of(row, "low_cutoff_hz") == ("circuit", "the gain does not fall by 3 dB down to 10 Hz")
    assert refusal_of(row, "input_resistance_ohm") == ("circuit", "the input draws no current at 10 Hz")


@pytest.mark.simulator
def test_a_divider_attenuates_and_has_the_noise_of_its_resistors(ngspice: WorkerPool) -> None:
    netlist = circuit(
        "VDD VSS VIN1 VOUT1", "R1 VIN1 VOUT1 10k", "R2 VOUT1 VSS 10k", "C1 VIN1 VSS 5p", "R9 VDD VSS 1meg"
    )
    row = row_of(ngspice, netlist, "amplifier", settings={"load_f": 10e-12, "output_share": 0.25})
    metrics, pole = row["metrics"], 1 / (2 * math.pi * 5e3 * 10e-12)
    assert metrics["gain_db"] == pytest.approx(-20 * math.log10(2), abs=0.01)
    assert metrics["bandwidth_hz"] == pytest.approx(pole, rel=0.01)
    assert metrics["input_bias_v"] == pytest.approx(0.45, rel=0.01)
    assert metrics["output_v"] == pytest.approx(0.225, rel=0.01)
    assert metrics["input_resistance_ohm"] == pytest.approx(20e3, rel=0.01)
    # Seen through the pole, the load adds a little to the input's own capacitance.
    assert metrics["input_capacitance_f"] == pytest.approx(5e-12 + 10e-12 / 4 / (1 + (1e6 / pole) ** 2), rel=0.01)
    assert metrics["output_resistance_ohm"] == pytest.approx(5e3, rel=0.01)
    assert metrics["output_noise_v"] == pytest.approx(math.sqrt(BOLTZMANN_T / 10e-12), rel=0.01)
    density = 2 * math.sqrt(4 * BOLTZMANN_T * 5e3)
    assert metrics["input_noise_v_per_rthz"] == pytest.approx(density, rel=0.01)
    assert metrics["input_noise_v"] == pytest.approx(density * math.sqrt(pole), rel=0.01)
    assert metrics["output_swing_v"] == pytest.approx(0.9, rel=0.01)
    assert metrics["thd_db"] < -100
    assert refusal_of(row, "ugf_hz") == ("circuit", "the gain is not above 0 dB")
    assert refusal_of(row, "psrr_db") == ("circuit", "nothing of the supply reaches the output")
    assert refusal_of(row, "area_m2") == ("circuit", "the circuit has no MOS transistor")


@pytest.mark.simulator
def test_behind_a_capacitor_the_gain_is_that_of_the_passband(ngspice: WorkerPool) -> None:
    netlist = circuit(
        "VDD VSS VIN1 VOUT1", "C1 VIN1 A 1n", "R1 A VOUT1 10k", "R2 VOUT1 VSS 10k", "R3 VDD VOUT1 1g",
    )  # fmt: skip
    row = row_of(ngspice, netlist, "amplifier", settings={"load_f": 1e-12})
    assert row["metrics"]["gain_db"] == pytest.approx(-20 * math.log10(2), abs=0.05)
    assert row["metrics"]["low_cutoff_hz"] == pytest.approx(1 / (2 * math.pi * 20e3 * 1e-9), rel=0.01)
    assert refusal_of(row, "output_swing_v") == ("circuit", "the output does not move when the input is swept")


@pytest.mark.simulator
def test_a_pair_amplifies_the_difference_of_its_inputs(ngspice: WorkerPool) -> None:
    netlist = circuit(
        "VDD VSS VIN1 VIN2 VOUT1 VOUT2 IB1", "M1 VOUT1 VIN1 IB1 VSS nmos W=20u L=0.5u",
        "M2 VOUT2 VIN2 IB1 VSS nmos W=20u L=0.5u", "R1 VDD VOUT1 20k", "R2 VDD VOUT2 20k",
    )  # fmt: skip
    row = row_of(ngspice, netlist, "amplifier", {"ib1_a": 40e-6}, with_facts=True)
    metrics, facts = row["metrics"], row["operating_point"]["M1"]
    assert metrics["gain_db"] == pytest.approx(20 * math.log10(facts["gm"] / (1 / 20e3 + facts["gds"])), abs=0.09)
    assert metrics["input_bias_v"] == pytest.approx(0, abs=1e-6)
    assert metrics["output_v"] == pytest.approx(0, abs=1e-6)
    assert metrics["output_resistance_ohm"] == pytest.approx(2 / (1 / 20e3 + facts["gds"]), rel=0.01)


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("name", "low_db", "high_db"),
    [
        ("bipolar_differential_pair", 20, 45),
        ("cascode", 50, 80),
        ("common_source", 6, 20),
        ("gain_boosted_cascode", 35, 60),
        ("source_follower", -4, 0),
        ("super_source_follower", -1, 0.1),
    ],
)
def test_the_archetypes_amplify_or_follow(name: str, low_db: float, high_db: float, ngspice: WorkerPool) -> None:
    row = row_of(ngspice, archetype(f"amplifier/{name}"), "amplifier", SIZED.get(name, {}))
    assert row["status"] == "ok"
    assert low_db < row["metrics"]["gain_db"] < high_db
    assert 1e3 < row["metrics"]["bandwidth_hz"] < 1e9
    assert 0.02 < row["metrics"]["output_swing_v"] < 3.6
    assert 1e-9 < row["metrics"]["input_noise_v_per_rthz"] < 1e-6


@pytest.mark.simulator
def test_a_resistor_turns_current_into_voltage(ngspice: WorkerPool) -> None:
    netlist = circuit("VDD VSS IIN1 VOUT1", "R1 VDD IIN1 20k", "R2 IIN1 VSS 20k", "R3 IIN1 VOUT1 1k")
    row = row_of(ngspice, netlist, "transimpedance", settings={"source_f": 10e-12, "load_f": 0.0, "input_a": 10e-6})
    assert row["status"] == "ok"
    metrics, pole = row["metrics"], 1 / (2 * math.pi * 10e3 * 10e-12)
    assert metrics["transimpedance_ohm"] == pytest.approx(10e3, rel=0.01)
    assert metrics["input_resistance_ohm"] == pytest.approx(10e3, rel=0.01)
    assert metrics["output_resistance_ohm"] == pytest.approx(11e3, rel=0.01)
    assert metrics["bandwidth_hz"] == pytest.approx(pole, rel=0.01)
    assert metrics["peaking_db"] == pytest.approx(0, abs=0.01)
    assert metrics["input_v"] == metrics["output_v"] == pytest.approx(1.0, rel=0.01)
    assert metrics["supply_current_a"] == pytest.approx(0.8 / 20e3, rel=0.01)
    assert metrics["power_w"] == pytest.approx(1.8 * 0.8 / 20e3, rel=0.01)
    assert metrics["supply_gain_db"] == pytest.approx(-20 * math.log10(2), abs=0.01)
    # At 1 MHz the pole has begun to weigh the 1 kohm in series with the output.
    spot = math.sqrt(4 * BOLTZMANN_T * (1e-4 + 1e3 * (1e-4**2 + (2 * math.pi * 1e6 * 10e-12) ** 2)))
    assert metrics["input_noise_a_per_rthz"] == pytest.approx(spot, rel=0.01)
    series = 4 * BOLTZMANN_T * 1e3 * (2 * math.pi * 10e-12) ** 2 * pole**3 / 3
    assert metrics["input_noise_a"] == pytest.approx(
        math.sqrt(4 * BOLTZMANN_T * (1e-4 + 1e3 * 1e-8) * pole + series), rel=0.01
    )
    white = 4 * BOLTZMANN_T * 1e3 * 10e9
    assert metrics["output_noise_v"] == pytest.approx(math.sqrt(BOLTZMANN_T / 10e-12 + white), rel=0.01)
    assert metrics["output_swing_v"] == pytest.approx(2 * 100e-6 * 10e3, rel=0.01)
    assert refusal_of(row, "overload_a") == ("circuit", "the slope stays within 3 dB over the whole sweep")
    assert refusal_of(row, "low_cutoff_hz")[0] == "circuit"


def swept(bench: str, inputs: np.ndarray, outputs: np.ndarray) -> Reading:
    """What the metrics see of this sweep around an input of 0."""
    corner = Corner("tt", 1.8, 27.0)
    runs = {
        "swing": Waveforms(inputs, {"v(tb_in)": inputs, "v(tb_out)": outputs}),
        "op": Waveforms(np.zeros(1), {"v(tb_in)": np.zeros(1), "v(tb_out)": np.zeros(1)}),
    }
    settings = testbenches[bench].settings_for(corner)
    return Reading(runs, {}, {"output": "out"}, settings, corner, {}, 0.0, testbenches[bench].metric_of)


def test_a_saturating_curve_overloads_where_its_slope_has_fallen_by_3_db() -> None:
    inputs = np.linspace(-100e-6, 100e-6, 2001)
    reading = swept("transimpedance", inputs, 0.5 * np.tanh(inputs / 30e-6))
    assert reading.number("overload_a") == pytest.approx(30e-6 * math.acosh(2**0.25), rel=0.01)
    assert reading.number("output_swing_v") == pytest.approx(math.tanh(math.acosh(2**0.25)), rel=0.01)
    reading = swept("amplifier", inputs, -0.5 * np.tanh(inputs / 30e-6))
    assert reading.number("output_swing_v") == pytest.approx(math.tanh(math.acosh(2**0.25)), rel=0.01)


def test_the_distortion_of_a_saturating_curve_is_that_of_its_cubic_term() -> None:
    inputs = np.linspace(-0.3, 0.3, 101)
    reading = swept("amplifier", inputs, -(inputs - 0.5 * inputs**3))
    amplitude = reading.settings["tone_v"]
    third = 0.5 * amplitude**3 / 4
    assert reading.number("thd_db") == pytest.approx(20 * math.log10(third / (amplitude - 3 * third)), abs=0.05)
    short = swept("amplifier", inputs, 0.1 * inputs)
    assert short.value("thd_db") == Undefined("the output cannot swing that far, or the sweep has too few points there")


@pytest.mark.simulator
def test_the_transimpedance_archetype_amplifies_at_its_starting_sizes(ngspice: WorkerPool) -> None:
    row = row_of(ngspice, archetype("amplifier/transimpedance"), "transimpedance")
    assert row["status"] == "ok"
    assert 4e3 < row["metrics"]["transimpedance_ohm"] < 10e3
    assert 1e8 < row["metrics"]["bandwidth_hz"] < 2e9
    assert 1e-6 < row["metrics"]["overload_a"] < 100e-6


@pytest.mark.parametrize("bench", ["amplifier", "transimpedance"])
def test_no_metric_is_worth_its_name_twice(bench: str) -> None:
    metrics: tuple[Metric, ...] = testbenches[bench].metrics
    assert len({metric.definition for metric in metrics}) == len(metrics)
