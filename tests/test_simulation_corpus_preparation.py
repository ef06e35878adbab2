"""Stores as prepared simulations: a store of made-up rows, and what becomes of every number of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from app.errors import UnknownName
from app.neural_simulator.arrays import CIRCUIT, DEFINED, FACTS, NOT_RUN
from app.neural_simulator.dataset import PreparedSimulations
from app.neural_simulator.features import Sizings, WiredTopology, condition_features, element_features
from app.simulation_corpus.estimates import bench_estimates
from app.simulation_corpus.layout import Space, rows_schema, table_of
from app.simulation_corpus.plan import Combination
from app.simulation_corpus.preparation import prepared_simulations
from app.simulation_corpus.reader import RowTable, SimulationStore
from app.simulation_corpus.topologies import Topology, stored_topology
from app.table_simulator.solver import TableSimulator
from app.technologies._base import Technology, technologies
from app.technologies._gmid import GmIdTables
from app.testbenches._base import testbenches
from app.testbenches._simulator import Bench, make_corner, prepare_bench
from tests.analytic_transistors import analytic_tables
from tests.bench_rows import archetype
from tests.ekv_transistors import EkvTables
from tests.simulated_rows import vectors_of

CORNERS = {"generic180": ("tt", 1.8, 27.0), "generic45": ("ff", 1.1, 125.0)}
TOPOLOGIES = {
    name: stored_topology(name.partition("/")[0], "archetype", name, archetype(name))
    for name in ("opamp/two_stage_ahuja", "current_mirror/wide_swing")
}

#: Facts of the operating point in the store, more than predictors learn.
STORED_FACTS = (*FACTS, "vdsat")


def bench_of(topology: Topology, technology: str) -> Bench:
    process, supply_v, celsius = CORNERS[technology]
    entry = technologies[technology]
    corner = make_corner(entry, process, supply_v, celsius)
    return prepare_bench(topology.netlist, testbenches[topology.type], entry, corner=corner)


def rows_of(bench: Bench, topology: Topology, mos: int) -> Iterator[dict[str, Any]]:
    """Four rows, of which the second lacks facts and its last metric and the third was not asked for that."""
    for index, vector in enumerate(vectors_of(bench, 4)):
        metrics = {metric.name: index + 0.1 * place for place, metric in enumerate(bench.metrics)}
        undefined = {}
        if index in (1, 2):
            del metrics[bench.metrics[-1].name]
            undefined = {bench.metrics[-1].name: "circuit: it has none"} if index == 1 else {}
        facts = {name: [1e-5 / 3 * (place + 1)] * mos for place, name in enumerate(STORED_FACTS)}
        yield {
            "run": 0, "unit": 0, "index": index, "topology_id": topology.id, "testbench": topology.type,
            "testbench_version": 1, "technology": bench.technology.name, "card_hash": "0" * 16,
            "process": bench.corner.process, "supply_v": bench.corner.supply_v, "celsius": bench.corner.celsius,
            "settings": bench.settings if index else {}, "method": "guided" if index else "start", "seed": 7,
            "scope": "all", "sizes": list(vector), "status": "ok", "relaxed": False, "message": None,
            "simulate_s": 0.01 * index, "undefined": undefined, "metrics": metrics,
            "facts": {} if index == 1 else facts,
        }  # fmt: skip


@pytest.fixture(scope="module")
def store() -> SimulationStore:
    rows: list[dict[str, Any]] = []
    spaces = {}
    for topology in TOPOLOGIES.values():
        for technology in CORNERS:
            bench = bench_of(topology, technology)
            devices = tuple(device.name for device in topology.netlist.devices if device.kind_of.is_mos)
            combination = Combination(topology.id, topology.type, technology)
            variables = tuple(asdict(variable) for variable in bench.space.variables)
            spaces[combination] = Space(combination, variables, dict(bench.wiring.port_of), devices)
            rows += rows_of(bench, topology, len(devices))
    metrics = {
        topology.type: tuple(metric.name for metric in testbenches[topology.type].metrics)
        for topology in TOPOLOGIES.values()
    }
    run = {
        "seed": 7, "josephson": "0.1.0", "ngspice": "39", "technologies": {}, "testbenches": {}, "counts": {},
        "notes": [], "recipe": {"name": "tiny"}, "dropped": [],
    }  # fmt: skip
    every = tuple(dict.fromkeys(name for names in metrics.values() for name in names))
    table = table_of(rows, rows_schema(every, STORED_FACTS))
    topologies = {topology.id: topology for topology in TOPOLOGIES.values()}
    return SimulationStore({"schema": 1, "runs": [run]}, topologies, spaces, metrics, RowTable(table, metrics, spaces))


def tables(technology: Technology, process: str) -> GmIdTables:
    assert process == CORNERS[technology.name][0]
    return analytic_tables(technology, process)


@pytest.fixture(scope="module")
def prepared(store: SimulationStore) -> PreparedSimulations:
    return prepared_simulations(store, technologies, tables)


def test_every_row_of_a_store_is_prepared_with_where_it_came_from(
    store: SimulationStore, prepared: PreparedSimulations
):
    assert len(prepared) == len(store.rows) == 16
    (run,) = prepared.runs
    assert (run["seed"], run["ngspice"], run["recipe"]["name"], "dropped" in run) == (7, "39", "tiny", False)
    assert {facts.name for facts in prepared.topologies.values()} == set(TOPOLOGIES)
    for group, stored in zip(prepared.groups, store.rows.groups(), strict=True):
        assert (group.topology_id, group.testbench, group.technology) == (
            stored.combination.topology_id, stored.combination.testbench, stored.combination.technology,
        )  # fmt: skip
        np.testing.assert_array_equal(group.sizings.sizes, stored.sizes)
        np.testing.assert_array_equal(group.values, stored.values)
        np.testing.assert_array_equal(group.causes, stored.causes)
        assert group.causes[:, -1].tolist() == [DEFINED, CIRCUIT, NOT_RUN, DEFINED]
        assert group.methods.tolist() == ["start", "guided", "guided", "guided"]
        assert prepared.topologies[group.topology_id].netlist == group.netlist


def test_a_request_has_the_features_of_the_same_row_of_a_store(prepared: PreparedSimulations):
    for group, rows in zip(prepared.groups, prepared.rows(), strict=True):
        topology = next(each for each in TOPOLOGIES.values() if each.id == group.topology_id)
        bench = bench_of(topology, group.technology)
        wired = WiredTopology.of_bench(bench, topology.id)
        sizings = Sizings.of_bench(bench, vectors_of(bench, 4))
        profile = prepared.profiles[group.technology]
        np.testing.assert_array_equal(wired.follows_supply, group.wired.follows_supply)
        np.testing.assert_array_equal(element_features(wired, profile, sizings), rows.elements)
        conditions = condition_features(wired.structure, profile, sizings)
        np.testing.assert_array_equal(conditions[1:], rows.conditions[1:])
        assert np.isfinite(rows.conditions[0]).sum() == 3


def test_facts_lose_no_more_than_their_last_digits(prepared: PreparedSimulations):
    for group in prepared.groups:
        assert np.isnan(group.facts[1]).all()
        kept = group.facts[[0, 2, 3]]
        expected = np.broadcast_to(1e-5 / 3 * np.arange(1, len(FACTS) + 1), kept.shape)
        np.testing.assert_allclose(kept, expected, rtol=1 / 4000)
        assert (kept.view(np.uint32) & 0xFFF == 0).all()


def test_rows_have_the_estimates_of_a_table_simulator(store: SimulationStore, prepared: PreparedSimulations):
    notes: list[str] = []
    simulator = TableSimulator(EkvTables())
    found = prepared_simulations(store, technologies, tables, simulator=simulator, corners="all", note=notes.append)
    assert len(notes) == len(found.groups) == 4
    for group, without in zip(found.groups, prepared.groups, strict=True):
        assert (without.estimates.causes == NOT_RUN).all()
        topology = next(each for each in TOPOLOGIES.values() if each.id == group.topology_id)
        bench = bench_of(topology, group.technology)
        expected, _ = bench_estimates(simulator, bench, vectors_of(bench, 4), group.metrics, group.devices)
        np.testing.assert_array_equal(group.estimates.causes, expected.causes)
        np.testing.assert_allclose(group.estimates.values, expected.values, rtol=1e-4, atol=1e-12)
        np.testing.assert_allclose(group.estimates.facts, expected.facts, rtol=1e-3, atol=1e-12)


def test_a_technology_that_is_not_there_is_named(store: SimulationStore):
    with pytest.raises(UnknownName, match="no technology named 'generic180'"):
        prepared_simulations(store, Lacking(), tables)


class Lacking(dict[str, Technology]):
    """A registry without entries."""

    def __missing__(self, name: str) -> Technology:
        raise UnknownName("technology", name, self)
