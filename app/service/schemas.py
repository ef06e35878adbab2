"""What the service answers, as OpenAPI shows it, and the body that submits a job.

Answers are built as plain values and are not passed through these models: a row costs what its JSON costs. The contract
tests hold the two together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.requests import AnalogGenerateRequest, QuantumGenerateRequest

JobStatus = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
RowStatus = Literal["ok", "invalid", "error"]

_FINDING = {
    "code": "floating_net",
    "severity": "error",
    "message": "net N4 is driven by nothing",
    "where": "net N4",
    "hint": "connect a drain or a source",
}
_ANALOG = {
    "index": 0,
    "status": "ok",
    "seed": 1,
    "model": "analog-small",
    "type": "opamp",
    "netlist": "M1 VOUT1 VIN1 VSS VSS nmos W=2u L=180n\nM2 VOUT1 VB1 VDD VDD pmos W=4u L=180n\n",
    "device_count": 2,
    "net_count": 5,
    "ports": ["VDD", "VSS", "VIN1", "VB1", "VOUT1"],
    "findings": [],
    "novelty": {"is_novel": True, "nearest_similarity": 0.62},
    "timings": {"generate_s": 0.04, "validate_s": 0.01},
}
_QUANTUM = {
    "index": 0,
    "status": "ok",
    "seed": 1,
    "model": "quantum-small",
    "family": "ghz",
    "qubits": 2,
    "gate_count": 2,
    "depth": 2,
    "format": "qasm2",
    "program": 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\nh q[0];\ncx q[0],q[1];\n',
    "findings": [],
    "novelty": {"is_novel": True, "nearest_similarity": 0.62},
    "timings": {"generate_s": 0.04, "validate_s": 0.01},
}
_JOB_ID = "01k0w3m6q8r5v2x7z9b4d1f6h3"
_COUNTS = {"total": 10_000, "done": 640, "ok": 601, "invalid": 38, "error": 1}
_JOB = {
    "id": _JOB_ID,
    "kind": "analog.generate",
    "status": "running",
    "counts": _COUNTS,
    "seed": 1,
    "created": "2026-11-22T12:00:00Z",
    "links": {
        "self": f"/v1/jobs/{_JOB_ID}",
        "events": f"/v1/jobs/{_JOB_ID}/events",
        "results": f"/v1/jobs/{_JOB_ID}/results",
        "cancel": f"/v1/jobs/{_JOB_ID}/cancel",
    },
}


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(extra="allow", json_schema_extra={"examples": [value]})


class Finding(BaseModel):
    """One statement about one place of a circuit."""

    code: str
    severity: Literal["error", "warning", "note"]
    message: str
    where: str | None = None
    hint: str | None = None

    model_config = _example(_FINDING)


class _Row(BaseModel):
    index: int
    status: RowStatus = Field(
        description="invalid: a validator found an error; error: it could not be made or checked."
    )
    seed: int
    model: str | None = None
    findings: list[Finding] = Field(default_factory=list)
    novelty: dict[str, Any] | None = None
    timings: dict[str, float] | None = None
    problem: dict[str, Any] | None = Field(None, description="With status error: what happened.")


class AnalogRow(_Row):
    """One analog circuit. `netlist` is flat SPICE; `deck`, where asked for, is the same made complete for `.op`."""

    type: str | None = None
    netlist: str | None = None
    device_count: int | None = None
    net_count: int | None = None
    ports: list[str] | None = None
    deck: str | None = None
    operating_point: dict[str, Any] | None = None

    model_config = _example(_ANALOG)


class QuantumRow(_Row):
    """One quantum program. `program` is OpenQASM text."""

    family: str | None = None
    qubits: int | None = None
    gate_count: int | None = None
    depth: int | None = None
    format: str | None = None
    program: str | None = None

    model_config = _example(_QUANTUM)


class AnalogCircuits(BaseModel):
    """What an inline analog call made, by index. The seed makes the same circuits again."""

    circuits: list[AnalogRow]
    seed: int
    model: str | None

    model_config = _example({"circuits": [_ANALOG], "seed": 1, "model": "analog-small"})


class QuantumCircuits(BaseModel):
    """What an inline quantum call made, by index. The seed makes the same programs again."""

    circuits: list[QuantumRow]
    seed: int
    model: str | None

    model_config = _example({"circuits": [_QUANTUM], "seed": 1, "model": "quantum-small"})


class Check(BaseModel):
    """What the validators say of a text."""

    status: RowStatus
    findings: list[Finding]
    facts: dict[str, Any]

    model_config = _example({"status": "invalid", "findings": [_FINDING], "facts": {"device_count": 2}})


class AnalogJob(BaseModel):
    """A job of analog circuits."""

    kind: Literal["analog.generate"]
    request: AnalogGenerateRequest

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [{"kind": "analog.generate", "request": {"type": "opamp", "count": 10_000, "seed": 1}}]
        },
    )


class QuantumJob(BaseModel):
    """A job of quantum programs."""

    kind: Literal["quantum.generate"]
    request: QuantumGenerateRequest

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [{"kind": "quantum.generate", "request": {"family": "ghz", "count": 10_000, "seed": 1}}]
        },
    )


#: The body of POST /v1/jobs.
JobSubmission = Annotated[AnalogJob | QuantumJob, Field(discriminator="kind")]


class JobCounts(BaseModel):
    """Circuits of a job: asked for, done, and of these how many are ok, invalid, or error rows."""

    total: int
    done: int
    ok: int
    invalid: int
    error: int

    model_config = _example(_COUNTS)


class Job(BaseModel):
    """A job of many circuits."""

    id: str
    kind: str
    status: JobStatus
    counts: JobCounts
    seed: int | None
    created: str = Field(description="RFC 3339, UTC.")
    links: dict[str, str]

    model_config = _example(_JOB)


class JobPage(BaseModel):
    """Jobs, newest first."""

    jobs: list[Job]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last.")

    model_config = _example({"jobs": [_JOB], "next_cursor": None})


class ResultPage(BaseModel):
    """Rows of a job that are done, by index."""

    circuits: list[AnalogRow | QuantumRow]
    next_cursor: str | None = Field(
        description="Give it as `cursor` for the next page; null when there are no more rows now."
    )

    model_config = _example({"circuits": [_ANALOG], "next_cursor": None})


class Models(BaseModel):
    """Models that can be named in a request."""

    models: list[dict[str, Any]]

    model_config = _example(
        {"models": [{"name": "analog-small", "kind": "analog", "is_default": True, "parameters": 3_100_000}]}
    )


class Technologies(BaseModel):
    """Technologies of the registry."""

    technologies: list[dict[str, Any]]

    model_config = _example({"technologies": [{"name": "generic180", "summary": "a predictive 180 nm CMOS card"}]})


class Validators(BaseModel):
    """Validators of the registry."""

    validators: list[dict[str, Any]]

    model_config = _example(
        {"validators": [{"name": "electrical_rules", "kind": "analog", "summary": "nets and pins"}]}
    )


class Families(BaseModel):
    """Circuit types and program families that a request may name."""

    analog: list[str]
    quantum: list[str]

    model_config = _example({"analog": ["opamp", "ldo"], "quantum": ["ghz", "qft"]})


class Live(BaseModel):
    """The process answers."""

    status: Literal["ok"]
    version: str

    model_config = _example({"status": "ok", "version": "0.1.0"})


class Ready(BaseModel):
    """Whether the service can do its work; `reasons` are sentences that say why not."""

    ready: bool
    reasons: list[str]
    engine: dict[str, Any]
    workers: dict[str, Any]

    model_config = _example(
        {"ready": True, "reasons": [], "engine": {"device": "cpu", "slots": 32}, "workers": {"ngspice": 2}}
    )
