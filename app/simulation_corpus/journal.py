"""Files of JSON lines that lose nothing when the process is killed: each line is handed to the system at once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from app.errors import Unavailable


class Journal:
    """Appends to the file `path`; a last line that a kill cut short is cut off first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("a+b", buffering=0)
        self._stream.truncate(_whole_length(path))

    def add(self, entry: Mapping[str, Any]) -> None:
        """The entry is the file's last line. Raises Unavailable where the disk takes no more."""
        line = memoryview(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        try:
            while line:
                line = line[self._stream.write(line) :]
        except OSError as error:
            raise Unavailable(
                f"{self.path} cannot be written: {error.strerror}; what was written before is safe, "
                "make room and run the same command again"
            ) from error

    def close(self) -> None:
        """Nothing more is added."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a journal, none where there is no file; a last line without an end is none."""
    if path.is_file():
        with path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    yield json.loads(line)


def _whole_length(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        while size:
            begin = max(0, size - 65536)
            stream.seek(begin)
            found = stream.read(size - begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1
            size = begin
    return 0
