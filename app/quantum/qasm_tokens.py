"""The words of an OpenQASM text, one at a time, and errors that say where in the text something is wrong."""

from __future__ import annotations

import re
from typing import NoReturn

from app.errors import QasmSyntaxError

_BLANK = r"(?:[ \t\r\n\f]++|//[^\n]*+)*+"
_SKIP = re.compile(_BLANK)
_TOKEN = re.compile(
    _BLANK
    + rf"""(?:(?P<bit>(?P<register>[a-z][A-Za-z0-9_]*+){_BLANK}\[{_BLANK}(?P<index>[0-9]++){_BLANK}\])"""
    + r"""|(?P<name>[A-Za-z_][A-Za-z0-9_]*+)"""
    + r"""|(?P<number>(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)"""
    + r"""|(?P<string>"[^"\n]*+")"""
    + r"""|(?P<symbol>->|==|\*\*|[;,(){}\[\]+\-*/^=!])"""
    + r"""|(?P<end>\Z))"""
)

#: The header of version 3, after blanks and comments.
HEADER_3 = re.compile(_BLANK + r"OPENQASM[ \t\r\n\f]+3")


def shorten(word: str) -> str:
    """The word, cut where it is too long for a message."""
    return word if len(word) <= 40 else word[:37] + "..."


class TokenReader:
    """Walks over a text. The current token is (`_kind`, `_text`) and begins at `_at`.

    An indexed name like ``q[3]`` is one token (kind ``bit``, groups `register` and `index` of `_match`). `keywords`
    name no register, gate or parameter.
    """

    def __init__(self, text: str, keywords: frozenset[str]) -> None:
        self._source = text
        self._keywords = keywords
        self._end = 0
        self._step()

    @property
    def place(self) -> tuple[int, int]:
        """Line and column of the current token, counted from 1."""
        return self._place(self._at)

    def _step(self) -> None:
        match = _TOKEN.match(self._source, self._end)
        if match is None:
            self._fail_at_character()
        kind = match.lastgroup
        assert kind is not None
        self._kind = kind
        self._match = match
        self._text = match.group(kind)
        self._at, self._end = match.span(kind)

    def _fail_at_character(self) -> NoReturn:
        blank = _SKIP.match(self._source, self._end)
        assert blank is not None
        self._at = blank.end()
        character = self._source[self._at]
        if character == '"':
            self._fail("the string is not closed on its line")
        self._fail(f"the character {character!r} has no meaning in OpenQASM here")

    def _fail(self, message: str, at: int | None = None) -> NoReturn:
        line, column = self._place(self._at if at is None else at)
        raise QasmSyntaxError(message, line=line, column=column)

    def _place(self, offset: int) -> tuple[int, int]:
        """Line and column of a character, counted from 1."""
        return self._source.count("\n", 0, offset) + 1, offset - self._source.rfind("\n", 0, offset)

    def _shown(self) -> str:
        return "the end of the program" if self._kind == "end" else repr(shorten(self._text))

    def _expect(self, symbol: str, after: str) -> None:
        if self._text != symbol or self._kind != "symbol":
            self._fail(f"expected {symbol!r} after {after}, found {self._shown()}")
        self._step()

    def _accept(self, symbol: str) -> bool:
        """True, and the symbol is behind us, where it is the current token."""
        if self._text != symbol or self._kind != "symbol":
            return False
        self._step()
        return True

    def _expect_name(self, what: str) -> str:
        name = self._text
        if self._kind == "bit":
            self._fail(f"expected {what} without an index, found {self._shown()}")
        if self._kind != "name":
            self._fail(f"expected {what}, found {self._shown()}")
        if name in self._keywords or not name[0].islower():
            self._fail(f"{name!r} cannot be {what}: it must start with a lower-case letter and be no keyword")
        self._step()
        return name
