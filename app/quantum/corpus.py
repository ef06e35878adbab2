"""Quantum programs to train on: read from JSON Lines, or rebuilt from Qiskit and mqt.bench."""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from app.errors import CorpusMissing, JosephsonError
from app.quantum.families._base import Builder, Kind, builder_groups
from app.quantum.families._rewritten import rewritten
from app.quantum.program import QuantumProgram, compacted
from app.quantum.qasm import read_qasm, write_qasm2, write_qasm3
from app.quantum.skeleton import skeleton_hash

#: Families kept for evaluation: a model that never saw them shows what it does on an unknown algorithm.
#: They are neither returned nor built here, whatever a file holds. `knn` and `qugan` are built from the swap test.
RESERVED_FAMILIES: Final = frozenset({"quantum_walk", "swap_test", "knn", "qugan"})

#: Fewest and most statements of a program that a corpus holds, fewest gates, and most qubits.
STATEMENTS_RANGE: Final = (3, 1023)
FEWEST_GATES: Final = 2
MOST_QUBITS: Final = 128

#: Most programs of a corpus that share a skeleton.
MOST_ALIKE: Final = 4

#: Why a program is left out of a corpus: the reason's name, and the reason for people.
REASONS: Final = {
    "reserved": "of a family that is reserved for evaluation",
    "unreadable": "not readable as a program",
    "unlabelled": "of a name that tells no family",
    "unknown_family": "of a family that no model knows",
    "short": f"below {STATEMENTS_RANGE[0]} statements or {FEWEST_GATES} gates",
    "long": f"above {STATEMENTS_RANGE[1]} statements",
    "wide": f"above {MOST_QUBITS} qubits",
    "repeated": "equal to an earlier one up to the names of bits and angles to 4 decimals",
    "alike": f"of a skeleton that {MOST_ALIKE} others have",
}

_FILE_NAMES: Final = ("circuits.jsonl.gz", "circuits.jsonl")


@dataclass(frozen=True, slots=True)
class CorpusProgram:
    """One program with its label. `kind` is ``random`` where the circuit is random by design.

    `skeleton` is `skeleton_hash` of the program: data are split by it. `regenerable` says that packages alone build it.
    """

    id: str
    family: str
    kind: Kind
    program: QuantumProgram
    source: str
    skeleton: str
    regenerable: bool

    def as_row(self) -> dict[str, Any]:
        """The program as `read_rows` reads it: OpenQASM 2, or 3 where a gate depends on a classical bit."""
        write = write_qasm3 if self.program.is_dynamic else write_qasm2
        return {
            "id": self.id, "family": self.family, "kind": self.kind, "source": self.source,
            "regenerable": self.regenerable, "qasm": write(self.program),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dropped:
    """A program that was left out for a reason of `REASONS`."""

    id: str
    family: str
    reason: str


@dataclass(frozen=True)
class Reading:
    """The programs of a source, and those that it holds but that were left out."""

    programs: tuple[CorpusProgram, ...]
    dropped: tuple[Dropped, ...]


class Sieve:
    """Tells of one program after the other whether it belongs into a corpus that has taken those before."""

    def __init__(self) -> None:
        self._taken: defaultdict[str, set[tuple[float, ...]]] = defaultdict(set)

    def fault(self, program: QuantumProgram, skeleton: str) -> str | None:
        """The reason of `REASONS` why the program is left out; None where it is taken, and counts from now on."""
        fewest, most = STATEMENTS_RANGE
        if len(program.operations) > most:
            return "long"
        if len(program.operations) < fewest or program.gate_count < FEWEST_GATES:
            return "short"
        if program.qubit_count > MOST_QUBITS:
            return "wide"
        taken = self._taken[skeleton]
        angles = tuple(round(angle, 4) for op in program.operations for angle in op.angles)
        if angles in taken:
            return "repeated"
        if len(taken) >= MOST_ALIKE:
            return "alike"
        taken.add(angles)
        return None


def read_rows(path: Path) -> Reading:
    """What a JSON Lines file (plain or gzip) holds, or the folder that has one; reserved families are left out.

    Each line has `id`, `family`, `kind`, `source`, `regenerable` and `qasm` (OpenQASM 2 or 3); other keys are not used.
    A line that has `dropped` instead of a program tells of one that was left out when the file was written. Idle qubits
    and unused classical bits are left out.

    Raises:
        CorpusMissing: The file is not there or a line of it is not such an object; the message says which.
    """
    file = _find(path)
    opener = gzip.open if file.suffix == ".gz" else open
    programs: list[CorpusProgram] = []
    dropped: list[Dropped] = []
    try:
        with opener(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                entry = _read_line(file, number, line)
                if isinstance(entry, Dropped):
                    dropped.append(entry)
                else:
                    programs.append(entry)
    except (OSError, EOFError, UnicodeDecodeError) as reason:
        raise CorpusMissing(f"{file} cannot be read as a quantum corpus ({reason}); fetch it anew") from reason
    return Reading(tuple(programs), tuple(dropped))


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    for name in _FILE_NAMES:
        if (path / name).is_file():
            return path / name
    raise CorpusMissing(
        f"no quantum corpus at {path} (looked for {' and '.join(_FILE_NAMES)}); "
        "name its folder or file, or build one from the Qiskit and mqt.bench packages"
    )


def _read_line(file: Path, number: int, line: str) -> CorpusProgram | Dropped:
    try:
        row = json.loads(line)
        identity, family = str(row["id"]), str(row["family"])
        if family in RESERVED_FAMILIES:
            return Dropped(identity, family, "reserved")
        if "dropped" in row:
            return Dropped(identity, family, str(row["dropped"]))
        kind = row["kind"]
        if kind not in ("algorithm", "random"):
            raise ValueError(f"kind {kind!r} is neither 'algorithm' nor 'random'")
        program = compacted(read_qasm(row["qasm"]).program)
        return CorpusProgram(
            identity, family, cast(Kind, kind), program, str(row["source"]), skeleton_hash(program),
            bool(row["regenerable"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, JosephsonError) as reason:
        raise CorpusMissing(f"{file}, line {number} is not a corpus program: {reason!r}") from reason


def known_families() -> tuple[str, ...]:
    """Every family that a builder makes, sorted. Cheap: nothing is built and Qiskit is not imported."""
    return tuple(sorted({builder.family for builder in _builders()}))


def build_family(family: str, sieve: Sieve, *, seed: int = 0) -> Iterator[CorpusProgram | Dropped]:
    """What became of each program that the family's builders were asked for.

    The same arguments and package versions give the same programs. What the sieve finds a fault with is left out.

    Raises:
        PackageMissing: A benchmark circuit is due and mqt.bench is not installed.
    """
    for builder, size, draw in _tasks(family):
        identity = f"{builder.source}-{builder.family}-{builder.name}-n{size}-{draw}"
        program = compacted(builder.build(size, random.Random(f"{seed} {identity}")))
        skeleton = skeleton_hash(program)
        fault = sieve.fault(program, skeleton)
        if fault is None:
            yield CorpusProgram(identity, builder.family, builder.kind, program, builder.source, skeleton, True)
        else:
            yield Dropped(identity, builder.family, fault)


def count_tasks(family: str) -> int:
    """How many programs `build_family` asks for."""
    return len(_tasks(family))


def _tasks(family: str) -> list[tuple[Builder, int, int]]:
    return [
        (builder, size, draw)
        for builder in _builders()
        if builder.family == family
        for size in builder.sizes
        for draw in range(builder.draws)
    ]


def _builders() -> Iterator[Builder]:
    """Every builder, and then those of rewritten programs: of two that are alike the original is kept."""
    builders = [builder for group in builder_groups.values() for builder in group]
    yield from builders
    yield from (rewritten(builder) for builder in builders if builder.few)
