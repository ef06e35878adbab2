"""The complement of a circuit: transistors of the other polarity, the supplies exchanged, diodes turned round.

Where the other side of a type's ports does not matter (an input stage may be of either polarity), a circuit and its
complement do the same, so that each stands for both in training and neither is new where the other is known.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from app.analog.netlist import Device, Netlist

#: Types whose complement is of the same type. A regulator's or a reference's is not: it holds its output below VDD.
COMPLEMENTARY_TYPES = frozenset({"opamp", "amplifier", "comparator", "current_mirror"})

_OTHER_KIND = MappingProxyType({"nmos": "pmos", "pmos": "nmos", "npn": "pnp", "pnp": "npn"})
_OTHER_NET = MappingProxyType({"VDD": "VSS", "VSS": "VDD"})


def complement(netlist: Netlist) -> Netlist:
    """The circuit with its polarities exchanged; its complement is `netlist` again. Blocks stay as they are."""
    return Netlist(
        tuple(_complement_of(device) for device in netlist.devices),
        tuple(_OTHER_NET.get(port, port) for port in netlist.ports),
    )


def _complement_of(device: Device) -> Device:
    if device.kind_of.is_block:
        return device
    nets = tuple(_OTHER_NET.get(net, net) for net in device.nets)
    if device.kind == "diode":
        nets = nets[::-1]
    return replace(device, kind=_OTHER_KIND.get(device.kind, device.kind), nets=nets)
