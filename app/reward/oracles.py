"""What a quantum program earns: by the oracle of its family, by its looks, and by its likeness to real programs."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from app.evaluation.quantum_plan import Condition
from app.measures.family_reader import FamilyReader
from app.measures.quantum_copies import KnownPrograms
from app.measures.quantum_features import FEATURES, features
from app.measures.two_samples import boosting_scores
from app.quantum.oracles import Oracle, oracle_for
from app.quantum.program import QuantumProgram, compacted
from app.quantum.skeleton import skeleton_hash
from app.reward._base import Wish
from app.reward.judge import JudgedSample, RoundFigures, Sample, belief, mean, percent, right_share, round_figures
from app.reward.recipe import OracleRecipe
from app.reward.sampling import evenly
from app.tokens.qasm_domain import ProgramConstraint
from app.training.sentences import Example

#: What a sound program is worth at least, and what its family's looks, its likeness to real programs and an oracle that
#: lets it pass add; together 1. Where no oracle judges, the family's looks stand for it.
_SOUND, _FAMILY, _LIKENESS, _FUNCTION = 0.1, 0.3, 0.3, 0.3

#: The likeness of what there is nothing to compare with.
_NO_LIKENESS = 0.5

#: Programs of a family that the reader of families is trained on, at most.
_READ_OF_FAMILY = 40

#: Fewest programs that are compared with real ones.
_FEWEST_COMPARED = 20

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class ProgramFacts:
    """What is known of one sampled program; `is_circuit` is false where its tokens are none, of which nothing is known.

    `is_sound`: it has a gate, and no qubit is idle. `distance` is that to the nearest training program of its family
    and width (`KnownPrograms.nearness`). `passes` is the verdict of the family's oracle, None where none judged.
    `numbers` are its FEATURES. `family_probability` is a reader's of the requested family and `likeness`, 0..1, how
    little a classifier tells it from real programs; None where nobody could say. `identity` is the skeleton's hash.
    """

    identity: str
    statements: int
    is_sound: bool = False
    is_copy: bool = False
    distance: float = 1.0
    passes: bool | None = None
    numbers: tuple[float, ...] = ()
    family_probability: float | None = None
    likeness: float | None = None
    is_circuit: bool = True

    @property
    def size(self) -> int:
        """Statements."""
        return self.statements

    def as_json(self) -> dict[str, Any]:
        """For the journal."""
        return asdict(self)


def program_reward(facts: ProgramFacts, *, copy_distance: float) -> float:
    """0..1; 0 for what is no sound program or one that an oracle refutes, and for a copy of a training program or one
    nearly so.
    """
    if not facts.is_sound or facts.passes is False or is_copy(facts, copy_distance):
        return 0.0
    looks = belief(facts.family_probability)
    likeness = _NO_LIKENESS if facts.likeness is None else facts.likeness
    function = looks if facts.passes is None else 1.0
    return _SOUND + _FAMILY * looks + _LIKENESS * likeness + _FUNCTION * function


def is_copy(facts: ProgramFacts, copy_distance: float) -> bool:
    """True for a program with the skeleton of a training program, or nearer to one than `copy_distance`."""
    return facts.is_copy or facts.distance < copy_distance


@dataclass(frozen=True)
class ProgramFigures(RoundFigures):
    """`passes` is of those that an oracle judged, and so is their number."""

    sound: float
    right_family: float | None
    likeness: float | None
    judged: int
    passes: float | None
    mean_statements: float

    def told(self) -> str:
        """In a line."""
        return (
            f"{RoundFigures.told(self)}; right family {percent(self.right_family)}, likeness "
            f"{percent(self.likeness)}, oracle passed {percent(self.passes)} of {self.judged}"
        )


class OracleReward:
    """Oracles and likeness as a reward of quantum programs; implements `app.reward._base.Reward`.

    Args:
        corpus: The training programs of the model with their families. What is held out is not looked at. Samples are
            compared with those of them that `wishes` last drew conditions from.

    Raises:
        PackageMissing: scikit-learn is not installed.
    """

    kind = "quantum"
    facts_type = ProgramFacts
    figures_type = ProgramFigures

    def __init__(self, recipe: OracleRecipe, corpus: Sequence[Example[QuantumProgram]]) -> None:
        self._recipe = recipe
        of_family = _by_family(corpus)
        self._known = KnownPrograms((family, program) for family, own in of_family.items() for program in own)
        self._reader = self._family_reader(of_family)
        self._real = np.zeros((0, len(FEATURES)))

    def _family_reader(self, of_family: Mapping[str, Sequence[QuantumProgram]]) -> FamilyReader | None:
        """Trained on programs of every family; None where there is but one family."""
        if len(of_family) < 2:
            return None
        drawn = random.Random(self._recipe.seed)
        chosen = [
            (family, program)
            for family, programs in of_family.items()
            for program in drawn.sample(programs, min(_READ_OF_FAMILY, len(programs)))
        ]
        return FamilyReader(np.array([_numbers(program) for _, program in chosen]), [family for family, _ in chosen])

    def wishes(self, corpus: Sequence[Example[QuantumProgram]]) -> list[Wish]:
        """A family has a share of the items in proportion to its training programs ** `family_exponent`; each item has
        the condition of a training program of its family, `judged_share` of them of one that an oracle would judge.
        """
        recipe, of_family = self._recipe, _by_family(corpus)
        judged = {
            family: own
            for family, programs in of_family.items()
            if (own := [program for program in programs if self._oracle_of(program, family) is not None])
        }
        sets = (of_family, judged or of_family)
        families = [
            evenly({family: len(own) ** recipe.family_exponent for family, own in each.items()}, recipe.samples)
            for each in sets
        ]
        drawn = random.Random(f"{recipe.seed}:conditions")
        models = []
        for index in range(recipe.samples):
            number = int((index + 1) * recipe.judged_share) - int(index * recipe.judged_share)
            family = families[number][index]
            models.append((family, drawn.choice(sets[number][family])))
        self._real = np.array([_numbers(program) for _, program in models])
        return [Wish(family, _constraint(Condition.of(family, program))) for family, program in models]

    def facts(self, circuit: QuantumProgram, wish: Wish) -> ProgramFacts:
        """All facts but those that a whole round tells."""
        program = compacted(circuit)
        facts = ProgramFacts(
            skeleton_hash(program), len(program.operations),
            is_sound=not circuit.idle_qubits and bool(circuit.gates_used),
            numbers=_numbers(program),
        )  # fmt: skip
        if not facts.is_sound:
            return facts
        near = self._known.nearness(program, wish.label)
        facts = replace(facts, is_copy=near.is_copy, distance=round(near.distance, _DIGITS))
        judge = self._oracle_of(program, wish.label)
        if judge is None:
            return facts
        verdict = judge.check(program)
        return replace(facts, passes=verdict.passes) if verdict.is_judged else facts

    def _oracle_of(self, program: QuantumProgram, family: str) -> Oracle | None:
        """The one that is asked about a program as of the family; None where none is."""
        return oracle_for(family) if program.qubit_count <= self._recipe.oracle_qubits else None

    def no_circuit(self, index: int) -> ProgramFacts:
        """An identity of its own and nothing else."""
        return ProgramFacts(f"no program, item {index}", 0, is_circuit=False)

    def of_a_round(
        self, samples: Sequence[Sample[ProgramFacts]], circuits: Sequence[QuantumProgram]
    ) -> list[ProgramFacts]:
        """With what the reader takes each for, and how little a classifier, trained on the others of the round and on
        the training programs whose conditions they have, tells it from those.
        """
        if not samples:
            return []
        rows = np.array([sample.facts.numbers for sample in samples])
        looks: list[float | None] = [None] * len(samples)
        if self._reader is not None:
            told = self._reader.probabilities(rows, [sample.label for sample in samples])
            looks = [round(float(probability), 4) for probability in told]
        likeness: list[float | None] = [None] * len(samples)
        if min(len(samples), len(self._real)) >= _FEWEST_COMPARED:
            scores = boosting_scores(self._real, rows, self._recipe.seed)[len(self._real) :]
            likeness = [round(1 - float(score), 4) for score in scores]
        return [
            replace(sample.facts, family_probability=probability, likeness=like)
            for sample, probability, like in zip(samples, looks, likeness, strict=True)
        ]

    def worth(self, facts: ProgramFacts) -> float:
        """See `program_reward`."""
        return program_reward(facts, copy_distance=self._recipe.copy_distance)

    def figures(self, judged: Sequence[JudgedSample[ProgramFacts]]) -> ProgramFigures:
        """Of a judged round."""
        facts = [entry.sample.facts for entry in judged]
        common = round_figures(
            judged, is_copy=lambda f: is_copy(f, self._recipe.copy_distance), is_legal=lambda f: f.is_circuit
        )
        verdicts = [f.passes for f in facts if f.passes is not None]
        return ProgramFigures(
            **common,
            sound=mean([f.is_sound for f in facts]) or 0.0,
            right_family=right_share(f.family_probability for f in facts),
            likeness=mean([f.likeness for f in facts if f.likeness is not None]),
            judged=len(verdicts),
            passes=mean(verdicts),
            mean_statements=mean([f.statements for f in facts]) or 0.0,
        )


def _by_family(corpus: Sequence[Example[QuantumProgram]]) -> dict[str, list[QuantumProgram]]:
    """The programs without idle qubits, by family in order of name."""
    of_family: defaultdict[str, list[QuantumProgram]] = defaultdict(list)
    for example in corpus:
        of_family[example.label].append(compacted(example.circuit))
    return dict(sorted(of_family.items()))


def _numbers(program: QuantumProgram) -> tuple[float, ...]:
    """Its FEATURES, rounded alike whoever wrote it, so that nothing is told by its digits."""
    numbers = features(program)
    return tuple(round(numbers[name], _DIGITS) for name in FEATURES)


def _constraint(condition: Condition) -> ProgramConstraint:
    return ProgramConstraint(
        condition.family, condition.qubits, min_statements=condition.fewest, max_statements=condition.most
    )
