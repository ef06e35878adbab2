"""How a design spends its time, told by a clock that only the work itself moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from app.design.candidates import Candidate
from app.design.run import DesignRun, DesignTools
from app.design.stages import FellOut
from app.sizing._base import Floats, Forecast, Trial, sizing_methods
from app.sizing.problem import SizingProblem
from app.sizing.report import result_fields
from app.sizing.run import Budget, SizingResult, size_circuit
from app.sizing.setup import SizingSetup
from app.workshop import Row
from tests.closed_form_amplifier import ClosedFormAmplifier, amplifier_setup
from tests.designing import ARCHETYPES, by_index, design_request
from tests.sizing import IMPOSSIBLE

CANDIDATES = ARCHETYPES.proposed(design_request(max_devices=None, candidates=6))


@dataclass
class Bench:
    """Fake tools: every candidate is the closed-form amplifier; looking at one and sizing one take these seconds."""

    bound: str
    look_s: float
    size_s: float
    now: float = 1000.0
    budgets: list[Budget] = field(default_factory=list)
    sized_order: list[int] = field(default_factory=list)

    def legal(self, candidate: Candidate, /) -> SizingSetup | FellOut:
        return amplifier_setup(self.bound)

    def conducting(self, candidate: Candidate, /) -> tuple[FellOut | None, int]:
        return None, 1

    def model_of(self, problem: SizingProblem) -> Any:
        self.now += self.look_s
        return self

    def forecast(self, points: Floats) -> Forecast:
        shape = (len(points), 1)
        return Forecast(np.full(shape, 2.0), np.zeros(shape), np.zeros(len(points)), np.zeros(len(points)))

    def size(
        self, setup: SizingSetup, /, *, index: int, points: Floats | None, budget: Budget,
        on_trial: Callable[[Trial, int], None], should_stop: Callable[[], bool],
    ) -> tuple[SizingResult, dict[str, Any]]:  # fmt: skip
        self.budgets.append(budget)
        self.sized_order.append(index)
        self.now += self.size_s
        method = sizing_methods["random"]
        result = size_circuit(
            setup.problem, method, ClosedFormAmplifier(), seed=1, budget=budget, verify=setup.verify, on_trial=on_trial
        )
        return result, result_fields(setup, result, include_decks=False)

    def rows(self, *, minutes: float, candidates: Sequence[Candidate] = CANDIDATES, **fields: Any) -> dict[int, Row]:
        """The finished rows of a design with so much time."""
        request = design_request(self.bound, budget={"minutes": minutes, "simulations": 300}, **fields)
        rows: list[Row] = []
        tools = DesignTools(self, self.model_of, self.size, at_once=1)
        DesignRun(request, tools, rows.append, lambda: False, clock=lambda: self.now).run(candidates, {})
        return by_index(rows)


def test_looking_at_candidates_takes_a_third_of_the_time_and_the_others_are_sized_unlooked_at():
    bench = Bench("gain_db>50", look_s=60.0, size_s=1.0)
    rows = bench.rows(minutes=9.0, enough=6)
    assert [rows[index]["promise"] is None for index in range(6)] == [False, False, False, True, True, True]
    assert bench.sized_order == [0, 1, 2, 3, 4, 5]
    assert {row["status"] for row in rows.values()} == {"ok"}


def test_a_sizing_has_its_share_of_time_and_what_is_left_of_it():
    bench = Bench(IMPOSSIBLE, look_s=0.0, size_s=170.0)
    bench.rows(minutes=6.0, enough=3)
    assert [budget.seconds for budget in bench.budgets] == pytest.approx([60.0, 60.0, 20.0])
    assert {budget.simulations for budget in bench.budgets} == {50}


def test_when_the_time_is_over_no_further_candidate_is_begun():
    bench = Bench(IMPOSSIBLE, look_s=0.0, size_s=200.0)
    rows = bench.rows(minutes=6.0, enough=3)
    assert len(bench.sized_order) == 2
    left = [row for row in rows.values() if row["stage"] == "not_tried"]
    assert {row["why"] for row in left} == {"the budget of 6 minutes ended before its turn"}
    assert len(left) == 4
    assert {row["elapsed_s"] for row in left} == {400.0}
