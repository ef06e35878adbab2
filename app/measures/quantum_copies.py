"""How near a program is to those that a model was trained on: equal up to angles, equal, or nearly equal.

Programs are compared by their skeletons, qubits and classical bits renumbered by first use. The programs themselves
are needed, unlike in `novelty`, which knows hashes alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from app.quantum.gates import GATES
from app.quantum.program import QuantumProgram
from app.quantum.skeleton import skeleton_hash, skeleton_statements

#: A program less far than this from a training program is a near copy of it.
NEAR = 0.05

#: Angles that differ by no more than this, in radians and up to the gate's period, are the same to four decimals.
SAME_ANGLE = 1.5e-4


@dataclass(frozen=True, slots=True)
class Nearness:
    """`is_copy`: some training program has this skeleton; `is_strict_copy`: and these angles.

    `distance` is that of `KnownPrograms.nearness`, 0..1.
    """

    is_copy: bool
    is_strict_copy: bool
    distance: float


class KnownPrograms:
    """The training programs, by skeleton and by family and width. Safe to ask from many threads."""

    def __init__(self, programs: Iterable[tuple[str, QuantumProgram]]) -> None:
        """From (family, program) of each."""
        self._angles: defaultdict[str, list[tuple[float, ...]]] = defaultdict(list)
        self._alike: defaultdict[tuple[str, int], list[tuple[Hashable, ...]]] = defaultdict(list)
        for family, program in programs:
            self._angles[skeleton_hash(program)].append(_angles(program))
            self._alike[family, program.qubit_count].append(skeleton_statements(program))

    def __len__(self) -> int:
        return sum(map(len, self._angles.values()))

    def nearness(self, program: QuantumProgram, family: str) -> Nearness:
        """Of a program that was asked for as of the family.

        The distance is ``1 - common / longer``: statements of the longest common subsequence of its skeleton and that
        of the nearest training program of the same family and width, over those of the longer one. It is 1 where there
        is no such program.
        """
        known = self._angles.get(skeleton_hash(program), [])
        is_strict = any(_has_angles(program, angles) for angles in known)
        return Nearness(bool(known), is_strict, self._distance(program, family))

    def _distance(self, program: QuantumProgram, family: str) -> float:
        own = skeleton_statements(program)
        nearest = 1.0
        for other in self._alike.get((family, program.qubit_count), ()):
            shorter, longer = sorted((len(own), len(other)))
            if longer and 1 - shorter / longer < nearest:
                nearest = min(nearest, 1 - common_length(own, other) / longer)
        return nearest


def common_length(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """How long the longest common subsequence is.

    Reference:
        [hyyro2004bit] Figure 2: a row of the table as the bits of one number.
    """
    places: defaultdict[Hashable, int] = defaultdict(int)
    for place, item in enumerate(first):
        places[item] |= 1 << place
    everything = (1 << len(first)) - 1
    row = everything
    for item in second:
        found = row & places.get(item, 0)
        row = ((row + found) | (row - found)) & everything
    return len(first) - row.bit_count()


def _angles(program: QuantumProgram) -> tuple[float, ...]:
    return tuple(angle for op in program.operations for angle in op.angles)


def _has_angles(program: QuantumProgram, angles: tuple[float, ...]) -> bool:
    """Whether these are the program's angles, each up to the period of its gate. The skeleton is the program's."""
    periods = (GATES[op.name].angle_period_pi * math.pi for op in program.operations for _ in op.angles)
    return all(
        abs(math.remainder(own - other, period)) <= SAME_ANGLE
        for own, other, period in zip(_angles(program), angles, periods, strict=True)
    )
