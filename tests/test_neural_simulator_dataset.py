"""Prepared files of simulations: they give back what was written, and are refused where they cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import CorpusMissing, InvalidRequest
from app.neural_simulator.arrays import FACTS
from app.neural_simulator.dataset import PreparedSimulations, shortened
from app.neural_simulator.features import Sizings, WiredTopology, condition_features, element_features
from tests.simulated_rows import PROFILE, bench_of, prepared_of, vectors_of

NAMES = ("opamp/two_stage_ahuja", "amplifier/bipolar_differential_pair", "lna/common_gate")

ABSENT = ("PySpice", "pyarrow", "torch", "qiskit", "sklearn", "pydantic", "sqlalchemy")


@pytest.fixture(scope="module")
def prepared() -> PreparedSimulations:
    return prepared_of(NAMES, 40)


@pytest.fixture(scope="module")
def file(prepared: PreparedSimulations, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prepared") / "new" / "simulations.npz"
    prepared.save(path)
    return path


def test_a_prepared_file_holds_every_number_and_where_it_came_from(prepared: PreparedSimulations, file: Path):
    read = PreparedSimulations.load(file)
    assert len(read) == len(prepared) == 120
    assert read.runs == prepared.runs
    assert read.topologies == prepared.topologies
    for ours, theirs in zip(read.groups, prepared.groups, strict=True):
        for name in ("topology_id", "testbench", "technology", "netlist", "variables", "ports", "following", "metrics",
                     "devices"):  # fmt: skip
            assert getattr(ours, name) == getattr(theirs, name)
    for rows, written in zip(read.rows(), prepared.rows(), strict=True):
        assert rows.technology == written.technology
        for name, theirs in vars(written).items():
            if not isinstance(theirs, np.ndarray):
                continue
            ours = getattr(rows, name)
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
        for name in ("kinds", "nets", "shared"):
            np.testing.assert_array_equal(getattr(rows.structure, name), getattr(written.structure, name))
    (profile,) = read.profiles.values()
    assert (profile.name, profile.supply_v, profile.processes) == ("generic180", 1.8, ("tt", "ss", "ff"))
    np.testing.assert_array_equal(profile.levels, PROFILE.levels)
    np.testing.assert_array_equal(profile.descriptors, PROFILE.descriptors)
    assert [entry.name for entry in file.parent.iterdir()] == ["simulations.npz"]


@pytest.mark.parametrize("name", NAMES)
def test_a_sizing_that_nobody_simulated_has_the_features_of_the_same_row(file: Path, name: str):
    rows = list(PreparedSimulations.load(file).rows())[NAMES.index(name)]
    bench = bench_of(name)
    wired = WiredTopology.of_bench(bench, rows.structure.topology_id)
    sizings = Sizings.of_bench(bench, vectors_of(bench, 40))
    assert wired.structure.names == rows.structure.names
    assert wired.structure.metrics == rows.structure.metrics
    np.testing.assert_array_equal(wired.structure.shared, rows.structure.shared)
    np.testing.assert_array_equal(element_features(wired, PROFILE, sizings), rows.elements)
    np.testing.assert_array_equal(condition_features(wired.structure, PROFILE, sizings), rows.conditions)


def test_facts_stand_at_their_transistors(prepared: PreparedSimulations):
    for group, rows in zip(prepared.groups, prepared.rows(), strict=True):
        assert rows.facts.shape == (40, len(rows.structure.names), len(FACTS))
        for place, name in enumerate(rows.structure.names):
            if name in group.devices:
                device = group.devices.index(name)
                np.testing.assert_array_equal(rows.facts[:, place], group.facts[:, device])
                np.testing.assert_array_equal(rows.estimated_facts[:, place], group.estimates.facts[:, device])
            else:
                assert np.isnan(rows.facts[:, place]).all()
                assert np.isnan(rows.estimated_facts[:, place]).all()


def test_shortened_numbers_are_the_nearest_of_few_digits():
    numbers = np.array([1e-5 / 3, -1.8, 0.0, np.nan, -np.inf, 1e300])
    short = shortened(numbers, 12)
    assert short.dtype == np.float32
    np.testing.assert_allclose(short[:3], numbers[:3], rtol=1 / 4000)
    assert (short[:3].view(np.uint32) & 0xFFF == 0).all()
    assert np.isnan(short[3])
    assert 1e38 < short[5] == -short[4] < np.inf


def test_no_simulations_are_a_file_too(tmp_path: Path):
    PreparedSimulations((), {}, {}, ()).save(tmp_path / "none.npz")
    read = PreparedSimulations.load(tmp_path / "none.npz")
    assert len(read) == 0
    assert list(read.rows()) == []


def test_a_prepared_file_is_read_where_neither_simulator_nor_arrow_nor_torch_is(file: Path):
    program = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({ABSENT!r}))\n"
        "from pathlib import Path\n"
        "from app.neural_simulator.dataset import PreparedSimulations\n"
        "print(sum(map(len, PreparedSimulations.load(Path(sys.argv[1])).rows())))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("120", "")


def test_a_file_that_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(CorpusMissing, match=r"no prepared simulations at .*x\.npz; write them with 'josephson train"):
        PreparedSimulations.load(tmp_path / "x.npz")


def test_a_file_that_cannot_be_written_is_said(prepared: PreparedSimulations, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidRequest, match=r"simulations\.npz cannot be written: File exists"):
        prepared.save(tmp_path / "file" / "simulations.npz")


def rewritten(file: Path, folder: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Path:
    """The file with its words and arrays changed."""
    with np.load(file) as data:
        arrays: dict[str, Any] = {name: data[name] for name in data.files}
    about = json.loads(str(arrays["about"]))
    change(about, arrays)
    arrays["about"] = np.array(json.dumps(about))
    np.savez(folder / "bad.npz", **arrays)
    return folder / "bad.npz"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda about, arrays: arrays.update(format=np.array(7)),
         r"bad\.npz is of format 7, this version reads format 2; prepare it anew"),
        (lambda about, arrays: arrays.update(values=arrays["values"][:-5]),
         r"bad\.npz is no prepared file of simulations: cannot reshape array"),
        (lambda about, arrays: arrays.update(sizes=np.append(arrays["sizes"], 1.0)),
         r"bad\.npz is damaged: its parts do not belong together; prepare it anew"),
        (lambda about, arrays: arrays.pop("causes"),
         r"bad\.npz is no prepared file of simulations: 'causes'"),
        (lambda about, arrays: arrays.pop("estimates"),
         r"bad\.npz is no prepared file of simulations: 'estimates'"),
        (lambda about, arrays: arrays.update(estimate_causes=arrays["estimate_causes"][:-1]),
         r"bad\.npz is no prepared file of simulations: cannot reshape array"),
        (lambda about, arrays: about["settings"].update(opamp=["load_f"]),
         r"bad\.npz was prepared when the testbench 'opamp' was another one; prepare it anew"),
        (lambda about, arrays: about["settings"].update(seismograph=[]),
         r"bad\.npz was prepared when the testbench 'seismograph' was another one; prepare it anew"),
        (lambda about, arrays: about["facts"].append("cgg"),
         r"bad\.npz was prepared with other facts of operating points than id, gm, gds, vgs, vds, vth; prepare it"),
        (lambda about, arrays: about["groups"][0].update(ports={"tail": "VIN1"}),
         r"bad\.npz is no prepared file of simulations: no testbench has a 'tail'"),
        (lambda about, arrays: next(iter(about["topologies"].values())).update(text="M1 a b\n"),
         r"bad\.npz is no prepared file of simulations: line 1"),
        (lambda about, arrays: about["groups"][0]["variables"][0].pop("unit"),
         r"bad\.npz is no prepared file of simulations: .*missing 1 required positional argument: 'unit'"),
        (lambda about, arrays: about["groups"][0]["devices"].__setitem__(0, "M99"),
         r"bad\.npz is no prepared file of simulations: facts are of M99, which the circuit does not have"),
        (lambda about, arrays: about["technologies"][0].update(processes=["ss", "ff"]),
         r"bad\.npz is no prepared file of simulations: no process corner in the tables of generic180 named 'tt'"),
        (lambda about, arrays: about["groups"][0].update(technology="sky103"),
         r"bad\.npz is no prepared file of simulations: 'sky103'"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(file: Path, tmp_path: Path, change: Any, sentence: str):
    with pytest.raises(InvalidRequest, match=sentence):
        PreparedSimulations.load(rewritten(file, tmp_path, change))


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_file_with_wrong_bytes_is_refused(file: Path, tmp_path: Path, place: float):
    content = bytearray(file.read_bytes())
    start = int(len(content) * place)
    content[start : start + 200] = bytes(200)
    (tmp_path / "bad.npz").write_bytes(content)
    (tmp_path / "short.npz").write_bytes(content[:start])
    for name in ("bad", "short"):
        with pytest.raises(InvalidRequest, match=rf"{name}\.npz is no prepared file of simulations: "):
            PreparedSimulations.load(tmp_path / f"{name}.npz")
