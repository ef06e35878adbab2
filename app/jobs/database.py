"""How the ledger's database is opened, written and claimed, and what its refusals mean. Knows nothing of jobs.

SQLite and PostgreSQL differ here and nowhere else.
"""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from app.errors import InvalidInput, PackageMissing, Unavailable

#: File systems on which SQLite's locks or its shared memory (WAL) cannot be trusted.
NETWORK_FILESYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p"})

#: Identifies the runner's claim among the advisory locks of a PostgreSQL database ("jsephson" in ASCII).
_ADVISORY_KEY = 0x6A73657068736F6E

#: Longest wait for another process to end its writing.
_BUSY_TIMEOUT_S = 10.0

#: Errors of the database that only a mistake of this package can cause.
_MISTAKES = (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError, sa.exc.InterfaceError)

#: Words of a refusal -> what is wrong, and what to do.
_REFUSALS = (
    ("disk is full", "cannot be written: the disk is full; free some space, unfinished jobs go on by themselves"),
    ("readonly", "cannot be written: it is read-only; make the file and its folder writable"),
    ("locked", "is locked by another program; close what has it open"),
    ("malformed", "is damaged; move it away, or restore a backup"),
    ("not a database", "is not a SQLite database; move the file away, or point to another ledger"),
    ("unable to open", "cannot be opened; make sure that its folder exists and is writable"),
)


class Claim:
    """The exclusive right to run the jobs of a database, held until `release` or the end of the process."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        """Another process may run the jobs; a second call does nothing."""
        release, self._release = self._release, None
        if release is not None:
            release()


class Database:
    """The database behind a ledger: connections, transactions, and the right to be its only runner.

    Args:
        mounts: Where the kernel lists mounted file systems; a SQLite file on a network file system is refused.

    Raises:
        InvalidInput: `url` is not a URL of a supported database.
        PackageMissing: The PostgreSQL driver is not installed.
        Unavailable: The file lies on a network file system, or its folder cannot be made.
    """

    def __init__(self, url: str, *, mounts: Path) -> None:
        self._url = _parsed(url)
        self._write_lock: threading.Lock | nullcontext[None] = nullcontext()
        self._path: Path | None = None
        if self._url.get_backend_name() == "sqlite":
            self._write_lock = threading.Lock()
            self._path = _usable_file(self._url, mounts)
            self.engine = sa.create_engine(self._url, connect_args={"timeout": _BUSY_TIMEOUT_S})
            sa.event.listen(self.engine, "connect", _prepare_sqlite_connection)
            sa.event.listen(self.engine, "begin", _begin_sqlite_transaction)
        else:
            try:
                self.engine = sa.create_engine(self._url, pool_pre_ping=True)
            except ImportError as error:
                raise PackageMissing("psycopg", "a ledger in PostgreSQL", extra="postgres") from error
        self._writer = self.engine.execution_options(josephson_writes=True)
        #: Set once the schema is there. From then on callers of the service may read the sentences of refusals.
        self.is_open = False

    @property
    def name(self) -> str:
        """Where the database is, for its operator: the file, or the URL without its password."""
        return str(self._path) if self._path else self._url.render_as_string(hide_password=True)

    @property
    def _called(self) -> str:
        """What sentences call the database: its operator is told where it is, a caller of the service is not."""
        if not self.is_open:
            return f"the ledger {self.name}"
        return f"the ledger {self._path.name}" if self._path else "the ledger's database"

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """An insert that knows ``ON CONFLICT``, which both databases write alike and SQLAlchemy keeps apart."""
        return sqlite.insert(table) if self._path else postgresql.insert(table)

    @contextmanager
    def transaction(self, *, writes: bool) -> Iterator[sa.Connection]:
        """All of the block is done, or nothing of it; a reader sees one moment and waits for nobody.

        Raises:
            Unavailable: The database refused, with the reason and what to do.
        """
        lock, engine = (self._write_lock, self._writer) if writes else (nullcontext(), self.engine)
        with lock, self._plain_errors(), engine.begin() as connection:
            yield connection

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        """What the database refuses leaves as Unavailable; mistakes of this code leave as they are."""
        try:
            yield
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            if isinstance(error, _MISTAKES):
                raise
            cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            raise Unavailable(self._refusal(" ".join(str(cause).split()))) from error
        except sa.exc.TimeoutError as error:
            raise Unavailable(f"{self._called} is overloaded: no connection became free; try later") from error

    def _refusal(self, cause: str) -> str:
        for words, sentence in _REFUSALS:
            if words in cause:
                return f"{self._called} {sentence}"
        if self._path is None:
            return f"{self._called} does not answer; start the database or correct the URL"
        return f"{self._called} cannot be used ({cause}); look at its disk and its permissions"

    def claim(self) -> Claim:
        """The caller alone runs the jobs kept here until it releases the claim or dies, however it dies.

        SQLite: an exclusive lock on the file ``<database>.runner.lock``. PostgreSQL: an advisory lock of a session.

        Raises:
            Unavailable: Another process holds the claim, or it cannot be made.
        """
        if self._path is None:
            return self._claim_session()
        path = self._path.with_name(self._path.name + ".runner.lock")
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            sentence = f"the lock file {path} cannot be opened ({error.strerror}); make its folder writable"
            raise Unavailable(sentence) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise Unavailable(
                f"the jobs of {self._path} are already run by another process (id {holder}); "
                "stop it, or give this one another data folder"
            ) from error
        with suppress(OSError):  # the number only serves a sentence; a full disk does not void the claim
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        return Claim(lambda: os.close(handle))

    def _claim_session(self) -> Claim:
        with self._plain_errors():
            connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            if connection.execute(sa.select(sa.func.pg_try_advisory_lock(_ADVISORY_KEY))).scalar_one():
                return Claim(lambda: _close_for_good(connection))
            connection.close()
        raise Unavailable(f"the jobs of {self.name} are already run by another process; stop it, or use another one")


def _parsed(url: str) -> sa.URL:
    wanted = "a ledger's URL is sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise InvalidInput(f"the text given is no database URL; {wanted}") from error
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise InvalidInput(f"jobs cannot be kept in {parsed.get_backend_name()!r}; {wanted}")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise InvalidInput(f"a ledger in memory would not outlive the process; {wanted}")
    return parsed


def _usable_file(url: sa.URL, mounts: Path) -> Path:
    path = Path(cast("str", url.database)).absolute()
    filesystem = _filesystem(path, mounts)
    if filesystem in NETWORK_FILESYSTEMS:
        raise Unavailable(
            f"the ledger {path} lies on a network file system ({filesystem}), where SQLite loses data; "
            "set JOSEPHSON_DATA_DIR to a local folder, or use PostgreSQL"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sentence = f"the folder {path.parent} of the ledger cannot be made ({error.strerror}); choose another"
        raise Unavailable(sentence) from error
    return path


def _filesystem(path: Path, mounts: Path) -> str | None:
    """The type of the file system that holds `path`, None where the kernel's list is not readable."""
    try:
        table = mounts.read_text(errors="replace")
    except OSError:
        return None
    real = path.resolve()
    best: tuple[int, str] | None = None
    for entry in table.splitlines():
        fields = entry.split()
        if len(fields) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[1]))
        if real.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):
            best = len(point.parts), fields[2]
    return best[1] if best else None


def _prepare_sqlite_connection(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, not where the driver guesses
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "journal_size_limit=67108864"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite_transaction(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("josephson_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _close_for_good(connection: sa.Connection) -> None:
    """Close the session itself: giving it back to the pool would keep its advisory lock."""
    connection.invalidate()
    connection.close()
