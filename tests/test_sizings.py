"""Sizing requests on this machine: what is refused before anything runs, what rows say, and what stops."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from pydantic import ValidationError

from app.analog.spice import parse_spice
from app.errors import EngineClosed, InvalidInput, InvalidRequest, LimitExceeded, SpiceSyntaxError, UnknownName
from app.requests import AnalogGenerateRequest, AnalogSizeRequest
from app.simulators.processes import WorkerPool
from app.sizing._base import OfflineModel, Proposer, sizing_methods
from app.sizing.problem import SizingProblem
from app.sizings import KIND, Sizings, describe_method, seed_of_run, specification_in
from app.technologies._base import technologies
from app.testbenches._base import Corner, testbenches
from app.testbenches._simulator import Bench, BenchSimulator, SimulationRow, make_corner, prepare_bench
from app.workshop import OUTCOME_OF, Row, is_finished
from tests.closed_form_amplifier import ClosedFormAmplifier, NoTables
from tests.decks import run_as_written
from tests.predicting import FormulaNetwork, predictions
from tests.sizing import EASY, IMPOSSIBLE, MILLER, FormulaPool, nothing_learnt, size_request, sizings

Result = TypeVar("Result")

FLOATING = MILLER.replace(".end", "C9 N7 VSS 1p\nC8 N7 VDD 1p")
NOMINAL, SLOW_HOT = "tt,1.8V,27C", "ss,1.62V,125C"


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """What the work returns; one that waits for ever fails the test."""

    async def bounded() -> Result:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(bounded())


async def produced(made: Sizings, request: AnalogSizeRequest, indices: Sequence[int] | None = None) -> list[Row]:
    """Every row in the order in which it came, unfinished ones too."""
    prepared = made.prepare(KIND, request)
    asked = range(prepared.row_count) if indices is None else indices
    return [row async for row in made.produce(KIND, prepared, asked)]


def rows_of(request: AnalogSizeRequest, made: Sizings | None = None, indices: Sequence[int] | None = None) -> list[Row]:
    """The finished rows."""
    return [row for row in run(produced(made or sizings(), request, indices)) if is_finished(row)]


def row_of(request: AnalogSizeRequest, made: Sizings | None = None) -> Row:
    """The only row."""
    (row,) = rows_of(request, made)
    return row


def timeless(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in ("wall_s", "cpu_s")}


def corner(text: str) -> Corner:
    process, supply, celsius = text.split(",")
    return Corner(process, float(supply[:-1]), float(celsius[:-1]))


# --- rows -----------------------------------------------------------------------------------------------------------


def test_a_row_has_the_sizing_verified_at_every_corner_and_what_it_cost() -> None:
    row = row_of(size_request("gain_db>60", "ugf_hz>20e6", include_decks=True))
    assert (row["index"], row["status"], row["seed"], row["method"]) == (0, "ok", 3, "random")
    assert "binding" not in row
    assert list(row["metrics"])[:2] == [NOMINAL, SLOW_HOT]
    assert len(row["metrics"]) == len(row["decks"]) == 5
    amplifier = ClosedFormAmplifier()
    for name, metrics in row["metrics"].items():
        assert {key: metrics[key] for key in ("gain_db", "ugf_hz")} == {
            key: amplifier.metrics(corner(name), row["sizes"])[key] for key in ("gain_db", "ugf_hz")
        }
        assert "slew_rate_v_per_s" in metrics, "all metrics of the testbench are told, not the specification's alone"
        assert row["undefined"][name]["slew_rate_v_per_s"] == {"cause": "circuit", "reason": "no formula"}
        assert "open_loop" in row["decks"][name]
    netlist = {device.name: device.sizes for device in parse_spice(row["netlist"]).netlist.devices}
    assert netlist["M2"] == {
        "width_m": row["sizes"]["w_m1"],
        "length_m": row["sizes"]["l_m1"],
        "multiplier": row["sizes"]["m_m1"],
    }
    assert row["simulations"] == row["trials"] + 4 * 2 + 1, "the corners are simulated once in the search, and at last"
    assert row["simulations"] >= row["met_after"] + 5
    assert row["offline_simulations"] == 0
    assert row["cpu_s"]["simulator"] == pytest.approx(0.25 * row["simulations"])
    assert row["trace"][-1]["simulations"] == row["simulations"] - 5
    assert OUTCOME_OF[row["status"]] == "ok"
    json.dumps(row, allow_nan=False)


def test_margins_are_told_in_the_metric_s_own_unit_at_the_worst_corner() -> None:
    row = row_of(size_request("gain_db>50", "power_w<1m", corners=["tt", {"process": "ss", "celsius": 125}]))
    gain, power = row["margins"]
    hot = "ss,1.8V,125C"
    assert (gain["bound"], gain["metric"], gain["corner"]) == ("gain_db>50", "gain_db", hot)
    assert gain["worst"] == row["metrics"][hot]["gain_db"] == pytest.approx(row["metrics"][NOMINAL]["gain_db"] - 6)
    assert gain["margin"] == gain["worst"] - 50
    assert power["bound"] == "power_w<0.001"
    assert power["margin"] == 1e-3 - power["worst"] > 0
    assert gain["is_met"] is power["is_met"] is True


def test_what_no_sizing_meets_ends_with_the_best_found_and_the_bound_that_holds_it_back() -> None:
    row = row_of(size_request(IMPOSSIBLE, "ugf_hz>1e6", budget={"simulations": 40}))
    assert (row["status"], row["met_after"]) == ("invalid", None)
    worst = min(metrics["gain_db"] for metrics in row["metrics"].values())
    assert row["binding"].startswith(f"gain_db>150: gain_db is {worst:.5g} dB at s")
    assert row["binding"].endswith(f" {150 - worst:.5g} dB short")
    assert [limit["is_met"] for limit in row["margins"]] == [False, True]
    assert row["simulations"] <= 40
    assert row["sizes"]


def test_a_bound_on_a_metric_without_a_value_says_why_there_is_none() -> None:
    pool = FormulaPool(ClosedFormAmplifier(breaks_at_m=0.0))
    row = row_of(size_request("ugf_hz>1e6", corners="nominal", budget={"simulations": 12}), sizings(pool))
    assert row["binding"] == f"ugf_hz>1e+06: ugf_hz has no value at {NOMINAL}: no formula"
    (limit,) = row["margins"]
    assert (limit["worst"], limit["margin"], limit["is_met"]) == (None, None, False)


def test_an_objective_is_improved_beyond_the_bounds() -> None:
    bounds = ("gain_db>60",)
    plain = row_of(size_request(*bounds, corners="nominal"))
    better = row_of(size_request(*bounds, corners="nominal", objective={"minimize": "power_w"}))
    assert better["status"] == "ok"
    assert better["metrics"][NOMINAL]["power_w"] < 0.5 * plain["metrics"][NOMINAL]["power_w"]


def test_a_row_depends_on_seed_and_index_and_not_on_its_company() -> None:
    request = size_request("gain_db>70", "ugf_hz>30e6", runs=4, corners="nominal")
    whole = [timeless(row) for row in rows_of(request)]
    assert [row["index"] for row in whole] == [0, 1, 2, 3]
    assert [timeless(row) for row in rows_of(request, indices=[2])] == [whole[2]]
    assert len({json.dumps(row["sizes"]) for row in whole}) > 1
    other = rows_of(request.model_copy(update={"seed": 4}))
    assert [row["sizes"] for row in other] != [row["sizes"] for row in whole]


def test_runs_draw_from_seeds_of_their_own() -> None:
    seeds = {seed_of_run(seed, index) for seed in range(20) for index in range(20)}
    assert len(seeds) == 400
    assert max(seeds) < 2**32


def test_unfinished_rows_say_how_far_the_search_is() -> None:
    early, *_, last = run(produced(sizings(), size_request(IMPOSSIBLE, corners="nominal", budget={"simulations": 20})))
    assert is_finished(last)
    assert (early["index"], early["status"], is_finished(early)) == (0, "running", False)
    assert early["progress"]["note"] == "4 of 20 simulations, the best misses gain_db>150"
    assert (early["progress"]["simulations"], early["progress"]["missed"]) == (4, ["gain_db>150"])
    assert early["progress"]["score"] < 0


def test_what_was_simulated_is_handed_to_the_store_corner_by_corner() -> None:
    kept: list[tuple[str, int]] = []

    class Store:
        def add(self, bench: Bench, rows: Sequence[SimulationRow], /) -> int:
            assert all(set(row["metrics"]) == {"gain_db"} for row in rows)
            kept.append((str(bench.corner), len(rows)))
            return len(rows)

    row = row_of(size_request(EASY), sizings(store=Store()))
    assert [name for name, _ in kept] == list(row["metrics"])
    assert sum(count for _, count in kept) == row["stored_rows"] == row["simulations"] - 5


def test_without_what_the_method_needs_of_the_neural_simulator_the_row_says_so() -> None:
    row = row_of(size_request(EASY, method="insight-m", corners="nominal"))
    assert row["status"] == "ok"
    assert row["model"]["note"].startswith("the model has not learnt the testbench 'opamp'; it knows mixer")
    assert row_of(size_request(EASY))["model"] is None


def test_the_neural_simulator_learns_from_the_run_and_its_errors_are_told() -> None:
    asked: list[bool] = []
    made = predictions()

    def models_of(benches: Sequence[Bench], /, *, from_store: bool) -> Any:
        asked.append(from_store)
        return made.circuit_models(benches, from_store=from_store)

    request = size_request("gain_db>60", method="insight-m", corners="nominal", budget={"simulations": 24})
    early, *_, row = run(produced(sizings(models_of=models_of), request))
    offline = early["progress"]["offline_simulations"]
    assert early["progress"]["note"] == f"0 of 24 simulations and {offline} offline"
    assert row["offline_simulations"] > max(offline, 100)
    assert row["model"]["rows"] == row["trials"]
    assert set(row["model"]["errors"]) == {"gain_db"}
    row_of(request.model_copy(update={"adapt": True}), sizings(models_of=models_of))
    assert asked == [False, True]


class Refusing:
    """A method that cannot do its work."""

    summary, reference, uses_model = "refuses", "nobody", False

    def begin(self, problem: SizingProblem, *, seed: int, budget: int, model: OfflineModel | None) -> Proposer:
        """Never."""
        raise LimitExceeded("the number of variables", len(problem.space.variables), 3)


@contextmanager
def refusing_method() -> Iterator[None]:
    """A method named ``refusing`` is registered."""
    assert len(sizing_methods)
    sizing_methods.add("refusing", Refusing())
    try:
        yield
    finally:
        sizing_methods.remove("refusing")


def test_a_run_that_cannot_be_made_is_an_error_row_and_no_exception() -> None:
    with refusing_method():
        first, second = rows_of(size_request(EASY, method="refusing", runs=2))
    assert (first["status"], first["index"], second["index"]) == ("error", 0, 1)
    assert first["problem"] == {"type": "LimitExceeded", "detail": "the number of variables is 17, the limit is 3"}


# --- what is settled and what is refused ----------------------------------------------------------------------------


def test_a_prepared_request_is_prepared_once_more_without_change() -> None:
    request = AnalogSizeRequest.model_validate(
        {
            "netlist": MILLER, "type": "opamp", "runs": 3,
            "specification": {"bounds": ["gain_db>60", {"metric": "power_w", "high": 1e-3}],
                              "objective": {"maximize": "ugf_hz"}, "corners": ["ss", {"celsius": 85}]},
        }
    )  # fmt: skip
    prepared = sizings().prepare(KIND, request)
    assert (prepared.testbench, prepared.type) == ("opamp", None)
    assert prepared.seed is not None
    again = AnalogSizeRequest.model_validate(prepared.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert sizings().prepare(KIND, again) == prepared == again


def test_what_rows_have_in_common_is_told_once() -> None:
    made = sizings()
    heading = made.heading(
        KIND, made.prepare(KIND, size_request("gain_db>60", supply_v=1.6, settings={"load_f": 2e-12}))
    )
    assert (heading["testbench"], heading["technology"], heading["method"]) == ("opamp", "generic180", "random")
    assert heading["corners"]["ss,1.44V,125C"] == {"process": "ss", "supply_v": 1.6 * 0.9, "celsius": 125.0}
    assert heading["settings"]["load_f"] == 2e-12
    assert heading["specification"]["bounds"] == [{"metric": "gain_db", "low": 60.0}]
    assert heading["budget"] == {"simulations": 200, "minutes": 10.0}
    assert {"name": "gain_db", "unit": "dB"} in heading["metrics"]
    assert heading["sizes"][0]["name"] == "w_m1"
    json.dumps(heading, allow_nan=False)


def test_a_type_is_measured_on_the_testbench_that_fits_the_circuit_and_has_the_metrics() -> None:
    request = AnalogSizeRequest.model_validate(
        {"netlist": MILLER, "type": "opamp", "specification": {"bounds": ["phase_margin_deg>60"]}}
    )
    assert sizings().prepare(KIND, request).testbench == "opamp"


@pytest.mark.parametrize(
    ("fields", "error", "pointer", "words"),
    [
        ({"testbench": "opmap"}, UnknownName, "/testbench", "no testbench named 'opmap'; did you mean 'opamp'?"),
        ({"testbench": None, "type": "pll"}, InvalidRequest, "/type", "no testbench measures circuits of type pll"),
        ({"testbench": None, "type": "opmap"}, UnknownName, "/type", "no circuit type named 'opmap'; did you mean"),
        ({"testbench": None, "type": "mixer"}, InvalidRequest, "/netlist", "testbench mixer cannot drive this circuit"),
        ({"technology": "generic81"}, UnknownName, "/technology", "no technology named 'generic81'"),
        ({"method": "guess"}, UnknownName, "/method", "no sizing method named 'guess'"),
        ({"ports": {"outptu": "VOUT1"}}, UnknownName, "/ports", "did you mean 'output'?"),
        ({"ports": {"output": "N99"}}, InvalidRequest, "/ports", "the netlist has no net 'N99'"),
        ({"netlist": "R1 VDD VSS 1k\n"}, InvalidRequest, "/netlist", "testbench opamp cannot drive this circuit"),
        ({"netlist": FLOATING}, InvalidRequest, "/netlist", "no direct current can"),
        ({"netlist": ".control\nshell ls\n.endc\n"}, SpiceSyntaxError, "/netlist", "line 1"),
        ({"netlist": "M1 a b\n"}, SpiceSyntaxError, "/netlist", "line 1"),
        ({"budget": {"simulations": 10}, "corners": ["tt", "ss", "ff", "sf", "fs", {"celsius": 0}]}, InvalidRequest,
         "/budget/simulations", "10 simulations are too few for 6 corners"),
        ({"corners": ["tt", "sss"]}, UnknownName, "/specification/corners/1", "no process corner of generic180 named"),
        ({"corners": [{"supply_v": 10}]}, InvalidRequest, "/specification/corners/0", "the supply is 10 V"),
        ({"corners": ["ss", {"process": "ss"}]}, InvalidRequest, "/specification/corners/1", "is listed twice"),
        ({"settings": {"load": 1}}, UnknownName, "/specification/settings", "did you mean 'load_f'?"),
        ({"settings": {"load_f": 5}}, InvalidRequest, "/specification/settings/load_f", "setting load_f is 5 F"),
        ({"supply_v": 3.3}, InvalidRequest, "/specification/supply_v", "the specification's supply is 3.3 V"),
        ({"supply_v": 0.5}, InvalidRequest, "/specification/corners", "the supply is 0.5 V"),
        ({"objective": {"minimize": "powr_w"}}, UnknownName, "/specification/objective", "did you mean 'power_w'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_sized_is_refused_in_a_sentence_with_a_pointer_before_any_simulation(
    fields: dict[str, Any], error: type[InvalidInput], pointer: str, words: str
) -> None:
    pool = FormulaPool()
    with pytest.raises(error) as caught:
        sizings(pool).prepare(KIND, size_request(**fields))
    assert caught.value.pointer == pointer
    assert words in str(caught.value)
    assert pool.were_in_background == []


@pytest.mark.parametrize(
    ("bounds", "error", "words"),
    [
        (["gian_db>60"], UnknownName, "no metric of testbench opamp named 'gian_db'; did you mean 'gain_db'?"),
        (["gain_db>1e9"], InvalidRequest, "gain_db is asked to be at least 1e+09 dB; no circuit has more than 160 dB"),
        (["gain_db>60", "gain_db<50"], InvalidRequest, "gain_db is asked to be at least 60 and at most 50"),
        ([{"metric": "gain_db"}], InvalidRequest, "the bound on gain_db has neither a low nor a high end"),
        (["power_w<-1"], InvalidRequest, "power_w is asked to be at most -1 W; no circuit has less"),
    ],
)
def test_bounds_that_nothing_can_keep_are_refused(bounds: list[Any], error: type[InvalidInput], words: str) -> None:
    pool = FormulaPool()
    with pytest.raises(error) as caught:
        sizings(pool).prepare(KIND, size_request(*bounds))
    assert caught.value.pointer == "/specification/bounds"
    assert words in str(caught.value)
    assert pool.were_in_background == []


@pytest.mark.parametrize(
    ("fields", "place", "words"),
    [
        ({"bounds": ["gain_db"]}, ("specification", "bounds", 0), "'gain_db' is no bound; write METRIC>NUMBER"),
        ({"bounds": ["gain_db>sixty"]}, ("specification", "bounds", 0), "the bound on gain_db: 'sixty' is not a SPICE"),
        ({"bounds": []}, ("specification", "bounds"), "at least 1 item"),
        ({"bounds": [{"metric": "gain_db", "low": "60"}]}, ("specification", "bounds", 0, "low"), "valid number"),
        ({"objective": {"minimise": "power_w"}}, ("specification", "objective"), "'minimize' or 'maximize'"),
        ({"objective": {}}, ("specification", "objective"), "at least 1 item"),
        (
            {"objective": {"minimize": "power_w", "maximize": "ugf_hz"}},
            ("specification", "objective"),
            "at most 1 item",
        ),
        ({"corners": "all"}, ("specification", "corners"), "'nominal' or 'pvt'"),
        ({"corners": []}, ("specification", "corners"), "at least 1 item"),
        ({"testbench": None}, ("type",), "a netlist is sized on a testbench or by its type; give one of them"),
        ({"type": "opamp"}, ("type",), "a netlist is sized on a testbench or by its type; give one of them"),
        ({"budget": {"simulations": 0}}, ("budget", "simulations"), "greater than or equal to 10"),
        ({"budget": {"minutes": 0}}, ("budget", "minutes"), "greater than or equal to 0.1"),
        ({"runs": 0}, ("runs",), "greater than or equal to 1"),
        ({"sizings": []}, ("sizings",), "Extra inputs"),
    ],
)
def test_a_request_that_is_none_is_refused_where_it_is_wrong(
    fields: dict[str, Any], place: tuple[str | int, ...], words: str
) -> None:
    specification = {"bounds": [EASY]} | {
        key: fields.pop(key) for key in ("bounds", "objective", "corners") if key in fields
    }
    body = {"netlist": MILLER, "testbench": "opamp", "specification": specification, **fields}
    with pytest.raises(ValidationError) as caught:
        AnalogSizeRequest.model_validate(body)
    first = caught.value.errors()[0]
    assert first["loc"][: len(place)] == place
    assert words in first["msg"]


def test_a_bound_is_a_text_or_an_object_and_the_tightest_holds() -> None:
    request = size_request("gain_db>60", "power_w<1m", "gain_db >= 65").specification
    objects = [{"metric": "gain_db", "low": 65.0}, {"metric": "power_w", "high": 1e-3}]
    assert specification_in(request, technologies["generic180"]).as_json()["bounds"] == objects


def test_another_kind_of_request_is_refused() -> None:
    with pytest.raises(UnknownName, match=r"no kind of sizing named 'analog\.generate'"):
        sizings().prepare("analog.generate", AnalogGenerateRequest())


def test_every_method_is_described() -> None:
    described = [describe_method(name, entry) for name, entry in sizing_methods.items()]
    assert [each["name"] for each in described if each["is_default"]] == ["insight-m"]
    assert all(each["summary"] and each["reference"] for each in described)


# --- what stops -----------------------------------------------------------------------------------------------------


def test_closing_the_iterator_stops_the_run_and_keeps_nothing_of_it() -> None:
    pool = FormulaPool()
    stored: list[int] = []

    class Store:
        def add(self, bench: Bench, rows: Sequence[SimulationRow], /) -> int:
            stored.append(len(rows))
            return len(rows)

    async def scenario() -> None:
        made = sizings(pool, store=Store())
        prepared = made.prepare(KIND, size_request(IMPOSSIBLE, corners="nominal", budget={"simulations": 10**5}))
        rows = cast("AsyncGenerator[Row, None]", made.produce(KIND, prepared, [0]))
        assert not is_finished(await anext(rows))
        pool.is_held = True
        while not pool.held:
            await asyncio.sleep(0.01)
        await rows.aclose()
        while any(thread.name == "size" for thread in threading.enumerate()):
            await asyncio.sleep(0.01)

    run(scenario())
    assert all(future.cancelled() for _, future in pool.held)
    assert stored == []


def test_a_run_that_is_stopped_in_the_offline_model_simulates_nothing() -> None:
    pool, network = FormulaPool(), FormulaNetwork()

    async def scenario() -> None:
        made = sizings(pool, predictions(network).circuit_models)
        prepared = made.prepare(KIND, size_request(IMPOSSIBLE, method="insight-m", corners="nominal"))
        rows = cast("AsyncGenerator[Row, None]", made.produce(KIND, prepared, [0]))
        await anext(rows)
        await rows.aclose()
        while any(thread.name == "size" for thread in threading.enumerate()):
            await asyncio.sleep(0.01)

    run(scenario())
    assert pool.were_in_background == []


def test_a_closed_pool_ends_a_call_with_unavailable() -> None:
    async def scenario() -> None:
        pool = FormulaPool(is_held=True)
        made = sizings(pool)
        rows = made.produce(KIND, made.prepare(KIND, size_request(EASY)), [0])
        waiting = asyncio.ensure_future(anext(aiter(rows)))
        while not pool.held:
            await asyncio.sleep(0.01)
        await made.aclose()
        with pytest.raises(EngineClosed, match="the simulator's workers were closed"):
            await waiting

    run(scenario())


def test_runs_of_jobs_wait_behind_those_that_someone_waits_for() -> None:
    async def scenario(pool: FormulaPool, *, in_background: bool) -> None:
        made = sizings(pool)
        prepared = made.prepare(KIND, size_request(EASY))
        assert [row async for row in made.produce(KIND, prepared, [0], in_background=in_background)]

    for in_background in (True, False):
        pool = FormulaPool()
        run(scenario(pool, in_background=in_background))
        assert set(pool.were_in_background) == {in_background}


# --- ngspice --------------------------------------------------------------------------------------------------------


@pytest.mark.simulator
def test_ngspice_sizes_an_amplifier_and_a_simulation_of_its_sizes_says_the_same(
    ngspice: WorkerPool, tmp_path: Path
) -> None:
    row = row_of(
        size_request("gain_db>30", "ugf_hz>1meg", corners=["ss"]), Sizings(ngspice, NoTables(), nothing_learnt)
    )
    assert row["status"] == "ok"
    slow = make_corner(technologies["generic180"], "ss")
    bench = prepare_bench(parse_spice(MILLER).netlist, testbenches["opamp"], technologies["generic180"], corner=slow)
    (again,) = BenchSimulator(ngspice).run(bench, [bench.space.vector(row["sizes"])])
    assert again["metrics"] == row["metrics"][str(slow)]
    run_as_written(row["decks"][str(slow)], tmp_path)
