"""What no circuit can have is no truth: neither the value nor what else was read from its run, and nothing besides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.errors import UnknownName
from app.neural_simulator.arrays import CIRCUIT, DEFINED, IMPLAUSIBLE
from app.neural_simulator.dataset import SimulationGroup
from app.neural_simulator.nearest import NearestRows
from app.neural_simulator.plausible import BY_UNIT, NODES, SWINGS, is_implausible
from app.testbenches._base import testbenches
from tests.simulated_rows import PROFILE, bench_of, group_of

AMPLIFIER = testbenches["amplifier"]
METRICS = ("area_m2", "supply_current_a", "input_bias_v", "gain_db", "bandwidth_hz", "psrr_db", "output_noise_v",
           "output_resistance_ohm", "output_swing_v")  # fmt: skip
USUAL = (1e-10, 1e-5, 0.6, 20.0, 1e6, 40.0, 1e-4, 1e5, 1.0)


def accused(ports: tuple[str, ...] = ("input", "output"), **values: float) -> set[str]:
    """Metrics that are not believed where these have other values than usual, at a supply of 1.8 V."""
    row = np.array([[values.get(name, usual) for name, usual in zip(METRICS, USUAL, strict=True)]])
    found = is_implausible(AMPLIFIER, ports, METRICS, row, np.array([1.8]))
    return {name for name, is_accused in zip(METRICS, found[0], strict=True) if is_accused}


def test_what_is_usual_is_believed():
    assert accused() == set()
    assert accused(gain_db=-200.0, input_bias_v=1.9, output_swing_v=2.0) == set()


def test_a_gain_of_ten_decades_takes_with_it_what_was_read_from_its_run():
    assert accused(gain_db=498.0) == {"gain_db", "bandwidth_hz", "psrr_db", "output_noise_v"}
    assert accused(gain_db=-201.0) == {"gain_db", "bandwidth_hz", "psrr_db", "output_noise_v"}


def test_a_metric_accuses_the_run_that_it_is_for_and_none_before():
    assert accused(psrr_db=270.0) == {"psrr_db"}


def test_an_operating_point_beyond_the_rails_leaves_what_follows_from_sizes():
    assert accused(input_bias_v=-0.11) == accused(input_bias_v=1.91) == set(METRICS) - {"area_m2"}


def test_a_difference_of_two_nodes_may_be_negative_and_twice_as_far_apart():
    pair = ("input", "negative_input", "output", "negative_output")
    assert accused(pair, input_bias_v=-1.7, output_swing_v=3.9) == set()
    assert accused(pair, input_bias_v=-2.1) == set(METRICS) - {"area_m2"}
    assert accused(pair, output_swing_v=4.1) == {"output_swing_v"} == accused(output_swing_v=2.1)


def test_a_metric_without_a_value_is_neither_accused_nor_accuses():
    assert accused(gain_db=np.nan) == set()
    assert "bandwidth_hz" not in accused(gain_db=300.0, bandwidth_hz=np.nan)


def test_a_metric_of_another_testbench_is_refused():
    with pytest.raises(UnknownName, match="metric of testbench amplifier named 'gain'"):
        is_implausible(AMPLIFIER, (), ("gain",), np.zeros((1, 1)), np.ones(1))


def test_bounds_are_of_units_and_metrics_that_there_are():
    assert BY_UNIT.keys() <= {metric.unit for bench in testbenches.values() for metric in bench.metrics}
    for name, voltages in (*NODES.items(), *SWINGS.items()):
        bench = testbenches[name]
        assert {bench.metric_of[metric].unit for metric in voltages} == {"V"}
        assert set(voltages.values()) <= {role.name for role in bench.roles}


def test_rows_that_are_learnt_from_or_shown_lack_what_is_not_believed():
    group = group_of(bench_of("current_mirror/wilson"), 30)
    place = group.metrics.index("input_voltage_v")
    values = group.values.copy()
    values[3, place] = -5.0
    spoilt: SimulationGroup = replace(group, values=values)
    rows = spoilt.rows(PROFILE)
    takes_runs = [bool(testbenches["current_mirror"].metric_of[name].runs) for name in group.metrics]
    had_value = np.isfinite(group.values[3])
    assert (np.isnan(rows.values[3]) == (np.array(takes_runs) | ~had_value)).all()
    assert set(rows.causes[3][takes_runs]) == {IMPLAUSIBLE} | ({CIRCUIT} if not had_value.all() else set())
    others = np.arange(30) != 3
    np.testing.assert_array_equal(rows.values[others], group.values[others])
    np.testing.assert_array_equal(rows.causes[others], group.causes[others])
    assert (rows.causes == DEFINED).sum() == np.isfinite(rows.values).sum()
    (near,) = NearestRows.of([(spoilt, np.arange(30) == 3)]).find(
        group.netlist, "current_mirror", group.technology, [variable.name for variable in group.variables],
        group.sizings.sizes[3:4], 1.8, 27.0, 1,
    )  # fmt: skip
    assert near[0].metrics["input_voltage_v"] is None
    assert near[0].metrics["area_m2"] == group.values[3, group.metrics.index("area_m2")]
