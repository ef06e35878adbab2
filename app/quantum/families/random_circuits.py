"""Circuits that are random by design, and mirror circuits, whose right output is known at any size.

Reference:
    [proctor2022measuring] for mirror circuits, [bremner2011classical] for IQP.
"""

from __future__ import annotations

import math
import random

from app.quantum.families._base import Build, Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.gates import GATES
from app.quantum.program import QuantumProgram

_CLIFFORDS = ("h", "s", "sdg", "x", "y", "z")
_GATES = ("h", "t", "s", "x", "rx", "ry", "rz", "u3", "cx", "cz", "cp", "swap", "rzz", "ccx")


def _pairs(size: int, rng: random.Random) -> list[tuple[int, int]]:
    qubits = list(range(size))
    rng.shuffle(qubits)
    return list(zip(qubits[::2], qubits[1::2], strict=False))


def _clifford(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size)
    for _ in range(rng.choice((1, 2, 4, 8))):
        for qubit in range(size):
            draft.gate(rng.choice(_CLIFFORDS), qubit)
        for a, b in _pairs(size, rng):
            draft.gate(rng.choice(("cx", "cz")), a, b)
    return draft.program()


def _iqp(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size)
    draft.h(*range(size))
    for qubit in range(size):
        draft.gate("p", qubit, angle=math.pi / 4 * rng.randint(1, 7))
    for a in range(size):
        for b in range(a + 1, size):
            if rng.random() < min(1.0, 4 / size):
                draft.gate("cp", a, b, angle=math.pi / 2 * rng.randint(1, 3))
    draft.h(*range(size))
    return draft.program()


def _mirror(base: str) -> Build:
    """A circuit, then its inverse: all qubits come back to zero."""

    def build(size: int, rng: random.Random) -> QuantumProgram:
        draft = Draft(size)
        for _ in range(rng.choice((1, 2, 3, 4))):
            for qubit in range(size):
                if base == "clifford":
                    draft.gate(rng.choice(_CLIFFORDS), qubit)
                else:
                    draft.gate(rng.choice(("rx", "ry", "rz")), qubit, angle=rng.uniform(-math.pi, math.pi))
            for a, b in _pairs(size, rng):
                draft.gate("cz" if base == "clifford" else "cx", a, b)
        end = len(draft.operations)
        draft.barrier()
        draft.undo(0, end)
        draft.barrier()
        draft.measure_each(range(size))
        return draft.program()

    return build


def _permutation(size: int, rng: random.Random) -> QuantumProgram:
    order = list(range(size))
    rng.shuffle(order)
    draft = Draft(size)
    draft.h(*range(size))
    for qubit in range(size):
        while order[qubit] != qubit:
            other = order[qubit]
            draft.gate("swap", qubit, other)
            order[qubit], order[other] = order[other], other
    return draft.program()


def _random(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size)
    for qubit in range(size):
        draft.gate(rng.choice(("h", "x", "sx")), qubit)
    for _ in range(size * rng.choice((1, 2, 4))):
        gate = GATES[rng.choice(_GATES)]
        if gate.qubit_count <= size:
            qubits = rng.sample(range(size), gate.qubit_count)
            draft.gate(gate.name, *qubits, angles=[rng.uniform(-math.pi, math.pi) for _ in range(gate.angle_count)])
    draft.measure_each(range(size))
    return draft.program()


builder_groups.add(
    "random_circuits",
    (
        Builder("clifford", "layers", _clifford, ladder(2, 40), 3, "random"),
        Builder("iqp", "sparse", _iqp, ladder(2, 40), 2, "random"),
        Builder("permutation", "swaps", _permutation, ladder(4, 40), 2, "random"),
        Builder("random", "gates", _random, ladder(2, 24), 2, "random"),
        Builder("mirror", "clifford", _mirror("clifford"), ladder(2, 40), 2),
        Builder("mirror", "rotations", _mirror("rotations"), ladder(2, 40), 2),
    ),
)
