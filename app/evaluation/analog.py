"""The evaluation of an analog model: samples of every type, real circuits and random wiring through one harness.

Work is done in chunks, and records go to a journal as they come, so that a run that was killed goes on where it was.
What is kept of a circuit is its record; netlists are dropped with their chunk.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app import __version__
from app.analog.canonical import canonical_hash
from app.analog.netlist import Netlist
from app.analog.spice import parse_spice
from app.evaluation.harness import Harness, Record
from app.evaluation.notes import Notes, Report, Stages, note_all, weights_of
from app.evaluation.plan import AnalogPlan, Item, sample_index
from app.evaluation.report import analog_report
from app.requests import AnalogGenerateRequest
from app.workshop import Row, Workshop

_KIND = "analog.generate"
#: Circuits that speed is measured on, after as many to warm up.
_TIMED, _WARM = 192, 16


async def evaluate_analog(
    workshop: Workshop, harness: Harness, plan: AnalogPlan, *, corpus: str, model: str | None = None,
    temperature: float = 0.9, top_p: float = 1.0, work: Path | None = None,
    depends_on: Mapping[str, Any] | None = None, report: Report | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The report of an evaluation, as `report.analog_report` makes it, after everything of the plan was looked at.

    Args:
        workshop: Samples the circuits.
        harness: Checks them.
        plan: Which circuits.
        corpus: Where the real circuits are from, a phrase for the report.
        model: The model's name; the default one where absent.
        temperature: Of sampling.
        top_p: Of sampling, the nucleus.
        work: A folder to go on from and to keep the notes in.
        depends_on: What else decides the records, such as the classifier's checksum; told apart like the weights.
        report: Told how far it is.

    Raises:
        InvalidRequest: `work` has notes of another evaluation.
    """
    sampler = _Sampler(workshop, model, temperature, top_p)
    identity = {
        "version of the program": __version__, "model": sampler.model, "weights": weights_of(workshop, sampler.model),
        "temperature": temperature, "nucleus": top_p, "held-out circuits": _digest(plan), **(depends_on or {}),
    }  # fmt: skip
    with Notes.open(identity, work, Record.from_json) as notes:
        items = plan.items()
        waiting = [item for item in items if _lacks(notes, item)]
        await note_all(notes, waiting, sampler.cases, harness.records, report, len(items) - len(waiting))
        if "speed" not in notes.facts:
            notes.add_fact("speed", await _speed(sampler, plan))
        facts = {
            "kind": "analog", "model": sampler.model, "count": plan.count, "seeds": list(plan.seeds),
            "function_count": plan.function_count, "temperature": temperature, "top_p": top_p,
            "corpus": corpus,
        }  # fmt: skip
        return {**facts, **analog_report(plan, notes.records, notes.facts["speed"]), "cpu_s": notes.costs()}


def _lacks(notes: Notes[Record], item: Item) -> bool:
    """Whether the item still is to be looked at: it is not known, or not as far as now asked for."""
    known = notes.records.get(item.key)
    return known is None or (item.rung == "function" and known.works is None)


class _Sampler:
    """Draws the items that are samples; the others bring their netlists."""

    def __init__(self, workshop: Workshop, model: str | None, temperature: float, top_p: float) -> None:
        self._workshop = workshop
        self._fields: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "model": model}
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
        stages, began = Stages(), time.monotonic()
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


def _digest(plan: AnalogPlan) -> str:
    """Tells one set of held-out circuits, in the plan's order, from another."""
    text = " ".join(canonical_hash(circuit.netlist) for circuit in plan.real)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
