"""Is a store what its manifest says? Reads every row; simulates nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from app.analog.canonical import canonical_hash
from app.simulation_corpus._arrow import arrow
from app.simulation_corpus.layout import Layout, read_manifest, read_units
from app.simulation_corpus.plan import Combination, Unit
from app.simulation_corpus.reader import DEFINED, NOT_RUN, Group, SimulationStore, read_store
from app.sizes.draws import DrawMethod, draw
from app.sizes.space import SizeSpace, SizeVariable

#: Statuses that a row may have.
STATUSES = ("ok", "not_converged", "simulator_gave_up", "timeout", "error")


def store_faults(path: Path) -> list[str]:
    """What is wrong with the store, as sentences; empty where nothing is. Rows that are still to be made are no fault.

    Raises:
        NotFound: there is no store.
        PackageMissing: pyarrow is not installed.
    """
    layout = Layout(path)
    manifest = read_manifest(layout)
    units = {unit.number: unit for run in range(len(manifest["runs"])) for unit in read_units(layout, run)}
    store = read_store(path)
    faults = [*_part_faults(layout, units), *_topology_faults(store), *_provenance_faults(store)]
    names = ("topology_id", "testbench", "technology")
    found = {Combination(*key) for key in set(zip(*(store.rows.column(name) for name in names), strict=True))}
    unknown = found - set(store.spaces)
    if unknown:
        return [*faults, f"rows of {len(unknown)} topologies on testbenches that the store does not describe"]
    return [*faults, *(fault for group in store.rows.groups() for fault in _group_faults(group, units))]


def _part_faults(layout: Layout, units: Mapping[int, Unit]) -> Iterator[str]:
    """Each finished part has the rows of its units, each once, and no others."""
    planned: dict[int, set[tuple[int, int]]] = {}
    for unit in units.values():
        planned.setdefault(unit.part, set()).update((unit.number, index) for index in unit.indices)
    for file in sorted(layout.part(0).parent.glob("part-*.parquet")):
        number = int(file.stem.partition("-")[2])
        table = arrow().parquet.read_table(file, columns=["unit", "index"])
        found = list(zip(table["unit"].to_pylist(), table["index"].to_pylist(), strict=True))
        wanted = planned.get(number, set())
        if len(found) != len(set(found)):
            yield f"{file.name} has {len(found) - len(set(found))} rows twice"
        if set(found) != wanted:
            yield (
                f"{file.name} lacks {len(wanted - set(found))} rows of the plan "
                f"and has {len(set(found) - wanted)} that are not in it"
            )


def _topology_faults(store: SimulationStore) -> Iterator[str]:
    for topology in store.topologies.values():
        if canonical_hash(topology.netlist) != topology.id:
            yield f"topology {topology.id} ({topology.name}) is not the circuit that its id says"


def _provenance_faults(store: SimulationStore) -> Iterator[str]:
    """Every row's cards and testbench version are those of its run."""
    columns = ("run", "technology", "process", "card_hash", "testbench", "testbench_version", "status")
    for run, technology, process, card_hash, testbench, version, status in sorted(
        set(zip(*(store.rows.column(name) for name in columns), strict=True))
    ):
        record: Mapping[str, Any] = store.manifest["runs"][run]
        if record["technologies"].get(technology, {}).get(process) != card_hash:
            yield f"rows in {technology}, {process} have cards {card_hash}, which run {run} does not name"
        if record["testbenches"].get(testbench) != version:
            yield f"rows of testbench {testbench} have version {version}, which run {run} does not name"
        if status not in STATUSES:
            yield f"rows with the status {status!r}, which there is not"


def _are_drawn(group: Group) -> bool:
    """The first row of every unit has the sizes that its draw gives."""
    space = SizeSpace(tuple(_variable(values) for values in group.space.variables))
    rows = {name: group.rows.column(name) for name in ("unit", "method", "seed", "index")}
    for place in np.unique(rows["unit"], return_index=True)[1]:
        method = next(each for each in get_args(DrawMethod) if each == rows["method"][place])
        drawn = draw(space, space.start, method, int(rows["seed"][place]), int(rows["index"][place]))
        if tuple(group.sizes[place]) != drawn:
            return False
    return True


def _variable(values: Mapping[str, Any]) -> SizeVariable:
    return SizeVariable(**{**values, "places": tuple((device, size) for device, size in values["places"])})


def _group_faults(group: Group, units: Mapping[int, Unit]) -> Iterator[str]:
    """Sizes are within their ranges, values are finite, and a value is missing for a reason."""
    where = " ".join((group.combination.topology_id[:8], group.combination.testbench, group.combination.technology))
    try:
        sizes = group.sizes
    except ValueError:
        yield f"{where}: rows do not have {len(group.space.variables)} sizes each"
        return
    low, high = (np.array([variable[key] for variable in group.space.variables]) for key in ("low", "high"))
    outside = (sizes < low * (1 - 1e-9)) | (sizes > high * (1 + 1e-9))
    if outside.any():
        yield f"{where}: {int(outside.any(axis=1).sum())} rows have sizes outside of their ranges"
    if not outside.any() and not _are_drawn(group):
        yield f"{where}: sizes are not those that their seed, method and index draw"
    if np.isinf(group.values).any():
        yield f"{where}: {int(np.isinf(group.values).any(axis=1).sum())} rows have an infinite metric"
    both = (group.causes != DEFINED) & ~np.isnan(group.values)
    if both.any():
        yield f"{where}: {int(both.any(axis=1).sum())} rows have a metric with a value and a reason for having none"
    is_whole = group.rows.column("scope") == "all"
    unexplained = (group.causes == NOT_RUN) & is_whole[:, None]
    if unexplained.any():
        yield f"{where}: {int(unexplained.any(axis=1).sum())} rows lack a metric without a reason"
    numbers = set(group.rows.column("unit"))
    strays = [number for number in numbers if number not in units or units[number].combination != group.combination]
    if strays:
        yield f"{where}: rows name unit {strays[0]}, which is not theirs"
