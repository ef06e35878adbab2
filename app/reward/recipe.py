"""A recipe of learning by reward: every number that shapes it, read from one TOML file in data/recipes/."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from app.analog.kinds import CIRCUIT_TYPES
from app.errors import InvalidRequest
from app.recipes import read_recipe_table


@dataclass(frozen=True)
class RewardRecipe:
    """What every recipe has.

    Of every round `samples` circuits are drawn at `temperature` from the nucleus `top_p`, `bare_share` of them without
    the grammar, where a sentence that is no circuit earns nothing. The best `winner_share` of a group win, and winners
    of the last `kept_rounds` rounds make `winner_mix` of what the network trains on for `tokens` tokens, but come at
    most `most_repeats` times as often as training circuits of their label. A round that raises the held-out loss by
    more than `most_rise_nats` over where it began is taken back, and the learning rates halved.
    """

    kind: str
    name: str
    rounds: int = 3
    samples: int = 1_500
    temperature: float = 1.0
    top_p: float = 1.0
    bare_share: float = 0.0
    winner_share: float = 0.25
    kept_rounds: int = 3
    winner_mix: float = 0.5
    most_repeats: float = 1000.0
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
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class LadderRecipe(RewardRecipe):
    """A recipe for analog circuits, judged by the ladder of checks.

    A type is drawn as often as (its training circuits) ** `type_exponent`, and up to `max_devices` large. The bias
    search tries `bias_points` operating points. The function of circuits of `function_types` (every type, where there
    are none) is tried at `function_budget` sizings, from a conduction credit of `function_from` up; what the testbench
    `hold_out` finds is written down and not rewarded. A circuit nearer than `copy_similarity` to a training circuit
    earns nothing.
    """

    type_exponent: float = 0.0
    max_devices: int = 80
    bias_points: int = 16
    function_from: float = 0.5
    function_budget: int = 8
    function_types: tuple[str, ...] = ()
    hold_out: str = "comparator"
    copy_similarity: float = 0.95


@dataclass(frozen=True)
class OracleRecipe(RewardRecipe):
    """A recipe for quantum programs, judged by the oracles of their families and by likeness to real programs.

    A family is drawn as often as (its training programs) ** `family_exponent`, each time under the condition (qubits,
    bucket of its number of statements) of one of its training programs. Oracles are asked about programs on up to
    `oracle_qubits` qubits, and `judged_share` of the samples have conditions under which one judges, as long as there
    are any. A program less than `copy_distance` from a training program of its family and width earns nothing.
    """

    family_exponent: float = 0.5
    oracle_qubits: int = 10
    judged_share: float = 0.0
    copy_distance: float = 0.05


#: By the kind that a recipe file declares: what its keys are. The file of that name is taken where none is named.
RECIPES: dict[str, type[RewardRecipe]] = {"analog-reward": LadderRecipe, "quantum-reward": OracleRecipe}

#: Keys of a recipe that are shares, from 0 to 1.
_SHARES = (
    "top_p", "bare_share", "judged_share", "function_from", "copy_similarity", "copy_distance", "winner_share",
    "winner_mix", "decay_share",
)  # fmt: skip

#: Keys that must be above zero.
_POSITIVE = (
    "rounds", "samples", "temperature", "top_p", "max_devices", "bias_points", "function_budget", "oracle_qubits",
    "kept_rounds", "most_repeats", "tokens", "batch_tokens", "learning_rate", "ema_tokens",
)  # fmt: skip


def read_reward_recipe(kind: str, name_or_path: str | None = None) -> RewardRecipe:
    """The recipe of that name in data/recipes/ (the kind's own, where there is none), or of a file given by path.

    Raises:
        UnknownName: there is no such recipe.
        InvalidRequest: the file is not TOML, has an unknown key, lacks one, is a recipe of another kind, or a number
            is out of range.
    """
    of_kind = RECIPES[kind]
    table, where = read_recipe_table(name_or_path or kind)
    known = {entry.name for entry in fields(of_kind)}
    if table.get("kind") != kind:
        raise InvalidRequest(f"{where} is a recipe for {table.get('kind')}, not for {kind}")
    for key in table:
        if key not in known:
            raise InvalidRequest(f"{where}: unknown key {key!r}")
    if "name" not in table:
        raise InvalidRequest(f"{where}: key 'name' is missing")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return checked(of_kind(**values), where)


RecipeT = TypeVar("RecipeT", bound=RewardRecipe)


def checked(recipe: RecipeT, where: str) -> RecipeT:
    """The recipe as it is; InvalidRequest where a number is out of range."""
    for key in _SHARES:
        if not 0.0 <= getattr(recipe, key, 0.0) <= 1.0:
            raise InvalidRequest(f"{where}: {key} is {getattr(recipe, key)}, a share lies within 0..1")
    for key in _POSITIVE:
        if not getattr(recipe, key, 1) > 0:
            raise InvalidRequest(f"{where}: {key} is {getattr(recipe, key)}, it has to be above 0")
    for name in recipe.function_types if isinstance(recipe, LadderRecipe) else ():
        if name not in CIRCUIT_TYPES:
            raise InvalidRequest(f"{where}: function_types has {name!r}; known types: {', '.join(CIRCUIT_TYPES)}")
    return recipe
