"""What single SPICE cards say: elements, sub-circuit calls, sources, `.model` and `.param`. Knows no hierarchy.

This is a whitelist: what is not described here is refused with a sentence that says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.analog.kinds import KINDS
from app.analog.spice_lines import Card, Token
from app.units import parse_spice_number

#: SPICE parameter -> size name, by card letter. The value of R, C and L is also accepted without a name.
SIZE_NAMES: Mapping[str, Mapping[str, str]] = {
    "M": {"W": "width_m", "L": "length_m", "M": "multiplier", "MULT": "multiplier"},
    "R": {"R": "resistance_ohm"},
    "C": {"C": "capacitance_f"},
    "L": {"L": "inductance_h"},
    "Q": {"AREA": "area"},
    "D": {"AREA": "area"},
    "X": {},
}

#: Card letters whose first unnamed number is this size.
VALUE_OF = {
    "R": "resistance_ohm",
    "C": "capacitance_f",
    "L": "inductance_h",
    "Q": "area",
    "D": "area",
}

_PASSIVES = {"R": "resistor", "C": "capacitor", "L": "inductor"}

#: A MOS drawn wider or longer than this was given in microns, as in the SKY130 and GF180 libraries.
_LARGEST_MOS_M = 1e-2

_REFUSED_LETTERS = {
    "A": "XSPICE code models (A) are not accepted",
    "B": "behavioural sources (B) are not accepted",
    "E": "controlled sources (E) are not accepted",
    "F": "controlled sources (F) are not accepted",
    "G": "controlled sources (G) are not accepted",
    "H": "controlled sources (H) are not accepted",
    "J": "JFETs (J) are not accepted",
    "K": "coupled inductors (K) are not accepted",
    "N": "Verilog-A devices (N) are not accepted",
    "O": "lossy lines (O) are not accepted",
    "P": "coupled lines (P) are not accepted",
    "S": "switches (S) are not accepted, use a MOS or a transmission_gate block",
    "T": "transmission lines (T) are not accepted",
    "U": "distributed lines (U) are not accepted",
    "W": "switches (W) are not accepted, use a MOS or a transmission_gate block",
    "Y": "transmission lines (Y) are not accepted",
    "Z": "MESFETs (Z) are not accepted",
}

_MODEL_TYPES = {"NMOS": "nmos", "PMOS": "pmos", "NPN": "npn", "PNP": "pnp", "D": "diode"}

_KINDS_OF_LETTER = {"M": ("nmos", "pmos"), "Q": ("npn", "pnp"), "D": ("diode",)}

#: Words in model names of foundries and textbooks: nch_lvt, NMOS_VTG, nmos4, sky130_fd_pr__pfet_01v8, dio.
_MODEL_WORDS = (
    ("nmos", re.compile(r"(?:^|_)(?:n(?:mosfet|mos|ch|fet)|mosn)")),
    ("pmos", re.compile(r"(?:^|_)(?:p(?:mosfet|mos|ch|fet)|mosp)")),
    ("npn", re.compile(r"(?:^|_)npn")),
    ("pnp", re.compile(r"(?:^|_)pnp")),
    ("diode", re.compile(r"(?:^|_)(?:diode|dio|dmod|d)(?:$|[_0-9])")),
)


@dataclass(frozen=True, slots=True)
class Element:
    """A device as its card has it; nets in upper case."""

    name: str
    kind: str
    nets: tuple[str, ...]
    sizes: dict[str, float]
    card: Card

    @property
    def card_name(self) -> str:
        """The name with the letter of the kind in front: a foundry's XM1 and X7 are M1 and MX7."""
        letter = KINDS[self.kind].letter
        if self.name.startswith(letter):
            return self.name
        return self.name[1:] if self.name.startswith(f"X{letter}") and len(self.name) > 2 else letter + self.name


@dataclass(frozen=True, slots=True)
class Call:
    """A sub-circuit instance; nets and the sub-circuit's name in upper case."""

    name: str
    nets: tuple[str, ...]
    subckt: str
    card: Card


@dataclass(frozen=True, slots=True)
class Source:
    """A voltage or current source. It belongs to the testbench and only tells which nets the outside holds."""

    name: str
    nets: tuple[str, ...]
    card: Card


Item = Element | Call | Source


@dataclass
class CardReader:
    """Reads single cards, given the models, numbers and sub-circuits that the text defines.

    What it leaves out on purpose is collected in `left_out`: a reason's code -> the names concerned.
    """

    models: Mapping[str, str]
    numbers: Mapping[str, float]
    subckts: Mapping[str, int]
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def read(self, card: Card) -> Item:
        """What the element card says, else SpiceSyntaxError."""
        letter = card.word[0]
        name = card.word
        if letter not in SIZE_NAMES and letter not in "VI":
            reason = _REFUSED_LETTERS.get(letter, "a card starts with one of R C L M Q D X V I or a dot")
            raise card.error(f"{_short(name)}: {reason}")
        if len(name) < 2:
            raise card.error(f"a device needs a name after the letter {letter}")
        if letter in "VI":
            return self._source(card)
        words, parameters = _split(card)
        if letter == "X":
            return self._block(card, words, parameters)
        if letter in _PASSIVES:
            return self._passive(card, words, parameters)
        return self._transistor_or_diode(card, words, parameters)

    def _source(self, card: Card) -> Source:
        words = card.tokens
        self._need_nets(card, words, ("positive", "negative"), "source")
        for token in words[3:]:
            if token.text.upper() not in ("DC", "AC", "="):
                self._number(token, "a source has a DC and an AC value here, time functions belong to the testbench")
        self._leave_out("source_left_out", card.word)
        return Source(card.word, _upper(words[1:3]), card)

    def _passive(self, card: Card, words: Sequence[Token], parameters: Sequence[tuple[Token, Token]]) -> Element:
        kind = _PASSIVES[card.word[0]]
        self._need_nets(card, words, KINDS[kind].pins, kind)
        sizes = self._sizes(card, words[3:], parameters)
        return Element(card.word, kind, _upper(words[1:3]), sizes, card)

    def _transistor_or_diode(
        self, card: Card, words: Sequence[Token], parameters: Sequence[tuple[Token, Token]]
    ) -> Element:
        letter = card.word[0]
        kinds = _KINDS_OF_LETTER[letter]
        pins = KINDS[kinds[0]].pins
        place = len(pins) + 1
        if letter == "Q" and len(words) > place + 1 and self._kind_of(words[place].text) is None:
            self._leave_out("substrate_left_out", card.word)
            words = [*words[:place], *words[place + 1 :]]
        self._need_nets(card, words[:-1] if len(words) <= place else words, pins, kinds[0])
        model = words[place]
        kind = self._kind_of(model.text)
        if kind is None:
            raise model.error(
                f"{card.word}: no model named {_short(model.text)!r}; add a card such as '.model {_short(model.text)} "
                f"{_type_word(kinds[0])}' or use {_or(kinds)}"
            )
        if kind not in kinds:
            raise model.error(f"{card.word}: {_short(model.text)!r} is of kind {kind}, {letter} cards are {_or(kinds)}")
        sizes = self._sizes(card, words[place + 1 :], parameters)
        return Element(card.word, kind, _upper(words[1:place]), sizes, card)

    def _block(self, card: Card, words: Sequence[Token], parameters: Sequence[tuple[Token, Token]]) -> Element | Call:
        if len(words) < 3:
            raise card.error(f"{card.word} needs nets and the name of a sub-circuit")
        target = words[-1]
        nets = _upper(words[1:-1])
        name = target.text.upper()
        if name in self.subckts:
            if parameters:
                raise parameters[0][0].error("parameters of a sub-circuit are not accepted, write the numbers into it")
            if len(nets) != self.subckts[name]:
                raise card.error(
                    f"{card.word} has {len(nets)} nets, the sub-circuit {_short(name)} has {self.subckts[name]} ports"
                )
            return Call(card.word, nets, name, card)
        kind = name.lower()
        if kind in KINDS and KINDS[kind].is_block:
            self._need_nets(card, words[:-1], KINDS[kind].pins, kind, exact=True)
            return Element(card.word, kind, nets, self._sizes(card, (), parameters), card)
        foundry = self._kind_of(target.text)
        if foundry in ("nmos", "pmos"):  # foundry libraries wrap a transistor in a sub-circuit
            self._need_nets(card, words[:-1], KINDS[foundry].pins, foundry, exact=True)
            return Element(card.word, foundry, nets, self._sizes(card, (), parameters, letter="M"), card)
        blocks = ", ".join(kind for kind, description in KINDS.items() if description.is_block)
        raise target.error(f"no sub-circuit named {_short(name)!r}; define it with .subckt, or use a block: {blocks}")

    def _need_nets(
        self, card: Card, words: Sequence[Token], pins: tuple[str, ...], kind: str, *, exact: bool = False
    ) -> None:
        """The card's own name is followed by a net for every pin."""
        count = max(0, len(words) - 1)
        if count < len(pins) or (exact and count > len(pins)):
            raise card.error(
                f"device {_short(card.word)} has {count} nets, {_a(kind)} needs {len(pins)} ({', '.join(pins)})"
            )
        for net in words[1 : len(pins) + 1]:
            if not (net.text[0].isalnum() or net.text[0] in "_!/"):
                raise net.error(f"{_short(net.text)!r} is not a net name")

    def _sizes(
        self,
        card: Card,
        values: Sequence[Token],
        parameters: Sequence[tuple[Token, Token]],
        *,
        letter: str | None = None,
    ) -> dict[str, float]:
        letter = letter or card.word[0]
        sizes: dict[str, float] = {}
        for token in values:
            if letter not in VALUE_OF or VALUE_OF[letter] in sizes:
                raise token.error(f"{_short(token.text)!r} is one word too many on the card of {_short(card.word)}")
            sizes[VALUE_OF[letter]] = self._positive(token, card)
        for name, value in parameters:
            size = SIZE_NAMES[letter].get(name.text.upper())
            if size is None:
                self._number(value, f"the value of {_short(name.text)} has to be a number")
                self._leave_out("parameter_left_out", f"{card.word} {name.text.upper()}")
            elif size in sizes:
                raise name.error(f"{_short(name.text)} is given twice for {_short(card.word)}")
            else:
                sizes[size] = self._positive(value, card)
        for size in ("width_m", "length_m"):
            if sizes.get(size, 0.0) > _LARGEST_MOS_M:
                sizes[size] *= 1e-6
                self._leave_out("read_as_microns", card.word)
        return sizes

    def _positive(self, token: Token, card: Card) -> float:
        value = self._number(token, f"{_short(card.word)} needs a number here")
        if not value > 0:
            raise token.error(f"{_short(token.text)} is not a size of {_short(card.word)}: sizes are above 0")
        return value

    def _number(self, token: Token, otherwise: str) -> float:
        """The token as a number or as the name of a .param."""
        value = self.numbers.get(token.text.upper())
        if value is not None:
            return value
        return read_number(token, otherwise)

    def _kind_of(self, model: str) -> str | None:
        kind = self.models.get(model.upper())
        if kind is not None:
            return kind
        word = model.lower()
        return next((kind for kind, pattern in _MODEL_WORDS if pattern.search(word)), None)

    def _leave_out(self, code: str, name: str) -> None:
        self.left_out.setdefault(code, []).append(name)


def read_number(token: Token, otherwise: str) -> float:
    """The token as a SPICE number, else SpiceSyntaxError that ends in `otherwise`."""
    try:
        return parse_spice_number(token.text)
    except ValueError as error:
        raise token.error(f"{error}; {otherwise}") from error


def read_model(card: Card) -> tuple[str, str]:
    """Name and device kind of a `.model` card. Its parameters are checked for form and otherwise left out."""
    words = card.tokens
    if len(words) < 3:
        raise card.error(".model needs a name and a type")
    kind = _MODEL_TYPES.get(words[2].text.upper())
    if kind is None:
        raise words[2].error(
            f"the model type {_short(words[2].text)!r} is not accepted; known: nmos, pmos, npn, pnp, d"
        )
    rest = [token for token in words[3:] if token.text not in ("(", ")", ",")]
    if len(rest) % 3 or any(token.text != "=" for token in rest[1::3]):
        raise card.error(f"the parameters of model {_short(words[1].text)} have to be pairs such as vto=0.5")
    for value in rest[2::3]:
        read_number(value, "device model parameters are numbers")
    return words[1].text.upper(), kind


def read_pairs(card: Card, example: str) -> list[tuple[Token, float]]:
    """Names and numbers of a card of pairs, `.param` or `.options`; the error ends in the example."""
    word, *tokens = card.tokens
    if not tokens or len(tokens) % 3 or any(token.text != "=" for token in tokens[1::3]):
        raise card.error(f"{word.text} takes pairs of a name and a plain number, {example}")
    return [
        (name, read_number(value, f"{word.text} takes plain numbers only"))
        for name, value in zip(tokens[0::3], tokens[2::3], strict=True)
    ]


def _split(card: Card) -> tuple[list[Token], list[tuple[Token, Token]]]:
    """A card's words, then its name=value pairs."""
    words: list[Token] = []
    parameters: list[tuple[Token, Token]] = []
    tokens = card.tokens
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if token.text in ("=", "(", ")", ","):
            raise token.error(f"{token.text!r} is out of place on the card of {_short(card.word)}")
        if position + 1 < len(tokens) and tokens[position + 1].text == "=":
            if position + 2 == len(tokens) or tokens[position + 2].text in ("=", "(", ")", ","):
                raise token.error(f"{_short(token.text)} = has no value")
            parameters.append((token, tokens[position + 2]))
            position += 3
            continue
        if parameters:
            raise token.error(f"{_short(token.text)!r} stands after the name=value pairs of {_short(card.word)}")
        words.append(token)
        position += 1
    return words, parameters


def _upper(tokens: Sequence[Token]) -> tuple[str, ...]:
    return tuple(token.text.upper() for token in tokens)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiounx" else f"a {kind}"


def _or(words: Sequence[str]) -> str:
    return " or ".join(words)


def _type_word(kind: str) -> str:
    return next(word.lower() for word, known in _MODEL_TYPES.items() if known == kind)
