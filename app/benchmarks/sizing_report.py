"""What comparing sizing methods came to: shares of success, simulations to success, intervals. Runs nothing.

Only cases and seeds that every method has done count. Intervals are 95 %, by resampling cases with all of their seeds:
runs of one case are alike, and resampling runs would promise too much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.benchmarks.sizing_cases import SizingCase
from app.benchmarks.sizing_plan import Attempt, SizingPlan
from app.evaluation.notes import Key
from app.statistics import ROUNDS, drawn, ends, wilson

Floats = NDArray[np.float64]

#: A run that succeeds with fewer simulations than this is a quick one.
QUICK = 20

#: Numbers of simulations that the share of success is told below.
WITHIN = (10, QUICK, 50)

#: Parts of the runs, and the names of the simulations after which so many have succeeded.
_PARTS = {"q1": 0.25, "median": 0.5, "q3": 0.75, "p90": 0.9}


def sizing_report(
    plan: SizingPlan,
    records: Mapping[str, Mapping[Key, Attempt]],
    learnt: Callable[[SizingCase], bool],
    weights: str | None = None,
) -> dict[str, Any]:
    """What is known of the plan.

    ``{simulations, seeds, weights, cases, pairs, missing, methods, groups, best, beside}``: `pairs` of a case and a
    seed count, `missing` ones were not done by all methods. `methods` has the figures of each, `groups` the same of
    parts of the cases, ``cases`` those of each case. `best` is the method with most quick successes, and `beside` says
    of the others how far they are behind, and after how many simulations the best has succeeded as often as they do in
    the end.

    Args:
        plan: What was to be compared.
        records: By method, the runs that are known.
        learnt: Whether the offline model has learnt from sizings of a case's circuit.
        weights: That model's checksum, None where no method uses one.
    """
    pairs = [
        (seed, case)
        for seed, case in plan.pairs()
        if all(plan.key(case, seed) in records[method] for method in plan.methods)
    ]
    runs = {
        method: _Runs.of(plan, [records[method][plan.key(case, seed)] for seed, case in pairs], pairs)
        for method in plan.methods
    }
    groups = {
        "circuit": _parts(plan, lambda case: case.circuit),
        "profile": _parts(plan, lambda case: case.profile),
        "offline model": _parts(plan, lambda case: "knows the circuit" if learnt(case) else "has not seen the circuit"),
    }
    report: dict[str, Any] = {
        "simulations": plan.simulations,
        "seeds": len({seed for seed, _ in pairs}),
        "weights": weights,
        "pairs": len(pairs),
        "missing": len(plan.cases) * plan.seeds - len(pairs),
        "methods": {method: each.figures() for method, each in runs.items()},
        "groups": {
            name: {
                value: {method: each.of_cases(names).figures() for method, each in runs.items()}
                for value, names in parts.items()
            }
            for name, parts in groups.items()
        },
        "cases": [_case(case, learnt(case), runs) for case in plan.cases],
    }
    return report | _beside(runs) if pairs else report | {"best": None, "beside": {}}


@dataclass(frozen=True, eq=False)
class _Runs:
    """Runs [r] of one method: of which case, and the simulations to success, infinite where there was none."""

    case: tuple[str, ...]
    needed: Floats  # [r]
    attempts: tuple[Attempt, ...]

    @classmethod
    def of(cls, plan: SizingPlan, attempts: Sequence[Attempt], pairs: Sequence[tuple[int, SizingCase]]) -> _Runs:
        """The runs of one method on these pairs."""
        needed = [attempt.simulations if attempt.is_met else math.inf for attempt in attempts]
        return cls(tuple(case.name for _, case in pairs), np.array(needed), tuple(attempts))

    def of_cases(self, names: Sequence[str]) -> _Runs:
        """Those of some cases."""
        kept = [place for place, case in enumerate(self.case) if case in names]
        return _Runs(
            tuple(self.case[place] for place in kept),
            self.needed[kept],
            tuple(self.attempts[place] for place in kept),
        )

    @cached_property
    def weights(self) -> Floats:
        """[ROUNDS, r]: how often each run counts in each round of resampled cases."""
        names, number = np.unique(self.case, return_inverse=True)
        return drawn(len(names))[:, number].astype(np.float64)

    def share(self, below: float) -> dict[str, Any]:
        """The share of runs that succeed with fewer simulations, ``{share, low, high, n}``."""
        return self.interval((self.needed < below).astype(np.float64))

    def interval(self, values: Floats) -> dict[str, Any]:
        """The mean of values [r] from 0 to 1; where all agree, by Wilson's interval over cases."""
        mean = float(values.mean())
        if len(np.unique(values)) == 1:
            cases = len(set(self.case))
            low, high = wilson(mean * cases, cases)
        else:
            low, high = ends(self.weights @ values / self.weights.sum(axis=1))
        return {"share": round(mean, 4), "low": round(low, 4), "high": round(high, 4), "n": len(values)}

    def after(self, part: float) -> float | None:
        """Simulations after which a part of the runs has succeeded; None where that many do not."""
        return _finite(float(np.quantile(self.needed, part, method="inverted_cdf")))

    def middle(self) -> dict[str, Any]:
        """The quartiles of the simulations to success and their last tenth, with the median's interval; None is beyond
        the budget.
        """  # fmt: skip
        order = np.argsort(self.needed, kind="stable")
        below = np.cumsum(self.weights[:, order], axis=1)
        medians = self.needed[order][np.argmax(below >= below[:, -1:] / 2, axis=1)]
        low, high = (np.sort(medians)[int(part * (ROUNDS - 1))] for part in (0.025, 0.975))
        return {name: self.after(part) for name, part in _PARTS.items()} | {"low": _finite(low), "high": _finite(high)}

    def figures(self) -> dict[str, Any]:
        """Success, quick success, simulations to success, and what it cost."""
        if not self.attempts:
            return {"runs": 0}
        return {
            "runs": len(self.attempts),
            "success": self.share(math.inf),
            "within": {str(below): self.share(below) for below in WITHIN},
            "simulations": self.middle(),
            "offline_simulations": self._typical("offline_simulations"),
            "model_cpu_s": self._typical("model_cpu_s"),
            "simulator_cpu_s": self._typical("simulator_cpu_s"),
            "failed": sum(attempt.failed is not None for attempt in self.attempts),
        }

    def difference(self, other: _Runs, below: float) -> dict[str, float]:
        """By how much more of the same cases and seeds succeed with fewer simulations than of the other's."""
        gains = (self.needed < below).astype(np.float64) - (other.needed < below)
        low, high = ends(self.weights @ gains / self.weights.sum(axis=1))
        return {"difference": round(float(gains.mean()), 4), "low": round(low, 4), "high": round(high, 4)}

    def last(self) -> float | None:
        """Simulations of the slowest success."""
        succeeded = self.needed[np.isfinite(self.needed)]
        return float(succeeded.max()) if len(succeeded) else None

    def _typical(self, name: str) -> float:
        return round(float(np.median([getattr(attempt, name) for attempt in self.attempts])), 3)


def _parts(plan: SizingPlan, part_of: Callable[[SizingCase], str]) -> dict[str, list[str]]:
    """Names of the plan's cases by what they have in common."""
    parts: dict[str, list[str]] = {}
    for case in plan.cases:
        parts.setdefault(part_of(case), []).append(case.name)
    return parts


def _case(case: SizingCase, is_learnt: bool, runs: Mapping[str, _Runs]) -> dict[str, Any]:
    own = {method: each.of_cases([case.name]) for method, each in runs.items()}
    return {
        "name": case.name,
        "bounds": list(case.bounds),
        "corners": case.corners,
        "settings": dict(case.settings),
        "random_share": case.meeting / case.draws,
        "is_learnt": is_learnt,
        "methods": {
            method: {"success": round(float(np.isfinite(each.needed).mean()), 4), "median": each.after(0.5)}
            for method, each in own.items()
            if each.attempts
        },
    }


def _beside(runs: Mapping[str, _Runs]) -> dict[str, Any]:
    """The best method, and how the others are behind it."""
    best = max(runs, key=lambda method: [float((runs[method].needed < below).mean()) for below in (QUICK, math.inf)])
    ours = runs[best]
    beside = {}
    for method, each in runs.items():
        if method == best:
            continue
        succeed = float(np.isfinite(each.needed).mean())
        beside[method] = {
            name: ours.difference(each, below) for name, below in (("quick", QUICK), ("success", math.inf))
        } | {"as_often_after": ours.after(succeed) if succeed else None, "they_after": each.last()}
    return {"best": best, "beside": beside}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
