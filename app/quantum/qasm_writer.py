"""Writes programs as OpenQASM 2 and 3 that carry the gate definitions they need, so that they load without options.

Reference:
    [cross2017openqasm] for version 2; [cross2022openqasm] for version 3 and its stdgates.inc.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import Final

from app.errors import NotExpressible
from app.quantum.gates import QASM2_DEFINITIONS, QASM3_DEFINITIONS
from app.quantum.program import Operation, QuantumProgram

#: An angle this close (in radians) to k*pi/d with d up to `GRID_DENOMINATOR` is written so, and reads back as that.
#: Beyond `GRID_DENOMINATOR` times pi, where numbers lie as far apart as this, it is written in decimals.
GRID_TOLERANCE: Final = 1e-12
GRID_DENOMINATOR: Final = 1024

_NAME = re.compile(r"[a-z][a-z0-9]*")


@lru_cache(maxsize=65_536)
def angle_text(angle: float) -> str:
    """Radians as ``k*pi/d`` where the grid has it, else as the shortest decimals that read back as the same number.

    The decimals have a point and no exponent, which strict readers ask for.
    """
    ratio = Fraction(angle / math.pi).limit_denominator(GRID_DENOMINATOR)
    over, under = ratio.numerator, ratio.denominator
    is_moderate = abs(over) <= GRID_DENOMINATOR * under
    if is_moderate and abs(over * math.pi / under - angle) <= GRID_TOLERANCE:
        if over == 0:
            return "0"
        sign = "-" if over < 0 else ""
        times = "" if abs(over) == 1 else f"{abs(over)}*"
        return f"{sign}{times}pi" + ("" if under == 1 else f"/{under}")
    digits = f"{Decimal(repr(angle)):f}"
    return digits if "." in digits else digits + ".0"


def write_qasm2(program: QuantumProgram) -> str:
    """OpenQASM 2 text of the program: registers `q` and `c`, or `q0`, `q1`.. and `c0`, `c1`.. where there are several.

    It loads with the paper's qelib1.inc alone, also where a strict reader is used.

    Raises:
        NotExpressible: A condition reads one bit of a wider register; version 2 compares whole registers only.
    """
    qubits, clbits = _names(program)
    lines = ["OPENQASM 2.0;", 'include "qelib1.inc";']
    lines += _prelude(program, QASM2_DEFINITIONS)
    lines += [f"qreg {name}[{size}];" for name, size in qubits.registers]
    lines += [f"creg {name}[{size}];" for name, size in clbits.registers]
    for position, op in enumerate(program.operations):
        condition = ""
        if op.condition is not None:
            bit, value = op.condition
            register = clbits.alone.get(bit)
            if register is None:
                raise NotExpressible(
                    f"statement {position} ({op.name}) hangs on {clbits.of[bit]}, one bit of a register, and "
                    "OpenQASM 2 compares whole registers only; write OpenQASM 3"
                )
            condition = f"if({register}=={value}) "
        if op.name == "measure":
            lines.append(f"measure {qubits.of[op.qubits[0]]} -> {clbits.of[op.clbits[0]]};")
        else:
            lines.append(condition + _statement(op, qubits))
    return "\n".join(lines) + "\n"


def write_qasm3(program: QuantumProgram) -> str:
    """OpenQASM 3 text of the same statements in the same order."""
    qubits, clbits = _names(program)
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";']
    lines += _prelude(program, QASM3_DEFINITIONS)
    lines += [f"qubit[{size}] {name};" for name, size in qubits.registers]
    lines += [f"bit[{size}] {name};" for name, size in clbits.registers]
    for op in program.operations:
        if op.name == "measure":
            lines.append(f"{clbits.of[op.clbits[0]]} = measure {qubits.of[op.qubits[0]]};")
        elif op.condition is None:
            lines.append(_statement(op, qubits))
        else:
            bit, value = op.condition
            lines.append(f"if ({'' if value else '!'}{clbits.of[bit]}) {{ {_statement(op, qubits)} }}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Names:
    """What the bits of one sort are called: `of` each bit, the registers with their sizes, and bits `alone` in one."""

    registers: tuple[tuple[str, int], ...]
    of: tuple[str, ...]
    alone: Mapping[int, str]


@lru_cache(maxsize=4096)
def _names_of(stem: str, count: int, sizes: tuple[int, ...]) -> _Names:
    registers = tuple((f"{stem}{number}", size) for number, size in enumerate(sizes)) or ((stem, count),) * bool(count)
    of = tuple(f"{name}[{index}]" for name, size in registers for index in range(size))
    starts = accumulate((size for _, size in registers), initial=0)
    alone = {start: name for start, (name, size) in zip(starts, registers, strict=False) if size == 1}
    return _Names(registers, of, alone)


def _names(program: QuantumProgram) -> tuple[_Names, _Names]:
    """The names of the qubits and of the classical bits."""
    return (
        _names_of("q", program.qubit_count, program.qubit_registers),
        _names_of("c", program.clbit_count, program.clbit_registers),
    )


def _statement(op: Operation, qubits: _Names) -> str:
    """A gate, reset or barrier; a barrier over every qubit lists the registers."""
    angles = f"({','.join(map(angle_text, op.angles))})" if op.angles else ""
    operands = [qubits.of[qubit] for qubit in op.qubits] or [name for name, _ in qubits.registers]
    return f"{op.name}{angles} {','.join(operands)};"


def _prelude(program: QuantumProgram, definitions: Mapping[str, str]) -> list[str]:
    """Definitions of the gates that the program uses, each after those it is made of."""
    ordered: dict[str, None] = {}

    def visit(names: Iterable[str]) -> None:
        for name in names:
            if name in definitions and name not in ordered:
                body = definitions[name].partition("{")[2]
                visit(_NAME.findall(body))
                ordered[name] = None

    visit(sorted({op.name for op in program.operations}))
    return [definitions[name] for name in ordered]
