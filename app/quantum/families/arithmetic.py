"""Arithmetic and look-up on basis states: sums, successors, conditional swaps, memories, modular powers.

Reference:
    [cuccaro2004adder] for the ripple-carry adder, [giovannetti2008qram] for the memory, [shor1994factoring] and
    [vandersypen2001shor] for powers modulo 15, [nielsen2010quantum] §4.3 for gates under many controls.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from app.quantum.families._base import Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.families.fourier import inverse_transform
from app.quantum.program import QuantumProgram, compacted


def _load(draft: Draft, qubits: Sequence[int], rng: random.Random) -> None:
    """A random number is written into the qubits."""
    draft.x(*(qubit for qubit in qubits if rng.random() < 0.5))


def _ripple_carry(size: int, rng: random.Random) -> QuantumProgram:
    """Adds two loaded numbers of `size` bits in place, all in Clifford+T; the carry comes out on one more qubit."""
    draft = Draft(2 * size + 2, registers=(1, size, size, 1))
    first, second, carry = range(1, size + 1), range(size + 1, 2 * size + 1), 2 * size + 1
    _load(draft, (*first, *second), rng)
    chain = [0, *first]
    for below, a, b in zip(chain, first, second, strict=False):
        draft.cx(a, b)
        draft.cx(a, below)
        draft.toffoli(below, b, a)
    draft.cx(chain[-1], carry)
    for below, a, b in reversed(list(zip(chain, first, second, strict=False))):
        draft.toffoli(below, b, a)
        draft.cx(a, below)
        draft.cx(below, b)
    draft.measure_each((*second, carry))
    return draft.program(rng)


def _full_adders(size: int, rng: random.Random) -> QuantumProgram:
    """A row of full adders: two loaded numbers of `size` bits, the sum in place of the second, a carry for each bit."""
    draft = Draft(3 * size + 1, registers=(size, size, size + 1))
    carries = range(2 * size, 3 * size + 1)
    _load(draft, range(2 * size), rng)
    for bit in range(size):
        a, b = bit, size + bit
        draft.gate("ccx", a, b, carries[bit + 1])
        draft.cx(a, b)
        draft.gate("ccx", carries[bit], b, carries[bit + 1])
        draft.cx(carries[bit], b)
    draft.measure_each((*range(size, 2 * size), carries[-1]))
    return draft.program(rng)


def _incrementer(size: int, rng: random.Random) -> QuantumProgram:
    """Adds one, some times over, to a loaded number or to all numbers at once."""
    draft = Draft(size + max(0, size - 3), registers=(size, max(0, size - 3)))
    if rng.random() < 0.3:
        draft.h(*range(size))
    else:
        _load(draft, range(size), rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        for target in range(size - 1, 1, -1):
            draft.h(target)
            draft.controlled_z(range(target + 1), range(size, draft.qubits))
            draft.h(target)
        if size > 1:
            draft.cx(0, 1)
        draft.x(0)
    if rng.random() < 0.6:
        draft.measure_each(range(size))
    return draft.program(rng)


def _fredkin(size: int, rng: random.Random) -> QuantumProgram:
    """Conditional swaps in Clifford+T on chosen inputs, on overlapping triples."""
    draft = Draft(size)
    _load(draft, range(size), rng)
    for control in range(0, size - 2, 2):
        a, b = control + 1, control + 2
        draft.cx(b, a)
        draft.toffoli(control, a, b)
        draft.cx(b, a)
    draft.measure_each(range(size))
    return draft.program()


def _iswap(size: int, rng: random.Random) -> QuantumProgram:
    """An excitation is swapped down the line, or to and fro between neighbours, by iSWAPs of standard gates."""
    draft = Draft(size)
    draft.x(0)
    for layer in range(rng.choice((1, 1, 2, 4)) if size > 2 else 1):
        for a in range(size - 1) if layer == 0 else range(layer % 2, size - 1, 2):
            draft.each("s", (a, a + 1))
            draft.h(a)
            draft.cx(a, a + 1)
            draft.cx(a + 1, a)
            draft.h(a + 1)
    draft.measure_each(range(size))
    return draft.program()


def _memory(size: int, rng: random.Random) -> QuantumProgram:
    """Reads a memory of 2**`size` loaded bits at an address, or at all of them, through a tree of routers."""
    cells = 2**size
    draft = Draft(size + 2 * cells + 1, registers=(size, cells, cells, 1))
    routers, memory = range(size, size + cells), range(size + cells, size + 2 * cells)
    if rng.random() < 0.5:
        draft.h(*range(size))
    else:
        _load(draft, range(size), rng)
    _load(draft, memory, rng)
    start = len(draft.operations)
    draft.x(routers[0])
    for bit in range(size):
        for cell in range(2**bit):
            draft.gate("ccx", bit, routers[cell], routers[cell + 2**bit])
            draft.cx(routers[cell + 2**bit], routers[cell])
    end = len(draft.operations)
    for router, cell in zip(routers, memory, strict=True):
        draft.gate("ccx", router, cell, draft.qubits - 1)
    draft.undo(start, end)
    draft.measure_each((*range(size), draft.qubits - 1))
    return draft.program(rng)


def _order_finding(size: int, rng: random.Random) -> QuantumProgram:
    """The order of a random number modulo 15, read in `size` bits: its powers are rotations and flips of four bits."""
    base = rng.choice((2, 4, 7, 8, 11, 13, 14))
    work = range(size, size + 4)
    draft = Draft(size + 4, registers=(size, 4))
    draft.h(*range(size))
    draft.x(work[0])
    power = base
    for control in range(size):
        if power == 1:
            break
        is_flipped = power not in (1, 2, 4, 8)
        shift = {1: 0, 2: 1, 4: 2, 8: 3}[15 - power if is_flipped else power]
        for _ in range(shift):
            for low in (2, 1, 0):
                draft.gate("cswap", control, work[low], work[low + 1])
        if is_flipped:
            for qubit in work:
                draft.cx(control, qubit)
        power = power * power % 15
    if rng.random() < 0.3:
        draft.barrier()
    inverse_transform(draft, range(size))
    draft.measure_each(range(size))
    return draft.program(rng)


def _satisfiability(size: int, rng: random.Random) -> QuantumProgram:
    """Grover's search for what satisfies some clauses of two or three of `size` variables."""
    clauses = [
        [(variable, rng.random() < 0.5) for variable in rng.sample(range(size), min(size, rng.choice((2, 3))))]
        for _ in range(rng.randint(1, 4))
    ]
    helpers = 1 + max(0, len(clauses) - 3, size - 3)
    draft = Draft(size + len(clauses) + helpers, registers=(size, len(clauses), helpers))
    results = range(size, size + len(clauses))
    spare = range(size + len(clauses), draft.qubits)
    good = sum(
        all(any(value >> variable & 1 == is_true for variable, is_true in clause) for clause in clauses)
        for value in range(2**size)
    )
    draft.h(*range(size))
    for _ in range(min(3, max(1, math.floor(math.pi / 4 * math.sqrt(2**size / max(1, good)))))):
        start = len(draft.operations)
        for result, clause in zip(results, clauses, strict=True):
            _clause(draft, clause, result, spare[0])
        end = len(draft.operations)
        draft.controlled_z(results, spare[1:])
        draft.undo(start, end)
        draft.h(*range(size))
        draft.x(*range(size))
        draft.controlled_z(range(size), spare)
        draft.x(*range(size))
        draft.h(*range(size))
    draft.measure_each(range(size))
    return compacted(draft.program(rng))


def _clause(draft: Draft, clause: Sequence[tuple[int, bool]], result: int, spare: int) -> None:
    """The clause's truth on `result`: one unless every literal is false."""
    true = [variable for variable, is_true in clause if is_true]
    draft.x(*true)
    variables = [variable for variable, _ in clause]
    if len(variables) == 2:
        draft.gate("ccx", *variables, result)
    else:
        draft.gate("ccx", variables[0], variables[1], spare)
        draft.gate("ccx", spare, variables[2], result)
        draft.gate("ccx", variables[0], variables[1], spare)
    draft.x(result)
    draft.x(*true)


builder_groups.add(
    "arithmetic",
    (
        Builder("adder_scaffold", "clifford_t", _ripple_carry, ladder(1, 24), 3),
        Builder("adder_full", "row", _full_adders, ladder(1, 36), 3),
        Builder("incrementer", "many_controls", _incrementer, ladder(2, 16), 6),
        Builder("fredkin", "clifford_t", _fredkin, tuple(range(3, 30, 2)), 4),
        Builder("iswap", "standard_gates", _iswap, ladder(2, 40), 3),
        Builder("qram", "routers", _memory, (1, 2, 3, 4), 16),
        Builder("shor", "modulo_fifteen", _order_finding, ladder(2, 20), 5),
        Builder("sat", "grover", _satisfiability, ladder(2, 6), 16),
    ),
)
