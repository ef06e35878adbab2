"""One program through every check, whoever made it: samples, real circuits and baselines go the same way."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from app.errors import SimulatorFailure
from app.evaluation.notes import Key
from app.evaluation.quantum_plan import GIVEN, JUDGED, ORACLE_QUBITS, Item, Side
from app.measures.novelty import TrainingIndex
from app.measures.quantum_copies import KnownPrograms
from app.measures.quantum_features import FEATURES, features
from app.quantum.oracles import Oracle
from app.quantum.program import QuantumProgram
from app.quantum.qasm import write_qasm2
from app.quantum.skeleton import ngram_labels, skeleton_hash
from app.simulators.processes import ProcessLimits, WorkerPool

log = logging.getLogger(__name__)

#: Most seconds of one program in Qiskit and Aer: of the processor, and of the clock.
LOADING_CPU_S, _LOADING_WALL_S = 60, 240.0
_MEMORY_BYTES = 4 << 30
_RECYCLE_AFTER = 2_000

_DIGITS = 6


class Loader(Protocol):
    """Loads texts in Qiskit and runs them; a worker pool over `app.quantum.trial` does."""

    def submit(self, request: Mapping[str, Any]) -> Any:
        """A future of what `app.quantum.trial.handle` answers."""
        ...


@dataclass(frozen=True, slots=True)
class ProgramRecord:
    """What one program came to; a line of the journal. `family` is what was asked for, or what a given program is.

    `text` is kept of what cannot be made again without the model. `loads_bare`, `loads` and `is_sound` are V0, V1 and
    V2 of the report; `is_sound` is None where no simulator is installed. What a text that is no program cannot have is
    None, and so are the verdict of an oracle that was not asked and what there is nothing to compare with. A program
    that a check could not be done on, for the reason in `problem`, counts as not passing it.
    """

    side: Side
    seed: int
    index: int
    family: str
    qubits: int
    parses: bool
    text: str | None = None
    loads_bare: bool = False
    loads: bool = False
    is_sound: bool | None = False
    is_kept: bool = False
    codes: tuple[str, ...] = ()
    identity: str | None = None
    statements: int | None = None
    depth: int | None = None
    depth_ratio: float | None = None
    is_depth_kept: bool | None = None
    is_copy: bool | None = None
    is_strict_copy: bool | None = None
    distance: float | None = None
    similarity: float | None = None
    features: tuple[float, ...] | None = None
    passes: bool | None = None
    verdict: str | None = None
    masked_nats: float | None = None
    draws: int | None = None
    problem: str | None = None

    @property
    def key(self) -> Key:
        """As of its item."""
        return self.side, self.seed, self.index

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> ProgramRecord:
        """What `as_json` wrote."""
        found = entry["features"]
        return cls(**{**entry, "codes": tuple(entry["codes"]), "features": None if found is None else tuple(found)})

    def numbers(self) -> dict[str, float]:
        """The features by name; there are some."""
        assert self.features is not None, "of a program"
        return dict(zip(FEATURES, self.features, strict=True))


@dataclass(frozen=True, slots=True)
class Case:
    """An item with the program it came to, its text, and what its row says of how it was made.

    `refusal` says why the sample was not even asked for, or was not made.
    """

    item: Item
    program: QuantumProgram | None = None
    text: str | None = None
    codes: tuple[str, ...] = ()
    masked_nats: float | None = None
    draws: int | None = None
    refusal: str | None = None

    @classmethod
    def of_given(cls, item: Item) -> Case:
        """Of an item that brings its program, or a text that is none."""
        text = write_qasm2(item.program) if item.text is None and item.program is not None else item.text
        return cls(item, item.program, text, () if item.program is not None else ("not_readable",))


@contextmanager
def open_loader(workers: int) -> Iterator[WorkerPool]:
    """Up to `workers` processes of their own that load programs in Qiskit and run them."""
    limits = ProcessLimits(cpu_s=LOADING_CPU_S, memory_bytes=_MEMORY_BYTES)
    pool = WorkerPool(
        "app.quantum.trial", size=workers, timeout_s=_LOADING_WALL_S, limits=limits, recycle_after=_RECYCLE_AFTER
    )
    try:
        yield pool
    finally:
        pool.close()


class QuantumHarness:
    """Loading, copies, numbers and oracles of programs.

    Args:
        loader: Who loads them in Qiskit.
        oracles: Who tells whether they do what their family is for, by family.
        known: The programs that the model was trained on; without them nothing is said of copies.
        seen: Their hashes, which tell copies even where the programs are not at hand.
        threads: Programs that are looked at side by side.
    """

    def __init__(
        self, loader: Loader, oracles: Mapping[str, Oracle], *, known: KnownPrograms | None = None,
        seen: TrainingIndex | None = None, threads: int = 4,
    ) -> None:  # fmt: skip
        self._loader = loader
        self._oracles = oracles
        self._known = known
        self._seen = seen
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="evaluate")

    def close(self) -> None:
        """No thread is left; programs that wait for one are not looked at any more."""
        self._threads.shutdown(cancel_futures=True)

    def records(self, cases: Sequence[Case]) -> list[ProgramRecord]:
        """One record for each."""
        return list(self._threads.map(self._record, cases))

    def _record(self, case: Case) -> ProgramRecord:
        item, program = case.item, case.program
        record = ProgramRecord(
            item.side, item.seed, item.index, item.condition.family, item.condition.qubits, program is not None,
            text=None if item.side in GIVEN else case.text, codes=case.codes, masked_nats=case.masked_nats,
            draws=case.draws, problem=case.refusal,
        )  # fmt: skip
        if case.refusal is None and item.side in JUDGED and item.condition.qubits <= ORACLE_QUBITS:
            record = self._judged(record, program)
        if case.text is not None:
            record = self._loaded(record, case.text)
        return record if program is None else self._told(record, item, program)

    def _judged(self, record: ProgramRecord, program: QuantumProgram | None) -> ProgramRecord:
        """With the verdict of the oracle of the family that was asked for, which may not be the one that was told."""
        if record.family not in self._oracles:
            return record
        if program is None:
            return replace(record, passes=False, verdict="it is no program")
        verdict = self._oracles[record.family].check(program)
        return replace(record, passes=verdict.passes, verdict=verdict.reason)

    def _loaded(self, record: ProgramRecord, text: str) -> ProgramRecord:
        """With what Qiskit and Aer make of it; a program that is too much for Aer may still load."""
        try:
            answer = self._loader.submit({"program": text}).result()
        except SimulatorFailure as error:
            log.warning("%s, seed %d, item %d: %s", record.side, record.seed, record.index, error)
            record = replace(record, problem=str(error))
            try:
                answer = self._loader.submit({"program": text, "runs": False}).result()
            except SimulatorFailure:
                return record
            return replace(record, loads_bare=bool(answer["bare"]), loads=bool(answer["legacy"]))
        is_run = True if answer["ran"] is None else bool(answer["ran"])
        is_sound = bool(answer["legacy"] and answer["is_whole"] and is_run)
        return replace(
            record, loads_bare=bool(answer["bare"]), loads=bool(answer["legacy"]),
            is_sound=None if is_sound and not answer["has_simulator"] else is_sound, problem=answer["trouble"],
        )  # fmt: skip

    def _told(self, record: ProgramRecord, item: Item, program: QuantumProgram) -> ProgramRecord:
        numbers = features(program)
        identity = skeleton_hash(program)
        record = replace(
            record, is_kept=item.is_kept(program), identity=identity, statements=len(program.operations),
            depth=program.depth, depth_ratio=program.depth / max(1, item.condition.depth),
            is_depth_kept=item.condition.shallowest <= program.depth <= item.condition.deepest,
            features=tuple(round(numbers[name], _DIGITS) for name in FEATURES),
        )  # fmt: skip
        if self._seen is not None:
            similarity = self._seen.novelty(identity, ngram_labels(program)).nearest_similarity
            record = replace(record, is_copy=self._seen.knows(identity), similarity=similarity)
        if self._known is not None and len(self._known):
            near = self._known.nearness(program, item.condition.family)
            record = replace(record, is_strict_copy=near.is_strict_copy, distance=near.distance)
        return record
