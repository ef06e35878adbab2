"""Expressions of a deck's cards, evaluated for all designs at once, with slopes over the voltages they read.

What testbenches write is understood: numbers, parameters in braces, ``v(node)``, the four operations and ``tanh``.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidRequest
from app.units import parse_spice_number

Array = NDArray[np.float64]

#: One number for all designs, or one for each.
Number = float | Array

_SYNTAX = (ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.USub, ast.UAdd)


@dataclass(frozen=True, slots=True)
class Sloped:
    """A value and its slopes over the voltages of nodes; a node that is not there has none."""

    value: Number
    slopes: Mapping[str, Number] = field(default_factory=dict)

    def plus(self, other: Sloped, sign: float = 1.0) -> Sloped:
        """The sum, or the difference."""
        return self._with(self.value + sign * other.value, other, 1.0, sign)

    def times(self, other: Sloped) -> Sloped:
        """The product."""
        return self._with(self.value * other.value, other, other.value, self.value)

    def over(self, other: Sloped) -> Sloped:
        """The quotient."""
        ratio = self.value / other.value
        return self._with(ratio, other, 1.0 / other.value, -ratio / other.value)

    def tanh(self, *, with_chord: bool = False) -> Sloped:
        """The hyperbolic tangent; where it saturates, with the slope of the chord from 0 if that is wanted."""
        value = np.tanh(self.value)
        slope = 1.0 - value * value
        if with_chord:
            size = np.maximum(np.abs(self.value), 1.0)
            slope = np.where(size > 1.0, np.abs(value) / size, slope)
        return self._with(value, Sloped(0.0), slope, 0.0)

    def _with(self, value: Number, other: Sloped, own: Number, others: Number) -> Sloped:
        slopes: dict[str, Number] = {node: own * slope for node, slope in self.slopes.items()}
        for node, slope in other.slopes.items():
            slopes[node] = slopes.get(node, 0.0) + others * slope
        return Sloped(value, slopes)


@dataclass(frozen=True)
class Expression:
    """A parsed expression; `text` is how the card has it, in lower case."""

    text: str
    tree: ast.expr

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Nodes whose voltages it reads."""
        calls = [each for each in ast.walk(self.tree) if isinstance(each, ast.Call)]
        found = (_read_node(call) for call in calls if _name_of(call) == "v")
        return tuple(dict.fromkeys(found))

    def value(self, parameters: Mapping[str, Number]) -> Number:
        """Of an expression that reads no voltage."""
        return self.sloped(parameters, {}).value

    def sloped(
        self, parameters: Mapping[str, Number], voltages: Mapping[str, Number], *, with_chords: bool = False
    ) -> Sloped:
        """At these voltages. A slope that has all but vanished stops Newton's method; `with_chords` keeps some of it.

        Raises InvalidRequest for a parameter that has no value.
        """
        return _Evaluation(self.text, parameters, voltages, with_chords).of(self.tree)


def parse_expression(text: str) -> Expression:
    """The expression of a card's word: a SPICE number, ``{...}``, or arithmetic on both.

    Raises:
        InvalidRequest: it is none that is understood.
    """
    text = text.lower()
    try:
        return Expression(text, ast.Constant(parse_spice_number(text)))
    except ValueError:
        pass
    try:
        tree = ast.parse(text.replace("{", "(").replace("}", ")"), mode="eval").body
    except SyntaxError:
        raise _refused(text) from None
    for node in ast.walk(tree):
        if not _is_known(node):
            raise _refused(text)
    return Expression(text, tree)


def _refused(text: str) -> InvalidRequest:
    return InvalidRequest(f"the table simulator does not understand the expression {text[:80]!r}")


def _is_known(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return _name_of(node) in ("v", "tanh") and len(node.args) == 1 and not node.keywords
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float)
    return isinstance(node, _SYNTAX)


def _name_of(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


@lru_cache(maxsize=1024)
def _read_node(call: ast.Call) -> str:
    return ast.unparse(call.args[0])


@dataclass(frozen=True)
class _Evaluation:
    text: str
    parameters: Mapping[str, Number]
    voltages: Mapping[str, Number]
    with_chords: bool

    def of(self, tree: ast.expr) -> Sloped:
        match tree:
            case ast.Constant(value=int() | float() as number):
                return Sloped(float(number))
            case ast.Name(id=name) if name in self.parameters:
                return Sloped(self.parameters[name])
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return Sloped(0.0).plus(self.of(operand), -1.0)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.of(operand)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self.of(left).plus(self.of(right))
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                return self.of(left).plus(self.of(right), -1.0)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self.of(left).times(self.of(right))
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return self.of(left).over(self.of(right))
            case ast.Call() as call if _name_of(call) == "tanh":
                return self.of(call.args[0]).tanh(with_chord=self.with_chords)
            case ast.Call() as call if _name_of(call) == "v" and _read_node(call) in self.voltages:
                node = _read_node(call)
                return Sloped(self.voltages[node], {node: 1.0})
        raise _refused(self.text)
