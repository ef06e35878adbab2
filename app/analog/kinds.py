"""The device kinds an analog circuit is made of: their pins, which pins drive a net, and which are interchangeable."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """One kind of device.

    `pins` are in SPICE card order. `sense_pins` draw no current at DC (MOS gate and bulk, logic inputs): a net that
    holds nothing else is undriven. `exchangeable` pins may be swapped without changing the circuit.
    `letter` opens the SPICE card; an `X` kind is a block whose body the deck writer supplies.
    """

    name: str
    letter: str
    pins: tuple[str, ...]
    sense_pins: frozenset[str] = frozenset()
    exchangeable: tuple[str, ...] = ()

    @property
    def is_mos(self) -> bool:
        """True for nmos and pmos."""
        return self.letter == "M"

    @property
    def is_block(self) -> bool:
        """True for kinds written as sub-circuit instances."""
        return self.letter == "X"


_MOS_PINS = ("drain", "gate", "source", "bulk")
_TWO_PINS = ("positive", "negative")

_ALL = (
    DeviceKind("nmos", "M", _MOS_PINS, frozenset({"gate", "bulk"}), ("drain", "source")),
    DeviceKind("pmos", "M", _MOS_PINS, frozenset({"gate", "bulk"}), ("drain", "source")),
    DeviceKind("npn", "Q", ("collector", "base", "emitter")),
    DeviceKind("pnp", "Q", ("collector", "base", "emitter")),
    DeviceKind("resistor", "R", _TWO_PINS, exchangeable=_TWO_PINS),
    DeviceKind("capacitor", "C", _TWO_PINS, exchangeable=_TWO_PINS),
    DeviceKind("inductor", "L", _TWO_PINS, exchangeable=_TWO_PINS),
    DeviceKind("diode", "D", _TWO_PINS),
    DeviceKind("inverter", "X", ("input", "output", "vdd", "vss"), frozenset({"input"})),
    DeviceKind("transmission_gate", "X", ("a", "b", "control", "vdd", "vss"), frozenset({"control"}), ("a", "b")),
    DeviceKind("xor", "X", ("a", "b", "vdd", "vss", "output"), frozenset({"a", "b"}), ("a", "b")),
    DeviceKind("pfd", "X", ("a", "b", "up", "down", "vdd", "vss"), frozenset({"a", "b"})),
)

#: Every kind by name, in vocabulary order.
KINDS = MappingProxyType({kind.name: kind for kind in _ALL})

#: Supply nets. Every netlist has VSS (node 0 of SPICE); most have VDD.
SUPPLY_NETS = ("VDD", "VSS")

#: Port roles and the highest index that the device-line language names. A port is a role with an index from 1: VIN2.
PORT_ROLES = MappingProxyType(
    {
        "VIN": 10, "IIN": 2, "VOUT": 6, "IOUT": 4, "VB": 12, "IB": 6, "VBB": 2, "VREF": 2, "IREF": 2, "VCM": 2,
        "VCLK": 8, "VCONT": 20, "VLATCH": 2, "VTRACK": 2, "VHOLD": 2, "VRF": 2, "VLO": 4, "VIF": 2,
        "LOGICA": 2, "LOGICB": 2, "LOGICD": 2, "LOGICQ": 2, "LOGICQA": 2, "LOGICQB": 2,
    }
)  # fmt: skip

#: Circuit types of the corpus; `other` holds what fits none.
CIRCUIT_TYPES = (
    "opamp", "ldo", "bandgap", "comparator", "switched_cap", "oscillator", "pll", "lna", "mixer", "power_amp",
    "power_converter", "filter", "adc_dac", "current_mirror", "amplifier", "other",
)  # fmt: skip
