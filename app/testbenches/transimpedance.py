"""Transimpedance amplifiers: a current in, a voltage out. The circuit's own feedback sets the operating point."""

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

_SWEPT = 100


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    source, settings = circuit.node("input"), circuit.settings
    bias, reach = settings["input_a"], settings["sweep_a"]
    cards = (
        *_stage.output_cards(circuit),
        f"v_tb_in tb_in vss DC {bias:.12g} AC 1",
        f"g_tb_in vss {source} tb_in vss 1",
        f"c_tb_in {source} vss {settings['source_f']:.12g}",
    )
    if circuit.has("common_mode"):
        cards += (f"v_tb_vcm {circuit.node('common_mode')} vss DC {circuit.corner.supply_v / 2:.12g}",)
    return (
        Setup(
            "stage",
            cards,
            (
                op_run(OUTPUT, f"v({source})"),
                Run("gain", "ac", f"ac {_stage.BAND}", (OUTPUT, f"v({source})")),
                Run("supply", "ac", "ac lin 1 10 10", (OUTPUT,), ("alter v_tb_in acmag=0", "alter v_vdd acmag=1")),
                Run("output", "ac", f"ac {_stage.BAND}", (OUTPUT,), ("alter v_vdd acmag=0", "alter i_tb_out acmag=1")),
                Run(
                    "noise",
                    "noise",
                    f"noise {OUTPUT} v_tb_in {_stage.NOISE_BAND}",
                    ("inoise_spectrum", "onoise_spectrum"),
                    ("alter i_tb_out acmag=0", "alter v_tb_in acmag=1"),
                ),
                Run(
                    "swing",
                    "dc",
                    f"dc v_tb_in {bias - reach:.12g} {bias + reach:.12g} {2 * reach / _SWEPT:.12g}",
                    (INPUT, OUTPUT),
                ),
            ),
        ),
    )


def _input_v(reading: Reading) -> float:
    return reading.run("op").at_op(reading.v("input"))


def _input_resistance_ohm(reading: Reading) -> float:
    return float(np.real(reading.run("gain").complex(reading.v("input"))[0]))


def _supply_gain_db(reading: Reading) -> float:
    return float(20 * np.log10(_stage.supply_gain(reading)))


def _overload(reading: Reading) -> tuple[float, float, float]:
    """The nearer end of the linear input range as a distance in amperes, and the output at both ends."""
    inputs, outputs = _stage.swept_curve(reading, INPUT)
    bias = reading.settings["input_a"]
    low, high = _stage.linear_range(inputs, outputs, bias)
    ends = np.interp((low, high), inputs, outputs)
    return min(bias - low, high - bias), float(ends[0]), float(ends[1])


def _overload_a(reading: Reading) -> float | Undefined:
    nearest, *_ = _overload(reading)
    if nearest >= reading.settings["sweep_a"] * (1 - 1e-9):
        return Undefined("the slope stays within 3 dB over the whole sweep")
    return nearest


def _output_swing_v(reading: Reading) -> float:
    _, low, high = _overload(reading)
    return abs(high - low)


_GAIN = ("gain",)
_NOISE = ("gain", "noise")
_NO_OP = "the operating point does not converge"
_NO_GAIN = "nothing of the input reaches the output"

testbenches.add(
    "transimpedance",
    Testbench(
        name="transimpedance",
        version=1,
        summary="transimpedance amplifier: a current source with its capacitance at the input",
        types=("amplifier",),
        roles=(
            Role("input", ("IIN1",), "the current that is amplified"),
            Role("output", ("VOUT1",), "the output that is loaded"),
            Role("negative_output", ("VOUT2",), "the other output of a pair", is_required=False),
            Role("common_mode", ("VCM1",), "a common-mode level that the circuit asks for", is_required=False),
        ),
        settings=(
            Setting("input_a", "A", "mean of the current into the input", 0.0, -1e-2, 1e-2),
            Setting("source_f", "F", "capacitance of the source at the input", 100e-15, 0.0, 1e-6),
            Setting("load_f", "F", "capacitance at each output", 100e-15, 0.0, 1e-6),
            Setting("sweep_a", "A", "how far the input is swept on both sides of input_a", 100e-6, 1e-9, 1.0),
        ),
        metrics=(
            *common_metrics(),
            Metric("input_v", "V", "voltage of the input at the operating point", _NO_OP, ("op",), _input_v),
            Metric("output_v", "V", "output at the operating point", _NO_OP, ("op",), _stage.output_level_v),
            Metric(
                "transimpedance_ohm", "ohm",
                "output per ampere at 10 Hz, or its peak where a coupling capacitor makes that 20 dB larger",
                _NO_GAIN, _GAIN, _stage.gain, "higher",
            ),
            Metric(
                "bandwidth_hz", "Hz", "frequency above which the output is 3.01 dB below transimpedance_ohm",
                _NO_GAIN + ", or it does not fall up to 100 GHz", _GAIN, _stage.bandwidth_hz, "higher",
            ),
            Metric(
                "low_cutoff_hz", "Hz", "frequency below which the output is 3.01 dB below transimpedance_ohm",
                "it does not fall down to 10 Hz", _GAIN, _stage.low_cutoff_hz, "lower",
            ),
            Metric(
                "peaking_db", "dB", "largest transimpedance relative to transimpedance_ohm", _NO_GAIN, _GAIN,
                _stage.response_peaking_db, "lower",
            ),
            Metric(
                "input_resistance_ohm", "ohm", "resistance that a current into the input sees at 10 Hz", _NO_OP, _GAIN,
                _input_resistance_ohm, "lower",
            ),
            Metric(
                "supply_gain_db", "dB",
                "gain from VDD to the output at 10 Hz; bias voltages above half the supply refer to VDD",
                "nothing of the supply reaches the output", ("supply",), _supply_gain_db, "lower",
            ),
            Metric(
                "output_resistance_ohm", "ohm", "resistance that a current into the output sees at 10 Hz", _NO_OP,
                ("output",), _stage.output_resistance_ohm, "lower",
            ),
            Metric(
                "input_noise_a_per_rthz", "A/sqrt(Hz)", "input-referred noise density at 1 MHz",
                "the noise analysis fails", _NOISE, _stage.input_noise_density, "lower",
            ),
            Metric(
                "input_noise_a", "A", "input-referred noise between the cutoffs, from 10 Hz to 10 GHz at most, rms",
                "the output does not fall by 3 dB up to 100 GHz", _NOISE, _stage.input_noise, "lower",
            ),
            Metric(
                "output_noise_v", "V", "output noise from 10 Hz to 10 GHz, rms", "the noise analysis fails", _NOISE,
                _stage.output_noise_v, "lower",
            ),
            Metric(
                "overload_a", "A", "change of the input current that changes the slope by 3 dB, the nearer side",
                "the slope stays within 3 dB over the whole sweep, or the output stands still", ("swing",), _overload_a,
                "higher",
            ),
            Metric(
                "output_swing_v", "V", "range of the output in which the slope is within 3 dB of the operating point's",
                "the output stands still", ("swing",), _output_swing_v, "higher",
            ),
        ),
        setups=_setups,
        supplies=("VSS",),
        works=(Bound("transimpedance_ohm", low=100.0), Bound("bandwidth_hz", low=1e3)),
    ),
)  # fmt: skip
