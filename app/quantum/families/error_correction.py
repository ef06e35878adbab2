"""Error-correcting codes: rounds of syndrome measurement, and small codes with an error put in.

Reference:
    [fowler2012surface] for the surface code's schedule, [shor1995scheme] for the nine-qubit code, [laflamme1996perfect]
    and [steane1996error] for those of five and of seven qubits.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from app.quantum.families._base import Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.program import QuantumProgram


def _repetition(size: int, rng: random.Random) -> QuantumProgram:
    """A distance-`size` repetition code: some rounds of syndromes, then all data."""
    rounds, basis = rng.choice((1, 2, 3, 4)), rng.choice("xz")
    data, helpers = range(size), range(size, 2 * size - 1)
    draft = Draft(2 * size - 1, registers=(size, size - 1))
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
            if rng.random() < 0.5:
                draft.barrier()
            else:
                draft.barrier(helpers)
    if basis == "x":
        draft.h(*data)
    draft.measure_each(data)
    return draft.program(rng)


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
    draft = Draft(size * size + len(checks), registers=(size * size, len(checks)))
    if rng.random() < 0.5:
        draft.x(*range(size * size))
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
    return draft.program(rng)


def _correct_majority(draft: Draft, first: int, second: int, third: int) -> None:
    draft.cx(first, second)
    draft.cx(first, third)
    draft.gate("ccx", second, third, first)


def _shor_nine(size: int, rng: random.Random) -> QuantumProgram:
    """`size` logical qubits in nine each, a Pauli error on one of them, and the decoding that undoes it."""
    draft = Draft(9 * size, registers=(9,) * size)
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
    return draft.program(rng)


def _read_checks(draft: Draft, checks: Sequence[str], helpers: range) -> None:
    """Each check, a Pauli for each qubit from the first, is measured by its helper."""
    for helper, check in zip(helpers, checks, strict=True):
        draft.h(helper)
        for qubit, pauli in enumerate(check):
            if pauli != "I":
                draft.gate("cx" if pauli == "X" else "cz", helper, qubit)
        draft.h(helper)
    draft.measure_each(helpers)


def _five_qubit(size: int, rng: random.Random) -> QuantumProgram:
    """`size` + 1 rounds of the five-qubit code's checks with a Pauli error between two rounds, then all data."""
    data, helpers = range(5), range(5, 9)
    has_barriers = rng.random() < 0.5
    draft = Draft(9, registers=(5, 4))
    if rng.random() < 0.5:
        draft.x(*data)
    for index in range(size + 1):
        _read_checks(draft, ("XZZXI", "IXZZX", "XIXZZ", "ZXIXZ"), helpers)
        if index == size:
            break
        for helper in helpers:
            draft.reset(helper)
        if has_barriers:
            draft.barrier()
        if rng.random() < 0.8:
            draft.gate(rng.choice(("x", "y", "z")), rng.randrange(5))
    draft.measure_each(data)
    return draft.program(rng)


def _distance_three(size: int, rng: random.Random) -> QuantumProgram:
    """`size` logical qubits in five each, as ring graphs: an error on one of the five, and the way back to the bits."""
    draft = Draft(5 * size, registers=(5,) * size)
    for first in range(0, 5 * size, 5):
        ring = range(first, first + 5)
        if rng.random() < 0.5:
            draft.x(first)
        start = len(draft.operations)
        for qubit in ring[1:]:
            draft.cx(first, qubit)
        draft.h(*ring)
        for step in range(5):
            draft.gate("cz", ring[step], ring[(step + 1) % 5])
        end = len(draft.operations)
        draft.gate(rng.choice(("x", "y", "z")), rng.choice(ring))
        draft.undo(start, end)
    draft.measure_each(range(5 * size))
    return draft.program(rng)


_STEANE_ROWS = ((3, 4, 5, 6), (1, 2, 5, 6), (0, 2, 4, 6))


def _steane(size: int, rng: random.Random) -> QuantumProgram:
    """The seven-qubit code's zero or one, then `size` rounds of a Pauli error and all six checks, then all data."""
    data, helpers = range(7), range(7, 13)
    draft = Draft(13, registers=(7, 6))
    checks = ["".join(pauli if q in row else "I" for q in data) for pauli in "XZ" for row in _STEANE_ROWS]
    draft.h(*(row[0] for row in _STEANE_ROWS))
    for pivot, *others in _STEANE_ROWS:
        for other in others:
            draft.cx(pivot, other)
    if rng.random() < 0.5:
        draft.x(*data)
    for index in range(size):
        if index:
            for helper in helpers:
                draft.reset(helper)
        if rng.random() < 0.8:
            draft.gate(rng.choice(("x", "y", "z")), rng.randrange(7))
        draft.barrier()
        _read_checks(draft, checks, helpers)
    draft.measure_each(data)
    return draft.program(rng)


builder_groups.add(
    "error_correction",
    (
        Builder("qec_repetition", "rounds", _repetition, tuple(range(2, 33)), 6),
        Builder("qec_five_qubit", "checks", _five_qubit, ladder(1, 16), 6),
        Builder("error_correctiond3", "ring", _distance_three, ladder(1, 24), 4),
        Builder("qec_steane", "checks", _steane, ladder(1, 16), 5),
        Builder("qec_surface", "rotated", _rotated_surface, (3, 5, 7), 10),
        Builder("qec_shor9", "one_error", _shor_nine, (1, 2, 3, 4, 5, 6), 8),
    ),
)
