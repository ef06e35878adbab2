"""Sizings without ngspice: workers that answer by the formulas of an amplifier, and a workshop that sizes with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from app.errors import NotLearnt, SimulatorFailure
from app.requests import AnalogSizeRequest, JobRequest
from app.resources import data_path
from app.simulations import RowStore
from app.simulators.processes import ProcessLimits, WorkerPool
from app.sizing._base import sizing_methods
from app.sizing.model import CircuitModel
from app.sizings import ModelMaker, Sizings, describe_method
from app.testbenches._base import Corner
from app.testbenches._simulator import Bench
from app.workshop import Row
from tests.closed_form_amplifier import SECONDS, ClosedFormAmplifier, NoTables
from tests.running_service import NamedWorkshop

MILLER = (data_path("archetypes") / "opamp" / "two_stage_miller.cir").read_text(encoding="utf-8")

#: What the amplifier of the formulas easily keeps at every corner, and what it never does.
EASY, IMPOSSIBLE = "gain_db>50", "gain_db>150"


class FormulaPool(WorkerPool):
    """Workers that answer benches of an op-amp by formulas, at once, or when `release` is called. Starts no process."""

    def __init__(self, amplifier: ClosedFormAmplifier | None = None, *, is_held: bool = False) -> None:
        super().__init__("accident_worker", size=2, timeout_s=1, recycle_after=1, limits=ProcessLimits())
        self.amplifier = amplifier or ClosedFormAmplifier()
        self.is_held = is_held
        self.held: list[tuple[Mapping[str, Any], Future[dict[str, Any]]]] = []
        self.were_in_background: list[bool] = []

    def submit(
        self, request: Mapping[str, Any], *, in_background: bool = False, timeout_s: float | None = None
    ) -> Future[dict[str, Any]]:
        """A future of the rows."""
        if self.is_closed:
            raise SimulatorFailure("the pool of formulas is closed; open a new one")
        self.were_in_background.append(in_background)
        future: Future[dict[str, Any]] = Future()
        if self.is_held:
            self.held.append((request, future))
        else:
            future.set_result(self._answer(request))
        return future

    def release(self) -> None:
        """What waits is answered, and what comes is from now on."""
        self.is_held = False
        for request, future in self.held:
            if not future.cancelled():
                future.set_result(self._answer(request))
        self.held = []

    def cancel(self, future: Future[dict[str, Any]]) -> None:
        """Who waits for the future hears that it is cancelled."""
        if future.cancel():
            future.set_running_or_notify_cancel()

    def close(self) -> None:
        """Nothing is answered any more."""
        super().close()
        for _, future in self.held:
            self.cancel(future)

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        corner = Corner(**request["corner"])
        sizings = [dict[str, float](zip(request["parameters"], values, strict=True)) for values in request["sizings"]]
        return {"rows": [self._row(self.amplifier.metrics(corner, sizing), request["metrics"]) for sizing in sizings]}

    def _row(self, told: Mapping[str, float | None], names: Sequence[str]) -> dict[str, Any]:
        metrics = {name: told.get(name) for name in names}
        undefined = {name: {"cause": "circuit", "reason": "no formula"} for name in names if metrics[name] is None}
        return {
            "status": "ok", "metrics": metrics, "undefined": undefined, "relaxed": False, "derived": {},
            "cpu_s": SECONDS, "facts": {},
        }  # fmt: skip


def nothing_learnt(benches: Sequence[Bench], /, *, from_store: bool) -> Sequence[CircuitModel]:
    """A neural simulator that knows another testbench alone."""
    raise NotLearnt("testbench", benches[0].testbench.name, ["mixer"])


def sizings(
    pool: FormulaPool | None = None, models_of: ModelMaker = nothing_learnt, store: RowStore | None = None
) -> Sizings:
    """Sizings by the formulas."""
    return Sizings(pool or FormulaPool(), NoTables(), models_of, store)


def size_request(*bounds: str | dict[str, Any], **fields: Any) -> AnalogSizeRequest:
    """A request to size the two-stage amplifier at random; `corners` and `objective` are the specification's."""
    own: dict[str, Any] = {
        name: fields.pop(name) for name in ("corners", "objective", "settings", "supply_v") if name in fields
    }
    asked: dict[str, Any] = {"netlist": MILLER, "testbench": "opamp", "method": "random", "seed": 3, **fields}
    return AnalogSizeRequest.model_validate(asked | {"specification": {"bounds": bounds or (EASY,), **own}})


class SizingWorkshop(NamedWorkshop):
    """Sizes; everything else is as in the FakeWorkshop."""

    def __init__(self, made: Sizings) -> None:
        super().__init__()
        self.sizings = made

    def prepare(self, kind: str, request: JobRequest) -> JobRequest:
        """The prepared request."""
        if isinstance(request, AnalogSizeRequest):
            return self.sizings.prepare(kind, request)
        return super().prepare(kind, request)

    def heading(self, kind: str, request: JobRequest) -> Mapping[str, Any]:
        """What rows have in common."""
        if isinstance(request, AnalogSizeRequest):
            return self.sizings.heading(kind, request)
        return super().heading(kind, request)

    def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """Rows."""
        if isinstance(request, AnalogSizeRequest):
            return self.sizings.produce(kind, request, indices, in_background=in_background)
        return super().produce(kind, request, indices, in_background=in_background)

    def describe(self) -> Mapping[str, Any]:
        """Sizing methods as the workshop of a machine describes them."""
        described = [describe_method(name, entry) for name, entry in sizing_methods.items()]
        return {**super().describe(), "sizing_methods": described}

    async def aclose(self) -> None:
        """The workers are gone."""
        await self.sizings.aclose()
