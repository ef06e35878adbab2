"""Can a classifier tell two sets apart? Scores of every member by classifiers that were not trained on it.

A set that nothing tells from another gets the area 0.5 under the curve, one that is told without fail 1.0. Knows
nothing of what the members are: rows of numbers, or sequences of them.

Reference:
    [lopezpaz2017revisiting] §3: the classifier two-sample test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from app.errors import PackageMissing

FOLDS = 5

#: Longest sequence that the sequence classifier reads; what is beyond is not seen.
LONGEST = 1024

_WIDTH, _HEADS, _LAYERS, _DROPOUT = 64, 4, 2, 0.1
_RATE, _DECAY = 1e-3, 0.01
#: Items of a padded batch.
_BATCH_ITEMS = 8192


def folds(labels: NDArray[np.int64], seed: int, count: int = FOLDS) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Places to train on and places to score, `count` times; each place is scored once, both labels in every fold.

    A label of fewer members than folds is in as many as it has; there are at least two members of each.
    """
    rng = np.random.default_rng(seed)
    number = np.empty(len(labels), int)
    for label in np.unique(labels):
        places = rng.permutation(np.flatnonzero(labels == label))
        number[places] = np.arange(len(places)) % count
    for fold in range(int(number.max()) + 1):
        yield np.flatnonzero(number != fold), np.flatnonzero(number == fold)


def boosting_scores(first: NDArray[np.float64], second: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """How likely each row is of the second set, out of fold: rows of the first, then of the second.

    Histogram gradient boosting as scikit-learn has it, FOLDS folds.

    Raises:
        PackageMissing: scikit-learn is not installed.

    Reference:
        [ke2017lightgbm] §3: boosting over histograms, which scikit-learn follows.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError as missing:
        raise PackageMissing("scikit-learn", "telling two sets of circuits apart", "evaluate") from missing
    rows = np.concatenate([first, second])
    labels = _labels(len(first), len(second))
    scores = np.zeros(len(rows))
    for train, test in folds(labels, seed):
        model = HistGradientBoostingClassifier(random_state=seed).fit(rows[train], labels[train])
        scores[test] = model.predict_proba(rows[test])[:, 1]
    return scores


def sequence_scores(
    first: Sequence[NDArray[np.int64]], second: Sequence[NDArray[np.int64]], seed: int, *,
    epochs: int = 6, device: str = "cpu",
) -> NDArray[np.float64]:  # fmt: skip
    """The same by a small transformer over sequences of items, each a row of small numbers.

    An item is the sum of what its numbers are embedded as, so one item stands for a whole statement; sequences are
    read up to LONGEST items. The same seed gives the same scores on the same kind of machine.
    """
    is_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    where = torch.device("cuda" if is_cuda else "cpu")
    sequences = [torch.from_numpy(row[:LONGEST]) for row in (*first, *second)]
    labels = _labels(len(first), len(second))
    sizes = tuple(int(max(int(row[:, c].max(initial=0)) for row in (*first, *second))) + 1
                  for c in range(sequences[0].shape[1]))  # fmt: skip
    scores = np.zeros(len(sequences))
    for train, test in folds(labels, seed):
        with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
            torch.manual_seed(seed)
            reader = _Reader(sizes).to(where)
            _fit(reader, sequences, labels, train, epochs, where)
        scores[test] = _read(reader, sequences, test, where)
    return scores


class _Reader(nn.Module):
    """A transformer encoder over items, and one score for what it read."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size, _WIDTH) for size in sizes)
        self.places = nn.Embedding(LONGEST, _WIDTH)
        layer = nn.TransformerEncoderLayer(
            _WIDTH, _HEADS, 4 * _WIDTH, _DROPOUT, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False)
        self.score = nn.Linear(2 * _WIDTH, 1)

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Scores [sequence] of items [sequence, place, number]; places beyond a sequence's length are padding."""
        place = torch.arange(items.shape[1], device=items.device)
        padding = place >= lengths[:, None]
        read = sum((table(items[..., c]) for c, table in enumerate(self.embeddings)), self.places(place))
        read = self.layers(read, src_key_padding_mask=padding)
        mean = read.masked_fill(padding[..., None], 0.0).sum(1) / lengths[:, None]
        most = read.masked_fill(padding[..., None], float("-inf")).amax(1)
        scores: Tensor = self.score(torch.cat([mean, most], 1))[:, 0]
        return scores


def _fit(
    reader: _Reader, sequences: Sequence[Tensor], labels: NDArray[np.int64], train: NDArray[Any], epochs: int,
    where: torch.device,
) -> None:  # fmt: skip
    batches = list(_batches(sequences, train))
    optimizer = torch.optim.AdamW(reader.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=max(2, epochs * len(batches)))
    reader.train()
    for _ in range(epochs):
        for number in torch.randperm(len(batches)).tolist():
            places = batches[number]
            wanted = torch.from_numpy(labels[places]).float().to(where)
            loss = functional.binary_cross_entropy_with_logits(reader(*_padded(sequences, places, where)), wanted)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
            optimizer.step()
            schedule.step()


@torch.no_grad()
def _read(reader: _Reader, sequences: Sequence[Tensor], test: NDArray[Any], where: torch.device) -> NDArray[np.float64]:
    reader.eval()
    scores: dict[int, float] = {}
    for places in _batches(sequences, test):
        found = reader(*_padded(sequences, places, where)).sigmoid().cpu().tolist()
        scores.update(zip(places.tolist(), found, strict=True))
    return np.array([scores[place] for place in test.tolist()])


def _batches(sequences: Sequence[Tensor], places: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The places in batches of sequences of like length, so that little is padding."""
    ordered = sorted(places.tolist(), key=lambda place: len(sequences[place]))
    batch: list[int] = []
    for place in ordered:
        if batch and len(sequences[place]) * (len(batch) + 1) > _BATCH_ITEMS:
            yield np.array(batch)
            batch = []
        batch.append(place)
    yield np.array(batch)


def _padded(sequences: Sequence[Tensor], places: NDArray[Any], where: torch.device) -> tuple[Tensor, Tensor]:
    chosen = [sequences[place] for place in places]
    items = nn.utils.rnn.pad_sequence(chosen, batch_first=True)
    return items.to(where), torch.tensor([len(row) for row in chosen], device=where)


def _labels(first: int, second: int) -> NDArray[np.int64]:
    return np.repeat(np.array([0, 1], np.int64), [first, second])
