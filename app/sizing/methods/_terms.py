"""What methods share so that they compete at equal terms: which numbers they move, where they begin, what they seek."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.sizes.draws import draw
from app.sizing._base import Floats, Trial
from app.sizing.problem import SizingProblem

#: Batches that a method which only learns from simulations draws before it proposes anything.
DRAWN_BATCHES = 2

#: What a neper of violation counts beside the figure of merit, which does not tell one neper from more.
_SLANT = 0.01


@dataclass(frozen=True, eq=False)
class FreeVariables:
    """The variables of a problem that can vary, W of its V."""

    problem: SizingProblem

    @cached_property
    def _is_free(self) -> NDArray[np.bool_]:
        return np.array([variable.low < variable.high for variable in self.problem.space.variables], dtype=np.bool_)

    def __len__(self) -> int:
        return int(self._is_free.sum())

    def of(self, points: Floats) -> Floats:
        """[..., W] of points [..., V] of the unit cube."""
        return np.asarray(points[..., self._is_free])

    def whole(self, points: Floats) -> Floats:
        """[n, V] of points [n, W]; what cannot vary is as the problem starts."""
        found = np.tile(self.problem.start, (len(points), 1))
        found[:, self._is_free] = points
        return found


def first_points(problem: SizingProblem, seed: int, begin: int, count: int | None = None) -> Floats:
    """[n, V]: where every method begins, a batch where `count` is None: the start is number 0, then guided draws."""
    space = problem.space
    indices = range(begin, begin + (problem.batch if count is None else count))
    drawn = [problem.point(draw(space, space.start, "guided" if index else "start", seed, index)) for index in indices]
    return np.array(drawn, dtype=np.float64).reshape(len(indices), len(space.variables))


def merit(trial: Trial) -> float:
    """The figure of merit, with a slope where it has none."""
    return trial.score + _SLANT * float(np.minimum(0.0, trial.margins).sum())
