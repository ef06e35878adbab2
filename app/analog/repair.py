"""Mends the known defects of drawn netlists, so that a simulator and a grammar accept every circuit that is kept.

Works on a draft (device lines as read) and knows nothing of files. What cannot be mended is dropped with a reason;
every mend is counted.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from app.analog.kinds import KINDS, PORT_ROLES, SUPPLY_NETS
from app.analog.netlist import Device, Netlist, port_role
from app.analog.rules import electrical_findings, is_dead, is_shorted, is_two_terminal, islands

_GROUND_NAMES = frozenset({"0", "GND", "GND!", "VSS!", "VGND", "AGND"})
_SUPPLY_NAMES = frozenset({"VDD!", "VCC", "VCC!"})

#: Spellings of port roles that drawings use for one of ours.
_ROLE_SPELLINGS = {
    "IN": "VIN", "OUT": "VOUT", "VCKL": "VCLK", "CLK": "VCLK", "VLOGICA": "LOGICA", "VLOGICB": "LOGICB",
    "VLOGICD": "LOGICD", "VLOGICQ": "LOGICQ", "VLOGICQA": "LOGICQA", "VLOGICQB": "LOGICQB",
}  # fmt: skip

#: Electrical findings that no circuit of a corpus may have, whatever their severity for a user's own netlist.
_FAULT_CODES = frozenset(
    {"no_devices", "no_ground", "disconnected", "bulk_floating", "floating_net", "undriven_gate", "unconnected_port",
     "shorted_device", "dead_device"}
)  # fmt: skip

#: One device line as read: kind and nets in pin order.
DraftDevice = tuple[str, tuple[str, ...]]


class _Unmendable(Exception):
    """The circuit has to be dropped; the text is the reason."""


@dataclass(frozen=True)
class Repaired:
    """What became of one draft: a netlist, or the reason it was dropped, and how often each mend was made."""

    netlist: Netlist | None
    mends: Counter[str]
    dropped: str | None


@dataclass
class RepairReport:
    """What a reader mended and dropped: circuit ids by mend and by drop reason, and how many single mends."""

    read: int = 0
    kept: int = 0
    mends: Counter[str] = field(default_factory=Counter)
    mended: dict[str, list[str]] = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=dict)

    def note(self, circuit_id: str, outcome: Repaired) -> None:
        """Count one circuit."""
        self.read += 1
        if outcome.dropped is not None:
            self.dropped.setdefault(outcome.dropped, []).append(circuit_id)
            return
        self.kept += 1
        self.mends.update(outcome.mends)
        for mend in outcome.mends:
            self.mended.setdefault(mend, []).append(circuit_id)

    def as_json(self) -> dict[str, object]:
        """The report as a JSON object."""
        return {
            "read": self.read,
            "kept": self.kept,
            "mended": {name: {"times": self.mends[name], "circuits": ids} for name, ids in sorted(self.mended.items())},
            "dropped": dict(sorted(self.dropped.items())),
        }

    def as_text(self) -> str:
        """The report for a terminal; long lists of ids are cut."""
        lines = [f"{self.kept} of {self.read} circuits kept"]
        for name, ids in sorted(self.mended.items()):
            lines.append(f"  mended  {name}: {self.mends[name]} times in {len(ids)} circuits ({some_of(ids)})")
        for name, ids in sorted(self.dropped.items()):
            lines.append(f"  dropped {name}: {len(ids)} circuits ({some_of(ids)})")
        return "\n".join(lines)


def some_of(ids: Sequence[str], shown: int = 8) -> str:
    """The first few ids for a line of text."""
    return ", ".join(ids[:shown]) + (", ..." if len(ids) > shown else "")


def remaining_faults(netlist: Netlist) -> tuple[str, ...]:
    """What still keeps a netlist out of a corpus, as ``code: sentence``; empty for a circuit fit to learn from.

    Fit means: every internal net joins two devices or more and has a pin that drives it, every port is used and known
    to the language, VSS is declared, nothing is shorted or dead, and the circuit hangs together.
    """
    faults = [f"{f.code}: {f.message}" for f in electrical_findings(netlist) if f.code in _FAULT_CODES]
    for port in netlist.ports:
        if not _is_known_port(port):
            faults.append(f"unknown_port: port {port} has no role in the language")
    for supply in SUPPLY_NETS:
        if supply in netlist.pins_of and supply not in netlist.ports:
            faults.append(f"undeclared_supply: {supply} is used and not a port")
    return tuple(faults)


def repair(devices: Iterable[DraftDevice], ports: Iterable[str]) -> Repaired:
    """Mend one drawn circuit, or say why it cannot be mended.

    Devices come out named by SPICE letter in order (M1, M2, Q1, R1, ...), internal nets as N1, N2, ... by first use.
    """
    draft = _Draft([(kind, list(nets)) for kind, nets in devices], list(ports))
    try:
        for step in (_unify_rails, _settle_ports, _promote_port_names, _mend_until_stable, _declare_ports):
            step(draft)
        netlist = draft.finished()
        faults = remaining_faults(netlist)
        if faults:
            raise _Unmendable(faults[0].partition(":")[0])
    except _Unmendable as reason:
        return Repaired(None, draft.mends, str(reason))
    return Repaired(netlist, draft.mends, None)


@dataclass
class _Draft:
    """A circuit under repair."""

    devices: list[tuple[str, list[str]]]
    ports: list[str]
    mends: Counter[str] = field(default_factory=Counter)

    def pins_of(self) -> dict[str, list[tuple[int, str]]]:
        """Net -> (device index, pin name)."""
        table: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for index, (kind, nets) in enumerate(self.devices):
            for pin, net in zip(KINDS[kind].pins, nets, strict=True):
                table[net].append((index, pin))
        return table

    def rename_net(self, old: str, new: str) -> None:
        """Every pin on `old` is on `new`."""
        for _, nets in self.devices:
            nets[:] = [new if net == old else net for net in nets]

    def is_internal(self, net: str) -> bool:
        return net not in self.ports and net not in SUPPLY_NETS

    def free_port(self, role: str) -> str:
        """The first unused port name of a role."""
        taken = {*self.ports, *(net for _, nets in self.devices for net in nets)}
        for index in range(1, PORT_ROLES[role] + 1):
            if f"{role}{index}" not in taken:
                return f"{role}{index}"
        raise _Unmendable(f"no free {role} port")

    def netlist(self) -> Netlist:
        """The draft as it stands, devices named by position."""
        return Netlist(
            tuple(Device(str(index), kind, tuple(nets)) for index, (kind, nets) in enumerate(self.devices)),
            tuple(self.ports),
        )

    def finished(self) -> Netlist:
        """The draft with final device and net names."""
        count: Counter[str] = Counter()
        names: dict[str, str] = {}
        devices = []
        for kind, nets in self.devices:
            for net in nets:
                if self.is_internal(net):
                    names.setdefault(net, f"N{len(names) + 1}")
            letter = KINDS[kind].letter
            count[letter] += 1
            devices.append(Device(f"{letter}{count[letter]}", kind, tuple(names.get(net, net) for net in nets)))
        return Netlist(tuple(devices), tuple(self.ports))


def _unify_rails(draft: _Draft) -> None:
    """Spellings of ground and supply become VSS and VDD."""
    for names, rail in ((_GROUND_NAMES, "VSS"), (_SUPPLY_NAMES, "VDD")):
        for net in [net for net in draft.pins_of() if net.upper() in names]:
            draft.rename_net(net, rail)
            draft.mends["rail_renamed"] += 1
    draft.ports = list(dict.fromkeys(_rail_or_same(port) for port in draft.ports))


def _rail_or_same(name: str) -> str:
    upper = name.upper()
    return "VSS" if upper in _GROUND_NAMES else "VDD" if upper in _SUPPLY_NAMES else name


def _settle_ports(draft: _Draft) -> None:
    """Unused ports go; used ports with a foreign spelling take the first free name of their role."""
    used = draft.pins_of()
    unused = [port for port in draft.ports if port not in used and port != "VSS"]
    draft.ports = [port for port in draft.ports if port not in unused]
    draft.mends["unused_port_removed"] += len(unused)
    for position, port in enumerate(draft.ports):
        if _is_known_port(port):
            continue
        role = _role_of_spelling(port)
        if role is None:
            raise _Unmendable("unknown port name")
        name = draft.free_port(role)
        draft.rename_net(port, name)
        draft.ports[position] = name
        draft.mends["port_renamed"] += 1
    draft.mends += Counter()


def _is_known_port(port: str) -> bool:
    if port in SUPPLY_NETS:
        return True
    role = port_role(port)
    return role is not None and role[1] <= PORT_ROLES[role[0]]


def _role_of_spelling(net: str) -> str | None:
    """The role a drawn name stands for, whatever its index: ``IN2`` and ``VIN`` are both of role VIN."""
    match = re.fullmatch(r"([A-Z]+)[0-9]*", net.upper())
    if match is None:
        return None
    role = _ROLE_SPELLINGS.get(match[1], match[1])
    return role if role in PORT_ROLES else None


def _promote_port_names(draft: _Draft) -> None:
    """Undeclared nets with a port's name become ports: the port list forgot them.

    A single bulk is left to the bulk rule: a well wire that was labelled, not a port.
    """
    for net, pins in draft.pins_of().items():
        if not draft.is_internal(net) or [pin for _, pin in pins] == ["bulk"]:
            continue
        role = _role_of_spelling(net)
        if role is None:
            continue
        name = net if _is_known_port(net) else draft.free_port(role)
        draft.rename_net(net, name)
        draft.ports.append(name)
        draft.mends["port_like_net_promoted"] += 1


def _mend_until_stable(draft: _Draft) -> None:
    """Repeat the device and net rules until none finds anything: removing a device may open a net."""
    rules = (_remove_useless_devices, _tie_floating_bulks, _open_dead_ends, _promote_undriven, _drop_floating_islands)
    while any(rule(draft) for rule in rules):
        if not draft.devices:
            raise _Unmendable("no device left")


def _remove_useless_devices(draft: _Draft) -> bool:
    """Shorted two-terminal devices and MOS with D = G = S are gone."""
    kept = []
    for device, line in zip(draft.netlist().devices, draft.devices, strict=True):
        if is_shorted(device):
            draft.mends["shorted_device_removed"] += 1
        elif is_dead(device):
            draft.mends["dead_device_removed"] += 1
        else:
            kept.append(line)
    changed = len(kept) != len(draft.devices)
    draft.devices = kept
    return changed


def _tie_floating_bulks(draft: _Draft) -> bool:
    """A net seen only by bulks is tied to the source its devices share, else each bulk to the rail of its kind."""
    changed = False
    for net, pins in draft.pins_of().items():
        if not draft.is_internal(net) or any(pin != "bulk" for _, pin in pins):
            continue
        owners = [draft.devices[index] for index, _ in pins]
        sources = {nets[2] for _, nets in owners}
        for kind, nets in owners:
            rail = "VDD" if kind == "pmos" else "VSS"
            nets[3] = nets[2] if len(sources) == 1 else rail
        draft.mends["bulk_tied_to_source" if len(sources) == 1 else "bulk_tied_to_rail"] += 1
        changed = True
    return changed


def _open_dead_ends(draft: _Draft) -> bool:
    """A two-terminal device that ends in nothing is gone, one a round."""
    for net, pins in draft.pins_of().items():
        if draft.is_internal(net) and len(pins) == 1:
            index = pins[0][0]
            if is_two_terminal(Device("_", draft.devices[index][0], tuple(draft.devices[index][1]))):
                del draft.devices[index]
                draft.mends["dead_end_removed"] += 1
                return True
    return False


def _promote_undriven(draft: _Draft) -> bool:
    """A net of two devices or more, gates among them, that nothing drives becomes a new bias port."""
    changed = False
    for net, pins in draft.pins_of().items():
        if not draft.is_internal(net) or not any(pin == "gate" for _, pin in pins):
            continue
        if all(pin in KINDS[draft.devices[index][0]].sense_pins for index, pin in pins):
            name = draft.free_port("VB")
            draft.rename_net(net, name)
            draft.ports.append(name)
            draft.mends["undriven_gate_promoted"] += 1
            changed = True
    return changed


def _drop_floating_islands(draft: _Draft) -> bool:
    """Devices that reach neither port nor supply are gone."""
    outside = {*draft.ports, *SUPPLY_NETS}
    groups = islands(draft.netlist())
    floating = [group for group in groups if outside.isdisjoint(net for device in group for net in device.nets)]
    if not floating:
        return False
    lost = {int(device.name) for group in floating for device in group}
    draft.devices = [line for index, line in enumerate(draft.devices) if index not in lost]
    draft.mends["floating_island_removed"] += len(floating)
    return True


def _declare_ports(draft: _Draft) -> None:
    """The port list names VSS, every supply in use, and nothing that is not in use."""
    used = draft.pins_of()
    for supply in SUPPLY_NETS:
        if supply not in draft.ports and supply in used:
            draft.ports.append(supply)
            draft.mends["supply_declared"] += 1
    lost = [port for port in draft.ports if port not in used]
    if lost:
        draft.ports = [port for port in draft.ports if port not in lost]
        draft.mends["unused_port_removed"] += len(lost)
