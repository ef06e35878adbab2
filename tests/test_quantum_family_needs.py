"""What programs of a family cannot do without, held against the programs."""

from __future__ import annotations

import gzip
import json
import math
import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from app.quantum.corpus import RESERVED_FAMILIES
from app.quantum.families._base import builder_groups
from app.quantum.family_names import FAMILIES
from app.quantum.family_needs import (
    CLASSICAL,
    CLIFFORD,
    CLIFFORD_GATES,
    DYNAMIC,
    IN_PARTS,
    MONOMIAL_GATES,
    UNENTANGLED,
    contradictions,
)
from app.quantum.gate_matrices import gate_matrix
from app.quantum.gates import GATES
from app.quantum.program import QuantumProgram, compacted
from app.quantum.qasm import parse_qasm2


def ruled_out(program: QuantumProgram, family: str) -> list[str]:
    """Why the family could not have this program, by its own gates and pairs."""
    pairs = {(op.qubits[0], other) for op in program.operations if op.name in GATES for other in op.qubits[1:]}
    errors = contradictions(
        family,
        qubits=program.qubit_count,
        gate_set=program.gates_used,
        coupling=tuple(pairs),
        is_dynamic=program.is_dynamic,
    )
    return [f"{family}: {error}" for error in errors]


def faults(labelled: Iterable[tuple[QuantumProgram, str]]) -> set[str]:
    return {fault for program, family in labelled for fault in ruled_out(program, family)}


def built(draws: int, sizes: int) -> Iterable[tuple[QuantumProgram, str]]:
    """Programs of every builder at its smallest sizes."""
    for group in builder_groups.values():
        for builder in group:
            if builder.source == "built":
                for size in builder.sizes[:sizes]:
                    for draw in range(min(builder.draws, draws)):
                        program = compacted(builder.build(size, random.Random(draw)))
                        if program.gate_count > 1:
                            yield program, builder.family


def test_no_program_that_is_built_is_ruled_out():
    assert not faults(built(draws=2, sizes=2))


@pytest.mark.slow
def test_no_program_of_any_size_that_is_built_is_ruled_out():
    assert not faults(built(draws=6, sizes=8))


@pytest.mark.slow
def test_no_published_program_is_ruled_out(shared_data: Path):
    with gzip.open(shared_data / "quantum" / "circuits.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for line in lines if (row := json.loads(line))["family"] not in RESERVED_FAMILIES]
    assert not faults((compacted(parse_qasm2(row["qasm"])), row["family"]) for row in rows)


def test_the_tables_name_families():
    assert set(FAMILIES) >= UNENTANGLED | CLASSICAL | CLIFFORD | IN_PARTS | DYNAMIC


@pytest.mark.parametrize("name", GATES)
def test_the_tables_of_gates_agree_with_their_matrices(name: str):
    gate = GATES[name]
    generic = gate_matrix(name, tuple(0.3 + 0.4 * place for place in range(gate.angle_count)))
    assert (name in MONOMIAL_GATES) == bool((np.count_nonzero(abs(generic) > 1e-9, axis=0) == 1).all())
    if gate.qubit_count < 4:
        assert (name in CLIFFORD_GATES) == (not gate.angle_count and is_clifford(gate_matrix(name)))


def is_clifford(matrix: np.ndarray) -> bool:
    """Whether every Pauli operator is brought to one, up to its sign."""
    size = len(matrix)
    paulis = [np.eye(1)]
    for _ in range(int(math.log2(size))):
        one = [np.eye(2), np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])]
        paulis = [np.kron(left, right) for left in paulis for right in one]
    overlaps = [
        max(abs(np.trace(matrix @ pauli @ matrix.conj().T @ other)) for other in paulis) / size for pauli in paulis
    ]
    return bool(np.allclose(overlaps, 1.0))


@pytest.mark.parametrize(
    ("family", "fields", "sentence", "pointer"),
    [
        (
            "ghz_dynamic",
            {},
            "programs of the family ghz_dynamic have gates that depend on measured bits; set dynamic to true",
            "/dynamic",
        ),
        ("ghz", {"qubits": 1}, "programs of the family ghz entangle qubits; ask for 2 qubits or more", "/qubits"),
        (
            "ghz",
            {"gate_set": ("h", "swap")},
            "programs of the family ghz entangle qubits, which no gate of gate_set does; add one, such as cx",
            "/gate_set",
        ),
        (
            "graph_state",
            {"qubits": 2, "coupling": ()},
            "programs of the family graph_state entangle qubits; coupling_map joins no pair",
            "/coupling_map",
        ),
        (
            "ghz",
            {"gate_set": ("x", "rz", "cx")},
            "programs of the family ghz bring qubits into superposition, which no gate of gate_set does; "
            "add one, such as h or sx",
            "/gate_set",
        ),
        (
            "w_state",
            {"gate_set": ("h", "s", "cx")},
            "programs of the family w_state need more than Clifford gates, and gate_set has no other; "
            "add one, such as rz or t",
            "/gate_set",
        ),
        (
            "ghz",
            {"qubits": 4, "coupling": ((0, 1), (2, 3))},
            "programs of the family ghz join all their qubits; coupling_map leaves qubit 2 apart from qubit 0: "
            "add pairs until it is connected",
            "/coupling_map",
        ),
    ],
)
def test_what_a_family_cannot_be_is_told_with_its_field(family: str, fields: dict, sentence: str, pointer: str):  # type: ignore[type-arg]  # fields of a call
    assert [(str(error), error.pointer) for error in contradictions(family, **fields)] == [(sentence, pointer)]


def test_what_a_machine_has_is_enough_for_every_family():
    for family in FAMILIES:
        assert not list(contradictions(family, qubits=3, gate_set=("rz", "sx", "x", "cx"), coupling=((0, 1), (1, 2)),
                                       is_dynamic=True))  # fmt: skip
