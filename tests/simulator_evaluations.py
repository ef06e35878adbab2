"""A neural simulator that learnt nothing, and made-up simulations to judge it by. No simulator runs.

An untrained network repeats the table simulator's estimates, so what its predictions are worth is known beforehand: of
the first metric, which is estimated without an error, everything; of the others nothing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from app.evaluation.simulator_speed import Machine
from app.neural_simulator.artefact import NeuralSimulator
from app.neural_simulator.conformal import LEVELS, ConformalIntervals
from app.neural_simulator.dataset import PreparedSimulations
from app.neural_simulator.inputs import Vocabulary
from app.neural_simulator.nearest import NearestRows
from app.neural_simulator.novelty import Experience
from app.neural_simulator.scales import fit_scales
from app.neural_simulator.splits import TRAINING, ModelSplit, SizingSplit, TopologySplit
from app.nn.simulator import SimulatorNetwork
from app.training.simulator import SimulatorShape, network_config
from tests.simulated_rows import GENERIC180, PROFILE, bench_of, group_of, prepared_of

#: A circuit that is learnt from in generic180 and left out in generic45, one more, one for the test, one that sets
#: intervals; the last two in both technologies as well.
MIRROR, AMPLIFIER, UNSEEN, CALIBRATING = (
    "current_mirror/wide_swing", "opamp/five_transistor_ota", "current_mirror/wilson", "current_mirror/cascode_mirror",
)  # fmt: skip
ROWS = 120

NOWHERE = Machine(None, Path("nowhere"))


@cache
def simulations() -> PreparedSimulations:
    """`ROWS` rows of each circuit in generic180, and of three of them in a technology called generic45."""
    known = prepared_of((MIRROR, AMPLIFIER, UNSEEN, CALIBRATING), ROWS)
    left_out = [group for group in known.groups if group.topology_id != id_of(AMPLIFIER)]
    groups = (*known.groups, *(replace(group, technology="generic45") for group in left_out))
    return replace(
        known, groups=groups, profiles={GENERIC180.name: PROFILE, "generic45": replace(PROFILE, name="generic45")}
    )


@cache
def id_of(name: str) -> str:
    """The topology's."""
    return group_of(bench_of(name), 1).topology_id


def split() -> ModelSplit:
    """What the model has learnt from."""
    topologies = TopologySplit(frozenset({id_of(UNSEEN)}), frozenset({id_of(CALIBRATING)}))
    return ModelSplit(SizingSplit(1, test=0.3, calibration=0.1), topologies, "generic45")


@cache
def untrained() -> NeuralSimulator:
    """A model that would have learnt from `simulations`, by `split`; its intervals reach one to four spreads."""
    prepared = simulations()
    sides = [split().sides(rows) == TRAINING for rows in prepared.rows()]
    learnt = [(group, mask) for group, mask in zip(prepared.groups, sides, strict=True) if mask.any()]
    rows = [each.take(mask) for each, mask in zip(prepared.rows(), sides, strict=True) if mask.any()]
    vocabulary = Vocabulary.of([group.wired.structure for group in prepared.groups])
    shape = SimulatorShape(width=16, heads=2, element_layers=1, metric_layers=1, mlp_width=16, message_width=2)
    torch.manual_seed(1)
    reaches = ConformalIntervals(LEVELS, {(None, None, None): (1.0, 2.0, 3.0, 4.0)})
    recipe = {"seed": 1}
    counts = {"training": 1, "calibration": 1, "calibration_of_new_circuits": 1, "all": 1, "with_estimates": 1}
    return NeuralSimulator(
        SimulatorNetwork(network_config(shape, vocabulary)), vocabulary, fit_scales(rows),
        {(estimated, known): reaches for estimated in (True, False) for known in (True, False)}, {},
        Experience.of(learnt), NearestRows.of(learnt),
        {
            "split": split().as_json(), "simulations": [dict(run) for run in prepared.runs], "recipe": recipe,
            "rows": counts, "command": "josephson train simulator", "rows_seen": 0, "seconds": 0,
        },
    )  # fmt: skip
