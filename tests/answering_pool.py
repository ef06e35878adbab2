"""A pool of workers that has its answer already, for tests of what is made of an answer. Starts no process."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from app.simulators.operating_point import OperatingPointSimulator
from app.simulators.processes import ProcessLimits, WorkerPool
from app.technologies._base import technologies
from app.validators._base import ValidationTools


class AnsweringPool(WorkerPool):
    """Gives one answer, whatever it is asked; where that is None every request is stopped before it has one."""

    def __init__(self, answer: Mapping[str, Any] | None) -> None:
        super().__init__("accident_worker", size=1, timeout_s=1, recycle_after=1, limits=ProcessLimits())
        self._answer = answer

    def submit(
        self, request: Mapping[str, Any], *, in_background: bool = False, timeout_s: float | None = None
    ) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()
        if self._answer is None:
            future.cancel()
        else:
            future.set_result(dict(self._answer))
        return future


def tools_with(answer: Mapping[str, Any]) -> ValidationTools:
    """A simulator of generic180 over a pool that answers so."""
    return ValidationTools(OperatingPointSimulator(AnsweringPool(answer), technologies["generic180"]))
