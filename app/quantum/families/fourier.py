"""The quantum Fourier transform and what is built on it: phase estimation, and adders in the Fourier basis.

Reference:
    [draper2000addition] for the adders.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from app.quantum.families._base import Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.program import QuantumProgram


def transform(draft: Draft, qubits: Sequence[int], *, dropped: int = 0, has_swaps: bool = True) -> None:
    """The Fourier transform, least significant qubit first; rotations below pi/2**(n - dropped - 1) are left out."""
    size = len(qubits)
    for high in reversed(range(size)):
        draft.h(qubits[high])
        for low in reversed(range(max(0, high - (size - dropped - 1)), high)):
            draft.gate("cp", qubits[high], qubits[low], angle=math.pi / 2 ** (high - low))
    if has_swaps:
        for low in range(size // 2):
            draft.gate("swap", qubits[low], qubits[size - low - 1])


def inverse_transform(draft: Draft, qubits: Sequence[int], *, has_swaps: bool = True) -> None:
    """The inverse of the Fourier transform."""
    start = len(draft.operations)
    transform(draft, qubits, has_swaps=has_swaps)
    forward = draft.operations[start:]
    draft.undo(start)
    del draft.operations[start : start + len(forward)]


def _qft(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size)
    dropped = rng.choice((0, 0, 1, 2, 3, max(0, size - 5)))
    transform(draft, range(size), dropped=min(dropped, max(0, size - 2)), has_swaps=rng.random() < 0.6)
    if rng.random() < 0.4:
        forward = len(draft.operations)
        draft.undo(0)
        del draft.operations[:forward]
    if rng.random() < 0.3:
        draft.measure_each(range(size))
    return draft.program()


def _qft_entangled(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size)
    draft.h(size - 1)
    for qubit in range(size - 1, 0, -1):
        draft.cx(qubit, qubit - 1)
    transform(draft, range(size))
    draft.measure_each(range(size))
    return draft.program()


def _phase_estimation(size: int, rng: random.Random) -> QuantumProgram:
    """The phase of a diagonal gate, in `size` bits; exact where the phase has that many."""
    gate = rng.choice(("cp", "crz"))
    phase = rng.randint(1, 2**size - 1) / 2**size if rng.random() < 0.5 else rng.uniform(0.01, 0.99)
    draft = Draft(size + 1, registers=(size, 1))
    draft.x(size)
    draft.h(*range(size))
    for qubit in range(size):
        turns = phase * 2**qubit % (1 if gate == "cp" else 2)
        draft.gate(gate, qubit, size, angle=2 * math.pi * turns)
    inverse_transform(draft, range(size))
    draft.measure_each(range(size))
    return draft.program(rng)


def _add_constant(size: int, rng: random.Random) -> QuantumProgram:
    constant = rng.randint(1, 2**size - 1)
    draft = Draft(size)
    transform(draft, range(size), has_swaps=False)
    for qubit in range(size):
        draft.gate("p", qubit, angle=2 * math.pi * (constant * 2.0 ** -(qubit + 1) % 1))
    inverse_transform(draft, range(size), has_swaps=False)
    return draft.program()


def _draper(size: int, rng: random.Random) -> QuantumProgram:
    """Adds one register of `size` qubits to another, modulo 2**size."""
    draft = Draft(2 * size, registers=(size, size))
    target = range(size, 2 * size)
    transform(draft, target, has_swaps=False)
    for high in range(size):
        for low in range(high + 1):
            draft.gate("cp", low, target[high], angle=math.pi / 2 ** (high - low))
    inverse_transform(draft, target, has_swaps=False)
    return draft.program(rng)


builder_groups.add(
    "fourier",
    (
        Builder("qft", "textbook", _qft, ladder(2, 48), 14, few=ladder(2, 10)),
        Builder("qft_entangled", "ghz", _qft_entangled, ladder(2, 48), few=ladder(2, 10)),
        Builder("qpe", "diagonal", _phase_estimation, ladder(2, 40), 3, few=ladder(2, 9)),
        Builder("adder_qft_const", "constant", _add_constant, ladder(2, 30), 3, few=ladder(2, 10)),
        Builder("adder_draper", "modular", _draper, ladder(2, 24), 2, few=ladder(2, 5)),
    ),
)
