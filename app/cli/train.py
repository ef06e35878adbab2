"""`josephson train analog|quantum|simulator|types`: from a recipe and a corpus to a model folder."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import typer

from app.cli import options as o
from app.cli import train_reward as r
from app.cli.door import DONE, say, write_document
from app.cli.model_folders import model_folder
from app.cli.train_simulator import simulator
from app.errors import InvalidRequest

RecipeName = Annotated[
    str, typer.Option("--recipe", help="cpu or gpu, another recipe of data/recipes by name, or a .toml file.")
]
Source = Annotated[
    Path | None, typer.Option("--source", help="Corpus folder or file; what ships or can be rebuilt when absent.")
]
PrepareFile = Annotated[
    Path | None,
    typer.Option("--prepare", help="Only write the corpus to this file, ready to be trained on anywhere, and stop."),
]
PreparedFile = Annotated[
    Path | None, typer.Option("--prepared", help="Train on a file that --prepare wrote, instead of a corpus.")
]
OutputFolder = Annotated[
    Path | None, typer.Option("--output", "-o", help="Becomes the model's folder; models/NAME when absent.")
]
Work = Annotated[Path | None, typer.Option("--work", help="Keeps the state of the run; work/NAME when absent.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the state in the work folder.")]
Minutes = Annotated[float | None, typer.Option("--minutes", help="Stop after so long, with the state saved.")]
Tokens = Annotated[
    int | None, typer.Option("--tokens", min=1, help="Train on so many tokens instead of the recipe's number.")
]
TrainingDevice = Annotated[str, typer.Option("--device", help="Accelerator: cpu or cuda.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads; one a core when absent.")]
Loaders = Annotated[
    int | None,
    typer.Option("--loaders", min=0, max=64, help="Processes that draw batches ahead; the recipe's when absent."),
]


def add_to(app: typer.Typer) -> None:
    """The commands are on the command line."""
    group = typer.Typer(help="Train a model by a recipe.", no_args_is_help=True)
    group.command("analog")(analog)
    group.command("quantum")(quantum)
    group.command("types")(types)
    group.command("simulator")(simulator)
    app.add_typer(group, name="train")


def analog(
    context: typer.Context,
    recipe: RecipeName = "cpu",
    source: Source = None,
    prepare: PrepareFile = None,
    prepared: PreparedFile = None,
    output: OutputFolder = None,
    work: Work = None,
    resume: Resume = False,
    minutes: Minutes = None,
    tokens: Tokens = None,
    device: TrainingDevice = "cpu",
    threads: Threads = None,
    loaders: Loaders = None,
    reward: r.RewardName = None,
    from_: r.From = None,
    rounds: r.Rounds = None,
    samples: r.Samples = None,
    hold_out: r.HoldOut = None,
    as_json: o.AsJson = False,
) -> int:
    """A model of analog topologies, from the AnalogGenie data set or from the shipped archetypes.

    With --from, a trained model learns on. With --reward ladder beside it, it is improved by what the simulator says of
    its circuits.
    """
    wanted = Wanted(
        "analog", recipe, source, prepared, output, work, resume, minutes, tokens, device, threads, loaders, from_
    )
    words = r.RewardWords(reward, from_, rounds, samples, hold_out)
    if words.are_given(wanted.kind) and not prepare:
        return r.learn(words, wanted, as_json)
    return _prepare(wanted, prepare) if prepare else _train(wanted, as_json)


def quantum(
    context: typer.Context,
    recipe: RecipeName = "cpu",
    source: Source = None,
    prepare: PrepareFile = None,
    prepared: PreparedFile = None,
    output: OutputFolder = None,
    work: Work = None,
    resume: Resume = False,
    minutes: Minutes = None,
    tokens: Tokens = None,
    device: TrainingDevice = "cpu",
    threads: Threads = None,
    loaders: Loaders = None,
    reward: r.RewardName = None,
    from_: r.From = None,
    rounds: r.Rounds = None,
    samples: r.Samples = None,
    as_json: o.AsJson = False,
) -> int:
    """A model of OpenQASM programs, from JSON Lines or rebuilt from Qiskit and mqt.bench.

    With --from, a trained model learns on. With --reward oracles beside it, it is improved by what the oracles of its
    families say of its programs, and by how little they are told from real ones.
    """
    wanted = Wanted(
        "quantum", recipe, source, prepared, output, work, resume, minutes, tokens, device, threads, loaders, from_
    )
    words = r.RewardWords(reward, from_, rounds, samples, None)
    if words.are_given(wanted.kind) and not prepare:
        return r.learn(words, wanted, as_json)
    return _prepare(wanted, prepare) if prepare else _train(wanted, as_json)


@dataclass(frozen=True)
class Wanted:
    """The words of a command that both kinds share, with and without a reward."""

    kind: str
    recipe: str
    source: Path | None
    prepared: Path | None
    output: Path | None
    work: Path | None
    is_resumed: bool
    minutes: float | None
    tokens: int | None
    device: str
    threads: int | None
    loaders: int | None
    model: str | None

    @cached_property
    def beginning(self) -> Path | None:
        """The folder of the model that is gone on from; raises as `model_folder`."""
        return model_folder(self.model, self.kind) if self.model else None

    @property
    def command(self) -> str:
        """The command without what another machine would call otherwise: what a model's card says."""
        words = ["josephson", "train", self.kind, "--recipe", Path(self.recipe).name]
        words += ["--from", self.beginning.name] if self.beginning else []
        for option, value in (("--source", self.source), ("--prepared", self.prepared)):
            words += [option, "DIR" if value.is_dir() else "FILE"] if value else []
        words += ["--tokens", str(self.tokens)] if self.tokens else []
        return shlex.join(words)


def _prepare(wanted: Wanted, file: Path) -> int:
    from app.training.corpora import prepared_corpus
    from app.training.recipe import read_recipe

    if wanted.prepared:
        raise InvalidRequest("--prepare reads a corpus and --prepared what it wrote; give one of them")
    recipe = read_recipe(wanted.kind, wanted.recipe)
    corpus = prepared_corpus(recipe.kind, recipe.language, recipe.held_out_share, wanted.source)
    corpus.save(file)
    held_out = int(corpus.is_held_out.sum())
    say(
        f"{file}: {len(corpus)} circuits ({held_out} held out) in {len(corpus.ids):,} tokens of {recipe.language}, "
        f"{file.stat().st_size / 1e6:.2f} MB; train with 'josephson train {wanted.kind} --prepared {file}', "
        f"or 'python -m app.training {file}' where torch and numpy are all there is"
    )
    return DONE


def _train(wanted: Wanted, as_json: bool) -> int:
    import logging
    import os

    from app.cli.progress import ProgressBar
    from app.resources import models_path
    from app.training.prepared import Prepared
    from app.training.recipe import read_recipe
    from app.training.run import TrainingRun, check_state, shortened, train
    from app.training.watching import Lines, StopSignals, note

    if wanted.device not in ("cpu", "cuda"):
        raise InvalidRequest(f"--device: {wanted.device!r} is neither cpu nor cuda")
    if wanted.prepared and wanted.source:
        raise InvalidRequest("--prepared is instead of --source; give one of them")
    recipe = shortened(read_recipe(wanted.kind, wanted.recipe), wanted.tokens)
    folder = wanted.work or Path("work") / recipe.name
    check_state(folder, wanted.is_resumed)
    run = TrainingRun(
        recipe, folder, wanted.output or models_path(recipe.name), wanted.device,
        wanted.threads or os.cpu_count() or 1, recipe.loaders if wanted.loaders is None else wanted.loaders,
        None if wanted.minutes is None else wanted.minutes * 60, command=wanted.command,
        beginning=wanted.beginning,
    )  # fmt: skip
    if wanted.prepared:
        corpus = Prepared.load(wanted.prepared)
    else:
        from app.training.corpora import prepared_corpus

        corpus = prepared_corpus(recipe.kind, recipe.language, recipe.held_out_share, wanted.source)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    lines = Lines()
    with ProgressBar("tokens", recipe.tokens, tells_time=False) as bar, StopSignals() as stop:
        result = train(run, corpus, lambda at: bar.advance_to(at.done, note(at)) if bar.is_shown else lines(at), stop)
    if as_json:
        reached = {} if result is None else {
            "tokens": result.done, "seconds": round(result.seconds), "held_out_nats_per_token": result.held_out,
        }  # fmt: skip
        write_document({"finished": result is not None, "model": str(run.output), "work": str(folder), **reached})
    elif result is not None:
        took = f"{result.done:,} tokens in {result.seconds / 60:.1f} min"
        say(f"{run.output}: {took}, held-out loss {result.held_out:.3f} nats a token")
    if result is None:
        say(f"{'out of time' if stop.received is None else 'stopped'}; the same command with --resume goes on")
    return DONE if stop.received is None else 128 + stop.received


def types(
    context: typer.Context,
    source: Source = None,
    output: OutputFolder = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the training; the recipe's own when absent.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes; the recipe's own when absent.")] = None,
    as_json: o.AsJson = False,
) -> int:
    """The classifier that tells which type an analog circuit looks like, a measure of what generators make."""
    from dataclasses import replace

    from app.cli.progress import ProgressBar
    from app.measures.type_classifier import NAME
    from app.resources import models_path
    from app.training.type_classifier import PARTS, ClassifierRecipe, train_types

    recipe = replace(ClassifierRecipe(), **o.given(seed=seed, epochs=epochs))
    folder = output or models_path(NAME)
    with ProgressBar("epochs", (PARTS + 1) * recipe.epochs) as bar:
        classifier = train_types(source, folder, recipe, report=lambda done, total: bar.advance_to(done))
    told = {key: classifier.card["accuracy"][key]["accuracy"] for key in ("with_port_roles", "without_port_roles")}
    if as_json:
        write_document({"model": str(folder), "accuracy": told})
    else:
        say(
            f"{folder}: of unseen circuits {told['with_port_roles']:.1%} are told right by type, "
            f"{told['without_port_roles']:.1%} without the names of ports"
        )
    return DONE
