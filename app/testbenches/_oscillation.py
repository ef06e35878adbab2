"""Whether a curve is a steady oscillation, and its period, swing and start. Pure; knows no circuit.

Where nothing is known of the frequency beforehand, a transient is stopped after a number of points, not at a time. The
simulator's error control puts about as many points into a period whether that takes a nanosecond or a millisecond, so
such a record holds a similar number of periods of any circuit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from app.testbenches._base import Reading, Undefined, Wave, Waveforms
from app.testbenches._waveforms import crossings, mean_over

#: Whole periods that a record must hold.
_FEWEST_PERIODS = 4

#: How much the mean deviation of a third of the periods of a steady oscillation may differ from the third before.
STEADY_SWING = 0.02

#: Largest spread of the last third's periods around their mean.
_STEADY_PERIOD = 0.03

#: A period and a swing this close to the final ones belong to the oscillation that has started.
_STARTED = 0.1

#: The curve has to leave the level by this share of its swing on both sides before the next period counts.
_HYSTERESIS = 0.1


@dataclass(frozen=True)
class Oscillation:
    """A steady oscillation. `begin_s` to `end_s` are its last `periods` whole periods, one third of all in the record.

    `swing` is the mean of highest minus lowest value over these periods. `started_s`
    is where the first period begins from which on period and swing stay within 10 % of the final ones.
    """

    frequency_hz: float
    swing: float
    begin_s: float
    end_s: float
    periods: int
    started_s: float


def find_oscillation(
    time: Wave, curve: Wave, least_swing: float, steady_swing: float = STEADY_SWING
) -> Oscillation | Undefined:
    """The steady oscillation that the record ends with, or why it ends with none.

    A swing below `least_swing` in the record's last third of time is no oscillation. A steady one has a mean deviation
    in the last third of the periods within `steady_swing`, relatively, of the third before. One that is dying away is
    told apart (the circuit's doing) from one that has not become steady by the end of the record.
    """
    rises = _find_rises(time, curve, least_swing)
    if isinstance(rises, Undefined):
        return rises
    lowest, highest, deviations = _periods(time, curve, rises)
    periods, third = np.diff(rises), (rises.size - 1) // 3
    swing = float((highest - lowest)[-third:].mean())
    unsteady = _unsteadiness(*_thirds(deviations), swing, steady_swing)
    if unsteady is not None:
        return unsteady
    period, deviation = float(periods[-third:].mean()), float(deviations[-third:].mean())
    if np.abs(periods[-third:] - period).max() > _STEADY_PERIOD * period:
        return Undefined("the output swings without a steady period", "simulator")
    is_final = (np.abs(deviations - deviation) < _STARTED * deviation) & (np.abs(periods - period) < _STARTED * period)
    first = int(np.flatnonzero(~is_final)[-1]) + 1 if not is_final.all() else 0
    return Oscillation(
        frequency_hz=1 / period,
        swing=swing,
        begin_s=float(rises[-1 - third]),
        end_s=float(rises[-1]),
        periods=third,
        started_s=float(rises[first] - time[0]),
    )


def expected_period(time: Wave, curve: Wave, least_swing: float) -> float | Undefined:
    """The period that the record ends with, steady or not."""
    rises = _find_rises(time, curve, least_swing)
    return rises if isinstance(rises, Undefined) else float(np.diff(rises)[-((rises.size - 1) // 3) :].mean())


def expected_swing(time: Wave, curve: Wave, least_swing: float) -> float | Undefined:
    """The swing that the record is heading for, by a geometric row through its three thirds; a guess, never a metric.

    Between `least_swing` and twice the last third's.
    """
    rises = _find_rises(time, curve, least_swing)
    if isinstance(rises, Undefined):
        return rises
    lowest, highest, deviations = _periods(time, curve, rises)
    thirds = _thirds(deviations)
    swing = float((highest - lowest)[-((rises.size - 1) // 3) :].mean())
    return float(np.clip(swing * _limit(*thirds) / thirds[-1], least_swing, 2 * swing))


def high_share(time: Wave, curve: Wave, level: float, oscillation: Oscillation) -> float | None:
    """The share of the steady periods that the curve is above the level; None where it does not pass it."""
    edges = crossings(time, curve, level)
    begin, end = oscillation.begin_s, oscillation.end_s
    # A window that begins and ends in a passage of this very level: rounding decides on which side that lies.
    margin = 1e-6 / oscillation.frequency_hz
    edges = edges[(edges > begin + margin) & (edges < end - margin)]
    if not edges.size:
        return None
    stays = np.diff(np.concatenate(([begin], edges, [end])))
    middle = begin + stays[0] / 2
    first_high = 0 if np.interp(middle, time, curve) >= level else 1
    return float(stays[first_high::2].sum() / (end - begin))


def _find_rises(time: Wave, curve: Wave, least_swing: float) -> Wave | Undefined:
    """Where each period begins, and the last one ends."""
    late = curve[time >= time[0] + 2 / 3 * (time[-1] - time[0])]
    swing = float(np.ptp(late))
    if swing < least_swing:
        return Undefined(f"it does not oscillate: the output settles at {late[-1]:.3g} V")
    rises = _rises(time, curve, float(late.max() + late.min()) / 2, _HYSTERESIS * swing)
    if rises.size <= _FEWEST_PERIODS:
        return Undefined(
            f"the transient of {time[-1]:.3g} s holds {max(0, rises.size - 1)} whole periods, fewer than "
            f"{_FEWEST_PERIODS}",
            "simulator",
        )
    return rises


def _rises(time: Wave, curve: Wave, level: float, margin: float) -> Wave:
    """Upward passages of the level between an excursion below and the next one above it by the margin."""
    side = np.where(curve > level + margin, 1, np.where(curve < level - margin, -1, 0))
    known = np.flatnonzero(side)
    turns = known[1:][(side[known[1:]] > 0) & (side[known[:-1]] < 0)]
    passages = crossings(time, curve, level, +1)
    return passages[np.searchsorted(passages, time[turns], side="right") - 1]


def _periods(time: Wave, curve: Wave, rises: Wave) -> tuple[Wave, Wave, Wave]:
    """Of every period: lowest and highest value, each through a parabola over three samples, and mean deviation.

    The deviation is the time average of the distance from the curve's middle: unlike the extremes it hardly depends on
    which samples the simulator takes of a short overshoot.
    """
    edges = np.searchsorted(time, rises)
    pairs = list(pairwise(edges))
    highest = [_peak(time, curve, begin + int(np.argmax(curve[begin:end]))) for begin, end in pairs]
    lowest = [-_peak(time, -curve, begin + int(np.argmin(curve[begin:end]))) for begin, end in pairs]
    distance = np.abs(curve - float(np.interp(rises[-1], time, curve)))
    areas = np.concatenate(([0.0], np.cumsum(np.diff(time) * (distance[1:] + distance[:-1]) / 2)))
    deviations = np.diff(np.interp(rises, time, areas)) / np.diff(rises)
    return np.array(lowest), np.array(highest), deviations


def _peak(time: Wave, curve: Wave, index: int) -> float:
    if not 0 < index < curve.size - 1:
        return float(curve[index])
    left, right = time[index] - time[index - 1], time[index + 1] - time[index]
    down, up = (curve[index] - curve[index - 1]) / left, (curve[index + 1] - curve[index]) / right
    bend = (up - down) / (left + right)
    slope = (down * right + up * left) / (left + right)
    return float(curve[index] - slope**2 / (4 * bend)) if bend < 0 else float(curve[index])


def _thirds(values: Wave) -> tuple[float, float, float]:
    """The means of the first, the middle and the last third of the periods."""
    third = values.size // 3
    return float(values[:third].mean()), float(values[-2 * third : -third].mean()), float(values[-third:].mean())


def _limit(first: float, middle: float, last: float) -> float:
    """Where a geometric row ends; infinitely far off where the three are no such row."""
    change, before = last - middle, middle - first
    if change == 0:
        return last
    ratio = change / before if before else 1.0
    return last + change * ratio / (1 - ratio) if 0 < ratio < 1 else float(np.copysign(np.inf, change))


def _unsteadiness(first: float, middle: float, last: float, swing: float, tolerance: float) -> Undefined | None:
    """Why three mean deviations in a row are no steady one; `swing` is the last third's."""
    change = last - middle
    if abs(change) <= tolerance * last:
        return None
    before = swing * middle / last
    if first > middle > last and _limit(first, middle, last) < last / 2:
        return Undefined(f"the oscillation dies away: its swing falls from {before:.3g} V to {swing:.3g} V")
    verb = "grows" if change > 0 else "falls"
    return Undefined(
        f"the oscillation is not steady by the end of the transient: its swing still {verb}, from {before:.3g} V to "
        f"{swing:.3g} V",
        "simulator",
    )


def mean_supply_current(waves: Waveforms, steady: Oscillation) -> float:
    """The current drawn from VDD, in amperes, averaged over the steady periods."""
    return mean_over(waves.scale, -waves.real("i(v_vdd)"), steady.begin_s, steady.end_s)


def oscillating_power(reading: Reading) -> float:
    """Supply voltage times the metric ``oscillating_current_a``, in watts."""
    return reading.corner.supply_v * reading.number("oscillating_current_a")
