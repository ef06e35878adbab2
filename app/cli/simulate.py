"""`josephson simulate NETLIST --testbench NAME`: metrics of a netlist at one or many sizings, without a service."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Any

import typer

from app.cli import options as o
from app.cli.bench_rows import Output, answer_rows, place_of, units_of, write_figure, write_sizes
from app.cli.door import door_of, write_line
from app.cli.simulation_options import simulate_request

if TYPE_CHECKING:
    from app.workshop import Row

#: Different reasons that are counted for a metric; some carry numbers, so that there may be as many as rows.
_MOST_REASONS = 100


def add_to(app: typer.Typer) -> None:
    """The command is on the command line."""
    app.command("simulate", no_args_is_help=True)(simulate)


@o.with_request(simulate_request)
def simulate(context: typer.Context, request: dict[str, Any], output: Output = None, as_json: o.AsJson = False) -> int:
    """Metrics of a SPICE netlist in ngspice, at one or many sizings. Status 1 where not one of them is ok."""
    return answer_rows(door_of(context).make_simulations, "analog.simulate", request, Summary, output, as_json)


class Summary:
    """What was found, for people: every figure of a single sizing, or of many the range of each metric."""

    def __init__(self, is_single: bool) -> None:
        self._is_single = is_single
        self._row: Row | None = None
        self._statuses: Counter[str] = Counter()
        self._values: dict[str, array[float]] = {}
        self._reasons: dict[str, Counter[str]] = {}

    def take(self, row: Row) -> None:
        """One more row."""
        self._row = row
        self._statuses[row["status"]] += 1
        for name, value in row.get("metrics", {}).items():
            values = self._values.setdefault(name, array("d"))
            if value is not None:
                values.append(value)
        for name, why in row.get("undefined", {}).items():
            reasons = self._reasons.setdefault(name, Counter())
            if why["reason"] in reasons or len(reasons) < _MOST_REASONS:
                reasons[why["reason"]] += 1

    def write(self, heading: Mapping[str, Any]) -> None:
        """The tables are on standard output; `heading` as `workshop.RowMaker.heading` gives it."""
        if self._row is None:
            return
        statuses = ", ".join(f"{count} {status}" for status, count in self._statuses.items())
        write_line(f"{place_of(heading)}: {self._row['status'] if self._is_single else statuses}")
        units = units_of(heading)
        if self._is_single:
            self._write_single(self._row, units)
        else:
            self._write_ranges(units)

    def _write_single(self, row: Row, units: Mapping[str, str]) -> None:
        for sentence in (row.get("message"), (row.get("problem") or {}).get("detail")):
            if sentence:
                write_line(f"  {sentence}")
        undefined = row.get("undefined", {})
        write_line(f"\n{'metric':<28} {'value':>12}  unit")
        for name, value in row.get("metrics", {}).items():
            if value is None:
                write_line(
                    f"{name:<28} {'-':>12}  {units.get(name, ''):<8} {undefined.get(name, {}).get('reason', '')}"
                )
            else:
                write_figure(name, value, units)
        write_sizes(row, units)

    def _write_ranges(self, units: Mapping[str, str]) -> None:
        total = self._statuses.total()
        write_line(f"\n{'metric':<28} {'defined':>9} {'lowest':>12} {'median':>12} {'highest':>12}  unit")
        for name, values in self._values.items():
            if values:
                figures = " ".join(f"{value:>12.5g}" for value in (min(values), median(values), max(values)))
            else:
                figures = f"{'-':>12} {'-':>12} {'-':>12}"
            share = f"{len(values)}/{total}"
            write_line(f"{name:<28} {share:>9} {figures}  {units.get(name, '')}".rstrip())
        if self._reasons:
            write_line("\nundefined, most frequent reason:")
        for name, reasons in self._reasons.items():
            ((reason, count),) = reasons.most_common(1)
            write_line(f"  {name}: {reason} ({count})")
