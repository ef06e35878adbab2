"""What the outside world does at a netlist's ports: supply, bias levels, currents and loads.

All of it is guessed so that an unsized topology conducts: a port's role says whether it is driven, and the devices
behind it say with what. The guesses are a starting point for an operating point, not a design.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from app.analog.kinds import SUPPLY_NETS
from app.analog.netlist import Device, Netlist, port_role
from app.technologies._base import Technology

#: Resistance and capacitance of a load at an output.
LOAD_OHM = 10e6
LOAD_FARAD = 100e-15

#: Series resistance of a source whose net an inductor leaves from: two ideal sources and an inductor have no solution.
SOURCE_OHM = 50.0

#: Gate voltage added for each transistor below the biased one.
CASCODE_STEP_V = 0.2

_OUTPUT_ROLES = frozenset({"VOUT", "VIF", "LOGICQ", "LOGICQA", "LOGICQB"})
_CURRENT_ROLES = frozenset({"IB", "IIN", "IREF"})
_HIGH_ROLES = frozenset({"VTRACK", "VLATCH", "LOGICA", "LOGICD"})
_LOW_ROLES = frozenset({"VHOLD", "LOGICB"})

#: Ports that the outside holds at one of the rails.
LOGIC_ROLES = _HIGH_ROLES | _LOW_ROLES | {"VCLK"}


@dataclass(frozen=True, slots=True)
class VoltageSource:
    """Holds a net at `volts` above VSS through `series_ohm`."""

    net: str
    volts: float
    series_ohm: float = 0.0


@dataclass(frozen=True, slots=True)
class CurrentSource:
    """Feeds `amperes` from VDD into a net, or draws them out of it to VSS."""

    net: str
    amperes: float
    flows_in: bool


@dataclass(frozen=True, slots=True)
class Load:
    """A resistor and a capacitor from a net to VSS."""

    net: str
    ohm: float = LOAD_OHM
    farad: float = LOAD_FARAD


@dataclass(frozen=True, slots=True)
class Bias:
    """Everything at the ports. The supply is the voltage source of VDD."""

    voltages: tuple[VoltageSource, ...]
    currents: tuple[CurrentSource, ...]
    loads: tuple[Load, ...]


def bias_plan(netlist: Netlist, technology: Technology) -> Bias:
    """Sources and loads for every port that a pin touches.

    Outputs get a load; a current output is held at mid-supply. Clocks of odd index are high, of even index low. A bias
    current flows into what conducts to VSS and out of what conducts to VDD. Any other voltage port is driven: with what
    turns on the transistors whose gates or bases it holds (`technology.turn_on_v` above or below the rail, a step
    more for each transistor in between), or with half the supply where they disagree or there are none. A bias or
    reference voltage that the circuit makes itself (a diode-connected transistor; a reference on anything but gates)
    is only loaded.
    """
    supply = technology.supply_v
    depths = {rail: _depths(netlist, rail) for rail in ("VSS", "VDD")}
    voltages = [VoltageSource("VDD", supply)]
    currents: list[CurrentSource] = []
    loads: list[Load] = []
    for net in netlist.ports:
        if net in SUPPLY_NETS or net not in netlist.pins_of:
            continue
        role, index = port_role(net) or ("", 1)
        series = SOURCE_OHM if any(device.kind == "inductor" for device, _ in netlist.pins_of[net]) else 0.0
        if role in _OUTPUT_ROLES or _makes_itself(netlist, net, role):
            loads.append(Load(net))
        elif role == "IOUT":
            voltages.append(VoltageSource(net, supply / 2, series))
        elif role in _CURRENT_ROLES and not _holds_only_gates(netlist, net):
            currents.append(CurrentSource(net, technology.bias_a, conducts_downwards(netlist, net)))
        elif role in _HIGH_ROLES or (role == "VCLK" and index % 2):
            voltages.append(VoltageSource(net, supply, series))
        elif role in _LOW_ROLES or role == "VCLK":
            voltages.append(VoltageSource(net, 0.0, series))
        else:
            voltages.append(VoltageSource(net, _turn_on_voltage(netlist, net, technology, depths), series))
    return Bias(tuple(voltages), tuple(currents), tuple(loads))


def _holds_only_gates(netlist: Netlist, net: str) -> bool:
    """True where nothing on the net carries a current at DC."""
    return all(pin in device.kind_of.sense_pins or device.kind == "capacitor" for device, pin in netlist.pins_of[net])


def _makes_itself(netlist: Netlist, net: str, role: str) -> bool:
    """True where the circuit itself sets the net's voltage."""
    pins = netlist.pins_of[net]
    if role == "VREF":
        return not _holds_only_gates(netlist, net) and not all(pin == "base" for _, pin in pins)
    if role in ("", "VB", "VBB", "VCM"):
        is_driven = any(device.kind_of.is_block and pin in ("output", "up", "down") for device, pin in pins)
        return is_driven or any(is_diode_connected(device, net) for device, _ in pins)
    return False


def is_diode_connected(device: Device, net: str) -> bool:
    """True for a transistor whose control pin shares the net with a pin that carries its current."""
    if device.kind_of.is_mos:
        drain, gate, source, _ = device.nets
        return gate == net and net in (drain, source)
    if device.kind in ("npn", "pnp"):
        collector, base, _ = device.nets
        return collector == base == net
    return False


def _depths(netlist: Netlist, rail: str) -> Mapping[str, int]:
    """Net -> the number of transistors between it and the rail, over channels of the rail's polarity and resistors."""
    kinds = ("nmos", "npn") if rail == "VSS" else ("pmos", "pnp")
    found = {rail: 0}
    waiting = deque([rail])
    while waiting:
        net = waiting.popleft()
        for device, pin in netlist.pins_of.get(net, ()):
            step = 1 if device.kind in kinds else 0
            if (step and pin in ("gate", "base", "bulk")) or (not step and device.kind not in ("resistor", "inductor")):
                continue
            for other in device.nets[:3:2] if step else device.nets:
                if other not in found and other not in SUPPLY_NETS:
                    found[other] = found[net] + step
                    waiting.append(other)
    return found


def _turn_on_voltage(
    netlist: Netlist, net: str, technology: Technology, depths: Mapping[str, Mapping[str, int]]
) -> float:
    """The mean level that turns on the transistors controlled by the net; half the supply where both polarities are."""
    supply = technology.supply_v
    levels: dict[str, list[float]] = {"VSS": [], "VDD": []}
    for device, pin in netlist.pins_of[net]:
        if pin not in ("gate", "base"):
            continue
        rail = "VSS" if device.kind in ("nmos", "npn") else "VDD"
        turn_on = technology.turn_on_v(device.kind)
        ends = device.nets[:3:2]
        depth = min((depths[rail].get(end, 1) for end in ends), default=1)
        levels[rail].append(turn_on + CASCODE_STEP_V * depth)
    if bool(levels["VSS"]) == bool(levels["VDD"]):
        return supply / 2
    rail, above = next((rail, values) for rail, values in levels.items() if values)
    height = min(sum(above) / len(above), supply)
    return round(height if rail == "VSS" else supply - height, 3)


def conducts_downwards(netlist: Netlist, net: str) -> bool:
    """True where the devices on the net lead its current towards VSS, so that a source has to feed it from VDD."""
    votes = 0
    for device, pin in netlist.pins_of[net]:
        if pin in ("gate", "base", "bulk"):
            continue
        others = [other for other in device.nets[:3:2] if other != net] or [""]
        if device.kind in ("nmos", "npn"):
            is_upper_end = pin in ("drain", "collector") if others[0] not in SUPPLY_NETS else others[0] == "VSS"
            votes += 1 if is_upper_end else -1
        elif device.kind in ("pmos", "pnp"):
            is_lower_end = pin in ("drain", "collector") if others[0] not in SUPPLY_NETS else others[0] == "VDD"
            votes += -1 if is_lower_end else 1
    return votes >= 0
