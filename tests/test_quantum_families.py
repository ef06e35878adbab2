"""Small members of the families do what their family's name says, by simulation of the state."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit, qasm2
from qiskit.circuit import Parameter
from qiskit.circuit.library import RYGate
from qiskit.quantum_info import Operator, Pauli, Statevector, partial_trace

from app.errors import NotExpressible, PackageMissing
from app.quantum.corpus import known_families
from app.quantum.families._base import builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.families._graphs import GRAPH_KINDS, graph_edges
from app.quantum.families.dynamics import pauli_rotation
from app.quantum.families.fourier import _inverse_transform, _transform
from app.quantum.family_names import FAMILIES
from app.quantum.program import Operation, QuantumProgram
from app.quantum.qasm import write_qasm2
from app.quantum.qiskit_circuits import program_of

BUILDERS = {(b.family, b.name): b for group in builder_groups.values() for b in group}


def built(family: str, name: str, size: int, seed: int = 0) -> QuantumProgram:
    return BUILDERS[family, name].build(size, random.Random(seed))


def without_measurements(program: QuantumProgram) -> Any:
    operations = tuple(op for op in program.operations if op.name not in ("measure", "barrier"))
    return qasm2.loads(write_qasm2(QuantumProgram(program.qubit_count, 0, operations)))


def outcomes(program: QuantumProgram) -> dict[str, float]:
    """Probabilities of the measured bits, classical bit 0 on the right; of all qubits where none is measured."""
    measured = sorted((op.clbit or 0, op.qubits[0]) for op in program.operations if op.name == "measure")
    qubits = [qubit for _, qubit in measured] or list(range(program.qubit_count))
    state = Statevector(without_measurements(program))
    return {bits: p for bits, p in state.probabilities_dict(qubits).items() if p > 1e-9}


def unitary(program: QuantumProgram) -> Any:
    return Operator(without_measurements(program)).data


@pytest.mark.parametrize("name", ["linear", "star", "log"])
def test_ghz_states_are_all_zero_or_all_one(name: str) -> None:
    for size in (4, 5, 7):
        assert outcomes(built("ghz", name, size)) == pytest.approx({"0" * size: 0.5, "1" * size: 0.5})


@pytest.mark.parametrize("name", ["controlled", "split"])
def test_w_states_share_one_excitation_evenly(name: str) -> None:
    for size in (2, 3, 6):
        expected = {format(1 << qubit, f"0{size}b"): 1 / size for qubit in range(size)}
        assert outcomes(built("w_state", name, size)) == pytest.approx(expected)


@pytest.mark.parametrize("size", range(2, 8))
def test_dicke_states_share_their_excitations_evenly(size: int) -> None:
    for seed in range(4):
        result = outcomes(built("dicke", "dicke", size, seed))
        (weight,) = {bits.count("1") for bits in result}
        assert len(result) == math.comb(size, weight)
        assert list(result.values()) == pytest.approx([1 / len(result)] * len(result))


@pytest.mark.parametrize("kind", GRAPH_KINDS)
def test_graph_states_are_stabilized_by_their_graph(kind: str) -> None:
    program = built("graph_state", kind, 6, 5)
    edges = [op.qubits for op in program.operations if op.name == "cz"]
    state = Statevector(without_measurements(program))
    for vertex in range(6):
        neighbours = {a + b - vertex for a, b in edges if vertex in (a, b)}
        assert neighbours
        label = "".join("X" if q == vertex else "Z" if q in neighbours else "I" for q in reversed(range(6)))
        assert state.expectation_value(Pauli(label)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("family", "name", "size"),
    [
        ("bernstein_vazirani", "random_string", 5), ("hidden_shift", "bent", 3), ("superdense", "pairs", 3),
        ("qec_shor9", "one_error", 1), ("mirror", "clifford", 4), ("mirror", "rotations", 4),
        ("deutsch_jozsa", "constant_zero", 4), ("deutsch_jozsa", "constant_one", 4),
    ],
)  # fmt: skip
def test_these_algorithms_end_in_one_certain_answer(family: str, name: str, size: int) -> None:
    for seed in range(4):
        (probability,) = outcomes(built(family, name, size, seed)).values()
        assert probability == pytest.approx(1)


def test_mirror_circuits_come_back_to_zero() -> None:
    assert list(outcomes(built("mirror", "rotations", 5))) == ["00000"]


def test_a_balanced_oracle_never_answers_zero() -> None:
    for seed in range(4):
        assert "0000" not in outcomes(built("deutsch_jozsa", "balanced", 4, seed))


def test_simon_answers_are_orthogonal_to_one_secret() -> None:
    result = outcomes(built("simon", "random_string", 4, 3))
    secrets = [s for s in range(1, 16) if all((s & int(bits, 2)).bit_count() % 2 == 0 for bits in result)]
    assert len(result) == 8
    assert len(secrets) == 1


def test_grover_amplifies_what_is_marked() -> None:
    for size in range(2, 8):
        result = outcomes(built("grover", "v_chain", size, 1))
        assert max(result.values()) > 4 / 2**size or size == 2


def test_the_textbook_transform_is_the_fourier_transform() -> None:
    for size in (2, 3, 4):
        draft = Draft(size)
        _transform(draft, range(size))
        count = 2**size
        fourier = np.exp(2j * np.pi * np.outer(range(count), range(count)) / count) / math.sqrt(count)
        assert np.allclose(unitary(draft.program()), fourier)
        _inverse_transform(draft, range(size))
        assert np.allclose(unitary(draft.program()), np.eye(count))


def test_phase_estimation_peaks_near_the_phase() -> None:
    for seed in range(6):
        assert max(outcomes(built("qpe", "diagonal", 4, seed)).values()) > 4 / math.pi**2


def test_the_fourier_adders_add() -> None:
    matrix = abs(unitary(built("adder_draper", "modular", 2)))
    for a in range(4):
        for b in range(4):
            assert matrix[a + 4 * ((a + b) % 4), a + 4 * b] == pytest.approx(1)
    columns = abs(unitary(built("adder_qft_const", "constant", 3, 1))).argmax(0)
    assert len({(int(result) - start) % 8 for start, result in enumerate(columns)}) == 1


def test_ripple_adders_permute_numbers() -> None:
    for family in ("adder_cdkm", "adder_vbe", "adder_half"):
        assert np.allclose(abs(unitary(built(family, "ripple", 2))).max(0), 1)


def test_teleportation_hands_the_state_over() -> None:
    program = built("teleportation", "relay", 2)
    sent = QuantumCircuit(1)
    sent.u(*program.operations[0].angles, 0)
    received = partial_trace(Statevector(without_measurements(program)), range(4))
    assert (Statevector(sent).to_operator().data @ received.data).trace() == pytest.approx(1)


def test_the_surface_code_has_commuting_checks() -> None:
    for size in (3, 5):
        program = built("qec_surface", "rotated", size)
        sites = size * size
        x_checks: dict[int, set[int]] = {}
        z_checks: dict[int, set[int]] = {}
        for first, second in (op.qubits for op in program.operations if op.name == "cx"):
            if first >= sites:
                x_checks.setdefault(first, set()).add(second)
            else:
                z_checks.setdefault(second, set()).add(first)
        assert len(x_checks) == len(z_checks) == (sites - 1) // 2
        assert all(len(x & z) % 2 == 0 for x in x_checks.values() for z in z_checks.values())


def test_excitations_keep_the_number_of_particles() -> None:
    assert len({bits.count("1") for bits in outcomes(built("vqe_uccsd", "jordan_wigner", 5, 2))}) == 1


@pytest.mark.parametrize("word", ["X", "YZ", "XYZ", "ZZ", "YX"])
def test_a_pauli_rotation_is_the_exponential(word: str) -> None:
    draft = Draft(len(word))
    pauli_rotation(draft, word, range(len(word)), 0.7)
    matrix = Pauli(word[::-1]).to_matrix()
    expected = math.cos(0.35) * np.eye(len(matrix)) - 1j * math.sin(0.35) * matrix
    assert np.allclose(unitary(draft.program()), expected)


def test_a_draft_controls_rotations_and_phases() -> None:
    draft = Draft(3)
    draft.controlled_ry(0.9, 0, 1, 2)
    expected = QuantumCircuit(3)
    expected.append(RYGate(0.9).control(2, annotated=False), [0, 1, 2])
    assert Operator(unitary(draft.program())).equiv(Operator(expected))
    for count in range(1, 7):
        draft = Draft(count + max(0, count - 3))
        draft.controlled_z(range(count), range(count, draft.qubits))
        diagonal = np.diag(unitary(draft.program()))[: 2**count]
        assert np.allclose(diagonal, [1] * (2**count - 1) + [-1])


def test_a_draft_does_not_invert_what_it_cannot() -> None:
    draft = Draft(1)
    draft.reset(0)
    with pytest.raises(ValueError, match="no inverse of 'reset' is known here"):
        draft.undo(0)


def test_graphs_touch_every_vertex_and_repeat_no_edge() -> None:
    for kind in GRAPH_KINDS:
        for size in (2, 3, 4, 5, 9, 16):
            edges = graph_edges(kind, size, random.Random(size))
            assert len(set(edges)) == len(edges)
            assert {vertex for edge in edges for vertex in edge} == set(range(size))
            assert all(a < b for a, b in edges)


def test_a_ladder_climbs_from_end_to_end() -> None:
    assert ladder(2, 5) == (2, 3, 4, 5)
    assert ladder(30, 70) == (30, 32, 36, 40, 44, 48, 52, 56, 60, 64)


@pytest.mark.parametrize("key", BUILDERS, ids="-".join)
def test_the_two_smallest_members_use_every_qubit_and_come_out_the_same_again(key: tuple[str, str]) -> None:
    builder = BUILDERS[key]
    for size in builder.sizes[:2]:
        program = builder.build(size, random.Random("draw"))
        assert program.operations
        assert not program.idle_qubits
        assert builder.build(size, random.Random("draw")) == program


def test_at_least_seventy_families_are_built() -> None:
    assert len(known_families()) >= 70
    assert set(known_families()) <= set(FAMILIES)


def test_knowing_the_families_loads_neither_qiskit_nor_torch() -> None:
    code = (
        "import sys; from app.quantum.corpus import known_families; known_families(); import app.quantum.qasm; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'qiskit', 'mqt', 'torch', 'numpy', 'networkx'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_missing_benchmarks_are_told_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mqt.bench", None)
    with pytest.raises(PackageMissing) as caught:
        built("hhl", "hhl_alg", 4)
    assert str(caught.value) == (
        "building the benchmark circuits needs the package 'mqt.bench'; install it with: pip install 'josephson[train]'"
    )


def test_composite_gates_are_expanded_and_idle_bits_left_out() -> None:
    circuit = QuantumCircuit(4, 3)
    circuit.ryy(0.5, 3, 1)
    circuit.mcx([0, 1], 3)
    circuit.barrier(0, 1)
    circuit.barrier()
    circuit.measure(3, 2)
    assert program_of(circuit) == QuantumProgram(
        3,
        1,
        (
            Operation("ryy", (2, 1), (0.5,)),
            Operation("ccx", (0, 1, 2)),
            Operation("barrier"),
            Operation("measure", (2,), clbit=0),
        ),
    )


def test_control_and_open_parameters_have_no_program() -> None:
    circuit = QuantumCircuit(1, 1, name="walk")
    with circuit.if_test((0, 1)):
        circuit.x(0)
    with pytest.raises(NotExpressible) as caught:
        program_of(circuit)
    assert str(caught.value) == "circuit 'walk' has the operation 'if_else', which no program here can hold"
    circuit = QuantumCircuit(1, name="open")
    circuit.rx(Parameter("t"), 0)
    with pytest.raises(NotExpressible) as caught:
        program_of(circuit)
    assert str(caught.value) == "circuit 'open' has parameters without a value; assign them first"
