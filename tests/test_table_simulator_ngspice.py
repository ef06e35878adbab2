"""The table simulator beside ngspice: what its tables say of transistors, and what it measures of circuits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.analog.corpus import read_archetypes
from app.analog.netlist import Device
from app.analog.spice import parse_spice
from app.errors import SimulatorFailure, Unavailable
from app.simulators.processes import WorkerPool
from app.table_simulator.device_tables import DeviceTableSource, device_tables
from app.table_simulator.devices import MosLookup
from app.table_simulator.mos_noise import MosNoise
from app.table_simulator.noise_tables import noise_tables
from app.table_simulator.solver import TableResults, TableSimulator
from app.technologies._base import Technology, technologies
from app.testbenches._base import testbenches
from app.testbenches._simulator import Bench, BenchSimulator, make_corner, prepare_bench
from tests.test_technologies_gmid import FailingPool, NoPool

pytestmark = pytest.mark.simulator

STAGES = {
    "amplifier": "stage\nM1 VOUT1 VIN1 VSS VSS nmos W=10u L=0.5u\nM2 VOUT1 VB1 VDD VDD pmos W=30u L=0.5u\n.end\n",
    "current_mirror": "mirror\nM1 N1 IIN1 VSS VSS nmos\nM2 IIN1 VB1 N1 VSS nmos\nM3 N2 IIN1 VSS VSS nmos\n"
    "M4 IOUT1 VB1 N2 VSS nmos\n.end\n",
    "bandgap": "reference\nM1 VREF1 VREF1 N1 VSS nmos\nR1 VDD VREF1 100k\nQ1 VSS VSS N1 pnp\n.end\n",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, ngspice: WorkerPool) -> DeviceTableSource:
    return DeviceTableSource(ngspice, tmp_path_factory.mktemp("device_tables"))


def operating_points(
    pool: WorkerPool, technology: Technology, kind: str, celsius: float, places: np.ndarray
) -> dict[str, np.ndarray]:
    """Facts of transistors by width, length, vgs, vds and vsb (rows of `places`), all in one deck."""
    models, sign = technology.device_models(), 1 if kind == "nmos" else -1
    lines = []
    for number, (width, length, vgs, vds, vsb) in enumerate(places):
        sizes = {"width_m": repr(float(width)), "length_m": repr(float(length))}
        nets = (f"d{number}", f"g{number}", "0", f"b{number}")
        lines.append(models.device_card(Device(f"m{number}", kind, nets), sizes))
        lines += [
            f"V{net} {net} 0 {sign * float(level)}" for net, level in zip((nets[0], nets[1]), (vds, vgs), strict=True)
        ]
        lines.append(f"V{nets[3]} {nets[3]} 0 {-sign * float(vsb)}")
    cards = models.text_for([kind], {kind: [(float(width), float(length)) for width, length, *_ in places]})
    deck = "\n".join(["many", cards, f".options temp={celsius}", *lines, ".op", ".end"]) + "\n"
    names = ("id", "gm", "gds", "gmbs")
    parameters = [f"@m{number}[{name}]" for number in range(len(places)) for name in names]
    answer = pool.submit({"deck": deck, "analysis": "op", "parameters": parameters}).result(60)
    assert answer["status"] == "ok"
    return {name: np.abs([answer["parameters"][f"@m{n}[{name}]"] for n in range(len(places))]) for name in names}


@pytest.mark.parametrize("celsius", [27.0, pytest.param(125.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["nmos", "pmos"])
def test_a_transistor_anywhere_is_what_ngspice_says(
    kind: str, celsius: float, source: DeviceTableSource, ngspice: WorkerPool
) -> None:
    technology = technologies["generic180"]
    rng = np.random.default_rng(3)
    lows = np.array([0.3e-6, 0.18e-6, 0.25, 0.05, 0.0])
    highs = np.array([100e-6, 5e-6, 1.8, 1.8, 0.9])
    shares = rng.uniform(size=(80, 5))
    places = np.where(lows > 0, lows + shares * (highs - lows), shares * highs)
    places[:, :2] = lows[:2] * (highs[:2] / lows[:2]) ** shares[:, :2]
    truth = operating_points(ngspice, technology, kind, celsius, places)
    width, length, vgs, vds, vsb = places.T[:, None, :]
    group = MosLookup(source.tables(technology, "tt", celsius)).group([kind], width, length, np.ones_like(width))
    sign = 1.0 if kind == "nmos" else -1.0
    found = group.small_signal(sign * vds, sign * vgs, 0 * vds, -sign * vsb)
    for name, median, most in (("id", 0.005, 0.04), ("gm", 0.01, 0.08), ("gds", 0.02, 0.15)):
        error = np.abs(np.log(found.facts[name][0] / truth[name]))
        assert np.median(error) < median
        assert np.quantile(error, 0.9) < most
    error = np.abs(np.log(found.conductance[0][3][0] / truth["gmbs"]))
    assert np.median(error) < 0.02


def compared(bench: Bench, source: DeviceTableSource, pool: WorkerPool, count: int) -> tuple[TableResults, list[Any]]:
    """Sizings near the start through both simulators."""
    rng = np.random.default_rng(5)
    variables = bench.space.variables
    sizes = np.array([variable.start for variable in variables]) * np.array(
        [[np.exp(rng.normal(0, 0.3)) if variable.is_log else 1.0 for variable in variables] for _ in range(count)]
    )
    sizes = np.clip(sizes, [variable.low for variable in variables], [variable.high for variable in variables])
    sizes = np.where([variable.is_integer for variable in variables], np.round(sizes), sizes)
    rows = sorted(BenchSimulator(pool).run(bench, sizes.tolist()), key=lambda row: int(row["index"]))
    return TableSimulator(source).run(bench, sizes), rows


def differences(results: TableResults, rows: list[Any], metric: str) -> np.ndarray:
    """By how much the metric is off, where both have it."""
    truth = np.array([np.nan if row["metrics"][metric] is None else row["metrics"][metric] for row in rows])
    found = results.values[:, results.metrics.index(metric)]
    np.testing.assert_array_equal(np.isfinite(truth), np.isfinite(found))
    assert np.isfinite(truth).sum() > len(rows) // 2
    return np.asarray(
        (found - truth)[np.isfinite(truth)]
        if metric.endswith(("_db", "_deg", "_v"))
        else np.log(found / truth)[np.isfinite(truth)]
    )


@pytest.mark.parametrize("corner", [("tt", 1.8, 27.0), pytest.param(("ff", 1.98, 125.0), marks=pytest.mark.slow)])
def test_an_operational_amplifier_measures_as_in_ngspice(
    corner: tuple[str, float, float], source: DeviceTableSource, ngspice: WorkerPool
) -> None:
    miller = next(circuit.netlist for circuit in read_archetypes() if circuit.id.endswith("two_stage_miller"))
    technology = technologies["generic180"]
    metrics = ["supply_current_a", "gain_db", "ugf_hz", "phase_margin_deg", "cmrr_db", "psrr_db"]
    bench = prepare_bench(
        miller, testbenches["opamp"], technology, corner=make_corner(technology, *corner), metrics=metrics
    )
    results, rows = compared(bench, source, ngspice, 8)
    assert results.converged.all()
    for metric, most in (
        ("supply_current_a", 0.02), ("gain_db", 1.0), ("ugf_hz", 0.03), ("phase_margin_deg", 1.0), ("psrr_db", 1.5)
    ):  # fmt: skip
        assert np.median(np.abs(differences(results, rows, metric))) < most


@pytest.mark.parametrize(
    ("testbench", "limits"),
    [
        (
            "amplifier",
            {
                "gain_db": 0.5,
                "bandwidth_hz": 0.05,
                "output_resistance_ohm": 0.05,
                "output_swing_v": 0.05,
                "input_noise_v_per_rthz": 0.02,
                "input_noise_v": 0.02,
                "output_noise_v": 0.02,
            },
        ),
        (
            "current_mirror",
            {
                "output_current_a": 0.02,
                "output_resistance_ohm": 0.15,
                "compliance_v": 0.05,
                "output_noise_a_per_rthz": 0.04,
            },
        ),
        (
            "bandgap",
            {
                "reference_v": 0.01,
                "psrr_db": 0.5,
                "output_resistance_ohm": 0.05,
                "output_noise_v_per_rthz": 0.03,
                "output_noise_v": 0.03,
            },
        ),
    ],
)
def test_other_benches_measure_as_in_ngspice(
    testbench: str, limits: Mapping[str, float], source: DeviceTableSource, ngspice: WorkerPool
) -> None:
    netlist = parse_spice(STAGES[testbench]).netlist
    bench = prepare_bench(netlist, testbenches[testbench], technologies["generic180"], metrics=list(limits))
    results, rows = compared(bench, source, ngspice, 6)
    for metric, most in limits.items():
        assert np.median(np.abs(differences(results, rows, metric))) < most


@pytest.mark.parametrize("kind", ["nmos", "pmos"])
def test_the_noise_of_a_transistor_is_what_ngspice_says(
    kind: str, source: DeviceTableSource, ngspice: WorkerPool
) -> None:
    technology, sign = technologies["generic45"], 1 if kind == "nmos" else -1
    models = technology.device_models()
    rng = np.random.default_rng(5)
    shares = rng.uniform(size=(40, 4))
    width, length = 0.3e-6 * 100 ** shares[:, 0], 0.06e-6 * 50 ** shares[:, 1]
    vgs, vds = 0.35 + 0.6 * shares[:, 2], 0.05 + 0.9 * shares[:, 3]
    lines = ["V1 in 0 DC 0 AC 1", "R1 in out 1"]
    for number in range(len(shares)):
        sizes = {"width_m": f"{width[number]:.3g}", "length_m": f"{length[number]:.3g}"}
        lines.append(models.device_card(Device(f"m{number}", kind, (f"d{number}", f"g{number}", "0", "0")), sizes))
        lines += [f"V{net}{number} {net}{number} 0 {sign * at[number]:.6g}" for net, at in (("g", vgs), ("d", vds))]
        lines.append(f"F{number} out 0 Vd{number} 1")
    lines.append(f".save {' '.join(f'onoise.m{number}' for number in range(len(shares)))}")
    cards = models.text_for([kind], {kind: list(zip(width.tolist(), length.tolist(), strict=True))})
    deck = "\n".join(["noise", cards, *lines, ".noise v(out) V1 lin 2 10 1g 1", ".end"]) + "\n"
    answer = ngspice.submit({"deck": deck, "analysis": "noise", "parameters": []}).result(60)
    assert answer["status"] == "ok"
    truth = np.array([answer["vectors"][f"onoise.m{number}"] for number in range(len(shares))]) ** 2

    lookup = MosLookup(source.tables(technology, "tt", technology.celsius))
    noise = MosNoise(lookup, source.noise(technology, "tt", technology.celsius))
    group = lookup.group([kind], width[None], length[None], np.ones((1, 40)))
    at = (sign * vds[None], sign * vgs[None], np.zeros((1, 40)), np.zeros((1, 40)))
    white, flicker, exponents = noise.densities(group.small_signal(*at).channels)
    for column, hertz in enumerate((10.0, 1e9)):
        ours = (white + flicker * hertz ** -exponents[:, None])[0]
        errors = np.abs(np.log(ours / truth[:, column]))
        assert (np.median(errors), errors.max()) <= (0.06, 0.35)


def test_the_noise_of_an_opamp_is_what_ngspice_says(source: DeviceTableSource, ngspice: WorkerPool) -> None:
    miller = next(circuit.netlist for circuit in read_archetypes() if circuit.id.endswith("two_stage_miller"))
    metrics = ["input_noise_v_per_rthz", "input_noise_v"]
    bench = prepare_bench(miller, testbenches["opamp"], technologies["generic180"], metrics=metrics)
    results, rows = compared(bench, source, ngspice, 8)
    for metric in metrics:
        assert np.median(np.abs(differences(results, rows, metric))) < 0.04


def test_noise_is_extracted_once_and_comes_from_the_cache_after(source: DeviceTableSource) -> None:
    technology = technologies["generic180"]
    first = source.noise(technology, "tt", 27.0)
    assert source.noise(technology, "tt", 27.0) is first
    again = noise_tables(technology, NoPool(), folder=source.folder)
    np.testing.assert_array_equal(again.values["pmos"]["flicker"], first.values["pmos"]["flicker"])
    assert again.exponents == first.exponents
    assert first.exponents == pytest.approx({"nmos": 0.95, "pmos": 1.05})


def test_without_a_pool_there_is_only_noise_that_was_extracted(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="noise of transistors of generic45 at tt and 27 C was never extracted"):
        DeviceTableSource(None, tmp_path).noise(technologies["generic45"], "tt", 27.0)


def test_tables_are_extracted_once_and_come_from_the_cache_after(source: DeviceTableSource) -> None:
    technology = technologies["generic180"]
    first = source.tables(technology, "tt", 27.0)
    assert source.tables(technology, "tt", 27.0) is first
    again = device_tables(technology, NoPool(), folder=source.folder)
    np.testing.assert_array_equal(again.values["pmos"]["gds"], first.values["pmos"]["gds"])
    np.testing.assert_array_equal(again.widths["nmos"]["shift_v"], first.widths["nmos"]["shift_v"])
    assert source.folder is not None
    assert not list(source.folder.glob("*.tmp"))


def test_a_damaged_file_is_extracted_again(tmp_path: Path, ngspice: WorkerPool) -> None:
    technology = replace(technologies["generic45"], length_max_m=technologies["generic45"].length_min_m)
    fresh = device_tables(technology, ngspice, folder=tmp_path)
    assert len(fresh.lengths_m) == 1
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    mended = device_tables(technology, ngspice, folder=tmp_path)
    np.testing.assert_array_equal(mended.values["nmos"]["id"], fresh.values["nmos"]["id"])
    sizes = (np.array([[size]]) for size in (1e-6, 90e-9, 1.0))
    group = MosLookup(mended).group(["nmos"], *sizes)
    drain, gate, source = (np.array([[level]]) for level in (0.5, 0.6, 0.0))
    assert 1e-6 < group.small_signal(drain, gate, source, source).facts["id"][0, 0] < 1e-3


def test_without_a_pool_there_are_only_tables_that_were_extracted(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="generic45 at tt and 27 C were never extracted on this machine; ask again"):
        DeviceTableSource(None, tmp_path).tables(technologies["generic45"], "tt", 27.0)


def test_a_sweep_that_fails_says_which_and_why(tmp_path: Path) -> None:
    with pytest.raises(SimulatorFailure, match=r"could not do .*nmos: iteration limit reached; check"):
        device_tables(technologies["generic45"], FailingPool(), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
