"""Intervals that hold the truth as often as they say, whatever predicts and however wrong its own spread is.

A predictor gives a mean and a spread. On calibration rows, which it has not learnt from, the residuals are counted in
spreads; an interval reaches as many spreads to either side as the level's share of them needed. That holds for rows
drawn like the calibration rows, on average over a group; for a circuit or technology unlike all of them it does not.

Rows of a circuit that was not learnt from share its fate: what is drawn there is circuits. So intervals for such
circuits are those of known ones, wider by what circuits that were kept from training needed, each of them counting
alike however many rows it has.

Reference:
    [papadopoulos2002inductive] §3 for the split into training and calibration, [lei2018distribution] §2.2 Algorithm 2
    and §5.2 for residuals counted in local spreads, [vovk2005algorithmic] ch. 4 for a quantile for each group,
    [dunn2023hierarchical] for new circuits: pooled distributions, which hold a level the nearer the more circuits there
    are, without a promise for a finite number of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInput

Floats = NDArray[np.float64]

#: Shares of the truths that intervals are made for.
LEVELS = (0.5, 0.8, 0.9, 0.95)

#: A group of fewer residuals than this uses a wider group's. Set by 100, the coverage of a level of 0.9 has a beta
#: distribution that lies within 0.06 of it 19 times of 20.
LEAST_RESIDUALS = 100

#: Spreads below this count as this much, in targets.
LEAST_SPREAD = 1e-3

#: Testbench, technology and metric of a group; None stands for all of them.
Group = tuple[str | None, str | None, str | None]


@dataclass(frozen=True, eq=False)
class Residuals:
    """How far off the calibration rows of one testbench in one technology were predicted, in spreads.

    `counted` is [row, metric], NaN where the metric has no value.
    """

    testbench: str
    technology: str
    metrics: tuple[str, ...]
    counted: Floats

    @classmethod
    def of(
        cls, testbench: str, technology: str, metrics: Sequence[str], targets: Floats, mean: Floats, spread: Floats
    ) -> Self:
        """Residuals of predictions; `targets`, `mean` and `spread` are [n, M]."""
        return cls(testbench, technology, tuple(metrics), np.abs(targets - mean) / np.maximum(spread, LEAST_SPREAD))


class ConformalIntervals:
    """How many spreads wide intervals are, for groups of rows and metrics."""

    def __init__(self, levels: Sequence[float], reaches: Mapping[Group, Sequence[float]]) -> None:
        """`reaches` are the spreads to either side for each level; infinite where no finite number is enough."""
        self.levels = tuple(levels)
        self._reaches = {group: tuple(found) for group, found in reaches.items()}

    def reach(self, testbench: str, technology: str, metric: str, level: float) -> float:
        """Spreads to either side of the mean, from the narrowest group that has enough residuals.

        Groups are the metric on the testbench in the technology, then in any technology, then every metric of the
        testbench, then all; without any residual the reach is infinite.

        Raises:
            InvalidInput: a level that was not calibrated.
        """
        if level not in self.levels:
            known = ", ".join(f"{each:g}" for each in self.levels)
            raise InvalidInput(f"there are no intervals for the level {level:g}; calibrated are {known}")
        for group in _groups(testbench, technology, metric):
            if group in self._reaches:
                return self._reaches[group][self.levels.index(level)]
        return math.inf

    def times(self, factors: Sequence[float]) -> ConformalIntervals:
        """The same intervals, as many times as wide; a factor for each level."""
        return ConformalIntervals(
            self.levels,
            {
                group: [reach * factor for reach, factor in zip(found, factors, strict=True)]
                for group, found in self._reaches.items()
            },
        )

    def intervals(
        self, testbench: str, technology: str, metrics: Sequence[str], mean: Floats, spread: Floats, level: float
    ) -> tuple[Floats, Floats]:
        """Lower and upper ends [n, M], in targets, around means [n, M] with spreads [n, M]."""
        reaches = np.array([self.reach(testbench, technology, metric, level) for metric in metrics])
        half = reaches * np.maximum(spread, LEAST_SPREAD)
        return mean - half, mean + half

    def as_json(self) -> dict[str, Any]:
        """Levels, and a list of groups with their reaches, as JSON takes them: an infinite reach is None."""
        return {
            "levels": list(self.levels),
            "groups": [
                {
                    "testbench": testbench, "technology": technology, "metric": metric,
                    "reaches": [None if math.isinf(each) else each for each in found],
                }
                for (testbench, technology, metric), found in self._reaches.items()
            ],
        }  # fmt: skip

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Self:
        """The intervals that `as_json` told."""
        return cls(
            table["levels"],
            {
                (group["testbench"], group["technology"], group["metric"]): [
                    math.inf if each is None else each for each in group["reaches"]
                ]
                for group in table["groups"]
            },
        )


def calibrated(
    parts: Iterable[Residuals], levels: Sequence[float] = LEVELS, least: int = LEAST_RESIDUALS
) -> ConformalIntervals:
    """Intervals from the residuals of calibration rows; groups of fewer than `least` are left to wider ones."""
    found: dict[Group, list[Floats]] = {}
    for part in parts:
        for place, metric in enumerate(part.metrics):
            counted = part.counted[:, place]
            counted = counted[np.isfinite(counted)]
            for group in _groups(part.testbench, part.technology, metric):
                found.setdefault(group, []).append(counted)
    reaches = {}
    for group, several in found.items():
        residuals = np.sort(np.concatenate(several))
        if len(residuals) >= least or (group == _EVERYTHING and len(residuals)):
            reaches[group] = [_reach(residuals, level) for level in levels]
    return ConformalIntervals(levels, reaches)


def widened(known: ConformalIntervals, circuits: Iterable[Sequence[Residuals]]) -> ConformalIntervals:
    """Intervals for circuits that were not learnt from, which are nowhere narrower than those of known ones.

    Args:
        known: What rows of circuits that were learnt from needed.
        circuits: Of each circuit that was kept from training the residuals of its rows. Without any the intervals are
            those of `known`.
    """
    kept = [parts for parts in circuits if any(np.isfinite(part.counted).any() for part in parts)]
    if not kept:
        return known
    return known.times(
        [max(1.0, _pooled([_shares(known, parts, level) for parts in kept], level)) for level in known.levels]
    )


def _shares(known: ConformalIntervals, parts: Sequence[Residuals], level: float) -> Floats:
    """Residuals of one circuit as parts of the reaches of `known`."""
    found = []
    for part in parts:
        reaches = [known.reach(part.testbench, part.technology, metric, level) for metric in part.metrics]
        shares = part.counted / np.array(reaches)
        found.append(shares[np.isfinite(shares)])
    return np.concatenate(found)


def _pooled(circuits: Sequence[Floats], level: float) -> float:
    """The number that a share of `level` does not exceed, all circuits weighing alike."""
    numbers = np.concatenate(circuits)
    weights = np.concatenate([np.full(len(each), 1.0 / len(each)) for each in circuits])
    order = np.argsort(numbers, kind="stable")
    reached = np.cumsum(weights[order]) >= level * len(circuits) - 1e-9
    return float(numbers[order][np.argmax(reached)])


_EVERYTHING: Group = (None, None, None)


def _groups(testbench: str, technology: str, metric: str) -> tuple[Group, ...]:
    """From the narrowest to the widest."""
    return (testbench, technology, metric), (testbench, None, metric), (testbench, None, None), _EVERYTHING


def _reach(residuals: Floats, level: float) -> float:
    """The smallest residual that a fresh one exceeds with a probability of at most 1 - level; infinite if none is.

    Of n sorted ones it is number ceil((n + 1) level): the fresh one has as likely any place among them.
    """
    number = math.ceil((len(residuals) + 1) * level - 1e-9)
    return float(residuals[number - 1]) if number <= len(residuals) else math.inf
