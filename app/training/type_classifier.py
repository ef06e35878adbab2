"""Training the type classifier: a split of its own, port roles hidden at random, a temperature from circuits left out.

It learns from fewer circuits than the generators do: what they must not see stays hidden from it, and of the rest a
fifth of the classes as well. So the circuits that it is judged by are not those that a generator may have learnt.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn import functional

from app.analog.corpus import ARCHETYPES
from app.analog.dataset import Dataset, DatasetCircuit, read_dataset
from app.analog.kinds import CIRCUIT_TYPES
from app.analog.netlist import Netlist
from app.inference.checkpoint import seal
from app.measures.type_classifier import Features, Neighbourhoods, TypeClassifier, labels_of, softened
from app.split import held_out_classes
from app.training.type_card import card_text, judged, scored

#: The share of the generators' training circuits that the classifier does not see either.
HELD_OUT_SHARE = 0.2

#: Parts of the seen circuits; each is left out once, to choose the temperature.
PARTS = 5


@dataclass(frozen=True)
class ClassifierRecipe:
    """Every number that shapes the classifier.

    A label counts from `least_circuits` circuits on. Every pass shows each circuit three times: with its port roles,
    without, and without a random share of them. The learning rate falls as a cosine.
    """

    depth: int = 2
    least_circuits: int = 2
    epochs: int = 20
    batch: int = 128
    learning_rate: float = 3e-2
    weight_decay: float = 1e-3
    seed: int = 1


@dataclass(frozen=True)
class Sides:
    """What the classifier learns from and what it is judged by. No split class is on both sides."""

    seen: tuple[DatasetCircuit, ...]
    unseen: tuple[DatasetCircuit, ...]


def sides_of(dataset: Dataset) -> Sides:
    """The classifier's own split: unseen is all that the generators must not see, and a share of the rest by type."""
    further = held_out_classes(((c.split_class, c.type) for c in dataset.training), HELD_OUT_SHARE)
    return Sides(
        tuple(circuit for circuit in dataset.training if circuit.split_class not in further),
        (*dataset.held_out, *(circuit for circuit in dataset.training if circuit.split_class in further)),
    )


def train_types(
    source: Path | None,
    output: Path,
    recipe: ClassifierRecipe | None = None,
    *,
    report: Callable[[int, int], None] | None = None,
) -> TypeClassifier:
    """The folder `output` holds a trained classifier and its card. Torch uses one thread from now on.

    Args:
        source: The corpus, as `read_dataset` takes it.
        report: Called with the epochs done and the epochs in all.

    Raises:
        CorpusMissing: There is no corpus at `source`.
    """
    recipe = ClassifierRecipe() if recipe is None else recipe
    torch.set_num_threads(1)  # the matrices are small: a second thread waits more than it works
    cpu_started_s = time.process_time()
    sides = sides_of(read_dataset(source))
    course = trained(sides.seen, recipe, report)
    training: dict[str, Any] = {
        "corpus": "archetypes" if source is None else "AnalogGenie data set and archetypes",
        "command": "josephson train types" + (" --source DIR" if source else ""),
        "recipe": asdict(recipe), "seen_circuits": len(sides.seen), "unseen_circuits": len(sides.unseen),
        "split": "whole split classes; unseen is what the generators hold out and a fifth of the rest, by type",
        "cpu_seconds": round(time.process_time() - cpu_started_s),
        "unseen_archetypes": sorted(circuit.id for circuit in sides.unseen if circuit.source == ARCHETYPES),
    }  # fmt: skip
    accuracy = {**judged(course.classifier, sides.unseen), "of_parts_left_out": course.left_out}
    config = course.classifier.config(training)
    output.mkdir(parents=True, exist_ok=True)
    weights = output / "weights.safetensors"
    save_file(course.classifier.tensors(), weights)
    weights.chmod(0o644)  # the library makes it the owner's alone, an installed model is everybody's to read
    for name, document in (("config.json", config), ("card.json", {"accuracy": accuracy})):
        (output / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (output / "card.md").write_text(card_text(config, accuracy), encoding="utf-8")
    seal(output)
    return TypeClassifier.load(output)


@dataclass(frozen=True)
class Course:
    """A trained classifier with its weights as they are stored, and how its like did on parts that were left out."""

    classifier: TypeClassifier
    left_out: dict[str, Any]


def trained(
    circuits: Sequence[DatasetCircuit], recipe: ClassifierRecipe, report: Callable[[int, int], None] | None = None
) -> Course:
    """A classifier that learnt from the circuits; the same circuits and recipe, the same classifier.

    Whole classes are left out, one part after the other, and told by what was learnt from the rest. That chooses the
    temperature; the classifier itself learns from all of them.
    """
    rng = np.random.default_rng(recipe.seed)
    corpus = _Corpus.of(circuits, recipe, rng)
    parts = np.array([_part(circuit.split_class) for circuit in circuits])
    done = 0

    def note() -> None:
        nonlocal done
        done += 1
        if report is not None:
            report(done, (PARTS + 1) * recipe.epochs)

    scores = np.zeros((len(circuits), len(CIRCUIT_TYPES)), dtype=np.float32)
    for part in range(PARTS):
        left_out = np.flatnonzero(parts == part)
        course = corpus.learn(np.flatnonzero(parts != part), recipe, note)
        scores[left_out] = course.scores(corpus.views[0][number] for number in left_out)
    temperature = best_temperature(scores, corpus.types)
    classifier = corpus.learn(np.arange(len(circuits)), recipe, note, temperature)
    return Course(classifier, scored(softened(scores, temperature), corpus.types))


def _part(split_class: str) -> int:
    """Which part of the circuits a class belongs to, whatever else there is."""
    return int.from_bytes(hashlib.blake2b(split_class.encode(), digest_size=8, person=b"part").digest(), "big") % PARTS


def best_temperature(scores: NDArray[np.float32], answers: NDArray[np.int64]) -> float:
    """The temperature, 0.1 to 10, at which the scores [circuit, type] give the answers the largest likelihood.

    Reference:
        [guo2017calibration] §4.2.
    """

    def loss(temperature: float) -> float:
        given = softened(scores, temperature)[np.arange(len(answers)), answers]
        return -float(np.log(given.clip(1e-30)).mean())

    return float(min(np.geomspace(0.1, 10.0, 201), key=loss))


@dataclass(frozen=True)
class _Corpus:
    """Circuits as features, once in each view: with port roles, without, and without some of them."""

    neighbourhoods: Neighbourhoods
    views: tuple[tuple[Features, ...], ...]
    types: NDArray[np.int64]

    @classmethod
    def of(cls, circuits: Sequence[DatasetCircuit], recipe: ClassifierRecipe, rng: np.random.Generator) -> _Corpus:
        """The circuits in each view, over the labels that enough of them have."""
        hidden = [[frozenset(), frozenset(c.netlist.ports), frozenset(_some_ports(c.netlist, rng))] for c in circuits]
        spread: Counter[int] = Counter()
        for circuit, roleless in zip(circuits, hidden, strict=True):
            found: set[int] = set()
            for ports in roleless:
                found.update(labels_of(circuit.netlist, recipe.depth, ports))
            spread.update(found)
        common = sorted(label for label, count in spread.items() if count >= recipe.least_circuits)
        neighbourhoods = Neighbourhoods(np.array(common, dtype=np.int64), recipe.depth)
        views = zip(
            *(
                [neighbourhoods.features(circuit.netlist, ports) for ports in roleless]
                for circuit, roleless in zip(circuits, hidden, strict=True)
            ),
            strict=True,
        )
        return cls(neighbourhoods, tuple(views), np.array([CIRCUIT_TYPES.index(circuit.type) for circuit in circuits]))

    def learn(
        self, chosen: NDArray[np.int64], recipe: ClassifierRecipe, note: Callable[[], None], temperature: float = 1.0
    ) -> TypeClassifier:
        """A classifier that learnt from the chosen circuits; `note` is told of each epoch.

        A type weighs like the root of its number of circuits.
        """
        counts = np.bincount(self.types[chosen], minlength=len(CIRCUIT_TYPES))
        shares = 1.0 / np.sqrt(np.maximum(counts, 1))
        shares *= counts.sum() / (shares * counts).sum()
        loss_weights = torch.tensor(shares, dtype=torch.float32)
        shown = [(view[number], int(self.types[number])) for view in self.views for number in chosen]
        # One row beyond the labels: a bag may not be of an empty table.
        table = nn.Parameter(torch.zeros(len(self.neighbourhoods.labels) + 1, len(CIRCUIT_TYPES)))
        biases = nn.Parameter(torch.zeros(len(CIRCUIT_TYPES)))
        optimizer = torch.optim.AdamW([table, biases], weight_decay=recipe.weight_decay)
        rng = np.random.default_rng(recipe.seed)
        for epoch in range(recipe.epochs):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / recipe.epochs))
            for bag, weights, starts, answers in _batches(shown, recipe.batch, rng):
                scores = biases + functional.embedding_bag(bag, table, starts, mode="sum", per_sample_weights=weights)
                optimizer.zero_grad()
                torch.autograd.backward(functional.cross_entropy(scores, answers, weight=loss_weights))
                optimizer.step()
            note()
        return TypeClassifier(self.neighbourhoods, _stored(table)[:-1], _stored(biases), temperature)


def _some_ports(netlist: Netlist, rng: np.random.Generator) -> Iterator[str]:
    """Each port with the same probability, which is drawn first."""
    share = rng.random()
    return (port for port in netlist.ports if rng.random() < share)


def _batches(
    shown: Sequence[tuple[Features, int]], size: int, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """One round in random order: places, values, where each circuit starts, and types."""
    order = rng.permutation(len(shown))
    for first in range(0, len(order), size):
        rows = [shown[number] for number in order[first : first + size]]
        lengths = np.array([len(features.places) for features, _ in rows])
        yield (
            torch.from_numpy(np.concatenate([features.places for features, _ in rows])),
            torch.from_numpy(np.concatenate([features.values for features, _ in rows])),
            torch.from_numpy(np.cumsum(lengths) - lengths),
            torch.tensor([answer for _, answer in rows]),
        )


def _stored(parameter: nn.Parameter) -> NDArray[np.float32]:
    """The numbers as they come back from the model folder."""
    return np.asarray(parameter.detach().numpy().astype(np.float16).astype(np.float32), dtype=np.float32)
