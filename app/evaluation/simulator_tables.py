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
        "testbench", "metric", "rows", "groups", "R2", "pooled R2", "close", "rank", "relative error: median",
        "95th percentile", "coverage", "width", "has a value: AUC",
    )  # fmt: skip
    return table(
        head,
        [
            (
                row["testbench"], _named(row), str(row["rows"]), str(row["groups"]), figure(row["r2"]),
                figure(row["pooled_r2"]), _figure_in_percent(row["close"]), figure(row["rank_correlation"]),
                _percent(row["relative_error"], "median"), _percent(row["relative_error"], "p95"),
                _percent(row["interval"], "coverage"),
                figure(row["interval"] and row["interval"]["width"]), figure(row["defined"] and row["defined"]["auc"]),
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


def summaries_table(summaries: Mapping[str, Mapping[str, Any]], first: str = "") -> list[str]:
    """A line a model (or a number of rows) of `simulator_sets.scores`' summaries; `first` heads the names' column."""
    head = (
        first, "metrics", "mean R2", "median R2", "worst R2", "of", "R2 below 0.95", "pooled R2: mean", "median",
        "close", "rank",
        "relative error: median", "95th percentile", "coverage", "width", "has a value: AUC",
    )  # fmt: skip
    return table(
        head,
        [
            (
                name, str(found["metrics"]), _plain(found["mean_r2"]), _plain(found["median_r2"]),
                _plain(found["worst_r2"]), found["worst"] or "-", str(found["below_0_95"]),
                _plain(found["mean_pooled_r2"]), _plain(found["median_pooled_r2"]), _share(found["close"]),
                _plain(found["rank_correlation"]), _share(found["relative_error"]),
                _share(found["relative_error_p95"]), _share(found["coverage"]), _plain(found["width"]),
                _plain(found["auc"]),
            )
            for name, found in summaries.items()
        ],
    )  # fmt: skip


def known_table(known: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """A line a way of predicting: what the costlier half of the metrics comes to, by what is known."""
    words = {"nothing": "nothing known", "cheaper_half": "the cheaper half known"}
    names = {"estimated": "with estimates", "plain": "network alone"}
    return summaries_table(
        {
            f"{names[way]}, {words[name]}": found["summary"]
            for way, several in known.items()
            for name, found in several.items()
        }
    )


def speed_table(speed: Mapping[str, Any]) -> list[str]:
    """A line a circuit of `simulator_speed.speed`, and one of their means."""
    head = (
        "testbench", "technology", "elements", "network, 1", "network, 4096", "table simulator, 1",
        "table simulator, 4096", "ngspice, now", "ngspice, stored", "times the network's, 4096", "",
    )  # fmt: skip
    return table(head, [_speed_line(circuit) for circuit in speed["circuits"]] + [_mean_line(speed["mean"])])


def _speed_line(circuit: Mapping[str, Any]) -> tuple[str, ...]:
    network, estimating = circuit["network_us"], circuit["table_us"] or {}
    ngspice = circuit["ngspice_us"] or circuit["stored_us"]
    times = None if ngspice is None else ngspice / network["4096"]
    return (
        circuit["testbench"], circuit["technology"], str(circuit["elements"]), _us(network["1"]), _us(network["4096"]),
        _us(estimating.get("1")), _us(estimating.get("4096")), _us(circuit["ngspice_us"]), _us(circuit["stored_us"]),
        _us(times), circuit["note"] or "",
    )  # fmt: skip


def _mean_line(mean: Mapping[str, Any]) -> tuple[str, ...]:
    network, estimating = mean["network_us"], mean["table_us"]
    return (
        "mean", "", "", _us(network["1"]), _us(network["4096"]), _us(estimating["1"]), _us(estimating["4096"]),
        _us(mean["ngspice_us"]), _us(mean["stored_us"]), _us(mean["ratios"]["network"]), "",
    )  # fmt: skip


def figure(told: Mapping[str, Any] | None) -> str:
    """A figure with three digits, and its interval where it has one."""
    if told is None:
        return "-"
    interval = "" if told["low"] is None else f" ({told['low']:.3f} to {told['high']:.3f})"
    return f"{told['value']:.3f}{interval}"


def _percent(told: Mapping[str, Any] | None, name: str) -> str:
    """A figure of a part of a row, in percent."""
    return _figure_in_percent(told and told[name])


def _figure_in_percent(part: Mapping[str, Any] | None) -> str:
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


def _us(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
