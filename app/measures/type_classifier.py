"""Which of the circuit types a netlist looks like, told from the neighbourhoods that its devices and nets stand in.

It is the measure of whether a generated circuit is of the type that was asked for, so it shares nothing with the
generators and is trained on a split of its own (`app.training.type_classifier`). Its accuracy on circuits that it has
not seen, in its card, is the ceiling of every share measured with it. It judges likeness to what was labelled, not
function.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from app.analog.canonical import net_class, wl_labels
from app.analog.kinds import CIRCUIT_TYPES
from app.analog.netlist import Netlist
from app.errors import ModelDamaged
from app.inference.checkpoint import MEASURE, verify
from app.resources import models_path

FORMAT = 1
NAME = "analog-type-classifier"


@dataclass(frozen=True)
class Features:
    """A circuit as a sparse vector of length one: `places` in ascending order, and the value at each."""

    places: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Neighbourhoods:
    """The Weisfeiler-Leman labels of up to `depth` rounds that count, ascending; every other label is overlooked.

    Reference:
        [shervashidze2011weisfeiler] §3.2, with log(1 + count) for the count, since large circuits repeat their cells.
    """

    labels: NDArray[np.int64]
    depth: int

    def features(self, netlist: Netlist, roleless: AbstractSet[str] = frozenset()) -> Features:
        """What the circuit has of the labels; equal circuits have equal features. `roleless` as in `labels_of`."""
        counts = labels_of(netlist, self.depth, roleless)
        found = np.array(sorted(counts), dtype=np.int64)
        places = np.searchsorted(self.labels, found)
        is_known = np.zeros(len(found), dtype=np.bool_)
        inside = places < len(self.labels)
        is_known[inside] = self.labels[places[inside]] == found[inside]
        values = np.log1p(np.array([counts[int(label)] for label in found[is_known]], dtype=np.float32))
        length = float(np.linalg.norm(values))
        return Features(places[is_known], np.asarray(values / length if length else values, dtype=np.float32))


def labels_of(netlist: Netlist, depth: int, roleless: AbstractSet[str] = frozenset()) -> Mapping[int, int]:
    """The circuit's labels of 0 to `depth` rounds with their counts; of the `roleless` ports no role is told."""
    return wl_labels(netlist, depth, partial(_net_word, ports=frozenset(netlist.ports), roleless=roleless))


def _net_word(net: str, *, ports: AbstractSet[str], roleless: AbstractSet[str]) -> str:
    word = net_class(net, ports)
    return "port" if net in roleless and word.startswith("port") else word


@dataclass(frozen=True)
class TypeClassifier:
    """A linear model over neighbourhoods. `weights` float32 [label, type], `biases` float32 [type].

    Scores are divided by `temperature`, chosen on circuits that were left out for it, so that a probability is the
    share of times that it is right. `card` is card.json as it is.
    """

    neighbourhoods: Neighbourhoods
    weights: NDArray[np.float32]
    biases: NDArray[np.float32]
    temperature: float
    card: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """The classifier of a folder; the shipped one when absent.

        Raises:
            ModelDamaged: a file is missing or changed, or the files do not belong together.
        """
        folder = models_path(NAME) if folder is None else folder
        verify(folder)
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
            if (config["kind"], config["name"], config["format"]) != (MEASURE, NAME, FORMAT):
                raise ValueError(f"it is not a type classifier of format {FORMAT}")
            if tuple(config["types"]) != CIRCUIT_TYPES:
                raise ValueError("its types are not those of this version")
            tensors = load_file(folder / "weights.safetensors")
            labels, weights, biases = (tensors[name] for name in ("labels", "weights", "biases"))
            if weights.shape != (len(labels), len(CIRCUIT_TYPES)) or biases.shape != (len(CIRCUIT_TYPES),):
                raise ValueError(f"weights of shape {weights.shape} for {len(labels)} labels")
            return cls(
                Neighbourhoods(labels.astype(np.int64), int(config["depth"])),
                weights.astype(np.float32),
                biases.astype(np.float32),
                float(config["temperature"]),
                card,
            )
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelDamaged(
                f"model {folder.name}: it cannot be used ({error}); restore models/{folder.name} from the repository, "
                "or train it anew with 'josephson train types'"
            ) from error

    def probabilities(self, netlists: Sequence[Netlist], *, with_port_roles: bool = True) -> NDArray[np.float32]:
        """Of each type in the order of CIRCUIT_TYPES, float32 [netlist, type]; rows sum to one.

        Equal circuits get equal rows, whoever else is asked about. Without port roles a port is just a port, so that
        what a circuit calls its ports cannot speak for it; supplies keep their names.
        """
        return softened(self.scores(self._seen(netlists, with_port_roles)), self.temperature)

    def types(self, netlists: Sequence[Netlist], *, with_port_roles: bool = True) -> list[str]:
        """The likeliest type of each."""
        chosen = self.probabilities(netlists, with_port_roles=with_port_roles).argmax(axis=1)
        return [CIRCUIT_TYPES[number] for number in chosen]

    def scores(self, circuits: Iterable[Features]) -> NDArray[np.float32]:
        """Of each type before the temperature, float32 [circuit, type]."""
        rows = [features.values @ self.weights[features.places] + self.biases for features in circuits]
        return np.array(rows, dtype=np.float32).reshape(-1, len(CIRCUIT_TYPES))

    def _seen(self, netlists: Iterable[Netlist], with_port_roles: bool) -> Iterable[Features]:
        for netlist in netlists:
            yield self.neighbourhoods.features(netlist, frozenset() if with_port_roles else frozenset(netlist.ports))

    def config(self, training: Mapping[str, Any]) -> dict[str, Any]:
        """What config.json says of it."""
        return {
            "format": FORMAT, "name": NAME, "kind": MEASURE, "types": list(CIRCUIT_TYPES),
            "depth": self.neighbourhoods.depth, "temperature": self.temperature,
            "parameters": int(self.weights.size + self.biases.size), "training": dict(training),
        }  # fmt: skip

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What weights.safetensors holds."""
        return {
            "labels": self.neighbourhoods.labels,
            "weights": self.weights.astype(np.float16),
            "biases": self.biases.astype(np.float16),
        }


def softened(scores: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Probabilities [circuit, type] of scores at a temperature."""
    scaled = scores / np.float32(temperature)
    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float32)
