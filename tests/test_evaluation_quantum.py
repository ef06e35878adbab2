"""The evaluation of quantum models: what is looked at, how it is counted, and that a killed run goes on."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import CorpusMissing, InvalidRequest, NotExpressible, SimulatorTimeout, UnknownName
from app.evaluation.line_chain import LineChain
from app.evaluation.quantum import Depth, evaluate_quantum
from app.evaluation.quantum_card import MEASURES, SIDES, quantum_lines
from app.evaluation.quantum_comparisons import structure_distances, told_by_numbers
from app.evaluation.quantum_harness import Case, ProgramRecord, QuantumHarness, open_loader
from app.evaluation.quantum_plan import (
    ATTEMPTS,
    GATE_SET,
    GIVEN,
    SAMPLED,
    Condition,
    Item,
    Programs,
    QuantumPlan,
    sort_programs,
)
from app.evaluation.quantum_report import quantum_report
from app.measures.novelty import TrainingIndex
from app.measures.quantum_copies import KnownPrograms
from app.quantum import trial
from app.quantum.corpus import CorpusProgram
from app.quantum.oracles import Oracle, OracleVerdict
from app.quantum.program import Operation, QuantumProgram
from app.quantum.qasm import write_qasm2
from app.quantum.qiskit_circuits import load_qiskit
from app.quantum.qiskit_random import random_program
from app.quantum.skeleton import ngram_labels, skeleton_hash
from app.requests import QuantumGenerateRequest
from app.tokens._base import languages
from app.tokens.qasm_domain import bucket
from tests.test_evaluation import card_of
from tests.test_workshop_local import workshop_of
from tests.tiny_models import TinySettings, save_tiny_model

BELL = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\nh q[0];\ncx q[0],q[1];\n'


def chain(qubits: int, *, is_measured: bool = True) -> QuantumProgram:
    """A GHZ state on a chain of qubits."""
    steps = [Operation("h", (0,)), *(Operation("cx", (q, q + 1)) for q in range(qubits - 1))]
    ends = [Operation("measure", (q,), (), q) for q in range(qubits)] if is_measured else []
    return QuantumProgram(qubits, len(ends), (*steps, *ends))


def ring(qubits: int) -> QuantumProgram:
    """A graph state on a ring of qubits."""
    steps = [Operation("h", (q,)) for q in range(qubits)]
    return QuantumProgram(qubits, 0, (*steps, *(Operation("cz", (q, (q + 1) % qubits)) for q in range(qubits))))


def entry(family: str, program: QuantumProgram, kind: Any = "algorithm") -> CorpusProgram:
    return CorpusProgram("an id", family, kind, program, "built", skeleton_hash(program), True)


#: Nothing that OpenQASM 2 says: a gate hangs on one bit of two.
CONDITIONAL = QuantumProgram(
    2, 2, (Operation("h", (0,)), Operation("measure", (0,), clbit=0), Operation("x", (1,), condition=(0, 1)))
)

CORPUS = (
    *(entry("ghz", chain(n)) for n in range(2, 9)),
    *(entry("ghz", chain(n, is_measured=False)) for n in range(2, 9)),
    *(entry("graph_state", ring(n)) for n in range(3, 17)),
    entry("random", ring(17), "random"),
    entry("no_such_family", ring(18)),
    entry("teleportation", CONDITIONAL),
)

INDEX = TrainingIndex.build((e.skeleton, ngram_labels(e.program)) for e in CORPUS if e.program.qubit_count % 2)


def length(program: QuantumProgram, family: str) -> int | None:
    try:
        return len(languages["qasm_domain"].encode(program, family, random.Random(0)))
    except (NotExpressible, UnknownName):
        return None


PROGRAMS = sort_programs(CORPUS, INDEX, length, 1024)


def plan_of(count: int = 6, seeds: tuple[int, ...] = (1, 2), judged: str = "ghz") -> QuantumPlan:
    return QuantumPlan(count, seeds, PROGRAMS, lambda family: family == judged)


class InThisProcess:
    """Qiskit without a worker; a text with `poison` in it takes too long, one with `slow` in it does when it runs."""

    def __init__(self) -> None:
        load_qiskit()

    def submit(self, request: Mapping[str, Any]) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()
        text = request["program"]
        if "poison" in text or ("slow" in text and request.get("runs", True)):
            future.set_exception(SimulatorTimeout("it took longer than 1 s"))
        else:
            future.set_result(trial.handle(request))
        return future


def is_ghz(program: QuantumProgram) -> OracleVerdict:
    count = sum(op.name == "cx" for op in program.operations)
    return OracleVerdict(count == program.qubit_count - 1, f"{count} entangling gates", "statevector")


@pytest.fixture
def harness() -> Iterator[QuantumHarness]:
    made = QuantumHarness(
        InThisProcess(),
        {"ghz": Oracle("entangles", is_ghz)},
        known=KnownPrograms(PROGRAMS.known),
        seen=INDEX,
        threads=2,
    )
    yield made
    made.close()


def item(**changes: Any) -> Item:
    return replace(Item("generated", 1, 0, Condition.of("ghz", chain(4))), **changes)


# what is looked at


def test_real_programs_are_those_that_the_model_neither_saw_nor_could_not_write():
    assert {program.qubit_count % 2 for _, program in PROGRAMS.unseen} == {0}
    assert {program.qubit_count % 2 for _, program in PROGRAMS.known if _ != "random"} == {1}
    assert {family for family, _ in PROGRAMS.unseen} == {"ghz", "graph_state"}
    assert PROGRAMS.left_out == {
        "longer than the model writes, or outside its language": 1,
        "with gates that hang on measured bits": 1,
    }
    short = sort_programs(CORPUS, INDEX, length, 20)
    assert len(short.unseen) < len(PROGRAMS.unseen)
    without = sort_programs(CORPUS, None, length, 1024)
    assert (len(without.known), without.left_out["random by design"]) == (0, 1)


def test_without_a_program_that_is_unseen_there_is_nothing_to_evaluate_with():
    with pytest.raises(CorpusMissing, match="no program of the corpus is unseen by the model"):
        QuantumPlan(5, (1,), Programs((), PROGRAMS.known), bool)


def test_a_condition_is_the_bucket_of_a_real_program_and_the_program_keeps_it():
    for program in (chain(2, is_measured=False), chain(8), ring(16), QuantumProgram(1, 0, (Operation("h", (0,)),))):
        condition = Condition.of("ghz", program)
        assert condition.is_kept(program)
        assert condition.shallowest <= program.depth <= condition.deepest
        assert condition.fewest <= condition.most <= 1.5 * max(len(program.operations), program.qubit_count)
        QuantumGenerateRequest(seed=1, **condition.fields())
        assert {bucket(condition.fewest), bucket(condition.most)} == {bucket(len(program.operations))}
        assert {bucket(condition.shallowest), bucket(condition.deepest)} == {bucket(program.depth)}
    assert (Condition.of("ghz", chain(8)).fewest, Condition.of("ghz", chain(8)).most) == (12, 16)
    assert not Condition.of("ghz", chain(4)).is_kept(chain(5))
    assert not Condition.of("ghz", chain(4)).is_kept(chain(4, is_measured=False))


@pytest.mark.parametrize(
    ("statements", "qubits", "bounds"),
    [
        (1, 1, (1, 1)),
        (90, 1, (65, 90)),
        (91, 1, (91, 128)),
        (1023, 1, (725, 1023)),
        (5, 9, (5, 9)),  # no qubit may stay idle
    ],
)
def test_a_condition_ends_where_the_declared_bucket_or_the_language_does(
    statements: int, qubits: int, bounds: tuple[int, int]
):
    condition = Condition.of("random", QuantumProgram(qubits, 0, (Operation("h", (0,)),) * statements))
    assert (condition.fewest, condition.most) == bounds
    assert condition.fewest <= statements <= condition.most


def test_a_larger_count_adds_items_and_changes_none():
    small, large = ({i.key: i for i in plan_of(count).items()} for count in (4, 9))
    assert set(small) < set(large)
    assert all(large[key] == own for key, own in small.items() if own.index < 4)
    assert plan_of(4).digest() == plan_of(9).digest()
    sides = Counter(i.side for i in large.values())
    assert sides["generated"] == sides["bare"] == 18
    assert sides["real"] == sides["random"] == sides["line_chain"] == 9


def test_conditions_come_again_when_there_are_more_samples_than_real_programs():
    plan = plan_of(count=3 * len(PROGRAMS.unseen), seeds=(1,))
    assert len(plan.real) == len(PROGRAMS.unseen)
    asked = Counter(i.condition for i in plan.items() if i.side == "generated")
    assert set(asked.values()) == {3}


def test_every_training_program_stands_beside_one_real_program_of_its_family():
    pairs = [(real, known) for real, known in zip(plan_of(99).real, plan_of(99).training, strict=True) if known]
    assert len(pairs) > 5
    assert all(real[0] == known[0] for real, known in pairs)
    assert len({id(known[1]) for _, known in pairs}) == len(pairs)


def test_each_side_asks_for_what_its_name_says():
    fields = {side: item(side=side, index=1).fields() for side in SAMPLED}
    assert fields["generated"]["grammar"]
    assert not fields["bare"]["grammar"]
    assert fields["restricted"]["gate_set"] == GATE_SET
    assert fields["restricted"]["coupling_map"] == "grid"
    assert "family" not in fields["unlabelled"]
    assert (fields["verified"]["verify"], fields["verified"]["attempts"]) == (True, ATTEMPTS)
    assert fields["deep"]["min_depth"] <= chain(4).depth <= fields["deep"]["max_depth"]
    for own in fields.values():
        QuantumGenerateRequest(**own)


def test_only_what_an_oracle_can_judge_is_drawn_for_it():
    items = plan_of(99).items()
    judged = [i for i in items if i.side in ("verified", "unlabelled")]
    assert judged
    assert all(i.condition.family == "ghz" and i.condition.qubits <= 10 for i in judged)


def test_a_gate_set_and_a_coupling_map_are_kept_or_not():
    asked = item(side="restricted", index=0)
    flipped = QuantumProgram(4, 4, (Operation("sx", (0,)), *chain(4).operations[1:]))
    assert asked.is_kept(flipped)
    assert not asked.is_kept(chain(4))
    far = QuantumProgram(4, 4, (Operation("cx", (0, 3)), *chain(4).operations[1:]))
    assert not asked.is_kept(far)
    assert item().is_kept(far)


# what they stand beside


def test_random_programs_are_as_wide_and_about_as_long_as_asked_for():
    for qubits, statements in ((2, 12), (5, 60), (20, 300)):
        program = random_program(qubits, statements, seed=3)
        assert program == random_program(qubits, statements, seed=3)
        assert program.qubit_count == qubits
        assert 0.5 * statements < len(program.operations) < 2 * statements


def test_a_chain_of_lines_writes_lines_that_it_saw_below_its_register():
    lines = LineChain([chain(n) for n in range(2, 9)])
    text = lines.text(4, random.Random(1))
    assert text == lines.text(4, random.Random(1))
    assert text.splitlines()[:3] == ["OPENQASM 2.0;", 'include "qelib1.inc";', "qreg q[4];"]
    seen = {line for n in range(2, 9) for line in write_qasm2(chain(n)).splitlines()}
    assert set(text.splitlines()) <= seen
    assert all("q[4]" not in line for line in text.splitlines()[3:])


# one program


def test_a_program_is_loaded_measured_and_judged(harness: QuantumHarness):
    known, new = chain(5), chain(4)
    one, other = harness.records(
        [
            Case(item(condition=Condition.of("ghz", known)), known, write_qasm2(known), masked_nats=0.5),
            Case(item(index=1), new, write_qasm2(new)),
        ]
    )
    assert (one.parses, one.loads_bare, one.loads, one.is_sound, one.is_kept) == (True,) * 5
    assert (one.is_copy, one.is_strict_copy, one.distance, one.similarity) == (True, True, 0.0, 1.0)
    assert (one.passes, one.verdict, one.masked_nats) == (True, "4 entangling gates", 0.5)
    assert (other.is_copy, other.is_strict_copy, other.distance) == (False, False, 1.0)
    assert (other.depth_ratio, other.is_depth_kept) == (1.0, True)
    assert ProgramRecord.from_json(json.loads(json.dumps(one.as_json()))) == one


def test_what_is_no_program_passes_nothing(harness: QuantumHarness):
    (none, poisoned) = harness.records(
        [Case(item(), codes=("not_a_sentence",)), Case(item(index=1), chain(4), "poison")]
    )
    assert (none.parses, none.loads_bare, none.loads, none.is_sound, none.is_kept, none.passes) == (False,) * 6
    assert (none.features, none.identity, none.codes) == (None, None, ("not_a_sentence",))
    assert (poisoned.loads, poisoned.problem) == (False, "it took longer than 1 s")
    assert poisoned.passes
    text = write_qasm2(chain(4)) + "// slow"
    (slow,) = harness.records([Case(item(index=2), chain(4), text)])
    assert (slow.loads_bare, slow.loads, slow.is_sound) == (True, True, False)
    assert slow.problem == "it took longer than 1 s"


def test_v2_wants_finite_angles_no_idle_qubit_a_gate_and_a_run():
    answers = {
        "sound": BELL,
        "idle": BELL.replace("q[2]", "q[3]"),
        "infinite": BELL + "rx(1e400) q[0];\n",
        "gateless": BELL.split("h q")[0] + "reset q[0];\nreset q[1];\n",
        "legacy": BELL + "swap q[0],q[1];\n",
        "wrong": BELL + "cx q[0];\n",
    }
    told = {name: trial.handle({"program": text}) for name, text in answers.items()}
    assert [name for name, own in told.items() if own["bare"]] == ["sound", "idle", "infinite", "gateless"]
    assert [name for name, own in told.items() if own["legacy"]] == ["sound", "idle", "infinite", "gateless", "legacy"]
    assert [name for name, own in told.items() if own["is_whole"]] == ["sound", "legacy"]
    assert [name for name, own in told.items() if own["ran"]] == ["sound", "legacy"]
    assert told["wrong"]["refusal"]
    assert trial.handle({"program": write_qasm2(ring(21))})["ran"] is None


def test_without_a_simulator_nothing_is_said_of_running(harness: QuantumHarness, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trial, "find_spec", lambda name: None)
    idle = QuantumProgram(5, 4, chain(4).operations)
    sound, unsound = harness.records(
        [Case(item(), chain(4), write_qasm2(chain(4))), Case(item(index=1), idle, write_qasm2(idle))]
    )
    assert (sound.loads, sound.is_sound, unsound.is_sound) == (True, None, False)


@pytest.mark.slow
def test_the_loader_runs_programs_in_processes_of_their_own():
    with open_loader(1) as loader:
        answer = loader.submit({"program": BELL}).result()
    assert (answer["bare"], answer["legacy"], answer["is_whole"], answer["ran"]) == (True,) * 4


# sets beside each other


def records_of(side: Any, programs: list[QuantumProgram]) -> list[ProgramRecord]:
    loader = QuantumHarness(InThisProcess(), {}, threads=1)
    found = loader.records([Case(item(side=side, index=n), program) for n, program in enumerate(programs)])
    loader.close()
    return found


def test_sets_too_small_to_compare_are_not_compared():
    few = records_of("real", [chain(n) for n in range(2, 6)])
    assert told_by_numbers(few, [few]) is None


def test_the_distance_of_structure_is_small_to_the_same_programs_and_large_to_others():
    real = records_of("real", [chain(n) for n in range(2, 14)])
    found = structure_distances(real, {"same": real, "rings": records_of("generated", [ring(n) for n in range(3, 14)])})
    assert found["degree"]["same"]["distance"] == 0
    assert found["degree"]["rings"]["distance"] > 1
    assert set(found["degree"]) == {"same", "rings", "halves"}


# all of it


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report on a model of random weights, made once, in two goes."""
    folder = tmp_path_factory.mktemp("evaluated")
    save_tiny_model(folder / "models", "quantum", name="tiny-quantum")
    told: list[tuple[int, int]] = []
    oracles = {"ghz": Oracle("entangles", is_ghz)}
    harness = QuantumHarness(InThisProcess(), oracles, known=KnownPrograms(PROGRAMS.known), seen=INDEX, threads=1)
    plan = plan_of(12, seeds=(1,), judged="nothing")
    options: dict[str, Any] = {
        "corpus": "programs by hand", "length": length, "work": folder / "work",
        "depth": Depth(epochs=1, compiled=0), "report": lambda done, total: told.append((done, total)),
    }  # fmt: skip
    with workshop_of(TinySettings(folder / "models", engine_slots=16)) as workshop:
        first = asyncio.run(evaluate_quantum(workshop, harness, plan, **options))
        total = len(plan.items())
        assert told[-1] == (total, total)
        told.clear()
        assert asyncio.run(evaluate_quantum(workshop, harness, plan, **options)) == first
        assert told == []
        message = f"--work: {folder / 'work'} holds an evaluation with another temperature; give another folder"
        with pytest.raises(InvalidRequest, match=message):
            asyncio.run(evaluate_quantum(workshop, harness, plan, temperature=0.5, **options))
    harness.close()
    return first


def test_with_the_grammar_every_sample_is_as_asked_for_and_without_it_none_of_a_random_network(report: dict[str, Any]):
    sets = report["sets"]
    for side in ("generated", "restricted", "deep"):
        for measure in ("parses", "v0", "v1", "kept"):
            assert sets[side][measure]["share"] == 1.0, (side, measure, sets[side]["findings"])
        assert sets[side]["v2"]["share"] > 0.5, "chance may measure and do nothing else, which is no sound program"
    assert sets["bare"]["v1"]["share"] == 0.0
    assert set(sets["bare"]["findings"]) <= {"not_a_sentence", "unfinished"}


def test_every_sample_is_in_every_denominator(report: dict[str, Any]):
    for side in ("generated", "bare", "real"):
        for measure in ("parses", "v0", "v1", "v2", "kept", "unique"):
            assert report["sets"][side][measure]["n"] == report["sets"][side]["n"] == 12
    json.dumps(report, allow_nan=False)


def test_samples_stand_beside_real_programs_and_other_generators(report: dict[str, Any]):
    assert set(report["sets"]) == set(SIDES)
    assert (report["real"], report["known"]) == (12, len(PROGRAMS.known))
    real = report["sets"]["real"]
    assert (real["copy"]["share"], real["v2"]["share"], real["kept"]["share"]) == (0.0, 1.0, 1.0)
    assert report["sets"]["training"]["copy"]["share"] == 1.0
    told = report["realism"]
    for side in ("generated", "training", "random", "line_chain"):
        assert {"auc", "low", "high"} <= set(told[side]["numbers"]) & set(told[side]["statements"])
    assert told["bare"]["numbers"] is None
    assert report["structure"]["degree"]["halves"]["distance"] < report["structure"]["degree"]["random"]["distance"]
    assert report["families"]["real"]["share"] > 0.8
    assert report["speed"]["median"]["circuits"] == 64


@pytest.mark.parametrize(("auc", "is_reached"), [(0.6, True), (0.7, False), (0.41, True), (0.2, False)])
def test_an_area_far_below_one_half_is_as_bad_as_one_far_above(auc: float, is_reached: bool):
    facts = {"realism": {"generated": {"numbers": {"auc": auc, "low": auc - 0.05, "high": auc + 0.05}}}}
    aims = {aim["aim"]: aim for aim in quantum_report(plan_of(), {}, facts)["aims"]}
    aim = aims["distance of the C2ST AUC from 0.5, by numbers (at most)"]
    assert aim["measured"] == pytest.approx(abs(auc - 0.5))
    assert aim["low"] <= aim["measured"] <= aim["high"]
    assert aim["is_reached"] is is_reached


def test_each_aim_says_whether_it_was_reached(report: dict[str, Any]):
    aims = {aim["aim"]: aim["is_reached"] for aim in report["aims"]}
    assert aims["V0: `qasm2.loads` bare, every sample with the grammar (at least)"] is True
    assert aims["V1 without the grammar (at least)"] is False
    assert aims["copies of training programs (at most)"] is True
    assert aims["Kendall tau of compiler rankings (at least)"] is None


def test_the_card_says_what_was_measured(report: dict[str, Any], tmp_path: Path):
    text = card_of(tmp_path, "quantum", report)
    tables = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    head = next(line for line in tables if line[0] == "| measure")
    assert len(head) == 1 + len(SIDES)
    assert {line[0] for line in tables} >= {f"| {label}" for label in MEASURES.values()}
    assert "| V0: `qiskit.qasm2.loads` accepts it bare | 100.0 % (75.8 to 100.0) | 0.0 % (0.0 to 24.2) |" in text
    assert (
        "`josephson evaluate quantum --count 12 --seeds 1 --source FILE --epochs 1 --compiled 0 --model tiny-quantum"
        in text
    )
    assert "| reached |" in text
    assert "| **missed** |" in text


def test_rankings_of_compilers_stand_in_the_card_and_among_the_aims(report: dict[str, Any]):
    side = {"programs": 9, "compiled": 5, "overhead": {"line_40": {"a": 1.5, "b": None}}, "finished": {"a": 1.0}}
    tau = {"tau": 0.93, "low": 0.8, "high": 1.0, "by_device": {"line_40": 0.93}}
    facts = {
        "compilers": {
            "real": {**side, "halves": tau}, "generated": {**side, "tau": tau},
            "random": {**side, "tau": {**tau, "tau": 0.5}},
        },
        "speed": report["speed"],
    }  # fmt: skip
    plan = plan_of(12)
    ranked = {**report, **quantum_report(plan, {}, facts)}
    aims = {aim["aim"]: aim for aim in ranked["aims"]}
    assert aims["Kendall tau of compiler rankings (at least)"]["is_reached"]
    assert aims["that tau, against Qiskit's random circuits (at least)"]["target"] == 0.5
    text = "\n".join(quantum_lines(ranked))
    assert "| a on line_40 | 1.500 | 1.500 | 1.500 |" in text
    assert "| b on line_40 | - | - | - |" in text
    assert "0.93 (0.80 to 1.00) | 0.93 (0.80 to 1.00) | 0.50 (0.80 to 1.00) |" in text


def test_given_sides_bring_their_programs_and_sampled_ones_do_not():
    for i in plan_of(5).items():
        assert (i.side in GIVEN) == (i.program is not None or i.text is not None)
