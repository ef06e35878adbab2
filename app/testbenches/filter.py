"""Filters with voltages in and out: low-pass, band-pass, high-pass, at a fixed input level."""

from __future__ import annotations

import numpy as np

from app.testbenches import _stage
from app.testbenches._base import (
    BenchCircuit,
    Bound,
    Metric,
    Reading,
    Role,
    Run,
    Setting,
    Setup,
    Testbench,
    Undefined,
    testbenches,
)
from app.testbenches._common import common_metrics, op_run
from app.testbenches._stage import INPUT, OUTPUT
from app.testbenches._transfer import lower_cutoff, upper_cutoff
from app.testbenches._waveforms import decibels, value_at

_SWEPT = 100


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    level, supply = circuit.settings["common_mode_v"], circuit.corner.supply_v
    bias, low, high = (0.0, -supply / 2, supply / 2) if circuit.has("negative_input") else (level, 0.0, supply)
    return (
        Setup(
            "filter",
            (
                *_stage.input_cards(circuit),
                *_stage.output_cards(circuit),
                f"v_tb_in tb_in vss DC {bias:.12g} AC 1",
            ),
            (
                op_run(OUTPUT, INPUT),
                Run("gain", "ac", f"ac dec 40 {_stage.NOISE_BAND_HZ[0]:g} 100g", (OUTPUT,)),
                Run("noise", "noise", f"noise {OUTPUT} v_tb_in {_stage.NOISE_BAND}", ("onoise_spectrum",)),
                Run("swing", "dc", f"dc v_tb_in {low:.12g} {high:.12g} {(high - low) / _SWEPT:.12g}", (INPUT, OUTPUT)),
            ),
        ),
    )


def _gain_db(reading: Reading) -> float:
    return float(20 * np.log10(_stage.gain(reading)))


def _attenuation_db(reading: Reading) -> float | Undefined:
    """How far the gain has fallen a decade above the upper cutoff."""
    frequency, response = _stage.transfer(reading)
    beyond = 10 * reading.number("upper_cutoff_hz")
    if beyond > frequency[-1]:
        return Undefined("a decade above the cutoff lies beyond 100 GHz")
    return reading.number("gain_db") - value_at(np.log10(frequency), decibels(response), float(np.log10(beyond)))


def _center_hz(reading: Reading) -> float | Undefined:
    _stage.gain(reading)
    low, high = (cutoff(*_stage.transfer(reading)) for cutoff in (lower_cutoff, upper_cutoff))
    if low is None or high is None:
        return Undefined("the gain does not fall by 3 dB on both sides")
    return float(np.sqrt(low * high))


def _quality(reading: Reading) -> float:
    width = reading.number("upper_cutoff_hz") - reading.number("lower_cutoff_hz")
    return reading.number("center_hz") / width


def _delay_s(reading: Reading) -> float | Undefined:
    """Group delay at a tenth of the upper cutoff."""
    frequency, response = _stage.transfer(reading)
    at = reading.number("upper_cutoff_hz") / 10
    if at < 10 * frequency[0]:
        return Undefined("the cutoff is too low for a delay below it")
    delay = -np.gradient(np.unwrap(np.angle(response)), 2 * np.pi * frequency)
    return value_at(np.log10(frequency), delay, float(np.log10(at)))


def _linear_input_v(reading: Reading) -> float:
    inputs, outputs = _stage.swept_curve(reading, INPUT)
    return float(np.ptp(_stage.linear_range(inputs, outputs, reading.run("op").at_op(INPUT))))


_GAIN = ("gain",)
_NO_OP = "the operating point does not converge"
_NO_GAIN = "nothing of the input reaches the output"
_NO_HIGH = "the gain does not fall by 3 dB up to 100 GHz"

testbenches.add(
    "filter",
    Testbench(
        name="filter",
        version=1,
        summary="continuous-time filter: cutoffs, attenuation, quality, noise and linear range",
        types=("filter",),
        roles=(
            Role("input", ("VIN1",), "the voltage that is filtered"),
            Role("negative_input", ("VIN2",), "the other input of a pair", is_required=False),
            Role("output", ("VOUT1",), "the output that is loaded"),
            Role("negative_output", ("VOUT2",), "the other output of a pair", is_required=False),
            Role("common_mode", ("VCM1",), "a common-mode level that the circuit asks for", is_required=False),
        ),
        settings=(
            Setting("common_mode_v", "V", "level of the input, or mean of a pair", 0.5, 0.0, 1.0, of_supply=True),
            Setting("load_f", "F", "capacitance at each output", 100e-15, 0.0, 1e-6),
        ),
        metrics=(
            *common_metrics(),
            Metric("output_v", "V", "output at the operating point", _NO_OP, ("op",), _stage.output_level_v),
            Metric(
                "gain_db", "dB", "gain in the passband: at 10 Hz, or the peak where that is 20 dB larger", _NO_GAIN,
                _GAIN, _gain_db,
            ),
            Metric(
                "upper_cutoff_hz", "Hz", "frequency above which the gain is 3.01 dB below gain_db", _NO_HIGH, _GAIN,
                _stage.bandwidth_hz,
            ),
            Metric(
                "lower_cutoff_hz", "Hz", "frequency below which the gain is 3.01 dB below gain_db",
                "the gain does not fall by 3 dB down to 10 Hz", _GAIN, _stage.low_cutoff_hz,
            ),
            Metric(
                "center_hz", "Hz", "geometric mean of the cutoffs", "the gain does not fall by 3 dB on both sides",
                _GAIN, _center_hz,
            ),
            Metric(
                "quality", "1", "center_hz over the distance of the cutoffs",
                "the gain does not fall by 3 dB on both sides", _GAIN, _quality,
            ),
            Metric(
                "peaking_db", "dB", "largest gain relative to gain_db", _NO_GAIN, _GAIN, _stage.response_peaking_db,
                "lower",
            ),
            Metric(
                "attenuation_db", "dB", "how much the gain has fallen a decade above upper_cutoff_hz", _NO_HIGH, _GAIN,
                _attenuation_db, "higher",
            ),
            Metric(
                "group_delay_s", "s", "group delay at a tenth of upper_cutoff_hz", _NO_HIGH + ", or it is too low",
                _GAIN, _delay_s,
            ),
            Metric(
                "output_noise_v", "V", "output noise from 10 Hz to 10 GHz, rms", "the noise analysis fails", ("noise",),
                _stage.output_noise_v, "lower",
            ),
            Metric(
                "linear_input_v", "V", "range of the input in which the slope is within 3 dB, both within the rails",
                "the output does not move when the input is swept", ("swing",), _linear_input_v, "higher",
            ),
        ),
        setups=_setups,
        supplies=("VSS",),
        works=(Bound("gain_db", low=-10.0), Bound("attenuation_db", low=10.0)),
    ),
)  # fmt: skip
