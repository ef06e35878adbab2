"""A quantum program as a frozen value: operations on numbered qubits and bits. Knows neither text nor Qiskit."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise

from app.quantum.gates import GATES

#: Operations that are not gates: `measure` (one qubit, one classical bit), `reset` (one qubit), `barrier`.
STATEMENTS = ("measure", "reset", "barrier")


@dataclass(frozen=True, slots=True)
class Operation:
    """One statement. `name` is a gate of `GATES` or one of `STATEMENTS`; angles are radians.

    A barrier over every qubit lists none, any other lists its qubits in ascending order. `condition` is a classical bit
    and the value (0 or 1) that it must hold for a gate or reset to happen.
    """

    name: str
    qubits: tuple[int, ...] = ()
    angles: tuple[float, ...] = ()
    clbit: int | None = None
    condition: tuple[int, int] | None = None

    @property
    def clbits(self) -> tuple[int, ...]:
        """The classical bits that it reads or writes."""
        if self.condition is None:
            return () if self.clbit is None else (self.clbit,)
        return (self.condition[0],)


@dataclass(frozen=True)
class QuantumProgram:
    """Operations in program order on qubits 0..qubit_count-1 and classical bits 0..clbit_count-1.

    `qubit_registers` and `clbit_registers` are the sizes of the registers that the bits lie in, in order; one register
    is written `()`. Operations number the bits across the registers.
    """

    qubit_count: int
    clbit_count: int
    operations: tuple[Operation, ...]
    qubit_registers: tuple[int, ...] = ()
    clbit_registers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Names, arity, indices, distinct qubits and finite angles hold, else ValueError naming the statement.

        A single register becomes `()`.
        """
        for field, count in (("qubit_registers", self.qubit_count), ("clbit_registers", self.clbit_count)):
            sizes = getattr(self, field)
            if sizes and (min(sizes) < 1 or sum(sizes) != count):
                raise ValueError(f"{field} {sizes} are not sizes of at least 1 that add up to {count}")
            if len(sizes) == 1:
                object.__setattr__(self, field, ())
        for position, op in enumerate(self.operations):
            reason = self._fault(op)
            if reason:
                raise ValueError(f"statement {position} ({op.name}): {reason}")

    def _fault(self, op: Operation) -> str | None:
        gate = GATES.get(op.name)
        if gate is None and op.name not in STATEMENTS:
            return "unknown operation"
        qubits, angles = (gate.qubit_count, gate.angle_count) if gate else (1, 0)
        if op.name == "barrier":
            if len(op.qubits) >= self.qubit_count > 0:
                return "lists every qubit; a barrier over all of them lists none"
            if any(one >= next_one for one, next_one in pairwise(op.qubits)):
                return "the qubits of a barrier must ascend"
        elif len(op.qubits) != qubits:
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
        return None if op.condition is None else self._fault_of_condition(op.name, *op.condition)

    def _fault_of_condition(self, name: str, clbit: int, value: int) -> str | None:
        if name in ("measure", "barrier"):
            return "a condition belongs to gates and reset only"
        if value not in (0, 1):
            return f"a condition on the value {value}, a bit holds 0 or 1"
        if not 0 <= clbit < self.clbit_count:
            return f"a classical bit outside 0..{self.clbit_count - 1}"
        return None

    @cached_property
    def gate_count(self) -> int:
        """Gates, without measurements, resets and barriers."""
        return sum(op.name in GATES for op in self.operations)

    @cached_property
    def gates_used(self) -> tuple[str, ...]:
        """Every gate that occurs, in the order of `GATES`."""
        names = {op.name for op in self.operations}
        return tuple(name for name in GATES if name in names)

    @cached_property
    def is_dynamic(self) -> bool:
        """Whether some operation hangs on a classical bit."""
        return any(op.condition is not None for op in self.operations)

    @cached_property
    def depth(self) -> int:
        """Longest chain of statements over shared qubits or classical bits, as Qiskit counts it.

        A barrier does not count, but what follows it on any of its qubits begins after all that precedes it on them. A
        condition shares its classical bit.
        """
        qubits = [0] * self.qubit_count
        clbits = [0] * self.clbit_count
        for op in self.operations:
            touched = op.qubits or range(self.qubit_count)
            level = max([qubits[q] for q in touched], default=0) + (op.name != "barrier")
            shared = op.clbits
            for clbit in shared:
                level = max(level, clbits[clbit] + 1)
            for qubit in touched:
                qubits[qubit] = level
            for clbit in shared:
                clbits[clbit] = level
        return max([*qubits, *clbits], default=0)

    @cached_property
    def idle_qubits(self) -> tuple[int, ...]:
        """Qubits that no gate, measurement or reset touches."""
        used = {qubit for op in self.operations if op.name != "barrier" for qubit in op.qubits}
        return tuple(qubit for qubit in range(self.qubit_count) if qubit not in used)


def compacted(program: QuantumProgram) -> QuantumProgram:
    """The program without idle qubits and without classical bits that nothing reads or writes; the rest keep order.

    Registers shrink with their bits. A barrier keeps the qubits that are left, and goes where none is.
    """
    kept_clbits = {clbit for op in program.operations for clbit in op.clbits}
    if not program.idle_qubits and len(kept_clbits) == program.clbit_count:
        return program
    idle = set(program.idle_qubits)
    qubits = {q: n for n, q in enumerate(q for q in range(program.qubit_count) if q not in idle)}
    clbits = {c: n for n, c in enumerate(sorted(kept_clbits))}
    operations = []
    for op in program.operations:
        left = tuple(qubits[q] for q in op.qubits if q in qubits)
        if op.name == "barrier" and op.qubits:
            if left:
                operations.append(barrier(left, len(qubits)))
            continue
        condition = None if op.condition is None else (clbits[op.condition[0]], op.condition[1])
        clbit = None if op.clbit is None else clbits[op.clbit]
        operations.append(replace(op, qubits=left, clbit=clbit, condition=condition))
    return QuantumProgram(
        len(qubits), len(clbits), tuple(operations),
        _shrunk(program.qubit_registers, qubits), _shrunk(program.clbit_registers, clbits),
    )  # fmt: skip


def barrier(qubits: Collection[int], qubit_count: int) -> Operation:
    """The barrier over these distinct qubits of a program with `qubit_count` of them."""
    return Operation("barrier", () if len(qubits) == qubit_count else tuple(sorted(qubits)))


def _shrunk(sizes: tuple[int, ...], kept: Collection[int]) -> tuple[int, ...]:
    """The sizes of the registers when only the `kept` bits are left; a register that loses them all goes."""
    counts = (sum(start <= bit < stop for bit in kept) for start, stop in pairwise(accumulate(sizes, initial=0)))
    return tuple(count for count in counts if count)
