"""The neural simulator of one circuit: what it predicts, what it learns, and from what it begins."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from app.circuit_model import MOST_ROWS, CircuitModel, Lesson
from app.errors import CorpusMissing, EngineClosed, LimitExceeded, NotLearnt
from app.neural_simulator.arrays import IMPLAUSIBLE, Estimates, RowInputs
from app.neural_simulator.artefact import Predicted
from app.neural_simulator.inputs import Known
from app.predictions import Predictions, load_trained, predictions_of
from app.settings import Settings
from app.simulated_rows import SimulatedRows
from app.simulation_corpus.estimates import bench_estimates
from app.simulations import PreparedBenches
from app.simulators.processes import WorkerPool
from app.sizes.draws import draw
from app.table_simulator.solver import TableSimulator
from app.technologies._base import technologies
from app.technologies._gmid import GmIdTableSource
from app.testbenches._base import testbenches
from app.testbenches._simulator import Bench, BenchSimulator, prepare_bench
from tests.bench_rows import archetype, circuit
from tests.ekv_transistors import EkvTables
from tests.predicting import (
    AnalyticGmId,
    FormulaNetwork,
    drawn,
    no_estimates,
    predictions,
    row_of,
    simulated_rows,
)
from tests.simulated_rows import bench_of

MILLER = "opamp/two_stage_miller"


@pytest.fixture
def network() -> FormulaNetwork:
    return FormulaNetwork()


@pytest.fixture
def made(network: FormulaNetwork) -> Iterator[Predictions]:
    found = predictions(network)
    yield found
    found.close()


@pytest.fixture
def bench() -> Bench:
    return bench_of(MILLER)


def apart(model: CircuitModel, vectors: np.ndarray, truth: Sequence[dict[str, dict[str, float]]]) -> float:
    """The median distance of a model's gains from the truth, in dB."""
    gains = model.predict(vectors).value[:, model.metrics.index("gain_db")]
    return float(np.median(np.abs(gains - [row["metrics"]["gain_db"] for row in truth])))


# --- prediction -----------------------------------------------------------------------------------------------------


def test_a_prediction_has_a_row_a_sizing_and_a_column_a_metric(made: Predictions, bench: Bench):
    model = made.circuit_model(bench)
    told = model.predict(drawn(bench, 5))
    assert told.metrics == model.metrics == tuple(testbenches["opamp"].metric_of)
    for part in (told.value, told.low, told.high, told.defined):
        assert part.shape == (5, len(model.metrics))
        assert np.isfinite(part).all()
    assert (told.low <= told.value).all()
    assert (told.value <= told.high).all()
    assert told.defined[0, -1] == pytest.approx(0.2)


def test_a_standard_deviation_is_told_from_the_intervals(made: Predictions, network: FormulaNetwork, bench: Bench):
    told = made.circuit_model(bench).predict(drawn(bench, 3))
    scale, place = network.scales.of("opamp", "gain_db"), told.metrics.index("gain_db")
    targets = [scale.target(part[:, place]) for part in (told.low, told.value, told.high)]
    width = 0.1 * 1.3 / 1.2816  # the formula's spread, and its reach at 0.8
    np.testing.assert_allclose(np.diff(targets, axis=0), width, rtol=1e-6)


def test_all_metrics_are_told_whichever_the_bench_measures(made: Predictions, bench: Bench):
    few = prepare_bench(bench.topology, bench.testbench, bench.technology, metrics=["gain_db"])
    vectors = drawn(bench, 4)
    every, same = made.circuit_model(bench).predict(vectors), made.circuit_model(few).predict(vectors)
    np.testing.assert_array_equal(every.value, same.value)


def test_what_is_predicted_is_counted_and_timed(made: Predictions, bench: Bench):
    model = made.circuit_model(bench)
    assert (model.evaluations, model.rows_learnt, model.seconds) == (0, 0, 0.0)
    model.predict(drawn(bench, 5))
    model.predict(drawn(bench, 0))
    assert model.evaluations == 5
    assert model.seconds > 0


def test_sizes_that_are_absurd_are_predicted_as_those_at_the_end_of_what_is_told_apart(made: Predictions, bench: Bench):
    vectors = np.tile(drawn(bench, 1), (2, 1))
    vectors[:, 0] = [1e9, 1e300]
    told = made.circuit_model(bench).predict(vectors)
    np.testing.assert_array_equal(told.value[0], told.value[1])


def test_physics_goes_in_where_there_are_tables(network: FormulaNetwork, bench: Bench):
    made = predictions(network, partial(bench_estimates, TableSimulator(EkvTables())))
    vectors = drawn(bench, 4)
    model, plain = made.circuit_model(bench), made.circuit_model(bench, physics=False)
    assert not np.array_equal(model.predict(vectors).value, plain.predict(vectors).value)
    assert model.physics_note is plain.physics_note is None
    made.close()


def test_without_tables_there_is_a_sentence_in_place_of_physics(made: Predictions, bench: Bench):
    model = made.circuit_model(bench)
    model.predict(drawn(bench, 1))
    assert model.physics_note == "there are no tables"


def test_what_was_never_learnt_cannot_be_told(made: Predictions):
    mixer = prepare_bench(archetype("mixer/bipolar_gilbert"), testbenches["mixer"], technologies["generic180"])
    with pytest.raises(NotLearnt, match="has not learnt the testbench 'mixer'"):
        made.circuit_model(mixer)


def test_a_circuit_that_is_too_large_is_refused(made: Predictions):
    loads = [f"R{number} VOUT1 VSS 1k" for number in range(1, 202)]
    large = circuit("VIN1 VIN2 VOUT1", "M1 VOUT1 VIN1 VSS VSS nmos4", "M2 VOUT1 VIN2 VDD VDD pmos4", *loads)
    with pytest.raises(LimitExceeded, match="simulate instead"):
        made.circuit_model(prepare_bench(large, testbenches["opamp"], technologies["generic180"]))


def test_without_a_trained_model_there_is_none_of_a_circuit(tmp_path: Path, bench: Bench):
    made = Predictions(lambda: load_trained(tmp_path / "simulator"), PreparedBenches(AnalyticGmId()), no_estimates)
    with pytest.raises(CorpusMissing):
        made.circuit_model(bench)
    made.close()


def test_a_model_of_closed_predictions_says_so(network: FormulaNetwork, bench: Bench):
    made = predictions(network)
    model = made.circuit_model(bench)
    made.close()
    with pytest.raises(EngineClosed):
        model.predict(drawn(bench, 1))


# --- learning -------------------------------------------------------------------------------------------------------


def test_what_is_learnt_of_a_circuit_brings_predictions_nearer(made: Predictions, bench: Bench):
    model = made.circuit_model(bench)
    truth = simulated_rows(made.circuit_model(bench), drawn(bench, 40))
    vectors = drawn(bench, 20, seed=2)
    unseen = simulated_rows(made.circuit_model(bench), vectors)
    before = apart(model, vectors, unseen)
    model.learn(truth)
    assert model.rows_learnt == 40
    assert apart(model, vectors, unseen) < before / 3
    assert model.predict(vectors).defined[:, -1].max() < 0.1  # no row had the last metric


def test_errors_are_those_before_a_row_was_learnt_from(made: Predictions, bench: Bench):
    model, vectors = made.circuit_model(bench), drawn(bench, 48)
    truth = simulated_rows(made.circuit_model(bench), vectors)
    for start in range(0, 48, 12):
        model.predict(vectors[:1])
        model.learn(truth[start : start + 12])
    errors = model.errors()
    assert [each.index for each in errors] == list(range(48))
    assert errors[0].error == errors[0].plain
    assert set(errors[0].error) == set(model.metrics[:-1])
    beginning, end = ([each.error["gain_db"] for each in part] for part in (errors[:4], errors[-4:]))
    assert np.median(end) < np.median(beginning) / 3
    assert np.median([each.plain["gain_db"] for each in errors[-4:]]) > np.median(beginning) / 3


def test_rows_that_have_nothing_to_tell_change_nothing(made: Predictions, bench: Bench):
    model, vectors = made.circuit_model(bench), drawn(bench, 3)
    before = model.predict(vectors)
    model.learn([bench.failed_row(0, bench.space.start, "timeout", "it took too long")])
    model.learn([])
    assert (model.rows_learnt, model.errors()) == (0, ())
    np.testing.assert_array_equal(model.predict(vectors).value, before.value)


def test_a_row_that_the_network_has_no_number_for_is_not_learnt_from(bench: Bench):
    class Broken(FormulaNetwork):
        def predict(self, rows: RowInputs, known: Known | None = None) -> Predicted:
            found = super().predict(rows, known)
            found.mean[0] = np.nan
            return found

    made = predictions(Broken())
    model, vectors = made.circuit_model(bench), drawn(bench, 6)
    rows = [row_of(bench, vector, {"gain_db": 50.0}) for vector in vectors]
    model.learn(rows[:1])
    assert model.rows_learnt == 0
    model.learn(rows)
    assert model.rows_learnt == 5
    told = model.predict(vectors)
    assert np.isnan(told.value[0]).all()
    assert np.isfinite(told.value[1:]).all()
    made.close()


def test_values_that_no_circuit_can_have_are_not_learnt(made: Predictions, bench: Bench):
    model, vectors = made.circuit_model(bench), drawn(bench, 12)
    lesson = model.lesson([row_of(bench, vector, {"gain_db": 480.0, "area_m2": 1e-10}) for vector in vectors])
    assert lesson is not None
    gain, area = (model.metrics.index(name) for name in ("gain_db", "area_m2"))
    assert np.isnan(lesson.rows.values[:, gain]).all()
    assert (lesson.rows.causes[:, gain] == IMPLAUSIBLE).all()
    np.testing.assert_allclose(lesson.rows.values[:, area], 1e-10)


def test_metrics_that_rows_do_not_have_stay_as_they_are(made: Predictions, bench: Bench):
    model, vectors = made.circuit_model(bench), drawn(bench, 12)
    before = model.predict(vectors)
    gains = before.value[:, model.metrics.index("gain_db")]
    model.learn([row_of(bench, vector, {"gain_db": gain + 9}) for vector, gain in zip(vectors, gains, strict=True)])
    after = model.predict(vectors)
    same = [place for place, name in enumerate(model.metrics) if name != "gain_db"]
    np.testing.assert_array_equal(after.value[:, same], before.value[:, same])
    assert (after.value[:, model.metrics.index("gain_db")] > gains + 3).all()


def test_a_sizing_that_is_learnt_twice_counts_once_and_only_so_many_are_kept(made: Predictions, bench: Bench):
    model, vectors = made.circuit_model(bench), drawn(bench, 6)
    rows = simulated_rows(made.circuit_model(bench), vectors)
    lesson = model.lesson(rows)
    assert lesson is not None
    assert len(lesson) == 6
    twice = Lesson.of([lesson, lesson.newest(2)])
    assert twice is not None
    np.testing.assert_array_equal(twice.rows.sizes, lesson.rows.sizes)
    again = Lesson.of([lesson, lesson.take(np.array([0]))])
    assert again is not None
    np.testing.assert_array_equal(again.rows.sizes, np.roll(lesson.rows.sizes, -1, axis=0))
    assert Lesson.of([]) is None
    assert lesson.newest(MOST_ROWS) is lesson


def test_what_is_learnt_in_one_corner_is_known_in_the_others(made: Predictions):
    nominal, slow = bench_of(MILLER), bench_of(MILLER, supply_v=1.62, celsius=85.0)
    alone = made.circuit_model(slow)
    models = made.circuit_models([nominal, slow])
    vectors = drawn(slow, 20, seed=2)
    unseen = simulated_rows(alone, vectors)
    models[0].learn(simulated_rows(made.circuit_model(nominal), drawn(nominal, 40)))
    assert models[1].rows_learnt == 40
    assert apart(models[1], vectors, unseen) < apart(alone, vectors, unseen) / 2
    assert models[1].errors() == ()


def test_several_threads_may_share_a_model(made: Predictions, bench: Bench):
    model, vectors = made.circuit_model(bench), drawn(bench, 32)
    truth = simulated_rows(made.circuit_model(bench), vectors)
    failures: list[BaseException] = []

    def work(part: int) -> None:
        try:
            for start in range(part, 32, 8):
                model.learn(truth[start : start + 2])
                model.predict(vectors)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(part,)) for part in range(0, 8, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert (model.evaluations, model.rows_learnt, len(model.errors())) == (16 * 32, 32, 32)
    assert [each.index for each in model.errors()] == list(range(32))


# --- what was simulated before --------------------------------------------------------------------------------------


def test_a_model_begins_with_what_was_simulated_here(network: FormulaNetwork, bench: Bench, tmp_path: Path):
    store = SimulatedRows(tmp_path)
    made = predictions(network, simulated=store)
    plain = made.circuit_model(bench, from_store=False)
    vectors = drawn(bench, 20, seed=2)
    unseen = simulated_rows(plain, vectors)
    store.add(bench, simulated_rows(plain, drawn(bench, 40)))
    model = made.circuit_model(bench)
    assert (model.rows_learnt, model.errors(), plain.rows_learnt) == (40, (), 0)
    assert apart(model, vectors, unseen) < apart(plain, vectors, unseen) / 3
    made.close()


def test_rows_of_other_corners_help_where_there_are_few_of_this_one(
    network: FormulaNetwork, bench: Bench, tmp_path: Path
):
    store = SimulatedRows(tmp_path)
    made = predictions(network, simulated=store)
    slow = bench_of(MILLER, supply_v=1.62, celsius=85.0)
    store.add(slow, simulated_rows(made.circuit_model(slow, from_store=False), drawn(slow, 30)))
    store.add(bench, simulated_rows(made.circuit_model(bench, from_store=False), drawn(bench, 3)))
    assert made.circuit_model(bench).rows_learnt == 33
    made.close()


def test_rows_without_estimates_are_left_out_where_others_have_them(
    network: FormulaNetwork, bench: Bench, tmp_path: Path
):
    simulator, hot = TableSimulator(EkvTables()), bench_of(MILLER, celsius=85.0)

    def estimate(
        bench: Bench, vectors: np.ndarray, metrics: Sequence[str], devices: Sequence[str], /
    ) -> tuple[Estimates, str | None]:
        if bench.corner == hot.corner:
            return no_estimates(bench, vectors, metrics, devices)
        return bench_estimates(simulator, bench, vectors, metrics, devices)

    store = SimulatedRows(tmp_path)
    made = predictions(network, estimate, store)
    for each, count in ((hot, 9), (bench, 5)):
        store.add(each, simulated_rows(made.circuit_model(each, from_store=False), drawn(each, count)))
    assert made.circuit_model(bench).rows_learnt == 5
    made.close()


# --- the shipped model ----------------------------------------------------------------------------------------------


@pytest.mark.simulator
def test_the_shipped_model_learns_from_ngspice(ngspice: WorkerPool, tmp_path: Path):
    benches = PreparedBenches(GmIdTableSource(ngspice, tmp_path / "gmid"))
    made = predictions_of(Settings(data_dir=tmp_path), benches, ngspice)
    found = bench_of("opamp/folded_cascode")
    vectors = np.array([draw(found.space, found.space.start, "guided", 7, index) for index in range(36)])
    rows = sorted(BenchSimulator(ngspice).run(found, vectors.tolist()), key=lambda row: int(row["index"]))
    model = made.circuit_model(found)
    for start in range(0, 36, 12):
        model.predict(vectors[:1])
        model.learn(rows[start : start + 12])
    last = model.errors()[-12:]
    adapted = [error for each in last for error in each.error.values()]
    plain = [error for each in last for error in each.plain.values()]
    assert model.physics_note is None
    assert np.median(adapted) < 0.8 * np.median(plain)
    made.close()
