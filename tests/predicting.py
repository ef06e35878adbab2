"""Predictions by a network that is a formula: real requests, features and intervals, without training or ngspice."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.analog.spice import write_spice
from app.circuit_model import CircuitModel
from app.neural_simulator.arrays import NOT_RUN, Estimates, RowInputs
from app.neural_simulator.artefact import Predicted
from app.neural_simulator.conformal import LEVELS, ConformalIntervals
from app.neural_simulator.inputs import Known
from app.neural_simulator.nearest import NearestRows
from app.neural_simulator.novelty import Experience
from app.neural_simulator.scales import Scales, fit_scales
from app.prediction_subject import Estimator
from app.predictions import Predictions
from app.requests import AnalogPredictRequest, JobRequest
from app.simulated_rows import SimulatedRows
from app.simulations import PreparedBenches
from app.sizes.draws import draw
from app.technologies._base import Technology
from app.technologies._gmid import GmIdTables
from app.testbenches._simulator import Bench, SimulationRow
from app.workshop import Row
from tests.analytic_transistors import analytic_tables
from tests.bench_rows import archetype
from tests.running_service import NamedWorkshop
from tests.simulated_rows import prepared_of

Floats = NDArray[np.float64]

#: What the network has learnt from, and their texts.
LEARNT = ("opamp/two_stage_miller", "ldo/buffered_pmos_pass", "comparator/strongarm")
MILLER, LDO, STRONGARM = (write_spice(archetype(name)) for name in LEARNT)

#: The last metric of every testbench is predicted to have no value.
SPREAD, DEFINED = 0.1, 0.95


class AnalyticGmId:
    """gm/Id tables of transistors that follow from a formula."""

    def tables(self, technology: Technology, process: str | None = None) -> GmIdTables:
        """Tables of any process corner."""
        return analytic_tables(technology, process)


@cache
def _learnt() -> tuple[Scales, Experience, NearestRows]:
    prepared = prepared_of(LEARNT, 40)
    chosen = [(group, np.ones(len(group), dtype=np.bool_)) for group in prepared.groups]
    return fit_scales(prepared.rows()), Experience.of(chosen), NearestRows.of(chosen)


class FormulaNetwork:
    """Means are a bounded sum over what is seen of the elements; known metrics add to those behind them.

    `batches` are the numbers of rows that went through together, `threads` the threads that asked. A call waits for
    `gate`, and fails for a supply of 1.234 V. Every row has the same `distance`.
    """

    testbenches = ("comparator", "ldo", "opamp")

    def __init__(self) -> None:
        self.scales, self.experience, self.nearest = _learnt()
        self.intervals = {
            (kind, is_known): ConformalIntervals(LEVELS, {(None, None, None): (0.7, 1.3, 1.6, 2.0 if kind else np.inf)})
            for kind in (True, False)
            for is_known in (True, False)
        }
        self.batches: list[int] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.distance = 0.5

    def predict(self, rows: RowInputs, known: Known | None = None) -> Predicted:
        """What the formula says."""
        self.batches.append(len(rows))
        self.threads.add(threading.get_ident())
        self.gate.wait(20)
        if np.any(np.isclose(rows.conditions[:, 0], np.log10(1.234))):
            raise RuntimeError("a fault of the network")
        count, metrics = rows.estimates.shape
        seen = rows.elements.sum(axis=(1, 2), dtype=np.float64)[:, None] + np.arange(metrics)
        mean = np.tanh(seen / 50) + np.nan_to_num(rows.estimates) * 1e-3
        defined = np.full((count, metrics), DEFINED)
        defined[:, -1] = 0.2
        spread = np.full((count, metrics), SPREAD)
        if known is not None:
            is_known = np.isfinite(known.values)
            mean += 0.1 * np.cumsum(is_known, axis=1) - 0.05 * np.cumsum(known.has_none, axis=1)
            mean = np.where(is_known, self.scales.targets(rows.structure, known.values), mean)
            spread, defined = np.where(is_known, 1e-3, spread), np.where(is_known, 1.0, defined)
        has_estimates = (rows.estimate_causes != NOT_RUN).any(axis=1)
        return Predicted(mean, spread, defined, distance=np.full(count, self.distance), has_estimates=has_estimates)

    def ends(self, rows: RowInputs, predicted: Predicted, level: float) -> tuple[Floats, Floats]:
        """Ends of intervals."""
        low, high = np.empty_like(predicted.mean), np.empty_like(predicted.mean)
        structure = rows.structure
        for kind in (True, False):
            of = predicted.has_estimates == kind
            low[of], high[of] = self.intervals[kind, True].intervals(
                structure.testbench, rows.technology, structure.metrics, predicted.mean[of], predicted.spread[of], level
            )
        return low, high


def no_estimates(
    bench: Bench, vectors: Floats, metrics: Sequence[str], devices: Sequence[str], /
) -> tuple[Estimates, str | None]:
    """A table simulator without tables."""
    return Estimates.nothing(len(vectors), len(metrics), len(devices)), "there are no tables"


def predictions(
    network: FormulaNetwork | None = None, estimate: Estimator = no_estimates, simulated: SimulatedRows | None = None
) -> Predictions:
    """Predictions by the formula."""
    found = FormulaNetwork() if network is None else network
    return Predictions(lambda: found, PreparedBenches(AnalyticGmId()), estimate, simulated=simulated)


def row_of(bench: Bench, vector: Floats, metrics: Mapping[str, float | None], **more: Any) -> SimulationRow:
    """What `BenchSimulator.run` would say of a sizing; a metric that is None is one that the circuit does not have."""
    undefined = {name: {"cause": "circuit", "reason": "so"} for name, value in metrics.items() if value is None}
    return {
        "index": 0, "status": "ok", "sizes": bench.space.as_sizing(vector.tolist()), "metrics": dict(metrics),
        "undefined": undefined, "relaxed": False, "derived": {}, "timings": {"simulate_s": 0.01}, **more,
    }  # fmt: skip


def simulated_rows(model: CircuitModel, vectors: Floats, *, off: float = 1.0) -> list[SimulationRow]:
    """Rows of a circuit that is unlike the formula in every metric that likely has a value: by a constant and by what
    the first size says, in targets, `off` times.
    """
    bench, scales = model.bench, model.subject.trained.scales
    told = model.predict(vectors)
    apart = off * (0.4 + 0.2 * np.log10(vectors[:, 0] / bench.space.start[0]))
    rows = []
    for place, vector in enumerate(vectors):
        metrics = {}
        for column, name in enumerate(told.metrics[:-1]):
            scale = scales.of(bench.testbench.name, name)
            target = scale.target(told.value[place, column : column + 1]) + apart[place]
            metrics[name] = float(scale.value(target)[0])
        rows.append(row_of(bench, vector, {**metrics, told.metrics[-1]: None}))
    return rows


def drawn(bench: Bench, count: int, seed: int = 1) -> Floats:
    """Sizings [count, V] from the whole range."""
    return np.array([draw(bench.space, bench.space.start, "log_uniform", seed, index) for index in range(count)])


class PredictingWorkshop(NamedWorkshop):
    """Predicts; everything else is as in the FakeWorkshop."""

    def __init__(self, made: Predictions) -> None:
        super().__init__()
        self.predictions = made

    def prepare(self, kind: str, request: JobRequest) -> JobRequest:
        """The prepared request."""
        if isinstance(request, AnalogPredictRequest):
            return self.predictions.prepare(kind, request)
        return super().prepare(kind, request)

    def heading(self, kind: str, request: JobRequest) -> Mapping[str, Any]:
        """What rows have in common."""
        if isinstance(request, AnalogPredictRequest):
            return self.predictions.heading(kind, request)
        return super().heading(kind, request)

    def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """Rows."""
        if isinstance(request, AnalogPredictRequest):
            return self.predictions.produce(kind, request, indices, in_background=in_background)
        return super().produce(kind, request, indices, in_background=in_background)

    async def aclose(self) -> None:
        """Nothing more is predicted."""
        await self.predictions.aclose()
