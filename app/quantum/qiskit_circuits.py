"""Qiskit circuits as programs. Imports Qiskit when called."""

from __future__ import annotations

from typing import Any

from app.errors import NotExpressible
from app.quantum.gates import GATES
from app.quantum.program import STATEMENTS, Operation, QuantumProgram


def program_of(circuit: Any) -> QuantumProgram:
    """The program of a `qiskit.QuantumCircuit`: gates of `GATES` are kept, all others expanded into them.

    Qubits and classical bits that nothing acts on are left out and the others renumbered in order, a barrier over
    some of the qubits is left out, and the global phase is lost.

    Raises:
        NotExpressible: The circuit has classical control or parameters without a value.
    """
    from qiskit import transpile
    from qiskit.transpiler import PassManager
    from qiskit.transpiler.passes import UnitarySynthesis

    # Given several two-qubit gates to choose from, Qiskit expands one matrix now this way, now that way.
    expanded = PassManager([UnitarySynthesis(["u3", "cx"])]).run(circuit)
    expanded = transpile(expanded, basis_gates=list(GATES), optimization_level=0)
    if expanded.parameters:
        raise NotExpressible(f"circuit {circuit.name!r} has parameters without a value; assign them first")
    active = {bit for item in expanded.data if item.operation.name != "barrier" for bit in (*item.qubits, *item.clbits)}
    qubits = {bit: index for index, bit in enumerate(bit for bit in expanded.qubits if bit in active)}
    clbits = {bit: index for index, bit in enumerate(bit for bit in expanded.clbits if bit in active)}
    operations: list[Operation] = []
    for item in expanded.data:
        name = item.operation.name
        if name == "barrier":
            if set(qubits) <= set(item.qubits):
                operations.append(Operation("barrier"))
        elif name not in GATES and name not in STATEMENTS:
            raise NotExpressible(f"circuit {circuit.name!r} has the operation {name!r}, which no program here can hold")
        else:
            clbit = clbits[item.clbits[0]] if item.clbits else None
            angles = tuple(float(angle) for angle in item.operation.params)
            operations.append(Operation(name, tuple(qubits[bit] for bit in item.qubits), angles, clbit))
    return QuantumProgram(len(qubits), len(clbits), tuple(operations))
