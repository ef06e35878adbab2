"""SPICE text into cards of tokens with their places: comments, continuations and bounds. Knows no card's meaning."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.errors import LimitExceeded, SpiceSyntaxError


@dataclass(frozen=True, slots=True)
class SpiceLimits:
    """How large a SPICE text may be. `devices` counts cards as written, `expanded_devices` after flattening."""

    characters: int = 1_000_000
    lines: int = 20_000
    line_length: int = 10_000
    devices: int = 2_000
    subckt_depth: int = 8
    expanded_devices: int = 2_000
    nets: int = 4_000


SPICE_LIMITS = SpiceLimits()


@dataclass(frozen=True, slots=True)
class Token:
    """A word or one of ``= ( ) ,`` and where it stands, counted from 1."""

    text: str
    line: int
    column: int

    def error(self, message: str) -> SpiceSyntaxError:
        """An error at this token."""
        return SpiceSyntaxError(message, line=self.line, column=self.column)


@dataclass(frozen=True, slots=True)
class Card:
    """One card with its continuation lines joined. It has at least one token."""

    tokens: tuple[Token, ...]

    @property
    def word(self) -> str:
        """The first token in upper case."""
        return self.tokens[0].text.upper()

    @property
    def line(self) -> int:
        """Where the card starts."""
        return self.tokens[0].line

    def error(self, message: str) -> SpiceSyntaxError:
        """An error at the card's start."""
        return self.tokens[0].error(message)


@dataclass(frozen=True, slots=True)
class SpiceText:
    """A text's cards in order, and the names of its ``* ports:`` comments (None where it has none).

    `title` is the card on the first line that is not blank, where that line is a card: SPICE's title line.
    """

    cards: tuple[Card, ...]
    ports: tuple[Token, ...] | None
    title: Card | None


_FOREIGN_CHARACTER = re.compile(r"[^\t\n\x20-\x7e]|`")
_TOKEN = re.compile(r"[=(),]|[^\s=(),]+")
_PORTS_COMMENT = re.compile(r"\*\s*ports:(?=[A-Za-z0-9_.:+\-!#<>\[\]/,\s]*$)", re.IGNORECASE)
_INLINE_COMMENT = re.compile(r";|(?:^|(?<=\s))\$")
_REFUSED_IN_WORD = re.compile(r"[^A-Za-z0-9_.:+\-!#<>\[\]/]")

_WHY_REFUSED = {
    "{": "expressions in braces are not accepted, write the number",
    "}": "expressions in braces are not accepted, write the number",
    "'": "quoted expressions are not accepted, write the number",
    '"': "strings are not accepted",
    "\\": "a continuation starts the next line with +",
    "*": "expressions are not accepted, write the number",
}


def read_cards(text: str, limits: SpiceLimits = SPICE_LIMITS) -> SpiceText:
    """Cut a SPICE text into cards. Time and memory are linear in its length.

    Raises:
        LimitExceeded: Too many characters or lines, or a line too long.
        SpiceSyntaxError: A character outside printable ASCII, a backtick, or a continuation of nothing.
    """
    if len(text) > limits.characters:
        raise LimitExceeded("the number of characters of the netlist", len(text), limits.characters)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    count = text.count("\n") + 1
    if count > limits.lines:
        raise LimitExceeded("the number of lines of the netlist", count, limits.lines)
    lines = text.split("\n")
    if (foreign := _FOREIGN_CHARACTER.search(text)) is not None:
        raise _foreign_character(text, foreign.start())
    cards: list[list[Token]] = []
    ports: list[Token] | None = None
    for number, line in enumerate(lines, start=1):
        if len(line) > limits.line_length:
            raise LimitExceeded(f"the length of line {number}", len(line), limits.line_length)
        start = len(line) - len(line.lstrip())
        if line.startswith("*", start):
            if (comment := _PORTS_COMMENT.match(line, start)) is not None:
                ports = ports or []
                ports += (token for token in _tokens(line, number, comment.end()) if token.text != ",")
            continue
        tokens = _tokens(line, number, start)
        if not tokens:
            continue
        if not line.startswith("+", start):
            cards.append(tokens)
        elif not cards:
            raise SpiceSyntaxError("a continuation (+) with no card before it", line=number, column=start + 1)
        else:
            cards[-1].extend(_tokens(line, number, start + 1))
    done = tuple(Card(tuple(card)) for card in cards)
    first_line = next((number for number, line in enumerate(lines, start=1) if line.strip()), 0)
    title = done[0] if done and done[0].line == first_line == done[0].tokens[-1].line else None
    return SpiceText(done, None if ports is None else tuple(ports), title)


def check_characters(card: Card) -> None:
    """Every word of the card holds accepted characters only, else SpiceSyntaxError."""
    for token in card.tokens:
        if token.text not in "=(),":
            check_word(token)


def check_word(token: Token) -> None:
    """The word holds accepted characters only, else SpiceSyntaxError."""
    if (refused := _REFUSED_IN_WORD.search(token.text)) is not None:
        why = _WHY_REFUSED.get(refused[0], "names hold letters, digits and _ . : + - ! # < > [ ] /")
        raise SpiceSyntaxError(
            f"the character {refused[0]!r} is not accepted here; {why}",
            line=token.line,
            column=token.column + refused.start(),
        )


def _tokens(line: str, number: int, start: int) -> list[Token]:
    comment = _INLINE_COMMENT.search(line, start)
    end = comment.start() if comment is not None else len(line)
    return [Token(match[0], number, match.start() + 1) for match in _TOKEN.finditer(line, start, end)]


def _foreign_character(text: str, position: int) -> SpiceSyntaxError:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    if text[position] == "`":
        message = "a backtick is not accepted: nothing in a netlist is executed"
    else:
        message = f"the character {text[position]!a} is not accepted; a netlist is printable ASCII text"
    return SpiceSyntaxError(message, line=line, column=column)
