"""How a design spends its time, told by a clock that only the work itself moves."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from app.design.candidates import Candidate
from app.design.report import funnel_of
from app.design.run import DesignRun, DesignTools, least_simulations
from app.design.stages import FellOut
from app.sizing._base import Floats, Forecast, Trial, sizing_methods
from app.sizing.problem import SizingProblem
from app.sizing.report import result_fields
from app.sizing.run import Budget, SizingResult, size_circuit
from app.sizing.setup import SizingSetup
from app.workshop import Row, is_finished
from tests.closed_form_amplifier import ClosedFormAmplifier, amplifier_setup
from tests.designing import ARCHETYPES, by_index, design_request
from tests.sizing import IMPOSSIBLE

CANDIDATES = ARCHETYPES.proposed(design_request(max_devices=None, candidates=6))


def forecast_of(margin: float, points: Floats) -> Forecast:
    """A model that expects this margin of every point."""
    shape = (len(points), 1)
    return Forecast(np.full(shape, margin), np.zeros(shape), np.zeros(len(points)), np.zeros(len(points)))


@dataclass
class Expecting:
    """A model that expects this margin of its circuit, whatever the sizes."""

    margin: float

    def forecast(self, points: Floats) -> Forecast:
        return forecast_of(self.margin, points)


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
        return forecast_of(2.0, points)

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

    def told(self, *, minutes: float, candidates: Sequence[Candidate] = CANDIDATES, **fields: Any) -> list[Row]:
        """Every row of a design with so much time, unfinished ones too."""
        request = design_request(self.bound, budget={"minutes": minutes, "simulations": 300}, **fields)
        rows: list[Row] = []
        tools = DesignTools(self, self.model_of, self.size, at_once=1)
        DesignRun(request, tools, rows.append, lambda: False, clock=lambda: self.now).run(candidates, {})
        return rows

    def rows(self, *, minutes: float, **fields: Any) -> dict[int, Row]:
        """The finished rows of a design with so much time."""
        return by_index(self.told(minutes=minutes, **fields))


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


class Doubting(Bench):
    """The models of the candidates, in their order, expect these margins."""

    def __init__(self, bound: str, margins: Sequence[float]) -> None:
        super().__init__(bound, look_s=1.0, size_s=1.0)
        self.margins = iter(margins)

    def model_of(self, problem: SizingProblem) -> Any:
        self.now += self.look_s
        return Expecting(next(self.margins))


#: Hopeless at once, hopeless after the whole search, worth sizing.
AT_ONCE, LATER, FINE = -5.0, -2.0, 2.0


@pytest.mark.parametrize("bound", ["gain_db>50", IMPOSSIBLE])
@pytest.mark.parametrize(
    "margins",
    [
        (LATER, FINE, AT_ONCE, LATER, FINE, LATER),
        (LATER,) * 6,
        (AT_ONCE,) * 6,
        (FINE, FINE, FINE, LATER, AT_ONCE, LATER),
    ],
)
@pytest.mark.parametrize("enough", [1, 6])
def test_no_count_of_the_funnel_ever_falls_while_a_design_runs(bound: str, margins: tuple[float, ...], enough: int):
    known: dict[int, Row] = {}
    counts = funnel_of([])
    rows = Doubting(bound, margins).told(minutes=9.0, enough=enough)
    for row in rows:
        known[row["index"]] = row
        told = funnel_of(known.values())
        assert all(told[name] >= count for name, count in counts.items()), (counts, told, row)
        counts = told
    assert counts == funnel_of(by_index(rows).values())
    notes = [row["progress"]["note"] for row in rows if not is_finished(row)]
    said = [{name: int(count) for count, name in re.findall(r"(\d+) (\w+)[,)]", note)} for note in notes]
    assert all(after[name] >= count for before, after in itertools.pairwise(said) for name, count in before.items())


def test_a_candidate_that_the_whole_search_gives_up_was_promising_and_says_when_it_fell_out():
    rows = Doubting(IMPOSSIBLE, (FINE, LATER, AT_ONCE, FINE, LATER, AT_ONCE)).rows(minutes=9.0, enough=2)
    fallen = {index: row["reached"] for index, row in rows.items() if row["stage"] == "not_promising"}
    assert fallen == {1: "promising", 2: "conducting", 4: "promising", 5: "conducting"}
    first, later = rows[2]["why"], rows[4]["why"]
    assert first.startswith(f"the neural simulator expects even its best sizing to miss {IMPOSSIBLE}, and ")
    assert later.startswith(first.split(",")[0].replace("simulator", "simulator, asked for longer at its turn,"))


class Mistaken(Doubting):
    """Where the models expect a circuit to be fine it is not, and the other way round."""

    def legal(self, candidate: Candidate, /) -> SizingSetup | FellOut:
        return amplifier_setup(IMPOSSIBLE if candidate.index < 3 else self.bound)


def test_what_the_model_gives_up_is_simulated_a_little_where_too_few_others_pass():
    bench = Mistaken("gain_db>50", (FINE, FINE, FINE, AT_ONCE, LATER, AT_ONCE))
    rows = bench.rows(minutes=9.0, enough=2)
    assert bench.sized_order == [0, 1, 2, 4, 3], "those that are doubted come last, the least doubted first"
    assert [rows[index]["status"] for index in range(6)] == ["invalid"] * 3 + ["ok", "ok", "invalid"]
    assert [rows[index]["reached"] for index in (3, 4, 5)] == ["passing", "passing", "conducting"]
    assert (rows[5]["stage"], rows[5]["simulations"]) == ("not_promising", 0)
    assert "did not show otherwise" not in rows[5]["why"]
    assert [budget.simulations for budget in bench.budgets[3:]] == [least_simulations(1)] * 2
    assert bench.budgets[0].simulations > least_simulations(1)


def test_a_doubted_candidate_that_simulation_does_not_save_says_both():
    bench = Doubting(IMPOSSIBLE, (FINE, AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE))
    rows = bench.rows(minutes=9.0, enough=1)
    for index in range(1, 6):
        row = rows[index]
        assert (row["stage"], row["reached"]) == ("not_promising", "conducting")
        assert f"and {row['simulations']} simulations did not show otherwise: {IMPOSSIBLE}" in row["why"]
        assert 0 < row["simulations"] <= least_simulations(1)
