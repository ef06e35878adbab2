"""What is asked of a neural simulator, and what it was to reach beside what was measured. Measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Question -> what its rows are. Those of `technology` are in the file that the model was trained on, those of
#: `simulated` were made to be judged by.
QUESTIONS: Mapping[str, str] = {
    "sizings": "unseen sizings",
    "topologies": "unseen topologies",
    "technology": "unseen technology",
    "simulated": "technology by name",
}

#: Of mean R2: on unseen sizings; after 50 rows of an unseen technology; after 200 rows of an unseen topology.
_SIZINGS, _WORST, _TECHNOLOGY, _TOPOLOGY = 0.98, 0.95, 0.95, 0.90
_TECHNOLOGY_ROWS, _TOPOLOGY_ROWS = 50, 200

#: Of the share of truths in intervals of 90 %.
_COVERAGE = (0.85, 0.95)

#: Microseconds a design in the larger batch on one core, and how many times as long ngspice is to take.
_MOST_US, _TIMES = 50.0, 1000.0


#: Of a metric, what is kept beside figures.
_NAMES = ("testbench", "metric", "rows", "groups")

#: Of a row of `metric_scores`, the figures whose values are kept; of those in parts these parts.
_FIGURES: Mapping[str, tuple[str, ...]] = {
    "r2": (), "pooled_r2": (), "close": (), "rank_correlation": (), "relative_error": ("median", "p95"),
    "interval": ("coverage", "width"), "defined": ("auc",),
}  # fmt: skip


def in_short(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report as card.json keeps it: every count, summary, time and aim; of single metrics the values of what is
    predicted with estimates. All else, intervals and single metrics of every other way, is in the card for people and
    in ``josephson evaluate simulator --json``.
    """
    sets = {name: {key: _in_short(part) for key, part in found.items()} for name, found in report["sets"].items()}
    for name, found in report["sets"].items():
        sets[name]["estimated"]["metrics"] = [_values(row) for row in found["estimated"]["metrics"]]
    return {**report, "sets": sets, "baselines": _in_short(report["baselines"])}


def _in_short(part: Any) -> Any:
    """A part of a report without the rows of single metrics."""
    if not isinstance(part, Mapping):
        return part
    return {key: _in_short(value) for key, value in part.items() if not (key == "metrics" and isinstance(value, list))}


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `metric_scores` without intervals; parts of a figure are under ``interval_coverage`` and the like."""
    told = {name: row[name] for name in _NAMES}
    for name, parts in _FIGURES.items():
        figure = row[name] or {}
        found = {name: figure} if not parts else {f"{name}_{part}": figure.get(part) for part in parts}
        told |= {key: each["value"] for key, each in found.items() if each}
    return told


def aims(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each aim with what was measured: ``{aim, measured, low, high, target, is_reached}``, for `tables.aims_table`.

    R2 and coverage are with the table simulator's estimates, as predictions are made where nobody says otherwise; the
    aims of time are those of the network alone.
    """
    sets = report["sets"]
    sizings = _summary(sets, "sizings", "estimated")
    technology = "technology" if "technology" in sets else "simulated"
    found = [
        _at_least("mean R2 of unseen sizings", sizings.get("mean_r2"), _SIZINGS),
        _at_least(f"lowest R2 of a metric there ({sizings.get('worst') or '-'})", sizings.get("worst_r2"), _WORST),
        _against_perceptron(report["baselines"]),
        _at_least(
            f"mean R2 of an unseen technology after {_TECHNOLOGY_ROWS} rows of each circuit",
            _summary(sets, technology, "adapted", str(_TECHNOLOGY_ROWS)).get("mean_r2"), _TECHNOLOGY,
        ),
        _at_least(
            f"mean R2 of unseen topologies after {_TOPOLOGY_ROWS} rows of each",
            _summary(sets, "topologies", "adapted", str(_TOPOLOGY_ROWS)).get("mean_r2"), _TOPOLOGY,
        ),
    ]  # fmt: skip
    for question, words in (
        ("sizings", "unseen sizings"), ("topologies", "unseen topologies"), (technology, "an unseen technology"),
    ):  # fmt: skip
        coverage = _summary(sets, question, "estimated").get("coverage")
        found.append(_within(f"coverage of intervals of 90 % on {words}, at most {_COVERAGE[1]:g}", coverage))
    mean = report["speed"]["mean"]
    spent = mean["network_us"]["4096"]
    reached = None if spent is None else spent <= _MOST_US
    found.append(_aim("microseconds a design in a batch of 4096 on one core, at most", spent, _MOST_US, reached))
    found.append(_at_least("times as fast as ngspice there", mean["ratios"]["network"], _TIMES))
    return found


def _summary(sets: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The summary at the end of a path of `sets`, nothing where there is none."""
    part: Any = sets
    for name in path:
        part = part.get(name, {})
    found: Mapping[str, Any] = part.get("summary", {})
    return found


def _against_perceptron(baselines: Mapping[str, Any] | None) -> dict[str, Any]:
    models = baselines["tables"].get("few", {}).get("models", {}) if baselines else {}
    ours, theirs = (models.get(name, {}).get("summary", {}).get("mean_r2") for name in ("estimated", "mlp"))
    reached = None if ours is None or theirs is None else ours > theirs
    words = "mean R2 of unseen sizings, above that of the circuit's own perceptron after 200 rows"
    return _aim(words, ours, theirs, reached)


def _at_least(words: str, measured: float | None, target: float) -> dict[str, Any]:
    return _aim(words, measured, target, None if measured is None else measured >= target)


def _within(words: str, measured: float | None) -> dict[str, Any]:
    low, high = _COVERAGE
    return _aim(words, measured, low, None if measured is None else low <= measured <= high)


def _aim(words: str, measured: float | None, target: float | None, is_reached: bool | None) -> dict[str, Any]:
    return {
        "aim": words, "measured": measured, "low": None, "high": None, "target": target, "is_reached": is_reached,
    }  # fmt: skip
