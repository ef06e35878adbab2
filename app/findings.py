"""What is wrong, or worth knowing, about a circuit. A wrong circuit is a result: findings are values, never raised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement about one place of a circuit.

    `code` is stable snake_case for programs; `message` is a sentence for people; `hint` says what to do next.
    `where` names the device, net, qubit or line, for example ``"M3"``, ``"net N4"``, ``"q[2]"``, ``"line 7"``.
    """

    code: str
    severity: Severity
    message: str
    where: str | None = None
    hint: str | None = None

    def as_json(self) -> dict[str, str]:
        """The finding as a JSON object; absent fields are left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def has_errors(findings: Iterable[Finding]) -> bool:
    """True when at least one finding makes the circuit invalid."""
    return any(finding.severity == "error" for finding in findings)
