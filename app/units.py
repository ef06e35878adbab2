"""Numbers as SPICE writes them (decimal, scale letter, unit letters; case does not matter) and as people read them."""

from __future__ import annotations

import math
import re
from decimal import Decimal

_NUMBER = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{1,3})?)((?!e)[a-z]*)", re.ASCII | re.IGNORECASE)

#: Scale letters and their factors, the longer spelling first: ``meg`` and ``mil`` before ``m``.
_SCALES = (
    ("meg", Decimal("1e6")),
    ("mil", Decimal("25.4e-6")),
    ("t", Decimal("1e12")),
    ("g", Decimal("1e9")),
    ("k", Decimal("1e3")),
    ("m", Decimal("1e-3")),
    ("u", Decimal("1e-6")),
    ("n", Decimal("1e-9")),
    ("p", Decimal("1e-12")),
    ("f", Decimal("1e-15")),
    ("a", Decimal("1e-18")),
)

_LONGEST = 64


def parse_spice_number(text: str) -> float:
    """The value of a SPICE number: ``1.5k`` is 1500, ``10MEG`` is 1e7, ``2u`` and ``2um`` are 2e-6, ``1M`` is 1e-3.

    The result is the float nearest to the decimal that was written. Letters after the scale are a unit and count for
    nothing; a first letter that is no scale starts the unit (``5V``), except that ``1F`` is one femto, as in SPICE.

    Raises:
        ValueError: The text is not such a number, or lies outside the range of a float.
    """
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        shown = text if len(text) <= 24 else text[:21] + "..."
        raise ValueError(f"{shown!r} is not a SPICE number such as 1.5k, 2u or 1e-6")
    letters = match[2].lower()
    value = Decimal(match[1])
    for letter, factor in _SCALES:
        if letters.startswith(letter):
            value *= factor
            break
    number = float(value)
    if not math.isfinite(number) or (number == 0.0 and value != 0):
        raise ValueError(f"{text!r} lies outside the range of a number")
    return number


def format_spice_number(value: float) -> str:
    """The shortest SPICE text that `parse_spice_number` turns back into exactly `value`: 2e-6 is ``2u``.

    Raises:
        ValueError: The value is infinite or not a number.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be written as a SPICE number")
    exact = Decimal(repr(float(value)))
    if exact == 0:
        return "0"
    written = [_plain(exact), repr(float(value)).replace("e-0", "e-").replace("e+", "e")]
    for letter, factor in _SCALES:
        if letter != "mil":
            written.append(_plain(exact / factor) + letter)
    return min(written, key=len)


def _plain(value: Decimal) -> str:
    """The decimal without exponent and without idle zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


#: Prefixes that people read, by power of ten.
_PREFIXES = {-18: "a", -15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}

#: Units that take no prefix: ratios, logarithms, angles, areas.
_BARE_UNITS = frozenset({"", "1", "1/V", "V/V", "dB", "dBm", "deg", "m^2", "ppm/C"})


def format_quantity(value: float | None, unit: str) -> str:
    """As `format_engineering` in one text, ``55 uA``; a plain number has no unit, and what there is not is a dash."""
    return "-" if value is None else " ".join(format_engineering(value, "" if unit == "1" else unit)).rstrip()


def format_engineering(value: float, unit: str) -> tuple[str, str]:
    """The value with five digits, and its unit with a prefix where it takes one: 5.5e-5 A is ``55`` and ``uA``."""
    if unit in _BARE_UNITS or value == 0 or not math.isfinite(value):
        return f"{value:.5g}", unit
    power = 3 * math.floor(math.log10(abs(float(f"{value:.5g}"))) / 3)
    power = min(max(power, min(_PREFIXES)), max(_PREFIXES))
    return f"{value / 10.0**power:.5g}", f"{_PREFIXES[power]}{unit}"
