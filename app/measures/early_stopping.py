"""Fitting a small network to the targets of one group of rows, until rows left out say that it is enough.

Targets may be missing: they are left out of the error, and what is there counts the same for every metric.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float64]

_LEAST_VARIANCE = 1e-12

#: The error of some predictions, each with its target: (predictions [n], targets [n]) -> mean.
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Schooling:
    """How long a network is trained.

    `left_out` is the share of rows that say when to stop: after `patience` epochs without a lower error, after `epochs`
    in any case.
    """

    batch: int
    epochs: int
    patience: int
    left_out: float


class Standard:
    """Targets of one group around their own means, in their own standard deviations; NaN stays NaN.

    A metric that is always the same comes back as that, one without any value as 0.
    """

    def __init__(self, targets: Floats) -> None:
        has_value = np.isfinite(targets)
        counts = np.maximum(has_value.sum(axis=0), 1)
        self._mean = np.where(has_value, targets, 0.0).sum(axis=0) / counts
        variance = np.where(has_value, (targets - self._mean) ** 2, 0.0).sum(axis=0) / counts
        self._spread = np.where(variance > _LEAST_VARIANCE, np.sqrt(variance), 0.0)

    def of(self, targets: Floats) -> Floats:
        """Targets [n, M] in these units."""
        return np.asarray((targets - self._mean) / np.where(self._spread > 0, self._spread, 1.0))

    def back(self, standard: Floats) -> Floats:
        """Targets [n, M] again."""
        return np.asarray(standard * self._spread + self._mean)


def fit_early_stopped(
    network: nn.Module,
    answer: Callable[[Sequence[Tensor]], Tensor],
    inputs: Sequence[Tensor],
    targets: Tensor,
    schooling: Schooling,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> int:
    """The network has the weights of its lowest error on the rows left out; how many epochs that took.

    Args:
        network: What is trained.
        answer: Predictions [row, M] of a part of the inputs.
        inputs: Each with one entry a row.
        targets: [n, M], NaN where there is no value; two rows or more.
        schooling: How long.
        loss: Of predictions that have a target.
        optimizer: Of the network's parameters.
        schedule: Of the optimizer's rate, stepped after every batch.
    """
    order = torch.randperm(len(targets))
    left_out = max(1, round(schooling.left_out * len(targets)))
    held, learnt = order[:left_out], order[left_out:]

    def error(rows: Tensor) -> Tensor:
        found, wanted = answer([each[rows] for each in inputs]), targets[rows]
        has_value = wanted.isfinite()
        return loss(found[has_value], wanted[has_value]) if has_value.any() else found.sum() * 0

    lowest, kept, taken, waited = math.inf, copy.deepcopy(network.state_dict()), 0, 0
    for epoch in range(1, schooling.epochs + 1):
        network.train()
        for rows in torch.split(learnt[torch.randperm(len(learnt))], schooling.batch):
            optimizer.zero_grad()
            torch.autograd.backward(error(rows))
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.no_grad():
            found = float(error(held))
        waited += 1
        if found < lowest:
            lowest, kept, taken, waited = found, copy.deepcopy(network.state_dict()), epoch, 0
        elif waited >= schooling.patience:
            break
    network.load_state_dict(kept)
    network.eval()
    return taken
