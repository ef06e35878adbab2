"""Reproducible random sizings: a draw is a function of space, start, method, seed and index, and of nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np

from app.sizes.space import SizeSpace, SizeVariable

DrawMethod = Literal["guided", "log_uniform", "start"]

#: Widths and lengths are multiples of this.
GRID_M = 5e-9

#: One standard deviation of a guided draw: a factor for widths and currents, for lengths, for any other positive size,
#: for multipliers and areas (so that ratios stay near what was chosen), and a part of the range for voltages.
_WIDTH_FACTOR, _LENGTH_FACTOR, _PASSIVE_FACTOR, _COUNT_FACTOR, _VOLTAGE_PART = 2.0, 1.5, 2.0, 1.6, 0.03

_NORMAL = NormalDist()
_GRIDS_PER_M = round(1 / GRID_M)


def draw(space: SizeSpace, start: Sequence[float], method: DrawMethod, seed: int, index: int) -> tuple[float, ...]:
    """The sizing number `index` of a seed, snapped and within the ranges; both numbers are 0..2**63-1.

    `start` is the starting point itself, as it is. `guided` is normal around it, in the logarithm where the variable's
    is taken; one standard deviation is a factor of two in widths, currents and passives, 1.5 in lengths, 1.6 in
    multipliers, and 3 % of the range of a voltage. `log_uniform` is uniform over the whole range, likewise.
    """
    if method == "start":
        return tuple(start)
    raw = np.random.Philox(key=np.array([seed, index], dtype=np.uint64)).random_raw(len(space.variables))
    shares = ((np.atleast_1d(raw) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    chosen = [
        _within(variable, float(share)) if method == "log_uniform" else _around(variable, value, float(share))
        for variable, value, share in zip(space.variables, start, shares, strict=True)
    ]
    return snapped(space, chosen)


def _within(variable: SizeVariable, share: float) -> float:
    if not variable.is_log:
        return variable.low + share * (variable.high - variable.low)
    return variable.low * math.pow(variable.high / variable.low, share)


def _around(variable: SizeVariable, start: float, share: float) -> float:
    deviation = _NORMAL.inv_cdf(min(share, 1 - 2.0**-53))
    if not variable.is_log:
        return start + deviation * _VOLTAGE_PART * (variable.high - variable.low)
    return start * math.pow(_factor(variable), deviation)


def _factor(variable: SizeVariable) -> float:
    if variable.is_integer or not variable.unit:
        return _COUNT_FACTOR
    if variable.unit == "m":
        return _WIDTH_FACTOR if variable.places[0][1] == "width_m" else _LENGTH_FACTOR
    return _PASSIVE_FACTOR


def snapped(space: SizeSpace, vector: Sequence[float]) -> tuple[float, ...]:
    """The nearest sizing that can be drawn: counts whole, widths and lengths on the grid, voltages in whole millivolts,
    anything else with four digits; all within the ranges.
    """  # fmt: skip
    return tuple(_snapped(variable, value) for variable, value in zip(space.variables, vector, strict=True))


def _snapped(variable: SizeVariable, value: float) -> float:
    if variable.is_integer:
        value = float(round(value))
    elif variable.unit == "m":
        value = round(value * _GRIDS_PER_M) / _GRIDS_PER_M
    elif variable.unit == "V":
        value = round(value, 3)
    else:
        value = float(f"{value:.4g}")
    return min(max(value, variable.low), variable.high)
