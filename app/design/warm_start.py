"""A sizing method that is told where to begin: points that are known to be good go first, then the method's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.sizing._base import Floats, OfflineModel, Proposer, SizingMethod, Trial
from app.sizing.problem import SizingProblem


@dataclass(frozen=True, eq=False)
class WarmStart:
    """Another method, which begins after these points [n, V] and at the best of them; implements `SizingMethod`."""

    method: SizingMethod
    points: Floats

    @property
    def summary(self) -> str:
        """The other method's."""
        return self.method.summary

    @property
    def reference(self) -> str:
        """The other method's."""
        return self.method.reference

    @property
    def uses_model(self) -> bool:
        """As the other method."""
        return self.method.uses_model

    def begin(self, problem: SizingProblem, *, seed: int, budget: int, model: OfflineModel | None) -> Proposer:
        """A run; the other method's begins where these points did not do, so that it costs nothing where they do."""
        return _Run(self, problem, seed, budget, model)


@dataclass
class _Run:
    start: WarmStart
    problem: SizingProblem
    seed: int
    budget: int
    model: OfflineModel | None
    asked: int = 0
    best: Trial | None = None
    inner: Proposer | None = None

    def ask(self) -> Floats:
        """The next of the given points, then what the method proposes."""
        if self.asked < len(self.start.points):
            batch = self.start.points[self.asked : self.asked + self.problem.batch]
            self.asked += len(batch)
            return batch
        if self.inner is None:
            self.inner = self.start.method.begin(
                self._moved(), seed=self.seed, budget=self.budget - self.asked, model=self.model
            )
        return self.inner.ask()

    def tell(self, trials: Sequence[Trial], guard: Floats) -> None:
        """The method hears of its own points alone."""
        if self.inner is not None:
            self.inner.tell(trials, guard)
        else:
            known = [*trials, self.best] if self.best is not None else trials
            self.best = max(known, key=lambda trial: trial.score, default=None)

    def _moved(self) -> SizingProblem:
        """The problem, which starts at the best of the given points."""
        if self.best is None:
            return self.problem
        started = self.problem.space.starting_at(self.best.vector)
        return replace(self.problem, benches=tuple(replace(bench, space=started) for bench in self.problem.benches))
