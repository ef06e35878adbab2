"""`josephson validate analog|quantum FILE`: what the validators say of one circuit. An invalid one is status 1."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options as o
from app.cli.door import DONE, FAILED, Door, door_of, read_text, write_document, write_line
from app.errors import InvalidRequest, UnknownName

if TYPE_CHECKING:
    from app.validators._base import Rung

File = Annotated[str, typer.Argument(help="A file; - is standard input.")]
Type = Annotated[
    str | None, typer.Option("--type", help="Circuit type: try whether some sizing does what it is for, too.")
]
Family = Annotated[
    str | None, typer.Option("--family", help="Family of programs, e.g. ghz: check that it does what that is for, too.")
]
Checks = Annotated[
    str | None,
    typer.Option(
        "--checks",
        help="How far to check: structure, operating_point (when absent), conduction, function (with --type).",
    ),
]


def add_to(app: typer.Typer) -> None:
    """The command is on the command line."""
    group = typer.Typer(
        help="Check one circuit: parse it, apply the rules, run its operating point.", no_args_is_help=True
    )
    group.command("analog")(analog)
    group.command("quantum")(quantum)
    app.add_typer(group, name="validate")


def analog(
    context: typer.Context, file: File, type_: Type = None, checks: Checks = None, as_json: o.AsJson = False
) -> int:
    """A SPICE netlist: electrical rules, operating point in ngspice, conduction at its best bias, function of its type.

    Each is tried only where the one before found no error.
    """
    return _run(door_of(context), "analog", file, type_, checks, as_json)


def quantum(context: typer.Context, file: File, family: Family = None, as_json: o.AsJson = False) -> int:
    """An OpenQASM program: loaded by Qiskit, every angle finite, no qubit idle, and with --family: does its work."""
    return _run(door_of(context), "quantum", file, family, None, as_json)


def _run(door: Door, kind: str, file: str, function_of: str | None, checks: str | None, as_json: bool) -> int:
    from app.requests import MAX_TEXT_LENGTH

    text = read_text(file, MAX_TEXT_LENGTH)
    verdict = asyncio.run(_verdict(door, kind, text, function_of, _rung(checks, function_of)))
    if as_json:
        write_document(verdict)
    else:
        _print(verdict)
    return DONE if verdict["status"] == "ok" else FAILED


def _rung(checks: str | None, function_of: str | None) -> Rung | None:
    """How far to check; InvalidInput where there is no such check, or --type and --checks do not go together."""
    from app.validators._base import RUNGS

    for rung in RUNGS:
        if rung == checks:
            if (rung == "function") != (function_of is not None):
                missing = "--checks function needs the circuit's --type"
                raise InvalidRequest(missing if function_of is None else f"--type asks for more than --checks {rung}")
            return rung
    if checks is not None:
        raise UnknownName("check", checks, RUNGS)
    return None


async def _verdict(door: Door, kind: str, text: str, function_of: str | None, checks: Rung | None) -> Mapping[str, Any]:
    from app.settings import read_settings

    workshop = door.make_workshop(read_settings())
    try:
        return await workshop.validate(kind, text, checks=checks, function_of=function_of)
    finally:
        await workshop.aclose()


def _print(verdict: Mapping[str, Any]) -> None:
    write_line(f"status: {verdict['status']}")
    for finding in verdict["findings"]:
        place = f" {finding['where']}:" if "where" in finding else ""
        hint = f" ({finding['hint']})" if "hint" in finding else ""
        write_line(f"{finding['severity']}:{place} {finding['message']}{hint} [{finding['code']}]")
    for name, fact in verdict["facts"].items():
        write_line(f"{name}: {fact}")
