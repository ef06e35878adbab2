"""The commands that speak HTTP, against the real service over a fake workshop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.cli import main
from app.cli.door import Door
from tests.running_service import RunningService, running_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("service")) as running:
        yield running


def jobs(service: RunningService, *words: str) -> int:
    return main(["jobs", *words, "--url", service.url], Door(look_every_s=0.02))


def test_a_job_from_submission_to_deletion(service: RunningService, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert jobs(service, "submit", "analog", "--type", "opamp", "--count", "40", "--seed", "3") == 0
    job_id = capsys.readouterr().out.strip()
    assert jobs(service, "watch", job_id, "--json") == 0
    assert json.loads(capsys.readouterr().out)["counts"]["done"] == 40
    target = tmp_path / "rows.ndjson"
    assert jobs(service, "results", job_id, "--output", str(target)) == 0
    assert [json.loads(line)["index"] for line in target.read_text().splitlines()] == list(range(40))
    assert jobs(service, "list") == 0
    assert job_id in capsys.readouterr().out
    assert jobs(service, "delete", job_id) == 0
    assert jobs(service, "show", job_id) == 1
    assert f"no job '{job_id}'" in capsys.readouterr().err


def test_submit_and_wait_and_json_is_one_document(service: RunningService, capsys: pytest.CaptureFixture[str]):
    assert jobs(service, "submit", "quantum", "--family", "ghz", "--count", "5", "--wait", "--json") == 0
    job = json.loads(capsys.readouterr().out)
    assert job["status"] == "succeeded"
    assert jobs(service, "results", job["id"], "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["circuits"]) == 5


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("analog", "--type", "opmap"), "did you mean 'opamp'?"),
        (("quantum", "--family", "gzh"), "did you mean 'ghz'?"),
        (("analog", "--count", "0"), "count"),
        (("analog", "--count", "1000000000"), "count"),
    ],
)
def test_what_the_service_refuses_is_status_2_and_one_sentence(
    service: RunningService, words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
):
    assert jobs(service, "submit", *words) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_a_cancelled_job_is_status_1(service: RunningService, capsys: pytest.CaptureFixture[str]):
    service.workshop.delay_s = 0.05
    try:
        assert jobs(service, "submit", "analog", "--count", "5000") == 0
        job_id = capsys.readouterr().out.strip()
        assert jobs(service, "cancel", job_id) == 0
        assert jobs(service, "watch", job_id) == 1
    finally:
        service.workshop.delay_s = 0.0
    assert "cancelled" in capsys.readouterr().out


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_serve_says_where_it_is_and_ends_with_the_signal(words: tuple[str, ...], tmp_path: Path):
    code = (
        "import sys; from app.cli import main; from app.cli.door import Door; from app.testing import FakeWorkshop\n"
        "sys.exit(main(['serve', '--port', '0', *sys.argv[1:]], Door(make_workshop=lambda settings: FakeWorkshop())))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "JOSEPHSON_DATA_DIR": str(tmp_path)},
    ) as service:  # fmt: skip
        assert service.stdout is not None
        assert service.stderr is not None
        told = service.stderr if words else service.stdout
        line = next(line for line in told if "Josephson is at http://127.0.0.1:" in line)
        url = line.split()[3]
        assert httpx.get(f"{url}livez", trust_env=False).is_success
        service.send_signal(signal.SIGTERM)
        rest = service.stdout.read()
        assert service.wait(20) == 0
    if words:
        assert json.loads(rest)["stopped"] is True
