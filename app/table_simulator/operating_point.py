"""Direct voltages and currents of a batch of designs: Newton's method in bounded steps, gmin stepping where it strays.

A circuit with more than one operating point may be let go from somewhere: then it is the one at which it settles.

What is common to all designs of a circuit is done once: the order of pivots (`elimination`), and which nodes sources
hold, so that they are no unknowns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from app.table_simulator.elimination import Elimination, Place
from app.table_simulator.expressions import Number
from app.table_simulator.linearised import (
    beyond_reach,
    junction_flows,
    rows_of,
    sloped,
    small_signals,
    terminal_voltages,
    typical_number,
    typical_system,
)
from app.table_simulator.network import Network, System, sparse_of

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: A node that a step moves less than this is where it belongs.
CLOSE_V = 1e-6

#: The farthest that a step takes a node, and how many steps there are: at first, and where that was too bold.
FARTHEST_V, _STEPS = 0.3, 25
CAREFUL_V, _CAREFUL_STEPS = 0.1, 80

#: Ways of searching: in bold or in small steps from where it starts, with fading leaks, in small steps from elsewhere.
Way = Literal["quick", "careful", "leaking", "elsewhere"]
WAYS: tuple[Way, ...] = ("quick", "careful", "leaking", "elsewhere", "elsewhere", "elsewhere")

#: Of gmin stepping: the most steps, the first leak and what counts as none, by how much it fades at most and at least.
_LEAK_STEPS, _FIRST_S, _NONE_S, _PACE, _SLOWEST = 300, 1e-1, 1e-13, 10.0, 1.02

#: How still a node stands before the leak fades further; the most steps that this may take, and what is quick.
_NEAR_V, _TRIES, _QUICK = 1e-3, 12, 5

#: Conductance that holds a node where a circuit is let go from.
_HOLDING_S = 10.0

#: Of what follows a circuit through time: the first step and the shortest that is tried, the most moves, moves with the
#: same capacitances, and a typical step's inverse.
_FIRST_STEP_S, _SHORTEST_S, _MOST_MOVES, _SAME_CHARGES, _TYPICAL_PER_S = 1e-11, 1e-16, 500, 4, 1e8

#: Ways from where it has come to rest.
_SETTLED: tuple[Way, ...] = ("quick", "careful", "leaking")

#: Conductance of every channel where a search starts.
_STARTING_S = 1e-5


@dataclass(frozen=True, eq=False)
class OperatingPoints:
    """Unknowns x design with a last row of zeros for the ground, and which designs have an operating point."""

    network: Network
    unknowns: Array
    converged: Mask

    def voltage(self, node: str) -> Array:
        """The voltage of a node over the designs."""
        return np.asarray(self.unknowns[self.network.index[node]])

    def current(self, source: str) -> Array:
        """The current through a source, from its first net to its second."""
        return np.asarray(self.unknowns[self.network.branch(source)])

    def take(self, designs: NDArray[np.intp]) -> OperatingPoints:
        """Only these designs."""
        return OperatingPoints(self.network, self.unknowns[:, designs], self.converged[designs])

    def spread(self, designs: NDArray[np.intp], count: int) -> OperatingPoints:
        """The same among `count` designs, of which these are the ones; the others have no operating point."""
        unknowns, converged = np.zeros((len(self.unknowns), count)), np.zeros(count, dtype=np.bool_)
        unknowns[:, designs], converged[designs] = self.unknowns, self.converged
        return OperatingPoints(self.network, unknowns, converged)


@dataclass(frozen=True, eq=False)
class _Leak:
    """Conductances that hold unknowns where `anchor` (unknowns x design) has them.

    The one at a place is from the row's equation to how far the column's unknown is from there.
    """

    conductance: Mapping[Place, Number]
    anchor: Array


class OperatingPointSolver:
    """Finds operating points of one network."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._fixed = {each.node for each in network.held} | {network.branch(each.source) for each in network.held}
        self._free = [row for row in range(len(network.names)) if row not in self._fixed]
        self._free_nodes = [row for row in self._free if row < network.node_count]
        self._order: Elimination | None = None
        self._starting_order: Elimination | None = None
        self._moving_order: Elimination | None = None

    def start(self, system: System, guesses: Mapping[int, Number]) -> Array:
        """Where a search starts: every channel a resistor, nodes of `guesses` near to what these say."""
        network = self.network
        entries, side = dict(system.linear), system.side(system.levels)
        ends = [(int(nodes[0]), int(nodes[2])) for nodes in network.terminals]
        ends += [
            (network.index[each.nodes[0]], network.index[each.nodes[-1]])
            for each in (*network.behavioural, *network.junctions)
            if each.letter != "bv"
        ]
        for first, second in ends:
            _conduct(entries, first, second, _STARTING_S)
        for node, level in guesses.items():
            entries[node, node] = entries[node, node] + 1.0
            side[node] = side.get(node, 0.0) + level
        if self._starting_order is None:
            typical = {place: typical_number(entry, _STARTING_S, place) for place, entry in entries.items()}
            self._starting_order = Elimination.plan(typical, entries)
        found = self._starting_order.solve(entries, [side])[0]
        rows = [np.broadcast_to(np.asarray(found[row], dtype=np.float64), (system.count,)) for row in sorted(found)]
        return np.stack([*rows, np.zeros(system.count)])

    def solve(self, system: System, start: Array, ways: Sequence[Way] = WAYS) -> OperatingPoints:
        """The operating points of all designs, looked for from `start` (as `OperatingPoints.unknowns`).

        Args:
            system: What is solved.
            start: Where the search starts.
            ways: Ways of searching, each for the designs that those before it did not solve.
        """
        if self._order is None:
            self._order = Elimination.plan(typical_system(system, self._fixed), system.linear)
        first = np.nan_to_num(start)
        self.hold(system, first)
        found = first.copy()
        left = np.arange(system.count)
        for number, way in enumerate(ways):
            part, those = first[:, left], system if len(left) == system.count else system.take(left)
            if way == "leaking":
                is_solved = self._leak(those, part)
            elif way == "quick":
                is_solved = self._newton(those, part, FARTHEST_V, _STEPS)
            else:
                if way == "elsewhere":
                    self._scatter(part, number)
                is_solved = self._newton(those, part, CAREFUL_V, _CAREFUL_STEPS)
            found[:, left] = part
            left = left[~is_solved]
            if not left.size:
                break
        converged = np.all(np.isfinite(found), axis=0)
        converged[left] = False
        self.add_branch_currents(system, found)
        return OperatingPoints(self.network, found, converged)

    def settle(self, system: System, start: Array, initial: Mapping[int, Number], window_s: float) -> OperatingPoints:
        """The operating points at which a circuit settles that is let go from `initial` levels of nodes.

        Its charges are followed through time by implicit steps, each as long as leaves the voltages near to where they
        were: not how fast, but which way it goes.
        """
        if self._order is None:
            self._order = Elimination.plan(typical_system(system, self._fixed), system.linear)
        found = np.nan_to_num(start)
        self.hold(system, found)
        held = found.copy()
        for node, level in initial.items():
            held[node] = level
        leak = _Leak({(node, node): _HOLDING_S for node in initial if node not in self._fixed}, held)
        for _ in range(_CAREFUL_STEPS):
            if (self.move(system, found, CAREFUL_V, leak) < _NEAR_V).all():
                break
        self._follow(system, found, window_s)
        return self.solve(system, found, _SETTLED)

    def _follow(self, system: System, found: Array, window_s: float) -> None:
        """`found` is where the circuit has come after the window; a design that gets stuck stays where it was."""
        if self._moving_order is None:
            typical = typical_system(system, self._fixed, _TYPICAL_PER_S)
            plain = {place: value.real + value.imag for place, value in typical.items()}
            self._moving_order = Elimination.plan(plain, {*system.linear, *system.reactive})
        active, part, safe, now = np.arange(system.count), system, found.copy(), found.copy()
        passed, step, tries = np.zeros(system.count), np.full(system.count, _FIRST_STEP_S), np.zeros(system.count)
        charges = self._capacitances(part, safe)
        for number in range(1, _MOST_MOVES + 1):
            leak = _Leak({place: value / step for place, value in charges.items()}, safe)
            moved = self.move(part, now, FARTHEST_V, leak, order=self._moving_order)
            tries += 1
            gone = np.abs(now - safe)[self._free_nodes].max(axis=0, initial=0.0)
            settled = (moved < _NEAR_V) & (gone < FARTHEST_V)
            failed = ~settled & ((tries >= _TRIES) | (gone >= FARTHEST_V))
            passed = np.where(settled, passed + step, passed)
            now[:, failed] = safe[:, failed]
            safe[:, settled] = now[:, settled]
            step = np.where(failed, step / 8, np.where(settled & (gone < CAREFUL_V), step * 2, step))
            tries[settled | failed] = 0
            ended = (passed >= window_s) | (step < _SHORTEST_S)
            are_fewer = np.count_nonzero(ended) > len(active) // 4
            if are_fewer:
                found[:, active] = safe
                keep = np.flatnonzero(~ended)
                active, part, safe, now = active[keep], part.take(keep), safe[:, keep], now[:, keep]
                passed, step, tries = passed[keep], step[keep], tries[keep]
            if not active.size:
                break
            if are_fewer or number % _SAME_CHARGES == 0:
                charges = self._capacitances(part, safe)
        found[:, active] = safe

    def _capacitances(self, system: System, unknowns: Array) -> dict[Place, Number]:
        """Of all devices, between unknowns that are free."""
        return {
            (row, column): value
            for (row, column), value in small_signals(system, unknowns).capacitance.items()
            if row not in self._fixed and column not in self._fixed
        }

    def _scatter(self, unknowns: Array, seed: int) -> None:
        """Free nodes are anywhere between the levels that sources hold; the same place for every design."""
        levels = unknowns[[each.node for each in self.network.held]]
        low, high = levels.min(axis=0, initial=0.0), levels.max(axis=0, initial=0.0)
        shares = np.random.default_rng(seed).uniform(size=(len(self._free_nodes), 1))
        unknowns[self._free_nodes] = low + shares * (high - low)

    def _newton(self, system: System, found: Array, reach_v: float, steps: int) -> Mask:
        """Newton's method alone; `found` ends where it does. True for designs that stand still."""
        converged = np.zeros(system.count, dtype=np.bool_)
        active, part, unknowns = np.arange(system.count), system, found.copy()
        for _ in range(steps):
            still = self.move(part, unknowns, reach_v) < CLOSE_V
            converged[active[still]] = True
            if still.all():
                break
            if np.count_nonzero(still) > len(active) // 4:
                found[:, active] = unknowns
                keep = np.flatnonzero(~still)
                active, part, unknowns = active[keep], part.take(keep), unknowns[:, keep]
        found[:, active] = unknowns
        return converged

    def _leak(self, system: System, found: Array) -> Mask:
        """Gmin stepping: `found` ends where fading leaks of nodes to it lead. True where that is an operating point.

        Every design fades at its own pace: after a quick success faster, after a failure slower, from where it was.
        """
        count, anchor = system.count, found.copy()
        leak, pace = np.full(count, _FIRST_S), np.full(count, _PACE)
        safe, safe_leak, tries = found.copy(), leak * _PACE, np.zeros(count, dtype=np.int64)
        ended, lost = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
        for _ in range(_LEAK_STEPS):
            moved = self.move(
                system, found, FARTHEST_V, _Leak({(row, row): leak for row in self._free_nodes}, anchor), ~ended
            )
            tries += 1
            settled = ~ended & (moved < np.where(leak > 0, _NEAR_V, CLOSE_V))
            ended |= settled & (leak == 0.0)
            stuck = ~ended & ~settled & (tries >= _TRIES)
            lost |= stuck & (pace < _SLOWEST)
            ended |= lost
            if ended.all():
                break
            safe[:, settled], safe_leak[settled] = found[:, settled], leak[settled]
            found[:, stuck] = safe[:, stuck]
            pace = np.where(settled & (tries <= _QUICK), pace * pace, np.where(stuck, np.sqrt(pace), pace))
            pace = np.minimum(pace, _PACE)
            leak = np.where(settled | stuck, safe_leak / pace, leak)
            leak = np.where(leak < _NONE_S, 0.0, leak)
            tries[settled | stuck] = 0
        return ended & ~lost

    def move(
        self,
        system: System,
        unknowns: Array,
        reach_v: float | Array,
        leak: _Leak | None = None,
        where: Mask | None = None,
        order: Elimination | None = None,
    ) -> Array:
        """The unknowns are a step of Newton's method further; how far a node wanted to go, in volts.

        No node goes farther than `reach_v`, and only designs of `where` move. `order` is for a leak whose conductances
        are elsewhere than the equations'.
        """
        assert self._order is not None, "solve plans first"
        rest, entries = self._linearised(system, unknowns)
        if leak is not None:
            for (row, column), conductance in leak.conductance.items():
                rest[row] += conductance * (unknowns[column] - leak.anchor[column])
                entries[row, column] = entries.get((row, column), 0.0) + conductance
        side = {row: -rest[row] for row in self._free}
        with np.errstate(all="ignore"):
            step = (order or self._order).solve(entries, [side])[0]
        change = np.empty((len(self._free), system.count))
        for place, row in enumerate(self._free):
            change[place] = step[row]
        nodes = change[: len(self._free_nodes)]
        nodes[~np.isfinite(nodes)] = np.inf
        farthest = np.abs(nodes).max(axis=0, initial=0.0)
        np.copyto(nodes, np.clip(nodes, -reach_v, reach_v), where=nodes != np.inf)
        change[~np.isfinite(change)] = 0.0
        unknowns[self._free] += change if where is None else np.where(where, change, 0.0)
        return np.asarray(farthest)

    def _linearised(self, system: System, unknowns: Array) -> tuple[Array, dict[Place, Number]]:
        """What is left over in every equation (and a row for the ground), and its slopes among the free unknowns."""
        rest = np.asarray(system.shared @ unknowns)
        for row, level in system.side(system.levels).items():
            rest[row] -= level
        entries: dict[Place, Number] = {}
        for (row, column), value in system.linear.items():
            if isinstance(value, np.ndarray):
                rest[row] += value * unknowns[column]
            if row not in self._fixed and column not in self._fixed:
                entries[row, column] = value
        self._add_transistors(system, unknowns, rest, entries)
        self._add_behavioural(system, unknowns, rest, entries)
        for nodes, found in junction_flows(system, unknowns):
            for first, row in enumerate(nodes):
                if row >= 0:
                    rest[row] += found.currents[first]
                for second, column in enumerate(nodes):
                    if row >= 0 and column >= 0 and row not in self._fixed and column not in self._fixed:
                        entries[row, column] = entries.get((row, column), 0.0) + found.slopes[first][second]
        for row, (current, slope) in beyond_reach(system, unknowns).items():
            rest[row] += current
            if row not in self._fixed:
                entries[row, row] = entries[row, row] + slope
        return rest, entries

    def _add_transistors(self, system: System, unknowns: Array, rest: Array, entries: dict[Place, Number]) -> None:
        if system.mos is None:
            return
        found = system.mos.currents(*terminal_voltages(system, unknowns))
        rest += self._channels @ np.concatenate([found.drain, found.bulk])
        places, stamps = self._stamps
        slopes = stamps @ np.concatenate([*found.drain_slopes, *found.bulk_slopes])
        for place, slope in zip(places, slopes, strict=True):
            entries[place] = entries.get(place, 0.0) + slope

    def _add_behavioural(self, system: System, unknowns: Array, rest: Array, entries: dict[Place, Number]) -> None:
        for element in self.network.behavioural:
            found = sloped(system, element, unknowns, is_search=element.letter == "bv")
            for row, sign in rows_of(self.network, element):
                rest[row] += sign * found.value
                for node, slope in found.slopes.items():
                    column = self.network.index[node]
                    if column >= 0 and row not in self._fixed and column not in self._fixed:
                        entries[row, column] = entries.get((row, column), 0.0) + sign * slope

    @cached_property
    def _channels(self) -> csr_array:
        """Unknown (and ground) x transistors' currents: those into the drains, then those into the bulks."""
        count = len(self.network.terminals)
        parts: dict[Place, float] = defaultdict(float)
        for number, (drain, _, low, bulk) in enumerate(self.network.terminals.tolist()):
            for row, sign, column in ((drain, 1, 0), (low, -1, 0), (bulk, 1, count), (low, -1, count)):
                parts[row % (len(self.network.names) + 1), number + column] += sign
        return sparse_of(parts, (len(self.network.names) + 1, 2 * count))

    @cached_property
    def _stamps(self) -> tuple[list[Place], csr_array]:
        """Places among the free unknowns, and place x transistors' slopes, in the order of `Currents`."""
        count = len(self.network.terminals)
        rows_at: dict[Place, int] = {}
        parts: dict[Place, float] = defaultdict(float)
        for number, nodes in enumerate(self.network.terminals.tolist()):
            drain, _, low, bulk = nodes
            for terminal, column in enumerate(nodes):
                for row, sign, is_bulk in ((drain, 1, 0), (low, -1, 0), (bulk, 1, 1), (low, -1, 1)):
                    is_there = row >= 0 and column >= 0 and row not in self._fixed and column not in self._fixed
                    if is_there and not (is_bulk and terminal == 1):
                        place = rows_at.setdefault((row, column), len(rows_at))
                        parts[place, (4 * is_bulk + terminal) * count + number] += sign
        return list(rows_at), sparse_of(parts, (len(rows_at), 8 * count))

    def hold(self, system: System, unknowns: Array) -> None:
        """Nodes that sources hold are where these hold them."""
        for each in self.network.held:
            unknowns[each.node] = unknowns[each.below] + each.sign * system.levels[each.source]

    def add_branch_currents(self, system: System, unknowns: Array) -> None:
        """The currents of the sources that hold nodes are what these nodes lack."""
        for each in self.network.held:
            unknowns[self.network.branch(each.source)] = 0.0
        rest, _ = self._linearised(system, unknowns)
        for each in reversed(self.network.held):
            current = -each.sign * rest[each.node]
            unknowns[self.network.branch(each.source)] = current
            if each.below >= 0:
                rest[each.below] -= each.sign * current


def _conduct(entries: dict[Place, Number], first: int, second: int, conductance: float) -> None:
    for row, column, sign in ((first, first, 1.0), (second, second, 1.0), (first, second, -1.0), (second, first, -1.0)):
        if row >= 0 and column >= 0:
            entries[row, column] = entries.get((row, column), 0.0) + sign * conductance
