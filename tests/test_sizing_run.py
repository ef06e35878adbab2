"""The sizing loop: what it counts, what it checks, and when it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from app.sizing._base import Floats, OfflineModel, Trial, sizing_methods
from app.sizing.problem import SizingProblem
from app.sizing.run import Budget, SizingResult, size_circuit
from app.specification import Objective
from app.testbenches._base import Corner
from tests.closed_form_amplifier import SECONDS, ClosedFormAmplifier, amplifier_setup


@dataclass
class Listed:
    """A method that proposes given sizings, a batch at a time, then the last one for ever."""

    sizings: Sequence[dict[str, float]]
    size: int = 1
    told: list[Trial] = field(default_factory=list)
    guards: list[Floats] = field(default_factory=list)
    summary: str = "what the test says"
    reference: str = "none"
    uses_model: bool = False

    def begin(self, problem: SizingProblem, *, seed: int, budget: int, model: OfflineModel | None) -> Listed:
        self.problem, self.asked = problem, 0
        return self

    def ask(self) -> Floats:
        chosen = [self.sizings[min(self.asked + n, len(self.sizings) - 1)] for n in range(self.size)]
        self.asked += self.size
        return np.array([self.problem.point(self.problem.space.vector(sizing)) for sizing in chosen])

    def tell(self, trials: Sequence[Trial], guard: Floats) -> None:
        self.told += trials
        self.guards.append(guard)


BAD = {"l_m1": 0.18e-6, "w_m1": 5e-6, "ib1_a": 10e-6}
GOOD = {"l_m1": 1e-6, "w_m1": 40e-6, "ib1_a": 20e-6}
LOW_POWER = {"l_m1": 1e-6, "w_m1": 40e-6, "ib1_a": 10e-6}


def sized(
    *bounds: str, method: Any = None, simulations: int = 60, amplifier: ClosedFormAmplifier | None = None,
    corners: Any = "nominal", objective: Objective | None = None, seed: int = 1, **others: Any,
) -> SizingResult:  # fmt: skip
    setup = amplifier_setup(*bounds, corners=corners, objective=objective)
    return size_circuit(
        setup.problem,
        sizing_methods["random"] if method is None else method,
        amplifier or ClosedFormAmplifier(),
        seed=seed,
        budget=Budget(simulations, 60.0),
        verify=setup.verify,
        **others,
    )


def test_the_first_sizing_that_meets_everything_ends_the_search_and_is_simulated_again():
    amplifier = ClosedFormAmplifier()
    found = sized("gain_db>70", "ugf_hz>10meg", method=Listed([BAD, BAD, GOOD, BAD]), amplifier=amplifier)
    assert found.status == "met"
    assert (found.met_after, found.simulations, found.trials) == (3, 4, 3)
    assert sum(amplifier.simulated.values()) == 4
    assert found.simulator_cpu_s == pytest.approx(4 * SECONDS)
    assert (found.margins >= 0).all()


def test_the_last_simulation_tells_every_metric_of_the_testbench():
    found = sized("gain_db>70", method=Listed([GOOD]))
    assert {"gain_db", "power_w", "slew_rate_v_per_s"} <= found.rows[0]["metrics"].keys()


def test_what_cannot_be_met_ends_with_the_best_that_was_found():
    found = sized("gain_db>150", method=Listed([BAD, GOOD, BAD]), simulations=10)
    assert found.status == "not_met"
    assert found.met_after is None
    assert found.simulations == 10
    assert found.trial is not None
    assert found.trial.vector[0] == pytest.approx(GOOD["w_m1"])
    assert found.margins[0] < 0


def test_a_point_that_fails_at_a_corner_does_not_meet_the_specification():
    amplifier = ClosedFormAmplifier(drift_db=40.0)
    found = sized("gain_db>70", method=Listed([GOOD]), amplifier=amplifier, corners="pvt", simulations=20)
    assert found.status == "not_met"
    assert len(found.rows) == 5
    assert found.margins[0] < 0
    assert found.simulations == sum(amplifier.simulated.values()) <= 20


def test_a_point_that_meets_everything_at_every_corner_is_met():
    amplifier = ClosedFormAmplifier(drift_db=1.0)
    found = sized("gain_db>70", method=Listed([GOOD]), amplifier=amplifier, corners="pvt", simulations=20)
    assert found.status == "met"
    assert found.trial is not None
    assert found.trial.corners == 5
    assert (found.met_after, found.simulations) == (5, 10)
    assert set(amplifier.simulated.values()) == {2}


def test_methods_without_a_model_hear_what_corners_take_away():
    method = Listed([GOOD])
    sized("gain_db>70", method=method, amplifier=ClosedFormAmplifier(drift_db=40.0), corners="pvt", simulations=20)
    assert method.guards[0][0] > 0
    assert method.told[-1].margins[0] < 0


def test_one_point_that_breaks_at_a_corner_does_not_keep_others_from_being_checked():
    class Breaks(ClosedFormAmplifier):
        def metrics(self, corner: Corner, sizes: Mapping[str, float]) -> dict[str, float | None]:
            told = super().metrics(corner, sizes)
            is_hot = corner.celsius > 100
            return told | {"gain_db": None} if is_hot and sizes["w_m1"] > 60e-6 else told

    breaks = GOOD | {"w_m1": 80e-6}
    found = sized(
        "gain_db>70", method=Listed([breaks, GOOD]), amplifier=Breaks(drift_db=1.0), corners="pvt", simulations=30
    )
    assert found.status == "met"


def test_every_simulation_counts_towards_the_budget_those_at_corners_too():
    for budget in (6, 11, 17):
        amplifier = ClosedFormAmplifier(drift_db=40.0)
        found = sized("gain_db>70", amplifier=amplifier, corners="pvt", simulations=budget)
        assert found.simulations == sum(amplifier.simulated.values()) <= budget


def test_with_an_objective_the_search_goes_on_after_the_first_point_that_meets_everything():
    found = sized(
        "gain_db>70", "ugf_hz>10meg", method=Listed([GOOD, LOW_POWER]), objective=Objective("power_w", "minimize")
    )
    assert found.status == "met"
    assert found.met_after == 1
    assert found.rows[0]["metrics"]["power_w"] == pytest.approx(2 * 10e-6 * 1.8)


def test_with_an_objective_the_search_ends_when_nothing_is_gained_any_more():
    found = sized("gain_db>70", method=Listed([GOOD]), objective=Objective("power_w", "minimize"), simulations=1000)
    assert found.simulations < 60


def test_a_search_that_is_stopped_tells_the_best_so_far():
    asked = iter([False, False, True, True])
    found = sized("gain_db>150", method=Listed([BAD, GOOD]), should_stop=lambda: next(asked))
    assert found.status == "stopped"
    assert found.trials == 2
    assert len(found.rows) == 1


def test_equal_seeds_give_equal_searches_and_other_seeds_others():
    once, again, other = (sized("gain_db>75", "ugf_hz>40meg", simulations=30, seed=seed) for seed in (1, 1, 2))
    assert [each["score"] for each in once.trace] == [each["score"] for each in again.trace]
    assert [each["score"] for each in once.trace] != [each["score"] for each in other.trace]


def test_a_circuit_of_which_nothing_is_defined_ends_without_a_point_that_meets_anything():
    found = sized("ugf_hz>1meg", amplifier=ClosedFormAmplifier(breaks_at_m=0.0), simulations=12)
    assert found.status == "not_met"
    assert found.margins.tolist() == [-2.0]


def test_every_trial_is_told_as_it_happens():
    heard: list[tuple[float, int]] = []
    found = sized("gain_db>100", simulations=20, on_trial=lambda trial, count: heard.append((trial.score, count)))
    assert len(heard) == found.trials == len(found.trace)
    assert [count for _, count in heard] == [each["simulations"] for each in found.trace]
    assert max(score for score, _ in heard) == found.trace[-1]["best"]
