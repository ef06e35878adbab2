"""Where a store keeps what, and its tables. Knows how rows lie on disk, not how they come to be.

manifest.json               schema, versions, and of every run its recipe, seed, selection and notes
probes.ndjson               what became of each topology that was tried
topologies.parquet          circuits: canonical hash, type, origin, name, SPICE text
spaces.parquet              of each circuit on a testbench in a technology: its variables, in the order of `sizes`
plans/run-NNNNN.parquet     the units of each run
rows/part-NNNNN.parquet     rows of finished parts; part-NNNNN.ndjson are those of a part that is being filled
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import Conflict, NotFound
from app.simulation_corpus._arrow import arrow, write_json, write_table
from app.simulation_corpus.plan import Combination, Unit
from app.simulation_corpus.topologies import Topology

#: Grows whenever a reader of the older layout would misread a newer store.
SCHEMA_VERSION = 1

#: What a reason loses, so that equal ones are equal: ``at 1.79 V`` becomes ``at # V``.
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Space:
    """Variables of a topology on a testbench in a technology, as plain values, and which port plays which role."""

    combination: Combination
    variables: tuple[Mapping[str, Any], ...]
    ports: Mapping[str, str]
    devices: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """The paths of the store at `root`, which need not exist."""

    root: Path

    @property
    def manifest(self) -> Path:
        """The file that makes a folder a store."""
        return self.root / "manifest.json"

    @property
    def probes(self) -> Path:
        """One line a topology that was tried on a testbench in a technology."""
        return self.root / "probes.ndjson"

    def part(self, number: int) -> Path:
        """Rows of a finished part."""
        return self.root / "rows" / f"part-{number:05d}.parquet"

    def open_part(self, number: int) -> Path:
        """Rows of a part that is being filled, one JSON object a line."""
        return self.root / "rows" / f"part-{number:05d}.ndjson"

    def plan(self, run: int) -> Path:
        """The units of a run."""
        return self.root / "plans" / f"run-{run:05d}.parquet"

    @property
    def topologies(self) -> Path:
        """The circuits."""
        return self.root / "topologies.parquet"

    @property
    def spaces(self) -> Path:
        """The variables."""
        return self.root / "spaces.parquet"


def read_manifest(layout: Layout) -> dict[str, Any]:
    """The manifest of a store.

    Raises:
        NotFound: there is no store.
        Conflict: the store is of a layout that this version does not know.
    """
    if not layout.manifest.is_file():
        raise NotFound("store of simulations at", str(layout.root))
    manifest: dict[str, Any] = json.loads(layout.manifest.read_text(encoding="utf-8"))
    if manifest.get("schema") != SCHEMA_VERSION:
        raise Conflict(
            f"the store at {layout.root} has schema {manifest.get('schema')!r}, this version reads {SCHEMA_VERSION}; "
            "make a new store, or use the version that wrote it"
        )
    return manifest


def write_manifest(layout: Layout, manifest: Mapping[str, Any]) -> None:
    """The manifest is on disk, whole."""
    for folder in (layout.root, layout.root / "rows", layout.root / "plans"):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(layout.manifest, manifest)


def write_units(layout: Layout, run: int, units: Sequence[Unit]) -> None:
    """The plan of a run is on disk."""
    pa = arrow()
    records = [
        {
            "number": unit.number, "part": unit.part, "topology_id": unit.combination.topology_id,
            "testbench": unit.combination.testbench, "technology": unit.combination.technology,
            "process": unit.process, "supply_v": unit.supply_v, "celsius": unit.celsius, "method": unit.method,
            "seed": unit.seed, "first": unit.first, "count": unit.count, "scope": unit.scope,
        }
        for unit in units
    ]  # fmt: skip
    layout.plan(run).parent.mkdir(parents=True, exist_ok=True)
    write_table(layout.plan(run), pa.Table.from_pylist(records, schema=_unit_schema()))


def read_units(layout: Layout, run: int) -> tuple[Unit, ...]:
    """The plan of a run."""
    table = arrow().parquet.read_table(layout.plan(run))
    return tuple(
        Unit(
            run=run,
            combination=Combination(*(record.pop(name) for name in ("topology_id", "testbench", "technology"))),
            **record,
        )
        for record in table.to_pylist()
    )


def _unit_schema() -> Any:
    pa = arrow()
    text = pa.string()
    return pa.schema(
        [
            ("number", pa.int32()), ("part", pa.int32()), ("topology_id", text), ("testbench", text),
            ("technology", text), ("process", text), ("supply_v", pa.float64()), ("celsius", pa.float64()),
            ("method", text), ("seed", pa.int64()), ("first", pa.int32()), ("count", pa.int32()), ("scope", text),
        ]
    )  # fmt: skip


def write_topologies(layout: Layout, topologies: Iterable[Topology]) -> None:
    """The circuits are on disk."""
    pa = arrow()
    names = ("id", "type", "origin", "name", "netlist")
    records = [dict(zip(names, (t.id, t.type, t.origin, t.name, t.text), strict=True)) for t in topologies]
    write_table(layout.topologies, pa.Table.from_pylist(records, schema=pa.schema([(n, pa.string()) for n in names])))


def read_topologies(layout: Layout) -> list[dict[str, str]]:
    """The circuits as they were written."""
    records: list[dict[str, str]] = arrow().parquet.read_table(layout.topologies).to_pylist()
    return records


def write_spaces(layout: Layout, spaces: Iterable[Space]) -> None:
    """The variables are on disk."""
    pa = arrow()
    names = ("topology_id", "testbench", "technology", "variables", "ports", "devices")
    records = [
        {
            "topology_id": space.combination.topology_id,
            "testbench": space.combination.testbench,
            "technology": space.combination.technology,
            "variables": json.dumps([dict(variable) for variable in space.variables]),
            "ports": json.dumps(dict(space.ports)),
            "devices": json.dumps(list(space.devices)),
        }
        for space in spaces
    ]
    write_table(layout.spaces, pa.Table.from_pylist(records, schema=pa.schema([(n, pa.string()) for n in names])))


def read_spaces(layout: Layout) -> dict[Combination, Space]:
    """The variables by what they belong to."""
    found = {}
    for record in arrow().parquet.read_table(layout.spaces).to_pylist():
        combination = Combination(record["topology_id"], record["testbench"], record["technology"])
        variables = tuple(json.loads(record["variables"]))
        found[combination] = Space(
            combination, variables, json.loads(record["ports"]), tuple(json.loads(record["devices"]))
        )
    return found


def plain_reason(cause: str, reason: str) -> str:
    """``cause: reason`` without the numbers of the one sizing, so that a store holds few different ones."""
    return f"{cause}: {_NUMBER.sub('#', reason)}"


def rows_schema(metrics: Sequence[str], facts: Sequence[str]) -> Any:
    """The schema of a part. `metrics` have a column each, named as they are; a fact's is ``mos_`` and its name."""
    pa = arrow()
    word = pa.dictionary(pa.int32(), pa.string())
    columns = [
        ("run", pa.int16()), ("unit", pa.int32()), ("index", pa.int32()), ("topology_id", word), ("testbench", word),
        ("testbench_version", pa.int16()), ("technology", word), ("card_hash", word), ("process", word),
        ("supply_v", pa.float64()), ("celsius", pa.float64()), ("settings", pa.map_(pa.string(), pa.float64())),
        ("method", word), ("seed", pa.int64()), ("scope", word), ("sizes", pa.list_(pa.float64())), ("status", word),
        ("relaxed", pa.bool_()), ("message", word), ("simulate_s", pa.float32()),
        ("undefined", pa.map_(pa.string(), pa.string())),
    ]  # fmt: skip
    taken = {name for name, _ in columns}
    columns += [(name, pa.float64()) for name in metrics if name not in taken]
    columns += [(f"mos_{fact}", pa.list_(pa.float32())) for fact in facts]
    return pa.schema(columns)


def write_part(
    layout: Layout, number: int, rows: Iterable[Mapping[str, Any]], metrics: Sequence[str], facts: Sequence[str]
) -> None:
    """The rows, in the order of their unit and index, are the finished part `number`; what was open of it is gone."""
    write_table(layout.part(number), table_of(rows, rows_schema(metrics, facts)))
    layout.open_part(number).unlink(missing_ok=True)


def table_of(rows: Iterable[Mapping[str, Any]], schema: Any) -> Any:
    """Rows of a journal as a table in the order of their unit and index."""
    ordered = sorted(rows, key=lambda row: (row["unit"], row["index"]))
    columns = {name: arrow().array(_column(name, ordered), type=schema.field(name).type) for name in schema.names}
    return arrow().table(columns, schema=schema)


def _column(name: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    if name in ("settings", "undefined"):
        return [sorted(row[name].items()) for row in rows]
    if name.startswith("mos_"):
        return [row["facts"].get(name.removeprefix("mos_")) for row in rows]
    return [row[name] if name in row else row["metrics"].get(name) for row in rows]
