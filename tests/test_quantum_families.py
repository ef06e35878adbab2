"""Small members of the families do what their family's name says, by simulation of the state."""

from __future__ import annotations

import itertools
import math
import random
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit, qasm2
from qiskit.circuit.library import RYGate, XGate
from qiskit.quantum_info import Operator, Pauli, SparsePauliOp, Statevector, partial_trace, state_fidelity

from app.errors import PackageMissing
from app.quantum.corpus import known_families
from app.quantum.families._base import builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.families._graphs import GRAPH_KINDS, graph_edges
from app.quantum.families.arithmetic import _clause
from app.quantum.families.dynamics import pauli_rotation
from app.quantum.families.fourier import inverse_transform, transform
from app.quantum.family_names import FAMILIES
from app.quantum.program import Operation, QuantumProgram
from app.quantum.qasm import write_qasm2

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


class Shot:
    """One run of a program, measurements drawn by chance: the bits, the state after it, and how likely the run was."""

    def __init__(self, program: QuantumProgram, seed: int = 0) -> None:
        rng = random.Random(seed)
        self.bits = [0] * program.clbit_count
        self.probability = 1.0
        self.state = Statevector.from_int(0, 2**program.qubit_count)
        for op in program.operations:
            if op.condition is not None and self.bits[op.condition[0]] != op.condition[1]:
                continue
            if op.name in ("measure", "reset"):
                result = self._collapse(op.qubits[0], rng)
                if op.clbit is not None:
                    self.bits[op.clbit] = result
                elif result:
                    self.state = self.state.evolve(XGate(), op.qubits)
            elif op.name != "barrier":
                self.state = self.state.evolve(gate_of(op), op.qubits)

    def _collapse(self, qubit: int, rng: random.Random) -> int:
        share = float(self.state.probabilities([qubit])[1])
        result = int(rng.random() < share)
        self.probability *= share if result else 1 - share
        keep = np.arange(len(self.state.data)) >> qubit & 1 == result
        kept = np.where(keep, self.state.data, 0)
        self.state = Statevector(kept / np.linalg.norm(kept))
        return result

    def number(self, *bits: int) -> int:
        """What the bits hold, the least significant one first; all of them where none is named."""
        return sum(self.bits[bit] << place for place, bit in enumerate(bits or range(len(self.bits))))


@cache
def gate_of(op: Operation) -> Operator:
    few = QuantumProgram(len(op.qubits), 0, (replace(op, qubits=tuple(range(len(op.qubits))), condition=None),))
    return Operator(without_measurements(few))


def before_last(program: QuantumProgram, count: int) -> QuantumProgram:
    """The program without its last statements."""
    return QuantumProgram(program.qubit_count, program.clbit_count, program.operations[:-count])


def loaded(program: QuantumProgram, qubits: Iterable[int]) -> int:
    """The number that the X gates before every other statement write into the qubits, least significant first."""
    ones = {op.qubits[0] for op in itertools.takewhile(lambda op: op.name == "x", program.operations)}
    return sum((qubit in ones) << place for place, qubit in enumerate(qubits))


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
        ("hidden_subgroup", "bent_pairs", 2), ("fredkin", "clifford_t", 5), ("error_correctiond3", "ring", 1),
    ],
)  # fmt: skip
def test_these_algorithms_end_in_one_certain_answer(family: str, name: str, size: int) -> None:
    for seed in range(4):
        (probability,) = outcomes(built(family, name, size, seed)).values()
        assert probability == pytest.approx(1)


@pytest.mark.parametrize(("family", "name"), [("mirror", "rotations"), ("randomized_benchmarking", "single_qubit")])
def test_these_circuits_come_back_to_zero(family: str, name: str) -> None:
    for seed in range(3):
        assert list(outcomes(built(family, name, 5, seed))) == ["00000"]


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
        transform(draft, range(size))
        count = 2**size
        fourier = np.exp(2j * np.pi * np.outer(range(count), range(count)) / count) / math.sqrt(count)
        assert np.allclose(unitary(draft.program()), fourier)
        inverse_transform(draft, range(size))
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


@pytest.mark.parametrize("size", [1, 2, 3])
def test_adders_of_loaded_numbers_measure_their_sum(size: int) -> None:
    for seed in range(4):
        program = built("adder_scaffold", "clifford_t", size, seed)
        first, second = range(1, size + 1), range(size + 1, 2 * size + 1)
        (bits,) = outcomes(program)
        assert int(bits, 2) == loaded(program, first) + loaded(program, second)
        program = built("adder_full", "row", size, seed)
        (bits,) = outcomes(program)
        assert int(bits, 2) == loaded(program, range(size)) + loaded(program, range(size, 2 * size))


def test_an_incrementer_adds_one_each_time() -> None:
    for seed in range(12):
        program = built("incrementer", "many_controls", 4, seed)
        if program.operations[0].name == "h" or not program.clbit_count:
            continue
        times = sum((op.name, op.qubits) == ("cx", (0, 1)) for op in program.operations)
        # The load is the X gates before the first Hadamard gate of a many-controlled one.
        (bits,) = outcomes(program)
        assert int(bits, 2) == (loaded(program, range(4)) + times) % 16


def test_weighted_sums_are_permutations() -> None:
    assert np.allclose(abs(unitary(built("weighted_sum", "synthesis", 2, 1))).max(0), 1)


def test_a_memory_tells_the_cell_of_its_address() -> None:
    for seed in range(4):
        program = built("qram", "routers", 2, seed)
        cells = {op.qubits[0] - 6 for op in program.operations if op.name == "x" and op.qubits[0] in range(6, 10)}
        for bits in outcomes(program):
            assert int(bits[0]) == (int(bits[1:], 2) in cells)


def test_orders_modulo_fifteen_are_read_as_multiples() -> None:
    for seed in range(6):
        result = outcomes(built("shor", "modulo_fifteen", 4, seed))
        assert len(result) in (2, 4)
        assert all(int(bits, 2) % (16 // len(result)) == 0 for bits in result)
        assert list(result.values()) == pytest.approx([1 / len(result)] * len(result))


def test_clauses_are_true_unless_every_literal_is_false() -> None:
    for clause in ([(0, True), (2, False)], [(0, False), (1, True), (2, True)]):
        draft = Draft(5)
        _clause(draft, clause, 3, 4)
        columns = abs(unitary(draft.program())).argmax(0)
        for value in range(8):
            is_true = any(bool(value >> variable & 1) == wanted for variable, wanted in clause)
            assert columns[value] == value | is_true << 3


@pytest.mark.parametrize(
    ("family", "name"),
    [("basis_change", "givens"), ("basis_test", "two_bases"), ("trotter_hubbard", "chain"), ("qaoa_xy", "ring"),
     ("iswap", "standard_gates")],
)  # fmt: skip
def test_these_circuits_keep_the_number_of_particles(family: str, name: str) -> None:
    for seed in range(3):
        assert len({bits.count("1") for bits in outcomes(built(family, name, 3, seed))}) == 1


def test_a_swap_network_lets_every_pair_meet_once() -> None:
    seeds = (seed for seed in range(20) if "swap" in built("swap_network", "line", 5, seed).gates_used)
    program = built("swap_network", "line", 5, next(seeds))
    order, met = list(range(5)), []
    for op in itertools.takewhile(lambda op: op.name != "rx", program.operations):
        if op.name == "rzz":
            met.append(frozenset(order[qubit] for qubit in op.qubits))
        elif op.name == "swap":
            a, b = op.qubits
            order[a], order[b] = order[b], order[a]
    assert len(met) == len(set(met)) == 10
    assert order == [4, 3, 2, 1, 0]


def test_the_kernel_of_equal_points_is_one() -> None:
    kernels = [outcomes(built("quantum_kernel", "zz", 3, seed)).get("000", 0.0) for seed in range(30)]
    assert 1 <= sum(kernel == pytest.approx(1) for kernel in kernels) <= 10


def test_bell_pairs_read_at_chsh_angles_agree_by_one_over_the_root_of_two() -> None:
    for seed in range(4):
        result = outcomes(built("chsh", "pairs", 1, seed))
        agreement = sum(p * (1 if bits in ("00", "11") else -1) for bits, p in result.items())
        assert abs(agreement) == pytest.approx(math.sqrt(0.5))


def test_learnt_parity_is_read_where_the_result_is_one() -> None:
    for seed in range(4):
        program = built("lpn", "parity", 4, seed)
        secret = {op.qubits[0] for op in program.operations if op.name == "cx"}
        expected = "".join(str(int(qubit in secret or qubit == 2)) for qubit in reversed(range(5)))
        assert outcomes(program) == pytest.approx({"00000": 0.5, expected: 0.5})


def test_a_block_is_the_hermitian_sum_of_its_words() -> None:
    for seed in range(6):
        program = built("block_encoding", "pauli_sum", 2, seed)
        ancillas = program.qubit_count - 2
        start = next(n for n, op in enumerate(program.operations) if op.name != "h")
        bare = QuantumProgram(program.qubit_count, 0, tuple(
            op for op in program.operations[start:] if op.name != "measure"
        ))  # fmt: skip
        block = unitary(bare)[:: 2**ancillas, :: 2**ancillas]
        assert np.allclose(block, block.conj().T)
        weights = SparsePauliOp.from_operator(Operator(block)).coeffs.real
        assert sum(weights) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize(("family", "checks", "data"), [("qec_five_qubit", 4, 5), ("qec_steane", 6, 7)])
def test_an_error_shows_in_the_checks_of_its_round(family: str, checks: int, data: int) -> None:
    for seed in range(6):
        program = built(family, "checks", 2, seed)
        ends = [
            n for n, op in enumerate(program.operations) if op.name == "measure" and op.qubits[0] == data + checks - 1
        ]
        between = program.operations[ends[0] : ends[1]]
        has_error = any(op.name in "xyz" for op in between)
        for run in range(2):
            bits = Shot(program, run).bits
            assert (bits[:checks] != bits[checks : 2 * checks]) == has_error


# Gates that depend on measured bits: the same for every outcome.


def test_dynamic_teleportation_hands_the_state_over() -> None:
    for seed in range(4):
        program = built("teleportation_dynamic", "relay", 2, seed)
        sent = Statevector.from_int(0, 2).evolve(gate_of(program.operations[0]))
        received = partial_trace(Shot(before_last(program, 1), seed).state, range(4))
        assert state_fidelity(sent, received) == pytest.approx(1)


def test_fused_pairs_are_one_ghz_state() -> None:
    for seed in range(4):
        program = built("ghz_dynamic", "fused_pairs", 3, seed)
        kept = [0, 1, 3, 4, 6, 7]
        state = Shot(before_last(program, 6), seed).state
        assert state.probabilities_dict(kept, decimals=6) == {"000000": 0.5, "111111": 0.5}
        assert partial_trace(state, [2, 5]).purity().real == pytest.approx(1)


def test_a_long_range_gate_is_a_controlled_x() -> None:
    for seed in range(4):
        program = built("long_range_cx", "helpers", 2, seed)
        state = partial_trace(Shot(before_last(program, 2), seed).state, range(1, 5))
        expected = QuantumCircuit(2)
        expected.ry(program.operations[0].angles[0], 0)
        if program.operations[1].name == "x":
            expected.x(1)
        expected.cx(0, 1)
        assert state_fidelity(Statevector(expected), state) == pytest.approx(1)


def test_measurements_along_a_line_are_rotations() -> None:
    for seed in range(6):
        program = built("measurement_based", "line", 3, seed)
        expected = QuantumCircuit(1)
        expected.h(0)
        for op in program.operations:
            if op.name == "rz":
                expected.rz(*op.angles, 0)
                expected.h(0)
        state = partial_trace(Shot(before_last(program, 1), seed).state, range(3))
        assert state_fidelity(Statevector(expected), state) == pytest.approx(1)


def test_flips_that_syndromes_call_for_restore_the_code_word() -> None:
    for seed in range(6):
        program = built("qec_dynamic", "bit_flip", 2, seed)
        start = int(program.operations[0].name == "x")
        assert Shot(program, seed).bits[-3:] == [start] * 3
        assert len(set(Shot(built("qec_dynamic", "phase_flip", 4, seed), seed).bits[-4:])) == 1


def test_a_semiclassical_transform_is_as_likely_as_the_fourier_transform() -> None:
    for seed in range(4):
        program = built("qft_dynamic", "product_state", 3, seed)
        end = next(n for n, op in enumerate(program.operations) if op.name == "measure") - 1
        state = Shot(QuantumProgram(3, 0, program.operations[:end])).state.data
        likelihood = abs(np.fft.ifft(state, norm="ortho")) ** 2
        for run in range(3):
            shot = Shot(program, run)
            assert shot.probability == pytest.approx(likelihood[shot.number()])


def test_one_qubit_reads_an_exact_phase_bit_by_bit() -> None:
    seen = 0
    for seed in range(8):
        program = built("qpe_iterative", "diagonal", 4, seed)
        phase = [op.angles[0] for op in program.operations if op.name == "cp"][-1] / (2 * math.pi) * 16
        if phase == pytest.approx(round(phase), abs=1e-9):
            seen += 1
            shot = Shot(program)
            assert shot.number() == round(phase)
            assert shot.probability == pytest.approx(1)
    assert seen


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
    assert ladder(22, 60) == (22, 23, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 54, 60)


@pytest.mark.parametrize("key", BUILDERS, ids="-".join)
def test_the_two_smallest_members_use_every_qubit_and_come_out_the_same_again(key: tuple[str, str]) -> None:
    builder = BUILDERS[key]
    for size in builder.sizes[:2]:
        program = builder.build(size, random.Random("draw"))
        assert program.operations
        assert not program.idle_qubits
        assert builder.build(size, random.Random("draw")) == program


def test_at_least_a_hundred_families_are_built() -> None:
    assert len(known_families()) >= 100
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
