"""Bayesian optimisation of the figure of merit in a trust region: TuRBO-1. Knows limits only by their sum.

Reference:
    [eriksson2019turbo] §2 and its supplementary material. Departures: it begins at the starting sizes and guided draws,
    as every method, not at a design over the whole ranges; lengths' priors are those of `_gaussian`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from app.sizing._base import Floats, OfflineModel, Proposer, Trial
from app.sizing.methods._gaussian import GaussianProcesses
from app.sizing.methods._region import TrustRegion
from app.sizing.methods._terms import DRAWN_BATCHES, FreeVariables, first_points, merit
from app.sizing.problem import SizingProblem

#: Side of the region to begin with.
_LENGTH = 0.8

#: Candidates for each variable, and at most.
_CANDIDATES, _MOST_CANDIDATES = 100, 1024

#: What is better has to be better by this part.
_PART = 1e-3


@dataclass
class _Run:
    """One run; `points` and `scores` are those of the present region, `drawn` counts guided draws of all regions."""

    problem: SizingProblem
    seed: int
    rng: np.random.Generator
    points: list[Floats] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    drawn: int = 0
    process: GaussianProcesses | None = None

    def __post_init__(self) -> None:
        self.free = FreeVariables(self.problem)
        self.region = self._new_region()

    def ask(self) -> Floats:
        """First draws, then for each point of a batch the best candidate of a function drawn from the process."""
        if not len(self.free):
            return self.problem.start[None]
        if len(self.points) < DRAWN_BATCHES * self.problem.batch:
            return first_points(self.problem, self.seed, self.drawn)
        points, scores = self.free.of(np.array(self.points)), np.array(self.scores)
        unit = (scores - scores.mean()) / max(scores.std(), 1e-6)
        self.process = GaussianProcesses(points, unit[:, None], self.process)
        lengths = self.process.lengths[0]
        weights = lengths / np.exp(np.log(lengths).mean())
        count = min(_CANDIDATES * len(self.free), _MOST_CANDIDATES)
        candidates = self.region.candidates(points[scores.argmax()], count, self.rng, weights)
        mean, deviation = self.process.told(candidates)
        functions = (mean + deviation * self.process.drawn(candidates, self.problem.batch, self.rng))[..., 0]
        chosen: list[int] = []
        for values in functions:
            values[chosen] = -np.inf
            chosen.append(int(values.argmax()))
        return self.free.whole(candidates[chosen])

    def tell(self, trials: Sequence[Trial], guard: Floats) -> None:
        """The region follows what the trials brought; one that is spent is forgotten with all its points."""
        found = [merit(trial) for trial in trials]
        if len(self.points) < DRAWN_BATCHES * self.problem.batch:
            self.drawn += len(trials)
        elif found:
            best = max(self.scores)
            self.region.judge(max(found) > best + _PART * abs(best))
        self.points += [trial.point for trial in trials]
        self.scores += found
        if self.region.is_spent:
            self.points, self.scores, self.process, self.region = [], [], None, self._new_region()

    def _new_region(self) -> TrustRegion:
        batch = self.problem.batch
        return TrustRegion(_LENGTH, math.ceil(max(4 / batch, len(self.free) / batch)))


def begin(problem: SizingProblem, *, seed: int, model: OfflineModel | None) -> Proposer:
    """A run; `model` does not matter."""
    return _Run(problem, seed, np.random.default_rng([seed, 0x7B0]))
