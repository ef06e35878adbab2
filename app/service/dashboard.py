"""The dashboard: pages and the parts of them that renew themselves. Everything is readable without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from app.service.forms import KINDS, MAX_FIELDS, SPECIFIED_KINDS, SubmitForm, errors_by_field, request_of
from app.service.jobs import checked_id, rows_of, submit, told_document
from app.service.pages import grouped, render
from app.service.problems import ProblemError, problem_type_of, validation_errors
from app.units import format_quantity
from app.workshop import Outcome, Row

#: Jobs on the first page, on a page of all jobs, and rows on a page of a job.
RECENT_JOBS = 8
JOBS_PER_PAGE = 50
CIRCUITS_PER_PAGE = 25

#: Metrics of a simulation that have a column of their own.
SHOWN_METRICS = 5

#: What is worth knowing the version of when something is wrong.
_PACKAGES = ("torch", "qiskit", "PySpice")

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

#: What candidates of a design that are counted at each stage have behind them.
_STAGES = {
    "proposed": "an archetype, or drawn by the generator",
    "legal": "wired soundly, and fit for the testbench",
    "conducting": "some bias lets current flow",
    "promising": "not ruled out by the neural simulator's first look",
    "sized": "sized by real simulations",
    "passing": "keeps every bound at every corner",
}

#: What the last word of a key means, where it is a unit.
_UNITS = {
    "s": "s",
    "a": "A",
    "f": "F",
    "v": "V",
    "hz": "Hz",
    "w": "W",
    "db": "dB",
    "deg": "deg",
    "m2": "m^2",
    "ohm": "ohm",
}

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
        return _sized_page(job, row, _units_of(service, job))
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
        problem=_problem_sentence(row) or row.get("why") or "",
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
        sizes=[(name, _size(name, value)) for name, value in (row.get("sizes") or {}).items()],
        message=_remarks(row),
        decks=row.get("decks") or {},
        downloads=[("JSON", f"{own}/json")],
    )


def _sized_page(job: JobRecord, row: Row, units: Mapping[str, str]) -> Response:
    own = f"/jobs/{job.id}/circuits/{row['index']}"
    by_corner: Mapping[str, Mapping[str, Any]] = row["metrics"]
    names = dict.fromkeys(name for metrics in by_corner.values() for name in metrics)
    margins = [
        limit
        | {"worst": _quantity(limit["metric"], limit["worst"]), "margin": _margin(limit["metric"], limit["margin"])}
        for limit in row["margins"]
    ]
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
            (name, [_quantity(name, each.get(name), units.get(name)) for each in by_corner.values()]) for name in names
        ],
        sizes=[(name, _size(name, value)) for name, value in row["sizes"].items()],
        costs=list(_costs(row)),
        decks=[
            (f"{setup}, {corner}", text)
            for corner, texts in (row.get("decks") or {}).items()
            for setup, text in texts.items()
        ],
        downloads=[(".cir", f"{own}/netlist"), ("JSON", f"{own}/json")],
    )


def _costs(row: Row) -> Iterator[tuple[str, str]]:
    """How a run came to its sizing: what it took, and how far off the model was that helped it."""
    for name in _COSTS:
        if row.get(name) is not None:
            yield _label(name), str(row[name]) if name == "seed" else _shown(row[name])
    model = row.get("model") or {}
    if model.get("rows") is not None:
        yield "simulations that the model learnt from", _shown(model["rows"])
    for metric, error in (model.get("errors") or {}).items():
        ends = [_shown(error[end]) for end in ("first", "last") if error.get(end) is not None]
        yield f"model's error of {metric}, first and last", ", ".join(ends) or "-"


# --- forms ----------------------------------------------------------------------------------------------------------


@router.post("/jobs")
async def submit_form(request: Request, service: ServiceDependency) -> Response:
    """The job of the filled-in form; the dashboard again, with what was wrong, when it cannot be made."""
    kind, filled = await _filled(request)
    wanted = {"kind": kind, "request": request_of(filled)}
    try:
        asked = _SUBMISSION.validate_python(wanted)
        job = (await submit(service, asked.kind, asked.request)).job
    except ValidationError as error:
        entries = [{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors()]
        errors = validation_errors(entries, body=wanted, body_schema=schemas.JobSubmission)
    except InvalidInput as error:
        errors = [ProblemError(detail=str(error), pointer=error.pointer)]
    else:
        return RedirectResponse(f"/jobs/{job.id}", status_code=303)
    form = await _form(service, kind, values=filled, errors=errors_by_field(errors, filled.keys()))
    return await _dashboard(request, service, form, status_code=422)


@router.post("/form")
async def form_again(request: Request, service: ServiceDependency) -> Response:
    """The dashboard with the form as it is filled in, and what fits that: for browsers that run no scripts."""
    kind, filled = await _filled(request)
    return await _dashboard(request, service, await _form(service, kind, values=filled))


@router.post("/parts/conditions")
async def conditions_part(request: Request, service: ServiceDependency) -> Response:
    """What a form offers under the testbench and technology that are filled in, alone."""
    kind, filled = await _filled(request)
    if kind not in SPECIFIED_KINDS:
        raise NotFound("specification in jobs of kind", kind[:40])
    return render("conditions.html", form=await _form(service, kind, values=filled))


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


async def _filled(request: Request) -> tuple[str, dict[str, str]]:
    """The kind of job of a form as browsers send it by default, and its fields."""
    try:
        fields = parse_qsl((await request.body()).decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise InvalidInput("the form is not one of this dashboard; load the page anew") from error
    filled = {name: value.replace("\r\n", "\n").strip() for name, value in fields}
    return filled.pop("kind", ""), filled


async def _form(
    service: Service,
    kind: str,
    *,
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, Sequence[str]] | None = None,
) -> SubmitForm:
    known = kind if kind in KINDS else "analog.generate"
    return SubmitForm(known, await run_in_threadpool(service.workshop.describe), values or {}, errors or {})


# --- what the templates show ----------------------------------------------------------------------------------------


async def _dashboard(request: Request, service: Service, form: SubmitForm, *, status_code: int = 200) -> Response:
    state = await _state(request, service)
    recent = await run_in_threadpool(_recent, service)
    return render(
        "dashboard.html",
        status_code=status_code,
        here="dashboard",
        form=form,
        example=schemas.PAIR,
        models=form.described["models"],
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
    """The job, its time so far, and while it runs its mean rate, what remains at that rate, and what is being made.

    Rows that are made for minutes, or end with a budget, have no rate that tells anything; those of which most was done
    come first.
    """
    now = datetime.now(UTC)
    elapsed_s = ((job.finished or now) - job.started).total_seconds() if job.started else None
    is_steady = job.kind not in SPECIFIED_KINDS
    rate = job.counts.done / elapsed_s if is_steady and elapsed_s and job.counts.done else None
    remaining_s = (job.counts.total - job.counts.done) / rate if rate and job.status == "running" else None
    told = told_document(service, job, service.runner.unfinished(job))
    return {
        "job": job,
        "noun": JOB_REQUESTS[job.kind].noun,
        "elapsed_s": elapsed_s,
        "rate": rate,
        "remaining_s": remaining_s,
        "unfinished": sorted(told["unfinished"], key=lambda row: -row["progress"].get("simulations", 0)),
        "funnel": told.get("funnel"),
        "stages": _STAGES,
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
                yield bound["metric"], f"{sign} {_quantity(bound['metric'], bound[side])}"
    for goal, metric in (specification.get("objective") or {}).items():
        yield "objective", f"{goal} {metric}"
    for name, value in (specification.get("settings") or {}).items():
        yield name, _quantity(name, value)
    if specification.get("supply_v") is not None:
        yield "supply", _quantity("supply_v", specification["supply_v"])
    corners = specification.get("corners")
    if isinstance(corners, str):
        yield "corners", corners
    for corner in () if isinstance(corners, str) else corners or ():
        yield "corner", _shown({name: value for name, value in corner.items() if value is not None})


def _units_of(service: Service, job: JobRecord) -> dict[str, str]:
    """The units of the metrics of a job's testbench, by metric."""
    name = job.request.get("testbench")
    benches = (each for each in service.workshop.describe()["testbenches"] if each["name"] == name)
    return {metric["name"]: metric["unit"] for each in benches for metric in each["metrics"]}


def _quantity(name: str, value: float | None, unit: str | None = None) -> str:
    """The value with its unit, which its name ends with where it is not given, for reading: ``5.883 MHz``."""
    if value is None:
        return "-"
    unit = unit or _named_unit(name)[1] or "1"
    if unit == "m^2":
        return f"{1e12 * value:.4g} um^2"
    return _shown(value) if unit == "1" else format_quantity(float(f"{value:.4g}"), unit)


def _size(name: str, value: float) -> str:
    """The size of a device with its unit: widths and lengths, which are told by their first letter, are metres."""
    return _quantity(name, value, "m" if name.startswith(("w_", "l_")) else None)


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
        if name in _TEXTS or name in ("index", "status", "problem", "why"):
            continue
        if isinstance(value, Mapping):
            yield from ((f"{_label(name)}: {inner}", shown) for inner, shown in _scalars(value))
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
