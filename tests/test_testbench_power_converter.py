"""The testbench of power converters against ideal ratios, a divider and a charge pump worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.analog.netlist import Netlist
from app.errors import InvalidRequest
from app.simulators.processes import WorkerPool
from app.testbenches._base import Corner, Reading, Waveforms, testbenches
from tests.bench_rows import archetype, circuit, refusal_of, row_of

#: Switches of a few milliohm-centimetres: 6.4 mm and 12.8 mm of gate at the shortest length.
N, P = "nmos W=200u L=0.18u m=16", "pmos W=200u L=0.18u m=32"

#: Slow enough for such gates, and a load that makes their resistance nothing.
IDEAL = {"frequency_hz": 1e6, "load_ohm": 200.0, "load_f": 100e-9, "dead_share": 0.0}

#: Sizes with which every archetype converts at the default frequency and load.
SIZED = {
    "asynchronous_boost": {"ind_l1": 1e-6, "w_m1": 100e-6, "l_m1": 180e-9, "m_m1": 8, "area_d1": 64},
    "cross_coupled_doubler": {
        "w_m1": 100e-6, "l_m1": 180e-9, "m_m1": 8, "w_m3": 200e-6, "l_m3": 180e-9, "m_m3": 8, "c_c1": 100e-12,
    },
    "four_switch_buck_boost": {
        "ind_l1": 1e-6, "w_m1": 200e-6, "w_m2": 100e-6, "w_m3": 100e-6, "w_m4": 200e-6,
        **{f"l_m{index}": 180e-9 for index in range(1, 5)}, **{f"m_m{index}": 8 for index in range(1, 5)},
    },
    "synchronous_boost": {
        "ind_l1": 1e-6, "w_m1": 100e-6, "l_m1": 180e-9, "m_m1": 8, "w_m2": 200e-6, "l_m2": 180e-9, "m_m2": 8,
    },
    "synchronous_buck": {
        "ind_l1": 1e-6, "w_m1": 200e-6, "l_m1": 180e-9, "m_m1": 8, "w_m2": 100e-6, "l_m2": 180e-9, "m_m2": 8,
    },
}  # fmt: skip


def test_a_circuit_that_nothing_switches_is_refused() -> None:
    netlist = circuit("VSS VIN1 VOUT1", "L1 VIN1 VOUT1", "C1 VOUT1 VSS")
    with pytest.raises(InvalidRequest) as refused:
        testbenches["power_converter"].wire(netlist)
    assert str(refused.value) == (
        "testbench power_converter cannot drive this circuit: it has no control and no clock (what switches it); "
        "name the port VCONT1 or VCLK1, or say which it is under 'ports'"
    )


def test_a_circuit_without_an_output_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"it has no output \(the output that is loaded\); name the port VOUT1"):
        testbenches["power_converter"].wire(circuit("VSS VIN1 VCONT1", "M1 VIN1 VCONT1 VSS VSS nmos"))


def buck() -> Netlist:
    return circuit(
        "VSS VIN1 VOUT1 VCONT1 VCONT2", f"M1 X VCONT1 VIN1 VIN1 {P}", f"M2 X VCONT2 VSS VSS {N}", "L1 X VOUT1 100u",
        "C1 VOUT1 VSS 1n",
    )  # fmt: skip


def boost() -> Netlist:
    return circuit(
        "VSS VIN1 VOUT1 VCONT1 VCONT2", "L1 VIN1 X 100u", f"M1 X VCONT1 VSS VSS {N}", f"M2 VOUT1 VCONT2 X VOUT1 {P}",
        "C1 VOUT1 VSS 1n",
    )  # fmt: skip


def buck_boost() -> Netlist:
    return circuit(
        "VSS VIN1 VOUT1 VCONT1 VCONT2 VCONT3 VCONT4", f"M1 X VCONT1 VIN1 VIN1 {P}", f"M2 X VCONT2 VSS VSS {N}",
        "L1 X Y 100u", f"M3 Y VCONT3 VSS VSS {N}", f"M4 VOUT1 VCONT4 Y VOUT1 {P}", "C1 VOUT1 VSS 1n",
    )  # fmt: skip


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("netlist", "duty", "ratio"),
    [
        (buck(), 0.3, 0.3), (buck(), 0.6, 0.6), (boost(), 0.4, 1 / 0.6), (buck_boost(), 0.5, 1.0),
        (buck_boost(), 0.4, 2 / 3),
    ],
    ids=["buck 0.3", "buck 0.6", "boost 0.4", "buck-boost 0.5", "buck-boost 0.4"],
)  # fmt: skip
def test_with_wide_switches_the_ratio_is_that_of_the_duty_cycle(
    netlist: Netlist, duty: float, ratio: float, ngspice: WorkerPool
) -> None:
    row = row_of(ngspice, netlist, "power_converter", settings=IDEAL | {"duty": duty, "load_ohm": 1e3})
    assert row["status"] == "ok"
    assert row["metrics"]["conversion_ratio"] == pytest.approx(ratio, rel=0.01)


@pytest.mark.simulator
def test_the_coil_of_a_buck_ripples_by_its_volt_seconds_and_the_output_by_an_eighth_of_their_charge(
    ngspice: WorkerPool,
) -> None:
    metrics = row_of(ngspice, buck(), "power_converter", settings=IDEAL | {"load_f": 99e-9})["metrics"]
    ripple_a = 1.8 * 0.5 * 0.5 / (1e6 * 100e-6)
    assert metrics["load_current_a"] == pytest.approx(0.9 / 200, rel=0.01)
    assert metrics["coil_peak_a"] == pytest.approx(metrics["load_current_a"] + ripple_a / 2, rel=0.01)
    assert metrics["ripple_v"] == pytest.approx(ripple_a / (8 * 1e6 * 100e-9), rel=0.01)


@pytest.mark.simulator
def test_a_divider_converts_with_the_efficiency_of_its_ratio_and_its_gate_is_charged_every_period(
    ngspice: WorkerPool,
) -> None:
    netlist = circuit(
        "VSS VIN1 VOUT1 VCONT1", "R1 VIN1 VOUT1 500", "M1 VSS VCONT1 VSS VSS nmos W=1u L=0.18u", "C1 VCONT1 VSS 10p"
    )
    row = row_of(ngspice, netlist, "power_converter", settings={"load_ohm": 1e3, "load_f": 10e-12})
    metrics = row["metrics"]
    drive_w = 10e-12 * 1.8**2 * 50e6
    assert metrics["output_v"] == pytest.approx(1.2, rel=0.01)
    assert metrics["conversion_ratio"] == pytest.approx(2 / 3, rel=0.01)
    assert metrics["load_current_a"] == pytest.approx(1.2e-3, rel=0.01)
    assert metrics["input_current_a"] == pytest.approx(1.2e-3, rel=0.01)
    assert metrics["output_power_w"] == pytest.approx(1.44e-3, rel=0.01)
    assert metrics["drive_power_w"] == pytest.approx(drive_w, rel=0.01)
    assert metrics["input_power_w"] == pytest.approx(2.16e-3 + drive_w, rel=0.01)
    assert metrics["loss_w"] == pytest.approx(0.72e-3 + drive_w, rel=0.01)
    assert metrics["efficiency"] == pytest.approx(1.44e-3 / (2.16e-3 + drive_w), rel=0.01)
    assert metrics["ripple_v"] < 1e-3
    assert metrics["area_m2"] == pytest.approx(0.18e-12)
    assert refusal_of(row, "coil_peak_a") == ("circuit", "the circuit has no inductor")


@pytest.mark.simulator
def test_a_doubler_has_the_output_resistance_of_its_flying_capacitors(ngspice: WorkerPool) -> None:
    netlist = circuit(
        "VSS VIN1 VOUT1 VCLK1 VCLK2", "M1 A B VIN1 VSS nmos W=20u L=0.18u", "M2 B A VIN1 VSS nmos W=20u L=0.18u",
        "M3 VOUT1 B A VOUT1 pmos W=20u L=0.18u", "M4 VOUT1 A B VOUT1 pmos W=20u L=0.18u", "C1 A VCLK1 100p",
        "C2 B VCLK2 100p", "C3 VOUT1 VSS 100p",
    )  # fmt: skip
    settings = {"frequency_hz": 5e6, "load_ohm": 20e3, "load_f": 1e-9}
    metrics = row_of(ngspice, netlist, "power_converter", settings=settings)["metrics"]
    resistance = 1 / (2 * 5e6 * 100e-12)
    assert metrics["output_v"] == pytest.approx(3.6 * 20e3 / (20e3 + resistance), rel=0.01)


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("asynchronous_boost", 1.3, 1.8),
        ("cross_coupled_doubler", 1.5, 1.9),
        ("four_switch_buck_boost", 0.9, 1.05),
        ("synchronous_boost", 1.8, 2.05),
        ("synchronous_buck", 0.48, 0.52),
    ],
)
def test_the_archetypes_convert_with_sizes_for_the_frequency(
    name: str, low: float, high: float, ngspice: WorkerPool
) -> None:
    row = row_of(ngspice, archetype(f"power_converter/{name}"), "power_converter", SIZED[name])
    assert row["status"] == "ok"
    metrics = row["metrics"]
    assert low < metrics["conversion_ratio"] < high
    assert 0.5 < metrics["efficiency"] < 0.95
    assert 1e-3 < metrics["ripple_v"] < 0.2
    assert metrics["input_power_w"] - metrics["output_power_w"] == pytest.approx(metrics["loss_w"])


@pytest.mark.simulator
def test_a_coil_far_too_small_for_the_frequency_is_no_failure_of_the_simulator(ngspice: WorkerPool) -> None:
    for name in SIZED:
        row = row_of(ngspice, archetype(f"power_converter/{name}"), "power_converter")
        assert row["status"] == "ok"
        assert not row["relaxed"]


def test_an_output_that_still_drifts_is_told() -> None:
    bench, corner = testbenches["power_converter"], Corner("tt", 1.8, 27.0)
    settings = bench.settings_for(corner, {"frequency_hz": 1e6})
    time = np.linspace(0, 10e-6, 2001)
    runs = {"closest": Waveforms(time, {"v(out)": 0.1 + 0.1e6 * time, "i(v_vdd)": 0 * time})}
    reading = Reading(runs, {}, {"output": "out"}, settings, corner, {}, 0.0, bench.metric_of)
    undefined = reading.value("output_v")
    assert "the output has not settled: it still changes by" in getattr(undefined, "reason", "")


def test_the_next_transient_starts_where_the_periods_lead_to() -> None:
    bench, corner = testbenches["power_converter"], Corner("tt", 1.8, 27.0)
    settings = bench.settings_for(corner, {"frequency_hz": 1e6})
    turn, decay = 0.7, 0.9
    time = np.arange(13) * 1e-6
    wave = decay ** np.arange(13) * np.exp(1j * turn * np.arange(13))
    vectors = {"v(out)": 0.8 + 0.1 * wave.real, "i(l1)": 2e-3 + 5e-3 * wave.imag}
    reading = Reading(
        {"approach": Waveforms(time, vectors)}, {}, {"output": "out"}, settings, corner, {}, 0.0, bench.metric_of
    )
    derived = bench.derive["closer"](reading)
    assert isinstance(derived, dict)
    assert derived["tb_output"] == pytest.approx(0.8, rel=1e-4)
    assert derived["tb_coil_0"] == pytest.approx(2e-3, rel=1e-3)
    assert math.isfinite(sum(derived.values()))
