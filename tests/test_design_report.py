"""What rows of a design come to: the funnel, the ranking, and the cost."""

from __future__ import annotations

from typing import Any

import pytest

from app.design.report import cost_of, design_document, funnel_of, ranked, why_candidates_fell_out
from app.specification import Objective
from app.workshop import unfinished_row


def passing(index: int, power: float, area: float, margin: float, **more: Any) -> dict[str, Any]:
    """A row that is ok; power is worse at the second corner, area better."""
    metrics = {"tt": {"power_w": power / 2, "area_m2": area}, "ff": {"power_w": power, "area_m2": area / 2}}
    return {
        "index": index, "status": "ok", "stage": None, "reached": "passing", "metrics": metrics,
        "least_margin": margin, **more,
    }  # fmt: skip


def fallen(index: int, stage: str, reached: str, **more: Any) -> dict[str, Any]:
    return {"index": index, "status": "invalid", "stage": stage, "reached": reached, "why": "so it is", **more}


def ranks(rows: list[dict[str, Any]], objective: Objective | None = None) -> dict[int, int]:
    return {row["index"]: row["pareto_rank"] for row in ranked(rows, objective)}


def test_the_funnel_counts_what_each_candidate_has_reached_finished_or_not():
    rows = [
        passing(0, 1.0, 1.0, 0.1),
        fallen(1, "not_met", "sized"),
        fallen(2, "not_tried", "promising"),
        fallen(3, "duplicate", "proposed"),
        unfinished_row(4, "waits", reached="conducting"),
        {"index": 5, "status": "error"},
    ]
    assert funnel_of(rows) == {
        "proposed": 6, "legal": 4, "conducting": 4, "promising": 3, "sized": 2, "passing": 1
    }  # fmt: skip
    assert set(funnel_of([]).values()) == {0}


def test_a_candidate_whose_row_came_while_the_unfinished_ones_were_read_is_counted_once():
    rows = [unfinished_row(0, "waits", reached="promising"), fallen(0, "not_met", "sized"), fallen(1, "not_legal", "")]
    whole = {"proposed": 2, "legal": 1, "conducting": 1, "promising": 1, "sized": 1, "passing": 0}
    assert funnel_of(rows) == funnel_of(rows[::-1]) == whole


def test_a_circuit_that_is_worse_in_everything_ranks_behind_the_one_that_is_better():
    rows = [passing(0, 2.0, 2.0, 0.1), passing(1, 1.0, 1.0, 0.2), passing(2, 3.0, 3.0, 0.05)]
    assert ranks(rows) == {1: 1, 0: 2, 2: 3}


def test_circuits_that_are_better_in_one_thing_each_are_all_first():
    rows = [passing(0, 1.0, 9.0, 0.1), passing(1, 9.0, 1.0, 0.1), passing(2, 9.0, 9.0, 0.9)]
    assert ranks(rows) == {0: 1, 1: 1, 2: 1}


def test_equal_circuits_do_not_dominate_each_other():
    assert ranks([passing(0, 1.0, 1.0, 0.1), passing(1, 1.0, 1.0, 0.1)]) == {0: 1, 1: 1}


def test_with_an_objective_it_and_the_margin_alone_count_at_the_worst_corner():
    rows = [passing(0, 2.0, 1.0, 0.1), passing(1, 1.0, 5.0, 0.1)]
    assert ranks(rows, Objective("power_w", "minimize")) == {1: 1, 0: 2}
    assert ranks(rows, Objective("power_w", "maximize")) == {0: 1, 1: 2}
    assert [row["index"] for row in ranked(rows, Objective("area_m2", "maximize"))] == [1, 0]


def test_a_circuit_without_the_objective_comes_last():
    without = passing(0, 2.0, 1.0, 0.1)
    without["metrics"]["ff"]["power_w"] = None
    assert ranks([without, passing(1, 9.0, 5.0, 0.1)], Objective("power_w", "minimize")) == {1: 1, 0: 2}


def test_the_document_ranks_what_passes_and_says_of_the_rest_why():
    cost = {"simulations": 13, "offline_simulations": 256, "operating_points": 64, "cpu_s": {"simulator": 0.5}}
    rows = [
        fallen(1, "not_met", "sized", elapsed_s=8.0, decks={"tt": {}}, trace=[], **cost),
        passing(0, 1.0, 1.0, 0.1, elapsed_s=7.0, decks={"tt": {}}, **cost),
    ]
    document = design_document(rows)
    assert [row["index"] for row in document["results"]] == [0]
    assert "decks" in document["results"][0]
    (other,) = document["fell_out"]
    assert (other["stage"], other["why"]) == ("not_met", "so it is")
    assert not {"decks", "trace"} & other.keys()
    assert document["cost"] == {
        "simulations": 26, "offline_simulations": 512, "operating_points": 128, "simulator_cpu_s": 1.0, "wall_s": 8.0
    }  # fmt: skip
    assert document["funnel"]["passing"] == 1


def test_a_design_of_nothing_costs_nothing():
    assert cost_of([]) == {
        "simulations": 0, "offline_simulations": 0, "operating_points": 0, "simulator_cpu_s": 0, "wall_s": 0.0
    }  # fmt: skip
    assert design_document([])["results"] == []


def test_reasons_are_counted_the_most_frequent_first():
    rows = [
        fallen(0, "not_legal", "proposed"),
        fallen(1, "not_met", "sized"),
        fallen(2, "not_met", "sized"),
        {"index": 3, "status": "error"},
        passing(4, 1.0, 1.0, 0.1),
    ]
    assert list(why_candidates_fell_out(rows).items()) == [("not_met", 2), ("not_legal", 1), ("error", 1)]


def test_a_circuit_without_transistors_that_have_an_area_is_ranked_by_the_rest():
    bipolar = passing(0, 1.0, 1.0, 0.5)
    for metrics in bipolar["metrics"].values():
        metrics["area_m2"] = None
    assert ranks([bipolar, passing(1, 2.0, 1.0, 0.1)]) == {0: 1, 1: 1}
    assert ranks([bipolar, passing(1, 0.5, 1.0, 0.6)]) == {1: 1, 0: 2}
    assert ranks([bipolar, bipolar | {"index": 1, "least_margin": 0.4}]) == {0: 1, 1: 2}


@pytest.mark.parametrize("status", ["invalid", "error"])
def test_only_rows_that_are_ok_are_ranked(status: str):
    assert ranked([passing(0, 1.0, 1.0, 0.1, status=status)]) == []
