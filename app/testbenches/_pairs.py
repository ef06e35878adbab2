"""Which net stands against another one: the two sides of a differential pair. Knows no testbench."""

from __future__ import annotations

from collections.abc import Iterator

from app.analog.kinds import SUPPLY_NETS
from app.analog.netlist import Device, Netlist

#: The pins that control a transistor, whichever it is.
CONTROL_PINS = ("gate", "base")
_TAIL_PINS = ("source", "emitter")


def tails(netlist: Netlist, net: str) -> Iterator[tuple[Device, str]]:
    """Every transistor that the net controls and its source or emitter net, where that is no supply."""
    for device, pin in netlist.pins_of[net]:
        if pin in CONTROL_PINS:
            tail = _net_at(device, _TAIL_PINS)
            if tail not in SUPPLY_NETS:
                yield device, tail


def other_halves(netlist: Netlist, net: str) -> tuple[tuple[Device, str], ...]:
    """The transistors that stand against the net's in differential pairs, and what controls each.

    A pair is two transistors of one kind with a common source (or emitter) that is no supply and different controls.
    """
    found = {
        other.name: (other, control)
        for device, tail in tails(netlist, net)
        for other, pin in netlist.pins_of[tail]
        if other.kind == device.kind and pin in _TAIL_PINS
        for control in (_net_at(other, CONTROL_PINS),)
        if control != net
    }
    return tuple(found.values())


def pair_partner(netlist: Netlist, net: str) -> str | None:
    """The net that controls the other half of the net's differential pair; None where there is no such pair, or two."""
    partners = {control for _, control in other_halves(netlist, net)}
    return next(iter(partners)) if len(partners) == 1 else None


def _net_at(device: Device, pins: tuple[str, ...]) -> str:
    return next(net for pin, net in device.pins() if pin in pins)
