"""Power amplifiers under one tone: power into the load, what it costs, and the harmonics beside it."""

from __future__ import annotations

import numpy as np

from app.testbenches._base import (
    BenchCircuit,
    Bound,
    Metric,
    Reading,
    Role,
    Run,
    RunFailed,
    Setting,
    Setup,
    Testbench,
    Undefined,
    testbenches,
)
from app.testbenches._common import common_metrics, op_run
from app.testbenches._waveforms import mean_over, tone

#: Periods of the transient, and at its end over which figures are read, twice, to see whether it has settled.
_PERIODS, _READ = 28, 4

#: Time steps in a period.
_STEPS = 48

#: Change of the fundamental from one reading to the next, relatively, up to which it counts as settled.
_SETTLED = 0.02

#: Blocks direct current from the load; charged by the operating point. The resistor gives an output behind a capacitor
#: of the circuit's own a level.
_BLOCK_F, _BLEED_OHM = 1e-6, 1e9

_LOAD = "v(tb_load)"


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    settings = circuit.settings
    low = circuit.node("negative_output") if circuit.has("negative_output") else "vss"
    period = 1 / settings["frequency_hz"]
    bias, drive = settings["input_v"], settings["drive_v"]
    sides = ("input", "negative_input") if circuit.has("negative_input") else ("input",)
    resistance, amplitude = settings["source_ohm"] / len(sides), drive / len(sides)
    cards = []
    for role, sign in zip(sides, (1, -1)[: len(sides)], strict=True):
        wave = f"SIN({bias:.12g} {sign * amplitude:.12g} {settings['frequency_hz']:.12g})"
        cards.append(f"v_tb_{role} tb_{role} vss DC {bias:.12g} {wave}")
        cards.append(f"r_tb_{role} tb_{role} {circuit.node(role)} {resistance:.12g}")
    return (
        Setup(
            "tone",
            (
                *cards,
                f"c_tb_block {circuit.node('output')} tb_blocked {_BLOCK_F:g}",
                f"r_tb_load tb_blocked {low} {settings['load_ohm']:.12g}",
                f"r_tb_bleed {circuit.node('output')} vss {_BLEED_OHM:g}",
                f"e_tb_load tb_load vss tb_blocked {low} 1",
            ),
            (
                op_run(),
                Run("tone", "tran", f"tran {period / _STEPS:.12g} {_PERIODS * period:.12g}", (_LOAD, "i(v_vdd)")),
            ),
            options=("cshunt=1e-15",),
        ),
    )


def _harmonic(reading: Reading, number: int, back: int = 1) -> complex:
    """Peak volts of a harmonic at the load over a reading, counted from the end; raises RunFailed where it drifts."""
    waves, frequency = reading.run("tone"), reading.settings["frequency_hz"]
    begin = (_PERIODS - back * _READ) / frequency
    return tone(waves.scale, waves.real(_LOAD), number * frequency, begin, number * _READ)


def _fundamental_v(reading: Reading) -> float:
    now, before = (abs(_harmonic(reading, 1, back)) for back in (1, 2))
    if now < 1e-6:
        raise RunFailed("no power reaches the load", "circuit")
    if abs(now - before) > _SETTLED * now:
        raise RunFailed(f"the output has not settled: it still changes by {abs(now - before) / now:.1%}", "circuit")
    return now


def _output_power_w(reading: Reading) -> float:
    return _fundamental_v(reading) ** 2 / (2 * reading.settings["load_ohm"])


def _output_power_dbm(reading: Reading) -> float:
    return float(10 * np.log10(reading.number("output_power_w") / 1e-3))


def _available_power_w(reading: Reading) -> float:
    return reading.settings["drive_v"] ** 2 / (8 * reading.settings["source_ohm"])


def _power_gain_db(reading: Reading) -> float:
    return float(10 * np.log10(reading.number("output_power_w") / _available_power_w(reading)))


def _dc_power_w(reading: Reading) -> float:
    waves, frequency = reading.run("tone"), reading.settings["frequency_hz"]
    begin, end = (_PERIODS - _READ) / frequency, _PERIODS / frequency
    return -reading.corner.supply_v * mean_over(waves.scale, waves.real("i(v_vdd)"), begin, end)


def _drain_efficiency(reading: Reading) -> float | Undefined:
    taken = reading.number("dc_power_w")
    return reading.number("output_power_w") / taken if taken > 0 else Undefined("the supply gives no power")


def _power_added_efficiency(reading: Reading) -> float:
    reading.number("drain_efficiency")
    added = reading.number("output_power_w") - _available_power_w(reading)
    return added / reading.number("dc_power_w")


def _thd_db(reading: Reading) -> float:
    others = np.sqrt(sum(abs(_harmonic(reading, number)) ** 2 for number in range(2, 6)))
    return float(20 * np.log10(max(others, 1e-12) / _fundamental_v(reading)))


_TONE = ("tone",)
_UNSETTLED = "the transient does not finish, the output has not settled, or no power reaches the load"

testbenches.add(
    "power_amplifier",
    Testbench(
        name="power_amplifier",
        version=1,
        summary="power amplifier driven by one tone behind a source resistance, with a resistive load",
        types=("power_amp",),
        roles=(
            Role("input", ("VIN1",), "the input that the source drives"),
            Role("negative_input", ("VIN2",), "the other input of a pair", is_required=False),
            Role("output", ("VOUT1",), "the output that drives the load"),
            Role("negative_output", ("VOUT2",), "the other output of a pair", is_required=False),
        ),
        settings=(
            Setting("frequency_hz", "Hz", "frequency of the tone", 1e9, 1e5, 50e9),
            Setting("input_v", "V", "mean of the input, or of both", 0.5, 0.0, 1.0, of_supply=True),
            Setting(
                "drive_v", "V", "amplitude of the source, across both inputs of a pair", 0.4, 1e-4, 2.0, of_supply=True
            ),
            Setting("source_ohm", "ohm", "resistance of the source", 50.0, 1e-3, 1e6),
            Setting("load_ohm", "ohm", "resistance of the load, between both outputs of a pair", 50.0, 1e-2, 1e6),
        ),
        metrics=(
            *common_metrics(),
            Metric(
                "output_power_w", "W", "power of the fundamental in the load", _UNSETTLED, _TONE, _output_power_w,
                "higher",
            ),
            Metric(
                "output_power_dbm", "dBm", "output_power_w over a milliwatt", _UNSETTLED, _TONE, _output_power_dbm,
                "higher",
            ),
            Metric(
                "power_gain_db", "dB", "output_power_w over what the source has available", _UNSETTLED, _TONE,
                _power_gain_db, "higher",
            ),
            Metric(
                "dc_power_w", "W", "mean power from VDD while the tone is on", "the transient does not finish", _TONE,
                _dc_power_w, "lower",
            ),
            Metric(
                "drain_efficiency", "1", "output_power_w over dc_power_w", _UNSETTLED, _TONE, _drain_efficiency,
                "higher",
            ),
            Metric(
                "power_added_efficiency", "1", "output_power_w minus the source's available power, over dc_power_w",
                _UNSETTLED, _TONE, _power_added_efficiency, "higher",
            ),
            Metric(
                "thd_db", "dB", "harmonics 2 to 5 in the load relative to the fundamental", _UNSETTLED, _TONE, _thd_db,
                "lower",
            ),
        ),
        setups=_setups,
        works=(Bound("power_gain_db", low=0.0), Bound("drain_efficiency", low=0.01)),
    ),
)  # fmt: skip
