"""What quantum programs earn: by an oracle, by their family's looks, by likeness; and a tiny network that learns."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.cli import main
from app.errors import InvalidRequest
from app.evaluation.card import reward_lines
from app.inference.checkpoint import load_checkpoint
from app.quantum.program import Operation, QuantumProgram
from app.reward.judge import Sample, judge
from app.reward.oracles import OracleReward, ProgramFacts, program_reward
from app.reward.recipe import OracleRecipe, read_reward_recipe
from app.reward.state import RoundOutcome
from app.tokens.qasm_domain import QasmDomain
from app.training.corpora import facts_of
from app.training.prepared import prepare
from app.training.sentences import Example
from tests.tiny_models import save_tiny_model

RECIPE = OracleRecipe("quantum-reward", "toy", samples=24)

GOOD = ProgramFacts("a", 9, is_sound=True, distance=0.4, passes=True, family_probability=0.9, likeness=1.0)


def ghz(qubits: int) -> QuantumProgram:
    chain = [Operation("h", (0,)), *(Operation("cx", (q, q + 1)) for q in range(qubits - 1))]
    reads = [Operation("measure", (q,), clbit=q) for q in range(qubits)]
    return QuantumProgram(qubits, qubits, (*chain, *reads), (qubits,), (qubits,))


def layers(qubits: int, depth: int) -> QuantumProgram:
    """Rotations on every qubit, layer after layer, then a measurement of each."""
    turns = [Operation("ry", (q,), (0.1 + 0.2 * q + layer,)) for layer in range(depth) for q in range(qubits)]
    reads = [Operation("measure", (q,), clbit=q) for q in range(qubits)]
    return QuantumProgram(qubits, qubits, (*turns, *reads), (qubits,), (qubits,))


CORPUS = [
    *(Example(ghz(qubits), "ghz") for qubits in range(3, 11)),
    *(Example(layers(qubits, depth), "vqe_real_amplitudes") for qubits in (3, 4, 5) for depth in range(3, 9)),
]  # fmt: skip


@pytest.fixture(scope="module")
def reward() -> OracleReward:
    return OracleReward(RECIPE, CORPUS)


def sampled(reward: OracleReward, programs: list[tuple[str, QuantumProgram]]) -> list[Sample[ProgramFacts]]:
    wishes = {wish.label: wish for wish in reward.wishes(CORPUS)}
    facts = [reward.facts(program, wishes[family]) for family, program in programs]
    return [Sample(n, programs[n][0], (1,), found) for n, found in enumerate(facts)]


def test_what_is_right_earns_more_than_what_only_looks_right():
    def worth(**changed: object) -> float:
        return program_reward(replace(GOOD, **changed), copy_distance=0.05)  # type: ignore[arg-type]  # field names

    climb = [
        worth(is_sound=False),
        worth(passes=None, family_probability=0.0, likeness=0.0),
        worth(passes=None, family_probability=0.0, likeness=0.5),
        worth(family_probability=0.0),
        worth(),
    ]
    assert climb[0] == 0.0
    assert climb == sorted(set(climb))
    assert climb[-1] == pytest.approx(1.0)
    assert worth(is_copy=True) == worth(distance=0.049) == 0.0
    assert worth(passes=False) == 0.0, "what an oracle refutes does not win by its looks"
    assert worth(passes=None) == pytest.approx(1.0), "where no oracle judges, the looks of the family stand for it"
    assert worth(likeness=None) == worth(likeness=0.5)


def test_an_oracle_judges_and_copies_and_idle_qubits_are_seen(reward: OracleReward):
    wish = next(wish for wish in reward.wishes(CORPUS) if wish.label == "ghz")
    star = QuantumProgram(
        4, 4, (Operation("h", (2,)), *(Operation("cx", (2, q)) for q in (0, 1, 3)),
               *(Operation("measure", (q,), clbit=q) for q in range(4))), (4,), (4,),
    )  # fmt: skip
    found = reward.facts(star, wish)
    assert (found.passes, found.is_sound, found.is_copy, found.statements) == (True, True, False, 8)
    assert found.distance > 0.05
    assert reward.facts(layers(4, 2), wish).passes is False
    copy = reward.facts(ghz(5), wish)
    assert (copy.is_copy, copy.distance) == (True, 0.0)
    idle = reward.facts(QuantumProgram(2, 0, (Operation("h", (0,)),), (2,), ()), wish)
    assert (idle.is_sound, idle.passes) == (False, None)
    assert reward.facts(ghz(12), wish).passes is None, "too wide to ask an oracle"


def test_families_come_as_often_as_their_root_and_under_conditions_of_training_programs(reward: OracleReward):
    wishes = OracleReward(replace(RECIPE, samples=300), CORPUS).wishes(CORPUS)
    ghz_count = sum(wish.label == "ghz" for wish in wishes)
    assert ghz_count == pytest.approx(300 * 8**0.5 / (8**0.5 + 18**0.5), abs=3)
    conditions = {(len(example.circuit.operations), example.circuit.qubit_count) for example in CORPUS}
    for wish in wishes:
        asked = wish.constraint
        assert any(
            asked.min_statements <= count <= asked.max_statements and asked.qubits == qubits
            for count, qubits in conditions
        )
    assert reward.wishes(CORPUS) == reward.wishes(CORPUS)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_the_conditions_is_such_that_an_oracle_judges(share: float):
    corpus = [*CORPUS, *(Example(ghz(qubits), "ghz") for qubits in (20, 21, 22))]
    recipe = replace(RECIPE, samples=400, judged_share=share, family_exponent=0.0)
    wishes = OracleReward(recipe, corpus).wishes(corpus)
    judged = [wish.label == "ghz" and (wish.constraint.qubits or 0) <= recipe.oracle_qubits for wish in wishes]
    by_chance = 0.5 * 8 / 11
    assert sum(judged) / 400 == pytest.approx(share + (1 - share) * by_chance, abs=0.05)
    shorter = OracleReward(replace(recipe, samples=100), corpus).wishes(corpus)
    assert shorter == wishes[:100], "more samples are more of the same"


def test_a_share_of_judged_conditions_is_nothing_where_no_oracle_is():
    corpus = [example for example in CORPUS if example.label != "ghz"]
    wishes = OracleReward(replace(RECIPE, judged_share=1.0), corpus).wishes(corpus)
    assert {wish.label for wish in wishes} == {"vqe_real_amplitudes"}


def test_a_round_tells_what_looks_like_its_family_and_what_is_told_from_real_programs(reward: OracleReward):
    real = [("vqe_real_amplitudes", layers(qubits, depth)) for qubits in (3, 4, 5) for depth in range(3, 9)]
    toffolis = [
        QuantumProgram(3, 0, tuple(Operation("ccx", (q % 3, (q + 1) % 3, (q + 2) % 3)) for q in range(n)), (3,), ())
        for n in range(4, 22)
    ]
    strange = [("ghz", program) for program in toffolis]
    samples = sampled(reward, [*real, *strange])
    told = reward.of_a_round(samples, [program for _, program in (*real, *strange)])
    looks = [facts.family_probability for facts in told]
    assert min(look for look in looks[:18] if look is not None) > 0.8
    assert max(look for look in looks[18:] if look is not None) < 0.8
    likeness = [facts.likeness or 0.0 for facts in told]
    assert sum(likeness[:18]) > sum(likeness[18:])
    few = reward.of_a_round(samples[:3], [program for _, program in real[:3]])
    assert [facts.likeness for facts in few] == [None] * 3
    assert reward.of_a_round([], []) == []


def test_figures_count_what_no_oracle_judged_apart_and_the_card_tells_them(reward: OracleReward):
    facts = [
        GOOD,
        replace(GOOD, identity="b", passes=None),
        reward.no_circuit(2),
        replace(GOOD, identity="d", is_copy=True),
    ]
    samples = [Sample(n, "ghz", (1,), each, is_bare=n > 1) for n, each in enumerate(facts)]
    found = reward.figures(judge(samples, [], reward.worth, winner_share=0.25))
    assert (found.judged, found.passes, found.copies, found.legal_bare, found.sound) == (2, 1.0, 0.25, 0.5, 0.75)
    lines = reward_lines(
        {
            "recipe": RECIPE.as_json(), "rounds": [RoundOutcome(0, found, 1e-3).as_json()], "samples": 4, "winners": 1,
            "held_out_nats_before": 0.5, "held_out_nats_after": 0.4, "command": "train",
        }
    )  # fmt: skip
    assert any("oracles asked up to 10 qubits" in line for line in lines)
    assert lines[-2].startswith("| before | ")


def test_a_recipe_has_the_keys_of_its_kind(tmp_path: Path):
    path = tmp_path / "toy.toml"
    path.write_text('kind = "quantum-reward"\nname = "toy"\nbias_points = 3\n')
    with pytest.raises(InvalidRequest, match=r"^toy.toml: unknown key 'bias_points'$"):
        read_reward_recipe("quantum-reward", str(path))
    path.write_text('kind = "quantum-reward"\nname = "toy"\ncopy_distance = 2.0\n')
    with pytest.raises(InvalidRequest, match=r"^toy.toml: copy_distance is 2.0, a share lies within 0..1$"):
        read_reward_recipe("quantum-reward", str(path))
    assert isinstance(read_reward_recipe("quantum-reward"), OracleRecipe)


def test_a_tiny_model_is_improved_by_oracles_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    short = [
        *(Example(ghz(qubits), "ghz") for qubits in (2, 3, 4)),
        *(Example(layers(1, depth), "vqe_real_amplitudes") for depth in range(1, 6)),
    ]
    prepare(
        short, [n == 0 for n in range(len(short))], QasmDomain(), facts_of, kind="quantum",
        corpus="two families", split="by hand", held_out_share=0.1, unit="statement",
    ).save(tmp_path / "corpus.npz")  # fmt: skip
    (tmp_path / "tiny.toml").write_text('kind = "quantum-reward"\nname = "tiny-reward"\nbare_share = 0.5\n')
    words = [
        "train", "quantum", "--reward", "oracles", "--from", str(save_tiny_model(tmp_path, "quantum", name="tiny")),
        "--recipe", str(tmp_path / "tiny.toml"), "--rounds", "1", "--samples", "16", "--tokens", "500",
        "--prepared", str(tmp_path / "corpus.npz"), "--threads", "1", "--work", str(tmp_path / "work"),
        "--output", str(tmp_path / "better"), "--json",
    ]  # fmt: skip
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["figures"]["samples"] for row in told["rounds"]] == [16, 16]
    assert 0.0 < told["rounds"][0]["figures"]["reward"] < 1.0
    reward = load_checkpoint(tmp_path / "better").config["training"]["reward"]
    assert reward["command"].startswith("josephson train quantum --reward oracles --from tiny --recipe tiny.toml")
    rows = [json.loads(line) for line in (tmp_path / "work" / "round-000.ndjson").read_text().splitlines()]
    assert {row["label"] for row in rows} == {"ghz", "vqe_real_amplitudes"}
    assert all(row["facts"]["is_circuit"] for row in rows if not row["is_bare"]), "the grammar sees to it"
    assert main([*words, "--hold-out", "comparator"]) == 2
