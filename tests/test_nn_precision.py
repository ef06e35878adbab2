"""Matrix products in bfloat16 where the processor is fast at it."""

from __future__ import annotations

import pytest
import torch

from app.nn import precision
from app.nn.precision import fast_products


@pytest.mark.parametrize("is_fast", [True, False])
@pytest.mark.parametrize("is_wanted", [True, False])
def test_products_are_in_bfloat16_where_that_is_wanted_and_fast(
    is_fast: bool, is_wanted: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device_type: is_fast)
    with fast_products("cpu", is_wanted=is_wanted):
        product = torch.ones(2, 3) @ torch.ones(3, 2)
    assert product.dtype == (torch.bfloat16 if is_fast and is_wanted else torch.float32)


def test_an_accelerator_is_taken_to_be_fast():
    assert precision.has_fast_bfloat16("cuda")
    assert isinstance(precision.has_fast_bfloat16("cpu"), bool)
