"""Noise of the table simulator against formulas: thermal, shot and flicker noise, at an output and at an input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from app.analog.spice import parse_spice
from app.errors import SimulatorFailure, Unavailable
from app.table_simulator.cards import read_cards
from app.table_simulator.device_tables import DeviceTables, thermal_voltage
from app.table_simulator.devices import MosLookup
from app.table_simulator.expressions import Number
from app.table_simulator.linearised import small_signals
from app.table_simulator.mos_noise import MosNoise
from app.table_simulator.network import Network, System
from app.table_simulator.noise import noise_sources, noise_spectra
from app.table_simulator.noise_tables import NoiseTables, thermal_noise
from app.table_simulator.operating_point import OperatingPointSolver
from app.table_simulator.response import ResponseSolver
from app.table_simulator.solver import TableSimulator
from app.technologies._base import Technology, technologies
from app.testbenches._base import testbenches
from app.testbenches._simulator import Bench, prepare_bench
from tests.ekv_transistors import EXPONENTS, FLICKER_M2_PER_HZ, NOISE_SHARE, SLOPE, EkvTables

TECHNOLOGY = technologies["generic180"]
TABLES = EkvTables()
LOOKUP = MosLookup(TABLES.tables(TECHNOLOGY, "tt", 27.0))
NOISE = MosNoise(LOOKUP, TABLES.noise(TECHNOLOGY, "tt", 27.0))
THERMAL = thermal_noise(27.0)
CHARGE = 1.602176634e-19

OTA = """ota
M1 N1 VIN1 N2 VSS nmos W=20u L=1u
M2 VOUT1 VIN2 N2 VSS nmos W=20u L=1u
M3 N1 N1 VDD VDD pmos W=20u L=1u
M4 VOUT1 N1 VDD VDD pmos W=20u L=1u
M5 N2 VB1 VSS VSS nmos W=20u L=1u
.end
"""


@dataclass(frozen=True)
class Solved:
    """A deck at its operating points."""

    system: System
    unknowns: np.ndarray

    @classmethod
    def of(cls, cards: str, count: int = 1, **parameters: Number) -> Solved:
        network = Network.of(read_cards(f"title\n{cards}\n.end\n", TECHNOLOGY.device_models()))
        system = network.system(parameters, LOOKUP, count)
        solver = OperatingPointSolver(network)
        points = solver.solve(system, solver.start(system, {}))
        assert points.converged.all()
        return cls(system, points.unknowns)

    def noise(
        self, node: str, scale: np.ndarray, amplitudes: Mapping[str, Number] | None = None, other: str = "0"
    ) -> dict[str, np.ndarray]:
        """Both spectra of the voltage between two nodes."""
        small = small_signals(self.system, self.unknowns)
        sources = noise_sources(self.system, self.unknowns, small, NOISE)
        index = self.system.network.index
        output = index[node], index[other]
        solver = ResponseSolver(self.system.network)
        return noise_spectra(solver, self.system, small, sources, scale, output, amplitudes or {})


def test_a_capacitor_holds_kt_over_c_whatever_its_resistor() -> None:
    ohm, farad, scale = np.array([1e3, 1e5]), 2e-12, np.logspace(2, 13, 2000)
    density = Solved.of("r1 a 0 {r}\nc1 a 0 2p", 2, r=ohm).noise("a", scale)["onoise_spectrum"]
    np.testing.assert_allclose(density[:, 0], np.sqrt(THERMAL * ohm), rtol=1e-6)
    np.testing.assert_allclose(np.trapezoid(density**2, scale), THERMAL / 4 / farad, rtol=1e-2)


def test_noise_is_referred_to_the_input_through_the_gain() -> None:
    ohm = np.array([1e3, 3e3])
    solved = Solved.of("v1 a 0 DC 1\nr1 a b 2k\nr2 b 0 {r}", 2, r=ohm)
    spectra = solved.noise("b", np.array([1e3]), {"v1": 1.0})
    expected = np.sqrt(THERMAL * 2e3 * ohm / (2e3 + ohm))
    np.testing.assert_allclose(spectra["onoise_spectrum"][:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(spectra["inoise_spectrum"][:, 0], expected * (2e3 + ohm) / ohm, rtol=1e-6)


def test_a_difference_of_two_outputs_counts_what_they_share_once() -> None:
    solved = Solved.of("i1 0 m DC 0\nr0 m 0 1k\nr1 m a 2k\nr2 m b 3k")
    scale = np.array([1.0])
    assert solved.noise("a", scale, other="b")["onoise_spectrum"] ** 2 == pytest.approx(THERMAL * 5e3, rel=1e-6)
    assert solved.noise("a", scale)["onoise_spectrum"] ** 2 == pytest.approx(THERMAL * 3e3, rel=1e-6)


def test_a_node_that_a_source_holds_is_silent_and_has_its_gain() -> None:
    spectra = Solved.of("v1 a 0 DC 1\nr1 a 0 1k").noise("a", np.array([1.0, 1e3]), {"v1": 1.0})
    np.testing.assert_array_equal(spectra["onoise_spectrum"], 0.0)
    np.testing.assert_array_equal(spectra["inoise_spectrum"], 0.0)


def test_what_reaches_an_output_is_what_a_current_into_every_node_makes_of_it() -> None:
    cards = (
        "v1 a 0 DC 0.6\nr1 a b 1k\nc1 b c 1p\nm1 c b 0 0 generic180_nmos W=5u L=1u\n"
        "r2 c d 9k\nv2 d 0 DC 1.8\nl1 c e 1u\nr3 e 0 5k"
    )
    probes = {f"i_{node}": node for node in "bce"}
    solved = Solved.of(cards + "".join(f"\n{name} 0 {node} DC 0" for name, node in probes.items()))
    small, network = small_signals(solved.system, solved.unknowns), solved.system.network
    solver, scale, row = ResponseSolver(network), np.logspace(3, 10, 8), network.index["e"]
    (part,) = solver.transfers(solved.system, small, scale, (row, -1), {"v1": 1.0})
    excitations: list[dict[str, Number]] = [{name: 1.0} for name in (*probes, "v1")]
    direct = solver.solve(solved.system, small, scale, excitations, [row])
    for node, found in zip(probes.values(), direct, strict=False):
        np.testing.assert_allclose(part.reached[network.index[node]], found[row], rtol=1e-9)
    np.testing.assert_allclose(part.gain, direct[-1][row], rtol=1e-9)


def test_a_diode_has_shot_noise_of_its_current() -> None:
    current = np.array([1e-6, 1e-4])
    solved = Solved.of("i1 0 a DC {i}\nd1 a 0 generic180_diode", 2, i=current)
    slope = current / (1.03 * thermal_voltage(27.0))
    expected = 2 * CHARGE * current / slope**2 + THERMAL * 20
    found = solved.noise("a", np.array([1.0]))["onoise_spectrum"][:, 0] ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_a_bipolar_transistor_has_shot_noise_of_both_its_currents() -> None:
    solved = Solved.of("v1 c 0 DC 1.5\nv2 b 0 DC 0.68\nr1 c y 1k\nq1 y b 0 generic180_npn")
    network = solved.system.network
    (collector,) = -solved.unknowns[[network.branch("v1")], 0]
    found = solved.noise("y", np.array([10.0]))["onoise_spectrum"][0, 0] ** 2
    shot = 2 * CHARGE * collector * 1e6
    # The base's resistance adds its own through the transconductance, degenerated by the emitter's.
    gm = collector / thermal_voltage(27.0)
    degenerated = gm / (1 + gm * 5)
    series = THERMAL * (150 + 5) * degenerated**2 * 1e6
    assert found == pytest.approx(shot / (1 + gm * 5) ** 2 + series + THERMAL * 1e3, rel=0.03)


@pytest.mark.parametrize("kind", ["nmos", "pmos"])
def test_a_common_source_stage_has_the_noise_of_its_channel(kind: str) -> None:
    width, scale = np.array([2e-6, 20e-6]), np.logspace(0, 8, 9)
    rail, gate = ("0", 0.6) if kind == "nmos" else ("vdd", 1.2)
    cards = (
        f"v_vdd vdd 0 DC 1.8\nv_in g 0 DC {gate}\nv_out d 0 DC 0.9\nh1 o 0 v_out 1\n"
        f"m1 d g {rail} {rail} generic180_{kind} W={{w}} L=1u M=2"
    )
    solved = Solved.of(cards, 2, w=width)
    small = small_signals(solved.system, solved.unknowns)
    assert small.channels is not None
    current, conductance = small.facts["id"][0], small.channels.conductance_s[0]
    expected = (
        NOISE_SHARE * THERMAL * conductance[:, None]
        + FLICKER_M2_PER_HZ[kind] * (current**2 / (2 * width * 1e-6))[:, None] * scale ** -EXPONENTS[kind]
    )
    spectra = solved.noise("o", scale, {"v_in": 1.0})
    np.testing.assert_allclose(spectra["onoise_spectrum"] ** 2, expected, rtol=0.02)
    gm = np.broadcast_to(small.facts["gm"][0][:, None], expected.shape)
    np.testing.assert_allclose(spectra["inoise_spectrum"], np.sqrt(expected) / gm, rtol=0.02)


def test_a_transistor_is_as_noisy_with_drain_and_source_exchanged() -> None:
    cards = "v1 a 0 DC {a}\nv2 b 0 DC {b}\nv3 g 0 DC 1.6\nh1 o 0 v1 1\nm1 a g b 0 generic180_nmos W=4u L=1u"
    low, high = np.array([0.2, 0.7]), np.array([0.7, 0.2])
    there, back = Solved.of(cards, 2, a=low, b=high).noise("o", np.array([1.0, 1e9]))["onoise_spectrum"]
    np.testing.assert_allclose(there, back, rtol=1e-9)


def bench_of(netlist: str, testbench: str) -> Bench:
    return prepare_bench(parse_spice(netlist).netlist, testbenches[testbench], TECHNOLOGY)


def test_the_noise_of_an_ota_is_that_of_both_its_pairs_at_its_input() -> None:
    bench = bench_of(OTA, "opamp")
    found = TableSimulator(TABLES).run(
        bench, [bench.space.start], ["input_noise_v_per_rthz", "input_noise_v", "ugf_hz"]
    )
    density, rms, ugf = (found.values[0, found.metrics.index(name)] for name in (
        "input_noise_v_per_rthz", "input_noise_v", "ugf_hz"
    ))  # fmt: skip
    current, gm, gds = (found.facts[name][0, [0, 2]] for name in ("id", "gm", "gds"))
    # The bulk's transconductance of such a transistor over the gate's.
    conductance = gm * SLOPE + gds
    area = np.array([20e-12, 20e-12])
    flicker = np.array([FLICKER_M2_PER_HZ[kind] for kind in ("nmos", "pmos")]) * current**2 / area
    white = NOISE_SHARE * THERMAL * conductance

    def at(hertz: np.ndarray) -> np.ndarray:
        fall = hertz[:, None] ** -np.array([EXPONENTS["nmos"], EXPONENTS["pmos"]])
        return np.asarray(2 * (white + flicker * fall).sum(axis=1) / gm[0] ** 2)

    assert density == pytest.approx(np.sqrt(at(np.array([1e3]))[0]), rel=0.03)
    scale = 10 * 10 ** (np.arange(36) / 5)
    inside = scale[scale <= ugf]
    assert rms == pytest.approx(np.sqrt(np.trapezoid(at(inside), inside)), rel=0.05)


@dataclass
class Counting:
    """These tables, and what was asked of them; the noise raises if it is told to."""

    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def tables(self, technology: Technology, process: str, celsius: float) -> DeviceTables:
        self.asked.append("tables")
        return TABLES.tables(technology, process, celsius)

    def noise(self, technology: Technology, process: str, celsius: float) -> NoiseTables:
        self.asked.append("noise")
        if self.error is not None:
            raise self.error
        return TABLES.noise(technology, process, celsius)


def test_noise_is_asked_for_only_where_a_metric_takes_it() -> None:
    bench, source = bench_of(OTA, "opamp"), Counting()
    simulator = TableSimulator(source)
    simulator.run(bench, [bench.space.start], ["gain_db", "psrr_db"])
    assert source.asked == ["tables"]
    simulator.run(bench, [bench.space.start], ["input_noise_v"])
    assert source.asked == ["tables", "tables", "noise"]


@pytest.mark.parametrize("error", [Unavailable("no noise of tt"), SimulatorFailure("no noise of tt")])
def test_without_the_noise_of_transistors_nothing_else_suffers(error: Exception) -> None:
    bench = bench_of(OTA, "opamp")
    found = TableSimulator(Counting(error)).run(bench, [bench.space.start])
    whole = TableSimulator(TABLES).run(bench, [bench.space.start])
    assert found.metrics == whole.metrics
    for column, name in enumerate(found.metrics):
        if "noise" in name:
            told = found.undefined[0][name]
            assert (told.reason, told.cause) == ("no noise of tt", "not_run")
        else:
            np.testing.assert_array_equal(found.values[0, column], whole.values[0, column])
