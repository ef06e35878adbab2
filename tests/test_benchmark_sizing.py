"""Sizing methods beside each other: what runs are made, what is kept of them, what they come to."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from app.benchmarks.sizing import bench_sizing
from app.benchmarks.sizing_cases import SizingCase, read_cases
from app.benchmarks.sizing_page import sizing_page
from app.benchmarks.sizing_plan import Attempt, SizingPlan
from app.benchmarks.sizing_report import sizing_report
from app.cli import main
from app.errors import InvalidRequest, UnknownName
from app.simulation_corpus.journal import read_journal
from app.sizing._base import OfflineModel, Proposer, SizingMethod, sizing_methods
from app.sizing.problem import SizingProblem
from app.testbenches._simulator import Bench, SimulationRow
from tests.closed_form_amplifier import ClosedFormAmplifier, amplifier_setup


def case(circuit: str = "opamp/two_stage_miller", profile: str = "easy", *bounds: str, **others: Any) -> SizingCase:
    told: dict[str, Any] = {
        "testbench": "opamp", "technology": "generic180", "settings": {}, "corners": "nominal", "solution": {},
        "steps": 1, "draws": 1000, "meeting": 2, "is_improved": False,
    }  # fmt: skip
    return SizingCase(circuit, profile, bounds=bounds or ("gain_db>50",), **{**told, **others})


@dataclass
class Counted(ClosedFormAmplifier):
    """The amplifier of formulas, that keeps what it was asked for."""

    asked: list[str] = field(default_factory=list)

    def run(self, bench: Bench, vectors: Sequence[Sequence[float]], /) -> Iterator[SimulationRow]:
        self.asked += [repr(tuple(vector)) for vector in vectors]
        return super().run(bench, vectors)


def problem_of(asked: SizingCase) -> SizingProblem:
    return amplifier_setup(*asked.bounds, corners=asked.corners).problem


def no_model(problem: SizingProblem) -> None:
    return None


def compared(plan: SizingPlan, amplifier: ClosedFormAmplifier | None = None, **others: Any) -> dict[str, Any]:
    simulator = amplifier or ClosedFormAmplifier()
    return bench_sizing(plan, problem_of, simulator, no_model, learnt=lambda one: False, **others)


EASY = case()
HARD = case("opamp/two_stage_miller", "hard", "gain_db>150")


def test_a_run_counts_every_simulation_with_those_that_verify_it():
    amplifier = Counted()
    report = compared(SizingPlan((EASY,), ("random",), seeds=1, simulations=20), amplifier)
    own = report["methods"]["random"]
    assert own["success"]["share"] == 1
    assert own["simulations"]["median"] == len(amplifier.asked) == 5  # a batch of four, and the best one once more


def test_a_run_without_success_spends_the_whole_budget_and_lies_beyond_it():
    amplifier = Counted()
    report = compared(SizingPlan((HARD,), ("random",), seeds=1, simulations=20), amplifier)
    own = report["methods"]["random"]
    assert len(amplifier.asked) == 20
    assert own["success"]["share"] == 0
    assert own["simulations"]["median"] is None


def test_runs_go_seed_by_seed_so_that_what_is_done_is_a_comparison_at_any_time():
    said: list[str] = []
    plan = SizingPlan((EASY, HARD), ("random", "tests-other"), seeds=2, simulations=12)
    with registered("tests-other", sizing_methods["random"]):
        compared(plan, progress=lambda done, total, told: said.append(f"{done}/{total} {told.partition(':')[0]}"))
    names = [f"{one.name}, {method}" for one in plan.cases for method in plan.methods]
    assert said == [
        f"{4 * seed + number}/8 {name}, seed {seed}" for seed in (0, 1) for number, name in enumerate(names, start=1)
    ]


def test_a_comparison_goes_on_from_its_folder_and_simulates_nothing_twice(tmp_path: Path):
    plan = SizingPlan((EASY, HARD), ("random",), seeds=2, simulations=12)
    at_once, first, then, last = Counted(), Counted(), Counted(), Counted()
    whole = compared(plan, at_once)
    part = compared(replace(plan, seeds=1), first, work=tmp_path)
    rest = compared(plan, then, work=tmp_path)
    assert compared(plan, last, work=tmp_path) == rest
    assert (part["pairs"], rest["pairs"]) == (2, 4)
    assert [told["methods"] for told in rest["cases"]] == [told["methods"] for told in whole["cases"]]
    assert first.asked + then.asked == at_once.asked
    assert last.asked == []


def test_a_case_that_was_made_anew_is_run_again(tmp_path: Path):
    plan = SizingPlan((EASY,), ("random",), seeds=1, simulations=12)
    compared(plan, work=tmp_path)
    harder = replace(EASY, bounds=("gain_db>51",))
    told_better = replace(EASY, solution={"w_m1": 1e-6}, meeting=7)
    again, same = Counted(), Counted()
    compared(replace(plan, cases=(harder,)), again, work=tmp_path)
    compared(replace(plan, cases=(told_better,)), same, work=tmp_path)
    assert again.asked
    assert same.asked == []


def test_no_run_begins_when_the_minutes_are_over(tmp_path: Path):
    amplifier = Counted()
    report = compared(SizingPlan((EASY,), ("random",), seeds=3), amplifier, work=tmp_path, minutes=0.0)
    assert amplifier.asked == []
    assert (report["pairs"], report["missing"], report["best"]) == (0, 3, None)


class Breaking:
    """A method that cannot do what it is for, until it is mended."""

    summary, reference, uses_model = "breaks", "none", False

    def __init__(self) -> None:
        self.is_broken = True

    def begin(self, problem: SizingProblem, *, seed: int, budget: int, model: OfflineModel | None) -> Proposer:
        if self.is_broken:
            raise ValueError("a matrix is not positive definite")
        return sizing_methods["random"].begin(problem, seed=seed, budget=budget, model=None)


@contextmanager
def registered(name: str, method: SizingMethod) -> Iterator[None]:
    """The method is an entry of the registry until the block is left."""
    sizing_methods.add(name, method)
    try:
        yield
    finally:
        sizing_methods.remove(name)


def test_a_method_that_breaks_has_not_met_the_case_and_is_tried_again_the_next_time(tmp_path: Path):
    method = Breaking()
    plan = SizingPlan((EASY,), ("tests-breaking",), seeds=1, simulations=12)
    with registered("tests-breaking", method):
        broken = compared(plan, work=tmp_path)["methods"]["tests-breaking"]
        method.is_broken = False
        mended = compared(plan, work=tmp_path)["methods"]["tests-breaking"]
    assert (broken["success"]["share"], broken["failed"]) == (0, 1)
    assert (mended["success"]["share"], mended["failed"]) == (1, 0)


def test_a_journal_of_another_model_is_refused(tmp_path: Path):
    plan = SizingPlan((EASY,), ("insight-m",), seeds=1, simulations=12)
    compared(plan, work=tmp_path, weights="one")
    with pytest.raises(InvalidRequest, match="another model"):
        compared(plan, work=tmp_path, weights="another")


def test_a_model_is_made_for_those_alone_that_use_one():
    asked: list[SizingProblem] = []
    plan = SizingPlan((EASY,), ("random", "insight-m"), seeds=2, simulations=12)
    bench_sizing(plan, problem_of, ClosedFormAmplifier(), asked.append, learnt=lambda one: False)
    assert len(asked) == 2


def test_an_unknown_method_is_named():
    with pytest.raises(UnknownName, match="no sizing method named 'randon'; did you mean 'random'"):
        compared(SizingPlan((EASY,), ("randon",)))


def attempt(one: SizingCase, method: str, seed: int, simulations: int | None, **others: Any) -> Attempt:
    told: dict[str, Any] = {"offline_simulations": 0, "score": 0.0, "simulator_cpu_s": 0.1, "model_cpu_s": 0.2}
    return Attempt(
        one.name, one.digest, method, seed, 100, simulations is not None, simulations or 100, **{**told, **others}
    )


def reported(needed: dict[str, list[list[int | None]]], cases: Sequence[SizingCase] = (EASY, HARD)) -> dict[str, Any]:
    """The report of simulations to success by method, case and seed."""
    seeds = max(len(row) for rows in needed.values() for row in rows)
    records = {
        method: {
            (made := attempt(one, method, seed, simulations)).key: made
            for one, row in zip(cases, rows, strict=True)
            for seed, simulations in enumerate(row)
        }
        for method, rows in needed.items()
    }
    return sizing_report(SizingPlan(tuple(cases), tuple(needed), seeds), records, lambda one: one is HARD)


def test_shares_and_quartiles_are_those_of_all_runs_with_failures_beyond_the_budget():
    own = reported({"a": [[5, 9, 13, 17], [21, 55, None, None]]})["methods"]["a"]
    assert own["success"]["share"] == 0.75
    assert {below: told["share"] for below, told in own["within"].items()} == {"10": 0.25, "20": 0.5, "50": 0.625}
    assert [own["simulations"][name] for name in ("q1", "median", "q3", "p90")] == [9, 17, 55, None]


def test_intervals_know_that_runs_of_one_case_are_alike():
    alike = reported({"a": [[5] * 8, [None] * 8]})["methods"]["a"]["success"]
    mixed = reported({"a": [[5, None] * 4, [None, 5] * 4]})["methods"]["a"]["success"]
    assert (alike["share"], alike["low"], alike["high"]) == (0.5, 0.0, 1.0)
    assert (mixed["share"], mixed["low"], mixed["high"]) == (0.5, 0.5, 0.5)
    certain = reported({"a": [[5] * 8, [9] * 8]})["methods"]["a"]["success"]
    assert certain["low"] == pytest.approx(0.342, abs=0.001)  # Wilson's of two cases, not of sixteen runs
    assert certain["high"] == 1.0


def test_only_what_every_method_has_done_is_compared():
    report = reported({"a": [[5, 9], [5, 9]], "b": [[5], [None]]})
    assert (report["pairs"], report["missing"]) == (2, 2)
    assert [report["methods"][name]["runs"] for name in ("a", "b")] == [2, 2]
    assert report["methods"]["a"]["success"]["share"] == 1


def test_the_best_method_has_most_quick_successes_and_is_told_beside_the_others():
    report = reported({"slow": [[33, 61], [81, None]], "quick": [[5, 9], [13, 17]]})
    assert report["best"] == "quick"
    told = report["beside"]["slow"]
    assert told["quick"]["difference"] == 1
    assert told["success"]["difference"] == 0.25
    assert (told["as_often_after"], told["they_after"]) == (13, 81)  # three of four runs


def test_parts_of_the_cases_are_told_apart_by_circuit_profile_and_what_the_model_knows():
    other = case("opamp/folded_cascode", "easy")
    report = reported({"a": [[5, 5], [None, None], [9, 9]]}, (EASY, HARD, other))
    groups = {name: {value: told["a"]["success"]["share"] for value, told in parts.items()}
              for name, parts in report["groups"].items()}  # fmt: skip
    assert groups == {
        "circuit": {"opamp/two_stage_miller": 0.5, "opamp/folded_cascode": 1},
        "profile": {"easy": 1, "hard": 0},
        "offline model": {"has not seen the circuit": 1, "knows the circuit": 0},
    }
    assert [told["methods"]["a"] for told in report["cases"]] == [
        {"success": 1, "median": 5}, {"success": 0, "median": None}, {"success": 1, "median": 9},
    ]  # fmt: skip


def test_the_page_says_what_the_report_says():
    report = reported({"random": [[33, 61], [81, None]], "insight-m": [[5, 9], [13, 17]]})
    page = sizing_page(report, "josephson bench sizing --seeds 2 --simulations 100")
    assert "2 specifications, circuits: 1, seeds: 2, 100 real simulations at most" in page
    assert "| `random` | 75.0 % (50.0 to 100.0) |" in page
    assert "33, 61 (33 to 81), 81, - |" in page
    assert "beside `random`: +100.0 (+100.0 to +100.0) points with fewer than 20 simulations" in page
    assert "as often as `random` after 81 simulations it succeeds after 13" in page
    assert "| opamp/two_stage_miller/hard | `gain_db>150` | 0.20 % | 50 / 81 | 100 / 13 |" in page
    assert math.isfinite(len(json.dumps(report, allow_nan=False)))


@pytest.mark.simulator
def test_the_command_compares_writes_a_page_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path / "data"))
    words = ["bench", "sizing", "--methods", "random", "--specifications", "opamp/current_mirror_ota/fast",
             "--seeds", "1", "--simulations", "12", "--work", str(tmp_path / "work")]  # fmt: skip
    assert main([*words, "--write", str(tmp_path / "page.md"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pairs"] == 1
    assert report["methods"]["random"]["simulator_cpu_s"] > 0
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert (
        "Made by `josephson bench sizing --methods random --specifications 'opamp/current_mirror_ota/fast' "
        "--seeds 1 --simulations 12`" in page
    )
    assert main([*words, "--minutes", "0"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "1 runs of each method with 12 simulations at most"
    assert shown[2].startswith("random")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--methods", "randon"], "no sizing method named 'randon'; did you mean 'random'?"),
        (["--specifications", "opamp/two_stage_miller/fats"], "did you mean 'opamp/two_stage_miller/fast'?"),
    ],
)
def test_a_word_that_means_nothing_is_named(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "sizing", *words, "--minutes", "0", "--json"]) == 2
    assert sentence in json.loads(capsys.readouterr().out)["error"]["message"]


RUNS = Path(__file__).parents[1] / "docs" / "sizing-runs"


@pytest.mark.parametrize("method", sorted(sizing_methods))
def test_the_runs_that_are_published_are_of_specifications_that_ship(method: str):
    (begun, *entries) = read_journal(RUNS / method / "evaluation.jsonl")
    assert begun["identity"]["method"] == method
    runs = [Attempt.from_json(entry["record"]) for entry in entries]
    digests = {one.name: one.digest for file in read_cases() for one in file.cases}
    assert {run.digest for run in runs} == {digests[run.case] for run in runs}
    assert {run.method for run in runs} == {method}
    cases = {run.case for run in runs}
    assert {(run.case, run.seed) for run in runs} == {(name, run.seed) for name in cases for run in runs}, "whole seeds"
    assert len({run.key for run in runs}) == len(runs)
    assert all(run.failed is None for run in runs)
