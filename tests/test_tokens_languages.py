"""What every language shares: vocabularies, the registry, rows of a grammar's state, angles."""

from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.errors import NotExpressible
from app.tokens import _angles
from app.tokens._base import BEGIN, END, PAD, TensorState, Vocabulary, languages
from app.tokens.device_lines import TopologyConstraint
from app.tokens.qasm_domain import ProgramConstraint
from tests.tiny_models import CPU

_ANGLES = st.floats(-100.0, 100.0, allow_nan=False)
_PERIODS = st.sampled_from((2, 4))

A_RESISTOR_TO_NOWHERE = tuple(languages["device_lines"].vocabulary.ids(["kind:resistor", "VIN1", "N1"]))


def test_there_are_three_languages_and_they_know_their_names():
    assert {name: language.name for name, language in languages.items()} == {
        "device_lines": "device_lines",
        "eulerian": "eulerian",
        "qasm_domain": "qasm_domain",
    }


@pytest.mark.parametrize("name", ["device_lines", "qasm_domain"])
def test_a_vocabulary_starts_with_the_three_specials_and_finds_every_name_again(name: str):
    vocabulary = languages[name].vocabulary
    assert vocabulary.tokens[:3] == ("<pad>", "<begin>", "<end>")
    assert (PAD, BEGIN, END) == (0, 1, 2)
    assert vocabulary.ids(vocabulary.tokens) == list(range(len(vocabulary)))
    assert len(vocabulary) < 1200


def test_a_vocabulary_names_no_token_twice():
    with pytest.raises(ValueError, match="a token name occurs twice"):
        Vocabulary(("<pad>", "<begin>", "<end>", "a", "a"))


def test_a_vocabulary_without_its_specials_is_refused():
    with pytest.raises(ValueError, match="a vocabulary starts with <pad>, <begin>, <end>"):
        Vocabulary(("<begin>", "<pad>", "<end>"))


def test_a_name_outside_the_vocabulary_is_not_expressible():
    with pytest.raises(NotExpressible, match="no token for 'VOUT99' in this language"):
        languages["device_lines"].vocabulary.ids(["VDD", "VOUT99"])


@pytest.mark.parametrize(
    ("name", "constraint"),
    [
        ("device_lines", TopologyConstraint()),
        ("device_lines", TopologyConstraint(prefix=A_RESISTOR_TO_NOWHERE)),
        ("eulerian", TopologyConstraint()),
        ("qasm_domain", ProgramConstraint()),
    ],
)
def test_a_row_that_is_put_or_moved_goes_on_as_its_source_would(name: str, constraint: object):
    grammar = languages[name].grammar(CPU)
    state: TensorState = grammar.allocate(4)
    state.put(2, grammar.start(constraint))
    rng = random.Random(1)
    for _ in range(12):
        mask = grammar.mask(state, 4)
        assert mask[[0, 1, 3]].nonzero().tolist() == [[0, PAD], [1, PAD], [2, PAD]], "idle rows stay idle"
        tokens = torch.zeros(4, dtype=torch.int64)
        tokens[2] = rng.choice([token for token in mask[2].nonzero()[:, 0].tolist() if token != END])
        grammar.advance(state, tokens)
    expected = grammar.mask(state, 4)[2].clone()
    state.move(0, 2)
    state.put(2, grammar.allocate(1))
    after = grammar.mask(state, 4)
    assert torch.equal(after[0], expected)
    assert after[2].nonzero().tolist() == [[PAD]]


@given(angle=_ANGLES, period=_PERIODS)
def test_a_reduced_angle_means_the_same_and_lies_within_half_a_period(angle: float, period: int):
    reduced = _angles.reduce(angle, period)
    assert -period * math.pi / 2 < reduced <= period * math.pi / 2
    assert math.remainder(reduced - angle, period * math.pi) == pytest.approx(0.0, abs=1e-9)


def test_every_angle_of_the_grid_is_found_again_and_is_exact():
    for number, value in enumerate(_angles.GRID):
        assert _angles.grid_number(_angles.grid_angle(number)) == number
        assert _angles.grid_angle(number) == value.numerator * math.pi / value.denominator


@pytest.mark.parametrize("angle", [math.pi / 16, -math.pi / 6, 2 * math.pi, 0.0, math.pi / 2**20, 15 * math.pi / 8])
def test_common_angles_are_on_the_grid(angle: float):
    number = _angles.grid_number(angle)
    assert number is not None
    assert _angles.grid_angle(number) == pytest.approx(angle, abs=1e-12)


@pytest.mark.parametrize(
    "angle", [0.1, math.pi / 7, math.pi / 17, math.pi / 16 + 1e-6, 3 * math.pi / 2**10, -2 * math.pi]
)
def test_other_angles_are_off_the_grid(angle: float):
    assert _angles.grid_number(angle) is None


@given(angle=st.floats(-2 * math.pi, 2 * math.pi))
def test_two_levels_hold_any_reduced_angle_to_a_ten_thousandth(angle: float):
    coarse, fine = _angles.to_levels(angle)
    assert 0 <= coarse < _angles.LEVELS
    assert 0 <= fine < _angles.LEVELS
    assert _angles.from_levels(coarse, fine) == pytest.approx(angle, abs=1e-4)
