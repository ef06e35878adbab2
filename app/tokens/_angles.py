"""Angles as tokens: exact on the common grid of pi, else two levels of 256 bins over four pi (error below 1e-4 rad)."""

from __future__ import annotations

import math
from fractions import Fraction

LEVELS = 256
_SPAN = 4 * math.pi
_EXACT = 1e-9


def _grid() -> tuple[Fraction, ...]:
    """Multiples of pi in (-2, 2] that have a token of their own: k/16, k/6, and plus or minus 1/2^m down to 2^-20."""
    values = {Fraction(k, d) for d in (6, 16) for k in range(-2 * d + 1, 2 * d + 1)}
    values |= {Fraction(sign, 2**m) for m in range(5, 21) for sign in (1, -1)}
    return tuple(sorted(values))


GRID = _grid()
_LEAST = min(value for value in GRID if value > 0)
_NUMBER = {value: number for number, value in enumerate(GRID)}


def reduce(angle: float, period_pi: int) -> float:
    """The angle in (-period/2, period/2] radians that means the same; `period_pi` is 2 or 4."""
    period = period_pi * math.pi
    reduced = math.remainder(angle, period)
    return reduced + period if reduced <= -period / 2 else reduced


def grid_number(angle: float) -> int | None:
    """Index into GRID of a reduced angle, or None off the grid. Below the least it is the nearer of that and 0."""
    turns = angle / math.pi
    if abs(turns) < _LEAST:
        return _NUMBER[round(turns / _LEAST) * _LEAST]
    near = Fraction(turns).limit_denominator(16)
    if near not in _NUMBER or abs(float(near) - turns) > _EXACT:
        near = Fraction(turns).limit_denominator(2**20)
        if near not in _NUMBER or abs(float(near) - turns) > _EXACT:
            return None
    return _NUMBER[near]


def grid_angle(number: int) -> float:
    """Radians of a grid index."""
    value = GRID[number]
    return value.numerator * math.pi / value.denominator


def to_levels(angle: float) -> tuple[int, int]:
    """Coarse and fine bin of a reduced angle."""
    position = min(int((angle + _SPAN / 2) / _SPAN * LEVELS * LEVELS), LEVELS * LEVELS - 1)
    return divmod(position, LEVELS)


def from_levels(coarse: int, fine: int) -> float:
    """Radians at the middle of a fine bin."""
    return (coarse * LEVELS + fine + 0.5) / (LEVELS * LEVELS) * _SPAN - _SPAN / 2
