"""A simulation recipe: what the data factory simulates and how much of it, read from one TOML file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from app.errors import InvalidRequest
from app.recipes import read_recipe_table
from app.sizes.draws import DrawMethod
from app.testbenches._base import ANALYSES

#: Of `Recipe.kind`; training recipes lie in the same folder.
KIND = "simulation"


@dataclass(frozen=True)
class TopologyChoice:
    """Which circuits are simulated.

    Every archetype is, where `archetypes` is true. Of the corpus and of the generated circuits, up to so many
    `candidates` are probed for each testbench, and the `corpus` and `generated` best of them kept.
    """

    archetypes: bool = True
    corpus: int = 0
    generated: int = 0
    candidates: int = 24
    max_devices: int = 30
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProbeChoice:
    """How a topology is tried before it is given rows, by its start and `draws` drawn sizings.

    It is dropped in a technology where fewer than `least_defined` of them have the metrics that the testbench asks of a
    working circuit, or where a sizing takes more than `most_ms` of processor time. `technology` is the first one tried.
    """

    technology: str = "generic180"
    draws: int = 6
    least_defined: float = 0.3
    most_ms: float = 1000.0


@dataclass(frozen=True)
class CornerChoice:
    """Shares and values of corners. The rows that are not nominal get corners drawn from these and every process."""

    nominal_share: float = 0.7
    supply_factors: tuple[float, ...] = (0.9, 1.0, 1.1)
    celsius: tuple[float, ...] = (-40.0, 27.0, 125.0)


@dataclass(frozen=True)
class TechnologyChoice:
    """`share` is the rows of a topology in this technology, relative to its testbench's `rows`.

    An `optional` technology that is not on the machine is left out with a note.
    """

    share: float = 1.0
    optional: bool = False


@dataclass(frozen=True)
class TestbenchChoice:
    """`rows` of every topology in a technology of share 1.

    `full_share` of them have every metric; the others those that need nothing costlier than the analysis `cheap`.
    `settings` replace the testbench's own conditions. An `optional` testbench that does not exist is left out with a
    note.
    """

    rows: int = 100
    full_share: float = 1.0
    cheap: str = "noise"
    settings: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    optional: bool = False


@dataclass(frozen=True)
class SimulationRecipe:
    """One recipe. `methods` are the shares of the ways to draw sizings.

    `rows_per_unit` sizings of one topology, testbench and technology are one unit of work at the nominal corner, and
    `rows_per_corner` at any other; `rows_per_part` rows go into one file of the store. `device_facts` keeps the
    operating point of every MOS. A sizing that takes longer than `timeout_s` by the clock is a row that says so.
    """

    name: str
    technologies: Mapping[str, TechnologyChoice]
    testbenches: Mapping[str, TestbenchChoice]
    kind: str = KIND
    seed: int = 1
    rows_per_unit: int = 32
    rows_per_corner: int = 16
    rows_per_part: int = 4096
    device_facts: bool = True
    timeout_s: float = 20.0
    topologies: TopologyChoice = field(default_factory=TopologyChoice)
    probe: ProbeChoice = field(default_factory=ProbeChoice)
    corners: CornerChoice = field(default_factory=CornerChoice)
    methods: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({"guided": 0.6, "log_uniform": 0.4}))

    def as_json(self) -> dict[str, Any]:
        """Plain values; `recipe_from_table` makes the same recipe of them."""
        whole = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("technologies", "testbenches"):
            whole[name] = {key: _plain(value) for key, value in whole[name].items()}
        for name in ("topologies", "probe", "corners"):
            whole[name] = _plain(whole[name])
        return {**whole, "methods": dict(self.methods)}


def _plain(choice: Any) -> dict[str, Any]:
    values = {f.name: getattr(choice, f.name) for f in fields(choice)}
    return {
        name: dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }


def read_simulation_recipe(name_or_path: str | None = None) -> SimulationRecipe:
    """The recipe of that name in data/recipes/ (``simulation`` by default), or of a .toml file given by path.

    Raises:
        UnknownName: there is no such recipe.
        InvalidRequest: the file is not TOML, is a recipe of another kind, or a value is not what its key takes.
    """
    table, where = read_recipe_table(name_or_path or KIND)
    return recipe_from_table(table, where)


def recipe_from_table(table: Mapping[str, Any], where: str) -> SimulationRecipe:
    """The recipe that a TOML table describes; `where` is what messages call it. Raises InvalidRequest."""
    if table.get("kind") != KIND:
        raise InvalidRequest(f"{where} is a recipe for {table.get('kind')!r}, not for {KIND!r}")
    values = dict(table)
    values["technologies"] = _choices(TechnologyChoice, values, "technologies", where)
    values["testbenches"] = _choices(TestbenchChoice, values, "testbenches", where)
    values["topologies"] = _choice(TopologyChoice, values.get("topologies", {}), f"{where}: topologies")
    values["probe"] = _choice(ProbeChoice, values.get("probe", {}), f"{where}: probe")
    values["corners"] = _choice(CornerChoice, values.get("corners", {}), f"{where}: corners")
    recipe = _choice(SimulationRecipe, values, where)
    for sentence in _faults(recipe):
        raise InvalidRequest(f"{where}: {sentence}")
    return recipe


Choice = TypeVar("Choice")

#: Annotation of a field -> the types of its values in TOML, and what they are called.
_WORDS: Mapping[str, tuple[tuple[type, ...], str]] = MappingProxyType(
    {
        "bool": ((bool,), "true or false"),
        "int": ((int,), "a whole number"),
        "float": ((int, float), "a number"),
        "str": ((str,), "text"),
    }
)


def _choices(kind: type[Choice], table: Mapping[str, Any], name: str, where: str) -> Mapping[str, Choice]:
    entries = table.get(name)
    if not isinstance(entries, Mapping) or not entries:
        raise InvalidRequest(f"{where}: [{name}.NAME] is missing; a recipe needs one at least")
    return MappingProxyType({key: _choice(kind, entry, f"{where}: {name}.{key}") for key, entry in entries.items()})


def _choice(kind: type[Choice], table: Any, where: str) -> Choice:
    """A dataclass from a table, each value of the type of its field."""
    if not isinstance(table, Mapping):
        raise InvalidRequest(f"{where} has to be a table")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]  # every Choice here is a dataclass
    values = {}
    for key, value in table.items():
        if key not in known:
            raise InvalidRequest(f"{where}: unknown key {key!r}; known: {', '.join(sorted(known))}")
        values[key] = _converted(str(known[key].type), value, f"{where}: {key}")
    try:
        return kind(**values)
    except TypeError as error:
        raise InvalidRequest(f"{where}: {str(error).rpartition('argument')[2].strip(': ')} is missing") from error


def _converted(annotation: str, value: Any, where: str) -> Any:
    """The value as its field takes it: a list becomes a tuple, a whole number a float. InvalidRequest otherwise."""
    item = annotation.removeprefix("tuple[").removesuffix(", ...]")
    if annotation.startswith("tuple["):
        if not isinstance(value, list | tuple):
            raise InvalidRequest(f"{where} has to be a list")
        return tuple(_converted(item, each, where) for each in value)
    if annotation == "Mapping[str, float]":
        if not isinstance(value, Mapping):
            raise InvalidRequest(f"{where} has to be a table of numbers")
        return MappingProxyType({str(key): _converted("float", each, f"{where}.{key}") for key, each in value.items()})
    if annotation not in _WORDS:
        return value
    types, words = _WORDS[annotation]
    if not isinstance(value, types) or (isinstance(value, bool) and annotation != "bool"):
        raise InvalidRequest(f"{where} is {value!r}, it has to be {words}")
    return float(value) if annotation == "float" and isinstance(value, int) else value


def _faults(recipe: SimulationRecipe) -> list[str]:
    """What is wrong with the numbers, as sentences without a place."""
    shares = {
        "corners.nominal_share": recipe.corners.nominal_share,
        "probe.least_defined": recipe.probe.least_defined,
        **{f"testbenches.{name}.full_share": choice.full_share for name, choice in recipe.testbenches.items()},
        **{f"methods.{name}": share for name, share in recipe.methods.items()},
    }
    wrong = [f"{name} is {share:g}, a share is 0 to 1" for name, share in shares.items() if not 0 <= share <= 1]
    if not math.isclose(sum(recipe.methods.values()), 1.0, abs_tol=1e-6):
        wrong.append(f"the shares of [methods] add up to {sum(recipe.methods.values()):g}, they have to be 1 together")
    positive = {
        "rows_per_unit": recipe.rows_per_unit,
        "rows_per_corner": recipe.rows_per_corner,
        "rows_per_part": recipe.rows_per_part,
        "timeout_s": recipe.timeout_s,
        **{f"testbenches.{name}.rows": choice.rows for name, choice in recipe.testbenches.items()},
        **{f"technologies.{name}.share": choice.share for name, choice in recipe.technologies.items()},
    }
    wrong += [f"{name} is {value:g}, it has to be above 0" for name, value in positive.items() if not value > 0]
    natural = {
        "seed": recipe.seed,
        "probe.draws": recipe.probe.draws,
        "topologies.candidates": recipe.topologies.candidates,
    }
    wrong += [f"{name} is {value}, it may not be below 0" for name, value in natural.items() if value < 0]
    if not recipe.corners.supply_factors or not recipe.corners.celsius:
        wrong.append("corners.supply_factors and corners.celsius need a value at least")
    for name, choice in recipe.testbenches.items():
        if choice.cheap not in ANALYSES:
            wrong.append(f"testbenches.{name}.cheap is {choice.cheap!r}, analyses are {', '.join(ANALYSES)}")
    for name in recipe.methods:
        if name not in get_args(DrawMethod):
            wrong.append(f"methods.{name} is no way to draw sizings; there are {', '.join(get_args(DrawMethod))}")
    first = recipe.technologies.get(recipe.probe.technology)
    if first is None or first.optional:
        wrong.append(f"probe.technology {recipe.probe.technology!r} has to be a technology of the recipe, not optional")
    return wrong
