"""What a technology is: device models, limits, default sizes and bias levels. Knows no circuit and no simulator."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from app.errors import Unavailable
from app.registry import Registry

_DEFINITION = re.compile(r"\.(?:model|subckt)\s+(\S+)", re.IGNORECASE)


@dataclass(frozen=True)
class Technology:
    """One process. All quantities are SI; bias levels are magnitudes, at the default sizes and a current near 10 uA.

    `models_file` holds ``.model`` and ``.subckt`` cards, every name of which starts with the technology's own, so that
    none can equal a net. `model_names` gives the card of each device kind that has one; resistors, capacitors and
    inductors are linear. `sizes` are the default sizes by kind. `gate_bias_v` turns a MOS on, `base_bias_v` a bipolar
    transistor; `bias_a` is the current a bias current port carries. `inductor_ohm` is the series resistance of a coil.
    """

    name: str
    summary: str
    licence: str
    source: str
    models_file: Path
    model_names: Mapping[str, str]
    supply_v: float
    celsius: float
    length_min_m: float
    width_min_m: float
    sizes: Mapping[str, Mapping[str, float]]
    gate_bias_v: float
    base_bias_v: float
    bias_a: float
    inductor_ohm: float

    @cached_property
    def cards(self) -> Mapping[str, str]:
        """Model or sub-circuit name -> the text of its card, in the file's order; Unavailable where that is gone."""
        try:
            text = self.models_file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(
                f"the device models of technology {self.name!r} cannot be read ({self.models_file}: {error}); "
                "install Josephson again"
            ) from None
        return _split_cards(text)

    def models_for(self, kinds: Iterable[str]) -> str:
        """The cards that devices of these kinds need, and those they need in turn; one text, in the file's order."""
        wanted = [self.model_names[kind] for kind in kinds if kind in self.model_names]
        needed: set[str] = set()
        while wanted:
            name = wanted.pop()
            if name not in needed:
                needed.add(name)
                words = set(self.cards[name].split())
                wanted += [other for other in self.cards if other in words]
        return "\n".join(text for name, text in self.cards.items() if name in needed)


def _split_cards(text: str) -> dict[str, str]:
    """Cards by name. Comment lines and blank ones go; a sub-circuit reaches to its ``.ends``."""
    cards: dict[str, list[str]] = {}
    current: list[str] | None = None
    in_subcircuit = False
    for line in text.splitlines():
        if not line.strip() or line.startswith("*"):
            continue
        definition = None if in_subcircuit else _DEFINITION.match(line)
        if definition:
            current = cards[definition[1]] = []
            in_subcircuit = line.lower().startswith(".subckt")
        assert current is not None, f"a line before the first card: {line}"
        current.append(line)
        if line.lower().startswith(".ends"):
            in_subcircuit = False
    return {name: "\n".join(lines) for name, lines in cards.items()}


#: Every technology by name: one module of `app.technologies` each.
technologies: Registry[Technology] = Registry("technology", "app.technologies")

#: The technology of sizes, decks and operating points whose request names none.
DEFAULT_TECHNOLOGY = "generic180"
