from __future__ import annotations

from pathlib import Path

import pytest

from app.cli import main
from app.cli.train import STATE_NAME, check_state
from app.errors import InvalidRequest


def test_a_run_is_neither_overwritten_nor_resumed_by_accident(tmp_path: Path):
    check_state(tmp_path, is_resumed=False)
    with pytest.raises(InvalidRequest, match="holds no state of a run to go on from; leave --resume out"):
        check_state(tmp_path, is_resumed=True)
    (tmp_path / STATE_NAME).touch()
    check_state(tmp_path, is_resumed=True)
    with pytest.raises(InvalidRequest, match="holds the state of a run; go on with it by --resume, or name another"):
        check_state(tmp_path, is_resumed=False)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--recipe", "anolog"), "no recipe named 'anolog'; did you mean 'analog'?"),
        (("--recipe", "quantum"), "quantum.toml is a recipe for quantum, not for analog"),
        (("--device", "tpu"), "--device: 'tpu' is neither cpu nor cuda"),
        (("--resume", "--work", "/nowhere"), "/nowhere holds no state of a run to go on from"),
    ],
)
def test_a_run_that_cannot_start_is_status_2(words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]):
    assert main(["train", "analog", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_corpus_that_is_not_there_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", "analog", "--source", str(tmp_path), "--work", str(tmp_path / "work")]) == 1
    assert f"no AnalogGenie data at {tmp_path}" in capsys.readouterr().err
