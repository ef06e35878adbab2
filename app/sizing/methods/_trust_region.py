"""Bayesian optimisation under constraints in a trust region, of what ngspice and the offline model disagree about.

A Gaussian process for each limit's margin learns the residual to the offline model's forecast, in units of the
forecast's spread: where the model is sure, it takes much to contradict it. Without a model the forecast is a constant.

Reference:
    [eriksson2021scalable] §3: Thompson sampling under constraints in a trust region. Departures: the residuals above;
    the first point of a batch is the likeliest to meet everything, drawn functions choose the others; and candidates
    are found by a search for such points as well as by scattering, since few scattered points meet many limits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from app.sizing._base import Floats, OfflineModel, Proposer, Trial, figure_of_merit
from app.sizing.methods._climb import Looked, Wish, climb
from app.sizing.methods._gaussian import GaussianProcesses
from app.sizing.methods._region import TrustRegion
from app.sizing.methods._terms import DRAWN_BATCHES, FreeVariables, first_points
from app.sizing.problem import UNDEFINED_MARGIN, SizingProblem

#: Side of the region to begin with, without and with a model, and batches without success after which it shrinks.
_LENGTH, _MODEL_LENGTH, _PATIENCE = 0.4, 0.8, 3

#: The search for promising points: points of a round (for each variable, and at least), rounds, and rounds of the first
#: search in the model.
_COUNT, _LEAST_COUNT, _ROUNDS, _FIRST_ROUNDS = 0.5, 16, 20, 40

#: Its first points' deviation at most, and as a part of the region's side.
_MOST_STEP, _STEP = 0.08, 0.15

#: How many of the points that were looked at, the best ones, drawn functions choose from.
_CANDIDATES = 384

#: As many batches are drawn at most to find a point that has every metric.
_DARK_BATCHES = 6

#: Points that are fitted at most, those nearest to the region's centre.
_MOST_POINTS = 192

#: Least and greatest spread of a forecast; a residual farther off than so many spreads counts as that far.
_LEAST_SPREAD, _MOST_SPREAD, _MOST_RESIDUAL = 0.03, 0.5, 4.0

#: A spread is believed as if so many residuals had borne it out.
_BELIEVED = 4

#: How far beyond a limit points are sought, in nepers, and a deviation that chances are judged with beside what is not
#: known: limits that are far from met have a slope, and those that are just met are better than missed ones.
_BEYOND, _BLUR = 0.02, 0.1

#: Nats that a neper of the objective is worth once everything is met.
_WORTH = 4.0

#: No more points are asked for when the chance that none of them meets everything is less.
_DOUBT = 0.1

#: Points of a batch lie so far from each other and from all that was simulated, in root mean squares: those of the
#: first batch in the model, and later ones.
_FIRST_APART, _APART = 0.05, 0.005


def _bent(margins: Floats) -> Floats:
    """Margins with large ones made small. Reference: [eriksson2021scalable] §3, the bilog transform."""
    return np.asarray(np.sign(margins) * np.log1p(np.abs(margins)))


@dataclass(frozen=True, eq=False)
class _Surrogate:
    """Forecasts corrected by what is known of their residuals; `scale` [Q] is what spreads are to be multiplied by."""

    forecast: Callable[[Floats], Looked]
    processes: GaussianProcesses | None
    scale: Floats

    def look(self, points: Floats) -> Looked:
        """What is thought of points [n, W]."""
        forecast = self.forecast(points)
        if self.processes is None:
            return forecast
        mean, deviation = self.processes.told(forecast.points)
        unit = forecast.deviation * self.scale
        return Looked(forecast.points, forecast.mean + unit * mean, unit * deviation)

    def drawn(self, looked: Looked, count: int, rng: np.random.Generator) -> Floats:
        """[count, n, Q]: functions that agree with what is known; where that is nothing, off by as much everywhere."""
        if self.processes is None:
            numbers = rng.standard_normal((count, 1, looked.mean.shape[1]))
        else:
            numbers = self.processes.drawn(looked.points, count, rng)
        return np.asarray(looked.mean + looked.deviation * numbers)


@dataclass
class _Run:
    """One run. `since` is the first trial of the present region."""

    problem: SizingProblem
    seed: int
    model: OfflineModel | None
    rng: np.random.Generator
    guard: Floats
    trials: list[Trial] = field(default_factory=list)
    since: int = 0
    drawn: int = 0
    processes: GaussianProcesses | None = None

    def __post_init__(self) -> None:
        self.free = FreeVariables(self.problem)
        self.region = self._new_region()

    def ask(self) -> Floats:
        """Draws as long as nothing can be known; then what is likeliest, and what drawn functions choose."""
        if not len(self.free):
            return self.problem.start[None]
        return self._draws() if self._is_in_the_dark else self._chosen(self._surrogate())

    @property
    def _is_in_the_dark(self) -> bool:
        """Nothing is known of this region: too little was simulated, or nothing that has every metric."""
        told = self.trials[self.since :]
        batches = len(told) / self.problem.batch
        if self.model is None and batches < DRAWN_BATCHES:
            return True
        has_value = any(self._here(trial).min() > UNDEFINED_MARGIN for trial in told)
        return bool(told) and not has_value and batches < _DARK_BATCHES

    def _draws(self) -> Floats:
        self.drawn += self.problem.batch
        return first_points(self.problem, self.seed, self.drawn - self.problem.batch)

    def tell(self, trials: Sequence[Trial], guard: Floats) -> None:
        """The region follows what the trials brought; one that is spent is left for another."""
        self.guard = guard
        before = self._scores()[self.since :]
        self.trials += trials
        after = self._scores()[len(self.trials) - len(trials) :]
        if len(before) and len(after):
            best = before.max()
            self.region.judge(bool(after.max() > best + 1e-3 * abs(best)))
        if self.region.is_spent:
            self.region, self.since = self._new_region(), len(self.trials)

    def _new_region(self) -> TrustRegion:
        return TrustRegion(_LENGTH if self.model is None else _MODEL_LENGTH, _PATIENCE)

    # What was simulated

    def _scores(self) -> Floats:
        """[n]: of the trials, less what corners are known to take away now."""
        if not self.trials:
            return np.zeros(0)
        margins = [
            trial.margins if self.model is not None or trial.corners > 1 else self._here(trial) - self.guard
            for trial in self.trials
        ]
        return figure_of_merit(np.array(margins), np.array([trial.gain for trial in self.trials]))

    def _here(self, trial: Trial) -> Floats:
        """[L]: its margins at the search corner alone."""
        return self.problem.margins(trial.metrics)

    @property
    def _has_objective(self) -> bool:
        return self.problem.specification.objective is not None

    def _values(self, trials: Sequence[Trial]) -> Floats:
        """[n, Q]: what ngspice says of trials: at all corners that were simulated, as a model forecasts them, or at the
        search corner alone.
        """  # fmt: skip
        is_whole = self.model is not None
        margins = _bent(
            np.array([trial.margins if is_whole and trial.corners > 1 else self._here(trial) for trial in trials])
        )
        if not self._has_objective:
            return margins
        gains = np.array([trial.gain for trial in trials])
        worst = gains[gains > 0].min(initial=gains.max())
        return np.column_stack([margins, np.where(gains > 0, gains, worst)])  # 0 where there is no value

    def _centre(self) -> Floats:
        """[W]: the best point of this region; where there is none, a point to begin at."""
        scores = self._scores()[self.since :]
        if len(scores):
            return self.free.of(self.trials[self.since + int(scores.argmax())].point)
        return self.free.of(first_points(self.problem, self.seed, self.drawn, count=1)[0])

    # What is thought of what was not

    def _forecast(self, points: Floats) -> Looked:
        """The model's at the nearest points that can be made, or what all trials have in common."""
        whole = self.free.whole(points)
        made = np.array([self.problem.point(vector) for vector in self.problem.vectors(whole)])
        points = self.free.of(made)
        if self.model is None:
            values = self._values(self.trials)
            shape = (len(points), values.shape[1])
            mean, spread = np.broadcast_to(values.mean(axis=0), shape), np.broadcast_to(values.std(axis=0), shape)
            return Looked(points, mean, np.maximum(spread, _LEAST_SPREAD))
        told = self.model.forecast(made)
        mean, spread = _bent(told.margins), told.spread / (1 + np.abs(told.margins))
        if self._has_objective:
            mean, spread = np.column_stack([mean, told.gains]), np.column_stack([spread, told.gain_spread])
        return Looked(points, mean, np.clip(spread, _LEAST_SPREAD, _MOST_SPREAD))

    def _surrogate(self) -> _Surrogate:
        """Fitted to the trials nearest to the centre."""
        if not self.trials:
            return _Surrogate(self._forecast, None, np.ones(len(self.problem.limits) + self._has_objective))
        points = self.free.of(np.array([trial.point for trial in self.trials]))
        near = np.sort(np.argsort(((points - self._centre()) ** 2).sum(axis=1), kind="stable")[:_MOST_POINTS])
        forecast = self._forecast(points[near])
        residuals = self._residuals([self.trials[place] for place in near], forecast)
        scale = np.sqrt((_BELIEVED + (residuals**2).sum(axis=0)) / (_BELIEVED + len(residuals)))
        self.processes = GaussianProcesses(points[near], residuals / scale, self.processes)
        return _Surrogate(self._forecast, self.processes, scale)

    def _residuals(self, trials: Sequence[Trial], forecast: Looked) -> Floats:
        """[n, Q]: what ngspice says beyond forecasts, in their spreads.

        Margins at some corners are those of all corners at most: where they are better than a model's forecast of all,
        they tell nothing.
        """
        residuals = np.clip(
            (self._values(trials) - forecast.mean) / forecast.deviation, -_MOST_RESIDUAL, _MOST_RESIDUAL
        )
        is_part = np.array([trial.corners < len(self.problem.benches) for trial in trials])
        if self.model is not None:
            limits = residuals[:, : len(self.problem.limits)]
            limits[is_part] = np.minimum(0.0, limits[is_part])
        return residuals

    # What is simulated next

    def _wish(self) -> Wish:
        """Every limit, and as much as can be of the objective once all are met."""
        needs = _bent(self.guard) + _BEYOND
        if not self._has_objective:
            return Wish(needs, np.zeros(len(needs)), _BLUR)
        worth = np.zeros(len(needs) + 1)
        worth[-1] = _WORTH if self._scores().max(initial=0.0) > 0 else 0.0
        return Wish(np.append(needs, -np.inf), worth, _BLUR)

    def _candidates(self, surrogate: _Surrogate, wish: Wish) -> Looked:
        """The best points that a search finds in the region, or anywhere the first time."""
        centre = self._centre()
        is_first = len(self.trials) == self.since
        looked = climb(
            surrogate.look,
            wish,
            centre,
            (np.zeros_like(centre), np.ones_like(centre)) if is_first else self.region.ends(centre),
            self.rng,
            deviation=min(_MOST_STEP, _STEP * self.region.length),
            count=max(_LEAST_COUNT, round(_COUNT * len(centre))),
            rounds=_FIRST_ROUNDS if is_first else _ROUNDS,
            is_over=lambda: self.model is not None and self.model.is_over,
        )
        merit = wish.merit(looked.mean, looked.deviation)
        return looked.take(np.argsort(-merit, kind="stable")[:_CANDIDATES])

    def _chosen(self, surrogate: _Surrogate) -> Floats:
        """[n, V]: the likeliest candidate, then the choice of one drawn function each, all apart; a batch, or as many
        as make it nearly sure that one of them meets everything.
        """  # fmt: skip
        wish = self._wish()
        candidates = self._candidates(surrogate, wish)
        functions = surrogate.drawn(candidates, self.problem.batch - 1, self.rng)
        merit = wish.merit(candidates.mean, candidates.deviation)
        orders = [merit, *(self._preferred(values, wish) for values in functions)]
        apart = _FIRST_APART if len(self.trials) == self.since else _APART
        points = self.free.whole(candidates.points)
        chances = wish.chance(candidates.mean, candidates.deviation)
        seen = [trial.point for trial in self.trials]
        chosen: list[Floats] = []
        missed = 1.0
        for order in orders:
            if missed < _DOUBT and not wish.worth.any():
                break
            for place in np.argsort(-order, kind="stable"):
                others = [*seen, *chosen]
                if not others or np.sqrt(np.mean((np.array(others) - points[place]) ** 2, axis=1)).min() > apart:
                    chosen.append(points[place])
                    missed *= 1 - chances[place]
                    break
        if not chosen:  # the region has nothing new: anywhere near will do
            return self._draws()
        return np.array(chosen)

    def _preferred(self, values: Floats, wish: Wish) -> Floats:
        """[n]: how a function [n, Q] ranks candidates: the objective, or the least margin, where all limits are met."""
        limits = len(self.problem.limits)
        over = values[:, :limits] - wish.needs[:limits]
        violation = np.minimum(0.0, over).sum(axis=1)
        rest = values[:, limits] if wish.worth.any() else over.min(axis=1)
        return np.where(violation < 0, violation - 1e6, rest)


def begin(problem: SizingProblem, *, seed: int, model: OfflineModel | None) -> Proposer:
    """A run; without a model it begins at the start and guided draws."""
    return _Run(problem, seed, model, np.random.default_rng([seed, 0x7247]), np.zeros(len(problem.limits)))
