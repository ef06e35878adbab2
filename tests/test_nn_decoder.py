"""The decoder: shapes, causality, taps, and the same numbers as another implementation."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from app.benchmarks.engine import transformers_twin
from app.nn.decoder import Decoder, DecoderConfig, Dropout, own_sentence_mask, plain_attention, rotary_table, rotate
from app.nn.taps import Taps, record
from tests.tiny_models import tiny_decoder

VOCAB = 40
PLACES = (
    "embedding",
    *(
        f"layer.{number}.{place}"
        for number in range(2)
        for place in ("attention_input", "attention_output", "mlp_input", "mlp_output", "output")
    ),
    "final",
)


def some_ids(rows: int = 2, time: int = 9) -> Tensor:
    return torch.randint(VOCAB, (rows, time), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_scores_have_a_row_for_every_position_and_a_column_for_every_token(kv_heads: int):
    network = tiny_decoder(VOCAB, heads=4, kv_heads=kv_heads)
    scores = network(some_ids(3, 7))
    assert scores.shape == (3, 7, VOCAB)
    assert scores.dtype == torch.float32
    assert torch.isfinite(scores).all()


def test_a_later_token_does_not_change_earlier_scores():
    network, ids = tiny_decoder(VOCAB), some_ids()
    changed = ids.clone()
    changed[:, 5] = (changed[:, 5] + 1) % VOCAB
    before, after = network(ids), network(changed)
    torch.testing.assert_close(after[:, :5], before[:, :5], rtol=0, atol=1e-5)
    assert not torch.allclose(after[:, 5:], before[:, 5:], atol=1e-2)


def test_rows_of_a_batch_do_not_see_each_other():
    network, ids = tiny_decoder(VOCAB), some_ids(4)
    torch.testing.assert_close(network(ids)[1:2], network(ids[1:2]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_a_sentence_scores_the_same_whoever_shares_its_row(kv_heads: int):
    network = tiny_decoder(VOCAB, heads=4, kv_heads=kv_heads)
    rows = some_ids(2, 12)
    cuts = ((5, 4, 3), (1, 9, 2))
    positions = torch.tensor([[n for length in lengths for n in range(length)] for lengths in cuts])
    packed = network(rows, positions=positions)
    for row, lengths, scores in zip(rows, cuts, packed, strict=True):
        alone = [network(part[None])[0] for part in row.split(lengths)]
        torch.testing.assert_close(scores, torch.cat(alone), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("time", [11, 128, 300])
def test_attention_by_products_is_what_the_fused_kernel_gives(kv_heads: int, time: int):
    torch.manual_seed(0)
    queries = torch.randn(3, 4, time, 8)
    keys, values = torch.randn(3, kv_heads, time, 8), torch.randn(3, kv_heads, time, 8)
    fused = F.scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(plain_attention(queries, keys, values, None), fused, rtol=0, atol=1e-5)
    cuts = ((5, 3, time - 8), (time - 1, 1), (time,))
    mask = own_sentence_mask(torch.tensor([[n for length in row for n in range(length)] for row in cuts]))
    fused = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, enable_gqa=True)
    torch.testing.assert_close(plain_attention(queries, keys, values, mask), fused, rtol=0, atol=1e-5)


@pytest.mark.parametrize("is_packed", [False, True])
def test_learning_in_bfloat16_sees_the_scores_that_sampling_sees(is_packed: bool):
    network, ids = tiny_decoder(VOCAB, heads=4, kv_heads=1), some_ids(4, 12)
    positions = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4]] * 4) if is_packed else None
    with torch.autocast("cpu", torch.bfloat16):
        learning = network(ids, positions=positions)
        with torch.no_grad():
            sampling = network(ids, positions=positions)
    assert learning.requires_grad
    torch.testing.assert_close(learning, sampling, rtol=0, atol=0.06 * float(sampling.abs().max()))


def test_dropout_zeroes_its_share_and_keeps_the_mean():
    dropout, ones = Dropout(0.1), torch.ones(500, 401, requires_grad=True)
    torch.manual_seed(0)
    dropped = dropout(ones)
    assert float((dropped == 0).float().mean()) == pytest.approx(0.1, abs=0.005)
    assert float(dropped.detach().mean()) == pytest.approx(1.0, abs=0.005)
    torch.autograd.backward(dropped.sum())
    assert ones.grad is not None
    assert torch.equal(ones.grad, dropped.detach())
    assert not torch.equal(dropout(ones), dropped)
    assert torch.equal(dropout.eval()(ones), ones)
    assert torch.equal(Dropout(0.001)(ones), ones)


def test_the_network_is_one_graph_for_a_compiler():
    network, ids = tiny_decoder(VOCAB), some_ids()
    positions = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3]] * 2)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(ids, positions=positions), network(ids, positions=positions), rtol=0, atol=1e-5)


def test_the_order_of_earlier_tokens_matters():
    network = tiny_decoder(VOCAB)
    first, second = network(torch.tensor([[5, 6, 7]])), network(torch.tensor([[6, 5, 7]]))
    assert not torch.allclose(first[:, -1], second[:, -1], atol=1e-2)


def test_shared_keys_are_what_repeated_keys_would_be():
    shared, own = (tiny_decoder(VOCAB, heads=4, kv_heads=kv_heads) for kv_heads in (2, 4))
    weights = shared.state_dict()
    for number in range(2):
        name = f"layers.{number}.attention.qkv.weight"
        queries, keys, values = (part.view(-1, 4, 16) for part in weights[name].split([16, 8, 8]))
        weights[name] = torch.cat([queries, keys.repeat_interleave(2, 0), values.repeat_interleave(2, 0)]).view(-1, 16)
    own.load_state_dict(weights)
    torch.testing.assert_close(shared(some_ids()), own(some_ids()), rtol=0, atol=1e-4)


def test_rotary_products_depend_on_the_distance_alone():
    config = DecoderConfig(vocab=8, width=16, heads=2, kv_heads=2)
    query, key = torch.randn(8), torch.randn(8)
    products = []
    for shift in (0, 11):
        cos, sin = rotary_table(config, torch.tensor([3 + shift, 9 + shift]))
        turned = rotate(torch.stack((query, key)), cos, sin)
        products.append(float(turned[0] @ turned[1]))
    assert products[0] == pytest.approx(products[1], abs=1e-5)


def test_the_first_rotary_pair_turns_by_one_radian_a_position():
    config = DecoderConfig(vocab=8, width=16, heads=2, kv_heads=2)
    cos, sin = rotary_table(config, torch.tensor([2]))
    turned = rotate(torch.tensor([[1.0, 0, 0, 0, 0, 0, 0, 0]]), cos, sin)[0]
    assert turned[0] == pytest.approx(math.cos(2.0))
    assert turned[4] == pytest.approx(math.sin(2.0))


def test_every_tap_sees_a_value_and_seeing_changes_nothing():
    network, ids, taps = tiny_decoder(VOCAB), some_ids(), Taps()
    seen: dict[str, list[Tensor]] = {place: [] for place in PLACES}
    for place, values in seen.items():
        record(taps, place, values)
    scores = network(ids, taps)
    torch.testing.assert_close(scores, network(ids), rtol=0, atol=0)
    for place, values in seen.items():
        assert [value.shape for value in values] == [(2, 9, 16)], place
        assert not values[0].requires_grad
    assert torch.equal(network.scores(seen["final"][0]), scores)


@pytest.mark.parametrize("place", PLACES)
def test_a_tap_can_replace_the_value_that_passes(place: str):
    network, ids, taps = tiny_decoder(VOCAB), some_ids(), Taps()
    taps.listen(place, lambda value: value + 1.0 * torch.arange(16))
    assert not torch.allclose(network(ids, taps), network(ids), atol=1e-2)


def test_listeners_of_one_place_work_one_after_the_other():
    taps = Taps()
    taps.listen("final", lambda value: value + 1)
    taps.listen("final", lambda value: value * 10)
    assert taps("final", torch.tensor(2.0)) == 30
    assert taps("elsewhere", torch.tensor(2.0)) == 2


def test_silencing_what_a_layer_adds_makes_it_the_identity():
    network, ids, taps = tiny_decoder(VOCAB), some_ids(), Taps()
    streams: list[Tensor] = []
    for place in ("layer.0.attention_output", "layer.0.mlp_output"):
        taps.listen(place, torch.zeros_like)
    for place in ("embedding", "layer.0.output"):
        record(taps, place, streams)
    network(ids, taps)
    assert torch.equal(streams[0], streams[1])


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_another_implementation_of_the_same_weights_gives_the_same_scores(kv_heads: int, qk_norm: bool):
    pytest.importorskip("transformers")
    network = tiny_decoder(VOCAB, heads=4, kv_heads=kv_heads, qk_norm=qk_norm)
    with torch.no_grad():
        ours, theirs = network(some_ids()), transformers_twin(network)(some_ids()).logits
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_the_length_of_queries_and_keys_is_nothing_to_a_network_that_normalises_them():
    network, plain = tiny_decoder(VOCAB, qk_norm=True), tiny_decoder(VOCAB)
    for each, is_equal in ((network, True), (plain, False)):
        before = each(some_ids())
        with torch.no_grad():
            # 16 rows make queries and 8 keys; the rest makes values
            each.get_parameter("layers.0.attention.qkv.weight")[:24] *= 3.0
        assert torch.allclose(each(some_ids()), before, atol=1e-4) is is_equal


def test_a_fresh_network_knows_nothing_yet():
    torch.manual_seed(0)
    network = Decoder(DecoderConfig(vocab=VOCAB, width=16, layers=1, heads=2, kv_heads=2, mlp_width=32))
    ids = some_ids(8, 30)
    with torch.no_grad():
        loss = F.cross_entropy(network(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert float(loss) == pytest.approx(math.log(VOCAB), abs=0.1)


def test_parameters_are_counted_once_though_the_embedding_is_used_twice():
    network = tiny_decoder(VOCAB, heads=2, kv_heads=1)
    a_layer = 16 * (16 + 2 * 8) + 16 * 16 + 3 * 16 * 32 + 2 * 16
    assert network.parameter_count() == VOCAB * 16 + 2 * a_layer + 16


@pytest.mark.parametrize("fields", [{"width": 18, "heads": 4}, {"heads": 4, "kv_heads": 3}, {"width": 12, "heads": 4}])
def test_heads_that_do_not_divide_are_refused(fields: dict[str, int]):
    shape: dict[str, Any] = {"vocab": 8, "width": 16, "heads": 4, "kv_heads": 4, **fields}
    with pytest.raises(ValueError, match="heads do not divide"):
        DecoderConfig(**shape)
