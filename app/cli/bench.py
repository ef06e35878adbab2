"""`josephson bench ...`: measurements of this machine, and of methods beside each other. They judge nothing."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli import bench_sizing
from app.cli import options as o
from app.cli.door import DONE, say, write_document, write_line
from app.cli.model_folders import model_folder


def add_to(app: typer.Typer) -> None:
    """The commands are on the command line."""
    group = typer.Typer(help="Measure this machine, and methods beside each other.", no_args_is_help=True)

    @group.callback()
    def bench() -> None:
        """Measure this machine, and methods beside each other."""

    group.command("engine")(engine)
    group.command("simulator")(simulator)
    group.command("sizing")(bench_sizing.sizing)
    group.command("specifications")(bench_sizing.specifications)
    app.add_typer(group, name="bench")


def engine(
    context: typer.Context,
    batch: Annotated[int, typer.Option("--batch", min=1, max=1024, help="Sequences at once.")] = 16,
    tokens: Annotated[int, typer.Option("--tokens", min=16, max=4096, help="Tokens of each sequence.")] = 512,
    model: o.Model = None,
    peer: Annotated[bool, typer.Option("--peer/--no-peer", help="Also time Hugging Face (extra 'bench').")] = True,
    as_json: o.AsJson = False,
) -> int:
    """The engine, Hugging Face generate with its cache and a loop without one: same weights, one run, one thread."""
    from app.benchmarks.engine import bench_engine
    from app.inference.checkpoint import load_checkpoint

    report = bench_engine(load_checkpoint(model_folder(model, "analog")), batch=batch, tokens=tokens, with_peer=peer)
    if as_json:
        write_document(report)
    else:
        _print(report)
    return DONE


def simulator(
    context: typer.Context,
    technology: Annotated[
        str | None,
        typer.Option("--technology", help="Technologies, comma-separated; those of this machine when absent."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.01, help="Of each measurement, of which there are many.")
    ] = 1.0,
    memory: Annotated[bool, typer.Option("--memory", help="Also: memory of a worker over 10,000 runs.")] = False,
    as_json: o.AsJson = False,
) -> int:
    """Simulations per second: one worker, a bare loop, two workers, ngspice -b; same decks, same run, same digits."""
    from app.benchmarks.simulator import bench_simulator, memory_of_a_worker
    from app.settings import read_settings
    from app.simulations import load_technologies
    from app.technologies._base import technologies

    load_technologies(read_settings().data_dir)
    chosen = o.names(technology)
    wanted = [technologies[name] for name in chosen or technologies]
    if chosen is None:
        wanted = [each for each in wanted if each.is_available]
    for each in wanted:
        each.require()
    report = bench_simulator(wanted, seconds=seconds, note=say)
    if memory:
        say("memory")
        report["memory"] = memory_of_a_worker(wanted[0])
    if as_json:
        write_document(report)
    else:
        _print_simulator(report)
    return DONE


def _print(report: dict[str, Any]) -> None:
    write_line(f"{report['model']}: {report['parameters']:,} parameters, {report['batch']} x {report['tokens']} tokens")
    write_line(f"{'':<36} {'tokens/CPU-s':>13} {'tokens/s':>10}")
    for timing in report["timings"]:
        note = f"  ({timing['note']})" if timing["note"] else ""
        write_line(f"{timing['name']:<36} {timing['tokens_per_cpu_s']:>13,.0f} {timing['tokens_per_s']:>10,.0f}{note}")
    for name, ratio in report["ratios"].items():
        write_line(f"{name}: {ratio}")


def _print_simulator(report: dict[str, Any]) -> None:
    write_line(f"{report['circuit']} on testbench {report['testbench']}; simulations per CPU-second")
    ways = ("one_worker", "bare_loop", "two_workers", "ngspice_b")
    heads = "".join(f"{way.replace('_', ' '):>13}" for way in ways)
    write_line(
        f"{'technology':<12} {'analysis':<11}{heads} {'ms/sizing':>10} {'pool/bare':>10} {'two/one':>8}  same digits"
    )
    for cell in report["cells"]:
        rates = "".join(
            f"{cell['ways'][way]['per_cpu_s']:>13,.1f}" if way in cell["ways"] else f"{'-':>13}" for way in ways
        )
        same = [cell["workers_and_loop_agree"], cell.get("ngspice_b_agrees", True)]
        write_line(
            f"{cell['technology']:<12} {cell['analysis']:<11}{rates} {cell['ways']['one_worker']['ms_cpu']:>10.2f} "
            f"{cell['pool_to_bare']:>10.3f} {cell['two_to_one']:>8.2f}  {'yes' if all(same) else 'NO'}"
        )
    if "memory" in report:
        about = report["memory"]
        write_line(
            f"memory of a worker in {about['technology']}: {about['first_bytes'] / 1e6:.1f} MB at first, "
            f"{about['last_bytes'] / 1e6:.1f} MB after {about['runs']:,} runs"
        )
