"""Qiskit's random circuits as programs: what Qiskit gives anyone who wants a benchmark. Imports Qiskit when called."""

from __future__ import annotations

from app.quantum.program import QuantumProgram, compacted
from app.quantum.qiskit_circuits import program_of

#: Statements of a layer of such a circuit for each of its qubits, with gates on up to three qubits.
_STATEMENTS_PER_QUBIT = 0.375


def random_program(qubits: int, statements: int, seed: int) -> QuantumProgram:
    """`qiskit.circuit.random.random_circuit` on so many qubits with a measurement of each, about that many statements.

    Gates that programs cannot hold are expanded, so it may become longer.
    """
    from qiskit.circuit.random import random_circuit

    layers = max(1, round((statements - qubits) / (_STATEMENTS_PER_QUBIT * qubits)))
    circuit = random_circuit(qubits, layers, max_operands=min(3, qubits), measure=True, seed=seed)
    return compacted(program_of(circuit))
