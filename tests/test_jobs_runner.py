"""The runner: every job comes to its end, whatever happens on the way, and nobody waits for somebody else's job."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.errors import Conflict, InvalidRequest, NotFound, Unavailable, UnknownName
from app.jobs.chunks import ChunkResult, ChunkSpec
from app.jobs.executor import Executor, LocalExecutor, OnRows
from app.jobs.ledger import JobRecord, Ledger, ResultLine
from app.jobs.plan import RetryPolicy
from app.jobs.runner import JobRunner
from app.requests import AnalogGenerateRequest, GenerateRequest, JobRequest
from app.testing import FakeWorkshop
from app.workshop import Row

KIND = "analog.generate"
QUICK = RetryPolicy(backoff_s=0.001, longest_backoff_s=0.01)


def asked(count: int, seed: int = 0) -> GenerateRequest:
    return AnalogGenerateRequest(count=count, seed=seed, model="fake")


@asynccontextmanager
async def running(folder: Path, executor: Executor, **options: Any) -> AsyncIterator[JobRunner]:
    """A runner at work on the ledger of the folder."""
    ledger = Ledger(f"sqlite:///{folder}/jobs.db")
    runner = JobRunner(ledger, executor, **{"retries": QUICK, "batch_s": 0.02, "poll_s": 0.05, **options})
    await runner.start()
    try:
        yield runner
    finally:
        await runner.aclose()
        ledger.close()


def opened(folder: Path) -> Ledger:
    return Ledger(f"sqlite:///{folder}/jobs.db")


def put(ledger: Ledger, count: int) -> str:
    """A job that no runner was told of."""
    request = asked(count).model_dump(mode="json", by_alias=True)
    return ledger.create_job(KIND, request, total=count, seed=0, model="fake").job.id


async def submitted(runner: JobRunner, count: int) -> str:
    return (await runner.submit(KIND, asked(count))).job.id


async def ended(runner: JobRunner, job_id: str) -> JobRecord:
    async with asyncio.timeout(30):
        async for event in runner.subscribe(job_id):
            job = event.job
    return job


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_true():
            await asyncio.sleep(0.005)


def indices_of(folder: Path, job_id: str) -> list[int]:
    ledger = opened(folder)
    page = ledger.results(job_id, limit=1000)
    ledger.close()
    return [row["index"] for row in page.rows]


class Relay:
    """An executor that does something of its own to every chunk before or after a local one runs it."""

    def __init__(self, workshop: FakeWorkshop, run: Callable[[ChunkSpec, OnRows, Executor], Awaitable[None]]) -> None:
        self._inner = LocalExecutor(workshop)
        self._run = run

    async def start(self) -> None:
        await self._inner.start()

    async def run(self, chunk: ChunkSpec, on_rows: OnRows) -> ChunkResult:
        await self._run(chunk, on_rows, self._inner)
        return ChunkResult(job_id=chunk.job_id, rows=0, duration_s=0.0)

    async def aclose(self) -> None:
        await self._inner.aclose()


def test_ten_thousand_rows_are_made_once_each_and_fast(tmp_path: Path) -> None:
    workshop = FakeWorkshop()

    async def scenario() -> JobRecord:
        async with running(tmp_path, LocalExecutor(workshop)) as runner:
            return await ended(runner, await submitted(runner, 10_000))

    began = time.process_time()
    job = asyncio.run(scenario())
    assert time.process_time() - began < 5.0
    assert (job.status, job.counts.done, job.counts.error) == ("succeeded", 10_000, 0)
    assert job.counts.invalid > 1000
    assert workshop.produced == dict.fromkeys(range(10_000), 1)


def test_rows_are_those_that_the_workshop_makes(tmp_path: Path) -> None:
    async def scenario() -> tuple[list[Row], list[Row]]:
        workshop = FakeWorkshop()
        async with running(tmp_path, LocalExecutor(workshop)) as runner:
            job_id = await submitted(runner, 130)
            await ended(runner, job_id)
        ledger = opened(tmp_path)
        kept = list(ledger.results(job_id, limit=1000).rows)
        ledger.close()
        return kept, [row async for row in workshop.produce(KIND, asked(130), range(130))]

    kept, made = asyncio.run(scenario())
    assert kept == made


# --- failures of chunks ---------------------------------------------------------------------------------------------


def test_faults_duplicates_and_disorder_leave_every_row_once(tmp_path: Path) -> None:
    rng = random.Random(5)
    former: list[Row] = []
    failures: Counter[int] = Counter()

    async def run(chunk: ChunkSpec, on_rows: OnRows, inner: Executor) -> None:
        rows: list[Row] = []

        async def collect(some: Sequence[Row]) -> None:
            rows.extend(some)

        await inner.run(chunk, collect)
        rng.shuffle(rows)
        # A row is called poisoned after three failures at the earliest: none comes to so many here.
        if rng.random() < 0.3 and all(failures[row["index"]] < 2 for row in rows):
            failures.update(row["index"] for row in rows)
            await on_rows(rows[: len(rows) // 2])
            raise ConnectionResetError("a replica died")
        await on_rows(rows + rows[:10])
        await on_rows(rows[-5:])
        former.extend(rows)

    async def scenario() -> JobRecord:
        async with running(tmp_path, Relay(FakeWorkshop(), run)) as runner:
            return await ended(runner, await submitted(runner, 1000))

    job = asyncio.run(scenario())
    assert (job.status, job.counts.done, job.counts.error) == ("succeeded", 1000, 0)
    assert indices_of(tmp_path, job.id) == list(range(1000))


def test_a_poisoned_item_becomes_an_error_row_and_fails_nothing(tmp_path: Path) -> None:
    workshop = FakeWorkshop(poison=frozenset({0, 77, 299}))

    async def scenario() -> JobRecord:
        async with running(tmp_path, LocalExecutor(workshop)) as runner:
            return await ended(runner, await submitted(runner, 300))

    job = asyncio.run(scenario())
    assert (job.status, job.counts.done, job.counts.error) == ("succeeded", 300, 3)
    assert set(workshop.produced.values()) == {1}
    ledger = opened(tmp_path)
    rows = ledger.results(job.id, status="error").rows
    ledger.close()
    assert [row["index"] for row in rows] == [0, 77, 299]
    assert rows[1] == {
        "index": 77,
        "status": "error",
        "seed": 0,
        "model": "fake",
        "problem": {
            "type": "about:blank",
            "title": "RuntimeError",
            "detail": "the work failed (RuntimeError); the log holds the cause",
        },
    }


def test_machinery_that_makes_nothing_but_failures_fails_the_job_soon(tmp_path: Path) -> None:
    workshop = FakeWorkshop(poison=frozenset(range(10_000)))

    async def scenario() -> JobRecord:
        async with running(tmp_path, LocalExecutor(workshop)) as runner:
            return await ended(runner, await submitted(runner, 10_000))

    job = asyncio.run(scenario())
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["detail"] == (
        "16 rows failed, none was made between them; the last: the work failed (RuntimeError); the log holds the cause"
    )
    assert job.counts.error == job.counts.done == 15


def test_a_chunk_that_ends_without_its_rows_is_tried_again(tmp_path: Path) -> None:
    attempts: list[int] = []

    async def run(chunk: ChunkSpec, on_rows: OnRows, inner: Executor) -> None:
        attempts.append(len(chunk.indices()))
        if len(attempts) > 1:
            await inner.run(chunk, on_rows)

    async def scenario() -> JobRecord:
        async with running(tmp_path, Relay(FakeWorkshop(), run)) as runner:
            return await ended(runner, await submitted(runner, 20))

    assert asyncio.run(scenario()).counts.ok > 0
    assert attempts == [20, 20]


def test_a_row_that_was_not_asked_for_is_not_taken(tmp_path: Path) -> None:
    async def run(chunk: ChunkSpec, on_rows: OnRows, inner: Executor) -> None:
        with suppress(ValueError):
            await on_rows([{"index": 3000, "status": "ok"}])
        with pytest.raises(ValueError, match="the executor delivered a row of index None that its chunk does not have"):
            await on_rows([{"status": "ok"}])
        await inner.run(chunk, on_rows)

    async def scenario() -> JobRecord:
        async with running(tmp_path, Relay(FakeWorkshop(), run)) as runner:
            return await ended(runner, await submitted(runner, 20))

    assert asyncio.run(scenario()).counts.done == 20


def test_a_row_that_is_not_json_becomes_an_error_row(tmp_path: Path) -> None:
    async def run(chunk: ChunkSpec, on_rows: OnRows, inner: Executor) -> None:
        await on_rows([{"index": index, "status": "ok", "gain": float("nan")} for index in chunk.indices()])

    async def scenario() -> JobRecord:
        async with running(tmp_path, Relay(FakeWorkshop(), run)) as runner:
            return await ended(runner, await submitted(runner, 2))

    job = asyncio.run(scenario())
    assert (job.status, job.counts.error) == ("succeeded", 2)


def test_a_hanging_item_costs_one_error_row(tmp_path: Path) -> None:
    class Hanging(FakeWorkshop):
        async def produce(
            self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
        ) -> AsyncIterator[Row]:
            assert in_background
            async for row in super().produce(kind, request, indices, in_background=True):
                if row["index"] == 1:
                    await asyncio.sleep(60)
                yield row

    async def scenario() -> JobRecord:
        async with running(tmp_path, LocalExecutor(Hanging()), stall_s=0.05) as runner:
            return await ended(runner, await submitted(runner, 4))

    job = asyncio.run(scenario())
    assert (job.status, job.counts.done, job.counts.error) == ("succeeded", 4, 1)


# --- the machinery is down ------------------------------------------------------------------------------------------


def test_an_outage_that_passes_costs_no_row(tmp_path: Path) -> None:
    outages = iter(range(5))

    async def run(chunk: ChunkSpec, on_rows: OnRows, inner: Executor) -> None:
        if next(outages, None) is not None:
            raise Unavailable("the engine is loading")
        await inner.run(chunk, on_rows)

    async def scenario() -> JobRecord:
        async with running(tmp_path, Relay(FakeWorkshop(), run)) as runner:
            return await ended(runner, await submitted(runner, 200))

    job = asyncio.run(scenario())
    assert (job.status, job.counts.done, job.counts.error) == ("succeeded", 200, 0)


def test_an_outage_without_end_fails_the_job_with_its_sentence(tmp_path: Path) -> None:
    async def run(chunk: ChunkSpec, on_rows: OnRows, inner: Executor) -> None:
        raise Unavailable("model fake is damaged; install it again")

    async def scenario() -> JobRecord:
        async with running(tmp_path, Relay(FakeWorkshop(), run), patience_s=0.1) as runner:
            return await ended(runner, await submitted(runner, 200))

    job = asyncio.run(scenario())
    assert job.status == "failed"
    assert job.error == {
        "type": "about:blank", "title": "Unavailable", "detail": "model fake is damaged; install it again"
    }  # fmt: skip


def test_a_request_that_the_machinery_refuses_fails_at_once(tmp_path: Path) -> None:
    attempts: list[ChunkSpec] = []

    async def run(chunk: ChunkSpec, on_rows: OnRows, inner: Executor) -> None:
        attempts.append(chunk)
        raise InvalidRequest("model fake makes no circuits of 300 devices")

    async def scenario() -> JobRecord:
        async with running(tmp_path, Relay(FakeWorkshop(), run), max_concurrent_chunks=1) as runner:
            return await ended(runner, await submitted(runner, 10_000))

    job = asyncio.run(scenario())
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["detail"] == "model fake makes no circuits of 300 devices"
    assert len(attempts) == 1


def test_an_executor_that_cannot_start_leaves_the_ledger_to_others(tmp_path: Path) -> None:
    class Broken(LocalExecutor):
        async def start(self) -> None:
            raise Unavailable("no accelerator")

    async def scenario() -> None:
        ledger = opened(tmp_path)
        with pytest.raises(Unavailable, match="no accelerator"):
            await JobRunner(ledger, Broken(FakeWorkshop())).start()
        ledger.claim_runner().release()
        ledger.close()

    asyncio.run(scenario())


def test_a_second_runner_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, LocalExecutor(FakeWorkshop())):
            with pytest.raises(Unavailable, match="are already run by another process"):
                async with running(tmp_path, LocalExecutor(FakeWorkshop())):
                    pass

    asyncio.run(scenario())


def test_a_full_disk_stops_the_work_and_fails_nothing(tmp_path: Path) -> None:
    workshop = FakeWorkshop()

    async def scenario() -> None:
        ledger = opened(tmp_path)
        is_full = False

        @sa.event.listens_for(ledger.engine, "checkout")
        def limit(raw: Any, record: object, proxy: object) -> None:
            raw.execute(f"PRAGMA max_page_count={1 if is_full else 1_000_000}").close()

        runner = JobRunner(ledger, LocalExecutor(workshop), batch_s=0.02, batch_rows=8, retries=QUICK)
        await runner.start()
        job_id = (await runner.submit(KIND, asked(2000))).job.id
        is_full = True
        await until(lambda: runner.state().trouble is not None)
        assert "the ledger jobs.db cannot be written: the disk is full; free some" in str(runner.state().trouble)
        await asyncio.sleep(0.3)
        made = len(workshop.produced)
        assert made < 1000
        await asyncio.sleep(0.3)
        assert len(workshop.produced) == made
        assert ledger.get_job(job_id).status in ("queued", "running")
        is_full = False
        job = await ended(runner, job_id)
        assert (job.status, job.counts.done, job.counts.error) == ("succeeded", 2000, 0)
        assert set(workshop.produced.values()) == {1}
        assert runner.state().trouble is None
        await runner.aclose()
        ledger.close()

    asyncio.run(scenario())


class Moody(Ledger):
    """A ledger each of whose calls is refused, or fails, twice before it works twice."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._calls: Counter[str] = Counter()

    def _feel(self, name: str) -> None:
        self._calls[name] += 1
        if self._calls[name] % 4 in (1, 2):
            raise Unavailable("not now") if self._calls[name] % 2 else RuntimeError("a defect")

    def unfinished_jobs(self, *, limit: int = 1000) -> tuple[JobRecord, ...]:
        self._feel("unfinished_jobs")
        return super().unfinished_jobs(limit=limit)

    def record_rows(self, job_id: str, lines: Sequence[ResultLine]) -> JobRecord:
        self._feel("record_rows")
        return super().record_rows(job_id, lines)

    def finish(self, job_id: str, *, problem: Mapping[str, Any] | None = None) -> JobRecord:
        self._feel("finish")
        return super().finish(job_id, problem=problem)

    def start_job(self, job_id: str) -> JobRecord:
        self._feel("start_job")
        return super().start_job(job_id)


def test_a_ledger_that_refuses_every_other_call_delays_jobs_and_fails_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.runner._LEDGER_PAUSE_S", 0.01)

    async def scenario() -> None:
        ledger = Moody(f"sqlite:///{tmp_path}/jobs.db")
        runner = JobRunner(ledger, LocalExecutor(FakeWorkshop(delay_s=0.001)), batch_s=0.01, poll_s=0.02, retries=QUICK)
        await runner.start()
        short, long = await submitted(runner, 200), await submitted(runner, 100_000)
        await until(lambda: runner.state().trouble == "the work failed (RuntimeError); the log holds the cause")
        await until(lambda: runner.state().trouble is None)
        job = await ended(runner, short)
        assert (job.status, job.counts.done, job.counts.error) == ("succeeded", 200, 0)
        await runner.cancel(long)
        assert (await ended(runner, long)).status == "cancelled"
        await runner.aclose()
        ledger.close()

    asyncio.run(scenario())


# --- cancel, delete, submit -----------------------------------------------------------------------------------------


def test_cancelling_stops_the_work_at_once_and_keeps_the_rows(tmp_path: Path) -> None:
    workshop = FakeWorkshop(delay_s=0.002)

    async def scenario() -> JobRecord:
        async with running(tmp_path, LocalExecutor(workshop)) as runner:
            job_id = await submitted(runner, 100_000)
            await until(lambda: len(workshop.produced) > 100)
            before = len(workshop.produced)
            assert (await runner.cancel(job_id)).status == "cancelling"
            await until(lambda: runner.state().running_chunks == 0)
            made = len(workshop.produced)
            assert made - before < 4 * 100 / 2  # what four chunks make in 100 ms, whatever else the machine does
            job = await ended(runner, job_id)
            await asyncio.sleep(0.05)
            assert len(workshop.produced) == made
            assert (await runner.cancel(job_id)).status == "cancelled"
            assert runner.state().active_jobs == 0
            return job

    job = asyncio.run(scenario())
    assert job.status == "cancelled"
    assert 0 < job.counts.done <= len(workshop.produced)
    assert len(indices_of(tmp_path, job.id)) == job.counts.done


def test_a_job_whose_chunk_ignores_the_cancel_still_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.runner._FAREWELL_S", 0.1)
    release = asyncio.Event()

    async def run(chunk: ChunkSpec, on_rows: OnRows, inner: Executor) -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        await on_rows([{"index": index, "status": "ok"} for index in chunk.indices()])

    async def scenario() -> JobRecord:
        async with running(tmp_path, Relay(FakeWorkshop(), run)) as runner:
            job_id = await submitted(runner, 10)
            await until(lambda: runner.state().running_chunks == 1)
            await runner.cancel(job_id)
            job = await ended(runner, job_id)
            release.set()
            await asyncio.sleep(0.05)
            return job

    job = asyncio.run(scenario())
    assert (job.status, indices_of(tmp_path, job.id)) == ("cancelled", [])


def test_a_job_that_was_being_cancelled_when_the_process_died_is_cancelled_by_the_next(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    job_id = put(ledger, 50)
    ledger.start_job(job_id)
    ledger.request_cancel(job_id)
    ledger.close()
    workshop = FakeWorkshop()

    async def scenario() -> JobRecord:
        async with running(tmp_path, LocalExecutor(workshop)) as runner:
            return await ended(runner, job_id)

    assert asyncio.run(scenario()).status == "cancelled"
    assert workshop.produced == {}


def test_a_job_that_never_ran_is_cancelled_without_running(tmp_path: Path) -> None:
    workshop = FakeWorkshop(delay_s=0.002)

    async def scenario() -> None:
        async with running(tmp_path, LocalExecutor(workshop), max_concurrent_chunks=1) as runner:
            first = await submitted(runner, 64)
            second = await submitted(runner, 64)
            assert (await runner.cancel(second)).status == "cancelled"
            assert (await ended(runner, second)).counts.done == 0
            assert (await ended(runner, first)).status == "succeeded"

    asyncio.run(scenario())
    assert len(workshop.produced) == 64


def test_what_another_process_writes_into_the_ledger_is_done(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, LocalExecutor(FakeWorkshop(delay_s=0.002))) as runner:
            other = opened(tmp_path)
            small, large = put(other, 20), put(other, 100_000)
            assert (await ended(runner, small)).status == "succeeded"
            other.request_cancel(large)
            assert (await ended(runner, large)).status == "cancelled"
            other.close()

    asyncio.run(scenario())


def test_jobs_that_another_process_deletes_are_forgotten(tmp_path: Path) -> None:
    workshop = FakeWorkshop(delay_s=0.002)

    async def scenario() -> None:
        async with running(tmp_path, LocalExecutor(workshop), max_concurrent_chunks=1, poll_s=60.0) as runner:
            other = opened(tmp_path)
            started, waiting, last = [await submitted(runner, count) for count in (100_000, 64, 5)]
            await until(lambda: runner.state().recorded_rows > 0)
            other.request_cancel(waiting)
            other.finish(started)
            for job_id in (waiting, started):
                other.delete_job(job_id)
            assert (await ended(runner, last)).status == "succeeded"
            await until(lambda: runner.state().active_jobs == 0)
            for job_id in (waiting, started):
                with pytest.raises(NotFound, match=f"no job '{job_id}'"):
                    await ended(runner, job_id)
            other.close()

    asyncio.run(scenario())


def test_a_finished_job_is_deleted_and_a_running_one_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, LocalExecutor(FakeWorkshop(delay_s=0.005))) as runner:
            job_id = await submitted(runner, 5000)
            with pytest.raises(Conflict, match="cancel it and let it end before deleting it"):
                await runner.delete(job_id)
            await runner.cancel(job_id)
            await ended(runner, job_id)
            await runner.delete(job_id)
            with pytest.raises(NotFound, match="no job"):
                await runner.cancel(job_id)

    asyncio.run(scenario())


def test_submitting_twice_under_one_key_runs_once(tmp_path: Path) -> None:
    workshop = FakeWorkshop()

    async def scenario() -> None:
        async with running(tmp_path, LocalExecutor(workshop)) as runner:
            body = {"count": 40}
            made = await asyncio.gather(
                *(runner.submit(KIND, asked(40, seed=n), body=body, idempotency_key="k") for n in range(20))
            )
            assert sum(each.is_new for each in made) == 1
            assert len({each.job.id for each in made}) == 1
            await ended(runner, made[0].job.id)
            with pytest.raises(Conflict, match="idempotency key 'k'"):
                await runner.submit(KIND, asked(41), body={"count": 41}, idempotency_key="k")

    asyncio.run(scenario())
    assert set(workshop.produced.values()) == {1}


def test_an_unknown_kind_of_job_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, LocalExecutor(FakeWorkshop())) as runner:
            with pytest.raises(UnknownName, match=r"no job kind named 'analog\.generat'; did you mean 'analog\.gener"):
                await runner.submit("analog.generat", asked(1))

    asyncio.run(scenario())


# --- resume, fairness -----------------------------------------------------------------------------------------------


def test_a_stopped_job_goes_on_where_it_was_and_makes_no_row_again(tmp_path: Path) -> None:
    first, second = FakeWorkshop(delay_s=0.001), FakeWorkshop()

    async def scenario() -> JobRecord:
        async with running(tmp_path, LocalExecutor(first)) as runner:
            job_id = await submitted(runner, 2000)
            await until(lambda: len(first.produced) > 300)
        ledger = opened(tmp_path)
        stopped = ledger.get_job(job_id)
        ledger.close()
        assert stopped.status == "running"
        assert stopped.counts.done >= len(first.produced) - 4
        began = time.monotonic()
        async with running(tmp_path, LocalExecutor(second)) as runner:
            await until(lambda: bool(second.produced))
            assert time.monotonic() - began < 2.0
            return await ended(runner, job_id)

    job = asyncio.run(scenario())
    assert (job.status, job.counts.done) == ("succeeded", 2000)
    assert len(first.produced) + len(second.produced) <= 2004
    assert indices_of(tmp_path, job.id) == list(range(1000))


def test_a_small_job_does_not_wait_for_a_large_one(tmp_path: Path) -> None:
    workshop = FakeWorkshop(delay_s=0.001)

    async def scenario() -> int:
        async with running(tmp_path, LocalExecutor(workshop), max_concurrent_chunks=2) as runner:
            large = await submitted(runner, 10_000)
            await until(lambda: len(workshop.produced) > 50)
            small = await submitted(runner, 100)
            await ended(runner, small)
            job = await runner.cancel(large)
            await ended(runner, large)
            return job.counts.done

    assert asyncio.run(scenario()) < 2000


def test_more_jobs_than_are_in_work_at_a_time_all_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.runner.MAX_ACTIVE_JOBS", 3)
    ledger = opened(tmp_path)
    made = [put(ledger, 2) for _ in range(10)]
    ledger.close()

    async def scenario() -> None:
        async with running(tmp_path, LocalExecutor(FakeWorkshop()), poll_s=60.0) as runner:
            made.extend([await submitted(runner, 2) for _ in range(10)])
            assert runner.state().active_jobs <= 3
            for job_id in made:
                assert (await ended(runner, job_id)).status == "succeeded"

    asyncio.run(scenario())


# --- events ---------------------------------------------------------------------------------------------------------


def test_events_only_go_forward_and_end_with_the_job(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, LocalExecutor(FakeWorkshop(delay_s=0.001))) as runner:
            job_id = await submitted(runner, 500)

            async def watch(pause_s: float) -> list[tuple[int, str]]:
                seen: list[tuple[int, str]] = []
                async for event in runner.subscribe(job_id):
                    seen.append((event.id, event.job.status))
                    await asyncio.sleep(pause_s)
                return seen

            for seen in await asyncio.gather(watch(0.0), watch(0.0), watch(0.1)):
                assert [done for done, _ in seen] == sorted(done for done, _ in seen)
                assert len(set(seen)) == len(seen) > 1
                assert seen[-1] == (500, "succeeded")
            assert [event.id async for event in runner.subscribe(job_id)] == [500]

    asyncio.run(scenario())


def test_a_client_that_comes_back_is_not_told_what_it_knows(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, LocalExecutor(FakeWorkshop(delay_s=0.001))) as runner:
            job_id = await submitted(runner, 500)
            async for event in runner.subscribe(job_id):
                if event.id > 50:
                    break
            ids = [again.id async for again in runner.subscribe(job_id, last_event_id=event.id)]
            assert ids[0] > event.id
            assert ids[-1] == 500
            ids = [again.id async for again in runner.subscribe(job_id, last_event_id=500)]
            assert ids == [500]

    asyncio.run(scenario())


def test_streams_of_events_end_when_the_runner_stops(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, LocalExecutor(FakeWorkshop(delay_s=0.01)), poll_s=5.0) as runner:
            job_id = await submitted(runner, 5000)
            heard: list[JobRecord] = []

            async def watch() -> None:
                async for event in runner.subscribe(job_id):
                    heard.append(event.job)

            watching = asyncio.create_task(watch())
            await until(lambda: bool(heard) and runner.state().running_chunks > 0)
        async with asyncio.timeout(4.0):
            await watching
        assert not heard[-1].is_finished

    asyncio.run(scenario())


def test_a_stopped_runner_takes_no_more_calls(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, LocalExecutor(FakeWorkshop())) as runner:
            job_id = await submitted(runner, 1)
        with pytest.raises(Unavailable, match="the service is stopping and takes no more calls"):
            await runner.cancel(job_id)

    asyncio.run(scenario())


def test_a_runner_that_was_not_started_can_be_closed(tmp_path: Path) -> None:
    async def scenario() -> None:
        ledger = opened(tmp_path)
        runner = JobRunner(ledger, LocalExecutor(FakeWorkshop()))
        await runner.aclose()
        assert not runner.state().is_running
        ledger.close()

    asyncio.run(scenario())
