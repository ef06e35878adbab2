"""`josephson evaluate simulator`: what a neural simulator's predictions are worth, beside ngspice and other models."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli import options as o
from app.cli.aims import write_aims
from app.cli.door import DONE, say, write_document, write_line
from app.errors import InvalidRequest, NgspiceMissing

if TYPE_CHECKING:
    from app.evaluation.simulator import SimulatorPlan
    from app.evaluation.simulator_simulations import OwnRows
    from app.neural_simulator.dataset import PreparedSimulations
    from app.settings import Settings
    from app.simulators.processes import WorkerPool

ModelFolder = Annotated[
    Path | None, typer.Option("--model", help="The folder of a trained model; the one beside the others when absent.")
]
PreparedFile = Annotated[
    Path | None,
    typer.Option("--prepared", help="The file it was trained on, as 'train simulator --prepare' writes it."),
]
TechnologyName = Annotated[
    str | None, typer.Option("--technology", help="Simulate rows in this technology, and judge it by them.")
]
Rows = Annotated[
    int | None,
    typer.Option("--rows", min=2, max=10_000, help="Sizings of each circuit to simulate with --technology; 300."),
]
Minutes = Annotated[
    float | None, typer.Option("--minutes", min=0.0, help="Simulate no further circuit after so long; 10.")
]
Estimates = Annotated[
    str | None,
    typer.Option("--estimates", help="Simulated rows with estimates: of 'nominal' corners, 'all', or 'none'; nominal."),
]
Adapt = Annotated[str, typer.Option("--adapt", help="Numbers of rows to adapt to a new circuit from.")]
RowsPerGroup = Annotated[
    int | None, typer.Option("--rows-per-group", min=1, help="Rows of a circuit to be judged by; all when absent.")
]
Baselines = Annotated[str, typer.Option("--baselines", help="What it is compared with; none: with nothing.")]
BaselineGroups = Annotated[
    int, typer.Option("--baseline-groups", min=0, max=10_000, help="Circuits that the baselines are trained on.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of all that is drawn.")]
Work = Annotated[
    Path | None, typer.Option("--work", help="A folder for what was done so far: the same command goes on from it.")
]
WriteCard = Annotated[bool, typer.Option("--write-card", help="Write the result into the model's card.")]


@dataclass(frozen=True)
class _Own:
    """The words of a command that simulates rows of its own; the others say what is usual where they are None."""

    technology: str | None
    rows: int | None
    minutes: float | None
    estimates: str | None

    def choice(self, seed: int) -> OwnRows | None:
        """What is simulated; None where no technology was named.

        Raises:
            InvalidRequest: words that mean nothing without a technology, or estimates of no such kind.
            UnknownName: there is no such technology.
            Unavailable: its cards are not on this machine.
        """
        from app.evaluation.simulator_simulations import OwnRows
        from app.technologies._base import technologies

        told = o.given(rows=self.rows, minutes=self.minutes, estimates=self.estimates)
        if self.technology is None:
            for name in told:
                raise InvalidRequest(f"--{name} is about rows that --technology NAME simulates; give that too")
            return None
        corners: Sequence[Literal["nominal", "all"]] = ("nominal", "all")
        asked = told.pop("estimates", "nominal")
        if asked not in (*corners, "none"):
            raise InvalidRequest(f"--estimates: {asked!r} is none of nominal, all and none")
        technology = technologies[self.technology]
        technology.require()
        estimated = next((kind for kind in corners if kind == asked), None)
        return OwnRows(technology, seed, estimated=estimated, **told)


def simulator(
    context: typer.Context,
    model: ModelFolder = None,
    prepared: PreparedFile = None,
    technology: TechnologyName = None,
    rows: Rows = None,
    minutes: Minutes = None,
    estimates: Estimates = None,
    adapt: Adapt = "0,20,50,200",
    rows_per_group: RowsPerGroup = None,
    baselines: Baselines = "mlp,boosting,insight,nearest",
    baseline_groups: BaselineGroups = 24,
    seed: Seed = 1,
    work: Work = None,
    write_card: WriteCard = False,
    as_json: o.AsJson = False,
) -> int:
    """A neural simulator, on sizings, circuits and technologies that it has not seen, beside models of one circuit."""
    from app.evaluation.card import write_card as write
    from app.evaluation.simulator import SimulatorPlan

    plan = SimulatorPlan(seed, _numbers(adapt), rows_per_group, _names(baselines), baseline_groups)
    if prepared is None and technology is None:
        raise InvalidRequest(
            "there is nothing to judge by: give --prepared FILE, which 'josephson train simulator --prepare FILE' "
            "makes of a store of simulations, or --technology NAME, in which circuits are simulated then"
        )
    folder, report = _evaluate(model, prepared, _Own(technology, rows, minutes, estimates), plan, work)
    if write_card:
        write(folder, report)
        say(f"written: {folder / 'card.md'}")
    if as_json:
        write_document(report)
    else:
        _print(report)
    return DONE


def _evaluate(
    model: Path | None, prepared: Path | None, own: _Own, plan: SimulatorPlan, work: Path | None
) -> tuple[Path, dict[str, Any]]:
    """The model's folder, and the report."""
    from app.cli.progress import ProgressBar
    from app.evaluation.simulator import evaluate_simulator
    from app.evaluation.simulator_simulations import known_topologies, simulate_own
    from app.evaluation.simulator_speed import Machine
    from app.neural_simulator.artefact import NAME, NeuralSimulator
    from app.neural_simulator.dataset import PreparedSimulations
    from app.resources import models_path
    from app.settings import read_settings
    from app.simulations import load_technologies

    settings = read_settings()
    load_technologies(settings.data_dir)
    choice = own.choice(plan.seed)
    folder = model or (settings.models_dir or models_path()) / NAME
    trained = NeuralSimulator.load(folder)
    file = PreparedSimulations.load(prepared) if prepared else None
    identity = {"weights": _checksum(folder / "manifest.json"), "--prepared": prepared and _checksum(prepared)}
    identity |= {f"--{name}": value for name, value in vars(own).items()}
    with ExitStack() as open_things:
        pool = open_things.enter_context(_pool(settings, is_needed=choice is not None))
        simulated: Sequence[PreparedSimulations] = ()
        if choice is not None and pool is not None:
            kept = work or Path(open_things.enter_context(tempfile.TemporaryDirectory(prefix="josephson-")))
            benches = {testbench for _, testbench, _ in trained.experience.seen}
            simulated = simulate_own(
                choice, known_topologies(file, trained.experience), benches, pool, settings.data_dir,
                kept / choice.technology.name, say,
            )  # fmt: skip
        bar = open_things.enter_context(ProgressBar("groups", None))
        report = evaluate_simulator(
            trained, file, simulated, plan, Machine(pool, settings.data_dir), identity=identity, work=work,
            report=lambda done, total: bar.advance_to(done, total=total),
        )  # fmt: skip
    return folder, {"model": folder.name, **report}


@contextmanager
def _pool(settings: Settings, is_needed: bool) -> Iterator[WorkerPool | None]:
    """Workers of ngspice; None where there is no ngspice and none is needed. Raises NgspiceMissing."""
    from app.testbenches._pool import simulation_pool

    try:
        pool = simulation_pool(size=settings.validator_workers)
    except NgspiceMissing as missing:
        if is_needed:
            raise
        say(f"nothing is simulated for comparison: {missing}")
        yield None
        return
    with pool:
        yield pool


def _numbers(words: str) -> tuple[int, ...]:
    """Numbers of rows from a list with commas; InvalidRequest."""
    try:
        return tuple(int(word) for word in words.split(","))
    except ValueError:
        raise InvalidRequest(f"--adapt: {words[:80]!r} is no list of numbers of rows, such as 0,20,50,200") from None


def _names(words: str) -> tuple[str, ...]:
    """Names from a list with commas; nothing for ``none``."""
    return () if words == "none" else tuple(dict.fromkeys(word.strip() for word in words.split(",")))


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _print(report: Mapping[str, Any]) -> None:
    """One line a question and way of predicting, one a baseline; times; then the aims."""
    from app.evaluation.simulator_card import WAYS
    from app.evaluation.simulator_report import QUESTIONS

    write_line(_line("", ("mean R2", "worst R2", "rel. error", "coverage", "rows")))
    for question, found in report["sets"].items():
        lines = {f"{QUESTIONS[question]}: {words}": found[way] for way, words in WAYS.items()}
        lines |= {
            f"{QUESTIONS[question]}: adapted to {count} rows": each
            for count, each in found.get("adapted", {}).items()
            if count != "0"
        }
        for words, each in lines.items():
            _print_summary(words, each["summary"], found["rows"])
    for table, found in (report["baselines"] or {"tables": {}})["tables"].items():
        for name, each in found["models"].items():
            _print_summary(f"{found['groups']} circuits, {table}: {name}", each["summary"], found["rows"])
    mean = report["speed"]["mean"]
    for name, words in (("network_us", "network"), ("table_us", "table simulator")):
        batches = ", ".join(f"{_figure(value)} in a batch of {count}" for count, value in mean[name].items())
        write_line(f"microseconds a design, {words}: {batches}")
    now, stored = (_figure(mean[name]) for name in ("ngspice_us", "stored_us"))
    write_line(f"microseconds a design, ngspice: {now} in this run, {stored} when the rows were simulated")
    write_aims(report["aims"])


def _print_summary(words: str, summary: Mapping[str, Any], rows: int) -> None:
    figures = (summary[name] for name in ("mean_r2", "worst_r2", "relative_error", "coverage"))
    write_line(_line(words, (*map(_figure, figures), f"{rows:,}")))


def _line(name: str, cells: Sequence[str]) -> str:
    return f"{name:<68}" + "".join(f" {text:>11}" for text in cells)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
