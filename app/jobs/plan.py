"""What is left to do of a job, and what a failure means for it. Pure: knows no executor, no ledger and no clock."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from app.jobs.chunks import Range, cut, ranges_of


@dataclass(frozen=True)
class Part:
    """Indices to be done together. `failures` counts attempts; it is not to be tried before `ready_at` (seconds)."""

    ranges: tuple[Range, ...]
    failures: int = 0
    ready_at: float = 0.0


@dataclass(frozen=True)
class RetryPolicy:
    """How often a part is tried as a whole, and the wait between attempts: ``backoff_s * 2**n``, with jitter."""

    tries: int = 3
    backoff_s: float = 0.2
    longest_backoff_s: float = 30.0

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after so many failures: exponential, between half and all of it, bounded."""
        whole = min(self.longest_backoff_s, self.backoff_s * 2.0 ** min(failures - 1, 30))
        return whole * random.uniform(0.5, 1.0)

    def after_failure(self, part: Part, missing: Collection[int], now: float) -> tuple[Part, ...]:
        """The parts to try next when `missing` indices of `part` have no row; none when the single one left is poison.

        A part is tried `tries` times as a whole; then its halves are tried once each, and so on down to single
        indices, which have two attempts alone, so that a good one is not condemned for the company it kept. Every
        attempt waits, so that a short illness of the machinery (seconds) is over before single indices are blamed.
        """
        failures = part.failures + 1
        ready_at = now + self.delay_s(failures)
        two_tries_left = max(0, self.tries - 2)
        if len(missing) == 1 and sum(stop - start for start, stop in part.ranges) > 1:
            return (Part(ranges_of(missing), min(failures, two_tries_left), ready_at),)
        if failures < self.tries:
            return (Part(ranges_of(missing), failures, ready_at),)
        if len(missing) == 1:
            return ()
        ordered = sorted(missing)
        middle = len(ordered) // 2
        halves = (ordered[:middle], ordered[middle:])
        return tuple(
            Part(ranges_of(half), max(0, self.tries - 1) if len(half) > 1 else two_tries_left, ready_at)
            for half in halves
        )


class Plan:
    """Parts of one job that nobody is doing: those never tried, and those to be tried again."""

    def __init__(self, missing: tuple[Range, ...], size: int) -> None:
        self._fresh = deque(Part(ranges) for ranges in cut(missing, size))
        self._again: list[Part] = []

    def __len__(self) -> int:
        return len(self._fresh) + len(self._again)

    def ready_at(self) -> float | None:
        """When the next part may be taken (0 for at once); None when there is none."""
        if self._fresh:
            return 0.0
        return min((part.ready_at for part in self._again), default=None)

    def take(self, now: float) -> Part:
        """The next part, which is no longer here: one whose wait is over, else a fresh one; IndexError when none is."""
        for part in self._again:
            if part.ready_at <= now:
                self._again.remove(part)
                return part
        return self._fresh.popleft()

    def put_back(self, part: Part) -> None:
        """The part will be taken once its wait is over."""
        self._again.append(part)

    def clear(self) -> None:
        """Nothing is left to do."""
        self._fresh.clear()
        self._again.clear()
