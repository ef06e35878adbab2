"""Quantum programs: what they refuse, and what they count."""

from __future__ import annotations

import math

import pytest
from qiskit import QuantumCircuit

from app.quantum.gates import GATES, QASM2_DEFINITIONS, QASM3_DEFINITIONS, STDGATES
from app.quantum.program import Operation, QuantumProgram


@pytest.mark.parametrize(
    ("operation", "sentence"),
    [
        (Operation("warp", (0,)), "statement 1 (warp): unknown operation"),
        (Operation("cx", (0,)), "statement 1 (cx): 1 qubits, needs 2"),
        (Operation("barrier", (0,)), "statement 1 (barrier): 1 qubits, needs 0"),
        (Operation("rx", (0,)), "statement 1 (rx): 0 angles, needs 1"),
        (Operation("h", (2,)), "statement 1 (h): a qubit outside 0..1"),
        (Operation("h", (-1,)), "statement 1 (h): a qubit outside 0..1"),
        (Operation("cx", (1, 1)), "statement 1 (cx): one qubit twice"),
        (Operation("rx", (0,), (math.inf,)), "statement 1 (rx): an angle that is not finite"),
        (Operation("rx", (0,), (math.nan,)), "statement 1 (rx): an angle that is not finite"),
        (Operation("measure", (0,)), "statement 1 (measure): a classical bit belongs to measure and to nothing else"),
        (Operation("h", (0,), clbit=0), "statement 1 (h): a classical bit belongs to measure and to nothing else"),
        (Operation("measure", (0,), clbit=1), "statement 1 (measure): a classical bit outside 0..0"),
    ],
)
def test_a_program_refuses_a_statement_that_means_nothing(operation: Operation, sentence: str) -> None:
    with pytest.raises(ValueError, match="statement") as caught:
        QuantumProgram(2, 1, (Operation("h", (0,)), operation))
    assert str(caught.value) == sentence


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
