"""`josephson size NETLIST --testbench NAME --spec BOUND`: sizes that meet a specification, without a service."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options as o
from app.cli import specification_options as s
from app.cli.bench_rows import Output, answer_rows, units_of, write_sizes
from app.cli.door import door_of, read_text, write_line
from app.cli.simulation_options import NetlistFile, Ports, TechnologyName, pairs_of
from app.units import format_quantity

if TYPE_CHECKING:
    from app.workshop import Row

TestbenchName = Annotated[str | None, typer.Option("--testbench", help="A name of 'josephson testbench list'.")]
CircuitType = Annotated[
    str | None, typer.Option("--type", help="In place of --testbench: the circuit's type, e.g. opamp.")
]
Simulations = Annotated[int | None, typer.Option("--simulations", help="Most simulations of a run; 200 when absent.")]
Minutes = Annotated[float | None, typer.Option("--minutes", help="Most minutes of a run; 10 when absent.")]
Runs = Annotated[int | None, typer.Option("--runs", help="Independent runs, a row each; 1 when absent.")]
Seed = Annotated[int | None, typer.Option("--seed", help="The same seed gives the same sizings; drawn when absent.")]
Adapt = Annotated[
    bool, typer.Option("--adapt", help="Begin with what was simulated of this circuit before, on this machine.")
]


def add_to(app: typer.Typer) -> None:
    """The command is on the command line."""
    app.command("size", no_args_is_help=True)(size)


def size_request(
    netlist: NetlistFile,
    spec: s.Bounds,
    testbench: TestbenchName = None,
    type_: CircuitType = None,
    technology: TechnologyName = None,
    objective: s.Objective = None,
    corners: s.CornerSet = None,
    corner: s.Corners = None,
    setting: s.Conditions = None,
    load_f: s.Load = None,
    supply: s.Supply = None,
    port: Ports = None,
    method: s.Method = None,
    simulations: Simulations = None,
    minutes: Minutes = None,
    runs: Runs = None,
    seed: Seed = None,
    adapt: Adapt = False,
    deck: s.Decks = True,
) -> dict[str, Any]:
    """The fields of an analog.size request."""
    from app.requests import MAX_TEXT_LENGTH

    return o.given(
        netlist=read_text(netlist, MAX_TEXT_LENGTH),
        testbench=testbench,
        type=type_,
        technology=technology,
        specification=s.specification_fields(spec, objective, corners, corner, setting, load_f, supply),
        ports=dict(pairs_of("--port", port)) if port else None,
        method=method,
        budget=o.given(simulations=simulations, minutes=minutes),
        runs=runs,
        seed=seed,
        adapt=adapt,
        include_decks=deck,
    )


@o.with_request(size_request)
def size(context: typer.Context, request: dict[str, Any], output: Output = None, as_json: o.AsJson = False) -> int:
    """Sizes of a SPICE netlist that meet a specification, verified in ngspice. Status 1 where none were found."""
    return answer_rows(door_of(context).make_sizings, "analog.size", request, Summary, output, as_json)


class Summary:
    """What was found, for people: margins by corner and sizes of the best run, and of many runs how many met it all."""

    def __init__(self, is_single: bool) -> None:
        self._is_single = is_single
        self._best: Row | None = None
        self._count = 0
        self._met_after: list[int] = []

    def take(self, row: Row) -> None:
        """One more row."""
        self._count += 1
        if row["status"] == "ok":
            self._met_after.append(row["met_after"])
        if self._best is None or _rank(row) < _rank(self._best):
            self._best = row

    def write(self, heading: Mapping[str, Any]) -> None:
        """The tables are on standard output; `heading` as `workshop.RowMaker.heading` gives it."""
        if self._best is None:
            return
        place = f"{heading['testbench']} in {heading['technology']}, {heading['method']}"
        if not self._is_single:
            share = f"{len(self._met_after)} of {self._count} runs meet the specification"
            after = f", after {median(self._met_after):g} simulations in the median" if self._met_after else ""
            write_line(f"{place}: {share}{after}; run {self._best['index']}:")
        write_line(_sentence(self._best) if not self._is_single else f"{place}: {_sentence(self._best)}")
        if self._best["status"] == "error":
            return
        units = units_of(heading)
        _write_margins(self._best, units)
        write_sizes(self._best, units)


def _rank(row: Row) -> tuple[int, float]:
    """Smaller for what is nearer to the specification, and for what was there sooner."""
    if row["status"] == "ok":
        return 0, float(row["met_after"])
    trace = row.get("trace") or [{"best": float("-inf")}]
    return (1, -trace[-1]["best"]) if row["status"] == "invalid" else (2, 0.0)


def _sentence(row: Row) -> str:
    if row["status"] == "error":
        return f"error: {row['problem']['detail']}"
    cost = f"{row['simulations']} simulations and {row['offline_simulations']} offline in {row['wall_s']:.1f} s"
    if row["status"] == "ok":
        return f"met after {row['met_after']} simulations ({cost})"
    return f"not met ({cost})\n  {row['binding']}"


def _write_margins(row: Row, units: Mapping[str, str]) -> None:
    """A line for each side of a bound: its metric at every corner, and what is left to the bound at the worst."""
    corners = list(row["metrics"])
    width = max([12, *map(len, corners)])
    write_line(f"\n{'bound':<28} " + " ".join(f"{corner:>{width}}" for corner in corners) + "    least margin")
    for limit in row["margins"]:
        unit = units.get(limit["metric"], "")
        values = (row["metrics"][corner][limit["metric"]] for corner in corners)
        cells = " ".join(f"{format_quantity(value, unit):>{width}}" for value in values)
        missed = "" if limit["is_met"] else "  missed"
        write_line(f"{limit['bound']:<28} {cells}  {format_quantity(limit['margin'], unit):>14}{missed}")
