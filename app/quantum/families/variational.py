"""Parametrised circuits: hardware-efficient ansaetze, tensor networks, convolutional networks.

Reference:
    [perezsalinas2020data] for data that enter again, [vidal2008mera] for the network of renormalisation.
"""

from __future__ import annotations

import math
import random

from app.quantum.families._base import Build, Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.families._graphs import Edges, chain
from app.quantum.gates import GATES
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
        pattern, layers = rng.choice(ENTANGLEMENTS), rng.choice((1, 2, 3, 3, 4))
        entangler = rng.choice(entanglers)
        has_barriers, has_last_rotations = rng.random() < 0.15, rng.random() < 0.85
        draft = Draft(size)
        for layer in range(layers + 1):
            for rotation in rotations:
                for qubit in range(size):
                    draft.gate(rotation, qubit, angle=_angle(rng))
            if layer == layers:
                break
            if has_barriers:
                draft.barrier()
            for a, b in entangling_pairs(pattern, size, layer):
                draft.gate(entangler, a, b, angle=_angle(rng) if entangler[:2] == "cr" else None)
            if has_barriers:
                draft.barrier()
            if layer + 1 == layers and not has_last_rotations:
                break
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
        has_barriers, is_measured = rng.random() < 0.15, rng.random() < 0.3
        for layer in range(rng.choice((2, 3, 4, 5, 6, 8))):
            for qubit in range(size):
                draft.gate("ry", qubit, angle=_angle(rng))
            for a in range(layer % 2 if size > 2 else 0, size - 1, 2):
                draft.gate(entangler, a, a + 1)
            if has_barriers:
                draft.barrier()
        for rotation in ("ry", "rz"):
            for qubit in range(size):
                draft.gate(rotation, qubit, angle=_angle(rng))
        if is_measured:
            draft.measure_each(range(size))
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
    entangler = rng.choice(("cx", "cx", "cz"))
    while len(alive) > 1:
        for qubit in alive:
            draft.gate("ry", qubit, angle=_angle(rng))
        pairs = list(zip(alive[::2], alive[1::2], strict=False))
        for a, b in pairs:
            draft.gate(entangler, a, b)
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
    if rng.random() < 0.5:
        draft.measure_each(alive)
    return draft.program()


def _hardware_efficient(size: int, rng: random.Random) -> QuantumProgram:
    """Layers of general rotations and a ring, a line or a brick wall of some machine's two-qubit gate."""
    rotations = rng.choice((("u3",), ("rx", "rz"), ("rz", "rx", "rz"), ("u2",), ("r",)))
    entangler, pattern = rng.choice(("cz", "cx", "iswap", "ecr", "rzz", "cp", "dcx")), rng.choice(ENTANGLEMENTS[:4])
    draft = Draft(size)
    layers = rng.choice((1, 2, 3, 4))
    for layer in range(layers + 1):
        for rotation in rotations:
            for qubit in range(size):
                draft.gate(rotation, qubit, angles=[_angle(rng) for _ in range(GATES[rotation].angle_count)])
        if layer < layers:
            for a, b in entangling_pairs(pattern, size, layer):
                draft.gate(entangler, a, b, angles=[_angle(rng) for _ in range(GATES[entangler].angle_count)])
    if rng.random() < 0.4:
        draft.measure_each(range(size))
    return draft.program()


def _data_reuploading(size: int, rng: random.Random) -> QuantumProgram:
    """The same data enter again before each trained layer."""
    data = [_angle(rng) for _ in range(size)]
    writer, pattern = rng.choice(("rx", "rz", "ry")), rng.choice(("linear", "circular", "pairwise"))
    entangler = rng.choice(("cx", "cz"))
    draft = Draft(size)
    if writer == "rz":
        draft.h(*range(size))
    for layer in range(rng.choice((2, 3, 4, 5))):
        for qubit in range(size):
            draft.gate(writer, qubit, angle=data[qubit])
        for qubit in range(size):
            draft.gate("u", qubit, angles=[_angle(rng) for _ in range(3)])
        for a, b in entangling_pairs(pattern, size, layer):
            draft.gate(entangler, a, b)
    draft.measure_each(range(size if rng.random() < 0.5 else 1))
    return draft.program()


def _matrix_product_state(size: int, rng: random.Random) -> QuantumProgram:
    """A staircase of two-qubit blocks, one qubit further each time, once or a few times over."""
    draft = Draft(size)
    for _ in range(rng.choice((1, 1, 2, 3))):
        for first in range(size - 1):
            _block(draft, first, first + 1, rng)
    if rng.random() < 0.4:
        draft.measure_each(range(size))
    return draft.program()


def _block(draft: Draft, a: int, b: int, rng: random.Random) -> None:
    draft.gate("ry", a, angle=_angle(rng))
    draft.gate("ry", b, angle=_angle(rng))
    draft.cx(a, b)
    draft.gate("ry", a, angle=_angle(rng))
    draft.gate("rz", b, angle=_angle(rng))


def _renormalization(size: int, rng: random.Random) -> QuantumProgram:
    """From few qubits to all: each level adds a qubit beside each one, then disentangles neighbours of two pairs."""
    draft = Draft(size)
    step = 1
    while step < size:
        step *= 2
    while step > 1:
        half = step // 2
        for first in range(0, size - half, step):
            _block(draft, first, first + half, rng)
        for first in range(half, size - half, step):
            _block(draft, first, first + half, rng)
        step = half
    if rng.random() < 0.4:
        draft.measure_each(range(size))
    return draft.program()


def _hadamard_test(size: int, rng: random.Random) -> QuantumProgram:
    """The real or imaginary part of the expectation of a controlled circuit on a product state."""
    draft = Draft(size + 1, 1, registers=(1, size))
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
    return draft.program(rng)


builder_groups.add(
    "variational",
    (
        Builder("vqe_real_amplitudes", "layered", _layered(("ry",), ("cx",)), ladder(2, 48), 20),
        Builder("vqe_efficient_su2", "layered", _layered(("ry", "rz"), ("cx",)), ladder(2, 48), 20),
        Builder("vqe_two_local", "layered", _layered(("ry",), ("cz", "cx")), ladder(2, 40), 6),
        Builder("vqe_n_local", "layered", _layered(("ry",), ("crx", "cry", "crz")), ladder(2, 40), 8),
        Builder("vqe_excitation_preserving", "layered", _excitation_preserving, ladder(2, 40), 7),
        Builder("vqe_brickwork", "cx", _brickwork("cx"), ladder(2, 48), 4),
        Builder("vqe_brickwork", "cz", _brickwork("cz"), ladder(2, 48), 4),
        Builder("pauli_two_design", "pairwise", _two_design, ladder(2, 40), 3),
        Builder("tree_tensor_network", "tree", _tree, ladder(2, 127), 2),
        Builder("vqe_other", "hardware_efficient", _hardware_efficient, ladder(2, 40), 6),
        Builder("data_reuploading", "layers", _data_reuploading, ladder(2, 32), 3),
        Builder("matrix_product_state", "staircase", _matrix_product_state, ladder(2, 64), 3),
        Builder("mera", "binary", _renormalization, ladder(2, 64), 2),
        Builder("qcnn", "convolution", _qcnn, ladder(2, 40), 2),
        Builder("hadamard_test", "product", _hadamard_test, ladder(2, 127), 2),
    ),
)
