"""The jobs API: submit, watch, fetch, cancel, delete."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from app.errors import NotFound
from app.jobs.progress import JobEvent
from app.requests import JOB_REQUESTS
from app.service.jobs import _prefers_ndjson, checked_id, event_stream, job_document
from app.service.schemas import AnalogJob, DesignJob, PredictionJob, QuantumJob, SimulationJob, SizingJob
from tests.running_service import NamedWorkshop, RunningService, running_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("jobs")) as running:
        yield running


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[RunningService]:
    with running_service(tmp_path, NamedWorkshop(delay_s=0.02)) as running:
        yield running


def test_every_kind_of_job_can_be_submitted() -> None:
    submissions: tuple[type[BaseModel], ...] = (
        AnalogJob,
        QuantumJob,
        SimulationJob,
        PredictionJob,
        SizingJob,
        DesignJob,
    )
    for kind, submission in zip(JOB_REQUESTS, submissions, strict=True):
        assert submission.model_json_schema()["properties"]["kind"]["const"] == kind
        assert submission.model_fields["request"].annotation is JOB_REQUESTS[kind]


def test_a_submitted_job_is_accepted_with_its_place_and_when_to_look(service: RunningService) -> None:
    answer = service.http.post("/v1/jobs", json={"kind": "quantum.generate", "request": {"count": 30, "seed": 3}})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert int(answer.headers["retry-after"]) >= 1
    assert job["counts"]["total"] == 30
    done = service.wait_for(job["id"])
    counts = done["counts"]
    assert done["status"] == "succeeded"
    assert counts["done"] == 30 == counts["ok"] + counts["invalid"] + counts["error"]
    assert (done["kind"], done["seed"]) == ("quantum.generate", 3)


def test_the_rows_of_a_job_are_those_of_the_inline_call(service: RunningService) -> None:
    inline = service.json("POST", "/v1/analog/generate", json={"count": 20, "seed": 5})["circuits"]
    job = service.wait_for(service.submit(20, seed=5)["id"])
    assert service.json("GET", f"/v1/jobs/{job['id']}/results")["circuits"] == inline


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"kind": "analog.generate", "request": {"count": 0}}, "/request/count", "greater than or equal to 1"),
        ({"kind": "analog.generate", "request": {"count": 10**9}}, "/request/count", "less than or equal to 1000000"),
        ({"kind": "analog.generate", "request": {"sed": 1}}, "/request/sed", "did you mean 'seed'?"),
        ({"kind": "analog.generate", "request": {}, "reqest": {}}, "/reqest", "did you mean 'request'?"),
        ({"kind": "analog.generate", "request": {"family": "ghz"}}, "/request/family", "unknown key 'family'"),
        ({"kind": "analog.generate", "request": {"type": "opmap"}}, "/request/type", "did you mean 'opamp'?"),
        ({"kind": "quantum.generate", "request": {"family": "ghx"}}, "/request/family", "did you mean 'ghz'?"),
        ({"kind": "analog.generate"}, "/request", "Field required"),
        ({"kind": "analog.genrate", "request": {}}, "/kind", "did you mean 'analog.generate'?"),
        ({"kind": 3, "request": {}}, "/kind", "no job kind named '3'"),
        ({"request": {}}, "/kind", "Field required"),
        ({}, "/kind", "Field required"),
        ([], None, "valid dictionary"),
    ],
)
def test_a_wrong_submission_is_named_by_its_pointer(
    service: RunningService, body: Any, pointer: str | None, words: str
) -> None:
    problem = service.problem(422, "POST", "/v1/jobs", json=body)
    assert problem["errors"][0].get("pointer", "") == (pointer or "")
    assert words in problem["detail"]


# --- idempotency ----------------------------------------------------------------------------------------------------


def test_many_identical_posts_at_once_make_one_job(service: RunningService) -> None:
    body = {"kind": "analog.generate", "request": {"count": 3}}

    def post(_: int) -> httpx.Response:
        return httpx.post(f"{service.url}/v1/jobs", json=body, headers={"Idempotency-Key": "one"}, trust_env=False)

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(post, range(60)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1


def test_a_key_used_with_another_body_is_a_conflict(service: RunningService) -> None:
    headers = {"Idempotency-Key": "two"}
    service.json("POST", "/v1/jobs", json={"kind": "analog.generate", "request": {"count": 3}}, headers=headers)
    other = {"kind": "analog.generate", "request": {"count": 4}}
    assert "another body" in service.problem(409, "POST", "/v1/jobs", json=other, headers=headers)["detail"]


@pytest.mark.parametrize("key", ["x" * 256, "two words", ""])
def test_a_key_that_is_no_key_is_named_by_its_header(service: RunningService, key: str) -> None:
    body = {"kind": "analog.generate", "request": {"count": 3}}
    problem = service.problem(422, "POST", "/v1/jobs", json=body, headers={"Idempotency-Key": key})
    assert problem["errors"][0]["header"] == "Idempotency-Key"


# --- pages ----------------------------------------------------------------------------------------------------------


def test_jobs_come_newest_first_in_pages_that_a_link_leads_through(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        made = [service.submit(1)["id"] for _ in range(7)]
        found, path = [], "/v1/jobs?limit=3"
        while path:
            answer = service.http.get(path)
            found += [job["id"] for job in answer.json()["jobs"]]
            path = answer.links["next"]["url"] if "next" in answer.links else ""
        assert found == made[::-1]
        for job_id in made:
            service.wait_for(job_id)
        assert len(service.json("GET", "/v1/jobs", params={"status": "succeeded"})["jobs"]) == 7
        assert service.json("GET", "/v1/jobs", params={"status": "failed"})["jobs"] == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"limit": 0}, "limit"), ({"limit": 1001}, "limit"), ({"limit": "x"}, "limit"),
        ({"cursor": "nonsense"}, "cursor"), ({"cursor": "x" * 99}, "cursor"), ({"status": "done"}, "status"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_of_a_query_is_named(service: RunningService, query: dict[str, Any], parameter: str) -> None:
    assert service.problem(422, "GET", "/v1/jobs", params=query)["errors"][0]["parameter"] == parameter


def test_results_come_in_pages_by_index(service: RunningService) -> None:
    job = service.wait_for(service.submit(25)["id"])
    indices, path = [], f"/v1/jobs/{job['id']}/results?limit=10"
    while path:
        answer = service.http.get(path)
        indices += [row["index"] for row in answer.json()["circuits"]]
        path = answer.links["next"]["url"] if "next" in answer.links else ""
    assert indices == list(range(25))
    page = service.json("GET", f"/v1/jobs/{job['id']}/results", params={"status": "invalid", "limit": 1000})
    assert len(page["circuits"]) == job["counts"]["invalid"]
    assert page["next_cursor"] is None


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 2000}, {"cursor": "x"}, {"cursor": -1}, {"format": "xml"}])
def test_a_wrong_parameter_of_results_is_named(service: RunningService, query: dict[str, Any]) -> None:
    job = service.submit(1)
    problem = service.problem(422, "GET", f"/v1/jobs/{job['id']}/results", params=query)
    assert problem["errors"][0]["parameter"] == next(iter(query))


@pytest.mark.parametrize("options", [{"headers": {"accept": "application/x-ndjson"}}, {"params": {"format": "ndjson"}}])
def test_ndjson_holds_every_row_one_a_line(service: RunningService, options: dict[str, Any]) -> None:
    job = service.wait_for(service.submit(450)["id"])
    answer = service.http.get(f"/v1/jobs/{job['id']}/results", **options)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert [row["index"] for row in rows] == list(range(450))
    assert rows[:100] == service.json("GET", f"/v1/jobs/{job['id']}/results")["circuits"]


@pytest.mark.parametrize(
    ("accept", "is_ndjson"),
    [
        ("", False), ("*/*", False), ("application/json", False), ("application/x-ndjson", True),
        ("application/jsonl", True), ("application/json, application/x-ndjson;q=0.5", False),
        ("application/json;q=0.1, application/x-ndjson", True), ("application/x-ndjson;q=0", False),
    ],
)  # fmt: skip
def test_the_accept_header_chooses_between_json_and_ndjson(accept: str, is_ndjson: bool) -> None:
    assert _prefers_ndjson(accept) is is_ndjson


# --- events ---------------------------------------------------------------------------------------------------------


def events_of(service: RunningService, job_id: str, last_event_id: str | None = None, most: int = 10_000) -> list[Any]:
    """(id, event, data) of the stream, until it ends or has shown so many."""
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    found: list[Any] = []
    with service.http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                found.append((fields["id"], fields["event"], json.loads(fields["data"])))
                fields = {}
                if len(found) == most:
                    break
    return found


def test_events_tell_every_step_forward_and_end_with_the_job(slow: RunningService) -> None:
    events = events_of(slow, slow.submit(40)["id"])
    done = [job["counts"]["done"] for _, _, job in events]
    assert len(events) > 2
    assert done == sorted(done)
    assert [name for _, name, _ in events[:-1]] == ["progress"] * (len(events) - 1)
    assert events[-1][1] == "finished"
    assert events[-1][2]["status"] == "succeeded"
    assert done[-1] == 40


def test_a_stream_that_broke_off_goes_on_without_a_gap_or_a_repetition(slow: RunningService) -> None:
    job_id = slow.submit(60)["id"]
    seen = events_of(slow, job_id, most=3)
    rest = events_of(slow, job_id, last_event_id=seen[-1][0])
    ids = [event_id for event_id, _, _ in seen + rest]
    assert len(set(ids)) == len(ids)
    assert rest[-1][1] == "finished"


def test_a_client_that_saw_the_end_is_told_not_to_come_back(service: RunningService) -> None:
    job = service.wait_for(service.submit(4)["id"])
    (event,) = events_of(service, job["id"])
    assert event[1] == "finished"
    answer = service.http.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": event[0]})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("last", ["4.running", "nonsense", "99999999999999999999.x", ""])
def test_a_client_that_did_not_see_the_end_is_told_it(service: RunningService, last: str) -> None:
    job = service.wait_for(service.submit(4)["id"])
    (event,) = events_of(service, job["id"], last_event_id=last)
    assert event[1] == "finished"


def test_a_watcher_that_goes_away_leaves_the_job_running(slow: RunningService) -> None:
    job_id = slow.submit(60)["id"]
    events_of(slow, job_id, most=1)
    assert slow.wait_for(job_id)["status"] == "succeeded"


def test_a_silent_stream_says_now_and_then_that_it_lives() -> None:
    pieces = asyncio.run(pieces_of(no_events_for(0.2), keepalive_s=0.05))
    assert len(pieces) >= 2
    assert set(pieces) == {b": still here\n\n"}


def test_a_stream_ends_when_its_job_is_deleted() -> None:
    assert asyncio.run(pieces_of(no_events_for(0.0, then=NotFound("job", "x")), keepalive_s=5)) == []


async def no_events_for(silence_s: float, then: Exception | None = None) -> AsyncGenerator[JobEvent, None]:
    """Silence, and then the end or an error."""
    await asyncio.sleep(silence_s)
    if then is not None:
        raise then
    for event in list[JobEvent]():
        yield event


async def pieces_of(events: AsyncGenerator[JobEvent, None], keepalive_s: float) -> list[bytes]:
    """What a client gets of these events."""
    return [piece async for piece in event_stream(events, lambda job, _: job_document(job), keepalive_s)]


def test_a_stream_of_events_does_not_hold_up_the_end_of_the_service(tmp_path: Path) -> None:
    with running_service(tmp_path, NamedWorkshop(delay_s=0.05)) as service:
        job_id = service.submit(1000)["id"]
        threading.Thread(target=_watch_quietly, args=(f"{service.url}/v1/jobs/{job_id}/events",), daemon=True).start()
        service.wait_for(job_id, ("running",), done=1)
        ended = time.monotonic()
    assert time.monotonic() - ended < 5


def _watch_quietly(address: str) -> None:
    try:
        with httpx.stream("GET", address, trust_env=False, timeout=20) as answer:
            answer.read()
    except httpx.HTTPError:
        return


# --- cancel, delete, ids --------------------------------------------------------------------------------------------


def test_a_cancelled_job_stops_and_keeps_its_rows(slow: RunningService) -> None:
    job_id = slow.submit(5000)["id"]
    slow.wait_for(job_id, ("running",), done=8)
    answer = slow.http.post(f"/v1/jobs/{job_id}/cancel")
    assert answer.status_code == 202
    assert answer.json()["status"] in ("cancelling", "cancelled")
    job = slow.wait_for(job_id)
    assert job["status"] == "cancelled"
    assert 8 <= job["counts"]["done"] < 5000
    assert slow.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    rows = slow.http.get(f"/v1/jobs/{job_id}/results?format=ndjson").text.splitlines()
    assert len(rows) == job["counts"]["done"]


def test_a_finished_job_can_be_deleted_and_not_cancelled(service: RunningService) -> None:
    job = service.wait_for(service.submit(3)["id"])
    assert "cannot be cancelled" in service.problem(409, "POST", f"/v1/jobs/{job['id']}/cancel")["detail"]
    answer = service.http.delete(f"/v1/jobs/{job['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    service.problem(404, "GET", f"/v1/jobs/{job['id']}")
    service.problem(404, "DELETE", f"/v1/jobs/{job['id']}")


def test_a_running_job_cannot_be_deleted(slow: RunningService) -> None:
    job_id = slow.submit(5000)["id"]
    assert "cancel it" in slow.problem(409, "DELETE", f"/v1/jobs/{job_id}")["detail"]


@pytest.mark.parametrize("job_id", ["unknown", "0" * 26, "..%2F..%2Fetc", "a%00b", "%F0%9F%98%80", "x" * 5000, "a'b--"])
@pytest.mark.parametrize("rest", ["", "/events", "/results"])
def test_an_id_that_is_no_job_is_not_found(service: RunningService, job_id: str, rest: str) -> None:
    answer = service.http.get(f"/v1/jobs/{job_id}{rest}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 1000


def test_an_id_fit_for_looking_up_is_passed_on() -> None:
    assert checked_id("01k0w3m6q8r5v2x7z9b4d1f6h3") == "01k0w3m6q8r5v2x7z9b4d1f6h3"


def test_one_poisoned_circuit_is_one_error_row(tmp_path: Path) -> None:
    with running_service(tmp_path, NamedWorkshop(poison=frozenset({5}))) as service:
        job = service.wait_for(service.submit(12)["id"])
        assert job["status"] == "succeeded"
        assert job["counts"]["error"] == 1
        rows = service.json("GET", f"/v1/jobs/{job['id']}/results", params={"status": "error"})["circuits"]
        assert [row["index"] for row in rows] == [5]
        assert rows[0]["problem"]["detail"]
