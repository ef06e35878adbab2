"""One program compiled for one device by one compiler. Runs in a worker process, which is killed at its time limit.

Programs come in the normal form of `app.evaluation.compilers`: OpenQASM 2 of u3 and cx alone.

Reference:
    [li2019sabre] for Qiskit's routing; [sivarajah2020tket] §7 for pytket's; [younis2021bqskit] for bqskit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.validators import qiskit_worker

_BASIS = ("u3", "cx")


def start(options: Mapping[str, Any]) -> None:
    """The packages of `options` are loaded before the first program is timed."""
    qiskit_worker.start({"qasm3": False})
    if "pytket" in options["packages"]:
        import pytket.passes  # noqa: F401  # loaded here so that no program waits for it
    if "bqskit" in options["packages"]:
        import bqskit.ext  # noqa: F401  # likewise


def handle(request: Mapping[str, Any]) -> dict[str, Any]:
    """``{two_qubit_count: int}`` of `program` on the device with these `pairs` of `qubits` qubits, or ``{problem}``.

    `package` says who compiles and `options` how: for Qiskit `level`, `seed`, `layout`, `routing`; for pytket the
    `placement`; for bqskit the `level`. With `returns_program` Qiskit's answer has the compiled text too.
    """
    compilers: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
        "qiskit": _by_qiskit, "pytket": _by_pytket, "bqskit": _by_bqskit,
    }  # fmt: skip
    return compilers[request["package"]](request)


def _by_qiskit(request: Mapping[str, Any]) -> dict[str, Any]:
    machine = {"basis": _BASIS, "pairs": request["pairs"], **request["options"]}
    return qiskit_worker.handle({"program": request["program"], "version": 2, "transpile": machine})


def _pairs(request: Mapping[str, Any]) -> Sequence[tuple[int, int]]:
    return [(first, second) for first, second in request["pairs"]]


def _by_pytket(request: Mapping[str, Any]) -> dict[str, Any]:
    from pytket import passes
    from pytket.architecture import Architecture
    from pytket.mapping import LexiLabellingMethod, LexiRouteRoutingMethod
    from pytket.placement import GraphPlacement, LinePlacement
    from pytket.qasm import circuit_from_qasm_str

    device = Architecture(_pairs(request))
    placement = {"line": LinePlacement, "graph": GraphPlacement}[request["options"]["placement"]](device)
    circuit = circuit_from_qasm_str(request["program"])
    passes.FullMappingPass(device, placement, [LexiLabellingMethod(), LexiRouteRoutingMethod()]).apply(circuit)
    passes.DecomposeSwapsToCXs(device).apply(circuit)
    passes.RemoveRedundancies().apply(circuit)
    return {"two_qubit_count": circuit.n_2qb_gates()}


def _by_bqskit(request: Mapping[str, Any]) -> dict[str, Any]:
    from bqskit import compile as compile_circuit
    from bqskit.compiler import Compiler, MachineModel
    from bqskit.ir.gates import CNOTGate, U3Gate
    from bqskit.ir.lang.qasm2 import OPENQASM2Language

    circuit = OPENQASM2Language().decode(request["program"])
    machine = MachineModel(request["qubits"], _pairs(request), {CNOTGate(), U3Gate()})
    with Compiler(num_workers=1) as compiler:
        compiled = compile_circuit(
            circuit, machine, optimization_level=request["options"]["level"], seed=0, compiler=compiler
        )
    return {"two_qubit_count": sum(count for gate, count in compiled.gate_counts.items() if gate.num_qudits > 1)}
