"""The testbench of power amplifiers against a source, a load and a supply worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.simulators.processes import WorkerPool
from app.testbenches._base import Corner, Reading, Undefined, Waveforms, testbenches
from tests.bench_rows import archetype, circuit, refusal_of, row_of

#: Sizes with which each archetype drives 50 ohm at 1 GHz.
SIZED: dict[str, dict[str, float]] = {
    "class_ab": {
        "w_m1": 200e-6, "l_m1": 180e-9, "m_m1": 16, "ind_l1": 20e-9, "ind_l2": 50e-9, "c_c1": 20e-12, "c_c2": 20e-12,
        "vb1_v": 0.6,
    },
    "class_e": {
        "w_m1": 200e-6, "l_m1": 180e-9, "m_m1": 10, "ind_l1": 20e-9, "c_c1": 2e-12, "ind_l2": 5e-9, "c_c2": 8e-12,
    },
    "differential_cascode": {
        "w_m1": 200e-6, "l_m1": 180e-9, "m_m1": 8, "w_m3": 200e-6, "l_m3": 180e-9, "m_m3": 8, "ind_l1": 5e-9,
        "c_c1": 50e-15, "vb1_v": 1.5,
    },
    "push_pull_follower": {"area_q1": 64, "area_q2": 64, "r_r1": 500, "r_r2": 500},
}  # fmt: skip


def test_a_circuit_without_an_output_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        testbenches["power_amplifier"].wire(circuit("VDD VSS VIN1", "R1 VDD VIN1", "R2 VIN1 VSS"))
    assert str(refused.value) == (
        "testbench power_amplifier cannot drive this circuit: it has no output (the output that drives the load); "
        "name the port VOUT1, or say which it is under 'ports'"
    )


@pytest.mark.simulator
def test_a_wire_between_equal_resistances_passes_all_the_power_there_is(ngspice: WorkerPool) -> None:
    netlist = circuit("VDD VSS VIN1 VOUT1", "R1 VIN1 VOUT1 1m", "R2 VDD VSS 1k")
    row = row_of(ngspice, netlist, "power_amplifier", settings={"drive_v": 1.0})
    assert row["status"] == "ok"
    metrics = row["metrics"]
    assert metrics["output_power_w"] == pytest.approx(1 / 400, rel=0.01)
    assert metrics["output_power_dbm"] == pytest.approx(10 * np.log10(2.5), abs=0.04)
    assert metrics["power_gain_db"] == pytest.approx(0, abs=0.04)
    assert metrics["power_w"] == pytest.approx(3.24e-3, rel=0.01)
    assert metrics["dc_power_w"] == pytest.approx(3.24e-3, rel=0.01)
    assert metrics["supply_current_a"] == pytest.approx(1.8e-3, rel=0.01)
    assert metrics["drain_efficiency"] == pytest.approx(2.5 / 3.24, rel=0.01)
    assert metrics["power_added_efficiency"] == pytest.approx(0, abs=0.01)
    assert metrics["thd_db"] < -60
    assert refusal_of(row, "area_m2") == ("circuit", "the circuit has no MOS transistor")


@pytest.mark.simulator
def test_a_pair_of_wires_passes_the_difference(ngspice: WorkerPool) -> None:
    netlist = circuit("VDD VSS VIN1 VIN2 VOUT1 VOUT2", "R1 VIN1 VOUT1 1m", "R2 VIN2 VOUT2 1m", "R3 VDD VSS 1k")
    metrics = row_of(ngspice, netlist, "power_amplifier", settings={"drive_v": 1.0})["metrics"]
    assert metrics["power_gain_db"] == pytest.approx(0, abs=0.04)


def reading_of(load: np.ndarray, time: np.ndarray) -> Reading:
    bench, corner = testbenches["power_amplifier"], Corner("tt", 1.8, 27.0)
    waves = Waveforms(time, {"v(tb_load)": load, "i(v_vdd)": np.full_like(time, 1e-3)})
    return Reading({"tone": waves}, {}, {}, bench.settings_for(corner), corner, {}, 0.0, bench.metric_of)


def test_harmonics_add_up_beside_the_fundamental() -> None:
    time = np.linspace(0, 28e-9, 28 * 400 + 1)
    turn = 2 * np.pi * 1e9 * time
    reading = reading_of(np.sin(turn) + 0.08 * np.sin(2 * turn) + 0.06 * np.cos(3 * turn), time)
    assert reading.number("thd_db") == pytest.approx(-20, abs=0.05)
    assert reading.value("drain_efficiency") == Undefined("the supply gives no power")


def test_an_output_that_grows_or_is_not_there_is_told() -> None:
    time = np.linspace(0, 28e-9, 2801)
    growing = reading_of(time * 1e8 * np.sin(2 * np.pi * 1e9 * time), time).value("output_power_w")
    assert "the output has not settled: it still changes by" in getattr(growing, "reason", "")
    assert reading_of(0 * time, time).value("output_power_w") == Undefined("no power reaches the load")


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("name", "low_dbm", "high_dbm"),
    [("class_ab", 10, 15), ("class_e", 12, 18), ("differential_cascode", 20, 25), ("push_pull_follower", -6, 0)],
)
def test_the_archetypes_drive_50_ohm_with_sizes_for_it(
    name: str, low_dbm: float, high_dbm: float, ngspice: WorkerPool
) -> None:
    row = row_of(ngspice, archetype(f"power_amp/{name}"), "power_amplifier", SIZED[name])
    assert row["status"] == "ok"
    assert low_dbm < row["metrics"]["output_power_dbm"] < high_dbm
    assert 0.05 < row["metrics"]["drain_efficiency"] < 0.8
    assert row["metrics"]["thd_db"] < -10
