"""The pool of ngspice worker processes, with the limits that a simulation of ours lives within."""

from __future__ import annotations

from app.simulators.library import find_ngspice
from app.simulators.processes import ProcessLimits, WorkerPool

#: Address space of one worker; numpy and libngspice take about 0.3 GB of it, a deck of ours a few megabytes.
MEMORY_BYTES = 1 << 30

#: libngspice keeps about a kilobyte a run even when everything is freed.
RECYCLE_AFTER = 2000


def ngspice_pool(*, size: int, timeout_s: float = 20.0) -> WorkerPool:
    """A pool of up to `size` ngspice workers, none of them started yet. Raises NgspiceMissing.

    `timeout_s` is the wall clock of one simulation and of its second try; the processor time allowed is the same.
    Requests and answers are those of `ngspice_worker.handle`.
    """
    return WorkerPool(
        "app.simulators.ngspice_worker",
        size=size,
        timeout_s=timeout_s,
        recycle_after=RECYCLE_AFTER,
        limits=ProcessLimits(cpu_s=max(1, round(timeout_s)), memory_bytes=MEMORY_BYTES, file_bytes=0, processes=0),
        options={"library": find_ngspice()},
    )
