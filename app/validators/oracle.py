"""Whether a program does what its family is for: the oracles of `app.quantum.oracles`.

Asked for only where a caller names a family, or asks for verified programs. Simulated here, within the bounds of
`app.quantum.simulation`; Qiskit has no part in it.
"""

from __future__ import annotations

from typing import Literal

from app.findings import Finding
from app.quantum.oracles import needed_oracle
from app.validators._base import JsonValue, Rung, Subject, ValidationTools, Verdict, validators

_ACCEPTED = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[3];
h q[0];
cx q[0],q[1];
cx q[1],q[2];
"""

_REJECTED = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[3];
h q[0];
cx q[0],q[1];
h q[2];
"""


class OracleValidator:
    """Simulates the program and compares its state or its outcomes with what the family promises."""

    kind: Literal["analog", "quantum"] = "quantum"
    rung: Rung = "function"
    summary = "the program does what its family is for (only where a family with an oracle is named)"
    example_type = "ghz"
    accepts = _ACCEPTED
    rejects = _REJECTED

    def check(self, circuit: Subject, tools: ValidationTools) -> Verdict:
        """An error where the program does not do it, a note where it is outside of what is simulated.

        Facts: `family`, `passes`, `reason` and `method` (``statevector``, ``stabilizers``, or ``none``: not judged).
        """
        assert circuit.program is not None, "a quantum subject carries its program"
        family = circuit.function_of
        if family is None:
            return Verdict()
        found = needed_oracle(family).check(circuit.program)
        facts: dict[str, JsonValue] = {
            "family": family,
            "passes": found.passes,
            "reason": found.reason,
            "method": found.method,
        }
        if found.passes:
            return Verdict((), facts)
        if not found.is_judged:
            return Verdict(
                (
                    Finding(
                        "not_verified",
                        "note",
                        f"whether it is a program of the family {family} was not judged: {found.reason}",
                    ),
                ),
                facts,
            )
        return Verdict(
            (Finding("not_its_family", "error", f"it is no program of the family {family}: {found.reason}"),), facts
        )


validators.add("oracle", OracleValidator())
