"""What circuits of a type can and must have, held against circuits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app.analog.corpus import CorpusCircuit, read_analoggenie, read_archetypes
from app.analog.kinds import CIRCUIT_TYPES, KINDS, PORT_ROLES
from app.analog.types import TYPE_RULES, contradictions


def misfits(circuits: Sequence[CorpusCircuit]) -> list[str]:
    """Circuits that break a rule of their type."""
    return [
        circuit.id
        for circuit in circuits
        if any(
            contradictions(
                circuit.type,
                ports=circuit.netlist.ports,
                kinds={device.kind for device in circuit.netlist.devices},
                max_devices=len(circuit.netlist.devices),
            )
        )
    ]


def test_every_archetype_is_what_its_type_can_be():
    assert misfits(read_archetypes()) == []


def test_of_two_hundred_real_circuits_at_most_one_breaks_the_rules_of_its_type(shared_data: Path):
    circuits = read_analoggenie(shared_data / "analoggenie").circuits
    assert len(misfits(circuits)) <= 0.005 * len(circuits)


def test_every_type_has_a_rule_of_roles_and_kinds_that_exist():
    assert tuple(TYPE_RULES) == CIRCUIT_TYPES
    for rule in TYPE_RULES.values():
        assert rule.roles <= set(PORT_ROLES)
        assert rule.least_devices >= 1
        for needed in rule.needs:
            assert needed
            assert needed <= set(KINDS)


def test_other_can_be_anything():
    ports = [f"{role}1" for role in PORT_ROLES]
    for kind in KINDS:
        assert not list(contradictions("other", ports=ports, kinds=(kind,), max_devices=1))


@pytest.mark.parametrize(
    ("circuit_type", "wishes", "pointer", "sentence"),
    [
        (
            "ldo",
            {"ports": ("VIN1", "VLO1")},
            "/ports/1",
            "an ldo cannot have port VLO1; ports of an ldo: VDD, VSS, VIN",
        ),
        ("lna", {"ports": ("LOGICA1",)}, "/ports/0", "an lna cannot have port LOGICA1; ports of an lna: VDD, VSS, VIN"),
        ("bandgap", {"ports": ("VIN1",)}, "/ports/0", "a bandgap cannot have port VIN1; ports of a bandgap: VDD, VSS"),
        (
            "mixer",
            {"kinds": ("resistor", "capacitor")},
            "/kinds",
            "a mixer needs at least one of nmos, pmos, npn, pnp, diode, transmission_gate; "
            "kinds allows only resistor, capacitor",
        ),
        ("switched_cap", {"kinds": ("capacitor",)}, "/kinds", "a switched_cap needs at least one of nmos, pmos, npn,"),
        (
            "filter",
            {"kinds": ("resistor",)},
            "/kinds",
            "a filter needs at least one of nmos, pmos, npn, pnp, capacitor",
        ),
        ("opamp", {"max_devices": 2}, "/max_devices", "max_devices 2 is below the smallest opamp (3 devices)"),
    ],
)
def test_a_contradiction_says_what_the_type_can_have(
    circuit_type: str, wishes: dict[str, Any], pointer: str, sentence: str
):
    (found,) = contradictions(circuit_type, **wishes)
    assert found.pointer == pointer
    assert found.sentence.startswith(sentence)


def test_wishes_without_a_role_contradict_nothing():
    assert not list(contradictions("ldo", ports=("VDD", "VSS", "VIN1", "VOUT1", "IN"), kinds=("nmos",), max_devices=2))
