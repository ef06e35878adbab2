"""Random sizings: the starting point, then draws around it, every fourth over the whole ranges. The baseline below all.

Reference:
    [bergstra2012random] for random search as the baseline of every other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.sizes.draws import DrawMethod, draw
from app.sizing._base import Floats, OfflineModel, Proposer, Trial, sizing_methods
from app.sizing.problem import SizingProblem

_WIDE_EVERY = 4


@dataclass
class _Run:
    problem: SizingProblem
    seed: int
    drawn: int = 0

    def ask(self) -> Floats:
        """The next draws."""
        points = [self._point(self.drawn + number) for number in range(self.problem.batch)]
        self.drawn += len(points)
        return np.array(points)

    def tell(self, trials: Sequence[Trial], guard: Floats) -> None:
        """Nothing is learnt."""

    def _point(self, index: int) -> Floats:
        if index == 0:
            return self.problem.start
        method: DrawMethod = "log_uniform" if index % _WIDE_EVERY == 0 else "guided"
        space = self.problem.space
        return self.problem.point(draw(space, space.start, method, self.seed, index))


class RandomSearch:
    """The method ``random``."""

    summary = "draws around the gm/Id start, every fourth over the whole ranges"
    reference = "bergstra2012random"
    uses_model = False

    def begin(self, problem: SizingProblem, *, seed: int, budget: int, model: OfflineModel | None) -> Proposer:
        """A run; `budget` and `model` do not matter."""
        return _Run(problem, seed)


sizing_methods.add("random", RandomSearch())
