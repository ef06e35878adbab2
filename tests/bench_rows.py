"""One sizing of one circuit through the real simulator, for tests of testbenches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.analog.corpus import read_archetypes
from app.analog.netlist import Netlist
from app.analog.spice import parse_spice
from app.simulators.processes import WorkerPool
from app.technologies._base import technologies
from app.testbenches._base import testbenches
from app.testbenches._simulator import BenchSimulator, prepare_bench


def archetype(name: str) -> Netlist:
    """A shipped circuit by type and file name: ``lna/common_gate``."""
    return next(circuit.netlist for circuit in read_archetypes() if circuit.id == name)


def circuit(ports: str, *cards: str) -> Netlist:
    """A netlist from its ports and element cards."""
    return parse_spice("\n".join(("* test", f"* ports: {ports}", *cards, ".end"))).netlist


def row_of(
    pool: WorkerPool, netlist: Netlist, bench: str, sizing: Mapping[str, float] | None = None, **options: Any
) -> dict[str, Any]:
    """The simulator's row at a sizing (what it does not name keeps its start) in generic180."""
    prepared = prepare_bench(netlist, testbenches[bench], technologies["generic180"], **options)
    (row,) = BenchSimulator(pool).run(prepared, [prepared.space.vector(sizing or {})])
    return row


def refusal_of(row: Mapping[str, Any], metric: str) -> tuple[str, str]:
    """(cause, reason) of a metric without a value."""
    assert row["metrics"][metric] is None
    undefined = row["undefined"][metric]
    return undefined["cause"], undefined["reason"]
