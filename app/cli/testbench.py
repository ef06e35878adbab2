"""`josephson testbench ...`: what circuits can be measured for, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from app.cli import options as o
from app.cli.door import DONE, write_document, write_line


def add_to(app: typer.Typer) -> None:
    """The commands are on the command line."""
    group = typer.Typer(help="Testbenches: how circuits are driven and measured.", no_args_is_help=True)
    group.command("list")(list_testbenches)
    group.command("show")(show)
    app.add_typer(group, name="testbench")


def list_testbenches(context: typer.Context, as_json: o.AsJson = False) -> int:
    """Every testbench, with the circuit types it is for."""
    from app.simulations import describe_testbench
    from app.testbenches._base import testbenches

    if as_json:
        write_document({"testbenches": [describe_testbench(entry) for entry in testbenches.values()]})
        return DONE
    for name, entry in testbenches.items():
        write_line(f"{name:<24} {', '.join(entry.types):<32} {entry.summary}")
    return DONE


def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A testbench's name.")],
    as_json: o.AsJson = False,
) -> int:
    """One testbench: ports, settings, and its metrics with unit and definition, cheap to costly."""
    from app.simulations import describe_testbench
    from app.testbenches._base import testbenches

    about = describe_testbench(testbenches[name])
    if as_json:
        write_document(about)
    else:
        _print(about)
    return DONE


def _print(about: Mapping[str, Any]) -> None:
    write_line(f"{about['name']} (version {about['version']}): {about['summary']}")
    write_line(f"for circuits of type {', '.join(about['types'])}")
    write_line("\nroles of ports")
    for role in about["roles"]:
        need = "" if role["is_required"] else ", may be absent"
        write_line(f"  {role['name']:<20} {role['summary']} ({' or '.join(role['ports'])}{need})")
    if about["settings"]:
        write_line("\nsettings")
    for setting in about["settings"]:
        times = " x supply" if setting["of_supply"] else ""
        low, high = setting["low"], setting["high"]
        write_line(
            f"  {setting['name']:<20} {setting['summary']}: {setting['default']:g}{times} {setting['unit']} "
            f"({low:g} to {high:g}{times})"
        )
    write_line("\nmetrics")
    for metric in about["metrics"]:
        write_line(f"  {metric['name']:<28} {metric['unit']:<8} {metric['definition']}")
        write_line(f"  {'':<28} {'':<8} undefined where {metric['undefined']}")
