"""Where a chunk is done. A protocol of three calls; only JSON crosses it, so the other side may be another machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Protocol, cast

from app.errors import Unavailable
from app.jobs.chunks import ChunkResult, ChunkSpec
from app.requests import JOB_REQUESTS
from app.workshop import Row, Workshop, is_finished

#: Takes rows, unfinished ones too. Awaiting it is the back-pressure: it returns when there is room for more.
OnRows = Callable[[Sequence[Row]], Awaitable[None]]


class Executor(Protocol):
    """Makes the rows of chunks, many chunks at once."""

    async def start(self) -> None:
        """Chunks may be run; raises Unavailable when they never can."""
        ...

    async def run(self, chunk: ChunkSpec, on_rows: OnRows) -> ChunkResult:
        """Every row of the chunk was given to `on_rows` when it was finished, in any order, perhaps more than once.

        Unfinished rows (`workshop.unfinished_row`) were given to it before, where the workshop made any.

        A failure leaves the rows delivered so far valid. Unavailable means that the machinery is down, whatever the
        chunk; any other exception counts against the chunk. Cancelling the call stops the work within a token step.
        """
        ...

    async def aclose(self) -> None:
        """No chunk is running and none can be run."""
        ...


class LocalExecutor:
    """Chunks done in this process by a workshop, which batches the rows of all chunks and callers in one engine.

    A row is handed on while the following ones are still being sampled, so generation, validation and the ledger's
    writing overlap. The workshop belongs to the caller, who closes it.
    """

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._is_open = False

    async def start(self) -> None:
        """Chunks may be run."""
        self._is_open = True

    async def run(self, chunk: ChunkSpec, on_rows: OnRows) -> ChunkResult:
        """See `Executor.run`. TimeoutError when nothing was heard of any row for `ChunkSpec.stall_s`."""
        if not self._is_open:
            raise Unavailable("the local executor is closed; start it before giving it a chunk")
        began = time.monotonic()
        request = JOB_REQUESTS[chunk.kind].model_validate(chunk.request)
        produced = self._workshop.produce(chunk.kind, request, chunk.indices(), in_background=True)
        delivered = 0
        # The protocol promises that the iterator can be closed, which only generators are typed for.
        async with aclosing(cast("AsyncGenerator[Row, None]", produced)) as rows:
            while True:
                patience = asyncio.timeout(chunk.stall_s)
                try:
                    async with patience:
                        row = await anext(rows)
                except StopAsyncIteration:
                    return ChunkResult(job_id=chunk.job_id, rows=delivered, duration_s=time.monotonic() - began)
                except TimeoutError as error:
                    if not patience.expired():
                        raise
                    sentence = f"nothing was heard of any row for {chunk.stall_s:g} s, the chunk is given up"
                    raise TimeoutError(sentence) from error
                delivered += is_finished(row)
                await on_rows((row,))

    async def aclose(self) -> None:
        """No further chunk can be run; running ones end when their callers cancel them."""
        self._is_open = False
