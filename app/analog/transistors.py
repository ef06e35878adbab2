"""Transistors as a designer reads them: which end carries the current in, which out, and what controls it."""

from __future__ import annotations

from dataclasses import dataclass

from app.analog.netlist import Device, Netlist


@dataclass(frozen=True, slots=True)
class Transistor:
    """A MOS or bipolar transistor; `drain`, `gate` and `source` are also collector, base and emitter.

    A MOS whose pins are drawn the other way round (an nmos with its drain at VSS or its source at VDD, a pmos with its
    drain at VDD or its source at VSS) is turned, for its current flows the same way either way.
    """

    device: Device
    drain: str
    gate: str
    source: str

    @property
    def name(self) -> str:
        """The device's name."""
        return self.device.name

    @property
    def kind(self) -> str:
        """The device's kind."""
        return self.device.kind

    @property
    def is_diode_connected(self) -> bool:
        """True where gate and drain are one net."""
        return self.gate == self.drain


def transistor_of(device: Device) -> Transistor | None:
    """The device as a transistor; None for any other kind."""
    if device.kind_of.is_mos:
        drain, gate, source = device.nets[:3]
        low, high = ("VSS", "VDD") if device.kind == "nmos" else ("VDD", "VSS")
        if source != low and (drain == low or (source == high and drain != high)):
            drain, source = source, drain
        return Transistor(device, drain, gate, source)
    if device.kind in ("npn", "pnp"):
        return Transistor(device, *device.nets)
    return None


def transistors_of(netlist: Netlist) -> tuple[Transistor, ...]:
    """Every transistor, in the netlist's order."""
    return tuple(found for device in netlist.devices if (found := transistor_of(device)) is not None)
