"""`josephson predict` and `josephson jobs submit predict`: what they print, what they refuse, and how they leave."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli import main
from app.cli.door import Door
from app.cli.simulation_options import known_of, predict_request
from app.errors import InvalidRequest
from app.predictions import Predictions
from app.requests import AnalogPredictRequest
from app.testing import FakeWorkshop
from app.workshop import RowMaker
from tests.predicting import MILLER, FormulaNetwork, predictions


@pytest.fixture
def netlist(tmp_path: Path) -> str:
    source = tmp_path / "miller.cir"
    source.write_text(MILLER)
    return str(source)


def run(*words: str, maker: RowMaker | None = None) -> int:
    return main(("predict", *words), Door(make_predictions=lambda settings: maker or predictions()))


def test_one_sizing_is_a_table_of_values_with_intervals(netlist: str, capsys: pytest.CaptureFixture[str]):
    assert run(netlist, "--testbench", "opamp", "--known", "gain_db=60", "--level", "0.8") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0] == ("opamp in generic180 (tt, 1.8 V, 27 C), predicted by simulator: like what was learnt from")
    assert lines[1] == "  without the table simulator: there are no tables"
    assert any(line.startswith("metric") and line.endswith("interval of 80%") for line in lines)
    (gain,) = (line.split() for line in lines if line.startswith("gain_db") and "known" in line)
    assert gain == ["gain_db", "60", "60", "60", "dB", "known"]
    (last,) = (line.split() for line in lines if line.startswith("overshoot") and "defined" in line)
    assert last == ["overshoot", "-", "-", "-", "1", "defined", "20%"]
    assert any(line.startswith("w_m1") for line in lines)
    assert any(line.startswith("simulated, ") and line.endswith(" decades away, in generic180:") for line in lines)
    assert "1 sizing in" in said.err


def test_what_is_unlike_what_was_learnt_from_is_said_with_its_reason(netlist: str, capsys: pytest.CaptureFixture[str]):
    assert run(netlist, "--testbench", "opamp", "--sizing", "w_m1=1", "--no-physics") == 0
    out = capsys.readouterr().out
    assert "predicted by simulator: unlike what was learnt from\n" in out
    assert "  w_m1 is 1 m, generic180 has 2.2e-07 to 0.0002 m\n" in out
    assert "without the table simulator" not in out


def test_many_sizings_are_a_table_of_ranges(netlist: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    target = tmp_path / "rows.ndjson"
    assert run(netlist, "--testbench", "opamp", "--count", "60", "--seed", "1", "-o", str(target)) == 0
    said = capsys.readouterr()
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(60))
    flagged = sum(row["out_of_distribution"] for row in rows)
    assert f"{flagged} of 60 unlike what was learnt from" in said.out
    gains = [row["metrics"]["gain_db"]["value"] for row in rows]
    (line,) = (line.split() for line in said.out.splitlines() if line.startswith("gain_db"))
    assert line[:2] == ["gain_db", "60/60"]
    assert [float(line[2]), float(line[4])] == pytest.approx([min(gains), max(gains)], rel=1e-3)
    (line,) = (line.split() for line in said.out.splitlines() if line.startswith("overshoot"))
    assert line[:5] == ["overshoot", "0/60", "-", "-", "-"]
    assert "(60 ok); seed 1" in said.err


def test_json_is_one_document(netlist: str, capsys: pytest.CaptureFixture[str]):
    assert run(netlist, "--testbench", "opamp", "-n", "4", "--seed", "2", "--nearest", "0", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["index"] for row in document["rows"]] == [0, 1, 2, 3]
    assert (document["model"], document["level"], document["physics"]) == ("simulator", 0.9, False)
    assert (document["testbench"], document["seed"], document["counts"]["total"]) == ("opamp", 2, 4)


def test_where_no_sizing_is_told_the_status_is_1(netlist: str, capsys: pytest.CaptureFixture[str]):
    network = FormulaNetwork()
    network.distance = float("nan")
    assert run(netlist, "--testbench", "opamp", maker=predictions(network)) == 1
    assert "the network has no number for this sizing" in capsys.readouterr().out


def test_what_is_asked_reaches_the_request(netlist: str, tmp_path: Path):
    lines = tmp_path / "rows.ndjson"
    none = {"cause": "circuit", "reason": "the gain never crosses 0 dB"}
    failed = {"cause": "simulator", "reason": "timestep too small"}
    rows: list[dict[str, Any]] = [
        {"sizes": {"w_m1": 1e-5}, "metrics": {"gain_db": 50.0, "ugf_hz": 1e6}, "undefined": {}},
        {"sizes": {}, "metrics": {"gain_db": -3.0, "ugf_hz": None}, "undefined": {"ugf_hz": none}},
        {"sizes": {}, "metrics": {"gain_db": 1.0, "ugf_hz": None}, "undefined": {"ugf_hz": failed}},
    ]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    common: dict[str, Any] = {"netlist": netlist, "testbench": "opamp"}
    fields = predict_request(
        **common, technology="generic45", corner="ss,0.9,-40", sizings=str(lines), metric=["settling_time_s"],
        setting=["load_f=2p"], port=["output=VOUT1"], known=["gain_db", "ugf_hz", "power_w=1m"], level=0.5, nearest=3,
        physics=False, adapt=False,
    )  # fmt: skip
    assert fields == {
        "netlist": MILLER, "testbench": "opamp", "technology": "generic45",
        "corner": {"process": "ss", "supply_v": 0.9, "celsius": -40.0},
        "sizings": [{"w_m1": 1e-5}, {}, {}], "metrics": ["settling_time_s"], "settings": {"load_f": 2e-12},
        "ports": {"output": "VOUT1"}, "level": 0.5, "nearest": 3, "physics": False,
        "adapt": False, "known": [
            {"power_w": 1e-3, "gain_db": 50.0, "ugf_hz": 1e6}, {"power_w": 1e-3, "gain_db": -3.0, "ugf_hz": None},
            {"power_w": 1e-3, "gain_db": 1.0},
        ],
    }  # fmt: skip
    AnalogPredictRequest.model_validate(fields)
    assert predict_request(**common, known=["gain_db=60", "ugf_hz=1meg"])["known"] == {"gain_db": 60.0, "ugf_hz": 1e6}
    whole = predict_request(**common, count=7, seed=1, corner="ss", metric=["x"], setting=["a=1"], port=["b=c"],
                            technology="t", sizing=["d=1"], known=["e=1"], level=0.5, nearest=1)  # fmt: skip
    assert set(whole) == set(AnalogPredictRequest.model_fields)


def test_a_metric_that_rows_do_not_have_cannot_be_known():
    with pytest.raises(InvalidRequest, match="--known 'gain_db' has no value; write NAME=VALUE, or give rows"):
        known_of(["gain_db"], None)
    with pytest.raises(InvalidRequest, match="--known 'gain_db': sizing 2 of --sizings has no such metric"):
        known_of(["gain_db"], [{"metrics": {"gain_db": 1.0}}, {"w_m1": 1e-6}])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--known", "gain_db=high"), "--known: 'high' is not a SPICE number"),
        (("--known", "gain_db=nan"), "--known: 'nan' is not a SPICE number"),
        (("--known", "gain_db=1", "--known", "gain_db=2"), "--known names 'gain_db' twice"),
        (("--known", "gian_db=1"), "no metric of testbench opamp named 'gian_db'; did you mean 'gain_db'?"),
        (("--known", "ugf_hz=-1"), "known ugf_hz is -1 Hz, it is never below 0 Hz"),
        (("--level", "0.7"), "there are no intervals for the level 0.7; calibrated are 0.5, 0.8, 0.9, 0.95"),
        (("--level", "2"), "--level: Input should be less than 1"),
        (("--nearest", "11"), "--nearest: Input should be less than or equal to 10"),
        (("--sizing", "w_m1=1u", "--count", "3"), "--count: sizings and draw are both given; give one of them"),
        (("--count", "2000000"), "--count: Input should be less than or equal to 1000000"),
        (("--testbench", "mixer"), "the model has not learnt the testbench 'mixer'; it knows comparator, ldo, opamp"),
    ],
)
def test_what_was_asked_wrongly_is_status_2_and_names_the_option(
    netlist: str, words: Sequence[str], sentence: str, capsys: pytest.CaptureFixture[str]
):
    assert run(netlist, "--testbench", "opamp", *words, "--json") == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert sentence in json.loads(said.out)["error"]["message"]


def test_without_a_model_the_status_is_1_and_the_sentence_says_what_to_do(
    netlist: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    for name in ("JOSEPHSON_DATA_DIR", "JOSEPHSON_MODELS_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    assert main(["predict", netlist, "--testbench", "opamp"]) == 1
    assert "train one with 'josephson train simulator'" in capsys.readouterr().err


def test_a_run_leaves_nothing_behind(netlist: str):
    made: Predictions = predictions()
    assert run(netlist, "--testbench", "opamp", maker=made) == 0
    assert made._is_closed


def test_a_job_of_predictions_is_submitted_with_the_same_options(netlist: str, capsys: pytest.CaptureFixture[str]):
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(202, json={"id": "01job"})

    door = Door(make_client=lambda url: httpx.Client(base_url=url, transport=httpx.MockTransport(answer)))
    words = ("jobs", "submit", "predict", netlist, "--testbench", "opamp", "-n", "100000", "--known", "gain_db=60")
    assert main(words, door) == 0
    assert capsys.readouterr().out == "01job\n"
    assert bodies[0]["kind"] == "analog.predict"
    assert bodies[0]["request"]["draw"] == {"count": 100_000}
    assert bodies[0]["request"]["known"] == {"gain_db": 60.0}


def test_the_fake_predicts_in_the_same_shape(netlist: str, capsys: pytest.CaptureFixture[str]):
    assert run(netlist, "--testbench", "opamp", "-n", "9", maker=FakeWorkshop()) == 0
    assert "gain_db" in capsys.readouterr().out


def test_the_command_line_starts_without_torch():
    code = "import sys, app.cli.main, app.cli.predict\nprint('torch' in sys.modules or 'numpy' in sys.modules)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
