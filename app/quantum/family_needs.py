"""What programs of each family cannot do without, so that a request that rules it out is refused with the reason.

Read off programs: a need is one that every program of the family has, of those that the builders make and of those that
were published. Tables name the families that go without, which are fewer; an unknown family needs everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from app.errors import InvalidRequest
from app.quantum.coupling import Pair, islands
from app.quantum.gates import GATES

#: Some program of these has no gate that entangles.
UNENTANGLED: Final = frozenset(
    ("bb84", "bernstein_vazirani", "deutsch_jozsa", "iqp", "pauli_evolution", "permutation", "qaoa", "qft",
     "qft_dynamic", "qrng", "random", "randomized_benchmarking", "z_feature_map")
)  # fmt: skip

#: Some program of these only permutes basis states and turns their phases.
CLASSICAL: Final = frozenset(
    ("adder_cdkm", "adder_full", "adder_half", "adder_modular", "adder_scaffold", "adder_vbe", "bit_flip_oracle",
     "clifford", "cnot_network", "comparator", "diagonal", "incrementer", "inner_product", "mirror", "multiplier",
     "pauli_evolution", "pauli_rotations", "permutation", "qec_dynamic", "qec_repetition", "qram", "weighted_sum")
)  # fmt: skip

#: Some program of these has Clifford gates only.
CLIFFORD: Final = frozenset(
    ("bb84", "bell", "bernstein_vazirani", "bit_flip_oracle", "clifford", "cnot_network", "deutsch_jozsa",
     "entanglement_swap", "error_correctiond3", "ghz", "ghz_dynamic", "graph_state", "grover", "hidden_linear_function",
     "hidden_shift", "hidden_subgroup", "incrementer", "inner_product", "iqp", "iswap", "lpn", "measurement_based",
     "mirror", "permutation", "qec_dynamic", "qec_five_qubit", "qec_repetition", "qec_shor9", "qec_steane",
     "qec_surface", "qft", "qft_dynamic", "qpe_exact", "qpe_iterative", "qrng", "randomized_benchmarking", "simon",
     "superdense")
)  # fmt: skip

#: The gates of some program of these leave its qubits in groups that never meet.
IN_PARTS: Final = frozenset(
    ("annealing", "bb84", "bell", "bernstein_vazirani", "chsh", "clifford", "cnot_network", "deutsch_jozsa",
     "error_correctiond3", "graph_state", "hidden_linear_function", "hidden_shift", "hidden_subgroup", "inner_product",
     "iqp", "lpn", "mirror", "pauli_evolution", "permutation", "qaoa", "qec_shor9", "qft", "qft_dynamic", "qrng",
     "quantum_volume", "random", "randomized_benchmarking", "simon", "superdense", "z_feature_map")
)  # fmt: skip

#: Every program of these has a gate or reset that depends on a measured bit.
DYNAMIC: Final = frozenset(
    ("ghz_dynamic", "long_range_cx", "measurement_based", "qec_dynamic", "qft_dynamic", "qpe_iterative",
     "teleportation_dynamic")
)  # fmt: skip

#: Gates that act on several qubits and never entangle product states.
_UNENTANGLING: Final = frozenset(("swap",))

#: Gates that permute basis states and turn their phases, whatever their angles.
MONOMIAL_GATES: Final = frozenset(
    ("cx", "id", "x", "y", "z", "s", "sdg", "t", "tdg", "u1", "p", "rz", "cz", "cy", "ccx", "crz", "cu1", "cp", "swap",
     "cswap", "rzz", "rccx", "iswap", "ccz", "cs", "csdg", "dcx", "rcccx")
)  # fmt: skip

#: Gates of the Clifford group. All others leave it, those with angles at some of them.
CLIFFORD_GATES: Final = frozenset(
    ("cx", "id", "x", "y", "z", "h", "s", "sdg", "sx", "sxdg", "cz", "cy", "swap", "iswap", "dcx", "ecr")
)  # fmt: skip


def contradictions(
    family: str,
    *,
    qubits: int | None = None,
    gate_set: Sequence[str] | None = None,
    coupling: tuple[Pair, ...] | None = None,
    is_dynamic: bool = False,
) -> Iterator[InvalidRequest]:
    """Why no program of the family can be what is asked for, with pointers, unraised; nothing where one may.

    Args:
        family: A name of FAMILIES.
        qubits: The exact width; any when None. Where there is a coupling, it is over so many qubits.
        gate_set: The gates allowed; all when None.
        coupling: The pairs that two-qubit gates may act on; all when None.
        is_dynamic: Whether gates may depend on measured bits.
    """
    programs = f"programs of the family {family}"
    if family in DYNAMIC and not is_dynamic:
        yield InvalidRequest(
            f"{programs} have gates that depend on measured bits; set dynamic to true", pointer="/dynamic"
        )
    if family not in UNENTANGLED:
        if qubits == 1:
            yield InvalidRequest(f"{programs} entangle qubits; ask for 2 qubits or more", pointer="/qubits")
        if gate_set is not None and not any(_entangles(gate) for gate in gate_set):
            yield InvalidRequest(
                f"{programs} entangle qubits, which no gate of gate_set does; add one, such as cx", pointer="/gate_set"
            )
        if coupling is not None and not coupling and qubits != 1:
            yield InvalidRequest(f"{programs} entangle qubits; coupling_map joins no pair", pointer="/coupling_map")
    if gate_set is not None and family not in CLASSICAL and MONOMIAL_GATES.issuperset(gate_set):
        yield InvalidRequest(
            f"{programs} bring qubits into superposition, which no gate of gate_set does; add one, such as h or sx",
            pointer="/gate_set",
        )
    if gate_set is not None and family not in CLIFFORD and CLIFFORD_GATES.issuperset(gate_set):
        yield InvalidRequest(
            f"{programs} need more than Clifford gates, and gate_set has no other; add one, such as rz or t",
            pointer="/gate_set",
        )
    if coupling and qubits is not None and family not in IN_PARTS:
        first, *others = _islands(coupling, qubits)
        if others:
            yield InvalidRequest(
                f"{programs} join all their qubits; coupling_map leaves qubit {others[0][0]} apart from qubit "
                f"{first[0]}: add pairs until it is connected",
                pointer="/coupling_map",
            )


#: A request asks about many families with one map.
_islands = lru_cache(maxsize=16)(islands)


def _entangles(gate: str) -> bool:
    return GATES[gate].qubit_count > 1 and gate not in _UNENTANGLING
