"""pyarrow, loaded when a store is touched, and files that appear whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from app.errors import PackageMissing


def arrow() -> ModuleType:
    """The module pyarrow, with its compute and parquet. Raises PackageMissing."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError:
        raise PackageMissing("pyarrow", "the store of simulations", "train") from None
    module: ModuleType = pyarrow
    return module


def appear(path: Path, write: Callable[[Path], object]) -> None:
    """`write` has filled the file `path`, and disk holds it: after a crash it is there whole, or as it was before."""
    partial = path.with_name(path.name + ".partial")
    write(partial)
    with partial.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_table(path: Path, table: Any) -> None:
    """The table is the Parquet file `path`, compressed, with dictionaries; see `appear`."""
    parquet = arrow().parquet
    appear(path, lambda partial: parquet.write_table(table, partial, compression="zstd"))


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """The document is the file `path`; see `appear`."""
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    appear(path, lambda partial: partial.write_text(text, encoding="utf-8"))
