"""How fast testbenches are simulated, four ways in one run: one worker, a bare loop, two workers, ``ngspice -b``.

Every way gets the same decks and sizings, and their results are compared digit by digit. Processor time is what the
kernel counts: of this process and its workers for a pool, of the loop's process, of the children for ``ngspice -b``.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.analog.corpus import read_archetypes
from app.simulators.library import find_ngspice
from app.simulators.processes import WorkerPool, read_cpu_s
from app.sizes.draws import draw
from app.technologies._base import Technology
from app.testbenches._base import Testbench, testbenches
from app.testbenches._pool import simulation_pool
from app.testbenches._simulator import Bench, BenchSimulator, SimulationRow, prepare_bench

#: The circuit and its testbench.
ARCHETYPE = "opamp/two_stage_miller"
TESTBENCH = "opamp"

#: What is simulated -> the metric that needs just that.
ANALYSES: Mapping[str, tuple[str, ...]] = {
    "op": ("supply_current_a", "offset_v"),
    "op+ac": ("supply_current_a", "offset_v", "gain_db", "phase_margin_deg"),
    "op+ac+tran": ("supply_current_a", "offset_v", "gain_db", "phase_margin_deg", "settling_time_s"),
}

_SEED = 1
_FEWEST, _MOST = 32, 4096
_BATCH = 64
_PRINTED = re.compile(r"^([\w()#]+) = ([-+]?\d\.(\d+)e[-+]\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Timing:
    """Seconds that some sizings took one way."""

    sizings: int
    cpu_s: float
    wall_s: float

    def as_json(self) -> dict[str, float]:
        """With rates; `cores` is the processor time it got a second, low where others use the machine."""
        return {
            "ms_cpu": round(1e3 * self.cpu_s / self.sizings, 3),
            "ms_wall": round(1e3 * self.wall_s / self.sizings, 3),
            "per_cpu_s": round(self.sizings / max(self.cpu_s, 1e-9), 1),
            "per_s": round(self.sizings / max(self.wall_s, 1e-9), 1),
            "cores": round(self.cpu_s / max(self.wall_s, 1e-9), 2),
        }


def bench_simulator(
    technologies: Sequence[Technology],
    *,
    seconds: float = 1.0,
    rounds: int = 3,
    decks: int = 8,
    note: Callable[[str], object] = lambda sentence: None,
) -> dict[str, Any]:
    """Every technology and analysis, each way for about `seconds` at a time, the fastest of the `rounds`.

    `decks` sizings go through the program ``ngspice``, where it is installed. `note` is told what is being measured.

    Raises:
        NgspiceMissing: libngspice was not found.
    """
    cells = []
    with simulation_pool(size=1) as one, simulation_pool(size=2) as two:
        for technology in technologies:
            for analysis in ANALYSES:
                note(f"{technology.name}, {analysis}")
                cells.append(_cell(technology, analysis, one, two, seconds, rounds, decks))
    return {"circuit": ARCHETYPE, "testbench": TESTBENCH, "cells": cells}


def memory_of_a_worker(technology: Technology, runs: int = 10_000) -> dict[str, Any]:
    """Resident memory of one process over so many sizings with their operating point and AC analysis, in bytes."""
    bench = two_stage_bench(technology, "op+ac")
    vectors = _sizings(bench, _BATCH)
    turns = -(-runs // _BATCH)
    found = _bare(bench, vectors, repeat=turns)
    resident = found["resident"]
    return {
        "technology": technology.name, "runs": turns * _BATCH, "first_bytes": resident[0],
        "last_bytes": resident[-1], "growth_bytes": resident[-1] - resident[0], "most_bytes": max(resident),
    }  # fmt: skip


def two_stage_bench(technology: Technology, analysis: str) -> Bench:
    """The archetype on its testbench, with the metrics of an analysis of `ANALYSES`."""
    circuit = next(circuit for circuit in read_archetypes() if circuit.id == ARCHETYPE)
    testbench: Testbench = testbenches[TESTBENCH]
    return prepare_bench(circuit.netlist, testbench, technology, metrics=ANALYSES[analysis])


def _cell(
    technology: Technology, analysis: str, one: WorkerPool, two: WorkerPool, seconds: float, rounds: int, decks: int
) -> dict[str, Any]:
    bench = two_stage_bench(technology, analysis)
    _pooled(one, bench, _sizings(bench, 8))
    _pooled(two, bench, _sizings(bench, 64))
    _, trial = _pooled(one, bench, _sizings(bench, _FEWEST))
    count = min(_MOST, max(_FEWEST, int(seconds * _FEWEST / max(trial.wall_s, 1e-6))))
    vectors = _sizings(bench, count)
    timings: dict[str, list[Timing]] = {"one_worker": [], "bare_loop": [], "two_workers": []}
    agree = True
    for _ in range(rounds):
        pooled, timing = _pooled(one, bench, vectors)
        timings["one_worker"].append(timing)
        found = _bare(bench, vectors)
        timings["bare_loop"].append(Timing(count, found["cpu_s"], found["wall_s"]))
        side_by_side, timing = _pooled(two, bench, vectors)
        timings["two_workers"].append(timing)
        agree = agree and _numbers(pooled) == _numbers(found["rows"]) == _numbers(side_by_side)
    best = {
        name: Timing(count, min(t.cpu_s for t in each), min(t.wall_s for t in each)) for name, each in timings.items()
    }
    cell: dict[str, Any] = {
        "technology": technology.name,
        "analysis": analysis,
        "sizings": count,
        "pool_to_bare": round(best["bare_loop"].cpu_s / best["one_worker"].cpu_s, 3),
        "two_to_one": round(best["one_worker"].wall_s / best["two_workers"].wall_s, 3),
        "workers_and_loop_agree": agree,
    }
    batch = _by_program(bench, pooled[:decks]) if shutil.which("ngspice") else None
    if batch is not None:
        best["ngspice_b"], cell["ngspice_b_agrees"] = batch
        cell["loop_to_ngspice_b"] = round(
            (best["ngspice_b"].cpu_s / best["ngspice_b"].sizings) / (best["bare_loop"].cpu_s / count), 2
        )
    return {**cell, "ways": {name: timing.as_json() for name, timing in best.items()}}


def _sizings(bench: Bench, count: int) -> list[tuple[float, ...]]:
    return [draw(bench.space, bench.space.start, "guided", _SEED, index) for index in range(count)]


def _pooled(pool: WorkerPool, bench: Bench, vectors: Sequence[tuple[float, ...]]) -> tuple[list[SimulationRow], Timing]:
    """Rows in the order of the sizings; the time of this process and of its children counts."""
    cpu, wall = read_cpu_s(), time.perf_counter()
    rows = list(BenchSimulator(pool).run(bench, vectors))
    timing = Timing(len(vectors), read_cpu_s() - cpu, time.perf_counter() - wall)
    return sorted(rows, key=lambda row: int(row["index"])), timing


def _bare(bench: Bench, vectors: Sequence[tuple[float, ...]], repeat: int = 1) -> dict[str, Any]:
    """What `_bare_loop` answers for these sizings, in batches."""
    requests = [bench.request(vectors[first : first + _BATCH]) for first in range(0, len(vectors), _BATCH)]
    work = {"library": find_ngspice(), "requests": requests, "repeat": repeat}
    paths = [str(Path(__file__).resolve().parents[2]), *(path for path in sys.path if path)]
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_THREAD_LIMIT": "1", "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "app.benchmarks._bare_loop"],
        input=json.dumps(work), env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _numbers(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Status and metrics of every row, which have to be equal in every bit."""
    return [(row["status"], *sorted(row["metrics"].items())) for row in rows]


def _by_program(bench: Bench, rows: Sequence[SimulationRow]) -> tuple[Timing, bool]:
    """The rows' decks through ``ngspice -b``: their time, and whether every printed digit is that of the row."""
    vectors = [tuple(row["sizes"].values()) for row in rows]
    agree = True
    with tempfile.TemporaryDirectory(prefix="josephson-bench-") as folder:
        cpu, wall = _waited_cpu_s(), time.perf_counter()
        printed = []
        for row, vector in zip(rows, vectors, strict=True):
            said = ""
            for name, deck in bench.decks(vector, row["derived"]).items():
                path = Path(folder) / f"{name}.cir"
                path.write_text(deck, encoding="ascii")
                done = subprocess.run(
                    ["ngspice", "-n", "-b", path.name], cwd=folder, capture_output=True, text=True, check=False,
                    env={**os.environ, "OMP_THREAD_LIMIT": "1"},
                )  # fmt: skip
                said += done.stdout
            printed.append(said)
        timing = Timing(len(rows), _waited_cpu_s() - cpu, time.perf_counter() - wall)
    for row, said in zip(rows, printed, strict=True):
        agree = agree and _is_printed(row["metrics"]["supply_current_a"], said)
    return timing, agree


def _is_printed(current: float | None, said: str) -> bool:
    """True where the program printed this supply current, to the last digit that it printed."""
    for name, text, decimals in _PRINTED.findall(said):
        if name == "i(v_vdd)":
            return current is not None and f"{-current:.{len(decimals)}e}" == f"{float(text):.{len(decimals)}e}"
    return current is None


def _waited_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
