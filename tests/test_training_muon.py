"""Steps of Muon: what a matrix moves by."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from app.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16), (1, 5)])
def test_the_singular_values_of_a_direction_are_near_one(shape: tuple[int, int]):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    values = (left.T @ orthogonal(matrix).float() @ right.T).diagonal()
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_direction_does_not_hang_on_the_size_of_the_gradient():
    matrix = torch.randn(6, 9, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(orthogonal(1e4 * matrix), orthogonal(matrix), rtol=0, atol=2e-2)
    assert torch.equal(orthogonal(torch.zeros(3, 4)), torch.zeros(3, 4))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this version of torch has no Muon to compare with")
@pytest.mark.parametrize("shape", [(12, 30), (30, 12)])
def test_steps_are_those_of_torch_within_its_rounding(shape: tuple[int, int]):
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(shape, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = (
        Muon([ours], lr=0.02, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(6):
        gradient = torch.randn(shape, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved = (theirs - start).norm()
    assert moved > 0.1
    assert (ours - theirs).norm() < 0.02 * moved


def test_a_step_by_hand():
    matrix = nn.Parameter(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    matrix.grad = torch.eye(2)
    Muon([matrix], lr=0.5, weight_decay=0.2).step()
    step = orthogonal(torch.eye(2)).float() * 0.5 * 0.2 * 2**0.5
    torch.testing.assert_close(matrix.detach(), torch.tensor([[2.7, 0.0], [0.0, 3.6]]) - step)


def test_a_matrix_without_a_gradient_stays_and_a_closure_tells_the_loss():
    matrix = nn.Parameter(torch.ones(2, 2))
    assert Muon([matrix], lr=0.1).step(lambda: 1.5) == 1.5
    assert torch.equal(matrix, torch.ones(2, 2))


def test_anything_but_a_matrix_is_refused():
    with pytest.raises(ValueError, match=r"a parameter of shape \(3,\), Muon is for matrices alone"):
        Muon([nn.Parameter(torch.ones(3))], lr=0.1)
