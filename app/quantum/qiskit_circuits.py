"""Qiskit circuits as programs. Imports Qiskit when called."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from app.errors import NotExpressible
from app.quantum.gates import GATES
from app.quantum.program import STATEMENTS, Operation, QuantumProgram, barrier, compacted


def load_qiskit() -> None:
    """Qiskit is loaded, so that any thread may use it. To be called by a thread that lives as long as the process.

    The memory that Qiskit's allocator begins with belongs to the thread that loads it. Once that thread has ended, the
    next that makes a circuit crashes the process.
    """
    importlib.import_module("qiskit")


def program_of(circuit: Any) -> QuantumProgram:
    """The program of a `qiskit.QuantumCircuit`: gates of `GATES` are kept, all others expanded into them.

    Registers are kept, and so are gates and resets that hang on one classical bit. Qubits and classical bits that
    nothing acts on are left out and the others renumbered in order, and the global phase is lost.

    Raises:
        NotExpressible: The circuit has other classical control or parameters without a value.
    """
    from qiskit import transpile
    from qiskit.transpiler import PassManager
    from qiskit.transpiler.passes import UnitarySynthesis

    # Given several two-qubit gates to choose from, Qiskit expands one matrix now this way, now that way.
    expanded = PassManager([UnitarySynthesis(["u3", "cx"])]).run(circuit)
    basis = [*GATES, "if_else"] if "if_else" in expanded.count_ops() else list(GATES)
    expanded = transpile(expanded, basis_gates=basis, optimization_level=0)
    if expanded.parameters:
        raise NotExpressible(f"circuit {circuit.name!r} has parameters without a value; assign them first")
    qubits = {bit: number for number, bit in enumerate(expanded.qubits)}
    clbits = {bit: number for number, bit in enumerate(expanded.clbits)}
    program = QuantumProgram(
        len(qubits),
        len(clbits),
        tuple(_Reader(circuit.name, len(qubits)).operations(expanded.data, qubits, clbits)),
        _register_sizes(expanded, expanded.qubits),
        _register_sizes(expanded, expanded.clbits),
    )
    return compacted(program)


def _register_sizes(circuit: Any, bits: Sequence[Any]) -> tuple[int, ...]:
    """The sizes of the runs of neighbours that lie in one register, or in none; a bit lies in the first that has it."""

    def register(bit: Any) -> str | None:
        registers = circuit.find_bit(bit).registers
        return registers[0][0].name if registers else None

    return tuple(len(list(run)) for _, run in groupby(bits, register))


class _Reader:
    """Reads the instructions of the circuit of this name with so many qubits."""

    def __init__(self, name: str, qubit_count: int) -> None:
        self._name = name
        self._qubit_count = qubit_count

    def operations(
        self,
        data: Iterable[Any],
        qubits: Mapping[Any, int],
        clbits: Mapping[Any, int],
        condition: tuple[int, int] | None = None,
    ) -> Iterator[Operation]:
        """The operations of instructions whose bits have these numbers, under the condition."""
        for item in data:
            operation = item.operation
            on = tuple(qubits[bit] for bit in item.qubits)
            if operation.name == "barrier":
                # The bits of a conditional block are those that it uses: a barrier inside orders nothing else.
                if condition is None and on:
                    yield barrier(on, self._qubit_count)
            elif operation.name == "if_else" and condition is None:
                yield from self._branches(operation, on, tuple(clbits[bit] for bit in item.clbits), clbits)
            elif operation.name in GATES or operation.name in STATEMENTS:
                if operation.name == "measure" and condition is not None:
                    raise NotExpressible(
                        f"circuit {self._name!r} measures under a condition, which no program here can hold"
                    )
                clbit = clbits[item.clbits[0]] if item.clbits else None
                yield Operation(operation.name, on, tuple(map(float, operation.params)), clbit, condition)
            else:
                raise NotExpressible(
                    f"circuit {self._name!r} has the operation {operation.name!r}, which no program here can hold"
                )

    def _branches(
        self, operation: Any, on: tuple[int, ...], read: tuple[int, ...], clbits: Mapping[Any, int]
    ) -> Iterator[Operation]:
        """Both branches of an `IfElseOp` on these bits, one after the other: neither can change the bit read."""
        clbit, value = self._condition(operation.condition, clbits)
        for block, wanted in zip(operation.blocks, (value, 1 - value), strict=False):
            inner_qubits = dict(zip(block.qubits, on, strict=True))
            inner_clbits = dict(zip(block.clbits, read, strict=True))
            yield from self.operations(block.data, inner_qubits, inner_clbits, (clbit, wanted))

    def _condition(self, condition: Any, clbits: Mapping[Any, int]) -> tuple[int, int]:
        """The bit that is read and the value it must have."""
        from qiskit.circuit import Clbit
        from qiskit.circuit.classical import expr

        target, value = condition if isinstance(condition, tuple) else (condition, 1)
        if isinstance(target, expr.Unary) and target.op in (expr.Unary.Op.LOGIC_NOT, expr.Unary.Op.BIT_NOT):
            target, value = target.operand, 0
        if isinstance(target, expr.Var):
            target = target.var
        bits = [target] if isinstance(target, Clbit) else list(target) if hasattr(target, "size") else []
        if len(bits) != 1 or int(value) not in (0, 1):
            raise NotExpressible(
                f"circuit {self._name!r} has a condition that is not the value of one bit, which no program here holds"
            )
        return clbits[bits[0]], int(value)
