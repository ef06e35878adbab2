"""The dashboard: pages and the parts of them that renew themselves. Everything is readable without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import TypeAdapter, ValidationError
from starlette.responses import RedirectResponse

from app.design.report import ranked
from app.errors import InvalidInput, JosephsonError, NotFound
from app.jobs.ledger import JobRecord
from app.requests import JOB_REQUESTS, MAX_JOB_COUNT, AnalogDesignRequest, AnalogSizeRequest, BenchRequest
from app.service import schemas
from app.service.about import readiness
from app.service.bodies import StrictRoute
from app.service.context import Service, ServiceDependency
from app.service.jobs import checked_id, rows_of, submit, told_document
from app.service.pages import grouped, render
from app.service.problems import problem_type_of
from app.units import format_engineering
from app.workshop import Outcome, Row

#: Jobs on the first page, on a page of all jobs, and rows on a page of a job.
RECENT_JOBS = 8
JOBS_PER_PAGE = 50
CIRCUITS_PER_PAGE = 25

#: Metrics of a simulation that have a column of their own.
SHOWN_METRICS = 5

#: What is worth knowing the version of when something is wrong.
_PACKAGES = ("torch", "qiskit", "PySpice")

#: What the form submits, and what its tab says.
_KINDS = {"analog.generate": "analog", "quantum.generate": "quantum", "analog.size": "size", "analog.design": "design"}

#: Fields of the form that are parts of an object of the request.
_NESTED = frozenset(
    {"specification.bounds", "specification.corners", "specification.objective", "budget.simulations", "budget.minutes"}
)

_SUBMISSION: TypeAdapter[schemas.JobSubmission] = TypeAdapter(schemas.JobSubmission)

#: What a request says that has a place of its own on its job's page, or is too much for it.
_SHOWN_ELSEWHERE = frozenset({"model", "seed", "netlist", "sizings", "known", "specification"})

#: What a run that sized a circuit says of itself, beside what it found.
_COSTS = (
    "origin",
    "nearest",
    "method",
    "seed",
    "simulations",
    "offline_simulations",
    "met_after",
    "trials",
    "wall_s",
    "cpu_s",
    "stored_rows",
)

#: A circuit's text by its key in a row: title, and the ending and media type of the downloaded file.
_TEXTS = {"deck": ("Deck", "deck.cir"), "netlist": ("Netlist", "cir"), "program": ("Program", "qasm")}

#: What the last word of a key means, where it is a unit.
_UNITS = {"s": "s", "a": "A", "v": "V", "hz": "Hz", "w": "W", "db": "dB", "deg": "deg", "m2": "m^2", "ohm": "ohm"}

_After = Annotated[int, Query(ge=-1, le=MAX_JOB_COUNT)]
_Status = Annotated[Outcome | None, Query()]


class PageRoute(StrictRoute):
    """A route whose expected failures are pages, not problem documents: people read them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint with its failures caught."""
        handle = super().get_route_handler()

        async def handle_as_page(request: Request) -> Response:
            try:
                return await handle(request)
            except JosephsonError as error:
                problem = problem_type_of(error)
                if problem.slug == "internal":
                    raise
                return render("error.html", status_code=problem.status, title=problem.title, detail=str(error))

        return handle_as_page


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True)
class SubmitForm:
    """The form that submits a job: what it offers, what was filled in, and what was wrong with it."""

    kind: str
    kinds: Mapping[str, str]
    choices: Mapping[str, Sequence[str]]
    values: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A report of named parts: one row a part, one column a key."""

    title: str
    noun: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]

    @classmethod
    def of(cls, title: str, noun: str, report: Mapping[str, Any]) -> Table:
        """The parts of a report that are reports themselves."""
        parts = {name: part for name, part in report.items() if isinstance(part, Mapping)}
        keys = list(dict.fromkeys(key for part in parts.values() for key in part))
        rows = [(name, [_shown(part.get(key, "-")) for key in keys]) for name, part in parts.items()]
        return cls(title, noun, [_label(key) for key in keys], rows)


# --- pages ----------------------------------------------------------------------------------------------------------


@router.get("/")
async def dashboard(request: Request, service: ServiceDependency, kind: str = "analog.generate") -> Response:
    """The service at a glance, and a form to give it work."""
    return await _dashboard(request, service, await _form(service, kind))


@router.get("/parts/state")
async def state_part(request: Request, service: ServiceDependency) -> Response:
    """The service's state alone."""
    return render("state.html", **await _state(request, service))


@router.get("/parts/recent")
async def recent_part(service: ServiceDependency) -> Response:
    """The last jobs alone."""
    return render("recent.html", **await run_in_threadpool(_recent, service))


@router.get("/jobs")
def all_jobs(service: ServiceDependency, cursor: Annotated[str | None, Query(max_length=64)] = None) -> Response:
    """Every job, in pages."""
    return render("jobs.html", here="jobs", page=service.ledger.list_jobs(cursor=cursor, limit=JOBS_PER_PAGE))


@router.get("/jobs/{job_id}")
def job_page(service: ServiceDependency, job_id: str, after: _After = -1, status: _Status = None) -> Response:
    """One job: how far it is, what was asked for, and its circuits."""
    job = service.ledger.get_job(checked_id(job_id))
    asked = [
        (_label(name), _shown(value))
        for name, value in job.request.items()
        if name not in _SHOWN_ELSEWHERE and value is not None
    ]
    asked += list(_specified(job.request.get("specification") or {}))
    netlist = job.request.get("netlist", "")
    return render(
        "job.html",
        here="jobs",
        asked=asked,
        netlist=netlist,
        **(_progress(service, job) | _ranked(service, job) | _circuits(service, job, after, status)),
    )


@router.get("/jobs/{job_id}/progress")
def progress_part(service: ServiceDependency, job_id: str) -> Response:
    """How far a job is, alone."""
    return render("progress.html", **_progress(service, service.ledger.get_job(checked_id(job_id))))


@router.get("/jobs/{job_id}/ranked")
def ranked_part(service: ServiceDependency, job_id: str) -> Response:
    """The circuits of a design that meet its specification, alone."""
    job = service.ledger.get_job(checked_id(job_id))
    found = _ranked(service, job)
    if found["ranking"] is None:
        raise NotFound("ranking of job", job.id)
    return render("ranked.html", **found)


@router.get("/jobs/{job_id}/circuits")
def circuits_part(service: ServiceDependency, job_id: str, after: _After = -1, status: _Status = None) -> Response:
    """A page of a job's circuits, alone."""
    job = service.ledger.get_job(checked_id(job_id))
    return render("circuits.html", **_circuits(service, job, after, status))


@router.get("/jobs/{job_id}/circuits/{index}")
def circuit_page(service: ServiceDependency, job_id: str, index: int) -> Response:
    """One circuit: its text, its measures, and what the validators found; or one sizing and its metrics."""
    job, row = _row(service, job_id, index)
    if _has_sizings(job):
        return _sizing_page(job, row)
    if "margins" in row:
        return _sized_page(job, row)
    own = f"/jobs/{job.id}/circuits/{index}"
    texts = [key for key in _TEXTS if isinstance(row.get(key), str)]
    shown = next((key for key in ("netlist", "program") if key in texts), None)
    return render(
        "circuit.html",
        here="jobs",
        job=job,
        row=_summary(row),
        facts=list(_facts(row)),
        findings=[_finding(each) for each in row.get("findings") or ()],
        problem=_problem_sentence(row),
        text=row[shown] if shown else "",
        text_title=_TEXTS[shown][0] if shown else "Text",
        downloads=[(f".{_TEXTS[key][1]}", f"{own}/{key}") for key in texts] + [("JSON", f"{own}/json")],
    )


@router.get("/jobs/{job_id}/circuits/{index}/{part}")
def circuit_file(service: ServiceDependency, job_id: str, index: int, part: str) -> Response:
    """One circuit as a file: its netlist, deck, program, or the whole row as JSON."""
    job, row = _row(service, job_id, index)
    if part == "json":
        text, ending, media_type = json.dumps(row, indent=2) + "\n", "json", "application/json"
    elif part in _TEXTS and isinstance(row.get(part), str):
        text, ending, media_type = row[part], _TEXTS[part][1], "text/plain; charset=utf-8"
    else:
        raise NotFound(f"part of circuit {index} of job {job.id} named", part[:40])
    headers = {"Content-Disposition": f'attachment; filename="{job.id}-{index}.{ending}"'}
    return Response(text, media_type=media_type, headers=headers)


def _sizing_page(job: JobRecord, row: Row) -> Response:
    own = f"/jobs/{job.id}/circuits/{row['index']}"
    undefined = row.get("undefined") or {}
    metrics = [
        (_label(name), _figure(found), _interval(found) or (undefined.get(name) or {}).get("reason", ""))
        for name, found in (row.get("metrics") or {}).items()
    ]
    return render(
        "sizing.html",
        here="jobs",
        job=job,
        row=row,
        testbench=job.request.get("testbench", "-"),
        metrics=metrics,
        sizes=[(_label(name), _shown(value)) for name, value in (row.get("sizes") or {}).items()],
        message=_remarks(row),
        decks=row.get("decks") or {},
        downloads=[("JSON", f"{own}/json")],
    )


def _sized_page(job: JobRecord, row: Row) -> Response:
    own = f"/jobs/{job.id}/circuits/{row['index']}"
    by_corner: Mapping[str, Mapping[str, Any]] = row["metrics"]
    names = dict.fromkeys(name for metrics in by_corner.values() for name in metrics)
    margins = [
        limit
        | {"worst": _quantity(limit["metric"], limit["worst"]), "margin": _margin(limit["metric"], limit["margin"])}
        for limit in row["margins"]
    ]
    costs = [*((name, row[name]) for name in _COSTS if row.get(name) is not None), *((row.get("model") or {}).items())]
    return render(
        "sized.html",
        here="jobs",
        job=job,
        row=row,
        title=row.get("name") or job.request.get("testbench", "-"),
        message=_remarks(row),
        margins=margins,
        corners=list(by_corner),
        metrics=[
            (_named_unit(name)[0].replace("_", " "), [_quantity(name, each.get(name)) for each in by_corner.values()])
            for name in names
        ],
        sizes=[(name, _shown(value)) for name, value in row["sizes"].items()],
        costs=[(_label(name), _shown(value)) for name, value in costs],
        decks=[
            (f"{setup}, {corner}", text)
            for corner, texts in (row.get("decks") or {}).items()
            for setup, text in texts.items()
        ],
        downloads=[(".cir", f"{own}/netlist"), ("JSON", f"{own}/json")],
    )


# --- forms ----------------------------------------------------------------------------------------------------------


@router.post("/jobs")
async def submit_form(request: Request, service: ServiceDependency) -> Response:
    """The job of the filled-in form; the dashboard again, with what was wrong, when it cannot be made."""
    filled = {name: value.replace("\r\n", "\n").strip() for name, value in await _fields(request)}
    kind = filled.pop("kind", "")
    wanted = {"kind": kind, "request": _request_of(filled)}
    try:
        asked = _SUBMISSION.validate_python(wanted)
        job = (await submit(service, asked.kind, asked.request)).job
    except ValidationError as error:
        sentences = tuple(f"{_place(each['loc'])}: {each['msg']}" for each in error.errors()[:5])
    except InvalidInput as error:
        sentences = (str(error),)
    else:
        return RedirectResponse(f"/jobs/{job.id}", status_code=303)
    form = await _form(service, kind, values=filled, errors=sentences)
    return await _dashboard(request, service, form, status_code=422)


@router.post("/jobs/{job_id}/cancel")
async def cancel_form(service: ServiceDependency, job_id: str) -> Response:
    """The job is cancelled; its page follows."""
    job = await service.runner.cancel(checked_id(job_id))
    return RedirectResponse(f"/jobs/{job.id}", status_code=303)


@router.post("/jobs/{job_id}/delete")
async def delete_form(service: ServiceDependency, job_id: str) -> Response:
    """The job is gone; the list of jobs follows."""
    await service.runner.delete(checked_id(job_id))
    return RedirectResponse("/jobs", status_code=303)


async def _fields(request: Request) -> list[tuple[str, str]]:
    """The fields of a form as browsers send them by default."""
    try:
        return parse_qsl((await request.body()).decode("utf-8"), keep_blank_values=True, max_num_fields=32)
    except ValueError as error:
        raise InvalidInput("the form is not one of this dashboard; load the page anew") from error


async def _form(
    service: Service, kind: str, *, values: Mapping[str, str] | None = None, errors: tuple[str, ...] = ()
) -> SubmitForm:
    known = kind if kind in _KINDS else "analog.generate"
    choices = _choices(known, await run_in_threadpool(service.workshop.describe))
    return SubmitForm(known, _KINDS, choices, values or {}, errors)


def _choices(kind: str, described: Mapping[str, Any]) -> dict[str, list[str]]:
    """What each selection of a kind's form offers, by field."""
    if kind == "quantum.generate":
        return {"family": list(described["families"]["quantum"])}
    if kind == "analog.generate":
        return {"type": list(described["families"]["analog"])}
    choices = {"technology": [each["name"] for each in described["technologies"] if each["is_available"]]}
    if kind == "analog.size":
        return choices | {"testbench": [each["name"] for each in described["testbenches"]]}
    return choices | {"type": sorted({name for each in described["testbenches"] for name in each["types"]})}


def _request_of(filled: Mapping[str, str]) -> dict[str, Any]:
    """The request that a form says, its empty fields left out."""
    request: dict[str, Any] = {name: text for name, text in filled.items() if text and name not in _NESTED}
    nested: dict[str, dict[str, Any]] = {}
    for name in _NESTED & filled.keys():
        if filled[name]:
            holder, _, own = name.partition(".")
            nested.setdefault(holder, {})[own] = _FORM_VALUES.get(name, str)(filled[name])
    return request | nested


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _objective(text: str) -> dict[str, str]:
    goal, _, metric = text.partition(":")
    return {goal.strip(): metric.strip()}


#: Fields of the form whose text is no value of the request as it stands.
_FORM_VALUES: Mapping[str, Callable[[str], Any]] = {
    "specification.bounds": _lines,
    "specification.objective": _objective,
}


def _place(place: Sequence[int | str]) -> str:
    """The field of the form that a place of a submission is, and which of its lines, counted from 1."""
    names = [part for part in place if isinstance(part, str) and part != "[key]"]
    line = f" {place[-1] + 1}" if place and isinstance(place[-1], int) else ""
    return (names[-1] if names else "kind") + line


# --- what the templates show ----------------------------------------------------------------------------------------


async def _dashboard(request: Request, service: Service, form: SubmitForm, *, status_code: int = 200) -> Response:
    state = await _state(request, service)
    recent = await run_in_threadpool(_recent, service)
    models = (await run_in_threadpool(service.workshop.describe))["models"]
    return render(
        "dashboard.html",
        status_code=status_code,
        here="dashboard",
        form=form,
        example=schemas.PAIR,
        models=models,
        **state,
        **recent,
    )


async def _state(request: Request, service: Service) -> dict[str, Any]:
    report = await readiness(service)
    facts = [*_scalars(report["engine"]), *_scalars(report["workers"]), *_scalars(report)]
    versions = [(name, found) for name in _PACKAGES if (found := _version(name))]
    parts = [Table.of("Engine", "model", report["engine"]), Table.of("Workers", "pool", report["workers"])]
    return {
        "report": report,
        "facts": facts + versions,
        "tables": [part for part in parts if part.rows],
        "address": request.url.netloc,
    }


def _recent(service: Service) -> dict[str, Any]:
    counts = service.ledger.status_counts()
    unfinished = counts["queued"] + counts["running"] + counts["cancelling"]
    jobs = service.ledger.list_jobs(limit=RECENT_JOBS).jobs
    return {"jobs": jobs, "unfinished": unfinished, "is_live": unfinished > 0}


def _progress(service: Service, job: JobRecord) -> dict[str, Any]:
    """The job, its time so far, and while it runs its mean rate, what remains at that rate, and what is being made."""
    now = datetime.now(UTC)
    elapsed_s = ((job.finished or now) - job.started).total_seconds() if job.started else None
    rate = job.counts.done / elapsed_s if elapsed_s and job.counts.done else None
    is_running = job.status == "running" and rate is not None
    remaining_s = (job.counts.total - job.counts.done) / rate if is_running and rate else None
    noun = JOB_REQUESTS[job.kind].noun
    told = told_document(service, job, service.runner.unfinished(job.id))
    return {
        "job": job,
        "noun": noun,
        "elapsed_s": elapsed_s,
        "rate": rate,
        "remaining_s": remaining_s,
        "unfinished": told["unfinished"],
        "funnel": told.get("funnel"),
    }


def _ranked(service: Service, job: JobRecord) -> dict[str, Any]:
    """The circuits of a design that meet its specification, the best first; a `ranking` of None for other jobs."""
    if not issubclass(JOB_REQUESTS[job.kind], AnalogDesignRequest):
        return {"job": job, "ranking": None}
    wish = AnalogDesignRequest.model_validate(job.request).specification.wish
    found = ranked(rows_of(service, job.id), wish)
    columns = [limit["bound"] for limit in found[0]["margins"]] if found else []
    return {
        "job": job,
        "ranking": [_ranked_line(row, None if wish is None else wish.metric) for row in found],
        "bounds": columns,
        "objective": None if wish is None else (wish.goal, wish.metric),
    }


def _ranked_line(row: Row, objective: str | None) -> dict[str, Any]:
    """A circuit that meets the specification as one line of a table: for each bound the worst value and its margin."""
    nearest = row.get("nearest") or {}
    wished = [metrics.get(objective) for metrics in row["metrics"].values()] if objective else []
    return {
        "index": row["index"],
        "rank": row["pareto_rank"],
        "name": row.get("name") or row.get("type") or "-",
        "origin": row.get("origin") or "-",
        "nearest": nearest.get("name") or "-",
        "similarity": _figure(nearest.get("similarity")),
        "limits": [
            (_quantity(limit["metric"], limit["worst"]), _margin(limit["metric"], limit["margin"]))
            for limit in row["margins"]
        ],
        "wished": " to ".join(dict.fromkeys(_quantity(objective or "", end) for end in _ends(wished))),
        "simulations": row.get("simulations", 0),
    }


def _ends(values: Sequence[float | None]) -> list[float]:
    """The least and the greatest of the values that are there."""
    found = [value for value in values if value is not None]
    return [min(found), max(found)] if found else []


def _specified(specification: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The parts of a specification by name: each bound, then the rest."""
    for bound in specification.get("bounds", ()):
        for sign, side in ((">", "low"), ("<", "high")):
            if bound.get(side) is not None:
                yield bound["metric"], f"{sign} {bound[side]:g}"
    for goal, metric in (specification.get("objective") or {}).items():
        yield "objective", f"{goal} {metric}"
    for name, value in (specification.get("settings") or {}).items():
        yield name, f"{value:g}"
    if specification.get("supply_v") is not None:
        yield "supply_v", f"{specification['supply_v']:g}"
    corners = specification.get("corners")
    if isinstance(corners, str):
        yield "corners", corners
    for corner in () if isinstance(corners, str) else corners or ():
        yield "corner", _shown({name: value for name, value in corner.items() if value is not None})


def _quantity(metric: str, value: float | None) -> str:
    """The value of a metric with its unit, for reading: ``5.883 MHz``."""
    if value is None:
        return "-"
    _, unit = _named_unit(metric)
    return " ".join(format_engineering(float(f"{value:.4g}"), unit)) if unit else _shown(value)


def _margin(metric: str, value: float | None) -> str:
    """A margin for reading, with its sign."""
    return ("+" if value is not None and value >= 0 else "") + _quantity(metric, value)


def _circuits(service: Service, job: JobRecord, after: int, status: Outcome | None) -> dict[str, Any]:
    page = service.ledger.results(job.id, after=after, limit=CIRCUITS_PER_PAGE, status=status)
    columns: list[str] | None = None
    if _has_sizings(job):
        names = list(next((row["metrics"] for row in page.rows if row.get("metrics")), {}))[:SHOWN_METRICS]
        columns, rows = [_label(name) for name in names], [_sizing_line(row, names) for row in page.rows]
    elif issubclass(JOB_REQUESTS[job.kind], AnalogSizeRequest):
        columns = [limit["bound"] for limit in next((row["margins"] for row in page.rows if row.get("margins")), [])]
        rows = [_sized_line(row) for row in page.rows]
    else:
        rows = [_summary(row) for row in page.rows]
    return {
        "job": job,
        "noun": JOB_REQUESTS[job.kind].noun,
        "columns": columns,
        "rows": rows,
        "after": after,
        "next_after": page.next_after,
        "status": status,
        "query": urlencode({"after": after, **({"status": status} if status else {})}),
        "renews": not job.is_finished and len(page.rows) < CIRCUITS_PER_PAGE,
    }


def _row(service: Service, job_id: str, index: int) -> tuple[JobRecord, Row]:
    """The job and its row of that index; NotFound where either is not there (yet)."""
    job = service.ledger.get_job(checked_id(job_id))
    if 0 <= index < job.counts.total:
        rows = service.ledger.results(job.id, after=index - 1, limit=1).rows
        if rows and rows[0]["index"] == index:
            return job, rows[0]
    raise NotFound(f"circuit of job {job.id} with index", str(index)[:20])


def _has_sizings(job: JobRecord) -> bool:
    """True where rows are sizings of one netlist, simulated or predicted."""
    return issubclass(JOB_REQUESTS[job.kind], BenchRequest)


def _sizing_line(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    """A simulated or predicted sizing as one line of a table."""
    metrics = row.get("metrics") or {}
    undefined = row.get("undefined") or {}
    reasons = dict.fromkeys(str(each["reason"]) for each in undefined.values())
    return {
        "index": row["index"],
        "status": row["status"],
        "values": [_figure(metrics.get(name)) for name in columns],
        "headline": _shortened(_remarks(row) or "; ".join(reasons)),
    }


def _sized_line(row: Row) -> dict[str, Any]:
    """A run that sized a circuit as one line of a table: the worst value for each bound."""
    return {
        "index": row["index"],
        "status": row["status"],
        "values": [_quantity(limit["metric"], limit["worst"]) for limit in row.get("margins") or ()],
        "headline": _shortened(_remarks(row)),
    }


def _figure(found: object) -> str:
    """The value of a metric as a row has it, simulated or predicted."""
    value = found.get("value") if isinstance(found, Mapping) else found
    return "-" if value is None else _shown(value)


def _interval(found: object) -> str:
    """The interval of a predicted metric, or where else its value is from; nothing for a simulated one."""
    if not isinstance(found, Mapping):
        return ""
    if found.get("known"):
        return "known before"
    if found.get("value") is None:
        return f"likely has none: defined with a probability of {found.get('defined', 0.0):.2g}"
    low, high = ("open" if found.get(end) is None else _shown(found[end]) for end in ("low", "high"))
    return f"{low} to {high}"


def _remarks(row: Row) -> str:
    """What became of a sizing, what holds it back, or in what it is unlike what a prediction was learnt from."""
    told = row.get("message") or row.get("binding") or "; ".join(map(str, row.get("reasons") or ()))
    return _problem_sentence(row) or str(told)


def _shortened(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _summary(row: Row) -> dict[str, Any]:
    """A row as one line of a table; an error row lacks most keys."""
    sizes = (
        ("device_count", "{} devices"),
        ("net_count", "{} nets"),
        ("qubits", "{} qubits"),
        ("gate_count", "{} gates"),
    )
    findings = [_finding(each) for each in row.get("findings") or ()]
    first = str(findings[0]["code"]) if findings else ""
    headline = _problem_sentence(row) or (f"{first} +{len(findings) - 1}" if len(findings) > 1 else first)
    similarity = (row.get("novelty") or {}).get("nearest_similarity", (row.get("nearest") or {}).get("similarity"))
    if row.get("why"):
        headline = f"{str(row.get('stage')).replace('_', ' ')}: {row['why']}"
    return {
        "index": row["index"],
        "status": row["status"],
        "what": row.get("name") or row.get("type") or row.get("family") or "-",
        "size": " · ".join(words.format(row[key]) for key, words in sizes if key in row) or "-",
        "similarity": f"{similarity:.2f}" if isinstance(similarity, (int, float)) else "-",
        "headline": _shortened(headline, most=160),
    }


def _facts(row: Row) -> Iterator[tuple[str, str]]:
    """A row's scalar values and those one level below, with their names, texts and lists left out."""
    for name, value in row.items():
        if name in _TEXTS or name in ("index", "status", "problem"):
            continue
        if isinstance(value, Mapping):
            yield from _scalars(value)
        elif isinstance(value, (str, int, float)):
            yield _label(name), str(value) if name == "seed" else _shown(value)
        elif name == "ports" and isinstance(value, list):
            yield name, " ".join(str(port) for port in value)


def _scalars(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The report's own texts and numbers; reports inside it, and whether the service is ready, are shown elsewhere."""
    for key, value in report.items():
        if isinstance(value, (str, int, float)) and key != "ready":
            yield _label(key), _shown(value)


def _label(name: str) -> str:
    """A key for reading: ``supply_current_a`` is "supply current (A)"."""
    words, unit = _named_unit(name)
    return f"{words} ({unit})".replace("_", " ") if unit else name.replace("_", " ")


def _named_unit(name: str) -> tuple[str, str | None]:
    """A key without its unit, and that unit; the key as it is where it has none."""
    words, _, last = name.rpartition("_")
    unit = _UNITS.get(last) if words and "_per_" not in name else None
    return (words, unit) if unit else (name, None)


def _shown(value: object) -> str:
    """A value for reading."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return grouped(value)
    if isinstance(value, float):
        return grouped(round(value)) if 1000 <= abs(value) < 1e6 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_label(str(key))} {_shown(inner)}" for key, inner in value.items())
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _finding(finding: Mapping[str, Any]) -> dict[str, str | None]:
    keys = ("code", "severity", "message", "where", "hint")
    return {key: None if finding.get(key) is None else str(finding[key]) for key in keys}


def _problem_sentence(row: Row) -> str:
    problem = row.get("problem") or {}
    return str(problem.get("detail") or problem.get("title") or "")


def _version(package: str) -> str | None:
    try:
        return version_of(package)
    except PackageNotFoundError:
        return None
