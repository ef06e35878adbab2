"""What a request for topologies names: the netlist to complete and its ports, in the words of a sentence and back.

A sentence numbers the ports of a role, and internal nets, by first use. What the caller named keeps the caller's names
in the circuit that comes back, and the devices of the caller's netlist are those the caller wrote, sizes and all.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count

from app.analog.kinds import KINDS, PORT_ROLES, SUPPLY_NETS
from app.analog.netlist import Device, Netlist, port_role
from app.analog.rules import electrical_findings
from app.analog.spice import SPICE_LIMITS, parse_spice
from app.errors import InvalidRequest, NotExpressible, pointing_at
from app.tokens.device_lines import MAX_PREFIX_DEVICES, VOCABULARY, NetNaming, check_port_names, closing_order

_WISHES_KEPT = 16

_PREFIX_LIMITS = replace(SPICE_LIMITS, devices=MAX_PREFIX_DEVICES, expanded_devices=MAX_PREFIX_DEVICES)

#: Errors that no completion mends. Every other one is about nets that the completion still closes and drives.
_HOPELESS = frozenset({"shorted_device", "supply_short"})


@dataclass(frozen=True)
class Wishes:
    """What a request names, in the words of a sentence.

    `devices` are those of the netlist to complete, in the order of their lines, and `lines` the ids of these. `ports`
    are the sentence's names of the ports that must be there besides. `name_of` tells the caller's name of each net of
    the sentence that the caller named. `all_ports` are the caller's names of all ports asked for, in either way.
    """

    devices: tuple[Device, ...]
    lines: tuple[int, ...]
    ports: tuple[str, ...]
    name_of: Mapping[str, str]
    all_ports: tuple[str, ...]

    def named(self, circuit: Netlist) -> Netlist:
        """A circuit under these wishes with the caller's names.

        Its first devices are the caller's own; the nets and devices that were added have names that the caller did not
        use.
        """
        nets = self._net_names(circuit)
        names = _free_device_names(self.devices)
        added = (
            Device(next(names[device.kind_of.letter]), device.kind, tuple(nets[net] for net in device.nets))
            for device in circuit.devices[len(self.devices) :]
        )
        return Netlist((*self.devices, *added), tuple(sorted((nets[port] for port in circuit.ports), key=_order)))

    def _net_names(self, circuit: Netlist) -> dict[str, str]:
        """Sentence's name -> the caller's, or one near the sentence's that the caller does not use."""
        names = {**self.name_of, **{supply: supply for supply in SUPPLY_NETS}}
        taken = set(names.values()).union(*(device.nets for device in self.devices))
        for net in sorted({*circuit.nets, *circuit.ports} - names.keys(), key=_order):
            stem = net.rstrip("0123456789")
            names[net] = next(name for name in _numbered(stem) if name not in taken)
            taken.add(names[net])
        return names


@lru_cache(maxsize=_WISHES_KEPT)
def read_wishes(prefix: str | None, ports: tuple[str, ...]) -> Wishes:
    """The wishes of a request with this netlist to complete (SPICE text) and these required ports.

    Raises:
        InvalidInput: The netlist is no SPICE text, is too large, cannot become a legal circuit whatever is added, or
            has a port without a role; a required port is no port's name. The pointer tells which field.
    """
    check_port_names(ports)
    if prefix is None:
        return _wishes(Netlist((), ()), ports)
    with pointing_at("/prefix"):
        netlist = parse_spice(prefix, limits=_PREFIX_LIMITS).netlist
        return _wishes(_completable(netlist), ports)


def _completable(netlist: Netlist) -> Netlist:
    """The netlist, where a completion can be legal."""
    for finding in electrical_findings(netlist):
        if finding.severity == "error" and finding.code in _HOPELESS:
            raise InvalidRequest(f"nothing that is added can make the prefix legal: {finding.message}")
    for port in netlist.ports:
        if port not in SUPPLY_NETS and port_role(port) is None:
            raise InvalidRequest(
                f"port {port[:40]} of the prefix has no role; name it VDD, VSS or a role with an index, such as VIN1 "
                f"(roles: {', '.join(PORT_ROLES)})"
            )
    return netlist


def _wishes(netlist: Netlist, ports: tuple[str, ...]) -> Wishes:
    naming = NetNaming((*netlist.ports, *ports))
    devices = closing_order(netlist, random.Random(0)) if netlist.devices else []
    try:
        lines = VOCABULARY.ids([word for device in devices for word in naming.line(device)])
    except NotExpressible as error:
        raise InvalidRequest(f"the prefix cannot be completed: {error}") from error
    all_ports = sorted({*netlist.ports, *ports}, key=_order)
    others = [port for port in all_ports if port not in netlist.nets]
    required = tuple(naming.name(port) for port in others)
    for port, name in zip(others, required, strict=True):
        if name not in VOCABULARY.index:
            role, number = port_role(name) or (port, 0)
            raise InvalidRequest(
                f"{number} ports {role} are asked for with those of the prefix, a circuit has at most "
                f"{PORT_ROLES[role]}",
                pointer=f"/ports/{ports.index(port)}" if port in ports else None,
            )
    used = {*netlist.nets, *others}
    name_of = {name: net for net, name in naming.name_of.items() if net in used}
    return Wishes(tuple(devices), tuple(lines), required, name_of, tuple(all_ports))


def _free_device_names(taken: tuple[Device, ...]) -> dict[str, Iterator[str]]:
    """Letter -> its names with a number that no device has taken, in order."""
    names = {device.name for device in taken}

    def free(letter: str) -> Iterator[str]:
        return (name for name in _numbered(letter) if name not in names)

    return {kind.letter: free(kind.letter) for kind in KINDS.values()}


def _numbered(stem: str) -> Iterator[str]:
    return (f"{stem}{number}" for number in count(1))


_RANKS = {stem: rank for rank, stem in enumerate((*SUPPLY_NETS, *PORT_ROLES))}
_NUMBERED_NAME = re.compile(r"(.*?)([0-9]*)")


def _order(net: str) -> tuple[int, str, int]:
    """Supplies, then roles in their order, then all else; by number."""
    match = _NUMBERED_NAME.fullmatch(net)
    assert match is not None, "both parts may be empty"
    return _RANKS.get(match[1], len(_RANKS)), match[1], int(match[2] or 0)
