"""The regulator testbench: a resistive network and a loop worked by hand, and the archetypes for real."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.simulators.deck import deck_with_parameters
from app.simulators.processes import WorkerPool
from app.technologies._base import technologies
from app.testbenches._base import Undefined, Waveforms, testbenches
from app.testbenches._function import unmet_bounds
from app.testbenches._simulator import prepare_bench
from app.testbenches._waveforms import crossing_frequency, decibels, unwrapped_degrees, value_at
from tests.worked_circuits import FOUR_KT, archetype, circuit, mos, ohm, reading, reason, simulate, values

PMOS_PASS = {
    "M1 M2": mos(10, 1),
    "M3 M4": mos(10, 1),
    "M5": mos(5, 1),
    "M6": mos(100, 0.18),
    "R1 R2": ohm(20e3),
    "C1": {"capacitance_f": 100e-12},
}
NMOS_PASS = {**PMOS_PASS, "M6": mos(200, 0.18), "R1": ohm(1e3), "C1": {"capacitance_f": 1e-12}}
BUFFERED = {
    **{key: value for key, value in PMOS_PASS.items() if key not in ("M6", "C1")},
    "M6": mos(20, 0.18),
    "M7": mos(20, 0.5),
    "M8": mos(100, 0.18),
    "C1": {"capacitance_f": 1e-12},
    "C2": {"capacitance_f": 10e-12},
}
FOLLOWER = {"M1": mos(20, 0.5), "M2": mos(20, 0.5), "M3": mos(5, 0.5), "C1": {"capacitance_f": 50e-12}}

NODES = {"output": "vout1", "reference": "vref1"}

#: 1 kohm from the supply to the output and 9 kohm from there to VSS, with 1 nF: 900 ohm, 0.9 us.
RESISTORS = circuit("VDD VSS VOUT1\nR1 VDD VOUT1 1k\nR2 VOUT1 VSS 9k\nC1 VOUT1 VSS 1n")
TAU_S = 900 * 1e-9


@pytest.mark.simulator
def test_every_metric_of_a_resistive_network_is_what_ohm_says(ngspice: WorkerPool) -> None:
    row = simulate(ngspice, RESISTORS, "ldo", settings={"load_f": 0.0})
    measured = values(row)
    full, light = 900 * (1.8e-3 - 1e-4), 900 * (1.8e-3 - 1e-5)
    pole = 1 / (2 * math.pi * TAU_S)
    psrr = -20 * math.log10(0.9)
    worked = {
        "supply_current_a": (1.8 - full) / 1e3,
        "power_w": 1.8 * (1.8 - full) / 1e3,
        "output_v": full,
        "quiescent_current_a": (1.8 - full) / 1e3 - 1e-4,
        "output_resistance_ohm": 900,
        "output_impedance_peak_ohm": 900,
        "psrr_db": psrr,
        "psrr_at_frequency_db": psrr + 10 * math.log10(1 + (1e5 / pole) ** 2),
        "output_noise_v": math.sqrt(FOUR_KT * 900 * pole * (math.atan(1e5 / pole) - math.atan(10 / pole))),
        "load_regulation": (light - full) / light,
        "line_regulation_v_per_v": 0.9,
        "undershoot_v": light - full,
        "settling_time_s": TAU_S * math.log((light - full) / (0.01 * full)),
    }
    for name, value in worked.items():
        assert measured[name] == pytest.approx(value, rel=0.01), name
    assert measured["overshoot_v"] == pytest.approx(0, abs=1e-4)
    assert "follows the supply" in row["undefined"]["dropout_v"]["reason"]
    assert "no pair" in row["undefined"]["loop_gain_db"]["reason"]
    assert "no pair" in row["undefined"]["regulation_error"]["reason"]
    assert {bound.metric for bound in unmet_bounds(testbenches["ldo"].works, measured)} == {"line_regulation_v_per_v"}


def test_a_loop_of_two_poles_has_the_margin_of_its_second() -> None:
    frequency = np.logspace(0, 10, 101)
    gain = 1e3 / (1 + 1j * frequency / 1e4) / (1 + 1j * frequency / 2e7)
    loop = Waveforms(frequency, {"v(tb_feedback)": -0.5 * gain, "v(tb_open)": np.full(101, 0.5 + 0j)})
    found = reading("ldo", {"loop": loop}, NODES)
    crossing = 2e7 * math.sqrt((math.sqrt(1 + 4 * (1e7 / 2e7) ** 2) - 1) / 2)
    assert found.number("loop_gain_db") == pytest.approx(60, rel=0.01)
    assert found.number("loop_ugf_hz") == pytest.approx(crossing, rel=0.01)
    assert found.number("phase_margin_deg") == pytest.approx(90 - math.degrees(math.atan(crossing / 2e7)), rel=0.01)
    times = testbenches["ldo"].derive["step"](found)
    assert not isinstance(times, Undefined)
    assert times["tb_fall"] - times["tb_rise"] == pytest.approx(10 / crossing, rel=0.01)


def test_a_loop_without_gain_has_no_unity_gain_frequency() -> None:
    frequency = np.logspace(0, 10, 101)
    for level, words in ((-0.1, "not above 0 dB"), (-10, "stays above 0 dB")):
        flat = {"v(tb_feedback)": np.full(101, level, dtype=complex), "v(tb_open)": np.ones(101, dtype=complex)}
        loop = Waveforms(frequency, flat)
        assert words in reason(reading("ldo", {"loop": loop}, NODES).value("loop_ugf_hz"))


def test_dropout_is_read_where_two_percent_of_the_output_are_lost() -> None:
    supply = np.linspace(1.98, 0, 100)
    line = Waveforms(supply, {"v(vout1)": np.minimum(1.0, 0.9 * supply)})
    found = reading("ldo", {"line": line}, NODES)
    assert found.number("line_regulation_v_per_v") == pytest.approx(0, abs=1e-9)
    assert found.number("dropout_v") == pytest.approx(0.98 / 0.9 - 0.98, rel=0.01)
    stuck = Waveforms(supply, {"v(vout1)": np.ones(100)})
    assert "2 % lower at no supply" in reason(reading("ldo", {"line": stuck}, NODES).value("dropout_v"))


def test_a_load_step_is_told_by_its_dip_its_peak_and_when_both_are_over() -> None:
    time = np.linspace(0, 2.1e-6, 4201)
    ring = np.exp(-(time % 1e-6) / 1e-7)
    dip = np.where((time >= 0.1e-6) & (time < 1.1e-6), -0.2 * np.exp(-(time - 0.1e-6) / 1e-7), 0.0)
    peak = np.where(time >= 1.1e-6, 0.1 * np.exp(-np.maximum(time - 1.1e-6, 0) / 1e-7), 0.0)
    step = Waveforms(time, {"v(vout1)": 1.0 + dip + peak})
    found = reading("ldo", {"step": step}, NODES)
    assert found.number("undershoot_v") == pytest.approx(0.2, rel=0.01)
    assert found.number("overshoot_v") == pytest.approx(0.1, rel=0.01)
    assert found.number("settling_time_s") == pytest.approx(1e-7 * math.log(20), rel=0.02)
    endless = Waveforms(time, {"v(vout1)": 1.0 + 0.1 * np.sin(2 * np.pi * time / 1e-7) + 0 * ring})
    assert "does not stay within 1 %" in reason(reading("ldo", {"step": endless}, NODES).value("settling_time_s"))


def test_a_dead_regulator_says_what_it_lacks() -> None:
    load = Waveforms(np.linspace(1e-4, 1e-5, 13), {"v(vout1)": np.zeros(13)})
    supply = Waveforms(np.logspace(0, 9, 46), {"v(vout1)": np.zeros(46, dtype=complex)})
    found = reading("ldo", {"load": load, "supply": supply}, NODES)
    assert "not above 0 V" in reason(found.value("load_regulation"))
    assert "nothing of the supply" in reason(found.value("psrr_db"))
    assert "nothing of the supply" in reason(found.value("psrr_at_frequency_db"))


def test_a_circuit_without_an_output_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match=r"ldo cannot drive this circuit: it has no output .* name the port VOUT1"):
        testbenches["ldo"].wire(circuit("VDD VSS VREF1\nR1 VDD MIDDLE 1k\nR2 MIDDLE VSS 1k\nC1 VREF1 VSS 1p"))


def test_a_circuit_without_any_supply_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match=r"connected to VDD, and it has no input .* name the port VIN1"):
        testbenches["ldo"].wire(circuit("VSS VOUT1\nR1 VOUT1 VSS 1k"))


@pytest.mark.simulator
def test_a_regulator_may_have_its_unregulated_input_for_its_only_supply(ngspice: WorkerPool) -> None:
    network = circuit("VSS VIN1 VOUT1\nR1 VIN1 VOUT1 1k\nR2 VOUT1 VSS 9k")
    assert values(simulate(ngspice, network, "ldo"))["output_v"] == pytest.approx(1.53, rel=0.01)


def test_the_bias_that_the_output_follows_is_the_reference() -> None:
    assert testbenches["ldo"].wire(archetype("ldo/flipped_voltage_follower")).port_of["reference"] == "VB1"
    assert testbenches["ldo"].wire(archetype("ldo/pmos_pass")).port_of["reference"] == "VREF1"


@pytest.mark.simulator
def test_the_opened_loop_agrees_with_the_closed_one_where_its_gain_is_one(ngspice: WorkerPool) -> None:
    netlist = archetype("ldo/pmos_pass", PMOS_PASS)
    bench = prepare_bench(netlist, testbenches["ldo"], technologies["generic180"], metrics=["output_v"])
    names = [variable.name for variable in bench.space.variables]
    sizing = dict(zip(names, bench.space.start, strict=True))
    deck = deck_with_parameters(bench.deck_template(bench.setups[0], [bench.space.start]), sizing)
    lines = [line for line in deck.splitlines() if not line.startswith((".save", ".end"))]
    lines = [f"{line} AC 1" if line.startswith("v_tb_ref ") else line for line in lines]
    answer = ngspice.submit({"deck": "\n".join([*lines, ".ac dec 20 1 10g", ".end"]) + "\n", "analysis": "ac"}).result()
    assert answer["status"] == "ok"
    follows = np.asarray(answer["vectors"]["n_fb"]["real"]) + 1j * np.asarray(answer["vectors"]["n_fb"]["imaginary"])
    gain = follows / (1 - follows)
    frequency = np.asarray(answer["vectors"]["frequency"]["real"])
    crossing = crossing_frequency(frequency, decibels(gain))
    assert crossing is not None
    margin = 180 + value_at(np.log10(frequency), unwrapped_degrees(gain), math.log10(crossing))
    measured = values(simulate(ngspice, netlist, "ldo"))
    assert measured["loop_ugf_hz"] == pytest.approx(crossing, rel=0.03)
    assert measured["phase_margin_deg"] == pytest.approx(margin, abs=2)


@pytest.mark.simulator
def test_the_loop_divides_the_output_impedance_of_the_pass_device(ngspice: WorkerPool) -> None:
    prepared = archetype("ldo/pmos_pass", PMOS_PASS)
    row = simulate(ngspice, prepared, "ldo", with_facts=True)
    measured = values(row)
    opened = 1 / (abs(row["operating_point"]["M6"]["gds"]) + 1 / 40e3)
    loop_gain = 10 ** (measured["loop_gain_db"] / 20)
    assert measured["output_resistance_ohm"] == pytest.approx(opened / (1 + loop_gain), rel=0.01)


@pytest.mark.simulator
@pytest.mark.parametrize("name", ["buffered_pmos_pass", "flipped_voltage_follower", "nmos_pass", "pmos_pass"])
def test_the_archetypes_simulate_at_their_guided_sizes(name: str, ngspice: WorkerPool) -> None:
    measured = values(simulate(ngspice, archetype(f"ldo/{name}"), "ldo", guided=True))
    assert 0.2 < measured["output_v"] < 1.8
    assert measured["quiescent_current_a"] > 0


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("name", "sizes", "output_v"),
    [
        ("pmos_pass", PMOS_PASS, 1.44),
        ("buffered_pmos_pass", BUFFERED, 1.44),
        ("nmos_pass", NMOS_PASS, 0.756),
        ("flipped_voltage_follower", FOLLOWER, 1.3),
    ],
)
def test_regulators_of_proportions_hold_their_output(
    name: str, sizes: dict[str, dict[str, float]], output_v: float, ngspice: WorkerPool
) -> None:
    measured = values(simulate(ngspice, archetype(f"ldo/{name}", sizes), "ldo"))
    assert not unmet_bounds(testbenches["ldo"].works, measured)
    assert measured["output_v"] == pytest.approx(output_v, rel=0.1)
    assert name == "flipped_voltage_follower" or measured["loop_gain_db"] > 20
    assert name == "flipped_voltage_follower" or measured["phase_margin_deg"] > 0
    assert 0 < measured["dropout_v"] < 1.1
    assert measured["settling_time_s"] < 1e-5


@pytest.mark.simulator
def test_an_unregulated_input_of_its_own_is_fed_from_the_supply(ngspice: WorkerPool) -> None:
    source = archetype("ldo/pmos_pass", PMOS_PASS)
    devices = tuple(
        type(device)(device.name, device.kind, ("VOUT1", "GATE", "VIN1", "VIN1"), device.sizes)
        if device.name == "M6"
        else device
        for device in source.devices
    )
    separate = values(simulate(ngspice, type(source)(devices, (*source.ports, "VIN1")), "ldo"))
    common = values(simulate(ngspice, source, "ldo"))
    assert separate["psrr_db"] == pytest.approx(common["psrr_db"], rel=1e-3)
    assert separate["supply_current_a"] == pytest.approx(common["supply_current_a"], rel=1e-3)


@pytest.mark.simulator
def test_a_step_asked_for_alone_is_timed_as_among_all_metrics(ngspice: WorkerPool) -> None:
    netlist = archetype("ldo/pmos_pass", PMOS_PASS)
    among = values(simulate(ngspice, netlist, "ldo"))
    alone = values(simulate(ngspice, netlist, "ldo", metrics=["undershoot_v"]))
    assert alone == {"undershoot_v": among["undershoot_v"]}
