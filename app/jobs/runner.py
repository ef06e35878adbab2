"""Carries the ledger's jobs out: cuts them in chunks, gives these to the executor, records the rows, tells who watches.

One `JobRunner` a ledger, in one event loop. It holds nothing that the ledger does not: after a crash a new runner asks
the ledger which indices have no row, and goes on. Chunks of all jobs share the slots fairly (the job with the fewest
running chunks is served first, then the one served longest ago), so a small job does not wait for a large one.

A chunk that fails is tried again, then halved down to the single row that fails by itself, which becomes a row with
status ``error``. A job fails when the machinery is down for good: `Unavailable` for longer than `patience_s`,
`BARREN_ITEMS` single rows in a row that fail with none made between them, or a request that the machinery refuses as a
whole. A ledger that cannot be written (a full disk) fails nothing: finished rows wait in memory up to a bound, then the
work waits, and goes on when the ledger does.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar

from app.errors import InvalidRequest, JosephsonError, LimitExceeded, NotFound, Unavailable, UnknownName
from app.jobs.chunks import ChunkSpec, Range, chunk_size, ranges_of
from app.jobs.database import Claim
from app.jobs.executor import Executor
from app.jobs.ledger import JobRecord, Ledger, ResultLine, Submission
from app.jobs.plan import Part, Plan, RetryPolicy
from app.jobs.progress import Broadcast, JobEvent, is_older
from app.requests import JOB_REQUESTS, JobRequest
from app.workshop import Row, is_finished

#: Single rows in a row, none made between them, whose failure condemns the machinery and not the rows.
BARREN_ITEMS = 16

#: Jobs that are cut in chunks at a time; further ones wait in the ledger.
MAX_ACTIVE_JOBS = 256

#: Longest wait for running work to end after it was told to.
_FAREWELL_S = 5.0

#: Wait before a ledger that refused work is asked again.
_LEDGER_PAUSE_S = 0.5

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class RunnerState:
    """What a runner is doing now, for health checks and metrics.

    `trouble` is a sentence while the ledger refuses work, else None. `waiting_rows` are finished and not yet recorded.
    `recorded_rows` counts since the runner was made.
    """

    is_running: bool
    active_jobs: int
    running_chunks: int
    waiting_rows: int
    recorded_rows: int
    trouble: str | None


@dataclass(eq=False)
class _ActiveJob:
    """A job in work: what is left, who works on it, unfinished rows by index, and rows that wait for the ledger."""

    record: JobRecord
    plan: Plan
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    lines: list[ResultLine] = field(default_factory=list)
    unfinished: dict[int, Row] = field(default_factory=dict)
    served: int = 0
    resume_at: float = 0.0
    outage_since: float | None = None
    outages: int = 0
    barren: int = 0
    is_closing: bool = False

    def ready_at(self) -> float | None:
        """When a chunk of the job may be started, None when there is none to start."""
        at = None if self.is_closing else self.plan.ready_at()
        return None if at is None else max(at, self.resume_at)


class JobRunner:
    """Runs the jobs of a ledger on an executor. Made anywhere, used in one event loop between `start` and `aclose`.

    Args:
        max_concurrent_chunks: How many chunks the executor is given at once.
        retries: How a failing chunk is tried again.
        patience_s: How long `Unavailable` is waited out before a job fails.
        stall_s: Longest time a chunk may go without a row, finished or not.
        batch_rows: Rows that are recorded at once, at the latest `batch_s` seconds after the first was finished.
        poll_s: How often the ledger is asked for what other processes put there.
    """

    def __init__(
        self,
        ledger: Ledger,
        executor: Executor,
        *,
        max_concurrent_chunks: int = 4,
        retries: RetryPolicy | None = None,
        patience_s: float = 600.0,
        stall_s: float = 300.0,
        batch_rows: int = 32,
        batch_s: float = 0.5,
        poll_s: float = 2.0,
    ) -> None:
        self._ledger = ledger
        self._executor = executor
        self._slots = max_concurrent_chunks
        self._retries = retries or RetryPolicy()
        self._patience_s = patience_s
        self._stall_s = stall_s
        self._batch_rows = batch_rows
        self._most_waiting_rows = 32 * batch_rows
        self._batch_s = batch_s
        self._poll_s = poll_s
        self._active: dict[str, _ActiveJob] = {}
        self._broadcast = Broadcast()
        self._served = 0
        self._recorded_rows = 0
        self._trouble: str | None = None
        self._next_look = 0.0
        self._has_backlog = False
        self._is_running = False
        self._is_closed = False
        self._claim: Claim | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._settling: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._has_lines = asyncio.Event()
        self._must_flush = asyncio.Event()
        self._room = asyncio.Event()
        self._writing = asyncio.Lock()
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="ledger")

    # --- for the doors ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """The ledger's unfinished jobs are being worked on, those of former processes included.

        Raises:
            Unavailable: Another process runs this ledger's jobs, or the executor cannot work.
        """
        self._claim = await self._call(self._ledger.claim_runner)
        try:
            await self._executor.start()
        except BaseException:
            self._claim.release()
            raise
        self._is_running = True
        self._loops = [asyncio.create_task(self._dispatch()), asyncio.create_task(self._record())]

    async def aclose(self) -> None:
        """No work is running, finished rows are recorded, unfinished jobs can be resumed, event streams have ended."""
        if not self._is_running:
            return
        self._is_running = False
        for loop in self._loops:
            loop.cancel()
        chunks = [task for job in self._active.values() for task in job.tasks]
        for task in chunks:
            task.cancel()
        if chunks or self._settling:
            await asyncio.wait([*chunks, *self._settling], timeout=_FAREWELL_S)
        for task in self._settling:
            task.cancel()
        await asyncio.gather(*self._loops, *self._settling, return_exceptions=True)
        for job in tuple(self._active.values()):
            with suppress(Unavailable):  # the rows are made again after the next start
                await self._store(job)
        self._broadcast.close()
        await self._executor.aclose()
        if self._claim is not None:
            self._claim.release()
        self._is_closed = True
        self._threads.shutdown(wait=False)

    async def submit(
        self,
        kind: str,
        request: JobRequest,
        *,
        body: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Submission:
        """The job is durably in the ledger, and will be run even if this process dies now.

        Args:
            request: As `Workshop.prepare` returned it: nothing is left open.
            body: The request as the caller sent it; what an idempotency key stands for.

        Raises:
            UnknownName: No such kind of job.
            Conflict: The idempotency key was used with another body.
            Unavailable: The ledger cannot be written.
        """
        if kind not in JOB_REQUESTS:
            raise UnknownName("job kind", kind, JOB_REQUESTS, pointer="/kind")
        assert request.seed is not None, "Workshop.prepare draws the seed"
        submission = await self._call(
            self._ledger.create_job,
            kind,
            _as_json(request),
            total=request.row_count,
            seed=request.seed,
            model=request.made_by,
            body=body,
            idempotency_key=idempotency_key,
        )
        if submission.is_new and self._is_running:
            self._adopt(submission.job, ((0, request.row_count),))
        return submission

    async def cancel(self, job_id: str) -> JobRecord:
        """No further work of the job is started and running work is being stopped; its rows stay. Idempotent.

        Raises:
            NotFound: There is no such job.
            Conflict: The job has succeeded or failed.
        """
        record = await self._call(self._ledger.request_cancel, job_id)
        job = self._active.get(job_id)
        if job is None:
            self._broadcast.publish(record)
            self._look_now()
        else:
            self._note(job, record)
        return record

    async def delete(self, job_id: str) -> None:
        """Nothing of the finished job is left. Raises NotFound, and Conflict when the job is not finished."""
        await self._call(self._ledger.delete_job, job_id)

    async def subscribe(self, job_id: str, *, last_event_id: int | None = None) -> AsyncGenerator[JobEvent, None]:
        """The job now, then every change of its counts, status or unfinished rows; ends after that of a finished job.

        Changes that come faster than they are fetched are merged into one event. With `last_event_id` the first event
        is left out when it would repeat what the client has. Raises NotFound when the job is not there (any more).
        """
        with self._broadcast.watch(job_id) as watch:
            job = await self._call(self._ledger.get_job, job_id)
            told: tuple[object, ...] | None = None
            if last_event_id is not None and job.counts.done <= last_event_id and not job.is_finished:
                told = (job.counts, job.status, ())
            while not watch.is_closed:
                unfinished = self.unfinished(job)
                if told != (job.counts, job.status, unfinished):
                    told = (job.counts, job.status, unfinished)
                    yield JobEvent(job.counts.done, job, unfinished)
                if job.is_finished:
                    return
                news = await watch.next(self._poll_s)
                if news is not None:
                    job = news
                elif not watch.is_closed:  # nothing was heard: perhaps another process moves the job
                    with suppress(Unavailable):
                        job = await self._call(self._ledger.get_job, job_id)

    def unfinished(self, job: JobRecord) -> tuple[Row, ...]:
        """What is known of the job's rows that are being made by this process, by index. Callable from any thread.

        Nothing of a finished job: the ledger says that it is before this process has heard of its last rows.
        """
        active = self._active.get(job.id)
        if active is None or job.is_finished:
            return ()
        return tuple(sorted(active.unfinished.copy().values(), key=lambda row: int(row["index"])))

    def state(self) -> RunnerState:
        """What the runner is doing now."""
        jobs = self._active.values()
        return RunnerState(
            is_running=self._is_running,
            active_jobs=len(jobs),
            running_chunks=self._running_chunks(),
            waiting_rows=sum(len(job.lines) for job in jobs),
            recorded_rows=self._recorded_rows,
            trouble=self._trouble,
        )

    # --- which chunk is next ----------------------------------------------------------------------------------------

    async def _dispatch(self) -> None:
        """Give free slots to ready chunks, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            if loop.time() >= self._next_look:
                self._next_look = loop.time() + self._poll_s
                try:
                    await self._admit()
                    if not any(job.lines for job in self._active.values()):
                        self._trouble = None
                except Exception as error:
                    self._meet_trouble(error)
            self._fill_slots(loop.time())
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._next_event() - loop.time())):
                    await self._wake.wait()

    async def _admit(self) -> None:
        """Unfinished jobs of the ledger are active, those that others want cancelled are being stopped."""
        self._has_backlog = False
        for found in await self._call(self._ledger.unfinished_jobs, limit=2 * MAX_ACTIVE_JOBS):
            active = self._active.get(found.id)
            if active is not None:
                if found.status == "cancelling":
                    self._note(active, found)
            elif len(self._active) >= MAX_ACTIVE_JOBS:
                self._has_backlog = True
            else:
                with suppress(NotFound):  # deleted since it was listed
                    missing = await self._call(self._ledger.missing_indices, found.id)
                    self._adopt(await self._call(self._ledger.get_job, found.id), missing)

    def _adopt(self, record: JobRecord, missing: tuple[Range, ...]) -> None:
        """An unfinished job is active, unless too many are: then it waits in the ledger."""
        if record.is_finished or record.id in self._active:
            return
        if len(self._active) >= MAX_ACTIVE_JOBS:
            self._has_backlog = True
            return
        schema = JOB_REQUESTS.get(record.kind)
        size = (schema and schema.chunk_rows) or chunk_size(record.counts.total)
        job = _ActiveJob(record, Plan(missing, size))
        self._active[record.id] = job
        self._note(job, record)
        self._wake.set()

    def _fill_slots(self, now: float) -> None:
        while self._running_chunks() < self._slots:
            ready = [job for job in self._active.values() if (at := job.ready_at()) is not None and at <= now]
            if not ready:
                return
            job = min(ready, key=lambda each: (len(each.tasks), each.served))
            self._served += 1
            job.served = self._served
            task = asyncio.create_task(self._run_part(job, job.plan.take(now)))
            job.tasks.add(task)
            task.add_done_callback(partial(self._part_ended, job))

    def _next_event(self) -> float:
        """When the dispatcher has something to do even if nothing happens."""
        if self._running_chunks() >= self._slots:
            return self._next_look
        return min([self._next_look, *(at for job in self._active.values() if (at := job.ready_at()) is not None)])

    def _running_chunks(self) -> int:
        return sum(len(job.tasks) for job in self._active.values())

    def _look_now(self) -> None:
        self._next_look = 0.0
        self._wake.set()

    # --- one chunk --------------------------------------------------------------------------------------------------

    async def _run_part(self, job: _ActiveJob, part: Part) -> None:
        chunk = ChunkSpec(
            job_id=job.record.id,
            kind=job.record.kind,
            request=dict(job.record.request),
            ranges=part.ranges,
            stall_s=self._stall_s,
        )
        wanted = frozenset(chunk.indices())
        missing = set(wanted)

        async def take(rows: Sequence[Row]) -> None:
            lines = [_line(row, wanted, job.record) for row in rows if is_finished(row)]
            missing.difference_update(line.index for line in lines)
            self._tell(job, [row for row in rows if not is_finished(row)])
            if lines:
                await self._take(job, lines)

        if not await self._begin(job, part):
            return
        try:
            await self._executor.run(await self._following(job, chunk), take)
            if missing:
                raise RuntimeError(f"the executor ended a chunk without {len(missing)} of its {len(wanted)} rows")
        except Exception as error:  # whatever goes wrong in a chunk is weighed here and never ends the runner
            self._weigh(job, part, missing, error)
        finally:
            self._forget(job, missing)

    async def _begin(self, job: _ActiveJob, part: Part) -> bool:
        """The ledger says that the job is running, and work on the part may begin; else the part waits or is moot."""
        try:
            if job.record.status == "queued":
                self._note(job, await self._call(self._ledger.start_job, job.record.id))
        except NotFound:
            self._retire(job)
        except Exception as error:
            self._meet_trouble(error)
            job.resume_at = asyncio.get_running_loop().time() + _LEDGER_PAUSE_S
            job.plan.put_back(part)
            return False
        return not job.is_closing

    async def _following(self, job: _ActiveJob, chunk: ChunkSpec) -> ChunkSpec:
        """The chunk; where rows follow others, its request knows of those that there are."""
        schema = JOB_REQUESTS.get(chunk.kind)
        if schema is None or not schema.follows_rows:
            return chunk
        await self._store(job)
        lines = await self._call(lambda: list(self._ledger.stream_results(chunk.job_id)))
        request = schema.model_validate(chunk.request).following(map(json.loads, lines))
        return chunk.model_copy(update={"request": _as_json(request)})

    def _part_ended(self, job: _ActiveJob, task: asyncio.Task[None]) -> None:
        job.tasks.discard(task)
        self._wake.set()
        if not job.tasks and not len(job.plan):
            self._must_flush.set()

    def _weigh(self, job: _ActiveJob, part: Part, missing: set[int], error: Exception) -> None:
        """What the failure of a chunk means: nothing, another attempt, a poisoned row, or the end of the job."""
        if job.is_closing or not missing:
            return
        now = asyncio.get_running_loop().time()
        if isinstance(error, Unavailable):
            job.outage_since = now if job.outage_since is None else job.outage_since
            if now - job.outage_since >= self._patience_s:
                self._settle(job, _problem(error))
                return
            job.outages += 1
            job.resume_at = now + self._retries.delay_s(job.outages)
            job.plan.put_back(Part(part.ranges, part.failures))
        elif isinstance(error, (InvalidRequest, UnknownName, LimitExceeded)):
            self._settle(job, _problem(error))
        else:
            _log.warning("job %s: a chunk failed, rows %s are missing: %r", job.record.id, ranges_of(missing), error)
            parts = self._retries.after_failure(part, missing, now)
            for each in parts:
                job.plan.put_back(each)
            if not parts:
                self._give_up(job, missing.pop(), error)

    def _give_up(self, job: _ActiveJob, index: int, error: Exception) -> None:
        """The index has an error row; or the job fails, when nothing but such rows come out of the machinery."""
        job.barren += 1
        if job.barren >= BARREN_ITEMS:
            problem = _problem(error)
            problem["detail"] = f"{job.barren} rows failed, none was made between them; the last: {problem['detail']}"
            self._settle(job, problem)
        else:
            self._keep(job, [_error_line(index, error, job.record)])

    # --- finished rows ----------------------------------------------------------------------------------------------

    def _tell(self, job: _ActiveJob, rows: Sequence[Row]) -> None:
        """Those who watch the job hear of its unfinished rows."""
        job.unfinished |= {int(row["index"]): row for row in rows}
        if rows and not job.is_closing:
            self._broadcast.publish(job.record)

    async def _take(self, job: _ActiveJob, lines: list[ResultLine]) -> None:
        """The lines will be recorded; returns when there is room for more."""
        job.barren, job.outages, job.outage_since = 0, 0, None
        self._keep(job, lines)
        while len(job.lines) >= self._most_waiting_rows and not job.is_closing:
            await self._room.wait()

    def _forget(self, job: _ActiveJob, indices: Iterable[int]) -> None:
        """The rows are not being made any more, or the ledger has them; until then those who watch know of them."""
        for index in indices:
            job.unfinished.pop(index, None)

    def _keep(self, job: _ActiveJob, lines: list[ResultLine]) -> None:
        job.lines += lines
        self._has_lines.set()
        if len(job.lines) >= self._batch_rows:
            self._must_flush.set()

    async def _record(self) -> None:
        """Bring finished rows into the ledger, many at once, for ever."""
        while True:
            await self._has_lines.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._batch_s):
                    await self._must_flush.wait()
            self._has_lines.clear()
            self._must_flush.clear()
            try:
                for job in tuple(self._active.values()):
                    await self._store(job)
            except Exception as error:
                self._meet_trouble(error)
                self._has_lines.set()
                await asyncio.sleep(_LEDGER_PAUSE_S)

    async def _store(self, job: _ActiveJob) -> None:
        """The job's waiting rows are in the ledger; when it refuses them they wait on."""
        async with self._writing:
            lines, job.lines = job.lines, []
            if not lines:
                return
            try:
                record = await self._call(self._ledger.record_rows, job.record.id, lines)
            except NotFound:
                self._retire(job)
                return
            except BaseException:
                job.lines = lines + job.lines  # perhaps recorded all the same: twice given is once kept
                raise
            self._trouble = None
            self._forget(job, (line.index for line in lines))
            self._note(job, record)
            self._room.set()
            self._room = asyncio.Event()

    # --- the end of a job -------------------------------------------------------------------------------------------

    def _note(self, job: _ActiveJob, record: JobRecord) -> None:
        """The news are told, and obeyed when they say that the job is to end or has ended; old news change nothing."""
        if is_older(record, job.record):
            return
        self._recorded_rows += record.counts.done - job.record.counts.done
        job.record = record
        self._broadcast.publish(record)
        if record.is_finished:
            self._retire(job)
        elif record.status == "cancelling":
            self._settle(job, None)

    def _retire(self, job: _ActiveJob) -> None:
        """The runner has nothing more to do with the job."""
        self._close(job)
        self._active.pop(job.record.id, None)
        self._wake.set()
        if self._has_backlog:
            self._look_now()

    def _close(self, job: _ActiveJob) -> None:
        job.is_closing = True
        job.plan.clear()
        for task in job.tasks:
            task.cancel()

    def _settle(self, job: _ActiveJob, problem: Mapping[str, Any] | None) -> None:
        """The job is being brought to its end: failed with `problem`, or cancelled."""
        if not job.is_closing:
            if problem is not None:
                _log.error("job %s fails: %s", job.record.id, problem["detail"])
            self._close(job)
            task = asyncio.create_task(self._end(job, problem))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)

    async def _end(self, job: _ActiveJob, problem: Mapping[str, Any] | None) -> None:
        self._room.set()
        self._room = asyncio.Event()
        if job.tasks:
            await asyncio.wait(tuple(job.tasks), timeout=_FAREWELL_S)
        while True:
            try:
                await self._store(job)
                self._note(job, await self._call(self._ledger.finish, job.record.id, problem=problem))
                return
            except NotFound:
                self._retire(job)
                return
            except Exception as error:
                self._meet_trouble(error)
                await asyncio.sleep(_LEDGER_PAUSE_S)

    def _meet_trouble(self, error: Exception) -> None:
        """The ledger did not do what it was asked, which will be tried again; said once, shown until it works."""
        if self._trouble is None:
            _log.error("the ledger refuses work, which is tried again: %s", error, exc_info=error)
        self._trouble = _problem(error)["detail"]

    async def _call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a call of the ledger in a thread of the runner's own, which no other work can occupy."""
        if self._is_closed:
            raise Unavailable("the service is stopping and takes no more calls; try again when it is back")
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **kwargs))


def _as_json(request: JobRequest) -> dict[str, Any]:
    """The prepared request as it is kept and sent."""
    return request.model_dump(mode="json", by_alias=True, exclude_none=True)


def _line(row: Row, wanted: frozenset[int], job: JobRecord) -> ResultLine:
    """The row's line; that of an error row when the row is not JSON. ValueError for a row that was not asked for."""
    index = row.get("index")
    if index not in wanted:
        raise ValueError(f"the executor delivered a row of index {index!r} that its chunk does not have")
    try:
        return ResultLine.of(row)
    except ValueError as error:
        return _error_line(index, error, job)


def _error_line(index: int, error: Exception, job: JobRecord) -> ResultLine:
    """The line of a row that could not be made, whose cause is in the log."""
    _log.error("job %s: row %d could not be made", job.id, index, exc_info=error)
    row = {"index": index, "status": "error", "seed": job.seed, "model": job.model, "problem": _problem(error)}
    return ResultLine.of(row)


def _problem(error: Exception) -> dict[str, Any]:
    """A problem document (RFC 9457) of an exception, without the status that only a door knows.

    What was not foreseen may name the machine's inside: it is in the log, not here.
    """
    title = type(error).__name__
    is_foreseen = isinstance(error, JosephsonError)
    detail = str(error) if is_foreseen else f"the work failed ({title}); the log holds the cause"
    return {"type": "about:blank", "title": title, "detail": detail}
