"""The service as a process: it says where it is, ends in order, resumes, and refuses what it cannot share."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.errors import Unavailable
from app.service.server import _JsonLines, open_socket

REPOSITORY = Path(__file__).resolve().parent.parent


@contextmanager
def service_process(folder: Path, *, delay_s: float = 0.0) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A process that serves from this folder, and a client of it; it is gone after the block."""
    command = [sys.executable, "-m", "tests.service_process", str(folder), str(delay_s)]
    with (
        (folder / "log").open("a") as log,
        subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            found = re.match(
                r"Josephson is at (http://127\.0\.0\.1:\d+)/ \(API: http://127\.0\.0\.1:\d+/docs\)$", first
            )
            assert found, first
            with httpx.Client(base_url=found[1], trust_env=False, timeout=10) as http:
                yield process, http
        finally:
            process.kill()


def submit(http: httpx.Client, count: int) -> str:
    """The id of a new job."""
    answer = http.post("/v1/jobs", json={"kind": "analog.generate", "request": {"count": count, "seed": 1}})
    return str(answer.raise_for_status().json()["id"])


def wait_for_rows(http: httpx.Client, job_id: str, done: int) -> None:
    """The job has at least so many rows."""
    deadline = time.monotonic() + 20
    while http.get(f"/v1/jobs/{job_id}").json()["counts"]["done"] < done:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_in_order_though_a_job_runs_and_someone_watches(
    tmp_path: Path, number: signal.Signals
) -> None:
    with service_process(tmp_path, delay_s=0.05) as (process, http):
        job_id = submit(http, 2000)
        wait_for_rows(http, job_id, 1)
        ended = threading.Event()

        def watch() -> None:
            httpx.get(f"{http.base_url}/v1/jobs/{job_id}/events", trust_env=False, timeout=20)
            ended.set()

        threading.Thread(target=watch, daemon=True).start()
        time.sleep(0.3)
        process.send_signal(number)
        assert process.wait(8) == 0
        assert ended.wait(2)
    assert (tmp_path / "closed").read_text() == "closed"
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert not [line for line in lines if line["level"] == "error"]
    assert any(line.get("path") == "/v1/jobs" and line["status"] == 202 for line in lines)


def test_a_killed_service_goes_on_with_its_jobs_at_the_next_start(tmp_path: Path) -> None:
    with service_process(tmp_path, delay_s=0.01) as (process, http):
        job_id = submit(http, 300)
        wait_for_rows(http, job_id, 20)
        process.kill()
        process.wait(5)
    with service_process(tmp_path) as (_, http):
        wait_for_rows(http, job_id, 300)
        rows = [json.loads(line) for line in http.get(f"/v1/jobs/{job_id}/results?format=ndjson").text.splitlines()]
    assert [row["index"] for row in rows] == list(range(300))


def test_a_second_process_on_the_same_folder_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with service_process(tmp_path) as (first, http):
        command = [sys.executable, "-m", "tests.service_process", str(tmp_path), "0"]
        second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=20, check=False)
        assert second.returncode == 1
        assert "already run by another process" in second.stdout
        assert "Traceback" not in second.stdout + second.stderr
        assert first.poll() is None
        assert http.get("/readyz").status_code == 200


def test_an_address_that_is_taken_or_unknown_is_told_in_a_sentence() -> None:
    with open_socket("127.0.0.1", 0) as listener:
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(
            Unavailable, match=rf"127\.0\.0\.1:{port} cannot be listened on .* choose another with --port"
        ):
            open_socket("127.0.0.1", port)
    with pytest.raises(Unavailable, match=r"is no address of this machine .* choose another with --host"):
        open_socket("no such host", 1)


def test_nothing_of_the_service_imports_torch_or_a_simulator() -> None:
    code = (
        "import sys, app.service.server, app.service.app\n"
        "print([name for name in ('torch', 'qiskit', 'PySpice', 'numpy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_log_line_is_one_json_object_whatever_the_message() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "a\n%s", ("b",), sys.exc_info())
    line = _JsonLines().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == "a\nb"
    assert "two\nlines" in json.loads(line)["traceback"]
