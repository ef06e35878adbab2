"""A trained neural simulator: a folder with its network, and what turns the network's numbers into values.

One pass of the network tells every metric of every row. A metric's value is `Scale.value` of its mean; it has an
interval by split conformal prediction, one set of reaches with estimates of the table simulator and one without.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from app.errors import CorpusMissing, InvalidRequest, ModelDamaged
from app.inference.checkpoint import SIMULATOR, seal, verify
from app.neural_simulator.arrays import (
    CIRCUIT,
    DEFINED,
    ELEMENT_FEATURES,
    ELEMENT_KINDS,
    PINS,
    RowInputs,
    Structure,
    net_classes,
)
from app.neural_simulator.conformal import LEAST_SPREAD, ConformalIntervals
from app.neural_simulator.inputs import (
    ESTIMATE_FEATURES,
    FACT_FEATURES,
    Known,
    ShownEstimates,
    Vocabulary,
    condition_features,
    shown_targets,
)
from app.neural_simulator.nearest import NearestRows
from app.neural_simulator.novelty import Experience
from app.neural_simulator.scales import Scales
from app.neural_simulator.splits import ModelSplit
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
from app.testbenches._base import testbenches

Floats = NDArray[np.float64]

#: The folder of the model that ships, and the layout of such folders.
NAME = "simulator"
FORMAT = 1

#: Rows that go through the network together.
CHUNK = 512

_ROWS_NAME = "rows.npz"
_MOST_LOG_SPREAD = 4.0


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Where the summaries of a testbench's training rows lie: a summary's distance is the root of its square form.

    A distance of 1 is what 99 % of the calibration rows do not reach.

    Reference:
        [lee2018mahalanobis] §2.1, Eq. (2), with one class.
    """

    centre: Floats  # [width]
    form: Floats  # [width, width]

    def distance(self, summaries: Floats) -> Floats:
        """[n] of summaries [n, width]."""
        apart = summaries - self.centre
        return np.asarray(np.sqrt(np.maximum(np.einsum("nw,wv,nv->n", apart, self.form, apart), 0.0)))


@dataclass(frozen=True, eq=False)
class Predicted:
    """What is predicted of n rows and M metrics, in targets of `Scales`. Metrics that were known are so here."""

    mean: Floats  # [n, M]
    spread: Floats  # [n, M], mean absolute deviation
    defined: Floats  # [n, M], probability of a value
    distance: Floats  # [n], above 1 is unlike what was learnt from
    has_estimates: NDArray[np.bool_]  # [n], whether a solution of the table simulator's went in


@dataclass(frozen=True, eq=False)
class NeuralSimulator:
    """A network with its vocabulary, scales, intervals and experience; `training` is what config.json says of it.

    `intervals` are by whether a row has estimates, and whether its circuit and technology were learnt from; those of
    new circuits come from circuits that were kept from training. `neighbourhoods` are by testbench.
    """

    network: SimulatorNetwork
    vocabulary: Vocabulary
    scales: Scales
    intervals: Mapping[tuple[bool, bool], ConformalIntervals]
    neighbourhoods: Mapping[str, Neighbourhood]
    experience: Experience
    nearest: NearestRows
    training: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def testbenches(self) -> tuple[str, ...]:
        """Those that it can predict on."""
        return self.vocabulary.testbenches

    @property
    def split(self) -> ModelSplit:
        """Which rows it has learnt from, and which set its intervals; raises InvalidRequest where it does not say."""
        try:
            return ModelSplit.from_json(self.training["split"])
        except (KeyError, TypeError) as error:
            raise InvalidRequest(
                "the model does not say which rows it has learnt from, so none can be judged by; train it anew with "
                "'josephson train simulator'"
            ) from error

    def predict(self, rows: RowInputs, known: Known | None = None) -> Predicted:
        """What becomes of the rows.

        Args:
            rows: On a testbench of the vocabulary.
            known: Metrics that the caller knows already.

        Raises:
            UnknownName: the testbench, or one of its metrics, was never learnt.
        """
        circuit = circuit_tensors(rows.structure, self.vocabulary)
        parts = []
        for start in range(0, max(len(rows), 1), CHUNK):
            chosen = np.arange(start, min(start + CHUNK, len(rows)))
            part = rows.take(chosen)
            told = self._told(circuit, part, None if known is None else known.take(chosen))
            parts.append(self._predicted(part, told, None if known is None else known.take(chosen)))
        return Predicted(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in Predicted.__dataclass_fields__)
        )

    def summaries(self, rows: RowInputs) -> Floats:
        """[n, width], what the network makes of each row's circuit as a whole; what is near in it is alike."""
        circuit = circuit_tensors(rows.structure, self.vocabulary)
        return self._told(circuit, rows, None).summary.cpu().numpy().astype(np.float64)

    def _told(self, circuit: CircuitTensors, rows: RowInputs, known: Known | None) -> Told:
        tensors = row_tensors(rows, self.scales, known)
        self.network.eval()
        device_type = next(self.network.parameters()).device.type
        with torch.no_grad(), fast_products(device_type):
            told: Told = self.network(circuit, tensors)
        return told

    def _predicted(self, rows: RowInputs, told: Told, known: Known | None) -> Predicted:
        structure = rows.structure
        spread_told = told.log_spread.clamp(max=_MOST_LOG_SPREAD).exp()
        mean, spread, defined, summary = (
            numbers.cpu().numpy().astype(np.float64)
            for numbers in (told.mean, spread_told, torch.sigmoid(told.defined), told.summary)
        )
        if known is not None:
            is_known = np.isfinite(known.values)
            mean = np.where(is_known, self.scales.targets(structure, known.values), mean)
            spread, defined = np.where(is_known, 0.0, spread), np.where(is_known, 1.0, defined)
            defined = np.where(known.has_none, 0.0, defined)
        neighbourhood = self.neighbourhoods.get(structure.testbench)
        distance = np.zeros(len(rows)) if neighbourhood is None else neighbourhood.distance(summary)
        return Predicted(mean, np.maximum(spread, LEAST_SPREAD), defined, distance, has_estimates(rows))

    def ends(self, rows: RowInputs, predicted: Predicted, level: float) -> tuple[Floats, Floats]:
        """Ends [n, M], in targets, of intervals that hold the truth as often as `level` says.

        Raises:
            InvalidInput: a level that was not calibrated.
        """
        structure = rows.structure
        low, high = np.empty_like(predicted.mean), np.empty_like(predicted.mean)
        is_known = self.experience.knows(structure.topology_id, structure.testbench, rows.technology)
        for estimated in (False, True):
            chosen = predicted.has_estimates == estimated
            intervals = self.intervals[estimated, is_known]
            low[chosen], high[chosen] = intervals.intervals(
                structure.testbench, rows.technology, structure.metrics, predicted.mean[chosen],
                predicted.spread[chosen], level,
            )  # fmt: skip
        was_given = predicted.spread <= LEAST_SPREAD
        return np.where(was_given, predicted.mean, low), np.where(was_given, predicted.mean, high)

    def save(self, folder: Path) -> None:
        """The folder holds the model, its weights rounded to bfloat16, and nothing that was said of an earlier one."""
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("card.*"), *folder.glob("weights*")):
            old.unlink()
        names = sorted(self.neighbourhoods)
        config = {
            "format": FORMAT, "name": NAME, "kind": SIMULATOR, "network": asdict(self.network.config),
            "parameters": self.network.parameter_count(), "vocabulary": self.vocabulary.as_json(),
            "scales": self.scales.as_json(),
            "intervals": {
                name: self.intervals[kind].as_json() for name, kind in _INTERVALS.items()
            },
            "neighbourhoods": names, "experience": self.experience.as_json(), "training": dict(self.training),
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")
        weights = {
            f"network.{name}": tensor.detach().to("cpu", torch.bfloat16).contiguous()
            for name, tensor in self.network.state_dict().items()
        }
        for number, name in enumerate(names):
            found = self.neighbourhoods[name]
            weights[f"centre.{number}"] = torch.from_numpy(found.centre.astype(np.float32))
            weights[f"form.{number}"] = torch.from_numpy(found.form.astype(np.float32))
        path = folder / "weights.safetensors"
        save_file(weights, path)
        path.chmod(0o644)  # the library makes it the owner's alone, an installed model is everybody's to read
        self.nearest.save(folder / _ROWS_NAME)
        seal(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model of a folder, on the CPU.

        Raises:
            CorpusMissing: there is no model there.
            ModelDamaged: a file is missing or changed, or the files do not belong together.
        """
        if not (folder / "config.json").is_file():
            raise CorpusMissing(
                f"there is no neural simulator in {folder}; train one with 'josephson train simulator', or restore "
                "the folder from the repository"
            )
        verify(folder)
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            if (config["kind"], config["format"]) != (SIMULATOR, FORMAT):
                raise ValueError(f"it is not a neural simulator of format {FORMAT}")
            network = SimulatorNetwork(SimulatorConfig(**config["network"]))
            _check_inputs(network.config)
            tensors = load_file(folder / "weights.safetensors")
            weights = {
                name.removeprefix("network."): tensor.float()
                for name, tensor in tensors.items()
                if name.startswith("network.")
            }
            network.load_state_dict(weights)
            neighbourhoods = {
                name: Neighbourhood(*(tensors[f"{part}.{n}"].double().numpy() for part in ("centre", "form")))
                for n, name in enumerate(config["neighbourhoods"])
            }
            card = folder / "card.json"
            return cls(
                network.eval(),
                Vocabulary.from_json(config["vocabulary"]),
                Scales.from_json(config["scales"]),
                {_INTERVALS[name]: ConformalIntervals.from_json(each) for name, each in config["intervals"].items()},
                neighbourhoods,
                Experience.from_json(config["experience"]),
                NearestRows.load(folder / _ROWS_NAME),
                config["training"],
                json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {},
            )
        except (KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
            raise ModelDamaged(
                f"model {folder.name}: {error}; train it anew with 'josephson train simulator', or restore it from "
                "the repository"
            ) from error


#: What config.json calls the intervals of rows with estimates or without, of known circuits or of new ones.
_INTERVALS: Mapping[str, tuple[bool, bool]] = {
    "estimated_known": (True, True),
    "estimated_new": (True, False),
    "plain_known": (False, True),
    "plain_new": (False, False),
}


def _check_inputs(config: SimulatorConfig) -> None:
    """The network is shown what this version shows, else ValueError."""
    shown = _shown()
    theirs = {name: getattr(config, name) for name in shown}
    if theirs != shown:
        raise ValueError(f"it was trained on other inputs ({theirs}) than this version has ({shown})")


def _shown() -> dict[str, int]:
    return {
        "kinds": len(ELEMENT_KINDS), "net_classes": len(net_classes()), "pins": PINS, "relations": PINS * PINS,
        "element_features": ELEMENT_FEATURES, "fact_features": FACT_FEATURES, "estimate_features": ESTIMATE_FEATURES,
    }  # fmt: skip


def circuit_tensors(structure: Structure, vocabulary: Vocabulary) -> CircuitTensors:
    """The structure as the network takes it. Raises UnknownName."""
    return CircuitTensors(
        torch.from_numpy(structure.kinds.astype(np.int64)),
        torch.from_numpy(structure.nets.astype(np.int64)),
        torch.from_numpy(structure.shared.astype(np.float32)),
        torch.tensor(vocabulary.testbench(structure)),
        torch.from_numpy(vocabulary.metric_numbers(structure)),
    )


def has_estimates(rows: RowInputs) -> NDArray[np.bool_]:
    """[n], whether the table simulator solved the row's circuit: what follows from sizes alone does not count."""
    of_sizes = [metric.name for metric in testbenches[rows.structure.testbench].metrics if not metric.runs]
    takes_solving = ~np.isin(rows.structure.metrics, of_sizes)
    is_told = (rows.estimate_causes == DEFINED) | (rows.estimate_causes == CIRCUIT)
    return np.asarray((is_told & takes_solving).any(axis=1))


def row_tensors(rows: RowInputs, scales: Scales, known: Known | None = None) -> RowTensors:
    """The rows as the network takes them; `known` as in `NeuralSimulator.predict`."""
    shown = ShownEstimates.of(rows, scales)
    states = np.full(rows.estimates.shape, UNKNOWN)
    targets = np.zeros(rows.estimates.shape, dtype=np.float32)
    if known is not None:
        states[np.isfinite(known.values)], states[known.has_none] = KNOWN, KNOWN_UNDEFINED
        targets = np.nan_to_num(shown_targets(scales, rows.structure, known.values))
    return RowTensors(
        torch.from_numpy(np.ascontiguousarray(rows.elements)),
        torch.from_numpy(shown.facts),
        torch.from_numpy(condition_features(rows.conditions)),
        torch.from_numpy(shown.targets),
        torch.from_numpy(shown.features),
        torch.from_numpy(targets),
        torch.from_numpy(states),
    )
