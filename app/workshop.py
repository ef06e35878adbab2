"""Generators, validators and testbenches behind a few calls. What the doors (HTTP, jobs, command line) know of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, Protocol

from app.requests import JobRequest
from app.validators._base import Rung

#: One result, ready for JSON: `{index, status, ...}` as docs/architecture.md lays down.
Row = dict[str, Any]

#: What a row counts as, whatever its own status says.
Outcome = Literal["ok", "invalid", "error"]

OUTCOMES: tuple[Outcome, ...] = ("ok", "invalid", "error")

#: Status of a row -> what it counts as. ``rejected`` is a program that could not be verified in the draws it was given.
#: A simulation without a result is one of this sizing on this testbench, so it is counted with the invalid circuits;
#: ``error`` stays for rows that could not be made.
OUTCOME_OF: Mapping[str, Outcome] = MappingProxyType(
    {
        "ok": "ok",
        "invalid": "invalid",
        "rejected": "invalid",
        "error": "error",
        "not_converged": "invalid",
        "simulator_gave_up": "invalid",
        "timeout": "invalid",
    }
)


#: Status of a row that is still being made.
_UNFINISHED = "running"


def unfinished_row(index: int, note: str, **progress: Any) -> Row:
    """What there is to say of a row while it is being made: a sentence, and numbers for those who can read them."""
    return {"index": index, "status": _UNFINISHED, "progress": {"note": note, **progress}}


def is_finished(row: Row) -> bool:
    """False for what `unfinished_row` made: it is told and forgotten, and counts as nothing."""
    return row.get("status") != _UNFINISHED


class RowMaker(Protocol):
    """Makes the rows of requests. Shared by every caller, so that their work is batched."""

    def prepare(self, kind: str, request: JobRequest) -> JobRequest:
        """The request with everything settled that was left open (seed, model, corner).

        Blocks for as long as reading a technology takes. Raises InvalidInput for what cannot be done here, Unavailable
        where the machine lacks something. `kind` is a key of `requests.JOB_REQUESTS`.
        """
        ...

    def heading(self, kind: str, request: JobRequest) -> Mapping[str, Any]:
        """What all rows of the prepared request have in common, for the answer that carries them. Blocks likewise."""
        ...

    def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """Rows of the prepared request, one per index, in order of completion.

        Rows made `in_background` (jobs) wait behind those that someone waits for.

        Row `i` depends on (seed, i) and the request alone. A row that cannot be made has status ``error`` and a problem
        document under ``problem``; the call itself raises only when the machinery is down. Closing the iterator stops
        the work: sampling within a token step, simulation at once.

        Where a row takes long, unfinished ones of its index (`unfinished_row`) come before it: a few a second at most,
        and one in some minutes at least, for who hears nothing for longer may take the work for dead.
        """
        ...

    async def aclose(self) -> None:
        """Engines and worker processes are gone."""
        ...


class Workshop(RowMaker, Protocol):
    """Makes rows, checks texts, and says what there is. One per process."""

    async def validate(
        self, kind: str, text: str, *, checks: Rung | None = None, function_of: str | None = None
    ) -> Mapping[str, Any]:
        """``{status, findings: [...], facts: {...}}`` for a SPICE (kind ``analog``) or OpenQASM (``quantum``) text.

        It is checked up to the rung `checks`; where absent, up to the operating point, or with `function_of`, a circuit
        type or a program's family, up to whether some sizing, or the program, does what that is for.
        What is wrong with an OpenQASM text is a finding, with its line and column. Raises CircuitSyntaxError or
        LimitExceeded for a SPICE text outside the accepted grammar, UnknownName for the type.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """``{models, validators, technologies, testbenches, sizing_methods: [...], families: {analog, quantum}}``."""
        ...

    def health(self) -> Mapping[str, Any]:
        """What readyz, metrics and the dashboard show: ``{ready: bool, reasons: [sentence], engine, workers}``."""
        ...
