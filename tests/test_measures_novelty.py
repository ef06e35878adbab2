"""How new a circuit is: Jaccard by hand, identity, and the file it is kept in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analog.canonical import canonical_hash, wl_labels
from app.analog.corpus import read_archetypes
from app.errors import ModelDamaged
from app.inference.checkpoint import INDEX_NAME
from app.measures.novelty import Novelty, TrainingIndex

_LABELS = st.dictionaries(st.integers(0, 2**32 - 1), st.integers(1, 6), max_size=8).map(Counter)


def index_of(*labels: Counter[int]) -> TrainingIndex:
    return TrainingIndex.build((f"{number:032x}", each) for number, each in enumerate(labels))


def jaccard(first: Counter[int], second: Counter[int]) -> float:
    union = (first | second).total()
    return (first & second).total() / union if union else 0.0


def test_the_similarity_is_shared_labels_over_all_labels():
    known = index_of(Counter({1: 2, 2: 1, 3: 1}), Counter({7: 1}))
    # shared: min(2, 1) of label 1 and one of label 2; all: 4 + 3 - 2
    novelty = known.novelty("f" * 32, Counter({1: 1, 2: 1, 9: 1}))
    assert novelty.is_novel
    assert novelty.nearest_similarity == pytest.approx(2 / 5)


def test_the_nearest_of_several_circuits_counts():
    known = index_of(Counter({1: 1, 2: 1}), Counter({1: 1, 3: 1}), Counter({4: 9}))
    assert known.novelty("f" * 32, Counter({1: 1, 3: 1, 5: 1})).nearest_similarity == pytest.approx(2 / 3)


@given(st.lists(_LABELS, max_size=6), _LABELS)
def test_the_index_agrees_with_the_definition(circuits: list[Counter[int]], asked: Counter[int]):
    expected = max((jaccard(asked, circuit) for circuit in circuits), default=0.0)
    assert index_of(*circuits).novelty("f" * 32, asked).nearest_similarity == pytest.approx(expected)


def test_an_archetype_of_the_training_set_is_not_novel_and_the_others_are():
    circuits = [circuit.netlist for circuit in read_archetypes()]
    known = TrainingIndex.build((canonical_hash(circuit), wl_labels(circuit)) for circuit in circuits[::2])
    assert len(known) == len(circuits[::2])
    for number, circuit in enumerate(circuits):
        novelty = known.novelty(canonical_hash(circuit), wl_labels(circuit))
        assert novelty.is_novel == (number % 2 == 1)
        assert 0.0 <= novelty.nearest_similarity <= 1.0
        assert novelty.is_novel or novelty.nearest_similarity == 1.0


def test_an_empty_index_knows_nothing():
    assert index_of().novelty("0" * 32, Counter({1: 1})) == Novelty(True, 0.0)


def test_labels_that_agree_in_their_last_32_bits_count_as_one():
    known = index_of(Counter({5: 1}))
    assert known.novelty("f" * 32, Counter({5 + (1 << 32): 1})).nearest_similarity == 1.0
    assert (
        index_of(Counter({(1 << 32) - 1: 1})).novelty("f" * 32, Counter({(1 << 63) - 1: 1})).nearest_similarity == 1.0
    )


def test_a_row_shows_four_decimals():
    assert Novelty(True, 1 / 3).as_json() == {"is_novel": True, "nearest_similarity": 0.3333}


def test_an_index_that_was_saved_answers_alike(tmp_path: Path):
    known = index_of(Counter({1: 2, 2: 300}), Counter({(1 << 40) + 7: 1}))
    known.save(tmp_path / INDEX_NAME)
    loaded = TrainingIndex.load(tmp_path / INDEX_NAME)
    assert len(loaded) == 2
    for labels in (Counter({1: 1}), Counter({2: 300, 7: 4}), Counter({3: 1})):
        for identity in (f"{0:032x}", "f" * 32):
            assert loaded.novelty(identity, labels) == known.novelty(identity, labels)


def test_indices_that_are_joined_know_what_each_knew():
    one = TrainingIndex.build([("a" * 32, Counter({5: 1, 1: 2})), ("b" * 32, Counter({3: 4}))])
    other = TrainingIndex.build([("b" * 32, Counter({9: 9})), ("c" * 32, Counter({1: 2, 5: 1, 0: 3}))])
    whole = TrainingIndex.build(
        [("a" * 32, Counter({5: 1, 1: 2})), ("b" * 32, Counter({3: 4})), ("c" * 32, Counter({1: 2, 5: 1, 0: 3}))]
    )
    joined = one.joined(other)
    assert len(joined) == 3
    assert {name: array.tolist() for name, array in joined.arrays().items()} == {
        name: array.tolist() for name, array in whole.arrays().items()
    }
    assert len(one.joined(one)) == 2
    assert TrainingIndex.build([]).joined(other).knows("c" * 32)


@pytest.mark.parametrize("content", [b"", b"not an index", None], ids=["empty", "another file", "cut short"])
def test_an_index_that_cannot_be_read_is_damage(tmp_path: Path, content: bytes | None):
    path = tmp_path / "tiny" / INDEX_NAME
    path.parent.mkdir()
    index_of(Counter({1: 1})).save(path)
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(ModelDamaged, match=r"model tiny: training_index\.npz cannot be read \("):
        TrainingIndex.load(path)


def test_an_index_that_is_not_there_is_damage(tmp_path: Path):
    with pytest.raises(ModelDamaged, match=r"training_index\.npz cannot be read"):
        TrainingIndex.load(tmp_path / INDEX_NAME)


def test_an_index_of_other_columns_is_damage(tmp_path: Path):
    np.savez(tmp_path / INDEX_NAME, identities=np.array(["a"]))
    with pytest.raises(ModelDamaged, match=r"training_index\.npz cannot be read"):
        TrainingIndex.load(tmp_path / INDEX_NAME)
