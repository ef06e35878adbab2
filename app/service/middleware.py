"""What every request passes on its way in and out, as plain ASGI: an id, a log line, a count, the guards, the headers.

Bodies are never logged. A failure that nothing else caught becomes a problem document whose id is in the log.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.service.metrics import Metrics
from app.service.problems import HttpProblem, error_response, instance_of, internal_response
from app.settings import Settings

access_logger = logging.getLogger("josephson.access")
logger = logging.getLogger("josephson.service")

#: Everything from this service alone, and nothing inline.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

#: What is read and thrown away of a body that an answer did not wait for: so many bytes, for so many seconds.
DRAINED_BYTES, DRAINED_S = 64_000_000, 30.0


class Drain:
    """An answer that is given before the request's body has arrived can be read all the same.

    Many a client reads no answer before it has sent its whole body. If the connection were closed meanwhile, the reset
    that meets the rest of the body would destroy the answer on its way. So the answer is sent at once, and the exchange
    ends when the body has: at the latest after `DRAINED_BYTES` and `DRAINED_S`; a body that is declared longer is not
    waited for. A client that waits for a word before it sends the body has the answer for that word.

    Reference:
        RFC 9112 section 9.6 for the reset, RFC 9110 section 10.1.1 for ``Expect: 100-continue``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        declared = headers.get("content-length", "0")
        if declared == "0" and "transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        is_bounded = int(declared) <= DRAINED_BYTES
        is_waiting = headers.get("expect", "").lower() == "100-continue"
        is_whole = False

        async def receive_and_note() -> Message:
            nonlocal is_waiting, is_whole
            is_waiting = False  # who asks for the body makes the server send the word
            message = await receive()
            is_whole = not message.get("more_body", False)
            return message

        async def drain() -> None:
            left = DRAINED_BYTES
            while left > 0 and not is_whole:
                left -= len((await receive_and_note()).get("body", b""))

        async def send_and_drain(message: Message) -> None:
            if message["type"] == "http.response.start" and is_waiting:
                MutableHeaders(scope=message)["Connection"] = "close"
            is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not is_last or is_whole or is_waiting or not is_bounded:
                await send(message)
                return
            await send({**message, "more_body": True})
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAINED_S):
                    await drain()
            await send({"type": "http.response.body", "body": b""})

        await self._app(scope, receive_and_note, send_and_drain)


class Front:
    """The outermost layer: every HTTP exchange gets an id, security headers, one log line and one count."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange; a failure before the answer began is answered, one after it cuts the connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = str(uuid.uuid4())
        is_head = scope["method"] == "HEAD"
        # FastAPI's routes do not know HEAD: it is GET without the body.
        scope = {**scope, "method": "GET" if is_head else scope["method"]}
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 0
        is_recorded = False

        def record() -> None:
            nonlocal is_recorded
            if not is_recorded:
                is_recorded = True
                self._record(scope, status, time.perf_counter() - started)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", _cache_control(scope["path"], status))
                headers["X-Request-ID"] = request_id
            elif message["type"] == "http.response.body":
                message = {**message, "body": b""} if is_head else message
                if not message.get("more_body", False):
                    record()  # before the caller sees the end, so that what it asks next finds this counted
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            logger.error("%s: %s", instance_of(scope), type(error).__name__, exc_info=error)
            if status:
                raise
            await internal_response(instance_of(scope))(scope, receive, send_with_headers)
        finally:
            record()

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        self._metrics.count_request(scope["method"], getattr(scope.get("route"), "path", "unmatched"), status, seconds)
        line = {
            "event": "request",
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "seconds": round(seconds, 6),
            "client": (scope.get("client") or [None])[0],
            "request_id": scope["state"]["request_id"],
        }
        access_logger.info(json.dumps(line))


def _cache_control(path: str, status: int) -> str:
    """Pages name static files by their content, so browsers may keep those; everything else is of this moment."""
    return "public, max-age=604800" if path.startswith("/static/") and status == 200 else "no-store"


class Guards:
    """Refuses requests that a web page of another origin could make a browser send."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._allowed = allowed_hosts(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the exchange on, or answer it with a problem document."""
        if scope["type"] == "http":
            try:
                self._check(scope["method"], Headers(scope=scope))
            except HttpProblem as problem:
                await error_response(problem, instance_of(scope))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, method: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if host and "*" not in self._allowed and _name_of(host) not in self._allowed:
            raise HttpProblem("wrong-host", f"the host {host[:80]!r} is not this service")
        if method in _SAFE_METHODS:
            return
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        is_foreign = site not in ("same-origin", "none") if site else bool(origin) and urlsplit(origin).netloc != host
        if is_foreign:
            raise HttpProblem("cross-site", f"a page of {(origin or 'another origin')[:80]!r} sent this request")


def allowed_hosts(settings: Settings) -> Sequence[str]:
    """Host names that requests may carry, in lower case; ``*`` is any."""
    if settings.allowed_hosts:
        return [name.lower() for name in settings.allowed_hosts]
    own = settings.host.lower()
    if own != "localhost":
        try:
            if not ipaddress.ip_address(own).is_loopback:
                return ["*"]
        except ValueError:
            return ["*"]
    return ["localhost", "127.0.0.1", "::1", own]


def _name_of(host: str) -> str:
    """The name in a Host header, without port and brackets, in lower case."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""
