"""Whether a circuit does what its type is for: the least function of a testbench, at a fixed budget of sizings.

An unsized topology cannot fail by one bad sizing. So a few sizings are tried, the gm/Id-guided start first, and the
circuit works when any of them meets every bound of `Testbench.works`. Not meeting them proves nothing: it says what was
tried.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from app.analog.netlist import Netlist
from app.errors import InvalidRequest
from app.sizes.draws import DrawMethod, draw
from app.technologies._base import Technology
from app.testbenches._base import Bound, Testbench, testbenches
from app.testbenches._simulator import Bench, BenchSimulator, SimulationRow, prepare_bench

#: Sizings that are tried for one circuit.
FUNCTION_BUDGET = 32

#: Draws around the start come first; every fourth is from the whole range.
_WIDE_EVERY = 4

_SEED = 0

#: Sizings that are tried together; a circuit that works at its start costs one simulation.
_ROUNDS = ((0, 1), (1, 8), (8, None))


@dataclass(frozen=True)
class FunctionVerdict:
    """What trying gave.

    `row` is the sizing that works, else the one that met most bounds; None where none was simulated.
    `refused` says, by testbench, why it cannot drive the circuit.
    """

    works: bool
    testbench: str | None
    tried: int
    row: SimulationRow | None
    unmet: tuple[Bound, ...]
    refused: Mapping[str, str]


def testbenches_for(circuit_type: str) -> tuple[Testbench, ...]:
    """The testbenches for circuits of a type, those that ask for more ports first."""
    fitting = [bench for bench in testbenches.values() if circuit_type in bench.types]
    return tuple(sorted(fitting, key=lambda bench: -sum(role.is_required for role in bench.roles)))


def check_function(
    netlist: Netlist,
    circuit_type: str,
    technology: Technology,
    simulator: BenchSimulator,
    *,
    budget: int = FUNCTION_BUDGET,
    without: Collection[str] = (),
) -> FunctionVerdict:
    """Tries sizings on every testbench of the type that can drive the circuit, until one works.

    Testbenches named in `without` are left out.
    """
    best = FunctionVerdict(False, None, 0, None, (), {})
    refused: dict[str, str] = {}
    tried = 0
    for testbench in testbenches_for(circuit_type):
        if testbench.name in without:
            continue
        try:
            bench = prepare_bench(netlist, testbench, technology, metrics=[bound.metric for bound in testbench.works])
        except InvalidRequest as error:
            refused[testbench.name] = str(error)
            continue
        found = _try(bench, simulator, budget)
        tried += found.tried
        if found.works or best.row is None or len(found.unmet) < len(best.unmet):
            best = found
        if found.works:
            break
    return FunctionVerdict(best.works, best.testbench, tried, best.row, best.unmet, refused)


def unmet_bounds(works: Sequence[Bound], metrics: Mapping[str, float | None]) -> tuple[Bound, ...]:
    """The bounds that these metrics do not meet; a metric without a value meets none."""
    return tuple(bound for bound in works if not _is_met(bound, metrics.get(bound.metric)))


def _is_met(bound: Bound, value: float | None) -> bool:
    if value is None:
        return False
    return (bound.low is None or value >= bound.low) and (bound.high is None or value <= bound.high)


def _try(bench: Bench, simulator: BenchSimulator, budget: int) -> FunctionVerdict:
    start = simulator.guided_start(bench)
    vectors = [start]
    for index in range(1, budget):
        method: DrawMethod = "log_uniform" if index % _WIDE_EVERY == 0 else "guided"
        vectors.append(draw(bench.space, start, method, _SEED, index))
    best: SimulationRow | None = None
    unmet: tuple[Bound, ...] = ()
    tried = 0
    for first, last in _ROUNDS:
        for row in simulator.run(bench, vectors[first:last]):
            tried += 1
            missing = unmet_bounds(bench.testbench.works, row["metrics"])
            if best is None or len(missing) < len(unmet):
                best, unmet = row, missing
        if best is not None and not unmet:
            break
    return FunctionVerdict(best is not None and not unmet, bench.testbench.name, tried, best, unmet, {})
