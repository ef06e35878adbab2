"""Training the analog generator: circuits of the data set as sentences, split by its classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from app.analog.canonical import wiring_hash
from app.analog.complement import COMPLEMENTARY_TYPES, complement
from app.analog.corpus import ARCHETYPES
from app.analog.dataset import DatasetCircuit, read_dataset
from app.analog.netlist import Netlist
from app.analog.rules import electrical_findings
from app.findings import has_errors
from app.training.sentences import Example


def read_circuits(source: Path | None) -> tuple[tuple[DatasetCircuit, ...], str]:
    """The circuits of the data set and a sentence on where they are from; archetypes alone where no source is given."""
    dataset = read_dataset(source)
    archetypes = sum(circuit.source == ARCHETYPES for circuit in dataset.circuits)
    told = f"{archetypes} archetypes of data/archetypes"
    repair = dataset.report.repair
    if repair is not None:
        read = len(dataset.circuits) - archetypes
        told = (
            f"{read} circuits of the AnalogGenie data set ({repair.read} read), repaired and merged, "
            f"with the op-amps in them; {told}"
        )
    return dataset.circuits, told


def examples(circuits: Iterable[DatasetCircuit]) -> list[Example[Netlist]]:
    """Each circuit with its type and its split class."""
    return [Example(circuit.netlist, circuit.type, circuit.split_class) for circuit in circuits]


def complements(training: Iterable[Example[Netlist]], held_out: Sequence[Example[Netlist]]) -> list[Example[Netlist]]:
    """The complements of the training circuits, of the types that have them, that are legal and wired like no circuit
    of either side.
    """
    circuits = list(training)
    known = {wiring_hash(example.circuit) for example in (*circuits, *held_out)}
    found = []
    for example in circuits:
        if example.label not in COMPLEMENTARY_TYPES:
            continue
        other = complement(example.circuit)
        wiring = wiring_hash(other)
        if wiring not in known and not has_errors(electrical_findings(other)):
            known.add(wiring)
            found.append(Example(other, example.label, example.split_class))
    return found
