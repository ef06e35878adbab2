"""GHZ, W, Dicke, graph and Bell states.

Reference:
    [cruz2019efficient] for W and GHZ circuits, [bartschi2019deterministic] §3 for Dicke states.
"""

from __future__ import annotations

import math
import random

from app.quantum.families._base import Build, Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.families._graphs import GRAPH_KINDS, graph_edges
from app.quantum.program import QuantumProgram


def _maybe_measure(draft: Draft, rng: random.Random) -> QuantumProgram:
    if rng.random() < 0.5:
        draft.measure_each(range(draft.qubits))
    return draft.program()


def _ghz_linear(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size)
    draft.h(0)
    for qubit in range(size - 1):
        draft.cx(qubit, qubit + 1)
    return _maybe_measure(draft, rng)


def _ghz_star(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size)
    draft.h(0)
    for qubit in range(1, size):
        draft.cx(0, qubit)
    return _maybe_measure(draft, rng)


def _ghz_log(size: int, rng: random.Random) -> QuantumProgram:
    """Each round doubles the entangled set."""
    draft = Draft(size)
    draft.h(0)
    reached = 1
    while reached < size:
        for qubit in range(min(reached, size - reached)):
            draft.cx(qubit, reached + qubit)
        reached = min(2 * reached, size)
    return _maybe_measure(draft, rng)


def _w_controlled(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size)
    draft.x(0)
    for qubit in range(1, size):
        draft.gate("cry", qubit - 1, qubit, angle=2 * math.acos(math.sqrt(1 / (size - qubit + 1))))
        draft.cx(qubit, qubit - 1)
    return _maybe_measure(draft, rng)


def _w_split(size: int, rng: random.Random) -> QuantumProgram:
    """One excitation is handed down the line, a fitting share of it at each qubit."""
    draft = Draft(size)
    draft.x(size - 1)
    for step in range(1, size):
        angle = math.acos(math.sqrt(1 / (size - step + 1)))
        source, target = size - step, size - step - 1
        draft.gate("ry", target, angle=-angle)
        draft.gate("cz", source, target)
        draft.gate("ry", target, angle=angle)
    for qubit in range(size - 1, 0, -1):
        draft.cx(qubit - 1, qubit)
    return _maybe_measure(draft, rng)


def _dicke(size: int, rng: random.Random) -> QuantumProgram:
    excitations = rng.randint(1, max(1, min(size // 2, 5)))
    draft = Draft(size)
    draft.x(*range(size - excitations, size))
    for last in range(size, 1, -1):
        for step in range(1, min(excitations, last - 1) + 1):
            target, angle = last - step - 1, 2 * math.acos(math.sqrt(step / last))
            draft.cx(target, last - 1)
            if step == 1:
                draft.gate("cry", last - 1, target, angle=angle)
            else:
                draft.controlled_ry(angle, last - 1, last - step, target)
            draft.cx(target, last - 1)
    return draft.program()


def _graph_state(kind: str) -> Build:
    def build(size: int, rng: random.Random) -> QuantumProgram:
        draft = Draft(size)
        draft.h(*range(size))
        for a, b in graph_edges(kind, size, rng):
            draft.gate("cz", a, b)
        return _maybe_measure(draft, rng)

    return build


def _bell(size: int, rng: random.Random) -> QuantumProgram:
    """One of the four Bell states on each pair of qubits."""
    draft = Draft(2 * size)
    for pair in range(size):
        first, second = 2 * pair, 2 * pair + 1
        if rng.random() < 0.5:
            draft.x(first)
        if rng.random() < 0.5:
            draft.x(second)
        draft.h(first)
        draft.cx(first, second)
    draft.measure_each(range(2 * size))
    return draft.program()


builder_groups.add(
    "entangled_states",
    (
        Builder("ghz", "linear", _ghz_linear, ladder(2, 127), 2, few=ladder(2, 10)),
        Builder("ghz", "star", _ghz_star, ladder(2, 127), 2, few=ladder(2, 10)),
        Builder("ghz", "log", _ghz_log, ladder(4, 127), 2, few=ladder(4, 10)),
        Builder("w_state", "controlled", _w_controlled, ladder(2, 127), 2, few=ladder(2, 10)),
        Builder("w_state", "split", _w_split, ladder(2, 127), 2, few=ladder(2, 10)),
        Builder("dicke", "dicke", _dicke, ladder(2, 28), 4, few=ladder(3, 10)),
        *(
            Builder(
                "graph_state",
                kind,
                _graph_state(kind),
                ladder(3, 127 if kind != "complete" else 40),
                4 if kind in ("random", "three_regular") else 2,
                few=ladder(3, 8),
            )
            for kind in GRAPH_KINDS
        ),
        Builder("bell", "pairs", _bell, ladder(1, 40), 3, few=ladder(1, 5)),
    ),
)
