"""`josephson train analog|quantum`: from a recipe and a corpus to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli import options as o
from app.cli.door import DONE, FAILED, say, write_document
from app.errors import InvalidRequest

RecipeName = Annotated[
    str | None,
    typer.Option("--recipe", help="A recipe of data/recipes by name, or a .toml file; the kind's own when absent."),
]
Source = Annotated[
    Path | None, typer.Option("--source", help="Corpus folder or file; what ships or can be rebuilt when absent.")
]
OutputFolder = Annotated[
    Path | None, typer.Option("--output", "-o", help="Becomes the model's folder; models/NAME when absent.")
]
Work = Annotated[Path | None, typer.Option("--work", help="Keeps the state of the run; work/NAME when absent.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the state in the work folder.")]
Minutes = Annotated[float | None, typer.Option("--minutes", help="Stop after so long, with the state saved.")]
Tokens = Annotated[int | None, typer.Option("--tokens", help="Train on so many tokens instead of the recipe's number.")]
TrainingDevice = Annotated[str, typer.Option("--device", help="Accelerator: cpu or cuda.")]
Threads = Annotated[int | None, typer.Option("--threads", help="CPU threads; one a core when absent.")]

#: The file in a work folder that a run can go on from.
STATE_NAME = "state.pt"


def add_to(app: typer.Typer) -> None:
    """The commands are on the command line."""
    group = typer.Typer(help="Train a model by a recipe.", no_args_is_help=True)
    group.command("analog")(analog)
    group.command("quantum")(quantum)
    app.add_typer(group, name="train")


def analog(
    context: typer.Context,
    recipe: RecipeName = None,
    source: Source = None,
    output: OutputFolder = None,
    work: Work = None,
    resume: Resume = False,
    minutes: Minutes = None,
    tokens: Tokens = None,
    device: TrainingDevice = "cpu",
    threads: Threads = None,
    as_json: o.AsJson = False,
) -> int:
    """A model of analog topologies, from the AnalogGenie data set or from the shipped archetypes."""
    return _train("analog", recipe, source, output, work, resume, minutes, tokens, device, threads, as_json)


def quantum(
    context: typer.Context,
    recipe: RecipeName = None,
    source: Source = None,
    output: OutputFolder = None,
    work: Work = None,
    resume: Resume = False,
    minutes: Minutes = None,
    tokens: Tokens = None,
    device: TrainingDevice = "cpu",
    threads: Threads = None,
    as_json: o.AsJson = False,
) -> int:
    """A model of OpenQASM programs, from JSON Lines or rebuilt from Qiskit and mqt.bench."""
    return _train("quantum", recipe, source, output, work, resume, minutes, tokens, device, threads, as_json)


def check_state(work: Path, is_resumed: bool) -> None:
    """A run starts in an empty work folder and goes on in one that has a state, else InvalidRequest."""
    has_state = (work / STATE_NAME).exists()
    if has_state and not is_resumed:
        raise InvalidRequest(
            f"{work} holds the state of a run; go on with it by --resume, or name another folder by --work"
        )
    if is_resumed and not has_state:
        raise InvalidRequest(
            f"{work} holds no state of a run to go on from; leave --resume out, or name its folder by --work"
        )


def _train(
    kind: str,
    recipe_name: str | None,
    source: Path | None,
    output: Path | None,
    work: Path | None,
    is_resumed: bool,
    minutes: float | None,
    tokens: int | None,
    device: str,
    threads: int | None,
    as_json: bool,
) -> int:
    import logging
    import os

    from app.cli.progress import ProgressBar
    from app.resources import models_path
    from app.training.recipe import read_recipe
    from app.training.run import TrainingRun, shortened, train

    if device not in ("cpu", "cuda"):
        raise InvalidRequest(f"--device: {device!r} is neither cpu nor cuda")
    recipe = shortened(read_recipe(kind, recipe_name), tokens)
    folder = work or Path("work") / recipe.name
    check_state(folder, is_resumed)
    folder.mkdir(parents=True, exist_ok=True)
    run = TrainingRun(
        recipe, source, folder, output or models_path(recipe.name), device,
        threads or os.cpu_count() or 1, None if minutes is None else minutes * 60,
    )  # fmt: skip
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ProgressBar("tokens", recipe.tokens) as bar:
        try:
            result = train(
                run,
                lambda at: bar.advance_to(at.tokens, f"loss {at.loss:.3f}, held out {at.held_out:.3f} nats a token"),
            )
        except KeyboardInterrupt:
            say(f"interrupted; 'josephson train {kind} --work {folder} --resume' goes on from the last state saved")
            return FAILED
    if as_json:
        reached = {} if result is None else {
            "tokens": result.tokens, "seconds": round(result.seconds), "held_out_nats_per_token": result.held_out_nats,
        }  # fmt: skip
        write_document({"finished": result is not None, "model": str(run.output), "work": str(folder), **reached})
    elif result is None:
        say(f"out of time; 'josephson train {kind} --work {folder} --resume' goes on")
    else:
        took = f"{result.tokens:,} tokens in {result.seconds / 60:.1f} min"
        say(f"{run.output}: {took}, held-out loss {result.held_out_nats:.3f} nats a token")
    return DONE
