"""Sizing requests of callers: a circuit made ready once, then a row for every run of a method on it.

Each call searches in a thread of its own; the simulations of all calls share the workers.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from app.analog.kinds import CIRCUIT_TYPES
from app.analog.netlist import Netlist
from app.analog.spice import parse_spice
from app.errors import (
    EngineClosed,
    InvalidInput,
    InvalidRequest,
    JosephsonError,
    LimitExceeded,
    NotLearnt,
    SimulatorFailure,
    Unavailable,
    UnknownName,
    pointing_at,
)
from app.hand_over import HandOver
from app.made_once import MadeOnce
from app.predictions import PredictionSettings, predictions_of
from app.requests import DEFAULT_SIZING_METHOD, AnalogSizeRequest, CornerRequest, JobRequest, SpecificationRequest
from app.simulations import PreparedBenches, RowStore, describe_bench, load_technologies
from app.simulators.processes import PoolShare, WorkerPool
from app.sizing._base import Floats, Forecast, SizingMethod, Trial, sizing_methods
from app.sizing.model import CircuitForecaster, CircuitModel
from app.sizing.problem import SizingProblem
from app.sizing.report import result_fields, unmet_limits
from app.sizing.run import Budget, SizingResult, size_circuit
from app.sizing.setup import SizingSetup, sizing_setup
from app.specification import Specification, specification_of
from app.technologies._base import Technology, technologies
from app.technologies._gmid import GmIdProvider, GmIdTableSource
from app.testbenches._base import Bound, Corner, Testbench, testbenches
from app.testbenches._function import testbenches_for
from app.testbenches._pool import simulation_pool
from app.testbenches._simulator import Bench, BenchSimulator, SimulationRow, make_corner
from app.workshop import Row, unfinished_row

log = logging.getLogger(__name__)

#: The kind of requests that this module serves.
KIND = "analog.size"

#: Circuits that are kept ready, the last used ones.
KEPT_SETUPS = 16

#: Simulations that a budget has at least for each corner: the search's own check there and the last one.
_CHECKS = 2

#: Shortest time between two words about a run, in seconds.
_NEWS_S = 0.5

#: What decides a setup; the rest of a request says how it is searched.
_OF_SETUP = frozenset({"netlist", "testbench", "technology", "specification", "ports"})


class ModelMaker(Protocol):
    """Makes the offline models of a circuit: `app.predictions.Predictions.circuit_models`."""

    def __call__(self, benches: Sequence[Bench], /, *, from_store: bool) -> Sequence[CircuitModel]:
        """One for each corner; they begin with what was simulated of the circuit before, or with nothing.

        Raises NotLearnt, LimitExceeded or Unavailable where there are none.
        """
        ...


def build_sizings(settings: PredictionSettings) -> Sizings:
    """Sizings with workers and a neural simulator of their own, which `aclose` ends. Raises NgspiceMissing."""
    pool = simulation_pool(size=settings.validator_workers)
    load_technologies(settings.data_dir)
    gmid = GmIdTableSource(pool, settings.data_dir / "gmid")
    predictions = predictions_of(settings, PreparedBenches(gmid), pool, owned=pool)
    return Sizings(pool, gmid, predictions.circuit_models, predictions.simulated, close=predictions.close)


class Sizings:
    """Rows of ``analog.size``; implements `workshop.RowMaker`.

    Args:
        pool: Where everything is simulated.
        models_of: Makes the offline models of methods that use one.
        store: Is given what the searches simulated.
        close: What `aclose` does; the pool is closed when that has been done, or before it by its owner.
    """

    def __init__(
        self,
        pool: WorkerPool,
        gmid: GmIdProvider,
        models_of: ModelMaker,
        store: RowStore | None = None,
        *,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.pool = pool
        self.gmid = gmid
        self.models_of = models_of
        self._store = store
        self._close = close or pool.close
        self._setups: MadeOnce[SizingSetup] = MadeOnce(KEPT_SETUPS)

    def prepare(self, kind: str, request: JobRequest) -> AnalogSizeRequest:
        """The request with its testbench and seed settled. Simulates nothing but what gm/Id tables are made of.

        Raises:
            CircuitSyntaxError: the netlist cannot be read.
            InvalidInput: nothing could meet the specification, the circuit cannot be sized, or the budget is too small.
            Unavailable: the technology's cards, or what the method needs, are not on this machine.
        """
        asked = _sizing(kind, request)
        with pointing_at("/technology"):
            technologies[asked.technology]
        with pointing_at("/method"):
            sizing_methods[asked.method]
        seed = secrets.randbelow(2**53) if asked.seed is None else asked.seed
        settled = asked.model_copy(update={"testbench": _testbench(asked).name, "type": None, "seed": seed})
        corners = len(self._setup(settled).corners)
        if settled.budget.simulations < _CHECKS * corners:
            raise InvalidRequest(
                f"{settled.budget.simulations} simulations are too few for {corners} corners, each of which is checked "
                f"twice; allow at least {_CHECKS * corners}, or list fewer corners",
                pointer="/budget/simulations",
            )
        return settled

    def heading(self, kind: str, request: JobRequest) -> Mapping[str, Any]:
        """Testbench, technology, corners, variables, specification and budget of the prepared request."""
        request = _sizing(kind, request)
        setup = self._setup(request)
        bench = setup.verify[0]
        return {
            **describe_bench(bench, bench.metrics),
            "corners": {str(corner): asdict(corner) for corner in setup.corners},
            "specification": setup.problem.specification.as_json(),
            "method": request.method,
            "budget": request.budget.model_dump(),
            "seed": request.seed,
        }

    async def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """Rows in the order of `indices`, unfinished ones between them; see `workshop.RowMaker.produce`."""
        request = _sizing(kind, request)
        rows = HandOver()
        share = PoolShare(self.pool, in_background=in_background)
        pump = partial(self._pump, request, indices, share, rows)
        async with aclosing(rows.of_thread(pump, name="size", stop=share.stop)) as made:
            async for row in made:
                yield row

    async def aclose(self) -> None:
        """Worker processes and models are gone."""
        await asyncio.to_thread(self._close)

    def _pump(self, request: AnalogSizeRequest, indices: Sequence[int], share: PoolShare, rows: HandOver) -> None:
        """Every row has been handed over, then None; or the exception that ended it."""
        try:
            setup = self._setup(request)
            for index in indices:
                rows.put(self._row(setup, request, index, share, rows))
            rows.put(None)
        except Exception as error:  # the one who waits has to hear of it, whatever it is
            rows.put(EngineClosed("the simulator's workers were closed") if self.pool.is_closed else error)

    def _row(self, setup: SizingSetup, request: AnalogSizeRequest, index: int, share: PoolShare, rows: HandOver) -> Row:
        """The row of one run; raises only where the machinery is down, or nobody waits any more."""
        base: Row = {"index": index, "status": "error", "seed": request.seed, "method": request.method}
        try:
            return base | self._sized(setup, request, index, share, rows)
        except Unavailable:
            raise
        except JosephsonError as error:
            if self.pool.is_closed or rows.is_closed:
                raise
            return base | {"problem": {"type": type(error).__name__, "detail": str(error)}}

    def _sized(
        self, setup: SizingSetup, request: AnalogSizeRequest, index: int, share: PoolShare, rows: HandOver
    ) -> Row:
        budget = request.budget
        news = _News(setup.problem, budget.simulations, index, rows)
        _, fields = self.sized(
            setup,
            method=sizing_methods[request.method],
            seed=seed_of_run(request.seed or 0, index),
            budget=Budget(budget.simulations, 60 * budget.minutes),
            share=share,
            include_decks=request.include_decks,
            adapt=request.adapt,
            on_trial=news.on_trial,
            on_forecast=news.on_forecast,
            should_stop=lambda: rows.is_closed,
        )
        return fields

    def sized(
        self,
        setup: SizingSetup,
        *,
        method: SizingMethod,
        seed: int,
        budget: Budget,
        share: PoolShare,
        include_decks: bool,
        adapt: bool = False,
        on_trial: Callable[[Trial, int], None] | None = None,
        on_forecast: Callable[[int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> tuple[SizingResult, dict[str, Any]]:
        """What became of one sizing, and the same as the fields of a row; what was simulated is in the store.

        Args:
            budget: Its seconds include the making of the offline model.
            share: Of the pool, for the simulations.
            adapt: Whether the offline model begins with what was simulated of the circuit before.
            on_trial: As of `size_circuit`, like `should_stop`.
            on_forecast: Is told how many offline simulations there were so far, whenever there are more.

        Raises:
            SimulatorFailure: the share was stopped, or the pool closed.
            Unavailable: what the method needs is not on this machine.
        """
        began, began_cpu_s = time.monotonic(), time.process_time()
        model, why_not = None, None
        if method.uses_model:
            model, why_not = forecaster_of(setup.problem, self.models_of, from_store=adapt)
        result = size_circuit(
            setup.problem,
            method,
            BenchSimulator(share),
            seed=seed,
            budget=replace(budget, seconds=budget.seconds - (time.monotonic() - began)),
            verify=setup.verify,
            model=None if model is None else _WatchedModel(model, share, on_forecast),
            on_trial=on_trial,
            should_stop=should_stop,
        )
        fields = result_fields(setup, result, include_decks=include_decks)
        if why_not is not None:
            fields["model"] = {"note": why_not}
        return result, fields | {
            "stored_rows": self._stored(setup.problem.benches, result.simulated),
            "wall_s": round(time.monotonic() - began, 3),
            "cpu_s": {
                "simulator": round(result.simulator_cpu_s, 3),
                "own": round(time.process_time() - began_cpu_s, 3),
            },
        }

    def _stored(self, benches: Sequence[Bench], simulated: Sequence[tuple[int, SimulationRow]]) -> int:
        """How many of the rows, each with the number of its bench, the store has taken."""
        if self._store is None:
            return 0
        by_bench = ([row for number, row in simulated if number == place] for place in range(len(benches)))
        return sum(self._store.add(bench, rows) for bench, rows in zip(benches, by_bench, strict=True))

    def _setup(self, request: AnalogSizeRequest) -> SizingSetup:
        """The circuit of a request that names its testbench; raises as `prepare`."""
        asked = request.model_dump_json(include=set(_OF_SETUP))
        return self._setups.get(hashlib.sha256(asked.encode()).hexdigest(), lambda: self._make_setup(request))

    def _make_setup(self, request: AnalogSizeRequest) -> SizingSetup:
        technology = technologies[request.technology]
        return sizing_setup(
            _netlist(request),
            _testbench(request),
            technology,
            specification_in(request.specification, technology),
            self.gmid,
            ports=request.ports,
        )


@dataclass(frozen=True)
class _WatchedModel:
    """A forecaster that says how much it was asked, and says nothing more when its sizing was stopped."""

    forecaster: CircuitForecaster
    share: PoolShare
    on_forecast: Callable[[int], None] | None

    @property
    def evaluations(self) -> int:
        """See `LearningModel`."""
        return self.forecaster.evaluations

    def forecast(self, points: Floats) -> Forecast:
        """See `OfflineModel.forecast`; SimulatorFailure when nothing can be simulated any more."""
        if self.share.is_stopped:
            raise SimulatorFailure("the sizing was stopped before it had a result; ask again")
        told = self.forecaster.forecast(points)
        if self.on_forecast is not None:
            self.on_forecast(self.evaluations)
        return told

    def learn(self, corner: int, rows: Sequence[SimulationRow]) -> None:
        """See `LearningModel.learn`."""
        self.forecaster.learn(corner, rows)

    def report(self) -> Mapping[str, Any]:
        """See `LearningModel.report`."""
        return self.forecaster.report()


class _News:
    """Tells those who wait for a run, now and then, how far it is."""

    def __init__(self, problem: SizingProblem, simulations: int, index: int, rows: HandOver) -> None:
        self._problem = problem
        self._budget = simulations
        self._index = index
        self._rows = rows
        self._best: Trial | None = None
        self._simulations = 0
        self._offline_simulations = 0
        self._told_at = -_NEWS_S

    def on_trial(self, trial: Trial, simulations: int) -> None:
        """One more trial, after so many simulations."""
        if self._best is None or trial.score > self._best.score:
            self._best = trial
        self._simulations = simulations
        self._tell()

    def on_forecast(self, offline_simulations: int) -> None:
        """So many offline simulations there were."""
        self._offline_simulations = offline_simulations
        self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told_at < _NEWS_S:
            return
        self._told_at = now
        words = f"{self._simulations} of {self._budget} simulations"
        if self._offline_simulations:
            words += f" and {self._offline_simulations} offline"
        told: dict[str, Any] = {}
        if self._best is not None:
            missed = unmet_limits(self._problem, self._best.margins)
            words += f", the best misses {', '.join(missed)}" if missed else ", the best meets the specification"
            told = {"score": self._best.score, "missed": list(missed)}
        self._rows.put(
            unfinished_row(
                self._index,
                words,
                simulations=self._simulations,
                offline_simulations=self._offline_simulations,
                **told,
            )
        )


def forecaster_of(
    problem: SizingProblem, models_of: ModelMaker, *, from_store: bool
) -> tuple[CircuitForecaster | None, str | None]:
    """The offline model of a problem's circuit, or why there is none, a sentence; `from_store` as of `ModelMaker`."""
    try:
        return CircuitForecaster(problem, models_of(problem.benches, from_store=from_store)), None
    except (NotLearnt, LimitExceeded, Unavailable) as error:
        return None, str(error)


def seed_of_run(seed: int, index: int) -> int:
    """What run `index` of a request draws from: below 2**32, which every library takes."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def measuring_testbenches(circuit_type: str) -> tuple[Testbench, ...]:
    """The testbenches of circuits of a type, those that ask for more ports first.

    Raises:
        UnknownName: no such type.
        InvalidRequest: nothing measures circuits of the type.
    """
    if circuit_type not in CIRCUIT_TYPES:
        raise UnknownName("circuit type", circuit_type, CIRCUIT_TYPES, pointer="/type")
    found = testbenches_for(circuit_type)
    if not found:
        measured = sorted({name for testbench in testbenches.values() for name in testbench.types})
        raise InvalidRequest(
            f"no testbench measures circuits of type {circuit_type}; those of these types are: {', '.join(measured)}",
            pointer="/type",
        )
    return found


def fitting_testbench(
    circuit_type: str, netlist: Netlist, metrics: Sequence[str], ports: Mapping[str, str] | None = None
) -> Testbench:
    """The first testbench of the type that can drive the circuit, those before the others that have all the metrics.

    Raises:
        UnknownName, InvalidRequest: as `measuring_testbenches`; or none can drive it.
    """
    fitting, refused = [], []
    for testbench in measuring_testbenches(circuit_type):
        try:
            testbench.wire(netlist, ports)
        except InvalidInput as error:
            refused.append(error)
        else:
            fitting.append(testbench)
    if not fitting:
        raise InvalidRequest("; ".join(map(str, refused)), pointer=refused[0].pointer)
    return next((each for each in fitting if set(metrics) <= each.metric_of.keys()), fitting[0])


def specification_in(asked: SpecificationRequest, technology: Technology) -> Specification:
    """What is asked for in a technology, which says what is left open in listed corners.

    Raises:
        InvalidRequest: what is asked contradicts itself, or the technology has no such corner.
        UnknownName: no process corner of that name.
    """
    return specification_of(
        [Bound(bound.metric, bound.low, bound.high) for bound in asked.bounds],
        objective=asked.wish,
        settings=asked.settings,
        supply_v=asked.supply_v,
        corners=asked.corners if isinstance(asked.corners, str) else _corners_in(asked, asked.corners, technology),
    )


def _corners_in(
    asked: SpecificationRequest, corners: Sequence[CornerRequest], technology: Technology
) -> tuple[Corner, ...]:
    found: dict[str, Corner] = {}
    for number, each in enumerate(corners):
        supply_v = asked.supply_v if each.supply_v is None else each.supply_v
        try:
            corner = make_corner(technology, each.process, supply_v, each.celsius)
            if str(corner) in found:
                raise InvalidRequest(f"the corner {corner} is listed twice")
        except InvalidInput as error:
            error.pointer = f"/specification/corners/{number}"
            raise
        found[str(corner)] = corner
    return tuple(found.values())


def describe_method(name: str, method: SizingMethod) -> dict[str, Any]:
    """A sizing method for callers."""
    return {
        "name": name,
        "summary": method.summary,
        "reference": method.reference,
        "uses_model": method.uses_model,
        "is_default": name == DEFAULT_SIZING_METHOD,
    }


def _testbench(request: AnalogSizeRequest) -> Testbench:
    if request.testbench is not None:
        with pointing_at("/testbench"):
            return testbenches[request.testbench]
    metrics = [bound.metric for bound in request.specification.bounds]
    return fitting_testbench(request.type or "", _netlist(request), metrics, request.ports)


def _netlist(request: AnalogSizeRequest) -> Netlist:
    with pointing_at("/netlist"):
        return parse_spice(request.netlist).netlist


def _sizing(kind: str, request: JobRequest) -> AnalogSizeRequest:
    if not isinstance(request, AnalogSizeRequest):
        raise UnknownName("kind of sizing", kind, [KIND], pointer="/kind")
    return request
