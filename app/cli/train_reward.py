"""`josephson train KIND --reward R`: a trained model learns from what ngspice, or oracles, say of its circuits."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.door import DONE, say, write_document
from app.errors import InvalidRequest, UnknownName

if TYPE_CHECKING:
    from app.cli.train import Wanted
    from app.inference.checkpoint import Checkpoint
    from app.reward._base import Reward
    from app.reward.recipe import RewardRecipe
    from app.reward.run import RewardProgress, RewardResult
    from app.settings import Settings
    from app.training.prepared import Prepared

RewardName = Annotated[
    str | None,
    typer.Option(
        "--reward", help="Improve the model of --from by what its circuits earn: ladder (analog), oracles (quantum)."
    ),
]
From = Annotated[
    str | None, typer.Option("--from", help="Go on from a model, by its name or folder, and not from a new one.")
]
Rounds = Annotated[int | None, typer.Option("--rounds", min=1, help="With --reward: rounds of sampling and learning.")]
Samples = Annotated[int | None, typer.Option("--samples", min=1, help="With --reward: circuits a round.")]
HoldOut = Annotated[
    str | None,
    typer.Option("--hold-out", help="With --reward ladder: a testbench that is measured and not rewarded."),
]

#: The value of `--recipe` where none is named, which stands for the recipe of training from scratch.
UNNAMED = "cpu"

#: What `--reward` may be -> the kind of circuits.
REWARDS = {"ladder": "analog", "oracles": "quantum"}


@dataclass(frozen=True)
class RewardWords:
    """The words of the command that only `--reward` takes."""

    reward: str | None
    model: str | None
    rounds: int | None
    samples: int | None
    hold_out: str | None

    def are_given(self, kind: str) -> bool:
        """Whether a reward is asked for, to train a generator of this kind.

        Raises:
            UnknownName: there is no such reward.
            InvalidRequest: words stand alone that need the others.
        """
        if self.reward is None:
            given = (("--rounds", self.rounds), ("--samples", self.samples), ("--hold-out", self.hold_out))
            alone = [word for word, value in given if value is not None]
            if alone:
                raise InvalidRequest(f"{alone[0]} goes with --reward; leave it out to train on a corpus alone")
            return False
        if self.reward not in REWARDS:
            raise UnknownName("reward", self.reward, REWARDS)
        if REWARDS[self.reward] != kind:
            raise InvalidRequest(f"--reward {self.reward} is for {REWARDS[self.reward]} circuits, not for {kind}")
        if self.hold_out is not None and self.reward != "ladder":
            raise InvalidRequest("--hold-out goes with --reward ladder, which has testbenches; leave it out")
        if self.model is None:
            raise InvalidRequest("--reward improves a trained model; name it, or its folder, by --from")
        return True


def learn(words: RewardWords, wanted: Wanted, as_json: bool) -> int:
    """The run is done, or out of time, or stopped; the exit status."""
    import logging
    import os

    from app.cli.progress import ProgressBar
    from app.inference.checkpoint import load_checkpoint
    from app.resources import models_path
    from app.reward.journal import STATE_NAME
    from app.reward.run import Iteration, RewardRun, corpus_of
    from app.settings import Settings
    from app.training.prepared import Prepared
    from app.training.run import check_state
    from app.training.watching import LINE_EVERY_S, StopSignals

    if wanted.device not in ("cpu", "cuda"):
        raise InvalidRequest(f"--device: {wanted.device!r} is neither cpu nor cuda")
    if wanted.prepared and wanted.source:
        raise InvalidRequest("--prepared is instead of --source; give one of them")
    recipe = _recipe(words, wanted)
    work = wanted.work or Path("work") / recipe.name
    check_state(work, wanted.is_resumed, STATE_NAME)
    assert wanted.beginning is not None, "the words were checked"
    model = load_checkpoint(wanted.beginning)
    settings = Settings()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    corpus = Prepared.load(wanted.prepared) if wanted.prepared else corpus_of(model, wanted.source)
    with (
        _reward(recipe, model, corpus, settings) as reward,
        ProgressBar("circuits", (recipe.rounds + 1) * recipe.samples) as bar,
        StopSignals() as stop,
    ):
        run = RewardRun(
            recipe, model, corpus, work, wanted.output or models_path(recipe.name), wanted.device,
            wanted.threads or os.cpu_count() or 1, settings.validator_workers,
            None if wanted.minutes is None else wanted.minutes * 60, _told(words, wanted),
        )  # fmt: skip
        lines = _Lines(LINE_EVERY_S)
        result = Iteration(
            run, reward, lambda at: bar.advance_to(at.done, _note(at)) if bar.is_shown else lines(at), stop
        ).learn()
    _say(run.output, work, result, as_json)
    if result is None:
        say(f"{'out of time' if stop.received is None else 'stopped'}; the same command with --resume goes on")
    return DONE if stop.received is None else 128 + stop.received


class _Lines:
    """Writes a line on standard error now and then, where nobody looks at a bar."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._last = -math.inf

    def __call__(self, at: RewardProgress) -> None:
        if time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            say(f"{at.done:,} of {at.total:,} circuits: {_note(at)}")


def _note(at: RewardProgress) -> str:
    earned = "" if at.figures is None else f"; mean reward {at.figures.reward:.3f} in the round before"
    return f"round {at.number}, {at.doing}{earned}"


@contextmanager
def _reward(recipe: RewardRecipe, model: Checkpoint, corpus: Prepared, settings: Settings) -> Iterator[Reward[Any]]:
    """The reward of the recipe, with the processes that it needs while it lasts."""
    from app.inference.checkpoint import INDEX_NAME
    from app.measures.novelty import TrainingIndex
    from app.reward.ladder import LadderReward
    from app.reward.oracles import OracleReward
    from app.reward.recipe import LadderRecipe, OracleRecipe
    from app.reward.scorer import ladder_scorer

    if isinstance(recipe, LadderRecipe):
        seen = TrainingIndex.load(model.folder / INDEX_NAME)
        with ladder_scorer(recipe, seen, settings.data_dir, workers=settings.validator_workers) as scorer:
            yield LadderReward(recipe, scorer)
    else:
        assert isinstance(recipe, OracleRecipe), "there is no other recipe"
        yield OracleReward(recipe, list(corpus.side(is_held_out=False)))


def _recipe(words: RewardWords, wanted: Wanted) -> RewardRecipe:
    from app.reward.recipe import LadderRecipe, checked, read_reward_recipe

    recipe = read_reward_recipe(f"{wanted.kind}-reward", None if wanted.recipe == UNNAMED else wanted.recipe)
    if isinstance(recipe, LadderRecipe):
        recipe = replace(recipe, hold_out=words.hold_out or recipe.hold_out)
    changed = replace(
        recipe, rounds=words.rounds or recipe.rounds, samples=words.samples or recipe.samples,
        tokens=wanted.tokens or recipe.tokens,
    )  # fmt: skip
    return checked(changed, recipe.name)


def _told(words: RewardWords, wanted: Wanted) -> str:
    """The command without what another machine would call otherwise."""
    assert words.reward is not None, "the words were checked"
    assert wanted.beginning is not None, "the words were checked"
    told = ["josephson", "train", wanted.kind, "--reward", words.reward, "--from", wanted.beginning.name]
    told += [] if wanted.recipe == UNNAMED else ["--recipe", Path(wanted.recipe).name]
    for option, path in (("--source", wanted.source), ("--prepared", wanted.prepared)):
        told += [option, "DIR" if path.is_dir() else "FILE"] if path else []
    numbers = {
        "--rounds": words.rounds, "--samples": words.samples, "--hold-out": words.hold_out, "--tokens": wanted.tokens,
    }  # fmt: skip
    for option, value in numbers.items():
        told += [option, str(value)] if value is not None else []
    return shlex.join(told)


def _say(output: Path, work: Path, result: RewardResult | None, as_json: bool) -> None:
    if as_json:
        reached = {} if result is None else {
            "held_out_nats_before": result.held_out_before, "held_out_nats_after": result.held_out_after,
            "rounds": [outcome.as_json() for outcome in result.outcomes],
        }  # fmt: skip
        write_document({"finished": result is not None, "model": str(output), "work": str(work), **reached})
    elif result is not None:
        first, last = result.outcomes[0].figures, result.outcomes[-1].figures
        say(
            f"{output}: mean reward {first.reward:.3f} before and {last.reward:.3f} after, held-out loss "
            f"{result.held_out_before:.3f} and {result.held_out_after:.3f} nats a token"
        )
