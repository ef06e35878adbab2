"""The jobs API over the ledger and its runner: submit, watch, fetch, cancel, delete."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Body, Header, Query, Request, Response
from starlette.responses import StreamingResponse

from app.design.report import design_document, funnel_of
from app.errors import NotFound
from app.jobs.ledger import MAX_KEY_LENGTH, MAX_PAGE, JobRecord, JobStatus, Submission
from app.jobs.progress import JobEvent
from app.requests import JOB_REQUESTS, MAX_JOB_COUNT, AnalogDesignRequest, JobRequest
from app.service import schemas
from app.service.answers import BODY_PROBLEMS, json_response, json_text, problems
from app.service.bodies import StrictRoute
from app.service.context import Service, ServiceDependency
from app.service.problems import at_pointer
from app.workshop import Outcome, Row

router = APIRouter(prefix="/v1/jobs", route_class=StrictRoute, tags=["jobs"])

NDJSON = "application/x-ndjson"

#: The kind of jobs that have a funnel.
DESIGN = "analog.design"

#: Seconds without news after which a stream of events says that it still lives.
KEEPALIVE_S = 15.0

#: Rows that are sent at once in a stream of results.
_LINES_PER_PIECE = 200

_REPRESENTATIONS = {"application/json": "json", NDJSON: "ndjson", "application/jsonl": "ndjson"}
_EVENT_ID = re.compile(r"([0-9]{1,9})\.([a-z]+)")

#: One server-sent event.
_EVENT_SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "Rows that are done, and the status: what Last-Event-ID takes."},
        "event": {"type": "string", "enum": ["progress", "finished"]},
        "data": {"type": "string", "description": "The job, as JSON."},
    },
    "required": ["id", "event", "data"],
}

#: What a call that asks for a job answers, for OpenAPI.
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": schemas.Job,
        "description": "The job is kept durably and will be done, even if the service is killed now.",
        "headers": {
            "Location": {"description": "The job.", "schema": {"type": "string"}},
            "Retry-After": {"description": "Seconds after which to look.", "schema": {"type": "integer"}},
        },
    }
}

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MAX_KEY_LENGTH,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key with the same body answers with the same job, however often it is sent.",
        examples=["7f0c2f9e-5f0b-4a55-8f21-0d9c3f6a1b77"],
    ),
]
_Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most entries of a page.")]


def checked_id(job_id: str) -> str:
    """The id, fit to be looked up; NotFound for a text that no job's id can be."""
    if not (job_id.isascii() and job_id.isalnum() and len(job_id) <= 64):
        raise NotFound("job", job_id[:64])
    return job_id


def job_document(job: JobRecord) -> dict[str, Any]:
    """The job as callers see it."""
    own = f"/v1/jobs/{job.id}"
    links = {"self": own, "events": f"{own}/events", "results": f"{own}/results", "cancel": f"{own}/cancel"}
    if job.kind == DESIGN:
        links["design"] = f"{own}/design"
    return {**job.as_json(), "unfinished": [], "links": links}


def told_document(service: Service, job: JobRecord, unfinished: Sequence[Row]) -> dict[str, Any]:
    """The job with what is known of rows that are being made, and of a design its funnel. Reads the ledger."""
    told = job_document(job) | {"unfinished": list(unfinished)}
    if job.kind == DESIGN:
        told["funnel"] = funnel_of([*rows_of(service, job.id), *unfinished])
    return told


def rows_of(service: Service, job_id: str) -> list[Row]:
    """Every row that the job has now."""
    return [json.loads(line) for line in service.ledger.stream_results(job_id)]


async def submit(service: Service, kind: str, request: JobRequest, key: str | None = None) -> Submission:
    """The job of the request, durably in the ledger.

    Raises:
        InvalidInput: The request cannot be done here.
        Conflict: The idempotency key was used with another body.
    """
    prepared = await asyncio.to_thread(service.workshop.prepare, kind, request)
    body = request.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return await service.runner.submit(kind, prepared, body=body, idempotency_key=key)


def accepted(made: Submission) -> Response:
    """The answer to a call that asks for a job."""
    headers = {"Location": f"/v1/jobs/{made.job.id}", "Retry-After": "1"}
    if not made.is_new:
        headers["Idempotent-Replayed"] = "true"
    return json_response(job_document(made.job), status_code=202, headers=headers)


@router.post(
    "",
    status_code=202,
    operation_id="submit_job",
    summary="Submit a job of many rows",
    responses={**ACCEPTED, **problems(*BODY_PROBLEMS, 404, 409, 503)},
)
async def submit_job(
    service: ServiceDependency, body: Annotated[schemas.JobSubmission, Body()], idempotency_key: IdempotencyKey = None
) -> Response:
    """Up to a million circuits or sizings. The request is the same as of the call of its kind."""
    with at_pointer("/request"):
        return accepted(await submit(service, body.kind, body.request, idempotency_key))


@router.get(
    "",
    operation_id="list_jobs",
    summary="Jobs, newest first",
    responses={200: {"model": schemas.JobPage}, **problems(422, 503)},
)
def list_jobs(
    service: ServiceDependency,
    cursor: Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before.")] = None,
    limit: _Limit = 50,
    status: Annotated[JobStatus | None, Query(description="Only jobs of this status.")] = None,
) -> Response:
    """A page of jobs. The `Link` header leads to the next one."""
    page = service.ledger.list_jobs(cursor=cursor, limit=limit, status=status)
    headers = _link("/v1/jobs", {"cursor": page.next_cursor, "limit": limit, "status": status})
    return json_response(
        {"jobs": [job_document(job) for job in page.jobs], "next_cursor": page.next_cursor}, headers=headers
    )


@router.get(
    "/{job_id}",
    operation_id="get_job",
    summary="One job",
    responses={200: {"model": schemas.Job}, **problems(404, 422, 503)},
)
def get_job(service: ServiceDependency, job_id: str) -> Response:
    """Status, counts and what is being made as they are now."""
    job = service.ledger.get_job(checked_id(job_id))
    return json_response(told_document(service, job, service.runner.unfinished(job)))


@router.get(
    "/{job_id}/events",
    operation_id="watch_job",
    summary="Progress as server-sent events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`progress` events while the job runs, one `finished` event at the end; `data` is the job "
            "with its rows that are being made. Changes that come faster than they are read are merged.",
            "content": {"text/event-stream": {"schema": _EVENT_SCHEMA}},
        },
        204: {"description": "The client has seen the end (by its Last-Event-ID): there is nothing to come back for."},
        **problems(404, 422, 503),
    },
)
async def watch_job(
    service: ServiceDependency,
    job_id: str,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", description="`id` of the last event seen; it is not repeated.")
    ] = None,
) -> Response:
    """The job now, then every change, until it is finished."""
    job = await asyncio.to_thread(service.ledger.get_job, checked_id(job_id))
    seen = _EVENT_ID.fullmatch(last_event_id or "")
    if seen and job.is_finished and seen[2] == job.status:
        return Response(status_code=204)
    # A change of status alone must not be lost, so only an event of the same status counts as seen.
    done_seen = int(seen[1]) if seen and seen[2] == job.status else None
    events = service.runner.subscribe(job.id, last_event_id=done_seen)
    return StreamingResponse(
        event_stream(events, partial(told_document, service)),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


async def event_stream(
    events: AsyncGenerator[JobEvent, None],
    told: Callable[[JobRecord, Sequence[Row]], Mapping[str, Any]],
    keepalive_s: float = KEEPALIVE_S,
) -> AsyncGenerator[bytes, None]:
    """Events in the wire format of server-sent events, with a comment when there is no news for long.

    `told` makes the document of a job and its unfinished rows, in a thread.
    """
    pending: asyncio.Task[JobEvent | None] | None = None
    try:
        while True:
            pending = pending or asyncio.create_task(_next_event(events))
            await asyncio.wait({pending}, timeout=keepalive_s)
            if not pending.done():
                yield b": still here\n\n"
                continue
            event, pending = pending.result(), None
            if event is None:
                return
            name = "finished" if event.job.is_finished else "progress"
            try:
                data = json_text(await asyncio.to_thread(told, event.job, event.unfinished))
            except NotFound:  # deleted meanwhile
                return
            yield f"id: {event.id}.{event.job.status}\nevent: {name}\ndata: {data}\n\n".encode()
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.wait({pending})
        await events.aclose()


async def _next_event(events: AsyncGenerator[JobEvent, None]) -> JobEvent | None:
    """The next event; None at the end, which is also where the job was deleted meanwhile."""
    try:
        return await anext(events, None)
    except NotFound:
        return None


@router.get(
    "/{job_id}/results",
    operation_id="get_results",
    summary="Rows of a job",
    responses={
        200: {
            "model": schemas.CircuitPage
            | schemas.SimulationPage
            | schemas.PredictionPage
            | schemas.SizedPage
            | schemas.DesignPage,
            "description": "A page, or with `application/x-ndjson` every row, one JSON object a line.",
            "content": {NDJSON: {"schema": {"type": "string"}}},
        },
        **problems(404, 422, 503),
    },
)
def get_results(
    request: Request,
    service: ServiceDependency,
    job_id: str,
    cursor: Annotated[
        int | None, Query(ge=0, le=MAX_JOB_COUNT, description="`next_cursor` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most rows of a page; NDJSON has no pages.")] = 100,
    status: Annotated[Outcome | None, Query(description="Only rows that count as this.")] = None,
    format: Annotated[
        Literal["json", "ndjson"] | None, Query(description="Says it where an Accept header cannot be sent.")
    ] = None,
) -> Response:
    """Rows by index, as many as there are now. While the job runs, rows of lower indices may come after this call."""
    job_id = checked_id(job_id)
    after = -1 if cursor is None else cursor
    if format == "ndjson" or (format is None and _prefers_ndjson(request.headers.get("accept", ""))):
        lines = service.ledger.stream_results(job_id, after=after, status=status)
        return StreamingResponse(_pieces(lines), media_type=NDJSON)
    page = service.ledger.results(job_id, after=after, limit=limit, status=status)
    rows_key = JOB_REQUESTS[service.ledger.get_job(job_id).kind].rows_key
    parameters = {"cursor": page.next_after, "limit": limit, "status": status}
    next_cursor = None if page.next_after is None else str(page.next_after)
    return json_response(
        {rows_key: page.rows, "next_cursor": next_cursor}, headers=_link(f"/v1/jobs/{job_id}/results", parameters)
    )


@router.get(
    "/{job_id}/design",
    operation_id="get_design",
    summary="What a design has come to",
    responses={200: {"model": schemas.Design}, **problems(404, 422, 503)},
)
def get_design(service: ServiceDependency, job_id: str) -> Response:
    """The funnel, the circuits that pass in order of merit, and why the others fell out, as far as there are rows."""
    job = service.ledger.get_job(checked_id(job_id))
    if job.kind != DESIGN:
        raise NotFound("design of job", job.id)
    request = AnalogDesignRequest.model_validate(job.request)
    return json_response(design_document(rows_of(service, job.id), request.specification.wish))


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    operation_id="cancel_job",
    summary="Stop a job; its rows stay",
    responses={202: {"model": schemas.Job}, **problems(404, 409, 422, 503)},
)
async def cancel_job(service: ServiceDependency, job_id: str) -> Response:
    """The job makes no further rows. A second call changes nothing."""
    return json_response(job_document(await service.runner.cancel(checked_id(job_id))), status_code=202)


@router.delete(
    "/{job_id}",
    status_code=204,
    operation_id="delete_job",
    summary="Remove a finished job and its rows",
    responses={204: {"description": "Nothing of the job is left."}, **problems(404, 409, 422, 503)},
)
async def delete_job(service: ServiceDependency, job_id: str) -> Response:
    """A job that is not finished must be cancelled first."""
    await service.runner.delete(checked_id(job_id))
    return Response(status_code=204)


def _pieces(lines: Iterable[str]) -> Iterator[bytes]:
    """The lines, joined so that each piece is worth sending."""
    lines = iter(lines)
    while piece := list(islice(lines, _LINES_PER_PIECE)):
        yield ("\n".join(piece) + "\n").encode()


def _link(path: str, parameters: dict[str, Any]) -> dict[str, str]:
    """The `Link` header to the next page; none when there is no cursor."""
    if parameters["cursor"] is None:
        return {}
    query = urlencode({name: value for name, value in parameters.items() if value is not None})
    return {"Link": f'<{path}?{query}>; rel="next"'}


def _prefers_ndjson(accept: str) -> bool:
    """True when the Accept header ranks NDJSON above JSON."""
    weights = {"json": 0.0, "ndjson": 0.0}
    for entry in accept.split(","):
        media_type, _, parameters = entry.strip().partition(";")
        quality = re.search(r"\bq=([01](?:\.\d{1,3})?)", parameters)
        name = _REPRESENTATIONS.get(media_type.strip().lower())
        if name:
            weights[name] = float(quality[1]) if quality else 1.0
    return weights["ndjson"] > weights["json"]
