"""The decoder-only transformer that all our sequence models are.

RMSNorm, rotary positions, grouped-query attention, SwiGLU. The parameter layout equals that of the Llama family, or of
Qwen3 where queries and keys are normalised, so a checkpoint can be checked against another implementation.

Reference:
    [vaswani2017attention] §3; [zhang2019rmsnorm] Eq. (4); [su2021roformer] §3.4, Eq. (34), halves instead of pairs;
    [shazeer2020glu] Eq. (5), SwiGLU without biases; [ainslie2023gqa] §2; [henry2020querykey] §3 for normalised queries
    and keys, with RMSNorm and gains of their own as in [yang2025qwen3] §2.
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
    `qk_norm` normalises every query and key before it is turned.
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
    qk_norm: bool = False

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


def own_sentence_mask(positions: Tensor) -> Tensor:
    """Bool [batch, 1, time, time] for rows that hold whole sentences one after the other: position t sees 0..t of its
    own sentence. `positions` int64 [batch, time] count from the first token of each sentence.
    """
    places = torch.arange(positions.shape[1], device=positions.device)
    starts = places - positions
    is_own = starts.unsqueeze(2) == starts.unsqueeze(1)
    return (is_own & (places.unsqueeze(1) >= places)).unsqueeze(1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`x` [..., head_width] turned by the rotary angles; cos and sin broadcast against it."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


#: Positions whose queries `plain_attention` takes together.
_PLAIN_BLOCK = 128


def plain_attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attention by two products and a softmax: queries [batch, head, time, head_width], keys and values [batch, kv
    head, time, head_width], mask as in `own_sentence_mask` or None for a causal one -> like the queries.

    Queries are taken in blocks, each with the keys up to its own end: half of the work of a whole square.
    """
    batch, heads, time, width = queries.shape
    groups = keys.shape[1]
    sharing = heads // groups
    scaled = (queries * width**-0.5).reshape(batch * groups, sharing, time, width)
    keys, values = (
        keys.reshape(batch * groups, time, width).transpose(1, 2),
        values.reshape(batch * groups, time, width),
    )
    if mask is None:
        mask = torch.ones(1, 1, time, time, dtype=torch.bool, device=queries.device).tril()
    hidden = torch.zeros(mask.shape, dtype=queries.dtype, device=queries.device).masked_fill_(~mask, -torch.inf)
    mixed = []
    for start in range(0, time, _PLAIN_BLOCK):
        end = min(time, start + _PLAIN_BLOCK)
        rows = hidden[:, :, start:end, :end].repeat(1, 1, sharing, 1)
        rows = rows.expand(-1, groups, -1, -1).flatten(0, 1) if len(hidden) > 1 else rows[0]
        block = scaled[:, :, start:end].reshape(batch * groups, sharing * (end - start), width)
        shares = torch.softmax(torch.baddbmm(rows, block, keys[:, :, :end]), dim=-1)
        mixed.append(torch.bmm(shares, values[:, :end]).view(batch * groups, sharing, end - start, width))
    return torch.cat(mixed, dim=2).view(queries.shape)


def _is_plain_faster(values: Tensor) -> bool:
    """With its backward pass in bfloat16, the CPU's fused kernel takes 3 times as long for 300 and 700 positions, and
    2.3 times for 1,800.
    """
    return values.dtype == torch.bfloat16 and values.requires_grad and values.device.type == "cpu"


class Dropout(nn.Module):
    """Zeroes a share of the numbers while training, and scales the others to keep the mean. On a CPU the share is a
    multiple of 1/256, since random bytes cost a quarter of what random numbers do.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """[...] -> the same."""
        if x.device.type != "cpu" or not self.training:
            return F.dropout(x, self.share, self.training)
        dropped = round(self.share * 256)
        if dropped == 0:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        is_kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
        return x * (is_kept.to(x.dtype) * (256 / (256 - dropped)))


class Attention(nn.Module):
    """Causal grouped-query self-attention; queries, keys and values come from one fused projection."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        kv_width = config.kv_heads * config.head_width
        self.qkv = nn.Linear(config.width, config.width + 2 * kv_width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)
        self.query_norm: nn.Module = nn.Identity()
        self.key_norm: nn.Module = nn.Identity()
        if config.qk_norm:
            self.query_norm = nn.RMSNorm(config.head_width, eps=NORM_EPSILON)
            self.key_norm = nn.RMSNorm(config.head_width, eps=NORM_EPSILON)

    def split(self, fused: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [batch, head, time, head_width] and keys and values [batch, kv head, time, head_width]; queries and
        keys are normalised where the configuration says so, and not turned yet.
        """
        c = self.config
        batch, time, _ = fused.shape
        heads = fused.view(batch, time, c.heads + 2 * c.kv_heads, c.head_width).transpose(1, 2)
        queries, keys, values = torch.split(heads, [c.heads, c.kv_heads, c.kv_heads], dim=1)
        return self.query_norm(queries), self.key_norm(keys), values

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, time, width] -> the same; position t sees positions 0..t, or what `mask` lets it see."""
        queries, keys, values = self.split(self.qkv(x))
        queries, keys = rotate(queries, cos, sin).to(values.dtype), rotate(keys, cos, sin).to(values.dtype)
        if _is_plain_faster(values):
            out: Tensor = self.output(plain_attention(queries, keys, values, mask).transpose(1, 2).reshape(x.shape))
            return out
        sharing = self.config.heads // self.config.kv_heads
        if mask is not None and sharing > 1:
            # With a mask, the memory-saving kernels want every query head's own keys.
            keys, values = keys.repeat_interleave(sharing, 1), values.repeat_interleave(sharing, 1)
        mixed = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=mask is None and sharing > 1
        )
        out = self.output(mixed.transpose(1, 2).reshape(x.shape))
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
        self.dropout = Dropout(config.dropout)
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

    def forward(self, ids: Tensor, taps: Taps | None = None, positions: Tensor | None = None) -> Tensor:
        """Int64 [batch, time] -> scores [batch, time, vocab]; what follows position t is told from positions 0..t.

        With `positions`, int64 [batch, time], a row holds whole sentences one after the other; each is treated as if
        it had a row of its own.
        """
        tap = taps or Taps()
        mask: Tensor | None = None
        if positions is None:
            cos, sin = rotary_table(self.config, torch.arange(ids.shape[1], device=ids.device))
        else:
            cos, sin = (table.unsqueeze(1) for table in rotary_table(self.config, positions))
            mask = own_sentence_mask(positions)
        x = tap("embedding", self.dropout(self.embedding(ids)))
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            inside = tap(f"layer.{number}.attention_input", layer.attention_norm(x))
            x = x + self.dropout(tap(f"layer.{number}.attention_output", layer.attention(inside, cos, sin, mask)))
            inside = tap(f"layer.{number}.mlp_input", layer.mlp_norm(x))
            x = x + self.dropout(tap(f"layer.{number}.mlp_output", layer.mlp(inside)))
            x = tap(f"layer.{number}.output", x)
        return self.scores(tap("final", x))

    def parameter_count(self) -> int:
        """Trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters())
