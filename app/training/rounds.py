"""Rounds of batches, drawn while the trainer is at the round before.

Round `n` depends on the recipe and on `n` alone, so the batches are the same however many processes draw them, and
after a restart.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Generator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from app.training.recipe import Recipe
from app.training.sentences import Batch, SentenceStream


class Rounds(Dataset[list[Batch]]):
    """The rounds of a stream under a recipe, by number."""

    def __init__(self, stream: SentenceStream[Any], recipe: Recipe) -> None:
        self._stream = stream
        self._seed, self._batch_tokens = recipe.seed, recipe.batch_tokens
        self._is_packed, self._has_one_shape = recipe.packed, recipe.compile

    def __getitem__(self, number: int) -> list[Batch]:
        """Round `number`, from 0."""
        rng = random.Random(f"{self._seed}:{number}")
        return self._stream.batches(
            rng, self._batch_tokens, is_packed=self._is_packed, has_one_shape=self._has_one_shape
        )


def drawn_ahead(rounds: Rounds, first: int, loaders: int) -> Generator[list[Batch]]:
    """Rounds `first`, `first` + 1, ... without end, drawn by so many processes, or by this one where `loaders` is 0.

    Closing the generator ends the processes; they also end by themselves when this process is gone.
    """
    if loaders == 0:
        for number in itertools.count(first):
            yield rounds[number]
    # Spawned, since a process that has spoken to an accelerator must not be forked. The generator is its own, since the
    # loader would else draw from the one that dropout draws from.
    yield from DataLoader(
        rounds, batch_size=None, sampler=range(first, 2**62), num_workers=loaders, collate_fn=_as_it_is,
        worker_init_fn=_serve_the_trainer, multiprocessing_context="spawn", generator=torch.Generator(),
    )  # fmt: skip


def _as_it_is(batches: list[Batch]) -> list[Batch]:
    return batches


def _serve_the_trainer(number: int) -> None:
    """The process ends with the trainer and not before.

    Ctrl-C and SIGTERM reach the whole process group; the trainer ends its step, saves, and then ends its loaders. One
    that was killed ends nobody, and its loaders would wait for ever to hand over what they have drawn.
    """
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_trainer, daemon=True).start()


def _end_with_the_trainer() -> None:
    trainer = multiprocessing.parent_process()
    assert trainer is not None
    trainer.join()
    os._exit(1)
