"""Simulation requests of callers: benches prepared once and kept, sizings by index, rows streamed from the workers.

Knows neither models nor engines, so that ``josephson simulate`` starts without them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from app.analog.spice import parse_spice
from app.errors import EngineClosed, UnknownName, pointing_at
from app.hand_over import HandOver
from app.requests import AnalogSimulateRequest, CornerRequest, JobRequest
from app.simulators.processes import PoolShare, WorkerPool
from app.sizes.draws import draw
from app.technologies._added import load_added
from app.technologies._base import DEFAULT_TECHNOLOGY, Technology, technologies
from app.testbenches._base import Corner, Metric, Testbench, testbenches
from app.testbenches._pool import simulation_pool
from app.testbenches._simulator import Bench, BenchSimulator, make_corner, prepare_bench
from app.workshop import Row

log = logging.getLogger(__name__)

#: The kind of requests that this module serves.
KIND = "analog.simulate"

#: Benches that are kept prepared, the last used ones.
KEPT_BENCHES = 32

#: What decides a bench; the rest of a request only says which sizings.
_SIZINGS = frozenset({"seed", "sizings", "draw", "include_deck"})


class SimulationSettings(Protocol):
    """What simulations need to know of this machine."""

    @property
    def data_dir(self) -> Path:
        """Folder of added technologies, and of the cache of their gm/Id tables."""

    @property
    def validator_workers(self) -> int:
        """Processes for ngspice."""


def build_simulations(settings: SimulationSettings) -> Simulations:
    """Simulations with a pool of their own, which `aclose` ends. Raises NgspiceMissing."""
    pool = simulation_pool(size=settings.validator_workers)
    load_technologies(settings.data_dir)
    return Simulations(pool, settings.data_dir)


def load_technologies(data_dir: Path) -> None:
    """Technologies that were added on this machine are registered; those that cannot be used are named in the log."""
    for problem in load_added(data_dir / "technologies"):
        log.warning("%s", problem)


class Simulations:
    """Rows of ``analog.simulate``; implements `workshop.RowMaker`. The pool is closed by `aclose`, or by its owner."""

    def __init__(self, pool: WorkerPool, data_dir: Path) -> None:
        self._pool = pool
        self.benches = BenchSimulator(pool, tables_folder=data_dir / "gmid")
        self._prepared = _BenchCache(self.benches)

    def prepare(self, kind: str, request: JobRequest) -> AnalogSimulateRequest:
        """The request with its corner spelt out and, where sizings are drawn, its seed.

        Raises:
            CircuitSyntaxError: the netlist cannot be read.
            InvalidRequest, UnknownName, LimitExceeded: the testbench cannot do what is asked for.
            Unavailable: the technology's cards are not on this machine.
        """
        request = _simulation(kind, request)
        settled = _with_corner(request)
        bench = self._prepared.get(settled)
        for number, sizing in enumerate(request.sizings or ()):
            bench.space.vector(sizing, pointer=f"/sizings/{number}")
        seed = settled.seed
        if seed is None:
            seed = 0 if settled.draw is None else secrets.randbelow(2**53)
        return settled.model_copy(update={"seed": seed})

    def heading(self, kind: str, request: JobRequest) -> Mapping[str, Any]:
        """Testbench, technology, corner and variables of the prepared request."""
        request = _simulation(kind, request)
        bench = self._prepared.get(_with_corner(request))
        return {
            "testbench": bench.testbench.name,
            "testbench_version": bench.testbench.version,
            "technology": bench.technology.name,
            "card_hash": bench.models.card_hash,
            "corner": asdict(bench.corner),
            "settings": dict(bench.settings),
            "ports": dict(bench.wiring.port_of),
            "metrics": [{"name": metric.name, "unit": metric.unit} for metric in bench.metrics],
            "sizes": [
                {
                    "name": variable.name,
                    "unit": variable.unit,
                    "low": variable.low,
                    "high": variable.high,
                    "start": variable.start,
                }
                for variable in bench.space.variables
            ],
            "seed": request.seed,
        }

    async def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """Rows in order of completion; see `workshop.RowMaker.produce`."""
        request = _simulation(kind, request)
        rows = HandOver()
        share = PoolShare(self._pool, in_background=in_background)
        thread = threading.Thread(target=self._pump, args=(request, indices, share, rows), name="simulate", daemon=True)
        thread.start()
        try:
            while (row := await rows.next()) is not None:
                yield row
        finally:
            rows.close()
            share.stop()

    def _pump(self, request: AnalogSimulateRequest, indices: Sequence[int], share: PoolShare, rows: HandOver) -> None:
        """Every row has been handed over, then None; or the exception that ended it."""
        try:
            bench = self._prepared.get(_with_corner(request))
            vectors = [_vector(bench, request, index) for index in indices]
            vector_of = dict(zip(indices, vectors, strict=True))
            for row in BenchSimulator(share).run(bench, vectors, indices):
                derived = row.pop("derived")
                if request.include_deck:
                    row["decks"] = bench.decks(vector_of[row["index"]], derived)
                rows.put(row)
            rows.put(None)
        except Exception as error:  # the one who waits has to hear of it, whatever it is
            rows.put(EngineClosed("the simulator's workers were closed") if self._pool.is_closed else error)

    async def aclose(self) -> None:
        """Worker processes are gone."""
        await asyncio.to_thread(self._pool.close)


class _BenchCache:
    """The last used benches by what decides them. Two callers who want the same one at once wait for one making."""

    def __init__(self, simulator: BenchSimulator) -> None:
        self._simulator = simulator
        self._lock = threading.Lock()
        self._made: OrderedDict[str, Future[Bench]] = OrderedDict()

    def get(self, request: AnalogSimulateRequest) -> Bench:
        """The bench of a request whose corner is spelt out; raises what `prepare_bench` and `parse_spice` raise."""
        key = hashlib.sha256(request.model_dump_json(exclude=set(_SIZINGS)).encode()).hexdigest()
        with self._lock:
            made = self._made.get(key)
            is_mine = made is None
            if made is None:
                made = self._made[key] = Future()
            self._made.move_to_end(key)
            while len(self._made) > KEPT_BENCHES:
                self._made.popitem(last=False)
        if not is_mine:
            failure = made.exception()
            return made.result() if failure is None else self._make(request)  # which raises an error of its own
        try:
            bench = self._make(request)
        except BaseException as error:
            with self._lock:
                self._made.pop(key, None)
            made.set_exception(error)
            raise
        made.set_result(bench)
        return bench

    def _make(self, request: AnalogSimulateRequest) -> Bench:
        bench = _make_bench(request)
        start = self._simulator.guided_start(bench)
        return replace(bench, space=bench.space.starting_at(start))


def _simulation(kind: str, request: JobRequest) -> AnalogSimulateRequest:
    if not isinstance(request, AnalogSimulateRequest):
        raise UnknownName("kind of simulation", kind, [KIND], pointer="/kind")
    return request


def _with_corner(request: AnalogSimulateRequest) -> AnalogSimulateRequest:
    """The request with its corner spelt out."""
    asked = request.corner or CornerRequest()
    corner = make_corner(_technology(request), asked.process, asked.supply_v, asked.celsius)
    return request.model_copy(update={"corner": CornerRequest(**asdict(corner))})


def _make_bench(request: AnalogSimulateRequest) -> Bench:
    with pointing_at("/testbench"):
        testbench = testbenches[request.testbench]
    with pointing_at("/netlist"):
        netlist = parse_spice(request.netlist).netlist
    assert request.corner is not None
    return prepare_bench(
        netlist,
        testbench,
        _technology(request),
        corner=Corner(**request.corner.model_dump()),
        metrics=request.metrics,
        settings=request.settings,
        ports=request.ports,
        with_facts=request.include_operating_point,
    )


def _technology(request: AnalogSimulateRequest) -> Technology:
    with pointing_at("/technology"):
        return technologies[request.technology]


def _vector(bench: Bench, request: AnalogSimulateRequest, index: int) -> tuple[float, ...]:
    """The values of sizing `index`."""
    if request.draw is not None:
        return draw(bench.space, bench.space.start, request.draw.method, request.seed or 0, index)
    if request.sizings is None:
        return bench.space.start
    return bench.space.vector(request.sizings[index], pointer=f"/sizings/{index}")


def describe_testbench(testbench: Testbench) -> dict[str, Any]:
    """The testbench for callers: what it is for, what can be chosen, what is measured, cheap to costly."""
    return {
        "name": testbench.name,
        "version": testbench.version,
        "summary": testbench.summary,
        "types": list(testbench.types),
        "roles": [asdict(role) | {"ports": list(role.ports)} for role in testbench.roles],
        "settings": [asdict(setting) for setting in testbench.settings],
        "metrics": [_describe_metric(metric) for metric in testbench.metrics],
        "works": [asdict(bound) for bound in testbench.works],
    }


def _describe_metric(metric: Metric) -> dict[str, Any]:
    return {
        "name": metric.name,
        "unit": metric.unit,
        "definition": metric.definition,
        "undefined": metric.undefined,
        "better": metric.better,
        "runs": list(metric.runs),
    }


def describe_technology(technology: Technology) -> dict[str, Any]:
    """The technology for callers: supply, corners, limits, licence, and whether its cards are on this machine."""
    return {
        "name": technology.name,
        "summary": technology.summary,
        "is_default": technology.name == DEFAULT_TECHNOLOGY,
        "is_available": technology.is_available,
        "supply_v": technology.supply_v,
        "celsius": technology.celsius,
        "processes": list(technology.processes),
        "limits": {
            kind: {size: list(ends) for size, ends in sizes.items()} for kind, sizes in technology.ranges.items()
        },
        "borrowed": list(technology.borrowed),
        "licence": technology.licence,
        "source": technology.source,
    }
