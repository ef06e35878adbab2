"""Oracles: whether a program does what its family is for, judged by what it computes.

Reference:
    [nielsen2010quantum] for the algorithms; each oracle says what it departs from.
"""

from __future__ import annotations

from app.errors import InvalidRequest
from app.quantum.oracles._base import Method, Oracle, OracleVerdict, oracles

__all__ = ["Method", "Oracle", "OracleVerdict", "needed_oracle", "oracle_for", "oracles"]


def oracle_for(family: str) -> Oracle | None:
    """The oracle of a family; None where what its programs do cannot be told from the family alone."""
    if family not in oracles:
        return None
    return oracles[family]


def needed_oracle(family: str | None, qubits: int | None = None) -> Oracle:
    """The oracle of a family that is to be verified on so many qubits.

    Raises:
        InvalidRequest: The family has none (or is none), or its programs cannot be judged at that width.
    """
    oracle = None if family is None else oracle_for(family)
    if oracle is None:
        asked = "a family is needed to verify programs" if family is None else f"no oracle for the family {family!r}"
        raise InvalidRequest(f"{asked}; families with an oracle: {', '.join(oracles)}", pointer="/family")
    if oracle.most_qubits is not None and qubits is not None and qubits > oracle.most_qubits:
        raise InvalidRequest(
            f"programs of the family {family!r} can be verified up to {oracle.most_qubits} qubits, not on {qubits}",
            pointer="/qubits",
        )
    return oracle
