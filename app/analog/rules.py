"""Electrical rules: what is wrong with a netlist before any simulation. Knows wiring, not sizes, bias or waveforms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from app.analog.kinds import SUPPLY_NETS
from app.analog.netlist import Device, Netlist, port_role
from app.analog.wiring import JoinedNets
from app.findings import Finding, Severity

_TWO_TERMINAL = frozenset({"resistor", "capacitor", "inductor", "diode"})

#: What a device straight across the supply is worth saying, by kind. A capacitor there is ordinary decoupling.
_ACROSS_SUPPLY: dict[str, Severity] = {
    "resistor": "warning",
    "diode": "warning",
    "inductor": "error",
    "capacitor": "note",
    "nmos": "warning",
    "pmos": "warning",
}

#: Ports that carry a signal out, whatever the circuit.
_OUTPUT_ROLES = frozenset({"VOUT", "IOUT", "VIF"})


def is_two_terminal(device: Device) -> bool:
    """True for resistors, capacitors, inductors and diodes."""
    return device.kind in _TWO_TERMINAL


def is_shorted(device: Device) -> bool:
    """True for a two-terminal device with both ends on one net."""
    return is_two_terminal(device) and device.nets[0] == device.nets[1]


def is_dead(device: Device) -> bool:
    """True for a device that can never carry a current: a MOS with D = G = S, or any other with all pins on one net."""
    if is_two_terminal(device):
        return False
    pins = device.nets[:3] if device.kind_of.is_mos else device.nets
    return len(set(pins)) == 1


def islands(netlist: Netlist) -> tuple[tuple[Device, ...], ...]:
    """The devices grouped by what is wired together, rails included; one group when the circuit is connected."""
    wired = JoinedNets()
    for device in netlist.devices:
        wired.join(device.nets)
    groups: dict[str, list[Device]] = {}
    for device in netlist.devices:
        groups.setdefault(wired.find(device.nets[0]), []).append(device)
    return tuple(tuple(group) for group in groups.values())


def unreached_nets(netlist: Netlist, held: Iterable[str]) -> tuple[str, ...]:
    """The nets without any path for direct current to a net of `held` or to a supply, in order of first use.

    Current flows through every pin but MOS gates, logic inputs and capacitors (the bulk belongs to the junctions).
    """
    reached = JoinedNets()
    reached.join([*SUPPLY_NETS, *held])
    for device in netlist.devices:
        if device.kind != "capacitor":
            reached.join([net for pin, net in device.pins() if pin == "bulk" or pin not in device.kind_of.sense_pins])
    home = reached.find(SUPPLY_NETS[0])
    return tuple(net for net in netlist.nets if reached.find(net) != home)


def electrical_findings(netlist: Netlist) -> tuple[Finding, ...]:
    """Every electrical rule that the netlist breaks. An error makes the circuit illegal; the rest is advice."""
    return (
        *_whole_circuit(netlist),
        *_internal_nets(netlist),
        *_dc_paths(netlist),
        *_ports(netlist),
        *_devices(netlist),
    )


def _whole_circuit(netlist: Netlist) -> Iterator[Finding]:
    if not netlist.devices:
        yield Finding("no_devices", "error", "the circuit has no device")
        return
    if "VSS" not in netlist.pins_of:
        yield Finding(
            "no_ground",
            "error",
            "no pin is at VSS, so no net has a defined voltage",
            hint="connect the ground of the circuit to VSS (or 0)",
        )
    groups = islands(netlist)
    main = max(groups, key=len)
    for group in groups:
        floats = _floats(netlist, group)
        if floats or group is not main:
            names = ", ".join(device.name for device in group[:4]) + (", ..." if len(group) > 4 else "")
            yield Finding(
                "disconnected",
                "error" if floats else "warning",
                f"{names}: wired to no {'port or supply' if floats else 'net of the rest of the circuit'}",
                where=group[0].name,
                hint="connect them or remove them",
            )


def _floats(netlist: Netlist, group: Iterable[Device]) -> bool:
    """True for devices that are wired to no port and no supply."""
    return {*netlist.ports, *SUPPLY_NETS}.isdisjoint(net for device in group for net in device.nets)


def _internal_nets(netlist: Netlist) -> Iterator[Finding]:
    for net in netlist.internal_nets:
        pins = netlist.pins_of[net]
        owners = {device.name for device, _ in pins}
        if all(pin == "bulk" for _, pin in pins):
            yield Finding(
                "bulk_floating",
                "error",
                f"net {net} holds only the bulk of {', '.join(sorted(owners)[:4])}",
                where=f"net {net}",
                hint="tie the bulk to the source or to a rail",
            )
        elif len(owners) == 1:
            yield Finding(
                "floating_net",
                "error",
                f"net {net} touches only {next(iter(owners))}",
                where=f"net {net}",
                hint="connect it to a second device or declare it a port",
            )
        elif all(pin in device.kind_of.sense_pins for device, pin in pins):
            yield Finding(
                "undriven_gate",
                "error",
                f"net {net} holds only gates, bulks and logic inputs, so nothing sets its voltage",
                where=f"net {net}",
                hint="drive it or declare it a bias port such as VB1",
            )


def _dc_paths(netlist: Netlist) -> Iterator[Finding]:
    """Drawings leave out what biases a net between capacitors, so it is advice here; a simulator takes it for a fault.

    What the other rules call floating, undriven or disconnected is not said twice.
    """
    unreached = unreached_nets(netlist, netlist.ports)
    if not unreached:
        return
    adrift = {net for group in islands(netlist) if _floats(netlist, group) for device in group for net in device.nets}
    for net in unreached:
        pins = netlist.pins_of[net]
        if net in adrift:
            continue
        is_driven = not all(pin in device.kind_of.sense_pins for device, pin in pins)
        if is_driven and len({device.name for device, _ in pins}) > 1:
            yield Finding(
                "no_dc_path",
                "warning",
                f"no direct current can reach net {net}, so its voltage is undefined",
                where=f"net {net}",
                hint="connect it through something that conducts, for example a bias resistor",
            )


def _ports(netlist: Netlist) -> Iterator[Finding]:
    for port in netlist.ports:
        pins = netlist.pins_of.get(port, ())
        if not pins:
            yield Finding("unconnected_port", "warning", f"no pin is on port {port}", where=f"net {port}")
        elif _is_output(port) and all(pin in device.kind_of.sense_pins for device, pin in pins):
            yield Finding(
                "undriven_output",
                "warning",
                f"port {port} is an output and holds only gates, bulks and logic inputs, so nothing drives it",
                where=f"net {port}",
                hint="drive it, or call it an input such as VIN1",
            )


def _is_output(net: str) -> bool:
    """True for a port that only the circuit itself drives."""
    role = port_role(net)
    return role is not None and role[0] in _OUTPUT_ROLES


def _devices(netlist: Netlist) -> Iterator[Finding]:
    for device in netlist.devices:
        if is_shorted(device):
            yield Finding(
                "shorted_device", "error", f"both ends of {device.name} are on {device.nets[0]}", where=device.name
            )
        elif is_dead(device):
            yield Finding(
                "dead_device",
                "warning",
                f"{device.name} can carry no current: its pins are all on {device.nets[0]}",
                where=device.name,
            )
        elif device.kind_of.is_mos and device.nets[1] == device.nets[2]:
            yield Finding(
                "gate_tied_to_source",
                "note",
                f"the gate of {device.name} is tied to its source, so it is off or a diode",
                where=device.name,
            )
        severity = _ACROSS_SUPPLY.get(device.kind)
        ends = {device.nets[0], device.nets[2 if device.kind_of.is_mos else 1]}
        if severity is not None and ends == set(SUPPLY_NETS):
            yield Finding(
                "supply_short",
                severity,
                f"{device.name} lies straight between VDD and VSS",
                where=device.name,
            )
