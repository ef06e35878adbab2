"""The training loop: a stream of sentences into weights. Resumable after a kill; knows no circuits."""

from __future__ import annotations

import json
import logging
import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.errors import Unavailable
from app.nn.decoder import Decoder, DecoderConfig
from app.training.recipe import Recipe
from app.training.sentences import IGNORED, SentenceStream, group_by_tokens, pad

log = logging.getLogger(__name__)

_SAVE_EVERY_S = 120.0
_EVALUATE_EVERY_TOKENS = 1_000_000


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `loss` is the running training loss, `held_out` the last held-out loss, nats per token."""

    tokens: int
    total: int
    loss: float
    held_out: float
    seconds: float


@dataclass
class TrainingResult:
    """A finished run: averaged weights in `network`, and the numbers for its card."""

    network: Decoder
    tokens: int
    seconds: float
    held_out_nats: float
    history: list[dict[str, float]]


def learning_rate_share(recipe: Recipe, tokens: int) -> float:
    """Share of the peak rate after `tokens`: linear warm-up, plateau, linear fall to zero."""
    warm = min(1.0, (tokens + 1) / max(1, recipe.warmup_tokens))
    decay = recipe.decay_share * recipe.tokens
    return warm * min(1.0, max(0.0, (recipe.tokens - tokens) / max(1.0, decay)))


def held_out_loss(network: Decoder, sentences: Sequence[list[int]], precision: str, device: torch.device) -> float:
    """Mean nats per token over whole sentences, ``<begin>`` not counted."""
    total, count = 0.0, 0
    was_training = network.training
    network.eval()
    with torch.no_grad():
        for group in group_by_tokens(sorted(sentences, key=len), 8192):
            inputs, targets = (t.to(device) for t in pad(group))
            with _autocast(device, precision):
                scores = network(inputs)
            loss = F.cross_entropy(
                scores.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
            )
            total += float(loss)
            count += int((targets != IGNORED).sum())
    network.train(was_training)
    return total / max(1, count)


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


class Trainer:
    """Trains one decoder. `folder` receives `state.pt` every two minutes and at the end, and `log.ndjson`."""

    def __init__(
        self, recipe: Recipe, stream: SentenceStream[Any], held_out: Sequence[list[int]], vocab: int, folder: Path,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.recipe = recipe
        self._stream = stream
        self._held_out = held_out
        self._folder = folder
        self._device = device
        torch.manual_seed(recipe.seed)
        shape = recipe.network
        self.config = DecoderConfig(
            vocab=vocab, width=shape.width, layers=shape.layers, heads=shape.heads, kv_heads=shape.kv_heads,
            mlp_width=shape.mlp_width, context=recipe.context, dropout=shape.dropout,
        )  # fmt: skip
        self.network = Decoder(self.config).to(device)
        self._average = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        self._optimizers = self._build_optimizers()
        self.tokens, self.seconds, self._round = 0, 0.0, 0
        self._loss, self._held_out_loss = math.nan, math.nan
        self.history: list[dict[str, float]] = []

    def _build_optimizers(self) -> list[tuple[torch.optim.Optimizer, float]]:
        """AdamW for all, or, with a `matrix_learning_rate`, Muon for the hidden matrices and AdamW for the rest.

        Reference:
            [jordan2024muon]; [liu2025moonlight] Eq. (4) for the scale that lets both share AdamW's rates.
        """
        r = self.recipe
        matrices: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            (matrices if parameter.dim() == 2 and "embedding" not in name else rest).append(parameter)
        if r.matrix_learning_rate <= 0:
            groups = [{"params": matrices, "weight_decay": r.weight_decay}, {"params": rest, "weight_decay": 0.0}]
            return [(torch.optim.AdamW(groups, lr=r.learning_rate, betas=(0.9, 0.95)), r.learning_rate)]
        if not hasattr(torch.optim, "Muon"):
            raise Unavailable(
                f"recipe {r.name}: a matrix_learning_rate asks for the Muon optimizer, which torch {torch.__version__} "
                "lacks; install torch 2.9 or newer, or set matrix_learning_rate = 0"
            )
        adam = torch.optim.AdamW(rest, lr=r.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
        muon = torch.optim.Muon(
            matrices, lr=r.matrix_learning_rate, weight_decay=r.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        return [(adam, r.learning_rate), (muon, r.matrix_learning_rate)]

    def resume(self) -> bool:
        """Continue from `state.pt` where there is one; True when it did."""
        path = self._folder / "state.pt"
        if not path.is_file():
            return False
        state = torch.load(path, map_location=self._device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self._average = state["average"]
        for (optimizer, _), saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.tokens, self.seconds, self._round = state["tokens"], state["seconds"], state["round"]
        self._held_out_loss = state["held_out"]
        self.history = state["history"]
        return True

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(), "average": self._average,
            "optimizers": [optimizer.state_dict() for optimizer, _ in self._optimizers],
            "tokens": self.tokens, "seconds": self.seconds, "round": self._round, "held_out": self._held_out_loss,
            "history": self.history,
        }  # fmt: skip
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / "state.pt.partial"
        torch.save(state, partial)
        os.replace(partial, self._folder / "state.pt")

    def run(
        self, *, seconds: float | None = None, report: Callable[[Progress], None] | None = None
    ) -> TrainingResult | None:
        """Train until the recipe's tokens are seen; None when `seconds` ran out first (the state is saved)."""
        started = saved = time.monotonic()
        before = self.seconds
        self.network.train()
        while self.tokens < self.recipe.tokens:
            batches = self._stream.batches(random.Random(f"{self.recipe.seed}:{self._round}"), self.recipe.batch_tokens)
            self._round += 1
            for inputs, targets in batches:
                self._step(inputs.to(self._device), targets.to(self._device))
            now = time.monotonic()
            self.seconds = before + now - started
            if not self.history or self.tokens - self.history[-1]["tokens"] >= _EVALUATE_EVERY_TOKENS:
                self._evaluate()
            if report:
                report(Progress(self.tokens, self.recipe.tokens, self._loss, self._held_out_loss, self.seconds))
            if now - saved > _SAVE_EVERY_S:
                self._save()
                saved = now
            if seconds is not None and now - started > seconds:
                self._save()
                return None
        self._save()
        self._use(self._average)
        self._held_out_loss = held_out_loss(self.network, self._held_out, self.recipe.precision, self._device)
        return TrainingResult(self.network.eval(), self.tokens, self.seconds, self._held_out_loss, self.history)

    def _step(self, inputs: Tensor, targets: Tensor) -> None:
        with _autocast(self._device, self.recipe.precision):
            scores = self.network(inputs)
        loss = F.cross_entropy(scores.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_clip)
        share = learning_rate_share(self.recipe, self.tokens)
        for optimizer, peak in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * share
            optimizer.step()
            optimizer.zero_grad()
        count = int((targets != IGNORED).sum())
        self.tokens += count
        kept = math.exp(-count / self.recipe.ema_tokens)
        with torch.no_grad():
            names, parameters = zip(*self.network.named_parameters(), strict=True)
            torch._foreach_lerp_([self._average[n] for n in names], list(parameters), 1 - kept)
        value = float(loss.detach())
        self._loss = value if math.isnan(self._loss) else 0.98 * self._loss + 0.02 * value

    def _use(self, weights: Mapping[str, Tensor]) -> None:
        """The network's parameters have these values."""
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(weights[name])

    def _evaluate(self) -> None:
        """The averaged weights' held-out loss goes into the history and the log."""
        current = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        self._use(self._average)
        self._held_out_loss = held_out_loss(self.network, self._held_out, self.recipe.precision, self._device)
        self._use(current)
        entry = {"tokens": self.tokens, "loss": self._loss, "held_out": self._held_out_loss, "seconds": self.seconds}
        self.history.append(entry)
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "log.ndjson").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        log.info("tokens %d loss %.4f held-out %.4f", self.tokens, self._loss, self._held_out_loss)
