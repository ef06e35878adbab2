"""Generators: requests into prompts, sentences into circuits with their fields of a row."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from app.analog.canonical import are_isomorphic, canonical_hash, wl_labels
from app.analog.corpus import read_archetypes
from app.analog.spice import parse_spice
from app.errors import InvalidRequest, NotASentence, QasmSyntaxError, UnknownName
from app.generators import Candidate, Generator, generators
from app.measures.novelty import TrainingIndex
from app.quantum.program import Operation, QuantumProgram
from app.quantum.qasm import parse_qasm2, read_qasm, write_qasm2
from app.requests import JOB_REQUESTS, AnalogGenerateRequest, GenerateRequest, QuantumGenerateRequest
from app.tokens._base import BEGIN, Language, languages
from app.tokens.device_lines import DeviceLines, TopologyConstraint
from app.tokens.qasm_domain import ProgramConstraint, QasmDomain
from tests.tiny_models import CPU

LINES, DOMAIN = languages["device_lines"], languages["qasm_domain"]
ANALOG = generators["analog_topology"]
QUANTUM = generators["quantum_program"]

OTA = next(circuit for circuit in read_archetypes() if circuit.id == "opamp/five_transistor_ota")
GHZ = QuantumProgram(3, 0, (Operation("h", (0,)), Operation("cx", (0, 1)), Operation("cx", (1, 2))))
BEGUN = write_qasm2(GHZ)


def test_every_kind_of_generation_has_one_generator():
    kinds = [kind for kind, request in JOB_REQUESTS.items() if issubclass(request, GenerateRequest)]
    assert sorted(entry.kind for entry in generators.values()) == sorted(kinds)


def test_a_topology_is_planned_from_what_is_asked_for():
    request = AnalogGenerateRequest(type="opamp", max_devices=9, kinds=("nmos", "pmos"), ports=("VIN1", "VOUT1"))
    plan = ANALOG.plan(request, LINES)
    constraint = TopologyConstraint("opamp", 1, 9, ("nmos", "pmos"), ("VIN1", "VOUT1"))
    assert plan.prompt.constraint == constraint
    assert plan.prompt.is_constrained
    assert list(plan.prompt.tokens) == DeviceLines().prompt(constraint)
    assert plan.max_tokens >= DeviceLines().grammar(CPU).longest(constraint)


def test_a_program_is_planned_from_what_is_asked_for():
    request = QuantumGenerateRequest(
        family="ghz", qubits=4, max_gates=20, gate_set=("h", "cx"), coupling_map=((0, 1), (1, 2), (2, 3))
    )
    plan = QUANTUM.plan(request, DOMAIN)
    constraint = ProgramConstraint("ghz", 4, 20, gate_set=("h", "cx"), coupling=((0, 1), (1, 2), (2, 3)))
    assert plan.prompt.constraint == constraint
    assert list(plan.prompt.tokens) == QasmDomain().prompt(constraint)
    assert plan.max_tokens >= QasmDomain().grammar(CPU).longest(constraint)


WITH_LANGUAGE = pytest.mark.parametrize(
    ("entry", "language"),
    [(ANALOG, LINES), (ANALOG, languages["eulerian"]), (QUANTUM, DOMAIN)],
    ids=["device_lines", "eulerian", "qasm_domain"],
)


@WITH_LANGUAGE
def test_nothing_asked_for_begins_with_begin(entry: Generator[Any], language: Language[Any, Any, Any]):
    plan = entry.plan(JOB_REQUESTS[entry.kind](), language)
    assert plan.prompt.tokens == (BEGIN,)
    assert plan.prompt.constraint == entry.plan(JOB_REQUESTS[entry.kind](), language).prompt.constraint
    other = entry.plan(JOB_REQUESTS[entry.kind](seed=4), language)
    assert hash(plan.prompt) == hash(other.prompt), "jobs share a prompt"


def test_without_the_grammar_only_the_prompt_binds():
    plan = ANALOG.plan(AnalogGenerateRequest(type="ldo", grammar=False), LINES)
    assert not plan.prompt.is_constrained
    assert len(plan.prompt.tokens) == 2


def test_bounds_depths_and_a_program_to_continue_are_planned_too():
    request = QuantumGenerateRequest(
        min_gates=7, max_gates=9, max_depth=6, coupling_map="ring", prefix=BEGUN, dynamic=True, format="qasm3"
    )
    constraint = ProgramConstraint(
        max_statements=9, min_statements=7, depth=(0, 6), coupling=((0, 1), (1, 2), (0, 2)),
        prefix=QasmDomain().prefix(GHZ), dynamic=True,
    )  # fmt: skip
    assert QUANTUM.plan(request, DOMAIN).prompt.constraint == constraint
    only_least = QUANTUM.plan(QuantumGenerateRequest(min_depth=3), DOMAIN).prompt.constraint
    assert only_least == ProgramConstraint(max_statements=256, depth=(3, 1024))


def test_a_long_prefix_may_double():
    text = "OPENQASM 2.0; qreg q[1];" + "U(0,0,0) q[0];" * 200
    constraint = QUANTUM.plan(QuantumGenerateRequest(prefix=text), DOMAIN).prompt.constraint
    assert isinstance(constraint, ProgramConstraint)
    assert constraint.max_statements == 400


@pytest.mark.parametrize(("name", "pairs"), [("line", ((0, 1), (1, 2))), ("full", None)])
def test_a_coupling_map_can_have_a_name(name: str, pairs: tuple[tuple[int, int], ...] | None):
    plan = QUANTUM.plan(QuantumGenerateRequest.model_validate({"qubits": 3, "coupling_map": name}), DOMAIN)
    assert plan.prompt.constraint == ProgramConstraint(qubits=3, max_statements=256, coupling=pairs)


def test_a_wide_program_may_have_two_statements_a_qubit_at_least():
    constraint = QUANTUM.plan(QuantumGenerateRequest(qubits=128), DOMAIN).prompt.constraint
    assert constraint == ProgramConstraint(qubits=128, max_statements=256)


@pytest.mark.parametrize(
    ("request_", "error", "sentence", "pointer"),
    [
        (AnalogGenerateRequest(type="opmap"), UnknownName, "no circuit type named 'opmap'; did you mean", "/type"),
        (AnalogGenerateRequest(kinds=("nmos", "tube")), InvalidRequest, "unknown device kind 'tube'", "/kinds/1"),
        (AnalogGenerateRequest(kinds=()), InvalidRequest, "no device kind is allowed", "/kinds"),
        (AnalogGenerateRequest(ports=("IN",)), InvalidRequest, "'IN' is not a port name", "/ports/0"),
        (QuantumGenerateRequest(family="gzh"), UnknownName, "no family named 'gzh'; did you mean 'ghz'?", "/family"),
        (QuantumGenerateRequest(qubits=9, max_gates=3), InvalidRequest, "9 qubits in at most 3", "/max_gates"),
        (QuantumGenerateRequest(gate_set=("cnot",)), UnknownName, "no gate named 'cnot'", "/gate_set/0"),
        (QuantumGenerateRequest(coupling_map="line"), InvalidRequest, "a coupling map needs a number", "/qubits"),
        (QuantumGenerateRequest(coupling_map=((0, 1),)), InvalidRequest, "a coupling map needs a number", "/qubits"),
        (
            QuantumGenerateRequest(dynamic=True),
            InvalidRequest,
            "a program whose gates depend on measured bits is written in OpenQASM 3; set format to qasm3",
            "/format",
        ),
        (
            QuantumGenerateRequest(prefix=BEGUN, grammar=False),
            InvalidRequest,
            "the grammar alone keeps a prefix; leave one of the two out, or set grammar to true",
            "/grammar",
        ),
        (QuantumGenerateRequest(prefix="OPENQASM 2.0;"), InvalidRequest, "the prefix declares no qubit", "/prefix"),
        (
            QuantumGenerateRequest(prefix="OPENQASM 2.0; qreg q[129];"),
            InvalidRequest,
            "the prefix cannot be continued: 129 qubits and 0 classical bits",
            "/prefix",
        ),
        (QuantumGenerateRequest(prefix="OPENQASM 2.0; cx q[0];"), QasmSyntaxError, "line 1, column 15", "/prefix"),
        (QuantumGenerateRequest(prefix=BEGUN, qubits=4), InvalidRequest, "4 qubits are asked for", "/qubits"),
        (QuantumGenerateRequest(prefix=BEGUN, gate_set=("h",)), InvalidRequest, "the prefix uses", "/gate_set"),
        (
            QuantumGenerateRequest(family="ghz", gate_set=("x", "cx")),
            InvalidRequest,
            "programs of the family ghz bring qubits into superposition",
            "/gate_set",
        ),
        (
            QuantumGenerateRequest(family="ghz", qubits=4, coupling_map=((0, 1), (2, 3))),
            InvalidRequest,
            "programs of the family ghz join all their qubits",
            "/coupling_map",
        ),
        (
            QuantumGenerateRequest(qubits=2, coupling_map=((0, 2),)),
            InvalidRequest,
            "[0, 2] is not a pair of distinct qubits below 2",
            "/coupling_map/0",
        ),
    ],
)
def test_a_request_that_nothing_can_satisfy_names_its_field(
    request_: GenerateRequest, error: type[InvalidRequest | UnknownName], sentence: str, pointer: str
):
    generator = ANALOG if isinstance(request_, AnalogGenerateRequest) else QUANTUM
    with pytest.raises(error) as caught:
        generator.plan(request_, LINES if generator is ANALOG else DOMAIN)
    assert str(caught.value).startswith(sentence)
    assert caught.value.pointer == pointer


def analog_candidate(request: AnalogGenerateRequest, seen: TrainingIndex | None = None) -> Candidate:
    return ANALOG.candidate(DeviceLines().encode(OTA.netlist, OTA.type, random.Random(0)), request, LINES, seen)


def test_a_topology_becomes_a_sized_netlist_and_its_fields():
    candidate = analog_candidate(AnalogGenerateRequest())
    fields = candidate.fields
    assert set(fields) == {"type", "netlist", "device_count", "net_count", "ports"}
    parsed = parse_spice(fields["netlist"]).netlist
    assert are_isomorphic(parsed, OTA.netlist)
    assert all(device.sizes for device in parsed.devices)
    assert fields["type"] == OTA.type
    assert fields["device_count"] == len(OTA.netlist.devices)
    assert fields["net_count"] == len(OTA.netlist.nets)
    assert sorted(fields["ports"]) == sorted(OTA.netlist.ports)
    assert candidate.subject.text == fields["netlist"]
    assert candidate.subject.netlist is not None


def test_a_deck_comes_when_it_is_asked_for():
    deck = analog_candidate(AnalogGenerateRequest(include_deck=True)).fields["deck"]
    assert ".op" in deck
    assert deck.rstrip().endswith(".end")


def test_novelty_is_measured_where_the_model_knows_what_it_has_seen():
    seen = TrainingIndex.build([(canonical_hash(OTA.netlist), wl_labels(OTA.netlist))])
    told = analog_candidate(AnalogGenerateRequest(), seen).fields["novelty"]
    assert told == {"is_novel": False, "nearest_similarity": 1.0}
    ids = QasmDomain().encode(GHZ, "ghz", random.Random(0))
    nothing = TrainingIndex.build([("0" * 32, Counter({1: 1}))])
    fields = QUANTUM.candidate(ids, QuantumGenerateRequest(), DOMAIN, nothing).fields
    assert fields["novelty"] == {"is_novel": True, "nearest_similarity": 0.0}


@pytest.mark.parametrize("version", ["qasm2", "qasm3"])
def test_a_program_becomes_text_of_the_format_that_is_asked_for(version: str):
    ids = QasmDomain().encode(GHZ, "ghz", random.Random(0))
    request = QuantumGenerateRequest.model_validate({"format": version})
    candidate = QUANTUM.candidate(ids, request, DOMAIN, None)
    assert candidate.fields["program"].startswith(f"OPENQASM {version[-1]}")
    assert {key: value for key, value in candidate.fields.items() if key != "program"} == {
        "family": "ghz", "format": version, "qubits": 3, "gate_count": 3, "depth": 3,
    }  # fmt: skip
    assert read_qasm(candidate.fields["program"]).program == GHZ
    assert candidate.subject.program == GHZ
    if version == "qasm2":
        assert parse_qasm2(candidate.fields["program"]) == GHZ


def test_what_openqasm_2_cannot_say_is_no_candidate_in_it():
    program = QuantumProgram(1, 2, (Operation("measure", (0,), (), 0), Operation("x", (0,), condition=(0, 1))))
    ids = QasmDomain().encode(program, "random", random.Random(0))
    request = QuantumGenerateRequest(grammar=False)
    with pytest.raises(NotASentence, match="OpenQASM 2"):
        QUANTUM.candidate(ids, request, DOMAIN, None)
    text = QUANTUM.candidate(ids, QuantumGenerateRequest(dynamic=True, format="qasm3"), DOMAIN, None).fields["program"]
    assert read_qasm(text).program == program


@WITH_LANGUAGE
def test_what_is_no_sentence_is_no_candidate(entry: Generator[Any], language: Language[Any, Any, Any]):
    with pytest.raises(NotASentence):
        entry.candidate([BEGIN, 5, 5, 5], JOB_REQUESTS[entry.kind](), language, None)


def test_a_walk_becomes_a_circuit_too():
    walk = languages["eulerian"]
    ids = walk.encode(OTA.netlist, OTA.type, random.Random(0))
    candidate = ANALOG.candidate(ids, AnalogGenerateRequest(), walk, None)
    assert candidate.fields["type"] == OTA.type
    assert are_isomorphic(parse_spice(candidate.fields["netlist"]).netlist, OTA.netlist)
