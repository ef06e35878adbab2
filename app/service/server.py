"""The service as a process: put together, listening, and ended in order by a signal."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from app.errors import Unavailable
from app.jobs.executor import LocalExecutor
from app.jobs.ledger import Ledger
from app.jobs.runner import JobRunner
from app.service.app import create_app
from app.service.counting import CountedWorkshop
from app.service.metrics import Metrics
from app.settings import Settings, unknown_variables
from app.workshop import Workshop

#: Time that open exchanges have to end after a signal; jobs resume at the next start.
GRACE_S = 10

WorkshopMaker = Callable[[Settings], Workshop]

logger = logging.getLogger("josephson.service")


def run_service(settings: Settings, make_workshop: WorkshopMaker) -> None:
    """Serve until SIGTERM or SIGINT; afterwards no worker process is left and unfinished jobs can be resumed.

    The workshop is made in a thread, after the address is known to be free.

    Raises:
        Unavailable: The address is taken, the data folder is used by another process or cannot be written, or the
            workshop lacks something.
    """
    configure_logging(settings.log_level)
    for sentence in unknown_variables(os.environ):
        logger.warning("%s", sentence)
    with open_socket(settings.host, settings.port) as listener:
        ledger = Ledger(settings.database_url)
        try:
            asyncio.run(_serve(settings, ledger, make_workshop, listener))
        finally:
            ledger.close()


async def _serve(settings: Settings, ledger: Ledger, make_workshop: WorkshopMaker, listener: socket.socket) -> None:
    metrics = Metrics()
    workshop = CountedWorkshop(await asyncio.to_thread(make_workshop, settings), metrics)
    runner = JobRunner(ledger, LocalExecutor(workshop), max_concurrent_chunks=settings.max_running_chunks)
    app = create_app(settings, workshop, ledger, runner, metrics)
    config = uvicorn.Config(
        app,
        lifespan="off",  # entered below, so that its failures arrive here as they are
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = Server(config, runner, settings.host)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    async with app.router.lifespan_context(app):
        await server.serve(sockets=[listener])


class Server(uvicorn.Server):
    """Uvicorn that says where it is, and ends the streams of events before it waits for open exchanges."""

    def __init__(self, config: uvicorn.Config, runner: JobRunner, host: str) -> None:
        super().__init__(config)
        self._runner = runner
        self._host = host

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the event loop's: uvicorn's own way would end the process before the workshop is closed."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """The service listens, and standard output says where."""
        await super().startup(sockets)
        if self.started and sockets:
            port = sockets[0].getsockname()[1]
            name = f"[{self._host}]" if ":" in self._host else self._host
            sys.stdout.write(f"Josephson is at http://{name}:{port}/ (API: http://{name}:{port}/docs)\n")
            sys.stdout.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """No exchange is open."""
        await self._runner.aclose()
        await super().shutdown(sockets)


def open_socket(host: str, port: int) -> socket.socket:
    """A socket bound to the address; raises Unavailable with what to do when it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise Unavailable(
            f"{host!r} is no address of this machine ({error.strerror}); choose another with --host"
        ) from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"{host}:{port} cannot be listened on ({error.strerror}); stop what uses it, or choose another with --port"
        ) from None
    return listener


class _JsonLines(logging.Formatter):
    """One JSON object a line; an access line is one already."""

    def format(self, record: logging.LogRecord) -> str:
        moment = self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z")
        line = {"time": moment, "level": record.levelname.lower(), "logger": record.name}
        message = record.getMessage()
        line |= json.loads(message) if record.name == "josephson.access" else {"message": message}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(level: str) -> None:
    """Log lines of `level` and above go to standard error, one JSON object each."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
