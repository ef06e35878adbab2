"""What the grammar of device lines guarantees, whoever draws the tokens."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.analog.kinds import CIRCUIT_TYPES, KINDS, PORT_ROLES
from app.analog.netlist import Netlist
from app.analog.rules import electrical_findings
from app.errors import InvalidRequest
from app.tokens.device_lines import (
    KIND_START,
    LEFT_START,
    MAX_DEVICES,
    VOCABULARY,
    DeviceLines,
    TopologyConstraint,
    with_countdown,
)
from tests.random_walks import illegal_positions, walk
from tests.tiny_models import CPU

LANGUAGE = DeviceLines()
GRAMMAR = LANGUAGE.grammar(CPU)

PORTS = tuple(f"{role}{index}" for role, highest in PORT_ROLES.items() for index in range(1, highest + 1))

#: One hundred rows of each make a batch of the big walk.
CONSTRAINTS = (
    TopologyConstraint(max_devices=12),
    TopologyConstraint(
        type="opamp", min_devices=3, max_devices=9, kinds=("nmos", "pmos", "capacitor"),
        ports=("VDD", "VIN1", "VIN2", "VOUT1", "VB1"),
    ),
    TopologyConstraint(max_devices=10, kinds=("resistor", "capacitor", "inductor", "diode"), ports=("VIN1", "VOUT1")),
    TopologyConstraint(max_devices=8, kinds=("inductor", "nmos"), ports=("VDD",)),
    TopologyConstraint(type="bandgap", min_devices=12, max_devices=12, kinds=("npn", "pnp", "resistor")),
    TopologyConstraint(
        max_devices=6, kinds=("inverter", "transmission_gate", "xor", "pfd"), ports=("VCLK1", "LOGICQ2")
    ),
)  # fmt: skip


def check(circuit: Netlist, label: str, constraint: TopologyConstraint) -> None:
    """Everything that a completed sentence promises."""
    assert constraint.min_devices <= len(circuit.devices) <= constraint.max_devices
    assert constraint.type in (None, label)
    assert constraint.kinds is None or {device.kind for device in circuit.devices} <= set(constraint.kinds)
    assert {"VSS", *constraint.ports} <= set(circuit.nets)
    assert [finding for finding in electrical_findings(circuit) if finding.severity == "error"] == []


def test_twelve_thousand_sentences_of_nobody_break_no_electrical_rule():
    kinds, types, sizes = Counter[str](), Counter[str](), Counter[int]()
    for seed in range(20):
        constraints = [constraint for constraint in CONSTRAINTS for _ in range(100)]
        for constraint, sentence in zip(constraints, walk(GRAMMAR, constraints, seed), strict=True):
            circuit, label = LANGUAGE.decode(sentence)
            check(circuit, label, constraint)
            kinds.update({device.kind for device in circuit.devices})
            types[label] += 1
            sizes[len(circuit.devices)] += 1
    assert sum(types.values()) == 12_000
    assert set(kinds) == set(KINDS), "the walk went everywhere"
    assert set(types) == set(CIRCUIT_TYPES)
    assert set(sizes) == set(range(1, 13))


def test_a_coil_alone_cannot_use_both_supplies_but_two_coils_can():
    refused = refusal(TopologyConstraint(max_devices=1, kinds=("inductor",), ports=("VDD",)))
    assert refused is not None
    assert "at least 2 devices" in str(refused)
    constraint = TopologyConstraint(max_devices=2, kinds=("inductor",), ports=("VDD",))
    for sentence in walk(GRAMMAR, [constraint] * 64, 3):
        check(*LANGUAGE.decode(sentence), constraint)


@pytest.mark.slow
def test_sentences_of_the_largest_size_end_as_well():
    constraint = TopologyConstraint(min_devices=MAX_DEVICES)
    for sentence in walk(GRAMMAR, [constraint] * 32, 0):
        check(*LANGUAGE.decode(sentence), constraint)


def port_constraints() -> st.SearchStrategy[TopologyConstraint]:
    """Constraints that can be met: enough devices for their ports, of any kinds."""

    def build(
        kinds: frozenset[str] | None, ports: frozenset[str], spare: int, fewest: int, label: str | None
    ) -> TopologyConstraint:
        most = max(1, len(ports)) + spare
        return TopologyConstraint(
            label, min(fewest, most), most, None if kinds is None else tuple(sorted(kinds)), tuple(sorted(ports))
        )

    return st.builds(
        build,
        st.none() | st.frozensets(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4),
        st.frozensets(st.sampled_from(("VDD", "VSS", *PORTS)), max_size=8),
        st.integers(0, 6),
        st.integers(1, 14),
        st.none() | st.sampled_from(CIRCUIT_TYPES),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(constraint=port_constraints(), seed=st.integers(0, 2**31))
def test_whatever_can_be_asked_for_is_reached_by_every_walk(constraint: TopologyConstraint, seed: int):
    for sentence in walk(GRAMMAR, [constraint] * 12, seed):
        check(*LANGUAGE.decode(sentence), constraint)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kinds=st.frozensets(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3),
    ports=st.frozensets(st.sampled_from(PORTS), min_size=4, max_size=12),
    most=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
def test_a_tight_request_is_either_refused_or_met_by_every_walk(
    kinds: frozenset[str], ports: frozenset[str], most: int, seed: int
):
    constraint = TopologyConstraint(max_devices=most, kinds=tuple(kinds), ports=tuple(ports))
    refused = refusal(constraint)
    if refused is not None:
        assert refused.pointer == "/ports"
        assert f"at most {most} are allowed" in str(refused)
        return
    for sentence in walk(GRAMMAR, [constraint] * 12, seed):
        check(*LANGUAGE.decode(sentence), constraint)


def refusal(constraint: TopologyConstraint) -> InvalidRequest | None:
    try:
        GRAMMAR.start(constraint)
    except InvalidRequest as refused:
        return refused
    return None


def test_more_ports_than_the_devices_have_pins_are_refused_with_the_numbers():
    with pytest.raises(InvalidRequest) as caught:
        GRAMMAR.start(TopologyConstraint(max_devices=2, kinds=("resistor",), ports=("VIN1", "VIN2", "VOUT1")))
    assert str(caught.value) == "4 nets must be used, which takes at least 3 devices; at most 2 are allowed"
    assert caught.value.pointer == "/ports"


def test_a_supply_that_a_device_implies_does_not_cost_a_pin():
    constraint = TopologyConstraint(max_devices=1, kinds=("nmos",), ports=("VIN1", "VOUT1", "IB1"))
    for sentence in walk(GRAMMAR, [constraint] * 20, 0):
        check(*LANGUAGE.decode(sentence), constraint)
    with pytest.raises(InvalidRequest, match="5 nets must be used, which takes at least 2 devices"):
        GRAMMAR.start(TopologyConstraint(max_devices=1, kinds=("nmos",), ports=("VIN1", "VOUT1", "IB1", "VDD")))


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("type:other size16:0 size1:1 kind:resistor VIN1 N1", 6),  # nothing is left to close N1
        ("type:other size16:0 size1:2 kind:resistor N2", 5),  # N1 comes first
        ("type:other size16:0 size1:2 kind:resistor VIN1 VIN1", 6),  # shorted over itself
        ("type:other size16:0 size1:0", 3),  # no device at all
        ("type:other size16:0 size1:2 kind:nmos VOUT1 N1 VSS kind:nmos VOUT2 N1 VSS", 11),  # N1 would stay undriven
        ("type:other size16:0 size1:2 kind:resistor VIN1 VSS kind:resistor VIN2 VOUT1", 9),  # touches nothing earlier
        ("type:other size16:0 size1:1 kind:resistor VIN1 VOUT1", 6),  # no ground
        ("type:other size16:0 size1:1 kind:resistor VIN1 VSS kind:resistor", 7),  # one device too many
        ("type:other size16:0 size1:3 kind:resistor N1 N2 kind:resistor VDD VSS", 9),  # the first would stay adrift
        ("type:other size16:0 size1:3 kind:inductor VDD VSS", 6),  # a coil across the supply
        ("type:other size16:0 size1:1 kind:inductor VDD", 5),  # only the other supply is left to use
    ],
)  # fmt: skip
def test_what_could_not_end_well_is_forbidden_where_it_begins(text: str, position: int):
    ids = VOCABULARY.ids(["<begin>", *text.split()])
    assert illegal_positions(GRAMMAR, [TopologyConstraint()], [ids]) == [position]


@pytest.mark.parametrize(
    "text",
    [
        "type:other size16:0 size1:3 kind:resistor N1 VB1 kind:resistor VDD VSS kind:resistor N1 VSS <end>",
        "type:other size16:0 size1:3 kind:resistor N1 N2 kind:resistor N2 VDD kind:resistor N1 VSS <end>",
        "type:other size16:0 size1:2 kind:inductor VDD N1 kind:inductor N1 VSS <end>",
        "type:other size16:0 size1:1 kind:inductor VSS VIN1 <end>",
    ],
)
def test_what_ends_well_is_allowed(text: str):
    ids = VOCABULARY.ids(["<begin>", *text.split()])
    assert illegal_positions(GRAMMAR, [TopologyConstraint()], [ids]) == [None]


def test_a_constraint_narrows_types_kinds_and_sizes_from_the_first_token_on():
    constraint = TopologyConstraint(type="ldo", min_devices=17, max_devices=18, kinds=("pmos",))
    state = GRAMMAR.start(constraint)
    for expected in (["type:ldo"], ["size16:1"], ["size1:1", "size1:2"]):
        legal = GRAMMAR.mask(state, 1)[0].nonzero()[:, 0]
        assert [VOCABULARY.tokens[token] for token in legal.tolist()] == expected
        GRAMMAR.advance(state, legal[:1])
    kinds = {VOCABULARY.tokens[token] for token in GRAMMAR.mask(state, 1)[0].nonzero()[:, 0].tolist()}
    assert kinds == {"kind:pmos", "kind:pmos_bs", "kind:pmos_b", "kind:pmos_cap", "kind:pmos_cap_b"}


def lines(text: str) -> tuple[int, ...]:
    return tuple(VOCABULARY.ids(text.split()))


PREFIX = lines("kind:resistor VIN1 N1 kind:nmos N2 N1 VSS kind:capacitor VB1 VB2")


def test_each_token_of_a_prefix_is_the_only_one_at_its_place_and_none_is_after_it():
    constraint = TopologyConstraint(max_devices=9, prefix=PREFIX)
    state = GRAMMAR.start(constraint)
    for position in range(3 + len(with_countdown(9, PREFIX))):
        legal = GRAMMAR.mask(state, 1)[0].nonzero()[:, 0]
        if position < 3:
            assert len(legal) > 1 or position == 1
        else:
            assert legal.tolist() == [with_countdown(9, PREFIX)[position - 3]]
        GRAMMAR.advance(state, legal[-1:])
    assert len(GRAMMAR.mask(state, 1)[0].nonzero()) > 1


def test_the_sizes_after_which_a_prefix_can_be_closed_are_the_only_ones():
    def sizes(constraint: TopologyConstraint) -> set[int]:
        found = set()
        start = GRAMMAR.start(constraint)
        for high in range(16):
            for low in range(16):
                state = GRAMMAR.allocate(1)
                state.put(0, start)
                words = (f"type:{CIRCUIT_TYPES[0]}", f"size16:{high}", f"size1:{low}")
                for token in VOCABULARY.ids(words):
                    if not GRAMMAR.mask(state, 1)[0, token]:
                        break
                    GRAMMAR.advance(state, torch.tensor([token]))
                else:
                    found.add(16 * high + low)
        return found

    # N2 lacks a device
    assert sizes(TopologyConstraint(max_devices=20, prefix=PREFIX)) == set(range(4, 21))
    assert sizes(TopologyConstraint(max_devices=20, min_devices=17, prefix=PREFIX)) == set(range(17, 21))
    # nothing is open: the prefix is a circuit
    whole = lines("kind:resistor VIN1 N1 kind:capacitor N1 VSS")
    assert sizes(TopologyConstraint(max_devices=6, prefix=whole)) == set(range(2, 7))
    # three gates wait for what drives them, and no device that is allowed drives more than two nets
    gates = lines("kind:nmos VIN1 N1 VSS kind:nmos VIN1 N2 VSS kind:nmos VIN1 N3 VSS")
    closed = TopologyConstraint(max_devices=8, kinds=("nmos", "resistor"), prefix=gates)
    assert sizes(closed) == set(range(5, 9))


def test_a_prefix_keeps_the_kinds_ports_and_sizes_that_are_asked_for_as_well():
    constraint = TopologyConstraint("ldo", 7, 11, ("resistor", "nmos", "capacitor"), ("VDD", "VREF1", "VOUT1"), PREFIX)
    for sentence in walk(GRAMMAR, [constraint] * 60, 4):
        lines_alone = [token for token in sentence[4:] if not LEFT_START <= token < KIND_START]
        assert tuple(lines_alone[: len(PREFIX)]) == PREFIX
        check(*LANGUAGE.decode(sentence), constraint)


def test_rows_of_one_batch_do_not_know_of_each_other():
    rng = random.Random(5)
    constraints = [rng.choice(CONSTRAINTS) for _ in range(12)]
    sentences = walk(GRAMMAR, constraints, 3)
    alone = [illegal_positions(GRAMMAR, [c], [s])[0] for c, s in zip(constraints, sentences, strict=True)]
    assert alone == illegal_positions(GRAMMAR, constraints, sentences) == [None] * 12
