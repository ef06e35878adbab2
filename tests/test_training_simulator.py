"""A neural simulator from prepared rows to a folder that predicts; no simulator runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import CorpusMissing, InvalidRequest, ModelDamaged, UnknownName
from app.neural_simulator.arrays import CIRCUIT, DEFINED, SIMULATOR, Rows, Structure
from app.neural_simulator.artefact import NeuralSimulator, has_estimates
from app.neural_simulator.dataset import PreparedSimulations
from app.neural_simulator.features import Sizings
from app.neural_simulator.inputs import Known
from app.neural_simulator.splits import CALIBRATION, TEST, TRAINING, ModelSplit
from app.training.simulator import SimulatorRecipe, SimulatorShape, read_simulator_recipe
from app.training.simulator_run import SimulatorRun, model_split, recalibrated, sides_of, train_simulator
from tests.simulated_rows import prepared_of

RECIPE = SimulatorRecipe(
    "simulator", "toy", rows=1_500, batch_rows=64, circuit_rows=32, warmup_rows=100, ema_rows=200, precision="float32",
    network=SimulatorShape(width=16, heads=2, element_layers=1, metric_layers=1, mlp_width=16, message_width=2),
)  # fmt: skip

CIRCUITS = ("opamp/folded_cascode", "opamp/five_transistor_ota", "current_mirror/wilson")


@pytest.fixture(scope="module")
def simulations() -> PreparedSimulations:
    return prepared_of(CIRCUITS, 80)


@pytest.fixture(scope="module")
def folder(simulations: PreparedSimulations, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulator")
    assert train_simulator(SimulatorRun(RECIPE, path / "work", path / "model"), simulations) is not None
    return path / "model"


@pytest.fixture
def simulator(folder: Path) -> NeuralSimulator:
    return NeuralSimulator.load(folder)


def some_rows(simulations: PreparedSimulations) -> Rows:
    return next(iter(simulations.rows()))


def test_the_sides_share_no_row_and_hold_every_row(simulations: PreparedSimulations):
    split = model_split(simulations, 1)
    sides = sides_of(simulations, split)
    counts = {side: sum(int((split.sides(rows) == side).sum()) for rows in simulations.rows()) for side in range(3)}
    assert sum(len(rows) for _, _, rows in sides.training) == counts[TRAINING] > 0
    assert sum(map(len, (*sides.calibration, *sides.new))) == counts[CALIBRATION]
    assert sum(counts.values()) == len(simulations)
    assert counts[TEST] > 0


def test_a_split_is_told_and_made_again(simulations: PreparedSimulations):
    split = model_split(simulations, 3)
    again = ModelSplit.from_json(split.as_json())
    for rows in simulations.rows():
        np.testing.assert_array_equal(split.sides(rows), again.sides(rows))


def test_a_technology_that_is_left_out_is_for_the_test(simulations: PreparedSimulations):
    split = model_split(simulations, 1, "generic180")
    rows = some_rows(simulations)
    assert set(split.sides(rows).tolist()) == {TEST}
    assert split.is_new(rows)
    with pytest.raises(InvalidRequest, match="no simulations are left to learn from"):
        train_simulator(SimulatorRun(RECIPE, Path("work"), Path("model"), left_out="generic180"), simulations)
    with pytest.raises(UnknownName, match="no technology of the simulations named 'sky130'"):
        model_split(simulations, 1, "sky130")


def test_a_trained_simulator_predicts_what_it_was_shown_better_than_nothing(
    simulator: NeuralSimulator, simulations: PreparedSimulations
):
    # The first metric is estimated without an error: the only one that can be told of random values.
    rows = some_rows(simulations)
    predicted = simulator.predict(rows)
    targets = simulator.scales.targets(rows.structure, rows.values)
    error = np.nanmean((predicted.mean[:, 0] - targets[:, 0]) ** 2)
    assert error < 0.2 * np.nanvar(targets[:, 0])
    plain = simulator.predict(rows.plain())
    assert np.nanmean((plain.mean[:, 0] - targets[:, 0]) ** 2) > 2 * error
    assert predicted.has_estimates.all()
    assert not plain.has_estimates.any()


def test_predictions_have_every_shape_and_are_finite(simulator: NeuralSimulator, simulations: PreparedSimulations):
    rows = some_rows(simulations)
    predicted = simulator.predict(rows)
    shape = rows.values.shape
    assert predicted.mean.shape == predicted.spread.shape == predicted.defined.shape == shape
    assert np.isfinite(predicted.mean).all()
    assert (predicted.spread > 0).all()
    assert ((predicted.defined >= 0) & (predicted.defined <= 1)).all()
    assert predicted.distance.shape == (len(rows),)
    assert len(simulator.predict(rows.take(np.arange(0))).mean) == 0


def test_intervals_hold_the_share_of_calibration_rows_that_they_say(
    simulator: NeuralSimulator, simulations: PreparedSimulations
):
    sides = sides_of(simulations, ModelSplit.from_json(simulator.training["split"]))
    inside, count = 0, 0
    for rows in sides.calibration:
        predicted = simulator.predict(rows)
        low, high = simulator.ends(rows, predicted, 0.8)
        targets = simulator.scales.targets(rows.structure, rows.values)
        inside += int(((targets >= low) & (targets <= high)).sum())
        count += int(np.isfinite(targets).sum())
    assert 0.75 <= inside / count <= 0.95


def test_intervals_are_set_anew_without_training_and_are_the_same_on_the_same_simulations(
    simulator: NeuralSimulator, simulations: PreparedSimulations
):
    anew = recalibrated(simulator, simulations)
    assert anew.network is simulator.network
    for kind, intervals in simulator.intervals.items():
        for ours, theirs in zip(anew.intervals[kind].as_json()["groups"], intervals.as_json()["groups"], strict=True):
            assert ours["reaches"] == pytest.approx(theirs["reaches"], rel=0.02)  # weights were rounded since
    with pytest.raises(InvalidRequest, match="trained on other simulations than these"):
        recalibrated(simulator, replace(simulations, runs=()))


def test_sizes_alone_are_no_estimates(simulations: PreparedSimulations):
    rows = some_rows(simulations)
    area = rows.structure.metrics.index("area_m2")
    assert has_estimates(rows).all()
    causes = np.full(rows.estimate_causes.shape, SIMULATOR, dtype=np.int8)
    causes[:, area] = DEFINED
    assert not has_estimates(replace(rows, estimate_causes=causes)).any()
    causes[1, area - 1] = CIRCUIT
    assert has_estimates(replace(rows, estimate_causes=causes)).tolist() == [row == 1 for row in range(len(rows))]


def test_what_is_known_comes_back_and_is_certain(simulator: NeuralSimulator, simulations: PreparedSimulations):
    rows = some_rows(simulations)
    values = np.full(rows.values.shape, np.nan)
    values[:, 1] = rows.values[:, 1]
    has_none = np.zeros(values.shape, dtype=np.bool_)
    has_none[:, 2] = True
    predicted = simulator.predict(rows, Known(values, has_none))
    targets = simulator.scales.targets(rows.structure, rows.values)
    np.testing.assert_allclose(predicted.mean[:, 1], targets[:, 1])
    assert (predicted.defined[:, 1] == 1).all()
    assert (predicted.defined[:, 2] == 0).all()
    low, high = simulator.ends(rows, predicted, 0.9)
    np.testing.assert_array_equal(low[:, 1], high[:, 1])


def test_a_testbench_that_was_never_learnt_is_named(simulator: NeuralSimulator, simulations: PreparedSimulations):
    rows = some_rows(simulations)
    told: dict[str, Any] = vars(rows.structure) | {"testbench": "mixer"}
    with pytest.raises(
        UnknownName, match="no testbench of the neural simulator named 'mixer'; known: current_mirror, op"
    ):
        simulator.predict(replace(rows, structure=Structure(**told)))


def test_the_same_simulations_and_recipe_make_the_same_model(
    folder: Path, simulations: PreparedSimulations, tmp_path: Path
):
    again = train_simulator(SimulatorRun(RECIPE, tmp_path / "work", tmp_path / "model"), simulations)
    assert again is not None
    first, rows = NeuralSimulator.load(folder), some_rows(simulations)
    np.testing.assert_array_equal(first.predict(rows).mean, again.predict(rows).mean)


def test_a_run_that_was_stopped_goes_on_as_if_nothing_had_been(
    folder: Path, simulations: PreparedSimulations, tmp_path: Path
):
    run = SimulatorRun(RECIPE, tmp_path / "work", tmp_path / "model")
    stops = iter([False, False, True])
    assert train_simulator(run, simulations, stop=lambda: next(stops)) is None
    resumed = train_simulator(run, simulations)
    assert resumed is not None
    rows = some_rows(simulations)
    np.testing.assert_array_equal(NeuralSimulator.load(folder).predict(rows).mean, resumed.predict(rows).mean)


def test_a_state_of_other_simulations_is_refused(simulations: PreparedSimulations, tmp_path: Path):
    run = SimulatorRun(RECIPE, tmp_path / "work", tmp_path / "model")
    assert train_simulator(run, simulations, stop=lambda: True) is None
    fewer = prepared_of(CIRCUITS[:2], 80)
    with pytest.raises(InvalidRequest, match=r"is of another corpus: \d+ rows in 3 groups, now \d+ rows in 2 groups"):
        train_simulator(run, fewer)


def test_a_folder_without_a_model_and_a_damaged_one_are_told_apart(folder: Path, tmp_path: Path):
    with pytest.raises(CorpusMissing, match=r"there is no neural simulator in .*josephson train simulator"):
        NeuralSimulator.load(tmp_path)
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelDamaged, match=r"weights\.safetensors does not match its checksum"):
        NeuralSimulator.load(tmp_path)


def test_experience_says_in_what_a_request_is_new(simulator: NeuralSimulator, simulations: PreparedSimulations):
    group = simulations.groups[0]
    experience = simulator.experience
    assert experience.knows(group.topology_id, group.testbench, "generic180")
    inside = group.sizings.take(
        np.flatnonzero(model_split(simulations, 1).sides(some_rows(simulations)) == TRAINING)[:2]
    )
    assert experience.reasons(group.wired, "generic180", inside) == [[], []]
    first = group.variables[0].name
    wide = Sizings(inside.sizes * 100, inside.supply_v, inside.celsius + 200, inside.process, inside.settings)
    told = experience.reasons(group.wired, "generic180", wide)[0]
    assert any("a temperature of" in reason for reason in told)
    assert any(" were " in reason for reason in told), first
    assert any("more sizes are outside" in reason for reason in told)
    other = experience.reasons(group.wired, "sky130", inside)[0]
    assert other == ["technology sky130 was not learnt from"]


def test_the_nearest_row_of_a_row_that_is_kept_is_itself(simulator: NeuralSimulator, simulations: PreparedSimulations):
    group = simulations.groups[0]
    training = model_split(simulations, 1).sides(some_rows(simulations)) == TRAINING
    sizes = group.sizings.sizes[training]
    names = [variable.name for variable in group.variables]
    found = simulator.nearest.find(group.netlist, group.testbench, "generic180", names, sizes, 1.8, 27.0, 3)
    distances = np.array([[row.distance for row in each] for each in found])
    assert distances.shape == (len(sizes), 3)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert (distances[:, 0] < 1e-6).sum() == 40
    near = found[int(distances[:, 0].argmin())][0]
    assert near.technology == "generic180"
    assert set(near.metrics) == set(group.metrics)
    mixed = simulator.nearest.find(
        group.netlist, group.testbench, "generic180", names[::-1], sizes[:, ::-1], 1.8, 27.0, 3
    )
    assert [[row.sizes for row in each] for each in mixed] == [[row.sizes for row in each] for each in found]
    other = simulations.groups[1].netlist
    assert simulator.nearest.find(other, group.testbench, "generic180", names, sizes[:1], 1.8, 27.0, 3) == [[]]
    assert simulator.nearest.find(group.netlist, group.testbench, "generic180", ["w"], sizes[:1], 1.8, 27.0, 3) == [[]]
    elsewhere = simulator.nearest.find(group.netlist, group.testbench, "sky130", names, sizes[:1], 1.8, 27.0, 1)
    assert elsewhere[0][0].technology == "generic180"


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_recipes_that_ship_can_be_read(name: str):
    recipe = read_simulator_recipe(name)
    assert recipe.kind == "simulator"
    assert recipe.rows > 100_000


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('kind = "analog"\nname = "x"\nrows = 1', r"toy\.toml is a recipe for analog, not for simulator"),
        ('kind = "simulator"\nname = "x"', r"toy\.toml: key 'rows' is missing"),
        ('kind = "simulator"\nname = "x"\nrows = 0', r"toy\.toml: rows = 0 is too small"),
        ('kind = "simulator"\nname = "x"\nrows = 1\nrow = 1', r"toy\.toml: unknown key 'row'"),
        ('kind = "simulator"\nname = "x"\nrows = 1\n[network]\nwidth = 10', "a width of 10 does not divide into heads"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(tmp_path: Path, text: str, sentence: str):
    path = tmp_path / "toy.toml"
    path.write_text(text)
    with pytest.raises(InvalidRequest, match=sentence):
        read_simulator_recipe(str(path))
