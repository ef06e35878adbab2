"""What a stage's frequency response and noise say: gain, cutoffs, noise in a band. Pure; knows no circuit.

The gain of a response is taken at its lowest frequency, unless that is 20 dB or more below the peak (as it is behind a
coupling capacitor): then it is the peak's. Cutoffs are 3.01 dB below it on either side.
"""

from __future__ import annotations

import numpy as np

from app.testbenches._base import ComplexWave, Wave
from app.testbenches._waveforms import crossings, decibels

#: Half the power, in decibels.
HALF_POWER_DB = float(10 * np.log10(2))


def reference_index(transfer: ComplexWave) -> int:
    """The sample that the gain is read at."""
    magnitude = np.abs(transfer)
    peak = int(np.argmax(magnitude))
    return peak if magnitude[0] < magnitude[peak] / 10 else 0


def upper_cutoff(frequency: Wave, transfer: ComplexWave) -> float | None:
    """Where the response first falls 3.01 dB below its gain, in hertz; None where it does not."""
    return _cutoff(frequency, transfer, -1)


def lower_cutoff(frequency: Wave, transfer: ComplexWave) -> float | None:
    """Below this frequency the response is 3.01 dB below its gain; None where it is not, down to the lowest."""
    return _cutoff(frequency, transfer, +1)


def unity_frequency(frequency: Wave, transfer: ComplexWave) -> float | None:
    """The first downward 0 dB crossing above the frequency that the gain is read at; None where there is none."""
    start = reference_index(transfer)
    found = crossings(np.log10(frequency), decibels(transfer), 0.0, -1)
    found = found[found >= np.log10(frequency[start])]
    return float(10 ** found[0]) if found.size else None


def peaking_db(transfer: ComplexWave) -> float:
    """The largest magnitude relative to the gain."""
    magnitude = np.abs(transfer)
    return float(20 * np.log10(magnitude.max() / magnitude[reference_index(transfer)]))


def rms_over(frequency: Wave, density: Wave, low_hz: float, high_hz: float) -> float:
    """The root mean square of noise of this density (per root hertz) between two frequencies inside the scale.

    The density is a power of the frequency between samples, so a few samples a decade are enough.
    """
    inside = (frequency > low_hz) & (frequency < high_hz)
    points = np.concatenate(([low_hz], frequency[inside], [high_hz]))
    floor = np.finfo(np.float64).tiny
    log_density = np.interp(np.log(points), np.log(frequency), np.log(np.maximum(density, floor)))
    power = np.exp(2 * log_density)
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.diff(np.log(power)) / np.diff(np.log(points))
        areas = np.diff(power * points) / (exponent + 1)
    logarithmic = np.abs(exponent + 1) < 1e-6
    areas[logarithmic] = (power[:-1] * points[:-1] * np.diff(np.log(points)))[logarithmic]
    return float(np.sqrt(np.sum(areas)))


def harmonic_distortion_db(period: Wave) -> float:
    """Harmonics 2 to 5 of even samples of one period, relative to the first; minus infinity for a pure sine."""
    lines = np.abs(np.fft.rfft(period))
    return float(decibels(np.array([np.sqrt(np.sum(lines[2:6] ** 2)) / lines[1]]))[0])


def _cutoff(frequency: Wave, transfer: ComplexWave, direction: int) -> float | None:
    start, magnitude = reference_index(transfer), decibels(transfer)
    found = crossings(np.log10(frequency), magnitude, float(magnitude[start]) - HALF_POWER_DB, direction)
    wanted = found[found >= np.log10(frequency[start])] if direction < 0 else found[found <= np.log10(frequency[start])]
    if not wanted.size:
        return None
    return float(10 ** (wanted[0] if direction < 0 else wanted[-1]))
