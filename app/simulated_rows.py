"""Rows that ngspice simulated on this installation, kept so that later predictions of the same circuits follow them.

One SQLite file. A row is found again by a bench whose circuit is wired and sized alike, down to the names of devices,
on the same version of the testbench, in the same corner and settings, with the same cards: rows of anything else are
other rows. Knows no models.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from app.analog.canonical import canonical_hash
from app.errors import Unavailable
from app.neural_simulator.arrays import FACTS
from app.neural_simulator.nearest import named_wiring
from app.testbenches._base import Corner
from app.testbenches._simulator import Bench, SimulationRow

log = logging.getLogger(__name__)

#: Rows that are kept of a circuit on a testbench in a technology, and altogether: the newest.
MOST_ROWS, _MOST_ALTOGETHER = 2_048, 100_000

#: Grows whenever a reader of the older layout would misread a newer store.
FORMAT = 1

#: Longest wait for another writer.
_BUSY_S = 20.0

#: What a file raises that is no store, is damaged, or cannot be reached.
_DAMAGES = (sqlite3.Error, OSError, ValueError, KeyError, TypeError, AttributeError)

Value = TypeVar("Value")

_TABLES = (
    "CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY AUTOINCREMENT, topology TEXT NOT NULL, "
    "testbench TEXT NOT NULL, technology TEXT NOT NULL, circuit TEXT NOT NULL, bench TEXT NOT NULL, "
    "conditions TEXT NOT NULL, sizing TEXT NOT NULL, told TEXT NOT NULL, added TEXT NOT NULL, "
    "UNIQUE (bench, sizing))",
    "CREATE INDEX IF NOT EXISTS of_topology ON rows (topology, testbench, technology, number)",
    "CREATE INDEX IF NOT EXISTS of_circuit ON rows (circuit, bench)",
)
_OF_TOPOLOGY = "topology = ? AND testbench = ? AND technology = ?"


@dataclass(frozen=True, slots=True)
class StoredCircuit:
    """What the store has of a circuit on a testbench in a technology: rows, and by how many benches they were made.

    `newest` is when the last row was added, in ISO 8601.
    """

    topology_id: str
    testbench: str
    technology: str
    rows: int
    benches: int
    newest: str


class SimulatedRows:
    """The store of a folder, which need not exist. Any number of threads and processes may use one at once.

    What was simulated is worth more than its record: a store that cannot be read has no rows, one that cannot be
    written takes none, and the log says so.
    """

    def __init__(self, folder: Path, *, most_rows: int = MOST_ROWS) -> None:
        self.path = folder / "rows.sqlite"
        self._most_rows = most_rows

    def add(self, bench: Bench, rows: Sequence[SimulationRow]) -> int:
        """Rows of `BenchSimulator.run` are kept, the last of them as the newest; how many have anything to tell.

        A sizing that was simulated before is one row with what both say.
        """
        telling = [(_digest(row["sizes"]), _told(row)) for row in rows if is_telling(row)]
        if not telling:
            return 0
        key = (canonical_hash(bench.topology), bench.testbench.name, bench.technology.name)
        made_by = (circuit_fingerprint(bench), bench_fingerprint(bench), _dumped(_conditions(bench)))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with self._written() as store:
                for sizing, told in telling:
                    same = "SELECT told FROM rows WHERE bench = ? AND sizing = ?"
                    for (old,) in store.execute(same, (made_by[1], sizing)).fetchall():
                        told = _together(json.loads(old), told)
                    store.execute(
                        "INSERT OR REPLACE INTO rows (topology, testbench, technology, circuit, bench, conditions, "
                        "sizing, told, added) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        (*key, *made_by, sizing, _dumped(told), now),
                    )
                self._drop_oldest(store, key)
        except _DAMAGES as error:
            log.warning("%s", self._problem(error))
            return 0
        return len(telling)

    def rows(self, bench: Bench, most: int | None = None) -> tuple[SimulationRow, ...]:
        """The rows of this very bench, or the newest `most` of them, oldest first.

        They have `sizes`, `metrics`, `undefined` (causes without reasons) and `operating_point`.
        """

        def read() -> tuple[SimulationRow, ...]:
            wanted = "SELECT told FROM rows WHERE bench = ? ORDER BY number DESC LIMIT ?"
            found = self._read(wanted, bench_fingerprint(bench), -1 if most is None else most)
            return tuple(_row(json.loads(told)) for (told,) in reversed(found))

        return self._unless_damaged(read, ())

    def siblings(self, bench: Bench) -> tuple[Bench, ...]:
        """The bench in those of its corners and settings that it has rows of, most rows first."""

        def read() -> tuple[Bench, ...]:
            wanted = "SELECT bench, conditions FROM rows WHERE circuit = ? GROUP BY bench ORDER BY COUNT(*) DESC, bench"
            found = []
            for name, conditions in self._read(wanted, circuit_fingerprint(bench)):
                told = json.loads(conditions)
                sibling = replace(bench, corner=Corner(**told["corner"]), settings=told["settings"])
                if sibling.corner.process in bench.technology.processes and bench_fingerprint(sibling) == name:
                    found.append(sibling)
            return tuple(found)

        return self._unless_damaged(read, ())

    def revision(self, bench: Bench) -> int:
        """A number that grows whenever rows of the bench's circuit are added, in any corner; 0 where there are none."""

        def read() -> int:
            wanted = "SELECT COALESCE(MAX(number), 0) FROM rows WHERE circuit = ?"
            return sum(int(newest) for (newest,) in self._read(wanted, circuit_fingerprint(bench)))

        return self._unless_damaged(read, 0)

    def circuits(self) -> tuple[StoredCircuit, ...]:
        """What there is, the newest first.

        Raises:
            Unavailable: the store cannot be read.
        """
        wanted = (
            "SELECT topology, testbench, technology, COUNT(*), COUNT(DISTINCT bench), MAX(added) FROM rows "
            "GROUP BY topology, testbench, technology ORDER BY MAX(number) DESC"
        )
        try:
            return tuple(StoredCircuit(*found) for found in self._read(wanted))
        except _DAMAGES as error:
            raise Unavailable(self._problem(error)) from error

    def facts(self) -> dict[str, Any]:
        """What the store has, for descriptions: circuits and rows, or the problem of one that cannot be read."""
        try:
            circuits = self.circuits()
        except Unavailable as error:
            return {"circuits": 0, "rows": 0, "problem": str(error)}
        return {"circuits": len(circuits), "rows": sum(circuit.rows for circuit in circuits)}

    def forget(self, topology_id: str | None = None) -> int:
        """Rows of a topology, or all, are gone; how many they were. Forgetting all mends a damaged store.

        Args:
            topology_id: A canonical hash, or how one begins.

        Raises:
            Unavailable: the store cannot be read, or not be written.
        """
        if not self.path.is_file():
            return 0
        try:
            with self._written() as store:
                begins = topology_id or ""
                gone = store.execute("DELETE FROM rows WHERE substr(topology, 1, ?) = ?", (len(begins), begins))
                return gone.rowcount
        except _DAMAGES as error:
            if topology_id is not None or isinstance(error, sqlite3.OperationalError):
                raise Unavailable(self._problem(error)) from error
        self.path.unlink()
        return 0

    def _unless_damaged(self, read: Callable[[], Value], nothing: Value) -> Value:
        try:
            return read()
        except _DAMAGES as error:
            log.warning("%s", self._problem(error))
            return nothing

    def _read(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        """What the store answers; nothing where nobody has written one."""
        if not self.path.is_file():
            return []
        with self._opened() as store:
            has_tables = store.execute("PRAGMA user_version").fetchone() != (0,)
            return store.execute(query, values).fetchall() if has_tables else []

    def _drop_oldest(self, store: sqlite3.Connection, circuit: tuple[str, str, str]) -> None:
        of_circuit = f"SELECT number FROM rows WHERE {_OF_TOPOLOGY} ORDER BY number DESC LIMIT 1 OFFSET ?"
        store.execute(
            f"DELETE FROM rows WHERE {_OF_TOPOLOGY} AND number <= ({of_circuit})",
            (*circuit, *circuit, self._most_rows),
        )
        altogether = "SELECT number FROM rows ORDER BY number DESC LIMIT 1 OFFSET ?"
        store.execute(f"DELETE FROM rows WHERE number <= ({altogether})", (_MOST_ALTOGETHER,))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The store, of this format or still without tables."""
        with closing(sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)) as store:
            (found,) = store.execute("PRAGMA user_version").fetchone()
            if found not in (0, FORMAT):
                raise ValueError(f"it is of format {found}, this version reads format {FORMAT}")
            yield store

    @contextmanager
    def _written(self) -> Iterator[sqlite3.Connection]:
        """The store with its tables, in a transaction: all that is written is, or nothing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._opened() as store:
            store.execute("BEGIN IMMEDIATE")
            for statement in _TABLES:
                store.execute(statement)
            store.execute(f"PRAGMA user_version = {FORMAT}")
            yield store
            store.execute("COMMIT")

    def _problem(self, error: Exception) -> str:
        return (
            f"{self.path} cannot be used as a store of simulated rows: {error}; predictions do without what was "
            "simulated here until it is mended, or removed with 'josephson train simulator --forget all'"
        )


def simulated_rows_of(data_dir: Path) -> SimulatedRows:
    """The store of a data folder."""
    return SimulatedRows(data_dir / "simulated")


def circuit_fingerprint(bench: Bench) -> str:
    """What benches share that may differ in corner and settings, and in the version of the testbench."""
    space, topology = bench.space, bench.topology
    fixed = sorted(
        (device.name, size, value)
        for device in topology.devices
        for size, value in device.sizes.items()
        if (device.name, size) not in space.variable_at
    )
    return _digest(
        {
            "wiring": named_wiring(topology),
            "ports": dict(bench.wiring.port_of),
            "variables": [(variable.name, variable.places, variable.port) for variable in space.variables],
            "fixed": fixed,
            "testbench": bench.testbench.name,
            "technology": bench.technology.name,
        }
    )


def bench_fingerprint(bench: Bench) -> str:
    """What benches share whose rows are each other's: all that decides what ngspice says of a sizing by name."""
    return _digest(
        {
            "circuit": circuit_fingerprint(bench),
            "version": bench.testbench.version,
            "cards": bench.models.card_hash,
            "conditions": _conditions(bench),
        }
    )


def _conditions(bench: Bench) -> dict[str, Any]:
    return {"corner": asdict(bench.corner), "settings": dict(bench.settings)}


def is_telling(row: SimulationRow) -> bool:
    """Whether ngspice found a metric's value, or that the circuit has none."""
    is_undefined = any(why.get("cause") == "circuit" for why in row["undefined"].values())
    return is_undefined or any(value is not None for value in row["metrics"].values())


def _told(row: SimulationRow) -> dict[str, Any]:
    """What is kept of a row; operating points with six digits, in the order of `FACTS`."""
    points = row.get("operating_point") or {}
    return {
        "sizes": row["sizes"],
        "metrics": {name: value for name, value in row["metrics"].items() if value is not None},
        "causes": {name: why["cause"] for name, why in row["undefined"].items()},
        "facts": {
            device: [None if found.get(name) is None else float(f"{found[name]:.6g}") for name in FACTS]
            for device, found in points.items()
        },
    }


def _together(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What two simulations of a sizing say; where both say something, the new one is right."""
    metrics = old["metrics"] | new["metrics"]
    causes = {name: cause for name, cause in (old["causes"] | new["causes"]).items() if name not in metrics}
    return {**new, "metrics": metrics, "causes": causes, "facts": new["facts"] or old["facts"]}


def _row(told: Mapping[str, Any]) -> SimulationRow:
    return {
        "sizes": told["sizes"],
        "metrics": told["metrics"] | dict.fromkeys(told["causes"]),
        "undefined": {name: {"cause": cause} for name, cause in told["causes"].items()},
        "operating_point": {
            device: {name: value for name, value in zip(FACTS, values, strict=True) if value is not None}
            for device, values in told["facts"].items()
        },
    }


def _dumped(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
