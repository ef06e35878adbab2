"""From a recipe and a prepared corpus to a model folder: train, save, index what was seen. Torch and numpy are enough,
but for the weights' file, which needs safetensors.
"""

from __future__ import annotations

import json
import logging
import math
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from app.errors import InvalidRequest, Unavailable
from app.measures.novelty import TrainingIndex
from app.nn.decoder import Decoder
from app.tokens._base import HasBeginnings, Language
from app.training.loop import SAVE_EVERY_S, STATE_NAME, Progress, TrainingResult
from app.training.prepared import Prepared
from app.training.recipe import Recipe
from app.training.sentences import SentenceStream
from app.training.trainer import Trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingRun:
    """How to train and where to.

    `work` keeps the resumable state, saved every `save_every_s`; `output` becomes the model folder. `seconds` ends the
    call early with the state saved. `loaders` processes draw batches ahead. `command` is what the model's configuration
    says it was made by. `beginning` is the folder of a model that is gone on from, as `load_beginning` reads it; what
    that has seen, the new one has.
    """

    recipe: Recipe
    work: Path
    output: Path
    device: str = "cpu"
    threads: int = 1
    loaders: int = 0
    seconds: float | None = None
    save_every_s: float = SAVE_EVERY_S
    command: str = ""
    beginning: Path | None = None


def check_state(work: Path, is_resumed: bool, state: str = STATE_NAME) -> None:
    """A run starts in an empty work folder and goes on in one that has a `state` file, else InvalidRequest."""
    has_state = (work / state).exists()
    if has_state and not is_resumed:
        raise InvalidRequest(
            f"{work} holds the state of a run; go on with it by --resume, or name another folder by --work"
        )
    if is_resumed and not has_state:
        raise InvalidRequest(
            f"{work} holds no state of a run to go on from; leave --resume out, or name its folder by --work"
        )


def train(
    run: TrainingRun,
    prepared: Prepared,
    report: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainingResult[Decoder] | None:
    """The model folder holds a trained model with its index; None when `seconds` ran out or `stop` said so first (call
    again).

    Raises:
        InvalidRequest: the recipe is for another corpus, nothing in the corpus can be trained on, or the state in the
            work folder is of another run.
        Unavailable: there is no such accelerator, a folder cannot be written to, or safetensors is not installed, in
            which case the state is saved.
    """
    recipe, about = run.recipe, prepared.about
    _check_recipe(recipe, prepared)
    if run.device == "cuda" and not torch.cuda.is_available():
        raise Unavailable(
            "no CUDA accelerator that this torch can use; train with --device cpu, or install torch for CUDA"
        )
    for folder in (run.work, run.output):
        check_writable(folder)
    torch.set_num_threads(run.threads)
    language = prepared.language
    seen, unseen = (prepared.side(is_held_out=is_held_out) for is_held_out in (False, True))
    stream, checks = (
        SentenceStream(
            side,
            encode,
            context=recipe.context,
            label_exponent=recipe.label_exponent,
            length_exponent=recipe.length_exponent,
        )
        for side, encode in ((seen, _encoder(recipe, language)), (unseen, language.encode))
    )
    if not stream.rows:
        raise InvalidRequest(f"no circuit to train on: {dict(stream.left_out)} of {len(seen)} were left out")
    held_out = checks.fixed(recipe.seed)
    initial, begun = _beginning(run)
    trainer = Trainer(
        recipe, stream, held_out, len(language.vocabulary), run.work, torch.device(run.device), initial=initial,
        beginning=begun["from"]["weights"] if begun else None, loaders=run.loaders, save_every_s=run.save_every_s,
    )  # fmt: skip
    if trainer.resume():
        log.info("resumed at %d tokens", trainer.done)
    result = trainer.run(seconds=run.seconds, report=report, stop=stop)
    if result is None:
        return None
    bits = result.held_out / math.log(2) * sum(len(sentence) - 1 for sentence in held_out)
    facts = {
        "corpus": about.corpus, "training_circuits": len(stream.rows), "held_out_circuits": len(checks.rows),
        "left_out": {**about.left_out, **stream.left_out}, "split": about.split,
        "recipe": recipe.as_json(), "tokens_seen": result.done, "seconds": round(result.seconds),
        "held_out_nats_per_token": round(result.held_out, 4) if held_out else None,
        "held_out_bits_per_unit": round(bits / unseen.units(checks.rows), 3) if held_out else None,
        "unit": about.unit, "history": result.history, "command": run.command,
        **begun,
    }  # fmt: skip
    _write_model(run, prepared, stream.rows, result, facts)
    return result


def _beginning(run: TrainingRun) -> tuple[Decoder | None, dict[str, Any]]:
    """The network that is gone on from, None for a new one, and what is told of it.

    Raises:
        InvalidRequest: the model is of another kind or language than the recipe.
    """
    if run.beginning is None:
        return None, {}
    # Only here, since safetensors may be absent where training is all that is done.
    from app.inference.checkpoint import load_beginning

    model, recipe = load_beginning(run.beginning), run.recipe
    name, before = model.config["name"], model.config["training"]
    for what, ours in (("kind", recipe.kind), ("language", recipe.language)):
        if model.config[what] != ours:
            raise InvalidRequest(f"model {name} has {what} {model.config[what]!r}, recipe {recipe.name} wants {ours!r}")
    told = {"model": name, "weights": model.sha256, "new_tokens": model.new_tokens}
    return model.network, {"from": told | {key: before.get(key) for key in ("command", "tokens_seen", "from")}}


@dataclass(frozen=True)
class _FromAnywhere:
    """Writes a `share` of the sentences from anywhere, and the others as usual. Travels to other processes."""

    encode: Callable[[Any, str, random.Random], list[int]]
    encode_from_anywhere: Callable[[Any, str, random.Random], list[int]]
    share: float

    def __call__(self, circuit: Any, label: str, rng: random.Random) -> list[int]:
        """The ids of a sentence."""
        return (self.encode_from_anywhere if rng.random() < self.share else self.encode)(circuit, label, rng)


def _encoder(recipe: Recipe, language: Language[Any, Any, Any]) -> Callable[[Any, str, random.Random], list[int]]:
    """How the recipe wants circuits to be written; InvalidRequest where the language cannot."""
    if not recipe.anywhere_share:
        return language.encode
    if not isinstance(language, HasBeginnings):
        raise InvalidRequest(
            f"recipe {recipe.name} has anywhere_share, which is nothing to language {language.name}; leave it out"
        )
    return _FromAnywhere(language.encode, language.encode_from_anywhere, recipe.anywhere_share)


def _check_recipe(recipe: Recipe, prepared: Prepared) -> None:
    """The corpus was prepared for this recipe, else InvalidRequest."""
    about = prepared.about
    for what, ours, theirs in (
        ("kind", recipe.kind, about.kind), ("language", recipe.language, about.language),
        ("held_out_share", recipe.held_out_share, about.held_out_share),
    ):  # fmt: skip
        if ours != theirs:
            raise InvalidRequest(
                f"the corpus was prepared with {what} {theirs!r}, recipe {recipe.name} wants {ours!r}; prepare it anew"
            )


def check_writable(folder: Path) -> None:
    """The folder can be made, or written to where it is there, else Unavailable; makes nothing."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if os.path.exists(each))
    if not there.is_dir():
        raise Unavailable(f"{folder} cannot be written to: {there} is a file; name another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise Unavailable(f"{folder} cannot be written to: no permission for {there}; name another folder")


def _write_model(
    run: TrainingRun, prepared: Prepared, rows: list[int], result: TrainingResult[Decoder], facts: Mapping[str, Any]
) -> None:
    """The model folder is complete, and the facts are in the work folder; Unavailable where that cannot be."""
    go_on = f"the finished run is in {run.work / STATE_NAME}, and --resume goes on from it"
    try:
        run.work.joinpath("facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        # Only here, since safetensors may be absent where training is all that is done.
        from app.inference.checkpoint import INDEX_NAME, save_checkpoint, seal

        recipe = run.recipe
        save_checkpoint(
            run.output, result.network, prepared.language, name=recipe.name, kind=recipe.kind, training=facts
        )
        index = prepared.index.keeping(rows)
        if run.beginning is not None:
            index = index.joined(TrainingIndex.load(run.beginning / INDEX_NAME))
        index.save(run.output / INDEX_NAME)
        seal(run.output)
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"the weights cannot be written without the package {error.name!r}; {go_on}, here once the package is "
            "installed, or on another machine that has it"
        ) from error
    except OSError as error:
        raise Unavailable(f"{run.output} cannot be written ({error.strerror or error}); {go_on}") from error


def shortened(recipe: Recipe, tokens: int | None) -> Recipe:
    """The recipe with another number of tokens, which moves the end of the plateau as well."""
    return recipe if tokens is None else replace(recipe, tokens=tokens)
