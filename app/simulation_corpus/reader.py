"""Reads a store of simulations into numpy arrays. Needs pyarrow and numpy, neither ngspice nor PySpice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.analog.netlist import Netlist
from app.errors import UnknownName
from app.simulation_corpus._arrow import arrow
from app.simulation_corpus.journal import read_journal
from app.simulation_corpus.layout import (
    Layout,
    Space,
    read_manifest,
    read_spaces,
    read_topologies,
    rows_schema,
    table_of,
)
from app.simulation_corpus.plan import Combination
from app.simulation_corpus.topologies import Topology, restored_topology

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]

#: Why a metric has no value, as `RowTable.causes` counts them. DEFINED has one; NOT_RUN was not asked for.
DEFINED, CIRCUIT, SIMULATOR, NOT_RUN = 0, 1, 2, 3
_CODES = {"circuit": CIRCUIT, "simulator": SIMULATOR, "not_run": NOT_RUN}

#: Columns that a filter may name.
FILTERS = ("topology_id", "testbench", "technology", "process", "method", "scope", "status", "run")


class RowTable:
    """Some rows of a store. Columns are numpy arrays in the order of the rows; text columns hold str objects."""

    def __init__(self, table: Any, metrics: Mapping[str, tuple[str, ...]], spaces: Mapping[Combination, Space]) -> None:
        self._table = table
        self._metrics = metrics
        self._spaces = spaces

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def column(self, name: str) -> NDArray[Any]:
        """A column of one value a row (``supply_v``, ``status``, ``index``); NaN or None where it is null."""
        if name not in self._table.column_names:
            raise UnknownName("column", name, self._table.column_names)
        column = self._table.column(name)
        if arrow().types.is_dictionary(column.type):
            column = column.cast(arrow().string())
        values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return values

    def metric(self, name: str) -> Floats:
        """A metric's values, NaN where the row has none; `causes` says why."""
        return self.column(name).astype(np.float64)

    def causes(self, name: str) -> Codes:
        """For each row why it has no value of this metric: DEFINED, CIRCUIT, SIMULATOR or NOT_RUN."""
        causes = np.where(np.isnan(self.metric(name)), NOT_RUN, DEFINED).astype(np.int8)
        rows, metrics, codes = self._undefined
        chosen = metrics == name
        causes[rows[chosen]] = codes[chosen]
        return causes

    def reasons(self, name: str) -> dict[str, int]:
        """Why rows have no value of this metric, in words without numbers, with their counts."""
        counts: dict[str, int] = {}
        for pairs in self._table.column("undefined").to_pylist():
            for metric, reason in pairs:
                if metric == name:
                    counts[reason] = counts.get(reason, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    @cached_property
    def _undefined(self) -> tuple[NDArray[np.int64], NDArray[Any], Codes]:
        """(row, metric, code) of every metric that is said to have no value."""
        column = self._table.column("undefined").combine_chunks()
        maps = column.chunks if hasattr(column, "chunks") else [column]
        rows, metrics, codes, first = [], [], [], 0
        for chunk in maps:
            lengths = np.diff(np.asarray(chunk.offsets))
            begin, end = int(chunk.offsets[0].as_py()), int(chunk.offsets[-1].as_py())
            rows.append(np.repeat(np.arange(len(chunk)) + first, lengths))
            metrics.append(chunk.keys.slice(begin, end - begin).to_numpy(zero_copy_only=False))
            words = chunk.items.slice(begin, end - begin).to_pylist()
            codes.append(np.array([_CODES[word.partition(":")[0]] for word in words], dtype=np.int8))
            first += len(chunk)
        if not rows:
            return np.empty(0, np.int64), np.empty(0, object), np.empty(0, np.int8)
        return np.concatenate(rows), np.concatenate(metrics), np.concatenate(codes)

    def where(self, **wanted: str | int | Sequence[str] | Sequence[int]) -> RowTable:
        """The rows whose columns have the value given, or one of those given: ``where(testbench="opamp")``."""
        return RowTable(_filtered(self._table, wanted), self._metrics, self._spaces)

    def groups(self) -> Iterator[Group]:
        """The rows of each topology, testbench and technology together, in the order of their names."""
        names = ("topology_id", "testbench", "technology")
        if not len(self):
            return
        keys = list(zip(*(self.column(name) for name in names), strict=True))
        places: dict[tuple[str, str, str], list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, []).append(place)
        for key, found in sorted(places.items()):
            combination = Combination(*key)
            rows = RowTable(self._table.take(found), self._metrics, self._spaces)
            yield Group(combination, self._spaces[combination], self._metrics[combination.testbench], rows)


@dataclass(frozen=True)
class Group:
    """Rows of one topology on one testbench in one technology, as rectangular arrays."""

    combination: Combination
    space: Space
    metrics: tuple[str, ...]
    rows: RowTable

    @cached_property
    def sizes(self) -> Floats:
        """Row x variable of `space`, in SI units."""
        column = self.rows._table.column("sizes").combine_chunks()
        flat = np.asarray(arrow().compute.list_flatten(column).to_numpy(zero_copy_only=False), dtype=np.float64)
        return flat.reshape(len(self.rows), len(self.space.variables))

    @cached_property
    def values(self) -> Floats:
        """Row x metric, NaN where there is no value."""
        return np.stack([self.rows.metric(name) for name in self.metrics], axis=1)

    @cached_property
    def causes(self) -> Codes:
        """Row x metric, as `RowTable.causes`."""
        return np.stack([self.rows.causes(name) for name in self.metrics], axis=1)

    def facts(self, name: str) -> NDArray[np.float32]:
        """Row x MOS of `space.devices`: a fact of the operating point (``gm``), NaN where there is none."""
        column = f"mos_{name}"
        if column not in self.rows._table.column_names:
            raise UnknownName("fact", name, [c[4:] for c in self.rows._table.column_names if c.startswith("mos_")])
        found = np.full((len(self.rows), len(self.space.devices)), np.nan, dtype=np.float32)
        for row, values in enumerate(self.rows._table.column(column).to_pylist()):
            if values is not None:
                found[row] = [np.nan if value is None else value for value in values]
        return found


@dataclass(frozen=True)
class SimulationStore:
    """A store that was read. `metrics` are those of each testbench, cheap to costly."""

    manifest: Mapping[str, Any]
    topologies: Mapping[str, Topology]
    spaces: Mapping[Combination, Space]
    metrics: Mapping[str, tuple[str, ...]]
    rows: RowTable

    def netlist(self, topology_id: str) -> Netlist:
        """The circuit of that canonical hash. Raises UnknownName."""
        if topology_id not in self.topologies:
            raise UnknownName("topology of the store", topology_id, self.topologies)
        return self.topologies[topology_id].netlist


def read_store(
    path: Path, *, columns: Sequence[str] | None = None, **wanted: str | int | Sequence[str] | Sequence[int]
) -> SimulationStore:
    """The store's rows: those of finished parts, then those of parts that are being filled.

    Args:
        path: The store's folder.
        columns: Only these columns and those that say what a row is, where given; all otherwise.
        wanted: Values of the columns `FILTERS`, one or several each: ``testbench="opamp", status=["ok"]``.

    Raises:
        NotFound: there is no store.
        UnknownName: a filter or a column that rows do not have.
        PackageMissing: pyarrow is not installed.
    """
    layout = Layout(path)
    manifest = read_manifest(layout)
    for name in wanted:
        if name not in FILTERS:
            raise UnknownName("filter", name, FILTERS)
    pa = arrow()
    metrics: dict[str, tuple[str, ...]] = {}
    every: dict[str, None] = {}
    facts: dict[str, None] = {}
    for run in manifest["runs"]:
        metrics |= {name: tuple(names) for name, names in run["metrics"].items()}
        every |= dict.fromkeys(name for names in run["metrics"].values() for name in names)
        facts |= dict.fromkeys(run["facts"])
    schema = rows_schema(tuple(every), tuple(facts))
    chosen = None
    if columns is not None:
        for name in columns:
            if name not in schema.names:
                raise UnknownName("column", name, schema.names)
        chosen = list(dict.fromkeys((*FILTERS, "unit", "index", "undefined", "sizes", *columns)))
    tables = [schema.empty_table().select(chosen or schema.names)]
    for file in sorted(layout.part(0).parent.glob("part-*.parquet")):
        table = pa.parquet.read_table(file, columns=chosen, schema=schema)
        tables.append(_filtered(table, wanted))
    for file in sorted(layout.open_part(0).parent.glob("part-*.ndjson")):
        if not file.with_suffix(".parquet").is_file():
            table = table_of(read_journal(file), schema).select(chosen or schema.names)
            tables.append(_filtered(table, wanted))
    rows = pa.concat_tables(tables).unify_dictionaries()
    topologies = {record["id"]: restored_topology(record) for record in read_topologies(layout)}
    spaces = read_spaces(layout)
    return SimulationStore(manifest, topologies, spaces, metrics, RowTable(rows, metrics, spaces))


def _filtered(table: Any, wanted: Mapping[str, str | int | Sequence[str] | Sequence[int]]) -> Any:
    pa = arrow()
    for name, values in wanted.items():
        several = [values] if isinstance(values, str | int) else list(values)
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        table = table.filter(pa.compute.is_in(column, value_set=pa.array(several, type=column.type)))
    return table
