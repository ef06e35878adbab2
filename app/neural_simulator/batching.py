"""Predictions for many callers at once: one thread has the network, and rows that wait for it go through together.

What a row gets depends on its own inputs; in whose company it went through the network changes rounding at most.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from app.errors import EngineClosed
from app.neural_simulator.arrays import RowInputs, Structure
from app.neural_simulator.inputs import Known

#: Most rows that go through the network together.
MOST_ROWS = 4096


class Prediction(Protocol):
    """A dataclass of arrays with a row for each row that was predicted: `app.neural_simulator.artefact.Predicted`."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Told = TypeVar("Told", bound=Prediction)
Told_co = TypeVar("Told_co", bound=Prediction, covariant=True)


class Predictor(Protocol[Told_co]):
    """A network that predicts: `app.neural_simulator.artefact.NeuralSimulator`."""

    def predict(self, rows: RowInputs, known: Known | None = None) -> Told_co:
        """What it says of rows."""
        ...


@dataclass(frozen=True, eq=False)
class Answered(Generic[Told]):
    """What was predicted of one caller's rows, and the seconds in the network that each took."""

    prediction: Told
    seconds_a_row: float


@dataclass(frozen=True, eq=False)
class _Asked(Generic[Told]):
    inputs: RowInputs
    known: Known | None
    answer: Future[Answered[Told]] = field(default_factory=Future)

    def goes_with(self, other: _Asked[Told]) -> bool:
        """True where both can go through the network together."""
        return self.inputs.technology == other.inputs.technology and _are_alike(
            self.inputs.structure, other.inputs.structure
        )


class PredictionQueue(Generic[Told]):
    """One thread that owns a network, and the queue in front of it. The thread starts with the first request."""

    def __init__(self, predictor: Predictor[Told], *, most_rows: int = MOST_ROWS) -> None:
        self._predictor = predictor
        self._most_rows = most_rows
        self._waiting: tuple[deque[_Asked[Told]], deque[_Asked[Told]]] = (deque(), deque())
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def submit(
        self, inputs: RowInputs, known: Known | None = None, *, in_background: bool = False
    ) -> Future[Answered[Told]]:
        """A future of the rows' prediction; `in_background` waits behind what is not. Raises EngineClosed."""
        asked: _Asked[Told] = _Asked(inputs, known)
        with self._change:
            if self._is_closed:
                raise EngineClosed("the neural simulator is closed")
            self._waiting[in_background].append(asked)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="predict", daemon=True)
                self._thread.start()
            self._change.notify()
        return asked.answer

    def close(self) -> None:
        """The thread has ended; what waited has failed with EngineClosed."""
        with self._change:
            self._is_closed = True
            left = [asked for lane in self._waiting for asked in lane]
            for lane in self._waiting:
                lane.clear()
            self._change.notify()
        for asked in left:
            if asked.answer.set_running_or_notify_cancel():
                asked.answer.set_exception(EngineClosed("the neural simulator was closed"))
        if self._thread is not None:
            self._thread.join()

    def _serve(self) -> None:
        while batch := self._next():
            self._answer(batch)

    def _next(self) -> list[_Asked[Told]]:
        """What goes through the network next, once there is something; nothing where the queue is closed."""
        with self._change:
            while not self._is_closed:
                lane = next((lane for lane in self._waiting if lane), None)
                if lane is None:
                    self._change.wait()
                elif batch := [asked for asked in self._take(lane) if asked.answer.set_running_or_notify_cancel()]:
                    return batch
            return []

    def _take(self, lane: deque[_Asked[Told]]) -> list[_Asked[Told]]:
        """The first of the lane with those that can go with it, which wait no longer."""
        batch = [lane.popleft()]
        room = self._most_rows - len(batch[0].inputs)
        for asked in tuple(lane):
            if len(asked.inputs) <= room and asked.goes_with(batch[0]):
                lane.remove(asked)
                batch.append(asked)
                room -= len(asked.inputs)
        return batch

    def _answer(self, batch: Sequence[_Asked[Told]]) -> None:
        """Everyone in the batch has an answer; what fails together is tried alone, so that a fault stays its own."""
        began = time.perf_counter()
        try:
            prediction = self._predictor.predict(*_joined(batch))
        except Exception as error:  # the one who waits has to hear of it, whatever it is
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
            else:
                for asked in batch:
                    self._answer([asked])
            return
        seconds = (time.perf_counter() - began) / max(1, sum(len(asked.inputs) for asked in batch))
        start = 0
        for asked in batch:
            stop = start + len(asked.inputs)
            asked.answer.set_result(Answered(_rows_of(prediction, slice(start, stop)), seconds))
            start = stop


class QueueShare(Generic[Told]):
    """One caller's requests to a queue; they can all be given up at once."""

    def __init__(self, queue: PredictionQueue[Told], *, in_background: bool = False) -> None:
        self._queue = queue
        self._in_background = in_background
        self._lock = threading.Lock()
        self._futures: set[Future[Answered[Told]]] = set()
        self._is_stopped = False

    def submit(self, inputs: RowInputs, known: Known | None = None) -> Future[Answered[Told]]:
        """See `PredictionQueue.submit`; the future is cancelled already once the share is stopped."""
        with self._lock:
            if self._is_stopped:
                future: Future[Answered[Told]] = Future()
                future.cancel()
                return future
            future = self._queue.submit(inputs, known, in_background=self._in_background)
            self._futures.add(future)
        future.add_done_callback(self._forget)
        return future

    def stop(self) -> None:
        """Nothing of this share waits any more, and whoever waits for it hears so."""
        with self._lock:
            self._is_stopped = True
            futures = tuple(self._futures)
        for future in futures:
            future.cancel()

    def _forget(self, future: Future[Answered[Told]]) -> None:
        with self._lock:
            self._futures.discard(future)


def _are_alike(first: Structure, second: Structure) -> bool:
    """True where a network cannot tell the structures apart; what topology and elements are called is all the same."""
    if first is second:
        return True
    if (first.testbench, first.metrics, first.settings) != (second.testbench, second.metrics, second.settings):
        return False
    arrays = ((first.kinds, second.kinds), (first.nets, second.nets), (first.shared, second.shared))
    return all(np.array_equal(ours, theirs) for ours, theirs in arrays)


def _rows_of(prediction: Told, rows: slice) -> Told:
    return replace(prediction, **{each.name: getattr(prediction, each.name)[rows] for each in fields(prediction)})


def _joined(batch: Sequence[_Asked[Any]]) -> tuple[RowInputs, Known | None]:
    """The inputs of a batch behind one another, and what is known of them."""
    first = batch[0]
    if len(batch) == 1:
        return first.inputs, first.known
    parts = [asked.inputs for asked in batch]
    inputs = RowInputs(
        structure=first.inputs.structure,
        technology=first.inputs.technology,
        elements=np.concatenate([part.elements for part in parts]),
        conditions=np.concatenate([part.conditions for part in parts]),
        estimates=np.concatenate([part.estimates for part in parts]),
        estimate_causes=np.concatenate([part.estimate_causes for part in parts]),
        estimated_facts=np.concatenate([part.estimated_facts for part in parts]),
    )
    if all(asked.known is None for asked in batch):
        return inputs, None
    told = [asked.known or _nothing_known(asked.inputs) for asked in batch]
    return inputs, Known(
        np.concatenate([each.values for each in told]), np.concatenate([each.has_none for each in told])
    )


def _nothing_known(inputs: RowInputs) -> Known:
    shape = inputs.estimates.shape
    return Known(np.full(shape, np.nan), np.zeros(shape, dtype=np.bool_))
