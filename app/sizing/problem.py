"""A circuit and a specification as a problem on the unit cube: points to sizes, metrics to margins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.neural_simulator.scales import rule_of
from app.sizes.draws import snapped
from app.sizes.space import SizeSpace
from app.specification import Specification
from app.testbenches._base import Metric
from app.testbenches._simulator import Bench

Floats = NDArray[np.float64]

#: Points that are simulated together.
BATCH = 4

#: The margin of a metric that has no value, and the largest magnitude of any margin.
UNDEFINED_MARGIN = -2.0
MOST_MARGIN = 10.0

#: How much of each unit counts as one neper: decibels as their nepers, and what a designer would call as much.
_NEPER = {"dB": 20 / math.log(10), "dBm": 10 / math.log(10), "deg": 20.0, "V": 0.1, "1": 0.2}


@dataclass(frozen=True, slots=True)
class Limit:
    """One side of a bound: `metric` is at least `value` (`sign` 1) or at most (`sign` -1)."""

    metric: str
    value: float
    sign: int

    @property
    def said(self) -> str:
        """The limit as it is written: ``gain_db>60``."""
        return f"{self.metric}{'>' if self.sign > 0 else '<'}{self.value:g}"


@dataclass(frozen=True, eq=False)
class SizingProblem:
    """The benches of one circuit, one for each corner, the search corner first, and what it is to do.

    All of them measure the specification's metrics alone and have the same space, whose start is the point to begin at.
    """

    specification: Specification
    benches: tuple[Bench, ...]
    batch: int = BATCH

    @property
    def space(self) -> SizeSpace:
        """The variables [V]."""
        return self.benches[0].space

    @cached_property
    def limits(self) -> tuple[Limit, ...]:
        """The sides of the bounds [L], in the specification's order."""
        return tuple(
            Limit(bound.metric, value, sign)
            for bound in self.specification.bounds
            for value, sign in ((bound.low, 1), (bound.high, -1))
            if value is not None
        )

    @cached_property
    def start(self) -> Floats:
        """The point [V] of the starting sizes."""
        return self.point(self.space.start)

    def vector(self, point: Floats) -> tuple[float, ...]:
        """The sizes [V] of a point, such as can be made: on the grid, counts whole, within their ranges."""
        low, high, is_log = self._ends
        inside = np.clip(point, 0.0, 1.0)
        bent = low + inside * (high - low)
        return snapped(self.space, np.where(is_log, np.exp(np.where(is_log, bent, 0.0)), bent).tolist())

    def vectors(self, points: Floats) -> Floats:
        """The sizes [n, V] of points [n, V], as `vector`."""
        return np.array([self.vector(point) for point in points], dtype=np.float64).reshape(points.shape)

    def point(self, vector: Sequence[float]) -> Floats:
        """The point [V] of sizes."""
        low, high, is_log = self._ends
        sizes = np.asarray(vector, dtype=np.float64)
        bent = np.where(is_log, np.log(np.where(is_log, sizes, 1.0)), sizes)
        width = np.where(high > low, high - low, 1.0)
        return np.asarray(np.clip((bent - low) / width, 0.0, 1.0), dtype=np.float64)

    @cached_property
    def _ends(self) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        variables = self.space.variables
        is_log = np.array([variable.is_log for variable in variables], dtype=np.bool_)
        low, high = (np.array([getattr(each, end) for each in variables], dtype=np.float64) for end in ("low", "high"))
        bent = tuple(np.where(is_log, np.log(np.where(is_log, end, 1.0)), end) for end in (low, high))
        return bent[0], bent[1], is_log

    def margins(self, metrics: Mapping[str, float | None]) -> Floats:
        """[L]: by how much each limit is kept, in nepers and their like; negative where it is not.

        A metric that has no value counts as `UNDEFINED_MARGIN`.
        """
        values = np.array([_number(metrics.get(limit.metric)) for limit in self.limits])
        return np.asarray(self.margins_of(values[None])[0])

    def margins_of(self, values: Floats) -> Floats:
        """[n, L] of the limits' metrics [n, L] in SI units, NaN where there is no value."""
        found = np.empty_like(values)
        for column, limit in enumerate(self.limits):
            bent = self._bent(limit.metric, values[:, column])
            found[:, column] = limit.sign * (bent - self._bent(limit.metric, np.array([limit.value]))[0])
        clipped = np.clip(found, -MOST_MARGIN, MOST_MARGIN)
        return np.where(np.isnan(values), UNDEFINED_MARGIN, clipped)

    def gain(self, metrics: Mapping[str, float | None]) -> float:
        """By how much the objective is better than a value of 1 in its unit, in nepers; 0 without an objective."""
        objective = self.specification.objective
        if objective is None:
            return 0.0
        return float(self.gains_of(np.array([_number(metrics.get(objective.metric))]))[0])

    def gains_of(self, values: Floats) -> Floats:
        """[n] of the objective's metric [n] in SI units; 0 without an objective or a value.

        Gains are counted from far below anything that is measured, so that they are positive.
        """
        objective = self.specification.objective
        if objective is None:
            return np.zeros(len(values))
        sign = 1.0 if objective.goal == "maximize" else -1.0
        gains = sign * self._bent(objective.metric, values) + _FLOOR
        return np.where(np.isnan(values), 0.0, np.maximum(gains, 0.0))

    def _bent(self, name: str, values: Floats) -> Floats:
        """Values in nepers of their metric, or in what counts as much."""
        metric = self._metrics[name]
        rule = rule_of(metric)
        if rule.link == "log10":
            return np.asarray(np.log(np.maximum(np.where(np.isnan(values), 1.0, values), rule.resolution)))
        if rule.link == "asinh":
            return np.asarray(np.arcsinh(values / (rule.resolution or 1.0)))
        return np.asarray(values / _NEPER.get(metric.unit, 1.0))

    @cached_property
    def _metrics(self) -> Mapping[str, Metric]:
        return self.benches[0].testbench.metric_of


#: What is added to an objective's nepers so that gains are positive: ln(1e-30) and 400 dB lie above its negative.
_FLOOR = 100.0


def _number(value: float | None) -> float:
    return math.nan if value is None else value
