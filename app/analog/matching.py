"""Which devices of a circuit are meant to be built alike: matched pairs, mirrors, cascodes, repeated stages, ladders.

Structure alone decides; no size, model or simulation does. What is found are local patterns (a pair shares its sources,
a mirror its gates), carried on along the branches that two matched devices feed, and symmetry of the whole circuit by
colour refinement. There is no search over permutations, so the time grows a little faster than the number of devices.

Two strengths are told apart. Devices of one *group* share width and length: a mirror's ratio is then that of their
multipliers. *Copies* within a group share the multiplier too: the two halves of a differential stage are one device
drawn twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from app.analog.canonical import device_colours
from app.analog.kinds import SUPPLY_NETS
from app.analog.netlist import Device, Netlist, port_role
from app.analog.transistors import Transistor, transistors_of
from app.analog.wiring import JoinedNets

#: Why devices are one group, the most telling first:
#: `cross_coupled` each gate is at the other's drain; `pair` sources joined, gates apart; `mirror` gates and sources
#: joined (or a diode-connected device among them): mirrors, active loads, current sources; `cascode` gates joined on
#: top of matched devices; `ladder` equal elements of a resistor or capacitor ladder; `stage` the same place in repeated
#: stages; `symmetric` the same place in two halves; `single` none of these.
Relation = Literal["cross_coupled", "pair", "mirror", "cascode", "ladder", "stage", "symmetric", "single"]

_RELATIONS: tuple[Relation, ...] = (
    "cross_coupled",
    "pair",
    "mirror",
    "cascode",
    "ladder",
    "stage",
    "symmetric",
    "single",
)

#: Ports that count by role in a symmetry; any other (bias, references, bits of a control word) by name.
_SYMMETRIC_ROLES = frozenset({"VIN", "IIN", "VOUT", "IOUT", "VCLK", "VRF", "VLO", "VIF"})

#: Ports that the circuit drives or that take a current: the channels that meet there belong to one stage.
_INNER_ROLES = frozenset({"VOUT", "VIF", "LOGICQ", "LOGICQA", "LOGICQB", "IB", "IIN", "IREF", "VB"})

#: Ports at which the sources of a differential pair may meet.
_TAIL_ROLES = frozenset({"IB", "IIN", "IREF", "VB"})

#: How far the symmetry of two devices is looked at, in steps from net to device or back.
_ROUNDS = 24

_TWO_PINS = frozenset({"resistor", "capacitor", "inductor", "diode"})


@dataclass(frozen=True, slots=True)
class SizeGroup:
    """Devices of one kind that share sizes, in the netlist's order.

    MOS of a group share width and length, and those of one tuple of `copies` the multiplier too. `copies` divides
    `devices`; groups of any other kind are one set of copies, equal in all they have.
    """

    kind: str
    relation: Relation
    devices: tuple[str, ...]
    copies: tuple[tuple[str, ...], ...]


def size_groups(netlist: Netlist) -> tuple[SizeGroup, ...]:
    """The groups, each device in exactly one, ordered by their first devices.

    The same groups come out whatever the devices are called and in whichever order they stand. Sizes that are already
    there stay possible: a group whose members have different ones is divided until no member has to change.
    """
    matching = _Matching(netlist)
    matching.find()
    return tuple(_groups(netlist, matching))


@dataclass
class _Matching:
    """Finds what matches. `twins` are nets that two matched devices hold at the same place, one partner each."""

    netlist: Netlist

    def __post_init__(self) -> None:
        self.transistors = transistors_of(self.netlist)
        self.transistor_at = {transistor.name: transistor for transistor in self.transistors}
        self.shapes = JoinedNets()
        self.alike = JoinedNets()
        self.reasons: dict[str, set[Relation]] = defaultdict(set)
        self.twins: dict[str, str] = {}
        self.settled: set[str] = set()
        self.on_drain = self._by_net(lambda transistor: transistor.drain)
        self.on_gate = self._by_net(lambda transistor: transistor.gate)
        self.on_source = self._by_net(lambda transistor: transistor.source)
        self.two_pins = self._two_pins()

    def _by_net(self, pin: Callable[[Transistor], str]) -> Mapping[str, tuple[Transistor, ...]]:
        table: dict[str, list[Transistor]] = defaultdict(list)
        for transistor in self.transistors:
            table[pin(transistor)].append(transistor)
        return {net: tuple(found) for net, found in table.items()}

    def _two_pins(self) -> Mapping[str, tuple[tuple[Device, str], ...]]:
        """Net -> the two-terminal devices on it, each with its other net."""
        table: dict[str, list[tuple[Device, str]]] = defaultdict(list)
        for device in self.netlist.devices:
            if device.kind in _TWO_PINS and device.nets[0] != device.nets[1]:
                table[device.nets[0]].append((device, device.nets[1]))
                table[device.nets[1]].append((device, device.nets[0]))
        return {net: tuple(found) for net, found in table.items()}

    def find(self) -> None:
        """Every rule is applied; the groups are in `shapes` and `alike`."""
        self._match_parallel()
        self._match_cross_coupled()
        self._match_pairs()
        self._match_symmetric()
        self._follow_twins()
        self._match_stages()
        self._match_ladders()
        self._match_mirrors()
        self._match_cascodes()

    def _share_shape(self, names: Iterable[str], relation: Relation) -> None:
        names = list(names)
        self.shapes.join(names)
        for name in names:
            self.reasons[name].add(relation)

    def _make_alike(self, names: Iterable[str], relation: Relation) -> None:
        names = list(names)
        self.alike.join(names)
        self._share_shape(names, relation)

    def _add_twins(self, found: Iterable[tuple[str, str]]) -> None:
        """Pairs of nets that are not supplies; a net with two different partners gets none."""
        partners: dict[str, set[str]] = defaultdict(set)
        for first, second in found:
            if first != second and first not in SUPPLY_NETS and second not in SUPPLY_NETS:
                partners[first].add(second)
                partners[second].add(first)
        for net, others in partners.items():
            other = next(iter(others))
            if len(others) == 1 and partners[other] == {net} and not {net, other} & self.twins.keys():
                self.twins[net], self.twins[other] = other, net

    # What stands side by side

    def _match_parallel(self) -> None:
        """Transistors on the same three nets are fingers of one."""
        fingers: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for transistor in self.transistors:
            fingers[transistor.kind, transistor.drain, transistor.gate, transistor.source].append(transistor.name)
        for names in fingers.values():
            if len(names) > 1:
                self._make_alike(names, "symmetric")

    def _match_cross_coupled(self) -> None:
        found = []
        for first in self.transistors:
            for second in self.on_drain.get(first.gate, ()):
                has_common_foot = first.source == second.source or not {first.source, second.source} & {*SUPPLY_NETS}
                if (
                    first.kind == second.kind
                    and first.name != second.name
                    and second.gate == first.drain != first.gate
                    and has_common_foot
                ):
                    self._make_alike((first.name, second.name), "cross_coupled")
                    found += [(first.drain, second.drain), (first.source, second.source)]
        self._add_twins(found)

    def _match_pairs(self) -> None:
        """Two transistors of a kind whose sources meet in a tail, directly or over resistors."""
        joined = JoinedNets()
        for device in self.netlist.devices:
            if device.kind == "resistor" and not {*device.nets} & {*SUPPLY_NETS}:
                joined.join(device.nets)
        size = Counter(joined.find(net) for net in self.netlist.nets)
        feet: dict[tuple[str, str], list[Transistor]] = defaultdict(list)
        for transistor in self.transistors:
            if _may_be_tail(transistor.source):
                foot = joined.find(transistor.source)
                feet[transistor.kind, foot if size[foot] <= 3 else transistor.source].append(transistor)
        pairs = [(first, second) for first, second in _couples(feet.values()) if self._is_pair(first, second)]
        for first, second in pairs:
            self._make_alike((first.name, second.name), "pair")
        self._add_twins(nets for one, two in pairs for nets in ((one.drain, two.drain), (one.source, two.source)))
        self._add_twins((one.gate, two.gate) for one, two in pairs)

    def _is_pair(self, first: Transistor, second: Transistor) -> bool:
        """Gates and drains apart; a Schmitt trigger's feedback device, whose partner's gate is the tail's, is none."""
        tails = {tail.gate for tail in self.on_drain.get(first.source, ()) if tail.kind == first.kind}
        return first.gate != second.gate and first.drain != second.drain and not tails & {first.gate, second.gate}

    def _match_symmetric(self) -> None:
        """The same place in the whole circuit. Transistors on one gate may be weighted and are left to other rules."""
        classes: dict[int, list[Device]] = defaultdict(list)
        colours = device_colours(self.netlist, _symmetry_label(self.netlist.ports), _ROUNDS)
        for device in self.netlist.devices:
            classes[colours[device.name]].append(device)
        found = []
        for members in classes.values():
            if members[0].name not in self.transistor_at:
                self._make_alike((device.name for device in members), "symmetric")
                continue
            places = [self.transistor_at[device.name] for device in members]
            if len({transistor.gate for transistor in places}) > 1:
                self._make_alike((transistor.name for transistor in places), "symmetric")
            if len(places) == 2 and places[0].gate != places[1].gate:
                first, second = places
                found += [(first.drain, second.drain), (first.source, second.source)]
        self._add_twins(found)

    # What two matched devices feed

    def _follow_twins(self) -> None:
        """Matched devices put matched devices on their branches: loads, cascodes, mirrors, resistors, until no more."""
        self._mark_settled()
        rules = (self._same_channels, self._mirrored_channels, self._driven_by_twins)
        while any(self._apply(rule()) for rule in rules):
            pass

    def _mark_settled(self) -> None:
        members: dict[str, list[str]] = defaultdict(list)
        for transistor in self.transistors:
            members[self.alike.find(transistor.name)].append(transistor.name)
        self.settled = {name for names in members.values() if len(names) > 1 for name in names}

    def _apply(self, candidates: Iterable[tuple[str, str, tuple[tuple[str, str], ...]]]) -> bool:
        """Pairs of devices with the nets that become twins with them; only pairs without a rival count."""
        found = {tuple(sorted((first, second))): nets for first, second, nets in candidates}
        rivals = Counter(name for pair in found for name in pair)
        accepted = {pair: nets for pair, nets in found.items() if all(rivals[name] == 1 for name in pair)}
        for first, second in accepted:
            self._make_alike((first, second), "symmetric")
            self.settled |= {first, second}
        self._add_twins(pair for nets in accepted.values() for pair in nets)
        return bool(accepted)

    def _twin_pairs(self) -> Iterator[tuple[str, str]]:
        return ((net, other) for net, other in self.twins.items() if net < other)

    def _is_mapped(self, first: str, second: str) -> bool:
        """True where the swap of twins takes one net to the other."""
        return self.twins.get(first, first) == second

    def _may_map(self, first: str, second: str) -> bool:
        """True for mapped nets, and for two nets of which nothing is known yet."""
        if self._is_mapped(first, second):
            return True
        return first != second and not {first, second} & {*SUPPLY_NETS, *self.twins}

    def _same_channels(self) -> Iterator[tuple[str, str, tuple[tuple[str, str], ...]]]:
        """Devices on twin nets whose other nets are each other's image."""
        for left, right in self._twin_pairs():
            for place, other_end in ((self.on_drain, "source"), (self.on_source, "drain")):
                for first in place.get(left, ()):
                    for second in place.get(right, ()):
                        ends = (getattr(first, other_end), getattr(second, other_end))
                        both_diodes = first.is_diode_connected and second.is_diode_connected
                        is_image = both_diodes or self._is_mapped(first.gate, second.gate)
                        if self._are_free(first, second) and is_image and self._may_map(*ends):
                            yield first.name, second.name, (ends,)
            for (one, far), (two, away) in self._two_pins_on(left, right):
                if self._may_map(far, away) and (far, away) != (right, left):
                    yield one.name, two.name, ((far, away),)

    def _two_pins_on(self, left: str, right: str) -> Iterator[tuple[tuple[Device, str], tuple[Device, str]]]:
        for one in self.two_pins.get(left, ()):
            for two in self.two_pins.get(right, ()):
                same = one[0].kind == two[0].kind and one[0].name != two[0].name
                if same and not {one[0].name, two[0].name} & self.settled and not self._is_alike(one[0], two[0]):
                    yield one, two

    def _is_alike(self, first: Device, second: Device) -> bool:
        return self.alike.find(first.name) == self.alike.find(second.name)

    def _mirrored_channels(self) -> Iterator[tuple[str, str, tuple[tuple[str, str], ...]]]:
        """The two sides of a mirror on twin drains: the swap does not keep its gate, the design does."""
        for left, right in self._twin_pairs():
            for first in self.on_drain.get(left, ()):
                for second in self.on_drain.get(right, ()):
                    ends = (first.source, second.source)
                    if self._are_free(first, second) and first.gate == second.gate and self._may_map(*ends):
                        yield first.name, second.name, (ends,)

    def _driven_by_twins(self) -> Iterator[tuple[str, str, tuple[tuple[str, str], ...]]]:
        """Devices that twin nets drive: followers, and mirrors where each twin has its diode-connected device."""
        for left, right in self._twin_pairs():
            for first in self.on_gate.get(left, ()):
                for second in self.on_gate.get(right, ()):
                    if not self._are_free(first, second) or first.is_diode_connected or second.is_diode_connected:
                        continue
                    drains, sources = (first.drain, second.drain), (first.source, second.source)
                    follows = self._is_mapped(*drains) and self._may_map(*sources)
                    mirrors = self._is_mapped(*sources) and self._may_map(*drains)
                    if follows or (mirrors and self._has_diode(first) and self._has_diode(second)):
                        yield first.name, second.name, (drains, sources)

    def _has_diode(self, transistor: Transistor) -> bool:
        return any(
            other.is_diode_connected and other.kind == transistor.kind and other.source == transistor.source
            for other in self.on_gate[transistor.gate]
        )

    def _are_free(self, first: Transistor, second: Transistor) -> bool:
        free = first.kind == second.kind and first.name != second.name
        return free and not {first.name, second.name} & self.settled

    # What is repeated

    def _match_stages(self) -> None:
        """Stages of equal structure have equal devices in equal places.

        A stage is what hangs together over channels. Two alike count when they hold a differential pair or a
        complementary gate; of anything else it takes three, since two gain stages in a row are rarely drawn alike.
        Stages that add up on one current output may be weighted: they share no multiplier.
        """
        alike: dict[tuple[int, ...], list[tuple[Netlist, dict[str, int]]]] = defaultdict(list)
        for stage in _stages(self.netlist):
            colours = device_colours(stage, _stage_label(stage.ports), _ROUNDS)
            alike[tuple(sorted(colours.values()))].append((stage, colours))
        for copies in alike.values():
            first = copies[0][0]
            if len(copies) < (2 if _holds_gate_or_pair(first) else 3):
                continue
            places: dict[int, list[str]] = defaultdict(list)
            for _, colours in copies:
                for name, colour in colours.items():
                    places[colour].append(name)
            adds_up = any((port_role(net) or ("",))[0] == "IOUT" for net in first.nets)
            for names in places.values():
                (self._share_shape if adds_up else self._make_alike)(names, "stage")

    def _match_ladders(self) -> None:
        """Strings of at least four equal elements, and R-2R ladders: rails with one rung at every node."""
        for kind in ("resistor", "capacitor"):
            for rails, rungs in _ladders(self.netlist, kind):
                for names in (rails, rungs):
                    if len(names) > 1:
                        self._make_alike(names, "ladder")

    # What shares its gate

    def _match_mirrors(self) -> None:
        for members in self.on_gate.values():
            for first, second in combinations(members, 2):
                if first.kind == second.kind and (first.source == second.source or self._copies_current(first, second)):
                    self._share_shape((first.name, second.name), "mirror")

    def _copies_current(self, first: Transistor, second: Transistor) -> bool:
        """True for a diode-connected device and another on its gate whose sources stand on something alike."""
        is_mirror = first.is_diode_connected or second.is_diode_connected
        if not is_mirror or any("pair" in self.reasons[transistor.name] for transistor in (first, second)):
            return False
        if not {first.source, second.source} & {*SUPPLY_NETS}:
            return True
        grounded, raised = (first, second) if first.source in SUPPLY_NETS else (second, first)
        return any(
            device.kind == "resistor" and far == grounded.source for device, far in self.two_pins.get(raised.source, ())
        )

    def _match_cascodes(self) -> None:
        """On one gate, above devices that share a shape or resistors to one net; from the rails upwards."""
        candidates = [
            pair
            for members in self.on_gate.values()
            for pair in combinations(members, 2)
            if pair[0].kind == pair[1].kind and pair[0].source != pair[1].source
            if not any("pair" in self.reasons[transistor.name] for transistor in pair)
        ]
        while True:
            left = [pair for pair in candidates if self.shapes.find(pair[0].name) != self.shapes.find(pair[1].name)]
            found = [pair for pair in left if self._stand_on_alike(*pair)]
            for first, second in found:
                self._share_shape((first.name, second.name), "cascode")
            if not found:
                break
        for pair in candidates:
            if self.shapes.find(pair[0].name) == self.shapes.find(pair[1].name) and self._stand_on_alike(*pair):
                self._share_shape((transistor.name for transistor in pair), "cascode")

    def _stand_on_alike(self, first: Transistor, second: Transistor) -> bool:
        below = [
            {self.shapes.find(other.name) for other in self.on_drain.get(top.source, ()) if other.kind == top.kind}
            for top in (first, second)
        ]
        resistors = [
            {far for device, far in self.two_pins.get(top.source, ()) if device.kind == "resistor"}
            for top in (first, second)
        ]
        return bool(below[0] & below[1]) or bool(resistors[0] & resistors[1])


def _couples(groups: Iterable[Sequence[Transistor]]) -> Iterator[tuple[Transistor, Transistor]]:
    return ((members[0], members[1]) for members in groups if len(members) == 2)


def _may_be_tail(net: str) -> bool:
    """True for inner nets and for ports that a bias current enters by."""
    role = port_role(net)
    return net not in SUPPLY_NETS and (role is None or role[0] in _TAIL_ROLES)


def _symmetry_label(ports: Collection[str]) -> Callable[[str], str]:
    """What a net is in the symmetry of a whole circuit."""
    outside = frozenset(ports)

    def label(net: str) -> str:
        if net in SUPPLY_NETS:
            return net
        if net not in outside:
            return "net"
        role = port_role(net)
        return "port" if role is None else role[0] if role[0] in _SYMMETRIC_ROLES else net

    return label


def _stage_label(outside: Collection[str]) -> Callable[[str], str]:
    """What a net is within a stage. Signals from outside are all alike; `outside` are the stage's own ports."""
    ports = frozenset(outside)

    def label(net: str) -> str:
        return net if net in SUPPLY_NETS else "outside" if net in ports else "net"

    return label


def _is_held(net: str, ports: Collection[str]) -> bool:
    """True for supplies and for ports whose voltage the outside sets."""
    if net in SUPPLY_NETS:
        return True
    role = port_role(net)
    return net in ports and (role is None or role[0] not in _INNER_ROLES)


def _stages(netlist: Netlist) -> Iterator[Netlist]:
    """The parts that channels hold together, with the two-terminal devices that lie within them.

    Each is a netlist whose ports are the nets it shares with the outside.
    """
    joined = JoinedNets()
    transistors = transistors_of(netlist)
    ports = frozenset(netlist.ports)
    for transistor in transistors:
        ends = [net for net in (transistor.drain, transistor.source) if not _is_held(net, ports)]
        if ends:
            joined.join(ends)
    stages: dict[str, list[Device]] = defaultdict(list)
    inside: set[str] = set()
    for transistor in transistors:
        for net in (transistor.drain, transistor.source):
            if not _is_held(net, ports):
                stages[joined.find(net)].append(transistor.device)
                inside |= {transistor.drain, transistor.source}
                break
    for device in netlist.devices:
        if device.kind in _TWO_PINS:
            homes = {joined.find(net) for net in device.nets if net in inside and not _is_held(net, ports)}
            is_within = all(_is_held(net, ports) or net in inside for net in device.nets)
            if len(homes) == 1 and is_within:
                stages[homes.pop()].append(device)
    for home, devices in stages.items():
        nets = dict.fromkeys(net for device in devices for net in device.nets)
        outside = (net for net in nets if _is_held(net, ports) or joined.find(net) != home)
        yield Netlist(tuple(devices), tuple(outside))


def _holds_gate_or_pair(stage: Netlist) -> bool:
    """True for a stage in which an nmos and a pmos share their gate, or two of a kind share a source but no gate."""
    transistors = transistors_of(stage)
    kinds: dict[str, set[str]] = defaultdict(set)
    gates: dict[tuple[str, str], set[str]] = defaultdict(set)
    for transistor in transistors:
        kinds[transistor.gate].add(transistor.kind)
        if transistor.source not in stage.ports:
            gates[transistor.kind, transistor.source].add(transistor.gate)
    return any({"nmos", "pmos"} <= found for found in kinds.values()) or any(len(g) > 1 for g in gates.values())


def _ladders(netlist: Netlist, kind: str) -> Iterator[tuple[list[str], list[str]]]:
    """Names of the rails and of the rungs of every ladder of a kind; of a plain string all are rails.

    A ladder is a path of at least three nets, each on two or three devices of the kind and otherwise only on inputs;
    its ends may be outputs. Either no net of it has a rung, or all do.
    """
    on_net: dict[str, list[Device]] = defaultdict(list)
    for device in netlist.devices:
        if device.kind == kind and device.nets[0] != device.nets[1]:
            for net in device.nets:
                on_net[net].append(device)
    nodes = {net for net, devices in on_net.items() if len(devices) in (2, 3) and _is_tap(netlist, net, kind)}
    rails = [
        device
        for device in netlist.devices
        if device.kind == kind and set(device.nets) <= nodes and device.nets[0] != device.nets[1]
    ]
    paths = JoinedNets()
    for rail in rails:
        paths.join(rail.nets)
    members: dict[str, list[Device]] = defaultdict(list)
    for rail in rails:
        members[paths.find(rail.nets[0])].append(rail)
    for home, steps in members.items():
        taps = {net for net in nodes if paths.find(net) == home}
        touched = Counter(net for step in steps for net in step.nets)
        if len(taps) < 3 or len(steps) != len(taps) - 1 or max(touched.values()) > 2:
            continue
        rungs = [device for net in taps for device in on_net[net] if device not in steps]
        inner = {net for net, count in touched.items() if count == 2}
        with_rung = {net for net in taps for device in on_net[net] if device not in steps}
        if not inner & with_rung:
            yield [device.name for device in (*steps, *rungs)], []
        elif taps == with_rung:
            yield [device.name for device in steps], [device.name for device in rungs]


def _is_tap(netlist: Netlist, net: str, kind: str) -> bool:
    """True where nothing but this kind and inputs is on the net."""
    if net in SUPPLY_NETS:
        return False
    return all(device.kind == kind or pin in device.kind_of.sense_pins for device, pin in netlist.pins_of[net])


def _groups(netlist: Netlist, matching: _Matching) -> Iterator[SizeGroup]:
    """The groups of one kind each, divided where given sizes differ."""
    joined: dict[tuple[str, str], list[Device]] = defaultdict(list)
    for device in netlist.devices:
        leader = (matching.shapes if device.kind_of.is_mos else matching.alike).find(device.name)
        joined[device.kind, leader].append(device)
    parts = []
    for members in joined.values():
        shape_sizes = ("width_m", "length_m") if members[0].kind_of.is_mos else None
        for part in _divided(members, shape_sizes):
            copies: dict[str, list[Device]] = defaultdict(list)
            for device in part:
                copies[matching.alike.find(device.name)].append(device)
            sets = [same for copy in copies.values() for same in _divided(copy, None)]
            parts.append((part, sets))
    place = {device.name: position for position, device in enumerate(netlist.devices)}
    for part, sets in sorted(parts, key=lambda found: place[found[0][0].name]):
        reasons = {reason for device in part for reason in matching.reasons[device.name]}
        relation: Relation = "single"
        if len(part) > 1:
            relation = next((name for name in _RELATIONS if name in reasons), "single")
        sets.sort(key=lambda same: place[same[0].name])
        yield SizeGroup(
            part[0].kind,
            relation,
            tuple(device.name for device in part),
            tuple(tuple(device.name for device in same) for same in sets),
        )


def _divided(devices: Sequence[Device], sizes: Sequence[str] | None) -> list[list[Device]]:
    """The devices in parts that leave every given size (one of `sizes`, or any) as it is."""
    parts: list[tuple[dict[str, float], list[Device]]] = []
    for device in devices:
        given = (
            _given(device) if sizes is None else {size: device.sizes[size] for size in sizes if size in device.sizes}
        )
        for common, members in parts:
            if all(common.get(size, value) == value for size, value in given.items()):
                common.update(given)
                members.append(device)
                break
        else:
            parts.append((dict(given), [device]))
    return [members for _, members in parts]


def _given(device: Device) -> dict[str, float]:
    """The sizes a device has; a MOS with a size but no multiplier has 1."""
    if device.kind_of.is_mos and device.sizes:
        return {"multiplier": 1.0, **device.sizes}
    return dict(device.sizes)
