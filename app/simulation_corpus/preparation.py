"""From a store to a prepared file of simulations (`app.neural_simulator.dataset`). Simulates gm/Id tables at most."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.neural_simulator.arrays import FACTS
from app.neural_simulator.dataset import PreparedSimulations, SimulationGroup, TopologyFacts, size_variable
from app.neural_simulator.features import Sizings, TechnologyProfile, ports_that_follow_the_supply
from app.simulation_corpus.reader import Group, SimulationStore
from app.simulators.bias import bias_plan
from app.technologies._base import Technology
from app.technologies._gmid import GmIdTables
from app.testbenches._base import testbenches

#: What of a run's record in the manifest says where rows came from.
_TOLD = ("seed", "josephson", "ngspice", "technologies", "testbenches", "counts", "notes", "recipe")

#: Binary digits dropped from the fraction of a fact, of 23: what stays is true to 1 in 4,000, and as compact again.
_DROPPED_DIGITS = 12


def prepared_simulations(
    store: SimulationStore,
    technologies: Mapping[str, Technology],
    tables: Callable[[Technology, str], GmIdTables],
) -> PreparedSimulations:
    """The store's rows with what their features need, group by group.

    Facts of operating points lose their last digits; everything else is as the store has it.

    Args:
        store: With all of its columns.
        technologies: Those of the rows at least.
        tables: Gives the gm/Id tables of a technology at a process corner.

    Raises:
        UnknownName: a technology, testbench or fact of the rows is not known.
    """
    groups = tuple(_group(store, group, technologies[group.combination.technology]) for group in store.rows.groups())
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
    return SimulationGroup(
        topology_id=combination.topology_id,
        testbench=combination.testbench,
        technology=combination.technology,
        netlist=netlist,
        variables=variables,
        ports=dict(space.ports),
        following=tuple(variable.port for variable in variables if variable.port in following),
        metrics=tuple(group.metrics),
        devices=tuple(space.devices),
        sizings=Sizings(
            group.sizes,
            rows.column("supply_v"),
            rows.column("celsius"),
            rows.column("process").astype(np.str_),
            _settings(rows.column("settings"), combination.testbench),
        ),
        values=group.values,
        causes=group.causes,
        facts=_rounded(np.stack([group.facts(name) for name in FACTS], axis=-1)),
        methods=rows.column("method").astype(np.str_),
        simulate_s=rows.column("simulate_s").astype(np.float32),
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


def _rounded(facts: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest numbers whose last binary digits are 0."""
    digits = np.ascontiguousarray(facts).view(np.uint32)
    half, kept = np.uint32(1 << (_DROPPED_DIGITS - 1)), ~np.uint32((1 << _DROPPED_DIGITS) - 1)
    return np.where(np.isfinite(facts), ((digits + half) & kept).view(np.float32), facts)
