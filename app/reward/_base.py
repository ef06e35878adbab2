"""What a reward is: it says what is asked for in a round, what is known of each circuit, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.reward.judge import FactsT, JudgedSample, RoundFigures, Sample
from app.training.sentences import Example


@dataclass(frozen=True)
class Wish:
    """What one item of a round is asked for as: its type or family, and the constraint in the model's language."""

    label: str
    constraint: Any


class Reward(Protocol[FactsT]):
    """What circuits of one `kind` earn. `facts` is called from many threads at once, the others from one."""

    @property
    def kind(self) -> str:
        """The kind of circuits, as models have it."""
        ...

    @property
    def facts_type(self) -> type[FactsT]:
        """Read from a journal by the names of its fields."""
        ...

    @property
    def figures_type(self) -> type[RoundFigures]:
        """Read from a state by the names of its fields."""
        ...

    def wishes(self, corpus: Sequence[Example[Any]]) -> list[Wish]:
        """What each item of a round is asked for as, the same in every round; `corpus` are the training circuits."""
        ...

    def facts(self, circuit: Any, wish: Wish) -> FactsT:
        """What is known of one circuit; blocks. Deterministic, but for trouble of a simulator, which is a fact too."""
        ...

    def no_circuit(self, index: int) -> FactsT:
        """The facts of a sentence of item `index` that is no circuit; its identity is like no other's."""
        ...

    def of_a_round(self, samples: Sequence[Sample[FactsT]], circuits: Sequence[Any]) -> list[FactsT]:
        """The facts of each sample with what only a whole round tells."""
        ...

    def worth(self, facts: FactsT) -> float:
        """0..1."""
        ...

    def figures(self, judged: Sequence[JudgedSample[FactsT]]) -> RoundFigures:
        """What a judged round came to."""
        ...
