"""Made-up simulations of shipped circuits, for tests of what learns from them. No simulator runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from app.analog.canonical import canonical_hash
from app.analog.spice import write_spice
from app.neural_simulator.arrays import CIRCUIT, DEFINED, FACTS, Estimates
from app.neural_simulator.dataset import PreparedSimulations, SimulationGroup, TopologyFacts
from app.neural_simulator.features import Sizings, TechnologyProfile, ports_that_follow_the_supply
from app.sizes.draws import draw
from app.technologies._base import technologies
from app.testbenches._base import testbenches
from app.testbenches._simulator import Bench, make_corner, prepare_bench
from tests.analytic_transistors import analytic_tables
from tests.bench_rows import archetype

GENERIC180 = technologies["generic180"]

#: Three process corners, the slow one with less current and the fast one with more.
PROFILE = TechnologyProfile.of(
    [analytic_tables(GENERIC180, name, factor=factor) for name, factor in (("tt", 1.0), ("ss", 0.7), ("ff", 1.4))]
)

#: By unit a value that a circuit can have.
_MOST = {"V": 1.0, "V/sqrt(Hz)": 1e-6, "F": 1e-12}


@cache
def bench_of(name: str, *, process: str = "tt", supply_v: float = 1.8, celsius: float = 27.0) -> Bench:
    """An archetype (``opamp/two_stage_miller``) on the testbench of its type, in generic180."""
    corner = make_corner(GENERIC180, process, supply_v, celsius)
    return prepare_bench(archetype(name), testbenches[name.partition("/")[0]], GENERIC180, corner=corner)


def vectors_of(bench: Bench, count: int) -> list[tuple[float, ...]]:
    """Sizings from the whole range."""
    return [draw(bench.space, bench.space.start, "log_uniform", 1, index) for index in range(count)]


def group_of(bench: Bench, count: int) -> SimulationGroup:
    """Rows of a bench whose results are random; every third lacks its last metric. The first metric is estimated."""
    rng = np.random.default_rng(count)
    devices = tuple(device.name for device in bench.topology.devices if device.kind_of.is_mos)
    values = rng.normal(size=(count, len(bench.metrics)))
    for place, metric in enumerate(bench.metrics):
        if metric.unit in _MOST:  # a circuit cannot have just any
            values[:, place] = rng.uniform(1e-3, 1.0, count) * _MOST[metric.unit]
    causes = np.zeros(values.shape, dtype=np.int8)
    values[::3, -1], causes[::3, -1] = np.nan, CIRCUIT
    facts = rng.normal(size=(count, len(devices), len(FACTS))).astype(np.float32)
    estimates = Estimates.nothing(count, len(bench.metrics), len(devices))
    estimates.values[:, 0], estimates.causes[:, 0] = values[:, 0].astype(np.float32), DEFINED
    estimates.facts[1:] = facts[1:]
    return SimulationGroup(
        topology_id=canonical_hash(bench.topology),
        testbench=bench.testbench.name,
        technology=bench.technology.name,
        netlist=bench.topology,
        variables=bench.space.variables,
        ports=dict(bench.wiring.port_of),
        following=tuple(sorted(ports_that_follow_the_supply(bench.bias, bench.technology) - {"VDD"})),
        metrics=tuple(metric.name for metric in bench.metrics),
        devices=devices,
        sizings=Sizings.of_bench(bench, vectors_of(bench, count)),
        values=values,
        causes=causes,
        facts=facts,
        methods=np.full(count, "log_uniform"),
        simulate_s=rng.uniform(0.01, 0.1, count).astype(np.float32),
        estimates=estimates,
    )


def prepared_of(names: Sequence[str], count: int) -> PreparedSimulations:
    """`count` rows of each of these archetypes."""
    groups = tuple(group_of(bench_of(name), count) for name in names)
    topologies = {
        group.topology_id: TopologyFacts(name.partition("/")[0], "archetype", name, write_spice(group.netlist))
        for name, group in zip(names, groups, strict=True)
    }
    return PreparedSimulations(({"seed": 1, "ngspice": "39"},), topologies, {GENERIC180.name: PROFILE}, groups)
