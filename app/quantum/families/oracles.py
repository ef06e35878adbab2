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
    draft = Draft(size + 1, registers=(size, 1))
    draft.x(size)
    draft.h(*range(size + 1))
    has_barriers = rng.random() < 0.3
    if has_barriers:
        draft.barrier()
    for qubit in _ones(_bits(size, rng)):
        draft.cx(qubit, size)
    if has_barriers:
        draft.barrier()
    draft.h(*range(size))
    draft.measure_each(range(size))
    return draft.program(rng)


def _deutsch_jozsa(kind: str) -> Build:
    def build(size: int, rng: random.Random) -> QuantumProgram:
        draft = Draft(size + 1, registers=(size, 1))
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
        return draft.program(rng)

    return build


def _learning_parity(size: int, rng: random.Random) -> QuantumProgram:
    """A hidden string from the parities of random inputs: read where the result, in the middle of the line, is one."""
    result = size // 2
    inputs = [qubit for qubit in range(size + 1) if qubit != result]
    draft = Draft(size + 1)
    draft.h(*inputs)
    for index in reversed(_ones(_bits(size, rng))):
        draft.cx(inputs[index], result)
    draft.h(*range(size + 1))
    draft.measure_each(range(size + 1))
    return draft.program()


def _simon(size: int, rng: random.Random) -> QuantumProgram:
    secret = _ones(_bits(size, rng))
    draft = Draft(2 * size, registers=(size, size))
    draft.h(*range(size))
    for qubit in range(size):
        draft.cx(qubit, size + qubit)
    for qubit in secret:
        draft.cx(secret[0], size + qubit)
    draft.h(*range(size))
    draft.measure_each(range(size))
    return draft.program(rng)


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


def _hidden_subgroup(size: int, rng: random.Random) -> QuantumProgram:
    """The shift of the bent function that multiplies neighbours, with controlled phases made of controlled X gates."""
    shift = _ones([rng.randint(0, 1) for _ in range(2 * size)])
    low, high = range(0, 2 * size, 2), range(1, 2 * size, 2)
    draft = Draft(2 * size)

    def multiply() -> None:
        draft.h(*high)
        for a, b in zip(low, high, strict=True):
            draft.cx(a, b)
        draft.h(*high)

    draft.h(*range(2 * size))
    draft.x(*shift)
    multiply()
    draft.x(*shift)
    draft.h(*range(2 * size))
    multiply()
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
    draft = Draft(size + max(0, size - 3), registers=(size, max(0, size - 3)))
    draft.h(*range(size))
    for _ in range(min(rounds, rng.randint(1, 4))):
        for mark in marks:
            _mark(draft, size, mark)
        draft.h(*range(size))
        _mark(draft, size, 0)
        draft.h(*range(size))
    draft.measure_each(range(size))
    return draft.program(rng)


def _bit_flip_oracle(size: int, rng: random.Random) -> QuantumProgram:
    """The conjunction, disjunction or parity of the qubits, some of them negated, in one more qubit."""
    kind = rng.choice(("and", "or", "xor"))
    helpers = 0 if kind == "xor" else max(0, size - 2)
    draft = Draft(size + 1 + helpers, registers=(size, 1, helpers))
    flipped = _ones([rng.randint(0, 1) for _ in range(size)])
    draft.x(*flipped)
    if kind == "xor":
        for qubit in range(size):
            draft.cx(qubit, size)
        draft.x(*flipped)
        return draft.program(rng)
    draft.h(size)
    draft.controlled_z([*range(size), size], range(size + 1, draft.qubits))
    draft.h(size)
    draft.x(*flipped)
    if kind == "or":
        draft.x(size)
    return draft.program(rng)


def _toffoli(size: int, rng: random.Random) -> QuantumProgram:
    """A Toffoli gate in Clifford+T on chosen inputs, repeated on overlapping triples."""
    draft = Draft(size)
    draft.x(*_ones([rng.randint(0, 1) for _ in range(size)]))
    for a in range(0, size - 2, 2):
        draft.toffoli(a, a + 1, a + 2)
    draft.measure_each(range(size))
    return draft.program()


builder_groups.add(
    "oracles",
    (
        Builder("bernstein_vazirani", "random_string", _bernstein_vazirani, ladder(2, 127), 6, few=ladder(2, 9)),
        Builder("deutsch_jozsa", "balanced", _deutsch_jozsa("balanced"), ladder(1, 127), 3, few=ladder(1, 9)),
        Builder("deutsch_jozsa", "constant_zero", _deutsch_jozsa("constant_zero"), ladder(2, 127)),
        Builder("deutsch_jozsa", "constant_one", _deutsch_jozsa("constant_one"), ladder(2, 127)),
        Builder("lpn", "parity", _learning_parity, ladder(2, 64), 2),
        Builder("hidden_subgroup", "bent_pairs", _hidden_subgroup, ladder(1, 32), 2),
        Builder("simon", "random_string", _simon, ladder(2, 64), 4, few=ladder(2, 5)),
        Builder("hidden_shift", "bent", _hidden_shift, ladder(1, 32), 3, few=ladder(1, 5)),
        Builder("hidden_linear_function", "graph", _hidden_linear_function, ladder(3, 48), 3),
        Builder("grover", "v_chain", _grover, ladder(2, 8), 12, few=ladder(2, 5)),
        Builder("bit_flip_oracle", "and_or_xor", _bit_flip_oracle, ladder(2, 14), 8),
        Builder("toffoli", "clifford_t", _toffoli, tuple(range(3, 24, 2)), 6),
    ),
)
