"""Features of sizings: they follow the circuit's wiring, the sizes and the tables, and do not depend on the writing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from app.analog.netlist import Device, Netlist
from app.errors import InvalidInput, UnknownName
from app.neural_simulator.arrays import (
    ELEMENT_FEATURE_NAMES,
    ELEMENT_KINDS,
    PINS,
    Structure,
    condition_names,
    net_classes,
)
from app.neural_simulator.features import (
    Features,
    Sizings,
    TechnologyProfile,
    WiredTopology,
    condition_features,
    element_features,
    wired_topology,
)
from app.sizes.space import SizeVariable
from app.technologies._gmid import DESCRIPTOR_SHARES
from app.testbenches._base import testbenches
from app.testbenches._simulator import Bench
from tests.analytic_transistors import CAPACITANCE_F_PER_M2, SCALE_A, SLOPE_V, analytic_tables
from tests.bench_rows import circuit
from tests.simulated_rows import GENERIC180, PROFILE, bench_of, vectors_of

FEATURE = {name: index for index, name in enumerate(ELEMENT_FEATURE_NAMES)}
CONDITION = {name: index for index, name in enumerate(condition_names())}
NAMES = (
    "opamp/two_stage_ahuja", "opamp/bipolar_two_stage", "amplifier/cascode", "ldo/buffered_pmos_pass",
    "lna/common_gate", "current_mirror/wide_swing",
)  # fmt: skip


def wired(bench: Bench) -> WiredTopology:
    return WiredTopology.of_bench(bench, "")


def elements_of(bench: Bench, vectors: list[tuple[float, ...]]) -> Features:
    return element_features(wired(bench), PROFILE, Sizings.of_bench(bench, vectors))


def on_nets(netlist: Netlist, bench: str = "amplifier", variables: tuple[SizeVariable, ...] = ()) -> Structure:
    """The structure of a netlist whose devices have no sizes that matter."""
    roles = {"input": "VIN1", "output": "VOUT1"}
    found = wired_topology(netlist, variables, roles, testbenches[bench], topology_id="", metrics=(), following=())
    return found.structure


@pytest.mark.parametrize("name", NAMES)
def test_two_pins_share_where_they_are_on_one_net_that_is_no_supply(name: str):
    bench = bench_of(name)
    structure = wired(bench).structure
    nets = [list(device.nets[:PINS]) for device in bench.topology.devices]
    nets += [[variable.port] for variable in bench.space.variables if variable.port]
    for i, first in enumerate(nets):
        for j, second in enumerate(nets):
            for p in range(PINS):
                for q in range(PINS):
                    is_told = p < len(first) and q < len(second)
                    expected = is_told and first[p] == second[q] and first[p] not in ("VDD", "VSS")
                    assert structure.shared[i, j, p * PINS + q] == expected


def test_nets_are_told_by_what_they_are_to_circuit_and_testbench():
    structure = wired(bench_of("opamp/two_stage_ahuja")).structure
    bench = bench_of("opamp/two_stage_ahuja")
    class_of = {"VDD": "VDD", "VSS": "VSS", "VB1": "bias", "IB1": "bias"}
    class_of |= {port: f"role:{role}" for role, port in bench.wiring.port_of.items()}
    for row, device in zip(structure.nets, bench.topology.devices, strict=False):
        told = [net_classes()[number] for number in row]
        assert told == [class_of.get(net, "internal") for net in device.nets] + [""] * (PINS - len(device.nets))
    assert [net_classes()[number] for number in structure.nets[-2]] == ["bias", "VSS", "", ""]
    assert [ELEMENT_KINDS[kind] for kind in structure.kinds[-2:]] == ["voltage_source", "current_source"]
    assert structure.names[-2:] == ("vb1_v", "ib1_a")


def test_a_bias_current_comes_from_the_supply_that_it_flows_from():
    mirror = circuit("IB1 VOUT1 VIN1 VDD VSS", "M1 IB1 IB1 VSS VSS nmos", "M2 VOUT1 IB1 VSS VSS nmos")
    source = SizeVariable("ib1_a", "A", 1e-6, 1e-3, 1e-5, port="IB1")
    sizes = tuple(
        SizeVariable(f"{size}_{name}", "m", 1e-7, 1e-4, 1e-6, places=((name, size),))
        for name in ("M1", "M2")
        for size in ("width_m", "length_m")
    )
    down = on_nets(mirror, variables=(*sizes, source))
    upside = Netlist(
        tuple(replace(d, kind="pmos", nets=tuple("VDD" if n == "VSS" else n for n in d.nets)) for d in mirror.devices),
        mirror.ports,
    )
    up = on_nets(upside, variables=(*sizes, source))
    assert [net_classes()[each.nets[-1, 1]] for each in (down, up)] == ["VDD", "VSS"]


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_devices_orders_elements_and_nothing_else(name: str):
    bench = bench_of(name)
    devices = bench.topology.devices
    order = np.random.default_rng(0).permutation(len(devices))
    again = replace(bench, topology=Netlist(tuple(devices[place] for place in order), bench.topology.ports))
    every = np.concatenate([order, np.arange(len(devices), len(wired(bench).structure.names))])
    first, second = wired(bench).structure, wired(again).structure
    assert second.names == tuple(first.names[place] for place in every)
    np.testing.assert_array_equal(second.kinds, first.kinds[every])
    np.testing.assert_array_equal(second.nets, first.nets[every])
    np.testing.assert_array_equal(second.shared, first.shared[every][:, every])
    vectors = vectors_of(bench, 5)
    np.testing.assert_array_equal(elements_of(again, vectors), elements_of(bench, vectors)[:, every])


def test_exchanging_drain_and_source_exchanges_these_pins_alone():
    bench = bench_of("opamp/two_stage_ahuja")
    place, device = next(
        (place, device) for place, device in enumerate(bench.topology.devices) if "VSS" not in device.nets[:3]
    )
    drain, gate, source, bulk = device.nets
    devices = list(bench.topology.devices)
    devices[place] = replace(device, nets=(source, gate, drain, bulk))
    first = wired(bench).structure
    second = wired(replace(bench, topology=Netlist(tuple(devices), bench.topology.ports))).structure
    pins = [2, 1, 0, 3]
    nets, shared = first.nets.copy(), first.shared.reshape(*first.shared.shape[:2], PINS, PINS).copy()
    nets[place] = nets[place, pins]
    shared[place] = shared[place][:, pins]
    shared[:, place] = shared[:, place][:, :, pins]
    np.testing.assert_array_equal(second.nets, nets)
    np.testing.assert_array_equal(second.shared, shared.reshape(first.shared.shape))


def test_a_block_with_many_pins_tells_its_signals_before_its_supplies():
    gate = Netlist((Device("X1", "xor", ("VIN1", "n1", "VDD", "VSS", "VOUT1")),), ("VIN1", "VOUT1", "VDD", "VSS"))
    (row,) = on_nets(gate).nets
    assert [net_classes()[number] for number in row] == ["role:input", "internal", "role:output", "VDD"]


@pytest.mark.parametrize("name", NAMES)
def test_features_are_finite_and_of_plain_size(name: str):
    bench = bench_of(name, process="ff", supply_v=1.98, celsius=125.0)
    found = elements_of(bench, vectors_of(bench, 200))
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 10
    assert 0.1 < np.abs(found[found != 0]).mean() < 3
    conditions = condition_features(wired(bench).structure, PROFILE, Sizings.of_bench(bench, [bench.space.start]))
    assert np.nanmax(np.abs(conditions)) < 5


@pytest.mark.parametrize(("length_m", "kind"), [(180e-9, "nmos"), (0.5e-6, "pmos"), (1.234e-6, "nmos")])
def test_a_transistor_has_what_the_tables_say_at_its_own_length(length_m: float, kind: str):
    tables = analytic_tables(GENERIC180)
    netlist = Netlist((Device("M1", kind, ("VOUT1", "VIN1", "VSS", "VSS")),), ("VIN1", "VOUT1", "VDD", "VSS"))
    variables = tuple(
        SizeVariable(size, "m", 1e-9, 1.0, 1e-6, places=(("M1", size),))
        for size in ("width_m", "length_m", "multiplier")
    )
    one = wired_topology(
        netlist, variables, {"input": "VIN1"}, testbenches["amplifier"], topology_id="", metrics=(), following=()
    )
    sizings = sizings_of([[3e-6, length_m, 4.0]], settings=len(one.structure.settings))
    (told,) = element_features(one, PROFILE, sizings)[0]
    assert told[FEATURE["log_width"]] == pytest.approx(math.log10(12))
    assert told[FEATURE["log_length"]] == pytest.approx(math.log10(length_m * 1e6))
    assert told[FEATURE["log_aspect"]] == pytest.approx(math.log10(3e-6 / length_m))
    assert told[FEATURE["log_multiplier"]] == pytest.approx(math.log10(4))
    highest = tables.highest_gm_over_id(kind, length_m, 0.9)
    for share in DESCRIPTOR_SHARES:
        point = tables.at_gm_over_id(kind, share * highest, length_m, 0.9)
        current_a = point.id_per_width_a_per_m * 12e-6
        assert told[FEATURE[f"log_current_{share:g}"]] == pytest.approx(math.log10(current_a / 1e-5), abs=1e-4)
        assert told[FEATURE[f"gm_over_id_{share:g}"]] == pytest.approx(share * highest / 30, rel=1e-5)
        assert told[FEATURE[f"gate_share_{share:g}"]] == pytest.approx(point.vgs_v / 1.8, rel=1e-4)
        assert told[FEATURE[f"log_gain_{share:g}"]] == pytest.approx(math.log10(point.gm_over_gds) - 1.5, abs=1e-4)
        assert told[FEATURE[f"log_speed_{share:g}"]] == pytest.approx(math.log10(point.ft_hz / 1e9), abs=1e-4)
    capacitance_f = CAPACITANCE_F_PER_M2 * 12e-6 * length_m
    assert told[FEATURE["log_gate_capacitance"]] == pytest.approx(math.log10(capacitance_f / 1e-14), abs=1e-4)
    inversion = next(x for x in np.linspace(0.01, 20, 200_000) if -math.expm1(-x) / x < 0.5 * highest * SLOPE_V)
    by_hand_a = SCALE_A[kind] * inversion**2 * 12e-6 / length_m
    assert told[FEATURE["log_current_0.5"]] == pytest.approx(math.log10(by_hand_a / 1e-5), abs=0.02)


def sizings_of(sizes: list[list[float]], *, settings: int, process: str = "tt", supply_v: float = 1.8) -> Sizings:
    count = len(sizes)
    return Sizings(
        np.array(sizes), np.full(count, supply_v), np.full(count, 27.0), np.full(count, process),
        np.full((count, settings), np.nan),
    )  # fmt: skip


def test_twice_the_width_or_the_fingers_carries_twice_the_current():
    bench = bench_of("current_mirror/wide_swing")
    start = list(bench.space.start)
    wider, more = list(start), list(start)
    for index, variable in enumerate(bench.space.variables):
        if variable.places and variable.places[0][1] == "width_m":
            wider[index] *= 2
        if variable.places and variable.places[0][1] == "multiplier":
            more[index] *= 2
    plain, wide, many = elements_of(bench, [tuple(start), tuple(wider), tuple(more)])
    is_mos = np.array([name.startswith("M") for name in wired(bench).structure.names])
    grown = np.zeros(len(FEATURE))
    for name, index in FEATURE.items():
        if name in ("log_width", "log_gate_capacitance") or name.startswith("log_current"):
            grown[index] = math.log10(2)
    for found, single in ((wide, "log_aspect"), (many, "log_multiplier")):
        expected = grown.copy()
        expected[FEATURE[single]] = math.log10(2)
        np.testing.assert_allclose((found - plain)[is_mos], np.tile(expected, (is_mos.sum(), 1)), atol=1e-5)
        np.testing.assert_array_equal(found[~is_mos], plain[~is_mos])


def test_every_row_has_the_transistors_of_its_own_corner():
    bench = bench_of("opamp/two_stage_ahuja")
    sizings = Sizings.of_bench(bench, [bench.space.start] * 3)
    mixed = element_features(wired(bench), PROFILE, replace(sizings, process=np.array(["ss", "tt", "ff"])))
    first = FEATURE["log_current_0.5"]
    assert mixed[1, 0, first] - mixed[0, 0, first] == pytest.approx(-math.log10(0.7), abs=1e-5)
    assert mixed[2, 0, first] - mixed[1, 0, first] == pytest.approx(math.log10(1.4), abs=1e-5)
    np.testing.assert_array_equal(mixed[1:2], elements_of(bench, [bench.space.start]))


def test_a_length_outside_of_the_tables_has_what_the_nearest_end_has():
    tables = analytic_tables(GENERIC180)
    shortest = {kind: {name: table[:1] for name, table in of_kind.items()} for kind, of_kind in tables.values.items()}
    profile = TechnologyProfile.of([replace(tables, lengths_m=tables.lengths_m[:1], values=shortest)])
    bench = bench_of("current_mirror/wide_swing")
    lengths = [v.name for v in bench.space.variables if v.name.startswith("l_")]
    vectors = [bench.space.vector(dict.fromkeys(lengths, length_m)) for length_m in (180e-9, 5e-6)]
    short, long = element_features(wired(bench), profile, Sizings.of_bench(bench, vectors))
    gain = FEATURE["log_gain_0.5"]
    assert short[0, FEATURE["log_length"]] < long[0, FEATURE["log_length"]]
    assert short[0, gain] == long[0, gain] == pytest.approx(elements_of(bench, vectors)[0, 0, gain])


def test_values_of_other_devices_are_logarithms_in_plain_units():
    bench = bench_of("opamp/two_stage_ahuja")
    names = wired(bench).structure.names
    sizing = bench.space.as_sizing(bench.space.start) | {"c_c1": 3e-12, "ib1_a": 2e-5}
    (found,) = elements_of(bench, [bench.space.vector(sizing)])
    assert found[names.index("C1"), FEATURE["log_value"]] == pytest.approx(math.log10(3))
    assert found[names.index("ib1_a"), FEATURE["log_value"]] == pytest.approx(math.log10(2))
    bipolar = bench_of("opamp/bipolar_two_stage")
    area = next(v for v in bipolar.space.variables if v.name.startswith("area"))
    (found,) = elements_of(bipolar, [bipolar.space.vector({area.name: 8.0})])
    names = wired(bipolar).structure.names
    assert found[names.index(area.places[0][0]), FEATURE["log_value"]] == pytest.approx(math.log10(8))


def test_a_bias_voltage_held_against_the_supply_moves_with_it():
    low, high = bench_of("amplifier/cascode"), bench_of("amplifier/cascode", supply_v=1.98)
    names = wired(low).structure.names
    starts = {variable.name: variable.start for variable in low.space.variables}
    (nominal,), (raised,) = (elements_of(bench, [bench.space.start]) for bench in (low, high))
    for name, follows in (("vb1_v", 0.0), ("vb2_v", 1.0)):
        row = names.index(name)
        level_v = starts[name] + 0.18 * follows
        assert nominal[row, FEATURE["level"]] == pytest.approx(starts[name])
        assert raised[row, FEATURE["follows_supply"]] == follows
        assert raised[row, FEATURE["level"]] == pytest.approx(level_v)
        assert raised[row, FEATURE["level_share"]] == pytest.approx(level_v / 1.98)
        assert raised[row, FEATURE["level_below_supply"]] == pytest.approx(1.98 - level_v)


def test_conditions_are_supply_temperature_and_the_settings_of_the_testbench():
    bench = bench_of("opamp/two_stage_ahuja", supply_v=1.62, celsius=-40.0)
    sizings = Sizings.of_bench(bench, [bench.space.start])
    structure = wired(bench).structure
    (found,) = condition_features(structure, PROFILE, sizings)
    told = {name: found[index] for name, index in CONDITION.items() if not np.isnan(found[index])}
    assert set(told) == {"log_supply", "supply_ratio", "celsius", "setting:common_mode_v", "setting:load_f",
                         "setting:step_v"}  # fmt: skip
    assert told["log_supply"] == pytest.approx(math.log10(1.62))
    assert told["supply_ratio"] == pytest.approx(0.9)
    assert told["celsius"] == pytest.approx(-0.67)
    assert told["setting:common_mode_v"] == pytest.approx(0.5)
    assert told["setting:load_f"] == pytest.approx(0.0, abs=1e-6)
    assert told["setting:step_v"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("testbench", "setting", "value", "expected"),
    [
        ("opamp", "load_f", 0.0, -6.0),
        ("opamp", "load_f", 1e-11, 1.0),
        ("opamp", "load_f", math.nan, math.nan),
        ("comparator", "step_v", 0.18, 0.1),
        ("comparator", "overdrive_v", 1e-3, -3.0),
        ("transimpedance", "input_a", 0.0, 0.0),
        ("transimpedance", "input_a", -1e-3, -math.asinh(100) / math.log(10)),
        ("lna", "tone_dbm", -30.0, -1.0),
        ("power_converter", "duty", 0.5, 0.5),
        ("mixer", "lo_over_if", 10.0, 1.0),
        ("bandgap", "ramp_s", 1e-5, 1.0),
        ("ldo", "psrr_hz", 1e6, -2.0),
        ("power_amplifier", "load_ohm", 100.0, -2.0),
    ],
)
def test_a_setting_is_told_on_a_scale_that_suits_it(testbench: str, setting: str, value: float, expected: float):
    names = tuple(each.name for each in testbenches[testbench].settings)
    structure = replace(wired(bench_of("opamp/two_stage_ahuja")).structure, testbench=testbench, settings=names)
    sizings = sizings_of([[]], settings=len(names))
    sizings.settings[:, names.index(setting)] = value
    found = condition_features(structure, PROFILE, sizings)[0, CONDITION[f"setting:{setting}"]]
    assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_a_process_corner_that_the_tables_lack_is_named():
    bench = bench_of("opamp/two_stage_ahuja")
    sizings = replace(Sizings.of_bench(bench, [bench.space.start]), process=np.array(["sf"]))
    with pytest.raises(UnknownName, match="no process corner in the tables of generic180 named 'sf'"):
        element_features(wired(bench), PROFILE, sizings)


def test_a_device_without_a_size_and_a_role_that_no_testbench_has_are_named():
    netlist = circuit("VIN1 VOUT1 VDD VSS", "R1 VIN1 VOUT1")
    with pytest.raises(InvalidInput, match="device R1 has no resistance_ohm, and no variable gives it one"):
        on_nets(netlist)
    sized = circuit("VIN1 VOUT1 VDD VSS", "R1 VIN1 VOUT1 1k")
    with pytest.raises(InvalidInput, match="no testbench has a 'tail', which port VIN1 is said to be"):
        wired_topology(sized, (), {"tail": "VIN1"}, testbenches["filter"], topology_id="", metrics=(), following=())
