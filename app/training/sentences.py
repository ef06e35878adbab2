"""Corpora as endless streams of sentences: every draw is written anew, so an order of devices is hardly seen twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from app.errors import NotExpressible

Circuit = TypeVar("Circuit")

#: Positions that carry no loss.
IGNORED = -100

#: Padded lengths are multiples of this: few shapes, so that the CPU kernels are prepared once and memory stays flat.
_LENGTH_STEP = 32


@dataclass(frozen=True)
class Example(Generic[Circuit]):
    """A corpus circuit: its label (type or family) and the class that decides its side of the split."""

    circuit: Circuit
    label: str
    split_class: str


def split(
    examples: Sequence[Example[Circuit]], held_out_share: float
) -> tuple[list[Example[Circuit]], list[Example[Circuit]]]:
    """Training and held-out examples; a whole class (isomorphism or skeleton) is on one side, whatever the order.

    The side is read off the class's hash: a hexadecimal string whose first eight digits are uniform.
    """
    limit = int(held_out_share * 2**32)
    sides: tuple[list[Example[Circuit]], list[Example[Circuit]]] = ([], [])
    for example in examples:
        sides[int(example.split_class[:8], 16) < limit].append(example)
    return sides


class SentenceStream(Generic[Circuit]):
    """Draws examples with probability proportional to (size of their label) ** (exponent - 1), and writes them."""

    def __init__(
        self,
        examples: Sequence[Example[Circuit]],
        encode: Callable[[Circuit, str, random.Random], list[int]],
        *,
        context: int,
        label_exponent: float,
    ) -> None:
        self._encode = encode
        self._context = context
        self.left_out: Counter[str] = Counter()
        self.examples = [example for example in examples if self._is_usable(example)]
        sizes = Counter(example.label for example in self.examples)
        self._weights = [sizes[example.label] ** (label_exponent - 1.0) for example in self.examples]

    def _is_usable(self, example: Example[Circuit]) -> bool:
        try:
            length = len(self._encode(example.circuit, example.label, random.Random(0)))
        except NotExpressible:
            self.left_out["not expressible"] += 1
            return False
        if length > self._context:
            self.left_out["longer than the context"] += 1
            return False
        return True

    def fixed(self, seed: int) -> list[list[int]]:
        """One sentence of every example, the same for the same seed."""
        return [self._encode(e.circuit, e.label, random.Random(f"{seed}:{n}")) for n, e in enumerate(self.examples)]

    def batches(self, rng: random.Random, batch_tokens: int) -> list[tuple[Tensor, Tensor]]:
        """A shuffled round of batches of about equal size; sentences of similar length share a batch."""
        chosen = rng.choices(self.examples, self._weights, k=512)
        sentences = sorted((self._encode(e.circuit, e.label, rng) for e in chosen), key=len)
        groups = group_by_tokens(sentences, batch_tokens)
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


def pad(sentences: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Inputs and targets, int64 [rows, padded length]; targets are IGNORED beyond each sentence."""
    longest = max(_padded(len(sentence)) for sentence in sentences)
    inputs = torch.zeros(len(sentences), longest, dtype=torch.int64)
    targets = torch.full((len(sentences), longest), IGNORED, dtype=torch.int64)
    for row, sentence in enumerate(sentences):
        inputs[row, : len(sentence) - 1] = torch.tensor(sentence[:-1])
        targets[row, : len(sentence) - 1] = torch.tensor(sentence[1:])
    return inputs, targets
