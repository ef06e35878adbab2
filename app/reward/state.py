"""What a run of learning by reward has come to so far, in its work folder; a kill leaves the last finished round."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from app.errors import InvalidRequest
from app.reward.journal import STATE_NAME, write_whole
from app.reward.judge import RoundFigures
from app.reward.recipe import RewardRecipe

#: Keys of a recipe that may change between the calls of one run.
_MAY_CHANGE = frozenset({"rounds"})


@dataclass(frozen=True)
class RoundOutcome:
    """A finished round: what its samples came to, and what learning from them did.

    `held_out_nats` is the held-out loss after learning, nats a token; None in the last round, which `measures_only`,
    and where nobody won. Weights that are not `kept` were taken back.
    """

    number: int
    figures: RoundFigures
    learning_rate: float
    held_out_nats: float | None = None
    kept: bool = False
    measures_only: bool = False

    def as_json(self) -> dict[str, Any]:
        """As in the state and in the model's configuration."""
        return asdict(self)


@dataclass
class RunState:
    """The state of one run in `folder`: `origin` names what it started from, `outcomes` are the finished rounds."""

    folder: Path
    origin: Mapping[str, Any]
    held_out_before: float
    outcomes: list[RoundOutcome] = field(default_factory=list)

    @property
    def learning_rate(self) -> float:
        """The next round's: the recipe's, halved by every round that was taken back."""
        rate: float = self.origin["recipe"]["learning_rate"]
        return rate * 0.5**self.refusals

    @property
    def refusals(self) -> int:
        """Rounds whose weights were taken back."""
        return sum(outcome.held_out_nats is not None and not outcome.kept for outcome in self.outcomes)

    @property
    def last_kept(self) -> int | None:
        """The round whose weights stand; None where they are those of the model it started from."""
        return next((outcome.number for outcome in reversed(self.outcomes) if outcome.kept), None)

    def save(self) -> None:
        """The file says so."""
        document = {
            **self.origin, "held_out_before": self.held_out_before,
            "rounds": [outcome.as_json() for outcome in self.outcomes],
        }  # fmt: skip
        write_whole(self.folder / STATE_NAME, json.dumps(document, indent=1) + "\n")


def origin(recipe: RewardRecipe, model: str, sha256: str, corpus: str) -> dict[str, Any]:
    """What a run is known by."""
    return {"recipe": recipe.as_json(), "model": model, "weights": sha256, "corpus": corpus}


def read_state(folder: Path, started: Mapping[str, Any], figures_type: type[RoundFigures]) -> RunState | None:
    """The state in the folder, None where there is none yet; rounds have figures of that type.

    Raises:
        InvalidRequest: it is the state of another run than one that `started` so, or cannot be read.
    """
    path = folder / STATE_NAME
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        before = document.pop("held_out_before")
        outcomes = [_outcome(row, figures_type) for row in document.pop("rounds")]
        differing = [*_differing(document, started)]
    except (ValueError, KeyError, TypeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise InvalidRequest(f"{path} is not the state of a run ({what}); begin anew in another folder") from error
    if differing:
        raise InvalidRequest(
            f"{folder} holds a run that started with another {', '.join(differing)}; repeat its command, or name "
            "another folder by --work"
        )
    return RunState(folder, started, before, outcomes)


def _differing(found: Mapping[str, Any], started: Mapping[str, Any]) -> list[str]:
    recipes = found["recipe"], started["recipe"]
    keys = sorted({*recipes[0], *recipes[1]} - _MAY_CHANGE)
    wrong = [key for key in ("model", "weights", "corpus") if found[key] != started[key]]
    return wrong + [key for key in keys if recipes[0].get(key) != recipes[1].get(key)]


def _outcome(row: dict[str, Any], figures_type: type[RoundFigures]) -> RoundOutcome:
    known = {entry.name for entry in fields(RoundOutcome)}
    return RoundOutcome(**{key: row[key] for key in known if key != "figures"}, figures=figures_type(**row["figures"]))
