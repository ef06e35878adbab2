"""Simulated rows that a model ships with, to be shown beside its predictions: the nearest ones of the same circuit.

A circuit is the same here when its devices have the same names too, so that a size means the same in both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.analog.kinds import SUPPLY_NETS
from app.analog.netlist import Netlist
from app.errors import CorpusMissing, InvalidInput
from app.neural_simulator.dataset import SimulationGroup

Floats = NDArray[np.float64]

#: Rows that a model ships of one circuit on one testbench in one technology.
KEPT_ROWS = 40

#: Of a supply and of a temperature, what counts as far as a decade of one size.
_SUPPLY_SHARE, _DEGREES = 0.5, 100.0

#: Sizes that are voltages are compared by their difference, a volt for a decade; others by their logarithm.
_LEAST = 1e-18


@dataclass(frozen=True)
class NearRow:
    """A simulated row. Values in SI units; `distance` is the root mean square over variables, in decades."""

    topology: str
    testbench: str
    technology: str
    process: str
    supply_v: float
    celsius: float
    sizes: Mapping[str, float]
    metrics: Mapping[str, float | None]
    distance: float

    def as_json(self) -> dict[str, Any]:
        """Every field."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, eq=False)
class _Kept:
    """Rows of one circuit on one testbench in one technology."""

    topology: str
    technology: str
    variables: tuple[str, ...]
    is_voltage: NDArray[np.bool_]  # [V]
    metrics: tuple[str, ...]
    sizes: Floats  # [n, V]
    supply_v: Floats  # [n]
    celsius: Floats  # [n]
    process: NDArray[np.str_]  # [n]
    values: Floats  # [n, M]

    def places(self, sizes: Floats) -> Floats:
        """[n, V] sizes as numbers whose differences are distances."""
        return np.where(self.is_voltage, sizes, np.log10(np.maximum(sizes, _LEAST)))


def named_wiring(netlist: Netlist) -> str:
    """What circuits share whose devices of the same names are wired alike, whatever their internal nets are called."""
    touched: dict[str, list[str]] = {}
    for device in netlist.devices:
        for pin, net in device.pins():
            touched.setdefault(net, []).append(f"{device.name}.{pin}")
    told = sorted(
        f"{net if net in netlist.ports or net in SUPPLY_NETS else ''} {' '.join(sorted(pins))}"
        for net, pins in touched.items()
    )
    kinds = sorted(f"{device.name} {device.kind}" for device in netlist.devices)
    return hashlib.sha256("\n".join((*kinds, *told)).encode()).hexdigest()[:32]


class NearestRows:
    """Rows to be found again by circuit, testbench, technology and sizes."""

    def __init__(self, kept: Mapping[tuple[str, str], Sequence[_Kept]]) -> None:
        """`kept` by `named_wiring` and testbench."""
        self._kept = kept

    @classmethod
    def of(cls, groups: Iterable[tuple[SimulationGroup, NDArray[np.bool_]]], seed: int = 0) -> Self:
        """Up to `KEPT_ROWS` rows of each group, drawn from those that its mask chooses."""
        rng = np.random.default_rng(seed)
        kept: dict[tuple[str, str], list[_Kept]] = {}
        for group, chosen in groups:
            rows = np.sort(rng.permutation(np.flatnonzero(chosen))[:KEPT_ROWS])
            if len(rows):
                kept.setdefault((named_wiring(group.netlist), group.testbench), []).append(_kept(group, rows))
        return cls(kept)

    def find(
        self, netlist: Netlist, testbench: str, technology: str, variables: Sequence[str], sizes: Floats,
        supply_v: float, celsius: float, count: int,
    ) -> list[list[NearRow]]:  # fmt: skip
        """The `count` nearest rows of each sizing, nearest first; those of another technology where the circuit was not
        simulated in this one, none where it was not simulated at all, or with other sizes.

        Args:
            netlist: The circuit.
            testbench: What it is measured on.
            technology: What it is made in.
            variables: Names of the sizes.
            sizes: Sizing x variable, SI units.
            supply_v: Of the sizings; a difference of half of it counts like a decade of one size.
            celsius: Likewise, 100 degrees.
            count: Rows of each.
        """
        groups = self._kept.get((named_wiring(netlist), testbench), ())
        groups = [each for each in groups if sorted(each.variables) == sorted(variables)]
        groups = [each for each in groups if each.technology == technology] or list(groups)
        found: list[list[NearRow]] = [[] for _ in range(len(sizes))]
        if not count or not groups:
            return found
        for group in groups:
            aligned = sizes[:, [variables.index(name) for name in group.variables]]
            apart = group.places(aligned)[:, None, :] - group.places(group.sizes)
            conditions = ((group.supply_v - supply_v) / (_SUPPLY_SHARE * supply_v)) ** 2
            conditions = conditions + ((group.celsius - celsius) / _DEGREES) ** 2
            distances = np.sqrt(((apart**2).sum(axis=-1) + conditions) / (apart.shape[-1] + 2))
            for row, order in enumerate(np.argsort(distances, axis=1, kind="stable")[:, :count].tolist()):
                found[row] += [_near_row(testbench, group, n, distances[row, n]) for n in order]
        return [sorted(each, key=lambda row: row.distance)[:count] for each in found]

    def save(self, path: Path) -> None:
        """As a compressed numpy file, numbers with seven digits."""
        about: list[dict[str, Any]] = []
        arrays: dict[str, NDArray[np.float32]] = {}
        for (wiring, testbench), groups in self._kept.items():
            for group in groups:
                number = len(about)
                about.append(
                    {
                        "wiring": wiring, "topology": group.topology, "testbench": testbench,
                        "technology": group.technology,
                        "variables": list(group.variables), "is_voltage": group.is_voltage.tolist(),
                        "metrics": list(group.metrics), "process": group.process.tolist(),
                    }
                )  # fmt: skip
                arrays[f"sizes_{number}"] = group.sizes.astype(np.float32)
                arrays[f"conditions_{number}"] = np.stack([group.supply_v, group.celsius], axis=1).astype(np.float32)
                arrays[f"values_{number}"] = group.values.astype(np.float32)
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises CorpusMissing where there is no such file, InvalidInput where it is not one of these."""
        if not path.is_file():
            raise CorpusMissing(f"{path} is not there; it holds the simulated rows that a model ships with")
        kept: dict[tuple[str, str], list[_Kept]] = {}
        try:
            with np.load(path, allow_pickle=False) as file:
                for number, told in enumerate(json.loads(str(file["about"]))):
                    sizes, conditions, values = (
                        file[f"{name}_{number}"].astype(np.float64) for name in ("sizes", "conditions", "values")
                    )
                    kept.setdefault((told["wiring"], told["testbench"]), []).append(
                        _Kept(
                            told["topology"], told["technology"], tuple(told["variables"]),
                            np.array(told["is_voltage"], dtype=np.bool_),
                            tuple(told["metrics"]), sizes, conditions[:, 0], conditions[:, 1],
                            np.array(told["process"]), values,
                        )
                    )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidInput(f"{path} does not hold simulated rows: {error}") from error
        return cls(kept)


def _kept(group: SimulationGroup, rows: NDArray[np.intp]) -> _Kept:
    sizings = group.sizings
    return _Kept(
        group.topology_id,
        group.technology,
        tuple(variable.name for variable in group.variables),
        np.array([variable.unit == "V" for variable in group.variables], dtype=np.bool_),
        group.metrics,
        sizings.sizes[rows],
        sizings.supply_v[rows],
        sizings.celsius[rows],
        sizings.process[rows],
        group.believed[rows],
    )


def _near_row(testbench: str, group: _Kept, row: int, distance: float) -> NearRow:
    values = dict(zip(group.metrics, group.values[row].tolist(), strict=True))
    return NearRow(
        group.topology,
        testbench,
        group.technology,
        str(group.process[row]),
        float(group.supply_v[row]),
        float(group.celsius[row]),
        dict(zip(group.variables, group.sizes[row].tolist(), strict=True)),
        {name: value if np.isfinite(value) else None for name, value in values.items()},
        float(distance),
    )
