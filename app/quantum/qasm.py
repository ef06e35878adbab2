"""OpenQASM in and out: readers and writers of versions 2 and 3. Standard library only."""

from __future__ import annotations

from app.quantum.qasm_limits import QASM_LIMITS, QasmLimits
from app.quantum.qasm_reader import (
    ParsedQasm,
    is_qasm3,
    parse_qasm2,
    read_qasm,
    read_qasm2,
    read_qasm3,
)
from app.quantum.qasm_writer import angle_text, write_qasm2, write_qasm3

__all__ = [
    "QASM_LIMITS",
    "ParsedQasm",
    "QasmLimits",
    "angle_text",
    "is_qasm3",
    "parse_qasm2",
    "read_qasm",
    "read_qasm2",
    "read_qasm3",
    "write_qasm2",
    "write_qasm3",
]
