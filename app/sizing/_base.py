"""What a sizing method is: it proposes points of the unit cube, and is told what became of them. Simulates nothing.

All methods are given the same: the problem, a seed, and how many simulations there are. One that `uses_model` is also
given an offline model of the circuit, where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.registry import Registry
from app.sizing.problem import SizingProblem

Floats = NDArray[np.float64]

#: What a violation beyond one neper counts.
_BEYOND = 0.1


@dataclass(frozen=True, eq=False)
class Trial:
    """One sizing that was simulated. L limits of the problem.

    `margins` are the least over the corners that were simulated; where that is the search corner alone, less what the
    others were seen to take away. `corners` says how many were simulated.
    """

    point: Floats  # [V], in the unit cube
    vector: tuple[float, ...]  # [V], SI units
    margins: Floats  # [L], in nepers and their like; at least 0 where met
    gain: float  # of the objective against a fixed reference, in the same units; 0 where there is none
    metrics: Mapping[str, float | None]  # at the search corner
    corners: int

    @property
    def is_met(self) -> bool:
        """Every limit is met, as far as is known."""
        return bool((self.margins >= 0).all())

    @property
    def score(self) -> float:
        """See `figure_of_merit`."""
        return float(figure_of_merit(self.margins[None], np.array([self.gain]))[0])


def figure_of_merit(margins: Floats, gains: Floats) -> Floats:
    """[n]: minus the sum of the violations, each counted little beyond 1; the objective's gain where there is none.

    Args:
        margins: [n, L].
        gains: [n], those of the objective.

    Reference:
        [poddar2024insight] §2.3 as third parties quote it: FoM less the sum of min(1, max(0, f)) over constraints. Here
        what lies beyond 1 counts a tenth, so that far from every limit there still is a way towards it, and the
        objective counts only once every limit is met, so that no violation is bought with it.
    """
    violations = np.maximum(0.0, -margins)
    counted = np.minimum(1.0, violations) + _BEYOND * np.maximum(0.0, violations - 1.0)
    total = counted.sum(axis=1)
    return np.where(total > 0, -total, np.maximum(gains, 0.0))


@dataclass(frozen=True, eq=False)
class Forecast:
    """What an offline model says of n points, at the worst corner of each limit. `spread` is a standard deviation."""

    margins: Floats  # [n, L]
    spread: Floats  # [n, L]
    gains: Floats  # [n]
    gain_spread: Floats  # [n]


class OfflineModel(Protocol):
    """A model of the circuit that is cheap to ask and learns from every simulation of it."""

    @property
    def evaluations(self) -> int:
        """Points that were asked for so far: offline simulations."""

    @property
    def is_over(self) -> bool:
        """The budget's time has ended, or the caller: a method that still searches here proposes the best it has."""

    def forecast(self, points: Floats) -> Forecast:
        """What becomes of points [n, V] of the unit cube; limits that the model cannot tell have a spread of 1."""
        ...


class Proposer(Protocol):
    """One run of a method."""

    def ask(self) -> Floats:
        """Points [n, V] of the unit cube to be simulated next, 1 to `problem.batch` of them."""
        ...

    def tell(self, trials: Sequence[Trial], guard: Floats) -> None:
        """What became of the points that were asked, in that order; fewer where the budget ended.

        `guard` [L] is what other corners are known to take away that a forecast does not know of: the margins of a
        forecast mean as much as `Trial.margins` when it is taken away from them.
        """
        ...


class SizingMethod(Protocol):
    """An entry of `sizing_methods`."""

    @property
    def summary(self) -> str:
        """What it does, in a line."""

    @property
    def reference(self) -> str:
        """Key of docs/references.bib."""

    @property
    def uses_model(self) -> bool:
        """Whether an offline model is made for it."""

    def begin(self, problem: SizingProblem, *, seed: int, budget: int, model: OfflineModel | None) -> Proposer:
        """A run of at most `budget` simulations; equal arguments make equal runs."""
        ...


#: Every method by name: one module of `app.sizing.methods` each.
sizing_methods: Registry[SizingMethod] = Registry("sizing method", "app.sizing.methods")
