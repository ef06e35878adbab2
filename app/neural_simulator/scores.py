"""How well values were predicted, metric by metric, each figure with its interval. Predicts nothing.

What sizing changes counts, so the figures are taken within groups: the rows of one topology on one testbench in one
technology. That topologies differ from each other, which any model that can tell them apart knows, does not count; the
pooled R2 beside it shows what it would add. Intervals are over groups, since rows of one group share their fate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.neural_simulator.arrays import CIRCUIT, DEFINED, Rows
from app.neural_simulator.scales import Scale, Scales
from app.statistics import drawn, ends

Floats = NDArray[np.float64]
Figure = dict[str, Any]

#: Fewer rows with a value than this in a group say nothing about what sizing changes there.
LEAST_ROWS = 5

#: Bins that errors are counted in where a quantile's interval is wanted: log10 of the error, 100 a decade.
_BINS = np.linspace(-9.0, 9.0, 1801)


@dataclass(frozen=True, eq=False)
class Judged:
    """Predictions for the rows of one group, beside the truth. n rows, M metrics.

    Targets, means and ends of intervals are in the targets of `Scales`; they are NaN where there is none. `defined`
    is the predicted probability that a metric has a value.
    """

    topology_id: str
    testbench: str
    technology: str
    metrics: tuple[str, ...]
    values: Floats  # [n, M], SI
    causes: NDArray[np.int8]  # [n, M]
    targets: Floats  # [n, M]
    mean: Floats  # [n, M]
    low: Floats | None = None  # [n, M]
    high: Floats | None = None  # [n, M]
    defined: Floats | None = None  # [n, M]

    @classmethod
    def of(
        cls, rows: Rows, scales: Scales, mean: Floats, *, low: Floats | None = None, high: Floats | None = None,
        defined: Floats | None = None,
    ) -> Self:  # fmt: skip
        """Predictions for these rows."""
        structure = rows.structure
        return cls(
            structure.topology_id, structure.testbench, rows.technology, structure.metrics, rows.values, rows.causes,
            scales.targets(structure, rows.values), mean, low, high, defined,
        )  # fmt: skip


def metric_scores(groups: Iterable[Judged], scales: Scales) -> list[Figure]:
    """One table row a testbench and metric, in the order they come in; metrics without a judged row are left out.

    ``{testbench, metric, unit, link, rows, groups, r2, pooled_r2, close, rank_correlation, relative_error,
    absolute_error, interval, defined, usual}``. A figure is ``{value, low, high}`` with its 95 % interval over groups
    (None of one group), or None where it cannot be had:

    r2: 1 - the sum of squared errors over the sum of squares around each group's own mean, in targets.
    pooled_r2: the same around one mean of all rows.
    close: the share of rows told as `Scale.is_close` says, which means something also of a metric that sizing hardly
        moves, whose R2 does not.
    rank_correlation: Spearman's in each group, averaged by rows [spearman1904proof].
    relative_error: ``{median, p95}`` of the error over the value, or over the scale's resolution where that is larger.
    absolute_error: ``{median, p95}`` in the metric's unit.
    interval: ``{coverage, width}``: share of targets within, mean width in targets.
    defined: ``{share, auc, accuracy, rows}`` of rows that have a value or are to blame for having none themselves: the
        share with a value, and how well that is told, the area under the curve from pairs within a group.
    usual: ``{share, auc}`` where the scale has a usual value: the share of rows that have it, and how well the distance
        of the prediction from it tells those that have not.
    """
    columns: dict[tuple[str, str], list[_Column]] = {}
    for group in groups:
        for place, metric in enumerate(group.metrics):
            columns.setdefault((group.testbench, metric), []).append(_Column.of(group, place))
    found = (_row(scales.of(*key), key[0], several) for key, several in columns.items())
    return [row for row in found if row is not None]


def summary(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """What a table of `metric_scores` comes to: ``{metrics, mean_r2, median_r2, worst_r2, worst, at_least_0_95,
    below_0_95, mean_pooled_r2, median_pooled_r2, close, rank_correlation, relative_error, relative_error_p95, coverage,
    width, auc}``.

    Every metric of every testbench counts once; `below_0_95` are how many have a lower R2, of `at_least_0_95` the
    share, `worst` names the metric of the lowest R2, `close` is the mean share of close rows, `relative_error` is the
    median over metrics of their medians, `relative_error_p95` that of their 95th percentiles; coverage and width of the
    intervals and the area of definedness are means. None where there is nothing to take it of.
    """  # fmt: skip
    scored = [row for row in rows if row["r2"] is not None]
    r2 = np.array([row["r2"]["value"] for row in scored])
    worst = min(scored, key=lambda row: float(row["r2"]["value"]), default=None)
    return {
        "metrics": len(scored),
        "mean_r2": _rounded(r2.mean()) if scored else None,
        "median_r2": _rounded(np.median(r2)) if scored else None,
        "worst_r2": None if worst is None else worst["r2"]["value"],
        "worst": None if worst is None else f"{worst['testbench']} {worst['metric']}",
        "at_least_0_95": _rounded((r2 >= 0.95).mean()) if scored else None,
        "below_0_95": int((r2 < 0.95).sum()),
        "mean_pooled_r2": _mean(row["pooled_r2"] for row in rows),
        "median_pooled_r2": _middle(row["pooled_r2"] for row in rows),
        "close": _mean(row["close"] for row in rows),
        "rank_correlation": _mean(row["rank_correlation"] for row in rows),
        "relative_error": _middle(row["relative_error"]["median"] for row in rows if row["relative_error"]),
        "relative_error_p95": _middle(row["relative_error"]["p95"] for row in rows if row["relative_error"]),
        "coverage": _mean(row["interval"]["coverage"] for row in rows if row["interval"]),
        "width": _mean(row["interval"]["width"] for row in rows if row["interval"]),
        "auc": _mean(row["defined"]["auc"] for row in rows if row["defined"]),
    }


@dataclass(frozen=True, eq=False)
class _Column:
    """One metric of one group: the rows with a value, and what is told of definedness."""

    values: Floats
    targets: Floats
    mean: Floats
    low: Floats | None
    high: Floats | None
    is_defined: NDArray[np.bool_]  # of the rows that were asked for and simulated
    defined: Floats | None

    @classmethod
    def of(cls, group: Judged, place: int) -> Self:
        """The metric at a place of the group's."""
        has_value = np.isfinite(group.targets[:, place])
        causes = group.causes[:, place]
        was_asked = (causes == DEFINED) | (causes == CIRCUIT)
        low, high, defined = (
            None if numbers is None else numbers[chosen, place]
            for numbers, chosen in ((group.low, has_value), (group.high, has_value), (group.defined, was_asked))
        )
        return cls(
            group.values[has_value, place], group.targets[has_value, place], group.mean[has_value, place], low, high,
            causes[was_asked] == DEFINED, defined,
        )  # fmt: skip


def _row(scale: Scale, testbench: str, columns: Sequence[_Column]) -> Figure | None:
    judged = [column for column in columns if len(column.targets) >= LEAST_ROWS]
    defined = _definedness(columns)
    if not judged and defined is None:
        return None
    counts = np.array([len(column.targets) for column in judged], float)
    told = [scale.value(column.mean) for column in judged]
    errors = [np.abs(each - column.values) for each, column in zip(told, judged, strict=True)]
    close = [float(scale.is_close(each, column.values).sum()) for each, column in zip(told, judged, strict=True)]
    relative = [
        error / np.maximum(np.abs(column.values), scale.resolution)
        for error, column in zip(errors, judged, strict=True)
    ]
    return {
        "testbench": testbench, "metric": scale.metric, "unit": scale.unit, "link": scale.link,
        "rows": int(counts.sum()), "groups": len(judged),
        "r2": _r2(judged), "pooled_r2": _pooled_r2(judged), "close": _ratio(close, counts),
        "rank_correlation": _ratio([_spearman(column) * len(column.targets) for column in judged], counts),
        "relative_error": _error_quantiles(relative), "absolute_error": _error_quantiles(errors),
        "interval": _interval(judged, counts), "defined": defined, "usual": _usual(scale, judged),
    }  # fmt: skip


def _r2(columns: Sequence[_Column]) -> Figure | None:
    errors = np.array([_squares(column.targets - column.mean) for column in columns])
    spreads = np.array([_squares(column.targets - column.targets.mean()) for column in columns])
    return _figure(len(columns), lambda counts: _one_less(counts @ errors, counts @ spreads))


def _pooled_r2(columns: Sequence[_Column]) -> Figure | None:
    errors = np.array([_squares(column.targets - column.mean) for column in columns])
    # Around a middle of all, so that no large numbers are subtracted from each other.
    middle = np.concatenate([column.targets for column in columns]).mean() if columns else 0.0
    sums = np.array([(column.targets - middle).sum() for column in columns])
    squares = np.array([_squares(column.targets - middle) for column in columns])
    rows = np.array([len(column.targets) for column in columns], float)

    def r2(counts: NDArray[Any]) -> Floats:
        return _one_less(counts @ errors, counts @ squares - (counts @ sums) ** 2 / np.maximum(counts @ rows, 1.0))

    return _figure(len(columns), r2)


def _squares(numbers: Floats) -> float:
    return float((numbers**2).sum())


def _one_less(part: Floats, whole: Floats) -> Floats:
    """1 - part / whole, NaN where the whole is nothing."""
    share: Floats = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 1e-12)
    return 1 - share


def _ratio(parts: Sequence[float], wholes: Sequence[float] | Floats) -> Figure | None:
    """The sum of the groups' parts over that of their wholes."""
    above, below = np.asarray(parts, float), np.asarray(wholes, float)
    return _figure(len(above), lambda counts: 1 - _one_less(counts @ above, counts @ below))


def _spearman(column: _Column) -> float:
    """Spearman's rank correlation, 0 where one side is all alike."""
    ranks = [_ranks(numbers) for numbers in (column.targets, column.mean)]
    first, second = (each - each.mean() for each in ranks)
    norm = np.sqrt(_squares(first) * _squares(second))
    return float(first @ second / norm) if norm > 0 else 0.0


def _ranks(numbers: Floats) -> Floats:
    """Ranks from 1 on; equal numbers share the mean of theirs."""
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[inverse]
    return ranks


def _error_quantiles(errors: Sequence[Floats]) -> Figure | None:
    """Median and 95th percentile of errors, group by group."""
    if not errors:
        return None
    every = np.concatenate(errors)
    places = [np.searchsorted(_BINS, np.log10(np.maximum(each, 1e-9))) for each in errors]
    used = np.unique(np.concatenate(places))
    masses = np.stack([np.bincount(np.searchsorted(used, each), minlength=len(used)) for each in places])
    # As floats, whose products are quick.
    below = drawn(len(errors)).astype(float) @ np.cumsum(masses, axis=1).astype(float)
    told = {}
    for name, level in (("median", 0.5), ("p95", 0.95)):
        figure: Figure = {"value": _rounded(np.quantile(every, level)), "low": None, "high": None}
        if len(errors) > 1:
            reached = np.argmax(below >= level * below[:, -1:], axis=1)
            low, high = ends(np.power(10.0, _BINS[np.minimum(used[reached], len(_BINS) - 1)]))
            # Bins are 2 % wide; the figure itself is exact and lies within its interval.
            figure |= {"low": _rounded(min(low, figure["value"])), "high": _rounded(max(high, figure["value"]))}
        told[name] = figure
    return told


def _interval(columns: Sequence[_Column], rows: Floats) -> Figure | None:
    inside, widths = [], []
    for column in columns:
        if column.low is None or column.high is None:
            return None
        inside.append(float(((column.low <= column.targets) & (column.targets <= column.high)).sum()))
        widths.append(float((column.high - column.low).sum()))
    coverage = _ratio(inside, rows)
    if coverage is None:
        return None
    return {"coverage": coverage, "width": _ratio(widths, rows) if np.isfinite(widths).all() else None}


def _definedness(columns: Sequence[_Column]) -> Figure | None:
    told = [(column.is_defined, column.defined) for column in columns if column.defined is not None]
    told = [(truth, chance) for truth, chance in told if len(truth)]
    if not told:
        return None
    rows = [float(len(truth)) for truth, _ in told]
    return {
        "share": _ratio([float(truth.sum()) for truth, _ in told], rows),
        "auc": _within_auc(told),
        "accuracy": _ratio([float(((chance > 0.5) == truth).sum()) for truth, chance in told], rows),
        "rows": int(sum(rows)),
    }


def _usual(scale: Scale, columns: Sequence[_Column]) -> Figure | None:
    if scale.usual is None or not columns:
        return None
    is_usual = [scale.is_usual(column.targets) for column in columns]
    rows = [float(len(each)) for each in is_usual]
    return {
        "share": _ratio([float(each.sum()) for each in is_usual], rows),
        "auc": _within_auc([(~each, np.abs(column.mean)) for each, column in zip(is_usual, columns, strict=True)]),
    }


def _within_auc(told: Sequence[tuple[NDArray[np.bool_], Floats]]) -> Figure | None:
    """The share of pairs of one group, one true and one not, in which the true one scores higher; ties by half."""
    wins, pairs = [], []
    for truth, score in told:
        true = int(truth.sum())
        pairs.append(float(true * (len(truth) - true)))
        wins.append(float(_ranks(score)[truth].sum() - true * (true + 1) / 2))
    return _ratio(wins, pairs)


def _figure(groups: int, figure: Callable[[NDArray[Any]], Floats]) -> Figure | None:
    """A figure of counts [round, group] with its interval; None where the groups do not give one."""
    if not groups:
        return None
    value = float(figure(np.ones((1, groups)))[0])
    if not np.isfinite(value):
        return None
    told: Figure = {"value": _rounded(value), "low": None, "high": None}
    if groups > 1:
        rounds = figure(drawn(groups))
        low, high = ends(rounds[np.isfinite(rounds)])
        told |= {"low": _rounded(low), "high": _rounded(high)}
    return told


def _mean(figures: Iterable[Figure | None]) -> float | None:
    values = [figure["value"] for figure in figures if figure is not None]
    return _rounded(np.mean(values)) if values else None


def _middle(figures: Iterable[Figure | None]) -> float | None:
    values = [figure["value"] for figure in figures if figure is not None]
    return _rounded(np.median(values)) if values else None


def _rounded(number: float | np.floating[Any]) -> float:
    """Four significant digits."""
    return float(f"{number:.4g}")
