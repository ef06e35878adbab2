"""The OpenAPI document, and a stranger (schemathesis) who tries everything it promises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from tests.running_service import NamedWorkshop, RunningService, running_service

#: A stable name for each operation: renaming one breaks generated clients.
OPERATIONS = {
    "generate_analog", "generate_quantum", "simulate_analog", "predict_analog", "size_analog", "design_analog",
    "validate_analog", "validate_quantum",
    "submit_job", "list_jobs", "get_job", "watch_job", "get_results", "get_design", "cancel_job", "delete_job",
    "list_models", "list_technologies", "list_testbenches", "list_sizing_methods", "list_validators", "list_families",
    "live", "ready", "metrics",
}  # fmt: skip


#: Bodies of calls that are answered with a job.
BODIES = {
    "size": {"netlist": "R1 VIN1 VOUT1 1k\n", "testbench": "opamp", "specification": {"bounds": ["gain_db>60"]}},
    "design": {"type": "opamp", "specification": {"bounds": ["gain_db>60"]}, "candidates": 9},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    # Rows take a moment, so that the million circuits a stranger may ask for do not keep the processor busy.
    workshop = NamedWorkshop(delay_s=0.002)
    with running_service(tmp_path_factory.mktemp("openapi"), workshop, inline_deadline_s=20) as running:
        for kind in ("analog.generate", "quantum.generate"):
            running.wait_for(running.submit(3, kind)["id"])
        for kind in ("analog.simulate", "analog.predict"):
            running.wait_for(running.simulate(3, kind)["id"])
        for name in ("size", "design"):
            running.wait_for(running.json("POST", f"/v1/analog/{name}", json=BODIES[name])["id"])
        yield running


@pytest.fixture(scope="module")
def document(service: RunningService) -> dict[str, Any]:
    found: dict[str, Any] = service.json("GET", "/openapi.json")
    return found


@pytest.fixture(scope="module")
def api(service: RunningService) -> OpenApiSchema:
    found = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    assert isinstance(found, OpenApiSchema)
    return found


def operations_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every operation."""
    for methods in document["paths"].values():
        yield from methods.values()


def test_operations_have_their_stable_names(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert {operation["operationId"] for operation in operations_of(document)} == OPERATIONS


def test_every_schema_has_an_example(document: dict[str, Any]) -> None:
    without = [name for name, schema in document["components"]["schemas"].items() if not schema.get("examples")]
    assert without == []


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for operation in operations_of(document):
        for status, response in operation["responses"].items():
            is_readiness = operation["operationId"] == "ready" and status == "503"
            if int(status) >= 400 and not is_readiness:
                assert list(response["content"]) == ["application/problem+json"], (operation["operationId"], status)
        assert {"403", "421", "500"} <= set(operation["responses"])
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r"#/components/schemas/([A-Za-z0-9_]+)", str(document)))
    assert names <= set(document["components"]["schemas"])


def test_the_examples_of_bodies_are_accepted(service: RunningService, document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        for example in content.get("examples", {}).values():
            service.json("POST", path, json=example["value"])
    for name, path in (("AnalogJob", "/v1/jobs"), ("QuantumJob", "/v1/jobs")):
        (example,) = document["components"]["schemas"][name]["examples"]
        example["request"]["count"] = 1
        service.json("POST", path, json=example)
    for name in ("SizingJob", "DesignJob"):
        (example,) = document["components"]["schemas"][name]["examples"]
        service.json("POST", "/v1/jobs", json=example)
    for name in ("SimulationJob", "PredictionJob"):
        (example,) = document["components"]["schemas"][name]["examples"]
        example["request"]["draw"]["count"] = 1
        service.json("POST", "/v1/jobs", json=example)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_stranger_finds_no_server_error_and_no_answer_that_is_not_documented(
    service: RunningService, api: OpenApiSchema, name: str
) -> None:
    operation = api.find_operation_by_id(name)
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    strategies = [operation.as_strategy(mode) for mode in modes]
    if "{job_id}" in operation.path:
        made = (
            service.json("POST", "/v1/analog/design", json=BODIES["design"])
            if name == "get_design"
            else service.submit(3)
        )
        job = service.wait_for(made["id"])
        strategies += [operation.as_strategy(mode, path_parameters={"job_id": job["id"]}) for mode in modes]
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
        unsupported_method,
    ]

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(strategies))
    def attempt(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(checks=checks)

    attempt()
    service.json("GET", "/livez")
