"""A training recipe: every number that shapes a trained model, read from one TOML file in data/recipes/."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from app.errors import InvalidRequest
from app.recipes import read_recipe_table


@dataclass(frozen=True)
class NetworkShape:
    """Sizes of the decoder; the vocabulary comes from the language."""

    width: int = 256
    layers: int = 5
    heads: int = 4
    kv_heads: int = 4
    mlp_width: int = 704
    dropout: float = 0.1


@dataclass(frozen=True)
class Recipe:
    """One recipe. `tokens` counts real tokens seen, padding excluded; the learning rate warms up over
    `warmup_tokens`, stays, and falls linearly to zero over the last `decay_share` of the tokens.
    """

    kind: str
    name: str
    language: str
    tokens: int
    batch_tokens: int = 4096
    context: int = 1024
    learning_rate: float = 2e-3
    matrix_learning_rate: float = 0.0
    warmup_tokens: int = 500_000
    decay_share: float = 0.3
    weight_decay: float = 0.1
    gradient_clip: float = 1.0
    ema_tokens: int = 1_000_000
    label_exponent: float = 0.5
    held_out_share: float = 0.05
    seed: int = 1
    precision: str = "bfloat16"
    network: NetworkShape = field(default_factory=NetworkShape)

    def as_json(self) -> dict[str, Any]:
        """Plain numbers for the model's configuration file."""
        return asdict(self)


def read_recipe(kind: str, name_or_path: str | None = None) -> Recipe:
    """The recipe of that name in data/recipes/ (default: the kind's own), or of a file given by path.

    Raises:
        UnknownName: there is no such recipe.
        InvalidRequest: the file is not TOML, has an unknown key, lacks one, or is a recipe of another kind.
    """
    table, where = read_recipe_table(name_or_path or kind)
    network = table.pop("network", {})
    for keys, known in ((table, fields(Recipe)), (network, fields(NetworkShape))):
        for key in keys:
            if key not in {f.name for f in known}:
                raise InvalidRequest(f"{where}: unknown key {key!r}")
    for key in ("kind", "name", "language", "tokens"):
        if key not in table:
            raise InvalidRequest(f"{where}: key {key!r} is missing")
    recipe = Recipe(**table, network=NetworkShape(**network))
    if recipe.kind != kind:
        raise InvalidRequest(f"{where} is a recipe for {recipe.kind}, not for {kind}")
    return recipe
