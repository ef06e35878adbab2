"""Numbers of programs, and how near they are to known ones: worked by hand, and against networkx."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Sequence

import networkx as nx
import numpy as np
import pytest

from app.errors import PackageMissing
from app.measures.family_reader import FamilyReader
from app.measures.quantum_copies import NEAR, KnownPrograms, common_length
from app.measures.quantum_features import FEATURES, STRUCTURE, features, statement_rows, structure, table
from app.measures.two_samples import boosting_scores, folds, sequence_scores
from app.quantum.program import Operation, QuantumProgram


def gate(name: str, *qubits: int, angle: float | None = None) -> Operation:
    return Operation(name, qubits, () if angle is None else (angle,))


def measure(qubit: int, clbit: int) -> Operation:
    return Operation("measure", (qubit,), (), clbit)


GHZ = QuantumProgram(
    4, 4, (gate("h", 0), gate("cx", 0, 1), gate("cx", 1, 2), gate("cx", 2, 3), *(measure(q, q) for q in range(4)))
)


def random_pairs(count: int, qubits: int, seed: int) -> QuantumProgram:
    rng = random.Random(seed)
    pairs = (rng.sample(range(qubits), 2) for _ in range(count))
    return QuantumProgram(qubits, 0, tuple(gate("cz", *pair) for pair in pairs))


# numbers of a program


def test_the_structure_of_a_chain_of_four_is_as_worked_by_hand():
    found = structure(GHZ)
    assert tuple(found) == STRUCTURE
    assert found["path_length"] == pytest.approx((3 * 1 + 2 * 2 + 1 * 3) / 6)
    assert found["diameter"] == 3
    assert found["degree"] == 1.5
    assert found["cliques"] == 3
    assert found["clustering"] == 0
    assert found["betweenness"] == pytest.approx(2 / 3)
    assert found["adjacency_std"] == pytest.approx(math.sqrt(6 / 16 - (6 / 16) ** 2))
    # h, cx, cx, cx and the last measurement follow each other, and every gate is on that path.
    assert (found["critical_path"], found["path_mean"], found["path_std"], found["critical_share"]) == (5, 5, 0, 1)
    assert found["density"] == pytest.approx((2 * 3 + 1) / (4 * 3))
    assert found["idling"] == pytest.approx(1 - (1 + 6 + 4) / (5 * 4))


@pytest.mark.parametrize("count", [3, 9, 40])
def test_graph_metrics_are_those_of_networkx(count: int):
    program = random_pairs(count, 9, seed=count)
    graph = nx.Graph()
    graph.add_nodes_from(range(9))
    graph.add_edges_from(op.qubits for op in program.operations)
    largest = graph.subgraph(max(nx.connected_components(graph), key=len))
    found = structure(program)
    assert found["betweenness"] == pytest.approx(max(nx.betweenness_centrality(graph).values()))
    assert found["clustering"] == pytest.approx(nx.average_clustering(graph))
    assert found["path_length"] == pytest.approx(nx.average_shortest_path_length(largest))
    assert found["diameter"] == (nx.diameter(graph) if nx.is_connected(graph) else 0)


def test_the_habits_of_a_program_are_as_worked_by_hand():
    found = features(GHZ)
    assert tuple(found) == FEATURES
    assert found["two_qubit_share"] == 0.75
    assert (found["gates_per_qubit"], found["depth_per_gate"], found["depth_per_qubit"]) == (1, 1.25, 1.25)
    assert (found["measured_share"], found["used_qubit_share"]) == (1, 1)
    assert found["qubit_step"] == pytest.approx((0 + 1 + 1 + 2 + 1 + 1 + 1) / 7)
    assert found["ascending_share"] == pytest.approx(5 / 7)
    assert found["repeated_name_share"] == pytest.approx(5 / 7)
    assert (found["share_of_cx"], found["share_of_measure"], found["share_of_h"]) == (3 / 8, 0.5, 1 / 8)


@pytest.mark.parametrize(
    "program",
    [
        QuantumProgram(0, 0, ()),
        QuantumProgram(1, 0, ()),
        QuantumProgram(1, 0, (gate("h", 0),)),
        QuantumProgram(2, 0, (Operation("barrier"),)),
        QuantumProgram(3, 1, (Operation("barrier", (0, 2)), measure(1, 0))),
    ],
)
def test_every_number_of_the_smallest_programs_is_finite(program: QuantumProgram):
    assert all(math.isfinite(value) for value in features(program).values())


def test_a_statement_counts_as_identical_when_its_angles_agree_to_four_decimals():
    pair = [gate("rx", 0, angle=1.0), gate("rx", 0, angle=1.00001)]
    assert features(QuantumProgram(1, 0, tuple(pair)))["identical_neighbour_share"] == 1
    assert features(QuantumProgram(1, 0, (pair[0], gate("rx", 0, angle=1.1))))["identical_neighbour_share"] == 0


def test_rows_of_statements_know_neither_names_of_qubits_nor_how_an_angle_is_spelt():
    first = QuantumProgram(3, 0, (gate("cx", 2, 0), gate("rz", 0, angle=math.pi / 2)))
    second = QuantumProgram(3, 0, (gate("cx", 0, 1), gate("rz", 1, angle=math.pi / 2 + 4 * math.pi)))
    assert (statement_rows(first) == statement_rows(second)).all()
    assert statement_rows(first)[:, 1:5].tolist() == [[1, 2, 0, 0], [2, 0, 0, 5]]


# copies


def test_the_longest_common_subsequence_is_that_of_the_table():
    rng = random.Random(0)

    def by_table(first: Sequence[int], second: Sequence[int]) -> int:
        row = [0] * (len(second) + 1)
        for one in first:
            before = row
            row = [0]
            for place, other in enumerate(second):
                row.append(before[place] + 1 if one == other else max(row[-1], before[place + 1]))
        return row[-1]

    for length in (0, 1, 7, 40, 90):
        first, second = ([rng.randrange(4) for _ in range(length + extra)] for extra in (0, 5))
        assert common_length(first, second) == by_table(first, second)


def test_a_copy_has_the_skeleton_and_a_strict_copy_the_angles_too():
    def turned(angle: float, first: int = 0) -> QuantumProgram:
        return QuantumProgram(2, 0, (gate("ry", first, angle=angle), gate("cx", first, 1 - first)))

    known = KnownPrograms([("vqe", turned(0.5))])
    for program, is_copy, is_strict in (
        (turned(0.5), True, True),
        (turned(0.5, first=1), True, True),
        (turned(0.50005 + 4 * math.pi), True, True),
        (turned(0.51), True, False),
        (QuantumProgram(2, 0, (gate("ry", 0, angle=0.5), gate("cx", 1, 0))), False, False),
    ):
        near = known.nearness(program, "vqe")
        assert (near.is_copy, near.is_strict_copy, near.distance == 0) == (is_copy, is_strict, is_copy)


def test_a_near_copy_is_looked_for_in_its_own_family_and_width():
    longer = [gate(name, qubit) for name in ("h", "t", "s", "x") for qubit in range(5)]
    known = KnownPrograms([("a", QuantumProgram(5, 0, tuple(longer))), ("a", GHZ), ("b", GHZ)])
    changed = QuantumProgram(5, 0, (*longer[:-1], gate("z", 4)))
    assert known.nearness(changed, "a").distance == pytest.approx(1 / 20)
    assert known.nearness(changed, "a").distance >= NEAR
    assert known.nearness(QuantumProgram(5, 0, (*longer, gate("z", 4))), "a").distance < NEAR
    assert known.nearness(changed, "b").distance == 1
    assert len(known) == 3


# classifiers of two sets


def test_every_place_is_scored_once_by_who_was_not_trained_on_it():
    labels = np.array([0] * 11 + [1] * 7, np.int64)
    tested = []
    for train, test in folds(labels, seed=1):
        assert not set(train) & set(test)
        assert len(train) + len(test) == 18
        assert set(labels[test].tolist()) == {0, 1}
        tested += test.tolist()
    assert sorted(tested) == list(range(18))


def test_sets_that_differ_are_told_apart_and_equal_ones_are_not():
    rng = np.random.default_rng(0)
    first, same, other = (rng.normal(shift, 1.0, (80, 3)) for shift in (0.0, 0.0, 3.0))
    for second, low, high in ((same, 0.3, 0.7), (other, 0.97, 1.0)):
        scores = boosting_scores(first, second, seed=0)
        below = scores[:80, None] < scores[None, 80:]
        assert low <= below.mean() <= high


def test_an_order_that_no_share_of_names_tells_is_told_by_who_reads_in_order():
    up = np.arange(1, 9, dtype=np.int64)[:, None]
    first, second = [up] * 40, [up[::-1].copy()] * 40
    scores = sequence_scores(first, second, 0, epochs=12)
    assert scores[:40].max() < scores[40:].min()
    assert (sequence_scores(first, second, 0, epochs=1) == sequence_scores(first, second, 0, epochs=1)).all()


def test_families_are_read_from_numbers():
    wide = [random_pairs(8, 6, seed) for seed in range(12)]
    rows = table([features(program) for program in (*wide, *[GHZ] * 12)])
    reader = FamilyReader(rows, ["pairs"] * 12 + ["ghz"] * 12)
    assert reader.families(rows) == ["pairs"] * 12 + ["ghz"] * 12
    assert reader.families(rows[:0]) == []


def test_without_scikit_learn_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    rows = np.zeros((4, 1))
    message = r"needs the package 'scikit-learn'; install it with: pip install 'josephson\[evaluate\]'"
    with pytest.raises(PackageMissing, match="telling two sets of circuits apart " + message):
        boosting_scores(rows, rows, 0)
    with pytest.raises(PackageMissing, match="telling families of programs " + message):
        FamilyReader(rows, ["a"] * 4)
