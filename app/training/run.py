"""From a recipe and a corpus to a model folder: read, split, train, save, index what was seen."""

from __future__ import annotations

import json
import logging
import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from app.analog.canonical import canonical_hash, wl_labels
from app.errors import InvalidRequest
from app.inference.checkpoint import save_checkpoint, seal
from app.measures.novelty import TrainingIndex
from app.quantum.skeleton import ngram_labels, skeleton_hash
from app.tokens._base import languages
from app.training import analog, quantum
from app.training.recipe import Recipe
from app.training.sentences import Example, SentenceStream, split
from app.training.trainer import Progress, Trainer, TrainingResult

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingRun:
    """What to train, on what, where to.

    `source` is a corpus folder, or None for what the project ships or rebuilds. `work` keeps the resumable state;
    `output` becomes the model folder. `seconds` ends the call early with the state saved.
    """

    recipe: Recipe
    source: Path | None
    work: Path
    output: Path
    device: str = "cpu"
    threads: int = 1
    seconds: float | None = None


def read_examples(kind: str, source: Path | None) -> tuple[list[Example[Any]], str]:
    """The corpus of a kind with its split classes, and a sentence on where it is from."""
    if kind == "analog":
        circuits, told = analog.read_circuits(source)
        return analog.examples(circuits), told
    if kind == "quantum":
        programs, told = quantum.read_programs(source)
        return quantum.examples(programs), told
    raise InvalidRequest(f"no training for kind {kind!r}; known: analog, quantum")


def training_index(kind: str, examples: list[Example[Any]]) -> TrainingIndex:
    """The novelty index of training circuits."""
    if kind == "analog":
        return TrainingIndex.build((canonical_hash(e.circuit), wl_labels(e.circuit)) for e in examples)
    return TrainingIndex.build((skeleton_hash(e.circuit), ngram_labels(e.circuit)) for e in examples)


def train(run: TrainingRun, report: Callable[[Progress], None] | None = None) -> TrainingResult | None:
    """The model folder holds a trained model with its index; None when `seconds` ran out first (call again)."""
    recipe = run.recipe
    torch.set_num_threads(run.threads)
    language = languages[recipe.language]
    examples, told = read_examples(recipe.kind, run.source)
    seen, unseen = split(examples, recipe.held_out_share)
    stream = SentenceStream(seen, language.encode, context=recipe.context, label_exponent=recipe.label_exponent)
    checks = SentenceStream(unseen, language.encode, context=recipe.context, label_exponent=recipe.label_exponent)
    held_out = checks.fixed(recipe.seed)
    trainer = Trainer(recipe, stream, held_out, len(language.vocabulary), run.work, torch.device(run.device))
    if trainer.resume():
        log.info("resumed at %d tokens", trainer.tokens)
    result = trainer.run(seconds=run.seconds, report=report)
    if result is None:
        return None
    bits = result.held_out_nats / math.log(2) * sum(len(sentence) - 1 for sentence in held_out)
    facts = {
        "corpus": told, "training_circuits": len(stream.examples), "held_out_circuits": len(checks.examples),
        "left_out": dict(stream.left_out),
        "split": "by isomorphism class" if recipe.kind == "analog" else "by skeleton",
        "recipe": recipe.as_json(), "tokens_seen": result.tokens, "seconds": round(result.seconds),
        "held_out_nats_per_token": round(result.held_out_nats, 4) if held_out else None,
        "held_out_bits_per_unit": round(bits / _units(recipe.kind, checks.examples), 3) if held_out else None,
        "unit": "device" if recipe.kind == "analog" else "statement", "history": result.history,
        "command": _command(run),
    }  # fmt: skip
    save_checkpoint(run.output, result.network, language, name=recipe.name, kind=recipe.kind, training=facts)
    training_index(recipe.kind, stream.examples).save(run.output / "training_index.npz")
    seal(run.output)
    (run.work / "facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return result


def _units(kind: str, examples: list[Example[Any]]) -> int:
    """Devices or statements of the held-out circuits."""
    if kind == "analog":
        return sum(len(e.circuit.devices) for e in examples)
    return sum(len(e.circuit.operations) for e in examples)


def _command(run: TrainingRun) -> str:
    source = " --source DIR" if run.source else ""
    return f"josephson train {shlex.quote(run.recipe.kind)}{source}"


def shortened(recipe: Recipe, tokens: int | None) -> Recipe:
    """The recipe with another number of tokens, which moves the end of the plateau as well."""
    return recipe if tokens is None else replace(recipe, tokens=tokens)
