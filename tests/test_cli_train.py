from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli import main
from app.errors import InvalidRequest
from app.training.loop import STATE_NAME
from app.training.prepared import Prepared
from app.training.run import check_state
from tests.test_training_prepared import TINY_RECIPE, corpus_of


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
        (("--recipe", "analog-cpo"), "no recipe named 'analog-cpo'; did you mean 'analog-cpu'?"),
        (("--recipe", "quantum-cpu"), "quantum-cpu.toml is a recipe for quantum, not for analog"),
        (("--prepared", "x.npz", "--source", "."), "--prepared is instead of --source; give one of them"),
        (
            ("--prepared", "x.npz", "--prepare", "y.npz"),
            "--prepare reads a corpus and --prepared what it wrote; give one of them",
        ),
        (("--device", "tpu"), "--device: 'tpu' is neither cpu nor cuda"),
        (("--from", "analog-device-lynes"), "no model named 'analog-device-lynes'; did you mean 'analog-device-lines'"),
        (("--resume", "--work", "/nowhere"), "/nowhere holds no state of a run to go on from"),
    ],
)
def test_a_run_that_cannot_start_is_status_2(words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]):
    assert main(["train", "analog", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_corpus_that_is_not_there_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", "analog", "--source", str(tmp_path), "--work", str(tmp_path / "work")]) == 1
    assert f"no AnalogGenie data at {tmp_path}" in capsys.readouterr().err


def test_a_file_that_was_prepared_is_what_a_model_is_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    recipe = TINY_RECIPE.replace("held_out_share = 0.25", "held_out_share = 0.1").replace("3_000", "1_500")
    (tmp_path / "tiny.toml").write_text(recipe)
    words = ["train", "analog", "--recipe", str(tmp_path / "tiny.toml")]
    assert main([*words, "--prepare", str(tmp_path / "corpus.npz")]) == 0
    corpus = Prepared.load(tmp_path / "corpus.npz")
    told = capsys.readouterr().err
    assert (
        f"corpus.npz: {len(corpus)} circuits ({corpus.is_held_out.sum()} held out) in {len(corpus.ids):,} tokens"
        in told
    )
    folders = ["--work", str(tmp_path / "work"), "--output", str(tmp_path / "model")]
    assert main([*words, "--prepared", str(tmp_path / "corpus.npz"), *folders, "--threads", "1", "--json"]) == 0
    answer = capsys.readouterr()
    assert json.loads(answer.out)["finished"]
    assert " of 1,500 tokens: " in answer.err
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["training"]["recipe"]["file"] == "tiny.toml"
    assert config["training"]["command"] == ("josephson train analog --recipe tiny.toml --prepared FILE")
    again = ["--work", str(tmp_path / "again"), "--output", str(tmp_path / "second"), "--from", str(tmp_path / "model")]
    assert main([*words, "--prepared", str(tmp_path / "corpus.npz"), *again, "--threads", "1"]) == 0
    training = json.loads((tmp_path / "second" / "config.json").read_text())["training"]
    assert training["command"] == "josephson train analog --recipe tiny.toml --from model --prepared FILE"
    assert (training["from"]["model"], training["from"]["new_tokens"]) == (config["name"], 0)


def test_a_run_out_of_time_says_how_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "tiny.toml").write_text(TINY_RECIPE)
    corpus_of().save(tmp_path / "corpus.npz")
    words = ["train", "analog", "--recipe", str(tmp_path / "tiny.toml"), "--prepared", str(tmp_path / "corpus.npz")]
    assert main([*words, "--work", str(tmp_path / "work"), "--threads", "1", "--minutes", "0"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "out of time; the same command with --resume goes on"
    assert (tmp_path / "work" / STATE_NAME).is_file()
