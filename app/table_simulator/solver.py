"""Sizings of a circuit on a testbench, thousands at once, without ngspice: operating points, small signals, metrics.

The testbench's own setups are solved: the same cards, the same analyses, and its metrics are measured by its own
functions. What is approximate are the transistors (`devices`), and that a frequency sweep has fewer points
(`analyses`). Analyses over time and over temperature are not there, nor are metrics that take them; a transient that
only tells where a circuit settles is followed in coarse steps.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidRequest, SimulatorFailure, Unavailable
from app.table_simulator.analyses import handed_on, is_solved
from app.table_simulator.device_tables import MOST_KEPT, DeviceTables
from app.table_simulator.devices import DEVICE_FACTS, MosLookup
from app.table_simulator.expressions import Number
from app.table_simulator.linearised import small_signals
from app.table_simulator.mos_noise import MosNoise
from app.table_simulator.noise_tables import NoiseTables
from app.table_simulator.operating_point import OperatingPoints
from app.table_simulator.setups import Curves, SetupSolver, SolvedPoint
from app.technologies._base import Technology
from app.testbenches._base import Metric, Reading, RunFailed, Undefined
from app.testbenches._simulator import Bench

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Designs that are solved together: as many as leave a processor's cache enough room.
_AT_ONCE = 1024

_NO_POINT = Undefined("the table simulator finds no operating point", "simulator")
_NO_SIZE = Undefined("a size is not a finite number", "simulator")


class TableProvider(Protocol):
    """Where tables come from: `app.table_simulator.device_tables.DeviceTableSource`."""

    def tables(self, technology: Technology, process: str, celsius: float) -> DeviceTables:
        """The tables of a process corner and temperature."""
        ...

    def noise(self, technology: Technology, process: str, celsius: float) -> NoiseTables:
        """What its transistors' noise is; asked for only where a metric takes it."""
        ...


@dataclass(frozen=True, eq=False)
class TableResults:
    """What became of n sizings. M devices (the MOS, in the netlist's order), K metrics.

    `values` are in SI units, NaN where `undefined` has a reason. `converged` says whether the testbench's operating
    points were found; a sweep may end early all the same. `facts` are `DEVICE_FACTS` of the run ``op``, by name, and
    `voltages` those of its nets; both mean nothing where that has no operating point.
    """

    converged: Mask  # [n]
    metrics: tuple[str, ...]
    values: Array  # [n, K]
    undefined: tuple[Mapping[str, Undefined], ...]  # [n]
    devices: tuple[str, ...]
    facts: Mapping[str, Array]  # [n, M]
    voltages: Mapping[str, Array]  # [n]


class TableSimulator:
    """Solves benches with the tables of their technology and corner."""

    def __init__(self, provider: TableProvider) -> None:
        self._provider = provider
        self._lookups: dict[int, MosLookup] = {}
        self._noise: dict[int, MosNoise] = {}

    def metrics_of(self, bench: Bench) -> tuple[Metric, ...]:
        """The metrics of a bench that can be had: those whose runs are solved here."""
        solved = {run.name for setup in bench.setups for run in setup.runs if is_solved(run)}
        for setup in bench.setups:
            if not set(setup.after) <= solved:
                solved -= {run.name for run in setup.runs}
        return tuple(metric for metric in bench.metrics if set(metric.runs) <= solved)

    def run(
        self, bench: Bench, vectors: Sequence[Sequence[float]] | Array, metrics: Sequence[str] | None = None
    ) -> TableResults:
        """The results of sizings of ``bench.space``.

        Args:
            bench: The circuit on its testbench.
            vectors: Design x variable, SI units.
            metrics: Some of `metrics_of`; all of them by default.

        A sizing that holds a number which is not finite has no results. Where the noise of transistors cannot be had,
        metrics that take it are ``not_run``.

        Raises:
            InvalidRequest: the circuit has elements without equations here, or a metric that cannot be had is named.
            Unavailable: there are no tables for the bench's technology and corner.
            SimulatorFailure: the circuit's equations have no solution at all, whatever its sizes.
        """
        sizes = np.asarray(vectors, dtype=np.float64).reshape(-1, len(bench.space.variables))
        known = {metric.name: metric for metric in self.metrics_of(bench)}
        for name in metrics or ():
            if name not in known:
                raise InvalidRequest(f"the table simulator cannot measure {name} on testbench {bench.testbench.name}")
        chosen = tuple(metric for name, metric in known.items() if metrics is None or name in metrics)
        setups = _setups(bench, chosen)
        lookup = self._lookup(bench)
        silent: dict[str, Undefined] = {}
        try:
            noise = self._noise_of(bench, setups, lookup)
        except (Unavailable, SimulatorFailure) as error:
            noise, reason = None, Undefined(str(error), "not_run")
            silent = {run.name: reason for solver in setups for run in solver.runs if run.analysis == "noise"}
            setups = _setups(bench, chosen, left_out=silent)
        is_number: Mask = np.all(np.isfinite(sizes), axis=1)
        solved = np.where(is_number[:, None], sizes, bench.space.start)
        starts = range(0, max(len(sizes), 1), _AT_ONCE)
        parts = []
        for at in starts:
            batch = _Batch(bench, solved[at : at + _AT_ONCE], silent)
            for solver in setups:
                batch.solve(solver, lookup, noise)
            parts.append(batch.results(setups, chosen))
        found = _joined(parts)
        return found if is_number.all() else _without(found, ~is_number)

    def without_solving(
        self, bench: Bench, vectors: Sequence[Sequence[float]] | Array, metrics: Sequence[str]
    ) -> TableResults:
        """Those of the metrics that take no run, exactly, of any circuit; there are neither facts nor voltages."""
        sizes = np.asarray(vectors, dtype=np.float64).reshape(-1, len(bench.space.variables))
        chosen = [metric for metric in bench.metrics if not metric.runs and metric.name in metrics]
        found = _Batch(bench, np.nan_to_num(sizes), {}).results((), chosen)
        return _without(found, ~np.all(np.isfinite(sizes), axis=1))

    def _lookup(self, bench: Bench) -> MosLookup:
        tables = self._provider.tables(bench.technology, bench.corner.process, bench.corner.celsius)
        known = self._lookups.pop(id(tables), None)
        if known is None or known.tables is not tables:
            known = MosLookup(tables)
        self._lookups[id(tables)] = known
        if len(self._lookups) > MOST_KEPT:
            del self._lookups[next(iter(self._lookups))]
        return known

    def _noise_of(self, bench: Bench, setups: Sequence[SetupSolver], lookup: MosLookup) -> MosNoise | None:
        """The noise of transistors where one is in a circuit whose noise is wanted. Raises as the provider does."""
        if not any(solver.network.transistors and solver.has_noise for solver in setups):
            return None
        tables = self._provider.noise(bench.technology, bench.corner.process, bench.corner.celsius)
        known = self._noise.pop(id(tables), None)
        if known is None or known.tables is not tables or known.lookup is not lookup:
            known = MosNoise(lookup, tables)
        self._noise[id(tables)] = known
        if len(self._noise) > MOST_KEPT:
            del self._noise[next(iter(self._noise))]
        return known


def _setups(bench: Bench, metrics: Sequence[Metric], left_out: Collection[str] = ()) -> tuple[SetupSolver, ...]:
    """The setups with the runs that the metrics need but those of `left_out`; ``op`` is always among them."""
    needed = {"op", *(run for metric in metrics for run in metric.runs)}
    for setup in reversed(bench.setups):
        if any(run.name in needed for run in setup.runs):
            needed |= set(setup.after)
    needed -= set(left_out)
    kept = [(setup, handed_on(setup.runs, needed)) for setup in bench.setups]
    return tuple(SetupSolver(bench, setup, runs) for setup, runs in kept if runs)


@dataclass
class _Batch:
    """Sizings that are solved together: design x variable. `silent` says of runs why none of them has these."""

    bench: Bench
    sizes: Array
    silent: Mapping[str, Undefined]
    curves: dict[str, Curves] = field(default_factory=dict)
    failed: dict[str, dict[int, Undefined]] = field(default_factory=dict)
    latest: OperatingPoints | None = None
    at_op: tuple[NDArray[np.intp], SolvedPoint] | None = None

    def results(self, setups: Sequence[SetupSolver], metrics: Sequence[Metric]) -> TableResults:
        """Everything that is told of the batch after its setups are solved."""
        values = np.full((len(self.sizes), len(metrics)), np.nan)
        undefined: list[dict[str, Undefined]] = []
        for design in range(len(self.sizes)):
            reading = self._reading(design)
            undefined.append({})
            for column, metric in enumerate(metrics):
                found = reading.value(metric.name)
                if isinstance(found, Undefined):
                    undefined[-1][metric.name] = found
                else:
                    values[design, column] = found
        facts, voltages = self._at_op()
        return TableResults(
            converged=self._converged(setups),
            metrics=tuple(metric.name for metric in metrics),
            values=values,
            undefined=tuple(undefined),
            devices=tuple(device.name for device in self.bench.netlist.devices if device.kind_of.is_mos),
            facts=facts,
            voltages=voltages,
        )

    def solve(self, solver: SetupSolver, lookup: MosLookup, noise: MosNoise | None) -> None:
        """The setup's runs are solved for the designs that have the numbers which it is derived from."""
        derived, missing = self._derived(solver)
        chosen = np.array([design for design in range(len(self.sizes)) if design not in missing], dtype=np.intp)
        names = [run.name for run in solver.runs]
        for name in names:
            self.failed[name] = dict(missing)
        if not chosen.size:
            return
        parameters: dict[str, Number] = {
            variable.name: self.sizes[chosen, column] for column, variable in enumerate(self.bench.space.variables)
        }
        parameters |= derived
        latest = None if self.latest is None else self.latest.take(chosen)
        curves, at_op = solver.solve(lookup, parameters, len(chosen), latest, noise)
        for name, found in curves.items():
            self.curves[name] = found.spread(chosen, len(self.sizes))
            self.failed[name] |= {int(chosen[place]): _NO_POINT for place in np.flatnonzero(~found.is_there)}
        if at_op is not None:
            self.at_op = chosen, at_op
            self.latest = at_op.points.spread(chosen, len(self.sizes))

    def _derived(self, solver: SetupSolver) -> tuple[dict[str, Number], dict[int, Undefined]]:
        """The numbers of the setup that earlier ones tell, and the designs that lack them."""
        derive = self.bench.testbench.derive.get(solver.setup.name)
        if derive is None:
            return {}, {}
        found: list[Mapping[str, float]] = []
        missing: dict[int, Undefined] = {}
        for design in range(len(self.sizes)):
            try:
                numbers = derive(self._reading(design))
            except RunFailed as failure:
                numbers = failure.undefined
            if isinstance(numbers, Undefined):
                missing[design] = numbers
            else:
                found.append(numbers)
        names = found[0] if found else ()
        return {name: np.array([numbers[name] for numbers in found]) for name in names}, missing

    def _reading(self, design: int) -> Reading:
        bench = self.bench
        return Reading(
            runs={name: curves.of(design) for name, curves in self.curves.items() if curves.is_there[design]},
            failed={**self.silent, **{name: each[design] for name, each in self.failed.items() if design in each}},
            node=self._nodes,
            settings=bench.settings,
            corner=bench.corner,
            sizes=bench.space.as_sizing(self.sizes[design].tolist()),
            area_m2=float(self._areas[design]),
            metrics=bench.testbench.metric_of,
        )

    @cached_property
    def _nodes(self) -> Mapping[str, str]:
        return {role: self.bench.circuit.node_of[port] for role, port in self.bench.wiring.port_of.items()}

    @cached_property
    def _areas(self) -> Array:
        """The sum of W x L x m over the MOS, in square metres."""
        space, total = self.bench.space, np.zeros(len(self.sizes))
        for device in self.bench.netlist.devices:
            if device.kind_of.is_mos:
                product = np.ones(len(self.sizes))
                for size in ("width_m", "length_m", "multiplier"):
                    variable = space.variable_at.get((device.name, size))
                    own = device.sizes.get(size, 1.0)
                    product *= own if variable is None else self.sizes[:, space.index_of[variable.name]]
                total += product
        return total

    def _converged(self, setups: Sequence[SetupSolver]) -> Mask:
        points = [run.name for solver in setups for run in solver.runs if run.analysis == "op"]
        found = np.ones(len(self.sizes), dtype=np.bool_)
        for name in points:
            found &= self.curves[name].is_there if name in self.curves else False
        return found

    def _at_op(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Facts of transistors and voltages of nets, NaN for designs without the run ``op``."""
        bench, count = self.bench, len(self.sizes)
        devices = [device for device in bench.netlist.devices if device.kind_of.is_mos]
        facts = {name: np.full((count, len(devices)), np.nan) for name in DEVICE_FACTS}
        voltages = {net: np.full(count, np.nan) for net in bench.netlist.nets}
        if self.at_op is None:
            return facts, voltages
        chosen, found = self.at_op
        for net, voltage in voltages.items():
            voltage[chosen] = found.points.voltage(bench.circuit.node_of[net])
        if devices:
            order = [each.name for each in found.points.network.transistors]
            rows = [order.index(bench.circuit.instance_of[device.name]) for device in devices]
            told = small_signals(found.system, found.points.unknowns).facts
            for name, fact in facts.items():
                fact[chosen] = told[name][rows].T
        return facts, voltages


def _joined(parts: Sequence[TableResults]) -> TableResults:
    first = parts[0]
    return TableResults(
        converged=np.concatenate([part.converged for part in parts]),
        metrics=first.metrics,
        values=np.concatenate([part.values for part in parts]),
        undefined=tuple(why for part in parts for why in part.undefined),
        devices=first.devices,
        facts={name: np.concatenate([part.facts[name] for part in parts]) for name in first.facts},
        voltages={net: np.concatenate([part.voltages[net] for part in parts]) for net in first.voltages},
    )


def _without(results: TableResults, where: Mask) -> TableResults:
    """The same without those of some sizings."""
    nothing = dict.fromkeys(results.metrics, _NO_SIZE)
    return TableResults(
        converged=results.converged & ~where,
        metrics=results.metrics,
        values=np.where(where[:, None], np.nan, results.values),
        undefined=tuple(nothing if is_out else why for is_out, why in zip(where, results.undefined, strict=True)),
        devices=results.devices,
        facts={name: np.where(where[:, None], np.nan, fact) for name, fact in results.facts.items()},
        voltages={net: np.where(where, np.nan, level) for net, level in results.voltages.items()},
    )
