"""Simulations as a prepared file: all that training a predictor needs of a store, so that numpy is enough to train.

The file keeps sizes, not features: those follow from the circuits and technology profiles that it holds too, are larger
by far, and change with what predictors are shown. Knows no store; whoever reads one makes the groups.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from app.analog.netlist import Netlist
from app.analog.spice import parse_spice
from app.errors import CorpusMissing, InvalidInput, InvalidRequest
from app.neural_simulator.arrays import FACTS, IMPLAUSIBLE, Estimates, Rows, facts_at
from app.neural_simulator.features import (
    Sizings,
    TechnologyProfile,
    WiredTopology,
    condition_features,
    element_features,
    wired_topology,
)
from app.neural_simulator.plausible import is_implausible
from app.sizes.space import SizeVariable
from app.testbenches._base import testbenches

#: Of the prepared file; files of another are refused.
FORMAT = 2

#: Columns of a group's rows as the file has them, in any order; `_BY_BYTES` as `_bytes_apart`.
_COLUMNS = (
    "sizes", "supply_v", "celsius", "process", "settings", "values", "causes", "methods", "simulate_s", "facts",
    "estimates", "estimate_causes", "estimated_facts",
)  # fmt: skip
_BY_BYTES = ("facts", "estimates", "estimated_facts")
_OF_SIZINGS = ("sizes", "supply_v", "celsius", "process", "settings")

#: Arrays of a technology's profile.
_OF_PROFILES = ("lengths_m", "levels", "descriptors")


@dataclass(frozen=True, slots=True)
class TopologyFacts:
    """A circuit of the simulations: its type, where it is from, its name there, and its SPICE text."""

    type: str
    origin: str
    name: str
    text: str

    @property
    def netlist(self) -> Netlist:
        """What the text reads as."""
        return parse_spice(self.text).netlist


@dataclass(frozen=True, eq=False)
class SimulationGroup:
    """Simulations of one topology on one testbench in one technology: n rows, M metrics, D MOS.

    `ports` are the circuit's by role, `following` the bias ports that move with the supply, `devices` the MOS that
    `facts` and those of `estimates` are of. Arrays are as in `Rows`, but that `values` are all that the simulator
    answered with; `believed` are those that a circuit can have.
    """

    topology_id: str
    testbench: str
    technology: str
    netlist: Netlist
    variables: tuple[SizeVariable, ...]
    ports: Mapping[str, str]
    following: tuple[str, ...]
    metrics: tuple[str, ...]
    devices: tuple[str, ...]
    sizings: Sizings
    values: NDArray[np.float64]  # [n, M]
    causes: NDArray[np.int8]  # [n, M]
    facts: NDArray[np.float32]  # [n, D, FACTS]
    methods: NDArray[np.str_]  # [n]
    simulate_s: NDArray[np.float32]  # [n]
    estimates: Estimates

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def wired(self) -> WiredTopology:
        """The circuit as elements. Raises InvalidInput where they do not belong to the circuit or to any testbench."""
        return wired_topology(
            self.netlist,
            self.variables,
            self.ports,
            testbenches[self.testbench],
            topology_id=self.topology_id,
            metrics=self.metrics,
            following=self.following,
        )

    @cached_property
    def is_believed(self) -> NDArray[np.bool_]:
        """[n, M], False where the simulator answered with what no circuit can have."""
        return ~is_implausible(
            testbenches[self.testbench], self.ports, self.metrics, self.values, self.sizings.supply_v
        )

    @property
    def believed(self) -> NDArray[np.float64]:
        """[n, M], the values that a circuit can have, NaN elsewhere."""
        return np.where(self.is_believed, self.values, np.nan)

    def check(self, profile: TechnologyProfile) -> None:
        """The rows have features and facts by this profile, else InvalidInput."""
        profile.places(self.sizings.process)
        for name in self.devices:
            if name not in self.wired.structure.names:
                raise InvalidInput(f"facts are of {name}, which the circuit does not have")

    def rows(self, profile: TechnologyProfile) -> Rows:
        """The simulations with their features, from the profile of the technology."""
        structure = self.wired.structure
        return Rows(
            structure=structure,
            technology=self.technology,
            elements=element_features(self.wired, profile, self.sizings),
            conditions=condition_features(structure, profile, self.sizings),
            estimates=self.estimates.values,
            estimate_causes=self.estimates.causes,
            estimated_facts=facts_at(structure.names, self.devices, self.estimates.facts),
            values=self.believed,
            causes=np.where(self.is_believed, self.causes, IMPLAUSIBLE).astype(np.int8),
            facts=facts_at(structure.names, self.devices, self.facts),
            sizes=self.sizings.sizes,
            methods=self.methods,
            process=self.sizings.process,
            simulate_s=self.simulate_s,
        )


@dataclass(frozen=True, eq=False)
class PreparedSimulations:
    """Simulations with what their features need.

    `runs` say where the rows came from: of each run of the store its seed, recipe, versions, hashes of the cards and
    counts. `topologies` are by canonical hash, `profiles` by technology.
    """

    runs: tuple[Mapping[str, Any], ...]
    topologies: Mapping[str, TopologyFacts]
    profiles: Mapping[str, TechnologyProfile]
    groups: tuple[SimulationGroup, ...]

    def __len__(self) -> int:
        return sum(map(len, self.groups))

    def rows(self) -> Iterator[Rows]:
        """The groups with their features, one after another."""
        for group in self.groups:
            yield group.rows(self.profiles[group.technology])

    def implausible(self) -> dict[str, int]:
        """How many values no circuit can have, by testbench; those without any are left out."""
        found: dict[str, int] = {}
        for group in self.groups:
            if count := int((~group.is_believed).sum()):
                found[group.testbench] = found.get(group.testbench, 0) + count
        return found

    def values(self) -> int:
        """How many values the simulations answered with."""
        return sum(int(np.isfinite(group.values).sum()) for group in self.groups)

    def save(self, path: Path) -> None:
        """One compressed file, estimates in single precision; whoever reads it sees the old one or the new one.

        Raises:
            InvalidRequest: it cannot be written there.
        """
        partial = path.with_name(path.name + ".partial")
        arrays = {"format": np.array(FORMAT), "about": np.array(json.dumps(self._about())), **self._arrays()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)
            partial.replace(path)
        except OSError as error:
            raise InvalidRequest(f"{path} cannot be written: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path) -> PreparedSimulations:
        """What `save` wrote.

        Raises:
            CorpusMissing: there is no such file.
            InvalidRequest: it is no prepared file, it is damaged, or it is of testbenches that are other ones now.
        """
        if not path.is_file():
            raise CorpusMissing(
                f"no prepared simulations at {path}; write them with 'josephson train simulator --prepare {path}'"
            )
        try:
            with np.load(path, allow_pickle=False) as data:
                arrays = {name: data[name] for name in data.files}
            if int(arrays["format"]) != FORMAT:
                raise _Unusable(f"is of format {int(arrays['format'])}, this version reads format {FORMAT}")
            prepared = _restored(json.loads(str(arrays["about"])), arrays)
        except _Unusable as error:
            raise InvalidRequest(f"{path} {error}; prepare it anew") from None
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error, InvalidInput) as error:
            raise InvalidRequest(f"{path} is no prepared file of simulations: {error}") from error
        return prepared

    def _about(self) -> dict[str, Any]:
        """What the file says in words."""
        return {
            "runs": self.runs,
            "topologies": {name: asdict(facts) for name, facts in self.topologies.items()},
            "technologies": [
                {"name": profile.name, "supply_v": profile.supply_v, "processes": profile.processes}
                for profile in self.profiles.values()
            ],
            "settings": {name: _settings_of(name) for name in dict.fromkeys(group.testbench for group in self.groups)},
            "facts": FACTS,
            "groups": [
                {
                    "topology_id": group.topology_id,
                    "testbench": group.testbench,
                    "technology": group.technology,
                    "rows": len(group),
                    "variables": [asdict(variable) for variable in group.variables],
                    "ports": dict(group.ports),
                    "following": group.following,
                    "metrics": group.metrics,
                    "devices": group.devices,
                }
                for group in self.groups
            ],
        }

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Every group's columns behind one another, and the profiles."""
        columns = [_columns_of(group) for group in self.groups]
        arrays = {name: _flat([each[name] for each in columns]) for name in _COLUMNS}
        arrays |= {name: _bytes_apart(arrays[name]) for name in _BY_BYTES}
        for place, profile in enumerate(self.profiles.values()):
            for name in _OF_PROFILES:
                arrays[f"{name}_{place}"] = getattr(profile, name)
        return arrays


class _Unusable(Exception):
    """A file was read but cannot be used; the sentence lacks the path before it and the advice behind."""


def _settings_of(testbench: str) -> list[str]:
    return [setting.name for setting in testbenches[testbench].settings]


def _columns_of(group: SimulationGroup) -> dict[str, NDArray[Any]]:
    estimates = group.estimates
    told = {
        "estimates": estimates.values,
        "estimate_causes": estimates.causes,
        "estimated_facts": estimates.facts,
        **{name: getattr(group.sizings, name) for name in _OF_SIZINGS},
    }
    return {name: told[name] if name in told else getattr(group, name) for name in _COLUMNS}


def _flat(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Arrays behind one another, all rows of one column together, which compresses better than row by row."""
    return np.concatenate([np.moveaxis(column, 0, -1).ravel() for column in columns]) if columns else np.empty(0)


def _bytes_apart(numbers: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The first byte of every number, then every second, and so on: a third smaller where last digits are dropped."""
    return np.ascontiguousarray(numbers.astype(np.float32).view(np.uint8).reshape(-1, 4).T)


def shortened(numbers: NDArray[np.floating], dropped: int) -> NDArray[np.float32]:
    """The nearest numbers of single precision whose last binary digits, of 23, are 0: they take less of a file.

    What lies beyond is its largest number.
    """
    most = np.finfo(np.float32).max / 2
    single = np.clip(numbers, -most, most).astype(np.float32)
    half, kept = np.uint32(1 << (dropped - 1)), ~np.uint32((1 << dropped) - 1)
    short = ((single.view(np.uint32) + half) & kept).view(np.float32)
    return np.asarray(np.where(np.isnan(single), single, short))


def _bytes_together(planes: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.ascontiguousarray(planes.T).view(np.float32).ravel()


def _restored(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> PreparedSimulations:
    """The simulations of a file's words and arrays; raises _Unusable."""
    for testbench, settings in about["settings"].items():
        if testbench not in testbenches or _settings_of(testbench) != settings:
            raise _Unusable(f"was prepared when the testbench {testbench!r} was another one")
    if tuple(about["facts"]) != FACTS:
        raise _Unusable(f"was prepared with other facts of operating points than {', '.join(FACTS)}")
    topologies = {name: TopologyFacts(**facts) for name, facts in about["topologies"].items()}
    netlists = {name: facts.netlist for name, facts in topologies.items()}
    columns = _Columns(
        {name: _bytes_together(arrays[name]) if name in _BY_BYTES else arrays[name] for name in _COLUMNS}
    )
    groups = tuple(_restored_group(told, netlists[told["topology_id"]], columns) for told in about["groups"])
    if not columns.are_spent:
        raise _Unusable("is damaged: its parts do not belong together")
    profiles = {
        told["name"]: TechnologyProfile(
            told["name"],
            told["supply_v"],
            tuple(told["processes"]),
            *(arrays[f"{name}_{place}"] for name in _OF_PROFILES),
        )
        for place, told in enumerate(about["technologies"])
    }
    for group in groups:
        group.check(profiles[group.technology])
    return PreparedSimulations(tuple(about["runs"]), topologies, profiles, groups)


class _Columns:
    """Columns of a file, from which groups are taken one after another."""

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        self._columns = columns
        self._taken = dict.fromkeys(columns, 0)

    def take(self, rows: int, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
        """The next rows of every column; `shapes` say what it holds of one row, where that is not one value."""
        found = {}
        for name, column in self._columns.items():
            shape = (*shapes.get(name, ()), rows)
            start = self._taken[name]
            self._taken[name] = start + math.prod(shape)
            part = column[start : self._taken[name]].reshape(shape)
            found[name] = np.ascontiguousarray(np.moveaxis(part, -1, 0))
        return found

    @property
    def are_spent(self) -> bool:
        """True where nothing is left."""
        return all(len(column) == self._taken[name] for name, column in self._columns.items())


def _restored_group(told: Mapping[str, Any], netlist: Netlist, columns: _Columns) -> SimulationGroup:
    variables = tuple(size_variable(fields) for fields in told["variables"])
    metrics = tuple(told["metrics"])
    devices = tuple(told["devices"])
    found = columns.take(
        told["rows"],
        {
            "sizes": (len(variables),),
            "settings": (len(_settings_of(told["testbench"])),),
            "values": (len(metrics),),
            "causes": (len(metrics),),
            "facts": (len(devices), len(FACTS)),
            "estimates": (len(metrics),),
            "estimate_causes": (len(metrics),),
            "estimated_facts": (len(devices), len(FACTS)),
        },
    )
    estimates = Estimates(
        found.pop("estimates").astype(np.float64), found.pop("estimate_causes"), found.pop("estimated_facts")
    )
    return SimulationGroup(
        topology_id=told["topology_id"],
        testbench=told["testbench"],
        technology=told["technology"],
        netlist=netlist,
        variables=variables,
        ports=told["ports"],
        following=tuple(told["following"]),
        metrics=metrics,
        devices=devices,
        sizings=Sizings(**{name: found.pop(name) for name in _OF_SIZINGS}),
        estimates=estimates,
        **found,
    )


def size_variable(fields: Mapping[str, Any]) -> SizeVariable:
    """The variable of these fields, as JSON gives them back. Raises TypeError where it has others."""
    return SizeVariable(**{**fields, "places": tuple((device, size) for device, size in fields["places"])})
