"""The local executor: rows flow while they are made, and nothing goes on after it was stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from app.errors import Unavailable
from app.jobs.chunks import ChunkSpec
from app.jobs.executor import LocalExecutor
from app.requests import JobRequest
from app.testing import FakeWorkshop
from app.workshop import Row


def chunk_of(*ranges: tuple[int, int], stall_s: float = 5.0) -> ChunkSpec:
    request = {"count": 100, "seed": 3, "model": "fake", "validate": False}
    return ChunkSpec(job_id="j", kind="analog.generate", request=request, ranges=ranges, stall_s=stall_s)


class SleepyWorkshop(FakeWorkshop):
    """Makes one row and then falls asleep; knows whether its iterator was closed."""

    is_closed = False

    async def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        assert in_background
        try:
            async for row in super().produce(kind, request, indices, in_background=True):
                yield row
                await asyncio.sleep(60)
        finally:
            self.is_closed = True


class ImpatientWorkshop(FakeWorkshop):
    """Fails with a timeout of its own."""

    async def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        assert in_background
        async for row in super().produce(kind, request, indices, in_background=True):
            if row["index"] == 0:
                raise TimeoutError("the engine's own")
            yield row


def test_every_row_of_a_chunk_is_delivered_before_the_next_is_made() -> None:
    workshop = FakeWorkshop()
    seen: list[tuple[int, int]] = []

    async def take(rows: Sequence[Row]) -> None:
        seen.extend((row["index"], len(workshop.produced)) for row in rows)

    async def scenario() -> None:
        executor = LocalExecutor(workshop)
        await executor.start()
        result = await executor.run(chunk_of((0, 3), (7, 8)), take)
        assert (result.job_id, result.rows) == ("j", 4)
        await executor.aclose()

    asyncio.run(scenario())
    assert seen == [(0, 1), (1, 2), (2, 3), (7, 4)]


def test_a_chunk_that_falls_silent_is_given_up_and_closed() -> None:
    workshop = SleepyWorkshop()
    taken: list[Row] = []

    async def take(rows: Sequence[Row]) -> None:
        taken.extend(rows)

    async def scenario() -> None:
        executor = LocalExecutor(workshop)
        await executor.start()
        with pytest.raises(TimeoutError, match=r"nothing was heard of any row for 0\.05 s, the chunk is given up"):
            await executor.run(chunk_of((0, 3), stall_s=0.05), take)

    asyncio.run(scenario())
    assert [row["index"] for row in taken] == [0]
    assert workshop.is_closed


def test_a_timeout_of_the_workshop_is_not_mistaken_for_silence() -> None:
    async def take(rows: Sequence[Row]) -> None:
        raise AssertionError(f"no row was made, but {rows} came")

    async def scenario() -> None:
        executor = LocalExecutor(ImpatientWorkshop())
        await executor.start()
        with pytest.raises(TimeoutError, match="the engine's own"):
            await executor.run(chunk_of((0, 3)), take)

    asyncio.run(scenario())


def test_cancelling_a_chunk_closes_the_iterator() -> None:
    workshop = SleepyWorkshop()

    async def take(rows: Sequence[Row]) -> None:
        pass

    async def scenario() -> None:
        executor = LocalExecutor(workshop)
        await executor.start()
        running = asyncio.create_task(executor.run(chunk_of((0, 3)), take))
        await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())
    assert workshop.is_closed
    assert workshop.produced == {0: 1}


def test_a_closed_executor_takes_no_chunk() -> None:
    async def take(rows: Sequence[Row]) -> None:
        pass

    async def scenario() -> None:
        executor = LocalExecutor(FakeWorkshop())
        with pytest.raises(Unavailable, match="the local executor is closed; start it before giving it a chunk"):
            await executor.run(chunk_of((0, 3)), take)

    asyncio.run(scenario())
