"""The dashboard: its pages say what is true, work without JavaScript, and nothing of a circuit can become markup."""

from __future__ import annotations

import hashlib
import html
import itertools
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from app.requests import JobRequest
from app.service.forms import errors_by_field
from app.service.pages import STATIC
from app.service.problems import ProblemError
from app.simulations import describe_technology, describe_testbench
from app.technologies._base import technologies
from app.testbenches._base import testbenches
from app.workshop import Row, is_finished
from tests.running_service import NamedWorkshop, RunningService, running_service
from tests.sizing import MILLER, SizingWorkshop, sizings

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}</pre>"


def setting(name: str, default: float = 1e-12, of_supply: bool = False) -> dict[str, Any]:
    """A setting of a testbench, as described."""
    words = {"name": name, "unit": "V" if of_supply else name.rpartition("_")[2].upper(), "summary": f"what {name} is"}
    return {**words, "default": default, "low": 0.0, "high": 1.0, "of_supply": of_supply}


def bench(name: str, types: Sequence[str], *settings: dict[str, Any], metric: str = "gain_db") -> dict[str, Any]:
    """A testbench, as described."""
    metrics = [
        {"name": metric, "unit": "V/sqrt(Hz)", "definition": f"what {name} says of {metric}", "better": "higher"},
        {"name": "power_w", "unit": "W", "definition": "what it takes", "better": "lower"},
        {"name": "offset_v", "unit": "V", "definition": "what is off", "better": "target"},
    ]
    return {"name": name, "types": list(types), "settings": list(settings), "metrics": metrics}


class EquippedWorkshop(NamedWorkshop):
    """A workshop with technologies, testbenches and methods for its forms to offer."""

    def describe(self) -> Mapping[str, Any]:
        mode = setting("common_mode_v", 0.5, of_supply=True)
        return {
            **super().describe(),
            "technologies": [
                {"name": "generic180", "is_available": True, "supply_v": 1.8},
                {"name": "generic45", "is_available": True, "supply_v": 1.0},
                {"name": "missing", "is_available": False, "supply_v": 9.0},
            ],
            "testbenches": [
                bench("ldo", ["ldo"], setting("load_f", 1e-11), setting("load_a", 1e-4), metric="psrr_db"),
                bench("differential", ["opamp"], mode, setting("load_f"), setting("step_v"), metric="cmrr_db"),
                bench("opamp", ["opamp"], mode, setting("load_f", 2e-12)),
            ],
            "sizing_methods": [
                {"name": "insight-m", "summary": "inside the neural simulator"},
                {"name": "random", "summary": "draws around the start"},
            ],
        }


class HostileWorkshop(NamedWorkshop):
    """Rows, models and reports whose every text tries to become markup."""

    async def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        async for row in super().produce(kind, request, indices):
            row["status"] = ("ok", "invalid", "error")[row["index"] % 3]
            finding = {"code": HOSTILE, "severity": "error", "message": HOSTILE, "where": HOSTILE, "hint": HOSTILE}
            text = {"netlist": f"* {HOSTILE}\nR1 A VSS 1\n", "deck": HOSTILE, "type": HOSTILE}
            extra = {"findings": [finding, finding], "operating_point": {HOSTILE: HOSTILE}}
            if row["status"] == "error":
                yield {"index": row["index"], "status": "error", "seed": 0, "problem": {"detail": HOSTILE}}
            else:
                yield row | (text if kind == "analog.generate" else {"program": HOSTILE, "family": HOSTILE}) | extra

    def describe(self) -> Mapping[str, Any]:
        return {
            "models": [
                {
                    "name": HOSTILE,
                    "kind": HOSTILE,
                    "is_default": True,
                    "parameters": 3,
                    "language": HOSTILE,
                    "corpus": HOSTILE,
                }
            ],
            "families": {"analog": [HOSTILE], "quantum": [HOSTILE]},
            "technologies": [{"name": HOSTILE, "is_available": True, "supply_v": 1.8}],
            "testbenches": [bench(HOSTILE, [HOSTILE], setting(HOSTILE))],
            "sizing_methods": [{"name": HOSTILE, "summary": HOSTILE}],
        }

    def health(self) -> Mapping[str, Any]:
        report = {HOSTILE: HOSTILE, "nested": {"x": HOSTILE}}
        return {"ready": False, "reasons": [HOSTILE], "engine": report, "workers": report}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("dashboard")) as running:
        yield running


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("hostile"), HostileWorkshop()) as running:
        yield running


@pytest.fixture(scope="module")
def equipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("equipped"), EquippedWorkshop()) as running:
        yield running


class DescribedSizings(SizingWorkshop):
    """Sizes by formulas, and describes testbench and technology as the workshop of a machine does."""

    def describe(self) -> Mapping[str, Any]:
        benches = [describe_testbench(testbenches["opamp"])]
        return {
            **super().describe(),
            "testbenches": benches,
            "technologies": [describe_technology(technologies["generic180"])],
        }


@pytest.fixture(scope="module")
def sizing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("sizing"), DescribedSizings(sizings())) as running:
        yield running


class Page(HTMLParser):
    """The tags and attributes of a page; asserts that every tag is closed in order."""

    void = frozenset({"meta", "link", "img", "input", "br", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One more tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One more tag, closed at once."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """The last open tag is closed."""
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag or tag == "option"

    def all(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of every tag of this name."""
        return [attributes for tag, attributes in self.tags if tag == name]

    @property
    def fields(self) -> dict[str, dict[str, str | None]]:
        """The attributes of every field of a form by its name."""
        found = [each for tag in ("input", "select", "textarea") for each in self.all(tag)]
        return {str(each["name"]): each for each in found}

    def chosen(self, name: str) -> list[str | None]:
        """The choices of a selection that are chosen, by their value; of those that have one alone."""
        places = [
            at for at, (tag, attributes) in enumerate(self.tags) if tag == "select" and attributes["name"] == name
        ]
        following = (each for each in self.tags[places[0] + 1 :])
        own = itertools.takewhile(lambda each: each[0] in ("option", "optgroup"), following)
        return [attributes.get("value") for _, attributes in own if "selected" in attributes]


def page_of(service: RunningService, path: str, status: int = 200) -> tuple[Page, str]:
    """A page that is well-formed and asks nothing of another host."""
    answer = service.http.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Page(answer.text)
    for _, attributes in page.tags:
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "action", "hx-get"):
            assert re.match(r"[/?#]|$", attributes.get(name) or "/"), attributes
    return page, answer.text


def test_the_first_page_shows_the_service_its_models_its_jobs_and_a_form(service: RunningService) -> None:
    job = service.wait_for(service.submit(5, type="ldo")["id"])
    page, text = page_of(service, "/")
    assert "ready" in text
    assert "fake" in text
    assert f"/jobs/{job['id']}" in {each.get("href") for each in page.all("a")}
    assert {each.get("name") for each in page.all("input")} == {"kind", "count", "seed", "max_devices"}
    assert "opamp" in text
    page, _ = page_of(service, "/?kind=quantum.generate")
    assert page.fields.keys() == {
        "kind", "family", "count", "seed", "qubits", "max_gates", "coupling_map", "gate_set", "format", "dynamic",
        "verify",
    }  # fmt: skip
    page_of(service, "/?kind=nonsense")


def test_an_item_is_told_by_its_line_where_a_field_has_lines() -> None:
    errors = [
        ProblemError(detail="wrong", pointer=f"/request/{path}/1") for path in ("gate_set", "specification/bounds")
    ]
    found = errors_by_field(errors, {"gate_set", "specification.bounds"})
    assert found == {"gate_set": ["wrong"], "specification.bounds": ["line 2: wrong"]}


def test_a_quantum_form_says_gates_coupling_and_what_is_to_be_verified(service: RunningService) -> None:
    filled = {
        "kind": "quantum.generate", "count": "2", "qubits": "3", "gate_set": " rz, sx,cx ", "coupling_map": "line",
        "format": "qasm3", "dynamic": "true",
    }  # fmt: skip
    where = service.http.post("/jobs", data=filled, follow_redirects=False).headers["location"]
    asked = service.http.get(f"/v1{where}").json()["request"]
    assert (asked["gate_set"], asked["coupling_map"]) == (["rz", "sx", "cx"], "line")
    assert (asked["format"], asked["dynamic"]) == ("qasm3", True)
    answer = service.http.post("/jobs", data=filled | {"qubits": "9999"})
    assert answer.status_code == 422
    page = Page(answer.text)
    assert "checked" in page.fields["dynamic"]
    assert "checked" not in page.fields["verify"]
    assert page.fields["gate_set"]["value"] == "rz, sx,cx"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("analog.size", {"netlist", "testbench", "technology", "specification.bounds", "budget.simulations", "runs"}),
        ("analog.design", {"type", "technology", "specification.bounds", "budget.minutes", "candidates", "enough"}),
    ],
)
def test_sizings_and_designs_have_forms_of_their_own(equipped: RunningService, kind: str, names: set[str]) -> None:
    page, _ = page_of(equipped, f"/?kind={kind}")
    asked = {"corners", "objective", "supply_v", "settings.common_mode_v", "settings.load_f"}
    assert names | {"kind", "seed", "method"} | {f"specification.{name}" for name in asked} <= page.fields.keys()
    assert page.fields["kind"]["value"] == kind
    labelled = {each["for"] for each in page.all("label")}
    assert all(each["id"] in labelled for each in page.fields.values() if each.get("type") != "hidden")


def test_a_form_offers_the_settings_of_the_testbench_with_the_values_that_they_have_when_empty(
    equipped: RunningService,
) -> None:
    page, text = page_of(equipped, "/?kind=analog.size")
    shown = {name: each["placeholder"] for name, each in page.fields.items() if name.startswith("specification.s")}
    assert shown == {
        "specification.supply_v": "1.8",
        "specification.settings.common_mode_v": "0.9",
        "specification.settings.load_f": "2p",
    }
    for words in ("load_f (F)", "what load_f is; 0 F to 1 F", "0 to 1 of the supply", "inside the neural simulator"):
        assert words in text, words


def part_of(service: RunningService, **fields: str) -> tuple[Page, str]:
    """The part of a form that follows what was chosen."""
    answer = service.http.post("/parts/conditions", data=fields)
    assert answer.status_code == 200
    return Page(answer.text), answer.text


def test_what_a_form_offers_follows_what_is_chosen_and_keeps_what_is_filled_in(equipped: RunningService) -> None:
    filled = {
        "kind": "analog.size",
        "testbench": "ldo",
        "technology": "generic45",
        "method": "random",
        "specification.settings.load_f": "5p",
        "specification.objective": "minimize:power_w",
        "specification.corners": "nominal",
    }
    page, text = part_of(equipped, **filled)
    assert page.tags[0][1]["id"] == "conditions"
    assert page.fields["specification.settings.load_f"]["value"] == "5p"
    assert page.fields["specification.settings.load_a"]["placeholder"] == "0.1m"
    assert page.fields["specification.supply_v"]["placeholder"] == "1"
    assert "specification.settings.common_mode_v" not in page.fields
    assert page.chosen("specification.objective") == ["minimize:power_w"]
    assert page.chosen("specification.corners") == ["nominal"]
    assert "draws around the start" in text
    assert "what ldo says of psrr_db" in text
    page, _ = part_of(equipped, **filled | {"testbench": "opamp", "specification.supply_v": "1.5 V"})
    assert page.fields["specification.settings.common_mode_v"]["placeholder"] == "0.75"


def test_a_design_whose_testbench_is_open_is_offered_the_settings_of_all_that_measure_its_type(
    equipped: RunningService,
) -> None:
    page, text = part_of(equipped, kind="analog.design", type="opamp", testbench="ldo")
    assert [name for name in page.fields if name.startswith("specification.settings")] == [
        "specification.settings.common_mode_v", "specification.settings.load_f",
    ]  # fmt: skip
    assert page.fields["specification.settings.load_f"]["placeholder"] == "the testbench's"
    assert "what opamp says of gain_db" in text
    assert "what differential says of cmrr_db" in text
    page, text = part_of(equipped, kind="analog.design", type="opamp", testbench="differential")
    assert "specification.settings.step_v" in page.fields
    assert "what opamp says of gain_db" not in text


def test_without_scripts_a_button_shows_what_fits_the_choices(equipped: RunningService) -> None:
    filled = {"kind": "analog.size", "testbench": "ldo", "netlist": "M1 A B", "runs": "7"}
    page, _ = page_of(equipped, "/?kind=analog.size")
    assert {each.get("formaction") for each in page.all("button")} == {None, "/form"}
    answer = equipped.http.post("/form", data=filled)
    assert answer.status_code == 200
    page = Page(answer.text)
    assert page.fields["runs"]["value"] == "7"
    assert "specification.settings.load_a" in page.fields
    assert ">M1 A B</textarea>" in answer.text


def test_only_forms_with_a_specification_have_conditions(equipped: RunningService) -> None:
    assert equipped.http.post("/parts/conditions", data={"kind": "analog.generate"}).status_code == 404


def test_a_form_of_a_sizing_is_a_job_with_its_bounds_line_by_line(service: RunningService) -> None:
    form = {
        "kind": "analog.size",
        "netlist": "M1 A B\r\nM2 C D",
        "testbench": "opamp",
        "specification.bounds": "gain_db>60\r\n\r\n ugf_hz > 10meg \r\n",
        "specification.objective": "minimize:power_w",
        "specification.corners": "nominal",
        "specification.supply_v": "1.5",
        "specification.settings.load_f": "2 pF",
        "specification.settings.step_v": "",
        "method": "random",
        "budget.simulations": "50",
        "budget.minutes": "0.5",
        "runs": "2",
        "seed": "",
    }
    answer = service.http.post("/jobs", data=form)
    assert answer.status_code == 303, answer.text
    asked = service.json("GET", "/v1" + answer.headers["location"])["request"]
    assert asked["netlist"] == "M1 A B\nM2 C D"
    assert asked["specification"]["bounds"] == [{"metric": "gain_db", "low": 60.0}, {"metric": "ugf_hz", "low": 1e7}]
    assert asked["specification"]["objective"] == {"minimize": "power_w"}
    assert asked["specification"]["corners"] == "nominal"
    assert asked["specification"]["supply_v"] == 1.5
    assert asked["specification"]["settings"] == {"load_f": 2e-12}
    assert asked["method"] == "random"
    assert asked["budget"] == {"simulations": 50, "minutes": 0.5}
    assert asked["runs"] == 2


def test_a_form_of_a_design_is_a_job(service: RunningService) -> None:
    form = {"kind": "analog.design", "type": "opamp", "specification.bounds": "gain_db>60", "candidates": "4"}
    answer = service.http.post("/jobs", data=form)
    assert answer.status_code == 303, answer.text
    job = service.json("GET", "/v1" + answer.headers["location"])
    assert (job["kind"], job["counts"]["total"]) == ("analog.design", 4)


def test_a_running_job_renews_itself_and_a_finished_one_does_not(tmp_path: Path) -> None:
    with running_service(tmp_path, NamedWorkshop(delay_s=0.02)) as service:
        job_id = service.submit(400)["id"]
        service.wait_for(job_id, ("running",), done=10)
        page, text = page_of(service, f"/jobs/{job_id}")
        polled = {each["hx-get"] for _, each in page.tags if "hx-get" in each}
        assert f"/jobs/{job_id}/progress" in polled
        assert "running" in text
        assert "http-equiv" in text
        for address in polled:
            part, _ = page_of(service, str(address))
            assert part.tags[0][1]["id"] in ("progress", "circuits")
        assert service.http.post(f"/jobs/{job_id}/cancel").headers["location"] == f"/jobs/{job_id}"
        service.wait_for(job_id)
        page, text = page_of(service, f"/jobs/{job_id}")
        assert not any("hx-get" in each for _, each in page.tags)
        assert "cancelled" in text


def test_the_parts_of_the_first_page_renew_themselves(service: RunningService) -> None:
    for path, own in (("/parts/state", "state"), ("/parts/recent", "recent")):
        page, _ = page_of(service, path)
        assert page.tags[0][1]["id"] == own
        assert page.tags[0][1]["hx-get"] == path


def test_a_form_submits_a_job_and_leads_to_it(service: RunningService) -> None:
    form = {"kind": "analog.generate", "type": "opamp", "count": "3", "seed": " 9 ", "max_devices": ""}
    answer = service.http.post("/jobs", data=form)
    assert answer.status_code == 303
    job = service.json("GET", "/v1" + answer.headers["location"])
    assert job["request"]["type"] == "opamp"
    assert (job["seed"], job["counts"]["total"]) == (9, 3)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"kind": "analog.generate", "count": "0"}, "count: Input should be greater than or equal to 1"),
        ({"kind": "analog.generate", "count": "many"}, "count: Input should be a valid integer"),
        ({"kind": "analog.generate", "count": "1", "type": "opmap"}, "did you mean &#39;opamp&#39;"),
        ({"kind": "quantum.generate", "count": "1", "qubits": "9999"}, "qubits: Input should be less than"),
        ({"kind": "other", "count": "1"}, "kind: "),
        (
            {"kind": "analog.design", "type": "opamp", "specification.bounds": "a>1\ngain"},
            "bounds: line 2: &#39;gain&#39; is no bound",
        ),
        (
            {
                "kind": "analog.design",
                "type": "opamp",
                "specification.bounds": "a>1",
                "specification.objective": "less",
            },
            "objective: Input should be &#39;minimize&#39; or &#39;maximize&#39;",
        ),
        ({"kind": "analog.size", "specification": "x", "specification.bounds": "a>1"}, "netlist: Field required"),
        ({"kind": "analog.size", "budget": "x", "netlist": "x"}, "budget: Input should be a valid dictionary"),
        ({"count": "1", "x": "<b>"}, "kind: "),
        ({}, "kind: "),
    ],
)
def test_a_form_that_cannot_be_a_job_comes_back_with_what_is_wrong(
    service: RunningService, form: dict[str, str], words: str
) -> None:
    answer = service.http.post("/jobs", data=form)
    assert answer.status_code == 422
    assert words in answer.text
    assert "<b>" not in answer.text
    Page(answer.text)


@pytest.mark.parametrize(
    ("fields", "name", "words"),
    [
        ({"specification.bounds": "gain_db>60\n\nx"}, "specification.bounds", "line 2: 'x' is no bound"),
        ({"specification.bounds": ""}, "specification.bounds", "Field required"),
        ({"specification.bounds": "gian_db>60"}, "specification.bounds", "did you mean 'gain_db'"),
        ({"specification.settings.load_f": "much"}, "specification.settings.load_f", "should be a valid number"),
        ({"specification.settings.load_f": "5"}, "specification.settings.load_f", "testbench opamp takes 0 to 1e-06 F"),
        ({"specification.supply_v": "5"}, "specification.supply_v", "supply is 5 V"),
        ({"specification.settings.load": "1p"}, "specification.settings", "did you mean 'load_f'"),
        ({"netlist": "M1 A B"}, "netlist", "line 1"),
        ({"method": "guess"}, "method", "no sizing method named 'guess'"),
        ({"budget.simulations": "3"}, "budget.simulations", "greater than or equal to 10"),
        ({"runs": "0"}, "runs", "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_with_a_sizing_is_told_at_its_field_and_what_was_filled_in_stays(
    sizing: RunningService, fields: dict[str, str], name: str, words: str
) -> None:
    filled = {
        "kind": "analog.size",
        "netlist": MILLER,
        "testbench": "opamp",
        "technology": "generic180",
        "specification.bounds": "gain_db>60",
        "specification.objective": "maximize:gain_db",
        "specification.settings.load_f": "3p",
        "specification.supply_v": "1.7",
        "method": "random",
        "budget.simulations": "77",
        "runs": "2",
        **fields,
    }
    answer = sizing.http.post("/jobs", data=filled)
    assert answer.status_code == 422, answer.text
    page = Page(answer.text)
    told = {each["id"] for each in page.all("p") if each.get("class") == "wrong"}
    assert told == {f"wrong-{name}"}
    assert words in html.unescape(answer.text.partition(f'id="wrong-{name}">')[2].partition("</p>")[0])
    for each, attributes in page.fields.items():
        assert (attributes.get("aria-invalid") == "true") is (each == name)
        assert (f"wrong-{name}" in (attributes.get("aria-describedby") or "")) is (each == name)
        if "value" in attributes:
            assert attributes["value"] == filled.get(each, "10" if each == "budget.minutes" else ""), each
    assert page.fields.get(name, {}).get("autofocus", "none") == (None if name in page.fields else "none")
    assert page.chosen("specification.objective") == ["maximize:gain_db"]
    assert '<details class="both" open>' in answer.text


def test_a_form_that_no_browser_sends_is_refused(service: RunningService) -> None:
    assert service.http.post("/jobs", content=b"a=\xff\xfe").status_code == 422
    answer = service.http.post("/jobs", content="&".join(f"f{n}=1" for n in range(1000)))
    assert answer.status_code == 422
    assert "load the page anew" in answer.text
    assert service.http.post("/jobs", content=b"x" * 3_000_000).status_code == 413


def test_circuits_of_a_job_are_listed_by_status_in_pages(service: RunningService) -> None:
    job = service.wait_for(service.submit(60)["id"])
    page, _ = page_of(service, f"/jobs/{job['id']}")
    links = [each["href"] for each in page.all("a") if f"/jobs/{job['id']}/circuits/" in str(each.get("href"))]
    assert links == [f"/jobs/{job['id']}/circuits/{index}" for index in range(25)]
    _, text = page_of(service, f"/jobs/{job['id']}?after=49&status=invalid")
    assert text.count('class="pill invalid"') <= 10
    page_of(service, f"/jobs/{job['id']}/circuits?after=24")
    page_of(service, "/jobs")


def test_a_circuit_is_shown_with_its_text_and_can_be_fetched(service: RunningService) -> None:
    for kind, key, ending in (("analog.generate", "netlist", "cir"), ("quantum.generate", "program", "qasm")):
        job = service.wait_for(service.submit(2, kind)["id"])
        row = service.json("GET", f"/v1/jobs/{job['id']}/results")["circuits"][1]
        own = f"/jobs/{job['id']}/circuits/1"
        page_of(service, own)
        answer = service.http.get(f"{own}/{key}")
        assert answer.text == row[key]
        assert answer.headers["content-disposition"] == f'attachment; filename="{job["id"]}-1.{ending}"'
        assert answer.headers["content-type"].startswith("text/plain")
        assert service.http.get(f"{own}/json").json() == row


@pytest.mark.parametrize(
    "path",
    ["/jobs/unknown", "/jobs/unknown/progress", "/jobs/{id}/circuits/99", "/jobs/{id}/circuits/-1",
     "/jobs/{id}/circuits/99999999999999999999", "/jobs/{id}/circuits/0/secret", "/jobs/{id}/circuits/0/findings"],
)  # fmt: skip
def test_what_is_not_there_is_a_page_that_says_so(service: RunningService, path: str) -> None:
    job = service.wait_for(service.submit(1)["id"])
    _, text = page_of(service, path.format(id=job["id"]), status=404)
    assert "There is no such resource" in text


def test_a_sized_circuit_is_shown_with_the_units_of_its_testbench_and_of_its_sizes(tmp_path: Path) -> None:
    class Sized(EquippedWorkshop):
        async def produce(
            self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
        ) -> AsyncIterator[Row]:
            async for row in super().produce(kind, request, indices):
                if is_finished(row):
                    row["metrics"] = {"tt": {"gain_db": 2e-9, "area_m2": 2e-11, "offset_v": None, "power_w": 3e-5}}
                    row["sizes"] = {"w_m1": 3.3e-6, "m_m1": 2, "ib1_a": 1e-5, "c1_f": 2e-12}
                    row["model"] = {"rows": 9, "errors": {"gain_db": {"first": 0.5, "last": 0.25}}}
                    row["seed"] = 1234567
                yield row

    with running_service(tmp_path, Sized()) as service:
        form = {"kind": "analog.size", "netlist": "M1 A B", "testbench": "opamp", "specification.bounds": "gain_db>60"}
        path = service.http.post("/jobs", data=form).headers["location"]
        service.wait_for(path.removeprefix("/jobs/"))
        _, text = page_of(service, f"{path}/circuits/0")
        cells = re.findall(r'<td class="mono nowrap">(\w+)</td><td class="number nowrap">([^<]*)</td>', text)
        facts = dict(re.findall(r"<dt[^>]*>([^<]*)</dt><dd>([^<]*)</dd>", html.unescape(text)))
    assert cells == [("gain_db", "2 nV/sqrt(Hz)"), ("area_m2", "20 um^2"), ("offset_v", "-"), ("power_w", "30 uW")]
    assert [facts[name] for name in ("w_m1", "m_m1", "ib1_a", "c1_f")] == ["3.3 um", "2", "10 uA", "2 pF"]
    assert facts["seed"] == "1234567"
    assert facts["model's error of gain_db, first and last"] == "0.5, 0.25"


def test_a_finished_job_can_be_deleted_from_its_page(service: RunningService) -> None:
    job = service.wait_for(service.submit(1)["id"])
    assert service.http.post(f"/jobs/{job['id']}/delete").headers["location"] == "/jobs"
    page_of(service, f"/jobs/{job['id']}", status=404)
    assert service.http.post(f"/jobs/{job['id']}/cancel").status_code == 404


@pytest.mark.parametrize("kind", ["analog.generate", "quantum.generate"])
def test_nothing_that_a_circuit_or_a_report_holds_becomes_markup(hostile: RunningService, kind: str) -> None:
    job = hostile.wait_for(hostile.submit(3, kind)["id"])
    for path in ("/", f"/?kind={kind}", "/?kind=analog.size", "/?kind=analog.design", "/parts/state", "/jobs",
                 f"/jobs/{job['id']}", f"/jobs/{job['id']}/circuits",
                 *(f"/jobs/{job['id']}/circuits/{index}" for index in range(3))):  # fmt: skip
        page, text = page_of(hostile, path)
        assert "<script>" not in text
        assert "onerror=alert(2)>" not in text.replace("onerror=alert(2)&gt;", "")
        assert ">49<" not in text
        assert all(str(each.get("src", "")).startswith("/static/") for each in page.all("img") + page.all("script"))
    for address in ("/form", "/parts/conditions", "/jobs"):
        fields = dict.fromkeys(
            ("type", "testbench", "specification.bounds", f"specification.settings.{HOSTILE}"), HOSTILE
        )
        text = hostile.http.post(address, data={"kind": "analog.design", HOSTILE: HOSTILE, **fields}).text
        Page(text)
        assert HOSTILE[:30] not in text
        assert html.escape(HOSTILE, quote=False)[:30] in text
    download = hostile.http.get(f"/jobs/{job['id']}/circuits/0/{'netlist' if kind[0] == 'a' else 'program'}")
    assert HOSTILE in download.text
    assert download.headers["content-type"].startswith("text/plain")
    assert download.headers["x-content-type-options"] == "nosniff"


def test_the_documentation_page_needs_no_other_host(service: RunningService) -> None:
    page, _ = page_of(service, "/docs")
    for attributes in page.all("script") + page.all("link"):
        address = attributes.get("src") or attributes.get("href")
        assert service.http.get(str(address)).status_code == 200
    policy = service.http.get("/docs").headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "style-src 'self' 'unsafe-inline'" in policy


def test_static_files_are_those_of_the_packages_they_are_said_to_be_from() -> None:
    lock = json.loads((STATIC / "VENDORED.json").read_text())
    files = {entry["path"]: entry["sha256"] for package in lock["packages"] for entry in package["files"]}
    for path, digest in files.items():
        assert hashlib.sha256((STATIC / path).read_bytes()).hexdigest() == digest
    assert {str(path.relative_to(STATIC)) for path in STATIC.rglob("*.min.js")} <= set(files)
    assert (STATIC / "htmx.LICENSE").is_file()
    assert (STATIC / "swagger" / "LICENSE").is_file()


def test_browsers_may_keep_static_files_and_nothing_else(service: RunningService) -> None:
    page, _ = page_of(service, "/")
    for attributes in page.all("link") + page.all("script"):
        address = str(attributes.get("href") or attributes.get("src"))
        assert "?v=" in address
        assert "max-age" in service.http.get(address).headers["cache-control"]
    assert service.http.get("/").headers["cache-control"] == "no-store"
    assert service.http.get("/static/x").headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/%2e%2e%2fapp.py", "/static/x"])
def test_static_files_are_the_only_files_that_are_served(service: RunningService, path: str) -> None:
    assert service.http.get(path).status_code == 404
