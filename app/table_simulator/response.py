"""Small signals over frequency for a batch of designs: what sources make of unknowns, and what reaches an output.

For many sources and one output, as noise has them, the transposed system is solved: it says at once what a current
into any node makes of the output [rohrer1971noise].
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.table_simulator.elimination import Elimination, Entry, Place
from app.table_simulator.expressions import Number
from app.table_simulator.linearised import SmallSignals, typical_system
from app.table_simulator.network import Network, System

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

#: Numbers that an array holds while systems are eliminated: enough to forget Python, few enough for the cache.
_AT_ONCE = 8192

#: Where pivots are chosen, in hertz.
_TYPICAL_HZ = 1e6


@dataclass(frozen=True, eq=False)
class Transfers:
    """Of some designs: what a current into a node makes of the output, by node, and what their sources make of it.

    Design x frequency each; a node that is not there does not reach the output.
    """

    designs: slice
    reached: Mapping[int, Entry]
    gain: Entry


class ResponseSolver:
    """Solves the small signals of one network."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._fixed = {each.node for each in network.held} | {network.branch(each.source) for each in network.held}
        self._order: Elimination | None = None

    def solve(
        self,
        system: System,
        small: SmallSignals,
        frequencies: Array,
        excitations: Sequence[Mapping[str, Number]],
        wanted: Collection[int],
    ) -> list[dict[int, ComplexArray]]:
        """For each excitation (amplitudes by source) the `wanted` unknowns, design x frequency each."""
        self._plan(system)
        size = max(1, _AT_ONCE // len(frequencies))
        found: list[dict[int, list[ComplexArray]]] = [{row: [] for row in wanted} for _ in excitations]
        omega = 2 * np.pi * frequencies
        for first in range(0, system.count, size):
            designs = slice(first, min(first + size, system.count))
            for whole, part in zip(found, self._some(system, small, omega, excitations, wanted, designs), strict=True):
                for row, values in part.items():
                    whole[row].append(values)
        return [{row: np.concatenate(values) for row, values in whole.items()} for whole in found]

    def transfers(
        self,
        system: System,
        small: SmallSignals,
        frequencies: Array,
        output: tuple[int, int],
        amplitudes: Mapping[str, Number],
    ) -> Iterator[Transfers]:
        """What reaches the difference of two unknowns, for a few designs after the other.

        `amplitudes` are those of the sources; nodes that sources hold are out of reach.
        """
        order = self._plan(system).transposed
        size = max(1, _AT_ONCE // len(frequencies))
        omega = 2 * np.pi * frequencies
        ends = [(row, sign) for row, sign in zip(output, (1.0, -1.0), strict=True) if row >= 0]
        for first in range(0, system.count, size):
            designs = slice(first, min(first + size, system.count))
            entries = self._entries(small, omega, designs)
            turned = {
                (column, row): entry
                for (row, column), entry in entries.items()
                if row not in self._fixed and column not in self._fixed
            }
            side: dict[int, Entry] = {}
            for row, sign in ends:
                if row not in self._fixed:
                    side[row] = side.get(row, 0.0) + sign
            with np.errstate(all="ignore"):
                reached = order.solve(turned, [side])[0] if side else {}
            held = self._held(system, amplitudes, designs)
            gain: Entry = 0.0
            for row, value in self._side(system, entries, amplitudes, held, designs).items():
                gain = gain + reached.get(row, 0.0) * value
            for row, sign in ends:
                gain = gain + sign * held.get(row, 0.0)
            yield Transfers(designs, reached, gain)

    def _plan(self, system: System) -> Elimination:
        if self._order is None:
            typical = typical_system(system, self._fixed, 2 * np.pi * _TYPICAL_HZ)
            self._order = Elimination.plan(typical, {*system.linear, *system.reactive})
        return self._order

    def _some(
        self,
        system: System,
        small: SmallSignals,
        omega: Array,
        excitations: Sequence[Mapping[str, Number]],
        wanted: Collection[int],
        designs: slice,
    ) -> list[dict[int, ComplexArray]]:
        assert self._order is not None
        shape = (designs.stop - designs.start, len(omega))
        entries = self._entries(small, omega, designs)
        matrix = {
            place: entry
            for place, entry in entries.items()
            if place[0] not in self._fixed and place[1] not in self._fixed
        }
        known = [self._held(system, amplitudes, designs) for amplitudes in excitations]
        sides = [
            self._side(system, entries, amplitudes, held, designs)
            for amplitudes, held in zip(excitations, known, strict=True)
        ]
        currents = {self.network.branch(each.source): each for each in self.network.held}
        needs_all = any(row in currents for row in wanted)
        free = None if needs_all else [row for row in wanted if row not in self._fixed]
        with np.errstate(all="ignore"):
            solved = self._order.solve(matrix, sides, free)
        results = []
        for amplitudes, held, values in zip(excitations, known, solved, strict=True):
            whole: dict[int, Entry] = {**values, **held}
            if needs_all:
                whole |= self._branch_currents(system, entries, amplitudes, whole, designs)
            results.append({row: np.broadcast_to(np.asarray(whole[row], dtype=np.complex128), shape) for row in wanted})
        return results

    def _entries(self, small: SmallSignals, omega: Array, designs: slice) -> dict[Place, Entry]:
        entries: dict[Place, Entry] = {place: _column(value, designs) for place, value in small.conductance.items()}
        turning = 1j * omega[None, :]
        for place, value in small.capacitance.items():
            capacitance = _column(value, designs)
            entries[place] = entries.get(place, 0.0) + capacitance * turning
        return entries

    def _held(self, system: System, amplitudes: Mapping[str, Number], designs: slice) -> dict[int, Entry]:
        """The voltages of nodes that sources hold."""
        found: dict[int, Entry] = {}
        for each in self.network.held:
            level = _column(amplitudes.get(each.source, 0.0), designs)
            found[each.node] = (found[each.below] if each.below >= 0 else 0.0) + each.sign * level
        return found

    def _side(
        self,
        system: System,
        entries: Mapping[Place, Entry],
        amplitudes: Mapping[str, Number],
        held: Mapping[int, Entry],
        designs: slice,
    ) -> dict[int, Entry]:
        side: dict[int, Entry] = {
            row: _column(value, designs) for row, value in system.side(amplitudes).items() if row not in self._fixed
        }
        moving = {node: value for node, value in held.items() if not (isinstance(value, float) and value == 0.0)}
        for (row, column), entry in entries.items():
            if column in moving and row not in self._fixed:
                side[row] = side.get(row, 0.0) - entry * moving[column]
        return side

    def _branch_currents(
        self,
        system: System,
        entries: Mapping[Place, Entry],
        amplitudes: Mapping[str, Number],
        values: Mapping[int, Entry],
        designs: slice,
    ) -> dict[int, Entry]:
        """The currents of the sources that hold nodes, from what these nodes lack."""
        nodes = {each.node for each in self.network.held}
        rest: dict[int, Entry] = {
            row: -_column(value, designs) for row, value in system.side(amplitudes).items() if row in nodes
        }
        for (row, column), entry in entries.items():
            if row in nodes and column in values:
                rest[row] = rest.get(row, 0.0) + entry * values[column]
        found: dict[int, Entry] = {}
        for each in reversed(self.network.held):
            current = -each.sign * rest.get(each.node, 0.0)
            found[self.network.branch(each.source)] = current
            if each.below >= 0:
                rest[each.below] = rest.get(each.below, 0.0) - each.sign * current
        return found


def _column(value: Number, designs: slice) -> float | Array:
    """Of these designs, to be combined with frequencies."""
    return value[designs, None] if isinstance(value, np.ndarray) else value
