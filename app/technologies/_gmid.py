"""gm/Id look-up tables of a technology's transistors, extracted through ngspice and kept by the hash of the cards.

The method sizes a transistor by its gm/Id: current density, speed and gain follow from it and the length alone
[silveira1996gmid]. Tables are of one process corner at the technology's own temperature. Knows no circuit.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import threading
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.analog.netlist import Device
from app.errors import SimulatorFailure, Unavailable, UnknownName
from app.resources import user_data_dir
from app.technologies._base import DeviceModels, Technology
from app.units import format_spice_number

Array = NDArray[np.float64]

#: Of the tables' layout and of how they are extracted; other versions' files are not read.
VERSION = 1

KINDS = ("nmos", "pmos")

#: What a table holds over length, source-bulk, drain-source and gate voltage; per metre of width but the last two.
QUANTITIES = ("id", "gm", "gds", "cgg", "vth", "vdsat")
_PER_WIDTH = ("id", "gm", "gds", "cgg")

_LENGTHS = 11
_VDS_SHARES = (0.05, 0.08, 0.12, 0.18, 0.26, 0.36, 0.5, 0.7, 1.0)
_VSB_SHARES = (0.0, 0.2, 0.5)
_GATE_STEP_V = 0.02
_MOST_GATE_STEPS = 160
_LENGTHS_WIDE = 25

#: The descriptor's grid: lengths in multiples of the shortest, and shares of the highest gm/Id at each.
DESCRIPTOR_LENGTHS = (1.0, 2.0, 4.0, 10.0)
DESCRIPTOR_SHARES = (0.9, 0.7, 0.5, 0.35, 0.2)


class SimulatorPool(Protocol):
    """What runs decks: a pool of ngspice workers (`app.simulators.processes.WorkerPool`)."""

    def submit(self, request: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """A future of the answer to ``{"deck", "analysis", "parameters"}``."""
        ...


@dataclass(frozen=True, slots=True)
class GmIdPoint:
    """A transistor at one bias, per width. Voltages are magnitudes, positive the way its polarity conducts."""

    vgs_v: float
    gm_over_id: float
    id_per_width_a_per_m: float
    gm_over_gds: float
    ft_hz: float
    cgg_per_width_f_per_m: float
    threshold_v: float
    saturation_v: float


@dataclass(frozen=True)
class GmIdTables:
    """Look-up tables of both polarities at one process corner.

    `values` holds an array by kind and quantity, over the four axes `lengths_m`, `vsb_v`, `vds_v` and `vgs_v`
    (magnitudes, ascending): drain current, gm, gds and whole gate capacitance per metre of width, then threshold and
    saturation voltage. Between the points logarithms are interpolated linearly (voltages as they are), at the same
    distance from the threshold; outside of the axes the nearest edge counts.
    """

    technology: str
    process: str
    card_hash: str
    supply_v: float
    lengths_m: Array
    vsb_v: Array
    vds_v: Array
    vgs_v: Array
    values: Mapping[str, Mapping[str, Array]]

    def at_gate(self, kind: str, vgs_v: float, length_m: float, vds_v: float, vsb_v: float = 0.0) -> GmIdPoint:
        """The transistor at a gate-source voltage, held within the table's. Raises UnknownName for another kind."""
        curves = self._curves(kind, length_m, vds_v, vsb_v)
        return self._point(curves, float(np.clip(vgs_v, self.vgs_v[0], self.vgs_v[-1])))

    def at_gm_over_id(
        self, kind: str, gm_over_id: float, length_m: float, vds_v: float, vsb_v: float = 0.0
    ) -> GmIdPoint:
        """The transistor at an inversion level in 1/V, held within what it reaches. Raises UnknownName."""
        curves = self._curves(kind, length_m, vds_v, vsb_v)
        return self._point(curves, _gate_voltage(self.vgs_v, curves["gm"] - curves["id"], gm_over_id))

    def id_per_width(self, kind: str, gm_over_id: float, length_m: float, vds_v: float, vsb_v: float = 0.0) -> float:
        """The drain current in amperes per metre of width at an inversion level."""
        return self.at_gm_over_id(kind, gm_over_id, length_m, vds_v, vsb_v).id_per_width_a_per_m

    def width_for(
        self, kind: str, current_a: float, gm_over_id: float, length_m: float, vds_v: float, vsb_v: float = 0.0
    ) -> float:
        """The width in metres that carries a current at an inversion level."""
        return current_a / self.id_per_width(kind, gm_over_id, length_m, vds_v, vsb_v)

    def vgs_for(self, kind: str, gm_over_id: float, length_m: float, vds_v: float, vsb_v: float = 0.0) -> float:
        """The gate-source voltage (magnitude) of an inversion level."""
        return self.at_gm_over_id(kind, gm_over_id, length_m, vds_v, vsb_v).vgs_v

    def highest_gm_over_id(self, kind: str, length_m: float, vds_v: float, vsb_v: float = 0.0) -> float:
        """The largest gm/Id, in weak inversion."""
        curves = self._curves(kind, length_m, vds_v, vsb_v)
        return float(np.exp(np.max(curves["gm"] - curves["id"])))

    @cached_property
    def _logarithms(self) -> Mapping[str, Mapping[str, Array]]:
        return {
            kind: {name: np.log(table) if name in _PER_WIDTH else table for name, table in tables.items()}
            for kind, tables in self.values.items()
        }

    def _curves(self, kind: str, length_m: float, vds_v: float, vsb_v: float) -> dict[str, Array]:
        """Every quantity over the gate voltage; per-width ones as logarithms."""
        if kind not in self.values:
            raise UnknownName("transistor kind", kind, self.values)
        places = (
            _between(np.log(self.lengths_m), math.log(length_m)),
            _between(self.vsb_v, vsb_v),
            _between(self.vds_v, vds_v),
        )
        tables = self._logarithms[kind]
        middle = len(self.vgs_v) // 2
        corners = [
            ((first, second, third), weight)
            for first, of_length in places[0]
            for second, of_bulk in places[1]
            for third, of_drain in places[2]
            if (weight := of_length * of_bulk * of_drain) > 0.0
        ]
        threshold = sum(weight * tables["vth"][(*index, middle)] for index, weight in corners)
        found = {name: np.zeros_like(self.vgs_v) for name in QUANTITIES}
        for index, weight in corners:
            at_v = self.vgs_v + (tables["vth"][(*index, middle)] - threshold)
            for name, curve in found.items():
                curve += weight * np.interp(at_v, self.vgs_v, tables[name][index])
        return found

    def _point(self, curves: Mapping[str, Array], vgs_v: float) -> GmIdPoint:
        at = {name: float(np.interp(vgs_v, self.vgs_v, curve)) for name, curve in curves.items()}
        return GmIdPoint(
            vgs_v=vgs_v,
            gm_over_id=math.exp(at["gm"] - at["id"]),
            id_per_width_a_per_m=math.exp(at["id"]),
            gm_over_gds=math.exp(at["gm"] - at["gds"]),
            ft_hz=math.exp(at["gm"] - at["cgg"]) / (2 * math.pi),
            cgg_per_width_f_per_m=math.exp(at["cgg"]),
            threshold_v=at["vth"],
            saturation_v=at["vdsat"],
        )

    def descriptor(self) -> Array:
        """The technology as a vector of plain size (about -5 to 3), the same length for every technology.

        First log10 of the supply in volts and of the shortest length in units of 100 nm. Then for nmos and pmos, for
        each of `DESCRIPTOR_LENGTHS` (in shortest lengths), for each of `DESCRIPTOR_SHARES` of the highest gm/Id there,
        with half the supply between drain and source and the bulk at the source: gm/Id in units of 30 /V, Vgs in
        supplies, log10 of Id/W in A/m, log10(gm/gds) - 1.5 and log10 of fT in units of 1 GHz.
        """
        shortest = float(self.lengths_m[0])
        numbers = [math.log10(self.supply_v), math.log10(shortest / 100e-9)]
        vds_v = self.supply_v / 2
        for kind in KINDS:
            for multiple in DESCRIPTOR_LENGTHS:
                length_m = shortest * multiple
                highest = self.highest_gm_over_id(kind, length_m, vds_v)
                for share in DESCRIPTOR_SHARES:
                    point = self.at_gm_over_id(kind, share * highest, length_m, vds_v)
                    numbers += [
                        point.gm_over_id / 30,
                        point.vgs_v / self.supply_v,
                        math.log10(point.id_per_width_a_per_m),
                        math.log10(point.gm_over_gds) - 1.5,
                        math.log10(point.ft_hz / 1e9),
                    ]
        return np.array(numbers)

    def inversion_levels(self, kind: str) -> Array:
        """What a transistor of every length of the tables does at fixed inversion levels. Raises UnknownName.

        Length x `DESCRIPTOR_SHARES` of the highest gm/Id there x six numbers, with half the supply between drain and
        source and the bulk at the source: log10 of Id/W in A/m, gm/Id in 1/V, Vgs in V, then log10 of gm/gds, of fT in
        Hz and of the gate capacitance per width in F/m. All of them are nearly straight over log10 of the length.
        """
        vds_v = self.supply_v / 2
        numbers = []
        for length_m in self.lengths_m:
            highest = self.highest_gm_over_id(kind, length_m, vds_v)
            for share in DESCRIPTOR_SHARES:
                point = self.at_gm_over_id(kind, share * highest, length_m, vds_v)
                numbers += [
                    math.log10(point.id_per_width_a_per_m),
                    point.gm_over_id,
                    point.vgs_v,
                    math.log10(point.gm_over_gds),
                    math.log10(point.ft_hz),
                    math.log10(point.cgg_per_width_f_per_m),
                ]
        return np.array(numbers).reshape(len(self.lengths_m), len(DESCRIPTOR_SHARES), 6)


#: Numbers in `GmIdTables.descriptor`.
DESCRIPTOR_SIZE = 2 + len(KINDS) * len(DESCRIPTOR_LENGTHS) * len(DESCRIPTOR_SHARES) * 5


class GmIdProvider(Protocol):
    """Where gm/Id tables come from: `GmIdTableSource`."""

    def tables(self, technology: Technology, process: str | None = None) -> GmIdTables:
        """The tables of a process corner, the nominal one by default."""
        ...


@dataclass
class GmIdTableSource:
    """Tables by technology and process corner, each read or extracted once. Thread-safe.

    `pool` are ngspice workers for what the cache in `folder` does not hold; without a pool the cache has to.
    """

    pool: SimulatorPool | None = None
    folder: Path | None = None
    _known: dict[tuple[str, str], GmIdTables] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def tables(self, technology: Technology, process: str | None = None) -> GmIdTables:
        """As `gmid_tables`, the nominal process corner by default."""
        key = (technology.name, technology.processes[0] if process is None else process)
        with self._lock:
            if key not in self._known:
                self._known[key] = gmid_tables(technology, self.pool, process, folder=self.folder)
            return self._known[key]


def gmid_tables(
    technology: Technology, pool: SimulatorPool | None, process: str | None = None, *, folder: Path | None = None
) -> GmIdTables:
    """The tables of a process corner (the nominal one by default), from the cache where they are, else extracted.

    Args:
        technology: Whose transistors.
        pool: ngspice workers; not asked where the cache answers, which it has to where there is none.
        process: The corner.
        folder: Of the cache; ``gmid`` in the user's data folder by default.

    Raises:
        UnknownName: no such corner.
        Unavailable: the cards are not on this machine, or nothing is cached and there is no pool.
        SimulatorFailure: ngspice could not do a sweep, or a current it found is not positive.
    """
    models = technology.device_models(process)
    plan = _Plan.of(technology, models)
    folder = user_data_dir() / "gmid" if folder is None else folder
    path = folder / f"{models.card_hash}-{plan.key}.npz"
    values = _read(path)
    if values is None:
        if pool is None:
            raise Unavailable(
                f"the gm/Id tables of {technology.name} at {models.process} were never extracted on this machine, "
                "which takes ngspice; run 'josephson doctor --fetch-ngspice'"
            )
        values = _extracted(plan, pool)
        _write(path, values)
    return GmIdTables(
        technology=technology.name,
        process=models.process,
        card_hash=models.card_hash,
        supply_v=technology.supply_v,
        lengths_m=np.array(plan.lengths_m),
        vsb_v=np.array(plan.vsb_v),
        vds_v=np.array(plan.vds_v),
        vgs_v=np.array(plan.vgs_v),
        values=values,
    )


def reference_width_m(technology: Technology) -> float:
    """The width at which tables are extracted: wide enough for the edges to count little."""
    wanted = max(_LENGTHS_WIDE * technology.length_min_m, 2 * technology.width_min_m)
    return min(wanted, technology.width_max_m)


def _gate_voltage(vgs_v: Array, log_gm_over_id: Array, gm_over_id: float) -> float:
    """The highest voltage with at least this gm/Id, which falls in inversion; the nearest end where there is none.

    Far below the threshold, where leakage or a card's fit may bend the curve, an inversion level is not looked for.
    """
    falling = np.maximum.accumulate(log_gm_over_id[::-1])[::-1]
    return float(np.interp(-math.log(max(gm_over_id, 1e-6)), -falling, vgs_v))


def _between(axis: Array, value: float) -> tuple[tuple[int, float], tuple[int, float]]:
    """The two points of the axis around a value, with their weights; the nearest end has all of it outside."""
    if len(axis) == 1:
        return (0, 1.0), (0, 0.0)
    index = min(max(int(np.searchsorted(axis, value)) - 1, 0), len(axis) - 2)
    share = min(max(float((value - axis[index]) / (axis[index + 1] - axis[index])), 0.0), 1.0)
    return (index, 1.0 - share), (index + 1, share)


@dataclass(frozen=True)
class _Plan:
    """The sweeps of one technology and corner."""

    models: DeviceModels
    width_m: float
    celsius: float
    lengths_m: Sequence[float]
    vsb_v: Sequence[float]
    vds_v: Sequence[float]
    vgs_v: Sequence[float]

    @classmethod
    def of(cls, technology: Technology, models: DeviceModels) -> _Plan:
        """The sweeps that cover the technology's lengths and supply."""
        supply = technology.supply_v
        steps = min(max(round(supply / _GATE_STEP_V), 40), _MOST_GATE_STEPS)
        return cls(
            models=models,
            width_m=reference_width_m(technology),
            celsius=technology.celsius,
            lengths_m=[float(length) for length in _lengths(technology.length_min_m, technology.length_max_m)],
            vsb_v=[share * supply for share in _VSB_SHARES],
            vds_v=[share * supply for share in _VDS_SHARES],
            vgs_v=[supply * index / steps for index in range(steps + 1)],
        )

    @cached_property
    def key(self) -> str:
        """Eight digits that change with the version and with every number of the plan."""
        numbers = (self.width_m, self.celsius, *self.lengths_m, *self.vsb_v, *self.vds_v, *self.vgs_v)
        return hashlib.sha256(f"{VERSION} {numbers!r}".encode()).hexdigest()[:8]

    def header(self, kind: str) -> str:
        """Title, temperature and the cards of the transistors."""
        cards = self.models.text_for([kind], {kind: [(self.width_m, length) for length in self.lengths_m]})
        return f"gm/Id of {kind}\n{cards}\n.options temp={self.celsius!r}\n"

    def transistor(self, name: str, kind: str, nets: tuple[str, str, str, str], length_m: float) -> str:
        """One element card."""
        sizes = {"width_m": format_spice_number(self.width_m), "length_m": format_spice_number(length_m)}
        return self.models.device_card(Device(name, kind, nets), sizes)


def _lengths(shortest: float, longest: float) -> Array:
    if longest <= shortest * 1.0001:
        return np.array([shortest])
    return np.array([float(f"{length:.4g}") for length in np.geomspace(shortest, longest, _LENGTHS)])


def _extracted(plan: _Plan, pool: SimulatorPool) -> dict[str, dict[str, Array]]:
    """Both kinds' tables: a sweep for each kind and source-bulk voltage, an AC analysis for the fixed capacitance."""
    names = [f"m{length}_{vds}" for length in range(len(plan.lengths_m)) for vds in range(len(plan.vds_v))]
    sweeps = {
        (kind, vsb): pool.submit({"deck": _sweep_deck(plan, kind, vsb), "analysis": "dc", "parameters": []})
        for kind in KINDS
        for vsb in plan.vsb_v
    }
    fixed = {kind: _fixed_capacitance(plan, kind, pool) for kind in KINDS}
    values: dict[str, dict[str, Array]] = {}
    shape = (len(plan.lengths_m), len(plan.vds_v), len(plan.vgs_v))
    for kind in KINDS:
        tables: dict[str, list[Array]] = {name: [] for name in QUANTITIES}
        for vsb in plan.vsb_v:
            vectors = vectors_of(sweeps[kind, vsb], f"the gm/Id sweep of {kind}")
            for quantity in QUANTITIES:
                rows = [vectors[f"@{name}[{quantity}]"] for name in names]
                table = np.abs(np.array(rows, dtype=np.float64).reshape(shape))
                if quantity == "cgg":
                    table = table + fixed[kind][:, None, None]
                tables[quantity].append(table / plan.width_m if quantity in _PER_WIDTH else table)
        values[kind] = {name: np.stack(parts, axis=1) for name, parts in tables.items()}
        for name in _PER_WIDTH:
            values[kind][name] = np.maximum(values[kind][name], 1e-30)
    return values


def _sweep_deck(plan: _Plan, kind: str, vsb_v: float) -> str:
    """Transistors of every length and drain voltage with one gate, swept together."""
    sign = 1 if kind == "nmos" else -1
    lines = [f"Vg g 0 0\nVb b 0 {-sign * vsb_v!r}\n"]
    lines += [f"Vd{index} d{index} 0 {sign * vds!r}\n" for index, vds in enumerate(plan.vds_v)]
    saved = []
    for row, length in enumerate(plan.lengths_m):
        for column in range(len(plan.vds_v)):
            name = f"m{row}_{column}"
            lines.append(plan.transistor(name, kind, (f"d{column}", "g", "0", "b"), length) + "\n")
            saved += [f"@{name}[{quantity}]" for quantity in QUANTITIES]
    step = plan.vgs_v[1]
    lines.append(f".dc Vg 0 {sign * (plan.vgs_v[-1] + step / 1000)!r} {sign * step!r}\n")
    lines += [f".save {' '.join(saved[start : start + 40])}\n" for start in range(0, len(saved), 40)]
    return plan.header(kind) + "".join(lines) + ".end\n"


def _fixed_capacitance(plan: _Plan, kind: str, pool: SimulatorPool) -> Array:
    """By length, the gate capacitance in farad that the model counts apart from `cgg`: overlap and fringe.

    It hardly depends on the bias, so it is taken at half the supply: the capacitance that an AC source sees, less cgg.
    """
    sign = 1 if kind == "nmos" else -1
    middle = sign * plan.vds_v[-1] / 2
    lines = [f"Vd d 0 {middle!r}\n"]
    for index, length in enumerate(plan.lengths_m):
        lines.append(f"Vg{index} g{index} 0 dc {middle!r} ac 1\n")
        lines.append(plan.transistor(f"m{index}", kind, ("d", f"g{index}", "0", "0"), length) + "\n")
    deck = plan.header(kind) + "".join(lines)
    parameters = [f"@m{index}[cgg]" for index in range(len(plan.lengths_m))]
    point = pool.submit({"deck": f"{deck}.op\n.end\n", "analysis": "op", "parameters": parameters})
    response = pool.submit({"deck": f"{deck}.ac lin 1 1meg 1meg\n.end\n", "analysis": "ac", "parameters": []})
    currents = vectors_of(response, f"the AC analysis of {kind}")
    vectors_of(point, f"the operating point of {kind}")
    found = []
    for index, parameter in enumerate(parameters):
        whole = abs(currents[f"vg{index}#branch"]["imaginary"][0]) / (2 * math.pi * 1e6)
        found.append(max(whole - abs(point.result()["parameters"][parameter] or 0.0), 0.0))
    return np.array(found)


def vectors_of(future: Future[dict[str, Any]], what: str) -> dict[str, Any]:
    """The vectors of the answer. Raises SimulatorFailure, which calls the deck `what`, where there are none."""
    answer = future.result()
    if answer["status"] != "ok":
        reasons = "; ".join(answer["messages"]) or answer["status"]
        raise SimulatorFailure(f"ngspice could not do {what}: {reasons}; check the technology's cards")
    vectors: dict[str, Any] = answer["vectors"]
    return vectors


def _read(path: Path) -> dict[str, dict[str, Array]] | None:
    """The tables of a file; None where it is not there or damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {kind: {name: stored[f"{kind}_{name}"] for name in QUANTITIES} for kind in KINDS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, values: Mapping[str, Mapping[str, Array]]) -> None:
    """The file is there, whole, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f"{kind}_{name}": table for kind, tables in values.items() for name, table in tables.items()}
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            np.savez(file, allow_pickle=False, **arrays)
            file.close()
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
