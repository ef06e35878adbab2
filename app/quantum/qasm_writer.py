"""Writes programs as OpenQASM 2 and 3 that carry the gate definitions they need, so that they load without options.

Reference:
    [cross2017openqasm] for version 2; [cross2022openqasm] for version 3 and its stdgates.inc.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final

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
    """OpenQASM 2 text of the program, on one register of qubits `q` and one of classical bits `c`.

    It loads with the paper's qelib1.inc alone, also where a strict reader is used.
    """
    lines = ["OPENQASM 2.0;", 'include "qelib1.inc";']
    lines += _prelude(program, QASM2_DEFINITIONS)
    if program.qubit_count:
        lines.append(f"qreg q[{program.qubit_count}];")
    if program.clbit_count:
        lines.append(f"creg c[{program.clbit_count}];")
    for op in program.operations:
        lines.append(f"measure q[{op.qubits[0]}] -> c[{op.clbit}];" if op.name == "measure" else _statement(op))
    return "\n".join(lines) + "\n"


def write_qasm3(program: QuantumProgram) -> str:
    """OpenQASM 3 text of the same statements in the same order."""
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";']
    lines += _prelude(program, QASM3_DEFINITIONS)
    if program.qubit_count:
        lines.append(f"qubit[{program.qubit_count}] q;")
    if program.clbit_count:
        lines.append(f"bit[{program.clbit_count}] c;")
    for op in program.operations:
        lines.append(f"c[{op.clbit}] = measure q[{op.qubits[0]}];" if op.name == "measure" else _statement(op))
    return "\n".join(lines) + "\n"


def _statement(op: Operation) -> str:
    if op.name == "barrier":
        return "barrier q;"
    angles = f"({','.join(map(angle_text, op.angles))})" if op.angles else ""
    return f"{op.name}{angles} {','.join([f'q[{qubit}]' for qubit in op.qubits])};"


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
