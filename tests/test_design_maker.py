"""Design requests on this machine: what is refused before anything runs, what rows say, and what ends a design."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pytest

from app.analog.spice import parse_spice
from app.circuit_model import CircuitPrediction
from app.design.maker import KIND, Designs
from app.errors import EngineClosed, InvalidInput, InvalidRequest, SimulatorCrashed, UnknownName
from app.requests import AnalogDesignRequest, AnalogGenerateRequest, JobRequest, SpentRequest
from app.simulators.processes import WorkerPool
from app.sizing.model import CircuitModel
from app.sizings import Sizings
from app.testbenches._simulator import Bench, BenchSimulator, SimulationRow
from app.workshop import OUTCOME_OF, Row, is_finished
from tests.designing import (
    ARCHETYPES,
    DEAD,
    ONE_INPUT,
    TWO_INPUT_PAIRS,
    AnyAmplifier,
    CheckedPool,
    GivenNetlists,
    archetype,
    by_index,
    design_request,
    designs,
    produced,
)
from tests.sizing import IMPOSSIBLE, nothing_learnt, sizings

Result = TypeVar("Result")

PVT = ["tt,1.8V,27C", "ss,1.62V,125C", "ss,1.62V,-40C", "ff,1.98V,125C", "ff,1.98V,-40C"]


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """What the work returns; one that waits for ever fails the test."""

    async def bounded() -> Result:
        return await asyncio.wait_for(work, 120)

    return asyncio.run(bounded())


def rows_of(
    request: AnalogDesignRequest, made: Designs | None = None, indices: Sequence[int] | None = None
) -> dict[int, Row]:
    """The finished rows of a request that is prepared first."""
    made = made or designs()
    prepared = made.prepare(KIND, request)
    return by_index(run(produced(made, prepared, indices)))


# --- what is settled and what is refused ----------------------------------------------------------------------------


def test_a_prepared_request_names_its_testbench_generator_and_seed():
    prepared = designs().prepare(KIND, design_request(sources="both", seed=None, candidates=9))
    assert (prepared.testbench, prepared.model, prepared.candidates) == ("opamp", "fake", 9)
    assert prepared.seed is not None
    assert prepared.made_by == "fake"


def test_of_archetypes_alone_there_are_only_so_many_and_no_generator_makes_them():
    prepared = designs().prepare(KIND, design_request(candidates=200, max_devices=9, model="fake"))
    assert (prepared.candidates, prepared.row_count, prepared.model) == (4, 4, None)


@pytest.mark.parametrize("sources", ["both", "archetypes"])
def test_a_generator_that_there_is_not_is_refused_whether_or_not_it_is_to_draw(sources: str):
    class OneModel(GivenNetlists):
        def prepare(self, kind: str, request: JobRequest) -> JobRequest:
            raise UnknownName("model", str(request.made_by), ["fake"], pointer="/model")

    made = Designs(OneModel(), sizings(CheckedPool()), at_once=1, archetypes=ARCHETYPES)
    with pytest.raises(UnknownName) as caught:
        made.prepare(KIND, design_request(sources=sources, model="fale"))
    assert caught.value.pointer == "/model"


@pytest.mark.parametrize(("metric", "testbench"), [("swing_v", "ring_oscillator"), ("amplitude_v", "lc_oscillator")])
def test_the_testbench_is_the_one_of_the_type_that_measures_what_is_asked(metric: str, testbench: str):
    request = design_request(f"{metric}>0.5", type="oscillator", max_devices=None)
    assert designs().prepare(KIND, request).testbench == testbench


REFUSED: dict[str, tuple[dict[str, Any], type[InvalidInput], str, str]] = {
    "an unknown type": ({"type": "opmap"}, UnknownName, "/type", "did you mean 'opamp'"),
    "a type without testbench": ({"type": "pll"}, InvalidRequest, "/type", "no testbench measures"),
    "an unknown testbench": ({"testbench": "opmap"}, UnknownName, "/testbench", "opamp"),
    "another type's testbench": ({"testbench": "ldo"}, InvalidRequest, "/testbench", "choose"),
    "an unknown technology": ({"technology": "generic18"}, UnknownName, "/technology", "generic180"),
    "an unknown method": ({"method": "randon"}, UnknownName, "/method", "random"),
    "too few simulations": ({"budget": {"simulations": 17}, "corners": "pvt"}, InvalidRequest, "/budget/simulations",
                            "at least 18"),
    "what was spent": ({"spent": {"passing": 3}}, InvalidRequest, "/spent", "leave it out"),
    "no small archetype": ({"max_devices": 2}, InvalidRequest, "/max_devices", "2 devices or fewer"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_designed_is_refused_before_anything_runs(what: str):
    fields, error, pointer, words = REFUSED[what]
    pool = CheckedPool()
    with pytest.raises(error, match=words) as caught:
        designs(pool=pool).prepare(KIND, design_request(**fields))
    assert caught.value.pointer == pointer
    assert pool.were_in_background == []


@pytest.mark.parametrize(
    ("bound", "words"), [("gian_db>60", "gain_db"), ("gain_db>1e9", "no circuit has more"), ("gain_db>60<5", "bound")]
)
def test_bounds_that_nothing_can_keep_or_measure_are_refused(bound: str, words: str):
    with pytest.raises(ValueError if "<" in bound else InvalidInput, match=words):
        designs().prepare(KIND, design_request(bound))


def test_a_supply_that_the_technology_does_not_bear_is_refused():
    request = design_request().model_dump()
    request["specification"]["supply_v"] = 5.0
    with pytest.raises(InvalidRequest, match="bears") as caught:
        designs().prepare(KIND, AnalogDesignRequest.model_validate(request))
    assert caught.value.pointer == "/specification/supply_v"


def test_another_kind_of_request_is_none_of_its_own():
    with pytest.raises(UnknownName, match=r"analog\.design"):
        designs().prepare("analog.generate", AnalogGenerateRequest())


def test_the_heading_says_what_all_candidates_have_in_common():
    made = designs()
    prepared = made.prepare(KIND, design_request(corners="pvt"))
    heading = made.heading(KIND, prepared)
    assert (heading["type"], heading["testbench"], heading["method"]) == ("opamp", "opamp", "random")
    assert list(heading["corners"]) == PVT
    assert {"name": "gain_db", "unit": "dB"} in heading["metrics"]
    assert heading["specification"]["bounds"] == [{"metric": "gain_db", "low": 50.0}]


# --- rows -----------------------------------------------------------------------------------------------------------


def test_every_candidate_has_one_row_and_those_that_pass_are_verified_at_every_corner():
    request = design_request(sources="both", candidates=4, enough=9, corners="pvt")
    rows = rows_of(request)
    assert sorted(rows) == [0, 1, 2, 3]
    assert {row["status"] for row in rows.values()} <= OUTCOME_OF.keys()
    winner = rows[0]
    assert (winner["status"], winner["reached"], winner["stage"], winner["why"]) == ("ok", "passing", None, None)
    assert (winner["origin"], winner["name"], winner["novelty"]) == ("archetype", "opamp/bipolar_two_stage", None)
    assert list(winner["metrics"]) == PVT
    assert list(winner["decks"]) == PVT
    assert all(limit["is_met"] for limit in winner["margins"])
    assert winner["least_margin"] > 0
    assert parse_spice(winner["netlist"]).netlist.devices[0].sizes
    generated = rows[2]
    assert (generated["origin"], generated["name"]) == ("generated", None)
    assert generated["novelty"] == {"is_novel": True, "nearest_similarity": 0.25}
    assert generated["nearest"]["name"] == "opamp/two_stage_miller"


def test_candidates_fall_out_where_they_fail_with_a_reason():
    made = designs(archetype("opamp/bipolar_two_stage"), ONE_INPUT, DEAD)
    rows = rows_of(design_request(sources="both", candidates=6, max_devices=9, enough=9), made)
    fallen = {index: (row["stage"], row["reached"]) for index, row in rows.items() if row["status"] == "invalid"}
    assert fallen == {3: ("duplicate", "proposed"), 4: ("not_legal", "proposed"), 5: ("not_conducting", "legal")}
    assert rows[3]["why"] == "it is the same circuit as candidate 0, opamp/bipolar_two_stage"
    assert "negative input" in rows[4]["why"]
    assert "no transistor conducts" in rows[5]["why"]
    assert all(row["simulations"] == 0 for index, row in rows.items() if index in fallen)
    assert parse_spice(rows[4]["netlist"]).netlist.devices


def test_once_enough_pass_no_further_candidate_is_begun():
    rows = rows_of(design_request(enough=2))
    assert [row["status"] for row in rows.values()].count("ok") == 2
    rest = [row for row in rows.values() if row["status"] != "ok"]
    assert {(row["stage"], row["reached"], row["simulations"]) for row in rest} == {("not_tried", "promising", 0)}
    assert {row["why"] for row in rest} == {"enough candidates meet the specification before its turn"}


def test_what_no_candidate_meets_ends_with_the_nearest_and_what_holds_it_back():
    rows = rows_of(design_request(IMPOSSIBLE, budget={"simulations": 60}, enough=1))
    sized = [row for row in rows.values() if row["reached"] == "sized"]
    assert sized
    for row in sized:
        assert (row["status"], row["stage"]) == ("invalid", "not_met")
        assert row["why"] == row["binding"]
        assert row["why"].startswith("gain_db>150: gain_db is")
        assert row["least_margin"] < 0


def test_the_budget_is_that_of_all_candidates_together():
    rows = rows_of(design_request(IMPOSSIBLE, budget={"simulations": 50}, enough=1))
    assert sum(row["simulations"] for row in rows.values()) <= 50
    reasons = {row["why"] for row in rows.values() if row["stage"] == "not_tried"}
    assert reasons == {"the budget of 50 simulations was spent before its turn"}


def test_two_at_once_do_not_spend_more_than_the_budget():
    rows = rows_of(design_request(IMPOSSIBLE, budget={"simulations": 25}, enough=1), designs(at_once=2))
    assert 0 < sum(row["simulations"] for row in rows.values()) <= 25


def test_candidates_that_the_time_does_not_suffice_for_are_not_tried():
    made = designs()
    prepared = made.prepare(KIND, design_request()).model_copy(update={"spent": SpentRequest(seconds=601.0)})
    rows = by_index(run(produced(made, prepared)))
    assert {(row["stage"], row["reached"]) for row in rows.values()} == {("not_tried", "proposed")}
    assert {row["why"] for row in rows.values()} == {"the budget of 10 minutes ended before it was looked at"}
    assert all(row["elapsed_s"] > 601 for row in rows.values())


def test_archetypes_and_generated_circuits_take_turns():
    request = design_request(sources="both", candidates=4, enough=2, max_devices=None)
    rows = rows_of(request, designs(TWO_INPUT_PAIRS, archetype("opamp/telescopic_cascode")))
    assert sorted(row["origin"] for row in rows.values() if row["status"] == "ok") == ["archetype", "generated"]


def test_a_circuit_that_could_not_be_drawn_is_an_error_row():
    rows = rows_of(design_request(sources="both", candidates=4), designs(None, TWO_INPUT_PAIRS))
    broken = [row for row in rows.values() if row["status"] == "error"]
    assert [(row["index"], row["problem"]["detail"]) for row in broken] == [(2, "no more")]


def test_a_candidate_is_the_same_circuit_whichever_of_its_job_are_missing():
    request = design_request(sources="both", candidates=6, enough=9)
    some = rows_of(request, indices=[4, 2])
    every = rows_of(request)
    assert set(some) == {4, 2}
    assert {index: row["netlist"] for index, row in some.items()} == {index: every[index]["netlist"] for index in some}
    assert some[4]["why"] == every[4]["why"] == "it is the same circuit as candidate 3, generated circuit 3"


def test_decks_are_left_out_where_nobody_wants_them():
    rows = rows_of(design_request(include_decks=False))
    assert all("decks" not in row for row in rows.values())


def test_unfinished_rows_tell_what_candidates_have_reached():
    made = designs()
    prepared = made.prepare(KIND, design_request())
    told = [row for row in run(produced(made, prepared)) if not is_finished(row)]
    assert {row["progress"]["reached"] for row in told} >= {"legal", "conducting", "promising"}
    assert {row["index"] for row in told} == {0, 1, 2, 3}
    assert "4 proposed, 4 legal" in told[-1]["progress"]["note"]


# --- resuming -------------------------------------------------------------------------------------------------------


def test_a_job_that_goes_on_has_what_its_earlier_rows_left_of_the_budget():
    made = designs()
    prepared = made.prepare(KIND, design_request(IMPOSSIBLE, budget={"simulations": 60}, enough=1))
    earlier = by_index(run(produced(made, prepared)))
    first = [earlier[0], earlier[1]]
    resumed = prepared.following(first)
    rows = by_index(run(produced(made, resumed, [2, 3])))
    spent = sum(row["simulations"] for row in first)
    assert spent > 0
    assert sum(row["simulations"] for row in rows.values()) <= 60 - spent
    assert min(row["elapsed_s"] for row in rows.values()) >= max(row["elapsed_s"] for row in first)


def test_a_job_of_which_enough_passed_before_tries_nothing_more():
    pool = CheckedPool(AnyAmplifier())
    made = designs(pool=pool)
    prepared = made.prepare(KIND, design_request(enough=2))
    resumed = prepared.following([{"status": "ok", "simulations": 9, "elapsed_s": 1.0}, {"status": "ok"}])
    rows = by_index(run(produced(made, resumed, [2, 3])))
    assert {row["why"] for row in rows.values()} == {"enough candidates meet the specification before it was looked at"}
    assert pool.were_in_background == []


# --- offline triage -------------------------------------------------------------------------------------------------


class FormulaModel:
    """A neural simulator that knows the amplifier's formulas, but gives circuits of five devices no gain at all."""

    metrics = ("gain_db",)

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.evaluations = 0

    def predict(self, vectors: np.ndarray[Any, Any]) -> CircuitPrediction:
        self.evaluations += len(vectors)
        amplifier = AnyAmplifier()
        sizings_ = [self.bench.space.as_sizing(vector) for vector in vectors.tolist()]
        gains = [cast(float, amplifier.metrics(self.bench.corner, each)["gain_db"]) for each in sizings_]
        value = np.array(gains)[:, None] - (200.0 if len(self.bench.topology.devices) == 5 else 0.0)
        return CircuitPrediction(self.metrics, value, value - 1, value + 1, np.ones_like(value))

    def learn(self, rows: Sequence[SimulationRow]) -> None:
        pass

    def errors(self) -> Sequence[Any]:
        return ()


def formulas_learnt(benches: Sequence[Bench], /, *, from_store: bool) -> Sequence[CircuitModel]:
    return [FormulaModel(bench) for bench in benches]


def test_candidates_that_the_neural_simulator_expects_to_fail_are_not_sized():
    rows = rows_of(design_request(enough=2), designs(models_of=formulas_learnt))
    small = next(row for row in rows.values() if row["device_count"] == 5)
    assert (small["stage"], small["reached"], small["simulations"]) == ("not_promising", "conducting", 0)
    assert small["why"] == "the neural simulator expects even its best sizing to miss gain_db>50"
    assert small["promise"]["score"] < -1
    assert small["offline_simulations"] == 24  # a first look is enough to see it


def test_what_triage_found_offline_is_simulated_first():
    request = design_request("gain_db>82", sources="generated", candidates=1, max_devices=None)
    without, with_model = (rows_of(request, designs(models_of=each))[0] for each in (nothing_learnt, formulas_learnt))
    assert without["met_after"] is None or without["met_after"] > 4
    assert with_model["status"] == "ok"
    assert with_model["met_after"] <= 4


def test_where_nothing_is_promising_as_many_as_are_to_pass_are_sized_all_the_same():
    request = design_request(IMPOSSIBLE, enough=2, budget={"simulations": 100})
    rows = rows_of(request, designs(models_of=formulas_learnt))
    stages = [row["stage"] for row in rows.values()]
    assert sorted(stages) == ["not_met", "not_met", "not_promising", "not_promising"]


# --- accidents ------------------------------------------------------------------------------------------------------


class Accidents(CheckedPool):
    """Workers to which something happens: `on_search` at a circuit of five devices, `on_sizing` at every sizing."""

    def __init__(self, on_search: Exception | None = None, on_sizing: Exception | None = None) -> None:
        super().__init__(AnyAmplifier())
        self.on_search = on_search
        self.on_sizing = on_sizing

    def submit(
        self, request: Mapping[str, Any], *, in_background: bool = False, timeout_s: float | None = None
    ) -> Future[dict[str, Any]]:
        failed: Future[dict[str, Any]] = Future()
        if self.on_search is not None and "search" in request and len(request["search"]["mos"]) == 5:
            failed.set_exception(self.on_search)
            return failed
        if self.on_sizing is not None and "sizings" in request:
            failed.set_exception(self.on_sizing)
            return failed
        return super().submit(request, in_background=in_background, timeout_s=timeout_s)


def test_a_simulator_that_crashes_on_one_candidate_costs_only_that_one():
    made = designs(pool=Accidents(on_search=SimulatorCrashed("worker", 11)))
    rows = rows_of(design_request(enough=9), made)
    assert [row["device_count"] for row in rows.values() if row["status"] == "error"] == [5]
    assert [row["status"] for row in rows.values()].count("ok") == 3


def test_an_error_that_nobody_foresaw_ends_the_call_and_makes_no_row_of_it():
    made = designs(pool=Accidents(on_sizing=ZeroDivisionError("in a worker's thread")), at_once=2)
    prepared = made.prepare(KIND, design_request())
    with pytest.raises(ZeroDivisionError):
        run(produced(made, prepared))


def test_closing_the_iterator_stops_what_runs():
    pool = CheckedPool(AnyAmplifier(), is_held=True)
    made = designs(pool=pool)
    prepared = made.prepare(KIND, design_request())

    async def begin_and_close() -> float:
        rows = cast("AsyncGenerator[Row, None]", made.produce(KIND, prepared, range(4), in_background=True))
        while (row := await anext(rows))["progress"]["reached"] != "promising":
            pass
        assert not is_finished(row)
        while not pool.held:
            await asyncio.sleep(0.01)
        began = time.monotonic()
        await rows.aclose()
        return time.monotonic() - began

    assert run(begin_and_close()) < 5
    assert all(future.cancelled() for _, future in pool.held)
    assert all(pool.were_in_background)


def test_a_pool_that_is_closed_in_the_middle_makes_no_row_of_candidates_that_wait():
    pool = CheckedPool(AnyAmplifier(), is_held=True)
    made = designs(pool=pool)
    prepared = made.prepare(KIND, design_request())

    async def begin_and_lose_the_pool() -> list[Row]:
        async def lose() -> None:
            while not pool.held:
                await asyncio.sleep(0.01)
            pool.close()

        losing = asyncio.create_task(lose())
        rows = [row async for row in made.produce(KIND, prepared, range(4))]
        await losing
        return rows

    with pytest.raises(EngineClosed):
        run(begin_and_lose_the_pool())


# --- with ngspice ---------------------------------------------------------------------------------------------------


@pytest.mark.simulator
def test_ngspice_verifies_an_archetype_and_what_a_generator_drew(ngspice: WorkerPool, tmp_path: Path):
    gmid = BenchSimulator(ngspice, tables_folder=tmp_path).gmid
    made = Designs(
        GivenNetlists(TWO_INPUT_PAIRS), Sizings(ngspice, gmid, nothing_learnt), at_once=2, archetypes=ARCHETYPES
    )
    request = design_request("gain_db>30", sources="both", candidates=2, max_devices=12, enough=2)
    rows = rows_of(request, made)
    assert [row["status"] for row in rows.values()].count("ok") >= 1
    winner = next(row for row in rows.values() if row["status"] == "ok")
    (metrics,) = winner["metrics"].values()
    assert metrics["gain_db"] > 30
    assert winner["operating_points"] >= 1
