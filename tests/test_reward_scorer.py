"""The ladder's facts of circuits: what is legal, conducts and works, and what is left untried. Asks ngspice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from app.analog.canonical import canonical_hash, wl_labels
from app.analog.netlist import Netlist
from app.analog.spice import parse_spice
from app.errors import UnknownName
from app.inference.checkpoint import load_checkpoint
from app.measures.novelty import TrainingIndex
from app.reward.judge import Sample, judge
from app.reward.ladder import CircuitFacts, LadderReward, ladder_reward
from app.reward.recipe import LadderRecipe
from app.reward.sampling import Draw, sample_and_score
from app.reward.scorer import LadderScorer
from app.simulators.operating_point import OperatingPointSimulator
from app.simulators.processes import WorkerPool
from app.technologies._base import DEFAULT_TECHNOLOGY, technologies
from app.testbenches._simulator import BenchSimulator
from app.validators._base import ValidationTools
from tests.tiny_models import CPU, save_tiny_model

RECIPE = LadderRecipe("analog-reward", "toy", samples=12, max_devices=6, function_budget=2)

STAGE = """\
* a common-source stage with a resistor
* ports: VDD VSS VIN1 VOUT1
M1 VOUT1 VIN1 VSS VSS nmos
R1 VDD VOUT1 20k
.end
"""

UNDRIVEN = """\
* the gate of M2 hangs on a net that nothing drives
* ports: VDD VSS VIN1 VOUT1
M1 VOUT1 VIN1 VSS VSS nmos
M2 VOUT1 N1 VDD VDD pmos
.end
"""


def netlist(text: str) -> Netlist:
    return parse_spice(text).netlist


def index_of(*netlists: Netlist) -> TrainingIndex:
    known = [(canonical_hash(each), wl_labels(each)) for each in netlists]
    return TrainingIndex.build(known or [("0" * 32, Counter({1: 1}))])


def scorer_over(pool: WorkerPool, recipe: LadderRecipe = RECIPE, seen: TrainingIndex | None = None) -> LadderScorer:
    tools = ValidationTools(
        simulator=OperatingPointSimulator(pool, technologies[DEFAULT_TECHNOLOGY]), benches=BenchSimulator(pool)
    )
    return LadderScorer(recipe, tools, index_of() if seen is None else seen, None)


@pytest.mark.simulator
def test_a_stage_that_works_earns_all_and_an_undriven_gate_nothing(ngspice: WorkerPool):
    scorer = scorer_over(ngspice)
    stage, undriven = (scorer.facts(netlist(text), "amplifier") for text in (STAGE, UNDRIVEN))
    assert (stage.is_legal, stage.converges, stage.works, stage.met_share) == (True, True, True, 1.0)
    assert stage.conducting_share == 1.0
    assert ladder_reward(stage, copy_similarity=0.95) > 0.9
    assert undriven == CircuitFacts(undriven.identity, 2)
    assert ladder_reward(undriven, copy_similarity=0.95) == 0.0


@pytest.mark.simulator
def test_what_the_testbench_held_out_finds_is_written_down_and_earns_nothing(ngspice: WorkerPool):
    facts = scorer_over(ngspice, replace(RECIPE, hold_out="amplifier")).facts(netlist(STAGE), "amplifier")
    # the type has another testbench, which cannot drive this circuit
    assert (facts.works, facts.met_share, facts.held_out_works) == (False, 0.0, True)
    assert ladder_reward(facts, copy_similarity=0.95) < 0.7


@pytest.mark.simulator
def test_the_function_of_copies_and_of_circuits_that_do_not_conduct_is_not_tried(ngspice: WorkerPool):
    copy = scorer_over(ngspice, seen=index_of(netlist(STAGE))).facts(netlist(STAGE), "amplifier")
    assert (copy.is_novel, copy.conducting_share, copy.works) == (False, 1.0, None)
    choosy = scorer_over(ngspice, replace(RECIPE, function_from=1.0))
    cold = netlist(STAGE.replace("M1 VOUT1 VIN1", "M1 VOUT1 VSS"))
    assert choosy.facts(cold, "amplifier").works is None


def test_a_testbench_to_hold_out_has_to_be_there():
    with pytest.raises(UnknownName, match="no testbench named 'comparater'; did you mean 'comparator'"):
        LadderScorer(replace(RECIPE, hold_out="comparater"), ValidationTools(), index_of(), None)


@pytest.mark.simulator
def test_a_round_of_an_untrained_network_climbs_the_ladder(ngspice: WorkerPool, tmp_path: Path):
    model = load_checkpoint(save_tiny_model(tmp_path, "analog", name="tiny"))
    draw = Draw(model.network, model.language, RECIPE, 0, CPU, 1)
    samples: list[Sample[CircuitFacts]] = []
    reward = LadderReward(RECIPE, scorer_over(ngspice))
    wanted = list(enumerate(reward.wishes([])))
    assert sample_and_score(draw, wanted, reward, threads=2, keep=samples.append, stop=lambda: False)
    assert sorted(sample.index for sample in samples) == list(range(12))
    found = reward.figures(judge(samples, [], reward.worth, winner_share=0.25))
    assert found.legal == 1.0, "the grammar sees to it"
    assert 0.0 < found.reward < 1.0
