"""Angle expressions of OpenQASM as reverse Polish tuples: compared by value, evaluated without recursion.

Reference:
    [cross2017openqasm] §4.1: `+ - * / ^`, unary minus, `pi`, and sin, cos, tan, exp, ln, sqrt.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from app.errors import LimitExceeded
from app.quantum.qasm_limits import QasmLimits
from app.quantum.qasm_tokens import TokenReader


@dataclass(frozen=True, slots=True)
class Formal:
    """The gate's parameter number `index` inside a gate definition."""

    index: int


#: Numbers, parameters and operator names in evaluation order; `neg` is unary minus.
Expression = tuple[float | Formal | str, ...]

#: The functions that a text may call, by their names in version 2.
FUNCTIONS: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {"sin": math.sin, "cos": math.cos, "tan": math.tan, "exp": math.exp, "ln": math.log, "sqrt": math.sqrt}
)

_UNARY: Mapping[str, Callable[[float], float]] = MappingProxyType({**FUNCTIONS, "neg": operator.neg})
_BINARY: Mapping[str, Callable[[float, float], float]] = MappingProxyType(
    {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "^": math.pow}
)


def evaluate(expression: Expression, arguments: Sequence[float] = ()) -> float:
    """The finite value with `Formal(i)` standing for `arguments[i]`, else ValueError with the reason.

    Functions of real numbers only: the square root or logarithm of a negative number has no value.
    """
    stack: list[float] = []
    try:
        for item in expression:
            if isinstance(item, float):
                stack.append(item)
            elif isinstance(item, Formal):
                stack.append(arguments[item.index])
            elif item in _UNARY:
                stack.append(_UNARY[item](stack.pop()))
            else:
                right = stack.pop()
                stack.append(_BINARY[item](stack.pop(), right))
    except ZeroDivisionError:
        raise ValueError("divides by zero") from None
    except (ValueError, OverflowError):
        raise ValueError(f"has no finite value ({item} is undefined there)") from None
    value = stack.pop()
    if not math.isfinite(value):
        raise ValueError("is not finite")
    return value


#: Binding powers of binary operators: left, right. Unary minus binds tighter than `*` and looser than a power.
_BINDING = {"+": (1, 2), "-": (1, 2), "*": (3, 4), "/": (3, 4)}
_POWER_BINDING = (8, 7)
_UNARY_BINDING = 5


class ExpressionReader(TokenReader):
    """Reads angles. `functions` gives the version's names for `FUNCTIONS`, `power` its symbol of exponentiation.

    Where `has_integers`, a quotient of whole numbers is refused: that version of the language truncates it.
    """

    def __init__(
        self,
        text: str,
        keywords: frozenset[str],
        functions: Mapping[str, str],
        power: str,
        has_integers: bool,
        limits: QasmLimits,
    ) -> None:
        self._limits = limits
        self._functions = functions
        self._power = power
        self._has_integers = has_integers
        self._binding = {**_BINDING, power: _POWER_BINDING}
        super().__init__(text, keywords | frozenset(functions))

    def _value(self, expression: Expression, at: int) -> float:
        try:
            return evaluate(expression)
        except ValueError as reason:
            self._fail(f"an angle {reason}", at)

    def _expressions(self, formals: dict[str, int]) -> tuple[Expression, ...]:
        """What stands in parentheses after a gate's name."""
        self._step()
        expressions: list[Expression] = []
        if self._text != ")":
            while True:
                terms: list[float | Formal | str] = []
                self._expression(terms, formals, 0, 1)
                expressions.append(tuple(terms))
                if not self._accept(","):
                    break
        self._expect(")", "the angles")
        return tuple(expressions)

    def _expression(self, terms: list[float | Formal | str], formals: dict[str, int], binding: int, depth: int) -> bool:
        """Append the terms of an expression whose operators bind at least as tightly as `binding`.

        Returns True when it is made of whole numbers only.
        """
        if depth > self._limits.expression_depth:
            raise LimitExceeded("the depth of an angle expression", depth, self._limits.expression_depth)
        is_whole = self._operand_of_expression(terms, formals, depth)
        while self._kind == "symbol" and self._text in self._binding:
            at, symbol = self._at, self._text
            left, right = self._binding[symbol]
            if left < binding:
                break
            self._step()
            is_whole = self._expression(terms, formals, right, depth + 1) and is_whole
            if is_whole and symbol == "/" and self._has_integers:
                self._fail("a quotient of whole numbers is truncated in OpenQASM 3; write 1.0/2 for one half", at)
            self._add_term(terms, "^" if symbol == self._power else symbol)
        return is_whole

    def _operand_of_expression(self, terms: list[float | Formal | str], formals: dict[str, int], depth: int) -> bool:
        kind, word = self._kind, self._text
        is_whole = False
        if kind == "number":
            self._step()
            self._add_term(terms, float(word))
            is_whole = word.isdigit()
        elif kind == "name" and word == "pi":
            self._step()
            self._add_term(terms, math.pi)
        elif kind == "name" and word in formals:
            self._step()
            self._add_term(terms, Formal(formals[word]))
        elif kind == "name" and word in self._functions:
            self._step()
            self._expect("(", f"{word!r}")
            self._expression(terms, formals, 0, depth + 1)
            self._expect(")", f"the argument of {word!r}")
            self._add_term(terms, self._functions[word])
        elif kind == "symbol" and word == "(":
            self._step()
            is_whole = self._expression(terms, formals, 0, depth + 1)
            self._expect(")", "the expression")
        elif kind == "symbol" and word in "+-":
            self._step()
            is_whole = self._expression(terms, formals, _UNARY_BINDING, depth + 1)
            if word == "-":
                self._add_term(terms, "neg")
        else:
            self._fail(f"expected a number, pi, a parameter or a function in an angle, found {self._shown()}")
        return is_whole

    def _add_term(self, terms: list[float | Formal | str], term: float | Formal | str) -> None:
        if len(terms) >= self._limits.expression_terms:
            raise LimitExceeded("the number of terms of an angle expression", len(terms) + 1,
                                self._limits.expression_terms)  # fmt: skip
        terms.append(term)
