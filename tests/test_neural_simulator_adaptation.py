"""A correction learns what some rows of a circuit show, and no more: offsets, slopes and bends, not noise."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import CorpusMissing, InvalidInput, LimitExceeded
from app.neural_simulator.adaptation import LEAST_RESIDUALS, MOST_ROWS, Adaptation
from app.neural_simulator.arrays import DEFINED, ELEMENT_FEATURE_NAMES, NOT_RUN, Rows
from app.neural_simulator.artefact import Predicted, has_estimates
from app.neural_simulator.conformal import LEAST_SPREAD
from app.neural_simulator.scales import Scale, Scales
from tests.simulator_rows import rows_of, structure_of

METRICS = ("gain_db", "phase_margin_deg", "cmrr_db")
SOURCES = ("current_source", "current_source", "current_source", "current_source")
SCALES = Scales(
    {
        "opamp": {
            name: Scale(name, "dB", "linear", 1.0, -math.inf, math.inf, -160.0, 160.0, 0.0, 1.0) for name in METRICS
        }
    }
)

Floats = NDArray[np.float64]


def drawn(count: int, seed: int, elements: int = len(SOURCES)) -> Floats:
    """Sizes [n, E] as elements show them."""
    return np.random.default_rng(seed).normal(size=(count, elements))


def rows_with(sizes: Floats, *columns: Any, **told: Any) -> Rows:
    """Rows of a circuit with these sizes and a column of values a metric, which is also its target."""
    values = np.stack(np.broadcast_arrays(*columns, sizes[:, 0])[:-1], axis=1)
    structure = structure_of(METRICS[: len(columns)], sources=("current_source",) * sizes.shape[1])
    rows = rows_of(structure, values, **told)
    rows.elements[:, :, ELEMENT_FEATURE_NAMES.index("log_value")] = sizes
    return rows


def nothing_known(rows: Rows, spread: float = 1.0, defined: float = 0.9) -> Predicted:
    """What a network says that knows nothing."""
    shape = rows.values.shape
    return Predicted(
        np.zeros(shape), np.full(shape, spread), np.full(shape, defined), np.zeros(len(rows)), has_estimates(rows)
    )


def noise(count: int, seed: int, spread: float = 1.0) -> Floats:
    return np.random.default_rng(seed).normal(size=count) * spread


def fitted(rows: Rows, predicted: Predicted | None = None) -> Adaptation:
    return Adaptation.fit(rows, nothing_known(rows) if predicted is None else predicted, SCALES)


def left(adaptation: Adaptation, rows: Rows) -> Floats:
    """The mean squared error [M] of corrected predictions."""
    corrected = adaptation.corrected(rows.inputs, nothing_known(rows))
    return np.asarray(np.nanmean((rows.values - corrected.mean) ** 2, axis=0))


def slope(sizes: Floats) -> Floats:
    """What the sizes do: a linear offset of standard deviation 1."""
    return np.asarray(0.8 * sizes[:, 0] - 0.6 * sizes[:, 2])


def test_a_constant_and_a_slope_are_learnt_from_twenty_rows():
    few, fresh = drawn(20, 0), drawn(400, 1)
    adaptation = fitted(rows_with(few, slope(few) + noise(20, 2, 0.05), 3.0 + noise(20, 3, 0.05)))
    errors = left(adaptation, rows_with(fresh, slope(fresh), 3.0))
    assert errors[0] < 0.05 * 1.0
    assert errors[1] < 0.001 * 9.0


def test_a_bend_is_learnt_from_two_hundred_rows():
    many, fresh = drawn(200, 0), drawn(400, 1)

    def bent(sizes: Floats) -> Floats:
        return np.asarray(np.sin(2 * sizes[:, 1]) + np.abs(sizes[:, 0]))

    errors = left(fitted(rows_with(many, bent(many))), rows_with(fresh, bent(fresh)))
    assert errors[0] < 0.1 * float((bent(fresh) ** 2).mean())


def test_the_networks_own_mean_is_something_to_learn_from():
    # The metric is twice what the network says of another one.
    few, fresh = drawn(20, 0), drawn(400, 1)

    def predicted(rows: Rows) -> Predicted:
        mean = np.stack([np.zeros(len(rows)), noise(len(rows), len(rows))], axis=1)
        return replace(nothing_known(rows), mean=mean)

    def rows(sizes: Floats) -> Rows:
        said = noise(len(sizes), len(sizes))
        return rows_with(sizes, 2 * said, said)

    corrected = fitted(rows(few), predicted(rows(few))).corrected(rows(fresh).inputs, predicted(rows(fresh)))
    errors = ((corrected.mean - rows(fresh).values) ** 2).mean(axis=0)
    assert errors[0] < 0.1 * 4.0
    assert errors[1] < 1e-3


@pytest.mark.parametrize(("count", "most"), [(1, 1.2), (3, 1.2), (20, 1.08), (100, 1.04)])
def test_noise_is_not_learnt(count: int, most: float):
    fresh = drawn(400, 1)
    errors = []
    for seed in range(10):
        few = drawn(count, 10 + seed)
        rows = rows_with(few, noise(count, 100 + seed), noise(count, 200 + seed), noise(count, 300 + seed))
        truth = rows_with(fresh, *(noise(400, 400 + seed + place) for place in range(3)))
        errors.append(left(fitted(rows), truth).mean() / (truth.values**2).mean())
    # A few rows cannot tell an offset from noise; a part of it is believed.
    assert np.mean(errors) < most


def test_single_rows_far_off_do_not_rule():
    few, fresh = drawn(40, 0), drawn(400, 1)
    values = slope(few) + noise(40, 2, 0.05)
    values[[3, 17]] = 6.0, -4.0
    assert left(fitted(rows_with(few, values)), rows_with(fresh, slope(fresh)))[0] < 0.05


def test_a_row_that_the_network_calls_noisy_counts_less():
    few, fresh = drawn(30, 0), drawn(400, 1)
    is_noisy = np.arange(30) % 2 == 1
    rows = rows_with(few, slope(few) + np.where(is_noisy, noise(30, 2, 0.5), 0.0))
    warned = replace(nothing_known(rows), spread=np.where(is_noisy, 2.5, 0.5)[:, None])
    truth = rows_with(fresh, slope(fresh))
    assert left(fitted(rows, warned), truth)[0] < left(fitted(rows), truth)[0]


def test_a_matched_pair_counts_as_one():
    few, fresh = drawn(30, 0), drawn(50, 1)
    doubled = [np.concatenate([sizes, sizes[:, :1] + 0.3], axis=1) for sizes in (few, fresh)]
    for sizes, pairs in ((few, doubled[0]), (fresh, doubled[1])):
        assert pairs.shape[1] == sizes.shape[1] + 1
    alone, paired = (fitted(rows_with(sizes, slope(sizes) + noise(30, 2, 0.1))) for sizes in (few, doubled[0]))
    shown = [
        each.corrected(rows.inputs, nothing_known(rows)).mean
        for each, rows in ((alone, rows_with(fresh, 0.0)), (paired, rows_with(doubled[1], 0.0)))
    ]
    assert shown[0] == pytest.approx(shown[1], abs=1e-5)


def test_a_metric_without_any_value_stays_and_is_expected_less():
    few = drawn(20, 0)
    rows = rows_with(few, slope(few), math.nan)
    predicted = replace(nothing_known(rows), mean=np.ones((20, 2)))
    corrected = fitted(rows, predicted).corrected(rows.inputs, predicted)
    assert (corrected.mean[:, 1] == 1.0).all()
    assert (corrected.mean[:, 0] != 1.0).any()
    assert (corrected.spread[:, 1] == 1.0).all()
    assert (corrected.defined[:, 0] > 0.9).all()
    assert (corrected.defined[:, 1] < 0.2).all()


def test_a_metric_that_was_not_asked_for_says_nothing_of_whether_it_has_a_value():
    few = drawn(20, 0)
    causes = np.stack([np.full(20, DEFINED), np.full(20, NOT_RUN)], axis=1).astype(np.int8)
    rows = rows_with(few, slope(few), math.nan, causes=causes)
    corrected = fitted(rows).corrected(rows.inputs, nothing_known(rows))
    assert (corrected.defined[:, 1] == 0.9).all()


def test_rows_without_a_value_of_a_metric_leave_the_others_to_learn_from():
    few, fresh = drawn(60, 0), drawn(400, 1)
    values = np.where(np.arange(60) % 3 == 0, math.nan, slope(few))
    assert left(fitted(rows_with(few, values, 1.0)), rows_with(fresh, slope(fresh), 1.0))[0] < 0.05


def test_one_row_moves_predictions_a_part_of_the_way():
    rows, fresh = rows_with(drawn(1, 0), 4.0, -2.0), rows_with(drawn(5, 1), 4.0, -2.0)
    corrected = fitted(rows).corrected(fresh.inputs, nothing_known(fresh))
    share = corrected.mean / np.array([4.0, -2.0])
    assert ((share >= 0) & (share < 1)).all()
    assert np.isfinite(corrected.spread).all()


def test_spreads_follow_what_is_left():
    few, fresh = drawn(100, 0), drawn(400, 1)
    rows = rows_with(few, slope(few) + noise(100, 2, 0.1), noise(100, 3, 5.0))
    corrected = fitted(rows).corrected(rows_with(fresh, 0.0, 0.0).inputs, nothing_known(rows_with(fresh, 0.0, 0.0)))
    # A spread is a mean absolute deviation: 0.8 standard deviations of normal noise.
    assert corrected.spread[:, 0].mean() == pytest.approx(0.08, rel=0.8)
    assert corrected.spread[:, 1].mean() == pytest.approx(4.0, rel=0.25)


@pytest.mark.parametrize("count", [LEAST_RESIDUALS, 60, 120])
def test_intervals_hold_their_share(count: int):
    fresh = drawn(300, 1)
    inside: dict[float, list[float]] = {0.5: [], 0.9: []}
    for seed in range(8):
        few = drawn(count, 10 + seed)
        rows = rows_with(few, *(slope(few) + noise(count, 100 * place + seed) for place in range(3)))
        truth = rows_with(fresh, *(slope(fresh) + noise(300, 50 * place + seed) for place in range(3)))
        adaptation = fitted(rows, nothing_known(rows, spread=0.01))
        corrected = adaptation.corrected(truth.inputs, nothing_known(truth, spread=0.01))
        for level, shares in inside.items():
            low, high = adaptation.ends(corrected, level, corrected.mean, corrected.mean)
            shares.append(float(((low <= truth.values) & (truth.values <= high)).mean()))
    assert np.mean(inside[0.5]) == pytest.approx(0.5, abs=0.1)
    assert 0.85 <= np.mean(inside[0.9]) <= 0.96


def test_too_few_rows_leave_the_networks_own_intervals():
    count = LEAST_RESIDUALS
    sizes = drawn(count, 0)
    rows = rows_with(sizes, slope(sizes), np.where(np.arange(count) == 0, math.nan, 1.0))
    adaptation = fitted(rows)
    corrected = adaptation.corrected(rows.inputs, nothing_known(rows))
    low, high = adaptation.ends(corrected, 0.9, corrected.mean - 7, corrected.mean + 7)
    reach = adaptation.reach(0.9, "gain_db")
    assert reach is not None
    assert high[:, 0] - low[:, 0] == pytest.approx(2 * reach * corrected.spread[:, 0])
    assert adaptation.reach(0.9, "phase_margin_deg") is None
    assert high[:, 1] - low[:, 1] == pytest.approx(14.0)
    with pytest.raises(InvalidInput, match=r"no intervals for the level 0.3"):
        adaptation.reach(0.3, "gain_db")


def test_what_the_network_was_told_stays_and_teaches_nothing():
    few = drawn(20, 0)
    rows = rows_with(few, slope(few), 5.0)
    told = nothing_known(rows)
    told.mean[:, 1], told.spread[:, 1], told.defined[:, 1] = 5.0, LEAST_SPREAD, 1.0
    told.defined[3, 0] = 0.0  # known to have no value
    corrected = fitted(rows, told).corrected(rows.inputs, told)
    assert (corrected.mean[:, 1] == 5.0).all()
    assert (corrected.spread[:, 1] == LEAST_SPREAD).all()
    assert (corrected.defined[:, 1] == 1.0).all()
    assert corrected.defined[3, 0] == 0.0
    # Nor is anything corrected of predictions that were made with less.
    free = fitted(rows, told).corrected(rows.inputs, nothing_known(rows))
    assert (free.mean[:, 1] == 0.0).all()


def test_rows_of_another_kind_keep_their_predictions():
    few = drawn(20, 0)
    rows = rows_with(few, slope(few) + 3)
    estimated = replace(nothing_known(rows), has_estimates=np.arange(20) < 10)
    corrected = fitted(rows).corrected(rows.inputs, estimated)
    assert (corrected.mean[:10] == estimated.mean[:10]).all()
    assert (corrected.mean[10:] != estimated.mean[10:]).all()
    low, high = fitted(rows).ends(corrected, 0.9, corrected.mean - 7, corrected.mean + 7)
    assert (high - low)[:10] == pytest.approx(14.0)
    assert ((high - low)[10:] < 14.0).all()


def test_the_same_rows_give_the_same_correction():
    few = drawn(30, 0)
    rows = rows_with(few, slope(few), noise(30, 2))
    first, second = (fitted(rows).corrected(rows.inputs, nothing_known(rows)) for _ in range(2))
    assert (first.mean == second.mean).all()


def test_it_comes_back_from_a_file_as_it_was(tmp_path: Path):
    few, fresh = drawn(40, 0), drawn(50, 1)
    rows, others = rows_with(few, slope(few), noise(40, 2), math.nan), rows_with(fresh, 0.0, 0.0, 0.0)
    adaptation = fitted(rows)
    adaptation.save(tmp_path / "deep" / "a.npz")
    again = Adaptation.load(tmp_path / "deep" / "a.npz")
    assert again.is_for("a", "opamp", "generic180")
    assert (again.rows, again.metrics, again.estimated) == (40, METRICS, (False,))
    expected, found = (each.corrected(others.inputs, nothing_known(others)) for each in (adaptation, again))
    for name in ("mean", "spread", "defined"):
        assert (getattr(expected, name) == getattr(found, name)).all()
    assert [again.reach(0.9, metric) for metric in METRICS] == [adaptation.reach(0.9, metric) for metric in METRICS]


def test_a_file_that_holds_none_is_refused(tmp_path: Path):
    with pytest.raises(CorpusMissing, match="is not there"):
        Adaptation.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no numbers")
    with pytest.raises(InvalidInput, match="does not hold an adaptation"):
        Adaptation.load(tmp_path / "text.npz")
    np.savez(tmp_path / "new.npz", about=np.array('{"format": 99}'))
    with pytest.raises(InvalidInput, match="it is of format 99"):
        Adaptation.load(tmp_path / "new.npz")


def test_rows_of_another_circuit_are_refused():
    rows = rows_with(drawn(5, 0), 1.0)
    adaptation = fitted(rows)
    elsewhere = [
        rows_of(structure_of(METRICS[:1], sources=SOURCES), np.ones((5, 1)), technology="sky130"),
        rows_of(structure_of(METRICS[:1], sources=SOURCES, topology="b"), np.ones((5, 1))),
        rows_of(structure_of(METRICS[:1], sources=SOURCES, testbench="ldo"), np.ones((5, 1))),
    ]
    for other in elsewhere:
        with pytest.raises(InvalidInput, match="the adaptation is for circuit a on opamp in generic180, not for"):
            adaptation.corrected(other.inputs, nothing_known(other))
    more = rows_with(drawn(5, 0), 1.0, 1.0)
    with pytest.raises(InvalidInput, match="needs predictions of gain_db, in this order"):
        adaptation.corrected(more.inputs, nothing_known(more))


def test_no_rows_and_too_many_are_refused():
    with pytest.raises(InvalidInput, match="no rows to adapt to"):
        fitted(rows_with(drawn(0, 0), 1.0))
    with pytest.raises(LimitExceeded, match=f"rows to adapt to is {MOST_ROWS + 1}, the limit is {MOST_ROWS}"):
        fitted(rows_with(drawn(MOST_ROWS + 1, 0), 1.0))


def test_it_needs_no_torch():
    code = "import sys, app.neural_simulator.adaptation; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
