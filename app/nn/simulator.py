"""The network of the neural simulator: elements of a circuit with their sizes, then the metrics that are asked for.

Elements attend to each other with a bias for how they are wired, and send messages along the wires, one map for every
pair of pins that may share a net. Metrics are queries: each looks at the elements, at the conditions, and at the other
metrics, of which some may be known. What a cheaper simulator estimates goes in beside each element and metric; a mean
is that estimate, as far as the network believes it, plus a correction.

Reference:
    [vaswani2017attention] §3; [ying2021graphormer] §3.1.2, Eq. (6), a bias of the attention from the graph;
    [schlichtkrull2018rgcn] Eq. (2), messages by relation; [jaegle2022perceiverio] §3.1, outputs as queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.nn.decoder import NORM_EPSILON, Dropout

#: States of a metric's value that the caller may know: not known, known, known to have none.
UNKNOWN, KNOWN, KNOWN_UNDEFINED = 0, 1, 2
_STATES = 3

#: What is told of a metric: the correction, the trust in the estimate, the logarithm of the spread, definedness.
_HEADS = 4


@dataclass(frozen=True)
class SimulatorConfig:
    """The shape of a simulator network; saved with its weights.

    `relations` are pairs of pins that may share a net, `fact_features` and `estimate_features` the numbers that tell
    of the estimated operating point of an element and of the estimate of a metric.
    """

    kinds: int
    net_classes: int
    pins: int
    relations: int
    element_features: int
    fact_features: int
    facts: int
    conditions: int
    estimate_features: int
    testbenches: int
    metrics: int
    width: int = 64
    heads: int = 4
    element_layers: int = 3
    metric_layers: int = 2
    mlp_width: int = 128
    message_width: int = 8
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """The heads divide the width, else ValueError."""
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} does not divide into {self.heads} heads")


@dataclass(frozen=True, eq=False)
class CircuitTensors:
    """A wired topology: E elements, M metrics."""

    kinds: Tensor  # int64 [E]
    nets: Tensor  # int64 [E, pins]
    shared: Tensor  # float [E, E, relations], 1 where two pins share a net
    testbench: Tensor  # int64 []
    metrics: Tensor  # int64 [M]


@dataclass(frozen=True, eq=False)
class RowTensors:
    """What is known of n sizings of one wired topology; every number is finite."""

    elements: Tensor  # float [n, E, element_features]
    facts: Tensor  # float [n, E, fact_features], of the estimated operating point
    conditions: Tensor  # float [n, conditions]
    estimates: Tensor  # float [n, M], targets; 0 where there is none
    estimate_features: Tensor  # float [n, M, estimate_features]
    known: Tensor  # float [n, M], targets; 0 where unknown
    states: Tensor  # int64 [n, M], UNKNOWN, KNOWN or KNOWN_UNDEFINED


@dataclass(frozen=True, eq=False)
class Told:
    """What the network says of n sizings."""

    mean: Tensor  # float [n, M], targets
    log_spread: Tensor  # float [n, M]
    defined: Tensor  # float [n, M], log odds
    facts: Tensor  # float [n, E, facts]
    summary: Tensor  # float [n, width], of the whole circuit: what is near in it is alike


class _Mlp(nn.Module):
    """SwiGLU on a normalised input."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=NORM_EPSILON)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> the same."""
        gate, up = self.gate_up(self.norm(x)).chunk(2, dim=-1)
        out: Tensor = self.down(F.silu(gate) * up)
        return out


def _heads(x: Tensor, heads: int) -> Tensor:
    """[n, T, width] -> [n, heads, T, width / heads]."""
    return x.view(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(1, 2)


def _mixed(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Attention of few tokens: [n, heads, T, w] of each -> [n, T, heads * w]."""
    scores = queries @ keys.transpose(-2, -1) * queries.shape[-1] ** -0.5
    shares = torch.softmax(scores if bias is None else scores + bias, dim=-1)
    return (shares @ values).transpose(1, 2).flatten(2)


class ElementLayer(nn.Module):
    """Elements look at each other and send messages along shared nets. The first token stands for the conditions."""

    def __init__(self, config: SimulatorConfig) -> None:
        super().__init__()
        self.heads, self.message_width = config.heads, config.message_width
        self.norm = nn.RMSNorm(config.width, eps=NORM_EPSILON)
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.bias = nn.Linear(config.relations, config.heads)
        self.message = nn.Linear(config.width, config.relations * config.message_width, bias=False)
        self.output = nn.Linear(config.width + config.relations * config.message_width, config.width, bias=False)
        self.mlp = _Mlp(config.width, config.mlp_width)

    def forward(self, x: Tensor, shared: Tensor, routes: Tensor, dropout: nn.Module) -> Tensor:
        """[n, 1 + E, width], [1 + E, 1 + E, relations], [relations, 1 + E, 1 + E] -> the same as the first.

        `routes` are `shared` by relation, each row divided by the root of how many send to it.
        """
        inside = self.norm(x)
        queries, keys, values = (_heads(part, self.heads) for part in self.qkv(inside).chunk(3, dim=-1))
        seen = _mixed(queries, keys, values, self.bias(shared).permute(2, 0, 1))
        sent = (
            self.message(inside).view(*x.shape[:-1], len(routes), self.message_width).permute(0, 2, 1, 3)
        )  # [n, relations, 1 + E, w]
        heard = (routes.to(sent.dtype) @ sent).transpose(1, 2).flatten(2)
        x = x + dropout(self.output(torch.cat((seen, heard), dim=-1)))
        out: Tensor = x + dropout(self.mlp(x))
        return out


class MetricLayer(nn.Module):
    """Metrics look at the elements, at the conditions and at each other."""

    def __init__(self, config: SimulatorConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm = nn.RMSNorm(config.width, eps=NORM_EPSILON)
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.seen = nn.Linear(config.width, 2 * config.width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)
        self.mlp = _Mlp(config.width, config.mlp_width)

    def forward(self, x: Tensor, elements: Tensor, dropout: nn.Module) -> Tensor:
        """[n, M, width] and normalised [n, 1 + E, width] -> the same as the first."""
        queries, keys, values = self.qkv(self.norm(x)).chunk(3, dim=-1)
        more_keys, more_values = self.seen(elements).chunk(2, dim=-1)
        mixed = _mixed(
            _heads(queries, self.heads),
            _heads(torch.cat((more_keys, keys), dim=1), self.heads),
            _heads(torch.cat((more_values, values), dim=1), self.heads),
            None,
        )
        x = x + dropout(self.output(mixed))
        out: Tensor = x + dropout(self.mlp(x))
        return out


class SimulatorNetwork(nn.Module):
    """From sizings of one wired topology to what is told of its metrics."""

    def __init__(self, config: SimulatorConfig) -> None:
        super().__init__()
        self.config = config
        width, inputs = config.width, config.element_features + config.fact_features
        self.element_inputs = nn.Parameter(torch.randn(config.kinds, inputs, width) * inputs**-0.5)
        self.kind_embedding = nn.Embedding(config.kinds, width)
        self.net_embedding = nn.Embedding(config.pins * config.net_classes, width)
        self.condition_inputs = nn.Linear(config.conditions, width)
        self.testbench_embedding = nn.Embedding(config.testbenches, width)
        self.metric_embedding = nn.Embedding(config.metrics, width)
        self.state_embedding = nn.Embedding(_STATES, width)
        self.metric_inputs = nn.Linear(2 + config.estimate_features, width, bias=False)
        self.element_layers = nn.ModuleList(ElementLayer(config) for _ in range(config.element_layers))
        self.element_norm = nn.RMSNorm(width, eps=NORM_EPSILON)
        self.fact_heads = nn.Parameter(torch.zeros(config.kinds, width, config.facts))
        self.metric_layers = nn.ModuleList(MetricLayer(config) for _ in range(config.metric_layers))
        self.metric_norm = nn.RMSNorm(width, eps=NORM_EPSILON)
        self.metric_heads = nn.Parameter(torch.zeros(config.metrics, width, _HEADS))
        self.head_biases = nn.Parameter(torch.zeros(config.metrics, _HEADS))
        self.dropout = Dropout(config.dropout)
        for embedding in (self.kind_embedding, self.net_embedding, self.testbench_embedding, self.metric_embedding):
            nn.init.normal_(embedding.weight, std=0.5)
        nn.init.zeros_(self.state_embedding.weight)

    def forward(self, circuit: CircuitTensors, rows: RowTensors) -> Told:
        """What is told of every row."""
        elements = self._elements(circuit, rows)
        x = self._queries(circuit, rows)
        for layer in self.metric_layers:
            x = layer(x, elements, self.dropout)
        heads = torch.einsum("nmw,mwh->nmh", self.metric_norm(x), self.metric_heads[circuit.metrics])
        delta, trust, log_spread, defined = (heads + self.head_biases[circuit.metrics]).float().unbind(-1)
        # Three is 95 % trust at the start.
        mean = torch.sigmoid(trust + 3.0) * rows.estimates + delta
        facts = torch.einsum("new,ewf->nef", elements[:, 1:], self.fact_heads[circuit.kinds])
        return Told(mean, log_spread, defined, facts.float(), elements[:, 0].float())

    def _elements(self, circuit: CircuitTensors, rows: RowTensors) -> Tensor:
        """[n, 1 + E, width], normalised; the first token stands for the conditions."""
        config = self.config
        places = circuit.nets + config.net_classes * torch.arange(config.pins, device=circuit.nets.device)
        fixed = self.kind_embedding(circuit.kinds) + self.net_embedding(places).sum(dim=1)
        numbers = torch.cat((rows.elements, rows.facts), dim=-1)
        varying = torch.einsum("nef,efw->new", numbers, self.element_inputs[circuit.kinds])
        whole = self.condition_inputs(rows.conditions) + self.testbench_embedding(circuit.testbench)
        x = torch.cat((whole.unsqueeze(1), fixed + varying), dim=1)
        shared = F.pad(circuit.shared, (0, 0, 1, 0, 1, 0))
        routes = (shared / shared.sum(dim=1, keepdim=True).clamp(min=1.0).sqrt()).permute(2, 0, 1)
        for layer in self.element_layers:
            x = layer(x, shared, routes, self.dropout)
        out: Tensor = self.element_norm(x)
        return out

    def _queries(self, circuit: CircuitTensors, rows: RowTensors) -> Tensor:
        """[n, M, width]: which metric, what is estimated, what is known."""
        numbers = torch.cat((rows.estimates.unsqueeze(-1), rows.known.unsqueeze(-1), rows.estimate_features), dim=-1)
        asked = self.metric_embedding(circuit.metrics) + self.state_embedding(rows.states)
        out: Tensor = asked + self.metric_inputs(numbers)
        return out

    def parameter_count(self) -> int:
        """Trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters())
