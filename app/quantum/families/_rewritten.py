"""Programs in the gates of machines. What a corpus has few of becomes many that compute the same in other gates."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from app.quantum.families._base import Build, Builder
from app.quantum.program import QuantumProgram
from app.quantum.qasm import write_qasm2
from app.quantum.qiskit_circuits import program_of

#: Gates of machines: transmons with either two-qubit gate, a textbook's choice, and trapped ions.
NATIVE_GATES = (("rz", "sx", "x", "cx"), ("rz", "sx", "x", "cz"), ("u3", "cx"), ("rx", "ry", "rz", "rxx"))

#: Gates of textbooks and of neutral atoms, in which programs are rewritten besides.
_OTHER_GATES = (("h", "rz", "cx"), ("rx", "rz", "cz"))

#: Programs of a builder that a corpus asks for at least, and at each size; many of them come out alike.
_DRAWS, _DRAWS_A_SIZE = 96, 12


def in_gates(circuit: Any, gates: tuple[str, ...], level: int) -> QuantumProgram:
    """The program of a `qiskit.QuantumCircuit` in these gates, at a compiler level that moves no qubit (0 or 1)."""
    from qiskit import transpile

    return program_of(transpile(circuit, basis_gates=list(gates), optimization_level=level))


def rewritten(builder: Builder) -> Builder:
    """Builds the builder's programs on few qubits as they are or in other gates, translated or tidied up as well."""
    return replace(
        builder, name=f"{builder.name}_rewritten", build=_in_any_gates(builder.build), sizes=builder.few, few=(),
        draws=max(_DRAWS_A_SIZE, _DRAWS // len(builder.few)),
    )  # fmt: skip


def _in_any_gates(build: Build) -> Build:
    def build_in_any_gates(size: int, rng: random.Random) -> QuantumProgram:
        program = build(size, rng)
        gates = rng.choice((None, *NATIVE_GATES, *_OTHER_GATES))
        if gates is None:
            return program
        from qiskit import qasm2

        circuit = qasm2.loads(write_qasm2(program))
        return in_gates(circuit, gates, rng.choice((0, 1)))

    return build_in_any_gates
