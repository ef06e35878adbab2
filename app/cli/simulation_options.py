"""Options that say what is simulated or predicted, and the requests they make. `app.requests` judges the values."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.options import Seed, given
from app.errors import InvalidRequest
from app.units import parse_spice_number

NetlistFile = Annotated[str, typer.Argument(metavar="NETLIST", help="A SPICE file; - is standard input.")]
TestbenchName = Annotated[str, typer.Option("--testbench", help="A name of 'josephson testbench list'.")]
TechnologyName = Annotated[
    str | None, typer.Option("--technology", help="A name of 'josephson technology list'; the default one when absent.")
]
Corner = Annotated[
    str | None,
    typer.Option("--corner", metavar="PROCESS[,VOLTS[,CELSIUS]]", help="E.g. ss or ss,1.62,125; nominal when absent."),
]
Sizing = Annotated[
    list[str] | None,
    typer.Option("--sizing", metavar="NAME=VALUE", help="A size, e.g. w_m1=5u; may be said more than once."),
]
Sizings = Annotated[
    str | None,
    typer.Option("--sizings", metavar="FILE", help="One JSON object a line: sizes by name, or a row of a simulation."),
]
DrawCount = Annotated[int | None, typer.Option("--count", "-n", help="Draw so many sizings.")]
Method = Annotated[
    str | None, typer.Option("--method", help="How they are drawn: guided (when absent), log_uniform or start.")
]
Metrics = Annotated[
    list[str] | None, typer.Option("--metric", metavar="NAME", help="Only this metric; may be said more than once.")
]
BenchSettings = Annotated[
    list[str] | None,
    typer.Option("--setting", metavar="NAME=VALUE", help="A condition, e.g. load_f=1p; may be said more than once."),
]
Ports = Annotated[
    list[str] | None,
    typer.Option("--port", metavar="ROLE=NET", help="Which net plays a role; may be said more than once."),
]
Decks = Annotated[bool, typer.Option("--deck", help="Add the decks to each row; 'ngspice -b' runs each as written.")]
KnownMetrics = Annotated[
    list[str] | None,
    typer.Option(
        "--known", metavar="NAME[=VALUE]",
        help="A metric that was simulated already, e.g. gain_db=60; without a value, that of each row of --sizings. "
        "May be said more than once.",
    ),
]  # fmt: skip
Level = Annotated[
    float | None, typer.Option("--level", help="Share of the truths that intervals hold: 0.5, 0.8, 0.9 or 0.95.")
]
Nearest = Annotated[int | None, typer.Option("--nearest", help="Simulated sizings to show beside each, 0 to 10.")]
Physics = Annotated[
    bool, typer.Option("--physics/--no-physics", help="Ask the table simulator first; faster without, less exact.")
]
Adapt = Annotated[
    bool, typer.Option("--adapt/--no-adapt", help="Follow what was simulated of this circuit on this machine.")
]
OperatingPoint = Annotated[
    bool, typer.Option("--operating-point", help="Add current, gm, gds and their like of every MOS to each row.")
]


def simulate_request(
    netlist: NetlistFile,
    testbench: TestbenchName,
    technology: TechnologyName = None,
    corner: Corner = None,
    sizing: Sizing = None,
    sizings: Sizings = None,
    count: DrawCount = None,
    method: Method = None,
    seed: Seed = None,
    metric: Metrics = None,
    setting: BenchSettings = None,
    port: Ports = None,
    deck: Decks = False,
    operating_point: OperatingPoint = False,
) -> dict[str, Any]:
    """The fields of an analog.simulate request."""
    fields = _bench_fields(netlist, testbench, technology, corner, count, method, seed, metric, setting, port)
    rows = _rows_of(sizing, sizings)
    return fields | given(sizings=_sizings(rows), include_deck=deck, include_operating_point=operating_point)


def predict_request(
    netlist: NetlistFile,
    testbench: TestbenchName,
    technology: TechnologyName = None,
    corner: Corner = None,
    sizing: Sizing = None,
    sizings: Sizings = None,
    count: DrawCount = None,
    method: Method = None,
    seed: Seed = None,
    metric: Metrics = None,
    setting: BenchSettings = None,
    port: Ports = None,
    known: KnownMetrics = None,
    level: Level = None,
    nearest: Nearest = None,
    physics: Physics = True,
    adapt: Adapt = True,
) -> dict[str, Any]:
    """The fields of an analog.predict request."""
    fields = _bench_fields(netlist, testbench, technology, corner, count, method, seed, metric, setting, port)
    rows = _rows_of(sizing, sizings)
    found = known_of(known, rows) if known else None
    return fields | given(
        sizings=_sizings(rows), known=found, level=level, nearest=nearest, physics=physics, adapt=adapt
    )


def _bench_fields(
    netlist: str,
    testbench: str,
    technology: str | None,
    corner: str | None,
    count: int | None,
    method: str | None,
    seed: int | None,
    metric: list[str] | None,
    setting: list[str] | None,
    port: list[str] | None,
) -> dict[str, Any]:
    """The fields that both have, but for the sizings."""
    from app.cli.door import read_text
    from app.requests import MAX_TEXT_LENGTH

    is_drawn = count is not None or method is not None
    return given(
        netlist=read_text(netlist, MAX_TEXT_LENGTH),
        testbench=testbench,
        technology=technology,
        corner=None if corner is None else corner_of(corner),
        draw=given(count=1 if count is None else count, method=method) if is_drawn else None,
        seed=seed,
        metrics=metric or None,
        settings=numbers_of("--setting", setting) if setting else None,
        ports=dict(pairs_of("--port", port)) if port else None,
    )


def _rows_of(sizing: list[str] | None, sizings: str | None) -> list[dict[str, Any]] | None:
    """The rows that say which sizings: that of the options or those of the file, None where neither is given."""
    if sizing and sizings:
        raise InvalidRequest("--sizing and --sizings are both given; give one of them")
    if sizing:
        return [numbers_of("--sizing", sizing)]
    return rows_of(sizings) if sizings else None


def _sizings(rows: list[dict[str, Any]] | None) -> list[Any] | None:
    """The sizings of rows; of a row of a simulation its ``sizes``."""
    return None if rows is None else [row.get("sizes", row) for row in rows]


def known_of(options: Sequence[str], rows: Sequence[Mapping[str, Any]] | None) -> dict[str, Any] | list[dict[str, Any]]:
    """What is known of every sizing, or a list of it: NAME=VALUE is the same for all, a NAME is each row's own.

    Raises:
        InvalidRequest: a value is no number, or a row has no metric of the name.
    """
    common = numbers_of("--known", [option for option in options if "=" in option])
    names = [option for option in options if "=" not in option]
    if not names:
        return common
    if rows is None:
        raise InvalidRequest(f"--known {names[0][:80]!r} has no value; write NAME=VALUE, or give rows with --sizings")
    return [common | _simulated(row, names, number) for number, row in enumerate(rows, start=1)]


def _simulated(row: Mapping[str, Any], names: Sequence[str], number: int) -> dict[str, Any]:
    """The row's own metrics of these names, those left out that its simulator failed to find."""
    metrics, undefined = row.get("metrics"), row.get("undefined")
    found = {}
    for name in names:
        if not isinstance(metrics, dict) or name not in metrics:
            raise InvalidRequest(
                f"--known {name[:80]!r}: sizing {number} of --sizings has no such metric; give rows of a simulation"
            )
        why = undefined.get(name) if isinstance(undefined, dict) else None
        if metrics[name] is not None or (isinstance(why, dict) and why.get("cause") == "circuit"):
            found[name] = metrics[name]
    return found


def corner_of(text: str) -> dict[str, str | float]:
    """``ss,1.62,125`` as process, supply and temperature; what is left out or empty is nominal.

    Raises:
        InvalidRequest: it has more parts, or one is no number.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 3:
        raise InvalidRequest(f"--corner {text[:80]!r} has more than process, volts and degrees Celsius")
    process, supply, celsius = (*parts, "", "")[:3]
    return given(
        process=process or None,
        supply_v=number_of("--corner", supply) if supply else None,
        celsius=number_of("--corner", celsius) if celsius else None,
    )


def rows_of(file: str, option: str = "--sizings") -> list[dict[str, Any]]:
    """The sizings of a file, one JSON object a line, or rows of a simulation; `option` is what named it.

    Raises:
        InvalidRequest: the file cannot be read, has too many lines, or one is no JSON object.
    """
    from app.requests import MAX_JOB_COUNT

    name = "standard input" if file == "-" else file
    found: list[dict[str, Any]] = []
    try:
        with nullcontext(sys.stdin) if file == "-" else Path(file).open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    found.append(_row_of(line, f"{option}: {name}, line {number}"))
                if len(found) > MAX_JOB_COUNT:
                    raise InvalidRequest(f"{option}: {name} has more than {MAX_JOB_COUNT} sizings; split it")
    except OSError as error:
        raise InvalidRequest(f"{option}: {name} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{option}: {name} is not UTF-8 text; convert it first") from error
    if not found:
        raise InvalidRequest(f"{option}: {name} has no sizing; write one JSON object a line")
    return found


def _row_of(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f'{place} is not JSON; a sizing is an object such as {{"w_m1": 5e-6}}') from error
    if not isinstance(row, dict):
        raise InvalidRequest(f'{place} is no JSON object; a sizing is one such as {{"w_m1": 5e-6}}')
    return row


def pairs_of(option: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names and values of texts ``NAME=VALUE``; InvalidRequest for another text, or a name that comes twice."""
    seen = set()
    for text in texts:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise InvalidRequest(f"{option} {text[:80]!r} is not of the form NAME=VALUE")
        if name in seen:
            raise InvalidRequest(f"{option} names {name[:80]!r} twice")
        seen.add(name)
        yield name, value


def numbers_of(option: str, texts: Sequence[str]) -> dict[str, float]:
    """Numbers by name of texts ``NAME=VALUE``; InvalidRequest as `pairs_of`, or for a value that is no number."""
    return {name: number_of(option, value) for name, value in pairs_of(option, texts)}


def number_of(option: str, text: str) -> float:
    """The SPICE number of an option; InvalidRequest for a text that is none."""
    try:
        return parse_spice_number(text)
    except ValueError as error:
        raise InvalidRequest(f"{option}: {error}") from error
