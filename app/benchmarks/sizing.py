"""Sizing methods at equal numbers of real simulations: the same circuits, specifications, starting points and seeds.

Runs go seed by seed through all cases and methods, so that what is done so far is a fair comparison at any time. Each
method has a journal of its own in the work folder: one that was improved is compared anew by removing its folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.linalg import LinAlgError

from app.benchmarks.sizing_cases import SizingCase
from app.benchmarks.sizing_plan import Attempt, SizingPlan
from app.benchmarks.sizing_report import sizing_report
from app.evaluation.notes import Notes
from app.sizing._base import sizing_methods
from app.sizing.problem import SizingProblem
from app.sizing.run import Budget, LearningModel, Simulator, size_circuit

#: Wall time that no run gets near to: simulations are what is limited.
_SECONDS = 86400.0

#: Makes the offline model of a problem, which has seen no simulation of it; None where there can be none.
Forecasting = Callable[[SizingProblem], LearningModel | None]

#: Told of runs that are done, of all, and a sentence on the last one.
Progress = Callable[[int, int, str], None]


def bench_sizing(
    plan: SizingPlan,
    problem_of: Callable[[SizingCase], SizingProblem],
    simulator: Simulator,
    forecasting: Forecasting,
    *,
    learnt: Callable[[SizingCase], bool],
    weights: str | None = None,
    work: Path | None = None,
    minutes: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What `sizing_report` says of all runs of the plan that are known when it ends.

    Args:
        plan: What is compared.
        problem_of: Makes a case's problem, once.
        simulator: ngspice.
        forecasting: For methods that use a model.
        learnt: Whether that model has learnt from sizings of a case's circuit.
        weights: The model's checksum: journals of methods that use it belong to it.
        work: The folder to go on from and to keep the journals in.
        minutes: No run begins after so long.
        progress: Told of each run.

    Raises:
        UnknownName: no method of such a name.
        PackageMissing: a method needs a package that is not installed.
        InvalidRequest: the folder's journals are of another model.
    """
    methods = {name: sizing_methods[name] for name in plan.methods}
    with ExitStack() as journals:
        notes: dict[str, Notes[Attempt]] = {}
        for name, method in methods.items():
            identity = {"method": name, "model": weights if method.uses_model else None}
            folder = None if work is None else work / name
            notes[name] = journals.enter_context(Notes.open(identity, folder, Attempt.from_json))
        _Bench(plan, problem_of, simulator, forecasting, notes, progress).run(minutes)
        return sizing_report(plan, {name: each.records for name, each in notes.items()}, learnt, weights)


@dataclass
class _Bench:
    """A plan that is being worked through."""

    plan: SizingPlan
    problem_of: Callable[[SizingCase], SizingProblem]
    simulator: Simulator
    forecasting: Forecasting
    notes: Mapping[str, Notes[Attempt]]
    progress: Progress | None
    problems: dict[str, SizingProblem] = field(default_factory=dict)

    def run(self, minutes: float | None) -> None:
        """All runs are done that are not known yet or failed the last time, or the minutes are over."""
        began = time.monotonic()
        waiting = [
            (seed, case, method)
            for seed, case in self.plan.pairs()
            for method in self.notes
            if not self._is_known(method, case, seed)
        ]
        total = self.plan.seeds * len(self.plan.cases) * len(self.notes)
        for done, (seed, case, method) in enumerate(waiting, start=total - len(waiting) + 1):
            if minutes is not None and time.monotonic() - began >= 60 * minutes:
                return
            attempt = self._attempt(case, method, seed)
            self.notes[method].add([attempt], {})
            if self.progress is not None:
                self.progress(done, total, attempt.told)

    def _is_known(self, method: str, case: SizingCase, seed: int) -> bool:
        known = self.notes[method].records.get(self.plan.key(case, seed))
        return known is not None and known.failed is None

    def _attempt(self, case: SizingCase, method: str, seed: int) -> Attempt:
        """One run. A method that breaks has not met the case."""
        problem, cpu = self._problem(case), time.process_time()
        place: dict[str, Any] = {
            "case": case.name, "digest": case.digest, "method": method, "seed": seed, "budget": self.plan.simulations,
        }  # fmt: skip
        try:
            result = size_circuit(
                problem,
                sizing_methods[method],
                self.simulator,
                seed=seed,
                budget=Budget(self.plan.simulations, _SECONDS),
                verify=problem.benches,
                model=self.forecasting(problem) if sizing_methods[method].uses_model else None,
            )
        except (ArithmeticError, LinAlgError, RuntimeError, ValueError) as error:
            return Attempt(
                **place, is_met=False, simulations=self.plan.simulations, offline_simulations=0, score=None,
                simulator_cpu_s=0.0, model_cpu_s=0.0, failed=f"{type(error).__name__}: {error}",
            )  # fmt: skip
        return Attempt(
            **place,
            is_met=result.status == "met",
            simulations=result.simulations,
            offline_simulations=result.offline_simulations,
            score=None if result.trial is None else round(result.trial.score, 6),
            simulator_cpu_s=round(result.simulator_cpu_s, 4),
            model_cpu_s=round(time.process_time() - cpu, 4),
        )

    def _problem(self, case: SizingCase) -> SizingProblem:
        """The problem of a case, made once."""
        if case.name not in self.problems:
            self.problems[case.name] = self.problem_of(case)
        return self.problems[case.name]
