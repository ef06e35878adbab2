"""The corpus that is built from packages, kept on disk once it is built: family by family, so that a build goes on.

A file is of one seed, of the versions of the packages, and of the code that builds.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from app.errors import CorpusMissing
from app.quantum.corpus import (
    CorpusProgram,
    Dropped,
    Reading,
    Sieve,
    build_family,
    count_tasks,
    known_families,
    read_rows,
)
from app.resources import user_data_dir

#: What the programs are made with: packages, and files below this folder.
_PACKAGES = ("qiskit", "mqt.bench")
_CODE = ("families/*.py", "corpus.py", "gates.py", "program.py", "qasm_writer.py", "qiskit_circuits.py", "skeleton.py")


def built_corpus(
    *,
    families: Sequence[str] | None = None,
    seed: int = 0,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Reading:
    """Every program that the builders make, from the cache where it is there; the rest is built and kept.

    Args:
        families: Names of `known_families`; all when absent.
        seed: Source of all randomness.
        folder: Of the cache; ``quantum_corpus`` in the user's data folder by default.
        progress: Called with the number of programs tried and the number to try.

    Raises:
        PackageMissing: A benchmark circuit is due and mqt.bench is not installed.
    """
    folder = (user_data_dir() / "quantum_corpus" if folder is None else folder) / f"{_code_key()}-{seed}"
    chosen = known_families() if families is None else tuple(families)
    counts = {family: count_tasks(family) for family in chosen}
    total, done = sum(counts.values()), 0
    readings = []
    for family, count in counts.items():
        file = folder / f"{family}.jsonl.gz"
        reading = _read(file)
        if reading is None:
            _write(file, _told(build_family(family, Sieve(), seed=seed), done, total, progress))
            reading = read_rows(file)
        readings.append(reading)
        done += count
        if progress is not None:
            progress(done, total)
    return Reading(
        tuple(program for reading in readings for program in reading.programs),
        tuple(dropped for reading in readings for dropped in reading.dropped),
    )


def _told(
    entries: Iterator[CorpusProgram | Dropped], done: int, total: int, progress: Callable[[int, int], None] | None
) -> Iterator[CorpusProgram | Dropped]:
    for tried, entry in enumerate(entries, done + 1):
        if progress is not None:
            progress(tried, total)
        yield entry


@cache
def _code_key() -> str:
    """Twelve digits that change with the packages and with the code."""
    key = hashlib.sha256()
    for package in _PACKAGES:
        try:
            key.update(f"{package} {version(package)}\n".encode())
        except PackageNotFoundError:
            key.update(f"no {package}\n".encode())
    for pattern in _CODE:
        for file in sorted(Path(__file__).parent.glob(pattern)):
            key.update(file.read_bytes())
    return key.hexdigest()[:12]


def _read(file: Path) -> Reading | None:
    """What the file holds; None where it is not there or damaged."""
    try:
        return read_rows(file)
    except CorpusMissing:
        return None


def _write(file: Path, entries: Iterator[CorpusProgram | Dropped]) -> None:
    """The file is there, whole, whatever happens meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".tmp", delete=False) as raw:
        try:
            with gzip.open(raw, "wt", encoding="utf-8") as lines:
                for entry in entries:
                    if isinstance(entry, CorpusProgram):
                        row = entry.as_row()
                    else:
                        row = {"id": entry.id, "family": entry.family, "dropped": entry.reason}
                    lines.write(json.dumps(row) + "\n")
            raw.close()
            os.replace(raw.name, file)
        except BaseException:
            Path(raw.name).unlink(missing_ok=True)
            raise
