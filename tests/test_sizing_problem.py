"""Points into sizes and metrics into margins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sizing._base import figure_of_merit
from app.sizing.problem import MOST_MARGIN, UNDEFINED_MARGIN
from app.specification import Objective
from tests.closed_form_amplifier import amplifier_setup

PROBLEM = amplifier_setup("gain_db>60", "ugf_hz>10meg", "power_w<1m").problem


def test_the_start_of_the_space_is_the_point_to_begin_at():
    assert PROBLEM.vector(PROBLEM.start) == pytest.approx(PROBLEM.space.start, rel=1e-2)


@given(st.integers(0, 2**32 - 1))
def test_sizes_of_any_point_can_be_made_and_lead_back_to_themselves(seed: int):
    point = np.random.default_rng(seed).uniform(-0.5, 1.5, len(PROBLEM.start))
    vector = PROBLEM.vector(point)
    assert all(variable.allows(value) for variable, value in zip(PROBLEM.space.variables, vector, strict=True))
    assert PROBLEM.vector(PROBLEM.point(vector)) == vector


def test_a_margin_is_zero_at_its_limit_and_grows_towards_the_better_side():
    at = {"gain_db": 60.0, "ugf_hz": 10e6, "power_w": 1e-3}
    assert PROBLEM.margins(at) == pytest.approx([0.0, 0.0, 0.0], abs=1e-12)
    better = {"gain_db": 80.0, "ugf_hz": 10e6 * math.e, "power_w": 1e-3 / math.e}
    assert PROBLEM.margins(better) == pytest.approx([math.log(10), 1.0, 1.0])
    assert (PROBLEM.margins({"gain_db": 40.0, "ugf_hz": 1e6, "power_w": 1.0}) < 0).all()


def test_a_metric_without_a_value_meets_no_limit():
    margins = PROBLEM.margins({"gain_db": None, "ugf_hz": 20e6})
    assert margins[0] == margins[2] == UNDEFINED_MARGIN
    assert margins[1] > 0


def test_margins_stay_within_limits():
    assert PROBLEM.margins({"gain_db": 1e4, "ugf_hz": 1e-30, "power_w": 1e-30}).tolist() == [
        MOST_MARGIN, -MOST_MARGIN, MOST_MARGIN,
    ]  # fmt: skip


def test_both_ends_of_a_bound_are_limits():
    problem = amplifier_setup("phase_margin_deg>60", "phase_margin_deg<75").problem
    assert [limit.said for limit in problem.limits] == ["phase_margin_deg>60", "phase_margin_deg<75"]
    assert (problem.margins({"phase_margin_deg": 70.0}) > 0).all()
    assert (problem.margins({"phase_margin_deg": 80.0}) > 0).tolist() == [True, False]


def test_a_better_objective_is_a_greater_gain():
    problem = amplifier_setup("gain_db>60", objective=Objective("power_w", "minimize")).problem
    gains = problem.gains_of(np.array([1e-3, 1e-4, 1e-9, math.nan]))
    assert gains[0] < gains[1] < gains[2]
    assert gains[3] == 0 < gains[0]
    assert gains[1] - gains[0] == pytest.approx(math.log(10))


def test_without_an_objective_nothing_is_gained():
    assert PROBLEM.gain({"gain_db": 80.0}) == 0.0


def test_the_figure_of_merit_counts_violations_little_beyond_one_and_gains_only_where_there_is_none():
    margins = np.array([[0.1, 0.2], [-0.3, 0.2], [-5.0, -0.5], [0.0, 0.0]])
    assert figure_of_merit(margins, np.array([2.0, 9.0, 9.0, 0.0])).tolist() == pytest.approx([2.0, -0.3, -1.9, 0.0])
