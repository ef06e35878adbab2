"""What is simulated, unit by unit: a function of recipe, seed and selected topologies. Simulates nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from app.simulation_corpus.recipe import SimulationRecipe
from app.technologies._base import Technology
from app.testbenches._base import Corner

#: Which metrics the rows of a unit have: every one, or those up to the recipe's cheap analysis.
Scope = Literal["all", "cheap"]


@dataclass(frozen=True, slots=True, order=True)
class Combination:
    """A topology on a testbench in a technology."""

    topology_id: str
    testbench: str
    technology: str


@dataclass(frozen=True, slots=True)
class Unit:
    """Work done in one go: `count` sizings from number `first` on, drawn by `method` from `seed`, in one corner.

    `number` counts the units of the store, `part` is the file that the rows go into.
    """

    number: int
    part: int
    run: int
    combination: Combination
    process: str
    supply_v: float
    celsius: float
    method: str
    seed: int
    first: int
    count: int
    scope: Scope

    @property
    def corner(self) -> Corner:
        """The corner as testbenches take it."""
        return Corner(self.process, self.supply_v, self.celsius)

    @property
    def indices(self) -> range:
        """The sizings' numbers in their stream of draws."""
        return range(self.first, self.first + self.count)


def seed_of(*words: object) -> int:
    """A number below 2**63 that depends on every word, the same on every machine."""
    text = "\0".join(map(str, words)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def plan_units(
    recipe: SimulationRecipe,
    seed: int,
    combinations: Sequence[Combination],
    technologies: Mapping[str, Technology],
    *,
    run: int = 0,
    first_unit: int = 0,
    first_part: int = 0,
) -> tuple[Unit, ...]:
    """Every unit of these combinations, shuffled, so that a store that is only begun already holds a bit of everything.

    What a unit asks for depends on the recipe, the seed and its combination alone, not on the other combinations.
    """
    drafts = [
        draft for combination in combinations for draft in _units_of(recipe, seed, combination, technologies, run)
    ]
    drafts.sort(key=lambda unit: seed_of("order", unit.seed, unit.first))
    units, rows = [], 0
    for number, draft in enumerate(drafts):
        part = first_part + rows // recipe.rows_per_part
        units.append(
            Unit(
                first_unit + number, part, run, draft.combination, draft.process, draft.supply_v, draft.celsius,
                draft.method, draft.seed, draft.first, draft.count, draft.scope,
            )
        )  # fmt: skip
        rows += draft.count
    return tuple(units)


def _units_of(
    recipe: SimulationRecipe,
    seed: int,
    combination: Combination,
    technologies: Mapping[str, Technology],
    run: int,
) -> Iterator[Unit]:
    """The units of one combination; their number and part are still 0."""
    technology = technologies[combination.technology]
    testbench = recipe.testbenches[combination.testbench]
    rows = testbench.rows * recipe.technologies[combination.technology].share
    for method, share in recipe.methods.items():
        stream = seed_of(seed, combination.topology_id, combination.testbench, combination.technology, method)
        total = round(rows * share)
        nominal = round(total * recipe.corners.nominal_share)
        first = 0
        while first < total:
            is_nominal = first < nominal
            size = recipe.rows_per_unit if is_nominal else recipe.rows_per_corner
            count = min(size, (nominal if is_nominal else total) - first)
            corner = nominal_corner(technology) if is_nominal else _drawn_corner(recipe, technology, stream, first)
            is_full = seed_of("scope", stream, first) / 2**63 < testbench.full_share
            yield Unit(
                0, 0, run, combination, corner.process, corner.supply_v, corner.celsius, method, stream, first, count,
                "all" if is_full else "cheap",
            )  # fmt: skip
            first += count


def nominal_corner(technology: Technology) -> Corner:
    """Nominal process, supply and temperature."""
    return Corner(technology.processes[0], technology.supply_v, technology.celsius)


def _drawn_corner(recipe: SimulationRecipe, technology: Technology, stream: int, first: int) -> Corner:
    """A corner other than the nominal one where the recipe and the technology have another, from the unit's numbers."""
    every = [
        Corner(process, round(technology.supply_v * factor, 6), celsius)
        for process in technology.processes
        for factor in recipe.corners.supply_factors
        for celsius in recipe.corners.celsius
    ]
    others = [corner for corner in every if corner != nominal_corner(technology)] or every
    return others[seed_of("corner", stream, first) % len(others)]
