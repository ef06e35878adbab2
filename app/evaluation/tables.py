"""What cards are written with: cells, tables and lines in Markdown. Knows no kind of circuit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: How intervals in a card came about.
INTERVALS = (
    "Intervals are 95 %, by resampling the circuits (bootstrap); where all agree, Wilson's, since a bootstrap is blind "
    "there."
)


def cell(value: Any) -> str:
    """One cell of a table: a share in percent with its interval, a median, deciles, a plain number, or a dash."""
    if value is None:
        return "-"
    if not isinstance(value, Mapping):
        return str(value)
    if "share" in value:
        return f"{100 * value['share']:.1f} % ({100 * value['low']:.1f} to {100 * value['high']:.1f})"
    if "p10" in value:
        return f"{value['p10']:.2f}, {value['median']:.2f}, {value['p90']:.2f}"
    return f"{value['median']:g} ({value['low']:g} to {value['high']:g})"


def aims_table(aims: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line an aim: what was measured, the target, and whether it was reached."""
    words = {True: "reached", False: "**missed**", None: "not measured"}
    rows = []
    for aim in aims:
        interval = "" if aim["low"] is None else f" ({aim['low']:g} to {aim['high']:g})"
        measured = "-" if aim["measured"] is None else f"{aim['measured']:g}{interval}"
        target = "-" if aim["target"] is None else f"{aim['target']:g}"
        rows.append((aim["aim"], measured, target, words[aim["is_reached"]]))
    return table(("aim", "measured", "target", ""), rows)


def seeds_table(measures: Mapping[str, str], part: Mapping[str, Any], seeds: Sequence[int]) -> list[str]:
    """A line a measure (key and label) that was told by seed: its mean for each, and their standard deviation."""
    rows = []
    for key, label in measures.items():
        value = part.get(key)
        if isinstance(value, Mapping) and "by_seed" in value:
            means = [percent({"share": value["by_seed"].get(str(seed))}) for seed in seeds]
            rows.append((label, *means, f"{100 * value['spread']:.2f}"))
    if not rows:
        return ["One seed, so there is none."]
    return table(("measure", *(f"seed {seed}" for seed in seeds), "deviation, points"), rows)


def percent(value: Mapping[str, Any] | None) -> str:
    """A share in percent, without its interval."""
    return "-" if value is None or value["share"] is None else f"{100 * value['share']:.1f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


def sampling(report: Mapping[str, Any]) -> str:
    """How an evaluation drew its samples: ``temperature 0.9, nucleus 0.95``; without the nucleus where all may come."""
    nucleus = "" if report["top_p"] >= 1.0 else f", nucleus {report['top_p']}"
    return f"temperature {report['temperature']}{nucleus}"


def counts(findings: Mapping[str, int]) -> str:
    """Codes with how often each occurs."""
    return ", ".join(f"`{code}` {count}" for code, count in findings.items()) or "none"
