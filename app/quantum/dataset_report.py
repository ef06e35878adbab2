"""What became of the programs of a data set, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.quantum.corpus import REASONS

#: Ids of programs left out for one reason that a line for people shows.
_IDS_SHOWN = 4

#: Reasons of which the number says all: the builders are asked for more than there is.
_EXPECTED = frozenset(("repeated", "alike", "short", "long"))


@dataclass(frozen=True)
class Spread:
    """Some numbers in brief; `p95` is exceeded by at most a twentieth of them."""

    least: int
    median: int
    p95: int
    most: int

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Spread:
        """The spread of one number or more."""
        ordered = sorted(numbers)
        last = len(ordered) - 1
        return cls(ordered[0], ordered[last // 2], ordered[-(-19 * last // 20)], ordered[-1])

    def as_text(self) -> str:
        """The spread for a terminal."""
        return f"{self.least} to {self.most}, median {self.median}, 95 % at most {self.p95}"


@dataclass(frozen=True)
class FamilyCount:
    """Programs and split classes of one family, and how many of them are held out."""

    programs: int
    held_out: int
    classes: int
    held_out_classes: int


@dataclass(frozen=True)
class DatasetReport:
    """How a data set came to be.

    `sources` counts the programs by where they are from, `dropped` has the ids of those left out by a reason of
    `REASONS`. `features` and `gates` count the programs that have them. `regenerable` programs are built from packages
    alone, and those `random_by_design` are no reference for what real circuits look like.
    """

    sources: Mapping[str, int]
    dropped: Mapping[str, Sequence[str]]
    by_family: Mapping[str, FamilyCount]
    classes: int
    largest_class: int
    random_by_design: int
    regenerable: int
    qubits: Spread
    statements: Spread
    depth: Spread
    features: Mapping[str, int]
    gates: Mapping[str, int]

    @property
    def read(self) -> int:
        """Programs that were read, or asked of the builders."""
        return self.programs + sum(map(len, self.dropped.values()))

    @property
    def programs(self) -> int:
        """Programs of the data set."""
        return sum(count.programs for count in self.by_family.values())

    @property
    def held_out(self) -> int:
        """Programs that no model may see."""
        return sum(count.held_out for count in self.by_family.values())

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "read": self.read,
            "dropped": {reason: len(ids) for reason, ids in self.dropped.items()},
            "sources": dict(self.sources),
            "programs": self.programs,
            "training": self.programs - self.held_out,
            "held_out": self.held_out,
            "split_classes": self.classes,
            "largest_split_class": self.largest_class,
            "random_by_design": self.random_by_design,
            "regenerable": self.regenerable,
            "qubits": asdict(self.qubits),
            "statements": asdict(self.statements),
            "depth": asdict(self.depth),
            "with": dict(self.features),
            "gates": dict(self.gates),
            "by_family": {family: asdict(count) for family, count in self.by_family.items()},
        }

    def as_text(self) -> str:
        """The report for a terminal; long lists of ids are cut."""
        return "\n".join((*self._how_it_came(), *self._what_it_is()))

    def _how_it_came(self) -> Iterable[str]:
        yield f"{self.programs} of {self.read} programs kept"
        for source, count in self.sources.items():
            yield f"  from {source}: {count}"
        for reason, sentence in REASONS.items():
            ids = self.dropped.get(reason, ())
            if ids:
                shown = (
                    ""
                    if reason in _EXPECTED
                    else f" ({', '.join(ids[:_IDS_SHOWN])}{', ...' * (len(ids) > _IDS_SHOWN)})"
                )
                yield f"  dropped {len(ids)} {sentence}{shown}"

    def _what_it_is(self) -> Iterable[str]:
        share = self.held_out / max(1, self.programs)
        yield (
            f"{self.programs} programs of {len(self.by_family)} families: {self.programs - self.held_out} for "
            f"training, {self.held_out} held out ({share:.1%}); {self.classes} split classes, {self.largest_class} "
            f"programs in the largest; {self.random_by_design} random by design"
        )
        yield f"qubits: {self.qubits.as_text()}"
        yield f"statements: {self.statements.as_text()}"
        yield f"depth: {self.depth.as_text()}"
        yield "programs with " + ", ".join(f"{name.replace('_', ' ')}: {n}" for name, n in self.features.items())
        yield f"  {'family':<26} {'programs':>8} {'held out':>8} {'classes':>8} {'held out':>8}"
        for family, count in self.by_family.items():
            numbers = (count.programs, count.held_out, count.classes, count.held_out_classes)
            yield f"  {family:<26} " + " ".join(f"{number:>8}" for number in numbers)
