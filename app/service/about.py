"""What the service is and how it does: registries, health, metrics, documentation. Works without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import GaugeMetricFamily

import app
from app.errors import Unavailable
from app.service import schemas
from app.service.answers import json_response, problems
from app.service.bodies import StrictRoute
from app.service.context import Service, ServiceDependency
from app.service.metrics import gauge, gauges_of
from app.service.middleware import CONTENT_SECURITY_POLICY
from app.service.pages import render
from app.service.problems import PROBLEM_TYPES

router = APIRouter(route_class=StrictRoute)

#: Swagger UI sets styles on its elements; everything else stays as on the other pages.
_DOCS_POLICY = CONTENT_SECURITY_POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")


async def _registry(service: Service, name: str) -> Any:
    """One part of what the workshop describes; the first call may import validators, so it leaves the event loop."""
    return (await run_in_threadpool(service.workshop.describe))[name]


@router.get(
    "/v1/models",
    operation_id="list_models",
    tags=["registries"],
    summary="Models that a request may name",
    responses={200: {"model": schemas.Models}, **problems(503)},
)
async def list_models(service: ServiceDependency) -> Response:
    """Trained models, with what each makes and which is the default of its kind; the neural simulator predicts."""
    return json_response({"models": await _registry(service, "models")})


@router.get(
    "/v1/technologies",
    operation_id="list_technologies",
    tags=["registries"],
    summary="Technologies",
    responses={200: {"model": schemas.Technologies}, **problems(503)},
)
async def list_technologies(service: ServiceDependency) -> Response:
    """Supply, process corners, limits and licence by technology, and whether its cards are on this machine."""
    return json_response({"technologies": await _registry(service, "technologies")})


@router.get(
    "/v1/testbenches",
    operation_id="list_testbenches",
    tags=["registries"],
    summary="Testbenches",
    responses={200: {"model": schemas.Testbenches}, **problems(503)},
)
async def list_testbenches(service: ServiceDependency) -> Response:
    """How circuits are driven and measured: roles of ports, settings, and metrics with unit and definition."""
    return json_response({"testbenches": await _registry(service, "testbenches")})


@router.get(
    "/v1/sizing-methods",
    operation_id="list_sizing_methods",
    tags=["registries"],
    summary="Sizing methods",
    responses={200: {"model": schemas.SizingMethods}, **problems(503)},
)
async def list_sizing_methods(service: ServiceDependency) -> Response:
    """How circuits are sized: what each method does, its paper, and whether it uses the neural simulator."""
    return json_response({"sizing_methods": await _registry(service, "sizing_methods")})


@router.get(
    "/v1/validators",
    operation_id="list_validators",
    tags=["registries"],
    summary="Validators",
    responses={200: {"model": schemas.Validators}, **problems(503)},
)
async def list_validators(service: ServiceDependency) -> Response:
    """What circuits are checked for."""
    return json_response({"validators": await _registry(service, "validators")})


@router.get(
    "/v1/families",
    operation_id="list_families",
    tags=["registries"],
    summary="Circuit types and program families",
    responses={200: {"model": schemas.Families}, **problems(503)},
)
async def list_families(service: ServiceDependency) -> Response:
    """The values that `type` (analog) and `family` (quantum) take."""
    return json_response(await _registry(service, "families"))


@router.get(
    "/livez",
    operation_id="live",
    tags=["health"],
    summary="The process answers",
    responses={200: {"model": schemas.Live}, **problems()},
)
async def live() -> Response:
    """Always 200 while the process serves."""
    return json_response({"status": "ok", "version": app.__version__})


@router.get(
    "/readyz",
    operation_id="ready",
    tags=["health"],
    summary="The service can do its work",
    responses={
        200: {"model": schemas.Ready},
        **problems(),
        503: {"model": schemas.Ready, "description": "Not now; `reasons` says why."},
    },
)
async def ready(service: ServiceDependency) -> Response:
    """200 when models are loaded, workers can start and the ledger can be written; else 503 with the reasons."""
    report = await readiness(service)
    return json_response(report, status_code=200 if report["ready"] else 503)


async def readiness(service: Service) -> dict[str, Any]:
    """The workshop's report, with the ledger's own check added."""
    report = dict(service.workshop.health())
    reasons = list(report["reasons"])
    try:
        await asyncio.to_thread(service.ledger.check)
    except Unavailable as error:
        reasons.append(str(error))
    state = service.runner.state()
    if not state.is_running:
        reasons.append("the jobs of the ledger are not being run; restart the service")
    return {**report, "reasons": reasons, "ready": bool(report["ready"]) and not reasons}


@router.get(
    "/metrics",
    operation_id="metrics",
    tags=["health"],
    summary="Prometheus metrics",
    response_class=Response,
    responses={
        200: {"description": "The Prometheus text format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(503),
    },
)
def metrics(service: ServiceDependency) -> Response:
    """Requests, circuits, jobs, queue depth, and the engine's and the workers' own counters."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def watch_workshop(service: Service) -> None:
    """Metrics of the service show the jobs in the ledger and what the workshop reports, read on each scrape."""

    def families() -> Iterable[GaugeMetricFamily]:
        jobs = service.ledger.status_counts()
        yield gauge("josephson_jobs", "Jobs in the ledger.", "status", jobs.items())
        yield GaugeMetricFamily("josephson_queue_depth", "Jobs that wait to be started.", value=jobs["queued"])
        yield from gauges_of("josephson_runner", asdict(service.runner.state()))
        health = service.workshop.health()
        yield GaugeMetricFamily("josephson_ready", "1 when the workshop can work.", value=float(bool(health["ready"])))
        yield from gauges_of("josephson_engine", health["engine"])
        yield from gauges_of("josephson_workers", health["workers"])

    service.metrics.watch(families)


@router.get("/docs", include_in_schema=False)
async def docs() -> Response:
    """The API as Swagger UI shows it, from files of this package."""
    return render("docs.html", headers={"Content-Security-Policy": _DOCS_POLICY})


@router.get("/docs/problems", include_in_schema=False)
async def problem_types() -> Response:
    """What each problem document's `type` means."""
    return render("problems.html", problems=list(PROBLEM_TYPES.values()))


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """The OpenAPI 3.1 document."""
    return json_response(request.app.openapi())
