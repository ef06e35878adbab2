"""Opens the machinery behind the checks of analog circuits. How long it may take by the clock, its callers know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.simulators.operating_point import OperatingPointSimulator
from app.technologies._base import DEFAULT_TECHNOLOGY, technologies
from app.testbenches._pool import simulation_pool
from app.testbenches._simulator import BenchSimulator
from app.validators._base import ValidationTools

#: Most processor time of one batch of simulations, which is meant to take one second.
SIMULATION_CPU_S = 5.0


@contextmanager
def analog_tools(workers: int, data_dir: Path, *, wall_s: float) -> Iterator[ValidationTools]:
    """Simulator and benches over up to `workers` ngspice processes of their own, while it lasts. Raises NgspiceMissing.

    A simulation is stopped by the processor time it takes. `wall_s` is the wall clock beside it, which should be so
    long that what else the machine does decides nothing. `data_dir` holds the cache of gm/Id tables.
    """
    with simulation_pool(size=workers, timeout_s=wall_s, cpu_s=SIMULATION_CPU_S) as pool:
        simulator = OperatingPointSimulator(pool, technologies[DEFAULT_TECHNOLOGY])
        yield ValidationTools(simulator=simulator, benches=BenchSimulator(pool, tables_folder=data_dir / "gmid"))
