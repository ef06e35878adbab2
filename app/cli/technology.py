"""`josephson technology ...`: the technologies that circuits are simulated in."""

from __future__ import annotations

import typer

from app.cli import options as o
from app.cli.door import DONE, write_document, write_line


def add_to(app: typer.Typer) -> None:
    """The commands are on the command line."""
    group = typer.Typer(help="Technologies: device models, supply and sizes.", no_args_is_help=True)

    @group.callback()
    def technology() -> None:
        """Technologies: device models, supply and sizes."""

    group.command("list")(list_technologies)
    app.add_typer(group, name="technology")


def list_technologies(context: typer.Context, as_json: o.AsJson = False) -> int:
    """Every technology that is registered here."""
    from app.technologies._base import technologies

    rows = [{"name": name, "summary": entry.summary} for name, entry in technologies.items()]
    if as_json:
        write_document({"technologies": rows})
    else:
        for row in rows:
            write_line(f"{row['name']:<14} {row['summary']}")
    return DONE
