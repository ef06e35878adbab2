"""Adapting to one circuit from a few of its simulations: what is learnt, what is left alone, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.errors import InvalidInput, LimitExceeded
from app.neural_simulator.adaptation import MOST_ROWS, Adaptation
from app.neural_simulator.arrays import Rows
from app.neural_simulator.artefact import Predicted
from app.neural_simulator.scales import fit_scales
from tests.simulator_rows import rows_of, structure_of

#: A gain that falls with the decades of the first size, and an offset that no size explains.
METRICS = ("gain_db", "offset_v")


def circuit_rows(count: int, seed: int = 0, *, topology: str = "a") -> Rows:
    rng = np.random.default_rng(seed)
    decades = rng.uniform(-6, -4, (count, 2))
    gain = 60 + 10 * (decades[:, 0] + 5) + rng.normal(0, 0.1, count)
    values = np.stack([gain, rng.normal(0, 1e-3, count)], axis=1)
    structure = structure_of(METRICS, topology=topology, sources=("current_source", "current_source"))
    rows = rows_of(structure, values, sizes=10.0**decades)
    elements = rows.elements.copy()
    elements[:, :, 0] = decades
    return replace(rows, elements=elements)


SCALES = fit_scales([circuit_rows(500, 9)])


def predicted_of(rows: Rows, mean: float = 0.0) -> Predicted:
    """A network that says the same of every row."""
    shape = rows.values.shape
    return Predicted(
        np.full(shape, mean), np.full(shape, 0.8), np.full(shape, 0.9), np.zeros(len(rows)), np.zeros(len(rows), bool)
    )


def errors(rows: Rows, predicted: Predicted) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    found = (predicted.mean - SCALES.targets(rows.structure, rows.values)) ** 2
    return np.asarray(np.nanmean(found, axis=0))


@pytest.mark.parametrize(("count", "most"), [(20, 0.3), (200, 0.05)])
def test_what_sizes_explain_is_learnt_and_noise_is_not(count: int, most: float):
    seen, unseen = circuit_rows(count, 1), circuit_rows(400, 2)
    adaptation = Adaptation.fit(seen, predicted_of(seen), SCALES)
    before = predicted_of(unseen)
    after = adaptation.corrected(unseen, before)
    gain, offset = errors(unseen, after) / errors(unseen, before)
    assert gain < most
    assert offset < 1.15


def test_one_row_is_enough_not_to_fail():
    seen, unseen = circuit_rows(1, 1), circuit_rows(50, 2)
    after = Adaptation.fit(seen, predicted_of(seen), SCALES).corrected(unseen, predicted_of(unseen))
    assert np.isfinite(after.mean).all()
    assert (after.spread > 0).all()


def test_a_metric_that_never_had_a_value_becomes_less_likely_to_have_one():
    seen = circuit_rows(40, 1)
    values, causes = seen.values.copy(), seen.causes.copy()
    values[:, 1], causes[:, 1] = np.nan, 1
    adaptation = Adaptation.fit(replace(seen, values=values, causes=causes), predicted_of(seen), SCALES)
    unseen = circuit_rows(10, 2)
    after = adaptation.corrected(unseen, predicted_of(unseen))
    assert (after.defined[:, 1] < 0.5).all()
    assert (after.defined[:, 0] >= 0.9).all()
    np.testing.assert_allclose(after.mean[:, 1], 0, atol=1e-9)


def test_rows_of_another_circuit_are_refused():
    seen = circuit_rows(20, 1)
    other = circuit_rows(5, 2, topology="b")
    adaptation = Adaptation.fit(seen, predicted_of(seen), SCALES)
    assert adaptation.is_for(seen)
    assert not adaptation.is_for(other)
    with pytest.raises(InvalidInput):
        adaptation.corrected(other, predicted_of(other))


def test_no_rows_and_too_many_are_refused():
    with pytest.raises(InvalidInput, match="there are no rows to adapt to"):
        Adaptation.fit(circuit_rows(0), predicted_of(circuit_rows(0)), SCALES)
    many = circuit_rows(MOST_ROWS + 1)
    with pytest.raises(LimitExceeded, match="the number of rows to adapt to"):
        Adaptation.fit(many, predicted_of(many), SCALES)


def test_an_adaptation_is_saved_and_found_again(tmp_path: Path):
    seen, unseen = circuit_rows(60, 1), circuit_rows(30, 2)
    adaptation = Adaptation.fit(seen, predicted_of(seen), SCALES)
    adaptation.save(tmp_path / "adaptation.npz")
    again = Adaptation.load(tmp_path / "adaptation.npz")
    first, second = (each.corrected(unseen, predicted_of(unseen)) for each in (adaptation, again))
    for name in ("mean", "spread", "defined"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-6, atol=1e-9)
