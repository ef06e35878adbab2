"""Parametrised circuits: hardware-efficient ansaetze, tensor networks, convolutional networks."""

from __future__ import annotations

import math
import random

from app.quantum.families._base import Build, Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.families._graphs import Edges, chain
from app.quantum.program import QuantumProgram

ENTANGLEMENTS = ("linear", "reverse_linear", "circular", "pairwise", "full", "sca")


def entangling_pairs(kind: str, size: int, layer: int) -> Edges:
    """Pairs of one layer, in Qiskit's words. `sca` shifts the circle by one each layer and turns it every other."""
    line = chain(size)
    if kind == "linear" or size == 2:
        return line
    if kind == "reverse_linear":
        return line[::-1]
    if kind == "circular":
        return ((size - 1, 0), *line)
    if kind == "pairwise":
        return line[::2] + line[1::2]
    if kind == "full":
        return tuple((a, b) for a in range(size) for b in range(a + 1, size))
    circle = ((size - 1, 0), *line)
    shift = layer % size
    shifted = circle[-shift:] + circle[:-shift]
    return tuple((b, a) for a, b in shifted) if layer % 2 else shifted


def _angle(rng: random.Random) -> float:
    return rng.uniform(-math.pi, math.pi)


def _layered(rotations: tuple[str, ...], entanglers: tuple[str, ...]) -> Build:
    """Layers of rotations and entanglers; with several entanglers, one is chosen for the program."""

    def build(size: int, rng: random.Random) -> QuantumProgram:
        pattern, layers = rng.choice(ENTANGLEMENTS), rng.choice((1, 2, 3, 3))
        entangler = rng.choice(entanglers)
        draft = Draft(size)
        for layer in range(layers + 1):
            for rotation in rotations:
                for qubit in range(size):
                    draft.gate(rotation, qubit, angle=_angle(rng))
            if layer == layers:
                break
            for a, b in entangling_pairs(pattern, size, layer):
                draft.gate(entangler, a, b, angle=_angle(rng) if entangler[:2] == "cr" else None)
        if rng.random() < 0.3:
            draft.measure_each(range(size))
        return draft.program()

    return build


def _excitation_preserving(size: int, rng: random.Random) -> QuantumProgram:
    pattern, layers = rng.choice(ENTANGLEMENTS), rng.choice((1, 2, 3))
    draft = Draft(size)
    for layer in range(layers + 1):
        for qubit in range(size):
            draft.gate("rz", qubit, angle=_angle(rng))
        if layer < layers:
            for a, b in entangling_pairs(pattern, size, layer):
                angle = _angle(rng)
                draft.gate("rxx", a, b, angle=angle)
                draft.gate("ryy", a, b, angle=angle)
    return draft.program()


def _brickwork(entangler: str) -> Build:
    def build(size: int, rng: random.Random) -> QuantumProgram:
        draft = Draft(size)
        for layer in range(rng.choice((2, 4, 6, 8))):
            for qubit in range(size):
                draft.gate("ry", qubit, angle=_angle(rng))
            for a in range(layer % 2 if size > 2 else 0, size - 1, 2):
                draft.gate(entangler, a, a + 1)
        for rotation in ("ry", "rz"):
            for qubit in range(size):
                draft.gate(rotation, qubit, angle=_angle(rng))
        return draft.program()

    return build


def _two_design(size: int, rng: random.Random) -> QuantumProgram:
    draft = Draft(size)
    draft.each("ry", range(size), math.pi / 4)
    layers = rng.choice((2, 3, 4))
    for layer in range(layers + 1):
        for qubit in range(size):
            draft.gate(rng.choice(("rx", "ry", "rz")), qubit, angle=_angle(rng))
        if layer < layers:
            for a, b in entangling_pairs("pairwise", size, layer):
                draft.gate("cz", a, b)
    return draft.program()


def _tree(size: int, rng: random.Random) -> QuantumProgram:
    """Each level joins neighbouring survivors of the level before."""
    draft = Draft(size, 1)
    alive = list(range(size))
    while len(alive) > 1:
        for qubit in alive:
            draft.gate("ry", qubit, angle=_angle(rng))
        pairs = list(zip(alive[::2], alive[1::2], strict=False))
        for a, b in pairs:
            draft.cx(a, b)
        alive = [b for _, b in pairs] + ([alive[-1]] if len(alive) % 2 else [])
    draft.gate("ry", alive[0], angle=_angle(rng))
    draft.measure(alive[0], 0)
    return draft.program()


def _convolve(draft: Draft, a: int, b: int, rng: random.Random) -> None:
    draft.gate("rz", b, angle=-math.pi / 2)
    draft.cx(b, a)
    draft.gate("rz", a, angle=_angle(rng))
    draft.gate("ry", b, angle=_angle(rng))
    draft.cx(a, b)
    draft.gate("ry", b, angle=_angle(rng))


def _qcnn(size: int, rng: random.Random) -> QuantumProgram:
    """Convolution of neighbours, then pooling into the second half, until one qubit is left."""
    draft = Draft(size)
    alive = list(range(size))
    while len(alive) > 1:
        pairs = list(zip(alive[::2], alive[1::2], strict=False)) + list(zip(alive[1::2], alive[2::2], strict=False))
        for a, b in pairs:
            _convolve(draft, a, b, rng)
            draft.cx(b, a)
            draft.gate("rz", a, angle=math.pi / 2)
        half = len(alive) // 2
        for a, b in zip(alive[:half], alive[-half:], strict=True):
            _convolve(draft, a, b, rng)
        alive = alive[half:]
    return draft.program()


def _hadamard_test(size: int, rng: random.Random) -> QuantumProgram:
    """The real or imaginary part of the expectation of a controlled circuit on a product state."""
    draft = Draft(size + 1, 1)
    draft.h(0)
    for qubit in range(1, size + 1):
        draft.gate("ry", qubit, angle=math.pi * rng.choice((0.125, 0.25, 1 / 3, 0.5)))
    if rng.random() < 0.5:
        draft.gate("sdg", 0)
    for qubit in range(1, size + 1):
        if rng.random() < 0.5:
            draft.gate(rng.choice(("cx", "cz")), 0, qubit)
        else:
            draft.gate(rng.choice(("crz", "cry")), 0, qubit, angle=math.pi * rng.choice((-0.5, -0.25, 0.25, 0.5)))
    draft.h(0)
    draft.measure(0, 0)
    return draft.program()


builder_groups.add(
    "variational",
    (
        Builder("vqe_real_amplitudes", "layered", _layered(("ry",), ("cx",)), ladder(2, 40), 8),
        Builder("vqe_efficient_su2", "layered", _layered(("ry", "rz"), ("cx",)), ladder(2, 40), 8),
        Builder("vqe_two_local", "layered", _layered(("ry",), ("cz", "cx")), ladder(2, 40), 4),
        Builder("vqe_n_local", "layered", _layered(("ry",), ("crx", "cry", "crz")), ladder(2, 40), 5),
        Builder("vqe_excitation_preserving", "layered", _excitation_preserving, ladder(2, 40), 5),
        Builder("vqe_brickwork", "cx", _brickwork("cx"), ladder(2, 40), 3),
        Builder("vqe_brickwork", "cz", _brickwork("cz"), ladder(2, 40), 3),
        Builder("pauli_two_design", "pairwise", _two_design, ladder(2, 40), 3),
        Builder("tree_tensor_network", "tree", _tree, ladder(2, 127), 2),
        Builder("qcnn", "convolution", _qcnn, ladder(2, 40), 2),
        Builder("hadamard_test", "product", _hadamard_test, ladder(2, 127), 2),
    ),
)
