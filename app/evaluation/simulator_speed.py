"""How long a design takes by the neural simulator, from its sizes to values with intervals, beside ngspice.

The table simulator's share is measured apart, as a caller may do without. Everything is processor time: of this process
on one thread, and of ngspice's workers as they count it for every row of simulations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import InvalidInput, SimulatorFailure, Unavailable, UnknownName
from app.evaluation.simulator_sets import LEVEL
from app.measures.processor_time import least_cpu_s
from app.neural_simulator.arrays import Estimates, RowInputs, facts_at
from app.neural_simulator.artefact import NeuralSimulator
from app.neural_simulator.dataset import SimulationGroup
from app.neural_simulator.features import Sizings, TechnologyProfile, condition_features, element_features
from app.simulation_corpus.estimates import bench_estimates
from app.simulators.processes import WorkerPool
from app.table_simulator.device_tables import DeviceTableSource
from app.table_simulator.solver import TableSimulator
from app.technologies._base import technologies
from app.testbenches._base import testbenches
from app.testbenches._simulator import Bench, BenchSimulator, prepare_bench

#: Sizings of a batch; the table simulator, which takes milliseconds a design, is timed on no more than `_TABLE_BATCH`.
BATCHES = (1, 4096)
_TABLE_BATCH = 512

#: How often the network is timed; the quickest counts.
_ROUNDS = 3

#: Sizings of a circuit that ngspice simulates.
_SIMULATED = 8


@dataclass(frozen=True)
class Machine:
    """What there is here: a pool of ngspice workers, where there is ngspice, and the folder of tables."""

    pool: WorkerPool | None
    data_dir: Path


def is_here(technology: str) -> bool:
    """Whether circuits can be simulated in the technology on this machine, but for ngspice."""
    try:
        technologies[technology].require()
    except (UnknownName, Unavailable):
        return False
    return True


def speed(
    simulator: NeuralSimulator, groups: Sequence[tuple[SimulationGroup, TechnologyProfile]], machine: Machine
) -> dict[str, Any]:
    """``{circuits, mean, table_batch}``: microseconds of processor time a design, by circuit and over all of them.

    `network_us` and `table_us` are by batch, `ngspice_us` is measured now and `stored_us` the mean of the group's rows;
    None where it cannot be had, and `note` says why. The ratios of the mean are of `ngspice_us`, where there is any,
    else of `stored_us`, to ours at the larger batch, summed over the same circuits.
    """
    table = TableSimulator(DeviceTableSource(machine.pool, machine.data_dir / "device_tables"))
    circuits = [_circuit(simulator, group, profile, machine.pool, table) for group, profile in groups]
    return {"circuits": circuits, "mean": _mean(circuits), "table_batch": _TABLE_BATCH}


def _circuit(
    simulator: NeuralSimulator, group: SimulationGroup, profile: TechnologyProfile, pool: WorkerPool | None,
    table: TableSimulator,
) -> dict[str, Any]:  # fmt: skip
    stored = group.simulate_s[np.isfinite(group.simulate_s)]
    found: dict[str, Any] = {
        "topology": group.topology_id, "testbench": group.testbench, "technology": group.technology,
        "elements": len(group.wired.structure.names), "metrics": len(group.metrics),
        "network_us": _by_batch(lambda count: _network(simulator, group, profile, count), rounds=_ROUNDS),
        "table_us": None, "ngspice_us": None, "stored_us": _us(float(stored.mean()), 1) if len(stored) else None,
        "note": None,
    }  # fmt: skip
    try:
        bench = _bench(group)
    except (InvalidInput, Unavailable) as error:
        return found | {"note": str(error)}
    vectors = group.sizings.sizes
    _, note = bench_estimates(table, bench, vectors[:1], group.metrics, group.devices)
    if note is None:
        found["table_us"] = _by_batch(
            lambda count: _estimating(table, bench, group, count), rounds=1, most=_TABLE_BATCH
        )
    if pool is not None:
        found["ngspice_us"] = _simulating(pool, bench, vectors[:_SIMULATED])
    return found | {"note": note}


def _by_batch(
    work_on: Callable[[int], Callable[[], object]], rounds: int, most: int = max(BATCHES)
) -> dict[str, float]:
    """Microseconds a design for every batch; one of more than `most` is timed with so many."""
    sizes = {count: min(count, most) for count in BATCHES}
    return {str(count): _us(least_cpu_s(work_on(size), rounds), size) for count, size in sizes.items()}


def _network(
    simulator: NeuralSimulator, group: SimulationGroup, profile: TechnologyProfile, count: int
) -> Callable[[], object]:
    """From `count` sizings of the group to values with intervals, without estimates."""
    sizings = group.sizings.take(_places(group, count))
    nothing = Estimates.nothing(count, len(group.metrics), len(group.devices))

    def predict() -> object:
        rows = _inputs(group, profile, sizings, nothing)
        predicted = simulator.predict(rows)
        ends = simulator.ends(rows, predicted, LEVEL)
        return simulator.scales.values(rows.structure, predicted.mean), ends

    return predict


def _estimating(table: TableSimulator, bench: Bench, group: SimulationGroup, count: int) -> Callable[[], object]:
    vectors = group.sizings.sizes[_places(group, count)]
    return lambda: bench_estimates(table, bench, vectors, group.metrics, group.devices)


def _places(group: SimulationGroup, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """So many rows of the group by number, over and over where it has fewer."""
    return np.resize(np.arange(len(group), dtype=np.int64), count)


def _inputs(
    group: SimulationGroup, profile: TechnologyProfile, sizings: Sizings, estimates: Estimates
) -> RowInputs:  # fmt: skip
    structure = group.wired.structure
    return RowInputs(
        structure, group.technology, element_features(group.wired, profile, sizings),
        condition_features(structure, profile, sizings), estimates.values, estimates.causes,
        facts_at(structure.names, group.devices, estimates.facts),
    )  # fmt: skip


def _bench(group: SimulationGroup) -> Bench:
    """The group's circuit at its nominal corner. Raises as `prepare_bench`, and Unavailable without the cards."""
    technology = technologies[group.technology]
    technology.require()
    return prepare_bench(group.netlist, testbenches[group.testbench], technology, ports=group.ports, with_facts=True)


def _simulating(pool: WorkerPool, bench: Bench, vectors: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    """Microseconds of ngspice a sizing, all metrics; None where it did none."""
    try:
        rows = list(BenchSimulator(pool).run(bench, vectors.tolist()))
    except SimulatorFailure:
        return None
    return _us(sum(row["timings"]["simulate_s"] for row in rows), len(rows))


def _us(seconds: float, designs: int) -> float:
    """Microseconds a design, four digits."""
    return float(f"{1e6 * seconds / designs:.4g}")


def _mean(circuits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The means over circuits, and how many times as long ngspice takes."""
    largest = str(max(BATCHES))
    network = {str(count): _average([each["network_us"][str(count)] for each in circuits]) for count in BATCHES}
    estimated = [each for each in circuits if each["table_us"] is not None]
    table = {str(count): _average([each["table_us"][str(count)] for each in estimated]) for count in BATCHES}
    spent = {name: [each[name] for each in circuits if each[name] is not None] for name in ("ngspice_us", "stored_us")}
    measure = "ngspice_us" if spent["ngspice_us"] else "stored_us"
    ratios = {}
    for name, beside in (("network", [*circuits]), ("with_table", estimated)):
        both = [each for each in beside if each[measure] is not None]
        ours = sum(_total(each, largest, name == "with_table") for each in both)
        ratios[name] = float(f"{sum(each[measure] for each in both) / ours:.4g}") if both else None
    return {
        "network_us": network, "table_us": table, **{name: _average(found) for name, found in spent.items()},
        "beside": measure, "ratios": ratios,
    }  # fmt: skip


def _total(circuit: Mapping[str, Any], batch: str, has_table: bool) -> float:
    return float(circuit["network_us"][batch] + (circuit["table_us"][batch] if has_table else 0.0))


def _average(numbers: Sequence[float]) -> float | None:
    return float(f"{np.mean(numbers):.4g}") if numbers else None
