"""The baseline `insight`: metrics of one circuit in one technology by an autoregressive transformer over scalars.

Written from the method of [poddar2024insight], not from its code: every size and every metric is a token that carries a
number; the metrics stand from cheap to costly and each is predicted from the sizes and the metrics before it. One model
a circuit and technology, point predictions, and no cache, so a prediction of M metrics runs the network M times. On one
processor core that takes a millisecond or two a design in a batch of some hundreds, where a perceptron takes some
microseconds, and a minute of training on 200 rows where a perceptron takes a second.

Departures: the original scales some metrics to quantiles, here all have the targets that every model here is judged
by; and where its rows hold a number in the place of a metric without a value, here that metric is left out of the loss,
and its token has the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from app.measures.early_stopping import Schooling, Standard, fit_early_stopped
from app.measures.simulator_baselines import Inputs
from app.neural_simulator.arrays import Rows
from app.neural_simulator.scales import Scales

Floats = NDArray[np.float64]

#: What a token is: a size or condition, the start of the metrics, a metric.
_INPUT, _START, _METRIC = 0, 1, 2

#: Rows of a batch of predictions.
_CHUNK = 512


class InsightBaseline:
    """An autoregressive transformer: width 16, 6 layers of 4 heads.

    Trained with true metrics before the one that is asked for, on squared errors, by Adam with warm restarts
    [loshchilov2017sgdr] every 50 batches; a fifth of the rows says when to stop.

    Reference:
        [poddar2024insight]: P(y1 .. yM | x1 .. xN) as a product over the metrics.
    """

    width, heads, layers, inner = 16, 4, 6, 64
    rate, restart = 1e-3, 50

    def __init__(self, scales: Scales, seed: int = 0, schooling: Schooling | None = None) -> None:
        self._scales = scales
        self._seed = seed
        self.schooling = schooling or Schooling(batch=64, epochs=700, patience=60, left_out=0.2)

    def fit(self, rows: Rows) -> Self:
        """Train from scratch; the same seed and rows give the same network on the same kind of machine."""
        self._inputs = Inputs(rows)
        targets = self._scales.targets(rows.structure, rows.values)
        self._standard = Standard(targets)
        wanted = torch.from_numpy(self._standard.of(targets)).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            self.network = ScalarDecoder(
                self._inputs.width, targets.shape[1], self.width, self.heads, self.layers, self.inner
            )
            optimizer = torch.optim.Adam(self.network.parameters(), lr=self.rate)
            fit_early_stopped(
                self.network,
                lambda inputs: self.network(*inputs),
                [torch.from_numpy(self._inputs.of(rows)).float(), wanted.nan_to_num()],
                wanted,
                self.schooling,
                functional.mse_loss,
                optimizer,
                torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, self.restart),
            )
        return self

    def predict(self, rows: Rows, given: int = 0) -> Floats:
        """Each metric from the predictions of those before it.

        Of the first `given` metrics the true values are told instead, where there are any: what is won by simulating
        the cheap ones. Predictions of those are returned all the same.
        """
        inputs = torch.from_numpy(self._inputs.of(rows)).float()
        targets = self._standard.of(self._scales.targets(rows.structure, rows.values))
        targets[:, given:] = np.nan
        known = torch.from_numpy(targets).float()
        found = [
            self._generated(inputs[place : place + _CHUNK], known[place : place + _CHUNK])
            for place in range(0, len(rows), _CHUNK)
        ]
        return self._standard.back(np.concatenate(found) if found else np.zeros(targets.shape))

    @torch.no_grad()
    def _generated(self, inputs: Tensor, known: Tensor) -> Floats:
        told, predicted = known[:, :0], []
        for metric in range(known.shape[1]):
            predicted.append(self.network(inputs, told)[:, metric])
            is_known = known[:, metric].isfinite()
            told = torch.cat([told, torch.where(is_known, known[:, metric], predicted[-1])[:, None]], dim=1)
        return torch.stack(predicted, dim=1).double().numpy()


class ScalarDecoder(nn.Module):
    """A causal transformer over numbers: the inputs, a start, then metrics."""

    def __init__(self, inputs: int, metrics: int, width: int, heads: int, layers: int, inner: int) -> None:
        """A row has `inputs` numbers and `metrics` metrics."""
        super().__init__()
        self.metrics = metrics
        self.number = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, width))
        self.place = nn.Embedding(inputs + metrics, width)
        self.kind = nn.Embedding(3, width)
        layer = nn.TransformerEncoderLayer(width, heads, inner, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.value = nn.Linear(width, 1)

    def forward(self, inputs: Tensor, told: Tensor) -> Tensor:
        """Predictions [row, metrics told + 1] from inputs [row, inputs] and the first metrics [row, told].

        The prediction of a metric does not depend on it or those after it. Where all are told there are `metrics`.
        """
        told = told[:, : self.metrics - 1]
        numbers = torch.cat([inputs, inputs.new_zeros(len(inputs), 1), told], dim=1)
        kinds = _kinds(inputs.shape[1], told.shape[1])
        tokens = self.number(numbers[..., None]) + self.place.weight[: numbers.shape[1]] + self.kind(kinds)
        mask = nn.Transformer.generate_square_subsequent_mask(numbers.shape[1])
        read = self.layers(tokens, mask=mask, is_causal=True)
        found: Tensor = self.value(read[:, inputs.shape[1] :])[..., 0]
        return found


def _kinds(inputs: int, told: int) -> Tensor:
    kinds: Sequence[int] = [_INPUT] * inputs + [_START] + [_METRIC] * told
    return torch.tensor(kinds)
