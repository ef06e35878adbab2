"""A quantum program as a frozen value: operations on numbered qubits and bits. Knows neither text nor Qiskit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from app.quantum.gates import GATES

#: Operations that are not gates: `measure` (one qubit, one classical bit), `reset` (one qubit), `barrier` (all qubits).
STATEMENTS = ("measure", "reset", "barrier")


@dataclass(frozen=True, slots=True)
class Operation:
    """One statement. `name` is a gate of `GATES` or one of `STATEMENTS`; angles are radians."""

    name: str
    qubits: tuple[int, ...] = ()
    angles: tuple[float, ...] = ()
    clbit: int | None = None


@dataclass(frozen=True)
class QuantumProgram:
    """Operations in program order on qubits 0..qubit_count-1 and classical bits 0..clbit_count-1.

    Registers are flattened: `q` and `c` in every text we write. A barrier spans every qubit and lists none.
    """

    qubit_count: int
    clbit_count: int
    operations: tuple[Operation, ...]

    def __post_init__(self) -> None:
        """Names, arity, indices, distinct qubits and finite angles hold, else ValueError naming the statement."""
        for position, op in enumerate(self.operations):
            reason = self._fault(op)
            if reason:
                raise ValueError(f"statement {position} ({op.name}): {reason}")

    def _fault(self, op: Operation) -> str | None:
        gate = GATES.get(op.name)
        if gate is None and op.name not in STATEMENTS:
            return "unknown operation"
        qubits, angles = (gate.qubit_count, gate.angle_count) if gate else (0 if op.name == "barrier" else 1, 0)
        if len(op.qubits) != qubits:
            return f"{len(op.qubits)} qubits, needs {qubits}"
        if len(op.angles) != angles:
            return f"{len(op.angles)} angles, needs {angles}"
        if any(not 0 <= qubit < self.qubit_count for qubit in op.qubits):
            return f"a qubit outside 0..{self.qubit_count - 1}"
        if len(set(op.qubits)) != len(op.qubits):
            return "one qubit twice"
        if not all(math.isfinite(angle) for angle in op.angles):
            return "an angle that is not finite"
        if (op.clbit is not None) != (op.name == "measure"):
            return "a classical bit belongs to measure and to nothing else"
        if op.clbit is not None and not 0 <= op.clbit < self.clbit_count:
            return f"a classical bit outside 0..{self.clbit_count - 1}"
        return None

    @cached_property
    def gate_count(self) -> int:
        """Gates, without measurements, resets and barriers."""
        return sum(op.name in GATES for op in self.operations)

    @cached_property
    def depth(self) -> int:
        """Longest chain of statements over shared qubits or classical bits, as Qiskit counts it.

        A barrier does not count, but what follows it on any qubit begins after all that precedes it.
        """
        qubits = [0] * self.qubit_count
        clbits = [0] * self.clbit_count
        for op in self.operations:
            if op.name == "barrier":
                qubits = [max(qubits, default=0)] * self.qubit_count
                continue
            level = max(qubits[q] for q in op.qubits)
            if op.clbit is not None:
                level = max(level, clbits[op.clbit])
                clbits[op.clbit] = level + 1
            for qubit in op.qubits:
                qubits[qubit] = level + 1
        return max([*qubits, *clbits], default=0)

    @cached_property
    def idle_qubits(self) -> tuple[int, ...]:
        """Qubits that no gate, measurement or reset touches."""
        used = {qubit for op in self.operations for qubit in op.qubits}
        return tuple(qubit for qubit in range(self.qubit_count) if qubit not in used)
