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

    machine = {"pairs": [(0, 1)], "basis": ("u", "cx"), "level": 1, "seed": 0}
    _transpiled("OPENQASM 2.0; qreg q[2]; CX q[0],q[1];", 2, machine)  # Qiskit looks its plugins up once
    if options.get("qasm3", True):
        qiskit.qasm3.loads("OPENQASM 3.0; qubit q;")


def handle(request: Mapping[str, Any]) -> dict[str, Any]:
    """Facts about the text `program` of OpenQASM `version` (2 or 3).

    ``{loads: bool, refusal: str | None, strict_refusal: str | None, ...}`` and, when it loads, `depth`, `size`,
    `gate_count`, `qubits`, `clbits`, `idle_qubits` (up to 16 of them), `idle_count`, `non_finite_gates` as Qiskit has
    them. `strict_refusal` is null for version 3, which has one way of loading.

    With `transpile` (``{pairs, basis, level, seed}``, and `layout` and `routing` where Qiskit's own choice is not
    wanted), facts about what Qiskit makes of the text for that machine instead: ``{depth, two_qubit_count,
    gate_count}``, and its text under `program` where `returns_program`; where it cannot be made, ``{problem}``.
    """
    text = str(request["program"])
    if "transpile" in request:
        return _transpiled(text, int(request["version"]), request["transpile"])
    if request["version"] == 3:
        return _load_qasm3(text)
    return _load_qasm2(text)


def _transpiled(text: str, version: int, machine: Mapping[str, Any]) -> dict[str, Any]:
    from qiskit import qasm2, qasm3, transpile
    from qiskit.exceptions import QiskitError
    from qiskit.transpiler import CouplingMap

    pairs = [pair for first, second in machine["pairs"] or () for pair in ([first, second], [second, first])]
    try:
        circuit = qasm3.loads(text) if version == 3 else qasm2.loads(text, include_path=())
        compiled = transpile(
            circuit, basis_gates=list(machine["basis"]), coupling_map=CouplingMap(pairs) if pairs else None,
            optimization_level=machine["level"], seed_transpiler=machine["seed"],
            layout_method=machine.get("layout"), routing_method=machine.get("routing"),
        )  # fmt: skip
    except QiskitError as reason:
        return {"problem": f"Qiskit cannot: {reason.message}"}
    widths = _gate_widths(compiled)
    facts = {
        "depth": compiled.depth(), "two_qubit_count": sum(width > 1 for width in widths), "gate_count": len(widths),
    }  # fmt: skip
    return facts | ({"program": qasm2.dumps(compiled)} if machine.get("returns_program") else {})


def _gate_widths(circuit: Any) -> list[int]:
    """The number of qubits of every gate, those inside of control flow once each."""
    widths: list[int] = []
    for item in circuit.data:
        blocks = getattr(item.operation, "blocks", ())
        for block in blocks:
            widths += _gate_widths(block)
        if not blocks and item.operation.name not in _NOT_GATES:
            widths.append(len(item.qubits))
    return widths


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
