"""kill -9 while a job simulates: after a restart each sizing has its row once, as if nothing had happened.

As a program (``python test_simulations_kill.py FOLDER``) this file runs the job of the folder, begun anew or resumed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.jobs.executor import LocalExecutor
from app.jobs.ledger import Ledger
from app.jobs.runner import JobRunner
from app.requests import AnalogSimulateRequest
from tests.bench_workshop import PAIR, bench_workshop

ROWS = 300
REQUEST = AnalogSimulateRequest.model_validate(
    {"netlist": PAIR, "testbench": "opamp", "metrics": ["gain_db"], "draw": {"count": ROWS}, "seed": 11}
)


async def run_job(folder: Path) -> None:
    """The job is done; the number of its rows is printed whenever it grows."""
    ledger = Ledger(f"sqlite:///{folder}/jobs.db")
    with bench_workshop(folder) as workshop:
        runner = JobRunner(ledger, LocalExecutor(workshop), batch_s=0.01, batch_rows=4)
        await runner.start()
        prepared = workshop.prepare("analog.simulate", REQUEST)
        job = (await runner.submit("analog.simulate", prepared, idempotency_key="the job")).job
        async for event in runner.subscribe(job.id):
            sys.stdout.write(f"{event.job.counts.done}\n")
            sys.stdout.flush()
        await runner.aclose()
    ledger.close()


def rows_in(folder: Path) -> tuple[str, list[dict[str, Any]]]:
    """The job's status and its rows without what depends on the clock."""
    ledger = Ledger(f"sqlite:///{folder}/jobs.db")
    (job,) = ledger.list_jobs().jobs
    rows = [json.loads(line) for line in ledger.stream_results(job.id)]
    ledger.close()
    return job.status, [{key: value for key, value in row.items() if key != "timings"} for row in rows]


@pytest.mark.simulator
def test_a_killed_job_of_sizings_goes_on_and_has_each_row_once(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, __file__, str(folder)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    done_before = 0
    for rows_first in (20, 120):
        with start() as process:
            assert process.stdout is not None
            done = next(done for line in process.stdout if (done := int(line)) >= rows_first)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert done_before < done < ROWS
        done_before = done
    with start() as process:
        assert process.stdout is not None
        counts = [int(line) for line in process.stdout]
    assert (process.returncode, counts[-1]) == (0, ROWS)
    assert counts[0] >= done_before, "a row that was told of is there after the kill"

    status, rows = rows_in(folder)
    assert status == "succeeded"
    assert [row["index"] for row in rows] == list(range(ROWS))

    async def unkilled() -> list[dict[str, Any]]:
        with bench_workshop(tmp_path / "unkilled") as workshop:
            prepared = workshop.prepare("analog.simulate", REQUEST)
            made = [row async for row in workshop.produce("analog.simulate", prepared, range(ROWS))]
        made.sort(key=lambda row: int(row["index"]))
        return [{key: value for key, value in row.items() if key != "timings"} for row in made]

    assert rows == asyncio.run(unkilled())


if __name__ == "__main__":
    asyncio.run(run_job(Path(sys.argv[1])))
