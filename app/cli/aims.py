"""What a model was to reach, a line an aim on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.cli.door import write_line


def write_aims(aims: Sequence[Mapping[str, Any]]) -> None:
    """The aims of an evaluation's report: whether each was reached, what was measured, the target."""
    for aim in aims:
        word = {True: "reached", False: "MISSED", None: "not measured"}[aim["is_reached"]]
        write_line(f"{word:<12} {aim['aim']}: {_shown(aim['measured'])} (aim {_shown(aim['target'])})")


def _shown(value: float | None) -> str:
    return "-" if value is None else str(value)
