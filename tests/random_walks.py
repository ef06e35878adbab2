"""Sentences drawn by nobody: legal tokens at random, so that a grammar is seen where no model would go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from app.tokens._base import BEGIN, END, PAD, Grammar, TensorState

_POOL = 1 << 20


def started(grammar: Grammar[Any, Any], constraints: Sequence[Any]) -> TensorState:
    """One row for each constraint, before the token after ``<begin>``."""
    state: TensorState = grammar.allocate(len(constraints))
    starts = {constraint: grammar.start(constraint) for constraint in set(constraints)}
    for row, constraint in enumerate(constraints):
        state.put(row, starts[constraint])
    return state


def walk(
    grammar: Grammar[Any, Any], constraints: Sequence[Any], seed: int, *, biased_by: float = 2.0
) -> list[list[int]]:
    """One sentence for each constraint, all in one batch.

    Every row likes and dislikes tokens of its own: its weights are exp(`biased_by` times a normal number). A row that
    cannot go on, or goes on for longer than the grammar's `longest`, fails the test.
    """
    rng = torch.Generator().manual_seed(seed)
    rows, vocabulary = len(constraints), grammar.vocabulary_size
    state = started(grammar, constraints)
    likes = biased_by * torch.randn(rows, vocabulary, generator=rng)
    gumbel = -torch.empty(max(_POOL, rows * vocabulary)).exponential_(generator=rng).log_()
    longest = [grammar.longest(constraint) for constraint in constraints]
    columns: list[Tensor] = []
    while len(columns) < max(longest) and not (columns and bool((columns[-1] == PAD).all())):
        mask = grammar.mask(state, rows)
        stuck = (~mask.any(-1)).nonzero()[:, 0].tolist()
        assert not stuck, f"no legal token at position {len(columns) + 1} under {constraints[stuck[0]]}"
        offset = int(torch.randint(len(gumbel) - rows * vocabulary + 1, (1,), generator=rng))
        noise = gumbel[offset : offset + rows * vocabulary].view(rows, vocabulary)
        tokens = torch.where(mask, likes + noise, float("-inf")).argmax(-1)
        grammar.advance(state, tokens)
        columns.append(tokens)
    sentences = []
    for row, limit in zip(torch.stack(columns, dim=1).tolist(), longest, strict=True):
        assert END in row, "a walk did not reach <end>"
        sentences.append([BEGIN, *row[: row.index(END) + 1]])
        assert len(sentences[-1]) <= limit
    return sentences


def illegal_positions(
    grammar: Grammar[Any, Any], constraints: Sequence[Any], sentences: Sequence[Sequence[int]]
) -> list[int | None]:
    """For each sentence the first position whose token the grammar forbids under its constraint, or None."""
    rows, longest = len(sentences), max(map(len, sentences))
    state = started(grammar, constraints)
    table = torch.full((rows, longest), PAD)
    for row, sentence in enumerate(sentences):
        table[row, : len(sentence)] = torch.tensor(list(sentence))
    found: list[int | None] = [None] * rows
    finished = grammar.allocate(1)
    for position in range(1, longest):
        legal = grammar.mask(state, rows).gather(1, table[:, position, None])[:, 0]
        for row in (~legal).nonzero()[:, 0].tolist():
            found[row] = position
            state.put(row, finished)
            table[row, position:] = PAD
        grammar.advance(state, table[:, position])
    return found
