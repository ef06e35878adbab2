"""What the process that writes decks and the worker that runs them have to agree on."""

from __future__ import annotations

from collections.abc import Mapping

#: What an operating point tells of every transistor that was asked for.
DEVICE_FACTS = ("id", "vgs", "vds", "vth", "vdsat", "gm", "gds", "gmbs", "cgg")


def deck_with_parameters(deck: str, values: Mapping[str, float]) -> str:
    """The deck with ``.param`` cards of these values after its title: what a worker simulates."""
    title, _, rest = deck.partition("\n")
    cards = "".join(f".param {name}={value!r}\n" for name, value in values.items())
    return f"{title}\n{cards}{rest}"
