"""What the service answers, as OpenAPI shows it, and the body that submits a job.

Answers are built as plain values and are not passed through these models: a row costs what its JSON costs. The contract
tests hold the two together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.requests import (
    AnalogDesignRequest,
    AnalogGenerateRequest,
    AnalogPredictRequest,
    AnalogSimulateRequest,
    AnalogSizeRequest,
    QuantumGenerateRequest,
)
from app.workshop import Outcome

JobStatus = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
SimulationStatus = Literal["ok", "not_converged", "simulator_gave_up", "timeout", "error"]

#: A small amplifier for examples.
PAIR = (
    "M1 N1 VIN1 N2 VSS nmos\nM2 VOUT1 VIN2 N2 VSS nmos\nM3 N1 N1 VDD VDD pmos\nM4 VOUT1 N1 VDD VDD pmos\n"
    "M5 N2 IB1 VSS VSS nmos\nM6 IB1 IB1 VSS VSS nmos\n"
)

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
    "masked_nats": 0.41,
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
    "masked_nats": 0.41,
    "timings": {"generate_s": 0.04, "validate_s": 0.01},
}
_SIZING = {
    "index": 0,
    "status": "ok",
    "sizes": {"w_m1": 5e-6, "l_m1": 5e-7, "ib1_a": 1e-5},
    "metrics": {"gain_db": 38.4, "ugf_hz": 9.1e6, "settling_time_s": None},
    "undefined": {
        "settling_time_s": {"cause": "circuit", "reason": "the output does not stay within 1.0% of the step"}
    },
    "relaxed": False,
    "timings": {"simulate_s": 0.012},
}
_VARIABLE = {"name": "w_m1", "unit": "m", "low": 2.2e-7, "high": 2e-4, "start": 5e-6}
_SIMULATION = {
    "rows": [_SIZING],
    "testbench": "opamp",
    "testbench_version": 1,
    "technology": "generic180",
    "card_hash": "e8af64fac631a8f2",
    "corner": {"process": "ss", "supply_v": 1.8, "celsius": 27.0},
    "settings": {"common_mode_v": 0.9, "load_f": 1e-12, "step_v": 0.36},
    "ports": {"positive_input": "VIN2", "negative_input": "VIN1", "output": "VOUT1"},
    "metrics": [{"name": "gain_db", "unit": "dB"}],
    "sizes": [_VARIABLE],
    "seed": 1,
}
_PREDICTED = {"value": 38.4, "low": 37.1, "high": 39.6, "defined": 0.998, "known": False}
_NEAR = {
    "topology": "5b0e7b6a3f21c9d4",
    "testbench": "opamp",
    "technology": "generic180",
    "process": "tt",
    "supply_v": 1.8,
    "celsius": 27.0,
    "sizes": _SIZING["sizes"],
    "metrics": {"gain_db": 38.1},
    "distance": 0.04,
}
_PREDICTION = {
    "index": 0,
    "status": "ok",
    "sizes": _SIZING["sizes"],
    "metrics": {"gain_db": _PREDICTED},
    "out_of_distribution": False,
    "distance": 0.31,
    "reasons": [],
    "nearest": [_NEAR],
    "timings": {"predict_s": 3e-5, "physics_s": 8e-4},
}
_PREDICTIONS = {
    **_SIMULATION,
    "rows": [_PREDICTION],
    "model": "simulator",
    "level": 0.9,
    "topology_known": True,
    "physics": True,
}
_NOMINAL = "tt,1.8V,27C"
_LIMIT = {
    "bound": "gain_db>60",
    "metric": "gain_db",
    "worst": 52.3,
    "corner": "ss,1.62V,125C",
    "margin": -7.7,
    "is_met": False,
}
_SIZED = {
    "index": 0,
    "status": "invalid",
    "binding": "gain_db>60: gain_db is 52.3 dB at ss,1.62V,125C, 7.7 dB short",
    "seed": 3,
    "method": "insight-m",
    "sizes": _SIZING["sizes"],
    "netlist": "M1 VOUT1 VIN1 VSS VSS nmos W=5u L=500n\nR1 VDD VOUT1 10k\n",
    "metrics": {_NOMINAL: {"gain_db": 58.4, "ugf_hz": 9.1e6}, "ss,1.62V,125C": {"gain_db": 52.3, "ugf_hz": 7.2e6}},
    "undefined": {},
    "margins": [_LIMIT],
    "simulations": 200,
    "offline_simulations": 31_000,
    "met_after": None,
    "trials": 171,
    "wall_s": 41.2,
    "cpu_s": {"simulator": 3.1, "own": 35.0},
    "trace": [{"simulations": 4, "score": -0.9, "best": -0.9}],
    "model": {"rows": 160, "errors": {"gain_db": {"first": 0.9, "last": 0.2, "last_unadapted": 0.8}}},
    "stored_rows": 171,
}
_DESIGNED = {
    **_SIZED,
    "status": "ok",
    "binding": None,
    "origin": "generated",
    "name": None,
    "type": "opamp",
    "model": "analog-small",
    "reached": "passing",
    "stage": None,
    "why": None,
    "device_count": 9,
    "nearest": {"name": "opamp/two_stage_miller", "similarity": 0.81},
    "novelty": {"is_novel": True, "nearest_similarity": 0.83},
    "least_margin": 0.21,
    "elapsed_s": 57.0,
}
_FUNNEL = {"proposed": 48, "legal": 31, "conducting": 22, "promising": 12, "sized": 5, "passing": 3}
_METHOD = {
    "name": "insight-m",
    "summary": "model-based batch reinforcement learning inside the neural simulator",
    "reference": "poddar2024insight",
    "uses_model": True,
    "is_default": True,
}
_UNFINISHED = {
    "index": 0,
    "status": "running",
    "progress": {"note": "40 of 200 simulations, the best misses gain_db>60", "simulations": 40, "score": -0.4},
}
_METRIC = {
    "name": "gain_db",
    "unit": "dB",
    "definition": "differential gain at the lowest frequency of the sweep",
    "undefined": "the operating point does not converge",
    "better": "higher",
    "runs": ["op", "differential"],
}
_TESTBENCH = {
    "name": "opamp",
    "version": 1,
    "summary": "single-ended operational amplifiers, open loop and as a unity-gain buffer",
    "types": ["opamp"],
    "roles": [{"name": "output", "ports": ["VOUT1"], "summary": "the output", "is_required": True}],
    "settings": [
        {
            "name": "load_f",
            "unit": "F",
            "summary": "load capacitance",
            "default": 1e-12,
            "low": 0.0,
            "high": 1e-6,
            "of_supply": False,
        }
    ],
    "metrics": [_METRIC],
    "works": [{"metric": "gain_db", "low": 20.0, "high": None}],
}
_TECHNOLOGY = {
    "name": "generic180",
    "summary": "a predictive 180 nm CMOS card at 1.8 V",
    "is_default": True,
    "is_available": True,
    "supply_v": 1.8,
    "celsius": 27.0,
    "processes": ["tt", "ss", "ff", "sf", "fs"],
    "limits": {"nmos": {"width_m": [2.2e-7, 2e-4], "length_m": [1.8e-7, 1e-5]}},
    "borrowed": [],
    "licence": "Apache-2.0",
    "source": "this project",
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
    "unfinished": [],
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
    line: int | None = Field(None, description="Of the text that was sent, from 1.")
    column: int | None = Field(None, description="Of that line, from 1.")

    model_config = _example(_FINDING)


class _Row(BaseModel):
    index: int
    status: Outcome | Literal["rejected"] = Field(
        description="invalid: a validator found an error; rejected: no draw could be verified; error: it could not be "
        "made or checked.",
    )
    seed: int
    model: str | None = None
    findings: list[Finding] = Field(default_factory=list)
    novelty: dict[str, Any] | None = None
    masked_nats: float | None = Field(
        None,
        description="-log of the mass that the network had on what the grammar allows, summed over its tokens, those "
        "of a prefix left out.",
    )
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
    conduction: dict[str, Any] | None = Field(None, description="With checks from conduction up: the best bias found.")
    function: dict[str, Any] | None = Field(None, description="With checks function: what some sizing does.")

    model_config = _example(_ANALOG)


class QuantumRow(_Row):
    """One quantum program. `program` is OpenQASM text."""

    family: str | None = None
    qubits: int | None = None
    gate_count: int | None = None
    depth: int | None = None
    format: str | None = None
    program: str | None = None
    transpiled: dict[str, Any] | None = Field(
        None,
        description="With transpile: `{target, qubits, optimization_level, depth, two_qubit_count, gate_count}`, or a "
        "sentence under `problem` in place of the counts.",
    )
    draws: int | None = Field(None, description="With verify: programs that were drawn for this row.")
    verification: dict[str, Any] | None = Field(
        None,
        description="With verify: `{family, passes, reason, method}`; method is statevector, stabilizers, or none "
        "where the program is outside of what is simulated.",
    )

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


class Cause(BaseModel):
    """Why a metric has no value. `cause` says who is to blame; `not_run`: it was not asked for."""

    cause: Literal["circuit", "simulator", "not_run"]
    reason: str

    model_config = _example({"cause": "circuit", "reason": "the gain never crosses 0 dB"})


class SimulationRow(BaseModel):
    """One sizing. In a job's counts, `not_converged`, `simulator_gave_up` and `timeout` count as invalid."""

    index: int
    status: SimulationStatus = Field(
        description="not_converged: the simulator found no solution for some run; simulator_gave_up: it stopped; "
        "timeout: it was stopped; error: the row could not be made."
    )
    sizes: dict[str, float] = Field(default_factory=dict, description="SI units; every variable.")
    metrics: dict[str, float | None] = Field(default_factory=dict, description="SI units; null where undefined.")
    undefined: dict[str, Cause] = Field(default_factory=dict, description="A reason for every null.")
    relaxed: bool | None = Field(None, description="Some run only converged with relaxed tolerances.")
    message: str | None = Field(None, description="With a status other than ok: what happened.")
    timings: dict[str, float] | None = None
    decks: dict[str, str] | None = Field(None, description="By setup; `ngspice -b` runs each as written.")
    operating_point: dict[str, dict[str, float | None]] | None = Field(None, description="By transistor.")
    problem: dict[str, Any] | None = Field(None, description="With status error: what happened.")

    model_config = _example(_SIZING)


class SimulatedCorner(BaseModel):
    """Process, supply and temperature of a simulation."""

    process: str
    supply_v: float
    celsius: float

    model_config = _example({"process": "ss", "supply_v": 1.62, "celsius": 125.0})


class Variable(BaseModel):
    """A size or bias value that a sizing may choose, in SI units; `start` is what an absent one has."""

    name: str
    unit: str
    low: float
    high: float
    start: float

    model_config = _example(_VARIABLE)


class _Benched(BaseModel):
    testbench: str
    testbench_version: int
    technology: str
    card_hash: str = Field(description="Of the device models: the same hash, the same digits.")
    corner: SimulatedCorner
    settings: dict[str, float]
    ports: dict[str, str] = Field(description="Role -> port.")
    metrics: list[dict[str, str]]
    sizes: list[Variable]
    seed: int


class Simulation(_Benched):
    """What an inline simulation answers: rows by index, and what they have in common."""

    rows: list[SimulationRow]

    model_config = _example(_SIMULATION)


class PredictedMetric(BaseModel):
    """What is predicted of a metric, in SI units. An end of an interval is null where it is open."""

    value: float | None = Field(description="null where the metric likely has none.")
    low: float | None
    high: float | None
    defined: float = Field(description="Probability that the metric has a value.")
    known: bool = Field(description="The caller said so.")

    model_config = _example(_PREDICTED)


class NearRow(BaseModel):
    """A simulated sizing that the model learnt from, or could have. `distance` is in decades of a size."""

    topology: str
    testbench: str
    technology: str
    process: str
    supply_v: float
    celsius: float
    sizes: dict[str, float]
    metrics: dict[str, float | None]
    distance: float

    model_config = _example(_NEAR)


class PredictionRow(BaseModel):
    """One sizing. `reasons` say in what it is unlike all that the model learnt from; then it is out of distribution."""

    index: int
    status: Literal["ok", "error"]
    sizes: dict[str, float] = Field(default_factory=dict, description="SI units; every variable.")
    metrics: dict[str, PredictedMetric] = Field(default_factory=dict)
    out_of_distribution: bool = False
    distance: float | None = Field(None, description="From what the model learnt from; above 1 is unlike it.")
    reasons: list[str] = Field(default_factory=list)
    nearest: list[NearRow] = Field(default_factory=list, description="Simulated sizings, the nearest first.")
    timings: dict[str, float] | None = None
    problem: dict[str, Any] | None = Field(None, description="With status error: what happened.")

    model_config = _example(_PREDICTION)


class Adaptation(BaseModel):
    """What predictions follow beside the model."""

    rows: int = Field(description="Simulations of the circuit on this installation.")

    model_config = _example({"rows": 24})


class Predictions(_Benched):
    """What an inline prediction answers: rows by index, and what they have in common."""

    rows: list[PredictionRow]
    model: str
    level: float = Field(description="Share of the truths that the intervals hold.")
    topology_known: bool = Field(description="Whether the model learnt from simulations of this circuit.")
    physics: bool = Field(description="Whether the table simulator was asked first.")
    physics_note: str | None = Field(None, description="Why it was not, though it should have been.")
    adaptation: Adaptation | None = Field(None, description="Absent where nothing was simulated of the circuit here.")

    model_config = _example(_PREDICTIONS)


class Margin(BaseModel):
    """How one side of a bound is kept. `margin` is in the metric's own unit, negative where the bound is not met."""

    bound: str
    metric: str
    worst: float | None = Field(description="Over all corners; null where a corner has none.")
    corner: str = Field(description="Where that is.")
    margin: float | None
    is_met: bool

    model_config = _example(_LIMIT)


class SizedRow(BaseModel):
    """One run: the best sizing that it found, simulated at every corner. Corners are keys such as `ss,1.62V,125C`."""

    index: int
    status: Outcome = Field(
        description="ok: every bound is met at every corner; invalid: `binding` says which one holds it back; error: "
        "the run could not be made."
    )
    seed: int | None = None
    method: str | None = None
    binding: str | None = Field(None, description="The bound that is missed by most, and by how much.")
    sizes: dict[str, float] = Field(default_factory=dict, description="SI units; every variable.")
    netlist: str | None = Field(None, description="SPICE with these sizes; bias sources are among `sizes` alone.")
    metrics: dict[str, dict[str, float | None]] = Field(default_factory=dict, description="By corner, in SI units.")
    undefined: dict[str, dict[str, Cause]] = Field(default_factory=dict, description="A reason for every null.")
    margins: list[Margin] = Field(default_factory=list)
    simulations: int | None = Field(None, description="By ngspice, those at corners and of the last check included.")
    offline_simulations: int | None = Field(None, description="Of the neural simulator.")
    met_after: int | None = Field(None, description="Simulations up to the first sizing that meets everything.")
    trials: int | None = Field(None, description="Sizings that were simulated.")
    wall_s: float | None = None
    cpu_s: dict[str, float] | None = Field(
        None, description="Of ngspice, and of the service's own process meanwhile, whatever else it did."
    )
    trace: list[dict[str, float]] = Field(default_factory=list, description="Where the best score rose, and the end.")
    model: dict[str, Any] | None = Field(
        None, description="How far the neural simulator was off, at first and at last, with and without what it learnt "
        "of the circuit; or a note why it was not used."
    )  # fmt: skip
    stored_rows: int | None = Field(None, description="Simulations that later predictions of the circuit follow.")
    decks: dict[str, dict[str, str]] | None = Field(None, description="By corner and setup, as `ngspice -b` runs them.")
    problem: dict[str, Any] | None = Field(None, description="With status error: what happened.")

    model_config = _example(_SIZED)


class DesignedRow(SizedRow):
    """One candidate of a design. One that was sized has the fields of a sizing."""

    origin: Literal["archetype", "generated"] | None = None
    name: str | None = Field(None, description="Of an archetype.")
    type: str | None = None
    model: Any = Field(None, description="The generator; of a sized candidate also what the neural simulator learnt.")
    reached: str | None = Field(None, description="proposed, legal, conducting, promising, sized or passing.")
    stage: str | None = Field(
        None, description="Where it fell out: duplicate, not_legal, not_conducting, not_promising, not_tried, not_met."
    )
    why: str | None = Field(None, description="A sentence, where it fell out.")
    device_count: int | None = None
    nearest: dict[str, Any] | None = Field(None, description="The archetype that is most like it: name, similarity.")
    novelty: dict[str, Any] | None = Field(None, description="Against what the generator learnt from.")
    promise: dict[str, Any] | None = Field(None, description="What the neural simulator expected of it.")
    least_margin: float | None = Field(None, description="Of a sized one, in nepers; negative where it is not met.")
    elapsed_s: float | None = Field(None, description="Since the design began.")
    findings: list[Finding] = Field(default_factory=list)
    pareto_rank: int | None = Field(None, description="Among those that pass, where they are ranked: 1 is the best.")

    model_config = _example(_DESIGNED)


class Funnel(BaseModel):
    """How many candidates of a design have reached each stage; no count of a running design ever falls.

    Promising are those that the neural simulator's first look lets pass. Before such a one is sized, a longer look may
    say that nothing comes of it all the same.
    """

    proposed: int
    legal: int
    conducting: int
    promising: int
    sized: int
    passing: int

    model_config = _example(_FUNNEL)


class Design(BaseModel):
    """What a design has come to: circuits that pass, the best first, and why the other candidates fell out."""

    funnel: Funnel
    results: list[DesignedRow]
    fell_out: list[DesignedRow]
    cost: dict[str, float]

    model_config = _example(
        {"funnel": _FUNNEL, "results": [_DESIGNED], "fell_out": [], "cost": {"simulations": 431, "wall_s": 140.0}}
    )


class Check(BaseModel):
    """What the validators say of a text."""

    status: Outcome
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


class SimulationJob(BaseModel):
    """A job of simulated sizings."""

    kind: Literal["analog.simulate"]
    request: AnalogSimulateRequest

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "kind": "analog.simulate",
                    "request": {"netlist": PAIR, "testbench": "opamp", "draw": {"count": 100_000}, "seed": 1},
                }
            ]
        },
    )


class PredictionJob(BaseModel):
    """A job of predicted sizings."""

    kind: Literal["analog.predict"]
    request: AnalogPredictRequest

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "kind": "analog.predict",
                    "request": {"netlist": PAIR, "testbench": "opamp", "draw": {"count": 1_000_000}, "seed": 1},
                }
            ]
        },
    )


class SizingJob(BaseModel):
    """A job that sizes a circuit."""

    kind: Literal["analog.size"]
    request: AnalogSizeRequest

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "kind": "analog.size",
                    "request": {
                        "netlist": PAIR,
                        "testbench": "opamp",
                        "specification": {"bounds": ["gain_db>35"]},
                        "seed": 1,
                    },
                }
            ]
        },
    )


class DesignJob(BaseModel):
    """A job that designs circuits."""

    kind: Literal["analog.design"]
    request: AnalogDesignRequest

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "kind": "analog.design",
                    "request": {"type": "opamp", "specification": {"bounds": ["gain_db>60"]}, "seed": 3},
                }
            ]
        },
    )


#: The body of POST /v1/jobs.
JobSubmission = Annotated[
    AnalogJob | QuantumJob | SimulationJob | PredictionJob | SizingJob | DesignJob, Field(discriminator="kind")
]


class JobCounts(BaseModel):
    """Rows of a job: asked for, done, and of these how many are ok, invalid, or error rows.

    A sizing whose simulation has no result (`not_converged`, `simulator_gave_up`, `timeout`) counts as invalid.
    """

    total: int
    done: int
    ok: int
    invalid: int
    error: int

    model_config = _example(_COUNTS)


class UnfinishedRow(BaseModel):
    """A row that is being made. `progress` has a sentence (`note`), and numbers that depend on the kind of job."""

    index: int
    status: Literal["running"]
    progress: dict[str, Any]

    model_config = _example(_UNFINISHED)


class Job(BaseModel):
    """A job of many rows. `model` is null where no trained model makes them."""

    id: str
    kind: str
    status: JobStatus
    counts: JobCounts
    seed: int | None
    created: str = Field(description="RFC 3339, UTC.")
    unfinished: list[UnfinishedRow] = Field(
        description="Rows that this process makes now, where they take long; only of one job and in events."
    )
    funnel: Funnel | None = Field(None, description="Of a design, likewise.")
    links: dict[str, str]

    model_config = _example(_JOB)


class JobPage(BaseModel):
    """Jobs, newest first."""

    jobs: list[Job]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last.")

    model_config = _example({"jobs": [_JOB], "next_cursor": None})


class CircuitPage(BaseModel):
    """Rows of a job of circuits that are done, by index."""

    circuits: list[AnalogRow | QuantumRow]
    next_cursor: str | None = Field(
        description="Give it as `cursor` for the next page; null when there are no more rows now."
    )

    model_config = _example({"circuits": [_ANALOG], "next_cursor": None})


class SimulationPage(BaseModel):
    """Rows of a job of sizings that are done, by index."""

    rows: list[SimulationRow]
    next_cursor: str | None = Field(
        description="Give it as `cursor` for the next page; null when there are no more rows now."
    )

    model_config = _example({"rows": [_SIZING], "next_cursor": None})


class PredictionPage(BaseModel):
    """Rows of a job of predicted sizings that are done, by index."""

    rows: list[PredictionRow]
    next_cursor: str | None = Field(
        description="Give it as `cursor` for the next page; null when there are no more rows now."
    )

    model_config = _example({"rows": [_PREDICTION], "next_cursor": None})


class SizedPage(BaseModel):
    """Rows of a job of runs that size a circuit, by index."""

    rows: list[SizedRow]
    next_cursor: str | None = Field(
        description="Give it as `cursor` for the next page; null when there are no more rows now."
    )

    model_config = _example({"rows": [_SIZED], "next_cursor": None})


class DesignPage(BaseModel):
    """Rows of a design that are done, by index."""

    candidates: list[DesignedRow]
    next_cursor: str | None = Field(
        description="Give it as `cursor` for the next page; null when there are no more rows now."
    )

    model_config = _example({"candidates": [_DESIGNED], "next_cursor": None})


class Models(BaseModel):
    """Models that can be named in a request."""

    models: list[dict[str, Any]]

    model_config = _example(
        {
            "models": [
                {"name": "analog-small", "kind": "analog", "is_default": True, "parameters": 3_100_000},
                {
                    "name": "simulator",
                    "kind": "simulator",
                    "is_default": True,
                    "parameters": 409_864,
                    "training_rows": 109_195,
                    "is_loaded": False,
                },
            ]
        }
    )


class Technologies(BaseModel):
    """Technologies of the registry."""

    technologies: list[dict[str, Any]]

    model_config = _example({"technologies": [_TECHNOLOGY]})


class Testbenches(BaseModel):
    """Testbenches of the registry."""

    testbenches: list[dict[str, Any]]

    model_config = _example({"testbenches": [_TESTBENCH]})


class SizingMethods(BaseModel):
    """Sizing methods of the registry."""

    sizing_methods: list[dict[str, Any]]

    model_config = _example({"sizing_methods": [_METHOD]})


class Validators(BaseModel):
    """Validators of the registry."""

    validators: list[dict[str, Any]]

    model_config = _example(
        {
            "validators": [
                {"name": "electrical_rules", "kind": "analog", "rung": "structure", "summary": "nets and pins"}
            ]
        }
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
