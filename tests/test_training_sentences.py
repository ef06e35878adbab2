"""From corpora to batches: the split, the stream, the padding, the recipe, the schedule."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.analog.dataset import read_dataset
from app.errors import InvalidRequest, NotExpressible, UnknownName
from app.quantum.program import Operation, QuantumProgram, compacted
from app.tokens._base import BEGIN, END
from app.tokens.device_lines import DeviceLines
from app.training import analog
from app.training.recipe import NetworkShape, Recipe, read_recipe
from app.training.sentences import IGNORED, Batch, Example, SentenceStream, group_by_tokens, pack, pad, split
from app.training.trainer import schedule_of
from tests.quantum_programs import programs

TOY = Recipe(
    "analog", "toy", "device_lines", tokens=1000, warmup_tokens=100, decay_share=0.4, network=NetworkShape(width=16)
)


def example(number: int, label: str = "a") -> Example[int]:
    return Example(number, label, f"{number:032x}")


def write_number(number: int, label: str, rng: random.Random) -> list[int]:
    """A sentence of three tokens with the number in the middle; negative numbers cannot be written."""
    if number < 0:
        raise NotExpressible("a negative number")
    return [BEGIN, *[3 + number] * (1 + number // 1000), END]


def stream_of(*examples: Example[int], exponent: float = 0.5, context: int = 64) -> SentenceStream[int]:
    return SentenceStream(examples, write_number, context=context, label_exponent=exponent)


# The split.


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc")), max_size=60), st.floats(0.0, 1.0), st.randoms())
def test_a_split_does_not_depend_on_the_order_of_the_corpus(
    members: list[tuple[int, str]], share: float, rng: random.Random
):
    examples = [example(number, label) for number, label in members]
    shuffled = examples.copy()
    rng.shuffle(shuffled)
    for first, second in zip(split(examples, share), split(shuffled, share), strict=True):
        assert Counter(first) == Counter(second)


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc")), max_size=60), st.floats(0.0, 1.0))
def test_a_class_is_on_one_side_and_the_order_is_kept(members: list[tuple[int, str]], share: float):
    examples = [example(number, label) for number, label in members]
    seen, unseen = split(examples, share)
    assert not {each.split_class for each in seen} & {each.split_class for each in unseen}
    held_out = {each.split_class for each in unseen}
    assert unseen == [each for each in examples if each.split_class in held_out]
    assert seen == [each for each in examples if each.split_class not in held_out]


def test_every_label_gives_its_share_and_rare_ones_as_much_as_they_can_spare():
    sizes = {"crowd": 500, "dozen": 12, "eleven": 11, "four": 4, "three": 3}
    examples = [example(1000 * n + i, label) for n, (label, size) in enumerate(sizes.items()) for i in range(size)]
    _, unseen = split(examples, 0.08)
    assert Counter(each.label for each in unseen) == {"crowd": 40, "dozen": 2, "eleven": 1}
    _, unseen = split(examples, 0.2)
    assert Counter(each.label for each in unseen) == {"crowd": 100, "dozen": 2, "eleven": 2, "four": 1}


def test_a_class_of_several_labels_counts_for_each_of_them():
    shared = [Example(n, label, f"shared {n}") for n in range(12) for label in ("rare", "common")]
    common = [Example(100 + n, "common", f"own {n}") for n in range(38)]
    _, unseen = split([*shared, *common], 0.1)
    count = Counter(each.label for each in unseen)
    assert count == {"rare": 2, "common": 5}
    assert sum(each.split_class.startswith("own") for each in unseen) == 3


def test_a_class_too_large_for_the_share_stays_unless_the_label_would_hold_out_too_little():
    large = [Example(n, "a", "large") for n in range(100)]
    small = [example(n) for n in range(100)]
    _, unseen = split([*large, *small], 0.1)
    assert len(unseen) == 20
    assert not any(each.split_class == "large" for each in unseen)
    pairs = [Example(n, "a", f"pair {n // 2}") for n in range(24)]
    _, unseen = split(pairs, 0.04)
    assert len({each.split_class for each in unseen}) == 2


def test_names_of_classes_say_nothing_about_their_side():
    _, unseen = split([example(number) for number in range(1000)], 0.1)
    assert 350 < sum(each.circuit for each in unseen) / len(unseen) < 650


def test_a_share_of_nothing_holds_nothing_out_and_a_share_of_all_holds_all_out():
    examples = [example(number) for number in range(50)]
    assert split(examples, 0.0) == (examples, [])
    assert split(examples, 1.0) == ([], examples)


# The stream.


@pytest.mark.parametrize(("exponent", "share"), [(0.0, 1 / 2), (0.5, 1 / 5), (1.0, 1 / 17)])
def test_a_label_is_drawn_by_its_size_to_the_exponent(exponent: float, share: float):
    stream = stream_of(*(example(n, "common") for n in range(16)), example(16, "rare"), exponent=exponent)
    rng = random.Random(0)
    drawn: Counter[int] = Counter()
    for _ in range(8):
        for batch in stream.batches(rng, 256):
            drawn.update((batch.inputs[:, 1] - 3).tolist())
    assert drawn.total() == 8 * 512
    assert drawn[16] / drawn.total() == pytest.approx(share, abs=0.03)
    common = [drawn[n] for n in range(16)]
    assert max(common) < 2 * min(common)


def test_what_the_language_cannot_write_and_what_is_too_long_is_left_out_and_counted():
    stream = stream_of(example(1), example(-1), example(-2), example(5000), context=5)
    assert stream.examples == [example(1)]
    assert stream.left_out == {"not expressible": 2, "longer than the context": 1}


def test_a_fixed_set_is_one_sentence_of_every_example_and_the_same_for_the_same_seed():
    circuits = analog.examples(read_dataset(None).circuits)
    stream = SentenceStream(circuits, DeviceLines().encode, context=1024, label_exponent=0.5)
    first = stream.fixed(1)
    assert first == stream.fixed(1)
    assert first != stream.fixed(2)
    assert [DeviceLines().decode(ids)[1] for ids in first] == [circuit.label for circuit in circuits]


def test_a_circuit_is_written_anew_at_every_draw():
    largest = max(read_dataset(None).circuits, key=lambda circuit: len(circuit.netlist.devices))
    stream = SentenceStream(analog.examples((largest,)), DeviceLines().encode, context=1024, label_exponent=0.5)
    batches = stream.batches(random.Random(0), 8192)
    assert len({tuple(row) for batch in batches for row in batch.inputs.tolist()}) > 100


@given(st.lists(st.integers(2, 300), min_size=1, max_size=60), st.integers(32, 2000))
def test_groups_hold_every_sentence_once_within_their_tokens(lengths: list[int], batch_tokens: int):
    sentences = sorted(([BEGIN] * length for length in lengths), key=len)
    groups = group_by_tokens(sentences, batch_tokens)
    assert [sentence for group in groups for sentence in group] == sentences
    for group in groups:
        inputs = pad(group).inputs
        assert inputs.size <= batch_tokens or len(group) == 1
        assert inputs.shape[1] % 16 == 0


def test_targets_are_the_next_tokens_and_padding_carries_no_loss():
    batch = pad([[1, 7, 8, 2], [1, 9, 2]])
    assert batch.inputs.shape == batch.targets.shape == (2, 16)
    assert batch.inputs[:, :3].tolist() == [[1, 7, 8], [1, 9, 0]]
    assert batch.targets[:, :4].tolist() == [[7, 8, 2, IGNORED], [9, 2, IGNORED, IGNORED]]
    assert (batch.inputs[:, 3:] == 0).all()
    assert (batch.targets[:, 4:] == IGNORED).all()
    assert (batch.positions, batch.tokens) == (None, 5)
    assert all(part is None or part.dtype == torch.int64 for part in batch.on(torch.device("cpu")))


def sentences_of(batch: Batch) -> list[list[int]]:
    """The sentences of a packed batch, put together again."""
    assert batch.positions is not None
    found = []
    for inputs, targets, positions in zip(batch.inputs, batch.targets, batch.positions, strict=True):
        starts = [*np.flatnonzero(positions == 0), len(positions)]
        for start, end in itertools.pairwise(starts):
            assert positions[start:end].tolist() == list(range(end - start))
            if targets[start] != IGNORED:
                found.append([*inputs[start:end].tolist(), int(targets[end - 1])])
                assert targets[start : end - 1].tolist() == inputs[start + 1 : end].tolist()
            else:
                assert (targets[start:end] == IGNORED).all()
    return found


@given(st.lists(st.integers(2, 40), min_size=1, max_size=60), st.integers(39, 200), st.integers(1, 8))
def test_a_packed_batch_holds_every_sentence_whole_and_once(lengths: list[int], width: int, rows: int):
    sentences = [[BEGIN, *[3 + n] * (length - 2), END] for n, length in enumerate(lengths)]
    batch = pack(sentences, width, rows)
    assert sorted(sentences_of(batch)) == sorted(sentences)
    assert batch.inputs.shape[0] >= rows
    assert batch.inputs.shape[1] == width
    assert batch.tokens == (batch.targets != IGNORED).sum()


def test_packed_rows_are_nearly_full():
    rng = random.Random(0)
    sentences = [[BEGIN] * rng.randint(20, 200) for _ in range(400)]
    needed = sum(len(sentence) - 1 for sentence in sentences) // 512 + 2
    assert len(pack(sentences, 512, 1).inputs) <= needed


def test_packed_batches_have_one_shape_and_draw_what_padded_ones_draw():
    examples = [example(n, "long" if n < 8 else "short") for n in (*range(8), *range(1000, 9000, 1000))]
    stream = stream_of(*examples, exponent=0.3)
    packed = [stream.batches(random.Random(n), 16 * 1024, is_packed=True, has_one_shape=True)[0] for n in range(20)]
    assert {batch.inputs.shape for batch in packed} == {(1024, 16)}
    drawn = {True: Counter[int](), False: Counter[int]()}
    for batch in packed:
        drawn[True].update(sentence[1] - 3 for sentence in sentences_of(batch))
    for n in range(20):
        for batch in stream.batches(random.Random(f"other {n}"), 4096):
            drawn[False].update((batch.inputs[:, 1] - 3).tolist())
    for each in examples:
        shares = [count[each.circuit] / count.total() for count in drawn.values()]
        assert shares[0] == pytest.approx(shares[1], abs=0.012)


def test_packed_batches_of_any_shape_have_their_tokens_in_few_rows():
    stream = stream_of(*(example(n) for n in range(1000, 30000, 1000)))
    packed = [stream.batches(random.Random(n), 4096, is_packed=True)[0] for n in range(50)]
    assert {batch.inputs.shape[1] for batch in packed} == {32}
    assert sum(batch.tokens for batch in packed) / 50 == pytest.approx(4096, rel=0.05)
    assert sum(batch.tokens for batch in packed) > 0.9 * sum(batch.inputs.size for batch in packed)


def test_short_sentences_are_drawn_more_often_by_an_exponent_below_nought():
    def write(length: int, label: str, rng: random.Random) -> list[int]:
        return [BEGIN, *[9] * (length - 2), END]

    examples = [Example(10, "a"), Example(40, "a")]
    for exponent, share in ((0.0, 0.5), (-1.0, 0.8), (-0.5, 2 / 3)):
        stream = SentenceStream(examples, write, context=64, label_exponent=1.0, length_exponent=exponent)
        drawn = [len(sentence) for sentence in stream.draw(random.Random(1), 3000)]
        assert drawn.count(10) / 3000 == pytest.approx(share, abs=0.03)
        assert stream.mean_length == pytest.approx(10 * share + 40 * (1 - share))


def test_given_weights_stand_for_those_of_labels():
    examples = [example(n) for n in range(3)]
    stream = SentenceStream(examples, write_number, context=64, label_exponent=0.5, weights=[0.0, 3.0, 1.0])
    drawn = Counter(sentence[1] - 3 for sentence in stream.draw(random.Random(0), 4000))
    assert drawn[0] == 0
    assert drawn[1] / drawn.total() == pytest.approx(0.75, abs=0.03)


def test_a_weight_belongs_to_its_example_though_others_are_left_out():
    examples = [example(-1), example(1), example(2)]
    stream = SentenceStream(examples, write_number, context=64, label_exponent=0.5, weights=[5.0, 0.0, 1.0])
    assert stream.rows == [1, 2]
    assert {sentence[1] - 3 for sentence in stream.draw(random.Random(0), 100)} == {2}


# Quantum programs on their way in.


@given(programs())
def test_a_compact_program_has_no_idle_qubit_and_no_unused_bit(program: QuantumProgram):
    wide = QuantumProgram(program.qubit_count + 3, program.clbit_count + 2, program.operations)
    compact = compacted(wide)
    assert not compact.idle_qubits
    assert compact.qubit_count == program.qubit_count
    assert [op.name for op in compact.operations] == [op.name for op in program.operations]
    measured = {op.clbit for op in compact.operations if op.clbit is not None}
    assert measured == set(range(compact.clbit_count))


def test_qubits_and_bits_keep_their_order_when_idle_ones_go():
    program = QuantumProgram(5, 4, (Operation("cx", (4, 1)), Operation("measure", (1,), (), 3)))
    assert compacted(program) == QuantumProgram(2, 1, (Operation("cx", (1, 0)), Operation("measure", (0,), (), 0)))


# The recipe and the schedule.


def test_the_learning_rate_warms_up_stays_and_falls_to_zero():
    assert schedule_of(TOY).rate_share(0) == pytest.approx(0.01)
    assert schedule_of(TOY).rate_share(49) == pytest.approx(0.5)
    assert [schedule_of(TOY).rate_share(tokens) for tokens in (99, 300, 600)] == [1.0, 1.0, 1.0]
    assert schedule_of(TOY).rate_share(800) == pytest.approx(0.5)
    assert schedule_of(TOY).rate_share(1000) == 0.0
    assert schedule_of(TOY).rate_share(1500) == 0.0


@pytest.mark.parametrize("kind", ["analog", "quantum"])
@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_the_shipped_recipes_are_of_their_kind(kind: str, name: str):
    recipe = read_recipe(kind, name)
    assert (recipe.kind, recipe.file) == (kind, f"{kind}-{name}.toml")
    assert recipe.as_json()["network"]["width"] == recipe.network.width
    assert recipe == read_recipe(kind, f"{kind}-{name}")
    assert recipe.packed == recipe.compile == (name == "gpu")


def test_the_recipes_of_both_analog_languages_train_the_same_network():
    walks, lines = read_recipe("analog", "eulerian"), read_recipe("analog", "cpu")
    assert (walks.language, lines.language) == ("eulerian", "device_lines")
    assert replace(walks.network, dropout=lines.network.dropout) == lines.network
    assert walks.context >= 1056


def test_the_recipe_for_two_cores_is_the_one_where_none_is_named():
    assert read_recipe("analog").file == "analog-cpu.toml"


def write_recipe(folder: Path, text: str) -> str:
    (folder / "toy.toml").write_text(text, encoding="utf-8")
    return str(folder / "toy.toml")


GOOD = 'kind = "analog"\nname = "toy"\nlanguage = "device_lines"\ntokens = 1000\n'


def test_a_recipe_can_be_a_file_of_ones_own(tmp_path: Path):
    recipe = read_recipe("analog", write_recipe(tmp_path, GOOD + "seed = 5\n[network]\nwidth = 32\n"))
    assert recipe == Recipe("analog", "toy", "device_lines", 1000, seed=5, network=NetworkShape(width=32))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GOOD + "speed = 3\n", "toy.toml: unknown key 'speed'"),
        (GOOD + "[network]\nwidht = 3\n", "toy.toml: unknown key 'widht'"),
        (GOOD + 'file = "here"\n', "toy.toml: unknown key 'file'"),
        (GOOD + "seed = 1.5\n", "toy.toml: seed = 1.5 is no int"),
        (GOOD + "packed = 1\n", "toy.toml: packed = 1 is no bool"),
        (GOOD + "[network]\nlayers = 0\n", "toy.toml: layers = 0 is too small"),
        (GOOD + "decay_share = -0.1\n", "toy.toml: decay_share = -0.1 is too small"),
        (GOOD + "length_exponent = -1.5\n", "toy.toml: length_exponent = -1.5 is too small"),
        (
            GOOD + "[network]\nwidth = 30\nheads = 4\n",
            "toy.toml: a width of 30 does not divide into 4 heads of even width, or these into 4 kv_heads",
        ),
        (
            GOOD + "compile = true\n",
            "toy.toml: compile = true needs packed = true, for padded batches differ in shape",
        ),
        (GOOD.replace("tokens = 1000\n", ""), "toy.toml: key 'tokens' is missing"),
        (GOOD.replace('"analog"', '"quantum"'), "toy.toml is a recipe for quantum, not for analog"),
        ("tokens = = 3\n", "toy.toml is not TOML: Invalid value (at line 1, column 10)"),
    ],
)
def test_a_recipe_that_cannot_be_followed_says_what_is_wrong(tmp_path: Path, text: str, sentence: str):
    with pytest.raises(InvalidRequest) as caught:
        read_recipe("analog", write_recipe(tmp_path, text))
    assert str(caught.value) == sentence


def test_an_unknown_recipe_is_answered_with_the_known_ones():
    with pytest.raises(UnknownName, match="no recipe named 'analog-cpo'; did you mean 'analog-cpu'"):
        read_recipe("analog", "analog-cpo")
    with pytest.raises(UnknownName, match=r"no recipe named 'nowhere/toy\.toml'"):
        read_recipe("analog", "nowhere/toy.toml")
