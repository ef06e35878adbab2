"""The SPICE reader and writer: what they accept, what they refuse and with which words, and that they agree."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analog.corpus import read_archetypes
from app.analog.kinds import KINDS
from app.analog.netlist import Device, Netlist, port_role
from app.analog.spice import SPICE_LIMITS, ParsedSpice, SpiceLimits, parse_spice, write_spice
from app.analog.spice_cards import SIZE_NAMES
from app.errors import LimitExceeded, NotExpressible, SpiceSyntaxError
from app.simulators.deck import complete_deck
from app.technologies._base import technologies


def nets_of(text: str) -> list[tuple[str, ...]]:
    return [device.nets for device in parse_spice(text).netlist.devices]


def codes(parsed: ParsedSpice) -> set[str]:
    return {note.code for note in parsed.notes}


def test_every_element_card_is_read_with_its_sizes() -> None:
    parsed = parse_spice(
        """* every card
        M1 vout1 vin1 0 0 nmos W=2u L=180n M=4
        M2 vout1 vout1 vdd vdd pmos w = 4u l = 0.18u
        R1 vdd vout1 10k
        R2 vdd vout1 R=1meg
        C1 vout1 0 1p
        L1 vdd vout1 2n
        Q1 vdd vin1 vout1 npn 2
        Q2 0 vin1 vout1 pnp area=3
        D1 vout1 vdd diode
        X1 vin1 vout1 vdd vss inverter
        """
    )
    assert not codes(parsed) - {"ground_merged"}
    assert [(d.name, d.kind, d.nets, dict(d.sizes)) for d in parsed.netlist.devices] == [
        ("M1", "nmos", ("VOUT1", "VIN1", "VSS", "VSS"), {"width_m": 2e-6, "length_m": 1.8e-7, "multiplier": 4.0}),
        ("M2", "pmos", ("VOUT1", "VOUT1", "VDD", "VDD"), {"width_m": 4e-6, "length_m": 1.8e-7}),
        ("R1", "resistor", ("VDD", "VOUT1"), {"resistance_ohm": 1e4}),
        ("R2", "resistor", ("VDD", "VOUT1"), {"resistance_ohm": 1e6}),
        ("C1", "capacitor", ("VOUT1", "VSS"), {"capacitance_f": 1e-12}),
        ("L1", "inductor", ("VDD", "VOUT1"), {"inductance_h": 2e-9}),
        ("Q1", "npn", ("VDD", "VIN1", "VOUT1"), {"area": 2.0}),
        ("Q2", "pnp", ("VSS", "VIN1", "VOUT1"), {"area": 3.0}),
        ("D1", "diode", ("VOUT1", "VDD"), {}),
        ("X1", "inverter", ("VIN1", "VOUT1", "VDD", "VSS"), {}),
    ]
    assert parsed.netlist.ports == ("VDD", "VSS", "VOUT1", "VIN1")


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("nmos", "nmos"), ("NMOS4", "nmos"), ("nch", "nmos"), ("nch_lvt", "nmos"), ("NFET", "nmos"),
        ("sky130_fd_pr__nfet_01v8", "nmos"), ("NMOS_VTG", "nmos"), ("nmos_3p3", "nmos"), ("mosn", "nmos"),
        ("pmos", "pmos"), ("pch_25", "pmos"), ("sky130_fd_pr__pfet_01v8_lvt", "pmos"), ("PMOS_VTL", "pmos"),
    ],
)  # fmt: skip
def test_common_and_foundry_model_names_tell_the_kind(model: str, kind: str) -> None:
    assert parse_spice(f"M1 a b c d {model}").netlist.devices[0].kind == kind


def test_a_model_card_names_the_kind_and_its_parameters_are_left_out() -> None:
    parsed = parse_spice(
        "M1 a b c d foo\n.model foo pmos (level=1 vto=-0.5\n+ kp=40u)\nD1 a b x\n.model x d is=1e-14\n"
    )
    assert [device.kind for device in parsed.netlist.devices] == ["pmos", "diode"]
    assert codes(parsed) == {"model_left_out"}


def test_comments_continuations_and_case_do_not_matter() -> None:
    plain = parse_spice("M1 a b c d nmos W=1u L=2u\n").netlist
    written = """* one
.title 'x' {y}

  m1 A b ; the drain
* between
+ C d
+ NMOS $ kind
+ w=1U
+l=2u\r
.END"""
    assert parse_spice(written).netlist == plain


@pytest.mark.parametrize(
    "title", ["A two-stage amplifier", "RC low pass", "Bob's filter (2nd try)", "Current mirror", "R-2R"]
)
def test_a_first_line_of_prose_is_the_title(title: str) -> None:
    parsed = parse_spice(f"{title}\nR1 a b 1k\n")
    assert len(parsed.netlist.devices) == 1
    assert codes(parsed) == {"title_left_out"}


def test_a_first_line_that_is_a_card_counts() -> None:
    assert len(parse_spice("Rload a b 1k\nR2 a b 1k\n").netlist.devices) == 2


def test_sources_are_left_out_and_their_nets_become_ports() -> None:
    parsed = parse_spice(
        "* t\nVdd vdd 0 DC 1.8\nVin in 0 dc=0.9 AC 1\nIb 0 bias 10u\nM1 out in 0 0 nmos\nR1 vdd bias\n.op"
    )
    assert parsed.netlist.ports == ("VDD", "VSS", "IN", "BIAS")
    assert codes(parsed) == {"source_left_out"}
    assert "VDD, VIN, IB" in parsed.notes[0].message


def test_ports_come_from_the_ports_comment_when_there_is_one() -> None:
    assert parse_spice("* ports: b\n* ports: vin3\nR1 a b\n").netlist.ports == ("B", "VIN3")
    assert parse_spice("* Ports: (see page 3)\nR1 a vin1\n").netlist.ports == ("VIN1",)


def test_parameters_hold_numbers_for_sizes() -> None:
    (device,) = parse_spice("* t\n.param wn=2u ln = 180n\nM1 a b c d nmos W=wn L=LN\n").netlist.devices
    assert dict(device.sizes) == {"width_m": 2e-6, "length_m": 1.8e-7}


def test_subcircuits_are_flattened_with_names_of_their_own() -> None:
    text = """* hierarchy
    .subckt inv a y vdd
    M1 y a vdd vdd pmos
    M2 y a 0 0 nmos
    R1 y mid 1k
    C1 mid 0 1p
    .ends inv
    .subckt buffer a y vdd
    X1 a mid vdd inv
    X2 mid y vdd inv
    .ends
    .global bulk
    X1 vin1 vout1 vdd buffer
    R9 mid vout1 1k
    """
    netlist = parse_spice(text).netlist
    assert [device.name for device in netlist.devices] == [
        "M1_X1_X1", "M2_X1_X1", "R1_X1_X1", "C1_X1_X1", "M1_X1_X2", "M2_X1_X2", "R1_X1_X2", "C1_X1_X2", "R9"
    ]  # fmt: skip
    assert netlist.devices[0].nets == ("MID_X1", "VIN1", "VDD", "VDD")
    assert netlist.devices[4].nets == ("VOUT1", "MID_X1", "VDD", "VDD")
    assert netlist.devices[3].nets == ("MID_X1_X1", "VSS")
    assert netlist.devices[8].nets == ("MID", "VOUT1")
    assert netlist.ports == ("VDD", "VSS", "VIN1", "VOUT1")


def test_a_lone_subcircuit_is_the_circuit() -> None:
    parsed = parse_spice(".subckt amp inp out vdd gnd\nM1 out inp gnd gnd nmos\nR1 vdd out 1k\n.ends\n")
    assert parsed.netlist.ports == ("VDD", "VSS", "INP", "OUT")
    assert codes(parsed) == {"subckt_is_circuit"}


def test_global_nets_are_shared_and_others_are_not() -> None:
    body = ".subckt cell a\nR1 a vdd 1k\n.ends\nX1 vout1 cell\nR2 vdd vout1 1k\n"
    assert nets_of("* t\n" + body)[0] == ("VOUT1", "VDD_X1")
    assert nets_of("* t\n.global vdd\n" + body)[0] == ("VOUT1", "VDD")


def test_a_foundry_transistor_in_a_subcircuit_call_is_a_transistor() -> None:
    parsed = parse_spice("* t\nXM1 d g 0 0 sky130_fd_pr__nfet_01v8 W=1 L=0.15 nf=2\nM1 d g 0 0 nmos\nX7 d g 0 0 pch\n")
    assert [device.name for device in parsed.netlist.devices] == ["M1", "M1_2", "MX7"]
    assert dict(parsed.netlist.devices[0].sizes) == {"width_m": 1e-6, "length_m": 1.5e-7}
    assert {"read_as_microns", "parameter_left_out"} <= codes(parsed)


def test_names_come_out_as_letters_digits_and_underscores() -> None:
    parsed = parse_spice("* t\nR1 net<3> a.b\nR2 net_3_ a:b\nRx#1 /out a-b\nR3 vdd! vss!\n")
    names = [*parsed.netlist.nets, *(device.name for device in parsed.netlist.devices)]
    assert all(name.replace("_", "").isalnum() for name in names)
    assert len(parsed.netlist.nets) == 8
    assert parsed.netlist.ports == ("VDD", "VSS")
    assert "names_changed" in codes(parsed)


def test_the_substrate_of_a_bipolar_transistor_is_left_out() -> None:
    parsed = parse_spice("* t\nQ1 c b e 0 npn\nQ2 c b e 0 pnp 2\n")
    assert [device.nets for device in parsed.netlist.devices] == [("C", "B", "E")] * 2
    assert codes(parsed) == {"substrate_left_out"}


def test_node_0_beside_vss_is_noted() -> None:
    assert codes(parse_spice("* t\nR1 a 0\nR2 a vss\n")) == {"ground_merged"}


SUBCKT = ".subckt s a b\nR1 a b\n.ends\n"

#: A text, and the place (line:column) and beginning of the sentence that refuses it.
REFUSED = [
    ("M3 a b c nmos", "1:1 device M3 has 3 nets, an nmos needs 4 (drain, gate, source, bulk)"),
    ("M3", "1:1 device M3 has 0 nets, an nmos needs 4 (drain, gate, source, bulk)"),
    ("* t\nR1 a", "2:1 device R1 has 1 nets, a resistor needs 2 (positive, negative)"),
    ("* t\nV1 a", "2:1 device V1 has 1 nets, a source needs 2 (positive, negative)"),
    ("* t\nX1 a b inverter", "2:1 device X1 has 2 nets, an inverter needs 4 (input, output, vdd, vss)"),
    ("* t\nX1 a b c d e inverter", "2:1 device X1 has 5 nets, an inverter needs 4"),
    ("* t\nX1 a b c nch", "2:1 device X1 has 3 nets, an nmos needs 4"),
    ("* t\nX1 a", "2:1 X1 needs nets and the name of a sub-circuit"),
    ("* t\nX1 a b thing", "2:8 no sub-circuit named 'THING'; define it with .subckt, or use a block: inv"),
    ("* t\nX1 a s\n" + SUBCKT, "2:1 X1 has 1 nets, the sub-circuit S has 2 ports"),
    ("* t\nX1 a b s w=1\n" + SUBCKT, "2:10 parameters of a sub-circuit are not accepted"),
    ("* t\nR", "2:1 a device needs a name after the letter R"),
    ("* t\nR1 a b 1k 2k", "2:11 '2k' is one word too many on the card of R1"),
    ("* t\nM1 a b c d nmos 5", "2:17 '5' is one word too many on the card of M1"),
    ("* t\nR1 a b 1k r=2k", "2:11 r is given twice for R1"),
    ("* t\nR1 a b many", "2:8 'many' is not a SPICE number such as 1.5k, 2u or 1e-6; R1 needs a number here"),
    ("* t\nR1 a b 1e999", "2:8 '1e999' lies outside the range of a number"),
    ("* t\nR1 a b 0", "2:8 0 is not a size of R1: sizes are above 0"),
    ("* t\nR1 a b tc=x", "2:11 'x' is not a SPICE number such as 1.5k, 2u or 1e-6; the value of tc has to be"),
    ("* t\nM1 a b c d nmos w=-1u", "2:19 -1u is not a size of M1: sizes are above 0"),
    ("* t\nM1 a b c d nmos w=", "2:17 w = has no value"),
    ("* t\nM1 a b c d nmos w=1u foo", "2:22 'foo' stands after the name=value pairs of M1"),
    ("* t\nM1 a b (c) d nmos", "2:8 '(' is out of place on the card of M1"),
    ("* t\nR1 -a b 1", "2:4 '-a' is not a net name"),
    ("* t\nM1 a b c d foo", "2:12 M1: no model named 'foo'; add a card such as '.model foo nmos' or use nmos"),
    ("* t\nD1 a b zz", "2:8 D1: no model named 'zz'; add a card such as '.model zz d' or use diode"),
    ("* t\nM1 a b c d npn", "2:12 M1: 'npn' is of kind npn, M cards are nmos or pmos"),
    ("* t\nR1 a b\nr1 a c", "3:1 a second device named R1, the first is on line 2"),
    ("* t\nV1 a 0 pulse(0 1)", "2:8 'pulse' is not a SPICE number such as 1.5k, 2u or 1e-6; a source has a DC"),
    ("* t\nA1 a b model", "2:1 A1: XSPICE code models (A) are not accepted"),
    ("* t\nB1 a 0 v=1", "2:1 B1: behavioural sources (B) are not accepted"),
    ("* t\nE1 a 0 b 0 1", "2:1 E1: controlled sources (E) are not accepted"),
    ("* t\nK1 L1 L2 1", "2:1 K1: coupled inductors (K) are not accepted"),
    ("* t\nS1 a b c d sw", "2:1 S1: switches (S) are not accepted, use a MOS or a transmission_gate block"),
    ("* t\n%1 a b", "2:1 the character '%' is not accepted here"),
    ("* t\n_1 a b", "2:1 _1: a card starts with one of R C L M Q D X V I or a dot"),
    ("* t\nR1 a b {x}", "2:8 the character '{' is not accepted here; expressions in braces"),
    ("* t\nR1 a b '2*3'", "2:8 the character \"'\" is not accepted here; quoted expressions"),
    ('* t\nR1 a b "x"', "2:8 the character '\"' is not accepted here; strings are not accepted"),
    ("* t\nR1 a b 2*3", "2:9 the character '*' is not accepted here; expressions are not accepted"),
    ("* t\nR1 a b 1k\\", "2:10 the character '\\\\' is not accepted here; a continuation starts"),
    ("* t\nR1 a|b c", "2:5 the character '|' is not accepted here; names hold letters, digits and"),
    ("* t\n* `rm`\n", "2:3 a backtick is not accepted: nothing in a netlist is executed"),
    ("* t\nR1 \xe4 b", "2:4 the character '\\xe4' is not accepted; a netlist is printable ASCII text"),
    ("* t\nR1 a\x00 b", "2:5 the character '\\x00' is not accepted; a netlist is printable ASCII text"),
    ("+ R1 a b", "1:1 a continuation (+) with no card before it"),
    ("* t\n.control\nshell ls\n.endc", "2:1 .control is not accepted: simulator commands are never run"),
    (".control\nshell ls\n.endc", "1:1 .control is not accepted: simulator commands are never run"),
    ("* t\n.include /etc/passwd", "2:1 .include is not accepted: files are not read; paste what it holds"),
    ("* t\n.INC x", "2:1 .INC is not accepted: files are not read"),
    ("* t\n.lib x tt", "2:1 .lib is not accepted: files are not read"),
    ("* t\n.func f 1", "2:1 .func is not accepted: functions are not accepted, write the numbers"),
    ("* t\n.tran 1n 1u", "2:1 .tran is not accepted: it belongs to a testbench"),
    ("* t\n.frobnicate", "2:1 .frobnicate is not accepted: known: .subckt .ends .model .param .global .op"),
    ("* t\n.op now", "2:5 .op stands alone"),
    ("R1 a b\n.end\nR2 a b", "3:1 text after .end; one netlist at a time"),
    ("* t\n.subckt", "2:1 .subckt needs a name"),
    ("* t\n.subckt s a w=1", "2:14 parameters of a sub-circuit are not accepted"),
    ("* t\n.subckt s a a", "2:1 the sub-circuit S has the same port twice"),
    (SUBCKT + SUBCKT, "4:1 a second sub-circuit named S"),
    ("* t\n.subckt s a\n.subckt t a", "3:1 .subckt inside the sub-circuit S; close that one with .ends first"),
    ("* t\n.ends", "2:1 .ends without .subckt"),
    ("* t\n.subckt s a\n.ends t", "3:7 .ends names t, the open sub-circuit is S"),
    ("* t\n.subckt s a\nR1 a 0", "2:1 the sub-circuit S is not closed by .ends"),
    (".subckt s a\nX1 a s\n.ends\nX1 b s", "2:1 the sub-circuit S contains itself"),
    (".subckt s a\nX1 a t\n.ends\n.subckt t a\nX1 a s\n.ends\nX1 b s", "5:1 the sub-circuit S contains itself"),
    (SUBCKT + SUBCKT.replace(" s ", " t "), "1:1 no device outside the sub-circuits (S, T); call the one"),
    ("* t\n.model x", "2:1 .model needs a name and a type"),
    ("* t\n.model x sw", "2:10 the model type 'sw' is not accepted; known: nmos, pmos, npn, pnp, d"),
    ("* t\n.model x nmos (level)", "2:1 the parameters of model x have to be pairs such as vto=0.5"),
    ("* t\n.model x nmos (file=/etc/passwd)", "2:21 '/etc/passwd' is not a SPICE number"),
    ("* t\n.model x nmos\n.model x pmos", "3:1 model X is nmos above and pmos here"),
    ("* t\n.param w", "2:1 .param takes pairs of a name and a plain number, such as .param w=2u"),
    ("* t\n.param w=v", "2:10 'v' is not a SPICE number such as 1.5k, 2u or 1e-6; .param takes plain numbers"),
    ("* t\n.options", "2:1 .options takes pairs of a name and a plain number, such as .options temp=27"),
    ("* t\n.options rawfile=1", "2:10 the option rawfile is not accepted; known: abstol gmin itl1"),
    ("* t\n.option temp=hot", "2:14 'hot' is not a SPICE number such as 1.5k, 2u or 1e-6; .option takes plain numbers"),
    ("* t\n.param w=1 w=2", "2:12 .param w is given twice"),
    ("* t\n.subckt s a\n.param w=1\n.ends", "3:1 .param inside a sub-circuit is not accepted"),
    ("", "1 the text holds no device"),
    ("* t\nV1 a 0 1\n.op\n.end", "1 the text holds no device"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "refusal"), REFUSED)
def test_what_is_refused_is_refused_with_its_place_and_a_useful_sentence(text: str, refusal: str) -> None:
    place, _, sentence = refusal.partition(" ")
    with pytest.raises(SpiceSyntaxError) as caught:
        parse_spice(text)
    error = caught.value
    assert (f"{error.line}:{error.column}" if error.column else f"{error.line}") == place
    assert str(error).partition(": ")[2].startswith(sentence)


def subckt_chain(length: int, calls: int = 1) -> str:
    lines = ["* chain", ".subckt s0 a", "R1 a 0", ".ends"]
    for level in range(1, length):
        lines += [f".subckt s{level} a", *(f"X{call} a s{level - 1}" for call in range(calls)), ".ends"]
    return "\n".join([*lines, f"X1 a s{length - 1}"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x" * 1_000_001, "the number of characters of the netlist is 1000001, the limit is 1000000"),
        ("\n" * 20_000, "the number of lines of the netlist is 20001, the limit is 20000"),
        ("* t\n" + "R" * 10_001, "the length of line 2 is 10001, the limit is 10000"),
        ("\n".join(f"R{i} a b" for i in range(2_001)), "the number of device cards is 2001, the limit is 2000"),
        (subckt_chain(9), "the depth of sub-circuits is 9, the limit is 8"),
        (
            subckt_chain(7) + "\n.subckt t a\nX1 a s6\n.ends\n.subckt u a\nX1 a t\n.ends\nX2 a u\n",
            "the depth of sub-circuits is 9, the limit is 8",
        ),
        (subckt_chain(8, 100), "the number of devices after flattening is 201010101010101, the limit is 2000"),
        ("\n".join(f"X{i} a{i} b{i} c{i} vdd vss xor" for i in range(1400)),
         "the number of nets is 4202, the limit is 4000"),
    ],
    ids=["characters", "lines", "line length", "devices", "depth", "depth by a known way", "expansion", "nets"],
)  # fmt: skip
def test_every_bound_is_told(text: str, sentence: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        parse_spice(text)
    assert str(caught.value) == sentence


def test_bounds_are_the_callers_choice() -> None:
    text = "R1 a b\nR2 a b\n"
    assert len(parse_spice(text).netlist.devices) == 2
    with pytest.raises(LimitExceeded, match="the number of device cards is 2, the limit is 1"):
        parse_spice(text, limits=SpiceLimits(devices=1))


def test_sources_cannot_be_used_to_blow_the_expansion_up() -> None:
    text = subckt_chain(8, 200).replace("R1 a 0", "V1 a 0 1")
    with pytest.raises(LimitExceeded, match="the number of devices after flattening"):
        parse_spice(text)


def test_the_largest_text_is_read_in_bounded_time() -> None:
    card = "M{} d{} g s b nmos w=1u l=1u " + "ad=1p " * 70
    text = "\n".join(card.format(i, i) for i in range(1_990))
    assert 0.8 * SPICE_LIMITS.characters < len(text) < SPICE_LIMITS.characters
    start = time.process_time()
    assert len(parse_spice(text).netlist.devices) == 1_990
    assert time.process_time() - start < 5.0


_PIECES = st.sampled_from(
    ["M1", "R1", "X1", "Q1", "D1", "V1", "C", ".subckt", ".ends", ".model", ".param", ".global", ".end", ".control",
     "+", "*", "* ports:", "a", "vdd", "0", "nmos", "npn", "d", "1k", "1e99", "=", "(", ")", ",", "w=1u", "\n", "\n",
     "\n", " ", "'", "{", ";", "$", "`", "\t", "s", "inverter", "-1", "\xe9", "\x00"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=300), st.lists(_PIECES, max_size=60).map(" ".join)))
def test_any_text_is_a_netlist_or_one_of_two_errors(text: str) -> None:
    try:
        netlist = parse_spice(text).netlist
    except (SpiceSyntaxError, LimitExceeded):
        return
    assert parse_spice(write_spice(netlist)).netlist == netlist


@st.composite
def netlists(draw: st.DrawFn) -> Netlist:
    nets = st.sampled_from(["VDD", "VSS", "VIN1", "VOUT1", "VB2", "N1", "N2", "N3", "IN", "X_1"])
    sizes = st.floats(min_value=1e-18, max_value=5e-3, allow_nan=False, exclude_min=True)
    devices = []
    for number, name in enumerate(draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=12))):
        kind = KINDS[name]
        known = dict.fromkeys(SIZE_NAMES[kind.letter].values())
        chosen = draw(st.lists(st.sampled_from(sorted(known)), unique=True)) if known else []
        given_sizes = {size: draw(sizes) for size in chosen}
        devices.append(Device(f"{kind.letter}{number}", name, tuple(draw(nets) for _ in kind.pins), given_sizes))
    return Netlist(tuple(devices), tuple(draw(st.lists(nets, unique=True))))


@settings(max_examples=200, deadline=None)
@given(netlists(), st.text(max_size=40))
def test_what_is_written_reads_back_as_the_same_netlist(netlist: Netlist, title: str) -> None:
    parsed = parse_spice(write_spice(netlist, title=title))
    assert parsed.netlist == netlist
    assert not parsed.notes


def test_every_archetype_survives_the_round_trip() -> None:
    for circuit in read_archetypes():
        assert parse_spice(write_spice(circuit.netlist, title=circuit.id)).netlist == circuit.netlist


def test_a_name_with_the_wrong_letter_never_comes_out() -> None:
    netlist = Netlist((Device("R1", "nmos", ("A", "B", "C", "D")), Device("7", "resistor", ("A", "B"))), ())
    assert [device.name for device in parse_spice(write_spice(netlist)).netlist.devices] == ["M_R1", "R_7"]


def test_many_ports_are_written_on_several_lines() -> None:
    ports = tuple(f"VCONT{i}" for i in range(1, 100))
    netlist = Netlist((Device("R1", "resistor", ("VCONT1", "VCONT2")),), ports)
    text = write_spice(netlist)
    assert max(len(line) for line in text.splitlines()) <= 100
    assert parse_spice(text).netlist == netlist


@pytest.mark.parametrize(
    ("netlist", "sentence"),
    [
        (Netlist((Device("R1", "resistor", ("a b", "c")),), ()), "net 'a b': SPICE names hold letters, digits and"),
        (
            Netlist((Device("R1", "resistor", ("a", "A")),), ()),
            "nets 'a' and 'A' are one net in SPICE, which knows no case",
        ),
        (Netlist((Device("R1", "resistor", ("0", "VSS")),), ()), "nets '0' and 'VSS' are one net in SPICE"),
        (Netlist((Device("R 1", "resistor", ("A", "B")),), ()), "device 'R 1': SPICE names hold letters, digits and"),
        (
            Netlist((Device("r1", "resistor", ("A", "B")), Device("R1", "resistor", ("A", "B"))), ()),
            "device 'R1' would be there twice in SPICE, which knows no case",
        ),
        (
            Netlist((Device("R1", "resistor", ("A", "B"), {"width_m": 1.0}),), ()),
            "size 'width_m' of R1 has no place on R cards",
        ),
    ],
)
def test_what_spice_cannot_carry_is_not_written(netlist: Netlist, sentence: str) -> None:
    with pytest.raises(NotExpressible) as caught:
        write_spice(netlist)
    assert str(caught.value).startswith(sentence)


def test_a_title_cannot_smuggle_cards_in() -> None:
    netlist = Netlist((Device("R1", "resistor", ("A", "B")),), ())
    for title in ("x\n.control", "ports: A B", "`ls`", "\x00"):
        assert parse_spice(write_spice(netlist, title=title)).netlist == netlist


def test_numeric_options_are_left_out() -> None:
    assert codes(parse_spice("R1 a b\n.options temp=27 reltol=1e-4\n")) == {"option_left_out"}


def test_a_complete_deck_of_ours_can_be_read_back() -> None:
    for circuit in read_archetypes():
        deck = parse_spice(complete_deck(circuit.netlist, technologies["generic180"]))
        kinds = Counter(device.kind for device in circuit.netlist.devices if not device.kind_of.is_block)
        assert kinds <= Counter(device.kind for device in deck.netlist.devices)
        assert {port for port in circuit.netlist.ports if port_role(port)} <= set(deck.netlist.ports)


def test_a_shuffled_deck_reads_alike() -> None:
    cards = ["R1 a b 1k", ".param w=1u", "M1 a b 0 0 foo w=w", ".model foo nmos", "C1 a 0 1p"]
    reference = {device.name: device for device in parse_spice("* t\n" + "\n".join(cards)).netlist.devices}
    random.Random(1).shuffle(cards)
    assert {device.name: device for device in parse_spice("* t\n" + "\n".join(cards)).netlist.devices} == reference
