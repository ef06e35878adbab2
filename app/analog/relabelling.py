"""Corrects the type of a circuit where its ports and devices contradict the heading it was filed under.

A corpus gives one type to whole chapters and stacks of papers; the chapter on switched capacitors also draws the
amplifier that will be switched. A rule looks at the types it knows to be mixed, and speaks only where a port or a
device decides; a circuit that no rule decides keeps its type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import networkx as nx

from app.analog.kinds import SUPPLY_NETS
from app.analog.netlist import Device, Netlist, port_role

#: Pins that say what the rest of a transistor or block does.
_CONTROL_PINS = frozenset({"gate", "base", "input", "control"})
_CHANNEL_PINS = frozenset({"drain", "source", "collector", "emitter", "output", "a", "b"})
_PASSIVE = frozenset({"resistor", "capacitor", "inductor"})
_JUNCTIONS = frozenset({"npn", "pnp", "diode"})
_MOS = frozenset({"nmos", "pmos"})
_TRANSISTORS = frozenset({"nmos", "pmos", "npn", "pnp"})


@dataclass(frozen=True)
class Relabelling:
    """What one rule did to one circuit."""

    id: str
    before: str
    after: str
    rule: str


@dataclass(frozen=True)
class _Facts:
    """What the rules ask of a circuit."""

    netlist: Netlist

    @cached_property
    def roles(self) -> frozenset[str]:
        """Roles of the ports, supplies left out."""
        return frozenset(role[0] for port in self.netlist.ports if (role := port_role(port)) is not None)

    def count(self, kinds: frozenset[str]) -> int:
        """Devices of the kinds."""
        return sum(device.kind in kinds for device in self.netlist.devices)

    def has(self, *roles: str) -> bool:
        """True when a port has one of the roles."""
        return not self.roles.isdisjoint(roles)

    def has_only(self, *roles: str) -> bool:
        """True when every port has one of the roles."""
        return self.roles.issubset(roles)

    def inputs(self) -> tuple[str, ...]:
        """The voltage inputs."""
        return tuple(port for port in self.netlist.ports if (role := port_role(port)) and role[0] == "VIN")

    def has_loop(self) -> bool:
        """True when some channel leads back to the control pin that it obeys; passive devices conduct both ways."""
        flow = nx.DiGraph()
        acts = []
        for device in self.netlist.devices:
            if device.kind in _PASSIVE:
                flow.add_edges_from((device.nets, device.nets[::-1]))
            controls = [net for pin, net in device.pins() if pin in _CONTROL_PINS]
            channels = [net for pin, net in device.pins() if pin in _CHANNEL_PINS]
            acts += [(control, net) for control in controls for net in channels if net != control]
        flow.add_edges_from(acts)
        flow.remove_nodes_from(SUPPLY_NETS)
        group = {net: number for number, nets in enumerate(nx.strongly_connected_components(flow)) for net in nets}
        return any(control in group and group[control] == group.get(net) for control, net in acts)

    def controlled_by(self, net: str) -> list[Device]:
        """Transistors and blocks with a control pin at `net`."""
        return [device for device, pin in self.netlist.pins_of[net] if pin in _CONTROL_PINS]


def _is_latched(facts: _Facts) -> bool:
    return facts.has("VLATCH")


def _is_mixing(facts: _Facts) -> bool:
    return facts.has("VLO") and facts.has("VRF", "VIF", "VBB", "VIN", "IIN")


def _is_logic(facts: _Facts) -> bool:
    return any(role.startswith("LOGIC") for role in facts.roles)


def _has_currents_alone(facts: _Facts) -> bool:
    reacts = facts.count(frozenset({"capacitor", "inductor"}))
    return facts.has("IOUT") and facts.has_only("IOUT", "IIN", "IREF", "IB", "VB") and facts.count(_MOS) > 0 == reacts


def _has_bias_alone(facts: _Facts) -> bool:
    return facts.has_only("VB", "IB", "IREF", "VCLK")


def _has_bias_alone_and_no_junction(facts: _Facts) -> bool:
    return _has_bias_alone(facts) and not facts.count(_JUNCTIONS)


def _is_junction_reference(facts: _Facts) -> bool:
    return facts.has("VREF", "VOUT") and not facts.has("VIN", "IIN", "VCLK") and facts.count(_JUNCTIONS) >= 2


def _is_junction_reference_without_output(facts: _Facts) -> bool:
    return _is_junction_reference(facts) and not facts.has("VOUT")


def _takes_current_gives_voltage(facts: _Facts) -> bool:
    return facts.has("IIN") and facts.has("VOUT") and not facts.has("VIN")


def _is_unswitched_amplifier(facts: _Facts) -> bool:
    return _is_unswitched(facts) and facts.has("VIN") and facts.has("VOUT")


def _is_unswitched(facts: _Facts) -> bool:
    return not facts.has("VCLK", "VTRACK", "VHOLD", "VCONT")


def _takes_voltage_gives_voltage(facts: _Facts) -> bool:
    return facts.has("VIN") and facts.has("VOUT")


def _has_no_input(facts: _Facts) -> bool:
    return not facts.has("VIN", "IIN")


def _runs_by_itself(facts: _Facts) -> bool:
    return facts.has("VOUT") and facts.has_only("VOUT", "VCONT", "VB", "IB") and facts.has_loop()


def _has_no_reactance(facts: _Facts) -> bool:
    return facts.has("VIN") and not facts.count(frozenset({"capacitor", "inductor"}))


def _is_passive_network(facts: _Facts) -> bool:
    is_passive = facts.count(_PASSIVE) == len(facts.netlist.devices)
    return is_passive and _takes_voltage_gives_voltage(facts) and not _has_no_reactance(facts)


def _is_one_stage(facts: _Facts) -> bool:
    """One voltage input at the gate or base of one of few transistors, and nothing but bias beside it."""
    inputs = facts.inputs()
    if not (_takes_voltage_gives_voltage(facts) and facts.has_only("VIN", "VOUT", "VB", "IB", "VCM")):
        return False
    return len(inputs) == 1 and facts.count(_TRANSISTORS) <= 4 and bool(facts.controlled_by(inputs[0]))


def _is_differential_pair(facts: _Facts) -> bool:
    """Two voltage inputs at transistors whose sources or emitters are joined, and nothing but bias beside them."""
    return facts.has_only("VIN", "VOUT", "VB", "IB", "VCM") and _has_differential_pair(facts)


def _has_differential_pair(facts: _Facts) -> bool:
    inputs = facts.inputs()
    if len(inputs) != 2 or not facts.has("VOUT"):
        return False
    tails = [
        {net for device in facts.controlled_by(port) for pin, net in device.pins() if pin in {"source", "emitter"}}
        for port in inputs
    ]
    return bool(tails[0] & tails[1] - set(SUPPLY_NETS))


def _regenerates(facts: _Facts) -> bool:
    """A clocked or differential input, and two transistors of one kind, the gate of each at the drain of the other."""
    is_clocked = _takes_voltage_gives_voltage(facts) and facts.has("VCLK")
    if not (is_clocked or _has_differential_pair(facts)):
        return False
    arms = {
        (device.kind, device.nets[1], device.nets[0])
        for device in facts.netlist.devices
        if device.kind in _MOS and device.nets[0] != device.nets[1]
    }
    return any((kind, drain, gate) in arms for kind, gate, drain in arms)


def _is_open_stage(facts: _Facts) -> bool:
    """A stage of a ring or a tuned amplifier by itself: its inputs only drive gates and nothing leads back to them."""
    inputs = facts.inputs()
    if any(pin not in _CONTROL_PINS for port in inputs for _, pin in facts.netlist.pins_of[port]):
        return False
    return (_is_one_stage(facts) or _has_differential_pair(facts)) and not facts.has_loop()


def _has_no_transistor(facts: _Facts) -> bool:
    return facts.count(_PASSIVE) == len(facts.netlist.devices)


@dataclass(frozen=True)
class _Rule:
    """Circuits of the types `before` for which `decides` holds are of type `after`."""

    name: str
    before: frozenset[str]
    decides: Callable[[_Facts], bool]
    after: str


def _rule(name: str, before: str, decides: Callable[[_Facts], bool], after: str) -> _Rule:
    return _Rule(name, frozenset(before.split()), decides, after)


#: The first that decides counts.
_RULES = (
    _rule("it is told when to decide", "other adc_dac switched_cap", _is_latched, "comparator"),
    _rule("a signal meets a local oscillator", "other", _is_mixing, "mixer"),
    _rule("logic in and out", "other", _is_logic, "pll"),
    _rule("currents in and out, in MOS", "opamp ldo other", _has_currents_alone, "current_mirror"),
    _rule("bias and nothing else", "opamp", _has_bias_alone, "current_mirror"),
    _rule("bias and nothing else", "bandgap ldo", _has_bias_alone_and_no_junction, "current_mirror"),
    _rule("junctions give a voltage", "other current_mirror", _is_junction_reference, "bandgap"),
    _rule("junctions give a voltage", "ldo", _is_junction_reference_without_output, "bandgap"),
    _rule("a current in and a voltage out", "opamp", _takes_current_gives_voltage, "amplifier"),
    _rule("nothing switches it", "switched_cap", _is_unswitched_amplifier, "amplifier"),
    _rule("nothing switches it", "switched_cap", _is_unswitched, "other"),
    _rule("a voltage in and a voltage out", "current_mirror", _takes_voltage_gives_voltage, "amplifier"),
    _rule("nothing to compare", "comparator", _has_no_input, "other"),
    _rule("it runs by itself", "pll", _runs_by_itself, "oscillator"),
    _rule("no reactance", "filter", _has_no_reactance, "amplifier"),
    _rule("a passive network", "other", _is_passive_network, "filter"),
    _rule("it takes a voltage and regenerates", "other", _regenerates, "comparator"),
    _rule("one stage", "other", _is_one_stage, "amplifier"),
    _rule("a differential pair", "other", _is_differential_pair, "amplifier"),
    _rule("an input, an output and no loop", "oscillator", _is_open_stage, "amplifier"),
    _rule("no transistor", "oscillator", _has_no_transistor, "other"),
)


def type_by_rule(netlist: Netlist, filed_under: str) -> tuple[str, str] | None:
    """The type that the circuit's ports and devices tell and the name of the rule, or None where no rule decides."""
    facts = _Facts(netlist)
    for rule in _RULES:
        if filed_under in rule.before and rule.decides(facts):
            return rule.after, rule.name
    return None
