"""A first sizing worth simulating: branch currents from the structure, widths and bias voltages from gm/Id tables.

The method is that of hand design: each transistor gets an inversion level that suits its function, the tables turn
current and inversion level into a width. Reference: [silveira1996gmid].

Currents are those that satisfy Kirchhoff's current law at every inner net best while mirrors copy, matched devices
carry the same and current sources biased from outside carry the technology's bias current.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np

from app.analog.kinds import SUPPLY_NETS
from app.analog.matching import SizeGroup, size_groups
from app.analog.netlist import Device, Netlist, port_role
from app.analog.transistors import Transistor, transistors_of
from app.analog.wiring import JoinedNets
from app.simulators.bias import conducts_downwards
from app.sizes.draws import snapped
from app.sizes.space import SizeSpace
from app.technologies._base import Technology


class GmIdLookup(Protocol):
    """What is needed of a technology's gm/Id tables. Voltages are magnitudes; beyond the grid its edge counts."""

    def id_per_width(self, kind: str, gm_over_id: float, length_m: float, vds_v: float, vsb_v: float, /) -> float:
        """Drain current per width, in amperes a metre, at this inversion level."""

    def vgs_for(self, kind: str, gm_over_id: float, length_m: float, vds_v: float, vsb_v: float, /) -> float:
        """Gate-source voltage at this inversion level."""


@dataclass(frozen=True, slots=True)
class _Function:
    """How transistors of one function are sized: gm/Id in 1/V, length in multiples of the shortest."""

    gm_over_id: float
    lengths: float


_PAIR = _Function(15.0, 2.0)
_GAIN = _Function(12.0, 2.0)
_CASCODE = _Function(12.0, 2.0)
_SOURCE_LENGTHS = 4.0
_SWITCH = _Function(5.0, 1.0)
_RADIO = _Function(10.0, 1.0)

#: Ports that carry logic levels or a carrier: a transistor whose gate is there switches.
_SWITCH_ROLES = frozenset({"VCLK", "VCONT", "VTRACK", "VHOLD", "VLATCH", "LOGICA", "LOGICB", "LOGICD", "VLO"})

#: Ports that hold a voltage which is not the circuit's own bias: signals and references.
_SIGNAL_ROLES = frozenset({"VIN", "VREF", "VCM", "VRF", "VLO"})

#: A current source saturates at this part of the supply, so that stacks fit, but within these limits of gm/Id.
_SATURATION_PART = 1 / 8
_SOURCE_GM_OVER_ID = (8.0, 14.0)

#: Drain-source voltage beyond saturation, 2 / (gm/Id), that a stacked transistor is given, as a part of the supply.
_MARGIN_PART = 1 / 18

#: A load resistor takes this part of the supply, one below a source or emitter this voltage.
_LOAD_PART, _DEGENERATION_V = 1 / 3, 0.15

#: A resistor that senses a high-impedance output takes this many supplies at the bias current.
_SENSING_SUPPLIES = 10.0

#: In a bandgap core: the difference of two junction voltages at a ratio of areas of eight, and what a junction voltage
#: and the multiple of it that cancels its drift add up to.
_DIFFERENCE_V, _BANDGAP_V = 0.054, 1.2

#: Bias current of a circuit for radio frequencies, as a multiple of the technology's.
_RADIO_CURRENT = 100.0

#: Fingers of a mirror's device that stands on a resistor, unit devices of a bipolar one; fingers of the current source
#: of an output stage; fingers of a regulator's pass device, each of the greatest width.
_RAISED_FINGERS, _RAISED_AREA, _OUTPUT_FINGERS, _PASS_FINGERS = 4.0, 8.0, 4.0, 16.0

#: Coil of a switched converter, and capacitor that a clock pumps.
_CONVERTER_H, _PUMP_F = 2e-6, 100e-12

#: Weights of the equations for currents, and the least current, as a part of the bias current, before a branch is
#: pulled up so that it conducts.
_KIRCHHOFF, _COPIED, _BIASED, _PRIOR, _PULL = 30.0, 3.0, 1.0, 0.01, 2.0
_LEAST = 0.2
_PULLS = 4


def guided_start(
    netlist: Netlist, space: SizeSpace, technology: Technology, tables: GmIdLookup | None
) -> tuple[float, ...]:
    """A vector of `space` at which the circuit's transistors are likely to work as meant.

    Sizes that the netlist brings along stay, and so does everything where there are no tables. Bias currents stay;
    bias voltages that hold gates follow from the gate-source voltages.
    """
    if tables is None:
        return space.start
    return _Estimate(netlist, space, technology, tables).vector()


def branch_currents(netlist: Netlist, technology: Technology, feeds: Mapping[str, float]) -> dict[str, float]:
    """Amperes through every transistor, resistor, inductor and diode, positive the way a transistor conducts.

    `feeds` are the currents that bias sources put into nets (negative where they draw). Two-terminal devices count from
    their first net to their second. Multipliers of a group tell the ratio of its members.
    """
    return _Currents(netlist, technology, feeds).solve()


class _Currents:
    """Least squares over the currents of every branch, in units of the technology's bias current."""

    def __init__(self, netlist: Netlist, technology: Technology, feeds: Mapping[str, float]) -> None:
        self.netlist, self.unit, self.feeds = netlist, _unit_current_a(netlist, technology), feeds
        self.transistors = {found.name: found for found in transistors_of(netlist)}
        self.names = [
            device.name
            for device in netlist.devices
            if device.name in self.transistors or device.kind in ("resistor", "inductor", "diode")
        ]
        self.place = {name: position for position, name in enumerate(self.names)}
        self.rows: list[dict[str, float]] = []
        self.targets: list[float] = []

    def _add(self, weight: float, terms: Mapping[str, float], target: float) -> None:
        self.rows.append({name: weight * value for name, value in terms.items()})
        self.targets.append(weight * target)

    def solve(self) -> dict[str, float]:
        self._add_kirchhoff()
        self._add_copies()
        self._add_sources()
        for name in self.names:
            is_transistor = name in self.transistors
            self._add(_PRIOR if is_transistor else _PRIOR / 30, {name: 1.0}, 1.0 if is_transistor else 0.0)
        found = self._least_squares()
        for _ in range(_PULLS):
            starved = [name for name in self.transistors if found[self.place[name]] < _LEAST]
            if not starved:
                break
            for name in starved:
                self._add(_PULL, {name: 1.0}, 2 * _LEAST)
            found = self._least_squares()
        return {
            name: self.unit * float(max(value, _LEAST) if name in self.transistors else value)
            for name, value in zip(self.names, found, strict=True)
        }

    def _least_squares(self) -> Sequence[float]:
        matrix = np.zeros((len(self.rows), len(self.names)))
        for row, terms in enumerate(self.rows):
            for name, value in terms.items():
                matrix[row, self.place[name]] += value
        solution: list[float] = np.linalg.lstsq(matrix, np.array(self.targets), rcond=None)[0].tolist()
        return solution

    def _add_kirchhoff(self) -> None:
        leaving: dict[str, dict[str, float]] = defaultdict(dict)
        for device in self.netlist.devices:
            for net, sign in zip(_ends(device), (1.0, -1.0), strict=False):
                leaving[net][device.name] = leaving[net].get(device.name, 0.0) + sign
        for net, terms in leaving.items():
            if not _is_outside(self.netlist, net):
                self._add(_KIRCHHOFF, terms, self.feeds.get(net, 0.0) / self.unit)

    def _add_copies(self) -> None:
        for group in size_groups(self.netlist):
            for copies in group.copies:
                for first, second in pairwise(copies):
                    if first in self.place and first in self.transistors:
                        self._add(_COPIED, {first: 1.0, second: -1.0}, 0.0)
        for members in self._mirrors():
            for one, two in pairwise(members):
                ratio = _multiplier(two.device) / _multiplier(one.device)
                self._add(_COPIED, {one.name: ratio, two.name: -1.0}, 0.0)

    def _mirrors(self) -> Iterable[Sequence[Transistor]]:
        """Transistors of a kind with gates and sources joined."""
        found: dict[tuple[str, str, str], list[Transistor]] = defaultdict(list)
        for transistor in self.transistors.values():
            found[transistor.kind, transistor.gate, transistor.source].append(transistor)
        return found.values()

    def _add_sources(self) -> None:
        for transistor in self.transistors.values():
            if transistor.source in SUPPLY_NETS and _is_bias_port(self.netlist, transistor.gate):
                self._add(_BIASED, {transistor.name: 1.0}, _multiplier(transistor.device))


def _unit_current_a(netlist: Netlist, technology: Technology) -> float:
    """What a bias source of the circuit carries unless something else is known."""
    return technology.bias_a * (_RADIO_CURRENT if _is_radio(netlist) else 1.0)


def _is_radio(netlist: Netlist) -> bool:
    """True where a transistor works into a coil, or a port carries a radio frequency."""
    is_mixer = any(_role(netlist, net) in ("VRF", "VLO") for net in netlist.ports)
    return is_mixer or any(map(_on_coil(netlist), transistors_of(netlist)))


def _on_coil(netlist: Netlist) -> Callable[[Transistor], bool]:
    """Tells whether a transistor's channel works into a coil."""
    nets = {net for device in netlist.devices if device.kind == "inductor" for net in device.nets}
    return lambda transistor: bool({transistor.drain, transistor.source} & nets - {*SUPPLY_NETS})


def _ends(device: Device) -> tuple[str, ...]:
    """The nets that a branch's current leaves and enters, in this order; none for what carries no direct current."""
    if device.kind in ("nmos", "npn"):
        return device.nets[0], device.nets[2]
    if device.kind in ("pmos", "pnp"):
        return device.nets[2], device.nets[0]
    return device.nets if device.kind in ("resistor", "inductor", "diode") else ()


def _multiplier(device: Device) -> float:
    return device.sizes.get("multiplier", device.sizes.get("area", 1.0))


def _role(netlist: Netlist, net: str) -> str | None:
    """The role of a port, an empty word for a port without, None for any other net."""
    return (port_role(net) or ("",))[0] if net in netlist.ports else None


def _is_bias_port(netlist: Netlist, net: str) -> bool:
    """True for a port that sets the level of gates or bases, and is neither a signal nor logic."""
    role = _role(netlist, net)
    if role is None or role in _SIGNAL_ROLES | _SWITCH_ROLES or net in SUPPLY_NETS:
        return False
    carrying = ("drain", "source", "collector", "emitter")
    return not any(pin in carrying or device.kind_of.is_block for device, pin in netlist.pins_of[net])


def _is_outside(netlist: Netlist, net: str) -> bool:
    """True where currents need not add up: supplies, driven ports, outputs of blocks."""
    role = _role(netlist, net)
    is_driven = role is not None and role not in ("VOUT", "VIF", "IB", "IIN", "IREF", "VB")
    return net in SUPPLY_NETS or is_driven or any(device.kind_of.is_block for device, _ in netlist.pins_of[net])


class _Estimate:
    """Functions, voltages and currents of one circuit, and the vector that follows from them."""

    def __init__(self, netlist: Netlist, space: SizeSpace, technology: Technology, tables: GmIdLookup) -> None:
        self.netlist, self.space, self.technology, self.tables = netlist, space, technology, tables
        self.devices = {device.name: device for device in netlist.devices}
        self.transistors = {found.name: found for found in transistors_of(netlist)}
        self.drains: dict[str, set[str]] = defaultdict(set)
        self.sources: dict[str, set[str]] = defaultdict(set)
        for found in self.transistors.values():
            self.drains[found.drain].add(found.kind)
            self.sources[found.source].add(found.kind)
        self.groups = size_groups(netlist)
        self.is_radio = _is_radio(netlist)
        lowest, highest = _SOURCE_GM_OVER_ID
        inversion = min(max(2 / (_SATURATION_PART * technology.supply_v), lowest), highest)
        self.current_source = _Function(inversion, _SOURCE_LENGTHS)
        self.unit_a = _unit_current_a(netlist, technology)
        self.function_of = {name: self._function(group) for group in self.groups for name in group.devices}
        self.level_of = self._levels()
        self.margin_v = _MARGIN_PART * technology.supply_v
        feeds = {
            variable.port: variable.start * (1.0 if conducts_downwards(netlist, variable.port) else -1.0)
            for variable in space.variables
            if variable.is_current and variable.port is not None
        }
        self.fingers = self._fingers()
        self.currents = branch_currents(self._with_fingers(), technology, feeds)

    def _fingers(self) -> dict[str, float]:
        """Multipliers of MOS that bring none along: the larger side of a mirror with a resistor, and output stages."""
        chosen: dict[str, float] = {}
        for group in self.groups:
            for copies in group.copies:
                transistor = self.transistors.get(copies[0])
                if transistor is None or not transistor.device.kind_of.is_mos or transistor.device.sizes:
                    continue
                is_output = len(copies) == 1 and group.relation == "mirror" and self._loads_output_stage(transistor)
                count = _OUTPUT_FINGERS if is_output else _RAISED_FINGERS if self._is_raised(transistor) else 1.0
                chosen |= dict.fromkeys(copies, count)
        return chosen

    def _loads_output_stage(self, transistor: Transistor) -> bool:
        """True for the current source of a stage whose other transistor, at the other rail, an inner net drives."""
        return (
            _role(self.netlist, transistor.drain) == "VOUT"
            and transistor.source in SUPPLY_NETS
            and len(self.drains[transistor.drain]) == 2
            and any(
                other.drain == transistor.drain
                and other.kind != transistor.kind
                and other.source in SUPPLY_NETS
                and _role(self.netlist, other.gate) is None
                for other in self.transistors.values()
            )
        )

    def _with_fingers(self) -> Netlist:
        devices = tuple(
            replace(device, sizes={**device.sizes, "multiplier": self.fingers[device.name]})
            if device.name in self.fingers
            else device
            for device in self.netlist.devices
        )
        return Netlist(devices, self.netlist.ports)

    def vector(self) -> tuple[float, ...]:
        volts = self._voltages()
        values = list(self.space.start)
        for group in self.groups:
            if not any(self.devices[name].sizes for name in group.devices):
                for (device, size), value in self._sizes_of(group, volts).items():
                    variable = self.space.variable_at[device, size]
                    values[self.space.index_of[variable.name]] = min(max(value, variable.low), variable.high)
        for index, variable in enumerate(self.space.variables):
            if variable.unit == "V" and variable.port is not None and _is_bias_port(self.netlist, variable.port):
                level = volts.get(self.level_of[variable.port], variable.start)
                values[index] = min(max(level, variable.low), variable.high)
        moved = [value != start for value, start in zip(values, self.space.start, strict=True)]
        on_grid = snapped(self.space, values)
        return tuple(new if is_moved else old for new, old, is_moved in zip(on_grid, values, moved, strict=True))

    def _function(self, group: SizeGroup) -> _Function:
        """What the group's transistors do; other kinds get any."""
        members = [self.transistors[name] for name in group.devices if name in self.transistors]
        if not members:
            return _GAIN
        is_latch = group.relation == "cross_coupled" and not any(member.is_diode_connected for member in members)
        is_switch = any(self._is_switch(member) for member in members)
        if self.is_radio and (is_latch or not (is_switch or all(self._is_source(member) for member in members))):
            return _RADIO
        if (
            is_switch
            or is_latch
            or (group.relation == "pair" and any(self._has_switched_tail(member) for member in members))
        ):
            return _SWITCH
        if group.relation == "pair":
            return _PAIR
        is_mirror = group.relation in ("mirror", "cross_coupled")
        if is_mirror or any(m.is_diode_connected or _is_bias_port(self.netlist, m.gate) for m in members):
            return _CASCODE if all(self._is_stacked(member) for member in members) else self.current_source
        return _CASCODE if all(self._is_stacked(member) for member in members) else _GAIN

    def _is_switch(self, transistor: Transistor) -> bool:
        """True where the gate is a logic level or shared with the other polarity, or the device is a pass device."""
        if transistor.gate in SUPPLY_NETS or _role(self.netlist, transistor.gate) in _SWITCH_ROLES:
            return True
        kinds = {device.kind for device, pin in self.netlist.pins_of[transistor.gate] if pin == "gate"}
        return {"nmos", "pmos"} <= kinds or self._feeds_output(transistor)

    def _is_source(self, transistor: Transistor) -> bool:
        return transistor.source in SUPPLY_NETS and (
            transistor.is_diode_connected or _is_bias_port(self.netlist, transistor.gate)
        )

    def _has_switched_tail(self, transistor: Transistor) -> bool:
        return any(
            tail.drain == transistor.source and self._is_switch(tail)
            for tail in self.transistors.values()
            if tail.kind == transistor.kind and tail.name != transistor.name
        )

    def _feeds_output(self, transistor: Transistor) -> bool:
        """True for a MOS from the supply to an output with a capacitor, on which no other polarity draws."""
        output = transistor.drain if transistor.kind == "pmos" else transistor.source
        far = transistor.source if transistor.kind == "pmos" else transistor.drain
        users = [pin for _, pin in self.netlist.pins_of[transistor.gate] if pin in ("gate", "base")]
        return (
            transistor.device.kind_of.is_mos
            and far == "VDD"
            and _role(self.netlist, output) == "VOUT"
            and _role(self.netlist, transistor.gate) is None
            and len(users) == 1
            and self.drains[output] | self.sources[output] == {transistor.kind}
            and any(device.kind == "capacitor" and "VSS" in device.nets for device, _ in self.netlist.pins_of[output])
        )

    def _is_pass_device(self, transistor: Transistor) -> bool:
        """True where it alone feeds the output; one that feeds back by its output keeps to a moderate width."""
        output = transistor.drain if transistor.kind == "pmos" else transistor.source
        others = self.sources[output] if transistor.kind == "pmos" else self.drains[output]
        return self._feeds_output(transistor) and not others

    def _is_stacked(self, transistor: Transistor) -> bool:
        return transistor.source not in SUPPLY_NETS and transistor.kind in self.drains[transistor.source]

    # Voltages

    def _levels(self) -> Mapping[str, str]:
        """Net -> the net that stands for all at its DC level: over coils, and over resistors that carry nothing."""
        joined = JoinedNets()
        for device in self.netlist.devices:
            ends = [net for net in device.nets if net not in SUPPLY_NETS]
            is_idle = device.kind == "resistor" and any(self._holds_no_current(net, device) for net in ends)
            if device.kind == "inductor" or is_idle:
                joined.join(device.nets)
        return {net: joined.find(net) for net in (*SUPPLY_NETS, *self.netlist.nets)}

    def _holds_no_current(self, net: str, besides: Device) -> bool:
        return net not in self.netlist.ports and all(
            device.name == besides.name or pin == "gate" or device.kind == "capacitor"
            for device, pin in self.netlist.pins_of[net]
        )

    def _voltages(self) -> dict[str, float]:
        """Level -> volts, as far as gate-source voltages and stacking tell."""
        supply = self.technology.supply_v
        volts = {self.level_of["VDD"]: supply, self.level_of["VSS"]: 0.0}
        for variable in self.space.variables:
            if variable.port is not None and variable.unit == "V" and not _is_bias_port(self.netlist, variable.port):
                volts.setdefault(self.level_of[variable.port], variable.start)
        biased = {self.level_of[variable.port] for variable in self.space.variables if variable.port is not None}
        for net in self.netlist.nets:
            if _role(self.netlist, net) in _SIGNAL_ROLES and self.level_of[net] not in biased:
                volts.setdefault(self.level_of[net], supply / 2)
        while True:
            found: dict[str, list[float]] = defaultdict(list)
            for transistor in self.transistors.values():
                for level, value in self._tells(transistor, volts):
                    found[level].append(min(max(value, 0.0), supply))
            if not found:
                return volts
            volts |= {level: sum(values) / len(values) for level, values in found.items()}

    def _tells(self, transistor: Transistor, volts: Mapping[str, float]) -> Iterator[tuple[str, float]]:
        """What one transistor says of the unknown nets around it, given those that are known."""
        sign = 1.0 if transistor.kind in ("nmos", "npn") else -1.0
        drain, gate, source = (self.level_of[net] for net in (transistor.drain, transistor.gate, transistor.source))
        foot = transistor.source
        if source in volts:
            if gate not in volts:
                yield gate, volts[source] + sign * self._turn_on_v(transistor, volts)
            is_stack = not transistor.is_diode_connected and transistor.kind in self.sources[transistor.drain]
            if drain not in volts and is_stack:
                yield drain, volts[source] + sign * (2 / self.function_of[transistor.name].gm_over_id + self.margin_v)
        elif gate in volts and (transistor.kind not in self.drains[foot] or self._is_tail(transistor)):
            yield source, volts[gate] - sign * self._turn_on_v(transistor, volts)
        elif not self.drains[foot] and any(device.kind == "resistor" for device, _ in self.netlist.pins_of[foot]):
            yield source, (0.0 if sign > 0 else self.technology.supply_v) + sign * _DEGENERATION_V

    def _is_tail(self, transistor: Transistor) -> bool:
        """True where another transistor of the kind has the same source: a differential pair follows its gates."""
        pins = [pin for device, pin in self.netlist.pins_of[transistor.source] if device.kind == transistor.kind]
        return sum(pin in ("source", "emitter") for pin in pins) > 1

    def _turn_on_v(self, transistor: Transistor, volts: Mapping[str, float]) -> float:
        if not transistor.device.kind_of.is_mos:
            return self.technology.base_bias_v
        function = self.function_of[transistor.name]
        return self.tables.vgs_for(
            transistor.kind, function.gm_over_id, self._length_m(function), *self._drain_and_bulk(transistor, volts)
        )

    def _drain_and_bulk(self, transistor: Transistor, volts: Mapping[str, float]) -> tuple[float, float]:
        """Drain-source voltage (a third of the supply) and source-bulk voltage, as magnitudes."""
        bulk, source = self.level_of[transistor.device.nets[3]], self.level_of[transistor.source]
        body = abs(volts[source] - volts[bulk]) if {bulk, source} <= volts.keys() else 0.0
        return self.technology.supply_v / 3, body

    def _length_m(self, function: _Function) -> float:
        return min(function.lengths * self.technology.length_min_m, self.technology.length_max_m)

    # Sizes

    def _sizes_of(self, group: SizeGroup, volts: Mapping[str, float]) -> dict[tuple[str, str], float]:
        first = self.devices[group.devices[0]]
        if first.kind_of.is_mos:
            return self._mos_sizes(group, volts)
        if first.kind in ("npn", "pnp") and self._is_raised(self.transistors[first.name]):
            return {(first.name, "area"): _RAISED_AREA}
        if first.kind == "inductor" and any(
            self.function_of[each.name] is _SWITCH and {each.drain, each.source} & {*first.nets}
            for each in self.transistors.values()
        ):
            return {(first.name, "inductance_h"): _CONVERTER_H}
        if first.kind == "capacitor" and any(_role(self.netlist, net) == "VCLK" for net in first.nets):
            return {(first.name, "capacitance_f"): _PUMP_F}
        if first.kind == "resistor":
            ohm = self._resistance(first)
            return {} if ohm is None else {(first.name, "resistance_ohm"): ohm}
        return {}

    def _mos_sizes(self, group: SizeGroup, volts: Mapping[str, float]) -> dict[tuple[str, str], float]:
        """Width from the mean current of one finger; more fingers where one would be too wide."""
        technology, first = self.technology, group.devices[0]
        function = self.function_of[first]
        length = self._length_m(function)
        multipliers = {copies[0]: self.fingers[copies[0]] for copies in group.copies}
        is_power = function is _SWITCH and _on_coil(self.netlist)(self.transistors[first])
        if is_power or self._is_pass_device(self.transistors[first]):
            width, multipliers = technology.width_max_m, dict.fromkeys(multipliers, _PASS_FINGERS)
        elif function is _SWITCH:
            width = technology.sizes[group.kind]["width_m"]
        else:
            fingers = [(name, multipliers[copies[0]]) for copies in group.copies for name in copies]
            mean = math.exp(sum(math.log(self.currents[name] / count) for name, count in fingers) / len(fingers))
            drain, body = self._drain_and_bulk(self.transistors[first], volts)
            width = mean / self.tables.id_per_width(group.kind, function.gm_over_id, length, drain, body)
        count = max(1, math.ceil(width / technology.width_max_m * (1 - 1e-9)))
        return {
            (first, "length_m"): length,
            (first, "width_m"): width / count,
            **{(name, "multiplier"): value * count for name, value in multipliers.items()},
        }

    def _is_raised(self, transistor: Transistor) -> bool:
        """True for the larger device of a proportional-to-temperature core: only a resistor holds its source, and
        another transistor of the kind has the same gate and none.
        """  # fmt: skip
        return self._stands_on_resistor(transistor) and any(
            other.gate == transistor.gate and other.kind == transistor.kind and not self._stands_on_resistor(other)
            for other in self.transistors.values()
        )

    def _stands_on_resistor(self, transistor: Transistor) -> bool:
        """True where a resistor alone takes the current of the source; that of a MOS ends at a rail."""
        pins = [(device, pin) for device, pin in self.netlist.pins_of[transistor.source] if pin != "bulk"]
        others = [device for device, _ in pins if device.name != transistor.name]
        if len(others) != 1 or others[0].kind != "resistor":
            return False
        far = next((net for net in others[0].nets if net != transistor.source), "")
        return far in SUPPLY_NETS if transistor.device.kind_of.is_mos else _role(self.netlist, far) != "VOUT"

    def _resistance(self, device: Device) -> float | None:
        """A load takes a part of the supply, a resistor at a source or emitter a step; None for any other."""
        if self._senses(device):
            return _SENSING_SUPPLIES * self.technology.supply_v / self.unit_a
        junction = self._junction_resistance(device)
        if junction is not None:
            return junction
        current = abs(self.currents[device.name])
        if current < _LEAST * self.technology.bias_a / 2:
            return None
        ends = [net for net in device.nets if net not in SUPPLY_NETS]
        if any(self.sources[net] and not self.drains[net] and _role(self.netlist, net) != "VOUT" for net in ends):
            return _DEGENERATION_V / current
        if len(ends) != 1:
            return None
        if self.drains[ends[0]]:
            return self._drop_v(ends[0]) / current
        return self.technology.supply_v / 2 / self.unit_a if self._is_emitter_output(ends[0]) else None

    def _senses(self, device: Device) -> bool:
        """True where the resistor leads from a current-driven output to nothing but resistors and gates."""
        for inner, far in (device.nets, device.nets[::-1]):
            pins = self.netlist.pins_of[inner]
            resistors = [each for each, _ in pins if each.kind == "resistor"]
            reads_only = inner not in self.netlist.ports and all(
                each.kind in ("resistor", "capacitor") or pin == "gate" for each, pin in pins
            )
            is_symmetric = all(not {*each.nets} & {*SUPPLY_NETS} for each in resistors) and len(resistors) > 1
            if reads_only and is_symmetric and len(self.drains[far]) == 2:
                return True
        return False

    def _is_emitter_output(self, net: str) -> bool:
        kinds = self.sources[net]
        return _role(self.netlist, net) == "VOUT" and bool(kinds) and kinds <= {"npn", "pnp"}

    def _drop_v(self, net: str) -> float:
        """Across a load resistor; less where an emitter follower at half the supply needs the room."""
        supply = self.technology.supply_v
        drives_output = any(
            each.gate == net and self._is_emitter_output(each.source) for each in self.transistors.values()
        )
        return max(supply / 2 - self.technology.base_bias_v, self.margin_v) if drives_output else _LOAD_PART * supply

    def _junction_resistance(self, device: Device) -> float | None:
        """In a bandgap core: at the larger junction, in the sum of both branches or the output's, beside a junction."""
        emitters = {
            net: [each for each in self.transistors.values() if each.source == net and not each.device.kind_of.is_mos]
            for net in device.nets
        }
        held = {net for net, found in emitters.items() if found}
        if any(self._is_raised(each) for found in emitters.values() for each in found):
            return _DIFFERENCE_V / self.technology.bias_a
        if not held or not any(map(self._is_raised, self.transistors.values())):
            return None
        drift = (_BANDGAP_V - self.technology.base_bias_v) / self.technology.bias_a
        outputs = {net for net in device.nets if _role(self.netlist, net) == "VOUT"}
        if outputs:
            return None if held & outputs else drift
        if not {*device.nets} & {*SUPPLY_NETS}:
            return None
        is_diode = any(each.gate in SUPPLY_NETS for net in held for each in emitters[net])
        return drift if is_diode else drift / 2
