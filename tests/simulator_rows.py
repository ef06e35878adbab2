"""Rows of simulations that nobody simulated, for tests of what learns from rows and judges by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.neural_simulator.arrays import (
    CIRCUIT,
    DEFINED,
    ELEMENT_FEATURES,
    ELEMENT_KINDS,
    FACTS,
    PINS,
    Estimates,
    Rows,
    Structure,
    condition_names,
)


def structure_of(
    metrics: Sequence[str], *, testbench: str = "opamp", topology: str = "a", sources: Sequence[str] = ()
) -> Structure:
    """A structure of bias sources alone, of these kinds."""
    count = len(sources)
    return Structure(
        topology, testbench, tuple(metrics), (), tuple(f"b{number}" for number in range(count)),
        np.array([ELEMENT_KINDS.index(kind) for kind in sources], np.int8),
        np.zeros((count, PINS), np.int16), np.zeros((count, count, PINS * PINS), np.bool_),
    )  # fmt: skip


def rows_of(
    structure: Structure,
    values: Any,
    *,
    technology: str = "generic180",
    sizes: Any = None,
    causes: NDArray[np.int8] | None = None,
    process: str = "tt",
    celsius: float = 27.0,
) -> Rows:
    """Rows with these values [n, M], NaN where the circuit has none; sizes [n, V] count up where not given."""
    found = np.asarray(values, np.float64).reshape(-1, len(structure.metrics))
    count, elements = len(found), len(structure.names)
    conditions = np.full((count, len(condition_names())), np.nan, np.float32)
    conditions[:, 0], conditions[:, 1], conditions[:, 2] = np.log10(1.8), 1.0, (celsius - 27.0) / 100
    if sizes is None:
        sizes = 1e-6 * (1 + np.arange(count, dtype=np.float64)[:, None])
    if causes is None:
        causes = np.where(np.isnan(found), CIRCUIT, DEFINED).astype(np.int8)
    nothing = Estimates.nothing(count, len(structure.metrics), elements)
    return Rows(
        structure=structure,
        technology=technology,
        elements=np.zeros((count, elements, ELEMENT_FEATURES), np.float32),
        conditions=conditions,
        estimates=nothing.values,
        estimate_causes=nothing.causes,
        estimated_facts=nothing.facts,
        values=found,
        causes=causes,
        facts=np.full((count, elements, len(FACTS)), np.nan, np.float32),
        sizes=np.asarray(sizes, np.float64),
        methods=np.full(count, "guided"),
        process=np.full(count, process),
        simulate_s=np.zeros(count, np.float32),
    )
