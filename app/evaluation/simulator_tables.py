"""The tables of a card on predicted performance, from `app.neural_simulator.scores`. Judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.evaluation.tables import table

#: How the figures of these tables came about.
SIMULATOR_INTERVALS = (
    "R2 and rank correlation are within topologies: what sizing changes, not how topologies differ. Intervals are "
    "95 %, by resampling groups, the rows of one topology on one testbench in one technology (bootstrap)."
)


def metrics_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line a metric of `metric_scores`."""
    head = (
        "testbench", "metric", "rows", "groups", "R2", "pooled R2", "rank", "relative error: median", "95th percentile",
        "coverage", "has a value: AUC",
    )  # fmt: skip
    return table(
        head,
        [
            (
                row["testbench"], _named(row), str(row["rows"]), str(row["groups"]), figure(row["r2"]),
                figure(row["pooled_r2"]), figure(row["rank_correlation"]), _percent(row["relative_error"], "median"),
                _percent(row["relative_error"], "p95"), _percent(row["interval"], "coverage"),
                figure(row["defined"] and row["defined"]["auc"]),
            )
            for row in rows
        ],
    )  # fmt: skip


def models_table(models: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """A line a metric, the R2 of every model beside each other; the dash of a model that was not judged by it."""
    places = {
        (row["testbench"], row["metric"]): _named(row) for rows in models.values() for row in rows
    }  # in the order in which they come up
    found = {
        model: {(row["testbench"], row["metric"]): figure(row["r2"]) for row in rows} for model, rows in models.items()
    }
    return table(
        ("testbench", "metric", *models),
        [(key[0], name, *(found[model].get(key, "-") for model in models)) for key, name in places.items()],
    )


def summaries_table(summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line a model (or a number of rows) of `summary`."""
    head = ("", "metrics", "mean R2", "median R2", "worst R2", "of", "R2 of 0.95 or more", "rank", "relative error")
    return table(
        head,
        [
            (
                name, str(found["metrics"]), _plain(found["mean_r2"]), _plain(found["median_r2"]),
                _plain(found["worst_r2"]), found["worst"] or "-", _share(found["at_least_0_95"]),
                _plain(found["rank_correlation"]), _share(found["relative_error"]),
            )
            for name, found in summaries.items()
        ],
    )  # fmt: skip


def figure(told: Mapping[str, Any] | None) -> str:
    """A figure with three digits, and its interval where it has one."""
    if told is None:
        return "-"
    interval = "" if told["low"] is None else f" ({told['low']:.3f} to {told['high']:.3f})"
    return f"{told['value']:.3f}{interval}"


def _percent(told: Mapping[str, Any] | None, name: str) -> str:
    """A figure of a part of a row, in percent."""
    part = told and told[name]
    if not part:
        return "-"
    interval = "" if part["low"] is None else f" ({100 * part['low']:.3g} to {100 * part['high']:.3g})"
    return f"{100 * part['value']:.3g} %{interval}"


def _named(row: Mapping[str, Any]) -> str:
    return f"`{row['metric']}`" + ("" if row["link"] == "linear" else f" ({row['link']})")


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g} %"
