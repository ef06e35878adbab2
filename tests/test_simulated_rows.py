"""What was simulated on an installation: kept once, found by the very bench, by many at once, and lost without harm."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.analog.canonical import canonical_hash
from app.analog.netlist import Netlist
from app.errors import Unavailable
from app.simulated_rows import SimulatedRows, simulated_rows_of
from app.technologies._base import technologies
from app.testbenches._base import testbenches
from app.testbenches._simulator import Bench, SimulationRow, prepare_bench
from tests.bench_rows import archetype
from tests.predicting import drawn, row_of
from tests.simulated_rows import bench_of

MILLER = "opamp/two_stage_miller"


@pytest.fixture
def store(tmp_path: Path) -> SimulatedRows:
    return simulated_rows_of(tmp_path)


@pytest.fixture
def bench() -> Bench:
    return bench_of(MILLER)


def some(bench: Bench, count: int, seed: int = 1) -> list[SimulationRow]:
    """Rows whose gain is their number."""
    vectors = drawn(bench, count, seed)
    return [row_of(bench, vector, {"gain_db": float(n), "ugf_hz": None}) for n, vector in enumerate(vectors)]


def gains(rows: Sequence[SimulationRow]) -> list[float]:
    return [row["metrics"]["gain_db"] for row in rows]


def test_rows_come_back_in_the_order_in_which_they_were_added(store: SimulatedRows, bench: Bench):
    rows = some(bench, 4)
    rows[0]["operating_point"] = {"M1": {"id": 1e-5 / 3, "gm": 1e-4, "cgs": 1e-15}}
    assert (store.add(bench, rows[:3]), store.add(bench, rows[3:])) == (3, 1)
    found = store.rows(bench)
    assert [row["sizes"] for row in found] == [row["sizes"] for row in rows]
    assert [row["metrics"] for row in found] == [row["metrics"] for row in rows]
    assert found[0]["undefined"] == {"ugf_hz": {"cause": "circuit"}}
    assert found[0]["operating_point"] == {"M1": {"id": 3.33333e-6, "gm": 1e-4}}
    assert gains(store.rows(bench, 2)) == [2.0, 3.0]
    assert store.facts() == {"circuits": 1, "rows": 4}


def test_a_store_that_nobody_wrote_is_empty_and_stays_away(store: SimulatedRows, bench: Bench):
    assert (store.rows(bench), store.siblings(bench), store.revision(bench), store.circuits()) == ((), (), 0, ())
    assert store.forget() == 0
    assert not store.path.parent.exists()


def test_rows_that_have_nothing_to_tell_are_not_kept(store: SimulatedRows, bench: Bench):
    silent = bench.failed_row(0, bench.space.start, "timeout", "it took too long")
    assert store.add(bench, [silent]) == 0
    assert store.add(bench, [silent, *some(bench, 1)]) == 1


def test_a_sizing_that_is_simulated_again_is_one_row_with_what_both_say(store: SimulatedRows, bench: Bench):
    first, second = some(bench, 2)
    store.add(bench, [first, second])
    again = row_of(bench, np.array(list(first["sizes"].values())), {"gain_db": 7.0, "power_w": 1e-3})
    store.add(bench, [again])
    kept, newest = store.rows(bench)
    assert kept["sizes"] == second["sizes"]
    assert newest["metrics"] == {"gain_db": 7.0, "power_w": 1e-3, "ugf_hz": None}


@pytest.mark.parametrize("change", ["process", "supply_v", "celsius", "setting", "version", "cards", "ports", "sizes"])
def test_rows_of_any_other_bench_are_not_this_ones(store: SimulatedRows, bench: Bench, change: str):
    store.add(bench, some(bench, 2))
    other = {
        "process": lambda: bench_of(MILLER, process="ss"),
        "supply_v": lambda: bench_of(MILLER, supply_v=1.7),
        "celsius": lambda: bench_of(MILLER, celsius=85.0),
        "setting": lambda: replace(bench, settings={**bench.settings, "load_f": 7e-12}),
        "version": lambda: replace(bench, testbench=replace(bench.testbench, version=bench.testbench.version + 1)),
        "cards": lambda: replace(bench),
        "ports": lambda: prepare_bench(
            bench.topology,
            bench.testbench,
            bench.technology,
            ports={"positive_input": "N1"},
        ),
        "sizes": lambda: bench_of("opamp/folded_cascode"),
    }[change]()
    if change == "cards":
        other.__dict__["models"] = replace(bench.models, cards={**bench.models.cards, "new": ".model new r"})
    assert store.rows(other) == ()
    assert len(store.rows(bench)) == 2


def test_a_circuit_whose_devices_change_places_is_another_one(store: SimulatedRows, bench: Bench):
    devices = {device.name: device for device in bench.topology.devices}
    swapped = tuple(
        replace(device, nets=devices[{"M6": "M7", "M7": "M6"}.get(device.name, device.name)].nets)
        for device in bench.topology.devices
    )
    netlist: Netlist = replace(bench.topology, devices=swapped)
    other = prepare_bench(netlist, bench.testbench, bench.technology)
    store.add(bench, some(bench, 2))
    assert store.rows(other) == ()


def test_which_metrics_a_bench_measures_does_not_make_it_another(store: SimulatedRows, bench: Bench):
    few = prepare_bench(bench.topology, bench.testbench, bench.technology, metrics=["gain_db"], with_facts=True)
    store.add(few, some(bench, 2))
    assert len(store.rows(bench)) == 2


def test_other_corners_of_a_circuit_are_found_from_any_of_them_most_rows_first(store: SimulatedRows, bench: Bench):
    slow, hot = bench_of(MILLER, process="ss", supply_v=1.62), bench_of(MILLER, celsius=125.0)
    store.add(slow, some(bench, 2))
    store.add(hot, some(bench, 3))
    found = store.siblings(bench)
    assert [each.corner for each in found] == [hot.corner, slow.corner]
    assert [len(store.rows(each)) for each in found] == [3, 2]
    assert found[0].settings == hot.settings


def test_a_circuits_revision_grows_with_its_rows_and_with_no_others(store: SimulatedRows, bench: Bench):
    store.add(bench, some(bench, 2))
    before = store.revision(bench)
    other = bench_of("opamp/folded_cascode")
    store.add(other, some(other, 2))
    assert store.revision(bench) == before
    store.add(bench_of(MILLER, process="ss"), some(bench, 1))
    assert store.revision(bench) > before


def test_only_the_newest_rows_of_a_circuit_are_kept(tmp_path: Path, bench: Bench):
    store = SimulatedRows(tmp_path, most_rows=5)
    other = bench_of("opamp/folded_cascode")
    store.add(other, some(other, 4))
    store.add(bench, some(bench, 4))
    store.add(bench, some(bench, 3, seed=2))
    assert gains(store.rows(bench)) == [2.0, 3.0, 0.0, 1.0, 2.0]
    assert len(store.rows(other)) == 4


def test_writers_at_once_lose_nothing(tmp_path: Path, bench: Bench):
    def write(seed: int) -> None:
        mine = SimulatedRows(tmp_path)
        for row in some(bench, 10, seed):
            mine.add(bench, [row])
            assert mine.rows(bench)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(SimulatedRows(tmp_path).rows(bench)) == 40


def test_what_is_killed_while_it_writes_leaves_what_was_there(store: SimulatedRows, bench: Bench):
    store.add(bench, some(bench, 2))
    killed = sqlite3.connect(store.path, isolation_level=None)
    killed.execute("BEGIN IMMEDIATE")
    killed.execute("DELETE FROM rows")
    killed.close()
    assert len(store.rows(bench)) == 2
    assert store.add(bench, some(bench, 1, seed=3)) == 1


@pytest.mark.parametrize("damage", ["text", "format", "columns", "row", "folder"])
def test_a_damaged_store_has_no_rows_takes_none_and_says_so(
    store: SimulatedRows, bench: Bench, damage: str, caplog: pytest.LogCaptureFixture
):
    store.add(bench, some(bench, 2))
    if damage == "text":
        store.path.write_text("this is no store of anything" * 100)
    elif damage == "folder":
        store.path.unlink()
        store.path.mkdir()
    else:
        command = {
            "format": "PRAGMA user_version = 99",
            "columns": "ALTER TABLE rows DROP COLUMN told",
            "row": "UPDATE rows SET told = '[1, 2'",
        }[damage]
        with sqlite3.connect(store.path) as opened:
            opened.execute(command)
    if damage == "folder":
        assert store.rows(bench) == ()
    else:
        with caplog.at_level(logging.WARNING):
            assert store.rows(bench) == ()
        assert "cannot be used as a store of simulated rows" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        added = store.add(bench, some(bench, 2))
    assert added == 0
    assert "--forget all" in caplog.text


def test_a_damaged_store_is_mended_by_forgetting_all(store: SimulatedRows, bench: Bench):
    store.path.parent.mkdir(parents=True)
    store.path.write_text("this is no store of anything" * 100)
    with pytest.raises(Unavailable, match="cannot be used as a store of simulated rows"):
        store.circuits()
    with pytest.raises(Unavailable):
        store.forget("abcdef")
    assert "problem" in store.facts()
    store.forget()
    assert store.add(bench, some(bench, 2)) == 2


def test_rows_of_a_circuit_are_forgotten_by_how_its_name_begins(store: SimulatedRows, bench: Bench):
    other = bench_of("opamp/folded_cascode")
    store.add(bench, some(bench, 2))
    store.add(other, some(other, 3))
    newest, oldest = store.circuits()
    assert (newest.topology_id, newest.rows, newest.benches) == (canonical_hash(other.topology), 3, 1)
    assert (oldest.testbench, oldest.technology) == ("opamp", "generic180")
    assert store.forget(oldest.topology_id[:8]) == 2
    assert store.rows(bench) == ()
    assert store.forget() == 3
    assert store.circuits() == ()


def test_what_is_kept_is_plain_json(store: SimulatedRows, bench: Bench):
    store.add(bench, some(bench, 1))
    with sqlite3.connect(store.path) as opened:
        ((told, conditions),) = opened.execute("SELECT told, conditions FROM rows").fetchall()
    assert set(json.loads(told)) == {"sizes", "metrics", "causes", "facts"}
    assert json.loads(conditions)["corner"] == {"process": "tt", "supply_v": 1.8, "celsius": 27.0}


def test_the_same_circuit_in_another_technology_is_another_circuit(store: SimulatedRows, bench: Bench):
    store.add(bench, some(bench, 2))
    other = prepare_bench(archetype(MILLER), testbenches["opamp"], technologies["generic45"])
    assert (store.rows(other), store.siblings(other)) == ((), ())
