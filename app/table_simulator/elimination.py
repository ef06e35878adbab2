"""Gaussian elimination of one sparse system for many designs at once: the order is found once, then only arithmetic.

Every design of a circuit has the same non-zeros. So pivots are chosen once, on a typical system, by the fewest
operations that they cost [markowitz1957elimination] among entries that are not small; after that an elimination is a
list of multiplications of arrays with one number a design (and a frequency). A pivot that happens to vanish for some
design leaves infinities or wrong numbers there, which whoever iterates notices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from app.errors import SimulatorFailure

#: One number for all designs, or an array of one for each.
Entry = complex | float | NDArray[Any]
Place = tuple[int, int]

#: A pivot is at least this share of the largest entry of its row or of its column.
_SMALLEST_SHARE = 1e-3


@dataclass(frozen=True)
class _Step:
    """One pivot: what is left of its row, and the rows that it is taken out of."""

    row: int
    column: int
    others: tuple[int, ...]
    below: tuple[int, ...]


@dataclass(frozen=True)
class Elimination:
    """An order of pivots for systems with one pattern. Rows and columns may have any numbers for names."""

    steps: tuple[_Step, ...]
    pattern: frozenset[Place]

    @classmethod
    def plan(cls, typical: Mapping[Place, complex | float], trusted: Collection[Place]) -> Elimination:
        """The order for systems whose entries are like these; one that is zero may have a value all the same.

        Pivots are on the diagonal or at places of `trusted`, whose entries no design lacks, as long as there are any.

        Raises SimulatorFailure where the typical system is singular.
        """
        rows: dict[int, dict[int, complex | float]] = defaultdict(dict)
        for (row, column), value in typical.items():
            rows[row][column] = value
        steps = []
        while rows:
            step = _next_step(rows, trusted)
            steps.append(step)
            pivot_row = rows.pop(step.row)
            for row in step.below:
                factor = rows[row].pop(step.column) / pivot_row[step.column]
                for column in step.others:
                    rows[row][column] = rows[row].get(column, 0.0) - factor * pivot_row[column]
        return cls(tuple(steps), frozenset(typical))

    @cached_property
    def transposed(self) -> Elimination:
        """The same order for systems whose rows are these systems' columns."""
        steps = tuple(_Step(step.column, step.row, step.below, step.others) for step in self.steps)
        return Elimination(steps, frozenset((column, row) for row, column in self.pattern))

    def solve(
        self, matrix: Mapping[Place, Entry], sides: Sequence[Mapping[int, Entry]], wanted: Sequence[int] | None = None
    ) -> list[dict[int, Entry]]:
        """The solutions for right-hand sides by row: column -> values, at least those that are `wanted`.

        Entries and sides that are not there are zero.
        """
        assert matrix.keys() <= self.pattern, "an entry was not planned for"
        work: dict[Place, Entry] = dict(matrix)
        right = [dict(side) for side in sides]
        inverse: list[Entry] = []
        for step in self.steps:
            turned = 1.0 / work[step.row, step.column]
            inverse.append(turned)
            for row in step.below:
                factor = work[row, step.column] * turned
                for column in step.others:
                    change = factor * work[step.row, column]
                    place = (row, column)
                    work[place] = work[place] - change if place in work else -change
                for side in right:
                    if step.row in side:
                        side[row] = side.get(row, 0.0) - factor * side[step.row]
        needed = self._needed(wanted)
        return [self._back(work, inverse, side, needed) for side in right]

    def _needed(self, wanted: Sequence[int] | None) -> set[int]:
        step_of = {step.column: step for step in self.steps}
        if wanted is None:
            return set(step_of)
        needed = set(wanted)
        waiting = list(wanted)
        while waiting:
            more = set(step_of[waiting.pop()].others) - needed
            needed |= more
            waiting += more
        return needed

    def _back(
        self, work: Mapping[Place, Entry], inverse: Sequence[Entry], side: Mapping[int, Entry], needed: set[int]
    ) -> dict[int, Entry]:
        found: dict[int, Entry] = {}
        for step, turned in zip(reversed(self.steps), reversed(inverse), strict=True):
            if step.column not in needed:
                continue
            value: Entry = side.get(step.row, 0.0)
            for column in step.others:
                known = found[column]
                if not (isinstance(known, float) and known == 0.0):
                    value = value - work[step.row, column] * known
            found[step.column] = value * turned
        return found


def _next_step(rows: Mapping[int, dict[int, complex | float]], trusted: Collection[Place]) -> _Step:
    """The cheapest pivot among those that are large in their row and column."""
    columns: dict[int, dict[int, float]] = defaultdict(dict)
    for row, entries in rows.items():
        for column, value in entries.items():
            columns[column][row] = abs(value)
    largest_in_column = {column: max(values.values()) for column, values in columns.items()}
    best: tuple[bool, float, float, int, int] | None = None
    for row, entries in rows.items():
        largest = max(map(abs, entries.values()), default=0.0)
        for column, value in entries.items():
            size = abs(value)
            if not size:
                continue
            # Factors of the pivot's row or of its column stay small; one of both is enough for what they multiply.
            if size < _SMALLEST_SHARE * min(largest, largest_in_column[column]):
                continue
            is_doubtful = row != column and (row, column) not in trusted
            cost = float((len(entries) - 1) * (len(columns[column]) - 1))
            candidate = (is_doubtful, cost, -size, row, column)
            if best is None or candidate < best:
                best = candidate
    if best is None:
        raise SimulatorFailure(
            "the circuit has no solution whatever its sizes: check it for a loop of voltage sources or an open net"
        )
    *_, row, column = best
    return _Step(
        row,
        column,
        tuple(sorted(other for other in rows[row] if other != column)),
        tuple(sorted(other for other in columns[column] if other != row)),
    )
