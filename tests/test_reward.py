"""Learning by reward: what circuits earn, who wins, what outlives a kill, and that a network learns to earn more."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import pytest
import torch

from app.analog.canonical import canonical_hash
from app.analog.corpus import read_archetypes
from app.analog.kinds import CIRCUIT_TYPES
from app.analog.netlist import Netlist
from app.errors import InvalidRequest, SimulatorFailure
from app.evaluation.card import reward_lines
from app.inference.checkpoint import INDEX_NAME, Checkpoint, load_checkpoint, save_checkpoint, seal
from app.measures.novelty import TrainingIndex
from app.nn.decoder import Decoder, DecoderConfig
from app.reward.journal import STATE_NAME, RoundJournal
from app.reward.judge import JudgedSample, Sample, judge
from app.reward.ladder import CircuitFacts, LadderFigures, LadderReward, conduction_credit, ladder_reward
from app.reward.mixture import draw_weights, mixed_stream
from app.reward.recipe import LadderRecipe, read_reward_recipe
from app.reward.run import Iteration, RewardRun
from app.reward.sampling import evenly
from app.reward.state import RoundOutcome
from app.tokens.device_lines import DeviceLines
from app.training.corpora import facts_of
from app.training.prepared import Prepared, prepare
from app.training.sentences import Example, SentenceStream

LANGUAGE = DeviceLines()

KIND = "analog-reward"

RECIPE = LadderRecipe(
    KIND, "toy-reward", rounds=2, samples=64, max_devices=5, tokens=12_000, batch_tokens=2048, learning_rate=2e-2,
    warmup_tokens=500, ema_tokens=2_000, winner_mix=1.0, winner_share=0.3, most_rise_nats=9.0, precision="float32",
)  # fmt: skip

WHOLE = CircuitFacts(
    "a", 5, nearest_similarity=0.4, is_legal=True, converges=True, conducting_share=1.0, saturated_share=1.0,
    works=True, met_share=1.0, type_probability=0.9,
)  # fmt: skip


def reward_of(**changed: object) -> float:
    return ladder_reward(replace(WHOLE, **changed), copy_similarity=0.95)  # type: ignore[arg-type]  # names of fields


def sample(index: int, type_: str = "opamp", **changed: object) -> Sample[CircuitFacts]:
    facts = replace(WHOLE, **{"identity": str(index), **changed})  # type: ignore[arg-type]  # names of fields
    return Sample(index, type_, (1, 3, 2), facts)


def judged(samples: Sequence[Sample[CircuitFacts]], known: Sequence[str] = ()) -> list[JudgedSample[CircuitFacts]]:
    return judge(samples, known, ladder().worth, winner_share=0.25)


def figures(entries: Sequence[JudgedSample[CircuitFacts]]) -> LadderFigures:
    return ladder().figures(entries)


def test_every_rung_of_the_ladder_earns_more_than_the_one_below():
    untried = {"works": None, "met_share": None}
    climb = [
        reward_of(is_legal=False, converges=False),
        reward_of(converges=False),
        reward_of(conducting_share=0.0, saturated_share=0.0, **untried),
        reward_of(conducting_share=0.5, saturated_share=0.2, **untried),
        reward_of(conducting_share=0.5, saturated_share=0.4, **untried),
        reward_of(conducting_share=0.9, saturated_share=0.4, **untried),
        reward_of(works=False, met_share=0.0),
        reward_of(works=False, met_share=0.7),
        reward_of(),
    ]
    assert climb[:2] == [0.0, 0.0]
    assert climb[1:] == sorted(set(climb[1:]))
    assert climb[-1] == pytest.approx(1.0)


def test_a_circuit_without_transistors_earns_between_one_that_conducts_and_one_that_does_not():
    credits = [
        conduction_credit(replace(WHOLE, conducting_share=share, saturated_share=share)) for share in (0.0, None, 1.0)
    ]
    assert credits == [0.0, 0.5, 1.0]
    bipolar = replace(WHOLE, conducting_share=0.8, saturated_share=None)
    assert conduction_credit(bipolar) == pytest.approx(0.8), "bipolar transistors do not saturate"


def test_a_circuit_that_shorts_its_supply_earns_half_of_what_it_conducts():
    assert conduction_credit(replace(WHOLE, is_overdriven=True)) == 0.5
    assert reward_of(is_overdriven=True) < reward_of()


@pytest.mark.parametrize("changed", [{"is_novel": False}, {"nearest_similarity": 0.951}])
def test_a_copy_of_a_training_circuit_earns_nothing(changed: dict[str, object]):
    assert reward_of(**changed) == 0.0
    assert reward_of(nearest_similarity=0.95) > 0


def test_a_circuit_of_another_type_earns_less_and_a_doubtful_one_as_much():
    assert reward_of(type_probability=0.5) == reward_of(type_probability=None) == pytest.approx(1.0)
    assert reward_of(type_probability=0.1) == pytest.approx(0.2)


def test_the_first_of_equal_circuits_earns_and_its_duplicates_do_not_whatever_order_they_came_in():
    twins = [sample(2, identity="twin"), sample(0), sample(1, identity="twin"), sample(3, identity="old")]
    for order in (twins, twins[::-1]):
        found = judged(order, known=["old"])
        assert [entry.sample.index for entry in found] == [0, 1, 2, 3]
        assert [entry.is_duplicate for entry in found] == [False, False, True, True]
        assert [entry.reward > 0 for entry in found] == [True, True, False, False]


def test_a_group_in_which_all_earn_the_same_has_no_winner():
    found = judged([sample(index) for index in range(12)])
    assert [entry.advantage for entry in found] == [0.0] * 12
    assert not any(entry.has_won for entry in found)


def test_winners_are_the_best_of_their_own_type():
    easy = [sample(n, "amplifier", conducting_share=0.8 + 0.01 * n) for n in range(8)]
    hard = [sample(n, "pll", conducting_share=0.01 * n, works=None, met_share=None) for n in range(8, 16)]
    found = judged([*easy, *hard])
    assert [entry.sample.index for entry in found if entry.has_won] == [6, 7, 14, 15]
    assert all(entry.advantage > 0 for entry in found if entry.has_won)
    assert sum(entry.advantage for entry in found) == pytest.approx(0.0, abs=1e-9)


def test_small_circuits_do_not_win_by_being_small():
    sizes = [sample(n, devices=4 if n < 8 else 40, conducting_share=1.0 - 0.01 * n) for n in range(16)]
    winners = [entry.sample.facts.devices for entry in judged(sizes) if entry.has_won]
    assert Counter(winners) == {4: 2, 40: 2}


def test_the_figures_of_a_round_leave_nothing_out():
    samples = [
        sample(0),
        sample(1, converges=False, conducting_share=None, saturated_share=None, works=None, trouble="it crashed"),
        sample(2, conducting_share=None, saturated_share=None, works=False, held_out_works=True, type_probability=0.2),
        sample(3, identity="0", conducting_share=0.5, saturated_share=0.0, works=None, is_novel=False),
    ]
    found = figures(judged(samples))
    assert (found.samples, found.legal, found.converges) == (4, 1.0, 0.75)
    assert found.conducting_share == pytest.approx((1.0 + 0.0 + 0.5) / 3, abs=1e-4)
    assert found.saturated_share == pytest.approx(1.0 / 3, abs=1e-4)
    assert (found.function_tried, found.works) == (0.5, 0.25)
    assert (found.copies, found.duplicates, found.right_type) == (0.25, 0.25, 0.75)
    assert (found.held_out_tried, found.held_out_works, found.troubles) == (1, 1, 1)
    assert found.reward_by_label == {"opamp": found.reward}


def test_a_sentence_that_is_no_circuit_earns_nothing_and_counts_against_the_bare_network():
    bare = [replace(sample(n), is_bare=True) for n in range(2)]
    bare.append(Sample(2, "opamp", (1, 3), CircuitFacts("no circuit, item 2", 0, is_circuit=False), is_bare=True))
    found = judged([*bare, sample(3, is_legal=False)])
    assert [entry.reward > 0 for entry in found] == [True, True, False, False]
    assert figures(found).legal_bare == pytest.approx(2 / 3, abs=1e-4)
    assert figures(judged([sample(0)])).legal_bare is None


def test_the_card_sets_the_rounds_beside_each_other():
    rounds = [
        RoundOutcome(number, figures(judged([sample(n, works=n < good) for n in range(4)])), 1e-3)
        for number, good in ((0, 1), (1, 3))
    ]
    learnt = {
        "recipe": RECIPE.as_json(), "rounds": [outcome.as_json() for outcome in rounds], "samples": 8, "winners": 2,
        "held_out_nats_before": 0.5, "held_out_nats_after": 0.4, "command": "train",
    }  # fmt: skip
    lines = reward_lines(learnt)
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    works = table[0].index("works")
    assert [(row[0], row[works]) for row in table[2:]] == [("before", "25.0"), ("after round 1", "75.0")]
    assert reward_lines(None) == []
    assert reward_lines({**learnt, "earlier": learnt}) == lines * 2, "a model that learnt twice says both"


def test_types_are_asked_for_evenly_or_as_the_corpus_has_them():
    circuits = [*corpus().side(is_held_out=False)]
    even = Counter(wish.label for wish in ladder(replace(RECIPE, samples=160)).wishes(circuits))
    assert set(even) == set(CIRCUIT_TYPES)
    assert max(even.values()) - min(even.values()) <= 2
    sizes = Counter(example.label for example in circuits)
    wishes = ladder(replace(RECIPE, samples=800, type_exponent=1.0)).wishes(circuits)
    as_often = Counter(wish.label for wish in wishes)
    assert set(as_often) == set(sizes)
    assert all(as_often[name] == pytest.approx(800 * sizes[name] / len(circuits), abs=3) for name in sizes)
    assert {wish.constraint.type == wish.label and wish.constraint.max_devices == 5 for wish in wishes} == {True}
    assert Counter(evenly({"opamp": 20.0, "lna": 10.0}, 300)) == {"opamp": 200, "lna": 100}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("colour = 1", "reward.toml: unknown key 'colour'"),
        ("winner_mix = 1.5", "reward.toml: winner_mix is 1.5, a share lies within 0..1"),
        ("samples = 0", "reward.toml: samples is 0, it has to be above 0"),
        ("bare_share = -0.1", "reward.toml: bare_share is -0.1, a share lies within 0..1"),
        (
            'function_types = ["opamp", "toaster"]',
            f"reward.toml: function_types has 'toaster'; known types: {', '.join(CIRCUIT_TYPES)}",
        ),
    ],
)
def test_a_recipe_that_cannot_be_followed_says_why(tmp_path: Path, line: str, sentence: str):
    path = tmp_path / "reward.toml"
    path.write_text(f'kind = "{KIND}"\nname = "toy"\n{line}\n')
    with pytest.raises(InvalidRequest, match=f"^{sentence}$"):
        read_reward_recipe(KIND, str(path))


def test_a_recipe_needs_a_name_and_the_right_kind(tmp_path: Path):
    path = tmp_path / "reward.toml"
    path.write_text(f'kind = "{KIND}"\n')
    with pytest.raises(InvalidRequest, match=r"^reward.toml: key 'name' is missing$"):
        read_reward_recipe(KIND, str(path))
    path.write_text('kind = "analog"\nname = "toy"\n')
    with pytest.raises(InvalidRequest, match=f"^reward.toml is a recipe for analog, not for {KIND}$"):
        read_reward_recipe(KIND, str(path))
    assert read_reward_recipe(KIND).kind == KIND


def journal_in(folder: Path, number: int = 0) -> RoundJournal[CircuitFacts]:
    return RoundJournal(folder, number, CircuitFacts)


def test_a_line_that_a_kill_cut_off_is_scored_again(tmp_path: Path):
    journal = journal_in(tmp_path)
    assert journal.begin() == []
    journal.append(sample(1))
    journal.append(sample(0))
    with (tmp_path / "round-000.partial.ndjson").open("a") as file:
        file.write('{"index": 2, "label": "op')
    again = journal_in(tmp_path)
    assert again.begin() == [sample(1), sample(0)]
    again.append(sample(2))
    assert journal_in(tmp_path).begin() == [sample(1), sample(0), sample(2)]
    found = judged([sample(0), sample(1), sample(2, works=False)])
    again.finish(found)
    assert [journal_in(tmp_path, number).is_judged for number in (0, 1)] == [True, False]
    assert [entry.sample for entry in again.read()] == [entry.sample for entry in found]
    assert not (tmp_path / "round-000.partial.ndjson").exists()


# --- whole runs of a tiny network, judged by a scorer that is easily pleased


@dataclass
class MetalLover:
    """Conduction is the share of pmos among a circuit's devices; `calls` tells how often it was asked."""

    calls: int = 0
    gives_up_after: int = 1 << 30
    types: list[str] = field(default_factory=list)

    def facts(self, topology: Netlist, circuit_type: str) -> CircuitFacts:
        self.calls += 1
        if self.calls > self.gives_up_after:
            raise SimulatorFailure("killed")
        share = sum(device.kind == "pmos" for device in topology.devices) / len(topology.devices)
        return CircuitFacts(
            canonical_hash(topology), len(topology.devices), is_legal=True, converges=True,
            conducting_share=share, saturated_share=share,
        )  # fmt: skip

    def type_probabilities(self, topologies: Sequence[Netlist], types: Sequence[str]) -> list[float | None]:
        self.types += types
        return [None] * len(topologies)


@cache
def corpus() -> Prepared:
    circuits = sorted(read_archetypes(), key=lambda circuit: len(circuit.netlist.devices))[:40]
    examples = [Example(circuit.netlist, circuit.type) for circuit in circuits]
    return prepare(
        examples, [n % 10 == 0 for n in range(len(examples))], LANGUAGE, facts_of,
        kind="analog", corpus="forty archetypes", split="by hand", held_out_share=0.1, unit="device",
    )  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Checkpoint:
    torch.manual_seed(0)
    shape = DecoderConfig(
        vocab=len(LANGUAGE.vocabulary), width=32, layers=1, heads=2, kv_heads=1, mlp_width=64, context=256
    )
    folder = tmp_path / "models" / "tiny"
    save_checkpoint(folder, Decoder(shape), LANGUAGE, name="tiny", kind="analog", training={"corpus": "nothing"})
    corpus().index.save(folder / INDEX_NAME)
    seal(folder)
    return load_checkpoint(folder)


def ladder(recipe: LadderRecipe = RECIPE, lover: MetalLover | None = None) -> LadderReward:
    return LadderReward(recipe, lover or MetalLover())


def run_in(folder: Path, model: Checkpoint, recipe: LadderRecipe = RECIPE, seconds: float | None = None) -> RewardRun:
    return RewardRun(
        recipe, model, corpus(), folder, folder / "model", seconds=seconds, command="josephson train analog"
    )


def test_a_network_learns_to_earn_more_and_its_folder_says_how(tmp_path: Path, model: Checkpoint):
    scorer = MetalLover()
    result = Iteration(run_in(tmp_path / "work", model), ladder(RECIPE, scorer)).learn()
    assert result is not None
    first, *_, last = result.outcomes
    assert len(result.outcomes) == RECIPE.rounds + 1
    assert last.figures.reward > first.figures.reward + 0.05
    assert scorer.calls == 3 * RECIPE.samples
    assert (last.held_out_nats, last.kept) == (None, False)
    improved = load_checkpoint(tmp_path / "work" / "model")
    told = improved.config["training"]
    assert improved.name == "toy-reward"
    assert told["corpus"] == "nothing"
    assert told["reward"]["from"] == {"model": "tiny", "weights": model.sha256}
    assert (told["reward"]["samples"], told["reward"]["recipe"]["hold_out"]) == (192, "comparator")
    assert [row["figures"]["reward"] for row in told["reward"]["rounds"]] == [o.figures.reward for o in result.outcomes]
    assert told["reward"]["held_out_nats_before"] == result.held_out_before
    assert told["reward"]["held_out_nats_after"] == pytest.approx(result.held_out_after, abs=1e-3)
    assert len(TrainingIndex.load(improved.folder / INDEX_NAME)) == 36


def test_a_run_that_is_killed_again_and_again_writes_the_journal_it_would_have_written(
    tmp_path: Path, model: Checkpoint
):
    recipe = replace(RECIPE, rounds=1, samples=32, tokens=3_000)
    whole = Iteration(run_in(tmp_path / "whole", model, recipe), ladder(recipe)).learn()
    assert whole is not None
    calls, kills = 0, 0
    for _ in range(20):
        scorer = MetalLover(gives_up_after=13)
        try:
            result = Iteration(run_in(tmp_path / "pieces", model, recipe), ladder(recipe, scorer)).learn()
        except SimulatorFailure:
            kills, calls = kills + 1, calls + 13
        else:
            assert result == whole
            break
    assert kills >= 3
    for number in (0, 1):
        name = f"round-{number:03d}.ndjson"
        assert (tmp_path / "pieces" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (tmp_path / "pieces" / STATE_NAME).read_bytes() == (tmp_path / "whole" / STATE_NAME).read_bytes()


def test_a_run_out_of_time_goes_on_where_it_was(tmp_path: Path, model: Checkpoint):
    recipe = replace(RECIPE, rounds=1, samples=32, tokens=2_000)
    assert Iteration(run_in(tmp_path / "work", model, recipe, seconds=0.0), ladder(recipe)).learn() is None
    assert not (tmp_path / "work" / "model").exists()
    result = Iteration(run_in(tmp_path / "work", model, recipe), ladder(recipe)).learn()
    assert result is not None
    assert [outcome.measures_only for outcome in result.outcomes] == [False, True]


def test_a_finished_run_may_be_given_more_rounds_and_learns_from_its_last(tmp_path: Path, model: Checkpoint):
    recipe = replace(RECIPE, samples=32, tokens=2_000)
    whole = Iteration(run_in(tmp_path / "whole", model, recipe), ladder(recipe)).learn()
    Iteration(run_in(tmp_path / "pieces", model, replace(recipe, rounds=1)), ladder(recipe)).learn()
    assert Iteration(run_in(tmp_path / "pieces", model, recipe), ladder(recipe)).learn() == whole
    assert whole is not None
    assert [outcome.held_out_nats is None for outcome in whole.outcomes] == [False, False, True]


def test_weights_that_forget_the_corpus_are_taken_back_and_the_rate_is_halved(tmp_path: Path, model: Checkpoint):
    recipe = replace(RECIPE, rounds=5, samples=32, tokens=1_000, most_rise_nats=-9.0)
    result = Iteration(run_in(tmp_path / "work", model, recipe), ladder(recipe)).learn()
    assert result is not None
    assert [outcome.kept for outcome in result.outcomes] == [False] * 4, "three refusals end it"
    rates = [outcome.learning_rate / recipe.learning_rate for outcome in result.outcomes]
    assert rates == [1.0, 0.5, 0.25, 0.125]
    assert result.held_out_after == result.held_out_before


def test_a_folder_with_another_run_is_not_touched(tmp_path: Path, model: Checkpoint):
    folder = tmp_path / "work"
    Iteration(run_in(folder, model), ladder())
    other = replace(RECIPE, samples=7, seed=2)
    with pytest.raises(InvalidRequest, match="holds a run that started with another samples, seed; repeat its command"):
        Iteration(run_in(folder, model, other), ladder(other))
    (folder / STATE_NAME).write_text("{}")
    with pytest.raises(InvalidRequest, match=r"reward.json is not the state of a run \(KeyError: 'held_out_before'\)"):
        Iteration(run_in(folder, model), ladder())


def test_models_and_corpora_that_do_not_fit_are_refused(tmp_path: Path, model: Checkpoint):
    run = run_in(tmp_path / "work", model)
    with pytest.raises(InvalidRequest, match=r"^model tiny writes quantum circuits; this reward is for analog ones$"):
        Iteration(replace(run, model=replace(model, kind="quantum")), ladder())
    walks = replace(corpus(), about=replace(corpus().about, language="eulerian"))
    with pytest.raises(InvalidRequest, match=r"^model tiny speaks device_lines, the corpus is prepared in eulerian; "):
        Iteration(replace(run, corpus=walks), ladder())


def test_winners_do_not_change_which_types_there_are():
    of_corpus, of_winners = draw_weights(
        ["opamp"] * 9 + ["lna"] * 4,
        [("opamp", 1.0), ("opamp", 3.0), ("pll", 1.0)],
        label_exponent=0.5,
        winner_mix=0.4,
        most_repeats=1000,
    )
    assert sum(of_corpus[9:]) == pytest.approx(2.0), "a type without winners is drawn from the corpus alone"
    assert sum(of_corpus[:9]) + sum(of_winners) == pytest.approx(3.0)
    assert of_winners == pytest.approx([0.3, 0.9, 0.0]), "a type that the corpus lacks is not drawn"


def test_few_winners_come_only_so_often_as_the_corpus_beside_them():
    of_corpus, of_winners = draw_weights(
        ["opamp"] * 8 + ["lna"] * 2, [("opamp", 1.0), ("opamp", 3.0), ("lna", 1.0)], label_exponent=0.5, winner_mix=0.4,
        most_repeats=2.0,
    )  # fmt: skip
    assert sum(of_winners[:2]) / 2 == pytest.approx(2.0 * of_corpus[0]), "a third of the draws of op-amps, not 40 %"
    assert of_winners[1] == pytest.approx(3 * of_winners[0])
    assert of_winners[2] / (of_winners[2] + sum(of_corpus[8:])) == pytest.approx(0.4)
    assert sum(of_corpus[:8]) + sum(of_winners[:2]) == pytest.approx(8**0.5)


def test_winners_are_written_anew_beside_the_corpus():
    side = list(corpus().side(is_held_out=False))[:3]
    winner = next(example for example in corpus().side(is_held_out=True) if len(example.circuit.devices) >= 4)
    tokens = tuple(LANGUAGE.encode(winner.circuit, winner.label, random.Random(0)))
    entry = JudgedSample(Sample(0, side[0].label, tokens, WHOLE), 1.0, False, 1.0, 1.0)

    def mixed(length_exponent: float) -> SentenceStream[Netlist]:
        return mixed_stream(
            side, [entry], LANGUAGE, context=512, label_exponent=0.5, length_exponent=length_exponent, winner_mix=1.0,
            most_repeats=1000,
        )  # fmt: skip

    stream = mixed(0.0)
    assert mixed(-1.0).mean_length < stream.mean_length, "short ones come oftener, as when the model was trained"
    drawn = [LANGUAGE.decode(ids)[0] for ids in stream.draw(random.Random(0), 64)]
    identities = {canonical_hash(netlist) for netlist in drawn}
    assert canonical_hash(winner.circuit) in identities
    orders = {netlist.devices for netlist in drawn if canonical_hash(netlist) == canonical_hash(winner.circuit)}
    assert len(orders) > 1


def test_the_journal_holds_what_was_sampled_and_what_it_earned(tmp_path: Path, model: Checkpoint):
    recipe = replace(RECIPE, rounds=1, samples=16, tokens=1_000)
    Iteration(run_in(tmp_path / "work", model, recipe), ladder(recipe)).learn()
    rows = [json.loads(line) for line in (tmp_path / "work" / "round-000.ndjson").read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(16))
    for row in rows:
        netlist, label = LANGUAGE.decode(row["tokens"])
        assert label == row["label"]
        assert canonical_hash(netlist) == row["facts"]["identity"]
        assert 0.0 <= row["reward"] <= 1.0
