"""Training the quantum generator: programs of the data set as sentences of the domain language, split by skeleton."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from app.quantum.corpus import CorpusProgram
from app.quantum.dataset import read_dataset
from app.quantum.program import QuantumProgram
from app.training.sentences import Example


def read_programs(source: Path | None) -> tuple[tuple[CorpusProgram, ...], str]:
    """The programs of the data set and a sentence on where they are from; rebuilt from mqt.bench and Qiskit without a
    source.
    """
    dataset = read_dataset(source)
    count = len(dataset.programs)
    if source is None:
        return dataset.programs, f"{count} programs rebuilt from mqt.bench and Qiskit"
    sources = ", ".join(f"{name} {programs}" for name, programs in dataset.report.sources.items())
    return dataset.programs, f"JSON Lines corpus, {count} of {dataset.report.read} programs ({sources})"


def examples(programs: Iterable[CorpusProgram]) -> list[Example[QuantumProgram]]:
    """Each program with its family; programs of one skeleton share a split class."""
    return [Example(entry.program, entry.family, entry.skeleton) for entry in programs]
