"""Stored gains of op-amp archetypes in every technology: device models, decks and metrics drift from them by nothing.

Sizes are the technologies' defaults, so that only a change of cards, decks or definitions can move a number.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from app.analog.corpus import read_archetypes
from app.registry import Registry
from app.simulators.processes import WorkerPool
from app.technologies._added import NewTechnology, add_technology
from app.technologies._base import Technology
from app.testbenches._base import testbenches
from app.testbenches._simulator import BenchSimulator, prepare_bench
from tests.technology_cards import available

pytestmark = pytest.mark.simulator

#: Technology -> archetype -> gain in decibels.
GAINS_DB: dict[str, dict[str, float]] = {
    "freepdk45": {
        "current_mirror_ota": 37.98,
        "five_transistor_ota": 37.94,
        "folded_cascode": 66.87,
        "recycling_folded_cascode": 82.22,
        "telescopic_cascode": 70.26,
        "three_stage_nested_miller": 111.87,
        "two_stage_miller": 75.12,
    },
    "generic180": {
        "current_mirror_ota": 36.84,
        "five_transistor_ota": 36.27,
        "folded_cascode": 65.72,
        "recycling_folded_cascode": 85.72,
        "telescopic_cascode": 53.99,
        "three_stage_nested_miller": 108.94,
        "two_stage_miller": 73.17,
    },
    "generic45": {
        "current_mirror_ota": 33.95,
        "five_transistor_ota": 33.72,
        "folded_cascode": 59.32,
        "recycling_folded_cascode": 75.28,
        "telescopic_cascode": 62.83,
        "three_stage_nested_miller": 99.88,
        "two_stage_miller": 67.08,
    },
    "gf180mcu": {
        "current_mirror_ota": 47.04,
        "five_transistor_ota": 47.14,
        "folded_cascode": 82.24,
        "recycling_folded_cascode": 102.82,
        "three_stage_nested_miller": 123.35,
        "two_stage_miller": 93.66,
    },
    "sky130": {
        "current_mirror_ota": 37.65,
        "five_transistor_ota": 37.33,
        "folded_cascode": 48.29,
        "recycling_folded_cascode": 84.81,
        "telescopic_cascode": 70.57,
        "three_stage_nested_miller": 106.44,
        "two_stage_miller": 74.36,
    },
}


def gains(technology: Technology, pool: WorkerPool) -> dict[str, float | None]:
    simulator = BenchSimulator(pool)
    found = {}
    for circuit in read_archetypes():
        name = circuit.id.rpartition("/")[2]
        if name in GAINS_DB[technology.name]:
            bench = prepare_bench(circuit.netlist, testbenches["opamp"], technology, metrics=["gain_db"])
            (row,) = simulator.run(bench, [bench.space.start])
            found[name] = row["metrics"]["gain_db"]
    return found


@pytest.mark.parametrize("name", ["generic180", "generic45", "gf180mcu", "sky130"])
def test_archetypes_have_the_gain_that_they_had(
    name: str, ngspice: WorkerPool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gains(available(name, request, monkeypatch), ngspice) == pytest.approx(GAINS_DB[name], abs=0.1)


def test_archetypes_have_the_gain_that_they_had_in_a_card_of_ones_own(
    ngspice: WorkerPool, shared_data: Path, tmp_path: Path
) -> None:
    cards = tuple(shared_data / f"technologies/freepdk45/models_nom/{kind}MOS_VTG.inc" for kind in "NP")
    entry = NewTechnology(
        name="freepdk45", cards=cards, nmos="NMOS_VTG", pmos="PMOS_VTG", supply_v=1.0, length_min_m=50e-9
    )
    registry: Registry[Technology] = Registry("technology", "app.technologies")
    technology = add_technology(entry, ngspice, folder=tmp_path, registry=registry)
    assert gains(technology, ngspice) == pytest.approx(GAINS_DB["freepdk45"], abs=0.1)
