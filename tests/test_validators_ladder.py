"""The ladder of checks: its order, where it stops, and what its last rungs find."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

import pytest

from app.analog.spice import parse_spice
from app.errors import SimulatorFailure, UnknownName
from app.findings import Finding
from app.simulators.operating_point import OperatingPointSimulator
from app.simulators.processes import ProcessLimits, WorkerPool
from app.technologies._base import technologies
from app.testbenches._simulator import BenchSimulator
from app.validators._base import BIAS_POINTS, Subject, ValidationTools, Verdict, validators
from app.validators.ladder import RUNGS, Ladder, Rung
from tests.answering_pool import tools_with

CASCODE = "M1 N1 VIN1 VSS VSS nmos\nM2 VOUT1 VB1 N1 VSS nmos\nR1 VDD VOUT1 10k"


def subject(cards: str, function_of: str | None = None) -> Subject:
    text = f"* test\n{cards}\n.end\n"
    return Subject(text, netlist=parse_spice(text).netlist, function_of=function_of)


@pytest.fixture(scope="module")
def ladder(ngspice: WorkerPool) -> Ladder:
    simulator = OperatingPointSimulator(ngspice, technologies["generic180"])
    return Ladder(ValidationTools(simulator, benches=BenchSimulator(ngspice)))


def test_every_rung_has_an_analog_check_and_its_name_is_the_types() -> None:
    assert get_args(Rung) == RUNGS
    assert {validator.rung for validator in validators.values() if validator.kind == "analog"} == set(RUNGS)


class Recorder:
    """A check that writes down that it was asked."""

    summary = "writes down that it was asked"
    accepts = rejects = ""
    kind: Literal["analog", "quantum"] = "analog"

    def __init__(self, rung: Rung, asked: list[Rung], finding: Finding | None) -> None:
        self.rung: Rung = rung
        self._asked = asked
        self._finding = finding

    def check(self, circuit: Subject, tools: ValidationTools) -> Verdict:
        self._asked.append(self.rung)
        return Verdict(() if self._finding is None else (self._finding,), {"points": tools.bias_points})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Rung]:
    """What was asked of a ladder whose names are in the opposite order of their rungs; conduction finds an error."""
    asked: list[Rung] = []
    severity_of: dict[Rung, Literal["warning", "error"]] = {"operating_point": "warning", "conduction": "error"}
    entries: dict[str, Recorder] = {}
    for name, rung in zip("dcba", RUNGS, strict=True):
        found = Finding(f"{rung}_finding", severity_of[rung], "a sentence") if rung in severity_of else None
        entries[name] = Recorder(rung, asked, found)
    monkeypatch.setattr("app.validators.ladder.validators", entries)
    return asked


@pytest.mark.parametrize("rung", RUNGS)
def test_checks_are_asked_from_the_cheapest_up_to_the_rung_and_not_beyond_an_error(
    rung: Rung, asked: list[Rung]
) -> None:
    verdict = Ladder(ValidationTools()).climb(subject(CASCODE), rung)
    number = RUNGS.index(rung)
    assert tuple(asked) == RUNGS[: min(number + 1, 3)]
    assert verdict.is_valid == (number < 2)
    assert list(verdict.facts) == list("dcba")[: len(asked)]


def test_the_operating_points_of_the_bias_search_are_the_callers_choice(asked: list[Rung]) -> None:
    facts = Ladder(ValidationTools()).climb(subject(CASCODE), "structure").facts
    assert facts == {"d": {"points": BIAS_POINTS}}
    facts = Ladder(ValidationTools(), bias_points=7).climb(subject(CASCODE), "structure").facts
    assert facts == {"d": {"points": 7}}
    assert asked == ["structure", "structure"]


def test_circuits_of_the_other_kind_are_left_alone(asked: list[Rung]) -> None:
    assert Ladder(ValidationTools()).climb(Subject("OPENQASM 2.0;"), "function") == Verdict()
    assert asked == []


def test_a_rung_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="no rung named 'functon'; did you mean 'function'"):
        Ladder(ValidationTools()).climb(subject(CASCODE), "functon")  # type: ignore[arg-type]  # what a caller may send


@pytest.mark.simulator
def test_the_facts_of_a_climb_are_by_check(ladder: Ladder) -> None:
    verdict = ladder.climb(subject(CASCODE, "amplifier"), "function")
    assert list(verdict.facts) == ["electrical_rules", "operating_point", "conduction", "function"]
    assert verdict.is_valid
    assert json.loads(json.dumps(verdict.facts)) == verdict.facts
    conduction: Any = verdict.facts["conduction"]
    assert conduction["conducting_share"] == conduction["saturated_share"] == 1.0
    assert 1 <= conduction["points_tried"] <= BIAS_POINTS
    assert conduction["bias"]["voltages_v"].keys() == {"VDD", "VIN1", "VB1"}


@pytest.mark.simulator
def test_nothing_is_simulated_of_a_circuit_that_breaks_a_rule() -> None:
    class NoSimulator(OperatingPointSimulator):
        def run(self, *arguments: Any, **options: Any) -> Any:
            raise AssertionError("a circuit with an error was simulated")

    with WorkerPool("accident_worker", size=1, timeout_s=1, recycle_after=1, limits=ProcessLimits()) as pool:
        tools = ValidationTools(NoSimulator(pool, technologies["generic180"]))
        verdict = Ladder(tools).climb(subject("M1 VOUT1 G VSS VSS nmos\nR1 VDD VOUT1 10k"), "function")
    assert [finding.code for finding in verdict.findings] == ["floating_net"]


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("rung", "cards", "code"),
    [
        (
            "structure",
            "M1 VOUT1 VIN1 VSS VSS nmos\nM2 VOUT1 N1 VDD VDD pmos\nM3 VOUT1 N1 VDD VDD pmos",
            "undriven_gate",
        ),
        ("operating_point", "M1 VOUT1 N1 VSS VSS nmos\nR1 VDD VOUT1\nC1 VIN1 N1 1p", "no_dc_path"),
        ("conduction", "M1 N1 VSS VSS VSS nmos\nM2 VOUT1 VIN1 N1 VSS nmos\nR1 VDD VOUT1 10k", "nothing_conducts"),
        ("function", CASCODE.replace("R1 VDD VOUT1", "R1 VDD N1") + "\nR2 VDD VOUT1\nC1 VOUT1 VSS", None),
    ],
)
def test_a_circuit_falls_at_its_own_rung_and_stands_on_those_below(
    ladder: Ladder, rung: Rung, cards: str, code: str | None
) -> None:
    number = RUNGS.index(rung)
    if number:
        assert ladder.climb(subject(cards), RUNGS[number - 1]).is_valid
    verdict = ladder.climb(subject(cards, "current_mirror"), rung)
    errors = [finding.code for finding in verdict.findings if finding.severity == "error"]
    assert errors == ([code] if code else ["function_not_drivable"])


@pytest.mark.simulator
@pytest.mark.parametrize("name", [name for name, validator in validators.items() if validator.kind == "analog"])
def test_the_example_of_a_check_falls_at_it_and_stands_on_the_rungs_below(name: str, ladder: Ladder) -> None:
    validator = validators[name]
    example_type = getattr(validator, "example_type", None)
    number = RUNGS.index(validator.rung)
    for text, is_accepted in ((validator.accepts, True), (validator.rejects, False)):
        example = Subject(text, netlist=parse_spice(text).netlist, function_of=example_type)
        if number:
            assert ladder.climb(example, RUNGS[number - 1]).is_valid
        assert ladder.climb(example, validator.rung).is_valid == is_accepted


@pytest.mark.simulator
def test_a_circuit_of_passive_devices_conducts_no_less_for_having_no_transistor(ladder: Ladder) -> None:
    verdict = ladder.climb(subject("R1 VIN1 VOUT1 1k\nC1 VOUT1 VSS 1p"), "conduction")
    assert verdict.findings == ()
    conduction: Any = verdict.facts["conduction"]
    assert conduction["conducting_share"] is conduction["saturated_share"] is None


def conduction_of(tools: ValidationTools, cards: str) -> Verdict:
    return validators["conduction"].check(subject(cards), tools)


def tools_that_answer(**answer: Any) -> ValidationTools:
    """Tools whose simulator has one answer to a search."""
    counts = {"points_tried": 64, "points_converged": 64, "values": [0.9, 0.9]}
    return tools_with({"status": "ok", "plan": None, "best": None, "messages": [], **counts, **answer})


def figures(conducting: float, saturated: float, largest_a: float = 1e-5) -> dict[str, float]:
    shares = {"conducting": conducting, "saturated": saturated, "score": 0.5, "goal": 0.5}
    return {**shares, "supply_a": 1e-5, "largest_a": largest_a}


@pytest.mark.parametrize(
    ("answer", "code", "severity", "sentence"),
    [
        (
            {"status": "not_converged", "messages": ["iteration limit reached"]},
            "bias_not_found",
            "error",
            "none of 64 bias points that were tried has an operating point: ngspice found no operating point: "
            "iteration limit reached",
        ),
        (
            {"best": figures(0.0, 0.0)},
            "nothing_conducts",
            "error",
            "no transistor conducts at any of 64 bias points that were tried",
        ),
        (
            {"best": figures(0.25, 0.25)},
            "few_conduct",
            "warning",
            "25% of the transistors conduct at the best of 64 bias points",
        ),
        (
            {"best": figures(1.0, 0.1)},
            "few_saturated",
            "note",
            "10% of the MOS are saturated at the best of 64 bias points",
        ),
        (
            {"best": figures(1.0, 1.0, 12e-3), "points_tried": 1},
            "overdriven",
            "note",
            "a transistor carries 12 mA at the best point, more than 100 times the bias current of 10 uA",
        ),
    ],
)
def test_what_the_search_finds_is_said_with_what_to_do(
    answer: dict[str, Any], code: str, severity: str, sentence: str
) -> None:
    (finding,) = conduction_of(tools_that_answer(**answer), CASCODE).findings
    assert (finding.code, finding.severity, finding.message) == (code, severity, sentence)
    assert finding.hint


def test_a_net_without_a_path_for_direct_current_is_an_error_before_any_search() -> None:
    verdict = conduction_of(tools_that_answer(), "M1 VOUT1 N1 VSS VSS nmos\nR1 VDD VOUT1\nC1 VIN1 N1 1p")
    (finding,) = verdict.findings
    assert finding.message == "no direct current can reach net N1, so its voltage is undefined"
    assert (finding.where, verdict.facts["points_tried"]) == ("net N1", 0)


def test_without_a_simulator_conduction_is_not_checked_and_the_note_says_so() -> None:
    (finding,) = conduction_of(ValidationTools(), CASCODE).findings
    assert (finding.severity, finding.message) == (
        "note",
        "conduction was not checked: there is no simulator here",
    )


@pytest.mark.parametrize(
    ("status", "sentence"),
    [("bad_deck", "ngspice did not accept the deck"), ("simulator_gave_up", "ngspice gave up")],
)
def test_a_search_that_the_simulator_could_not_do_is_a_failure_and_no_verdict(status: str, sentence: str) -> None:
    with pytest.raises(SimulatorFailure, match=f"{sentence}; this says nothing about the circuit"):
        conduction_of(tools_that_answer(status=status), CASCODE)


def test_a_crashed_worker_is_a_failure_of_the_search_and_no_verdict() -> None:
    with WorkerPool("accident_worker", size=1, timeout_s=5, recycle_after=9, limits=ProcessLimits()) as pool:
        tools = ValidationTools(OperatingPointSimulator(pool, technologies["generic180"]))
        with pytest.raises(SimulatorFailure):
            conduction_of(tools, CASCODE)
