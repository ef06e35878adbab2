"""What became of the circuits of a data set, for people and for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.analog.relabelling import Relabelling
from app.analog.repair import RepairReport, some_of


@dataclass(frozen=True)
class Merge:
    """The circuit `id` was left out because it equals the earlier circuit `into`."""

    id: str
    type: str
    into: str
    into_type: str


@dataclass(frozen=True)
class CellReport:
    """The op-amps that the corpus knows to stand inside other circuits.

    `hosts` circuits hold `distinct` op-amps, told apart by their wiring. `met` of those are circuits of the corpus as
    well, `added` became circuits, and the rest lacks a port or breaks a rule. `classes_joined` is how many classes of
    wiring the cells put together into how many split classes.
    """

    hosts: int
    distinct: int
    met: int
    added: int
    classes_joined: tuple[int, int]


@dataclass(frozen=True)
class TypeCount:
    """Circuits and split classes of one type, and how many of them are held out."""

    circuits: int
    held_out: int
    classes: int
    held_out_classes: int


@dataclass(frozen=True)
class DatasetReport:
    """How a data set came to be.

    `repair` is None where no corpus was read. `by_type` follows CIRCUIT_TYPES. `largest_class` and the last two count
    circuits and device lines.
    """

    repair: RepairReport | None
    archetypes: int
    merged: tuple[Merge, ...]
    relabelled: tuple[Relabelling, ...]
    cells: CellReport
    by_type: Mapping[str, TypeCount]
    classes: int
    largest_class: int
    median_devices: float
    most_devices: int

    @property
    def circuits(self) -> int:
        """Circuits of the data set."""
        return sum(count.circuits for count in self.by_type.values())

    @property
    def held_out(self) -> int:
        """Circuits that no model may see."""
        return sum(count.held_out for count in self.by_type.values())

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "corpus": None if self.repair is None else self.repair.as_json(),
            "archetypes": self.archetypes,
            "merged": [asdict(merge) for merge in self.merged],
            "relabelled": [asdict(relabelling) for relabelling in self.relabelled],
            "cells": {
                "hosts": self.cells.hosts, "distinct": self.cells.distinct, "met": self.cells.met,
                "added": self.cells.added, "classes_joined": self.cells.classes_joined[0],
                "into_classes": self.cells.classes_joined[1],
            },
            "circuits": self.circuits,
            "training": self.circuits - self.held_out,
            "held_out": self.held_out,
            "split_classes": self.classes,
            "largest_split_class": self.largest_class,
            "devices": {"median": self.median_devices, "most": self.most_devices},
            "by_type": {type_: asdict(count) for type_, count in self.by_type.items()},
        }  # fmt: skip

    def as_text(self) -> str:
        """The report for a terminal; long lists of ids are cut."""
        return "\n".join((*self._how_it_came(), *self._what_it_is()))

    def _how_it_came(self) -> Iterable[str]:
        if self.repair is not None:
            yield self.repair.as_text()
            yield from self._cells_as_text()
        yield f"{self.archetypes} archetypes"
        yield f"{len(self.merged)} circuits merged with an earlier one that they equal"
        for merge in self.merged:
            if merge.type != merge.into_type:
                yield f"  merged  {merge.id} ({merge.type}) into {merge.into} ({merge.into_type})"
        yield f"{len(self.relabelled)} circuits given another type than they were filed under"
        by_rule: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for each in self.relabelled:
            by_rule[each.before, each.after, each.rule].append(each.id)
        for (before, after, rule), ids in sorted(by_rule.items()):
            yield f"  retyped {before} -> {after}, {rule}: {len(ids)} circuits ({some_of(ids)})"

    def _cells_as_text(self) -> Iterable[str]:
        cells, (before, after) = self.cells, self.cells.classes_joined
        yield f"{cells.hosts} circuits hold an op-amp, {cells.distinct} different ones"
        yield f"  {cells.met} are circuits of the corpus as well, {cells.added} became one"
        yield f"  {before} classes of wiring joined into {after} split classes"

    def _what_it_is(self) -> Iterable[str]:
        share = self.held_out / max(1, self.circuits)
        yield (
            f"{self.circuits} circuits: {self.circuits - self.held_out} for training, {self.held_out} held out "
            f"({share:.1%}); {self.classes} split classes, {self.largest_class} circuits in the largest"
        )
        yield f"devices of a circuit: median {self.median_devices:g}, most {self.most_devices}"
        yield f"  {'type':<16} {'circuits':>8} {'held out':>8} {'classes':>8} {'held out':>8}"
        for type_, count in self.by_type.items():
            numbers = (count.circuits, count.held_out, count.classes, count.held_out_classes)
            yield f"  {type_:<16} " + " ".join(f"{number:>8}" for number in numbers)
