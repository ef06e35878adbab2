"""What an analog circuit earns by the ladder of checks. Pure arithmetic on facts; runs no simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from app.analog.kinds import CIRCUIT_TYPES
from app.analog.netlist import Netlist
from app.reward._base import Wish
from app.reward.judge import JudgedSample, RoundFigures, Sample, belief, mean, percent, right_share, round_figures
from app.reward.recipe import LadderRecipe
from app.reward.sampling import evenly
from app.tokens.device_lines import TopologyConstraint
from app.training.sentences import Example

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

    @property
    def size(self) -> int:
        """Devices."""
        return self.devices

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
    return reward * belief(facts.type_probability)


def is_copy(facts: CircuitFacts, copy_similarity: float) -> bool:
    """True for a circuit that is isomorphic to a training circuit, or nearer to one than `copy_similarity`."""
    return not facts.is_novel or facts.nearest_similarity > copy_similarity


@dataclass(frozen=True)
class LadderFigures(RoundFigures):
    """A circuit without an operating point conducts nowhere. Only circuits without transistors are left out of the
    conducting and saturated shares, and those without MOS of the latter.
    """

    legal: float
    converges: float
    conducting_share: float | None
    saturated_share: float | None
    overdriven: float
    function_tried: float
    works: float
    right_type: float | None
    mean_devices: float
    held_out_tried: int
    held_out_works: int
    troubles: int

    def told(self) -> str:
        """In a line."""
        return (
            f"{super().told()}; conducting {percent(self.conducting_share)}, saturated "
            f"{percent(self.saturated_share)}, works {percent(self.works)}"
        )


def _mean_share(values: Sequence[tuple[bool, float | None]]) -> float | None:
    """Of (converges, share): 0 where it does not converge, left out where it does and there is no share."""
    return mean([share or 0.0 for converges, share in values if share is not None or not converges])


class Scorer(Protocol):
    """Says what there is to know of a sampled circuit. Called from many threads at once."""

    def facts(self, topology: Netlist, circuit_type: str) -> CircuitFacts:
        """All facts but `type_probability`; blocks. Deterministic, but for trouble of the simulator."""
        ...

    def type_probabilities(self, topologies: Sequence[Netlist], types: Sequence[str]) -> list[float | None]:
        """For each circuit the probability that it is of its type; None where nobody can tell."""
        ...


class LadderReward:
    """The ladder as a reward of analog circuits; implements `app.reward._base.Reward`."""

    kind = "analog"
    facts_type = CircuitFacts
    figures_type = LadderFigures

    def __init__(self, recipe: LadderRecipe, scorer: Scorer) -> None:
        self._recipe = recipe
        self._scorer = scorer

    def wishes(self, corpus: Sequence[Example[Netlist]]) -> list[Wish]:
        """A type has a share of the items in proportion to its training circuits ** `type_exponent`."""
        sizes = dict.fromkeys(CIRCUIT_TYPES, 0)
        for example in corpus:
            sizes[example.label] += 1
        shares = {name: float(size) ** self._recipe.type_exponent for name, size in sizes.items()}
        constraints = {
            name: TopologyConstraint(type=name, max_devices=self._recipe.max_devices) for name in CIRCUIT_TYPES
        }
        return [Wish(name, constraints[name]) for name in evenly(shares, self._recipe.samples)]

    def facts(self, circuit: Netlist, wish: Wish) -> CircuitFacts:
        """The scorer's."""
        return self._scorer.facts(circuit, wish.label)

    def no_circuit(self, index: int) -> CircuitFacts:
        """An identity of its own and nothing else."""
        return CircuitFacts(f"no circuit, item {index}", 0, is_circuit=False)

    def of_a_round(self, samples: Sequence[Sample[CircuitFacts]], circuits: Sequence[Netlist]) -> list[CircuitFacts]:
        """With the classifier's probability of the type that was asked for."""
        believed = self._scorer.type_probabilities(circuits, [sample.label for sample in samples])
        return [
            replace(sample.facts, type_probability=probability)
            for sample, probability in zip(samples, believed, strict=True)
        ]

    def worth(self, facts: CircuitFacts) -> float:
        """See `ladder_reward`."""
        return ladder_reward(facts, copy_similarity=self._recipe.copy_similarity)

    def figures(self, judged: Sequence[JudgedSample[CircuitFacts]]) -> LadderFigures:
        """Of a judged round."""
        facts = [entry.sample.facts for entry in judged]
        common = round_figures(
            judged, is_copy=lambda f: is_copy(f, self._recipe.copy_similarity), is_legal=lambda f: f.is_legal
        )
        return LadderFigures(
            **common,
            legal=mean([f.is_legal for f in facts]) or 0.0,
            converges=mean([f.converges for f in facts]) or 0.0,
            conducting_share=_mean_share([(f.converges, f.conducting_share) for f in facts]),
            saturated_share=_mean_share([(f.converges, f.saturated_share) for f in facts]),
            overdriven=mean([f.is_overdriven for f in facts]) or 0.0,
            function_tried=mean([f.works is not None for f in facts]) or 0.0,
            works=mean([bool(f.works) for f in facts]) or 0.0,
            right_type=right_share(f.type_probability for f in facts),
            mean_devices=mean([f.devices for f in facts]) or 0.0,
            held_out_tried=sum(f.held_out_works is not None for f in facts),
            held_out_works=sum(bool(f.held_out_works) for f in facts),
            troubles=sum(f.trouble is not None for f in facts),
        )
