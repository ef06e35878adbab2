"""Technologies that someone adds on this machine: their cards read by a whitelist, checked, kept as our own copy.

A technology is a folder with `technology.json` and, for each process corner, one file of numeric cards that this
project wrote; nothing of a stranger's text is kept. Doors call `load_added`; importing this does nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from app.errors import Conflict, InvalidRequest, JosephsonError, NotFound
from app.registry import Registry
from app.resources import user_data_dir
from app.technologies._base import PASSIVE_SIZES, DeviceModels, MosModel, Technology, technologies
from app.technologies._gmid import KINDS, GmIdTables, SimulatorPool, gmid_tables
from app.technologies._library import ModelLibrary, library_text, read_cards
from app.technologies._own_cards import JUNCTION_TYPES, complete_models
from app.technologies._registration import require_registration

#: Of a technology's folder; folders of another format are not read.
FORMAT = 1

#: The corner that the cards given without a name are for.
NOMINAL = "nominal"

_NAME = re.compile(r"[a-z][a-z0-9_]{1,30}")
_DOCUMENT = "technology.json"
_BIAS_A = 10e-6
_INDUCTOR_OHM = 0.5
_NUMBERS = (
    "supply_v", "celsius", "length_min_m", "length_max_m", "width_min_m", "width_max_m", "gate_bias_v", "base_bias_v",
    "bias_a", "inductor_ohm", "pmos_gate_bias_v",
)  # fmt: skip
_WORDS = ("name", "summary", "licence", "source")

#: Where default sizes lie: a moderate inversion level, and a length at which the gain is no longer the poorest.
_DEFAULT_GM_OVER_ID = 15.0
_DEFAULT_LENGTHS = 3.0


@dataclass(frozen=True, kw_only=True)
class NewTechnology:
    """What someone says of a technology they add. Quantities are SI; what is None is derived.

    `cards` are the files of the nominal corner, each of `corners` those of another one, whole in itself. `nmos` and
    `pmos` are names in them: of a ``.model``, of bins (``name.1``), or of a sub-circuit around one transistor.
    """

    name: str
    cards: tuple[Path, ...]
    nmos: str
    pmos: str
    supply_v: float
    length_min_m: float
    length_max_m: float | None = None
    width_min_m: float | None = None
    width_max_m: float | None = None
    celsius: float = 27.0
    corners: Mapping[str, tuple[Path, ...]] = field(default_factory=lambda: MappingProxyType({}))
    summary: str = ""
    licence: str = "not stated"


def added_folder() -> Path:
    """Where added technologies are kept: ``technologies`` in the user's data folder."""
    return user_data_dir() / "technologies"


def add_technology(
    new: NewTechnology,
    pool: SimulatorPool,
    folder: Path | None = None,
    registry: Registry[Technology] = technologies,
) -> Technology:
    """The technology, checked by `require_registration`, is kept in `folder` and registered; returns it.

    Its default sizes and gate biases are those of `with_defaults`.

    Raises:
        InvalidRequest: a name or number that cannot be used, or transistors that fail the registration check.
        Conflict: a technology of that name is there.
        SpiceSyntaxError: a line of a card is not understood.
        Unavailable: a file cannot be read.
        SimulatorFailure: the simulator could not be asked.
    """
    folder = added_folder() if folder is None else folder
    _check(new)
    if new.name in registry or (folder / new.name).exists():
        raise Conflict(f"a technology named {new.name!r} is already there; choose another name or remove it first")
    files = {NOMINAL: new.cards, **new.corners}
    compiled = {process: _compile(new, paths) for process, paths in files.items()}
    technology = _provisional(new, compiled)
    require_registration(technology, pool)
    technology = with_defaults(technology, gmid_tables(technology, pool, folder=folder.parent / "gmid"))
    _store(folder, technology, compiled)
    kept = _stored(folder / new.name)
    registry.add(new.name, kept)
    return kept


def load_added(folder: Path | None = None, registry: Registry[Technology] = technologies) -> tuple[str, ...]:
    """Every technology kept in `folder` is registered; returns a sentence for each that cannot be used.

    Those that are registered already stay as they are, so calling it twice does no harm.
    """
    folder = added_folder() if folder is None else folder
    problems = []
    for path in sorted(folder.glob(f"*/{_DOCUMENT}")):
        name = path.parent.name
        if name in registry:
            if not registry[name].is_added:
                problems.append(f"the added technology {name!r} has the name of a built-in one and is left out")
            continue
        try:
            registry.add(name, _stored(path.parent))
        except JosephsonError as error:
            problems.append(f"the added technology {name!r} is left out: {error}")
    return tuple(problems)


def remove_technology(name: str, folder: Path | None = None, registry: Registry[Technology] = technologies) -> None:
    """The added technology's folder is gone, and its entry.

    Raises:
        NotFound: no technology of that name was added.
        Conflict: it is a built-in one.
    """
    folder = added_folder() if folder is None else folder
    if name in registry and not registry[name].is_added:
        raise Conflict(f"technology {name!r} is a built-in one and stays; only added technologies can be removed")
    if not _NAME.fullmatch(name) or not (folder / name / _DOCUMENT).is_file():
        raise NotFound("added technology", name)
    leaving = Path(tempfile.mkdtemp(dir=folder, prefix=".removed-"))
    os.replace(folder / name, leaving / name)
    shutil.rmtree(leaving)
    if name in registry:
        registry.remove(name)


def _check(new: NewTechnology) -> None:
    """What was said is possible; InvalidRequest otherwise."""
    for name in (new.name, *new.corners):
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                f"{name[:60]!r} cannot be a name here: lower-case letters, digits and underscores, 2 to 31 of them, "
                "a letter first"
            )
    if NOMINAL in new.corners:
        raise InvalidRequest(f"corner {NOMINAL!r} is that of the cards given without a corner; name another one")
    if not new.cards:
        raise InvalidRequest("a technology needs at least one file of cards")
    for what, value, low, high in (
        ("the supply in volts", new.supply_v, 0.2, 50.0),
        ("the temperature in degrees Celsius", new.celsius, -150.0, 300.0),
        ("the shortest length in metres", new.length_min_m, 1e-9, 1e-3),
        ("the longest length in metres", new.length_max_m, new.length_min_m, 1e-2),
        ("the smallest width in metres", new.width_min_m, 1e-9, 1e-2),
        ("the largest width in metres", new.width_max_m, new.width_min_m or 1e-9, 1e-1),
    ):
        if value is not None and not low <= value <= high:
            raise InvalidRequest(f"{what} is {value:g}; it has to lie between {low:g} and {high:g}")


def _compile(new: NewTechnology, paths: tuple[Path, ...]) -> dict[str, MosModel]:
    library = ModelLibrary()
    for path in paths:
        library.add_text(path.name, read_cards(path))
    return {
        kind: library.mos_model(kind, model, f"{new.name}_{kind}")
        for kind, model in (("nmos", new.nmos), ("pmos", new.pmos))
    }


def _provisional(new: NewTechnology, compiled: Mapping[str, Mapping[str, MosModel]]) -> Technology:
    """The technology before its default sizes are known; they are as good as any within the limits."""

    def load(technology: Technology, process: str) -> DeviceModels:
        return complete_models(technology, process, compiled[process])

    models = [model for mos in compiled.values() for model in mos.values()]
    longest = min(max(bin.length_m[1] for bin in model.bins) for model in models)
    widest = min(max(bin.width_m[1] for bin in model.bins) for model in models)
    narrowest = max(min(bin.width_m[0] for bin in model.bins) for model in models)
    length_max = new.length_max_m or _rounded(min(100 * new.length_min_m, longest))
    width_min = new.width_min_m or _rounded(max(2 * new.length_min_m, narrowest))
    width_max = new.width_max_m or _rounded(min(1000 * width_min, widest))
    digest = hashlib.sha256(b"\0".join(read_cards(path).encode() for path in new.cards)).hexdigest()[:16]
    sizes = {kind: {"width_m": width_min, "length_m": new.length_min_m} for kind in KINDS}
    return Technology(
        name=new.name,
        summary=new.summary or f"added on this machine: {new.nmos} and {new.pmos} at {new.supply_v:g} V",
        licence=new.licence,
        source=f"{', '.join(path.name for path in new.cards)} (SHA-256 {digest}...)",
        processes=(NOMINAL, *new.corners),
        load=load,
        supply_v=new.supply_v,
        celsius=new.celsius,
        length_min_m=new.length_min_m,
        length_max_m=length_max,
        width_min_m=width_min,
        width_max_m=width_max,
        sizes=MappingProxyType({**sizes, **PASSIVE_SIZES}),
        gate_bias_v=new.supply_v / 2,
        base_bias_v=min(0.75, 0.9 * new.supply_v),
        bias_a=_BIAS_A,
        inductor_ohm=_INDUCTOR_OHM,
        borrowed=tuple(JUNCTION_TYPES),
        is_added=True,
    )


def with_defaults(technology: Technology, tables: GmIdTables) -> Technology:
    """The technology with default sizes and gate biases read off its gm/Id tables.

    Each kind is three times as long as the shortest and carries `bias_a` at gm/Id of 15 /V, half the supply between
    drain and source, or as near to that as its widths allow.
    """
    length = _two_digits(min(_DEFAULT_LENGTHS * technology.length_min_m, technology.length_max_m))
    vds_v = technology.supply_v / 2
    sizes, gates = {}, {}
    for kind in KINDS:
        gates[kind] = round(tables.vgs_for(kind, _DEFAULT_GM_OVER_ID, length, vds_v), 2)
        density = tables.at_gate(kind, gates[kind], length, vds_v).id_per_width_a_per_m
        width = min(max(technology.bias_a / density, technology.width_min_m), technology.width_max_m)
        sizes[kind] = {"width_m": _two_digits(width), "length_m": length}
    return replace(
        technology,
        sizes=MappingProxyType({**sizes, **PASSIVE_SIZES}),
        gate_bias_v=gates["nmos"],
        pmos_gate_bias_v=gates["pmos"],
    )


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _store(folder: Path, technology: Technology, compiled: Mapping[str, Mapping[str, MosModel]]) -> None:
    """The technology's folder is there, whole; a failure on the way leaves none."""
    folder.mkdir(parents=True, exist_ok=True)
    growing = Path(tempfile.mkdtemp(dir=folder, prefix=".new-"))
    try:
        for process, mos in compiled.items():
            (growing / f"{process}.spice").write_text(library_text(mos), encoding="ascii")
        document: dict[str, Any] = {"format": FORMAT, "processes": technology.processes}
        document |= {word: getattr(technology, word) for word in (*_WORDS, *_NUMBERS)}
        document["sizes"] = {kind: dict(sizes) for kind, sizes in technology.sizes.items()}
        (growing / _DOCUMENT).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        os.replace(growing, folder / technology.name)
    except BaseException:
        shutil.rmtree(growing, ignore_errors=True)
        raise


def _stored(folder: Path) -> Technology:
    """The technology of a folder; InvalidRequest where the folder is not what `_store` makes."""

    def load(technology: Technology, process: str) -> DeviceModels:
        path = folder / f"{process}.spice"
        library = ModelLibrary().add_text(path.name, read_cards(path))
        mos = {kind: library.mos_model(kind, f"{folder.name}_{kind}", f"{folder.name}_{kind}") for kind in KINDS}
        return complete_models(technology, process, mos)

    try:
        document = json.loads((folder / _DOCUMENT).read_text(encoding="utf-8"))
        if document["format"] != FORMAT or document["name"] != folder.name:
            raise ValueError("it is of another format or name")
        numbers = {name: float(document[name]) for name in _NUMBERS}
        sizes = {
            kind: {name: float(value) for name, value in values.items()} for kind, values in document["sizes"].items()
        }
        if not all(map(math.isfinite, (*numbers.values(), *(v for values in sizes.values() for v in values.values())))):
            raise ValueError("a number is not finite")
        processes = tuple(document["processes"])
        if not processes or not all(_NAME.fullmatch(process) for process in processes):
            raise ValueError("its process corners have no proper names")
        return Technology(
            name=folder.name,
            summary=str(document["summary"]),
            licence=str(document["licence"]),
            source=str(document["source"]),
            processes=processes,
            load=load,
            supply_v=numbers["supply_v"],
            celsius=numbers["celsius"],
            length_min_m=numbers["length_min_m"],
            length_max_m=numbers["length_max_m"],
            width_min_m=numbers["width_min_m"],
            width_max_m=numbers["width_max_m"],
            sizes=MappingProxyType(sizes),
            gate_bias_v=numbers["gate_bias_v"],
            base_bias_v=numbers["base_bias_v"],
            bias_a=numbers["bias_a"],
            inductor_ohm=numbers["inductor_ohm"],
            pmos_gate_bias_v=numbers["pmos_gate_bias_v"],
            borrowed=tuple(JUNCTION_TYPES),
            is_added=True,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRequest(
            f"{folder / _DOCUMENT} is damaged ({error}); remove the technology and add it again"
        ) from None
