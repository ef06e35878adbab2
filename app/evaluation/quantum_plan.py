"""Which programs an evaluation of the quantum generator looks at. Makes no samples; what they stand beside, it makes.

Every sample has the condition of one real program that the model has not seen: its family, its qubits, and a bucket
of its number of statements. Sample `j` of a seed has that of program `j`, and of the first again after the last, so a
larger count adds samples and changes none.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from app.errors import CorpusMissing, InvalidInput
from app.evaluation.line_chain import LineChain
from app.evaluation.notes import Key
from app.measures.novelty import TrainingIndex
from app.quantum.corpus import CorpusProgram
from app.quantum.coupling import coupling_map
from app.quantum.program import QuantumProgram, compacted
from app.quantum.qasm import parse_qasm2
from app.quantum.qiskit_random import random_program
from app.quantum.skeleton import skeleton_hash
from app.tokens.qasm_domain import BOUNDS, MAX_STATEMENTS, bucket, least_of

#: Where a program is from. Sampled under conditions with the grammar and without it; with a gate set and a coupling map
#: on top; with a depth on top; without the family; and the best of several draws by an oracle. Or real: unseen, and a
#: sample of the training programs. Or made by something else: Qiskit's random circuits, a chain of lines.
Side = Literal[
    "generated", "bare", "restricted", "deep", "unlabelled", "verified", "real", "training", "random", "line_chain"
]  # fmt: skip

SAMPLED: tuple[Side, ...] = ("generated", "bare", "restricted", "deep", "unlabelled", "verified")
GIVEN: tuple[Side, ...] = ("real", "training", "random", "line_chain")

#: Sides whose programs are tried by an oracle.
JUDGED: frozenset[Side] = frozenset({"generated", "unlabelled", "verified", "real"})

#: An oracle is asked about programs on at most so many qubits.
ORACLE_QUBITS = 10

#: Draws of a sample that is to pass its oracle.
ATTEMPTS = 8

#: Samples of a seed with a gate set and a coupling map, and what those are; and samples with a depth.
RESTRICTED = 200
GATE_SET = ("rz", "sx", "x", "cx")
COUPLINGS: tuple[Literal["line", "grid", "heavy_hex"], ...] = ("line", "grid", "heavy_hex")

_SEED = 0


@dataclass(frozen=True, slots=True)
class Condition:
    """What a sample is asked for: its family, qubits, and fewest and most statements.

    `depth` is that of the real program with this condition, in the bucket from `shallowest` to `deepest`. It is asked
    for on one side only, and compared with on all.
    """

    family: str
    qubits: int
    fewest: int
    most: int
    depth: int
    shallowest: int
    deepest: int

    @classmethod
    def of(cls, family: str, program: QuantumProgram) -> Condition:
        """The condition of a program, in the buckets that the language declares."""
        fewest, end = _bucket(len(program.operations))
        most = min(MAX_STATEMENTS, max(end, program.qubit_count))
        shallowest, deepest = _bucket(max(1, program.depth))
        return cls(family, program.qubit_count, fewest, most, program.depth, shallowest, deepest)

    def fields(self) -> dict[str, Any]:
        """What a request says of it."""
        return {"family": self.family, "qubits": self.qubits, "min_gates": self.fewest, "max_gates": self.most}

    def is_kept(self, program: QuantumProgram) -> bool:
        """Whether the program is so wide and so long. The family is not told by looking."""
        return program.qubit_count == self.qubits and self.fewest <= len(program.operations) <= self.most


def _bucket(count: int) -> tuple[int, int]:
    """The least and the greatest number of the bucket that a number from 1 up is in."""
    number = bucket(count)
    return max(1, least_of(number)), BOUNDS[number]


@dataclass(frozen=True, slots=True)
class Item:
    """One program to look at: where it is from and its condition. A given one comes with its text.

    `program` is None where there is no such program, because the text is none.
    """

    side: Side
    seed: int
    index: int
    condition: Condition
    program: QuantumProgram | None = None
    text: str | None = None

    @property
    def key(self) -> Key:
        """What tells it from every other one."""
        return self.side, self.seed, self.index

    @property
    def coupling(self) -> tuple[tuple[int, int], ...] | None:
        """The pairs that may interact, where the side restricts them; the named maps take turns."""
        if self.side != "restricted":
            return None
        return coupling_map(COUPLINGS[self.index % len(COUPLINGS)], self.condition.qubits)

    def fields(self) -> dict[str, Any]:
        """What a request for the sample says."""
        fields = self.condition.fields() | {"grammar": self.side != "bare", "seed": self.seed}
        if self.side == "restricted":
            fields |= {"gate_set": GATE_SET, "coupling_map": COUPLINGS[self.index % len(COUPLINGS)]}
        if self.side == "deep":
            fields |= {"min_depth": self.condition.shallowest, "max_depth": self.condition.deepest}
        if self.side == "unlabelled":
            del fields["family"]
        if self.side == "verified":
            return fields | {"verify": True, "attempts": ATTEMPTS}
        return fields | {"validate": False}

    def is_kept(self, program: QuantumProgram) -> bool:
        """Whether the program is as asked for in everything that can be told by looking."""
        if not self.condition.is_kept(program):
            return False
        pairs = self.coupling
        if pairs is None:
            return True
        allowed = {frozenset(pair) for pair in pairs}
        wide = [op for op in program.operations if op.name != "barrier" and len(op.qubits) > 1]
        return set(program.gates_used) <= set(GATE_SET) and all(frozenset(op.qubits) in allowed for op in wide)


@dataclass(frozen=True)
class Programs:
    """Real programs by what a model has seen of them: not at all, or in training. All without idle qubits."""

    unseen: tuple[tuple[str, QuantumProgram], ...]
    known: tuple[tuple[str, QuantumProgram], ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


#: Tokens of a program's sentence as of a family; None where the language cannot write it.
Length = Callable[[QuantumProgram, str], int | None]


def sort_programs(
    corpus: Sequence[CorpusProgram], index: TrainingIndex | None, length: Length, context: int
) -> Programs:
    """The corpus sorted by what the model has seen, in an order drawn once.

    Programs are compared as OpenQASM 2, so those with conditions are left out. Unseen are programs whose skeleton is
    not in the index of the training programs, that the model could write, and that are not random by design. Without an
    index nothing is known, and all programs count as unseen. The model writes sentences of at most `context` tokens.
    """
    unseen, known = [], []
    left_out: Counter[str] = Counter()
    for entry in corpus:
        program = compacted(entry.program)
        if program.is_dynamic:
            left_out["with gates that hang on measured bits"] += 1
        elif index is not None and index.knows(skeleton_hash(program)):
            known.append((entry.family, program))
        elif entry.kind == "random":
            left_out["random by design"] += 1
        elif not 0 < (length(program, entry.family) or 0) <= context:
            left_out["longer than the model writes, or outside its language"] += 1
        else:
            unseen.append((entry.family, program))
    rng = random.Random(_SEED)
    rng.shuffle(unseen)
    return Programs(tuple(unseen), tuple(known), dict(left_out))


@dataclass(frozen=True)
class QuantumPlan:
    """How many programs.

    Args:
        count: Samples of each seed, and at most as many real programs.
        seeds: Of the samples.
        programs: Real programs, sorted.
        has_oracle: Whether anything can tell if a program of the family is one.
    """

    count: int
    seeds: tuple[int, ...]
    programs: Programs
    has_oracle: Callable[[str], bool]

    def __post_init__(self) -> None:
        """There is a real program to copy conditions from, else CorpusMissing."""
        if not self.programs.unseen:
            raise CorpusMissing(
                "no program of the corpus is unseen by the model and short enough for it; name another with --source"
            )

    @cached_property
    def real(self) -> tuple[tuple[str, QuantumProgram], ...]:
        """The unseen programs, at most `count`, with their families."""
        return self.programs.unseen[: self.count]

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """Of each real program."""
        return tuple(Condition.of(family, program) for family, program in self.real)

    @cached_property
    def training(self) -> tuple[tuple[str, QuantumProgram] | None, ...]:
        """For each real program a training program of its family, none twice; None where there is none left."""
        by_family: defaultdict[str, list[QuantumProgram]] = defaultdict(list)
        for family, program in self.programs.known:
            by_family[family].append(program)
        for family, programs in sorted(by_family.items()):
            random.Random(f"{_SEED} {family}").shuffle(programs)
        return tuple((family, by_family[family].pop()) if by_family[family] else None for family, _ in self.real)

    def items(self) -> tuple[Item, ...]:
        """Everything to look at: what is given, then a seed's samples after the other's."""
        return (*self._given(), *(item for seed in self.seeds for item in self._sampled(seed)))

    def _sampled(self, seed: int) -> list[Item]:
        places = range(len(self.conditions))
        numbers: dict[Side, Sequence[int]] = {
            "generated": range(self.count),
            "bare": range(self.count),
            "restricted": range(min(self.count, RESTRICTED)),
            "deep": range(min(self.count, RESTRICTED)),
            "unlabelled": [place for place in places if self.is_judged(self.conditions[place])],
            "verified": [place for place in places if self.is_judged(self.conditions[place])],
        }
        return [
            Item(side, seed, number, self.conditions[number % len(self.conditions)])
            for side, own in numbers.items()
            for number in own
        ]

    def is_judged(self, condition: Condition) -> bool:
        """Whether an oracle is asked about programs of the condition."""
        return condition.qubits <= ORACLE_QUBITS and self.has_oracle(condition.family)

    def _given(self) -> list[Item]:
        sides: dict[Side, tuple[tuple[str, QuantumProgram] | None, ...]] = {
            "real": self.real,
            "training": self.training,
        }
        items = [
            Item(side, 0, index, Condition.of(*labelled), labelled[1])
            for side, programs in sides.items()
            for index, labelled in enumerate(programs)
            if labelled is not None
        ]
        for index, condition in enumerate(self.conditions):
            statements = len(self.real[index][1].operations)
            items.append(Item("random", 0, index, condition, random_program(condition.qubits, statements, index)))
        if self.programs.known:
            items += self._chained(LineChain(program for _, program in self.programs.known))
        return items

    def _chained(self, chain: LineChain) -> list[Item]:
        items = []
        for index, condition in enumerate(self.conditions):
            text = chain.text(condition.qubits, random.Random(f"{_SEED} {index}"))
            items.append(Item("line_chain", 0, index, condition, _program_of(text), text))
        return items

    def digest(self) -> str:
        """Tells one set of programs, in the plan's order, from another."""
        told = (f"{family} {skeleton_hash(program)}" for side in (self.programs.unseen, self.programs.known)
                for family, program in side)  # fmt: skip
        return hashlib.sha256(" ".join(told).encode()).hexdigest()[:16]


def _program_of(text: str) -> QuantumProgram | None:
    try:
        return parse_qasm2(text)
    except InvalidInput:
        return None
