"""Which sizing runs are compared, and what became of one. Knows neither simulator nor report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.benchmarks.sizing_cases import SizingCase
from app.evaluation.notes import Key


@dataclass(frozen=True)
class SizingPlan:
    """Every method on every case under the seeds from 0 on, each with so many simulations at most."""

    cases: tuple[SizingCase, ...]
    methods: tuple[str, ...]
    seeds: int = 20
    simulations: int = 100

    def pairs(self) -> Iterator[tuple[int, SizingCase]]:
        """Seeds and cases in the order in which they are run: what has been done so far has all cases alike."""
        for seed in range(self.seeds):
            for case in self.cases:
                yield seed, case

    def key(self, case: SizingCase, seed: int) -> Key:
        """What tells the run of a case and seed from a method's others; a case that was made anew is another one."""
        return key_of(case.name, case.digest, seed, self.simulations)


@dataclass(frozen=True)
class Attempt:
    """What one method made of one case under one seed.

    `simulations` are all that were spent: at corners, and at every corner once more to verify the result. `score` is
    the best point's figure of merit. `model_cpu_s` is what this process spent, on the method and its offline model. A
    run that `failed` says by what.
    """

    case: str
    digest: str
    method: str
    seed: int
    budget: int
    is_met: bool
    simulations: int
    offline_simulations: int
    score: float | None
    simulator_cpu_s: float
    model_cpu_s: float
    failed: str | None = None

    @property
    def key(self) -> Key:
        """See `SizingPlan.key`."""
        return key_of(self.case, self.digest, self.seed, self.budget)

    @property
    def told(self) -> str:
        """What became of it, in a line."""
        end = self.failed or (f"met after {self.simulations}" if self.is_met else f"not met ({self.score})")
        return f"{self.case}, {self.method}, seed {self.seed}: {end}"

    def as_json(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Attempt:
        """What `as_json` wrote."""
        return cls(**fields)


def key_of(case: str, digest: str, seed: int, budget: int) -> Key:
    """See `SizingPlan.key`."""
    return f"{case} {digest}", seed, budget
