"""`josephson corpus analog|quantum|simulation`: training data read and repaired, built from packages, or simulated."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli import options as o
from app.cli.door import DONE, FAILED, say, write_document, write_line

Target = Annotated[str | None, typer.Option("--output", "-o", help="Write the circuits here, one JSON object a line.")]


def add_to(app: typer.Typer) -> None:
    """The commands are on the command line."""
    group = typer.Typer(help="Read, repair and build training data.", no_args_is_help=True)
    group.command("analog")(analog)
    group.command("quantum")(quantum)
    group.command("simulation")(simulation)
    app.add_typer(group, name="corpus")


def analog(
    context: typer.Context,
    source: Annotated[
        Path | None,
        typer.Option("--source", help="AnalogGenie's repository or JSON Lines; the archetypes alone when absent."),
    ] = None,
    output: Target = None,
    as_json: o.AsJson = False,
) -> int:
    """Read, repair, merge, type and split the circuits that the analog models learn from, and report what was done."""
    from app.analog.dataset import read_dataset
    from app.analog.spice import write_spice
    from app.cli.rows import opened_for_text

    dataset = read_dataset(source)
    if output is not None:
        held_out = {circuit.split_class for circuit in dataset.held_out}
        with opened_for_text(output) as stream:
            for circuit in dataset.circuits:
                row = {
                    "id": circuit.id, "type": circuit.type, "source": circuit.source,
                    "side": "held_out" if circuit.split_class in held_out else "training",
                    "split_class": circuit.split_class, "netlist": write_spice(circuit.netlist),
                }  # fmt: skip
                stream.write(json.dumps(row) + "\n")
    if as_json:
        write_document({"circuits": len(dataset.circuits), "report": dataset.report.as_json()})
    else:
        say(dataset.report.as_text())
    return DONE


def quantum(
    context: typer.Context,
    source: Annotated[
        Path | None, typer.Option("--source", help="JSON Lines file or its folder; built from packages when absent.")
    ] = None,
    qasmbench: Annotated[
        Path | None, typer.Option("--qasmbench", help="A clone of QASMBench: its circuits too.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the programs that are built.")] = 0,
    output: Target = None,
    as_json: o.AsJson = False,
) -> int:
    """Read the programs that the quantum models learn from, or build them from Qiskit and mqt.bench; sift and split."""
    from app.cli.progress import ProgressBar
    from app.cli.rows import opened_for_text
    from app.quantum.dataset import read_dataset
    from app.settings import read_settings

    folder = read_settings().data_dir / "quantum_corpus"
    with ProgressBar("programs", None) as bar:
        dataset = read_dataset(
            source, qasmbench=qasmbench, seed=seed, folder=folder,
            progress=lambda tried, total: bar.advance_to(tried, total=total),
        )  # fmt: skip
    if output is not None:
        held_out = {program.skeleton for program in dataset.held_out}
        with opened_for_text(output) as stream:
            for program in dataset.programs:
                side = "held_out" if program.skeleton in held_out else "training"
                row = {**program.as_row(), "side": side, "split_class": program.skeleton}
                stream.write(json.dumps(row) + "\n")
    if as_json:
        write_document({"programs": len(dataset.programs), "report": dataset.report.as_json()})
    else:
        say(dataset.report.as_text())
    return DONE


#: Seconds between two lines about how far the work is, where standard error is no terminal.
_LINE_EVERY_S = 30.0


def simulation(
    context: typer.Context,
    store: Annotated[Path, typer.Option("--store", help="The store's folder; made where it is not there.")],
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="A recipe of data/recipes by name, or a .toml file; 'simulation' when absent."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="The recipe's own when absent.")] = None,
    source: Annotated[
        Path | None, typer.Option("--source", help="AnalogGenie's repository or JSON Lines: corpus circuits too.")
    ] = None,
    generated: Annotated[
        Path | None, typer.Option("--generated", help="Rows of 'generate analog --output': generated circuits too.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=256, help="Simulators at once; one a core when absent.")
    ] = None,
    limit_rows: Annotated[int | None, typer.Option("--limit-rows", min=1, help="Stop after so many new rows.")] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.0, help="Begin nothing new after so long.")
    ] = None,
    append: Annotated[
        bool, typer.Option("--append", help="Add to a store what this recipe and seed plan and it does not hold.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Simulate nothing; say whether the store is sound.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Simulate nothing; say what the store holds.")] = False,
    as_json: o.AsJson = False,
) -> int:
    """Simulate topologies x testbenches x technologies x corners x sizings into a columnar store; resumes itself."""
    from app.simulation_corpus.check import store_faults
    from app.simulation_corpus.report import store_report

    if check:
        faults = store_faults(store)
        if as_json:
            write_document({"store": str(store), "sound": not faults, "faults": faults})
        else:
            for sentence in faults or ["the store is sound"]:
                write_line(sentence)
        return FAILED if faults else DONE
    has_failed = False
    if not report:
        has_failed = _simulate(store, recipe, seed, source, generated, workers, limit_rows, minutes, append)
    has_plan = report or (store / "manifest.json").is_file()
    summary = store_report(store) if has_plan else {"store": str(store), "rows": {"planned": 0, "simulated": 0}}
    if as_json:
        write_document(summary)
    elif has_plan:
        _print_report(summary)
    return FAILED if has_failed else DONE


def _simulate(
    store: Path,
    recipe_name: str | None,
    seed: int | None,
    source: Path | None,
    generated: Path | None,
    workers: int | None,
    limit_rows: int | None,
    minutes: float | None,
    append: bool,
) -> bool:
    """The store has what the limits allow; True where a signal ended the work before, or units could not be done."""
    import os

    from app.settings import read_settings
    from app.simulation_corpus.factory import Factory, Limits
    from app.simulation_corpus.recipe import read_simulation_recipe
    from app.simulation_corpus.topologies import all_topologies
    from app.simulations import load_technologies
    from app.simulators.ngspice import ngspice_version
    from app.testbenches._pool import simulation_pool
    from app.testbenches._simulator import BenchSimulator

    load_technologies(read_settings().data_dir)
    recipe = read_simulation_recipe(recipe_name)
    until = None if minutes is None else time.monotonic() + 60 * minutes
    limits = Limits(rows=limit_rows, until=until)
    size = workers or len(os.sched_getaffinity(0))
    with (
        simulation_pool(size=size, timeout_s=recipe.timeout_s) as pool,
        _stopped_by_signals(limits.stop),
        _Progress() as progress,
    ):
        factory = Factory(store, BenchSimulator(pool), watcher=progress, ngspice_version=ngspice_version(pool))
        chosen = recipe.seed if seed is None else seed
        if not factory.plan(recipe, chosen, lambda: all_topologies(source, generated), append=append, limits=limits):
            say("stopped before there was a plan; the same command goes on, and keeps what was tried")
            return limits.stop.is_set()
        outcome = factory.fill(limits)
    rate = outcome.rows / max(outcome.seconds, 1e-9)
    say(f"{outcome.rows:,} rows in {outcome.seconds:.0f} s ({rate:.1f}/s), {outcome.done:,} of {outcome.total:,} done")
    if outcome.is_stopped:
        say("the same command goes on with the rest")
    for sentence, units in list(outcome.failures.items())[:20]:
        say(f"{units} units could not be simulated: {sentence}")
    return limits.stop.is_set() or bool(outcome.failures)


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM sets `stop`, so that what runs is finished; the next one ends the work at once."""

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        say("stopping: what runs is being finished; once more ends it at once")

    names = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(name, on_signal) for name in names]
    try:
        yield
    finally:
        for name, handler in zip(names, before, strict=True):
            signal.signal(name, handler)


class _Progress:
    """How far the factory is: a bar on a terminal, else a line now and then. Estimates from this call's rate."""

    def __init__(self) -> None:
        from app.cli.progress import ProgressBar

        self._bars = {"probing": ProgressBar("probes", None), "rows": ProgressBar("rows", None)}
        self._began: dict[tuple[str, int], tuple[float, int]] = {}
        self._said = 0.0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        for bar in self._bars.values():
            bar.__exit__(None, None, None)

    def probing(self, done: int, total: int) -> None:
        """So many topologies were tried."""
        self._tell("probing", done, total)

    def simulating(self, done: int, total: int) -> None:
        """So many rows are in the store."""
        self._tell("rows", done, total)

    def note(self, sentence: str) -> None:
        """A sentence for people."""
        say(sentence)

    def _tell(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        began, first = self._began.setdefault((what, total), (now, done - 1))
        if done < total and now - self._said < (1.0 if sys.stderr.isatty() else _LINE_EVERY_S):
            return
        self._said = now
        rate = (done - first) / max(now - began, 1e-3)
        note = f"{rate:.1f}/s"
        self._bars[what].advance_to(done, note, total=total)
        if not sys.stderr.isatty():
            minutes_left = (total - done) / max(rate, 1e-9) / 60
            say(f"{what}: {done:,} of {total:,}, {note}, {minutes_left:.1f} minutes left")


def _print_report(summary: dict[str, Any]) -> None:
    rows = summary["rows"]
    write_line(f"{summary['store']}: {rows['simulated']:,} of {rows['planned']:,} rows")
    for run in summary["runs"]:
        for note in run["notes"]:
            write_line(note)
        for dropped in run["dropped"]:
            if dropped["origin"] == "archetype":
                place = f"{dropped['topology']} on {dropped['testbench']} in {dropped['technology']}"
                write_line(f"dropped: {place}: {dropped['reason']}")
        others = sum(dropped["origin"] != "archetype" for dropped in run["dropped"])
        if others:
            write_line(f"dropped: {others} other circuits on a testbench and in a technology (--json names them)")
    statuses = ", ".join(f"{count:,} {status}" for status, count in summary["statuses"].items())
    write_line(
        f"{summary['topologies_with_rows']} topologies, {summary['corners']} corners; {statuses or 'no rows yet'}"
    )
    write_line(f"{'testbench':<22} {'topologies':>10} {'rows':>9} {'ms/row':>8}  share of rows with each metric")
    for name, about in summary["testbenches"].items():
        shares = ", ".join(
            f"{metric} {counts['defined'] / max(1, counts['asked']):.0%}" for metric, counts in about["defined"].items()
        )
        write_line(f"{name:<22} {about['topologies']:>10} {about['rows']:>9,} {about['milliseconds']:>8.1f}  {shares}")
