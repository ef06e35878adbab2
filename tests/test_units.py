"""SPICE numbers."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.units import format_engineering, format_spice_number, parse_spice_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("1.5k", 1500.0),
        ("10MEG", 1e7),
        ("1M", 1e-3),
        ("2u", 2e-6),
        ("2um", 2e-6),
        ("1e-6", 1e-6),
        ("3mil", 76.2e-6),
        ("-4.7n", -4.7e-9),
        ("+.5", 0.5),
        ("1.", 1.0),
        ("1F", 1e-15),
        ("5V", 5.0),
        ("10kOhm", 10_000.0),
        ("1.5e3k", 1.5e6),
        ("2t", 2e12),
        ("7g", 7e9),
        ("3p", 3e-12),
        ("9a", 9e-18),
    ],
)
def test_a_spice_number_has_the_value_its_letters_say(text: str, value: float) -> None:
    assert parse_spice_number(text) == value
    assert parse_spice_number(text.swapcase()) == value


@pytest.mark.parametrize(
    "text", ["", "k", "1,5", "1e", "--1", "0x10", "1 k", "nan", "inf", "1µ", "1k\n", "1" * 65, "²", "1e5e"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a SPICE number such as 1\.5k, 2u or 1e-6"):
        parse_spice_number(text)


@pytest.mark.parametrize("text", ["1e400", "-1e308k", "1e-400"])
def test_a_number_outside_the_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="lies outside the range of a number"):
        parse_spice_number(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2e-6, "2u"),
        (15000.0, "15k"),
        (1e7, "10meg"),
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (1.8e-7, "180n"),
        (1e30, "1e30"),
    ],
)
def test_a_number_is_written_short(value: float, text: str) -> None:
    assert format_spice_number(value) == text


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_cannot_be_written(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be written as a SPICE number"):
        format_spice_number(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_comes_back_exactly(value: float) -> None:
    assert parse_spice_number(format_spice_number(value)) == value


def test_the_extremes_come_back_exactly() -> None:
    for value in (sys.float_info.max, sys.float_info.min, 5e-324, 25.4e-6):
        assert parse_spice_number(format_spice_number(value)) == value


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (5.516e-5, "A", "55.16 uA"),
        (-9.8e-7, "m", "-980 nm"),
        (0.99999999e-6, "m", "1 um"),
        (5.6498e6, "Hz", "5.6498 MHz"),
        (1.3128e-11, "m^2", "1.3128e-11 m^2"),
        (64.6461, "dB", "64.646 dB"),
        (0.0, "V", "0 V"),
        (3e-21, "F", "0.003 aF"),
        (4.0, "", "4 "),
    ],
)
def test_people_read_five_digits_and_a_prefix(value: float, unit: str, shown: str) -> None:
    assert " ".join(format_engineering(value, unit)) == shown
