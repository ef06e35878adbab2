"""Protocols between two parties, with corrections by quantum control instead of classical messages.

Reference:
    [nielsen2010quantum] §1.3.7 and §2.3, [bennett1984quantum] for key distribution, [clauser1969proposed] for CHSH.
"""

from __future__ import annotations

import math
import random

from app.quantum.families._base import Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.program import QuantumProgram


def _superdense(size: int, rng: random.Random) -> QuantumProgram:
    """Two bits a pair, over `size` entangled pairs."""
    draft = Draft(2 * size)
    for pair in range(size):
        draft.h(2 * pair)
        draft.cx(2 * pair, 2 * pair + 1)
    for pair in range(size):
        if rng.random() < 0.5:
            draft.gate("z", 2 * pair)
        if rng.random() < 0.5:
            draft.x(2 * pair)
    for pair in range(size):
        draft.cx(2 * pair, 2 * pair + 1)
        draft.h(2 * pair)
    draft.measure_each(range(2 * size))
    return draft.program()


def _teleportation(size: int, rng: random.Random) -> QuantumProgram:
    """A random state is handed over `size` entangled pairs in a row."""
    draft = Draft(2 * size + 1, registers=(1, 2 * size))
    draft.gate("u", 0, angles=[rng.uniform(0, math.pi), rng.uniform(-math.pi, math.pi), rng.uniform(-math.pi, math.pi)])
    for pair in range(size):
        source, near, far = 2 * pair, 2 * pair + 1, 2 * pair + 2
        draft.h(near)
        draft.cx(near, far)
        draft.cx(source, near)
        draft.h(source)
        draft.cx(near, far)
        draft.gate("cz", source, far)
    draft.measure_each([2 * size])
    return draft.program(rng)


def _entanglement_swap(size: int, rng: random.Random) -> QuantumProgram:
    """`size` pairs become one pair of the outermost qubits by Bell measurements between neighbours."""
    draft = Draft(2 * size)
    for pair in range(size):
        draft.h(2 * pair)
        draft.cx(2 * pair, 2 * pair + 1)
    for pair in range(size - 1):
        left, right, far = 2 * pair + 1, 2 * pair + 2, 2 * pair + 3
        draft.cx(left, right)
        draft.h(left)
        draft.cx(right, far)
        draft.gate("cz", left, 0)
    if rng.random() < 0.5:
        draft.h(0, 2 * size - 1)
    draft.measure_each(range(2 * size))
    return draft.program()


def _key_distribution(size: int, rng: random.Random) -> QuantumProgram:
    """Random bits sent in random bases and read in random bases."""
    draft = Draft(size)
    draft.x(*(qubit for qubit in range(size) if rng.random() < 0.5))
    draft.h(*(qubit for qubit in range(size) if rng.random() < 0.5))
    draft.barrier()
    draft.h(*(qubit for qubit in range(size) if rng.random() < 0.5))
    draft.measure_each(range(size))
    return draft.program()


def _chsh(size: int, rng: random.Random) -> QuantumProgram:
    """`size` Bell pairs, one qubit of each read at 0 or 90 degrees and the other at 45 or -45."""
    draft = Draft(2 * size, registers=(size, size))
    has_barrier = rng.random() < 0.3
    for pair in range(size):
        draft.h(pair)
        draft.cx(pair, size + pair)
    if has_barrier:
        draft.barrier()
    for pair in range(size):
        if rng.random() < 0.5:
            draft.gate("ry", pair, angle=-math.pi / 2)
        draft.gate("ry", size + pair, angle=rng.choice((-1, 1)) * math.pi / 4)
    draft.measure_each(range(2 * size))
    return draft.program(rng)


def _random_numbers(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size)
    draft.h(*range(size))
    draft.measure_each(range(size))
    return draft.program()


builder_groups.add(
    "communication",
    (
        Builder("superdense", "pairs", _superdense, ladder(1, 40), 3, few=ladder(1, 5)),
        Builder("teleportation", "relay", _teleportation, ladder(1, 32), 2),
        Builder("entanglement_swap", "relay", _entanglement_swap, ladder(2, 48), 2),
        Builder("bb84", "random", _key_distribution, ladder(3, 48), 3),
        Builder("chsh", "pairs", _chsh, ladder(1, 40), 3),
        Builder("qrng", "hadamard", _random_numbers, ladder(2, 100)),
    ),
)
