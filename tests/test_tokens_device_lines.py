"""Netlists as device lines and back."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from app.analog.canonical import are_isomorphic
from app.analog.corpus import CorpusCircuit, read_analoggenie, read_archetypes
from app.analog.kinds import CIRCUIT_TYPES, KINDS, SUPPLY_NETS
from app.analog.netlist import Device, Netlist
from app.analog.rules import islands
from app.errors import InvalidRequest, NotASentence, NotExpressible
from app.tokens._base import HasBeginnings
from app.tokens._device_templates import TEMPLATES, Template
from app.tokens.device_lines import (
    MAX_DEVICES,
    MAX_INTERNAL_NETS,
    VOCABULARY,
    DeviceLines,
    TopologyConstraint,
    closing_order,
)
from tests.random_walks import illegal_positions
from tests.tiny_models import CPU

LANGUAGE = DeviceLines()
GRAMMAR = LANGUAGE.grammar(CPU)
ARCHETYPES = read_archetypes()


@pytest.fixture(scope="module")
def corpus(shared_data: Path) -> tuple[CorpusCircuit, ...]:
    return read_analoggenie(shared_data / "analoggenie").circuits


def words(text: str) -> list[int]:
    """The ids of token names between ``<begin>`` and what the text ends with."""
    return VOCABULARY.ids(["<begin>", *text.split()])


def netlist(*devices: tuple[str, str], ports: str) -> Netlist:
    """A netlist from (kind, nets) pairs."""
    return Netlist(
        tuple(Device(f"X{n}", kind, tuple(nets.split())) for n, (kind, nets) in enumerate(devices)),
        tuple(ports.split()),
    )


def assert_round_trip(circuit: CorpusCircuit, rng: random.Random) -> list[int]:
    ids = LANGUAGE.encode(circuit.netlist, circuit.type, rng)
    decoded, label = LANGUAGE.decode(ids)
    assert label == circuit.type
    assert are_isomorphic(decoded, circuit.netlist), circuit.id
    return ids


def what_it_is(ids: list[int]) -> TopologyConstraint:
    """The narrowest constraint that a sentence meets.

    The grammar counts neither on blocks to close nets nor on supplies that a later device implies, so circuits with
    blocks and circuits of one or two devices are asked for by their type alone.
    """
    circuit, label = LANGUAGE.decode(ids)
    if len(circuit.devices) < 3 or any(device.kind_of.is_block for device in circuit.devices):
        return TopologyConstraint(type=label)
    return TopologyConstraint(
        type=label,
        min_devices=len(circuit.devices),
        max_devices=len(circuit.devices),
        kinds=tuple({device.kind for device in circuit.devices}),
        ports=tuple(port for port in circuit.ports if port in circuit.nets),
    )


def assert_legal(sentences: list[list[int]]) -> None:
    """Every token of every sentence is legal, without a constraint and under the narrowest."""
    assert not any(illegal_positions(GRAMMAR, [TopologyConstraint()] * len(sentences), sentences))
    assert not any(illegal_positions(GRAMMAR, [what_it_is(ids) for ids in sentences], sentences))


@pytest.mark.parametrize("circuit", ARCHETYPES, ids=lambda circuit: circuit.id)
def test_an_archetype_survives_the_round_trip_in_every_order(circuit: CorpusCircuit):
    for seed in range(3):
        assert_round_trip(circuit, random.Random(seed))


def test_the_grammar_accepts_every_archetype_at_every_step():
    sentences = [LANGUAGE.encode(c.netlist, c.type, random.Random(7)) for c in ARCHETYPES]
    assert_legal(sentences)


def test_a_sample_of_the_corpus_survives_the_round_trip_and_is_legal(corpus: tuple[CorpusCircuit, ...]):
    rng = random.Random(0)
    circuits = [circuit for circuit in rng.sample(corpus, 300) if can_be_written(circuit.netlist)]
    assert_legal([assert_round_trip(circuit, rng) for circuit in circuits])


@pytest.mark.slow
def test_the_whole_corpus_survives_the_round_trip_and_is_legal(corpus: tuple[CorpusCircuit, ...]):
    rng = random.Random(1)
    circuits = [circuit for circuit in corpus if can_be_written(circuit.netlist)]
    assert len(circuits) >= len(corpus) - 1
    sentences = [assert_round_trip(circuit, rng) for circuit in circuits]
    for first in range(0, len(circuits), 500):
        assert_legal(sentences[first : first + 500])


def can_be_written(circuit: Netlist) -> bool:
    """False where a bipolar transistor has collector and emitter on one net."""
    return not any(device.kind in ("npn", "pnp") and device.nets[0] == device.nets[2] for device in circuit.devices)


def test_the_same_rng_writes_the_same_sentence_and_another_one_another():
    circuit = max(ARCHETYPES, key=lambda circuit: len(circuit.netlist.devices))
    first, again, other = (LANGUAGE.encode(circuit.netlist, circuit.type, random.Random(s)) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_circuit_by_hand_reads_as_its_lines():
    circuit = netlist(("resistor", "a VIN1"), ("nmos", "VOUT1 a VSS VSS"), ports="VIN1 VOUT1 VSS")
    sentences = {tuple(LANGUAGE.encode(circuit, "amplifier", random.Random(seed))) for seed in range(8)}
    assert sentences <= {
        tuple(words("type:amplifier size16:0 size1:2 kind:nmos VOUT1 N1 VSS kind:resistor N1 VIN1 <end>")),
        tuple(words("type:amplifier size16:0 size1:2 kind:resistor VIN1 N1 kind:nmos VOUT1 N1 VSS <end>")),
    }


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.token)
def test_every_kind_token_writes_and_reads_its_device(template: Template):
    written = tuple(f"VIN{number + 1}" for number in range(template.width))
    device = Device("X", template.kind, template.nets(written))
    assert template.written(device) == written
    decoded, _ = LANGUAGE.decode(words(f"type:other size16:0 size1:1 kind:{template.token} {' '.join(written)} <end>"))
    assert decoded.devices[0].nets == device.nets
    assert decoded.devices[0].name == f"{KINDS[template.kind].letter}1"


def test_the_channel_and_the_gate_of_a_mos_capacitor_do_not_trade_places():
    # Only a two-terminal device whose terminals are interchangeable may be written either way round.
    circuit = netlist(("resistor", "VIN1 a"), ("nmos", "a VOUT1 a VSS"), ports="VIN1 VOUT1 VSS")
    for seed in range(8):
        decoded, _ = LANGUAGE.decode(LANGUAGE.encode(circuit, "filter", random.Random(seed)))
        capacitor = next(device for device in decoded.devices if device.kind == "nmos")
        assert capacitor.nets == ("N1", "VOUT1", "N1", "VSS")


def test_a_decoded_netlist_always_has_ground_and_its_ports_in_vocabulary_order():
    decoded, _ = LANGUAGE.decode(words("type:other size16:0 size1:1 kind:resistor VOUT1 VIN1 <end>"))
    assert decoded.ports == ("VSS", "VIN1", "VOUT1")


@pytest.mark.parametrize("circuit", ARCHETYPES, ids=lambda circuit: circuit.id)
def test_a_closing_order_holds_every_device_once_and_grows_one_connected_piece(circuit: CorpusCircuit):
    order = closing_order(circuit.netlist, random.Random(3))
    assert sorted(device.name for device in order) == sorted(device.name for device in circuit.netlist.devices)
    is_one_piece = len(islands(circuit.netlist)) == 1
    seen = set(SUPPLY_NETS)
    for position, device in enumerate(order):
        assert not is_one_piece or position == 0 or seen & set(device.nets), f"{device.name} touches nothing earlier"
        seen.update(device.nets)


def test_an_order_that_begins_anywhere_may_begin_with_any_device():
    circuit = max(ARCHETYPES, key=lambda circuit: len(circuit.netlist.devices)).netlist
    usual, anywhere = (
        {closing_order(circuit, random.Random(seed), begins_anywhere=anywhere)[0].name for seed in range(400)}
        for anywhere in (False, True)
    )
    assert len(usual) < len(anywhere) == len(circuit.devices)
    assert isinstance(LANGUAGE, HasBeginnings)
    ids = LANGUAGE.encode_from_anywhere(circuit, "other", random.Random(1))
    assert are_isomorphic(LANGUAGE.decode(ids)[0], circuit)


def test_a_closing_order_keeps_fewer_nets_open_than_a_random_one():
    def open_nets(order: list[Device], internal: set[str]) -> int:
        total, touched = 0, dict.fromkeys(internal, 0)
        for device in order:
            for net in internal & set(device.nets):
                touched[net] += 1
            total += sum(count == 1 for count in touched.values())
        return total

    closing = shuffled = 0
    for circuit in ARCHETYPES:
        internal = set(circuit.netlist.internal_nets)
        closing += open_nets(closing_order(circuit.netlist, random.Random(0)), internal)
        devices = list(circuit.netlist.devices)
        random.Random(0).shuffle(devices)
        shuffled += open_nets(devices, internal)
    assert closing < 0.7 * shuffled


@pytest.mark.parametrize(
    ("circuit", "sentence"),
    [
        (Netlist((), ("VSS",)), "0 devices, this language writes 1 to 255"),
        (
            netlist(*[("resistor", "VIN1 VSS")] * (MAX_DEVICES + 1), ports="VIN1 VSS"),
            f"{MAX_DEVICES + 1} devices, this language writes 1 to {MAX_DEVICES}",
        ),
        (
            netlist(
                *[("resistor", f"VIN{n} VSS") for n in range(20, 31)],
                ports="VSS " + " ".join(f"VIN{n}" for n in range(20, 31)),
            ),
            "no token for 'VIN11' in this language",
        ),
        (netlist(("resistor", "FEED VSS"), ports="FEED VSS"), "no token for 'FEED' in this language"),
        (netlist(("resistor", "VIN1 VIN1"), ports="VIN1"), "device X0: a resistor that shorts its nets (VIN1 VIN1)"),
        (netlist(("inductor", "VDD VSS"), ports="VDD"), "device X0: a inductor that shorts its nets (VDD VSS)"),
        (netlist(("npn", "VIN1 VB1 VIN1"), ports="VIN1 VB1"), "device X0: a npn that shorts its nets (VIN1 VB1 VIN1)"),
        (
            netlist(*[("resistor", f"a{n} a{n + 1}") for n in range(MAX_INTERNAL_NETS)], ports="VSS"),
            f"more than {MAX_INTERNAL_NETS} internal nets",
        ),
    ],
)  # fmt: skip
def test_what_the_language_cannot_write_is_not_expressible(circuit: Netlist, sentence: str):
    with pytest.raises(NotExpressible) as caught:
        LANGUAGE.encode(circuit, "other", random.Random(0))
    assert str(caught.value) == sentence


def test_a_sentence_says_how_many_devices_are_left_before_every_fourth_from_the_end():
    ladder = netlist(*[("resistor", f"VIN1 a{n}") for n in range(9)], ports="VIN1 VSS")
    names = [VOCABULARY.tokens[token] for token in LANGUAGE.encode(ladder, "other", random.Random(0))]
    starts = [place for place, name in enumerate(names) if name.startswith("kind:")]
    told = [names[place - 1] if names[place - 1].startswith("left:") else "" for place in starts]
    assert told == ["", "left:8", "", "", "", "left:4", "", "", ""]


def test_what_a_bare_network_counts_down_need_not_be_true():
    ids = words("type:opamp size16:0 size1:9 left:88 kind:resistor VDD VSS kind:resistor VDD VIN1 <end>")
    decoded, _ = LANGUAGE.decode(ids, checks_size=False)
    assert len(decoded.devices) == 2


def test_ports_of_a_role_are_numbered_by_first_use():
    mirrored = netlist(("resistor", "VB7 VB2"), ("resistor", "VIN3 VB2"), ports="VB7 VB2 VIN3 VSS")
    decoded, _ = LANGUAGE.decode(LANGUAGE.encode(mirrored, "other", random.Random(0)))
    assert set(decoded.ports) == {"VSS", "VB1", "VB2", "VIN1"}
    assert are_isomorphic(decoded, mirrored)


def test_an_unknown_type_is_not_expressible():
    with pytest.raises(NotExpressible, match="no token for 'type:toaster' in this language"):
        LANGUAGE.encode(ARCHETYPES[0].netlist, "toaster", random.Random(0))


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 1, "the sequence stops where a circuit type is due"),
        ("type:opamp", 2, "the sequence stops where the size, high digit is due"),
        ("type:opamp size1:1", 2, "size1:1 where the size, high digit is due"),
        ("type:opamp size16:0 size1:1 VDD", 4, "VDD where a device kind or <end> is due"),
        ("type:opamp size16:0 size1:1 kind:resistor VDD kind:nmos", 6, "kind:nmos where a net is due"),
        ("type:opamp size16:0 size1:1 kind:resistor VDD", 6, "the sequence stops where a net is due"),
        ("type:opamp size16:0 size1:1 kind:resistor N2 VDD <end>", 5, "N2 before N1"),
        ("type:opamp size16:0 size1:2 kind:resistor VDD VSS <end>", 7, "1 devices, 2 were declared"),
        ("type:opamp size16:0 size1:0 <end>", 4, "no device"),
        ("type:opamp size16:0 size1:4 kind:resistor VDD VSS", 4, "kind:resistor where left:4 is due"),
        ("type:opamp size16:0 size1:5 left:4 kind:resistor VDD VSS", 4, "left:4 where a device kind or <end> is due"),
        (
            "type:opamp size16:0 size1:1 kind:resistor VDD VSS <pad>",
            7,
            "<pad> where a device kind or <end> is due",
        ),
    ],
)
def test_a_sequence_that_stops_being_a_sentence_says_where_and_why(text: str, position: int, reason: str):
    with pytest.raises(NotASentence) as caught:
        LANGUAGE.decode(words(text))
    assert (caught.value.position, caught.value.reason) == (position, reason)
    assert str(caught.value) == f"token {position}: {reason}"


def test_a_sentence_begins_with_begin():
    with pytest.raises(NotASentence, match="token 0: a sentence begins with <begin>"):
        LANGUAGE.decode(VOCABULARY.ids(["type:opamp"]))


def test_a_prompt_is_what_every_sentence_under_the_constraint_shares():
    assert LANGUAGE.prompt(TopologyConstraint()) == words("")
    assert LANGUAGE.prompt(TopologyConstraint(type="ldo", max_devices=7)) == words("type:ldo")


@pytest.mark.parametrize(
    ("fields", "sentence", "pointer"),
    [
        ({"type": "toaster"}, "unknown circuit type 'toaster'", "/type"),
        ({"max_devices": 0}, "device counts 1..0 do not lie within 1..255", "/max_devices"),
        ({"max_devices": 256}, "device counts 1..256 do not lie within 1..255", "/max_devices"),
        ({"min_devices": 5, "max_devices": 4}, "min_devices 5 is above max_devices 4", "/min_devices"),
        ({"min_devices": 0}, "device counts 0..255 do not lie within 1..255", "/max_devices"),
        ({"kinds": ("nmos", "tube")}, "unknown device kind 'tube'; known: nmos, pmos", "/kinds/1"),
        ({"kinds": ()}, "no device kind is allowed; leave kinds out to allow all", "/kinds"),
        ({"ports": ("VIN1", "N1")}, "'N1' is not a port name; ports are VDD, VSS or a role with an index", "/ports/1"),
        ({"ports": ("type:ldo",)}, "'type:ldo' is not a port name", "/ports/0"),
        ({"ports": ("VIN99",)}, "'VIN99' is not a port name", "/ports/0"),
    ],
)
def test_a_constraint_nobody_can_mean_names_its_field(fields: dict[str, object], sentence: str, pointer: str):
    with pytest.raises(InvalidRequest) as caught:
        TopologyConstraint(**fields)  # type: ignore[arg-type]  # one field at a time, of any type
    assert str(caught.value).startswith(sentence)
    assert caught.value.pointer == pointer


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"prefix": "kind:resistor VIN1"},
            "the prefix is not made of device lines: <end> where a net is due",
        ),
        (
            {"prefix": "kind:resistor VIN1 N2"},
            "the prefix is not made of device lines: N2 before N1",
        ),
        (
            {"prefix": "VIN1"},
            "the prefix is not made of device lines: VIN1 where a device kind or <end> is due",
        ),
        (
            {"prefix": "kind:resistor VIN1 VSS " * 201},
            "the prefix has 201 devices, at most 200 can be completed",
        ),
        (
            {"prefix": "kind:resistor VIN1 VSS", "kinds": ("nmos", "pmos")},
            "the prefix holds a device of kind resistor; kinds allows only nmos, pmos",
        ),
    ],
)
def test_a_prefix_that_no_sentence_can_begin_with_is_refused(fields: dict[str, Any], sentence: str):
    prefix = tuple(VOCABULARY.ids(fields.pop("prefix").split()))
    with pytest.raises(InvalidRequest) as caught:
        TopologyConstraint(prefix=prefix, **fields)
    assert str(caught.value) == sentence
    assert caught.value.pointer == "/prefix"


def test_an_exact_size_of_a_type_is_part_of_the_prompt_and_so_is_a_prefix_after_it():
    prefix = tuple(VOCABULARY.ids(["kind:resistor", "VIN1", "N1"]))
    exact = TopologyConstraint(type="ldo", min_devices=18, max_devices=18, prefix=prefix)
    assert LANGUAGE.prompt(exact) == words("type:ldo size16:1 size1:2 kind:resistor VIN1 N1")
    assert LANGUAGE.prompt(TopologyConstraint(min_devices=18, max_devices=18, prefix=prefix)) == words("")


def test_every_circuit_type_can_be_asked_for():
    for name in CIRCUIT_TYPES:
        assert LANGUAGE.prompt(TopologyConstraint(type=name)) == words(f"type:{name}")
