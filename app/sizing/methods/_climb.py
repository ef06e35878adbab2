"""Finds where a wish is likeliest fulfilled, among points that are cheap to look at but not free.

Quantities of a circuit are nearly linear in the logarithms of its sizes, so that lines through the points that were
looked at tell where to look next: a few hundred looks are enough for some tens of variables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_ndtr

from app.sizing._base import Floats

#: How far of the way to where the lines lead it is looked, the lines being what they are.
_PARTS = (0.3, 0.6, 1.0, 1.6, 2.5)

#: Lines are followed so many deviations of a round's points in each variable at most, and laid through points that are
#: about so many away.
_REACH, _NEAR = 3.0, 1.5

#: Weight of a line's slope against points, so that few points make flat lines.
_RIDGE = 1e-3

#: What a round that brought something makes of the deviation, and one that did not.
_WIDER, _DENSER = 1.2, 0.8

#: A better merit is better by this part at least.
_PART = 0.01

#: Deviations between which a climb goes on; below, another one begins at a point drawn so far around the centre.
_LEAST, _MOST, _ELSEWHERE = 0.01, 0.2, 0.12

#: Enough: the logarithm of the chance that all is fulfilled.
_ENOUGH = -0.02


@dataclass(frozen=True, eq=False)
class Wish:
    """Quantities [Q] that are to reach values, and what more is worth: nats for each unit beyond, of each quantity."""

    needs: Floats  # [Q], -inf where nothing is needed
    worth: Floats  # [Q]
    blur: float  # a deviation that chances are judged with beside what is not known

    def merit(self, mean: Floats, deviation: Floats) -> Floats:
        """[n]: the logarithm of the chance that everything is reached, the quantities being independent, and worth."""
        return np.asarray(log_ndtr(self._standard(mean, deviation)).sum(axis=1) + mean @ self.worth)

    def chance(self, mean: Floats, deviation: Floats) -> Floats:
        """[n]: the chance that everything is reached, as far as is known."""
        return np.asarray(np.exp(log_ndtr((mean - self.needs) / deviation).sum(axis=1)))

    def slope(self, mean: Floats, deviation: Floats) -> Floats:
        """[n, Q]: of the merit, along the means."""
        standard = self._standard(mean, deviation)
        density = np.exp(-0.5 * standard**2 - log_ndtr(standard)) / np.sqrt(2 * np.pi)
        return np.asarray(density / np.hypot(deviation, self.blur) + self.worth)

    def _standard(self, mean: Floats, deviation: Floats) -> Floats:
        return np.asarray((mean - self.needs) / np.hypot(deviation, self.blur))


@dataclass(frozen=True, eq=False)
class Looked:
    """n points [n, W] that were looked at, with mean and deviation [n, Q] of the quantities there."""

    points: Floats
    mean: Floats
    deviation: Floats

    def take(self, places: NDArray[np.intp]) -> Looked:
        """Some of them."""
        return Looked(self.points[places], self.mean[places], self.deviation[places])

    def then(self, more: Looked) -> Looked:
        """These and then more."""
        pairs = zip(vars(self).values(), vars(more).values(), strict=True)
        return Looked(*(np.concatenate(pair) for pair in pairs))


def climb(
    look: Callable[[Floats], Looked],
    wish: Wish,
    centre: Floats,
    ends: tuple[Floats, Floats],
    rng: np.random.Generator,
    *,
    deviation: float,
    count: int,
    rounds: int,
    is_over: Callable[[], bool] = lambda: False,
) -> Looked:
    """Everything that was looked at, `count` points and a few more a round, on the way to the greatest merit.

    Where a climb comes to a stop, another one begins.

    Args:
        look: May move points a little, to such as can be made.
        centre: [W], where it begins.
        ends: Least and greatest corner [W] of what is allowed.
        deviation: Of the first round's points around the centre.
        is_over: Is asked between rounds.
    """
    looked = look(np.vstack([centre, _around(centre, ends, deviation, count, rng)]))
    merits = wish.merit(looked.mean, looked.deviation)
    begin, width = 0, deviation
    for _ in range(rounds - 1):
        best = begin + int(merits[begin:].argmax())
        if is_over() or (merits[best] > _ENOUGH and not wish.worth.any()):
            break
        here = looked.points[best]
        if width < _LEAST:
            begin, width = len(merits), deviation
            (here,) = _around(centre, ends, _ELSEWHERE, 1, rng)
            asked = np.vstack([here, _around(here, ends, width, count, rng)])
        else:
            leaps = here + np.outer(_PARTS, _led(looked, wish, best, ends, width) - here)
            asked = np.vstack([np.clip(leaps, *ends), _around(here, ends, width, count, rng)])
        found = look(asked)
        gained = wish.merit(found.mean, found.deviation)
        if begin < len(merits):
            is_better = gained.max() > merits[best] + _PART * abs(merits[best])
            width = min(_MOST, width * _WIDER) if is_better else width * _DENSER
        merits = np.concatenate([merits, gained])
        looked = looked.then(found)
    return looked


def _around(
    centre: Floats, ends: tuple[Floats, Floats], deviation: float, count: int, rng: np.random.Generator
) -> Floats:
    return np.clip(centre + deviation * rng.standard_normal((count, len(centre))), *ends)


def _led(looked: Looked, wish: Wish, best: int, ends: tuple[Floats, Floats], deviation: float) -> Floats:
    """[W]: where the merit would be greatest if quantities went on as lines through the points near the best one."""
    here, mean = looked.points[best], looked.mean[best]
    away = looked.points - here
    near = np.exp(-0.5 * (away**2).mean(axis=1) / (_NEAR * deviation) ** 2)[:, None]
    size = float((near * away**2).sum()) / len(here)  # of all points along a variable
    squares = away.T @ (near * away) + max(_RIDGE * size, 1e-12) * np.eye(len(here))
    slopes = np.linalg.solve(squares, away.T @ (near * (looked.mean - mean)))  # [W, Q]
    spread = looked.deviation[best]

    def loss(step: Floats) -> tuple[float, Floats]:
        there = (mean + step @ slopes)[None]
        return -float(wish.merit(there, spread[None])[0]), -(slopes @ wish.slope(there, spread[None])[0])

    reach = _REACH * deviation
    low, high = np.clip(ends[0] - here, -reach, 0.0), np.clip(ends[1] - here, 0.0, reach)  # a look may have left them
    found = minimize(loss, np.zeros_like(here), jac=True, method="L-BFGS-B", bounds=list(zip(low, high, strict=True)))
    return np.asarray(here + found.x, dtype=np.float64)
