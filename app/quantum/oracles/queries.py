"""Programs that learn something of a function in few queries: hidden strings, shifts, periods and marks; and those
whose measurements are certain to come out in one way.

All judge the outcomes through the measure map, so that no qubit is taken for the ancilla beforehand.
"""

from __future__ import annotations

from collections.abc import Callable

from app.quantum.oracles._base import (
    FIDELITY,
    Oracle,
    OracleVerdict,
    certain_outcome,
    is_diagonal,
    likeliest,
    of_a_query,
    oracles,
    statevector,
    two_qubit_pairs,
    wide_clifford_state,
)
from app.quantum.oracles._base import stabilizers as by_stabilizers
from app.quantum.program import QuantumProgram
from app.quantum.simulation import MAX_DENSE_QUBITS, outcomes, outline, read_map

#: Most of the probability that may be spread unevenly over strings that should be equally likely.
_UNEVEN = 0.02

#: Largest chance of what should never come.
_NEVER = 1e-3


def _one_string(program: QuantumProgram) -> OracleVerdict:
    text, method = certain_outcome(program)
    if text is None:
        return OracleVerdict(False, "no string of its measured bits is certain", method)
    return OracleVerdict(True, f"its measured bits are certain to be {text}", method)


def _superdense(program: QuantumProgram) -> OracleVerdict:
    if not two_qubit_pairs(outline(program)):
        return statevector(False, "no two qubits interact, so no pair is shared")
    return _one_string(program)


def _chance_of_zeros(program: QuantumProgram) -> tuple[float, Callable[[bool, str], OracleVerdict]]:
    state = wide_clifford_state(program)
    if state is not None:
        return state.chance_of_zeros(list(read_map(program).values())), by_stabilizers
    return outcomes(program).probabilities.get(0, 0.0), statevector


def _deutsch_jozsa(program: QuantumProgram) -> OracleVerdict:
    """All zeros are certain or impossible; and where every outcome is known, the probabilities are whole multiples of
    four over the square of the number of strings, as those of any function of bits are.
    """
    if program.qubit_count > MAX_DENSE_QUBITS:
        chance, verdict = _chance_of_zeros(program)
    else:
        found = outcomes(program)
        chance, verdict = found.probabilities.get(0, 0.0), statevector
        steps = [p * 4 ** (found.bit_count - 1) for p in found.probabilities.values()]
        if any(abs(step - round(step)) > _UNEVEN for step in steps):
            return verdict(False, "its outcomes are not those of a function of bits")
    if chance >= FIDELITY:
        return verdict(True, "it is certain to read all zeros: the function is constant")
    if chance <= _NEVER:
        return verdict(True, "it never reads all zeros: the function is balanced")
    return verdict(False, f"it reads all zeros with probability {chance:.4f}, which is neither certain nor impossible")


def _mirror(program: QuantumProgram) -> OracleVerdict:
    plan = outline(program)
    if not two_qubit_pairs(plan) or all(is_diagonal(op) for op in plan.steps):
        return statevector(False, "it entangles nothing on its way, so there is nothing to undo")
    chance, verdict = _chance_of_zeros(program)
    return verdict(chance >= FIDELITY, f"it ends where it began with probability {chance:.4f}")


def _simon(program: QuantumProgram) -> OracleVerdict:
    """The outcomes are evenly spread over the strings that are orthogonal to one secret."""
    bits = len(read_map(program))
    expected = 2.0 ** (1 - bits)
    state = wide_clifford_state(program)
    if state is not None:
        # A stabilizer state is read evenly over an affine space, and over a linear one where zeros can come.
        chance = state.chance_of_zeros(list(read_map(program).values()))
        return by_stabilizers(chance == expected, f"all zeros come with probability {chance:.4g} over {bits} bits")
    found = {string: p for string, p in outcomes(program).probabilities.items() if p > (1 - FIDELITY) * expected}
    is_even = all(abs(p - expected) <= (1 - FIDELITY) * expected for p in found.values())
    if not is_even or len(found) * expected < FIDELITY:
        return statevector(False, f"its outcomes are not spread evenly over {2 ** (bits - 1)} strings")
    is_linear = all(a ^ b in found for a in found for b in found)
    where = "which are orthogonal to one secret" if is_linear else "which are not all orthogonal to one secret"
    return statevector(is_linear, f"its outcomes are spread evenly over {len(found)} strings, {where}")


def _grover(program: QuantumProgram) -> OracleVerdict:
    """The likeliest strings, taken as the marks, are more than twice as likely as before the search; all others are
    equally likely, as they stay through every round. Bits that always read the same may be helpers.
    """
    found = outcomes(program)
    string, peak = likeliest(found)
    marked = {other for other, p in found.probabilities.items() if p > peak * FIDELITY}
    varying = 0
    for other, p in found.probabilities.items():
        varying |= other ^ string if p > _NEVER * peak else 0
    share = len(marked) * peak
    others = [p for other, p in found.probabilities.items() if other not in marked]
    for count in (2**found.bit_count, 2 ** varying.bit_count()):
        left = count - len(marked)
        even = (1 - share) / max(1, left)
        uneven = sum(abs(p - even) for p in others if p > _NEVER * peak)
        uneven += even * (left - sum(p > _NEVER * peak for p in others))
        if share > 2 * len(marked) / count and uneven <= _UNEVEN:
            chance = len(marked) / count
            return statevector(True, f"{len(marked)} strings come with probability {share:.4f}, by chance {chance:.4f}")
    said = f"its {len(marked)} likeliest strings come with probability {share:.4f}"
    return statevector(False, f"{said}, no more than twice as by chance, or the others are not equally likely")


_CERTAIN = "asks in superposition and reads one string with certainty"

oracles.add("bernstein_vazirani", Oracle(_CERTAIN, of_a_query(_one_string)))
oracles.add("hidden_shift", Oracle(_CERTAIN, of_a_query(_one_string)))
oracles.add("superdense", Oracle("shares pairs and reads one string with certainty", of_a_query(_superdense)))
oracles.add(
    "deutsch_jozsa",
    Oracle("asks in superposition and reads all zeros either always or never", of_a_query(_deutsch_jozsa)),
)
oracles.add(
    "simon",
    Oracle("asks in superposition and reads strings evenly from all that are orthogonal to one", of_a_query(_simon)),
)
oracles.add("grover", Oracle("makes some strings more than twice as likely as chance would", of_a_query(_grover)))
oracles.add("mirror", Oracle("ends where it began: all zeros are certain", _mirror))
