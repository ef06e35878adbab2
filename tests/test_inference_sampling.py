"""Random numbers and the draw: by hand where a hand can, by statistics where it cannot."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from app.inference.randomness import stream_key, uniform
from app.inference.sampling import masked_nats, nucleus, sample

_WORDS = st.integers(0, 2**63 - 1)


def draws(keys: list[int], steps: list[int]) -> Tensor:
    return uniform(torch.tensor(keys), torch.tensor(steps))


def chi_square(values: Tensor, bins: int) -> float:
    """Of the counts in equal bins of [0, 1) against equal counts."""
    counts = torch.histc(values, bins, 0.0, 1.0)
    expected = len(values) / bins
    return float(((counts - expected) ** 2 / expected).sum())


@given(seed=_WORDS, index=_WORDS, step=st.integers(0, 2**31))
def test_a_draw_lies_in_the_unit_interval_and_is_the_same_whoever_shares_its_batch(seed: int, index: int, step: int):
    key = stream_key(seed, index)
    assert -(2**63) <= key < 2**63
    alone = draws([key], [step])
    crowd = draws([1, key, 2], [5, step, 7])
    assert 0.0 <= float(alone[0]) < 1.0
    assert alone.dtype == torch.float64
    assert alone[0] == crowd[1]


def test_the_draws_are_those_of_splitmix64():
    # The first outputs of the reference implementation for state 1234567, as published with it.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    found = draws([1234567] * 4, [0, 1, 2, 3])
    assert found.tolist() == [(word >> 11) * 2.0**-53 for word in published]


# 100 bins have 99 degrees of freedom; a uniform source exceeds 160 once in ten thousand tries, and here is no chance.
@pytest.mark.parametrize("what", ["index", "step", "seed"])
def test_draws_are_uniform_along_every_counter(what: str):
    numbers = range(20_000)
    if what == "step":
        values = draws([stream_key(1, 2)] * len(numbers), list(numbers))
    elif what == "index":
        values = draws([stream_key(1, n) for n in numbers], [3] * len(numbers))
    else:
        values = draws([stream_key(n, 4) for n in numbers], [3] * len(numbers))
    assert len(set(values.tolist())) == len(numbers)
    assert chi_square(values, 100) < 160
    neighbours = torch.corrcoef(torch.stack((values[:-1], values[1:])))[0, 1]
    assert abs(float(neighbours)) < 0.03


def test_streams_of_neighbouring_items_do_not_overlap():
    first, second = (draws([stream_key(0, index)] * 1000, list(range(1000))) for index in (0, 1))
    assert not set(first.tolist()) & set(second.tolist())
    assert abs(float(torch.corrcoef(torch.stack((first, second)))[0, 1])) < 0.1


NUCLEUS = torch.tensor([[0.1, 0.4, 0.3, 0.2]])


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.01, [0, 0.4, 0, 0]),
        (0.4, [0, 0.4, 0, 0]),
        (0.41, [0, 0.4, 0.3, 0]),
        (0.71, [0, 0.4, 0.3, 0.2]),
        (1.0, [0.1, 0.4, 0.3, 0.2]),
    ],
)
def test_a_nucleus_is_the_smallest_set_of_the_likeliest_tokens_that_has_the_mass(top_p: float, kept: list[float]):
    assert nucleus(NUCLEUS, torch.tensor([top_p])).tolist() == [pytest.approx(kept)]


def test_ties_at_the_threshold_of_a_nucleus_are_all_kept():
    tied = torch.tensor([[0.4, 0.2, 0.2, 0.2]])
    assert nucleus(tied, torch.tensor([0.5])).tolist() == [pytest.approx([0.4, 0.2, 0.2, 0.2])]


def test_every_row_has_its_own_nucleus():
    rows = nucleus(NUCLEUS.repeat(2, 1), torch.tensor([0.3, 1.0]))
    assert (rows > 0).sum(-1).tolist() == [1, 4]


def test_a_nucleus_wider_than_the_likeliest_tokens_is_that_of_all():
    scores = torch.randn(32, 500, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.5, 8, 32)[:, None]
    probabilities, top_p = scores.softmax(-1), torch.linspace(0.5, 0.99, 32)
    kept = nucleus(probabilities, top_p)
    counts = (kept > 0).sum(-1)
    assert int(counts.min()) < 64 < int(counts.max())
    ordered = probabilities.sort(dim=-1, descending=True).values
    for row, count in enumerate(counts.tolist()):
        assert float(ordered[row, :count].sum()) >= float(top_p[row]) - 1e-5
        assert float(ordered[row, : count - 1].sum()) < float(top_p[row]) + 1e-5


def test_a_row_that_takes_everything_loses_nothing_where_another_row_is_narrowed():
    # In float32 the running sum of many small numbers reaches 1 before the last of them.
    scores = torch.randn(64, 1000, generator=torch.Generator().manual_seed(0)) * 6
    probabilities = scores.softmax(-1)
    assert torch.equal(nucleus(probabilities, torch.ones(64)), probabilities)


def one_row(scores: list[float], draw: float, *, mask: list[bool] | None = None, temperature: float = 1.0) -> int:
    legal = torch.tensor([mask or [True] * len(scores)])
    token = sample(
        torch.tensor([scores]), legal, torch.tensor([temperature]), None, torch.tensor([draw], dtype=torch.float64)
    )
    return int(token[0])


@pytest.mark.parametrize(("draw", "token"), [(0.0, 0), (0.24, 0), (0.26, 1), (0.49, 1), (0.51, 2), (1 - 2**-53, 2)])
def test_a_draw_picks_the_token_whose_share_it_falls_in(draw: float, token: int):
    assert one_row([0.0, 0.0, 0.6931471805599453], draw) == token  # shares 1/4, 1/4, 1/2


@pytest.mark.parametrize("draw", [0.0, 0.3, 0.999, 1 - 2**-53])
def test_a_forbidden_token_is_never_drawn(draw: float):
    assert one_row([5.0, 0.0, 9.0, 0.0, 5.0], draw, mask=[False, True, False, True, False]) in (1, 3)
    assert one_row([99.0, -99.0, 99.0], draw, mask=[False, True, False]) == 1


def test_a_low_temperature_takes_the_best_and_a_high_one_takes_all_alike():
    scores = [1.0, 2.0, 1.5]
    spread = [(n + 0.5) / 300 for n in range(300)]
    assert {one_row(scores, draw, temperature=0.05) for draw in spread} == {1}
    hot = [one_row(scores, draw, temperature=1000.0) for draw in spread]
    assert [hot.count(token) for token in range(3)] == [pytest.approx(100, abs=1)] * 3


@given(st.floats(0.05, 2.0), st.floats(0.0, 1.0, exclude_max=True))
def test_sampling_inverts_the_cumulative_distribution(temperature: float, draw: float):
    scores = [0.3, -1.2, 2.0, 0.0]
    shares = torch.softmax(torch.tensor(scores, dtype=torch.float64) / temperature, 0)
    token = one_row(scores, draw, temperature=temperature)
    below = float(shares[:token].sum())
    assert below - 1e-6 <= draw <= below + float(shares[token]) + 1e-6


def test_frequencies_of_tokens_are_their_probabilities():
    scores = torch.tensor([0.0, 1.0, -1.0, 0.5])
    count = 20_000
    keys = torch.tensor([stream_key(9, index) for index in range(count)])
    tokens = sample(
        scores.repeat(count, 1), torch.ones(count, 4, dtype=torch.bool), torch.full((count,), 0.7), None,
        uniform(keys, torch.zeros(count, dtype=torch.int64)),
    )  # fmt: skip
    expected = (scores / 0.7).softmax(-1) * count
    counts = torch.bincount(tokens, minlength=4)
    assert float(((counts - expected) ** 2 / expected).sum()) < 21  # 3 degrees of freedom, once in ten thousand


def test_masked_nats_tell_how_much_of_the_mass_is_legal():
    scores = torch.tensor([[0.0, 0.0, 0.6931471805599453], [3.0, 1.0, -2.0]])  # shares 1/4, 1/4, 1/2 in the first row
    legal = torch.tensor([[True, True, False], [True, True, True]])
    found = masked_nats(scores, legal, torch.tensor([1.0, 0.7]))
    assert found.tolist() == pytest.approx([0.6931471805599453, 0.0], abs=1e-6)
    sharper = masked_nats(scores, legal, torch.tensor([0.5, 0.7]))  # shares 1/6, 1/6, 2/3
    assert float(sharper[0]) == pytest.approx(1.0986122886681098, abs=1e-6)
