"""What every gate does, as a matrix. Bit `k` of a row or column number is the state of the gate's qubit `k`.

The matrices are those that Qiskit has for gates of these names, global phase included.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Matrix: TypeAlias = "npt.NDArray[np.complexfloating[Any, Any]]"


@lru_cache(maxsize=8_192)
def gate_matrix(name: str, angles: tuple[float, ...] = ()) -> Matrix:
    """The unitary of gate `name` of `GATES` at these angles (radians); it is shared and must not be written to."""
    matrix = _MATRICES[name](*angles)
    matrix.setflags(write=False)
    return matrix


def _u(theta: float, phi: float, lam: float) -> Matrix:
    cosine, sine = math.cos(theta / 2), math.sin(theta / 2)
    return np.array(
        [
            [cosine, -cmath.exp(1j * lam) * sine],
            [cmath.exp(1j * phi) * sine, cmath.exp(1j * (phi + lam)) * cosine],
        ]
    )


def _diagonal(*entries: complex) -> Matrix:
    return np.diag(np.array(entries, dtype=np.complex128))


def _phase(lam: float) -> Matrix:
    return _diagonal(1, cmath.exp(1j * lam))


def _turn(axis: Matrix, theta: float) -> Matrix:
    """exp(-i theta/2 axis), where the axis squares to one."""
    turned: Matrix = math.cos(theta / 2) * np.eye(len(axis)) - 1j * math.sin(theta / 2) * axis
    return turned


def _controlled(matrix: Matrix) -> Matrix:
    """The matrix where one more qubit, which comes first, is one; nothing where it is zero."""
    whole = np.eye(2 * len(matrix), dtype=np.complex128)
    whole[1::2, 1::2] = matrix
    return whole


_X: Final = np.array([[0, 1], [1, 0]], dtype=np.complex128)
_Y: Final = np.array([[0, -1j], [1j, 0]], dtype=np.complex128)
_Z: Final = _diagonal(1, -1)
_SX: Final = np.array([[0.5 + 0.5j, 0.5 - 0.5j], [0.5 - 0.5j, 0.5 + 0.5j]], dtype=np.complex128)
_SWAP: Final = np.eye(4, dtype=np.complex128)[[0, 2, 1, 3]]
_H: Final = np.array([[1, 1], [1, -1]], dtype=np.complex128) * math.sqrt(0.5)


def _rccx() -> Matrix:
    matrix = np.eye(8, dtype=np.complex128)
    matrix[5, 5] = -1
    matrix[3, 3] = matrix[7, 7] = 0
    matrix[3, 7], matrix[7, 3] = -1j, 1j
    return matrix


def _iswap() -> Matrix:
    matrix = np.eye(4, dtype=np.complex128)
    matrix[1, 1] = matrix[2, 2] = 0
    matrix[1, 2] = matrix[2, 1] = 1j
    return matrix


def _rcccx() -> Matrix:
    """Qiskit's relative-phase Toffoli gate with three controls."""
    matrix = np.eye(16, dtype=np.complex128)
    matrix[3, 3], matrix[11, 11] = 1j, -1j
    matrix[7, 7] = matrix[15, 15] = 0
    matrix[7, 15], matrix[15, 7] = 1, -1
    return matrix


def _ecr() -> Matrix:
    """(IX - XY)/sqrt 2, the second letter on the first qubit."""
    rows = [[0, 1, 0, 1j], [1, 0, -1j, 0], [0, 1j, 0, 1], [-1j, 0, 1, 0]]
    return np.array(rows, dtype=np.complex128) * math.sqrt(0.5)


def _exchange(theta: float, beta: float, low: int, high: int) -> Matrix:
    """A rotation by `theta` between the states `low` and `high` of two qubits, the phase of `low` turned by `beta`."""
    cosine, sine = math.cos(theta / 2), math.sin(theta / 2)
    matrix = np.eye(4, dtype=np.complex128)
    matrix[low, low] = matrix[high, high] = cosine
    matrix[low, high] = -1j * sine * cmath.exp(-1j * beta)
    matrix[high, low] = -1j * sine * cmath.exp(1j * beta)
    return matrix


_MATRICES: Final[dict[str, Callable[..., Matrix]]] = {
    "id": lambda: np.eye(2, dtype=np.complex128),
    "x": _X.copy,
    "y": _Y.copy,
    "z": _Z.copy,
    "h": _H.copy,
    "s": lambda: _diagonal(1, 1j),
    "sdg": lambda: _diagonal(1, -1j),
    "t": lambda: _phase(math.pi / 4),
    "tdg": lambda: _phase(-math.pi / 4),
    "sx": _SX.copy,
    "sxdg": lambda: _SX.conj(),
    "u": _u,
    "u3": _u,
    "u2": lambda phi, lam: _u(math.pi / 2, phi, lam),
    "u1": _phase,
    "p": _phase,
    "rx": lambda theta: _turn(_X, theta),
    "ry": lambda theta: _turn(_Y, theta),
    "rz": lambda theta: _turn(_Z, theta),
    "cx": lambda: _controlled(_X),
    "cy": lambda: _controlled(_Y),
    "cz": lambda: _controlled(_Z),
    "ch": lambda: _controlled(_H),
    "csx": lambda: _controlled(_SX),
    "cp": lambda lam: _controlled(_phase(lam)),
    "cu1": lambda lam: _controlled(_phase(lam)),
    "crx": lambda theta: _controlled(_turn(_X, theta)),
    "cry": lambda theta: _controlled(_turn(_Y, theta)),
    "crz": lambda theta: _controlled(_turn(_Z, theta)),
    "cu3": lambda theta, phi, lam: _controlled(_u(theta, phi, lam)),
    "cu": lambda theta, phi, lam, gamma: _controlled(cmath.exp(1j * gamma) * _u(theta, phi, lam)),
    "swap": _SWAP.copy,
    "iswap": _iswap,
    "rxx": lambda theta: _turn(np.kron(_X, _X), theta),
    "ryy": lambda theta: _turn(np.kron(_Y, _Y), theta),
    "rzz": lambda theta: _turn(np.kron(_Z, _Z), theta),
    "cs": lambda: _controlled(_phase(math.pi / 2)),
    "csdg": lambda: _controlled(_phase(-math.pi / 2)),
    "dcx": lambda: np.eye(4, dtype=np.complex128)[[0, 3, 1, 2]],
    "ecr": _ecr,
    "rzx": lambda theta: _turn(np.kron(_X, _Z), theta),
    "r": lambda theta, phi: _turn(math.cos(phi) * _X + math.sin(phi) * _Y, theta),
    "xx_plus_yy": lambda theta, beta: _exchange(theta, beta, 1, 2),
    "xx_minus_yy": lambda theta, beta: _exchange(theta, beta, 0, 3),
    "ccx": lambda: _controlled(_controlled(_X)),
    "ccz": lambda: _controlled(_controlled(_Z)),
    "cswap": lambda: _controlled(_SWAP),
    "rccx": _rccx,
    "rcccx": _rcccx,
}
