"""gm/Id tables: what they say is what ngspice says, off their grid too; extracted once, kept, the same size for all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.analog.netlist import Device
from app.errors import SimulatorFailure, Unavailable, UnknownName
from app.simulators.processes import WorkerPool
from app.technologies._base import Technology, technologies
from app.technologies._gmid import (
    DESCRIPTOR_SHARES,
    DESCRIPTOR_SIZE,
    KINDS,
    GmIdTables,
    GmIdTableSource,
    gmid_tables,
    reference_width_m,
)

pytestmark = pytest.mark.simulator


class NoPool:
    """A pool that must not be asked."""

    def submit(self, request: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """Fails the test."""
        raise AssertionError("the tables should have come from the cache")


class FailingPool:
    """A pool whose simulator cannot."""

    def submit(self, request: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """An answer without a result."""
        answer: Future[dict[str, Any]] = Future()
        answer.set_result({"status": "not_converged", "messages": ["iteration limit reached"], "vectors": {}})
        return answer


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gmid")


@pytest.fixture(scope="module", params=["generic180", "generic45"])
def technology(request: pytest.FixtureRequest) -> Technology:
    return technologies[request.param]


@pytest.fixture(scope="module")
def tables(technology: Technology, cache: Path, ngspice: WorkerPool) -> GmIdTables:
    return gmid_tables(technology, ngspice, folder=cache)


def simulated(
    pool: WorkerPool, technology: Technology, kind: str, vgs: float, length_m: float, vds: float, vsb: float
) -> dict[str, float]:
    """The same transistor in an operating point and an AC analysis of its own."""
    sign = 1 if kind == "nmos" else -1
    models, width = technology.device_models(), reference_width_m(technology)
    card = models.device_card(
        Device("M1", kind, ("d", "g", "0", "b")), {"width_m": repr(width), "length_m": repr(length_m)}
    )
    deck = (
        f"one\n{models.text_for([kind], {kind: [(width, length_m)]})}\n{card}\nVd d 0 {sign * vds}\n"
        f"Vg g 0 dc {sign * vgs} ac 1\nVb b 0 {-sign * vsb}\n"
    )
    names = ("id", "gm", "gds", "vth", "vdsat")
    parameters = [f"@m1[{name}]" for name in names]
    point = pool.submit({"deck": f"{deck}.op\n.end\n", "analysis": "op", "parameters": parameters}).result(60)
    response = pool.submit({"deck": f"{deck}.ac lin 1 1k 1k\n.end\n", "analysis": "ac", "parameters": []}).result(60)
    found = {name: abs(point["parameters"][f"@m1[{name}]"]) for name in names}
    current = response["vectors"]["vg#branch"]["imaginary"][0]
    return found | {"cgg": abs(current) / (2 * math.pi * 1e3), "width": width}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("multiple", "vds_share", "vsb_share"), [(1.0, 0.5, 0.0), (2.6, 0.4, 0.1), (13.0, 0.9, 0.3)])
@pytest.mark.parametrize("gm_over_id", [6.0, 12.0, 20.0])
def test_a_point_off_the_grid_is_what_ngspice_says_there(
    technology: Technology,
    tables: GmIdTables,
    kind: str,
    multiple: float,
    vds_share: float,
    vsb_share: float,
    gm_over_id: float,
    ngspice: WorkerPool,
) -> None:
    length, vds, vsb = (
        multiple * technology.length_min_m,
        vds_share * technology.supply_v,
        vsb_share * technology.supply_v,
    )
    point = tables.at_gm_over_id(kind, gm_over_id, length, vds, vsb)
    truth = simulated(ngspice, technology, kind, point.vgs_v, length, vds, vsb)
    assert point.gm_over_id == pytest.approx(gm_over_id, rel=1e-6)
    assert truth["gm"] / truth["id"] == pytest.approx(gm_over_id, rel=0.02)
    assert point.id_per_width_a_per_m == pytest.approx(truth["id"] / truth["width"], rel=0.05)
    assert point.gm_over_gds == pytest.approx(truth["gm"] / truth["gds"], rel=0.06)
    assert point.ft_hz == pytest.approx(truth["gm"] / truth["cgg"] / (2 * math.pi), rel=0.06)
    assert point.threshold_v == pytest.approx(truth["vth"], abs=0.01)
    assert point.saturation_v == pytest.approx(truth["vdsat"], rel=0.05, abs=0.003)


@pytest.mark.parametrize("kind", KINDS)
def test_looking_up_a_current_density_and_its_gate_voltage_agree(
    technology: Technology, tables: GmIdTables, kind: str
) -> None:
    length, vds = 3 * technology.length_min_m, technology.supply_v / 2
    vgs = tables.vgs_for(kind, 15.0, length, vds)
    density = tables.id_per_width(kind, 15.0, length, vds)
    assert tables.at_gate(kind, vgs, length, vds).id_per_width_a_per_m == pytest.approx(density)
    assert tables.width_for(kind, 1e-5, 15.0, length, vds) == pytest.approx(1e-5 / density)
    assert 25 < tables.highest_gm_over_id(kind, length, vds) < 32
    assert tables.at_gm_over_id(kind, 1e3, length, vds).gm_over_id < 32
    assert tables.at_gm_over_id(kind, 0.0, length, vds).vgs_v == pytest.approx(technology.supply_v)


def test_gain_rises_with_length_and_speed_falls(technology: Technology, tables: GmIdTables) -> None:
    for kind in KINDS:
        points = [
            tables.at_gm_over_id(kind, 12.0, multiple * technology.length_min_m, technology.supply_v / 2)
            for multiple in (1, 2, 4, 8)
        ]
        gains, speeds = [point.gm_over_gds for point in points], [point.ft_hz for point in points]
        assert gains == sorted(gains)
        assert speeds == sorted(speeds, reverse=True)


def test_the_shortest_45_nm_transistor_has_the_gain_and_threshold_of_its_node(cache: Path, ngspice: WorkerPool) -> None:
    tables = gmid_tables(technologies["generic45"], ngspice, folder=cache)
    for kind in KINDS:
        point = tables.at_gm_over_id(kind, 12.0, 45e-9, 0.5)
        assert 15 < point.gm_over_gds < 25
        assert 0.35 < point.threshold_v < 0.4


def test_another_kind_is_named(tables: GmIdTables) -> None:
    with pytest.raises(UnknownName, match="no transistor kind named 'npn'; known: nmos, pmos"):
        tables.id_per_width("npn", 10.0, 1e-6, 0.5)


def test_tables_are_extracted_once_and_come_from_the_cache_after(
    technology: Technology, tables: GmIdTables, cache: Path
) -> None:
    again = gmid_tables(technology, NoPool(), folder=cache)
    for kind in KINDS:
        for name, table in tables.values[kind].items():
            np.testing.assert_array_equal(again.values[kind][name], table)
    assert not list(cache.glob("*.tmp"))


def test_a_source_keeps_tables_by_process_corner_and_needs_no_workers_for_what_is_cached(
    technology: Technology, tables: GmIdTables, cache: Path
) -> None:
    source = GmIdTableSource(None, cache)
    found = source.tables(technology)
    np.testing.assert_array_equal(found.values["nmos"]["id"], tables.values["nmos"]["id"])
    assert source.tables(technology) is found
    assert source.tables(technology, found.process) is found


def test_tables_that_are_not_cached_need_ngspice(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="the gm/Id tables of generic45 at tt were never extracted on this"):
        GmIdTableSource(None, tmp_path).tables(technologies["generic45"])


def test_a_damaged_file_is_extracted_again(cache: Path, tmp_path: Path, ngspice: WorkerPool) -> None:
    technology = technologies["generic45"]
    fresh = gmid_tables(technology, ngspice, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.name.startswith(technology.device_models().card_hash)
    path.write_bytes(path.read_bytes()[:1000])
    mended = gmid_tables(technology, ngspice, folder=tmp_path)
    np.testing.assert_array_equal(mended.values["pmos"]["gm"], fresh.values["pmos"]["gm"])
    gmid_tables(technology, NoPool(), folder=tmp_path)


def test_other_limits_have_tables_of_their_own(tmp_path: Path, ngspice: WorkerPool) -> None:
    technology = technologies["generic45"]
    gmid_tables(technology, ngspice, folder=tmp_path)
    shorter = gmid_tables(replace(technology, length_max_m=technology.length_min_m), ngspice, folder=tmp_path)
    assert len(shorter.lengths_m) == 1
    assert shorter.id_per_width("nmos", 12.0, 45e-9, 0.5) == shorter.id_per_width("nmos", 12.0, 90e-9, 0.5)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_fast_corner_carries_more_at_the_same_gate(cache: Path, ngspice: WorkerPool) -> None:
    technology = technologies["generic180"]
    slow, fast = (gmid_tables(technology, ngspice, process, folder=cache) for process in ("ss", "ff"))
    for kind in KINDS:
        at = [tables.at_gate(kind, 0.8, 180e-9, 0.9).id_per_width_a_per_m for tables in (slow, fast)]
        assert at[0] < 0.8 * at[1]


def test_the_descriptor_has_one_size_and_plain_numbers(technology: Technology, tables: GmIdTables) -> None:
    vector = tables.descriptor()
    assert vector.shape == (DESCRIPTOR_SIZE,)
    assert np.isfinite(vector).all()
    assert np.abs(vector).max() < 5
    assert vector[0] == pytest.approx(math.log10(technology.supply_v))
    np.testing.assert_array_equal(vector, tables.descriptor())


def test_inversion_levels_are_the_points_at_shares_of_the_highest_gm_over_id(
    technology: Technology, tables: GmIdTables
) -> None:
    for kind in KINDS:
        levels = tables.inversion_levels(kind)
        assert levels.shape == (len(tables.lengths_m), len(DESCRIPTOR_SHARES), 6)
        for place in (0, -1):
            length_m, vds_v = float(tables.lengths_m[place]), technology.supply_v / 2
            highest = tables.highest_gm_over_id(kind, length_m, vds_v)
            for share, (current, gm_over_id, gate_v, gain, speed, capacitance) in zip(
                DESCRIPTOR_SHARES, levels[place], strict=True
            ):
                point = tables.at_gm_over_id(kind, share * highest, length_m, vds_v)
                assert (gm_over_id, gate_v) == (point.gm_over_id, point.vgs_v)
                assert 10**current == pytest.approx(point.id_per_width_a_per_m)
                assert 10**gain == pytest.approx(point.gm_over_gds)
                assert 10**speed == pytest.approx(point.ft_hz)
                assert 10**capacitance == pytest.approx(point.cgg_per_width_f_per_m)


def test_a_sweep_that_fails_says_which_and_why(tmp_path: Path) -> None:
    with pytest.raises(SimulatorFailure, match="could not do the AC analysis of nmos: iteration limit reached"):
        gmid_tables(technologies["generic45"], FailingPool(), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
