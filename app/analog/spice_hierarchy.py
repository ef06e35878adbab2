"""Sub-circuits and scopes: sorts a text's cards into definitions and circuit, and flattens the circuit into a netlist.

Names that come out hold capital letters, digits and underscores only, whatever went in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from app.analog.kinds import SUPPLY_NETS
from app.analog.netlist import Device, Netlist, port_role
from app.analog.spice_cards import Call, CardReader, Element, Item, Source, read_model, read_pairs
from app.analog.spice_lines import Card, SpiceLimits, SpiceText, Token, check_characters, check_word
from app.errors import LimitExceeded, SpiceSyntaxError

_GROUND = "VSS"

#: Names of SPICE's node 0 and of supplies in other hands -> ours.
_NET_SPELLINGS = {"0": _GROUND, "GND": _GROUND, "GND!": _GROUND, "VSS!": _GROUND, "VDD!": "VDD"}

#: Nets that every sub-circuit shares without being told: SPICE's ground.
_ALWAYS_GLOBAL = frozenset({"0", "GND", "GND!"})

_TESTBENCH = "it belongs to a testbench, which is written by the service; remove it"
_FILES = "files are not read; paste what it holds"
_REFUSED_DOTS = {
    ".CONTROL": "simulator commands are never run; remove the block",
    ".ENDC": "simulator commands are never run; remove the block",
    ".INCLUDE": _FILES,
    ".INC": _FILES,
    ".LIB": _FILES,
    ".ENDL": _FILES,
    ".FUNC": "functions are not accepted, write the numbers",
    ".IF": "conditions are not accepted",
    ".CSPARAM": "simulator variables are not accepted",
    **dict.fromkeys(
        (".TRAN", ".AC", ".DC", ".TF", ".NOISE", ".PZ", ".SENS", ".FOUR", ".DISTO", ".SP", ".PRINT", ".PLOT", ".PROBE",
         ".SAVE", ".MEAS", ".MEASURE", ".IC", ".NODESET", ".TEMP", ".STEP", ".WIDTH"),
        _TESTBENCH,
    ),
}  # fmt: skip

#: Simulator options that a text may carry; they are left out, so that our own decks can be read.
_OPTIONS = frozenset({"TEMP", "TNOM", "RELTOL", "ABSTOL", "VNTOL", "GMIN", "ITL1", "ITL2", "ITL4", "ITL5"})

_CARD_NAME = re.compile(r"[A-Z]{1,2}[0-9]+")
_FOREIGN = re.compile(r"[^A-Z0-9_]")


@dataclass(frozen=True)
class Subckt:
    """A sub-circuit: its ports in upper case and its items."""

    name: str
    ports: tuple[str, ...]
    items: tuple[Item, ...]
    card: Card


@dataclass
class Circuit:
    """A text, sorted: the items of the top level, the definitions, and what was left out."""

    items: tuple[Item, ...]
    subckts: Mapping[str, Subckt]
    global_nets: frozenset[str]
    left_out: dict[str, list[str]]


def sort_cards(text: SpiceText, limits: SpiceLimits) -> Circuit:
    """Read every card into the scope it stands in.

    Raises:
        SpiceSyntaxError: A card outside the accepted grammar.
        LimitExceeded: More device cards than accepted.
    """
    scopes = _Scopes()
    for card in text.cards:
        scopes.take(card)
    scopes.finish()
    count = sum(len(cards) for cards in scopes.elements.values())
    if count > limits.devices:
        raise LimitExceeded("the number of device cards", count, limits.devices)
    reader = CardReader(
        scopes.models,
        scopes.numbers,
        {name: len(ports) for name, (ports, _) in scopes.headers.items()},
        scopes.left_out,
    )
    items = {scope: tuple(_read_scope(reader, cards, text.title)) for scope, cards in scopes.elements.items()}
    subckts = {name: Subckt(name, ports, items[name], card) for name, (ports, card) in scopes.headers.items()}
    return Circuit(items[None], subckts, frozenset(scopes.global_nets) | _ALWAYS_GLOBAL, scopes.left_out)


@dataclass
class _Scopes:
    """The first pass: dot cards are understood, element cards are put aside by scope (None is the top level)."""

    elements: dict[str | None, list[Card]] = field(default_factory=lambda: {None: []})
    headers: dict[str, tuple[tuple[str, ...], Card]] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    global_nets: set[str] = field(default_factory=set)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    scope: str | None = None
    ended: bool = False

    def take(self, card: Card) -> None:
        """Put one card where it belongs."""
        if self.ended:
            raise card.error("text after .end; one netlist at a time")
        if not card.word.startswith("."):
            self.elements[self.scope].append(card)
            return
        if card.word == ".TITLE":
            return
        check_characters(card)
        match card.word:
            case ".SUBCKT":
                self._open(card)
            case ".ENDS":
                self._close(card)
            case ".MODEL":
                self._model(card)
            case ".PARAM":
                self._param(card)
            case ".GLOBAL":
                self.global_nets.update(token.text.upper() for token in card.tokens[1:])
            case ".END":
                self.ended = True
            case ".OPTIONS" | ".OPTION":
                self._options(card)
            case ".OP":
                if len(card.tokens) > 1:
                    raise card.tokens[1].error(".op stands alone")
            case _:
                why = _REFUSED_DOTS.get(card.word, "known: .subckt .ends .model .param .global .op .title .end")
                raise card.error(f"{card.tokens[0].text[:40]} is not accepted: {why}")

    def _open(self, card: Card) -> None:
        if self.scope is not None:
            raise card.error(f".subckt inside the sub-circuit {self.scope}; close that one with .ends first")
        if len(card.tokens) < 2:
            raise card.error(".subckt needs a name")
        for token in card.tokens[1:]:
            if token.text in ("=", "(", ")", ","):
                raise token.error("parameters of a sub-circuit are not accepted, write the numbers into it")
        name, *ports = (token.text.upper() for token in card.tokens[1:])
        if name in self.headers:
            raise card.error(f"a second sub-circuit named {name[:40]}")
        if len(set(ports)) != len(ports):
            raise card.error(f"the sub-circuit {name[:40]} has the same port twice")
        self.headers[name] = (tuple(ports), card)
        self.elements[name] = []
        self.scope = name

    def _close(self, card: Card) -> None:
        if self.scope is None:
            raise card.error(".ends without .subckt")
        if len(card.tokens) > 1 and card.tokens[1].text.upper() != self.scope:
            raise card.tokens[1].error(
                f".ends names {card.tokens[1].text[:40]}, the open sub-circuit is {self.scope[:40]}"
            )
        self.scope = None

    def _model(self, card: Card) -> None:
        name, kind = read_model(card)
        if self.models.setdefault(name, kind) != kind:
            raise card.error(f"model {name[:40]} is {self.models[name]} above and {kind} here")
        self.left_out.setdefault("model_left_out", []).append(name)

    def _param(self, card: Card) -> None:
        if self.scope is not None:
            raise card.error(".param inside a sub-circuit is not accepted, move it to the top")
        for name, value in read_pairs(card, "such as .param w=2u"):
            if name.text.upper() in self.numbers:
                raise name.error(f".param {name.text[:40]} is given twice")
            self.numbers[name.text.upper()] = value

    def _options(self, card: Card) -> None:
        for name, _ in read_pairs(card, "such as .options temp=27"):
            if name.text.upper() not in _OPTIONS:
                known = " ".join(sorted(_OPTIONS)).lower()
                raise name.error(f"the option {name.text[:40]} is not accepted; known: {known}")
            self.left_out.setdefault("option_left_out", []).append(name.text.lower())

    def finish(self) -> None:
        """Every sub-circuit is closed, else SpiceSyntaxError."""
        if self.scope is not None:
            raise self.headers[self.scope][1].error(f"the sub-circuit {self.scope[:40]} is not closed by .ends")


def _read_scope(reader: CardReader, cards: Sequence[Card], title: Card | None) -> Iterator[Item]:
    first_line: dict[str, int] = {}
    for card in cards:
        if card is title and _is_title(card, reader):
            reader.left_out.setdefault("title_left_out", []).append(f"line {card.line}")
            continue
        check_characters(card)
        item = reader.read(card)
        if item.name in first_line:
            raise card.error(f"a second device named {item.name[:40]}, the first is on line {first_line[item.name]}")
        first_line[item.name] = card.line
        yield item


def _is_title(card: Card, reader: CardReader) -> bool:
    """True for a first line that is prose: it reads as no card, and its first word is no plain name such as R1.

    "RC low pass" would read as a resistor without a value, hence the look at the number of words.
    """
    if _CARD_NAME.fullmatch(card.word):
        return False
    if card.word[0] in "RCLVI" and len(card.tokens) == 3:
        return True
    try:
        check_characters(card)
        CardReader(reader.models, reader.numbers, reader.subckts).read(card)
    except SpiceSyntaxError:
        return True
    return False


def flatten(circuit: Circuit, declared: Sequence[Token] | None, limits: SpiceLimits) -> Netlist:
    """One flat netlist of the circuit; without top-level devices, of the sub-circuit that no other one calls.

    Args:
        circuit: What `sort_cards` gave.
        declared: The names of the ports comment. Without one, supplies, nets with a port's name, nets that a source
            drives and, where a sub-circuit is the circuit, its ports become ports.
        limits: Bounds on depth and size.

    Raises:
        SpiceSyntaxError: No device at all, or a sub-circuit that calls itself.
        LimitExceeded: Deeper or larger than the limits.
    """
    items = circuit.items
    top_ports: tuple[str, ...] = ()
    if not any(isinstance(item, Element | Call) for item in items) and circuit.subckts:
        top = _only_root(circuit)
        items, top_ports = top.items, top.ports
        circuit.left_out.setdefault("subckt_is_circuit", []).append(top.name)
    _check_expansion(circuit, items, limits)
    flat = _Flat(circuit)
    flat.place(items, path=(), outer={})
    if not flat.elements:
        raise SpiceSyntaxError("the text holds no device", line=1)
    return flat.netlist(top_ports, declared, limits)


def _only_root(circuit: Circuit) -> Subckt:
    called = {item.subckt for subckt in circuit.subckts.values() for item in subckt.items if isinstance(item, Call)}
    roots = [subckt for name, subckt in circuit.subckts.items() if name not in called]
    if len(roots) == 1:
        return roots[0]
    first = next(iter(circuit.subckts.values()))
    names = ", ".join(sorted(circuit.subckts)[:4])
    raise first.card.error(f"no device outside the sub-circuits ({names}); call the one that is meant with an X card")


def _check_expansion(circuit: Circuit, items: Sequence[Item], limits: SpiceLimits) -> None:
    """The flat circuit stays within the limits; found by counting, before anything is expanded."""
    known: dict[str, tuple[int, int]] = {}

    def size(items: Sequence[Item], above: tuple[str, ...]) -> tuple[int, int]:
        devices, depth = 0, 0
        for item in items:
            devices += 1  # sources and calls too: what is expanded is bounded, not only what remains
            if isinstance(item, Call):
                if item.subckt in above:
                    raise item.card.error(f"the sub-circuit {item.subckt[:40]} contains itself")
                if len(above) >= limits.subckt_depth:
                    raise LimitExceeded("the depth of sub-circuits", len(above) + 1, limits.subckt_depth)
                if item.subckt not in known:
                    known[item.subckt] = size(circuit.subckts[item.subckt].items, (*above, item.subckt))
                inner, inner_depth = known[item.subckt]
                devices += inner
                depth = max(depth, inner_depth + 1)
        if len(above) + depth > limits.subckt_depth:
            raise LimitExceeded("the depth of sub-circuits", len(above) + depth, limits.subckt_depth)
        return devices, depth

    devices, _ = size(items, ())
    if devices > limits.expanded_devices:
        raise LimitExceeded("the number of devices after flattening", devices, limits.expanded_devices)


#: A name in its place: the instances it lies in, outermost first, and the name itself.
_Place = tuple[tuple[str, ...], str]


class _Names:
    """Gives every place a name of its own; names at the top level keep theirs where two want the same."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}
        self.changed: list[str] = []

    def give(self, wishes: Mapping[_Place, str]) -> dict[_Place, str]:
        """Place -> name, near the name wished for; shortest paths choose first."""
        names: dict[_Place, str] = {}
        for place in sorted(wishes, key=lambda place: len(place[0])):
            path, name = place
            names[place] = self._free(_FOREIGN.sub("_", "_".join((wishes[place], *path))))
            if not path and names[place] != name:
                self.changed.append(name)
        return names

    def _free(self, wanted: str) -> str:
        name = wanted
        while name in self._taken:
            self._taken[wanted] += 1
            name = f"{wanted}_{self._taken[wanted]}"
        self._taken[name] = 1
        return name


class _Flat:
    """The expanded circuit, devices and nets still by place."""

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit
        self.elements: list[tuple[tuple[str, ...], Element, tuple[_Place, ...]]] = []
        self.driven: list[_Place] = []
        self._rail_spellings: set[str] = set()

    def place(self, items: Sequence[Item], path: tuple[str, ...], outer: Mapping[str, _Place]) -> None:
        """Add a scope's items; `outer` maps the scope's ports to the nets they are joined to."""
        for item in items:
            nets = tuple(self._net(net, path, outer) for net in item.nets)
            if isinstance(item, Element):
                self.elements.append((path, item, nets))
            elif isinstance(item, Source):
                self.driven += nets
            else:
                subckt = self._circuit.subckts[item.subckt]
                self.place(subckt.items, (*path, item.name), dict(zip(subckt.ports, nets, strict=True)))

    def _net(self, net: str, path: tuple[str, ...], outer: Mapping[str, _Place]) -> _Place:
        if net in outer and net not in _ALWAYS_GLOBAL:
            return outer[net]
        if not path or net in self._circuit.global_nets:
            return (), self._top_name(net)
        return path, net

    def _top_name(self, net: str) -> str:
        name = _NET_SPELLINGS.get(net, net)
        if name == _GROUND:
            self._rail_spellings.add("0" if net in _ALWAYS_GLOBAL else "VSS")
        return name

    def netlist(self, top_ports: Sequence[str], declared: Sequence[Token] | None, limits: SpiceLimits) -> Netlist:
        """The flat netlist with final names."""
        if declared is not None:
            for token in declared:
                check_word(token)
            top_ports = [token.text.upper() for token in declared]
        outside = [((), self._top_name(port)) for port in top_ports]
        inside = [net for _, _, nets in self.elements for net in nets]
        net_names = _Names()
        nets = net_names.give({place: place[1] for place in [*outside, *inside]})
        if len(nets) > limits.nets:
            raise LimitExceeded("the number of nets", len(nets), limits.nets)
        device_names = _Names()
        names = device_names.give({(path, element.name): element.card_name for path, element, _ in self.elements})
        devices = tuple(
            Device(
                names[path, element.name],
                element.kind,
                tuple(nets[net] for net in places),
                MappingProxyType(element.sizes),
            )
            for path, element, places in self.elements
        )
        changed = [*net_names.changed, *device_names.changed]
        if len(self._rail_spellings) > 1:
            self._circuit.left_out["ground_merged"] = sorted(self._rail_spellings)
        if changed:
            self._circuit.left_out.setdefault("names_changed", []).extend(changed)
        if declared is not None:
            ports = [nets[net] for net in outside]
        else:
            ports = self._found_ports([nets[net] for net in outside], nets)
        return Netlist(devices, tuple(dict.fromkeys(ports)))

    def _found_ports(self, top_ports: Sequence[str], nets: Mapping[_Place, str]) -> list[str]:
        names = [nets[net] for net in dict.fromkeys(net for _, _, places in self.elements for net in places)]
        driven = [nets[net] for net in self.driven if net in nets]
        supplies = [supply for supply in SUPPLY_NETS if supply in names]
        return [*supplies, *top_ports, *(name for name in names if port_role(name)), *driven]
