"""A circuit's neural simulator as the offline model of its sizing problem: predicted metrics into margins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.sizing._base import Forecast, figure_of_merit
from app.sizing.problem import UNDEFINED_MARGIN, SizingProblem
from app.testbenches._simulator import SimulationRow

Floats = NDArray[np.float64]

#: What a limit's margin is said to be, and its spread, where the model cannot tell its metric.
_UNTOLD_SPREAD = 1.0

#: The part of a forecast's points that the other corners are asked of, and the fewest.
_SHARE_ASKED, _LEAST_ASKED = 0.25, 32

#: Rows at the beginning and at the end whose errors are told.
_SHOWN = 8


class CircuitPrediction(Protocol):
    """n sizings, K metrics, SI units: `app.circuit_model.CircuitPrediction`."""

    @property
    def value(self) -> Floats:
        """[n, K]."""

    @property
    def low(self) -> Floats:
        """[n, K], a standard deviation below."""

    @property
    def high(self) -> Floats:
        """[n, K], a standard deviation above."""

    @property
    def defined(self) -> Floats:
        """[n, K], the chance that there is a value."""


class RowError(Protocol):
    """How far off predictions of one row were: `app.circuit_model.RowError`."""

    @property
    def error(self) -> Mapping[str, float]:
        """By metric; 1 is what the metric usually varies by within a circuit."""

    @property
    def plain(self) -> Mapping[str, float]:
        """Likewise, of the network that had learnt nothing of this circuit."""


class CircuitModel(Protocol):
    """The neural simulator of one bench: `app.circuit_model.CircuitModel`."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those [K] that it can tell."""

    @property
    def evaluations(self) -> int:
        """Sizings that were predicted so far."""

    def predict(self, vectors: Floats, /) -> CircuitPrediction:
        """What it says of sizings [n, V]."""
        ...

    def learn(self, rows: Sequence[SimulationRow], /) -> None:
        """The next predictions know these simulations."""
        ...

    def errors(self) -> Sequence[RowError]:
        """How far it was off, before it learnt of it, for every row that it was told, in that order."""
        ...


class CircuitForecaster:
    """Forecasts of a problem's points at every corner; implements `app.sizing.run.LearningModel`."""

    def __init__(self, problem: SizingProblem, models: Sequence[CircuitModel]) -> None:
        """`models` are those of the problem's benches, in their order."""
        self._problem = problem
        self._models = tuple(models)
        metrics = self._models[0].metrics
        self._columns = [_place(metrics, limit.metric) for limit in problem.limits]
        objective = problem.specification.objective
        self._of_gain = None if objective is None else _place(metrics, objective.metric)

    @property
    def evaluations(self) -> int:
        """Offline simulations so far: points times corners."""
        return sum(model.evaluations for model in self._models)

    def forecast(self, points: Floats) -> Forecast:
        """See `OfflineModel.forecast`: a metric that may have no value pulls its margin down by that chance.

        The other corners are asked of the best points alone; from the others is taken what these lose there.
        """
        vectors = self._problem.vectors(points)
        told = self._models[0].predict(vectors)
        margins, spread = self._at_corner(told)
        gains = self._gains(told)
        if len(self._models) > 1:
            best = np.argsort(-figure_of_merit(margins, gains[0]), kind="stable")[: self._asked(len(points))]
            there = [self._at_corner(model.predict(vectors[best])) for model in self._models[1:]]
            corners = np.stack([margins[best], *(each[0] for each in there)])
            spreads = np.stack([spread[best], *(each[1] for each in there)])
            worst = corners.argmin(axis=0)[None]
            least = np.take_along_axis(corners, worst, axis=0)[0]
            lost = np.median(margins[best] - least, axis=0)
            margins = margins - lost
            margins[best], spread[best] = least, np.take_along_axis(spreads, worst, axis=0)[0]
        return Forecast(margins, spread, *gains)

    def _asked(self, points: int) -> int:
        """Of so many points, those that the other corners are asked of."""
        return min(points, max(_LEAST_ASKED, round(_SHARE_ASKED * points)))

    def learn(self, corner: int, rows: Sequence[SimulationRow]) -> None:
        """See `LearningModel.learn`."""
        self._models[corner].learn(rows)

    def report(self) -> Mapping[str, Any]:
        """For each metric of the specification the median error at the search corner of the first rows, of the last
        ones, and of these without what was learnt of the circuit; 1 is what it usually varies by within a circuit.
        """  # fmt: skip
        errors = self._models[0].errors()
        first, last = errors[:_SHOWN], errors[-_SHOWN:]
        return {
            "rows": len(errors),
            "errors": {
                name: {
                    "first": _median([row.error for row in first], name),
                    "last": _median([row.error for row in last], name),
                    "last_unadapted": _median([row.plain for row in last], name),
                }
                for name in self._problem.specification.metrics
            },
        }

    def _at_corner(self, told: CircuitPrediction) -> tuple[Floats, Floats]:
        """Margins and their spreads [n, L]: of a value where there is one, of none with the chance that there is."""
        value, low, high = (self._margins(each) for each in (told.value, told.low, told.high))
        chance = self._taken(told.defined, 1.0)
        margins = chance * value + (1 - chance) * UNDEFINED_MARGIN
        within, between = np.abs(high - low) / 2, value - UNDEFINED_MARGIN
        spread = np.sqrt(chance * within**2 + chance * (1 - chance) * between**2)
        is_told = np.array([column is not None for column in self._columns], dtype=np.bool_)
        margins[:, ~is_told], spread[:, ~is_told] = 0.0, _UNTOLD_SPREAD
        return margins, spread

    def _margins(self, numbers: Floats) -> Floats:
        return self._problem.margins_of(self._taken(numbers, np.nan))

    def _taken(self, numbers: Floats, untold: float) -> Floats:
        """The columns [n, L] of the limits' metrics of numbers [n, K]."""
        columns = [np.full(len(numbers), untold) if at is None else numbers[:, at] for at in self._columns]
        return np.stack(columns, axis=1)

    def _gains(self, told: CircuitPrediction) -> tuple[Floats, Floats]:
        if self._of_gain is None:
            return np.zeros(len(told.value)), np.zeros(len(told.value))
        value, low, high = (
            self._problem.gains_of(each[:, self._of_gain]) for each in (told.value, told.low, told.high)
        )
        return told.defined[:, self._of_gain] * value, np.abs(high - low) / 2


def _place(metrics: Sequence[str], name: str) -> int | None:
    return metrics.index(name) if name in metrics else None


def _median(errors: Sequence[Mapping[str, float]], name: str) -> float | None:
    known = [error[name] for error in errors if name in error]
    return float(np.median(known)) if known else None
