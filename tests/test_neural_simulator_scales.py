"""Values as targets and back: monotone, invertible, comparable between topologies, and without sentinels."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UnknownName
from app.neural_simulator.scales import BY_NAME, BY_UNIT, SAME, Scale, Scales, fit_scales, rule_of
from app.testbenches._base import testbenches
from tests.simulator_rows import rows_of, structure_of

LOG = Scale("ugf_hz", "Hz", "log10", 1.0, 0.0, math.inf, 1.0, 1e12, 6.0, 0.5)
LINEAR = Scale("duty_cycle", "1", "linear", 1e-3, 0.0, 1.0, 0.0, 1.0, 0.45, 0.1)
SIGNED = Scale("offset_v", "V", "asinh", 1e-4, -math.inf, math.inf, -1.0, 2.0, 0.3, 0.8)
SCALES = pytest.mark.parametrize("scale", [LOG, LINEAR, SIGNED], ids=lambda scale: scale.link)


def test_every_metric_of_every_testbench_has_a_rule_of_its_unit_or_name():
    metrics = [metric for testbench in testbenches.values() for metric in testbench.metrics]
    assert [f"{metric.name} in {metric.unit}" for metric in metrics if rule_of(metric).resolution <= 0] == []
    assert sorted(BY_NAME.keys() - {metric.name for metric in metrics}) == []
    assert sorted(BY_UNIT.keys() - {metric.unit for metric in metrics}) == []


@SCALES
@given(share=st.floats(0, 1))
def test_a_value_within_the_limits_comes_back(scale: Scale, share: float):
    value = np.array(scale.low + share * (scale.high - scale.low))
    assert scale.value(scale.target(value)) == pytest.approx(value, rel=1e-6, abs=1e-9)


@SCALES
@given(numbers=st.lists(st.floats(-1e15, 1e15), min_size=2, max_size=8))
def test_a_larger_value_has_no_smaller_target(scale: Scale, numbers: list[float]):
    assert (np.diff(scale.target(np.sort(np.array(numbers)))) >= 0).all()
    assert (np.diff(scale.value(np.sort(np.array(numbers)))) >= 0).all()


@SCALES
@given(value=st.floats(-1e15, 1e15), low=st.floats(-50, 50), width=st.floats(0, 50))
def test_a_value_is_in_an_interval_where_its_target_is(scale: Scale, value: float, low: float, width: float):
    target, bottom, top = scale.target(np.array([value, scale.low, scale.high])).tolist()
    first, last = (min(max(end, bottom), top) for end in (low, low + width))
    if min(abs(target - first), abs(target - last)) < 1e-6 and scale.low < value < scale.high:
        return  # what is at an end may be rounded to either side of it
    ends = scale.interval(np.array(low), np.array(low + width))
    possible = min(max(value, scale.least), scale.most)
    assert bool(ends[0] <= possible <= ends[1]) == (first <= target <= last)


def test_levels_are_close_within_a_stated_error_and_decades_within_a_tenth():
    assert LINEAR.is_close(np.array([0.449, 0.461]), np.array([0.45, 0.45])).tolist() == [True, False]
    assert LOG.is_close(np.array([1.09e6, 1.11e6]), np.array([1e6, 1e6])).tolist() == [True, False]
    # Of small offsets the resolution of 0.1 mV is close.
    assert SIGNED.is_close(np.array([9e-5, 2e-4, 1.05]), np.array([0.0, 0.0, 1.0])).tolist() == [True, False, True]


def test_a_missing_value_stays_missing():
    for scale in (LOG, LINEAR, SIGNED):
        assert np.isnan(scale.target(np.array([math.nan, 1.0]))).tolist() == [True, False]
        assert np.isnan(scale.value(np.array([math.nan]))).all()
        assert all(np.isnan(end).all() for end in scale.interval(np.array([math.nan]), np.array([math.nan])))


def test_far_from_zero_a_signed_quantity_is_counted_in_decades():
    plain = replace(SIGNED, location=0.0, spread=1.0, low=-1e6, high=1e6)
    assert plain.target(np.array([1e-1, -1e-1, 0.0])) == pytest.approx([3.0, -3.0, 0.0], abs=1e-6)


def test_a_step_of_a_target_is_what_sizing_moves_the_metric_by():
    # Two topologies three decades apart, within each of which the frequency varies by a tenth of a decade.
    steps = np.random.default_rng(0).normal(0, 0.1, (2, 400))
    tables = [
        rows_of(structure_of(["ugf_hz"], topology=name), 10 ** (level + found))
        for name, level, found in zip("ab", (5.0, 8.0), steps, strict=True)
    ]
    scale = fit_scales(tables).of("opamp", "ugf_hz")
    assert (scale.link, scale.unit) == ("log10", "Hz")
    assert scale.spread == pytest.approx(0.1, rel=0.1)
    assert scale.location == pytest.approx(6.5, abs=0.02)


def test_rows_of_a_group_may_come_in_parts():
    values = 10 ** np.random.default_rng(1).normal(6, 1, 300)
    structure = structure_of(["ugf_hz"])
    whole = fit_scales([rows_of(structure, values)])
    parts = fit_scales([rows_of(structure, values[:10]), rows_of(structure, values[10:])])
    assert parts.as_json() == whole.as_json()


def test_a_single_absurd_row_does_not_rule_the_targets():
    values = np.append(np.random.default_rng(2).normal(60, 5, 1000), -589.0)
    scale = fit_scales([rows_of(structure_of(["gain_db"]), values)]).of("opamp", "gain_db")
    assert -160 <= scale.low < values[:-1].min()
    assert scale.high > values[:-1].max()
    assert scale.spread < 8


def test_what_is_below_the_resolution_is_all_the_same():
    currents = np.concatenate([np.zeros(50), np.full(50, -1e-3), 10 ** np.random.default_rng(3).normal(-5, 1, 900)])
    scale = fit_scales([rows_of(structure_of(["supply_current_a"]), currents)]).of("opamp", "supply_current_a")
    assert len(set(scale.target(np.array([0.0, -1e-3, 1e-13])).tolist())) == 1
    # Nobody is told that such a current is a picoampere: the interval is open.
    bottom = scale.target(np.array([0.0]))
    assert scale.interval(bottom - 1, bottom + 1)[0].tolist() == [-math.inf]


def test_a_metric_that_is_mostly_one_number_is_centred_there_and_says_so():
    values = np.concatenate([np.zeros(850), 1e-15 * np.arange(50), np.linspace(0.5, 12, 100)])
    scale = fit_scales(
        [rows_of(structure_of(["peaking_db"], testbench="amplifier"), np.random.default_rng(4).permutation(values))]
    ).of("amplifier", "peaking_db")
    assert scale.usual == pytest.approx(0, abs=1e-12)
    assert scale.is_usual(scale.target(values)).tolist() == [True] * 900 + [False] * 100
    assert LOG.is_usual(np.zeros(3)).tolist() == [False] * 3


def test_a_metric_that_is_never_the_same_twice_has_no_usual_value():
    values = np.random.default_rng(5).normal(60, 5, 500)
    assert fit_scales([rows_of(structure_of(["gain_db"]), values)]).of("opamp", "gain_db").usual is None


def test_a_metric_that_does_not_vary_or_has_no_value_still_has_a_scale():
    scales = fit_scales([rows_of(structure_of(["gain_db", "ugf_hz"]), [[40.0, math.nan]] * 5)])
    constant, empty = scales.of("opamp", "gain_db"), scales.of("opamp", "ugf_hz")
    assert constant.target(np.array([40.0])).tolist() == [0.0]
    assert (empty.location, empty.spread, empty.usual) == (0.0, 1.0, None)
    assert empty.value(empty.target(np.array([1e6]))) == pytest.approx([1e6])


def test_scales_are_kept_as_json():
    rng = np.random.default_rng(6)
    structure = structure_of(["supply_current_a", "offset_v", "unity_crossings"])
    values = np.stack([10 ** rng.normal(-5, 1, 200), rng.normal(0, 0.01, 200), rng.integers(0, 2, 200)], axis=1)
    scales = fit_scales([rows_of(structure, values)])
    text = json.dumps(scales.as_json(), allow_nan=False)
    restored = Scales.from_json(json.loads(text))
    assert restored.as_json() == scales.as_json()
    targets = restored.targets(structure, values)
    assert targets.tolist() == scales.targets(structure, values).tolist()
    assert restored.values(structure, targets) == pytest.approx(values, rel=1e-6, abs=1e-9)
    low, high = restored.intervals(structure, targets - SAME, targets + SAME)
    assert ((low <= values) & (values <= high)).all()


def test_a_unit_that_nobody_thought_of_is_bent_around_a_tenth_of_its_median():
    metric = replace(testbenches["opamp"].metrics[0], name="dose_sv", unit="Sv")
    assert rule_of(metric).link == "asinh"


def test_what_has_no_scale_is_named():
    scales = fit_scales([rows_of(structure_of(["gain_db"]), [40.0, 41.0])])
    with pytest.raises(UnknownName, match="no scale of testbench opamp named 'gain'; did you mean 'gain_db'"):
        scales.of("opamp", "gain")
    with pytest.raises(UnknownName, match="no testbench with scales named 'ldo'; known: opamp"):
        scales.of("ldo", "gain_db")
    with pytest.raises(UnknownName, match="no metric of testbench opamp named 'gain_bd'"):
        fit_scales([rows_of(structure_of(["gain_bd"]), [40.0])])
