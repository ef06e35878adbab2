"""Worker processes for testbenches; they also answer the decks of `simulators.operating_point`."""

from __future__ import annotations

from app.simulators.ngspice import ngspice_pool
from app.simulators.processes import WorkerPool

#: Wall clock of one batch of sizings, in seconds.
TIMEOUT_S = 20.0


def simulation_pool(*, size: int, timeout_s: float = TIMEOUT_S, cpu_s: float | None = None) -> WorkerPool:
    """A pool of up to `size` workers, none of them started yet; limits as of `ngspice_pool`. Raises NgspiceMissing."""
    return ngspice_pool(size=size, timeout_s=timeout_s, cpu_s=cpu_s, module="app.testbenches._worker")
