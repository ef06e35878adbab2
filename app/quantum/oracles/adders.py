"""Adders: programs that take basis states to basis states, one register to its sum with another.

Which qubits are the addends, which the carries and which the helpers is read from what the program does to single bits
and pairs of them; then sums of random numbers are compared. Helpers are zero before and after.

Reference:
    [draper2000addition] for the adders in the Fourier basis; the others are reversible logic.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.quantum.oracles._base import FIDELITY, Oracle, OracleVerdict, oracles, statevector
from app.quantum.program import Operation, QuantumProgram
from app.quantum.simulation import images, outline

#: How many sums of random numbers are compared; all there are where they are fewer.
SUMS = 64

#: Largest difference between the phases of two sums, as a chord of the unit circle.
_PHASE = 0.1


@dataclass(frozen=True, slots=True)
class _Wiring:
    """Where an adder's numbers are: qubits of the addend and of the sum from the least significant, and the carry in.

    The sum may have one bit more than the addend: the carry out.
    """

    addend: tuple[int, ...]
    sum: tuple[int, ...]
    carry_in: int | None

    @property
    def qubit_count(self) -> int:
        """How many qubits hold numbers; all others are helpers."""
        return len(self.addend) + len(self.sum) + (self.carry_in is not None)


class _Map:
    """What a program makes of basis states, with its outputs where its measurements say that they are."""

    def __init__(self, program: QuantumProgram, steps: Sequence[Operation], read: Mapping[int, int]) -> None:
        self._count = program.qubit_count
        self._steps = steps
        self._from = list(range(self._count))
        # Where every qubit is measured, the order of the classical bits is that of the qubits as they came in.
        if sorted(read.values()) == self._from:
            self._from = [qubit for _, qubit in sorted(read.items())]

    def __call__(self, inputs: Sequence[int]) -> list[tuple[int, complex] | None]:
        """The output and its phase for each input; None where the output is no basis state."""
        found = images(self._count, self._steps, inputs)
        return [
            (sum((image.value >> source & 1) << qubit for qubit, source in enumerate(self._from)), image.amplitude)
            if abs(image.amplitude) ** 2 >= FIDELITY
            else None
            for image in found
        ]

    def values(self, inputs: Sequence[int]) -> list[int | None]:
        """The outputs alone."""
        return [None if found is None else found[0] for found in self(inputs)]


def _mapped(program: QuantumProgram) -> _Map | None:
    plan = outline(program)
    return _Map(program, plan.steps, plan.read) if plan.is_static else None


_NO_MAP = "it measures, resets or decides in its middle, so it is no map of numbers"


def _adder(program: QuantumProgram) -> OracleVerdict:
    mapped = _mapped(program)
    if mapped is None:
        return statevector(False, _NO_MAP)
    wiring = _wiring(mapped, program.qubit_count)
    if wiring is None:
        return statevector(False, "no two registers are found of which it adds one to the other")
    helpers = program.qubit_count - wiring.qubit_count
    if helpers > max(1, len(wiring.addend) - 1):
        said = f"it adds numbers of {len(wiring.addend)} bits, for which {helpers} more qubits are too many helpers"
        return statevector(False, said)
    rng = random.Random(program.qubit_count)
    addends = len(wiring.addend) + (wiring.carry_in is not None)
    inputs, outputs = [], []
    for choice in _choices(2 ** (addends + len(wiring.sum)), rng):
        a = choice % 2 ** len(wiring.addend)
        carry = choice >> len(wiring.addend) & 1 if wiring.carry_in is not None else 0
        b = choice >> addends
        rest = _spread(a, wiring.addend) | (carry << wiring.carry_in if wiring.carry_in is not None else 0)
        inputs.append(rest | _spread(b, wiring.sum))
        outputs.append(rest | _spread((a + b + carry) % 2 ** len(wiring.sum), wiring.sum))
    named = f"numbers of {len(wiring.addend)} bits, modulo 2**{len(wiring.sum)}"
    return _compared(mapped, inputs, outputs, f"sums of {named}")


def _constant_adder(program: QuantumProgram) -> OracleVerdict:
    """The least significant qubit is the first or the last."""
    mapped = _mapped(program)
    if mapped is None:
        return statevector(False, _NO_MAP)
    size = program.qubit_count
    constant = mapped.values([0])[0]
    if constant is None:
        return statevector(False, "it does not take zero to a basis state")
    if constant == 0:
        return statevector(False, "it takes zero to zero, so it adds nothing")
    verdict = statevector(False, "its register has no order")
    for places in (range(size), range(size)[::-1]):
        added = sum((constant >> qubit & 1) << place for place, qubit in enumerate(places))
        numbers = _choices(2**size, random.Random(size))
        inputs = [_spread(number, places) for number in numbers]
        outputs = [_spread((number + added) % 2**size, places) for number in numbers]
        verdict = _compared(mapped, inputs, outputs, f"sums of a number of {size} bits and {added}")
        if verdict.passes:
            break
    return verdict


def _compared(mapped: _Map, inputs: Sequence[int], outputs: Sequence[int], of_what: str) -> OracleVerdict:
    found = mapped(inputs)
    wrong = sum(image is None or image[0] != output for image, output in zip(found, outputs, strict=True))
    if wrong:
        return statevector(False, f"{wrong} of {len(inputs)} {of_what} are wrong")
    phases = [image[1] for image in found if image is not None]
    if max(abs(phase - phases[0]) for phase in phases) > _PHASE:
        return statevector(False, f"all {len(inputs)} {of_what} are right, but their phases differ")
    return statevector(True, f"all {len(inputs)} {of_what} are right")


def _choices(count: int, rng: random.Random) -> list[int]:
    return list(range(count)) if count <= SUMS else [rng.randrange(count) for _ in range(SUMS)]


def _spread(number: int, qubits: Iterable[int]) -> int:
    """The basis state that holds the number on these qubits, the least significant first."""
    return sum((number >> place & 1) << qubit for place, qubit in enumerate(qubits))


def _wiring(mapped: _Map, count: int) -> _Wiring | None:
    """Where the numbers are, if the program treats single bits and pairs of them as an adder does.

    A bit of the addend alone is copied to its place in the sum. Both ones leave the place empty and go to the next.
    """
    zero, *singles = mapped.values([0, *(1 << qubit for qubit in range(count))])
    if zero != 0:
        return None
    candidates: dict[int, list[int]] = {}
    for qubit, output in enumerate(singles):
        copied = 0 if output is None else output ^ 1 << qubit
        if copied.bit_count() == 1 and not copied >> qubit & 1:
            candidates.setdefault(copied.bit_length() - 1, []).append(qubit)
    pairs = [(qubit, place) for place, qubits in candidates.items() for qubit in qubits]
    carried = dict(zip(pairs, mapped.values([1 << qubit | 1 << place for qubit, place in pairs]), strict=True))
    above: dict[int, int | None] = {}
    for (qubit, place), output in carried.items():
        is_carried = output is not None and output >> qubit & 1 and not output >> place & 1
        if output is None or not is_carried:
            candidates[place].remove(qubit)
            continue
        left = output ^ 1 << qubit
        if left.bit_count() <= 1:
            above.setdefault(place, left.bit_length() - 1 if left else None)
    places = {place for place, qubits in candidates.items() if qubits}
    lowest = places - set(above.values())
    if len(lowest) != 1:
        return None
    order: list[int] = []
    highest: int | None = lowest.pop()
    while highest is not None and highest not in order:
        order.append(highest)
        highest = above.get(highest)
    if not places <= set(order):
        return None
    return _addends(mapped, order, candidates)


def _addends(mapped: _Map, order: Sequence[int], candidates: Mapping[int, Sequence[int]]) -> _Wiring | None:
    """Which qubit is added at each place. Two at the lowest are a bit and the carry in, in either order.

    A helper may look like a bit of the addend while no carry comes from below; it does not when one does.
    """
    first = candidates[order[0]]
    if len(first) > 2:
        return None
    addend = [first[-1]]
    for below, place in pairwise(order):
        if not candidates.get(place):
            break
        both = 1 << addend[-1] | 1 << below
        kept = [
            qubit
            for qubit, output in zip(
                candidates[place], mapped.values([both | 1 << qubit for qubit in candidates[place]]), strict=True
            )
            if output is not None and output == (1 << addend[-1] | 1 << qubit | _next(order, place))
        ]
        if len(kept) != 1:
            return None
        addend.append(kept[0])
    return _Wiring(tuple(addend), tuple(order), first[0] if len(first) == 2 else None)


def _next(order: Sequence[int], place: int) -> int:
    """The basis state of the place above alone; zero where there is none."""
    position = order.index(place) + 1
    return 1 << order[position] if position < len(order) else 0


for _family in ("adder_cdkm", "adder_draper", "adder_half", "adder_modular", "adder_vbe"):
    oracles.add(_family, Oracle("adds one register of bits to another, helpers aside", _adder))
oracles.add("adder_qft_const", Oracle("adds a constant to its register", _constant_adder))
