"""Intervals and allocations: by published values, by laws, and by an independent bootstrap."""

from __future__ import annotations

import random
import statistics

import numpy as np
import pytest

from app.analog.kinds import CIRCUIT_TYPES
from app.statistics import apportion, area, deciles, distance, median, quantile, share, wilson


# Newcombe, Two-sided confidence intervals for the single proportion (1998), Table I, method 3.
@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_circuits_that_agree_is_the_published_one(successes: int, count: int, low: float, high: float):
    assert list(wilson(successes, count)) == pytest.approx([low, high], abs=6e-5)


def test_nothing_counted_says_nothing():
    assert wilson(0, 0) == (0.0, 1.0)
    assert share([]) is median([]) is deciles([]) is None


@pytest.mark.parametrize(("successes", "count"), [(300, 1000), (950, 1000), (60, 200)])
def test_the_bootstrap_of_a_share_is_that_of_the_binomial(successes: int, count: int):
    # resampling k successes of n is drawing from Binomial(n, k / n), whose quantiles are known
    found = share([1.0] * successes + [0.0] * (count - successes))
    assert found is not None
    draws = np.random.default_rng(7).binomial(count, successes / count, 400_000) / count
    expected = np.percentile(draws, (2.5, 97.5))
    assert found["share"] == successes / count
    assert [found["low"], found["high"]] == pytest.approx(list(expected), abs=0.25 / np.sqrt(count) * 0.5)


def test_the_bootstrap_of_a_mean_agrees_with_a_plain_loop():
    rng = random.Random(5)
    values = [rng.random() ** 2 for _ in range(150)]
    means = sorted(statistics.fmean(rng.choices(values, k=150)) for _ in range(4000))
    found = share(values)
    assert found is not None
    assert [found["low"], found["high"]] == pytest.approx([means[100], means[3900]], abs=0.012)


def test_where_all_agree_the_interval_is_not_a_point():
    assert share([1.0] * 1000) == {"share": 1.0, "low": 0.9962, "high": 1.0, "n": 1000}
    assert share([0.0] * 20) == {"share": 0.0, "low": 0.0, "high": 0.1611, "n": 20}


def test_every_seed_tells_its_mean_and_they_their_spread():
    found = share([1, 1, 0, 0, 1, 0, 0, 0], [3, 3, 3, 3, 5, 5, 5, 5])
    assert found is not None
    assert found["by_seed"] == {"3": 0.5, "5": 0.25}
    assert found["spread"] == pytest.approx(0.25 / 2**0.5, abs=1e-4)
    assert "by_seed" not in (share([1, 0], [3, 3]) or {})


def test_weights_make_a_rare_type_count_as_much_as_a_common_one():
    values, weights = [1.0] * 90 + [0.0] * 10, [1 / 90] * 90 + [1 / 10] * 10
    found = share(values, weights=weights)
    assert found is not None
    assert found["share"] == 0.5
    assert found["low"] < 0.5 < found["high"]


def test_quantiles_are_values_that_were_there():
    values = [5, 1, 3, 2, 4]
    assert [quantile(values, level) for level in (0.1, 0.5, 0.9)] == [1, 3, 5]
    assert quantile([1, 2, 3], 0.5, [1, 1, 10]) == 3
    assert deciles(list(range(1, 101))) == {"p10": 10, "median": 50, "p90": 90, "n": 100}
    found = median(values * 40)
    assert found is not None
    assert (found["median"], found["n"]) == (3, 200)
    assert 2 <= found["low"] <= 3 <= found["high"] <= 4


@pytest.mark.parametrize("count", [1, 7, 100, 1000])
def test_the_largest_remainder_deals_out_exactly_and_nearly_in_proportion(count: int):
    weights = {"a": 842, "b": 461, "c": 55, "d": 0, "e": 9}
    dealt = apportion(weights, count)
    assert sum(dealt.values()) == count
    assert dealt["d"] == 0
    for name, weight in weights.items():
        assert abs(dealt[name] - count * weight / 1367) < 1


def test_equal_weights_differ_by_one_at_most_and_the_first_get_more():
    dealt = apportion(dict.fromkeys(CIRCUIT_TYPES, 1), 1000)
    assert set(dealt.values()) == {62, 63}
    assert list(dealt.values()) == sorted(dealt.values(), reverse=True)


def test_a_thin_type_gets_the_least_that_was_asked_for():
    assert apportion({"a": 1000, "b": 1, "c": 0}, 10, least=1) == {"a": 10, "b": 1, "c": 0}


def test_the_area_under_a_curve_is_the_share_of_pairs_in_order_with_ties_by_half():
    first, second = np.array([[0.1, 0.4, 0.4, 0.9]]), np.array([[0.4, 0.5, 1.0]])
    found = area([(first, second)])
    pairs = [(low < high) + (low == high) / 2 for low in first[0] for high in second[0]]
    assert found["auc"] == pytest.approx(sum(pairs) / 12, abs=1e-4)
    assert (found["n"], found["beside"]) == (3, 4)
    assert found["low"] <= found["auc"] <= found["high"]


def test_the_area_of_several_classifiers_and_sets_is_their_mean():
    rng = np.random.default_rng(0)
    told, blind = (rng.normal(size=(1, 60)), rng.normal(9.0, size=(1, 60))), (np.zeros((1, 60)), np.zeros((1, 60)))
    assert area([told])["auc"] == area([told])["low"] == 1.0
    assert area([blind])["auc"] == area([blind])["high"] == 0.5
    assert area([told, blind])["auc"] == 0.75


def test_distances_are_in_deviations_of_the_reference():
    reference = [0.0, 0.0, 2.0, 2.0]
    found = distance([3.0, 3.0, 5.0, 5.0], reference)
    assert (found["distance"], found["ks"]) == (3.0, 1.0)
    same = distance(reference, reference)
    assert (same["distance"], same["ks"]) == (0.0, 0.0)
    assert same["low"] <= same["high"]
    assert distance([1.0], [2.0, 2.0]) == {
        "distance": None, "low": None, "high": None, "ks": 1.0, "ks_low": 1.0, "ks_high": 1.0,
    }  # fmt: skip
