"""`josephson technology ...`: the technologies that circuits are simulated in, and adding one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options as o
from app.cli.door import DONE, say, write_document, write_line
from app.errors import InvalidRequest

if TYPE_CHECKING:
    from app.registry import Registry
    from app.technologies._base import Technology

_Name = Annotated[str, typer.Argument(help="A technology's name.")]
_Cards = Annotated[
    list[Path],
    typer.Option(
        "--card", help="A file of .model cards or of one-transistor sub-circuits; may be said more than once."
    ),
]
_Corners = Annotated[
    list[str] | None,
    typer.Option("--corner", metavar="NAME=FILE", help="Cards of another process corner; may be said more than once."),
]


def add_to(app: typer.Typer) -> None:
    """The commands are on the command line."""
    group = typer.Typer(help="Technologies: device models, supply and sizes.", no_args_is_help=True)

    @group.callback()
    def technology() -> None:
        """Technologies: device models, supply and sizes."""

    group.command("list")(list_technologies)
    group.command("show")(show_technology)
    group.command("add")(add_technology)
    group.command("remove")(remove_technology)
    app.add_typer(group, name="technology")


def list_technologies(context: typer.Context, as_json: o.AsJson = False) -> int:
    """Every technology that is registered here, added ones too, and whether its cards are on this machine."""
    rows = [
        {"name": name, "summary": entry.summary, "is_available": entry.is_available, "is_added": entry.is_added}
        for name, entry in _technologies().items()
    ]
    if as_json:
        write_document({"technologies": rows})
    else:
        for row in rows:
            write_line(f"{row['name']:<14} {row['summary']}{'' if row['is_available'] else ' (cards not here)'}")
    return DONE


def show_technology(context: typer.Context, name: _Name, as_json: o.AsJson = False) -> int:
    """What is known of one technology: corners, limits, default sizes and bias, licence and source."""
    document = _as_document(_technologies()[name])
    if as_json:
        write_document(document)
    else:
        for key, value in document.items():
            write_line(f"{key:<14} {_shown(value)}")
    return DONE


def add_technology(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it will be called: lower-case letters, digits, underscores.")],
    card: _Cards,
    nmos: Annotated[str, typer.Option("--nmos", help="The n-channel model or sub-circuit in the cards.")],
    pmos: Annotated[str, typer.Option("--pmos", help="The p-channel model or sub-circuit in the cards.")],
    supply: Annotated[float, typer.Option("--supply", help="Supply voltage in volts.")],
    length_min: Annotated[float, typer.Option("--length-min", help="Shortest channel in metres, e.g. 45e-9.")],
    length_max: Annotated[float | None, typer.Option("--length-max", help="Longest channel in metres.")] = None,
    width_min: Annotated[float | None, typer.Option("--width-min", help="Smallest width in metres.")] = None,
    width_max: Annotated[float | None, typer.Option("--width-max", help="Largest width in metres.")] = None,
    corner: _Corners = None,
    celsius: Annotated[float, typer.Option("--celsius", help="Temperature of simulations.")] = 27.0,
    summary: Annotated[str, typer.Option("--summary", help="One line for lists.")] = "",
    licence: Annotated[str, typer.Option("--licence", help="Of the cards.")] = "not stated",
    as_json: o.AsJson = False,
) -> int:
    """Add a technology of your own from its model cards.

    The cards are read by a whitelist, checked in ngspice (monotone, gm/Id of 1 to 40 /V, corners the right way round,
    the same digits twice) and kept in the data folder as our own copy. Bipolar transistors and diodes are borrowed.
    """
    from app.simulators.ngspice import ngspice_pool
    from app.technologies import _added as added

    _technologies()
    new = added.NewTechnology(
        name=name,
        cards=tuple(card),
        nmos=nmos,
        pmos=pmos,
        supply_v=supply,
        length_min_m=length_min,
        length_max_m=length_max,
        width_min_m=width_min,
        width_max_m=width_max,
        celsius=celsius,
        corners=_files_by_corner(corner or ()),
        summary=summary,
        licence=licence,
    )
    say(f"checking {name} in ngspice")
    with ngspice_pool(size=2) as pool:
        entry = added.add_technology(new, pool)
    if as_json:
        write_document(_as_document(entry))
    else:
        write_line(f"{name} is added; corners: {', '.join(entry.processes)}")
    return DONE


def remove_technology(context: typer.Context, name: _Name, as_json: o.AsJson = False) -> int:
    """Remove a technology that was added on this machine; built-in ones stay."""
    from app.technologies import _added as added

    _technologies()
    added.remove_technology(name)
    if as_json:
        write_document({"removed": name})
    else:
        write_line(f"{name} is removed")
    return DONE


def _technologies() -> Registry[Technology]:
    """The registry with the added ones in it; those that cannot be used are named on standard error."""
    from app.technologies._added import load_added
    from app.technologies._base import technologies

    for problem in load_added():
        say(problem)
    return technologies


def _files_by_corner(options: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    found: dict[str, tuple[Path, ...]] = {}
    for option in options:
        name, sign, path = option.partition("=")
        if not sign or not name or not path:
            raise InvalidRequest(f"--corner {option!r} is not of the form NAME=FILE")
        found[name] = (*found.get(name, ()), Path(path))
    return found


def _as_document(entry: Technology) -> dict[str, Any]:
    """What the service says of a technology, and what circuits start from."""
    from app.simulations import describe_technology

    return describe_technology(entry) | {
        "is_added": entry.is_added,
        "sizes": {kind: dict(sizes) for kind, sizes in entry.sizes.items()},
        "turn_on_v": {kind: entry.turn_on_v(kind) for kind in ("nmos", "pmos", "npn", "pnp")},
        "bias_a": entry.bias_a,
        "card_hash": entry.device_models().card_hash if entry.is_available else None,
    }


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_shown(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)
