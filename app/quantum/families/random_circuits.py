"""Circuits that are random by design, and mirror circuits, whose right output is known at any size.

Reference:
    [proctor2022measuring] for mirror circuits, [bremner2011classical] for IQP, [arute2019supremacy] for grids,
    [magesan2011scalable] for benchmarking.
"""

from __future__ import annotations

import math
import random

from app.quantum.families._base import Build, Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.gates import GATES
from app.quantum.program import Operation, QuantumProgram

_CLIFFORDS = ("h", "s", "sdg", "x", "y", "z")
_GATES = ("h", "t", "s", "x", "rx", "ry", "rz", "u3", "cx", "cz", "cp", "swap", "rzz", "ccx")


def _pairs(size: int, rng: random.Random) -> list[tuple[int, int]]:
    qubits = list(range(size))
    rng.shuffle(qubits)
    return list(zip(qubits[::2], qubits[1::2], strict=False))


def _clifford(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size)
    for _ in range(rng.choice((1, 2, 4, 8))):
        for qubit in range(size):
            draft.gate(rng.choice(_CLIFFORDS), qubit)
        for a, b in _pairs(size, rng):
            draft.gate(rng.choice(("cx", "cz")), a, b)
    return draft.program()


def _iqp(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size)
    draft.h(*range(size))
    for qubit in range(size):
        draft.gate("p", qubit, angle=math.pi / 4 * rng.randint(1, 7))
    for a in range(size):
        for b in range(a + 1, size):
            if rng.random() < min(1.0, 4 / size):
                draft.gate("cp", a, b, angle=math.pi / 2 * rng.randint(1, 3))
    draft.h(*range(size))
    return draft.program()


def _mirror(base: str) -> Build:
    """A circuit, then its inverse: all qubits come back to zero."""

    def build(size: int, rng: random.Random) -> QuantumProgram:
        draft = Draft(size)
        for _ in range(rng.choice((1, 2, 3, 4))):
            for qubit in range(size):
                if base == "clifford":
                    draft.gate(rng.choice(_CLIFFORDS), qubit)
                else:
                    draft.gate(rng.choice(("rx", "ry", "rz")), qubit, angle=rng.uniform(-math.pi, math.pi))
            for a, b in _pairs(size, rng):
                draft.gate("cz" if base == "clifford" else "cx", a, b)
        end = len(draft.operations)
        draft.barrier()
        draft.undo(0, end)
        draft.barrier()
        draft.measure_each(range(size))
        return draft.program()

    return build


def _permutation(size: int, rng: random.Random) -> QuantumProgram:
    order = list(range(size))
    rng.shuffle(order)
    draft = Draft(size)
    draft.h(*range(size))
    for qubit in range(size):
        while order[qubit] != qubit:
            other = order[qubit]
            draft.gate("swap", qubit, other)
            order[qubit], order[other] = order[other], other
    return draft.program()


def _random(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size)
    for qubit in range(size):
        draft.gate(rng.choice(("h", "x", "sx")), qubit)
    for _ in range(size * rng.choice((1, 2, 4))):
        gate = GATES[rng.choice(_GATES)]
        if gate.qubit_count <= size:
            qubits = rng.sample(range(size), gate.qubit_count)
            draft.gate(gate.name, *qubits, angles=[rng.uniform(-math.pi, math.pi) for _ in range(gate.angle_count)])
    draft.measure_each(range(size))
    return draft.program()


def _grid(size: int, rng: random.Random) -> QuantumProgram:
    """Cycles of random square roots and of one of four patterns of two-qubit gates on a grid `size` wide."""
    width, height = size, rng.choice((size, size, max(2, size - 1)))
    qubits = width * height
    gate = rng.choice(("cz", "iswap"))
    patterns = [
        [
            (row * width + column, (row + is_down) * width + column + 1 - is_down)
            for row in range(height - is_down)
            for column in range(width - 1 + is_down)
            if (row + column) % 2 == parity
        ]
        for is_down in (0, 1)
        for parity in (0, 1)
    ]
    draft = Draft(qubits)
    if rng.random() < 0.5:
        draft.h(*range(qubits))
    last = [""] * qubits
    for cycle in range(rng.choice((3, 4, 6, 8, 12))):
        for qubit in range(qubits):
            last[qubit] = rng.choice([name for name in ("sx", "ry", "t") if name != last[qubit]])
            draft.gate(last[qubit], qubit, angles=(math.pi / 2,) * (last[qubit] == "ry"))
        for a, b in patterns[(0, 2, 1, 3)[cycle % 4]]:
            draft.gate(gate, a, b)
    draft.measure_each(range(qubits))
    return draft.program()


def _cnot_network(size: int, rng: random.Random) -> QuantumProgram:
    """A random invertible linear map of bits."""
    draft = Draft(size)
    if rng.random() < 0.5:
        draft.h(*range(size))
    for a, b in _pairs(size, rng):
        draft.cx(a, b)
    for _ in range(size * rng.choice((1, 2, 4))):
        draft.cx(*rng.sample(range(size), 2))
    return draft.program()


#: What a gate makes of each Pauli that passes it.
_PASSED = {"h": {"X": "Z", "Y": "-Y", "Z": "X"}, "s": {"X": "Y", "Y": "-X", "Z": "Z"}}

_Frame = tuple[str, str]


def _passed(frame: _Frame, word: str) -> _Frame:
    """What X and Z, already become the two Paulis of the frame, become after the gates of the word."""
    for letter in word:
        images = [("-" * (image[0] == "-"), _PASSED[letter][image[-1]]) for image in frame]
        first, second = (("-" * ((sign + pauli).count("-") % 2)) + pauli[-1] for sign, pauli in images)
        frame = first, second
    return frame


def _clifford_words() -> list[str]:
    """A shortest word of ``h`` and ``s`` for each of the 24 Cliffords of one qubit, the identity first."""
    words: dict[_Frame, str] = {("X", "Z"): ""}
    queue = [("X", "Z")]
    for frame in queue:
        for letter in _PASSED:
            reached = _passed(frame, letter)
            if reached not in words:
                words[reached] = words[frame] + letter
                queue.append(reached)
    return list(words.values())


def _randomized_benchmarking(size: int, rng: random.Random) -> QuantumProgram:
    """Random Cliffords on every qubit at once, and after them the one that takes each qubit back to zero."""
    words = _clifford_words()
    draft = Draft(size)
    done = [""] * size
    for _ in range(rng.choice((1, 2, 4, 6, 8))):
        for qubit in range(size):
            word = rng.choice(words[1:])
            draft.operations += [Operation(letter, (qubit,)) for letter in word]
            done[qubit] += word
        draft.barrier()
    for qubit, word in enumerate(done):
        frame = _passed(("X", "Z"), word)
        back = next(word for word in words if _passed(frame, word) == ("X", "Z"))
        draft.operations += [Operation(letter, (qubit,)) for letter in back]
    draft.measure_each(range(size))
    return draft.program()


builder_groups.add(
    "random_circuits",
    (
        Builder("clifford", "layers", _clifford, ladder(2, 48), 3, "random"),
        Builder("iqp", "sparse", _iqp, ladder(2, 48), 2, "random"),
        Builder("permutation", "swaps", _permutation, ladder(4, 40), 2, "random"),
        Builder("random", "gates", _random, ladder(2, 40), 3, "random"),
        Builder("random_grid", "cycles", _grid, (2, 3, 4, 5, 6, 7, 8), 8, "random"),
        Builder("cnot_network", "random", _cnot_network, ladder(2, 40), 2, "random"),
        Builder("randomized_benchmarking", "single_qubit", _randomized_benchmarking, ladder(1, 32), 2, "random"),
        Builder("mirror", "clifford", _mirror("clifford"), ladder(2, 48), 3, few=ladder(2, 10)),
        Builder("mirror", "rotations", _mirror("rotations"), ladder(2, 48), 3, few=ladder(2, 10)),
    ),
)
