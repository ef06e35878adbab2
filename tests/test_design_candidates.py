"""Where candidates come from, and when two of them are one circuit."""

from __future__ import annotations

from app.analog.corpus import CorpusCircuit, read_archetypes
from app.analog.spice import parse_spice
from app.design.candidates import Archetypes, Candidate, generation_of, twins
from app.workshop import Row
from tests.designing import ARCHETYPES, TWO_INPUT_PAIRS, archetype, design_request

PAIR = """* a pair
M1 MIR VIN1 TAIL VSS nmos
M2 VOUT1 VIN2 TAIL VSS nmos
M3 MIR MIR VDD VDD pmos
M4 VOUT1 MIR VDD VDD pmos
M5 TAIL VB1 VSS VSS nmos
"""

#: The same with other names, exchanged drain and source, in another order.
RENAMED = """* ports: VDD VSS VIN1 VIN2 VOUT1 VB2
MA LEFT LEFT VDD VDD pmos
MB VDD LEFT VOUT1 VDD pmos
MC VSS VB2 COMMON VSS nmos
MD VOUT1 VIN2 COMMON VSS nmos
ME LEFT VIN1 COMMON VSS nmos
"""


def drawn(index: int, netlist: str) -> Candidate:
    row: Row = {"index": index, "status": "ok", "netlist": netlist, "novelty": {"is_novel": True}}
    return ARCHETYPES.generated(index, row)


def test_archetypes_come_first_in_the_order_of_their_names_and_are_at_most_half():
    both = ARCHETYPES.proposed(design_request(sources="both", candidates=9, max_devices=None))
    names = [candidate.name for candidate in both]
    assert [candidate.index for candidate in both] == [0, 1, 2, 3, 4]
    assert names == sorted(circuit.id for circuit in read_archetypes() if circuit.type == "opamp")[:5]
    assert all(candidate.origin == "archetype" for candidate in both)


def test_whoever_wants_archetypes_or_generated_circuits_alone_gets_these():
    alone = ARCHETYPES.proposed(design_request(sources="archetypes", candidates=200, max_devices=None))
    assert len(alone) == sum(circuit.type == "opamp" for circuit in read_archetypes())
    assert ARCHETYPES.proposed(design_request(sources="generated")) == ()


def test_no_candidate_has_more_devices_than_are_allowed():
    small = ARCHETYPES.proposed(design_request(candidates=200, max_devices=9))
    assert small
    assert max(len(candidate.netlist.devices) for candidate in small) <= 9
    assert generation_of(design_request(max_devices=9)).max_devices == 9


def test_the_generator_draws_a_candidate_under_its_own_number():
    asked = generation_of(design_request(candidates=7, seed=5, temperature=0.5))
    assert (asked.count, asked.seed, asked.temperature, asked.validate_) == (7, 5, 0.5, False)


def test_a_generated_candidate_is_a_topology_though_the_generator_sizes_what_it_draws():
    candidate = drawn(3, "* sized\nM1 VOUT1 VIN1 VSS VSS nmos W=7u L=1u\nR1 VDD VOUT1 20k\n")
    assert all(not device.sizes for device in candidate.netlist.devices)
    assert parse_spice(candidate.text).netlist == candidate.netlist
    assert candidate.facts["novelty"] == {"is_novel": True}


def test_an_archetype_under_other_names_is_nearest_to_itself():
    name, similarity = ARCHETYPES.nearest(parse_spice(RENAMED).netlist)
    assert (name, similarity) == ("opamp/five_transistor_ota", 1.0)
    name, similarity = ARCHETYPES.nearest(parse_spice(TWO_INPUT_PAIRS).netlist)
    assert name == "opamp/two_stage_miller"
    assert 0.2 < similarity < 1.0


def test_the_same_circuit_under_other_names_is_a_twin_of_the_first():
    candidates = [drawn(0, archetype("opamp/two_stage_miller")), drawn(1, PAIR), drawn(2, RENAMED), drawn(5, PAIR)]
    assert {index: twin.index for index, twin in twins(candidates).items()} == {2: 1, 5: 1}


def test_circuits_that_differ_in_one_wire_are_no_twins():
    other = PAIR.replace("M5 TAIL VB1 VSS", "M5 TAIL VIN1 VSS")
    assert twins([drawn(0, PAIR), drawn(1, other)]) == {}


def test_what_is_nearest_may_be_of_another_type():
    landmarks = Archetypes(
        [
            CorpusCircuit("comparator/pair", "comparator", parse_spice(PAIR).netlist, "here"),
            CorpusCircuit("opamp/stage", "opamp", parse_spice("M1 VOUT1 VIN1 VSS VSS nmos\n").netlist, "here"),
        ]
    )
    assert landmarks.nearest(parse_spice(RENAMED).netlist)[0] == "comparator/pair"
