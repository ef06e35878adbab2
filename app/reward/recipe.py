"""A recipe of learning by reward: every number that shapes it, read from one TOML file in data/recipes/."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from app.analog.kinds import CIRCUIT_TYPES
from app.errors import InvalidRequest
from app.recipes import read_recipe_table

#: The recipe that is taken where none is named, and the kind that such a file declares.
DEFAULT_RECIPE = "analog-reward"
KIND = "analog-reward"


@dataclass(frozen=True)
class RewardRecipe:
    """One recipe.

    Of every round `samples` circuits are drawn at `temperature`, a type as often as (its training circuits) **
    `type_exponent`, and up to `max_devices` large; `bare_share` of them without the grammar, where a sentence that is
    no circuit earns nothing. The bias search tries `bias_points` operating points. The function of circuits of
    `function_types` (every type, where there are none) is tried at `function_budget` sizings, from a conduction credit
    of `function_from` up; what the testbench `hold_out` finds is written down and not rewarded. A circuit nearer than
    `copy_similarity` to a training circuit earns nothing. The best `winner_share` of a group win, and winners of the
    last `kept_rounds` rounds make `winner_mix` of what the network trains on for `tokens` tokens. A round that raises
    the held-out loss by more than `most_rise_nats` over where it began is taken back, and the learning rates halved.
    """

    kind: str
    name: str
    rounds: int = 3
    samples: int = 1_500
    temperature: float = 1.0
    type_exponent: float = 0.0
    max_devices: int = 80
    bare_share: float = 0.0
    bias_points: int = 16
    function_from: float = 0.5
    function_budget: int = 8
    function_types: tuple[str, ...] = ()
    hold_out: str = "comparator"
    copy_similarity: float = 0.95
    winner_share: float = 0.25
    kept_rounds: int = 3
    winner_mix: float = 0.5
    tokens: int = 150_000
    batch_tokens: int = 4096
    learning_rate: float = 3e-4
    matrix_learning_rate: float = 0.0
    warmup_tokens: int = 15_000
    decay_share: float = 0.5
    ema_tokens: int = 40_000
    most_rise_nats: float = 0.03
    seed: int = 1
    precision: str = "bfloat16"

    def as_json(self) -> dict[str, Any]:
        """Plain numbers for the model's configuration file."""
        return {**asdict(self), "function_types": list(self.function_types)}


#: Keys of a recipe that are shares, from 0 to 1.
_SHARES = ("bare_share", "function_from", "copy_similarity", "winner_share", "winner_mix", "decay_share")

#: Keys that must be above zero.
_POSITIVE = (
    "rounds", "samples", "temperature", "max_devices", "bias_points", "function_budget", "kept_rounds", "tokens",
    "batch_tokens", "learning_rate", "ema_tokens",
)  # fmt: skip


def read_reward_recipe(name_or_path: str | None = None) -> RewardRecipe:
    """The recipe of that name in data/recipes/ (default: `DEFAULT_RECIPE`), or of a file given by path.

    Raises:
        UnknownName: there is no such recipe.
        InvalidRequest: the file is not TOML, has an unknown key, lacks one, is a recipe of another kind, or a number
            is out of range.
    """
    table, where = read_recipe_table(name_or_path or DEFAULT_RECIPE)
    known = {entry.name for entry in fields(RewardRecipe)}
    if table.get("kind") != KIND:
        raise InvalidRequest(f"{where} is a recipe for {table.get('kind')}, not for {KIND}")
    for key in table:
        if key not in known:
            raise InvalidRequest(f"{where}: unknown key {key!r}")
    if "name" not in table:
        raise InvalidRequest(f"{where}: key 'name' is missing")
    table["function_types"] = tuple(table.get("function_types", ()))
    return checked(RewardRecipe(**table), where)


def checked(recipe: RewardRecipe, where: str) -> RewardRecipe:
    """The recipe as it is; InvalidRequest where a number is out of range."""
    for key in _SHARES:
        if not 0.0 <= getattr(recipe, key) <= 1.0:
            raise InvalidRequest(f"{where}: {key} is {getattr(recipe, key)}, a share lies within 0..1")
    for key in _POSITIVE:
        if not getattr(recipe, key) > 0:
            raise InvalidRequest(f"{where}: {key} is {getattr(recipe, key)}, it has to be above 0")
    for name in recipe.function_types:
        if name not in CIRCUIT_TYPES:
            raise InvalidRequest(f"{where}: function_types has {name!r}; known types: {', '.join(CIRCUIT_TYPES)}")
    return recipe
