"""`josephson evaluate analog|quantum`: what share of a model's circuits passes each check, beside real circuits."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options as o
from app.cli.aims import write_aims
from app.cli.door import DONE, Door, door_of, say, write_document, write_line
from app.cli.evaluate_simulator import simulator
from app.errors import InvalidRequest

if TYPE_CHECKING:
    from app.analog.dataset import Dataset
    from app.evaluation.harness import TypeReader
    from app.evaluation.quantum_plan import Length
    from app.measures.novelty import TrainingIndex
    from app.quantum.program import QuantumProgram
    from app.settings import Settings
    from app.workshop import Workshop

SamplesPerSeed = Annotated[int, typer.Option("--count", "-n", min=1, help="Circuits for each seed and set.")]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="How many seeds, one after the other.")]
FirstSeed = Annotated[int, typer.Option("--seed", min=0, help="The first of them.")]
WriteCard = Annotated[bool, typer.Option("--write-card", help="Write the result into the model's card.")]
Source = Annotated[
    Path | None,
    typer.Option("--source", help="The AnalogGenie data, for real circuits to compare with; archetypes when absent."),
]
QuantumSource = Annotated[
    Path | None,
    typer.Option("--source", help="The corpus to compare with, JSON Lines; rebuilt from packages when absent."),
]
Epochs = Annotated[
    int, typer.Option("--epochs", min=0, max=100, help="Of the classifier that reads programs in order; 0: without it.")
]
Compiled = Annotated[
    int, typer.Option("--compiled", min=0, help="Programs of a set on which compilers are ranked; 0: without rankings.")
]
FunctionCount = Annotated[
    int, typer.Option("--function-count", min=0, help="Of how many of them to try the function, by simulation.")
]
Work = Annotated[
    Path | None, typer.Option("--work", help="A folder for what was done so far: the same command goes on from it.")
]

#: Columns of the table on the terminal; the rest is in the card and in --json.
_SHOWN = ("data", "uniform", "unconstrained", "real", "wired_100")
_SHOWN_OF_QUANTUM = ("generated", "bare", "real", "training", "random", "line_chain")


def add_to(app: typer.Typer) -> None:
    """The commands are on the command line."""
    group = typer.Typer(help="Measure a model's circuits, or its predictions.", no_args_is_help=True)
    group.command("analog")(analog)
    group.command("quantum")(quantum)
    group.command("simulator")(simulator)
    app.add_typer(group, name="evaluate")


def analog(
    context: typer.Context,
    count: SamplesPerSeed = 1000,
    seeds: Seeds = 3,
    seed: FirstSeed = 1,
    source: Source = None,
    function_count: FunctionCount = 96,
    model: o.Model = None,
    temperature: o.Temperature = 0.9,
    top_p: o.TopP = 1.0,
    work: Work = None,
    write_card: WriteCard = False,
    device: o.Device = None,
    as_json: o.AsJson = False,
) -> int:
    """A model of analog topologies, by type, beside held-out real circuits and random wiring of them."""
    from app.analog.dataset import read_dataset
    from app.cli.progress import ProgressBar
    from app.evaluation.analog import evaluate_analog
    from app.evaluation.harness import Harness
    from app.evaluation.plan import AnalogPlan

    door, settings = door_of(context), _settings(device)
    chosen = _checked("analog", count, seed, model, temperature, top_p)

    async def measure(workshop: Workshop, name: str) -> dict[str, Any]:
        dataset = read_dataset(source)
        plan = AnalogPlan(
            count, tuple(range(seed, seed + seeds)), function_count, dataset.held_out, _proportions(dataset)
        )
        corpus = "the archetypes of data/archetypes" if source is None else "the AnalogGenie data and the archetypes"
        with ExitStack() as open_things:
            ladder = open_things.enter_context(door.make_ladder(settings))
            types, checksum = _type_reader(settings)
            harness = Harness(ladder, seen=_seen(settings, name), types=types, threads=2 * settings.validator_workers)
            open_things.callback(harness.close)
            bar = open_things.enter_context(ProgressBar("circuits", None))
            return await evaluate_analog(
                workshop, harness, plan, corpus=corpus, work=work, depends_on={"type classifier": checksum},
                report=lambda done, total: bar.advance_to(done, total=total), **chosen,
            )  # fmt: skip

    return _evaluate(door, settings, "analog", chosen, measure, write_card, as_json)


def quantum(
    context: typer.Context,
    count: SamplesPerSeed = 1000,
    seeds: Seeds = 3,
    seed: FirstSeed = 1,
    source: QuantumSource = None,
    epochs: Epochs = 6,
    compiled: Compiled = 100,
    model: o.Model = None,
    temperature: o.Temperature = 0.9,
    top_p: o.TopP = 0.95,
    work: Work = None,
    write_card: WriteCard = False,
    device: o.Device = None,
    as_json: o.AsJson = False,
) -> int:
    """A model of OpenQASM programs, under the conditions of unseen real programs, beside those and other generators."""
    from app.cli.progress import ProgressBar
    from app.evaluation.quantum import Depth, evaluate_quantum
    from app.evaluation.quantum_harness import QuantumHarness
    from app.evaluation.quantum_plan import QuantumPlan, sort_programs
    from app.measures.quantum_copies import KnownPrograms
    from app.quantum.oracles import oracles
    from app.training.quantum import read_programs

    door, settings = door_of(context), _settings(device)
    depth = Depth(epochs, settings.device, compiled, settings.validator_workers)
    chosen = _checked("quantum", count, seed, model, temperature, top_p)

    async def measure(workshop: Workshop, name: str) -> dict[str, Any]:
        corpus, words = read_programs(source)
        seen, (length, longest) = _seen(settings, name), _writes(settings, name)
        programs = sort_programs(corpus, seen, length, longest)
        plan = QuantumPlan(count, tuple(range(seed, seed + seeds)), programs, oracles.__contains__)
        with ExitStack() as open_things:
            loader = open_things.enter_context(door.make_loader(settings))
            known = KnownPrograms(programs.known)
            harness = QuantumHarness(loader, oracles, known=known, seen=seen, threads=2 * settings.validator_workers)
            open_things.callback(harness.close)
            bar = open_things.enter_context(ProgressBar("programs", None))
            return await evaluate_quantum(
                workshop, harness, plan, corpus=words, length=length, depth=depth, work=work,
                report=lambda done, total: bar.advance_to(done, total=total), **chosen,
            )  # fmt: skip

    return _evaluate(door, settings, "quantum", chosen, measure, write_card, as_json)


def _settings(device: str | None) -> Settings:
    from app.settings import read_settings

    return read_settings(**o.given(device=device))


def _checked(
    kind: str, count: int, seed: int, model: str | None, temperature: float, top_p: float
) -> dict[str, Any]:  # fmt: skip
    """The fields of the requests to come, which the schema has judged."""
    from app.cli.rows import read_request

    chosen = o.given(model=model, temperature=temperature, top_p=top_p)
    read_request(f"{kind}.generate", {"count": count, "seed": seed, **chosen})
    return chosen


def _evaluate(
    door: Door, settings: Settings, kind: str, chosen: dict[str, Any],
    measure: Callable[[Workshop, str], Coroutine[Any, Any, dict[str, Any]]], is_card_written: bool, as_json: bool,
) -> int:  # fmt: skip
    from app.cli.rows import read_request
    from app.evaluation.card import write_card
    from app.resources import models_path

    async def run() -> tuple[dict[str, Any], Path | None]:
        workshop = door.make_workshop(settings)
        try:
            request = read_request(f"{kind}.generate", {"seed": 0, **chosen})
            name = str(workshop.prepare(f"{kind}.generate", request).made_by)
            # Before the work, not after it: a card that cannot be written costs nothing then.
            folder = _folder_of(settings.models_dir or models_path(), name) if is_card_written else None
            return await measure(workshop, name), folder
        finally:
            await workshop.aclose()

    report, folder = asyncio.run(run())
    if folder is not None:
        write_card(folder, report)
        say(f"written: {folder / 'card.md'}")
    if as_json:
        write_document(report)
    else:
        {"analog": _print_analog, "quantum": _print_quantum}[kind](report)
    return DONE


def _folder_of(models: Path, name: str) -> Path:
    """The folder of the model of that name, else InvalidRequest."""
    folder = models / name
    if not (folder / "config.json").is_file():
        raise InvalidRequest(f"--write-card: {folder} is not the folder of a model that could have a card")
    return folder


def _proportions(dataset: Dataset) -> dict[str, int]:
    """How many circuits of each type the data has."""
    return dict(Counter(circuit.type for circuit in dataset.circuits))


def _seen(settings: Settings, model: str) -> TrainingIndex | None:
    """What the model was trained on, where its folder says."""
    from app.inference.checkpoint import INDEX_NAME
    from app.measures.novelty import TrainingIndex
    from app.resources import models_path

    path = (settings.models_dir or models_path()) / model / INDEX_NAME
    return TrainingIndex.load(path) if path.is_file() else None


def _writes(settings: Settings, model: str) -> tuple[Length, int]:
    """How long a program's sentence is in the model's language, and the longest that the model writes."""
    from app.errors import NotExpressible, UnknownName
    from app.resources import models_path
    from app.tokens._base import languages

    path = (settings.models_dir or models_path()) / model / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    language: Any = languages[config.get("language", "qasm_domain")]

    def length(program: QuantumProgram, family: str) -> int | None:
        try:
            return len(language.encode(program, family, random.Random(0)))
        except (NotExpressible, UnknownName):
            return None

    return length, int(config.get("decoder", {}).get("context", 1024))


def _type_reader(settings: Settings) -> tuple[TypeReader | None, str | None]:
    """The classifier beside the models, else the shipped one, and its checksum; None where there is neither."""
    from app.measures.type_classifier import NAME, TypeClassifier
    from app.resources import models_path

    folders = [folder / NAME for folder in (settings.models_dir, models_path()) if folder is not None]
    found = next((folder for folder in folders if (folder / "config.json").is_file()), None)
    if found is None:
        say("there is no type classifier, so nothing is said of types; 'josephson train types' makes one")
        return None, None
    return TypeClassifier.load(found), hashlib.sha256((found / "manifest.json").read_bytes()).hexdigest()[:16]


def _print_analog(report: Mapping[str, Any]) -> None:
    """One line a measure, one column a set; then the aims."""
    from app.evaluation.card import MEASURES

    samples = f"{report['count']} samples for each of {len(report['seeds'])} seeds and each set"
    write_line(f"{report['model']}: {samples}; real circuits: {report['held_out']} from {report['corpus']}")
    parts = [report["sets"][name]["overall"] for name in _SHOWN]
    write_line(_line("measure", _SHOWN))
    for key in MEASURES:
        write_line(_line(key, [_cell(part.get(key)) for part in parts]))
    write_aims(report["aims"])


def _print_quantum(report: Mapping[str, Any]) -> None:
    """One line a measure, one column a set; how well sets are told from real programs; then the aims."""
    from app.evaluation.quantum_card import MEASURES

    samples = f"{report['count']} samples for each of {len(report['seeds'])} seeds"
    write_line(f"{report['model']}: {samples}; real programs: {report['real']} from {report['corpus']}")
    shown = [side for side in _SHOWN_OF_QUANTUM if side in report["sets"]]
    write_line(_line("measure", shown))
    for key in MEASURES:
        write_line(_line(key, [_cell(report["sets"][side].get(key)) for side in shown]))
    for reader in ("numbers", "statements"):
        told = [report["realism"].get(side, {}).get(reader) for side in shown]
        write_line(_line(f"auc by {reader}", [_cell(figure and figure["auc"]) for figure in told]))
    write_aims(report["aims"])


def _line(name: str, cells: Sequence[str]) -> str:
    return f"{name:<28}" + "".join(f" {text:>22}" for text in cells)


def _cell(value: Any) -> str:
    if not isinstance(value, Mapping):
        return "-" if value is None else str(value)
    if "share" in value:
        return f"{value['share']:.3f} ({value['low']:.3f}-{value['high']:.3f})"
    return "/".join(f"{value[key]:g}" for key in ("p10", "median", "p90") if key in value)
