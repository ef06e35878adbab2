"""Shares and medians with 95 % intervals, and how a count is dealt out over types. Knows no circuits.

Intervals come from the bootstrap: the circuits are drawn anew with replacement, `ROUNDS` times, and the middle 95 % of
what the figure was are kept. Where all circuits agree there is nothing to draw anew, and a share gets Wilson's interval
in its place: 1,000 of 1,000 is not a proof of certainty.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Resamples of one interval.
ROUNDS = 1000

_SEED = 0
_Z = 1.959964
_TAILS = (2.5, 97.5)


def wilson(successes: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share.

    Reference:
        [wilson1927probable] Eq. (9).
    """
    if count == 0:
        return 0.0, 1.0
    share = successes / count
    centre = share + _Z * _Z / (2 * count)
    spread = _Z * math.sqrt(share * (1 - share) / count + _Z * _Z / (4 * count * count))
    scale = 1 + _Z * _Z / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def share(
    values: Sequence[float], seeds: Sequence[int] | None = None, weights: Sequence[float] | None = None
) -> dict[str, Any] | None:
    """The mean of values from 0 to 1 (a statement's truth, a share of transistors); None where there is no value.

    ``{share, low, high, n}``, and with more than one seed ``by_seed`` (seed -> mean) and ``spread`` (the standard
    deviation over seeds).

    Args:
        values: One a circuit.
        seeds: The seed that each circuit was sampled with.
        weights: How much each circuit counts; all the same where absent.

    Reference:
        [efron1979bootstrap] §2: the percentiles of the mean over resampled circuits.
    """
    if not len(values):
        return None
    measured = np.asarray(values, float)
    weighed = _weights(weights, len(measured))
    mean = float(np.average(measured, weights=weighed))
    if len(np.unique(measured)) == 1:
        low, high = wilson(mean * len(measured), len(measured))
    else:
        counts, distinct, masses = _resampled(measured, weighed)
        low, high = np.percentile((counts @ (distinct * masses)) / (counts @ masses), _TAILS)
    figure: dict[str, Any] = {
        "share": round(mean, 4), "low": round(float(low), 4), "high": round(float(high), 4), "n": len(measured),
    }  # fmt: skip
    if seeds is not None and len(set(seeds)) > 1:
        own = np.asarray(seeds)
        means = {
            seed: float(np.average(measured[own == seed], weights=weighed[own == seed])) for seed in sorted(set(seeds))
        }
        figure["by_seed"] = {str(seed): round(value, 4) for seed, value in means.items()}
        figure["spread"] = round(statistics.stdev(means.values()), 4)
    return figure


def median(values: Sequence[float], weights: Sequence[float] | None = None) -> dict[str, Any] | None:
    """``{median, low, high, n}`` of the values; None where there is none. The lower middle one of an even number."""
    if not len(values):
        return None
    measured = np.asarray(values, float)
    counts, distinct, masses = _resampled(measured, _weights(weights, len(measured)))
    low, high = np.percentile(_quantile(counts, distinct, masses, 0.5), _TAILS)
    return {
        "median": round(quantile(values, 0.5, weights), 4), "low": round(float(low), 4), "high": round(float(high), 4),
        "n": len(measured),
    }  # fmt: skip


def quantile(values: Sequence[float], level: float, weights: Sequence[float] | None = None) -> float:
    """The smallest value that at least `level` of the weight does not exceed. There is at least one value."""
    distinct, inverse = np.unique(np.asarray(values, float), return_inverse=True)
    masses = np.bincount(inverse, weights=_weights(weights, len(values)))
    return float(_quantile(masses[None, :], distinct, np.ones(len(distinct)), level)[0])


def deciles(values: Sequence[float], weights: Sequence[float] | None = None) -> dict[str, Any] | None:
    """``{p10, median, p90, n}`` of the values; None where there is none."""
    if not len(values):
        return None
    levels = {"p10": 0.1, "median": 0.5, "p90": 0.9}
    return {name: round(quantile(values, level, weights), 4) for name, level in levels.items()} | {"n": len(values)}


def area(pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> dict[str, Any]:
    """The area under the curve of a classifier, and its distance from what chance has: ``{auc, low, high, n}``.

    Each pair has scores [classifier, circuit] of one set and of the other, which should be higher; the area is the mean
    over classifiers and pairs. The first sets of all pairs are the same circuits, and are drawn anew together.
    """
    rounds, means = np.zeros(ROUNDS), []
    for number, (first, second) in enumerate(pairs):
        ours, theirs = drawn(first.shape[1], _SEED), drawn(second.shape[1], _SEED + 1 + number)
        for low, high in zip(first, second, strict=True):
            means.append(_area(low, high, np.ones((1, len(low))), np.ones((1, len(high))))[0])
            rounds += _area(low, high, ours, theirs)
    figure = _interval(float(np.mean(means)), rounds / len(means), "auc")
    return figure | {"n": sum(second.shape[1] for _, second in pairs), "beside": pairs[0][0].shape[1]}


def distance(values: Sequence[float], reference: Sequence[float]) -> dict[str, Any]:
    """How far two distributions of a number are apart: ``{distance, low, high, ks, ks_low, ks_high}``.

    `distance` is Wasserstein-1 in standard deviations of the reference, None where that is 0; `ks` the statistic of
    Kolmogorov and Smirnov.
    """
    first, second = np.asarray(values, float), np.asarray(reference, float)
    points = np.unique(np.concatenate([first, second]))
    gaps, spread = np.diff(points), float(second.std())
    apart = np.zeros((ROUNDS + 1, len(points)))
    for sign, own, seed in ((1, first, _SEED), (-1, second, _SEED + 1)):
        places = np.searchsorted(points, own)
        counts = np.concatenate([np.ones((1, len(own))), drawn(len(own), seed)])
        masses = np.zeros((len(counts), len(points)))
        np.add.at(masses.T, places, counts.T)
        apart += sign * np.cumsum(masses, axis=1) / len(own)
    apart = np.abs(apart)
    ks = apart.max(axis=1)
    figure: dict[str, Any] = {"distance": None, "low": None, "high": None}
    if spread > 0:
        moved = apart[:, :-1] @ gaps / spread
        figure = _interval(float(moved[0]), moved[1:], "distance")
    told = _interval(float(ks[0]), ks[1:], "ks")
    return figure | {"ks": told["ks"], "ks_low": told["low"], "ks_high": told["high"]}


def ends(figures: NDArray[np.float64]) -> tuple[float, float]:
    """The interval that holds the middle 95 % of what a figure was over the rounds."""
    low, high = np.percentile(figures, _TAILS)
    return float(low), float(high)


def _interval(value: float, figures: NDArray[np.float64], name: str) -> dict[str, Any]:
    low, high = ends(figures)
    return {name: round(value, 4), "low": round(low, 4), "high": round(high, 4)}


def drawn(count: int, seed: int = _SEED) -> NDArray[np.int64]:
    """How often each of so many circuits (or groups of rows) is drawn, [ROUNDS, circuit]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=ROUNDS)


def _area(
    first: NDArray[np.float64], second: NDArray[np.float64], ours: NDArray[Any], theirs: NDArray[Any]
) -> NDArray[np.float64]:
    """The share of pairs in which the second scores higher, ties by half, with circuits counted as [round, circuit]."""
    points = np.unique(np.concatenate([first, second]))
    masses = []
    for own, counts in ((first, ours), (second, theirs)):
        order = np.argsort(own, kind="stable")
        summed = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(counts[:, order], axis=1)], axis=1)
        masses.append(summed[:, np.searchsorted(own[order], points, "right")])
    below = np.concatenate([np.zeros((len(ours), 1)), masses[0][:, :-1]], axis=1)
    at = np.diff(masses[0], axis=1, prepend=0.0)
    theirs_at = np.diff(masses[1], axis=1, prepend=0.0)
    pairs = masses[0][:, -1] * masses[1][:, -1]
    found: NDArray[np.float64] = (theirs_at * (below + at / 2)).sum(axis=1) / pairs
    return found


def apportion(weights: Mapping[str, float], count: int, least: int = 0) -> dict[str, int]:
    """`count` items dealt out in proportion to the weights, by the largest remainder; ties go to who comes first.

    Names without weight get nothing. The others get at least `least`, above the count where it does not suffice.
    """
    total = sum(weights.values())
    assert total > 0, "something to deal out by"
    quotas = {name: count * weight / total for name, weight in weights.items()}
    dealt = {name: int(quota) for name, quota in quotas.items()}
    neediest = sorted((name for name in weights if weights[name] > 0), key=lambda name: dealt[name] - quotas[name])
    for name in neediest[: count - sum(dealt.values())]:
        dealt[name] += 1
    return {name: max(number, least) if weights[name] > 0 else 0 for name, number in dealt.items()}


def _weights(weights: Sequence[float] | None, count: int) -> NDArray[np.float64]:
    return np.ones(count) if weights is None else np.asarray(weights, float)


def _resampled(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """How often each distinct (value, weight) is drawn [ROUNDS, distinct], the values in rising order, the weights.

    Circuits that are alike are drawn as one with their number, which is the same distribution and costs less.
    """
    pairs, numbers = np.unique(np.stack([values, weights], axis=1), axis=0, return_counts=True)
    rng = np.random.default_rng(_SEED)
    counts = rng.multinomial(len(values), numbers / len(values), size=ROUNDS)
    return counts, pairs[:, 0], pairs[:, 1]


def _quantile(
    counts: NDArray[Any], distinct: NDArray[np.float64], masses: NDArray[np.float64], level: float
) -> NDArray[np.float64]:
    below = np.cumsum(counts * masses, axis=1)
    enough = below >= level * below[:, -1:] * (1 - 1e-12)
    found: NDArray[np.float64] = distinct[np.argmax(enough, axis=1)]
    return found
