"""Training the neural simulator: prepared simulations into weights, scales and intervals.

A row is shown with what the table simulator estimates of it or without, and with some metrics known or none, drawn anew
each time, so that one network answers in every case. Rows of one circuit are taken together.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from app.errors import InvalidRequest
from app.neural_simulator.arrays import (
    CIRCUIT,
    DEFINED,
    ELEMENT_FEATURES,
    ELEMENT_KINDS,
    FACTS,
    NOT_RUN,
    PINS,
    Rows,
    condition_names,
    net_classes,
)
from app.neural_simulator.artefact import circuit_tensors, row_tensors
from app.neural_simulator.inputs import ESTIMATE_FEATURES, FACT_FEATURES, Vocabulary, fact_numbers, shown_targets
from app.neural_simulator.scales import Scales
from app.nn.precision import fast_products
from app.nn.simulator import (
    KNOWN,
    KNOWN_UNDEFINED,
    UNKNOWN,
    CircuitTensors,
    RowTensors,
    SimulatorConfig,
    SimulatorNetwork,
    Told,
)
from app.recipes import read_recipe_table
from app.training.loop import SAVE_EVERY_S, Loop, Schedule
from app.training.recipe import check_values

#: Errors beyond so many standard deviations count linearly [huber1964robust].
_HUBER = 3.0

_LEAST_LOG_SPREAD, _MOST_LOG_SPREAD = -6.0, 4.0

#: Rows of each group that the held-out loss is taken of.
_WATCHED_ROWS = 48

#: Keys of a recipe that may differ between the parts of one run.
_MAY_CHANGE = frozenset({"rows", "name", "file"})


@dataclass(frozen=True)
class SimulatorShape:
    """Sizes of the network; the rest follows from the data."""

    width: int = 64
    heads: int = 4
    element_layers: int = 3
    metric_layers: int = 2
    mlp_width: int = 128
    message_width: int = 8
    dropout: float = 0.0


@dataclass(frozen=True)
class SimulatorRecipe:
    """One recipe; rates and shares are as in `Recipe`, counted in rows.

    A step takes `batch_rows` rows, `circuit_rows` of one circuit at a time. A row is shown with estimates with a
    probability of `physics_share`, with metrics known with one of `known_share`. The losses of spread, definedness and
    operating points weigh `spread_weight`, `defined_weight` and `fact_weight`, that of the mean 1.
    """

    kind: str
    name: str
    rows: int
    batch_rows: int = 768
    circuit_rows: int = 128
    learning_rate: float = 3e-3
    matrix_learning_rate: float = 5e-3
    warmup_rows: int = 50_000
    decay_share: float = 0.5
    weight_decay: float = 0.1
    gradient_clip: float = 1.0
    ema_rows: int = 100_000
    physics_share: float = 0.75
    known_share: float = 0.4
    spread_weight: float = 0.1
    defined_weight: float = 0.2
    fact_weight: float = 0.1
    seed: int = 1
    precision: str = "bfloat16"
    network: SimulatorShape = field(default_factory=SimulatorShape)
    file: str = field(default="", compare=False)

    def as_json(self) -> dict[str, Any]:
        """Plain numbers for the model's configuration file."""
        return asdict(self)

    @property
    def schedule(self) -> Schedule:
        """The numbers for the loop, in rows."""
        return Schedule(
            self.name, self.rows, self.learning_rate, self.matrix_learning_rate, self.warmup_rows, self.decay_share,
            self.weight_decay, self.gradient_clip, self.ema_rows, self.seed, False,
            {key: value for key, value in self.as_json().items() if key not in _MAY_CHANGE},
        )  # fmt: skip


def read_simulator_recipe(name_or_path: str = "cpu") -> SimulatorRecipe:
    """The recipe of that name (``cpu`` is data/recipes/simulator-cpu.toml), or of a .toml file.

    Raises:
        UnknownName: there is no such recipe.
        InvalidRequest: the file is not TOML, has an unknown key or value, lacks a key, or is of another kind.
    """
    is_path = name_or_path.endswith(".toml")
    table, where = read_recipe_table(name_or_path if is_path else f"simulator-{name_or_path}")
    for key in ("kind", "name", "rows"):
        if key not in table:
            raise InvalidRequest(f"{where}: key {key!r} is missing")
    if table["kind"] != "simulator":
        raise InvalidRequest(f"{where} is a recipe for {table['kind']}, not for simulator")
    network = table.pop("network", {})
    check_values(where, table, SimulatorRecipe)
    check_values(where, network, SimulatorShape)
    recipe = SimulatorRecipe(**table, network=SimulatorShape(**network), file=where)
    if recipe.network.width % recipe.network.heads:
        raise InvalidRequest(f"{where}: a width of {recipe.network.width} does not divide into heads")
    return recipe


def network_config(shape: SimulatorShape, vocabulary: Vocabulary) -> SimulatorConfig:
    """The shape of the network for this version's inputs and these metrics."""
    return SimulatorConfig(
        kinds=len(ELEMENT_KINDS), net_classes=len(net_classes()), pins=PINS, relations=PINS * PINS,
        element_features=ELEMENT_FEATURES, fact_features=FACT_FEATURES, facts=len(FACTS),
        conditions=2 * len(condition_names()), estimate_features=ESTIMATE_FEATURES,
        testbenches=len(vocabulary.testbenches), metrics=len(vocabulary.metrics), **asdict(shape),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Lessons:
    """Rows of one circuit in one technology as tensors, with the answers."""

    circuit: CircuitTensors
    inputs: RowTensors
    targets: Tensor  # float [n, M], 0 where there is no value
    has_value: Tensor  # bool [n, M]
    was_asked: Tensor  # bool [n, M], the simulator did its part
    facts: Tensor  # float [n, E, FACTS], 0 where there are none
    has_facts: Tensor  # bool [n, E, FACTS]

    @classmethod
    def of(cls, rows: Rows, scales: Scales, vocabulary: Vocabulary, device: torch.device) -> Lessons:
        """These rows on the device."""
        targets = shown_targets(scales, rows.structure, rows.values)
        facts = fact_numbers(rows.facts)
        inputs = row_tensors(rows, scales)
        answers = (
            np.nan_to_num(targets), np.isfinite(targets), (rows.causes == DEFINED) | (rows.causes == CIRCUIT),
            np.nan_to_num(facts), np.isfinite(facts),
        )  # fmt: skip
        circuit = circuit_tensors(rows.structure, vocabulary)
        return cls(_on(circuit, device), _on(inputs, device), *(torch.from_numpy(each).to(device) for each in answers))

    def __len__(self) -> int:
        return len(self.targets)


TensorsT = TypeVar("TensorsT", CircuitTensors, RowTensors)


def _on(tensors: TensorsT, device: torch.device) -> TensorsT:
    moved = {name: getattr(tensors, name).to(device) for name in type(tensors).__dataclass_fields__}
    return type(tensors)(**moved)


@dataclass(frozen=True, eq=False)
class Portion:
    """Rows of one group, by number, that a step takes together."""

    group: int
    rows: Tensor  # int64 [n]


class SimulatorTrainer(Loop[SimulatorNetwork, Sequence[Portion]]):
    """Trains the network of a neural simulator; see `Loop`.

    Args:
        training: Rows to learn from, of any number of groups.
        watched: Rows whose loss is told, with everything estimated and nothing known.
    """

    unit = "rows"
    loss_unit = "(weighted)"
    evaluate_every = 200_000

    def __init__(
        self, recipe: SimulatorRecipe, training: Sequence[Rows], watched: Sequence[Rows], scales: Scales,
        vocabulary: Vocabulary, folder: Path, device: torch.device, *, initial: SimulatorNetwork | None = None,
        save_every_s: float = SAVE_EVERY_S,
    ) -> None:  # fmt: skip
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        network = SimulatorNetwork(network_config(recipe.network, vocabulary))
        if initial is not None:
            network.load_state_dict(initial.state_dict())
        self._lessons = [Lessons.of(rows, scales, vocabulary, device) for rows in training if len(rows)]
        few = (rows.take(np.arange(min(len(rows), _WATCHED_ROWS))) for rows in watched if len(rows))
        self._watched = [Lessons.of(rows, scales, vocabulary, device) for rows in few]
        corpus: list[float] = [len(self._lessons), sum(len(each) for each in self._lessons)]
        super().__init__(recipe.schedule, network, corpus, folder, device, save_every_s=save_every_s)

    def _rounds(self, first: int) -> Generator[list[Sequence[Portion]]]:
        number = first
        while True:
            yield list(self._round_of(number))
            number += 1

    def _round_of(self, number: int) -> Iterator[Sequence[Portion]]:
        """Every row once, in portions of one group, several portions a step."""
        rng = np.random.default_rng([self.recipe.seed, number])
        portions = []
        for group, lessons in enumerate(self._lessons):
            order = torch.from_numpy(rng.permutation(len(lessons))).to(self._device)
            portions += [Portion(group, rows) for rows in torch.split(order, self.recipe.circuit_rows)]
        step: list[Portion] = []
        for place in rng.permutation(len(portions)).tolist():
            step.append(portions[place])
            if self._size(step) >= self.recipe.batch_rows:
                yield step
                step = []
        if step:
            yield step

    def _size(self, batch: Sequence[Portion]) -> int:
        return sum(len(portion.rows) for portion in batch)

    def _loss_of(self, batch: Sequence[Portion]) -> Tensor:
        losses = []
        for portion in batch:
            lessons = self._lessons[portion.group]
            known = self._drawn_known(lessons, portion.rows)
            is_estimated = torch.rand(len(portion.rows), device=self._device) < self.recipe.physics_share
            losses.append(len(portion.rows) * self._loss_of_rows(lessons, portion.rows, known, is_estimated))
        return torch.stack(losses).sum() / self._size(batch)

    def _loss_held_out(self) -> float:
        total, count = 0.0, 0
        was_training = self.network.training
        self.network.eval()
        with torch.no_grad():
            for lessons in self._watched:
                rows = torch.arange(len(lessons), device=self._device)
                nothing = torch.zeros_like(lessons.has_value)
                is_estimated = torch.ones_like(rows, dtype=torch.bool)
                total += len(lessons) * float(self._loss_of_rows(lessons, rows, nothing, is_estimated))
                count += len(lessons)
        self.network.train(was_training)
        return total / max(1, count)

    def _describe(self, corpus: list[float]) -> str:
        return f"{corpus[1]:.0f} rows in {corpus[0]:.0f} groups"

    def _drawn_known(self, lessons: Lessons, rows: Tensor) -> Tensor:
        """Bool [n, M]: of some rows the cheapest metrics are known, of as many others any, of the rest none."""
        count, metrics = len(rows), lessons.targets.shape[1]
        cheap_first = torch.arange(metrics, device=self._device).expand(count, metrics) / metrics
        anyhow = torch.rand(count, metrics, device=self._device)
        in_order = torch.rand(count, 1, device=self._device) < 0.5
        share = torch.rand(count, 1, device=self._device)
        has_known = torch.rand(count, 1, device=self._device) < self.recipe.known_share
        return (torch.where(in_order, cheap_first, anyhow) < share) & has_known & lessons.was_asked[rows]

    def _loss_of_rows(self, lessons: Lessons, rows: Tensor, known: Tensor, is_estimated: Tensor) -> Tensor:
        """Of rows by number; what is `known` [n, M] is not asked for, where not `is_estimated` [n] nothing is."""
        targets, has_value = lessons.targets[rows], lessons.has_value[rows]
        inputs = _shown(lessons.inputs, rows, known, targets, has_value, is_estimated)
        with fast_products(self._device.type, is_wanted=self.recipe.precision == "bfloat16"):
            told: Told = self.network(lessons.circuit, inputs)
        r = self.recipe
        judged = has_value & ~known
        errors = F.huber_loss(told.mean, targets, reduction="none", delta=_HUBER)
        log_spread = told.log_spread.clamp(_LEAST_LOG_SPREAD, _MOST_LOG_SPREAD)
        # The density of a Laplace distribution around the mean, which the spread does not move.
        likelihood = (told.mean.detach() - targets).abs() * torch.exp(-log_spread) + log_spread
        defined = F.binary_cross_entropy_with_logits(told.defined, has_value.float(), reduction="none")
        facts = F.mse_loss(told.facts, lessons.facts[rows], reduction="none")
        return (
            _mean_of(errors, judged)
            + r.spread_weight * _mean_of(likelihood, judged)
            + r.defined_weight * _mean_of(defined, lessons.was_asked[rows] & ~known)
            + r.fact_weight * _mean_of(facts, lessons.has_facts[rows])
        )


def _shown(
    inputs: RowTensors, rows: Tensor, known: Tensor, targets: Tensor, has_value: Tensor, is_estimated: Tensor
) -> RowTensors:
    """The rows as they are shown this time."""
    states = torch.where(known, torch.where(has_value, KNOWN, KNOWN_UNDEFINED), UNKNOWN)
    estimated = is_estimated.float()
    features = inputs.estimate_features[rows].clone()
    features[~is_estimated] = 0.0
    features[~is_estimated, :, NOT_RUN] = 1.0
    return RowTensors(
        inputs.elements[rows],
        inputs.facts[rows] * estimated[:, None, None],
        inputs.conditions[rows],
        inputs.estimates[rows] * estimated[:, None],
        features,
        targets * (known & has_value),
        states,
    )


def _mean_of(numbers: Tensor, chosen: Tensor) -> Tensor:
    return (numbers * chosen).sum() / chosen.sum().clamp(min=1)
