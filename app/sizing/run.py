"""Sizes one circuit: a method proposes, ngspice answers, corners are checked, and the best point is simulated again.

Every simulation counts, those at corners and the last ones too. What the loop knows is in its answer: nothing is
estimated there.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from app.sizing._base import Forecast, SizingMethod, Trial
from app.sizing.problem import MOST_MARGIN, SizingProblem
from app.testbenches._simulator import Bench, SimulationRow

Floats = NDArray[np.float64]

#: ``met``: every limit at every corner. ``not_met``: the budget ended before. ``stopped``: the caller ended it.
SizingStatus = Literal["met", "not_met", "stopped"]

#: With an objective: simulations without a gain of more than `_GAIN` nepers after which the search ends.
_PATIENCE, _GAIN = 40, 0.01

#: Points whose losses at a corner are remembered, and the most that one may have lost, in nepers.
_REMEMBERED, _MOST_DROP = 5, 2.0


class Simulator(Protocol):
    """ngspice: `app.testbenches._simulator.BenchSimulator`."""

    def run(self, bench: Bench, vectors: Sequence[Sequence[float]], /) -> Iterator[SimulationRow]:
        """A row for every vector, in any order; `index` says of which."""
        ...


class LearningModel(Protocol):
    """An offline model of every corner that is told every simulation."""

    @property
    def evaluations(self) -> int:
        """See `OfflineModel`."""

    def forecast(self, points: Floats) -> Forecast:
        """See `OfflineModel`."""
        ...

    def learn(self, corner: int, rows: Sequence[SimulationRow]) -> None:
        """The next forecasts know these rows of ngspice, from the bench of that number."""
        ...

    def report(self) -> Mapping[str, Any]:
        """What became of it, for the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Budget:
    """Most simulations, those at corners and of the last check included, and most seconds of wall time."""

    simulations: int = 200
    seconds: float = 600.0


@dataclass(frozen=True, eq=False)
class SizingResult:
    """What became of a sizing.

    `trial` is the best point, None where nothing was simulated. `rows` are its simulations with every metric, one a
    corner, in the order of the benches that were given to verify. `met_after` counts simulations up to the first point
    that meets everything. `trace` has an entry a trial: simulations so far, its score and the best score.
    """

    status: SizingStatus
    trial: Trial | None
    margins: Floats  # [L], the least over the verified corners
    rows: tuple[SimulationRow, ...]
    simulations: int
    offline_simulations: int
    met_after: int | None
    trials: int
    wall_s: float
    simulator_cpu_s: float
    trace: tuple[Mapping[str, float], ...]
    simulated: tuple[tuple[int, SimulationRow], ...]  # (number of the corner, row), for those who learn from them
    model: Mapping[str, Any] | None


def size_circuit(
    problem: SizingProblem,
    method: SizingMethod,
    simulator: Simulator,
    *,
    seed: int,
    budget: Budget,
    verify: Sequence[Bench],
    model: LearningModel | None = None,
    on_trial: Callable[[Trial, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> SizingResult:
    """The best sizing that the method finds within the budget, simulated again at every corner.

    Args:
        problem: One bench a corner, that measure what the specification speaks of.
        verify: The same corners in the same order, every metric that is to be told.
        model: For methods that use one.
        on_trial: Is told of each trial, and how many simulations there were so far.
        should_stop: Is asked between batches; the best so far is verified all the same.
    """
    return _Run(problem, method, simulator, seed, budget, verify, model, on_trial, should_stop).result()


@dataclass(frozen=True)
class _Timed:
    """A model that knows when asking it is over; implements `OfflineModel`."""

    model: LearningModel
    ends_at: float
    should_stop: Callable[[], bool] | None

    @property
    def evaluations(self) -> int:
        return self.model.evaluations

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.ends_at or (self.should_stop is not None and self.should_stop())

    def forecast(self, points: Floats) -> Forecast:
        return self.model.forecast(points)


@dataclass
class _Guard:
    """What corners take away from the margins at the search corner, of the points that were simulated there last."""

    drops: dict[int, deque[Floats]] = field(default_factory=dict)

    def saw(self, corner: int, drop: Floats) -> None:
        """A point lost `drop` [L] at a corner."""
        self.drops.setdefault(corner, deque(maxlen=_REMEMBERED)).append(np.minimum(drop, _MOST_DROP))

    def least(self, limits: int) -> Floats:
        """[L]: the margins that a point needs at the search corner: what the worst corner usually takes away."""
        usual = [np.median(list(drops), axis=0) for drops in self.drops.values()]
        return np.maximum(0.0, np.max(usual, axis=0)) if usual else np.zeros(limits)

    def order(self, corners: int) -> list[int]:
        """The other corners, the one that took away most last time first; unseen ones go before."""
        harm = {corner: float(drops[-1].max()) for corner, drops in self.drops.items()}
        return sorted(range(1, corners), key=lambda corner: -harm.get(corner, MOST_MARGIN))


@dataclass
class _Run:
    problem: SizingProblem
    method: SizingMethod
    simulator: Simulator
    seed: int
    budget: Budget
    verify: Sequence[Bench]
    model: LearningModel | None
    on_trial: Callable[[Trial, int], None] | None
    should_stop: Callable[[], bool] | None
    began: float = field(default_factory=time.monotonic)
    guard: _Guard = field(default_factory=_Guard)
    best: Trial | None = None
    simulations: int = 0
    cpu_s: float = 0.0
    met_after: int | None = None
    improved_at: int = 0
    is_stopped: bool = False
    trials: int = 0
    trace: list[Mapping[str, float]] = field(default_factory=list)
    simulated: list[tuple[int, SimulationRow]] = field(default_factory=list)

    def result(self) -> SizingResult:
        """The search, then the verification of what it found."""
        model = None
        if self.model is not None and self.method.uses_model:
            model = _Timed(self.model, self.began + self.budget.seconds, self.should_stop)
        proposer = self.method.begin(self.problem, seed=self.seed, budget=self.left, model=model)
        unknown = np.zeros(len(self.problem.limits))  # a model forecasts the corners itself
        while self._goes_on():
            trials = self._tried(proposer.ask()[: self.left])
            proposer.tell(trials, self._guarded if model is None else unknown)
        rows = self._verified()
        margins = self._least_margins(rows)
        is_met = bool(rows) and bool((margins >= 0).all())
        status: SizingStatus = "met" if is_met else "stopped" if self.is_stopped else "not_met"
        return SizingResult(
            status=status,
            trial=self.best,
            margins=margins,
            rows=rows,
            simulations=self.simulations,
            offline_simulations=0 if model is None else model.evaluations,
            met_after=self.met_after if is_met else None,
            trials=self.trials,
            wall_s=time.monotonic() - self.began,
            simulator_cpu_s=self.cpu_s,
            trace=tuple(self.trace),
            simulated=tuple(self.simulated),
            model=None if model is None else model.model.report(),
        )

    @property
    def left(self) -> int:
        """Simulations that the search may use: the last check has its own."""
        return self.budget.simulations - len(self.verify) - self.simulations

    def _goes_on(self) -> bool:
        if self.should_stop is not None and self.should_stop():
            self.is_stopped = True
        is_late = self.trials > 0 and time.monotonic() - self.began >= self.budget.seconds  # one batch there always is
        is_over = self.is_stopped or self.left <= 0 or is_late
        if is_over or self.met_after is None:
            return not is_over
        wants_more = self.problem.specification.objective is not None
        return wants_more and self.simulations - self.improved_at < _PATIENCE

    @property
    def _guarded(self) -> Floats:
        """[L]: see `_Guard.least`."""
        return self.guard.least(len(self.problem.limits))

    def _tried(self, points: Floats) -> list[Trial]:
        """The trials of points at the search corner, and of those that look well at the others."""
        vectors = [self.problem.vector(point) for point in points]
        rows = self._simulate(0, vectors)
        found = [self._trial(vector, row) for vector, row in zip(vectors, rows, strict=True)]
        order = sorted(range(len(found)), key=lambda place: -found[place].score)
        for rank, place in enumerate(order):
            if self._is_worth_checking(found[place], is_first=rank == 0):
                found[place] = self._checked(found[place])
            self._keep(found[place])
        return found

    def _simulate(self, corner: int, vectors: Sequence[tuple[float, ...]]) -> list[SimulationRow]:
        rows = self._rows(self.problem.benches[corner], vectors)
        self.simulated += [(corner, row) for row in rows]
        if self.model is not None and self.method.uses_model:
            self.model.learn(corner, rows)
        return rows

    def _rows(self, bench: Bench, vectors: Sequence[tuple[float, ...]]) -> list[SimulationRow]:
        """The rows of vectors, in their order."""
        rows: list[SimulationRow | None] = [None] * len(vectors)
        for row in self.simulator.run(bench, vectors):
            rows[row["index"]] = row
            self.cpu_s += row["timings"]["simulate_s"]
        self.simulations += len(vectors)
        return [row for row in rows if row is not None]

    def _trial(self, vector: tuple[float, ...], row: SimulationRow) -> Trial:
        """The trial at the search corner, less what the others usually take away."""
        margins = self.problem.margins(row["metrics"]) - self._guarded
        return Trial(
            self.problem.point(vector), vector, margins, self.problem.gain(row["metrics"]), row["metrics"], corners=1
        )

    def _is_worth_checking(self, trial: Trial, *, is_first: bool) -> bool:
        """Whether the other corners are simulated: the limits are met at this one, and with what the others usually
        take away too, but that the first of a batch is always tried, since what is usual may be wrong.
        """  # fmt: skip
        best = self.best
        if best is not None and best.is_met and trial.score <= best.score:
            return False
        is_met_here = bool((self.problem.margins(trial.metrics) >= 0).all())
        return is_met_here and (is_first or trial.is_met)

    def _checked(self, trial: Trial) -> Trial:
        """The trial with its margins at the other corners, up to the first that fails."""
        here = self.problem.margins(trial.metrics)
        margins, corners = here, 1
        for corner in self.guard.order(len(self.problem.benches)):
            if self.left <= 0:
                break
            (row,) = self._simulate(corner, [trial.vector])
            there = self.problem.margins(row["metrics"])
            self.guard.saw(corner, here - there)
            margins, corners = np.minimum(margins, there), corners + 1
            if (there < 0).any():
                break
        return trial if corners == 1 else replace(trial, margins=margins, corners=corners)

    def _keep(self, trial: Trial) -> None:
        """The trial is counted, and the best one if it is."""
        self.trials += 1
        is_whole = trial.corners == len(self.problem.benches)
        score = trial.score if is_whole or not trial.is_met else -1e-9  # not known to be met: below all that are
        if self.best is None or score > self._best_score + (_GAIN if self._best_score > 0 else 0):
            self.best, self._best_score, self.improved_at = trial, score, self.simulations
        if is_whole and trial.is_met and self.met_after is None:
            self.met_after = self.simulations
        self.trace.append({"simulations": self.simulations, "score": trial.score, "best": self._best_score})
        if self.on_trial is not None:
            self.on_trial(trial, self.simulations)

    _best_score: float = -np.inf

    def _verified(self) -> tuple[SimulationRow, ...]:
        """The best point at every corner, with every metric, simulated afresh."""
        if self.best is None:
            return ()
        return tuple(self._rows(bench, [self.best.vector])[0] for bench in self.verify)

    def _least_margins(self, rows: Sequence[SimulationRow]) -> Floats:
        if not rows:
            return np.zeros(0)
        return np.asarray(np.min([self.problem.margins(row["metrics"]) for row in rows], axis=0))
