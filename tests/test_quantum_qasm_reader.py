"""The reader of OpenQASM: what it takes, what it refuses, and that nobody can keep it busy."""

from __future__ import annotations

import contextlib
import math
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qiskit import qasm2

from app.errors import LimitExceeded, QasmSyntaxError
from app.quantum.program import Operation, QuantumProgram
from app.quantum.qasm import QasmLimits, is_qasm3, parse_qasm2, read_qasm, read_qasm2, read_qasm3
from tests.hostile_programs import HOSTILE

HEAD = 'OPENQASM 2.0;\ninclude "qelib1.inc";\n'
HEAD_3 = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'


def operations_of(body: str) -> list[tuple[str, tuple[int, ...], tuple[float, ...], int | None]]:
    return [(op.name, op.qubits, op.angles, op.clbit) for op in parse_qasm2(HEAD + body).operations]


def sentence_of(text: str) -> str:
    with pytest.raises(QasmSyntaxError) as caught:
        read_qasm(text)
    return str(caught.value)


def test_bits_are_numbered_across_the_registers_in_order_of_declaration() -> None:
    program = parse_qasm2(HEAD + "qreg a[2]; creg m[1]; qreg b[3]; creg n[2]; cx a[1],b[0]; measure b[2] -> n[1];")
    operations = (Operation("cx", (1, 2)), Operation("measure", (4,), clbit=2))
    assert program == QuantumProgram(5, 3, operations, (2, 3), (1, 2))


def test_broadcast_statements_are_written_out() -> None:
    assert operations_of("qreg a[2]; qreg b[2]; creg c[2]; h a; cx a,b; cx a[0],b; measure a -> c; reset b;") == [
        ("h", (0,), (), None), ("h", (1,), (), None),
        ("cx", (0, 2), (), None), ("cx", (1, 3), (), None),
        ("cx", (0, 2), (), None), ("cx", (0, 3), (), None),
        ("measure", (0,), (), 0), ("measure", (1,), (), 1),
        ("reset", (2,), (), None), ("reset", (3,), (), None),
    ]  # fmt: skip


def test_built_in_gates_and_comments_are_read() -> None:
    assert operations_of("qreg q[2]; // two\nU(1,2.5,.5e1) q [ 0 ]; CX q[0], // both\n q[1];") == [
        ("u", (0,), (1.0, 2.5, 5.0), None),
        ("cx", (0, 1), (), None),
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-2^2", -4.0), ("2^3^2", 512.0), ("2^-1", 0.5), ("-pi/4*3", -math.pi / 4 * 3), ("2*-3", -6.0),
        ("(1+2)*3", 9.0), ("1-2-3", -4.0), ("8/4/2", 1.0), ("sin(pi/6)", math.sin(math.pi / 6)),
        ("ln(exp(2))", 2.0), ("sqrt(2)^2", math.sqrt(2) ** 2), ("+1", 1.0), ("--1", 1.0), ("cos(0)+tan(0)", 1.0),
    ],
)  # fmt: skip
def test_an_angle_has_the_value_that_qiskit_gives_it(text: str, value: float) -> None:
    body = f"qreg q[1]; rx({text}) q[0];"
    assert parse_qasm2(HEAD + body).operations[0].angles == (value,)
    assert qasm2.loads(HEAD + body).data[0].operation.params == [pytest.approx(value, rel=1e-15)]


_EXPRESSIONS = st.recursive(
    st.sampled_from(("1", "2.5", "pi", "0.5", "3")),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/^"), inner).map("".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"-{text}"),
        inner.map(lambda text: f"cos({text})"),
    ),
    max_leaves=8,
)


@given(_EXPRESSIONS)
def test_every_angle_expression_means_what_it_means_to_qiskit(text: str) -> None:
    program = HEAD + f"qreg q[1]; rx({text}) q[0];"
    try:
        ours: float | None = parse_qasm2(program).operations[0].angles[0]
    except QasmSyntaxError:
        ours = None
    try:
        theirs = float(qasm2.loads(program).data[0].operation.params[0])
    except qasm2.QASM2ParseError:
        theirs = math.nan
    assert (ours is None) == (not math.isfinite(theirs))
    assert ours is None or ours == pytest.approx(theirs, rel=1e-12, abs=1e-12)


def test_own_gates_are_expanded_with_their_angles() -> None:
    parsed = read_qasm2(
        HEAD + "gate inner(t) a { rz(t/2) a; } gate outer(s,t) a,b { cx b,a; inner(s+t) b; barrier a; U(0,0,t) a; }"
        "qreg q[2]; outer(1,pi) q[1],q[0];"
    )
    assert parsed.program.operations == (
        Operation("cx", (0, 1)),
        Operation("rz", (0,), ((1 + math.pi) / 2,)),
        Operation("u", (1,), (0.0, 0.0, math.pi)),
    )
    assert [note.code for note in parsed.notes] == ["gate_barrier_dropped", "gate_expanded"]
    assert parsed.notes[1].message.endswith("inner, outer")


def test_a_known_gate_defined_in_other_words_is_expanded_not_trusted() -> None:
    parsed = read_qasm2(HEAD + "gate swap a,b { cz a,b; } qreg q[2]; swap q[0],q[1];")
    assert parsed.program.operations == (Operation("cz", (0, 1)),)


def test_a_known_gate_defined_as_we_do_is_itself_whatever_its_formals_are_called() -> None:
    parsed = read_qasm2(HEAD + "gate crx(x) one,two { h two; crz(x) one,two; h two; } qreg q[2]; crx(1) q[0],q[1];")
    assert parsed.program.operations == (Operation("crx", (0, 1), (1.0,)),)
    assert parsed.notes == ()


def test_a_barrier_keeps_its_qubits_in_ascending_order() -> None:
    parsed = read_qasm2(
        HEAD + "qreg a[2]; qreg b[1]; barrier a,b; barrier a; barrier a[0],b[0],a[1]; barrier b[0],a[0];"
    )
    assert [op.qubits for op in parsed.program.operations] == [(), (0, 1), (), (0, 2)]
    assert parsed.notes == ()


def test_a_barrier_inside_a_gate_is_left_out_with_a_note() -> None:
    gate = "gate g a,b {\nbarrier a; cx a,b; barrier a,b; }\nqreg q[2]; g q[0],q[1];"
    parsed = read_qasm2(HEAD + gate)
    assert parsed.program.operations == (Operation("cx", (0, 1)),)
    note = parsed.notes[0]
    assert (note.code, note.where, note.line, note.column) == ("gate_barrier_dropped", "line 4", 4, 1)
    assert note.message == "2 barriers inside gates' definitions are left out, the first of them on this line"
    (single, _) = read_qasm2(HEAD + gate.replace("barrier a;", "")).notes
    assert single.message == "a barrier inside a gate's definition is left out"


def test_a_condition_on_a_register_of_one_bit_is_read_in_version_2() -> None:
    text = (
        "qreg q[2]; creg c[1]; creg d[1]; gate g a,b { cx a,b; z b; } if(d==1) g q[0],q[1]; if(c==0) reset q; x q[0];"
    )
    assert parse_qasm2(HEAD + text).operations == (
        Operation("cx", (0, 1), condition=(1, 1)),
        Operation("z", (1,), condition=(1, 1)),
        Operation("reset", (0,), condition=(0, 0)),
        Operation("reset", (1,), condition=(0, 0)),
        Operation("x", (0,)),
    )


@pytest.mark.parametrize(
    ("condition", "value"),
    [("c[1]", 1), ("!c[1]", 0), ("c[1] == true", 1), ("c[1]==false", 0), ("c[1] == 1", 1), ("d == 0", 0), ("!d", 0)],
)
def test_a_condition_on_one_bit_is_read_in_version_3(condition: str, value: int) -> None:
    text = f"qubit[2] q; bit[2] c; bit d; if ({condition}) {{ x q[0]; U(0,0,1.0) q[1]; }} else reset q[0]; y q[0];"
    clbit = 2 if "d" in condition else 1
    assert read_qasm3(HEAD_3 + text).program.operations == (
        Operation("x", (0,), condition=(clbit, value)),
        Operation("u", (1,), (0.0, 0.0, 1.0), condition=(clbit, value)),
        Operation("reset", (0,), condition=(clbit, 1 - value)),
        Operation("y", (0,)),
    )


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("h", "line 3, column 2: expected a qubit or a register, found the end of the program"),
        ("qreg q[2]; warp q[0];", "line 3, column 12: no gate named 'warp' is defined here"),
        ("qreg q[2];\ncx q[0] q[1];", "line 4, column 9: expected ';' after the gate's qubits, found 'q[1]'"),
        ("qreg q[2]; h q[2];", "line 3, column 14: q[2] is outside register 'q' of size 2"),
        ("qreg q[2]; h r[0];", "line 3, column 14: register 'r' is not declared"),
        ("creg c[2]; h c[0];", "line 3, column 14: register 'c' holds no qubits"),
        ("qreg q[2]; measure q -> q;", "line 3, column 25: register 'q' holds no classical bits"),
        ("qreg q[2]; cx q[0],q[0];", "line 3, column 12: 'cx' is applied to one qubit twice"),
        ("qreg q[2]; cx q[0];", "line 3, column 12: 'cx' has 1 qubits, needs 2"),
        ("qreg q[2]; rx q[0];", "line 3, column 12: 'rx' has 0 angles, needs 1"),
        ("qreg q[2]; qreg r[3]; cx q,r;", "line 3, column 23: 'cx' is applied to registers of different sizes [2, 3]"),
        ("qreg q[2]; creg c[1]; measure q -> c;",
         "line 3, column 23: measures 2 qubits into 1 classical bits; the sizes must agree"),
        ("qreg q[2]; creg c[1]; measure q[0] -> c;",
         "line 3, column 23: measures a register into one bit or one qubit into a register; both must be of one kind"),
        ("qreg q[0];", "line 3, column 6: register 'q' has no bits; a register needs at least one"),
        ("qreg q;", "line 3, column 6: expected a register name with its size after 'qreg', like q[5], found 'q'"),
        ("qreg pi[2];", "line 3, column 6: 'pi' is a keyword and cannot name a register"),
        ("qreg q[2]; creg q[2];", "line 3, column 17: 'q' is declared twice"),
        ("qreg h[2];", "line 3, column 6: 'h' is declared twice"),
        ("gate cx a,b { CX a,b; }", "line 3, column 6: 'cx' is declared twice"),
        ("gate g a { } gate g a { }", "line 3, column 19: 'g' is declared twice"),
        ("gate g a,a { }", "line 3, column 10: 'a' is declared twice"),
        ("gate g(a) a { }", "line 3, column 11: 'a' is declared twice"),
        ("gate Big a { }", "line 3, column 6: 'Big' cannot be a gate name: it must start with a lower-case letter and "
         "be no keyword"),
        ("gate g a[0] { }", "line 3, column 8: expected a qubit name without an index, found 'a[0]'"),
        ("gate g { }", "line 3, column 8: expected a qubit name, found '{'"),
        ("gate g a { g a; }", "line 3, column 12: no gate named 'g' is defined here"),
        ("gate g a { h b; }", "line 3, column 14: expected one of the gate's qubits, found 'b'"),
        ("gate g a,b { cx a,a; }", "line 3, column 14: 'cx' is applied to one qubit twice"),
        ("gate g a { ; }", "line 3, column 12: expected a gate in the gate's body, found ';'"),
        ("gate g a { h a;", "line 3, column 16: expected a gate in the gate's body, found the end of the program"),
        ("gate g a { rx(1/0) a; }", "line 3, column 12: an angle divides by zero"),
        ("gate g(t) a { rx(1/t) a; } qreg q[1]; g(0) q[0];",
         "line 3, column 39: an angle of 'rx' in gate 'g' divides by zero"),
        ("qreg q[1]; rx(1e400) q[0];", "line 3, column 14: an angle is not finite"),
        ("qreg q[1]; rx(ln(0)) q[0];", "line 3, column 14: an angle has no finite value (ln is undefined there)"),
        ("qreg q[1]; rx(exp(1000)) q[0];", "line 3, column 14: an angle has no finite value (exp is undefined there)"),
        ("qreg q[1]; rx((0-1)^0.5) q[0];", "line 3, column 14: an angle has no finite value (^ is undefined there)"),
        ("qreg q[1]; rx(x) q[0];",
         "line 3, column 15: expected a number, pi, a parameter or a function in an angle, found 'x'"),
        ("qreg q[1]; rx(1,) q[0];",
         "line 3, column 17: expected a number, pi, a parameter or a function in an angle, found ')'"),
        ("qreg q[1]; rx(sin 1) q[0];", "line 3, column 19: expected '(' after 'sin', found '1'"),
        ("qreg q[1]; rx((1 q[0];", "line 3, column 18: expected ')' after the expression, found 'q[0]'"),
        ("qreg q[1]; if(c==1) x q[0];", "line 3, column 15: register 'c' is not declared"),
        ("qreg q[1]; if c==1 x q[0];", "line 3, column 15: expected '(' after 'if', found 'c'"),
        ("qreg q[1]; creg c[1]; if(c=1) x q[0];",
         "line 3, column 27: expected '==' after the condition's register, found '='"),
        ("qreg q[1]; creg c[1]; if(c==2) x q[0];",
         "line 3, column 29: expected the value of one bit (0, 1), found '2'"),
        ("qreg q[1]; creg c[1]; if(c==1;", "line 3, column 30: expected ')' after the condition, found ';'"),
        ("qreg q[1]; creg c[2]; if(c==1) x q[0];",
         "line 3, column 26: the condition reads a register of 2 bits; a condition here reads one bit"),
        ("qreg q[1]; creg c[1]; if(c==1) measure q -> c;",
         "line 3, column 32: a condition may stand before a gate or a reset only, found 'measure'"),
        ("qreg q[1]; creg c[1]; if(c==1) if(c==1) x q;",
         "line 3, column 32: a condition may stand before a gate or a reset only, found 'if'"),
        ("opaque magic a;", "line 3, column 1: 'opaque' is not supported; a program here is a list of gates, "
         "measurements, resets and barriers, without modifiers, undefined gates or classical control but 'if' on one "
         "bit"),
        ('include "qelib1.inc";', 'line 3, column 1: "qelib1.inc" is included twice'),
        ('include "/etc/passwd";',
         "line 3, column 9: included files are not read; only \"qelib1.inc\" is known here, found '\"/etc/passwd\"'"),
        ("include qelib1;", "line 3, column 9: expected a file name in double quotes after 'include', found 'qelib1'"),
        ('include "qelib1.inc', "line 3, column 9: the string is not closed on its line"),
        ("qreg ü[2];", "line 3, column 6: the character 'ü' has no meaning in OpenQASM here"),
        (";", "line 3, column 1: expected a statement, found ';'"),
        ("q[0];", "line 3, column 1: expected a statement, found 'q[0]'"),
    ],
)  # fmt: skip
def test_a_text_outside_the_grammar_is_refused_with_its_place(body: str, sentence: str) -> None:
    assert sentence_of(HEAD + body) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1, column 1: a program starts with 'OPENQASM 2.0;', found the end of the program"),
        ("qreg q[1];", "line 1, column 1: a program starts with 'OPENQASM 2.0;', found 'qreg'"),
        ("OPENQASM 1.0;", "line 1, column 10: expected OpenQASM version 2.0, found '1.0'"),
        ("OPENQASM 2.0 qreg q[1];", "line 1, column 14: expected ';' after the version, found 'qreg'"),
        ("OPENQASM 2.0; qreg q[1]; h q[0];",
         "line 1, column 26: no gate named 'h' is defined here; add 'include \"qelib1.inc\";' at the top"),
        ('OPENQASM 2.0; gate h a { U(0,0,0) a; } include "qelib1.inc";',
         "line 1, column 40: \"qelib1.inc\" defines 'h', which the program declares before it"),
    ],
)  # fmt: skip
def test_a_wrong_beginning_is_refused(text: str, sentence: str) -> None:
    assert sentence_of(text) == sentence


def test_openqasm_3_is_read_where_it_says_the_same() -> None:
    text = HEAD_3 + (
        "qubit[2] q; qubit extra; bit[2] c; bit d;\ngate g(t) a { rz(t**2) a; }\n"
        "h q; CX q[0],extra; cphase(pi/2) q[0],q[1];\ng(2) extra; barrier;\n"
        "c[0] = measure q[0]; c = measure q; d = measure extra; measure q[1] -> c[1]; reset q[0];\n"
    )
    assert is_qasm3(text)
    assert read_qasm(text).program == QuantumProgram(
        3,
        3,
        (
            Operation("h", (0,)), Operation("h", (1,)),
            Operation("cx", (0, 2)), Operation("cp", (0, 1), (math.pi / 2,)),
            Operation("rz", (2,), (4.0,)), Operation("barrier"), Operation("measure", (0,), clbit=0),
            Operation("measure", (0,), clbit=0), Operation("measure", (1,), clbit=1),
            Operation("measure", (2,), clbit=2), Operation("measure", (1,), clbit=1), Operation("reset", (0,)),
        ),
        (2, 1),
        (2, 1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("qubit[2] q; rxx(1) q[0],q[1];", "line 3, column 13: no gate named 'rxx' is defined here"),
        ("qubit q; rx(1/2) q;",
         "line 3, column 14: a quotient of whole numbers is truncated in OpenQASM 3; write 1.0/2 for one half"),
        ("bit c; c = reset;", "line 3, column 12: expected 'measure' after '=', found 'reset'"),
        ("for int i in [0:4] { }", "line 3, column 1: 'for' is not supported; a program here is a list of gates, "
         "measurements, resets and barriers, without modifiers, undefined gates or classical control but 'if' on one "
         "bit"),
        ('include "stdgates.inc";', 'line 3, column 1: "stdgates.inc" is included twice'),
        ("qubit q; bit c; if (c) { barrier q; }",
         "line 3, column 26: a condition may stand before a gate or a reset only, found 'barrier'"),
        ("qubit q; bit c; if (c) { x q;",
         "line 3, column 30: a condition may stand before a gate or a reset only, found the end of the program"),
        ("qubit q; bit c; else { x q; }", "line 3, column 17: 'else' is not supported; a program here is a list of "
         "gates, measurements, resets and barriers, without modifiers, undefined gates or classical control but 'if' "
         "on one bit"),
        ("qubit q; bit[2] c; if (c[0] == c[1]) x q;",
         "line 3, column 32: expected the value of one bit (false, true, 0, 1), found 'c[1]'"),
    ],
)  # fmt: skip
def test_openqasm_3_beyond_that_is_refused(body: str, sentence: str) -> None:
    assert sentence_of(HEAD_3 + body) == sentence


def test_a_version_3_text_is_not_read_as_version_2() -> None:
    with pytest.raises(QasmSyntaxError, match=r"expected OpenQASM version 2.0, found '3.0'"):
        read_qasm2("OPENQASM 3.0;")
    with pytest.raises(QasmSyntaxError, match=r"expected OpenQASM version 3.0, found '2.0'"):
        read_qasm3("OPENQASM 2.0;")


@pytest.mark.parametrize(
    ("limits", "body", "sentence"),
    [
        (QasmLimits(characters=40), "qreg q[1];", "the length of the program in characters is 46, the limit is 40"),
        (QasmLimits(statements=3), "qreg q[1]; h q[0]; h q[0];", "the number of statements is 4, the limit is 3"),
        (QasmLimits(qubits=4), "qreg a[3]; qreg b[2];", "the number of qubits is 5, the limit is 4"),
        (QasmLimits(clbits=1), "creg c[2];", "the number of classical bits is 2, the limit is 1"),
        (QasmLimits(definitions=1), "gate f a { } gate g a { }", "the number of gate definitions is 2, the limit is 1"),
        (QasmLimits(nesting=1), "gate f a { } gate g a { f a; }",
         "the nesting of gate definitions is 2, the limit is 1"),
        (QasmLimits(operations=2), "qreg q[3]; h q;", "the number of operations is 3, the limit is 2"),
        (QasmLimits(expression_depth=3), "qreg q[1]; rx((((1)))) q[0];",
         "the depth of an angle expression is 4, the limit is 3"),
        (QasmLimits(expression_terms=3), "qreg q[1]; rx(1+1+1) q[0];",
         "the number of terms of an angle expression is 4, the limit is 3"),
        (QasmLimits(work=3), "gate f a { } gate g a { f a; f a; } qreg q[1]; g q[0]; g q[0];",
         "the work of expanding gates and barriers is 4, the limit is 3"),
    ],
)  # fmt: skip
def test_every_limit_has_its_sentence(limits: QasmLimits, body: str, sentence: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        parse_qasm2(HEAD + body, limits=limits)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_settled_soon(name: str) -> None:
    started = time.process_time()
    try:
        outcome = read_qasm(HOSTILE[name]).program.depth
    except (QasmSyntaxError, LimitExceeded) as refusal:
        outcome = len(str(refusal))
    assert outcome < 20_000
    assert time.process_time() - started < 3.0


_VOCABULARY = r"""
OPENQASM 2.0 3.0 include "qelib1.inc" "stdgates.inc" qreg creg qubit bit gate opaque barrier measure reset if U CX pi
else true ! sin h cx rx swap cu q c q[0] q[1] c[0] a b ; , ( ) { } [ ] -> == = + - * / ^ ** 0 1 2.5 1e400 . // # " é
"""
_PHRASES = (HEAD, HEAD_3, "qreg q[2];", "creg c[2];", "gate g(t) a,b { rx(t) a; cx a,b; }", "g(1) q[0],q[1];", "\n")
_WORDS = st.sampled_from((*_VOCABULARY.split(), *_PHRASES))


@settings(max_examples=300, deadline=2000)
@given(st.lists(_WORDS, max_size=40).map(" ".join).map(lambda body: HEAD + "qreg q[2]; creg c[2]; " + body))
@example(HEAD + "gate g a { } qreg q[1]; g() q[0];")
def test_a_jumble_of_words_is_a_program_or_a_refusal(text: str) -> None:
    with contextlib.suppress(QasmSyntaxError, LimitExceeded):
        read_qasm(text)


@settings(max_examples=200, deadline=2000)
@given(st.text(max_size=200))
def test_any_text_is_a_program_or_a_refusal(text: str) -> None:
    for start in ("", "OPENQASM 2.0;", "OPENQASM 3.0;"):
        with contextlib.suppress(QasmSyntaxError, LimitExceeded):
            read_qasm(start + text)


def test_reading_takes_time_linear_in_the_text() -> None:
    def seconds(count: int) -> float:
        text = HEAD + "qreg q[2]; " + "rz(0.123456*pi/2) q[0]; cx q[0],q[1]; " * count
        started = time.process_time()
        parse_qasm2(text)
        return time.process_time() - started

    short = min(seconds(1000) for _ in range(5))
    long = min(seconds(8000) for _ in range(3))
    assert long < 24 * short  # eight times the text; a quadratic reader would take 64 times as long
