"""Files of extracted tables: whole or not there, and the last used ones are kept."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Files that stay in a folder: callers may name any temperature.
MOST_FILES = 200


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, Array] | None:
    """The arrays of a file by name; None where it is not there, damaged, or lacks one."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in names}
        path.touch()  # the last used files are kept
        return found
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """The file is there, whole, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            np.savez(file, allow_pickle=False, **arrays)
            file.close()
            os.replace(file.name, path)
            _forget_oldest(path.parent)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _forget_oldest(folder: Path) -> None:
    """Not more than `MOST_FILES` are left, the last used ones."""
    files = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime)
    for path in files[:-MOST_FILES]:
        path.unlink(missing_ok=True)
