"""A real service on a loopback port of this process, over a FakeWorkshop; for the tests of the HTTP doors."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from app.analog.kinds import CIRCUIT_TYPES
from app.errors import UnknownName
from app.jobs.executor import LocalExecutor
from app.jobs.ledger import Ledger
from app.jobs.runner import JobRunner
from app.requests import AnalogGenerateRequest, JobRequest, QuantumGenerateRequest
from app.service.app import create_app
from app.service.counting import CountedWorkshop
from app.service.metrics import Metrics
from app.service.server import open_socket
from app.settings import Settings
from app.testing import FakeWorkshop


class NamedWorkshop(FakeWorkshop):
    """A FakeWorkshop that knows circuit types and two families, as the real one does."""

    families = ("ghz", "qft")

    def prepare(self, kind: str, request: JobRequest) -> JobRequest:
        """The prepared request; UnknownName for another type or family."""
        if isinstance(request, AnalogGenerateRequest):
            request.check_names()
        if isinstance(request, QuantumGenerateRequest) and request.family not in (None, *self.families):
            raise UnknownName("family", str(request.family), self.families, pointer="/family")
        return super().prepare(kind, request)

    def describe(self) -> Mapping[str, Any]:
        """The names."""
        return {**super().describe(), "families": {"analog": list(CIRCUIT_TYPES), "quantum": list(self.families)}}


@dataclass(frozen=True)
class RunningService:
    """A service that listens, and a client of it."""

    http: httpx.Client
    workshop: FakeWorkshop
    ledger: Ledger
    url: str

    def json(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of a call that succeeds."""
        answer = self.http.request(method, path, **options)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def problem(self, status: int, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The problem document of a call that fails with this status."""
        answer = self.http.request(method, path, **options)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        document: dict[str, Any] = answer.json()
        assert document["status"] == status
        assert document["type"].startswith("/docs/problems#")
        assert document["title"]
        assert document["detail"]
        assert document["instance"].startswith("urn:uuid:")
        assert "Traceback" not in answer.text
        return document

    def submit(self, count: int, kind: str = "analog.generate", **request: Any) -> dict[str, Any]:
        """A new job."""
        body = {"kind": kind, "request": {"count": count, **request}}
        job: dict[str, Any] = self.json("POST", "/v1/jobs", json=body)
        return job

    def simulate(self, count: int, kind: str = "analog.simulate", **request: Any) -> dict[str, Any]:
        """A new job of drawn sizings, simulated or predicted."""
        whole = {"netlist": "R1 VIN1 VOUT1 1k\nR2 VOUT1 VSS 1k\n", "testbench": "opamp", "draw": {"count": count}}
        body = {"kind": kind, "request": {**whole, **request}}
        job: dict[str, Any] = self.json("POST", "/v1/jobs", json=body)
        return job

    def wait_for(
        self, job_id: str, statuses: Sequence[str] = ("succeeded", "failed", "cancelled"), done: int = 0
    ) -> dict[str, Any]:
        """The job, once it has one of the statuses and at least so many rows; fails after ten seconds."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            job: dict[str, Any] = self.json("GET", f"/v1/jobs/{job_id}")
            if job["status"] in statuses and job["counts"]["done"] >= done:
                return job
            time.sleep(0.02)
        raise AssertionError(f"job {job_id} did not get to {statuses}: {job}")


@contextmanager
def running_service(
    folder: Path,
    workshop: FakeWorkshop | None = None,
    **settings: Any,
) -> Iterator[RunningService]:
    """A service with a data folder of its own, until the block ends."""
    chosen = Settings(data_dir=folder, **settings)
    workshop = workshop or NamedWorkshop()
    ledger = Ledger(chosen.database_url)
    metrics = Metrics()
    counted = CountedWorkshop(workshop, metrics)
    runner = JobRunner(ledger, LocalExecutor(counted), batch_s=0.02, batch_rows=8, poll_s=0.2)
    config = uvicorn.Config(
        create_app(chosen, counted, ledger, runner, metrics), log_config=None, timeout_graceful_shutdown=1, ws="none"
    )
    server = uvicorn.Server(config)
    with open_socket("127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            with httpx.Client(base_url=url, timeout=20, trust_env=False) as http:
                while not server.started:
                    assert thread.is_alive(), "the service did not start"
                    time.sleep(0.01)
                yield RunningService(http, workshop, ledger, url)
        finally:
            server.should_exit = True
            thread.join(10)
