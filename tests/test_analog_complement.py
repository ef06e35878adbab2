"""The complement of a circuit, and which circuits are trained on beside their complements."""

from __future__ import annotations

import pytest

from app.analog.canonical import wiring_hash
from app.analog.complement import COMPLEMENTARY_TYPES, complement
from app.analog.corpus import read_archetypes
from app.analog.netlist import Device, Netlist
from app.analog.rules import electrical_findings
from app.findings import has_errors
from app.training.analog import complements
from app.training.sentences import Example

ARCHETYPES = read_archetypes()


def test_the_complement_of_a_follower_sources_where_it_sank():
    follower = Netlist(
        (
            Device("M1", "nmos", ("VDD", "VIN1", "VOUT1", "VSS")),
            Device("D1", "diode", ("VOUT1", "VSS")),
            Device("R1", "resistor", ("VOUT1", "VSS")),
        ),
        ("VDD", "VSS", "VIN1", "VOUT1"),
    )
    assert complement(follower).devices == (
        Device("M1", "pmos", ("VSS", "VIN1", "VOUT1", "VDD")),
        Device("D1", "diode", ("VDD", "VOUT1")),
        Device("R1", "resistor", ("VOUT1", "VDD")),
    )


@pytest.mark.parametrize("circuit", ARCHETYPES[::5], ids=lambda circuit: circuit.id)
def test_the_complement_of_the_complement_is_the_circuit(circuit):
    assert complement(complement(circuit.netlist)) == circuit.netlist


def test_complements_join_the_training_side_once_and_never_what_is_held_out():
    of_type = [c for c in ARCHETYPES if c.type in COMPLEMENTARY_TYPES]
    examples = [Example(c.netlist, c.type, c.id) for c in of_type]
    found = complements(examples, [])
    assert len(found) > len(examples) / 2
    wirings = [wiring_hash(each.circuit) for each in (*examples, *found)]
    assert len(set(wirings[len(examples) :])) == len(found)
    assert not set(wirings[: len(examples)]) & set(wirings[len(examples) :])
    assert not any(has_errors(electrical_findings(each.circuit)) for each in found)
    assert complements(examples, found) == []


def test_a_reference_has_no_complement_of_its_type():
    bandgaps = [Example(c.netlist, c.type, c.id) for c in ARCHETYPES if c.type == "bandgap"]
    assert bandgaps
    assert complements(bandgaps, []) == []
