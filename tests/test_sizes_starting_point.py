"""The guided starting point: currents worked out by hand, widths from a table, and circuits that then work."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from app.analog.corpus import read_archetypes
from app.analog.netlist import Device, Netlist
from app.analog.spice import parse_spice
from app.simulators.bias import bias_plan
from app.simulators.deck import operating_point_deck
from app.simulators.processes import WorkerPool
from app.sizes.starting_point import branch_currents, guided_start
from app.sizes.variables import size_space, sized
from app.technologies._base import technologies
from app.technologies._gmid import GmIdTables, gmid_tables

GENERIC180 = technologies["generic180"]
ARCHETYPES = {circuit.id: circuit.netlist for circuit in read_archetypes()}
OP_AMPS = [name for name in ARCHETYPES if name.startswith("opamp/")]


class SquareLaw:
    """A transistor of 100 uA/V2 (40 for a pmos) a square, 0.4 V threshold and a body effect of 0.2."""

    def id_per_width(self, kind: str, gm_over_id: float, length_m: float, vds_v: float, vsb_v: float) -> float:
        factor = 100e-6 if kind == "nmos" else 40e-6
        return factor / 2 / length_m * (2 / gm_over_id) ** 2

    def vgs_for(self, kind: str, gm_over_id: float, length_m: float, vds_v: float, vsb_v: float) -> float:
        return 0.4 + 0.2 * vsb_v + 2 / gm_over_id


def start_of(netlist: Netlist) -> dict[str, float]:
    space = size_space(netlist, GENERIC180, bias_plan(netlist, GENERIC180))
    return space.as_sizing(guided_start(netlist, space, GENERIC180, SquareLaw()))


@pytest.mark.parametrize(
    ("archetype", "feeds", "expected"),
    [
        ("opamp/five_transistor_ota", {}, {"M5": 10, "M1": 5, "M2": 5, "M3": 5, "M4": 5}),
        ("opamp/two_stage_miller", {"IB1": 10e-6}, {"M8": 10, "M5": 10, "M7": 10, "M6": 10, "M1": 5, "M4": 5}),
        ("opamp/two_stage_miller", {"IB1": 30e-6}, {"M8": 30, "M5": 30, "M7": 30, "M6": 30, "M1": 15, "M4": 15}),
        ("opamp/folded_cascode", {}, {"M3": 10, "M1": 5, "M4": 10, "M5": 10, "M6": 5, "M8": 5, "M11": 5}),
        ("opamp/telescopic_cascode", {}, {"M9": 10, "M2": 5, "M4": 5, "M6": 5, "M8": 5}),
        ("opamp/current_mirror_ota", {}, {"M9": 10, "M1": 5, "M3": 5, "M5": 5, "M7": 5, "M8": 5}),
        ("current_mirror/cascode_mirror", {"IIN1": 20e-6}, {"M1": 20, "M2": 20, "M3": 20, "M4": 20}),
        ("amplifier/gain_boosted_cascode", {}, {"M4": 10, "M3": 10, "M5": 10, "M2": 10, "M1": 10}),
        ("lna/common_gate", {}, {"M1": 1000}),
    ],
)
def test_branch_currents_in_microamperes(archetype: str, feeds: dict[str, float], expected: dict[str, float]) -> None:
    found = branch_currents(ARCHETYPES[archetype], GENERIC180, feeds)
    assert {name: found[name] * 1e6 for name in expected} == pytest.approx(expected, rel=0.03)


def test_multipliers_tell_the_ratio_of_a_mirror() -> None:
    cards = "* t\n* ports: VDD VSS IB1 VOUT1\nM1 ib1 ib1 0 0 nmos M=2\nM2 vout1 ib1 0 0 nmos M=6\nR1 vdd vout1\n"
    found = branch_currents(parse_spice(cards).netlist, GENERIC180, {"IB1": 20e-6})
    assert found["M2"] == pytest.approx(60e-6, rel=0.02)


def test_no_branch_is_left_without_current() -> None:
    """At the source of a super source follower two current sources meet; the plain guess would leave nothing over."""
    found = branch_currents(ARCHETYPES["amplifier/super_source_follower"], GENERIC180, {})
    assert all(found[name] >= 1.9e-6 for name in ("M1", "M2", "M3", "M4"))


def test_widths_and_bias_levels_of_a_telescopic_amplifier() -> None:
    start = start_of(ARCHETYPES["opamp/telescopic_cascode"])
    assert start["l_m1"] == pytest.approx(2 * 180e-9)
    assert start["l_m9"] == pytest.approx(4 * 180e-9)
    assert start["w_m1"] == pytest.approx(5e-6 / (50e-6 / 360e-9 * (2 / 15) ** 2), rel=0.02)
    overdrive = GENERIC180.supply_v / 8
    assert start["w_m9"] == pytest.approx(10e-6 / (50e-6 / 720e-9 * overdrive**2), rel=0.02)
    assert start["vb1_v"] == pytest.approx(0.4 + overdrive, abs=2e-3)
    top = 1.8 - overdrive - 0.1
    assert start["vb3_v"] == pytest.approx(top - (0.4 + 0.2 * (1.8 - top) + 2 / 12), abs=2e-3)


def test_a_bandgap_core_has_areas_one_to_eight_and_resistors_for_the_difference() -> None:
    start = start_of(ARCHETYPES["bandgap/opamp_pnp"])
    assert (start["area_q1"], start["area_q2"], start["area_q3"]) == (1.0, 8.0, 1.0)
    assert start["r_r2"] == pytest.approx((1.2 - GENERIC180.base_bias_v) / GENERIC180.bias_a, rel=1e-3)
    assert start["r_r1"] == pytest.approx(54e-3 / GENERIC180.bias_a)


@pytest.mark.parametrize(
    ("archetype", "expected"),
    [
        ("opamp/two_stage_miller", {"m_m7": 4, "m_m5": 1, "m_m8": 1}),
        ("current_mirror/beta_multiplier", {"m_m1": 1, "m_m2": 4}),
        ("ldo/pmos_pass", {"w_m6": 200e-6, "m_m6": 16, "l_m6": 180e-9}),
        ("comparator/strongarm", {"l_m1": 180e-9, "l_m3": 180e-9, "w_m3": 5e-6}),
        ("oscillator/ring_three_stage", {"w_m1": 5e-6, "w_m2": 20e-6, "l_m1": 180e-9}),
        ("power_converter/synchronous_buck", {"w_m1": 200e-6, "m_m1": 16, "ind_l1": 2e-6}),
        ("power_converter/cross_coupled_doubler", {"c_c1": 100e-12}),
        ("opamp/fully_differential_ota", {"r_r1": 1.8e6}),
        ("amplifier/common_source", {"r_r1": 60e3, "r_r2": 15e3}),
        ("amplifier/bipolar_differential_pair", {"r_r1": 120e3}),
    ],
)
def test_what_a_device_is_for_decides_its_size(archetype: str, expected: dict[str, float]) -> None:
    start = start_of(ARCHETYPES[archetype])
    assert {name: start[name] for name in expected} == pytest.approx(expected, rel=0.25)


def test_an_emitter_follower_is_given_room() -> None:
    start = start_of(ARCHETYPES["opamp/bipolar_two_stage"])
    assert start["r_r1"] == pytest.approx((0.9 - GENERIC180.base_bias_v) / 10e-6, rel=0.05)
    assert start["r_r2"] == pytest.approx(0.9 / 10e-6, rel=0.05)


def test_a_wide_device_is_cut_into_fingers() -> None:
    cards = "* t\n* ports: VDD VSS IB1 VOUT1\nM1 ib1 ib1 0 0 nmos\nM2 vout1 ib1 0 0 nmos\nR1 vdd vout1\n"
    netlist = parse_spice(cards).netlist
    space = size_space(netlist, GENERIC180, bias_plan(netlist, GENERIC180))
    strong = replace(space.variables[space.index_of["ib1_a"]], start=2e-3, high=1e-2)
    space = replace(space, variables=(*space.variables[:-1], strong))
    start = space.as_sizing(guided_start(netlist, space, GENERIC180, SquareLaw()))
    assert start["m_m1"] == start["m_m2"] == 3
    assert start["m_m1"] * start["w_m1"] == pytest.approx(2e-3 / (50e-6 / 720e-9 * (1.8 / 8) ** 2), rel=0.02)


def test_without_tables_the_start_is_that_of_the_space() -> None:
    netlist = ARCHETYPES["opamp/folded_cascode"]
    space = size_space(netlist, GENERIC180, bias_plan(netlist, GENERIC180))
    assert guided_start(netlist, space, GENERIC180, None) == space.start


def test_sizes_that_are_given_stay() -> None:
    given = {"M1": {"width_m": 1.2345678e-6, "length_m": 1e-6}, "M5": {"width_m": 7e-6}}
    netlist = ARCHETYPES["opamp/five_transistor_ota"]
    devices = tuple(replace(device, sizes=given.get(device.name, {})) for device in netlist.devices)
    start = start_of(Netlist(devices, netlist.ports))
    assert (start["w_m1"], start["l_m1"], start["w_m5"]) == (1.2345678e-6, 1e-6, 7e-6)


@pytest.mark.parametrize("archetype", ARCHETYPES)
@pytest.mark.parametrize("technology", ["generic180", "generic45"])
def test_every_start_lies_in_its_space(archetype: str, technology: str) -> None:
    netlist, chosen = ARCHETYPES[archetype], technologies[technology]
    space = size_space(netlist, chosen, bias_plan(netlist, chosen))
    for variable, value in zip(space.variables, guided_start(netlist, space, chosen, SquareLaw()), strict=True):
        assert variable.low <= value <= variable.high


def test_two_hundred_devices_start_within_a_second() -> None:
    stages = [
        Device(f"M{i}", kind, (f"N{i // 2}", f"N{i // 2 - 1}" if i > 1 else "VIN1", rail, rail))
        for i in range(200)
        for kind, rail in ([("nmos", "VSS"), ("pmos", "VDD")][i % 2],)
    ]
    netlist = Netlist(tuple(stages), ("VDD", "VSS", "VIN1"))
    space = size_space(netlist, GENERIC180, bias_plan(netlist, GENERIC180))
    start = time.process_time()
    guided_start(netlist, space, GENERIC180, SquareLaw())
    assert time.process_time() - start < 3


@pytest.fixture(scope="module")
def tables(ngspice: WorkerPool, tmp_path_factory: pytest.TempPathFactory) -> GmIdTables:
    return gmid_tables(GENERIC180, ngspice, folder=tmp_path_factory.mktemp("gmid"))


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("archetype", "supply_current_a"),
    [
        ("opamp/five_transistor_ota", 10e-6),
        ("opamp/telescopic_cascode", 10e-6),
        ("opamp/folded_cascode", 20e-6),
        ("opamp/current_mirror_ota", 20e-6),
        ("opamp/two_stage_miller", 60e-6),
    ],
)
def test_the_supply_carries_the_current_that_was_meant(
    ngspice: WorkerPool, tables: GmIdTables, archetype: str, supply_current_a: float
) -> None:
    netlist = ARCHETYPES[archetype]
    bias = bias_plan(netlist, GENERIC180)
    space = size_space(netlist, GENERIC180, bias)
    vector = guided_start(netlist, space, GENERIC180, tables)
    level = {variable.port: value for variable, value in zip(space.variables, vector, strict=True)}
    bias = replace(bias, voltages=tuple(replace(each, volts=level.get(each.net, each.volts)) for each in bias.voltages))
    deck = operating_point_deck(sized(netlist, space, vector), GENERIC180, bias)
    answer = ngspice.submit({"deck": deck.text, "analysis": "op", "parameters": []}).result()
    assert answer["status"] == "ok"
    assert -answer["vectors"]["v_vdd#branch"][0] == pytest.approx(supply_current_a, rel=0.15)
