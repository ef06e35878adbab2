"""What a circuit is asked for: bounds on the metrics of a testbench, over corners, and what to make of the rest.

A specification is plain data; `check_specification` says whether a testbench and a technology can answer it. Neither
knows whether any circuit meets it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from app.errors import InvalidInput, InvalidRequest, pointing_at
from app.neural_simulator.scales import Rule, rule_of
from app.specification_words import CornerSet as CornerSet
from app.specification_words import Goal as Goal
from app.specification_words import Objective as Objective
from app.specification_words import read_bound
from app.technologies._base import Technology
from app.testbenches._base import Bound, Corner, Metric, Testbench
from app.testbenches._simulator import make_corner

#: Ends of ``pvt``: parts of the supply, and degrees Celsius.
SUPPLY_TOLERANCE = 0.1
COLD_CELSIUS, HOT_CELSIUS = -40.0, 125.0

#: A specification's supply may be so many times the technology's.
MOST_OVERDRIVE = 1.1

#: What no circuit made of transistors passes, in the metric's unit: beyond it a bound is called impossible.
_CEILINGS: Mapping[str, float] = MappingProxyType({"Hz": 1e13, "A": 1e3, "V": 1e3, "W": 1e4, "V/s": 1e14})


@dataclass(frozen=True)
class Specification:
    """Bounds that hold at every corner, one for each metric; settings of the testbench that replace its defaults.

    `supply_v` is the nominal supply, the technology's where it is None. `corners` is a named set, or corners of which
    the first is the one that is searched at.
    """

    bounds: tuple[Bound, ...]
    objective: Objective | None = None
    settings: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    supply_v: float | None = None
    corners: CornerSet | tuple[Corner, ...] = "pvt"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that it speaks of, each once."""
        names = [bound.metric for bound in self.bounds]
        return tuple(dict.fromkeys([*names, self.objective.metric] if self.objective else names))

    def as_json(self) -> dict[str, Any]:
        """Bounds, objective, settings, supply and the name of the corner set (None where corners are listed)."""
        return {
            "bounds": [
                {"metric": bound.metric}
                | {side: value for side, value in (("low", bound.low), ("high", bound.high)) if value is not None}
                for bound in self.bounds
            ],
            "objective": None if self.objective is None else {self.objective.goal: self.objective.metric},
            "settings": dict(self.settings),
            "supply_v": self.supply_v,
            "corners": self.corners if isinstance(self.corners, str) else None,
        }


def parse_bound(text: str) -> Bound:
    """The bound that a text writes; see `read_bound`, which says what it raises."""
    return Bound(*read_bound(text))


def merged(bounds: Iterable[Bound]) -> tuple[Bound, ...]:
    """One bound for each metric, the tightest of what is asked, in the order in which metrics are first named.

    Raises:
        InvalidRequest: nothing is asked, a number is not finite, or what is asked of a metric contradicts itself.
    """
    found: dict[str, Bound] = {}
    for bound in bounds:
        ends = [end for end in (bound.low, bound.high) if end is not None]
        if not ends:
            raise InvalidRequest(f"the bound on {bound.metric} has neither a low nor a high end")
        if not all(math.isfinite(end) for end in ends):
            raise InvalidRequest(f"the bound on {bound.metric} is not a finite number")
        known = found.get(bound.metric, Bound(bound.metric))
        low = max((end for end in (known.low, bound.low) if end is not None), default=None)
        high = min((end for end in (known.high, bound.high) if end is not None), default=None)
        if low is not None and high is not None and low > high:
            raise InvalidRequest(
                f"{bound.metric} is asked to be at least {low:g} and at most {high:g}, which contradict each other"
            )
        found[bound.metric] = Bound(bound.metric, low, high)
    if not found:
        raise InvalidRequest("a specification needs at least one bound, such as 'gain_db>60'")
    return tuple(found.values())


def check_specification(specification: Specification, testbench: Testbench, technology: Technology) -> None:
    """The testbench measures what is asked for, and nothing that is asked for is beyond every circuit.

    Raises:
        UnknownName: a metric or setting that the testbench does not have.
        InvalidRequest: an impossible bound, a setting outside its range, or a supply that the technology does not bear.
    """
    with _pointing_instead("/metrics", "/specification/bounds"):
        testbench.wanted([bound.metric for bound in specification.bounds])
        for bound in specification.bounds:
            _check_bound(bound, testbench.metric_of[bound.metric])
    if specification.objective is not None:
        with _pointing_instead("/metrics", "/specification/objective"):
            testbench.wanted([specification.objective.metric])
    asked = specification.supply_v
    if asked is not None and not 0 < asked <= MOST_OVERDRIVE * technology.supply_v:
        raise InvalidRequest(
            f"the specification's supply is {asked:g} V, {technology.name} is made for {technology.supply_v:g} V and "
            f"bears {MOST_OVERDRIVE * technology.supply_v:g} V; choose another technology or supply",
            pointer="/specification/supply_v",
        )
    with _pointing_instead("/corner", "/specification/corners"):
        corners = corners_of(specification, technology)
    with _pointing_instead("/settings", "/specification/settings"):
        for corner in corners:
            testbench.settings_for(corner, specification.settings)


@contextmanager
def _pointing_instead(theirs: str, ours: str) -> Iterator[None]:
    """InvalidInput raised inside points into the specification, where it would point into a request for a bench."""
    try:
        yield
    except InvalidInput as error:
        error.pointer = ours + (error.pointer or "").removeprefix(theirs)
        raise


def _check_bound(bound: Bound, metric: Metric) -> None:
    lowest, highest = _limits(rule_of(metric), metric.unit)
    unit = "" if metric.unit == "1" else f" {metric.unit}"
    if bound.low is not None and bound.low > highest:
        raise InvalidRequest(
            f"{metric.name} is asked to be at least {bound.low:g}{unit}; no circuit has more than {highest:g}{unit}"
        )
    if bound.high is not None and bound.high < lowest:
        raise InvalidRequest(
            f"{metric.name} is asked to be at most {bound.high:g}{unit}; no circuit has less than {lowest:g}{unit}"
        )


def _limits(rule: Rule, unit: str) -> tuple[float, float]:
    """The least and greatest value that a circuit can have."""
    ceiling = _CEILINGS.get(unit, math.inf)
    return max(rule.least, rule.low, -ceiling), min(rule.most, rule.high, ceiling)


def corners_of(specification: Specification, technology: Technology) -> tuple[Corner, ...]:
    """The corners at which bounds hold; the first is the nominal one, or the first that the specification lists.

    Raises:
        UnknownName, InvalidRequest: a listed corner is none of the technology.
    """
    supply_v = technology.supply_v if specification.supply_v is None else specification.supply_v
    if not isinstance(specification.corners, str):
        return tuple(make_corner(technology, *_parts(corner)) for corner in specification.corners)
    nominal = make_corner(technology, None, supply_v, None)
    if specification.corners == "nominal":
        return (nominal,)
    ends = [
        (process, supply_v * (1 + sign * SUPPLY_TOLERANCE), celsius)
        for process, sign in (("ss", -1), ("ff", 1))
        if process in technology.processes
        for celsius in (HOT_CELSIUS, COLD_CELSIUS)
    ]
    if not ends:  # a technology of one process has corners of supply and temperature all the same
        ends = [
            (nominal.process, supply_v * (1 + sign * SUPPLY_TOLERANCE), celsius)
            for sign, celsius in ((-1, HOT_CELSIUS), (-1, COLD_CELSIUS), (1, HOT_CELSIUS), (1, COLD_CELSIUS))
        ]
    return (nominal, *(make_corner(technology, *each) for each in ends))


def _parts(corner: Corner) -> tuple[str, float, float]:
    return corner.process, corner.supply_v, corner.celsius


def specification_of(
    bounds: Sequence[Bound | str],
    *,
    objective: Objective | None = None,
    settings: Mapping[str, float] | None = None,
    supply_v: float | None = None,
    corners: CornerSet | tuple[Corner, ...] = "pvt",
) -> Specification:
    """A specification of bounds as values or as texts; raises InvalidRequest as `parse_bound` and `merged` do."""
    with pointing_at("/specification/bounds"):
        read = [parse_bound(bound) if isinstance(bound, str) else bound for bound in bounds]
        return Specification(merged(read), objective, MappingProxyType(dict(settings or {})), supply_v, corners)
