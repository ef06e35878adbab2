"""What a program is apart from its angles and the names of its qubits: a hash for splits, n-grams for likeness."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable
from functools import lru_cache

from app.quantum.program import Operation, QuantumProgram


def skeleton_hash(program: QuantumProgram) -> str:
    """32 hex digits, equal for programs that differ in angles, numbers of bits and registers only.

    Bits are renumbered by first use in program order; idle bits count by their number. Conditions count. The same on
    every machine.
    """
    text = f"{program.qubit_count} {program.clbit_count};" + _renumbered(program.operations)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def ngram_labels(program: QuantumProgram, n: int = 3) -> Counter[int]:
    """How often each run of `n` consecutive statements occurs, bits renumbered within the run and angles blanked.

    Labels are integers in 0..2**63-1, the same on every machine. A shorter program is one run.
    """
    operations = program.operations
    runs = max(1, len(operations) - n + 1)
    return Counter(_label(_shape(operations[start : start + n])) for start in range(runs))


def skeleton_statements(program: QuantumProgram) -> tuple[Hashable, ...]:
    """What `skeleton_hash` hashes, statement by statement: equal items are alike but for angles and numbering."""
    return _shape(program.operations)


def _shape(operations: Iterable[Operation]) -> tuple[tuple[str, tuple[int, ...], int | None], ...]:
    qubits: dict[int, int] = {}
    clbits: dict[int, int] = {}

    def name(op: Operation) -> str:
        if op.condition is None:
            return op.name
        clbit, value = op.condition
        return f"if {clbits.setdefault(clbit, len(clbits))}=={value} {op.name}"

    def numbers(op: Operation) -> tuple[int, ...]:
        if op.name != "barrier":
            return tuple(qubits.setdefault(qubit, len(qubits)) for qubit in op.qubits)
        # A barrier does not say in which order its qubits are first used; -1 stands for each that was not used before.
        return tuple(sorted(qubits.get(qubit, -1) for qubit in op.qubits))

    return tuple(
        (
            name(op),
            numbers(op),
            None if op.clbit is None else clbits.setdefault(op.clbit, len(clbits)),
        )
        for op in operations
    )


def _renumbered(operations: Iterable[Operation]) -> str:
    return ";".join(f"{name} {qubits} {clbit}" for name, qubits, clbit in _shape(operations))


@lru_cache(maxsize=65_536)
def _label(shape: tuple[tuple[str, tuple[int, ...], int | None], ...]) -> int:
    return int.from_bytes(hashlib.blake2b(repr(shape).encode(), digest_size=8).digest(), "big") >> 1
