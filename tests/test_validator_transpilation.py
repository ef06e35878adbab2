"""What programs cost on a machine: Qiskit in its worker, a limit a program, and rows that say it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.errors import SimulatorCrashed
from app.quantum.coupling import coupling_map
from app.requests import QuantumGenerateRequest
from app.simulators.processes import ProcessLimits, WorkerPool
from app.validators import qiskit_worker
from app.validators.transpilation import DEFAULT_BASIS, TranspileTarget, transpiled
from app.workshop import Row
from app.workshop_local import LocalWorkshop
from tests.hostile_programs import HEAD, HEAD_3
from tests.tiny_models import TinySettings, save_tiny_model

LINE_3 = HEAD + "qreg q[3]; creg c[3]; h q[0]; cx q[0],q[1]; cx q[1],q[2]; barrier q; measure q -> c;"
TRIANGLE = HEAD + "qreg q[3]; cx q[0],q[1]; cx q[1],q[2]; cx q[0],q[2]; rz(0.3) q[2]; cx q[0],q[1];"


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    limits = ProcessLimits()
    with WorkerPool("app.validators.qiskit_worker", size=1, timeout_s=30, recycle_after=99, limits=limits) as made:
        yield made


def test_a_program_that_fits_the_line_keeps_its_two_qubit_gates(pool: WorkerPool) -> None:
    # by hand: h is three gates of the basis (rz sx rz), two cx; a level each, and one of measurements
    assert transpiled(pool, LINE_3, 3, TranspileTarget("line")) == {
        "target": "line", "qubits": 3, "optimization_level": 1, "depth": 6, "two_qubit_count": 2, "gate_count": 5,
    }  # fmt: skip


def test_a_triangle_costs_more_on_a_line_than_where_all_interact(pool: WorkerPool) -> None:
    def cost(target: TranspileTarget) -> int:
        return int(str(transpiled(pool, TRIANGLE, 3, target)["two_qubit_count"]))

    assert cost(TranspileTarget("full", optimization_level=0)) == 4
    assert cost(TranspileTarget("line", optimization_level=0)) > 4
    assert cost(TranspileTarget("line")) == cost(TranspileTarget("line")), "the seed is fixed"


def test_a_target_may_be_larger_than_the_program_but_not_smaller(pool: WorkerPool) -> None:
    assert transpiled(pool, LINE_3, 3, TranspileTarget("heavy_hex", 65))["two_qubit_count"] == 2
    facts = transpiled(pool, LINE_3, 3, TranspileTarget("line", 2))
    assert facts["problem"] == "the program has 3 qubits, the target 2; ask for a larger target"
    assert "depth" not in facts


def test_a_single_qubit_needs_no_pairs(pool: WorkerPool) -> None:
    assert transpiled(pool, HEAD + "qreg q[1]; x q[0];", 1, TranspileTarget("line"))["depth"] == 1


def test_gates_that_the_basis_cannot_write_are_a_problem_of_the_row(pool: WorkerPool) -> None:
    facts = transpiled(pool, LINE_3, 3, TranspileTarget("line", basis=("x", "cx")))
    assert str(facts["problem"]).startswith("Qiskit cannot: ")


def test_openqasm_3_with_control_flow_is_transpiled_too(pool: WorkerPool) -> None:
    text = HEAD_3 + "qubit[3] q; bit[1] c; h q[0]; c[0] = measure q[0]; if (c[0] == true) { cx q[0], q[2]; }"
    facts = transpiled(pool, text, 3, TranspileTarget("full"))
    assert facts["two_qubit_count"] == 1, "the gate inside of the condition counts"


def test_a_program_beyond_the_time_limit_is_stopped_and_the_next_one_is_not() -> None:
    limits = ProcessLimits()
    with WorkerPool("app.validators.qiskit_worker", size=1, timeout_s=30, recycle_after=99, limits=limits) as pool:
        wide = HEAD + "qreg q[60];" + "".join(f"cx q[{(7 * i) % 60}],q[{(11 * i + 1) % 60}];" for i in range(4_000))
        facts = transpiled(pool, wide, 60, TranspileTarget("heavy_hex", optimization_level=3, time_limit_s=0.1))
        assert facts["problem"] == "Qiskit was not done within 0.1 s and was stopped"
        assert transpiled(pool, LINE_3, 3, TranspileTarget("line"))["two_qubit_count"] == 2


def test_a_worker_that_dies_is_a_problem_of_the_row() -> None:
    class Dying:
        def submit(self, request: Any, *, timeout_s: float) -> Dying:
            return self

        def result(self) -> Any:
            raise SimulatorCrashed("the worker died")

    facts = transpiled(Dying(), LINE_3, 3, TranspileTarget("line"))  # type: ignore[arg-type]  # the two calls made
    assert facts["problem"] == "Qiskit could not do it: the worker died"


def test_what_qiskit_makes_of_a_program_can_be_had_as_text() -> None:
    machine = {"pairs": coupling_map("line", 3), "basis": DEFAULT_BASIS, "level": 1, "seed": 0}
    asked = {"program": TRIANGLE, "version": 2, "transpile": machine | {"returns_program": True}}
    answer = qiskit_worker.handle(asked)
    assert answer["program"].count("cx q") == answer["two_qubit_count"]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("torus", "Input should be 'line', 'ring', 'grid', 'heavy_hex' or 'full'"),
        ({"target": "line", "basis": ["warp", "cx"]}, "no gate named 'warp'"),
        ({"target": "line", "basis": ["rz", "sx"]}, "the basis has no gate on two qubits; add one, such as cx"),
        ({"target": "line", "optimization_level": 4}, "less than or equal to 3"),
        ({"target": "line", "time_limit_s": 1e9}, "less than or equal to 30"),
        ({"target": "line", "speed": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(value: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        QuantumGenerateRequest.model_validate({"transpile": value})
    assert sentence in str(caught.value)


def test_rows_say_what_their_programs_cost_where_that_was_asked_for(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, "quantum", name="tiny-quantum")
    workshop = LocalWorkshop(TinySettings(tmp_path))

    async def rows_of(request: QuantumGenerateRequest) -> list[Row]:
        prepared = workshop.prepare("quantum.generate", request)
        return [row async for row in workshop.produce("quantum.generate", prepared, range(2))]

    try:
        asked = QuantumGenerateRequest.model_validate({"seed": 3, "qubits": 3, "max_gates": 6, "transpile": "line"})
        for row in asyncio.run(rows_of(asked)):
            facts = row["transpiled"]
            assert (facts["target"], facts["qubits"]) == ("line", 3)
            assert facts["depth"] >= 1
            assert row["timings"]["transpile_s"] > 0
        plain = asked.model_copy(update={"transpile": None})
        assert all("transpiled" not in row for row in asyncio.run(rows_of(plain)))
    finally:
        workshop.close()
