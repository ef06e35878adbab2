"""Quantum programs to train on: read from JSON Lines, or rebuilt from Qiskit and mqt.bench."""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from app.errors import CorpusMissing, InvalidRequest, JosephsonError, UnknownName
from app.quantum.families._base import Builder, Kind, builder_groups
from app.quantum.program import QuantumProgram
from app.quantum.qasm import parse_qasm2
from app.quantum.skeleton import skeleton_hash

#: Families kept for evaluation: a model that never saw them shows what it does on an unknown algorithm.
#: They are neither returned nor built here, whatever a file holds. `knn` and `qugan` are built from the swap test.
RESERVED_FAMILIES: Final = frozenset({"quantum_walk", "swap_test", "knn", "qugan"})

#: Fewest and most statements of a program that a corpus holds, and fewest gates.
STATEMENTS_RANGE: Final = (3, 1023)
FEWEST_GATES: Final = 2

#: Most programs of a built corpus that share a skeleton.
MOST_ALIKE: Final = 4

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


def read_jsonl(path: Path) -> tuple[CorpusProgram, ...]:
    """Every program of a JSON Lines file (plain or gzip), or of the folder that holds one, but reserved families.

    Each line has `id`, `family`, `kind`, `source`, `regenerable` and `qasm`; other keys are not used.

    Raises:
        CorpusMissing: The file is not there or a line of it is not such an object; the message says which.
    """
    file = _find(path)
    opener = gzip.open if file.suffix == ".gz" else open
    programs: list[CorpusProgram] = []
    try:
        with opener(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                program = _read_line(file, number, line)
                if program is not None:
                    programs.append(program)
    except (OSError, EOFError, UnicodeDecodeError) as reason:
        raise CorpusMissing(f"{file} cannot be read as a quantum corpus ({reason}); fetch it anew") from reason
    return tuple(programs)


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


def _read_line(file: Path, number: int, line: str) -> CorpusProgram | None:
    try:
        row = json.loads(line)
        family, kind = row["family"], row["kind"]
        if family in RESERVED_FAMILIES:
            return None
        if kind not in ("algorithm", "random"):
            raise ValueError(f"kind {kind!r} is neither 'algorithm' nor 'random'")
        program = parse_qasm2(row["qasm"])
        return CorpusProgram(
            str(row["id"]), str(family), cast(Kind, kind), program, str(row["source"]), skeleton_hash(program),
            bool(row["regenerable"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, JosephsonError) as reason:
        raise CorpusMissing(f"{file}, line {number} is not a corpus program: {reason!r}") from reason


def known_families() -> tuple[str, ...]:
    """Every family that `build_corpus` builds, sorted. Cheap: nothing is built and Qiskit is not imported."""
    return tuple(sorted({builder.family for group in builder_groups.values() for builder in group}))


def build_corpus(
    *,
    families: Iterable[str] | None = None,
    sizes: Container[int] | None = None,
    draws: int = 1,
    limit: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[CorpusProgram]:
    """Programs made by the builders of `families` (default: all), one family after the other.

    The same arguments and package versions give the same programs. Programs outside `STATEMENTS_RANGE` are left out,
    so are repeated ones (angles compared to 4 decimals) and those beyond `MOST_ALIKE` of one skeleton.

    Args:
        families: Names of `known_families`.
        sizes: Builder sizes (about qubit counts) to use; each builder's own when absent.
        draws: Multiplies how often each builder is asked at each size.
        limit: Most programs of one family; which ones is then drawn at random.
        seed: Source of all randomness.
        progress: Called with the number of programs tried and the number to try.

    Raises:
        InvalidRequest: A family is reserved for evaluation.
        UnknownName: A family that no builder makes.
        PackageMissing: A benchmark circuit is due and mqt.bench is not installed.
    """
    return _build(_chosen_families(families), sizes, draws, limit, seed, progress)


def _chosen_families(families: Iterable[str] | None) -> tuple[str, ...]:
    known = known_families()
    if families is None:
        return known
    chosen = tuple(dict.fromkeys(families))
    for family in chosen:
        if family in RESERVED_FAMILIES:
            raise InvalidRequest(f"the family {family!r} is reserved for evaluation and is never built; leave it out")
        if family not in known:
            raise UnknownName("quantum family", family, known)
    return chosen


def _build(
    families: tuple[str, ...],
    sizes: Container[int] | None,
    draws: int,
    limit: int | None,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[CorpusProgram]:
    tasks: dict[str, list[tuple[Builder, int, int]]] = {family: [] for family in families}
    for group in builder_groups.values():
        for builder in group:
            if builder.family in tasks:
                tasks[builder.family] += [
                    (builder, size, draw)
                    for size in builder.sizes
                    if sizes is None or size in sizes
                    for draw in range(builder.draws * draws)
                ]
    total, tried = sum(map(len, tasks.values())), 0
    alike: defaultdict[str, set[tuple[float, ...]]] = defaultdict(set)
    for family, family_tasks in tasks.items():
        if limit is not None:
            random.Random(f"{seed} {family}").shuffle(family_tasks)
        kept = 0
        for builder, size, draw in family_tasks:
            program = None
            if limit is None or kept < limit:
                program = _build_one(builder, size, draw, seed, alike)
            tried += 1
            if progress is not None:
                progress(tried, total)
            if program is not None:
                kept += 1
                yield program


def _build_one(
    builder: Builder, size: int, draw: int, seed: int, alike: defaultdict[str, set[tuple[float, ...]]]
) -> CorpusProgram | None:
    """The program, unless it is too short, too long or too much like those before."""
    identity = f"{builder.source}-{builder.family}-{builder.name}-n{size}-{draw}"
    program = builder.build(size, random.Random(f"{seed} {identity}"))
    fewest, most = STATEMENTS_RANGE
    if not fewest <= len(program.operations) <= most or program.gate_count < FEWEST_GATES:
        return None
    skeleton = skeleton_hash(program)
    angles = tuple(round(angle, 4) for op in program.operations for angle in op.angles)
    if angles in alike[skeleton] or len(alike[skeleton]) >= MOST_ALIKE:
        return None
    alike[skeleton].add(angles)
    return CorpusProgram(identity, builder.family, builder.kind, program, builder.source, skeleton, True)
