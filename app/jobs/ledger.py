"""What is true about jobs: which were asked for, how far they are, and every row they produced.

Two tables, `jobs` and `results`, behind SQLAlchemy Core: SQLite (WAL, synchronous FULL) by default, PostgreSQL by URL.
Work may be done more than once, a row is there exactly once: rows go in by ``INSERT .. ON CONFLICT DO NOTHING`` on
(job, index), and the transaction that inserts them also moves the job's counts, so counts always equal the rows.
No chunk has a record of its own: a piece of work is done when its indices have rows, whatever way the job was cut, so a
resumed job needs nothing but `missing_indices`. (A third, one-row table remembers the version of this schema.)

Every method blocks and may be called from any thread; asynchronous code calls it through a thread. What the disk or
the database refuses (full, read-only, locked, gone) is `Unavailable` with a sentence; nothing of the refused call is
kept, and the same ledger works again as soon as the cause is gone. The ledger does not know who does the work.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

import sqlalchemy as sa

from app.errors import Conflict, InvalidRequest, LimitExceeded, NotFound, Unavailable
from app.jobs.database import Claim, Database
from app.workshop import OUTCOME_OF, OUTCOMES, Outcome, Row

JobStatus = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]

#: Statuses that never change again.
FINISHED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})
JOB_STATUSES: tuple[JobStatus, ...] = ("queued", "running", "cancelling", "succeeded", "failed", "cancelled")

#: Most entries of one page of jobs or results.
MAX_PAGE = 1000

#: Longest idempotency key, in characters.
MAX_KEY_LENGTH = 255

#: What this code reads and writes; a ledger with a higher one was written by a newer Josephson.
SCHEMA_VERSION = 1

_PAGE_OF_STREAM = 500
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_PATTERN = re.compile(f"[{_ID_ALPHABET}]{{26}}")

_metadata = sa.MetaData()

_jobs = sa.Table(
    "jobs",
    _metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, index=True),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("done", sa.Integer, nullable=False),
    sa.Column("ok", sa.Integer, nullable=False),
    sa.Column("invalid", sa.Integer, nullable=False),
    sa.Column("error", sa.Integer, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("started", sa.Double),
    sa.Column("finished", sa.Double),
    sa.Column("problem", sa.Text),
    sa.Column("idempotency_key", sa.Text, unique=True),
    sa.Column("body_hash", sa.Text, nullable=False),
)

_results = sa.Table(
    "results",
    _metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("item", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("line", sa.Text, nullable=False),
    sa.Index("results_by_status", "job_id", "status", "item"),
)

_schema = sa.Table("ledger_schema", _metadata, sa.Column("version", sa.Integer, nullable=False))


@dataclass(frozen=True)
class Counts:
    """Rows of a job: wanted, there, and what they count as (`OUTCOME_OF`). ``done = ok + invalid + error <= total``."""

    total: int
    done: int
    ok: int
    invalid: int
    error: int


@dataclass(frozen=True)
class JobRecord:
    """A job as the ledger has it at one moment. `model` is None where no trained model makes its rows."""

    id: str
    kind: str
    status: JobStatus
    counts: Counts
    seed: int
    model: str | None
    request: Mapping[str, Any]
    created: datetime
    started: datetime | None
    finished: datetime | None
    error: Mapping[str, Any] | None

    @property
    def is_finished(self) -> bool:
        """Nothing about the job will change any more, except that it may be deleted."""
        return self.status in FINISHED

    def as_json(self) -> dict[str, Any]:
        """The job for callers, without links. Times are ISO 8601 in UTC."""
        return {
            "id": self.id,
            "kind": self.kind,
            "status": self.status,
            "counts": {
                "total": self.counts.total,
                "done": self.counts.done,
                "ok": self.counts.ok,
                "invalid": self.counts.invalid,
                "error": self.counts.error,
            },
            "seed": self.seed,
            "model": self.model,
            "request": dict(self.request),
            "created": self.created.isoformat(),
            "started": self.started.isoformat() if self.started else None,
            "finished": self.finished.isoformat() if self.finished else None,
            "error": dict(self.error) if self.error else None,
        }


@dataclass(frozen=True)
class Submission:
    """Answer to `create_job`: the job, and whether this call made it (False: the idempotency key was known)."""

    job: JobRecord
    is_new: bool


@dataclass(frozen=True)
class JobPage:
    """Jobs, newest first; `next_cursor` asks for the older ones, None at the end."""

    jobs: tuple[JobRecord, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class ResultPage:
    """Rows by ascending index; `next_after` asks for the following ones, None when no more are there now."""

    rows: tuple[Row, ...]
    next_after: int | None


@dataclass(frozen=True)
class ResultLine:
    """One row as it is kept: its index, what it counts as, and its JSON text (ASCII, one line)."""

    index: int
    status: Outcome
    text: str

    @classmethod
    def of(cls, row: Row) -> ResultLine:
        """The line of a row; ValueError for a row that is not one (no index, unknown status, not JSON)."""
        index, status = row.get("index"), row.get("status")
        if type(index) is not int or index < 0:
            raise ValueError(f"a row has no usable index: {index!r}")
        if not isinstance(status, str) or status not in OUTCOME_OF:
            raise ValueError(f"row {index} has the unknown status {status!r}")
        try:
            text = json.dumps(row, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"row {index} is not JSON: {error}") from error
        return cls(index, OUTCOME_OF[status], text)


class Ledger:
    """Jobs and their rows, durably. `url` is ``sqlite:///FILE`` or ``postgresql://USER@HOST/DATABASE``.

    Opening creates the folder, the file and the tables where they are absent.

    Args:
        mounts: Where the kernel lists mounted file systems; a SQLite file on a network file system is refused.

    Raises:
        InvalidInput: `url` is not a URL of a supported database.
        PackageMissing: The PostgreSQL driver is not installed.
        Unavailable: The database cannot be opened, lies on a network file system, is damaged, or was written by a newer
            version.
    """

    def __init__(self, url: str, *, mounts: Path = Path("/proc/mounts")) -> None:
        self._database = Database(url, mounts=mounts)
        self._ids = _IdSource()
        try:
            self._create_tables()
        except BaseException:
            self.close()
            raise
        self._database.is_open = True

    @property
    def name(self) -> str:
        """Where the ledger is, for its operator: the file, or the URL without its password."""
        return self._database.name

    @property
    def engine(self) -> sa.Engine:
        """SQLAlchemy's engine, for backups, tests and events of connections."""
        return self._database.engine

    def close(self) -> None:
        """No connection is open; the ledger must not be used any more."""
        self._database.engine.dispose()

    def claim_runner(self) -> Claim:
        """The caller alone runs this ledger's jobs until it releases the claim or dies, however it dies.

        Raises:
            Unavailable: Another process holds the claim, or it cannot be made.
        """
        return self._database.claim()

    def check(self) -> None:
        """The ledger can be written, shown by writing; else Unavailable."""
        with self._database.transaction(writes=True) as connection:
            connection.execute(sa.update(_schema).values(version=SCHEMA_VERSION))

    # --- jobs -------------------------------------------------------------------------------------------------------

    def create_job(
        self,
        kind: str,
        request: Mapping[str, Any],
        *,
        total: int,
        seed: int,
        model: str | None,
        body: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Submission:
        """A queued job is in the ledger, durably: a new one, or the one that was made under the same idempotency key.

        Args:
            request: The prepared request, as JSON.
            total: How many rows the job has, indices ``0 .. total-1``.
            body: What the caller sent, before it was prepared (`request` when absent); two calls with one key are the
                same call when this is the same. A key is remembered as long as its job is.

        Raises:
            Conflict: The key belongs to a job with another body.
            InvalidRequest: The key is empty or has unprintable characters.
            LimitExceeded: The key is longer than `MAX_KEY_LENGTH`.
        """
        if idempotency_key is not None:
            _check_key(idempotency_key)
        body_hash = _body_hash(kind, request if body is None else body)
        values = {
            "id": self._ids.next(),
            "kind": kind,
            "request": json.dumps(dict(request), allow_nan=False),
            "seed": seed,
            "model": model or "",
            "status": "queued",
            "total": total,
            "done": 0,
            "ok": 0,
            "invalid": 0,
            "error": 0,
            "created": time.time(),
            "idempotency_key": idempotency_key,
            "body_hash": body_hash,
        }
        with self._database.transaction(writes=True) as connection:
            insert = (
                self._database.insert(_jobs).values(values).on_conflict_do_nothing(index_elements=["idempotency_key"])
            )
            is_new = connection.execute(insert.returning(_jobs.c.id)).first() is not None
            which = _jobs.c.id == values["id"] if is_new else _jobs.c.idempotency_key == idempotency_key
            found = connection.execute(sa.select(_jobs).where(which)).mappings().one()
            if found["body_hash"] != body_hash:
                raise Conflict(
                    f"idempotency key {idempotency_key!r} was used for job {found['id']} with another body; "
                    "send the same body again, or use a new key"
                )
            return Submission(_record(found), is_new)

    def get_job(self, job_id: str) -> JobRecord:
        """The job as it is now; NotFound when there is none."""
        with self._database.transaction(writes=False) as connection:
            return self._job(connection, job_id)

    def list_jobs(self, *, cursor: str | None = None, limit: int = 50, status: JobStatus | None = None) -> JobPage:
        """A page of jobs, newest first, of one status or all.

        Raises:
            InvalidRequest: `cursor` is not one that a page gave, or `status` is unknown.
            LimitExceeded: `limit` is not in ``1 .. MAX_PAGE``.
        """
        _check_limit(limit)
        query = sa.select(_jobs).order_by(_jobs.c.id.desc()).limit(limit + 1)
        if cursor is not None:
            if not _ID_PATTERN.fullmatch(cursor):
                raise InvalidRequest("the cursor is not one that a page gave; start without one", pointer="/cursor")
            query = query.where(_jobs.c.id < cursor)
        if status is not None:
            if status not in JOB_STATUSES:
                raise InvalidRequest(f"no job status {status!r}; known: {', '.join(JOB_STATUSES)}", pointer="/status")
            query = query.where(_jobs.c.status == status)
        with self._database.transaction(writes=False) as connection:
            found = [_record(row) for row in connection.execute(query).mappings()]
        return JobPage(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)

    def status_counts(self) -> dict[JobStatus, int]:
        """How many jobs have each status, zeros included."""
        with self._database.transaction(writes=False) as connection:
            query = sa.select(_jobs.c.status, sa.func.count().label("jobs")).group_by(_jobs.c.status)
            found = {row.status: row.jobs for row in connection.execute(query)}
        return {status: found.get(status, 0) for status in JOB_STATUSES}

    def unfinished_jobs(self, *, limit: int = MAX_PAGE) -> tuple[JobRecord, ...]:
        """Jobs that are queued, running or being cancelled, oldest first: what a runner has to see to."""
        query = sa.select(_jobs).where(_jobs.c.status.not_in(FINISHED)).order_by(_jobs.c.id).limit(limit)
        with self._database.transaction(writes=False) as connection:
            return tuple(_record(row) for row in connection.execute(query).mappings())

    def start_job(self, job_id: str) -> JobRecord:
        """A queued job is running; a job of any other status is as it was."""
        with self._database.transaction(writes=True) as connection:
            change = sa.update(_jobs).where(_jobs.c.id == job_id, _jobs.c.status == "queued")
            connection.execute(change.values(status="running", started=time.time()))
            return self._job(connection, job_id)

    def request_cancel(self, job_id: str) -> JobRecord:
        """A queued job is cancelled, a running one is being cancelled; a second call changes nothing.

        Raises:
            NotFound: There is no such job.
            Conflict: The job has succeeded or failed.
        """
        with self._database.transaction(writes=True) as connection:
            job = self._job(connection, job_id, lock=True)
            if job.status in ("succeeded", "failed"):
                raise Conflict(f"job {job_id} has {job.status} and cannot be cancelled; DELETE removes it and its rows")
            if job.status == "queued":
                return self._change(connection, job_id, status="cancelled", finished=time.time())
            if job.status == "running":
                return self._change(connection, job_id, status="cancelling")
            return job

    def finish(self, job_id: str, *, problem: Mapping[str, Any] | None = None) -> JobRecord:
        """The job's last status: failed with `problem`, else cancelled. Its rows stay; a finished job is as it was.

        Success is not declared: `record_rows` sets it in the transaction that inserts the last row.
        """
        with self._database.transaction(writes=True) as connection:
            job = self._job(connection, job_id, lock=True)
            if job.is_finished:
                return job
            if problem is None:
                return self._change(connection, job_id, status="cancelled", finished=time.time())
            text = json.dumps(dict(problem))
            return self._change(connection, job_id, status="failed", finished=time.time(), problem=text)

    def delete_job(self, job_id: str) -> None:
        """Nothing of the job is left: neither its rows nor its idempotency key.

        Raises:
            NotFound: There is no such job.
            Conflict: The job is not finished.
        """
        with self._database.transaction(writes=True) as connection:
            job = self._job(connection, job_id, lock=True)
            if not job.is_finished:
                raise Conflict(f"job {job_id} is {job.status}; cancel it and let it end before deleting it")
            connection.execute(sa.delete(_results).where(_results.c.job_id == job_id))
            connection.execute(sa.delete(_jobs).where(_jobs.c.id == job_id))

    # --- results ----------------------------------------------------------------------------------------------------

    def record_rows(self, job_id: str, lines: Sequence[ResultLine]) -> JobRecord:
        """Each line is in the ledger once, however often it was given, and counted; the last one succeeds the job.

        The first line of an index stays. Lines for a finished job are dropped: what is finished does not change.

        Raises:
            NotFound: There is no such job.
            ValueError: A line's index is not one of the job's.
        """
        with self._database.transaction(writes=True) as connection:
            job = self._job(connection, job_id, lock=True)
            for line in lines:
                if not 0 <= line.index < job.counts.total:
                    raise ValueError(f"job {job_id} has no index {line.index}, it has {job.counts.total} rows")
            if job.is_finished or not lines:
                return job
            insert = self._database.insert(_results).on_conflict_do_nothing(index_elements=["job_id", "item"])
            values = [{"job_id": job_id, "item": x.index, "status": x.status, "line": x.text} for x in lines]
            new = connection.execute(insert.returning(_results.c.status), values).scalars().all()
            done = job.counts.done + len(new)
            changes: dict[str, Any] = {"done": done}
            for status in OUTCOMES:
                changes[status] = getattr(job.counts, status) + new.count(status)
            if done == job.counts.total:
                changes |= {"status": "succeeded", "finished": time.time()}
            return self._change(connection, job_id, **changes)

    def missing_indices(self, job_id: str) -> tuple[tuple[int, int], ...]:
        """The indices without a row, as ascending half-open ranges ``(start, stop)``; NotFound without the job."""
        following = sa.func.lead(_results.c.item).over(order_by=_results.c.item)
        steps = sa.select(_results.c.item, following.label("following")).where(_results.c.job_id == job_id).subquery()
        query = sa.select(steps).where(
            sa.or_(steps.c.following.is_(None), steps.c.following > steps.c.item + 1)  # a gap, or the last row
        )
        with self._database.transaction(writes=False) as connection:
            total = self._job(connection, job_id).counts.total
            lowest = sa.select(sa.func.min(_results.c.item)).where(_results.c.job_id == job_id)
            first = connection.execute(lowest).scalar_one()
            gaps = connection.execute(query.order_by(steps.c.item)).all()
        ranges = [(0, total if first is None else first)]
        ranges += [(item + 1, total if after is None else after) for item, after in gaps]
        return tuple((start, stop) for start, stop in ranges if start < stop)

    def results(self, job_id: str, *, after: int = -1, limit: int = 100, status: Outcome | None = None) -> ResultPage:
        """Rows with an index above `after`, ascending, of one outcome or all.

        While the job runs a lower index may get its row later; pages of a finished job are complete and never change.

        Raises:
            NotFound: There is no such job.
            LimitExceeded: `limit` is not in ``1 .. MAX_PAGE``.
            InvalidRequest: `status` is unknown.
        """
        _check_limit(limit)
        _check_row_status(status)
        with self._database.transaction(writes=False) as connection:
            self._job(connection, job_id)
            found = connection.execute(_page(job_id, after, limit + 1, status)).all()
        rows = tuple(cast("Row", json.loads(text)) for _, text in found[:limit])
        return ResultPage(rows, found[limit - 1][0] if len(found) > limit else None)

    def stream_results(self, job_id: str, *, after: int = -1, status: Outcome | None = None) -> Iterator[str]:
        """Every row that is there, ascending, as JSON text without a line end; bounded memory, short transactions.

        Raises like `results`, at the call and not at the first item.
        """
        _check_row_status(status)
        self.get_job(job_id)
        return self._lines(job_id, after, status)

    def _lines(self, job_id: str, after: int, status: Outcome | None) -> Iterator[str]:
        while True:
            with self._database.transaction(writes=False) as connection:
                found = connection.execute(_page(job_id, after, _PAGE_OF_STREAM, status)).all()
            for _, text in found:
                yield text
            if len(found) < _PAGE_OF_STREAM:
                return
            after = found[-1][0]

    # --- inside -----------------------------------------------------------------------------------------------------

    def _job(self, connection: sa.Connection, job_id: str, *, lock: bool = False) -> JobRecord:
        if not _ID_PATTERN.fullmatch(job_id):
            raise NotFound("job", job_id)
        query = sa.select(_jobs).where(_jobs.c.id == job_id)
        found = connection.execute(query.with_for_update() if lock else query).mappings().first()
        if found is None:
            raise NotFound("job", job_id)
        return _record(found)

    def _change(self, connection: sa.Connection, job_id: str, **values: Any) -> JobRecord:
        connection.execute(sa.update(_jobs).where(_jobs.c.id == job_id).values(**values))
        return self._job(connection, job_id)

    def _create_tables(self) -> None:
        with self._database.transaction(writes=True) as connection:
            _metadata.create_all(connection)
            version = connection.execute(sa.select(_schema.c.version)).scalar()
            if version is None:
                connection.execute(sa.insert(_schema).values(version=SCHEMA_VERSION))
            elif version > SCHEMA_VERSION:
                raise Unavailable(
                    f"the ledger {self.name} has schema version {version}, this Josephson knows up to "
                    f"{SCHEMA_VERSION}; update Josephson, or point it to another ledger"
                )


class _IdSource:
    """Job ids: 48 bits of milliseconds and 80 random bits in 26 letters, ascending even within a millisecond."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> str:
        """An id that no other call returned and that sorts after this source's former ones."""
        with self._lock:
            fresh = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
            self._last = fresh if fresh >> 80 > self._last >> 80 else self._last + 1
            return "".join(_ID_ALPHABET[self._last >> shift & 31] for shift in range(125, -1, -5))


def _body_hash(kind: str, body: Mapping[str, Any]) -> str:
    text = json.dumps([kind, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _page(job_id: str, after: int, limit: int, status: Outcome | None) -> sa.Select[int, str]:
    after = max(-1, min(after, 2**31 - 1))  # wider numbers do not fit the column and no index is there
    query = sa.select(_results.c.item, _results.c.line).where(_results.c.job_id == job_id, _results.c.item > after)
    if status is not None:
        query = query.where(_results.c.status == status)
    return query.order_by(_results.c.item).limit(limit)


def _check_key(key: str) -> None:
    if len(key) > MAX_KEY_LENGTH:
        raise LimitExceeded("the length of the idempotency key", len(key), MAX_KEY_LENGTH)
    if not key or not key.isprintable():
        raise InvalidRequest("the idempotency key is empty or has unprintable characters; use, for example, a UUID")


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise InvalidRequest(f"limit is {limit}, it must be between 1 and {MAX_PAGE}", pointer="/limit")
    if limit > MAX_PAGE:
        raise LimitExceeded("limit", limit, MAX_PAGE, pointer="/limit", hint="follow the cursor for more")


def _check_row_status(status: str | None) -> None:
    if status is not None and status not in OUTCOMES:
        raise InvalidRequest(f"no row status {status!r}; known: {', '.join(OUTCOMES)}", pointer="/status")


def _record(row: sa.RowMapping) -> JobRecord:
    return JobRecord(
        id=row["id"],
        kind=row["kind"],
        status=row["status"],
        counts=Counts(row["total"], row["done"], row["ok"], row["invalid"], row["error"]),
        seed=row["seed"],
        model=row["model"] or None,
        request=json.loads(row["request"]),
        created=datetime.fromtimestamp(row["created"], UTC),
        started=_moment(row["started"]),
        finished=_moment(row["finished"]),
        error=json.loads(row["problem"]) if row["problem"] else None,
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
