"""`josephson simulate NETLIST --testbench NAME`: metrics of a netlist at one or many sizings, without a service."""

from __future__ import annotations

import contextlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options as o
from app.cli.door import DONE, FAILED, Door, door_of, say, write_document, write_line
from app.cli.simulation_options import simulate_request
from app.units import format_engineering

if TYPE_CHECKING:
    from app.workshop import Row

Output = Annotated[
    str | None, typer.Option("--output", "-o", help="Also write a file, one JSON row a line; - is standard output.")
]

#: Different reasons that are counted for a metric; some carry numbers, so that there may be as many as rows.
_MOST_REASONS = 100


def add_to(app: typer.Typer) -> None:
    """The command is on the command line."""
    app.command("simulate", no_args_is_help=True)(simulate)


@o.with_request(simulate_request)
def simulate(context: typer.Context, request: dict[str, Any], output: Output = None, as_json: o.AsJson = False) -> int:
    """Metrics of a SPICE netlist in ngspice, at one or many sizings. Status 1 where not one of them is ok."""
    return _run(door_of(context), request, output, as_json)


def _run(door: Door, fields: dict[str, Any], output: str | None, as_json: bool) -> int:
    from app.cli import rows
    from app.cli.progress import ProgressBar
    from app.settings import read_settings

    request = rows.read_request("analog.simulate", fields)
    summary = Summary(is_single=request.row_count == 1)
    kept: list[Row] = []
    takers: list[Callable[[Row], None]] = [summary.take]
    if as_json and output in (None, "-"):
        takers.append(kept.append)

    @contextlib.contextmanager
    def sink() -> Iterator[Callable[[Row], None]]:
        to_file = rows.lines_to(output) if output is not None and not (as_json and output == "-") else None
        with to_file or contextlib.nullcontext() as write:
            everyone = takers if write is None else [*takers, write]

            def take(row: Row) -> None:
                for each in everyone:
                    each(row)

            yield take

    with ProgressBar(request.noun, request.row_count, is_shown=False if output == "-" else None) as bar:
        maker = door.make_simulations(read_settings())
        tally = rows.generate_rows(maker, "analog.simulate", request, sink(), bar)
    if as_json:
        document = {"rows": kept} if output in (None, "-") else {"output": output}
        write_document({**document, **tally.heading, **tally.as_json()})
    elif output != "-":
        summary.write(tally.heading)
    say(tally.sentence("standard output" if output in (None, "-") else str(output)))
    return DONE if tally.counts["ok"] and not tally.is_interrupted else FAILED


class Summary:
    """What was found, for people: every figure of a single sizing, or of many the range of each metric."""

    def __init__(self, *, is_single: bool) -> None:
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
        corner = heading["corner"]
        statuses = ", ".join(f"{count} {status}" for status, count in self._statuses.items())
        write_line(
            f"{heading['testbench']} in {heading['technology']} ({corner['process']}, {corner['supply_v']:g} V, "
            f"{corner['celsius']:g} C): {self._row['status'] if self._is_single else statuses}"
        )
        units = {each["name"]: each["unit"] for each in (*heading["metrics"], *heading["sizes"])}
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
                _write_figure(name, value, units)
        write_line(f"\n{'size':<28} {'value':>12}  unit")
        for name, value in row.get("sizes", {}).items():
            _write_figure(name, value, units)

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


def _write_figure(name: str, value: float, units: Mapping[str, str]) -> None:
    number, unit = format_engineering(value, units.get(name, ""))
    write_line(f"{name:<28} {number:>12}  {unit}".rstrip())
