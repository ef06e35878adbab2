"""Error-correcting codes: rounds of syndrome measurement, and small codes with an error put in.

Reference:
    [fowler2012surface] for the surface code's schedule, [shor1995scheme] for the nine-qubit code.
"""

from __future__ import annotations

import random

from app.quantum.families._base import Builder, builder_groups
from app.quantum.families._draft import Draft
from app.quantum.program import QuantumProgram


def _repetition(size: int, rng: random.Random) -> QuantumProgram:
    """A distance-`size` repetition code: some rounds of syndromes, then all data."""
    rounds, basis = rng.choice((1, 2, 3, 4)), rng.choice("xz")
    data, helpers = range(size), range(size, 2 * size - 1)
    draft = Draft(2 * size - 1)
    if rng.random() < 0.5:
        draft.x(*data)
    if basis == "x":
        draft.h(*data)
    for index in range(rounds):
        for helper in helpers:
            first = helper - size
            if basis == "x":
                draft.h(helper)
                draft.cx(helper, first)
                draft.cx(helper, first + 1)
                draft.h(helper)
            else:
                draft.cx(first, helper)
                draft.cx(first + 1, helper)
        draft.measure_each(helpers)
        if index + 1 < rounds:
            for helper in helpers:
                draft.reset(helper)
            draft.barrier()
    if basis == "x":
        draft.h(*data)
    draft.measure_each(data)
    return draft.program()


def _rotated_surface(size: int, rng: random.Random) -> QuantumProgram:
    """A rotated surface code of odd distance `size`: rounds of its Z and X stabilizers, then all data."""
    rounds = rng.choice((1, 2, 3) if size == 3 else (1, 2))
    checks: list[tuple[str, list[int]]] = []
    for row in range(size + 1):
        for column in range(size + 1):
            kind = "X" if (row + column) % 2 else "Z"
            corners = [(row - 1, column - 1), (row - 1, column), (row, column - 1), (row, column)]
            data = [r * size + c for r, c in corners if 0 <= r < size and 0 <= c < size]
            is_on_side = (row in (0, size)) if kind == "Z" else (column in (0, size))
            if len(data) == 4 or (len(data) == 2 and not is_on_side):
                checks.append((kind, data))
    helpers = range(size * size, size * size + len(checks))
    draft = Draft(size * size + len(checks))
    for index in range(rounds):
        for helper, (kind, data) in zip(helpers, checks, strict=True):
            if kind == "X":
                draft.h(helper)
                for qubit in data:
                    draft.cx(helper, qubit)
                draft.h(helper)
            else:
                for qubit in data:
                    draft.cx(qubit, helper)
        draft.measure_each(helpers)
        if index + 1 < rounds:
            for helper in helpers:
                draft.reset(helper)
    draft.measure_each(range(size * size))
    return draft.program()


def _correct_majority(draft: Draft, first: int, second: int, third: int) -> None:
    draft.cx(first, second)
    draft.cx(first, third)
    draft.gate("ccx", second, third, first)


def _shor_nine(size: int, rng: random.Random) -> QuantumProgram:
    """`size` logical qubits in nine each, a Pauli error on one of them, and the decoding that undoes it."""
    draft = Draft(9 * size)
    for start in range(0, 9 * size, 9):
        if rng.random() < 0.5:
            draft.x(start)
        blocks = (start, start + 3, start + 6)
        draft.cx(start, blocks[1])
        draft.cx(start, blocks[2])
        draft.h(*blocks)
        for block in blocks:
            draft.cx(block, block + 1)
            draft.cx(block, block + 2)
        draft.gate(rng.choice(("x", "y", "z")), start + rng.randrange(9))
        for block in blocks:
            _correct_majority(draft, block, block + 1, block + 2)
        draft.h(*blocks)
        _correct_majority(draft, *blocks)
    draft.measure_each(range(0, 9 * size, 9))
    return draft.program()


builder_groups.add(
    "error_correction",
    (
        Builder("qec_repetition", "rounds", _repetition, tuple(range(2, 33)), 6),
        Builder("qec_surface", "rotated", _rotated_surface, (3, 5, 7), 3),
        Builder("qec_shor9", "one_error", _shor_nine, (1, 2, 3, 4), 4),
    ),
)
