"""The box in which a method looks next: it grows where that brings something and shrinks where it does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.sizing._base import Floats

#: Lengths of the box's sides: at most, and where the search is at an end.
_MOST, _LEAST = 1.6, 2.0**-7

#: Successes in a row after which the box grows.
_SUCCESSES = 3

#: About so many variables of a candidate differ from the centre's.
_MOVED = 20


@dataclass
class TrustRegion:
    """A box around a centre, whose side is `length` of the unit cube's.

    Reference:
        [eriksson2019turbo] §2 and supplementary material, Algorithm of TuRBO-1: doubled after `_SUCCESSES` batches in a
        row that brought something, halved after `patience` that did not.
    """

    length: float
    patience: int
    successes: int = 0
    failures: int = 0

    def judge(self, is_success: bool) -> None:
        """The length follows what one more batch brought."""
        self.successes, self.failures = (self.successes + 1, 0) if is_success else (0, self.failures + 1)
        if self.successes == _SUCCESSES:
            self.length, self.successes = min(_MOST, 2 * self.length), 0
        elif self.failures == self.patience:
            self.length, self.failures = self.length / 2, 0

    @property
    def is_spent(self) -> bool:
        """The box is so small that the search should begin anew."""
        return self.length < _LEAST

    def ends(self, centre: Floats, weights: Floats | float = 1.0) -> tuple[Floats, Floats]:
        """The least and the greatest corner [V] of the box, inside the unit cube; `weights` stretch its sides."""
        half = self.length * weights / 2
        return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)

    def candidates(self, centre: Floats, count: int, rng: np.random.Generator, weights: Floats | float = 1.0) -> Floats:
        """[count, V]: points of the box that differ from its centre in some variables, at least one.

        Uniform numbers in place of the paper's Sobol points: which variables move is random anyway.
        """
        low, high = self.ends(centre, weights)
        width = len(centre)
        moves = rng.random((count, width)) < min(1.0, _MOVED / width)
        moves[np.arange(count), rng.integers(width, size=count)] = True
        return np.where(moves, low + rng.random((count, width)) * (high - low), centre)
