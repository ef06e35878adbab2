"""`josephson train simulator`: from a store of simulations to a neural simulator, by a recipe, or its adaptation."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from app.cli import options as o
from app.cli import train_adaptation as a
from app.cli.door import DONE, door_of, say, write_document
from app.errors import InvalidRequest

SimulatorRecipeName = Annotated[
    str, typer.Option("--recipe", help="cpu or gpu, another recipe of data/recipes by name, or a .toml file.")
]
Store = Annotated[Path | None, typer.Option("--store", help="For --prepare: what 'josephson corpus simulation' wrote.")]
Prepare = Annotated[
    Path | None,
    typer.Option("--prepare", help="Only write the simulations to this file, ready to be trained on anywhere."),
]
Prepared = Annotated[Path | None, typer.Option("--prepared", help="Train on a file that --prepare wrote.")]
Estimated = Annotated[
    str,
    typer.Option(
        "--estimates",
        help="Rows that --prepare asks the table simulator about: of 'nominal' corners, 'all', or 'none'.",
    ),
]
LeaveOut = Annotated[
    str | None, typer.Option("--leave-out", help="A technology to keep from training, to be judged by.")
]
Recalibrate = Annotated[
    bool,
    typer.Option(
        "--recalibrate", help="Train nothing: set the intervals of the model in --output anew, on --prepared."
    ),
]
Rows = Annotated[int | None, typer.Option("--rows", min=1, help="Learn from so many rows, not the recipe's number.")]


def simulator(
    context: typer.Context,
    recipe: SimulatorRecipeName = "cpu",
    store: Store = None,
    prepare: Prepare = None,
    estimates: Estimated = "nominal",
    prepared: Prepared = None,
    leave_out: LeaveOut = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Becomes the model's folder; models/NAME when absent.")
    ] = None,
    work: Annotated[Path | None, typer.Option("--work", help="Keeps the state; work/NAME when absent.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in the work folder.")] = False,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Stop after so long, with the state saved.")
    ] = None,
    rows: Rows = None,
    recalibrate: Recalibrate = False,
    device: Annotated[str, typer.Option("--device", help="Accelerator: cpu or cuda.")] = "cpu",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads; one a core when absent.")
    ] = None,
    adapt: a.Adapt = None,
    netlist: a.Netlist = None,
    testbench: a.TestbenchName = None,
    technology: a.Technology = None,
    corner: a.Corner = None,
    setting: a.Settings = None,
    port: a.Ports = None,
    adapted: a.Adapted = False,
    forget: a.Forget = None,
    as_json: o.AsJson = False,
) -> int:
    """A neural simulator of analog circuits, from simulations of many circuits, testbenches and technologies.

    With --adapt ROWS the trained one stays as it is, and its predictions of one circuit learn from that circuit's own
    simulations.
    """
    words = a.AdaptationWords(
        adapt, netlist, testbench, technology, corner, setting, port, is_listing=adapted, forgotten=forget
    )
    if words.are_given():
        return a.adapt(words, door_of(context), as_json)
    if prepare is not None:
        if prepared is not None:
            raise InvalidRequest("--prepare reads a store and --prepared what it wrote; give one of them")
        if store is None:
            raise InvalidRequest("--prepare needs --store FOLDER, which 'josephson corpus simulation' fills")
        return _prepare(store, prepare, estimates)
    if prepared is None:
        raise InvalidRequest(
            "--prepared FILE is missing: 'josephson corpus simulation' simulates, and "
            "'josephson train simulator --prepare FILE' makes the file of what it simulated"
        )
    if recalibrate:
        return _recalibrate(prepared, output, as_json)
    command = ["josephson", "train", "simulator", "--recipe", Path(recipe).name, "--prepared", "FILE"]
    command += ["--leave-out", leave_out] if leave_out else []
    command += ["--rows", str(rows)] if rows else []
    return _train(
        recipe, prepared, leave_out, output, work, resume, minutes, rows, device, threads, shlex.join(command), as_json
    )


def _prepare(store: Path, file: Path, estimates: str) -> int:
    from app.settings import read_settings
    from app.simulation_corpus.preparation import prepared_simulations
    from app.simulation_corpus.reader import read_store
    from app.simulations import load_technologies
    from app.table_simulator.device_tables import DeviceTableSource
    from app.table_simulator.solver import TableSimulator
    from app.technologies._base import technologies
    from app.technologies._gmid import gmid_tables
    from app.testbenches._pool import simulation_pool

    if estimates not in ("nominal", "all", "none"):
        raise InvalidRequest(f"--estimates: {estimates!r} is none of nominal, all and none")
    folder = read_settings().data_dir
    load_technologies(folder)
    found = read_store(store)
    with simulation_pool(size=1) as pool:
        ready = prepared_simulations(
            found,
            technologies,
            lambda technology, process: gmid_tables(technology, pool, process, folder=folder / "gmid"),
            simulator=None
            if estimates == "none"
            else TableSimulator(DeviceTableSource(pool, folder / "device_tables")),
            corners="all" if estimates == "all" else "nominal",
            note=say,
        )
    ready.save(file)
    say(
        f"{file}: {len(ready):,} rows of {len(ready.groups)} circuits on testbenches in technologies, "
        f"{file.stat().st_size / 1e6:.1f} MB; train with 'josephson train simulator --prepared {file}'"
    )
    return DONE


def _recalibrate(prepared: Path, output: Path | None, as_json: bool) -> int:
    from app.neural_simulator.artefact import NAME, NeuralSimulator
    from app.neural_simulator.dataset import PreparedSimulations
    from app.resources import models_path
    from app.training.simulator_run import recalibrated

    folder = output or models_path(NAME)
    recalibrated(NeuralSimulator.load(folder), PreparedSimulations.load(prepared)).save(folder)
    if as_json:
        write_document({"model": str(folder)})
    else:
        say(f"{folder}: its intervals are new and its card is gone; judge it with 'josephson evaluate simulator'")
    return DONE


def _train(
    recipe_name: str, prepared: Path, leave_out: str | None, output: Path | None, work: Path | None, is_resumed: bool,
    minutes: float | None, rows: int | None, device: str, threads: int | None, command: str, as_json: bool,
) -> int:  # fmt: skip
    import logging
    import os
    from dataclasses import replace

    from app.cli.progress import ProgressBar
    from app.neural_simulator.dataset import PreparedSimulations
    from app.resources import models_path
    from app.training.run import check_state
    from app.training.simulator import read_simulator_recipe
    from app.training.simulator_run import SimulatorRun, train_simulator
    from app.training.watching import Lines, StopSignals, note

    if device not in ("cpu", "cuda"):
        raise InvalidRequest(f"--device: {device!r} is neither cpu nor cuda")
    recipe = read_simulator_recipe(recipe_name)
    recipe = replace(recipe, rows=rows) if rows else recipe
    folder = work or Path("work") / recipe.name
    check_state(folder, is_resumed)
    simulations = PreparedSimulations.load(prepared)
    run = SimulatorRun(
        recipe, folder, output or models_path(recipe.name), device, threads or os.cpu_count() or 1,
        None if minutes is None else minutes * 60, left_out=leave_out, command=command,
    )  # fmt: skip
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    lines = Lines()
    with ProgressBar("rows", recipe.rows, tells_time=False) as bar, StopSignals() as stop:
        trained = train_simulator(
            run, simulations, lambda at: bar.advance_to(at.done, note(at)) if bar.is_shown else lines(at), stop
        )
    if as_json:
        reached = {} if trained is None else {key: trained.training[key] for key in ("rows_seen", "seconds")}
        write_document({"finished": trained is not None, "model": str(run.output), "work": str(folder), **reached})
    elif trained is not None:
        seen, seconds = trained.training["rows_seen"], trained.training["seconds"]
        say(f"{run.output}: {seen:,} rows in {seconds / 60:.1f} min; judge it with 'josephson evaluate simulator'")
    if trained is None:
        say(f"{'out of time' if stop.received is None else 'stopped'}; the same command with --resume goes on")
    return DONE if stop.received is None else 128 + stop.received
