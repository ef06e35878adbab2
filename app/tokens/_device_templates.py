"""How a device is written on one line: a kind token and the nets it does not imply. Shared by language and grammar."""

from __future__ import annotations

from dataclasses import dataclass

from app.analog.kinds import KINDS, SUPPLY_NETS
from app.analog.netlist import Device


@dataclass(frozen=True, slots=True)
class Template:
    """One kind token. `pin_sources` says for each pin of the kind which written net it takes, or which rail it implies.

    `distinct` are pairs of written positions that may not hold the same net (a device shorted over itself). What
    `shorts_supplies` has two positions, which may not hold the two supplies.
    """

    token: str
    kind: str
    pin_sources: tuple[int | str, ...]
    distinct: tuple[tuple[int, int], ...] = ()
    shorts_supplies: bool = False

    @property
    def width(self) -> int:
        """Nets written on the line."""
        return 1 + max(source for source in self.pin_sources if isinstance(source, int))

    @property
    def rails(self) -> tuple[str, ...]:
        """Supplies that the kind implies."""
        return tuple(source for source in self.pin_sources if isinstance(source, str))

    @property
    def drives(self) -> tuple[bool, ...]:
        """For each written net: whether at least one of the pins that take it drives."""
        kind = KINDS[self.kind]
        return tuple(
            any(
                source == position and pin not in kind.sense_pins
                for pin, source in zip(kind.pins, self.pin_sources, strict=True)
            )
            for position in range(self.width)
        )

    def nets(self, written: tuple[str, ...]) -> tuple[str, ...]:
        """The nets of every pin, in card order."""
        return tuple(written[source] if isinstance(source, int) else source for source in self.pin_sources)

    def written(self, device: Device) -> tuple[str, ...] | None:
        """The nets to write for `device`, or None where this template cannot express it."""
        if device.kind != self.kind:
            return None
        written: list[str | None] = [None] * self.width
        for source, net in zip(self.pin_sources, device.nets, strict=True):
            if isinstance(source, str):
                if net != source:
                    return None
            elif written[source] is None:
                written[source] = net
            elif written[source] != net:
                return None
        nets = tuple(net for net in written if net is not None)
        is_short = any(nets[a] == nets[b] for a, b in self.distinct) or (
            self.shorts_supplies and set(nets) == set(SUPPLY_NETS)
        )
        return None if is_short else nets


def _mos(kind: str, rail: str) -> tuple[Template, ...]:
    """The ways to write a MOS: bulk at rail, at source, explicit; as a capacitor, bulk at its rail or explicit."""
    return (
        Template(kind, kind, (0, 1, 2, rail), ((0, 2),)),
        Template(f"{kind}_bs", kind, (0, 1, 2, 2), ((0, 2),)),
        Template(f"{kind}_b", kind, (0, 1, 2, 3), ((0, 2),)),
        Template(f"{kind}_cap", kind, (1, 0, 1, rail), ((0, 1),)),
        Template(f"{kind}_cap_b", kind, (1, 0, 1, 2), ((0, 1),)),
    )


#: Every kind token; for a device the first template that can express it is the one that is written.
TEMPLATES: tuple[Template, ...] = (
    *_mos("nmos", "VSS"),
    *_mos("pmos", "VDD"),
    Template("npn", "npn", (0, 1, 2), ((0, 2),)),
    Template("pnp", "pnp", (0, 1, 2), ((0, 2),)),
    Template("resistor", "resistor", (0, 1), ((0, 1),)),
    Template("capacitor", "capacitor", (0, 1), ((0, 1),)),
    Template("inductor", "inductor", (0, 1), ((0, 1),), shorts_supplies=True),
    Template("diode", "diode", (0, 1), ((0, 1),)),
    Template("inverter", "inverter", (0, 1, 2, 3), ((0, 1), (2, 3))),
    Template("transmission_gate", "transmission_gate", (0, 1, 2, 3, 4), ((0, 1), (3, 4))),
    Template("xor", "xor", (0, 1, 2, 3, 4), ((0, 4), (1, 4), (2, 3))),
    Template("pfd", "pfd", (0, 1, 2, 3, 4, 5), ((2, 3), (4, 5))),
)
