"""Design over HTTP: a call that is answered with a job, its funnel while it runs, and what it came to."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.design.stages import REACHED
from app.requests import JobRequest
from app.workshop import Row, unfinished_row
from tests.designing import DesignWorkshop, designs
from tests.running_service import NamedWorkshop, RunningService, running_service
from tests.test_service_dashboard import page_of

PATH = "/v1/analog/design"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("design")) as running:
        yield running


def body(candidates: int, **fields: Any) -> dict[str, Any]:
    return {"type": "opamp", "specification": {"bounds": ["gain_db>60"]}, "candidates": candidates, "seed": 3, **fields}


def test_the_call_is_accepted_as_a_job_whose_rows_are_the_candidates(service: RunningService) -> None:
    answer = service.http.post(PATH, json=body(24))
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["counts"]["total"]) == ("analog.design", 24)
    done = service.wait_for(job["id"])
    candidates = service.json("GET", f"/v1/jobs/{job['id']}/results")["candidates"]
    assert [row["index"] for row in candidates] == list(range(24))
    reached = Counter(row["reached"] for row in candidates)
    assert done["funnel"] == {
        name: sum(reached[later] for later in REACHED[place:]) for place, name in enumerate(REACHED)
    }
    assert done["funnel"]["proposed"] == 24 > done["funnel"]["passing"] == done["counts"]["ok"] > 0


def test_what_a_design_came_to_is_ranked_and_says_why_the_others_fell_out(service: RunningService) -> None:
    objective = {"maximize": "gain_db"}
    asked = body(24, specification={"bounds": ["gain_db>60"], "objective": objective})
    job = service.wait_for(service.json("POST", PATH, json=asked)["id"])
    document = service.json("GET", job["links"]["design"])
    assert document["funnel"] == job["funnel"]
    gains = [next(iter(row["metrics"].values()))["gain_db"] for row in document["results"]]
    assert gains == sorted(gains, reverse=True)
    assert {row["status"] for row in document["results"]} == {"ok"}
    assert len(document["results"]) + len(document["fell_out"]) == 24
    assert all(row["why"] for row in document["fell_out"])
    assert document["cost"]["simulations"] == sum(
        row["simulations"] for row in [*document["results"], *document["fell_out"]]
    )


def test_the_funnel_is_live_while_the_job_runs(tmp_path: Path) -> None:
    with running_service(tmp_path, NamedWorkshop(delay_s=0.05)) as service:
        job = service.json("POST", PATH, json=body(12))
        funnels = []
        with service.http.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    funnels.append(json.loads(line.removeprefix("data: "))["funnel"]["proposed"])
        assert funnels == sorted(funnels)
        assert len(set(funnels)) > 3
        assert funnels[-1] == 12


def test_no_count_of_the_funnel_that_was_told_ever_falls(tmp_path: Path) -> None:
    with running_service(tmp_path, DesignWorkshop(designs(at_once=2))) as service:
        asked = body(8, sources="archetypes", method="random", enough=3)
        job = service.json("POST", PATH, json=asked)
        funnels = []
        with service.http.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    funnels.append(json.loads(line.removeprefix("data: "))["funnel"])
        for name in REACHED:
            counts = [funnel[name] for funnel in funnels]
            assert counts == sorted(counts), name
        assert funnels[-1] == service.json("GET", job["links"]["design"])["funnel"]
        assert funnels[-1]["passing"] >= 3


def test_only_a_design_has_come_to_something(service: RunningService) -> None:
    job = service.wait_for(service.submit(3)["id"])
    problem = service.problem(404, "GET", f"/v1/jobs/{job['id']}/design")
    assert problem["type"] == "/docs/problems#not-found"
    assert "design" not in job["links"]


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"type": None}, "/type", "valid string"),
        ({"candidates": 0}, "/candidates", "greater than or equal to 1"),
        ({"candidates": 257}, "/candidates", "less than or equal to 256"),
        ({"enough": 0}, "/enough", "greater than or equal to 1"),
        ({"budget": {"simulations": 0}}, "/budget/simulations", "greater than or equal to 10"),
        ({"budget": {"minutes": 0}}, "/budget/minutes", "greater than or equal to 0.1"),
        ({"sources": "books"}, "/sources", "'both', 'archetypes' or 'generated'"),
        ({"specification": {"bounds": ["gain_db"]}}, "/specification/bounds/0", "is no bound"),
        ({"netlist": "x"}, "/netlist", "unknown key 'netlist'"),
    ],
)
def test_a_wrong_field_is_named_by_its_pointer(
    service: RunningService, fields: dict[str, Any], pointer: str, words: str
) -> None:
    problem = service.problem(422, "POST", PATH, json={**body(4), **fields})
    assert problem["errors"][0]["pointer"] == pointer
    assert words in problem["errors"][0]["detail"]


def test_the_pages_of_a_design_show_its_funnel_and_why_candidates_fell_out(service: RunningService) -> None:
    job = service.wait_for(service.json("POST", PATH, json=body(12))["id"])
    rows = service.json("GET", f"/v1/jobs/{job['id']}/results")["candidates"]
    _, text = page_of(service, f"/jobs/{job['id']}")
    for words in (
        "design · opamp",
        "<h2>Candidates</h2>",
        f"<dt>conducting</dt><dd>{job['funnel']['conducting']}</dd>",
        "<dt>gain_db</dt><dd>&gt; 60 dB</dd>",
        "not conducting: no bias",
    ):
        assert words in text, words
    page, text = page_of(service, f"/jobs/{job['id']}/ranked")
    ranking = service.json("GET", job["links"]["design"])["results"]
    best = {f"/jobs/{job['id']}/circuits/{row['index']}": row["margins"][0]["margin"] for row in ranking}
    assert [each["href"] for each in page.all("a") if "/circuits/" in str(each["href"])] == list(best)
    assert all(f"+{margin:g} dB" in text for margin in best.values())
    passing = next(row["index"] for row in rows if row["status"] == "ok")
    fallen = next(row["index"] for row in rows if row["stage"] == "not_conducting")
    _, text = page_of(service, f"/jobs/{job['id']}/circuits/{passing}")
    assert "Margins" in text
    _, text = page_of(service, f"/jobs/{job['id']}/circuits/{fallen}")
    assert '<p class="notice warning">no bias was found at which it conducts</p>' in text
    assert "<dt>nearest: similarity</dt>" in text


def test_a_page_of_a_running_design_shows_what_is_sized_now_and_how_much_time_there_is(tmp_path: Path) -> None:
    class Busy(NamedWorkshop):
        async def produce(
            self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
        ) -> AsyncIterator[Row]:
            for index in indices:
                told = {"name": f"generated circuit {index}", "simulations": 12 * (index == 5)}
                yield unfinished_row(index, "7 proposed, 5 sized", reached="promising", **told)
            await asyncio.Event().wait()

    with running_service(tmp_path, Busy()) as service:
        job = service.json("POST", PATH, json=body(7, budget={"minutes": 2.5}))
        path = f"/jobs/{job['id']}/progress"
        while len(service.json("GET", f"/v1/jobs/{job['id']}")["unfinished"]) < 7:
            time.sleep(0.01)
        page, text = page_of(service, path)
        words = " ".join(text.split())
        for said in ("of at most 2.5 min", "and 2 more", "keeps every bound at every corner"):
            assert said in words, said
        assert words.index("generated circuit 5: promising, 12 simulations so far") < words.index(
            "generated circuit 0:"
        )
        assert "<dt>promising</dt><dd>7</dd>" in text
        assert "candidates/s" not in text
        assert "proposed, 5 sized" not in text
        buttons = [each.get("id") for each in page.all("button") + page.all("a")]
        assert buttons == ["cancel"]  # a name of its own keeps the focus while the part renews itself
        service.json("POST", f"/v1/jobs/{job['id']}/cancel")


def test_circuits_that_pass_are_shown_while_others_are_still_made(tmp_path: Path) -> None:
    with running_service(tmp_path, NamedWorkshop(delay_s=0.05)) as service:
        job = service.json("POST", PATH, json=body(40))
        page, _ = page_of(service, f"/jobs/{job['id']}/ranked")
        assert page.tags[0][1]["hx-get"] == f"/jobs/{job['id']}/ranked"
        service.json("POST", f"/v1/jobs/{job['id']}/cancel")
        service.wait_for(job["id"])
        page, _ = page_of(service, f"/jobs/{job['id']}/ranked")
        assert "hx-get" not in page.tags[0][1]


def test_only_a_design_has_a_ranking(service: RunningService) -> None:
    job = service.wait_for(service.submit(3)["id"])
    page_of(service, f"/jobs/{job['id']}/ranked", status=404)
    _, text = page_of(service, f"/jobs/{job['id']}")
    assert "Circuits that meet the specification" not in text
