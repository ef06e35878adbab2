"""What gates do, against Qiskit's own matrices."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from app.quantum.gate_matrices import gate_matrix
from app.quantum.gates import GATES


def qiskit_gate(name: str, angles: tuple[float, ...]) -> Any:
    from qiskit.circuit import library
    from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping

    known = get_standard_gate_name_mapping()
    if name in known:
        return known[name].base_class(*angles)
    older = {"rccx": "RCCXGate", "rcccx": "RC3XGate", "u1": "U1Gate", "u2": "U2Gate", "u3": "U3Gate",
             "cu1": "CU1Gate", "cu3": "CU3Gate"}  # fmt: skip
    return getattr(library, older[name])(*angles)


@pytest.mark.parametrize("name", GATES)
def test_the_matrix_of_a_gate_is_the_one_that_qiskit_has(name: str):
    from qiskit.quantum_info import Operator

    rng = random.Random(name)
    angles = tuple(rng.uniform(-3, 3) for _ in range(GATES[name].angle_count))
    assert np.allclose(gate_matrix(name, angles), Operator(qiskit_gate(name, angles)).data)
