"""Prediction over HTTP: the inline call, jobs, pages; whatever is wrong is a problem with a pointer, never a 500."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.predictions import Predictions, load_trained
from app.requests import MAX_PREDICTED_INLINE, JobRequest
from app.simulations import PreparedBenches
from app.workshop import Row
from tests.predicting import (
    LDO,
    MILLER,
    AnalyticGmId,
    FormulaNetwork,
    PredictingWorkshop,
    no_estimates,
    predictions,
)
from tests.running_service import NamedWorkshop, RunningService, running_service
from tests.test_service_dashboard import HOSTILE, page_of

BODY = {"netlist": MILLER, "testbench": "opamp"}
PATH = "/v1/analog/predict"


@pytest.fixture(scope="module")
def network() -> FormulaNetwork:
    return FormulaNetwork()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, network: FormulaNetwork) -> Iterator[RunningService]:
    """A service that predicts by a formula."""
    workshop = PredictingWorkshop(predictions(network))
    with running_service(tmp_path_factory.mktemp("predict"), workshop) as running:
        yield running


def by_draw(count: int, **fields: Any) -> dict[str, Any]:
    return {**BODY, "draw": {"count": count}, "seed": 3, **fields}


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "timings"} for row in rows]


def test_an_inline_prediction_answers_rows_by_index_and_what_they_have_in_common(service: RunningService) -> None:
    answer = service.json("POST", PATH, json=by_draw(20, metrics=["gain_db"], known={"supply_current_a": 1e-4}))
    assert [row["index"] for row in answer["rows"]] == list(range(20))
    assert (answer["testbench"], answer["technology"], answer["seed"]) == ("opamp", "generic180", 3)
    assert (answer["model"], answer["level"], answer["topology_known"]) == ("simulator", 0.9, True)
    assert (answer["physics"], answer["physics_note"]) == (False, "there are no tables")
    assert answer["metrics"] == [{"name": "gain_db", "unit": "dB"}]
    for row in answer["rows"]:
        assert row["metrics"]["gain_db"]["low"] < row["metrics"]["gain_db"]["high"]


def test_thousands_of_sizings_are_predicted_in_one_call(service: RunningService, network: FormulaNetwork) -> None:
    network.batches.clear()
    rows = service.json("POST", PATH, json=by_draw(1500, metrics=["gain_db"], nearest=0))["rows"]
    assert [row["index"] for row in rows] == list(range(1500))
    assert sum(network.batches) == 1500
    assert len(network.batches) <= 3


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"draw": {"count": 10**6}}, "/draw/count", "1000000 sizings are asked for, an inline call makes at most 4096"),
        ({"draw": {"count": 10**6}}, "/draw/count", "submit a job (POST /v1/jobs)"),
        ({"sizings": [{}] * (MAX_PREDICTED_INLINE + 1)}, "/sizings", "4097 sizings are asked for"),
        ({"draw": {"count": 0}}, "/draw/count", "greater than or equal to 1"),
        ({"sizings": []}, "/sizings", "has 0 items, it takes at least 1"),
        ({"sizings": [{"w_m1": "5u"}]}, "/sizings/0/w_m1", "valid number"),
        ({"sizings": [{}, {"w_m1": None}]}, "/sizings/1/w_m1", "valid number"),
        ({"sizings": [{"w_m1": 0}]}, "/sizings/0/w_m1", "size w_m1 is 0 m, it must be positive"),
        ({"sizings": [{"w_x": 1}]}, "/sizings/0", "no size named 'w_x'"),
        ({"known": {"gian_db": 60}}, "/known/gian_db", "no metric of testbench opamp named 'gian_db'; did you mean"),
        ({"known": {"speed": 60}}, "/known/speed", "known: area_m2, bandwidth_hz"),
        ({"known": {"ugf_hz": -1}}, "/known/ugf_hz", "known ugf_hz is -1 Hz, it is never below 0 Hz"),
        ({"known": {"gain_db": "60"}}, "/known/gain_db", "valid number"),
        ({"known": [{"gain_db": 1}, {}]}, "/known", "has 2 entries for 1 sizings; give one a sizing, or one object"),
        ({"known": []}, "/known", "has 0 entries for 1 sizings"),
        ({"known": [3]}, "/known/0", "valid dictionary"),
        ({"known": 3}, "/known", "valid dictionary"),
        ({"draw": {"count": 3}, "known": [{"x": 1}, {}, {}]}, "/known/0/x", "no metric of testbench opamp named 'x'"),
        ({"level": 0.7}, "/level", "there are no intervals for the level 0.7; calibrated are 0.5, 0.8, 0.9, 0.95"),
        ({"level": 1}, "/level", "less than 1"),
        ({"level": "0.9"}, "/level", "valid number"),
        ({"nearest": 11}, "/nearest", "less than or equal to 10"),
        ({"nearest": -1}, "/nearest", "greater than or equal to 0"),
        ({"physics": "perhaps"}, "/physics", "valid boolean"),
        ({"include_deck": True}, "/include_deck", "unknown key 'include_deck'"),
        ({"kown": {}}, "/kown", "unknown key 'kown'; did you mean 'known'?"),
        ({"corner": "zz"}, "/corner", "no process corner of generic180 named 'zz'"),
        ({"netlist": MILLER.replace("VIN2", "NX")}, "/netlist", "it has no negative input"),
        ({"testbench": "opmap"}, "/testbench", "did you mean 'opamp'?"),
    ],
)
def test_what_cannot_be_predicted_is_a_problem_with_its_pointer(
    service: RunningService, fields: dict[str, Any], pointer: str, words: str
) -> None:
    problem = service.problem(422, "POST", PATH, json={**BODY, **fields})
    assert problem["errors"][0]["pointer"] == pointer
    assert words in problem["errors"][0]["detail"]
    if "sizings are asked for" not in words and "submit" not in words:
        problem = service.problem(
            422, "POST", "/v1/jobs", json={"kind": "analog.predict", "request": {**BODY, **fields}}
        )
        assert problem["errors"][0]["pointer"] == f"/request{pointer}"


def test_a_testbench_that_the_model_never_saw_is_not_found_and_the_others_are_listed(service: RunningService) -> None:
    problem = service.problem(404, "POST", PATH, json={**BODY, "testbench": "mixer"})
    assert problem["type"] == "/docs/problems#not-learnt"
    assert problem["detail"] == "the model has not learnt the testbench 'mixer'; it knows comparator, ldo, opamp"
    assert problem["errors"][0]["pointer"] == "/testbench"
    body = {"kind": "analog.predict", "request": {**BODY, "testbench": "mixer"}}
    assert service.problem(404, "POST", "/v1/jobs", json=body)["errors"][0]["pointer"] == "/request/testbench"


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [("NaN", 400, "NaN is not JSON"), ("-Infinity", 400, "-Infinity is not JSON"), ("1e999", 422, "finite number")],
)
@pytest.mark.parametrize(("field", "pointer"), [("sizings", "/sizings/0/w_m1"), ("known", "/known/0/w_m1")])
def test_what_is_no_number_is_neither_a_size_nor_known(
    service: RunningService, number: str, status: int, words: str, field: str, pointer: str
) -> None:
    text = json.dumps({**BODY, field: [{"w_m1": 0}]}).replace('"w_m1": 0', f'"w_m1": {number}')
    problem = service.problem(status, "POST", PATH, content=text, headers={"content-type": "application/json"})
    assert words in problem["detail"]
    if status == 422:
        assert problem["errors"][0]["pointer"] == pointer


def test_a_million_explicit_sizings_are_a_body_that_is_too_large(service: RunningService) -> None:
    text = json.dumps({**BODY, "sizings": [{}]}).replace("[{}]", "[" + ",".join(['{"w_m1":5e-6}'] * 1_000_000) + "]")
    headers = {"content-type": "application/json"}
    assert "the limit is 2000000" in service.problem(413, "POST", PATH, content=text, headers=headers)["detail"]


def test_sizes_outside_of_their_range_are_answered_with_the_flag(service: RunningService) -> None:
    body = {**BODY, "sizings": [{"w_m1": 1e300, "l_m1": 1e-300}, {"ib1_a": 5.0}]}
    for row in service.json("POST", PATH, json=body)["rows"]:
        assert (row["status"], row["out_of_distribution"]) == ("ok", True)
        assert row["reasons"]


def test_a_job_predicts_what_the_inline_call_predicts(service: RunningService) -> None:
    body = by_draw(300, metrics=["gain_db"])
    inline = service.json("POST", PATH, json=body)["rows"]
    job = service.wait_for(service.json("POST", "/v1/jobs", json={"kind": "analog.predict", "request": body})["id"])
    assert (job["status"], job["model"], job["counts"]["ok"]) == ("succeeded", "simulator", 300)
    rows = service.json("GET", f"/v1/jobs/{job['id']}/results?limit=1000")["rows"]
    assert timeless(rows) == timeless(inline)


def test_a_job_of_a_million_sizings_comes_in_chunks_and_can_be_cancelled(
    service: RunningService, network: FormulaNetwork
) -> None:
    job = service.simulate(1_000_000, "analog.predict", netlist=MILLER, metrics=["gain_db"], nearest=0)
    service.wait_for(job["id"], ("running",), done=300)
    service.json("POST", f"/v1/jobs/{job['id']}/cancel")
    ended = service.wait_for(job["id"])
    assert ended["status"] == "cancelled"
    assert ended["counts"]["total"] == 1_000_000
    assert max(network.batches) <= 4096
    assert len(service.json("POST", PATH, json=by_draw(3))["rows"]) == 3


def test_two_calls_for_different_circuits_at_once_do_not_disturb_each_other(service: RunningService) -> None:
    bodies = [by_draw(200, nearest=0), {**by_draw(200, nearest=0), "netlist": LDO, "testbench": "ldo"}]
    alone = [timeless(service.json("POST", PATH, json=body)["rows"]) for body in bodies]
    together: dict[int, list[dict[str, Any]]] = {}

    def ask(number: int) -> None:
        together[number] = timeless(service.json("POST", PATH, json=bodies[number])["rows"])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[0], together[1]] == alone


def test_a_caller_past_the_deadline_frees_the_thread(tmp_path: Path) -> None:
    network = FormulaNetwork()
    made = predictions(network)
    with running_service(tmp_path, PredictingWorkshop(made), inline_deadline_s=0.5) as service:
        service.json("POST", PATH, json=by_draw(1))
        network.gate.clear()
        assert service.problem(503, "POST", PATH, json=by_draw(4000))["type"] == "/docs/problems#deadline"
        _, queue = made._model()
        network.gate.set()
        deadline = time.monotonic() + 10
        while any(queue._waiting) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not any(queue._waiting)
        assert len(service.json("POST", PATH, json=by_draw(3))["rows"]) == 3


def test_without_a_model_the_service_runs_and_the_call_says_what_to_do(tmp_path: Path) -> None:
    absent = Predictions(lambda: load_trained(tmp_path / "simulator"), PreparedBenches(AnalyticGmId()), no_estimates)
    with running_service(tmp_path, PredictingWorkshop(absent)) as service:
        assert service.json("GET", "/livez")["status"] == "ok"
        problem = service.problem(503, "POST", PATH, json=BODY)
        assert problem["type"] == "/docs/problems#unavailable"
        assert "train one with 'josephson train simulator'" in problem["detail"]
        body = {"kind": "analog.predict", "request": BODY}
        assert "no neural simulator" in service.problem(503, "POST", "/v1/jobs", json=body)["detail"]


def test_the_pages_of_a_prediction_show_values_intervals_and_reasons(service: RunningService) -> None:
    fields: dict[str, Any] = {
        "netlist": MILLER,
        "metrics": ["gain_db", "ugf_hz", "overshoot"],
        "known": {"ugf_hz": 1e6},
    }
    job = service.simulate(1, "analog.predict", **fields, draw=None, sizings=[{"w_m1": 1.0}])
    service.wait_for(job["id"])
    _, text = page_of(service, f"/jobs/{job['id']}")
    for words in ("prediction · opamp", "<h2>Sizings</h2>", "gain (dB)", "pill ok", "<dt>model</dt><dd>simulator</dd>"):
        assert words in text, words
    row = service.json("GET", f"/v1/jobs/{job['id']}/results")["rows"][0]
    _, text = page_of(service, f"/jobs/{job['id']}/circuits/0")
    for words in (
        "Interval",
        "known before",
        "likely has none",
        "Unlike what the model has learnt from",
        "w_m1 is 1 m",
    ):
        assert words in text, words
    assert f"{row['metrics']['gain_db']['value']:.4g}" in text


def test_nothing_that_a_prediction_holds_becomes_markup(tmp_path: Path) -> None:
    class Hostile(NamedWorkshop):
        async def produce(
            self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
        ) -> AsyncIterator[Row]:
            async for row in super().produce(kind, request, indices):
                await asyncio.sleep(0)
                told = {"value": 1.0, "low": HOSTILE, "high": HOSTILE, "defined": 1.0, "known": False}
                yield row | {"reasons": [HOSTILE], "metrics": {HOSTILE: told}, "sizes": {HOSTILE: 1.0}}

    with running_service(tmp_path, Hostile()) as service:
        job = service.wait_for(service.simulate(2, "analog.predict", netlist=HOSTILE, testbench=HOSTILE)["id"])
        for path in (f"/jobs/{job['id']}", f"/jobs/{job['id']}/circuits", f"/jobs/{job['id']}/circuits/0", "/"):
            _, text = page_of(service, path)
            assert "<script>" not in text


def test_predicted_sizings_are_counted(service: RunningService) -> None:
    service.json("POST", PATH, json=by_draw(3))
    text = service.http.get("/metrics").text
    assert 'josephson_circuits_total{asked_by="inline",kind="analog.predict",status="ok"}' in text
