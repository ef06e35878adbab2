"""CMA-ES inside a box, asked point by point."""

from __future__ import annotations

import numpy as np
from cmaes import CMA

from app.sizing._base import Floats

#: The library needs two variables; a problem of one gets a second that means nothing.
_LEAST_WIDTH = 2

#: Draws of a point that lies outside of the box before its sides stop it.
_REDRAWS = 10


class Evolution:
    """Covariance matrix adaptation over [W] numbers, which seeks the largest scores.

    Reference:
        [hansen2016cma] Table 1 and Figure 6, as the library `cmaes` has them.
    """

    def __init__(
        self, mean: Floats, deviation: float, ends: tuple[Floats, Floats], seed: int, population: int | None = None
    ) -> None:
        """`population` is the paper's where it is None."""
        self._width = len(mean)
        spare = (0, max(0, _LEAST_WIDTH - self._width))
        low, high = np.pad(ends[0], spare), np.pad(ends[1], spare, constant_values=1.0)
        self._search = CMA(
            np.pad(mean, spare, constant_values=0.5),
            deviation,
            bounds=np.stack([low, high], axis=1),
            n_max_resampling=_REDRAWS,
            seed=seed,
            population_size=population,
        )

    @property
    def population(self) -> int:
        """Points of a generation."""
        return int(self._search.population_size)

    @property
    def has_ended(self) -> bool:
        """Going on brings nothing."""
        return bool(self._search.should_stop())

    def ask(self, count: int) -> Floats:
        """[count, W]: further points of this generation."""
        return np.array([self._search.ask() for _ in range(count)], dtype=np.float64)[:, : self._width]

    def tell(self, points: Floats, scores: Floats) -> None:
        """A whole generation [population, W] has these scores; the next one follows from it."""
        spare = ((0, 0), (0, max(0, _LEAST_WIDTH - self._width)))
        whole = np.pad(points, spare, constant_values=0.5)
        self._search.tell([(point, -float(score)) for point, score in zip(whole, scores, strict=True)])
