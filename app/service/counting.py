"""A workshop that counts what it makes, for whoever asked: inline calls and jobs pass through the same one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

from app.requests import JobRequest
from app.service.metrics import Metrics
from app.validators._base import Rung
from app.workshop import Row, Workshop, is_finished


class CountedWorkshop:
    """The same workshop; every row and every checked text is one more in the metrics."""

    def __init__(self, workshop: Workshop, metrics: Metrics) -> None:
        self._workshop = workshop
        self._metrics = metrics

    def prepare(self, kind: str, request: JobRequest) -> JobRequest:
        """See `Workshop.prepare`."""
        return self._workshop.prepare(kind, request)

    def heading(self, kind: str, request: JobRequest) -> Mapping[str, Any]:
        """See `Workshop.heading`."""
        return self._workshop.heading(kind, request)

    async def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """See `Workshop.produce`."""
        produced = self._workshop.produce(kind, request, indices, in_background=in_background)
        # The protocol promises that the iterator can be closed, which only generators are typed for.
        async with aclosing(cast("AsyncGenerator[Row, None]", produced)) as rows:
            async for row in rows:
                if is_finished(row):
                    self._metrics.count_circuit(kind, str(row["status"]), "job" if in_background else "inline")
                yield row

    async def validate(
        self, kind: str, text: str, *, checks: Rung | None = None, function_of: str | None = None
    ) -> Mapping[str, Any]:
        """See `Workshop.validate`."""
        check = await self._workshop.validate(kind, text, checks=checks, function_of=function_of)
        self._metrics.count_check(kind, str(check["status"]))
        return check

    def describe(self) -> Mapping[str, Any]:
        """See `Workshop.describe`."""
        return self._workshop.describe()

    def health(self) -> Mapping[str, Any]:
        """See `Workshop.health`."""
        return self._workshop.health()

    async def aclose(self) -> None:
        """See `Workshop.aclose`."""
        await self._workshop.aclose()
