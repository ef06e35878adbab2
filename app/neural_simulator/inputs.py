"""What the network is shown of rows, as arrays of finite numbers: vocabularies, estimates, what is known already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.errors import UnknownName
from app.neural_simulator.arrays import CIRCUIT, DEFINED, FACTS, RowInputs, Structure
from app.neural_simulator.scales import Scales

Floats = NDArray[np.float32]

#: What is told of an estimate: one of the causes, as one of so many numbers.
ESTIMATE_FEATURES = 4

#: What is told of an estimated operating point: the facts, and whether there are any.
FACT_FEATURES = len(FACTS) + 1

#: Currents and conductances are told as decades from these, voltages in volts.
_FACT_UNITS: Mapping[str, float] = {"id": 10e-6, "gm": 100e-6, "gds": 1e-6}
_LEAST_DECADES, _MOST_DECADES = -6.0, 4.0
_MOST_V = 10.0

#: Targets that the network is shown or asked for lie within so many standard deviations.
MOST_TARGET = 8.0


@dataclass(frozen=True)
class Vocabulary:
    """The testbenches and metrics that a network has numbers for."""

    testbenches: tuple[str, ...]
    metrics: tuple[tuple[str, str], ...]  # (testbench, metric)

    @classmethod
    def of(cls, structures: Iterable[Structure]) -> Self:
        """Of all testbenches and metrics of these structures, in alphabetical order."""
        found = {(each.testbench, metric) for each in structures for metric in each.metrics}
        return cls(tuple(sorted({testbench for testbench, _ in found})), tuple(sorted(found)))

    def testbench(self, structure: Structure) -> int:
        """The number of the structure's testbench; UnknownName where the network never saw it."""
        if structure.testbench not in self.testbenches:
            raise UnknownName("testbench of the neural simulator", structure.testbench, self.testbenches)
        return self.testbenches.index(structure.testbench)

    def metric_numbers(self, structure: Structure) -> NDArray[np.int64]:
        """The numbers of the structure's metrics; UnknownName where the network never saw one."""
        self.testbench(structure)
        known = {metric: number for number, (name, metric) in enumerate(self.metrics) if name == structure.testbench}
        for metric in structure.metrics:
            if metric not in known:
                raise UnknownName(f"metric of testbench {structure.testbench} in the neural simulator", metric, known)
        return np.array([known[metric] for metric in structure.metrics], dtype=np.int64)

    def as_json(self) -> dict[str, Any]:
        """The names in their order."""
        return {"testbenches": list(self.testbenches), "metrics": [list(pair) for pair in self.metrics]}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """The vocabulary that `as_json` told."""
        return cls(tuple(told["testbenches"]), tuple((testbench, metric) for testbench, metric in told["metrics"]))


def fact_numbers(facts: NDArray[np.floating]) -> Floats:
    """Facts of operating points [..., FACTS] as numbers of order 1; NaN stays NaN.

    Currents and conductances are log10 of their magnitude in 10 uA, 100 uS (gm) and 1 uS (gds), voltages in volts.
    """
    told = np.array(facts, dtype=np.float32)
    for column, name in enumerate(FACTS):
        if name in _FACT_UNITS:
            with np.errstate(divide="ignore"):
                decades = np.log10(np.abs(told[..., column]) / _FACT_UNITS[name])
            told[..., column] = np.clip(decades, _LEAST_DECADES, _MOST_DECADES)
        else:
            told[..., column] = np.clip(told[..., column], -_MOST_V, _MOST_V)
    return told


def fact_features(facts: NDArray[np.floating]) -> Floats:
    """Facts [..., FACTS] as the network is shown them: `fact_numbers`, 0 where none are, then whether there are any."""
    told = fact_numbers(facts)
    is_there = np.isfinite(told).all(axis=-1, keepdims=True)
    return np.concatenate([np.where(is_there, told, 0.0), is_there], axis=-1, dtype=np.float32)


def condition_features(conditions: NDArray[np.floating]) -> Floats:
    """Conditions [n, C] as the network is shown them [n, 2 C]: 0 where there is none, then whether there is."""
    is_there = np.isfinite(conditions)
    return np.concatenate([np.where(is_there, conditions, 0.0), is_there], axis=-1, dtype=np.float32)


def shown_targets(scales: Scales, structure: Structure, values: NDArray[np.float64]) -> Floats:
    """Values [n, M] as targets within `MOST_TARGET`, NaN where there is none."""
    targets = scales.targets(structure, values)
    return np.clip(targets, -MOST_TARGET, MOST_TARGET).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Known:
    """What a caller knows of n rows already. `values` are in SI units, NaN where unknown; `has_none` are metrics that
    are known to have no value.
    """

    values: NDArray[np.float64]  # [n, M]
    has_none: NDArray[np.bool_]  # [n, M]

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Known:
        """What is known of these rows."""
        return Known(self.values[rows], self.has_none[rows])


@dataclass(frozen=True, eq=False)
class ShownEstimates:
    """What the table simulator says of n rows, as the network is shown it."""

    targets: Floats  # [n, M], 0 where there is none
    features: Floats  # [n, M, ESTIMATE_FEATURES]
    facts: Floats  # [n, E, FACT_FEATURES]

    @classmethod
    def of(cls, rows: RowInputs, scales: Scales) -> Self:
        """Of these rows."""
        targets = shown_targets(scales, rows.structure, rows.estimates)
        causes = np.where((rows.estimate_causes == DEFINED) & ~np.isfinite(targets), CIRCUIT, rows.estimate_causes)
        features = np.eye(ESTIMATE_FEATURES, dtype=np.float32)[causes]
        return cls(np.nan_to_num(targets), features, fact_features(rows.estimated_facts))
