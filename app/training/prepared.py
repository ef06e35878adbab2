"""A prepared token file: everything that training needs of a corpus, so that torch and numpy are enough to train.

Each circuit is one sentence of a language. Training decodes it and writes it anew at every draw, so the file is small
and the orders of devices are as many as ever. A corpus that was just read takes the same way in memory.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from app.errors import CorpusMissing, InvalidRequest, NotExpressible
from app.measures.novelty import TrainingIndex
from app.tokens._base import Language, Vocabulary, languages
from app.training.sentences import Example

FORMAT = 1


@dataclass(frozen=True)
class CircuitFacts:
    """Of one circuit: its size, and its identity and labels as `TrainingIndex` wants them."""

    units: int
    identity: str
    labels: Counter[int]


@dataclass(frozen=True)
class About:
    """What a prepared corpus is of.

    `corpus` says where it is from and `split` by what rule circuits are held out, in words; `held_out_share` is the
    share asked for. `vocabulary` is a hash of the language's tokens. `left_out` counts circuits by reason. `unit` is
    what `Prepared.units` count.
    """

    kind: str
    language: str
    vocabulary: str
    corpus: str
    split: str
    held_out_share: float
    unit: str
    left_out: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A corpus as sentences: the ids of circuit `n` are ``ids[offsets[n]:offsets[n + 1]]``.

    `units` are devices (or statements) of each circuit, `is_held_out` its side. `index` knows the circuits of the
    training side, in order.
    """

    about: About
    ids: NDArray[np.uint16]
    offsets: NDArray[np.int64]
    labels: tuple[str, ...]
    units: NDArray[np.int32]
    is_held_out: NDArray[np.bool_]
    index: TrainingIndex

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def language(self) -> Language[Any, Any, Any]:
        """The language of the sentences."""
        return languages[self.about.language]

    def side(self, *, is_held_out: bool) -> Side:
        """The circuits of one side, in order."""
        return Side(self, np.flatnonzero(self.is_held_out == is_held_out))

    def save(self, path: Path) -> None:
        """One compressed file; whoever reads it sees the old one or the new one.

        Raises:
            InvalidRequest: it cannot be written there.
        """
        partial = path.with_name(path.name + ".partial")
        arrays: dict[str, Any] = {
            "format": FORMAT, "about": json.dumps(asdict(self.about)), "ids": self.ids, "offsets": self.offsets,
            "labels": np.array(self.labels), "units": self.units, "is_held_out": self.is_held_out,
            **{f"index_{name}": array for name, array in self.index.arrays().items()},
        }  # fmt: skip
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                np.savez_compressed(file, **arrays)
            partial.replace(path)
        except OSError as error:
            raise InvalidRequest(f"{path} cannot be written: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path) -> Prepared:
        """What `save` wrote.

        Raises:
            CorpusMissing: there is no such file.
            InvalidRequest: it is no prepared file, it is damaged, or it is of another version of its language.
        """
        if not path.is_file():
            raise CorpusMissing(
                f"no prepared token file at {path}; write one with 'josephson train KIND --prepare {path}'"
            )
        try:
            with np.load(path, allow_pickle=False) as data:
                arrays = {name: data[name] for name in data.files}
            if int(arrays["format"]) != FORMAT:
                raise InvalidRequest(
                    f"{path} is of format {int(arrays['format'])}, this version reads format {FORMAT}; prepare it anew"
                )
            about = About(**json.loads(str(arrays["about"])))
            index = TrainingIndex.of_arrays(
                {name.removeprefix("index_"): array for name, array in arrays.items() if name.startswith("index_")}
            )
            prepared = cls(
                about, arrays["ids"], arrays["offsets"], tuple(arrays["labels"].tolist()), arrays["units"],
                arrays["is_held_out"], index,
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise InvalidRequest(f"{path} is no prepared token file: {error}") from error
        prepared._check(path)
        return prepared

    def _check(self, path: Path) -> None:
        """The parts belong together and the language still has these tokens, else InvalidRequest."""
        count = len(self.labels)
        lengths = {len(self.offsets) - 1, len(self.units), len(self.is_held_out)}
        if lengths != {count} or self.offsets[-1] != len(self.ids) or len(self.index) != (~self.is_held_out).sum():
            raise InvalidRequest(f"{path} is damaged: its parts do not belong together; prepare it anew")
        if vocabulary_hash(self.language.vocabulary) != self.about.vocabulary:
            raise InvalidRequest(
                f"{path} was prepared with another vocabulary of the language {self.about.language!r}; prepare it anew"
            )


def vocabulary_hash(vocabulary: Vocabulary) -> str:
    """Names the tokens and their ids."""
    return hashlib.sha256("\n".join(vocabulary.tokens).encode()).hexdigest()


def prepare(
    examples: Sequence[Example[Any]], is_held_out: Sequence[bool], language: Language[Any, Any, Any],
    facts_of: Callable[[Any], CircuitFacts], *, kind: str, corpus: str, split: str, held_out_share: float, unit: str,
) -> Prepared:  # fmt: skip
    """The examples as sentences, without those that the language cannot write, which are counted."""
    left_out: Counter[str] = Counter()
    sentences: list[list[int]] = []
    kept: list[int] = []
    for number, example in enumerate(examples):
        try:
            sentences.append(language.encode(example.circuit, example.label, random.Random(number)))
            kept.append(number)
        except NotExpressible:
            left_out["not expressible"] += 1
    facts = [facts_of(examples[number].circuit) for number in kept]
    sides = np.array([is_held_out[number] for number in kept], dtype=np.bool_)
    about = About(
        kind, language.name, vocabulary_hash(language.vocabulary), corpus, split, held_out_share, unit, dict(left_out)
    )
    return Prepared(
        about,
        np.array([token for sentence in sentences for token in sentence], dtype=np.uint16),
        np.cumsum([0, *map(len, sentences)], dtype=np.int64),
        tuple(examples[number].label for number in kept),
        np.array([fact.units for fact in facts], dtype=np.int32),
        sides,
        TrainingIndex.build(
            (fact.identity, fact.labels) for fact, is_out in zip(facts, sides, strict=True) if not is_out
        ),
    )


class Side(Sequence[Example[Any]]):
    """Circuits of a prepared corpus as examples, decoded when they are first asked for. Travels to other processes
    without what it has decoded.
    """

    def __init__(self, prepared: Prepared, numbers: NDArray[np.int64]) -> None:
        self._prepared = prepared
        self._numbers = numbers
        self._decoded: dict[int, Example[Any]] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> Example[Any]: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Example[Any]]: ...
    def __getitem__(self, place: int | slice) -> Example[Any] | Sequence[Example[Any]]:
        """One circuit with its label; the label is as in the corpus."""
        if isinstance(place, slice):
            return Side(self._prepared, self._numbers[place])
        number = int(self._numbers[place])
        if number not in self._decoded:
            start, end = self._prepared.offsets[number : number + 2]
            circuit, _ = self._prepared.language.decode(self._prepared.ids[start:end].tolist())
            self._decoded[number] = Example(circuit, self._prepared.labels[number])
        return self._decoded[number]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_decoded": {}}

    def units(self, places: Sequence[int]) -> int:
        """Devices (or statements) of the circuits at these places together."""
        return int(self._prepared.units[self._numbers[list(places)]].sum())
