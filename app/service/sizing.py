"""Calls that are answered with a job, for what they ask takes minutes: sizing a circuit, and designing some."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response

from app.requests import AnalogDesignRequest, AnalogSizeRequest
from app.service import schemas
from app.service.answers import WORK_PROBLEMS, problems
from app.service.bodies import StrictRoute
from app.service.context import ServiceDependency
from app.service.jobs import ACCEPTED, IdempotencyKey, accepted, submit

router = APIRouter(prefix="/v1/analog", route_class=StrictRoute, tags=["jobs"])

_SIZING_BODY = Body(
    openapi_examples={
        "pair": {"summary": "A differential pair with a mirror load, at every corner",
                 "value": {"netlist": schemas.PAIR, "testbench": "opamp",
                           "specification": {"bounds": ["gain_db>35", "ugf_hz>5meg"]}}},
        "objective": {"summary": "The least power with which it drives 5 pF, at the nominal corner",
                      "value": {"netlist": schemas.PAIR, "type": "opamp", "seed": 3,
                                "specification": {"bounds": [{"metric": "ugf_hz", "low": 2e6}], "corners": "nominal",
                                                  "objective": {"minimize": "power_w"}, "settings": {"load_f": 5e-12}},
                                "budget": {"simulations": 400, "minutes": 5}}},
        "corners": {"summary": "Ten runs of another method, two corners",
                    "value": {"netlist": schemas.PAIR, "testbench": "opamp", "runs": 10, "method": "random",
                              "specification": {"bounds": ["gain_db>35"], "corners": ["tt", {"process": "ss",
                                                "supply_v": 1.62, "celsius": 125}]}}},
    }
)  # fmt: skip
_DESIGN_BODY = Body(
    openapi_examples={
        "opamp": {"summary": "Three op-amps that keep three bounds at every corner",
                  "value": {"type": "opamp", "seed": 3,
                            "specification": {"bounds": ["gain_db>60", "ugf_hz>10meg", "phase_margin_deg>60"]}}},
        "ldo": {"summary": "Regulators from hand-written circuits alone, the least current first",
                "value": {"type": "ldo", "sources": "archetypes", "candidates": 8,
                          "specification": {"bounds": ["psrr_db>40"], "objective": {"minimize": "quiescent_current_a"},
                                            "corners": "nominal"},
                          "budget": {"simulations": 2000, "minutes": 15}}},
    }
)  # fmt: skip


@router.post(
    "/size",
    status_code=202,
    operation_id="size_analog",
    summary="Size a SPICE netlist so that it meets a specification",
    responses={**ACCEPTED, **problems(*WORK_PROBLEMS, 404, 409)},
)
async def size_analog(
    service: ServiceDependency,
    body: Annotated[AnalogSizeRequest, _SIZING_BODY],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """A job of kind `analog.size`. Each row is the best sizing of one run, simulated by ngspice at every corner.

    A specification that no sizing met is a row that is invalid: it has the best that was found, and the binding bound.
    """
    return accepted(await submit(service, "analog.size", body, idempotency_key))


@router.post(
    "/design",
    status_code=202,
    operation_id="design_analog",
    summary="Design circuits of a type that meet a specification",
    responses={**ACCEPTED, **problems(*WORK_PROBLEMS, 404, 409)},
)
async def design_analog(
    service: ServiceDependency,
    body: Annotated[AnalogDesignRequest, _DESIGN_BODY],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """A job of kind `analog.design`. Each row is a candidate: what became of it, and why it fell out where it did.

    `GET /v1/jobs/{job_id}/design` ranks those that pass.
    """
    return accepted(await submit(service, "analog.design", body, idempotency_key))
