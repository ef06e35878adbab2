"""How promising an unsized circuit is: the best that its offline model expects of a short search. Simulates nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from app.sizes.draws import draw
from app.sizing._base import Floats, Forecast
from app.sizing.problem import SizingProblem

#: Points of the first look, the start and draws around it; of each later round; and how many of these there are.
_LOOK, _POINTS, _ROUNDS = 24, 64, 3

#: The best points of all rounds that the next one is drawn around, and the least deviation, in the unit cube.
_ELITE, _LEAST_WIDTH = 8, 0.03

#: Points that are to be simulated lie at least this far apart, in root mean squares.
_APART = 0.02

#: The best points of a search that are judged at every corner.
_JUDGED = 8

#: Standard deviations of the model's spread that a margin is doubted by, and a score beyond which none is sought.
_DOUBT, _AMPLE = 0.5, 1.0

#: A circuit falls short by more than this, all limits together, after the first look and after the whole search: a
#: factor of e each, or nine decibels. Then it is not promising.
LOST, HOPELESS = -4.0, -1.0


class Forecaster(Protocol):
    """An offline model of a circuit: `app.sizing.model.CircuitForecaster`."""

    def forecast(self, points: Floats) -> Forecast:
        """What becomes of points [n, V] of the unit cube."""
        ...


@dataclass(frozen=True, eq=False)
class Promise:
    """What the offline model expects at the search corner, or at the worst one where corners were judged; in nepers and
    their like.

    `score` is minus the sum of what limits are missed by, or the least margin where none is missed. `margins` [L] are
    those of the best point, doubted. `points` [n, V] of the unit cube are the best ones, as many as are simulated
    together, and behind them the problem's start. `evaluations` counts points, at each corner.
    """

    score: float
    margins: Floats
    points: Floats
    evaluations: int

    def as_json(self, problem: SizingProblem) -> dict[str, Any]:
        """For the row, margins by limit."""
        pairs = zip(problem.limits, self.margins.tolist(), strict=True)
        return {"score": round(self.score, 4), "margins": {limit.said: round(margin, 4) for limit, margin in pairs}}


class OfflineSearch:
    """A short search of a problem's circuit inside its offline model: a first look, and a few rounds where it is worth
    them. Equal arguments give equal promises.

    Reference:
        [rubinstein1999crossentropy] for moving a normal distribution to the best of its own draws.
    """  # fmt: skip

    def __init__(self, problem: SizingProblem, model: Forecaster, seed: int) -> None:
        """The first look."""
        self._problem = problem
        self._model = model
        self._rng = np.random.default_rng([seed, 0x7B1A])
        space = problem.space
        drawn = (draw(space, space.start, "guided", seed, number) for number in range(1, _LOOK))
        self._points = np.array([problem.start, *map(problem.point, drawn)])
        self._margins = self._doubted(self._model, self._points)
        self._judged: tuple[Floats, Floats] | None = None
        self._evaluations = len(self._points)

    def refine(self) -> None:
        """The search has gone on until its score is ample, or for all of its rounds."""
        for _ in range(_ROUNDS):
            scores = _scores(self._margins)
            if scores.max() >= _AMPLE:
                return
            best = self._points[np.argsort(-scores, kind="stable")[:_ELITE]]
            width = np.maximum(best.std(axis=0), _LEAST_WIDTH)
            normal = self._rng.standard_normal((_POINTS, len(width)))
            points = np.clip(best.mean(axis=0) + width * normal, 0.0, 1.0)
            self._points = np.concatenate([self._points, points])
            self._margins = np.concatenate([self._margins, self._doubted(self._model, points)])
            self._evaluations += len(points)

    def judge(self, problem: SizingProblem, model: Forecaster) -> None:
        """The promise is that of the best points so far at the worst of the corners, which the model forecasts."""
        points = self._points[np.argsort(-_scores(self._margins), kind="stable")[:_JUDGED]]
        self._judged = points, self._doubted(model, points)
        self._evaluations += len(points) * len(problem.benches)

    @property
    def promise(self) -> Promise:
        """What was found so far; what the model thinks little of may be its mistake, so the start is always tried."""
        points, margins = self._judged or (self._points, self._margins)
        scores = _scores(margins)
        order = np.argsort(-scores, kind="stable")
        tried, start = _apart(points[order], self._problem.batch), self._problem.start
        if not (tried == start).all(axis=1).any():
            tried = np.concatenate([tried, start[None]])
        return Promise(float(scores[order[0]]), margins[order[0]], tried, self._evaluations)

    @staticmethod
    def _doubted(model: Forecaster, points: Floats) -> Floats:
        """Margins [n, L] less what is doubted of them."""
        told = model.forecast(points)
        return np.asarray(told.margins - _DOUBT * told.spread)


def _apart(points: Floats, count: int) -> Floats:
    """The first `count` points that lie apart from those before them."""
    chosen = [points[0]]
    for point in points[1:]:
        if len(chosen) == count:
            break
        if np.sqrt(np.mean((np.array(chosen) - point) ** 2, axis=1)).min() > _APART:
            chosen.append(point)
    return np.array(chosen)


def _scores(margins: Floats) -> Floats:
    """[n]: see `Promise.score`."""
    missed = np.minimum(0.0, margins).sum(axis=1)
    return np.asarray(np.where(missed < 0, missed, margins.min(axis=1)))
