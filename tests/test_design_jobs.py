"""Designs as jobs: what is there when a process goes away stays, and the rest is made with what is left."""

from __future__ import annotations

import asyncio
from pathlib import Path

from app.design.maker import KIND
from app.jobs.executor import LocalExecutor
from app.jobs.ledger import Ledger
from app.requests import AnalogDesignRequest
from app.workshop import Row
from tests.designing import AnyAmplifier, CheckedPool, DesignWorkshop, by_index, design_request, designs, produced
from tests.sizing import IMPOSSIBLE
from tests.test_jobs_runner import ended, running


def held_after(simulations: int) -> CheckedPool:
    """Workers that answer so many requests for simulations, and none after these until they are released."""

    class Tiring(CheckedPool):
        left = simulations

        def submit(self, request, *, in_background=False, timeout_s=None):
            if "sizings" in request:
                self.left -= 1
                self.is_held = self.left < 0
            return super().submit(request, in_background=in_background, timeout_s=timeout_s)

    return Tiring(AnyAmplifier())


def rows_of(folder: Path, job_id: str) -> list[Row]:
    """The rows of the job that are on the ledger."""
    ledger = Ledger(f"sqlite:///{folder}/jobs.db")
    rows = list(ledger.results(job_id).rows)
    ledger.close()
    return rows


async def held_in(folder: Path, job_id: str, pool: CheckedPool, sized: int) -> None:
    """Returns once the pool holds back its answers, with so many sized candidates of the job on the ledger."""
    while not pool.held or sum(row["simulations"] > 0 for row in rows_of(folder, job_id)) < sized:
        await asyncio.sleep(0.02)


async def interrupted(folder: Path, request: AnalogDesignRequest, pool: CheckedPool, sized: int) -> str:
    """The design was begun, and its process went away while a candidate was being sized, after so many others."""
    workshop = DesignWorkshop(designs(pool=pool))
    async with running(folder, LocalExecutor(workshop)) as runner, asyncio.timeout(30):
        job = (await runner.submit(KIND, workshop.prepare(KIND, request))).job
        await held_in(folder, job.id, pool, sized)
        return job.id


async def resumed(folder: Path, job_id: str, pool: CheckedPool) -> list[Row]:
    """The rows of the job, which another process has ended."""
    async with running(folder, LocalExecutor(DesignWorkshop(designs(pool=pool)))) as runner:
        assert (await ended(runner, job_id)).status == "succeeded"
    return rows_of(folder, job_id)


def test_a_design_whose_process_goes_away_has_every_row_once_and_keeps_to_its_budget(tmp_path: Path):
    request = design_request(IMPOSSIBLE, sources="both", candidates=6, enough=1, budget={"simulations": 60})
    pool = held_after(40)
    job_id = asyncio.run(interrupted(tmp_path, request, pool, sized=1))
    before = rows_of(tmp_path, job_id)
    assert 0 < len(before) < 6
    spent = sum(row["simulations"] for row in before)
    assert spent > 0
    rows = asyncio.run(resumed(tmp_path, job_id, CheckedPool(AnyAmplifier())))
    assert [row["index"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert {row["index"]: row for row in rows} | {row["index"]: row for row in before} == by_index(rows)
    assert spent < sum(row["simulations"] for row in rows) <= 60


def test_candidates_are_the_same_circuits_as_if_nothing_had_happened(tmp_path: Path):
    request = design_request(IMPOSSIBLE, sources="both", candidates=6, enough=1, budget={"simulations": 60})
    job_id = asyncio.run(interrupted(tmp_path, request, held_after(10), sized=0))
    rows = by_index(asyncio.run(resumed(tmp_path, job_id, CheckedPool(AnyAmplifier()))))
    made = designs()
    undisturbed = by_index(asyncio.run(produced(made, made.prepare(KIND, request))))
    circuit = ("origin", "name", "device_count", "ports", "nearest", "novelty")
    assert [[rows[index][key] for key in circuit] for index in rows] == [
        [undisturbed[index][key] for key in circuit] for index in rows
    ]


def test_a_design_that_is_cancelled_keeps_the_rows_that_it_has(tmp_path: Path):
    request = design_request(IMPOSSIBLE, candidates=4, enough=1, budget={"simulations": 60})
    pool = held_after(40)
    workshop = DesignWorkshop(designs(pool=pool))

    async def begin_and_cancel() -> tuple[str, int]:
        async with running(tmp_path, LocalExecutor(workshop)) as runner, asyncio.timeout(30):
            job = (await runner.submit(KIND, workshop.prepare(KIND, request))).job
            await held_in(tmp_path, job.id, pool, sized=1)
            await runner.cancel(job.id)
            job = await ended(runner, job.id)
            return job.status, job.counts.done

    status, done = asyncio.run(begin_and_cancel())
    assert (status, 0 < done < 4) == ("cancelled", True)
