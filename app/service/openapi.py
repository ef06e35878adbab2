"""The OpenAPI 3.1 document: FastAPI's own, with problem documents and an example on every schema."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

import app as package
from app.service import schemas as shapes
from app.service.problems import Problem, ProblemError

_DESCRIPTION = """\
Josephson proposes analog circuits and OpenQASM programs and checks each one: analog circuits by electrical rules and an
operating point in ngspice, programs by Qiskit's own reader. Netlists are simulated on testbenches, at any sizing, or
their metrics are predicted by a neural simulator. They are sized until they meet a specification, and designs of a type
are found that do.

A few rows come inline (`POST /v1/analog/generate`, `POST /v1/quantum/generate`, `POST /v1/analog/simulate`,
`POST /v1/analog/predict`); many come as a job (`POST /v1/jobs`), and what takes minutes is one at once
(`POST /v1/analog/size`, `POST /v1/analog/design`). The same seed gives the same rows. Errors are RFC 9457
problem documents; `/docs/problems` lists their types.
"""

_TAGS = [
    {"name": "circuits", "description": "Make, check or simulate a few circuits while the caller waits."},
    {"name": "jobs", "description": "Many rows, kept durably: a restart of the service loses and doubles none."},
    {"name": "registries", "description": "What names a request may use."},
    {"name": "health", "description": "Whether the service lives, can work, and how much it does."},
]

#: Examples of the request schemas, which live below the service and know nothing of OpenAPI.
_REQUEST_EXAMPLES: dict[str, dict[str, Any]] = {
    "AnalogGenerateRequest": {"type": "opamp", "count": 4, "max_devices": 12, "seed": 1},
    "QuantumGenerateRequest": {"family": "ghz", "qubits": 5, "count": 4, "seed": 1, "format": "qasm2"},
    "AnalogValidateRequest": {"netlist": "M1 VOUT1 VIN1 VSS VSS nmos\nR1 VDD VOUT1 10k\n"},
    "AnalogSimulateRequest": {
        "netlist": shapes.PAIR,
        "testbench": "opamp",
        "technology": "generic180",
        "corner": "ss",
        "draw": {"count": 16, "method": "guided"},
        "seed": 1,
    },
    "AnalogPredictRequest": {
        "netlist": shapes.PAIR,
        "testbench": "opamp",
        "technology": "generic180",
        "draw": {"count": 1000, "method": "guided"},
        "known": {"gain_db": 38.4},
        "seed": 1,
    },
    "AnalogSizeRequest": {
        "netlist": shapes.PAIR,
        "testbench": "opamp",
        "technology": "generic180",
        "specification": {"bounds": ["gain_db>35", "ugf_hz>5meg"], "objective": {"minimize": "power_w"}},
        "budget": {"simulations": 100, "minutes": 5},
        "seed": 1,
    },
    "AnalogDesignRequest": {
        "type": "opamp",
        "technology": "generic180",
        "specification": {"bounds": ["gain_db>60", "ugf_hz>10meg", "phase_margin_deg>60"]},
        "enough": 3,
        "budget": {"simulations": 1000, "minutes": 10},
        "seed": 3,
    },
    "SpecificationRequest": {
        "bounds": ["gain_db>60", {"metric": "phase_margin_deg", "low": 60}],
        "objective": {"minimize": "power_w"},
        "settings": {"load_f": 2e-12},
        "corners": "pvt",
    },
    "BoundRequest": {"metric": "gain_db", "low": 60},
    "BudgetRequest": {"simulations": 200, "minutes": 10},
    "DesignBudgetRequest": {"simulations": 1000, "minutes": 10},
    "SpentRequest": {"simulations": 0, "seconds": 0.0, "passing": 0},
    "CornerRequest": {"process": "ss", "supply_v": 1.62, "celsius": 125.0},
    "TranspileRequest": {"target": "heavy_hex", "qubits": 65, "optimization_level": 3},
    "Draw": {"count": 1000, "method": "guided"},
    "QuantumValidateRequest": {"program": "OPENQASM 2.0;\nqreg q[1];\nU(0,0,0) q[0];\n"},
}


def install_openapi(app: FastAPI) -> None:
    """`app.openapi()` answers this module's document, built on the first call."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend its document


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="Josephson",
        version=package.__version__,
        summary="A generative circuit-design engine for analog topologies and OpenQASM programs.",
        description=_DESCRIPTION,
        routes=app.routes,
        tags=_TAGS,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    schemas = document["components"]["schemas"]
    for model in (Problem, ProblemError):
        schemas[model.__name__] = _schema_of(model)
    for name, example in _REQUEST_EXAMPLES.items():
        schemas[name].setdefault("examples", [example])
    return document


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema
