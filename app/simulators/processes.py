"""Worker processes that may crash, hang or eat memory without taking anything with them but one request.

A pool owns up to `size` spawned processes of one module, each fed by a thread of its own (a *lane*). Requests and
answers are JSON over private pipes. Knows nothing of ngspice or Qiskit.
"""

from __future__ import annotations

import collections
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from app.errors import SimulatorCrashed, SimulatorFailure, SimulatorTimeout

_ROOT = Path(__file__).resolve().parent.parent.parent
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What one worker may take; None leaves the system's own limit.

    `cpu_s` counts for each request. `processes` is RLIMIT_NPROC, which counts every process of the user and does not
    bind root: 0 (the worker may start none) is the one value that means the same on every machine.
    """

    cpu_s: int | None = 60
    memory_bytes: int | None = 2 << 30
    file_bytes: int | None = 0
    processes: int | None = None


def read_cpu_s() -> float:
    """Processor seconds of this process and its children so far, the living and those that ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks, parent = 0, os.getpid()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ended.ru_utime + ended.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


class _Died(Exception):
    """The process ended before it answered."""


class _TimedOut(Exception):
    """The process did not answer in its time."""


class _Worker:
    """One live process and its two pipes. Used by one lane; only `kill` may be called from elsewhere."""

    def __init__(self, module: str, limits: ProcessLimits, options: Mapping[str, Any]) -> None:
        self.answered = 0
        self._folder = tempfile.mkdtemp(prefix="josephson-worker-")
        child_in, self._to_child = os.pipe()
        self._from_child, child_out = os.pipe()
        settings = {
            "parent": os.getpid(),
            "requests": child_in,
            "answers": child_out,
            "limits": asdict(limits),
            "options": dict(options),
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "app.simulators._child", module, json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self._folder,
                env=_scrubbed_environment(self._folder),
                pass_fds=(child_in, child_out),
                start_new_session=True,
                umask=0o077,
            )
        except BaseException:
            os.close(self._to_child)
            os.close(self._from_child)
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            os.close(child_in)
            os.close(child_out)
        os.set_blocking(self._to_child, False)
        os.set_blocking(self._from_child, False)

    def kill(self) -> None:
        """The process and whatever it started are about to end. The caller knows that it has not been reaped yet."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self._process.kill()

    def discard(self) -> int:
        """The process is gone, its pipes closed and its folder removed; returns its exit status."""
        self.kill()
        status = self._process.wait()
        os.close(self._to_child)
        os.close(self._from_child)
        shutil.rmtree(self._folder, ignore_errors=True)
        return status

    def send(self, line: bytes, deadline: float) -> None:
        """The whole line is written, else _Died or _TimedOut."""
        data = memoryview(line)
        while data:
            self._wait(self._to_child, select.POLLOUT, deadline)
            try:
                data = data[os.write(self._to_child, data) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise _Died from None

    def receive(self, deadline: float) -> dict[str, Any]:
        """The one document that the child writes next, else _Died or _TimedOut."""
        line = bytearray()
        while not line.endswith(b"\n"):
            self._wait(self._from_child, select.POLLIN, deadline)
            try:
                chunk = os.read(self._from_child, _READ_BYTES)
            except BlockingIOError:
                continue
            if not chunk:
                raise _Died
            line += chunk
        document: dict[str, Any] = json.loads(line)
        return document

    @staticmethod
    def _wait(descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        remaining_ms = (deadline - time.monotonic()) * 1000
        if remaining_ms <= 0 or not poll.poll(remaining_ms):
            raise _TimedOut


def _scrubbed_environment(folder: str) -> dict[str, str]:
    """What a worker sees of our environment: nothing but where to find programs and modules.

    OMP_THREAD_LIMIT has to be there before the process starts: ngspice sets its own OpenMP thread count, and its busy
    waiting costs a factor of 40 to 100 on a shared machine.
    """
    paths = [str(_ROOT), *(path for path in sys.path if path and os.path.isdir(path))]
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": folder,
        "TMPDIR": folder,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_THREAD_LIMIT": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "RAYON_NUM_THREADS": "1",
        **{name: os.environ[name] for name in ("JOSEPHSON_NGSPICE_LIBRARY",) if name in os.environ},
    }


@dataclass(eq=False)
class _Job:
    """One request on its way. `is_cancelled` is read and written under the pool's lock."""

    request: bytes
    timeout_s: float
    future: Future[dict[str, Any]] = field(default_factory=Future)
    is_cancelled: bool = False


@dataclass(eq=False)
class _Lane:
    """One thread's job and process at this moment; both are read and written under the pool's lock.

    A process that stands here has not been reaped, so its id is still its own and it may be killed.
    """

    job: _Job | None = None
    worker: _Worker | None = None


class WorkerPool:
    """Requests to one module's worker processes, as futures. Thread-safe; processes start with the first requests.

    The module has ``handle(request: dict) -> dict`` and may have ``start(options: dict) -> None``; an answer with
    ``"recycle": True`` ends its process after the answer. A worker also makes way for a fresh one after `recycle_after`
    requests, when it dies (the request is tried once more, then its future raises SimulatorCrashed), when it takes
    longer than `timeout_s` or its CPU limit (SimulatorTimeout), and when `start` or `handle` raises (SimulatorFailure).
    Workers die with this process, however it ends.

    Args:
        module: Import path of the worker module.
        size: Most processes at one time.
        timeout_s: Wall clock of one request; starting up has `start_timeout_s` of its own.
        recycle_after: Requests that one process answers.
        limits: What one process may take.
        options: Handed to the module's `start`, as JSON.
    """

    def __init__(
        self,
        module: str,
        *,
        size: int,
        timeout_s: float,
        recycle_after: int,
        limits: ProcessLimits,
        options: Mapping[str, Any] | None = None,
        start_timeout_s: float = 120.0,
    ) -> None:
        self.module = module
        self.size = size
        self.timeout_s = timeout_s
        self.recycle_after = recycle_after
        self.limits = limits
        self._options = dict(options or {})
        self._start_timeout_s = start_timeout_s
        self._lock = threading.Lock()
        self._has_work = threading.Condition(self._lock)
        self._waiting: collections.OrderedDict[_Job, None] = collections.OrderedDict()
        self._waiting_behind: collections.OrderedDict[_Job, None] = collections.OrderedDict()
        self._lanes: list[_Lane] = []
        self._threads: list[threading.Thread] = []
        self._idle_lanes = 0
        self._is_closed = False
        self._counts = dict.fromkeys(("done", "failed", "cancelled", "crashed", "timed_out", "restarted"), 0)

    @property
    def is_closed(self) -> bool:
        """No request is taken any more."""
        return self._is_closed

    def submit(
        self, request: Mapping[str, Any], *, in_background: bool = False, timeout_s: float | None = None
    ) -> Future[dict[str, Any]]:
        """A future of the module's answer to `request` (a JSON object); it raises SimulatorFailure or a subclass.

        A request `in_background` waits until no other one does. `timeout_s` is this request's own wall clock, counted
        from when a worker takes it; the pool's when absent. Cancelling a future that has not started takes the
        request out of the queue; `cancel` stops a running one too.
        """
        job = _Job(json.dumps(request).encode() + b"\n", self.timeout_s if timeout_s is None else timeout_s)
        with self._lock:
            if self._is_closed:
                raise SimulatorFailure(f"the pool of {self.module} workers is closed; open a new one")
            (self._waiting_behind if in_background else self._waiting)[job] = None
            if self._idle_lanes < self._queued() and len(self._lanes) < self.size:
                self._open_lane()
            self._has_work.notify()
        job.future.add_done_callback(lambda _: self._forget(job))
        return job.future

    def cancel(self, future: Future[dict[str, Any]]) -> None:
        """The request of `future` is out of the queue, or its worker killed; the future then raises CancelledError."""
        if not future.cancel():
            with self._lock:
                for lane in self._lanes:
                    if lane.job is not None and lane.job.future is future:
                        self._stop(lane)

    def cancel_all(self) -> None:
        """Every request that was submitted before this call is cancelled, running ones with their workers."""
        with self._lock:
            waiting = (*self._waiting, *self._waiting_behind)
            for lane in self._lanes:
                self._stop(lane)
        for job in waiting:
            self.cancel(job.future)

    def close(self) -> None:
        """Every process is gone; requests that had no answer yet are cancelled. Closing twice is fine."""
        with self._lock:
            self._is_closed = True
            self._has_work.notify_all()
        self.cancel_all()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def statistics(self) -> dict[str, int]:
        """Counts since the pool was made.

        `running` and `queued` requests are of this moment; `done` ones had an answer, `failed` and `cancelled` ones
        none.
        `crashed` and `timed_out` count processes that ended so, `restarted` every process that made way for another.
        """
        with self._lock:
            running = sum(lane.job is not None for lane in self._lanes)
            return {"running": running, "queued": self._queued(), **self._counts}

    def _queued(self) -> int:
        return len(self._waiting) + len(self._waiting_behind)

    def _open_lane(self) -> None:
        lane = _Lane()
        name = f"{self.module}-{len(self._lanes)}"
        thread = threading.Thread(target=self._serve, args=(lane,), name=name, daemon=True)
        self._lanes.append(lane)
        self._threads.append(thread)
        thread.start()

    def _forget(self, job: _Job) -> None:
        """A future that its holder cancelled while it waited leaves the queue, and who waits for it is told."""
        if job.future.cancelled():
            with self._lock:
                was_waiting = job in self._waiting or job in self._waiting_behind
                self._waiting.pop(job, None)
                self._waiting_behind.pop(job, None)
                self._counts["cancelled"] += 1
            if was_waiting:  # else the lane that took it says so
                job.future.set_running_or_notify_cancel()

    @staticmethod
    def _stop(lane: _Lane) -> None:
        if lane.job is not None:
            lane.job.is_cancelled = True
            if lane.worker is not None:
                lane.worker.kill()

    def _serve(self, lane: _Lane) -> None:
        """A lane's thread. It outlasts its processes: the kernel ties a child's life to the *thread* it came from."""
        while (job := self._next_job(lane)) is not None:
            try:
                answer = self._ask_twice(lane, job)
            except Exception as error:  # whatever it is, the one who waits has to hear of it
                self._leave(lane, "cancelled" if isinstance(error, CancelledError) else "failed")
                job.future.set_exception(error)
            else:
                self._leave(lane, "done")
                job.future.set_result(answer)
        if lane.worker is not None:
            self._discard(lane)

    def _next_job(self, lane: _Lane) -> _Job | None:
        """The next request, now running in `lane`; None when the pool is closed."""
        with self._lock:
            self._idle_lanes += 1
            while True:
                while waiting := self._waiting or self._waiting_behind:
                    job, _ = waiting.popitem(last=False)
                    if job.future.set_running_or_notify_cancel():
                        self._idle_lanes -= 1
                        lane.job = job
                        return job
                if self._is_closed:
                    return None
                self._has_work.wait()

    def _leave(self, lane: _Lane, outcome: str) -> None:
        """The lane has no job any more; a worker that was killed for it, or is due for recycling, is gone."""
        with self._lock:
            self._counts[outcome] += 1
            is_spent = lane.job is not None and lane.job.is_cancelled
            lane.job = None
        if lane.worker is not None and (is_spent or lane.worker.answered >= self.recycle_after):
            self._discard(lane)

    def _ask_twice(self, lane: _Lane, job: _Job) -> dict[str, Any]:
        """The answer, from a second process where the first one died."""
        try:
            return self._ask(lane, job)
        except _Died:
            pass
        try:
            return self._ask(lane, job)
        except _Died:
            raise SimulatorCrashed(
                f"the {self.module} worker died on this request, and so did the one that tried it again; "
                "nothing more is known of it, other requests are not affected"
            ) from None

    def _ask(self, lane: _Lane, job: _Job) -> dict[str, Any]:
        """The answer; raises _Died where the process ended by itself, SimulatorFailure or CancelledError otherwise."""
        worker = lane.worker
        if worker is None:
            worker = self._start(lane)
            self._exchange(lane, job, None, self._start_timeout_s)
        document = self._exchange(lane, job, job.request, job.timeout_s)
        worker.answered += 1
        answer: dict[str, Any] = document["answer"]
        if answer.get("recycle"):
            self._discard(lane)
        return answer

    def _start(self, lane: _Lane) -> _Worker:
        try:
            worker = _Worker(self.module, self.limits, self._options)
        except OSError as error:
            raise SimulatorFailure(
                f"no {self.module} worker could be started: {error.strerror}; free memory or processes and try again"
            ) from None
        with self._lock:
            lane.worker = worker
        return worker

    def _exchange(self, lane: _Lane, job: _Job, line: bytes | None, timeout_s: float) -> dict[str, Any]:
        """Sends `line` (where there is one) and returns what comes back. When this raises, the lane has no worker."""
        worker = lane.worker
        assert worker is not None
        deadline = time.monotonic() + timeout_s
        try:
            with self._lock:
                if job.is_cancelled:
                    raise _Died
            if line is not None:
                worker.send(line, deadline)
            document = worker.receive(deadline)
        except _TimedOut:
            self._discard(lane, "timed_out")
            raise SimulatorTimeout(
                f"the {self.module} worker did not answer within {timeout_s:g} s and was killed; "
                "simplify the circuit or allow more time"
            ) from None
        except (_Died, ValueError):
            status = self._discard(lane)
            if job.is_cancelled:
                raise CancelledError from None
            if status == -signal.SIGXCPU:
                self._count("timed_out")
                raise SimulatorTimeout(
                    f"the {self.module} worker used its {self.limits.cpu_s} s of processor time and was killed; "
                    "simplify the circuit or allow more time"
                ) from None
            self._count("crashed")
            raise _Died from None
        if "failed" in document:
            self._discard(lane)
            raise SimulatorFailure(f"the {self.module} worker could not do its work: {document['failed']}")
        return document

    def _discard(self, lane: _Lane, why: str | None = None) -> int:
        """The lane's process is gone; returns its exit status (negative: the signal that ended it)."""
        with self._lock:
            worker, lane.worker = lane.worker, None
            self._counts["restarted"] += 1
            if why is not None:
                self._counts[why] += 1
        assert worker is not None
        return worker.discard()

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1


class PoolShare:
    """One caller's requests to a pool: they have their place in its queue, and can all be stopped at once."""

    def __init__(self, pool: WorkerPool, *, in_background: bool = False) -> None:
        self._pool = pool
        self._in_background = in_background
        self._lock = threading.Lock()
        self._futures: set[Future[dict[str, Any]]] = set()
        self._is_stopped = False

    @property
    def size(self) -> int:
        """Most processes of the pool."""
        return self._pool.size

    @property
    def is_stopped(self) -> bool:
        """No request can be made any more."""
        return self._is_stopped

    def submit(self, request: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """See `WorkerPool.submit`; raises SimulatorFailure once the share is stopped."""
        with self._lock:
            if self._is_stopped:
                raise SimulatorFailure("the work was stopped and asks for nothing more; begin it anew")
            future = self._pool.submit(request, in_background=self._in_background)
            self._futures.add(future)
        future.add_done_callback(self._forget)
        return future

    def cancel(self, future: Future[dict[str, Any]]) -> None:
        """See `WorkerPool.cancel`."""
        self._pool.cancel(future)

    def stop(self) -> None:
        """No request of this share waits or runs, and none can be made."""
        with self._lock:
            self._is_stopped = True
            futures = tuple(self._futures)
        for future in futures:
            self._pool.cancel(future)

    def _forget(self, future: Future[dict[str, Any]]) -> None:
        with self._lock:
            self._futures.discard(future)
