"""What an evaluation knows so far: records of circuits, facts that took long, and what it all cost.

Notes go to a journal as they come, so that a run that was killed goes on where it was. Knows no kind of circuit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from app.errors import InvalidRequest
from app.simulation_corpus.journal import Journal, read_journal
from app.simulators.processes import read_cpu_s
from app.workshop import Workshop

#: What tells a circuit from every other one: the set it is of, the seed, and its place.
Key = tuple[str, int, int]

_JOURNAL = "evaluation.jsonl"

#: Circuits that are sampled together, and records that are written down together.
_CHUNK, _NOTED = 128, 32


class Recorded(Protocol):
    """What one circuit came to."""

    @property
    def key(self) -> Key:
        """What tells it from every other one."""

    def as_json(self) -> dict[str, Any]:
        """What is written down of it."""


Entry = TypeVar("Entry", bound=Recorded)
Looked = TypeVar("Looked")
Case = TypeVar("Case")

#: Items recorded so far, items to record.
Report = Callable[[int, int], None]


@dataclass
class Notes(Generic[Entry]):
    """What is known so far: in memory, and where there is a folder in its journal.

    `identity` says what is evaluated; a folder that has notes of something else is refused. `read` makes a record of
    what its `as_json` wrote.
    """

    identity: Mapping[str, Any]
    read: Callable[[Mapping[str, Any]], Entry]
    records: dict[Key, Entry] = field(default_factory=dict)
    spent_s: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    _journal: Journal | None = None

    @classmethod
    @contextmanager
    def open(
        cls, identity: Mapping[str, Any], folder: Path | None, read: Callable[[Mapping[str, Any]], Entry]
    ) -> Iterator[Notes[Entry]]:
        """The notes of the folder, which are none where it is new; None keeps them in memory alone.

        Raises:
            InvalidRequest: The folder has notes of another evaluation.
            Unavailable: The folder cannot be written.
        """
        notes = cls(identity, read)
        if folder is None:
            yield notes
            return
        path = folder / _JOURNAL
        is_new = True
        for entry in read_journal(path):
            notes._take(entry, folder)
            is_new = False
        with Journal(path) as journal:
            notes._journal = journal
            if is_new:
                journal.add({"identity": dict(identity)})
            yield notes

    def _take(self, entry: Mapping[str, Any], folder: Path) -> None:
        if "identity" in entry and entry["identity"] != self.identity:
            differing = [name for name, value in self.identity.items() if entry["identity"].get(name) != value]
            raise InvalidRequest(
                f"--work: {folder} holds an evaluation with another {' and '.join(differing)}; give another folder"
            )
        if "record" in entry:
            record = self.read(entry["record"])
            self.records[record.key] = record
        self.facts.update(entry.get("facts", {}))
        for stage, seconds in entry.get("spent_s", {}).items():
            self.spent_s[stage] = self.spent_s.get(stage, 0.0) + seconds

    def add(self, records: Sequence[Entry], spent_s: Mapping[str, float]) -> None:
        """The records are known, and what they cost in CPU seconds by stage."""
        entries: list[dict[str, Any]] = [{"record": record.as_json()} for record in records]
        self._write([*entries, {"spent_s": _rounded(spent_s, 3)}] if spent_s else entries)

    def add_fact(self, name: str, fact: Any, spent_s: Mapping[str, float] | None = None) -> None:
        """The fact is known under its name, and what it cost."""
        self._write([{"facts": {name: fact}, "spent_s": _rounded(spent_s or {}, 3)}])

    def costs(self) -> dict[str, float]:
        """CPU seconds by stage, to a tenth."""
        return _rounded(self.spent_s, 1)

    def _write(self, entries: Sequence[Mapping[str, Any]]) -> None:
        for entry in entries:
            if self._journal is not None:
                self._journal.add(entry)
            self._take(entry, Path())


class Stages:
    """CPU seconds of this process and its workers, stage by stage."""

    def __init__(self) -> None:
        self._last = read_cpu_s()
        self.spent_s: dict[str, float] = {}

    def end(self, stage: str) -> None:
        """What was spent since the last end was spent on this stage."""
        now = read_cpu_s()
        self.spent_s[stage] = now - self._last
        self._last = now

    def take(self) -> dict[str, float]:
        """What was spent by stage since it was last taken."""
        spent, self.spent_s = self.spent_s, {}
        return spent


async def note_all(
    notes: Notes[Entry],
    items: Sequence[Looked],
    cases: Callable[[Sequence[Looked]], Awaitable[Sequence[Case]]],
    records: Callable[[Sequence[Case]], Sequence[Entry]],
    report: Report | None,
    known: int,
) -> None:
    """Every item is recorded. `cases` makes what is looked at, some hundred items together, and `records` looks.

    Args:
        report: Told how far it is.
        known: Items that were recorded before.
    """
    total, done = known + len(items), known
    for first in range(0, len(items), _CHUNK):
        stages = Stages()
        made = await cases(items[first : first + _CHUNK])
        stages.end("sampling")
        for begin in range(0, len(made), _NOTED):
            found = await asyncio.to_thread(records, made[begin : begin + _NOTED])
            stages.end("checking")
            notes.add(found, stages.take())
            done += len(found)
            if report:
                report(done, total)


def weights_of(workshop: Workshop, model: str | None) -> str | None:
    """The checksum of the model's weights, where the workshop tells one."""
    for described in workshop.describe()["models"]:
        if described["name"] == model:
            found = described.get("sha256")
            return None if found is None else str(found)
    return None


def _rounded(spent_s: Mapping[str, float], digits: int) -> dict[str, float]:
    return {stage: round(seconds, digits) for stage, seconds in spent_s.items()}
