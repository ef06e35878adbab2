"""`josephson generate analog|quantum`: circuits by the models of this machine, without a service."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import typer

from app.cli import options as o
from app.cli.door import DONE, FAILED, Door, door_of, say, write_document


def add_to(app: typer.Typer) -> None:
    """The command is on the command line."""
    group = typer.Typer(help="Generate circuits here, without a service: one JSON row a line.", no_args_is_help=True)
    group.command("analog")(analog)
    group.command("quantum")(quantum)
    app.add_typer(group, name="generate")


@o.with_request(o.analog_request)
def analog(
    context: typer.Context,
    request: dict[str, Any],
    device: o.Device = None,
    output: o.Output = "-",
    as_json: o.AsJson = False,
) -> int:
    """Analog topologies of a type, as SPICE netlists checked in ngspice."""
    return _run(door_of(context), "analog.generate", request, device, output, as_json)


@o.with_request(o.quantum_request)
def quantum(
    context: typer.Context,
    request: dict[str, Any],
    device: o.Device = None,
    output: o.Output = "-",
    as_json: o.AsJson = False,
) -> int:
    """OpenQASM programs of a family, checked in Qiskit."""
    return _run(door_of(context), "quantum.generate", request, device, output, as_json)


def _run(door: Door, kind: str, fields: dict[str, Any], device: str | None, output: str, as_json: bool) -> int:
    from app.cli import rows
    from app.cli.progress import ProgressBar
    from app.settings import read_settings

    request = rows.read_request(kind, fields)
    settings = read_settings(**o.given(device=device))
    kept: list[Any] = []
    to_document = as_json and output == "-"
    sink = contextlib.nullcontext(kept.append) if to_document else rows.lines_to(output)
    # A bar and rows on one terminal would write over each other.
    is_shown = False if output == "-" and sys.stdout.isatty() else None
    with ProgressBar(request.noun, request.row_count, is_shown=is_shown) as bar:
        tally = rows.generate_rows(door.make_workshop(settings), kind, request, sink, bar)
    if as_json:
        write_document({**({"circuits": kept} if to_document else {"output": output}), **tally.as_json()})
    say(tally.sentence("standard output" if output == "-" else output))
    return FAILED if tally.has_failed else DONE
