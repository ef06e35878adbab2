"""Corpora as endless streams of sentences: every draw is written anew, so an order of devices is hardly seen twice.

A batch is sentences in rows, either one a row and padded (rows of similar length share a batch), or packed: rows as
wide as the longest sentence of all that hold whole sentences one after the other.
"""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.errors import NotExpressible
from app.split import held_out_classes

Circuit = TypeVar("Circuit")

#: Positions that carry no loss.
IGNORED = -100

#: Padded lengths are multiples of this: few shapes, so that the CPU kernels are prepared once and memory stays flat.
_LENGTH_STEP = 16

#: Sentences of a padded round, enough that each finds others of its length; a round of large batches holds more.
_ROUND_SENTENCES = 512
_ROUND_BATCHES = 4

#: Share of a packed batch of fixed shape that its sentences are expected to fill. Their number is fixed before their
#: lengths are known, so that long ones are as likely as short ones; the rest is room for a draw of longer ones.
_EXPECTED_FILL = 0.95


class Batch(NamedTuple):
    """Sentences in rows, int32 [rows, time]: what is read, and what follows it (IGNORED where nothing does).

    `positions` count from the first token of each sentence; None where every row is one sentence. `tokens` is the
    number of targets that carry a loss.
    """

    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]
    positions: NDArray[np.int32] | None
    tokens: int

    def on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
        """Inputs, targets and positions as int64 on an accelerator (or the CPU)."""
        inputs, targets, positions = (
            None if part is None else torch.from_numpy(part).to(device).long()
            for part in (self.inputs, self.targets, self.positions)
        )
        assert inputs is not None
        assert targets is not None
        return inputs, targets, positions


@dataclass(frozen=True)
class Example(Generic[Circuit]):
    """A corpus circuit: its label (type or family) and the class that decides its side of the split."""

    circuit: Circuit
    label: str
    split_class: str = ""


def split(
    examples: Sequence[Example[Circuit]], held_out_share: float
) -> tuple[list[Example[Circuit]], list[Example[Circuit]]]:
    """Training and held-out examples in the given order; a whole class (isomorphism or skeleton) is on one side."""
    held_out = held_out_classes(((example.split_class, example.label) for example in examples), held_out_share)
    sides: tuple[list[Example[Circuit]], list[Example[Circuit]]] = ([], [])
    for example in examples:
        sides[example.split_class in held_out].append(example)
    return sides


class SentenceStream(Generic[Circuit]):
    """Draws examples by weight and writes them. Where no weights are given, a label's share of the draws is its size
    to the power of `label_exponent`.

    Beside that an example is drawn in proportion to its length in tokens to the power of `length_exponent`: below 0, a
    batch holds more sentences, and their heads are learnt sooner.

    Examples that the language cannot write, or that are longer than the context, are left out and counted. `rows` are
    the places of the others in `examples` as given.
    """

    def __init__(
        self,
        examples: Sequence[Example[Circuit]],
        encode: Callable[[Circuit, str, random.Random], list[int]],
        *,
        context: int,
        label_exponent: float,
        weights: Sequence[float] | None = None,
        length_exponent: float = 0.0,
    ) -> None:
        self._all = examples
        self._encode = encode
        self._context = context
        self.left_out: Counter[str] = Counter()
        lengths = {n: self._length(example) for n, example in enumerate(examples)}
        self.rows = [n for n, length in lengths.items() if length]
        if weights is None:
            sizes = Counter(examples[n].label for n in self.rows)
            self._weights = [sizes[examples[n].label] ** (label_exponent - 1.0) for n in self.rows]
        else:
            self._weights = [weights[n] for n in self.rows]
        self._weights = [
            weight * lengths[n] ** length_exponent for n, weight in zip(self.rows, self._weights, strict=True)
        ]
        self._row_width = -(-max((lengths[n] - 1 for n in self.rows), default=1) // _LENGTH_STEP) * _LENGTH_STEP
        total = sum(weight * lengths[n] for n, weight in zip(self.rows, self._weights, strict=True))
        self.mean_length = total / max(sum(self._weights), 1e-9)

    @property
    def examples(self) -> list[Example[Circuit]]:
        """The examples that are drawn from."""
        return [self._all[n] for n in self.rows]

    def _length(self, example: Example[Circuit]) -> int:
        """Tokens of the example's sentence, 0 where it is left out."""
        try:
            length = len(self._encode(example.circuit, example.label, random.Random(0)))
        except NotExpressible:
            self.left_out["not expressible"] += 1
            return 0
        if length > self._context:
            self.left_out["longer than the context"] += 1
            return 0
        return length

    def fixed(self, seed: int) -> list[list[int]]:
        """One sentence of every example, the same for the same seed."""
        return [self._encode(e.circuit, e.label, random.Random(f"{seed}:{n}")) for n, e in enumerate(self.examples)]

    def draw(self, rng: random.Random, count: int) -> list[list[int]]:
        """`count` sentences."""
        chosen = (self._all[n] for n in rng.choices(self.rows, self._weights, k=count))
        return [self._encode(example.circuit, example.label, rng) for example in chosen]

    def batches(
        self, rng: random.Random, batch_tokens: int, *, is_packed: bool = False, has_one_shape: bool = False
    ) -> list[Batch]:
        """A round of batches of about `batch_tokens`: padded ones of sentences of similar length, or a packed one.

        A packed batch that `has_one_shape` is padded to the number of rows of all others, which only a draw of
        unusually long sentences exceeds: a compiler then makes the number of rows a variable, once.
        """
        if is_packed:
            rows = max(1, batch_tokens // self._row_width) if has_one_shape else 1
            wanted = _EXPECTED_FILL * rows * self._row_width if has_one_shape else batch_tokens
            count = max(1, round(wanted / max(1.0, self.mean_length - 1)))
            return [pack(self.draw(rng, count), self._row_width, rows)]
        count = max(_ROUND_SENTENCES, int(_ROUND_BATCHES * batch_tokens / self.mean_length))
        groups = group_by_tokens(sorted(self.draw(rng, count), key=len), batch_tokens)
        rng.shuffle(groups)
        return [pad(group) for group in groups]


def group_by_tokens(sentences: Sequence[list[int]], batch_tokens: int) -> list[list[list[int]]]:
    """Neighbours together, so that rows times longest row stays within `batch_tokens` (one row may exceed it)."""
    groups: list[list[list[int]]] = [[]]
    longest = 0
    for sentence in sentences:
        longest = max(longest, _padded(len(sentence)))
        if groups[-1] and longest * (len(groups[-1]) + 1) > batch_tokens:
            groups.append([])
            longest = _padded(len(sentence))
        groups[-1].append(sentence)
    return [group for group in groups if group]


def _padded(length: int) -> int:
    return -(-(length - 1) // _LENGTH_STEP) * _LENGTH_STEP


def pad(sentences: Sequence[list[int]]) -> Batch:
    """One sentence a row; inputs are 0 and targets IGNORED beyond each."""
    longest = max(_padded(len(sentence)) for sentence in sentences)
    inputs = np.zeros((len(sentences), longest), dtype=np.int32)
    targets = np.full((len(sentences), longest), IGNORED, dtype=np.int32)
    for row, sentence in enumerate(sentences):
        inputs[row, : len(sentence) - 1] = sentence[:-1]
        targets[row, : len(sentence) - 1] = sentence[1:]
    return Batch(inputs, targets, None, sum(map(len, sentences)) - len(sentences))


def pack(sentences: Sequence[list[int]], width: int, rows: int) -> Batch:
    """Whole sentences one after the other in rows of `width`, each in the fullest row that still takes it.

    There are `rows` rows, or as many more as the sentences need; a sentence has at most `width` + 1 tokens. What is
    left of a row is a sentence of zeros without loss.
    """
    filled: list[list[list[int]]] = [[] for _ in range(rows)]
    free = [(width, row) for row in range(rows)]
    for sentence in sorted(sentences, key=len, reverse=True):
        length = len(sentence) - 1
        place = bisect_left(free, (length, -1))
        if place == len(free):
            filled.append([])
            free.append((width, len(filled) - 1))
        left, row = free.pop(place)
        filled[row].append(sentence)
        insort(free, (left - length, row))
    inputs = np.zeros((len(filled), width), dtype=np.int32)
    targets = np.full((len(filled), width), IGNORED, dtype=np.int32)
    positions = np.zeros((len(filled), width), dtype=np.int32)
    for row, members in enumerate(filled):
        start = 0
        for sentence in members:
            end = start + len(sentence) - 1
            inputs[row, start:end] = sentence[:-1]
            targets[row, start:end] = sentence[1:]
            positions[row, start:end] = np.arange(end - start)
            start = end
        positions[row, start:] = np.arange(width - start)
    return Batch(inputs, targets, positions, sum(map(len, sentences)) - len(sentences))
