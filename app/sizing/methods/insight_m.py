"""Model-based batch reinforcement learning in the offline model: a policy learns there, its best acts are simulated.

An episode has one step: the act is a sizing, its reward the figure of merit that the model gives it, doubted by what
the model does not know. The policy is a normal distribution, moved by natural gradients of the expected reward; what
ngspice says of each batch teaches the model, and the policy goes on from the best that was simulated.

Reference:
    [poddar2024insight] for sizing inside the simulator's model with few real simulations; the published abstract leaves
    policy and updates open. [wierstra2014natural] §3.2 and §4.2 for the policy's natural gradient in exponential
    coordinates, with ranks in place of rewards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from app.sizing._base import Floats, Forecast, OfflineModel, Proposer, Trial, figure_of_merit, sizing_methods
from app.sizing.problem import SizingProblem

#: Acts that are tried in the model for one update of the policy, and updates between two batches of simulations.
_ACTS, _UPDATES = 64, 10

#: Updates before the first batch, since the policy starts from hand rules alone; and how large that batch is: where the
#: model is right, one simulation is enough.
_FIRST_UPDATES, _FIRST_BATCH = 20, 1

#: The policy's deviations to begin with, in the unit cube, and the least and most that they are started at again.
_WIDTH, _LEAST_WIDTH, _MOST_WIDTH = 0.12, 0.02, 0.25

#: Standard deviations of the model's spread that an act is doubted by, and a margin beyond this is not sought.
_DOUBT, _ENOUGH = 0.5, 0.25

#: A batch's acts lie at least this far from each other and from all that was simulated, in root mean squares.
_APART = 0.02

#: Batches in a row that brought nothing after which the policy is started wider.
_STALE = 2


@dataclass
class _Policy:
    """A normal distribution over the unit cube: mean [V], root of the covariance [V, V]."""

    mean: Floats
    root: Floats

    @classmethod
    def around(cls, mean: Floats, width: float) -> _Policy:
        return cls(mean.copy(), np.eye(len(mean)) * width)

    def acts(self, rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
        """Normal numbers [n, V], in pairs of opposite signs, and the acts [n, V] that they stand for."""
        half = rng.standard_normal((count // 2, len(self.mean)))
        numbers = np.concatenate([half, -half])
        return numbers, np.clip(self.mean + numbers @ self.root.T, 0.0, 1.0)

    def update(self, numbers: Floats, rewards: Floats) -> None:
        """One natural-gradient step; [wierstra2014natural] Eq. (27)-(33), utilities of §3.1."""
        count, width = numbers.shape
        ranks = np.argsort(np.argsort(-rewards, kind="stable"), kind="stable")
        raw = np.maximum(0.0, math.log(count / 2 + 1) - np.log(ranks + 1.0))
        utility = raw / raw.sum() - 1.0 / count
        rate = 0.6 * (3 + math.log(width)) / (width * math.sqrt(width)) * 2
        to_mean = utility @ numbers
        to_root = (utility[:, None] * numbers).T @ numbers - utility.sum() * np.eye(width)
        self.mean = np.clip(self.mean + self.root @ to_mean, 0.0, 1.0)
        self.root = self.root @ _exponential(0.5 * min(rate, 1.0) * to_root)


def _exponential(matrix: Floats) -> Floats:
    """The exponential of a symmetric matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((vectors * np.exp(values)) @ vectors.T)


@dataclass
class _Run:
    """One run: policy, what was simulated, and what of the model's word is to be doubted."""

    problem: SizingProblem
    model: OfflineModel
    rng: np.random.Generator
    policy: _Policy
    updates: int = _FIRST_UPDATES
    width: float = _WIDTH
    stale: int = 0
    best: float = -math.inf
    seen: list[Floats] = field(default_factory=list)

    def ask(self) -> Floats:
        """The acts that the policy, having learnt in the model, thinks best."""
        acts, rewards = [self.policy.mean[None]], [self._rewards(self.policy.mean[None])]
        for _ in range(self.updates):
            if self.model.is_over:
                break
            numbers, points = self.policy.acts(self.rng, _ACTS)
            found = self._rewards(points)
            self.policy.update(numbers, found)
            acts.append(points)
            rewards.append(found)
        self.updates = _UPDATES
        return self._chosen(np.concatenate(acts), np.concatenate(rewards))

    def tell(self, trials: Sequence[Trial], guard: Floats) -> None:
        """The policy goes on from the best trial, wider where batches bring nothing.

        `guard` is nothing here: there is a model, and it forecasts every corner.
        """
        self.seen += [trial.point for trial in trials]
        if not trials:
            return
        leader = max(trials, key=lambda trial: trial.score)
        if leader.score > self.best:
            self.best, self.stale = leader.score, 0
            self.width = max(_LEAST_WIDTH, 0.7 * self.width)
            self.policy = _Policy.around(leader.point, self.width)
        else:
            self.stale += 1
            if self.stale % _STALE == 0:
                self.width = min(_MOST_WIDTH, 2.0 * self.width)
                self.policy = _Policy.around(self.policy.mean, self.width)

    def _rewards(self, points: Floats) -> Floats:
        """[n]: the doubted figure of merit, and a little for margins beyond the limits, so that it has a slope."""
        return rewards_of(self.model.forecast(points))

    def _chosen(self, acts: Floats, rewards: Floats) -> Floats:
        """The best acts, apart from each other and from all that was simulated."""
        chosen: list[Floats] = []
        for place in np.argsort(-rewards, kind="stable"):
            made = self.problem.point(self.problem.vector(acts[place]))
            others = [*self.seen, *chosen]
            if not others or np.sqrt(np.mean((np.array(others) - made) ** 2, axis=1)).min() > _APART:
                chosen.append(made)
            if len(chosen) == (self.problem.batch if self.seen else _FIRST_BATCH):
                break
        return np.array(chosen) if chosen else acts[np.argmax(rewards)][None]


def rewards_of(told: Forecast) -> Floats:
    """[n]: the figure of merit of doubted margins, and a little for what they keep up to `_ENOUGH`."""
    margins = told.margins - _DOUBT * told.spread
    merit = figure_of_merit(margins, told.gains)
    kept = np.minimum(margins, _ENOUGH).min(axis=1)
    return np.asarray(merit + 0.1 * np.minimum(kept, _ENOUGH))


class InsightM:
    """The method of that name."""

    summary = "model-based batch reinforcement learning inside the neural simulator"
    reference = "poddar2024insight"
    uses_model = True

    def begin(self, problem: SizingProblem, *, seed: int, budget: int, model: OfflineModel | None) -> Proposer:
        """A run; without a model there is nothing to learn in, and it falls back to `random`."""
        if model is None:
            return sizing_methods["random"].begin(problem, seed=seed, budget=budget, model=None)
        rng = np.random.default_rng([seed, 0x1A51])
        return _Run(problem, model, rng, _Policy.around(problem.start, _WIDTH))


sizing_methods.add("insight-m", InsightM())
