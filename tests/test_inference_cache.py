"""The slab of keys and values: stepping with it equals running without it, and a row is its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from app.inference.cache import LENGTH_MULTIPLE, ROW_MULTIPLE, Precision, SlabDecoder
from app.nn.decoder import Decoder, DecoderConfig
from tests.tiny_models import CPU, tiny_decoder

VOCAB = 50


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def tokens(rows: int, time: int) -> Tensor:
    return torch.randint(VOCAB, (rows, time), generator=torch.Generator().manual_seed(1))


def stepped(slab: SlabDecoder, ids: Tensor, first: int = 0) -> Tensor:
    """Scores [rows, time, vocab] of taking the tokens one column at a time."""
    columns = []
    for time in range(first, ids.shape[1]):
        slab.reserve(time + 1)
        columns.append(slab.step(ids[:, time], torch.full((len(ids),), time), [time + 1] * len(ids)))
    return torch.stack(columns, 1)


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (2, 1), (4, 2)])
def test_stepping_with_the_cache_gives_the_scores_of_a_full_pass(heads: int, kv_heads: int, qk_norm: bool):
    network, ids = tiny_decoder(VOCAB, heads=heads, kv_heads=kv_heads, qk_norm=qk_norm), tokens(4, 30)
    torch.testing.assert_close(stepped(SlabDecoder(network, 4, CPU), ids), network(ids), rtol=0, atol=1e-4)


def test_a_slab_that_grows_keeps_what_it_holds():
    network, ids = tiny_decoder(VOCAB), tokens(4, 150)
    slab = SlabDecoder(network, 4, CPU, length=LENGTH_MULTIPLE)
    torch.testing.assert_close(stepped(slab, ids), network(ids), rtol=0, atol=1e-3)
    assert slab.length == 256, "it doubles"


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("time", [1, 2, 5])
def test_a_prompt_that_was_prefilled_continues_as_if_it_had_been_stepped(time: int, qk_norm: bool):
    network, ids = tiny_decoder(VOCAB, qk_norm=qk_norm), tokens(4, 12)
    slab = SlabDecoder(network, 4, CPU)
    for slot in range(4):
        slab.place(slot, *slab.prefill(ids[slot, :time].tolist()))
    torch.testing.assert_close(stepped(slab, ids, time), network(ids)[:, time:], rtol=0, atol=1e-4)


def test_a_moved_slot_continues_where_it_was():
    network, ids = tiny_decoder(VOCAB), tokens(4, 20)
    slab = SlabDecoder(network, 8, CPU)
    stepped(slab, ids[:, :10])
    slab.move(0, 3, 10)
    swapped = ids.clone()
    swapped[0] = ids[3]
    torch.testing.assert_close(stepped(slab, swapped, 10)[0], network(ids)[3, 10:], rtol=0, atol=1e-4)


def row_scores(network: Decoder, rows: int, length: int, longest: int, precision: Precision) -> Tensor:
    """Scores of the first ROW_MULTIPLE rows over 70 steps, in a batch of `rows` where others are `longest` ahead."""
    slab = SlabDecoder(network, 32, CPU, length=length, precision=precision)
    ids = tokens(32, 70)[:rows]
    columns = []
    for time in range(70):
        positions = torch.full((rows,), time)
        positions[ROW_MULTIPLE:] += longest
        columns.append(slab.step(ids[:, time], positions, (positions + 1).tolist()))
    return torch.stack(columns)[:, :ROW_MULTIPLE]


@pytest.mark.parametrize(("width", "heads", "kv_heads"), [(16, 2, 1), (32, 4, 2), (64, 4, 4)])
def test_the_scores_of_a_row_are_the_same_bits_whoever_shares_its_batch(width: int, heads: int, kv_heads: int):
    network = tiny_decoder(VOCAB, width=width, heads=heads, kv_heads=kv_heads)
    alone = row_scores(network, ROW_MULTIPLE, 256, 0, "float32")
    for rows, length, longest in ((8, 256, 0), (12, 256, 100), (32, 256, 0), (28, 512, 300), (32, 512, 130)):
        assert torch.equal(row_scores(network, rows, length, longest, "float32"), alone), (rows, length, longest)


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_scores_of_a_row_are_the_same_bits_at_the_shape_of_the_shipped_models(precision: Precision, qk_norm: bool):
    torch.manual_seed(0)
    network = Decoder(
        DecoderConfig(vocab=VOCAB, width=256, layers=1, heads=4, kv_heads=4, mlp_width=704, qk_norm=qk_norm)
    )
    alone = row_scores(network, ROW_MULTIPLE, 256, 0, precision)
    for rows, length, longest in ((8, 256, 100), (32, 512, 300)):
        assert torch.equal(row_scores(network, rows, length, longest, precision), alone), (rows, length, longest)


def test_products_in_bfloat16_are_near_those_in_float32():
    network, ids = tiny_decoder(VOCAB), tokens(4, 20)
    exact, rounded = (stepped(SlabDecoder(network, 4, CPU, precision=p), ids) for p in ("float32", "bfloat16"))
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).abs().mean()) < 0.05 * float(exact.std())
