"""What an oracle is: it says whether a program does what its family is for. The verdict is about the state or the
outcomes, never about which gates were chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from app.errors import LimitExceeded
from app.quantum.gate_matrices import gate_matrix
from app.quantum.gates import GATES
from app.quantum.program import Operation, QuantumProgram
from app.quantum.simulation import MAX_DENSE_QUBITS, Outcomes, Outline, outcomes, outline, read_map
from app.quantum.stabilizers import StabilizerState, stabilizer_state
from app.registry import Registry

#: How a verdict was reached; ``none`` where the program could not be simulated within bounds.
Method = Literal["statevector", "stabilizers", "none"]

#: Least fidelity with what a family promises, and least probability of what is meant to be certain.
FIDELITY: Final = 0.99


@dataclass(frozen=True, slots=True)
class OracleVerdict:
    """Whether a program does what its family is for; `reason` is a sentence that says what was found.

    A program that could not be judged does not pass, and its `method` is ``none``.
    """

    passes: bool
    reason: str
    method: Method

    @property
    def is_judged(self) -> bool:
        """False where the program is outside of what is simulated."""
        return self.method != "none"


#: Says what it found in a program, and whether that is what the family promises; raises LimitExceeded.
Judge = Callable[[QuantumProgram], OracleVerdict]


@dataclass(frozen=True, slots=True)
class Oracle:
    """The check of a family. `promise` completes the sentence "a program of the family ..."; `most_qubits` is the
    widest program that can be judged at all, None where that hangs on its gates.
    """

    promise: str
    judge: Judge
    most_qubits: int | None = None

    def check(self, program: QuantumProgram) -> OracleVerdict:
        """The verdict on a program. Bounded in time and memory, and no kind of program is an error."""
        try:
            return self.judge(program)
        except LimitExceeded as reason:
            return OracleVerdict(False, f"it cannot be judged: {reason}", "none")


#: Oracles by family: each module of `app.quantum.oracles` adds those of its families.
oracles: Final[Registry[Oracle]] = Registry("oracle", "app.quantum.oracles")


def statevector(passes: bool, reason: str) -> OracleVerdict:
    """A verdict reached by simulating the state."""
    return OracleVerdict(passes, reason, "statevector")


def stabilizers(passes: bool, reason: str) -> OracleVerdict:
    """A verdict reached by the stabilizers of the state."""
    return OracleVerdict(passes, reason, "stabilizers")


def clifford_state(program: QuantumProgram) -> StabilizerState | None:
    """The program's final state, where all it does before its end is Clifford gates."""
    plan = outline(program)
    return stabilizer_state(program.qubit_count, plan.steps) if plan.is_static else None


def wide_clifford_state(program: QuantumProgram) -> StabilizerState | None:
    """As `clifford_state`, of programs too wide for a statevector; None of all others."""
    return clifford_state(program) if program.qubit_count > MAX_DENSE_QUBITS else None


def _asks_in_superposition(plan: Outline) -> bool:
    """Whether some gate makes superpositions of a qubit that is read at the end: else there is no quantum query."""
    read = set(plan.read.values())
    return any(op.name in GATES and read.intersection(op.qubits) and not _is_monomial(op) for op in plan.steps)


def _is_monomial(op: Operation) -> bool:
    """Whether the gate takes basis states to basis states."""
    return bool(((np.abs(gate_matrix(op.name, op.angles)) > FIDELITY).sum(axis=0) == 1).all())


def is_diagonal(op: Operation) -> bool:
    """Whether it is a gate that only turns phases of basis states."""
    return op.name in GATES and bool((np.abs(np.diag(gate_matrix(op.name, op.angles))) > FIDELITY).all())


def certain_outcome(program: QuantumProgram) -> tuple[str | None, Method]:
    """The string that the measurements come out as (its first bit last), None where none is certain; and the method."""
    state = wide_clifford_state(program)
    if state is not None:
        bits = state.certain_bits(list(read_map(program).values()))
        text = "".join("?" if bit is None else str(bit) for bit in reversed(bits))
        return (None if "?" in text else text), "stabilizers"
    found = outcomes(program)
    string, probability = likeliest(found)
    return (found.text(string) if probability >= FIDELITY else None), "statevector"


def likeliest(found: Outcomes) -> tuple[int, float]:
    """The likeliest string and its probability."""
    string = max(found.probabilities, key=lambda key: (found.probabilities[key], -key))
    return string, found.probabilities[string]


def two_qubit_pairs(plan: Outline) -> frozenset[tuple[int, int]]:
    """Pairs of qubits, ascending, on which some two-qubit gate acts."""
    pairs = (sorted(op.qubits) for op in plan.steps if op.name in GATES and len(op.qubits) == 2)
    return frozenset((a, b) for a, b in pairs)


def of_a_query(judge: Judge) -> Judge:
    """The judge, of programs that measure a qubit of which they made a superposition; no other one is a query."""

    def judged(program: QuantumProgram) -> OracleVerdict:
        if not any(op.name == "measure" for op in program.operations):
            return statevector(False, "it measures nothing, so it reads no answer")
        if not _asks_in_superposition(outline(program)):
            return statevector(False, "it makes no superposition of a qubit that it measures, so it asks nothing")
        return judge(program)

    return judged
