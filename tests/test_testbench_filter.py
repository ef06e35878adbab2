"""The testbench of filters against networks of resistors, capacitors and coils worked by hand."""

from __future__ import annotations

import math

import pytest

from app.errors import InvalidRequest
from app.simulators.processes import WorkerPool
from app.testbenches._base import testbenches
from tests.bench_rows import archetype, circuit, refusal_of, row_of

#: Long channels under a high control voltage: the resistors that the integrator's transistors stand for.
RESISTIVE = {"vcont1_v": 1.8, "w_m1": 1e-6, "l_m1": 5e-6, "w_m2": 1e-6, "l_m2": 5e-6}


def test_a_filter_without_an_output_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        testbenches["filter"].wire(circuit("VSS VIN1", "R1 VIN1 X", "C1 X VSS"))
    assert str(refused.value) == (
        "testbench filter cannot drive this circuit: it has no output (the output that is loaded); "
        "name the port VOUT1, or say which it is under 'ports'"
    )


@pytest.mark.simulator
def test_a_resistor_and_a_capacitor_are_a_low_pass_of_the_first_order(ngspice: WorkerPool) -> None:
    netlist = circuit("VDD VSS VIN1 VOUT1", "R1 VIN1 VOUT1 10k", "C1 VOUT1 VSS 10p", "R2 VDD VSS 1meg")
    row = row_of(ngspice, netlist, "filter", settings={"load_f": 0.0})
    assert row["status"] == "ok"
    metrics = row["metrics"]
    assert metrics["supply_current_a"] == pytest.approx(1.8e-6, rel=0.01)
    assert metrics["power_w"] == pytest.approx(3.24e-6, rel=0.01)
    assert metrics["output_v"] == pytest.approx(0.9, rel=0.01)
    assert metrics["gain_db"] == pytest.approx(0, abs=0.01)
    assert metrics["upper_cutoff_hz"] == pytest.approx(1 / (2 * math.pi * 100e-9), rel=0.01)
    assert metrics["peaking_db"] == pytest.approx(0, abs=0.01)
    assert metrics["attenuation_db"] == pytest.approx(10 * math.log10(101), rel=0.01)
    assert metrics["group_delay_s"] == pytest.approx(100e-9 / 1.01, rel=0.01)
    assert metrics["output_noise_v"] == pytest.approx(math.sqrt(1.380649e-23 * 300.15 / 10e-12), rel=0.01)
    assert metrics["linear_input_v"] == pytest.approx(1.8, rel=0.01)
    assert refusal_of(row, "lower_cutoff_hz") == ("circuit", "the gain does not fall by 3 dB down to 10 Hz")
    assert refusal_of(row, "center_hz") == ("circuit", "the gain does not fall by 3 dB on both sides")
    assert refusal_of(row, "quality")[0] == "circuit"


@pytest.mark.simulator
def test_a_coil_and_a_capacitor_in_series_pass_the_band_of_their_quality(ngspice: WorkerPool) -> None:
    netlist = circuit("VSS VIN1 VOUT1", "L1 VIN1 X 10u", "C1 X VOUT1 100p", "R1 VOUT1 VSS 100")
    row = row_of(ngspice, netlist, "filter", settings={"load_f": 0.0})
    metrics, resistance = row["metrics"], 100.5
    quality = math.sqrt(10e-6 / 100e-12) / resistance
    assert metrics["center_hz"] == pytest.approx(1 / (2 * math.pi * math.sqrt(10e-6 * 100e-12)), rel=0.01)
    assert metrics["quality"] == pytest.approx(quality, rel=0.01)
    assert metrics["gain_db"] == pytest.approx(20 * math.log10(100 / resistance), abs=0.05)
    assert metrics["lower_cutoff_hz"] < metrics["center_hz"] < metrics["upper_cutoff_hz"]
    assert refusal_of(row, "linear_input_v") == ("circuit", "the output does not move when the input is swept")
    assert refusal_of(row, "area_m2") == ("circuit", "the circuit has no MOS transistor")


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("name", "sizing"),
    [("gm_c_biquad", {}), ("lc_ladder", {}), ("mosfet_c_integrator", RESISTIVE), ("sallen_key", {})],
)
def test_the_archetypes_filter(name: str, sizing: dict[str, float], ngspice: WorkerPool) -> None:
    row = row_of(ngspice, archetype(f"filter/{name}"), "filter", sizing)
    assert row["status"] == "ok"
    metrics = row["metrics"]
    assert -7 < metrics["gain_db"] < 3
    assert 1e4 < metrics["upper_cutoff_hz"] < 1e9
    assert metrics["attenuation_db"] > 10
