"""Request bodies as this service reads them: bounded while they arrive, and JSON by the letter of RFC 8259.

Python's own reader accepts NaN, repeated keys and lone surrogates, and answers deep nesting with RecursionError.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from email.message import Message
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.service.problems import MAX_ECHO, HttpProblem

#: Most digits of a number: far more than any field takes, far fewer than would cost time to convert.
MAX_DIGITS = 400


class BoundedRequest(Request):
    """A request whose body is at most `scope["app"].state.service.settings.max_body_bytes` long, however it is sent."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body's pieces; raises the problem `body-too-large` before more than the limit is held."""
        limit: int = self.app.state.service.settings.max_body_bytes
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > limit:
            raise HttpProblem("body-too-large", f"the body is {declared[:20]} bytes, the limit is {limit}")
        received = 0
        async for piece in super().stream():
            received += len(piece)
            if received > limit:
                raise HttpProblem("body-too-large", f"the body is more than {limit} bytes, which is the limit")
            yield piece

    async def read_json(self) -> None:
        """The body is read and parsed, else a problem is raised; `json()` then answers without work."""
        _check_media_type(self.headers.get("content-type"), self.headers.get("content-encoding"))
        self._json = parse_json(await self.body())

    async def json(self) -> Any:
        """What `read_json` parsed."""
        return self._json


class StrictRoute(APIRoute):
    """A route whose body, if it takes one, is read by BoundedRequest before FastAPI sees it.

    The endpoint's parameter of that body is named `body`; problem documents find its schema in the request's state.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint behind the strict reader."""
        handle = super().get_route_handler()
        schema = get_type_hints(self.endpoint, include_extras=True).get("body")

        async def read_then_handle(request: Request) -> Response:
            bounded = BoundedRequest(request.scope, request.receive)
            if schema is not None:
                bounded.state.body_schema = schema
                await bounded.read_json()
            return await handle(bounded)

        return read_then_handle


def _check_media_type(content_type: str | None, encoding: str | None) -> None:
    message = Message()
    message["content-type"] = content_type or "none"
    media_type = message.get_content_type() if content_type else "none"
    if not (media_type == "application/json" or media_type.endswith("+json")):
        raise HttpProblem(
            "unsupported-media-type", f"the content type is {media_type[:MAX_ECHO]}, send the body as application/json"
        )
    if encoding not in (None, "", "identity"):
        raise HttpProblem(
            "unsupported-media-type", f"the content encoding is {encoding[:MAX_ECHO]}, send the body as it is"
        )


def parse_json(raw: bytes) -> Any:
    """The value of a JSON text in UTF-8; raises the problem `malformed-json`, which names the line and column."""
    if not raw.strip():
        raise HttpProblem("malformed-json", "the body is empty")
    try:
        value = json.loads(
            raw.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_int=_read_int,
            parse_float=_read_float,
            object_pairs_hook=_unique_keys,
        )
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise HttpProblem("malformed-json", f"{place}: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise HttpProblem("malformed-json", f"byte {error.start} is not UTF-8") from None
    except UnicodeEncodeError:
        raise HttpProblem("malformed-json", "a string holds a lone surrogate, which is no character") from None
    except RecursionError:
        raise HttpProblem("malformed-json", "the document is nested too deeply") from None
    return value


def _refuse_constant(name: str) -> Any:
    raise HttpProblem("malformed-json", f"{name} is not JSON")


def _read_int(digits: str) -> int:
    return int(_bounded(digits))


def _read_float(digits: str) -> float:
    return float(_bounded(digits))


def _bounded(digits: str) -> str:
    if len(digits) > MAX_DIGITS:
        raise HttpProblem("malformed-json", f"a number has {len(digits)} digits, the limit is {MAX_DIGITS}")
    return digits


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise HttpProblem("malformed-json", f"the key {twice[:MAX_ECHO]!r} occurs twice in one object")
    return value
