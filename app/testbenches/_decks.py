"""What the process that writes decks and the worker that runs them have to agree on."""

from __future__ import annotations

#: What an operating point tells of every transistor that was asked for.
DEVICE_FACTS = ("id", "vgs", "vds", "vth", "vdsat", "gm", "gds", "gmbs", "cgg")
