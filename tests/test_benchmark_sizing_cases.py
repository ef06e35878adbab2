"""The specifications that sizing methods are compared on: that they can be met, and how they are made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.analog.corpus import read_archetypes
from app.benchmarks.sizing_cases import CaseFile, SizingCase, chosen_cases, read_cases
from app.benchmarks.sizing_specifications import FAMILIES, Family, Profile, make_cases
from app.cli import main
from app.errors import InvalidRequest, UnknownName
from app.resources import data_path
from app.simulators.processes import WorkerPool
from app.sizing.problem import SizingProblem
from app.specification import check_specification, corners_of
from app.technologies._base import technologies
from app.testbenches._base import Bound, testbenches
from app.testbenches._function import unmet_bounds
from app.testbenches._simulator import BenchSimulator, prepare_bench
from tests.closed_form_amplifier import ClosedFormAmplifier, NoTables

FILES = read_cases()
CASES = [case for file in FILES for case in file.cases]
NETLISTS = {circuit.id: circuit.netlist for circuit in read_archetypes()}


def problem_of(case: SizingCase) -> SizingProblem:
    """The case's problem at the sizes that the netlist brings along."""
    specification, technology = case.specification, technologies[case.technology]
    benches = [
        prepare_bench(
            NETLISTS[case.circuit], testbenches[case.testbench], technology,
            corner=corner, metrics=specification.metrics, settings=specification.settings,
        )
        for corner in corners_of(specification, technology)
    ]  # fmt: skip
    return SizingProblem(specification, tuple(benches))


def test_there_are_ten_specifications_and_more_for_each_of_three_opamps_and_more():
    opamps = {case.circuit for case in CASES if case.testbench == "opamp"}
    assert len(opamps) >= 3
    for circuit in opamps:
        assert len({case.profile for case in CASES if case.circuit == circuit}) >= 10
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.corners for case in CASES} == {"nominal", "pvt"}


def test_every_specification_can_be_asked_of_its_testbench():
    for case in CASES:
        check_specification(case.specification, testbenches[case.testbench], technologies[case.technology])


def test_blind_search_seldom_meets_any_of_them():
    assert max(case.meeting / case.draws for case in CASES) <= 0.01
    assert [case.profile for case in CASES if case.is_improved and case.meeting] == []


@pytest.mark.simulator
def test_every_specification_is_met_by_the_sizes_that_are_stored_beside_it(ngspice: WorkerPool):
    simulator, unmet = BenchSimulator(ngspice), dict[str, tuple[Bound, ...]]()
    for case in CASES:
        for bench in problem_of(case).benches:
            (row,) = simulator.run(bench, [bench.space.vector(case.solution)])
            missing = unmet_bounds(case.specification.bounds, row["metrics"])
            unmet |= {f"{case.name} at {bench.corner}": missing} if missing else {}
    assert unmet == {}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.testbench)
def test_a_file_is_as_the_command_writes_it(file: CaseFile, tmp_path: Path):
    path = tmp_path / "again.json"
    file.write(path)
    assert path.read_text(encoding="utf-8") == data_path("sizing", f"{file.testbench}.json").read_text(encoding="utf-8")
    family = next(family for family in FAMILIES if family.testbench == file.testbench)
    assert file.profiles == {profile.name: profile.summary for profile in family.profiles}
    assert [(case.circuit, case.profile) for case in file.cases] == [
        (circuit, profile.name) for circuit in family.circuits for profile in family.profiles
    ]


def test_a_case_is_another_one_when_something_else_is_asked_and_not_when_it_is_better_known():
    case = CASES[0]
    others = [
        replace(case, bounds=(*case.bounds, "offset_v<1m")), replace(case, corners="pvt"),
        replace(case, settings={"load_f": 3e-12}), replace(case, technology="generic45"),
    ]  # fmt: skip
    assert len({each.digest for each in (case, *others)}) == 5
    assert replace(case, solution={}, meeting=1, draws=9).digest == case.digest


def test_cases_are_chosen_by_name_circuit_and_profile():
    circuits = {case.circuit for case in CASES if case.testbench == "opamp"}
    assert {case.circuit for case in chosen_cases(CASES, ["opamp/*"])} == circuits
    assert {case.profile for case in chosen_cases(CASES, ["slewing", "small"])} == {"slewing", "small"}
    assert [case.name for case in chosen_cases(CASES, [CASES[3].name])] == [CASES[3].name]
    assert chosen_cases(CASES, None) == tuple(CASES)
    with pytest.raises(UnknownName, match="no specification named 'bandgap/\\*'"):
        chosen_cases(CASES, ["fast", "bandgap/*"])


ALIKE = {"gain_db": 1, "ugf_hz": 1, "power_w": 1}


def made(*profiles: Profile, draws: int = 300, **others: Any) -> CaseFile:
    family = Family("opamp", ("opamp/two_stage_miller",), profiles)
    return make_cases(
        family, NETLISTS, testbenches["opamp"], technologies["generic180"], ClosedFormAmplifier(), NoTables(),
        draws=draws, **others,
    )  # fmt: skip


def profile(name: str = "textbook", **others: Any) -> Profile:
    told: dict[str, Any] = {"fixed": ("phase_margin_deg>45",), "wanted": ALIKE, "rarity": 50}
    return Profile(name, "what the test says", **{**told, **others})


@pytest.mark.parametrize("corners", ["nominal", "pvt"])
def test_what_is_asked_is_met_by_its_solution_and_by_as_many_draws_as_were_wanted(corners: str):
    amplifier = ClosedFormAmplifier()
    (case,) = made(profile(corners=corners)).cases
    for bench in problem_of(case).benches:
        assert unmet_bounds(case.specification.bounds, amplifier.metrics(bench.corner, case.solution)) == ()
    assert 6 <= case.meeting <= 20  # of 300; at least one of 50
    assert {bound.metric for bound in case.specification.bounds} == {"phase_margin_deg", *ALIKE}


def test_the_rarer_a_specification_is_wanted_the_fewer_draws_meet_it_and_what_is_improved_none():
    common, rare, improved = made(
        profile("common", rarity=15), profile("rare", rarity=300), profile("improved", rarity=None)
    ).cases  # fmt: skip
    assert common.meeting > rare.meeting >= 1
    assert improved.meeting == 0
    assert [case.is_improved for case in (common, rare, improved)] == [False, False, True]


def test_a_metric_with_more_weight_is_asked_more_of():
    fast, frugal = made(
        profile("fast", wanted={**ALIKE, "ugf_hz": 5}), profile("frugal", wanted={**ALIKE, "power_w": 5})
    ).cases  # fmt: skip
    asked = [{bound.metric: bound for bound in case.specification.bounds} for case in (fast, frugal)]
    assert (asked[0]["ugf_hz"].low or 0) > (asked[1]["ugf_hz"].low or 0)
    assert (asked[0]["power_w"].high or 0) > (asked[1]["power_w"].high or 0)


def test_no_two_specifications_of_a_circuit_come_from_the_same_draw():
    twins = made(profile("one"), profile("other"), profile("third", rarity=None)).cases
    assert len({tuple(case.solution.values()) for case in twins}) == 3
    assert len({case.bounds for case in twins}) == 3


def test_the_same_seed_makes_the_same_cases():
    first, again, other = (made(profile(), seed=seed).cases[0] for seed in (1, 1, 2))
    assert first.as_json() == again.as_json()
    assert first.as_json() != other.as_json()


def test_fixed_bounds_that_hardly_a_draw_meets_are_refused():
    with pytest.raises(InvalidRequest, match="0 of 40 sizings of opamp/two_stage_miller meet gain_db>150; draw more"):
        made(profile(fixed=("gain_db>150",)), draws=40)


def test_the_command_names_a_folder_that_is_not_there_and_an_unknown_testbench(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["bench", "specifications", str(tmp_path / "nowhere"), "--json"]) == 2
    assert "nowhere is no folder" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert main(["bench", "specifications", str(tmp_path), "--testbench", "mixer", "--json"]) == 2
    assert "no testbench with specifications named 'mixer'" in json.loads(capsys.readouterr().out)["error"]["message"]


@pytest.mark.simulator
def test_the_command_writes_a_file_for_a_testbench(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path / "data"))
    words = ["bench", "specifications", str(tmp_path), "--testbench", "comparator", "--draws", "12", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(tmp_path), "specifications": 3}
    (file,) = read_cases(tmp_path)
    assert [case.draws for case in file.cases] == [12, 12, 12]
