"""One setup of a testbench solved for a batch of designs: its runs in their order, as curves. Measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidRequest
from app.table_simulator.analyses import Alterations, frequencies, swept_levels
from app.table_simulator.cards import read_cards
from app.table_simulator.devices import MosLookup
from app.table_simulator.expressions import Number
from app.table_simulator.linearised import SmallSignals, small_signals
from app.table_simulator.mos_noise import MosNoise
from app.table_simulator.network import Network, System
from app.table_simulator.noise import noise_sources, noise_spectra
from app.table_simulator.operating_point import OperatingPoints, OperatingPointSolver
from app.table_simulator.response import ResponseSolver
from app.table_simulator.sweeps import swept_points
from app.testbenches._base import Run, Setup, Waveforms
from app.testbenches._kick import KICKED
from app.testbenches._simulator import Bench
from app.units import parse_spice_number

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Curves:
    """The vectors of one run, design x point; `scale` has the points of all designs, or those of each."""

    scale: Array
    vectors: Mapping[str, NDArray[np.float64] | NDArray[np.complex128]]
    is_there: Mask

    def of(self, design: int) -> Waveforms:
        """The waveforms of one design."""
        scale = self.scale if self.scale.ndim == 1 else self.scale[design]
        return Waveforms(scale, {name: values[design] for name, values in self.vectors.items()})

    def spread(self, designs: NDArray[np.intp], count: int) -> Curves:
        """The same among `count` designs, of which these are the ones."""
        if len(designs) == count:
            return self
        is_there = np.zeros(count, dtype=np.bool_)
        is_there[designs] = self.is_there
        vectors = {name: _placed(values, designs, count) for name, values in self.vectors.items()}
        return Curves(self.scale if self.scale.ndim == 1 else _placed(self.scale, designs, count), vectors, is_there)


@dataclass(frozen=True, eq=False)
class SolvedPoint:
    """Operating points with the equations that they solve."""

    system: System
    points: OperatingPoints


class SetupSolver:
    """Solves the wanted runs of one setup for any number of batches."""

    def __init__(self, bench: Bench, setup: Setup, runs: Sequence[Run]) -> None:
        self.setup = setup
        self.runs = tuple(runs)
        self.network = Network.of(read_cards(bench.deck_template(setup, ()), bench.models))
        self._points = OperatingPointSolver(self.network)
        self._response = ResponseSolver(self.network)

    @property
    def has_noise(self) -> bool:
        """True where a run is of noise."""
        return any(run.analysis == "noise" for run in self.runs)

    def solve(
        self,
        lookup: MosLookup,
        parameters: Mapping[str, Number],
        count: int,
        latest: OperatingPoints | None,
        noise: MosNoise | None,
    ) -> tuple[dict[str, Curves], SolvedPoint | None]:
        """The curves of every run, and the operating point of the run ``op`` where there is one.

        Without `noise` there are no transistors, or no noise runs. `latest` is where the search starts: operating
        points of an earlier setup, whose nodes have the same names.
        """
        system = self.network.system(parameters, lookup, count)
        batch = _Batch(self.network, self._points, system, self._start(system, parameters, latest))
        curves: dict[str, Curves] = {}
        at_op: SolvedPoint | None = None
        waiting: list[tuple[Run, _State]] = []
        state = _State((), {}, {})
        for run in self.runs:
            state = state.after(run, parameters)
            if run.analysis == "ac":
                waiting.append((run, state))
            elif run.analysis == "noise":
                curves[run.name] = batch.noise(self._response, run, state, noise)
            elif run.analysis == "dc":
                curves[run.name] = batch.swept(run, state, parameters)
            elif run.name == KICKED:
                initial = self.network.guesses(self.network.cards.initial, parameters)
                window_s = parse_spice_number(run.command.split()[-1])
                curves[run.name] = _at_point(run, batch.settled(state, initial, window_s))
            else:
                at_op = batch.at(state)
                curves[run.name] = _at_point(run, at_op.points)
        for run, state in waiting:
            if run.name not in curves:
                alike = [each for each in waiting if each[0].command == run.command and each[1].direct == state.direct]
                curves |= batch.responses(self._response, alike)
        return curves, at_op

    def _start(self, system: System, parameters: Mapping[str, Number], latest: OperatingPoints | None) -> Array:
        cards = self.network.cards
        guesses = self.network.guesses({**cards.nodesets, **cards.initial}, parameters)
        found = self._points.start(system, guesses)
        if latest is not None and not guesses:
            for name in latest.network.names[: latest.network.node_count]:
                row = self.network.index.get(name, -1)
                if row >= 0:
                    found[row] = np.where(latest.converged, latest.voltage(name), found[row])
        return found


@dataclass(frozen=True)
class _State:
    """Levels and amplitudes that ``alter`` commands have set so far; `direct` are the commands that set levels."""

    direct: tuple[str, ...]
    levels: Mapping[str, Number]
    amplitudes: Mapping[str, Number]

    def after(self, run: Run, parameters: Mapping[str, Number]) -> _State:
        """The state that a run finds."""
        commands = [command.format(**_braced(parameters)) for command in run.before]
        changes = Alterations.of(commands, parameters)
        return _State(
            (*self.direct, *(command for command in commands if "acmag" not in command.lower())),
            {**self.levels, **changes.levels},
            {**self.amplitudes, **changes.amplitudes},
        )


@dataclass
class _Batch:
    """The designs of one batch on one network."""

    network: Network
    solver: OperatingPointSolver
    system: System
    start: Array
    _known: dict[tuple[str, ...], SolvedPoint] = field(default_factory=dict)
    _small: dict[tuple[str, ...], SmallSignals] = field(default_factory=dict)

    def at(self, state: _State) -> SolvedPoint:
        """The operating points with these levels."""
        if state.direct not in self._known:
            system = self.system.altered(state.levels, {})
            self._known[state.direct] = SolvedPoint(system, self.solver.solve(system, self.start))
        return self._known[state.direct]

    def _nearest(self, state: _State) -> Array:
        """Where a search with these levels starts: at operating points that are known, else where any does."""
        known = self._known.get(state.direct)
        if known is None:
            return self.start
        return np.where(known.points.converged, known.points.unknowns, self.start)

    def settled(self, state: _State, initial: Mapping[int, Number], window_s: float) -> OperatingPoints:
        """Where the circuits settle that are let go from `initial` levels."""
        return self.solver.settle(self.system.altered(state.levels, {}), self.start, initial, window_s)

    def responses(self, solver: ResponseSolver, runs: Sequence[tuple[Run, _State]]) -> dict[str, Curves]:
        """The curves of AC runs with the same frequencies and levels."""
        (first, state), *_ = runs
        at, small = self.at(state), self._small_signals(state)
        scale = frequencies(first.command)
        excitations = [self._amplitudes(each) for _, each in runs]
        wanted = {vector: _rows(self.network, vector) for run, _ in runs for vector in run.vectors}
        rows = dict.fromkeys(row for pair in wanted.values() for row in pair if row >= 0)
        solved = solver.solve(at.system, small, scale, excitations, tuple(rows))
        curves = {}
        for (run, _), values in zip(runs, solved, strict=True):
            vectors = {vector: _difference(values, wanted[vector]) for vector in run.vectors}
            is_finite = np.all([np.isfinite(values).all(axis=1) for values in vectors.values()], axis=0)
            curves[run.name] = Curves(scale, vectors, at.points.converged & is_finite)
        return curves

    def noise(self, solver: ResponseSolver, run: Run, state: _State, mos: MosNoise | None) -> Curves:
        """The curves of a noise run."""
        at, small = self.at(state), self._small_signals(state)
        scale, output = frequencies(run.command), _rows(self.network, run.command.split()[1])
        with np.errstate(all="ignore"):
            sources = noise_sources(at.system, at.points.unknowns, small, mos)
            spectra = noise_spectra(solver, at.system, small, sources, scale, output, self._amplitudes(state))
        vectors = {vector: spectra[vector] for vector in run.vectors}
        is_finite = np.all([np.isfinite(values).all(axis=1) for values in vectors.values()], axis=0)
        return Curves(scale, vectors, at.points.converged & is_finite)

    def _small_signals(self, state: _State) -> SmallSignals:
        if state.direct not in self._small:
            at = self.at(state)
            self._small[state.direct] = small_signals(at.system, at.points.unknowns)
        return self._small[state.direct]

    def _amplitudes(self, state: _State) -> dict[str, Number]:
        every = {**self.system.amplitudes, **state.amplitudes}
        return {name: value for name, value in every.items() if isinstance(value, np.ndarray) or value != 0.0}

    def swept(self, run: Run, state: _State, parameters: Mapping[str, Number]) -> Curves:
        """The curves of a sweep."""
        source, levels = swept_levels(run.command.format(**_braced(parameters)), parameters, self.system.count)
        system, points = self.system.altered(state.levels, {}), levels.shape[1]
        found = swept_points(self.solver, system, self._nearest(state), source, levels)
        is_there = np.asarray(np.isfinite(found[:-1]).all(axis=(0, 1)))
        wanted = {vector: _rows(self.network, vector) for vector in run.vectors}
        if any(row >= self.network.node_count for pair in wanted.values() for row in pair):
            designs = np.flatnonzero(is_there)
            whole = system.take(np.tile(designs, points)).altered({source: levels[designs].T.ravel()}, {})
            flat = found[:, :, designs].reshape(len(found), -1)
            self.solver.add_branch_currents(whole, flat)
            found[:, :, designs] = flat.reshape(len(found), points, -1)
        vectors = {vector: (found[first] - found[second]).T for vector, (first, second) in wanted.items()}
        return Curves(levels, vectors, is_there)


def _placed(values: NDArray[Any], designs: NDArray[np.intp], count: int) -> NDArray[Any]:
    found = np.full((count, *values.shape[1:]), np.nan, dtype=values.dtype)
    found[designs] = values
    return found


def _at_point(run: Run, points: OperatingPoints) -> Curves:
    vectors = {}
    for vector in run.vectors:
        first, second = _rows(points.network, vector)
        vectors[vector] = (points.unknowns[first] - points.unknowns[second])[:, None]
    return Curves(np.zeros(1), vectors, points.converged)


def _rows(network: Network, vector: str) -> tuple[int, int]:
    """The unknowns whose difference a vector is: ``v(out)``, ``v(out,low)`` or ``i(v_vdd)``."""
    what, _, inner = vector.partition("(")
    names = inner.rstrip(")").split(",")
    if what == "i":
        return network.branch(names[0]), -1
    if what != "v" or any(name not in network.index for name in names):
        raise InvalidRequest(f"the table simulator knows no vector {vector[:80]!r}")
    first, second = (*names, "0")[:2]
    return network.index[first], network.index[second]


def _difference(values: Mapping[int, NDArray[np.complex128]], rows: tuple[int, int]) -> NDArray[np.complex128]:
    first, second = rows
    return values[first] if second < 0 else values[first] - values[second]


def _braced(parameters: Mapping[str, Number]) -> dict[str, _Kept]:
    """What leaves the parameters of a command as they are, whatever the format that they are to be written in."""
    return {name: _Kept(name) for name in parameters}


@dataclass(frozen=True, slots=True)
class _Kept:
    name: str

    def __format__(self, specification: str) -> str:
        return f"{{{self.name}}}"
