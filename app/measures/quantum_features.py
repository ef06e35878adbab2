"""What a program looks like in numbers: its interaction graph, its dependencies, and the habits of who wrote it.

The numbers know nothing of names of registers or of how an angle is spelt, so they cannot tell texts by their format.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice, pairwise

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from app.quantum.gates import GATES
from app.quantum.program import STATEMENTS, Operation, QuantumProgram

#: Most maximal cliques that are counted; a graph may have exponentially many.
MAX_CLIQUES = 5_000

#: Names of `structure`, in its order. Those up to `clustering` are of the interaction graph, then up to
#: `critical_share` of the dependency graph, then of the schedule.
STRUCTURE = (
    "path_length", "adjacency_std", "diameter", "betweenness", "degree", "cliques", "clustering",
    "critical_path", "path_mean", "path_std", "critical_share",
    "density", "idling",
)  # fmt: skip

_HABITS = (
    "two_qubit_share", "gates_per_qubit", "depth_per_gate", "depth_per_qubit", "measured_share", "qubit_step",
    "ascending_share", "repeated_name_share", "identical_neighbour_share", "used_qubit_share",
)  # fmt: skip

#: Names of `features`, in its order.
FEATURES = (*_HABITS, *(f"share_of_{name}" for name in (*GATES, *STATEMENTS)), *STRUCTURE)


def features(program: QuantumProgram) -> dict[str, float]:
    """The program by each of FEATURES; all finite.

    Shares of names are of all statements. Steps are from a statement's first qubit to that of the statement before,
    in qubit numbers; barriers have none.
    """
    operations = program.operations
    count, qubits = max(1, len(operations)), max(1, program.qubit_count)
    gates = [op for op in operations if op.name in GATES]
    firsts = np.array([op.qubits[0] for op in operations if op.qubits and op.name != "barrier"], float)
    steps = np.diff(firsts) if len(firsts) > 1 else np.zeros(1)
    pairs = list(pairwise(operations))
    names = Counter(op.name for op in operations)
    measured = {op.qubits[0] for op in operations if op.name == "measure"}
    habits = (
        sum(len(op.qubits) == 2 for op in gates) / max(1, len(gates)),
        len(gates) / qubits,
        program.depth / max(1, len(gates)),
        program.depth / qubits,
        len(measured) / qubits,
        float(np.abs(steps).mean()),
        float((steps > 0).mean()),
        sum(first.name == second.name for first, second in pairs) / max(1, len(pairs)),
        sum(_is_alike(first, second) for first, second in pairs) / max(1, len(pairs)),
        1 - len(program.idle_qubits) / qubits,
    )
    shares = (names[name] / count for name in (*GATES, *STATEMENTS))
    return dict(zip(FEATURES, (*habits, *shares, *structure(program).values()), strict=True))


def table(rows: Sequence[Mapping[str, float]], names: Sequence[str] = FEATURES) -> NDArray[np.float64]:
    """The named numbers of each program, [program, name]."""
    return np.array([[row[name] for name in names] for row in rows], float).reshape(len(rows), len(names))


def structure(program: QuantumProgram) -> dict[str, float]:
    """The program by each of STRUCTURE.

    The interaction graph joins qubits that share a gate on two qubits, weighed by how many: the average shortest path
    of its largest component, the standard deviation of its weighted adjacency matrix, its diameter (0 where it is not
    connected), the largest betweenness, the mean degree, how many maximal cliques it has (at most MAX_CLIQUES) and its
    mean clustering. The dependency graph joins statements that follow each other on a qubit or a classical bit: the
    longest path (in statements), mean and standard deviation over the gates of the longest path through each, and the
    share of gates that a longest path of all passes. Density and idling are of the schedule: see `_density`.

    Reference:
        [bandic2024profiling] §III: metrics of interaction graph, gate dependency graph, density and idling. Where they
        take path lengths we take, for every gate, the longest path through it.
    """
    graph = _graph_metrics(program)
    paths = _longest_paths(program)
    longest = max(paths, default=0)
    values = (
        *graph,
        float(longest),
        float(np.mean(paths)) if paths else 0.0,
        float(np.std(paths)) if paths else 0.0,
        sum(length == longest for length in paths) / len(paths) if paths else 0.0,
        _density(program),
        _idling(program),
    )
    return dict(zip(STRUCTURE, values, strict=True))


def statement_rows(program: QuantumProgram) -> NDArray[np.int64]:
    """A row a statement for classifiers that read programs in order, [statement, 6].

    Its name, up to three qubits (renumbered by first use, 0 for none), its first angle in steps of pi/8 modulo 4 pi
    (0 for none), and whether it has a condition.
    """
    names = {name: number for number, name in enumerate((*GATES, *STATEMENTS))}
    numbers: dict[int, int] = {}
    rows = np.zeros((len(program.operations), 6), np.int64)
    for place, op in enumerate(program.operations):
        rows[place, 0] = names[op.name]
        if op.name != "barrier":
            for column, qubit in enumerate(op.qubits, 1):
                rows[place, column] = numbers.setdefault(qubit, len(numbers) + 1)
        if op.angles:
            rows[place, 4] = 1 + round(op.angles[0] / (math.pi / 8)) % 32
        rows[place, 5] = op.condition is not None
    return rows


def _is_alike(first: Operation, second: Operation) -> bool:
    return replace(first, angles=()) == replace(second, angles=()) and all(
        abs(a - b) < 1e-4 for a, b in zip(first.angles, second.angles, strict=True)
    )


def _graph_metrics(program: QuantumProgram) -> tuple[float, ...]:
    count = program.qubit_count
    weights = np.zeros((count, count))
    for op in program.operations:
        if op.name in GATES and len(op.qubits) == 2:
            first, second = op.qubits
            weights[first, second] += 1
            weights[second, first] += 1
    joined = (weights > 0).astype(float)
    distances, betweenness = _shortest_paths(joined)
    reached = np.isfinite(distances)
    component = reached[int(reached.sum(axis=1).argmax())] if count else np.zeros(0, bool)
    inside = int(component.sum())
    within = distances[np.ix_(component, component)]
    degrees = joined.sum(axis=1)
    triangles = ((joined @ joined) * joined).sum(axis=1)
    possible = degrees * (degrees - 1)
    clustering = np.divide(triangles, possible, out=np.zeros(count), where=possible > 0)
    cliques = sum(1 for _ in islice(nx.find_cliques(nx.from_numpy_array(joined)), MAX_CLIQUES))
    return (
        float(within.sum() / (inside * (inside - 1))) if inside > 1 else 0.0,
        float(weights.std()) if count else 0.0,
        float(within.max()) if inside == count and count else 0.0,
        float(betweenness.max(initial=0.0)),
        float(degrees.mean()) if count else 0.0,
        float(cliques),
        float(clustering.mean()) if count else 0.0,
    )


def _shortest_paths(joined: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps from each node to each (inf where there is no way), and each node's betweenness, 0 to 1.

    Reference:
        [brandes2001faster] §3: counts of shortest paths forwards, dependencies backwards; here all sources at once.
    """
    count = len(joined)
    distances = np.full((count, count), np.inf)
    np.fill_diagonal(distances, 0.0)
    ways = np.eye(count)
    step = 0
    while True:
        front = np.where(distances == step, ways, 0.0) @ joined
        fresh = (front > 0) & np.isinf(distances)
        if not fresh.any():
            break
        step += 1
        distances[fresh] = step
        ways[fresh] = front[fresh]
    depends = np.zeros((count, count))
    for level in range(step, 0, -1):
        share = np.divide(1 + depends, ways, out=np.zeros((count, count)), where=distances == level)
        depends += np.where(distances == level - 1, (share @ joined) * ways, 0.0)
    np.fill_diagonal(depends, 0.0)
    pairs = (count - 1) * (count - 2)
    return distances, depends.sum(axis=0) / pairs if pairs > 0 else np.zeros(count)


def _longest_paths(program: QuantumProgram) -> list[int]:
    """For each gate, in program order, the statements of the longest chain of dependencies through it.

    A measurement is a statement of the chain and joins a qubit to a classical bit; a barrier is none and joins nothing.
    """
    operations = [op for op in program.operations if op.name != "barrier"]
    before = _levels(operations)
    after = _levels(operations[::-1])[::-1]
    return [early + late - 1 for op, early, late in zip(operations, before, after, strict=True) if op.name in GATES]


def _levels(operations: Sequence[Operation]) -> list[int]:
    """How many statements the longest chain has that ends with each."""
    reached: dict[tuple[str, int], int] = {}
    levels = []
    for op in operations:
        wires = _wires(op)
        level = 1 + max((reached.get(wire, 0) for wire in wires), default=0)
        reached.update(dict.fromkeys(wires, level))
        levels.append(level)
    return levels


def _wires(op: Operation) -> list[tuple[str, int]]:
    return [*(("q", qubit) for qubit in op.qubits), *(("c", clbit) for clbit in op.clbits)]


def _density(program: QuantumProgram) -> float:
    """``(2 n2 + n1) / ((depth - 1) (qubits - 1))`` of gates on two and on one qubit, at most 1.

    Where depth or width is 1 and the formula divides by nothing, it is 1, its limit.
    """
    gates = [op for op in program.operations if op.name in GATES]
    busy = sum({1: 1, 2: 2}.get(len(op.qubits), 0) for op in gates)
    room = (program.depth - 1) * (program.qubit_count - 1)
    return min(1.0, busy / room) if room > 0 else float(bool(gates))


def _idling(program: QuantumProgram) -> float:
    """Mean over the qubits of the share of the depth in which nothing acts on the qubit, barriers not counting."""
    operations = [op for op in program.operations if op.name != "barrier"]
    depth = max(_levels(operations), default=0)
    if not depth or not program.qubit_count:
        return 0.0
    busy = Counter(qubit for op in operations for qubit in op.qubits)
    return 1 - sum(busy.values()) / (depth * program.qubit_count)
