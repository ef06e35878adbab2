"""What the table simulator says of sizings, in the words of predictors: one bench at a time, or whole groups of rows.

Nothing here is an error: what cannot be estimated has no estimate, and a sentence says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInput, InvalidRequest, SimulatorFailure, Unavailable
from app.neural_simulator.arrays import CIRCUIT, DEFINED, FACTS, NOT_RUN, SIMULATOR, Estimates
from app.neural_simulator.dataset import SimulationGroup, shortened
from app.table_simulator.solver import TableResults, TableSimulator
from app.technologies._base import Technology
from app.testbenches._base import Cause, Corner, testbenches
from app.testbenches._simulator import Bench, make_corner, prepare_bench

#: The corners whose rows are estimated: those of nominal process and temperature, or all of them.
Corners = Literal["nominal", "all"]

#: Binary digits dropped of 23: what stays of a fact is true to 1 in 4,000, of a metric to 1 in 65,000.
DROPPED_OF_FACTS, _DROPPED_OF_METRICS = 12, 8

_CODES: Mapping[Cause, int] = {"circuit": CIRCUIT, "simulator": SIMULATOR, "not_run": NOT_RUN}


def bench_estimates(
    simulator: TableSimulator,
    bench: Bench,
    vectors: Sequence[Sequence[float]] | NDArray[np.float64],
    metrics: Sequence[str],
    devices: Sequence[str],
) -> tuple[Estimates, str | None]:
    """The estimates of n sizings, and a sentence where there are none at all.

    Args:
        simulator: With the tables of the bench's technology and corner, or a way to them.
        bench: The circuit on its testbench.
        vectors: n x variable of `bench.space`, SI units.
        metrics: Of the testbench; those that the table simulator cannot measure are NOT_RUN.
        devices: MOS of the netlist that facts are told of.

    A circuit that the simulator has no equations for, and tables that cannot be had, are NOT_RUN; a circuit whose
    equations have no solution whatever its sizes is SIMULATOR, as a sizing is that it finds no solution for. What
    takes no solution is told all the same.
    """
    told = [metric.name for metric in simulator.metrics_of(bench) if metric.name in metrics]
    try:
        with np.errstate(all="ignore"):
            results = simulator.run(bench, vectors, told)
    except (InvalidInput, Unavailable) as error:
        return _exact(simulator, bench, vectors, metrics, devices), str(error)
    except SimulatorFailure as error:
        found = _exact(simulator, bench, vectors, metrics, devices)
        is_lost = np.isin(metrics, told) & (found.causes == NOT_RUN)
        return replace(found, causes=np.where(is_lost, SIMULATOR, found.causes).astype(np.int8)), str(error)
    return _estimates(results, metrics, devices), None


def _exact(
    simulator: TableSimulator,
    bench: Bench,
    vectors: Sequence[Sequence[float]] | NDArray[np.float64],
    metrics: Sequence[str],
    devices: Sequence[str],
) -> Estimates:
    """The estimates of metrics that follow from the sizes alone."""
    return _estimates(simulator.without_solving(bench, vectors, metrics), metrics, devices)


def _estimates(results: TableResults, metrics: Sequence[str], devices: Sequence[str]) -> Estimates:
    found = Estimates.nothing(len(results.values), len(metrics), len(devices))
    for column, name in enumerate(results.metrics):
        place = metrics.index(name)
        found.values[:, place] = results.values[:, column]
        found.causes[:, place] = [
            _CODES[undefined[name].cause] if name in undefined else DEFINED for undefined in results.undefined
        ]
    places = [results.devices.index(device) for device in devices]
    facts = np.stack([results.facts[name][:, places] for name in FACTS], axis=-1)
    found.facts[results.converged] = facts[results.converged]
    return found


def group_estimates(
    simulator: TableSimulator, group: SimulationGroup, technology: Technology, corners: Corners
) -> tuple[Estimates, Mapping[str, int]]:
    """The estimates of a group's rows, and why there are none for some: sentences with how many rows each is true of.

    Rows of the same corner and settings are estimated together.
    """
    found = Estimates.nothing(len(group), len(group.metrics), len(group.devices))
    notes: dict[str, int] = {}
    for conditions, rows in _by_conditions(group):
        if corners == "nominal" and not conditions.is_nominal(technology):
            continue
        try:
            bench = _bench(group, technology, conditions)
        except (InvalidInput, Unavailable) as error:
            note: str | None = str(error)
        else:
            part, note = bench_estimates(simulator, bench, group.sizings.sizes[rows], group.metrics, group.devices)
            found.values[rows], found.causes[rows], found.facts[rows] = part.values, part.causes, part.facts
        if note is not None:
            notes[note] = notes.get(note, 0) + len(rows)
    return found, notes


@dataclass(frozen=True, slots=True)
class _Conditions:
    """Corner and settings of rows; a setting that they do not tell is left out."""

    corner: Corner
    settings: tuple[tuple[str, float], ...]

    def is_nominal(self, technology: Technology) -> bool:
        """True for the technology's nominal process and temperature, at any supply."""
        return (self.corner.process, self.corner.celsius) == (technology.processes[0], technology.celsius)


def _by_conditions(group: SimulationGroup) -> Iterator[tuple[_Conditions, NDArray[np.intp]]]:
    """The rows of the same corner and settings, by number."""
    sizings = group.sizings
    names = [setting.name for setting in testbenches[group.testbench].settings]
    rows: dict[_Conditions, list[int]] = {}
    corners = zip(sizings.process.tolist(), sizings.supply_v.tolist(), sizings.celsius.tolist(), strict=True)
    for row, (corner, values) in enumerate(zip(corners, sizings.settings.tolist(), strict=True)):
        settings = tuple((name, value) for name, value in zip(names, values, strict=True) if not np.isnan(value))
        rows.setdefault(_Conditions(Corner(*corner), settings), []).append(row)
    for conditions, found in rows.items():
        yield conditions, np.array(found, dtype=np.intp)


def _bench(group: SimulationGroup, technology: Technology, conditions: _Conditions) -> Bench:
    """The group's circuit on its testbench. Raises as `prepare_bench`, and InvalidRequest for other variables."""
    corner = conditions.corner
    bench = prepare_bench(
        group.netlist,
        testbenches[group.testbench],
        technology,
        corner=make_corner(technology, corner.process, corner.supply_v, corner.celsius),
        settings=dict(conditions.settings),
        ports=group.ports,
        with_facts=True,
    )
    ours, theirs = ([variable.name for variable in each] for each in (bench.space.variables, group.variables))
    if ours != theirs:
        raise InvalidRequest(f"the circuit has the variables {', '.join(ours)} now, its rows {', '.join(theirs)}")
    return bench


def with_estimates(
    groups: Sequence[SimulationGroup],
    simulator: TableSimulator,
    technologies: Mapping[str, Technology],
    corners: Corners,
    note: Callable[[str], None],
) -> tuple[SimulationGroup, ...]:
    """The groups with the estimates of their rows, in their order; those of one technology are made together.

    `note` is told of each group as it is done, with the reasons why rows have no estimates.
    """
    made: dict[int, SimulationGroup] = {}
    order = sorted(range(len(groups)), key=lambda place: groups[place].technology)
    for done, place in enumerate(order, start=1):
        group = groups[place]
        estimates, reasons = group_estimates(simulator, group, technologies[group.technology], corners)
        made[place] = replace(group, estimates=_shortened(estimates))
        told = "".join(f"; {count} rows have none: {reason}" for reason, count in reasons.items())
        note(
            f"estimates of group {done} of {len(groups)}, topology {group.topology_id[:8]} on {group.testbench} "
            f"in {group.technology}{told}"
        )
    return tuple(made[place] for place in range(len(groups)))


def _shortened(estimates: Estimates) -> Estimates:
    return Estimates(
        shortened(estimates.values, _DROPPED_OF_METRICS).astype(np.float64),
        estimates.causes,
        shortened(estimates.facts, DROPPED_OF_FACTS),
    )
