"""The testbench of low-noise amplifiers against networks worked by hand."""

from __future__ import annotations

import math

import pytest

from app.errors import InvalidRequest
from app.simulators.processes import WorkerPool
from app.testbenches._base import Undefined, testbenches
from app.testbenches._tones import amplitude_of_power, intercept_db, needs_bias
from tests.bench_rows import archetype, circuit, refusal_of, row_of

THERMAL_V = 1.380649e-23 * 300.15 / 1.602177e-19


def test_a_circuit_without_an_input_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        testbenches["lna"].wire(circuit("VDD VSS VOUT1", "R1 VDD VOUT1", "R2 VOUT1 VSS"))
    assert str(refused.value) == (
        "testbench lna cannot drive this circuit: it has no input (the input that the source drives); "
        "name the port VIN1, or say which it is under 'ports'"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("common_gate", False),
        ("inductively_degenerated_cascode", False),
        ("noise_cancelling", False),
        ("resistive_feedback", True),
    ],
)
def test_an_input_is_driven_directly_only_where_nothing_inside_sets_its_level(name: str, expected: bool) -> None:
    netlist = archetype(f"lna/{name}")
    assert needs_bias(netlist, "VIN1", [port for port in netlist.ports if port.startswith("VB")]) is expected


def test_a_gate_behind_a_coil_and_a_resistor_to_vss_waits_for_a_level() -> None:
    netlist = circuit("VDD VSS VIN1 VOUT1", "L1 VIN1 A", "R1 A VSS", "M1 VOUT1 A VSS VSS nmos", "R2 VDD VOUT1")
    assert needs_bias(netlist, "VIN1", ())
    fed = circuit("VDD VSS VIN1 VOUT1", "L1 VIN1 A", "R1 A VDD", "M1 VOUT1 A VSS VSS nmos", "R2 VDD VOUT1")
    assert not needs_bias(fed, "VIN1", ())


def test_a_milliwatt_of_available_power_is_632_millivolt_behind_50_ohm() -> None:
    assert amplitude_of_power(0.0, 50.0) == pytest.approx(math.sqrt(0.4))


def test_the_intercept_lies_half_the_distance_of_the_products_above_the_tones() -> None:
    tones = {15: 2e-6 + 0j, 16: 1e-3 + 0j, 17: 1.1e-3 + 0j, 18: 1e-6 + 0j, 14: 1e-9 + 0j, 19: 1e-9 + 0j}
    assert intercept_db(tones, tones, (16, 17)) == pytest.approx(10 * math.log10(1e-3 / 2e-6))


def test_an_intercept_without_sense_says_why() -> None:
    tones = {14: 0j, 15: 1e-5 + 0j, 16: 1e-3 + 0j, 17: 1e-3 + 0j, 18: 1e-5 + 0j, 19: 0j}
    faint = tones | {15: 1e-10 + 0j, 18: 1e-10 + 0j}
    assert intercept_db(faint, faint, (16, 17)) == Undefined(
        "the third-order products are more than 120 dB below the tones"
    )
    assert intercept_db(tones, tones | {15: 2e-5 + 0j, 18: 2e-5 + 0j}, (16, 17)) == Undefined(
        "the circuit has not settled by the end of the two-tone transient", "simulator"
    )
    strong = tones | {14: 5e-6 + 0j}
    assert intercept_db(strong, strong, (16, 17)) == Undefined(
        "the tones compress: the fifth-order products are within 12 dB of the third-order ones"
    )


SERIES_OHM, SHUNT_OHM = 100.0, 300.0


@pytest.mark.simulator
def test_a_resistive_divider_has_the_match_gain_noise_and_stability_of_the_formulas(ngspice: WorkerPool) -> None:
    divider = circuit(
        "VDD VSS VIN1 VOUT1", f"R1 VIN1 VOUT1 {SERIES_OHM:g}", f"R2 VOUT1 VSS {SHUNT_OHM:g}", "R3 VDD VSS 1k"
    )
    row = row_of(ngspice, divider, "lna", settings={"frequency_hz": 1e6, "load_ohm": 1e9, "load_f": 0.0})
    assert row["status"] == "ok"
    metrics, source = row["metrics"], 50.0
    gain = SHUNT_OHM / (source + SERIES_OHM + SHUNT_OHM)
    reflection = (SERIES_OHM + SHUNT_OHM - source) / (SERIES_OHM + SHUNT_OHM + source)
    assert metrics["gain_db"] == pytest.approx(20 * math.log10(2 * gain), abs=0.01)
    assert metrics["peak_gain_db"] == pytest.approx(metrics["gain_db"], abs=0.01)
    assert metrics["s11_db"] == pytest.approx(20 * math.log10(reflection), abs=0.01)
    assert metrics["s11_at_peak_db"] == pytest.approx(metrics["s11_db"], abs=0.01)
    assert metrics["input_resistance_ohm"] == pytest.approx(400.0, rel=0.001)
    assert metrics["input_reactance_ohm"] == pytest.approx(0.0, abs=1.0)
    backwards = source / (source + SERIES_OHM)
    assert metrics["reverse_isolation_db"] == pytest.approx(-20 * math.log10(backwards), abs=0.01)
    # Of z11 = 400, z12 = z21 = z22 = 300 ohm.
    assert metrics["stability_factor"] == pytest.approx((2 * 400 * 300 - 300**2) / 300**2, rel=0.001)
    output = 1 / (1 / SHUNT_OHM + 1 / (source + SERIES_OHM))
    factor = 1 + 300.15 / 290 * (output / gain**2 - source) / source
    assert metrics["noise_figure_db"] == pytest.approx(10 * math.log10(factor), abs=0.02)
    assert refusal_of(row, "matched_gain_db") == ("circuit", "the input reflects more than -3 dB at every frequency")
    assert refusal_of(row, "center_frequency_hz") == ("circuit", "the gain has its maximum at an end of the sweep")
    assert refusal_of(row, "iip3_dbm") == (
        "circuit", "the third-order products are more than 120 dB below the tones",
    )  # fmt: skip


@pytest.mark.simulator
def test_a_matched_network_has_the_gain_and_the_noise_of_its_loss(ngspice: WorkerPool) -> None:
    """A resistor of 50 ohm across the input: matched, no gain, and half the noise is its own."""
    matched = circuit("VDD VSS VIN1 VOUT1", "R1 VIN1 VSS 50", "R2 VIN1 VOUT1 0.001", "R3 VDD VSS 1k")
    metrics = row_of(ngspice, matched, "lna", settings={"frequency_hz": 1e6, "load_f": 0.0})["metrics"]
    assert metrics["s11_db"] < -60
    assert metrics["gain_db"] == pytest.approx(0.0, abs=0.01)
    assert metrics["matched_gain_db"] == pytest.approx(0.0, abs=0.01)
    assert metrics["noise_figure_db"] == pytest.approx(10 * math.log10(1 + 300.15 / 290), abs=0.01)


@pytest.mark.simulator
@pytest.mark.parametrize("quality", [3.0, 60.0])
def test_a_resonator_has_its_center_and_bandwidth_however_sharp(quality: float, ngspice: WorkerPool) -> None:
    """Behind a high resistance, the coil's wire (0.5 ohm) and that resistance make the loss."""
    coil_h, wire_ohm, center_hz = 1e-6, 0.5, 100e6
    omega = 2 * math.pi * center_hz
    series = 1 / (1 / (quality * omega * coil_h) - wire_ohm / (omega * coil_h) ** 2)
    tank = circuit(
        "VDD VSS VIN1 VOUT1",
        f"R1 VIN1 VOUT1 {series - 50:g}",
        f"L1 VOUT1 VSS {coil_h:g}",
        f"C1 VOUT1 VSS {1 / (omega**2 * coil_h):g}",
        "R3 VDD VSS 1k",
    )
    settings = {"frequency_hz": 130e6, "load_f": 0.0, "load_ohm": 1e9}
    only = ["center_frequency_hz", "bandwidth_hz", "peak_gain_db", "noise_figure_at_peak_db"]
    metrics = row_of(ngspice, tank, "lna", settings=settings, metrics=only)["metrics"]
    assert metrics["center_frequency_hz"] == pytest.approx(center_hz, rel=0.002)
    assert metrics["bandwidth_hz"] == pytest.approx(center_hz / quality, rel=0.01)
    assert metrics["peak_gain_db"] == pytest.approx(20 * math.log10(2 * quality * omega * coil_h / series), abs=0.05)
    assert metrics["noise_figure_at_peak_db"] > 10


@pytest.mark.simulator
@pytest.mark.parametrize("tone_dbm", [-50.0, -46.0])
def test_an_exponential_transistor_has_its_intercept_at_root_eight_thermal_voltages(
    tone_dbm: float, ngspice: WorkerPool
) -> None:
    """i = exp(v / Vt): the third derivative puts the intercept's amplitude at sqrt(8) Vt."""
    transistor = circuit("VDD VSS VIN1 VOUT1", "Q1 VOUT1 VIN1 VSS npn", "R1 VDD VOUT1 10k")
    settings = {"frequency_hz": 1e6, "input_bias_v": 0.7, "tone_dbm": tone_dbm}
    metrics = row_of(ngspice, transistor, "lna", settings=settings, metrics=["iip3_dbm"])["metrics"]
    power_mw = 1e3 * 8 * THERMAL_V**2 / (8 * 50)
    assert metrics["iip3_dbm"] == pytest.approx(10 * math.log10(power_mw), abs=0.1)


#: A width for about 3 mA and coils that match near 2.4 GHz; the starting sizes know nothing of the frequency.
SIZES = {
    "common_gate": {"w_m1": 60e-6, "l_m1": 0.18e-6, "ind_l1": 10e-9, "ind_l2": 3e-9, "c_c1": 1.2e-12, "vb1_v": 0.75},
    "inductively_degenerated_cascode": {
        "ind_l1": 9e-9, "w_m1": 150e-6, "m_m1": 2, "l_m1": 0.18e-6, "ind_l2": 0.6e-9, "w_m2": 150e-6, "l_m2": 0.18e-6,
        "ind_l3": 6e-9, "vb1_v": 0.62, "vb2_v": 1.4,
    },
    "noise_cancelling": {
        "ind_l1": 20e-9, "w_m1": 60e-6, "l_m1": 0.18e-6, "r_r1": 300, "c_c1": 3e-12, "w_m2": 100e-6, "l_m2": 0.18e-6,
        "r_r3": 80, "vb1_v": 0.75, "vb2_v": 0.65,
    },
    "resistive_feedback": {"c_c1": 5e-12, "w_m1": 50e-6, "l_m1": 0.18e-6, "w_m2": 100e-6, "l_m2": 0.18e-6, "r_r1": 500},
}  # fmt: skip


@pytest.mark.simulator
@pytest.mark.parametrize("name", SIZES)
def test_the_archetypes_amplify_quietly_at_2_gigahertz(name: str, ngspice: WorkerPool) -> None:
    row = row_of(ngspice, archetype(f"lna/{name}"), "lna", SIZES[name])
    assert row["status"] == "ok"
    metrics = row["metrics"]
    assert metrics["gain_db"] > 15
    assert metrics["s11_db"] < -8
    assert metrics["matched_gain_db"] > 15
    assert 0.3 < metrics["noise_figure_db"] < 5
    assert metrics["reverse_isolation_db"] > 15
    assert metrics["stability_factor"] > 0.5
    assert metrics["iip3_dbm"] is None or -15 < metrics["iip3_dbm"] < 10


@pytest.mark.simulator
@pytest.mark.parametrize("name", SIZES)
def test_the_archetypes_are_measured_at_their_starting_sizes(name: str, ngspice: WorkerPool) -> None:
    row = row_of(ngspice, archetype(f"lna/{name}"), "lna")
    assert row["status"] == "ok"
    assert row["metrics"]["supply_current_a"] > 1e-6
    assert row["metrics"]["noise_figure_db"] > 0
