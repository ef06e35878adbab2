"""A program in the making."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from app.quantum.program import Operation, QuantumProgram, barrier

_INVERSE_NAMES = {
    "s": "sdg",
    "sdg": "s",
    "t": "tdg",
    "tdg": "t",
    "sx": "sxdg",
    "sxdg": "sx",
    "cs": "csdg",
    "csdg": "cs",
}
_SELF_INVERSE = frozenset(("id", "x", "y", "z", "h", "cx", "cy", "cz", "ch", "ccx", "ccz", "swap", "cswap", "barrier"))
_ANGLE_NEGATES = frozenset(("rx", "ry", "rz", "p", "u1", "cp", "cu1", "crx", "cry", "crz", "rxx", "ryy", "rzz", "rzx"))

#: Share of the programs with registers of their own, of those that could have them.
_REGISTERS_SHARE = 0.5


class Draft:
    """Operations in order, on qubits and classical bits that are counted from 0.

    `registers` are the sizes of the qubits' registers, where the algorithm tells them apart. Classical bits come in
    registers as they are asked for.
    """

    def __init__(self, qubits: int, clbits: int = 0, *, registers: Sequence[int] = ()) -> None:
        self.qubits = qubits
        self.qubit_registers = tuple(size for size in registers if size)
        self.clbit_registers = [clbits] if clbits else []
        self.operations: list[Operation] = []

    @property
    def clbits(self) -> int:
        """How many classical bits there are."""
        return sum(self.clbit_registers)

    def bits(self, count: int) -> range:
        """A new register of so many classical bits."""
        self.clbit_registers.append(count)
        return range(self.clbits - count, self.clbits)

    def gate(
        self,
        name: str,
        *qubits: int,
        angle: float | None = None,
        angles: Sequence[float] = (),
        when: tuple[int, int] | None = None,
    ) -> None:
        """The gate is applied. `angle` is for the gates that have one, `angles` for those that have more.

        `when` is a classical bit and the value that it must hold.
        """
        self.operations.append(Operation(name, qubits, tuple(angles) if angle is None else (angle,), condition=when))

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

    def barrier(self, qubits: Collection[int] | None = None) -> None:
        """A barrier over these qubits, by default over every one."""
        self.operations.append(barrier(range(self.qubits) if qubits is None else qubits, self.qubits))

    def reset(self, qubit: int) -> None:
        """The qubit is set to zero."""
        self.operations.append(Operation("reset", (qubit,)))

    def measure(self, qubit: int, clbit: int) -> None:
        """The qubit is measured into the classical bit."""
        self.operations.append(Operation("measure", (qubit,), clbit=clbit))

    def measure_each(self, qubits: Sequence[int]) -> range:
        """The qubits are measured into a new register, which is returned."""
        bits = self.bits(len(qubits))
        for qubit, bit in zip(qubits, bits, strict=True):
            self.measure(qubit, bit)
        return bits

    def controlled_ry(self, angle: float, first: int, second: int, target: int) -> None:
        """A rotation about Y under two controls."""
        self.gate("cry", second, target, angle=angle / 2)
        self.cx(first, second)
        self.gate("cry", second, target, angle=-angle / 2)
        self.cx(first, second)
        self.gate("cry", first, target, angle=angle / 2)

    def toffoli(self, first: int, second: int, target: int) -> None:
        """A Toffoli gate in Clifford+T."""
        self.h(target)
        for control, rotation in ((second, "tdg"), (first, "t"), (second, "tdg")):
            self.cx(control, target)
            self.gate(rotation, target)
        self.cx(first, target)
        self.gate("t", second)
        self.gate("t", target)
        self.h(target)
        self.cx(first, second)
        self.gate("t", first)
        self.gate("tdg", second)
        self.cx(first, second)

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

    def program(self, rng: random.Random | None = None) -> QuantumProgram:
        """The finished program: in one register, or, where there is randomness, sometimes in those told apart."""
        operations = tuple(self.operations)
        if rng is None or rng.random() >= _REGISTERS_SHARE:
            return QuantumProgram(self.qubits, self.clbits, operations)
        return QuantumProgram(self.qubits, self.clbits, operations, self.qubit_registers, tuple(self.clbit_registers))


def _inverse(op: Operation) -> Operation:
    if op.name in _SELF_INVERSE:
        return op
    if op.name in _INVERSE_NAMES:
        return replace(op, name=_INVERSE_NAMES[op.name])
    if op.name in _ANGLE_NEGATES:
        return replace(op, angles=(-op.angles[0],))
    raise ValueError(f"no inverse of {op.name!r} is known here")
