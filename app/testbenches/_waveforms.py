"""Figures of merit out of sampled curves: crossings, edges, settling, periods, tones. Pure; knows no circuit.

Curves are one-dimensional arrays over an ascending scale; values between samples are interpolated linearly (over the
logarithm of the frequency where the caller hands that in). What is not found is an empty array or None.
"""

from __future__ import annotations

import numpy as np

from app.testbenches._base import ComplexWave, Wave


def crossings(scale: Wave, curve: Wave, level: float, direction: int = 0) -> Wave:
    """Where the curve passes the level, ascending; only upwards for `direction` +1, only downwards for -1."""
    above = curve >= level
    rises = ~above[:-1] & above[1:]
    falls = above[:-1] & ~above[1:]
    steps = np.flatnonzero(rises if direction > 0 else falls if direction < 0 else rises | falls)
    first, second = curve[steps], curve[steps + 1]
    share = (level - first) / (second - first)
    return np.asarray(scale[steps] + share * (scale[steps + 1] - scale[steps]), dtype=np.float64)


def first_crossing(scale: Wave, curve: Wave, level: float, direction: int = 0) -> float | None:
    """The first of `crossings`."""
    found = crossings(scale, curve, level, direction)
    return float(found[0]) if found.size else None


def value_at(scale: Wave, curve: Wave, where: float) -> float:
    """The curve between its samples; its end value outside of them."""
    return float(np.interp(where, scale, curve))


def decibels(transfer: ComplexWave | Wave) -> Wave:
    """20 log10 of the magnitude; minus infinity where that is 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(20.0 * np.log10(np.abs(transfer)), dtype=np.float64)


def unwrapped_degrees(transfer: ComplexWave) -> Wave:
    """The phase without jumps, in degrees, shifted by whole turns so that it starts within -180..180."""
    phase = np.degrees(np.unwrap(np.angle(transfer)))
    return np.asarray(phase - 360.0 * np.round(phase[0] / 360.0), dtype=np.float64)


def crossing_frequency(frequency: Wave, magnitude_db: Wave, level_db: float = 0.0) -> float | None:
    """The first downward passage of the level, interpolated over the logarithm of the frequency, in hertz."""
    found = first_crossing(np.log10(frequency), magnitude_db, level_db, -1)
    return None if found is None else float(10.0**found)


def settling_time(time: Wave, curve: Wave, final: float, band: float) -> float | None:
    """The time of the last entry into `final` +- `band`; None where the curve ends outside of it."""
    outside = np.flatnonzero(np.abs(curve - final) > band)
    if outside.size == 0:
        return float(time[0])
    last = int(outside[-1])
    if last + 1 >= curve.size:
        return None
    edge = final + band if curve[last] > final else final - band
    share = (edge - curve[last]) / (curve[last + 1] - curve[last])
    return float(time[last] + share * (time[last + 1] - time[last]))


def edge_rate(time: Wave, curve: Wave, start: float, end: float) -> float | None:
    """Volts a second between 20 and 80 % of the way from `start` to `end`, positive; None if it stays away."""
    direction = 1 if end > start else -1
    low = first_crossing(time, curve, start + 0.2 * (end - start), direction)
    high = first_crossing(time, curve, start + 0.8 * (end - start), direction)
    if low is None or high is None or high <= low:
        return None
    return abs(0.6 * (end - start)) / (high - low)


def mean_over(time: Wave, curve: Wave, begin: float, end: float) -> float:
    """The time average between two instants (trapezoids; samples need not be even)."""
    inside = (time > begin) & (time < end)
    points = np.concatenate(([begin], time[inside], [end]))
    values = np.interp(points, time, curve)
    return float(np.trapezoid(values, points) / (end - begin))


def tone(time: Wave, curve: Wave, frequency_hz: float, begin: float, periods: int) -> complex:
    """The complex amplitude of one frequency over a whole number of periods from `begin`: peak volts and phase.

    Samples need not be even: the curve is resampled to 64 points a period or more first, enough for tones well below
    the resampling rate.
    """
    points = max(256, 64 * periods)
    instants = begin + np.arange(points) * (periods / frequency_hz / points)
    values = np.interp(instants, time, curve)
    return complex(2.0 / points * np.sum(values * np.exp(-2j * np.pi * frequency_hz * (instants - begin))))
