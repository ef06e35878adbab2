"""What became of a sizing, ready for JSON: sizes, metrics and margins by corner, its cost, and what held it back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from app.analog.spice_writer import write_spice
from app.sizes.variables import sized
from app.sizing.problem import Floats, Limit, SizingProblem
from app.sizing.run import SizingResult
from app.sizing.setup import SizingSetup
from app.testbenches._base import Corner
from app.testbenches._simulator import SimulationRow
from app.units import format_quantity

#: What a sizing says whose budget ended before anything was simulated.
_NOTHING = "nothing was simulated before the budget ended; allow more simulations or time"


def result_fields(setup: SizingSetup, result: SizingResult, *, include_decks: bool) -> dict[str, Any]:
    """The fields that rows of sized circuits share.

    Metrics, what has none, and decks are by corner. Each entry of `margins` is a side of a bound: its worst value over
    the corners, and by how much that keeps it, in the metric's own unit and negative where it does not; both are None
    where a corner has no value. `binding` says of a sizing that is not met which limit it misses by most.
    """
    is_met = result.status == "met"
    return {
        "status": "ok" if is_met else "invalid",
        **({} if is_met else {"binding": _binding(setup, result)}),
        **_best(setup, result, include_decks=include_decks),
        "simulations": result.simulations,
        "offline_simulations": result.offline_simulations,
        "met_after": result.met_after,
        "trials": result.trials,
        "wall_s": round(result.wall_s, 3),
        "trace": list(_improvements(result.trace)),
        "model": None if result.model is None else dict(result.model),
    }


def _best(setup: SizingSetup, result: SizingResult, *, include_decks: bool) -> dict[str, Any]:
    """The best sizing and what its last simulations say; nothing where nothing was simulated."""
    if result.trial is None:
        return {"sizes": {}, "netlist": None, "metrics": {}, "undefined": {}, "margins": []}
    bench, vector = setup.verify[0], result.trial.vector
    told = {
        "sizes": bench.space.as_sizing(vector),
        "netlist": write_spice(sized(bench.netlist, bench.space, vector), title=f"sized for {bench.testbench.name}"),
        "metrics": {str(corner): row["metrics"] for corner, row in _by_corner(setup, result)},
        "undefined": {str(corner): row["undefined"] for corner, row in _by_corner(setup, result) if row["undefined"]},
        "margins": [_margin(limit, setup, result) for limit in setup.problem.limits],
    }
    if include_decks:
        pairs = zip(setup.verify, result.rows, strict=True)
        told["decks"] = {str(each.corner): each.decks(vector, row["derived"]) for each, row in pairs}
    return told


def _by_corner(setup: SizingSetup, result: SizingResult) -> Iterator[tuple[Corner, SimulationRow]]:
    return zip(setup.corners, result.rows, strict=True)


def _margin(limit: Limit, setup: SizingSetup, result: SizingResult) -> dict[str, Any]:
    corner, value = _worst(limit, setup, result)
    margin = None if value is None else limit.sign * (value - limit.value)
    return {
        "bound": limit.said,
        "metric": limit.metric,
        "worst": value,
        "corner": str(corner),
        "margin": margin,
        "is_met": margin is not None and margin >= 0,
    }


def _worst(limit: Limit, setup: SizingSetup, result: SizingResult) -> tuple[Corner, float | None]:
    """The corner where the limit's metric has no value, else its worst value."""
    values = [(corner, row["metrics"].get(limit.metric)) for corner, row in _by_corner(setup, result)]
    return min(values, key=lambda each: -np.inf if each[1] is None else limit.sign * each[1])


def _binding(setup: SizingSetup, result: SizingResult) -> str:
    if result.trial is None:
        return _NOTHING
    limit = setup.problem.limits[int(np.argmin(result.margins))]
    corner, value = _worst(limit, setup, result)
    if value is None:
        why = next(row["undefined"] for place, row in _by_corner(setup, result) if place == corner)
        reason = why.get(limit.metric, {}).get("reason", "the simulator gave none")
        return f"{limit.said}: {limit.metric} has no value at {corner}: {reason}"
    unit = setup.problem.benches[0].testbench.metric_of[limit.metric].unit
    short = "short" if limit.sign > 0 else "too much"
    return (
        f"{limit.said}: {limit.metric} is {format_quantity(value, unit)} at {corner}, "
        f"{format_quantity(abs(value - limit.value), unit)} {short}"
    )


def _improvements(trace: Sequence[Mapping[str, float]]) -> Iterator[dict[str, float]]:
    """The entries of a trace at which the best score rose, and the last one."""
    for place, entry in enumerate(trace):
        if place == len(trace) - 1 or place == 0 or entry["best"] > trace[place - 1]["best"]:
            yield dict(entry)


def unmet_limits(problem: SizingProblem, margins: Floats) -> tuple[str, ...]:
    """The limits that margins [L] do not keep, as they are written."""
    return tuple(limit.said for limit, margin in zip(problem.limits, margins.tolist(), strict=True) if margin < 0)
