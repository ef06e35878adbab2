"""How large an OpenQASM text, and the program it stands for, may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class QasmLimits:
    """The largest text and program that the reader takes; more is LimitExceeded.

    `work` bounds what short statements can blow up: one unit a gate call and a term of an angle in an expansion, and
    one a qubit of a barrier.
    """

    characters: int = 1_000_000
    statements: int = 20_000
    qubits: int = 1_024
    clbits: int = 4_096
    definitions: int = 200
    nesting: int = 16
    operations: int = 50_000
    expression_depth: int = 64
    expression_terms: int = 1_000
    work: int = 500_000


QASM_LIMITS: Final = QasmLimits()
