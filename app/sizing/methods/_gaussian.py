"""Gaussian processes over the unit cube, one for each quantity, as BoTorch makes and fits them. Knows no circuits.

What is drawn and told is a function of the arguments alone, in threads too.
"""

from __future__ import annotations

import threading

import numpy as np
import torch
from botorch.models import SingleTaskGP
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from botorch.optim.fit import fit_gpytorch_mll_scipy
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.errors import NanError, NotPSDError
from torch import Tensor

from app.sizing._base import Floats

#: Steps of the hyper-parameters' search: the first, and later ones, which go on from the last.
_FIRST_STEPS, _STEPS = 80, 25

#: What is added to the diagonal of a covariance that is drawn from, tried in this order.
_JITTERS = (1e-8, 1e-6, 1e-4, 1e-2)

#: GPyTorch's settings belong to the process: two threads must not be inside of it together.
_LOCK = threading.Lock()


class GaussianProcesses:
    """M independent processes that know the values of n points; a prior variance of 1 each.

    Reference:
        [rasmussen2006gaussian] §2.2, Eq. (2.22)-(2.24), Matérn 5/2 kernels (§4.2) with a length for each variable;
        [hvarfner2024vanilla] §4 for the lengths' priors, which grow with the number of variables.
    """

    def __init__(self, points: Floats, values: Floats, before: GaussianProcesses | None = None) -> None:
        """The processes are fitted to values [n, M] at points [n, V]; `before` is where their search starts."""
        with _LOCK:
            self._model = _fitted(torch.from_numpy(points), torch.from_numpy(values), before)
            self._points = torch.from_numpy(points)
            self._mean = self._model.mean_module.constant.detach().reshape(-1)  # [M]
            noise = self._model.likelihood.noise.detach().reshape(-1, 1, 1)
            own = self._kernel(self._points, self._points) + noise * torch.eye(len(points), dtype=torch.float64)
            self._root = _cholesky(own)  # [M, n, n]
            rest = (torch.from_numpy(values) - self._mean).T[..., None]
            self._weights = torch.cholesky_solve(rest, self._root)  # [M, n, 1]

    @property
    def lengths(self) -> Floats:
        """[M, V]: how far along each variable a process remembers."""
        covariance = self._model.covar_module
        return np.asarray(covariance.lengthscale.detach().reshape(len(self._mean), -1).numpy(), dtype=np.float64)

    def told(self, points: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation [n, M] at points [n, V]."""
        with _LOCK:
            mean, reach = self._known(torch.from_numpy(points))
        variance = (1.0 - reach.square().sum(dim=1)).clamp(min=1e-10)
        return mean.T.numpy(), variance.sqrt().T.numpy()

    def drawn(self, points: Floats, count: int, rng: np.random.Generator) -> Floats:
        """[count, n, M]: functions drawn from the processes at points [n, V], in deviations off the mean there."""
        normal = torch.from_numpy(rng.standard_normal((len(self._mean), len(points), count)))
        with _LOCK:
            _, reach = self._known(torch.from_numpy(points))
            covariance = self._kernel(torch.from_numpy(points), torch.from_numpy(points))
            covariance = covariance - reach.transpose(1, 2) @ reach
            root = _cholesky(covariance)
        deviation = root.square().sum(dim=2, keepdim=True).sqrt()
        return np.asarray((root @ normal / deviation).permute(2, 1, 0).numpy(), dtype=np.float64)

    def _known(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [M, k] at points, and what the values take away: the root [M, n, k] of a covariance."""
        across = self._kernel(self._points, points)
        mean = self._mean[:, None] + (across.transpose(1, 2) @ self._weights)[..., 0]
        return mean, torch.linalg.solve_triangular(self._root, across, upper=False)

    def _kernel(self, first: Tensor, second: Tensor) -> Tensor:
        """[M, n, k]."""
        with torch.no_grad():
            found: Tensor = self._model.covar_module(first, second).to_dense()
        return found.expand(len(self._mean), len(first), len(second))


def _fitted(points: Tensor, values: Tensor, before: GaussianProcesses | None) -> SingleTaskGP:
    """The model at the most likely hyper-parameters; where the search breaks off, at those that it began with.

    BoTorch's own `fit_gpytorch_mll` begins again from random numbers of the process when it is not content.
    """
    count = values.shape[1]
    kernel = get_covar_module_with_dim_scaled_prior(
        ard_num_dims=points.shape[1],
        batch_shape=torch.Size([count] if count > 1 else []),
        use_rbf_kernel=False,
    )
    model = SingleTaskGP(points, values, covar_module=kernel, outcome_transform=None)
    if before is not None:
        model.load_state_dict(before._model.state_dict())
    first = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    try:
        fit_gpytorch_mll_scipy(
            ExactMarginalLogLikelihood(model.likelihood, model),
            options={"maxiter": _FIRST_STEPS if before is None else _STEPS},
        )
    except (NanError, NotPSDError):
        model.load_state_dict(first)
    return model.eval()


def _cholesky(covariance: Tensor) -> Tensor:
    """The root of covariances [M, n, n]; what rounding took from their diagonal is given back."""
    eye = torch.eye(covariance.shape[-1], dtype=covariance.dtype)
    root = eye
    for jitter in _JITTERS:
        root, failed = torch.linalg.cholesky_ex(covariance + jitter * eye)
        if not bool(failed.any()):
            break
    return root
