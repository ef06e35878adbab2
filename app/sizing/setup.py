"""A netlist, a testbench and a specification made ready to be sized: a bench for every corner, or why it cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.analog.netlist import Netlist
from app.errors import InvalidRequest
from app.sizing.problem import SizingProblem
from app.specification import Specification, check_specification, corners_of
from app.technologies._base import Technology
from app.technologies._gmid import GmIdProvider
from app.testbenches._base import Corner, Testbench
from app.testbenches._simulator import Bench, bench_start, prepare_bench


@dataclass(frozen=True, eq=False)
class SizingSetup:
    """The problem, whose benches measure the specification's metrics alone, and the benches that measure everything."""

    problem: SizingProblem
    verify: tuple[Bench, ...]

    @property
    def corners(self) -> tuple[Corner, ...]:
        """The corners, the search corner first."""
        return tuple(bench.corner for bench in self.verify)


def sizing_setup(
    netlist: Netlist,
    testbench: Testbench,
    technology: Technology,
    specification: Specification,
    gmid: GmIdProvider,
    *,
    ports: Mapping[str, str] | None = None,
) -> SizingSetup:
    """The circuit at every corner of the specification, at its guided start. Simulates nothing but gm/Id tables.

    Raises:
        UnknownName, InvalidRequest: what `check_specification` and `prepare_bench` raise, and a circuit that cannot be
            sized: it has no sizes, or a net whose voltage is undefined whatever its sizes.
        Unavailable: the technology's cards are not on this machine.
    """
    check_specification(specification, testbench, technology)

    def bench(corner: Corner, *, is_whole: bool) -> Bench:
        return prepare_bench(
            netlist,
            testbench,
            technology,
            corner=corner,
            metrics=None if is_whole else specification.metrics,
            settings=specification.settings,
            ports=ports,
            with_facts=True,
        )

    corners = corners_of(specification, technology)
    first = bench(corners[0], is_whole=False)
    if first.floating is not None:
        raise InvalidRequest(f"the circuit cannot be sized: {first.floating}", pointer="/netlist")
    if not first.space.variables:
        raise InvalidRequest("the circuit cannot be sized: it has no device with a size", pointer="/netlist")
    start = bench_start(first, gmid)

    def started(made: Bench) -> Bench:
        return replace(made, space=made.space.starting_at(start))

    problem = SizingProblem(specification, tuple(started(bench(corner, is_whole=False)) for corner in corners))
    return SizingSetup(problem, tuple(started(bench(corner, is_whole=True)) for corner in corners))
