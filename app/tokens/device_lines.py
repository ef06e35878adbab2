"""The device-line language: `TYPE SIZE (KIND net net ...)*`, the default language of analog topologies.

Nets are VDD, VSS, ports by role and index, and internal nets numbered by first use. A bulk at its rail or at its source
is part of the kind token, so the median circuit of the AnalogGenie data takes about 90 tokens where its Eulerian walk
takes 345. Devices have no instance names, so no count of them is built into the vocabulary.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from app.analog.kinds import CIRCUIT_TYPES, KINDS, PORT_ROLES, SUPPLY_NETS
from app.analog.netlist import Device, Netlist
from app.errors import InvalidRequest, NotASentence, NotExpressible
from app.tokens._base import BEGIN, END, Vocabulary, languages
from app.tokens._device_templates import TEMPLATES

if TYPE_CHECKING:
    import torch

    from app.tokens._device_lines_grammar import DeviceLineGrammar

#: Most internal nets, and most devices, that a sentence can name.
MAX_INTERNAL_NETS = 128
MAX_DEVICES = 255

_SIZE_BASE = 16

VOCABULARY = Vocabulary(
    (
        "<pad>", "<begin>", "<end>",
        *(f"type:{name}" for name in CIRCUIT_TYPES),
        *(f"size16:{digit}" for digit in range(_SIZE_BASE)),
        *(f"size1:{digit}" for digit in range(_SIZE_BASE)),
        *(f"kind:{template.token}" for template in TEMPLATES),
        *SUPPLY_NETS,
        *(f"{role}{index}" for role, highest in PORT_ROLES.items() for index in range(1, highest + 1)),
        *(f"N{number}" for number in range(1, MAX_INTERNAL_NETS + 1)),
    )
)  # fmt: skip

TYPE_START = VOCABULARY.index[f"type:{CIRCUIT_TYPES[0]}"]
HIGH_START = VOCABULARY.index["size16:0"]
LOW_START = VOCABULARY.index["size1:0"]
KIND_START = VOCABULARY.index[f"kind:{TEMPLATES[0].token}"]
NET_START = VOCABULARY.index[SUPPLY_NETS[0]]
INTERNAL_START = VOCABULARY.index["N1"]


@dataclass(frozen=True)
class TopologyConstraint:
    """What a requested topology must be. Each field is exact: the grammar enforces it.

    `type` None lets the model choose. `kinds` None allows every kind. `ports` must each be used at least once.
    """

    type: str | None = None
    min_devices: int = 1
    max_devices: int = MAX_DEVICES
    kinds: tuple[str, ...] | None = None
    ports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Names are known and the counts agree, else InvalidRequest with a pointer."""
        if self.type is not None and self.type not in CIRCUIT_TYPES:
            raise InvalidRequest(f"unknown circuit type {self.type!r}", pointer="/type")
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
        for position, port in enumerate(self.ports):
            if port not in VOCABULARY.index or not NET_START <= VOCABULARY.index[port] < INTERNAL_START:
                raise InvalidRequest(
                    f"{port!r} is not a port name; ports are VDD, VSS or a role with an index, such as VIN1, VOUT1, "
                    "VB2",
                    pointer=f"/ports/{position}",
                )


def closing_order(netlist: Netlist, rng: random.Random) -> list[Device]:
    """The devices in an order that closes nets early; ties are broken by `rng`.

    Next comes the device that most reduces the number of internal nets which exactly one device touches. Every device
    but the first shares a net with an earlier one, or stands on a supply, where the circuit is connected. The order
    decides how well a model learns: a random connected order leaves 60 % more loss on held-out circuits
    (docs/experiments.md).
    """
    internal = set(netlist.internal_nets)
    touched_by: Counter[str] = Counter()
    waiting = list(netlist.devices)
    rng.shuffle(waiting)
    order: list[Device] = []
    nets_of = {device.name: frozenset(device.nets) for device in waiting}
    while waiting:
        best, best_score = 0, (-1, -99)
        for position, device in enumerate(waiting):
            touches, gain = 0, 0
            for net in nets_of[device.name]:
                count = touched_by[net]
                touches = touches or count > 0 or net in SUPPLY_NETS
                if net in internal and count < 2:
                    gain += 1 if count else -1
            score = (int(bool(touches) or not order), gain)
            if score > best_score:
                best, best_score = position, score
        device = waiting.pop(best)
        order.append(device)
        touched_by.update(nets_of[device.name])
    return order


class DeviceLines:
    """The language; see the module."""

    name = "device_lines"
    vocabulary = VOCABULARY

    def encode(self, circuit: Netlist, label: str, rng: random.Random) -> list[int]:
        """A sentence for `circuit` of type `label`, in a closing order drawn from `rng`.

        Raises:
            NotExpressible: a port, a device or the size is outside the vocabulary.
        """
        if not 1 <= len(circuit.devices) <= MAX_DEVICES:
            raise NotExpressible(f"{len(circuit.devices)} devices, this language writes 1 to {MAX_DEVICES}")
        high, low = divmod(len(circuit.devices), _SIZE_BASE)
        names = ["<begin>", f"type:{label}", f"size16:{high}", f"size1:{low}"]
        known = {net: net for net in (*circuit.ports, *SUPPLY_NETS)}
        count = 0
        for device in closing_order(circuit, rng):
            template, written = _line(device, known)
            names.append(f"kind:{template}")
            for net in written:
                if net not in known:
                    count += 1
                    if count > MAX_INTERNAL_NETS:
                        raise NotExpressible(f"more than {MAX_INTERNAL_NETS} internal nets")
                    known[net] = f"N{count}"
                names.append(known[net])
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

    def prompt(self, constraint: TopologyConstraint) -> list[int]:
        """``<begin>`` and the type where one is asked for."""
        if constraint.type is None:
            return [BEGIN]
        return [BEGIN, VOCABULARY.index[f"type:{constraint.type}"]]

    def grammar(self, device: torch.device) -> DeviceLineGrammar:
        """The grammar with its tables on `device`; made once for each."""
        return _grammar(device)


@cache
def _grammar(device: torch.device) -> DeviceLineGrammar:
    from app.tokens._device_lines_grammar import DeviceLineGrammar

    return DeviceLineGrammar(device)


_TEMPLATE_OF = {template.token: template for template in TEMPLATES}


def _line(device: Device, known: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    """The kind token and the nets to write; of two interchangeable terminals the one on a known net comes first."""
    for template in TEMPLATES:
        written = template.written(device)
        if written is not None:
            is_symmetric = device.kind_of.exchangeable == device.kind_of.pins
            if is_symmetric and written[1] in known and written[0] not in known:
                written = written[::-1]
            return template.token, written
    raise NotExpressible(f"device {device.name}: a {device.kind} shorted over itself ({' '.join(device.nets)})")


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

    def expect_net(self) -> str:
        """The next token, a net."""
        token = self._token("a net")
        if self._ids[self.position] < NET_START:
            raise NotASentence(self.position, f"{token} where a net is due")
        self.position += 1
        return token


languages.add(DeviceLines.name, DeviceLines())
