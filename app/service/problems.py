"""Errors as RFC 9457 problem documents: one table from an error's class to its status, and the handlers that use it.

A problem document never holds a traceback, nor more than a few of the caller's own words.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, TypeAdapter
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from app.errors import (
    CircuitSyntaxError,
    Conflict,
    InvalidInput,
    InvalidRequest,
    JosephsonError,
    LimitExceeded,
    NotExpressible,
    NotFound,
    NotLearnt,
    SimulatorFailure,
    SimulatorTimeout,
    Unavailable,
    UnknownName,
)
from app.requests import JOB_REQUESTS

logger = logging.getLogger("josephson.service")

#: Most entries of a problem's `errors`, and most characters of a caller's own words in one of them.
MAX_ERRORS = 20
MAX_ECHO = 80


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of problem. `slug` ends the document's `type`; `meaning` is its paragraph on /docs/problems."""

    slug: str
    status: int
    title: str
    meaning: str

    @property
    def uri(self) -> str:
        """The relative reference that a document carries as `type`."""
        return f"/docs/problems#{self.slug}"


_TYPES = (
    ProblemType(
        "malformed-json",
        400,
        "The body is not JSON",
        "The body is not a JSON document as RFC 8259 has it: a syntax error, NaN or Infinity, a number of more than "
        "400 digits, a key that occurs twice, a lone surrogate, or nesting deeper than the service reads.",
    ),
    ProblemType("bad-request", 400, "The request is not HTTP as this service speaks it", "See `detail`."),
    ProblemType(
        "cross-site",
        403,
        "The form was sent from another site",
        "A browser sent one of the dashboard's forms from a page of another origin. Use the dashboard itself.",
    ),
    ProblemType(
        "not-found",
        404,
        "There is no such resource",
        "The path is unknown, or names a job or circuit that is not there (any more).",
    ),
    ProblemType(
        "not-learnt",
        404,
        "The model has learnt nothing of it",
        "The testbench or metric exists, but no simulation of it was among those that the model learnt from; `detail` "
        "lists what was. Simulate instead, or have the model trained with such simulations.",
    ),
    ProblemType(
        "method-not-allowed",
        405,
        "The path does not take this method",
        "The `Allow` header lists the methods it takes.",
    ),
    ProblemType(
        "conflict",
        409,
        "The resource is in a state that forbids the call",
        "For example deleting a job that still runs (cancel it first).",
    ),
    ProblemType(
        "body-too-large", 413, "The body is too large", "Send less; JOSEPHSON_MAX_BODY_BYTES is the operator's limit."
    ),
    ProblemType(
        "unsupported-media-type", 415, "The content type is not JSON", "Send `Content-Type: application/json`."
    ),
    ProblemType(
        "wrong-host",
        421,
        "The request names a host that is not this service",
        "The Host header is not one of JOSEPHSON_ALLOWED_HOSTS. On a loopback address only loopback names are served, "
        "so that no web page can reach the service through a name of its own.",
    ),
    ProblemType(
        "invalid-request",
        422,
        "The request cannot be served as it stands",
        "A field is missing, unknown, of the wrong type or out of range, or contradicts another or the model. "
        "`errors` names each by JSON pointer.",
    ),
    ProblemType(
        "circuit-syntax",
        422,
        "The text is not a circuit of its format",
        "`errors` carries the line and column. Only the documented subset of SPICE and OpenQASM is read.",
    ),
    ProblemType(
        "unknown-name",
        422,
        "A name that no registry holds",
        "GET /v1/families, /v1/models and their like list the names.",
    ),
    ProblemType(
        "limit-exceeded", 422, "Larger than the service accepts", "`detail` says what, how large, and the limit."
    ),
    ProblemType(
        "not-expressible",
        422,
        "The circuit is outside the language",
        "The model's language has no words for a part of it.",
    ),
    ProblemType("client-gone", 499, "The client went away", "Only in logs: nobody is left to read the answer."),
    ProblemType(
        "internal",
        500,
        "A defect of the service",
        "The `instance` is in the service's log beside the cause. Please report it.",
    ),
    ProblemType(
        "simulator-failure", 502, "The simulator could not do the work", "A worker process died. Trying again may help."
    ),
    ProblemType(
        "simulator-timeout",
        503,
        "The simulator did not answer in time",
        "A worker process was stopped. Trying again may help.",
    ),
    ProblemType(
        "unavailable",
        503,
        "The service lacks something it needs",
        "`detail` says what, and how the operator gets it (`josephson doctor` checks the same).",
    ),
    ProblemType(
        "deadline", 503, "The inline call took too long", "Ask for fewer circuits, or submit a job (POST /v1/jobs)."
    ),
)

#: Every problem type by slug.
PROBLEM_TYPES: Mapping[str, ProblemType] = {problem.slug: problem for problem in _TYPES}

#: From an error's class to its problem type; the nearest ancestor in this table counts.
TABLE: Mapping[type[JosephsonError], ProblemType] = {
    error: PROBLEM_TYPES[slug]
    for error, slug in {
        InvalidInput: "invalid-request",
        InvalidRequest: "invalid-request",
        CircuitSyntaxError: "circuit-syntax",
        UnknownName: "unknown-name",
        NotLearnt: "not-learnt",
        LimitExceeded: "limit-exceeded",
        NotExpressible: "not-expressible",
        NotFound: "not-found",
        Conflict: "conflict",
        Unavailable: "unavailable",
        SimulatorFailure: "simulator-failure",
        SimulatorTimeout: "simulator-timeout",
        JosephsonError: "internal",
    }.items()
}

#: Seconds after which a caller may try again, for what passes by itself.
_RETRY_AFTER_S = 5


class HttpProblem(JosephsonError):
    """A failure that only exists between a caller and an HTTP service. `slug` is a key of PROBLEM_TYPES."""

    def __init__(self, slug: str, message: str) -> None:
        super().__init__(message)
        self.problem_type = PROBLEM_TYPES[slug]


class ProblemError(BaseModel):
    """One thing wrong with a request. One of `pointer`, `parameter` and `header` says where, if it has a place."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None
    line: int | None = None
    column: int | None = None

    model_config = {
        "json_schema_extra": {
            "examples": [{"detail": "Input should be greater than or equal to 1", "pointer": "/count"}]
        }
    }


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[ProblemError] | None = None

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "type": "/docs/problems#invalid-request",
                    "title": "The request cannot be served as it stands",
                    "status": 422,
                    "detail": "/count: Input should be greater than or equal to 1",
                    "instance": "urn:uuid:1f0c7f6e-6d0b-4f0e-9b53-5f5b7c1f6c55",
                    "errors": [{"detail": "Input should be greater than or equal to 1", "pointer": "/count"}],
                }
            ]
        }
    }


def problem_type_of(error: JosephsonError) -> ProblemType:
    """The problem type of an error: its own where it is an HttpProblem, else the table's for its nearest ancestor."""
    if isinstance(error, HttpProblem):
        return error.problem_type
    return next(TABLE[ancestor] for ancestor in type(error).__mro__ if ancestor in TABLE)


def problem_response(
    problem_type: ProblemType,
    detail: str,
    instance: str,
    *,
    errors: Sequence[ProblemError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The problem document as a response. ASCII on the wire, so nothing in `detail` can break its encoding."""
    document = Problem(
        type=problem_type.uri,
        title=problem_type.title,
        status=problem_type.status,
        detail=detail,
        instance=instance,
        errors=list(errors) or None,
    )
    return Response(
        json.dumps(document.model_dump(exclude_none=True)),
        status_code=problem_type.status,
        media_type="application/problem+json",
        headers=dict(headers or {}),
    )


def instance_of(scope: Mapping[str, Any]) -> str:
    """What identifies this request in problem documents and in the log."""
    return f"urn:uuid:{scope.get('state', {}).get('request_id', '')}"


@contextmanager
def at_pointer(prefix: str) -> Iterator[None]:
    """InvalidInput raised inside carries `prefix` before its own JSON pointer."""
    try:
        yield
    except InvalidInput as error:
        error.pointer = prefix + (error.pointer or "")
        raise


def json_pointer(parts: Sequence[str | int]) -> str:
    """The RFC 6901 pointer of a path."""
    return "".join(f"/{_shorten(str(part)).replace('~', '~0').replace('/', '~1')}" for part in parts)


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_ECHO else text[: MAX_ECHO - 3] + "..."


def error_response(error: JosephsonError, instance: str, *, in_query: bool = False) -> Response:
    """The problem document of an error. `in_query`: its pointer names a parameter of the query, not of a body."""
    problem_type = problem_type_of(error)
    if problem_type.slug == "internal":
        logger.error("%s: %s", instance, error, exc_info=error)
        return internal_response(instance)
    errors = []
    if isinstance(error, InvalidInput) and error.pointer is not None:
        place = {"line": error.line, "column": error.column} if isinstance(error, CircuitSyntaxError) else {}
        where = {"parameter": error.pointer.lstrip("/")} if in_query else {"pointer": error.pointer}
        errors = [ProblemError.model_validate({"detail": str(error), **where, **place})]
    headers = {"Retry-After": str(_RETRY_AFTER_S)} if problem_type.status == 503 else {}
    return problem_response(problem_type, str(error), instance, errors=errors, headers=headers)


def internal_response(instance: str) -> Response:
    """The problem document of a defect: its id, which the log holds beside the cause, and nothing of the cause."""
    detail = f"the service failed; its log holds the cause beside {instance}"
    return problem_response(PROBLEM_TYPES["internal"], detail, instance)


def validation_response(
    entries: Sequence[Mapping[str, Any]], instance: str, *, body: Any = None, body_schema: Any = None
) -> Response:
    """The problem document of a request whose body, query or headers do not follow their schema.

    Args:
        entries: What pydantic found, as `ValidationError.errors()` lists it; `loc` opens with body, query or header.
        body: The parsed body, by which pointers tell keys from the tags of pydantic's unions.
        body_schema: The annotation of the body, from which the nearest known key is proposed.
    """
    errors = validation_errors(entries, body=body, body_schema=body_schema)
    detail = "; ".join(f"{each.pointer or each.parameter or each.header or 'body'}: {each.detail}" for each in errors)
    return problem_response(PROBLEM_TYPES["invalid-request"], detail, instance, errors=errors)


def validation_errors(
    entries: Sequence[Mapping[str, Any]], *, body: Any = None, body_schema: Any = None
) -> list[ProblemError]:
    """What pydantic found wrong, each with its place; the arguments are those of `validation_response`."""
    told = [entry for entry in entries if not _follows_from_another(entry, entries)]
    return [_validation_entry(entry, body, body_schema) for entry in told[:MAX_ERRORS]]


def _follows_from_another(entry: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> bool:
    """True for a list that pydantic finds too short only because an item of it was refused."""
    place = tuple(entry["loc"])
    return entry["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and tuple(other["loc"][: len(place)]) == place for other in entries
    )


def _validation_entry(entry: Mapping[str, Any], body: Any, body_schema: Any) -> ProblemError:
    source, *path = entry["loc"]
    kind, message = entry["type"], str(entry["msg"])
    if source in ("query", "path", "cookie"):
        return ProblemError(detail=message, parameter=_shorten(str(path[0])))
    if source == "header":
        return ProblemError(detail=message, header=_shorten(str(path[0])))
    if kind == "union_tag_invalid":
        tag = str(entry["ctx"]["tag"])
        return ProblemError(detail=str(UnknownName("job kind", tag, JOB_REQUESTS)), pointer="/kind")
    if kind == "union_tag_not_found":
        return ProblemError(detail="Field required", pointer="/kind")
    if kind in ("too_short", "too_long") and "actual_length" in entry["ctx"]:
        limit, found = entry["ctx"].get("min_length", entry["ctx"].get("max_length")), entry["ctx"]["actual_length"]
        side = "at least" if kind == "too_short" else "at most"
        message = f"has {'more' if found is None else found} items, it takes {side} {limit}"
    if kind == "extra_forbidden":
        message = f"unknown key {_shorten(str(path[-1]))!r}"
        near = difflib.get_close_matches(str(path[-1])[:MAX_ECHO], _known_keys(body_schema, path), n=1)
        message += f"; did you mean {near[0]!r}?" if near else ""
    return ProblemError(detail=message, pointer=json_pointer(_keys_of(body, path, is_missing=kind == "missing")))


def _keys_of(body: Any, path: Sequence[str | int], *, is_missing: bool) -> list[str | int]:
    """The parts of `path` that are keys or indices of the body; the others are tags of pydantic's unions."""
    keys: list[str | int] = []
    value = body
    for position, part in enumerate(path):
        is_key = isinstance(value, dict) and part in value
        is_index = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if is_key or is_index:
            value = value[part]
        elif not (is_missing and position == len(path) - 1):
            continue
        keys.append(part)
    return keys


def _known_keys(body_schema: Any, path: Sequence[str | int]) -> list[str]:
    """The keys that the object which holds the last part of `path` may have."""
    document = TypeAdapter[Any](body_schema).json_schema()
    node = document
    for part in path[:-1]:
        node = node.get("properties", {}).get(part, node)
        reference = node.get("discriminator", {}).get("mapping", {}).get(part) or node.get("$ref")
        if reference is not None:
            node = document["$defs"][reference.rpartition("/")[2]]
    return list(node.get("properties", {}))


def install_handlers(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Every error that leaves an endpoint of `app` becomes a problem document. `routes` are what `app` serves."""

    @app.exception_handler(JosephsonError)
    async def of_josephson(request: Request, error: JosephsonError) -> Response:
        return error_response(error, instance_of(request.scope), in_query=request.method == "GET")

    @app.exception_handler(RequestValidationError)
    async def of_validation(request: Request, error: RequestValidationError) -> Response:
        schema = getattr(request.state, "body_schema", None)
        return validation_response(error.errors(), instance_of(request.scope), body=error.body, body_schema=schema)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        instance = instance_of(request.scope)
        path = _shorten(request.url.path)
        if error.status_code == 404:
            detail = f"nothing at {path}; GET /openapi.json lists the paths"
            return problem_response(PROBLEM_TYPES["not-found"], detail, instance)
        if error.status_code == 405:
            allowed = ", ".join(_methods_at(routes, request))
            detail = f"{path} does not take {_shorten(request.method)}, but {allowed}"
            return problem_response(PROBLEM_TYPES["method-not-allowed"], detail, instance, headers={"Allow": allowed})
        return problem_response(PROBLEM_TYPES["bad-request"], _shorten(str(error.detail)), instance)


def _methods_at(routes: Sequence[BaseRoute], request: Request) -> list[str]:
    """Every method that some route takes at the request's path; Starlette's own answer knows the first route alone."""
    methods = {
        method
        for route in routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))
