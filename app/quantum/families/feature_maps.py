"""Circuits that write data into phases.

Reference:
    [havlicek2019supervised]: the ZZ map and its generalisation to other Paulis.
"""

from __future__ import annotations

import math
import random

from app.quantum.families._base import Build, Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.families.dynamics import pauli_rotation
from app.quantum.families.variational import entangling_pairs
from app.quantum.program import QuantumProgram


def _feature_map(choices: tuple[tuple[str, ...], ...]) -> Build:
    """Layers of phases by single data points and by products of two, about one of the choices of Paulis."""

    def build(size: int, rng: random.Random) -> QuantumProgram:
        paulis = rng.choice(choices)
        pattern, layers = rng.choice(("linear", "circular", "full", "pairwise")), rng.choice((1, 2, 2, 3))
        data = [rng.uniform(-math.pi, math.pi) for _ in range(size)]
        has_barriers, is_measured = rng.random() < 0.15, rng.random() < 0.2
        draft = Draft(size)
        for layer in range(layers):
            draft.h(*range(size))
            for word in paulis:
                if word == "Z":
                    for qubit in range(size):
                        draft.gate("p", qubit, angle=2 * data[qubit])
                elif len(word) == 1:
                    for qubit in range(size):
                        pauli_rotation(draft, word, [qubit], 2 * data[qubit])
                else:
                    for a, b in entangling_pairs(pattern, size, layer):
                        product = 2 * (math.pi - data[a]) * (math.pi - data[b])
                        if word == "ZZ":
                            draft.cx(a, b)
                            draft.gate("p", b, angle=product)
                            draft.cx(a, b)
                        else:
                            pauli_rotation(draft, word, [a, b], product)
            if has_barriers and layer + 1 < layers:
                draft.barrier()
        if is_measured:
            draft.measure_each(range(size))
        return draft.program()

    return build


def _kernel(size: int, rng: random.Random) -> QuantumProgram:
    """The overlap of two data points, sometimes of equal ones: the ZZ map of one, then the inverse map of the other."""
    pattern, layers = rng.choice(("linear", "circular", "full")), rng.choice((1, 2))
    points = [[rng.uniform(0, math.pi) for _ in range(size)] for _ in range(2)]
    if rng.random() < 0.1:
        points[1] = points[0]
    draft = Draft(size)

    def write(data: list[float]) -> None:
        for layer in range(layers):
            draft.h(*range(size))
            for qubit in range(size):
                draft.gate("p", qubit, angle=2 * data[qubit])
            for a, b in entangling_pairs(pattern, size, layer):
                draft.cx(a, b)
                draft.gate("p", b, angle=2 * (math.pi - data[a]) * (math.pi - data[b]))
                draft.cx(a, b)

    write(points[0])
    if rng.random() < 0.3:
        draft.barrier()
    start = len(draft.operations)
    write(points[1])
    end = len(draft.operations)
    draft.undo(start, end)
    del draft.operations[start:end]
    draft.measure_each(range(size))
    return draft.program()


builder_groups.add(
    "feature_maps",
    (
        Builder("quantum_kernel", "zz", _kernel, ladder(2, 32), 3),
        Builder("z_feature_map", "z", _feature_map((("Z",),)), ladder(2, 40), 2),
        Builder("zz_feature_map", "zz", _feature_map((("Z", "ZZ"),)), ladder(2, 40), 5),
        Builder(
            "pauli_feature_map",
            "pauli",
            _feature_map((("Z", "YY"), ("Z", "XX"), ("Y", "ZZ"), ("X", "ZZ"), ("Z", "ZX"), ("Z", "YY", "ZZ"))),
            ladder(2, 40),
            5,
        ),
    ),
)
