"""The trust region's parts on problems with known answers, and what an offline model is worth to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from app.sizing._base import Floats, Forecast, sizing_methods
from app.sizing.methods._climb import Looked, Wish, climb
from app.sizing.methods._gaussian import GaussianProcesses
from app.sizing.methods._region import TrustRegion
from app.sizing.run import Budget, SizingResult, size_circuit
from tests.hand_sized_ota import HARD, BiasedModel, ClosedForm, ota_problem

PROBLEM = ota_problem(*HARD)


def sized(model: BiasedModel | None, *, simulations: int = 60, seed: int = 1) -> SizingResult:
    return size_circuit(
        PROBLEM, sizing_methods["trust-region"], ClosedForm(), seed=seed, budget=Budget(simulations, 60.0),
        verify=PROBLEM.benches, model=model,
    )  # fmt: skip


def waves(points: Floats) -> Floats:
    return np.stack([np.sin(3 * points[:, 0]), np.cos(2 * points[:, 1]) - 0.5], axis=1)


def test_processes_tell_what_botorch_tells() -> None:
    rng = np.random.default_rng(0)
    points, others = rng.random((20, 3)), rng.random((5, 3))
    processes = GaussianProcesses(points, waves(points))
    mean, deviation = processes.told(others)
    with torch.no_grad():
        theirs = processes._model.posterior(torch.from_numpy(others))
    assert mean == pytest.approx(theirs.mean.numpy(), abs=1e-5)
    assert deviation == pytest.approx(theirs.variance.sqrt().numpy(), abs=1e-4)


def test_drawn_functions_are_off_as_far_as_the_deviation_says_and_alike_at_one_place() -> None:
    rng = np.random.default_rng(1)
    points = rng.random((12, 2))
    processes = GaussianProcesses(points, waves(points))
    drawn = processes.drawn(np.array([[0.2, 0.9], [0.2, 0.9], [0.9, 0.1]]), 4000, rng)
    assert drawn.std(axis=0) == pytest.approx(np.ones((3, 2)), abs=0.05)
    assert drawn[:, 0] == pytest.approx(drawn[:, 1], abs=0.05)


def test_a_region_doubles_after_three_successes_and_halves_when_its_patience_ends() -> None:
    region = TrustRegion(0.4, patience=2)
    for is_success in (True, True, True):
        region.judge(is_success)
    assert region.length == 0.8
    for is_success in (False, True, False, False):
        region.judge(is_success)
    assert region.length == 0.4
    for _ in range(12):
        region.judge(False)
    assert region.is_spent


def test_candidates_of_a_region_lie_inside_and_differ_from_its_centre() -> None:
    centre = np.array([0.05, 0.5, 0.9])
    points = TrustRegion(0.2, patience=2).candidates(centre, 200, np.random.default_rng(0))
    assert (points >= [0.0, 0.4, 0.8]).all()
    assert (points <= [0.15, 0.6, 1.0]).all()
    assert (points != centre).any(axis=1).all()


def test_the_slope_of_a_wish_is_that_of_its_merit() -> None:
    wish = Wish(np.array([0.1, -math.inf]), np.array([0.0, 4.0]), blur=0.1)
    mean, deviation = np.array([[0.05, 2.0]]), np.array([[0.04, 0.3]])
    steps = np.eye(2) * 1e-6
    slopes = [(wish.merit(mean + step, deviation) - wish.merit(mean - step, deviation))[0] / 2e-6 for step in steps]
    assert wish.slope(mean, deviation)[0] == pytest.approx(slopes, rel=1e-5)


def test_a_climb_meets_limits_that_scattered_points_miss() -> None:
    width, target = 20, np.linspace(0.2, 0.8, 20)
    rows = np.random.default_rng(5).standard_normal((6, width))

    def look(points: Floats) -> Looked:
        margins = 0.2 - np.abs((points - target) @ rows.T)
        return Looked(points, margins, np.full_like(margins, 0.02))

    wish = Wish(np.zeros(6), np.zeros(6), blur=0.1)
    ends = np.zeros(width), np.ones(width)
    rng = np.random.default_rng(0)
    looked = climb(look, wish, np.full(width, 0.5), ends, rng, deviation=0.08, count=16, rounds=30)
    scattered = look(rng.random((len(looked.points), width)))
    assert (looked.mean >= 0).all(axis=1).any()
    assert not (scattered.mean >= 0).all(axis=1).any()
    assert ((looked.points >= 0) & (looked.points <= 1)).all()


def test_with_a_true_model_the_first_point_meets_everything_and_no_more_are_asked_for() -> None:
    result = sized(BiasedModel(PROBLEM, [0, 0, 0, 0], spread=0.03))
    assert (result.status, result.trials) == ("met", 1)
    assert 0 < result.offline_simulations < 1500


def test_a_model_that_is_off_still_saves_simulations() -> None:
    alone, helped = sized(None), sized(BiasedModel(PROBLEM, [0.5, -0.3, 0.2, 0.3]))
    assert helped.status == "met"
    assert helped.met_after is not None
    assert alone.met_after is None or helped.met_after < alone.met_after


def test_it_goes_back_to_the_start_where_a_model_promises_circuits_that_do_not_work() -> None:
    class Promising(BiasedModel):
        """Says that all is met where the tail is off."""

        def forecast(self, points: Floats) -> Forecast:
            told = super().forecast(points)
            is_off = told.margins[:, 0] < -1.9
            told.margins[is_off] = 3.0
            told.margins[~is_off] = -1.0
            return told

    result = sized(Promising(PROBLEM, [0, 0, 0, 0]), simulations=30)
    points = [tuple(row["sizes"].values()) for _, row in result.simulated]
    assert result.rows[0]["metrics"]["gain_db"] is not None
    assert PROBLEM.space.start in points


def test_a_search_in_the_model_stops_when_the_time_is_over() -> None:
    asked = []
    for is_over in (False, True):
        model = BiasedModel(PROBLEM, [-1.0, -1.0, -1.0, -1.0], is_over=is_over)
        sizing_methods["trust-region"].begin(PROBLEM, seed=1, budget=20, model=model).ask()
        asked.append(model.evaluations)
    assert asked[1] < asked[0] / 10
