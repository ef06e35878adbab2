"""The FastAPI app, put together from what it is given. Knows no globals: two apps in one process share nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

import app as package
from app.jobs.ledger import Ledger
from app.jobs.runner import JobRunner
from app.service import about, dashboard, inline, jobs, sizing
from app.service.about import watch_workshop
from app.service.context import Service
from app.service.metrics import Metrics
from app.service.middleware import Drain, Front, Guards
from app.service.openapi import install_openapi
from app.service.pages import STATIC
from app.service.problems import install_handlers
from app.settings import Settings
from app.workshop import Workshop


def create_app(
    settings: Settings, workshop: Workshop, ledger: Ledger, runner: JobRunner, metrics: Metrics | None = None
) -> FastAPI:
    """An ASGI app over the workshop and the jobs of the ledger.

    Its lifespan starts the runner, and at the end closes the runner, the workshop and the ledger, which are the app's
    from here on. Give `metrics` where the runner's executor has a `CountedWorkshop` of the same metrics.
    """
    service = Service(settings, workshop, ledger, runner, metrics or Metrics())
    watch_workshop(service)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await runner.start()
            yield
        finally:
            await runner.aclose()
            await workshop.aclose()
            ledger.close()

    app = FastAPI(
        title="Josephson",
        version=package.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    routers = (inline.router, sizing.router, jobs.router, about.router, dashboard.router)
    for router in routers:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    install_handlers(app, [route for router in routers for route in router.routes])
    install_openapi(app)
    app.add_middleware(Guards, settings=settings)
    app.add_middleware(Front, metrics=service.metrics)
    app.add_middleware(Drain)
    return app
