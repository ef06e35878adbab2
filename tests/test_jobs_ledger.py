"""The ledger alone: what goes in comes out once, and what the database refuses is a sentence."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.errors import Conflict, InvalidInput, InvalidRequest, LimitExceeded, NotFound, PackageMissing, Unavailable
from app.jobs.ledger import MAX_PAGE, JobRecord, Ledger, ResultLine

NOWHERE = "00000000000000000000000000"

#: An empty PostgreSQL database that these tests may fill, if there is one.
POSTGRESQL = os.environ.get("JOSEPHSON_TEST_POSTGRESQL")


@pytest.fixture(params=["sqlite", *(["postgresql"] if POSTGRESQL else [])])
def any_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path}/jobs.db" if request.param == "sqlite" else str(POSTGRESQL))
    yield ledger
    if request.param == "postgresql":
        with ledger.engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE results, jobs, ledger_schema"))
    ledger.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path}/jobs.db")
    yield ledger
    ledger.close()


def add_job(ledger: Ledger, *, total: int = 10, seed: int = 1, key: str | None = None) -> JobRecord:
    request = {"count": total, "seed": seed, "model": "fake"}
    made = ledger.create_job("analog.generate", request, total=total, seed=seed, model="fake", idempotency_key=key)
    return made.job


def lines(*indices: int, status: str = "ok", note: str = "") -> list[ResultLine]:
    return [ResultLine.of({"index": index, "status": status, "note": note}) for index in indices]


def finished_job(ledger: Ledger) -> JobRecord:
    job = add_job(ledger, total=1)
    return ledger.record_rows(job.id, lines(0))


def test_a_job_comes_back_as_it_was_put_in(any_ledger: Ledger) -> None:
    request = {"count": 3, "seed": 2**63 - 1, "model": "fake", "type": "opamp"}
    made = any_ledger.create_job("analog.generate", request, total=3, seed=2**63 - 1, model="fake")
    job = any_ledger.get_job(made.job.id)
    assert made.is_new
    assert job == made.job
    assert (job.status, job.seed, job.request) == ("queued", 2**63 - 1, request)
    assert job.as_json()["counts"] == {"total": 3, "done": 0, "ok": 0, "invalid": 0, "error": 0}
    assert job.as_json()["created"].endswith("+00:00")


def test_a_job_outlives_the_process_that_took_it(tmp_path: Path) -> None:
    first = Ledger(f"sqlite:///{tmp_path}/deep/folder/jobs.db")
    job = add_job(first)
    first.record_rows(job.id, lines(3, 4))
    first.close()
    second = Ledger(f"sqlite:///{tmp_path}/deep/folder/jobs.db")
    assert second.missing_indices(job.id) == ((0, 3), (5, 10))
    second.close()


def test_a_row_given_twice_is_kept_once_and_the_first_one_stays(any_ledger: Ledger) -> None:
    job = add_job(any_ledger)
    any_ledger.record_rows(job.id, lines(1, 1, 2, note="first"))
    job = any_ledger.record_rows(job.id, lines(2, 1, note="second") + lines(3, status="error"))
    assert (job.counts.done, job.counts.ok, job.counts.error) == (3, 2, 1)
    assert [row["note"] for row in any_ledger.results(job.id, status="ok").rows] == ["first", "first"]


def test_the_last_row_succeeds_the_job_and_later_ones_change_nothing(any_ledger: Ledger) -> None:
    job = add_job(any_ledger, total=2)
    assert any_ledger.start_job(job.id).status == "running"
    assert any_ledger.record_rows(job.id, lines(0)).status == "running"
    done = any_ledger.record_rows(job.id, lines(1, status="invalid"))
    assert (done.status, done.counts.ok, done.counts.invalid) == ("succeeded", 1, 1)
    assert done.finished is not None
    assert any_ledger.record_rows(job.id, lines(0, note="late")) == done
    assert any_ledger.finish(job.id, problem={"title": "late"}) == done


def test_a_cancelled_job_keeps_its_rows_and_takes_no_more(any_ledger: Ledger) -> None:
    job = add_job(any_ledger)
    any_ledger.start_job(job.id)
    any_ledger.record_rows(job.id, lines(0, 1))
    assert any_ledger.request_cancel(job.id).status == "cancelling"
    assert any_ledger.request_cancel(job.id).status == "cancelling"
    assert any_ledger.record_rows(job.id, lines(2)).counts.done == 3
    assert any_ledger.finish(job.id).status == "cancelled"
    assert any_ledger.request_cancel(job.id).status == "cancelled"
    assert any_ledger.record_rows(job.id, lines(3)).counts.done == 3
    assert [row["index"] for row in any_ledger.results(job.id).rows] == [0, 1, 2]


def test_a_queued_job_is_cancelled_at_once(any_ledger: Ledger) -> None:
    job = add_job(any_ledger)
    assert any_ledger.request_cancel(job.id).status == "cancelled"
    assert any_ledger.start_job(job.id).status == "cancelled"


def test_a_finished_job_cannot_be_cancelled(ledger: Ledger) -> None:
    job = finished_job(ledger)
    with pytest.raises(Conflict, match="has succeeded and cannot be cancelled"):
        ledger.request_cancel(job.id)


def test_a_failed_job_says_why(any_ledger: Ledger) -> None:
    job = add_job(any_ledger)
    failed = any_ledger.finish(job.id, problem={"title": "Unavailable", "detail": "no ngspice"})
    assert failed.status == "failed"
    assert failed.as_json()["error"] == {"title": "Unavailable", "detail": "no ngspice"}


def test_a_deleted_job_leaves_nothing(any_ledger: Ledger) -> None:
    job = add_job(any_ledger, total=1, key="again")
    with pytest.raises(Conflict, match="is queued; cancel it and let it end"):
        any_ledger.delete_job(job.id)
    any_ledger.record_rows(job.id, lines(0))
    any_ledger.delete_job(job.id)
    known = any_ledger
    for call in (known.get_job, known.delete_job, known.results, known.missing_indices, known.request_cancel):
        with pytest.raises(NotFound, match=f"no job '{job.id}'"):
            call(job.id)
    with pytest.raises(NotFound, match="no job"):
        any_ledger.record_rows(job.id, lines(0))
    with pytest.raises(NotFound, match="no job"):
        any_ledger.stream_results(job.id)
    assert add_job(any_ledger, total=1, key="again").id != job.id


@pytest.mark.parametrize("name", ["", "x", NOWHERE, "' OR 1=1 --", "a\0b", "\ud800", "é" * 26])
def test_a_strange_job_id_is_not_found(any_ledger: Ledger, name: str) -> None:
    with pytest.raises(NotFound, match="no job"):
        any_ledger.get_job(name)


def test_the_same_key_and_body_are_the_same_job(any_ledger: Ledger) -> None:
    body = {"type": "opamp", "count": 5}
    made = [
        any_ledger.create_job(
            "analog.generate", {**body, "seed": seed}, total=5, seed=seed, model="m", body=body, idempotency_key="k"
        )
        for seed in (1, 2)
    ]
    assert [each.is_new for each in made] == [True, False]
    assert made[0].job == made[1].job
    with pytest.raises(Conflict, match=f"idempotency key 'k' was used for job {made[0].job.id} with another body"):
        any_ledger.create_job("quantum.generate", body, total=5, seed=1, model="m", body=body, idempotency_key="k")


def test_two_hundred_simultaneous_posts_of_one_key_make_one_job(any_ledger: Ledger) -> None:
    with ThreadPoolExecutor(16) as threads:
        made = list(threads.map(lambda _: add_job(any_ledger, key="k").id, range(200)))
    assert len(set(made)) == 1
    assert sum(any_ledger.status_counts().values()) == 1


def test_an_unusable_idempotency_key_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LimitExceeded, match="the length of the idempotency key is 256, the limit is 255"):
        add_job(ledger, key="k" * 256)
    for key in ("", "a\nb", "a\0"):
        with pytest.raises(InvalidRequest, match="empty or has unprintable characters"):
            add_job(ledger, key=key)


def test_pages_of_jobs_run_from_the_newest_to_the_oldest_without_gap(any_ledger: Ledger) -> None:
    made = [add_job(any_ledger, total=1).id for _ in range(7)]
    any_ledger.record_rows(made[2], lines(0))
    seen: list[str] = []
    cursor = None
    while True:
        page = any_ledger.list_jobs(cursor=cursor, limit=3)
        seen += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == made[::-1]
    assert [job.id for job in any_ledger.list_jobs(status="succeeded").jobs] == [made[2]]
    assert [job.id for job in any_ledger.unfinished_jobs()] == [each for each in made if each != made[2]]
    assert any_ledger.status_counts()["queued"] == 6


def test_an_unusable_page_is_refused(ledger: Ledger) -> None:
    job = add_job(ledger)
    with pytest.raises(InvalidRequest, match="the cursor is not one that a page gave"):
        ledger.list_jobs(cursor="x")
    with pytest.raises(InvalidRequest, match="no job status 'done'; known: queued"):
        ledger.list_jobs(status="done")  # type: ignore[arg-type] # a caller's mistake
    with pytest.raises(InvalidRequest, match="limit is 0, it must be between 1 and 1000"):
        ledger.list_jobs(limit=0)
    with pytest.raises(LimitExceeded, match="limit is 1001, the limit is 1000"):
        ledger.results(job.id, limit=MAX_PAGE + 1)
    with pytest.raises(InvalidRequest, match="no row status 'fine'; known: ok, invalid, error"):
        ledger.results(job.id, status="fine")  # type: ignore[arg-type] # a caller's mistake


def test_pages_of_results_and_the_stream_agree(any_ledger: Ledger) -> None:
    job = add_job(any_ledger, total=1200)
    any_ledger.record_rows(job.id, lines(*range(1199, -1, -2)) + lines(*range(0, 1200, 2), status="invalid"))
    paged: list[int] = []
    after: int | None = -1
    while after is not None:
        page = any_ledger.results(job.id, after=after, limit=500)
        paged += [row["index"] for row in page.rows]
        after = page.next_after
    assert paged == list(range(1200))
    assert len(list(any_ledger.stream_results(job.id))) == 1200
    assert len(list(any_ledger.stream_results(job.id, status="ok", after=599))) == 300
    assert any_ledger.results(job.id, after=10**30).rows == ()
    assert any_ledger.results(job.id, after=-(10**30), limit=1).rows[0]["index"] == 0


def test_a_row_keeps_every_character_of_its_text(any_ledger: Ledger) -> None:
    job = add_job(any_ledger, total=1)
    row = {"index": 0, "status": "ok", "netlist": "R1 a b 1\n\0 Ω \ud800 \u2028", "deep": [1.5, None, {"a": True}]}
    any_ledger.record_rows(job.id, [ResultLine.of(row)])
    assert any_ledger.results(job.id).rows == (row,)
    assert next(any_ledger.stream_results(job.id)).isascii()


def test_a_simulation_without_a_result_counts_as_invalid_and_keeps_its_own_status(ledger: Ledger) -> None:
    statuses = ("ok", "not_converged", "simulator_gave_up", "timeout", "error")
    job = ledger.create_job("analog.simulate", {}, total=5, seed=0, model=None).job
    rows = tuple({"index": index, "status": status} for index, status in enumerate(statuses))
    record = ledger.record_rows(job.id, [ResultLine.of(row) for row in rows])
    assert (record.counts.ok, record.counts.invalid, record.counts.error) == (1, 3, 1)
    assert record.model is None
    assert ledger.results(job.id).rows == rows
    assert ledger.results(job.id, status="invalid").rows == rows[1:4]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"status": "ok"}, "a row has no usable index: None"),
        ({"index": True, "status": "ok"}, "a row has no usable index: True"),
        ({"index": 1, "status": "fine"}, "row 1 has the unknown status 'fine'"),
        ({"index": 1, "status": ["ok"]}, r"row 1 has the unknown status \['ok'\]"),
        ({"index": 1, "status": "ok", "x": float("nan")}, "row 1 is not JSON"),
        ({"index": 1, "status": "ok", "x": object()}, "row 1 is not JSON"),
    ],
)
def test_what_is_not_a_row_has_no_line(row: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ResultLine.of(row)


def test_a_row_outside_the_job_is_refused_with_all_that_came_with_it(any_ledger: Ledger) -> None:
    job = add_job(any_ledger, total=2)
    with pytest.raises(ValueError, match=f"job {job.id} has no index 2, it has 2 rows"):
        any_ledger.record_rows(job.id, lines(0, 2))
    assert any_ledger.get_job(job.id).counts.done == 0


def test_counts_equal_rows_when_many_threads_deliver_the_same_rows(any_ledger: Ledger) -> None:
    job = add_job(any_ledger, total=400)
    starts = [start for start in range(0, 400, 20) for _ in range(3)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda start: any_ledger.record_rows(job.id, lines(*range(start, start + 20))), starts))
    job = any_ledger.get_job(job.id)
    assert (job.status, job.counts.done, job.counts.ok) == ("succeeded", 400, 400)
    assert any_ledger.missing_indices(job.id) == ()


def test_readers_do_not_wait_for_a_writer(ledger: Ledger) -> None:
    job = add_job(ledger)
    with ledger.engine.execution_options(josephson_writes=True).begin():
        assert ledger.get_job(job.id) == job


# --- accidents ------------------------------------------------------------------------------------------------------


def fill_disk(ledger: Ledger) -> None:
    """No connection of this ledger can make its file larger."""
    ledger.engine.dispose()
    sa.event.listen(ledger.engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count=1"))


def test_a_full_disk_is_a_sentence_and_passes(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/jobs.db")
    job = add_job(ledger)
    full = Ledger(f"sqlite:///{tmp_path}/jobs.db")
    fill_disk(full)
    with pytest.raises(Unavailable, match=r"the ledger jobs\.db cannot be written: the disk is full; free some space"):
        full.record_rows(job.id, lines(*range(10), note="x" * 10_000))
    assert full.get_job(job.id) == job
    assert full.results(job.id).rows == ()
    assert ledger.record_rows(job.id, lines(*range(10), note="x" * 10_000)).status == "succeeded"
    full.close()
    ledger.close()


def test_a_read_only_ledger_is_a_sentence_and_can_still_be_read(ledger: Ledger) -> None:
    job = add_job(ledger)
    ledger.check()
    ledger.engine.dispose()
    sa.event.listen(ledger.engine, "connect", lambda raw, _: raw.execute("PRAGMA query_only=ON"))
    with pytest.raises(Unavailable, match=r"the ledger jobs\.db cannot be written: it is read-only"):
        ledger.check()
    assert ledger.get_job(job.id) == job


def test_a_ledger_that_another_program_holds_is_a_sentence(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/jobs.db")
    ledger.engine.dispose()
    sa.event.listen(ledger.engine, "connect", lambda raw, _: raw.execute("PRAGMA busy_timeout=10"))
    other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match=r"the ledger jobs\.db is locked by another program; close what has it open"):
        add_job(ledger)
    other.execute("ROLLBACK")
    other.close()
    assert add_job(ledger).status == "queued"
    ledger.close()


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_text("a shopping list, long enough to be read as a header of one hundred bytes " * 9)
    with pytest.raises(Unavailable, match=r"jobs\.db is not a SQLite database; move the file away"):
        Ledger(f"sqlite:///{tmp_path}/jobs.db")
    assert (tmp_path / "jobs.db").read_text().startswith("a shopping list")


def test_a_damaged_ledger_is_a_sentence(tmp_path: Path) -> None:
    Ledger(f"sqlite:///{tmp_path}/jobs.db").close()
    with (tmp_path / "jobs.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (os.path.getsize(tmp_path / "jobs.db") - 4096))
    with pytest.raises(Unavailable, match=r"jobs\.db is damaged; move it away, or restore a backup"):
        Ledger(f"sqlite:///{tmp_path}/jobs.db")


def test_a_ledger_that_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").mkdir()
    with pytest.raises(Unavailable, match=r"jobs\.db cannot be opened; make sure that its folder exists"):
        Ledger(f"sqlite:///{tmp_path}/jobs.db")
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match=r"the folder .*file/folder of the ledger cannot be made"):
        Ledger(f"sqlite:///{tmp_path}/file/folder/jobs.db")


def test_what_was_not_foreseen_is_told_as_the_database_tells_it(tmp_path: Path, ledger: Ledger) -> None:
    with sqlite3.connect(tmp_path / "jobs.db") as raw:
        raw.execute("DROP TABLE results")
    raw.close()
    with pytest.raises(Unavailable, match=r"jobs\.db cannot be used \(no such table: results\); look at its disk"):
        ledger.record_rows(add_job(ledger).id, lines(0))


def test_a_mistake_of_the_code_is_not_blamed_on_the_machine(ledger: Ledger) -> None:
    with pytest.raises(sa.exc.IntegrityError, match="NOT NULL"):
        ledger.create_job("analog.generate", {}, total=1, seed=None, model="fake")  # type: ignore[arg-type] # the mistake


def test_an_overloaded_ledger_is_a_sentence(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ledger.engine.pool
    assert isinstance(pool, sa.pool.QueuePool)
    monkeypatch.setattr(pool, "_timeout", 0.01)
    held = [ledger.engine.connect() for _ in range(15)]
    with pytest.raises(Unavailable, match=r"the ledger jobs\.db is overloaded: no connection became free"):
        ledger.status_counts()
    for connection in held:
        connection.close()
    assert ledger.status_counts()["queued"] == 0


def test_a_newer_schema_is_refused_and_not_touched(tmp_path: Path) -> None:
    Ledger(f"sqlite:///{tmp_path}/jobs.db").close()
    with sqlite3.connect(tmp_path / "jobs.db") as raw:
        raw.execute("UPDATE ledger_schema SET version = 99")
    raw.close()
    with pytest.raises(Unavailable, match="has schema version 99, this Josephson knows up to 1; update Josephson"):
        Ledger(f"sqlite:///{tmp_path}/jobs.db")


@pytest.mark.parametrize("filesystem", ["nfs4", "cifs", "9p"])
def test_a_network_file_system_is_refused(tmp_path: Path, filesystem: str) -> None:
    mounts = tmp_path / "mounts"
    folder = tmp_path / "far away"
    escaped = str(folder).replace(" ", r"\040")
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nhost:/x {escaped} {filesystem} rw 0 0\n")
    with pytest.raises(Unavailable, match=rf"lies on a network file system \({filesystem}\), where SQLite loses data"):
        Ledger(f"sqlite:///{folder}/jobs.db", mounts=mounts)
    Ledger(f"sqlite:///{tmp_path}/near/jobs.db", mounts=mounts).close()
    Ledger(f"sqlite:///{tmp_path}/near/jobs.db", mounts=tmp_path / "absent").close()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("jobs.db", "the text given is no database URL"),
        ("mysql://localhost/jobs", "jobs cannot be kept in 'mysql'"),
        ("sqlite://", "a ledger in memory would not outlive the process"),
        ("sqlite:///:memory:", "a ledger in memory would not outlive the process"),
    ],
)
def test_an_unusable_url_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=f"{sentence}; a ledger's URL is sqlite:///FILE or postgresql://"):
        Ledger(url)


def test_a_missing_postgresql_driver_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(PackageMissing, match="a ledger in PostgreSQL needs the package 'psycopg'"):
        Ledger("postgresql+psycopg://nobody:secret@127.0.0.1:1/none")


if POSTGRESQL:

    def test_a_database_that_does_not_answer_is_a_sentence_without_the_password() -> None:
        with pytest.raises(Unavailable, match="does not answer; start the database or correct the URL") as caught:
            Ledger("postgresql+psycopg://nobody:secret@127.0.0.1:1/none")
        assert "secret" not in str(caught.value)


def test_one_process_alone_runs_the_jobs(any_ledger: Ledger) -> None:
    claim = any_ledger.claim_runner()
    other = Ledger(any_ledger.engine.url.render_as_string(hide_password=False))
    with pytest.raises(Unavailable, match="already run by another process"):
        other.claim_runner()
    claim.release()
    other.claim_runner().release()
    any_ledger.claim_runner().release()
    other.close()


def test_the_process_that_runs_the_jobs_is_named(tmp_path: Path, ledger: Ledger) -> None:
    claim = ledger.claim_runner()
    other = Ledger(f"sqlite:///{tmp_path}/jobs.db")
    with pytest.raises(Unavailable, match=rf"already run by another process \(id {os.getpid()}\); stop it"):
        other.claim_runner()
    claim.release()
    claim.release()
    other.claim_runner().release()
    other.close()


def test_a_dead_process_leaves_its_claim(tmp_path: Path, ledger: Ledger) -> None:
    code = (
        "import sys, time; from app.jobs.ledger import Ledger; claim = Ledger(sys.argv[1]).claim_runner(); "
        "print(1, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/jobs.db"]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"1\n"
    with pytest.raises(Unavailable, match=rf"already run by another process \(id {holder.pid}\)"):
        ledger.claim_runner()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    ledger.claim_runner().release()


def test_an_unusable_lock_file_is_a_sentence(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "jobs.db.runner.lock").mkdir()
    with pytest.raises(Unavailable, match=r"the lock file .* cannot be opened \(Is a directory\)"):
        ledger.claim_runner()


def test_ids_ascend_even_when_many_are_made_at_once(ledger: Ledger) -> None:
    made: list[str] = []
    lock = threading.Lock()

    def make() -> None:
        with lock:
            made.append(add_job(ledger).id)

    threads = [threading.Thread(target=make) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == sorted(set(made))
    assert all(len(each) == 26 for each in made)
