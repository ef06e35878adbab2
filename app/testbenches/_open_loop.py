"""Metrics of an open-loop transfer function, for every testbench that has one: gain, crossings, margins.

The lowest frequency of the run stands for DC; it is 10 Hz in the testbenches here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from app.testbenches._base import ComplexWave, Metric, Reading, Undefined, Wave
from app.testbenches._waveforms import crossing_frequency, crossings, decibels, unwrapped_degrees, value_at

#: The analysis of every open loop. At 20 points a decade, margins interpolated over the logarithm are right to 1 %.
AC_BAND = "dec 20 10 10g"

#: Half-power in decibels.
_HALF_POWER_DB = float(10 * np.log10(2))

#: From a reading and the name of an AC run: frequencies in hertz and the transfer function.
Transfer = Callable[[Reading, str], tuple[Wave, ComplexWave]]

NO_GAIN = "the operating point does not converge, or the output is at a rail"
NO_CROSSING = "the gain has no downward 0 dB crossing between 10 Hz and 10 GHz"


def open_loop_metrics(
    transfer: Transfer, rail: Callable[[Reading], Undefined | None], runs: tuple[str, ...]
) -> tuple[Metric, ...]:
    """Gain, bandwidth, gain-bandwidth product, unity-gain frequency, both margins and the number of crossings.

    The run named ``differential`` is measured; `runs` are all that this takes. `rail` tells why the gain means nothing.
    """

    def gain_db(reading: Reading) -> float | Undefined:
        outside = rail(reading)
        return outside if outside else float(decibels(transfer(reading, "differential")[1])[0])

    def bandwidth_hz(reading: Reading) -> float | Undefined:
        gain = reading.number("gain_db")
        frequency, curve = transfer(reading, "differential")
        found = crossing_frequency(frequency, decibels(curve), gain - _HALF_POWER_DB)
        return Undefined("the gain does not fall by 3 dB up to 10 GHz") if found is None else found

    def gbw_hz(reading: Reading) -> float:
        return float(10 ** (reading.number("gain_db") / 20) * reading.number("bandwidth_hz"))

    def ugf_hz(reading: Reading) -> float | Undefined:
        if reading.number("gain_db") <= 0:
            return Undefined("the gain is not above 0 dB at the lowest frequency")
        frequency, curve = transfer(reading, "differential")
        found = crossing_frequency(frequency, decibels(curve))
        return Undefined("the gain stays above 0 dB up to 10 GHz") if found is None else found

    def phase_margin_deg(reading: Reading) -> float:
        crossing = reading.number("ugf_hz")
        frequency, curve = transfer(reading, "differential")
        return 180.0 + value_at(np.log10(frequency), relative_phase(curve), float(np.log10(crossing)))

    def gain_margin_db(reading: Reading) -> float | Undefined:
        reading.number("ugf_hz")
        frequency, curve = transfer(reading, "differential")
        turns = crossings(np.log10(frequency), relative_phase(curve), -180.0, -1)
        if not turns.size:
            return Undefined("the phase does not fall by 180 degrees up to 10 GHz")
        return -value_at(np.log10(frequency), decibels(curve), float(turns[0]))

    def unity_crossings(reading: Reading) -> float:
        reading.number("gain_db")
        frequency, curve = transfer(reading, "differential")
        return float(crossings(frequency, decibels(curve), 0.0).size)

    return (
        Metric("gain_db", "dB", "open-loop gain |vout/vid| at 10 Hz", NO_GAIN, runs, gain_db, "higher"),
        Metric(
            "bandwidth_hz",
            "Hz",
            "frequency at which the open-loop gain is 3.01 dB below its value at 10 Hz",
            NO_GAIN,
            runs,
            bandwidth_hz,
            "higher",
        ),
        Metric("gbw_hz", "Hz", "gain at 10 Hz (not in dB) times bandwidth_hz", NO_GAIN, runs, gbw_hz, "higher"),
        Metric(
            "ugf_hz",
            "Hz",
            "unity-gain frequency: first downward 0 dB crossing of the open-loop gain",
            NO_CROSSING,
            runs,
            ugf_hz,
            "higher",
        ),
        Metric(
            "phase_margin_deg",
            "deg",
            "180 plus the unwrapped phase at ugf_hz relative to the phase at 10 Hz rounded to half a turn",
            NO_CROSSING,
            runs,
            phase_margin_deg,
            "higher",
        ),
        Metric(
            "gain_margin_db",
            "dB",
            "minus the gain where that relative phase first passes -180 degrees",
            f"{NO_CROSSING}, or the phase never falls that far",
            runs,
            gain_margin_db,
            "higher",
        ),
        Metric(
            "unity_crossings",
            "1",
            "how often the gain crosses 0 dB; more than one makes the phase margin doubtful",
            NO_GAIN,
            runs,
            unity_crossings,
            "lower",
        ),
    )


def relative_phase(curve: ComplexWave) -> Wave:
    """Unwrapped phase in degrees, relative to the phase at the lowest frequency rounded to half a turn."""
    phase = unwrapped_degrees(curve)
    return np.asarray(phase - 180.0 * np.round(phase[0] / 180.0), dtype=np.float64)


def rejection_db(transfer: Transfer, run: str) -> Callable[[Reading], float | Undefined]:
    """Measures how many decibels the gain from what the run excites lies below the differential gain at 10 Hz."""

    def measure(reading: Reading) -> float | Undefined:
        gain = reading.number("gain_db")
        unwanted = float(decibels(transfer(reading, run)[1])[0])
        if not np.isfinite(unwanted):
            return Undefined("nothing of it reaches the output")
        return gain - unwanted

    return measure


def noise_metrics(loop: tuple[str, ...]) -> tuple[Metric, ...]:
    """Input-referred noise, from ``inoise_spectrum`` of the run ``noise``; `loop` are the runs of the gain."""

    def density(reading: Reading) -> float:
        noise = reading.run("noise")
        return value_at(np.log10(noise.scale), noise.real("inoise_spectrum"), 3.0)

    def rms(reading: Reading) -> float | Undefined:
        noise = reading.run("noise")
        inside = noise.scale <= reading.number("ugf_hz")
        if inside.sum() < 2:
            return Undefined("the unity-gain frequency lies below the noise band")
        return float(np.sqrt(np.trapezoid(noise.real("inoise_spectrum")[inside] ** 2, noise.scale[inside])))

    return (
        Metric(
            "input_noise_v_per_rthz",
            "V/sqrt(Hz)",
            "input-referred noise density at 1 kHz",
            "the noise analysis fails",
            ("op", "noise"),
            density,
            "lower",
        ),
        Metric(
            "input_noise_v",
            "V",
            "input-referred noise from 10 Hz to the unity-gain frequency (at most 100 MHz), rms",
            NO_CROSSING,
            (*loop, "noise"),
            rms,
            "lower",
        ),
    )
