"""Arrays of simulations: the words they are made of, and that their parts belong together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.neural_simulator import arrays
from app.neural_simulator.arrays import (
    ELEMENT_FEATURE_NAMES,
    ELEMENT_KINDS,
    Estimates,
    RowInputs,
    Rows,
    condition_names,
    net_classes,
)
from app.simulation_corpus import reader
from app.testbenches._base import testbenches
from tests.simulated_rows import PROFILE, bench_of, group_of


@pytest.fixture(scope="module")
def rows() -> Rows:
    return group_of(bench_of("opamp/two_stage_ahuja"), 7).rows(PROFILE)


def test_no_word_stands_for_two_things():
    for words in (ELEMENT_KINDS, ELEMENT_FEATURE_NAMES, net_classes(), condition_names()):
        assert len(set(words)) == len(words)
    assert net_classes()[0] == ""


def test_every_role_and_setting_of_every_testbench_has_a_word():
    for testbench in testbenches.values():
        assert {f"role:{role.name}" for role in testbench.roles} <= set(net_classes())
        assert {f"setting:{setting.name}" for setting in testbench.settings} <= set(condition_names())


def test_causes_are_counted_as_stores_count_them():
    for name in ("DEFINED", "CIRCUIT", "SIMULATOR", "NOT_RUN"):
        assert getattr(arrays, name) == getattr(reader, name)


def test_some_rows_are_rows(rows: Rows):
    some = rows.take(np.array([5, 0]))
    assert len(some) == 2
    assert some.structure is rows.structure
    arrays_of_rows = {name: part for name, part in vars(rows).items() if isinstance(part, np.ndarray)}
    assert len(arrays_of_rows) == 12
    for name, part in arrays_of_rows.items():
        np.testing.assert_array_equal(getattr(some, name), part[[5, 0]])
    masked = rows.take(np.arange(7) % 2 == 0)
    np.testing.assert_array_equal(masked.sizes, rows.sizes[::2])


def test_a_predictor_sees_no_results(rows: Rows):
    inputs = rows.inputs
    assert set(vars(rows)) - set(vars(inputs)) == {
        "values", "causes", "facts", "sizes", "methods", "process", "simulate_s",
    }  # fmt: skip
    some = inputs.take(np.array([2, 3]))
    assert (type(some), len(some), len(inputs)) == (RowInputs, 2, 7)
    np.testing.assert_array_equal(some.estimates, rows.estimates[2:4])


def test_a_simulator_that_was_not_asked_says_nothing():
    nothing = Estimates.nothing(2, 3, 4)
    assert (nothing.causes == arrays.NOT_RUN).all()
    assert (nothing.values.shape, nothing.facts.shape) == ((2, 3), (2, 4, len(arrays.FACTS)))
    assert np.isnan(nothing.values).all()
    assert np.isnan(nothing.facts).all()


def test_rows_and_structures_of_other_shapes_are_refused(rows: Rows):
    with pytest.raises(ValueError, match=r"rows of 16 elements and .* metrics have arrays of shapes"):
        replace(rows, facts=rows.facts[:, 1:])
    with pytest.raises(ValueError, match=r"rows of 16 elements and .* metrics have arrays of shapes"):
        replace(rows.inputs, estimates=rows.estimates[1:])
    with pytest.raises(ValueError, match=r"a structure of 15 elements has arrays of shapes"):
        replace(rows.structure, names=rows.structure.names[1:])
