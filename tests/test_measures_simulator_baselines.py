"""Baselines: each learns what sizes say, lives with missing values, and is the same for the same seed."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.errors import PackageMissing
from app.measures.early_stopping import Schooling, Standard
from app.measures.insight_baseline import InsightBaseline, ScalarDecoder
from app.measures.simulator_baselines import Baseline, GradientBoosting, Inputs, NearestNeighbour, TopologyMlp
from app.neural_simulator.arrays import Rows
from app.neural_simulator.scales import Scale, Scales
from tests.simulator_rows import rows_of, structure_of

METRICS = ("offset_v", "output_v", "input_bias_v")
SCALES = Scales(
    {"opamp": {name: Scale(name, "V", "linear", 1e-3, -math.inf, math.inf, -50.0, 50.0, 0.0, 1.0) for name in METRICS}}
)
SHORT = Schooling(batch=32, epochs=40, patience=40, left_out=0.2)


class SmallInsight(InsightBaseline):
    """Less of the same, for tests that are not about how well it does."""

    layers, rate, restart = 1, 1e-2, 200


BASELINES: dict[str, Callable[[int], Baseline]] = {
    "nearest neighbour": lambda seed: NearestNeighbour(SCALES),
    "gradient boosting": lambda seed: GradientBoosting(SCALES, seed),
    "perceptron": lambda seed: TopologyMlp(SCALES, seed, SHORT),
    "insight": lambda seed: SmallInsight(SCALES, seed, SHORT),
}
EVERY = pytest.mark.parametrize("name", BASELINES)


def drawn(count: int, seed: int) -> Rows:
    """Rows of two sizes and a bias voltage; the last metric has a value in a third of them, the middle one twice."""
    rng = np.random.default_rng(seed)
    sizes = np.concatenate([10 ** rng.uniform(-7, -5, (count, 2)), rng.uniform(0, 1.8, (count, 1))], axis=1)
    first, second = np.log10(sizes[:, 0]) + 6, np.log10(sizes[:, 1]) + 6
    values = np.stack([first + 0.3 * sizes[:, 2], first * second, 20 + second], axis=1)
    values[2:, 1] = np.nan
    values[rng.random(count) < 2 / 3, 2] = np.nan
    return rows_of(structure_of(METRICS, sources=["voltage_source"]), values, sizes=sizes)


def r2(truth: np.ndarray, found: np.ndarray) -> float:
    known = np.isfinite(truth)
    return float(1 - ((truth - found)[known] ** 2).sum() / ((truth[known] - truth[known].mean()) ** 2).sum())


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@EVERY
def test_it_learns_what_sizes_say_and_lives_with_missing_values(name: str):
    model = BASELINES[name](0).fit(drawn(200, 0))
    fresh = drawn(100, 1)
    found = model.predict(fresh)
    assert found.shape == (100, 3)
    assert np.isfinite(found).all()
    assert r2(fresh.values[:, 0], found[:, 0]) > 0.75
    assert r2(fresh.values[:, 2], found[:, 2]) > 0.5


@EVERY
def test_the_same_seed_gives_the_same_predictions_whatever_was_drawn_before(name: str):
    rows = drawn(60, 0)
    first = BASELINES[name](3).fit(rows).predict(rows)
    torch.manual_seed(99)
    assert BASELINES[name](3).fit(rows).predict(rows).tolist() == first.tolist()


@EVERY
def test_a_row_does_not_depend_on_who_shares_its_batch(name: str):
    model = BASELINES[name](0).fit(drawn(60, 0))
    fresh = drawn(600, 1)
    alone = model.predict(fresh.take(np.array([7])))
    assert model.predict(fresh)[7] == pytest.approx(alone[0], abs=1e-4)
    assert model.predict(fresh.take(np.array([], np.intp))).shape == (0, 3)


@EVERY
def test_a_metric_that_nothing_is_known_of_is_at_the_location_of_its_scale(name: str):
    rows = drawn(40, 0)
    rows.values[:, 1] = np.nan
    assert np.abs(BASELINES[name](0).fit(rows).predict(rows)[:, 1]).max() == 0


@EVERY
def test_two_rows_are_enough_to_say_something(name: str):
    rows = drawn(2, 0)
    assert np.isfinite(BASELINES[name](0).fit(rows).predict(drawn(5, 1))).all()


def test_a_known_row_is_its_own_nearest_neighbour():
    rows = drawn(80, 0)
    found = NearestNeighbour(SCALES).fit(rows).predict(rows)
    known = np.isfinite(rows.values)
    assert found[known].tolist() == rows.values[known].tolist()


def test_the_nearest_row_that_has_a_value_counts():
    structure = structure_of(METRICS[:1], sources=[])
    rows = rows_of(structure, [1.0, math.nan, 3.0], sizes=[[1e-6], [1e-5], [1e-4]])
    asked = rows_of(structure, [math.nan] * 2, sizes=[[1.1e-5], [0.9e-5]])
    assert NearestNeighbour(SCALES).fit(rows).predict(asked).tolist() == [[3.0], [1.0]]


def test_inputs_are_logarithms_of_sizes_and_levels_as_they_are():
    structure = structure_of(METRICS[:1], sources=["voltage_source", "current_source"])
    sizes = [[1e-6, 0.5, 1e-6], [1e-5, 0.0, 1e-5], [1e-4, -0.5, 1e-4]]
    inputs = Inputs(rows_of(structure, [0.0] * 3, sizes=sizes))
    step = math.sqrt(1.5)
    assert inputs.width == 3  # supply, temperature, corner and settings are the same everywhere
    assert inputs.of(rows_of(structure, [0.0] * 3, sizes=sizes)) == pytest.approx(
        np.array([[-step, step, -step], [0, 0, 0], [step, -step, step]])
    )


def test_corners_that_differ_are_told_and_new_ones_are_none_of_them():
    structure = structure_of(METRICS[:1])
    parts = [rows_of(structure, [0.0] * 2, sizes=[[1e-6]] * 2, process=name) for name in ("tt", "ss", "ff")]
    stacked: dict[str, Any] = {
        name: np.concatenate([part, vars(parts[1])[name]])
        for name, part in vars(parts[0]).items()
        if isinstance(part, np.ndarray)
    }
    both = replace(parts[0], **stacked)
    inputs = Inputs(both)
    assert inputs.of(both).tolist() == [[-1, 1], [-1, 1], [1, -1], [1, -1]]
    assert inputs.of(parts[2]).tolist() == [[-1, -1]] * 2


def test_targets_around_their_means_come_back():
    targets = np.array([[1.0, 5.0, math.nan], [3.0, 5.0, math.nan]])
    standard = Standard(targets)
    assert standard.of(targets)[:, :2].tolist() == [[-1, 0], [1, 0]]
    assert standard.back(standard.of(targets))[:, :2].tolist() == targets[:, :2].tolist()
    assert standard.back(np.zeros((1, 3))).tolist() == [[2, 5, 0]]


def test_a_metric_is_predicted_from_those_before_it_alone():
    torch.manual_seed(0)
    network = ScalarDecoder(inputs=4, metrics=3, width=16, heads=4, layers=2, inner=32).eval()
    inputs, told = torch.randn(5, 4), torch.randn(5, 3)
    found = network(inputs, told)
    for metric in range(3):
        other = told.clone()
        other[:, metric:] = 9.0
        assert torch.allclose(network(inputs, other)[:, : metric + 1], found[:, : metric + 1], atol=1e-5)
        assert torch.allclose(network(inputs, told[:, :metric]), found[:, : metric + 1], atol=1e-5)
    assert not torch.allclose(network(inputs, torch.full_like(told, 9.0))[:, 1:], found[:, 1:], atol=1e-3)


def test_the_network_of_insight_is_of_the_published_size():
    model = InsightBaseline(SCALES, 0, Schooling(batch=9, epochs=1, patience=1, left_out=0.1)).fit(drawn(10, 0))
    assert sum(each.numel() for each in model.network.parameters()) == pytest.approx(20_000, rel=0.02)


def test_true_cheap_metrics_help_where_sizes_do_not_tell_them():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(300, 1))
    values = np.concatenate([hidden, 2 * hidden + 0.1 * rng.normal(size=(300, 1))], axis=1)
    rows = rows_of(structure_of(METRICS[:2]), values, sizes=10 ** rng.uniform(-7, -5, (300, 2)))
    known, fresh = rows.take(np.arange(200)), rows.take(np.arange(200, 300))
    model = SmallInsight(SCALES, 0, SHORT).fit(known)
    assert r2(fresh.values[:, 1], model.predict(fresh)[:, 1]) < 0.2
    assert r2(fresh.values[:, 1], model.predict(fresh, given=1)[:, 1]) > 0.8


def test_without_scikit_learn_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    message = r"the baseline of gradient boosting needs the package 'scikit-learn'; install it with: pip install"
    with pytest.raises(PackageMissing, match=message):
        GradientBoosting(SCALES).fit(drawn(10, 0))
