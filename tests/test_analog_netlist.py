"""Netlists as values."""

from __future__ import annotations

import pytest

from app.analog.kinds import CIRCUIT_TYPES, KINDS, PORT_ROLES
from app.analog.netlist import Device, Netlist, port_role


def test_a_device_has_a_net_for_every_pin() -> None:
    with pytest.raises(ValueError, match=r"device M3 has 3 nets, a nmos needs 4 \(drain, gate, source, bulk\)"):
        Device("M3", "nmos", ("A", "B", "C"))


def test_a_device_is_of_a_known_kind() -> None:
    with pytest.raises(ValueError, match="device T1: unknown kind 'tube'"):
        Device("T1", "tube", ("A",))


def test_device_names_are_unique() -> None:
    device = Device("R1", "resistor", ("A", "B"))
    with pytest.raises(ValueError, match="two devices named R1"):
        Netlist((device, device), ())


def test_a_port_is_declared_once() -> None:
    with pytest.raises(ValueError, match="a port is declared twice"):
        Netlist((Device("R1", "resistor", ("A", "B")),), ("A", "A"))


def test_nets_come_in_order_of_first_use_and_know_their_pins() -> None:
    netlist = Netlist((Device("R1", "resistor", ("B", "A")), Device("C1", "capacitor", ("A", "VSS"))), ("B", "VSS"))
    assert netlist.nets == ("B", "A", "VSS")
    assert netlist.internal_nets == ("A",)
    assert [(device.name, pin) for device, pin in netlist.pins_of["A"]] == [("R1", "negative"), ("C1", "positive")]


@pytest.mark.parametrize(
    ("net", "role"),
    [("VIN2", ("VIN", 2)), ("LOGICQA1", ("LOGICQA", 1)), ("VIN", None), ("VIN0", None), ("N1", None), ("vin1", None)],
)
def test_a_port_name_is_a_role_and_an_index(net: str, role: tuple[str, int] | None) -> None:
    assert port_role(net) == role


def test_the_tables_of_kinds_agree_with_themselves() -> None:
    for name, kind in KINDS.items():
        assert name == kind.name
        assert kind.sense_pins <= set(kind.pins)
        assert set(kind.exchangeable) <= set(kind.pins)
    assert len(set(CIRCUIT_TYPES)) == len(CIRCUIT_TYPES) == 16
    assert all(most >= 1 for most in PORT_ROLES.values())
