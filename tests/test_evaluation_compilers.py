"""Rankings of compilers on sets of programs: the score, the agreement of two rankings, what a failure counts as."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import PackageMissing, SimulatorTimeout, UnknownName
from app.evaluation import compilers
from app.evaluation.compilers import (
    COMPILERS,
    DEVICES,
    Overheads,
    compiler_pool,
    compiler_ranking,
    default_compilers,
    gates_alone,
    rank_agreement,
)
from app.quantum.coupling import coupling_map
from app.quantum.program import Operation, QuantumProgram

NAMES = ("trivial_sabre", "qiskit_o1", "qiskit_o3")


def overheads(ratios: list[list[float]]) -> Overheads:
    """Programs with these ratios, one a compiler, alike on every device."""
    rows = np.log(np.asarray(ratios, float))
    return Overheads(NAMES[: rows.shape[1]], np.repeat(rows[:, None, :], len(DEVICES), axis=1))


def triangle(qubits: int = 5) -> QuantumProgram:
    """Every two of the first three qubits interact, so that a line has to route."""
    pairs = itertools.combinations(range(3), 2)
    gates = [Operation("h", (0,)), *(Operation("cx", pair) for pair in pairs), Operation("swap", (0, qubits - 1))]
    return QuantumProgram(qubits, 1, (*gates, Operation("barrier"), Operation("measure", (0,), clbit=0)))


class Counting:
    """A pool whose compilers need `cost(asked)` two-qubit gates; None is a time that is over."""

    def __init__(self, cost: Callable[[Mapping[str, Any]], int | None]) -> None:
        self.cost = cost
        self.asked = 0

    def submit(self, request: Mapping[str, Any]) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()
        if request["pairs"] is None:
            future.set_result({"two_qubit_count": 10, "program": request["program"]})
            return future
        self.asked += 1
        count = self.cost(request)
        if count is None:
            future.set_exception(SimulatorTimeout("it took too long"))
        else:
            future.set_result({"two_qubit_count": count})
        return future


def bench_of(pool: Counting, folder: Path | None = None) -> Overheads:
    with compilers._notes(folder) as notes:
        bench = compilers._Bench(pool, NAMES, notes, 2, lambda done, total: None)
        return bench.compile([triangle(5), triangle(6)])


def test_the_score_is_the_geometric_mean_of_gates_after_over_before() -> None:
    facts = overheads([[1.0, 2.0], [4.0, 8.0]]).facts()
    assert facts["overhead"]["line_40"] == {"trivial_sabre": 2.0, "qiskit_o1": 4.0}
    assert facts["compiled"] == 2


def test_a_compiler_that_draws_counts_with_the_mean_over_its_seeds() -> None:
    by_seed = {0: 10, 1: 20, 2: 40}
    found = bench_of(Counting(lambda one: by_seed[one["options"]["seed"]]))
    assert found.facts()["overhead"]["grid_5x8"]["qiskit_o1"] == 2.0


def test_equal_rankings_agree_fully_and_reversed_ones_not_at_all() -> None:
    rising, falling = overheads([[1, 2, 3], [1, 3, 4]]), overheads([[3, 2, 1], [5, 2, 1]])
    for pair, tau in (((rising, rising), 1.0), ((rising, falling), -1.0)):
        found = rank_agreement(*pair)
        assert found is not None
        assert (found["tau"], found["low"], found["high"]) == (tau, tau, tau)


def test_one_swapped_pair_of_three_is_a_tau_of_a_third() -> None:
    found = rank_agreement(overheads([[1, 2, 3]]), overheads([[1, 3, 2]]))
    assert found is not None
    assert found["tau"] == pytest.approx(1 / 3, abs=1e-4)  # two pairs agree, one does not: (2 - 1) / 3
    assert set(found["by_device"]) == set(DEVICES)


def test_rankings_that_hang_on_few_programs_have_a_wide_interval() -> None:
    unsure = overheads([[1.0, 1.5, 1.2], [1.4, 1.0, 1.3], [1.1, 1.2, 1.0]])
    found = rank_agreement(unsure, overheads([[1, 2, 3]]))
    assert found is not None
    assert found["high"] - found["low"] > 0.5


def test_a_program_counts_only_where_every_compiler_was_done_with_it() -> None:
    def cost(asked: Mapping[str, Any]) -> int | None:
        slow = asked["options"]["level"] == 3 and "qreg q[6]" in asked["program"]
        return None if slow else 20

    found = bench_of(Counting(cost))
    assert found.counted.tolist() == [[True] * 3, [False] * 3]
    facts = found.facts()
    assert facts["finished"] == {"trivial_sabre": 1.0, "qiskit_o1": 1.0, "qiskit_o3": 0.5}
    assert facts["compiled"] == 1


def test_where_nothing_was_compiled_there_is_no_ranking() -> None:
    found = bench_of(Counting(lambda asked: None))
    assert rank_agreement(found, found) is None
    assert found.facts()["overhead"]["line_40"]["qiskit_o1"] is None


def test_a_program_that_a_compiler_undoes_still_has_a_score() -> None:
    assert bench_of(Counting(lambda asked: 0)).facts()["overhead"]["line_40"]["qiskit_o1"] == 0.1


def test_what_was_compiled_is_not_compiled_again(tmp_path: Path) -> None:
    first, second = Counting(lambda asked: 20), Counting(lambda asked: 99)
    before = bench_of(first, tmp_path)
    after = bench_of(second, tmp_path)
    assert first.asked == 2 * len(DEVICES) * 9
    assert second.asked == 0
    assert np.array_equal(before.logarithms, after.logarithms)
    lines = (tmp_path / "compilers.jsonl").read_text().splitlines()
    assert all(json.loads(line)["two_qubit_count"] == 20 for line in lines)


def test_compilers_get_gates_alone() -> None:
    conditional = Operation("x", (1,), condition=(0, 1))
    program = triangle(3)
    program = QuantumProgram(3, 1, (*program.operations, Operation("reset", (2,)), conditional))
    assert [op.name for op in gates_alone(program).operations] == ["h", "cx", "cx", "cx", "swap", "x"]
    assert gates_alone(program).operations[-1] == Operation("x", (1,))


def test_programs_without_two_qubit_gates_or_too_wide_are_left_out_and_the_rest_is_taken_evenly() -> None:
    idle = QuantumProgram(2, 0, (Operation("h", (0,)),))
    wide = QuantumProgram(41, 0, (Operation("cx", (0, 40)),))
    fit = [triangle(qubits) for qubits in range(4, 14)]
    assert compilers._evenly([idle, wide, *fit], 5) == fit[::2]
    assert compilers._evenly([idle, wide, *fit], 50) == fit


def test_devices_are_those_of_the_published_rankings() -> None:
    sizes = {name: (qubits, len(coupling_map(shape, qubits))) for name, (shape, qubits) in DEVICES.items()}
    assert sizes == {"line_40": (40, 39), "grid_5x8": (40, 67), "heavy_hex_65": (65, 72)}


def test_a_compiler_that_nobody_knows_is_refused() -> None:
    with (
        pytest.raises(UnknownName, match="no compiler named 'qiskit_o9'; did you mean 'qiskit_o"),
        compiler_pool(["qiskit_o9"]),
    ):
        pass


def test_a_compiler_whose_package_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "find_spec", lambda name: None)
    sentence = (
        r"the compiler pytket_line needs the package 'pytket'; install it with: pip install 'josephson\[compilers\]'"
    )
    with pytest.raises(PackageMissing, match=sentence), compiler_pool(["pytket_line"]):
        pass
    assert all(COMPILERS[name].package == "qiskit" for name in default_compilers())


def test_qiskit_ranks_programs_and_agrees_with_itself(tmp_path: Path) -> None:
    programs = [triangle(qubits) for qubits in (4, 5)]
    told: list[tuple[int, int]] = []
    found = compiler_ranking(
        {"real": programs, "generated": programs}, names=NAMES[:2], folder=tmp_path,
        report=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert found["real"]["compiled"] == found["generated"]["compiled"] == 2
    assert found["real"]["finished"] == {"trivial_sabre": 1.0, "qiskit_o1": 1.0}
    for by_compiler in found["real"]["overhead"].values():
        assert 1.0 <= by_compiler["qiskit_o1"] <= by_compiler["trivial_sabre"]
    assert found["generated"]["tau"]["tau"] == pytest.approx(
        np.mean([float(row["qiskit_o1"] < row["trivial_sabre"]) for row in found["real"]["overhead"].values()]),
        abs=1e-4,
    )
    assert "halves" in found["real"]
    assert told[-1][0] == told[-1][1]
    assert math.isfinite(found["generated"]["tau"]["low"])


@pytest.mark.skipif(find_spec("pytket") is None, reason="pytket is not installed (extra 'compilers')")
@pytest.mark.parametrize("placement", ["line", "graph"])
def test_pytket_routes_a_triangle_on_a_line(placement: str) -> None:
    from app.evaluation.compiler_worker import handle

    text = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\ncx q[0],q[1];\ncx q[1],q[2];\ncx q[0],q[2];\n'
    asked = {"package": "pytket", "program": text, "qubits": 3, "options": {"placement": placement}}
    assert handle(asked | {"pairs": [[0, 1], [1, 2]]})["two_qubit_count"] > 3
    assert handle(asked | {"pairs": [[0, 1], [1, 2], [0, 2]]})["two_qubit_count"] == 3


@pytest.mark.slow
@pytest.mark.skipif(find_spec("bqskit") is None, reason="bqskit is not installed (extra 'compilers')")
def test_bqskit_compiles_in_its_worker() -> None:
    text = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\ncx q[0],q[1];\ncx q[1],q[2];\ncx q[0],q[2];\n'
    asked = {"package": "bqskit", "program": text, "qubits": 3, "options": {"level": 1}, "pairs": [[0, 1], [1, 2]]}
    with compiler_pool(["bqskit_o1"], time_limit_s=240.0) as pool:
        assert pool.submit(asked).result()["two_qubit_count"] >= 3
