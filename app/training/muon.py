"""Muon: momentum whose steps for a matrix are made orthogonal.

Torch's own (from 2.9 on) multiplies in bfloat16 whatever the processor, and on one that is slow at it a step takes
longer than the gradient.

Reference:
    [jordan2024muon], the momentum, the iteration and its coefficients; [liu2025moonlight] Eq. (4) for the scale that
    lets hidden matrices share AdamW's rates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import overload

import torch
from torch import Tensor, nn

from app.nn.precision import fast_products

#: Of the odd polynomial that the singular values are put through, and how often they are.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5

#: Least norm that a matrix is divided by.
_EPSILON = 1e-7

#: Root mean square of AdamW's steps, as measured in the reference.
_RMS = 0.2


class Muon(torch.optim.Optimizer):
    """For matrices alone. `weight_decay` is a share of each weight for a rate of 1; the momentum is Nesterov's."""

    def __init__(
        self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.dim() != 2:
                    raise ValueError(f"a parameter of shape {tuple(matrix.shape)}, Muon is for matrices alone")

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Each matrix has moved by its gradient; the closure, where there is one, is what gives the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix.grad)
                momentum = state["momentum_buffer"].lerp_(matrix.grad, 1 - group["momentum"])
                direction = orthogonal(matrix.grad.lerp(momentum, group["momentum"]))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(direction, alpha=-group["lr"] * _RMS * max(matrix.shape) ** 0.5)
        return loss


def orthogonal(matrix: Tensor) -> Tensor:
    """[m, n] -> near the product of its singular vectors: singular values of 0.7 to 1.2 for all but the smallest."""
    a, b, c = _COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    with fast_products(matrix.device.type):
        x: Tensor = matrix.T if is_tall else matrix
        x = x / x.norm().clamp(min=_EPSILON)
        for _ in range(_ITERATIONS):
            gram = x @ x.T
            x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if is_tall else x
