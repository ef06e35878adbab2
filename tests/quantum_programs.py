"""Programs drawn by hypothesis, with no idle qubit and classical bits used in order, as the language wants them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import pairwise

from hypothesis import strategies as st

from app.quantum.gates import GATES
from app.quantum.program import Operation, QuantumProgram, barrier
from app.tokens.qasm_domain import OPERATION_START, QUBIT_START, ROOM_START, WHEN_START, room_after

#: Angles that have a token of their own, and angles that have none.
EXACT_ANGLES = st.builds(lambda k, d: k * math.pi / d, st.integers(-16, 16), st.sampled_from((1, 2, 3, 4, 6, 8, 16)))
ANY_ANGLES = st.floats(-50.0, 50.0, allow_nan=False)


@st.composite
def programs(
    draw: st.DrawFn,
    angles: st.SearchStrategy[float] = ANY_ANGLES,
    most: int = 24,
    *,
    is_dynamic: bool = False,
    gates: Collection[str] = tuple(GATES),
) -> QuantumProgram:
    """A program of 1 to 6 qubits and 1 to `most` statements; the first ones touch every qubit once.

    Later gates are of `gates`. Registers are cut anywhere, barriers span some or all qubits, and where it `is_dynamic`
    gates and resets may hang on a classical bit that was written.
    """
    width = draw(st.integers(1, min(6, most)))
    names = [name for name in gates if GATES[name].qubit_count <= width]
    operations = [Operation(draw(st.sampled_from("hxst")), (q,)) for q in draw(st.permutations(range(width)))]
    clbits = 0
    for _ in range(draw(st.integers(0, most - width))):
        name = draw(st.sampled_from((*names, "measure", "reset", "barrier")))
        order = draw(st.permutations(range(width)))
        if name == "barrier":
            operations.append(barrier(order[: draw(st.integers(1, width))], width))
            continue
        gate = GATES.get(name)
        clbit = condition = None
        if name == "measure":
            clbit = draw(st.integers(0, clbits))
            clbits = max(clbits, clbit + 1)
        elif is_dynamic and clbits and draw(st.booleans()):
            condition = (draw(st.integers(0, clbits - 1)), draw(st.integers(0, 1)))
        values = tuple(draw(angles) for _ in range(gate.angle_count if gate else 0))
        operations.append(Operation(name, tuple(order[: gate.qubit_count if gate else 1]), values, clbit, condition))
    return QuantumProgram(width, clbits, tuple(operations), draw(_registers(width)), draw(_registers(clbits)))


@st.composite
def _registers(draw: st.DrawFn, count: int) -> tuple[int, ...]:
    """Sizes that add up to `count`."""
    sizes: list[int] = []
    while sum(sizes) < count:
        sizes.append(draw(st.integers(1, count - sum(sizes))))
    return tuple(sizes)


def with_room(statements: Sequence[int], most: int) -> list[int]:
    """The first statements of a body (token ids), with the room left of `most` where it stands after one of them."""
    ids: list[int] = []
    for done, statement in enumerate(split_statements(statements), start=1):
        ids += [*statement, *room_after(done, most)]
    return ids


def retold(sentence: Sequence[int], most: int) -> list[int]:
    """A sentence (token ids) with the room that it tells of counted from `most` statements."""
    start = next(place for place, token in enumerate(sentence) if WHEN_START <= token < QUBIT_START)
    statements = [token for token in sentence[start:-1] if not ROOM_START <= token < WHEN_START]
    return [*sentence[:start], *with_room(statements, most), sentence[-1]]


def split_statements(ids: Sequence[int]) -> list[Sequence[int]]:
    """The token ids of whole statements, one sequence a statement with its condition."""
    starts = [
        place
        for place, token in enumerate(ids)
        if WHEN_START <= token < QUBIT_START and not (place > 1 and WHEN_START <= ids[place - 2] < OPERATION_START)
    ]
    return [ids[start:stop] for start, stop in pairwise((*starts, len(ids)))]
