"""The evaluation of a quantum model: samples under the conditions of real programs, and what they stand beside.

Work is done in chunks, and records go to a journal as they come, so that a run that was killed goes on where it was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from app import __version__
from app.errors import InvalidInput
from app.evaluation.compilers import PROGRAMS, compiler_ranking
from app.evaluation.notes import Notes, Report, Stages, note_all, weights_of
from app.evaluation.quantum_comparisons import (
    read_families,
    structure_distances,
    told_by_family,
    told_by_numbers,
    told_by_statements,
)
from app.evaluation.quantum_harness import Case, ProgramRecord, QuantumHarness
from app.evaluation.quantum_plan import GIVEN, Item, Length, QuantumPlan, Side
from app.evaluation.quantum_report import members_of, quantum_report
from app.quantum.program import QuantumProgram
from app.quantum.qasm import parse_qasm2
from app.quantum.qiskit_circuits import load_qiskit
from app.requests import QuantumGenerateRequest
from app.statistics import quantile
from app.workshop import Row, Workshop

_KIND = "quantum.generate"
#: Programs of a batch that speed is measured on, and by which share of the real ones.
_BATCH = 64
_SPEEDS = {"median": 0.5, "p95": 0.95}


@dataclass(frozen=True)
class Depth:
    """How much is compared.

    Args:
        epochs: Of the classifier that reads statements in order; 0 leaves it out.
        device: Where it is trained: ``auto``, ``cpu`` or ``cuda``.
        compiled: Programs of each set on which compilers are ranked; 0 leaves the rankings out.
        workers: Processes that compile.
    """

    epochs: int = 6
    device: str = "cpu"
    compiled: int = PROGRAMS
    workers: int = 1


async def evaluate_quantum(
    workshop: Workshop, harness: QuantumHarness, plan: QuantumPlan, *, corpus: str, length: Length,
    model: str | None = None, temperature: float = 0.9, top_p: float = 0.95, depth: Depth | None = None,
    work: Path | None = None, report: Report | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The report of an evaluation, as `quantum_report` makes it, after everything of the plan was looked at.

    Args:
        workshop: Samples the programs.
        harness: Checks them.
        plan: Which programs.
        corpus: Where the real programs are from, a phrase for the report.
        length: Of a program's sentence.
        model: The model's name; the default one where absent.
        temperature: Of sampling.
        top_p: Of sampling, the nucleus.
        depth: How much is compared.
        work: A folder to go on from and to keep the notes in.
        report: Told how far it is.

    Raises:
        InvalidRequest: `work` has notes of another evaluation.
        PackageMissing: A classifier's package is not installed.
    """
    load_qiskit()  # here, for the threads below come and go
    sampler = _Sampler(workshop, model, temperature, top_p)
    identity = {
        "version of the program": __version__, "model": sampler.model, "weights": weights_of(workshop, sampler.model),
        "temperature": temperature, "nucleus": top_p, "programs of the corpus": plan.digest(),
    }  # fmt: skip
    depth = depth or Depth()
    with Notes.open(identity, work, ProgramRecord.from_json) as notes:
        items = await asyncio.to_thread(plan.items)
        waiting = [item for item in items if item.key not in notes.records]
        await note_all(notes, waiting, sampler.cases, harness.records, report, len(items) - len(waiting))
        comparisons = _Comparisons(plan, notes, items, depth, work)
        await asyncio.to_thread(comparisons.make)
        if "speed" not in notes.facts:
            notes.add_fact("speed", await _speed(sampler, plan, length))
        facts = {
            "kind": "quantum", "model": sampler.model, "count": plan.count, "seeds": list(plan.seeds),
            "temperature": temperature, "top_p": top_p, "corpus": corpus, "compiled": depth.compiled,
            "epochs": depth.epochs,
        }  # fmt: skip
        made = comparisons.facts | {"speed": notes.facts["speed"]}
        return {**facts, **quantum_report(plan, notes.records, made), "cpu_s": notes.costs()}


class _Sampler:
    """Draws the items that are samples; the others bring their programs."""

    def __init__(self, workshop: Workshop, model: str | None, temperature: float, top_p: float) -> None:
        self._workshop = workshop
        self._fields: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "model": model}
        self.model = workshop.prepare(_KIND, QuantumGenerateRequest(seed=0, **self._fields)).made_by

    async def cases(self, items: Sequence[Item]) -> list[Case]:
        """Each item with the program it came to."""
        return list(await asyncio.gather(*(self._case(item) for item in items)))

    async def _case(self, item: Item) -> Case:
        if item.side in GIVEN:
            return Case.of_given(item)
        try:
            row = await self.row(item)
        except InvalidInput as refusal:
            return Case(item, codes=("refused",), refusal=str(refusal))
        return _case_of_row(item, row)

    async def row(self, item: Item) -> Row:
        """The row of a sample, asked for by itself: its place is its index, so it is the same in every company."""
        prepared = self._workshop.prepare(_KIND, QuantumGenerateRequest(**self._fields, **item.fields()))
        rows = [row async for row in self._workshop.produce(_KIND, prepared, [item.index], in_background=True)]
        return rows[0]


def _case_of_row(item: Item, row: Row) -> Case:
    text = row.get("program")
    return Case(
        item,
        None if text is None else parse_qasm2(text),
        text,
        tuple(dict.fromkeys(finding["code"] for finding in row["findings"])),
        row.get("masked_nats") if item.side == "generated" else None,
        row.get("draws"),
        row["problem"]["detail"] if row["status"] == "error" else None,
    )


class _Comparisons:
    """What sets of programs come to beside each other. Each comparison is made once and kept in the notes."""

    def __init__(
        self, plan: QuantumPlan, notes: Notes[ProgramRecord], items: Sequence[Item], depth: Depth, work: Path | None
    ) -> None:
        self._plan = plan
        self._notes = notes
        self._depth = depth
        self._work = work
        self._given = {item.key: item.program for item in items if item.program is not None}
        self.facts: dict[str, Any] = {}

    def make(self) -> None:
        """`facts` has all that the report needs."""
        sides = {
            side: [record for record in records if record.loads and record.features is not None]
            for side, records in members_of(self._plan, self._notes.records).items()
        }
        real = sides["real"]
        samples = {
            side: [[r for r in sides[side] if r.seed == seed and r.index < len(self._plan.real)] for seed in seeds]
            for side, seeds in self._seeds.items()
        }
        realism: dict[str, dict[str, Any]] = {}
        for side, sets in samples.items():
            told = {"numbers": self._kept(f"{side} by numbers", partial(told_by_numbers, real, sets))}
            if side != "bare" and self._depth.epochs:
                reading = partial(self._told_by_statements, real, sets[0])
                told["statements"] = self._kept(f"{side} by statements, {self._depth.epochs} epochs", reading)
            realism[side] = told
        first = samples["generated"][0]
        realism["generated"]["families"] = self._kept("by family", partial(told_by_family, real, first))
        shown = {side: sets[0] for side, sets in samples.items() if side != "bare"}
        with_real = {"real": real, **shown}
        self.facts = {
            "realism": realism,
            "structure": self._kept("structure", partial(structure_distances, real, shown)),
            "families": self._kept("families", partial(read_families, self._plan.programs.known, with_real)),
            "compilers": self._compilers({side: with_real[side] for side in ("real", "generated", "random")}),
        }

    @property
    def _seeds(self) -> dict[str, tuple[int, ...]]:
        """The seeds of each side that is compared; what is given has seed 0."""
        given: tuple[Side, ...] = ("training", "random", "line_chain")
        return {"generated": self._plan.seeds, "bare": self._plan.seeds[:1], **dict.fromkeys(given, (0,))}

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        """What is made, or was made before of the same records."""
        key = f"{name}; {self._plan.count} of seeds {', '.join(map(str, self._plan.seeds))}"
        if key not in self._notes.facts:
            stages = Stages()
            fact = make()
            stages.end("comparing")
            self._notes.add_fact(key, fact, stages.take())
        return self._notes.facts[key]

    def _told_by_statements(
        self, real: Sequence[ProgramRecord], other: Sequence[ProgramRecord]
    ) -> dict[str, Any] | None:
        programs = self._programs(real), [self._programs(other)]
        return told_by_statements(*programs, self._depth.epochs, self._depth.device)

    def _compilers(self, sides: Mapping[str, Sequence[ProgramRecord]]) -> dict[str, Any] | None:
        count = self._depth.compiled
        if not count:
            return None
        programs = {side: self._programs(members) for side, members in sides.items()}
        rank = partial(compiler_ranking, programs, count=count, workers=self._depth.workers, folder=self._work)
        found: dict[str, Any] = self._kept(f"compilers on {count}", rank)
        return found

    def _programs(self, members: Sequence[ProgramRecord]) -> list[QuantumProgram]:
        """The programs of these records, which all are some."""
        return [self._given[record.key] if record.text is None else parse_qasm2(record.text) for record in members]


async def _speed(sampler: _Sampler, plan: QuantumPlan, length: Length) -> dict[str, Any]:
    """What a program costs in a batch of _BATCH, for real programs of the median length and of the 95th percentile.

    ``{median, p95: {tokens, circuits, cpu_s, per_s}}``: `tokens` is that length, `cpu_s` processor seconds a program of
    this process and its workers, `per_s` programs a second of the clock. The conditions are those of the real programs
    that are nearest in length; nothing is checked, and what starting up costs is left out.
    """
    lengths = [length(program, family) or 0 for family, program in plan.real]
    speed: dict[str, Any] = {}
    for name, level in _SPEEDS.items():
        tokens = int(quantile(lengths, level))
        nearest = [place for _, place in sorted((abs(own - tokens), place) for place, own in enumerate(lengths))]
        conditions = islice(cycle(plan.conditions[place] for place in nearest[:_BATCH]), _BATCH)
        items = [Item("generated", plan.seeds[0], number, own) for number, own in enumerate(conditions)]
        await asyncio.gather(*(sampler.row(item) for item in items[:4]))
        stages, began = Stages(), time.monotonic()
        await asyncio.gather(*(sampler.row(item) for item in items))
        stages.end("all")
        speed[name] = {
            "tokens": tokens, "circuits": len(items), "cpu_s": round(stages.spent_s["all"] / len(items), 4),
            "per_s": round(len(items) / max(time.monotonic() - began, 1e-3), 2),
        }  # fmt: skip
    return speed
