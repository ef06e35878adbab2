"""Training a decoder: a stream of sentences into weights. Knows no circuits."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, fields, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from app.errors import InvalidRequest
from app.nn.decoder import Decoder, DecoderConfig
from app.nn.precision import fast_products
from app.training.loop import SAVE_EVERY_S, Loop, Schedule
from app.training.recipe import Recipe
from app.training.rounds import Rounds, drawn_ahead
from app.training.sentences import IGNORED, Batch, SentenceStream, group_by_tokens, pad

#: Tokens of the held-out sentences that the loss is taken on in the course of a run; all are, at its end.
_SPOT_TOKENS = 150_000

#: Keys of a recipe that may differ between the parts of one run: how far it goes, what it is called, how it is fed.
_MAY_CHANGE = frozenset({"tokens", "name", "file", "loaders"})

#: What of a decoder may differ between the weights that training goes on from and its recipe.
_MAY_DIFFER = frozenset({"context", "dropout"})


def schedule_of(recipe: Recipe) -> Schedule:
    """The recipe's numbers for the loop, in tokens."""
    return Schedule(
        recipe.name, recipe.tokens, recipe.learning_rate, recipe.matrix_learning_rate, recipe.warmup_tokens,
        recipe.decay_share, recipe.weight_decay, recipe.gradient_clip, recipe.ema_tokens, recipe.seed, recipe.compile,
        {key: value for key, value in recipe.as_json().items() if key not in _MAY_CHANGE},
    )  # fmt: skip


def held_out_loss(network: Decoder, sentences: Sequence[list[int]], precision: str, device: torch.device) -> float:
    """Mean nats per token over whole sentences, ``<begin>`` not counted."""
    total, count = 0.0, 0
    was_training = network.training
    network.eval()
    with torch.no_grad():
        for group in group_by_tokens(sorted(sentences, key=len), 8192):
            batch = pad(group)
            total += float(batch_loss(network, batch, precision, device)) * batch.tokens
            count += batch.tokens
    network.train(was_training)
    return total / max(1, count)


def batch_loss(network: Callable[..., Any], batch: Batch, precision: str, device: torch.device) -> Tensor:
    """Mean nats per token of a batch, as a scalar on the device. `network` is a decoder, compiled or not."""
    inputs, targets, positions = batch.on(device)
    with fast_products(device.type, is_wanted=precision == "bfloat16"):
        scores = network(inputs, positions=positions)
    return F.cross_entropy(scores.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


class Trainer(Loop[Decoder, Batch]):
    """Trains one decoder; see `Loop`.

    Args:
        initial: Weights to start from instead of random ones; of a network of the recipe's shape.
        beginning: What these weights are called; a state goes on only under the same.
        held_out: Sentences that the loss at the end is taken on; on the way some of them do.
        loaders: Processes that draw batches ahead; none of them changes what is drawn.
        save_every_s: Between two saved states.

    Raises:
        InvalidRequest: `initial` has another shape or vocabulary.
    """

    unit = "tokens"
    loss_unit = "nats a token"
    evaluate_every = 1_000_000

    def __init__(
        self, recipe: Recipe, stream: SentenceStream[Any], held_out: Sequence[list[int]], vocab: int, folder: Path,
        device: torch.device, *, initial: Decoder | None = None, beginning: str | None = None, loaders: int = 0,
        save_every_s: float = SAVE_EVERY_S,
    ) -> None:  # fmt: skip
        self.recipe = recipe
        self._drawn = Rounds(stream, recipe)
        self._held_out = held_out
        self._spot = _spot(held_out)
        self._loaders = loaders
        torch.manual_seed(recipe.seed)
        self.config = DecoderConfig(vocab=vocab, context=recipe.context, **asdict(recipe.network))
        network = Decoder(self.config)
        if initial is not None:
            self._start_from(initial, network)
        corpus = [len(stream.rows), round(stream.mean_length, 6)]
        schedule = schedule_of(recipe)
        schedule = replace(schedule, fixed={**schedule.fixed, "beginning": beginning})
        super().__init__(schedule, network, corpus, folder, device, save_every_s=save_every_s)
        self._forward: Callable[..., Any] = torch.compile(self.network) if recipe.compile else self.network

    def _start_from(self, initial: Decoder, network: Decoder) -> None:
        for name in (each.name for each in fields(DecoderConfig) if each.name not in _MAY_DIFFER):
            theirs, ours = getattr(initial.config, name), getattr(self.config, name)
            if theirs != ours:
                raise InvalidRequest(f"the initial network has {name} {theirs}, recipe {self.recipe.name} wants {ours}")
        network.load_state_dict(initial.state_dict())

    def _rounds(self, first: int) -> Generator[list[Batch]]:
        return drawn_ahead(self._drawn, first, self._loaders)

    def _size(self, batch: Batch) -> int:
        return batch.tokens

    def _loss_of(self, batch: Batch) -> Tensor:
        return batch_loss(self._forward, batch, self.recipe.precision, self._device)

    def _loss_held_out(self) -> float:
        sentences = self._held_out if self.done >= self.schedule.total else self._spot
        return held_out_loss(self.network, sentences, self.recipe.precision, self._device)

    def _describe(self, corpus: list[float]) -> str:
        return f"{corpus[0]} circuits of {corpus[1]:.1f} tokens"


def _spot(sentences: Sequence[list[int]]) -> list[list[int]]:
    """Some of the sentences, in an order that tells nothing, until they have enough tokens; all where these are few."""
    shuffled = random.Random(0).sample(list(sentences), len(sentences))
    counts = accumulate(map(len, shuffled), initial=0)
    return [sentence for sentence, before in zip(shuffled, counts, strict=False) if before < _SPOT_TOKENS]
