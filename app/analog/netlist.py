"""An analog circuit as a frozen value: devices on nets, and which nets are ports. Knows neither text nor simulation."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from app.analog.kinds import KINDS, PORT_ROLES, SUPPLY_NETS, DeviceKind

_PORT_NAME = re.compile(r"([A-Z]+?)([1-9][0-9]*)")


def port_role(net: str) -> tuple[str, int] | None:
    """Role and index of a port-like net name (``VIN2`` -> ``("VIN", 2)``), or None for any other name."""
    match = _PORT_NAME.fullmatch(net)
    if match is None or match[1] not in PORT_ROLES:
        return None
    return match[1], int(match[2])


@dataclass(frozen=True, slots=True)
class Device:
    """One device.

    `nets` follow the pins of its kind. `sizes` are SI values by name (``width_m``, ``resistance_ohm``).
    """

    name: str
    kind: str
    nets: tuple[str, ...]
    sizes: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    def __post_init__(self) -> None:
        """The kind is known and the number of nets is the kind's number of pins, else ValueError."""
        if self.kind not in KINDS:
            raise ValueError(f"device {self.name}: unknown kind {self.kind!r}")
        pins = self.kind_of.pins
        if len(self.nets) != len(pins):
            raise ValueError(
                f"device {self.name} has {len(self.nets)} nets, a {self.kind} needs {len(pins)} ({', '.join(pins)})"
            )

    @property
    def kind_of(self) -> DeviceKind:
        """The kind's description."""
        return KINDS[self.kind]

    def pins(self) -> tuple[tuple[str, str], ...]:
        """(pin name, net) in card order."""
        return tuple(zip(self.kind_of.pins, self.nets, strict=True))


@dataclass(frozen=True)
class Netlist:
    """Devices on nets. `ports` are the nets that the outside sees, supplies included, in declared order.

    Without sizes it is a topology; the step between the two is sizing. Net names are case-sensitive here; readers
    settle case. Instance names are unique.
    """

    devices: tuple[Device, ...]
    ports: tuple[str, ...]

    def __post_init__(self) -> None:
        """Instance names and ports are unique, else ValueError."""
        seen: set[str] = set()
        for device in self.devices:
            if device.name in seen:
                raise ValueError(f"two devices named {device.name}")
            seen.add(device.name)
        if len(set(self.ports)) != len(self.ports):
            raise ValueError("a port is declared twice")

    @cached_property
    def nets(self) -> tuple[str, ...]:
        """Every net that a pin touches, in order of first use."""
        return tuple(dict.fromkeys(net for device in self.devices for net in device.nets))

    @cached_property
    def internal_nets(self) -> tuple[str, ...]:
        """Nets that are neither port nor supply."""
        outside = {*self.ports, *SUPPLY_NETS}
        return tuple(net for net in self.nets if net not in outside)

    @cached_property
    def pins_of(self) -> Mapping[str, tuple[tuple[Device, str], ...]]:
        """Net -> the (device, pin name) pairs on it."""
        table: dict[str, list[tuple[Device, str]]] = defaultdict(list)
        for device in self.devices:
            for pin, net in device.pins():
                table[net].append((device, pin))
        return MappingProxyType({net: tuple(pins) for net, pins in table.items()})
