"""Fermions on qubits: changes of orbital basis by Givens rotations, and the Hubbard chain.

Reference:
    [kivlichan2018quantum] for Givens networks and for fermionic swaps, [jordan1928paulische] for the encoding.
"""

from __future__ import annotations

import math
import random

from app.quantum.families._base import Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.families.dynamics import pauli_rotation
from app.quantum.program import QuantumProgram


def givens(draft: Draft, first: int, second: int, angle: float) -> None:
    """Rotates one particle between two neighbouring orbitals; none and two particles stay as they are."""
    draft.cx(first, second)
    draft.gate("ry", first, angle=angle)
    draft.cx(second, first)
    draft.gate("ry", first, angle=-angle)
    draft.cx(second, first)
    draft.cx(first, second)


def _network(draft: Draft, rng: random.Random) -> None:
    """Every orbital is mixed with every other, neighbours at a time."""
    for layer in range(draft.qubits):
        for first in range(layer % 2, draft.qubits - 1, 2):
            givens(draft, first, first + 1, rng.uniform(-math.pi, math.pi))
            draft.gate("rz", first + 1, angle=rng.uniform(-math.pi, math.pi))


def _occupied(draft: Draft, rng: random.Random) -> None:
    """Between one orbital and all but one are filled, from the lowest."""
    draft.x(*range(rng.randint(1, max(1, draft.qubits - 1))))


def _basis_change(size: int, rng: random.Random) -> QuantumProgram:
    """A Slater determinant in a random orbital basis."""
    draft = Draft(size)
    _occupied(draft, rng)
    _network(draft, rng)
    if rng.random() < 0.7:
        draft.measure_each(range(size))
    return draft.program()


def _basis_test(size: int, rng: random.Random) -> QuantumProgram:
    """Some time steps of a Hamiltonian of two terms, each diagonal in a basis of its own."""
    steps, seed = rng.choice((1, 2)), rng.randrange(2**31)
    phases = [rng.uniform(-1, 1) for _ in range(size)]
    couplings = [rng.uniform(-1, 1) for _ in range(size - 1)]
    draft = Draft(size)
    _occupied(draft, rng)
    for _ in range(steps):
        start = len(draft.operations)
        _network(draft, random.Random(seed))
        end = len(draft.operations)
        for qubit, phase in enumerate(phases):
            draft.gate("rz", qubit, angle=phase)
        draft.undo(start, end)
        for first, coupling in enumerate(couplings):
            draft.gate("rzz", first, first + 1, angle=coupling)
    draft.measure_each(range(size))
    return draft.program()


def _hubbard(size: int, rng: random.Random) -> QuantumProgram:
    """Steps of the Hubbard chain of `size` sites: hopping within each spin, repulsion between the spins of a site."""
    hopping, repulsion, time = rng.choice((0.5, 1.0)), rng.choice((1.0, 2.0, 4.0, 8.0)), rng.choice((0.05, 0.1, 0.2))
    spins = (range(size), range(size, 2 * size))
    draft = Draft(2 * size, registers=(size, size))
    draft.x(*spins[0][::2], *spins[1][1::2])
    is_native = rng.random() < 0.5
    for _ in range(rng.choice((1, 2, 3, 4))):
        for spin in spins:
            for first in (*spin[:-1:2], *spin[1:-1:2]):
                for axis in "XY":
                    if is_native:
                        draft.gate(f"r{axis}{axis}".lower(), first, first + 1, angle=-hopping * time)
                    else:
                        pauli_rotation(draft, axis * 2, [first, first + 1], -hopping * time)
        for up, down in zip(*spins, strict=True):
            draft.gate("cp", up, down, angle=-repulsion * time)
    if rng.random() < 0.6:
        draft.measure_each(range(2 * size))
    return draft.program(rng)


builder_groups.add(
    "chemistry",
    (
        Builder("basis_change", "givens", _basis_change, ladder(2, 14), 5),
        Builder("basis_test", "two_bases", _basis_test, ladder(2, 10), 6),
        Builder("trotter_hubbard", "chain", _hubbard, ladder(2, 24), 5),
    ),
)
