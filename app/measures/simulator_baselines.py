"""What the neural simulator has to beat: regressors that know one topology on one testbench in one technology.

Each learns from the sizes and conditions of its rows alone, so none knows what it has not been given rows of. Any of
them may be the better choice where rows of the very circuit are plenty, which is why they stand in the same table.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from app.errors import PackageMissing
from app.measures.early_stopping import Schooling, Standard, fit_early_stopped
from app.neural_simulator.arrays import ELEMENT_KINDS, Rows
from app.neural_simulator.scales import Scales

Floats = NDArray[np.float64]

#: Fewer values of a metric than this are not regressed on: what they say is their mean.
LEAST_VALUES = 10

_SOURCES = ("voltage_source", "current_source")

#: Of a logarithm; and standard deviations below which inputs are all alike.
_LEAST_SIZE, _ALIKE = 1e-18, 1e-6

#: Rows of a batch of predictions.
_CHUNK = 4096


class Baseline(Protocol):
    """A regressor of every metric of one topology, testbench and technology."""

    def fit(self, rows: Rows) -> Self:
        """Learn from these rows, which are all of one topology, testbench and technology; metrics may lack values."""
        ...

    def predict(self, rows: Rows) -> Floats:
        """The expected target [n, M] of every metric, also of those that may have no value.

        A metric that no row of `fit` had a value of gets 0, the location of its scale.
        """
        ...


class Inputs:
    """What baselines see of rows: standardised logarithms of sizes, bias voltages, conditions, the process corner.

    What does not differ over the rows that it was made of is left out, as nothing can be learnt of it from them.
    """

    def __init__(self, rows: Rows) -> None:
        self._processes = tuple(np.unique(rows.process).tolist())
        plain = self._plain(rows)
        self._varying = plain.std(axis=0) > _ALIKE
        self._mean, self._spread = plain[:, self._varying].mean(axis=0), plain[:, self._varying].std(axis=0)

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return len(self._mean)

    def of(self, rows: Rows) -> Floats:
        """[n, width] of rows of the same topology, testbench and technology."""
        return np.asarray((self._plain(rows)[:, self._varying] - self._mean) / self._spread)

    def _plain(self, rows: Rows) -> Floats:
        sizes = rows.sizes.copy()
        # The variables of bias sources are the last ones, in the order of the elements.
        sources = [kind for kind in (ELEMENT_KINDS[kind] for kind in rows.structure.kinds) if kind in _SOURCES]
        is_voltage = np.zeros(sizes.shape[1], np.bool_)
        is_voltage[sizes.shape[1] - len(sources) :] = [kind == "voltage_source" for kind in sources]
        sizes[:, ~is_voltage] = np.log10(np.maximum(sizes[:, ~is_voltage], _LEAST_SIZE))
        corner = rows.process[:, None] == np.array(self._processes)
        return np.concatenate([sizes, np.nan_to_num(rows.conditions), corner], axis=1, dtype=np.float64)


class NearestNeighbour:
    """The value of the row of the most similar inputs that has one."""

    def __init__(self, scales: Scales) -> None:
        self._scales = scales

    def fit(self, rows: Rows) -> Self:
        """Keep the rows."""
        self._inputs = Inputs(rows)
        self._known = self._inputs.of(rows)
        self._targets = self._scales.targets(rows.structure, rows.values)
        return self

    def predict(self, rows: Rows) -> Floats:
        """Of each row and metric the value of one row that was kept."""
        inputs = self._inputs.of(rows)
        mean = np.zeros((len(rows), self._targets.shape[1]))
        for place in range(0, len(rows), _CHUNK):
            chunk = inputs[place : place + _CHUNK]
            # The square of the distance, less what is the same for every row that was kept.
            distances = (self._known**2).sum(axis=1) - 2 * chunk @ self._known.T
            for metric, targets in enumerate(self._targets.T):
                having = np.flatnonzero(np.isfinite(targets))
                if len(having):
                    nearest = having[distances[:, having].argmin(axis=1)]
                    mean[place : place + _CHUNK, metric] = targets[nearest]
        return mean


class GradientBoosting:
    """Histogram gradient boosting, one model a metric, as scikit-learn has it.

    Reference:
        [ke2017lightgbm] §3: boosting over histograms, which scikit-learn follows.
    """

    def __init__(self, scales: Scales, seed: int = 0) -> None:
        self._scales = scales
        self._seed = seed

    def fit(self, rows: Rows) -> Self:
        """Learn every metric from the rows that have a value of it.

        Raises:
            PackageMissing: scikit-learn is not installed.
        """
        try:
            from sklearn.ensemble import HistGradientBoostingRegressor
        except ImportError as missing:
            raise PackageMissing("scikit-learn", "the baseline of gradient boosting", "evaluate") from missing
        self._inputs = Inputs(rows)
        inputs, targets = self._inputs.of(rows), self._scales.targets(rows.structure, rows.values)
        self._models: list[Any] = []
        for column in targets.T:
            having = np.flatnonzero(np.isfinite(column))
            if len(having) < LEAST_VALUES:
                self._models.append(float(column[having].mean()) if len(having) else 0.0)
                continue
            model = HistGradientBoostingRegressor(
                random_state=self._seed, min_samples_leaf=min(20, max(3, len(having) // 20)), early_stopping=False
            )
            self._models.append(model.fit(inputs[having], column[having]))
        return self

    def predict(self, rows: Rows) -> Floats:
        """Every metric by its own model."""
        inputs = self._inputs.of(rows)
        mean = np.zeros((len(rows), len(self._models)))
        for place, model in enumerate(self._models):
            if isinstance(model, float):
                mean[:, place] = model
            elif len(rows):
                mean[:, place] = model.predict(inputs)
        return mean


class TopologyMlp:
    """A perceptron of three hidden layers of 128 with GELU that predicts all metrics at once.

    Metrics without a value are left out of the loss. The loss is Huber's, since single sizings at which a circuit tips
    over would rule a squared one; it was chosen, with the rest, on circuits of the simulation store for the highest R2.
    """

    width, layers = 128, 3
    rate, decay = 4e-3, 0.2

    def __init__(self, scales: Scales, seed: int = 0, schooling: Schooling | None = None) -> None:
        self._scales = scales
        self._seed = seed
        self.schooling = schooling or Schooling(batch=32, epochs=200, patience=100, left_out=0.15)

    def fit(self, rows: Rows) -> Self:
        """Train from scratch; the same seed and rows give the same network on the same kind of machine."""
        self._inputs = Inputs(rows)
        targets = self._scales.targets(rows.structure, rows.values)
        self._standard = Standard(targets)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            self.network = self._perceptron(self._inputs.width, targets.shape[1])
            optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.rate, weight_decay=self.decay)
            steps = self.schooling.epochs * max(1, math.ceil(len(rows) / self.schooling.batch))
            fit_early_stopped(
                self.network,
                lambda inputs: self.network(inputs[0]),
                [torch.from_numpy(self._inputs.of(rows)).float()],
                torch.from_numpy(self._standard.of(targets)).float(),
                self.schooling,
                partial(functional.smooth_l1_loss, beta=0.3),
                optimizer,
                torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
            )
        return self

    @torch.no_grad()
    def predict(self, rows: Rows) -> Floats:
        """All metrics of all rows at once."""
        inputs = torch.from_numpy(self._inputs.of(rows)).float()
        return self._standard.back(self.network(inputs).double().numpy())

    def _perceptron(self, inputs: int, outputs: int) -> nn.Sequential:
        widths = (inputs, *[self.width] * self.layers)
        hidden: list[nn.Module] = []
        for before, after in pairwise(widths):
            hidden += [nn.Linear(before, after), nn.GELU()]
        return nn.Sequential(*hidden, nn.Linear(widths[-1], outputs))
