"""How far a candidate of a design comes, and why no farther. Words alone, for all who make or read rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

#: What a candidate has reached, each including those before it. ``promising`` is what the neural simulator's first look
#: lets pass, whatever its whole search says later.
Reached = Literal["proposed", "legal", "conducting", "promising", "sized", "passing"]
REACHED: tuple[Reached, ...] = get_args(Reached)

#: Where a candidate fell out. ``not_tried`` says that enough others passed, or that the budget ended before its turn.
Stage = Literal["duplicate", "not_legal", "not_conducting", "not_promising", "not_tried", "not_met"]


@dataclass(frozen=True)
class FellOut:
    """A candidate that comes no farther; `why` is a sentence without a full stop."""

    stage: Stage
    why: str
