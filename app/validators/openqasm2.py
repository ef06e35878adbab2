"""OpenQASM texts that Qiskit loads as they stand, with finite angles, at least one gate and no idle qubit.

Version 2 is loaded bare (no custom instructions, so the text must define what the paper's qelib1.inc lacks) and in
strict mode; version 3 by Qiskit's importer. Knows nothing of what a program computes.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from app.errors import CircuitSyntaxError, LimitExceeded, SimulatorCrashed, SimulatorFailure, SimulatorTimeout
from app.findings import Finding, Severity, not_readable
from app.quantum.program import QuantumProgram
from app.quantum.qasm import is_qasm3, read_qasm
from app.validators._base import Rung, Subject, ValidationTools, Verdict, validators

#: ``<input>:3,11: reason`` of its version 2 reader, ``QASM3ImporterError: "3,11: reason"`` of its version 3 importer.
_QISKIT_PLACE = re.compile(
    r"""(?:<input>:|QASM3\w+: (?P<quote>['"]?))(?P<line>\d+),(?P<column>\d+): (?P<reason>.*)""", re.DOTALL
)

_ACCEPTED = """OPENQASM 2.0;
include "qelib1.inc";
gate swap a,b { cx a,b; cx b,a; cx a,b; }
qreg q[3];
creg c[3];
h q[0];
cx q[0],q[1];
swap q[1],q[2];
rz(-3*pi/4) q[2];
measure q -> c;
"""

_REJECTED = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[3];
h q[0];
swap q[0],q[1];
"""


class OpenQasm2:
    """Loads in Qiskit, finite angles, no idle qubit, at least one gate."""

    kind: Literal["analog", "quantum"] = "quantum"
    rung: Rung = "structure"
    summary = "Qiskit loads the text bare and in strict mode; angles are finite, no qubit is idle, there is a gate"
    accepts = _ACCEPTED
    rejects = _REJECTED

    def check(self, circuit: Subject, tools: ValidationTools) -> Verdict:
        """The verdict. Qiskit sees the text only after our own bounded reader has accepted it.

        Facts: `loads_bare` and `loads_strict` (version 2) or `loads_qasm3`, and as Qiskit counts them `depth`, `size`,
        `gate_count`, `qubits`, `clbits`. Without a Qiskit worker the counts are our own.
        """
        try:
            program = read_qasm(circuit.text).program
        except (CircuitSyntaxError, LimitExceeded) as reason:
            return Verdict((not_readable(reason),))
        version = 3 if is_qasm3(circuit.text) else 2
        if tools.qiskit is None:
            return Verdict(_without_qiskit(program), _own_facts(program))
        try:
            answer = tools.qiskit.submit({"program": circuit.text, "version": version}).result()
        except (SimulatorTimeout, SimulatorCrashed) as reason:  # what a text can do to a reader is the text's fault
            return Verdict((_unloaded(reason),), _own_facts(program))
        findings = _loading_findings(answer)
        loads = bool(answer["loads"])
        facts: dict[str, Any] = {"loads_qasm3": loads}
        if version == 2:
            facts = {"loads_bare": loads, "loads_strict": answer["strict_refusal"] is None}
        if loads:
            counts = {key: answer[key] for key in ("depth", "size", "gate_count", "qubits", "clbits")}
            facts |= counts
            findings += _content_findings(
                counts["gate_count"], answer["idle_qubits"], answer["idle_count"], answer["non_finite_gates"]
            )
        return Verdict(findings, facts)


def _unloaded(reason: SimulatorFailure) -> Finding:
    return Finding(
        "not_loaded", "error", f"our own reader takes the text, Qiskit did not get through it: {reason}", None,
        "write fewer statements and shorter angles",
    )  # fmt: skip


def _loading_findings(answer: dict[str, Any]) -> tuple[Finding, ...]:
    if not answer["loads"]:
        hint = "define every gate that the included library lacks in the text itself"
        return (_refusal("not_loadable", "error", "Qiskit refuses the text", answer["refusal"], hint),)
    if answer["strict_refusal"] is not None:
        return (_refusal("not_strict", "warning", "Qiskit's strict mode refuses it", answer["strict_refusal"]),)
    return ()


def _refusal(code: str, severity: Severity, what: str, refusal: str, hint: str | None = None) -> Finding:
    """A finding of Qiskit's own words, at the place that they name: its columns count from 0."""
    match = _QISKIT_PLACE.match(refusal)
    if match is None:
        return Finding(code, severity, f"{what}: {refusal}", None, hint)
    line, column = int(match["line"]), int(match["column"]) + 1
    message = f"{what}: {match['reason'].rstrip(match['quote'] or '')}"
    return Finding(code, severity, message, f"line {line}, column {column}", hint, line, column)


def _content_findings(gate_count: int, idle: list[int], idle_count: int, non_finite: list[str]) -> tuple[Finding, ...]:
    findings: list[Finding] = []
    if gate_count == 0:
        findings.append(Finding("no_gates", "error", "the program has no gate", None, "apply at least one gate"))
    if idle_count:
        names = ", ".join(f"q[{index}]" for index in idle[:8]) + (", ..." if idle_count > 8 else "")
        message = "no statement acts on the qubit" if idle_count == 1 else f"no statement acts on {idle_count} qubits"
        findings.append(Finding("idle_qubit", "error", message, names, "declare only the qubits that are used"))
    for name in non_finite:
        findings.append(Finding("non_finite_angle", "error", f"an angle of {name!r} is not finite", name))
    return tuple(findings)


def _without_qiskit(program: QuantumProgram) -> tuple[Finding, ...]:
    missing = Finding("qiskit_not_run", "note", "no Qiskit worker is running; the text was read by our own reader only")
    idle = list(program.idle_qubits)
    return (missing, *_content_findings(program.gate_count, idle, len(idle), []))


def _own_facts(program: QuantumProgram) -> dict[str, Any]:
    return {
        "depth": program.depth,
        "size": sum(op.name != "barrier" for op in program.operations),
        "gate_count": program.gate_count,
        "qubits": program.qubit_count,
        "clbits": program.clbit_count,
    }


validators.add("openqasm2", OpenQasm2())
