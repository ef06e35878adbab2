"""`josephson corpus analog|quantum`: training data read and repaired, or built from packages, as JSON Lines."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from app.cli import options as o
from app.cli.door import DONE, say, write_document

Target = Annotated[str | None, typer.Option("--output", "-o", help="Write the circuits here, one JSON object a line.")]


def add_to(app: typer.Typer) -> None:
    """The commands are on the command line."""
    group = typer.Typer(help="Read, repair and build training data.", no_args_is_help=True)
    group.command("analog")(analog)
    group.command("quantum")(quantum)
    app.add_typer(group, name="corpus")


def analog(
    context: typer.Context,
    source: Annotated[
        Path, typer.Option("--source", help="A clone of AnalogGenie's repository, or its JSON Lines form.")
    ],
    output: Target = None,
    as_json: o.AsJson = False,
) -> int:
    """Read the AnalogGenie data set, repair what can be repaired, and report what was done."""
    from app.analog.corpus import read_analoggenie
    from app.analog.spice import write_spice
    from app.cli.rows import opened_for_text

    corpus = read_analoggenie(source)
    if output is not None:
        with opened_for_text(output) as stream:
            for circuit in corpus.circuits:
                row = {
                    "id": circuit.id,
                    "type": circuit.type,
                    "source": circuit.source,
                    "netlist": write_spice(circuit.netlist),
                }
                stream.write(json.dumps(row) + "\n")
    if as_json:
        write_document({"circuits": len(corpus.circuits), "report": corpus.report.as_json()})
    else:
        say(corpus.report.as_text())
    return DONE


def quantum(
    context: typer.Context,
    source: Annotated[
        Path | None, typer.Option("--source", help="Read this JSON Lines file; else build from packages.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the programs that are built.")] = 0,
    output: Target = None,
    as_json: o.AsJson = False,
) -> int:
    """Read the quantum corpus, or build it from Qiskit and mqt.bench, and count it by family."""
    from app.cli.progress import ProgressBar
    from app.cli.rows import opened_for_text
    from app.quantum.corpus import build_corpus, read_jsonl
    from app.quantum.qasm import write_qasm2

    if source is not None:
        programs = read_jsonl(source)
    else:
        with ProgressBar("programs", None) as bar:
            programs = tuple(build_corpus(seed=seed, progress=lambda tried, total: bar.advance_to(tried, total=total)))
    if output is not None:
        with opened_for_text(output) as stream:
            for item in programs:
                row = {
                    "id": item.id, "family": item.family, "kind": item.kind, "source": item.source,
                    "regenerable": item.regenerable, "qasm": write_qasm2(item.program),
                }  # fmt: skip
                stream.write(json.dumps(row) + "\n")
    families = Counter(item.family for item in programs)
    if as_json:
        write_document({"programs": len(programs), "families": dict(sorted(families.items()))})
    else:
        counts = ", ".join(f"{family} {count}" for family, count in sorted(families.items()))
        say(f"{len(programs)} programs of {len(families)} families: {counts}")
    return DONE
