"""Inline calls: a few rows, or the check of one text, while the caller waits. Large counts are the jobs' matter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing, suppress
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Body, Request, Response

from app.errors import pointing_at
from app.requests import (
    AnalogGenerateRequest,
    AnalogSimulateRequest,
    AnalogValidateRequest,
    JobRequest,
    QuantumGenerateRequest,
    QuantumValidateRequest,
    check_inline_count,
)
from app.service import schemas
from app.service.answers import TEXT_PROBLEMS, WORK_PROBLEMS, json_response, problems
from app.service.bodies import StrictRoute
from app.service.context import Service, ServiceDependency
from app.service.problems import HttpProblem
from app.workshop import Row

router = APIRouter(prefix="/v1", route_class=StrictRoute)

Result = TypeVar("Result")

_ANALOG_BODY = Body(
    openapi_examples={
        "opamp": {"summary": "Four operational amplifiers", "value": {"type": "opamp", "count": 4, "seed": 1}},
        "small": {"summary": "Any type, at most eight devices, with a deck that ngspice runs",
                  "value": {"count": 2, "max_devices": 8, "include_deck": True}},
        "complete": {"summary": "What a differential pair can become: every circuit begins with it",
                     "value": {"type": "opamp", "max_devices": 12, "count": 2,
                               "prefix": "M1 N1 VIN1 N3 VSS nmos\nM2 VOUT1 VIN2 N3 VSS nmos\n"}},
    }
)  # fmt: skip
_QUANTUM_BODY = Body(
    openapi_examples={
        "ghz": {"summary": "Four GHZ programs on five qubits",
                "value": {"family": "ghz", "qubits": 5, "count": 4, "seed": 1}},
        "line": {"summary": "On a line of six qubits, in OpenQASM 3",
                 "value": {"qubits": 6, "coupling_map": "line", "format": "qasm3", "count": 1}},
        "transpile": {"summary": "With depth and two-qubit gates on a machine of 65 qubits",
                      "value": {"qubits": 6, "transpile": {"target": "heavy_hex", "qubits": 65}}},
    }
)  # fmt: skip
_NETLIST_BODY = Body(
    openapi_examples={
        "amplifier": {"summary": "A common-source stage",
                      "value": {"netlist": "M1 VOUT1 VIN1 VSS VSS nmos\nR1 VDD VOUT1 10k\n"}},
        "conduction": {"summary": "Whether a cascode conducts at some bias",
                       "value": {"netlist": "M1 N1 VIN1 VSS VSS nmos\nM2 VOUT1 VB1 N1 VSS nmos\nR1 VDD VOUT1 10k\n",
                                 "checks": "conduction"}},
    }
)  # fmt: skip
_SIMULATION_BODY = Body(
    openapi_examples={
        "start": {"summary": "A differential pair with a mirror load, at its starting point",
                  "value": {"netlist": schemas.PAIR, "testbench": "opamp"}},
        "sizings": {"summary": "Two sizings in the slow corner, two metrics",
                    "value": {"netlist": schemas.PAIR, "testbench": "opamp", "corner": "ss",
                              "sizings": [{"w_m1": 5e-6}, {"w_m1": 2e-5}], "metrics": ["gain_db", "ugf_hz"]}},
        "draw": {"summary": "Sixteen sizings drawn around the starting point, hot",
                 "value": {"netlist": schemas.PAIR, "testbench": "opamp", "seed": 1,
                           "corner": {"process": "ff", "supply_v": 1.62, "celsius": 125},
                           "draw": {"count": 16, "method": "guided"}}},
    }
)  # fmt: skip
_PROGRAM_BODY = Body(
    openapi_examples={
        "bell": {"summary": "A Bell pair",
                 "value": {"program": 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\nh q[0];\ncx q[0],q[1];\n'}},
    }
)  # fmt: skip


@router.post(
    "/analog/generate",
    operation_id="generate_analog",
    tags=["circuits"],
    summary="Make a few analog circuits",
    responses={200: {"model": schemas.AnalogCircuits}, **problems(*WORK_PROBLEMS)},
)
async def generate_analog(
    request: Request, service: ServiceDependency, body: Annotated[AnalogGenerateRequest, _ANALOG_BODY]
) -> Response:
    """Analog circuits of the service's model, by index. More than 256: submit a job."""
    return await _answer("analog.generate", request, service, body)


@router.post(
    "/quantum/generate",
    operation_id="generate_quantum",
    tags=["circuits"],
    summary="Make a few quantum programs",
    responses={200: {"model": schemas.QuantumCircuits}, **problems(*WORK_PROBLEMS)},
)
async def generate_quantum(
    request: Request, service: ServiceDependency, body: Annotated[QuantumGenerateRequest, _QUANTUM_BODY]
) -> Response:
    """OpenQASM programs of the service's model, by index. More than 256: submit a job."""
    return await _answer("quantum.generate", request, service, body)


@router.post(
    "/analog/simulate",
    operation_id="simulate_analog",
    tags=["circuits"],
    summary="Simulate a SPICE netlist on a testbench, at one or many sizings",
    responses={200: {"model": schemas.Simulation}, **problems(*WORK_PROBLEMS)},
)
async def simulate_analog(
    request: Request, service: ServiceDependency, body: Annotated[AnalogSimulateRequest, _SIMULATION_BODY]
) -> Response:
    """Metrics of each sizing in ngspice, by index. More than 256 sizings: submit a job.

    What does not converge is a row that says so. The netlist is parsed and written afresh; the text itself is never
    run.
    """
    return await _answer("analog.simulate", request, service, body)


@router.post(
    "/analog/validate",
    operation_id="validate_analog",
    tags=["circuits"],
    summary="Check a SPICE netlist",
    responses={200: {"model": schemas.Check}, **problems(*TEXT_PROBLEMS)},
)
async def validate_analog(
    request: Request, service: ServiceDependency, body: Annotated[AnalogValidateRequest, _NETLIST_BODY]
) -> Response:
    """Findings and facts of a netlist. It is parsed and written afresh; the text itself is never run."""
    work = service.workshop.validate("analog", body.netlist, checks=body.rung, function_of=body.type)
    with pointing_at("/netlist"):
        return json_response(await within_deadline(request, service, work))


@router.post(
    "/quantum/validate",
    operation_id="validate_quantum",
    tags=["circuits"],
    summary="Check an OpenQASM program",
    responses={200: {"model": schemas.Check}, **problems(*TEXT_PROBLEMS)},
)
async def validate_quantum(
    request: Request, service: ServiceDependency, body: Annotated[QuantumValidateRequest, _PROGRAM_BODY]
) -> Response:
    """Findings and facts of a program, read by Qiskit and by the service's own reader.

    With a family: whether the program does what it is for, by simulation, under `oracle` in the facts.
    """
    work = service.workshop.validate("quantum", body.program, function_of=body.family)
    with pointing_at("/program"):
        return json_response(await within_deadline(request, service, work))


async def _answer(kind: str, request: Request, service: Service, body: JobRequest) -> Response:
    check_inline_count(body)
    rows, heading = await within_deadline(request, service, _collect(kind, service, body))
    rows.sort(key=lambda row: row["index"])
    return json_response({body.rows_key: rows, **heading})


async def _collect(kind: str, service: Service, body: JobRequest) -> tuple[list[Row], Mapping[str, Any]]:
    prepared = await asyncio.to_thread(service.workshop.prepare, kind, body)
    heading = await asyncio.to_thread(service.workshop.heading, kind, prepared)
    produced = service.workshop.produce(kind, prepared, range(prepared.row_count))
    # The protocol promises that the iterator can be closed, which only generators are typed for.
    async with aclosing(cast("AsyncGenerator[Row, None]", produced)) as rows:
        return [row async for row in rows], heading


async def within_deadline(request: Request, service: Service, work: Awaitable[Result]) -> Result:
    """The result of the work, which is cancelled when its caller goes away or the inline deadline passes.

    Raises:
        HttpProblem: `deadline` or `client-gone`.
    """
    deadline_s = service.settings.inline_deadline_s
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        done, _ = await asyncio.wait({task, gone}, timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            return task.result()
        if gone in done:
            raise HttpProblem("client-gone", "the client closed the connection before the answer was ready")
        raise HttpProblem(
            "deadline",
            f"no answer within {deadline_s:g} s; ask for less, or submit a job (POST /v1/jobs)",
        )
    finally:
        for started in (task, gone):
            started.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await started


async def _disconnected(request: Request) -> None:
    """Returns when the client has closed the connection; the body must have been read."""
    message: dict[str, Any] = {"type": ""}
    while message["type"] != "http.disconnect":
        message = dict(await request.receive())
