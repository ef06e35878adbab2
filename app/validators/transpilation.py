"""What a program costs on a machine: depth and two-qubit gates after Qiskit has transpiled it to a named target.

Done in the Qiskit worker, which is killed at the target's time limit. Knows nothing of a machine's error rates.

Reference:
    [li2019sabre]: the routing that Qiskit uses, with its seed fixed, so that the counts do not depend on the moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.errors import SimulatorFailure, SimulatorTimeout
from app.quantum.coupling import CouplingName, coupling_map
from app.quantum.qasm import is_qasm3
from app.validators._base import JsonValue

if TYPE_CHECKING:
    from app.simulators.processes import WorkerPool

#: What machines of today do natively, and the gate set that the published counts are about.
DEFAULT_BASIS: Final = ("rz", "sx", "x", "cx")


@dataclass(frozen=True, slots=True)
class TranspileTarget:
    """A machine: gates of its own, and the pairs of qubits on which they act.

    `name` is a map of `coupling_map` over `qubits` qubits, or over as many as the program has where that is None.
    """

    name: CouplingName
    qubits: int | None = None
    basis: tuple[str, ...] = DEFAULT_BASIS
    optimization_level: int = 1
    time_limit_s: float = 10.0
    seed: int = 0


def transpiled(pool: WorkerPool, program: str, width: int, target: TranspileTarget) -> dict[str, JsonValue]:
    """Facts of the OpenQASM text `program` of `width` qubits on the target; blocks for at most its time limit.

    ``{target, qubits, optimization_level, depth, two_qubit_count, gate_count}``; where it cannot be done (the program
    is wider than the machine, its gates cannot be written in the basis, the time is over) a sentence under ``problem``
    in place of the counts. Measurements count in the depth, as in a program's own; barriers do not.
    """
    qubits = target.qubits or width
    facts: dict[str, JsonValue] = {
        "target": target.name, "qubits": qubits, "optimization_level": target.optimization_level,
    }  # fmt: skip
    if width > qubits:
        return facts | {"problem": f"the program has {width} qubits, the target {qubits}; ask for a larger target"}
    pairs = None if target.name == "full" else coupling_map(target.name, qubits)
    request = {
        "program": program, "version": 3 if is_qasm3(program) else 2, "transpile": {
            "pairs": pairs, "basis": target.basis, "level": target.optimization_level, "seed": target.seed,
        },
    }  # fmt: skip
    try:
        answer: Mapping[str, JsonValue] = pool.submit(request, timeout_s=target.time_limit_s).result()
    except SimulatorTimeout:
        return facts | {"problem": f"Qiskit was not done within {target.time_limit_s:g} s and was stopped"}
    except SimulatorFailure as reason:
        return facts | {"problem": f"Qiskit could not do it: {reason}"}
    return facts | dict(answer)
