"""Laws of every validator, and what the analog ones find."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.analog.spice import parse_spice
from app.errors import SimulatorFailure, UnknownName
from app.findings import has_errors
from app.quantum.qasm import parse_qasm2
from app.simulators.operating_point import OperatingPointSimulator
from app.simulators.processes import ProcessLimits, WorkerPool
from app.technologies._base import technologies
from app.testbenches._simulator import BenchSimulator
from app.validators._base import Subject, ValidationTools, Validator, Verdict, validators
from app.validators._tools import SIMULATION_CPU_S, analog_tools
from tests.answering_pool import tools_with

pytestmark = pytest.mark.simulator


@pytest.fixture(scope="module")
def tools(ngspice: WorkerPool) -> Iterator[ValidationTools]:
    with WorkerPool(
        "app.validators.qiskit_worker", size=1, timeout_s=60, recycle_after=1000, limits=ProcessLimits()
    ) as qiskit:
        simulator = OperatingPointSimulator(ngspice, technologies["generic180"])
        yield ValidationTools(simulator, qiskit, BenchSimulator(ngspice))


def subject_of(validator: Validator, text: str) -> Subject:
    example_type = getattr(validator, "example_type", None)
    if validator.kind == "analog":
        return Subject(text, netlist=parse_spice(text).netlist, function_of=example_type)
    return Subject(text, program=parse_qasm2(text), function_of=example_type)


def analog_verdict(name: str, cards: str, tools: ValidationTools) -> Verdict:
    text = f"* test\n{cards}\n.end\n"
    return validators[name].check(Subject(text, netlist=parse_spice(text).netlist), tools)


def codes(verdict: Verdict) -> dict[str, str]:
    return {finding.code: finding.severity for finding in verdict.findings}


@pytest.mark.parametrize("name", sorted(validators))
def test_a_validator_accepts_the_circuit_it_accepts(name: str, tools: ValidationTools) -> None:
    validator = validators[name]
    verdict = validator.check(subject_of(validator, validator.accepts), tools)
    assert verdict.is_valid
    assert not has_errors(verdict.findings)


@pytest.mark.parametrize("name", sorted(validators))
def test_a_validator_rejects_the_circuit_it_rejects_and_says_what_to_do(name: str, tools: ValidationTools) -> None:
    validator = validators[name]
    verdict = validator.check(subject_of(validator, validator.rejects), tools)
    assert not verdict.is_valid
    for finding in verdict.findings:
        assert finding.code == finding.code.lower()
        assert " " not in finding.code
        assert " " in finding.message


@pytest.mark.parametrize("name", sorted(validators))
def test_a_verdict_is_json_and_the_same_every_time(name: str, tools: ValidationTools) -> None:
    validator = validators[name]
    for text in (validator.accepts, validator.rejects):
        first, second = (validator.check(subject_of(validator, text), tools) for _ in range(2))
        assert first == second
        assert json.loads(json.dumps(dict(first.facts))) == dict(first.facts)


@pytest.mark.parametrize("name", sorted(validators))
def test_a_validator_says_what_it_checks(name: str) -> None:
    validator = validators[name]
    assert validator.kind in ("analog", "quantum")
    assert len(validator.summary) > 20


def test_an_operating_point_has_figures(tools: ValidationTools) -> None:
    verdict = analog_verdict("operating_point", "M1 VOUT1 VIN1 VSS VSS nmos\nM2 VOUT1 VOUT1 VDD VDD pmos", tools)
    assert verdict.findings == ()
    facts = verdict.facts
    assert (facts["technology"], facts["converged"], facts["relaxed"]) == ("generic180", True, False)
    assert (facts["conducting_share"], facts["saturated_share"]) == (1.0, 1.0)
    assert isinstance(facts["supply_current_a"], float)
    assert 1e-6 < facts["supply_current_a"] < 1e-3
    assert isinstance(facts["node_voltages_v"], dict)
    assert set(facts["node_voltages_v"]) == {"VOUT1", "VIN1", "VSS", "VDD"}


def test_without_a_simulator_the_verdict_says_so(tools: ValidationTools) -> None:
    verdict = analog_verdict("operating_point", "R1 VDD VOUT1 1k", ValidationTools())
    assert verdict.is_valid
    assert codes(verdict) == {"op_not_run": "note"}


def test_a_shorted_supply_is_an_overcurrent(tools: ValidationTools) -> None:
    verdict = analog_verdict("operating_point", "R1 VDD VOUT1 1\nR2 VOUT1 VSS 1", tools)
    assert codes(verdict) == {"supply_overcurrent": "warning"}
    assert verdict.findings[0].message == "the supply delivers 900 mA, more than 20 mA"


def test_a_circuit_in_which_nothing_conducts_is_told_apart(tools: ValidationTools) -> None:
    verdict = analog_verdict("operating_point", "M1 VOUT1 VSS VSS VSS nmos\nR1 VDD VOUT1 10k", tools)
    assert codes(verdict) == {"no_conducting_device": "warning"}


def test_a_current_without_a_way_drives_its_net_out_of_the_supply(tools: ValidationTools) -> None:
    verdict = analog_verdict(
        "operating_point", "M1 IB1 VSS VSS VSS nmos\nM2 VOUT1 VIN1 VSS VSS nmos\nR1 VDD VOUT1 10k", tools
    )
    assert codes(verdict) == {"op_beyond_supply": "warning"}
    assert verdict.findings[0].where == "net IB1"


def test_a_net_that_direct_current_cannot_reach_is_an_error_at_that_net(tools: ValidationTools) -> None:
    verdict = analog_verdict("operating_point", "M1 VOUT1 N1 VSS VSS nmos\nR1 VDD VOUT1\nC1 VIN1 N1 1p", tools)
    assert codes(verdict) == {"no_dc_path": "error"}
    assert verdict.findings[0].where == "net N1"


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        ("L=10n", "M1 is 10 nm long, generic180 makes nothing below 180 nm"),
        ("W=100n L=180n", "M1 is 100 nm wide, generic180 makes nothing below 220 nm"),
    ],
)
def test_a_transistor_smaller_than_the_technology_makes_is_an_error(
    size: str, sentence: str, tools: ValidationTools
) -> None:
    verdict = analog_verdict("operating_point", f"M1 VOUT1 VIN1 VSS VSS nmos {size}\nR1 VDD VOUT1 10k", tools)
    assert codes(verdict) == {"size_below_minimum": "error"}
    assert verdict.findings[0].message == sentence


@pytest.mark.parametrize(
    "cards",
    [
        "M1 VOUT1 VIN1 VSS VSS nmos W=1m L=180n M=1000\nR1 VDD VOUT1 1f",
        "M1 VOUT1 VIN1 VSS VSS nmos W=220n L=9m\nR1 VDD VOUT1 1000T",
        "C1 VDD VOUT1 1T\nL1 VOUT1 VSS 1T\nR1 VDD VOUT1 10k",
        "Q1 VOUT1 VIN1 VSS npn AREA=1e9\nR1 VDD VOUT1 10k",
        "D1 VOUT1 VSS diode AREA=2\nR1 VDD VOUT1 10k",
    ],
)
def test_extreme_sizes_get_a_verdict(cards: str, tools: ValidationTools) -> None:
    assert "converged" in analog_verdict("operating_point", cards, tools).facts


def tools_that_answer(**answer: Any) -> ValidationTools:
    """Tools whose simulator has one answer to a run."""
    return tools_with({"relaxed": False, "vectors": {}, "parameters": {}, "messages": [], **answer})


def test_a_circuit_without_an_operating_point_is_an_error() -> None:
    tools = tools_that_answer(status="not_converged", messages=["iteration limit reached"])
    verdict = analog_verdict("operating_point", "R1 VDD VOUT1 1k", tools)
    assert codes(verdict) == {"op_not_converged": "error"}
    assert verdict.facts["converged"] is False
    assert verdict.facts["supply_current_a"] is None


def test_relaxed_tolerances_are_a_note() -> None:
    tools = tools_that_answer(status="ok", relaxed=True, vectors={"v_vdd#branch": [-1e-3], "vdd": [1.8]})
    assert codes(analog_verdict("operating_point", "R1 VDD VOUT1 1k", tools)) == {"op_relaxed": "note"}


@pytest.mark.parametrize("status", ["bad_deck", "simulator_gave_up"])
def test_what_the_simulator_could_not_do_is_a_failure_and_no_verdict(status: str) -> None:
    with pytest.raises(SimulatorFailure, match="this says nothing about the circuit"):
        analog_verdict("operating_point", "R1 VDD VOUT1 1k", tools_that_answer(status=status))


def test_a_crashed_worker_is_a_failure_and_no_verdict() -> None:
    with WorkerPool("accident_worker", size=1, timeout_s=5, recycle_after=9, limits=ProcessLimits()) as pool:
        tools = ValidationTools(OperatingPointSimulator(pool, technologies["generic180"]))
        with pytest.raises(SimulatorFailure):
            analog_verdict("operating_point", "R1 VDD VOUT1 1k", tools)


def test_the_electrical_rules_count_devices_and_nets() -> None:
    verdict = analog_verdict("electrical_rules", "M1 VOUT1 VIN1 VSS VSS nmos\nR1 VDD VOUT1 10k", ValidationTools())
    assert verdict.facts == {"device_count": 2, "net_count": 4}
    assert verdict.is_valid


def test_validators_may_be_asked_from_many_threads(tools: ValidationTools) -> None:

    cards = "M1 VOUT1 VIN1 VSS VSS nmos\nM2 VOUT1 VOUT1 VDD VDD pmos"
    with ThreadPoolExecutor(8) as threads:
        verdicts = list(threads.map(lambda _: analog_verdict("operating_point", cards, tools), range(64)))
    assert all(verdict == verdicts[0] for verdict in verdicts)


def test_tools_of_their_own_stop_a_simulation_by_processor_time_before_their_callers_clock_does(tmp_path: Path) -> None:
    with analog_tools(1, tmp_path, wall_s=70.0) as own:
        assert own.benches is not None
        pool = own.benches.pool
        assert isinstance(pool, WorkerPool)
        assert (pool.size, pool.timeout_s, pool.limits.cpu_s) == (1, 70.0, SIMULATION_CPU_S)
        assert analog_verdict("operating_point", "R1 VDD VOUT1 1k", own).is_valid
    assert pool.is_closed


def function_verdict(circuit_type: str, cards: str, tools: ValidationTools) -> Verdict:
    text = f"* test\n{cards}\n.end\n"
    subject = Subject(text, netlist=parse_spice(text).netlist, function_of=circuit_type)
    return validators["function"].check(subject, tools)


OTA = """\
M1 MIR VIN1 TAIL VSS nmos
M2 VOUT1 VIN2 TAIL VSS nmos
M3 MIR MIR VDD VDD pmos
M4 VOUT1 MIR VDD VDD pmos
M5 TAIL VB1 VSS VSS nmos"""


def test_an_amplifier_works_as_an_operational_amplifier_at_its_start(tools: ValidationTools) -> None:
    verdict = function_verdict("opamp", OTA, tools)
    assert verdict.is_valid
    assert verdict.facts["works"]
    assert verdict.facts["testbench"] == "opamp"
    assert verdict.facts["sizings_tried"] == 1


def test_an_amplifier_whose_mirror_is_cut_does_not_work_and_the_finding_says_by_how_much(
    tools: ValidationTools,
) -> None:
    verdict = function_verdict("opamp", OTA.replace("M4 VOUT1 MIR", "M4 VOUT1 VDD"), tools)
    (finding,) = verdict.findings
    assert finding.code == "function_not_found"
    assert "no sizing of 32 tried on testbench opamp works as opamp; the best has" in finding.message
    assert "(at least" in finding.message


def test_a_circuit_that_no_testbench_of_its_type_can_drive_is_refused_with_the_missing_port(
    tools: ValidationTools,
) -> None:
    verdict = function_verdict("opamp", OTA.replace("VOUT1", "N9"), tools)
    (finding,) = verdict.findings
    assert finding.code == "function_not_drivable"
    assert "it has no output" in finding.message


def test_the_function_is_not_tried_where_nobody_asks_or_nothing_can(tools: ValidationTools) -> None:
    validator = validators["function"]
    netlist = parse_spice(f"* test\n{OTA}\n.end\n").netlist
    assert validator.check(Subject("", netlist=netlist), tools) == Verdict()
    (finding,) = validator.check(Subject("", netlist=netlist, function_of="opamp"), ValidationTools()).findings
    assert finding.message == (
        "the function was not tried: there is no simulator here; run 'josephson doctor' to see what is missing"
    )
    (finding,) = validator.check(Subject("", netlist=netlist, function_of="adc_dac"), tools).findings
    assert finding.message == "the function was not tried: there is no testbench for circuits of type adc_dac"
    with pytest.raises(UnknownName, match="no circuit type named 'opampp'; did you mean 'opamp'"):
        validator.check(Subject("", netlist=netlist, function_of="opampp"), tools)
