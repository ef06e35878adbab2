"""Sizing over HTTP: a call that is answered with a job, its rows and progress, and problems with pointers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.jobs.executor import LocalExecutor
from app.jobs.ledger import Ledger
from app.jobs.runner import JobRunner
from app.requests import JobRequest
from app.workshop import Row, unfinished_row
from tests.running_service import NamedWorkshop, RunningService, running_service
from tests.sizing import EASY, IMPOSSIBLE, MILLER, FormulaPool, SizingWorkshop, size_request, sizings
from tests.test_service_dashboard import HOSTILE, page_of

PATH = "/v1/analog/size"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service that sizes by formulas."""
    with running_service(tmp_path_factory.mktemp("size"), SizingWorkshop(sizings())) as running:
        yield running


@pytest.fixture
def pool() -> FormulaPool:
    """Workers that answer when they are released."""
    return FormulaPool(is_held=True)


@pytest.fixture
def held(tmp_path: Path, pool: FormulaPool) -> Iterator[RunningService]:
    """A service over these workers."""
    with running_service(tmp_path, SizingWorkshop(sizings(pool))) as running:
        yield running


def body(*bounds: Any, **fields: Any) -> dict[str, Any]:
    """A body of the call."""
    asked = {"netlist": MILLER, "testbench": "opamp", "method": "random", "seed": 3, **fields}
    return {"specification": {"bounds": bounds or [EASY]}, **asked}


def timeless(rows: Sequence[Row]) -> list[Row]:
    return [{key: value for key, value in row.items() if key not in ("wall_s", "cpu_s")} for row in rows]


def test_the_call_is_accepted_as_a_job_whose_rows_are_the_runs(service: RunningService) -> None:
    answer = service.http.post(PATH, json=body("gain_db>60", "ugf_hz>20e6", runs=3))
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["counts"]["total"], job["model"]) == ("analog.size", 3, None)
    done = service.wait_for(job["id"])
    assert (done["status"], done["counts"]["ok"], done["unfinished"]) == ("succeeded", 3, [])
    rows = service.json("GET", f"/v1/jobs/{job['id']}/results")["rows"]
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert all(row["margins"][0]["is_met"] and len(row["decks"]) == 5 for row in rows)


def test_the_job_of_the_jobs_api_is_the_same(service: RunningService) -> None:
    request = body("gain_db>70", runs=2, include_decks=False)
    jobs = [
        service.json("POST", PATH, json=request),
        service.json("POST", "/v1/jobs", json={"kind": "analog.size", "request": request}),
    ]
    first, second = (
        service.json("GET", f"/v1/jobs/{service.wait_for(job['id'])['id']}/results")["rows"] for job in jobs
    )
    assert timeless(first) == timeless(second)
    assert "decks" not in first[0]


def test_the_same_key_is_the_same_job_by_either_way(service: RunningService) -> None:
    headers = {"Idempotency-Key": "size-once"}
    first = service.http.post(PATH, json=body(), headers=headers)
    again = service.http.post(PATH, json=body(), headers=headers)
    job = service.http.post("/v1/jobs", json={"kind": "analog.size", "request": body()}, headers=headers)
    assert first.json()["id"] == again.json()["id"] == job.json()["id"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    service.problem(409, "POST", PATH, json=body(runs=2), headers=headers)


def test_what_is_infeasible_ends_with_the_best_found_and_counts_as_invalid(service: RunningService) -> None:
    asked = body(IMPOSSIBLE, budget={"simulations": 20})
    job = service.wait_for(service.json("POST", PATH, json=asked)["id"])
    assert (job["status"], job["counts"]["invalid"]) == ("succeeded", 1)
    (row,) = service.json("GET", f"/v1/jobs/{job['id']}/results")["rows"]
    assert row["binding"].startswith("gain_db>150: gain_db is ")
    assert row["sizes"]


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"specification": {"bounds": ["gian_db>60"]}}, "/specification/bounds", "did you mean 'gain_db'?"),
        ({"specification": {"bounds": ["gain_db>1e10"]}}, "/specification/bounds", "no circuit has more than 160 dB"),
        ({"specification": {"bounds": ["gain_db>6", "gain_db<5"]}}, "/specification/bounds", "contradict each other"),
        ({"specification": {"bounds": ["gain_db>6", "x"]}}, "/specification/bounds/1", "'x' is no bound"),
        ({"specification": {"bounds": []}}, "/specification/bounds", "has 0 items, it takes at least 1"),
        (
            {"specification": {"bounds": ["gain_db>60"], "objective": {"minimize": "power_w", "maximize": "ugf_hz"}}},
            "/specification/objective",
            "has more items, it takes at most 1",
        ),
        ({"specification": {"bounds": [{"metric": "gain_db", "lo": 3}]}}, "/specification/bounds/0/lo", "unknown key"),
        ({"specification": {}}, "/specification/bounds", "Field required"),
        ({"specification": {"bounds": [EASY], "objective": {"minimise": "power_w"}}},
         "/specification/objective/minimise", "'minimize' or 'maximize'"),
        ({"specification": {"bounds": [EASY], "objective": {}}}, "/specification/objective", "has 0 items"),
        ({"specification": {"bounds": [EASY], "corners": ["tt", "xx"]}}, "/specification/corners/1", "no process"),
        ({"specification": {"bounds": [EASY], "corners": ["tt", {"volts": 1}]}}, "/specification/corners/1/volts",
         "unknown key 'volts'"),
        ({"specification": {"bounds": [EASY], "corners": "all"}}, "/specification/corners", "'nominal' or 'pvt'"),
        ({"specification": {"bounds": [EASY], "supply_v": 5}}, "/specification/supply_v", "supply is 5 V"),
        ({"specification": {"bounds": [EASY], "settings": {"load": 1}}}, "/specification/settings", "'load_f'"),
        ({"budget": {"simulations": 0}}, "/budget/simulations", "greater than or equal to 10"),
        ({"budget": {"minutes": 0}}, "/budget/minutes", "greater than or equal to 0.1"),
        ({"budget": {"simulatons": 20}}, "/budget/simulatons", "did you mean 'simulations'?"),
        ({"testbench": None, "type": "pll"}, "/type", "no testbench measures circuits of type pll"),
        ({"type": "opamp"}, "/type", "on a testbench or by its type; give one of them"),
        ({"testbench": "opmap"}, "/testbench", "did you mean 'opamp'?"),
        ({"method": "guess"}, "/method", "no sizing method named 'guess'"),
        ({"netlist": "R1 VDD VSS 1k\n"}, "/netlist", "testbench opamp cannot drive this circuit"),
        ({"runs": 0}, "/runs", "greater than or equal to 1"),
        ({"runz": 1}, "/runz", "did you mean 'runs'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_sized_is_a_problem_with_its_pointer(
    service: RunningService, fields: dict[str, Any], pointer: str, words: str
) -> None:
    for path, asked, prefix in (
        (PATH, {**body(), **fields}, ""),
        ("/v1/jobs", {"kind": "analog.size", "request": {**body(), **fields}}, "/request"),
    ):
        problem = service.problem(422, "POST", path, json=asked)
        assert problem["errors"][0]["pointer"] == prefix + pointer
        assert words in problem["errors"][0]["detail"]


def test_who_watches_hears_how_far_a_run_is_and_forgets_it_when_it_ends(
    held: RunningService, pool: FormulaPool
) -> None:
    job = held.json("POST", PATH, json=body(IMPOSSIBLE, budget={"simulations": 1500}))
    assert held.wait_for(job["id"], ("running",))["unfinished"] == []
    events = []
    with held.http.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
        pool.release()
        for line in stream.iter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line.removeprefix("data: ")))
    told = [row for event in events for row in event["unfinished"]]
    assert {row["status"] for row in told} == {"running"}
    assert told[0]["progress"]["note"].endswith("of 1500 simulations, the best misses gain_db>150")
    assert [row["progress"]["simulations"] for row in told] == sorted(row["progress"]["simulations"] for row in told)
    assert (events[-1]["status"], events[-1]["unfinished"]) == ("succeeded", [])


def test_a_cancelled_sizing_stops_and_keeps_the_rows_that_are_whole(held: RunningService, pool: FormulaPool) -> None:
    pool.is_held = False
    asked = body(IMPOSSIBLE, runs=1000, budget={"simulations": 200})
    job = held.json("POST", PATH, json=asked)
    held.wait_for(job["id"], ("running",), done=2)
    held.json("POST", f"/v1/jobs/{job['id']}/cancel")
    ended = held.wait_for(job["id"])
    assert (ended["status"], ended["unfinished"]) == ("cancelled", [])
    assert 2 <= ended["counts"]["done"] < 1000
    rows = held.json("GET", f"/v1/jobs/{job['id']}/results")["rows"]
    assert all(row["simulations"] <= 200 and row["sizes"] for row in rows)


def test_sizings_of_jobs_that_were_stopped_go_on_after_a_restart_with_the_rows_they_would_have_had(
    tmp_path: Path,
) -> None:
    request = size_request("gain_db>75", "ugf_hz>30e6", runs=6, budget={"simulations": 60})

    async def some(rows: int) -> tuple[str, list[Row]]:
        """The job until it has so many rows."""
        ledger = Ledger(f"sqlite:///{tmp_path}/jobs.db")
        workshop = SizingWorkshop(sizings())
        runner = JobRunner(ledger, LocalExecutor(workshop), batch_s=0.01, batch_rows=1, max_concurrent_chunks=1)
        await runner.start()
        prepared = workshop.prepare("analog.size", request)
        job = (await runner.submit("analog.size", prepared, idempotency_key="one")).job
        async for event in runner.subscribe(job.id):
            if event.job.counts.done >= rows:
                break
        await runner.aclose()
        lines = [json.loads(line) for line in ledger.stream_results(job.id)]
        status = ledger.get_job(job.id).status
        ledger.close()
        return status, lines

    async def at_once() -> list[Row]:
        made = sizings()
        prepared = made.prepare("analog.size", request)
        rows = [row async for row in made.produce("analog.size", prepared, range(6)) if row["status"] != "running"]
        return sorted(rows, key=lambda row: int(row["index"]))

    status, first = asyncio.run(some(2))
    assert status == "running"
    assert 2 <= len(first) < 6
    status, rows = asyncio.run(some(6))
    assert status == "succeeded"
    assert timeless(rows) == timeless(asyncio.run(at_once()))


def test_sizing_methods_are_listed(service: RunningService) -> None:
    methods = {each["name"]: each for each in service.json("GET", "/v1/sizing-methods")["sizing_methods"]}
    assert methods["insight-m"]["is_default"] is methods["insight-m"]["uses_model"] is True
    assert methods["random"] | {"summary": ""} == {
        "name": "random", "summary": "", "reference": "bergstra2012random", "uses_model": False, "is_default": False,
    }  # fmt: skip


def test_the_pages_of_a_sizing_show_margins_corners_and_what_holds_it_back(service: RunningService) -> None:
    asked = body(IMPOSSIBLE, "ugf_hz>1e6", budget={"simulations": 20})
    job = service.wait_for(service.json("POST", PATH, json=asked)["id"])
    (row,) = service.json("GET", f"/v1/jobs/{job['id']}/results")["rows"]
    _, text = page_of(service, f"/jobs/{job['id']}")
    for words in (
        "sizing · opamp",
        "<h2>Sizings</h2>",
        "gain_db&gt;150",
        "ugf_hz&gt;1e+06",
        "<dt>gain_db</dt><dd>&gt; 150 dB</dd>",
        "gain_db&gt;150: gain_db is",
    ):
        assert words in text, words
    _, text = page_of(service, f"/jobs/{job['id']}/circuits/0")
    for words in ("ss,1.62V,125C", "missed", "w_m1", "Decks", "gain_db&gt;150: gain_db is", "Margins", "M1 MIR VIN1"):
        assert words in text, words
    answer = service.http.get(f"/jobs/{job['id']}/circuits/0/netlist")
    assert answer.text == row["netlist"]


def test_a_page_of_a_running_sizing_shows_how_far_it_is(held: RunningService, pool: FormulaPool) -> None:
    job = held.json("POST", PATH, json=body(IMPOSSIBLE, budget={"simulations": 100_000}))
    pool.release()
    deadline = time.monotonic() + 10
    while not held.json("GET", f"/v1/jobs/{job['id']}")["unfinished"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    _, text = page_of(held, f"/jobs/{job['id']}/progress")
    assert "of 100000 simulations, the best misses gain_db&gt;150" in text
    held.json("POST", f"/v1/jobs/{job['id']}/cancel")


def test_nothing_that_a_sizing_holds_becomes_markup(tmp_path: Path) -> None:
    class Hostile(NamedWorkshop):
        async def produce(
            self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
        ) -> AsyncIterator[Row]:
            async for row in super().produce(kind, request, indices):
                if row["status"] == "running":
                    yield unfinished_row(row["index"], HOSTILE)
                    continue
                limit = {"bound": HOSTILE, "metric": HOSTILE, "corner": HOSTILE, "worst": None, "margin": None}
                yield row | {
                    "status": "invalid", "binding": HOSTILE, "margins": [limit | {"is_met": False}],
                    "metrics": {HOSTILE: {HOSTILE: 1.0}}, "undefined": {HOSTILE: {HOSTILE: {"reason": HOSTILE}}},
                    "sizes": {HOSTILE: 1.0}, "netlist": HOSTILE, "decks": {HOSTILE: {HOSTILE: HOSTILE}},
                    "model": {"note": HOSTILE},
                }  # fmt: skip

    with running_service(tmp_path, Hostile()) as service:
        asked = {"netlist": HOSTILE, "testbench": HOSTILE, "specification": {"bounds": ["a>1"]}}
        job = service.wait_for(service.json("POST", PATH, json=asked)["id"])
        for path in (f"/jobs/{job['id']}", f"/jobs/{job['id']}/circuits", f"/jobs/{job['id']}/circuits/0", "/"):
            _, text = page_of(service, path)
            assert "<script>" not in text


def test_runs_are_counted_once_and_their_progress_is_not(service: RunningService) -> None:
    before = service.http.get("/metrics").text
    assert 'kind="analog.size",status="running"' not in before
    service.wait_for(service.json("POST", PATH, json=body())["id"])
    assert (
        'josephson_circuits_total{asked_by="job",kind="analog.size",status="ok"}' in service.http.get("/metrics").text
    )
