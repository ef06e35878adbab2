"""Expressions of model libraries: the same values as by hand, sizes left as expressions, and nothing else let in."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.technologies._expressions import (
    DEEPEST,
    MOST_CHARACTERS,
    ExpressionError,
    Sized,
    Value,
    evaluate,
    number_text,
)


def value_of(text: str, **names: Value) -> Value:
    def lookup(name: str) -> Value:
        if name not in names:
            raise ExpressionError(f"no parameter named {name!r}")
        return names[name]

    return evaluate(text, lookup)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1+2*3", 7.0),
        ("(1+2)*3", 9.0),
        ("2^3^2", 512.0),
        ("2**-1", 0.5),
        ("-2^2", -4.0),
        ("8-4-2", 2.0),
        ("8/4/2", 1.0),
        ("10u", 1e-5),
        ("0.28U*2", 0.56e-6),
        ("2.8e-007", 2.8e-7),
        ("1meg", 1e6),
        ("sqrt(16)+abs(-1)", 5.0),
        ("ln(exp(2))", 2.0),
        ("log(exp(3))", 3.0),
        ("log10(1000)", 3.0),
        ("pow(2,10)", 1024.0),
        ("min(3,2)+max(3,2)", 5.0),
        ("1>2 ? 5 : 6", 6.0),
        ("(1==1)*3 + (1!=1)*4", 3.0),
        ("1<=1 && !(2>3) || 0", 1.0),
        ("agauss(5,1,3)+gauss(2,0.1,1)*aunif(3,1)", 11.0),
        ("(0==0) ? 1e-15 : 1/0", 1e-15),
    ],
)
def test_an_expression_has_the_value_it_has_by_hand(text: str, expected: float) -> None:
    value = value_of(text)
    assert isinstance(value, float)
    assert math.isclose(value, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("w", "{w}"),
        ("2*w+l", "((2*{w})+{l})"),
        ("0*w", 0.0),
        ("1*w+0", "{w}"),
        ("0.14/w*(3+1)", "((0.14/{w})*4)"),
        ("-w", "(0-{w})"),
        ("w^2", "pow({w},2)"),
        ("w>1 ? 2 : l", "(({w}>1) ? 2 : {l})"),
        ("sqrt(w*l)", "sqrt(({w}*{l}))"),
        ("agauss(w,1,1)", "{w}"),
        ("w*(2-5)", "({w}*(-3))"),
    ],
)
def test_what_depends_on_the_size_stays_an_expression_with_all_else_evaluated(text: str, expected: str | float) -> None:
    value = value_of(text, w=Sized("{w}"), l=Sized("{l}"))
    assert (value.text if isinstance(value, Sized) else value) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'the end' is not expected there"),
        ("1+", "'the end' is not expected there"),
        ("1 2", "'2' is not expected there"),
        ("(1", r"'\)' is expected where 'the end' stands"),
        ("1 ? 2", "':' is expected"),
        ("x", "no parameter named 'x'"),
        ("open(1)", "no function named 'open'"),
        ("__import__(1)", "no function named '__import__'"),
        ("sqrt(1,2)", "sqrt takes 1 arguments, not 2"),
        ("`id`", "'`' is not expected there"),
        ("a.b", "no parameter named 'a.b'"),
        ("'quoted'", '"\'" is not expected there'),
        ("1/0", "not a finite number"),
        ("sqrt(-1)", "not a finite number"),
        ("exp(1e9)", "not a finite number"),
        ("10^400", "not a finite number"),
        ("(-8)^0.5", "not a finite number"),
        ("0^-1", "not a finite number"),
        ("w*(1/0)", "a part of it is not a finite number"),
        ("1e999999", "not a finite number"),
        ("1e99999k", "is not a SPICE number"),
        ("(" * 60 + "1" + ")" * 60, f"more than {DEEPEST} deep"),
        ("-" * 60 + "1", f"more than {DEEPEST} deep"),
        ("1+" * MOST_CHARACTERS + "1", f"longer than {MOST_CHARACTERS}"),
    ],
)
def test_what_is_no_expression_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ExpressionError, match=reason):
        value_of(text, w=Sized("{w}"))


def test_an_expression_that_doubles_itself_is_stopped() -> None:
    def doubled(times: int) -> Value:
        value: Value = Sized("{w}")
        for _ in range(times):
            value = value_of("x+x", x=value)
        return value

    with pytest.raises(ExpressionError, match="grows beyond"):
        doubled(40)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_written_so_that_it_reads_back(number: float) -> None:
    assert float(number_text(number)) == number


@given(st.text(alphabet="0123456789.+-*/^()?:,<>=!&| wekum", max_size=40))
def test_any_text_has_a_finite_value_or_a_reason(text: str) -> None:
    try:
        value = value_of(text, w=Sized("{w}"))
    except ExpressionError:
        return
    assert isinstance(value, Sized) or math.isfinite(value)
