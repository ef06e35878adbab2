"""Final states and outcomes of programs: every amplitude, few amplitudes, stabilizers; each against the others."""

from __future__ import annotations

import math
import random
import subprocess
import sys

import numpy as np
import pytest

from app.errors import LimitExceeded
from app.quantum.gates import GATES
from app.quantum.program import Operation, QuantumProgram
from app.quantum.qasm import read_qasm
from app.quantum.simulation import (
    MAX_BRANCHES,
    MAX_TERMS,
    State,
    final_branches,
    final_state,
    images,
    outcomes,
    outline,
    run_sparse,
)
from app.quantum.stabilizers import stabilizer_state

CLIFFORD = ("x", "y", "z", "h", "s", "sdg", "sx", "sxdg", "cx", "cz", "cy", "swap", "iswap", "dcx", "ecr")


def program_of(body: str, *, qubits: int, clbits: int = 0) -> QuantumProgram:
    bits = f"bit[{clbits}] c;" if clbits else ""
    return read_qasm(f'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[{qubits}] q;\n{bits}\n{body}').program


def random_gates(rng: random.Random, qubits: int, count: int, names: tuple[str, ...]) -> list[Operation]:
    chosen = (GATES[rng.choice(names)] for _ in range(count))
    return [
        Operation(
            gate.name,
            tuple(rng.sample(range(qubits), gate.qubit_count)),
            tuple(rng.uniform(-3, 3) for _ in range(gate.angle_count)),
        )
        for gate in chosen
    ]


def dense(state: State) -> np.ndarray[tuple[int], np.dtype[np.complex128]]:
    amplitudes = np.zeros(2**state.qubit_count, dtype=np.complex128)
    amplitudes[state.keys[:, 0].astype(np.intp)] = state.amplitudes
    return amplitudes


def test_the_state_of_a_program_is_the_one_that_qiskit_computes():
    from qiskit import QuantumCircuit
    from qiskit.circuit.library import standard_gates
    from qiskit.quantum_info import Statevector

    names = ("h", "t", "sx", "rx", "rz", "u3", "cx", "cp", "crx", "rzz", "ccx", "cswap", "iswap")
    known = standard_gates.get_standard_gate_name_mapping() | {"u3": standard_gates.U3Gate(0, 0, 0)}
    for seed in range(5):
        gates = random_gates(random.Random(seed), 4, 40, names)
        circuit = QuantumCircuit(4)
        for op in gates:
            circuit.append(known[op.name].base_class(*op.angles), op.qubits)
        assert np.allclose(dense(final_state(4, gates)), Statevector(circuit).data)


def test_few_amplitudes_are_simulated_as_all_of_them_are():
    for seed in range(8):
        gates = random_gates(random.Random(seed), 5, 60, tuple(GATES))
        start = State(5, np.zeros((1, 1), dtype=np.uint64), np.ones(1, dtype=np.complex128))
        assert np.allclose(dense(run_sparse(start, gates)), dense(final_state(5, gates)), atol=1e-6)


def test_a_wide_program_with_few_amplitudes_is_simulated_across_words_of_qubits():
    gates = [Operation("h", (3,)), *(Operation("cx", (3, qubit)) for qubit in (0, 63, 64, 99))]
    state = final_state(100, gates)
    assert state.table([0, 3, 63, 64, 99]).tolist() == [[0] * 5, [1] * 5]
    assert state.table([1, 62, 65]).tolist() == [[0] * 3, [0] * 3]
    assert np.allclose(np.abs(state.amplitudes) ** 2, 0.5)


def test_gates_on_one_qubit_wait_until_they_matter():
    """A W state whose rotations all stand in front: a hundred superposed qubits, if they were applied as written."""
    size = 100
    angles = {size - step - 1: math.acos(math.sqrt(1 / (size - step + 1))) for step in range(1, size)}
    gates = [Operation("x", (size - 1,)), *(Operation("ry", (qubit,), (-angles[qubit],)) for qubit in angles)]
    for qubit in angles:
        gates += [Operation("cz", (qubit + 1, qubit)), Operation("ry", (qubit,), (angles[qubit],))]
    gates += [Operation("cx", (qubit - 1, qubit)) for qubit in range(size - 1, 0, -1)]
    assert len(final_state(size, gates).keys) == size


def test_a_wide_superposition_is_refused_by_its_size():
    with pytest.raises(LimitExceeded, match=f"superposition of 20 qubits is {2 * MAX_TERMS}, the limit is {MAX_TERMS}"):
        final_state(20, [Operation("h", (qubit,)) for qubit in range(20)])


def test_programs_that_are_too_long_or_too_wide_are_refused():
    with pytest.raises(LimitExceeded, match="the number of statements to simulate is 1025, the limit is 1024"):
        outline(QuantumProgram(1, 0, (Operation("x", (0,)),) * 1025))
    with pytest.raises(LimitExceeded, match="the number of qubits to simulate is 513, the limit is 512"):
        outline(QuantumProgram(513, 0, ()))


def test_many_basis_states_go_through_a_wide_program_at_once():
    gates = [Operation("ccx", (0, 1, 70)), Operation("cx", (70, 2)), Operation("t", (70,))]
    found = images(80, gates, [0, 1, 3, 7])
    assert [image.value for image in found] == [0, 1, 3 | 4 | 1 << 70, 3 | 1 << 70]
    assert found[2].amplitude == pytest.approx(complex(math.sqrt(0.5), math.sqrt(0.5)))


def test_a_measurement_at_the_end_reads_the_state_and_one_in_the_middle_splits_it():
    program = program_of("h q[0]; c[1] = measure q[0]; x q[1]; c[0] = measure q[1];", qubits=2, clbits=2)
    plan = outline(program)
    assert plan.is_static
    assert dict(plan.read) == {0: 1, 1: 0}
    assert outcomes(program).probabilities == {1: pytest.approx(0.5), 3: pytest.approx(0.5)}
    middle = program_of("h q[0]; c[0] = measure q[0]; cx q[0], q[1]; c[1] = measure q[1];", qubits=2, clbits=2)
    assert not outline(middle).is_static
    assert len(final_branches(middle)) == 2
    assert outcomes(middle).probabilities == {0: pytest.approx(0.5), 3: pytest.approx(0.5)}


def test_a_condition_acts_on_the_branches_that_fulfil_it():
    corrected = program_of(
        "h q[0]; c[0] = measure q[0]; if (c[0] == 1) { x q[0]; } c[1] = measure q[0];", qubits=1, clbits=2
    )
    assert outcomes(corrected).probabilities == {0: pytest.approx(0.5), 1: pytest.approx(0.5)}
    never = program_of("if (c[0] == 1) { x q[0]; } c[1] = measure q[0];", qubits=1, clbits=2)
    assert outcomes(never).probabilities == {0: pytest.approx(1.0)}


def test_a_reset_of_a_qubit_in_use_leaves_it_zero_and_the_first_one_changes_nothing():
    program = program_of("reset q[0]; h q[0]; cx q[0], q[1]; reset q[0];", qubits=2)
    assert outline(program).steps[0].name == "h"
    branches = final_branches(program)
    assert [branch.probability for branch in branches] == [pytest.approx(0.5)] * 2
    assert [branch.settled for branch in branches] == [frozenset({0})] * 2
    assert all(branch.state.bits(0).tolist() == [0] for branch in branches)
    assert sorted(branch.state.bits(1).tolist() for branch in branches) == [[0], [1]]


def test_programs_that_branch_too_often_or_too_widely_are_refused():
    often = program_of("h q[0]; c[0] = measure q[0]; " * 7 + "h q[0];", qubits=1, clbits=1)
    assert MAX_BRANCHES < 2**7
    with pytest.raises(LimitExceeded, match="ways in which measurements come out is 128, the limit is 64"):
        final_branches(often)
    wide = program_of("h q[0]; c[0] = measure q[0]; h q[0];", qubits=13, clbits=1)
    with pytest.raises(LimitExceeded, match="that measures, resets or decides in its middle is 13, the limit is 12"):
        final_branches(wide)


def test_nothing_measured_counts_as_every_qubit_measured():
    found = outcomes(program_of("x q[1];", qubits=2))
    assert found.probabilities == {2: pytest.approx(1.0)}
    assert found.text(2) == "10"


def test_stabilizers_say_what_the_amplitudes_say():
    for seed in range(20):
        rng = random.Random(seed)
        gates = random_gates(rng, 5, 30, CLIFFORD)
        state = stabilizer_state(5, gates)
        assert state is not None
        weights = np.abs(dense(final_state(5, gates))) ** 2
        assert state.chance_of_zeros(range(5)) == pytest.approx(weights[0])
        qubits = rng.sample(range(5), 2)
        both = sum(weights[key] for key in range(32) if all(not key >> qubit & 1 for qubit in qubits))
        assert state.chance_of_zeros(qubits) == pytest.approx(both)
        ones = [sum(weights[key] for key in range(32) if key >> qubit & 1) for qubit in range(5)]
        expected = {0: 0, 1: 1}
        assert list(state.certain_bits(range(5))) == [expected.get(round(one, 6)) for one in ones]


def test_a_gate_is_clifford_by_its_angle():
    assert stabilizer_state(2, [Operation("rx", (0,), (math.pi / 2,)), Operation("cp", (0, 1), (math.pi,))]) is not None
    for op in (Operation("rz", (0,), (0.3,)), Operation("t", (0,)), Operation("cp", (0, 1), (math.pi / 2,))):
        assert stabilizer_state(2, [op]) is None
    assert stabilizer_state(3, [Operation("ccx", (0, 1, 2))]) is None


def test_threads_that_ask_at_once_all_get_a_state():
    code = (
        "import sys, threading\n"
        "from app.quantum.program import Operation\n"
        "from app.quantum.stabilizers import stabilizer_state\n"
        "sys.setswitchinterval(1e-6)\n"
        "ask = lambda: stabilizer_state(2, [Operation('h', (0,)), Operation('cz', (0, 1))])\n"
        "threads = [threading.Thread(target=ask) for _ in range(16)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
    )
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
