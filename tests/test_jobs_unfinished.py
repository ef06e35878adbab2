"""Rows that take long: who watches hears of them while they are made, and what follows others knows of these."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.jobs.chunks import ChunkSpec
from app.jobs.executor import Executor, LocalExecutor, OnRows
from app.jobs.ledger import JobRecord, Ledger, ResultLine
from app.jobs.progress import JobEvent
from app.jobs.runner import JobRunner
from app.requests import AnalogDesignRequest, AnalogSizeRequest, JobRequest
from app.testing import FakeWorkshop
from app.workshop import Row, is_finished, unfinished_row
from tests.test_jobs_runner import Relay, ended, running

SPECIFICATION = {"bounds": ["gain_db>60"]}


def sizing(runs: int) -> AnalogSizeRequest:
    fields = {"netlist": "R1 VIN1 VOUT1 1k\n", "testbench": "opamp", "specification": SPECIFICATION}
    return AnalogSizeRequest.model_validate({**fields, "runs": runs, "seed": 0})


def design(candidates: int) -> AnalogDesignRequest:
    fields = {"type": "opamp", "specification": SPECIFICATION, "candidates": candidates}
    return AnalogDesignRequest.model_validate({**fields, "seed": 0})


async def events_of(runner: JobRunner, kind: str, request: JobRequest) -> list[JobEvent]:
    """What a watcher hears from the job's beginning to its end."""
    job = (await runner.submit(kind, request)).job
    async with asyncio.timeout(30):
        return [event async for event in runner.subscribe(job.id)]


class Talking(FakeWorkshop):
    """Says a word of each row every `pause_s` seconds before it makes it, `words` of them."""

    def __init__(self, words: int, pause_s: float = 0.02) -> None:
        super().__init__()
        self.words, self.pause_s = words, pause_s

    async def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """Words, then the row."""
        async for row in super().produce(kind, request, indices, in_background=in_background):
            if is_finished(row):
                for word in range(self.words):
                    await asyncio.sleep(self.pause_s)
                    yield unfinished_row(row["index"], f"word {word}", word=word)
                yield row


def test_who_watches_hears_of_a_row_while_it_is_made_and_of_no_row_that_is_there(tmp_path: Path) -> None:
    async def scenario() -> list[JobEvent]:
        async with running(tmp_path, LocalExecutor(Talking(5)), max_concurrent_chunks=1) as runner:
            events = await events_of(runner, "analog.size", sizing(3))
            assert runner.unfinished(events[0].job) == ()
            return events

    events = asyncio.run(scenario())
    told = [(row["index"], row["progress"]["word"]) for event in events for row in event.unfinished]
    assert told == sorted(told)
    assert {index for index, _ in told} == {0, 1, 2}
    assert all(row["index"] >= event.job.counts.done for event in events for row in event.unfinished)
    assert (events[-1].job.status, events[-1].unfinished) == ("succeeded", ())


def test_a_row_of_which_was_heard_is_told_of_until_the_ledger_has_it(tmp_path: Path) -> None:
    async def scenario() -> list[JobEvent]:
        async with running(tmp_path, LocalExecutor(Talking(3)), batch_s=0.2, batch_rows=100) as runner:
            return await events_of(runner, "analog.design", design(6))

    heard: set[int] = set()
    for event in asyncio.run(scenario()):
        known = {row["index"] for row in event.unfinished} | set(range(event.job.counts.done))
        assert known >= heard
        heard |= known
    assert heard == set(range(6))


def test_a_job_that_is_finished_in_the_ledger_makes_no_row_even_where_the_runner_has_not_heard_of_it(
    tmp_path: Path,
) -> None:
    has_recorded, may_answer = threading.Event(), threading.Event()

    class Slow(Ledger):
        def record_rows(self, job_id: str, lines: Sequence[ResultLine]) -> JobRecord:
            record = super().record_rows(job_id, lines)
            has_recorded.set()
            assert may_answer.wait(30)
            return record

    async def scenario() -> None:
        ledger = Slow(f"sqlite:///{tmp_path}/jobs.db")
        runner = JobRunner(ledger, LocalExecutor(Talking(1)))
        await runner.start()
        job = (await runner.submit("analog.size", sizing(1))).job
        before = await asyncio.to_thread(ledger.get_job, job.id)
        assert await asyncio.to_thread(has_recorded.wait, 30)
        after = await asyncio.to_thread(ledger.get_job, job.id)
        try:
            assert [row["index"] for row in runner.unfinished(before)] == [0]
            assert (after.status, runner.unfinished(after)) == ("succeeded", ())
        finally:
            may_answer.set()
            await runner.aclose()
            ledger.close()

    asyncio.run(scenario())


def test_a_row_of_which_something_is_heard_is_not_given_up_for_silence(tmp_path: Path) -> None:
    async def scenario() -> JobRecord:
        async with running(tmp_path, LocalExecutor(Talking(20)), stall_s=0.2) as runner:
            events = await events_of(runner, "analog.size", sizing(1))
            return events[-1].job

    job = asyncio.run(scenario())
    assert (job.status, job.counts.ok + job.counts.invalid) == ("succeeded", 1)


def test_a_row_that_fails_is_not_being_made_any_more(tmp_path: Path) -> None:
    class Failing(FakeWorkshop):
        async def produce(
            self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
        ) -> AsyncIterator[Row]:
            for index in indices:
                yield unfinished_row(index, "it begins well")
                await asyncio.sleep(0.02)
                raise RuntimeError("and ends badly")

    async def scenario() -> JobEvent:
        async with running(tmp_path, LocalExecutor(Failing())) as runner:
            return (await events_of(runner, "analog.size", sizing(1)))[-1]

    last = asyncio.run(scenario())
    assert (last.job.counts.error, last.unfinished) == (1, ())


def test_each_sizing_is_a_chunk_and_all_candidates_of_a_design_are_one(tmp_path: Path) -> None:
    chunks: list[tuple[int, ...]] = []

    async def run(chunk: ChunkSpec, on_rows: OnRows, inner: Executor) -> None:
        chunks.append(chunk.indices())
        await inner.run(chunk, on_rows)

    async def scenario() -> None:
        async with running(tmp_path, Relay(FakeWorkshop(), run)) as runner:
            await events_of(runner, "analog.size", sizing(5))
            await events_of(runner, "analog.design", design(200))

    asyncio.run(scenario())
    assert sorted(chunks[:5]) == [(0,), (1,), (2,), (3,), (4,)]
    assert chunks[5:] == [tuple(range(200))]


def test_the_rest_of_a_design_knows_what_the_rows_that_are_there_used_up(tmp_path: Path) -> None:
    spent: list[Mapping[str, Any]] = []

    async def run(chunk: ChunkSpec, on_rows: OnRows, inner: Executor) -> None:
        spent.append(chunk.request["spent"])
        row = {"index": len(spent) - 1, "status": "ok" if len(spent) == 1 else "invalid"}
        await on_rows([row | {"simulations": 10 * len(spent), "elapsed_s": 3.0 * len(spent)}])
        if len(spent) < 3:
            raise RuntimeError("the machine stumbles")
        await on_rows([{"index": 3, "status": "error"}])

    async def first_row() -> str:
        async with running(tmp_path, Relay(FakeWorkshop(), run), poll_s=5.0) as runner:
            job = (await runner.submit("analog.design", design(4))).job
            async for event in runner.subscribe(job.id):
                if event.job.counts.done == 2:
                    break
            return job.id

    async def rest(job_id: str) -> JobRecord:
        async with running(tmp_path, Relay(FakeWorkshop(), run)) as runner:
            return await ended(runner, job_id)

    job = asyncio.run(rest(asyncio.run(first_row())))
    assert (job.status, job.counts.ok, job.counts.invalid, job.counts.error) == ("succeeded", 1, 2, 1)
    assert spent == [
        {"simulations": 0, "seconds": 0.0, "passing": 0},
        {"simulations": 10, "seconds": 3.0, "passing": 1},
        {"simulations": 30, "seconds": 6.0, "passing": 1},
    ]


@pytest.mark.parametrize("request_", [sizing(2), design(2)])
def test_a_request_that_follows_nothing_is_as_it_was(request_: JobRequest) -> None:
    followed = request_.following([{"index": 0, "status": "ok", "simulations": 7}])
    assert (followed == request_) is not request_.follows_rows
