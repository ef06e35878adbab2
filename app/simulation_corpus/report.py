"""What a store holds, in counts: rows by status, and for each topology on each testbench how many have each metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.simulation_corpus.layout import Layout, read_units
from app.simulation_corpus.reader import DEFINED, NOT_RUN, Codes, RowTable, SimulationStore, read_store


def store_report(path: Path) -> dict[str, Any]:
    """Counts of the rows, the plan they belong to, and what was dropped on the way to it.

    Under ``testbenches`` stands, for each, how many rows were asked for a metric and how many have it; under
    ``topologies`` the same for each circuit on each testbench.

    Raises:
        NotFound: there is no store.
    """
    store = read_store(path)
    layout = Layout(path)
    runs = store.manifest["runs"]
    planned = sum(unit.count for run in range(len(runs)) for unit in read_units(layout, run))
    rows = store.rows
    seconds = rows.column("simulate_s")
    return {
        "store": str(path),
        "rows": {"planned": planned, "simulated": len(rows)},
        "runs": [
            {key: run[key] for key in ("seed", "josephson", "ngspice", "testbenches", "counts", "notes", "dropped")}
            | {"recipe": run["recipe"]["name"], "technologies": list(run["technologies"])}
            for run in runs
        ],
        "statuses": dict(Counter(rows.column("status").tolist()).most_common()),
        "relaxed": int(rows.column("relaxed").sum()) if len(rows) else 0,
        "technologies": dict(sorted(Counter(rows.column("technology").tolist()).items())),
        "corners": len(set(zip(*(rows.column(name) for name in ("process", "supply_v", "celsius")), strict=True))),
        "topologies_with_rows": len(set(rows.column("topology_id").tolist())),
        "cpu_s": round(float(seconds.sum()), 1),
        "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        "testbenches": _by_testbench(store),
        "topologies": _by_topology(store),
    }


def _by_testbench(store: SimulationStore) -> dict[str, Any]:
    found = {}
    for testbench, metrics in store.metrics.items():
        rows = store.rows.where(testbench=testbench)
        if len(rows):
            found[testbench] = {
                "rows": len(rows),
                "topologies": len(set(rows.column("topology_id").tolist())),
                "milliseconds": round(1e3 * float(rows.column("simulate_s").mean()), 2),
                "defined": {name: _defined(rows.causes(name)) for name in metrics},
            }
    return found


def _by_topology(store: SimulationStore) -> list[dict[str, Any]]:
    found = []
    for (topology_id, testbench), rows in _split(store):
        topology = store.topologies[topology_id]
        found.append(
            {
                "name": topology.name,
                "type": topology.type,
                "origin": topology.origin,
                "id": topology_id,
                "testbench": testbench,
                "rows": len(rows),
                "ok": int((rows.column("status") == "ok").sum()),
                "defined": {name: _defined(rows.causes(name))["defined"] for name in store.metrics[testbench]},
            }
        )
    return sorted(found, key=lambda entry: (entry["testbench"], entry["origin"], entry["name"]))


def _split(store: SimulationStore) -> Iterator[tuple[tuple[str, str], RowTable]]:
    pairs = sorted({(c.topology_id, c.testbench) for c in store.spaces})
    for topology_id, testbench in pairs:
        rows = store.rows.where(topology_id=topology_id, testbench=testbench)
        if len(rows):
            yield (topology_id, testbench), rows


def _defined(causes: Codes) -> dict[str, int]:
    return {"asked": int((causes != NOT_RUN).sum()), "defined": int((causes == DEFINED).sum())}
