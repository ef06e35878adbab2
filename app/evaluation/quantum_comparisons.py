"""Sets of programs beside each other: can a classifier tell them apart, and how far apart are their distributions?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.evaluation.quantum_harness import ProgramRecord
from app.measures.family_reader import FamilyReader
from app.measures.quantum_features import STRUCTURE, features, statement_rows, table
from app.measures.two_samples import FOLDS, boosting_scores, sequence_scores
from app.quantum.program import QuantumProgram
from app.statistics import area, distance, share

#: Seeds of the classifiers over numbers; each classifier over statements is trained once, as it takes longer.
CLASSIFIER_SEEDS = (0, 1, 2)

#: Families with so many real programs are compared by themselves, too.
FAMILY_MEMBERS = 40

#: Fewest programs of a set that is compared.
_FEWEST = 2 * FOLDS

_SEED = 0

Members = Sequence[ProgramRecord]


def told_by_numbers(real: Members, others: Sequence[Members]) -> dict[str, Any] | None:
    """How well sets are told from the real programs by their features, as `statistics.area` gives it; the mean over
    the sets. None where a set is too small.
    """
    if min(map(len, (real, *others)), default=0) < _FEWEST:
        return None
    pairs = []
    for other in others:
        rows = [table([record.numbers() for record in members]) for members in (real, other)]
        scores = np.array([boosting_scores(rows[0], rows[1], seed) for seed in CLASSIFIER_SEEDS])
        pairs.append((scores[:, : len(real)], scores[:, len(real) :]))
    return area(pairs)


def told_by_statements(
    real: Sequence[QuantumProgram], others: Sequence[Sequence[QuantumProgram]], epochs: int, device: str
) -> dict[str, Any] | None:
    """The same by a transformer that reads the statements in order."""
    if min(map(len, (real, *others)), default=0) < _FEWEST:
        return None
    read = [statement_rows(program) for program in real]
    pairs = []
    for other in others:
        rows = [statement_rows(program) for program in other]
        scores = sequence_scores(read, rows, _SEED, epochs=epochs, device=device)[None]
        pairs.append((scores[:, : len(real)], scores[:, len(real) :]))
    return area(pairs)


def told_by_family(real: Members, other: Members) -> dict[str, Any]:
    """The same for every family with FAMILY_MEMBERS real programs, by features."""
    common = [family for family, count in Counter(record.family for record in real).items() if count >= FAMILY_MEMBERS]
    return {
        family: told_by_numbers([r for r in real if r.family == family], [[r for r in other if r.family == family]])
        for family in sorted(common)
    }


def structure_distances(real: Members, sets: Mapping[str, Members]) -> dict[str, Any]:
    """Metric -> set -> `statistics.distance` to the real programs; ``halves`` are two random halves of those."""
    shuffled = list(real)
    random.Random(_SEED).shuffle(shuffled)
    middle = len(shuffled) // 2
    beside: dict[str, tuple[Members, Members]] = {name: (members, real) for name, members in sets.items()}
    beside["halves"] = shuffled[:middle], shuffled[middle:]
    found: dict[str, Any] = {}
    for metric in STRUCTURE:
        found[metric] = {
            name: distance(_values(members, metric), _values(reference, metric))
            for name, (members, reference) in beside.items()
            if members and reference
        }
    return found


def read_families(known: Sequence[tuple[str, QuantumProgram]], sets: Mapping[str, Members]) -> dict[str, Any]:
    """Set -> the share of its programs that a reader trained on the known ones takes for the family asked for."""
    told = {name: members for name, members in sets.items() if members}
    if len({family for family, _ in known}) < 2:
        return {}
    reader = FamilyReader(table([features(program) for _, program in known]), [family for family, _ in known])
    found = {}
    for name, members in told.items():
        read = reader.families(table([record.numbers() for record in members]))
        hits = [float(family == record.family) for family, record in zip(read, members, strict=True)]
        found[name] = share(hits, [record.seed for record in members])
    return found


def _values(members: Members, metric: str) -> list[float]:
    return [record.numbers()[metric] for record in members]
