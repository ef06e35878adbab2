"""The cards of a setup's deck as values: what ngspice would read, read here. Knows no numbers of a sizing.

Decks are written by this project (`app.testbenches._simulator.Bench.deck_template`), so cards have the form that it
writes; what it does not write is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from app.errors import InvalidRequest
from app.table_simulator.expressions import Expression, parse_expression
from app.technologies._base import DeviceModels
from app.units import parse_spice_number

#: Nets that a card of a letter names, its own first, then those that control it.
_NETS = {"r": 2, "c": 2, "l": 2, "v": 2, "i": 2, "b": 2, "e": 4, "g": 4, "h": 2, "f": 2, "m": 4, "q": 3, "d": 2}

_ZERO = parse_expression("0")
_ONE = parse_expression("1")


@dataclass(frozen=True)
class Element:
    """One element.

    `letter` is its card's; of a B source it says what is given: ``bv`` a voltage, ``bi`` a current. `value` is
    resistance, gain, or the direct level of a source; `ac` its amplitude. `control` names the source whose current an H
    or F card takes. Transistors and diodes have a device `kind` and `sizes`, bipolar ones and diodes the numbers of
    their `model`.
    """

    name: str
    letter: str
    nodes: tuple[str, ...]
    value: Expression = _ZERO
    ac: Expression = _ZERO
    kind: str = ""
    model: Mapping[str, float] = field(default_factory=dict)
    control: str = ""
    sizes: Mapping[str, Expression] = field(default_factory=dict)


@dataclass(frozen=True)
class DeckCards:
    """The elements of a deck, and where its nodes are when the search for the operating point starts.

    `nodesets` are guesses; `initial` the levels that a transient starts from.
    """

    elements: tuple[Element, ...]
    nodesets: Mapping[str, Expression]
    initial: Mapping[str, Expression]


def read_cards(deck: str, models: DeviceModels) -> DeckCards:
    """What the deck's element cards, ``.nodeset`` and ``.ic`` say.

    Raises:
        InvalidRequest: a block (a card X), a model of a kind that has no equations here, or a card that is not known.
    """
    kind_of = {model.name.lower(): kind for kind, model in models.mos.items()}
    kind_of |= {name.lower(): kind for kind, name in models.names.items()}
    elements: list[Element] = []
    guesses: dict[str, dict[str, Expression]] = {".nodeset": {}, ".ic": {}}
    for line in _lines(deck):
        words = line.split()
        if words[0] in guesses:
            for word in words[1:]:
                node, _, level = word.partition("=")
                guesses[words[0]][node[2:-1]] = parse_expression(level)
        elif not words[0].startswith("."):
            elements += _elements(words, kind_of, models)
    return DeckCards(tuple(elements), guesses[".nodeset"], guesses[".ic"])


def _lines(deck: str) -> Iterator[str]:
    """Logical lines in lower case, without the title, comments and sub-circuits."""
    joined: list[str] = []
    for line in deck.lower().splitlines()[1:]:
        if line.startswith("+") and joined:
            joined[-1] += " " + line[1:]
        elif line.strip() and not line.startswith("*"):
            joined.append(line)
    depth = 0
    for line in joined:
        word = line.split()[0]
        depth += word == ".subckt"
        if not depth:
            yield line
        depth -= word == ".ends"


def _elements(words: list[str], kind_of: Mapping[str, str], models: DeviceModels) -> list[Element]:
    name, letter = words[0], words[0][0]
    if letter not in _NETS:
        what = "blocks" if letter == "x" else f"cards {letter.upper()}"
        raise InvalidRequest(f"the table simulator has no equations for {what} ({name})", pointer="/netlist")
    nodes, rest = tuple(words[1 : 1 + _NETS[letter]]), words[1 + _NETS[letter] :]
    if letter in "mqd":
        device = _device(name, letter, nodes, rest, kind_of)
        return [device] if letter == "m" else _with_resistances(replace(device, model=_numbers(models, rest[0])))
    if letter in "vi":
        level, amplitude = _source(rest)
        return [Element(name, letter, nodes, level, amplitude)]
    if letter == "b":
        what, _, expression = "".join(rest).partition("=")
        return [Element(name, letter + what, nodes, parse_expression(expression))]
    if letter in "hf":
        return [Element(name, letter, nodes, parse_expression(rest[1]), control=rest[0])]
    return [Element(name, letter, nodes, parse_expression(rest[0]))]


def _numbers(models: DeviceModels, name: str) -> dict[str, float]:
    """The parameters of a ``.model`` card, by name in lower case."""
    card = next(text for own, text in models.cards.items() if own.lower() == name)
    pairs = (word.split("=", 1) for word in card.lower().replace("+", " ").split() if "=" in word)
    return {key: parse_spice_number(value) for key, value in pairs}


def _with_resistances(device: Element) -> list[Element]:
    """The device between nodes of its own, and its series resistances, which fall with its area."""
    names = ("rs",) if device.letter == "d" else ("rc", "rb", "re")
    nodes, parts = list(device.nodes), []
    for place, name in enumerate(names):
        ohm = device.model.get(name, 0.0)
        if ohm > 0:
            inner = f"{device.name}#{name}"
            value = parse_expression(f"{ohm!r}/({device.sizes['area'].text})")
            parts.append(Element(inner, "r", (nodes[place], inner), value))
            nodes[place] = inner
    return [replace(device, nodes=tuple(nodes)), *parts]


def _device(name: str, letter: str, nodes: tuple[str, ...], rest: list[str], kind_of: Mapping[str, str]) -> Element:
    kind = kind_of.get(rest[0])
    if kind is None:
        raise InvalidRequest(f"the table simulator has no equations for the model {rest[0]!r}", pointer="/netlist")
    given = dict(word.split("=", 1) for word in rest[1:])
    wanted = {"w": "width_m", "l": "length_m", "m": "multiplier"} if letter == "m" else {"area": "area"}
    sizes = {size: parse_expression(given[key]) if key in given else _ONE for key, size in wanted.items()}
    return Element(name, letter, nodes, kind=kind, sizes=sizes)


def _source(rest: list[str]) -> tuple[Expression, Expression]:
    """Direct level and amplitude; what a transient would do is left out."""
    level, amplitude = _ZERO, _ZERO
    index = 0
    while index < len(rest):
        word = rest[index]
        if word in ("dc", "ac"):
            value = parse_expression(rest[index + 1])
            level, amplitude = (value, amplitude) if word == "dc" else (level, value)
            index += 2
        elif "(" in word and not word.startswith("{"):
            break
        else:
            level = parse_expression(word)
            index += 1
    return level, amplitude
