"""The written OpenQASM is what Qiskit takes for the same circuit."""

from __future__ import annotations

import cmath
import math
import random
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qasm2, qasm3
from qiskit.circuit.library import CU1Gate, CU3Gate, U1Gate, U2Gate, U3Gate, get_standard_gate_name_mapping
from qiskit.quantum_info import Operator

from app.errors import NotExpressible
from app.quantum.gates import GATES
from app.quantum.program import Operation, QuantumProgram
from app.quantum.qasm import angle_text, parse_qasm2, read_qasm2, read_qasm3, write_qasm2, write_qasm3
from app.quantum.qiskit_circuits import program_of
from tests.quantum_programs import programs

_OLD_GATES = {"u1": U1Gate, "u2": U2Gate, "u3": U3Gate, "cu1": CU1Gate, "cu3": CU3Gate}


def program_of_gate(name: str) -> QuantumProgram:
    """One gate with angles that no symmetry hides."""
    gate, rng = GATES[name], random.Random(name)
    angles = tuple(rng.uniform(-6, 6) for _ in range(gate.angle_count))
    return QuantumProgram(gate.qubit_count, 0, (Operation(name, tuple(range(gate.qubit_count)), angles),))


def matrix_in_qiskit(name: str, angles: tuple[float, ...]) -> Any:
    kind = _OLD_GATES.get(name) or type(get_standard_gate_name_mapping()[name])
    circuit = QuantumCircuit(GATES[name].qubit_count)
    circuit.append(kind(*angles), range(GATES[name].qubit_count))
    return Operator(circuit).data


def distance_up_to_phase(a: Any, b: Any) -> float:
    at = int(np.argmax(abs(b)))
    phase = a.flat[at] / b.flat[at]
    assert abs(abs(phase) - 1) < 1e-9
    return float(abs(a - phase * b).max())


@pytest.mark.parametrize("name", GATES)
def test_every_gate_is_the_one_that_qiskit_knows_by_the_name(name: str) -> None:
    program = program_of_gate(name)
    expected = matrix_in_qiskit(name, program.operations[0].angles)
    text = write_qasm2(program)
    qasm2.loads(text, strict=True)
    assert distance_up_to_phase(Operator(qasm2.loads(text)).data, expected) < 1e-12
    assert distance_up_to_phase(Operator(qasm3.loads(write_qasm3(program))).data, expected) < 1e-12


@pytest.mark.parametrize("name", GATES)
def test_a_gate_comes_back_as_itself_without_a_note(name: str) -> None:
    program = program_of_gate(name)
    for parsed in (read_qasm2(write_qasm2(program)), read_qasm3(write_qasm3(program))):
        assert parsed.program == program
        assert parsed.notes == ()


@pytest.mark.parametrize("name", [name for name, gate in GATES.items() if gate.angle_count])
def test_the_period_of_a_gates_angles_is_right(name: str) -> None:
    program = program_of_gate(name)
    angles = program.operations[0].angles
    for index in range(len(angles)):
        shifted = tuple(a + GATES[name].angle_period_pi * math.pi * (i == index) for i, a in enumerate(angles))
        assert abs(matrix_in_qiskit(name, shifted) - matrix_in_qiskit(name, angles)).max() < 1e-12


def test_a_text_defines_only_what_it_uses_and_in_the_order_of_need() -> None:
    program = QuantumProgram(2, 1, (Operation("csx", (1, 0)), Operation("measure", (0,), clbit=0)))
    assert write_qasm2(program) == (
        'OPENQASM 2.0;\ninclude "qelib1.inc";\ngate csx a,b { h b; cu1(pi/2) a,b; h b; }\n'
        "qreg q[2];\ncreg c[1];\ncsx q[1],q[0];\nmeasure q[0] -> c[0];\n"
    )
    assert write_qasm3(program) == (
        'OPENQASM 3.0;\ninclude "stdgates.inc";\ngate cu1(lambda) a,b { cp(lambda) a,b; }\n'
        "gate csx a,b { h b; cu1(pi/2) a,b; h b; }\nqubit[2] q;\nbit[1] c;\ncsx q[1],q[0];\nc[0] = measure q[0];\n"
    )


@pytest.mark.parametrize(
    ("angle", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (math.pi, "pi"),
        (-math.pi, "-pi"),
        (3 * math.pi / 4, "3*pi/4"),
        (-math.pi / 1024, "-pi/1024"),
        (7 * math.pi, "7*pi"),
        (0.1, "0.1"),
        (1e-9, "0.000000001"),
        (1e22, "10000000000000000000000.0"),
        (math.pi / 4 + 1e-11, repr(math.pi / 4 + 1e-11)),
    ],
)
def test_an_angle_is_a_fraction_of_pi_or_decimals(angle: float, text: str) -> None:
    assert angle_text(angle) == text


@given(st.floats(-1e9, 1e9) | st.floats(allow_nan=False, allow_infinity=False))
def test_an_angle_reads_back_as_itself_or_as_its_grid_value(angle: float) -> None:
    program = QuantumProgram(1, 0, (Operation("rx", (0,), (angle,)),))
    once = parse_qasm2(write_qasm2(program))
    back = once.operations[0].angles[0]
    is_on_grid = "pi" in angle_text(angle) or angle_text(angle) == "0"
    assert abs(back - angle) <= (1.1e-12 if is_on_grid else 0)
    assert parse_qasm2(write_qasm2(once)) == once


@given(st.floats(-1e9, 1e9))
def test_a_strict_reader_takes_every_angle(angle: float) -> None:
    text = write_qasm2(QuantumProgram(1, 0, (Operation("p", (0,), (angle,)),)))
    loaded = qasm2.loads(text, strict=True).data[0].operation.params[0]
    assert cmath.isclose(loaded, parse_qasm2(text).operations[0].angles[0], rel_tol=1e-15)


def test_barriers_resets_and_measurements_are_the_same_in_both_versions() -> None:
    operations = (
        Operation("reset", (1,)),
        Operation("barrier"),
        Operation("h", (0,)),
        Operation("measure", (0,), clbit=1),
    )
    program = QuantumProgram(2, 2, operations)
    assert read_qasm3(write_qasm3(program)).program == parse_qasm2(write_qasm2(program)) == program
    names = [item.operation.name for item in qasm3.loads(write_qasm3(program)).data]
    assert names == [item.operation.name for item in qasm2.loads(write_qasm2(program)).data]


def test_one_register_is_called_by_a_letter_and_several_are_numbered() -> None:
    operations = (
        Operation("cx", (0, 2)),
        Operation("barrier"),
        Operation("barrier", (1, 2)),
        Operation("measure", (2,), clbit=1),
    )
    program = QuantumProgram(3, 2, operations, (2, 1), (1, 1))
    assert write_qasm2(program) == (
        'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q0[2];\nqreg q1[1];\ncreg c0[1];\ncreg c1[1];\n'
        "cx q0[0],q1[0];\nbarrier q0,q1;\nbarrier q0[1],q1[0];\nmeasure q1[0] -> c1[0];\n"
    )
    assert write_qasm3(program) == (
        'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q0;\nqubit[1] q1;\nbit[1] c0;\nbit[1] c1;\n'
        "cx q0[0],q1[0];\nbarrier q0,q1;\nbarrier q0[1],q1[0];\nc1[0] = measure q1[0];\n"
    )


DYNAMIC = QuantumProgram(
    2,
    2,
    (
        Operation("measure", (0,), clbit=0),
        Operation("x", (1,), condition=(0, 1)),
        Operation("rx", (1,), (math.pi / 2,), condition=(0, 0)),
        Operation("reset", (0,), condition=(1, 1)),
    ),
)


def test_a_condition_is_written_in_version_3() -> None:
    text = write_qasm3(DYNAMIC)
    assert text.endswith(
        "c[0] = measure q[0];\nif (c[0]) { x q[1]; }\nif (!c[0]) { rx(pi/2) q[1]; }\nif (c[1]) { reset q[0]; }\n"
    )
    assert program_of(qasm3.loads(text)) == DYNAMIC


def test_a_condition_on_one_bit_of_a_register_has_no_version_2() -> None:
    with pytest.raises(NotExpressible) as caught:
        write_qasm2(DYNAMIC)
    assert str(caught.value) == (
        "statement 1 (x) hangs on c[0], one bit of a register, and OpenQASM 2 compares whole registers only; "
        "write OpenQASM 3"
    )


def test_a_condition_on_a_register_of_one_bit_has_a_version_2() -> None:
    program = replace(DYNAMIC, clbit_registers=(1, 1))
    text = write_qasm2(program)
    assert text.endswith("measure q[0] -> c0[0];\nif(c0==1) x q[1];\nif(c0==0) rx(pi/2) q[1];\nif(c1==1) reset q[0];\n")
    assert program_of(qasm2.loads(text, strict=True)) == program


PLAIN_ANGLES = st.sampled_from((0.5, math.pi / 2, -3 * math.pi / 4, 0.0))


@settings(max_examples=80, deadline=None)
@given(programs(PLAIN_ANGLES))
def test_a_program_reads_back_as_itself_in_both_versions(program: QuantumProgram) -> None:
    assert read_qasm3(write_qasm3(program)).program == parse_qasm2(write_qasm2(program)) == program


@settings(max_examples=60, deadline=None)
@given(programs(PLAIN_ANGLES, is_dynamic=True))
def test_a_dynamic_program_reads_back_as_itself(program: QuantumProgram) -> None:
    assert read_qasm3(write_qasm3(program)).program == program
    with suppress(NotExpressible):
        assert parse_qasm2(write_qasm2(program)) == program


def chains(program: QuantumProgram) -> tuple[Any, ...]:
    """For every bit the operations on it, barriers apart: what is left when order between bits does not count."""
    touched: dict[tuple[str, int], list[Operation]] = {}
    for op in program.operations:
        for key in (*(("q", qubit) for qubit in op.qubits), *(("c", clbit) for clbit in op.clbits)):
            if op.name != "barrier":
                touched.setdefault(key, []).append(op)
    return program.qubit_registers, program.clbit_registers, touched


@settings(max_examples=15, deadline=None)
@given(programs(PLAIN_ANGLES, is_dynamic=True, gates=("h", "cx", "rx", "cp", "ccx", "u2")))
def test_qiskit_reads_what_is_written_as_the_same_program(program: QuantumProgram) -> None:
    assert chains(program_of(qasm3.loads(write_qasm3(program)))) == chains(program)
    with suppress(NotExpressible):
        assert chains(program_of(qasm2.loads(write_qasm2(program), strict=True))) == chains(program)
