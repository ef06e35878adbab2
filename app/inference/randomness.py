"""Counter-based random numbers: a draw is a function of (seed, index, step), so no draw depends on who shares a batch.

Reference:
    [salmon2011random] §2 on counter-based generators; the mixing function is SplitMix64 [steele2014splitmix] Fig. 15.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_WORD = (1 << 64) - 1


def _signed(value: int) -> int:
    """The int64 with the same 64 bits."""
    value &= _WORD
    return value - (1 << 64) if value >> 63 else value


def _mix(value: int) -> int:
    value = ((value ^ (value >> 30)) * _FIRST) & _WORD
    value = ((value ^ (value >> 27)) * _SECOND) & _WORD
    return value ^ (value >> 31)


def stream_key(seed: int, index: int, draw: int = 0) -> int:
    """The int64 that names the stream of item `index` under `seed`; both are 0..2**63-1.

    An item that is drawn again has another stream for each further `draw`.
    """
    key = _mix((_mix((seed + _GAMMA) & _WORD) + index * _GAMMA) & _WORD)
    return _signed(_mix((key + draw * _GAMMA) & _WORD) if draw else key)


def _shifted(value: Tensor, bits: int) -> Tensor:
    """Logical shift to the right of int64."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def uniform(keys: Tensor, steps: Tensor) -> Tensor:
    """Float64 in [0, 1) for each int64 key and step; 53 random bits each."""
    value = keys + (steps + 1) * _signed(_GAMMA)
    value = (value ^ _shifted(value, 30)) * _signed(_FIRST)
    value = (value ^ _shifted(value, 27)) * _signed(_SECOND)
    value = value ^ _shifted(value, 31)
    return _shifted(value, 11).to(torch.float64) * 2.0**-53
