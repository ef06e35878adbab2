"""QAOA: for cuts of graphs, and for choices of a fixed number.

Reference:
    [farhi2014qaoa] §2, [hadfield2019alternating] for mixers that keep the number.
"""

from __future__ import annotations

import math
import random

from app.quantum.families._base import Build, Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.families._graphs import GRAPH_KINDS, graph_edges
from app.quantum.program import QuantumProgram


def _qaoa(kind: str) -> Build:
    def build(size: int, rng: random.Random) -> QuantumProgram:
        edges = graph_edges(kind, size, rng)
        weights = [rng.choice((1.0, 1.0, 2.0, 3.0)) if rng.random() < 0.3 else 1.0 for _ in edges]
        is_native, has_barriers = rng.random() < 0.5, rng.random() < 0.15
        draft = Draft(size)
        draft.h(*range(size))
        for _ in range(rng.choice((1, 2, 3))):
            gamma, beta = rng.uniform(0, 2 * math.pi), rng.uniform(0, 2 * math.pi)
            for (a, b), weight in zip(edges, weights, strict=True):
                if is_native:
                    draft.gate("rzz", a, b, angle=gamma * weight)
                else:
                    draft.cx(a, b)
                    draft.gate("rz", b, angle=gamma * weight)
                    draft.cx(a, b)
            if has_barriers:
                draft.barrier()
            draft.each("rx", range(size), beta)
        if rng.random() < 0.5:
            draft.barrier()
            draft.measure_each(range(size))
        return draft.program()

    return build


def _qaoa_xy(size: int, rng: random.Random) -> QuantumProgram:
    """A choice of some of `size` items, weighted alone and in pairs; the mixer swaps chosen ones for others."""
    values = [round(rng.uniform(0, 1), 3) for _ in range(size)]
    edges = graph_edges(rng.choice(("path", "cycle", "random")), size, rng)
    draft = Draft(size)
    draft.x(*rng.sample(range(size), rng.randint(1, max(1, size - 1))))
    ring = graph_edges(rng.choice(("path", "cycle")), size, rng)
    for _ in range(rng.choice((1, 2, 3))):
        gamma, beta = rng.uniform(0, 2 * math.pi), rng.uniform(0, math.pi)
        for qubit, value in enumerate(values):
            draft.gate("rz", qubit, angle=gamma * value)
        for a, b in edges:
            draft.gate("rzz", a, b, angle=gamma)
        for a, b in (*ring[::2], *ring[1::2]):
            draft.gate("rxx", a, b, angle=beta)
            draft.gate("ryy", a, b, angle=beta)
    draft.measure_each(range(size))
    return draft.program()


builder_groups.add(
    "optimization",
    (
        *(
            Builder("qaoa", kind, _qaoa(kind), ladder(2, 48 if kind != "complete" else 24), 4)
            for kind in GRAPH_KINDS
            if kind != "star"
        ),
        Builder("qaoa_xy", "ring", _qaoa_xy, ladder(2, 40), 4),
    ),
)
