"""Which devices are drawn alike: small goldens by name, and laws over every archetype and a sample of the corpus."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from app.analog.corpus import read_analoggenie, read_archetypes
from app.analog.kinds import SUPPLY_NETS
from app.analog.matching import SizeGroup, size_groups
from app.analog.netlist import Device, Netlist
from app.analog.spice import parse_spice

ARCHETYPES = {circuit.id: circuit.netlist for circuit in read_archetypes()}


def shown(groups: Iterable[SizeGroup]) -> list[str]:
    """The groups of more than one device: ``mirror M5 | M7 M8``, a bar between sets with multipliers of their own."""
    return [
        f"{group.relation} {' | '.join(' '.join(copies) for copies in group.copies)}"
        for group in groups
        if len(group.devices) > 1
    ]


def groups_of(*cards: str, ports: str = "VDD VSS") -> list[str]:
    return shown(size_groups(parse_spice("\n".join(("* circuit", f"* ports: {ports}", *cards))).netlist))


@pytest.mark.parametrize(
    ("archetype", "expected"),
    [
        ("opamp/five_transistor_ota", ["pair M1 M2", "mirror M3 M4"]),
        ("opamp/two_stage_miller", ["pair M1 M2", "mirror M3 M4", "mirror M5 | M7 | M8"]),
        (
            "opamp/folded_cascode",
            ["pair M1 M2", "mirror M4 M5", "cascode M6 M7", "cascode M8 M9", "mirror M10 M11"],
        ),
        ("opamp/telescopic_cascode", ["pair M1 M2", "cascode M3 M4", "cascode M5 M6", "mirror M7 M8"]),
        ("opamp/current_mirror_ota", ["pair M1 M2", "mirror M3 M4 | M5 M6", "mirror M7 M8"]),
        (
            "opamp/fully_differential_ota",
            ["pair M1 M2", "mirror M3 M4", "mirror M5 | M10", "symmetric R1 R2", "pair M6 M7", "mirror M8 M9"],
        ),
        ("opamp/bipolar_two_stage", ["pair Q1 Q2", "mirror Q3 Q4"]),
        (
            "comparator/strongarm",
            ["pair M1 M2", "cross_coupled M3 M4", "cross_coupled M5 M6", "mirror M8 M9 | M10 M11"],
        ),
        ("comparator/hysteresis", ["pair M1 M2", "cross_coupled M3 M4 | M5 M6 | M7 M8", "mirror M9 M10"]),
        ("oscillator/ring_three_stage", ["stage M1 M3 M5", "stage M2 M4 M6"]),
        (
            "oscillator/current_starved_ring",
            ["mirror M1 | M3 M7 M11", "mirror M2 | M6 M10 M14", "stage M4 M8 M12", "stage M5 M9 M13"],
        ),
        ("oscillator/lc_cross_coupled", ["symmetric L1 L2", "symmetric D1 D2", "cross_coupled M1 M2"]),
        ("oscillator/lc_complementary", ["cross_coupled M1 M2", "cross_coupled M3 M4", "symmetric C1 C2"]),
        ("adc_dac/r2r_dac", ["stage M1 M3 M5 M7", "stage M2 M4 M6 M8", "ladder R1 R2 R3 R4 R5", "ladder R6 R7 R8"]),
        ("adc_dac/current_steering_dac", ["mirror M1 | M4 | M7", "pair M2 M3 | M5 M6 | M8 M9"]),
        ("adc_dac/charge_redistribution_dac", ["stage M2 M4 M6", "stage M3 M5 M7"]),
        (
            "adc_dac/flash_adc_front_end",
            [
                "ladder R1 R2 R3 R4",
                "pair M1 M2 M6 M7 M11 M12",
                "mirror M3 M4 M8 M9 M13 M14",
                "mirror M5 M10 M15",
            ],
        ),
        ("mixer/gilbert", ["pair M1 M2", "pair M3 M4 M5 M6", "symmetric R1 R2"]),
        ("mixer/bipolar_gilbert", ["pair Q1 Q2", "symmetric R1 R2", "pair Q4 Q5 Q6 Q7", "symmetric R4 R5"]),
        ("current_mirror/wide_swing", ["mirror M1 | M3", "cascode M2 | M4"]),
        ("current_mirror/cascode_mirror", ["mirror M1 | M3", "mirror M2 | M4"]),
        ("current_mirror/beta_multiplier", ["mirror M1 | M2 | M7", "mirror M3 | M4 | M5"]),
        ("bandgap/banba_sub_one_volt", ["mirror M1 M2 | M3", "symmetric R1 R3", "pair M4 M5", "mirror M6 M7"]),
        ("bandgap/brokaw", ["mirror M1 | M2"]),
        (
            "power_amp/differential_cascode",
            ["symmetric M1 M2", "cascode M3 M4", "symmetric C1 C2", "symmetric L1 L2"],
        ),
        ("other/schmitt_trigger", []),
        ("amplifier/cascode", []),
    ],
)
def test_the_groups_of_an_archetype(archetype: str, expected: list[str]) -> None:
    assert shown(size_groups(ARCHETYPES[archetype])) == expected


def test_a_pair_may_have_resistors_at_its_sources() -> None:
    ota = ("M1 mir vin1 s1 0 nmos", "M2 vout1 vin2 s2 0 nmos", "R1 s1 tail", "R2 s2 tail", "M5 tail vb1 0 0 nmos")
    mirror = ("M3 mir mir vdd vdd pmos", "M4 vout1 mir vdd vdd pmos")
    ports = "VDD VSS VIN1 VIN2 VOUT1 VB1"
    assert groups_of(*ota, *mirror, ports=ports) == ["pair M1 M2", "symmetric R1 R2", "mirror M3 M4"]


def test_fingers_of_one_transistor_are_alike() -> None:
    cards = [f"M{number} vout1 vin1 0 0 nmos" for number in (1, 2, 3)]
    assert groups_of(*cards, "R1 vdd vout1", ports="VDD VSS VIN1 VOUT1") == ["mirror M1 M2 M3"]


def test_a_transistor_that_is_drawn_upside_down_still_matches() -> None:
    turned = ("M1 mir vin1 tail 0 nmos", "M2 vout1 vin2 tail 0 nmos", "M5 0 vb1 tail 0 nmos")
    mirror = ("M3 vdd mir mir vdd pmos", "M4 vout1 mir vdd vdd pmos")
    assert groups_of(*turned, *mirror, ports="VDD VSS VIN1 VIN2 VOUT1 VB1") == ["pair M1 M2", "mirror M3 M4"]


def test_two_gain_stages_in_a_row_are_no_stages_to_be_drawn_alike() -> None:
    cards = ("M1 a vin1 0 0 nmos", "R1 vdd a", "M2 vout1 a 0 0 nmos", "R2 vdd vout1")
    assert groups_of(*cards, ports="VDD VSS VIN1 VOUT1") == []


def test_a_divider_is_no_ladder() -> None:
    cards = ("R1 vref1 a", "R2 a b", "R3 b 0", "M1 vout1 a 0 0 nmos", "M2 vout2 b vdd vdd pmos")
    assert groups_of(*cards, ports="VDD VSS VREF1 VOUT1 VOUT2") == []


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (("W=1u L=1u", "W=1u L=1u", "W=1u L=1u"), ["mirror M1 | M2 | M3"]),
        (("W=1u L=1u", "W=2u L=1u", "W=1u L=1u"), ["mirror M1 | M3"]),
        (("W=1u L=1u", "W=1u L=1u M=4", ""), ["mirror M1 | M2 | M3"]),
        (("W=1u", "L=1u", ""), ["mirror M1 | M2 | M3"]),
        (("L=2u", "L=1u", "L=1u"), ["mirror M2 | M3"]),
    ],
)
def test_a_group_is_divided_where_given_sizes_differ(sizes: tuple[str, ...], expected: list[str]) -> None:
    nets = ("a a 0 0", "b a 0 0", "c a 0 0")
    cards = [f"M{i} {net} nmos {size}" for i, (net, size) in enumerate(zip(nets, sizes, strict=True), start=1)]
    assert groups_of(*cards, "R1 vdd a 1k", "R2 vdd b 2k", "R3 vdd c 3k") == expected


def test_copies_are_divided_where_given_multipliers_differ() -> None:
    pair = ("M1 vout1 vin1 tail 0 nmos W=1u L=1u", "M2 vout2 vin2 tail 0 nmos W=1u L=1u M=2", "M3 tail vb1 0 0 nmos")
    rest = ("R1 vdd vout1 1k", "R2 vdd vout2 2k")
    assert groups_of(*pair, *rest, ports="VDD VSS VIN1 VIN2 VOUT1 VOUT2 VB1") == ["pair M1 | M2"]


def shuffled(netlist: Netlist, seed: int) -> tuple[Netlist, dict[str, str]]:
    """The same circuit with devices and inner nets renamed and devices in another order; new device name -> old."""
    rng = random.Random(seed)
    free = [net for net in netlist.nets if net not in SUPPLY_NETS and net not in netlist.ports]
    nets = dict(zip(free, rng.sample([f"X{i}" for i in range(2000)], len(free)), strict=True))
    old_of = {}
    devices = []
    for number, device in enumerate(rng.sample(netlist.devices, len(netlist.devices))):
        name = f"{device.kind_of.letter}{number}"
        old_of[name] = device.name
        devices.append(Device(name, device.kind, tuple(nets.get(net, net) for net in device.nets)))
    return Netlist(tuple(devices), netlist.ports), old_of


def contents(groups: Iterable[SizeGroup], old_of: dict[str, str] | None = None) -> set[frozenset[frozenset[str]]]:
    names = old_of or {}
    return {frozenset(frozenset(names.get(n, n) for n in copies) for copies in group.copies) for group in groups}


def assert_laws_hold(netlist: Netlist, seed: int) -> None:
    kinds = {device.name: device.kind for device in netlist.devices}
    groups = size_groups(netlist)
    names = [name for group in groups for name in group.devices]
    assert sorted(names) == sorted(kinds)
    assert [list(kinds).index(group.devices[0]) for group in groups] == sorted(
        list(kinds).index(group.devices[0]) for group in groups
    )
    for group in groups:
        assert {kinds[name] for name in group.devices} == {group.kind}
        assert sorted(name for copies in group.copies for name in copies) == sorted(group.devices)
        if not group.kind.endswith("mos"):
            assert group.copies == (group.devices,)
        assert (group.relation == "single") == (len(group.devices) == 1)
    other, old_of = shuffled(netlist, seed)
    assert contents(size_groups(other), old_of) == contents(groups)


@pytest.mark.parametrize("archetype", ARCHETYPES)
def test_groups_part_the_devices_by_kind_and_do_not_depend_on_names_or_order(archetype: str) -> None:
    for seed in range(3):
        assert_laws_hold(ARCHETYPES[archetype], seed)


def test_the_laws_hold_over_a_sample_of_the_corpus(shared_data: Path) -> None:
    circuits = read_analoggenie(shared_data / "analoggenie").circuits
    for seed, circuit in enumerate(random.Random(3).sample(circuits, 300)):
        assert_laws_hold(circuit.netlist, seed)


def mos(number: int, *nets: str) -> Device:
    return Device(f"M{number}", "nmos", (*nets, "VSS"))


@pytest.mark.parametrize(
    "devices",
    [
        pytest.param([mos(i, f"N{i}", "G", "VSS") for i in range(200)], id="one gate"),
        pytest.param([mos(i, f"N{i}", "G", f"S{i}") for i in range(200)], id="one gate, no common source"),
        pytest.param([mos(i, f"N{i}", f"N{(i + 1) % 200}", "VSS") for i in range(200)], id="a ring"),
        pytest.param([mos(i, f"A{i * 7 % 31}", f"A{i * 11 % 37}", f"A{i % 29}") for i in range(200)], id="a thicket"),
        pytest.param([Device(f"R{i}", "resistor", (f"N{i}", f"N{i + 1}")) for i in range(200)], id="a ladder"),
    ],
)
def test_two_hundred_devices_take_a_blink(devices: list[Device]) -> None:
    netlist = Netlist(tuple(devices), ())
    spent = []
    for _ in range(3):
        start = time.process_time()
        size_groups(netlist)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.3
