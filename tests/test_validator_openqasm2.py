"""The validator of OpenQASM texts, with Qiskit in its worker process and without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.simulators.processes import ProcessLimits, WorkerPool
from app.validators import qiskit_worker
from app.validators._base import Subject, ValidationTools, Verdict, validators

HEAD = 'OPENQASM 2.0;\ninclude "qelib1.inc";\n'
HEAD_3 = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
BELL = HEAD + "qreg q[2];\ncreg c[2];\nh q[0];\ncx q[0],q[1];\nbarrier q;\nmeasure q -> c;\n"


@pytest.fixture(scope="module")
def tools() -> Iterator[ValidationTools]:
    pool = WorkerPool("app.validators.qiskit_worker", size=1, timeout_s=30, recycle_after=1000, limits=ProcessLimits())
    with pool:
        yield ValidationTools(qiskit=pool)


def check(text: str, tools: ValidationTools) -> Verdict:
    return validators["openqasm2"].check(Subject(text), tools)


def codes(verdict: Verdict) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity) for finding in verdict.findings]


def test_a_bell_pair_passes_with_the_counts_that_qiskit_has(tools: ValidationTools) -> None:
    verdict = check(BELL, tools)
    assert verdict.findings == ()
    assert verdict.facts == {
        "loads_bare": True, "loads_strict": True, "depth": 3, "size": 4, "gate_count": 2, "qubits": 2, "clbits": 2,
    }  # fmt: skip


def test_the_examples_are_what_they_say(tools: ValidationTools) -> None:
    validator = validators["openqasm2"]
    assert check(validator.accepts, tools).is_valid
    assert not check(validator.rejects, tools).is_valid


def test_a_gate_without_its_definition_does_not_load(tools: ValidationTools) -> None:
    verdict = check(HEAD + "qreg q[2]; swap q[0],q[1];", tools)
    (finding,) = verdict.findings
    assert (finding.code, finding.severity) == ("not_loadable", "error")
    assert finding.message == "Qiskit refuses the text: 'swap' is not defined in this scope"
    assert (finding.where, finding.line, finding.column) == ("line 3, column 12", 3, 12)
    assert finding.hint == "define every gate that the included library lacks in the text itself"
    assert verdict.facts == {"loads_bare": False, "loads_strict": False}


def test_an_idle_qubit_is_an_error_also_where_a_barrier_covers_it(tools: ValidationTools) -> None:
    (finding,) = check(HEAD + "qreg q[3]; h q[0]; barrier q; x q[2];", tools).findings
    assert (finding.code, finding.message, finding.where) == ("idle_qubit", "no statement acts on the qubit", "q[1]")
    (finding,) = check(HEAD + "qreg q[30]; h q[0];", tools).findings
    assert finding.message == "no statement acts on 29 qubits"
    assert finding.where == "q[1], q[2], q[3], q[4], q[5], q[6], q[7], q[8], ..."


def test_a_program_without_gates_is_an_error(tools: ValidationTools) -> None:
    verdict = check(HEAD + "qreg q[1]; creg c[1]; measure q -> c;", tools)
    assert codes(verdict) == [("no_gates", "error")]


def test_a_text_that_only_strict_mode_refuses_is_a_warning(tools: ValidationTools) -> None:
    verdict = check(HEAD + "qreg q[1]; rx(1e5) q[0];", tools)
    assert codes(verdict) == [("not_strict", "warning")]
    assert verdict.is_valid
    assert verdict.facts["loads_strict"] is False


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (HEAD + "qreg q[1]; rx(1e400) q[0];", "line 3, column 14"),
        (HEAD + 'include "/etc/passwd";', "line 3, column 9"),
        (HEAD + "qreg q[1000000];", "line 3, column 16"),
        (HEAD + "qreg q[1];" + "h q;" * 30_000, "line 3, column 80003"),
        ("#include <stdio.h>", "line 1, column 1"),
    ],
)
def test_what_our_reader_refuses_never_reaches_qiskit(text: str, where: str) -> None:
    class Untouchable(WorkerPool):
        def __init__(self) -> None:
            pass

    verdict = check(text, ValidationTools(qiskit=Untouchable()))
    assert codes(verdict) == [("not_readable", "error")]
    assert verdict.findings[0].where == where


def test_openqasm_3_is_loaded_by_its_importer(tools: ValidationTools) -> None:
    text = HEAD_3 + "qubit[2] q;\nbit[2] c;\nh q[0];\ncx q[0], q[1];\nc = measure q;\n"
    verdict = check(text, tools)
    assert verdict.findings == ()
    assert verdict.facts == {
        "loads_qasm3": True, "depth": 3, "size": 4, "gate_count": 2, "qubits": 2, "clbits": 2,
    }  # fmt: skip


def test_without_qiskit_the_verdict_says_so_and_counts_itself() -> None:
    verdict = check(BELL, ValidationTools())
    assert codes(verdict) == [("qiskit_not_run", "note")]
    assert verdict.facts == {"depth": 3, "size": 4, "gate_count": 2, "qubits": 2, "clbits": 2}


def test_the_worker_answers_for_what_the_importers_refuse() -> None:
    answer = qiskit_worker.handle({"program": 'include "/etc/passwd";', "version": 2})
    assert answer["loads"] is False
    assert answer["refusal"] == "<input>:1,8: unable to find '/etc/passwd' in the include search path"
    answer = qiskit_worker.handle({"program": HEAD_3 + "qubit q; rx(1/0) q;", "version": 3})
    assert answer["refusal"] == "ZeroDivisionError: integer division or modulo by zero"
    answer = qiskit_worker.handle({"program": HEAD + "qreg q[1]; rx(1.0e400) q[0];", "version": 2})
    assert answer["non_finite_gates"] == ["rx"]
