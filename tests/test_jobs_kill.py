"""kill -9 at random moments: no acknowledged row is lost, none is doubled, and the end is as if nothing had happened.

As a program (``python test_jobs_kill.py FOLDER KILLS``) this file starts a process that runs a job, kills it, restarts.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from app.jobs.executor import LocalExecutor
from app.jobs.ledger import JobRecord, Ledger
from app.jobs.runner import JobRunner
from app.requests import AnalogGenerateRequest
from app.testing import FakeWorkshop

ROWS = 4000


async def run_job(folder: Path, *, tell: Callable[[JobRecord], None] = lambda _: None) -> JobRecord:
    """The job of the folder is done, begun anew or resumed."""
    ledger = Ledger(f"sqlite:///{folder}/jobs.db")
    workshop = FakeWorkshop(delay_s=0.002)
    request = workshop.prepare("analog.generate", AnalogGenerateRequest(count=ROWS, seed=7))
    runner = JobRunner(ledger, LocalExecutor(workshop), batch_s=0.01)
    await runner.start()
    job = (await runner.submit("analog.generate", request, idempotency_key="the job")).job
    async for event in runner.subscribe(job.id):
        job = event.job
        tell(job)
    await runner.aclose()
    ledger.close()
    return job


def run_and_kill(folder: Path, kills: int) -> dict[str, float]:
    """The job is done although its process was killed so often. Facts about it."""
    rng = random.Random()
    facts: dict[str, float] = {"kills": 0, "kills_midway": 0, "slowest_resume_s": 0.0}
    acknowledged = 0
    while True:
        is_last = facts["kills"] == kills
        reader, writer = os.pipe()
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _run_in_child(folder, acknowledged, writer)
        os.close(writer)
        if not is_last:
            if rng.random() < 0.7:  # else it may be killed before it says its first word
                select.select([reader], [], [], 10.0)
            time.sleep(rng.uniform(0.0, 0.08))
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        with os.fdopen(reader) as pipe:
            news = [json.loads(line) for line in pipe.read().split("\n")[:-1]]
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, -signal.SIGKILL), f"the process ended with {code}"
        facts["kills"] += code != 0
        facts["kills_midway"] += code != 0 and any(0 < each["done"] < ROWS for each in news)
        fresh = [each["at"] - began for each in news if each["done"] > acknowledged]
        if acknowledged and fresh:
            facts["slowest_resume_s"] = max(facts["slowest_resume_s"], fresh[0])
        acknowledged = max([acknowledged, *(each["done"] for each in news)])
        if is_last:
            facts["acknowledged"] = acknowledged
            return facts


def _run_in_child(folder: Path, acknowledged: int, writer: int) -> None:
    def tell(job: JobRecord) -> None:
        assert job.counts.done >= acknowledged, f"{acknowledged} rows were acknowledged, {job.counts.done} are there"
        os.write(writer, json.dumps({"done": job.counts.done, "at": time.monotonic()}).encode() + b"\n")

    try:
        asyncio.run(run_job(folder, tell=tell))
        os._exit(0)
    except BaseException as error:
        sys.stderr.write(f"{error!r}\n")
        os._exit(1)


def test_kill_minus_nine_loses_and_doubles_no_row(tmp_path: Path) -> None:
    command = [sys.executable, __file__, str(tmp_path / "killed"), "30"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert output.returncode == 0, output.stderr
    facts = json.loads(output.stdout)
    assert facts["kills"] == 30
    assert facts["kills_midway"] >= 5
    assert facts["slowest_resume_s"] < 2.0

    with sqlite3.connect(tmp_path / "killed" / "jobs.db") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert raw.execute("SELECT count(*), count(DISTINCT item), min(item), max(item) FROM results").fetchone() == (
            (ROWS, ROWS, 0, ROWS - 1)
        )
    raw.close()
    unkilled = asyncio.run(run_job(tmp_path / "unkilled"))
    killed_ledger = Ledger(f"sqlite:///{tmp_path}/killed/jobs.db")
    unkilled_ledger = Ledger(f"sqlite:///{tmp_path}/unkilled/jobs.db")
    (killed,) = killed_ledger.list_jobs().jobs
    assert (killed.status, killed.counts) == ("succeeded", unkilled.counts)
    assert list(killed_ledger.stream_results(killed.id)) == list(unkilled_ledger.stream_results(unkilled.id))
    killed_ledger.close()
    unkilled_ledger.close()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run_and_kill(Path(sys.argv[1]), int(sys.argv[2]))))
