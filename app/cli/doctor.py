"""`josephson doctor`: is this machine ready, and what to do where it is not."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli import options as o
from app.cli.door import DONE, FAILED, say, write_document, write_line


def add_to(app: typer.Typer) -> None:
    """The command is on the command line."""
    app.command("doctor")(doctor)


def doctor(
    context: typer.Context,
    fetch_ngspice: Annotated[
        bool,
        typer.Option(
            "--fetch-ngspice",
            help="First get libngspice where it is missing: by apt-get as root, else into the data folder.",
        ),
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only this check; may be said more than once.")
    ] = None,
    as_json: o.AsJson = False,
) -> int:
    """Check that everything this machine needs is there; says what to do where it is not."""
    from app.cli.checkup import CHECKS, fetch_missing_ngspice, run_checks

    if fetch_ngspice:
        say(fetch_missing_ngspice())
    checks = run_checks(only or CHECKS)
    is_ready = all(check.status != "failed" for check in checks)
    if as_json:
        write_document({"ready": is_ready, "checks": [check.as_json() for check in checks]})
    else:
        for check in checks:
            hint = f"\n{'':19}{check.hint}" if check.hint else ""
            write_line(f"{check.status:<8} {check.name:<9} {check.detail}{hint}")
    return DONE if is_ready else FAILED
