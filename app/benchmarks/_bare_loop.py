"""A loop around the testbench worker's `handle` in one process, without pool, pipes or limits: what a pool is held to.

Runs as ``python -m app.benchmarks._bare_loop`` with ``{"library", "requests", "repeat"}`` as JSON on standard input.
Answers with one JSON document on standard output.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def resident_bytes() -> int:
    """Memory of this process that is in RAM, as the kernel counts it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    """The requests have been handled `repeat` times, after the first one once untimed.

    Answers ``{"rows", "cpu_s", "wall_s", "resident"}``: the rows of the first time, the time of all, and the resident
    bytes after each request.
    """
    work = json.load(sys.stdin)
    from app.testbenches import _worker

    _worker.start({"library": work["library"]})
    _worker.handle(work["requests"][0])
    rows: list[Any] = []
    resident: list[int] = []
    cpu, wall = time.process_time(), time.perf_counter()
    for turn in range(work["repeat"]):
        for request in work["requests"]:
            answer = _worker.handle(request)
            resident.append(resident_bytes())
            if turn == 0:
                rows += answer["rows"]
    spent = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    json.dump({"rows": rows, "resident": resident, **spent}, sys.stdout)


if __name__ == "__main__":
    main()
