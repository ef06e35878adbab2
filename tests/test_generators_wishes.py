"""Completing a netlist: what is cut from a circuit is in every sentence and comes back under the caller's names."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app.analog.canonical import are_isomorphic
from app.analog.corpus import CorpusCircuit, read_archetypes
from app.analog.netlist import Device, Netlist
from app.analog.rules import electrical_findings
from app.analog.spice import parse_spice, write_spice
from app.errors import InvalidInput, InvalidRequest, LimitExceeded, SpiceSyntaxError
from app.generators import generators
from app.requests import AnalogGenerateRequest, JobRequest
from app.tokens.device_lines import DeviceLines, TopologyConstraint, with_countdown
from app.tokens.eulerian import Eulerian
from app.workshop import Row
from app.workshop_local import build_workshop
from tests.random_walks import walk
from tests.running_service import NamedWorkshop, running_service
from tests.tiny_models import CPU, TinySettings, save_tiny_model

ANALOG = generators["analog_topology"]
LINES = DeviceLines()
GRAMMAR = LINES.grammar(CPU)
ARCHETYPES = read_archetypes()

#: What the grammar leaves to the validator, for a prefix as for any circuit.
LEFT_TO_THE_VALIDATOR = {"disconnected", "supply_short"}

PAIR = """* half a pair
M1 left VIN2 tail VSS nmos W=5u L=0.5u
M7 VOUT3 VIN1 tail VSS nmos W=5u L=0.5u
"""


def requested(**fields: Any) -> AnalogGenerateRequest:
    return AnalogGenerateRequest.model_validate(fields)


def netlists(requests: Sequence[AnalogGenerateRequest], seed: int) -> list[Netlist]:
    """For each request the netlist of a sentence that nobody drew, as its row carries it."""
    plans = [ANALOG.plan(request, LINES) for request in requests]
    sentences = walk(GRAMMAR, [plan.prompt.constraint for plan in plans], seed)
    found = []
    for request, plan, sentence in zip(requests, plans, sentences, strict=True):
        assert len(sentence) <= plan.max_tokens
        fields = ANALOG.candidate(sentence, request, LINES, None).fields
        found.append(parse_spice(fields["netlist"]).netlist)
        assert set(fields["ports"]) == set(found[-1].ports)
    return found


def cut(circuit: CorpusCircuit, rng: random.Random) -> Netlist:
    """The first devices of a random order, from one to all, with the ports that they are on."""
    devices = list(circuit.netlist.devices)
    rng.shuffle(devices)
    kept = tuple(devices[: rng.randint(1, len(devices))])
    nets = {net for device in kept for net in device.nets}
    return Netlist(kept, tuple(port for port in circuit.netlist.ports if port in nets))


def wired(device: Device) -> tuple[str, str, tuple[str, ...]]:
    return device.name, device.kind, device.nets


def check_completion(circuit: Netlist, prefix: Netlist) -> None:
    """The circuit is legal and begins with the prefix as it was written."""
    begins = circuit.devices[: len(prefix.devices)]
    assert sorted(map(wired, begins)) == sorted(map(wired, prefix.devices))
    assert set(prefix.ports) <= set(circuit.ports)
    assert set(prefix.internal_nets) <= set(circuit.internal_nets)
    errors = {finding.code for finding in electrical_findings(circuit) if finding.severity == "error"}
    assert errors <= LEFT_TO_THE_VALIDATOR


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_cut_from_a_circuit_is_completed_by_every_walk(seed: int):
    rng = random.Random(seed)
    circuits = [circuit for circuit in rng.sample(ARCHETYPES, 60) if len(circuit.netlist.devices) <= 14]
    prefixes = [cut(circuit, rng) for circuit in circuits for _ in range(3)]
    requests = [
        requested(prefix=write_spice(prefix), max_devices=2 * len(prefix.devices) + rng.randint(2, 8))
        for prefix in prefixes
    ]
    for circuit, prefix in zip(netlists(requests, seed), prefixes, strict=True):
        check_completion(circuit, prefix)


def test_the_first_devices_of_a_sentence_are_the_prefix_up_to_names():
    rng = random.Random(5)
    circuits = [circuit for circuit in rng.sample(ARCHETYPES, 20) if len(circuit.netlist.devices) <= 12]
    prefixes = [cut(circuit, rng) for circuit in circuits]
    constraints = [
        ANALOG.plan(requested(prefix=write_spice(prefix), max_devices=30), LINES).prompt.constraint
        for prefix in prefixes
    ]
    for prefix, sentence in zip(prefixes, walk(GRAMMAR, constraints, 5), strict=True):
        circuit, _ = LINES.decode(sentence)
        first = circuit.devices[: len(prefix.devices)]
        nets = {net for device in first for net in device.nets}
        ports = tuple(port for port in circuit.ports if port in nets)
        assert are_isomorphic(Netlist(first, ports), prefix)


@pytest.mark.parametrize("seed", range(2))
def test_the_smallest_size_that_is_let_through_is_reached_and_one_less_is_refused(seed: int):
    rng = random.Random(100 + seed)
    prefixes = [cut(circuit, rng) for circuit in rng.sample(ARCHETYPES, 25) if len(circuit.netlist.devices) <= 12]
    tight = []
    for prefix in prefixes:
        text, most = write_spice(prefix), len(prefix.devices)
        while (refused := refusal(requested(prefix=text, max_devices=most))) is not None:
            assert refused.pointer == "/max_devices"
            assert f"; at most {most} are allowed" in str(refused)
            most += 1
        tight.append(requested(prefix=text, max_devices=most, min_devices=most))
    for request, circuit, prefix in zip(tight, netlists(tight, seed), prefixes, strict=True):
        assert len(circuit.devices) == request.min_devices
        check_completion(circuit, prefix)


def refusal(request: AnalogGenerateRequest) -> InvalidInput | None:
    try:
        ANALOG.plan(request, LINES)
    except InvalidInput as refused:
        return refused
    return None


def test_a_circuit_comes_back_with_the_names_and_sizes_of_the_caller():
    for circuit in netlists([requested(prefix=PAIR, max_devices=12)] * 24, 1):
        by_name = {device.name: device for device in circuit.devices}
        assert by_name["M1"].nets == ("LEFT", "VIN2", "TAIL", "VSS")
        assert by_name["M7"].nets == ("VOUT3", "VIN1", "TAIL", "VSS")
        assert by_name["M7"].sizes["width_m"] == pytest.approx(5e-6)
        assert {"VIN1", "VIN2", "VOUT3"} <= set(circuit.ports)
        assert {"LEFT", "TAIL"} <= set(circuit.internal_nets)
        assert len(circuit.pins_of["LEFT"]) > 1, "the open net was closed"


def test_what_is_added_takes_no_name_of_the_caller():
    text = "* ports: VSS VOUT1\nM2 N2 VIN1 VSS VSS nmos\nR1 N2 VOUT1 1k\nR2 VIN1 VOUT1 1k\n"
    for circuit in netlists([requested(prefix=text, min_devices=6, max_devices=12)] * 24, 2):
        assert len({device.name for device in circuit.devices}) == len(circuit.devices)
        assert "VIN1" in circuit.internal_nets, "the caller said that it is no port"
        assert "N2" in circuit.internal_nets


def test_a_port_that_is_declared_or_asked_for_is_there_under_its_name():
    text = "* ports: VDD VSS VB2 VCM1\nM1 VB2 n1 VSS VSS nmos\n"
    for circuit in netlists([requested(prefix=text, ports=("VB7", "VIN3"), max_devices=12)] * 16, 3):
        assert {"VDD", "VSS", "VB2", "VCM1", "VB7", "VIN3"} <= set(circuit.ports)
    for circuit in netlists([requested(ports=("VB3",), max_devices=2)] * 16, 4):
        assert "VB3" in circuit.ports


def test_ports_that_are_asked_for_in_order_are_asked_of_the_grammar_as_they_are():
    constraint = ANALOG.plan(requested(ports=("VIN1", "VIN2", "VOUT1", "VDD")), LINES).prompt.constraint
    assert isinstance(constraint, TopologyConstraint)
    assert set(constraint.ports) == {"VIN1", "VIN2", "VOUT1", "VDD"}


def test_a_prefix_may_lie_in_parts():
    text = "R1 VIN1 a 1k\nR2 b c 1k\nC1 VOUT1 d 1p\n"
    prefix = parse_spice(text).netlist
    for circuit in netlists([requested(prefix=text, max_devices=10)] * 24, 6):
        check_completion(circuit, prefix)


def test_a_circuit_without_open_nets_is_its_own_completion():
    whole = next(circuit for circuit in ARCHETYPES if circuit.id == "opamp/five_transistor_ota").netlist
    request = requested(prefix=write_spice(whole), max_devices=len(whole.devices))
    for circuit in netlists([request] * 3, 7):
        assert are_isomorphic(circuit, whole)


def test_two_hundred_devices_can_be_completed():
    text = "* chain\n" + "".join(f"R{n} n{n % 100} n{(n + 1) % 100} 1k\n" for n in range(199)) + "R199 n0 VSS 1k\n"
    request = requested(prefix=text, ports=("VIN1",))
    began = time.process_time()
    plan = ANALOG.plan(request, LINES)
    assert time.process_time() - began < 10
    constraint = plan.prompt.constraint
    assert isinstance(constraint, TopologyConstraint)
    assert (constraint.prefix_devices, constraint.max_devices) == (200, 255)
    (circuit,) = netlists([request], 8)
    check_completion(circuit, parse_spice(text).netlist)


def test_where_type_and_size_are_given_the_prefix_is_part_of_the_prompt():
    plan = ANALOG.plan(requested(prefix=PAIR, type="opamp", min_devices=9, max_devices=9), LINES)
    constraint = plan.prompt.constraint
    assert isinstance(constraint, TopologyConstraint)
    words = [LINES.vocabulary.tokens[token] for token in plan.prompt.tokens]
    assert words[:4] == ["<begin>", "type:opamp", "size16:0", "size1:9"]
    assert list(plan.prompt.tokens[4:]) == with_countdown(9, constraint.prefix)
    assert "left:8" in words
    free = ANALOG.plan(requested(prefix=PAIR, type="opamp", max_devices=9), LINES)
    assert len(free.prompt.tokens) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Z1 a b tube\n", "line 1, column 1"),
        ("* t\nM1 a b c d vacuum\n", "line 2"),
        ("* nothing\n", "line 1: the text holds no device"),
        ("* t\nR1 a \0 1k\n", "line 2, column 6"),
        ("* t\n.subckt a x\n.subckt b x\n", "line 3, column 1: .subckt inside the sub-circuit A"),
    ],
)
def test_a_prefix_that_is_no_netlist_names_its_line(text: str, sentence: str):
    with pytest.raises(SpiceSyntaxError) as caught:
        ANALOG.plan(requested(prefix=text), LINES)
    assert str(caught.value).startswith(sentence)
    assert caught.value.pointer == "/prefix"


def deep_subckts() -> str:
    """Forty sub-circuits, each calling the one before it twice: a million million resistors."""
    calls = "".join(f".subckt s{n} a b\nX1 a b s{n - 1}\nX2 a b s{n - 1}\n.ends\n" for n in range(1, 40))
    return f"* t\n.subckt s0 a b\nR1 a b 1k\n.ends\n{calls}X1 VIN1 VOUT1 s39\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "* t\n" + "".join(f"R{n} a b 1k\n" for n in range(201)),
            "the number of device cards is 201, the limit is 200",
        ),
        ("* t\n" * 100_000, "the number of lines of the netlist is 100001, the limit is 20000"),
        (deep_subckts(), "the depth of sub-circuits is 9, the limit is 8"),
        ("* t\nR1 a b 1k" + " " * 20_000 + "\n", "the length of line 2 is 20009, the limit is 10000"),
    ],
)  # fmt: skip
def test_a_prefix_that_is_too_large_is_refused_at_once(text: str, sentence: str):
    began = time.process_time()
    with pytest.raises(LimitExceeded) as caught:
        ANALOG.plan(requested(prefix=text), LINES)
    assert time.process_time() - began < 2
    assert str(caught.value) == sentence
    assert caught.value.pointer == "/prefix"


@pytest.mark.parametrize(
    ("fields", "sentence", "pointer"),
    [
        (
            {"prefix": "R1 VIN1 VIN1 1k\n"},
            "nothing that is added can make the prefix legal: both ends of R1 are on VIN1",
            "/prefix",
        ),
        (
            {"prefix": "L1 VDD VSS 1n\n"},
            "nothing that is added can make the prefix legal: L1 lies straight between VDD and VSS",
            "/prefix",
        ),
        (
            {"prefix": "M1 a a a VSS nmos\n"},
            "the prefix cannot be completed: device M1: a nmos that shorts its nets (A A A VSS)",
            "/prefix",
        ),
        (
            {"prefix": "* ports: IN\nR1 IN a 1k\n"},
            "port IN of the prefix has no role; name it VDD, VSS or a role with an index, such as VIN1 (roles: VIN, ",
            "/prefix",
        ),
        (
            {"prefix": "R1 VREF1 VREF2 1k\nR2 VREF2 VREF3 1k\n"},
            "the prefix cannot be completed: no token for 'VREF3' in this language",
            "/prefix",
        ),
        (
            {"prefix": "R1 VREF3 VREF4 1k\n", "ports": ("VREF1",)},
            "3 ports VREF are asked for with those of the prefix, a circuit has at most 2",
            "/ports/0",
        ),
        (
            {"prefix": "* ports: VREF3 VREF4 VREF5\nR1 VIN1 VSS 1k\n"},
            "3 ports VREF are asked for with those of the prefix, a circuit has at most 2",
            "/prefix",
        ),
        (
            {"prefix": PAIR, "kinds": ("pmos", "resistor")},
            "the prefix holds a device of kind nmos; kinds allows only pmos, resistor",
            "/prefix",
        ),
        (
            {"prefix": "R1 VLO1 VSS 1k\n", "type": "ldo"},
            "the prefix contradicts the type: an ldo cannot have port VLO1; ports of an ldo: VDD, VSS, VIN, IIN, VOUT",
            "/prefix",
        ),
        (
            {"prefix": PAIR, "max_devices": 1},
            "the prefix has 2 devices and 1 open net, which takes at least 3 devices; at most 1 are allowed",
            "/max_devices",
        ),
        (
            {"prefix": PAIR, "max_devices": 2},
            "the prefix has 2 devices and 1 open net, which takes at least 3 devices; at most 2 are allowed",
            "/max_devices",
        ),
        (
            {"prefix": "R1 VIN1 a 1k\n", "max_devices": 1},
            "the prefix has 1 device, 1 open net and 1 net still to be used, which takes at least 2 devices; "
            "at most 1 are allowed",
            "/max_devices",
        ),
        (
            {"prefix": PAIR, "grammar": False},
            "the grammar alone keeps a prefix; leave one of the two out, or set grammar to true",
            "/grammar",
        ),
        (
            {"type": "ldo", "ports": ("VIN1", "VLO1")},
            "an ldo cannot have port VLO1; ports of an ldo: VDD, VSS, VIN, IIN, VOUT",
            "/ports/1",
        ),
        (
            {"type": "ldo", "kinds": ("resistor",)},
            "an ldo needs at least one of nmos, pmos, npn, pnp; kinds allows only resistor",
            "/kinds",
        ),
        ({"type": "ldo", "max_devices": 1}, "max_devices 1 is below the smallest ldo (2 devices)", "/max_devices"),
    ],
)
def test_wishes_that_contradict_are_refused_with_the_reason(fields: dict[str, Any], sentence: str, pointer: str):
    with pytest.raises(InvalidRequest) as caught:
        ANALOG.plan(requested(**fields), LINES)
    assert str(caught.value).startswith(sentence)
    assert caught.value.pointer == pointer


def test_open_nets_that_cannot_be_closed_below_the_largest_size_are_refused():
    text = "* t\n" + "".join(f"C{n} n{n} m{n % 20} 1p\n" for n in range(100)) + "".join(
        f"R{n} VSS m{n % 20} 1k\n" for n in range(100)
    )  # fmt: skip
    with pytest.raises(InvalidRequest) as caught:
        ANALOG.plan(requested(prefix=text, kinds=("capacitor", "resistor"), max_devices=240), LINES)
    assert str(caught.value) == (
        "the prefix has 200 devices and 100 open nets, which takes at least 250 devices; at most 240 are allowed"
    )


def test_only_device_lines_complete_a_netlist():
    with pytest.raises(InvalidRequest) as caught:
        ANALOG.plan(requested(prefix=PAIR), Eulerian())
    assert str(caught.value) == "prefix needs a device_lines model; this one writes Eulerian walks"
    assert caught.value.pointer == "/prefix"


def test_without_a_type_only_types_are_drawn_that_can_have_what_is_asked_for():
    asked = {"opamp": ("nmos", None), "mixer": (None, ("VLO1", "VRF1")), "pll": (None, ("LOGICD1",))}
    for label, (kind, ports) in asked.items():
        request = requested(kinds=None if kind is None else (kind,), ports=ports, max_devices=6)
        constraint = ANALOG.plan(request, LINES).prompt.constraint
        assert isinstance(constraint, TopologyConstraint)
        assert label in constraint.types
        assert "other" in constraint.types
    narrow = ANALOG.plan(requested(ports=("VLO1", "VRF1")), LINES).prompt.constraint
    drawn = {LINES.decode(sentence)[1] for sentence in walk(GRAMMAR, [narrow] * 30, 9)}
    assert drawn == {"mixer", "other"}


def test_a_ceiling_that_is_not_given_leaves_room_to_complete():
    def ceiling(**fields: Any) -> int:
        constraint = ANALOG.plan(requested(**fields), LINES).prompt.constraint
        assert isinstance(constraint, TopologyConstraint)
        return constraint.max_devices

    assert ceiling() == 80
    assert ceiling(min_devices=20) == 80
    assert ceiling(min_devices=60) == 180
    assert ceiling(min_devices=200) == 255
    assert ceiling(prefix="".join(f"R{n} VIN1 VSS 1k\n" for n in range(40))) == 120


class PlanningWorkshop(NamedWorkshop):
    """Refuses what the generator refuses, as the workshop of a machine does before it samples."""

    def prepare(self, kind: str, request: JobRequest) -> JobRequest:
        """The prepared request."""
        if isinstance(request, AnalogGenerateRequest):
            ANALOG.plan(request, LINES)
        return super().prepare(kind, request)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            {"prefix": "* t\nR1 VIN1 a 1k\nZ1 a b tube\n"},
            {
                "detail": "line 3, column 1: Z1: MESFETs (Z) are not accepted",
                "pointer": "/prefix",
                "line": 3,
                "column": 1,
            },
        ),
        (
            {"type": "ldo", "kinds": ["resistor"]},
            {
                "detail": "an ldo needs at least one of nmos, pmos, npn, pnp; kinds allows only resistor",
                "pointer": "/kinds",
            },
        ),
        (
            {"type": "opamp", "max_devices": 2},
            {"detail": "max_devices 2 is below the smallest opamp (3 devices)", "pointer": "/max_devices"},
        ),
        (
            {"prefix": PAIR, "min_devices": 9, "max_devices": 3},
            {"detail": "min_devices 9 is above max_devices 3", "pointer": "/min_devices"},
        ),
    ],
)
def test_the_service_answers_422_before_anything_is_sampled(
    body: dict[str, Any], error: dict[str, Any], tmp_path: Path
):
    with running_service(tmp_path, PlanningWorkshop()) as service:
        assert service.problem(422, "POST", "/v1/analog/generate", json=body)["errors"] == [error]
        job = {"kind": "analog.generate", "request": body}
        (in_job,) = service.problem(422, "POST", "/v1/jobs", json=job)["errors"]
        assert in_job == {**error, "pointer": f"/request{error['pointer']}"}
        assert not service.workshop.produced


def test_rows_of_the_workshop_begin_with_the_prefix(tmp_path: Path):
    save_tiny_model(tmp_path, "analog", name="tiny")
    workshop = build_workshop(TinySettings(tmp_path))
    request = requested(prefix=PAIR, max_devices=7, count=4, seed=1, validate=False)

    async def rows() -> list[Row]:
        prepared = workshop.prepare("analog.generate", request)
        return [row async for row in workshop.produce("analog.generate", prepared, range(4))]

    try:
        made = asyncio.run(rows())
    finally:
        workshop.close()
    for row in made:
        assert row["status"] == "ok"
        check_completion(parse_spice(row["netlist"]).netlist, parse_spice(PAIR).netlist)
        assert row["device_count"] <= 7
