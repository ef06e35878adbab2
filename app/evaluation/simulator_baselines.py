"""Regressors of one circuit each beside the neural simulator, on the very same rows of some circuits.

They take minutes where the network takes none, so a fixed choice of circuits has to do, and each of them is noted once
it is judged: a run that was killed goes on where it was.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import PackageMissing
from app.evaluation.notes import Key, Notes, Report
from app.evaluation.simulator_sets import scores, slim
from app.measures.insight_baseline import InsightBaseline
from app.measures.simulator_baselines import Baseline, GradientBoosting, NearestNeighbour, TopologyMlp
from app.neural_simulator.arrays import Rows
from app.neural_simulator.scales import Scales
from app.neural_simulator.scores import Judged

Floats = NDArray[np.float64]

#: Baseline -> one that has learnt nothing yet, of scales and a seed.
BASELINES: Mapping[str, Callable[[Scales, int], Baseline]] = {
    "nearest": lambda scales, seed: NearestNeighbour(scales),
    "boosting": GradientBoosting,
    "mlp": TopologyMlp,
    "insight": InsightBaseline,
}

#: How many rows "few" are: with no more than these, the network is to be better than a perceptron of the circuit.
FEW = 200

#: A group with fewer rows than this to learn from, or to be judged by, is not chosen.
LEAST_LEARNT, LEAST_JUDGED = 60, 20


@dataclass(frozen=True, eq=False)
class Bout:
    """What is compared on one group: rows to learn from, rows to be judged by, and what the network made of these.

    `table` says which table it belongs to, `number` is the group's in the file, and `ours` is by way, as
    `simulator_sets.Judge` calls them. Of one group the same rows are judged in every table.
    """

    table: str
    number: int
    learnt: Rows
    judged: Rows
    ours: Mapping[str, Judged]


@dataclass(frozen=True)
class Entry:
    """What a baseline made of a group after it had learnt from so many of its `rows`.

    Seconds are of processor time; `mean` are targets, in base64 of single precision.
    """

    baseline: str
    number: int
    rows: int
    train_s: float
    predict_s: float
    mean: str

    @property
    def key(self) -> Key:
        """What tells it from every other one."""
        return self.baseline, self.number, self.rows

    def as_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Entry:
        """The entry that `as_json` wrote."""
        return cls(**entry)

    def judged(self, rows: Rows, scales: Scales) -> Judged:
        """Its predictions for the rows that it was made for."""
        numbers = np.frombuffer(base64.b64decode(self.mean), dtype="<f4")
        return Judged.of(rows, scales, numbers.reshape(rows.values.shape).astype(np.float64))


def judge_baselines(
    notes: Notes[Entry], bouts: Sequence[Bout], names: Sequence[str], scales: Scales, seed: int, report: Report | None
) -> dict[str, Any]:
    """Of every table what each baseline and the network come to, and how long they took.

    ``{tables: {table: {groups, rows, models: {name: {metrics, summary}}, seconds: {name: {train, predict}}}},
    left_out}``; `left_out` says in words why a baseline is missing. Seconds are medians over groups: of a training, and
    of a prediction in a batch of all judged rows.
    """
    left_out: dict[str, str] = {}
    todo = [(bout, name) for bout in bouts for name in names]
    for done, (bout, name) in enumerate(todo, start=1):
        if name not in left_out and _key(bout, name) not in notes.records:
            try:
                entry = _entry(bout, name, scales, seed)
            except PackageMissing as error:
                left_out[name] = str(error)
            else:
                notes.add([entry], {f"baseline {name}": entry.train_s + entry.predict_s})
        if report:
            report(done, len(todo))
    there = [name for name in names if name not in left_out]
    tables = dict.fromkeys(bout.table for bout in bouts)
    told = {
        table: _table([bout for bout in bouts if bout.table == table], there, notes.records, scales) for table in tables
    }
    return {"tables": told, "left_out": left_out}


def _key(bout: Bout, name: str) -> Key:
    return name, bout.number, len(bout.learnt)


def _entry(bout: Bout, name: str, scales: Scales, seed: int) -> Entry:
    began = time.process_time()
    baseline = BASELINES[name](scales, seed).fit(bout.learnt)
    trained = time.process_time()
    mean = np.ascontiguousarray(baseline.predict(bout.judged), dtype="<f4")
    spent = (trained - began, time.process_time() - trained)
    return Entry(
        name, bout.number, len(bout.learnt), round(spent[0], 4), round(spent[1], 5),
        base64.b64encode(mean.tobytes()).decode(),
    )  # fmt: skip


def _table(bouts: Sequence[Bout], names: Sequence[str], entries: Mapping[Key, Entry], scales: Scales) -> dict[str, Any]:
    """One table of `judge_baselines`."""
    models: dict[str, list[Judged]] = {}
    for bout in bouts:
        for way, judged in bout.ours.items():
            models.setdefault(way, []).append(judged)
        for name in names:
            models.setdefault(name, []).append(entries[_key(bout, name)].judged(bout.judged, scales))
    seconds = {}
    for name in names:
        own = [entries[_key(bout, name)] for bout in bouts]
        each = [entry.predict_s / len(bout.judged) for entry, bout in zip(own, bouts, strict=True)]
        seconds[name] = {
            "train_s": round(float(np.median([entry.train_s for entry in own])), 3),
            "predict_us": round(1e6 * float(np.median(each)), 2),
        }
    learnt = [len(bout.learnt) for bout in bouts]
    return {
        "groups": len(bouts), "rows": sum(len(bout.judged) for bout in bouts),
        "learnt_rows": {"least": min(learnt), "median": float(np.median(learnt)), "most": max(learnt)},
        "models": {name: slim(scores(judged, scales)) for name, judged in models.items()},
        "seconds": seconds,
    }  # fmt: skip
