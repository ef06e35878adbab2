"""The evaluation of a neural simulator: which rows are judged, what is compared, and that a killed run goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import CorpusMissing, InvalidRequest
from app.evaluation.card import write_card
from app.evaluation.notes import Notes
from app.evaluation.simulator import SimulatorPlan, evaluate_simulator
from app.evaluation.simulator_baselines import Bout, Entry, judge_baselines
from app.evaluation.simulator_report import aims
from app.evaluation.simulator_sets import Sorter, asked_of, cheap_half, spread_out
from app.evaluation.simulator_simulations import OwnRows, known_topologies, simulate_own
from app.evaluation.simulator_speed import Machine
from app.inference.checkpoint import verify
from app.neural_simulator.arrays import Rows
from app.neural_simulator.artefact import NeuralSimulator
from app.neural_simulator.splits import CALIBRATION, TEST, TRAINING, first_rows
from app.simulators.processes import WorkerPool
from tests.simulated_rows import GENERIC180
from tests.simulator_evaluations import AMPLIFIER, MIRROR, NOWHERE, ROWS, UNSEEN, id_of, simulations, split, untrained

PLAN = SimulatorPlan(adapt=(0, 5, 25), baselines=("nearest",), baseline_groups=4)


def evaluated(plan: SimulatorPlan = PLAN, *, work: Path | None = None, **changes: Any) -> dict[str, Any]:
    return evaluate_simulator(untrained(), simulations(), (), plan, NOWHERE, identity={}, work=work, **changes)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return evaluated()


def first_metric(part: dict[str, Any], name: str) -> float:
    return float(next(row["r2"]["value"] for row in part["metrics"] if row["metric"] == name))


def rows_of(name: str, technology: str = "generic180") -> Rows:
    prepared = simulations()
    group = next(
        group for group in prepared.groups if (group.topology_id, group.technology) == (id_of(name), technology)
    )
    return group.rows(prepared.profiles[technology])


# which rows are judged


def test_every_group_answers_one_question_unless_it_set_intervals_or_is_new_in_two_ways():
    sorter = Sorter(untrained().experience, untrained().split)
    found = {(group.topology_id, group.technology): sorter.question(group) for group in simulations().groups}
    assert found[id_of(MIRROR), "generic180"] == found[id_of(AMPLIFIER), "generic180"] == "sizings"
    assert found[id_of(UNSEEN), "generic180"] == "topologies"
    assert found[id_of(MIRROR), "generic45"] == "technology"
    assert list(found.values()).count(None) == 3


def test_a_group_of_a_testbench_that_was_never_learnt_answers_none():
    sorter = Sorter(untrained().experience, untrained().split)
    group = simulations().groups[0]
    assert sorter.question(replace(group, topology_id="another", testbench="ldo")) is None
    assert sorter.question(replace(group, testbench="opamp", technology="generic45")) is None


def test_no_row_that_was_learnt_from_or_set_intervals_is_judged():
    rows = rows_of(MIRROR)
    asked = asked_of("sizings", rows, Sorter(untrained().experience, split()), (0, 20), None, 1)
    sides = split().sides(rows)
    assert set(sides[asked.judged].tolist()) == {TEST}
    assert set(sides[asked.learnable].tolist()) == {TRAINING}
    assert len(asked.judged) + len(asked.learnable) + int((sides == CALIBRATION).sum()) == len(rows)
    few = asked_of("sizings", rows, Sorter(untrained().experience, split()), (0, 20), 7, 1)
    assert len(few.judged) == 7
    assert set(few.judged) <= set(asked.judged)


@pytest.mark.parametrize(("adapt", "kept"), [((0, 20), 20), ((0, 20, 200), ROWS // 2), ((0,), 0)])
def test_no_row_that_is_adapted_from_is_judged(adapt: Sequence[int], kept: int):
    rows = rows_of(UNSEEN)
    asked = asked_of("topologies", rows, Sorter(untrained().experience, split()), adapt, None, 1)
    assert len(asked.learnable) == kept
    assert sorted([*asked.learnable, *asked.judged]) == list(range(ROWS))
    few = asked_of("topologies", rows, Sorter(untrained().experience, split()), adapt, 9, 1)
    assert len(few.judged) == 9
    np.testing.assert_array_equal(few.learnable, asked.learnable)


def test_a_report_counts_its_rows(report: dict[str, Any]):
    assert list(report["sets"]) == ["sizings", "topologies", "technology"]
    counts = {name: (found["groups"], found["rows"]) for name, found in report["sets"].items()}
    unseen = sum(int((split().sides(rows_of(name)) == TEST).sum()) for name in (MIRROR, AMPLIFIER))
    assert counts == {"sizings": (2, unseen), "topologies": (1, ROWS - 25), "technology": (1, ROWS - 25)}
    assert report["sets"]["sizings"]["with_estimates"] == unseen
    assert report["simulations"]["file"] == {"rows": 7 * ROWS, "groups": 7, "was_trained_on": True}


# what is compared


def test_estimates_are_told_apart_from_what_the_network_makes_of_them(report: dict[str, Any]):
    for name in ("sizings", "topologies", "technology"):
        found = report["sets"][name]
        assert first_metric(found["table"], "supply_current_a") == pytest.approx(1.0, abs=1e-3)
        assert first_metric(found["estimated"], "supply_current_a") > 0.95
        assert first_metric(found["plain"], "supply_current_a") < 0.1
        assert {row["metric"] for row in found["told"]["metrics"]} == {"supply_current_a"}
        assert found["estimated"]["summary"]["metrics"] > found["table"]["summary"]["metrics"] >= 1


def test_only_the_costlier_half_is_judged_where_the_cheaper_half_may_be_known(report: dict[str, Any]):
    rows = rows_of(MIRROR)
    metrics = rows.structure.metrics
    costly = set(metrics[len(metrics) // 2 :])
    for way in ("estimated", "plain"):
        for found in report["sets"]["topologies"]["known"][way].values():
            assert {row["metric"] for row in found["metrics"]} <= costly
    known = cheap_half(rows)
    assert np.isfinite(known.values[:, : len(metrics) // 2]).all()
    assert np.isnan(known.values[:, len(metrics) // 2 :]).all()
    assert not known.has_none.any()
    without = replace(rows, causes=np.ones_like(rows.causes), values=np.full_like(rows.values, np.nan))
    assert cheap_half(without).has_none.sum() == len(rows) * (len(metrics) // 2)


def test_adaptation_is_judged_by_the_same_rows_whatever_it_adapts_from(report: dict[str, Any]):
    for name in ("topologies", "technology"):
        adapted = report["sets"][name]["adapted"]
        assert list(adapted) == ["0", "5", "25"]
        counts = {count: [row["rows"] for row in found["metrics"]] for count, found in adapted.items()}
        assert counts["0"] == counts["5"] == counts["25"]
        assert report["sets"][name]["kept_for_adaptation"] == {"least": 25, "most": 25}
    assert "adapted" not in report["sets"]["sizings"]


def test_the_same_seed_gives_the_same_report(report: dict[str, Any]):
    again = evaluated()
    assert again["sets"] == report["sets"]
    assert again["baselines"]["tables"]["few"]["models"] == report["baselines"]["tables"]["few"]["models"]


# baselines


def test_baselines_are_judged_by_the_same_rows_as_the_network(report: dict[str, Any]):
    tables = report["baselines"]["tables"]
    assert list(tables) == ["all", "few"]
    for found in tables.values():
        assert list(found["models"]) == ["estimated", "plain", "nearest"]
        rows = {name: [row["rows"] for row in each["metrics"]] for name, each in found["models"].items()}
        assert rows["estimated"] == rows["nearest"]
        assert set(found["seconds"]) == {"nearest"}


def test_a_bout_of_few_rows_has_no_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("app.evaluation.simulator.FEW", 10)
    monkeypatch.setattr("app.evaluation.simulator.LEAST_LEARNT", 20)
    monkeypatch.setattr("app.evaluation.simulator.LEAST_JUDGED", 10)
    tables = evaluated()["baselines"]["tables"]
    assert tables["few"]["learnt_rows"] == {"least": 10, "median": 10.0, "most": 10}
    assert tables["all"]["learnt_rows"]["least"] > 30
    assert tables["new"]["learnt_rows"] == {"least": 25, "median": 25.0, "most": 25}
    assert set(tables["new"]["models"]) == {"estimated", "adapted_25", "nearest"}


def test_a_baseline_whose_package_is_missing_is_left_out_in_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    rows = rows_of(MIRROR)
    bout = Bout("all", 0, rows.take(np.arange(60)), rows.take(np.arange(60, ROWS)), {})
    with Notes.open({}, None, Entry.from_json) as notes:
        found = judge_baselines(notes, [bout], ("boosting", "nearest"), untrained().scales, 1, None)
    assert "scikit-learn" in found["left_out"]["boosting"]
    assert list(found["tables"]["all"]["models"]) == ["nearest"]


def test_a_killed_evaluation_does_not_train_a_baseline_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plan = replace(PLAN, rows_per_group=30)
    monkeypatch.setattr("app.evaluation.simulator.LEAST_LEARNT", 20)
    monkeypatch.setattr("app.evaluation.simulator.LEAST_JUDGED", 10)
    first = evaluated(plan, work=tmp_path)
    trained = [line for line in (tmp_path / "evaluation.jsonl").read_text().splitlines() if '"record"' in line]
    assert len(trained) == 3
    again = evaluated(plan, work=tmp_path)
    assert again["baselines"] == first["baselines"]
    assert again["speed"] == first["speed"]
    assert [line for line in (tmp_path / "evaluation.jsonl").read_text().splitlines() if '"record"' in line] == trained
    with pytest.raises(InvalidRequest, match="holds an evaluation with another --seed; give another folder"):
        evaluated(replace(plan, seed=2), work=tmp_path)


def test_the_first_of_a_spread_out_order_are_of_different_kinds_and_varieties():
    items = [(kind, variety, str(name)) for kind in "abc" for variety in "xy" for name in range(3)]
    order = spread_out(items, lambda item: item, 1)
    assert sorted(order) == sorted(items)
    assert sorted(item[0] for item in order[:3]) == ["a", "b", "c"]
    assert len({item[:2] for item in order[:6]}) == 6
    assert spread_out(items[::-1], lambda item: item, 1) == order
    assert spread_out(items, lambda item: item, 2) != order


# time


def test_time_is_told_for_a_circuit_of_every_testbench(report: dict[str, Any]):
    speed = report["speed"]
    assert {each["testbench"] for each in speed["circuits"]} == {"opamp", "current_mirror"}
    for each in speed["circuits"]:
        assert 0 < each["network_us"]["4096"] < each["network_us"]["1"]
        assert (each["ngspice_us"], each["table_us"]) == (None, None)
        assert "tables" in each["note"]
        assert 1e4 <= each["stored_us"] <= 1e5
    mean = speed["mean"]
    assert mean["beside"] == "stored_us"
    assert mean["ratios"] == {
        "network": pytest.approx(mean["stored_us"] / mean["network_us"]["4096"], rel=0.01),
        "with_table": None,
    }


@pytest.mark.simulator
def test_ngspice_and_the_table_simulator_are_timed_where_they_are(ngspice: WorkerPool, tmp_path: Path):
    prepared = simulations()
    one = replace(prepared, groups=prepared.groups[:1])
    plan = replace(PLAN, baselines=())
    found = evaluate_simulator(untrained(), one, (), plan, Machine(ngspice, tmp_path), identity={})["speed"]
    circuit = found["circuits"][0]
    assert circuit["ngspice_us"] > 100
    assert circuit["table_us"]["1"] > circuit["table_us"]["4096"] > 0
    assert found["mean"]["beside"] == "ngspice_us"
    assert found["mean"]["ratios"]["network"] > found["mean"]["ratios"]["with_table"] > 0


# a technology by name


@pytest.mark.simulator
def test_a_technology_by_name_is_judged_by_rows_of_its_own(ngspice: WorkerPool, tmp_path: Path):
    model = untrained()
    topologies = [each for each in known_topologies(simulations(), model.experience) if each.id == id_of(MIRROR)]
    choice = OwnRows(GENERIC180, 3, rows=12, minutes=10, estimated=None)
    own = simulate_own(
        choice, topologies, {"current_mirror"}, ngspice, tmp_path, tmp_path / "own", lambda sentence: None
    )
    assert [len(each) for each in own] == [12]
    again = simulate_own(
        choice, topologies, {"current_mirror"}, ngspice, tmp_path, tmp_path / "own", lambda sentence: None
    )
    np.testing.assert_array_equal(again[0].groups[0].values, own[0].groups[0].values)
    found = evaluate_simulator(model, None, own, replace(PLAN, adapt=(0, 4)), NOWHERE, identity={})
    assert list(found["sets"]) == ["simulated"]
    assert found["sets"]["simulated"]["rows"] == 8
    assert found["simulations"] == {
        "file": None,
        "own": {"rows": 12, "technologies": ["generic180"], "learnt_from": ["generic180"]},
        "values": own[0].values(),
        "implausible": {},
    }
    assert found["baselines"] is None
    with pytest.raises(CorpusMissing, match="no circuit was simulated in generic180 in 0 minutes; give more --minutes"):
        simulate_own(
            replace(choice, minutes=0), topologies, {"current_mirror"}, ngspice, tmp_path, tmp_path / "new", print
        )


def test_only_circuits_that_were_learnt_from_are_simulated_in_a_technology():
    experience = untrained().experience
    assert {each.id for each in known_topologies(simulations(), experience)} == {id_of(MIRROR), id_of(AMPLIFIER)}
    assert {each.id for each in known_topologies(None, experience)} == {id_of(MIRROR), id_of(AMPLIFIER)}
    with pytest.raises(InvalidRequest, match="the model has learnt from no archetype, so --technology has nothing"):
        known_topologies(None, replace(experience, seen=frozenset()))


# what it comes to


def test_aims_are_those_of_the_report():
    def summary(**figures: float | str) -> dict[str, Any]:
        return {"summary": figures}

    told = {
        "sets": {
            "sizings": {"estimated": summary(mean_r2=0.99, worst_r2=0.9, worst="opamp gain_db", coverage=0.9)},
            "topologies": {"estimated": summary(coverage=0.8), "adapted": {"200": summary(mean_r2=0.9)}},
            "simulated": {"estimated": summary(coverage=0.96), "adapted": {"50": summary(mean_r2=0.5)}},
        },
        "baselines": {
            "tables": {"few": {"models": {"estimated": summary(mean_r2=0.97), "mlp": summary(mean_r2=0.96)}}}
        },
        "speed": {"mean": {"network_us": {"4096": 60.0}, "ratios": {"network": 900.0}}},
    }
    found = aims(told)
    assert [aim["is_reached"] for aim in found] == [True, False, True, False, True, True, False, False, False, False]
    assert found[1]["aim"] == "lowest R2 of a metric there (opamp gain_db)"
    nothing = aims(
        {"sets": {}, "baselines": None, "speed": {"mean": {"network_us": {"4096": None}, "ratios": {"network": None}}}}
    )
    assert [aim["is_reached"] for aim in nothing] == [None] * len(found)


def test_the_card_has_every_table_and_the_folder_stays_sealed(report: dict[str, Any], tmp_path: Path):
    untrained().save(tmp_path)
    write_card(tmp_path, report)
    verify(tmp_path)
    text = (tmp_path / "card.md").read_text()
    for heading in (
        "## Training",
        "### Aims",
        "### Unseen sizings",
        "### Unseen topologies",
        "### Unseen technology",
        "### Time",
    ):
        assert f"\n{heading}\n" in text
    assert "`josephson evaluate simulator --prepared FILE --adapt 0,5,25 --baselines nearest" in text
    kept = json.loads((tmp_path / "card.json").read_text())["evaluation"]
    assert NeuralSimulator.load(tmp_path).card["evaluation"] == kept
    assert (kept["kind"], kept["speed"]) == ("simulator", report["speed"])
    for question, found in kept["sets"].items():
        assert found["plain"] == {"summary": report["sets"][question]["plain"]["summary"]}
        for short, row in zip(
            found["estimated"]["metrics"], report["sets"][question]["estimated"]["metrics"], strict=True
        ):
            assert short.get("r2") == (row["r2"] and row["r2"]["value"])
            assert short.get("interval_coverage") == (row["interval"] and row["interval"]["coverage"]["value"])


def test_a_model_that_does_not_say_what_it_learnt_from_is_not_judged():
    with pytest.raises(InvalidRequest, match="does not say which rows it has learnt from, so none can be judged by"):
        _ = replace(untrained(), training={}).split


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"adapt": (0, -1)}, "--adapt: 0,-1 has to be different numbers of rows from 0 to 512"),
        ({"adapt": (5, 5)}, "--adapt: 5,5 has to be different numbers"),
        ({"adapt": ()}, "--adapt: nothing has to be different numbers"),
        ({"adapt": (0, 513)}, "--adapt: 0,513 has to be different numbers"),
        ({"baselines": ("mpl",)}, "--baselines: there is no 'mpl'; there are nearest, boosting, mlp, insight"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(fields: dict[str, Any], sentence: str):
    with pytest.raises(InvalidRequest, match=sentence):
        SimulatorPlan(**fields)


def test_rows_to_adapt_from_are_among_those_of_a_larger_number():
    rows = rows_of(UNSEEN)
    assert set(first_rows(rows, 5, 1)) <= set(first_rows(rows, 25, 1))
