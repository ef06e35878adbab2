"""Single-stage amplifiers with a voltage input: common source, cascode, followers, differential pairs.

No fixed input level suits a stage of unknown gain and sign. So the input is swept first; then a slow loop of known sign
(1 GH, 1 GF) holds the output at a share of the range that it swept, which a gain of any size can bear. With a second
input or output, input and output are differences and the inputs' mean is fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from app.testbenches import _stage
from app.testbenches._base import (
    BenchCircuit,
    Bound,
    ComplexWave,
    Metric,
    Reading,
    Role,
    Run,
    Setting,
    Setup,
    Testbench,
    Undefined,
    Wave,
    testbenches,
)
from app.testbenches._common import common_metrics, op_run
from app.testbenches._stage import INPUT, OUTPUT, SPOT_HZ
from app.testbenches._transfer import harmonic_distortion_db, unity_frequency
from app.testbenches._waveforms import crossings, value_at

#: Points of the first sweep, which finds where the stage works, and of the second, which tells how far it does.
_COARSE, _FINE = 60, 100

#: How much the slow loop moves the input per volt at the output.
_LOOP_GAIN = 10.0

#: An output that moves less than this while its input is swept has no level worth aiming at.
_STILL_V = 1e-3

#: Of the polynomial that distortion is read from.
_DEGREE = 5


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    supply = circuit.corner.supply_v
    has_pair = circuit.has("negative_input")
    low, high = (-supply / 2, supply / 2) if has_pair else (0.0, supply)
    wires = (*_stage.input_cards(circuit), *_stage.output_cards(circuit))
    sweep = Setup(
        "sweep",
        (*wires, "v_tb_in tb_in vss DC 0"),
        (Run("sweep", "dc", f"dc v_tb_in {low:.12g} {high:.12g} {(high - low) / _COARSE:.12g}", (OUTPUT,)),),
    )
    stage = Setup(
        "stage",
        (
            *wires,
            "b_tb_loop tb_loop vss V={tb_bias}+({tb_loop})*(v(tb_out)-v(tb_target))",
            "l_tb_loop tb_loop tb_in 1g",
            "c_tb_loop tb_ac tb_in 1g",
            "v_tb_ac tb_ac vss DC 0 AC 1",
            "v_tb_target tb_target vss DC {tb_target}",
            ".nodeset v(tb_in)={tb_bias} v(tb_loop)={tb_bias} v(tb_out)={tb_target}",
        ),
        (
            op_run(OUTPUT, INPUT),
            Run("gain", "ac", f"ac {_stage.BAND}", (OUTPUT, "i(e_tb_plus)")),
            Run("supply", "ac", "ac lin 1 10 10", (OUTPUT,), ("alter v_tb_ac acmag=0", "alter v_vdd acmag=1")),
            Run("output", "ac", f"ac {_stage.BAND}", (OUTPUT,), ("alter v_vdd acmag=0", "alter i_tb_out acmag=1")),
            Run(
                "noise",
                "noise",
                f"noise {OUTPUT} v_tb_ac {_stage.NOISE_BAND}",
                ("inoise_spectrum", "onoise_spectrum"),
                ("alter i_tb_out acmag=0", "alter v_tb_ac acmag=1"),
            ),
            Run("swing", "dc", "dc v_tb_target {tb_low:.9g} {tb_high:.9g} {tb_step:.9g}", (OUTPUT, INPUT)),
        ),
        options=("reltol=1e-5",),
    )
    return sweep, stage


def _operating_level(reading: Reading) -> Mapping[str, float]:
    """Where the loop holds the output, which way it turns, and the range of targets that sweeps the whole input."""
    waves = reading.run("sweep")
    swept, output = waves.scale, waves.real(OUTPUT)
    low, high = float(output.min()), float(output.max())
    if high - low < _STILL_V:
        middle = swept.size // 2
        bias, target, loop = float(swept[middle]), float(output[middle]), 0.0
        ends = (target, target + _STILL_V)
    else:
        target = low + reading.settings["output_share"] * (high - low)
        found = crossings(swept, output, target)
        slopes = np.interp(found, swept, np.gradient(output, swept))
        steepest = int(np.argmax(np.abs(slopes)))
        bias, loop = float(found[steepest]), float(-_LOOP_GAIN * np.sign(slopes[steepest]))
        ends = (
            float(output[0] - (swept[0] - bias) / loop),
            float(output[-1] - (swept[-1] - bias) / loop),
        )
    return {
        "tb_bias": bias,
        "tb_loop": loop,
        "tb_target": target,
        "tb_low": min(ends),
        "tb_high": max(ends),
        "tb_step": abs(ends[1] - ends[0]) / _FINE,
    }


def _input_bias_v(reading: Reading) -> float:
    return reading.run("op").at_op(INPUT)


def _gain_db(reading: Reading) -> float:
    return float(20 * np.log10(_stage.gain(reading)))


def _ugf_hz(reading: Reading) -> float | Undefined:
    if reading.number("gain_db") <= 0:
        return Undefined("the gain is not above 0 dB")
    found = unity_frequency(*_stage.transfer(reading))
    return Undefined("the gain stays above 0 dB up to 100 GHz") if found is None else found


def _admittance(reading: Reading) -> tuple[Wave, ComplexWave]:
    """Of the input, in siemens; of a pair, between its two inputs."""
    waves = reading.run("gain")
    return waves.scale, -waves.complex("i(e_tb_plus)")


def _input_capacitance_f(reading: Reading) -> float:
    frequency, admittance = _admittance(reading)
    return value_at(frequency, np.imag(admittance), SPOT_HZ) / (2 * np.pi * SPOT_HZ)


def _input_resistance_ohm(reading: Reading) -> float | Undefined:
    conductance = float(np.real(_admittance(reading)[1][0]))
    return 1 / conductance if conductance > 1e-12 else Undefined("the input draws no current at 10 Hz")


def _psrr_db(reading: Reading) -> float:
    response = _stage.transfer(reading)[1]
    return float(20 * np.log10(np.abs(response[0]) / _stage.supply_gain(reading)))


def _output_swing_v(reading: Reading) -> float:
    inputs, outputs = _stage.swept_curve(reading, INPUT)
    ends = _stage.linear_range(inputs, outputs, reading.number("input_bias_v"))
    return float(np.ptp(np.interp(ends, inputs, outputs)))


def _thd_db(reading: Reading) -> float | Undefined:
    """Distortion of a slow sine from the swept curve: a polynomial through the part that the sine passes."""
    inputs, outputs = _stage.swept_curve(reading, INPUT)
    bias, height = reading.number("input_bias_v"), reading.settings["tone_v"]
    away = np.abs(outputs - value_at(inputs, outputs, bias))
    near = away <= 1.3 * height
    reach = min(float(away[side].max(initial=0.0)) for side in (inputs < bias, inputs > bias))
    if np.count_nonzero(near) < _DEGREE + 3 or reach < height:
        return Undefined("the output cannot swing that far, or the sweep has too few points there")
    slope = value_at(inputs, np.abs(np.gradient(outputs, inputs)), bias)
    curve = np.polynomial.Polynomial.fit((inputs[near] - bias) * slope / height, outputs[near], _DEGREE)
    return harmonic_distortion_db(curve(np.cos(np.arange(64) * np.pi / 32)))


_SWEPT_RUNS = ("sweep",)
_OP = (*_SWEPT_RUNS, "op")
_GAIN = (*_OP, "gain")
_NOISE = (*_GAIN, "noise")
_SWING = (*_OP, "swing")

_NO_OP = "the operating point does not converge"
_NO_GAIN = "nothing of the input reaches the output"
_NO_SWING = "the output does not move when the input is swept"


def _with_sweep(metric: Metric) -> Metric:
    """The metric knowing that its operating point comes out of the first sweep."""
    return replace(metric, runs=(*_SWEPT_RUNS, *metric.runs)) if metric.runs else metric


testbenches.add(
    "amplifier",
    Testbench(
        name="amplifier",
        version=1,
        summary="single-stage amplifier or follower with a voltage input, biased so that its output can swing",
        types=("amplifier",),
        roles=(
            Role("input", ("VIN1",), "the voltage that is amplified"),
            Role("negative_input", ("VIN2",), "the other input of a pair", is_required=False),
            Role("output", ("VOUT1",), "the output that is loaded"),
            Role("negative_output", ("VOUT2",), "the other output of a pair", is_required=False),
            Role("common_mode", ("VCM1",), "a common-mode level that the circuit asks for", is_required=False),
        ),
        settings=(
            Setting(
                "output_share", "1", "level of the output within the range that sweeping the input gives it",
                0.5, 0.05, 0.95,
            ),
            Setting("common_mode_v", "V", "mean of the inputs of a pair", 0.5, 0.0, 1.0, of_supply=True),
            Setting("load_f", "F", "capacitance at each output", 1e-12, 0.0, 1e-6),
            Setting("tone_v", "V", "amplitude at the output of the distorted sine", 0.05, 0.001, 0.5, of_supply=True),
        ),
        metrics=(
            *sorted(map(_with_sweep, common_metrics()), key=lambda metric: len(metric.runs)),
            Metric(
                "input_bias_v", "V", "input that the output's level takes; of a pair, its offset", _NO_OP, _OP,
                _input_bias_v,
            ),
            Metric("output_v", "V", "output at the operating point", _NO_OP, _OP, _stage.output_level_v),
            Metric(
                "gain_db", "dB", "gain at 10 Hz, or its peak where a coupling capacitor makes that 20 dB larger",
                _NO_GAIN, _GAIN, _gain_db, "higher",
            ),
            Metric(
                "bandwidth_hz", "Hz", "frequency above which the gain is 3.01 dB below gain_db",
                _NO_GAIN + ", or its gain does not fall up to 100 GHz", _GAIN, _stage.bandwidth_hz, "higher",
            ),
            Metric(
                "low_cutoff_hz", "Hz", "frequency below which the gain is 3.01 dB below gain_db",
                "the gain does not fall by 3 dB down to 10 Hz", _GAIN, _stage.low_cutoff_hz, "lower",
            ),
            Metric(
                "ugf_hz", "Hz", "unity-gain frequency: downward 0 dB crossing of the gain",
                "the gain is not above 0 dB", _GAIN, _ugf_hz, "higher",
            ),
            Metric(
                "peaking_db", "dB", "largest gain relative to gain_db", _NO_GAIN, _GAIN, _stage.response_peaking_db,
                "lower",
            ),
            Metric(
                "input_capacitance_f", "F",
                "susceptance of the input at 1 MHz over its angular frequency; of a pair, between its inputs",
                _NO_OP, _GAIN, _input_capacitance_f, "lower",
            ),
            Metric(
                "input_resistance_ohm", "ohm", "inverse of the input's conductance at 10 Hz",
                "the input draws no current at 10 Hz", _GAIN, _input_resistance_ohm, "higher",
            ),
            Metric(
                "psrr_db", "dB",
                "gain from the input minus gain from VDD, both at 10 Hz; "
                "bias voltages above half the supply refer to VDD",
                "nothing of the supply reaches the output", (*_GAIN, "supply"), _psrr_db, "higher",
            ),
            Metric(
                "output_resistance_ohm", "ohm", "resistance that a current into the output sees at 10 Hz", _NO_OP,
                (*_OP, "output"), _stage.output_resistance_ohm, "lower",
            ),
            Metric(
                "input_noise_v_per_rthz", "V/sqrt(Hz)", "input-referred noise density at 1 MHz",
                "the noise analysis fails", _NOISE, _stage.input_noise_density, "lower",
            ),
            Metric(
                "input_noise_v", "V", "input-referred noise between the cutoffs, from 10 Hz to 10 GHz at most, rms",
                "the gain does not fall by 3 dB up to 100 GHz", _NOISE, _stage.input_noise, "lower",
            ),
            Metric(
                "output_noise_v", "V", "output noise from 10 Hz to 10 GHz, rms", "the noise analysis fails", _NOISE,
                _stage.output_noise_v, "lower",
            ),
            Metric(
                "output_swing_v", "V",
                "range of the output with a slope within 3 dB of the operating point's, the input within the rails",
                _NO_SWING, _SWING, _output_swing_v, "higher",
            ),
            Metric(
                "thd_db", "dB", "harmonics 2 to 5 of a slow sine of tone_v at the output, relative to the first",
                _NO_SWING + ", or not far enough", _SWING, _thd_db, "lower",
            ),
        ),
        setups=_setups,
        supplies=("VSS",),
        works=(Bound("gain_db", low=-6.0), Bound("bandwidth_hz", low=1e3)),
        derive={"stage": _operating_level},
    ),
)  # fmt: skip
