"""The ladder of checks: validators from cheap to dear, each tried only where those below it found no error.

One mechanism for everybody who judges circuits: the workshop, the evaluation, and training with a reward. Knows no
check of its own.
"""

from __future__ import annotations

from dataclasses import replace

from app.errors import UnknownName
from app.findings import Finding, has_errors
from app.validators._base import RUNGS, JsonValue, Rung, Subject, ValidationTools, Verdict, validators

__all__ = ["RUNGS", "Ladder", "Rung"]


class Ladder:
    """The validators in order of their rungs, with the tools they need. Thread-safe where the tools are."""

    def __init__(self, tools: ValidationTools, *, bias_points: int | None = None) -> None:
        """`bias_points` are the operating points that the rung ``conduction`` may try; its own number when absent."""
        self.tools = tools if bias_points is None else replace(tools, bias_points=bias_points)

    def climb(self, subject: Subject, rung: Rung = "operating_point") -> Verdict:
        """The verdict of the subject's validators up to `rung`; those that follow an error are left out.

        The facts are those of each validator by its name. The function is tried only of a subject that says which
        type's (`Subject.function_of`).

        Raises:
            UnknownName: There is no such rung, or no such type.
            SimulatorFailure: A check could not be done; that says nothing about the circuit.
        """
        if rung not in RUNGS:
            raise UnknownName("rung", rung, RUNGS, pointer="/checks")
        findings: list[Finding] = []
        facts: dict[str, JsonValue] = {}
        for name, validator in sorted(validators.items(), key=lambda item: RUNGS.index(item[1].rung)):
            if validator.kind != subject.kind or RUNGS.index(validator.rung) > RUNGS.index(rung):
                continue
            verdict = validator.check(subject, self.tools)
            findings += verdict.findings
            if verdict.facts:
                facts[name] = dict(verdict.facts)
            if has_errors(findings):
                break
        return Verdict(tuple(findings), facts)
