"""A training recipe: every number that shapes a trained model, read from one TOML file in data/recipes/."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from app.errors import InvalidRequest
from app.recipes import read_recipe_table
from app.resources import data_path
from app.split import HELD_OUT_SHARE


@dataclass(frozen=True)
class NetworkShape:
    """Sizes of the decoder, and whether queries and keys are normalised; the vocabulary comes from the language."""

    width: int = 256
    layers: int = 5
    heads: int = 4
    kv_heads: int = 4
    mlp_width: int = 704
    dropout: float = 0.1
    qk_norm: bool = False


@dataclass(frozen=True)
class Recipe:
    """One recipe. `tokens` counts real tokens seen, padding excluded; the learning rate warms up over
    `warmup_tokens`, stays, and falls linearly to zero over the last `decay_share` of the tokens.

    Sentences are drawn by label and by length, as `SentenceStream` says of `label_exponent` and `length_exponent`.
    `anywhere_share` of the sentences begin at any device, in a language that has one beginning to choose.

    `precision` is that of matrix products; bfloat16 is float32 on a processor that is slow at it.

    `packed` fills rows with whole sentences instead of padding rows of similar sentences. `compile` compiles the
    network, for which every batch is packed to one shape. `loaders` processes draw batches ahead, with no effect on
    them. `file` is where the recipe was read from.
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
    length_exponent: float = 0.0
    held_out_share: float = HELD_OUT_SHARE
    anywhere_share: float = 0.0
    seed: int = 1
    precision: str = "bfloat16"
    packed: bool = False
    compile: bool = False
    loaders: int = 0
    network: NetworkShape = field(default_factory=NetworkShape)
    file: str = field(default="", compare=False)

    def as_json(self) -> dict[str, Any]:
        """Plain numbers for the model's configuration file."""
        return asdict(self)


def read_recipe(kind: str, name_or_path: str = "cpu") -> Recipe:
    """The kind's recipe of that name (``cpu`` is data/recipes/KIND-cpu.toml), or of a file given by path.

    Raises:
        UnknownName: there is no such recipe.
        InvalidRequest: the file is not TOML, has an unknown key or value, lacks a key, or is of another kind.
    """
    own = f"{kind}-{name_or_path}"
    table, where = read_recipe_table(own if data_path("recipes", f"{own}.toml").is_file() else name_or_path)
    for key in ("kind", "name", "language", "tokens"):
        if key not in table:
            raise InvalidRequest(f"{where}: key {key!r} is missing")
    if table["kind"] != kind:
        raise InvalidRequest(f"{where} is a recipe for {table['kind']}, not for {kind}")
    network = table.pop("network", {})
    check_values(where, table, Recipe)
    check_values(where, network, NetworkShape)
    recipe = Recipe(**table, network=NetworkShape(**network), file=where)
    shape = recipe.network
    if shape.width % shape.heads or shape.heads % shape.kv_heads or shape.width // shape.heads % 2:
        raise InvalidRequest(
            f"{where}: a width of {shape.width} does not divide into {shape.heads} heads of even width, "
            f"or these into {shape.kv_heads} kv_heads"
        )
    if recipe.compile and not recipe.packed:
        raise InvalidRequest(f"{where}: compile = true needs packed = true, for padded batches differ in shape")
    return recipe


_TYPES = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}

#: Sizes and counts that must be 1 at least; other numbers may be 0.
_POSITIVE = (
    "tokens", "batch_tokens", "context", "ema_tokens", "width", "layers", "heads", "kv_heads", "mlp_width", "rows",
    "batch_rows", "circuit_rows", "ema_rows", "message_width",
)  # fmt: skip

#: Exponents that may be below 0, down to -1.
_SIGNED = ("length_exponent",)


def check_values(where: str, table: dict[str, Any], recipe: type[Any]) -> None:
    """Every key is one of the recipe's and has a value of its type and range, else InvalidRequest."""
    known = {f.name: str(f.type) for f in fields(recipe) if f.name != "file"}
    for key, value in table.items():
        if key not in known:
            raise InvalidRequest(f"{where}: unknown key {key!r}")
        if type(value) not in _TYPES[known[key]]:
            raise InvalidRequest(f"{where}: {key} = {value!r} is no {known[key]}")
        least = -1 if key in _SIGNED else int(key in _POSITIVE)
        if isinstance(value, int | float) and value < least:
            raise InvalidRequest(f"{where}: {key} = {value!r} is too small")
