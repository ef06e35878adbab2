"""The commands of a testbench's runs as values: which analyses are solved, over which frequencies or levels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidRequest
from app.table_simulator.expressions import Number, parse_expression
from app.testbenches._base import Run
from app.testbenches._kick import KICKED
from app.units import parse_spice_number

Array = NDArray[np.float64]

#: Steps that a frequency sweep over many decades has at most: metrics interpolate over the logarithm of the frequency.
#: A command that asks for more points a decade than these looks for resonances, and has what it asks for.
MOST_STEPS, SMOOTH_DENSITY = 100, 20

_ALTER = re.compile(r"alter (\w+) (acmag|dc)\s*=\s*(\S+)", re.IGNORECASE)


def is_solved(run: Run) -> bool:
    """True for operating points, small signals, noise, sweeps of a source, and the transient that finds a start."""
    swept = run.command.split()[1:2]
    return run.analysis in ("op", "ac", "noise") or (run.analysis == "dc" and swept != ["temp"]) or run.name == KICKED


def handed_on(runs: Sequence[Run], needed: set[str]) -> tuple[Run, ...]:
    """The runs that are needed and solved; one that is left out hands its ``alter`` commands on."""
    kept: list[Run] = []
    before: tuple[str, ...] = ()
    for run in runs:
        before = (*before, *run.before)
        if run.name in needed and is_solved(run):
            kept.append(Run(run.name, run.analysis, run.command, run.vectors, before))
            before = ()
    return tuple(kept)


@dataclass(frozen=True)
class Alterations:
    """What ``alter`` commands change: levels and amplitudes by source."""

    levels: Mapping[str, Number]
    amplitudes: Mapping[str, Number]

    @classmethod
    def of(cls, commands: Iterable[str], parameters: Mapping[str, Number]) -> Alterations:
        """The commands' changes, later ones over earlier ones. Raises InvalidRequest for another command."""
        levels: dict[str, Number] = {}
        amplitudes: dict[str, Number] = {}
        for command in commands:
            match = _ALTER.fullmatch(command.strip())
            if match is None:
                raise InvalidRequest(f"the table simulator does not understand the command {command[:80]!r}")
            changed = amplitudes if match[2].lower() == "acmag" else levels
            changed[match[1].lower()] = parse_expression(match[3]).value(parameters)
        return cls(levels, amplitudes)


def frequencies(command: str) -> Array:
    """The frequencies of ``ac dec 20 10 10g`` or ``noise v(b) v_a lin 5 1 9`` in hertz, thinned where smooth."""
    *_, kind, points, first, last = command.split()
    low, high, count = parse_spice_number(first), parse_spice_number(last), int(points)
    if kind == "lin":
        return np.linspace(low, high, count)
    if kind != "dec":
        raise InvalidRequest(f"the table simulator does not understand the command {command[:80]!r}")
    decades = float(np.log10(high / low))
    is_smooth = decades > 0 and count <= SMOOTH_DENSITY
    density = min(count, max(1, int(MOST_STEPS / decades + 1e-6))) if is_smooth else count
    steps = int(np.floor(decades * density + 1e-6))
    return np.asarray(low * 10 ** (np.arange(steps + 1) / density), dtype=np.float64)


def swept_levels(command: str, parameters: Mapping[str, Number], count: int) -> tuple[str, Array]:
    """The source of ``dc v_x start stop step`` and its levels, design x point. All designs have as many points."""
    _, source, *words = command.split()
    start, stop, step = (np.broadcast_to(parse_expression(word).value(parameters), (count,)) for word in words)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.floor((stop - start) / step * (1 + 1e-9) + 1e-6)
    points = int(np.nanmax(steps, initial=0.0)) + 1
    return source.lower(), start[:, None] + step[:, None] * np.arange(points)
