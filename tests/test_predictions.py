"""Prediction requests on this machine: what is refused, what is answered with a flag, whose rows are whose."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pytest

from app.errors import (
    CorpusMissing,
    EngineClosed,
    InvalidInput,
    InvalidRequest,
    LimitExceeded,
    ModelDamaged,
    NotLearnt,
    SpiceSyntaxError,
    UnknownName,
)
from app.neural_simulator.arrays import DEFINED, Estimates, RowInputs
from app.neural_simulator.artefact import NAME, Predicted
from app.neural_simulator.inputs import Known
from app.neural_simulator.scales import Scales
from app.predictions import Predictions, load_trained
from app.requests import MAX_JOB_COUNT, NEURAL_SIMULATOR, AnalogGenerateRequest, AnalogPredictRequest
from app.simulated_rows import SimulatedRows
from app.simulation_corpus.estimates import bench_estimates
from app.simulations import PreparedBenches
from app.table_simulator.solver import TableSimulator
from app.testbenches._base import testbenches
from app.testbenches._simulator import Bench
from app.workshop import Row
from tests.bench_workshop import PAIR
from tests.ekv_transistors import EkvTables
from tests.predicting import (
    LDO,
    MILLER,
    STRONGARM,
    AnalyticGmId,
    FormulaNetwork,
    no_estimates,
    predictions,
    simulated_rows,
)
from tests.predicting import drawn as sizings_of

Result = TypeVar("Result")

KIND = "analog.predict"


@pytest.fixture
def network() -> FormulaNetwork:
    return FormulaNetwork()


@pytest.fixture
def made(network: FormulaNetwork) -> Iterator[Predictions]:
    found = predictions(network)
    yield found
    network.gate.set()
    found.close()


def asked(**fields: Any) -> AnalogPredictRequest:
    return AnalogPredictRequest.model_validate({"netlist": MILLER, "testbench": "opamp", **fields})


def drawn(count: int, **fields: Any) -> AnalogPredictRequest:
    return asked(draw={"count": count}, seed=5, **fields)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """What the work returns; one that waits for ever fails the test."""

    async def bounded() -> Result:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(bounded())


async def collect(made: Predictions, request: AnalogPredictRequest, indices: Sequence[int] | None = None) -> list[Row]:
    prepared = made.prepare(KIND, request)
    indices = range(prepared.row_count) if indices is None else indices
    return [row async for row in made.produce(KIND, prepared, indices)]


def rows_of(made: Predictions, request: AnalogPredictRequest, indices: Sequence[int] | None = None) -> list[Row]:
    found = run(collect(made, request, indices))
    json.dumps(found, allow_nan=False)
    return found


def timeless(rows: list[Row]) -> list[Row]:
    return [{key: value for key, value in row.items() if key != "timings"} for row in rows]


def wait_for(condition: Callable[[], bool]) -> None:
    """The condition holds; fails after ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- rows -----------------------------------------------------------------------------------------------------------


def test_a_row_is_that_of_the_contract(made: Predictions):
    (row,) = rows_of(made, asked())
    assert set(row) == {
        "index", "status", "sizes", "metrics", "out_of_distribution", "distance", "reasons", "nearest", "timings",
    }  # fmt: skip
    assert (row["index"], row["status"], row["out_of_distribution"], row["reasons"]) == (0, "ok", False, [])
    assert list(row["metrics"]) == list(testbenches["opamp"].metric_of)
    for found in row["metrics"].values():
        assert set(found) == {"value", "low", "high", "defined", "known"}
    heading = made.heading(KIND, made.prepare(KIND, asked()))
    assert row["sizes"] == {each["name"]: each["start"] for each in heading["sizes"]}
    (near,) = row["nearest"]
    assert set(near["sizes"]) == set(row["sizes"])
    assert (near["testbench"], near["technology"]) == ("opamp", "generic180")
    assert set(row["timings"]) == {"predict_s"}


def test_the_heading_says_what_a_simulation_says_and_by_which_model(made: Predictions):
    heading = made.heading(KIND, made.prepare(KIND, asked(corner="ss", level=0.5, metrics=["ugf_hz", "gain_db"])))
    assert heading["corner"] == {"process": "ss", "supply_v": 1.8, "celsius": 27.0}
    assert [each["name"] for each in heading["metrics"]] == ["gain_db", "ugf_hz"]
    assert (heading["model"], heading["level"], heading["topology_known"]) == (NEURAL_SIMULATOR, 0.5, True)
    assert NEURAL_SIMULATOR == NAME
    assert (heading["physics"], heading["physics_note"], heading["seed"]) == (False, "there are no tables", 0)
    assert "physics_note" not in made.heading(KIND, made.prepare(KIND, asked(physics=False)))


def test_an_interval_lies_around_its_value_and_grows_with_its_level(made: Predictions):
    def widths(level: float) -> list[float]:
        (row,) = rows_of(made, asked(level=level))
        told = [found for found in row["metrics"].values() if found["value"] is not None]
        assert all(found["low"] <= found["value"] <= found["high"] for found in told)
        return [found["high"] - found["low"] for found in told]

    half, most = widths(0.5), widths(0.9)
    assert all(narrow < wide for narrow, wide in zip(half, most, strict=True))


def test_what_likely_has_no_value_has_neither_value_nor_interval(made: Predictions):
    (row,) = rows_of(made, asked())
    last = row["metrics"][testbenches["opamp"].metrics[-1].name]
    assert last == {"value": None, "low": None, "high": None, "defined": 0.2, "known": False}


def test_an_interval_that_is_not_known_to_end_is_open(made: Predictions):
    (row,) = rows_of(made, asked(level=0.95))  # without estimates no finite reach was enough at this level
    told = row["metrics"]["gain_db"]
    assert told["value"] is not None
    assert (told["low"], told["high"]) == (None, None)


def test_only_the_metrics_that_are_asked_for_are_told_and_they_are_those_of_all(made: Predictions):
    (every,) = rows_of(made, asked())
    (some,) = rows_of(made, asked(metrics=["ugf_hz", "gain_db"]))
    assert some["metrics"] == {name: every["metrics"][name] for name in ("gain_db", "ugf_hz")}


def test_as_many_near_rows_are_shown_as_are_asked_for_the_nearest_first(made: Predictions):
    (row,) = rows_of(made, asked(nearest=10))
    distances = [near["distance"] for near in row["nearest"]]
    assert len(distances) == 10
    assert distances == sorted(distances)
    assert rows_of(made, asked(nearest=0))[0]["nearest"] == []


def test_a_row_depends_on_seed_and_index_and_not_on_its_company(made: Predictions):
    whole = timeless(rows_of(made, drawn(12)))
    pieces = [timeless(rows_of(made, drawn(12), part)) for part in ([11, 3], [0, 1, 2], range(4, 11))]
    assert sorted((row for piece in pieces for row in piece), key=lambda row: int(row["index"])) == whole
    other = rows_of(made, drawn(12).model_copy(update={"seed": 6}))
    assert not any(a["sizes"] == b["sizes"] for a, b in zip(whole, other, strict=True))


def test_rows_come_by_index_and_go_through_the_network_in_large_batches(made: Predictions, network: FormulaNetwork):
    rows = rows_of(made, drawn(2000, nearest=0))
    assert [row["index"] for row in rows] == list(range(2000))
    assert sum(network.batches) == 2000
    assert len(network.batches) <= 4
    assert len(network.threads) == 1


def test_a_few_of_a_million_sizings_are_made_without_the_others(made: Predictions, network: FormulaNetwork):
    rows = rows_of(made, drawn(MAX_JOB_COUNT), range(999_990, 1_000_000))
    assert [row["index"] for row in rows] == list(range(999_990, 1_000_000))
    assert network.batches == [10]


def test_a_prepared_request_is_prepared_once_more_without_change(made: Predictions):
    prepared = made.prepare(KIND, drawn(2, corner="ss", known=[{"gain_db": 60.0}, {"ugf_hz": None}]))
    again = AnalogPredictRequest.model_validate(prepared.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert made.prepare(KIND, again) == prepared == again
    assert prepared.made_by == NEURAL_SIMULATOR


# --- what is known --------------------------------------------------------------------------------------------------


def test_a_known_metric_is_told_as_it_was_and_changes_what_is_predicted_behind_it(made: Predictions):
    (plain,) = rows_of(made, asked())
    (told,) = rows_of(made, asked(known={"gain_db": 61.25}))
    assert told["metrics"]["gain_db"] == {"value": 61.25, "low": 61.25, "high": 61.25, "defined": 1.0, "known": True}
    assert told["metrics"]["supply_current_a"] == plain["metrics"]["supply_current_a"]
    assert told["metrics"]["ugf_hz"] != plain["metrics"]["ugf_hz"]


def test_a_metric_that_is_known_to_have_no_value_is_told_so_and_counts(made: Predictions):
    (plain,) = rows_of(made, asked())
    (told,) = rows_of(made, asked(known={"gain_db": None}))
    assert told["metrics"]["gain_db"] == {"value": None, "low": None, "high": None, "defined": 0.0, "known": True}
    assert told["metrics"]["ugf_hz"] != plain["metrics"]["ugf_hz"]


def test_every_sizing_may_know_something_else(made: Predictions):
    request = asked(sizings=[{}, {"w_m1": 1e-5}, {}], known=[{"gain_db": 50.0}, {}, {"gain_db": 70.0}])
    first, second, third = (row["metrics"]["gain_db"] for row in rows_of(made, request))
    assert (first["value"], second["known"], third["value"]) == (50.0, False, 70.0)


def test_what_is_known_need_not_be_asked_for(made: Predictions):
    (row,) = rows_of(made, asked(metrics=["ugf_hz"], known={"gain_db": 50.0}))
    (all_,) = rows_of(made, asked(known={"gain_db": 50.0}))
    assert row["metrics"] == {"ugf_hz": all_["metrics"]["ugf_hz"]}


# --- what is unlike what was learnt from ----------------------------------------------------------------------------


def test_sizes_outside_of_their_range_are_answered_with_the_flag(made: Predictions):
    near, far = rows_of(made, asked(sizings=[{"w_m1": 5e-6}, {"w_m1": 1.0}]))
    assert not near["out_of_distribution"]
    assert far["out_of_distribution"]
    assert far["status"] == "ok"
    assert any("w_m1 is 1 m, generic180 has 2.2e-07 to 0.0002 m" in reason for reason in far["reasons"])
    assert far["metrics"]["gain_db"]["value"] is not None


def test_no_size_however_absurd_is_more_than_a_flag(made: Predictions):
    variables = made.heading(KIND, made.prepare(KIND, asked()))["sizes"]
    sizings = [
        {each["name"]: value for each in variables if each["unit"] != ""} for value in (1e-300, 5e-324, 1e300, 1e9)
    ] + [{each["name"]: 1e300 for each in variables}]
    for row in rows_of(made, asked(sizings=sizings)):
        assert (row["status"], row["out_of_distribution"]) == ("ok", True)


def test_a_circuit_that_was_not_learnt_from_is_answered_with_the_flag(made: Predictions):
    (row,) = rows_of(made, asked(netlist=PAIR))
    assert not made.heading(KIND, made.prepare(KIND, asked(netlist=PAIR)))["topology_known"]
    assert row["out_of_distribution"]
    assert row["reasons"] == ["this circuit was not simulated on testbench opamp for the model to learn from"]
    assert (row["status"], row["nearest"]) == ("ok", [])


def test_a_distance_without_another_reason_is_one(made: Predictions, network: FormulaNetwork):
    network.distance = 1.5
    (row,) = rows_of(made, asked())
    assert (row["out_of_distribution"], row["distance"]) == (True, 1.5)
    assert row["reasons"] == ["the sizes lie within what was learnt from, but not together as they are here"]


@pytest.mark.parametrize("ports", [{"output": "IB1"}, {"positive_input": "N1"}, {"output": "N3"}])
def test_ports_in_other_roles_are_another_circuit(made: Predictions, ports: dict[str, str]):
    assert not made.heading(KIND, made.prepare(KIND, asked(ports=ports)))["topology_known"]
    (row,) = rows_of(made, asked(ports=ports))
    assert row["reasons"][0] == "its ports play other roles than in what was learnt from"
    assert row["nearest"] == []


def test_a_circuit_whose_voltages_are_undefined_is_answered_with_the_flag(made: Predictions):
    (row,) = rows_of(made, asked(netlist=PAIR + "C1 N7 VSS 1p\nC2 N7 VDD 1p\n"))
    assert row["reasons"][-1] == "no direct current can reach net N7, so its voltage is undefined"


def test_a_sizing_that_the_network_has_no_number_for_is_an_error_row():
    class Broken(FormulaNetwork):
        def predict(self, rows: RowInputs, known: Known | None = None) -> Predicted:
            found = super().predict(rows, known)
            found.mean[0, 0] = np.nan
            return found

    made = predictions(Broken())
    first, second = rows_of(made, drawn(2))
    assert (first["status"], second["status"]) == ("error", "ok")
    assert first["problem"]["detail"] == "the network has no number for this sizing"
    made.close()


# --- physics --------------------------------------------------------------------------------------------------------


def test_the_table_simulator_is_asked_first(network: FormulaNetwork):
    made = predictions(network, partial(bench_estimates, TableSimulator(EkvTables())))
    prepared = made.prepare(KIND, drawn(3))
    heading = made.heading(KIND, prepared)
    assert heading["physics"]
    assert "physics_note" not in heading
    told, plain = rows_of(made, drawn(3)), rows_of(made, drawn(3, physics=False))
    assert set(told[0]["timings"]) == {"predict_s", "physics_s"}
    assert all(a["metrics"]["gain_db"] != b["metrics"]["gain_db"] for a, b in zip(told, plain, strict=True))
    made.close()


def test_estimates_reach_the_network_by_sizing_and_element():
    seen: list[RowInputs] = []

    class Watched(FormulaNetwork):
        def predict(self, rows: RowInputs, known: Known | None = None) -> Predicted:
            seen.append(rows)
            return super().predict(rows, known)

    def estimate(
        bench: Bench, vectors: np.ndarray, metrics: Sequence[str], devices: Sequence[str], /
    ) -> tuple[Estimates, str | None]:
        found = Estimates.nothing(len(vectors), len(metrics), len(devices))
        found.values[:, metrics.index("gain_db")] = vectors[:, 0]
        found.causes[:, metrics.index("gain_db")] = DEFINED
        found.facts[:, devices.index("M6")] = vectors[:, :1]
        return found, None

    made = predictions(Watched(), estimate)
    rows_of(made, asked(sizings=[{"w_m1": 1e-6}, {"w_m1": 2e-6}]))
    made.close()
    (rows,) = seen
    place = rows.structure.metrics.index("gain_db")
    np.testing.assert_allclose(rows.estimates[:, place], [1e-6, 2e-6])
    facts = rows.estimated_facts[:, rows.structure.names.index("M6"), 0]
    np.testing.assert_allclose(facts, [1e-6, 2e-6])
    assert np.isnan(rows.estimated_facts[:, rows.structure.names.index("M1")]).all()


def test_whether_there_are_estimates_is_found_out_once(network: FormulaNetwork):
    asked_for: list[int] = []

    def estimate(
        bench: Bench, vectors: np.ndarray, metrics: Sequence[str], devices: Sequence[str], /
    ) -> tuple[Estimates, str | None]:
        asked_for.append(len(vectors))
        return no_estimates(bench, vectors, metrics, devices)

    made = predictions(network, estimate)
    for _ in range(3):
        made.heading(KIND, made.prepare(KIND, drawn(5)))
        rows_of(made, drawn(5))
    made.close()
    assert asked_for == [1]


# --- what was simulated here ----------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> SimulatedRows:
    return SimulatedRows(tmp_path)


@pytest.fixture
def following(network: FormulaNetwork, store: SimulatedRows) -> Iterator[Predictions]:
    found = predictions(network, simulated=store)
    yield found
    found.close()


def simulate(made: Predictions, count: int, seed: int = 1) -> None:
    """So many sizings of the Miller amplifier were simulated."""
    bench = made._subject(made.prepare(KIND, asked())).bench
    model = made.circuit_model(bench, from_store=False)
    assert made.simulated is not None
    made.simulated.add(bench, simulated_rows(model, sizings_of(bench, count, seed)))


def gains_of(made: Predictions, request: AnalogPredictRequest) -> list[float]:
    return [row["metrics"]["gain_db"]["value"] for row in rows_of(made, request)]


def test_predictions_follow_what_was_simulated_of_the_circuit(following: Predictions, made: Predictions):
    bench = made._subject(made.prepare(KIND, asked())).bench
    unseen = simulated_rows(made.circuit_model(bench), sizings_of(bench, 20, seed=2))
    simulate(following, 30)
    request = asked(sizings=[row["sizes"] for row in unseen])
    truth = np.array([row["metrics"]["gain_db"] for row in unseen])
    adapted, plain = (
        np.array(gains_of(following, each)) for each in (request, request.model_copy(update={"adapt": False}))
    )
    assert np.median(abs(adapted - truth)) < np.median(abs(plain - truth)) / 3
    assert plain.tolist() == gains_of(made, request)
    heading = following.heading(KIND, following.prepare(KIND, request))
    assert heading["adaptation"] == {"rows": 30}
    assert "adaptation" not in following.heading(KIND, following.prepare(KIND, asked(adapt=False)))
    (row, *_) = rows_of(following, request)
    told = row["metrics"]["gain_db"]
    assert told["low"] < told["value"] < told["high"]


def test_intervals_of_what_was_simulated_follow_its_own_errors(following: Predictions):
    simulate(following, 40)
    (adapted,), (plain,) = (rows_of(following, asked(adapt=adapt)) for adapt in (True, False))
    widths = [each["metrics"]["gain_db"]["high"] - each["metrics"]["gain_db"]["low"] for each in (adapted, plain)]
    assert widths[0] < widths[1]


def test_a_few_simulations_are_too_few_to_follow_and_more_are_followed_at_once(following: Predictions):
    simulate(following, 7)
    assert "adaptation" not in following.heading(KIND, following.prepare(KIND, asked()))
    before = gains_of(following, asked())
    simulate(following, 5, seed=3)
    assert following.heading(KIND, following.prepare(KIND, asked()))["adaptation"] == {"rows": 12}
    assert gains_of(following, asked()) != before


def test_other_circuits_and_testbenches_keep_their_predictions(following: Predictions, made: Predictions):
    simulate(following, 12)
    for request in (asked(netlist=PAIR), asked(netlist=LDO, testbench="ldo"), asked(ports={"output": "IB1"})):
        assert timeless(rows_of(following, request)) == timeless(rows_of(made, request))


def test_what_is_known_beside_what_was_simulated_stays_known(following: Predictions):
    simulate(following, 20)
    request = asked(known={"gain_db": 61.25})
    assert following.heading(KIND, following.prepare(KIND, request))["adaptation"] == {"rows": 20}
    (told,), (plain,) = (rows_of(following, each) for each in (request, request.model_copy(update={"adapt": False})))
    assert told["metrics"]["gain_db"] == {"value": 61.25, "low": 61.25, "high": 61.25, "defined": 1.0, "known": True}
    assert told["metrics"]["ugf_hz"]["value"] != plain["metrics"]["ugf_hz"]["value"]


def test_sizings_that_know_different_metrics_do_not_follow_simulations(following: Predictions, made: Predictions):
    simulate(following, 20)
    request = asked(sizings=[{}, {}], known=[{"gain_db": 50.0}, {}])
    assert "adaptation" not in following.heading(KIND, following.prepare(KIND, request))
    assert timeless(rows_of(following, request)) == timeless(rows_of(made, request))


def test_a_damaged_store_does_not_keep_anyone_from_predicting(following: Predictions, made: Predictions):
    simulate(following, 12)
    assert following.simulated is not None
    following.simulated.path.write_text("no store")
    assert timeless(rows_of(following, asked())) == timeless(rows_of(made, asked()))


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "error", "pointer", "words"),
    [
        ({"testbench": "opmap"}, UnknownName, "/testbench", "no testbench named 'opmap'; did you mean 'opamp'?"),
        (
            {"testbench": "mixer"}, NotLearnt, "/testbench",
            "the model has not learnt the testbench 'mixer'; it knows comparator, ldo, opamp",
        ),
        ({"technology": "generic81"}, UnknownName, "/technology", "no technology named 'generic81'"),
        ({"corner": "sss"}, UnknownName, "/corner", "no process corner of generic180 named 'sss'"),
        ({"corner": {"supply_v": 10}}, InvalidRequest, "/corner", "the supply is 10 V"),
        ({"metrics": ["gian_db"]}, UnknownName, "/metrics", "did you mean 'gain_db'?"),
        ({"settings": {"load_f": 5}}, InvalidRequest, "/settings/load_f", "setting load_f is 5 F"),
        ({"ports": {"output": "N99"}}, InvalidRequest, "/ports", "the netlist has no net 'N99'"),
        ({"sizings": [{}, {"w_m9": 1e-6}]}, UnknownName, "/sizings/1", "no size named 'w_m9'"),
        ({"sizings": [{"w_m1": -1e-6}]}, InvalidRequest, "/sizings/0/w_m1", "size w_m1 is -1e-06 m, it must be pos"),
        ({"sizings": [{"m_m1": 0.2}]}, InvalidRequest, "/sizings/0/m_m1", "size m_m1 is 0.2, it must be positive"),
        ({"level": 0.7}, InvalidInput, "/level", "there are no intervals for the level 0.7; calibrated are 0.5, 0.8"),
        ({"known": {"gian_db": 1}}, UnknownName, "/known/gian_db", "did you mean 'gain_db'?"),
        ({"known": {"a/b~c": 1}}, UnknownName, "/known/a~1b~0c", "no metric of testbench opamp named 'a/b~c'; known: "),
        ({"known": [{"x": 1}]}, UnknownName, "/known/0/x", "no metric of testbench opamp named 'x'"),
        (
            {"known": {"ugf_hz": -1e6}}, InvalidRequest, "/known/ugf_hz",
            "known ugf_hz is -1e+06 Hz, it is never below 0 Hz",
        ),
        ({"known": {"input_noise_v": -1}}, InvalidRequest, "/known/input_noise_v", "it is never below 0 V"),
        (
            {"netlist": STRONGARM, "testbench": "comparator", "known": [{"decision_swing": 1.2}]}, InvalidRequest,
            "/known/0/decision_swing", "known decision_swing is 1.2, it is never above 1",
        ),
        ({"netlist": "R1 VDD VSS 1k\n"}, InvalidRequest, "/netlist", "testbench opamp cannot drive this circuit"),
        ({"netlist": ".control\nshell ls\n.endc\n"}, SpiceSyntaxError, "/netlist", "line 1"),
        (
            {"netlist": MILLER.replace(".end\n", "".join(f"R{n} VOUT1 VSS 1k\n" for n in range(10, 210)))},
            LimitExceeded, "/netlist", "the number of devices and bias sources is 211, the limit is 200; simulate",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_predicted_is_refused_in_a_sentence_with_a_pointer(
    made: Predictions, fields: dict[str, Any], error: type[InvalidInput], pointer: str, words: str
):
    with pytest.raises(error) as caught:
        made.prepare(KIND, asked(**fields))
    assert caught.value.pointer == pointer
    assert words in str(caught.value)


def test_a_metric_that_the_model_has_not_learnt_is_left_out_and_refused_by_name(network: FormulaNetwork):
    table = network.scales.as_json()
    del table["opamp"]["gain_db"]
    network.scales = Scales.from_json(table)
    made = predictions(network)
    (row,) = rows_of(made, asked())
    assert "gain_db" not in row["metrics"]
    assert len(row["metrics"]) == len(testbenches["opamp"].metrics) - 1
    for fields, pointer in (({"metrics": ["gain_db"]}, "/metrics"), ({"known": {"gain_db": 1}}, "/known/gain_db")):
        with pytest.raises(NotLearnt, match="the metric of testbench opamp 'gain_db'; it knows") as caught:
            made.prepare(KIND, asked(**fields))
        assert caught.value.pointer == pointer
    made.close()


def test_another_kind_of_request_is_refused(made: Predictions):
    with pytest.raises(UnknownName, match=r"no kind of prediction named 'analog\.generate'"):
        made.prepare("analog.generate", AnalogGenerateRequest())


def test_without_a_model_the_sentence_says_how_to_get_one(tmp_path: Path):
    made = Predictions(lambda: load_trained(tmp_path / "simulator"), PreparedBenches(AnalyticGmId()), no_estimates)
    for _ in range(2):  # and it is looked for again
        with pytest.raises(CorpusMissing, match="train one with 'josephson train simulator'"):
            made.prepare(KIND, asked())
    made.close()


def test_a_damaged_model_is_the_machines_fault_and_not_the_callers(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelDamaged):
        load_trained(tmp_path)


# --- at once --------------------------------------------------------------------------------------------------------


def test_two_callers_of_different_circuits_at_once_get_what_each_gets_alone(made: Predictions, network: FormulaNetwork):
    ldo = asked(netlist=LDO, testbench="ldo", draw={"count": 300}, seed=2)
    requests = (drawn(600), ldo, drawn(5, corner="ss"))
    alone = [timeless(rows_of(made, request)) for request in requests]

    async def together() -> list[list[Row]]:
        return list(await asyncio.gather(*(collect(made, request) for request in requests)))

    assert [timeless(rows) for rows in run(together())] == alone
    assert len(network.threads) == 1


def test_callers_of_the_same_circuit_share_a_batch_whatever_their_corner_and_level(
    made: Predictions, network: FormulaNetwork
):
    async def scenario() -> None:
        network.gate.clear()
        first = asyncio.create_task(collect(made, drawn(1)))
        while not network.batches:
            await asyncio.sleep(0.01)
        others = [
            asyncio.create_task(collect(made, drawn(10, corner=corner, level=level, known=known)))
            for corner, level, known in (("ss", 0.5, None), ("ff", 0.8, {"gain_db": 60.0}), ("tt", 0.9, None))
        ]
        _, queue = made._model()
        while sum(map(len, queue._waiting)) < 3:
            await asyncio.sleep(0.01)
        network.gate.set()
        rows = await asyncio.gather(first, *others)
        assert [len(each) for each in rows] == [1, 10, 10, 10]

    run(scenario())
    assert network.batches == [1, 30]


def test_a_caller_who_goes_away_frees_the_thread(made: Predictions, network: FormulaNetwork):
    async def scenario() -> None:
        prepared = made.prepare(KIND, drawn(100_000, nearest=0))
        rows = cast("AsyncGenerator[Row, None]", made.produce(KIND, prepared, range(100_000)))
        await anext(rows)
        await rows.aclose()

    run(scenario())
    _, queue = made._model()
    wait_for(lambda: not any(queue._waiting))
    assert sum(network.batches) < 20_000
    assert len(rows_of(made, drawn(3))) == 3


def test_cancelling_one_caller_leaves_the_other_all_its_rows(made: Predictions):
    expected = timeless(rows_of(made, drawn(60)))

    async def scenario() -> list[Row]:
        leaving = asyncio.create_task(collect(made, drawn(50_000, corner="ff")))
        staying = asyncio.create_task(collect(made, drawn(60)))
        await asyncio.sleep(0.1)
        leaving.cancel()
        return await staying

    assert timeless(run(scenario())) == expected


def test_a_fault_of_the_network_reaches_the_one_who_waits_and_the_next_call_works(made: Predictions):
    with pytest.raises(RuntimeError, match="a fault of the network"):
        rows_of(made, drawn(3, corner={"supply_v": 1.234}))
    assert len(rows_of(made, drawn(3))) == 3


def test_closed_predictions_end_a_call_with_unavailable(network: FormulaNetwork):
    made = predictions(network)

    async def scenario() -> None:
        prepared = made.prepare(KIND, drawn(50_000, nearest=0))
        rows = made.produce(KIND, prepared, range(50_000))
        await anext(aiter(rows))
        await made.aclose()
        with pytest.raises(EngineClosed):
            async for _ in rows:
                pass

    run(scenario())
    with pytest.raises(EngineClosed, match="the neural simulator is closed"):
        made.prepare(KIND, drawn(1))
