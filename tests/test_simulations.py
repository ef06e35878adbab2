"""Simulation requests on this machine: what is refused before anything runs, whose rows are whose, and what stops."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from app.errors import EngineClosed, InvalidInput, InvalidRequest, SpiceSyntaxError, UnknownName
from app.hand_over import HandOver
from app.requests import AnalogGenerateRequest, AnalogSimulateRequest
from app.simulated_rows import SimulatedRows
from app.simulations import KEPT_BENCHES, Simulations, describe_technology, describe_testbench
from app.technologies._base import technologies
from app.testbenches._base import testbenches
from app.workshop import OUTCOME_OF, Row
from tests.bench_workshop import PAIR, BenchWorkshop, bench_workshop
from tests.decks import run_as_written

Result = TypeVar("Result")

KIND = "analog.simulate"
CHEAP = ("supply_current_a", "gain_db")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BenchWorkshop]:
    with bench_workshop(tmp_path_factory.mktemp("data")) as made:
        yield made


@pytest.fixture
def simulations(workshop: BenchWorkshop) -> Simulations:
    return workshop.simulations


def asked(**fields: Any) -> AnalogSimulateRequest:
    return AnalogSimulateRequest.model_validate({"netlist": PAIR, "testbench": "opamp", "metrics": CHEAP, **fields})


def drawn(count: int, method: str = "guided", **fields: Any) -> AnalogSimulateRequest:
    return asked(draw={"count": count, "method": method}, seed=5, **fields)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """What the work returns; one that waits for ever fails the test."""

    async def bounded() -> Result:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(bounded())


async def collect(simulations: Simulations, request: AnalogSimulateRequest, indices: Any = None) -> list[Row]:
    """The rows by index."""
    prepared = simulations.prepare(KIND, request)
    indices = range(prepared.row_count) if indices is None else indices
    rows = [row async for row in simulations.produce(KIND, prepared, indices)]
    return sorted(rows, key=lambda row: int(row["index"]))


def timeless(rows: list[Row]) -> list[Row]:
    return [{key: value for key, value in row.items() if key != "timings"} for row in rows]


def wait_until_idle(workshop: BenchWorkshop) -> None:
    """No worker has anything to do; fails after ten seconds."""
    deadline = time.monotonic() + 10
    while True:
        counts = workshop.pool.statistics()
        if counts["running"] == counts["queued"] == 0:
            return
        assert time.monotonic() < deadline, counts
        time.sleep(0.01)


# --- rows -----------------------------------------------------------------------------------------------------------


@pytest.mark.simulator
def test_a_row_is_that_of_the_contract(simulations: Simulations) -> None:
    (row,) = run(collect(simulations, asked()))
    assert set(row) == {"index", "status", "sizes", "metrics", "undefined", "relaxed", "timings"}
    assert (row["index"], row["status"]) == (0, "ok")
    assert set(row["metrics"]) == set(CHEAP)
    assert row["metrics"]["gain_db"] > 20
    heading = simulations.heading(KIND, simulations.prepare(KIND, asked()))
    assert row["sizes"] == {each["name"]: each["start"] for each in heading["sizes"]}
    assert all(each["low"] <= each["start"] <= each["high"] for each in heading["sizes"])
    assert heading["corner"] == {"process": "tt", "supply_v": 1.8, "celsius": 27.0}
    assert heading["ports"]["output"] == "VOUT1"
    assert heading["metrics"] == [{"name": "supply_current_a", "unit": "A"}, {"name": "gain_db", "unit": "dB"}]


@pytest.mark.simulator
def test_what_was_simulated_is_kept_before_the_caller_has_its_last_row(workshop: BenchWorkshop, tmp_path: Path) -> None:
    store = SimulatedRows(tmp_path)
    simulations = Simulations(workshop.pool, tmp_path, store)
    rows = run(collect(simulations, drawn(3)))
    (circuit,) = store.circuits()
    assert (circuit.testbench, circuit.rows) == ("opamp", 3)
    bench = simulations.prepared.get(simulations.prepare(KIND, drawn(3)), with_facts=False)
    kept = {row["metrics"]["gain_db"]: row["metrics"] for row in store.rows(bench)}
    assert kept == {row["metrics"]["gain_db"]: row["metrics"] for row in rows}


@pytest.mark.simulator
def test_a_store_that_cannot_be_written_costs_the_caller_nothing(workshop: BenchWorkshop, tmp_path: Path) -> None:
    (tmp_path / "rows.sqlite").write_text("no store of rows")
    (row,) = run(collect(Simulations(workshop.pool, tmp_path, SimulatedRows(tmp_path)), asked()))
    assert row["status"] == "ok"


@pytest.mark.simulator
def test_a_size_that_is_not_named_keeps_its_start_and_a_named_one_is_taken(simulations: Simulations) -> None:
    plain, wide = run(collect(simulations, asked(sizings=[{}, {"w_m1": 3e-5}])))
    assert wide["sizes"] == plain["sizes"] | {"w_m1": 3e-5}
    assert wide["metrics"] != plain["metrics"]


@pytest.mark.simulator
def test_a_corner_by_name_changes_the_process_alone(simulations: Simulations) -> None:
    prepared = simulations.prepare(KIND, asked(corner="ss"))
    assert prepared.corner is not None
    assert prepared.corner.model_dump() == {"process": "ss", "supply_v": 1.8, "celsius": 27.0}
    hot = asked(corner={"process": "ss", "supply_v": 1.62, "celsius": 125})
    slow, slower = (run(collect(simulations, request))[0] for request in (asked(corner="ss"), hot))
    assert slow["sizes"] == slower["sizes"]
    assert slow["metrics"] != slower["metrics"]


@pytest.mark.simulator
@pytest.mark.parametrize("method", ["guided", "log_uniform"])
def test_a_row_depends_on_seed_and_index_and_not_on_its_company(simulations: Simulations, method: str) -> None:
    whole = timeless(run(collect(simulations, drawn(12, method))))
    pieces = [
        timeless(run(collect(simulations, drawn(12, method), part))) for part in ([11, 3], [0, 1, 2], range(4, 11))
    ]
    assert sorted((row for piece in pieces for row in piece), key=lambda row: int(row["index"])) == whole
    other = run(collect(simulations, drawn(12, method).model_copy(update={"seed": 6})))
    assert not any(a["sizes"] == b["sizes"] for a, b in zip(whole, other, strict=True))


@pytest.mark.simulator
def test_two_callers_at_once_get_what_each_gets_alone(simulations: Simulations) -> None:
    first, second = drawn(30), drawn(30, corner="ff")
    alone = [timeless(run(collect(simulations, request))) for request in (first, second)]

    async def together() -> list[list[Row]]:
        return list(await asyncio.gather(collect(simulations, first), collect(simulations, second)))

    assert [timeless(rows) for rows in run(together())] == alone


@pytest.mark.simulator
def test_decks_and_operating_points_come_where_they_are_asked_for(simulations: Simulations, tmp_path: Path) -> None:
    (row,) = run(collect(simulations, asked(include_deck=True, include_operating_point=True)))
    assert row["operating_point"]["M1"]["gm"] > 0
    run_as_written(row["decks"], tmp_path)


@pytest.mark.simulator
def test_a_circuit_without_an_operating_point_is_a_row_and_no_exception(simulations: Simulations) -> None:
    floating = PAIR + "C1 N7 VSS 1p\nC2 N7 VDD 1p\n"
    (row,) = run(collect(simulations, asked(netlist=floating)))
    assert (row["status"], OUTCOME_OF[row["status"]]) == ("not_converged", "invalid")
    assert "no direct current can reach net" in row["message"]
    assert {why["cause"] for why in row["undefined"].values()} == {"simulator"}
    assert set(row["metrics"].values()) == {None}


@pytest.mark.simulator
def test_a_prepared_request_is_prepared_once_more_without_change(simulations: Simulations) -> None:
    prepared = simulations.prepare(KIND, drawn(3, corner="ss"))
    again = AnalogSimulateRequest.model_validate(prepared.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert simulations.prepare(KIND, again) == prepared == again


@pytest.mark.simulator
def test_a_seed_is_drawn_only_where_something_is(simulations: Simulations) -> None:
    seeds = {simulations.prepare(KIND, asked(draw={"count": 1})).seed for _ in range(4)}
    assert len(seeds) == 4
    assert simulations.prepare(KIND, asked()).seed == 0


@pytest.mark.simulator
def test_only_so_many_benches_are_kept(simulations: Simulations) -> None:
    for load in range(KEPT_BENCHES + 3):
        simulations.prepare(KIND, asked(settings={"load_f": 1e-15 * (load + 1)}))
    assert len(simulations.prepared) == KEPT_BENCHES


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("fields", "error", "pointer", "words"),
    [
        ({"testbench": "opmap"}, UnknownName, "/testbench", "no testbench named 'opmap'; did you mean 'opamp'?"),
        ({"technology": "generic81"}, UnknownName, "/technology", "no technology named 'generic81'"),
        ({"corner": "sss"}, UnknownName, "/corner", "no process corner of generic180 named 'sss'"),
        ({"corner": {"supply_v": 10}}, InvalidRequest, "/corner", "the supply is 10 V"),
        ({"corner": {"celsius": 1e6}}, InvalidRequest, "/corner", "the temperature is 1e+06 C"),
        ({"metrics": ["gian_db"]}, UnknownName, "/metrics", "did you mean 'gain_db'?"),
        ({"settings": {"load": 1}}, UnknownName, "/settings", "no setting of testbench opamp named 'load'"),
        ({"settings": {"load_f": 5}}, InvalidRequest, "/settings/load_f", "setting load_f is 5 F"),
        ({"ports": {"outptu": "VOUT1"}}, UnknownName, "/ports", "did you mean 'output'?"),
        ({"ports": {"output": "N99"}}, InvalidRequest, "/ports", "the netlist has no net 'N99'"),
        ({"sizings": [{}, {"w_m9": 1e-6}]}, UnknownName, "/sizings/1", "no size named 'w_m9'"),
        ({"sizings": [{"w_m1": 1.0}]}, InvalidRequest, "/sizings/0/w_m1", "size w_m1 is 1 m, it may be"),
        ({"sizings": [{"w_m1": -1e-6}]}, InvalidRequest, "/sizings/0/w_m1", "size w_m1 is -1e-06 m, it may be"),
        ({"netlist": "R1 VDD VSS 1k\n"}, InvalidRequest, "/netlist", "testbench opamp cannot drive this circuit"),
        ({"netlist": PAIR.replace("VOUT1", "NX")}, InvalidRequest, "/netlist", "it has no output"),
        ({"netlist": ".control\nshell ls\n.endc\n"}, SpiceSyntaxError, "/netlist", "line 1"),
        ({"netlist": "M1 a b\n"}, SpiceSyntaxError, "/netlist", "line 1"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_a_sentence_with_a_pointer(
    simulations: Simulations, fields: dict[str, Any], error: type[InvalidInput], pointer: str, words: str
) -> None:
    with pytest.raises(error) as caught:
        simulations.prepare(KIND, asked(**fields))
    assert caught.value.pointer == pointer
    assert words in str(caught.value)


@pytest.mark.simulator
def test_callers_who_ask_for_the_same_impossible_bench_at_once_each_get_an_error_of_their_own(
    simulations: Simulations,
) -> None:
    caught: list[InvalidInput] = []

    def ask() -> None:
        try:
            simulations.prepare(KIND, asked(netlist="R1 VDD VSS 1k\n"))
        except InvalidInput as error:
            caught.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(error) for error in caught}) == 8


@pytest.mark.simulator
def test_another_kind_of_request_is_refused(simulations: Simulations) -> None:
    with pytest.raises(UnknownName, match=r"no kind of simulation named 'analog\.generate'"):
        simulations.prepare("analog.generate", AnalogGenerateRequest())


# --- what stops -----------------------------------------------------------------------------------------------------


@pytest.mark.simulator
def test_closing_the_iterator_leaves_no_worker_busy(workshop: BenchWorkshop) -> None:
    async def first_row() -> None:
        prepared = workshop.simulations.prepare(KIND, drawn(5000))
        rows = cast("AsyncGenerator[Row, None]", workshop.simulations.produce(KIND, prepared, range(5000)))
        await anext(rows)
        await rows.aclose()

    run(first_row())
    wait_until_idle(workshop)
    assert len(run(collect(workshop.simulations, drawn(3)))) == 3


@pytest.mark.simulator
def test_cancelling_one_caller_leaves_the_other_all_its_rows(workshop: BenchWorkshop) -> None:
    expected = timeless(run(collect(workshop.simulations, drawn(60))))

    async def scenario() -> list[Row]:
        leaving = asyncio.create_task(collect(workshop.simulations, drawn(5000, corner="ff")))
        staying = asyncio.create_task(collect(workshop.simulations, drawn(60)))
        await asyncio.sleep(0.2)
        leaving.cancel()
        return await staying

    assert timeless(run(scenario())) == expected
    wait_until_idle(workshop)


@pytest.mark.simulator
def test_a_closed_pool_ends_a_call_with_unavailable(tmp_path: Path) -> None:
    async def scenario(workshop: BenchWorkshop) -> None:
        prepared = workshop.simulations.prepare(KIND, drawn(5000))
        rows = workshop.simulations.produce(KIND, prepared, range(5000))
        await anext(aiter(rows))
        await workshop.simulations.aclose()
        with pytest.raises(EngineClosed, match="the simulator's workers were closed"):
            async for _ in rows:
                pass

    with bench_workshop(tmp_path) as workshop:
        run(scenario(workshop))


@pytest.mark.simulator
def test_who_waits_is_served_before_the_background(tmp_path: Path) -> None:
    async def scenario(simulations: Simulations) -> tuple[float, int]:
        prepared = simulations.prepare(KIND, drawn(4000, metrics=None))
        behind: list[Row] = []

        async def work() -> None:
            async for row in simulations.produce(KIND, prepared, range(4000), in_background=True):
                behind.append(row)

        tasks = [asyncio.create_task(work()) for _ in range(4)]
        while len(behind) < 40:
            await asyncio.sleep(0.01)
        began, before = time.monotonic(), len(behind)
        assert len(await collect(simulations, drawn(1))) == 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return time.monotonic() - began, len(behind) - before

    with bench_workshop(tmp_path, size=1) as workshop:
        # One batch of the background may be running already; those that wait (eight) are passed.
        seconds, passed = run(scenario(workshop.simulations))
        assert passed <= 2 * 64, (seconds, passed)
        wait_until_idle(workshop)


def test_rows_that_nobody_waits_for_are_dropped() -> None:
    async def scenario() -> HandOver:
        rows = HandOver()
        rows.put({"index": 0})
        assert await rows.next() == {"index": 0}
        rows.put(None)
        assert await rows.next() is None
        rows.put(ValueError("the reason"))
        with pytest.raises(ValueError, match="the reason"):
            await rows.next()
        return rows

    rows = asyncio.run(scenario())
    rows.put({"index": 1})
    assert rows.is_closed


# --- what there is --------------------------------------------------------------------------------------------------


def test_every_testbench_is_described_with_units_definitions_and_reasons() -> None:
    for name, entry in testbenches.items():
        about = describe_testbench(entry)
        assert about["name"] == name
        assert about["types"]
        assert [metric["name"] for metric in about["metrics"]] == list(entry.metric_of)
        for metric in about["metrics"]:
            assert metric["unit"]
            assert metric["definition"]
            assert metric["undefined"]


def test_every_technology_is_described_with_its_corners_and_whether_its_cards_are_here() -> None:
    described = [describe_technology(entry) for entry in technologies.values()]
    assert [each["name"] for each in described if each["is_default"]] == ["generic180"]
    for about in described:
        assert about["processes"]
        assert about["licence"]
        assert about["source"]
        assert isinstance(about["is_available"], bool)
        low, high = about["limits"]["nmos"]["length_m"]
        assert 0 < low < high
