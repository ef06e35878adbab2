"""What a sampled circuit has earned, and which of a round have won. Pure arithmetic on facts; runs no simulator."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Any

#: What the rungs are worth; together 1. A circuit without an operating point earns nothing.
_OPERATING_POINT = 0.1
_CONDUCTION = 0.5
_FUNCTION = 0.4

#: Within conduction: the share of transistors that conduct, and of MOS that are saturated.
_CONDUCTING, _SATURATED = 0.6, 0.4

#: What conduction is worth where a current flows that no designer would allow: a short conducts well.
_OVERDRIVEN = 0.5

#: The credit of circuits without transistors, which conduction says nothing about: neither for nor against them.
_NO_TRANSISTORS = 0.5

#: A circuit that meets every bound but does not work at once is worth at most this share of one that works.
_PARTIAL_FUNCTION = 0.5

#: From this probability of the requested type on, the type is taken as right.
_TYPE_BELIEVED = 0.5

#: A type's samples are compared within thirds by size, where there are so many in each.
_SIZE_GROUPS, _LEAST_OF_GROUP = 3, 8

_MOST_WEIGHT = 3.0


@dataclass(frozen=True, slots=True)
class CircuitFacts:
    """What is known of one sampled circuit; `is_circuit` is false where its tokens are none, of which nothing is known.

    `is_legal`: no electrical rule is broken. The shares are those after the bias search, None without transistors (or
    without an operating point). `is_overdriven`: a transistor carries far more than a bias current there, or the supply
    far more than all of them. `works` and `met_share` (of the bounds of the testbench, by the best sizing) are None
    where the function was not tried. `held_out_works` is the same of the testbench that is not rewarded.
    `type_probability` is a classifier's of the requested type, None without one. `identity` is the canonical hash.
    `trouble` says why the simulator could not tell.
    """

    identity: str
    devices: int
    is_novel: bool = True
    nearest_similarity: float = 0.0
    is_legal: bool = False
    converges: bool = False
    conducting_share: float | None = None
    saturated_share: float | None = None
    is_overdriven: bool = False
    works: bool | None = None
    met_share: float | None = None
    held_out_works: bool | None = None
    type_probability: float | None = None
    trouble: str | None = None
    is_circuit: bool = True

    def as_json(self) -> dict[str, Any]:
        """For the journal."""
        return asdict(self)


def conduction_credit(facts: CircuitFacts) -> float:
    """0..1, for the shares of transistors that conduct and of MOS that are saturated."""
    if facts.conducting_share is None:
        return _NO_TRANSISTORS
    saturated_share = facts.conducting_share if facts.saturated_share is None else facts.saturated_share
    credit = _CONDUCTING * facts.conducting_share + _SATURATED * saturated_share
    return credit * (_OVERDRIVEN if facts.is_overdriven else 1.0)


def ladder_reward(facts: CircuitFacts, *, copy_similarity: float) -> float:
    """0..1, higher for every rung that is reached; 0 for an illegal circuit, and for a copy of a training circuit."""
    if not (facts.is_legal and facts.converges) or is_copy(facts, copy_similarity):
        return 0.0
    function = 1.0 if facts.works else _PARTIAL_FUNCTION * (facts.met_share or 0.0)
    reward = _OPERATING_POINT + _CONDUCTION * conduction_credit(facts) + _FUNCTION * function
    belief = 1.0 if facts.type_probability is None else min(1.0, facts.type_probability / _TYPE_BELIEVED)
    return reward * belief


def is_copy(facts: CircuitFacts, copy_similarity: float) -> bool:
    """True for a circuit that is isomorphic to a training circuit, or nearer to one than `copy_similarity`."""
    return not facts.is_novel or facts.nearest_similarity > copy_similarity


@dataclass(frozen=True, slots=True)
class Sample:
    """One sampled circuit of a round: item `index`, asked for as `type`, written as `tokens`; `is_bare` without the
    grammar.
    """

    index: int
    type: str
    tokens: tuple[int, ...]
    facts: CircuitFacts
    is_bare: bool = False


@dataclass(frozen=True, slots=True)
class JudgedSample:
    """A sample with what it earned. `advantage` is in standard deviations of its group; winners have a `weight`."""

    sample: Sample
    reward: float
    is_duplicate: bool
    advantage: float = 0.0
    weight: float = 0.0

    @property
    def has_won(self) -> bool:
        """Whether the network is to learn from it."""
        return self.weight > 0


def judge(
    samples: Iterable[Sample], known: Iterable[str], *, copy_similarity: float, winner_share: float
) -> list[JudgedSample]:
    """The samples in order of index with their rewards, advantages and weights.

    A sample that is isomorphic to one in `known` or to one of a lower index is a duplicate and earns nothing.
    Rewards are compared within a type, and there within thirds by number of devices: types differ in what they can
    earn, and small circuits conduct easily, so that otherwise the samples would drift to easy types and small sizes.
    Of each group those win that are above its mean and among its best `winner_share`.
    """
    seen = set(known)
    judged: list[JudgedSample] = []
    for sample in sorted(samples, key=lambda sample: sample.index):
        is_duplicate = sample.facts.identity in seen
        seen.add(sample.facts.identity)
        reward = 0.0 if is_duplicate else ladder_reward(sample.facts, copy_similarity=copy_similarity)
        judged.append(JudgedSample(sample, reward, is_duplicate))
    of_type: dict[str, list[JudgedSample]] = defaultdict(list)
    for entry in judged:
        of_type[entry.sample.type].append(entry)
    settled = [
        entry for group in of_type.values() for part in _by_size(group) for entry in _settled(part, winner_share)
    ]
    return sorted(settled, key=lambda entry: entry.sample.index)


def _by_size(group: Sequence[JudgedSample]) -> list[list[JudgedSample]]:
    """Up to three parts of about equal number, from the smallest circuits to the largest."""
    ordered = sorted(group, key=lambda entry: (entry.sample.facts.devices, entry.sample.index))
    parts = max(1, min(_SIZE_GROUPS, len(ordered) // _LEAST_OF_GROUP))
    cuts = [round(number * len(ordered) / parts) for number in range(parts + 1)]
    return [ordered[first:last] for first, last in pairwise(cuts)]


def _settled(group: Sequence[JudgedSample], winner_share: float) -> list[JudgedSample]:
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


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """What a round's samples came to. Shares are of all samples, nothing is discarded: a circuit without an operating
    point conducts nowhere. Only circuits without transistors are left out of the conducting and saturated shares, and
    those without MOS of the latter.
    """

    samples: int
    winners: int
    reward: float
    reward_by_type: dict[str, float]
    legal: float
    legal_bare: float | None
    converges: float
    conducting_share: float | None
    saturated_share: float | None
    overdriven: float
    function_tried: float
    works: float
    copies: float
    duplicates: float
    right_type: float | None
    mean_devices: float
    held_out_tried: int
    held_out_works: int
    troubles: int


def figures(judged: Sequence[JudgedSample], *, copy_similarity: float) -> RoundFigures:
    """The figures of a judged round."""
    facts = [entry.sample.facts for entry in judged]
    by_type: dict[str, list[float]] = defaultdict(list)
    for entry in judged:
        by_type[entry.sample.type].append(entry.reward)
    probabilities = [f.type_probability for f in facts if f.type_probability is not None]
    return RoundFigures(
        samples=len(judged),
        winners=sum(entry.has_won for entry in judged),
        reward=_mean([entry.reward for entry in judged]) or 0.0,
        reward_by_type={name: round(fmean(by_type[name]), 4) for name in sorted(by_type)},
        legal=_mean([f.is_legal for f in facts]) or 0.0,
        legal_bare=_mean([entry.sample.facts.is_legal for entry in judged if entry.sample.is_bare]),
        converges=_mean([f.converges for f in facts]) or 0.0,
        conducting_share=_mean_share([(f.converges, f.conducting_share) for f in facts]),
        saturated_share=_mean_share([(f.converges, f.saturated_share) for f in facts]),
        overdriven=_mean([f.is_overdriven for f in facts]) or 0.0,
        function_tried=_mean([f.works is not None for f in facts]) or 0.0,
        works=_mean([bool(f.works) for f in facts]) or 0.0,
        copies=_mean([is_copy(f, copy_similarity) for f in facts]) or 0.0,
        duplicates=_mean([entry.is_duplicate for entry in judged]) or 0.0,
        right_type=_mean([p >= _TYPE_BELIEVED for p in probabilities]),
        mean_devices=_mean([f.devices for f in facts]) or 0.0,
        held_out_tried=sum(f.held_out_works is not None for f in facts),
        held_out_works=sum(bool(f.held_out_works) for f in facts),
        troubles=sum(f.trouble is not None for f in facts),
    )


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), 4) if values else None


def _mean_share(values: Sequence[tuple[bool, float | None]]) -> float | None:
    """Of (converges, share): 0 where it does not converge, left out where it does and there is no share."""
    return _mean([share or 0.0 for converges, share in values if share is not None or not converges])
