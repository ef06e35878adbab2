"""Which samples of a round have won. Pure arithmetic on what each has earned; knows no kind of circuit."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Any, Generic, Protocol, TypeVar

#: A label's samples are compared within thirds by size, where there are so many in each.
_SIZE_GROUPS, _LEAST_OF_GROUP = 3, 8

_MOST_WEIGHT = 3.0

#: From this probability of the requested label on, the label is taken as right.
_BELIEVED = 0.5


class Facts(Protocol):
    """What is known of one sampled circuit. Circuits of equal `identity` are the same; `is_circuit` is false where its
    tokens are none, of which nothing else is known.
    """

    @property
    def identity(self) -> str:
        """A canonical hash."""
        ...

    @property
    def size(self) -> int:
        """Devices or statements."""
        ...

    @property
    def is_circuit(self) -> bool:
        """Whether the tokens are a sentence."""
        ...

    def as_json(self) -> dict[str, Any]:
        """For the journal."""
        ...


FactsT = TypeVar("FactsT", bound=Facts)


@dataclass(frozen=True, slots=True)
class Sample(Generic[FactsT]):
    """One sampled circuit of a round: item `index`, asked for as of the type or family `label`, written as `tokens`;
    `is_bare` without the grammar.
    """

    index: int
    label: str
    tokens: tuple[int, ...]
    facts: FactsT
    is_bare: bool = False


@dataclass(frozen=True, slots=True)
class JudgedSample(Generic[FactsT]):
    """A sample with what it earned. `advantage` is in standard deviations of its group; winners have a `weight`."""

    sample: Sample[FactsT]
    reward: float
    is_duplicate: bool
    advantage: float = 0.0
    weight: float = 0.0

    @property
    def has_won(self) -> bool:
        """Whether the network is to learn from it."""
        return self.weight > 0


def judge(
    samples: Iterable[Sample[FactsT]], known: Iterable[str], worth: Callable[[FactsT], float], *, winner_share: float
) -> list[JudgedSample[FactsT]]:
    """The samples in order of index with their rewards, advantages and weights.

    A sample of an identity in `known`, or of one of a lower index, is a duplicate and earns nothing; another earns what
    it is `worth`. Rewards are compared within a label, and there within thirds by size: labels differ in what they can
    earn, and small circuits work easily, so that otherwise the samples would drift to easy labels and small sizes. Of
    each group those win that are above its mean and among its best `winner_share`.
    """
    seen = set(known)
    judged: list[JudgedSample[FactsT]] = []
    for sample in sorted(samples, key=lambda sample: sample.index):
        is_duplicate = sample.facts.identity in seen
        seen.add(sample.facts.identity)
        judged.append(JudgedSample(sample, 0.0 if is_duplicate else worth(sample.facts), is_duplicate))
    of_label: dict[str, list[JudgedSample[FactsT]]] = defaultdict(list)
    for entry in judged:
        of_label[entry.sample.label].append(entry)
    settled = [
        entry for group in of_label.values() for part in _by_size(group) for entry in _settled(part, winner_share)
    ]
    return sorted(settled, key=lambda entry: entry.sample.index)


def _by_size(group: Sequence[JudgedSample[FactsT]]) -> list[list[JudgedSample[FactsT]]]:
    """Up to three parts of about equal number, from the smallest circuits to the largest."""
    ordered = sorted(group, key=lambda entry: (entry.sample.facts.size, entry.sample.index))
    parts = max(1, min(_SIZE_GROUPS, len(ordered) // _LEAST_OF_GROUP))
    cuts = [round(number * len(ordered) / parts) for number in range(parts + 1)]
    return [ordered[first:last] for first, last in pairwise(cuts)]


def _settled(group: Sequence[JudgedSample[FactsT]], winner_share: float) -> list[JudgedSample[FactsT]]:
    """The group with advantages and weights; where all earned the same, nobody has an advantage."""
    rewards = [entry.reward for entry in group]
    mean, spread = fmean(rewards), pstdev(rewards)
    if spread < 1e-9:
        return list(group)
    ranked = sorted(group, key=lambda entry: (-entry.reward, entry.sample.index))
    places = math.ceil(winner_share * len(ranked))
    settled = []
    for place, entry in enumerate(ranked):
        advantage = (entry.reward - mean) / spread
        wins = place < places and advantage > 0
        settled.append(replace(entry, advantage=advantage, weight=min(_MOST_WEIGHT, advantage) if wins else 0.0))
    return settled


@dataclass(frozen=True)
class RoundFigures:
    """What a round's samples of any kind came to; shares are of all samples, nothing is discarded. `legal_bare` is of
    those that were drawn without the grammar, None where there are none.
    """

    samples: int
    winners: int
    reward: float
    reward_by_label: dict[str, float]
    copies: float
    duplicates: float
    legal_bare: float | None

    def told(self) -> str:
        """In a line."""
        return (
            f"reward {self.reward:.3f}, legal without grammar {percent(self.legal_bare)}, copies "
            f"{percent(self.copies)}, duplicates {percent(self.duplicates)}, {self.winners} winners"
        )


def round_figures(
    judged: Sequence[JudgedSample[FactsT]], *, is_copy: Callable[[FactsT], bool], is_legal: Callable[[FactsT], bool]
) -> dict[str, Any]:
    """The fields of `RoundFigures` of a judged round."""
    by_label: dict[str, list[float]] = defaultdict(list)
    for entry in judged:
        by_label[entry.sample.label].append(entry.reward)
    return {
        "samples": len(judged),
        "winners": sum(entry.has_won for entry in judged),
        "reward": mean([entry.reward for entry in judged]) or 0.0,
        "reward_by_label": {name: round(fmean(by_label[name]), 4) for name in sorted(by_label)},
        "copies": mean([is_copy(entry.sample.facts) for entry in judged]) or 0.0,
        "duplicates": mean([entry.is_duplicate for entry in judged]) or 0.0,
        "legal_bare": mean([is_legal(entry.sample.facts) for entry in judged if entry.sample.is_bare]),
    }


def belief(probability: float | None) -> float:
    """0..1, how much a sample is taken to be of its label, of which a classifier gives the probability, if any does."""
    return 1.0 if probability is None else min(1.0, probability / _BELIEVED)


def right_share(probabilities: Iterable[float | None]) -> float | None:
    """The share of samples whose label is taken as right, of those that a classifier told."""
    return mean([p >= _BELIEVED for p in probabilities if p is not None])


def mean(values: Sequence[float]) -> float | None:
    """To four decimals; None of nothing."""
    return round(fmean(values), 4) if values else None


def percent(share: float | None) -> str:
    """``12.3%``, or a dash for None."""
    return "-" if share is None else f"{share:.1%}"
