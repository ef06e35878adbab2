"""`josephson evaluate simulator` on a command line; no simulator runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli import main
from app.errors import NgspiceMissing
from app.neural_simulator.artefact import NeuralSimulator
from tests.simulator_evaluations import simulations, untrained

FEW = ("--adapt", "0,5", "--baselines", "none", "--rows-per-group", "20")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and the file that it would have learnt from."""
    path = tmp_path_factory.mktemp("evaluation")
    untrained().save(path / "model")
    simulations().save(path / "rows.npz")
    return path


@pytest.fixture(autouse=True)
def no_ngspice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(**options: object) -> None:
        raise NgspiceMissing(["/nowhere"])

    monkeypatch.setattr("app.testbenches._pool.simulation_pool", missing)
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path))


def evaluate(folder: Path, *words: str) -> int:
    return main(["evaluate", "simulator", "--model", str(folder / "model"), *words])


def prepared(folder: Path) -> tuple[str, str]:
    return "--prepared", str(folder / "rows.npz")


def test_an_evaluation_is_one_document(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert evaluate(folder, *prepared(folder), *FEW, "--json") == 0
    written = capsys.readouterr()
    report = json.loads(written.out)
    assert (report["model"], report["kind"]) == ("model", "simulator")
    assert report["plan"] == {
        "seed": 1, "adapt": [0, 5], "rows_per_group": 20, "baselines": [], "baseline_groups": 24,
    }  # fmt: skip
    assert list(report["sets"]) == ["sizings", "topologies", "technology"]
    assert all(found["rows"] <= 20 * found["groups"] for found in report["sets"].values())
    assert "nothing is simulated for comparison: libngspice was not found" in written.err


def test_an_evaluation_for_people_is_a_line_a_question_and_a_line_an_aim_and_goes_into_the_card(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    untrained().save(tmp_path / "model")
    words = ("--adapt", "0,5", "--baselines", "nearest", "--baseline-groups", "1", "--write-card")
    assert evaluate(tmp_path, *prepared(folder), *words, "--work", str(tmp_path / "work")) == 0
    written = capsys.readouterr()
    lines = written.out.splitlines()
    assert lines[0].split() == ["mean", "R2", "worst", "R2", "rel.", "error", "coverage", "rows"]
    for start in ("unseen sizings: network alone", "unseen topologies: adapted to 5 rows", "1 circuits, few: nearest"):
        assert any(line.startswith(start) for line in lines)
    assert any(line.startswith("MISSED       mean R2 of unseen sizings: ") for line in lines)
    assert any(line.startswith("microseconds a design, ngspice: - in this run, ") for line in lines)
    assert f"written: {tmp_path / 'model' / 'card.md'}" in written.err
    assert "### Beside models of one circuit each" in (tmp_path / "model" / "card.md").read_text()


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        ((), 2, "there is nothing to judge by: give --prepared FILE, which 'josephson train simulator --prepare FILE'"),
        (("--prepared", "nowhere.npz"), 1, "no prepared simulations at nowhere.npz; write them with 'josephson train"),
        (("--technology", "sky13"), 2, "no technology named 'sky13'; did you mean 'sky130'?"),
        (("--technology", "generic45"), 1, "libngspice was not found"),
        (
            ("--technology", "generic45", "--estimates", "some"),
            2,
            "--estimates: 'some' is none of nominal, all and none",
        ),
        (("--technology", "generic45", "--rows", "1"), 2, "Invalid value for '--rows'"),
        (("--technology", "generic45", "--rows", "1000000"), 2, "Invalid value for '--rows'"),
        (("--technology", "generic45", "--minutes", "-3"), 2, "Invalid value for '--minutes'"),
        (("--technology", "generic45", "--minutes", "nan"), 2, "Invalid value for '--minutes'"),
        (
            ("--prepared", "x.npz", "--rows", "20"),
            2,
            "--rows is about rows that --technology NAME simulates; give that",
        ),
        (("--prepared", "x.npz", "--adapt", "0,many"), 2, "--adapt: '0,many' is no list of numbers of rows, such as"),
        (("--prepared", "x.npz", "--adapt", ""), 2, "--adapt: '' is no list of numbers of rows"),
        (("--prepared", "x.npz", "--adapt", "0,20,20"), 2, "--adapt: 0,20,20 has to be different numbers of rows"),
        (("--prepared", "x.npz", "--adapt", "-5"), 2, "--adapt: -5 has to be different numbers of rows from 0 to 512"),
        (("--prepared", "x.npz", "--adapt", "1000000"), 2, "has to be different numbers of rows from 0 to 512"),
        (("--prepared", "x.npz", "--baselines", "mlp,magic"), 2, "--baselines: there is no 'magic'; there are nearest"),
        (("--prepared", "x.npz", "--baselines", ""), 2, "--baselines: there is no ''; there are nearest"),
        (("--prepared", "x.npz", "--seed", "-1"), 2, "Invalid value for '--seed'"),
    ],
)
def test_an_evaluation_that_cannot_be_done_says_why(
    folder: Path, words: tuple[str, ...], status: int, sentence: str, capsys: pytest.CaptureFixture[str]
):
    assert evaluate(folder, *words) == status
    assert sentence in capsys.readouterr().err


def test_an_evaluation_without_a_model_says_how_to_get_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert evaluate(tmp_path, "--prepared", "x.npz") == 1
    assert "there is no neural simulator in" in capsys.readouterr().err
    (tmp_path / "rows.npz").write_text("no rows")
    untrained().save(tmp_path / "model")
    assert evaluate(tmp_path, "--prepared", str(tmp_path / "rows.npz")) == 2
    assert "is no prepared file of simulations" in capsys.readouterr().err


def test_intervals_are_set_anew_by_a_command_that_trains_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    model = tmp_path / "model"
    untrained().save(model)
    before = {name: (model / name).read_bytes() for name in ("weights.safetensors", "rows.npz")}
    words = ("--recalibrate", "--output", str(model))
    assert main(["train", "simulator", *words, *prepared(folder)]) == 0
    assert "its intervals are new and its card is gone; judge it with" in capsys.readouterr().err
    assert {name: (model / name).read_bytes() for name in before} == before
    assert NeuralSimulator.load(model).intervals[True, False].as_json() != untrained().intervals[True, False].as_json()
