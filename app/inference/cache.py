"""Stepping a decoder with a static slab of keys and values: row = sequence, one token a row and step.

Attention reads all keys and values that there are, which is most of a step where sequences are long. On a processor
rows therefore attend in blocks, each as far as its own longest row: who keeps rows of like length together gains most.

The arithmetic of a row depends on nothing but the row: row counts are multiples of ROW_MULTIPLE and lengths multiples
of LENGTH_MULTIPLE, within which the matrix kernels give bit-identical rows (tests/test_inference_engine.py holds them
to it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.nn.decoder import NORM_EPSILON, Attention, Decoder, Layer, rotary_table, rotate

ROW_MULTIPLE = 4
LENGTH_MULTIPLE = 64

#: Rows of a block on a processor, a multiple of ROW_MULTIPLE; an accelerator takes all rows at once.
_BLOCK = 16

#: How matrices are multiplied.
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class _LayerWeights:
    """What one layer multiplies with, matrices in the precision of the products.

    `qk_norm` are the gains [head + kv head, head_width] of normalised queries and keys, None where they are not.
    """

    attention_norm: Tensor
    qkv: Tensor
    qk_norm: Tensor | None
    output: Tensor
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor


class SlabDecoder:
    """A decoder in evaluation with its slab. Keys and values are [layer, slot, kv head, position, head_width].

    So many rows, one after the other, are a `block`, and cost what the longest of them does.
    """

    def __init__(
        self, network: Decoder, slots: int, device: torch.device, *, length: int = 256, precision: Precision = "float32"
    ) -> None:
        self.network = network.eval().to(device)
        self.config = network.config
        self.slots = slots
        self.block = _BLOCK if device.type == "cpu" else slots
        self.device = device
        self._dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self._layers = [layer for layer in network.layers if isinstance(layer, Layer)]
        self._weights = [self._weights_of(layer) for layer in self._layers]
        self._embedding = network.embedding.weight.to(self._dtype)
        self.length = 0
        self.keys, self.values = self._slab(0), self._slab(0)
        self._grow(length)

    def _weights_of(self, layer: Layer) -> _LayerWeights:
        attention, mlp = layer.attention, layer.mlp
        return _LayerWeights(
            layer.attention_norm.weight, attention.qkv.weight.to(self._dtype), self._gains(attention),
            attention.output.weight.to(self._dtype), layer.mlp_norm.weight, mlp.gate_up.weight.to(self._dtype),
            mlp.down.weight.to(self._dtype),
        )  # fmt: skip

    def _gains(self, attention: Attention) -> Tensor | None:
        c, queries, keys = self.config, attention.query_norm, attention.key_norm
        if not (isinstance(queries, nn.RMSNorm) and isinstance(keys, nn.RMSNorm)):
            return None
        return torch.cat((queries.weight.expand(c.heads, -1), keys.weight.expand(c.kv_heads, -1)))

    def _slab(self, length: int) -> Tensor:
        c = self.config
        return torch.zeros(c.layers, self.slots, c.kv_heads, length, c.head_width, device=self.device)

    def _grow(self, length: int) -> None:
        """Slabs hold `length` positions; what they held stays."""
        keys, values = self._slab(length), self._slab(length)
        keys[:, :, :, : self.length] = self.keys
        values[:, :, :, : self.length] = self.values
        self.keys, self.values, self.length = keys, values, length
        self._cos, self._sin = rotary_table(self.config, torch.arange(length, device=self.device))
        self._positions = torch.arange(length, device=self.device)
        self._rows = torch.arange(self.slots, device=self.device)

    def reserve(self, length: int) -> None:
        """At least `length` positions fit; the slab doubles until they do."""
        if length > self.length:
            doubled = self.length
            while doubled < length:
                doubled *= 2
            self._grow(doubled)

    def prefill(self, ids: list[int]) -> tuple[Tensor, Tensor]:
        """Keys and values [layer, kv head, time, head_width] of a prompt, for `place`."""
        padded = ids + [0] * (-len(ids) % ROW_MULTIPLE)
        x = self.network.embedding(torch.tensor([padded], device=self.device))
        cos, sin = rotary_table(self.config, torch.arange(len(padded), device=self.device))
        all_keys, all_values = [], []
        for layer in self._layers:
            inside = layer.attention_norm(x)
            _, keys, values = layer.attention.split(layer.attention.qkv(inside))
            all_keys.append(rotate(keys, cos, sin)[0, :, : len(ids)])
            all_values.append(values[0, :, : len(ids)])
            x = x + layer.attention(inside, cos, sin)
            x = x + layer.mlp(layer.mlp_norm(x))
        return torch.stack(all_keys), torch.stack(all_values)

    def place(self, slot: int, keys: Tensor, values: Tensor) -> None:
        """The slot begins with these keys and values."""
        time = keys.shape[2]
        self.keys[:, slot, :, :time] = keys
        self.values[:, slot, :, :time] = values

    def move(self, target: int, source: int, length: int) -> None:
        """Slot `target` holds what `source` held in its first `length` positions."""
        self.keys[:, target, :, :length] = self.keys[:, source, :, :length]
        self.values[:, target, :, :length] = self.values[:, source, :, :length]

    def step(self, tokens: Tensor, positions: Tensor, lengths: Sequence[int]) -> Tensor:
        """Scores float32 [rows, vocab] after each row's token at its position (int64 [rows]).

        `lengths` are the positions of the rows plus one, for as many of the first rows as matter; rows are a multiple
        of ROW_MULTIPLE.
        """
        c = self.config
        rows = len(tokens)
        where = self._rows[:rows]
        cos, sin = self._cos[positions, None], self._sin[positions, None]
        blocks = self._blocks(positions, lengths)
        x = F.embedding(tokens, self.network.embedding.weight)
        for number, layer in enumerate(self._weights):
            heads = self._times(self._normalised(x, layer.attention_norm), layer.qkv)
            heads = heads.view(rows, c.heads + 2 * c.kv_heads, c.head_width)
            asking = heads[:, : c.heads + c.kv_heads]
            if layer.qk_norm is not None:
                asking = F.rms_norm(asking, (c.head_width,), None, NORM_EPSILON) * layer.qk_norm
            turned = rotate(asking, cos, sin)
            keys, values = self.keys[number], self.values[number]
            keys[where, :, positions] = turned[:, c.heads :]
            values[where, :, positions] = heads[:, c.heads + c.kv_heads :]
            mixed = [self._attend(turned[own, : c.heads], keys[own], values[own], bias) for own, bias in blocks]
            x = x + self._times(torch.cat(mixed), layer.output)
            gate, up = self._times(self._normalised(x, layer.mlp_norm), layer.gate_up).chunk(2, dim=-1)
            x = x + self._times(F.silu(gate) * up, layer.down)
        return self._times(self._normalised(x, self.network.final_norm.weight), self._embedding)

    def _normalised(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (self.config.width,), weight, NORM_EPSILON)

    def _times(self, x: Tensor, weight: Tensor) -> Tensor:
        """Float32 in and out, the product in the decoder's precision."""
        return F.linear(x.to(self._dtype), weight).to(torch.float32)

    def _blocks(self, positions: Tensor, lengths: Sequence[int]) -> list[tuple[slice, Tensor]]:
        """Rows that attend together, and their bias [rows, 1, 1, span]: nothing up to a row's position, then -inf."""
        count = len(positions)
        blocks = []
        for first in range(0, count, self.block):
            own = slice(first, min(first + self.block, count))
            longest = max(lengths[own], default=1)
            span = min(self.length, -(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE)
            hidden = self._positions[:span] > positions[own, None]
            bias = torch.zeros(hidden.shape, device=self.device).masked_fill_(hidden, float("-inf"))
            blocks.append((own, bias[:, None, None]))
        return blocks

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """[rows, width]: each row's query [rows, head, head_width] over the first positions of its slot, see `_blocks`.

        Heads that share keys share one batched product, so grouped-query attention costs what its keys weigh.
        """
        c = self.config
        rows, groups, span = len(queries), c.heads // c.kv_heads, bias.shape[-1]
        flat = (rows * c.kv_heads, self.length, c.head_width)
        scaled = (queries * c.head_width**-0.5).view(rows * c.kv_heads, groups, c.head_width)
        scores = torch.bmm(scaled, keys.view(flat)[:, :span].transpose(1, 2))
        weights = (scores.view(rows, c.kv_heads, groups, span) + bias).softmax(-1)
        mixed = torch.bmm(weights.view(rows * c.kv_heads, groups, span), values.view(flat)[:, :span])
        return mixed.view(rows, c.width)
