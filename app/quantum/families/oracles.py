"""Algorithms that ask an oracle: hidden strings, shifts and marks."""

from __future__ import annotations

import math
import random

from app.quantum.families._base import Build, Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.families._graphs import graph_edges
from app.quantum.program import QuantumProgram


def _bits(size: int, rng: random.Random) -> list[int]:
    """Random bits, not all zero."""
    bits = [rng.randint(0, 1) for _ in range(size)]
    if not any(bits):
        bits[rng.randrange(size)] = 1
    return bits


def _ones(bits: list[int]) -> list[int]:
    return [index for index, bit in enumerate(bits) if bit]


def _bernstein_vazirani(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size + 1)
    draft.x(size)
    draft.h(*range(size + 1))
    for qubit in _ones(_bits(size, rng)):
        draft.cx(qubit, size)
    draft.h(*range(size))
    draft.measure_each(range(size))
    return draft.program()


def _deutsch_jozsa(kind: str) -> Build:
    def build(size: int, rng: random.Random) -> QuantumProgram:
        draft = Draft(size + 1)
        draft.x(size)
        draft.h(*range(size + 1))
        if kind == "constant_one":
            draft.x(size)
        elif kind == "balanced":
            start = len(draft.operations)
            draft.x(*_ones(_bits(size, rng)))
            end = len(draft.operations)
            for qubit in range(size):
                draft.cx(qubit, size)
            draft.undo(start, end)
        draft.h(*range(size))
        draft.measure_each(range(size))
        return draft.program()

    return build


def _simon(size: int, rng: random.Random) -> QuantumProgram:
    secret = _ones(_bits(size, rng))
    draft = Draft(2 * size)
    draft.h(*range(size))
    for qubit in range(size):
        draft.cx(qubit, size + qubit)
    for qubit in secret:
        draft.cx(secret[0], size + qubit)
    draft.h(*range(size))
    draft.measure_each(range(size))
    return draft.program()


def _hidden_shift(size: int, rng: random.Random) -> QuantumProgram:
    """The shift of the bent function x.y on two halves, read in one query. `size` is a half."""
    shift = _ones([rng.randint(0, 1) for _ in range(2 * size)])
    pairs = list(range(size))
    rng.shuffle(pairs)
    draft = Draft(2 * size)
    draft.h(*range(2 * size))
    draft.x(*shift)
    for qubit, partner in enumerate(pairs):
        draft.gate("cz", qubit, size + partner)
    draft.x(*shift)
    draft.h(*range(2 * size))
    for qubit, partner in enumerate(pairs):
        draft.gate("cz", qubit, size + partner)
    draft.h(*range(2 * size))
    draft.measure_each(range(2 * size))
    return draft.program()


def _hidden_linear_function(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size)
    draft.h(*range(size))
    for a, b in graph_edges(rng.choice(("random", "grid", "path")), size, rng):
        draft.gate("cz", a, b)
    draft.each("s", _ones(_bits(size, rng)))
    draft.h(*range(size))
    if rng.random() < 0.5:
        draft.measure_each(range(size))
    return draft.program()


def _mark(draft: Draft, size: int, mark: int) -> None:
    """The phase -1 on the basis state `mark`."""
    zeros = [qubit for qubit in range(size) if not mark >> qubit & 1]
    draft.x(*zeros)
    draft.controlled_z(range(size), range(size, draft.qubits))
    draft.x(*zeros)


def _grover(size: int, rng: random.Random) -> QuantumProgram:
    marks = rng.sample(range(2**size), rng.randint(1, 2 if size > 2 else 1))
    rounds = max(1, math.floor(math.pi / 4 * math.sqrt(2**size / len(marks))))
    draft = Draft(size + max(0, size - 3))
    draft.h(*range(size))
    for _ in range(min(rounds, rng.randint(1, 4))):
        for mark in marks:
            _mark(draft, size, mark)
        draft.h(*range(size))
        _mark(draft, size, 0)
        draft.h(*range(size))
    draft.measure_each(range(size))
    return draft.program()


def _bit_flip_oracle(size: int, rng: random.Random) -> QuantumProgram:
    """The conjunction, disjunction or parity of the qubits, some of them negated, in one more qubit."""
    kind = rng.choice(("and", "or", "xor"))
    helpers = max(0, size - 2)
    draft = Draft(size + 1 + (helpers if kind != "xor" else 0))
    flipped = _ones([rng.randint(0, 1) for _ in range(size)])
    draft.x(*flipped)
    if kind == "xor":
        for qubit in range(size):
            draft.cx(qubit, size)
        draft.x(*flipped)
        return draft.program()
    draft.h(size)
    draft.controlled_z([*range(size), size], range(size + 1, draft.qubits))
    draft.h(size)
    draft.x(*flipped)
    if kind == "or":
        draft.x(size)
    return draft.program()


def _toffoli(size: int, rng: random.Random) -> QuantumProgram:
    """A Toffoli gate in Clifford+T on chosen inputs, repeated on overlapping triples."""
    draft = Draft(size)
    draft.x(*_ones([rng.randint(0, 1) for _ in range(size)]))
    for a in range(0, size - 2, 2):
        b, c = a + 1, a + 2
        draft.h(c)
        for control, rotation in ((b, "tdg"), (a, "t"), (b, "tdg")):
            draft.cx(control, c)
            draft.gate(rotation, c)
        draft.cx(a, c)
        draft.gate("t", b)
        draft.gate("t", c)
        draft.h(c)
        draft.cx(a, b)
        draft.gate("t", a)
        draft.gate("tdg", b)
        draft.cx(a, b)
    draft.measure_each(range(size))
    return draft.program()


builder_groups.add(
    "oracles",
    (
        Builder("bernstein_vazirani", "random_string", _bernstein_vazirani, ladder(2, 127), 4),
        Builder("deutsch_jozsa", "balanced", _deutsch_jozsa("balanced"), ladder(2, 127), 3),
        Builder("deutsch_jozsa", "constant_zero", _deutsch_jozsa("constant_zero"), ladder(2, 127)),
        Builder("deutsch_jozsa", "constant_one", _deutsch_jozsa("constant_one"), ladder(2, 127)),
        Builder("simon", "random_string", _simon, ladder(2, 64), 3),
        Builder("hidden_shift", "bent", _hidden_shift, ladder(1, 32), 3),
        Builder("hidden_linear_function", "graph", _hidden_linear_function, ladder(3, 40), 3),
        Builder("grover", "v_chain", _grover, ladder(2, 8), 6),
        Builder("bit_flip_oracle", "and_or_xor", _bit_flip_oracle, ladder(2, 12), 4),
        Builder("toffoli", "clifford_t", _toffoli, (3, 5, 7, 9, 11), 2),
    ),
)
