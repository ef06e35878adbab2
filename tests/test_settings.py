from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.errors import InvalidRequest
from app.settings import Settings, read_settings, unknown_variables


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"JOSEPHSON_{name.upper()}", raising=False)


def test_the_service_listens_on_loopback_alone_unless_told_otherwise() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.device) == ("127.0.0.1", 8000, "auto")
    assert settings.threads >= 1
    assert settings.validator_workers >= 1
    assert settings.inline_deadline_s == 60


def test_the_ledger_is_in_the_data_folder_unless_told_otherwise(tmp_path: Path) -> None:
    assert Settings(data_dir=tmp_path).database_url == f"sqlite:///{tmp_path}/jobs.sqlite3"
    assert Settings(data_dir=tmp_path, database_url="postgresql://x/y").database_url == "postgresql://x/y"


def test_a_variable_sets_a_setting_and_an_argument_overrides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOSEPHSON_PORT", "9000")
    monkeypatch.setenv("JOSEPHSON_ALLOWED_HOSTS", "design.example, other.example")
    assert read_settings().port == 9000
    assert read_settings(port=9001).port == 9001
    assert read_settings().allowed_hosts == ("design.example", "other.example")


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(ValidationError, match="prot"):
        Settings(prot=1)  # type: ignore[call-arg]


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"port": 70_000}, "port (variable JOSEPHSON_PORT)"),
        ({"device": "tpu"}, "device (variable JOSEPHSON_DEVICE)"),
        ({"engine_slots": 0}, "engine_slots"),
        ({"data_dir": 3}, "data_dir"),
        ({"prot": 1}, "prot"),
        ({"inline_deadline_s": 0}, "inline_deadline_s"),
    ],
)
def test_a_setting_out_of_range_is_told_in_a_sentence_that_names_it(chosen: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_settings(**chosen)
    assert words in str(caught.value)
    assert "database_url" not in str(caught.value)


def test_a_relative_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(data_dir=Path("here")).data_dir == tmp_path / "here"


def test_a_variable_that_nothing_reads_is_told_with_the_nearest_name() -> None:
    environ = {"JOSEPHSON_PROT": "1", "JOSEPHSON_PORT": "2", "JOSEPHSON_NGSPICE_LIBRARY": "x", "HOME": "y"}
    assert unknown_variables(environ) == (
        "JOSEPHSON_PROT is set, but no setting has that name; did you mean JOSEPHSON_PORT?",
    )
