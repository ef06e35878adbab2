"""The comparison of sizing methods as a page of the documentation, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.benchmarks.sizing_report import QUICK, WITHIN
from app.evaluation.tables import cell, table
from app.sizing._base import sizing_methods


def sizing_page(report: Mapping[str, Any], command: str) -> str:
    """The page of a report of `sizing_report`, which the command made."""
    methods = list(report["methods"])
    cases = report["cases"]
    circuits = {case["name"].rpartition("/")[0] for case in cases}
    parts = [
        "# Sizing methods compared",
        f"Made by `{command}`. {len(cases)} specifications, circuits: {len(circuits)}, seeds: {report['seeds']}, "
        f"{report['simulations']} real simulations at most for each run; {_done(report)}",
        "All methods get the same circuits, specifications, ranges and starting point, and are told the same of each "
        "simulation. Every specification was made from a sizing that meets it (`data/sizing`), and a test simulates "
        "these again. Simulations are all that a run spent: those at corners, and at every corner once more to verify "
        "the result. A method with an offline model begins with one that has seen no simulation of the run's circuit "
        "but what it was trained on (`models/simulator/card.md` says on what, and at what cost), and its offline "
        f"simulations are what the method asked of it.{_model(report)}",
        "\n".join(_method_lines(methods)),
        "## All specifications",
        "\n".join(_figures_table(report["methods"])),
        "Intervals are 95 %, by resampling specifications with all of their seeds. Simulations to success are counted "
        "over all runs, so that runs without success lie beyond the budget (-). CPU seconds are medians of a run: of "
        "this process for the method and its offline model, of the workers for ngspice.",
        *_beside(report),
    ]
    for name, groups in report["groups"].items():
        parts += [f"## By {name}", "\n".join(_group_table(name, groups, methods))]
    parts += [
        "## Every specification",
        "Success in percent and the median number of simulations to it. Beside each specification stands how many of "
        "the sizings that it was made from, draws of the method `random` under another seed, meet it.",
        "\n".join(_case_table(cases, methods)),
    ]
    return "\n\n".join(parts) + "\n"


def _done(report: Mapping[str, Any]) -> str:
    if not report["missing"]:
        return "all runs are done."
    return f"{report['pairs']} runs of each method are done, {report['missing']} are not."


def _model(report: Mapping[str, Any]) -> str:
    return "" if report["weights"] is None else f" Its checksum is `{report['weights']}`."


def _method_lines(methods: Sequence[str]) -> list[str]:
    return [f"- `{name}`: {sizing_methods[name].summary}" for name in methods]


def _figures_table(methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    head = (
        "method", "success", *(f"with fewer than {below}" for below in WITHIN),
        "simulations to success: 25 %, median, 75 %, 90 % of runs", "offline simulations", "CPU s, method and model",
        "CPU s, ngspice",
    )  # fmt: skip
    rows = [
        (
            f"`{name}`", cell(own["success"]), *(cell(own["within"][str(below)]) for below in WITHIN),
            _quartiles(own["simulations"]), f"{own['offline_simulations']:,.0f}", f"{own['model_cpu_s']:.1f}",
            f"{own['simulator_cpu_s']:.2f}",
        )
        for name, own in methods.items()
        if own["runs"]
    ]  # fmt: skip
    return table(head, rows)


def _quartiles(simulations: Mapping[str, float | None]) -> str:
    found = [_number(simulations[name]) for name in ("q1", "median", "q3", "p90")]
    interval = f"{_number(simulations['low'])} to {_number(simulations['high'])}"
    return f"{found[0]}, {found[1]} ({interval}), {found[2]}, {found[3]}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _beside(report: Mapping[str, Any]) -> list[str]:
    """Sentences on the best method beside each of the others."""
    if not report["beside"]:
        return []
    best, lines = report["best"], []
    for method, told in report["beside"].items():
        few, all_ = (_points(told[name]) for name in ("quick", "success"))
        line = f"- beside `{method}`: {few} points with fewer than {QUICK} simulations, {all_} points in the end"
        if told["as_often_after"] is not None:
            line += (
                f"; as often as `{method}` after {told['they_after']:g} simulations it succeeds after "
                f"{told['as_often_after']:g}"
            )
        lines.append(line)
    return [f"`{best}` has most quick successes. How much more often it succeeds:", "\n".join(lines)]


def _points(difference: Mapping[str, float]) -> str:
    share, low, high = (100 * difference[name] for name in ("difference", "low", "high"))
    return f"{share:+.1f} ({low:+.1f} to {high:+.1f})"


def _group_table(name: str, groups: Mapping[str, Any], methods: Sequence[str]) -> list[str]:
    """Success, quick success and the median of every part and method."""
    rows = []
    for value, figures in groups.items():
        cells = []
        for method in methods:
            own = figures[method]
            cells.append(
                f"{_percent(own['success'])} / {_percent(own['within'][str(QUICK)])} / "
                f"{_number(own['simulations']['median'])}"
                if own["runs"]
                else "-"
            )
        rows.append((value, *cells))
    return [
        f"Success in percent / with fewer than {QUICK} simulations / median number of simulations.",
        "",
        *table((name, *(f"`{method}`" for method in methods)), rows),
    ]


def _percent(share: Mapping[str, float]) -> str:
    return f"{100 * share['share']:.0f}"


def _case_table(cases: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> list[str]:
    rows = []
    for case in cases:
        cells = [
            f"{100 * told['success']:.0f} / {_number(told['median'])}" if (told := case["methods"].get(method)) else "-"
            for method in methods
        ]
        asked = ", ".join(f"`{bound}`" for bound in case["bounds"])
        where = "" if case["corners"] == "nominal" else f" ({case['corners']})"
        rows.append((f"{case['name']}{where}", asked, f"{100 * case['random_share']:.2f} %", *cells))
    return table(("specification", "bounds", "draws", *(f"`{method}`" for method in methods)), rows)
