"""What the endpoints of one app share. Built once by `create_app` and passed to them; there are no globals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from app.jobs.ledger import Ledger
from app.jobs.runner import JobRunner
from app.service.metrics import Metrics
from app.settings import Settings
from app.workshop import Workshop


@dataclass(frozen=True)
class Service:
    """The settings and the machinery behind one app."""

    settings: Settings
    workshop: Workshop
    ledger: Ledger
    runner: JobRunner
    metrics: Metrics


def service_of(request: Request) -> Service:
    """The service that the request's app was made for."""
    return cast("Service", request.app.state.service)


ServiceDependency = Annotated[Service, Depends(service_of)]
