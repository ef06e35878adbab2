"""Design requests of callers: a row for every candidate of a circuit type that is to meet a specification.

Joins the generator, which draws topologies, and the sizings, which simulate; each call runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any, cast

from app.analog.corpus import CorpusCircuit, read_archetypes
from app.design.candidates import Archetypes, Candidate, generation_of, twins
from app.design.checks import CandidateChecks
from app.design.run import DesignRun, DesignTools, least_simulations
from app.design.stages import REACHED
from app.design.triage import Forecaster
from app.design.warm_start import WarmStart
from app.errors import InvalidInput, InvalidRequest, UnknownName, pointing_at
from app.hand_over import HandOver
from app.requests import AnalogDesignRequest, JobRequest
from app.simulators.processes import PoolShare
from app.sizing._base import Floats, sizing_methods
from app.sizing.problem import SizingProblem
from app.sizing.run import SizingResult
from app.sizing.setup import SizingSetup
from app.sizings import Sizings, forecaster_of, measuring_testbenches, seed_of_run, specification_in
from app.specification import Specification, check_specification, corners_of
from app.technologies._base import Technology, technologies
from app.testbenches._base import Testbench, testbenches
from app.workshop import Row, RowMaker

#: The kind of requests that this module serves.
KIND = "analog.design"


@dataclass(frozen=True)
class _Aim:
    """What a prepared request is about."""

    testbench: Testbench
    technology: Technology
    specification: Specification


class Designs:
    """Rows of ``analog.design``; implements `workshop.RowMaker`.

    Args:
        generator: Makes rows of ``analog.generate``.
        sizings: Sizes candidates, and has the workers and gm/Id tables that they are checked with.
        at_once: Candidates that are worked on together.
        archetypes: Those that ship with the project when absent.
    """

    def __init__(
        self, generator: RowMaker, sizings: Sizings, *, at_once: int, archetypes: Archetypes | None = None
    ) -> None:
        self._generator = generator
        self._sizings = sizings
        self._at_once = at_once
        self._given = archetypes

    def prepare(self, kind: str, request: JobRequest) -> AnalogDesignRequest:
        """The request with its testbench, generator and seed settled. Simulates nothing.

        Raises:
            InvalidInput: nothing could meet the specification, there are no such candidates, or the budget is too
                small.
            Unavailable: the technology's cards, or the generator's model, are not on this machine.
        """
        asked = _design(kind, request)
        if asked.spent is not None:
            raise InvalidRequest("what was spent is told by the job that is resumed; leave it out", pointer="/spent")
        with pointing_at("/method"):
            sizing_methods[asked.method]
        aim = self._aim(asked)
        check_specification(aim.specification, aim.testbench, aim.technology)
        corners = len(corners_of(aim.specification, aim.technology))
        if asked.budget.simulations < least_simulations(corners):
            raise InvalidRequest(
                f"{asked.budget.simulations} simulations are too few to size one candidate at {corners} corners; allow "
                f"at least {least_simulations(corners)}, or list fewer corners",
                pointer="/budget/simulations",
            )
        seed = secrets.randbelow(2**53) if asked.seed is None else asked.seed
        settled = asked.model_copy(update={"testbench": aim.testbench.name, "seed": seed})
        return self._with_candidates(settled)

    def heading(self, kind: str, request: JobRequest) -> Mapping[str, Any]:
        """Type, testbench, technology, corners, metrics, specification, method and budget of the prepared request."""
        request = _design(kind, request)
        aim = self._aim(request)
        return {
            "type": request.type,
            "testbench": aim.testbench.name,
            "testbench_version": aim.testbench.version,
            "technology": aim.technology.name,
            "corners": {str(corner): asdict(corner) for corner in corners_of(aim.specification, aim.technology)},
            "metrics": [{"name": metric.name, "unit": metric.unit} for metric in aim.testbench.metrics],
            "specification": aim.specification.as_json(),
            "sources": request.sources,
            "method": request.method,
            "budget": request.budget.model_dump(),
            "enough": request.enough,
            "model": request.model,
            "seed": request.seed,
        }

    async def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """Rows as soon as it is known what became of a candidate; see `workshop.RowMaker.produce`.

        All indices of a request belong into one call: they share its budget.
        """
        request = _design(kind, request)
        rows = HandOver()
        share = PoolShare(self._sizings.pool, in_background=in_background)
        run = self._run(request, share, rows)
        drawn = await self._drawn(request, in_background=in_background)
        pump = partial(self._pump, run, drawn, indices, rows)
        async with aclosing(rows.of_thread(pump, name="design", stop=share.stop)) as made:
            async for row in made:
                yield row

    async def aclose(self) -> None:
        """Nothing is left to be closed: generator and sizings belong to whoever made them."""

    # --- preparing --------------------------------------------------------------------------------------------------

    @cached_property
    def _archetypes(self) -> Archetypes:
        return self._given or Archetypes(read_archetypes())

    def _aim(self, request: AnalogDesignRequest) -> _Aim:
        with pointing_at("/technology"):
            technology = technologies[request.technology]
        specification = specification_in(request.specification, technology)
        return _Aim(self._testbench(request, specification), technology, specification)

    def _testbench(self, request: AnalogDesignRequest, specification: Specification) -> Testbench:
        """The named testbench; else the one of the type that measures what is asked and drives most archetypes.

        Raises:
            UnknownName: no such testbench or type.
            InvalidRequest: nothing measures the type, or the named testbench does not.
        """
        fitting = measuring_testbenches(request.type)
        if request.testbench is not None:
            with pointing_at("/testbench"):
                testbench = testbenches[request.testbench]
            if testbench not in fitting:
                raise InvalidRequest(
                    f"testbench {testbench.name} measures circuits of type {', '.join(testbench.types)}, not "
                    f"{request.type}; choose {' or '.join(each.name for each in fitting)}",
                    pointer="/testbench",
                )
            return testbench
        able = [each for each in fitting if set(specification.metrics) <= each.metric_of.keys()]
        return max(able or fitting, key=lambda each: self._driven(request.type, each))

    def _driven(self, circuit_type: str, testbench: Testbench) -> int:
        """How many archetypes of the type the testbench can drive."""
        return sum(_drives(testbench, circuit) for circuit in self._archetypes.of_type(circuit_type))

    def _with_candidates(self, request: AnalogDesignRequest) -> AnalogDesignRequest:
        """The request with its generator, or with as many candidates as there are archetypes; raises as `prepare`."""
        if request.sources != "archetypes" or request.model is not None:
            settled = self._generator.prepare("analog.generate", generation_of(request))
            if request.sources != "archetypes":
                return request.model_copy(update={"model": settled.made_by})
        there = len(self._archetypes.proposed(request))
        if there == 0:
            raise InvalidRequest(
                f"no archetype of type {request.type} has {request.max_devices} devices or fewer; allow more, or let "
                "the generator draw",
                pointer="/max_devices",
            )
        return request.model_copy(update={"candidates": min(request.candidates, there), "model": None})

    # --- producing --------------------------------------------------------------------------------------------------

    def _run(self, request: AnalogDesignRequest, share: PoolShare, rows: HandOver) -> DesignRun:
        """The run of a prepared request, whose clock begins now."""
        aim, sizings = self._aim(request), self._sizings
        checks = CandidateChecks(sizings.pool, sizings.gmid, aim.testbench, aim.technology, aim.specification)

        def model_of(problem: SizingProblem) -> Forecaster | None:
            return forecaster_of(problem, sizings.models_of, from_store=False)[0]

        def size(
            setup: SizingSetup, /, *, index: int, points: Floats | None, **told: Any
        ) -> tuple[SizingResult, dict[str, Any]]:
            seed, own = seed_of_run(request.seed or 0, index), sizing_methods[request.method]
            method = own if points is None else WarmStart(own, points)
            return sizings.sized(
                setup, method=method, seed=seed, share=share, include_decks=request.include_decks, **told
            )

        def has_ended() -> bool:
            return rows.is_closed or sizings.pool.is_closed

        return DesignRun(request, DesignTools(checks, model_of, size, self._at_once), rows.put, has_ended)

    async def _drawn(self, request: AnalogDesignRequest, *, in_background: bool) -> list[Row]:
        """The generator's rows of the candidates that are not archetypes, by index."""
        first = len(await asyncio.to_thread(self._proposed, request))
        asked = generation_of(request)
        produced = self._generator.produce(
            "analog.generate", asked, range(first, request.candidates), in_background=in_background
        )
        # The protocol promises that the iterator can be closed, which only generators are typed for.
        async with aclosing(cast("AsyncGenerator[Row, None]", produced)) as rows:
            return sorted([row async for row in rows], key=lambda row: int(row["index"]))

    def _proposed(self, request: AnalogDesignRequest) -> tuple[Candidate, ...]:
        return self._archetypes.proposed(request)

    def _pump(self, run: DesignRun, drawn: Sequence[Row], indices: Sequence[int], rows: HandOver) -> None:
        """Every row has been handed over, then None; or the exception that ended it."""
        try:
            wanted = frozenset(indices)
            candidates = list(self._proposed(run.request))
            for row in drawn:
                if "netlist" in row:
                    candidates.append(self._archetypes.generated(row["index"], row))
                elif row["index"] in wanted:
                    rows.put(_not_proposed(row))
            run.run([each for each in candidates if each.index in wanted], twins(candidates))
            rows.put(None)
        except Exception as error:  # the one who waits has to hear of it, whatever it is
            rows.put(error)


def _design(kind: str, request: JobRequest) -> AnalogDesignRequest:
    if not isinstance(request, AnalogDesignRequest):
        raise UnknownName("kind of design", kind, [KIND], pointer="/kind")
    return request


def _drives(testbench: Testbench, circuit: CorpusCircuit) -> bool:
    try:
        testbench.wire(circuit.netlist)
    except InvalidInput:
        return False
    return True


def _not_proposed(row: Row) -> Row:
    """The row of a candidate that the generator could not draw, from what it said."""
    why = {"problem": row["problem"]} if "problem" in row else {"findings": row["findings"]}
    return {"index": row["index"], "status": "error", "origin": "generated", "reached": REACHED[0], **why}
