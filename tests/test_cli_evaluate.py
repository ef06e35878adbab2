from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from app.cli import main
from app.cli.door import Door
from app.cli.model_folders import model_folder
from app.errors import InvalidRequest
from app.evaluation.card import SETS
from app.testing import FakeWorkshop
from app.validators._base import ValidationTools
from app.validators.ladder import Ladder
from tests.test_evaluation_quantum import InThisProcess

CONFIG = {
    "name": "fake", "kind": "analog", "language": "device_lines", "parameters": 1,
    "decoder": {"layers": 1, "width": 8},
    "training": {
        "corpus": "nothing", "training_circuits": 1, "held_out_circuits": 1, "split": "by hand", "left_out": {},
        "command": "josephson train analog", "recipe": {"seed": 1}, "tokens_seen": 1, "seconds": 1,
        "held_out_nats_per_token": 1.0, "held_out_bits_per_unit": 1.0, "unit": "device",
    },
}  # fmt: skip


def evaluate(*words: str) -> int:
    door = Door(
        make_workshop=lambda settings: FakeWorkshop(),
        make_ladder=lambda settings: contextlib.nullcontext(Ladder(ValidationTools())),
        make_loader=lambda settings: contextlib.nullcontext(InThisProcess()),
    )
    return main(["evaluate", *words], door)


def test_an_evaluation_puts_samples_beside_real_circuits_and_random_wiring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("JOSEPHSON_MODELS_DIR", str(tmp_path))
    assert evaluate("analog", "--count", "16", "--seeds", "2", "--function-count", "0", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["count"], report["seeds"], report["function_count"]) == (16, [1, 2], 0)
    assert report["corpus"] == "the archetypes of data/archetypes"
    assert set(report["sets"]) == set(SETS)
    assert report["sets"]["data"]["overall"]["n"] == 32
    assert report["sets"]["real"]["overall"]["n"] == report["held_out"] > 10


def test_an_analog_evaluation_for_people_is_a_line_a_measure_and_a_line_an_aim(capsys: pytest.CaptureFixture[str]):
    assert evaluate("analog", "--count", "4", "--seeds", "1", "--function-count", "0") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("fake: 4 samples for each of 1 seeds and each set")
    assert lines[1].split() == ["measure", "data", "uniform", "unconstrained", "real", "wired_100"]
    assert any(line.startswith("legal ") for line in lines)
    assert any(line.startswith("MISSED ") for line in lines)


def test_an_evaluation_goes_on_from_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ("analog", "--count", "2", "--seeds", "1", "--work", str(tmp_path), "--json")
    assert evaluate(*words) == 0
    first = capsys.readouterr().out
    assert evaluate(*words) == 0
    assert capsys.readouterr().out == first


def test_a_quantum_evaluation_for_people_is_a_line_a_measure_and_a_line_an_aim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("JOSEPHSON_MODELS_DIR", str(tmp_path))
    asked = ("--count", "3", "--seeds", "1", "--seed", "5", "--epochs", "0", "--compiled", "0")
    words = ("quantum", *asked, "--source", str(corpus_in(tmp_path)), "--work", str(tmp_path / "work"))
    assert evaluate(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("fake: 3 samples for each of 1 seeds; real programs: 3 from")
    assert lines[1].split() == ["measure", "generated", "bare", "real", "random"]
    assert any(line.startswith("v0 ") for line in lines)
    assert any(line.startswith("auc by numbers ") for line in lines)
    assert any(line.startswith("MISSED ") for line in lines)
    assert evaluate(*words, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["seeds"] == [5]
    assert report["sets"]["real"]["v0"]["share"] == 1.0


def corpus_in(folder: Path) -> Path:
    """A corpus of three programs of one qubit."""
    rows = [
        {"id": f"p{n}", "family": "ghz", "kind": "algorithm", "source": "by hand", "regenerable": True,
         "qasm": 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[1];\n' + "h q[0];\n" * n}
        for n in (3, 4, 5)
    ]  # fmt: skip
    path = folder / "circuits.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_without_the_classifier_nothing_is_said_of_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("app.resources.models_path", lambda: tmp_path)
    assert evaluate("analog", "--count", "2", "--seeds", "1", "--json") == 0
    written = capsys.readouterr()
    assert "there is no type classifier, so nothing is said of types" in written.err
    assert "type_accuracy" not in json.loads(written.out)["sets"]["data"]["overall"]


def test_a_card_is_written_into_the_models_folder_or_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("JOSEPHSON_MODELS_DIR", str(tmp_path))
    assert evaluate("analog", "--count", "3", "--write-card") == 2
    assert "is not the folder of a model that could have a card" in capsys.readouterr().err
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "config.json").write_text(json.dumps(CONFIG))
    assert evaluate("analog", "--count", "3", "--seeds", "1", "--write-card") == 0
    assert f"written: {tmp_path / 'fake' / 'card.md'}" in capsys.readouterr().err
    assert "random wiring" in (tmp_path / "fake" / "card.md").read_text()


@pytest.mark.parametrize("words", [("--count", "0"), ("--seeds", "0"), ("--temperature", "9")])
def test_an_evaluation_asked_for_wrongly_is_status_2(words: tuple[str, ...]):
    assert evaluate("analog", *words) == 2


def test_a_command_takes_the_named_model_of_its_kind_or_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JOSEPHSON_MODELS_DIR", str(tmp_path))
    with pytest.raises(InvalidRequest, match=f"no analog model in {tmp_path}; train one with 'josephson train analog'"):
        model_folder(None, "analog")
    for name, kind in (("a-quantum", "quantum"), ("b-analog", "analog"), ("c-analog", "analog")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"name": name, "kind": kind}))
    assert model_folder(None, "analog").name == "b-analog"
    assert model_folder("c-analog", "analog").name == "c-analog"
    assert model_folder(str(tmp_path / "c-analog"), "analog") == tmp_path / "c-analog"
    with pytest.raises(InvalidRequest, match="model a-quantum writes quantum circuits; name one for analog circuits"):
        model_folder("a-quantum", "analog")
    assert main(["bench", "engine", "--model", "d-analog"]) == 2
