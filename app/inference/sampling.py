"""From scores to the next token of every row. Knows neither networks nor circuits."""

from __future__ import annotations

import torch
from torch import Tensor

_ALMOST_ONE = 1.0 - 2.0**-40

#: The likeliest tokens, among which most nuclei end: only rows whose nucleus is wider have all of theirs sorted.
_LIKELIEST = 64


def nucleus(probabilities: Tensor, top_p: Tensor) -> Tensor:
    """Float [rows, vocab]: zero outside the smallest set of tokens whose mass reaches `top_p` [rows]; not renormalised.

    A row with `top_p` 1 keeps everything: a running sum in float32 reaches 1 before the last of many small numbers, and
    a row must not depend on whether a neighbour is narrowed.

    Reference:
        [holtzman2020nucleus] §3.1, Eq. (2). Ties at the threshold are all kept.
    """
    likeliest = probabilities.topk(min(_LIKELIEST, probabilities.shape[-1]), dim=-1).values
    threshold = _threshold(likeliest, top_p)
    wide = ((likeliest.cumsum(-1)[:, -1] < top_p) & (top_p < 1.0)).nonzero()[:, 0]
    if len(wide):
        threshold[wide] = _threshold(probabilities[wide].sort(dim=-1, descending=True).values, top_p[wide])
    return torch.where((probabilities >= threshold) | (top_p[:, None] >= 1.0), probabilities, 0.0)


def _threshold(ordered: Tensor, top_p: Tensor) -> Tensor:
    """[rows, 1]: the last of the falling probabilities [rows, n] that belongs to the nucleus."""
    before = ordered.cumsum(-1) - ordered
    kept = (before < top_p[:, None]).sum(-1, keepdim=True).clamp(min=1)
    return ordered.gather(1, kept - 1)


def masked_nats(scores: Tensor, mask: Tensor, temperature: Tensor) -> Tensor:
    """Float32 [rows], at least 0: minus the logarithm of the probability mass that is on legal tokens.

    The arguments are those of `sample`. Zero where every token is legal; added up over a sequence it is how much less
    likely the network alone was to stay legal at every step.
    """
    scaled = scores / temperature[:, None]
    legal = torch.where(mask, scaled, float("-inf"))
    return (scaled.logsumexp(-1) - legal.logsumexp(-1)).clamp(min=0.0)


def sample(scores: Tensor, mask: Tensor, temperature: Tensor, top_p: Tensor | None, draws: Tensor) -> Tensor:
    """Int64 [rows]: one token a row by inverting the cumulative distribution at `draws`.

    Args:
        scores: float32 [rows, vocab].
        mask: bool [rows, vocab], True where a token is legal; every row has one.
        temperature: float32 [rows], above 0.
        top_p: float32 [rows] in (0, 1], or None where every row takes the whole distribution.
        draws: float64 [rows] in [0, 1).
    """
    scaled = torch.where(mask, scores / temperature[:, None], float("-inf"))
    probabilities = scaled.softmax(-1)
    if top_p is not None:
        probabilities = nucleus(probabilities, top_p)
    cumulative = probabilities.to(torch.float64).cumsum(-1)
    target = draws.clamp(max=_ALMOST_ONE)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True)[:, 0]
