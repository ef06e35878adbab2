"""A deck's elements as equations of modified nodal analysis [ho1975modified], for a batch of designs. Solves nothing.

Unknowns are the voltages of nodes and the currents of branches (voltage sources, inductors). The equation of a node
says that the currents leaving it sum to zero; that of a branch what its voltage is. A current through a source is
counted from its first net to its second, as in SPICE.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from app.errors import InvalidRequest
from app.table_simulator.cards import DeckCards, Element
from app.table_simulator.devices import MosGroup, MosLookup
from app.table_simulator.elimination import Place
from app.table_simulator.expressions import Expression, Number

Array = NDArray[np.float64]

Key = TypeVar("Key")

GROUND = "0"

#: Position of the ground in terminals: the row of zeros behind all unknowns.
_GROUNDED = -1

_WITH_BRANCH = frozenset({"v", "e", "h", "l", "bv"})

#: From every node to ground, so that a net that only gates hold has a voltage.
SHUNT_S = 1e-15


@dataclass(frozen=True)
class Held:
    """A node whose voltage a chain of sources sets: `sign` times the source's level above `below`."""

    node: int
    below: int
    source: str
    sign: float


@dataclass(frozen=True)
class Network:
    """The unknowns of a deck, and what is connected where. `names` are nodes, then branches (``v_vdd#branch``)."""

    cards: DeckCards
    names: tuple[str, ...]
    node_count: int

    @classmethod
    def of(cls, cards: DeckCards) -> Network:
        """The network of these elements."""
        nodes = dict.fromkeys(node for each in cards.elements for node in _touched(each) if node != GROUND)
        branches = [f"{each.name}#branch" for each in cards.elements if each.letter in _WITH_BRANCH]
        return cls(cards, (*nodes, *branches), len(nodes))

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Position of an unknown; the ground's is -1."""
        return {GROUND: _GROUNDED} | {name: index for index, name in enumerate(self.names)}

    def branch(self, name: str) -> int:
        """The current through a source or inductor."""
        place = self.index.get(f"{name}#branch")
        if place is None:
            raise InvalidRequest(f"the table simulator knows no current through {name}")
        return place

    @cached_property
    def transistors(self) -> tuple[Element, ...]:
        """The MOS."""
        return tuple(each for each in self.cards.elements if each.letter == "m")

    @cached_property
    def terminals(self) -> NDArray[np.intp]:
        """Unknowns at drain, gate, source and bulk: M x 4."""
        rows = [[self.index[node] for node in each.nodes] for each in self.transistors]
        return np.array(rows, dtype=np.intp).reshape(-1, 4)

    @cached_property
    def junctions(self) -> tuple[Element, ...]:
        """Bipolar transistors and diodes."""
        return tuple(each for each in self.cards.elements if each.letter in "qd")

    @cached_property
    def junctions_alike(self) -> tuple[tuple[Element, ...], ...]:
        """The same, those of one kind and model together."""
        found: dict[tuple[object, ...], list[Element]] = {}
        for each in self.junctions:
            found.setdefault((each.kind, *sorted(each.model.items())), []).append(each)
        return tuple(map(tuple, found.values()))

    @cached_property
    def reached(self) -> tuple[int, ...]:
        """Nodes at drains, gates and sources that no source holds."""
        held = {each.node for each in self.held}
        return tuple(node for node in sorted(set(self.terminals[:, :3].ravel().tolist()) - held) if node >= 0)

    @cached_property
    def behavioural(self) -> tuple[Element, ...]:
        """The B sources."""
        return tuple(each for each in self.cards.elements if each.letter.startswith("b"))

    @cached_property
    def held(self) -> tuple[Held, ...]:
        """Nodes that voltage sources hold, nearest to ground first; not those whose current another element reads."""
        sensed = {each.control for each in self.cards.elements}
        waiting = [each for each in self.cards.elements if each.letter == "v" and each.name not in sensed]
        known, found = {_GROUNDED}, []
        grows = True
        while grows:
            grows = False
            for source in tuple(waiting):
                first, second = (self.index[node] for node in source.nodes)
                if (first in known) != (second in known):
                    node, below, sign = (first, second, 1.0) if second in known else (second, first, -1.0)
                    found.append(Held(node, below, source.name, sign))
                    known.add(node)
                    waiting.remove(source)
                    grows = True
        return tuple(found)

    def system(self, parameters: Mapping[str, Number], lookup: MosLookup, count: int) -> System:
        """The equations of `count` designs; parameters are numbers or arrays of one a design."""
        builder = _Builder(self, parameters)
        group = None
        if self.transistors:
            sizes = {
                size: np.stack([_column(each.sizes[size].value(parameters), count) for each in self.transistors])
                for size in ("width_m", "length_m", "multiplier")
            }
            group = lookup.group([each.kind for each in self.transistors], **sizes)
        return System(
            network=self,
            count=count,
            parameters=parameters,
            linear=builder.linear,
            shared=sparse_of(
                {place: value for place, value in builder.linear.items() if not isinstance(value, np.ndarray)},
                (len(self.names) + 1, len(self.names) + 1),
            ),
            reactive=builder.reactive,
            sources=builder.sources,
            levels={each.name: each.value.value(parameters) for each in builder.with_level},
            amplitudes={each.name: each.ac.value(parameters) for each in builder.with_level},
            mos=group,
            areas={each.name: each.sizes["area"].value(parameters) for each in self.junctions},
            celsius=lookup.tables.celsius,
        )

    def guesses(self, expressions: Mapping[str, Expression], parameters: Mapping[str, Number]) -> dict[int, Number]:
        """Levels of nodes by unknown."""
        return {self.index[node]: level.value(parameters) for node, level in expressions.items() if node in self.index}


@dataclass(frozen=True, eq=False)
class System:
    """The equations of a batch of designs: ``linear x + reactive dx/dt + i(x) = sources``.

    `shared` holds the entries of `linear` that all designs have in common, with a row and a column for the ground.
    `sources` says by source which rows its level goes into, with which sign; `levels` and `amplitudes` are by source,
    `areas` by bipolar transistor or diode.
    """

    network: Network
    count: int
    parameters: Mapping[str, Number]
    linear: Mapping[Place, Number]
    shared: csr_array
    reactive: Mapping[Place, Number]
    sources: Mapping[str, tuple[tuple[int, float], ...]]
    levels: Mapping[str, Number]
    amplitudes: Mapping[str, Number]
    mos: MosGroup | None
    areas: Mapping[str, Number]
    celsius: float

    def take(self, designs: NDArray[np.intp]) -> System:
        """Only these designs."""
        return replace(
            self,
            count=len(designs),
            parameters=_taken(self.parameters, designs),
            linear=_taken(self.linear, designs),
            reactive=_taken(self.reactive, designs),
            levels=_taken(self.levels, designs),
            amplitudes=_taken(self.amplitudes, designs),
            mos=None if self.mos is None else self.mos.take(designs),
            areas=_taken(self.areas, designs),
        )

    def altered(self, levels: Mapping[str, Number], amplitudes: Mapping[str, Number]) -> System:
        """With other levels and amplitudes of these sources. Raises InvalidRequest for a source that there is not."""
        for name in (*levels, *amplitudes):
            if name not in self.levels:
                raise InvalidRequest(f"the deck has no source {name} to alter")
        return replace(self, levels={**self.levels, **levels}, amplitudes={**self.amplitudes, **amplitudes})

    def side(self, levels: Mapping[str, Number]) -> dict[int, Number]:
        """The right-hand side of these levels by row; rows of zeros are left out."""
        found: dict[int, Number] = {}
        for name, level in levels.items():
            if isinstance(level, float) and level == 0.0:
                continue
            for row, sign in self.sources[name]:
                found[row] = found.get(row, 0.0) + sign * level
        return found


@dataclass
class _Builder:
    """The linear part of a network with the parameters' values."""

    network: Network
    parameters: Mapping[str, Number]
    linear: dict[Place, Number] = field(default_factory=dict)
    reactive: dict[Place, Number] = field(default_factory=dict)
    sources: dict[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    with_level: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Every element but transistors and B sources stands in the matrices."""
        for node in range(self.network.node_count):
            self._add(self.linear, node, node, SHUNT_S)
        for element in self.network.cards.elements:
            if element.letter not in "mqd":
                self._place(element)

    def _place(self, element: Element) -> None:
        index, letter = self.network.index, element.letter
        first, second, *controls = (index[node] for node in element.nodes)
        if letter in _WITH_BRANCH:
            branch = self.network.branch(element.name)
            for node, sign in ((first, 1.0), (second, -1.0)):
                self._add(self.linear, node, branch, sign)
                self._add(self.linear, branch, node, sign)
        value = self._value(element)
        if letter == "r":
            self._between(self.linear, first, second, 1.0 / value)
        elif letter == "c":
            self._between(self.reactive, first, second, value)
        elif letter == "l":
            self._add(self.reactive, branch, branch, -value)
        elif letter == "v":
            self._source(element, ((branch, 1.0),))
        elif letter == "i":
            self._source(element, tuple((row, sign) for row, sign in ((first, -1.0), (second, 1.0)) if row >= 0))
        elif letter == "e":
            for node, sign in zip(controls, (-1.0, 1.0), strict=True):
                self._add(self.linear, branch, node, sign * value)
        elif letter == "g":
            for row, out in ((first, 1.0), (second, -1.0)):
                for node, sign in zip(controls, (1.0, -1.0), strict=True):
                    self._add(self.linear, row, node, out * sign * value)
        elif letter == "h":
            self._add(self.linear, branch, self.network.branch(element.control), -value)
        elif letter == "f":
            for row, out in ((first, 1.0), (second, -1.0)):
                self._add(self.linear, row, self.network.branch(element.control), out * value)

    def _value(self, element: Element) -> Number:
        return 0.0 if element.letter.startswith("b") else element.value.value(self.parameters)

    def _source(self, element: Element, rows: tuple[tuple[int, float], ...]) -> None:
        self.sources[element.name] = rows
        self.with_level.append(element)

    def _between(self, matrix: dict[Place, Number], first: int, second: int, value: Number) -> None:
        for row, column in ((first, second), (second, first)):
            self._add(matrix, row, row, value)
            self._add(matrix, row, column, -value)

    @staticmethod
    def _add(matrix: dict[Place, Number], row: int, column: int, value: Number) -> None:
        if row >= 0 and column >= 0:
            matrix[row, column] = matrix.get((row, column), 0.0) + value


def sparse_of(entries: Mapping[Place, float], shape: tuple[int, int]) -> csr_array:
    """The matrix with these entries. BLAS would wait for threads over products as small as a circuit's."""
    rows, columns = [row for row, _ in entries], [column for _, column in entries]
    return csr_array((np.array(list(entries.values()), dtype=np.float64), (rows, columns)), shape=shape)


def _touched(element: Element) -> Iterable[str]:
    yield from element.nodes
    if element.letter.startswith("b"):
        yield from element.value.nodes


def _column(value: Number, count: int) -> Array:
    return np.broadcast_to(np.asarray(value, dtype=np.float64), (count,))


def _taken(numbers: Mapping[Key, Number], designs: NDArray[np.intp]) -> dict[Key, Number]:
    return {key: value[designs] if isinstance(value, np.ndarray) else value for key, value in numbers.items()}
