"""What Qiskit says of an OpenQASM text. Runs in a worker process; the caller has bounded and read the text before.

Nothing is simulated and no file is opened: version 2 texts are loaded with an empty include path.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from typing import Any

_NOT_GATES = frozenset(("measure", "reset", "barrier"))


def start(options: Mapping[str, Any]) -> None:
    """Qiskit and its readers are loaded before the first request is timed.

    A package that Qiskit imports (dill) asks for a temporary folder, and finding one means writing to it, which a
    worker may not; so it is told one. Nothing is written there.
    """
    tempfile.tempdir = os.getcwd()
    import qiskit.qasm2
    import qiskit.qasm3

    qiskit.qasm2.loads("OPENQASM 2.0;")
    if options.get("qasm3", True):
        qiskit.qasm3.loads("OPENQASM 3.0; qubit q;")


def handle(request: Mapping[str, Any]) -> dict[str, Any]:
    """Facts about the text `program` of OpenQASM `version` (2 or 3).

    ``{loads: bool, refusal: str | None, strict_refusal: str | None, ...}`` and, when it loads, `depth`, `size`,
    `gate_count`, `qubits`, `clbits`, `idle_qubits` (up to 16 of them), `idle_count`, `non_finite_gates` as Qiskit has
    them. `strict_refusal` is null for version 3, which has one way of loading.
    """
    text = str(request["program"])
    if request["version"] == 3:
        return _load_qasm3(text)
    return _load_qasm2(text)


def _load_qasm2(text: str) -> dict[str, Any]:
    from qiskit import qasm2
    from qiskit.exceptions import QiskitError

    answers: dict[str, Any] = {"loads": True, "refusal": None, "strict_refusal": None}
    try:
        qasm2.loads(text, include_path=(), strict=True)
    except QiskitError as reason:
        answers["strict_refusal"] = reason.message
    try:
        circuit = qasm2.loads(text, include_path=())
    except QiskitError as reason:
        return answers | {"loads": False, "refusal": reason.message}
    return answers | _facts(circuit)


def _load_qasm3(text: str) -> dict[str, Any]:
    from qiskit import qasm3

    answers: dict[str, Any] = {"loads": True, "refusal": None, "strict_refusal": None}
    try:
        circuit = qasm3.loads(text)
    except Exception as reason:  # the importer lets errors of many kinds through, among them ZeroDivisionError
        return answers | {"loads": False, "refusal": f"{type(reason).__name__}: {reason}"}
    return answers | _facts(circuit)


def _facts(circuit: Any) -> dict[str, Any]:
    used = {qubit for item in circuit.data if item.operation.name != "barrier" for qubit in item.qubits}
    idle = [index for index, qubit in enumerate(circuit.qubits) if qubit not in used]
    gates = [item.operation for item in circuit.data if item.operation.name not in _NOT_GATES]
    non_finite = {gate.name for gate in gates if not all(math.isfinite(angle) for angle in gate.params)}
    return {
        "depth": circuit.depth(),
        "size": circuit.size(),
        "gate_count": len(gates),
        "qubits": circuit.num_qubits,
        "clbits": circuit.num_clbits,
        "idle_qubits": idle[:16],
        "idle_count": len(idle),
        "non_finite_gates": sorted(non_finite),
    }
