"""The precision of matrix products where speed is all that is asked of it."""

from __future__ import annotations

import torch


def fast_products(device_type: str, *, is_wanted: bool = True) -> torch.autocast:
    """A context in which matrix products are in bfloat16, where that `is_wanted` and the device is fast at it.

    A processor without instructions for bfloat16 (x86 before AVX-512) takes 20 times as long for it as for float32,
    and keeps to float32.
    """
    return torch.autocast(device_type, torch.bfloat16, enabled=is_wanted and has_fast_bfloat16(device_type))


def has_fast_bfloat16(device_type: str) -> bool:
    """Whether a device multiplies in bfloat16 faster than in float32, as every accelerator is taken to."""
    return device_type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
