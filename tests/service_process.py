"""A service as a process of its own, over a FakeWorkshop. Arguments: data folder, seconds a row takes."""

from __future__ import annotations

import sys
from pathlib import Path

from app.errors import JosephsonError
from app.service.server import run_service
from app.settings import read_settings
from app.testing import FakeWorkshop


class MarkedWorkshop(FakeWorkshop):
    """Leaves a file when it is closed, so that a test sees the end was in order."""

    def __init__(self, mark: Path, delay_s: float) -> None:
        super().__init__(delay_s=delay_s)
        self._mark = mark

    async def aclose(self) -> None:
        """The mark is there."""
        self._mark.write_text("closed")


def main() -> int:
    """Serve until a signal; 1 and a sentence when that cannot be."""
    folder = Path(sys.argv[1])
    try:
        run_service(
            read_settings(data_dir=folder, port=0),
            lambda _: MarkedWorkshop(folder / "closed", float(sys.argv[2])),
        )
    except JosephsonError as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
