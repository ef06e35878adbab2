"""Final states of Clifford programs of any width, by stim.

Reference:
    [gidney2021stim].
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final, Literal

import numpy as np

from app.quantum.gate_matrices import gate_matrix
from app.quantum.program import Operation

#: How far an entry of a gate may be from that of a Clifford gate, which stim gives in single precision.
_ROUNDING: Final = 1e-5

_LOADING = threading.Lock()


def _stim() -> Any:
    """The package. One thread makes its bridge to numpy: two that make it at once wait for each other for ever."""
    with _LOADING:
        return _bridged()


@cache
def _bridged() -> Any:
    import stim

    stim.Tableau.from_unitary_matrix(np.eye(2), endian="little").to_unitary_matrix(endian="little")
    return stim


class StabilizerState:
    """The state that Clifford gates make of qubits that are all zero."""

    def __init__(self, simulator: Any) -> None:
        self._simulator = simulator

    def expectation(self, pauli: Mapping[int, Literal["X", "Y", "Z"]]) -> int:
        """Of a product of Pauli operators by qubit: 1 or -1 where it is certain, else 0."""
        string = _stim().PauliString({name: [q for q, own in pauli.items() if own == name] for name in "XYZ"})
        return int(self._simulator.peek_observable_expectation(string))

    def certain_bits(self, qubits: Sequence[int]) -> tuple[int | None, ...]:
        """The value that each qubit is certain to be measured with; None where either may come."""
        return tuple({1: 0, -1: 1, 0: None}[self._simulator.peek_z(qubit)] for qubit in qubits)

    def chance_of_zeros(self, qubits: Sequence[int]) -> float:
        """How likely the qubits are all measured zero."""
        simulator = self._simulator.copy()
        chance = 1.0
        for qubit in qubits:
            sign = simulator.peek_z(qubit)
            if sign == -1:
                return 0.0
            if sign == 0:
                chance /= 2
                simulator.postselect_z(qubit, desired_value=False)
        return chance


def stabilizer_state(qubit_count: int, gates: Iterable[Operation]) -> StabilizerState | None:
    """The final state, or None where a gate is no Clifford gate (at its angles)."""
    simulator = _stim().TableauSimulator()
    simulator.set_num_qubits(qubit_count)
    for op in gates:
        tableau = _tableau(op.name, op.angles)
        if tableau is None:
            return None
        simulator.do_tableau(tableau, op.qubits)
    return StabilizerState(simulator)


@lru_cache(maxsize=4_096)
def _tableau(name: str, angles: tuple[float, ...]) -> Any:
    """The gate as stim has it; None where it is no Clifford gate. stim itself rounds to the nearest one."""
    stim = _stim()
    matrix = gate_matrix(name, angles)
    if len(matrix) > 4:
        return None
    try:
        tableau = stim.Tableau.from_unitary_matrix(matrix, endian="little")
    except ValueError:
        return None
    nearest = tableau.to_unitary_matrix(endian="little")
    overlap = np.vdot(nearest, matrix)
    is_same = np.abs(matrix * abs(overlap) - nearest * overlap).max() < _ROUNDING * abs(overlap)
    return tableau if is_same else None
