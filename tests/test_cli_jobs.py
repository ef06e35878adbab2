from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli import main
from app.cli.client import JobsClient
from app.cli.door import Door
from app.errors import Unavailable

JOB = "01k0w3m6q8r5v2x7z9b4d1f6h3"


class FakeService:
    """Answers the calls of /v1/jobs for one job that is done after `looks` looks."""

    def __init__(self, *, looks: int = 2, total: int = 3, fate: str = "succeeded") -> None:
        self.looks, self.total, self.fate = looks, total, fate
        self.calls: list[tuple[str, str]] = []
        self.bodies: list[Any] = []

    def client(self, url: str) -> httpx.Client:
        return httpx.Client(base_url=url, transport=httpx.MockTransport(self.answer))

    def job(self) -> dict[str, Any]:
        is_done = self.looks <= 0
        done = self.total if is_done else 1
        counts = {"total": self.total, "done": done, "ok": done, "invalid": 0, "error": 0}
        return {"id": JOB, "kind": "analog.generate", "status": self.fate if is_done else "running", "counts": counts,
                "seed": 7, "created": "2026-11-22T12:00:00Z", "links": {}}  # fmt: skip

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.calls.append((request.method, path))
        if request.method == "POST" and path == "/v1/jobs":
            self.bodies.append(json.loads(request.content))
            if self.bodies[-1]["request"].get("type") == "opmap":
                return problem(422, "no circuit type named 'opmap'; did you mean 'opamp'?", "/request/type")
            return httpx.Response(202, json=self.job())
        if path == "/v1/jobs":
            return httpx.Response(200, json={"jobs": [self.job()], "next": None})
        if not path.startswith(f"/v1/jobs/{JOB}"):
            return problem(404, "no job 'x'")
        if path.endswith("/results"):
            assert request.headers["accept"] == "application/x-ndjson"
            lines = "".join(json.dumps({"index": index}) + "\n" for index in range(self.total))
            return httpx.Response(200, text=lines, headers={"Content-Type": "application/x-ndjson"})
        if path.endswith("/cancel"):
            return httpx.Response(202, json=self.job())
        if request.method == "DELETE":
            return problem(409, "job is running; cancel it first") if self.looks > 0 else httpx.Response(204)
        self.looks -= 1
        return httpx.Response(200, json=self.job())


def problem(status: int, detail: str, pointer: str | None = None) -> httpx.Response:
    errors = [{"pointer": pointer, "detail": detail}] if pointer else []
    document = {"type": "about:blank", "title": "x", "status": status, "detail": detail, "errors": errors}
    return httpx.Response(status, json=document, headers={"Content-Type": "application/problem+json"})


def run(service: FakeService, *words: str) -> int:
    return main(["jobs", *words], Door(make_client=service.client, look_every_s=0.0))


def test_a_design_is_submitted_with_what_is_asked_of_it(capsys: pytest.CaptureFixture[str]):
    service = FakeService()
    words = ("--type", "opamp", "--spec", "gain_db>60", "--corners", "nominal", "--enough", "2", "--minutes", "5")
    assert run(service, "submit", "design", *words) == 0
    assert capsys.readouterr().out == JOB + "\n"
    assert service.bodies[0]["kind"] == "analog.design"
    request = service.bodies[0]["request"]
    assert request["specification"] == {"bounds": ["gain_db>60"], "corners": "nominal"}
    assert (request["type"], request["enough"], request["budget"]) == ("opamp", 2, {"minutes": 5.0})


def test_submit_sends_the_body_of_the_contract_and_prints_the_id(capsys: pytest.CaptureFixture[str]):
    service = FakeService()
    assert run(service, "submit", "analog", "--type", "opamp", "--count", "10000", "--kinds", "nmos,pmos") == 0
    assert capsys.readouterr().out == JOB + "\n"
    body = service.bodies[0]
    assert body["kind"] == "analog.generate"
    assert body["request"]["type"] == "opamp"
    assert body["request"]["count"] == 10_000
    assert body["request"]["kinds"] == ["nmos", "pmos"]
    assert "seed" not in body["request"]


def test_submit_and_wait_ends_with_the_job(capsys: pytest.CaptureFixture[str]):
    assert run(FakeService(), "submit", "quantum", "--family", "ghz", "--wait", "--json") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "succeeded"


def test_watching_a_job_that_fails_is_status_1():
    assert run(FakeService(fate="failed"), "watch", JOB) == 1


def test_list_and_show_print_one_line_a_job(capsys: pytest.CaptureFixture[str]):
    assert run(FakeService(looks=9), "list") == 0
    assert run(FakeService(looks=9), "show", JOB) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert first.startswith(f"{JOB}  analog.generate")
    assert "1/3 (1 ok, 0 invalid, 0 error)  seed 7" in first


def test_results_are_copied_line_by_line_or_as_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    target = tmp_path / "rows.ndjson"
    assert run(FakeService(), "results", JOB, "--output", str(target)) == 0
    assert [json.loads(line)["index"] for line in target.read_text().splitlines()] == [0, 1, 2]
    capsys.readouterr()
    assert run(FakeService(), "results", JOB, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["circuits"]) == 3


def test_cancel_and_delete(capsys: pytest.CaptureFixture[str]):
    service = FakeService(looks=0)
    assert run(service, "cancel", JOB) == 0
    assert run(service, "delete", JOB) == 0
    assert service.calls == [("POST", f"/v1/jobs/{JOB}/cancel"), ("DELETE", f"/v1/jobs/{JOB}")]
    assert f"job {JOB} is deleted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (
            ("submit", "analog", "--type", "opmap"),
            2,
            "/request/type: no circuit type named 'opmap'; did you mean 'opamp'?",
        ),
        (("show", "01unknown"), 1, "no job '01unknown'"),
        (("delete", JOB), 1, "job is running; cancel it first"),
    ],
)
def test_a_problem_of_the_service_is_one_sentence(
    words: tuple[str, ...], status: int, sentence: str, capsys: pytest.CaptureFixture[str]
):
    assert run(FakeService(looks=5), *words) == status
    assert capsys.readouterr().err == f"josephson: {sentence}\n"


def failing_with(response: httpx.Response | Exception) -> Door:
    def answer(request: httpx.Request) -> httpx.Response:
        if isinstance(response, Exception):
            raise response
        return response

    return Door(make_client=lambda url: httpx.Client(base_url=url, transport=httpx.MockTransport(answer)))


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (
            httpx.ConnectError("refused"),
            "no service answers at http://127.0.0.1:8000 (refused); start one with 'josephson serve'",
        ),
        (httpx.Response(502, text="<html>"), "the service answered 502 without saying why; its log will"),
        (problem(503, "no model is loaded"), "the service could not do it (status 503): no model is loaded"),
        (httpx.Response(200, json=[1]), "did not answer with a job; is it a Josephson service?"),
        (httpx.Response(200, text="<html>"), "did not answer with a job; is it a Josephson service?"),
    ],
)
def test_a_service_that_cannot_answer_is_status_1(
    response: httpx.Response | Exception, sentence: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["jobs", "show", JOB], failing_with(response)) == 1
    assert sentence in capsys.readouterr().err


def test_nobody_listening_is_said_plainly(capsys: pytest.CaptureFixture[str]):
    assert main(["jobs", "list", "--url", "http://127.0.0.1:9"]) == 1
    assert "no service answers at http://127.0.0.1:9" in capsys.readouterr().err


def test_a_service_that_restarts_while_a_job_is_watched_is_waited_for():
    service = FakeService(looks=1)
    answers = [httpx.ConnectError("refused"), httpx.ConnectError("refused"), None]

    def answer(request: httpx.Request) -> httpx.Response:
        trouble = answers.pop(0)
        if trouble is not None:
            raise trouble
        return service.answer(request)

    http = httpx.Client(base_url="http://127.0.0.1:8000", transport=httpx.MockTransport(answer))
    assert JobsClient(http).watch(JOB, lambda job: None, every_s=0.0)["status"] == "succeeded"


def test_a_service_that_stays_away_is_given_up():
    http = failing_with(httpx.ConnectError("refused")).make_client("http://127.0.0.1:8000")
    with pytest.raises(Unavailable, match="no service answers"):
        JobsClient(http).watch(JOB, lambda job: None, every_s=0.0, patience_s=0.01)
