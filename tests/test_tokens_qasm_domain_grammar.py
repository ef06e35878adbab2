"""What the grammar of the quantum domain language guarantees, whoever draws the tokens."""

from __future__ import annotations

from collections import Counter

import pytest
import qiskit.qasm2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import InvalidInput, InvalidRequest
from app.quantum.family_names import FAMILIES
from app.quantum.gates import GATES
from app.quantum.program import QuantumProgram
from app.quantum.qasm import write_qasm2
from app.tokens.qasm_domain import MAX_QUBITS, SIZES, VOCABULARY, ProgramConstraint, QasmDomain
from tests.random_walks import illegal_positions, walk
from tests.tiny_models import CPU

LANGUAGE = QasmDomain()
GRAMMAR = LANGUAGE.grammar(CPU)

LINE = tuple((qubit, qubit + 1) for qubit in range(4))

#: One hundred rows of each make a batch of the big walk.
CONSTRAINTS = (
    ProgramConstraint(max_statements=8),
    ProgramConstraint(family="ghz", qubits=7, max_statements=11),
    ProgramConstraint(qubits=5, max_statements=10, gate_set=("rz", "sx", "x", "cx"), coupling=LINE),
    ProgramConstraint(qubits=6, max_statements=6, gate_set=("cx",), coupling=((0, 1), (1, 2), (2, 0), (3, 4), (4, 5))),
    ProgramConstraint(max_statements=7, gate_set=("ccx", "cp", "h")),
)

#: As many rows of each once: programs of up to 24 statements.
LONGER = (
    ProgramConstraint(max_statements=24),
    ProgramConstraint(qubits=24, max_statements=24, gate_set=("u3", "swap")),
)


def check(program: QuantumProgram, family: str, constraint: ProgramConstraint) -> None:
    """Everything that a completed sentence promises."""
    assert not program.idle_qubits
    assert len(program.operations) <= constraint.max_statements
    assert constraint.family in (None, family)
    assert constraint.qubits in (None, program.qubit_count)
    gates = {op.name for op in program.operations if op.name in GATES}
    if constraint.gate_set is not None:
        assert gates <= set(constraint.gate_set)
        assert {op.name for op in program.operations} - gates <= {"measure", "barrier"}
    if constraint.coupling is not None:
        pairs = {frozenset(op.qubits) for op in program.operations if op.name in GATES and len(op.qubits) > 1}
        assert pairs <= {frozenset(pair) for pair in constraint.coupling}


def test_ten_thousand_sentences_of_nobody_are_programs_with_every_qubit_in_use():
    families, names, widths, texts = Counter[str](), Counter[str](), Counter[int](), list[str]()
    for seed in range(20):
        shapes = LONGER if seed == 0 else CONSTRAINTS
        constraints = [constraint for constraint in shapes for _ in range(500 // len(shapes))]
        for number, sentence in enumerate(walk(GRAMMAR, constraints, seed)):
            program, family = LANGUAGE.decode(sentence)
            check(program, family, constraints[number])
            families[family] += 1
            names.update({op.name for op in program.operations})
            widths[program.qubit_count] += 1
            if number % 50 == 0:
                texts.append(write_qasm2(program))
    assert sum(families.values()) == 10_000
    assert set(families) == set(FAMILIES), "the walk went everywhere"
    assert set(names) == {*GATES, "measure", "reset", "barrier"}
    assert set(range(1, 25)) == set(widths)
    assert len(texts) == 200
    for text in texts:
        assert_loads(text)


def assert_loads(text: str) -> None:
    """Qiskit reads the text bare, and by the letter of the specification."""
    for strict in (False, True):
        assert qiskit.qasm2.loads(text, strict=strict).num_qubits > 0


@pytest.mark.slow
def test_sentences_of_the_largest_width_and_size_end_as_well():
    constraint = ProgramConstraint(qubits=MAX_QUBITS, max_statements=SIZES[-1])
    for sentence in walk(GRAMMAR, [constraint] * 8, 0, biased_by=1.0):
        check(*LANGUAGE.decode(sentence), constraint)


@st.composite
def any_fields(draw: st.DrawFn) -> dict[str, object]:
    """Fields of a constraint, contradictory or not."""
    qubits = draw(st.none() | st.integers(1, 9))
    pair = st.tuples(st.integers(0, (qubits or 4) - 1), st.integers(0, (qubits or 4) - 1))
    return {
        "family": draw(st.none() | st.sampled_from(FAMILIES)),
        "qubits": qubits,
        "max_statements": draw(st.integers(1, 14)),
        "gate_set": draw(st.none() | st.lists(st.sampled_from(sorted(GATES)), min_size=1, max_size=3).map(tuple)),
        "coupling": draw(st.none() | st.lists(pair, max_size=10).map(tuple)),
    }


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fields=any_fields(), seed=st.integers(0, 2**31))
def test_a_request_is_either_refused_with_its_field_or_met_by_every_walk(fields: dict[str, object], seed: int):
    constraint = constraint_or_refusal(fields)
    if isinstance(constraint, InvalidInput):
        assert str(constraint.pointer).startswith(("/qubits", "/max_gates", "/gate_set", "/coupling_map"))
        return
    for sentence in walk(GRAMMAR, [constraint] * 10, seed):
        check(*LANGUAGE.decode(sentence), constraint)


def constraint_or_refusal(fields: dict[str, object]) -> ProgramConstraint | InvalidInput:
    try:
        constraint = ProgramConstraint(**fields)  # type: ignore[arg-type]  # drawn field by field
        GRAMMAR.start(constraint)
    except InvalidInput as refused:
        return refused
    return constraint


def test_gates_on_three_qubits_alone_cannot_follow_a_coupling_map():
    with pytest.raises(InvalidRequest) as caught:
        GRAMMAR.start(ProgramConstraint(qubits=2, gate_set=("ccx",), coupling=((0, 1),)))
    assert str(caught.value) == "no gate is left under this gate set and coupling map"
    assert caught.value.pointer == "/gate_set"


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("family:ghz width:5 size:4", 3),  # four statements cannot be promised to reach five qubits
        ("family:ghz width:2 size:4 <end>", 4),  # nothing has happened
        ("family:ghz width:2 size:4 h q2", 5),  # outside the width
        ("family:ghz width:2 size:4 cx q0 q0", 6),  # one qubit twice
        ("family:ghz width:2 size:4 ccx", 4),  # three qubits, there are two
        ("family:ghz width:2 size:4 h q0 <end>", 6),  # q1 is idle
        ("family:ghz width:2 size:6 h q0 h q1 <end>", 8),  # size:6 holds five or six statements
        ("family:ghz width:1 size:4 h q0 h q0 h q0 h q0 h", 12),  # size:4 holds four
        ("family:ghz width:4 size:4 barrier", 4),  # every statement is needed for a qubit
        ("family:ghz width:4 size:4 h q0 h q0", 7),  # the second h must be elsewhere
        ("family:ghz width:2 size:4 measure q0 c2", 6),  # c0 and c1 come first
        ("family:ghz width:1 size:4 rx q0 bin3 pi*1/2", 7),  # the fine bin is due
    ],
)
def test_what_could_not_end_well_is_forbidden_where_it_begins(text: str, position: int):
    ids = VOCABULARY.ids(["<begin>", *text.split()])
    assert illegal_positions(GRAMMAR, [ProgramConstraint()], [ids]) == [position]


@pytest.mark.parametrize(
    ("constraint", "text", "position"),
    [
        (ProgramConstraint(gate_set=("h",)), "family:ghz width:1 size:4 x", 4),
        (ProgramConstraint(gate_set=("h",)), "family:ghz width:1 size:4 reset", 4),
        (ProgramConstraint(family="qft"), "family:ghz", 1),
        (ProgramConstraint(qubits=3), "family:ghz width:2", 2),
        (ProgramConstraint(max_statements=4), "family:ghz width:2 size:6", 3),
        (ProgramConstraint(max_statements=2), "family:ghz width:2 size:4 h q0 h q0", 7),
        (ProgramConstraint(qubits=3, coupling=((0, 1), (1, 2))), "family:ghz width:3 size:4 cx q0 q2", 6),
        (ProgramConstraint(qubits=3, coupling=((0, 1),)), "family:ghz width:3 size:4 cx q2", 5),
        (ProgramConstraint(qubits=3, coupling=((0, 1),)), "family:ghz width:3 size:4 ccx", 4),
        (ProgramConstraint(qubits=2, coupling=()), "family:ghz width:2 size:4 cx", 4),
    ],
)
def test_a_constraint_forbids_what_it_says(constraint: ProgramConstraint, text: str, position: int):
    ids = VOCABULARY.ids(["<begin>", *text.split()])
    assert illegal_positions(GRAMMAR, [constraint], [ids]) == [position]


def test_a_pair_is_coupled_in_both_directions():
    constraint = ProgramConstraint(qubits=2, coupling=((0, 1),))
    ids = VOCABULARY.ids(["<begin>", "family:bell", "width:2", "size:4", "cx", "q1", "q0", "cx", "q0", "q1", "<end>"])
    assert illegal_positions(GRAMMAR, [constraint], [ids]) == [None]
