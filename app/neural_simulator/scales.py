"""A metric's value as a number to learn, and back: of order one in every metric, monotone, without sentinels.

What a number means decides how it is bent, not how a data set happens to lie, so that two models' scores are in the
same units: quantities that run over decades are taken to their logarithm, levels and ratios stay as they are, and what
runs over decades on both sides of zero is bent by an inverse hyperbolic sine. Only location, spread and the limits
beyond which a number tells nothing more are fitted, on training rows. A metric without a value stays without (NaN).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from app.errors import UnknownName
from app.neural_simulator.arrays import Rows, Structure
from app.testbenches._base import Metric, testbenches

Floats = NDArray[np.float64]

#: How a value is bent: as it is, log10(value), or decades on both sides of zero, log10(value / resolution) far from it.
Link = Literal["linear", "log10", "asinh"]

#: A metric most of whose training rows have one value is said to have a usual one (`Scale.usual`).
USUAL_SHARE = 0.5

#: Targets this near to each other are the same value, in standard deviations within a topology.
SAME = 0.01

#: By unit, how far off a metric that is learnt as it is may be told and still be close, in that unit; a tenth of the
#: value is close where it runs over decades.
CLOSE: Mapping[str, float] = {"dB": 1.0, "dBm": 1.0, "deg": 3.0, "V": 0.01, "1": 0.01}
CLOSE_SHARE = 0.1

#: How far beyond the middle 99 % of the training rows values still count as different: decades, or a part of that
#: range where the link is linear.
_MARGIN_DECADES, _MARGIN_PART = 1.0, 0.5
_TAILS = (0.005, 0.995)
_LEAST_SPREAD = 1e-6
_LN10 = math.log(10.0)


@dataclass(frozen=True, slots=True)
class Rule:
    """How values of one meaning are bent, in the metric's unit.

    Magnitudes below `resolution` are all the same to a designer, or to the simulator (``abstol`` of 1 pA); relative
    errors are relative to no less. Numbers beyond `low` and `high` are not told apart: a gain of -500 dB is rounding
    noise. `least` and `most` are what the quantity cannot pass.
    """

    link: Link
    resolution: float
    low: float = -math.inf
    high: float = math.inf
    least: float = -math.inf
    most: float = math.inf


def _decades(resolution: float, least: float = 0.0) -> Rule:
    """A quantity that runs over decades; its values below the resolution are not told apart."""
    return Rule("log10", resolution, low=resolution, least=least)


def _both_sides(resolution: float) -> Rule:
    """A quantity that runs over decades on both sides of zero."""
    return Rule("asinh", resolution)


#: For every unit what a metric in it is unless its name says more. Supplies can be fed: currents may be negative.
BY_UNIT: Mapping[str, Rule] = {
    "dB": Rule("linear", 1.0, -160.0, 160.0),
    "dBm": Rule("linear", 1.0, -160.0, 160.0),
    "deg": Rule("linear", 1.0, -360.0, 360.0),
    "V": Rule("linear", 1e-3, -10.0, 10.0),
    "1": Rule("linear", 1e-3, -100.0, 100.0),
    "A": _decades(1e-12, -math.inf),
    "W": _decades(1e-12, -math.inf),
    "J": _decades(1e-16, -math.inf),
    "ohm": _decades(1e-2, -math.inf),
    "Hz": _decades(1.0),
    "s": _decades(1e-12, -math.inf),
    "m^2": _decades(1e-16),
    "V/s": _decades(1.0),
    "V/V": _decades(1e-6),
    "1/V": _decades(1e-5),
    "ppm/C": _decades(0.1),
    "V/sqrt(Hz)": _decades(1e-11),
    "A/sqrt(Hz)": _decades(1e-17),
    "F": _both_sides(1e-15),
    "S": _both_sides(1e-5),
    "Hz/V": _both_sides(1e6),
}

_NOISE = _decades(1e-7)
_RANGE = Rule("linear", 1e-3, 0.0, 10.0, least=0.0)
_EXCURSION = Rule("asinh", 1e-4, 0.0, least=0.0)
_SHARE = Rule("linear", 1e-3, 0.0, 1.0, 0.0, 1.0)
_POSITIVE_DB = Rule("linear", 1.0, 0.0, 160.0, least=0.0)

#: Metrics whose name says more than their unit.
BY_NAME: Mapping[str, Rule] = {
    **dict.fromkeys(("input_noise_v", "output_noise_v", "track_noise_v"), _NOISE),
    "input_noise_a": _decades(1e-13),
    **dict.fromkeys(("offset_v", "bow_v", "pedestal_v", "step_offset_v"), _both_sides(1e-4)),
    **dict.fromkeys(("hysteresis_v", "reset_residue_v", "undershoot_v", "overshoot_v", "ripple_v"), _EXCURSION),
    **dict.fromkeys(
        ("output_swing_v", "swing_v", "amplitude_v", "linear_input_v", "minimum_supply_v", "compliance_v"), _RANGE
    ),
    **dict.fromkeys(("settling_time_s", "settling_time_fine_s"), _decades(1e-10)),
    "droop_v_per_s": _both_sides(1.0),
    "energy_per_decision_j": _both_sides(1e-14),
    **dict.fromkeys(("input_resistance_ohm", "input_reactance_ohm"), _both_sides(1.0)),
    **dict.fromkeys(("step_error", "regulation_error", "gain_error"), _both_sides(1e-3)),
    **dict.fromkeys(("overshoot", "startup_overshoot"), Rule("asinh", 1e-2, 0.0, least=0.0)),
    **dict.fromkeys(("current_ratio", "current_gain"), _decades(1e-4)),
    **dict.fromkeys(("output_variation", "load_regulation", "fit_error"), _decades(1e-5)),
    "quality": _decades(1e-2),
    "stability_factor": _both_sides(1.0),
    **dict.fromkeys(("duty_cycle", "efficiency", "decision_swing"), _SHARE),
    **dict.fromkeys(("peaking_db", "noise_figure_db", "noise_figure_at_peak_db"), _POSITIVE_DB),
}


def rule_of(metric: Metric) -> Rule:
    """How a metric's values are bent: by its name, else by its unit.

    A unit that `BY_UNIT` does not have gets an inverse hyperbolic sine with the resolution 0, which `fit_scales`
    replaces by a tenth of the median magnitude of the training rows.
    """
    return BY_NAME.get(metric.name) or BY_UNIT.get(metric.unit) or Rule("asinh", 0.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """One metric's values (in `unit`, SI) to targets and back.

    A target is (link(value) - location) / spread, where `spread` is the standard deviation of link(value) around each
    topology's own mean, so that a target's unit is what sizing alone moves the metric by. Values outside of `low` to
    `high` have the target of the nearer limit.

    `usual` is the value that most training rows have, None where there is no such value; its target is 0. The mean of
    a distribution that is mostly one number says little, so models may ask `is_usual` as a question of its own.
    """

    metric: str
    unit: str
    link: Link
    resolution: float
    least: float
    most: float
    low: float
    high: float
    location: float
    spread: float
    usual: float | None = None

    def target(self, values: Floats) -> Floats:
        """Targets of values of any shape; NaN stays NaN."""
        bent = _bent(self.link, self.resolution, np.clip(np.asarray(values, np.float64), self.low, self.high))
        return (bent - self.location) / self.spread

    def value(self, targets: Floats) -> Floats:
        """Values of targets of any shape, within `low` to `high`."""
        bent = np.asarray(targets, np.float64) * self.spread + self.location
        bottom, top = _bent(self.link, self.resolution, np.array([self.low, self.high]))
        straight = _straight(self.link, self.resolution, np.clip(bent, bottom, top))
        return np.clip(straight, self.low, self.high)

    def interval(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """Ends of an interval of targets as values.

        An end at a limit is opened as far as the quantity goes, to infinity unless it is a share or a magnitude, since
        every value out there has the limit's target: a value is in the one interval where its target is in the other.
        What lies beyond a limit is taken as at the limit.
        """
        bottom, top = self.target(np.array([self.low, self.high]))
        first, last = np.clip(low, bottom, top), np.clip(high, bottom, top)
        lower = np.where(first <= bottom, self.least, self.value(first))
        upper = np.where(last >= top, self.most, self.value(last))
        return np.where(np.isnan(low), np.nan, lower), np.where(np.isnan(high), np.nan, upper)

    def is_usual(self, targets: Floats) -> NDArray[np.bool_]:
        """True where a target is that of the usual value; False everywhere for a metric that has none."""
        if self.usual is None:
            return np.zeros(np.shape(targets), np.bool_)
        return np.abs(targets) <= SAME

    def is_close(self, told: Floats, values: Floats) -> NDArray[np.bool_]:
        """True where what is told of a value is as good as right to a designer.

        Of a level it is so within `CLOSE` of its unit; of what runs over decades within a tenth of the value, or within
        the resolution where the value is smaller than ten of these.
        """
        errors = np.abs(told - values)
        if self.link == "linear":
            return np.asarray(errors <= CLOSE.get(self.unit, self.resolution))
        return np.asarray(errors <= np.maximum(CLOSE_SHARE * np.abs(values), self.resolution))

    def as_json(self) -> dict[str, Any]:
        """Every field as JSON takes it: an infinite limit is None."""
        return {
            name: None if isinstance(value, float) and math.isinf(value) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """The scale that `as_json` told."""
        open_ends = {"least": -math.inf, "most": math.inf, "low": -math.inf, "high": math.inf}
        filled = {name: open_ends.get(name) for name, value in fields.items() if value is None}
        return cls(**{**fields, **filled})


class Scales:
    """The scale of every metric of every testbench that was fitted."""

    def __init__(self, scales: Mapping[str, Mapping[str, Scale]]) -> None:
        """`scales` by testbench and metric."""
        self._scales = {testbench: dict(found) for testbench, found in scales.items()}

    def of(self, testbench: str, metric: str) -> Scale:
        """One metric's scale; UnknownName where there is none."""
        if testbench not in self._scales:
            raise UnknownName("testbench with scales", testbench, self._scales)
        if metric not in self._scales[testbench]:
            raise UnknownName(f"scale of testbench {testbench}", metric, self._scales[testbench])
        return self._scales[testbench][metric]

    def metrics(self, testbench: str) -> tuple[str, ...]:
        """The metrics of a testbench that have scales, of one without any none."""
        return tuple(self._scales.get(testbench, ()))

    def targets(self, structure: Structure, values: Floats) -> Floats:
        """Targets [n, M] of values [n, M] of the structure's metrics."""
        return self._columns(structure, Scale.target, values)

    def values(self, structure: Structure, targets: Floats) -> Floats:
        """Values [n, M] of targets [n, M]."""
        return self._columns(structure, Scale.value, targets)

    def intervals(self, structure: Structure, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """Lower and upper ends [n, M] as values, of those as targets."""
        found = [
            self.of(structure.testbench, metric).interval(low[:, place], high[:, place])
            for place, metric in enumerate(structure.metrics)
        ]
        return np.stack([ends[0] for ends in found], axis=1), np.stack([ends[1] for ends in found], axis=1)

    def _columns(self, structure: Structure, turn: Callable[[Scale, Floats], Floats], numbers: Floats) -> Floats:
        turned = np.empty(np.shape(numbers), np.float64)
        for place, metric in enumerate(structure.metrics):
            turned[:, place] = turn(self.of(structure.testbench, metric), numbers[:, place])
        return turned

    def as_json(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Every scale by testbench and metric, as JSON takes it."""
        return {
            testbench: {metric: scale.as_json() for metric, scale in found.items()}
            for testbench, found in self._scales.items()
        }

    @classmethod
    def from_json(cls, tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Self:
        """The scales that `as_json` told."""
        return cls(
            {
                testbench: {metric: Scale.from_json(fields) for metric, fields in found.items()}
                for testbench, found in tables.items()
            }
        )


def fit_scales(tables: Iterable[Rows]) -> Scales:
    """The scale of every metric of the tables' testbenches, from their rows, which should all be training rows.

    Rows of one topology in one technology are one group for the spread, however many tables they are in. A metric
    without any value has the location 0 and the spread 1 of its link.

    Raises:
        UnknownName: a testbench or a metric that is not registered.
    """
    columns: dict[str, dict[str, dict[tuple[str, str], list[Floats]]]] = {}
    for rows in tables:
        structure = rows.structure
        metrics = columns.setdefault(structure.testbench, {})
        for place, metric in enumerate(structure.metrics):
            values = rows.values[:, place]
            groups = metrics.setdefault(metric, {})
            groups.setdefault((structure.topology_id, rows.technology), []).append(values[np.isfinite(values)])
    return Scales(
        {
            testbench: {
                name: _fitted(_metric(testbench, name), [np.concatenate(parts) for parts in groups.values()])
                for name, groups in metrics.items()
            }
            for testbench, metrics in columns.items()
        }
    )


def _metric(testbench: str, name: str) -> Metric:
    metrics = testbenches[testbench].metric_of
    if name not in metrics:
        raise UnknownName(f"metric of testbench {testbench}", name, metrics)
    return metrics[name]


def _fitted(metric: Metric, groups: list[Floats]) -> Scale:
    """The scale of a metric whose values are these, group by group."""
    rule, values = rule_of(metric), np.concatenate(groups)
    resolution = rule.resolution or float(np.median(np.abs(values)) / 10 if len(values) else 1.0) or 1.0
    low, high = _limits(rule, resolution, values)
    bent = [_bent(rule.link, resolution, np.clip(each, low, high)) for each in groups if len(each)]
    location, spread = 0.0, 1.0
    if bent:
        every = np.concatenate(bent)
        location = float(every.mean())
        within = np.concatenate([each - each.mean() for each in bent])
        for deviations in (within, every - location):
            if (found := float(deviations.std())) > _LEAST_SPREAD:
                spread = found
                break
    scale = Scale(
        metric.name, metric.unit, rule.link, resolution, rule.least, rule.most, low, high, location, spread
    )  # fmt: skip
    return _around_usual(scale, values)


def _around_usual(scale: Scale, values: Floats) -> Scale:
    """The scale with the value that most rows have as its location, where there is one."""
    if not len(values):
        return scale
    bins, counts = np.unique(np.round(scale.target(values) / SAME), return_counts=True)
    middle = bins[counts.argmax()] * SAME
    usual = np.median(values[np.abs(scale.target(values) - middle) <= SAME])
    location = float(_bent(scale.link, scale.resolution, np.clip(usual, scale.low, scale.high)))
    moved = replace(scale, location=location, usual=float(usual))
    return moved if moved.is_usual(moved.target(values)).mean() > USUAL_SHARE else scale


def _limits(rule: Rule, resolution: float, values: Floats) -> tuple[float, float]:
    """Lowest and highest value that is told from those beyond it: the rule's, or nearer ones that the rows set."""
    inside = values[(values >= rule.low) & (values <= rule.high)]
    if not len(inside):
        return rule.low, rule.high
    bottom, top = np.quantile(_bent(rule.link, resolution, inside), _TAILS)
    margin = _MARGIN_PART * (top - bottom) if rule.link == "linear" else _MARGIN_DECADES
    if margin <= 0:
        return rule.low, rule.high
    fitted = _straight(rule.link, resolution, np.array([bottom - margin, top + margin]))
    return max(rule.low, float(fitted[0])), min(rule.high, float(fitted[1]))


def _bent(link: Link, resolution: float, values: Floats) -> Floats:
    if link == "linear":
        return values
    if link == "log10":
        return np.log10(values)
    # Far from zero this is log10(|value| / resolution) with the value's sign.
    return np.arcsinh(values / (2 * resolution)) / _LN10


def _straight(link: Link, resolution: float, bent: Floats) -> Floats:
    if link == "linear":
        return bent
    if link == "log10":
        return np.power(10.0, bent)
    return 2 * resolution * np.sinh(bent * _LN10)
