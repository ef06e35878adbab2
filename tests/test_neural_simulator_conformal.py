"""Intervals hold the truth as often as they say: on noise of one size, of many, with wrong spreads and few rows."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from app.errors import InvalidInput
from app.neural_simulator.conformal import ConformalIntervals, Residuals, calibrated, widened

METRICS = ("gain_db", "ugf_hz")


def residuals(counted: object, *, testbench: str = "opamp", technology: str = "generic180") -> Residuals:
    numbers = np.asarray(counted, float).reshape(-1, 1)
    return Residuals(testbench, technology, METRICS[:1], numbers)


def noisy(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Truths [n, 2] around 0, and how far they spread: tenfold between the first and the last row."""
    rng = np.random.default_rng(seed)
    spread = 10 ** np.stack([rng.uniform(-1, 0, count)] * 2, axis=1)
    return rng.standard_t(3, (count, 2)) * spread, spread


@pytest.mark.parametrize("level", [0.5, 0.9])
@pytest.mark.parametrize("overconfidence", [0.1, 1.0, 7.0])
def test_intervals_hold_their_share_whatever_the_predictor_thinks_of_itself(level: float, overconfidence: float):
    (learnt, spread), (fresh, theirs) = noisy(4000, 0), noisy(4000, 1)
    mean = np.zeros_like(learnt)
    made = calibrated([Residuals.of("opamp", "generic180", METRICS, learnt, mean, spread / overconfidence)])
    low, high = made.intervals("opamp", "generic180", METRICS, mean, theirs / overconfidence, level)
    inside = (low <= fresh) & (fresh <= high)
    assert inside.mean(axis=0) == pytest.approx([level, level], abs=0.025)
    # Where the noise is small and where it is large alike, since residuals are counted in spreads.
    for part in (theirs[:, 0] < 0.3, theirs[:, 0] > 0.3):
        assert inside[part].mean() == pytest.approx(level, abs=0.035)


def test_one_width_for_all_holds_its_share_only_on_average():
    (learnt, spread), (fresh, theirs) = noisy(4000, 2), noisy(4000, 3)
    mean, same = np.zeros_like(learnt), np.ones_like(spread)
    made = calibrated([Residuals.of("opamp", "generic180", METRICS, learnt, mean, same)])
    low, high = made.intervals("opamp", "generic180", METRICS, mean, same, 0.9)
    inside = (low <= fresh) & (fresh <= high)
    assert inside.mean() == pytest.approx(0.9, abs=0.02)
    assert inside[theirs[:, 0] < 0.2].mean() > 0.97 > 0.8 > inside[theirs[:, 0] > 0.7].mean()


def test_nineteen_rows_are_enough_for_nine_tenths_on_average():
    # Number 18 of 19: a fresh residual is as likely before as between any of them, so it is within 18 times of 20.
    rng = np.random.default_rng(4)
    hits = []
    for _ in range(2000):
        made = calibrated([residuals(rng.exponential(size=19))], least=19)
        hits.append(rng.exponential() <= made.reach("opamp", "generic180", "gain_db", 0.9))
    assert np.mean(hits) == pytest.approx(0.9, abs=0.02)


def test_the_residual_that_an_interval_reaches_is_counted_by_hand():
    made = calibrated([residuals([5, 1, 2, 4, 3, 9, 8, 7, 6])], levels=(0.5, 0.9, 0.95), least=1)
    # n + 1 = 10: number 5 and number 9 of nine; 0.95 would take number 9.5.
    assert [made.reach("opamp", "generic180", "gain_db", level) for level in made.levels] == [5, 9, math.inf]


def test_a_group_with_few_rows_borrows_from_a_wider_one():
    made = calibrated(
        [
            residuals(np.full(200, 1.0)),
            residuals(np.full(30, 2.0), technology="sky130"),
            Residuals("opamp", "generic180", METRICS[1:], np.full((10, 1), 3.0)),
            residuals(np.full(10, 4.0), testbench="ldo"),
        ]
    )

    def reach(testbench: str, technology: str, metric: str) -> float:
        return made.reach(testbench, technology, metric, 0.95)

    assert reach("opamp", "generic180", "gain_db") == 1.0
    assert reach("opamp", "sky130", "gain_db") == 2.0  # with the 200: number 220 of 230
    assert reach("opamp", "gf180mcu", "gain_db") == 2.0
    assert reach("opamp", "generic180", "ugf_hz") == 2.0  # every metric of the testbench: number 229 of 240
    assert reach("ldo", "generic180", "gain_db") == 3.0  # all of them: number 239 of 250
    assert reach("mixer", "generic180", "gain_db") == 3.0


def test_without_any_residual_an_interval_is_everything():
    made = calibrated([residuals([math.nan] * 300)])
    low, high = made.intervals("opamp", "generic180", METRICS, np.zeros((1, 2)), np.ones((1, 2)), 0.9)
    assert (low.tolist(), high.tolist()) == ([[-math.inf] * 2], [[math.inf] * 2])


def test_a_predictor_that_is_certain_still_gets_intervals():
    (learnt, spread), (fresh, _) = noisy(2000, 5), noisy(2000, 6)
    nothing, mean = np.zeros_like(spread), np.zeros_like(learnt)
    made = calibrated([Residuals.of("opamp", "generic180", METRICS, learnt, mean, nothing)])
    low, high = made.intervals("opamp", "generic180", METRICS, mean, nothing, 0.9)
    assert ((low <= fresh) & (fresh <= high)).mean() == pytest.approx(0.9, abs=0.03)


def test_new_circuits_widen_intervals_alike_however_many_rows_they_have():
    known = calibrated([residuals([1.0] * 9)], levels=(0.5, 0.9), least=1)  # every interval reaches one spread
    circuits = [[residuals([0.5])], [residuals([2.0] * 50), residuals([2.0] * 950)], [residuals([3.0] * 10)]]
    made = widened(known, [*circuits, [residuals([math.nan])]])
    # Of three circuits, by a third each: half of the truths are within 2 reaches, nine tenths within 3.
    assert [made.reach("opamp", "generic180", "gain_db", level) for level in (0.5, 0.9)] == [2.0, 3.0]


def test_intervals_of_new_circuits_are_no_narrower_than_those_of_known_ones():
    known = calibrated([residuals([2.0] * 9)], levels=(0.5, 0.9), least=1)
    assert widened(known, [[residuals([0.1] * 9)]]).as_json() == known.as_json() == widened(known, []).as_json()


def test_new_circuits_hold_their_share_where_circuits_differ():
    rng = np.random.default_rng(7)

    def circuit() -> list[Residuals]:
        return [residuals(np.abs(rng.normal(size=100)) * rng.lognormal(0.5, 0.7))]

    known = calibrated([residuals(np.abs(rng.normal(size=2000)))])
    pooled, of_rows = [], []
    for _ in range(200):
        kept, fresh = [circuit() for _ in range(12)], circuit()[0].counted
        pooled.append((fresh <= widened(known, kept).reach("opamp", "generic180", "gain_db", 0.9)).mean())
        of_rows.append((fresh <= known.reach("opamp", "generic180", "gain_db", 0.9)).mean())
    assert np.mean(pooled) == pytest.approx(0.9, abs=0.04)
    assert np.mean(of_rows) < 0.75


def test_intervals_are_kept_as_json():
    made = calibrated([residuals(np.arange(150.0)), residuals([1.0], testbench="ldo")], least=2)
    restored = ConformalIntervals.from_json(json.loads(json.dumps(made.as_json(), allow_nan=False)))
    assert restored.as_json() == made.as_json()
    assert restored.reach("opamp", "generic180", "gain_db", 0.9) == 135.0
    few = calibrated([residuals([1.0, 2.0])], least=1)
    assert ConformalIntervals.from_json(few.as_json()).reach("opamp", "generic180", "gain_db", 0.9) == math.inf


def test_a_level_that_was_not_calibrated_is_refused():
    with pytest.raises(InvalidInput, match=r"no intervals for the level 0.99; calibrated are 0.5, 0.8, 0.9, 0.95"):
        calibrated([residuals([1.0])]).reach("opamp", "generic180", "gain_db", 0.99)
