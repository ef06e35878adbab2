"""Phase estimation: outcomes are spread around one phase as a register of that many bits must spread them.

Reference:
    [nielsen2010quantum] §5.2.1, Eq. (5.26). The phase itself is not taken from the program: outcomes that fit any one
    phase tell that each counting qubit holds the power of the gate that its place asks for.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from app.errors import LimitExceeded
from app.quantum.oracles._base import (
    FIDELITY,
    Oracle,
    OracleVerdict,
    likeliest,
    of_a_query,
    oracles,
    statevector,
)
from app.quantum.program import QuantumProgram
from app.quantum.simulation import Outcomes, outcomes

Probabilities: TypeAlias = npt.NDArray[np.float64]

#: Largest distance of the outcomes from those of the best phase (total variation).
DISTANCE = 0.02

#: Most bits that are read; a list of probabilities of all strings is made.
_MAX_BITS = 16
_OFFSETS = 401


def _phase_estimation(program: QuantumProgram) -> OracleVerdict:
    distance, phase, _ = _fit(program)
    return statevector(distance <= DISTANCE, _said(distance, phase))


def _exact(program: QuantumProgram) -> OracleVerdict:
    distance, phase, peak = _fit(program)
    said = f"it reads the phase {phase:.5f} turns with probability {peak:.4f}"
    return statevector(distance <= DISTANCE and peak >= FIDELITY, said)


def _inexact(program: QuantumProgram) -> OracleVerdict:
    distance, phase, peak = _fit(program)
    if peak >= FIDELITY:
        return statevector(False, f"the phase {phase:.5f} turns has no more bits than are read, so it is exact")
    return statevector(distance <= DISTANCE, _said(distance, phase))


def _said(distance: float, phase: float) -> str:
    return f"its outcomes are {distance:.4f} from those of the phase {phase:.5f} turns"


def _fit(program: QuantumProgram) -> tuple[float, float, float]:
    """How far the outcomes are from those of the best phase, that phase in turns, and how likely its best string is."""
    found = outcomes(program)
    if found.bit_count > _MAX_BITS:
        raise LimitExceeded("the number of bits that a phase is read in", found.bit_count, _MAX_BITS)
    _, peak = likeliest(found)
    return min((*_fit_in_order(strings), peak) for strings in _both_orders(found))


def _both_orders(found: Outcomes) -> tuple[Probabilities, Probabilities]:
    """Probabilities of all strings as numbers, with bit 0 the least significant, and the most."""
    probabilities = np.zeros(2**found.bit_count)
    for string, probability in found.probabilities.items():
        probabilities[string] = probability
    shape = (2,) * found.bit_count
    return probabilities, probabilities.reshape(shape).transpose().reshape(-1)


def _fit_in_order(probabilities: Probabilities) -> tuple[float, float]:
    """The least total variation over phases within half a step of the likeliest string, and that phase."""
    count = len(probabilities)
    peak = int(probabilities.argmax())
    steps = np.arange(count)
    best = (2.0, 0.0)
    for offset in np.linspace(-0.5, 0.5, _OFFSETS):
        away = (steps - peak - offset) / count
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = (np.sin(math.pi * away * count) / (count * np.sin(math.pi * away))) ** 2
        expected[np.abs((away + 0.5) % 1 - 0.5) < 1e-12] = 1.0
        distance = float(np.abs(expected - probabilities).sum() / 2)
        best = min(best, (distance, (peak + float(offset)) / count % 1))
    return best


_SPREAD = "asks in superposition and reads outcomes as one phase spreads them"

oracles.add("qpe", Oracle(_SPREAD, of_a_query(_phase_estimation)))
oracles.add("qpe_exact", Oracle(f"{_SPREAD}; one string is certain", of_a_query(_exact)))
oracles.add("qpe_inexact", Oracle(f"{_SPREAD}; none is certain", of_a_query(_inexact)))
