"""Coupling maps by name."""

from __future__ import annotations

from collections import Counter

import networkx as nx
import pytest

from app.quantum.coupling import COUPLING_NAMES, CouplingName, coupling_map, islands


@pytest.mark.parametrize("name", COUPLING_NAMES)
def test_a_named_map_is_connected_and_names_each_pair_once(name: CouplingName):
    for qubits in (*range(1, 40), 64, 65, 100, 127, 128):
        pairs = coupling_map(name, qubits)
        assert len(set(pairs)) == len(pairs)
        assert all(0 <= first < second < qubits for first, second in pairs)
        assert islands(pairs, qubits) == [list(range(qubits))]


@pytest.mark.parametrize(
    ("name", "qubits", "pairs"),
    [
        ("line", 4, ((0, 1), (1, 2), (2, 3))),
        ("ring", 4, ((0, 1), (1, 2), (2, 3), (0, 3))),
        ("ring", 2, ((0, 1),)),
        ("grid", 5, ((0, 1), (0, 3), (1, 2), (1, 4), (3, 4))),
        ("full", 3, ((0, 1), (0, 2), (1, 2))),
        ("heavy_hex", 1, ()),
    ],
)
def test_a_small_map_by_hand(name: CouplingName, qubits: int, pairs: tuple[tuple[int, int], ...]):
    assert coupling_map(name, qubits) == pairs


def test_forty_qubits_on_a_grid_are_five_rows_of_eight():
    graph = nx.Graph(coupling_map("grid", 40))
    assert nx.is_isomorphic(graph, nx.grid_2d_graph(5, 8))


@pytest.mark.parametrize(("qubits", "pairs", "corners"), [(65, 72, 16), (127, 144, 36)])
def test_a_heavy_hexagon_of_a_machine_has_its_pairs(qubits: int, pairs: int, corners: int):
    graph = nx.Graph(coupling_map("heavy_hex", qubits))
    degrees = Counter(degree for _, degree in graph.degree)
    assert graph.number_of_edges() == pairs
    assert set(degrees) == {1, 2, 3}
    assert degrees[3] == corners
    assert {len(cycle) for cycle in nx.minimum_cycle_basis(graph)} == {12}, "hexagons with a qubit on every edge"


def test_a_heavy_hexagon_of_65_is_numbered_as_the_machine_was():
    pairs = set(coupling_map("heavy_hex", 65))
    bridges = {(0, 10), (10, 13), (4, 11), (11, 17), (8, 12), (12, 21), (15, 24), (24, 29), (23, 26), (26, 37)}
    assert bridges < pairs
    assert not {(9, 10), (12, 13), (23, 24), (26, 27)} & pairs, "rows end"


def test_islands_are_the_groups_that_pairs_join():
    assert islands([(3, 1), (4, 2)], 6) == [[0], [1, 3], [2, 4], [5]]
