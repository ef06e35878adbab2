"""`josephson bench sizing` and `specifications`: sizing methods at equal numbers of simulations, and their tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options as o
from app.cli.door import DONE, FAILED, say, write_document, write_line
from app.errors import InvalidRequest

if TYPE_CHECKING:
    from app.analog.netlist import Netlist
    from app.benchmarks.sizing_cases import SizingCase
    from app.settings import Settings
    from app.simulators.processes import WorkerPool
    from app.sizing.problem import SizingProblem
    from app.sizing.run import LearningModel
    from app.testbenches._simulator import BenchSimulator

Methods = Annotated[str | None, typer.Option("--methods", help="Sizing methods, comma-separated; all when absent.")]
Specifications = Annotated[
    str | None,
    typer.Option(
        "--specifications",
        help="Names, circuits or profiles, comma-separated, * for any letters, e.g. opamp/*,fast; all when absent.",
    ),
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, max=1000, help="Runs of each method on each specification.")]
Simulations = Annotated[
    int, typer.Option("--simulations", min=10, max=100_000, help="Real simulations that each run may spend.")
]
Work = Annotated[
    Path | None, typer.Option("--work", help="A folder for what was done so far: the same command goes on from it.")
]
Minutes = Annotated[
    float | None,
    typer.Option("--minutes", min=0.0, help="Begin no run after so long; 0 tells of what was done before."),
]
WritePage = Annotated[Path | None, typer.Option("--write", help="Write the result as a Markdown page.")]
Folder = Annotated[Path, typer.Argument(help="The folder that holds a file for each testbench.")]
TestbenchName = Annotated[
    str | None, typer.Option("--testbench", help="Make those of this testbench; all when absent.")
]
Draws = Annotated[int, typer.Option("--draws", min=10, help="Sizings that each one is made from.")]


def sizing(
    context: typer.Context,
    methods: Methods = None,
    specifications: Specifications = None,
    seeds: Seeds = 20,
    simulations: Simulations = 100,
    work: Work = None,
    minutes: Minutes = None,
    write: WritePage = None,
    as_json: o.AsJson = False,
) -> int:
    """Sizing methods beside each other: how often they meet specifications, and after how many real simulations."""
    from app.analog.corpus import read_archetypes
    from app.benchmarks.sizing import bench_sizing
    from app.benchmarks.sizing_cases import chosen_cases, read_cases
    from app.benchmarks.sizing_page import sizing_page
    from app.benchmarks.sizing_plan import SizingPlan
    from app.cli.progress import ProgressBar
    from app.sizing._base import sizing_methods

    every = [case for file in read_cases() for case in file.cases]
    cases = chosen_cases(every, o.names(specifications))
    chosen = o.names(methods) or list(sizing_methods)
    plan = SizingPlan(cases, tuple(dict.fromkeys(chosen)), seeds, simulations)
    netlist_of = {circuit.id: circuit.netlist for circuit in read_archetypes()}
    uses_model = any(sizing_methods[name].uses_model for name in plan.methods)
    with _machine(netlist_of, with_model=uses_model) as machine, ProgressBar("runs", None) as bar:
        report = bench_sizing(
            plan, machine.problem, machine.simulator, machine.forecasting, learnt=machine.learnt,
            weights=machine.weights, work=work, minutes=minutes,
            progress=lambda done, total, told: bar.advance_to(done, told, total=total),
        )  # fmt: skip
    if write is not None:
        write.write_text(sizing_page(report, _command(methods, specifications, seeds, simulations)), encoding="utf-8")
        say(f"written: {write}")
    if as_json:
        write_document(report)
    else:
        _print(report)
    return DONE if report["pairs"] else FAILED


def specifications(
    context: typer.Context,
    folder: Folder,
    testbench: TestbenchName = None,
    draws: Draws = 2000,
    as_json: o.AsJson = False,
) -> int:
    """Make the specifications that 'bench sizing' compares methods on, each from sizes that meet it."""
    from app.analog.corpus import read_archetypes
    from app.benchmarks.sizing_specifications import FAMILIES, make_cases
    from app.errors import UnknownName
    from app.settings import read_settings
    from app.technologies._base import technologies
    from app.testbenches._base import testbenches
    from app.testbenches._pool import simulation_pool
    from app.testbenches._simulator import BenchSimulator

    families = [family for family in FAMILIES if testbench in (None, family.testbench)]
    if not families:
        assert testbench is not None
        raise UnknownName("testbench with specifications", testbench, [family.testbench for family in FAMILIES])
    if not folder.is_dir():
        raise InvalidRequest(f"{folder} is no folder; make it, or name the one that holds the specifications")
    settings = read_settings()
    netlist_of = {circuit.id: circuit.netlist for circuit in read_archetypes()}
    made = 0
    with simulation_pool(size=settings.validator_workers) as pool:
        simulator = BenchSimulator(pool, tables_folder=settings.data_dir / "gmid")
        for family in families:
            bench, technology = testbenches[family.testbench], technologies[family.technology]
            file = make_cases(family, netlist_of, bench, technology, simulator, simulator.gmid, draws=draws, note=say)
            file.write(folder / f"{family.testbench}.json")
            made += len(file.cases)
    if as_json:
        write_document({"folder": str(folder), "specifications": made})
    else:
        write_line(f"{made} specifications in {folder}")
    return DONE


@dataclass(frozen=True)
class _Machine:
    """What runs are made with."""

    simulator: BenchSimulator
    netlist_of: Mapping[str, Netlist]
    forecasting: Callable[[SizingProblem], LearningModel | None]
    learnt: Callable[[SizingCase], bool]
    weights: str | None

    def problem(self, case: SizingCase) -> SizingProblem:
        """The problem of a case."""
        return case.problem(self.netlist_of[case.circuit], self.simulator.gmid)


@contextmanager
def _machine(netlist_of: Mapping[str, Netlist], *, with_model: bool) -> Iterator[_Machine]:
    """Workers of ngspice, and the neural simulator where it is wanted; both are gone in the end."""
    from app.settings import read_settings
    from app.simulations import load_technologies
    from app.testbenches._pool import simulation_pool
    from app.testbenches._simulator import BenchSimulator

    settings = read_settings()
    load_technologies(settings.data_dir)
    with simulation_pool(size=settings.validator_workers) as pool:
        simulator = BenchSimulator(pool, tables_folder=settings.data_dir / "gmid")
        if not with_model:
            yield _Machine(simulator, netlist_of, lambda problem: None, lambda case: False, None)
            return
        with _model(settings, netlist_of, simulator, pool) as machine:
            yield machine


@contextmanager
def _model(
    settings: Settings, netlist_of: Mapping[str, Netlist], simulator: BenchSimulator, pool: WorkerPool
) -> Iterator[_Machine]:
    from app.analog.canonical import canonical_hash
    from app.predictions import load_trained, predictions_of
    from app.requests import NEURAL_SIMULATOR
    from app.resources import models_path
    from app.simulations import PreparedBenches
    from app.sizings import forecaster_of

    folder = (settings.models_dir or models_path()) / NEURAL_SIMULATOR
    experience = load_trained(folder).experience
    predictions = predictions_of(settings, PreparedBenches(simulator.gmid), pool)

    def forecasting(problem: SizingProblem) -> LearningModel:
        model, reason = forecaster_of(problem, predictions.circuit_models, from_store=False)
        if model is None:
            raise InvalidRequest(f"there is no offline model: {reason}; choose --methods that use none")
        return model

    def learnt(case: SizingCase) -> bool:
        return experience.knows(canonical_hash(netlist_of[case.circuit]), case.testbench, case.technology)

    checksum = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()[:16]
    try:
        yield _Machine(simulator, netlist_of, forecasting, learnt, checksum)
    finally:
        predictions.close()


def _command(methods: str | None, specifications: str | None, seeds: int, simulations: int) -> str:
    """The command line that makes the report, without its folders."""
    words = ["josephson bench sizing"]
    words += [f"--methods {methods}"] if methods else []
    words += [f"--specifications '{specifications}'"] if specifications else []
    return " ".join([*words, f"--seeds {seeds}", f"--simulations {simulations}"])


def _print(report: Mapping[str, Any]) -> None:
    done = f"{report['pairs']} runs of each method with {report['simulations']} simulations at most"
    write_line(done + (f"; {report['missing']} are still to be done" if report["missing"] else ""))
    write_line(
        f"{'method':<14} {'success':>22} {'in < 20':>22} {'median':>7} {'75 %':>6} {'90 %':>6} {'offline':>9} "
        f"{'CPU s':>7} {'ngspice':>8}"
    )
    for name, own in report["methods"].items():
        if own["runs"]:
            median, third, last = (_number(own["simulations"][part]) for part in ("median", "q3", "p90"))
            write_line(
                f"{name:<14} {_share(own['success']):>22} {_share(own['within']['20']):>22} {median:>7} {third:>6} "
                f"{last:>6} {own['offline_simulations']:>9,.0f} {own['model_cpu_s']:>7.1f} "
                f"{own['simulator_cpu_s']:>8.2f}"
            )
            if own["failed"]:
                write_line(f"{'':<14} {own['failed']} runs broke off")


def _share(figure: Mapping[str, float]) -> str:
    return f"{100 * figure['share']:.1f} ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
