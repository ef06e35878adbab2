"""What the grammar of the quantum domain language guarantees, whoever draws the tokens."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
import qiskit.qasm2
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import InvalidInput, InvalidRequest
from app.quantum.family_names import FAMILIES
from app.quantum.family_needs import DYNAMIC as DYNAMIC_FAMILIES
from app.quantum.gates import GATES
from app.quantum.program import Operation, QuantumProgram
from app.quantum.qasm import write_qasm2, write_qasm3
from app.tokens._base import PAD
from app.tokens._qasm_domain_grammar import QasmDomainState
from app.tokens.qasm_domain import (
    BOUNDS,
    DEPTH_START,
    MAX_QUBITS,
    MAX_STATEMENTS,
    OPERATIONS,
    QUBIT_START,
    ROOM_START,
    SIZE_START,
    USES_START,
    VOCABULARY,
    WHEN_START,
    ProgramConstraint,
    QasmDomain,
    bucket,
    least_of,
    qubit_token,
    room_after,
)
from tests.quantum_programs import programs, with_room
from tests.random_walks import illegal_positions, started, walk
from tests.tiny_models import CPU

LANGUAGE = QasmDomain()
GRAMMAR = LANGUAGE.grammar(CPU)

LINE = tuple((qubit, qubit + 1) for qubit in range(4))

#: Two registers of each kind, a listed barrier last, and a qubit that is still idle.
BEGUN = QuantumProgram(
    4, 3,
    (
        Operation("h", (0,)), Operation("cu", (0, 1), (0.1, math.pi, 0.2, 0.3)), Operation("measure", (1,), (), 2),
        Operation("x", (2,)), Operation("barrier", (0, 2)),
    ),
    (3, 1), (1, 2),
)  # fmt: skip
PREFIX = LANGUAGE.prefix(BEGUN)

#: The same with a listed barrier where a count is due, and one statement more.
COUNTED = replace(
    BEGUN,
    operations=(
        *BEGUN.operations,
        Operation("x", (0,)), Operation("h", (1,)), Operation("barrier", (0, 1)), Operation("x", (1,)),
    ),
)  # fmt: skip

#: As many rows of each make a batch of the big walk.
CONSTRAINTS = (
    ProgramConstraint(max_statements=8),
    ProgramConstraint(family="ghz", qubits=7, max_statements=11, min_statements=9),
    ProgramConstraint(qubits=5, max_statements=10, gate_set=("rz", "sx", "x", "cx"), coupling=LINE),
    ProgramConstraint(qubits=6, max_statements=6, gate_set=("cx",), coupling=((0, 1), (1, 2), (2, 0), (3, 4), (4, 5))),
    ProgramConstraint(max_statements=7, gate_set=("ccx", "cp", "h")),
    ProgramConstraint(qubits=3, max_statements=9, gate_set=("cx", "t", "cz"), coupling=((0, 1),)),
    ProgramConstraint(max_statements=16, depth=(5, 7)),
    ProgramConstraint(max_statements=20, prefix=PREFIX),
)

#: Bounds that cut a bucket, or take one or several, on both sides of a count.
BOUNDED = (
    ProgramConstraint(max_statements=20, min_statements=17),
    ProgramConstraint(max_statements=20, min_statements=20),
    ProgramConstraint(max_statements=8, min_statements=8),
    ProgramConstraint(max_statements=25, min_statements=22, qubits=23),
    ProgramConstraint(max_statements=24, min_statements=24, gate_set=("cx", "rx")),
    ProgramConstraint(max_statements=17, min_statements=15, depth=(12, 14)),
    ProgramConstraint(max_statements=18, min_statements=16, prefix=LANGUAGE.prefix(COUNTED)),
    ProgramConstraint(max_statements=10, prefix=LANGUAGE.prefix(COUNTED)),
)

#: Depths wanted, which begin and end within a bucket, beside bounds that do.
DEPTHS = (
    ProgramConstraint(max_statements=40),
    ProgramConstraint(max_statements=40, depth=(10, 30)),
    ProgramConstraint(max_statements=21, depth=(3, 40)),
    ProgramConstraint(max_statements=18, depth=(17, 18)),
    ProgramConstraint(max_statements=40, min_statements=25, depth=(0, 20)),
    ProgramConstraint(max_statements=33, depth=(2, 50), prefix=PREFIX),
    ProgramConstraint(max_statements=20, depth=(9, 10), prefix=PREFIX),
)
WITH_CONDITIONS = ProgramConstraint(max_statements=9, dynamic=True)

#: As many rows of each once: programs of up to 24 statements.
LONGER = (
    ProgramConstraint(max_statements=24),
    ProgramConstraint(qubits=24, max_statements=24, gate_set=("u3", "swap")),
)


def words(text: str) -> list[int]:
    """``<begin>`` and the ids of token names."""
    return VOCABULARY.ids(["<begin>", *text.split()])


def legal_names(state: QasmDomainState) -> set[str]:
    """The tokens that may follow in a state of one row."""
    return {VOCABULARY.tokens[token] for token in GRAMMAR.mask(state, 1)[0].nonzero()[:, 0].tolist()}


def after(constraint: ProgramConstraint, ids: Sequence[int]) -> QasmDomainState:
    """The state of one row that has taken these, all of which were legal."""
    state = GRAMMAR.start(constraint)
    for token in ids:
        assert GRAMMAR.mask(state, 1)[0, token], VOCABULARY.tokens[token]
        GRAMMAR.advance(state, torch.tensor([token]))
    return state


def take(state: QasmDomainState, *tokens: str) -> None:
    """The state of one row has taken these."""
    for token in tokens:
        GRAMMAR.advance(state, torch.tensor([VOCABULARY.index[token]]))


def check(sentence: Sequence[int], constraint: ProgramConstraint) -> tuple[QuantumProgram, str]:
    """Everything that a completed sentence promises; the program and its family."""
    program, family = LANGUAGE.decode(sentence)
    assert not program.idle_qubits
    count = len(program.operations)
    assert constraint.min_statements <= count <= constraint.max_statements
    prompt = LANGUAGE.prompt(constraint)
    assert list(sentence[: len(prompt)]) == prompt
    body = sentence[next(place for place, token in enumerate(sentence) if WHEN_START <= token < QUBIT_START) : -1]
    most = min(constraint.max_statements, BOUNDS[sentence[3] - SIZE_START])
    assert body == with_room([token for token in body if not ROOM_START <= token < WHEN_START], most)
    assert constraint.family in (None, family)
    assert constraint.qubits in (None, program.qubit_count)
    assert constraint.dynamic or not program.is_dynamic
    size, declared = sentence[3] - SIZE_START, sentence[4] - DEPTH_START
    assert declared in constraint.depth_buckets
    assert count >= least_of(constraint.depth_buckets[0]), "some program has the least depth wanted"
    begun = constraint.prefix_program
    fewest = program.qubit_count if begun is None else len(begun.operations) + len(begun.idle_qubits)
    fewest = max(constraint.min_statements, fewest, least_of(declared))
    assert fewest <= BOUNDS[size], "some program has what is declared"
    assert least_of(size) <= constraint.max_statements
    assert fewest <= constraint.max_statements
    uses = {OPERATIONS[token - USES_START] for token in sentence if USES_START <= token < ROOM_START}
    assert uses
    gates = set(program.gates_used)
    if constraint.gate_set is not None:
        assert uses <= set(constraint.gate_set)
        assert {op.name for op in program.operations} - gates <= {"measure", "barrier"}
    if constraint.coupling is not None:
        pairs = {frozenset(op.qubits) for op in program.operations if op.name in GATES and len(op.qubits) > 1}
        assert pairs <= {frozenset(pair) for pair in constraint.coupling}
    if begun is not None:
        assert begun.depth <= BOUNDS[declared]
        assert program.operations[: len(begun.operations)] == begun.operations
        assert (program.qubit_count, program.qubit_registers) == (begun.qubit_count, begun.qubit_registers)
        assert LANGUAGE.prefix(program)[: len(constraint.prefix_registers)] == constraint.prefix_registers
    return program, family


def sentences_of_nobody(batches: int, rows: int) -> list[QuantumProgram]:
    """The programs of random walks under every shape of constraint; all is well with them."""
    families, names, widths, written = Counter[str](), Counter[str](), Counter[int](), list[QuantumProgram]()
    for seed in range(batches):
        shapes = LONGER if seed == 0 else CONSTRAINTS
        constraints = [shape for shape in shapes for _ in range(rows // len(shapes))]
        for constraint, sentence in zip(constraints, walk(GRAMMAR, constraints, seed), strict=True):
            program, family = check(sentence, constraint)
            families[family] += 1
            names.update({op.name for op in program.operations})
            widths[program.qubit_count] += 1
            written.append(program)
    assert set(families) == set(FAMILIES) - DYNAMIC_FAMILIES, "the walk went everywhere"
    assert set(names) == {*GATES, "measure", "reset", "barrier"}
    assert set(range(1, 25)) == set(widths)
    return written


def assert_loads(program: QuantumProgram) -> None:
    """Qiskit reads the text bare, and by the letter of the specification."""
    for strict in (False, True):
        assert qiskit.qasm2.loads(write_qasm2(program), strict=strict).num_qubits == program.qubit_count


def test_sentences_of_nobody_are_programs_with_every_qubit_in_use():
    for program in sentences_of_nobody(batches=4, rows=400)[::25]:
        assert_loads(program)


@pytest.mark.slow
def test_ten_thousand_sentences_of_nobody_load_bare_one_and_all():
    written = sentences_of_nobody(batches=20, rows=512)
    assert len(written) > 10_000
    for program in written:
        assert_loads(program)


def test_sentences_of_nobody_end_within_bounds_that_cut_a_bucket():
    constraints = [constraint for constraint in BOUNDED for _ in range(40)]
    lengths: dict[ProgramConstraint, set[int]] = {constraint: set() for constraint in BOUNDED}
    beyond = Counter[int]()
    for constraint, sentence in zip(constraints, walk(GRAMMAR, constraints, 5), strict=True):
        program, _ = check(sentence, constraint)
        count = len(program.operations)
        lengths[constraint].add(count)
        declared = sentence[3] - SIZE_START
        beyond[(bucket(count) > declared) - (bucket(count) < declared)] += 1
    assert all(max(found) == constraint.max_statements for constraint, found in lengths.items())
    assert any(len(found) > 2 for found in lengths.values()), "a sentence may end before it must"
    assert set(beyond) == {-1, 0, 1}, "before the bucket that it declares, in it and after it"


def test_sentences_of_nobody_declare_a_depth_that_they_could_have_in_the_size_that_they_declare():
    constraints = [constraint for constraint in DEPTHS for _ in range(40)]
    heads = set[tuple[int, int]]()
    for constraint, sentence in zip(constraints, walk(GRAMMAR, constraints, 9), strict=True):
        check(sentence, constraint)
        size, depth = sentence[3] - SIZE_START, sentence[4] - DEPTH_START
        assert constraint.depth_buckets[0] <= depth <= size, "a program is no deeper than it is long"
        heads.add((size, depth))
    assert {depth == size for size, depth in heads} == {True, False}, "as deep as that, and less"


def test_conditions_stand_where_they_are_asked_for():
    drawn = [check(sentence, WITH_CONDITIONS)[0] for sentence in walk(GRAMMAR, [WITH_CONDITIONS] * 200, 0)]
    conditioned = [op for program in drawn for op in program.operations if op.condition is not None]
    assert {op.condition[1] for op in conditioned if op.condition} == {0, 1}
    assert "reset" in {op.name for op in conditioned}
    assert any("if (" in write_qasm3(program) for program in drawn)


@pytest.mark.slow
def test_sentences_of_the_largest_width_and_size_end_as_well():
    constraint = ProgramConstraint(qubits=MAX_QUBITS, max_statements=MAX_STATEMENTS, min_statements=1000)
    for sentence in walk(GRAMMAR, [constraint] * 4, 0, biased_by=1.0):
        check(sentence, constraint)


@st.composite
def any_fields(draw: st.DrawFn) -> dict[str, object]:
    """Fields of a constraint, contradictory or not."""
    qubits = draw(st.none() | st.integers(1, 9))
    pair = st.tuples(st.integers(0, (qubits or 4) - 1), st.integers(0, (qubits or 4) - 1))
    begun = draw(st.none() | programs(most=6) | programs(most=17))
    return {
        "family": draw(st.none() | st.sampled_from(FAMILIES)),
        "qubits": draw(st.none() | st.just(begun.qubit_count)) if begun else qubits,
        "max_statements": draw(st.integers(1, 26)),
        "min_statements": draw(st.integers(1, 5) | st.integers(1, 26)),
        "depth": draw(st.none() | st.tuples(st.integers(0, 9), st.integers(1, 20))),
        "gate_set": draw(st.none() | st.lists(st.sampled_from(sorted(GATES)), min_size=1, max_size=3).map(tuple)),
        "coupling": draw(st.none() | st.lists(pair, max_size=10).map(tuple)),
        "prefix": LANGUAGE.prefix(begun) if begun else (),
        "dynamic": draw(st.booleans()),
    }


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fields=any_fields(), seed=st.integers(0, 2**31))
def test_a_request_is_either_refused_with_its_field_or_met_by_every_walk(fields: dict[str, object], seed: int):
    constraint = constraint_or_refusal(fields)
    if isinstance(constraint, InvalidInput):
        assert str(constraint.pointer).startswith(
            ("/qubits", "/max_gates", "/min_gates", "/max_depth", "/min_depth", "/gate_set", "/coupling_map")
        )
        return
    for sentence in walk(GRAMMAR, [constraint] * 10, seed):
        check(sentence, constraint)


def constraint_or_refusal(fields: dict[str, object]) -> ProgramConstraint | InvalidInput:
    try:
        constraint = ProgramConstraint(**fields)  # type: ignore[arg-type]  # drawn field by field
        GRAMMAR.start(constraint)
    except InvalidInput as refused:
        return refused
    return constraint


@pytest.mark.parametrize(
    ("constraint", "sentence", "pointer"),
    [
        (
            ProgramConstraint(qubits=2, gate_set=("ccx",), coupling=((0, 1),)),
            "no gate is left under this gate set and coupling map",
            "/gate_set",
        ),
        (
            ProgramConstraint(qubits=2, gate_set=("ccx", "cswap")),
            "every gate allowed acts on at least 3 qubits, the program has 2",
            "/gate_set",
        ),
        (
            ProgramConstraint(max_statements=2, gate_set=("ccx",)),
            "every gate allowed acts on at least 3 qubits, and 2 statements are too few to use as many",
            "/max_gates",
        ),
        (
            ProgramConstraint(max_statements=20, depth=(30, 40)),
            "a depth of 24 takes as many statements, at most 20 are allowed",
            "/min_depth",
        ),
        (
            ProgramConstraint(prefix=PREFIX, depth=(0, 2)),
            "the prefix has a depth of 3 already, max_depth is 2",
            "/max_depth",
        ),
    ],
)
def test_what_no_sentence_can_be_is_refused(constraint: ProgramConstraint, sentence: str, pointer: str):
    with pytest.raises(InvalidRequest) as caught:
        GRAMMAR.start(constraint)
    assert (str(caught.value), caught.value.pointer) == (sentence, pointer)


TWO = "family:permutation width:2"
ONE = "family:permutation width:1"
Q2 = "qreg q0 q-1 nocreg uses:cx uses:h"
SEVEN = Q2 + " h q-1" + " h q0" * 6


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("family:ghz width:5 size:4", 3),  # four statements cannot be promised to reach five qubits
        ("family:ghz width:2 size:45 depth:64", 4),  # a depth above 45 takes 46 statements
        (f"{TWO} size:2 depth:3", 4),
        (f"{TWO} size:6 depth:8", 4),
        (f"{ONE} size:1 depth:2", 4),
        (f"{ONE} size:724 depth:1024", 4),
        (f"{TWO} depth:2 size:3", 3),  # the size comes first
        (f"{TWO} size:3 size:3", 4),  # it is one token
        (f"{TWO} size:3 depth:2 size:3", 5),
        (f"{TWO} size:3 depth:2 depth:2", 5),  # so is the depth
        (f"{TWO} size:3 qreg", 4),  # which is not left out
        (f"{TWO} size:3 depth:2 uses:h", 5),  # registers first
        (f"{TWO} size:3 depth:2 qreg q-1", 6),  # q0 comes first
        (f"{TWO} size:3 depth:2 qreg qreg", 6),  # a register holds something
        (f"{TWO} size:3 depth:2 qreg q0 uses:h", 7),  # q-1 must be declared
        (f"{TWO} size:3 depth:2 qreg q0 qreg q-1 q2", 9),  # two qubits are all
        (f"{TWO} size:3 depth:2 qreg q0 creg", 7),  # classical bits come after the qubits
        (f"{TWO} size:3 depth:2 qreg q0 q-1 creg c0 qreg", 10),
        (f"{TWO} size:3 depth:2 qreg q0 q-1 creg c1", 9),
        (f"{TWO} size:3 depth:2 qreg q0 q1", 7),  # which is named from the other end
        (f"{TWO} size:3 depth:2 qreg q0 q-1 uses:h", 8),  # whether there are classical bits is said
        (f"{TWO} size:3 depth:2 qreg q0 nocreg", 7),
        (f"{TWO} size:3 depth:2 qreg q0 q-1 nocreg creg", 9),
        (f"{TWO} size:3 depth:2 qreg q0 q-1 creg c0 nocreg", 10),
        (f"{TWO} size:3 depth:2 qreg q0 q-1 nocreg h", 9),  # a gate must be declared
        (f"{TWO} size:3 depth:2 qreg q0 q-1 nocreg uses:h uses:cx", 10),  # in order
        (f"{TWO} size:3 depth:2 qreg q0 q-1 nocreg uses:h uses:h", 10),
        (f"{TWO} size:3 depth:2 {Q2} x", 11),  # not declared
        (f"{TWO} size:3 depth:2 {Q2} measure", 11),  # there is no classical bit
        (f"{TWO} size:3 depth:2 {Q2} <end>", 11),  # nothing has happened
        (f"{TWO} size:11 depth:2 {Q2} room:8", 11),  # nothing is there yet
        (f"{TWO} size:11 depth:2 {Q2} h room:8", 12),  # of what
        (f"{TWO} size:11 depth:2 {SEVEN} room:8", 25),  # seven are there
        (f"{TWO} size:11 depth:2 {SEVEN} cx q0 room:8", 27),  # the eighth is not whole
        (f"{TWO} size:11 depth:2 {SEVEN} h q0 h", 27),  # eight: the room is told
        (f"{TWO} size:11 depth:2 {SEVEN} h q0 barrier_on", 27),
        (f"{TWO} size:8 depth:2 {SEVEN} h q0 <end>", 27),  # also at the end
        (f"{TWO} size:11 depth:2 {SEVEN} h q0 room:16", 27),  # and is true
        (f"{TWO} size:11 depth:2 {SEVEN} h q0 room:0", 27),
        (f"{TWO} size:11 depth:2 {SEVEN} h q0 room:8 room:8", 28),  # once
        (f"{TWO} size:11 depth:2 {SEVEN} h q0 room:8 room:16", 28),
        (f"{TWO} size:11 depth:2 {SEVEN} barrier h", 26),
        (f"{TWO} size:11 depth:2 {SEVEN} barrier_on q-1 h", 27),  # a barrier that could list more is one too
        (f"{TWO} size:8 depth:2 {SEVEN} barrier_on q-1 <end>", 27),
        (f"{TWO} size:11 depth:2 {SEVEN} barrier_on q-1 room:16", 27),
        (f"{TWO} size:11 depth:2 {SEVEN} barrier_on room:8", 26),  # of what
        (f"{TWO} size:11 depth:2 {SEVEN} barrier_on q-1 room:8 q-1", 28),  # it is closed
        (f"{TWO} size:3 depth:2 {Q2} h q1", 12),  # not its name
        (f"{TWO} size:3 depth:2 {Q2} h q-2", 12),  # outside the width
        (f"{TWO} size:3 depth:2 {Q2} cx q0 q0", 13),  # one qubit twice
        (f"{TWO} size:8 depth:2 {Q2}{' h q0' * 7} <end>", 25),  # there are seven, and q-1 is idle
        (f"{TWO} size:3 depth:2 {Q2} barrier_on h", 12),  # of what
        (f"{TWO} size:3 depth:2 {Q2} barrier_on q0 q-1", 13),  # these are all
        (f"{TWO} size:3 depth:2 {Q2} barrier_on q-1 q0", 13),
        (f"{TWO} size:3 depth:2 {Q2} when:0", 11),  # conditions are not asked for
        ("family:ghz width:2 size:3 depth:2 qreg q0 q-1 nocreg uses:ccx", 9),  # three qubits, there are two
        ("family:permutation width:3 size:4 depth:2 qreg q0 q1 q-1 nocreg uses:ccx ccx q0 q1 q0", 14),
        (f"{ONE} size:1 depth:1 qreg q0 nocreg uses:rx rx q0 bin3 pi*1/2", 12),  # the fine bin is due
        (f"{ONE} size:2 depth:1 qreg q0 nocreg uses:x barrier_on", 9),  # some but not all of one
        (f"{ONE} size:1 depth:1 qreg q0 creg c0 uses:x measure q0 c1", 12),  # not declared
        (f"{ONE} size:2 depth:1 qreg q0 q1", 7),
    ],
)
def test_what_could_not_end_well_is_forbidden_where_it_begins(text: str, position: int):
    assert illegal_positions(GRAMMAR, [ProgramConstraint()], [words(text)]) == [position]


H1 = "qreg q0 nocreg uses:h"


@pytest.mark.parametrize(
    ("constraint", "text", "position"),
    [
        (ProgramConstraint(gate_set=("h",)), f"{ONE} size:4 depth:1 qreg q0 nocreg uses:x", 8),
        (ProgramConstraint(gate_set=("h",)), f"{ONE} size:4 depth:1 {H1} reset", 9),
        (ProgramConstraint(family="qft"), "family:ghz", 1),
        (ProgramConstraint(qubits=3), "family:ghz width:2", 2),
        (ProgramConstraint(max_statements=3), "family:ghz width:4", 2),
        (ProgramConstraint(depth=(3, 5)), f"{TWO} size:8 depth:2", 4),
        (ProgramConstraint(depth=(3, 5)), f"{TWO} size:8 depth:8", 4),
        (ProgramConstraint(depth=(3, 5)), f"{TWO} size:4 depth:6", 4),  # in the bucket of 5, too deep for four
        (ProgramConstraint(depth=(3, 5)), f"{TWO} size:2", 3),  # two statements are never as deep
        (ProgramConstraint(prefix=PREFIX), "family:permutation width:4 size:4", 3),  # five, and q3 is idle
        (ProgramConstraint(prefix=PREFIX), "family:permutation width:4 size:6 depth:2", 4),  # it is three deep
        (ProgramConstraint(prefix=PREFIX), "family:permutation width:4 size:6 depth:8", 4),
        (ProgramConstraint(depth=(7, 20)), f"{ONE} size:6", 3),
        (ProgramConstraint(depth=(10, 20)), f"{ONE} size:8", 3),
        (ProgramConstraint(max_statements=32), f"{ONE} size:45", 3),
        (ProgramConstraint(max_statements=4), f"{ONE} size:6", 3),
        (ProgramConstraint(min_statements=4), f"{ONE} size:3", 3),
        (ProgramConstraint(min_statements=33), f"{ONE} size:32", 3),
        (ProgramConstraint(max_statements=16), f"{ONE} size:16 depth:23", 4),
        (
            ProgramConstraint(max_statements=5),
            f"{ONE} size:6 depth:1 {H1}" + " h q0" * 6,
            19,  # the bucket is cut at five
        ),
        (
            ProgramConstraint(max_statements=5),
            f"{ONE} size:2 depth:1 {H1}" + " h q0" * 6,
            19,  # so it is where less is declared
        ),
        (ProgramConstraint(min_statements=6), f"{ONE} size:6 depth:1 {H1}" + " h q0" * 5 + " <end>", 19),
        (ProgramConstraint(min_statements=6), f"{ONE} size:11 depth:1 {H1}" + " h q0" * 5 + " <end>", 19),
        (
            ProgramConstraint(max_statements=2),
            f"{TWO} size:2 depth:2 {Q2} h q0 h q0",
            14,  # the second h must be elsewhere
        ),
        (
            ProgramConstraint(min_statements=3),
            f"{TWO} size:3 depth:2 {Q2} h q0 h q-1 <end>",
            15,
        ),  # one is still to come
        (ProgramConstraint(max_statements=2), f"{TWO} size:2 depth:2 {Q2} h q0 h q-1 h", 15),  # two are enough
        (ProgramConstraint(min_statements=7), f"{TWO} size:8 depth:2 {SEVEN[:-5]} <end>", 23),  # seven are the least
        (ProgramConstraint(max_statements=8), f"{TWO} size:8 depth:2 {SEVEN} h q0 room:0 h", 28),  # eight are the most
        (
            ProgramConstraint(min_statements=9),
            f"{TWO} size:11 depth:2 {SEVEN} h q0 room:8 <end>",
            28,  # nine are the least
        ),
        (
            ProgramConstraint(max_statements=8),
            f"{TWO} size:8 depth:2 {Q2}{' h q0' * 7} h q0",
            26,
        ),  # the last is for q-1
        (ProgramConstraint(max_statements=8), f"{TWO} size:8 depth:2 {Q2}{' h q0' * 7} barrier", 25),
        (ProgramConstraint(max_statements=8), f"{TWO} size:8 depth:2 {Q2}{' h q0' * 7} barrier_on", 25),
        (
            ProgramConstraint(max_statements=2),
            f"{TWO} size:2 depth:2 {Q2} barrier",
            11,  # every statement is for a qubit
        ),
        (ProgramConstraint(max_statements=2), f"{TWO} size:2 depth:2 {Q2} barrier_on", 11),
        (
            ProgramConstraint(depth=(7, 20)),
            "family:ghz width:2 size:16 depth:16 qreg q0 q-1 nocreg uses:h h q0 h q-1" + " h q0" * 4 + " <end>",
            22,  # depth 7 takes 7
        ),
        (
            ProgramConstraint(depth=(8, 20)),  # a depth of 7 is in its bucket
            f"family:ghz width:2 size:8 depth:8 {SEVEN.replace('uses:cx ', '')} h q0 <end>",
            26,  # the room is told; seven would do
        ),
        (
            ProgramConstraint(qubits=3, coupling=((0, 1), (1, 2))),
            "family:permutation width:3 size:4 depth:2 qreg q0 q1 q-1 nocreg uses:cx cx q0 q-1",
            13,
        ),
        (
            ProgramConstraint(qubits=3, coupling=((0, 1),)),
            "family:permutation width:3 size:4 depth:2 qreg q0 q1 q-1 nocreg uses:cx cx q-1",
            12,
        ),
        (
            ProgramConstraint(qubits=3, coupling=((0, 1),)),
            "family:permutation width:3 size:4 depth:2 qreg q0 q1 q-1 nocreg uses:ccx",
            10,
        ),
        (ProgramConstraint(qubits=2, coupling=()), f"{TWO} size:4 depth:2 qreg q0 q-1 nocreg uses:cx", 9),
        (
            ProgramConstraint(qubits=3, coupling=((0, 1),), gate_set=("h", "cx", "ccz", "cp")),
            "family:permutation width:3 size:4 depth:2 qreg q0 q1 q-1 nocreg uses:cp",
            10,  # no gate on one qubit comes after it, and q2 has no neighbour
        ),
        (
            ProgramConstraint(qubits=3, coupling=((0, 1),), gate_set=("h", "cx")),
            "family:permutation width:3 size:4 depth:2 qreg q0 q1 q-1 nocreg uses:cx cx",
            11,  # q2 has no neighbour
        ),
        (ProgramConstraint(dynamic=True), f"{ONE} size:4 depth:1 {H1} when:0", 9),  # on what
        (ProgramConstraint(dynamic=True), f"{ONE} size:4 depth:1 qreg q0 creg c0 uses:h when:0 c1", 11),
        (ProgramConstraint(dynamic=True), f"{ONE} size:4 depth:1 qreg q0 creg c0 uses:h when:0 c0 measure", 12),
        (ProgramConstraint(dynamic=True), f"{ONE} size:4 depth:1 qreg q0 creg c0 uses:h when:0 c0 barrier", 12),
        (ProgramConstraint(dynamic=True), f"{ONE} size:4 depth:1 qreg q0 creg c0 uses:h when:0 c0 when:0", 12),
        (
            ProgramConstraint(dynamic=True),
            f"{ONE} size:11 depth:1 qreg q0 creg c0 uses:h{' when:0 c0 h q0' * 8} when:0",
            42,  # the room is told
        ),
        (
            ProgramConstraint(dynamic=True, max_statements=8),
            f"{ONE} size:8 depth:1 qreg q0 creg c0 uses:h{' h q0' * 8} room:0 when:0",
            27,  # eight are the most
        ),
    ],
)
def test_a_constraint_forbids_what_it_says(constraint: ProgramConstraint, text: str, position: int):
    assert illegal_positions(GRAMMAR, [constraint], [words(text)]) == [position]


@pytest.mark.parametrize(
    ("constraint", "text"),
    [
        (ProgramConstraint(), f"{TWO} size:64 depth:2 {Q2} h q0 h q-1 <end>"),  # before the declared size
        (ProgramConstraint(), f"{TWO} size:2 depth:2 {SEVEN} <end>"),  # and after it
        (ProgramConstraint(), f"{TWO} size:2 depth:2 {Q2} barrier h q0 h q0 h q-1 <end>"),
        (ProgramConstraint(), f"{TWO} size:8 depth:2 {SEVEN} h q0 room:0 h q0 <end>"),
        (
            ProgramConstraint(max_statements=9, min_statements=9),
            f"{TWO} size:11 depth:2 {SEVEN} h q0 room:8 h q0 <end>",
        ),
        (ProgramConstraint(max_statements=7, min_statements=3), f"{TWO} size:3 depth:2 {SEVEN} <end>"),
        (ProgramConstraint(), f"family:ghz width:2 size:90 depth:64 {Q2} cx q0 q-1 <end>"),  # depth is declared alike
        (ProgramConstraint(depth=(2, 64)), f"family:ghz width:2 size:90 depth:64 {Q2} h q0 h q-1 <end>"),
        (ProgramConstraint(depth=(8, 20)), f"family:ghz width:2 size:8 depth:8 {SEVEN} <end>"),  # 7 is the bucket's
        (ProgramConstraint(dynamic=True), f"{ONE} size:1 depth:1 qreg q0 creg c0 uses:h{' when:0 c0 h q0' * 3} <end>"),
    ],
)
def test_a_body_ends_where_it_will_within_the_constraint(constraint: ProgramConstraint, text: str):
    assert illegal_positions(GRAMMAR, [constraint], [words(text)]) == [None]
    check(words(text), constraint)


def test_a_family_is_one_that_can_have_what_is_asked_for():
    def families(constraint: ProgramConstraint) -> set[str]:
        legal = GRAMMAR.mask(GRAMMAR.start(constraint), 1)[0].nonzero()[:, 0].tolist()
        return {VOCABULARY.tokens[token].removeprefix("family:") for token in legal}

    assert families(ProgramConstraint(dynamic=True)) == set(FAMILIES)
    assert "ghz_dynamic" not in families(ProgramConstraint())
    assert families(ProgramConstraint("ghz_dynamic")) == {"ghz_dynamic"}
    assert not {"ghz", "w_state", "vqe_brickwork"} & families(ProgramConstraint(gate_set=("x", "cx")))
    assert families(ProgramConstraint(gate_set=("id",))) == {"permutation"}


@pytest.mark.parametrize(
    ("least", "most"),
    [(1, 1), (1, 2), (2, 2), (5, 5), (1, 8), (7, 8), (8, 8), (8, 9), (9, 16), (12, 20), (16, 17), (17, 23), (1, 26)],
)
def test_a_body_ends_within_the_constraint_whatever_size_it_declares_and_tells_the_room(least: int, most: int):
    constraint = ProgramConstraint("permutation", 1, most, least, gate_set=("x",))
    sizes = {BOUNDS[bucket(number)] for number in range(least, most + 1)}
    assert legal_names(after(constraint, words(ONE)[1:])) == {f"size:{bound}" for bound in sizes}
    for bound in sizes:
        state = after(constraint, words(f"{ONE} size:{bound} depth:1 qreg q0 nocreg uses:x")[1:])
        for done in range(most + 1):
            if done and done % 8 == 0:
                room = VOCABULARY.tokens[room_after(done, min(bound, most))[0]]
                assert legal_names(state) == {room}
                take(state, room)
            ends = {"<end>"} if done >= least else set()
            goes_on = {"x"} if done < most else set()
            waits = {"barrier"} if done < most and (done or most > 1) else set()
            assert legal_names(state) == ends | goes_on | waits
            if goes_on:
                take(state, "x", "q0")


@pytest.mark.parametrize("number", range(len(BOUNDED) + len(CONSTRAINTS) + len(DEPTHS)))
def test_a_size_and_a_depth_are_legal_where_some_number_of_statements_in_the_size_can_have_the_depth(number: int):
    constraint = (*BOUNDED, *CONSTRAINTS, *DEPTHS)[number]
    begun, most, depths = constraint.prefix_program, constraint.max_statements, constraint.depth_buckets
    for width in [constraint.width] if constraint.width else [width for width in (3, 5, 8) if width <= most]:
        fewest = max(constraint.min_statements, width)
        if begun is not None:
            fewest = max(constraint.min_statements, len(begun.operations) + len(begun.idle_qubits))
        deep_enough = [depth for depth in depths if begun is None or begun.depth <= BOUNDS[depth]]
        counts = range(max(fewest, least_of(depths[0])), most + 1)
        head = words(f"family:{constraint.family or 'permutation'} width:{width}")[1:]
        sizes = {bucket(count) for count in counts}
        assert legal_names(after(constraint, head)) == {f"size:{BOUNDS[size]}" for size in sizes}
        for size in sizes:
            longest = max(count for count in counts if bucket(count) == size)
            possible = {f"depth:{BOUNDS[depth]}" for depth in deep_enough if least_of(depth) <= longest}
            assert possible, "a size is not declared in vain"
            assert legal_names(after(constraint, [*head, SIZE_START + size])) == possible


@pytest.mark.parametrize("most", [1, 5, 8, 9, 24, 1023])
def test_a_declared_size_bounds_the_depth_that_may_be_declared(most: int):
    for size in range(bucket(most) + 1):
        state = after(ProgramConstraint(max_statements=most), words(f"{ONE} size:{BOUNDS[size]}")[1:])
        assert legal_names(state) == {f"depth:{bound}" for bound in BOUNDS[: size + 1]}


@pytest.mark.parametrize(
    ("depth", "most", "heads"),
    [
        ((0, 1), 3, {1: {1}, 2: {1}, 3: {1}}),
        ((2, 2), 4, {2: {2}, 3: {2}, 4: {2}}),
        ((4, 5), 10, {4: {4}, 6: {4, 6}, 8: {4, 6}, 11: {4, 6}}),
        ((5, 5), 8, {6: {6}, 8: {6}}),
        ((6, 6), 5, {6: {6}}),  # five is in the bucket
        ((7, 20), 20, {8: {8}, 11: {8, 11}, 16: {8, 11, 16}, 23: {8, 11, 16, 23}}),
        ((10, 20), 9, {11: {11}}),
        ((10, 1024), 16, {11: {11}, 16: {11, 16}}),
        ((600, 800), 1023, {724: {724}, 1024: {724, 1024}}),
    ],
)
def test_a_depth_asked_for_leaves_the_sizes_that_can_have_it(
    depth: tuple[int, int], most: int, heads: dict[int, set[int]]
):
    constraint = ProgramConstraint(max_statements=most, depth=depth)
    head = words(ONE)[1:]
    assert legal_names(after(constraint, head)) == {f"size:{size}" for size in heads}
    for size, depths in heads.items():
        legal = legal_names(after(constraint, [*head, VOCABULARY.index[f"size:{size}"]]))
        assert legal == {f"depth:{bound}" for bound in depths}


@pytest.mark.parametrize(
    "constraint",
    [
        *(replace(constraint, family="permutation") for constraint in (*BOUNDED, *CONSTRAINTS, *DEPTHS)),
        ProgramConstraint("ghz", 4, 16, 13, (5, 6)),
        ProgramConstraint("ghz", 4, 16, 13, (5, 9)),
        ProgramConstraint("ghz", 4, 16, 13, (5, 6), prefix=PREFIX),
        ProgramConstraint("ghz", 4, 45, 33, (33, 45)),
    ],
)
def test_a_prompt_is_what_the_grammar_leaves_no_choice_in(constraint: ProgramConstraint):
    prompt = LANGUAGE.prompt(constraint)[1:]
    for place, token in enumerate(prompt):
        assert legal_names(after(constraint, prompt[:place])) == {VOCABULARY.tokens[token]}


@pytest.mark.parametrize("last", [Operation("x", (3,)), Operation("barrier", (0, 3))])
def test_the_room_stands_after_a_prefix_that_ends_where_it_is_due(last: Operation):
    begun = replace(COUNTED, operations=(*COUNTED.operations[:6], Operation("x", (3,)), last))
    for least, most, size in ((1, 8, "size:8"), (1, 9, "size:8"), (1, 9, "size:11"), (9, 9, "size:11")):
        constraint = ProgramConstraint(prefix=LANGUAGE.prefix(begun), max_statements=most, min_statements=least)
        head = words(f"family:permutation width:4 {size} depth:{BOUNDS[bucket(begun.depth)]}")[1:]
        uses = VOCABULARY.ids([f"uses:{gate}" for gate in begun.gates_used])
        state = after(constraint, [*head, *constraint.prefix_registers, *uses, *constraint.prefix_statements])
        room = "room:8" if most > 8 and size == "size:11" else "room:0"
        assert legal_names(state) == {room}
        take(state, room)
        assert ("<end>" in legal_names(state)) == (least <= 8)
        assert (legal_names(state) == {"<end>"}) == (most == 8)
        assert ({"h", "barrier", "barrier_on", "measure"} <= legal_names(state)) == (most > 8)


@pytest.mark.parametrize("most", [40, 45, 100])
def test_barriers_list_eight_qubits_for_each_statement_there_may_be_and_no_more(most: int):
    constraint, budget = ProgramConstraint(max_statements=most), 8 * most
    names = [VOCABULARY.tokens[qubit_token(qubit, 20)] for qubit in range(20)]
    wide = "family:random width:20 size:45 depth:2 qreg " + " ".join(names)

    def barriers(listed: int) -> list[int]:
        """Barriers over so many qubits in all, at most 19 each."""
        counts = [min(19, listed - done) for done in range(0, listed, 19)]
        return VOCABULARY.ids([name for count in counts for name in ("barrier_on", *names[:count])])

    head, next_one = words(wide + " nocreg uses:h"), budget % 19
    for listed, more, is_legal in (
        (budget - 1, names[next_one - 1], True),
        (budget, names[next_one], False),
        (budget, "h", True),
        (budget, "barrier_on", False),
    ):
        ids = [*head, *with_room(barriers(listed), min(45, most)), VOCABULARY.index[more]]
        assert illegal_positions(GRAMMAR, [constraint], [ids]) == [None if is_legal else len(ids) - 1]


def test_a_pair_is_coupled_in_both_directions():
    constraint = ProgramConstraint(qubits=2, coupling=((0, 1),))
    ids = words("family:bell width:2 size:2 depth:2 qreg q0 q-1 nocreg uses:cx cx q-1 q0 cx q0 q-1 <end>")
    assert illegal_positions(GRAMMAR, [constraint], [ids]) == [None]


def test_a_prefix_is_kept_as_written():
    constraint = ProgramConstraint(prefix=PREFIX, max_statements=20, dynamic=True)
    drawn = [check(sentence, constraint)[0] for sentence in walk(GRAMMAR, [constraint] * 60, 3)]
    assert len({len(program.operations) for program in drawn}) > 5
    assert {program.clbit_registers[:2] for program in drawn} == {(1, 2)}, "the last register is not made longer"
    assert any(len(program.clbit_registers) > 2 for program in drawn), "further ones may follow"
    assert any(program.gates_used > BEGUN.gates_used for program in drawn)


def test_a_prefix_may_be_all_there_is():
    whole = QuantumProgram(3, 1, (Operation("ccx", (0, 1, 2)), Operation("measure", (0,), (), 0)))
    constraint = ProgramConstraint(prefix=LANGUAGE.prefix(whole), max_statements=2)
    assert {check(sentence, constraint)[0].operations for sentence in walk(GRAMMAR, [constraint] * 8, 0)} == {
        whole.operations
    }


def test_tokens_of_the_prefix_are_given_and_no_others():
    constraint = ProgramConstraint("ghz", 4, 16, 16, (5, 6), prefix=LANGUAGE.prefix(COUNTED))
    head = [*LANGUAGE.prompt(constraint)[1 : -len(constraint.prefix_registers)], *constraint.prefix_registers]
    uses = VOCABULARY.ids(["uses:h", "uses:x", "uses:cu"])
    body = with_room(constraint.prefix_statements, 16)
    state, flags, is_only = started(GRAMMAR, [constraint]), [], []
    for token in (*head, *sorted(uses), *body):
        mask = GRAMMAR.mask(state, 1)[0]  # type: ignore[arg-type]  # the state is this grammar's
        assert mask[token]
        is_only.append(int(mask.sum()) == 1)
        flags.append(bool(GRAMMAR.given(state, 1)))  # type: ignore[arg-type]
        GRAMMAR.advance(state, torch.tensor([token]))  # type: ignore[arg-type]
    begin = len(head) + len(uses)
    assert flags[:begin] == [False] * 4 + [True] * len(constraint.prefix_registers) + [False] * 3
    assert all(is_only[4 : len(head)])
    # the first statement is sampled with what else may follow the declarations, and is the only one that may begin
    assert flags[begin:] == [False] + [not ROOM_START <= token < WHEN_START for token in body[1:]]
    assert all(is_only[begin + 1 :])
    count = body.index(VOCABULARY.index["room:8"])
    assert VOCABULARY.tokens[body[count - 3]] == "barrier_on"


def test_gates_of_the_prefix_must_be_declared():
    constraint = ProgramConstraint("ghz", 4, 16, 16, (5, 6), prefix=PREFIX)
    state = started(GRAMMAR, [constraint])
    for token in LANGUAGE.prompt(constraint)[1:]:
        GRAMMAR.advance(state, torch.tensor([token]))  # type: ignore[arg-type]  # the state is this grammar's
    legal = GRAMMAR.mask(state, 1)[0].nonzero()[:, 0].tolist()  # type: ignore[arg-type]
    names = [VOCABULARY.tokens[token] for token in legal]
    assert "creg" in names
    assert names[-1] == "uses:x", "no gate after the first that the prefix uses, and no body yet"


def test_finished_rows_may_only_pad():
    state = GRAMMAR.allocate(2)
    assert GRAMMAR.mask(state, 2).nonzero().tolist() == [[0, PAD], [1, PAD]]
    GRAMMAR.advance(state, torch.tensor([PAD, len(VOCABULARY) - 1]))
    assert GRAMMAR.mask(state, 2).nonzero().tolist() == [[0, PAD], [1, PAD]]
    assert not GRAMMAR.given(state, 2).any()
