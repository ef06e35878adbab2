"""Decks, bias and operating points, against hand calculation and the ngspice program."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.analog.netlist import Netlist
from app.analog.spice import parse_spice
from app.errors import SimulatorFailure
from app.simulators.bias import bias_plan
from app.simulators.dc_paths import floating_nets
from app.simulators.deck import complete_deck, default_sizes
from app.simulators.ngspice import ngspice_pool
from app.simulators.operating_point import OperatingPoint, OperatingPointSimulator, Status
from app.simulators.processes import WorkerPool
from app.technologies._base import Technology, technologies
from tests.answering_pool import AnsweringPool

COMMON_SOURCE = "M1 VOUT1 VIN1 VSS VSS nmos\nM2 VOUT1 VOUT1 VDD VDD pmos\n"

FIVE_TRANSISTOR_OTA = """
M1 N1 VIN1 N2 VSS nmos
M2 VOUT1 VIN2 N2 VSS nmos
M3 N1 N1 VDD VDD pmos
M4 VOUT1 N1 VDD VDD pmos
M5 N2 VB1 VSS VSS nmos
"""


def netlist_of(cards: str) -> Netlist:
    return parse_spice(f"* test\n{cards}\n.end\n").netlist


@pytest.fixture(scope="session")
def technology() -> Technology:
    return technologies["generic180"]


@pytest.fixture
def simulator(ngspice: WorkerPool, technology: Technology) -> OperatingPointSimulator:
    return OperatingPointSimulator(ngspice, technology)


def volts_of(cards: str, technology: Technology) -> dict[str, float]:
    return {source.net: source.volts for source in bias_plan(netlist_of(cards), technology).voltages}


def test_default_sizes_fill_only_what_is_missing(technology: Technology) -> None:
    sized = default_sizes(netlist_of("M1 VOUT1 VIN1 VSS VSS nmos W=2u\nR1 VDD VOUT1\nC1 VOUT1 VSS 3p"), technology)
    first, resistor, capacitor = sized.devices
    assert first.sizes == {"width_m": 2e-6, "length_m": 500e-9}
    assert resistor.sizes == {"resistance_ohm": 10e3}
    assert capacitor.sizes == {"capacitance_f": 3e-12}


def test_a_gate_is_biased_by_the_transistor_behind_it(technology: Technology) -> None:
    assert volts_of("M1 VOUT1 VIN1 VSS VSS nmos\nR1 VDD VOUT1", technology)["VIN1"] == pytest.approx(0.6)
    assert volts_of("M1 VOUT1 VIN1 VDD VDD pmos\nR1 VSS VOUT1", technology)["VIN1"] == pytest.approx(1.2)
    assert volts_of("M1 VOUT1 VIN1 VSS VSS nmos\nM2 VOUT1 VIN1 VDD VDD pmos", technology)["VIN1"] == pytest.approx(0.9)
    assert volts_of("Q1 VOUT1 VB1 VSS npn\nR1 VDD VOUT1", technology)["VB1"] == pytest.approx(0.75)


def test_a_cascode_is_biased_a_step_above_the_transistor_below(technology: Technology) -> None:
    volts = volts_of(
        "M1 N1 VIN1 VSS VSS nmos\nM2 VOUT1 VB1 N1 VSS nmos\nM3 N2 VB3 VDD VDD pmos\nM4 VOUT1 VB2 N2 VDD pmos",
        technology,
    )
    assert volts["VIN1"] == pytest.approx(0.6)
    assert volts["VB1"] == pytest.approx(0.8)
    assert volts["VB3"] == pytest.approx(1.2)
    assert volts["VB2"] == pytest.approx(1.0)


def test_clocks_are_two_phases_and_resistors_are_driven_at_half_the_supply(technology: Technology) -> None:
    switches = "X1 VIN1 VOUT1 VCLK1 VDD VSS transmission_gate\nX2 VIN1 VOUT2 VCLK2 VDD VSS transmission_gate"
    volts = volts_of(switches, technology)
    assert volts == {"VDD": 1.8, "VIN1": 0.9, "VCLK1": 1.8, "VCLK2": 0.0}
    assert volts_of("R1 VCM1 VOUT1 1k", technology)["VCM1"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("cards", "flows_in"),
    [
        ("M1 IB1 IB1 VSS VSS nmos\nM2 VOUT1 IB1 VSS VSS nmos", True),
        ("M1 VSS IB1 IB1 VSS nmos\nM2 VOUT1 IB1 VSS VSS nmos", True),
        ("M1 IB1 IB1 VDD VDD pmos\nM2 VOUT1 IB1 VDD VDD pmos", False),
        ("M1 VOUT1 VIN1 IB1 VSS nmos\nM2 VOUT2 VIN2 IB1 VSS nmos", False),
        ("M1 VOUT1 VIN1 IB1 VDD pmos\nM2 VOUT2 VIN2 IB1 VDD pmos", True),
        ("Q1 IB1 IB1 VSS npn", True),
        ("R1 IB1 VSS 1k", True),
    ],
)
def test_a_bias_current_flows_the_way_its_devices_conduct(cards: str, flows_in: bool, technology: Technology) -> None:
    (source,) = bias_plan(netlist_of(cards), technology).currents
    assert (source.net, source.amperes, source.flows_in) == ("IB1", 10e-6, flows_in)


def test_what_the_circuit_makes_itself_is_loaded_and_not_driven(technology: Technology) -> None:
    mirror = bias_plan(netlist_of("M1 VB1 VB1 VSS VSS nmos\nR1 VDD VB1 100k\nM2 VOUT1 VB1 VSS VSS nmos"), technology)
    assert [load.net for load in mirror.loads] == ["VB1", "VOUT1"]
    reference = bias_plan(netlist_of("M1 VREF1 VB1 VDD VDD pmos\nR1 VREF1 VSS 10k"), technology)
    assert [load.net for load in reference.loads] == ["VREF1"]
    buffer = volts_of("M1 VOUT1 VREF1 VSS VSS nmos", technology)
    assert buffer["VREF1"] == pytest.approx(0.6)


def test_a_current_that_only_gates_would_take_is_a_voltage(technology: Technology) -> None:
    bias = bias_plan(netlist_of("M1 VOUT1 IB1 VSS VSS nmos"), technology)
    assert bias.currents == ()
    assert ("IB1", 0.6) in [(source.net, source.volts) for source in bias.voltages]


def test_a_net_between_gates_and_capacitors_floats(technology: Technology) -> None:
    def floating(cards: str) -> tuple[str, ...]:
        netlist = netlist_of(cards)
        return floating_nets(netlist, bias_plan(netlist, technology))

    coupled = "M1 VOUT1 N1 VSS VSS nmos\nR1 VDD VOUT1\nC1 VIN1 N1 1p"
    assert floating(coupled) == ("N1",)
    assert floating(f"{coupled}\nR2 N1 VOUT1") == ()
    assert floating("M1 VOUT1 VIN1 VSS VSS nmos\nR1 N1 N2 1k\nC1 N1 VOUT1 1p") == ("N1", "N2")
    assert floating("M1 N1 VIN1 VSS VSS nmos\nM2 VOUT1 N1 VDD VDD pmos") == ()
    assert floating("C1 IB1 VSS 1p\nR1 IB1 N1 1k\nR2 VDD VOUT1 1k") == ("IB1", "N1")


@pytest.mark.simulator
def test_a_floating_net_is_named_without_any_simulation(technology: Technology) -> None:
    with ngspice_pool(size=1) as pool:
        cards = "M1 VOUT1 N1 VSS VSS nmos\nM2 VOUT1 N1 VDD VDD pmos\nC1 VIN1 N1 1p\nC2 N1 VOUT1 1p"
        point = OperatingPointSimulator(pool, technology).run(netlist_of(cards))
        assert (point.converged, point.status, point.floating) == (False, "no_dc_path", ("N1",))
        assert point.message == "no direct current can reach net N1"
        assert pool.statistics()["done"] == 0


@pytest.mark.simulator
def test_a_divider_has_the_voltage_of_the_divider_formula(simulator: OperatingPointSimulator) -> None:
    point = simulator.run(netlist_of("R1 VDD N1 3k\nR2 N1 VSS 1k"))
    assert point.node_voltages_v["N1"] == pytest.approx(1.8 / 4, rel=1e-9)
    assert point.supply_current_a == pytest.approx(1.8 / 4e3, rel=1e-9)
    assert (point.conducting_share, point.saturated_share, point.devices) == (None, None, {})


@pytest.mark.simulator
def test_a_diode_connected_transistor_obeys_ohm_and_its_own_model(simulator: OperatingPointSimulator) -> None:
    point = simulator.run(netlist_of("M1 N1 N1 VSS VSS nmos W=5u L=500n\nR1 VDD N1 100k"))
    state = point.devices["M1"]
    volts = point.node_voltages_v["N1"]
    assert state.region == "saturated"
    assert state.vgs_v == state.vds_v == pytest.approx(volts)
    assert state.current_a == pytest.approx((1.8 - volts) / 100e3, rel=1e-4)
    assert point.supply_current_a == pytest.approx(state.current_a, rel=1e-4)
    assert state.gm_s is not None
    assert 5 < state.gm_s / state.current_a < 30
    assert state.threshold_v == pytest.approx(0.48, abs=0.02)


@pytest.mark.simulator
def test_a_pmos_carries_its_current_from_source_to_drain(simulator: OperatingPointSimulator) -> None:
    point = simulator.run(netlist_of(COMMON_SOURCE))
    assert point.conducting_share == point.saturated_share == 1.0
    load = point.devices["M2"]
    assert load.current_a > 0
    assert load.vgs_v == pytest.approx(1.8 - point.node_voltages_v["VOUT1"])
    assert load.current_a == pytest.approx(point.devices["M1"].current_a, rel=0.02)


@pytest.mark.simulator
def test_an_ota_is_balanced_and_every_transistor_saturated(simulator: OperatingPointSimulator) -> None:
    point = simulator.run(netlist_of(FIVE_TRANSISTOR_OTA))
    assert point.saturated_share == 1.0
    assert point.node_voltages_v["VOUT1"] == pytest.approx(point.node_voltages_v["N1"], abs=0.1)
    assert point.devices["M1"].current_a == pytest.approx(point.devices["M5"].current_a / 2, rel=0.02)


@pytest.mark.simulator
def test_regions_are_off_linear_saturated_and_active(simulator: OperatingPointSimulator) -> None:
    point = simulator.run(
        netlist_of(
            "M1 N1 VDD VSS VSS nmos\nR1 VDD N1 10k\nM2 N2 VSS VSS VSS nmos\nR2 VDD N2 10k\n"
            "M3 N3 N3 VSS VSS nmos\nR3 VDD N3 10k\nQ1 N4 VB1 VSS npn\nR4 VDD N4 10k\nQ2 VSS VDD N5 pnp\nR5 VDD N5 10k"
        )
    )
    regions = {name: state.region for name, state in point.devices.items()}
    assert regions == {"M1": "linear", "M2": "off", "M3": "saturated", "Q1": "active", "Q2": "off"}
    assert point.conducting_share == pytest.approx(3 / 5)
    assert point.saturated_share == pytest.approx(1 / 3)


@pytest.mark.simulator
def test_coils_in_a_loop_have_an_operating_point(simulator: OperatingPointSimulator) -> None:
    point = simulator.run(netlist_of("L1 VDD VOUT1 1n\nL2 VDD VOUT1 1n\nM1 VOUT1 VIN1 VSS VSS nmos\nL3 VIN1 VSS 1n"))
    assert point.converged
    assert point.node_voltages_v["VOUT1"] == pytest.approx(1.8, abs=0.01)


@pytest.mark.simulator
@pytest.mark.skipif(shutil.which("ngspice") is None, reason="the ngspice program is not installed")
def test_a_deck_runs_as_written_in_the_ngspice_program_and_gives_the_same_figures(
    simulator: OperatingPointSimulator, technology: Technology, tmp_path: Path
) -> None:
    more = "X1 VOUT1 VOUT2 VDD VSS inverter\nL1 VOUT2 N9 1n\nR1 N9 VCM1 10k\nM6 IB1 IB1 VSS VSS nmos"
    netlist = netlist_of(FIVE_TRANSISTOR_OTA + more)
    deck = tmp_path / "deck.cir"
    deck.write_text(complete_deck(netlist, technology))
    printed = subprocess.run(
        ["ngspice", "-n", "-b", str(deck)], capture_output=True, text=True, timeout=60, check=True
    ).stdout.lower()
    point = simulator.run(netlist)
    nodes = dict(re.findall(r"^\s+(\w+)\s+(-?[\d.]+e[+-]\d+)$", printed, re.MULTILINE))
    for net, volts in point.node_voltages_v.items():
        node = net.lower() if net.lower() in nodes else f"n_{net.lower()}"
        assert float(nodes[node]) == pytest.approx(volts, rel=1e-4, abs=1e-9)
    supply = re.search(r"v_vdd#branch\s+(\S+)", printed)
    assert supply is not None
    assert point.supply_current_a == pytest.approx(-float(supply[1]), rel=1e-4)


def test_a_deck_reads_only_itself(technology: Technology) -> None:
    text = complete_deck(netlist_of(FIVE_TRANSISTOR_OTA + "X1 VOUT1 VIN1 VDD VSS VOUT2 xor"), technology)
    assert not re.search(r"^\s*\.(include|lib|control|inc)", text, re.MULTILINE | re.IGNORECASE)
    assert text.startswith("* operating point")
    assert text.endswith(".op\n.end\n")
    assert "generic180_inverter" in text
    assert "generic180_npn" not in text


@pytest.mark.simulator
def test_every_block_computes_what_its_name_says(simulator: OperatingPointSimulator) -> None:
    high, low = "VDD", "VSS"
    for a in (high, low):
        volts = simulator.run(netlist_of(f"X1 {a} VOUT1 VDD VSS inverter")).node_voltages_v["VOUT1"]
        assert volts == pytest.approx(0.0 if a == high else 1.8, abs=0.01)
        gate = simulator.run(netlist_of(f"X1 VCM1 VOUT1 {a} VDD VSS transmission_gate\nR1 VCM1 VOUT2 1k"))
        assert gate.node_voltages_v["VOUT1"] == pytest.approx(0.9 if a == high else 0.0, abs=0.05)
        for b in (high, low):
            volts = simulator.run(netlist_of(f"X1 {a} {b} VDD VSS VOUT1 xor")).node_voltages_v["VOUT1"]
            assert volts == pytest.approx(1.8 if a != b else 0.0, abs=0.01)


@pytest.mark.simulator
def test_the_phase_detector_raises_up_when_its_first_input_leads(ngspice: WorkerPool, technology: Technology) -> None:
    def edges(delay_ns: int) -> str:
        return f"PULSE(0 1.8 {delay_ns}n 0.1n 0.1n 10n 20n)"

    deck = (
        f"detector\n{technology.device_models().text_for(['pfd'])}\n"
        f"V1 VDD 0 1.8\nV2 a 0 {edges(10)}\nV3 b 0 {edges(13)}\n"
        f"X1 a b up down VDD 0 generic180_pfd\n.tran 0.1n 60n\n.end\n"
    )
    answer = ngspice.submit({"deck": deck, "analysis": "tran"}).result(timeout=60)
    assert answer["status"] == "ok"
    time, up, down = (answer["vectors"][name] for name in ("time", "up", "down"))

    def high_share(values: list[float]) -> float:
        span: float = sum(t1 - t0 for t0, t1, v in zip(time, time[1:], values, strict=False) if t0 > 18e-9 and v > 0.9)
        return span / (60e-9 - 18e-9)

    assert high_share(up) > 0.1
    assert high_share(down) < 0.03


@pytest.mark.simulator
def test_the_same_netlist_has_the_same_digits_in_every_worker(technology: Technology) -> None:
    points = []
    for _ in range(2):
        with ngspice_pool(size=1) as pool:
            points.append(OperatingPointSimulator(pool, technology).run(netlist_of(FIVE_TRANSISTOR_OTA)))
    assert points[0] == points[1]


def test_a_simulation_that_is_stopped_says_so(technology: Technology) -> None:
    with pytest.raises(SimulatorFailure, match="was stopped before it had a result"):
        OperatingPointSimulator(AnsweringPool(None), technology).run(netlist_of(COMMON_SOURCE))


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("not_converged", "ngspice found no operating point: iteration limit reached"),
        ("simulator_gave_up", "ngspice gave up: iteration limit reached"),
        ("bad_deck", "ngspice did not accept the deck: iteration limit reached"),
    ],
)
def test_a_run_without_a_result_says_why_and_holds_no_figures(
    status: Status, sentence: str, technology: Technology
) -> None:
    messages = ["iteration limit reached"]
    pool = AnsweringPool({"status": status, "relaxed": False, "vectors": {}, "parameters": {}, "messages": messages})
    point = OperatingPointSimulator(pool, technology).run(netlist_of(COMMON_SOURCE))
    assert not point.converged
    assert point == OperatingPoint(status, message=sentence, notes=("iteration limit reached",))
