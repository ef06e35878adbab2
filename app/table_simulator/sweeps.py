"""Operating points along a sweep of a source, for a batch of designs: each point is looked for from those before it.

A circuit that has two states keeps to the one it is in, so points are found in their order. All the same no design
waits for another one: they are moved together, each at its own point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.table_simulator.network import System
from app.table_simulator.operating_point import (
    CAREFUL_V,
    CLOSE_V,
    FARTHEST_V,
    OperatingPointSolver,
)

Array = NDArray[np.float64]
Places = NDArray[np.intp]

#: Bold steps to a point; small ones follow, from where the bold ones began. Then only fading leaks may help.
_BOLD_STEPS, _MOST_STEPS = 8, 88


def swept_points(solver: OperatingPointSolver, system: System, start: Array, source: str, levels: Array) -> Array:
    """Unknowns x point x design with a source at `levels` (design x point), NaN from the first that is not found.

    The first point is looked for from `start`, as `OperatingPointSolver.solve` does. Currents of sources that hold
    nodes are not there (`OperatingPointSolver.add_branch_currents`).
    """
    designs, points = levels.shape
    found = np.full((len(start), points, designs), np.nan)
    first = solver.solve(system.altered({source: levels[:, 0]}, {}), start)
    found[:, 0, first.converged] = first.unknowns[:, first.converged]
    place = np.where(first.converged, 1, points)
    while (running := np.flatnonzero(place < points)).size:
        stuck = _moved_on(solver, system, source, levels, found, place, running)
        at, place[stuck] = place[stuck], points
        if stuck.size:
            part = system.take(stuck).altered({source: levels[stuck, at]}, {})
            solved = solver.solve(part, _led_to(found, at, stuck), ("leaking",))
            there = solved.converged
            found[:, at[there], stuck[there]] = solved.unknowns[:, there]
            place[stuck[there]] = at[there] + 1
    return found


def _moved_on(
    solver: OperatingPointSolver,
    system: System,
    source: str,
    levels: Array,
    found: Array,
    place: Places,
    running: Places,
) -> Places:
    """Running designs have gone on from the points `place`; those that Newton's method takes no further."""
    points, stuck = levels.shape[1], [running[:0]]
    unknowns, tries = _led_to(found, place[running], running), np.zeros(len(running), dtype=np.intp)
    part, goes_on = system.take(running), np.ones(len(running), dtype=np.bool_)
    while running.size:
        part = part.altered({source: levels[running, np.minimum(place[running], points - 1)]}, {})
        solver.hold(part, unknowns)
        reach_v = np.where(tries < _BOLD_STEPS, FARTHEST_V, CAREFUL_V)
        still = solver.move(part, unknowns, reach_v) < CLOSE_V
        tries += 1
        there = np.flatnonzero(goes_on & still)
        arrived = running[there]
        found[:, place[arrived], arrived] = unknowns[:, there]
        place[arrived] += 1
        tries[there] = 0
        goes_on[there] = place[arrived] < points
        failed = np.flatnonzero(goes_on & (tries >= _MOST_STEPS))
        stuck.append(running[failed])
        goes_on[failed] = False
        anew = np.flatnonzero(goes_on & ((tries == 0) | (tries == _BOLD_STEPS)))
        unknowns[:, anew] = _led_to(found, place[running[anew]], running[anew])
        if np.count_nonzero(goes_on) < 0.75 * len(running):
            keep = np.flatnonzero(goes_on)
            running, part, goes_on = running[keep], part.take(keep), goes_on[keep]
            unknowns, tries = unknowns[:, keep], tries[keep]
    return np.concatenate(stuck)


def _led_to(found: Array, place: Places, designs: Places) -> Array:
    """Where the points before these of a sweep lead: on a straight line through two, or to the only one."""
    before = found[:, place - 1, designs]
    return np.where(place > 1, 2 * before - found[:, place - 2, designs], before)
