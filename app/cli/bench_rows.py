"""Rows of sizings on a testbench, simulated or predicted: to a file, as one JSON document, or as tables for people."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from app.cli.door import DONE, FAILED, say, write_document, write_line
from app.units import format_engineering

if TYPE_CHECKING:
    from app.settings import Settings
    from app.workshop import Row, RowMaker

Output = Annotated[
    str | None, typer.Option("--output", "-o", help="Also write a file, one JSON row a line; - is standard output.")
]


class Summary(Protocol):
    """What rows come to, for people."""

    def take(self, row: Row) -> None:
        """One more row."""
        ...

    def write(self, heading: Mapping[str, Any]) -> None:
        """The tables are on standard output; `heading` as `workshop.RowMaker.heading` gives it."""
        ...


def answer_rows(
    make: Callable[[Settings], RowMaker],
    kind: str,
    fields: dict[str, Any],
    summary_of: Callable[[bool], Summary],
    output: str | None,
    as_json: bool,
) -> int:
    """Every row has gone where it was asked for; status 1 where not one of them is ok.

    Args:
        make: Makes what makes the rows.
        kind: A key of `requests.JOB_REQUESTS`.
        fields: Of the request.
        summary_of: Makes a summary of one row (true) or of many.
        output: A file, or - for standard output, or None.
        as_json: One JSON document in place of tables.
    """
    from app.cli import rows
    from app.cli.progress import ProgressBar
    from app.settings import read_settings

    request = rows.read_request(kind, fields)
    summary = summary_of(request.row_count == 1)
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
        tally = rows.generate_rows(make(read_settings()), kind, request, sink(), bar)
    if as_json:
        document = {"rows": kept} if output in (None, "-") else {"output": output}
        write_document({**document, **tally.heading, **tally.as_json()})
    elif output != "-":
        summary.write(tally.heading)
    say(tally.sentence("standard output" if output in (None, "-") else str(output)))
    return DONE if tally.counts["ok"] and not tally.is_interrupted else FAILED


def place_of(heading: Mapping[str, Any]) -> str:
    """Testbench, technology and corner in words."""
    corner = heading["corner"]
    return (
        f"{heading['testbench']} in {heading['technology']} ({corner['process']}, {corner['supply_v']:g} V, "
        f"{corner['celsius']:g} C)"
    )


def units_of(heading: Mapping[str, Any]) -> dict[str, str]:
    """Units of metrics and sizes by name."""
    return {each["name"]: each["unit"] for each in (*heading["metrics"], *heading["sizes"])}


def write_sizes(row: Row, units: Mapping[str, str]) -> None:
    """A table of the row's sizes."""
    write_line(f"\n{'size':<28} {'value':>12}  unit")
    for name, value in row.get("sizes", {}).items():
        write_figure(name, value, units)


def write_figure(name: str, value: float, units: Mapping[str, str]) -> None:
    """A line of a name, a number with a prefix, and its unit."""
    number, unit = format_engineering(value, units.get(name, ""))
    write_line(f"{name:<28} {number:>12}  {unit}".rstrip())
