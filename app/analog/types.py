"""What a circuit of each type can and must have, as far as its type alone says. Knows no wiring.

The rules hold for whole circuits of a type and for the parts of one that textbooks print under its name (a loop filter
is `pll`, a gain cell is `amplifier`). They say what is impossible, never what is good: a request that breaks one is
refused before anything is sampled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from app.analog.kinds import CIRCUIT_TYPES, KINDS, PORT_ROLES, SUPPLY_NETS
from app.analog.netlist import port_role


@dataclass(frozen=True, slots=True)
class TypeRule:
    """What circuits of one type have in common.

    `roles` are the roles that its ports can have, supplies apart. Of each set of `needs` at least one kind must be
    there. No circuit of the type has fewer than `least_devices` devices, with every source left to a port.
    """

    roles: frozenset[str]
    needs: tuple[frozenset[str], ...] = ()
    least_devices: int = 1


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A wish that a type cannot have: a JSON pointer into the request (``/ports/0``), and a sentence."""

    pointer: str
    sentence: str


_TRANSISTORS = frozenset({"nmos", "pmos", "npn", "pnp"})
_GAIN = _TRANSISTORS | {"inverter"}
_SWITCHES = _TRANSISTORS | {"diode", "transmission_gate"}
_MOS_CAPACITORS = frozenset({"nmos", "pmos"})
_CAPACITORS = _MOS_CAPACITORS | {"capacitor"}

#: Signals, bias and references: ports that most circuits may have.
_BIAS = frozenset({"VB", "IB", "VBB", "VREF", "IREF", "VCM"})
_OUTPUTS = frozenset({"VOUT", "IOUT"})
_SIGNALS = frozenset({"VIN", "IIN"}) | _OUTPUTS | _BIAS
_SAMPLING = frozenset({"VCLK", "VCONT", "VTRACK", "VHOLD", "VLATCH"})
_LOGIC = frozenset(role for role in PORT_ROLES if role.startswith("LOGIC"))

#: Circuit type -> its rule, in the order of CIRCUIT_TYPES. `other` allows everything.
TYPE_RULES: Mapping[str, TypeRule] = MappingProxyType(
    {
        # a pair and one load; a chopper has clocks, an enable is a control
        "opamp": TypeRule(_SIGNALS | {"VCLK", "VCONT"}, (_GAIN,), 3),
        # the flipped voltage follower: pass device and control device
        "ldo": TypeRule(_SIGNALS | {"VCLK", "VCONT"}, (_TRANSISTORS,), 2),
        # a reference has no input; two junctions, a resistor and what closes the loop
        "bandgap": TypeRule(_OUTPUTS | _BIAS | {"VCLK", "VCONT"}, (_TRANSISTORS,), 4),
        # two inverters whose sizes are the threshold
        "comparator": TypeRule(_SIGNALS | _SAMPLING | {"LOGICQ", "LOGICQA", "LOGICQB"}, (_GAIN,), 2),
        # one switch and one capacitor sample
        "switched_cap": TypeRule(_SIGNALS | _SAMPLING, (_CAPACITORS, _SWITCHES), 2),
        # three stages of a ring; one transistor and a tank take as many
        "oscillator": TypeRule(_SIGNALS | {"VCLK", "VCONT", "VLO"}, (_GAIN,), 3),
        # a block of the loop: one exclusive-or is a phase detector, a loop filter is passive
        "pll": TypeRule(
            _SIGNALS | _LOGIC | {"VCLK", "VCONT", "VLO"},
            (_SWITCHES | {"inverter", "xor", "pfd", "capacitor"},),
            1,
        ),
        # a transistor and its load
        "lna": TypeRule(_SIGNALS | {"VRF", "VCONT"}, (_TRANSISTORS,), 2),
        # one switch between two frequencies
        "mixer": TypeRule(_SIGNALS | {"VRF", "VLO", "VIF", "VCLK", "VCONT"}, (_SWITCHES,), 1),
        # a transistor and its choke
        "power_amp": TypeRule(_SIGNALS | {"VRF", "VCONT"}, (_GAIN,), 2),
        # a coil (or two capacitors' worth of pump) and what switches it twice
        "power_converter": TypeRule(
            _SIGNALS | {"VCLK", "VCONT"}, (_SWITCHES, _CAPACITORS | {"inductor"}), 3
        ),
        # what stores and what loses; a junction is a capacitor too
        "filter": TypeRule(_SIGNALS | {"VCLK", "VCONT"}, (_CAPACITORS | {"inductor", "diode", "npn", "pnp"},), 2),
        # one cell: a source and the pair that steers it
        "adc_dac": TypeRule(_SIGNALS | _SAMPLING | _LOGIC, (_SWITCHES | {"inverter"},), 3),
        "current_mirror": TypeRule(_SIGNALS | {"VCONT"}, (_TRANSISTORS,), 2),
        # one transistor, its load a port
        "amplifier": TypeRule(_SIGNALS | {"VCONT"}, (_GAIN,), 1),
        "other": TypeRule(frozenset(PORT_ROLES)),
    }
)  # fmt: skip


def contradictions(
    circuit_type: str,
    *,
    ports: Sequence[str] = (),
    kinds: Collection[str] | None = None,
    max_devices: int | None = None,
) -> Iterator[Contradiction]:
    """Why no circuit of the type has these ports, only these kinds and at most so many devices; nothing where one may.

    Args:
        circuit_type: One of CIRCUIT_TYPES.
        ports: Names of ports that must be there; supplies and names without a role contradict nothing.
        kinds: The kinds that are allowed; all when None.
        max_devices: Most devices; any number when None.
    """
    rule = TYPE_RULES[circuit_type]
    name = f"{'an' if circuit_type[0] in 'aeio' or circuit_type in ('ldo', 'lna') else 'a'} {circuit_type}"
    for position, port in enumerate(ports):
        role = port_role(port)
        if role is not None and role[0] not in rule.roles:
            can_have = ", ".join((*SUPPLY_NETS, *(role for role in PORT_ROLES if role in rule.roles)))
            yield Contradiction(f"/ports/{position}", f"{name} cannot have port {port}; ports of {name}: {can_have}")
    for needed in rule.needs:
        if kinds is not None and needed.isdisjoint(kinds):
            one_of = ", ".join(kind for kind in KINDS if kind in needed)
            allowed = ", ".join(kind for kind in KINDS if kind in kinds)
            yield Contradiction("/kinds", f"{name} needs at least one of {one_of}; kinds allows only {allowed}")
    if max_devices is not None and max_devices < rule.least_devices:
        plural = "s" if rule.least_devices > 1 else ""
        smallest = f"the smallest {circuit_type} ({rule.least_devices} device{plural})"
        yield Contradiction("/max_devices", f"max_devices {max_devices} is below {smallest}")


assert tuple(TYPE_RULES) == CIRCUIT_TYPES, "every type has its rule"
