"""What Qiskit makes of an OpenQASM 2 text: whether it loads, and whether a simulator runs it. For a worker process.

The text is our own, or was read by our bounded reader before.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

#: Programs on more qubits are loaded and not run.
MOST_QUBITS_RUN = 20

#: Shots of a run.
SHOTS = 100

_NOT_GATES = frozenset(("measure", "reset", "barrier"))


def start(options: Mapping[str, Any]) -> None:
    """Qiskit and Aer are loaded before the first request is timed.

    A package that they import asks for a temporary folder, and finding one means writing to it, which a worker may
    not; so it is told one. Nothing is written there.
    """
    tempfile.tempdir = os.getcwd()
    handle({"program": 'OPENQASM 2.0; include "qelib1.inc"; qreg q[1]; h q[0];'})


def handle(request: Mapping[str, Any]) -> dict[str, Any]:
    """``{bare, legacy, refusal, is_whole, has_simulator, ran, trouble}`` of the text `program`.

    `bare` and `legacy` say whether `qiskit.qasm2.loads` takes it as it is and with Qiskit's legacy instructions;
    `is_whole` whether angles are finite, no qubit is idle and there is a gate; `has_simulator` whether Aer is here, and
    `ran` whether it ran the program for SHOTS shots, null where that was not tried (more than MOST_QUBITS_RUN qubits,
    or the request says `runs` false). `refusal` and `trouble` say why not.
    """
    from qiskit import qasm2
    from qiskit.exceptions import QiskitError

    text = str(request["program"])
    answer: dict[str, Any] = dict.fromkeys(("refusal", "ran", "trouble")) | {"bare": True, "is_whole": False}
    answer["has_simulator"] = find_spec("qiskit_aer") is not None
    try:
        qasm2.loads(text, include_path=())
    except QiskitError as reason:
        answer |= {"bare": False, "refusal": str(reason.message)}
    try:
        circuit = qasm2.loads(text, include_path=(), custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS)
    except QiskitError as reason:
        return answer | {"legacy": False, "refusal": str(reason.message)}
    answer |= {"legacy": True, "is_whole": _is_whole(circuit)}
    is_run = request.get("runs", True) and circuit.num_qubits <= MOST_QUBITS_RUN and answer["has_simulator"]
    if is_run and answer["is_whole"]:
        trouble = _run(circuit)
        answer |= {"ran": trouble is None, "trouble": trouble}
    return answer


def _is_whole(circuit: Any) -> bool:
    used = {qubit for item in circuit.data if item.operation.name != "barrier" for qubit in item.qubits}
    gates = [item.operation for item in circuit.data if item.operation.name not in _NOT_GATES]
    is_finite = all(math.isfinite(angle) for gate in gates for angle in gate.params)
    return bool(gates) and is_finite and len(used) == circuit.num_qubits


def _run(circuit: Any) -> str | None:
    """None where Aer ran it, else why not. A program without measurements is measured at its end."""
    from qiskit import transpile
    from qiskit_aer import AerSimulator

    simulator = AerSimulator(max_parallel_threads=1, seed_simulator=0)
    if not any(item.operation.name == "measure" for item in circuit.data):
        circuit.measure_all()
    result = simulator.run(transpile(circuit, simulator, optimization_level=0), shots=SHOTS).result()
    return None if result.success else str(result.status)
