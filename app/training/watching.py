"""What a person sees of a training run, and how they stop it: a line now and then, and signals that end it in order."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Self

from app.training.loop import Progress

#: Between two lines where nobody looks at a bar.
LINE_EVERY_S = 30.0


def told_time(seconds: float) -> str:
    """A duration as a person says it: seconds below two minutes, minutes below two hours, hours and minutes beyond."""
    if math.isnan(seconds) or math.isinf(seconds):
        return "unknown time"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def note(at: Progress) -> str:
    """Speed, losses and what is left, in words."""
    return (
        f"{at.per_s:,.0f} {at.unit}/s, loss {at.loss:.3f}, held out {at.held_out:.3f} {at.loss_unit}, "
        f"{told_time(at.left_s)} left"
    )


class Lines:
    """Writes a line on standard error at most every `every_s`, the first one at once."""

    def __init__(self, every_s: float = LINE_EVERY_S) -> None:
        self._every_s = every_s
        self._last = -math.inf

    def __call__(self, at: Progress) -> None:
        """`at` is told if it is time."""
        now = time.monotonic()
        if now - self._last >= self._every_s:
            self._last = now
            sys.stderr.write(f"{at.done:,} of {at.total:,} {at.unit}: {note(at)}\n")
            sys.stderr.flush()


class StopSignals:
    """While it is entered, the first Ctrl-C or SIGTERM is remembered instead of obeyed; the next one is obeyed.

    Away from the main thread, where Python handles no signals, it remembers nothing.
    """

    _NAMES = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[signal.Signals, object] = {}

    def __call__(self) -> bool:
        """Whether a signal was received."""
        return self.received is not None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {name: signal.signal(name, self._remember) for name in self._NAMES}
        return self

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for name, handler in self._before.items():
            signal.signal(name, handler)  # type: ignore[arg-type]  # what signal.signal gave back
        self._before = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
