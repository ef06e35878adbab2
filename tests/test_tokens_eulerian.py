"""AnalogGenie's walks: written, read, refused, and what the grammar guarantees of those that nobody wrote."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.analog.canonical import are_isomorphic
from app.analog.corpus import read_analoggenie, read_archetypes
from app.analog.kinds import KINDS
from app.analog.netlist import Device, Netlist
from app.errors import InvalidRequest, NotASentence, NotExpressible
from app.tokens._base import languages
from app.tokens._eulerian_walk import (
    INSTANCE_NAMES,
    INSTANCE_OF_PIN,
    INSTANCES,
    MAX_WALK,
    PADDING,
    PORTS,
    circuit_of_walk,
    walk_tokens,
)
from app.tokens.device_lines import TopologyConstraint
from app.tokens.eulerian import VOCABULARY, Eulerian
from tests.random_walks import illegal_positions, walk
from tests.tiny_models import CPU

LANGUAGE = Eulerian()
GRAMMAR = LANGUAGE.grammar(CPU)


def can_be_walked(circuit: Netlist) -> bool:
    """False where a kind or a role of ports has more than the vocabulary names."""
    try:
        walk_tokens(circuit)
    except NotExpressible:
        return False
    return True


ARCHETYPES = [circuit for circuit in read_archetypes() if can_be_walked(circuit.netlist)]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """A mask of many rows is cut over threads, which on busy cores takes far longer than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


#: Names of AnalogGenie's kinds, which its netlists end their lines with.
_KINDS = {
    "nmos4": "nmos", "pmos4": "pmos", "INVERTER": "inverter", "TRANSMISSION_GATE": "transmission_gate", "XOR": "xor",
    "PFD": "pfd",
}  # fmt: skip


def netlist(*devices: tuple[str, str], ports: str) -> Netlist:
    """A netlist from (kind, nets) pairs."""
    return Netlist(
        tuple(Device(f"X{n}", kind, tuple(nets.split())) for n, (kind, nets) in enumerate(devices)),
        tuple(ports.split()),
    )


def as_drawn(row: dict[str, Any]) -> Netlist:
    """A circuit of the data set without repair: no substrates, and a supply that is no port is a net like any other."""
    devices = []
    for number, line in enumerate(row["netlist"].splitlines()):
        _, *nets, kind = line.replace("(", " ").replace(")", " ").split()
        kind = _KINDS.get(kind, kind)
        wires = (net if net in row["ports"] else f"net_{net}" for net in nets[: len(KINDS[kind].pins)])
        devices.append(Device(f"D{number}", kind, tuple(wires)))
    return Netlist(tuple(devices), tuple(dict.fromkeys(row["ports"])))


def steps(tokens: list[str]) -> set[tuple[str, str]]:
    return set(pairwise(tokens))


def assert_is_a_depth_first_walk(tokens: list[str]) -> None:
    """Every edge once in each direction, and back only from where nothing is left, along the edge it came by."""
    edges = steps(tokens)
    assert len(edges) == len(tokens) - 1
    assert {(there, here) for here, there in edges} == edges
    path, walked = ["VSS"], set[tuple[str, str]]()
    for here, there in pairwise(tokens):
        if (there, here) in walked:
            assert path[-2] == there
            assert not [edge for edge in edges if edge[0] == here and not {edge, edge[::-1]} & walked]
            path.pop()
        else:
            path.append(there)
        walked.add((here, there))
    assert path == ["VSS"]


def test_the_vocabulary_has_the_thousand_and_five_tokens_with_padding_for_truncate():
    assert len(INSTANCES) + len(INSTANCE_OF_PIN) == 899
    assert len(INSTANCES) + len(INSTANCE_OF_PIN) + len(PORTS) + len([PADDING]) == 1005
    assert VOCABULARY.ids(VOCABULARY.tokens) == list(range(len(VOCABULARY)))
    assert {kind: len(names.pins) for kind, names in INSTANCE_NAMES.items()} == {
        name: len(kind.pins) for name, kind in KINDS.items()
    }


def test_both_reference_walks_of_every_circuit_are_walks_of_our_graph_and_the_first_is_ours(shared_data: Path):
    folder = shared_data / "analoggenie"
    with (folder / "eulerian_walks.jsonl").open() as lines:
        references = [json.loads(line) for line in lines]
    assert len(references) == 80
    wanted = {reference["id"] for reference in references}
    with (folder / "circuits.jsonl").open() as lines:
        circuits = {row["id"]: as_drawn(row) for row in map(json.loads, lines) if row["id"] in wanted}
    for reference in references:
        circuit = circuits[reference["id"]]
        ours = walk_tokens(circuit)
        assert reference["walks"][0] == ours, reference["id"]
        shuffled = walk_tokens(circuit, random.Random(0))
        for tokens in reference["walks"]:
            assert steps(tokens) == steps(ours) == steps(shuffled)
            assert len(tokens) == len(ours) == len(shuffled) == 2 * (len(steps(ours)) // 2) + 1
            assert_is_a_depth_first_walk(tokens)
            assert are_isomorphic(circuit_of_walk(tokens), circuit), reference["id"]
            assert circuit_of_walk([*tokens, *[PADDING] * (MAX_WALK - len(tokens))]) == circuit_of_walk(tokens)


def test_a_sample_of_the_corpus_survives_the_round_trip(shared_data: Path):
    rng = random.Random(0)
    with (shared_data / "analoggenie" / "circuits.jsonl").open() as lines:
        rows = [json.loads(line) for line in rng.sample(lines.readlines(), 150)]
    for row in rows:
        circuit = as_drawn(row)
        decoded, label = LANGUAGE.decode(LANGUAGE.encode(circuit, "other", rng))
        assert label == "other"
        assert are_isomorphic(decoded, circuit), row["id"]


@pytest.mark.slow
def test_the_whole_corpus_survives_the_round_trip_and_its_longest_walks_are_legal(shared_data: Path):
    sentences = []
    for circuit in read_analoggenie(shared_data / "analoggenie").circuits:
        ids = LANGUAGE.encode(circuit.netlist, circuit.type, random.Random(circuit.id))
        assert are_isomorphic(LANGUAGE.decode(ids)[0], circuit.netlist), circuit.id
        sentences.append(ids)
    longest = sorted(sentences, key=len)[-40:]
    assert not any(illegal_positions(GRAMMAR, [TopologyConstraint()] * len(longest), longest))


def test_nearly_every_archetype_can_be_walked():
    assert len(ARCHETYPES) >= 0.95 * len(read_archetypes())


@pytest.mark.parametrize("circuit", ARCHETYPES, ids=lambda circuit: circuit.id)
def test_an_archetype_survives_the_round_trip_in_every_order(circuit: Any):
    for rng in (None, random.Random(0), random.Random(1)):
        tokens = walk_tokens(circuit.netlist, rng)
        assert are_isomorphic(circuit_of_walk(tokens), circuit.netlist)
        assert walk_tokens(circuit_of_walk(tokens))[0] == "VSS"
    assert_is_a_depth_first_walk(tokens)


@settings(deadline=None)
@given(number=st.integers(0, len(ARCHETYPES) - 1), seed=st.integers(0, 2**31))
def test_every_random_order_is_a_walk_of_the_same_graph_and_a_seed_gives_it_again(number: int, seed: int):
    circuit = ARCHETYPES[number].netlist
    tokens = walk_tokens(circuit, random.Random(seed))
    assert tokens == walk_tokens(circuit, random.Random(seed))
    assert steps(tokens) == steps(walk_tokens(circuit))
    assert_is_a_depth_first_walk(tokens)
    assert circuit_of_walk(tokens) == circuit_of_walk(walk_tokens(circuit))


def test_a_walk_by_hand_goes_along_stars_and_cliques():
    circuit = netlist(("resistor", "VIN1 a"), ("capacitor", "a VSS"), ports="VIN1 VSS")
    assert " ".join(walk_tokens(circuit)) == (
        "VSS C1_N C1 C1_P R1_N R1 R1_P VIN1 R1_P R1 R1_N C1_P C1 C1_N VSS"  # seven edges
    )
    assert circuit_of_walk(walk_tokens(circuit)) == Netlist(
        (Device("R1", "resistor", ("VIN1", "N1")), Device("C1", "capacitor", ("N1", "VSS"))), ("VIN1", "VSS")
    )


def test_a_walk_that_is_no_depth_first_search_is_read_as_well():
    text = "VSS R1_P R1 R1_N VSS R2_P R2 R2_N VSS R1_N R1 R1_P VSS R2_N R2 R2_P VSS"
    assert [device.nets for device in circuit_of_walk(text.split()).devices] == [("VSS", "VSS")] * 2


@pytest.mark.parametrize(
    ("circuit", "sentence"),
    [
        (
            netlist(*[("nmos", "VIN1 VIN1 VSS VSS")] * 35, ports="VIN1 VSS"),
            "35 devices of kind nmos, this language names 34",
        ),
        (netlist(("resistor", "VB11 VSS"), ports="VB11 VSS"), "no token for port 'VB11' in this language"),
        (
            netlist(*[("nmos", "a a VSS VSS")] * 20, ports="VSS"),
            "the walk has 1801 tokens, this language writes at most 1025",
        ),
        (netlist(("resistor", "VIN1 VDD"), ports="VIN1"), "no device stands on VSS, where every walk begins"),
        (Netlist((), ("VSS",)), "no device stands on VSS, where every walk begins"),
        (
            netlist(("resistor", "VIN1 VSS"), ("resistor", "VB1 a"), ports="VIN1 VB1 VSS"),
            "VB1 has no way to VSS, and a walk tells only what is connected to it",
        ),
    ],
)
def test_what_a_walk_cannot_tell_is_not_expressible(circuit: Netlist, sentence: str):
    with pytest.raises(NotExpressible) as caught:
        walk_tokens(circuit)
    assert str(caught.value) == sentence


def test_ports_that_no_device_stands_on_are_passed_over_whatever_their_name():
    circuit = netlist(("resistor", "VIN1 VSS"), ports="VIN1 VSS SPARE VB1")
    assert circuit_of_walk(walk_tokens(circuit)).ports == ("VIN1", "VSS")


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "a walk begins at VSS"),
        ("R1_P R1", 0, "a walk begins at VSS"),
        ("VSS NM35_D", 1, "'NM35_D' is not a token of this language"),
        (f"VSS {'x' * 50}", 1, f"'{'x' * 37}...' is not a token of this language"),
        ("VSS TRUNCATE VSS", 1, "'TRUNCATE' is not a token of this language"),
        ("VSS", 1, "no device"),
        ("VSS VDD", 1, "VDD cannot touch VSS"),
        ("VSS R1", 1, "R1 cannot touch VSS"),
        ("VSS R1_P R2", 2, "R2 cannot touch R1_P"),
        ("VSS R1_P R1_P", 2, "R1_P cannot touch R1_P"),
        ("VSS R1_P VSS R1_P", 3, "the step from VSS to R1_P was walked before"),
        ("VSS R1_P R1", 3, "the walk stops at R1 and not at VSS"),
        ("VSS R1_P R1 R1_N VSS", 1, "the step from VSS to R1_P is never walked back"),
        ("VSS R1_P VSS", 1, "R1_P is walked without its device R1"),
        ("VSS R1_P R1 R1_P VSS", 2, "R1 is walked without its pin R1_N"),
        (
            "VSS R1_P R1 R1_N VDD R1_N C1_P C1 C1_N C1 C1_P R1_N R1 R1_P VSS",
            3,
            "R1_N touches VDD and C1_P; a pin on a port touches nothing else",
        ),
        (
            "VSS R1_P R1 R1_N C1_P C1 C1_N C1 C1_P L1_P L1 L1_N L1 L1_P C1_P R1_N R1 R1_P VSS",
            4,
            "C1_P touches L1_P and R1_N, which do not touch each other",
        ),
    ],
)
def test_tokens_that_are_no_walk_say_where_and_why(text: str, position: int, reason: str):
    with pytest.raises(NotASentence) as caught:
        circuit_of_walk(text.split())
    assert (caught.value.position, caught.value.reason) == (position, reason)


def sentence_of(text: str) -> list[int]:
    return VOCABULARY.ids(text.split())


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("VSS", 0, "a sentence begins with <begin>"),
        ("<begin>", 1, "a circuit type is due"),
        ("<begin> VSS", 1, "a circuit type is due"),
        ("<begin> type:opamp VSS", 3, "the sequence stops where <end> is due"),
        ("<begin> type:opamp R1 <end>", 2, "a walk begins at VSS"),
        ("<begin> type:opamp VSS VDD <end>", 3, "VDD cannot touch VSS"),
    ],
)
def test_a_sentence_has_its_type_before_the_walk_and_its_end_behind(text: str, position: int, reason: str):
    with pytest.raises(NotASentence) as caught:
        LANGUAGE.decode(sentence_of(text))
    assert (caught.value.position, caught.value.reason) == (position, reason)


def test_an_unknown_type_is_not_expressible():
    with pytest.raises(NotExpressible, match="no token for 'type:toaster' in this language"):
        LANGUAGE.encode(ARCHETYPES[0].netlist, "toaster", random.Random(0))


def test_the_language_is_registered_and_its_grammar_is_made_once():
    assert languages["eulerian"].name == "eulerian"
    assert LANGUAGE.grammar(CPU) is GRAMMAR


def test_the_grammar_accepts_archetypes_at_every_step_and_when_they_are_asked_for():
    circuits = [c for c in ARCHETYPES if len(c.netlist.devices) <= 6][:20]
    sentences = [LANGUAGE.encode(c.netlist, c.type, random.Random(7)) for c in circuits]
    asked = [
        TopologyConstraint(
            type=c.type,
            max_devices=len(c.netlist.devices),
            kinds=tuple({device.kind for device in c.netlist.devices}),
            ports=tuple(port for port in c.netlist.ports if port in c.netlist.nets),
        )
        for c in circuits
    ]
    everything = [TopologyConstraint()] * len(sentences)
    assert not any(illegal_positions(GRAMMAR, [*everything, *asked], [*sentences, *sentences]))


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("VSS R1", 3),  # a port touches pins only
        ("VSS R1_P VSS", 4),  # the device has a pin that is not walked yet
        ("VSS R1_P VDD", 4),  # one net has one port
        ("VSS R1_P R1 R1_N R1", 6),  # the pin has no net yet
        ("VSS R1_P R1 R1_N R1_P", 6),  # one pin is on VSS, the other is not
        ("VSS R1_P R1 R1_N VDD R1_N R1 R1_P VSS R2_P R2 R2_N VDD", 14),  # VDD was left for good
        ("VSS R1_P R1 R1_N C1_P C1 C1_N VDD C1_N C1 C1_P R1_N R1 R1_P VSS <end>", None),
        ("VSS R1_P R1 R1_N VDD R1_N R1 R1_P VSS VSS", 11),  # nothing is left but the end or another device
    ],
)
def test_what_is_no_step_of_a_walk_is_forbidden_where_it_begins(text: str, position: int | None):
    ids = sentence_of(f"<begin> type:other {text}")
    assert illegal_positions(GRAMMAR, [TopologyConstraint()], [ids]) == [position]


@st.composite
def constraints(draw: st.DrawFn) -> TopologyConstraint:
    """Wide and narrow ones; some cannot be met."""
    kinds = draw(st.none() | st.frozensets(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
    ports = draw(st.frozensets(st.sampled_from(("VDD", "VIN1", "VIN2", "VOUT1", "VB1", "VB2", "VCLK1")), max_size=7))
    most = draw(st.integers(1, 4))
    return TopologyConstraint(
        type=draw(st.sampled_from((None, "opamp"))),
        min_devices=draw(st.integers(1, most)),
        max_devices=most,
        kinds=None if kinds is None else tuple(sorted(kinds)),
        ports=tuple(sorted(ports)),
    )


def refusal(constraint: TopologyConstraint) -> InvalidRequest | None:
    try:
        GRAMMAR.start(constraint)
    except InvalidRequest as refused:
        return refused
    return None


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(constraint=constraints(), seed=st.integers(0, 2**31))
def test_whatever_is_asked_for_is_refused_or_met_by_every_walk(constraint: TopologyConstraint, seed: int):
    if refusal(constraint) is not None:
        return
    for sentence in walk(GRAMMAR, [constraint] * 4, seed):
        circuit, label = LANGUAGE.decode(sentence)
        assert constraint.min_devices <= len(circuit.devices) <= constraint.max_devices
        assert constraint.type in (None, label)
        assert constraint.kinds is None or {device.kind for device in circuit.devices} <= set(constraint.kinds)
        assert {"VSS", *constraint.ports} <= set(circuit.nets)
        assert all(len(circuit.pins_of[net]) > 1 for net in circuit.internal_nets)
        assert_is_a_depth_first_walk([VOCABULARY.tokens[token] for token in sentence[2:-1]])


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fewest=st.integers(1, 50), most=st.integers(1, 60), ports=st.integers(0, 10), seed=st.integers(0, 2**31))
def test_walks_of_nobody_with_many_devices_and_ports_end_as_well(fewest: int, most: int, ports: int, seed: int):
    names = ("VDD", *(f"VIN{n}" for n in range(1, 11)))
    constraint = TopologyConstraint(min_devices=min(fewest, most), max_devices=most, ports=names[:ports])
    if refusal(constraint) is None:
        for sentence in walk(GRAMMAR, [constraint] * 4, seed, biased_by=seed % 6):
            circuit, _ = LANGUAGE.decode(sentence)
            assert min(fewest, most) <= len(circuit.devices) <= most
            assert {"VSS", *names[:ports]} <= set(circuit.nets)


@pytest.mark.slow
def test_walks_of_nobody_end_at_the_longest_too():
    for seed in range(4):
        for sentence in walk(GRAMMAR, [TopologyConstraint()] * 16, seed):
            LANGUAGE.decode(sentence)


@pytest.mark.parametrize(
    ("constraint", "sentence", "pointer"),
    [
        (TopologyConstraint(ports=("VDD", "VB12")), "no token for port 'VB12' in this language", "/ports/1"),
        (
            TopologyConstraint(kinds=("xor",), min_devices=3),
            "this language has names for 1 devices of the kinds allowed, 3 are asked for",
            "/min_devices",
        ),
        (
            TopologyConstraint(kinds=("resistor",), max_devices=1, ports=("VIN1", "VOUT1")),
            "1 to 1 devices of the kinds allowed cannot be counted on to hold 2 ports besides VSS in a walk of at most "
            "1025 tokens",
            "/ports",
        ),
        (
            TopologyConstraint(kinds=("nmos", "pmos"), min_devices=68),
            "68 to 68 devices of the kinds allowed cannot be counted on to hold 0 ports besides VSS in a walk of at "
            "most 1025 tokens",
            "/min_devices",
        ),
    ],
)
def test_a_request_that_no_walk_can_be_counted_on_to_meet_is_refused(
    constraint: TopologyConstraint, sentence: str, pointer: str
):
    with pytest.raises(InvalidRequest) as caught:
        GRAMMAR.start(constraint)
    assert str(caught.value) == sentence
    assert caught.value.pointer == pointer


def test_a_prompt_is_what_every_sentence_under_the_constraint_shares():
    assert LANGUAGE.prompt(TopologyConstraint()) == sentence_of("<begin>")
    constraint = TopologyConstraint(type="ldo", max_devices=3)
    prompt = LANGUAGE.prompt(constraint)
    assert prompt == sentence_of("<begin> type:ldo VSS")
    for sentence in walk(GRAMMAR, [constraint] * 4, 0):
        assert sentence[: len(prompt)] == prompt


def test_the_longest_sentence_is_bounded_by_the_devices_allowed():
    assert GRAMMAR.longest(TopologyConstraint()) == MAX_WALK + 3
    assert GRAMMAR.longest(TopologyConstraint(max_devices=1, kinds=("resistor",))) == 4 + 2 * 4
