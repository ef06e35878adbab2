"""What transistors and B sources are near given voltages: rows of currents, slopes, small signals, typical sizes.

Arrays of unknowns have a last row of zeros more than the network has unknowns: the ground.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.table_simulator.cards import Element
from app.table_simulator.devices import Channels
from app.table_simulator.elimination import Place
from app.table_simulator.expressions import Number, Sloped
from app.table_simulator.junctions import Flows, flows
from app.table_simulator.network import Network, System

Array = NDArray[np.float64]

#: How far beyond supply and ground terminals may be before a current of this curvature draws them back.
_BEYOND_V, _BEYOND_S_PER_V = 0.9, 1e-2

#: Conductances between drain, gate, source and bulk, and capacitances, of a transistor like any other.
_TYPICAL_S = {(0, 0): 2e-6, (0, 1): 1e-4, (0, 3): 2e-5, (3, 0): -1e-12, (3, 3): 2e-12}
_TYPICAL_F = {
    (0, 0): 5e-15, (0, 1): -4e-15, (0, 3): -2e-15, (1, 0): -2e-15, (1, 1): 2e-14, (1, 3): -3e-15,
    (3, 0): -1e-15, (3, 1): -1.5e-15, (3, 3): 1e-14,
}  # fmt: skip


#: Conductances between collector, base and emitter, and between anode and cathode, alike.
_TYPICAL_JUNCTION_S = {
    "q": ((3e-6, 2e-4, -2.03e-4), (-1e-8, 2e-6, -1.99e-6), (-2.99e-6, -2.02e-4, 2.0499e-4)),
    "d": ((1e-4, -1e-4), (-1e-4, 1e-4)),
}
_TYPICAL_JUNCTION_F = 1e-14

#: What linear elements have that differ from design to design.
_TYPICAL_LINEAR_S, _TYPICAL_LINEAR_F = 1e-4, 1e-12


def terminal_voltages(system: System, unknowns: Array) -> tuple[Array, Array, Array, Array]:
    """Drain, gate, source and bulk of every transistor, M x design each."""
    drain, gate, source, bulk = (unknowns[rows] for rows in system.network.terminals.T)
    return drain, gate, source, bulk


def rows_of(network: Network, element: Element) -> tuple[tuple[int, float], ...]:
    """The equations that a B source's value stands in, with its sign there."""
    if element.letter == "bv":
        return ((network.branch(element.name), -1.0),)
    rows = (network.index[node] for node in element.nodes)
    return tuple((row, sign) for row, sign in zip(rows, (1.0, -1.0), strict=True) if row >= 0)


def sloped(system: System, element: Element, unknowns: Array, *, is_search: bool = False) -> Sloped:
    """A B source's value, and its slopes by node; those of its chords where it saturates and a search asks for it."""
    index = system.network.index
    voltages = {node: unknowns[index[node]] for node in element.value.nodes}
    return element.value.sloped(system.parameters, voltages, with_chords=is_search)


def junction_flows(system: System, unknowns: Array) -> Iterator[tuple[list[int], Flows]]:
    """The unknowns at every bipolar transistor's or diode's terminals, and what flows there; like ones together."""
    for alike in system.network.junctions_alike:
        first, nodes = alike[0], np.array([[system.network.index[node] for node in each.nodes] for each in alike])
        areas = np.stack([np.broadcast_to(system.areas[each.name], (system.count,)) for each in alike])
        found = flows(first.kind, first.model, system.celsius, areas, [unknowns[rows] for rows in nodes.T])
        for number, places in enumerate(nodes.tolist()):
            yield places, found.of(number)


def beyond_reach(system: System, unknowns: Array) -> dict[int, tuple[Array, Array]]:
    """By node, the current to ground and its slope where transistors would be driven far beyond the rails.

    An ideal current source without a path drives its net to thousands of volts, where no table says what happens. Here
    a square law holds every terminal within a volt or two of the supply and of ground.
    """
    if system.mos is None:
        return {}
    found = {}
    high = _BEYOND_V + 1.1 * system.mos.lookup.tables.supply_v
    for node in system.network.reached:
        over = np.maximum(unknowns[node] - high, 0.0) + np.minimum(unknowns[node] + _BEYOND_V, 0.0)
        if over.any():
            found[node] = _BEYOND_S_PER_V * over * np.abs(over), 2 * _BEYOND_S_PER_V * np.abs(over)
    return found


@dataclass(frozen=True, eq=False)
class SmallSignals:
    """A system around its operating points: ``(conductance + j omega capacitance) x = side``.

    `facts` are `DEVICE_FACTS` of the transistors, M x design each; `channels` what makes noise in them, None
    where there are none.
    """

    conductance: Mapping[Place, Number]
    capacitance: Mapping[Place, Number]
    facts: Mapping[str, Array]
    channels: Channels | None


def small_signals(system: System, unknowns: Array) -> SmallSignals:
    """The small signals at operating points."""
    network = system.network
    conductance, capacitance = dict(system.linear), dict(system.reactive)
    facts: Mapping[str, Array] = {}
    channels = None
    if system.mos is not None:
        found = system.mos.small_signal(*terminal_voltages(system, unknowns))
        facts, channels = found.facts, found.channels
        for number, nodes in enumerate(network.terminals.tolist()):
            _stamp(conductance, nodes, [[entry[number] for entry in row] for row in found.conductance])
            _stamp(capacitance, nodes, [[entry[number] for entry in row] for row in found.capacitance])
    for nodes, at in junction_flows(system, unknowns):
        _stamp(conductance, nodes, at.slopes)
        _stamp(capacitance, nodes, at.capacitances)
    for node, (_, slope) in beyond_reach(system, unknowns).items():
        _stamp(conductance, [node], [[slope]])
    for element in network.behavioural:
        slopes = sloped(system, element, unknowns).slopes
        for row, sign in rows_of(network, element):
            for name, share in slopes.items():
                column = network.index[name]
                if column >= 0:
                    conductance[row, column] = conductance.get((row, column), 0.0) + sign * share
    return SmallSignals(conductance, capacitance, facts, channels)


def _stamp(matrix: dict[Place, Number], nodes: Sequence[int], block: Sequence[Sequence[Number]]) -> None:
    """A device's entries among its terminals are added; the ground has none."""
    for row, entries in zip(nodes, block, strict=True):
        for column, entry in zip(nodes, entries, strict=True):
            if row >= 0 and column >= 0:
                matrix[row, column] = matrix.get((row, column), 0.0) + entry


def typical_system(system: System, left_out: Collection[int], omega: float = 0.0) -> dict[Place, complex]:
    """One number for every entry that is ever there, to plan an elimination with.

    What designs have in common is as it is; what they differ in is like in any other circuit, so that the plan does not
    depend on the designs. Rows and columns of `left_out` are not there. No two numbers are alike: nothing cancels by
    chance.
    """
    network = system.network
    found: dict[Place, complex] = {}

    def add(row: int, column: int, value: complex) -> None:
        if row >= 0 and column >= 0 and row not in left_out and column not in left_out:
            found[row, column] = found.get((row, column), 0.0) + value

    for (row, column), number in system.linear.items():
        add(row, column, typical_number(number, _TYPICAL_LINEAR_S, (row, column)))
    for (row, column), number in system.reactive.items() if omega else ():
        add(row, column, 1j * omega * typical_number(number, _TYPICAL_LINEAR_F, (row, column)))
    for number, nodes in enumerate(network.terminals.tolist()):
        for table, factor in ((_TYPICAL_S, 1.0 + 0j), (_TYPICAL_F, 1j * omega))[: 2 if omega else 1]:
            for first, second, part in _closed(table):
                add(nodes[first], nodes[second], factor * _unlike(number) * part)
    for number, element in enumerate(network.junctions):
        places = [network.index[node] for node in element.nodes]
        for first, parts in enumerate(_TYPICAL_JUNCTION_S[element.letter]):
            for second, part in enumerate(parts):
                charge = 1j * omega * _TYPICAL_JUNCTION_F * (1.5 if first == second else -0.5)
                add(places[first], places[second], _unlike(number) * (part + charge))
    for element in network.behavioural:
        for row, sign in rows_of(network, element):
            for node in element.value.nodes:
                add(row, network.index[node], sign * 1e-4)
    return {place: value if omega else value.real for place, value in found.items()}


def typical_number(number: Number, size: float, place: Place) -> float:
    """The number that all designs have at a place, else one of about this size and of the first one's sign."""
    if not isinstance(number, np.ndarray):
        return float(number)
    row, column = place
    large = 3.0 if row == column else _unlike(31 * row + column)
    return large * (size if not number.size or number[0] >= 0 else -size)


def _unlike(number: int) -> float:
    """A factor near 1, another one for every number."""
    return 1.0 + 0.3 * ((0.618 * (number + 1)) % 1.0)


def _closed(table: Mapping[tuple[int, int], float]) -> list[tuple[int, int, float]]:
    """The entries of a matrix whose rows and columns sum to zero, with the source's."""
    matrix = np.zeros((4, 4))
    for place, value in table.items():
        matrix[place] = value
    matrix[:, 2] = -matrix.sum(axis=1)
    matrix[2] = -matrix[[0, 1, 3]].sum(axis=0)
    return [(int(row), int(column), float(matrix[row, column])) for row, column in np.argwhere(matrix != 0)]
