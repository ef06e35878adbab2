"""The engine: what a sequence is does not depend on its company, and every ticket is settled."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from app.benchmarks.engine import EndlessGrammar
from app.errors import EngineClosed, InvalidRequest
from app.inference.engine import Completion, Engine, Prompt, Ticket
from app.inference.engine import Sequence as Job
from app.inference.randomness import stream_key, uniform
from app.inference.sampling import sample
from app.nn.decoder import Decoder
from app.tokens._base import BEGIN, END, Grammar
from app.tokens.device_lines import DeviceLines, TopologyConstraint
from app.tokens.qasm_domain import ProgramConstraint, QasmDomain
from tests.random_walks import illegal_positions
from tests.tiny_models import CPU, tiny_decoder

WAIT_S = 60.0

LINES = DeviceLines()
NETWORK = tiny_decoder(len(LINES.vocabulary))
GRAMMAR = LINES.grammar(CPU)

CONSTRAINTS = (
    TopologyConstraint(max_devices=6),
    TopologyConstraint(type="opamp", max_devices=9, kinds=("nmos", "pmos"), ports=("VIN1", "VOUT1")),
    TopologyConstraint(
        type="filter", min_devices=2, max_devices=4, kinds=("resistor", "capacitor"),
        prefix=tuple(LINES.vocabulary.ids(["kind:resistor", "VIN1", "N1"])),
    ),
)  # fmt: skip


@contextmanager
def engine_of(slots: int = 8, *, network: Decoder = NETWORK, grammar: Grammar[Any, Any] = GRAMMAR) -> Iterator[Engine]:
    engine = Engine(network, grammar, slots=slots, device=CPU, threads=1)
    try:
        yield engine
    finally:
        engine.close()


def job(index: int, *, seed: int = 0, constrained: bool = True, **fields: Any) -> Job:
    """Sequence `index` of a seed; the index decides its constraint, temperature and nucleus too."""
    constraint = fields.pop("constraint", CONSTRAINTS[index % 3])
    prompt = Prompt(tuple(LINES.prompt(constraint)), constraint, constrained)
    defaults = {"temperature": (0.7, 1.0, 1.6)[index % 3], "top_p": (1.0, 0.8)[index % 2], "max_tokens": 200}
    return Job(prompt, stream_key(seed, index), **{**defaults, **fields})


class Outcomes:
    """What the callbacks of an engine's tickets said, in order."""

    def __init__(self) -> None:
        self.by_number: dict[int, Completion | BaseException] = {}
        self.calls = 0
        self._arrived = threading.Semaphore(0)

    def listener(self, number: int) -> Callable[[Completion | BaseException], None]:
        def on_done(outcome: Completion | BaseException) -> None:
            self.calls += 1
            self.by_number[number] = outcome
            self._arrived.release()

        return on_done

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self._arrived.acquire(timeout=WAIT_S), "the engine settles no more tickets"


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, "the engine does not get there"
        time.sleep(0.001)


def run(engine: Engine, jobs: Sequence[Job]) -> list[Completion]:
    """The completions of the jobs, submitted together."""
    outcomes = Outcomes()
    for number, each in enumerate(jobs):
        engine.submit(each, outcomes.listener(number))
    outcomes.wait_for(len(jobs))
    completions = []
    for number in range(len(jobs)):
        outcome = outcomes.by_number[number]
        assert isinstance(outcome, Completion), outcome
        completions.append(outcome)
    return completions


def sentences(engine: Engine, jobs: Sequence[Job]) -> list[list[int]]:
    return [completion.ids for completion in run(engine, jobs)]


def without_a_cache(network: Decoder, grammar: Grammar[Any, Any], each: Job) -> list[int]:
    """The same sequence by a loop that runs the whole network for every token."""
    ids = list(each.prompt.tokens)
    state = grammar.start(each.prompt.constraint)
    for known in ids[1:]:
        grammar.advance(state, torch.tensor([known]))
    temperature, top_p, key = torch.tensor([each.temperature]), torch.tensor([each.top_p]), torch.tensor([each.key])
    for step in range(each.max_tokens - len(ids)):
        with torch.inference_mode():
            scores = network(torch.tensor([ids]))[:, -1]
        mask = grammar.mask(state, 1) if each.prompt.is_constrained else torch.ones_like(scores, dtype=torch.bool)
        token = sample(scores, mask, temperature, top_p, uniform(key, torch.tensor([step])))
        if each.prompt.is_constrained:
            grammar.advance(state, token)
        ids.append(int(token))
        if ids[-1] == END:
            break
    return ids


@pytest.fixture(scope="module")
def alone() -> list[list[int]]:
    """Forty sequences, each the only one of its engine while it runs."""
    with engine_of(slots=4) as engine:
        return [sentences(engine, [job(index)])[0] for index in range(40)]


def test_tokens_of_a_prefix_are_not_taken_away_from_the_network():
    prefix = tuple(LINES.vocabulary.ids(["kind:resistor", "VIN1", "N1", "kind:resistor", "N1", "N2"]))
    state = GRAMMAR.start(TopologyConstraint(type="filter", max_devices=9, prefix=prefix))
    given = []
    for token in (*LINES.vocabulary.ids(["type:filter", "size16:0", "size1:4", "left:4"]), *prefix):
        given.append(bool(GRAMMAR.given(state, 1)[0]))
        GRAMMAR.advance(state, torch.tensor([token]))
    assert given == [False] * 4 + [True] * len(prefix)
    assert not GRAMMAR.given(state, 1)[0]


def test_a_sequence_does_not_depend_on_who_shares_its_batch(alone: list[list[int]]):
    with engine_of(slots=16) as engine:
        assert sentences(engine, [job(index) for index in range(40)]) == alone


@pytest.mark.parametrize("slots", [12, 36])  # one block of rows, and three that hand rows on to each other
def test_a_sequence_does_not_depend_on_the_order_of_admission(alone: list[list[int]], slots: int):
    order = list(range(40))
    random.Random(1).shuffle(order)
    with engine_of(slots=slots) as engine:
        found = dict(zip(order, sentences(engine, [job(index) for index in order]), strict=True))
    assert [found[index] for index in range(40)] == alone


def test_a_sequence_does_not_depend_on_neighbours_that_are_cancelled(alone: list[list[int]]):
    outcomes = Outcomes()
    with engine_of(slots=8) as engine:
        doomed: list[Ticket] = []
        for index in range(40):
            engine.submit(job(index), outcomes.listener(index))
            doomed.append(engine.submit(job(index, seed=99), outcomes.listener(1000 + index)))
            if index % 3 == 0:
                engine.cancel(doomed[index // 3])
        for ticket in doomed:
            engine.cancel(ticket)
        while not all(index in outcomes.by_number for index in range(40)):
            outcomes.wait_for(1)
    found = [outcomes.by_number[index] for index in range(40)]
    assert [outcome.ids for outcome in found if isinstance(outcome, Completion)] == alone


def test_the_cache_changes_no_token(alone: list[list[int]]):
    for index in range(0, 40, 5):
        assert without_a_cache(NETWORK, GRAMMAR, job(index)) == alone[index]


def test_the_same_seed_gives_the_same_circuits_and_another_seed_others(alone: list[list[int]]):
    with engine_of(slots=8) as engine:
        again = sentences(engine, [job(index) for index in range(12)])
        other = sentences(engine, [job(index, seed=1) for index in range(12)])
    assert again == alone[:12]
    assert sum(first != second for first, second in zip(again, other, strict=True)) >= 10, "small circuits may recur"
    assert len({tuple(ids) for ids in (*again, *other)}) >= 20


def test_every_sentence_is_one_of_its_constraint(alone: list[list[int]]):
    for index, ids in enumerate(alone):
        circuit, label = LINES.decode(ids)
        constraint = CONSTRAINTS[index % 3]
        assert constraint.type in (None, label)
        assert constraint.min_devices <= len(circuit.devices) <= constraint.max_devices
        assert set(constraint.ports) <= set(circuit.nets)


def test_the_quantum_language_runs_on_the_same_engine():
    language = QasmDomain()
    network, grammar = tiny_decoder(len(language.vocabulary)), language.grammar(CPU)
    constraint = ProgramConstraint(family="ghz", qubits=3, max_statements=8, gate_set=("h", "cx"))
    prompt = Prompt(tuple(language.prompt(constraint)), constraint)
    jobs = [Job(prompt, stream_key(0, index), 1.0, 1.0, 100) for index in range(10)]
    with engine_of(slots=4, network=network, grammar=grammar) as engine:
        found = sentences(engine, jobs)
    assert found[::3] == [without_a_cache(network, grammar, each) for each in jobs[::3]]
    for ids in found:
        program, family = language.decode(ids)
        assert (family, program.qubit_count) == ("ghz", 3)


def test_rows_without_a_constraint_share_a_batch_with_rows_that_have_one(alone: list[list[int]]):
    jobs = [job(index, constrained=index % 2 == 0, max_tokens=40 if index % 2 else 200) for index in range(16)]
    with engine_of(slots=8) as engine:
        found = run(engine, jobs)
    assert [completion.ids for completion in found[::2]] == alone[:16:2]
    for index in range(1, 16, 2):
        assert found[index].ids == without_a_cache(NETWORK, GRAMMAR, jobs[index])
    free = [found[index].ids for index in range(1, 16, 2)]
    assert None not in illegal_positions(GRAMMAR, [TopologyConstraint()] * len(free), free)


def test_a_sequence_that_reaches_its_limit_has_not_ended():
    with engine_of(slots=4) as engine:
        long, short = run(engine, [job(1), job(1, max_tokens=12)])
    assert long.has_ended
    assert not short.has_ended
    assert short.ids == long.ids[:12]


def test_without_the_grammar_a_sequence_is_at_most_as_long_as_those_that_the_network_was_trained_on():
    grammar = EndlessGrammar(len(LINES.vocabulary), CPU)
    with engine_of(slots=4, grammar=grammar) as engine:
        bare, constrained = run(engine, [job(1, constrained=False), job(1)])
    assert (len(bare.ids), len(constrained.ids)) == (NETWORK.config.context, 200)
    assert not bare.has_ended


def test_what_the_grammar_takes_away_is_told_and_is_the_same_in_a_crowd():
    with engine_of(slots=16) as engine:
        crowd = run(engine, [job(index) for index in range(12)])
    with engine_of(slots=4) as engine:
        assert [run(engine, [job(index)])[0].masked_nats for index in (0, 5)] == [crowd[n].masked_nats for n in (0, 5)]
        free = run(engine, [job(0, constrained=False)])[0]
    assert all(outcome.masked_nats > 0.0 for outcome in crowd), "an untrained network spreads its mass over all tokens"
    assert free.masked_nats == 0.0


def test_a_prompt_that_nothing_can_satisfy_fails_its_own_ticket_alone(alone: list[list[int]]):
    impossible = TopologyConstraint(max_devices=1, kinds=("resistor",), ports=("VIN1", "VIN2", "VOUT1"))
    outcomes = Outcomes()
    with engine_of(slots=4) as engine:
        engine.submit(job(0), outcomes.listener(0))
        engine.submit(job(1, constraint=impossible), outcomes.listener(1))
        engine.submit(job(2), outcomes.listener(2))
        outcomes.wait_for(3)
        assert engine.is_alive
    assert isinstance(outcomes.by_number[1], InvalidRequest)
    for index in (0, 2):
        outcome = outcomes.by_number[index]
        assert isinstance(outcome, Completion)
        assert outcome.ids == alone[index]


@pytest.fixture
def endless() -> Iterator[Engine]:
    """An engine of four slots whose sequences end at their limit and not before."""
    vocab = 20
    with engine_of(4, network=tiny_decoder(vocab), grammar=EndlessGrammar(vocab, CPU)) as engine:
        yield engine


def endless_job(index: int, max_tokens: int = 1_000_000, lane: int = 0) -> Job:
    return Job(Prompt((BEGIN,), None), stream_key(0, index), 1.0, 1.0, max_tokens, lane)


def test_a_cancelled_sequence_leaves_at_once_and_its_callback_is_never_called(endless: Engine):
    outcomes = Outcomes()
    tickets = [endless.submit(endless_job(index), outcomes.listener(index)) for index in range(9)]
    endless.submit(endless_job(9, max_tokens=20), outcomes.listener(9))
    wait_until(lambda: endless.statistics().tokens >= 40)
    for ticket in tickets:
        endless.cancel(ticket)
    outcomes.wait_for(1)
    assert list(outcomes.by_number) == [9], "the one that was not cancelled got a slot"
    statistics = endless.statistics()
    assert (statistics.active, statistics.waiting) == (0, 0)
    endless.close()
    assert outcomes.calls == 1


def test_closing_settles_every_ticket_with_a_sentence(endless: Engine):
    outcomes = Outcomes()
    for index in range(9):
        endless.submit(endless_job(index), outcomes.listener(index))
    wait_until(lambda: endless.statistics().active == 4)
    endless.close()
    assert outcomes.calls == 9
    assert {str(outcome) for outcome in outcomes.by_number.values()} == {"the engine was closed"}
    assert all(isinstance(outcome, EngineClosed) for outcome in outcomes.by_number.values())
    assert not endless.is_alive
    with pytest.raises(EngineClosed, match="the engine is closed"):
        endless.submit(endless_job(0), outcomes.listener(0))


def test_closing_twice_is_closing(endless: Engine):
    endless.close()
    endless.close()
    assert not endless.is_alive


def test_people_are_admitted_before_jobs_and_each_lane_in_its_own_order(endless: Engine):
    finished: list[str] = []
    outcomes = Outcomes()

    def named(name: str, number: int) -> Callable[[Completion | BaseException], None]:
        inner = outcomes.listener(number)

        def on_done(outcome: Completion | BaseException) -> None:
            finished.append(name)
            inner(outcome)

        return on_done

    holders = [endless.submit(endless_job(n), outcomes.listener(100 + n)) for n in range(4)]
    wait_until(lambda: endless.statistics().active == 4)
    for n in range(3):
        endless.submit(endless_job(n, max_tokens=3 + n, lane=1), named(f"job {n}", n))
    for n in range(3):
        endless.submit(endless_job(n, max_tokens=3 + n, lane=0), named(f"person {n}", 10 + n))
    endless.cancel(holders[0])
    outcomes.wait_for(6)
    assert finished == ["person 0", "person 1", "person 2", "job 0", "job 1", "job 2"]


def test_sequences_longer_than_the_first_slab_are_finished_exactly(endless: Engine):
    found = sentences(endless, [endless_job(0, max_tokens=300), endless_job(1, max_tokens=40), endless_job(2, 280)])
    assert [len(ids) for ids in found] == [300, 40, 280]
    network = tiny_decoder(20)
    assert found[2] == without_a_cache(network, EndlessGrammar(20, CPU), endless_job(2, 280))


def test_a_finished_row_hands_its_slot_to_a_waiting_sequence(endless: Engine):
    found = sentences(endless, [endless_job(index, max_tokens=5 + index % 7) for index in range(30)])
    assert [len(ids) for ids in found] == [5 + index % 7 for index in range(30)]
    statistics = endless.statistics()
    assert statistics.slots == 4
    made = sum(4 + index % 7 for index in range(30))
    assert statistics.tokens == made
    assert statistics.sequences == 30
    assert made / 4 <= statistics.steps < 1.3 * made / 4 + 7, "slots stand idle at the end only"


def test_the_statistics_add_up(endless: Engine):
    assert endless.statistics().steps == 0
    completions = run(endless, [endless_job(index, max_tokens=8) for index in range(6)])
    statistics = endless.statistics()
    assert (statistics.sequences, statistics.tokens, statistics.active, statistics.waiting) == (6, 42, 0, 0)
    assert 0.0 < statistics.busy_s < WAIT_S
    for completion in completions:
        assert completion.queued_s >= 0.0
        assert completion.sampled_s > 0.0


def test_slots_are_rounded_up_to_whole_groups_of_rows():
    with engine_of(slots=5) as engine:
        assert engine.statistics().slots == 8


def test_one_callback_that_fails_harms_no_other_ticket(endless: Engine):
    outcomes = Outcomes()

    def fails(outcome: Completion | BaseException) -> None:
        raise RuntimeError("the caller has gone")

    for index in range(3):
        endless.submit(endless_job(index, max_tokens=9), fails if index == 0 else outcomes.listener(index))
    outcomes.wait_for(2)
    assert endless.is_alive
    assert len(sentences(endless, [endless_job(5, max_tokens=9)])) == 1


class _FailingGrammar(EndlessGrammar):
    """Fails in the middle of a step, as broken machinery would."""

    def advance(self, state: Any, tokens: torch.Tensor) -> None:
        raise RuntimeError("out of memory")


def test_a_failing_engine_settles_every_ticket_and_says_why():
    outcomes = Outcomes()
    engine = Engine(tiny_decoder(20), _FailingGrammar(20, CPU), slots=4, device=CPU)
    tickets = 0
    for index in range(6):
        try:
            engine.submit(endless_job(index), outcomes.listener(index))
            tickets += 1
        except EngineClosed:  # it has failed already
            break
    outcomes.wait_for(tickets)
    assert tickets >= 1
    assert {str(outcome) for outcome in outcomes.by_number.values()} == {
        "the engine failed: RuntimeError: out of memory"
    }
    engine.close()
    assert not engine.is_alive


def test_prompts_beyond_those_that_are_kept_ready_are_made_ready_again():
    constraints = [
        TopologyConstraint(max_devices=2, ports=(f"VB{1 + n % 12}", f"VCONT{1 + n // 12}")) for n in range(70)
    ]
    jobs = [job(n, constraint=constraint) for n, constraint in enumerate([*constraints, constraints[0]])]
    with engine_of(slots=8) as engine:
        found = sentences(engine, jobs)
    for each, ids in zip(jobs, found, strict=True):
        circuit, _ = LINES.decode(ids)
        assert set(each.prompt.constraint.ports) <= set(circuit.nets)  # type: ignore[attr-defined]  # it is a topology's
