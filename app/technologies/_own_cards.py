"""The project's own cards: nominal models with what each process corner changes, and what other technologies borrow."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from app.errors import Unavailable
from app.resources import data_path
from app.technologies._base import DeviceModels, MosModel, Technology
from app.technologies._blocks import with_blocks
from app.technologies._library import ModelLibrary

#: Kinds that the cards of a MOS process may lack, and the type of their ``.model``.
JUNCTION_TYPES: Mapping[str, str] = MappingProxyType({"npn": "npn", "pnp": "pnp", "diode": "d"})

#: The technology whose junction devices others borrow.
LENDER = "generic180"


def own_models(technology: Technology, process: str) -> DeviceModels:
    """The models of a technology whose cards ship in `data/technologies/`, at one of the corners of its corners.toml.

    Raises Unavailable where the files are gone.
    """
    name = technology.name
    library, corners = _own_library(name), _own_corners(name)
    speeds = corners["corners"][process]
    mos = {
        kind: library.mos_model(
            kind, f"{name}_{kind}", f"{name}_{kind}", corners[speeds[kind]][kind] if kind in speeds else {}
        )
        for kind in ("nmos", "pmos")
    }
    return complete_models(technology, process, mos, lender=name)


def complete_models(
    technology: Technology, process: str, mos: Mapping[str, MosModel], *, lender: str = LENDER
) -> DeviceModels:
    """Models of every kind: the transistors, junction devices of the lender's cards, blocks of the transistors."""
    names = {kind: f"{technology.name}_{kind}" for kind in JUNCTION_TYPES}
    cards = {
        name: _own_library(lender).plain_card(f"{lender}_{kind}", name, JUNCTION_TYPES[kind])
        for kind, name in names.items()
    }
    models = DeviceModels(process, MappingProxyType(dict(mos)), MappingProxyType(cards), MappingProxyType(dict(names)))
    return with_blocks(
        models,
        technology.name,
        length_m=technology.length_min_m,
        width_min_m=technology.width_min_m,
        width_max_m=technology.width_max_m,
    )


@cache
def _own_library(name: str) -> ModelLibrary:
    try:
        return ModelLibrary(data_path("technologies", name)).read("models.spice")
    except Unavailable as error:
        raise _gone(name, error) from None


@cache
def _own_corners(name: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(data_path("technologies", name, "corners.toml").read_text(encoding="ascii"))
    except OSError as error:
        raise _gone(name, error) from None


def _gone(name: str, error: Exception) -> Unavailable:
    return Unavailable(f"the device models of technology {name!r} cannot be read ({error}); install Josephson again")
