"""The ledger against a dictionary: whatever is done in whatever order, both say the same."""

from __future__ import annotations

import tempfile

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from app.errors import Conflict, NotFound
from app.jobs.ledger import FINISHED, JOB_STATUSES, Ledger, ResultLine
from app.workshop import OUTCOMES


class ModelJob:
    """What a job should be: its status and its rows."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.status = "queued"
        self.rows: dict[int, str] = {}
        self.is_deleted = False


class LedgerMachine(RuleBasedStateMachine):
    jobs: Bundle[str] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.url = f"sqlite:///{self.folder.name}/jobs.db"
        self.ledger = Ledger(self.url)
        self.model: dict[str, ModelJob] = {}
        self.keys: dict[str, tuple[str, int]] = {}

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    @rule(target=jobs, total=st.integers(1, 12), key=st.sampled_from([None, "a", "b"]))
    def create(self, total: int, key: str | None) -> str:
        known = self.keys.get(key) if key else None
        try:
            made = self.ledger.create_job(
                "analog.generate", {"count": total}, total=total, seed=0, model="m", idempotency_key=key
            )
        except Conflict:
            assert known is not None
            assert known[1] != total
            return known[0]
        assert made.is_new == (known is None)
        if known is None:
            self.model[made.job.id] = ModelJob(total)
            if key:
                self.keys[key] = made.job.id, total
        else:
            assert known == (made.job.id, total)
        return made.job.id

    @rule(job=jobs)
    def start(self, job: str) -> None:
        model = self.model[job]
        try:
            record = self.ledger.start_job(job)
        except NotFound:
            assert model.is_deleted
            return
        if model.status == "queued":
            model.status = "running"
        assert record.status == model.status

    @rule(job=jobs, indices=st.lists(st.integers(0, 11), max_size=8), status=st.sampled_from(OUTCOMES))
    def deliver(self, job: str, indices: list[int], status: str) -> None:
        model = self.model[job]
        lines = [ResultLine.of({"index": index, "status": status}) for index in indices if index < model.total]
        try:
            record = self.ledger.record_rows(job, lines)
        except NotFound:
            assert model.is_deleted
            return
        if model.status not in FINISHED:
            for line in lines:
                model.rows.setdefault(line.index, status)
            if len(model.rows) == model.total:
                model.status = "succeeded"
        assert (record.status, record.counts.done) == (model.status, len(model.rows))

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        model = self.model[job]
        try:
            record = self.ledger.request_cancel(job)
        except NotFound:
            assert model.is_deleted
            return
        except Conflict:
            assert model.status in ("succeeded", "failed")
            return
        model.status = {"queued": "cancelled", "running": "cancelling"}.get(model.status, model.status)
        assert record.status == model.status

    @rule(job=jobs, fails=st.booleans())
    def finish(self, job: str, fails: bool) -> None:
        model = self.model[job]
        try:
            record = self.ledger.finish(job, problem={"title": "x"} if fails else None)
        except NotFound:
            assert model.is_deleted
            return
        if model.status not in FINISHED:
            model.status = "failed" if fails else "cancelled"
        assert record.status == model.status

    @rule(job=jobs)
    def delete(self, job: str) -> None:
        model = self.model[job]
        try:
            self.ledger.delete_job(job)
        except NotFound:
            assert model.is_deleted
        except Conflict:
            assert model.status not in FINISHED
        else:
            assert model.status in FINISHED
            model.is_deleted = True
            self.keys = {key: known for key, known in self.keys.items() if known[0] != job}

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.url)

    @invariant()
    def both_say_the_same(self) -> None:
        alive = {job: model for job, model in self.model.items() if not model.is_deleted}
        assert {record.id for record in self.ledger.list_jobs(limit=1000).jobs} == set(alive)
        assert {record.id for record in self.ledger.unfinished_jobs()} == {
            job for job, model in alive.items() if model.status not in FINISHED
        }
        assert self.ledger.status_counts() == {
            status: sum(model.status == status for model in alive.values()) for status in JOB_STATUSES
        }
        for job, model in alive.items():
            record = self.ledger.get_job(job)
            rows = self.ledger.results(job).rows
            assert {row["index"]: row["status"] for row in rows} == model.rows
            assert [row["index"] for row in rows] == sorted(model.rows)
            assert record.status == model.status
            statuses = list(model.rows.values())
            counted = [statuses.count(status) for status in OUTCOMES]
            assert list(record.as_json()["counts"].values()) == [model.total, len(statuses), *counted]
            missing = [index for start, stop in self.ledger.missing_indices(job) for index in range(start, stop)]
            assert missing == [index for index in range(model.total) if index not in model.rows]


TestTheLedgerIsADictionary = LedgerMachine.TestCase
TestTheLedgerIsADictionary.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
