"""Both operational-amplifier testbenches: every metric against a case worked by hand, and the archetypes for real."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from app.analog.corpus import read_archetypes
from app.analog.netlist import Netlist
from app.errors import InvalidRequest
from app.simulators.processes import WorkerPool
from app.technologies._base import technologies
from app.testbenches._base import Corner, Reading, Testbench, Undefined, Waveforms, testbenches
from app.testbenches._simulator import BenchSimulator, prepare_bench

NOMINAL = Corner("tt", 1.8, 27.0)
FREQUENCY = np.logspace(1, 10, 181)
NODES = {
    "opamp": {"positive_input": "in", "negative_input": "fb", "output": "out"},
    "fully_differential_opamp": {
        "positive_input": "in",
        "negative_input": "fb",
        "positive_output": "out",
        "negative_output": "low",
    },
}


@pytest.fixture(params=sorted(NODES))
def bench(request: pytest.FixtureRequest) -> Testbench:
    return testbenches[request.param]


def reading_of(bench: Testbench, runs: Mapping[str, Waveforms]) -> Reading:
    settings = bench.settings_for(NOMINAL)
    return Reading(runs, {}, NODES[bench.name], settings, NOMINAL, {}, 12e-12, bench.metric_of)


def curves(scale: np.ndarray, out: np.ndarray, low: np.ndarray | float = 0.0) -> Waveforms:
    return Waveforms(scale, {"v(out)": out, "v(low)": np.zeros_like(out) + low, "v(in)": np.zeros_like(out)})


def operating_point(out: float = 0.9, low: float = 0.9) -> Waveforms:
    point = {"v(out)": out, "v(low)": low, "v(in)": 0.895, "i(v_vdd)": -20e-6}
    return Waveforms(np.zeros(1), {name: np.array([value]) for name, value in point.items()})


#: 80 dB, poles at 1 kHz and 20 MHz.
TWO_POLES = 1e4 / (1 + 1j * FREQUENCY / 1e3) / (1 + 1j * FREQUENCY / 20e6)
UGF = 20e6 * np.sqrt((np.sqrt(1 + 4 * (1e7 / 20e6) ** 2) - 1) / 2)


def loop(bench: Testbench, **runs: np.ndarray) -> Reading:
    return reading_of(
        bench, {"op": operating_point(), **{name: curves(FREQUENCY, curve) for name, curve in runs.items()}}
    )


def test_supply_current_power_and_area_are_those_of_the_operating_point(bench: Testbench) -> None:
    reading = loop(bench)
    assert reading.number("supply_current_a") == pytest.approx(20e-6)
    assert reading.number("power_w") == pytest.approx(36e-6)
    assert reading.number("area_m2") == pytest.approx(12e-12)


def test_an_amplifier_with_two_poles_has_the_margins_of_the_formula(bench: Testbench) -> None:
    reading = loop(bench, differential=TWO_POLES)
    assert reading.number("gain_db") == pytest.approx(80, abs=0.01)
    assert reading.number("bandwidth_hz") == pytest.approx(1e3, rel=0.01)
    assert reading.number("gbw_hz") == pytest.approx(1e7, rel=0.01)
    assert reading.number("ugf_hz") == pytest.approx(UGF, rel=0.01)
    margin = 180 - np.degrees(np.arctan(UGF / 1e3) + np.arctan(UGF / 20e6))
    assert reading.number("phase_margin_deg") == pytest.approx(margin, rel=0.01)
    assert reading.number("unity_crossings") == 1
    assert reading.value("gain_margin_db") == Undefined("the phase does not fall by 180 degrees up to 10 GHz")


def test_the_gain_margin_of_three_poles_is_that_of_the_formula(bench: Testbench) -> None:
    # 1/(1+s)^3 turns by 180 degrees at w = sqrt(3), where its magnitude is 1/8
    reading = loop(bench, differential=4 / (1 + 1j * FREQUENCY / 1e6) ** 3)
    assert reading.number("gain_margin_db") == pytest.approx(20 * np.log10(8 / 4), rel=0.01)


def test_an_inverting_measurement_has_the_same_margin(bench: Testbench) -> None:
    assert loop(bench, differential=-TWO_POLES).number("phase_margin_deg") == pytest.approx(
        loop(bench, differential=TWO_POLES).number("phase_margin_deg")
    )


def test_an_amplifier_without_gain_has_no_unity_gain_frequency(bench: Testbench) -> None:
    reading = loop(bench, differential=0.5 / (1 + 1j * FREQUENCY / 1e6))
    for metric in ("ugf_hz", "phase_margin_deg", "gain_margin_db"):
        assert reading.value(metric) == Undefined("the gain is not above 0 dB at the lowest frequency")


def test_an_output_at_a_rail_has_no_gain(bench: Testbench) -> None:
    reading = reading_of(bench, {"op": operating_point(1.79, 1.79), "differential": curves(FREQUENCY, TWO_POLES)})
    found = reading.value("gain_db")
    assert isinstance(found, Undefined)
    assert "1.79 V, at a rail" in found.reason
    assert reading.value("ugf_hz") == found


def test_rejections_are_ratios_of_gains() -> None:
    reading = loop(
        testbenches["opamp"], differential=TWO_POLES, common_mode=0.1 + 0j * FREQUENCY, supply=2 + 0j * FREQUENCY
    )
    assert reading.number("cmrr_db") == pytest.approx(100, abs=0.01)
    assert reading.number("psrr_db") == pytest.approx(80 - 20 * np.log10(2), abs=0.01)
    assert reading.number("offset_v") == pytest.approx(5e-3)


def test_common_mode_gains_are_those_of_the_outputs_mean() -> None:
    bench = testbenches["fully_differential_opamp"]
    both = curves(FREQUENCY, 0.02 + 0j * FREQUENCY, 0.04)
    reading = reading_of(bench, {"op": operating_point(1.0, 0.8), "common_mode": both, "supply": both})
    assert reading.number("common_mode_gain_db") == pytest.approx(20 * np.log10(0.03), abs=0.01)
    assert reading.number("supply_gain_db") == pytest.approx(20 * np.log10(0.03), abs=0.01)
    assert reading.number("output_common_mode_level_v") == pytest.approx(0.9)


def test_noise_is_integrated_up_to_the_unity_gain_frequency(bench: Testbench) -> None:
    white = Waveforms(np.logspace(1, 8, 141), {"inoise_spectrum": np.full(141, 1e-8)})
    runs = {"op": operating_point(), "differential": curves(FREQUENCY, TWO_POLES), "noise": white}
    reading = reading_of(bench, runs)
    assert reading.number("input_noise_v_per_rthz") == pytest.approx(1e-8)
    assert reading.number("input_noise_v") == pytest.approx(1e-8 * np.sqrt(UGF), rel=0.1)


def step_reading(bench: Testbench, error: float = 0.0) -> Reading:
    """A loop with one pole of 7.96 MHz (20 ns) answering the step, with a gain error."""
    half, tau = 1e-6, 20e-9
    time = np.linspace(0, 2.05 * half, 4101)
    low, high = (0.72, 1.08) if bench.name == "opamp" else (-0.18, 0.18)
    rise = 1 - np.exp(-np.clip(time - 0.05 * half, 0, None) / tau)
    fall = 1 - np.exp(-np.clip(time - 1.051 * half, 0, None) / tau)
    out = low + (high - low) * (1 + error) * np.where(time < 1.051 * half, rise, 1 - fall)
    return reading_of(bench, {"op": operating_point(), "step": curves(time, out)})


def test_the_step_of_a_single_pole_settles_as_its_exponential(bench: Testbench) -> None:
    reading = step_reading(bench)
    assert reading.number("settling_time_s") == pytest.approx(20e-9 * np.log(100), rel=0.01)
    assert reading.number("settling_time_fine_s") == pytest.approx(20e-9 * np.log(1000), rel=0.01)
    assert reading.number("slew_rate_v_per_s") == pytest.approx(0.6 * 0.36 / (20e-9 * np.log(4)), rel=0.01)
    assert reading.number("overshoot") == pytest.approx(0, abs=1e-9)
    assert reading.number("step_error") == pytest.approx(0, abs=1e-9)


def test_a_gain_error_is_the_step_error(bench: Testbench) -> None:
    assert step_reading(bench, error=-0.05).number("step_error") == pytest.approx(-0.05, rel=0.01)


def test_overshoot_and_ringing_are_those_of_the_damped_wave(bench: Testbench) -> None:
    half, tau, period = 1e-6, 100e-9, 100e-9
    time = np.linspace(0, 2.05 * half, 8201)
    since = np.clip(time - 0.05 * half, 0, None)
    middle = 0.9 if bench.name == "opamp" else 0.0
    up = 1 - np.exp(-since / tau) * np.cos(2 * np.pi * since / period)
    out = middle + 0.36 * (np.where(time < 1.051 * half, up, 0.0) - 0.5)
    reading = reading_of(bench, {"op": operating_point(), "step": curves(time, out)})
    assert reading.number("overshoot") == pytest.approx(np.exp(-0.5), rel=0.02)


def test_the_step_is_timed_by_the_unity_gain_frequency(bench: Testbench) -> None:
    derived = bench.derive["buffer"](loop(bench, differential=TWO_POLES))
    assert isinstance(derived, Mapping)
    assert derived["tb_half"] == pytest.approx(40 / (2 * np.pi * UGF), rel=0.01)


def archetype(name: str) -> Netlist:
    return next(circuit.netlist for circuit in read_archetypes() if circuit.id.endswith(name))


def simulate(pool: WorkerPool, netlist: Netlist, bench: str, **options: Any) -> dict[str, Any]:
    prepared = prepare_bench(netlist, testbenches[bench], technologies["generic180"], with_facts=True, **options)
    (row,) = BenchSimulator(pool).run(prepared, [prepared.space.start])
    return row


def test_a_netlist_without_an_output_is_refused_by_name() -> None:
    source = archetype("five_transistor_ota")
    netlist = Netlist(
        tuple(
            type(device)(device.name, device.kind, tuple("OUT" if net == "VOUT1" else net for net in device.nets))
            for device in source.devices
        ),
        tuple("OUT" if port == "VOUT1" else port for port in source.ports),
    )
    with pytest.raises(InvalidRequest, match=r"cannot drive this circuit: it has no output .* name the port VOUT1"):
        testbenches["opamp"].wire(netlist)
    assert testbenches["opamp"].wire(netlist, {"output": "OUT"}).port_of["output"] == "OUT"


@pytest.mark.simulator
def test_the_gain_of_a_five_transistor_ota_is_gm_over_its_output_conductance(ngspice: WorkerPool) -> None:
    row = simulate(ngspice, archetype("five_transistor_ota"), "opamp", settings={"load_f": 20e-12})
    assert row["status"] == "ok"
    devices = row["operating_point"]
    pair = [name for name, facts in devices.items() if abs(facts["gm"]) > 0]
    assert pair
    gm = devices["M2"]["gm"]
    conductance = devices["M2"]["gds"] + devices["M4"]["gds"]
    metrics = row["metrics"]
    assert metrics["gain_db"] == pytest.approx(20 * np.log10(gm / conductance), rel=0.01)
    assert metrics["gbw_hz"] == pytest.approx(gm / (2 * np.pi * 20e-12), rel=0.02)


@pytest.mark.simulator
@pytest.mark.parametrize(
    "name", ["five_transistor_ota", "two_stage_miller", "current_mirror_ota", "folded_cascode", "telescopic_cascode"]
)
def test_the_archetypes_amplify_at_their_starting_sizes(name: str, ngspice: WorkerPool) -> None:
    row = simulate(ngspice, archetype(name), "opamp")
    assert row["status"] == "ok"
    assert row["metrics"]["supply_current_a"] > 0


@pytest.mark.simulator
def test_a_fully_differential_amplifier_keeps_its_common_mode(ngspice: WorkerPool) -> None:
    row = simulate(ngspice, archetype("fully_differential_ota"), "fully_differential_opamp")
    assert row["status"] == "ok"
    assert row["metrics"]["output_common_mode_level_v"] == pytest.approx(0.9, abs=0.05)
    assert row["metrics"]["common_mode_gain_db"] < -20
