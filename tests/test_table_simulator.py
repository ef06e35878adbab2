"""The table simulator against circuits worked by hand, and against formulas of transistors that are made up."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analog.netlist import Device, Netlist
from app.analog.spice import parse_spice
from app.errors import InvalidRequest, SimulatorFailure
from app.table_simulator.analyses import MOST_STEPS, Alterations, frequencies, swept_levels
from app.table_simulator.cards import read_cards
from app.table_simulator.device_tables import thermal_voltage
from app.table_simulator.devices import MosLookup
from app.table_simulator.elimination import Elimination
from app.table_simulator.expressions import Number, parse_expression
from app.table_simulator.junctions import flows
from app.table_simulator.linearised import small_signals
from app.table_simulator.network import Network, System
from app.table_simulator.operating_point import OperatingPoints, OperatingPointSolver
from app.table_simulator.response import ResponseSolver
from app.table_simulator.solver import TableSimulator
from app.technologies._base import technologies
from app.testbenches._base import testbenches
from app.testbenches._simulator import Bench, prepare_bench
from tests.ekv_transistors import (
    GATE_DRAIN_F_PER_M,
    GATE_SOURCE_F_PER_M,
    EkvTables,
    ekv_current,
    ekv_tables,
)

TECHNOLOGY = technologies["generic180"]
LOOKUP = MosLookup(ekv_tables(TECHNOLOGY, "tt", 27.0))

OTA = """ota
M1 N1 VIN1 N2 VSS nmos
M2 VOUT1 VIN2 N2 VSS nmos
M3 N1 N1 VDD VDD pmos
M4 VOUT1 N1 VDD VDD pmos
M5 N2 VB1 VSS VSS nmos
.end
"""


def system_of(cards: str, count: int = 1, **parameters: Number) -> System:
    """The equations of some element cards; nmos and pmos are called after the technology."""
    network = Network.of(read_cards(f"title\n{cards}\n.end\n", TECHNOLOGY.device_models()))
    return network.system(parameters, LOOKUP, count)


def solved(system: System, guesses: Mapping[int, Number] | None = None) -> OperatingPoints:
    solver = OperatingPointSolver(system.network)
    return solver.solve(system, solver.start(system, guesses or {}))


def response(system: System, scale: np.ndarray, node: str, source: str) -> np.ndarray:
    """Design x frequency: the node's voltage for 1 V (or 1 A) of a source."""
    points, row = solved(system), system.network.index[node]
    small = small_signals(system, points.unknowns)
    return ResponseSolver(system.network).solve(system, small, scale, [{source: 1.0}], [row])[0][row]


def test_a_divider_divides_every_design_by_its_own_resistors() -> None:
    ohm = np.array([1e3, 2e3, 7e3])
    points = solved(system_of("v1 a 0 DC 3\nr1 a b 1k\nr2 b 0 {r}", 3, r=ohm))
    np.testing.assert_allclose(points.voltage("b"), 3 * ohm / (ohm + 1e3), rtol=1e-9)
    np.testing.assert_allclose(points.current("v1"), -3 / (ohm + 1e3), rtol=1e-9)
    assert points.converged.all()


def test_sources_that_stand_on_one_another_share_their_currents() -> None:
    points = solved(system_of("v1 a 0 DC 1\nv2 b a DC 2\nv3 0 c DC 1\nr1 b 0 1k\nr2 c 0 1k"))
    assert points.voltage("b")[0] == pytest.approx(3.0)
    assert [points.current(name)[0] for name in ("v1", "v2", "v3")] == pytest.approx([-3e-3, -3e-3, -1e-3])


def test_every_kind_of_controlled_source_does_as_spice_says() -> None:
    cards = (
        "v1 a 0 DC 2\nv2 b 0 DC 0\nr1 a b 1k\n"
        "e1 c 0 a 0 -3\ng1 0 d a 0 1m\nr2 d 0 2k\nh1 e 0 v2 500\nf1 0 f v2 2\nr3 f 0 100\n"
        "b1 g 0 v=1+2*v(a)\nb2 0 h i=1e-3*tanh(v(a)/{x})\nr4 h 0 1k"
    )
    points = solved(system_of(cards, x=4.0))
    found = [points.voltage(node)[0] for node in "cdefgh"]
    assert found == pytest.approx([-6.0, 4.0, 1.0, 0.4, 5.0, np.tanh(0.5)])


def test_a_diode_connected_transistor_sits_where_bisection_says() -> None:
    width, current = np.array([2e-6, 20e-6, 200e-6]), np.array([1e-6, 1e-5, 3e-5])
    system = system_of("i1 0 d DC {i}\nm1 d d 0 0 generic180_nmos W={w} L=1u", 3, w=width, i=current)
    points = solved(system)
    for design in range(3):
        low, high = 0.0, 2.0
        for _ in range(60):
            middle = np.array((low + high) / 2)
            is_low = ekv_current("nmos", width[design], 1e-6, middle, middle, np.array(0.0)) < current[design]
            low, high = (float(middle), high) if is_low else (low, float(middle))
        assert points.voltage("d")[design] == pytest.approx(low, abs=1e-3)
    facts = small_signals(system, points.unknowns).facts
    np.testing.assert_allclose(facts["id"][0], current, rtol=1e-5)


@pytest.mark.parametrize("kind", ["nmos", "pmos"])
def test_the_look_up_is_the_formula_between_the_points_of_the_tables(kind: str) -> None:
    rng = np.random.default_rng(0)
    count, sign = 400, 1.0 if kind == "nmos" else -1.0
    length, width = rng.uniform(0.2e-6, 5e-6, count), rng.uniform(1e-6, 50e-6, count)
    vgs, vds, vsb = rng.uniform(0.3, 1.8, count), rng.uniform(0.02, 1.8, count), rng.uniform(0, 1, count)
    group = LOOKUP.group([kind], width[None], length[None], np.full((1, count), 2.0))
    source = sign * vsb[None]
    found = group.small_signal(source + sign * vds, source + sign * vgs, source, np.zeros((1, count)))
    exact = 2 * np.array([ekv_current(kind, *place) for place in zip(width, length, vgs, vds, vsb, strict=True)])
    assert np.quantile(np.abs(np.log(found.facts["id"][0] / exact)), 0.9) < 0.01
    for step, share in ((0, "gm"), (1, "gds")):
        moved = [vgs + 1e-4 * (step == 0), vds + 1e-4 * (step == 1)]
        change = 2 * np.array([ekv_current(kind, *place) for place in zip(width, length, *moved, vsb, strict=True)])
        ratio = np.abs(np.log(found.facts[share][0] / ((change - exact) / 1e-4)))
        assert np.quantile(ratio, 0.9) < (0.03 if share == "gm" else 0.15)


def test_a_transistor_is_the_same_with_drain_and_source_exchanged() -> None:
    group = LOOKUP.group(["nmos"], *(np.full((1, 5), size) for size in (10e-6, 1e-6, 1.0)))
    gate, high, low, bulk = (np.full((1, 5), level) for level in (1.2, 0.7, 0.1, 0.0))
    there, back = group.currents(high, gate, low, bulk), group.currents(low, gate, high, bulk)
    np.testing.assert_allclose(back.drain + back.bulk, -there.drain)
    nothing = group.currents(low, gate, low, bulk)
    np.testing.assert_allclose(nothing.drain, 0.0, atol=1e-11)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-0.5, 2.3), min_size=4, max_size=4), st.sampled_from(["nmos", "pmos"]))
def test_a_current_and_its_slopes_belong_together(levels: list[float], kind: str) -> None:
    group = LOOKUP.group([kind], *(np.full((1, 1), size) for size in (10e-6, 0.7e-6, 1.0)))
    at = [np.full((1, 1), level) for level in levels]
    slopes = group.currents(*at).drain_slopes
    for terminal in range(4):
        ends = []
        for step in (-1e-7, 1e-7):
            moved = list(at)
            moved[terminal] = at[terminal] + step
            ends.append(group.currents(*moved).drain)
        difference = (ends[1] - ends[0]) / 2e-7
        # At a point of the tables the slope is that of one side.
        assert slopes[terminal][0, 0] == pytest.approx(difference[0, 0], rel=0.3, abs=2e-7)


def test_the_gain_of_a_common_source_stage_is_gm_over_all_conductances() -> None:
    ohm = np.array([5e3, 20e3, 100e3])
    system = system_of(
        "v_vdd vdd 0 DC 1.8\nv_in g 0 DC 0.55 AC 1\nr1 vdd d {r}\nm1 d g 0 0 generic180_nmos W=5u L=1u", 3, r=ohm
    )
    facts = small_signals(system, solved(system).unknowns).facts
    gain = response(system, np.array([10.0]), "d", "v_in")[:, 0]
    expected = -facts["gm"][0] / (facts["gds"][0] + 1 / ohm)
    np.testing.assert_allclose(gain.real, expected, rtol=1e-3)
    assert (np.diff(np.abs(expected)) > 1).all()


def test_the_miller_effect_multiplies_the_capacitance_between_gate_and_drain() -> None:
    system = system_of(
        "v_vdd vdd 0 DC 1.8\nv_in g 0 DC 0.55 AC 1\nr1 vdd d 20k\nm1 d g 0 0 generic180_nmos W=5u L=1u M=4"
    )
    points = solved(system)
    small = small_signals(system, points.unknowns)
    scale, rows = np.array([1e4]), [system.network.index["d"], system.network.branch("v_in")]
    found = ResponseSolver(system.network).solve(system, small, scale, [{"v_in": 1.0}], rows)[0]
    gain, current = found[rows[0]][0, 0], found[rows[1]][0, 0]
    expected = 20e-6 * (GATE_SOURCE_F_PER_M + (1 - gain.real) * GATE_DRAIN_F_PER_M)
    assert -current.imag / (2 * np.pi * 1e4) == pytest.approx(expected, rel=1e-3)


def test_two_poles_and_a_resonance_are_those_of_the_formula() -> None:
    scale = np.logspace(3, 9, 61)
    farad = np.array([1e-12, 5e-12])
    ladder = system_of("v1 a 0 AC 1\nr1 a b 10k\nc1 b 0 {c}\ne1 x 0 b 0 4\nr2 x y 1k\nc2 y 0 2p", 2, c=farad)
    s = 2j * np.pi * scale
    expected = 4 / (1 + s * 1e4 * farad[:, None]) / (1 + s * 1e3 * 2e-12)
    np.testing.assert_allclose(response(ladder, scale, "y", "v1"), expected, rtol=1e-9)
    tank = system_of("i1 0 a AC 1\nr1 a 0 1k\nl1 a 0 1u\nc1 a 0 1n")
    np.testing.assert_allclose(response(tank, scale, "a", "i1")[0], 1 / (1e-3 + s * 1e-9 + 1 / (s * 1e-6)), rtol=1e-9)


def test_a_design_without_an_operating_point_is_told_apart() -> None:
    offset = np.array([0.1, 1.0, -2.0])
    points = solved(system_of("r1 a 0 1\nb1 a 0 i=v(a)*v(a)+{x}", 3, x=offset))
    assert points.converged.tolist() == [True, False, True]
    level = points.voltage("a")
    np.testing.assert_allclose((level**2 + level + offset)[[0, 2]], 0.0, atol=1e-6)


def test_junctions_of_one_model_have_areas_and_voltages_of_their_own() -> None:
    together = solved(system_of("i1 0 a 1u\nq1 0 0 a generic180_pnp area=1\ni2 0 b 1u\nq2 0 0 b generic180_pnp area=8"))
    difference = float((together.voltage("a") - together.voltage("b"))[0])
    assert difference == pytest.approx(float(np.log(8.0)) * thermal_voltage(27.0), rel=0.02)
    for name, area in (("a", 1), ("b", 8)):
        alone = solved(system_of(f"i1 0 {name} 1u\nq1 0 0 {name} generic180_pnp area={area}"))
        np.testing.assert_allclose(alone.voltage(name), together.voltage(name), rtol=1e-9)


def test_a_current_source_without_a_path_drives_its_net_hardly_beyond_the_supply() -> None:
    points = solved(system_of("v_vdd vdd 0 DC 1.8\ni1 vdd g DC 10u\nm1 vdd g 0 0 generic180_nmos W=1u L=1u"))
    assert points.converged.all()
    assert 1.8 < points.voltage("g")[0] < 4


def test_a_latch_stays_where_a_guess_puts_it() -> None:
    cards = "v_vdd vdd 0 DC 1.8\n" + "".join(
        f"m{out}n {out} {gate} 0 0 generic180_nmos W=2u L=1u\nm{out}p {out} {gate} vdd vdd generic180_pmos W=5u L=1u\n"
        for out, gate in (("a", "b"), ("b", "a"))
    )
    system = system_of(cards)
    for high, low in (("a", "b"), ("b", "a")):
        index = system.network.index
        points = solved(system, {index[high]: 1.8, index[low]: 0.0})
        assert points.voltage(high)[0] > 1.7
        assert points.voltage(low)[0] < 0.1


def test_a_latch_that_is_let_go_ends_with_its_slower_side_high() -> None:
    cards = "v_vdd vdd 0 DC 1.8\nc1 a 0 {ca}\nc2 b 0 {cb}\n" + "".join(
        f"m{out}n {out} {gate} 0 0 generic180_nmos W=2u L=1u\nm{out}p {out} {gate} vdd vdd generic180_pmos W=5u L=1u\n"
        for out, gate in (("a", "b"), ("b", "a"))
    )
    system = system_of(cards, 2, ca=np.array([10e-12, 0.1e-12]), cb=np.array([0.1e-12, 10e-12]))
    solver, index = OperatingPointSolver(system.network), system.network.index
    initial = {index["a"]: 1.6, index["b"]: 1.6}
    points = solver.settle(system, solver.start(system, initial), initial, 1e-3)
    assert points.converged.all()
    assert (points.voltage("a") > 1.7).tolist() == [True, False]
    assert (points.voltage("b") > 1.7).tolist() == [False, True]


def test_a_loop_of_sources_is_refused() -> None:
    with pytest.raises(SimulatorFailure, match="no solution whatever its sizes: check it for a loop"):
        solved(system_of("v1 a 0 DC 1\nv2 a 0 DC 1\nr1 a 0 1k"))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(0, 10**6))
def test_an_elimination_solves_what_numpy_solves(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(size, size)) * (rng.uniform(size=(size, size)) < 0.4) + 3 * np.eye(size)
    entries = {(int(row), int(column)): dense[row, column] * np.ones(3) for row, column in np.argwhere(dense)}
    order = Elimination.plan({place: value[0] for place, value in entries.items()}, ())
    side = rng.normal(size=(size, 3))
    found = order.solve(entries, [dict(enumerate(side))])[0]
    expected = np.linalg.solve(dense, side)
    np.testing.assert_allclose(
        np.stack([found[row] * np.ones(3) for row in range(size)]), expected, rtol=1e-6, atol=1e-9
    )
    wanted = order.solve(entries, [dict(enumerate(side))], [size - 1])[0]
    np.testing.assert_allclose(wanted[size - 1], expected[-1], rtol=1e-6, atol=1e-9)


def test_expressions_have_values_and_slopes() -> None:
    expression = parse_expression("{k}*v(a)*v(b)-3*(v(a)+1)/2")
    found = expression.sloped({"k": 2.0}, {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])})
    np.testing.assert_allclose(found.value, [3.0, 11.5])
    np.testing.assert_allclose(found.slopes["a"], [4.5, 6.5])
    np.testing.assert_allclose(found.slopes["b"], [2.0, 4.0])
    assert sorted(expression.nodes) == ["a", "b"]
    assert parse_expression("4.7MEG").value({}) == 4.7e6


@pytest.mark.parametrize("text", ["__import__('os')", "v(a)**2", "{x", "max(1,2)", "v(a).real", "1;2"])
def test_what_no_testbench_writes_is_no_expression(text: str) -> None:
    with pytest.raises(InvalidRequest, match="does not understand the expression"):
        parse_expression(text)


def test_a_parameter_without_a_value_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"does not understand the expression '\{w\}'"):
        parse_expression("{w}").value({})


def test_commands_are_read_with_fewer_points() -> None:
    np.testing.assert_allclose(frequencies("ac lin 3 1 9"), [1, 5, 9])
    scale = frequencies("ac dec 20 10 10g")
    assert (len(scale), scale[0], scale[-1]) == (9 * (MOST_STEPS // 9) + 1, 10.0, pytest.approx(1e10))
    assert len(frequencies("ac dec 5 1 1k")) == 16
    assert len(frequencies("ac dec 40 10 100g")) == 401
    np.testing.assert_allclose(frequencies("noise v(b,c) v_a dec 2 1 10"), [1, 10**0.5, 10])
    with pytest.raises(InvalidRequest, match="does not understand the command 'ac oct 3 1 10'"):
        frequencies("ac oct 3 1 10")
    source, levels = swept_levels(
        "dc v_x 0 {top} {step}", {"top": np.array([1.0, 2.0]), "step": np.array([0.25, 0.5])}, 2
    )
    assert source == "v_x"
    np.testing.assert_allclose(levels, [[0, 0.25, 0.5, 0.75, 1], [0, 0.5, 1, 1.5, 2]])
    changes = Alterations.of(["alter v_a acmag=1", "alter v_b dc={x}"], {"x": 2.0})
    assert (changes.amplitudes, changes.levels) == ({"v_a": 1.0}, {"v_b": 2.0})
    with pytest.raises(InvalidRequest, match="does not understand the command 'set temp=3'"):
        Alterations.of(["set temp=3"], {})


@pytest.mark.parametrize("kind", ["npn", "pnp"])
def test_a_bipolar_transistor_is_an_exponential_with_its_gain(kind: str) -> None:
    model = {"is": 1e-16, "bf": 80.0, "vaf": 50.0}
    sign = 1.0 if kind == "npn" else -1.0
    base = np.array([0.6, 0.6 + thermal_voltage(27.0) * np.log(10)])
    found = flows(kind, model, 27.0, 2.0, [sign * np.array([1.5, 1.5]), sign * base, np.zeros(2)])
    collector, into_base = sign * found.currents[0], sign * found.currents[1]
    assert collector[1] / collector[0] == pytest.approx(10, rel=0.01)
    early = 1 - (base - 1.5) / 50
    np.testing.assert_allclose(collector, 2e-16 * np.exp(base / thermal_voltage(27.0)) * early, rtol=1e-3)
    np.testing.assert_allclose(into_base, 2e-16 * np.exp(base / thermal_voltage(27.0)) / 80, rtol=1e-2)
    np.testing.assert_allclose(sum(found.currents), 0.0, atol=1e-20)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3),
    st.sampled_from(["npn", "pnp", "diode"]),
    st.floats(-40, 125),
)
def test_junctions_and_their_slopes_belong_together(levels: list[float], kind: str, celsius: float) -> None:
    model = {
        "is": 2e-18, "bf": 60, "vaf": 40, "var": 8, "ikf": 2e-3, "ise": 2e-16, "ne": 1.8, "br": 2, "n": 1.03, "xtb": 1,
    }  # fmt: skip
    at = [np.array([level]) for level in levels][: 2 if kind == "diode" else 3]
    found = flows(kind, model, celsius, 3.0, at)
    for terminal in range(len(at)):
        moved = [[level + step * (place == terminal) for place, level in enumerate(at)] for step in (-1e-7, 1e-7)]
        low, high = (flows(kind, model, celsius, 3.0, each).currents for each in moved)
        for row in range(len(at)):
            difference = (high[row] - low[row]) / 2e-7
            assert found.slopes[row][terminal][0] == pytest.approx(difference[0], rel=1e-3, abs=1e-9)


def test_junctions_conduct_more_when_hot_and_hold_more_charge_when_forward() -> None:
    model = {"is": 1e-17, "n": 1.0, "cjo": 1e-14, "vj": 0.75, "m": 0.38}
    cold, hot = (flows("diode", model, celsius, 1.0, [np.array([0.5]), np.zeros(1)]) for celsius in (-40.0, 125.0))
    assert hot.currents[0][0] > 1e3 * cold.currents[0][0]
    forward, backward = (flows("diode", model, 27.0, 1.0, [np.array([v]), np.zeros(1)]) for v in (0.3, -2.0))
    assert forward.capacitances[0][0][0] == pytest.approx(1e-14 * (1 - 0.3 / 0.75) ** -0.38)
    assert backward.capacitances[0][0][0] == pytest.approx(1e-14 * (1 + 2 / 0.75) ** -0.38)


def test_a_bipolar_stage_is_solved_with_its_series_resistances() -> None:
    points = solved(
        system_of(
            "v1 vcc 0 DC 1.8\nv2 b 0 DC 0.75\nr1 vcc c 2k\nq1 c b 0 generic180_npn AREA=4\nd1 c 0 generic180_diode"
        )
    )
    assert points.converged.all()
    assert 0.3 < points.voltage("c")[0] < 1.7
    assert 1e-5 < points.voltage("q1#re")[0] < 1e-3
    assert points.voltage("b")[0] - points.voltage("q1#rb")[0] > 1e-5


def bench_of(netlist: str, testbench: str) -> Bench:
    return prepare_bench(parse_spice(netlist).netlist, testbenches[testbench], TECHNOLOGY)


def drawn(bench: Bench, count: int, *, spread: float = 0.3) -> np.ndarray:
    """Sizings around the start."""
    rng = np.random.default_rng(1)
    start = np.array(bench.space.start)
    is_log = np.array([variable.is_log for variable in bench.space.variables])
    factors = np.where(is_log, np.exp(rng.normal(0, spread, (count, len(start)))), 1.0)
    low, high = (np.array([getattr(v, name) for v in bench.space.variables]) for name in ("low", "high"))
    return np.asarray(np.clip(start * factors, low, high))


def test_an_ota_has_the_gain_and_the_bandwidth_of_its_transistors() -> None:
    bench = bench_of(OTA, "opamp")
    simulator = TableSimulator(EkvTables())
    found = simulator.run(bench, drawn(bench, 40))
    assert found.converged.all()
    assert found.devices == ("M1", "M2", "M3", "M4", "M5")
    values = dict(zip(found.metrics, found.values.T, strict=True))
    gm, gds = found.facts["gm"], found.facts["gds"]
    expected = 20 * np.log10(gm[:, 1] / (gds[:, 1] + gds[:, 3]))
    np.testing.assert_allclose(values["gain_db"], expected, atol=0.3)
    np.testing.assert_allclose(values["ugf_hz"], gm[:, 1] / (2 * np.pi * 1e-12), rtol=0.25)
    np.testing.assert_allclose(values["supply_current_a"], found.facts["id"][:, 4], rtol=1e-4)
    np.testing.assert_allclose(found.voltages["VOUT1"] - 0.9, values["offset_v"], atol=1e-9)
    assert (values["phase_margin_deg"] > 60).all()
    assert "slew_rate_v_per_s" not in found.metrics


def test_a_sizing_has_the_same_results_alone_and_in_a_crowd() -> None:
    bench = bench_of(OTA, "opamp")
    simulator = TableSimulator(EkvTables())
    sizes = drawn(bench, 12, spread=1.0)
    crowd = simulator.run(bench, sizes)
    for place in (0, 7, 11):
        alone = simulator.run(bench, sizes[place : place + 1])
        np.testing.assert_allclose(alone.values[0], crowd.values[place], rtol=1e-5, atol=1e-9, equal_nan=True)
        np.testing.assert_allclose(alone.facts["id"][0], crowd.facts["id"][place], rtol=1e-6)
        assert alone.undefined[0] == crowd.undefined[place]


def test_no_sizings_have_no_results() -> None:
    bench = bench_of(OTA, "opamp")
    found = TableSimulator(EkvTables()).run(bench, [])
    assert found.values.shape == (0, len(found.metrics))
    assert found.undefined == ()


def test_a_sizing_that_is_no_number_has_no_results_and_spoils_no_other() -> None:
    bench = bench_of(OTA, "opamp")
    simulator = TableSimulator(EkvTables())
    sizes = drawn(bench, 3)
    good = simulator.run(bench, sizes)
    sizes[1, 0] = np.nan
    found = simulator.run(bench, sizes)
    assert found.converged.tolist() == [True, False, True]
    np.testing.assert_array_equal(found.values[[0, 2]], good.values[[0, 2]])
    assert np.isnan(found.values[1]).all()
    assert {why.reason for why in found.undefined[1].values()} == {"a size is not a finite number"}


def test_only_the_metrics_that_were_asked_for_are_measured() -> None:
    bench = bench_of(OTA, "opamp")
    simulator = TableSimulator(EkvTables())
    assert simulator.run(bench, drawn(bench, 2), ["gain_db", "offset_v"]).metrics == ("offset_v", "gain_db")
    with pytest.raises(InvalidRequest, match="cannot measure settling_time_s on testbench opamp"):
        simulator.run(bench, drawn(bench, 2), ["settling_time_s"])


def test_an_output_at_a_rail_has_no_gain_and_a_reason() -> None:
    bench = bench_of(OTA, "opamp")
    sizes = drawn(bench, 3)
    sizes[1, bench.space.index_of["vb1_v"]] = 0.0
    found = TableSimulator(EkvTables()).run(bench, sizes, ["gain_db", "power_w"])
    assert np.isfinite(found.values[[0, 2]]).all()
    assert found.values[1, 0] < 1e-6
    assert found.undefined[0] == {}


def test_an_amplifier_is_biased_by_its_own_sweep() -> None:
    bench = bench_of("cs\nM1 VOUT1 VIN1 VSS VSS nmos\nR1 VDD VOUT1 20k\n.end\n", "amplifier")
    found = TableSimulator(EkvTables()).run(bench, drawn(bench, 10))
    values = dict(zip(found.metrics, found.values.T, strict=True))
    ohm = drawn(bench, 10)[:, bench.space.index_of["r_r1"]]
    expected = 20 * np.log10(found.facts["gm"][:, 0] / (found.facts["gds"][:, 0] + 1 / ohm))
    np.testing.assert_allclose(values["gain_db"], expected, atol=0.1)
    np.testing.assert_allclose(values["output_resistance_ohm"], 1 / (found.facts["gds"][:, 0] + 1 / ohm), rtol=0.01)
    assert np.isfinite(values["output_swing_v"]).all()
    assert np.ptp(values["input_bias_v"]) > 1e-3


def test_a_mirror_copies_by_its_widths() -> None:
    bench = bench_of(
        "mirror\nM1 IIN1 IIN1 VSS VSS nmos W=4u L=1u\nM2 IOUT1 IIN1 VSS VSS nmos W=12u L=1u\n.end\n", "current_mirror"
    )
    found = TableSimulator(EkvTables()).run(bench, [bench.space.start])
    values = dict(zip(found.metrics, found.values[0], strict=True))
    assert values["current_ratio"] == pytest.approx(3.0, rel=0.1)
    assert values["output_resistance_ohm"] == pytest.approx(1 / found.facts["gds"][0, 1], rel=0.01)
    assert 0 < values["compliance_v"] < 0.9


def test_a_circuit_with_a_block_is_refused() -> None:
    netlist = Netlist(
        (
            Device("M1", "nmos", ("VOUT1", "VIN1", "VSS", "VSS")),
            Device("R1", "resistor", ("VDD", "VOUT1")),
            Device("X1", "inverter", ("VOUT1", "N1", "VDD", "VSS")),
            Device("R2", "resistor", ("N1", "VSS")),
        ),
        ("VDD", "VSS", "VIN1", "VOUT1"),
    )
    bench = prepare_bench(netlist, testbenches["amplifier"], TECHNOLOGY)
    with pytest.raises(InvalidRequest, match="has no equations for blocks"):
        TableSimulator(EkvTables()).run(bench, [bench.space.start])
