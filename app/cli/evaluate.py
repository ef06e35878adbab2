"""`josephson evaluate analog|quantum`: the share of circuits that passes each check, with and without the grammar."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli import options as o
from app.cli.door import DONE, Door, door_of, say, write_document, write_line
from app.errors import InvalidRequest

SamplesPerSeed = Annotated[int, typer.Option("--count", "-n", min=1, help="Circuits for each seed, on each side.")]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="How many seeds, one after the other.")]
FirstSeed = Annotated[int, typer.Option("--seed", min=0, help="The first of them.")]
WriteCard = Annotated[bool, typer.Option("--write-card", help="Write the result into the model's card.")]


def add_to(app: typer.Typer) -> None:
    """The commands are on the command line."""
    group = typer.Typer(help="Measure a model's circuits, with and without the grammar.", no_args_is_help=True)
    group.command("analog")(analog)
    group.command("quantum")(quantum)
    app.add_typer(group, name="evaluate")


def analog(
    context: typer.Context,
    count: SamplesPerSeed = 1000,
    seeds: Seeds = 1,
    seed: FirstSeed = 1,
    model: o.Model = None,
    temperature: o.Temperature = 0.9,
    write_card: WriteCard = False,
    device: o.Device = None,
    as_json: o.AsJson = False,
) -> int:
    """A model of analog topologies."""
    chosen = o.given(model=model, temperature=temperature)
    return _evaluate(
        door_of(context), "analog", count, range(seed, seed + seeds), chosen, write_card, device, as_json
    )  # fmt: skip


def quantum(
    context: typer.Context,
    count: SamplesPerSeed = 1000,
    seeds: Seeds = 1,
    seed: FirstSeed = 1,
    model: o.Model = None,
    temperature: o.Temperature = 0.9,
    write_card: WriteCard = False,
    device: o.Device = None,
    as_json: o.AsJson = False,
) -> int:
    """A model of OpenQASM programs."""
    chosen = o.given(model=model, temperature=temperature)
    return _evaluate(
        door_of(context), "quantum", count, range(seed, seed + seeds), chosen, write_card, device, as_json
    )  # fmt: skip


def _evaluate(
    door: Door,
    kind: str,
    count: int,
    seeds: range,
    chosen: dict[str, Any],
    is_card_written: bool,
    device: str | None,
    as_json: bool,
) -> int:
    from app.cli.progress import ProgressBar
    from app.cli.rows import read_request
    from app.evaluation import evaluate, write_card
    from app.resources import models_path
    from app.settings import read_settings

    settings = read_settings(**o.given(device=device))
    requests = [read_request(f"{kind}.generate", {"count": count, "seed": seed, **chosen}) for seed in seeds]

    async def run() -> tuple[dict[str, Any], Path | None]:
        workshop = door.make_workshop(settings)
        try:
            name = workshop.prepare(f"{kind}.generate", requests[0]).made_by
            # Before the work, not after it: a card that cannot be written costs nothing then.
            folder = _folder_of(settings.models_dir or models_path(), str(name)) if is_card_written else None
            with ProgressBar("circuits", 2 * count * len(seeds)) as bar:
                report = await evaluate(
                    workshop, kind, count=count, seeds=seeds, report=lambda done, total: bar.advance_to(done), **chosen
                )
            return report, folder
        finally:
            await workshop.aclose()

    report, folder = asyncio.run(run())
    if folder is not None:
        write_card(folder, report)
        say(f"written: {folder / 'card.md'}")
    if as_json:
        write_document(report)
    else:
        _print(report)
    return DONE


def _folder_of(models: Path, name: str) -> Path:
    """The folder of the model of that name, else InvalidRequest."""
    folder = models / name
    if not (folder / "config.json").is_file():
        raise InvalidRequest(f"--write-card: {folder} is not the folder of a model that could have a card")
    return folder


def _print(report: Mapping[str, Any]) -> None:
    """One line a measure: its name, with the grammar, without it. Counts by name (types, findings) are --json's."""
    samples = f"{report['count']} samples for each of {len(report['seeds'])} seeds"
    write_line(f"{report['model']}: {samples}, {report['seconds']} s")
    write_line(f"{'measure':<32} {'with grammar':>22} {'without grammar':>22}")
    for name, value in report["with_grammar"].items():
        if not isinstance(value, Mapping) or "share" in value:
            write_line(f"{name:<32} {_cell(value):>22} {_cell(report['without_grammar'].get(name)):>22}")


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{value['share']:.3f} ({value['low']:.3f}-{value['high']:.3f})"
    return "-" if value is None else str(value)
