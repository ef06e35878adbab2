"""AnalogGenie's walk: a circuit as tokens that step along the edges of its pin graph. Knows no tensors.

The graph's nodes are ports, devices and pins. A device touches its pins, a pin on a port touches the port, and the pins
of an internal net touch each other, all with all. The walk is a depth-first search of the edges from VSS: at every node
it takes an edge that it has not walked yet, and goes back along the edge that it came by when there is none. So it
walks each edge once in each direction and has 2E + 1 tokens.

Names and limits are AnalogGenie's: instances are numbered by kind in the netlist's order, and a 35th NMOS has no name.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from app.analog.kinds import KINDS, SUPPLY_NETS
from app.analog.netlist import Device, Netlist
from app.errors import NotASentence, NotExpressible

#: Most tokens of a walk; shorter ones are filled up to here in AnalogGenie's own files.
MAX_WALK = 1025
PADDING = "TRUNCATE"
ROOT = "VSS"


@dataclass(frozen=True, slots=True)
class InstanceNames:
    """How instances of a kind are named: a prefix and a number up to `most`, and a suffix for each pin."""

    prefix: str
    most: int
    pins: tuple[str, ...]


_MOS_PINS, _BIPOLAR_PINS, _TWO_PINS = ("D", "G", "S", "B"), ("C", "B", "E"), ("P", "N")

#: Names by device kind, in the order of AnalogGenie's vocabulary; pins in our order, which is also AnalogGenie's.
INSTANCE_NAMES: Mapping[str, InstanceNames] = MappingProxyType(
    {
        "nmos": InstanceNames("NM", 34, _MOS_PINS),
        "pmos": InstanceNames("PM", 34, _MOS_PINS),
        "npn": InstanceNames("NPN", 26, _BIPOLAR_PINS),
        "pnp": InstanceNames("PNP", 26, _BIPOLAR_PINS),
        "resistor": InstanceNames("R", 27, _TWO_PINS),
        "capacitor": InstanceNames("C", 15, _TWO_PINS),
        "inductor": InstanceNames("L", 23, _TWO_PINS),
        "diode": InstanceNames("DIO", 7, _TWO_PINS),
        "xor": InstanceNames("XOR", 1, ("A", "B", "VDD", "VSS", "Y")),
        "pfd": InstanceNames("PFD", 1, ("A", "B", "QA", "QB", "VDD", "VSS")),
        "inverter": InstanceNames("INVERTER", 10, ("A", "Q", "VDD", "VSS")),
        "transmission_gate": InstanceNames("TRANSMISSION_GATE", 12, ("A", "B", "C", "VDD", "VSS")),
    }
)

#: Port roles and the highest index of each, which are not quite those of the device lines.
_PORT_LIMITS = {
    "VIN": 10, "IIN": 2, "VOUT": 6, "IOUT": 4, "VB": 10, "IB": 6, "VCONT": 20, "VCLK": 8, "VCM": 2, "VREF": 2,
    "IREF": 2, "VRF": 2, "VLO": 4, "VIF": 2, "VBB": 4, "LOGICA": 2, "LOGICB": 2, "LOGICD": 2, "LOGICF": 2,
    "LOGICG": 2, "LOGICQ": 2, "LOGICQA": 1, "LOGICQB": 1, "VLATCH": 2, "VHOLD": 1, "VTRACK": 2,
}  # fmt: skip

#: Ports in the order of the vocabulary, supplies last.
PORTS = (*(f"{role}{n}" for role, most in _PORT_LIMITS.items() for n in range(1, most + 1)), *SUPPLY_NETS)


@dataclass(frozen=True, slots=True)
class Instance:
    """One device that the vocabulary can name."""

    name: str
    kind: str
    pins: tuple[str, ...]


#: Every instance by name, in the order of the vocabulary.
INSTANCES: Mapping[str, Instance] = MappingProxyType(
    {
        f"{names.prefix}{n}": Instance(
            f"{names.prefix}{n}", kind, tuple(f"{names.prefix}{n}_{pin}" for pin in names.pins)
        )
        for kind, names in INSTANCE_NAMES.items()
        for n in range(1, names.most + 1)
    }
)

#: The instance of each pin.
INSTANCE_OF_PIN: Mapping[str, Instance] = MappingProxyType(
    {pin: instance for instance in INSTANCES.values() for pin in instance.pins}
)

_KNOWN_PORTS = frozenset(PORTS)


def walk_tokens(circuit: Netlist, rng: random.Random | None = None) -> list[str]:
    """The walk of `circuit`; `rng` draws the order in which each node's edges are taken.

    Without `rng` it is AnalogGenie's first walk: ports in the netlist's order come first, then devices in theirs. Sizes
    and ports that no device stands on are not told.

    Raises:
        NotExpressible: an instance or a port has no name, the walk is too long, or a device has no way to VSS.
    """
    around = _graph(circuit)
    length = 1 + sum(map(len, around.values()))
    if length > MAX_WALK:
        raise NotExpressible(f"the walk has {length} tokens, this language writes at most {MAX_WALK}")
    if not around.get(ROOT):
        raise NotExpressible("no device stands on VSS, where every walk begins")
    if rng is not None:
        for neighbours in around.values():
            rng.shuffle(neighbours)
    tokens = _depth_first(around)
    if len(tokens) != length:
        reached = set(tokens)
        lost = next(node for node in around if node not in reached)
        raise NotExpressible(f"{lost} has no way to VSS, and a walk tells only what is connected to it")
    return tokens


def _graph(circuit: Netlist) -> dict[str, list[str]]:
    """Node -> its neighbours: ports first, then devices and their pins, each in the netlist's order."""
    ports = dict.fromkeys((*circuit.ports, *SUPPLY_NETS))
    around: dict[str, list[str]] = {port: [] for port in ports}
    pins_on: dict[str, list[str]] = defaultdict(list)
    counts: Counter[str] = Counter()
    placed = []
    for device in circuit.devices:
        counts[device.kind] += 1
        names = INSTANCE_NAMES[device.kind]
        if counts[device.kind] > names.most:
            raise NotExpressible(
                f"{counts[device.kind]} devices of kind {device.kind}, this language names {names.most}"
            )
        instance = INSTANCES[f"{names.prefix}{counts[device.kind]}"]
        placed.append((instance, device.nets))
        for pin, net in zip(instance.pins, device.nets, strict=True):
            if net in ports and net not in _KNOWN_PORTS:
                raise NotExpressible(f"no token for port {net!r} in this language")
            pins_on[net].append(pin)
    for instance, nets in placed:
        around[instance.name] = list(instance.pins)
        for pin, net in zip(instance.pins, nets, strict=True):
            if net in ports:
                around[net].append(pin)
                around[pin] = [net, instance.name]
            else:
                around[pin] = [instance.name]
    order = {node: position for position, node in enumerate(around)}
    for net, pins in pins_on.items():
        if net not in ports:
            for pin in pins:
                around[pin] = sorted((*around[pin], *(p for p in pins if p != pin)), key=order.__getitem__)
    return around


def _depth_first(around: Mapping[str, Sequence[str]]) -> list[str]:
    """The search from VSS, without recursion: a thousand steps deep is deeper than Python goes."""
    waiting = {node: iter(neighbours) for node, neighbours in around.items()}
    walked: set[tuple[str, str]] = set()
    path = [ROOT]
    tokens = [ROOT]
    while path:
        here = path[-1]
        for there in waiting[here]:
            if (here, there) not in walked:
                walked |= {(here, there), (there, here)}
                path.append(there)
                tokens.append(there)
                break
        else:
            path.pop()
            tokens += path[-1:]
    return tokens


def circuit_of_walk(tokens: Sequence[str], *, offset: int = 0) -> Netlist:
    """The circuit of a walk. Devices come in the order of the vocabulary, numbered by SPICE letter.

    Any closed walk from VSS that takes each edge once in each direction is read, whatever its order. Padding at the end
    is passed over.

    Args:
        tokens: Names of ports, devices and pins.
        offset: What to add to the positions in messages.

    Raises:
        NotASentence: a token is unknown, a step is no edge, or the edges are not those of a circuit.
    """
    length = len(tokens)
    while length and tokens[length - 1] == PADDING:
        length -= 1
    try:
        return _netlist(_steps(tokens[:length]))
    except NotASentence as refused:
        if not offset:
            raise
        raise NotASentence(refused.position + offset, refused.reason) from None


def _steps(tokens: Sequence[str]) -> dict[tuple[str, str], int]:
    """Every step with its position; the walk is closed, and each edge is walked once in each direction."""
    for position, token in enumerate(tokens):
        if token not in INSTANCES and token not in INSTANCE_OF_PIN and token not in _KNOWN_PORTS:
            shown = token if len(token) <= 40 else token[:37] + "..."
            raise NotASentence(position, f"{shown!r} is not a token of this language")
    if not tokens or tokens[0] != ROOT:
        raise NotASentence(0, "a walk begins at VSS")
    steps: dict[tuple[str, str], int] = {}
    for position, step in enumerate(pairwise(tokens), start=1):
        if not _may_touch(*step):
            raise NotASentence(position, f"{step[1]} cannot touch {step[0]}")
        if step in steps:
            raise NotASentence(position, f"the step from {step[0]} to {step[1]} was walked before")
        steps[step] = position
    if tokens[-1] != ROOT:
        raise NotASentence(len(tokens), f"the walk stops at {tokens[-1]} and not at VSS")
    for (here, there), position in steps.items():
        if (there, here) not in steps:
            raise NotASentence(position, f"the step from {here} to {there} is never walked back")
    if not steps:
        raise NotASentence(1, "no device")
    return steps


def _may_touch(one: str, other: str) -> bool:
    """Whether there can be an edge: a device and its own pin, a pin and a port, or two pins."""
    first, second = INSTANCE_OF_PIN.get(one), INSTANCE_OF_PIN.get(other)
    if first and second:
        return one != other
    owner = first or second
    not_a_pin = other if first else one
    return owner is not None and (not_a_pin not in INSTANCES or owner.name == not_a_pin)


def _netlist(steps: Mapping[tuple[str, str], int]) -> Netlist:
    beside: dict[str, set[str]] = defaultdict(set)
    begins: dict[str, int] = {}
    for (here, there), position in steps.items():
        beside[here].add(there)
        begins.setdefault(there, position)
    wires = {pin: _wire(pin, beside, begins[pin]) for pin in INSTANCE_OF_PIN if pin in beside}
    names: dict[frozenset[str], str] = {}
    ports = {ROOT}
    devices = []
    letters: Counter[str] = Counter()
    for instance in INSTANCES.values():
        if instance.name not in beside:
            continue
        nets = []
        for pin in instance.pins:
            if pin not in wires:
                raise NotASentence(begins[instance.name], f"{instance.name} is walked without its pin {pin}")
            wire = wires[pin]
            if isinstance(wire, str):
                ports.add(wire)
                nets.append(wire)
            else:
                nets.append(names.setdefault(wire, f"N{len(names) + 1}"))
        letter = KINDS[instance.kind].letter
        letters[letter] += 1
        devices.append(Device(f"{letter}{letters[letter]}", instance.kind, tuple(nets)))
    return Netlist(tuple(devices), tuple(sorted(ports, key=PORTS.index)))


def _wire(pin: str, beside: Mapping[str, set[str]], position: int) -> str | frozenset[str]:
    """The port that `pin` is on, or the pins of its internal net, itself included."""
    owner = INSTANCE_OF_PIN[pin].name
    if owner not in beside[pin]:
        raise NotASentence(position, f"{pin} is walked without its device {owner}")
    others = beside[pin] - {owner}
    port = next((other for other in PORTS if other in others), None)
    if port is not None:
        if len(others) > 1:
            beyond = min(others - {port})
            raise NotASentence(position, f"{pin} touches {port} and {beyond}; a pin on a port touches nothing else")
        return port
    net = frozenset((*others, pin))
    for other in sorted(others):
        missing = net - beside[other] - {other}
        if missing:
            raise NotASentence(position, f"{pin} touches {other} and {min(missing)}, which do not touch each other")
    return net
