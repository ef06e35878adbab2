"""The programs that models learn from: read or built, each one once, split into two sides by skeleton.

Programs of one split class are on one side of every split: they differ in angles and in the numbers of their bits only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from app.errors import CorpusMissing
from app.quantum.built_corpus import built_corpus
from app.quantum.corpus import CorpusProgram, Dropped, Reading, Sieve, read_rows
from app.quantum.dataset_report import DatasetReport, FamilyCount, Spread
from app.quantum.family_names import FAMILIES
from app.quantum.qasmbench import read_qasmbench
from app.split import HELD_OUT_SHARE, held_out_classes, split_counts


@dataclass(frozen=True)
class Dataset:
    """Programs without idle qubits, no two of them equal, no more than a few of one skeleton; in the order of sources.

    `training` and `held_out` are the two sides at HELD_OUT_SHARE, each in the order of `programs`. A program's split
    class is its `skeleton`.
    """

    programs: tuple[CorpusProgram, ...]
    training: tuple[CorpusProgram, ...]
    held_out: tuple[CorpusProgram, ...]
    report: DatasetReport


def read_dataset(
    source: Path | None = None,
    *,
    qasmbench: Path | None = None,
    seed: int = 0,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """The corpus at `source`, or the one that is built from packages, and QASMBench's circuits, as one data set.

    Args:
        source: What `read_rows` reads; what `built_corpus` builds when None.
        qasmbench: A clone of QASMBench; none when None.
        seed: Of the programs that are built.
        folder: Of the cache of built programs; in the user's data folder when None.
        progress: Called while programs are built.

    Raises:
        CorpusMissing: There is no corpus at `source` or `qasmbench`, a line is no program, or no program is left.
        PackageMissing: Programs are to be built and mqt.bench is not installed.
    """
    readings = [built_corpus(seed=seed, folder=folder, progress=progress) if source is None else read_rows(source)]
    if qasmbench is not None:
        readings.append(read_qasmbench(qasmbench))
    programs, dropped = _sifted(readings)
    if not programs:
        raise CorpusMissing(
            f"none of the {len(dropped)} programs that were read can be learnt from; "
            "'josephson corpus quantum' without --source builds some from the Qiskit and mqt.bench packages"
        )
    held_out = held_out_classes(((each.skeleton, each.family) for each in programs), HELD_OUT_SHARE)
    return Dataset(
        programs,
        tuple(each for each in programs if each.skeleton not in held_out),
        tuple(each for each in programs if each.skeleton in held_out),
        _report(programs, dropped, held_out),
    )


def _sifted(readings: Iterable[Reading]) -> tuple[tuple[CorpusProgram, ...], list[Dropped]]:
    """The programs that may stay, and all that were left out."""
    sieve, known = Sieve(), frozenset(FAMILIES)
    kept: list[CorpusProgram] = []
    dropped: list[Dropped] = []
    for reading in readings:
        dropped += reading.dropped
        for each in reading.programs:
            fault = sieve.fault(each.program, each.skeleton) if each.family in known else "unknown_family"
            if fault is None:
                kept.append(each)
            else:
                dropped.append(Dropped(each.id, each.family, fault))
    return tuple(kept), dropped


def _report(programs: tuple[CorpusProgram, ...], dropped: Iterable[Dropped], held_out: frozenset[str]) -> DatasetReport:
    classes = Counter(each.skeleton for each in programs)
    bare = [each.program for each in programs]
    by_reason: dict[str, list[str]] = defaultdict(list)
    for each in dropped:
        by_reason[each.reason].append(each.id)
    return DatasetReport(
        sources=dict(Counter(each.source for each in programs)),
        dropped={reason: tuple(ids) for reason, ids in by_reason.items()},
        by_family=_counts_by_family(programs, held_out),
        classes=len(classes),
        largest_class=max(classes.values()),
        random_by_design=sum(each.kind == "random" for each in programs),
        regenerable=sum(each.regenerable for each in programs),
        qubits=Spread.of(program.qubit_count for program in bare),
        statements=Spread.of(len(program.operations) for program in bare),
        depth=Spread.of(program.depth for program in bare),
        features={
            "several_registers": sum(bool(program.qubit_registers or program.clbit_registers) for program in bare),
            "barriers_over_some_qubits": sum(
                any(op.name == "barrier" and op.qubits for op in program.operations) for program in bare
            ),
            "resets": sum(any(op.name == "reset" for op in program.operations) for program in bare),
            "conditions": sum(program.is_dynamic for program in bare),
        },
        gates=dict(Counter(gate for program in bare for gate in program.gates_used).most_common()),
    )


def _counts_by_family(programs: Iterable[CorpusProgram], held_out: frozenset[str]) -> dict[str, FamilyCount]:
    """Family -> what there is of it, sorted, for the families that there are."""
    counts = split_counts(((each.skeleton, each.family) for each in programs), held_out)
    return {family: FamilyCount(*numbers) for family, numbers in sorted(counts.items())}
