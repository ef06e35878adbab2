"""Covariance matrix adaptation of a population around the starting sizes. Learns from the order of scores alone.

Reference:
    [hansen2016cma] Table 1 and Figure 6. The first point is the first generation's mean, the starting sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from app.sizing._base import Floats, OfflineModel, Proposer, Trial
from app.sizing.methods._evolution import Evolution
from app.sizing.methods._terms import FreeVariables, merit
from app.sizing.problem import SizingProblem

#: The first generation's deviation, about that of guided draws.
_DEVIATION = 0.12


@dataclass
class _Run:
    """One run; `points` and `scores` are those of the generation that is not complete yet."""

    problem: SizingProblem
    rng: np.random.Generator
    search: Evolution = field(init=False)
    points: list[Floats] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best: tuple[float, Floats] | None = None

    def __post_init__(self) -> None:
        self.free = FreeVariables(self.problem)
        self._begin_at(self.problem.start)

    def ask(self) -> Floats:
        """Further points of the generation, no more than it lacks."""
        asked = self.search.ask(min(self.problem.batch, self.search.population - len(self.points)))
        if self.best is None:
            asked[0] = self.free.of(self.problem.start)
        return self.free.whole(asked)

    def tell(self, trials: Sequence[Trial], guard: Floats) -> None:
        """The next generation follows from a complete one; a search at its end begins again where it was best."""
        for trial in trials:
            self.points.append(self.free.of(trial.point))
            self.scores.append(merit(trial))
            if self.best is None or self.scores[-1] > self.best[0]:
                self.best = self.scores[-1], trial.point
        if len(self.points) == self.search.population:
            self.search.tell(np.array(self.points), np.array(self.scores))
            self.points, self.scores = [], []
            if self.search.has_ended and self.best is not None:
                self._begin_at(self.best[1])

    def _begin_at(self, point: Floats) -> None:
        mean = self.free.of(point)
        ends = np.zeros_like(mean), np.ones_like(mean)
        self.search = Evolution(mean, _DEVIATION, ends, seed=int(self.rng.integers(2**31)))


def begin(problem: SizingProblem, *, seed: int, model: OfflineModel | None) -> Proposer:
    """A run; `model` does not matter."""
    return _Run(problem, np.random.default_rng([seed, 0xC3A]))
