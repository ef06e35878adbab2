"""Options that say what a circuit is asked for, and the specifications they make. `app.requests` judges the values."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli.options import given
from app.cli.simulation_options import corner_of, number_of, numbers_of
from app.errors import InvalidRequest

Bounds = Annotated[
    list[str],
    typer.Option("--spec", metavar="BOUND", help="What is asked, e.g. 'gain_db>60'; may be said more than once."),
]
Objective = Annotated[
    str | None,
    typer.Option(
        "--objective", metavar="GOAL:METRIC", help="What to improve beyond that: minimize:power_w or maximize:ugf_hz."
    ),
]
CornerSet = Annotated[
    str | None, typer.Option("--corners", help="Where bounds hold: pvt (five corners; when absent) or nominal.")
]
Corners = Annotated[
    list[str] | None,
    typer.Option(
        "--corner", metavar="PROCESS[,VOLTS[,CELSIUS]]",
        help="In place of --corners: one of the corners, e.g. ss,1.62,125; may be said more than once.",
    ),
]  # fmt: skip
Conditions = Annotated[
    list[str] | None,
    typer.Option("--setting", metavar="NAME=VALUE", help="A condition, e.g. load_f=1p; may be said more than once."),
]
Load = Annotated[str | None, typer.Option("--load-f", metavar="FARAD", help="The load; short for --setting load_f=.")]
Supply = Annotated[
    str | None, typer.Option("--supply", metavar="VOLTS", help="Nominal supply; the technology's when absent.")
]
Method = Annotated[
    str | None, typer.Option("--method", help="How sizes are searched: insight-m (when absent), random, ...")
]
Decks = Annotated[
    bool, typer.Option("--deck/--no-deck", help="Rows have the decks of every corner; 'ngspice -b' runs each.")
]

_GOALS = ("minimize", "maximize")


def specification_fields(
    spec: list[str],
    objective: str | None,
    corners: str | None,
    corner: list[str] | None,
    setting: list[str] | None,
    load_f: str | None,
    supply: str | None,
) -> dict[str, Any]:
    """The fields of a request's specification.

    Raises:
        InvalidRequest: an option is not of its form, or contradicts another.
    """
    if corners is not None and corner:
        raise InvalidRequest("--corners and --corner are both given; give one of them")
    conditions = [*(setting or ()), *([] if load_f is None else [f"load_f={load_f}"])]
    return given(
        bounds=spec,
        objective=None if objective is None else _goal(objective),
        corners=[corner_of(each) for each in corner] if corner else corners,
        settings=numbers_of("--setting", conditions) if conditions else None,
        supply_v=None if supply is None else number_of("--supply", supply),
    )


def _goal(text: str) -> dict[str, str]:
    goal, _, metric = text.partition(":")
    if goal not in _GOALS or not metric:
        raise InvalidRequest(f"--objective {text[:80]!r} is not of the form minimize:METRIC or maximize:METRIC")
    return {goal: metric}
