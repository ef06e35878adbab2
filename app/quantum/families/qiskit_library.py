"""Arithmetic and state preparation as Qiskit synthesises them.

The fixed-point kind of its VBE adder is left out: as of Qiskit 2.6.2 it does not add.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from app.quantum.families._base import Build, Builder, builder_groups, ladder
from app.quantum.program import QuantumProgram
from app.quantum.qiskit_circuits import program_of


def _from_gate(make: Callable[[int, random.Random], tuple[Any, int]]) -> Build:
    """Builds the circuit of one gate, of which `make` gives the gate and the number of qubits with helpers."""

    def build(size: int, rng: random.Random) -> QuantumProgram:
        from qiskit import QuantumCircuit

        gate, qubits = make(size, rng)
        circuit = QuantumCircuit(qubits)
        circuit.append(gate, range(gate.num_qubits))
        return program_of(circuit)

    return build


def _ripple(name: str, *kinds: str) -> Build:
    def build(size: int, rng: random.Random) -> QuantumProgram:
        from qiskit import synthesis

        return program_of(getattr(synthesis, name)(size, kind=rng.choice(kinds)))

    return build


def _half_adder(size: int, rng: random.Random) -> QuantumProgram:
    from qiskit import synthesis

    return program_of(synthesis.adder_ripple_r25(size))


def _modular_adder(size: int, rng: random.Random) -> tuple[Any, int]:
    from qiskit.circuit.library import ModularAdderGate

    return ModularAdderGate(size), 2 * size


def _multiplier(name: str) -> Build:
    def build(size: int, rng: random.Random) -> QuantumProgram:
        from qiskit import synthesis

        return program_of(getattr(synthesis, name)(size, rng.randint(size, 2 * size)))

    return build


def _comparator(size: int, rng: random.Random) -> tuple[Any, int]:
    from qiskit.circuit.library import IntegerComparatorGate

    gate = IntegerComparatorGate(size, rng.randint(1, 2**size - 1), geq=rng.random() < 0.5)
    return gate, gate.num_qubits


def _weighted_sum(size: int, rng: random.Random) -> tuple[Any, int]:
    from qiskit.circuit.library import WeightedSumGate

    gate = WeightedSumGate(size, [rng.choice((1, 1, 1, 2, 3)) for _ in range(size)])
    return gate, gate.num_qubits + 2 * gate.num_sum_qubits


def _inner_product(size: int, rng: random.Random) -> tuple[Any, int]:
    from qiskit.circuit.library import InnerProductGate

    return InnerProductGate(size), 2 * size


def _quadratic_form(size: int, rng: random.Random) -> tuple[Any, int]:
    from qiskit.circuit.library import QuadraticFormGate

    matrix = [[rng.randint(-1, 2) for _ in range(size)] for _ in range(size)]
    linear = [rng.randint(-2, 3) for _ in range(size)]
    gate = QuadraticFormGate(size, matrix, linear, rng.randint(0, 3))
    return gate, gate.num_qubits


def _state_preparation(size: int, rng: random.Random) -> tuple[Any, int]:
    from qiskit.circuit.library import StatePreparation

    amplitudes = [complex(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(2**size)]
    return StatePreparation(amplitudes, normalize=True), size


def _diagonal(size: int, rng: random.Random) -> tuple[Any, int]:
    import cmath

    from qiskit.circuit.library import DiagonalGate

    return DiagonalGate([cmath.exp(1j * rng.uniform(0, 6.28)) for _ in range(2**size)]), size


def _uniformly_controlled(size: int, rng: random.Random) -> tuple[Any, int]:
    from qiskit.circuit.library import UCRYGate

    return UCRYGate([rng.uniform(-3.14, 3.14) for _ in range(2 ** (size - 1))]), size


def _quantum_volume(size: int, rng: random.Random) -> QuantumProgram:
    from qiskit.circuit.library import quantum_volume

    return program_of(quantum_volume(size, rng.randint(1, size), seed=rng.randrange(2**31)))


def _counting(size: int, rng: random.Random) -> QuantumProgram:
    """Phase estimation of a Grover step on `size` qubits that marks one state, in three bits."""
    from qiskit import QuantumCircuit
    from qiskit.circuit.library import QFTGate, ZGate

    step = QuantumCircuit(size, name="step")
    for mark in (rng.randrange(2**size), 0):
        zeros = [qubit for qubit in range(size) if not mark >> qubit & 1]
        for zero in zeros:
            step.x(zero)
        step.append(ZGate().control(size - 1, annotated=False), range(size))
        for zero in zeros:
            step.x(zero)
        step.h(range(size))
    bits = 3
    circuit = QuantumCircuit(bits + size, bits)
    circuit.h(range(bits + size))
    for bit in range(bits):
        for _ in range(2**bit):
            circuit.append(step.to_gate().control(1, annotated=False), [bit, *range(bits, bits + size)])
    circuit.append(QFTGate(bits).inverse(), range(bits))
    circuit.measure(range(bits), range(bits))
    return program_of(circuit)


builder_groups.add(
    "qiskit_library",
    (
        Builder(
            "adder_cdkm",
            "ripple",
            _ripple("adder_ripple_c04", "half", "fixed", "full"),
            ladder(2, 24),
            4,
            few=(1, 2, 3, 4),
        ),
        Builder("adder_vbe", "ripple", _ripple("adder_ripple_v95", "half", "full"), ladder(2, 24), 4, few=(1, 2, 3)),
        Builder("adder_half", "ripple", _half_adder, ladder(2, 24), few=(1, 2, 3, 4)),
        Builder("adder_modular", "synthesis", _from_gate(_modular_adder), ladder(2, 24), few=(2, 3, 4, 5)),
        Builder("multiplier_hrs", "cumulative", _multiplier("multiplier_cumulative_h18"), (2, 3, 4), 6),
        Builder("multiplier_rg_qft", "fourier", _multiplier("multiplier_qft_r17"), (2, 3, 4, 5), 6),
        Builder("comparator", "integer", _from_gate(_comparator), (2, 3, 4, 5, 6), 10),
        Builder("weighted_sum", "synthesis", _from_gate(_weighted_sum), ladder(2, 10), 6),
        Builder("inner_product", "synthesis", _from_gate(_inner_product), ladder(2, 40)),
        Builder("quadratic_form", "synthesis", _from_gate(_quadratic_form), ladder(2, 12), 3),
        Builder("quantum_counting", "one_mark", _counting, (2, 3, 4), 6),
        Builder("state_preparation", "amplitudes", _from_gate(_state_preparation), (2, 3, 4, 5, 6), 3, "random"),
        Builder("diagonal", "phases", _from_gate(_diagonal), (2, 3, 4, 5, 6, 7), 3, "random"),
        Builder("uniformly_controlled", "ry", _from_gate(_uniformly_controlled), (2, 3, 4, 5, 6, 7, 8), 3, "random"),
        Builder("quantum_volume", "square", _quantum_volume, ladder(2, 20), 2, "random"),
    ),
)
