"""A bar on standard error for work that takes longer than two seconds, where someone is looking at it."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Work that is done by then shows no bar.
PATIENCE_S = 2.0


class ProgressBar:
    """Counts towards `total`. Shows nothing before `patience_s`, and nothing where standard error is no terminal.

    `tells_time` puts an estimate of the time that is left beside the count, where the notes have none.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        *,
        is_shown: bool | None = None,
        patience_s: float = PATIENCE_S,
        tells_time: bool = True,
    ) -> None:
        self._label = label
        self._total = total
        self.is_shown = sys.stderr.isatty() if is_shown is None else is_shown
        self._tells_time = tells_time
        self._patience_s = patience_s
        self._started = time.monotonic()
        self._done = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance_to(self, done: int, note: str = "", *, total: int | None = None) -> None:
        """`done` items are done, of `total` where that is only known now; `note` is shown beside the count."""
        self._done = done
        self._total = self._total if total is None else total
        if self._bar is None:
            if not self.is_shown or time.monotonic() - self._started < self._patience_s:
                return
            self._open()
        assert self._bar is not None
        assert self._task is not None
        self._bar.update(self._task, completed=done, total=self._total, note=note)

    def advance(self, note: str = "") -> None:
        """One more item is done."""
        self.advance_to(self._done + 1, note)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            *([TimeRemainingColumn()] if self._tells_time else []), TextColumn("{task.fields[note]}"),
            console=Console(file=sys.stderr, force_terminal=True), transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task(self._label, total=self._total, note="")
        self._bar.start()
