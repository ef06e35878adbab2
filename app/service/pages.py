"""HTML from the package's templates. Everything is escaped; nothing a circuit holds can become markup."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

import app

FOLDER = Path(__file__).resolve().parent
STATIC = FOLDER / "static"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"version": app.__version__, "static": _static_url}
    environment.filters |= {"moment": _moment, "grouped": grouped, "seconds": _seconds}
    return environment


@cache
def _static_url(name: str) -> str:
    """The address of a static file; it changes with the file, so browsers may keep what they have."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()
    return f"/static/{name}?v={digest[:10]}"


def _moment(value: str | datetime | None) -> str:
    """A moment in UTC, to the second."""
    if value is None:
        return "-"
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def grouped(value: int) -> str:
    """An integer with thin spaces between its thousands."""
    return f"{value:,}".replace(",", "\u2009")


def _seconds(value: float) -> str:
    """A duration fit for reading: ``850 ms``, ``12.3 s``, ``4 min 10 s``, ``2 h 5 min``."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def render(
    template: str, *, status_code: int = 200, headers: Mapping[str, str] | None = None, **values: Any
) -> HTMLResponse:
    """The template, filled with `values`, as an answer."""
    text = _environment().get_template(template).render(values)
    return HTMLResponse(text, status_code=status_code, headers=dict(headers or {}))
