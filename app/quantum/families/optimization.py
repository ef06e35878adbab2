"""QAOA for cuts of graphs.

Reference:
    [farhi2014qaoa] §2.
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
        is_native = rng.random() < 0.5
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
            draft.each("rx", range(size), beta)
        if rng.random() < 0.5:
            draft.barrier()
            draft.measure_each(range(size))
        return draft.program()

    return build


builder_groups.add(
    "optimization",
    tuple(
        Builder("qaoa", kind, _qaoa(kind), ladder(2, 40 if kind != "complete" else 24), 3)
        for kind in GRAPH_KINDS
        if kind != "star"
    ),
)
