"""From a store to a prepared file of simulations (`app.neural_simulator.dataset`). Simulates tables at most."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.neural_simulator.arrays import FACTS, Estimates
from app.neural_simulator.dataset import PreparedSimulations, SimulationGroup, TopologyFacts, shortened, size_variable
from app.neural_simulator.features import Sizings, TechnologyProfile, ports_that_follow_the_supply
from app.simulation_corpus.estimates import DROPPED_OF_FACTS, Corners, with_estimates
from app.simulation_corpus.reader import Group, SimulationStore
from app.simulators.bias import bias_plan
from app.table_simulator.solver import TableSimulator
from app.technologies._base import Technology
from app.technologies._gmid import GmIdTables
from app.testbenches._base import testbenches

log = logging.getLogger(__name__)

#: What of a run's record in the manifest says where rows came from.
_TOLD = ("seed", "josephson", "ngspice", "technologies", "testbenches", "counts", "notes", "recipe")


def prepared_simulations(
    store: SimulationStore,
    technologies: Mapping[str, Technology],
    tables: Callable[[Technology, str], GmIdTables],
    *,
    simulator: TableSimulator | None = None,
    corners: Corners = "nominal",
    note: Callable[[str], None] = log.info,
) -> PreparedSimulations:
    """The store's rows with what their features need, group by group.

    Facts of operating points and estimates lose their last digits; everything else is as the store has it.

    Args:
        store: With all of its columns.
        technologies: Those of the rows at least.
        tables: Gives the gm/Id tables of a technology at a process corner.
        simulator: Estimates the rows; without it none has estimates.
        corners: Whose rows are estimated.
        note: Told of each group as it is estimated, and why some of its rows cannot be.

    Raises:
        UnknownName: a technology, testbench or fact of the rows is not known.
    """
    groups = tuple(_group(store, group, technologies[group.combination.technology]) for group in store.rows.groups())
    if simulator is not None:
        groups = with_estimates(groups, simulator, technologies, corners, note)
    profiles = {}
    for name in dict.fromkeys(group.technology for group in groups):
        technology = technologies[name]
        used = {process for group in groups if group.technology == name for process in group.sizings.process.tolist()}
        profiles[name] = TechnologyProfile.of(
            [tables(technology, process) for process in technology.processes if process in used]
        )
    topologies = {}
    for group in groups:
        topology = store.topologies[group.topology_id]
        topologies[topology.id] = TopologyFacts(topology.type, topology.origin, topology.name, topology.text)
    runs = tuple({name: run[name] for name in _TOLD} for run in store.manifest["runs"])
    return PreparedSimulations(runs, topologies, profiles, groups)


def _group(store: SimulationStore, group: Group, technology: Technology) -> SimulationGroup:
    combination, space = group.combination, group.space
    netlist = store.netlist(combination.topology_id)
    following = ports_that_follow_the_supply(bias_plan(netlist, technology), technology)
    variables = tuple(size_variable(fields) for fields in space.variables)
    rows = group.rows
    devices, metrics = tuple(space.devices), tuple(group.metrics)
    return SimulationGroup(
        topology_id=combination.topology_id,
        testbench=combination.testbench,
        technology=combination.technology,
        netlist=netlist,
        variables=variables,
        ports=dict(space.ports),
        following=tuple(variable.port for variable in variables if variable.port in following),
        metrics=metrics,
        devices=devices,
        sizings=Sizings(
            group.sizes,
            rows.column("supply_v"),
            rows.column("celsius"),
            rows.column("process").astype(np.str_),
            _settings(rows.column("settings"), combination.testbench),
        ),
        values=group.values,
        causes=group.causes,
        facts=shortened(np.stack([group.facts(name) for name in FACTS], axis=-1), DROPPED_OF_FACTS),
        methods=rows.column("method").astype(np.str_),
        simulate_s=rows.column("simulate_s").astype(np.float32),
        estimates=Estimates.nothing(len(rows), len(metrics), len(devices)),
    )


def _settings(column: NDArray[Any], testbench: str) -> NDArray[np.float64]:
    """Row x setting of the testbench, NaN where a row does not say."""
    names = [setting.name for setting in testbenches[testbench].settings]
    found = np.full((len(column), len(names)), np.nan)
    for row, pairs in enumerate(column):
        for name, value in pairs:
            if name in names:
                found[row, names.index(name)] = value
    return found
