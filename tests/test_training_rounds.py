"""Batches drawn ahead by other processes, and runs that are killed or told to stop."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.nn.decoder import Decoder
from app.training.loop import TrainingResult
from app.training.prepared import Prepared
from app.training.recipe import Recipe, read_recipe
from app.training.rounds import Rounds, drawn_ahead
from app.training.run import TrainingRun, train
from app.training.sentences import Example, SentenceStream
from tests.test_training_prepared import REPOSITORY, TINY_RECIPE, corpus_of

PATIENCE_S = 180.0

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads who lives from /proc")


def write_number(number: int, label: str, rng: random.Random) -> list[int]:
    """A sentence of the number and a draw."""
    return [1, *[number] * number, rng.randrange(100), 2]


def rounds_of(recipe: Recipe) -> Rounds:
    examples = [Example(n, "a") for n in range(3, 30)]
    return Rounds(SentenceStream(examples, write_number, context=64, label_exponent=1.0), recipe)


def test_a_round_is_the_same_whenever_it_is_drawn_and_unlike_another():
    recipe = Recipe("analog", "toy", "device_lines", tokens=1, batch_tokens=512, context=64, packed=True)
    rounds = rounds_of(recipe)
    first = [batches[0].inputs for batches in itertools.islice(drawn_ahead(rounds, 0, 0), 3)]
    later = next(drawn_ahead(rounds, 2, 0))[0].inputs
    assert np.array_equal(later, first[2])
    assert not np.array_equal(first[0], first[1])
    other = next(drawn_ahead(rounds_of(replace(recipe, seed=2)), 0, 0))[0].inputs
    assert not np.array_equal(other, first[0])


def children_of(process: int) -> list[int]:
    """Living processes that it started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == process and state != "Z":
                found.append(int(status.parent.name))
    return found


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(is_so: Iterator[bool]) -> None:
    """Looks until it is so, for a while."""
    until = time.monotonic() + PATIENCE_S
    while not next(is_so):
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


@contextlib.contextmanager
def endless_run(folder: Path, *, loaders: int) -> Iterator[subprocess.Popen[str]]:
    """A run of very many tokens in a process group of its own, as soon as it has taken its first step."""
    corpus_of().save(folder / "corpus.npz")
    recipe = TINY_RECIPE.replace("3_000", "1_000_000_000").replace("warmup", "decay_share = 0.0\nwarmup")
    (folder / "tiny.toml").write_text(recipe.replace("[network]", "[network]\ndropout = 0.2"))
    words = ["corpus.npz", "--recipe", "tiny.toml", "--work", "work", "--output", "model", "--loaders", str(loaders)]
    process = subprocess.Popen(
        [sys.executable, "-m", "app.training", *words, "--device", "cpu", "--threads", "1", "--save-every", "0"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        wait_until((folder / "work" / "state.pt").is_file() or process.poll() is not None for _ in itertools.count())
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def finished(folder: Path, work: str, tokens: int) -> TrainingResult[Decoder]:
    """The run of a folder, ended in this process by so many tokens."""
    recipe = replace(read_recipe("analog", str(folder / "tiny.toml")), tokens=tokens)
    run = TrainingRun(recipe, folder / work, folder / f"{work} model")
    result = train(run, Prepared.load(folder / "corpus.npz"))
    assert result is not None
    return result


@on_linux
def test_a_killed_run_leaves_no_process_and_goes_on_as_if_nothing_had_been(tmp_path: Path):
    with endless_run(tmp_path, loaders=1) as process:
        loaders = children_of(process.pid)
        assert loaders
        process.kill()
        wait_until(not any(map(is_alive, loaders)) for _ in itertools.count())
    tokens = torch.load(tmp_path / "work" / "state.pt", weights_only=True)["done"]
    resumed, whole = (finished(tmp_path, work, tokens + 3_000) for work in ("work", "other work"))
    assert resumed.done == whole.done >= tokens + 3_000
    assert resumed.held_out == whole.held_out
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], tensor)


def test_a_run_that_is_told_to_stop_saves_its_state_and_ends(tmp_path: Path):
    with endless_run(tmp_path, loaders=1) as process:
        os.killpg(process.pid, signal.SIGTERM)
        _, told = process.communicate(timeout=PATIENCE_S)
    assert told.splitlines()[-1] == "stopped; the same words with --resume go on from work"
    assert process.returncode == 128 + signal.SIGTERM
    last = json.loads((tmp_path / "work" / "log.ndjson").read_text().splitlines()[-1])
    assert torch.load(tmp_path / "work" / "state.pt", weights_only=True)["done"] >= last["tokens"]
    assert not (tmp_path / "model").exists()
