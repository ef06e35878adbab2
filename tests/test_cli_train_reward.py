"""`josephson train analog --reward ladder`: words that cannot be followed, and a whole run of a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.analog.corpus import read_archetypes
from app.cli import main
from app.inference.checkpoint import load_checkpoint
from app.reward.journal import STATE_NAME
from app.tokens.device_lines import DeviceLines
from app.training.corpora import facts_of
from app.training.prepared import prepare
from app.training.sentences import Example
from tests.tiny_models import save_tiny_model

LADDER = ("--reward", "ladder")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--reward", "lader", "--from", "tiny"), "no reward named 'lader'; did you mean 'ladder'?"),
        (LADDER, "--reward improves a trained model; name it, or its folder, by --from"),
        (("--reward", "oracles", "--from", "tiny"), "--reward oracles is for quantum circuits, not for analog"),
        (("--samples", "5"), "--samples goes with --reward; leave it out to train on a corpus alone"),
        (("--from", "tiny", "--rounds", "5"), "--rounds goes with --reward; leave it out to train on a corpus alone"),
        ((*LADDER, "--from", "analog-device-lynes"), "no model named 'analog-device-lynes'; did you mean 'analog-de"),
        ((*LADDER, "--from", "quantum-domain"), "model quantum-domain writes quantum circuits; name one for analog"),
        ((*LADDER, "--from", "tiny", "--recipe", "analog-rewart"), "no recipe named 'analog-rewart'; did you mean"),
        ((*LADDER, "--from", "tiny", "--device", "tpu"), "--device: 'tpu' is neither cpu nor cuda"),
        ((*LADDER, "--from", "tiny", "--source", ".", "--prepared", "."), "--prepared is instead of --source"),
        ((*LADDER, "--from", "tiny", "--resume", "--work", "/nowhere"), "/nowhere holds no state of a run"),
    ],
)
def test_words_that_cannot_be_followed_are_status_2(
    words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["train", "analog", *words]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.simulator
def test_a_tiny_model_is_improved_and_says_by_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    circuits = sorted(read_archetypes(), key=lambda circuit: len(circuit.netlist.devices))[:12]
    prepare(
        [Example(circuit.netlist, circuit.type) for circuit in circuits], [n == 0 for n in range(12)], DeviceLines(),
        facts_of, kind="analog", corpus="twelve archetypes", split="by hand", held_out_share=0.1, unit="device",
    ).save(tmp_path / "corpus.npz")  # fmt: skip
    (tmp_path / "tiny.toml").write_text('kind = "analog-reward"\nname = "tiny-reward"\nmax_devices = 5\n')
    model = save_tiny_model(tmp_path, "analog", name="tiny")
    words = [
        "train", "analog", *LADDER, "--from", str(model), "--recipe", str(tmp_path / "tiny.toml"), "--rounds", "1",
        "--samples", "32", "--tokens", "500", "--prepared", str(tmp_path / "corpus.npz"), "--threads", "1",
        "--work", str(tmp_path / "work"), "--output", str(tmp_path / "better"), "--json",
    ]  # fmt: skip
    assert main([*words, "--minutes", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["finished"] is False
    assert main(words) == 2, "the work folder has a state, and --resume is not given"
    assert f"{tmp_path / 'work'} holds the state of a run" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["finished"] is True
    assert [row["figures"]["samples"] for row in told["rounds"]] == [32, 32]
    assert (tmp_path / "work" / STATE_NAME).is_file()
    reward = load_checkpoint(tmp_path / "better").config["training"]["reward"]
    assert reward["command"] == (
        "josephson train analog --reward ladder --from tiny --recipe tiny.toml --prepared FILE "
        "--rounds 1 --samples 32 --tokens 500"
    )
    assert reward["recipe"]["name"] == "tiny-reward"
