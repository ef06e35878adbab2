"""`python -m app.training FILE`: train on a prepared token file where torch and numpy are all there is."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from app.errors import InvalidInput, JosephsonError
from app.training.loop import SAVE_EVERY_S
from app.training.prepared import Prepared
from app.training.recipe import read_recipe
from app.training.run import TrainingRun, check_state, shortened, train
from app.training.watching import Lines, StopSignals

_DONE, _FAILED, _USAGE = 0, 1, 2


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0 done or out of time, 1 failed, 2 wrong words, 128 and the signal's number when it was stopped."""
    words = _parser().parse_args(arguments)
    try:
        return _train(words)
    except JosephsonError as error:
        sys.stderr.write(f"{error}\n")
        return _USAGE if isinstance(error, InvalidInput) else _FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.training", description="Train on a file that 'josephson train KIND --prepare FILE' wrote."
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--recipe", default="gpu", help="cpu, gpu, or a .toml file (default: gpu)")
    parser.add_argument("--output", type=Path, help="becomes the model's folder (default: models/NAME)")
    parser.add_argument("--work", type=Path, help="keeps the state of the run (default: work/NAME)")
    parser.add_argument("--resume", action="store_true", help="go on from the state in the work folder")
    parser.add_argument("--minutes", type=float, help="stop after so long, with the state saved")
    parser.add_argument("--tokens", type=int, help="train on so many tokens instead of the recipe's number")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: one a core)")
    parser.add_argument("--loaders", type=int, help="processes that draw batches ahead (default: the recipe's)")
    parser.add_argument(
        "--save-every", type=float, default=SAVE_EVERY_S, metavar="SECONDS", help="between two saved states"
    )
    return parser


def _train(words: argparse.Namespace) -> int:
    prepared = Prepared.load(words.file)
    recipe = shortened(read_recipe(prepared.about.kind, words.recipe), words.tokens)
    work = words.work or Path("work") / recipe.name
    check_state(work, words.resume)
    run = TrainingRun(
        recipe, work, words.output or Path("models") / recipe.name, words.device, words.threads,
        recipe.loaders if words.loaders is None else words.loaders,
        None if words.minutes is None else words.minutes * 60, words.save_every,
        shlex.join(["python", "-m", "app.training", "FILE", "--recipe", Path(words.recipe).name]),
    )  # fmt: skip
    with StopSignals() as stop:
        result = train(run, prepared, Lines(), stop)
    if result is not None:
        sys.stderr.write(f"{run.output}: held-out loss {result.held_out:.3f} nats a token\n")
        return _DONE
    sys.stderr.write(f"stopped; the same words with --resume go on from {work}\n")
    if stop.received is None:
        return _DONE
    return 128 + signal.Signals(stop.received)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
