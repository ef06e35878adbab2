"""A workshop whose circuits are fake and whose simulations are real: ngspice without models and without torch."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.requests import AnalogSimulateRequest, JobRequest
from app.simulations import Simulations, describe_technology, describe_testbench
from app.simulators.processes import WorkerPool
from app.technologies._base import technologies
from app.testbenches._base import testbenches
from app.testbenches._pool import simulation_pool
from app.testing import FakeWorkshop
from app.workshop import Row

#: An amplifier of six transistors, and the request that is made of it.
PAIR = """\
* ports: VDD VSS VIN1 VIN2 VOUT1 IB1
M1 N1 VIN1 N2 VSS nmos
M2 VOUT1 VIN2 N2 VSS nmos
M3 N1 N1 VDD VDD pmos
M4 VOUT1 N1 VDD VDD pmos
M5 N2 IB1 VSS VSS nmos
M6 IB1 IB1 VSS VSS nmos
"""


class BenchWorkshop(FakeWorkshop):
    """Simulates in the pool; everything else is as in the FakeWorkshop."""

    def __init__(self, pool: WorkerPool, data_dir: Path) -> None:
        super().__init__()
        self.pool = pool
        self.simulations = Simulations(pool, data_dir)

    def prepare(self, kind: str, request: JobRequest) -> JobRequest:
        """The prepared request."""
        if isinstance(request, AnalogSimulateRequest):
            return self.simulations.prepare(kind, request)
        return super().prepare(kind, request)

    def heading(self, kind: str, request: JobRequest) -> Mapping[str, Any]:
        """What rows have in common."""
        if isinstance(request, AnalogSimulateRequest):
            return self.simulations.heading(kind, request)
        return super().heading(kind, request)

    def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """Rows."""
        if isinstance(request, AnalogSimulateRequest):
            return self.simulations.produce(kind, request, indices, in_background=in_background)
        return super().produce(kind, request, indices, in_background=in_background)

    def describe(self) -> Mapping[str, Any]:
        """Testbenches and technologies as the workshop of a machine describes them."""
        return {
            **super().describe(),
            "technologies": [describe_technology(entry) for entry in technologies.values()],
            "testbenches": [describe_testbench(entry) for entry in testbenches.values()],
        }


@contextlib.contextmanager
def bench_workshop(data_dir: Path, *, size: int = 2) -> Iterator[BenchWorkshop]:
    """A workshop with a pool of its own."""
    with simulation_pool(size=size) as pool:
        yield BenchWorkshop(pool, data_dir)
