"""Time evolution by product formulas: spin chains and sums of Pauli strings.

Reference:
    [lloyd1996universal] and [suzuki1991general] for the formulas of first and second order, [kadowaki1998annealing] for
    annealing, [kivlichan2018quantum] for networks of swaps.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

from app.quantum.families._base import Build, Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.families._graphs import graph_edges
from app.quantum.program import QuantumProgram


def pauli_rotation(draft: Draft, paulis: Sequence[str], qubits: Sequence[int], angle: float) -> None:
    """The rotation exp(-i angle/2 P) about the product of single-qubit Paulis (``X``, ``Y``, ``Z``) on the qubits."""
    if len(qubits) == 1:
        draft.gate(f"r{paulis[0].lower()}", qubits[0], angle=angle)
        return
    start = len(draft.operations)
    for pauli, qubit in zip(paulis, qubits, strict=True):
        if pauli == "X":
            draft.h(qubit)
        elif pauli == "Y":
            draft.gate("rx", qubit, angle=math.pi / 2)
    for first, second in itertools.pairwise(qubits):
        draft.cx(first, second)
    end = len(draft.operations)
    draft.gate("rz", qubits[-1], angle=angle)
    draft.undo(start, end)


def _spin_model(couplings: tuple[str, ...], field: str | None) -> Build:
    def build(size: int, rng: random.Random) -> QuantumProgram:
        kind = rng.choice(("path", "path", "cycle", "grid"))
        edges = graph_edges(kind, size, rng)
        edges = tuple(e for e in edges if e[0] % 2 == 0) + tuple(e for e in edges if e[0] % 2)
        strength, time = rng.choice((0.5, 1.0, 1.5, 2.0)), rng.choice((0.05, 0.1, 0.2, 0.25))
        bias = rng.choice((0.5, 1.0, 2.0)) if field else 0.0
        steps, is_second_order = rng.choice((1, 2, 3, 5, 8)), rng.random() < 0.3
        draft = Draft(size)
        if rng.random() < 0.4:
            draft.x(*range(0, size, 2))
        has_barriers = rng.random() < 0.15

        def couple(order: Sequence[tuple[int, int]]) -> None:
            for a, b in order:
                for coupling in couplings:
                    draft.gate(coupling, a, b, angle=2 * strength * time)

        for _ in range(steps):
            if field and is_second_order:
                draft.each(field, range(size), bias * time)
            couple(edges)
            if field:
                draft.each(field, range(size), bias * time * (1 if is_second_order else 2))
            if has_barriers:
                draft.barrier()
        if rng.random() < 0.3:
            draft.measure_each(range(size))
        return draft.program()

    return build


def _annealing(size: int, rng: random.Random) -> QuantumProgram:
    """From the ground state of a transverse field to that of a spin glass, in steps that shift the weight."""
    edges = graph_edges(rng.choice(("path", "cycle", "grid", "three_regular", "random")), size, rng)
    couplings = [rng.choice((-1.0, 1.0)) if rng.random() < 0.7 else round(rng.uniform(-1, 1), 3) for _ in edges]
    fields = [round(rng.uniform(-1, 1), 3) for _ in range(size)] if rng.random() < 0.4 else []
    steps, time = rng.choice((2, 3, 4, 5, 8)), rng.choice((0.25, 0.5, 1.0))
    draft = Draft(size)
    draft.h(*range(size))
    for step in range(1, steps + 1):
        share = step / (steps + 1)
        for (a, b), coupling in zip(edges, couplings, strict=True):
            draft.gate("rzz", a, b, angle=2 * share * time * coupling)
        for qubit, strength in enumerate(fields):
            draft.gate("rz", qubit, angle=2 * share * time * strength)
        draft.each("rx", range(size), -2 * (1 - share) * time)
    draft.measure_each(range(size))
    return draft.program()


def _swap_network(size: int, rng: random.Random) -> QuantumProgram:
    """Every pair of a line interacts once, next to each other, while swaps turn the line round."""
    is_fused = rng.random() < 0.5
    draft = Draft(size)
    draft.h(*range(size))
    for _ in range(rng.choice((1, 1, 2))):
        order = list(range(size))
        strength = {(a, b): rng.uniform(-math.pi, math.pi) for a in range(size) for b in range(a + 1, size)}
        for layer in range(size):
            for first in range(layer % 2, size - 1, 2):
                a, b = sorted(order[first : first + 2])
                if is_fused:
                    draft.cx(first, first + 1)
                    draft.gate("rz", first + 1, angle=strength[a, b])
                    draft.cx(first + 1, first)
                    draft.cx(first, first + 1)
                else:
                    draft.gate("rzz", first, first + 1, angle=strength[a, b])
                    draft.gate("swap", first, first + 1)
                order[first], order[first + 1] = order[first + 1], order[first]
        draft.each("rx", range(size), rng.uniform(0, math.pi))
    if rng.random() < 0.6:
        draft.measure_each(range(size))
    return draft.program()


def _pauli_evolution(size: int, rng: random.Random) -> QuantumProgram:
    terms = []
    for _ in range(rng.randint(2, 2 * size)):
        qubits = sorted(rng.sample(range(size), rng.randint(1, min(3, size))))
        terms.append(([rng.choice("XYZ") for _ in qubits], qubits, round(rng.uniform(-1, 1), 4)))
    touched = {qubit for _, qubits, _ in terms for qubit in qubits}
    terms += [(["Z"], [qubit], round(rng.uniform(-1, 1), 4)) for qubit in range(size) if qubit not in touched]
    steps = rng.choice((1, 1, 2, 3))
    draft = Draft(size)
    for _ in range(steps):
        for paulis, qubits, weight in terms:
            pauli_rotation(draft, paulis, qubits, 2 * weight / steps)
    return draft.program()


def _pauli_rotations(size: int, rng: random.Random) -> QuantumProgram:
    """A rotation of one qubit that grows linearly with the number in the others."""
    axis = rng.choice("xyz")
    slope, offset = round(rng.uniform(-2, 2), 3), round(rng.uniform(-2, 2), 3)
    draft = Draft(size + 1, registers=(size, 1))
    draft.gate(f"r{axis}", size, angle=offset)
    for qubit in range(size):
        draft.gate(f"cr{axis}", qubit, size, angle=slope * 2**qubit)
    return draft.program(rng)


def _uccsd(size: int, rng: random.Random) -> QuantumProgram:
    """Single and double excitations from the lowest orbitals, Jordan-Wigner ordered."""
    occupied = max(1, size // 2 - rng.randint(0, 1) * (size > 3))
    draft = Draft(size)
    draft.x(*range(occupied))
    for i in range(occupied):
        for a in range(occupied, size):
            angle = rng.uniform(-0.2, 0.2)
            between = list(range(i + 1, a))
            for ends, sign in (("XY", 1), ("YX", -1)):
                pauli_rotation(draft, [ends[0], *"Z" * len(between), ends[1]], [i, *between, a], sign * angle)
    if occupied >= 2 and size - occupied >= 2:
        i, j, a, b = 0, 1, occupied, occupied + 1
        angle = rng.uniform(-0.1, 0.1)
        for paulis, sign in zip(
            ("XXXY", "XXYX", "XYXX", "YXXX", "YYYX", "YYXY", "YXYY", "XYYY"), (1, 1, -1, -1, -1, -1, 1, 1), strict=True
        ):
            pauli_rotation(draft, paulis, [i, j, a, b], sign * angle / 4)
    return draft.program()


builder_groups.add(
    "dynamics",
    (
        Builder("trotter_tfim", "lattice", _spin_model(("rzz",), "rx"), ladder(2, 64), 5),
        Builder("trotter_heisenberg", "lattice", _spin_model(("rxx", "ryy", "rzz"), "rz"), ladder(2, 40), 4),
        Builder("trotter_xy", "lattice", _spin_model(("rxx", "ryy"), None), ladder(2, 40), 4),
        Builder("annealing", "steps", _annealing, ladder(2, 48), 4),
        Builder("swap_network", "line", _swap_network, ladder(3, 24), 3),
        Builder("pauli_evolution", "random_sum", _pauli_evolution, ladder(2, 40), 4),
        Builder("pauli_rotations", "linear", _pauli_rotations, ladder(2, 24), 2),
        Builder("vqe_uccsd", "jordan_wigner", _uccsd, ladder(2, 10), 6),
    ),
)
