"""How well the type classifier does on circuits it has not seen, as numbers and as its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.analog.dataset import DatasetCircuit
from app.analog.kinds import CIRCUIT_TYPES
from app.measures.type_classifier import TypeClassifier

_OTHER = CIRCUIT_TYPES.index("other")

#: Bins of confidence over which the calibration error is summed.
_BINS = 15


def judged(classifier: TypeClassifier, circuits: Sequence[DatasetCircuit]) -> dict[str, Any]:
    """What the classifier says of the circuits against what they are, with and without port roles, as plain numbers.

    See `scored` for the two parts. The circuits should be unseen.
    """
    netlists = [circuit.netlist for circuit in circuits]
    types = np.array([CIRCUIT_TYPES.index(circuit.type) for circuit in circuits])
    return {
        "with_port_roles": scored(classifier.probabilities(netlists), types),
        "without_port_roles": scored(classifier.probabilities(netlists, with_port_roles=False), types),
    }


def scored(probabilities: NDArray[np.float32], types: NDArray[np.int64]) -> dict[str, Any]:
    """The probabilities [circuit, type] against the true types.

    `accuracy` is the share of circuits that are told right, `accuracy_without_other` among those whose type is not
    `other`, `mean_recall` the mean over the types that occur; `calibration_error` the mean gap between confidence and
    accuracy, over bins of confidence [guo2017calibration]; `confusion` counts circuits by true type (row) and type
    told (column), in the order of `types`. A share of no circuits is None.
    """
    told = probabilities.argmax(axis=1)
    confusion = np.zeros((len(CIRCUIT_TYPES),) * 2, dtype=np.int64)
    np.add.at(confusion, (types, told), 1)
    right = told == types
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gaps = [abs(float((right[bins == each] - confidence[bins == each]).sum())) for each in range(_BINS)]
    by_type = {
        name: {
            "circuits": int(confusion[number].sum()),
            "recall": _share(confusion[number, number], confusion[number].sum()),
            "precision": _share(confusion[number, number], confusion[:, number].sum()),
        }
        for number, name in enumerate(CIRCUIT_TYPES)
    }
    recalls = [row["recall"] for row in by_type.values() if row["recall"] is not None]
    named = types != _OTHER
    likelihood = probabilities[np.arange(len(types)), types].clip(1e-9)
    return {
        "circuits": len(types),
        "accuracy": _share(right.sum(), len(types)),
        "accuracy_without_other": _share(right[named].sum(), named.sum()),
        "mean_recall": round(float(np.mean(recalls)), 4) if recalls else None,
        "nats_per_circuit": round(float(-np.log(likelihood).mean()), 4) if len(types) else None,
        "calibration_error": round(sum(gaps) / len(types), 4) if len(types) else None,
        "by_type": by_type,
        "types": list(CIRCUIT_TYPES),
        "confusion": confusion.tolist(),
    }


def _share(part: Any, whole: Any) -> float | None:
    return round(float(part) / float(whole), 4) if whole else None


def card_text(config: Mapping[str, Any], judgement: Mapping[str, Any]) -> str:
    """card.md: data, command, seed, cost, accuracy over all and by type, limits."""
    training = config["training"]
    known, blind, spared = (judgement[key] for key in ("with_port_roles", "without_port_roles", "of_parts_left_out"))
    lines = [
        f"# {config['name']}",
        "",
        "Tells which of the circuit types a netlist looks like. It measures whether a generated circuit is of the type "
        "that was asked for; it generates nothing. A linear model over the neighbourhoods, up to "
        f"{config['depth']} steps wide, that devices and nets stand in: {config['parameters']:,} parameters, stored in "
        "float16.",
        "",
        "## Training",
        "",
        f"- Data: {training['corpus']}; {training['seen_circuits']:,} circuits seen, {training['unseen_circuits']:,} "
        f"unseen. Split: {training['split']}.",
        f"- Command: `{training['command']}` (seed {training['recipe']['seed']}).",
        f"- Cost: {training['cpu_seconds']:,} CPU-seconds on one thread.",
        "- Every circuit was shown with its port roles, without them, and without a random share of them, so that the "
        "names of ports alone do not decide. The temperature of the probabilities was chosen on parts of the seen "
        "circuits, each told by what was learnt from the others; so told, "
        f"{_cell(spared['accuracy'])} of the seen circuits are right as well.",
        "",
        "## Accuracy on unseen circuits",
        "",
        "This is the ceiling of every share measured with it. Types are the corpus's own, which are chapters and "
        "stacks of papers rather than judgements of single circuits; `other` holds what fits none.",
        "",
        "| | with port roles | without port roles |",
        "|---|---|---|",
        *(
            f"| {words} | {_cell(known[key])} | {_cell(blind[key])} |"
            for key, words in (
                ("accuracy", "told right"),
                ("accuracy_without_other", "told right, where the type is not `other`"),
                ("mean_recall", "mean over the types"),
                ("nats_per_circuit", "nats a circuit"),
                ("calibration_error", "gap between confidence and accuracy"),
            )
        ),
        "",
        "Recall is the share of the circuits of a type that are told right, precision the share of those told to be of "
        "it that are. The second pair of columns is about the seen circuits, each told by what was learnt from other "
        "parts; it says more of types with few unseen circuits.",
        "",
        "| type | unseen circuits | recall | precision | recall without port roles | seen circuits | recall | "
        "otherwise told |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for number, name in enumerate(known["types"]):
        row, unaided, other = (part["by_type"][name] for part in (known, blind, spared))
        lines.append(
            f"| {name} | {row['circuits']} | {_cell(row['recall'])} | {_cell(row['precision'])} "
            f"| {_cell(unaided['recall'])} | {other['circuits']} | {_cell(other['recall'])} "
            f"| {_mistakes(known['types'], known['confusion'][number], number)} |"
        )
    lines += [
        "",
        "The whole confusion matrix is in `card.json`.",
        "",
        "## Limits",
        "",
        "It judges likeness to circuits that were labelled, not function: a circuit that looks like an op-amp need not "
        "amplify. Types with few unseen circuits have wide intervals. A circuit unlike all types is still given the "
        "likeliest of them; its probabilities say how sure that is.",
        "",
    ]
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _mistakes(types: Sequence[str], row: Sequence[int], own: int) -> str:
    """The types that circuits of a type are most often taken for, with counts."""
    wrong = sorted(((count, types[n]) for n, count in enumerate(row) if n != own and count), reverse=True)
    return ", ".join(f"{name} {count}" for count, name in wrong[:3])
