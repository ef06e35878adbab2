"""A program in the making."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.quantum.program import Operation, QuantumProgram

_INVERSE_NAMES = {"s": "sdg", "sdg": "s", "t": "tdg", "tdg": "t", "sx": "sxdg", "sxdg": "sx"}
_SELF_INVERSE = frozenset(("id", "x", "y", "z", "h", "cx", "cy", "cz", "ch", "ccx", "ccz", "swap", "cswap", "barrier"))
_ANGLE_NEGATES = frozenset(("rx", "ry", "rz", "p", "u1", "cp", "cu1", "crx", "cry", "crz", "rxx", "ryy", "rzz"))


class Draft:
    """Operations in order, on qubits and classical bits that are counted from 0."""

    def __init__(self, qubits: int, clbits: int = 0) -> None:
        self.qubits = qubits
        self.clbits = clbits
        self.operations: list[Operation] = []

    def gate(self, name: str, *qubits: int, angle: float | None = None, angles: Sequence[float] = ()) -> None:
        """The gate is applied. `angle` is for the gates that have one, `angles` for those that have more."""
        self.operations.append(Operation(name, qubits, tuple(angles) if angle is None else (angle,)))

    def each(self, name: str, qubits: Iterable[int], angle: float | None = None) -> None:
        """The gate is applied to each of the qubits in turn."""
        for qubit in qubits:
            self.gate(name, qubit, angle=angle)

    def h(self, *qubits: int) -> None:
        """Hadamard gates on each of the qubits."""
        self.each("h", qubits)

    def x(self, *qubits: int) -> None:
        """Pauli X gates on each of the qubits."""
        self.each("x", qubits)

    def cx(self, control: int, target: int) -> None:
        """A controlled X."""
        self.gate("cx", control, target)

    def barrier(self) -> None:
        """A barrier over every qubit."""
        self.operations.append(Operation("barrier"))

    def reset(self, qubit: int) -> None:
        """The qubit is set to zero."""
        self.operations.append(Operation("reset", (qubit,)))

    def measure(self, qubit: int, clbit: int) -> None:
        """The qubit is measured into the classical bit."""
        self.operations.append(Operation("measure", (qubit,), clbit=clbit))

    def measure_each(self, qubits: Iterable[int], start: int | None = None) -> None:
        """The qubits are measured into bits from `start`, else into new bits."""
        first = self.clbits if start is None else start
        for offset, qubit in enumerate(qubits):
            self.measure(qubit, first + offset)
            self.clbits = max(self.clbits, first + offset + 1)

    def controlled_ry(self, angle: float, first: int, second: int, target: int) -> None:
        """A rotation about Y under two controls."""
        self.gate("cry", second, target, angle=angle / 2)
        self.cx(first, second)
        self.gate("cry", second, target, angle=-angle / 2)
        self.cx(first, second)
        self.gate("cry", first, target, angle=angle / 2)

    def controlled_z(self, qubits: Sequence[int], helpers: Sequence[int]) -> None:
        """The phase -1 where all the qubits are one; needs a clean helper for each qubit beyond the third."""
        if len(qubits) <= 3:
            self.gate(("z", "cz", "ccz")[len(qubits) - 1], *qubits)
            return
        start = len(self.operations)
        self.gate("ccx", qubits[0], qubits[1], helpers[0])
        for index in range(2, len(qubits) - 2):
            self.gate("ccx", qubits[index], helpers[index - 2], helpers[index - 1])
        end = len(self.operations)
        self.gate("ccz", qubits[-2], qubits[-1], helpers[len(qubits) - 4])
        self.undo(start, end)

    def undo(self, start: int, end: int | None = None) -> None:
        """The inverses of operations `start` to `end` (default: all since) follow, last one first."""
        self.operations += [_inverse(op) for op in reversed(self.operations[start:end])]

    def program(self) -> QuantumProgram:
        """The finished program."""
        return QuantumProgram(self.qubits, self.clbits, tuple(self.operations))


def _inverse(op: Operation) -> Operation:
    if op.name in _SELF_INVERSE:
        return op
    if op.name in _INVERSE_NAMES:
        return Operation(_INVERSE_NAMES[op.name], op.qubits)
    if op.name in _ANGLE_NEGATES:
        return Operation(op.name, op.qubits, (-op.angles[0],))
    raise ValueError(f"no inverse of {op.name!r} is known here")
