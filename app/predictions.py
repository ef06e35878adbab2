"""Predictions for callers: sizings of a netlist on a testbench by the neural simulator, thousands in a call.

Physics goes first: what the table simulator estimates is among what the network sees. Where no estimates can be had the
network does without, and the heading says so.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.analog.canonical import canonical_hash
from app.errors import (
    EngineClosed,
    InvalidInput,
    InvalidRequest,
    LimitExceeded,
    ModelDamaged,
    NgspiceMissing,
    NotLearnt,
    UnknownName,
    pointing_at,
)
from app.hand_over import HandOver
from app.neural_simulator.arrays import Estimates, RowInputs, facts_at
from app.neural_simulator.artefact import NeuralSimulator, Predicted
from app.neural_simulator.batching import Answered, PredictionQueue, Predictor, QueueShare
from app.neural_simulator.conformal import ConformalIntervals
from app.neural_simulator.features import (
    Sizings,
    TechnologyProfile,
    WiredTopology,
    condition_features,
    element_features,
)
from app.neural_simulator.inputs import Known
from app.neural_simulator.nearest import NearestRows
from app.neural_simulator.novelty import Experience
from app.neural_simulator.scales import Scale, Scales
from app.requests import NEURAL_SIMULATOR, AnalogPredictRequest, JobRequest, KnownMetrics
from app.resources import models_path
from app.simulation_corpus.estimates import bench_estimates
from app.simulations import (
    KEPT_BENCHES,
    Kept,
    PreparedBenches,
    bench_key,
    describe_bench,
    load_technologies,
    sizing_of,
    with_corner,
    with_seed,
)
from app.simulators.processes import WorkerPool
from app.table_simulator.device_tables import DeviceTableSource
from app.table_simulator.solver import TableSimulator
from app.technologies._gmid import GmIdTableSource
from app.testbenches._base import Metric, Testbench, testbenches
from app.testbenches._pool import simulation_pool
from app.testbenches._simulator import Bench
from app.workshop import Row

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

#: The kind of requests that this module serves.
KIND = "analog.predict"

#: Sizings of a caller that are made ready together, and how many such blocks wait for the network at once.
_BLOCK, _AHEAD = 512, 8

#: Devices and bias sources of a circuit at most: what a network takes grows with their square.
_MOST_ELEMENTS = 200

#: Sizes farther outside of their range than this, as a factor or in ranges of a voltage, are all the same to a network.
_FAR, _FAR_RANGES = 1e3, 10.0


class PredictionSettings(Protocol):
    """What predictions need to know of this machine."""

    @property
    def data_dir(self) -> Path:
        """Folder of added technologies, and of the caches of their tables."""

    @property
    def models_dir(self) -> Path | None:
        """Folder of trained models; the shipped ones when None."""

    @property
    def validator_workers(self) -> int:
        """Processes for ngspice."""


class TrainedSimulator(Predictor[Predicted], Protocol):
    """A trained model: `app.neural_simulator.artefact.NeuralSimulator`."""

    @property
    def testbenches(self) -> tuple[str, ...]:
        """Those that it can predict on."""

    @property
    def scales(self) -> Scales:
        """Of every metric that it has learnt."""

    @property
    def intervals(self) -> Mapping[tuple[bool, bool], ConformalIntervals]:
        """Reaches of its intervals, by whether a row has estimates and whether its circuit was learnt from."""

    @property
    def experience(self) -> Experience:
        """What it has learnt from."""

    @property
    def nearest(self) -> NearestRows:
        """Simulated rows that it ships with."""

    def ends(self, rows: RowInputs, predicted: Predicted, level: float) -> tuple[Floats, Floats]:
        """Ends [n, M], in targets, of intervals that hold the truth as often as `level` says."""
        ...


class Estimator(Protocol):
    """Says of sizings what is known without simulating them: `TableEstimator`."""

    def __call__(
        self, bench: Bench, vectors: Floats, metrics: Sequence[str], devices: Sequence[str], /
    ) -> tuple[Estimates, str | None]:
        """The estimates of n sizings, and a sentence where there are none at all."""
        ...


class TableEstimator:
    """Estimates by the table simulator, one call at a time. Thread-safe."""

    def __init__(self, pool: WorkerPool | None, data_dir: Path) -> None:
        """Without a `pool` of ngspice workers there are only the tables of the folder's cache."""
        self._simulator = TableSimulator(DeviceTableSource(pool, data_dir / "device_tables"))
        self._lock = threading.Lock()

    def __call__(
        self, bench: Bench, vectors: Floats, metrics: Sequence[str], devices: Sequence[str], /
    ) -> tuple[Estimates, str | None]:
        """See `simulation_corpus.estimates.bench_estimates`."""
        with self._lock:
            return bench_estimates(self._simulator, bench, vectors, metrics, devices)


def build_predictions(settings: PredictionSettings) -> Predictions:
    """Predictions with ngspice workers of their own, which `aclose` ends, for tables that are not cached yet."""
    load_technologies(settings.data_dir)
    try:
        pool = simulation_pool(size=settings.validator_workers)
    except NgspiceMissing as error:
        log.warning("%s", error)
        pool = None
    benches = PreparedBenches(GmIdTableSource(pool, settings.data_dir / "gmid"))
    return predictions_of(settings, benches, pool, owned=pool)


def predictions_of(
    settings: PredictionSettings,
    benches: PreparedBenches,
    pool: WorkerPool | None,
    *,
    owned: WorkerPool | None = None,
) -> Predictions:
    """Predictions by the model of this machine, which is loaded when it is first asked."""
    folder = (settings.models_dir or models_path()) / NEURAL_SIMULATOR
    return Predictions(lambda: load_trained(folder), benches, TableEstimator(pool, settings.data_dir), owned)


def load_trained(folder: Path) -> NeuralSimulator:
    """The model of a folder.

    Raises:
        CorpusMissing: there is none.
        ModelDamaged: its files are missing, changed or do not belong together.
    """
    try:
        return NeuralSimulator.load(folder)
    except InvalidInput as error:  # which is about the machine's files, not about what a caller sent
        raise ModelDamaged(f"model {folder.name}: {error}; train it anew with 'josephson train simulator'") from error


class Predictions:
    """Rows of ``analog.predict``; implements `workshop.RowMaker`. `owned` is a pool that `aclose` closes."""

    def __init__(
        self,
        load: Callable[[], TrainedSimulator],
        benches: PreparedBenches,
        estimate: Estimator,
        owned: WorkerPool | None = None,
    ) -> None:
        self._load = load
        self._benches = benches
        self._estimate = estimate
        self._owned = owned
        self._loading = threading.Lock()
        self._loaded: tuple[TrainedSimulator, PredictionQueue[Predicted]] | None = None
        self._is_closed = False
        self._subjects: Kept[_Subject] = Kept(KEPT_BENCHES)
        self._notes: Kept[str | None] = Kept(KEPT_BENCHES)

    def prepare(self, kind: str, request: JobRequest) -> AnalogPredictRequest:
        """The request with its corner spelt out and, where sizings are drawn, its seed.

        Raises:
            CircuitSyntaxError: the netlist cannot be read.
            InvalidInput: the testbench cannot do what is asked for, what is said to be known cannot be, or there are no
                intervals of the level.
            NotLearnt: a testbench or metric that the model has not learnt.
            Unavailable: there is no model, or the technology's cards are not on this machine.
        """
        asked = _prediction(kind, request)
        trained, _ = self._model()
        settled = with_seed(with_corner(asked))
        subject = self._subject(settled)
        subject.shown(settled.metrics)
        with pointing_at("/level"):
            for intervals in trained.intervals.values():
                intervals.reach(settled.testbench, settled.technology, subject.metrics[0], settled.level)
        for number, sizing in enumerate(settled.sizings or ()):
            subject.bench.space.vector(sizing, pointer=f"/sizings/{number}", is_bounded=False)
        for pointer, known in _known_maps(settled):
            subject.check_known(known, pointer)
        return settled

    def heading(self, kind: str, request: JobRequest) -> Mapping[str, Any]:
        """What `Simulations.heading` says, and the model, level and physics of the prepared request."""
        request = with_corner(_prediction(kind, request))
        subject = self._subject(request)
        note = self._physics_note(request, subject)
        return {
            **describe_bench(subject.bench, subject.shown(request.metrics).values()),
            "model": NEURAL_SIMULATOR,
            "level": request.level,
            "topology_known": subject.is_known,
            "physics": request.physics and note is None,
            **({} if note is None else {"physics_note": note}),
            "seed": request.seed,
        }

    async def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """Rows by index; see `workshop.RowMaker.produce`."""
        request = _prediction(kind, request)
        _, queue = await asyncio.to_thread(self._model)
        rows = HandOver()
        share = QueueShare(queue, in_background=in_background)
        thread = threading.Thread(target=self._pump, args=(request, indices, share, rows), name="rows", daemon=True)
        thread.start()
        try:
            while (row := await rows.next()) is not None:
                yield row
        finally:
            rows.close()
            share.stop()

    async def aclose(self) -> None:
        """Nothing more is predicted, and workers that are this object's own are gone."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """As `aclose`, for callers without an event loop."""
        with self._loading:
            self._is_closed = True
            if self._loaded is not None:
                self._loaded[1].close()
        if self._owned is not None:
            self._owned.close()

    def _pump(
        self, request: AnalogPredictRequest, indices: Sequence[int], share: QueueShare[Predicted], rows: HandOver
    ) -> None:
        """Every row has been handed over, then None; or the exception that ended it."""
        try:
            request = with_corner(request)
            subject = self._subject(request)
            has_physics = request.physics and self._physics_note(request, subject) is None
            waiting: deque[_Block] = deque()
            for start in range(0, len(indices), _BLOCK):
                if rows.is_closed:
                    return
                chosen = indices[start : start + _BLOCK]
                waiting.append(self._ask(subject, request, chosen, share, has_physics=has_physics))
                if len(waiting) == _AHEAD:
                    _hand_over(subject, request, waiting.popleft(), rows)
            while waiting:
                _hand_over(subject, request, waiting.popleft(), rows)
            rows.put(None)
        except CancelledError:
            return  # nobody waits for the rows
        except Exception as error:  # the one who waits has to hear of it, whatever it is
            rows.put(error)

    def _ask(
        self,
        subject: _Subject,
        request: AnalogPredictRequest,
        indices: Sequence[int],
        share: QueueShare[Predicted],
        *,
        has_physics: bool,
    ) -> _Block:
        """The sizings of these indices, which wait for the network."""
        bench = subject.bench
        vectors = np.array([sizing_of(bench, request, index, is_bounded=False) for index in indices], dtype=np.float64)
        vectors = vectors.reshape(len(indices), len(bench.space.variables))
        seen = np.clip(vectors, *subject.reach)
        estimates, physics_s = None, None
        if has_physics:
            began = time.perf_counter()
            estimates, _ = self._estimate(bench, seen, subject.metrics, subject.devices)
            physics_s = (time.perf_counter() - began) / len(indices)
        inputs = subject.inputs(seen, estimates)
        known = [request.known_of(index) for index in indices] if request.known else None
        answer = share.submit(inputs, None if known is None else subject.known(known))
        return _Block(indices, vectors, inputs, known, physics_s, answer)

    def _model(self) -> tuple[TrainedSimulator, PredictionQueue[Predicted]]:
        """The trained model with its queue; raises Unavailable where there is none."""
        with self._loading:
            if self._is_closed:
                raise EngineClosed("the neural simulator is closed")
            if self._loaded is None:
                trained = self._load()
                self._loaded = trained, PredictionQueue(trained)
            return self._loaded

    def _subject(self, request: AnalogPredictRequest) -> _Subject:
        """What the request is about, its corner being spelt out; raises as `prepare`."""
        return self._subjects.get(_key(request), lambda: self._make_subject(_of_every_metric(request)))

    def _make_subject(self, request: AnalogPredictRequest) -> _Subject:
        trained, _ = self._model()
        with pointing_at("/testbench"):
            testbench = testbenches[request.testbench]
            scales = _learnt_scales(trained, testbench)
        bench = self._benches.get(request, with_facts=True)
        with pointing_at("/netlist"):
            wired = _wired(bench, tuple(scales))
        profile = TechnologyProfile.of([self._benches.gmid.tables(bench.technology, bench.corner.process)])
        return _Subject(trained, bench, wired, profile, scales)

    def _physics_note(self, request: AnalogPredictRequest, subject: _Subject) -> str | None:
        """Why there are no estimates though they were asked for, a sentence; found out at the starting point."""
        if not request.physics:
            return None
        start = np.array([subject.bench.space.start])
        return self._notes.get(
            _key(request), lambda: self._estimate(subject.bench, start, subject.metrics, subject.devices)[1]
        )


@dataclass(frozen=True, eq=False)
class _Subject:
    """A circuit on a testbench in a technology and corner, ready to be predicted. M metrics: those that were learnt."""

    trained: TrainedSimulator
    bench: Bench
    wired: WiredTopology
    profile: TechnologyProfile
    scales: Mapping[str, Scale]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, cheap to costly."""
        return self.wired.structure.metrics

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The MOS, whose operating points are estimated."""
        return tuple(device.name for device in self.bench.topology.devices if device.kind_of.is_mos)

    @cached_property
    def is_known(self) -> bool:
        """Whether this topology was learnt from, on this testbench in this technology."""
        structure, technology = self.wired.structure, self.bench.technology.name
        knows = self.trained.experience.knows(structure.topology_id, structure.testbench, technology)
        return knows and self.is_wired_as_named

    @cached_property
    def is_wired_as_named(self) -> bool:
        """Whether the ports play the roles that their names say, as they do in all that was learnt from."""
        try:
            return self.bench.testbench.wire(self.bench.topology) == self.bench.wiring
        except InvalidInput:  # the names alone do not say
            return False

    @cached_property
    def reach(self) -> tuple[Floats, Floats]:
        """Lowest and highest value of every variable that the network tells apart from those beyond [V]."""
        variables = self.bench.space.variables
        low, high = (np.array([getattr(each, end) for each in variables]) for end in ("low", "high"))
        is_log = np.array([variable.is_log for variable in variables], dtype=np.bool_)
        far = _FAR_RANGES * (high - low)
        return np.where(is_log, low / _FAR, low - far), np.where(is_log, high * _FAR, high + far)

    def shown(self, names: Sequence[str] | None) -> dict[int, Metric]:
        """The metrics of these names, or all, by their place; UnknownName, or NotLearnt for one that was not learnt."""
        wanted = self.bench.testbench.wanted(names)
        for metric in wanted if names is not None else ():
            self._check_learnt(metric.name, "/metrics")
        return {self.metrics.index(metric.name): metric for metric in wanted if metric.name in self.scales}

    def check_known(self, known: KnownMetrics, pointer: str) -> None:
        """The metrics can be known to have these values.

        Raises:
            UnknownName: the testbench has no such metric, or NotLearnt: the model has not learnt it.
            InvalidRequest: a value that the metric's definition rules out.
        """
        testbench = self.bench.testbench
        for name, value in known.items():
            place = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            if name not in testbench.metric_of:
                raise UnknownName(f"metric of testbench {testbench.name}", name, testbench.metric_of, pointer=place)
            self._check_learnt(name, place)
            scale = self.scales[name]
            if value is not None and not scale.least <= value <= scale.most:
                side, limit = ("below", scale.least) if value < scale.least else ("above", scale.most)
                unit = "" if scale.unit == "1" else f" {scale.unit}"
                raise InvalidRequest(
                    f"known {name} is {value:g}{unit}, it is never {side} {limit:g}{unit}", pointer=place
                )

    def inputs(self, vectors: Floats, estimates: Estimates | None) -> RowInputs:
        """What the network sees of vectors [n, V]."""
        structure, sizings = self.wired.structure, Sizings.of_bench(self.bench, vectors)
        told = estimates or Estimates.nothing(len(vectors), len(self.metrics), len(self.devices))
        return RowInputs(
            structure=structure,
            technology=self.bench.technology.name,
            elements=element_features(self.wired, self.profile, sizings),
            conditions=condition_features(structure, self.profile, sizings),
            estimates=told.values,
            estimate_causes=told.causes,
            estimated_facts=facts_at(structure.names, self.devices, told.facts),
        )

    def known(self, maps: Sequence[KnownMetrics]) -> Known:
        """What is known of n sizings, as arrays."""
        shape = (len(maps), len(self.metrics))
        found = Known(np.full(shape, np.nan), np.zeros(shape, dtype=np.bool_))
        for row, known in enumerate(maps):
            for name, value in known.items():
                place = self.metrics.index(name)
                found.has_none[row, place] = value is None
                found.values[row, place] = np.nan if value is None else value
        return found

    def reasons(self, vectors: Floats, distances: Floats) -> list[list[str]]:
        """In what each of n sizings is unlike what was learnt from, sentences; none where it is like it."""
        bench = self.bench
        sizings = Sizings.of_bench(bench, vectors)
        found = self.trained.experience.reasons(self.wired, bench.technology.name, sizings)
        common = [] if self.is_wired_as_named else ["its ports play other roles than in what was learnt from"]
        common += [] if bench.floating is None else [bench.floating]
        for reasons, vector, distance in zip(found, vectors.tolist(), distances.tolist(), strict=True):
            reasons += [*common, *self._out_of_range(vector)]
            if distance > 1 and not reasons:
                reasons.append("the sizes lie within what was learnt from, but not together as they are here")
        return found

    def _out_of_range(self, vector: Sequence[float]) -> list[str]:
        """A sentence where sizes are none that the technology makes."""
        outside = [
            (variable, value)
            for variable, value in zip(self.bench.space.variables, vector, strict=True)
            if not variable.allows(value)
        ]
        if not outside:
            return []
        variable, value = outside[0]
        more = f", and {len(outside) - 1} more are outside" if len(outside) > 1 else ""
        ends = f"{variable.low:g} to {variable.shown(variable.high)}"
        return [f"{variable.name} is {variable.shown(value)}, {self.bench.technology.name} has {ends}{more}"]

    def nearest(self, vectors: Floats, count: int) -> list[list[dict[str, Any]]]:
        """The simulated rows that are nearest to each of n sizings, at most so many; none where ports are exchanged."""
        if not count or not self.is_wired_as_named:
            return [[] for _ in vectors]
        bench, corner = self.bench, self.bench.corner
        found = self.trained.nearest.find(
            bench.topology, bench.testbench.name, bench.technology.name,
            [variable.name for variable in bench.space.variables], vectors, corner.supply_v, corner.celsius, count,
        )  # fmt: skip
        return [[near.as_json() for near in rows] for rows in found]

    def _check_learnt(self, name: str, pointer: str) -> None:
        if name not in self.scales:
            raise NotLearnt(f"metric of testbench {self.bench.testbench.name}", name, self.scales, pointer=pointer)


@dataclass(frozen=True, eq=False)
class _Block:
    """Sizings that wait for the network; `known` is by sizing, `physics_s` the seconds that estimating each took."""

    indices: Sequence[int]
    vectors: Floats
    inputs: RowInputs
    known: Sequence[KnownMetrics] | None
    physics_s: float | None
    answer: Future[Answered[Predicted]]


def _hand_over(subject: _Subject, request: AnalogPredictRequest, block: _Block, rows: HandOver) -> None:
    for row in _rows(subject, request, block):
        rows.put(row)


def _rows(subject: _Subject, request: AnalogPredictRequest, block: _Block) -> Iterator[Row]:
    """The rows of a block, once the network has answered; raises what it raised."""
    answered = block.answer.result()
    predicted, structure, trained = answered.prediction, subject.wired.structure, subject.trained
    ends = trained.scales.intervals(structure, *trained.ends(block.inputs, predicted, request.level))
    values = trained.scales.values(structure, predicted.mean)
    told = np.stack([values, *ends, predicted.defined], axis=-1).tolist()
    numbers = np.concatenate([predicted.mean, predicted.spread, predicted.defined, predicted.distance[:, None]], axis=1)
    is_told = np.isfinite(numbers).all(axis=1)
    reasons = subject.reasons(block.vectors, predicted.distance)
    nearest = subject.nearest(block.vectors, request.nearest)
    shown = subject.shown(request.metrics)
    timings = {"predict_s": round(answered.seconds_a_row, 7)}
    if block.physics_s is not None:
        timings["physics_s"] = round(block.physics_s, 7)
    for place, index in enumerate(block.indices):
        known = {} if block.known is None else block.known[place]
        row: Row = {"index": index, "sizes": subject.bench.space.as_sizing(block.vectors[place].tolist())}
        if is_told[place]:
            row |= {
                "status": "ok",
                "metrics": {
                    metric.name: _given(known[metric.name]) if metric.name in known else _told(*told[place][column])
                    for column, metric in shown.items()
                },
            }
        else:
            detail = "the network has no number for this sizing"
            row |= {"status": "error", "problem": {"type": "NoPrediction", "detail": detail}}
        yield row | {
            "out_of_distribution": bool(reasons[place]),
            "distance": _rounded(float(predicted.distance[place])),
            "reasons": reasons[place],
            "nearest": nearest[place],
            "timings": timings,
        }


def _told(value: float, low: float, high: float, defined: float) -> dict[str, Any]:
    """What is predicted of one metric; one that likely has no value has no interval either."""
    ends = (value, low, high) if defined >= 0.5 else (math.nan, math.nan, math.nan)
    numbers = dict(zip(("value", "low", "high"), map(_rounded, ends), strict=True))
    return {**numbers, "defined": round(defined, 4), "known": False}


def _given(value: float | None) -> dict[str, Any]:
    """What the caller has said of one metric."""
    return {"value": value, "low": value, "high": value, "defined": 0.0 if value is None else 1.0, "known": True}


def _rounded(number: float) -> float | None:
    """The number with six digits; None for one that is not finite."""
    return float(f"{number:.6g}") if math.isfinite(number) else None


def _learnt_scales(trained: TrainedSimulator, testbench: Testbench) -> dict[str, Scale]:
    """The scales of the metrics that were learnt, cheap to costly; NotLearnt where none was."""
    known = trained.scales.metrics(testbench.name)
    learnt = [name for name in testbench.metric_of if name in known]
    if testbench.name not in trained.testbenches or not learnt:
        raise NotLearnt("testbench", testbench.name, trained.testbenches)
    return {name: trained.scales.of(testbench.name, name) for name in learnt}


def _wired(bench: Bench, metrics: tuple[str, ...]) -> WiredTopology:
    """The circuit of a bench with these metrics; LimitExceeded where it is too large for the network."""
    elements = len(bench.topology.devices) + sum(variable.port is not None for variable in bench.space.variables)
    if elements > _MOST_ELEMENTS:
        raise LimitExceeded("the number of devices and bias sources", elements, _MOST_ELEMENTS, hint="simulate instead")
    wired = WiredTopology.of_bench(bench, canonical_hash(bench.topology))
    return replace(wired, structure=replace(wired.structure, metrics=metrics))


def _known_maps(request: AnalogPredictRequest) -> Iterator[tuple[str, KnownMetrics]]:
    """What the request says to be known, with JSON pointers."""
    if isinstance(request.known, tuple):
        yield from ((f"/known/{number}", known) for number, known in enumerate(request.known))
    elif request.known is not None:
        yield "/known", request.known


def _of_every_metric(request: AnalogPredictRequest) -> AnalogPredictRequest:
    """The request for all metrics: the network sees them all, whichever are asked for."""
    return request.model_copy(update={"metrics": None})


def _key(request: AnalogPredictRequest) -> str:
    return bench_key(_of_every_metric(request), with_facts=True)


def _prediction(kind: str, request: JobRequest) -> AnalogPredictRequest:
    if not isinstance(request, AnalogPredictRequest):
        raise UnknownName("kind of prediction", kind, [KIND], pointer="/kind")
    return request
