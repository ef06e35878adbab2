"""Functions of operators: sums of unitaries chosen by an ancilla, and polynomials of a phase by alternating rotations.

Reference:
    [childs2012hamiltonian] for sums of unitaries, [motlagh2024generalized] for the polynomials.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from app.quantum.families._base import Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.program import QuantumProgram


def _controlled_word(draft: Draft, controls: Sequence[int], word: str, start: int) -> None:
    """The Paulis of the word, on the qubits from `start`, happen where both controls (or the one) are one."""
    for qubit, pauli in enumerate(word, start):
        if pauli == "I":
            continue
        if len(controls) == 1:
            draft.gate(f"c{pauli.lower()}", controls[0], qubit)
        elif pauli == "Y":
            draft.gate("sdg", qubit)
            draft.gate("ccx", *controls, qubit)
            draft.gate("s", qubit)
        else:
            draft.gate("ccx" if pauli == "X" else "ccz", *controls, qubit)


def _prepared(draft: Draft, weights: Sequence[float]) -> None:
    """The first one or two qubits have amplitudes that are the roots of the weights: two, or four of them."""
    shares = [weight / sum(weights) for weight in weights]
    if len(weights) == 2:
        draft.gate("ry", 0, angle=2 * math.acos(math.sqrt(shares[0])))
        return
    high = shares[2] + shares[3]
    draft.gate("ry", 1, angle=2 * math.asin(math.sqrt(high)))
    draft.x(1)
    draft.gate("cry", 1, 0, angle=2 * math.asin(math.sqrt(shares[1] / (1 - high))))
    draft.x(1)
    draft.gate("cry", 1, 0, angle=2 * math.asin(math.sqrt(shares[3] / high)))


def _block_encoding(size: int, rng: random.Random) -> QuantumProgram:
    """A weighted sum of two or four Pauli words of `size` qubits, where the ancillas come back to zero."""
    terms = rng.choice((2, 4))
    ancillas = terms // 2
    words = ["".join(rng.choice("IXYZ") for _ in range(size)) for _ in range(terms)]
    words[0] = "".join(rng.choice("XYZ") for _ in range(size))
    draft = Draft(ancillas + size, registers=(ancillas, size))
    if rng.random() < 0.4:
        draft.h(*range(ancillas, draft.qubits))
    start = len(draft.operations)
    _prepared(draft, [rng.uniform(0.1, 1) for _ in range(terms)])
    end = len(draft.operations)
    for index, word in enumerate(words):
        zeros = [ancilla for ancilla in range(ancillas) if not index >> ancilla & 1]
        draft.x(*zeros)
        _controlled_word(draft, range(ancillas), word, ancillas)
        draft.x(*zeros)
    draft.undo(start, end)
    if rng.random() < 0.6:
        draft.measure_each(range(ancillas))
    return draft.program(rng)


def _signal_processing(size: int, rng: random.Random) -> QuantumProgram:
    """A polynomial of one step of an Ising chain: the ancilla's rotations alternate with the step under its control."""
    degree = rng.choice((2, 3, 4, 6))
    couplings = [rng.uniform(-1, 1) for _ in range(size)]
    field = rng.uniform(-1, 1)
    draft = Draft(size + 1, registers=(1, size))
    draft.h(*range(1, size + 1))
    for _ in range(degree):
        draft.gate("u", 0, angles=[rng.uniform(0, math.pi), rng.uniform(-math.pi, math.pi), 0.0])
        for qubit in range(1, size):
            draft.cx(qubit, qubit + 1)
            draft.gate("crz", 0, qubit + 1, angle=couplings[qubit])
            draft.cx(qubit, qubit + 1)
        for qubit in range(1, size + 1):
            draft.gate("crx", 0, qubit, angle=field)
    draft.gate("u", 0, angles=[rng.uniform(0, math.pi), rng.uniform(-math.pi, math.pi), 0.0])
    draft.measure_each([0])
    return draft.program(rng)


builder_groups.add(
    "block_encodings",
    (
        Builder("block_encoding", "pauli_sum", _block_encoding, ladder(1, 24), 4),
        Builder("qsvt", "ising_step", _signal_processing, ladder(1, 24), 4),
    ),
)
