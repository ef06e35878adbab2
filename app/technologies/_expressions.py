"""Expressions of SPICE model libraries, evaluated by a small reader of their own: numbers, operators, a few functions.

What depends on a device's width or length stays an expression in ``{w}`` and ``{l}``, with everything else in it
evaluated. Random functions (``agauss`` and its kin) take their nominal value: statistics are off. Knows no library.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from app.units import parse_spice_number

#: Bounds on a stranger's expression: characters of one, and brackets, signs or powers inside one another.
MOST_CHARACTERS = 4000
DEEPEST = 40

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?[a-z]*)|(?P<name>[a-z_][a-z0-9_.]*)"
    r"|(?P<operator>\*\*|<=|>=|==|!=|&&|\|\||[-+*/^()?:,<>!]))"
)


class ExpressionError(Exception):
    """Why a text is no expression that this reader evaluates; its callers say where it stands."""


@dataclass(frozen=True, slots=True)
class Sized:
    """A value that depends on the device's size: an ngspice expression in ``{w}`` and ``{l}``, in metres."""

    text: str


Value = float | Sized
Lookup = Callable[[str], Value]


def evaluate(text: str, lookup: Lookup) -> Value:
    """The value of an expression; `lookup` gives that of a name in lower case, or raises ExpressionError.

    A float that comes back is finite. Every name and operator is case-insensitive; both ``^`` and ``**`` are powers.

    Raises:
        ExpressionError: it is too long or too deep, not an expression, or its value is not a number.
    """
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"an expression of {len(text)} characters is longer than {MOST_CHARACTERS}")
    reader = _Reader(text.lower(), lookup)
    value = reader.choice(0)
    if reader.kind != "end":
        raise ExpressionError(f"{reader.token!r} is not expected there")
    if isinstance(value, float) and not math.isfinite(value):
        raise ExpressionError("its value is not a finite number")
    return value


def number_text(value: float) -> str:
    """A decimal that reads back as exactly `value`, without a point where it is a small integer."""
    return str(int(value)) if value == int(value) and abs(value) < 1e9 else repr(value)


def _power(base: float, exponent: float) -> float:
    try:
        result = base**exponent
    except (ZeroDivisionError, OverflowError):
        return math.nan
    return result if isinstance(result, float) else math.nan


def _quotient(a: float, b: float) -> float:
    return a / b if b else math.nan


def _guarded(function: Callable[[float], float]) -> Callable[[float], float]:
    def guarded(value: float) -> float:
        try:
            return function(value)
        except (ValueError, OverflowError):
            return math.nan

    return guarded


def _nominal(value: float, *_: float) -> float:
    return value


#: Name -> (function, number of arguments); those that can be written for ngspice too come with the same name.
_FUNCTIONS: dict[str, tuple[Callable[..., float], int]] = {
    "sqrt": (_guarded(math.sqrt), 1),
    "exp": (_guarded(math.exp), 1),
    "ln": (_guarded(math.log), 1),
    "log": (_guarded(math.log), 1),
    "log10": (_guarded(math.log10), 1),
    "abs": (abs, 1),
    "min": (min, 2),
    "max": (max, 2),
    "pow": (_power, 2),
    "agauss": (_nominal, 3),
    "gauss": (_nominal, 3),
    "aunif": (_nominal, 2),
    "unif": (_nominal, 2),
    "limit": (_nominal, 2),
}

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "&&": lambda a, b: bool(a) and bool(b),
    "||": lambda a, b: bool(a) or bool(b),
}

#: Binary operators from loose to tight; powers bind tighter still.
_LEVELS = (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/"))


class _Reader:
    """Recursive descent over one text, evaluating as it goes."""

    def __init__(self, text: str, lookup: Lookup) -> None:
        self.text = text
        self.lookup = lookup
        self.position = 0
        self.kind = ""
        self.token = ""
        self.advance()

    def advance(self) -> None:
        """`kind` and `token` are the next ones."""
        match = _TOKEN.match(self.text, self.position)
        if match is None:
            rest = self.text[self.position :].strip()
            if rest:
                raise ExpressionError(f"{rest[0]!r} is not expected there")
            self.kind, self.token = "end", "the end"
            return
        self.position = match.end()
        self.kind = str(match.lastgroup)
        self.token = match[self.kind]

    def accept(self, *tokens: str) -> str | None:
        """The operator that stands there, consumed, where it is one of these."""
        if self.kind != "operator" or self.token not in tokens:
            return None
        found = self.token
        self.advance()
        return found

    def expect(self, token: str) -> None:
        """The operator is consumed; ExpressionError where another one stands there."""
        if self.accept(token) is None:
            raise ExpressionError(f"{token!r} is expected where {self.token!r} stands")

    def choice(self, depth: int) -> Value:
        """A whole expression: ``a ? b : c``, or what binds tighter."""
        if depth > DEEPEST:
            raise ExpressionError(f"an expression more than {DEEPEST} deep")
        condition = self.binary(0, depth)
        if self.accept("?") is None:
            return condition
        first = self.choice(depth + 1)
        self.expect(":")
        second = self.choice(depth + 1)
        if isinstance(condition, Sized):
            return _sized(f"({_text(condition)} ? {_text(first)} : {_text(second)})")
        return first if condition else second

    def binary(self, level: int, depth: int) -> Value:
        """Operators of `_LEVELS` from `level` on, from left to right."""
        if level == len(_LEVELS):
            return self.unary(depth)
        value = self.binary(level + 1, depth)
        while (symbol := self.accept(*_LEVELS[level])) is not None:
            value = _combined(symbol, value, self.binary(level + 1, depth))
        return value

    def unary(self, depth: int) -> Value:
        """Signs and powers; a power binds tighter than the sign in front of it."""
        if depth > DEEPEST:
            raise ExpressionError(f"an expression more than {DEEPEST} deep")
        symbol = self.accept("+", "-", "!")
        if symbol is not None:
            value = self.unary(depth + 1)
            if symbol == "!":
                return _sized(f"(!{_text(value)})") if isinstance(value, Sized) else float(not value)
            return _combined("-", 0.0, value) if symbol == "-" else value
        base = self.atom(depth)
        if self.accept("^", "**") is None:
            return base
        return _called("pow", (base, self.unary(depth + 1)))

    def atom(self, depth: int) -> Value:
        """A number, a name, a call, or an expression in brackets."""
        kind, token = self.kind, self.token
        self.advance()
        if kind == "number":
            return _number(token)
        if kind == "name":
            return self.call(token, depth) if self.accept("(") else self.lookup(token)
        if token == "(" and kind == "operator":
            value = self.choice(depth + 1)
            self.expect(")")
            return value
        raise ExpressionError(f"{token!r} is not expected there")

    def call(self, name: str, depth: int) -> Value:
        """The value of a function whose opening bracket is consumed."""
        if name not in _FUNCTIONS:
            raise ExpressionError(f"no function named {name!r}; known: {', '.join(sorted(_FUNCTIONS))}")
        arguments = [self.choice(depth + 1)]
        while self.accept(","):
            arguments.append(self.choice(depth + 1))
        self.expect(")")
        if len(arguments) != _FUNCTIONS[name][1]:
            raise ExpressionError(f"{name} takes {_FUNCTIONS[name][1]} arguments, not {len(arguments)}")
        return _called(name, tuple(arguments))


def _number(token: str) -> float:
    try:
        return float(token)
    except ValueError:
        pass
    try:
        return parse_spice_number(token)
    except ValueError as error:
        raise ExpressionError(str(error)) from None


def _called(name: str, arguments: tuple[Value, ...]) -> Value:
    function = _FUNCTIONS[name][0]
    if function is _nominal:
        return arguments[0]
    if any(isinstance(argument, Sized) for argument in arguments):
        return _sized(f"{name}({','.join(map(_text, arguments))})")
    return float(function(*arguments))


def _combined(symbol: str, a: Value, b: Value) -> Value:
    """The operator's value; what is idle (a factor of 0 or 1, a summand of 0) leaves no trace in an expression."""
    if isinstance(a, float) and isinstance(b, float):
        if symbol in _COMPARISONS:
            return float(_COMPARISONS[symbol](a, b))
        plain: dict[str, Callable[[float, float], float]] = {
            "+": operator.add, "-": operator.sub, "*": operator.mul, "/": _quotient,
        }  # fmt: skip
        return plain[symbol](a, b)
    if symbol in "*/" and a == 0.0:
        return 0.0
    if symbol == "*" and b == 0.0:
        return 0.0
    if (symbol in "+-" and b == 0.0) or (symbol in "*/" and b == 1.0):
        return a
    if (symbol == "+" and a == 0.0) or (symbol == "*" and a == 1.0):
        return b
    return _sized(f"({_text(a)}{symbol}{_text(b)})")


def _sized(text: str) -> Sized:
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"an expression that grows beyond {MOST_CHARACTERS} characters")
    return Sized(text)


def _text(value: Value) -> str:
    if isinstance(value, Sized):
        return value.text
    if not math.isfinite(value):
        raise ExpressionError("a part of it is not a finite number")
    return number_text(value) if value >= 0 else f"({number_text(value)})"
