"""How much processor time work takes on one thread. Knows no work."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def least_cpu_s(work: Callable[[], object], rounds: int) -> float:
    """CPU seconds of the quickest of so many rounds, the first of which warms up; torch has one thread meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return min(_cpu_s(work) for _ in range(rounds))
    finally:
        torch.set_num_threads(threads)


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
