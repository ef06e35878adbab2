"""Logic blocks of any technology, from one template in multiples of its shortest channel. Knows no model's inside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from app.analog.kinds import KINDS
from app.analog.netlist import Device
from app.resources import data_path
from app.technologies._base import DeviceModels
from app.units import format_spice_number

#: The kinds that are made here, each after those it needs.
BLOCK_KINDS = tuple(kind.name for kind in KINDS.values() if kind.is_block)

_TRANSISTOR = re.compile(r"M\w+ (\w+) (\w+) (\w+) (\w+) (nmos|pmos) W=([0-9.]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Template:
    """One sub-circuit: its name without the technology's, its pins, and its element lines."""

    name: str
    pins: str
    elements: tuple[str, ...]


@cache
def _templates() -> tuple[_Template, ...]:
    """The shipped template, whose ``W`` are in multiples of the shortest length."""
    found = []
    text = data_path("technologies", "blocks.spice").read_text(encoding="ascii")
    for block in re.findall(r"\.subckt (.*?)\.ends", text, re.DOTALL):
        header, *elements = block.strip().splitlines()
        name, _, pins = header.partition(" ")
        found.append(_Template(name, pins, tuple(elements)))
    return tuple(found)


def with_blocks(
    models: DeviceModels, technology: str, *, length_m: float, width_min_m: float, width_max_m: float
) -> DeviceModels:
    """The models, and sub-circuits of every block made of their transistors, named ``<technology>_<block>``.

    `length_m` is the length of every transistor; widths stay within the technology's.
    """
    names = {template.name: f"{technology}_{template.name}" for template in _templates()}
    inner: dict[str, dict[tuple[float, float], None]] = {kind: {} for kind in models.mos}
    cards = dict(models.cards)
    for template in _templates():
        lines = [f".subckt {names[template.name]} {template.pins}"]
        for element in template.elements:
            match = _TRANSISTOR.fullmatch(element)
            if match is None:
                *nodes, block = element.split()
                lines.append(" ".join((*nodes, names[block])))
                continue
            kind, width = match[5], min(max(round(float(match[6]) * length_m, 8), width_min_m), width_max_m)
            inner[kind][width, length_m] = None
            device = Device(element.split()[0], kind, match.group(1, 2, 3, 4))
            sizes = {"width_m": format_spice_number(width), "length_m": format_spice_number(length_m)}
            lines.append(models.device_card(device, sizes))
        cards[names[template.name]] = "\n".join((*lines, ".ends"))
    kinds: Mapping[str, str] = {**models.names, **{kind: names[kind] for kind in BLOCK_KINDS}}
    return DeviceModels(
        models.process,
        models.mos,
        MappingProxyType(cards),
        MappingProxyType(dict(kinds)),
        MappingProxyType({kind: tuple(sizes) for kind, sizes in inner.items()}),
    )
