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
        return draft.program()

    return build


builder_groups.add(
    "feature_maps",
    (
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
