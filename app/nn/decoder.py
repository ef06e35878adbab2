"""The decoder-only transformer that all our sequence models are.

RMSNorm, rotary positions, grouped-query attention, SwiGLU. The parameter layout equals that of the Llama family, so a
checkpoint can be checked against another implementation.

Reference:
    [vaswani2017attention] §3; [zhang2019rmsnorm] Eq. (4); [su2021roformer] §3.4, Eq. (34), halves instead of pairs;
    [shazeer2020glu] Eq. (5), SwiGLU without biases; [ainslie2023gqa] §2.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.nn.taps import Taps

#: Added to the mean square before the root in every RMSNorm.
NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder; saved with its weights.

    `context` is the longest sequence in training; rotary positions let inference go beyond it, at unknown quality.
    """

    vocab: int
    width: int = 256
    layers: int = 5
    heads: int = 4
    kv_heads: int = 4
    mlp_width: int = 704
    context: int = 1024
    rotary_base: float = 10_000.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """The widths divide, else ValueError."""
        if self.width % self.heads or self.heads % self.kv_heads or (self.width // self.heads) % 2:
            raise ValueError(f"heads do not divide: {asdict(self)}")

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads


def rotary_table(config: DecoderConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine [..., head_width] of the rotary angles at integer `positions` [...]."""
    half = config.head_width // 2
    rates = config.rotary_base ** (-torch.arange(half, device=positions.device, dtype=torch.float32) / half)
    angles = positions.to(torch.float32).unsqueeze(-1) * rates
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`x` [..., head_width] turned by the rotary angles; cos and sin broadcast against it."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Attention(nn.Module):
    """Causal grouped-query self-attention; queries, keys and values come from one fused projection."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        kv_width = config.kv_heads * config.head_width
        self.qkv = nn.Linear(config.width, config.width + 2 * kv_width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)

    def split(self, fused: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [batch, head, time, head_width] and keys and values [batch, kv head, time, head_width]."""
        c = self.config
        batch, time, _ = fused.shape
        heads = fused.view(batch, time, c.heads + 2 * c.kv_heads, c.head_width).transpose(1, 2)
        queries, keys, values = torch.split(heads, [c.heads, c.kv_heads, c.kv_heads], dim=1)
        return queries, keys, values

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[batch, time, width] -> the same; position t sees positions 0..t."""
        queries, keys, values = self.split(self.qkv(x))
        queries, keys = rotate(queries, cos, sin), rotate(keys, cos, sin)
        mixed = F.scaled_dot_product_attention(
            queries.to(values.dtype), keys.to(values.dtype), values, is_causal=True,
            enable_gqa=self.config.kv_heads != self.config.heads,
        )  # fmt: skip
        out: Tensor = self.output(mixed.transpose(1, 2).reshape(x.shape))
        return out


class Mlp(nn.Module):
    """SwiGLU; gate and value come from one fused projection."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.width, 2 * config.mlp_width, bias=False)
        self.down = nn.Linear(config.mlp_width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> the same."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        out: Tensor = self.down(F.silu(gate) * up)
        return out


class Layer(nn.Module):
    """Attention and MLP, each on a normalised input and added to the stream."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=NORM_EPSILON)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.width, eps=NORM_EPSILON)
        self.mlp = Mlp(config)


class Decoder(nn.Module):
    """Token ids to next-token scores. `forward` is the reference without a cache; the engine steps the same modules."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.final_norm = nn.RMSNorm(config.width, eps=NORM_EPSILON)
        self.dropout = nn.Dropout(config.dropout)
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.embedding.weight, std=0.02)
        residual_std = 0.02 / math.sqrt(2 * self.config.layers)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2 and "embedding" not in name:
                is_residual = name.endswith(("attention.output.weight", "mlp.down.weight"))
                nn.init.normal_(parameter, std=residual_std if is_residual else 0.02)

    def scores(self, hidden: Tensor) -> Tensor:
        """[..., width] -> [..., vocab]; the embedding is used again as output matrix."""
        return F.linear(self.final_norm(hidden), self.embedding.weight)

    def forward(self, ids: Tensor, taps: Taps | None = None) -> Tensor:
        """Int64 [batch, time] -> scores [batch, time, vocab]; position t is predicted from positions 0..t."""
        tap = taps or Taps()
        cos, sin = rotary_table(self.config, torch.arange(ids.shape[1], device=ids.device))
        x = tap("embedding", self.dropout(self.embedding(ids)))
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            inside = tap(f"layer.{number}.attention_input", layer.attention_norm(x))
            x = x + self.dropout(tap(f"layer.{number}.attention_output", layer.attention(inside, cos, sin)))
            inside = tap(f"layer.{number}.mlp_input", layer.mlp_norm(x))
            x = x + self.dropout(tap(f"layer.{number}.mlp_output", layer.mlp(inside)))
            x = tap(f"layer.{number}.output", x)
        return self.scores(tap("final", x))

    def parameter_count(self) -> int:
        """Trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters())
