"""Which rows a neural simulator is judged by, question by question, and what is predicted of them.

Rows that were learnt from, or that set the intervals, answer no question. Trains no more than adaptations to a circuit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.neural_simulator.adaptation import Adaptation
from app.neural_simulator.arrays import CIRCUIT, DEFINED, NOT_RUN, Rows
from app.neural_simulator.artefact import NeuralSimulator, Predicted, has_estimates
from app.neural_simulator.dataset import SimulationGroup
from app.neural_simulator.inputs import Known
from app.neural_simulator.novelty import Experience
from app.neural_simulator.scales import Scales
from app.neural_simulator.scores import Judged, metric_scores, summary
from app.neural_simulator.splits import TEST, TRAINING, ModelSplit, first_rows

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

#: Of intervals.
LEVEL = 0.9

#: Of a row of `metric_scores`, what stays where R2 is all that is shown.
_SLIM = ("testbench", "metric", "link", "rows", "r2")

Item = TypeVar("Item")


class Sorter:
    """Says which question a group of rows answers."""

    def __init__(self, experience: Experience, split: ModelSplit) -> None:
        self._experience = experience
        self._split = split
        self._topologies = {topology for topology, _, _ in experience.seen}
        self._testbenches = {testbench for _, testbench, _ in experience.seen}
        self._benched = {(topology, testbench) for topology, testbench, _ in experience.seen}

    def question(self, group: SimulationGroup) -> str | None:
        """``sizings``, ``topologies`` or ``technology``; None for a group that set intervals or is new in two ways."""
        if self._experience.knows(group.topology_id, group.testbench, group.technology):
            return "sizings"
        if group.topology_id in self._split.topologies.calibration or group.testbench not in self._testbenches:
            return None
        is_new_technology = group.technology not in self._experience.supplies
        if group.topology_id not in self._topologies:
            return None if is_new_technology else "topologies"
        is_benched = (group.topology_id, group.testbench) in self._benched
        return "technology" if is_new_technology and is_benched else None

    def sides(self, rows: Rows) -> NDArray[np.int8]:
        """TRAINING, CALIBRATION or TEST of each row [n], for the model."""
        return self._split.sides(rows)


@dataclass(frozen=True, eq=False)
class Asked:
    """The rows of one group, of which some are `judged`, by number.

    `learnable` are those that another predictor may learn from to be compared: what the model has learnt from, or where
    the circuit or technology is new what is kept to adapt to it.
    """

    question: str
    rows: Rows
    judged: Places
    learnable: Places


def asked_of(
    question: str, rows: Rows, sorter: Sorter, adapt: Sequence[int], most: int | None, seed: int
) -> Asked:  # fmt: skip
    """The rows of a group that answer the question, `most` of them at most (None: all).

    Of a circuit or technology that is new, up to half of the rows are kept for `adapt`, as many as its largest number
    asks for, and none of the judged rows is among them, whichever number is adapted from: all are judged alike.
    """
    if question == "sizings":
        sides = sorter.sides(rows)
        unseen = np.flatnonzero(sides == TEST)
        judged = unseen[first_rows(rows.take(unseen), most or len(rows), seed)]
        return Asked(question, rows, judged, np.flatnonzero(sides == TRAINING))
    kept = first_rows(rows, min(max(adapt), len(rows) // 2), seed)
    several = first_rows(rows, len(kept) + (most or len(rows)), seed)
    return Asked(question, rows, np.setdiff1d(several, kept), kept)


class Judge:
    """Predicts what was asked, in every way that is compared."""

    def __init__(self, simulator: NeuralSimulator, adapt: Sequence[int], seed: int) -> None:
        self._simulator = simulator
        self._adapt = adapt
        self._seed = seed

    def judged(self, asked: Asked) -> Iterator[tuple[str, Judged]]:
        """Way -> the judged rows with what is predicted of them.

        ``estimated``: the network with what the table simulator estimates; ``plain``: the network alone; ``table``: the
        estimates, where there are any, and ``told``: the first of these there; ``costly``, ``costly_known``,
        ``plain_costly``, ``plain_costly_known``: the costlier half of the metrics, with the cheaper half told or not;
        ``adapted_20`` and so on: adapted to so many other rows.
        """
        rows = asked.rows.take(asked.judged)
        yield "table", _of_table(rows, self._simulator.scales)
        predicted = self._simulator.predict(rows)
        found = self._of(rows, predicted)
        yield "estimated", found
        yield "told", _where_told(found, rows)
        yield from self._with_cheap_half("costly", rows, rows, found)
        plain = rows.plain()
        found = self._of(plain, self._simulator.predict(plain))
        yield "plain", found
        yield from self._with_cheap_half("plain_costly", rows, plain, found)
        if asked.question != "sizings" and len(asked.learnable):
            yield from self._adapted(asked.rows.take(asked.learnable), rows, predicted)

    def _with_cheap_half(self, way: str, rows: Rows, shown: Rows, judged: Judged) -> Iterator[tuple[str, Judged]]:
        """The costly half of what was `judged` with nothing known, and with the cheap half of the rows' metrics."""
        yield way, costly_half(judged)
        yield f"{way}_known", costly_half(self._of(shown, self._simulator.predict(shown, cheap_half(rows))))

    def _adapted(self, kept: Rows, rows: Rows, predicted: Predicted) -> Iterator[tuple[str, Judged]]:
        learnt = self._simulator.predict(kept)
        for count in self._adapt:
            if count:
                chosen = first_rows(kept, count, self._seed)
                adaptation = Adaptation.fit(kept.take(chosen), _taken(learnt, chosen), self._simulator.scales)
                corrected = adaptation.corrected(rows.inputs, predicted)
                ends = adaptation.ends(corrected, LEVEL, *self._simulator.ends(rows, corrected, LEVEL))
                yield f"adapted_{count}", self._with_ends(rows, corrected, *ends)

    def _of(self, rows: Rows, predicted: Predicted) -> Judged:
        return self._with_ends(rows, predicted, *self._simulator.ends(rows, predicted, LEVEL))

    def _with_ends(self, rows: Rows, predicted: Predicted, low: Floats, high: Floats) -> Judged:
        return Judged.of(rows, self._simulator.scales, predicted.mean, low=low, high=high, defined=predicted.defined)


def cheap_half(rows: Rows) -> Known:
    """What ngspice found of the first half of the metrics, which are the cheaper ones, and nothing of the others."""
    is_cheap = _is_cheap(rows.structure.metrics)
    return Known(
        np.where(is_cheap & (rows.causes == DEFINED), rows.values, np.nan), is_cheap & (rows.causes == CIRCUIT)
    )


def costly_half(judged: Judged) -> Judged:
    """The same without the metrics of `cheap_half`, which stay as columns that are not judged."""
    is_cheap = _is_cheap(judged.metrics)
    causes = np.where(is_cheap, NOT_RUN, judged.causes).astype(np.int8)
    return replace(judged, targets=np.where(is_cheap, np.nan, judged.targets), causes=causes)


def _is_cheap(metrics: Sequence[str]) -> NDArray[np.bool_]:
    """[M], metrics standing from cheap to costly."""
    return np.arange(len(metrics)) < len(metrics) // 2


def _of_table(rows: Rows, scales: Scales) -> Judged:
    """The table simulator's estimates as predictions."""
    estimates = np.nan_to_num(scales.targets(rows.structure, rows.estimates))
    says = np.select([rows.estimate_causes == DEFINED, rows.estimate_causes == CIRCUIT], [1.0, 0.0], 0.5)
    return _where_told(Judged.of(rows, scales, estimates, defined=says), rows)


def _where_told(judged: Judged, rows: Rows) -> Judged:
    """The same, judged only where the table simulator has a value, and of definedness where it was asked."""
    has_estimate = (rows.estimate_causes == DEFINED) & np.isfinite(rows.estimates)
    causes = np.where(rows.estimate_causes == NOT_RUN, NOT_RUN, judged.causes).astype(np.int8)
    return replace(judged, targets=np.where(has_estimate, judged.targets, np.nan), causes=causes)


def _taken(predicted: Predicted, rows: Places) -> Predicted:
    return replace(predicted, **{name: part[rows] for name, part in vars(predicted).items()})


class SetScores:
    """Everything judged of one question, and what it comes to."""

    def __init__(self, question: str) -> None:
        self.question = question
        self._ways: dict[str, list[Judged]] = {}
        self._rows = self._estimated = 0
        self._kept: list[int] = []

    def add(self, asked: Asked, ways: Mapping[str, Judged]) -> None:
        """One more group, judged in these ways."""
        for way, judged in ways.items():
            self._ways.setdefault(way, []).append(judged)
        self._rows += len(asked.judged)
        self._estimated += int(has_estimates(asked.rows.take(asked.judged)).sum())
        self._kept.append(len(asked.learnable))

    def as_json(self, scales: Scales, adapt: Sequence[int]) -> dict[str, Any]:
        """Counts, and by way ``{metrics, summary}``, of ``estimated`` and ``plain`` whole, of others their R2."""
        groups = self._ways.get("estimated", [])
        scored = {way: scores(judged, scales) for way, judged in self._ways.items()}
        costly = {"estimated": ("costly", "costly_known"), "plain": ("plain_costly", "plain_costly_known")}
        report = {
            "groups": len(groups), "rows": self._rows, "with_estimates": self._estimated,
            "topologies": len({group.topology_id for group in groups}),
            "testbenches": sorted({group.testbench for group in groups}),
            "technologies": sorted({group.technology for group in groups}),
            **{way: scored[way] for way in ("estimated", "plain")},
            **{way: slim(scored[way]) for way in ("table", "told")},
            "known": {
                way: {name: slim(scored[each]) for name, each in zip(("nothing", "cheaper_half"), pair, strict=True)}
                for way, pair in costly.items()
            },
        }  # fmt: skip
        if self.question == "sizings":
            return report
        adapted = {count: f"adapted_{count}" if count else "estimated" for count in adapt}
        return {
            **report,
            "kept_for_adaptation": {"least": min(self._kept), "most": max(self._kept)},
            "adapted": {str(count): slim(scored[way]) for count, way in adapted.items() if way in scored},
        }


def scores(judged: Sequence[Judged], scales: Scales) -> dict[str, Any]:
    """``{metrics, summary}`` of `metric_scores`."""
    rows = metric_scores(judged, scales)
    return {"metrics": rows, "summary": summary(rows)}


def slim(scored: Mapping[str, Any]) -> dict[str, Any]:
    """`scores` with no more of a metric than its R2."""
    return {
        "metrics": [{key: row[key] for key in _SLIM} for row in scored["metrics"]], "summary": scored["summary"],
    }  # fmt: skip


def spread_out(items: Sequence[Item], place: Callable[[Item], tuple[str, str, str]], seed: int) -> list[Item]:
    """The items in an order whose beginning has few alike, by `place`: their kind, their variety, their own name.

    First comes one item of every kind, then one of another variety of each, and so on; the rest is by hash.
    """

    def number(*words: str) -> bytes:
        return hashlib.blake2b(" ".join((str(seed), *words)).encode(), digest_size=8).digest()

    ranked: dict[tuple[str, str], list[Item]] = {}
    for item in sorted(items, key=lambda item: number(*place(item))):
        ranked.setdefault(place(item)[:2], []).append(item)
    varieties: dict[str, list[str]] = {}
    for kind, variety in sorted(ranked, key=lambda cell: number(*cell)):
        varieties.setdefault(kind, []).append(variety)
    order = [
        (rank, varieties[kind].index(variety), number(kind), item)
        for (kind, variety), several in ranked.items()
        for rank, item in enumerate(several)
    ]
    return [item for *_, item in sorted(order, key=lambda entry: entry[:3])]
