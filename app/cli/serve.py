"""`josephson serve`: the HTTP service and its dashboard in this process."""

from __future__ import annotations

import contextlib
import ipaddress
import sys
from typing import Annotated

import typer

from app.cli import options as o
from app.cli.door import DONE, door_of, write_document
from app.errors import InvalidRequest


def add_to(app: typer.Typer) -> None:
    """The command is on the command line."""
    app.command("serve")(serve)


def is_loopback(host: str) -> bool:
    """Only programs of this machine reach a service that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_host(host: str, is_insecure_accepted: bool) -> None:
    """`host` is a loopback address, or the caller said that anyone on its network may use the service.

    Raises:
        InvalidRequest: neither; the service has no keys yet, so listening elsewhere opens it to everyone there.
    """
    if not is_loopback(host) and not is_insecure_accepted:
        raise InvalidRequest(
            f"--host {host} would open the service, which asks for no key, to everyone who reaches that address; "
            "listen on 127.0.0.1 behind a proxy that checks who calls, or say --insecure-bind if that is what you want"
        )


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on (127.0.0.1 when absent).")] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port; 0 lets the system choose (8000 when absent).")
    ] = None,
    insecure_bind: Annotated[
        bool, typer.Option("--insecure-bind", help="Accept an address that others reach: there are no keys yet.")
    ] = False,
    device: o.Device = None,
    as_json: o.AsJson = False,
) -> int:
    """Run the service and its dashboard until Ctrl-C."""
    from app.service.server import run_service
    from app.settings import read_settings

    settings = read_settings(**o.given(host=host, port=port, device=device))
    check_host(settings.host, insecure_bind)
    # With --json, where the service is and that it has started is told on standard error.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        run_service(settings, door_of(context).make_workshop)
    if as_json:
        write_document({"host": settings.host, "port": settings.port, "stopped": True})
    return DONE
