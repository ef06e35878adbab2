"""Simulations in one technology by name, for a neural simulator to be judged by, drawn as the data factory draws them.

Each circuit has a small store of its own, which is whole or is not used, so that a limit of time decides how many
circuits there are and not which rows they have.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from app.errors import CorpusMissing, InvalidRequest
from app.evaluation.simulator_sets import spread_out
from app.neural_simulator.dataset import PreparedSimulations
from app.neural_simulator.novelty import Experience
from app.simulation_corpus.estimates import Corners
from app.simulation_corpus.factory import Factory, Limits
from app.simulation_corpus.plan import seed_of
from app.simulation_corpus.preparation import prepared_simulations
from app.simulation_corpus.reader import read_store
from app.simulation_corpus.recipe import (
    SimulationRecipe,
    TechnologyChoice,
    TestbenchChoice,
    TopologyChoice,
    read_simulation_recipe,
)
from app.simulation_corpus.topologies import ORIGINS, Topology, all_topologies
from app.simulators.ngspice import ngspice_version
from app.simulators.processes import WorkerPool
from app.table_simulator.device_tables import DeviceTableSource
from app.table_simulator.solver import TableSimulator
from app.technologies._base import Technology
from app.technologies._gmid import GmIdTables, gmid_tables
from app.testbenches._simulator import BenchSimulator

#: Sizings of each circuit on a testbench, and minutes for all of them, where nobody says otherwise.
ROWS, MINUTES = 300, 10.0


@dataclass(frozen=True)
class OwnRows:
    """What is simulated: `rows` of each circuit on a testbench. No circuit is begun after `minutes`.

    `estimated` are the corners whose rows the table simulator is asked about; None leaves it out.
    """

    technology: Technology
    seed: int
    rows: int = ROWS
    minutes: float = MINUTES
    estimated: Corners | None = "nominal"


def known_topologies(prepared: PreparedSimulations | None, experience: Experience) -> list[Topology]:
    """The circuits of the file, else the archetypes, that the model has learnt from in some technology.

    Raises:
        InvalidRequest: it has learnt from none of them.
    """
    if prepared is None:
        found: Sequence[Topology] = all_topologies()
    else:
        found = [
            Topology(name, facts.type, origin, facts.name, facts.netlist, facts.text)
            for name, facts in prepared.topologies.items()
            for origin in ORIGINS
            if origin == facts.origin
        ]
    learnt = {topology for topology, _, _ in experience.seen}
    known = [topology for topology in found if topology.id in learnt]
    if not known:
        raise InvalidRequest(
            "the model has learnt from no archetype, so --technology has nothing to simulate; give the file that it "
            "was trained on with --prepared"
        )
    return known


def simulate_own(
    choice: OwnRows, topologies: Sequence[Topology], benches: Collection[str], pool: WorkerPool, data_dir: Path,
    folder: Path, note: Callable[[str], None],
) -> list[PreparedSimulations]:  # fmt: skip
    """Simulations of as many of the topologies as the time allows, on these testbenches, one file each.

    Those that are in `folder` already are not simulated again. Topologies come in an order that spreads out over types.

    Raises:
        CorpusMissing: not one circuit was done in time.
        Conflict: `folder` has simulations of another choice.
        PackageMissing: what stores are written with.
    """
    recipe = _recipe(choice, benches)
    # Not the seed of a store that the model learnt from: its sizings would be the same.
    seed = seed_of("evaluation", choice.seed)
    version = ngspice_version(pool)
    limits = Limits(until=time.monotonic() + 60 * choice.minutes)
    order = spread_out(topologies, lambda topology: (topology.type, topology.origin, topology.id), choice.seed)
    found: list[PreparedSimulations] = []
    for topology in order:
        root = folder / topology.id
        factory = Factory(
            root, BenchSimulator(pool, tables_folder=data_dir / "gmid"), watcher=_Silent(), ngspice_version=version
        )
        try:
            is_planned = factory.plan(recipe, seed, partial(tuple, [topology]), append=False, limits=limits)
            is_whole = is_planned and not factory.fill(limits).is_stopped
        except InvalidRequest as error:  # the circuit does not work in this technology
            note(f"{topology.name} is left out: {error}")
            continue
        if not is_whole:
            note(f"{len(found)} of {len(order)} circuits were simulated in {choice.minutes:g} minutes")
            break
        found.append(_prepared(root, choice, pool, data_dir))
        note(f"{topology.name}: {len(found[-1]):,} rows")
    if not found:
        raise CorpusMissing(
            f"no circuit was simulated in {choice.technology.name} in {choice.minutes:g} minutes; give more --minutes, "
            "or fewer --rows"
        )
    return found


def _recipe(choice: OwnRows, benches: Collection[str]) -> SimulationRecipe:
    """The data factory's own recipe for this technology alone; whatever topology it is given is tried."""
    usual = read_simulation_recipe()
    name = choice.technology.name
    testbenches: Mapping[str, TestbenchChoice] = {
        each: replace(usual.testbenches.get(each, TestbenchChoice()), rows=choice.rows, optional=False)
        for each in sorted(benches)
    }
    return replace(
        usual,
        name="evaluation",
        technologies={name: TechnologyChoice()},
        testbenches=testbenches,
        probe=replace(usual.probe, technology=name),
        topologies=TopologyChoice(corpus=1, generated=1, candidates=1, max_devices=usual.topologies.max_devices),
    )


def _prepared(root: Path, choice: OwnRows, pool: WorkerPool, data_dir: Path) -> PreparedSimulations:
    def tables(technology: Technology, process: str) -> GmIdTables:
        return gmid_tables(technology, pool, process=process, folder=data_dir / "gmid")

    simulator = TableSimulator(DeviceTableSource(pool, data_dir / "device_tables"))
    return prepared_simulations(
        read_store(root),
        {choice.technology.name: choice.technology},
        tables,
        simulator=None if choice.estimated is None else simulator,
        corners=choice.estimated or "nominal",
    )


class _Silent:
    """Is told how far the factory is; implements `factory.Watcher`."""

    def probing(self, done: int, total: int) -> None:
        """Nobody is told."""

    def simulating(self, done: int, total: int) -> None:
        """Nobody is told."""
