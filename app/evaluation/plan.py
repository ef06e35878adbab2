"""Which circuits an evaluation of the analog generator looks at, and how far each is checked. Pure: it makes none.

Sample `j` of a type is the item ``j * 16 + (number of the type)`` of its seed, so it is the same circuit in every
evaluation, and a larger count adds samples and changes none. The sets share samples: that with the data's proportions
and that with equal ones take the first of each type, as many as they need.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from app.analog.dataset import DatasetCircuit
from app.analog.kinds import CIRCUIT_TYPES
from app.analog.netlist import Netlist
from app.analog.rewiring import rewired
from app.statistics import apportion
from app.testbenches._function import testbenches_for
from app.validators.ladder import Rung

#: Where a circuit is from: sampled with and without the grammar, real, or real with some percent of its pins rewired.
Side = Literal["constrained", "unconstrained", "real", "wired_5", "wired_20", "wired_100"]

GIVEN: Mapping[Side, float] = {"real": 0.0, "wired_5": 0.05, "wired_20": 0.2, "wired_100": 1.0}

#: Sides whose function is tried. What lies between real and random wiring shows in the cheaper checks.
_TRIED: frozenset[Side] = frozenset({"real", "wired_100"})

_SEED = 0


@dataclass(frozen=True, slots=True)
class Item:
    """One circuit to look at: where it is from, what type it is to be, and how far it is checked.

    A given circuit comes with its netlist; `index` is its place among the held-out ones and `seed` is 0.
    """

    side: Side
    seed: int
    index: int
    type: str
    rung: Rung
    netlist: Netlist | None = None

    @property
    def key(self) -> tuple[Side, int, int]:
        """What tells it from every other one."""
        return self.side, self.seed, self.index


def sample_index(circuit_type: str, number: int) -> int:
    """The item of a seed that is sample `number` of the type."""
    return number * len(CIRCUIT_TYPES) + CIRCUIT_TYPES.index(circuit_type)


def sample_number(index: int) -> int:
    """The sample's number within its type; the other way round."""
    return index // len(CIRCUIT_TYPES)


@dataclass(frozen=True)
class AnalogPlan:
    """How many circuits of which type.

    Args:
        count: Samples of each set and seed.
        seeds: Of the samples.
        function_count: Samples of each set and seed whose function is tried; of every type with a testbench at least
            one. Of the given circuits, as many as of all seeds together.
        held_out: Real circuits that the model has not seen.
        proportions: How many circuits of each type the data has.
    """

    count: int
    seeds: tuple[int, ...]
    function_count: int
    held_out: tuple[DatasetCircuit, ...]
    proportions: Mapping[str, int]

    @cached_property
    def samples(self) -> Mapping[str, Mapping[str, int]]:
        """Set -> type -> how many samples of it each seed has."""
        weights = {name: self.proportions.get(name, 0) for name in CIRCUIT_TYPES}
        return {
            "data": apportion(weights, self.count),
            "uniform": apportion(dict.fromkeys(CIRCUIT_TYPES, 1), self.count),
        }

    @cached_property
    def tried(self) -> Mapping[str, Mapping[str, int]]:
        """Set -> type -> the function of how many of them is tried."""
        return {name: self._tried(numbers, self.function_count) for name, numbers in self.samples.items()}

    @cached_property
    def real(self) -> tuple[DatasetCircuit, ...]:
        """The held-out circuits in an order drawn once, so that the first of a type are a random choice."""
        circuits = list(self.held_out)
        random.Random(_SEED).shuffle(circuits)
        return tuple(circuits)

    def items(self) -> tuple[Item, ...]:
        """Everything to look at: a seed's samples after the other's, types in turn."""
        return (*self._given(), *(item for seed in self.seeds for item in self._sampled(seed)))

    def _tried(self, numbers: Mapping[str, int], count: int) -> dict[str, int]:
        weights = {name: number for name, number in numbers.items() if testbenches_for(name)}
        if not count or not any(weights.values()):
            return dict.fromkeys(numbers, 0)
        dealt = apportion(weights, count, least=1)
        return {name: min(number, dealt.get(name, 0)) for name, number in numbers.items()}

    def _sampled(self, seed: int) -> list[Item]:
        data, uniform = self.samples["data"], self.samples["uniform"]
        numbers: list[tuple[Side, Mapping[str, int]]] = [
            ("constrained", {name: max(data[name], uniform[name]) for name in CIRCUIT_TYPES}),
            ("unconstrained", data),
        ]
        tried = {name: max(own[name] for own in self.tried.values()) for name in CIRCUIT_TYPES}
        items = []
        for side, wanted in numbers:
            for number in range(max(wanted.values())):
                for name in CIRCUIT_TYPES:
                    if number < wanted[name]:
                        rung: Rung = "function" if number < tried[name] else "conduction"
                        rung = rung if side == "constrained" else "structure"
                        items.append(Item(side, seed, sample_index(name, number), name, rung))
        return items

    def _given(self) -> list[Item]:
        left = self._tried(_count_types(self.real), self.function_count * len(self.seeds))
        items = []
        for index, circuit in enumerate(self.real):
            is_tried = left[circuit.type] > 0
            left[circuit.type] -= 1
            for side, share in GIVEN.items():
                rng = random.Random(f"{_SEED} {side} {index}")
                netlist = rewired(circuit.netlist, share, rng) if share else circuit.netlist
                rung: Rung = "function" if is_tried and side in _TRIED else "conduction"
                items.append(Item(side, 0, index, circuit.type, rung, netlist))
        return items


def _count_types(circuits: Sequence[DatasetCircuit]) -> dict[str, int]:
    return {name: sum(circuit.type == name for circuit in circuits) for name in CIRCUIT_TYPES}
