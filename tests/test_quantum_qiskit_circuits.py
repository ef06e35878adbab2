"""Qiskit's circuits as programs: what is kept, what is expanded, what has no program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Parameter, Qubit
from qiskit.circuit.classical import expr

from app.errors import NotExpressible
from app.quantum.program import Operation, QuantumProgram
from app.quantum.qiskit_circuits import program_of


def test_composite_gates_are_expanded_and_idle_bits_left_out() -> None:
    circuit = QuantumCircuit(4, 3)
    circuit.ryy(0.5, 3, 1)
    circuit.mcx([0, 1], 3)
    circuit.barrier(0, 2, 1)
    circuit.barrier()
    circuit.measure(3, 2)
    assert program_of(circuit) == QuantumProgram(
        3,
        1,
        (
            Operation("ryy", (2, 1), (0.5,)),
            Operation("ccx", (0, 1, 2)),
            Operation("barrier", (0, 1)),
            Operation("barrier"),
            Operation("measure", (2,), clbit=0),
        ),
    )


def test_registers_are_kept_and_bits_without_one_are_one_of_their_own() -> None:
    a, b, idle = QuantumRegister(2, "a"), QuantumRegister(2, "b"), QuantumRegister(1, "idle")
    circuit = QuantumCircuit(a, idle, [Qubit(), Qubit()], b, ClassicalRegister(1, "c"), [Clbit()])
    circuit.h(a)
    circuit.h([3, 4])
    circuit.cx(b[0], a[1])
    circuit.measure([0, 1], [0, 1])
    program = program_of(circuit)
    assert (program.qubit_registers, program.clbit_registers) == ((2, 2, 1), (1, 1))


def test_a_single_register_is_none() -> None:
    circuit = QuantumCircuit(3, 3)
    circuit.h([0, 1, 2])
    circuit.measure([0, 1, 2], [0, 1, 2])
    assert (program_of(circuit).qubit_registers, program_of(circuit).clbit_registers) == ((), ())


def _on_a_bit(circuit: QuantumCircuit) -> object:
    return circuit.clbits[1], 1


def _on_a_register_of_one_bit(circuit: QuantumCircuit) -> object:
    return circuit.cregs[1], 1


def _on_a_variable(circuit: QuantumCircuit) -> object:
    return expr.lift(circuit.clbits[1])


def _on_a_negated_variable(circuit: QuantumCircuit) -> object:
    return expr.logic_not(circuit.clbits[1])


@pytest.mark.parametrize(
    ("condition", "clbit", "value"),
    [(_on_a_bit, 1, 1), (_on_a_register_of_one_bit, 2, 1), (_on_a_variable, 1, 1), (_on_a_negated_variable, 1, 0)],
)
def test_gates_and_resets_may_hang_on_one_bit(
    condition: Callable[[QuantumCircuit], object], clbit: int, value: int
) -> None:
    circuit = QuantumCircuit(QuantumRegister(3, "q"), ClassicalRegister(2, "c"), ClassicalRegister(1, "d"))
    circuit.measure([0, 1, 2], [0, 1, 2])
    with circuit.if_test(condition(circuit)) as otherwise:
        circuit.cx(2, 0)
        circuit.barrier(0, 2)
    with otherwise:
        circuit.reset(1)
        circuit.mcx([0, 1], 2)
    assert program_of(circuit).operations[3:] == (
        Operation("cx", (2, 0), condition=(clbit, value)),
        Operation("reset", (1,), condition=(clbit, 1 - value)),
        Operation("ccx", (0, 1, 2), condition=(clbit, 1 - value)),
    )


def _measuring(circuit: QuantumCircuit) -> None:
    with circuit.if_test((0, 1)):
        circuit.measure(0, 1)


def _on_two_bits(circuit: QuantumCircuit) -> None:
    with circuit.if_test((circuit.cregs[0], 1)):
        circuit.x(0)


def _on_an_expression(circuit: QuantumCircuit) -> None:
    with circuit.if_test(expr.bit_xor(circuit.clbits[0], circuit.clbits[1])):
        circuit.x(0)


def _nested(circuit: QuantumCircuit) -> None:
    with circuit.if_test((0, 1)), circuit.if_test((1, 1)):
        circuit.x(0)


def _with_an_open_parameter(circuit: QuantumCircuit) -> None:
    circuit.rx(Parameter("t"), 0)


def _initialized(circuit: QuantumCircuit) -> None:
    circuit.delay(10, 0)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (_measuring, "circuit 'walk' measures under a condition, which no program here can hold"),
        (_on_two_bits, "circuit 'walk' has a condition that is not the value of one bit, which no program here holds"),
        (
            _on_an_expression,
            "circuit 'walk' has a condition that is not the value of one bit, which no program here holds",
        ),
        (_nested, "circuit 'walk' has the operation 'if_else', which no program here can hold"),
        (_initialized, "circuit 'walk' has the operation 'delay', which no program here can hold"),
        (_with_an_open_parameter, "circuit 'walk' has parameters without a value; assign them first"),
    ],
)
def test_other_control_and_open_parameters_have_no_program(
    write: Callable[[QuantumCircuit], None], sentence: str
) -> None:
    circuit = QuantumCircuit(2, 2, name="walk")
    circuit.h([0, 1])
    write(circuit)
    with pytest.raises(NotExpressible) as caught:
        program_of(circuit)
    assert str(caught.value) == sentence


def test_threads_that_come_and_go_make_circuits_once_qiskit_was_loaded() -> None:
    code = """
from threading import Thread
from app.quantum.qiskit_circuits import load_qiskit
from app.quantum.qiskit_random import random_program

load_qiskit()
for seed in range(8):
    thread = Thread(target=random_program, args=(3, 9, seed))
    thread.start()
    thread.join()
    random_program(3, 9, seed)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0
