"""What a skeleton sees beside gates: barriers and conditions, but not registers."""

from __future__ import annotations

from dataclasses import replace

from app.quantum.program import Operation, QuantumProgram
from app.quantum.skeleton import ngram_labels, skeleton_hash

OPERATIONS = (
    Operation("h", (0,)),
    Operation("measure", (0,), clbit=1),
    Operation("x", (1,), condition=(1, 1)),
    Operation("barrier", (0, 1)),
    Operation("z", (2,), condition=(0, 0)),
)
PROGRAM = QuantumProgram(3, 2, OPERATIONS)


def with_operation(position: int, operation: Operation) -> QuantumProgram:
    return replace(PROGRAM, operations=(*OPERATIONS[:position], operation, *OPERATIONS[position + 1 :]))


def test_registers_do_not_count() -> None:
    cut = replace(PROGRAM, qubit_registers=(1, 2), clbit_registers=(1, 1))
    assert skeleton_hash(cut) == skeleton_hash(PROGRAM)
    assert ngram_labels(cut) == ngram_labels(PROGRAM)


def test_conditions_and_the_qubits_of_barriers_count() -> None:
    others = [
        with_operation(2, Operation("x", (1,))),
        with_operation(2, Operation("x", (1,), condition=(1, 0))),
        with_operation(4, Operation("z", (2,), condition=(1, 0))),
        with_operation(3, Operation("barrier")),
        with_operation(3, Operation("barrier", (0, 2))),
    ]
    assert len({skeleton_hash(program) for program in (PROGRAM, *others)}) == 6


def test_the_numbers_of_the_qubits_of_a_barrier_do_not_count() -> None:
    fresh = QuantumProgram(3, 0, (Operation("h", (0,)), Operation("barrier", (0, 2)), Operation("cx", (0, 2))))
    renumbered = QuantumProgram(3, 0, (Operation("h", (2,)), Operation("barrier", (0, 2)), Operation("cx", (2, 0))))
    assert skeleton_hash(fresh) == skeleton_hash(renumbered)
    used = QuantumProgram(3, 0, (Operation("cx", (2, 1)), Operation("barrier", (0, 1)), Operation("h", (0,))))
    renumbered = QuantumProgram(3, 0, (Operation("cx", (0, 2)), Operation("barrier", (1, 2)), Operation("h", (1,))))
    assert skeleton_hash(used) == skeleton_hash(renumbered)


def test_the_numbers_of_bits_that_conditions_read_do_not_count() -> None:
    swapped = tuple(
        replace(
            op,
            clbit=None if op.clbit is None else 1 - op.clbit,
            condition=None if op.condition is None else (1 - op.condition[0], op.condition[1]),
        )
        for op in OPERATIONS
    )
    assert skeleton_hash(replace(PROGRAM, operations=swapped)) == skeleton_hash(PROGRAM)
    assert ngram_labels(replace(PROGRAM, operations=swapped)) == ngram_labels(PROGRAM)
