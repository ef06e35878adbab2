"""How promising circuits are, told by toy models whose best point is known; and searches that begin at given points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from app.design.triage import Forecaster, OfflineSearch, Promise
from app.design.warm_start import WarmStart
from app.sizing._base import Floats, Forecast, OfflineModel, Proposer, Trial, sizing_methods
from app.sizing.problem import SizingProblem
from app.sizing.run import Budget, size_circuit
from tests.closed_form_amplifier import ClosedFormAmplifier, amplifier_setup

PROBLEM = amplifier_setup("gain_db>60", "ugf_hz>10e6").problem


@dataclass
class Bowl:
    """Both margins fall with the squared distance from `best`; the second one is `less` lower."""

    best: Floats
    height: float = 1.0
    less: float = 0.0
    spread: float = 0.0
    evaluations: int = 0

    def forecast(self, points: Floats) -> Forecast:
        self.evaluations += len(points)
        margin = self.height - 4.0 * np.sum((points - self.best) ** 2, axis=1)
        margins = np.stack([margin, margin - self.less], axis=1)
        return Forecast(margins, np.full_like(margins, self.spread), np.zeros(len(points)), np.zeros(len(points)))


def promise_of(problem: SizingProblem, model: Forecaster, seed: int) -> Promise:
    """What the whole search finds."""
    search = OfflineSearch(problem, model, seed)
    search.refine()
    return search.promise


def aside(step: float) -> Floats:
    """A point near the start, in every direction a little."""
    return np.clip(PROBLEM.start + step, 0.0, 1.0)


def test_the_best_point_of_a_model_is_nearly_found():
    bowl = Bowl(aside(0.15))
    assert bowl.forecast(PROBLEM.start[None]).margins.min() < -0.4
    found = promise_of(PROBLEM, bowl, seed=1)
    assert found.score > 0.3
    assert np.abs(found.points[0] - aside(0.15)).max() < 0.25


def test_the_score_is_the_least_margin_or_the_sum_of_what_is_missed():
    met = promise_of(PROBLEM, Bowl(PROBLEM.start, height=1.0, less=0.3), seed=1)
    assert met.score == pytest.approx(0.7)
    missed = promise_of(PROBLEM, Bowl(PROBLEM.start, height=-1.0, less=0.5), seed=1)
    assert missed.score == pytest.approx(-2.5)
    assert missed.margins == pytest.approx([-1.0, -1.5])
    assert missed.as_json(PROBLEM) == {"score": -2.5, "margins": {"gain_db>60": -1.0, "ugf_hz>1e+07": -1.5}}


def test_what_a_model_is_unsure_of_counts_less():
    sure, unsure = (promise_of(PROBLEM, Bowl(PROBLEM.start, spread=spread), seed=1) for spread in (0.0, 1.0))
    assert unsure.score == pytest.approx(sure.score - 0.5)


def test_the_promise_is_the_same_for_the_same_seed_and_says_how_many_points_were_asked():
    first, again, other = (promise_of(PROBLEM, model := Bowl(aside(0.2)), seed=seed) for seed in (1, 1, 2))
    assert (first.points == again.points).all()
    assert first.score != other.score
    assert first.evaluations == model.evaluations == 216


def test_the_first_look_costs_little_and_more_is_asked_only_where_the_score_is_not_ample():
    ample, model = Bowl(PROBLEM.start, height=3.0), Bowl(aside(0.15))
    assert promise_of(PROBLEM, ample, seed=1).evaluations == 24
    search = OfflineSearch(PROBLEM, model, seed=1)
    first = search.promise
    assert (first.evaluations, model.evaluations) == (24, 24)
    search.refine()
    assert search.promise.score > first.score


def test_the_points_to_simulate_are_the_best_ones_apart_from_each_other_and_in_the_cube():
    model = Bowl(aside(0.1))
    points = promise_of(PROBLEM, model, seed=1).points[: PROBLEM.batch]
    scores = model.forecast(points).margins.min(axis=1)
    assert len(points) == PROBLEM.batch
    assert (np.diff(scores) <= 0).all()
    assert ((points >= 0) & (points <= 1)).all()
    apart = [np.sqrt(np.mean((a - b) ** 2)) for place, a in enumerate(points) for b in points[:place]]
    assert min(apart) > 0.02


def test_the_start_is_simulated_once_behind_the_best_whatever_the_model_thinks_of_it():
    far = promise_of(PROBLEM, Bowl(np.full(len(PROBLEM.start), 0.95), height=0.5), seed=1).points
    assert len(far) == PROBLEM.batch + 1
    assert (far == PROBLEM.start).all(axis=1).tolist() == [False] * PROBLEM.batch + [True]
    here = promise_of(PROBLEM, Bowl(PROBLEM.start), seed=1).points
    assert (here == PROBLEM.start).all(axis=1).tolist() == [True] + [False] * (PROBLEM.batch - 1)


def test_a_circuit_that_works_at_one_corner_alone_is_judged_by_its_worst():
    whole = amplifier_setup("gain_db>60", "ugf_hz>10e6", corners="pvt").problem
    search = OfflineSearch(PROBLEM, Bowl(aside(0.1)), seed=1)
    search.refine()
    hopeful, corners = search.promise, Bowl(aside(-0.1), height=-1.0)
    search.judge(whole, corners)
    judged = search.promise
    assert hopeful.score > 0 > judged.score
    assert judged.margins.max() < 0
    assert judged.evaluations == hopeful.evaluations + corners.evaluations * len(whole.benches)


@dataclass
class Listening:
    """A method that proposes the corner of the cube, and remembers where it began and what it was told."""

    uses_model: bool = False
    summary: str = "listens"
    reference: str = "here"
    began_at: list[Floats] = field(default_factory=list)
    budgets: list[int] = field(default_factory=list)
    told: list[Sequence[Trial]] = field(default_factory=list)

    def begin(self, problem: SizingProblem, *, seed: int, budget: int, model: OfflineModel | None) -> Proposer:
        self.began_at.append(problem.start)
        self.budgets.append(budget)
        return self

    def ask(self) -> Floats:
        return np.zeros((2, len(PROBLEM.start)))

    def tell(self, trials: Sequence[Trial], guard: Floats) -> None:
        self.told.append(trials)


def test_given_points_are_simulated_first_and_nothing_else_where_they_do():
    setup = amplifier_setup("gain_db>50")
    method = Listening()
    result = size_circuit(
        setup.problem, WarmStart(method, np.array([setup.problem.start])), ClosedFormAmplifier(), seed=1,
        budget=Budget(50), verify=setup.verify,
    )  # fmt: skip
    assert (result.status, result.trials, method.began_at) == ("met", 1, [])
    assert result.trial is not None
    assert result.trial.vector == setup.problem.vector(setup.problem.start)


def test_a_method_goes_on_from_the_best_given_point_with_what_is_left_and_hears_of_its_own_points_alone():
    setup = amplifier_setup("gain_db>150")
    start = setup.problem.start
    place = setup.problem.space.index_of["l_m1"]
    longer = start.copy()
    longer[place] = 1.0  # which has more gain
    method = Listening()
    warm = WarmStart(method, np.array([start, longer, start]))
    assert (warm.summary, warm.reference, warm.uses_model) == ("listens", "here", False)
    size_circuit(setup.problem, warm, ClosedFormAmplifier(), seed=1, budget=Budget(9), verify=setup.verify)
    assert method.began_at[0] == pytest.approx(longer, abs=1e-3)
    assert method.budgets == [5]  # of nine, one for the last check and three for the given points
    assert [len(trials) for trials in method.told] == [2, 2, 1]


def test_more_points_than_are_simulated_together_go_one_batch_after_the_other():
    points = np.tile(PROBLEM.start, (6, 1))
    run = WarmStart(sizing_methods["random"], points).begin(PROBLEM, seed=1, budget=20, model=None)
    assert [len(run.ask()), len(run.ask())] == [4, 2]
