"""What a builder is, and the registry of their groups."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from app.quantum.program import QuantumProgram
from app.registry import Registry

#: Draws a program: from a size (about the number of qubits) and a source of randomness.
Build = Callable[[int, random.Random], QuantumProgram]

#: ``random`` marks circuits that are random by design, which are no reference for what real circuits look like.
Kind = Literal["algorithm", "random"]


@dataclass(frozen=True, slots=True)
class Builder:
    """One way of building programs of a family; `name` tells it from the family's other builders.

    The same size and the same state of the randomness give the same program. `draws` is how many programs a corpus
    asks for at each size: one where nothing is random. `few` are sizes of programs on at most ten qubits of which a
    corpus wants many more, in other gates as well: those that are judged by what they compute.
    """

    family: str
    name: str
    build: Build
    sizes: tuple[int, ...]
    draws: int = 1
    kind: Kind = "algorithm"
    source: str = "built"
    few: tuple[int, ...] = ()


def ladder(smallest: int, largest: int) -> tuple[int, ...]:
    """Sizes from `smallest` to `largest`: every one at first, then ever wider apart."""
    sizes, size = [], smallest
    while size <= largest:
        sizes.append(size)
        size += 1 if size < 24 else 2 if size < 48 else 6
    return tuple(sizes)


#: Groups of builders by the name of their module.
builder_groups: Final[Registry[tuple[Builder, ...]]] = Registry("group of circuit families", "app.quantum.families")
