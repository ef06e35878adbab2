"""Simulation requests of callers: benches prepared once and kept, sizings by index, rows streamed from the workers.

Knows neither models nor engines, so that ``josephson simulate`` starts without them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from app.analog.spice import parse_spice
from app.errors import EngineClosed, UnknownName, pointing_at
from app.hand_over import HandOver
from app.made_once import MadeOnce
from app.requests import AnalogSimulateRequest, BenchRequest, CornerRequest, JobRequest
from app.simulated_rows import simulated_rows_of
from app.simulators.processes import PoolShare, WorkerPool
from app.sizes.draws import draw
from app.technologies._added import load_added
from app.technologies._base import DEFAULT_TECHNOLOGY, Technology, technologies
from app.technologies._gmid import GmIdProvider
from app.testbenches._base import Corner, Metric, Testbench, testbenches
from app.testbenches._pool import simulation_pool
from app.testbenches._simulator import Bench, BenchSimulator, SimulationRow, bench_start, make_corner, prepare_bench
from app.workshop import Row

log = logging.getLogger(__name__)

#: The kind of requests that this module serves.
KIND = "analog.simulate"

#: Rows of one caller that are given to the store of simulated rows together.
_KEPT_TOGETHER = 256

#: Benches that are kept prepared, the last used ones.
KEPT_BENCHES = 32

#: What decides a bench; the rest of a request says which sizings, and what is told of them.
_OF_BENCH = frozenset(BenchRequest.model_fields) - {"seed", "sizings", "draw"}

Asked = TypeVar("Asked", bound=BenchRequest)


class SimulationSettings(Protocol):
    """What simulations need to know of this machine."""

    @property
    def data_dir(self) -> Path:
        """Folder of added technologies, and of the cache of their gm/Id tables."""

    @property
    def validator_workers(self) -> int:
        """Processes for ngspice."""


class RowStore(Protocol):
    """Keeps what was simulated: `app.simulated_rows.SimulatedRows`."""

    def add(self, bench: Bench, rows: Sequence[SimulationRow], /) -> int:
        """Later predictions of the bench's circuit follow these rows; how many were kept."""
        ...


def build_simulations(settings: SimulationSettings) -> Simulations:
    """Simulations with a pool of their own, which `aclose` ends. Raises NgspiceMissing."""
    pool = simulation_pool(size=settings.validator_workers)
    load_technologies(settings.data_dir)
    return Simulations(pool, settings.data_dir, simulated_rows_of(settings.data_dir))


def load_technologies(data_dir: Path) -> None:
    """Technologies that were added on this machine are registered; those that cannot be used are named in the log."""
    for problem in load_added(data_dir / "technologies"):
        log.warning("%s", problem)


class Simulations:
    """Rows of ``analog.simulate``; implements `workshop.RowMaker`. The pool is closed by `aclose`, or by its owner.

    What is simulated is given to `store`, where there is one: later predictions of the same circuits follow it.
    """

    def __init__(self, pool: WorkerPool, data_dir: Path, store: RowStore | None = None) -> None:
        self._pool = pool
        self._store = store
        self.benches = BenchSimulator(pool, tables_folder=data_dir / "gmid")
        self.prepared = PreparedBenches(self.benches.gmid)

    def prepare(self, kind: str, request: JobRequest) -> AnalogSimulateRequest:
        """The request with its corner spelt out and, where sizings are drawn, its seed.

        Raises:
            CircuitSyntaxError: the netlist cannot be read.
            InvalidRequest, UnknownName, LimitExceeded: the testbench cannot do what is asked for.
            Unavailable: the technology's cards are not on this machine.
        """
        settled = with_seed(with_corner(_simulation(kind, request)))
        bench = self._bench(settled)
        for number, sizing in enumerate(settled.sizings or ()):
            bench.space.vector(sizing, pointer=f"/sizings/{number}")
        return settled

    def heading(self, kind: str, request: JobRequest) -> Mapping[str, Any]:
        """Testbench, technology, corner and variables of the prepared request."""
        request = _simulation(kind, request)
        bench = self._bench(with_corner(request))
        return {**describe_bench(bench, bench.metrics), "seed": request.seed}

    async def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """Rows in order of completion; see `workshop.RowMaker.produce`."""
        request = _simulation(kind, request)
        rows = HandOver()
        share = PoolShare(self._pool, in_background=in_background)
        pump = partial(self._pump, request, indices, share, rows)
        async with aclosing(rows.of_thread(pump, name="simulate", stop=share.stop)) as made:
            async for row in made:
                yield row

    def _pump(self, request: AnalogSimulateRequest, indices: Sequence[int], share: PoolShare, rows: HandOver) -> None:
        """Every row has been handed over, then None; or the exception that ended it."""
        try:
            bench = self._bench(with_corner(request))
            vectors = [sizing_of(bench, request, index) for index in indices]
            vector_of = dict(zip(indices, vectors, strict=True))
            simulated: list[SimulationRow] = []
            for row in BenchSimulator(share).run(bench, vectors, indices):
                simulated.append(dict(row))
                derived = row.pop("derived")
                if request.include_deck:
                    row["decks"] = bench.decks(vector_of[row["index"]], derived)
                rows.put(row)
                if len(simulated) == _KEPT_TOGETHER:
                    self._keep(bench, simulated)
                    simulated = []
            self._keep(bench, simulated)
            rows.put(None)
        except Exception as error:  # the one who waits has to hear of it, whatever it is
            rows.put(EngineClosed("the simulator's workers were closed") if self._pool.is_closed else error)

    def _keep(self, bench: Bench, simulated: Sequence[SimulationRow]) -> None:
        if self._store is not None and simulated:
            self._store.add(bench, simulated)

    def _bench(self, request: AnalogSimulateRequest) -> Bench:
        return self.prepared.get(request, with_facts=request.include_operating_point)

    async def aclose(self) -> None:
        """Worker processes are gone."""
        await asyncio.to_thread(self._pool.close)


class PreparedBenches:
    """Benches of requests, the last used ones kept: what is simulated and what is predicted share them. Thread-safe."""

    def __init__(self, gmid: GmIdProvider) -> None:
        self.gmid = gmid
        self._kept: MadeOnce[Bench] = MadeOnce(KEPT_BENCHES)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, request: BenchRequest, *, with_facts: bool) -> Bench:
        """The bench of a request whose corner is spelt out; raises what `prepare_bench` and `parse_spice` raise."""
        return self._kept.get(bench_key(request, with_facts=with_facts), lambda: self._make(request, with_facts))

    def _make(self, request: BenchRequest, with_facts: bool) -> Bench:
        bench = _make_bench(request, with_facts)
        return replace(bench, space=bench.space.starting_at(bench_start(bench, self.gmid)))


def bench_key(request: BenchRequest, *, with_facts: bool) -> str:
    """What requests of the same bench share."""
    asked = request.model_dump_json(include=set(_OF_BENCH))
    return hashlib.sha256(f"{with_facts} {asked}".encode()).hexdigest()


def _simulation(kind: str, request: JobRequest) -> AnalogSimulateRequest:
    if not isinstance(request, AnalogSimulateRequest):
        raise UnknownName("kind of simulation", kind, [KIND], pointer="/kind")
    return request


def with_corner(request: Asked) -> Asked:
    """The request with its corner spelt out."""
    asked = request.corner or CornerRequest()
    corner = make_corner(_technology(request), asked.process, asked.supply_v, asked.celsius)
    return request.model_copy(update={"corner": CornerRequest(**asdict(corner))})


def with_seed(request: Asked) -> Asked:
    """The request with a seed, which only matters where sizings are drawn."""
    if request.seed is not None:
        return request
    return request.model_copy(update={"seed": 0 if request.draw is None else secrets.randbelow(2**53)})


def _make_bench(request: BenchRequest, with_facts: bool) -> Bench:
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
        with_facts=with_facts,
    )


def _technology(request: BenchRequest) -> Technology:
    with pointing_at("/technology"):
        return technologies[request.technology]


def sizing_of(bench: Bench, request: BenchRequest, index: int, *, is_bounded: bool = True) -> tuple[float, ...]:
    """The values of sizing `index`; `is_bounded` and errors are as of `SizeSpace.vector`."""
    if request.draw is not None:
        return draw(bench.space, bench.space.start, request.draw.method, request.seed or 0, index)
    if request.sizings is None:
        return bench.space.start
    return bench.space.vector(request.sizings[index], pointer=f"/sizings/{index}", is_bounded=is_bounded)


def describe_bench(bench: Bench, metrics: Iterable[Metric]) -> dict[str, Any]:
    """What the rows of a bench have in common: testbench, technology, corner, and these metrics and its variables."""
    return {
        "testbench": bench.testbench.name,
        "testbench_version": bench.testbench.version,
        "technology": bench.technology.name,
        "card_hash": bench.models.card_hash,
        "corner": asdict(bench.corner),
        "settings": dict(bench.settings),
        "ports": dict(bench.wiring.port_of),
        "metrics": [{"name": metric.name, "unit": metric.unit} for metric in metrics],
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
    }


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
