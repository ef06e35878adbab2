"""Scores by hand, and what must not flatter: differences between topologies, rows without a value, few rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from app.evaluation.simulator_tables import metrics_table, models_table, summaries_table
from app.neural_simulator.arrays import CIRCUIT, DEFINED, NOT_RUN, SIMULATOR
from app.neural_simulator.scales import Scale, Scales
from app.neural_simulator.scores import Judged, metric_scores, summary
from tests.simulator_rows import rows_of, structure_of

INFINITE = math.inf
#: Targets are the values themselves, in volts, so that figures can be checked by hand.
SCALES = Scales(
    {
        "opamp": {
            name: Scale(name, "V", "linear", 0.1, -INFINITE, INFINITE, -1e3, 1e3, 0.0, 1.0, usual)
            for name, usual in (("output_v", None), ("offset_v", 0.0))
        }
    }
)


def judged(truth: Any, mean: Any, *, topology: str = "a", metric: str = "output_v", **told: Any) -> Judged:
    values = np.asarray(truth, float).reshape(-1, 1)
    rows = rows_of(structure_of([metric], topology=topology), values, causes=told.pop("causes", None))
    columns = {name: np.asarray(numbers, float).reshape(-1, 1) for name, numbers in told.items()}
    return Judged.of(rows, SCALES, np.asarray(mean, float).reshape(-1, 1), **columns)


def only_row(*groups: Judged) -> dict[str, Any]:
    (row,) = metric_scores(groups, SCALES)
    return row


def test_the_r2_of_two_groups_is_that_of_the_hand():
    row = only_row(
        judged([1, 2, 3, 4, 5], [1, 2, 3, 4, 4], topology="a"),  # errors 1, squares 10
        judged([10, 10, 10, 10, 20], [10, 10, 10, 10, 14], topology="b"),  # errors 36, squares 80
    )
    assert row["r2"]["value"] == pytest.approx(1 - 37 / 90, abs=1e-4)
    around_one_mean = np.array([1, 2, 3, 4, 5, 10, 10, 10, 10, 20], float)
    assert row["pooled_r2"]["value"] == pytest.approx(1 - 37 / (around_one_mean.var() * 10), abs=1e-4)
    assert (row["rows"], row["groups"], row["unit"], row["link"]) == (10, 2, "V", "linear")


def test_telling_topologies_apart_is_worth_nothing_within_them():
    rng = np.random.default_rng(0)
    groups = []
    for number in range(6):
        truth = 10 * number + rng.normal(size=50)
        groups.append(judged(truth, np.full(50, truth.mean()), topology=str(number)))
    row = only_row(*groups)
    assert row["r2"]["value"] == pytest.approx(0.0, abs=1e-6)
    assert row["pooled_r2"]["value"] > 0.99
    assert row["rank_correlation"]["value"] == 0.0


def test_errors_are_relative_to_the_value_or_the_resolution():
    row = only_row(judged([0, 1, 2, 4, -8], [0.05, 1.5, 2.0, 5.0, -6.0]))
    # 0.05 / 0.1 (the resolution), 0.5 / 1, 0, 1 / 4, 2 / 8
    assert row["relative_error"]["median"] == {"value": 0.25, "low": None, "high": None}
    assert row["relative_error"]["p95"]["value"] == 0.5
    assert row["absolute_error"]["median"]["value"] == 0.5
    assert row["absolute_error"]["p95"]["value"] == pytest.approx(1.8)


def test_a_metric_that_sizing_hardly_moves_is_told_closely_though_its_r2_is_below_nothing():
    row = only_row(judged([0.5, 0.5, 0.5, 0.5, 0.501], [0.505, 0.505, 0.505, 0.52, 0.505]))
    assert row["r2"]["value"] < -100
    assert row["close"]["value"] == 0.8  # within 10 mV


def test_ranks_are_shared_by_equals():
    # ranks 1, 2.5, 2.5, 4, 5 against 2, 1, 3, 4.5, 4.5
    row = only_row(judged([1, 2, 2, 3, 4], [5, 4, 6, 7, 7]))
    first, second = np.array([1, 2.5, 2.5, 4, 5]), np.array([2, 1, 3, 4.5, 4.5])
    assert row["rank_correlation"]["value"] == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-4)


def test_intervals_are_counted_and_measured():
    row = only_row(judged([1, 2, 3, 4, 5], [0] * 5, low=[0, 0, 0, 5, 5], high=[2, 2, 2, 6, 6]))
    assert row["interval"]["coverage"]["value"] == pytest.approx(0.6)  # 2 and 5 lie on the ends
    assert row["interval"]["width"]["value"] == pytest.approx(8 / 5)
    endless = only_row(judged([1, 2, 3, 4, 5], [0] * 5, low=[-INFINITE] * 5, high=[INFINITE] * 5))
    assert endless["interval"] == {"coverage": {"value": 1.0, "low": None, "high": None}, "width": None}


def test_only_circuits_are_to_blame_for_a_value_that_is_not_there():
    causes = np.array([[DEFINED], [DEFINED], [CIRCUIT], [CIRCUIT], [SIMULATOR], [NOT_RUN]], np.int8)
    values = [1.0, 2.0] + [math.nan] * 4
    row = only_row(judged(values, [0] * 6, causes=causes, defined=[0.9, 0.4, 0.2, 0.4, 1.0, 1.0]))
    assert row["defined"]["rows"] == 4
    assert row["defined"]["share"]["value"] == 0.5
    assert row["defined"]["accuracy"]["value"] == 0.75
    assert row["defined"]["auc"]["value"] == pytest.approx(3.5 / 4)  # one tie
    assert (row["r2"], row["groups"]) == (None, 0)  # two values are too few to say what sizing changes


def test_definedness_is_told_within_a_group():
    # Every row of one topology has a value, none of the other: a model that knows which is which tells nothing.
    truth = [1.0] * 6 + [math.nan] * 6
    row = only_row(
        judged(truth[:6], [0] * 6, defined=[0.9] * 6), judged(truth[6:], [0] * 6, topology="b", defined=[0.1] * 6)
    )
    assert row["defined"]["auc"] is None
    assert row["defined"]["accuracy"]["value"] == 1.0


def test_a_metric_that_is_mostly_one_number_says_how_well_the_others_are_told():
    row = only_row(judged([0, 0, 0, 2, 3], [0.1, 0.0, 0.5, 0.4, 2.0], metric="offset_v"))
    assert row["usual"]["share"]["value"] == 0.6
    assert row["usual"]["auc"]["value"] == pytest.approx(5 / 6, abs=1e-4)  # 0.4 is nearer to the usual value than 0.5
    assert only_row(judged([0, 0, 0, 2, 3], [0] * 5))["usual"] is None


def test_intervals_over_groups_hold_the_figure_and_shrink_with_more_groups():
    rng = np.random.default_rng(1)
    groups = []
    for number in range(40):
        truth = rng.normal(size=30)
        groups.append(judged(truth, truth + rng.normal(0, rng.uniform(0.1, 0.6), 30), topology=str(number)))
    few, many = only_row(*groups[:4]), only_row(*groups)
    for row in (few, many):
        for told in (row["r2"], row["pooled_r2"], row["rank_correlation"], row["relative_error"]["p95"]):
            assert told["low"] <= told["value"] <= told["high"]
    assert many["r2"]["high"] - many["r2"]["low"] < few["r2"]["high"] - few["r2"]["low"]
    assert only_row(groups[0])["r2"]["low"] is None


def test_the_interval_of_an_errors_median_agrees_with_a_plain_loop():
    rng = np.random.default_rng(2)
    spreads = rng.uniform(0.5, 2, 12)
    errors = [np.abs(rng.normal(0, spread, 40)) for spread in spreads]
    row = only_row(*(judged(np.zeros(40), each, topology=str(n)) for n, each in enumerate(errors)))
    drawn = [np.median(np.concatenate([errors[n] for n in rng.integers(0, 12, 12)])) for _ in range(2000)]
    told = row["absolute_error"]["median"]
    assert [told["low"], told["high"]] == pytest.approx(np.percentile(drawn, (2.5, 97.5)).tolist(), rel=0.08)


def test_a_metric_that_does_not_vary_has_no_r2_but_errors():
    row = only_row(judged([3] * 6, [3.3] * 6))
    assert row["r2"] is row["pooled_r2"] is None
    assert row["relative_error"]["median"]["value"] == pytest.approx(0.1)


def test_nothing_judged_is_an_empty_table():
    assert metric_scores([], SCALES) == []
    assert metric_scores([judged([math.nan] * 9, [0] * 9)], SCALES) == []
    told = summary([])
    assert (told["metrics"], told["mean_r2"], told["worst"]) == (0, None, None)


def test_a_summary_counts_every_metric_once():
    truth = np.arange(10.0)
    rows = metric_scores(
        [
            judged(truth, truth, low=truth - 1, high=truth + 1),
            judged(truth, np.full(10, 4.5), metric="offset_v", low=truth + 1, high=truth + 2),
        ],
        SCALES,
    )
    told = summary(rows)
    assert told == {
        "metrics": 2, "mean_r2": 0.5, "median_r2": 0.5, "worst_r2": 0.0, "worst": "opamp offset_v",
        "at_least_0_95": 0.5, "below_0_95": 1, "mean_pooled_r2": 0.5, "median_pooled_r2": 0.5, "close": 0.5,
        "rank_correlation": 0.5, "relative_error": 0.2344, "relative_error_p95": 13.16,
        "coverage": 0.5, "width": 1.5, "auc": None,
    }  # fmt: skip


def test_tables_have_a_line_a_metric_and_a_column_a_model():
    truth = np.arange(10.0)
    right = metric_scores([judged(truth, truth, low=truth - 1, high=truth + 1, defined=[1] * 10)], SCALES)
    wrong = metric_scores([judged(truth, truth[::-1], metric="offset_v")], SCALES)
    lines = metrics_table(right)
    assert [cell in lines[2] for cell in ("| `output_v` |", "| 1.000 |", "| 100 % |")] == [True] * 3
    assert len(lines) == 3
    assert models_table({"this": right, "that": wrong})[2:] == [
        "| opamp | `output_v` | 1.000 | - |",
        "| opamp | `offset_v` | - | -3.000 |",
    ]
    assert summaries_table({"this": summary(right), "none": summary([])})[2:] == [
        "| this | 1 | 1.000 | 1.000 | 1.000 | opamp output_v | 0 | 1.000 | 1.000 | 100 % | 1.000 | 0 % | 0 % | 100 % "
        "| 2.000 | - |",
        "| none | 0 | - | - | - | - | 0 | - | - | - | - | - | - | - | - | - |",
    ]
