"""What some simulated rows of a circuit say of a network's predictions for it. The network itself stays as it is.

One to some hundred rows of one circuit on one testbench in one technology tell how far off the network's means are
there. A kernel regression of what is left, on the sizes and on all that the network and the table simulator say of a
row, corrects the means of other rows of that circuit; other circuits keep their predictions, so nothing is forgotten.
How much is corrected is decided metric by metric by errors of rows that were left out: where the rows are too few, or
what is left is noise, next to nothing. Spreads and intervals follow from these errors too.

Reference:
    [rasmussen2006gaussian] §2.2 for the regression and §5.4.2 Eq. (5.12) for its leave-one-out errors,
    [radhakrishnan2024mechanism] for a metric of the inputs from the average outer product of the gradients; there it is
    one matrix for all inputs, here only sizes mix with each other, and less so where rows are few.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from app.errors import CorpusMissing, InvalidInput, LimitExceeded
from app.neural_simulator.arrays import CIRCUIT, DEFINED, ELEMENT_FEATURE_NAMES, RowInputs, Rows, Structure
from app.neural_simulator.conformal import LEAST_SPREAD, ConformalIntervals, Group, Residuals, calibrated
from app.neural_simulator.inputs import fact_features
from app.neural_simulator.scales import Scales

if TYPE_CHECKING:
    from app.neural_simulator.artefact import Predicted

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Rows beyond this are for training: the time for a fit grows with their third power.
MOST_ROWS = 512

#: Fewer left-out residuals of a metric than this set no intervals of their own.
LEAST_RESIDUALS = 20

FORMAT = 1

#: What says all of an element's sizes; the other features follow from these and the technology.
_SIZES = [
    ELEMENT_FEATURE_NAMES.index(name) for name in ("log_width", "log_length", "log_multiplier", "log_value", "level")
]

#: A number that varies less than this over the rows is not looked at; one that varies less than `_LEAST_UNIT` is not
#: blown up to 1; one this many units from the middle of the rows counts as no farther.
_ALIKE, _LEAST_UNIT, _FARTHEST = 1e-4, 0.05, 4.0

#: Fewer rows than this are left out fold by fold to see what a correction leaves of them. The errors that come with a
#: fit know nothing of its choices, for which so few rows decide; of more rows they are as good, and cost nothing.
_MANY, _FOLDS = 100, 5

#: Rounds of learning which inputs matter, and what an input that seems not to matter keeps of its weight.
_ROUNDS, _KEPT = 2, 0.1

#: Widths of the bumps in root mean squares of the inputs: each is half of the one before it.
_WIDTHS = (2.0, 1.0, 0.5)

#: Noise of a row beside what is learnt of it.
_NOISES = 10.0 ** np.arange(-3.0, 1.6, 0.5)

#: Degrees of freedom of the residuals' distribution: single sizings at which a circuit tips over count little.
_FREEDOM = 4.0
_LEAST_TRUST = 1e-3
_DEVIATION = 1.4826  # the standard deviation of a normal distribution over its median absolute one

#: A row counts as no more times noisier than the one in the middle, and no more times less noisy.
_MOST_NOISE = 5.0

#: How far beyond what was seen a correction may go, in ranges of what was seen.
_BEYOND = 0.3

#: So many rows that are off by just their spread stand beside those that were seen. Corrected spreads stay above
#: `LEAST_SPREAD`, which says that a metric was told.
_TOLD_ROWS, _LEAST_CORRECTED = 5.0, 2 * LEAST_SPREAD

#: Standard deviation of what circuits move the logit of having a value by, and the nearest a chance comes to 0 or 1.
_LOGIT_SPREAD, _SURE = 1.5, 1e-4
_MOST_LOGIT, _HALVINGS = 20.0, 50


@dataclass(frozen=True, eq=False)
class Adaptation:
    """A correction of predictions for one circuit on one testbench in one technology. M metrics.

    `estimated` are the kinds of rows that it was learnt from, by whether the table simulator said anything of them;
    rows of another kind are left as they are. `intervals` are of corrected predictions, in their spreads, for the
    metrics that enough rows had a value of.
    """

    topology_id: str
    testbench: str
    technology: str
    metrics: tuple[str, ...]
    rows: int
    estimated: tuple[bool, ...]
    scales: Scales
    means: _MeanCorrection
    spread_factors: Floats  # [M]
    logit_offsets: Floats  # [M], of the chance to have a value
    intervals: ConformalIntervals

    @staticmethod
    def fit(rows: Rows, predicted: Predicted, scales: Scales) -> Adaptation:
        """Learn from simulated rows, and from what was predicted of them.

        Predictions to be corrected later should be made as these were: a network that is told some metrics predicts
        others better, and has less to be corrected. Metrics that it was told here are not learnt from.

        Args:
            rows: Of one circuit, one or more.
            predicted: Of these rows by the network alone.
            scales: Those of the network.

        Raises:
            InvalidInput: there are no rows, or `scales` lack a metric (UnknownName).
            LimitExceeded: there are more than `MOST_ROWS`.
        """
        return fitted(rows, predicted, scales).adaptation

    def is_for(self, topology_id: str, testbench: str, technology: str) -> bool:
        """Whether it was learnt on this circuit, on this testbench, in this technology."""
        return (topology_id, testbench, technology) == (self.topology_id, self.testbench, self.technology)

    def corrected(self, rows: RowInputs, predicted: Predicted) -> Predicted:
        """What the network predicts of the rows, corrected. Metrics that it was told stay.

        Raises:
            InvalidInput: the rows are of another circuit, testbench or technology, or have other metrics.
        """
        structure = rows.structure
        theirs = (structure.topology_id, structure.testbench, rows.technology)
        if not self.is_for(*theirs):
            raise InvalidInput(
                f"the adaptation is for {_named(self.topology_id, self.testbench, self.technology)}, not for "
                f"{_named(*theirs)}; adapt to rows of that one"
            )
        if structure.metrics != self.metrics:
            raise InvalidInput(
                f"the adaptation needs predictions of {', '.join(self.metrics)}, in this order; there are those of "
                f"{', '.join(structure.metrics)}"
            )
        is_open = self._is_open(predicted)
        correction = self.means.of(_Seen.of(rows, predicted, self.scales).numbers)
        is_none = predicted.defined <= 0  # which no network says, but who knows that there is no value
        return replace(
            predicted,
            mean=np.where(is_open, predicted.mean + correction, predicted.mean),
            spread=np.where(
                is_open, np.maximum(predicted.spread * self.spread_factors, _LEAST_CORRECTED), predicted.spread
            ),
            defined=np.where(is_open & ~is_none, _moved(predicted.defined, self.logit_offsets), predicted.defined),
        )

    def reach(self, level: float, metric: str) -> float | None:
        """Corrected spreads to either side of a corrected mean that hold the truth as often as `level` says.

        The conformal quantile of the residuals of rows that were left out; None for a metric that fewer than
        `LEAST_RESIDUALS` rows had a value of: the network's own reach then serves, which knows of other circuits.

        Raises:
            InvalidInput: a level that intervals are not made for.

        Reference:
            [barber2021predictive] §1 on the jackknife: it has no guarantee, as the left-out rows took part in choosing
            the kernel, but is close where no single row decides much.
        """
        reach = self.intervals.reach(self.testbench, self.technology, metric, level)
        return reach if np.isfinite(reach) else None

    def ends(self, predicted: Predicted, level: float, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """Ends [n, M], in targets, of intervals of corrected predictions.

        Args:
            predicted: What `corrected` gave.
            level: A share of the truths.
            low: What the network's own intervals make of `predicted`, kept where there is no `reach`.
            high: Likewise.

        Raises:
            InvalidInput: a level that intervals are not made for.
        """
        reaches = np.array([self.reach(level, metric) for metric in self.metrics], np.float64)
        is_own = self._is_open(predicted) & np.isfinite(reaches)
        half = np.nan_to_num(reaches) * predicted.spread
        return np.where(is_own, predicted.mean - half, low), np.where(is_own, predicted.mean + half, high)

    def _is_open(self, predicted: Predicted) -> Mask:
        """[n, M], what there is to correct."""
        is_alike = np.isin(predicted.has_estimates, self.estimated)
        return np.asarray(is_alike[:, None] & (predicted.spread > LEAST_SPREAD))

    def save(self, path: Path) -> None:
        """As a compressed numpy file."""
        about = {
            "format": FORMAT, "topology": self.topology_id, "testbench": self.testbench,
            "technology": self.technology, "metrics": self.metrics, "rows": self.rows, "estimated": self.estimated,
            "scales": self.scales.as_json(), "intervals": self.intervals.as_json(),
        }  # fmt: skip
        arrays = {f"means_{name}": array for name, array in vars(self.means).items()}
        arrays |= {"spread_factors": self.spread_factors, "logit_offsets": self.logit_offsets}
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` wrote. Raises CorpusMissing where there is no such file, InvalidInput where it is not one."""
        if not path.is_file():
            raise CorpusMissing(f"{path} is not there; it would hold what a circuit's own simulations correct")
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                if about["format"] != FORMAT:
                    raise ValueError(f"it is of format {about['format']}, this version reads format {FORMAT}")
                return cls(
                    about["topology"],
                    about["testbench"],
                    about["technology"],
                    tuple(about["metrics"]),
                    about["rows"],
                    tuple(about["estimated"]),
                    Scales.from_json(about["scales"]),
                    _MeanCorrection(*(file[f"means_{name}"] for name in _MeanCorrection.__dataclass_fields__)),
                    file["spread_factors"],
                    file["logit_offsets"],
                    ConformalIntervals.from_json(about["intervals"]),
                )
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise InvalidInput(f"{path} does not hold an adaptation: {error}; adapt anew") from error


@dataclass(frozen=True, eq=False)
class Fitted:
    """An adaptation, and how far off predictions of the rows that it was learnt from are, before it and after it.

    Differences of targets to the network's means, and to means that are corrected by what the other rows say; NaN where
    a metric has no value or was told.
    """

    adaptation: Adaptation
    before: Floats  # [n, M]
    after: Floats  # [n, M]


def fitted(rows: Rows, predicted: Predicted, scales: Scales) -> Fitted:
    """See `Adaptation.fit`."""
    structure, count = rows.structure, len(rows)
    if not count:
        raise InvalidInput("there are no rows to adapt to; simulate some sizings of the circuit first")
    if count > MOST_ROWS:
        raise LimitExceeded(
            "the number of rows to adapt to", count, MOST_ROWS, hint="choose some, or train a model on all of them"
        )
    kept = Scales({structure.testbench: {name: scales.of(structure.testbench, name) for name in structure.metrics}})
    was_told = predicted.spread <= LEAST_SPREAD
    residuals = np.where(was_told, np.nan, kept.targets(structure, rows.values) - predicted.mean)
    seen = _Seen.of(rows, predicted, kept)
    means, left_out = _MeanCorrection.fit(seen, residuals, predicted.spread)
    if _FOLDS <= count < _MANY:
        left_out = _refitted(seen, residuals, predicted.spread)
        strength = _strength(residuals, left_out, predicted.spread)
        means, left_out = means.times(strength), residuals - strength * (residuals - left_out)
    counted = np.abs(left_out) / predicted.spread
    factors = _shrunken_mean(counted)
    was_asked = ((rows.causes == DEFINED) | (rows.causes == CIRCUIT)) & ~was_told
    adaptation = Adaptation(
        structure.topology_id,
        structure.testbench,
        rows.technology,
        structure.metrics,
        count,
        tuple(sorted(set(predicted.has_estimates.tolist()))),
        kept,
        means,
        factors,
        _logit_offsets(predicted.defined, rows.causes == DEFINED, was_asked),
        _intervals(structure, rows.technology, counted / factors),
    )
    return Fitted(adaptation, residuals, left_out)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a correction may look at: sizes and conditions, what is said of the metrics, then the operating point."""

    numbers: Floats  # [n, inputs]
    sizes: int  # so many of the first are sizes and conditions
    said: int  # so many of those behind them are of metrics, by the network and by the table simulator

    @classmethod
    def of(cls, rows: RowInputs, predicted: Predicted, scales: Scales) -> Self:
        """Of these rows."""
        count, estimates = len(rows), scales.targets(rows.structure, rows.estimates)
        sizes = [rows.elements[:, :, _SIZES].reshape(count, -1), np.nan_to_num(rows.conditions)]
        said = [predicted.mean, np.nan_to_num(estimates), np.isfinite(estimates)]
        facts = fact_features(rows.estimated_facts).reshape(count, -1)
        numbers = np.concatenate([*sizes, *said, facts], axis=1, dtype=np.float64)
        widths = [sum(part.shape[1] for part in parts) for parts in (sizes, said)]
        return cls(numbers, *widths)


@dataclass(frozen=True, eq=False)
class _MeanCorrection:
    """A sum of a constant, of linear terms in d inputs, and of bumps around k rows; for M metrics, within limits."""

    chosen: NDArray[np.int64]  # [d], of the inputs
    centre: Floats  # [d]
    unit: Floats  # [d]
    turn: Floats  # [d, d], inputs in units to places
    places: Floats  # [k, d], of the rows
    constant: Floats  # [M]
    slopes: Floats  # [d, M], by inputs in units
    bumps: Floats  # [widths, k, M]
    low: Floats  # [M]
    high: Floats  # [M]

    @classmethod
    def fit(cls, seen: _Seen, residuals: Floats, spread: Floats) -> tuple[Self, Floats]:
        """The correction for residuals [n, M], NaN where there is none, of predictions with these spreads [n, M]; and
        what it leaves of each row [n, M] when that row is left out.
        """
        chosen = _varying(seen.numbers)
        numbers = seen.numbers[:, chosen]
        centre, unit = numbers.mean(axis=0), np.maximum(numbers.std(axis=0), _LEAST_UNIT)
        inputs = _standard(numbers, centre, unit)
        sizes, others = np.searchsorted(chosen, [seen.sizes, seen.sizes + seen.said])
        turn = _turn(inputs, residuals, int(sizes))
        said = np.zeros_like(inputs)
        said[:, sizes:others] = inputs[:, sizes:others] / np.sqrt(max(others - sizes, 1))
        places, width = inputs @ turn, np.sqrt(max(len(chosen), 1))
        # A constant; that and linear terms in what is said; that and linear terms in places; these and bumps.
        linear = 1 + places @ places.T / width**2
        kernels = [
            np.ones_like(linear), 1 + said @ said.T, linear, *(linear + bump for bump in _bumps(places, places))
        ]  # fmt: skip
        duals, left_out = np.zeros((len(kernels), *residuals.shape)), np.full(residuals.shape, np.nan)
        low, high = np.zeros(residuals.shape[1]), np.zeros(residuals.shape[1])
        for metric, has_one in enumerate(np.isfinite(residuals).T):
            if has_one.any():
                column, among = residuals[has_one, metric], [kernel[np.ix_(has_one, has_one)] for kernel in kernels]
                noise = _noise(spread[has_one, metric])
                duals[:, has_one, metric], left_out[has_one, metric] = _regressed(among, column, noise)
                low[metric], high[metric] = _limits(column)
        slopes = turn @ places.T @ duals[2:].sum(axis=0) / width**2
        slopes[sizes:others] += said[:, sizes:others].T @ duals[1] / np.sqrt(max(others - sizes, 1))
        correction = cls(chosen, centre, unit, turn, places, duals.sum(axis=(0, 1)), slopes, duals[3:], low, high)
        return correction, left_out

    def of(self, numbers: Floats) -> Floats:
        """What to add to the means [n, M] of rows with these inputs."""
        inputs = _standard(numbers[:, self.chosen], self.centre, self.unit)
        found = self.constant + inputs @ self.slopes
        for bump, duals in zip(_bumps(inputs @ self.turn, self.places), self.bumps, strict=True):
            found += bump @ duals
        return np.clip(found, self.low, self.high)

    def times(self, strength: Floats) -> Self:
        """So much [M] of the correction."""
        scaled = {name: getattr(self, name) * strength for name in ("constant", "slopes", "bumps", "low", "high")}
        return replace(self, **scaled)


def _strength(residuals: Floats, left_out: Floats, spread: Floats) -> Floats:
    """How much of the correction [M] would have been best for rows that had no part in it, from none to all of it."""
    strength = np.ones(residuals.shape[1])
    for metric, has_one in enumerate(np.isfinite(residuals).T):
        if has_one.any():
            wanted, left = residuals[has_one, metric], left_out[has_one, metric]
            noise = _noise(spread[has_one, metric])
            trust, correction = _trust(left / noise) / noise, wanted - left
            square = float((trust * correction**2).sum())
            strength[metric] = np.clip((trust * correction * wanted).sum() / square, 0.0, 1.0) if square > 0 else 1.0
    return strength


def _refitted(seen: _Seen, residuals: Floats, spread: Floats) -> Floats:
    """What corrections leave of rows [n, M] that had no part in them at all, in none of their choices either."""
    left_out, fold = np.empty_like(residuals), np.arange(len(residuals)) % _FOLDS
    for number in range(_FOLDS):
        out = fold == number
        means, _ = _MeanCorrection.fit(replace(seen, numbers=seen.numbers[~out]), residuals[~out], spread[~out])
        left_out[out] = residuals[out] - means.of(seen.numbers[out])
    return left_out


def _varying(numbers: Floats) -> NDArray[np.int64]:
    """Which inputs are not the same in all rows; of those that differ by a constant alone, such as the sizes of a
    matched pair, the first.
    """
    deviations = numbers - numbers.mean(axis=0)
    varying = np.flatnonzero(deviations.std(axis=0) > _ALIKE)
    _, first = np.unique(np.round(deviations[:, varying] / _ALIKE), axis=1, return_index=True)
    return np.asarray(varying[np.sort(first)], np.int64)


def _standard(numbers: Floats, centre: Floats, unit: Floats) -> Floats:
    return np.asarray(np.clip((numbers - centre) / unit, -_FARTHEST, _FARTHEST))


def _turn(inputs: Floats, residuals: Floats, sizes: int) -> Floats:
    """[d, d], to places where what matters more is farther apart: the root of the metric, of mean eigenvalue 1."""
    count, width = inputs.shape
    turn = np.eye(width)
    columns = _unit_columns(residuals)
    mixed = np.eye(width)
    mixed[:sizes, :sizes] = count / (count + max(sizes, 1))
    np.fill_diagonal(mixed, 1.0)
    for _ in range(_ROUNDS):
        products = _outer_products(inputs @ turn, columns)
        products = mixed * (turn @ products @ turn)
        if not products.trace() > 0:
            break
        values, vectors = np.linalg.eigh(products)
        shares = np.sqrt(np.maximum(values, 0.0))
        shares = _KEPT + (1 - _KEPT) * shares / shares.mean()
        turn = (vectors * np.sqrt(shares)) @ vectors.T
    return turn


def _unit_columns(residuals: Floats) -> Floats:
    """Those columns that vary, around their means and in their standard deviations; 0 where there is none."""
    counts = np.maximum(np.isfinite(residuals).sum(axis=0), 1)
    means = np.nansum(residuals, axis=0) / counts
    deviations = np.nan_to_num(residuals - means)
    spreads = deviations.std(axis=0)
    return np.asarray(deviations[:, spreads > LEAST_SPREAD] / spreads[spreads > LEAST_SPREAD])


def _outer_products(places: Floats, columns: Floats) -> Floats:
    """[d, d], the mean outer product of the gradients of a regression of each column, by how well it does."""
    count, width = places.shape
    bump = next(each for each, width_of in zip(_bumps(places, places), _WIDTHS, strict=True) if width_of == 1.0)
    kernel = 1 + places @ places.T / max(width, 1) + bump
    products = np.zeros((width, width))
    for column in columns.T:
        errors, duals = _left_out(kernel, column, np.ones(count))
        best = int((errors**2).sum(axis=1).argmin())
        explained = 1 - (errors[best] ** 2).mean()
        if explained > 0:
            pull = bump * duals[best]
            gradients = (duals[best] @ places + pull @ places - pull.sum(axis=1)[:, None] * places) / width
            products += explained * gradients.T @ gradients / count
    return products


def _bumps(places: Floats, others: Floats) -> Iterator[Floats]:
    """exp(-distance^2 / (2 width^2)) [n, k] for each of `_WIDTHS`, distances being root mean squares over inputs."""
    apart = (places**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * places @ others.T
    bump = np.exp(np.maximum(apart, 0.0) / (-2 * _WIDTHS[0] ** 2 * max(places.shape[1], 1)))
    for _ in _WIDTHS:
        yield bump
        bump = np.square(np.square(bump))


def _noise(spread: Floats) -> Floats:
    """How noisy each row is beside the one in the middle, as far as the network's own spread [n] can be trusted."""
    return np.asarray(np.clip(spread / np.median(spread), 1 / _MOST_NOISE, _MOST_NOISE))


def _regressed(kernels: list[Floats], residuals: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Dual coefficients [kernel, n] of an average over kernels and noises, and what it leaves of left-out rows [n].

    Every candidate, no correction among them, counts by the likelihood of the left-out residuals under it. A second
    fit trusts rows less that the first one left far off for their `noise`.

    Reference:
        [yao2018stacking] on weights by left-out likelihood ("pseudo-BMA"), [lange1989robust] on weights of rows under
        Student's t distribution.
    """
    left = np.zeros_like(residuals)
    for _ in range(2):
        trust = _trust(left / noise) / noise
        found = [_left_out(kernel, residuals, trust) for kernel in kernels]
        errors = np.stack([each for each, _ in found])
        shares = _shares((trust * errors**2).mean(axis=-1), (trust * residuals**2).mean(), len(residuals))
        left = residuals - np.einsum("kl,kln->n", shares, residuals - errors)
    return np.einsum("kl,kln->kn", shares, np.stack([duals for _, duals in found])), left


def _left_out(kernel: Floats, targets: Floats, trust: Floats) -> tuple[Floats, Floats]:
    """Errors of left-out rows and dual coefficients, [noise, n] both, of a regression for each of `_NOISES`."""
    root = np.sqrt(trust)
    values, vectors = np.linalg.eigh(kernel * root[:, None] * root)
    inverse = 1 / (np.maximum(values, 0.0) + _NOISES[:, None] * kernel.diagonal().mean())
    duals = (inverse * (vectors.T @ (root * targets))) @ vectors.T
    return duals / (inverse @ (vectors**2).T) / root, duals * root


def _trust(residuals: Floats) -> Floats:
    """How much each row counts that is as noisy as others, from near 0 to 1."""
    spread = _DEVIATION * np.median(np.abs(residuals)) + LEAST_SPREAD
    return np.asarray(np.maximum(1 / (1 + (residuals / spread) ** 2 / _FREEDOM), _LEAST_TRUST))


def _shares(errors: Floats, nothing: float, count: int) -> Floats:
    """Of each candidate, from its mean squared error over so many rows; what is left to 1 is of no correction, which
    has before any row as much as all of them.
    """
    least = LEAST_SPREAD**2
    likelihoods = -count / 2 * np.log(np.maximum(errors, least) / max(nothing, least))
    highest = max(float(likelihoods.max()), 0.0)
    found = np.exp(likelihoods - highest)
    return np.asarray(found / (found.sum() + errors.size * np.exp(-highest)))


def _limits(residuals: Floats) -> tuple[float, float]:
    """Of a correction."""
    low, high = min(float(residuals.min()), 0.0), max(float(residuals.max()), 0.0)
    return low - _BEYOND * (high - low), high + _BEYOND * (high - low)


def _shrunken_mean(counted: Floats) -> Floats:
    """The mean [M] of residuals in spreads [n, M], NaN where there is none, beside some rows that have just 1."""
    return np.asarray((np.nansum(counted, axis=0) + _TOLD_ROWS) / (np.isfinite(counted).sum(axis=0) + _TOLD_ROWS))


def _intervals(structure: Structure, technology: str, counted: Floats) -> ConformalIntervals:
    """Of the metrics that have enough residuals [n, M] in spreads, each by its own."""
    told = [place for place, column in enumerate(counted.T) if np.isfinite(column).sum() >= LEAST_RESIDUALS]
    metrics = [structure.metrics[place] for place in told]
    parts = [Residuals(structure.testbench, technology, tuple(metrics), counted[:, told])] if told else []
    made = calibrated(parts, least=LEAST_RESIDUALS)
    reaches: dict[Group, list[float]] = {
        (structure.testbench, technology, metric): [
            made.reach(structure.testbench, technology, metric, level) for level in made.levels
        ]
        for metric in metrics
    }
    return ConformalIntervals(made.levels, reaches)


def _logit_offsets(chances: Floats, is_true: Mask, was_asked: Mask) -> Floats:
    """What to add [M] to the logits of chances [n, M], most likely under what came true and a normal prior around 0."""
    low, high = np.full(chances.shape[1], -_MOST_LOGIT), np.full(chances.shape[1], _MOST_LOGIT)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        pull = np.where(was_asked, is_true - _moved(chances, middle), 0.0).sum(axis=0) - middle / _LOGIT_SPREAD**2
        low, high = np.where(pull > 0, middle, low), np.where(pull > 0, high, middle)
    return np.where(was_asked.any(axis=0), (low + high) / 2, 0.0)


def _moved(chances: Floats, offsets: Floats) -> Floats:
    """Chances whose logits are moved by the offsets; exactly the same where that is by nothing."""
    safe = np.clip(chances, _SURE, 1 - _SURE)
    moved = 1 / (1 + (1 - safe) / safe * np.exp(-offsets))
    return np.where(offsets == 0, chances, moved)


def _named(topology_id: str, testbench: str, technology: str) -> str:
    return f"circuit {topology_id} on {testbench} in {technology}"
