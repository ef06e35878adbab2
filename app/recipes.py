"""Recipes: TOML files in ``data/recipes/``, by name or by path. Knows nothing of what a recipe says."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from app.errors import InvalidRequest, UnknownName
from app.resources import data_path


def read_recipe_table(name_or_path: str) -> tuple[dict[str, Any], str]:
    """The table of the recipe of that name, or of a .toml file given by path; and what messages call it.

    Raises:
        UnknownName: there is no such recipe.
        InvalidRequest: the file is not TOML.
    """
    is_path = name_or_path.endswith(".toml")
    path = Path(name_or_path) if is_path else data_path("recipes", f"{name_or_path}.toml")
    if not path.is_file():
        raise UnknownName("recipe", name_or_path, [p.stem for p in data_path("recipes").glob("*.toml")])
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")), path.name
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path.name} is not TOML: {error}") from error
