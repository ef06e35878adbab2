"""From prepared simulations to a model folder: split, train, set intervals, keep rows to show. Torch and numpy suffice,
but for the weights' file, which needs safetensors.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.errors import InvalidRequest, UnknownName
from app.neural_simulator.arrays import Rows
from app.neural_simulator.artefact import Neighbourhood, NeuralSimulator, has_estimates
from app.neural_simulator.conformal import ConformalIntervals, Residuals, calibrated, widened
from app.neural_simulator.dataset import PreparedSimulations, SimulationGroup
from app.neural_simulator.inputs import Vocabulary
from app.neural_simulator.nearest import NearestRows
from app.neural_simulator.novelty import Experience
from app.neural_simulator.scales import fit_scales
from app.neural_simulator.splits import CALIBRATION, TRAINING, ModelSplit, SizingSplit, split_topologies
from app.training.loop import SAVE_EVERY_S, Progress, TrainingResult
from app.training.simulator import SimulatorRecipe, SimulatorTrainer

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

#: Rows of each group whose summaries tell where training rows lie.
_SUMMARISED_ROWS = 200

#: The share of calibration rows within a distance of 1, and what is added to the variances of summaries.
_INSIDE, _RIDGE = 0.99, 1e-3


@dataclass(frozen=True)
class SimulatorRun:
    """How to train and where to; as `app.training.run.TrainingRun`. `left_out` is a technology kept from training."""

    recipe: SimulatorRecipe
    work: Path
    output: Path
    device: str = "cpu"
    threads: int = 1
    seconds: float | None = None
    save_every_s: float = SAVE_EVERY_S
    left_out: str | None = None
    command: str = ""


@dataclass(frozen=True, eq=False)
class Sides:
    """The rows of every group that has any on a side, with the group."""

    training: tuple[tuple[SimulationGroup, NDArray[np.bool_], Rows], ...]
    calibration: tuple[Rows, ...]  # of circuits that are learnt from
    new: tuple[Rows, ...]  # of circuits that are not


def model_split(prepared: PreparedSimulations, seed: int, left_out: str | None = None) -> ModelSplit:
    """The split of a model that learns from these simulations.

    Raises:
        UnknownName: no rows are of the technology to be left out.
    """
    technologies = sorted({group.technology for group in prepared.groups})
    if left_out is not None and left_out not in technologies:
        raise UnknownName("technology of the simulations", left_out, technologies)
    netlists = {group.topology_id: group.netlist for group in prepared.groups}
    members = [(group.topology_id, group.testbench) for group in prepared.groups]
    return ModelSplit(SizingSplit(seed), split_topologies(netlists, members, seed), left_out)


def sides_of(prepared: PreparedSimulations, split: ModelSplit) -> Sides:
    """What is learnt from and what sets the intervals."""
    training: list[tuple[SimulationGroup, NDArray[np.bool_], Rows]] = []
    calibration: list[Rows] = []
    new: list[Rows] = []
    for group, rows in zip(prepared.groups, prepared.rows(), strict=True):
        sides = split.sides(rows)
        chosen = sides == TRAINING
        if chosen.any():
            training.append((group, chosen, rows.take(chosen)))
        if (sides == CALIBRATION).any():
            (new if split.is_new(rows) else calibration).append(rows.take(sides == CALIBRATION))
    return Sides(tuple(training), tuple(calibration), tuple(new))


def train_simulator(
    run: SimulatorRun,
    prepared: PreparedSimulations,
    report: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> NeuralSimulator | None:
    """The output folder holds a trained neural simulator; None when `seconds` ran out or `stop` said so first.

    Raises:
        InvalidRequest: the state in the work folder is of another run, or there is nothing to learn from.
        UnknownName: a technology to be left out that there are no rows of.
        Unavailable: a folder cannot be written to.
    """
    torch.set_num_threads(run.threads)
    split = model_split(prepared, run.recipe.seed, run.left_out)
    sides = sides_of(prepared, split)
    if not sides.training:
        raise InvalidRequest("no simulations are left to learn from; simulate more circuits or technologies")
    learnt = [rows for _, _, rows in sides.training]
    scales = fit_scales(learnt)
    # Metrics of testbenches that only kept circuits have are in the vocabulary, so that they can be adapted to.
    vocabulary = Vocabulary.of([group.wired.structure for group in prepared.groups])
    trainer = SimulatorTrainer(
        run.recipe, learnt, sides.calibration, scales, vocabulary, run.work, torch.device(run.device),
        save_every_s=run.save_every_s,
    )  # fmt: skip
    if trainer.resume():
        log.info("resumed at %d rows", trainer.done)
    result = trainer.run(seconds=run.seconds, report=report, stop=stop)
    if result is None:
        return None
    simulator = _calibrated(
        NeuralSimulator(
            result.network.cpu(), vocabulary, scales, {}, {},
            Experience.of((group, chosen) for group, chosen, _ in sides.training),
            NearestRows.of(((group, chosen) for group, chosen, _ in sides.training), run.recipe.seed),
            _about(run, prepared, split, sides, result),
        ),
        learnt, sides,
    )  # fmt: skip
    simulator.save(run.output)
    return NeuralSimulator.load(run.output)


def recalibrated(simulator: NeuralSimulator, prepared: PreparedSimulations) -> NeuralSimulator:
    """The same simulator with intervals set anew, by the rows of its own split that set them.

    Args:
        simulator: A trained one.
        prepared: The simulations that it was trained on.

    Raises:
        InvalidRequest: these are other simulations, or the model does not say how they were split.
    """
    if [dict(run) for run in prepared.runs] != list(simulator.training.get("simulations", [])):
        raise InvalidRequest("the model was trained on other simulations than these; give the file that it learnt from")
    sides = sides_of(prepared, simulator.split)
    rows = {**simulator.training["rows"], "with_estimates": sum(_estimated(prepared))}
    return replace(simulator, intervals=_intervals(simulator, sides), training={**simulator.training, "rows": rows})


def _about(
    run: SimulatorRun, prepared: PreparedSimulations, split: ModelSplit, sides: Sides, result: TrainingResult[Any]
) -> Mapping[str, Any]:
    return {
        "recipe": run.recipe.as_json(), "command": run.command, "rows_seen": result.done,
        "seconds": round(result.seconds), "held_out_loss": round(result.held_out, 4), "history": result.history,
        "split": split.as_json(), "simulations": [dict(each) for each in prepared.runs],
        "rows": {
            "training": sum(len(rows) for _, _, rows in sides.training),
            "calibration": sum(map(len, sides.calibration)), "calibration_of_new_circuits": sum(map(len, sides.new)),
            "all": len(prepared), "with_estimates": sum(_estimated(prepared)),
        },
        "implausible": sum(prepared.implausible().values()),
    }  # fmt: skip


def _estimated(prepared: PreparedSimulations) -> Iterator[int]:
    for rows in prepared.rows():
        yield int(has_estimates(rows).sum())


def _calibrated(simulator: NeuralSimulator, learnt: Sequence[Rows], sides: Sides) -> NeuralSimulator:
    """The simulator with its intervals and neighbourhoods, from rows that it has not learnt from."""
    started_s = time.process_time()
    simulator = replace(
        simulator,
        intervals=_intervals(simulator, sides),
        neighbourhoods=_neighbourhoods(simulator, learnt, sides.calibration),
    )
    log.info("intervals set in %.0f CPU seconds", time.process_time() - started_s)
    return simulator


def _intervals(simulator: NeuralSimulator, sides: Sides) -> dict[tuple[bool, bool], ConformalIntervals]:
    """As `NeuralSimulator.intervals`, from the rows that set them."""
    found: dict[tuple[bool, bool], ConformalIntervals] = {}
    for is_estimated in (True, False):
        known = calibrated(_residuals(simulator, rows, is_estimated) for rows in sides.calibration)
        circuits: dict[str, list[Residuals]] = {}
        for rows in sides.new:
            circuits.setdefault(rows.structure.topology_id, []).append(_residuals(simulator, rows, is_estimated))
        found |= {(is_estimated, True): known, (is_estimated, False): widened(known, circuits.values())}
    return found


def _residuals(simulator: NeuralSimulator, rows: Rows, is_estimated: bool) -> Residuals:
    """Of the rows that have estimates, or of all of them as if none had."""
    shown = rows.take(has_estimates(rows)) if is_estimated else rows.plain()
    structure, predicted = shown.structure, simulator.predict(shown)
    targets = simulator.scales.targets(structure, shown.values)
    return Residuals.of(
        structure.testbench, shown.technology, structure.metrics, targets, predicted.mean, predicted.spread
    )


def _neighbourhoods(
    simulator: NeuralSimulator, learnt: Sequence[Rows], calibration: Sequence[Rows]
) -> Mapping[str, Neighbourhood]:
    """Of every testbench with rows on both sides, scaled so that a distance of 1 holds `_INSIDE` of calibration."""
    places, checks = (_summaries(simulator, several) for several in (learnt, calibration))
    found = {}
    for testbench, summaries in places.items():
        centre = summaries.mean(axis=0)
        spread = np.cov(summaries, rowvar=False) + _RIDGE * np.eye(len(centre))
        raw = Neighbourhood(centre, np.asarray(np.linalg.inv(spread), dtype=np.float64))
        reach = np.quantile(raw.distance(checks.get(testbench, summaries)), _INSIDE)
        found[testbench] = Neighbourhood(centre, raw.form / max(float(reach), 1e-6) ** 2)
    return found


def _summaries(simulator: NeuralSimulator, several: Sequence[Rows]) -> Mapping[str, Floats]:
    """Summaries [n, width] by testbench."""
    found: dict[str, list[Floats]] = {}
    for rows in several:
        few = rows.take(np.arange(min(len(rows), _SUMMARISED_ROWS)))
        found.setdefault(rows.structure.testbench, []).append(simulator.summaries(few))
    return {testbench: np.concatenate(parts) for testbench, parts in found.items()}
