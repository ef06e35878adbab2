"""What is true of every sizing method, on an amplifier whose metrics are formulas."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
import torch

from app.sizes.space import SizeSpace, SizeVariable
from app.sizing._base import Trial, sizing_methods
from app.sizing.problem import SizingProblem
from app.sizing.run import Budget, SizingResult, size_circuit
from app.specification import Objective
from app.testbenches._simulator import Bench
from tests.hand_sized_ota import HARD, BiasedModel, ClosedForm, ota_problem

METHODS = sorted(sizing_methods)

#: Those that learn from simulations where there is no model; `insight-m` needs one.
LEARNERS = [name for name in METHODS if name not in ("random", "insight-m")]

BUDGET = 121

EASY = ("gain_db>38", "power_w<250u")


def sized(
    name: str, problem: SizingProblem, *, seed: int = 3, simulations: int = 40, model: BiasedModel | None = None,
    simulator: ClosedForm | None = None,
) -> SizingResult:  # fmt: skip
    return size_circuit(
        problem, sizing_methods[name], simulator or ClosedForm(), seed=seed, budget=Budget(simulations, 60.0),
        verify=problem.benches, model=model,
    )  # fmt: skip


def simulated(result: SizingResult) -> list[tuple[float, ...]]:
    return [tuple(row["sizes"].values()) for _, row in result.simulated]


def numbers(count: int, *, fixed: int = 0, whole: int = 0) -> SizeSpace:
    """A space of so many variables, of which some are fixed and some are counts."""

    def variable(place: int) -> SizeVariable:
        if place < fixed:
            return SizeVariable(f"x{place}", "", 2.0, 2.0, 2.0, is_log=False)
        if place < fixed + whole:
            return SizeVariable(f"x{place}", "", 1.0, 8.0, 2.0, is_integer=True)
        return SizeVariable(f"x{place}", "F", 1e-13, 1e-11, 1e-12)

    return SizeSpace(tuple(variable(place) for place in range(count)))


class Anything(ClosedForm):
    """Answers sizings of any space: the gain falls with the distance from a quarter of the starting sizes."""

    def metrics(self, bench: Bench, sizes: Mapping[str, float]) -> dict[str, float | None]:
        away = [np.log(4 * sizes[variable.name] / variable.start) for variable in bench.space.variables]
        return {"gain_db": 60 - 5 * float(np.mean(np.square(away))), "power_w": 1e-4}


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_run_and_another_one_does_not(name: str) -> None:
    problem = ota_problem(*HARD)
    first, again, other = (sized(name, problem, seed=seed, simulations=24) for seed in (5, 5, 6))
    assert simulated(first) == simulated(again)
    assert simulated(first) != simulated(other)


@pytest.mark.parametrize("name", METHODS)
def test_points_lie_in_the_unit_cube_and_are_no_more_than_a_batch(name: str) -> None:
    problem = ota_problem(*HARD, batch=3)
    proposer = sizing_methods[name].begin(problem, seed=1, budget=60, model=BiasedModel(problem, [0.2, 0, 0, 0]))
    simulator = ClosedForm()
    for _ in range(8):
        points = proposer.ask()
        assert points.ndim == 2
        assert 1 <= len(points) <= 3
        assert points.shape[1] == len(problem.space.variables)
        assert ((points >= 0) & (points <= 1)).all()
        vectors = [problem.vector(point) for point in points]
        rows = sorted(simulator.run(problem.benches[0], vectors), key=lambda row: row["index"])
        proposer.tell(
            [
                Trial(problem.point(vector), vector, problem.margins(row["metrics"]), 0.0, row["metrics"], 1)
                for vector, row in zip(vectors, rows, strict=True)
            ],
            np.zeros(4),
        )


@pytest.mark.parametrize("name", [name for name in METHODS if not sizing_methods[name].uses_model])
def test_baselines_simulate_the_starting_sizes_first(name: str) -> None:
    problem = ota_problem(*HARD)
    assert simulated(sized(name, problem, simulations=6))[0] == problem.space.start


def test_methods_that_only_learn_from_simulations_begin_with_the_same_ones() -> None:
    problem = ota_problem(*HARD)
    turbo, tpe, region = (simulated(sized(name, problem, simulations=9)) for name in ("turbo", "tpe", "trust-region"))
    assert turbo[:8] == tpe[:8] == region[:8]


@cache
def median_simulations(name: str) -> float:
    """Until the hard bounds are met, over three seeds; the budget stands for never."""
    problem = ota_problem(*HARD)
    found = [sized(name, problem, seed=seed, simulations=BUDGET).met_after for seed in range(3)]
    return statistics.median(BUDGET if each is None else each for each in found)


@pytest.mark.parametrize("name", LEARNERS)
def test_who_learns_needs_fewer_simulations_than_who_draws(name: str) -> None:
    assert median_simulations(name) <= 0.5 * median_simulations("random")


def test_limits_learnt_one_by_one_take_fewer_simulations_than_their_sum() -> None:
    assert median_simulations("trust-region") < min(median_simulations(name) for name in ("turbo", "tpe", "cma-es"))


@pytest.mark.parametrize("name", METHODS)
def test_a_circuit_that_never_has_a_metric_ends_with_the_budget(name: str) -> None:
    problem = ota_problem(*HARD)
    result = sized(name, problem, simulator=ClosedForm(is_dead=True), model=BiasedModel(problem, [0, 0, 0, 0]))
    assert (result.status, result.simulations) == ("not_met", 40)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("batch", "simulations"), [(1, 12), (4, 5), (9, 12)])
def test_a_budget_is_kept_whatever_the_batch(name: str, batch: int, simulations: int) -> None:
    result = sized(name, ota_problem("gain_db>90", "power_w<250u", batch=batch), simulations=simulations)
    assert (result.status, result.simulations) == ("not_met", simulations)


@pytest.mark.parametrize("name", METHODS)
def test_an_objective_is_made_better_once_the_limits_are_met(name: str) -> None:
    problem = ota_problem(*EASY, objective=Objective("power_w", "minimize"))
    model = BiasedModel(problem, [0.0, 0.0])
    result = sized(name, problem, simulations=60, model=model)
    met = [row["metrics"] for _, row in result.simulated if (row["metrics"]["gain_db"] or 0) > 38]
    assert result.status == "met"
    assert result.rows[0]["metrics"]["power_w"] < 0.8 * met[0]["power_w"]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "space",
    [numbers(60, fixed=3, whole=20), numbers(1), numbers(2, fixed=1), numbers(3, fixed=3)],
    ids=["sixty", "one", "one that varies", "none that varies"],
)
def test_any_space_is_searched_and_what_is_fixed_stays(name: str, space: SizeSpace) -> None:
    problem = ota_problem("gain_db>59.9", "power_w<1m", space=space)
    fixed = [variable.low == variable.high for variable in space.variables]
    for vector in simulated(sized(name, problem, simulations=21, simulator=Anything())):
        assert all(value == 2.0 for value, is_fixed in zip(vector, fixed, strict=True) if is_fixed)
        assert all(v.allows(value) for v, value in zip(space.variables, vector, strict=True))


@pytest.mark.parametrize("name", LEARNERS)
def test_runs_side_by_side_do_not_disturb_each_other_or_the_randomness_of_others(name: str) -> None:
    problem = ota_problem(*HARD)
    before = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # type: ignore[index]
    alone = simulated(sized(name, problem, seed=2, simulations=17))
    with ThreadPoolExecutor(2) as threads:
        crowd = list(threads.map(lambda seed: sized(name, problem, seed=seed, simulations=17), (1, 2, 3)))
    assert simulated(crowd[1]) == alone
    assert (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()) == before  # type: ignore[index]


def test_the_names_of_methods_are_known_without_their_libraries() -> None:
    program = (
        "import sys; from app.sizing._base import sizing_methods; print(*sizing_methods);"
        "print(*({'botorch', 'gpytorch', 'torch', 'optuna', 'cmaes'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    names, libraries = told.split("\n")[:2]
    assert names.split() == METHODS
    assert libraries == ""
