"""Quantum programs: what they refuse, and what they count."""

from __future__ import annotations

import math

import pytest
from qiskit import QuantumCircuit

from app.quantum.gates import GATES, QASM2_DEFINITIONS, QASM3_DEFINITIONS, STDGATES
from app.quantum.program import Operation, QuantumProgram, compacted


@pytest.mark.parametrize(
    ("operation", "sentence"),
    [
        (Operation("warp", (0,)), "statement 1 (warp): unknown operation"),
        (Operation("cx", (0,)), "statement 1 (cx): 1 qubits, needs 2"),
        (
            Operation("barrier", (0, 1)),
            "statement 1 (barrier): lists every qubit; a barrier over all of them lists none",
        ),
        (Operation("barrier", (2,)), "statement 1 (barrier): a qubit outside 0..1"),
        (Operation("rx", (0,)), "statement 1 (rx): 0 angles, needs 1"),
        (Operation("h", (2,)), "statement 1 (h): a qubit outside 0..1"),
        (Operation("h", (-1,)), "statement 1 (h): a qubit outside 0..1"),
        (Operation("cx", (1, 1)), "statement 1 (cx): one qubit twice"),
        (Operation("rx", (0,), (math.inf,)), "statement 1 (rx): an angle that is not finite"),
        (Operation("rx", (0,), (math.nan,)), "statement 1 (rx): an angle that is not finite"),
        (Operation("measure", (0,)), "statement 1 (measure): a classical bit belongs to measure and to nothing else"),
        (Operation("h", (0,), clbit=0), "statement 1 (h): a classical bit belongs to measure and to nothing else"),
        (Operation("measure", (0,), clbit=1), "statement 1 (measure): a classical bit outside 0..0"),
        (Operation("h", (0,), condition=(1, 1)), "statement 1 (h): a classical bit outside 0..0"),
        (Operation("h", (0,), condition=(0, 2)), "statement 1 (h): a condition on the value 2, a bit holds 0 or 1"),
        (
            Operation("measure", (0,), clbit=0, condition=(0, 1)),
            "statement 1 (measure): a condition belongs to gates and reset only",
        ),
        (Operation("barrier", condition=(0, 1)), "statement 1 (barrier): a condition belongs to gates and reset only"),
    ],
)
def test_a_program_refuses_a_statement_that_means_nothing(operation: Operation, sentence: str) -> None:
    with pytest.raises(ValueError, match="statement") as caught:
        QuantumProgram(2, 1, (Operation("h", (0,)), operation))
    assert str(caught.value) == sentence


@pytest.mark.parametrize("qubits", [(1, 0), (1, 1)])
def test_the_qubits_of_a_barrier_ascend(qubits: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"statement 0 \(barrier\): the qubits of a barrier must ascend"):
        QuantumProgram(3, 0, (Operation("barrier", qubits),))


@pytest.mark.parametrize("sizes", [(1, 1), (3, 0), (4, -1), (2, 2)])
def test_registers_hold_every_bit_once(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"qubit_registers .* are not sizes of at least 1 that add up to 3"):
        QuantumProgram(3, 0, (), sizes)
    with pytest.raises(ValueError, match=r"clbit_registers .* are not sizes of at least 1 that add up to 3"):
        QuantumProgram(1, 3, (), (), sizes)


def test_one_register_is_no_register() -> None:
    assert QuantumProgram(3, 2, (), (3,), (2,)) == QuantumProgram(3, 2, ())


def test_a_barrier_aligns_and_does_not_count_as_depth() -> None:
    operations = (
        Operation("h", (0,)),
        Operation("h", (0,)),
        Operation("barrier"),
        Operation("h", (1,)),
        Operation("measure", (2,), clbit=0),
        Operation("reset", (2,)),
    )
    circuit = QuantumCircuit(3, 1)
    circuit.h(0)
    circuit.h(0)
    circuit.barrier()
    circuit.h(1)
    circuit.measure(2, 0)
    circuit.reset(2)
    program = QuantumProgram(3, 1, operations)
    assert program.depth == circuit.depth() == 4
    assert program.gate_count == 3


def test_a_barrier_aligns_its_own_qubits_only() -> None:
    operations = (
        Operation("h", (0,)),
        Operation("h", (0,)),
        Operation("barrier", (0, 1)),
        Operation("h", (1,)),
        Operation("h", (2,)),
    )
    circuit = QuantumCircuit(3)
    circuit.h([0, 0])
    circuit.barrier(0, 1)
    circuit.h([1, 2])
    assert QuantumProgram(3, 0, operations).depth == circuit.depth() == 3


def test_a_condition_chains_what_it_hangs_on() -> None:
    operations = (
        Operation("h", (0,)),
        Operation("measure", (0,), clbit=0),
        Operation("x", (1,), condition=(0, 1)),
        Operation("measure", (2,), clbit=0),
    )
    circuit = QuantumCircuit(3, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(2, 0)
    program = QuantumProgram(3, 1, operations)
    assert program.depth == circuit.depth() == 4
    assert program.is_dynamic
    assert not QuantumProgram(3, 1, operations[:2]).is_dynamic
    assert program.operations[2].clbits == program.operations[1].clbits == (0,)


def test_a_compact_program_has_no_idle_bits_and_its_registers_shrink() -> None:
    wide = QuantumProgram(
        6,
        4,
        (
            Operation("cx", (1, 4)),
            Operation("measure", (1,), clbit=3),
            Operation("x", (5,), condition=(1, 0)),
            Operation("barrier", (0, 1, 4)),
            Operation("barrier", (0, 2)),
            Operation("barrier", (1, 2, 4, 5)),
            Operation("barrier"),
        ),
        (2, 2, 2),
        (1, 2, 1),
    )
    compact = QuantumProgram(
        3,
        2,
        (
            Operation("cx", (0, 1)),
            Operation("measure", (0,), clbit=1),
            Operation("x", (2,), condition=(0, 0)),
            Operation("barrier", (0, 1)),
            Operation("barrier"),
            Operation("barrier"),
        ),
        (1, 2),
        (1, 1),
    )
    assert compacted(wide) == compact
    assert compacted(compact) is compact


def test_the_gates_used_come_in_vocabulary_order() -> None:
    program = QuantumProgram(2, 1, (Operation("h", (0,)), Operation("cx", (0, 1)), Operation("measure", (0,), clbit=0)))
    assert program.gates_used == ("cx", "h")


def test_measuring_into_one_bit_twice_makes_a_chain() -> None:
    operations = (Operation("measure", (0,), clbit=0), Operation("measure", (1,), clbit=0))
    assert QuantumProgram(2, 1, operations).depth == 2


def test_a_qubit_that_only_a_barrier_touches_is_idle() -> None:
    assert QuantumProgram(3, 0, (Operation("barrier"), Operation("h", (1,)))).idle_qubits == (0, 2)


def test_an_empty_program_has_no_depth() -> None:
    assert QuantumProgram(0, 0, ()).depth == 0


def test_only_the_gates_of_the_paper_go_undefined_in_openqasm_2() -> None:
    paper = "u3 u2 u1 cx id x y z h s sdg t tdg rx ry rz cz cy ch ccx crz cu1 cu3"
    assert set(GATES) - set(QASM2_DEFINITIONS) == set(paper.split())


def test_every_gate_is_in_stdgates_or_defined_for_openqasm_3() -> None:
    assert set(QASM3_DEFINITIONS) | STDGATES == set(GATES)
    assert not set(QASM3_DEFINITIONS) & STDGATES
