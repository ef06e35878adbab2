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
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.circuit_model import (
    CircuitLessons,
    CircuitModel,
    CircuitReader,
    Gain,
    Lesson,
    adapted_ends,
    stored_lesson,
)
from app.errors import (
    EngineClosed,
    InvalidInput,
    ModelDamaged,
    NgspiceMissing,
    UnknownName,
    pointing_at,
)
from app.hand_over import HandOver
from app.made_once import MadeOnce
from app.neural_simulator.adaptation import Adaptation
from app.neural_simulator.arrays import Estimates, RowInputs
from app.neural_simulator.artefact import NeuralSimulator, Predicted
from app.neural_simulator.batching import Answered, PredictionQueue, QueueShare
from app.neural_simulator.inputs import Known
from app.prediction_subject import Estimator, PredictionSubject, TrainedSimulator, learnt_scales
from app.requests import NEURAL_SIMULATOR, AnalogPredictRequest, JobRequest, KnownMetrics
from app.resources import models_path
from app.simulated_rows import SimulatedRows, simulated_rows_of
from app.simulation_corpus.benches import cheap_metrics
from app.simulation_corpus.estimates import bench_estimates
from app.simulations import (
    KEPT_BENCHES,
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
from app.testbenches._base import testbenches
from app.testbenches._pool import simulation_pool
from app.testbenches._simulator import Bench, SimulationRow
from app.workshop import Row

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

#: The kind of requests that this module serves.
KIND = "analog.predict"

#: Simulated rows of a circuit that its predictions are corrected by, at least.
LEAST_ROWS = 8

#: Sizings of a caller that are made ready together, and how many such blocks wait for the network at once.
_BLOCK, _AHEAD = 512, 8


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
    estimate, stored = TableEstimator(pool, settings.data_dir), simulated_rows_of(settings.data_dir)
    return Predictions(lambda: load_trained(folder), benches, estimate, owned, stored)


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
    """Rows of ``analog.predict``; implements `workshop.RowMaker`. `owned` is a pool that `aclose` closes.

    `simulated` is what ngspice found on this installation: predictions of circuits that it has rows of follow these.
    """

    def __init__(
        self,
        load: Callable[[], TrainedSimulator],
        benches: PreparedBenches,
        estimate: Estimator,
        owned: WorkerPool | None = None,
        simulated: SimulatedRows | None = None,
    ) -> None:
        self.simulated = simulated
        self._load = load
        self._benches = benches
        self._estimate = estimate
        self._owned = owned
        self._loading = threading.Lock()
        self._loaded: tuple[TrainedSimulator, PredictionQueue[Predicted]] | None = None
        self._is_closed = False
        self._subjects: MadeOnce[PredictionSubject] = MadeOnce(KEPT_BENCHES)
        self._notes: MadeOnce[str | None] = MadeOnce(KEPT_BENCHES)
        self._adaptations: MadeOnce[Adaptation | None] = MadeOnce(KEPT_BENCHES)

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory; it is loaded when it is first asked."""
        return self._loaded is not None

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
        adaptation = self._adaptation(request, subject, has_physics=request.physics and note is None)
        return {
            **describe_bench(subject.bench, subject.shown(request.metrics).values()),
            "model": NEURAL_SIMULATOR,
            "level": request.level,
            "topology_known": subject.is_known,
            "physics": request.physics and note is None,
            **({} if note is None else {"physics_note": note}),
            **({} if adaptation is None else {"adaptation": {"rows": adaptation.rows}}),
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
        pump = partial(self._pump, request, indices, share, rows)
        async with aclosing(rows.of_thread(pump, name="rows", stop=share.stop)) as made:
            async for row in made:
                yield row

    def circuit_models(
        self, benches: Sequence[Bench], *, physics: bool = True, from_store: bool = True
    ) -> tuple[CircuitModel, ...]:
        """The neural simulator for one circuit on benches that differ in corner or settings: what one of the models
        learns of the circuit, all know.

        Args:
            benches: One or more, prepared with any metrics; all that were learnt are predicted.
            physics: Whether the table simulator is asked first, where it can say anything of the circuit.
            from_store: Whether the models begin with what was simulated of the circuit on this installation.

        Raises:
            NotLearnt: the model has not learnt the testbench.
            LimitExceeded: the circuit is too large for the network.
            Unavailable: there is no model, or the technology's cards are not on this machine.
        """
        trained, _ = self._model()
        readers = [self._reader(bench, physics=physics) for bench in benches]
        lessons = CircuitLessons(trained.scales, self._stored_lesson(benches, physics=physics) if from_store else None)
        return tuple(CircuitModel(reader, lessons) for reader in readers)

    def circuit_model(self, bench: Bench, *, physics: bool = True, from_store: bool = True) -> CircuitModel:
        """The neural simulator for one bench; see `circuit_models`."""
        (model,) = self.circuit_models([bench], physics=physics, from_store=from_store)
        return model

    def _reader(self, bench: Bench, *, physics: bool) -> CircuitReader:
        """What the network says of a bench, of all that it has learnt.

        Sweeps and noise are estimated for metrics that the bench measures alone: they cost most, and the others' tell
        the network little.
        """  # fmt: skip
        trained, queue = self._model()
        whole = replace(bench, metrics=bench.testbench.metrics, with_facts=True)
        estimated = {*cheap_metrics(whole, "ac"), *(metric.name for metric in bench.metrics)}
        whole = replace(whole, metrics=tuple(metric for metric in whole.metrics if metric.name in estimated))
        subject = PredictionSubject.of(trained, whole, self._benches.gmid)

        def predict(inputs: RowInputs, known: Known | None) -> Predicted:
            return queue.submit(inputs, known).result().prediction

        return CircuitReader(subject, predict, self._estimate if physics else None)

    def _stored_lesson(self, benches: Sequence[Bench], *, physics: bool, known: Iterable[str] = ()) -> Lesson | None:
        """What there is to learn of a circuit from what was simulated on this installation."""
        if self.simulated is None:
            return None
        return stored_lesson(lambda bench: self._reader(bench, physics=physics), benches, self.simulated, known)

    def adapt(self, request: AnalogPredictRequest, simulated: Sequence[SimulationRow]) -> tuple[Gain, ...]:
        """Rows of the request's bench are kept; what its predictions gain by all that is kept of its circuit.

        Raises:
            InvalidInput: there is nothing to learn from; and as `prepare`.
            Unavailable: as `prepare`.
        """
        settled = self.prepare(KIND, request)
        subject = self._subject(settled)
        if self.simulated is not None:
            self.simulated.add(subject.bench, simulated)
        has_physics = settled.physics and self._physics_note(settled, subject) is None
        lesson = self._stored_lesson([subject.bench], physics=has_physics)
        gains = () if lesson is None else lesson.gains(subject.trained.scales)
        if not gains:
            raise InvalidInput("no row has a metric that the model has learnt; give rows of a simulation")
        return gains

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
            adaptation = self._adaptation(request, subject, has_physics=has_physics)
            waiting: deque[_Block] = deque()
            for start in range(0, len(indices), _BLOCK):
                if rows.is_closed:
                    return
                chosen = indices[start : start + _BLOCK]
                waiting.append(self._ask(subject, request, chosen, share, has_physics=has_physics))
                if len(waiting) == _AHEAD:
                    _hand_over(subject, request, adaptation, waiting.popleft(), rows)
            while waiting:
                _hand_over(subject, request, adaptation, waiting.popleft(), rows)
            rows.put(None)
        except CancelledError:
            return  # nobody waits for the rows
        except Exception as error:  # the one who waits has to hear of it, whatever it is
            rows.put(error)

    def _ask(
        self,
        subject: PredictionSubject,
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

    def _adaptation(
        self, request: AnalogPredictRequest, subject: PredictionSubject, *, has_physics: bool
    ) -> Adaptation | None:
        """What the circuit's own simulations say of predictions that know what the request knows; None where there are
        too few, or where sizings know different metrics.
        """
        names = _known_names(request)
        if self.simulated is None or names is None or not request.adapt:
            return None
        revision = self.simulated.revision(subject.bench)
        if not revision:
            return None

        def fit() -> Adaptation | None:
            lesson = self._stored_lesson([subject.bench], physics=has_physics, known=names)
            is_enough = lesson is not None and len(lesson) >= LEAST_ROWS
            return lesson.adaptation(subject.trained.scales) if lesson is not None and is_enough else None

        return self._adaptations.get(f"{_key(request)} {has_physics} {sorted(names)} {revision}", fit)

    def _model(self) -> tuple[TrainedSimulator, PredictionQueue[Predicted]]:
        """The trained model with its queue; raises Unavailable where there is none."""
        with self._loading:
            if self._is_closed:
                raise EngineClosed("the neural simulator is closed")
            if self._loaded is None:
                trained = self._load()
                self._loaded = trained, PredictionQueue(trained)
            return self._loaded

    def _subject(self, request: AnalogPredictRequest) -> PredictionSubject:
        """What the request is about, its corner being spelt out; raises as `prepare`."""
        return self._subjects.get(_key(request), lambda: self._make_subject(_of_every_metric(request)))

    def _make_subject(self, request: AnalogPredictRequest) -> PredictionSubject:
        trained, _ = self._model()
        with pointing_at("/testbench"):
            learnt_scales(trained, testbenches[request.testbench])
        return PredictionSubject.of(trained, self._benches.get(request, with_facts=True), self._benches.gmid)

    def _physics_note(self, request: AnalogPredictRequest, subject: PredictionSubject) -> str | None:
        """Why there are no estimates though they were asked for, a sentence; found out at the starting point."""
        if not request.physics:
            return None
        start = np.array([subject.bench.space.start])
        return self._notes.get(
            _key(request), lambda: self._estimate(subject.bench, start, subject.metrics, subject.devices)[1]
        )


@dataclass(frozen=True, eq=False)
class _Block:
    """Sizings that wait for the network; `known` is by sizing, `physics_s` the seconds that estimating each took."""

    indices: Sequence[int]
    vectors: Floats
    inputs: RowInputs
    known: Sequence[KnownMetrics] | None
    physics_s: float | None
    answer: Future[Answered[Predicted]]


def _hand_over(
    subject: PredictionSubject, request: AnalogPredictRequest, adaptation: Adaptation | None, block: _Block,
    rows: HandOver,
) -> None:  # fmt: skip
    for row in _rows(subject, request, adaptation, block):
        rows.put(row)


def _rows(
    subject: PredictionSubject, request: AnalogPredictRequest, adaptation: Adaptation | None, block: _Block
) -> Iterator[Row]:
    """The rows of a block, once the network has answered; raises what it raised."""
    answered = block.answer.result()
    structure, trained = subject.wired.structure, subject.trained
    predicted, *ends_ = adapted_ends(trained, adaptation, block.inputs, answered.prediction, request.level)
    ends = trained.scales.intervals(structure, *ends_)
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


def _known_maps(request: AnalogPredictRequest) -> Iterator[tuple[str, KnownMetrics]]:
    """What the request says to be known, with JSON pointers."""
    if isinstance(request.known, tuple):
        yield from ((f"/known/{number}", known) for number, known in enumerate(request.known))
    elif request.known is not None:
        yield "/known", request.known


def _known_names(request: AnalogPredictRequest) -> frozenset[str] | None:
    """The metrics that the request says to be known, None where they are others from sizing to sizing."""
    names = {frozenset(known) for _, known in _known_maps(request)} or {frozenset[str]()}
    return names.pop() if len(names) == 1 else None


def _of_every_metric(request: AnalogPredictRequest) -> AnalogPredictRequest:
    """The request for all metrics: the network sees them all, whichever are asked for."""
    return request.model_copy(update={"metrics": None})


def _key(request: AnalogPredictRequest) -> str:
    return bench_key(_of_every_metric(request), with_facts=True)


def _prediction(kind: str, request: JobRequest) -> AnalogPredictRequest:
    if not isinstance(request, AnalogPredictRequest):
        raise UnknownName("kind of prediction", kind, [KIND], pointer="/kind")
    return request
