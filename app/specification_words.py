"""The words of a specification: goals, sets of corners, and bounds as texts. Knows no testbench."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from app.errors import InvalidRequest
from app.units import parse_spice_number

Goal = Literal["minimize", "maximize"]

#: ``nominal`` is the technology's own corner alone, ``pvt`` also its slow and fast processes at the ends of supply and
#: temperature.
CornerSet = Literal["nominal", "pvt"]

_BOUND = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(<=|>=|<|>)\s*(\S+)\s*", re.ASCII)
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Objective:
    """What is made as small or as large as the budget allows once every bound is met."""

    metric: str
    goal: Goal


def read_bound(text: str) -> tuple[str, float | None, float | None]:
    """Metric, low and high end of a text such as ``gain_db>60``, ``power_w<1m`` or ``ugf_hz >= 10meg``.

    ``>`` and ``>=`` mean the same: measured numbers are not equal to anything. Numbers are SPICE's.

    Raises:
        InvalidRequest: the text is none.
    """
    match = _BOUND.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        shown = text if len(text) <= 40 else text[:37] + "..."
        raise InvalidRequest(f"{shown!r} is no bound; write METRIC>NUMBER or METRIC<NUMBER, such as 'gain_db>60'")
    try:
        value = parse_spice_number(match[3])
    except ValueError as error:
        raise InvalidRequest(f"the bound on {match[1]}: {error}") from None
    return (match[1], value, None) if match[2].startswith(">") else (match[1], None, value)
