"""The evaluation of an analog model: samples of every type, real circuits and random wiring through one harness.

Work is done in chunks, and records go to a journal as they come, so that a run that was killed goes on where it was.
What is kept of a circuit is its record; netlists are dropped with their chunk.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app import __version__
from app.analog.canonical import canonical_hash
from app.analog.netlist import Netlist
from app.analog.spice import parse_spice
from app.errors import InvalidRequest
from app.evaluation.harness import Harness, Record
from app.evaluation.plan import AnalogPlan, Item, sample_index
from app.evaluation.report import analog_report
from app.requests import AnalogGenerateRequest
from app.simulation_corpus.journal import Journal, read_journal
from app.simulators.processes import read_cpu_s
from app.workshop import Row, Workshop

#: Circuits done so far, circuits to do.
Report = Callable[[int, int], None]

_KIND = "analog.generate"
#: Circuits that are sampled together, and records that are written down together.
_CHUNK, _NOTED = 128, 32

#: Circuits that speed is measured on, after as many to warm up.
_TIMED, _WARM = 192, 16

_JOURNAL = "evaluation.jsonl"


@dataclass
class Notes:
    """What is known so far: in memory, and where there is a folder in its journal.

    `identity` says what is evaluated; a folder that has notes of something else is refused.
    """

    identity: Mapping[str, Any]
    records: dict[tuple[str, int, int], Record] = field(default_factory=dict)
    spent_s: dict[str, float] = field(default_factory=dict)
    speed: dict[str, Any] = field(default_factory=dict)
    _journal: Journal | None = None

    @classmethod
    @contextmanager
    def open(cls, identity: Mapping[str, Any], folder: Path | None) -> Iterator[Notes]:
        """The notes of the folder, which are none where it is new; None keeps them in memory alone.

        Raises:
            InvalidRequest: The folder has notes of another evaluation.
            Unavailable: The folder cannot be written.
        """
        notes = cls(identity)
        if folder is None:
            yield notes
            return
        path = folder / _JOURNAL
        for entry in read_journal(path):
            notes._take(entry, folder)
        with Journal(path) as journal:
            notes._journal = journal
            if not notes.records and not notes.speed:
                journal.add({"identity": dict(identity)})
            yield notes

    def _take(self, entry: Mapping[str, Any], folder: Path) -> None:
        if "identity" in entry and entry["identity"] != self.identity:
            differing = [name for name, value in self.identity.items() if entry["identity"].get(name) != value]
            raise InvalidRequest(
                f"--work: {folder} holds an evaluation with another {' and '.join(differing)}; give another folder"
            )
        if "record" in entry:
            record = Record.from_json(entry["record"])
            self.records[record.key] = record
        if "speed" in entry:
            self.speed = entry["speed"]
        for stage, seconds in entry.get("spent_s", {}).items():
            self.spent_s[stage] = self.spent_s.get(stage, 0.0) + seconds

    def add(self, records: Sequence[Record], spent_s: Mapping[str, float]) -> None:
        """The records are known, and what they cost in CPU seconds by stage."""
        entries: list[dict[str, Any]] = [{"record": record.as_json()} for record in records]
        self._write([*entries, {"spent_s": {stage: round(seconds, 3) for stage, seconds in spent_s.items()}}])

    def add_speed(self, speed: Mapping[str, Any]) -> None:
        """The speed is known."""
        self._write([{"speed": dict(speed)}])

    def _write(self, entries: Sequence[Mapping[str, Any]]) -> None:
        for entry in entries:
            if self._journal is not None:
                self._journal.add(entry)
            self._take(entry, Path())

    def lacks(self, item: Item) -> bool:
        """Whether the item still is to be looked at: it is not known, or not as far as now asked for."""
        known = self.records.get(item.key)
        return known is None or (item.rung == "function" and known.works is None)


async def evaluate_analog(
    workshop: Workshop, harness: Harness, plan: AnalogPlan, *, corpus: str, model: str | None = None,
    temperature: float = 0.9, work: Path | None = None, depends_on: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The report of an evaluation, as `report.analog_report` makes it, after everything of the plan was looked at.

    Args:
        workshop: Samples the circuits.
        harness: Checks them.
        plan: Which circuits.
        corpus: Where the real circuits are from, a phrase for the report.
        model: The model's name; the default one where absent.
        temperature: Of sampling.
        work: A folder to go on from and to keep the notes in.
        depends_on: What else decides the records, such as the classifier's checksum; told apart like the weights.
        report: Told how far it is.

    Raises:
        InvalidRequest: `work` has notes of another evaluation.
    """
    sampler = _Sampler(workshop, model, temperature)
    identity = {
        "version of the program": __version__, "model": sampler.model, "weights": _weights(workshop, sampler.model),
        "temperature": temperature, "held-out circuits": _digest(plan), **(depends_on or {}),
    }  # fmt: skip
    with Notes.open(identity, work) as notes:
        items = plan.items()
        waiting = [item for item in items if notes.lacks(item)]
        done = len(items) - len(waiting)
        for first in range(0, len(waiting), _CHUNK):
            chunk = waiting[first : first + _CHUNK]
            stages = _Stages()
            cases = await sampler.cases(chunk)
            stages.end("sampling")
            for begin in range(0, len(cases), _NOTED):
                records = await asyncio.to_thread(harness.records, cases[begin : begin + _NOTED])
                stages.end("checking")
                notes.add(records, stages.take())
                done += len(records)
                if report:
                    report(done, len(items))
        if not notes.speed:
            notes.add_speed(await _speed(sampler, plan))
        facts = {
            "kind": "analog", "model": sampler.model, "count": plan.count, "seeds": list(plan.seeds),
            "function_count": plan.function_count, "temperature": temperature, "corpus": corpus,
        }  # fmt: skip
        return {**facts, **analog_report(plan, notes.records, notes.speed), "cpu_s": _rounded(notes.spent_s)}


class _Stages:
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


class _Sampler:
    """Draws the items that are samples; the others bring their netlists."""

    def __init__(self, workshop: Workshop, model: str | None, temperature: float) -> None:
        self._workshop = workshop
        self._fields: dict[str, Any] = {"temperature": temperature, "model": model}
        self.model = workshop.prepare(_KIND, AnalogGenerateRequest(seed=0, **self._fields)).made_by

    async def cases(self, items: Sequence[Item]) -> list[tuple[Item, Netlist | None, float | None]]:
        """Each item with its netlist and what the grammar took away from the network, where it is known."""
        groups: dict[tuple[str, int, str], list[Item]] = {}
        for item in items:
            if item.netlist is None:
                groups.setdefault((item.side, item.seed, item.type), []).append(item)
        rows: dict[tuple[str, int, int], Row] = {}
        drawn = await asyncio.gather(
            *(
                self.rows(own, type=name, seed=seed, grammar=side == "constrained", validate_=False)
                for (side, seed, name), own in groups.items()
            )
        )
        for (side, seed, _), own in zip(groups, drawn, strict=True):
            rows |= {(side, seed, int(row["index"])): row for row in own}
        return [_case(item, rows.get(item.key)) for item in items]

    async def rows(self, items: Sequence[Item], **fields: Any) -> list[Row]:
        """The rows of these samples, asked for with the fields."""
        request = AnalogGenerateRequest(**self._fields, **fields)
        prepared = self._workshop.prepare(_KIND, request)
        indices = [item.index for item in items]
        return [row async for row in self._workshop.produce(_KIND, prepared, indices, in_background=True)]


def _case(item: Item, row: Row | None) -> tuple[Item, Netlist | None, float | None]:
    if row is None:
        return item, item.netlist, None
    netlist = parse_spice(row["netlist"]).netlist if "netlist" in row else None
    return item, netlist, row.get("masked_nats") if item.side == "constrained" else None


async def _speed(sampler: _Sampler, plan: AnalogPlan) -> dict[str, Any]:
    """Circuits a CPU second of this process and its workers: generated, and checked as far as the name says.

    They are asked for as anyone would, in the data's proportions. What starting up costs is left out.
    """
    wanted = plan.samples["data"]
    numbers = [(number, name) for name, count in wanted.items() for number in range(count)]
    chosen = [
        Item("constrained", plan.seeds[0], sample_index(name, number), name, "operating_point")
        for number, name in sorted(numbers)[:_TIMED]
    ]
    speed: dict[str, Any] = {}
    for rung in ("structure", "operating_point"):
        await _ask(sampler, chosen[:_WARM], rung)
        stages, began = _Stages(), time.monotonic()
        await _ask(sampler, chosen, rung)
        stages.end(rung)
        speed[rung] = {
            "circuits": len(chosen), "cpu_s": round(stages.spent_s[rung], 3),
            "per_cpu_s": round(len(chosen) / max(stages.spent_s[rung], 1e-3), 2),
            "per_s": round(len(chosen) / max(time.monotonic() - began, 1e-3), 2),
        }  # fmt: skip
    return speed


async def _ask(sampler: _Sampler, items: Sequence[Item], rung: str) -> None:
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.type, []).append(item)
    await asyncio.gather(
        *(sampler.rows(own, type=name, seed=own[0].seed, checks=rung) for name, own in groups.items())
    )  # fmt: skip


def _weights(workshop: Workshop, model: str | None) -> str | None:
    """The checksum of the model's weights, where the workshop tells one."""
    for described in workshop.describe()["models"]:
        if described["name"] == model:
            found = described.get("sha256")
            return None if found is None else str(found)
    return None


def _digest(plan: AnalogPlan) -> str:
    """Tells one set of held-out circuits, in the plan's order, from another."""
    text = " ".join(canonical_hash(circuit.netlist) for circuit in plan.real)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _rounded(spent_s: Mapping[str, float]) -> dict[str, float]:
    return {stage: round(seconds, 1) for stage, seconds in spent_s.items()}
