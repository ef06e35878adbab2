"""Where topologies come from: the archetypes, a corpus, a file of generated circuits. Each circuit once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from app.analog.canonical import canonical_hash
from app.analog.corpus import ARCHETYPES, read_archetypes
from app.analog.dataset import read_dataset
from app.analog.kinds import CIRCUIT_TYPES
from app.analog.netlist import Netlist
from app.analog.spice import parse_spice, write_spice
from app.errors import CircuitSyntaxError, CorpusMissing, InvalidInput, NotExpressible

Origin = Literal["archetype", "corpus", "generated"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)


@dataclass(frozen=True)
class Topology:
    """An unsized circuit of the store. `id` is its canonical hash; `netlist` is what `text` reads as."""

    id: str
    type: str
    origin: Origin
    name: str
    netlist: Netlist
    text: str


def stored_topology(type_: str, origin: Origin, name: str, netlist: Netlist) -> Topology:
    """The circuit with the names that its SPICE text gives back. Raises NotExpressible."""
    text = write_spice(netlist, title=name)
    read = parse_spice(text).netlist
    return Topology(canonical_hash(read), type_, origin, name, read, text)


def all_topologies(source: Path | None = None, generated: Path | None = None) -> tuple[Topology, ...]:
    """The archetypes, then the corpus at `source`, then the rows of `generated`; of equal circuits the first one.

    `source` is an AnalogGenie data set as `read_dataset` takes it, whose circuits have the types that models learn,
    with the op-amps inside them. `generated` is what ``josephson generate analog --output`` writes. Rows whose status
    is not ``ok``, and circuits that SPICE cannot express, are left out.

    Raises:
        CorpusMissing: there is nothing at one of the paths.
        InvalidInput: a line is not a circuit of the corpus, or not a row of a generated one.
    """
    found: dict[str, Topology] = {}
    for topology in _each(source, generated):
        found.setdefault(topology.id, topology)
    return tuple(found.values())


def _each(source: Path | None, generated: Path | None) -> Iterator[Topology]:
    for circuit in read_archetypes():
        yield stored_topology(circuit.type, "archetype", circuit.id, circuit.netlist)
    if source is not None:
        drawn = (circuit for circuit in read_dataset(source).circuits if circuit.source != ARCHETYPES)
        yield from _expressible(("corpus", c.type, f"{c.source} {c.id}", c.netlist) for c in drawn)
    if generated is not None:
        yield from _expressible(_generated_rows(generated))


def _expressible(circuits: Iterable[tuple[Origin, str, str, Netlist]]) -> Iterator[Topology]:
    for origin, type_, name, netlist in circuits:
        try:
            yield stored_topology(type_, origin, name, netlist)
        except NotExpressible:
            continue


def _generated_rows(path: Path) -> Iterator[tuple[Origin, str, str, Netlist]]:
    if not path.is_file():
        raise CorpusMissing(
            f"no generated circuits at {path}; write some with 'josephson generate analog --output FILE'"
        )
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if row["status"] != "ok":
                    continue
                type_ = row.get("type") if row.get("type") in CIRCUIT_TYPES else "other"
                name = f"{row.get('model', 'model')} {row.get('seed', 0)} {row['index']}"
                yield "generated", type_, name, parse_spice(row["netlist"]).netlist
            except (ValueError, KeyError, TypeError, CircuitSyntaxError) as error:
                what = f"{type(error).__name__}: {error}"
                raise InvalidInput(f"{path.name} line {number} is not a row of a generated circuit ({what})") from error


def restored_topology(record: Mapping[str, str]) -> Topology:
    """The circuit of a store's record of `id`, `type`, `origin`, `name` and `netlist`."""
    origin = next(each for each in ORIGINS if each == record["origin"])
    text = record["netlist"]
    return Topology(record["id"], record["type"], origin, record["name"], parse_spice(text).netlist, text)
