"""Programs drawn by hypothesis, with no idle qubit and classical bits used in order, as the language wants them."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from app.quantum.gates import GATES
from app.quantum.program import Operation, QuantumProgram

#: Angles that have a token of their own, and angles that have none.
EXACT_ANGLES = st.builds(lambda k, d: k * math.pi / d, st.integers(-16, 16), st.sampled_from((1, 2, 3, 4, 6, 8, 16)))
ANY_ANGLES = st.floats(-50.0, 50.0, allow_nan=False)


@st.composite
def programs(draw: st.DrawFn, angles: st.SearchStrategy[float] = ANY_ANGLES, most: int = 24) -> QuantumProgram:
    """A program of 1 to 6 qubits and 1 to `most` statements; the first ones touch every qubit once."""
    width = draw(st.integers(1, min(6, most)))
    names = [name for name, gate in GATES.items() if gate.qubit_count <= width]
    operations = [Operation(draw(st.sampled_from("hxst")), (q,)) for q in draw(st.permutations(range(width)))]
    clbits = 0
    for _ in range(draw(st.integers(0, most - width))):
        name = draw(st.sampled_from((*names, "measure", "reset", "barrier")))
        if name == "barrier":
            operations.append(Operation(name))
            continue
        gate = GATES.get(name)
        qubits = tuple(draw(st.permutations(range(width))))[: gate.qubit_count if gate else 1]
        clbit = None
        if name == "measure":
            clbit = draw(st.integers(0, clbits))
            clbits = max(clbits, clbit + 1)
        operations.append(
            Operation(name, qubits, tuple(draw(angles) for _ in range(gate.angle_count if gate else 0)), clbit)
        )
    return QuantumProgram(width, clbits, tuple(operations))
