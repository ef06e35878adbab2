"""`josephson design --type TYPE --spec BOUND`: from a specification to verified circuits, without a service."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options as o
from app.cli import specification_options as s
from app.cli.bench_rows import Output
from app.cli.door import DONE, FAILED, door_of, say, write_document, write_line
from app.cli.simulation_options import TechnologyName
from app.units import format_quantity

if TYPE_CHECKING:
    from app.workshop import Row

KIND = "analog.design"

CircuitType = Annotated[str, typer.Option("--type", help="Type of circuit, e.g. opamp.")]
TestbenchName = Annotated[
    str | None, typer.Option("--testbench", help="A testbench of the type; when absent, the one that fits.")
]
Sources = Annotated[
    str | None, typer.Option("--sources", help="Where candidates come from: both (when absent), archetypes, generated.")
]
Candidates = Annotated[int | None, typer.Option("--candidates", "-n", help="Topologies to look at; 48 when absent.")]
Enough = Annotated[int | None, typer.Option("--enough", help="Stop when so many pass; 3 when absent.")]
Simulations = Annotated[int | None, typer.Option("--simulations", help="Most simulations; 1000 when absent.")]
Minutes = Annotated[float | None, typer.Option("--minutes", help="Most minutes; 10 when absent.")]
Generator = Annotated[str | None, typer.Option("--model", help="The generator's name; the default one when absent.")]
Seed = Annotated[
    int | None, typer.Option("--seed", help="The same seed proposes the same circuits; drawn when absent.")
]

#: Metrics that are shown beside the margins, where the testbench has them.
_COSTS = ("power_w", "area_m2")


def add_to(app: typer.Typer) -> None:
    """The command is on the command line."""
    app.command("design", no_args_is_help=True)(design)


def design_request(
    type_: CircuitType,
    spec: s.Bounds,
    testbench: TestbenchName = None,
    technology: TechnologyName = None,
    objective: s.Objective = None,
    corners: s.CornerSet = None,
    corner: s.Corners = None,
    setting: s.Conditions = None,
    load_f: s.Load = None,
    supply: s.Supply = None,
    sources: Sources = None,
    candidates: Candidates = None,
    max_devices: o.MaxDevices = None,
    enough: Enough = None,
    method: s.Method = None,
    simulations: Simulations = None,
    minutes: Minutes = None,
    model: Generator = None,
    temperature: o.Temperature = 0.9,
    seed: Seed = None,
    deck: s.Decks = True,
) -> dict[str, Any]:
    """The fields of an analog.design request."""
    return o.given(
        type=type_,
        testbench=testbench,
        technology=technology,
        specification=s.specification_fields(spec, objective, corners, corner, setting, load_f, supply),
        sources=sources,
        candidates=candidates,
        max_devices=max_devices,
        enough=enough,
        method=method,
        budget=o.given(simulations=simulations, minutes=minutes),
        model=model,
        temperature=temperature,
        seed=seed,
        include_decks=deck,
    )


@o.with_request(design_request)
def design(context: typer.Context, request: dict[str, Any], output: Output = None, as_json: o.AsJson = False) -> int:
    """Circuits of a type that meet a specification, sized and verified in ngspice. Status 1 where none does."""
    from app.cli import rows
    from app.cli.progress import ProgressBar
    from app.design.report import design_document
    from app.settings import read_settings

    asked = rows.read_request(KIND, request)
    kept: list[Row] = []

    @contextlib.contextmanager
    def sink() -> Iterator[Callable[[Row], None]]:
        is_for_file = output is not None and not (as_json and output == "-")
        with rows.lines_to(output or "-") if is_for_file else contextlib.nullcontext() as write:

            def take(row: Row) -> None:
                kept.append(row)
                if write is not None:
                    write(row)

            yield take

    is_shown = False if output == "-" else None
    with ProgressBar(asked.noun, asked.row_count, is_shown=is_shown, tells_time=False) as bar:
        tally = rows.generate_rows(door_of(context).make_workshop(read_settings()), KIND, asked, sink(), bar)
    document = design_document(kept, objective_of(tally.heading))
    if as_json:
        write_document({**document, **tally.heading, **tally.as_json()})
    elif output != "-":
        _write(document, tally.heading)
    say(tally.sentence("standard output" if output in (None, "-") else str(output)))
    return DONE if document["results"] and not tally.is_interrupted else FAILED


def objective_of(heading: Mapping[str, Any]) -> Any:
    """The objective of a heading's specification, None where it has none."""
    from app.specification_words import Objective

    told = heading.get("specification", {}).get("objective") or {}
    return next((Objective(metric, goal) for goal, metric in told.items()), None)


def _write(document: Mapping[str, Any], heading: Mapping[str, Any]) -> None:
    """The funnel, the circuits that pass, and why the others do not, for people."""
    funnel, cost, results = document["funnel"], document["cost"], document["results"]
    write_line(f"{heading['type']} on {heading['testbench']} in {heading['technology']}, {heading['method']}")
    write_line(" > ".join(f"{count} {name}" for name, count in funnel.items()))
    write_line(
        f"{cost['simulations']} simulations, {cost['offline_simulations']} offline, {cost['operating_points']} "
        f"operating points in {cost['wall_s']:.1f} s"
    )
    units = {metric["name"]: metric["unit"] for metric in heading["metrics"]}
    if results:
        _write_results(results, units)
        write_line(f"\n{results[0]['netlist'].rstrip()}")
    else:
        _write_nearest(document["fell_out"])
    _write_fallen(document["fell_out"])


def _write_results(results: Sequence[Row], units: Mapping[str, str]) -> None:
    """A line a circuit: its rank, what it cost to find, and its worst values over the corners."""
    bounds = [limit["bound"] for limit in results[0]["margins"]]
    costs = [name for name in _COSTS if name in units]
    titles = [*bounds, *costs]
    widths = [max(12, len(title)) for title in titles]
    cells = " ".join(f"{title:>{width}}" for title, width in zip(titles, widths, strict=True))
    write_line(f"\n{'rank':>4} {'candidate':<44} {'simulations':>11} {cells}")
    for row in results:
        worst = [format_quantity(limit["worst"], units.get(limit["metric"], "")) for limit in row["margins"]]
        worst += [format_quantity(_worst_cost(row, name), units[name]) for name in costs]
        cells = " ".join(f"{cell:>{width}}" for cell, width in zip(worst, widths, strict=True))
        write_line(f"{row['pareto_rank']:>4} {_name_of(row):<44} {row['simulations']:>11} {cells}")


def _write_nearest(fallen: Sequence[Row]) -> None:
    """What the candidate that came nearest to the specification misses."""
    write_line("\nno candidate meets the specification")
    sized = [row for row in fallen if "least_margin" in row]
    if sized:
        best = max(sized, key=lambda row: float(row["least_margin"]))
        write_line(f"the nearest is {_name_of(best)}, which misses {best['binding']}")


def _write_fallen(fallen: Sequence[Row]) -> None:
    """How many candidates fell out where, and the reason of the first of each kind."""
    from app.design.report import why_candidates_fell_out

    for stage, count in why_candidates_fell_out(fallen).items():
        first = next(row for row in fallen if (row.get("stage") or row["status"]) == stage)
        why = first.get("why") or first.get("problem", {}).get("detail", "")
        write_line(f"{count:>4} {stage.replace('_', ' ')}, such as {_name_of(first)}: {why}")


def _name_of(row: Row) -> str:
    if row.get("name"):
        return f"{row['index']} {row['name']}"
    nearest = row.get("nearest")
    near = f", {nearest['similarity']:.0%} {nearest['name']}" if nearest else ""
    return f"{row['index']} generated{near}"


def _worst_cost(row: Row, name: str) -> float | None:
    values = [metrics.get(name) for metrics in row["metrics"].values()]
    return max((value for value in values if value is not None), default=None)
