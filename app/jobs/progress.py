"""News of running jobs, from the runner to whoever watches. In memory only: what is true is in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.jobs.ledger import JobRecord
from app.workshop import Row

#: How near its end a job of a status is.
_ORDER = {"queued": 0, "running": 1, "cancelling": 2, "succeeded": 3, "failed": 3, "cancelled": 3}


@dataclass(frozen=True)
class JobEvent:
    """A job at one moment, and what is known of rows that are being made.

    `id` is its count of done rows: what a client sends back as Last-Event-ID.
    """

    id: int
    job: JobRecord
    unfinished: tuple[Row, ...] = ()


def is_older(one: JobRecord, other: JobRecord) -> bool:
    """`one` was true before `other`: a job's rows only become more, and its status only moves towards its end."""
    return one.counts.done < other.counts.done or _ORDER[one.status] < _ORDER[other.status]


class Watch:
    """One watcher's newest news of one job. It replaces older news, fetched or not, so a slow watcher costs nothing."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._latest: JobRecord | None = None
        self._is_closed = False

    def tell(self, job: JobRecord) -> None:
        """The watcher finds `job` next, unless it already knows later news (the ledger only moves forward)."""
        if self._latest is None or not is_older(job, self._latest):
            self._latest = job
            self._news.set()

    def close(self) -> None:
        """No further news will come."""
        self._is_closed = True
        self._news.set()

    @property
    def is_closed(self) -> bool:
        """No further news will come."""
        return self._is_closed

    async def next(self, timeout_s: float) -> JobRecord | None:
        """The newest news not fetched yet; None after `timeout_s` seconds without any, or when closed."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return None
        if self._is_closed:
            return None
        self._news.clear()
        return self._latest


class Broadcast:
    """Hands the news of each job to its watchers. Belongs to one event loop."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Watch]:
        """A watch that hears of the job inside the block."""
        watch = Watch()
        self._watches.setdefault(job_id, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._watches[job_id]
            watches.discard(watch)
            if not watches:
                del self._watches[job_id]

    def publish(self, job: JobRecord) -> None:
        """Everybody who watches the job will see this state of it or a later one."""
        for watch in self._watches.get(job.id, ()):
            watch.tell(job)

    def close(self) -> None:
        """Every watch is closed."""
        for watches in self._watches.values():
            for watch in watches:
                watch.close()
