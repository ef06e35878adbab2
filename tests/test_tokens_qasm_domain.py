"""Quantum programs as domain tokens and back."""

from __future__ import annotations

import gzip
import json
import math
import random
from pathlib import Path

import pytest
from hypothesis import given, settings

from app.errors import InvalidRequest, NotASentence, NotExpressible, UnknownName
from app.quantum.corpus import RESERVED_FAMILIES
from app.quantum.family_names import FAMILIES
from app.quantum.gates import GATES
from app.quantum.program import Operation, QuantumProgram
from app.quantum.qasm import parse_qasm2
from app.tokens.qasm_domain import MAX_CLBITS, MAX_QUBITS, SIZES, VOCABULARY, ProgramConstraint, QasmDomain
from app.training.quantum import compacted
from tests.quantum_programs import EXACT_ANGLES, programs
from tests.random_walks import illegal_positions
from tests.tiny_models import CPU

LANGUAGE = QasmDomain()
GRAMMAR = LANGUAGE.grammar(CPU)
RNG = random.Random(0)


def words(text: str) -> list[int]:
    """``<begin>`` and the ids of token names."""
    return VOCABULARY.ids(["<begin>", *text.split()])


def assert_same(decoded: QuantumProgram, program: QuantumProgram) -> None:
    """Equal but for angles, which agree to 1e-4 modulo the period of their gate."""
    assert (decoded.qubit_count, decoded.clbit_count) == (program.qubit_count, program.clbit_count)
    assert len(decoded.operations) == len(program.operations)
    for op, other in zip(decoded.operations, program.operations, strict=True):
        assert (op.name, op.qubits, op.clbit) == (other.name, other.qubits, other.clbit)
        for angle, exact in zip(op.angles, other.angles, strict=True):
            period = GATES[op.name].angle_period_pi * math.pi
            assert math.remainder(angle - exact, period) == pytest.approx(0.0, abs=1e-4)


def assert_round_trips(labelled: list[tuple[QuantumProgram, str]], *, narrow_every: int = 1) -> None:
    """Every program comes back with its family, and the grammar allows every token, also under its own constraint."""
    sentences = []
    for program, family in labelled:
        ids = LANGUAGE.encode(program, family, RNG)
        decoded, label = LANGUAGE.decode(ids)
        assert label == family
        assert_same(decoded, program)
        sentences.append(ids)
    assert not any(illegal_positions(GRAMMAR, [ProgramConstraint()] * len(sentences), sentences))
    narrow = [what_it_is(program, family) for program, family in labelled[::narrow_every]]
    assert not any(illegal_positions(GRAMMAR, narrow, sentences[::narrow_every]))


def what_it_is(program: QuantumProgram, family: str) -> ProgramConstraint:
    """The narrowest constraint that a program meets. With a gate set or a coupling, some statements have no name."""
    gates = {op.name for op in program.operations if op.name in GATES}
    has_reset = any(op.name == "reset" for op in program.operations)
    pairs = {op.qubits for op in program.operations if op.name in GATES and len(op.qubits) == 2}
    has_triple = any(len(op.qubits) > 2 for op in program.operations)
    is_joined = any(GATES[name].qubit_count == 1 for name in gates)
    return ProgramConstraint(
        family,
        program.qubit_count,
        len(program.operations),
        tuple(sorted(gates)) if gates and not has_reset else None,
        tuple(sorted(pairs)) if is_joined and not has_triple else None,
    )


def corpus_lines(shared_data: Path) -> list[str]:
    with gzip.open(shared_data / "quantum" / "circuits.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [line for line in lines if json.loads(line)["family"] not in RESERVED_FAMILIES]


def expressible(lines: list[str]) -> list[tuple[QuantumProgram, str]]:
    """The programs as training sees them, but those too large for the language or with more qubits than statements."""
    rows = [json.loads(line) for line in lines]
    labelled = [(compacted(parse_qasm2(row["qasm"])), row["family"]) for row in rows]
    return [
        (program, family)
        for program, family in labelled
        if max(program.qubit_count, program.clbit_count) <= MAX_QUBITS
        and program.qubit_count <= len(program.operations) <= SIZES[-1]
    ]


@settings(max_examples=60, deadline=None)
@given(program=programs())
def test_a_program_survives_the_round_trip_and_is_legal(program: QuantumProgram):
    assert_round_trips([(program, "random")])


@settings(max_examples=40, deadline=None)
@given(program=programs(EXACT_ANGLES))
def test_angles_of_the_grid_come_back_exactly(program: QuantumProgram):
    decoded, _ = LANGUAGE.decode(LANGUAGE.encode(program, "qft", RNG))
    for op, other in zip(decoded.operations, program.operations, strict=True):
        for angle, exact in zip(op.angles, other.angles, strict=True):
            period = GATES[op.name].angle_period_pi * math.pi
            assert math.remainder(angle - exact, period) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_token(family: str):
    program = QuantumProgram(1, 0, (Operation("h", (0,)),))
    assert LANGUAGE.decode(LANGUAGE.encode(program, family, RNG)) == (program, family)


def test_a_sample_of_the_corpus_survives_the_round_trip_and_is_legal(shared_data: Path):
    lines = random.Random(0).sample(corpus_lines(shared_data), 450)
    short = sorted(expressible(lines), key=lambda labelled: len(labelled[0].operations))[:300]
    assert len(short) == 300
    assert_round_trips(short)


@pytest.mark.slow
def test_the_whole_corpus_survives_the_round_trip_and_is_legal(shared_data: Path):
    lines = corpus_lines(shared_data)
    labelled = sorted(expressible(lines), key=lambda labelled: len(labelled[0].operations))
    assert len(labelled) > 0.99 * len(lines)
    for first in range(0, len(labelled), 100):
        assert_round_trips(labelled[first : first + 100], narrow_every=8)


def test_a_program_by_hand_reads_as_its_statements():
    program = QuantumProgram(
        2, 1, (Operation("h", (0,)), Operation("cp", (0, 1), (math.pi / 4,)), Operation("measure", (1,), (), 0))
    )
    text = "family:qft width:2 size:4 h q0 cp q0 q1 pi*1/4 measure q1 c0 <end>"
    assert LANGUAGE.encode(program, "qft", RNG) == words(text)


@pytest.mark.parametrize(("count", "size"), [(1, 4), (4, 4), (5, 6), (6, 6), (7, 8), (1023, 1024), (1024, 1024)])
def test_the_size_is_the_smallest_bucket_that_holds_the_statements(count: int, size: int):
    ids = LANGUAGE.encode(QuantumProgram(1, 0, (Operation("x", (0,)),) * count), "random", RNG)
    assert VOCABULARY.tokens[ids[3]] == f"size:{size}"


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (
            QuantumProgram(MAX_QUBITS + 1, 0, (Operation("x", (0,)),)),
            "129 qubits and 0 classical bits, this language writes 1 to 128 and at most 128",
        ),
        (
            QuantumProgram(1, MAX_CLBITS + 1, (Operation("x", (0,)),)),
            "1 qubits and 129 classical bits, this language writes 1 to 128 and at most 128",
        ),
        (QuantumProgram(1, 0, ()), "0 statements, this language writes 1 to 1024"),
        (QuantumProgram(1, 0, (Operation("x", (0,)),) * 1025), "1025 statements, this language writes 1 to 1024"),
    ],
)
def test_what_the_language_cannot_write_is_not_expressible(program: QuantumProgram, sentence: str):
    with pytest.raises(NotExpressible) as caught:
        LANGUAGE.encode(program, "random", RNG)
    assert str(caught.value) == sentence


def test_a_family_without_a_token_is_not_expressible():
    with pytest.raises(NotExpressible, match="no token for 'family:swap_test' in this language"):
        LANGUAGE.encode(QuantumProgram(1, 0, (Operation("x", (0,)),)), "swap_test", RNG)


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 1, "the sequence stops where a family is due"),
        ("width:2", 1, "width:2 where a family is due"),
        ("family:ghz size:4", 2, "size:4 where a width is due"),
        ("family:ghz width:2 h", 3, "h where a size is due"),
        ("family:ghz width:2 size:4 q0", 4, "q0 where a statement or <end> is due"),
        ("family:ghz width:2 size:4 cx q0 q0", 4, "cx on qubits (0, 0), which must be distinct and below 2"),
        ("family:ghz width:2 size:4 h q2", 4, "h on qubits (2,), which must be distinct and below 2"),
        ("family:ghz width:2 size:4 h c0", 5, "c0 where a qubit is due"),
        ("family:ghz width:2 size:4 measure q0 q1", 6, "q1 where a classical bit is due"),
        ("family:ghz width:2 size:4 rx q0 h", 6, "h where an angle is due"),
        ("family:ghz width:2 size:4 rx q0 bin1 pi*1/2", 7, "pi*1/2 where a fine bin is due"),
        ("family:ghz width:2 size:4 h q0", 6, "the sequence stops where a statement or <end> is due"),
        ("family:ghz width:2 size:6 h q0 <end>", 6, "1 statements do not lie in the declared size 6"),
        (
            "family:ghz width:1 size:4 h q0 h q0 h q0 h q0 h q0 <end>",
            14,
            "5 statements do not lie in the declared size 4",
        ),
    ],
)
def test_a_sequence_that_stops_being_a_sentence_says_where_and_why(text: str, position: int, reason: str):
    with pytest.raises(NotASentence) as caught:
        LANGUAGE.decode(words(text))
    assert (caught.value.position, caught.value.reason) == (position, reason)


def test_a_sentence_begins_with_begin():
    with pytest.raises(NotASentence, match="token 0"):
        LANGUAGE.decode(VOCABULARY.ids(["family:ghz"]))


def test_a_prompt_is_what_every_sentence_under_the_constraint_shares():
    assert LANGUAGE.prompt(ProgramConstraint()) == words("")
    assert LANGUAGE.prompt(ProgramConstraint(qubits=3)) == words("")
    assert LANGUAGE.prompt(ProgramConstraint(family="ghz")) == words("family:ghz")
    assert LANGUAGE.prompt(ProgramConstraint(family="ghz", qubits=3)) == words("family:ghz width:3")


@pytest.mark.parametrize(
    ("fields", "sentence", "pointer"),
    [
        ({"family": "gzh"}, "no family named 'gzh'; did you mean 'ghz'?", "/family"),
        ({"qubits": 0}, "0 qubits, this language writes 1 to 128", "/qubits"),
        ({"qubits": 129}, "129 qubits, this language writes 1 to 128", "/qubits"),
        ({"max_statements": 0}, "max_gates is 0, it must be 1 to 1024", "/max_gates"),
        ({"max_statements": 1025}, "max_gates is 1025, it must be 1 to 1024", "/max_gates"),
        (
            {"qubits": 5, "max_statements": 4},
            "5 qubits in at most 4 statements: no qubit may stay idle, so allow at least as many statements as qubits",
            "/max_gates",
        ),
        ({"gate_set": ("cx", "cnot")}, "no gate named 'cnot'", "/gate_set/1"),
        ({"coupling": ((0, 1),)}, "a coupling map needs a number of qubits", "/qubits"),
        (
            {"qubits": 2, "coupling": ((0, 1), (1, 2))},
            "[1, 2] is not a pair of distinct qubits below 2",
            "/coupling_map/1",
        ),
        ({"qubits": 2, "coupling": ((1, 1),)}, "[1, 1] is not a pair of distinct qubits below 2", "/coupling_map/0"),
        (
            {"qubits": 3, "gate_set": ("cx",), "coupling": ((0, 1),)},
            "some qubit has no neighbour in the coupling map and the gate set has no one-qubit gate",
            "/coupling_map",
        ),
    ],
)
def test_a_constraint_nobody_can_mean_names_its_field(fields: dict[str, object], sentence: str, pointer: str):
    with pytest.raises((InvalidRequest, UnknownName)) as caught:
        ProgramConstraint(**fields)  # type: ignore[arg-type]  # a few fields at a time, of any type
    assert str(caught.value).startswith(sentence)
    assert caught.value.pointer == pointer
