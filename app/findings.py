"""What is wrong, or worth knowing, about a circuit. A wrong circuit is a result: findings are values, never raised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from app.errors import CircuitSyntaxError, LimitExceeded

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement about one place of a circuit.

    `code` is stable snake_case for programs; `message` is a sentence for people; `hint` says what to do next.
    `where` names the device, net, qubit or line, for example ``"M3"``, ``"net N4"``, ``"q[2]"``, ``"line 7"``.
    `line` and `column` (from 1) are a place of the text that was sent, where the finding has one.
    """

    code: str
    severity: Severity
    message: str
    where: str | None = None
    hint: str | None = None
    line: int | None = None
    column: int | None = None

    def as_json(self) -> dict[str, str | int]:
        """The finding as a JSON object; absent fields are left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def not_readable(reason: CircuitSyntaxError | LimitExceeded) -> Finding:
    """What a text that is no circuit, or one beyond the limits, has wrong with it, and where."""
    message = reason.reason if isinstance(reason, CircuitSyntaxError) else str(reason)
    place = None if reason.line is None else f"line {reason.line}, column {reason.column}"
    return Finding("not_readable", "error", message, place, line=reason.line, column=reason.column)


def has_errors(findings: Iterable[Finding]) -> bool:
    """True when at least one finding makes the circuit invalid."""
    return any(finding.severity == "error" for finding in findings)
