"""The device-line language: `TYPE SIZE ([LEFT] KIND net net ...)*`, the default language of analog topologies.

Nets are VDD, VSS, ports by role and index, and internal nets; ports of a role and internal nets are numbered by first
use. A bulk at its rail or at its source is part of the kind token, so the median circuit of the AnalogGenie data takes
about 90 tokens where its Eulerian walk takes 345. Devices have no instance names, so no count of them is built into the
vocabulary. Before every fourth device from the end a sentence says how many are left: a network counts to four, and not
to forty.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from app.analog.kinds import CIRCUIT_TYPES, KINDS, PORT_ROLES, SUPPLY_NETS
from app.analog.netlist import Device, Netlist, port_role
from app.analog.types import contradictions
from app.errors import InvalidRequest, NotASentence, NotExpressible
from app.tokens._base import BEGIN, END, Vocabulary, languages
from app.tokens._device_templates import TEMPLATES

if TYPE_CHECKING:
    import torch

    from app.tokens._device_lines_grammar import DeviceLineGrammar

#: Most internal nets, and most devices, that a sentence can name.
MAX_INTERNAL_NETS = 128
MAX_DEVICES = 255

#: Most devices that a constraint's prefix can hold.
MAX_PREFIX_DEVICES = 200

_SIZE_BASE = 16

#: A sentence says how many devices are left where that is a multiple of this.
COUNTDOWN_STEP = 4

VOCABULARY = Vocabulary(
    (
        "<pad>", "<begin>", "<end>",
        *(f"type:{name}" for name in CIRCUIT_TYPES),
        *(f"size16:{digit}" for digit in range(_SIZE_BASE)),
        *(f"size1:{digit}" for digit in range(_SIZE_BASE)),
        *(f"left:{count}" for count in range(COUNTDOWN_STEP, MAX_DEVICES + 1, COUNTDOWN_STEP)),
        *(f"kind:{template.token}" for template in TEMPLATES),
        *SUPPLY_NETS,
        *(f"{role}{index}" for role, highest in PORT_ROLES.items() for index in range(1, highest + 1)),
        *(f"N{number}" for number in range(1, MAX_INTERNAL_NETS + 1)),
    )
)  # fmt: skip

TYPE_START = VOCABULARY.index[f"type:{CIRCUIT_TYPES[0]}"]
HIGH_START = VOCABULARY.index["size16:0"]
LOW_START = VOCABULARY.index["size1:0"]
LEFT_START = VOCABULARY.index[f"left:{COUNTDOWN_STEP}"]
KIND_START = VOCABULARY.index[f"kind:{TEMPLATES[0].token}"]
NET_START = VOCABULARY.index[SUPPLY_NETS[0]]
INTERNAL_START = VOCABULARY.index["N1"]


@dataclass(frozen=True)
class TopologyConstraint:
    """What a requested topology must be. Each field is exact: the grammar enforces it.

    `type` None lets the model choose. `kinds` None allows every kind. `ports` must each be used at least once. `prefix`
    are the ids of the device lines that every sentence has first, after its type and size.
    """

    type: str | None = None
    min_devices: int = 1
    max_devices: int = MAX_DEVICES
    kinds: tuple[str, ...] | None = None
    ports: tuple[str, ...] = ()
    prefix: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Names are known and the counts agree, else InvalidRequest with a pointer."""
        if self.type is not None and self.type not in CIRCUIT_TYPES:
            raise InvalidRequest(f"unknown circuit type {self.type!r}", pointer="/type")
        if self.min_devices > max(1, self.max_devices):
            raise InvalidRequest(
                f"min_devices {self.min_devices} is above max_devices {self.max_devices}", pointer="/min_devices"
            )
        if not 1 <= self.min_devices <= self.max_devices <= MAX_DEVICES:
            raise InvalidRequest(
                f"device counts {self.min_devices}..{self.max_devices} do not lie within 1..{MAX_DEVICES}",
                pointer="/max_devices",
            )
        for position, kind in enumerate(self.kinds or ()):
            if kind not in KINDS:
                raise InvalidRequest(
                    f"unknown device kind {kind!r}; known: {', '.join(KINDS)}", pointer=f"/kinds/{position}"
                )
        if self.kinds is not None and not self.kinds:
            raise InvalidRequest("no device kind is allowed; leave kinds out to allow all", pointer="/kinds")
        check_port_names(self.ports)
        self._check_prefix()

    def _check_prefix(self) -> None:
        """The prefix is empty, or whole device lines of kinds that are allowed."""
        if not self.prefix:
            return
        if self.prefix_devices > MAX_PREFIX_DEVICES:
            raise InvalidRequest(
                f"the prefix has {self.prefix_devices} devices, at most {MAX_PREFIX_DEVICES} can be completed",
                pointer="/prefix",
            )
        head = VOCABULARY.ids(["<begin>", f"type:{CIRCUIT_TYPES[-1]}", "size16:0", "size1:0"])
        try:
            circuit, _ = DeviceLines().decode([*head, *self.prefix, END], checks_size=False)
        except NotASentence as error:
            raise InvalidRequest(
                f"the prefix is not made of device lines: {error.reason}", pointer="/prefix"
            ) from error
        for device in circuit.devices:
            if self.kinds is not None and device.kind not in self.kinds:
                raise InvalidRequest(
                    f"the prefix holds a device of kind {device.kind}; kinds allows only {', '.join(self.kinds)}",
                    pointer="/prefix",
                )

    @property
    def prefix_devices(self) -> int:
        """How many devices the prefix holds."""
        return sum(KIND_START <= token < NET_START for token in self.prefix)

    @property
    def types(self) -> tuple[str, ...]:
        """The types that a sentence may declare: the one asked for, or those that can have what is asked for."""
        if self.type is not None:
            return (self.type,)
        ports = (*self.ports, *(VOCABULARY.tokens[t] for t in set(self.prefix) if NET_START <= t < INTERNAL_START))
        return tuple(
            name
            for name in CIRCUIT_TYPES
            if not any(contradictions(name, ports=ports, kinds=self.kinds, max_devices=self.max_devices))
        )


def check_port_names(ports: Sequence[str]) -> None:
    """Every name is a supply or a port that a sentence can name, else InvalidRequest with a pointer."""
    for position, port in enumerate(ports):
        if port not in VOCABULARY.index or not NET_START <= VOCABULARY.index[port] < INTERNAL_START:
            raise InvalidRequest(
                f"{port!r} is not a port name; ports are VDD, VSS or a role with an index, such as VIN1, VOUT1, VB2",
                pointer=f"/ports/{position}",
            )


def closing_order(netlist: Netlist, rng: random.Random, *, begins_anywhere: bool = False) -> list[Device]:
    """The devices in an order that closes nets early and stays where it is; ties are broken by `rng`.

    Next comes the device that most reduces the number of internal nets which exactly one device touches; of equals the
    one that most reduces the number of internal nets with devices still to come; of equals the one on the net that was
    touched last, supplies apart; of equals one of the kind that came last. The first device is chosen so too, or at
    random where the order `begins_anywhere`. Every later device shares a net with an earlier one, or stands on a
    supply once any stands on a supply or a port, where the circuit is connected. The order decides how well a model
    learns (docs/experiments.md).
    """
    internal = set(netlist.internal_nets)
    waiting = list(netlist.devices)
    rng.shuffle(waiting)
    order: list[Device] = []
    nets_of = {device.name: tuple(set(device.nets)) for device in waiting}
    touched_by: Counter[str] = Counter()
    to_come = Counter(net for nets in nets_of.values() for net in nets)
    last_touch: dict[str, int] = {}
    is_anchored = False
    while waiting:
        best, best_score = 0, (-1, 0, 0, 0, False)
        for position, device in enumerate(waiting[:1] if begins_anywhere and not order else waiting):
            is_attached, opening, finishing, latest = not order, 0, 0, 0
            for net in nets_of[device.name]:
                count = touched_by[net]
                is_attached = is_attached or count > 0 or (is_anchored and net in SUPPLY_NETS)
                if net in internal:
                    opening += (count == 0) - (count == 1)
                    finishing += (to_come[net] == 1) - (to_come[net] > 1 and count == 0)
                if net not in SUPPLY_NETS:
                    latest = max(latest, last_touch.get(net, 0))
            score = (int(is_attached), -opening, finishing, latest, bool(order) and device.kind == order[-1].kind)
            if score > best_score:
                best, best_score = position, score
        device = waiting.pop(best)
        order.append(device)
        is_anchored = is_anchored or not internal.issuperset(nets_of[device.name])
        for net in nets_of[device.name]:
            touched_by[net] += 1
            to_come[net] -= 1
            last_touch[net] = len(order)
    return order


def countdown(left: int) -> list[str]:
    """The token names before a device with which `left` devices are still to be written."""
    return [] if left < 1 or left % COUNTDOWN_STEP else [f"left:{left}"]


def with_countdown(size: int, lines: Sequence[int]) -> list[int]:
    """Token ids of the first `lines` of a sentence of `size` devices, with each countdown due in or after them."""
    ids = VOCABULARY.ids(countdown(size))
    left = size
    for position, token in enumerate(lines):
        ids.append(token)
        if position + 1 == len(lines) or KIND_START <= lines[position + 1] < NET_START:
            left -= 1
            ids += VOCABULARY.ids(countdown(left))
    return ids


class NetNaming:
    """The names that a sentence gives to the nets of a circuit with these `ports`, as its devices are written.

    Supplies keep their names; ports of a role, and internal nets, are numbered by first use. A port without a role
    keeps its name, for which there is no token.
    """

    def __init__(self, ports: Iterable[str]) -> None:
        self._ports = frozenset(ports)
        self._numbers: Counter[str] = Counter()
        #: Net -> its name in the sentence, of the nets written so far.
        self.name_of: dict[str, str] = {net: net for net in SUPPLY_NETS}

    def line(self, device: Device) -> list[str]:
        """The token names of the next device: its kind, then its nets.

        Of two exchangeable terminals the one on a port or on a net in use comes first.

        Raises:
            NotExpressible: the device shorts its nets, or needs one internal net too many.
        """
        for template in TEMPLATES:
            written = template.written(device)
            if written is not None:
                is_symmetric = device.kind_of.exchangeable == device.kind_of.pins
                if is_symmetric and self._is_known(written[1]) and not self._is_known(written[0]):
                    written = written[::-1]
                return [f"kind:{template.token}", *(self.name(net) for net in written)]
        raise NotExpressible(f"device {device.name}: a {device.kind} that shorts its nets ({' '.join(device.nets)})")

    def _is_known(self, net: str) -> bool:
        return net in self.name_of or net in self._ports

    def name(self, net: str) -> str:
        """The net's name in the sentence; a net that has none yet gets the next number.

        Raises:
            NotExpressible: it is one internal net too many.
        """
        if net not in self.name_of:
            role = port_role(net)
            if net in self._ports:
                self.name_of[net] = self._numbered(role[0]) if role else net
            else:
                if self._numbers["N"] == MAX_INTERNAL_NETS:
                    raise NotExpressible(f"more than {MAX_INTERNAL_NETS} internal nets")
                self.name_of[net] = self._numbered("N")
        return self.name_of[net]

    def _numbered(self, stem: str) -> str:
        self._numbers[stem] += 1
        return f"{stem}{self._numbers[stem]}"


class DeviceLines:
    """The language; see the module."""

    name = "device_lines"
    vocabulary = VOCABULARY

    def encode(self, circuit: Netlist, label: str, rng: random.Random, *, begins_anywhere: bool = False) -> list[int]:
        """A sentence for `circuit` of type `label`, in a closing order drawn from `rng`.

        Ports of a role are numbered by first use too, for which index a port has says nothing about the circuit.

        Raises:
            NotExpressible: a port, a device or the size is outside the vocabulary.
        """
        if not 1 <= len(circuit.devices) <= MAX_DEVICES:
            raise NotExpressible(f"{len(circuit.devices)} devices, this language writes 1 to {MAX_DEVICES}")
        high, low = divmod(len(circuit.devices), _SIZE_BASE)
        names = ["<begin>", f"type:{label}", f"size16:{high}", f"size1:{low}"]
        naming = NetNaming(circuit.ports)
        for place, device in enumerate(closing_order(circuit, rng, begins_anywhere=begins_anywhere)):
            names += countdown(len(circuit.devices) - place)
            names += naming.line(device)
        names.append("<end>")
        return VOCABULARY.ids(names)

    def decode(self, ids: Sequence[int], *, checks_size: bool = True) -> tuple[Netlist, str]:
        """The circuit and its type. Instances are numbered by SPICE letter in order of appearance.

        Without `checks_size` the declared number of devices need not be true, as in what a bare network writes.

        Raises:
            NotASentence: the tokens do not follow the language, or the devices are not as many as declared.
        """
        reader = _Reader(ids)
        reader.expect_id(BEGIN, "a sentence begins with <begin>")
        label = reader.expect("type:", "a circuit type")
        size = _SIZE_BASE * int(reader.expect("size16:", "the size, high digit"))
        size += int(reader.expect("size1:", "the size, low digit"))
        devices: list[Device] = []
        ports: dict[str, None] = {}
        numbers: Counter[str] = Counter()
        highest = 0
        while not reader.is_at(END):
            reader.pass_countdown(countdown(size - len(devices)) if checks_size else None)
            template = _TEMPLATE_OF[reader.expect("kind:", "a device kind or <end>")]
            written = []
            for _ in range(template.width):
                net = reader.expect_net()
                if net.startswith("N"):
                    number = int(net[1:])
                    if number > highest + 1:
                        raise NotASentence(reader.position - 1, f"{net} before N{highest + 1}")
                    highest = max(highest, number)
                else:
                    ports.setdefault(net)
                written.append(net)
            nets = template.nets(tuple(written))
            ports.update(dict.fromkeys(source for source in template.pin_sources if isinstance(source, str)))
            letter = KINDS[template.kind].letter
            numbers[letter] += 1
            devices.append(Device(f"{letter}{numbers[letter]}", template.kind, nets))
        if checks_size and len(devices) != size:
            raise NotASentence(reader.position, f"{len(devices)} devices, {size} were declared")
        if not devices:
            raise NotASentence(reader.position, "no device")
        ports.setdefault("VSS")
        return Netlist(tuple(devices), tuple(sorted(ports, key=VOCABULARY.index.__getitem__))), label

    def encode_from_anywhere(self, circuit: Netlist, label: str, rng: random.Random) -> list[int]:
        """A sentence that begins at any device, so that a circuit has many more of them. Raises NotExpressible."""
        return self.encode(circuit, label, rng, begins_anywhere=True)

    def prompt(self, constraint: TopologyConstraint) -> list[int]:
        """``<begin>``, the type where one is asked for, and where the size is exact too, the size and the prefix."""
        if constraint.type is None:
            return [BEGIN]
        head = [BEGIN, VOCABULARY.index[f"type:{constraint.type}"]]
        if constraint.min_devices < constraint.max_devices:
            return head
        high, low = divmod(constraint.max_devices, _SIZE_BASE)
        return [*head, HIGH_START + high, LOW_START + low, *with_countdown(constraint.max_devices, constraint.prefix)]

    def grammar(self, device: torch.device) -> DeviceLineGrammar:
        """The grammar with its tables on `device`; made once for each."""
        return _grammar(device)


@cache
def _grammar(device: torch.device) -> DeviceLineGrammar:
    from app.tokens._device_lines_grammar import DeviceLineGrammar

    return DeviceLineGrammar(device)


_TEMPLATE_OF = {template.token: template for template in TEMPLATES}


class _Reader:
    """Walks over ids and says where and why they stop being a sentence."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = ids
        self.position = 0

    def _token(self, wanted: str) -> str:
        if self.position >= len(self._ids):
            raise NotASentence(self.position, f"the sequence stops where {wanted} is due")
        return VOCABULARY.tokens[self._ids[self.position]]

    def is_at(self, token: int) -> bool:
        """Whether the next id is `token`."""
        return self.position < len(self._ids) and self._ids[self.position] == token

    def expect_id(self, token: int, reason: str) -> None:
        """The next id is `token` and is passed, else NotASentence with the reason."""
        if not self.is_at(token):
            raise NotASentence(self.position, reason)
        self.position += 1

    def expect(self, prefix: str, wanted: str) -> str:
        """What follows `prefix` in the next token."""
        token = self._token(wanted)
        if not token.startswith(prefix):
            raise NotASentence(self.position, f"{token} where {wanted} is due")
        self.position += 1
        return token[len(prefix) :]

    def pass_countdown(self, due: list[str] | None) -> None:
        """What is `due` here is passed; with None, a countdown of whatever number, or none."""
        if due is None:
            self.position += self.position < len(self._ids) and LEFT_START <= self._ids[self.position] < KIND_START
        for token in due or ():
            self.expect(token, token)

    def expect_net(self) -> str:
        """The next token, a net."""
        token = self._token("a net")
        if self._ids[self.position] < NET_START:
            raise NotASentence(self.position, f"{token} where a net is due")
        self.position += 1
        return token


languages.add(DeviceLines.name, DeviceLines())
