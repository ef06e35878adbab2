"""`josephson jobs ...`: batch jobs of a running service, over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options as o
from app.cli.design import design_request
from app.cli.door import DONE, FAILED, Door, door_of, say, write_document, write_line
from app.cli.simulation_options import predict_request, simulate_request
from app.cli.size import size_request

if TYPE_CHECKING:
    from app.cli.client import JobsClient
    from app.requests import JobRequest

DEFAULT_URL = "http://127.0.0.1:8000"

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
Wait = Annotated[bool, typer.Option("--wait", help="Watch the job until it is done.")]


#: What can be submitted: the command, the kind of job, what makes its request, and what its rows are.
_SUBMISSIONS = (
    ("analog", "analog.generate", o.analog_request, "Analog topologies of a type."),
    ("quantum", "quantum.generate", o.quantum_request, "OpenQASM programs of a family."),
    ("simulate", "analog.simulate", simulate_request, "Sizings of a SPICE netlist on a testbench."),
    ("predict", "analog.predict", predict_request, "Sizings of a SPICE netlist on a testbench, predicted."),
    ("size", "analog.size", size_request, "Runs that size a SPICE netlist so that it meets a specification."),
    ("design", "analog.design", design_request, "Circuits of a type that meet a specification."),
)


def add_to(app: typer.Typer) -> None:
    """The commands are on the command line."""
    group = typer.Typer(help="Batch jobs of a running service.", no_args_is_help=True)
    submit = typer.Typer(help="Submit a job; prints its id.", no_args_is_help=True)
    for name, kind, fields, summary in _SUBMISSIONS:
        submit.command(name)(_submission(kind, fields, summary))
    group.add_typer(submit, name="submit")
    for name, command in (
        ("list", list_jobs), ("show", show), ("watch", watch), ("cancel", cancel), ("results", results),
        ("delete", delete),
    ):  # fmt: skip
        group.command(name)(command)
    app.add_typer(group, name="jobs")


def _submission(kind: str, fields: Callable[..., dict[str, Any]], summary: str) -> Callable[..., int]:
    """The command that submits a job of a kind; `fields` make its request, `summary` is its help."""

    def submit(
        context: typer.Context,
        request: dict[str, Any],
        wait: Wait = False,
        url: o.Url = DEFAULT_URL,
        as_json: o.AsJson = False,
    ) -> int:
        return _submit(door_of(context), url, kind, request, wait, as_json)

    submit.__doc__ = summary
    return o.with_request(fields)(submit)


def list_jobs(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", help="At most so many, the newest first.")] = 20,
    url: o.Url = DEFAULT_URL,
    as_json: o.AsJson = False,
) -> int:
    """The newest jobs."""
    with _client(door_of(context), url) as client:
        page = client.list(limit)
    if as_json:
        write_document(page)
    else:
        for job in page["jobs"]:
            write_line(_line(job))
    return DONE


def show(context: typer.Context, job_id: JobId, url: o.Url = DEFAULT_URL, as_json: o.AsJson = False) -> int:
    """One job: state, counts, seed."""
    with _client(door_of(context), url) as client:
        _print(client.show(job_id), as_json)
    return DONE


def watch(context: typer.Context, job_id: JobId, url: o.Url = DEFAULT_URL, as_json: o.AsJson = False) -> int:
    """Follow a job until it is done; status 1 unless it succeeded. Ctrl-C leaves the job running."""
    with _client(door_of(context), url) as client:
        return _watch(client, job_id, door_of(context).look_every_s, as_json)


def cancel(context: typer.Context, job_id: JobId, url: o.Url = DEFAULT_URL, as_json: o.AsJson = False) -> int:
    """Stop a job; the rows it has made stay."""
    with _client(door_of(context), url) as client:
        _print(client.cancel(job_id), as_json)
    return DONE


def results(
    context: typer.Context, job_id: JobId, output: o.Output = "-", url: o.Url = DEFAULT_URL, as_json: o.AsJson = False
) -> int:
    """The rows a job has made so far, one JSON object a line."""
    import io
    import json

    from app.cli.rows import opened_for_text

    with _client(door_of(context), url) as client:
        if as_json and output == "-":
            rows_key = _kind_of(client.show(job_id)).rows_key
            lines = io.StringIO()
            client.copy_results(job_id, lines)
            write_document({rows_key: [json.loads(line) for line in lines.getvalue().splitlines()]})
            return DONE
        with opened_for_text(output) as stream:
            count = client.copy_results(job_id, stream)
    if as_json:
        write_document({"output": output, "count": count})
    else:
        say(f"{count} rows")
    return DONE


def delete(context: typer.Context, job_id: JobId, url: o.Url = DEFAULT_URL, as_json: o.AsJson = False) -> int:
    """Remove a job and its rows."""
    with _client(door_of(context), url) as client:
        client.delete(job_id)
    if as_json:
        write_document({"id": job_id, "deleted": True})
    else:
        say(f"job {job_id} is deleted")
    return DONE


@contextlib.contextmanager
def _client(door: Door, url: str) -> Iterator[JobsClient]:
    from app.cli.client import JobsClient

    with door.make_client(url) as http:
        yield JobsClient(http)


def _submit(door: Door, url: str, kind: str, request: dict[str, Any], wait: bool, as_json: bool) -> int:
    with _client(door, url) as client:
        job = client.submit(kind, request)
        if wait:
            say(f"job {job['id']}")
            return _watch(client, job["id"], door.look_every_s, as_json)
    if as_json:
        write_document(job)
    else:
        write_line(job["id"])
    return DONE


def _watch(client: JobsClient, job_id: str, every_s: float, as_json: bool) -> int:
    from app.cli.progress import ProgressBar

    job = client.show(job_id)
    with ProgressBar(_kind_of(job).noun, job["counts"]["total"], patience_s=0.0) as bar:
        try:
            job = client.watch(job_id, lambda now: bar.advance_to(now["counts"]["done"], news_of(now)), every_s)
        except KeyboardInterrupt:
            say(f"no longer watching; job {job_id} goes on ('josephson jobs cancel {job_id}' stops it)")
            return FAILED
    _print(job, as_json)
    return DONE if job["status"] == "succeeded" else FAILED


def news_of(job: dict[str, Any]) -> str:
    """The job's status, and what is said of the first row that is being made."""
    notes = [row["progress"]["note"] for row in job.get("unfinished", ())[:1]]
    return "; ".join([str(job["status"]), *notes])


def _kind_of(job: dict[str, Any]) -> type[JobRequest]:
    """The schema of the job's requests, which knows what its rows are called."""
    from app.requests import JOB_REQUESTS

    return JOB_REQUESTS[job["kind"]]


def _print(job: dict[str, Any], as_json: bool) -> None:
    if as_json:
        write_document(job)
    else:
        write_line(_line(job))


def _line(job: dict[str, Any]) -> str:
    counts = job["counts"]
    share = ", ".join(f"{counts.get(status, 0)} {status}" for status in ("ok", "invalid", "error"))
    return (
        f"{job['id']}  {job['kind']:<17} {job['status']:<10} {counts['done']}/{counts['total']} ({share})  "
        f"seed {job['seed']}  {job['created']}"
    )
