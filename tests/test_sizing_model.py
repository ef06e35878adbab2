"""Forecasts of margins from predictions of metrics, and the method that learns inside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from app.sizing._base import sizing_methods
from app.sizing.model import CircuitForecaster, Floats
from app.sizing.problem import UNDEFINED_MARGIN
from app.sizing.run import Budget, size_circuit
from app.testbenches._simulator import Bench, SimulationRow
from tests.closed_form_amplifier import ClosedFormAmplifier, amplifier_setup


@dataclass(frozen=True)
class Told:
    value: Floats
    low: Floats
    high: Floats
    defined: Floats


@dataclass(frozen=True)
class Off:
    error: Mapping[str, float]
    plain: Mapping[str, float]


@dataclass
class KnowsTheFormulas:
    """A circuit model that is the closed-form amplifier itself, off by `bias_db`, until it has learnt."""

    bench: Bench
    bias_db: float = 0.0
    chance: float = 1.0
    metrics: tuple[str, ...] = ("gain_db", "ugf_hz", "phase_margin_deg", "power_w")
    evaluations: int = 0
    learnt: list[SimulationRow] = field(default_factory=list)

    def predict(self, vectors: Floats, /) -> Told:
        self.evaluations += len(vectors)
        amplifier = ClosedFormAmplifier()
        told = [amplifier.metrics(self.bench.corner, self.bench.space.as_sizing(tuple(vector))) for vector in vectors]
        value = np.array([[row[name] for name in self.metrics] for row in told], dtype=np.float64)
        value[:, 0] += 0.0 if self.learnt else self.bias_db
        spread = np.array([1.0, 0.0, 0.0, 0.0])
        return Told(value, value - spread, value + spread, np.full(value.shape, self.chance))

    def learn(self, rows: Sequence[SimulationRow], /) -> None:
        self.learnt += rows

    def errors(self) -> Sequence[Off]:
        return [Off({"gain_db": 1.0 / (n + 1)}, {"gain_db": 1.0}) for n in range(len(self.learnt))]


def forecaster(setup: Any, **others: Any) -> tuple[CircuitForecaster, list[KnowsTheFormulas]]:
    models = [KnowsTheFormulas(bench, **others) for bench in setup.problem.benches]
    return CircuitForecaster(setup.problem, models), models


def test_a_forecast_of_formulas_is_what_the_formulas_say():
    setup = amplifier_setup("gain_db>60", "power_w<1m")
    told, _ = forecaster(setup)
    points = np.random.default_rng(1).uniform(size=(20, len(setup.problem.start)))
    found = told.forecast(points)
    rows = {row["index"]: row for row in ClosedFormAmplifier().run(setup.problem.benches[0], [
        setup.problem.vector(point) for point in points
    ])}  # fmt: skip
    expected = [setup.problem.margins(rows[index]["metrics"]) for index in range(20)]
    assert found.margins == pytest.approx(np.array(expected))
    assert found.spread[:, 0] == pytest.approx(np.log(10) / 20)
    assert found.spread[:, 1] == pytest.approx(0.0)


def test_a_forecast_is_of_the_worst_corner():
    nominal, pvt = (amplifier_setup("gain_db>60", corners=corners) for corners in ("nominal", "pvt"))
    points = np.random.default_rng(1).uniform(size=(16, len(nominal.problem.start)))
    here, worst = (forecaster(setup)[0].forecast(points).margins for setup in (nominal, pvt))
    assert here - worst == pytest.approx(6.0 * np.log(10) / 20)


def test_the_other_corners_are_asked_of_few_points():
    setup = amplifier_setup("gain_db>60", corners="pvt")
    told, models = forecaster(setup)
    told.forecast(np.random.default_rng(1).uniform(size=(100, len(setup.problem.start))))
    assert [model.evaluations for model in models] == [100, 32, 32, 32, 32]
    assert told.evaluations == 228


def test_a_metric_that_the_model_cannot_tell_is_open():
    setup = amplifier_setup("gain_db>60", "slew_rate_v_per_s>1meg")
    found = forecaster(setup)[0].forecast(setup.problem.start[None])
    assert (found.margins[0, 1], found.spread[0, 1]) == (0.0, 1.0)


def test_a_metric_that_hardly_has_a_value_pulls_its_margin_down():
    setup = amplifier_setup("gain_db>60")
    sure, unsure = (forecaster(setup, chance=chance)[0].forecast(setup.problem.start[None]) for chance in (1.0, 0.25))
    assert unsure.margins == pytest.approx(0.25 * sure.margins + 0.75 * UNDEFINED_MARGIN)


def test_each_corner_learns_from_its_own_simulations():
    setup = amplifier_setup("gain_db>60", corners="pvt")
    told, models = forecaster(setup)
    told.learn(2, [{"sizes": {}}])
    assert [len(model.learnt) for model in models] == [0, 0, 1, 0, 0]


def test_the_report_says_how_far_off_it_was_first_and_last():
    setup = amplifier_setup("gain_db>60")
    told, _ = forecaster(setup)
    told.learn(0, [{}] * 20)
    errors = told.report()["errors"]["gain_db"]
    assert errors["first"] > errors["last"]
    assert errors["last_unadapted"] == 1.0


@pytest.mark.parametrize("corners", ["nominal", "pvt"])
def test_insight_m_needs_few_simulations_where_its_model_is_right(corners: Any):
    setup = amplifier_setup("gain_db>82", "ugf_hz>20meg", "phase_margin_deg>60", "power_w<200u", corners=corners)

    def simulations(method: str) -> list[int]:
        found = [
            size_circuit(
                setup.problem, sizing_methods[method], ClosedFormAmplifier(), seed=seed, budget=Budget(100, 60.0),
                verify=setup.verify, model=forecaster(setup, bias_db=2.0)[0],
            )
            for seed in range(3)
        ]  # fmt: skip
        return [each.met_after or 1000 for each in found]

    assert max(simulations("insight-m")) < 20
    assert min(simulations("random")) > max(simulations("insight-m"))


def test_insight_m_learns_from_every_simulation():
    setup = amplifier_setup("gain_db>150", corners="pvt")
    told, models = forecaster(setup)
    found = size_circuit(
        setup.problem, sizing_methods["insight-m"], ClosedFormAmplifier(), seed=1, budget=Budget(20, 60.0),
        verify=setup.verify, model=told,
    )  # fmt: skip
    assert len(models[0].learnt) == found.trials > 0
    assert found.offline_simulations == told.evaluations > 0
    assert found.model is not None


def test_insight_m_without_a_model_draws_at_random():
    setup = amplifier_setup("gain_db>150")
    scores = [
        [
            each["score"]
            for each in size_circuit(
                setup.problem, sizing_methods[method], ClosedFormAmplifier(), seed=3, budget=Budget(20, 60.0),
                verify=setup.verify,
            ).trace
        ]
        for method in ("insight-m", "random")
    ]  # fmt: skip
    assert scores[0] == scores[1]


def test_insight_m_proposes_what_it_has_when_the_time_is_over():
    setup = amplifier_setup("gain_db>150")
    told, _ = forecaster(setup)
    found = size_circuit(
        setup.problem, sizing_methods["insight-m"], ClosedFormAmplifier(), seed=1, budget=Budget(20, 1e-9),
        verify=setup.verify, model=told,
    )  # fmt: skip
    assert (found.offline_simulations, found.trials) == (1, 1)
    assert found.status == "not_met"
