"""What a predictor has seen, and in what a request lies outside of it, in words. Predicts nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.neural_simulator.arrays import ELEMENT_KINDS
from app.neural_simulator.dataset import SimulationGroup
from app.neural_simulator.features import Sizings, WiredTopology, element_sizes

#: A number this far beyond the ends of what was seen still counts as seen; ends are seldom drawn exactly.
_SLACK = 1e-6

#: So many sizes of one row are named; the others are counted.
_NAMED = 3

Range = tuple[float, float]


@dataclass(frozen=True)
class Experience:
    """What was learnt from. `seen` are (topology, testbench, technology); ranges are in SI units and degrees C.

    Sizes are by kind of element and size; supplies are by technology.
    """

    seen: frozenset[tuple[str, str, str]]
    sizes: Mapping[tuple[str, str], Range]
    supplies: Mapping[str, Range]
    celsius: Range

    @classmethod
    def of(cls, groups: Iterable[tuple[SimulationGroup, NDArray[np.bool_]]]) -> Self:
        """Of the rows of these groups that the masks choose; groups without any are not seen."""
        seen: set[tuple[str, str, str]] = set()
        sizes: dict[tuple[str, str], Range] = {}
        supplies: dict[str, Range] = {}
        temperatures: Range = (np.inf, -np.inf)
        for group, chosen in groups:
            if not chosen.any():
                continue
            seen.add((group.topology_id, group.testbench, group.technology))
            sizings = group.sizings.take(chosen)
            for size, (places, values) in element_sizes(group.wired, sizings).items():
                for place, column in zip(places.tolist(), values.T, strict=True):
                    key = (ELEMENT_KINDS[group.wired.structure.kinds[place]], size)
                    sizes[key] = _wider(sizes.get(key), column)
            supplies[group.technology] = _wider(supplies.get(group.technology), sizings.supply_v)
            temperatures = _wider(temperatures, sizings.celsius)
        return cls(frozenset(seen), sizes, supplies, temperatures)

    def knows(self, topology_id: str, testbench: str, technology: str) -> bool:
        """Whether rows of these were learnt from."""
        return (topology_id, testbench, technology) in self.seen

    def reasons(self, wired: WiredTopology, technology: str, sizings: Sizings) -> list[list[str]]:
        """Of each sizing, in what it lies outside of what was learnt from; nothing where it does not."""
        common = self._of_circuit(wired, technology)
        found = [list(common) for _ in range(len(sizings))]
        supply = self.supplies.get(technology)
        ranges = [("a supply", "V", sizings.supply_v, supply), ("a temperature", "C", sizings.celsius, self.celsius)]
        for name, unit, values, ends in ranges:
            if ends is None:
                continue
            for row in np.flatnonzero(_is_outside(values, ends)).tolist():
                found[row].append(f"{name} of {values[row]:g} {unit} is outside of {ends[0]:g} to {ends[1]:g} {unit}")
        for row, told in self._of_sizes(wired, sizings).items():
            found[row] += told[:_NAMED]
            if len(told) > _NAMED:
                found[row].append(f"{len(told) - _NAMED} more sizes are outside")
        return found

    def _of_circuit(self, wired: WiredTopology, technology: str) -> list[str]:
        name, testbench = wired.structure.topology_id, wired.structure.testbench
        if self.knows(name, testbench, technology):
            return []
        reasons = []
        if not any(each[:2] == (name, testbench) for each in self.seen):
            reasons.append(f"this circuit was not simulated on testbench {testbench} for the model to learn from")
        if technology not in self.supplies:
            reasons.append(f"technology {technology} was not learnt from")
        return reasons or [f"this circuit was not simulated in {technology} for the model to learn from"]

    def _of_sizes(self, wired: WiredTopology, sizings: Sizings) -> dict[int, list[str]]:
        structure = wired.structure
        found: dict[int, list[str]] = {}
        for size, (places, values) in element_sizes(wired, sizings).items():
            for place, column in zip(places.tolist(), values.T, strict=True):
                kind = ELEMENT_KINDS[structure.kinds[place]]
                ends = self.sizes.get((kind, size))
                if ends is None:
                    continue
                for row in np.flatnonzero(_is_outside(column, ends)).tolist():
                    found.setdefault(row, []).append(
                        f"{size} of {structure.names[place]} is {column[row]:g}, seen were {ends[0]:g} to {ends[1]:g}"
                    )
        return found

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        return {
            "seen": sorted(list(each) for each in self.seen),
            "sizes": [[*key, *ends] for key, ends in sorted(self.sizes.items())],
            "supplies": {name: list(ends) for name, ends in sorted(self.supplies.items())},
            "celsius": list(self.celsius),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """The experience that `as_json` told."""
        return cls(
            frozenset((topology, testbench, technology) for topology, testbench, technology in told["seen"]),
            {(kind, size): (low, high) for kind, size, low, high in told["sizes"]},
            {name: (low, high) for name, (low, high) in told["supplies"].items()},
            (told["celsius"][0], told["celsius"][1]),
        )


def _wider(ends: Range | None, values: NDArray[np.float64]) -> Range:
    low, high = (np.inf, -np.inf) if ends is None else ends
    return min(low, float(values.min())), max(high, float(values.max()))


def _is_outside(values: NDArray[np.float64], ends: Range) -> NDArray[np.bool_]:
    low, high = ends
    return ~((values >= low - _SLACK * abs(low)) & (values <= high + _SLACK * abs(high)))
