"""The sign of the small-signal path from one net to another at DC, from structure alone.

Every transistor is taken for a transconductance and every net for a node; how large the transconductances are is not
known, so the linear network is solved for several sets of plausible values (matched devices alike) and the sign counts
where they agree. That settles mirrors, feedback resistors and common-mode loops, where following single paths does not.

A network that regenerates (a latch, a Schmitt trigger) has no DC gain worth the name; it decides the way it leans at
first. Its sign is taken at a growth rate beyond that of the regeneration, every net holding the same capacitance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.analog.kinds import SUPPLY_NETS
from app.analog.matching import size_groups
from app.analog.netlist import Device, Netlist, port_role
from app.analog.transistors import Transistor, transistor_of
from app.errors import InvalidInput

#: Ports that the outside does not hold: outputs, and inputs of currents.
_FREE_ROLES = frozenset({"VOUT", "VIF", "LOGICQ", "LOGICQA", "LOGICQB", "IB", "IIN", "IREF"})

#: Ports that carry logic levels: a transistor whose gate is there is a switch, and taken for closed.
_LOGIC_ROLES = frozenset({"VCLK", "VTRACK", "VHOLD", "VLATCH", "LOGICA", "LOGICB", "LOGICD"})

#: Conductances in units of a typical transconductance: output of a MOS and of a bipolar transistor, base, resistor,
#: wire (an inductor, a closed switch), and the leakage that every net has.
_MOS_OUTPUT, _BIPOLAR_OUTPUT, _BASE, _RESISTOR, _WIRE, _LEAK = 0.02, 0.005, 0.01, 0.05, 20.0, 1e-6

#: Gain of a logic inverter.
_INVERTER_GAIN = 10.0

#: Values are drawn within this factor of the typical one, `_DRAWS` times; the sign is that of this share of the draws.
_SPREAD = 2.0
_DRAWS = 9
_AGREEMENT = 0.85

#: A smaller gain is leakage.
_LEAST_GAIN = 1e-4


def signal_polarity(netlist: Netlist, source: str, sink: str) -> int | None:
    """+1 where the voltage of `sink` rises with that of `source` at DC, -1 where it falls.

    None where no signal gets there, or where the sign depends on the sizes. Supplies and all ports but outputs and
    inputs of currents are held; a bias voltage that the circuit makes itself, with a diode-connected device, is not.

    Raises:
        InvalidInput: One of the two is no net of the circuit.
    """
    for net in (source, sink):
        if net not in netlist.pins_of:
            raise InvalidInput(f"the circuit has no net {net[:40]!r}, so no signal passes there")
    if source == sink:
        return 1
    network = _Network(netlist, source, sink)
    gains = [gain for number in range(_DRAWS) if abs(gain := network.gain(number)) >= _LEAST_GAIN]
    rising = sum(gain > 0 for gain in gains)
    if rising >= _AGREEMENT * _DRAWS:
        return 1
    return -1 if len(gains) - rising >= _AGREEMENT * _DRAWS else None


@dataclass(frozen=True, slots=True)
class _Branch:
    """A current out of net `first` into net `second`, of `strength` times the voltage of `plus` over `minus`.

    A conductance is a branch that its own ends control. Branches with one `scale` grow and shrink together.
    """

    first: str
    second: str
    plus: str
    minus: str
    strength: float
    scale: int


class _Network:
    """The linear network between two nets. `source` is driven, held nets are at zero."""

    def __init__(self, netlist: Netlist, source: str, sink: str) -> None:
        held = {net for net in netlist.nets if _is_held(netlist, net)} - {source, sink}
        free = [net for net in netlist.nets if net not in held and net != source]
        self.index = {net: position for position, net in enumerate(free)}
        self.source, self.sink = source, self.index[sink]
        groups = [copy for group in size_groups(netlist) for copy in group.copies]
        scale_of = {name: number for number, names in enumerate(groups) for name in names}
        self.scales = len(groups)
        self.branches = [
            branch for device in netlist.devices for branch in _branches(device, scale_of[device.name], source)
        ]

    def gain(self, number: int) -> float:
        """From source to sink, for one draw of the strengths."""
        spread = np.random.Generator(np.random.Philox(key=number)).uniform(-1.0, 1.0, self.scales)
        factors = np.power(_SPREAD, spread) if number else np.ones(self.scales)
        size = len(self.index)
        matrix: NDArray[np.float64] = np.eye(size) * _LEAK
        driven = np.zeros(size)
        for branch in self.branches:
            value = branch.strength * factors[branch.scale]
            for net, way in ((branch.first, value), (branch.second, -value)):
                row = self.index.get(net)
                if row is None:
                    continue
                for control, sign in ((branch.plus, way), (branch.minus, -way)):
                    if control in self.index:
                        matrix[row, self.index[control]] += sign
                    elif control == self.source:
                        driven[row] -= sign
        poles = -np.linalg.eigvals(matrix)
        fastest = max((float(pole.real) for pole in poles if abs(pole.imag) < 1e-9), default=0.0)
        if fastest > 0:
            matrix += np.eye(size) * (1.5 * fastest)
        return float(np.linalg.solve(matrix, driven)[self.sink])


def _is_held(netlist: Netlist, net: str) -> bool:
    """True where the outside sets the net's voltage."""
    if net in SUPPLY_NETS:
        return True
    if net not in netlist.ports:
        return False
    pins = netlist.pins_of[net]
    role = (port_role(net) or ("",))[0]
    if not role:
        return not any(pin in ("drain", "collector", "output") for _, pin in pins)
    if role == "VREF":
        return all(pin in ("gate", "base") for _, pin in pins)
    made_here = role in ("VB", "VBB", "VCM") and any(_is_diode_at(device, net) for device, _ in pins)
    return role not in _FREE_ROLES and not made_here


def _is_diode_at(device: Device, net: str) -> bool:
    transistor = transistor_of(device)
    return transistor is not None and transistor.is_diode_connected and transistor.gate == net


def _branches(device: Device, scale: int, source: str) -> Iterator[_Branch]:
    """The device's small-signal model. Capacitors and logic with memory have none."""
    transistor = transistor_of(device)
    if transistor is not None:
        yield from _transistor_branches(transistor, scale, source)
    elif device.kind in ("resistor", "inductor", "diode", "transmission_gate"):
        first, second = device.nets[:2]
        strength = {"resistor": _RESISTOR, "diode": 1.0}.get(device.kind, _WIRE)
        yield _Branch(first, second, first, second, strength, scale)
    elif device.kind == "inverter":
        control, output = device.nets[:2]
        yield _Branch(output, "VSS", output, "VSS", 1.0, scale)
        yield _Branch(output, "VSS", control, "VSS", _INVERTER_GAIN, scale)


def _transistor_branches(transistor: Transistor, scale: int, source: str) -> Iterator[_Branch]:
    drain, gate, foot = transistor.drain, transistor.gate, transistor.source
    role = (port_role(gate) or ("",))[0]
    if gate != source and (gate in SUPPLY_NETS or role in _LOGIC_ROLES):
        yield _Branch(drain, foot, drain, foot, 1.0, scale)
        return
    is_mos = transistor.device.kind_of.is_mos
    yield _Branch(drain, foot, drain, foot, _MOS_OUTPUT if is_mos else _BIPOLAR_OUTPUT, scale)
    if not is_mos:
        yield _Branch(gate, foot, gate, foot, _BASE, scale)
    yield _Branch(drain, foot, gate, foot, 1.0, scale)
