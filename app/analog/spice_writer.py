"""Netlists as SPICE element cards: sizes where known, ports in a comment. Writes no models, sources or analyses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.analog.netlist import Device, Netlist
from app.analog.spice_cards import SIZE_NAMES, VALUE_OF
from app.errors import NotExpressible
from app.units import format_spice_number

_NAME = re.compile(r"[A-Za-z0-9_]+")
_LINE_LENGTH = 100

#: SPICE's names for node 0; as a net name of ours they would come back as VSS.
_GROUND_NAMES = frozenset({"0", "GND"})


def write_spice(netlist: Netlist, *, title: str = "netlist") -> str:
    """The netlist as flat SPICE text that `parse_spice` reads back, up to the case of names.

    A device whose name does not start with the letter of its card gets that letter and an underscore in front.

    Raises:
        NotExpressible: A net or device name that SPICE cannot carry, two names that differ only in case, or a size
            that the card does not know.
    """
    nets = _checked_nets(netlist)
    names = _card_names(netlist)
    lines = [f"* {_title(title)}"]
    lines += _wrapped("* ports:", netlist.ports)
    for device, name in zip(netlist.devices, names, strict=True):
        lines.append(_card(replace(device, name=name, nets=tuple(nets[net] for net in device.nets))))
    lines.append(".end")
    return "\n".join(lines) + "\n"


def _card(device: Device) -> str:
    """The element card of one device under its own name; its kind stands where a model does."""
    return " ".join((device.name, *device.nets, *_tail(device)))


def _title(title: str) -> str:
    """One printable line that cannot be read as a ports comment."""
    line = " ".join("".join(c if " " <= c <= "~" and c != "`" else " " for c in title).split())[:_LINE_LENGTH]
    return line if not line.lower().startswith("ports:") else f"netlist {line}"


def _checked_nets(netlist: Netlist) -> dict[str, str]:
    written: dict[str, str] = {}
    for net in dict.fromkeys((*netlist.ports, *netlist.nets)):
        if not _NAME.fullmatch(net):
            raise NotExpressible(f"net {net!r}: SPICE names hold letters, digits and underscores")
        folded = "VSS" if net.upper() in _GROUND_NAMES else net.upper()
        if folded in written:
            raise NotExpressible(f"nets {written[folded]!r} and {net!r} are one net in SPICE, which knows no case")
        written[folded] = net
    return {net: net for net in written.values()}


def _card_names(netlist: Netlist) -> list[str]:
    names: list[str] = []
    taken: set[str] = set()
    for device in netlist.devices:
        letter = device.kind_of.letter
        name = device.name
        if not _NAME.fullmatch(name):
            raise NotExpressible(f"device {name!r}: SPICE names hold letters, digits and underscores")
        if name[0].upper() != letter or len(name) < 2:
            name = f"{letter}_{name}"
        if name.upper() in taken:
            raise NotExpressible(f"device {name!r} would be there twice in SPICE, which knows no case")
        taken.add(name.upper())
        names.append(name)
    return names


def _tail(device: Device) -> Iterator[str]:
    """Kind and sizes."""
    letter = device.kind_of.letter
    if letter not in "RCL":
        yield device.kind
    known = {size: word for word, size in SIZE_NAMES[letter].items() if word != "MULT"}
    for size, value in device.sizes.items():
        if size not in known:
            raise NotExpressible(f"size {size!r} of {device.name} has no place on {letter} cards")
        text = format_spice_number(value)
        # ngspice 39 takes a bare area of a diode, or a large one of a transistor, for a model's name
        yield text if letter in "RCL" and size == VALUE_OF[letter] else f"{known[size]}={text}"


def _wrapped(start: str, words: Sequence[str]) -> Iterator[str]:
    line = start
    for word in words:
        if len(line) + len(word) >= _LINE_LENGTH and line != start:
            yield line
            line = start
        line += f" {word}"
    yield line
