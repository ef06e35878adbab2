"""The inline calls, the registries, health, and what every request passes."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.errors import ModelDamaged, NgspiceMissing, QasmSyntaxError, SimulatorCrashed, SpiceSyntaxError
from app.requests import MAX_INLINE_COUNT, JobRequest
from app.service.middleware import DRAINED_BYTES, allowed_hosts
from app.service.problems import PROBLEM_TYPES
from app.settings import Settings
from app.validators._base import Rung
from app.workshop import Row
from tests.running_service import NamedWorkshop, RunningService, running_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("api")) as running:
        yield running


KINDS = ("analog", "quantum")


# --- inline calls ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_inline_call_answers_with_its_circuits_by_index_and_the_seed_that_makes_them_again(
    service: RunningService, kind: str
) -> None:
    answer = service.json("POST", f"/v1/{kind}/generate", json={"count": 5, "seed": 7})
    assert [row["index"] for row in answer["circuits"]] == [0, 1, 2, 3, 4]
    assert (answer["seed"], answer["model"]) == (7, "fake")
    assert answer == service.json("POST", f"/v1/{kind}/generate", json={"count": 5, "seed": 7})


def test_rows_that_are_done_out_of_order_are_answered_in_order(tmp_path: Path) -> None:
    class Backwards(NamedWorkshop):
        async def produce(
            self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
        ) -> AsyncIterator[Row]:
            async for row in super().produce(kind, request, indices[::-1]):
                yield row

    with running_service(tmp_path, Backwards()) as service:
        rows = service.json("POST", "/v1/analog/generate", json={"count": 4})["circuits"]
    assert [row["index"] for row in rows] == [0, 1, 2, 3]


@pytest.mark.parametrize(("kind", "body"), [("analog", {"netlist": "R1 A VSS 1"}), ("quantum", {"program": "q"})])
def test_a_text_is_checked(service: RunningService, kind: str, body: dict[str, str]) -> None:
    assert service.json("POST", f"/v1/{kind}/validate", json=body)["status"] == "ok"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"count": 0}, "/count", "greater than or equal to 1"),
        ({"count": 10**9}, "/count", "less than or equal to 1000000"),
        ({"count": 10**300}, "/count", "less than or equal to 1000000"),
        ({"count": MAX_INLINE_COUNT + 1}, "/count", "submit a job (POST /v1/jobs)"),
        ({"count": 1.5}, "/count", "valid integer"),
        ({"count": None}, "/count", "valid integer"),
        ({"cuont": 1}, "/cuont", "unknown key 'cuont'; did you mean 'count'?"),
        ({"qqq": {"a": 1}}, "/qqq", "unknown key 'qqq'"),
        ({"seed": -1}, "/seed", "greater than or equal to 0"),
        ({"seed": 2**63}, "/seed", "less than"),
        ({"temperature": 1e300}, "/temperature", "less than or equal to 2"),
        ({"validate": "perhaps"}, "/validate", "valid boolean"),
        ([1], None, "valid dictionary"),
        ("x", None, "valid dictionary"),
    ],
)
def test_a_wrong_field_is_named_by_its_pointer(
    service: RunningService, kind: str, body: Any, pointer: str | None, words: str
) -> None:
    problem = service.problem(422, "POST", f"/v1/{kind}/generate", json=body)
    assert problem["errors"][0].get("pointer", "") == (pointer or "")
    assert words in problem["errors"][0]["detail"]
    assert words in problem["detail"]


def test_how_far_a_circuit_is_checked_is_a_rung_of_the_ladder(service: RunningService) -> None:
    problem = service.problem(422, "POST", "/v1/analog/generate", json={"checks": "everything"})
    assert problem["errors"][0]["pointer"] == "/checks"
    assert "'structure', 'operating_point', 'conduction' or 'function'" in problem["errors"][0]["detail"]
    assert service.json("POST", "/v1/analog/generate", json={"checks": "function", "count": 1})["circuits"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"checks": "function"}, "the function is checked for a type; give the circuit's type too"),
        ({"checks": "structure", "type": "opamp"}, "a type asks for the function; leave one of type and checks out"),
        ({"checks": "all"}, "Input should be 'structure', 'operating_point', 'conduction' or 'function'"),
    ],
)
def test_the_check_of_a_netlist_goes_as_far_as_asked_and_a_type_asks_for_its_function(
    tmp_path: Path, fields: dict[str, str], words: str
) -> None:
    class Telling(NamedWorkshop):
        async def validate(
            self, kind: str, text: str, *, checks: Rung | None = None, function_of: str | None = None
        ) -> Mapping[str, Any]:
            return {"status": "ok", "findings": [], "facts": {"checks": checks, "type": function_of}}

    netlist = {"netlist": "R1 VIN1 VSS 1k"}
    with running_service(tmp_path, Telling()) as service:
        problem = service.problem(422, "POST", "/v1/analog/validate", json=netlist | fields)
        assert problem["errors"] == [{"detail": words, "pointer": "/checks"}]
        for asked, told in (
            ({}, ("operating_point", None)),
            ({"checks": "conduction"}, ("conduction", None)),
            ({"type": "opamp"}, ("function", "opamp")),
            ({"type": "opamp", "checks": "function"}, ("function", "opamp")),
        ):
            facts = service.json("POST", "/v1/analog/validate", json=netlist | asked)["facts"]
            assert (facts["checks"], facts["type"]) == told


def test_an_unknown_type_or_family_is_answered_with_the_nearest_known(service: RunningService) -> None:
    problem = service.problem(422, "POST", "/v1/analog/generate", json={"type": "opmap"})
    assert problem["errors"] == [{"detail": "no circuit type named 'opmap'; did you mean 'opamp'?", "pointer": "/type"}]
    problem = service.problem(422, "POST", "/v1/quantum/generate", json={"family": "ghy"})
    assert problem["errors"] == [{"detail": "no family named 'ghy'; did you mean 'ghz'?", "pointer": "/family"}]


def test_a_wrong_value_deep_in_a_field_is_named_without_the_tags_of_unions(service: RunningService) -> None:
    problem = service.problem(422, "POST", "/v1/quantum/generate", json={"coupling_map": [[0, 1], [1, "x"]]})
    assert problem["errors"][0]["pointer"] == "/coupling_map/1/1"


def test_many_wrong_fields_make_a_problem_of_bounded_size(service: RunningService) -> None:
    answer = service.http.post("/v1/analog/generate", json={f"key{n}" + "x" * 500: 1 for n in range(2000)})
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 20
    assert len(answer.content) < 20_000


@pytest.mark.parametrize("path", ["/v1/analog/generate", "/v1/quantum/validate", "/v1/jobs"])
@pytest.mark.parametrize(
    ("content", "headers", "status", "slug"),
    [
        (b"{", {"content-type": "application/json"}, 400, "malformed-json"),
        (b"", {"content-type": "application/json"}, 400, "malformed-json"),
        (b'{"count": NaN}', {"content-type": "application/json"}, 400, "malformed-json"),
        (b'{"count": 1' + b"0" * 5000 + b"}", {"content-type": "application/json"}, 400, "malformed-json"),
        (b"[" * 500_000, {"content-type": "application/json"}, 400, "malformed-json"),
        (b"{}", {"content-type": "text/plain"}, 415, "unsupported-media-type"),
        (b"{}", {"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported-media-type"),
        (b"{}", {}, 415, "unsupported-media-type"),
        (b"{}", {"content-type": "application/json", "content-encoding": "gzip"}, 415, "unsupported-media-type"),
        (b'{"x": "' + b"x" * 10_000_000 + b'"}', {"content-type": "application/json"}, 413, "body-too-large"),
    ],
)
def test_a_body_that_is_not_json_of_bearable_size_is_refused(
    service: RunningService, path: str, content: bytes, headers: dict[str, str], status: int, slug: str
) -> None:
    problem = service.problem(status, "POST", path, content=content, headers=headers)
    assert problem["type"] == f"/docs/problems#{slug}"
    assert service.json("GET", "/livez")["status"] == "ok"


def test_a_body_without_a_declared_length_is_cut_off_at_the_limit(service: RunningService) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(160):
            yield b" " * 65_536

    headers = {"content-type": "application/json"}
    problem = service.problem(413, "POST", "/v1/analog/generate", content=pieces(), headers=headers)
    assert problem["detail"] == "the body is more than 2000000 bytes, which is the limit"


def bytes_until_closed(connection: socket.socket) -> bytes:
    """What comes until the service closes the connection in order; raises ConnectionResetError where it does not."""
    pieces = []
    while piece := connection.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)


@contextmanager
def sent_head(service: RunningService, *lines: str, path: str = "/v1/jobs") -> Iterator[socket.socket]:
    """A connection on which the head of a POST that is to be the last has been sent."""
    port = int(service.url.rpartition(":")[2])
    head = (f"POST {path} HTTP/1.1", f"Host: localhost:{port}", "Connection: close", *lines, "", "")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join(head).encode())
        yield connection


@pytest.mark.parametrize(
    ("path", "media_type", "status"),
    [
        ("/v1/jobs", "application/json", 413),
        ("/v1/analog/generate", "text/plain", 415),
        ("/v1/nothing", "application/json", 404),
        ("/livez", "application/json", 405),
    ],
)
def test_who_sends_a_large_body_to_its_end_before_reading_has_the_answer(
    service: RunningService, path: str, media_type: str, status: int
) -> None:
    body = b" " * 12_000_000
    head = (f"Content-Length: {len(body)}", f"Content-Type: {media_type}")
    with sent_head(service, *head, path=path) as connection:
        answer = connection.recv(65_536)  # it is there before the body is; only then a closed connection would reset
        connection.sendall(body)
        answer += bytes_until_closed(connection)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == status


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}])
def test_common_clients_read_the_problem_of_a_body_that_is_too_large(
    service: RunningService, headers: dict[str, str]
) -> None:
    headers = {"Content-Type": "application/json", **headers}
    body = b" " * 8_000_000
    assert httpx.post(f"{service.url}/v1/jobs", content=body, headers=headers, trust_env=False).status_code == 413
    plain = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=20)
    plain.request("POST", "/v1/jobs", body, headers)
    assert json.loads(plain.getresponse().read())["type"] == "/docs/problems#body-too-large"
    plain.close()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(urllib.request.Request(f"{service.url}/v1/jobs", body, headers), timeout=20)
    assert json.load(refused.value)["detail"] == "the body is 8000000 bytes, the limit is 2000000"


def test_the_connection_of_a_body_in_pieces_is_closed_after_its_last_one(service: RunningService) -> None:
    with sent_head(service, "Transfer-Encoding: chunked", "Content-Type: application/json") as connection:
        for _ in range(40):
            connection.sendall(b"10000\r\n" + b" " * 65_536 + b"\r\n")
        answer = connection.recv(65_536)
        for _ in range(100):
            connection.sendall(b"10000\r\n" + b" " * 65_536 + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        answer += bytes_until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"the body is more than 2000000 bytes" in answer


@pytest.mark.parametrize(
    "lines", [("Content-Length: 3000000", "Expect: 100-continue"), (f"Content-Length: {DRAINED_BYTES + 1}",)]
)
def test_who_waits_for_leave_or_would_send_without_end_is_answered_and_not_waited_for(
    service: RunningService, lines: tuple[str, ...]
) -> None:
    with sent_head(service, "Content-Type: application/json", *lines) as connection:
        answer = bytes_until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()


def test_a_body_of_bearable_size_is_asked_for_where_the_client_waits_for_leave(service: RunningService) -> None:
    body = b'{"kind": "analog.generate", "request": {"count": 1}}'
    head = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Expect: 100-continue")
    with sent_head(service, *head) as connection:
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert b"HTTP/1.1 202 " in bytes_until_closed(connection)


def test_what_the_workshop_refuses_is_a_problem_at_the_text(tmp_path: Path) -> None:
    class Refusing(NamedWorkshop):
        async def validate(
            self, kind: str, text: str, *, checks: Rung | None = None, function_of: str | None = None
        ) -> Mapping[str, Any]:
            if text == "crash":
                raise SimulatorCrashed("the worker died")
            if text == "missing":
                raise NgspiceMissing(["/usr/lib"])
            if text == "defect":
                raise ZeroDivisionError("secret")
            if kind == "analog":
                raise SpiceSyntaxError("'.control' is not accepted", line=3, column=1)
            raise QasmSyntaxError("include of '/etc/passwd' is not accepted", line=2)

    with running_service(tmp_path, Refusing()) as service:
        problem = service.problem(422, "POST", "/v1/analog/validate", json={"netlist": ".control"})
        assert problem["errors"] == [
            {"detail": "line 3, column 1: '.control' is not accepted", "pointer": "/netlist", "line": 3, "column": 1}
        ]
        problem = service.problem(422, "POST", "/v1/quantum/validate", json={"program": "x"})
        assert problem["errors"][0]["pointer"] == "/program"
        assert problem["errors"][0]["line"] == 2
        service.problem(502, "POST", "/v1/analog/validate", json={"netlist": "crash"})
        assert "doctor" in service.problem(503, "POST", "/v1/analog/validate", json={"netlist": "missing"})["detail"]
        problem = service.problem(500, "POST", "/v1/analog/validate", json={"netlist": "defect"})
        assert "secret" not in json.dumps(problem)


def test_a_defect_is_in_the_log_beside_the_id_that_the_caller_got(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_service(tmp_path, NamedWorkshop(poison=frozenset({1}))) as service, caplog.at_level(logging.ERROR):
        problem = service.problem(500, "POST", "/v1/analog/generate", json={"count": 3})
    record = next(each for each in caplog.records if problem["instance"] in each.getMessage())
    assert record.exc_info
    assert "poisoned item 1" in str(record.exc_info[1])


def test_an_inline_call_that_takes_too_long_is_told_to_submit_a_job(tmp_path: Path) -> None:
    workshop = ClosingWorkshop(delay_s=0.05)
    with running_service(tmp_path, workshop, inline_deadline_s=0.3) as service:
        answer = service.http.post("/v1/analog/generate", json={"count": 100})
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert answer.json()["detail"].startswith("no answer within 0.3 s; ask for less, or submit a job")
    assert workshop.closed_after is not None
    assert workshop.closed_after < 20


class ClosingWorkshop(NamedWorkshop):
    """Remembers how many rows were made when the iterator was closed early."""

    closed_after: int | None = None

    async def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        try:
            async for row in super().produce(kind, request, indices):
                yield row
        finally:
            self.closed_after = len(self.produced)


def test_a_client_that_goes_away_stops_the_work(tmp_path: Path) -> None:
    workshop = ClosingWorkshop(delay_s=0.05)
    with running_service(tmp_path, workshop) as service:
        with pytest.raises(httpx.ReadTimeout):
            service.http.post("/v1/analog/generate", json={"count": 200}, timeout=0.3)
        deadline = time.monotonic() + 5
        while workshop.closed_after is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert workshop.closed_after is not None
        assert workshop.closed_after < 30
        while 'status="499"' not in service.http.get("/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_inline_calls_are_served_at_the_same_time(tmp_path: Path) -> None:
    with running_service(tmp_path, NamedWorkshop(delay_s=0.05)) as service:
        began = time.monotonic()
        bodies = [{"count": 8, "seed": seed} for seed in range(8)]
        threads = [
            threading.Thread(target=lambda body=body: service.json("POST", "/v1/analog/generate", json=body))
            for body in bodies
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began < 0.05 * 8 * 4


# --- registries, health, metrics ------------------------------------------------------------------------------------


def test_the_registries_are_listed(service: RunningService) -> None:
    assert service.json("GET", "/v1/models")["models"][0]["name"] == "fake"
    assert service.json("GET", "/v1/technologies") == {"technologies": []}
    assert service.json("GET", "/v1/validators") == {"validators": []}
    families = service.json("GET", "/v1/families")
    assert "opamp" in families["analog"]
    assert families["quantum"] == ["ghz", "qft"]


def test_a_registry_that_cannot_be_read_is_a_problem_with_what_to_do(tmp_path: Path) -> None:
    class Damaged(NamedWorkshop):
        def describe(self) -> Mapping[str, Any]:
            raise ModelDamaged("models/x does not match its checksums; install it again")

    with running_service(tmp_path, Damaged()) as service:
        assert "install it again" in service.problem(503, "GET", "/v1/models")["detail"]
        page = service.http.get("/")
        assert page.status_code == 503
        assert "install it again" in page.text


def test_a_service_that_lives_may_not_be_ready_and_says_why(tmp_path: Path) -> None:
    class Broken(NamedWorkshop):
        def health(self) -> Mapping[str, Any]:
            return {"ready": False, "reasons": ["the model is missing"], "engine": {}, "workers": {}}

    with running_service(tmp_path, Broken()) as service:
        service.json("GET", "/livez")
        answer = service.http.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["reasons"] == ["the model is missing"]
        assert "the model is missing" in service.http.get("/").text


def test_a_ledger_that_cannot_be_written_makes_the_service_not_ready(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        assert service.json("GET", "/readyz")["ready"] is True
        service.ledger.close()
        (tmp_path / "jobs.sqlite3").write_bytes(b"not a database at all, but long enough to be looked at")
        for leftover in tmp_path.glob("jobs.sqlite3-*"):
            leftover.unlink()
        answer = service.http.get("/readyz")
        assert answer.status_code == 503
        assert any("ledger" in reason for reason in answer.json()["reasons"])


def test_metrics_count_what_happened(tmp_path: Path) -> None:
    class Numbered(NamedWorkshop):
        def health(self) -> Mapping[str, Any]:
            engine = {"device": "cpu", "tokens_per_s": 12.5, "a-model": {"slots": 3, "name": "x"}}
            workers = {"ngspice": {"crashed": 1, "running": 0}, "qiskit": {"crashed": 2}}
            return {"ready": True, "reasons": [], "engine": engine, "workers": workers}

    with running_service(tmp_path, Numbered()) as service:
        rows = service.json("POST", "/v1/analog/generate", json={"count": 9})["circuits"]
        job = service.wait_for(service.submit(5, "quantum.generate")["id"])
        service.json("POST", "/v1/analog/validate", json={"netlist": "R1 A VSS 1"})
        service.http.get("/nowhere/at/all")
        service.http.get("/v1/jobs/unknown")
        text = service.http.get("/metrics").text
    ok = sum(row["status"] == "ok" for row in rows)
    for line in (
        f'josephson_circuits_total{{asked_by="inline",kind="analog.generate",status="ok"}} {float(ok)}',
        f'josephson_circuits_total{{asked_by="job",kind="quantum.generate",status="ok"}} {float(job["counts"]["ok"])}',
        'josephson_checks_total{kind="analog",status="ok"} 1.0',
        'josephson_jobs{status="succeeded"} 1.0',
        "josephson_queue_depth 0.0",
        'josephson_runner_recorded_rows{name=""} 5.0',
        'josephson_engine_tokens_per_s{name=""} 12.5',
        'josephson_engine_slots{name="a-model"} 3.0',
        'josephson_workers_crashed{name="ngspice"} 1.0',
        'josephson_workers_crashed{name="qiskit"} 2.0',
        "josephson_ready 1.0",
        'josephson_requests_total{method="GET",path="unmatched",status="404"} 1.0',
        'josephson_requests_total{method="GET",path="/v1/jobs/{job_id}",status="404"} 1.0',
    ):
        assert line in text.splitlines(), line


def test_two_apps_of_one_process_share_no_metrics(service: RunningService, tmp_path: Path) -> None:
    service.json("POST", "/v1/analog/generate", json={"count": 1})
    with running_service(tmp_path) as other:
        assert "josephson_circuits_total{" not in other.http.get("/metrics").text


# --- paths, methods, hosts, headers ---------------------------------------------------------------------------------


def test_an_unknown_path_and_a_wrong_method_are_problems(service: RunningService) -> None:
    service.problem(404, "GET", "/v1/nothing")
    service.problem(404, "GET", "/v1/jobs/")
    answer = service.http.put("/v1/jobs")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
    answer = service.http.get("/v1/analog/generate")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_head_answers_as_get_does_without_the_body(service: RunningService) -> None:
    for path in ("/livez", "/", "/static/style.css"):
        answer = service.http.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == str(len(service.http.get(path).content))


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost:x@evil", "[::1", "xn--\x7f"])
def test_a_host_that_is_not_this_service_is_refused(service: RunningService, host: str) -> None:
    answer = raw_exchange(service, f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert answer.split(b" ", 2)[1] in (b"421", b"400")
    assert b"evil" not in answer.partition(b"\r\n\r\n")[0]


def raw_exchange(service: RunningService, request: bytes) -> bytes:
    """What the service answers to these bytes."""
    port = httpx.URL(service.url).port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        pieces = []
        while piece := connection.recv(65_536):
            pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST."])
def test_a_loopback_name_is_served_whatever_its_port(service: RunningService, host: str) -> None:
    assert service.http.get("/livez", headers={"host": f"{host}:99"}).status_code == 200


def test_the_hosts_that_are_served_follow_the_settings(tmp_path: Path) -> None:
    assert allowed_hosts(Settings(data_dir=tmp_path, host="0.0.0.0")) == ["*"]
    assert allowed_hosts(Settings(data_dir=tmp_path, host="design.example")) == ["*"]
    assert "localhost" in allowed_hosts(Settings(data_dir=tmp_path, host="127.0.0.2"))
    assert allowed_hosts(Settings(data_dir=tmp_path, allowed_hosts=("Design.Example",))) == ["design.example"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://localhost:9"},
    ],
)
def test_a_page_of_another_origin_cannot_make_a_browser_change_anything(
    service: RunningService, headers: dict[str, str]
) -> None:
    problem = service.problem(403, "POST", "/jobs", content=b"kind=analog.generate&count=1", headers=headers)
    assert problem["type"] == "/docs/problems#cross-site"
    service.problem(403, "POST", "/v1/jobs/x/cancel", headers=headers)
    assert service.http.get("/livez", headers=headers).status_code == 200


def test_every_answer_has_an_id_and_headers_that_bind_a_browser(service: RunningService) -> None:
    for path in ("/", "/livez", "/v1/nothing", "/static/style.css"):
        headers = service.http.get(path).headers
        assert len(headers["x-request-id"]) == 36
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_an_access_line_tells_the_exchange_and_never_the_body(
    service: RunningService, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="josephson.access"):
        service.json("POST", "/v1/analog/validate", json={"netlist": "R1 SECRETNET VSS 1"})
        service.http.get("/v1/%0Ainjected")
    lines = [json.loads(each.getMessage()) for each in caplog.records if each.name == "josephson.access"]
    assert [line["status"] for line in lines if line["path"] == "/v1/analog/validate"] == [200]
    assert [line["status"] for line in lines if line["path"] == "/v1/\ninjected"] == [404]
    assert all("\n" not in each.getMessage() for each in caplog.records)
    assert "SECRETNET" not in caplog.text


def test_the_page_of_problem_types_describes_each(service: RunningService) -> None:
    text = service.http.get("/docs/problems").text
    assert all(f'id="{slug}"' in text for slug in PROBLEM_TYPES)
