"""The quantum Fourier transform, by itself and of a GHZ state, up to the order of the qubits.

Which qubit is the least significant, and where the output's bits end up, is read from what the program does to basis
states: qubits are often left unswapped, or numbered the other way round.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from app.errors import LimitExceeded
from app.quantum.oracles._base import FIDELITY, Oracle, OracleVerdict, oracles, statevector
from app.quantum.program import Operation, QuantumProgram
from app.quantum.simulation import (
    MAX_DENSE_QUBITS,
    Amplitudes,
    final_state,
    outline,
    run_dense,
)

Turns: TypeAlias = npt.NDArray[np.float64]

#: Least overlap |tr(U* F)|/2**n of a program with the transform.
OVERLAP = 0.999

#: Most columns that are compared; all of them up to 8 qubits.
_COLUMNS = 256
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class _Transform:
    """A transform of `size` qubits: `place_in[q]` and `place_out[q]` are the places (0 is the least significant) of
    qubit `q` before and after it. Rotations are there down to pi/2**`reach`; `sign` is -1 for the inverse.
    """

    place_in: tuple[int, ...]
    place_out: tuple[int, ...]
    reach: int
    sign: int

    def columns(self, inputs: Sequence[int]) -> Amplitudes:
        """What it makes of basis states, a row each."""
        size = len(self.place_in)
        rows = np.arange(2**size)
        turns = np.zeros((len(inputs), 2**size))
        for source in range(size):
            is_set = np.array([value >> source & 1 for value in inputs])
            for target in range(size):
                place = self.place_in[source] + self.place_out[target]
                if size - 1 - self.reach <= place < size:
                    turns += np.outer(is_set, rows >> target & 1) * 2.0 ** (place - size)
        columns: Amplitudes = np.exp(2j * math.pi * self.sign * turns) * 2.0 ** (-size / 2)
        return columns

    def __str__(self) -> str:
        size = len(self.place_in)
        name = "the Fourier transform" if self.sign > 0 else "the inverse Fourier transform"
        reach = "" if self.reach >= size - 1 else f" approximated to rotations of at least pi/{2**self.reach}"
        return f"{name} of {size} qubits{reach}"


def _qft(program: QuantumProgram) -> OracleVerdict:
    plan = outline(program)
    size = program.qubit_count
    if not plan.is_static:
        return statevector(False, "it measures, resets or decides in its middle, so it is no transform")
    if size < 2:
        return statevector(False, "a transform of one qubit is a Hadamard gate")
    if size > MAX_DENSE_QUBITS:
        raise LimitExceeded("the number of qubits of a Fourier transform", size, MAX_DENSE_QUBITS)
    transform = _recognised(_singles(plan.steps, size))
    if transform is None:
        return statevector(False, "it does not give every basis state the phases of a Fourier transform")
    inputs = _inputs(size)
    overlap = 0j
    for start in range(0, len(inputs), _AT_ONCE):
        some = inputs[start : start + _AT_ONCE]
        overlap += complex(np.vdot(transform.columns(some), _images(plan.steps, some, size)))
    found = abs(overlap) / len(inputs)
    return statevector(found >= OVERLAP, f"it overlaps to {found:.4f} with {transform}, up to the order of its qubits")


def _inputs(size: int) -> list[int]:
    """Basis states to compare: all where they are few, else zero, the single bits and others."""
    if 2**size <= _COLUMNS:
        return list(range(2**size))
    always = [0, *(1 << qubit for qubit in range(size))]
    others = sorted(set(range(2**size)) - set(always))
    return always + random.Random(size).sample(others, _COLUMNS // 4 - len(always))


def _images(gates: Sequence[Operation], inputs: Sequence[int], size: int) -> Amplitudes:
    states = np.zeros((len(inputs), 2**size), dtype=np.complex128)
    states[np.arange(len(inputs)), list(inputs)] = 1
    return run_dense(states, gates)


def _singles(gates: Sequence[Operation], size: int) -> Turns | None:
    """Phases in turns: row `j`, column `k` is that of output bit `k` against zero for the input with bit `j` alone.

    None where the input zero does not become the even superposition of all basis states.
    """
    states = _images(gates, [0, *(1 << qubit for qubit in range(size))], size)
    if abs(states[0].sum()) / math.sqrt(2**size) < FIDELITY:
        return None
    zeros = states[1:, :1]
    ones = states[1:, [1 << qubit for qubit in range(size)]]
    return np.angle(ones * zeros.conj()) / (2 * math.pi) % 1


def _recognised(turns: Turns | None) -> _Transform | None:
    """The transform with these phases of single bits, if there is one.

    Half a turn is where the places of input and output add up to size - 1; a quarter (three of them in the inverse)
    where they add up to one less, which tells the neighbours and so the order.
    """
    if turns is None:
        return None
    size = len(turns)
    has_half = _near(turns, 0.5)
    if not ((has_half.sum(axis=0) == 1) & (has_half.sum(axis=1) == 1)).all():
        return None
    partner_of = {int(k): int(j) for j, k in zip(*np.nonzero(has_half), strict=True)}
    for sign in (1, -1):
        # Input j and output k: the input whose partner is k stands one place above j.
        above = {int(j): partner_of[int(k)] for j, k in zip(*np.nonzero(_near(turns, 0.25 * sign)), strict=True)}
        lowest = set(range(size)) - set(above.values())
        if len(above) != size - 1 or len(lowest) != 1:
            continue
        order = [lowest.pop()]
        while order[-1] in above and len(order) < size:
            order.append(above[order[-1]])
        if len(set(order)) != size:
            continue
        place_in = {qubit: place for place, qubit in enumerate(order)}
        place_out = {k: size - 1 - place_in[j] for k, j in partner_of.items()}
        places = np.add.outer([place_in[q] for q in range(size)], [place_out[q] for q in range(size)])
        reach = 1
        while reach < size - 1 and not _near(turns[places == size - 2 - reach], 0.0, 2.0 ** -(reach + 3)).any():
            reach += 1
        ordered_in = tuple(place_in[qubit] for qubit in range(size))
        return _Transform(ordered_in, tuple(place_out[qubit] for qubit in range(size)), reach, sign)
    return None


def _near(turns: Turns, value: float, tolerance: float = 0.04) -> npt.NDArray[np.bool_]:
    away = (turns - value + 0.5) % 1 - 0.5
    near: npt.NDArray[np.bool_] = np.abs(away) < tolerance
    return near


def _qft_entangled(program: QuantumProgram) -> OracleVerdict:
    """The transform of (|0..0> + |1..1>)/sqrt 2: its output's bits are told apart by how likely each is alone one."""
    size = program.qubit_count
    plan = outline(program)
    if not plan.is_static:
        return statevector(False, "it measures, resets or decides in its middle, so it is no transform")
    if size < 2:
        return statevector(False, "a transform of one qubit is a Hadamard gate")
    if size > MAX_DENSE_QUBITS:
        raise LimitExceeded("the number of qubits of a Fourier transform", size, MAX_DENSE_QUBITS)
    state = final_state(size, plan.steps)
    amplitudes = np.zeros(2**size, dtype=np.complex128)
    amplitudes[state.keys[:, 0].astype(np.intp)] = state.amplitudes
    alone = np.abs(amplitudes[[1 << qubit for qubit in range(size)]])
    place = {int(qubit): position for position, qubit in enumerate(np.argsort(-alone, kind="stable"))}
    columns = np.arange(2**size)
    number = sum((columns >> qubit & 1) << place[qubit] for qubit in range(size))
    # The column of the input 1..1 is that of -1.
    expected = (1 + np.exp(-2j * math.pi * number / 2**size)) * 2.0 ** (-(size + 1) / 2)
    best = max(abs(np.vdot(one, amplitudes)) ** 2 for one in (expected, expected.conj()))
    return statevector(
        bool(best >= FIDELITY), f"its state has fidelity {best:.4f} with the Fourier transform of a GHZ state"
    )


oracles.add(
    "qft",
    Oracle(
        "is the Fourier transform, exact or approximate, or its inverse, up to the order of the qubits", _qft,
        MAX_DENSE_QUBITS,
    ),
)  # fmt: skip
oracles.add(
    "qft_entangled",
    Oracle(
        "holds the Fourier transform of a GHZ state, up to the order of its qubits", _qft_entangled, MAX_DENSE_QUBITS
    ),
)
