from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.cli import checkup, main
from app.errors import Unavailable, UnknownName
from app.simulated_rows import simulated_rows_of


@pytest.fixture
def no_ngspice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JOSEPHSON_NGSPICE_LIBRARY", str(tmp_path / "libngspice.so"))


def test_doctor_says_what_it_found_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path))
    assert main(["doctor", "--only", "python", "--only", "packages", "--only", "data", "--only", "disk"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if not line.startswith(" ")] == ["python", "packages", "data", "disk"]


def test_doctor_as_one_document(capsys: pytest.CaptureFixture[str]):
    assert main(["doctor", "--only", "python", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ready"] is True
    assert [check["name"] for check in document["checks"]] == ["python"]


@pytest.mark.usefixtures("no_ngspice")
def test_a_missing_libngspice_is_status_1_and_says_what_to_do(capsys: pytest.CaptureFixture[str]):
    assert main(["doctor", "--only", "ngspice"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("failed   ngspice")
    assert "run 'josephson doctor --fetch-ngspice'" in said


@pytest.mark.simulator
def test_libngspice_is_tried_in_the_simulators_own_worker():
    check = checkup.check_ngspice()
    assert check.status == "ok", check.detail


def test_a_library_that_does_not_load_is_told_from_one_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    broken = tmp_path / "libngspice.so"
    broken.write_text("not a library")
    monkeypatch.setenv("JOSEPHSON_NGSPICE_LIBRARY", str(broken))
    check = checkup.check_ngspice()
    assert check.status == "failed"
    assert check.detail.startswith(f"{broken} does not work: ")


@pytest.mark.usefixtures("no_ngspice")
def test_root_gets_libngspice_by_apt_get(monkeypatch: pytest.MonkeyPatch):
    commands: list[list[str]] = []

    def run(command: Sequence[str], folder: Path) -> tuple[int, str]:
        commands.append(list(command))
        return 0, ""

    assert "installed" in checkup.fetch_missing_ngspice(is_root=True, run=run)
    assert commands == [["apt-get", "install", "--yes", "--no-install-recommends", "libngspice0"]]


def test_a_data_folder_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path / "file" / "below"))
    check = checkup.check_data_folder()
    assert check.status == "failed"
    assert "cannot be written to" in check.detail
    assert check.hint is not None
    assert "JOSEPHSON_DATA_DIR" in check.hint
    assert checkup.check_disk().status in {"ok", "warning"}


def test_a_package_that_dies_while_loading_is_a_finding():
    check = checkup.import_check("torch", "import os; os.abort()", "install it")
    assert (check.status, check.hint) == ("failed", "install it")
    assert checkup.import_check("torch", "import no_such_module", "x").detail.endswith(
        "No module named 'no_such_module'"
    )


def test_a_misspelt_setting_is_a_warning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JOSEPHSON_PROT", "9000")
    check = checkup.check_settings()
    assert check.status == "warning"
    assert "did you mean JOSEPHSON_PORT?" in check.detail


def test_an_unknown_check_is_refused():
    with pytest.raises(UnknownName, match="no check named 'ngspce'; did you mean 'ngspice'"):
        checkup.run_checks(["ngspce"])


@pytest.mark.usefixtures("no_ngspice")
def test_a_fetch_that_fails_is_one_sentence():
    with pytest.raises(Unavailable, match="apt-get could not install libngspice0"):
        checkup.fetch_missing_ngspice(is_root=True, run=lambda command, folder: (100, "E: no network"))


def test_models_that_are_whole_damaged_or_missing(tmp_path: Path):
    assert checkup.check_models(tmp_path).detail == f"no trained model in {tmp_path}"
    model = tmp_path / "tiny"
    model.mkdir()
    (model / "config.json").write_text("{}\n")
    digest = hashlib.sha256(b"{}\n").hexdigest()
    (model / "manifest.json").write_text(json.dumps({"config.json": digest}))
    assert checkup.check_models(tmp_path) == checkup.Check("models", "ok", "tiny")
    (model / "config.json").write_text("{ }\n")
    check = checkup.check_models(tmp_path)
    assert check.status == "failed"
    assert "model tiny: config.json does not match its checksum" in check.detail


def test_kept_rows_are_counted_and_a_store_that_cannot_be_read_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path))
    assert checkup.check_simulated_rows() == checkup.Check("rows", "ok", "0 simulated rows of 0 circuits are kept")
    path = simulated_rows_of(tmp_path).path
    path.parent.mkdir()
    path.write_text("no store of rows")
    check = checkup.check_simulated_rows()
    assert check.status == "warning"
    assert "cannot be used as a store of simulated rows" in check.detail
