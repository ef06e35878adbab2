"""Tree-structured Parzen estimators of what good and bad sizings look like, as Optuna has them.

Reference:
    [bergstra2011algorithms] §4. Departures are Optuna's: kernels over all variables together, and points that are still
    simulated count as bad ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna

from app.sizing._base import Floats, OfflineModel, Proposer, Trial
from app.sizing.methods._terms import DRAWN_BATCHES, FreeVariables, first_points, merit
from app.sizing.problem import SizingProblem


@dataclass
class _Run:
    """One run; `waiting` are Optuna's own trials of the points that were asked."""

    problem: SizingProblem
    seed: int
    study: optuna.Study
    told: int = 0
    waiting: list[optuna.Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = FreeVariables(self.problem)
        self.ranges: dict[str, optuna.distributions.BaseDistribution] = {
            f"{place}": optuna.distributions.FloatDistribution(0.0, 1.0) for place in range(len(self.free))
        }

    def ask(self) -> Floats:
        """The first draws, then what the estimators propose."""
        if self.told < DRAWN_BATCHES * self.problem.batch:
            return first_points(self.problem, self.seed, self.told)
        self.waiting = [self.study.ask(self.ranges) for _ in range(self.problem.batch)]
        return self.free.whole(np.array([list(each.params.values()) for each in self.waiting], dtype=np.float64))

    def tell(self, trials: Sequence[Trial], guard: Floats) -> None:
        """The estimators know the trials, at the points that were asked; the first draws' at those that were made."""
        self.told += len(trials)
        if not self.waiting:
            for trial in trials:
                point = {name: float(x) for name, x in zip(self.ranges, self.free.of(trial.point), strict=True)}
                self.study.add_trial(optuna.create_trial(params=point, distributions=self.ranges, value=merit(trial)))
        for asked, trial in zip(self.waiting, trials, strict=False):  # the budget may have ended before the last
            self.study.tell(asked, merit(trial))


def begin(problem: SizingProblem, *, seed: int, model: OfflineModel | None) -> Proposer:
    """A run; `model` does not matter."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # a line a study otherwise
    sampler = optuna.samplers.TPESampler(n_startup_trials=0, multivariate=True, constant_liar=True, seed=seed)
    return _Run(problem, seed, optuna.create_study(direction="maximize", sampler=sampler))
