"""The evaluation of analog models: what is looked at, how it is counted, and that a killed run goes on."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.analog.canonical import canonical_hash, wl_labels
from app.analog.corpus import read_archetypes
from app.analog.dataset import DatasetCircuit
from app.analog.kinds import CIRCUIT_TYPES
from app.analog.netlist import Netlist
from app.analog.rewiring import rewired
from app.analog.spice import parse_spice
from app.errors import InvalidRequest, SimulatorFailure
from app.evaluation.analog import evaluate_analog
from app.evaluation.harness import Harness, Record
from app.evaluation.plan import AnalogPlan, Item, sample_index, sample_number
from app.evaluation.report import SHARES, analog_report, types_without_testbench
from app.inference.checkpoint import INDEX_NAME
from app.measures.novelty import TrainingIndex
from app.requests import AnalogGenerateRequest
from app.simulators.operating_point import OperatingPointSimulator
from app.simulators.processes import WorkerPool
from app.technologies._base import DEFAULT_TECHNOLOGY, technologies
from app.testbenches._simulator import BenchSimulator
from app.testing import FakeWorkshop
from app.validators._base import ValidationTools
from app.validators.ladder import Ladder
from app.workshop_local import LocalWorkshop
from tests.test_workshop_local import produce, workshop_of
from tests.tiny_models import TinySettings, save_tiny_model

HELD_OUT = tuple(
    DatasetCircuit(circuit.id, circuit.type, circuit.netlist, circuit.source, circuit.id)
    for circuit in {circuit.type: circuit for circuit in read_archetypes()}.values()
)
PROPORTIONS = {name: 10 if name != "opamp" else 100 for name in CIRCUIT_TYPES}

ISLAND = "* ports: VDD VSS VIN1 VOUT1\nM1 VOUT1 VIN1 VSS VSS nmos\nM2 VOUT1 N1 VDD VDD pmos\n.end\n"
STAGE = "* ports: VDD VSS VIN1 VOUT1\nM1 VOUT1 VIN1 VSS VSS nmos\nR1 VDD VOUT1 20k\n.end\n"


def plan_of(count: int = 20, seeds: Sequence[int] = (1, 2), function_count: int = 15) -> AnalogPlan:
    return AnalogPlan(count, tuple(seeds), function_count, HELD_OUT, PROPORTIONS)


class KnowsOneType:
    """Takes every circuit for an op-amp."""

    def types(self, netlists: Sequence[Netlist], *, with_port_roles: bool = True) -> list[str]:
        return ["opamp" if with_port_roles else "ldo"] * len(netlists)


def harness_of(tools: ValidationTools | None = None, **options: Any) -> Harness:
    return Harness(Ladder(tools or ValidationTools()), types=KnowsOneType(), threads=2, **options)


@pytest.fixture
def harness() -> Iterator[Harness]:
    """Checks without a simulator, knows one training circuit."""
    stage = parse_spice(STAGE).netlist
    made = harness_of(seen=TrainingIndex.build([(canonical_hash(stage), wl_labels(stage))]))
    yield made
    made.close()


def item(**changes: Any) -> Item:
    return replace(Item("constrained", 1, sample_index("amplifier", 0), "amplifier", "function"), **changes)


# what is looked at


def test_the_sets_share_samples_and_each_has_its_count():
    plan = plan_of(count=100)
    assert [sum(numbers.values()) for numbers in plan.samples.values()] == [100, 100]
    assert plan.samples["data"]["opamp"] == 40
    drawn = Counter((i.side, i.seed) for i in plan.items() if i.netlist is None)
    most = sum(max(own[name] for own in plan.samples.values()) for name in CIRCUIT_TYPES)
    assert drawn == {(side, seed): most if side == "constrained" else 100
                     for side in ("constrained", "unconstrained") for seed in (1, 2)}  # fmt: skip
    assert most < 200


def test_every_item_is_looked_at_once_and_a_larger_count_changes_none():
    small, large = plan_of(count=20).items(), plan_of(count=50).items()
    assert len({i.key for i in large}) == len(large)
    of_large = {i.key: i for i in large}
    for i in small:
        if i.netlist is None:
            assert of_large[i.key].type == i.type
            assert i.index == sample_index(i.type, sample_number(i.index))


def test_function_is_tried_on_so_many_and_on_every_type_with_a_testbench():
    plan = plan_of(count=200, function_count=50)
    for name, tried in plan.tried.items():
        assert 50 <= sum(tried.values()) <= 50 + len(CIRCUIT_TYPES)
        for kind in CIRCUIT_TYPES:
            assert (tried[kind] > 0) == (kind not in types_without_testbench() and plan.samples[name][kind] > 0)
    assert not any(i.rung == "function" for i in plan_of(function_count=0).items())


def test_the_floor_is_the_ceiling_rewired():
    items = [i for i in plan_of().items() if i.netlist is not None]
    real = {i.index: i for i in items if i.side == "real"}
    assert len(real) == len(HELD_OUT)
    for i in items:
        own, other = i.netlist, real[i.index].netlist
        assert own is not None
        assert other is not None
        assert [device.kind for device in own.devices] == [device.kind for device in other.devices]
        assert i.side != "wired_100" or i.rung == real[i.index].rung


# one circuit


def test_what_fails_a_check_fails_all_that_follow(harness: Harness):
    none, island = harness.records([(item(), None, 3.0), (item(), parse_spice(ISLAND).netlist, 0.5)])
    assert (none.parses, none.is_legal, none.classified, none.codes) == (False, False, None, ("not_a_sentence",))
    assert (island.parses, island.is_legal) == (True, False)
    assert (island.classified, island.classified_by_wiring) == ("opamp", "ldo")
    assert island.codes == ("floating_net",)
    for record in (none, island):
        assert (record.converges, record.conducting, record.saturated, record.works) == (False, 0.0, 0.0, False)
        assert not record.has_point
    assert Record.from_json(json.loads(json.dumps(island.as_json()))) == island


def test_what_does_not_apply_is_not_counted(harness: Harness):
    divider = parse_spice("* ports: VSS VIN1 VOUT1\nR1 VIN1 VOUT1 1k\nR2 VOUT1 VSS 1k\n.end\n").netlist
    bare = item(rung="structure", side="unconstrained")
    (passive, legal) = harness.records([(item(), divider, None), (bare, divider, None)])
    assert (passive.is_legal, passive.conducting, passive.saturated) == (True, None, None)
    assert (legal.is_legal, legal.converges, legal.conducting, legal.works) == (True, None, None, None)


def test_novelty_is_that_of_the_row(models: Path, workshop: LocalWorkshop):
    rows = produce(workshop, "analog.generate", AnalogGenerateRequest(seed=5, max_devices=9), range(4))
    circuits = [parse_spice(row["netlist"]).netlist for row in rows]
    own = harness_of(seen=TrainingIndex.load(models / "tiny" / INDEX_NAME))
    for row, record in zip(rows, own.records([(item(), circuit, None) for circuit in circuits]), strict=True):
        assert record.similarity is not None
        assert row["novelty"] == {"is_novel": record.is_novel, "nearest_similarity": round(record.similarity, 4)}
    own.close()


class Breaks(OperatingPointSimulator):
    """A simulator whose workers die."""

    def __init__(self) -> None:
        self.technology = technologies[DEFAULT_TECHNOLOGY]

    def run(self, *circuit: Any, **options: Any) -> Any:
        raise SimulatorFailure("the workers are gone")


def test_a_simulator_that_fails_is_told_and_counts_against_the_circuit():
    own = harness_of(ValidationTools(simulator=Breaks()))
    (record,) = own.records([(item(), parse_spice(STAGE).netlist, None)])
    assert (record.is_legal, record.converges, record.works) == (True, False, False)
    assert record.problem is not None
    assert "the workers are gone" in record.problem
    own.close()


@pytest.mark.simulator
def test_a_textbook_stage_works_and_random_wiring_of_it_does_not(ngspice: WorkerPool):
    technology = technologies[DEFAULT_TECHNOLOGY]
    tools = ValidationTools(simulator=OperatingPointSimulator(ngspice, technology), benches=BenchSimulator(ngspice))
    own = harness_of(tools)
    stage = parse_spice(STAGE).netlist
    wired = rewired(stage, 1.0, random.Random(1))
    real, floor = own.records([(item(), stage, None), (item(), wired, None)])
    assert (real.converges, real.has_point, real.conducting, real.works) == (True, True, 1.0, True)
    assert not floor.works
    own.close()


# counting


def records_of(plan: AnalogPlan, **fields: Any) -> dict[tuple[str, int, int], Record]:
    """Every item of the plan come to the same; of the unconstrained ones every second is legal."""
    found: dict[tuple[str, int, int], Record] = {}
    for number, i in enumerate(plan.items()):
        is_sampled = i.side in ("constrained", "unconstrained")
        is_legal = i.side != "unconstrained" or number % 2 == 0
        record = Record(
            i.side, i.seed, i.index, i.type, i.rung, True, is_legal, identity=f"{i.side} {number}", is_novel=True,
            similarity=0.5, devices=9, masked_nats=0.25 if is_sampled else None,
            converges=None if i.rung == "structure" else True, has_point=True, conducting=0.5, saturated=0.25,
            works=True if i.rung == "function" else None, classified=i.type, classified_by_wiring=i.type,
        )  # fmt: skip
        found[record.key] = replace(record, **fields)
    return found


def test_the_types_of_a_set_sum_to_the_whole():
    plan = plan_of(count=100)
    sets = analog_report(plan, records_of(plan), {})["sets"]
    for name, part in sets.items():
        if "types" not in part:
            continue
        assert sum(own["n"] for own in part["types"].values()) == part["overall"]["n"]
        for measure in (*SHARES, "distinct"):
            whole, parts = part["overall"][measure], [own[measure] for own in part["types"].values()]
            counted = [own for own in parts if own is not None]
            assert sum(own["n"] for own in counted) == (whole["n"] if whole else 0)
            passed = sum(own["share"] * own["n"] for own in counted)
            assert passed == pytest.approx(whole["share"] * whole["n"] if whole else 0, abs=0.3), (name, measure)
    assert [sets[name]["overall"]["n"] for name in ("data", "uniform", "unconstrained")] == [200, 200, 200]
    assert sets["real"]["overall"]["n"] == sets["wired_100"]["overall"]["n"] == len(HELD_OUT)


def test_a_function_that_was_tried_for_another_set_is_not_counted_twice():
    plan = plan_of(count=200, function_count=50)
    sets = analog_report(plan, records_of(plan), {})["sets"]
    for name in ("data", "uniform"):
        assert sets[name]["overall"]["functional"]["n"] == 2 * sum(plan.tried[name].values())
    assert sets["unconstrained"]["overall"]["functional"] is None


def test_equal_circuits_of_a_seed_count_once():
    plan = plan_of(count=16)
    part = analog_report(plan, records_of(plan, identity="the same"), {})["sets"]["uniform"]["overall"]
    assert part["distinct"]["share"] == 2 / 32
    assert part["distinct"]["by_seed"] == {"1": 0.0625, "2": 0.0625}


def test_a_near_copy_is_not_novel_even_where_it_is_not_isomorphic():
    plan = plan_of(count=16)
    part = analog_report(plan, records_of(plan, similarity=0.95), {})["sets"]["data"]["overall"]
    assert (part["not_in_training"]["share"], part["novel"]["share"]) == (1.0, 0.0)


def test_what_cannot_be_told_is_left_out():
    plan = plan_of(count=16)
    report = analog_report(
        plan, records_of(plan, similarity=None, is_novel=None, classified=None, classified_by_wiring=None), {}
    )
    assert not {"novel", "not_in_training", "type_accuracy"} & set(report["sets"]["data"]["overall"])
    unknown = {aim["aim"] for aim in report["aims"] if aim["is_reached"] is None}
    assert "novel, types uniformly" in unknown
    assert "type as asked for, types as in the data" in unknown


def test_each_aim_says_whether_it_is_reached():
    plan = plan_of(count=100)
    speed = {"structure": {"per_cpu_s": 19.9}, "operating_point": {"per_cpu_s": 4.0}}
    records = records_of(plan)
    reached = {aim["aim"]: aim["is_reached"] for aim in analog_report(plan, records, speed)["aims"]}
    missed = {"legal without the grammar", "circuits a CPU second, checked up to structure"}
    assert {aim for aim, holds in reached.items() if not holds} == missed
    one = next(key for key, record in records.items() if record.side == "constrained")
    records[one] = replace(records[one], is_legal=False, conducting=0.0)
    reached = {aim["aim"]: aim["is_reached"] for aim in analog_report(plan, records, speed)["aims"]}
    assert not reached["legal with the grammar, types as in the data"]


def test_types_alike_weigh_a_rare_type_as_much_as_a_common_one():
    twice = [replace(circuit, id=f"{circuit.id} {n}") for circuit in HELD_OUT for n in range(9)
             if n == 0 or circuit.type == "opamp"]  # fmt: skip
    plan = replace(plan_of(count=16), held_out=tuple(twice))
    records = {
        key: replace(record, conducting=1.0 if record.type == "opamp" else 0.0)
        for key, record in records_of(plan).items()
    }
    sets = analog_report(plan, records, {})["sets"]
    assert sets["real"]["overall"]["conducting"]["share"] == pytest.approx(9 / 24)
    assert sets["real_uniform"]["overall"]["conducting"]["share"] == pytest.approx(1 / 16, abs=1e-4)


# a run


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    save_tiny_model(folder, "analog", name="tiny")
    return folder


@pytest.fixture(scope="module")
def workshop(models: Path) -> Iterator[LocalWorkshop]:
    with workshop_of(TinySettings(models, engine_slots=16)) as made:
        yield made


def run(harness: Harness, plan: AnalogPlan, workshop: Any = None, **options: Any) -> dict[str, Any]:
    return asyncio.run(evaluate_analog(workshop or FakeWorkshop(), harness, plan, corpus="archetypes", **options))


def test_a_model_of_random_weights_is_legal_with_the_grammar_and_writes_nothing_without_it(
    workshop: LocalWorkshop, harness: Harness
):
    told: list[tuple[int, int]] = []
    plan = plan_of(count=16, seeds=(0, 1), function_count=2)
    report = run(harness, plan, workshop, report=lambda *now: told.append(now))
    sets = report["sets"]
    assert (report["model"], report["count"], report["seeds"]) == ("tiny", 16, [0, 1])
    assert sets["uniform"]["overall"]["parses"]["share"] == 1.0
    assert sets["uniform"]["overall"]["n"] == sets["unconstrained"]["overall"]["n"] == 32
    assert sets["unconstrained"]["overall"]["parses"]["share"] == 0.0
    assert sets["uniform"]["overall"]["masked_nats"]["median"] > 10
    assert sets["data"]["types"]["opamp"]["type_accuracy"]["share"] == 1.0
    assert told[-1] == (len(plan.items()), len(plan.items()))
    assert report["speed"]["structure"]["circuits"] == 16
    assert report["cpu_s"]["sampling"] > 0
    json.dumps(report, allow_nan=False)


def test_without_a_simulator_nothing_is_claimed_to_work(harness: Harness):
    overall = run(harness, plan_of(count=16))["sets"]["real"]["overall"]
    for measure in ("converges", "conducting", "saturated", "functional"):
        assert overall[measure]["share"] == 0.0
    assert overall["conducting_where_solved"] is None


class Killed(BaseException):
    """The process was killed."""


def test_a_killed_evaluation_goes_on_and_reports_the_same(harness: Harness, tmp_path: Path):
    plan = plan_of(count=100)
    whole = run(harness, plan)
    done: list[int] = []

    def stop(now: int, total: int) -> None:
        done.append(now)
        if len(done) == 5:
            raise Killed

    with pytest.raises(Killed):
        run(harness, plan, work=tmp_path, report=stop)
    with (tmp_path / "evaluation.jsonl").open("a") as journal:
        journal.write('{"record": {"side": "cut of')
    workshop = FakeWorkshop()
    resumed = run(harness, plan, workshop, work=tmp_path)
    assert resumed["sets"] == whole["sets"]
    assert 64 < done[-1] < len(plan.items()) - 64
    sampled = [i for i in plan.items()[done[-1] :] if i.netlist is None]
    timed = 2 * (16 + 100)
    assert sum(workshop.produced.values()) == len(sampled) + timed
    again = FakeWorkshop()
    assert run(harness, plan, again, work=tmp_path) == resumed
    assert again.produced == {}


def test_a_larger_evaluation_goes_on_from_a_smaller_one(harness: Harness, tmp_path: Path):
    run(harness, plan_of(count=16, function_count=0), work=tmp_path)
    assert run(harness, plan_of(count=32), work=tmp_path)["sets"] == run(harness, plan_of(count=32))["sets"]


def test_a_folder_with_another_evaluation_is_refused(harness: Harness, tmp_path: Path):
    run(harness, plan_of(count=1), work=tmp_path)
    with pytest.raises(InvalidRequest) as refused:
        run(harness, plan_of(count=1), work=tmp_path, temperature=0.5)
    sentence = f"--work: {tmp_path} holds an evaluation with another temperature; give another folder"
    assert str(refused.value) == sentence
    with pytest.raises(InvalidRequest, match="with another type classifier; give another folder"):
        run(harness, plan_of(count=1), work=tmp_path, depends_on={"type classifier": "abc"})
