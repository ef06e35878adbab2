"""Coupling maps: which qubits of a machine may interact. Named maps for any number of qubits.

A map is the pairs of qubits on which gates may act, in both directions. Every named map is connected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

Pair: TypeAlias = tuple[int, int]
CouplingName: TypeAlias = Literal["line", "ring", "grid", "heavy_hex", "full"]


def _line(qubits: int) -> tuple[Pair, ...]:
    return tuple((qubit, qubit + 1) for qubit in range(qubits - 1))


def _ring(qubits: int) -> tuple[Pair, ...]:
    """The line with its ends joined, where that is a further pair."""
    return (*_line(qubits), *(((0, qubits - 1),) if qubits > 2 else ()))


def _grid(qubits: int) -> tuple[Pair, ...]:
    """Rows as even with the columns as can be, qubit 0 in a corner, numbered by row; the last row may be short.

    40 qubits have 5 rows of 8: of the widths that fill every row, one that is at most twice the height is taken.
    """
    columns = _grid_columns(qubits)
    along = ((qubit, qubit + 1) for qubit in range(qubits - 1) if (qubit + 1) % columns)
    across = ((qubit, qubit + columns) for qubit in range(qubits - columns))
    return tuple(sorted((*along, *across)))


def _grid_columns(qubits: int) -> int:
    least = math.isqrt(max(0, qubits - 1)) + 1
    full = (columns for columns in range(least, qubits + 1) if qubits % columns == 0 and columns**2 <= 2 * qubits)
    return next(full, least)


def _heavy_hex(qubits: int) -> tuple[Pair, ...]:
    """The qubits nearest the middle of the smallest heavy-hexagon device that has as many, numbered by row.

    Devices are rows of 4k + 3 qubits, 2k + 1 of them, of which the first and the last lack one; each row is joined to
    the next by k + 1 bridges, four columns apart and two columns off those of the next row. They have 23, 65, 127, ...
    qubits: 65 and 127 are the maps of machines that were built.

    Reference:
        [chamberland2020topological] §II: the heavy-hexagon lattice.
    """
    size = 1
    while len(device := _heavy_hex_device(size)) < qubits:
        size += 1
    near = _nearest(device, len(device) // 2, qubits)
    number = {qubit: place for place, qubit in enumerate(sorted(near))}
    return tuple(
        (number[first], number[second])
        for first in sorted(near)
        for second in sorted(device[first])
        if first < second and second in near
    )


def _heavy_hex_device(size: int) -> dict[int, set[int]]:
    """Qubit -> its neighbours, numbered by row, each row's bridges to the next one after it."""
    rows, columns = 2 * size + 1, 4 * size + 3
    number: dict[Pair, int] = {}
    for row in range(rows):
        for column in range(row == rows - 1, columns - (row == 0)):
            number[2 * row, column] = len(number)
        for column in range(2 * (row % 2), columns, 4) if row < rows - 1 else ():
            number[2 * row + 1, column] = len(number)
    neighbours: dict[int, set[int]] = {qubit: set() for qubit in number.values()}
    for (row, column), qubit in number.items():
        places = ((row + 1, column), (row, column + 1)) if row % 2 == 0 else ((row + 1, column),)
        for place in places:
            if place in number:
                neighbours[qubit].add(number[place])
                neighbours[number[place]].add(qubit)
    return neighbours


def _nearest(neighbours: Mapping[int, Iterable[int]], start: int, count: int) -> set[int]:
    """`count` qubits, each joined to `start` through others of them, nearest first."""
    order = [start]
    seen = {start}
    for qubit in order:
        for other in sorted(neighbours[qubit]):
            if other not in seen:
                seen.add(other)
                order.append(other)
    return set(order[:count])


def _full(qubits: int) -> tuple[Pair, ...]:
    return tuple((first, second) for second in range(qubits) for first in range(second))


_MAPS: Final[Mapping[CouplingName, Callable[[int], tuple[Pair, ...]]]] = MappingProxyType(
    {"line": _line, "ring": _ring, "grid": _grid, "heavy_hex": _heavy_hex, "full": _full}
)

#: Every name that `coupling_map` knows.
COUPLING_NAMES: Final[tuple[CouplingName, ...]] = tuple(_MAPS)


def coupling_map(name: CouplingName, qubits: int) -> tuple[Pair, ...]:
    """The pairs of the named map over qubits 0 to `qubits` - 1, the lower qubit first; none for a single qubit."""
    return _MAPS[name](qubits)


def islands(pairs: Iterable[Pair], qubits: int) -> list[list[int]]:
    """Qubits 0 to `qubits` - 1 in groups that the pairs join, each in order; one group where the map is connected."""
    neighbours: dict[int, set[int]] = {qubit: set() for qubit in range(qubits)}
    for first, second in pairs:
        neighbours[first].add(second)
        neighbours[second].add(first)
    left, groups = set(neighbours), []
    while left:
        group = _nearest(neighbours, min(left), qubits)
        groups.append(sorted(group))
        left -= group
    return groups
