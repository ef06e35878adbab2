"""What a prediction is about: a circuit on a testbench in a technology and corner, as the neural simulator sees it.

Knows no requests: whoever has a bench and a trained model makes a subject of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from app.analog.canonical import canonical_hash
from app.errors import InvalidInput, InvalidRequest, LimitExceeded, NotLearnt, UnknownName, pointing_at
from app.neural_simulator.arrays import (
    CIRCUIT,
    DEFINED,
    FACTS,
    IMPLAUSIBLE,
    NOT_RUN,
    SIMULATOR,
    Estimates,
    RowInputs,
    Rows,
    facts_at,
)
from app.neural_simulator.artefact import Predicted
from app.neural_simulator.batching import Predictor
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
from app.neural_simulator.plausible import is_implausible
from app.neural_simulator.scales import Scale, Scales
from app.requests import KnownMetrics
from app.technologies._gmid import GmIdProvider
from app.testbenches._base import Metric, Testbench
from app.testbenches._simulator import Bench, SimulationRow

Floats = NDArray[np.float64]

#: Devices and bias sources of a circuit at most: what a network takes grows with their square.
_MOST_ELEMENTS = 200

#: Sizes farther outside of their range than this, as a factor or in ranges of a voltage, are all the same to a network.
_FAR, _FAR_RANGES = 1e3, 10.0


#: What rows of simulations call the causes of metrics without a value.
CAUSES: Mapping[str, int] = {"circuit": CIRCUIT, "simulator": SIMULATOR, "not_run": NOT_RUN}


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


@dataclass(frozen=True, eq=False)
class PredictionSubject:
    """A circuit on a testbench in a technology and corner, ready to be predicted. M metrics: those that were learnt."""

    trained: TrainedSimulator
    bench: Bench
    wired: WiredTopology
    profile: TechnologyProfile
    scales: Mapping[str, Scale]

    @classmethod
    def of(cls, trained: TrainedSimulator, bench: Bench, gmid: GmIdProvider) -> Self:
        """The circuit of a bench, which has all of its testbench's metrics.

        Raises:
            NotLearnt: the testbench was not.
            LimitExceeded: the circuit is too large for the network.
            Unavailable: what transistors do in the technology is not known.
        """
        scales = learnt_scales(trained, bench.testbench)
        with pointing_at("/netlist"):
            wired = _wired(bench, tuple(scales))
        profile = TechnologyProfile.of([gmid.tables(bench.technology, bench.corner.process)])
        return cls(trained, bench, wired, profile, scales)

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

    def learnable(self, inputs: RowInputs, vectors: Floats, simulated: Sequence[SimulationRow]) -> Rows:
        """Inputs [n], and what ngspice found of their vectors [n, V], but for values that no circuit can have."""
        shape = (len(simulated), len(self.metrics))
        values, causes = np.full(shape, np.nan), np.full(shape, NOT_RUN, dtype=np.int8)
        facts = np.full((len(simulated), len(self.devices), len(FACTS)), np.nan, dtype=np.float32)
        for place, row in enumerate(simulated):
            for column, name in enumerate(self.metrics):
                if (value := row["metrics"].get(name)) is not None:
                    values[place, column], causes[place, column] = value, DEFINED
                elif (why := row["undefined"].get(name)) is not None:
                    causes[place, column] = CAUSES[why["cause"]]
            for column, device in enumerate(self.devices):
                told = row.get("operating_point", {}).get(device, {})
                facts[place, column] = [told.get(name, np.nan) for name in FACTS]
        count, bench = len(simulated), self.bench
        supply_v = np.full(count, bench.corner.supply_v)
        is_wrong = is_implausible(bench.testbench, bench.wiring.port_of, self.metrics, values, supply_v)
        return Rows(
            **vars(inputs),
            values=np.where(is_wrong, np.nan, values),
            causes=np.where(is_wrong, IMPLAUSIBLE, causes).astype(np.int8),
            facts=facts_at(self.wired.structure.names, self.devices, facts),
            sizes=vectors,
            methods=np.full(count, ""),
            process=np.full(count, bench.corner.process),
            simulate_s=np.array([row.get("timings", {}).get("simulate_s", np.nan) for row in simulated], np.float32),
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

    def known_of(self, rows: Rows, names: Collection[str]) -> Known:
        """What simulations say of the metrics of these names, as if a caller had known it."""
        is_told = np.isin(self.metrics, list(names))
        return Known(np.where(is_told, rows.values, np.nan), is_told & (rows.causes == CIRCUIT))

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


def learnt_scales(trained: TrainedSimulator, testbench: Testbench) -> dict[str, Scale]:
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
