"""The circuits that models learn from: a corpus and the archetypes, each circuit once, typed, and split into two sides.

Circuits of one split class are on one side of every split. They are wired alike, whatever their ports are called, or
one is an op-amp that stands inside the other, or the same op-amp stands inside both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import networkx as nx

from app.analog.canonical import are_isomorphic, wiring_hash
from app.analog.corpus import AnalogCorpus, CorpusCircuit, read_analoggenie, read_archetypes
from app.analog.dataset_report import CellReport, DatasetReport, Merge, TypeCount
from app.analog.kinds import CIRCUIT_TYPES
from app.analog.netlist import Netlist, port_role
from app.analog.relabelling import Relabelling, type_by_rule
from app.analog.repair import RepairReport
from app.analog.rules import electrical_findings
from app.findings import has_errors
from app.split import HELD_OUT_SHARE, held_out_classes, split_counts


@dataclass(frozen=True)
class DatasetCircuit:
    """One circuit of the data set.

    `id` is the corpus's own, `type` one of CIRCUIT_TYPES, `source` the book or collection it is from. Circuits that
    share a `split_class` are on one side of every split.
    """

    id: str
    type: str
    netlist: Netlist
    source: str
    split_class: str


@dataclass(frozen=True)
class Dataset:
    """Circuits, no two of them equal: the corpus in its order, op-amps found inside its circuits, the archetypes.

    `training` and `held_out` are the two sides at HELD_OUT_SHARE, each in the order of `circuits`.
    """

    circuits: tuple[DatasetCircuit, ...]
    training: tuple[DatasetCircuit, ...]
    held_out: tuple[DatasetCircuit, ...]
    report: DatasetReport


@dataclass(frozen=True)
class _Hashed:
    """A circuit and the hash of its wiring."""

    circuit: CorpusCircuit
    wiring: str


def read_dataset(source: Path | None) -> Dataset:
    """The corpus at `source`, when one is given, and the archetypes as one data set.

    Of circuits that are the same up to names, order and exchangeable pins the first is kept, with the type of the
    archetype where one is among them.

    Args:
        source: What `read_analoggenie` takes; the archetypes alone when None.

    Raises:
        CorpusMissing: There is no corpus at `source`.
        InvalidInput: A line of the corpus is no circuit.
    """
    corpus = AnalogCorpus((), RepairReport(), {}) if source is None else read_analoggenie(source)
    retyped, relabelled = _typed_by_rule(corpus.circuits)
    drawn = _hashed(retyped)
    archetypes = _hashed(read_archetypes())
    inside = {host: wiring_hash(cell) for host, cell in corpus.cells.items()}
    added = _complete_cells(drawn, corpus.cells, inside)
    kept, merged = _distinct((*drawn, *added, *archetypes))
    kept, corrected = _typed_by_archetype(kept, merged, {each.circuit.id for each in archetypes})
    classes = _split_classes((*drawn, *kept), inside)
    circuits = tuple(
        DatasetCircuit(e.circuit.id, e.circuit.type, e.circuit.netlist, e.circuit.source, classes[e.wiring])
        for e in kept
    )
    held_out = held_out_classes(((circuit.split_class, circuit.type) for circuit in circuits), HELD_OUT_SHARE)
    groups = Counter(circuit.split_class for circuit in circuits)
    devices = [len(circuit.netlist.devices) for circuit in circuits]
    wirings = {each.wiring for each in kept}
    return Dataset(
        circuits,
        tuple(circuit for circuit in circuits if circuit.split_class not in held_out),
        tuple(circuit for circuit in circuits if circuit.split_class in held_out),
        DatasetReport(
            repair=None if source is None else corpus.report,
            archetypes=len(archetypes),
            merged=merged,
            relabelled=(*relabelled, *corrected),
            cells=_cell_report(inside, {each.wiring for each in drawn}, len(added), wirings, classes),
            by_type=_counts_by_type(circuits, held_out),
            classes=len(groups),
            largest_class=max(groups.values()),
            median_devices=median(devices),
            most_devices=max(devices),
        ),
    )


def _hashed(circuits: Iterable[CorpusCircuit]) -> list[_Hashed]:
    return [_Hashed(circuit, wiring_hash(circuit.netlist)) for circuit in circuits]


def _typed_by_rule(circuits: Iterable[CorpusCircuit]) -> tuple[list[CorpusCircuit], tuple[Relabelling, ...]]:
    """The circuits of a corpus, those that a rule decides with its type, and which those are."""
    typed = []
    changes = []
    for circuit in circuits:
        told = type_by_rule(circuit.netlist, circuit.type)
        if told is not None:
            changes.append(Relabelling(circuit.id, circuit.type, *told))
            circuit = replace(circuit, type=told[0])
        typed.append(circuit)
    return typed, tuple(changes)


def _complete_cells(drawn: Iterable[_Hashed], cells: Mapping[str, Netlist], inside: Mapping[str, str]) -> list[_Hashed]:
    """The op-amps inside circuits that the corpus does not draw alone, as circuits of their own named by a host.

    Those alone that kept their ports when they were cut out, and that the electrical rules find no fault with.
    """
    known = {each.wiring for each in drawn}
    hosts = {each.circuit.id: each.circuit for each in drawn}
    found = []
    for host, wiring in inside.items():
        cell = cells[host]
        roles = Counter(role[0] for port in cell.ports if (role := port_role(port)) is not None)
        is_complete = roles["VIN"] == 2 and roles["VOUT"] >= 1 and not has_errors(electrical_findings(cell))
        if is_complete and wiring not in known:
            known.add(wiring)
            source = f"op-amp inside a circuit of {hosts[host].source}"
            found.append(_Hashed(CorpusCircuit(f"{host}/opamp", "opamp", cell, source), wiring))
    return found


def _distinct(circuits: Iterable[_Hashed]) -> tuple[list[_Hashed], tuple[Merge, ...]]:
    """The circuits that equal no earlier one, and which were merged with which."""
    known: dict[str, list[CorpusCircuit]] = defaultdict(list)
    kept = []
    merged = []
    for each in circuits:
        circuit, twins = each.circuit, known[each.wiring]
        twin = next((twin for twin in twins if are_isomorphic(twin.netlist, circuit.netlist)), None)
        if twin is None:
            twins.append(circuit)
            kept.append(each)
        else:
            merged.append(Merge(circuit.id, circuit.type, twin.id, twin.type))
    return kept, tuple(merged)


def _typed_by_archetype(
    circuits: Iterable[_Hashed], merged: Iterable[Merge], archetypes: Collection[str]
) -> tuple[list[_Hashed], tuple[Relabelling, ...]]:
    """The circuits, those that equal an archetype with its type, and which changed: who wrote it knew what it is."""
    told = {merge.into: merge.type for merge in merged if merge.id in archetypes}
    typed = []
    changes = []
    for each in circuits:
        circuit = each.circuit
        after = told.get(circuit.id, circuit.type)
        if after != circuit.type:
            changes.append(Relabelling(circuit.id, circuit.type, after, "it equals an archetype"))
        typed.append(_Hashed(replace(circuit, type=after), each.wiring))
    return typed, tuple(changes)


def _split_classes(circuits: Iterable[_Hashed], inside: Mapping[str, str]) -> dict[str, str]:
    """Hash of a wiring -> its split class, named by the least hash in it.

    Args:
        circuits: Every circuit, those that were merged too.
        inside: Circuit id -> hash of the op-amp inside it.
    """
    belongs = nx.Graph()
    for each in circuits:
        belongs.add_node(each.wiring)
        if each.circuit.id in inside:
            belongs.add_edge(each.wiring, inside[each.circuit.id])
    return {wiring: min(group) for group in nx.connected_components(belongs) for wiring in group}


def _cell_report(
    inside: Mapping[str, str], drawn: Collection[str], added: int, kept: Collection[str], classes: Mapping[str, str]
) -> CellReport:
    """What the cells did; `drawn` and `kept` are wirings of the corpus and of the data set."""
    cells = set(inside.values())
    groups = Counter(classes[wiring] for wiring in kept)
    shared = [size for size in groups.values() if size > 1]
    return CellReport(len(inside), len(cells), len(cells.intersection(drawn)), added, (sum(shared), len(shared)))


def _counts_by_type(circuits: Iterable[DatasetCircuit], held_out: frozenset[str]) -> dict[str, TypeCount]:
    """Type -> what there is of it, for the types that there are."""
    counts = split_counts(((circuit.split_class, circuit.type) for circuit in circuits), held_out)
    return {type_: TypeCount(*counts[type_]) for type_ in CIRCUIT_TYPES if type_ in counts}
