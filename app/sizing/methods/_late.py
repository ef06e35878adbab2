"""Methods whose libraries take seconds to import: who asks for names and summaries does not wait for them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from app.sizing._base import OfflineModel, Proposer
from app.sizing.problem import SizingProblem


@dataclass(frozen=True)
class LateMethod:
    """A method whose `module` has its function ``begin``, and is imported when a run begins."""

    summary: str
    reference: str
    uses_model: bool
    module: str

    def begin(self, problem: SizingProblem, *, seed: int, budget: int, model: OfflineModel | None) -> Proposer:
        """See `SizingMethod.begin`; none of these looks at `budget`."""
        proposer: Proposer = importlib.import_module(self.module).begin(problem, seed=seed, model=model)
        return proposer
