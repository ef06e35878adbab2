"""Whether compilers rank on one set of programs as on another: what a synthetic benchmark has to get right.

The score of a compiler on a device is the geometric mean, over programs, of the two-qubit gates after compiling over
those before. Before: in the normal form, gates alone (measurements, resets, barriers and conditions left out) written
in u3 and cx by Qiskit without optimization, which every compiler gets; so no compiler is judged by how it reads a gate.

Reference:
    [kendall1938measure] for tau; [li2019sabre] §V for the count of added gates as a score.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from app.errors import PackageMissing, SimulatorFailure, UnknownName
from app.quantum.coupling import CouplingName, coupling_map
from app.quantum.gates import GATES
from app.quantum.program import QuantumProgram
from app.quantum.qasm import write_qasm2
from app.simulation_corpus.journal import Journal, read_journal
from app.simulators.processes import ProcessLimits, WorkerPool
from app.statistics import ROUNDS

#: Sides that are compared, the real programs among them.
REAL: Final = "real"

#: Programs of a side that are compiled, evenly spaced over those that a device can hold.
PROGRAMS: Final = 100

#: Seconds of the clock that one compiler has for one program on one device.
TIME_LIMIT_S: Final = 20.0

_SEED = 0
_TAILS = (2.5, 97.5)
_RECYCLE_AFTER = 500
_LIMITS = ProcessLimits(cpu_s=600, memory_bytes=None, file_bytes=None)
_JOURNAL = "compilers.jsonl"


@dataclass(frozen=True, slots=True)
class Compiler:
    """A compiler and how it is told to work. One that draws has several `seeds`, of which the mean logarithm counts."""

    package: Literal["qiskit", "pytket", "bqskit"]
    options: Mapping[str, Any]
    seeds: tuple[int | None, ...] = (None,)

    def request(self, seed: int | None) -> dict[str, Any]:
        """What the worker is told of it."""
        drawn = {} if seed is None else {"seed": seed}
        return {"package": self.package, "options": {**self.options, **drawn}}


def _qiskit(level: int, **options: str) -> Compiler:
    return Compiler("qiskit", {"level": level, **options}, (0, 1, 2))


#: Every compiler. The first two place qubits as they are numbered, the first with the simplest routing there is.
COMPILERS: Final[Mapping[str, Compiler]] = MappingProxyType(
    {
        "trivial_basic": replace(_qiskit(0, layout="trivial", routing="basic"), seeds=(0,)),
        "trivial_sabre": _qiskit(0, layout="trivial", routing="sabre"),
        "qiskit_o1": _qiskit(1),
        "qiskit_o2": _qiskit(2),
        "qiskit_o3": _qiskit(3),
        "pytket_line": Compiler("pytket", {"placement": "line"}),
        "pytket_graph": Compiler("pytket", {"placement": "graph"}),
        "bqskit_o1": Compiler("bqskit", {"level": 1}),
    }
)

#: Devices: a map of `coupling_map` and its number of qubits.
DEVICES: Final[Mapping[str, tuple[CouplingName, int]]] = MappingProxyType(
    {"line_40": ("line", 40), "grid_5x8": ("grid", 40), "heavy_hex_65": ("heavy_hex", 65)}
)

#: Programs on no more qubits than these fit every device.
WIDEST: Final = min(qubits for _, qubits in DEVICES.values())


class Pool(Protocol):
    """Answers as `app.evaluation.compiler_worker.handle` does."""

    def submit(self, request: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """A future of the answer."""
        ...


def default_compilers() -> tuple[str, ...]:
    """Those of Qiskit, and of pytket where it is installed. bqskit takes minutes a program and has to be named."""
    has_pytket = find_spec("pytket") is not None
    return tuple(
        name for name, one in COMPILERS.items() if one.package == "qiskit" or (one.package == "pytket" and has_pytket)
    )


@contextmanager
def compiler_pool(
    names: Sequence[str], *, workers: int = 1, time_limit_s: float = TIME_LIMIT_S
) -> Iterator[WorkerPool]:
    """Worker processes for these compilers, until the block ends.

    Raises:
        UnknownName: There is no such compiler.
        PackageMissing: Its package is not installed.
    """
    for name in names:
        if name not in COMPILERS:
            raise UnknownName("compiler", name, COMPILERS)
        package = COMPILERS[name].package
        if find_spec(package) is None:
            raise PackageMissing(package, f"the compiler {name}", "compilers")
    packages = sorted({COMPILERS[name].package for name in names})
    with WorkerPool(
        "app.evaluation.compiler_worker", size=workers, timeout_s=time_limit_s, recycle_after=_RECYCLE_AFTER,
        limits=_LIMITS, options={"packages": packages}, start_timeout_s=300.0,
    ) as pool:  # fmt: skip
        yield pool


def compiler_ranking(
    programs: Mapping[str, Sequence[QuantumProgram]],
    *,
    names: Sequence[str] | None = None,
    count: int = PROGRAMS,
    workers: int = 1,
    time_limit_s: float = TIME_LIMIT_S,
    folder: Path | None = None,
    report: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """How every side's programs rank the compilers, and how far that agrees with the side ``real``.

    By side ``{programs, compiled, overhead: {device: {compiler: mean}}, finished: {compiler: share}}`` and, where the
    side is not the real one, ``tau: {tau, low, high, by_device}``: Kendall's tau of the two rankings, the mean over
    devices, with a 95 % interval from drawing both sides' programs anew. The real side has in its place ``halves``, the
    tau of its own halves, which is what a perfect set could be expected to reach. A program counts on a device where
    every compiler was done with it in time; `finished` says who was how often.

    Args:
        programs: By side, ``real`` among them.
        names: Keys of COMPILERS; `default_compilers` when absent.
        count: Programs of a side that are compiled, of those with a two-qubit gate and at most WIDEST qubits.
        folder: Where finished compilations are written down, so that what was killed goes on; nowhere when absent.
        report: Called with (compilations done, of how many).

    Raises:
        UnknownName: There is no such compiler.
        PackageMissing: Its package is not installed.
    """
    chosen = tuple(default_compilers() if names is None else names)
    with compiler_pool(chosen, workers=workers, time_limit_s=time_limit_s) as pool, _notes(folder) as notes:
        bench = _Bench(pool, chosen, notes, 2 * workers, report or (lambda done, total: None))
        sides = {side: bench.compile(_evenly(members, count)) for side, members in programs.items()}
    real = sides[REAL]
    found: dict[str, Any] = {}
    for side, overheads in sides.items():
        facts = overheads.facts() | {"programs": len(programs[side])}
        if side == REAL:
            facts["halves"] = rank_agreement(overheads.part(0), overheads.part(1))
        else:
            facts["tau"] = rank_agreement(overheads, real)
        found[side] = facts
    return found


def _evenly(programs: Sequence[QuantumProgram], count: int) -> list[QuantumProgram]:
    """Programs that every device can hold and that have something to route, at most `count` of them."""
    fit = [one for one in programs if one.qubit_count <= WIDEST and any(_entangles(op.name) for op in one.operations)]
    if len(fit) <= count:
        return fit
    return [fit[place * len(fit) // count] for place in range(count)]


def _entangles(name: str) -> bool:
    return name in GATES and GATES[name].qubit_count > 1


def gates_alone(program: QuantumProgram) -> QuantumProgram:
    """The program's gates on the same qubits, without measurements, resets, barriers and conditions."""
    gates = tuple(replace(op, condition=None) for op in program.operations if op.name in GATES)
    return QuantumProgram(program.qubit_count, 0, gates)


@dataclass(frozen=True)
class Overheads:
    """Logarithms of two-qubit gates after over before, [program, device, compiler]; NaN where there is no answer."""

    compilers: tuple[str, ...]
    logarithms: NDArray[np.float64]

    def part(self, which: int) -> Overheads:
        """Every second program, from the first (0) or the second (1)."""
        return Overheads(self.compilers, self.logarithms[which::2])

    @property
    def counted(self) -> NDArray[np.bool_]:
        """[program, device]: every compiler has an answer."""
        return np.asarray(~np.isnan(self.logarithms).any(axis=2))

    def means(self, draws: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Mean logarithms [draw, device, compiler] with every program as often as a draw [draw, program] has it.

        NaN where no program counts. Without draws, every program once.
        """
        counts = np.ones((1, len(self.logarithms)), np.int64) if draws is None else draws
        known = self.counted
        values = np.where(known[:, :, None], self.logarithms, 0.0)
        sums = np.einsum("rp,pdc->rdc", counts, values)
        numbers = (counts @ known.astype(np.int64))[:, :, None]
        means: NDArray[np.float64] = np.divide(sums, numbers, out=np.full_like(sums, np.nan), where=numbers > 0)
        return means

    def facts(self) -> dict[str, Any]:
        """``{compiled, overhead, finished}`` of `compiler_ranking`."""
        means, known = np.exp(self.means()[0]), ~np.isnan(self.logarithms)
        overhead = {
            device: {
                name: None if math.isnan(value) else round(float(value), 4)
                for name, value in zip(self.compilers, row, strict=True)
            }
            for device, row in zip(DEVICES, means, strict=True)
        }
        shares = known.mean(axis=(0, 1)) if len(known) else np.zeros(len(self.compilers))
        finished = {name: round(float(share), 4) for name, share in zip(self.compilers, shares, strict=True)}
        return {"compiled": int(self.counted.any(axis=1).sum()), "overhead": overhead, "finished": finished}


def rank_agreement(first: Overheads, second: Overheads) -> dict[str, Any] | None:
    """``{tau, low, high, by_device}`` of two sets' rankings; None where some device has no program that counts."""
    own, other = first.means(), second.means()
    if np.isnan(own).any() or np.isnan(other).any():
        return None
    by_device = _tau(own, other)[0]
    rng = np.random.default_rng(_SEED)
    drawn = [
        one.means(rng.multinomial(len(one.logarithms), np.full(len(one.logarithms), 1 / len(one.logarithms)), ROUNDS))
        for one in (first, second)
    ]
    low, high = np.nanpercentile(_tau(*drawn).mean(axis=1), _TAILS)
    return {
        "tau": round(float(by_device.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4),
        "by_device": {device: round(float(tau), 4) for device, tau in zip(DEVICES, by_device, strict=True)},
    }  # fmt: skip


def _tau(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kendall's tau-b over the last axis: pairs in the same order less pairs in the other one, ties taken out.

    Reference:
        [kendall1938measure], with the correction for ties of his 1945 sequel.
    """
    upper, lower = np.triu_indices(first.shape[-1], 1)
    ours, theirs = (np.sign(np.round(x[..., upper] - x[..., lower], 9)) for x in (first, second))
    agreeing = (ours * theirs).sum(axis=-1)
    untied = np.sqrt((ours != 0).sum(axis=-1) * (theirs != 0).sum(axis=-1))
    tau: NDArray[np.float64] = np.divide(agreeing, untied, out=np.zeros_like(agreeing), where=untied > 0)
    return tau


@dataclass
class _Notes:
    """Two-qubit gates by what was asked, None where there was no answer; written down as they come."""

    known: dict[str, int | None] = field(default_factory=dict)
    journal: Journal | None = None

    def add(self, key: str, count: int | None) -> None:
        self.known[key] = count
        if self.journal is not None:
            self.journal.add({"asked": key, "two_qubit_count": count})


@contextmanager
def _notes(folder: Path | None) -> Iterator[_Notes]:
    if folder is None:
        yield _Notes()
        return
    known = {entry["asked"]: entry["two_qubit_count"] for entry in read_journal(folder / _JOURNAL)}
    with Journal(folder / _JOURNAL) as journal:
        yield _Notes(known, journal)


@dataclass
class _Bench:
    """Asks a pool, a few compilations at a time."""

    pool: Pool
    names: tuple[str, ...]
    notes: _Notes
    at_once: int
    report: Callable[[int, int], None]

    def compile(self, programs: Sequence[QuantumProgram]) -> Overheads:
        """The overheads of all programs; one that cannot be brought into the normal form has none."""
        normal = list(self._answers([self._normal_request(one) for one in programs]))
        table = np.full((len(programs), len(DEVICES), len(self.names)), np.nan)
        asked: list[dict[str, Any]] = []
        places: list[tuple[int, int, int, int]] = []
        for number, answer in enumerate(normal):
            if answer.get("two_qubit_count"):
                for device, (shape, qubits) in enumerate(DEVICES.values()):
                    for column, name in enumerate(self.names):
                        for seed in COMPILERS[name].seeds:
                            places.append((number, device, column, int(answer["two_qubit_count"])))
                            asked.append(COMPILERS[name].request(seed) | {
                                "program": answer["program"], "pairs": coupling_map(shape, qubits), "qubits": qubits,
                            })  # fmt: skip
        sums: dict[tuple[int, int, int], list[float]] = {}
        for (number, device, column, before), after in zip(places, self._counted(asked), strict=True):
            # One gate at the least, so that a program which a compiler undoes altogether still has a logarithm.
            value = math.nan if after is None else math.log(max(after, 1) / before)
            sums.setdefault((number, device, column), []).append(value)
        for place, values in sums.items():
            table[place] = sum(values) / len(values)
        return Overheads(self.names, table)

    @staticmethod
    def _normal_request(program: QuantumProgram) -> dict[str, Any]:
        options = {"level": 0, "seed": 0, "returns_program": True}
        return {
            "package": "qiskit", "program": write_qasm2(gates_alone(program)), "pairs": None, "options": options,
        }  # fmt: skip

    def _counted(self, asked: Sequence[Mapping[str, Any]]) -> Iterator[int | None]:
        keys = [hashlib.sha256(repr(sorted(one.items())).encode()).hexdigest()[:24] for one in asked]
        missing = [place for place, key in enumerate(keys) if key not in self.notes.known]
        for place, answer in zip(missing, self._answers([asked[place] for place in missing]), strict=True):
            self.notes.add(keys[place], answer.get("two_qubit_count"))
        return (self.notes.known[key] for key in keys)

    def _answers(self, asked: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The answers in order; a failure or a time that is over is an answer without a count."""
        running: dict[int, Future[dict[str, Any]]] = {}
        sent = 0
        for place in range(len(asked)):
            while sent < len(asked) and sent < place + self.at_once:
                running[sent] = self.pool.submit(asked[sent])
                sent += 1
            future = running.pop(place)
            try:
                yield future.result()
            except SimulatorFailure as reason:
                yield {"problem": str(reason)}
            self.report(place + 1, len(asked))
