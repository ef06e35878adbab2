"""How endpoints answer, and how OpenAPI says what they may answer."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

#: What may go wrong at any endpoint that takes a JSON body.
BODY_PROBLEMS = (400, 413, 415, 422)

#: And at one that checks a text, generates or simulates.
TEXT_PROBLEMS = (*BODY_PROBLEMS, 502, 503)
WORK_PROBLEMS = (*BODY_PROBLEMS, 502, 503)

_DESCRIPTIONS = {
    400: "The body is not JSON.",
    404: "There is no such job, or the model has not learnt the testbench or metric.",
    406: "No representation of the resource has the wanted type.",
    409: "The resource is in a state that forbids the call.",
    413: "The body is too large.",
    415: "The content type is not JSON.",
    422: "A field is unknown, missing, out of range or contradicts another; `errors` names it.",
    502: "A simulator process died.",
    503: "The service lacks something, or the work took too long; `Retry-After` says when to try again.",
}

#: Problems of every endpoint, whatever it does.
_EVERYWHERE = {
    403: "A browser sent the request from a page of another origin.",
    421: "The Host header names another service.",
    500: "A defect of the service; `instance` is in its log.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's entries for problem documents of these statuses and of those that every endpoint may answer."""
    described = {status: _DESCRIPTIONS[status] for status in statuses} | _EVERYWHERE
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": text, "content": {"application/problem+json": {"schema": schema}}}
        for status, text in sorted(described.items())
    }


def json_text(value: object) -> str:
    """The value as compact JSON; ValueError for NaN and infinities, which JSON does not have."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def json_response(value: object, *, status_code: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The value as a JSON answer."""
    return Response(json_text(value), status_code=status_code, headers=headers, media_type="application/json")
