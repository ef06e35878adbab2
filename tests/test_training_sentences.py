"""From corpora to batches: the split, the stream, the padding, the recipe, the schedule."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.analog.corpus import CorpusCircuit, read_archetypes
from app.analog.netlist import Device, Netlist
from app.errors import InvalidRequest, NotExpressible, UnknownName
from app.quantum.program import Operation, QuantumProgram
from app.tokens._base import BEGIN, END
from app.tokens.device_lines import DeviceLines
from app.training import analog
from app.training.quantum import compacted
from app.training.recipe import NetworkShape, Recipe, read_recipe
from app.training.sentences import IGNORED, Example, SentenceStream, group_by_tokens, pad, split
from app.training.trainer import learning_rate_share
from tests.quantum_programs import programs

TOY = Recipe(
    "analog", "toy", "device_lines", tokens=1000, warmup_tokens=100, decay_share=0.4, network=NetworkShape(width=16)
)


def example(number: int, label: str = "a") -> Example[int]:
    return Example(number, label, f"{(number * 2654435761) % 2**32:08x}{number:024x}")


def write_number(number: int, label: str, rng: random.Random) -> list[int]:
    """A sentence of three tokens with the number in the middle; negative numbers cannot be written."""
    if number < 0:
        raise NotExpressible("a negative number")
    return [BEGIN, *[3 + number] * (1 + number // 1000), END]


def stream_of(*examples: Example[int], exponent: float = 0.5, context: int = 64) -> SentenceStream[int]:
    return SentenceStream(examples, write_number, context=context, label_exponent=exponent)


# The split.


@given(st.lists(st.integers(0, 10**6), max_size=60), st.floats(0.0, 1.0), st.randoms())
def test_a_split_does_not_depend_on_the_order_of_the_corpus(numbers: list[int], share: float, rng: random.Random):
    examples = [example(number) for number in numbers]
    shuffled = examples.copy()
    rng.shuffle(shuffled)
    for first, second in zip(split(examples, share), split(shuffled, share), strict=True):
        assert Counter(first) == Counter(second)


def test_isomorphic_circuits_are_on_one_side():
    rng = random.Random(0)
    circuits = list(read_archetypes())
    for circuit in read_archetypes():
        devices = list(circuit.netlist.devices)
        rng.shuffle(devices)
        names = {net: net if net in circuit.netlist.ports else f"x{net}" for net in circuit.netlist.nets}
        twins = tuple(
            Device(f"T{n}", device.kind, tuple(names[net] for net in device.nets)) for n, device in enumerate(devices)
        )
        twin = Netlist(twins, circuit.netlist.ports)
        circuits.append(CorpusCircuit(circuit.id + " twin", circuit.type, twin, "here"))
    seen, unseen = split(analog.examples(tuple(circuits)), 0.3)
    classes = [{each.split_class for each in side} for side in (seen, unseen)]
    assert not classes[0] & classes[1]
    assert len(seen) + len(unseen) == 2 * len(read_archetypes())
    assert all(len(side) % 2 == 0 for side in (seen, unseen))
    assert 0.15 < len(unseen) / len(circuits) < 0.45


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
        for inputs, _ in stream.batches(rng, 256):
            drawn.update((inputs[:, 1] - 3).tolist())
    assert drawn.total() == 8 * 512
    assert drawn[16] / drawn.total() == pytest.approx(share, abs=0.03)
    common = [drawn[n] for n in range(16)]
    assert max(common) < 2 * min(common)


def test_what_the_language_cannot_write_and_what_is_too_long_is_left_out_and_counted():
    stream = stream_of(example(1), example(-1), example(-2), example(5000), context=5)
    assert stream.examples == [example(1)]
    assert stream.left_out == {"not expressible": 2, "longer than the context": 1}


def test_a_fixed_set_is_one_sentence_of_every_example_and_the_same_for_the_same_seed():
    circuits = analog.examples(read_archetypes())
    stream = SentenceStream(circuits, DeviceLines().encode, context=1024, label_exponent=0.5)
    first = stream.fixed(1)
    assert first == stream.fixed(1)
    assert first != stream.fixed(2)
    assert [DeviceLines().decode(ids)[1] for ids in first] == [circuit.label for circuit in circuits]


def test_a_circuit_is_written_anew_at_every_draw():
    largest = max(read_archetypes(), key=lambda circuit: len(circuit.netlist.devices))
    stream = SentenceStream(analog.examples((largest,)), DeviceLines().encode, context=1024, label_exponent=0.5)
    batches = stream.batches(random.Random(0), 8192)
    assert len({tuple(row) for inputs, _ in batches for row in inputs.tolist()}) > 100


@given(st.lists(st.integers(2, 300), min_size=1, max_size=60), st.integers(32, 2000))
def test_groups_hold_every_sentence_once_within_their_tokens(lengths: list[int], batch_tokens: int):
    sentences = sorted(([BEGIN] * length for length in lengths), key=len)
    groups = group_by_tokens(sentences, batch_tokens)
    assert [sentence for group in groups for sentence in group] == sentences
    for group in groups:
        inputs, _ = pad(group)
        assert inputs.numel() <= batch_tokens or len(group) == 1
        assert inputs.shape[1] % 32 == 0


def test_targets_are_the_next_tokens_and_padding_carries_no_loss():
    inputs, targets = pad([[1, 7, 8, 2], [1, 9, 2]])
    assert inputs.shape == targets.shape == (2, 32)
    assert inputs[:, :3].tolist() == [[1, 7, 8], [1, 9, 0]]
    assert targets[:, :4].tolist() == [[7, 8, 2, IGNORED], [9, 2, IGNORED, IGNORED]]
    assert (inputs[:, 3:] == 0).all()
    assert (targets[:, 4:] == IGNORED).all()
    assert targets.dtype == torch.int64


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
    assert learning_rate_share(TOY, 0) == pytest.approx(0.01)
    assert learning_rate_share(TOY, 49) == pytest.approx(0.5)
    assert [learning_rate_share(TOY, tokens) for tokens in (99, 300, 600)] == [1.0, 1.0, 1.0]
    assert learning_rate_share(TOY, 800) == pytest.approx(0.5)
    assert learning_rate_share(TOY, 1000) == 0.0
    assert learning_rate_share(TOY, 1500) == 0.0


@pytest.mark.parametrize("kind", ["analog", "quantum"])
def test_the_shipped_recipes_are_of_their_kind(kind: str):
    recipe = read_recipe(kind)
    assert recipe.kind == kind
    assert recipe.as_json()["network"]["width"] == recipe.network.width


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
    with pytest.raises(UnknownName, match="no recipe named 'anolog'; did you mean 'analog'"):
        read_recipe("analog", "anolog")
    with pytest.raises(UnknownName, match=r"no recipe named 'nowhere/toy\.toml'"):
        read_recipe("analog", "nowhere/toy.toml")
