"""Generators and validators behind three calls. What the doors (HTTP, jobs, command line) know of the machinery."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from app.requests import GenerateRequest

#: One result, ready for JSON: `{index, status: "ok"|"invalid"|"error", ...}` as docs/architecture.md lays down.
Row = dict[str, Any]


class Workshop(Protocol):
    """Makes rows of circuits and checks texts. One per process; shared by every caller so that requests are batched."""

    def prepare(self, kind: str, request: GenerateRequest) -> GenerateRequest:
        """The request with its seed drawn and its model named; raises InvalidInput for what no model here can do.

        `kind` is a key of `requests.JOB_REQUESTS`.
        """
        ...

    def produce(
        self, kind: str, request: GenerateRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """Rows of the prepared request, one per index, in order of completion.

        Rows made `in_background` (jobs) wait behind those that someone waits for.

        Row `i` depends on (seed, i) and the request alone. A circuit that cannot be made or checked gives a row with
        status ``error`` and a problem document under ``problem``; the call itself raises only when the machinery is
        down. Closing the iterator stops the work within a token step.
        """
        ...

    async def validate(self, kind: str, text: str) -> Mapping[str, Any]:
        """``{status, findings: [...], facts: {...}}`` for a SPICE (kind ``analog``) or OpenQASM (``quantum``) text.

        Raises CircuitSyntaxError or LimitExceeded for a text outside the accepted grammar.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """``{models: [...], validators: [...], technologies: [...], families: {analog: [...], quantum: [...]}}``."""
        ...

    def health(self) -> Mapping[str, Any]:
        """What readyz, metrics and the dashboard show: ``{ready: bool, reasons: [sentence], engine, workers}``."""
        ...

    async def aclose(self) -> None:
        """Engines and worker processes are gone."""
        ...
