"""Training the analog generator: corpus circuits as sentences of device lines, split by isomorphism class."""

from __future__ import annotations

from pathlib import Path

from app.analog.canonical import canonical_hash
from app.analog.corpus import CorpusCircuit, read_analoggenie, read_archetypes
from app.analog.netlist import Netlist
from app.training.sentences import Example


def read_circuits(source: Path | None) -> tuple[tuple[CorpusCircuit, ...], str]:
    """The corpus circuits and a sentence on where they are from; the shipped archetypes where no source is given."""
    if source is None:
        circuits = read_archetypes()
        return circuits, f"{len(circuits)} archetypes of data/archetypes"
    corpus = read_analoggenie(source)
    return (
        corpus.circuits,
        f"AnalogGenie data set, {len(corpus.circuits)} of {corpus.report.read} circuits after repair",
    )


def examples(circuits: tuple[CorpusCircuit, ...]) -> list[Example[Netlist]]:
    """Each circuit with its type; isomorphic circuits share a split class."""
    return [Example(circuit.netlist, circuit.type, canonical_hash(circuit.netlist)) for circuit in circuits]
