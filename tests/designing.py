"""Designs without ngspice or a trained generator: formulas in place of one, given netlists in place of the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from app.analog.corpus import read_archetypes
from app.design.candidates import Archetypes
from app.design.maker import KIND, Designs
from app.requests import AnalogDesignRequest, AnalogGenerateRequest, JobRequest
from app.resources import data_path
from app.simulators.deck import SUPPLY_SOURCE
from app.sizings import ModelMaker
from app.testbenches._base import Corner
from app.testing import FakeWorkshop
from app.workshop import Row, is_finished
from tests.closed_form_amplifier import ClosedFormAmplifier
from tests.sizing import EASY, FormulaPool, nothing_learnt, sizings


def archetype(name: str) -> str:
    """The text of an archetype, such as ``opamp/two_stage_miller``."""
    return (data_path("archetypes") / f"{name}.cir").read_text(encoding="utf-8")


#: What ships, read once.
ARCHETYPES = Archetypes(read_archetypes())

#: An op-amp that is none of the archetypes, one that has no second input, and one in which nothing conducts.
TWO_INPUT_PAIRS = archetype("opamp/two_stage_miller").replace(
    ".end", "M9 MIR VIN1 TAIL VSS nmos\nM10 VOUT1 VIN2 TAIL VSS nmos\n.end"
)
ONE_INPUT = archetype("amplifier/common_source")
DEAD = archetype("opamp/five_transistor_ota").replace("VB1", "VCM1")


class AnyAmplifier(ClosedFormAmplifier):
    """The closed-form amplifier, which also knows topologies without its current, width or length."""

    def metrics(self, corner: Corner, sizes: Mapping[str, float]) -> dict[str, float | None]:
        """What the formulas say."""
        return super().metrics(corner, {"ib1_a": 1e-5, "w_m1": 1e-5, "l_m1": 5e-7, **sizes})


class CheckedPool(FormulaPool):
    """Workers that also say of any circuit that it has an operating point and conducts, but for `dead` ports' ones."""

    dead = "VCM1"

    def submit(
        self, request: Mapping[str, Any], *, in_background: bool = False, timeout_s: float | None = None
    ) -> Future[dict[str, Any]]:
        """A future of rows, or of an operating point."""
        answer = self._checked(request)
        if answer is None:
            return super().submit(request, in_background=in_background, timeout_s=timeout_s)
        done: Future[dict[str, Any]] = Future()
        done.set_result(answer)
        return done

    def cancel(self, future: Future[dict[str, Any]]) -> None:
        """As the real one: a second time changes nothing."""
        if not future.done():
            super().cancel(future)

    def _checked(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        if "search" in request:
            search = request["search"]
            share = 0.0 if self.dead.lower() in search["deck"].lower() else 1.0
            best = {"conducting": share, "saturated": share, "score": share, "supply_a": 1e-5, "largest_a": 1e-5}
            return {
                "status": "ok", "points_tried": 5, "points_converged": 5, "messages": [], "best": best, "plan": best,
                "values": [1.0 for _ in search["parameters"]],
            }  # fmt: skip
        if request.get("analysis") == "op":
            return {
                "status": "ok", "messages": [], "relaxed": False,
                "vectors": {f"{SUPPLY_SOURCE.lower()}#branch": [-1e-5]},
                "parameters": dict.fromkeys(request["parameters"], 1e-5),
            }  # fmt: skip
        return None


class GivenNetlists(FakeWorkshop):
    """A generator whose row ``i`` holds one of the given netlists; None is a circuit that it could not make."""

    def __init__(self, *netlists: str | None) -> None:
        super().__init__()
        self.netlists = netlists
        self.asked: list[AnalogGenerateRequest] = []

    async def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """The rows, the last one first."""
        assert isinstance(request, AnalogGenerateRequest)
        self.asked.append(request)
        for index in reversed(indices):
            netlist = self.netlists[index % len(self.netlists)]
            self.produced[index] = self.produced.get(index, 0) + 1
            base: Row = {"index": index, "seed": request.seed, "model": request.model}
            if netlist is None:
                yield base | {"status": "error", "problem": {"type": "EngineClosed", "detail": "no more"}}
            else:
                novelty = {"is_novel": True, "nearest_similarity": 0.25}
                yield base | {"status": "ok", "netlist": netlist, "novelty": novelty, "findings": []}


def designs(
    *netlists: str | None, pool: FormulaPool | None = None, models_of: ModelMaker = nothing_learnt, at_once: int = 1
) -> Designs:
    """Designs by the formulas, whose generator draws these netlists."""
    own = pool or CheckedPool(AnyAmplifier())
    generator = GivenNetlists(*(netlists or (TWO_INPUT_PAIRS,)))
    return Designs(generator, sizings(own, models_of), at_once=at_once, archetypes=ARCHETYPES)


def design_request(*bounds: str, corners: str = "nominal", **fields: Any) -> AnalogDesignRequest:
    """A request for op-amps, sized at random, of archetypes of at most ten devices unless `fields` say otherwise."""
    asked: dict[str, Any] = {
        "type": "opamp", "method": "random", "seed": 3, "sources": "archetypes", "max_devices": 10, "candidates": 4,
        **fields,
    }  # fmt: skip
    specification = {"bounds": bounds or (EASY,), "corners": corners}
    return AnalogDesignRequest.model_validate({"specification": specification, **asked})


async def produced(made: Designs, request: AnalogDesignRequest, indices: Sequence[int] | None = None) -> list[Row]:
    """Every row of the prepared request in the order in which it came, unfinished ones too."""
    asked = range(request.candidates) if indices is None else indices
    return [row async for row in made.produce(KIND, request, asked)]


def by_index(rows: Sequence[Row]) -> dict[int, Row]:
    """The finished rows; none may come twice."""
    finished = [row for row in rows if is_finished(row)]
    found = {row["index"]: row for row in finished}
    assert len(found) == len(finished), "a candidate had two rows"
    return found


class DesignWorkshop(FakeWorkshop):
    """Designs; everything else is as in the FakeWorkshop."""

    def __init__(self, made: Designs) -> None:
        super().__init__()
        self.designs = made

    def prepare(self, kind: str, request: JobRequest) -> JobRequest:
        """The prepared request."""
        return self.designs.prepare(kind, request) if kind == KIND else super().prepare(kind, request)

    def heading(self, kind: str, request: JobRequest) -> Mapping[str, Any]:
        """What rows have in common."""
        return self.designs.heading(kind, request) if kind == KIND else super().heading(kind, request)

    def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """Rows."""
        if kind == KIND:
            return self.designs.produce(kind, request, indices, in_background=in_background)
        return super().produce(kind, request, indices, in_background=in_background)
