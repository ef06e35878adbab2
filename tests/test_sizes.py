"""The numbers that size a circuit: which there are, within which limits, where they start, and how they are drawn."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analog.corpus import read_archetypes
from app.analog.netlist import Device, Netlist
from app.analog.spice import parse_spice
from app.errors import InvalidRequest, UnknownName
from app.simulators.bias import Bias, bias_plan
from app.simulators.deck import default_sizes
from app.sizes.draws import DrawMethod, draw, snapped
from app.sizes.space import SizeSpace, SizeVariable
from app.sizes.variables import mos_area_m2, size_space, sized
from app.technologies._base import technologies

GENERIC180 = technologies["generic180"]
ARCHETYPES = {circuit.id: circuit.netlist for circuit in read_archetypes()}


def space_of(*cards: str, ports: str = "VDD VSS VOUT1 VB1") -> SizeSpace:
    netlist = parse_spice("\n".join(("* circuit", f"* ports: {ports}", *cards))).netlist
    return size_space(netlist, GENERIC180, bias_plan(netlist, GENERIC180))


def variable(space: SizeSpace, name: str) -> SizeVariable:
    return space.variables[space.index_of[name]]


def test_the_variables_of_an_ota_are_those_of_its_groups_and_then_its_bias() -> None:
    netlist = ARCHETYPES["opamp/five_transistor_ota"]
    plan = bias_plan(netlist, GENERIC180)
    left = Bias(tuple(v for v in plan.voltages if v.net in ("VDD", "VB1")), (), ())
    space = size_space(netlist, GENERIC180, left)
    assert [v.name for v in space.variables] == [
        "w_m1", "l_m1", "m_m1", "w_m3", "l_m3", "m_m3", "w_m5", "l_m5", "m_m5", "vb1_v",
    ]  # fmt: skip
    assert variable(space, "w_m1").places == (("M1", "width_m"), ("M2", "width_m"))
    assert variable(space, "m_m3").places == (("M3", "multiplier"), ("M4", "multiplier"))
    bias = variable(space, "vb1_v")
    assert (bias.port, bias.unit, bias.low, bias.high, bias.is_log) == ("VB1", "V", 0.0, 1.8, False)


def test_mirrors_have_a_multiplier_each_and_a_bias_current_is_a_variable() -> None:
    netlist = ARCHETYPES["opamp/two_stage_miller"]
    space = size_space(netlist, GENERIC180, bias_plan(netlist, GENERIC180))
    names = [v.name for v in space.variables]
    assert names[6:11] == ["w_m5", "l_m5", "m_m5", "m_m7", "m_m8"]
    assert names[-1] == "ib1_a"
    current = variable(space, "ib1_a")
    assert current.is_current
    assert current.low < current.start == GENERIC180.bias_a < current.high
    assert "vdd_v" not in names


def test_every_kind_has_its_own_prefix_so_that_no_two_names_are_equal() -> None:
    space = space_of(
        "L1 vdd vout1 1n", "M1 vout1 vb1 0 0 nmos", "R1 vout1 0", "C1 vout1 0", "Q1 vdd vout1 0 npn", "D1 0 vdd diode"
    )
    names = [v.name for v in space.variables]
    assert names == ["ind_l1", "w_m1", "l_m1", "m_m1", "r_r1", "c_c1", "area_q1", "area_d1", "vb1_v"]
    assert variable(space, "area_q1").is_integer


def test_names_stay_plain_and_unique_whatever_devices_are_called() -> None:
    devices = tuple(
        Device(name, "nmos", ("VOUT1", "VB1", f"S{i}", "VSS")) for i, name in enumerate(("M1", "m1", "Mé 2", "7"))
    )
    netlist = Netlist((*devices, Device("R1", "resistor", ("VDD", "VOUT1"))), ("VDD", "VSS", "VOUT1", "VB1"))
    names = [v.name for v in size_space(netlist, GENERIC180, bias_plan(netlist, GENERIC180)).variables]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and name.replace("_", "").isalnum() and name == name.lower() for name in names)


def test_sizes_that_are_given_are_where_the_variables_start() -> None:
    space = space_of("M1 vout1 vb1 0 0 nmos W=3u L=1u M=40", "R1 vdd vout1 2", "C1 vout1 0 1n")
    assert variable(space, "w_m1").start == 3e-6
    assert variable(space, "l_m1").start == 1e-6
    assert (variable(space, "m_m1").start, variable(space, "m_m1").high) == (40.0, 40.0)
    assert (variable(space, "r_r1").start, variable(space, "r_r1").low) == (2.0, 2.0)
    assert (variable(space, "c_c1").start, variable(space, "c_c1").high) == (1e-9, 1e-9)


def test_sizes_that_are_not_given_start_at_the_technology_s_default() -> None:
    space = space_of("M1 vout1 vb1 0 0 nmos", "R1 vdd vout1")
    assert variable(space, "w_m1").start == GENERIC180.sizes["nmos"]["width_m"]
    assert variable(space, "r_r1").start == GENERIC180.sizes["resistor"]["resistance_ohm"]
    assert variable(space, "m_m1").start == 1.0


def test_a_length_that_the_technology_does_not_make_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"M1 has length 4\.5e-08 m, generic180 makes 1\.8e-07 to 1e-05 m; change"):
        space_of("M1 vout1 vb1 0 0 nmos W=1u L=45n", "R1 vdd vout1")


def test_a_size_that_is_not_positive_is_refused() -> None:
    netlist = Netlist((Device("R1", "resistor", ("VDD", "VSS"), {"resistance_ohm": -5.0}),), ("VDD", "VSS"))
    with pytest.raises(InvalidRequest, match="R1 has resistance_ohm -5, which has to be above 0"):
        size_space(netlist, GENERIC180, Bias((), (), ()))


def test_a_vector_has_the_named_values_and_the_start_elsewhere() -> None:
    space = space_of("M1 vout1 vb1 0 0 nmos", "R1 vdd vout1")
    sizing = space.as_sizing(space.vector({"w_m1": 4e-6, "m_m1": 3.2}))
    assert (sizing["w_m1"], sizing["m_m1"], sizing["r_r1"]) == (4e-6, 3.0, variable(space, "r_r1").start)


@pytest.mark.parametrize(
    ("sizing", "error", "sentence"),
    [
        ({"w_m2": 1e-6}, UnknownName, "no size named 'w_m2'; did you mean 'w_m1'"),
        ({"w_m1": math.nan}, InvalidRequest, "size w_m1 is nan, which is no number"),
        ({"w_m1": 1.0}, InvalidRequest, "size w_m1 is 1 m, it may be 2.2e-07 to 0.0002 m"),
        ({"m_m1": 0}, InvalidRequest, "size m_m1 is 0, it may be 1 to 32"),
    ],
)
def test_a_sizing_outside_of_the_space_is_refused(
    sizing: dict[str, float], error: type[Exception], sentence: str
) -> None:
    space = space_of("M1 vout1 vb1 0 0 nmos", "R1 vdd vout1")
    with pytest.raises(error, match=sentence):
        space.vector(sizing)


def test_a_vector_that_need_not_be_bounded_has_every_size_that_a_circuit_can_have() -> None:
    space = space_of("M1 vout1 vb1 0 0 nmos", "R1 vdd vout1")
    sizing = space.as_sizing(space.vector({"w_m1": 1.0, "m_m1": 99.7, "vb1_v": -3.0}, is_bounded=False))
    assert (sizing["w_m1"], sizing["m_m1"], sizing["vb1_v"]) == (1.0, 100.0, -3.0)
    for name, value, words in (("w_m1", 0.0, "0 m"), ("w_m1", -1e-6, "-1e-06 m"), ("m_m1", 0.4, "0.4")):
        with pytest.raises(InvalidRequest, match=f"size {name} is {words}, it must be positive"):
            space.vector({name: value}, is_bounded=False)


@pytest.mark.parametrize("archetype", ARCHETYPES)
def test_the_start_lies_in_the_space_and_sizes_the_circuit_like_the_defaults(archetype: str) -> None:
    netlist = ARCHETYPES[archetype]
    space = size_space(netlist, GENERIC180, bias_plan(netlist, GENERIC180))
    assert all(v.low <= v.start <= v.high for v in space.variables)
    assert len({v.name for v in space.variables}) == len(space.variables)
    places = [place for v in space.variables for place in v.places]
    assert len(set(places)) == len(places)
    whole = sized(netlist, space, space.start)
    for filled, default in zip(whole.devices, default_sizes(netlist, GENERIC180).devices, strict=True):
        assert {**default.sizes, **filled.sizes} == dict(filled.sizes)
        assert all(filled.sizes[size] == value for size, value in default.sizes.items())


def test_area_counts_every_finger() -> None:
    netlist = parse_spice("* t\nM1 a b 0 0 nmos W=2u L=1u M=3\nM2 b a 0 0 pmos W=1u L=500n\nR1 a b 1k\n").netlist
    assert mos_area_m2(netlist) == pytest.approx(6.5e-12)


def test_two_hundred_devices_have_their_variables_at_once() -> None:
    devices = tuple(Device(f"M{i}", "nmos", (f"N{i}", f"N{(i * 7) % 90}", f"N{i % 50}", "VSS")) for i in range(200))
    netlist = Netlist(devices, ("VSS",))
    bias = Bias((), (), ())
    spent = []
    for _ in range(3):
        start = time.process_time()
        size_space(netlist, GENERIC180, bias)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.3


# Draws


def whole_space(archetype: str) -> SizeSpace:
    netlist = ARCHETYPES[archetype]
    return size_space(netlist, GENERIC180, bias_plan(netlist, GENERIC180))


SPACES = {name: whole_space(name) for name in ("opamp/two_stage_miller", "bandgap/brokaw", "lna/common_gate")}
numbers = st.integers(0, 2**63 - 1)


@given(st.sampled_from(sorted(SPACES)), st.sampled_from(("guided", "log_uniform")), numbers, numbers)
@settings(max_examples=200, deadline=None)
def test_a_draw_lies_in_the_ranges_and_on_the_grid(name: str, method: DrawMethod, seed: int, index: int) -> None:
    space = SPACES[name]
    values = draw(space, space.start, method, seed, index)
    for each, value in zip(space.variables, values, strict=True):
        assert each.low <= value <= each.high
        if each.is_integer:
            assert value == round(value)
        elif each.unit == "m":
            assert value == pytest.approx(round(value / 5e-9) * 5e-9, rel=1e-12)
        elif each.unit == "V":
            assert value == pytest.approx(round(value, 3))
    assert snapped(space, values) == values
    assert draw(space, space.start, method, seed, index) == values


def test_draws_differ_by_seed_and_by_index() -> None:
    space = SPACES["opamp/two_stage_miller"]
    drawn = {draw(space, space.start, "guided", seed, index) for seed in range(4) for index in range(25)}
    assert len(drawn) == 100


def test_a_draw_is_the_same_on_every_machine() -> None:
    width = SizeVariable("w", "m", 1e-6, 1e-4, 1e-5, (("M1", "width_m"),))
    level = SizeVariable("vb1_v", "V", 0.0, 1.8, 0.9, port="VB1", is_log=False)
    space = SizeSpace((width, level))
    assert draw(space, space.start, "log_uniform", 7, 3) == (9.21e-06, 1.303)
    assert draw(space, space.start, "guided", 7, 3) == (9.695e-06, 0.932)


def test_the_start_is_drawn_as_it_is() -> None:
    space = space_of("M1 vout1 vb1 0 0 nmos W=1.2345678u L=1u", "R1 vdd vout1 1234.567")
    assert draw(space, space.start, "start", 1, 1) == space.start


def test_log_uniform_draws_fill_the_range_and_guided_ones_stay_near_the_start() -> None:
    space = SPACES["opamp/two_stage_miller"]
    place = space.index_of["w_m1"]
    width = space.variables[place]
    wide = np.log([draw(space, space.start, "log_uniform", 1, i)[place] for i in range(1000)])
    low, high = np.log(width.low), np.log(width.high)
    assert np.mean(wide) == pytest.approx((low + high) / 2, abs=0.2)
    assert np.std(wide) == pytest.approx((high - low) / math.sqrt(12), rel=0.1)
    near = np.log2([draw(space, space.start, "guided", 1, i)[place] / width.start for i in range(1000)])
    assert np.mean(near) == pytest.approx(0.0, abs=0.1)
    assert np.std(near) == pytest.approx(1.0, rel=0.1)


def test_a_guided_draw_leaves_ratios_plausible() -> None:
    space = SPACES["opamp/two_stage_miller"]
    start = list(space.start)
    start[space.index_of["m_m7"]] = 8.0
    ratios = [draw(space, start, "guided", 2, i)[space.index_of["m_m7"]] for i in range(500)]
    assert 6 <= np.median(ratios) <= 10
    assert np.quantile(ratios, 0.9) <= 20


def test_what_is_drawn_does_not_depend_on_what_else_is_drawn() -> None:
    space = SPACES["opamp/two_stage_miller"]
    shorter = SizeSpace(space.variables[:3])
    assert draw(shorter, shorter.start, "guided", 5, 9) == draw(space, space.start, "guided", 5, 9)[:3]


def test_a_variable_without_room_is_its_only_value() -> None:
    fixed = replace(SPACES["lna/common_gate"].variables[0], low=1e-5, high=1e-5, start=1e-5)
    space = SizeSpace((fixed,))
    assert draw(space, space.start, "log_uniform", 1, 1) == (1e-5,)
