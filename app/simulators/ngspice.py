"""The pool of ngspice worker processes, with the limits that a simulation of ours lives within."""

from __future__ import annotations

from app.simulators.library import find_ngspice
from app.simulators.processes import ProcessLimits, WorkerPool

#: Address space of one worker; numpy and libngspice take about 0.3 GB of it, a deck of ours a few megabytes.
MEMORY_BYTES = 1 << 30

#: libngspice keeps about a kilobyte a run even when everything is freed.
RECYCLE_AFTER = 2000


def ngspice_pool(
    *, size: int, timeout_s: float = 20.0, cpu_s: float | None = None, module: str = "app.simulators.ngspice_worker"
) -> WorkerPool:
    """A pool of up to `size` ngspice workers, none of them started yet. Raises NgspiceMissing.

    `timeout_s` is the wall clock of one simulation and of its second try, `cpu_s` the processor time allowed (the same
    where absent): where nobody waits, less of it than of the wall clock makes results independent of the load.
    Requests and answers are those of the module's `handle`.
    """
    return WorkerPool(
        module,
        size=size,
        timeout_s=timeout_s,
        recycle_after=RECYCLE_AFTER,
        limits=ProcessLimits(
            cpu_s=max(1, round(timeout_s if cpu_s is None else cpu_s)),
            memory_bytes=MEMORY_BYTES,
            file_bytes=0,
            processes=0,
        ),
        options={"library": find_ngspice()},
    )


def ngspice_version(pool: WorkerPool) -> str:
    """The version of the library that the pool's workers load (``39``); raises SimulatorFailure where none starts."""
    version: str = pool.submit({"about": True}).result()["version"]
    return version
