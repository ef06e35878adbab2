"""The jobs of a running service over HTTP. Its answers are passed on as they came; its problems become our errors."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import httpx

from app.errors import Conflict, InvalidRequest, JosephsonError, NotFound, Unavailable

#: A job in one of these states changes no more.
FINAL = frozenset({"succeeded", "failed", "cancelled"})

#: A service that does not answer for this long while a job is watched is given up.
PATIENCE_S = 30.0


class JobsClient:
    """The calls of `/v1/jobs`.

    Every call raises Unavailable where no service answers, NotFound for an unknown job, Conflict where the job's state
    forbids the call, and InvalidRequest for a request that the service refuses.
    """

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def submit(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        """The new job."""
        return self._json("POST", "/v1/jobs", json={"kind": kind, "request": request})

    def list(self, limit: int) -> dict[str, Any]:
        """The newest jobs, at most `limit`."""
        return self._json("GET", "/v1/jobs", params={"limit": limit})

    def show(self, job_id: str) -> dict[str, Any]:
        """The job as it is now."""
        return self._json("GET", f"/v1/jobs/{_segment(job_id)}")

    def cancel(self, job_id: str) -> dict[str, Any]:
        """The job, which makes no further circuits."""
        return self._json("POST", f"/v1/jobs/{_segment(job_id)}/cancel")

    def delete(self, job_id: str) -> None:
        """The job and its rows are gone."""
        with self._answers():
            _check(self._http.delete(f"/v1/jobs/{_segment(job_id)}"))

    def watch(
        self, job_id: str, look: Callable[[dict[str, Any]], None], every_s: float, patience_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """The job once it is final; `look` saw it at every look. A service that restarts meanwhile is waited for."""
        last_answer = time.monotonic()
        while True:
            try:
                job = self.show(job_id)
            except Unavailable:
                if time.monotonic() - last_answer > patience_s:
                    raise
            else:
                last_answer = time.monotonic()
                look(job)
                if job["status"] in FINAL:
                    return job
            time.sleep(every_s)

    def copy_results(self, job_id: str, target: TextIO) -> int:
        """The job's rows are in `target`, one JSON line each; their number."""
        count = 0
        address = f"/v1/jobs/{_segment(job_id)}/results"
        with self._answers(), self._http.stream("GET", address, headers={"Accept": "application/x-ndjson"}) as answer:
            if answer.is_error:
                answer.read()
            _check(answer)
            for line in answer.iter_lines():
                if line:
                    target.write(line + "\n")
                    count += 1
        return count

    def _json(self, method: str, address: str, **options: Any) -> dict[str, Any]:
        with self._answers():
            answer = self._http.request(method, address, **options)
            _check(answer)
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Unavailable(f"{self._http.base_url} did not answer with a job; is it a Josephson service?")
        return body

    @contextlib.contextmanager
    def _answers(self) -> Iterator[None]:
        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unavailable(
                f"no service answers at {self._http.base_url} ({error}); start one with 'josephson serve', "
                "or name another with --url"
            ) from error


def _segment(job_id: str) -> str:
    """The id as one segment of a path."""
    if not job_id or not all(letter.isalnum() or letter in "-_" for letter in job_id):
        raise InvalidRequest(f"{job_id[:80]!r} is not the id of a job; 'josephson jobs list' shows them")
    return job_id


def _check(answer: httpx.Response) -> None:
    """The answer is no problem document, else the error it stands for."""
    if answer.is_error:
        raise _error(answer)


def _error(answer: httpx.Response) -> JosephsonError:
    try:
        problem = answer.json()
        sentence = str(problem.get("detail") or problem.get("title"))
        pointer = next((item.get("pointer") for item in problem.get("errors") or []), None)
        details = [str(item["detail"]) for item in problem.get("errors") or [] if item.get("detail")]
    except (ValueError, AttributeError):
        return Unavailable(f"the service answered {answer.status_code} without saying why; its log will")
    sentence = "; ".join([sentence, *(detail for detail in details if detail not in sentence)])
    if answer.status_code == 404:
        return (
            NotFound("job", answer.url.path.split("/")[3]) if answer.url.path.count("/") >= 3 else Unavailable(sentence)
        )
    if answer.status_code == 409:
        return Conflict(sentence)
    if answer.status_code < 500:
        return InvalidRequest(f"{pointer}: {sentence}" if pointer else sentence, pointer=pointer)
    return Unavailable(f"the service could not do it (status {answer.status_code}): {sentence}")
