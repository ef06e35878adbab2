"""Voltage references: the output over temperature and supply, its noise, and whether it starts from no supply.

A reference that biases itself has a second solution at which nothing flows. So the operating point is looked for where
the circuit settles when it is kicked; the start-up transient has no such help and tells whether it would get there.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

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
    Wave,
    testbenches,
)
from app.testbenches._common import common_metrics, op_run
from app.testbenches._kick import KICKED, kicked_setup, settled, settled_cards
from app.testbenches._references import (
    START_SETTINGS,
    TEMPERATURE_RUNS,
    start_run,
    start_supply,
    startup_time,
    temperature_coefficient,
    temperature_runs,
)
from app.testbenches._transfer import rms_over
from app.testbenches._waveforms import crossings, decibels, value_at

#: Steps of the supply's sweep, which ends this far above the supply.
_STEPS = 44
_SUPPLY_TOP = 1.1

#: Supplies between which the line sensitivity is taken, relative to the nominal one.
_LINE = (0.9, 1.1)

#: Share of the nominal reference that is lost at the minimum supply.
_LOST = 0.01

_NOISE_BAND_HZ = (0.1, 1e5)


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    out, supply = circuit.node("output"), circuit.corner.supply_v
    vectors = (f"v({out})",)
    load = f"c_tb_load {out} vss {circuit.settings['load_f']:.12g}"
    top = _SUPPLY_TOP * supply
    low, high = _NOISE_BAND_HZ
    kicked = kicked_setup(circuit, (load,), (), circuit.settings["startup_window_s"])
    static = Setup(
        "static",
        (load, f"i_tb_load vss {out} DC 0 AC 0", *settled_cards(circuit, ())),
        (
            op_run(*vectors),
            Run("supply", "ac", "ac dec 5 1 100meg", vectors, before=("alter v_vdd acmag=1",)),
            Run("output", "ac", "ac lin 1 1 1", vectors, before=("alter v_vdd acmag=0", "alter i_tb_load acmag=1")),
            Run("noise", "noise", f"noise {vectors[0]} v_vdd dec 5 {low:g} {high:g}", ("onoise_spectrum",)),
            *temperature_runs(*vectors),
            Run("line", "dc", f"dc v_vdd {top:.12g} 0 {-top / _STEPS:.12g}", vectors),
        ),
        after=(KICKED,),
    )
    start = Setup("start", (load,), (start_run(circuit.settings, *vectors),), supply=start_supply(circuit))
    return kicked, static, start


def _reference(reading: Reading) -> float:
    return reading.run("op").at_op(reading.v("output"))


def _rejection(reading: Reading) -> tuple[Wave, Wave]:
    """Frequency and supply rejection in decibels."""
    run = reading.run("supply")
    return run.scale, -decibels(run.complex(reading.v("output")))


def _psrr(reading: Reading) -> float | Undefined:
    rejection = float(_rejection(reading)[1][0])
    return rejection if np.isfinite(rejection) else Undefined("nothing of the supply reaches the output")


def _psrr_at(reading: Reading) -> float | Undefined:
    frequency, rejection = _rejection(reading)
    if not np.all(np.isfinite(rejection)):
        return Undefined("nothing of the supply reaches the output")
    return value_at(np.log10(frequency), rejection, float(np.log10(reading.settings["psrr_hz"])))


def _psrr_worst(reading: Reading) -> float | Undefined:
    worst = float(np.min(_rejection(reading)[1]))
    return worst if np.isfinite(worst) else Undefined("nothing of the supply reaches the output")


def _output_resistance(reading: Reading) -> float:
    return float(reading.run("output").complex(reading.v("output"))[0].real)


def _noise_v(reading: Reading) -> float:
    run = reading.run("noise")
    return rms_over(run.scale, run.real("onoise_spectrum"), *_NOISE_BAND_HZ)


def _noise_density(reading: Reading) -> float:
    run = reading.run("noise")
    return value_at(np.log10(run.scale), run.real("onoise_spectrum"), 3.0)


def _temperature_coefficient(reading: Reading) -> float | Undefined:
    return temperature_coefficient(reading, reading.v("output"))


def _line_curve(reading: Reading) -> tuple[Wave, Wave]:
    """Supply voltage, ascending, and the output."""
    run = reading.run("line")
    return run.scale[::-1], run.real(reading.v("output"))[::-1]


def _line_sensitivity(reading: Reading) -> float | Undefined:
    supply, output = _line_curve(reading)
    low, high = (factor * reading.corner.supply_v for factor in _LINE)
    nominal = value_at(supply, output, reading.corner.supply_v)
    if nominal == 0:
        return Undefined("the reference is zero")
    return abs(value_at(supply, output, high) - value_at(supply, output, low)) / abs(nominal) / (high - low)


def _minimum_supply(reading: Reading) -> float | Undefined:
    supply, output = _line_curve(reading)
    nominal = value_at(supply, output, reading.corner.supply_v)
    entries = crossings(supply, np.abs(output / nominal - 1.0) if nominal else output, _LOST, -1)
    below = entries[entries <= reading.corner.supply_v]
    return float(below[-1]) if below.size else Undefined("the reference is never 1 % below its nominal value")


def _startup_time(reading: Reading) -> float | Undefined:
    run = reading.run("start")
    return startup_time(run.scale, run.real(reading.v("output")), _reference(reading), reading.settings)


def _startup_overshoot(reading: Reading) -> float | Undefined:
    reading.number("startup_time_s")
    peak = float(np.max(reading.run("start").real(reading.v("output"))))
    return max(0.0, peak / _reference(reading) - 1.0)


def _metrics() -> tuple[Metric, ...]:
    never = "a run that it needs has no result"
    silent = "nothing of the supply reaches the output"
    not_started = "the output does not come within 10 % of the operating point's during startup_window_s"
    return (
        *common_metrics(),
        Metric("reference_v", "V", "output voltage at the operating point", never, ("op",), _reference),
        Metric(
            "psrr_db",
            "dB",
            "supply rejection: minus the decibels of output over supply at 1 Hz",
            silent,
            ("supply",),
            _psrr,
            "higher",
        ),
        Metric(
            "psrr_at_frequency_db",
            "dB",
            "supply rejection at psrr_hz",
            silent,
            ("supply",),
            _psrr_at,
            "higher",
        ),
        Metric(
            "psrr_worst_db",
            "dB",
            "least supply rejection between 1 Hz and 100 MHz",
            silent,
            ("supply",),
            _psrr_worst,
            "higher",
        ),
        Metric(
            "output_resistance_ohm",
            "ohm",
            "real part of the output's impedance at 1 Hz",
            never,
            ("output",),
            _output_resistance,
            "lower",
        ),
        Metric(
            "output_noise_v_per_rthz",
            "V/sqrt(Hz)",
            "density of the output's noise voltage at 1 kHz",
            never,
            ("noise",),
            _noise_density,
            "lower",
        ),
        Metric(
            "output_noise_v",
            "V",
            "noise voltage of the output from 0.1 Hz to 100 kHz, root mean square",
            never,
            ("noise",),
            _noise_v,
            "lower",
        ),
        Metric(
            "temperature_coefficient_ppm_per_c",
            "ppm/C",
            "box method: largest less smallest output over its mean and the range, -40 to 125 C",
            "the mean over temperature is zero",
            TEMPERATURE_RUNS,
            _temperature_coefficient,
            "lower",
        ),
        Metric(
            "line_sensitivity_per_v",
            "1/V",
            "relative change of the output for a volt of supply, between 0.9 and 1.1 times the supply",
            "the reference is zero",
            ("line",),
            _line_sensitivity,
            "lower",
        ),
        Metric(
            "minimum_supply_v",
            "V",
            "least supply down to which the output stays within 1 % of its value at the nominal supply",
            "the output is never 1 % off below the nominal supply",
            ("line",),
            _minimum_supply,
            "lower",
        ),
        Metric(
            "startup_time_s",
            "s",
            "time from the start of the supply's ramp until the output stays within 10 % of the operating point's",
            not_started,
            ("op", "start"),
            _startup_time,
            "lower",
        ),
        Metric(
            "startup_overshoot",
            "1",
            "highest output during start-up over the operating point's, less one; 0 without overshoot",
            not_started,
            ("op", "start"),
            _startup_overshoot,
            "lower",
        ),
    )


testbenches.add(
    "bandgap",
    Testbench(
        name="bandgap",
        version=1,
        summary="voltage references: temperature coefficient, supply rejection, noise, minimum supply, start-up",
        types=("bandgap",),
        roles=(Role("output", ("VOUT1", "VREF1"), "the reference voltage"),),
        settings=(
            Setting("load_f", "F", "capacitance at the output", 1e-12, 0.0, 1e-3),
            Setting("psrr_hz", "Hz", "frequency of psrr_at_frequency_db", 1e5, 1.0, 1e8),
            *START_SETTINGS,
        ),
        metrics=_metrics(),
        setups=_setups,
        derive=MappingProxyType({"static": settled}),
        works=(
            Bound("reference_v", low=0.1),
            Bound("temperature_coefficient_ppm_per_c", high=100.0),
            Bound("line_sensitivity_per_v", high=0.25),
            Bound("startup_time_s", high=10.0),
        ),
    ),
)
