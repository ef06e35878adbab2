"""How far a circuit is from everything a model was trained on, without keeping the training circuits themselves.

A circuit is a multiset of labels (Weisfeiler-Lehman labels of a netlist, statement 3-grams of a program) and an
identity hash (isomorphism class, skeleton). The index keeps hashes only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from app.errors import ModelDamaged


@dataclass(frozen=True, slots=True)
class Novelty:
    """`is_novel`: the identity hash is not in the training set. `nearest_similarity`: the largest multiset Jaccard
    similarity to a training circuit, 0..1.
    """

    is_novel: bool
    nearest_similarity: float

    def as_json(self) -> dict[str, bool | float]:
        """As in a row; the similarity has four decimals."""
        return {"is_novel": self.is_novel, "nearest_similarity": round(self.nearest_similarity, 4)}


class TrainingIndex:
    """Postings of 32-bit label hashes: for every label the circuits that hold it and how often (at most 255)."""

    def __init__(
        self,
        identities: Iterable[str],
        labels: NDArray[np.uint32],
        owners: NDArray[np.uint32],
        counts: NDArray[np.uint8],
    ) -> None:
        self._identities = tuple(identities)
        self._known = frozenset(self._identities)
        self._labels, self._owners, self._counts = labels, owners, counts
        self._sizes = np.bincount(owners, weights=counts, minlength=len(self._identities))

    def __len__(self) -> int:
        return len(self._identities)

    @classmethod
    def build(cls, circuits: Iterable[tuple[str, Counter[int]]]) -> TrainingIndex:
        """From (identity hash, labels) of each training circuit."""
        identities: list[str] = []
        rows: list[tuple[int, int, int]] = []
        for owner, (identity, labels) in enumerate(circuits):
            identities.append(identity[:16])
            rows += [(label, owner, count) for label, count in _folded(labels).items()]
        table = np.array(sorted(rows), dtype=np.int64).reshape(-1, 3)
        return cls(
            identities, table[:, 0].astype(np.uint32), table[:, 1].astype(np.uint32), table[:, 2].astype(np.uint8)
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The index as named arrays."""
        return {
            "identities": np.array(self._identities, dtype=np.str_), "labels": self._labels, "owners": self._owners,
            "counts": self._counts,
        }  # fmt: skip

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> TrainingIndex:
        """The index that `arrays` described; KeyError or ValueError where they are of something else."""
        return cls(arrays["identities"].tolist(), arrays["labels"], arrays["owners"], arrays["counts"])

    def keeping(self, rows: Sequence[int]) -> TrainingIndex:
        """The index of these training circuits alone, in ascending order of row."""
        new_number = np.full(len(self), -1)
        new_number[list(rows)] = np.arange(len(rows))
        owners = new_number[self._owners]
        kept = owners >= 0
        identities = [self._identities[row] for row in rows]
        return TrainingIndex(identities, self._labels[kept], owners[kept].astype(np.uint32), self._counts[kept])

    def joined(self, other: TrainingIndex) -> TrainingIndex:
        """This index with the circuits of the other that it does not know, which come last."""
        fresh = other.keeping([row for row, identity in enumerate(other._identities) if identity not in self._known])
        labels = np.concatenate([self._labels, fresh._labels])
        owners = np.concatenate([self._owners, fresh._owners + np.uint32(len(self))])
        counts = np.concatenate([self._counts, fresh._counts])
        order = np.argsort(labels, kind="stable")
        return TrainingIndex((*self._identities, *fresh._identities), labels[order], owners[order], counts[order])

    def save(self, path: Path) -> None:
        """One compressed file."""
        with path.open("wb") as file:
            np.savez_compressed(file, **self.arrays())  # type: ignore[arg-type]  # no key is savez's own allow_pickle

    @classmethod
    def load(cls, path: Path) -> TrainingIndex:
        """What `save` wrote; ModelDamaged where it cannot be read."""
        try:
            with np.load(path, allow_pickle=False) as data:
                return cls.of_arrays(data)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise ModelDamaged(f"model {path.parent.name}: {path.name} cannot be read ({error})") from error

    def knows(self, identity: str) -> bool:
        """Whether a training circuit has this identity hash."""
        return identity[:16] in self._known

    def novelty(self, identity: str, labels: Counter[int]) -> Novelty:
        """Of a circuit with this identity hash and these labels."""
        shared = np.zeros(len(self))
        folded = _folded(labels)
        keys = np.fromiter(folded, np.uint32, len(folded))  # of the postings' own type, else each search copies them
        firsts, lasts = (np.searchsorted(self._labels, keys, side) for side in ("left", "right"))
        for first, last, count in zip(firsts, lasts, folded.values(), strict=True):
            shared[self._owners[first:last]] += np.minimum(self._counts[first:last], count)
        union = self._sizes + sum(folded.values()) - shared
        nearest = float((shared / np.maximum(union, 1)).max(initial=0.0))
        return Novelty(not self.knows(identity), nearest)


def _folded(labels: Counter[int]) -> Counter[int]:
    """Labels as 32-bit numbers, counts at most 255."""
    folded: Counter[int] = Counter()
    for label, count in labels.items():
        folded[label & 0xFFFFFFFF] += count
    return Counter({label: min(count, 255) for label, count in folded.items()})
