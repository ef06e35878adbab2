"""Makes specifications with a known solution: the best of many draws in a direction, backed off until enough meet it.

A profile says which metrics count and how much. The draws are those of the sizing method ``random`` under a seed that
no comparison uses, so that the share of them that meets a specification says how often blind search does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from app.analog.netlist import Netlist
from app.benchmarks.sizing_cases import CaseFile, SizingCase
from app.errors import InvalidRequest
from app.neural_simulator.scales import rule_of
from app.sizing._base import sizing_methods
from app.sizing.problem import SizingProblem
from app.sizing.run import Simulator
from app.specification import CornerSet, corners_of, parse_bound, specification_of
from app.technologies._base import DEFAULT_TECHNOLOGY, Technology
from app.technologies._gmid import GmIdProvider
from app.testbenches._base import Metric, Testbench
from app.testbenches._simulator import bench_start, prepare_bench

Floats = NDArray[np.float64]

#: Of the draws; comparisons count theirs from 0.
SEED = 1_000_003

#: One step of backing off: decibels, degrees, and a part of what runs over decades.
_STEPS = {"dB": 0.5, "deg": 1.0}
_STEP_PART = 0.05

#: Sizings in a round of improvement, rounds, and the deviation that the first one begins with in the unit cube.
_ROUND, _ROUNDS, _WIDTH, _NARROWER = 100, 12, 0.15, 0.8

#: Draws of the highest scores of which the one is taken that has to be backed off least: the very best is an oddity.
_CANDIDATES = 12

#: The spread of a metric that all draws have the same value of.
_LEAST_SPREAD = 1e-9

#: Steps that an improved solution is backed off by.
_IMPROVED_STEPS = 2


@dataclass(frozen=True)
class Profile:
    """What is asked of a circuit: bounds that everyone asks for, and metrics to be good in, with their weights.

    A good draw is backed off until at least one of `rarity` draws meets the specification; where that is None, the best
    one is first improved beyond all draws, and backed off by a fixed amount.
    """

    name: str
    summary: str
    fixed: tuple[str, ...]
    wanted: Mapping[str, float]
    settings: Mapping[str, float] = field(default_factory=dict)
    corners: CornerSet = "nominal"
    rarity: int | None = 300


@dataclass(frozen=True)
class Family:
    """The profiles of a testbench, and the archetypes that are to meet them."""

    testbench: str
    circuits: tuple[str, ...]
    profiles: tuple[Profile, ...]
    technology: str = DEFAULT_TECHNOLOGY


#: Rarities: blind search succeeds within 100 simulations every third time, and every tenth time.
_MODERATE, _RARE = 250, 1000

_AMPLIFIES = ("phase_margin_deg>60", "ugf_hz>1meg", "gain_db>30")
_REGULATES = ("phase_margin_deg>45", "output_v>1.1", "output_v<1.3")
_DECIDES = ("decision_swing>0.9",)
_LIGHT, _HEAVY = {"load_f": 2e-12}, {"load_f": 10e-12}
_ALIKE = {"gain_db": 1, "ugf_hz": 1, "power_w": 1}

FAMILIES: tuple[Family, ...] = (
    Family(
        "opamp",
        ("opamp/two_stage_miller", "opamp/folded_cascode", "opamp/telescopic_cascode", "opamp/current_mirror_ota"),
        (
            Profile("textbook", "gain, bandwidth and power alike", _AMPLIFIES, _ALIKE, _LIGHT, rarity=_MODERATE),
            Profile("fast", "bandwidth before gain and power", _AMPLIFIES, {**_ALIKE, "ugf_hz": 3}, _LIGHT,
                    rarity=_MODERATE),
            Profile("low_power", "power before gain and bandwidth", _AMPLIFIES, {**_ALIKE, "power_w": 3}, _LIGHT,
                    rarity=_MODERATE),
            Profile("heavy_load", "bandwidth at 10 pF before gain and power", _AMPLIFIES, {**_ALIKE, "ugf_hz": 2},
                    _HEAVY, rarity=_MODERATE),
            Profile("high_gain", "gain before bandwidth and power", _AMPLIFIES, {**_ALIKE, "gain_db": 3}, _LIGHT,
                    rarity=_RARE),
            Profile("rejection", "gain, bandwidth, rejection of common mode and supply", _AMPLIFIES,
                    {"gain_db": 1, "ugf_hz": 1, "cmrr_db": 1, "psrr_db": 1}, _LIGHT, rarity=_RARE),
            Profile("low_noise", "little noise in a small area", _AMPLIFIES,
                    {"ugf_hz": 1, "input_noise_v_per_rthz": 2, "area_m2": 1}, _LIGHT, rarity=_RARE),
            Profile("slewing", "slew rate for little power", _AMPLIFIES,
                    {"gain_db": 1, "slew_rate_v_per_s": 2, "power_w": 1}, _LIGHT, rarity=_RARE),
            Profile("settling", "fast settling to 0.1 % for little power", _AMPLIFIES,
                    {"gain_db": 1, "settling_time_fine_s": 2, "power_w": 1}, _LIGHT, rarity=_RARE),
            Profile("small", "area before gain, bandwidth and power", _AMPLIFIES, {**_ALIKE, "area_m2": 2}, _LIGHT,
                    rarity=_RARE),
            Profile("corners", "gain, bandwidth and power at five corners", _AMPLIFIES, _ALIKE, _LIGHT, corners="pvt",
                    rarity=_MODERATE),
            Profile("tight", "gain, bandwidth, power and area, better than any draw", _AMPLIFIES,
                    {**_ALIKE, "area_m2": 1}, _LIGHT, rarity=None),
        ),
    ),
    Family(
        "ldo",
        ("ldo/pmos_pass",),
        (
            Profile("regulator", "rejection, load regulation and quiescent current", _REGULATES,
                    {"psrr_db": 1, "load_regulation": 1, "quiescent_current_a": 1}, rarity=_MODERATE),
            Profile("transient", "little undershoot for its current", _REGULATES,
                    {"undershoot_v": 2, "quiescent_current_a": 1}, rarity=_MODERATE),
            Profile("quiet", "little noise for its current and area", _REGULATES,
                    {"output_noise_v": 2, "quiescent_current_a": 1, "area_m2": 1}, rarity=_MODERATE),
        ),
    ),
    Family(
        "comparator",
        ("comparator/strongarm",),
        (
            Profile("fast", "delay before energy", _DECIDES, {"propagation_delay_s": 3, "energy_per_decision_j": 1},
                    rarity=_RARE),
            Profile("frugal", "energy before delay", _DECIDES, {"propagation_delay_s": 1, "energy_per_decision_j": 3},
                    rarity=_RARE),
            Profile("small", "area before delay and energy", _DECIDES,
                    {"propagation_delay_s": 1, "energy_per_decision_j": 1, "area_m2": 2}, rarity=_RARE),
        ),
    ),
)  # fmt: skip


def make_cases(
    family: Family,
    netlist_of: Mapping[str, Netlist],
    testbench: Testbench,
    technology: Technology,
    simulator: Simulator,
    gmid: GmIdProvider,
    *,
    draws: int,
    seed: int = SEED,
    note: Callable[[str], object] = lambda sentence: None,
) -> CaseFile:
    """A case for every circuit and profile of the family. `note` is told of each.

    Raises:
        InvalidRequest, UnknownName: the family's bounds or metrics are not those of its testbench.
    """
    cases = []
    for circuit in family.circuits:
        taken: set[int] = set()  # a draw that is best in two ways is the solution of one specification
        for profile in family.profiles:
            study = _Study.of(netlist_of[circuit], testbench, technology, profile, simulator, gmid)
            made = study.case(circuit, draws, seed, taken)
            note(f"{made.name}: {made.meeting} of {draws} draws meet {', '.join(made.bounds)}")
            cases.append(made)
    summaries = {profile.name: profile.summary for profile in family.profiles}
    return CaseFile(testbench.name, technology.name, seed, draws, summaries, tuple(cases))


@dataclass
class _Study:
    """One circuit and profile: what sizings do there. M wanted metrics, V variables."""

    profile: Profile
    problem: SizingProblem  # of the fixed bounds alone; its benches measure what is wanted too
    wanted: tuple[Metric, ...]
    simulator: Simulator

    @classmethod
    def of(
        cls,
        netlist: Netlist,
        testbench: Testbench,
        technology: Technology,
        profile: Profile,
        simulator: Simulator,
        gmid: GmIdProvider,
    ) -> _Study:
        """The circuit on its benches, at its guided start."""
        fixed = specification_of(profile.fixed, settings=profile.settings, corners=profile.corners)
        metrics = [*fixed.metrics, *profile.wanted]
        benches = [
            prepare_bench(netlist, testbench, technology, corner=corner, metrics=metrics, settings=fixed.settings)
            for corner in corners_of(fixed, technology)
        ]
        start = bench_start(benches[0], gmid)
        started = tuple(replace(bench, space=bench.space.starting_at(start)) for bench in benches)
        return cls(profile, SizingProblem(fixed, started), testbench.wanted(list(profile.wanted)), simulator)

    def case(self, circuit: str, draws: int, seed: int, taken: set[int]) -> SizingCase:
        """The specification that a good draw leads to, none of those `taken`, to which it is added.

        Raises:
            InvalidRequest: too few draws meet the fixed bounds.
        """
        proposer = sizing_methods["random"].begin(self.problem, seed=seed, budget=draws, model=None)
        points = np.concatenate([proposer.ask() for _ in range(math.ceil(draws / self.problem.batch))])[:draws]
        drawn = self._values(points)
        enough = 0 if self.profile.rarity is None else math.ceil(draws / self.profile.rarity)
        usable = np.isfinite(drawn).all(axis=1)
        if usable.sum() < max(2, enough) + len(taken):
            raise InvalidRequest(
                f"{usable.sum()} of {draws} sizings of {circuit} meet {', '.join(self.profile.fixed)}; draw more"
            )
        tenth, middle, ninth = np.quantile(self._levels(drawn[usable]), (0.1, 0.5, 0.9), axis=0)
        scores = partial(self._scores, middle, np.maximum(ninth - tenth, _LEAST_SPREAD))
        order = np.argsort(-scores(drawn), kind="stable")[: usable.sum()].tolist()
        best_first = [place for place in order if place not in taken]
        if self.profile.rarity is None:
            solution, reached = self._improved(points[best_first[0]], drawn[best_first[0]], scores, seed)
            steps = _IMPROVED_STEPS
        else:
            needed = {place: self._steps(drawn, drawn[place], enough) for place in best_first[:_CANDIDATES]}
            best = min(needed, key=lambda place: needed[place])
            taken.add(best)
            solution, reached, steps = points[best], drawn[best], needed[best]
        asked = self._bounds(reached, steps)
        bounds = [parse_bound(text) for text in (*self.profile.fixed, *self._written(asked))]
        asking = replace(self.problem, specification=specification_of(bounds))
        bench = self.problem.benches[0]
        return SizingCase(
            circuit=circuit,
            profile=self.profile.name,
            testbench=bench.testbench.name,
            technology=bench.technology.name,
            bounds=tuple(limit.said for limit in asking.limits),
            settings=dict(self.profile.settings),
            corners=self.profile.corners,
            solution=bench.space.as_sizing(self.problem.vector(solution)),
            steps=steps,
            draws=draws,
            meeting=self._meeting(drawn, asked),
            is_improved=self.profile.rarity is None,
        )

    def _values(self, points: Floats) -> Floats:
        """[n, M] in SI units of points [n, V], at the worst corner; NaN where any corner breaks a fixed bound or a
        metric has no value.
        """  # fmt: skip
        vectors = [self.problem.vector(point) for point in points]
        worst = np.full((len(points), len(self.wanted)), np.nan)
        left = list(range(len(points)))
        for bench in self.problem.benches:
            kept = []
            for row in self.simulator.run(bench, [vectors[place] for place in left]):
                place = left[row["index"]]
                found = np.array([row["metrics"][metric.name] for metric in self.wanted], dtype=np.float64)
                is_whole = (self.problem.margins(row["metrics"]) >= 0).all() and np.isfinite(found).all()
                known = worst[place]
                worse = np.where(self._signs > 0, np.fmin(known, found), np.fmax(known, found))
                worst[place] = worse if is_whole else np.nan
                kept += [place] if is_whole else []
            left = sorted(kept)
        return worst

    @property
    def _signs(self) -> NDArray[np.int64]:
        """[M]: 1 where more is better, -1 where less is."""
        return np.array([-1 if metric.better == "lower" else 1 for metric in self.wanted])

    def _levels(self, values: Floats) -> Floats:
        """Values [n, M] so that more is better: logarithms of what runs over decades."""
        is_log = [rule_of(metric).link == "log10" for metric in self.wanted]
        return np.asarray(self._signs * np.where(is_log, np.log(np.where(is_log, values, 1.0)), values))

    def _scores(self, usual: Floats, spread: Floats, values: Floats) -> Floats:
        """[n]: the weighted sum of what values [n, M] are above usual levels [M], in spreads [M]; minus infinity where
        there is a NaN.
        """  # fmt: skip
        weights = np.array([self.profile.wanted[metric.name] for metric in self.wanted])
        scores = ((self._levels(values) - usual) / spread) @ weights
        return np.where(np.isnan(scores), -math.inf, scores)

    def _improved(
        self, point: Floats, values: Floats, scores: Callable[[Floats], Floats], seed: int
    ) -> tuple[Floats, Floats]:
        """A point and its values that no draw around it, ever nearer, is better than."""
        rng = np.random.default_rng(seed)
        for number in range(_ROUNDS):
            around = point + _WIDTH * _NARROWER**number * rng.standard_normal((_ROUND, len(point)))
            near = np.clip(around, 0.0, 1.0)
            found = self._values(near)
            best = int(scores(found).argmax())
            if scores(found)[best] > scores(values[None])[0]:
                point, values = near[best], found[best]
        return point, values

    def _steps(self, drawn: Floats, values: Floats, enough: int) -> int:
        """How many steps values [M] are backed off until enough of the draws [n, M] meet what is asked."""
        steps = 1
        while self._meeting(drawn, self._bounds(values, steps)) < enough:
            steps += 1
        return steps

    def _bounds(self, values: Floats, steps: int) -> list[float]:
        """[M]: what is asked for where values [M] are reached, so many steps less."""
        return [
            _loosened(metric, _backed_off(metric, value, sign * steps))
            for metric, value, sign in zip(self.wanted, values.tolist(), self._signs.tolist(), strict=True)
        ]

    def _meeting(self, drawn: Floats, bounds: Sequence[float]) -> int:
        """How many draws [n, M] meet the bounds."""
        return int((self._signs * (drawn - np.array(bounds)) >= 0).all(axis=1).sum())

    def _written(self, bounds: Sequence[float]) -> list[str]:
        return [
            f"{metric.name}{'>' if sign > 0 else '<'}{bound:g}"
            for metric, bound, sign in zip(self.wanted, bounds, self._signs, strict=True)
        ]


def _backed_off(metric: Metric, value: float, steps: int) -> float:
    """The value so many steps lower, or higher where that is negative."""
    if metric.unit in _STEPS:
        return value - steps * _STEPS[metric.unit]
    return float(value * math.pow(1 - _STEP_PART, steps))


def _loosened(metric: Metric, value: float) -> float:
    """The value, or a little less where more is better: decibels and degrees are whole, the others have two digits."""
    if value == 0:
        return 0.0
    unit = 1.0 if metric.unit in _STEPS else 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    rounded = math.ceil(value / unit) if metric.better == "lower" else math.floor(value / unit)
    return float(f"{rounded * unit:.3g}")
