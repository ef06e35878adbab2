"""Stand-ins that implement the real protocols without a model, ngspice or Qiskit. For tests and to try the doors."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from app.requests import GenerateRequest
from app.workshop import Row


class FakeWorkshop:
    """A workshop whose circuits are one resistor; row `i` is a pure function of the request and `i`, as in the real.

    `delay_s` is the time a row takes; rows whose index is in `poison` raise out of `produce`, as a dying machinery
    would. `produced` counts how often each index was made.
    """

    def __init__(self, *, delay_s: float = 0.0, poison: frozenset[int] = frozenset()) -> None:
        self.delay_s = delay_s
        self.poison = poison
        self.produced: dict[int, int] = {}

    def prepare(self, kind: str, request: GenerateRequest) -> GenerateRequest:
        """The request with seed 0 and model ``fake`` where it names none."""
        named = request.model_copy(update={"model": request.model or "fake"})
        return named if named.seed is not None else named.model_copy(update={"seed": 0})

    async def produce(
        self, kind: str, request: GenerateRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """One row per index; every seventh is invalid."""
        for index in indices:
            if index in self.poison:
                raise RuntimeError(f"poisoned item {index}")
            await asyncio.sleep(self.delay_s)
            self.produced[index] = self.produced.get(index, 0) + 1
            digest = hashlib.sha256(f"{kind}:{request.seed}:{index}".encode()).hexdigest()
            text = f"R1 VIN1 VSS {int(digest[:4], 16) + 1}\n"
            yield {
                "index": index,
                "status": "invalid" if int(digest, 16) % 7 == 0 else "ok",
                "seed": request.seed,
                "model": request.model,
                **({"netlist": text, "type": "other", "device_count": 1, "net_count": 2, "ports": ["VIN1", "VSS"]}
                   if kind == "analog.generate" else
                   {"program": "OPENQASM 2.0;\nqreg q[1];\nU(0,0,0) q[0];\n", "family": "ghz", "qubits": 1,
                    "gate_count": 1, "depth": 1, "format": "qasm2"}),
                "findings": [],
                "novelty": {"is_novel": True, "nearest_similarity": 0.0},
                "timings": {"generate_s": self.delay_s},
            }  # fmt: skip

    async def validate(self, kind: str, text: str) -> Mapping[str, Any]:
        """Everything is fine."""
        return {"status": "ok", "findings": [], "facts": {"length": len(text)}}

    def describe(self) -> Mapping[str, Any]:
        """One model of no weights."""
        return {
            "models": [{"name": "fake", "kind": "analog", "is_default": True, "parameters": 0}],
            "validators": [],
            "technologies": [],
            "families": {"analog": ["other"], "quantum": ["ghz"]},
        }

    def health(self) -> Mapping[str, Any]:
        """Always ready."""
        return {"ready": True, "reasons": [], "engine": {}, "workers": {}}

    async def aclose(self) -> None:
        """Nothing to close."""
