"""SPICE text into netlists and back. Reads a whitelist of cards by hand, in linear time; runs and includes nothing.

Accepted: element cards R C L M Q D and X (sub-circuits, which are flattened, and the blocks of `kinds`), V and I
sources and numeric ``.options`` (left out: they belong to the testbench), ``.subckt .ends .model .param .global .op
.title .end``, comments (``*``, ``;``, ``$``) and continuations. Case does not matter; nets ``0`` and
``gnd`` are VSS. As in ngspice, a sub-circuit shares ground and the nets of ``.global`` with the outside, and no other
net but its ports. Everything else is refused with its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.analog.netlist import Netlist
from app.analog.spice_hierarchy import Circuit, flatten, sort_cards
from app.analog.spice_lines import SPICE_LIMITS, SpiceLimits, read_cards
from app.analog.spice_writer import write_spice
from app.findings import Finding

__all__ = ["SPICE_LIMITS", "ParsedSpice", "SpiceLimits", "parse_spice", "write_spice"]

#: What the reader leaves out or changes: code -> what to tell.
_NOTES = {
    "title_left_out": "the first line is no card and was taken for the title",
    "source_left_out": "sources belong to the testbench and were left out; their nets became ports",
    "model_left_out": "device models come from the technology; the parameters of these were left out",
    "option_left_out": "simulator options belong to the testbench and were left out",
    "parameter_left_out": "these parameters were left out",
    "substrate_left_out": "the substrate pin was left out",
    "read_as_microns": "widths and lengths above 1 cm were read as microns",
    "names_changed": "names were changed to letters, digits and underscores",
    "subckt_is_circuit": "no device stands outside the sub-circuits, so this one is the circuit",
    "ground_merged": "node 0 and VSS are one net here",
}

_SHOWN_NAMES = 6


@dataclass(frozen=True)
class ParsedSpice:
    """A netlist as read, and notes on what was left out or changed on the way."""

    netlist: Netlist
    notes: tuple[Finding, ...]


def parse_spice(text: str, *, limits: SpiceLimits = SPICE_LIMITS) -> ParsedSpice:
    """Read a flat or hierarchical SPICE text.

    Names come out in upper case and hold letters, digits and underscores only. Ports are those of a ``* ports:``
    comment; without one, the supplies, nets with a port's name (VIN1, VOUT2, ...) and nets that a source drives.

    Raises:
        SpiceSyntaxError: The text is outside the accepted grammar; with line and column.
        LimitExceeded: The text or the circuit is larger than `limits`.
    """
    cards = read_cards(text, limits)
    circuit = sort_cards(cards, limits)
    netlist = flatten(circuit, cards.ports, limits)
    return ParsedSpice(netlist, tuple(_notes(circuit)))


def _notes(circuit: Circuit) -> Iterator[Finding]:
    for code, names in circuit.left_out.items():
        shown = ", ".join(name[:40] for name in names[:_SHOWN_NAMES])
        more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        yield Finding(code, "note", f"{_NOTES[code]} ({shown}{more})")
