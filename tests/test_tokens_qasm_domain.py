"""Quantum programs as domain tokens and back."""

from __future__ import annotations

import gzip
import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from app.errors import InvalidRequest, NotASentence, NotExpressible, UnknownName
from app.quantum.corpus import RESERVED_FAMILIES
from app.quantum.family_names import FAMILIES
from app.quantum.gates import GATES
from app.quantum.program import Operation, QuantumProgram, compacted
from app.quantum.qasm import parse_qasm2
from app.tokens.qasm_domain import (
    BOUNDS,
    MAX_CLBITS,
    MAX_PREFIX_TOKENS,
    MAX_QUBITS,
    MAX_STATEMENTS,
    ROOM_STEP,
    VOCABULARY,
    ProgramConstraint,
    QasmDomain,
    bucket,
    least_of,
    named_qubit,
    qubit_token,
)
from tests.quantum_programs import EXACT_ANGLES, programs, retold, split_statements, with_room
from tests.random_walks import illegal_positions
from tests.tiny_models import CPU

LANGUAGE = QasmDomain()
GRAMMAR = LANGUAGE.grammar(CPU)
RNG = random.Random(0)


def words(text: str) -> list[int]:
    """``<begin>`` and the ids of token names."""
    return VOCABULARY.ids(["<begin>", *text.split()])


def names(ids: Sequence[int]) -> str:
    """The token names, with blanks between."""
    return " ".join(VOCABULARY.tokens[token] for token in ids)


def assert_same(decoded: QuantumProgram, program: QuantumProgram) -> None:
    """Equal but for angles, which agree to 1e-4 modulo the period of their gate."""
    assert replace(decoded, operations=()) == replace(program, operations=())
    assert len(decoded.operations) == len(program.operations)
    for op, other in zip(decoded.operations, program.operations, strict=True):
        assert replace(op, angles=()) == replace(other, angles=())
        for angle, exact in zip(op.angles, other.angles, strict=True):
            period = GATES[op.name].angle_period_pi * math.pi
            assert math.remainder(angle - exact, period) == pytest.approx(0.0, abs=1e-4)


def assert_round_trips(labelled: list[tuple[QuantumProgram, str]], *, narrow_every: int = 1) -> None:
    """Every program comes back with its family, and the grammar allows every token, also under its own constraint."""
    sentences = []
    for program, family in labelled:
        ids = LANGUAGE.encode(program, family, RNG)
        decoded, label = LANGUAGE.decode(ids)
        assert (decoded, label) == LANGUAGE.decode(ids, checks_size=False)
        assert label == family
        assert_same(decoded, program)
        sentences.append(ids)
    anything = ProgramConstraint(dynamic=True)
    assert not any(illegal_positions(GRAMMAR, [anything] * len(sentences), sentences))
    narrow = [what_it_is(program, family) for program, family in labelled[::narrow_every]]
    cut = [
        retold(sentence, constraint.max_statements)
        for sentence, constraint in zip(sentences[::narrow_every], narrow, strict=True)
    ]
    assert not any(illegal_positions(GRAMMAR, narrow, cut))


def what_it_is(program: QuantumProgram, family: str) -> ProgramConstraint:
    """The narrowest constraint that a program meets. With a gate set or a coupling, some statements have no name."""
    gates = program.gates_used
    has_reset = any(op.name == "reset" for op in program.operations)
    pairs = {op.qubits for op in program.operations if op.name in GATES and len(op.qubits) == 2}
    has_triple = any(len(op.qubits) > 2 for op in program.operations if op.name in GATES)
    is_joined = any(GATES[name].qubit_count == 1 for name in gates)
    count = len(program.operations)
    half = replace(program, operations=program.operations[: count // 2])
    prefix = LANGUAGE.prefix(half)
    return ProgramConstraint(
        family,
        program.qubit_count,
        count,
        count,
        (program.depth, program.depth),
        gates if gates and not has_reset else None,
        tuple(sorted(pairs)) if is_joined and not has_triple else None,
        prefix if len(prefix) <= MAX_PREFIX_TOKENS else (),
        program.is_dynamic,
    )


def corpus_lines(shared_data: Path) -> list[str]:
    with gzip.open(shared_data / "quantum" / "circuits.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [line for line in lines if json.loads(line)["family"] not in RESERVED_FAMILIES]


def expressible(lines: list[str]) -> list[tuple[QuantumProgram, str]]:
    """The programs as training sees them, but those too wide, with more qubits than statements, or without a gate."""
    rows = [json.loads(line) for line in lines]
    labelled = [(compacted(parse_qasm2(row["qasm"])), row["family"]) for row in rows]
    return [
        (program, family)
        for program, family in labelled
        if max(program.qubit_count, program.clbit_count) <= MAX_QUBITS
        and program.gate_count
        and program.qubit_count <= len(program.operations)
    ]


@settings(max_examples=20, deadline=None)
@given(program=programs(is_dynamic=True))
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


@pytest.mark.parametrize("power", [20, 21, 22, 40, 1000])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_angle_below_the_least_of_the_grid_comes_back_as_that_or_as_nothing(power: int, sign: int):
    program = QuantumProgram(1, 0, (Operation("rz", (0,), (sign * math.pi * 2.0**-power,)),))
    decoded, _ = LANGUAGE.decode(LANGUAGE.encode(program, "qft", RNG))
    assert decoded.operations[0].angles[0] == pytest.approx(sign * math.pi * 2.0**-power, abs=math.pi * 2.0**-20 / 2)
    assert (decoded.operations[0].angles[0] == 0) == (power > 20)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_token(family: str):
    program = QuantumProgram(1, 0, (Operation("h", (0,)),))
    assert LANGUAGE.decode(LANGUAGE.encode(program, family, RNG)) == (program, family)


@pytest.mark.parametrize("gate", GATES)
def test_every_gate_has_a_token_and_a_declaration(gate: str):
    kind = GATES[gate]
    program = QuantumProgram(4, 0, (Operation(gate, tuple(range(kind.qubit_count)), (math.pi,) * kind.angle_count),))
    ids = LANGUAGE.encode(program, "random", RNG)
    assert f"uses:{gate} {gate} q0" in names(ids)
    assert_same(LANGUAGE.decode(ids)[0], program)


def test_a_sample_of_the_corpus_survives_the_round_trip_and_is_legal(shared_data: Path):
    lines = random.Random(0).sample(corpus_lines(shared_data), 150)
    short = sorted(expressible(lines), key=lambda labelled: len(labelled[0].operations))[:100]
    assert len(short) == 100
    assert_round_trips(short, narrow_every=3)


@pytest.mark.slow
def test_the_whole_corpus_survives_the_round_trip_and_is_legal(shared_data: Path):
    lines = corpus_lines(shared_data)
    labelled = sorted(expressible(lines), key=lambda labelled: len(labelled[0].operations))
    assert len(labelled) > 0.99 * len(lines)
    for first in range(0, len(labelled), 100):
        assert_round_trips(labelled[first : first + 100], narrow_every=8)


def test_a_program_by_hand_reads_as_its_statements():
    program = QuantumProgram(
        3,
        2,
        (
            Operation("h", (0,)),
            Operation("cp", (0, 1), (math.pi / 4,)),
            Operation("barrier"),
            Operation("barrier", (0, 2)),
            Operation("measure", (1,), clbit=0),
            Operation("reset", (1,)),
            Operation("x", (2,), condition=(0, 1)),
            Operation("reset", (0,), condition=(1, 0)),
            Operation("measure", (2,), clbit=1),
        ),
        (2, 1),
        (1, 1),
    )
    text = (
        "family:qft width:3 size:11 depth:6 qreg q0 q1 qreg q-1 creg c0 creg c1 uses:x uses:h uses:cp "
        "h q0 cp q0 q1 pi*1/4 barrier barrier_on q0 q-1 measure q1 c0 reset q1 when:1 c0 x q-1 when:0 c1 reset q0 "
        "room:8 measure q-1 c1 <end>"
    )
    assert program.depth == 5
    assert LANGUAGE.encode(program, "qft", RNG) == words(text)
    assert LANGUAGE.decode(words(text)) == (program, "qft")


def xs(count: int) -> QuantumProgram:
    """So many times x on one qubit."""
    return QuantumProgram(1, 0, (Operation("x", (0,)),) * count)


BUCKETS = [(1, 1), (2, 2), (3, 3), (5, 6), (6, 6), (7, 8), (16, 16), (17, 23), (23, 23), (24, 32), (725, 1024)]


@pytest.mark.parametrize(("count", "bound"), [*BUCKETS, (1023, 1024)])
def test_size_and_depth_are_declared_by_the_smallest_bucket_that_holds_them(count: int, bound: int):
    program = xs(count)
    ids = LANGUAGE.encode(program, "random", RNG)
    assert names(ids[3:6]) == f"size:{bound} depth:{bound} qreg"
    assert LANGUAGE.decode(ids) == (program, "random")


@pytest.mark.parametrize(("number", "bound"), [(0, 1), *BUCKETS, (1023, 1024), (1024, 1024)])
def test_a_bucket_ends_at_its_bound(number: int, bound: int):
    assert BOUNDS[bucket(number)] == bound


def test_every_number_is_in_the_one_bucket_between_its_least_and_its_bound():
    for number in range(BOUNDS[-1] + 1):
        holding = [place for place, bound in enumerate(BOUNDS) if least_of(place) <= number <= bound]
        assert holding == [bucket(number)]
    assert BOUNDS[0] == 1
    assert all(abs(bound - 2 ** (place / 2)) < 0.6 for place, bound in enumerate(BOUNDS[1:], start=2))


@pytest.mark.parametrize("statements", [7, 8, 9, 11, 12, 16, 20, 1023])
def test_a_sentence_says_after_every_eighth_statement_how_much_room_its_size_leaves(statements: int):
    ids = LANGUAGE.encode(xs(statements), "random", RNG)
    told = [place for place, token in enumerate(names(ids).split()) if token.startswith("room:")]
    assert [ids[:place].count(VOCABULARY.index["x"]) for place in told] == list(range(8, statements + 1, 8))
    for done, place in enumerate(told, start=1):
        left = BOUNDS[bucket(statements)] - ROOM_STEP * done
        assert left <= int(names([ids[place]]).removeprefix("room:")) < left + ROOM_STEP
        assert names(ids[place - 2 : place]) == "x q0", "the statement is whole"
    assert names(ids[-2:-1]).startswith("q" if statements % 8 else "room:")
    assert ROOM_STEP == 8


@pytest.mark.parametrize(
    ("width", "told"),
    [
        (1, "q0"), (2, "q0 q-1"), (3, "q0 q1 q-1"), (4, "q0 q1 q-2 q-1"), (5, "q0 q1 q2 q-2 q-1"),
        (MAX_QUBITS, " ".join([*(f"q{n}" for n in range(64)), *(f"q-{n}" for n in range(64, 0, -1))])),
    ],
)  # fmt: skip
def test_a_qubit_is_named_from_the_nearer_end(width: int, told: str):
    assert names([qubit_token(qubit, width) for qubit in range(width)]) == told
    assert [named_qubit(qubit_token(qubit, width), width) for qubit in range(width)] == list(range(width))
    assert names(LANGUAGE.prefix(QuantumProgram(width, 0, ()))) == f"qreg {told}"


def test_a_qubit_is_read_by_either_name():
    text = "family:ghz width:4 size:4 depth:2 qreg q0 q1 q-2 q-1 nocreg uses:cx uses:h {}<end>"
    far, near = (text.format(body) for body in ("cx q3 q2 cx q-4 q-3 ", "cx q-1 q-2 cx q0 q1 "))
    for checks_size in (True, False):
        assert LANGUAGE.decode(words(far), checks_size=checks_size) == LANGUAGE.decode(words(near))


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
        (QuantumProgram(1, 0, ()), "0 statements, this language writes 1 to 1023"),
        (QuantumProgram(1, 0, (Operation("x", (0,)),) * 1024), "1024 statements, this language writes 1 to 1023"),
    ],
)
def test_what_the_language_cannot_write_is_not_expressible(program: QuantumProgram, sentence: str):
    with pytest.raises(NotExpressible) as caught:
        LANGUAGE.encode(program, "random", RNG)
    assert str(caught.value) == sentence


def test_a_family_without_a_token_is_not_expressible():
    with pytest.raises(NotExpressible, match="no token for 'family:swap_test' in this language"):
        LANGUAGE.encode(QuantumProgram(1, 0, (Operation("x", (0,)),)), "swap_test", RNG)


#: The head of a sentence on two qubits, which declares two statements and uses x and cx, in 11 tokens with
#: ``<begin>``; and of one which declares seven or eight.
PAIR = "family:ghz width:2 size:2 depth:2 qreg q0 q-1 nocreg uses:cx uses:x "
EIGHT = PAIR.replace("size:2", "size:8")


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 1, "the sequence stops where a family is due"),
        ("width:2", 1, "width:2 where a family is due"),
        ("family:ghz size:2", 2, "size:2 where a width is due"),
        ("family:ghz width:2 depth:2", 3, "depth:2 where a size is due"),
        ("family:ghz width:2 size:2 h", 4, "h where a depth is due"),
        ("family:ghz width:2 size:2 size:2", 4, "size:2 where a depth is due"),
        ("family:ghz width:2 size:2 depth:2 h", 5, "h where qreg is due"),
        ("family:ghz width:2 size:2 depth:2 depth:2", 5, "depth:2 where qreg is due"),
        ("family:ghz width:2 size:2 depth:2 size:2", 5, "size:2 where qreg is due"),
        ("family:ghz width:2 size:2 depth:2 qreg h", 6, "h where q0 is due"),
        ("family:ghz width:2 size:2 depth:2 qreg q0 q1", 7, "q1 where q-1 is due"),
        ("family:ghz width:2 size:2 depth:2 qreg q0 q-1 q1", 8, "q1 where creg or nocreg is due"),
        ("family:ghz width:2 size:2 depth:2 qreg q0 q-1 qreg h", 9, "h where no further bit is due"),
        ("family:ghz width:2 size:2 depth:2 qreg q0 q-1 creg q1", 9, "q1 where c0 is due"),
        ("family:ghz width:2 size:2 depth:2 qreg q0 q-1 uses:x", 8, "uses:x where creg or nocreg is due"),
        ("family:ghz width:2 size:2 depth:2 qreg q0 q-1 creg c0 nocreg x q0", 11, "x, which the sentence does not "
         "declare that it uses"),
        ("family:ghz width:3 size:2 depth:2 qreg q0 q1 h", 8, "2 qubits in registers, 3 were declared"),
        ("family:ghz width:2 size:2 depth:2 qreg q0 q-1 nocreg uses:x uses:cx", 10, "uses:cx out of order"),
        (PAIR + "q0", 11, "q0 where a statement or <end> is due"),
        (PAIR + "cx q0 q0", 11, "cx on qubits (0, 0), which must be distinct and below 2"),
        (PAIR + "cx q0 q-2", 11, "cx on qubits (0, 0), which must be distinct and below 2"),
        (PAIR + "x q2", 11, "x on qubits (2,), which must be distinct and below 2"),
        (PAIR + "x q-3", 11, "x on qubits (-1,), which must be distinct and below 2"),
        (PAIR + "x c0", 12, "c0 where a qubit is due"),
        (PAIR + "measure q0 q1", 13, "q1 where a classical bit is due"),
        (PAIR + "measure q0 c0", 13, "c0, of 0 classical bits declared"),
        (PAIR + "when:1 c0 x q0", 12, "c0, of 0 classical bits declared"),
        (PAIR + "rx q0 h", 13, "h where an angle is due"),
        (PAIR + "rx q0 bin1 pi*1/2", 14, "pi*1/2 where a fine bin is due"),
        (PAIR + "barrier_on x", 12, "x where a qubit is due"),
        (PAIR + "barrier_on q1 q0 x", 11, "barrier_on (1, 0), which must ascend, be below 2 and not be all of these"),
        (PAIR + "barrier_on q0 q1 x", 11, "barrier_on (0, 1), which must ascend, be below 2 and not be all of these"),
        (PAIR + "barrier_on q2 x", 11, "barrier_on (2,), which must ascend, be below 2 and not be all of these"),
        (PAIR + "barrier_on q-3 x", 11, "barrier_on (-1,), which must ascend, be below 2 and not be all of these"),
        (PAIR + "x q0", 13, "the sequence stops where a statement or <end> is due"),
        (PAIR + "h q0", 11, "h, which the sentence does not declare that it uses"),
        (EIGHT + "room:8 x q0", 11, "room:8 where a statement or <end> is due"),
        (EIGHT + "x q0 " * 7 + "room:0", 25, "room:0 where a statement or <end> is due"),
        (EIGHT + "x q0 " * 8 + "x q0", 27, "x where the room left is due"),
        (EIGHT + "x q0 " * 8 + "<end>", 27, "<end> where the room left is due"),
        (EIGHT + "x q0 " * 8, 27, "the sequence stops where the room left is due"),
        (EIGHT + "x q0 " * 8 + "room:0 room:0", 28, "room:0 where a statement or <end> is due"),
        (EIGHT + "x q0 " * 7 + "barrier_on q1 <end>", 27, "<end> where the room left is due"),
        (EIGHT + "x q0 " * 7 + "cx q0 room:0", 27, "room:0 where a qubit is due"),
        (PAIR + "<end>", 11, "no statement"),
        (PAIR.replace("size:2", "size:1") + "<end>", 11, "no statement"),
        (PAIR.replace("nocreg", "creg c0") + "when:1 c0 measure q0 c0", 12,
         "a condition before measure, it belongs to gates and reset"),
        (PAIR.replace("nocreg", "creg c0") + "when:1 c0 barrier", 12,
         "a condition before barrier, it belongs to gates and reset"),
    ],
)  # fmt: skip
def test_a_sequence_that_stops_being_a_sentence_says_where_and_why(text: str, position: int, reason: str):
    with pytest.raises(NotASentence) as caught:
        LANGUAGE.decode(words(text))
    assert (caught.value.position, caught.value.reason) == (position, reason)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 8, 9, 24, 1023])
@pytest.mark.parametrize("bound", [1, 2, 8, 32, 1024])
def test_a_body_may_end_before_and_after_the_size_that_it_declares(count: int, bound: int):
    ids = LANGUAGE.encode(xs(count), "ghz", RNG)
    ids[3:5] = VOCABULARY.ids([f"size:{bound}", "depth:1"])
    ids = retold(ids, bound)
    assert LANGUAGE.decode(ids) == (xs(count), "ghz")
    assert illegal_positions(GRAMMAR, [ProgramConstraint()], [ids]) == [None]


@pytest.mark.parametrize("count", [1024, 1025, 9000])
def test_a_sentence_of_more_statements_than_can_be_counted_is_none(count: int):
    ids = LANGUAGE.encode(xs(MAX_STATEMENTS), "ghz", RNG)
    assert names(ids[3:4]) == "size:1024"
    more = [*ids[:-1], *VOCABULARY.ids(["x", "q0"] * (count - MAX_STATEMENTS)), ids[-1]]
    with pytest.raises(NotASentence) as caught:
        LANGUAGE.decode(more)
    reason = "more than 1023 statements, no sentence has as many"
    assert (caught.value.position, caught.value.reason) == (len(ids) - 1, reason)


def test_there_is_no_bit_after_the_last():
    widest = names(LANGUAGE.prefix(QuantumProgram(MAX_QUBITS, 0, ())))
    text = f"family:ghz width:128 size:2 depth:2 {widest} qreg c0"
    with pytest.raises(NotASentence, match="c0 where no further bit is due"):
        LANGUAGE.decode(words(text))


def test_a_sentence_begins_with_begin():
    with pytest.raises(NotASentence, match="token 0"):
        LANGUAGE.decode(VOCABULARY.ids(["family:ghz"]))


def test_of_a_bare_network_the_registers_are_held_to_and_the_other_declarations_are_not():
    text = "family:ghz width:5 size:128 depth:90 qreg q0 q-1 uses:x uses:cx h q0 room:40 cx q0 q-1 x q1 room:8 <end>"
    program, family = LANGUAGE.decode(words(text), checks_size=False)
    operations = (Operation("h", (0,)), Operation("cx", (0, 1)), Operation("x", (1,)))
    assert (program, family) == (QuantumProgram(2, 0, operations), "ghz")
    with pytest.raises(NotASentence, match="below 2"):
        LANGUAGE.decode(words(text.replace("h q0", "h q2")), checks_size=False)
    with pytest.raises(NotASentence, match="room:8 where a statement or <end> is due"):
        LANGUAGE.decode(words(text.replace("room:8", "room:8 room:8")), checks_size=False)
    with pytest.raises(NotASentence, match="room:40 where a statement or <end> is due"):
        LANGUAGE.decode(words(text.replace("h q0 room:40", "room:40 h q0")), checks_size=False)
    with pytest.raises(NotASentence, match="q-1 where q1 is due"):
        LANGUAGE.decode(words("family:ghz width:2 size:1 depth:1 qreg q0 q-1 q1 x q0 <end>"), checks_size=False)
    untold = "family:ghz width:1 size:1 depth:1 qreg q0 nocreg uses:x" + " x q0" * 9 + " <end>"
    assert LANGUAGE.decode(words(untold), checks_size=False)[0] == xs(9)


def test_a_prompt_is_what_every_sentence_under_the_constraint_shares():
    assert LANGUAGE.prompt(ProgramConstraint()) == words("")
    assert LANGUAGE.prompt(ProgramConstraint(qubits=3)) == words("")
    assert LANGUAGE.prompt(ProgramConstraint(family="ghz")) == words("family:ghz")
    whole = ProgramConstraint("ghz", 3, 40, 40, (5, 6))
    assert LANGUAGE.prompt(replace(whole, depth=None)) == words("family:ghz width:3 size:45")
    assert LANGUAGE.prompt(replace(whole, depth=(6, 7))) == words("family:ghz width:3 size:45")
    assert LANGUAGE.prompt(replace(whole, min_statements=32)) == words("family:ghz width:3")
    assert LANGUAGE.prompt(replace(whole, max_statements=46)) == words("family:ghz width:3")
    assert LANGUAGE.prompt(whole) == words("family:ghz width:3 size:45 depth:6 qreg q0")
    assert LANGUAGE.prompt(replace(whole, min_statements=33, max_statements=45)) == LANGUAGE.prompt(whole)
    assert names(LANGUAGE.prompt(ProgramConstraint("ghz", 3, 1023, 725, (5, 6)))[3:]) == "size:1024 depth:6 qreg q0"
    assert names(LANGUAGE.prompt(ProgramConstraint("ghz", 1, 1, 1, (0, 1)))[3:]) == "size:1 depth:1 qreg q0"
    prefix = tuple(words("qreg q0 q1 qreg q-1 creg c0 h q0")[1:])
    assert LANGUAGE.prompt(replace(whole, qubits=None, prefix=prefix)) == words(
        "family:ghz width:3 size:45 depth:6 qreg q0 q1 qreg q-1 creg c0"
    )


@settings(max_examples=25, deadline=None)
@given(program=programs(EXACT_ANGLES, most=20, is_dynamic=True))
def test_a_prefix_is_the_program_without_its_declarations(program: QuantumProgram):
    constraint = ProgramConstraint(prefix=LANGUAGE.prefix(program), dynamic=True)
    decoded, _ = LANGUAGE.decode(LANGUAGE.encode(program, "ghz", RNG))
    assert constraint.prefix_program == decoded
    assert constraint.width == program.qubit_count
    assert constraint.prefix == constraint.prefix_registers + constraint.prefix_statements
    assert [len(split_statements(constraint.prefix_statements))] == [len(program.operations)]
    sentence = LANGUAGE.encode(program, "ghz", RNG)
    body = with_room(constraint.prefix_statements, BOUNDS[bucket(len(program.operations))])
    assert sentence[-1 - len(body) : -1] == body


def test_a_prefix_without_statements_is_its_registers():
    prefix = LANGUAGE.prefix(QuantumProgram(3, 1, ()))
    constraint = ProgramConstraint(prefix=prefix)
    assert names(prefix) == "qreg q0 q1 q-1 creg c0"
    assert (constraint.prefix_registers, constraint.prefix_statements) == (prefix, ())


@pytest.mark.parametrize(
    ("statements", "body"),
    [
        ("", ""),
        ("x q0", "x q0"),
        ("x q0 " * 8, "x q0 " * 8 + "room:8"),
        ("x q0 " * 7 + "barrier_on q0 q2 barrier", "x q0 " * 7 + "barrier_on q0 q2 room:8 barrier"),
        ("x q0 " * 7 + "when:1 c0 x q0 when:0 c1 h q0", "x q0 " * 7 + "when:1 c0 x q0 room:8 when:0 c1 h q0"),
        ("rx q0 bin1 bin2 " * 17, ("rx q0 bin1 bin2 " * 8 + "room:{} ") * 2 + "rx q0 bin1 bin2"),
    ],
)
def test_the_room_stands_after_every_eighth_statement_and_after_the_last_too(statements: str, body: str):
    assert names(with_room(VOCABULARY.ids(statements.split()), 11)) == body.format(8, 0).strip()


def ids_of(text: str) -> tuple[int, ...]:
    return tuple(VOCABULARY.ids(text.split()))


@pytest.mark.parametrize(
    ("fields", "sentence", "pointer"),
    [
        ({"family": "gzh"}, "no family named 'gzh'; did you mean 'ghz'?", "/family"),
        ({"qubits": 0}, "0 qubits, this language writes 1 to 128", "/qubits"),
        ({"qubits": 129}, "129 qubits, this language writes 1 to 128", "/qubits"),
        ({"max_statements": 0}, "max_gates is 0, it must be 1 to 1023", "/max_gates"),
        ({"max_statements": 1024}, "max_gates is 1024, it must be 1 to 1023", "/max_gates"),
        ({"min_statements": 0}, "min_gates is 0, it must be 1 to max_gates, which is 1023", "/min_gates"),
        (
            {"min_statements": 9, "max_statements": 8},
            "min_gates is 9, it must be 1 to max_gates, which is 8",
            "/min_gates",
        ),
        ({"depth": (0, 0)}, "max_depth is 0, it must be 1 to 1024", "/max_depth"),
        ({"depth": (0, 1025)}, "max_depth is 1025, it must be 1 to 1024", "/max_depth"),
        ({"depth": (-1, 4)}, "min_depth is -1, it must be 0 to max_depth, which is 4", "/min_depth"),
        ({"depth": (5, 4)}, "min_depth is 5, it must be 0 to max_depth, which is 4", "/min_depth"),
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
        (
            {"prefix": ids_of("qreg q0" + " x q0" * 2048)},
            "the prefix takes 4098 tokens, at most 4096 can be continued",
            "/prefix",
        ),
        (
            {"prefix": ids_of("x q0")},
            "the prefix is not made of registers and statements: x where qreg is due",
            "/prefix",
        ),
        (
            {"prefix": ids_of("qreg q0 room:8 x q0")},
            "the prefix is not made of registers and statements: room:8 where a statement or <end> is due",
            "/prefix",
        ),
        (
            {"prefix": ids_of("qreg q0" + " x q0" * 8 + " room:0")},
            "the prefix is not made of registers and statements: room:0 where a statement or <end> is due",
            "/prefix",
        ),
        (
            {"prefix": ids_of("qreg q0 x")},
            "the prefix is not made of registers and statements: <end> where a qubit is due",
            "/prefix",
        ),
        (
            {"qubits": 3, "prefix": ids_of("qreg q0 q-1 x q0")},
            "3 qubits are asked for and the prefix has 2; ask for as many as it has, or leave the number out",
            "/qubits",
        ),
        (
            {"max_statements": 2, "prefix": ids_of("qreg q0 q-1 x q0 x q0")},
            "the prefix has 2 statements and leaves 1 qubits idle, which does not fit into 2",
            "/max_gates",
        ),
        (
            {"max_statements": 1, "prefix": ids_of("qreg q0 x q0 x q0")},
            "the prefix has 2 statements and leaves 0 qubits idle, which does not fit into 1",
            "/max_gates",
        ),
        (
            {"prefix": ids_of("qreg q0 creg c0 measure q0 c0 when:1 c0 x q0")},
            "the prefix has a statement under a condition; ask for a dynamic program",
            "/dynamic",
        ),
        (
            {"gate_set": ("x",), "prefix": ids_of("qreg q0 reset q0")},
            "the prefix has a reset, which a gate set leaves out; leave gate_set out",
            "/gate_set",
        ),
        (
            {"gate_set": ("x",), "prefix": ids_of("qreg q0 h q0")},
            "the prefix uses the gate h, which gate_set leaves out; add it there",
            "/gate_set",
        ),
        (
            {"coupling": ((0, 1), (1, 2)), "prefix": ids_of("qreg q0 q1 q-1 cx q1 q0 cx q0 q-1")},
            "the prefix applies cx to qubits (0, 2), which coupling_map does not join",
            "/coupling_map",
        ),
    ],
)
def test_a_constraint_nobody_can_mean_names_its_field(fields: dict[str, object], sentence: str, pointer: str):
    with pytest.raises((InvalidRequest, UnknownName)) as caught:
        ProgramConstraint(**fields)  # type: ignore[arg-type]  # a few fields at a time, of any type
    assert str(caught.value).startswith(sentence)
    assert caught.value.pointer == pointer


def test_a_depth_is_wanted_in_every_bucket_that_overlaps_it():
    assert list(ProgramConstraint().depth_buckets) == list(range(len(BOUNDS)))
    wanted = ProgramConstraint(depth=(5, 12)).depth_buckets
    assert [BOUNDS[number] for number in wanted] == [6, 8, 11, 16]
    assert [BOUNDS[number] for number in ProgramConstraint(depth=(0, 1)).depth_buckets] == [1]
