"""The neural simulator for one circuit in one corner, which learns from that circuit's own simulations.

Made for loops that look at thousands of sizings between a few simulations. The network stays as it is: what is learnt
is an `Adaptation` of its predictions, anew from all rows whenever there are more. Every metric that can be estimated
is, whichever are asked for: to estimate fewer is at most twice as fast, and the network's errors are two to four times
as large.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.neural_simulator.adaptation import Adaptation, fitted
from app.neural_simulator.arrays import RowInputs, Rows
from app.neural_simulator.artefact import Predicted
from app.neural_simulator.inputs import Known
from app.neural_simulator.scales import Scales
from app.prediction_subject import Estimator, PredictionSubject, TrainedSimulator
from app.simulated_rows import SimulatedRows, is_telling
from app.testbenches._simulator import Bench, SimulationRow

Floats = NDArray[np.float64]

Arrays = TypeVar("Arrays", Rows, Predicted)

#: Rows that are learnt from at most, the newest: the time of a fit grows with their third power, a second at these.
MOST_ROWS = 200

#: Corners besides a model's own whose stored rows are learnt from too; each may take tables of its own.
_MOST_SIBLINGS = 4

#: The interval that a standard deviation is told from, and how many of them a normal distribution's reaches.
_LEVEL, _REACH = 0.8, 1.2816

#: Standard deviations in a mean absolute deviation of a normal distribution.
_DEVIATION = 1.2533


@dataclass(frozen=True, eq=False)
class CircuitPrediction:
    """What is predicted of n sizings and K metrics, in SI units.

    `value` is there whether or not a metric likely has one; `defined` is the probability that it has. `low` and `high`
    are the values that are one standard deviation of the target below and above.
    """

    metrics: tuple[str, ...]
    value: Floats  # [n, K]
    low: Floats  # [n, K]
    high: Floats  # [n, K]
    defined: Floats  # [n, K]


@dataclass(frozen=True, slots=True)
class RowError:
    """How far predictions of one simulated sizing were off before it was learnt from, by metric that it has.

    Errors are absolute differences of targets: 1 is what a metric usually varies by within a circuit. `error` is of the
    model as it was then, `plain` of the network alone.
    """

    index: int
    error: Mapping[str, float]
    plain: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Gain:
    """How far predictions of a metric are off in the median of so many rows: of the network alone, and corrected by
    what the other rows say. Absolute differences of targets, as `RowError`.
    """

    metric: str
    rows: int
    before: float
    after: float


@dataclass(frozen=True, eq=False)
class Lesson:
    """Simulated rows of a circuit, in one corner or several, and what the network alone predicts of them."""

    rows: Rows
    predicted: Predicted

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, parts: Iterable[Self]) -> Self | None:
        """All of them behind one another, None where there is none; of a sizing that comes twice the last."""
        every = list(parts)
        if not every:
            return None
        whole = cls(_joined([part.rows for part in every]), _joined([part.predicted for part in every]))
        places = np.concatenate([whole.rows.sizes, np.nan_to_num(whole.rows.conditions)], axis=1)
        places = np.column_stack([places, np.unique(whole.rows.process, return_inverse=True)[1]])
        _, last = np.unique(places[::-1], axis=0, return_index=True)
        return whole.take(np.sort(len(whole) - 1 - last))

    def take(self, rows: NDArray[np.intp]) -> Self:
        """These rows, by number."""
        return replace(self, rows=self.rows.take(rows), predicted=_taken(self.predicted, rows))

    def newest(self, count: int) -> Self:
        """At most so many rows, the last ones."""
        return self if len(self) <= count else self.take(np.arange(len(self) - count, len(self)))

    def adaptation(self, scales: Scales) -> Adaptation:
        """What corrects the network's predictions of the circuit."""
        return Adaptation.fit(self.rows, self.predicted, scales)

    def gains(self, scales: Scales) -> tuple[Gain, ...]:
        """What the adaptation is worth, for each metric that any row has."""
        found = fitted(self.rows, self.predicted, scales)
        before, after = np.abs(found.before), np.abs(found.after)
        gains = []
        for place, name in enumerate(self.rows.structure.metrics):
            has_one = np.isfinite(before[:, place])
            if has_one.any():
                medians = (float(np.median(errors[has_one, place])) for errors in (before, after))
                gains.append(Gain(name, int(has_one.sum()), *medians))
        return tuple(gains)


class CircuitReader:
    """What the network says of sizings of a subject. Thread-safe where `predict` and `estimate` are."""

    def __init__(
        self, subject: PredictionSubject, predict: Callable[[RowInputs, Known | None], Predicted],
        estimate: Estimator | None,
    ) -> None:  # fmt: skip
        """Without `estimate` the network does without physics."""
        self.subject = subject
        self._predict = predict
        self._estimate = estimate
        self.physics_note: str | None = None

    def inputs(self, vectors: Floats) -> RowInputs:
        """What the network sees of vectors [n, V]; from then on `physics_note` says why there are no estimates."""
        subject = self.subject
        seen = np.clip(vectors, *subject.reach)
        estimates = None
        if self._estimate is not None:
            estimates, self.physics_note = self._estimate(subject.bench, seen, subject.metrics, subject.devices)
        return subject.inputs(seen, estimates)

    def predicted(self, vectors: Floats) -> tuple[RowInputs, Predicted]:
        """What the network sees of vectors [n, V], and what it predicts."""
        inputs = self.inputs(vectors)
        return inputs, self._predict(inputs, None)

    def lesson(self, simulated: Sequence[SimulationRow], known: Iterable[str] = ()) -> Lesson | None:
        """What there is to learn from rows of the subject's bench; None where not one has anything to tell.

        Rows that the network has no number for are left out.

        Args:
            simulated: By ngspice.
            known: Metrics that the network is told of each row.
        """
        telling = [row for row in simulated if is_telling(row)]
        if not telling:
            return None
        subject, names = self.subject, frozenset(known)
        space = subject.bench.space
        vectors = np.array([space.vector(row["sizes"], is_bounded=False) for row in telling], dtype=np.float64)
        rows = subject.learnable(self.inputs(vectors), vectors, telling)
        lesson = Lesson(rows, self._predict(rows.inputs, subject.known_of(rows, names) if names else None))
        is_told = np.isfinite(lesson.predicted.mean + lesson.predicted.spread).all(axis=1)
        return lesson.take(np.flatnonzero(is_told)) if is_told.any() else None


def stored_lesson(
    reader_of: Callable[[Bench], CircuitReader], benches: Sequence[Bench], stored: SimulatedRows,
    known: Iterable[str] = (),
) -> Lesson | None:  # fmt: skip
    """What there is to learn from what was simulated of a circuit, None where nothing was: the newest rows of these
    benches, and if these are few, of the circuit in other corners and settings.

    Args:
        reader_of: Makes what reads a bench's rows.
        benches: Of one circuit, what matters most first.
        stored: What was simulated.
        known: Metrics that the network is told of each row.
    """
    names, left = frozenset(known), MOST_ROWS
    own = [(bench.corner, bench.settings) for bench in benches]
    others = [each for each in stored.siblings(benches[0]) if (each.corner, each.settings) not in own]
    parts: list[Lesson] = []
    for each in (*benches, *others[:_MOST_SIBLINGS]):
        found = stored.rows(each, left) if left else ()
        left -= len(found)
        lesson = reader_of(each).lesson(found, names) if found else None
        if lesson is not None:
            parts.insert(0, lesson)
    has_estimates = [bool(part.predicted.has_estimates.any()) for part in parts]
    return Lesson.of(part for part, has in zip(parts, has_estimates, strict=True) if has == any(has_estimates))


class CircuitLessons:
    """What models of one circuit in several corners learn together. Thread-safe."""

    def __init__(self, scales: Scales, first: Lesson | None = None) -> None:
        """`first` is what was learnt before."""
        self._scales = scales
        self._lock = threading.Lock()
        self._parts = [] if first is None else [first]
        self._adaptation: Adaptation | None = None
        self._is_fitted = not self._parts
        self.rows = 0 if first is None else len(first)

    def add(self, lesson: Lesson) -> None:
        """The next `adaptation` follows from these rows too."""
        with self._lock:
            self._parts.append(lesson)
            self._is_fitted = False
            self.rows += len(lesson)

    @property
    def latest(self) -> Adaptation | None:
        """What `adaptation` said last."""
        return self._adaptation

    def adaptation(self) -> Adaptation | None:
        """What corrects the network's predictions, from the newest rows; None where there are none."""
        with self._lock:
            if not self._is_fitted:
                whole = Lesson.of(self._parts)
                assert whole is not None
                kept = whole.newest(MOST_ROWS)
                self._parts, self._adaptation = [kept], kept.adaptation(self._scales)
                self._is_fitted = True
            return self._adaptation


class CircuitModel:
    """Predicts sizings of one bench, and learns from its simulations. Thread-safe.

    `evaluations` are the sizings that were predicted so far, `seconds` what that and learning took.
    """

    def __init__(self, reader: CircuitReader, lessons: CircuitLessons) -> None:
        """`lessons` may be shared by models of the same circuit in other corners: what one learns, all know."""
        self._reader = reader
        self._lessons = lessons
        self._lock = threading.Lock()
        self._errors: list[RowError] = []
        self.evaluations = 0
        self.seconds = 0.0

    @property
    def subject(self) -> PredictionSubject:
        """What is predicted of."""
        return self._reader.subject

    @property
    def bench(self) -> Bench:
        """What the sizings are simulated on."""
        return self.subject.bench

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are predicted: all of the testbench that were learnt."""
        return self.subject.metrics

    @property
    def rows_learnt(self) -> int:
        """Simulated rows of the circuit, in any corner, that predictions follow; the newest `MOST_ROWS` of them."""
        return self._lessons.rows

    @property
    def physics_note(self) -> str | None:
        """Why the table simulator says nothing of this circuit, where that is so."""
        return self._reader.physics_note

    def predict(self, vectors: Floats) -> CircuitPrediction:
        """What becomes of vectors [n, V] of the bench's space. Raises EngineClosed where the network is closed."""
        began = time.perf_counter()
        sizings = np.asarray(vectors, dtype=np.float64).reshape(-1, len(self.bench.space.variables))
        told = self._told(*self._reader.predicted(sizings), self._lessons.adaptation())
        with self._lock:
            self.evaluations += len(sizings)
            self.seconds += time.perf_counter() - began
        return told

    def learn(self, rows: Sequence[SimulationRow]) -> None:
        """Later predictions follow these rows of the bench too, as `BenchSimulator.run` gives them."""
        began = time.perf_counter()
        lesson = self._reader.lesson(rows)
        if lesson is None:
            return
        adaptation = self._lessons.latest
        self._lessons.add(lesson)
        with self._lock:
            self._errors += self._errors_of(lesson, adaptation)
            self.seconds += time.perf_counter() - began

    def lesson(self, rows: Sequence[SimulationRow]) -> Lesson | None:
        """What `learn` would learn from these rows."""
        return self._reader.lesson(rows)

    def errors(self) -> tuple[RowError, ...]:
        """Of every row that `learn` was given, in that order, but for those that had nothing to tell.

        They are those of the model as it last predicted anything before.
        """
        return tuple(self._errors)

    def _errors_of(self, lesson: Lesson, adaptation: Adaptation | None) -> list[RowError]:
        rows, plain = lesson.rows, lesson.predicted
        adapted = plain if adaptation is None else adaptation.corrected(rows.inputs, plain)
        targets = self.subject.trained.scales.targets(rows.structure, rows.values)
        pairs = zip(abs(targets - adapted.mean), abs(targets - plain.mean), strict=True)
        return [
            RowError(len(self._errors) + place, *(self._by_metric(errors) for errors in both))
            for place, both in enumerate(pairs)
        ]

    def _by_metric(self, errors: Floats) -> dict[str, float]:
        return {name: error for name, error in zip(self.metrics, errors.tolist(), strict=True) if np.isfinite(error)}

    def _told(self, inputs: RowInputs, predicted: Predicted, adaptation: Adaptation | None) -> CircuitPrediction:
        trained, structure = self.subject.trained, inputs.structure
        predicted, low, high = adapted_ends(trained, adaptation, inputs, predicted, _LEVEL)
        deviation = (high - low) / 2 / _REACH
        deviation = np.where(np.isfinite(deviation), deviation, predicted.spread * _DEVIATION)
        value, low, high = (
            trained.scales.values(structure, predicted.mean + side * deviation) for side in (0.0, -1.0, 1.0)
        )
        return CircuitPrediction(self.metrics, value, low, high, predicted.defined)


def adapted_ends(
    trained: TrainedSimulator, adaptation: Adaptation | None, inputs: RowInputs, predicted: Predicted, level: float
) -> tuple[Predicted, Floats, Floats]:
    """Predictions, corrected where there is an adaptation, and the ends [n, M] of their intervals, in targets."""
    if adaptation is None:
        return predicted, *trained.ends(inputs, predicted, level)
    corrected = adaptation.corrected(inputs, predicted)
    return corrected, *adaptation.ends(corrected, level, *trained.ends(inputs, corrected, level))


def _joined(parts: Sequence[Arrays]) -> Arrays:
    """The rows of all, behind one another."""
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name, array in vars(parts[0]).items()
        if isinstance(array, np.ndarray)
    }
    return replace(parts[0], **arrays)


def _taken(predicted: Predicted, rows: NDArray[np.intp]) -> Predicted:
    return Predicted(**{name: part[rows] for name, part in vars(predicted).items()})
