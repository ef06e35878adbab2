"""Simulation over HTTP: the inline call, jobs, registries, pages; what cannot be done is a problem with a pointer."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.requests import MAX_INLINE_COUNT, JobRequest
from app.workshop import Row
from tests.bench_workshop import PAIR, BenchWorkshop, bench_workshop
from tests.running_service import NamedWorkshop, RunningService, running_service
from tests.test_service_dashboard import HOSTILE, page_of

BODY = {"netlist": PAIR, "testbench": "opamp"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("simulate")) as running:
        yield running


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service that simulates."""
    folder = tmp_path_factory.mktemp("real")
    with bench_workshop(folder) as workshop, running_service(folder, workshop) as running:
        yield running


def by_draw(count: int, **fields: Any) -> dict[str, Any]:
    return {**BODY, "draw": {"count": count}, "seed": 3, **fields}


# --- shapes, over the fake ------------------------------------------------------------------------------------------


def test_an_inline_simulation_answers_rows_by_index_and_what_they_have_in_common(service: RunningService) -> None:
    answer = service.json("POST", "/v1/analog/simulate", json=by_draw(20))
    assert [row["index"] for row in answer["rows"]] == list(range(20))
    assert (answer["testbench"], answer["technology"], answer["seed"]) == ("opamp", "generic180", 3)
    assert answer["corner"] == {"process": "tt", "supply_v": 1.8, "celsius": 27.0}
    assert answer["sizes"] == [{"name": "r1_ohm", "unit": "ohm", "low": 1.0, "high": 1e6, "start": 1e3}]
    assert {row["status"] for row in answer["rows"]} == {"ok", "not_converged"}
    for row in answer["rows"]:
        assert {name for name, value in row["metrics"].items() if value is None} == set(row["undefined"])


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"draw": {"count": 10**6}}, "/draw/count", "1000000 sizings are asked for, an inline call makes at most 256"),
        ({"draw": {"count": 10**6}}, "/draw/count", "submit a job (POST /v1/jobs)"),
        ({"draw": {"count": 10**9}}, "/draw/count", "less than or equal to 1000000"),
        ({"draw": {"count": 0}}, "/draw/count", "greater than or equal to 1"),
        ({"draw": {}}, "/draw/count", "Field required"),
        ({"draw": {"count": 1, "method": "gudied"}}, "/draw/method", "'guided', 'log_uniform' or 'start'"),
        ({"sizings": [{}] * (MAX_INLINE_COUNT + 1)}, "/sizings", "257 sizings are asked for"),
        ({"sizings": []}, "/sizings", "has 0 items, it takes at least 1"),
        ({"sizings": [{"w_m1": "5u"}]}, "/sizings/0/w_m1", "valid number"),
        ({"sizings": [{}, {"w_m1": None}]}, "/sizings/1/w_m1", "valid number"),
        ({"sizings": [{"w_m1": True}]}, "/sizings/0/w_m1", "valid number"),
        ({"sizings": {"w_m1": 1e-6}}, "/sizings", "valid tuple"),
        ({"sizings": [{}], "draw": {"count": 2}}, "/draw", "sizings and draw are both given; give one of them"),
        ({"metrics": []}, "/metrics", "has 0 items, it takes at least 1"),
        ({"settings": {"load_f": "big"}}, "/settings/load_f", "valid number"),
        ({"corner": 3}, "/corner", "valid dictionary"),
        ({"corner": {"volts": 3}}, "/corner/volts", "unknown key 'volts'"),
        ({"netlist": ""}, "/netlist", "at least 1 character"),
        ({"testbench": None}, "/testbench", "valid string"),
        ({"metric": ["gain_db"]}, "/metric", "unknown key 'metric'; did you mean 'metrics'?"),
    ],
)
def test_a_wrong_field_is_named_by_its_pointer(
    service: RunningService, fields: dict[str, Any], pointer: str, words: str
) -> None:
    problem = service.problem(422, "POST", "/v1/analog/simulate", json={**BODY, **fields})
    assert problem["errors"][0]["pointer"] == pointer
    assert words in problem["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [("NaN", 400, "NaN is not JSON"), ("Infinity", 400, "Infinity is not JSON"), ("1e999", 422, "finite number")],
)
def test_what_is_no_number_is_no_size(service: RunningService, number: str, status: int, words: str) -> None:
    text = json.dumps({**BODY, "sizings": [{"w_m1": 0}]}).replace('"w_m1": 0', f'"w_m1": {number}')
    headers = {"content-type": "application/json"}
    problem = service.problem(status, "POST", "/v1/analog/simulate", content=text, headers=headers)
    assert words in problem["detail"]
    if status == 422:
        assert problem["errors"][0]["pointer"] == "/sizings/0/w_m1"


def test_a_million_explicit_sizings_are_a_body_that_is_too_large(service: RunningService) -> None:
    text = json.dumps({**BODY, "sizings": [{}]}).replace("[{}]", "[" + ",".join(['{"w_m1":5e-6}'] * 1_000_000) + "]")
    headers = {"content-type": "application/json"}
    problem = service.problem(413, "POST", "/v1/analog/simulate", content=text, headers=headers)
    assert "the limit is 2000000" in problem["detail"]


def test_a_job_of_sizings_counts_those_without_a_result_as_invalid_and_keeps_their_own_status(
    service: RunningService,
) -> None:
    job = service.wait_for(service.simulate(100, seed=4)["id"])
    assert (job["status"], job["kind"], job["model"], job["seed"]) == ("succeeded", "analog.simulate", None, 4)
    page = service.json("GET", f"/v1/jobs/{job['id']}/results?limit=1000")
    assert [row["index"] for row in page["rows"]] == list(range(100))
    failed = [row for row in page["rows"] if row["status"] == "not_converged"]
    assert job["counts"]["invalid"] == len(failed) > 0
    assert job["counts"]["ok"] == 100 - len(failed)
    assert service.json("GET", f"/v1/jobs/{job['id']}/results?status=invalid&limit=1000")["rows"] == failed
    lines = service.http.get(f"/v1/jobs/{job['id']}/results?format=ndjson").text.splitlines()
    assert [json.loads(line) for line in lines] == page["rows"]


def test_a_job_takes_more_sizings_than_a_call_and_names_wrong_fields_inside_its_request(
    service: RunningService,
) -> None:
    job = service.simulate(MAX_INLINE_COUNT + 1)
    assert job["counts"]["total"] == MAX_INLINE_COUNT + 1
    body = {"kind": "analog.simulate", "request": {**BODY, "draw": {"count": 2_000_000}}}
    problem = service.problem(422, "POST", "/v1/jobs", json=body)
    assert problem["errors"][0]["pointer"] == "/request/draw/count"
    body = {"kind": "analog.simulate", "request": {**BODY, "count": 3}}
    problem = service.problem(422, "POST", "/v1/jobs", json=body)
    assert problem["errors"][0]["pointer"] == "/request/count"


def test_the_pages_of_a_simulation_show_status_metrics_and_reasons(service: RunningService) -> None:
    job = service.wait_for(service.simulate(40, seed=4, include_deck=True)["id"])
    _, text = page_of(service, f"/jobs/{job['id']}")
    for words in ("simulation · opamp", "<h2>Sizings</h2>", "gain (dB)", "ugf (Hz)", "pill not_converged", "R1 VIN1"):
        assert words in text, words
    assert "<dt>model</dt>" not in text
    rows = service.json("GET", f"/v1/jobs/{job['id']}/results")["rows"]
    failed = next(row["index"] for row in rows if row["status"] == "not_converged")
    _, text = page_of(service, f"/jobs/{job['id']}/circuits/{failed}")
    for words in ("ngspice found no operating point", "gain (dB)", "r1_ohm", "ohm</dd>", "Deck dc"):
        assert words in text, words
    assert service.http.get(f"/jobs/{job['id']}/circuits/{failed}/json").json() == rows[failed]
    _, text = page_of(service, "/")
    assert "simulation · opamp" in text


def test_simulated_sizings_are_counted(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        rows = service.json("POST", "/v1/analog/simulate", json=by_draw(30))["rows"]
        ok = sum(row["status"] == "ok" for row in rows)
        text = service.http.get("/metrics").text
    line = f'josephson_circuits_total{{asked_by="inline",kind="analog.simulate",status="ok"}} {float(ok)}'
    assert line in text.splitlines()


def test_nothing_that_a_simulation_holds_becomes_markup(tmp_path: Path) -> None:
    class Hostile(NamedWorkshop):
        async def produce(
            self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
        ) -> AsyncIterator[Row]:
            async for row in super().produce(kind, request, indices):
                why = {"cause": "circuit", "reason": HOSTILE}
                texts = {"message": HOSTILE, "decks": {HOSTILE: HOSTILE}, "sizes": {HOSTILE: 1.0}}
                yield row | texts | {"metrics": {HOSTILE: None}, "undefined": {HOSTILE: why}}

    with running_service(tmp_path, Hostile()) as service:
        job = service.wait_for(service.simulate(2, netlist=HOSTILE, testbench=HOSTILE)["id"])
        for path in (f"/jobs/{job['id']}", f"/jobs/{job['id']}/circuits", f"/jobs/{job['id']}/circuits/0", "/"):
            page, text = page_of(service, path)
            assert "<script>" not in text
            assert ">49<" not in text
            assert not [each for each in page.all("img") if not str(each["src"]).startswith("/static/")]


# --- in ngspice -----------------------------------------------------------------------------------------------------


@pytest.mark.simulator
def test_an_amplifier_is_simulated_in_a_corner(real: RunningService) -> None:
    body = {**BODY, "corner": {"process": "ss", "celsius": 125}, "sizings": [{}, {"w_m1": 2e-5}]}
    answer = real.json("POST", "/v1/analog/simulate", json=body)
    assert answer["corner"] == {"process": "ss", "supply_v": 1.8, "celsius": 125.0}
    assert [row["status"] for row in answer["rows"]] == ["ok", "ok"]
    assert all(20 < row["metrics"]["gain_db"] < 80 for row in answer["rows"])
    assert {each["unit"] for each in answer["sizes"]} >= {"m", "A"}


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"testbench": "opmap"}, "/testbench", "did you mean 'opamp'?"),
        ({"technology": "sky103"}, "/technology", "did you mean 'sky130'?"),
        ({"corner": "zz"}, "/corner", "no process corner of generic180 named 'zz'"),
        ({"corner": {"supply_v": 5}}, "/corner", "the supply is 5 V"),
        ({"metrics": ["gian_db"]}, "/metrics", "did you mean 'gain_db'?"),
        ({"sizings": [{"w_m1": 1}]}, "/sizings/0/w_m1", "it may be"),
        ({"sizings": [{"w_x": 1e-6}]}, "/sizings/0", "no size named 'w_x'"),
        ({"settings": {"load_f": 1}}, "/settings/load_f", "testbench opamp takes"),
        ({"ports": {"outptu": "VOUT1"}}, "/ports", "did you mean 'output'?"),
        ({"netlist": PAIR.replace("VIN2", "NX")}, "/netlist", "it has no negative input"),
        ({"netlist": PAIR + ".control\nquit\n.endc\n"}, "/netlist", "line 8"),
    ],
)
def test_what_cannot_be_simulated_is_a_problem_inline_and_as_a_job(
    real: RunningService, fields: dict[str, Any], pointer: str, words: str
) -> None:
    problem = real.problem(422, "POST", "/v1/analog/simulate", json={**BODY, **fields})
    assert problem["errors"][0]["pointer"] == pointer
    assert words in problem["detail"]
    job = {"kind": "analog.simulate", "request": {**BODY, **fields}}
    problem = real.problem(422, "POST", "/v1/jobs", json=job)
    assert problem["errors"][0]["pointer"] == f"/request{pointer}"
    assert words in problem["detail"]


@pytest.mark.simulator
def test_the_rows_of_a_job_are_those_of_the_inline_call(real: RunningService) -> None:
    def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: value for key, value in row.items() if key != "timings"} for row in rows]

    body = by_draw(100, metrics=["gain_db"])
    inline: list[list[dict[str, Any]]] = []
    thread = threading.Thread(target=lambda: inline.append(real.json("POST", "/v1/analog/simulate", json=body)["rows"]))
    thread.start()  # both at once
    job = real.wait_for(real.json("POST", "/v1/jobs", json={"kind": "analog.simulate", "request": body})["id"])
    thread.join()
    rows = real.json("GET", f"/v1/jobs/{job['id']}/results?limit=1000")["rows"]
    assert timeless(rows) == timeless(inline[0])


@pytest.mark.simulator
def test_a_cancelled_job_keeps_its_rows_and_leaves_no_worker_busy(real: RunningService) -> None:
    job = real.simulate(1_000_000, netlist=PAIR, metrics=["gain_db"])
    real.wait_for(job["id"], ("running",), done=5)
    real.json("POST", f"/v1/jobs/{job['id']}/cancel")
    ended = real.wait_for(job["id"])
    assert ended["status"] == "cancelled"
    assert ended["counts"]["done"] >= 5
    workshop = real.workshop
    assert isinstance(workshop, BenchWorkshop)
    pool = workshop.pool
    deadline = threading.Event()
    for _ in range(500):
        counts = pool.statistics()
        if counts["running"] == counts["queued"] == 0:
            break
        deadline.wait(0.02)
    assert (counts["running"], counts["queued"]) == (0, 0)
    assert len(real.json("POST", "/v1/analog/simulate", json=by_draw(3))["rows"]) == 3


@pytest.mark.simulator
def test_testbenches_and_technologies_are_listed_with_all_that_a_request_may_name(real: RunningService) -> None:
    benches = {each["name"]: each for each in real.json("GET", "/v1/testbenches")["testbenches"]}
    assert {"opamp", "comparator", "ldo", "bandgap"} <= set(benches)
    assert {metric["name"]: metric["unit"] for metric in benches["opamp"]["metrics"]}["gain_db"] == "dB"
    assert {role["name"] for role in benches["opamp"]["roles"]} == {"positive_input", "negative_input", "output"}
    technologies = {each["name"]: each for each in real.json("GET", "/v1/technologies")["technologies"]}
    assert technologies["generic180"]["processes"] == ["tt", "ss", "ff", "sf", "fs"]
    assert technologies["generic180"]["is_available"]


def test_a_list_that_is_short_because_an_item_was_refused_is_told_once(service: RunningService) -> None:
    body = '{"netlist": "R1 VDD VSS 1k", "testbench": "opamp", "sizings": [{"r_r1": 1e999}]}'
    headers = {"content-type": "application/json"}
    problem = service.problem(422, "POST", "/v1/analog/simulate", content=body, headers=headers)
    assert [each["pointer"] for each in problem["errors"]] == ["/sizings/0/r_r1"]
