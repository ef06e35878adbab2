from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from app.analog.canonical import canonical_hash
from app.analog.corpus import ARCHETYPES
from app.analog.dataset import read_dataset
from app.analog.netlist import Netlist
from app.analog.spice import parse_spice
from app.cli import main
from app.errors import (
    Conflict,
    CorpusMissing,
    InvalidInput,
    InvalidRequest,
    NotFound,
    PackageMissing,
    Unavailable,
    UnknownName,
)
from app.simulation_corpus._arrow import arrow
from app.simulation_corpus.check import store_faults
from app.simulation_corpus.factory import Factory, Limits, Outcome
from app.simulation_corpus.journal import Journal, read_journal
from app.simulation_corpus.layout import Layout, plain_reason, read_manifest
from app.simulation_corpus.plan import Combination, plan_units
from app.simulation_corpus.reader import CIRCUIT, DEFINED, NOT_RUN, read_store
from app.simulation_corpus.recipe import SimulationRecipe, read_simulation_recipe, recipe_from_table
from app.simulation_corpus.report import store_report
from app.simulation_corpus.topologies import all_topologies, restored_topology
from app.simulators.processes import WorkerPool
from app.technologies._base import technologies
from app.testbenches._base import Corner, Testbench, testbenches
from app.testbenches._simulator import Bench, BenchSimulator, prepare_bench

TINY: dict[str, Any] = {
    "kind": "simulation", "name": "tiny", "seed": 3, "rows_per_unit": 5, "rows_per_corner": 3, "rows_per_part": 12,
    "topologies": {"names": ["opamp/five_transistor_ota", "current_mirror/wilson"]},
    "probe": {"draws": 2},
    "technologies": {"generic180": {}},
    "testbenches": {
        "opamp": {"rows": 16, "full_share": 0.5, "cheap": "ac"},
        "current_mirror": {"rows": 10},
        "not_there_yet": {"optional": True},
    },
}  # fmt: skip


class Quiet:
    """A watcher that remembers how far the rows were."""

    def __init__(self) -> None:
        self.done: list[int] = []

    def probing(self, done: int, total: int) -> None:
        pass

    def simulating(self, done: int, total: int) -> None:
        self.done.append(done)


def tiny(**changes: Any) -> SimulationRecipe:
    return recipe_from_table({**TINY, **changes}, "tiny")


def make(root: Path, pool: WorkerPool, recipe: SimulationRecipe, *, append: bool = False, **limits: Any) -> Outcome:
    """The store at `root` as far as the limits allow."""
    simulator = BenchSimulator(pool, tables_folder=root.parent / "data" / "gmid")
    factory = Factory(root, simulator, watcher=Quiet(), ngspice_version="39")
    assert factory.plan(recipe, recipe.seed, all_topologies, append=append, limits=Limits())
    return factory.fill(Limits(**limits))


def digits(root: Path) -> list[dict[str, Any]]:
    """Every row of the store but the time that it took, in their order."""
    rows = []
    for file in sorted((root / "rows").glob("*.parquet")):
        rows += arrow().parquet.read_table(file).drop_columns(["simulate_s"]).to_pylist()
    return rows


@pytest.fixture(scope="module")
def whole(ngspice: WorkerPool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny store; tests that change it copy it."""
    root = tmp_path_factory.mktemp("stores") / "whole"
    outcome = make(root, ngspice, tiny())
    assert (outcome.rows, outcome.done, outcome.total, outcome.is_stopped) == (26, 26, 26, False)
    return root


def test_the_shipped_recipe_plans_what_the_store_is_meant_to_hold():
    recipe = read_simulation_recipe()
    assert {"generic180", "generic45", "sky130", "gf180mcu"} <= set(recipe.technologies)
    assert len(recipe.testbenches) >= 6
    assert set(recipe.testbenches) <= set(testbenches)
    assert recipe_from_table(recipe.as_json(), "again") == recipe


def changed(place: str, value: Any) -> dict[str, Any]:
    """The tiny recipe's table with a value in another place: ``corners.celsius``."""
    table: dict[str, Any] = json.loads(json.dumps(TINY))
    *path, last = place.split(".")
    inner = table
    for name in path:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return table


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("kind", "analog", "is a recipe for 'analog', not for 'simulation'"),
        ("technologies", {}, r"\[technologies.NAME\] is missing"),
        ("testbenches", 3, r"\[testbenches.NAME\] is missing"),
        ("rows_per_day", 3, "unknown key 'rows_per_day'; known: corners, device_facts"),
        ("testbenches.opamp", 3, "testbenches.opamp has to be a table"),
        ("testbenches.opamp.rows", "many", "rows is 'many', it has to be a whole number"),
        ("testbenches.opamp.rows", True, "rows is True, it has to be a whole number"),
        ("testbenches.opamp.rows", 0, "testbenches.opamp.rows is 0, it has to be above 0"),
        ("testbenches.opamp.settings", 1, "settings has to be a table of numbers"),
        ("testbenches.opamp.full_share", 1.5, "full_share is 1.5, a share is 0 to 1"),
        ("testbenches.opamp.cheap", "dear", "cheap is 'dear', analyses are op, ac"),
        ("corners.celsius", 27, "celsius has to be a list"),
        ("corners.celsius", [], "corners.celsius need a value"),
        ("corners.celsius", ["hot"], "celsius is 'hot', it has to be a number"),
        ("methods", {"guided": 0.5}, r"shares of \[methods\] add up to 0.5"),
        ("methods", {"lucky": 1.0}, "methods.lucky is no way to draw sizings"),
        ("probe.technology", "sky130", "'sky130' has to be a technology of the recipe"),
        ("seed", -1, "seed is -1, it may not be below 0"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_refused_with_the_place(place: str, value: Any, sentence: str):
    with pytest.raises(InvalidRequest, match=sentence):
        recipe_from_table(changed(place, value), "tiny")


def test_a_recipe_without_a_name_lacks_it():
    with pytest.raises(InvalidRequest, match="'name' is missing"):
        recipe_from_table({key: value for key, value in TINY.items() if key != "name"}, "tiny")


def test_a_recipe_file_is_read_by_path_and_refused_where_it_is_none(tmp_path: Path):
    file = tmp_path / "wrong.toml"
    with pytest.raises(UnknownName, match="no recipe named"):
        read_simulation_recipe(str(file))
    file.write_text("kind = ")
    with pytest.raises(InvalidRequest, match=r"wrong\.toml is not TOML"):
        read_simulation_recipe(str(file))


def test_a_plan_depends_on_recipe_and_seed_and_a_combination_on_no_other():
    recipe = tiny()
    first, second = (Combination(name, "opamp", "generic180") for name in ("first", "second"))
    both = plan_units(recipe, 3, [first, second], technologies)
    assert both == plan_units(recipe, 3, [second, first], technologies)
    assert both != plan_units(recipe, 4, [first, second], technologies)

    def work(units: Any) -> set[Any]:
        return {(u.combination, u.corner, u.method, u.seed, u.first, u.count, u.scope) for u in units}

    assert work(plan_units(recipe, 3, [first], technologies)) < work(both)
    assert sum(unit.count for unit in both) == 2 * 16
    assert [unit.number for unit in both] == list(range(len(both)))
    nominal = [unit for unit in both if (unit.process, unit.supply_v, unit.celsius) == ("tt", 1.8, 27.0)]
    assert 0.6 < sum(unit.count for unit in nominal) / 32 < 0.8
    assert {unit.method for unit in both} == {"guided", "log_uniform"}
    for method in ("guided", "log_uniform"):
        indices = [i for unit in both if unit.combination == first and unit.method == method for i in unit.indices]
        assert sorted(indices) == list(range(len(indices)))


def test_topologies_are_told_apart_by_what_they_are_and_generated_rows_are_read(tmp_path: Path):
    archetypes = all_topologies()
    assert len({topology.id for topology in archetypes}) == len(archetypes) > 60
    known = next(topology for topology in archetypes if topology.name == "opamp/five_transistor_ota")
    fresh = "* ports: VDD VSS VIN1 VOUT1\nR1 VDD VOUT1\nM1 VOUT1 VIN1 VSS VSS nmos\n.end\n"
    rows = tmp_path / "generated.ndjson"
    lines = [
        {"index": 0, "status": "ok", "type": "opamp", "netlist": known.text, "model": "m", "seed": 1},
        {"index": 1, "status": "ok", "type": "amplifier", "netlist": fresh, "model": "m", "seed": 1},
        {"index": 2, "status": "error"},
    ]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    [added] = all_topologies(generated=rows)[len(archetypes) :]
    assert (added.origin, added.type, added.name) == ("generated", "amplifier", "m 1 1")
    assert added.id == canonical_hash(parse_spice(fresh).netlist)
    rows.write_text('{"index": 0}\n')
    with pytest.raises(InvalidInput, match=r"generated.ndjson line 1 is not a row of a generated circuit \(KeyError"):
        all_topologies(generated=rows)
    with pytest.raises(CorpusMissing, match="no generated circuits at"):
        all_topologies(generated=tmp_path / "nothing.ndjson")


def test_corpus_circuits_are_topologies_of_their_type(shared_data: Path, tmp_path: Path):
    lines = (shared_data / "analoggenie" / "circuits.jsonl").read_text().splitlines()[::50]
    (tmp_path / "circuits.jsonl").write_text("\n".join(lines) + "\n")
    found = [topology for topology in all_topologies(tmp_path) if topology.origin == "corpus"]
    drawn = [topology for topology in found if not topology.name.startswith("op-amp inside")]
    assert 30 < len(drawn) <= len(lines)
    assert {"opamp", "ldo", "bandgap"} <= {topology.type for topology in found}


def test_a_corpus_circuit_has_the_type_that_models_learn_and_its_op_amp_is_a_circuit_too(tmp_path: Path):
    mirror = "M0 (IOUT1 IIN1 VSS VSS) nmos4\nM1 (IIN1 IIN1 VSS VSS) nmos4\nM2 (IOUT2 IIN1 VSS VSS) nmos4"
    cell = "M0 (A VIN1 T VSS) nmos4\nM1 (VOUT1 VIN2 T VSS) nmos4\nR0 (VDD A) resistor\nR1 (VDD VOUT1) resistor"
    cell += "\nR2 (T VSS) resistor\nR3 (A VSS) resistor"
    host = cell.replace("VOUT1", "ERR").replace("VIN1", "VREF1").replace("VIN2", "FB")
    host += "\nM9 (VOUT1 ERR VDD VDD) pmos4\nR8 (VOUT1 FB) resistor\nR9 (FB VSS) resistor"
    about = {"source": "A book"}
    rows = [
        {"id": 1, "type": "opamp", "ports": ["VSS", "IIN1", "IOUT1", "IOUT2"], "netlist": mirror, **about},
        {"id": 2, "type": "ldo", "ports": ["VDD", "VSS", "VREF1", "VOUT1"], "netlist": host, "opamp_netlist": cell,
         **about},
    ]  # fmt: skip
    (tmp_path / "circuits.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = {topology.name: topology for topology in all_topologies(tmp_path) if topology.origin == "corpus"}
    learnt = [circuit for circuit in read_dataset(tmp_path).circuits if circuit.source != ARCHETYPES]
    assert {name: topology.type for name, topology in found.items()} == {
        f"{circuit.source} {circuit.id}": circuit.type for circuit in learnt
    }
    assert [topology.type for topology in found.values()] == ["current_mirror", "ldo", "opamp"]


def test_a_journal_keeps_every_whole_line_and_goes_on_after_one_that_was_cut(tmp_path: Path):
    path = tmp_path / "rows.ndjson"
    assert list(read_journal(path)) == []
    with Journal(path) as journal:
        journal.add({"row": 1})
    path.write_bytes(path.read_bytes() + b'{"row": 2, "met')
    assert list(read_journal(path)) == [{"row": 1}]
    with Journal(path) as journal:
        journal.add({"row": 3})
    assert list(read_journal(path)) == [{"row": 1}, {"row": 3}]
    path.write_bytes(b'{"cut')
    with Journal(path) as journal:
        journal.add({"row": 4})
    assert list(read_journal(path)) == [{"row": 4}]


def test_reasons_lose_their_numbers():
    assert plain_reason("circuit", "the output sits at 1.79 V, -3e-6 A, at n_x12") == (
        "circuit: the output sits at # V, # A, at n_x12"
    )


@pytest.mark.simulator
def test_a_store_holds_the_plan_and_where_every_row_comes_from(whole: Path):
    assert store_faults(whole) == []
    manifest = read_manifest(Layout(whole))
    [run] = manifest["runs"]
    assert run["notes"] == ["testbench not_there_yet was left out: there is none of that name"]
    assert run["testbenches"] == {name: testbenches[name].version for name in ("opamp", "current_mirror")}
    assert run["technologies"]["generic180"]["ss"] == technologies["generic180"].device_models("ss").card_hash
    store = read_store(whole)
    assert len(store.rows) == 26
    assert {topology.name for topology in store.topologies.values()} == set(TINY["topologies"]["names"])
    assert set(store.rows.column("status")) == {"ok"}
    for group in store.rows.groups():
        assert group.values.shape == group.causes.shape == (len(group.rows), len(group.metrics))
        assert group.sizes.shape == (len(group.rows), len(group.space.variables))
        assert np.isfinite(group.facts("gm")).all()
        devices = {device.name for device in store.netlist(group.combination.topology_id).devices}
        assert {place[0] for variable in group.space.variables for place in variable["places"]} == devices
        assert group.facts("gm").shape[1] == len(group.space.devices)


@pytest.mark.simulator
def test_rows_are_what_the_testbench_says_of_their_sizes(whole: Path, ngspice: WorkerPool):
    store = read_store(whole, testbench="opamp", technology=["generic180"], method="guided")
    [group] = store.rows.groups()
    place = int(np.argmax(group.rows.column("scope") == "all"))
    corner = [group.rows.column(name)[place] for name in ("process", "supply_v", "celsius")]
    bench = prepare_bench(
        store.netlist(group.combination.topology_id), testbenches["opamp"], technologies["generic180"],
        corner=Corner(*corner),
    )  # fmt: skip
    [row] = BenchSimulator(ngspice).run(bench, [group.sizes[place]])
    again = [np.nan if row["metrics"][name] is None else row["metrics"][name] for name in group.metrics]
    np.testing.assert_array_equal(group.values[place], again)


@pytest.mark.simulator
def test_a_metric_without_a_value_says_why_and_one_that_was_not_asked_says_that(whole: Path):
    rows = read_store(whole).rows.where(testbench="opamp")
    cheap = rows.column("scope") == "cheap"
    assert 0 < cheap.sum() < len(rows)
    causes = rows.causes("slew_rate_v_per_s")
    assert (causes[cheap] == NOT_RUN).all()
    assert NOT_RUN not in causes[~cheap]
    margin = rows.causes("gain_margin_db")
    assert set(margin) <= {DEFINED, CIRCUIT}
    assert sum(rows.reasons("gain_margin_db").values()) == (margin == CIRCUIT).sum()
    assert np.isnan(rows.metric("gain_margin_db")[margin == CIRCUIT]).all()
    assert (read_store(whole).rows.where(testbench="current_mirror").causes("gain_db") == NOT_RUN).all()


@pytest.mark.simulator
def test_a_reader_takes_some_columns_and_refuses_what_rows_do_not_have(whole: Path, tmp_path: Path):
    store = read_store(whole, columns=["gain_db"], status="ok", testbench=["opamp"])
    assert np.isfinite(store.rows.metric("gain_db")).any()
    with pytest.raises(UnknownName, match="no column named 'offset_v'"):
        store.rows.column("offset_v")
    with pytest.raises(UnknownName, match="no column named 'gian_db'; did you mean 'gain_db'"):
        read_store(whole, columns=["gian_db"])
    with pytest.raises(UnknownName, match="no filter named 'colour'"):
        read_store(whole, colour="red")
    with pytest.raises(UnknownName, match="no topology of the store named 'x'"):
        store.netlist("x")
    with pytest.raises(UnknownName, match="no fact named 'charm'"):
        next(read_store(whole).rows.groups()).facts("charm")
    assert list(read_store(whole, testbench="nothing").rows.groups()) == []
    with pytest.raises(NotFound, match="no store of simulations at"):
        read_store(tmp_path / "nothing")


@pytest.mark.simulator
def test_a_store_made_in_pieces_equals_one_made_at_once(whole: Path, ngspice: WorkerPool, tmp_path: Path):
    pieces = tmp_path / "pieces"
    shutil.copytree(whole.parent / "data", tmp_path / "data")
    assert make(pieces, ngspice, tiny(), rows=3).is_stopped
    assert make(pieces, ngspice, tiny(), rows=14).done == 17
    assert len(read_store(pieces).rows) == 17
    assert store_faults(pieces) == []
    stopped = Event()
    stopped.set()
    assert make(pieces, ngspice, tiny(), stop=stopped).rows == 0
    assert make(pieces, ngspice, tiny(), until=time.monotonic()).rows == 0
    assert make(pieces, ngspice, tiny()).rows == 9
    assert digits(pieces) == digits(whole)
    assert make(pieces, ngspice, tiny()).rows == 0


@pytest.mark.simulator
def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been_killed(whole: Path, tmp_path: Path):
    root, recipe = tmp_path / "killed", tmp_path / "tiny.toml"
    recipe.write_text(as_toml(TINY))
    environment = {**os.environ, "JOSEPHSON_DATA_DIR": str(whole.parent / "data")}
    command = [sys.executable, "-m", "app", "corpus", "simulation", "--store", str(root), "--recipe", str(recipe)]
    command += ["--workers", "1", "--json"]
    running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(root.glob("rows/*.ndjson")) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = len(read_store(root).rows)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["rows"] == {"planned": 26, "simulated": 26}
    assert f"{26 - before} rows in" in done.stderr
    assert digits(root) == digits(whole)
    assert not list(root.glob("rows/*.ndjson"))


def as_toml(table: dict[str, Any], place: str = "") -> str:
    values = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += ["", f"[{place}{key}]", as_toml(value, f"{place}{key}.")]
    return "\n".join(lines)


@pytest.mark.simulator
def test_a_store_takes_more_only_when_asked_and_then_only_what_is_new(whole: Path, ngspice: WorkerPool, tmp_path: Path):
    root = tmp_path / "grown"
    shutil.copytree(whole, root)
    shutil.copytree(whole.parent / "data", tmp_path / "data")
    with pytest.raises(Conflict, match="was made by recipe 'tiny' and seed 3, with other values; give those, add with"):
        make(root, ngspice, tiny(seed=4))
    assert make(root, ngspice, tiny(), append=True).rows == 0
    more = tiny(testbenches={**TINY["testbenches"], "amplifier": {"rows": 4}}, topologies={
        "names": [*TINY["topologies"]["names"], "amplifier/common_source"]})  # fmt: skip
    outcome = make(root, ngspice, more, append=True)
    assert (outcome.rows, outcome.total) == (4, 30)
    assert store_faults(root) == []
    store = read_store(root)
    assert set(store.rows.where(run=1).column("testbench")) == {"amplifier"}
    assert digits(root)[:26] == [
        {**{name: row.get(name) for name in digits(root)[0]}} for row in digits(whole)
    ]  # fmt: skip
    nothing = tiny(name="other", topologies={"names": ["opamp/none"]})
    with pytest.raises(
        InvalidRequest, match=r"recipe other plans no row that the store at .* does not have: no topology"
    ):
        make(root, ngspice, nothing, append=True)


@pytest.mark.simulator
def test_a_unit_that_cannot_be_worked_on_is_told_and_left_for_the_next_call(
    whole: Path, ngspice: WorkerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(whole.parent / "data", tmp_path / "data")
    assert make(tmp_path / "store", ngspice, tiny(), rows=1).rows == 1

    def broken(netlist: Netlist, testbench: Testbench, *rest: Any, **options: Any) -> Bench:
        if testbench.name == "current_mirror":
            raise KeyError("a defect")
        return prepare_bench(netlist, testbench, *rest, **options)

    monkeypatch.setattr("app.simulation_corpus.benches.prepare_bench", broken)
    outcome = make(tmp_path / "store", ngspice, tiny())
    [sentence] = outcome.failures
    assert sentence == "current_mirror/wilson on current_mirror in generic180: KeyError: 'a defect'"
    assert outcome.done == 16 + (read_store(tmp_path / "store").rows.column("testbench") == "current_mirror").sum()
    monkeypatch.undo()
    assert make(tmp_path / "store", ngspice, tiny()).done == 26
    assert digits(tmp_path / "store") == digits(whole)


@pytest.mark.simulator
def test_a_topology_that_never_works_is_dropped_with_its_reason(ngspice: WorkerPool, tmp_path: Path):
    recipe = tiny(
        topologies={"names": ["amplifier/common_source", "amplifier/transimpedance"]},
        testbenches={"amplifier": {"rows": 2}},
    )
    make(tmp_path / "store", ngspice, recipe)
    report = store_report(tmp_path / "store")
    [dropped] = report["runs"][0]["dropped"]
    assert dropped["topology"] == "amplifier/transimpedance"
    assert "it has no input" in dropped["reason"]
    slow = tiny(name="slow", probe={"draws": 1, "most_ms": 1e-6}, topologies={"names": ["opamp/five_transistor_ota"]})
    with pytest.raises(InvalidRequest, match=r"a sizing takes .* ms, the recipe allows 1e-06 ms"):
        make(tmp_path / "slow", ngspice, slow)


@pytest.mark.simulator
def test_a_technology_that_is_not_there_is_left_out_where_the_recipe_allows(ngspice: WorkerPool, tmp_path: Path):
    recipe = tiny(
        testbenches={"current_mirror": {"rows": 2}}, topologies={"names": ["current_mirror/wilson"]},
        technologies={"generic180": {}, "nowhere": {"optional": True}},
    )  # fmt: skip
    make(tmp_path / "store", ngspice, recipe)
    [note] = read_manifest(Layout(tmp_path / "store"))["runs"][0]["notes"]
    assert note.startswith("technology nowhere was left out: no technology named 'nowhere'")
    wrong: tuple[dict[str, Any], ...] = (
        {"technologies": {"generic180": {}, "nowhere": {}}},
        {"testbenches": {"nowhere": {}}},
    )
    for changes in wrong:
        with pytest.raises(UnknownName, match="named 'nowhere'"):
            make(tmp_path / "other", ngspice, tiny(**changes))


@pytest.mark.simulator
def test_a_store_is_filled_by_one_process_and_only_with_the_cards_it_was_begun_with(
    whole: Path, ngspice: WorkerPool, tmp_path: Path
):
    root = tmp_path / "store"
    shutil.copytree(whole.parent / "data", tmp_path / "data")
    make(root, ngspice, tiny(), rows=1)
    held = Factory(root, BenchSimulator(ngspice), watcher=Quiet(), ngspice_version="39")
    with held._locked(), pytest.raises(Conflict, match="another process fills the store"):
        make(root, ngspice, tiny())
    manifest = read_manifest(Layout(root))
    edited = json.loads(json.dumps(manifest))
    edited["runs"][0]["technologies"]["generic180"]["ff"] = "0123"
    (root / "manifest.json").write_text(json.dumps(edited))
    with pytest.raises(Conflict, match="the cards of generic180, ff, are no longer those"):
        make(root, ngspice, tiny())
    edited = json.loads(json.dumps(manifest))
    edited["runs"][0]["testbenches"]["opamp"] = 999
    (root / "manifest.json").write_text(json.dumps(edited))
    with pytest.raises(Conflict, match=r"testbench opamp has version \d+, the store was begun with 999"):
        make(root, ngspice, tiny())
    (root / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(Conflict, match="has schema 99, this version reads 1"):
        read_store(root)


@pytest.mark.simulator
def test_a_call_that_is_over_before_there_is_a_plan_keeps_what_it_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "tiny.toml").write_text(as_toml(TINY))
    command = ["corpus", "simulation", "--store", str(tmp_path / "store"), "--recipe", str(tmp_path / "tiny.toml")]
    assert main([*command, "--minutes", "0", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["rows"] == {"planned": 0, "simulated": 0}
    assert "stopped before there was a plan" in said.err


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Full:
        def write(self, line: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            pass

    with Journal(tmp_path / "rows.ndjson") as journal:
        monkeypatch.setattr(journal, "_stream", Full())
        with pytest.raises(Unavailable, match=r"cannot be written: No space left on device; what was written before"):
            journal.add({"row": 1})


def damaged(whole: Path, root: Path, change: Any) -> list[str]:
    """What the check says of a copy whose first part went through `change`."""
    shutil.copytree(whole, root)
    first = sorted((root / "rows").glob("*.parquet"))[0]
    parquet = arrow().parquet
    parquet.write_table(change(parquet.read_table(first)), first)
    return store_faults(root)


@pytest.mark.simulator
def test_a_store_that_was_changed_is_found_out(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def replaced(name: str, value: Any) -> Any:
        def change(table: Any) -> Any:
            column = arrow().array([value] * table.num_rows, type=table.schema.field(name).type)
            return table.set_column(table.column_names.index(name), name, column)

        return change

    def enlarged(table: Any) -> Any:
        sizes = [[1e6 * size for size in row] for row in table["sizes"].to_pylist()]
        place = table.column_names.index("sizes")
        return table.set_column(place, "sizes", arrow().array(sizes, type=table.schema.field("sizes").type))

    cases: Iterator[tuple[Any, str]] = iter(
        [
            (lambda table: table.slice(1), "part-00000.parquet lacks 1 rows of the plan and has 0 that are not in it"),
            (lambda table: arrow().concat_tables([table, table.slice(0, 2)]), "part-00000.parquet has 2 rows twice"),
            (replaced("card_hash", "0000"), "have cards 0000, which run 0 does not name"),
            (replaced("testbench_version", 99), "have version 99, which run 0 does not name"),
            (replaced("status", "odd"), "rows with the status 'odd', which there is not"),
            (replaced("area_m2", float("inf")), "rows have an infinite metric"),
            (replaced("area_m2", None), "rows lack a metric without a reason"),
            (replaced("undefined", [("area_m2", "circuit: no")]), "a metric with a value and a reason for having none"),
            (replaced("unit", 12345), "rows name unit 12345, which is not theirs"),
            (replaced("topology_id", "0" * 32), "topologies on testbenches that the store does not describe"),
            (replaced("sizes", [1e3]), "rows do not have"),
            (enlarged, "rows have sizes outside of their ranges"),
            (replaced("index", 0), "sizes are not those that their seed, method and index draw"),
        ]
    )
    for number, (change, sentence) in enumerate(cases):
        assert any(sentence in fault for fault in damaged(whole, tmp_path / str(number), change)), sentence
    assert main(["corpus", "simulation", "--store", str(tmp_path / "0"), "--check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["sound"] is False
    assert main(["corpus", "simulation", "--store", str(whole), "--check"]) == 0
    assert capsys.readouterr().out == "the store is sound\n"


@pytest.mark.simulator
def test_the_command_reports_how_many_rows_have_each_metric(whole: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["corpus", "simulation", "--store", str(whole), "--report", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == {"planned": 26, "simulated": 26}
    assert report["testbenches"]["opamp"]["defined"]["area_m2"] == {"asked": 16, "defined": 16}
    assert {entry["name"] for entry in report["topologies"]} == set(TINY["topologies"]["names"])
    assert main(["corpus", "simulation", "--store", str(whole), "--report"]) == 0
    assert "26 of 26 rows" in capsys.readouterr().out


@pytest.mark.simulator
def test_a_signal_ends_the_command_with_its_rows_kept(whole: Path, tmp_path: Path):
    root, recipe = tmp_path / "stopped", tmp_path / "tiny.toml"
    recipe.write_text(as_toml({**TINY, "testbenches": {"opamp": {"rows": 4000}}}))
    environment = {**os.environ, "JOSEPHSON_DATA_DIR": str(whole.parent / "data")}
    command = [sys.executable, "-m", "app", "corpus", "simulation", "--store", str(root), "--recipe", str(recipe)]
    running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(root.glob("rows/*")) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "stopping: what runs is being finished" in said
    assert "the same command goes on with the rest" in said
    rows = len(read_store(root).rows)
    assert rows % 5 in range(5)
    assert f"{rows:,} rows in" in said
    assert store_faults(root) == []


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        PackageMissing, match=r"the store of simulations needs the package 'pyarrow'.*josephson\[train\]"
    ):
        arrow()


def test_a_topology_of_a_store_is_read_back_as_it_was():
    topology = all_topologies()[0]
    record = {"id": topology.id, "type": topology.type, "origin": "archetype", "name": topology.name}
    assert restored_topology({**record, "netlist": topology.text}) == topology
