"""Stand-ins that implement the real protocols without a model, ngspice or Qiskit. For tests and to try the doors."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from app.requests import (
    AnalogDesignRequest,
    AnalogPredictRequest,
    AnalogSimulateRequest,
    AnalogSizeRequest,
    BenchRequest,
    GenerateRequest,
    JobRequest,
)
from app.validators._base import Rung
from app.workshop import Row, unfinished_row

#: The only corner of a fake sizing.
_CORNER = "tt,1.8V,27C"


class FakeWorkshop:
    """A workshop whose circuits are one resistor; row `i` is a pure function of the request and `i`, as in the real.

    Simulations and predictions have two metrics, the second of which every third sizing leaves undefined. Runs that
    size a circuit say a word before they end; every seventh misses its bound. Candidates of a design
    do likewise.

    `delay_s` is the time a row takes; rows whose index is in `poison` raise out of `produce`, as a dying machinery
    would. `produced` counts how often each index was made.
    """

    def __init__(self, *, delay_s: float = 0.0, poison: frozenset[int] = frozenset()) -> None:
        self.delay_s = delay_s
        self.poison = poison
        self.produced: dict[int, int] = {}

    def prepare(self, kind: str, request: JobRequest) -> JobRequest:
        """The request with seed 0 and model ``fake`` where it names none."""
        if isinstance(request, GenerateRequest):
            request = request.model_copy(update={"model": request.model or "fake"})
        return request if request.seed is not None else request.model_copy(update={"seed": 0})

    def heading(self, kind: str, request: JobRequest) -> Mapping[str, Any]:
        """Seed and model; of what is done on a testbench its names and one variable."""
        if not isinstance(request, (BenchRequest, AnalogSizeRequest)):
            return {"seed": request.seed, "model": request.made_by}
        told: dict[str, Any] = {
            "testbench": request.testbench,
            "testbench_version": 1,
            "technology": request.technology,
            "card_hash": "0" * 16,
            "corner": {"process": "tt", "supply_v": 1.8, "celsius": 27.0},
            "settings": {},
            "ports": {"output": "VOUT1"},
            "metrics": [{"name": "gain_db", "unit": "dB"}, {"name": "ugf_hz", "unit": "Hz"}],
            "sizes": [{"name": "r1_ohm", "unit": "ohm", "low": 1.0, "high": 1e6, "start": 1e3}],
            "seed": request.seed,
        }
        if isinstance(request, AnalogPredictRequest):
            told |= {"model": request.made_by, "level": request.level, "topology_known": True, "physics": False}
        if isinstance(request, AnalogSizeRequest):
            told |= {"corners": {_CORNER: told["corner"]}, "method": request.method}
        return told

    async def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """One row per index; every seventh is invalid, or did not converge."""
        for index in indices:
            if index in self.poison:
                raise RuntimeError(f"poisoned item {index}")
            await asyncio.sleep(self.delay_s)
            self.produced[index] = self.produced.get(index, 0) + 1
            digest = hashlib.sha256(f"{kind}:{request.seed}:{index}".encode()).hexdigest()
            if isinstance(request, AnalogSimulateRequest):
                yield _simulated(index, int(digest, 16), request.include_deck)
                continue
            if isinstance(request, AnalogPredictRequest):
                yield _predicted(index, int(digest, 16))
                continue
            if isinstance(request, AnalogSizeRequest):
                yield unfinished_row(index, "4 of 200 simulations, the best misses gain_db>60", simulations=4)
                yield {"seed": request.seed, "method": request.method, **_sized(index, int(digest, 16))}
                continue
            if isinstance(request, AnalogDesignRequest):
                yield unfinished_row(index, f"candidate {index}: sized", reached="sized")
                yield {"seed": request.seed, "type": request.type, **_designed(index, int(digest, 16))}
                continue
            text = f"R1 VIN1 VSS {int(digest[:4], 16) + 1}\n"
            yield {
                "index": index,
                "status": "invalid" if int(digest, 16) % 7 == 0 else "ok",
                "seed": request.seed,
                "model": request.made_by,
                **({"netlist": text, "type": "other", "device_count": 1, "net_count": 2, "ports": ["VIN1", "VSS"]}
                   if kind == "analog.generate" else
                   {"program": "OPENQASM 2.0;\nqreg q[1];\nU(0,0,0) q[0];\n", "family": "ghz", "qubits": 1,
                    "gate_count": 1, "depth": 1, "format": "qasm2"}),
                "findings": [],
                "novelty": {"is_novel": True, "nearest_similarity": 0.0},
                "timings": {"generate_s": self.delay_s},
            }  # fmt: skip

    async def validate(
        self, kind: str, text: str, *, checks: Rung | None = None, function_of: str | None = None
    ) -> Mapping[str, Any]:
        """Everything is fine."""
        return {"status": "ok", "findings": [], "facts": {"length": len(text)}}

    def describe(self) -> Mapping[str, Any]:
        """One model of no weights."""
        return {
            "models": [{"name": "fake", "kind": "analog", "is_default": True, "parameters": 0}],
            "validators": [],
            "technologies": [],
            "testbenches": [],
            "sizing_methods": [],
            "families": {"analog": ["other"], "quantum": ["ghz"]},
        }

    def health(self) -> Mapping[str, Any]:
        """Always ready."""
        return {"ready": True, "reasons": [], "engine": {}, "workers": {}}

    async def aclose(self) -> None:
        """Nothing to close."""


def _simulated(index: int, number: int, with_deck: bool) -> Row:
    """A row of a simulation that `number` decides."""
    row: Row = {
        "index": index,
        "status": "not_converged" if number % 7 == 0 else "ok",
        "sizes": {"r1_ohm": float(number % 1000 + 1)},
        "metrics": {"gain_db": number % 100 / 2, "ugf_hz": 1e6},
        "undefined": {},
        "relaxed": False,
        "timings": {"simulate_s": 0.0},
    }
    if with_deck:
        row["decks"] = {"dc": "* a divider\n.end\n"}
    if row["status"] == "not_converged":
        reason = "ngspice found no operating point"
        row["metrics"] = {"gain_db": None, "ugf_hz": None}
        row["undefined"] = {name: {"cause": "simulator", "reason": reason} for name in row["metrics"]}
        row["message"] = reason
    elif number % 3 == 0:
        row["metrics"]["ugf_hz"] = None
        row["undefined"]["ugf_hz"] = {"cause": "circuit", "reason": "the gain never crosses 0 dB"}
    return row


def _predicted(index: int, number: int) -> Row:
    """A row of a prediction that `number` decides; every fifth is unlike what was learnt from."""
    gain_db = number % 100 / 2
    ugf_hz = None if number % 3 == 0 else 1e6
    return {
        "index": index,
        "status": "ok",
        "sizes": {"r1_ohm": float(number % 1000 + 1)},
        "metrics": {
            "gain_db": {"value": gain_db, "low": gain_db - 1, "high": None, "defined": 0.9, "known": False},
            "ugf_hz": {"value": ugf_hz, "low": None, "high": None, "defined": 0.4, "known": False},
        },
        "out_of_distribution": number % 5 == 0,
        "distance": number % 5 / 4,
        "reasons": ["a divider is no amplifier"] if number % 5 == 0 else [],
        "nearest": [],
        "timings": {"predict_s": 0.0},
    }


def _sized(index: int, number: int) -> Row:
    """A row of a run that sizes a circuit, which `number` decides."""
    is_met = number % 7 != 0
    gain_db = (60.0 if is_met else 50.0) + number % 10
    limit = {"bound": "gain_db>60", "metric": "gain_db", "worst": gain_db, "corner": _CORNER, "margin": gain_db - 60}
    return {
        "index": index,
        "status": "ok" if is_met else "invalid",
        **({} if is_met else {"binding": f"gain_db>60: gain_db is {gain_db:g} dB at {_CORNER}"}),
        "sizes": {"r1_ohm": float(number % 1000 + 1)},
        "netlist": f"R1 VIN1 VSS {number % 1000 + 1}\n",
        "metrics": {_CORNER: {"gain_db": gain_db, "ugf_hz": None}},
        "undefined": {_CORNER: {"ugf_hz": {"cause": "circuit", "reason": "the gain never crosses 0 dB"}}},
        "margins": [{**limit, "is_met": is_met}],
        "simulations": number % 100 + 10,
        "offline_simulations": 0,
        "met_after": number % 100 + 4 if is_met else None,
        "trials": number % 100 + 5,
        "wall_s": 0.0,
        "cpu_s": {"simulator": 0.0, "own": 0.0},
        "trace": [{"simulations": 4, "score": -0.1, "best": -0.1}],
        "model": None,
        "stored_rows": 0,
    }


def _designed(index: int, number: int) -> Row:
    """A row of a candidate, which `number` decides; one of three does not conduct."""
    about: Row = {
        "origin": "archetype",
        "name": "other/divider",
        "nearest": {"name": "other/divider", "similarity": 1.0},
    }
    if number % 3 == 0:
        fallen = {"stage": "not_conducting", "why": "no bias was found at which it conducts", "reached": "legal"}
        return {"index": index, "status": "invalid", "simulations": 0, "elapsed_s": 0.1 * index, **about, **fallen}
    row = _sized(index, number)
    is_met = row["status"] == "ok"
    return {
        **row,
        **about,
        "reached": "passing" if is_met else "sized",
        "stage": None if is_met else "not_met",
        "why": row.get("binding"),
        "least_margin": row["margins"][0]["margin"] / 8.69,
        "elapsed_s": 0.1 * index,
    }
