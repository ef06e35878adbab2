"""What the grammar of the quantum domain language guarantees, whoever draws the tokens."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

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
from app.tokens.qasm_domain import (
    DEPTH_START,
    DEPTHS,
    LEFT_START,
    MAX_QUBITS,
    MAX_STATEMENTS,
    OPERATIONS,
    USES_START,
    VOCABULARY,
    ProgramConstraint,
    QasmDomain,
    with_countdown,
)
from tests.quantum_programs import programs
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
WITH_CONDITIONS = ProgramConstraint(max_statements=9, dynamic=True)

#: As many rows of each once: programs of up to 24 statements.
LONGER = (
    ProgramConstraint(max_statements=24),
    ProgramConstraint(qubits=24, max_statements=24, gate_set=("u3", "swap")),
)


def words(text: str) -> list[int]:
    """``<begin>`` and the ids of token names."""
    return VOCABULARY.ids(["<begin>", *text.split()])


def check(sentence: Sequence[int], constraint: ProgramConstraint) -> tuple[QuantumProgram, str]:
    """Everything that a completed sentence promises; the program and its family."""
    program, family = LANGUAGE.decode(sentence)
    assert not program.idle_qubits
    assert constraint.min_statements <= len(program.operations) <= constraint.max_statements
    assert constraint.family in (None, family)
    assert constraint.qubits in (None, program.qubit_count)
    assert constraint.dynamic or not program.is_dynamic
    declared = sentence[3] - DEPTH_START
    assert declared in constraint.depth_buckets
    assert declared == 0 or DEPTHS[declared - 1] < len(program.operations), "some program has that depth and size"
    uses = {OPERATIONS[token - USES_START] for token in sentence if USES_START <= token < LEFT_START}
    assert uses
    gates = set(program.gates_used)
    if constraint.gate_set is not None:
        assert uses <= set(constraint.gate_set)
        assert {op.name for op in program.operations} - gates <= {"measure", "barrier"}
    if constraint.coupling is not None:
        pairs = {frozenset(op.qubits) for op in program.operations if op.name in GATES and len(op.qubits) > 1}
        assert pairs <= {frozenset(pair) for pair in constraint.coupling}
    begun = constraint.prefix_program
    if begun is not None:
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
    begun = draw(st.none() | programs(most=6))
    return {
        "family": draw(st.none() | st.sampled_from(FAMILIES)),
        "qubits": draw(st.none() | st.just(begun.qubit_count)) if begun else qubits,
        "max_statements": draw(st.integers(1, 17)),
        "min_statements": draw(st.integers(1, 5)),
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


TWO = "family:permutation width:2 depth:2 size32:0"
ONE = "family:permutation width:1 depth:1 size32:0"
Q2 = "qreg q0 q1 uses:cx uses:h"


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("family:ghz width:5 depth:2 size32:0 size1:4", 5),  # four statements cannot be promised to reach five qubits
        ("family:ghz width:2 depth:64 size32:1 size1:13", 5),  # a depth above 45 takes 46 statements
        (f"{TWO} size1:3 uses:h", 6),  # registers first
        (f"{TWO} size1:3 qreg q1", 7),  # q0 comes first
        (f"{TWO} size1:3 qreg qreg", 7),  # a register holds something
        (f"{TWO} size1:3 qreg q0 uses:h", 8),  # q1 must be declared
        (f"{TWO} size1:3 qreg q0 qreg q1 q2", 10),  # two qubits are all
        (f"{TWO} size1:3 qreg q0 creg", 8),  # classical bits come after the qubits
        (f"{TWO} size1:3 qreg q0 q1 creg c0 qreg", 11),
        (f"{TWO} size1:3 qreg q0 q1 creg c1", 10),
        (f"{TWO} size1:3 qreg q0 q1 h", 9),  # a gate must be declared
        (f"{TWO} size1:3 qreg q0 q1 uses:h uses:cx", 10),  # in order
        (f"{TWO} size1:3 qreg q0 q1 uses:h uses:h", 10),
        (f"{TWO} size1:3 {Q2} x", 11),  # not declared
        (f"{TWO} size1:3 {Q2} measure", 11),  # there is no classical bit
        (f"{TWO} size1:3 {Q2} <end>", 11),  # nothing has happened
        (f"{TWO} size1:3 {Q2} left:8", 11),  # three are left
        (f"{TWO} size1:9 {Q2} left:8", 11),  # nine are
        (f"{TWO} size1:8 {Q2} h", 11),  # eight: this is said
        (f"{TWO} size1:9 {Q2} h q0 left:8 left:8", 14),  # once
        (f"{TWO} size1:9 {Q2} h q0 h", 13),
        (f"{TWO} size1:3 {Q2} h q2", 12),  # outside the width
        (f"{TWO} size1:3 {Q2} cx q0 q0", 13),  # one qubit twice
        (f"{TWO} size1:2 {Q2} h q0 h q0", 14),  # the second h must be elsewhere
        (f"{TWO} size1:3 {Q2} h q0 h q1 <end>", 15),  # one is still to come
        (f"{TWO} size1:2 {Q2} h q0 h q1 h", 15),  # two are enough
        (f"{TWO} size1:2 {Q2} barrier", 11),  # every statement is needed for a qubit
        (f"{TWO} size1:2 {Q2} barrier_on", 11),
        (f"{TWO} size1:3 {Q2} barrier_on h", 12),  # of what
        (f"{TWO} size1:3 {Q2} barrier_on q0 q1", 13),  # these are all
        (f"{TWO} size1:3 {Q2} barrier_on q1 q0", 13),
        (f"{TWO} size1:9 {Q2} barrier_on q1 h", 13),  # left:8 is due
        (f"{TWO} size1:3 {Q2} when:0", 11),  # conditions are not asked for
        ("family:ghz width:2 depth:2 size32:0 size1:3 qreg q0 q1 uses:ccx", 9),  # three qubits, there are two
        ("family:permutation width:3 depth:2 size32:0 size1:4 qreg q0 q1 q2 uses:ccx ccx q0 q1 q0", 14),
        (f"{ONE} size1:1 qreg q0 uses:rx rx q0 bin3 pi*1/2", 12),  # the fine bin is due
        (f"{ONE} size1:2 qreg q0 uses:x barrier_on", 9),  # some but not all of one
        (f"{ONE} size1:1 qreg q0 creg c0 uses:x measure q0 c1", 13),  # not declared
        (f"{ONE} size1:2 qreg q0 q1", 8),
    ],
)
def test_what_could_not_end_well_is_forbidden_where_it_begins(text: str, position: int):
    assert illegal_positions(GRAMMAR, [ProgramConstraint()], [words(text)]) == [position]


H1 = "qreg q0 uses:h"


@pytest.mark.parametrize(
    ("constraint", "text", "position"),
    [
        (ProgramConstraint(gate_set=("h",)), f"{ONE} size1:4 qreg q0 uses:x", 8),
        (ProgramConstraint(gate_set=("h",)), f"{ONE} size1:4 {H1} reset", 9),
        (ProgramConstraint(family="qft"), "family:ghz", 1),
        (ProgramConstraint(qubits=3), "family:ghz width:2", 2),
        (ProgramConstraint(max_statements=3), "family:ghz width:4", 2),
        (ProgramConstraint(depth=(3, 5)), "family:ghz width:2 depth:2", 3),
        (ProgramConstraint(depth=(3, 5)), "family:ghz width:2 depth:8", 3),
        (ProgramConstraint(max_statements=31), f"{ONE[:-1]}1", 4),
        (ProgramConstraint(max_statements=4), f"{ONE} size1:5", 5),
        (ProgramConstraint(min_statements=4), f"{ONE} size1:3", 5),
        (ProgramConstraint(min_statements=33), ONE, 4),
        (
            ProgramConstraint(qubits=3, coupling=((0, 1), (1, 2))),
            "family:permutation width:3 depth:2 size32:0 size1:4 qreg q0 q1 q2 uses:cx cx q0 q2",
            13,
        ),
        (
            ProgramConstraint(qubits=3, coupling=((0, 1),)),
            "family:permutation width:3 depth:2 size32:0 size1:4 qreg q0 q1 q2 uses:cx cx q2",
            12,
        ),
        (
            ProgramConstraint(qubits=3, coupling=((0, 1),)),
            "family:permutation width:3 depth:2 size32:0 size1:4 qreg q0 q1 q2 uses:ccx",
            10,
        ),
        (ProgramConstraint(qubits=2, coupling=()), f"{TWO} size1:4 qreg q0 q1 uses:cx", 9),
        (
            ProgramConstraint(qubits=3, coupling=((0, 1),), gate_set=("h", "cx", "ccz", "cp")),
            "family:permutation width:3 depth:2 size32:0 size1:4 qreg q0 q1 q2 uses:cp",
            10,  # no gate on one qubit comes after it, and q2 has no neighbour
        ),
        (
            ProgramConstraint(qubits=3, coupling=((0, 1),), gate_set=("h", "cx")),
            "family:permutation width:3 depth:2 size32:0 size1:4 qreg q0 q1 q2 uses:cx cx",
            11,  # q2 has no neighbour
        ),
        (ProgramConstraint(dynamic=True), f"{ONE} size1:4 {H1} when:0", 9),  # on what
        (ProgramConstraint(dynamic=True), f"{ONE} size1:4 qreg q0 creg c0 uses:h when:0 c1", 12),
        (ProgramConstraint(dynamic=True), f"{ONE} size1:4 qreg q0 creg c0 uses:h when:0 c0 measure", 13),
        (ProgramConstraint(dynamic=True), f"{ONE} size1:4 qreg q0 creg c0 uses:h when:0 c0 barrier", 13),
        (ProgramConstraint(dynamic=True), f"{ONE} size1:4 qreg q0 creg c0 uses:h when:0 c0 when:0", 13),
        (ProgramConstraint(dynamic=True), f"{ONE} size1:9 qreg q0 creg c0 uses:h h q0 when:0", 13),  # left:8 is due
    ],
)
def test_a_constraint_forbids_what_it_says(constraint: ProgramConstraint, text: str, position: int):
    assert illegal_positions(GRAMMAR, [constraint], [words(text)]) == [position]


def test_a_family_is_one_that_can_have_what_is_asked_for():
    def families(constraint: ProgramConstraint) -> set[str]:
        legal = GRAMMAR.mask(GRAMMAR.start(constraint), 1)[0].nonzero()[:, 0].tolist()
        return {VOCABULARY.tokens[token].removeprefix("family:") for token in legal}

    assert families(ProgramConstraint(dynamic=True)) == set(FAMILIES)
    assert "ghz_dynamic" not in families(ProgramConstraint())
    assert families(ProgramConstraint("ghz_dynamic")) == {"ghz_dynamic"}
    assert not {"ghz", "w_state", "vqe_brickwork"} & families(ProgramConstraint(gate_set=("x", "cx")))
    assert families(ProgramConstraint(gate_set=("id",))) == {"permutation"}


def test_barriers_list_eight_qubits_a_statement_and_no_more():
    wide = "family:random width:20 depth:2 size32:1 size1:8 qreg " + " ".join(f"q{number}" for number in range(20))

    def barriers(listed: int) -> list[int]:
        """Barriers over so many qubits in all, at most 19 each."""
        counts = [min(19, listed - done) for done in range(0, listed, 19)]
        return VOCABULARY.ids([name for count in counts for name in ("barrier_on", *(f"q{n}" for n in range(count)))])

    head = words(wide + " uses:h")
    for listed, more, is_legal in (
        (319, "q15", True),
        (320, "q16", False),
        (320, "h", True),
        (320, "barrier_on", False),
    ):
        ids = [*head, *with_countdown(40, barriers(listed)), VOCABULARY.index[more]]
        assert illegal_positions(GRAMMAR, [ProgramConstraint()], [ids]) == [None if is_legal else len(ids) - 1]


def test_a_pair_is_coupled_in_both_directions():
    constraint = ProgramConstraint(qubits=2, coupling=((0, 1),))
    ids = words("family:bell width:2 depth:2 size32:0 size1:2 qreg q0 q1 uses:cx cx q1 q0 cx q0 q1 <end>")
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
    constraint = ProgramConstraint("ghz", 4, 16, 16, (5, 6), prefix=PREFIX)
    head = [*LANGUAGE.prompt(constraint)[1 : -len(constraint.prefix_registers)], *constraint.prefix_registers]
    uses = VOCABULARY.ids(["uses:h", "uses:x", "uses:cu"])
    sentence = [*head, *sorted(uses), VOCABULARY.index["left:16"], *constraint.prefix_statements]
    state, flags = started(GRAMMAR, [constraint]), []
    for token in sentence:
        assert GRAMMAR.mask(state, 1)[0, token]  # type: ignore[arg-type]  # the state is this grammar's
        flags.append(bool(GRAMMAR.given(state, 1)))  # type: ignore[arg-type]
        GRAMMAR.advance(state, torch.tensor([token]))  # type: ignore[arg-type]
    registers, statements = len(constraint.prefix_registers), len(constraint.prefix_statements)
    assert flags[5:] == [True] * registers + [False] * 4 + [True] * statements
    assert not any(flags[:5])


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
