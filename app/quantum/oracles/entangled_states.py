"""Programs that prepare a named state: GHZ, W, Dicke, graph and Bell states.

The state is looked at before the measurements at the end. Where a program measures in its middle, every way in which
that comes out must leave the state on the qubits that are not used up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from app.errors import LimitExceeded
from app.quantum.oracles._base import (
    FIDELITY,
    Oracle,
    OracleVerdict,
    clifford_state,
    oracles,
    stabilizers,
    statevector,
    two_qubit_pairs,
    wide_clifford_state,
)
from app.quantum.program import QuantumProgram
from app.quantum.simulation import MAX_DENSE_QUBITS, Branch, State, final_branches, outline

Pauli = Literal["X", "Y", "Z"]


def _in_every_branch(program: QuantumProgram, fidelity: Callable[[Branch], tuple[float, str]]) -> OracleVerdict:
    """Passes where the fidelity, which comes with the name of the state, is high in every branch."""
    worst, name = min((fidelity(branch) for branch in final_branches(program)), key=lambda found: found[0])
    return statevector(worst >= FIDELITY, f"its state has fidelity {worst:.4f} with {name}")


def _in_use(branch: Branch) -> list[int]:
    return [qubit for qubit in range(branch.state.qubit_count) if qubit not in branch.settled]


def _ghz(program: QuantumProgram) -> OracleVerdict:
    state = wide_clifford_state(program)
    if state is None:
        return _in_every_branch(program, _ghz_fidelity)
    count = program.qubit_count
    unlike = [q for q in range(count - 1) if state.expectation({q: "Z", q + 1: "Z"}) != 1]
    if unlike:
        return stabilizers(False, f"qubits {unlike[0]} and {unlike[0] + 1} are not certain to agree")
    if state.expectation({0: "Z"}) != 0:
        return stabilizers(False, "every qubit is in one basis state")
    return stabilizers(True, f"all {count} qubits agree, on zero or on one with equal chance, in one superposition")


def _ghz_fidelity(branch: Branch) -> tuple[float, str]:
    qubits = _in_use(branch)
    if len(qubits) < 2:
        return 0.0, "a GHZ state, for which there are too few qubits"
    ones = branch.state.table(qubits).sum(axis=1)
    zero, one = (np.abs(branch.state.amplitudes[ones == weight]).sum() for weight in (0, len(qubits)))
    return float((zero + one) ** 2 / 2), "the GHZ state (up to a phase between its halves)"


def _w(program: QuantumProgram) -> OracleVerdict:
    return _in_every_branch(program, _w_fidelity)


def _w_fidelity(branch: Branch) -> tuple[float, str]:
    qubits = _in_use(branch)
    if len(qubits) < 2:
        return 0.0, "a W state, for which there are too few qubits"
    ones = branch.state.table(qubits).sum(axis=1)
    overlap = np.abs(branch.state.amplitudes[ones == 1]).sum()
    return float(overlap**2 / len(qubits)), "the W state (up to a phase on each qubit)"


def _dicke(program: QuantumProgram) -> OracleVerdict:
    return _in_every_branch(program, _dicke_fidelity)


def _dicke_fidelity(branch: Branch) -> tuple[float, str]:
    qubits = _in_use(branch)
    ones = branch.state.table(qubits).sum(axis=1)
    overlaps = {
        weight: float(abs(branch.state.amplitudes[ones == weight].sum()) ** 2 / math.comb(len(qubits), weight))
        for weight in range(1, len(qubits))
    }
    if not overlaps:
        return 0.0, "a Dicke state, for which there are too few qubits"
    weight = max(overlaps, key=overlaps.__getitem__)
    return overlaps[weight], f"the Dicke state of {len(qubits)} qubits with {weight} of them one"


def _graph_state(program: QuantumProgram) -> OracleVerdict:
    """Every stabilizer X_v prod Z_w of the program's own interaction graph is certain."""
    plan = outline(program)
    pairs = two_qubit_pairs(plan)
    if not pairs:
        return stabilizers(False, "no two qubits interact, so there is no graph")
    operators = []
    for vertex in range(program.qubit_count):
        neighbours: dict[int, Pauli] = {a + b - vertex: "Z" for a, b in pairs if vertex in (a, b)}
        operators.append({**neighbours, vertex: "X"})
    return _stabilized(program, operators, "the graph of its two-qubit gates")


def _stabilized(program: QuantumProgram, operators: Sequence[Mapping[int, Pauli]], of: str) -> OracleVerdict:
    """Passes where each product of Pauli operators is certain to be 1."""
    expectation, verdict = _expectations(program)
    for operator in operators:
        value = expectation(operator)
        if value < FIDELITY:
            text = " ".join(f"{name}{qubit}" for qubit, name in sorted(operator.items()))
            return verdict(False, f"the stabilizer {text} of {of} is {value:.4g} on its state, not 1")
    return verdict(True, f"all {len(operators)} stabilizers of {of} are 1 on its state")


Expectation = Callable[[Mapping[int, Pauli]], float]


def _expectations(program: QuantumProgram) -> tuple[Expectation, Callable[[bool, str], OracleVerdict]]:
    """The expectation of products of Pauli operators in the final state (the least of its branches), and how verdicts
    that rest on it are made.

    Raises:
        LimitExceeded: It is wide and not Clifford.
    """
    clifford = clifford_state(program)
    if clifford is not None:
        return clifford.expectation, stabilizers
    if program.qubit_count > MAX_DENSE_QUBITS:
        raise LimitExceeded(
            "the number of qubits of a program that is not made of Clifford gates",
            program.qubit_count,
            MAX_DENSE_QUBITS,
        )
    states = [branch.state for branch in final_branches(program)]
    return lambda pauli: min(_expectation(state, pauli) for state in states), statevector


def _expectation(state: State, pauli: Mapping[int, Pauli]) -> float:
    """Of a product of Pauli operators without Y, by qubit, in a state of at most `MAX_DENSE_QUBITS` qubits."""
    amplitudes = np.zeros(2**state.qubit_count, dtype=np.complex128)
    amplitudes[state.keys[:, 0].astype(np.intp)] = state.amplitudes
    columns = np.arange(len(amplitudes))
    signs = np.ones(len(amplitudes))
    for qubit, name in pauli.items():
        if name == "Z":
            signs *= 1 - 2 * (columns >> qubit & 1)
    flipped = columns ^ sum(1 << qubit for qubit, name in pauli.items() if name == "X")
    return float(np.vdot(amplitudes[flipped], signs * amplitudes).real)


def _bell(program: QuantumProgram) -> OracleVerdict:
    """Each qubit has a partner with which both XX and ZZ are certain: one of the four Bell states."""
    expectation, verdict = _expectations(program)
    alone = set(range(program.qubit_count))
    for a, b in sorted(two_qubit_pairs(outline(program))):
        paulis: tuple[Pauli, Pauli] = ("X", "Z")
        if a in alone and b in alone and all(abs(expectation({a: name, b: name})) >= FIDELITY for name in paulis):
            alone -= {a, b}
    if alone or program.qubit_count == 0:
        return verdict(False, f"qubit {min(alone, default=0)} is in no Bell state with another one")
    return verdict(True, f"its qubits are {program.qubit_count // 2} pairs, each in one of the four Bell states")


_UP_TO_LOCAL_PHASES = "the local phases that no measurement of it shows left free"

oracles.add("ghz", Oracle(f"holds a GHZ state, {_UP_TO_LOCAL_PHASES}", _ghz))
oracles.add("w_state", Oracle(f"holds a W state, {_UP_TO_LOCAL_PHASES}", _w))
oracles.add("dicke", Oracle("holds a Dicke state of some weight", _dicke))
oracles.add("graph_state", Oracle("holds the graph state of its own two-qubit gates", _graph_state))
oracles.add("bell", Oracle("holds pairs of qubits, each in one of the four Bell states", _bell))
