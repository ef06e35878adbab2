"""Large-signal tables of a technology's transistors: current, slopes and charges over every terminal voltage.

Where `app.technologies._gmid` answers how a transistor is to be sized, these tables answer what one does wherever a
circuit puts it: from the triode region to twice the threshold, with its bulk at its source or not, at any temperature.
They are extracted through ngspice once for every process corner and temperature, and kept by the hash of the cards.

Everything is per metre of width at one reference width. What another width changes is told by three numbers over width
and length: a shift of the gate voltage, and factors of the current and of the output conductance. Knows no circuit.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import Unavailable
from app.made_once import MadeOnce
from app.resources import user_data_dir
from app.table_simulator.noise_tables import NoiseTables, noise_tables
from app.table_simulator.table_files import read_arrays, write_arrays
from app.table_simulator.table_plans import (
    KINDS,
    Place,
    TablePlan,
    answers_of_places,
    kelvin,
    over_places,
    request,
)
from app.technologies._base import Technology
from app.technologies._gmid import SimulatorPool, vectors_of

Array = NDArray[np.float64]

#: Of the tables' layout and of how they are extracted; other versions' files are not read.
VERSION = 1

#: Corners whose tables stay in memory, about 20 megabytes each: the last used ones. Their files have 12 megabytes each.
MOST_KEPT = 16

#: Capacitances that leave nothing open: ``cdg`` is the charge at the drain over the voltage of the gate. Rows and
#: columns of the whole matrix sum to zero, so the source's follow.
CAPACITANCES = ("cgg", "cgd", "cgb", "cdg", "cdd", "cdb", "cbg", "cbd", "cbb")

#: What a table holds over length, source-bulk, drain-source and gate-source voltage: per metre of width but the last.
QUANTITIES = ("id", "gm", "gds", "gmbs", *CAPACITANCES, "vth")

#: What another width than the reference changes, over width and length.
WIDTH_EFFECTS = ("shift_v", "log_current", "log_conductance")

#: Boltzmann's constant over the charge of an electron, in volts per kelvin.
_BOLTZMANN_V_PER_K = 8.617333262e-5

#: What is swept of other widths.
_OF_WIDTH = ("id", "gds")

#: A current per W/L from which a transistor is said to conduct, in amperes: widths are compared above it.
_CONDUCTS_A = 1e-9

#: Forward voltage at which a junction's saturation current is read.
_JUNCTION_V = 0.55


def thermal_voltage(celsius: float) -> float:
    """kT/q in volts."""
    return _BOLTZMANN_V_PER_K * kelvin(celsius)


@dataclass(frozen=True, eq=False)
class DeviceTables:
    """Tables of both polarities at one process corner and temperature.

    `values` holds an array by kind and one of `QUANTITIES` over the axes `lengths_m`, `vsb_v`, `vds_v`, `vgs_v`
    (magnitudes, positive the way the polarity conducts). Axes of voltages are ``vsb_v[k] = vsb_v[-1] (k/n)^2``, the
    same for `vds_v` (whose first point is nearly 0), and even for `vgs_v`. `widths` holds `WIDTH_EFFECTS` by kind over
    `widths_m` and `lengths_m`; `junction_a_per_m` the saturation current of either junction at the bulk.
    """

    technology: str
    process: str
    celsius: float
    supply_v: float
    lengths_m: Array
    widths_m: Array
    vsb_v: Array
    vds_v: Array
    vgs_v: Array
    values: Mapping[str, Mapping[str, Array]]
    widths: Mapping[str, Mapping[str, Array]]
    junction_a_per_m: Mapping[str, float]

    @property
    def thermal_v(self) -> float:
        """kT/q at the tables' temperature."""
        return thermal_voltage(self.celsius)


@dataclass
class DeviceTableSource:
    """Tables by technology, process corner and temperature; those that were asked for last stay loaded. Thread-safe.

    `pool` are ngspice workers for what the cache in `folder` (``device_tables`` in the user's data folder by default)
    does not hold; without a pool the cache has to.
    """

    pool: SimulatorPool | None = None
    folder: Path | None = None
    _tables: MadeOnce[DeviceTables] = field(default_factory=lambda: MadeOnce(MOST_KEPT), init=False, repr=False)
    _noise: MadeOnce[NoiseTables] = field(default_factory=lambda: MadeOnce(MOST_KEPT), init=False, repr=False)

    def tables(self, technology: Technology, process: str, celsius: float) -> DeviceTables:
        """As `device_tables`; raises Unavailable where there is neither a file nor a pool.

        Who asks for tables that somebody else is having extracted waits for those; for others nobody waits.
        """
        key = _key(technology, process, celsius)
        return self._tables.get(key, lambda: device_tables(technology, self.pool, process, celsius, folder=self.folder))

    def noise(self, technology: Technology, process: str, celsius: float) -> NoiseTables:
        """As `noise_tables`, otherwise as `tables`."""
        key = _key(technology, process, celsius)
        return self._noise.get(key, lambda: noise_tables(technology, self.pool, process, celsius, folder=self.folder))


def _key(technology: Technology, process: str, celsius: float) -> Hashable:
    return technology.name, technology.device_models(process).card_hash, process, celsius


def device_tables(
    technology: Technology,
    pool: SimulatorPool | None,
    process: str | None = None,
    celsius: float | None = None,
    *,
    folder: Path | None = None,
) -> DeviceTables:
    """The tables of a process corner and temperature (the nominal ones by default), from the cache or extracted.

    Raises:
        UnknownName: no such corner.
        Unavailable: the cards are not on this machine, or nothing is cached and there is no pool.
        SimulatorFailure: ngspice could not do a sweep.
    """
    models = technology.device_models(process)
    plan = TablePlan.of(technology, models, technology.celsius if celsius is None else celsius)
    folder = user_data_dir() / "device_tables" if folder is None else folder
    path = folder / f"{models.card_hash}-{plan.key(VERSION)}.npz"
    arrays = read_arrays(path, _names())
    if arrays is None:
        if pool is None:
            raise Unavailable(
                f"the tables of {technology.name} at {models.process} and {plan.celsius:g} C were never extracted on "
                "this machine; ask again with a pool of ngspice workers"
            )
        arrays = _extracted(plan, pool)
        write_arrays(path, arrays)
    return DeviceTables(
        technology=technology.name,
        process=models.process,
        celsius=plan.celsius,
        supply_v=technology.supply_v,
        lengths_m=np.array(plan.lengths_m),
        widths_m=np.array(plan.widths_m),
        vsb_v=np.array(plan.vsb_v),
        vds_v=np.array(plan.vds_v),
        vgs_v=np.array(plan.vgs_v),
        values={kind: {name: arrays[f"{kind}_{name}"] for name in QUANTITIES} for kind in KINDS},
        widths={kind: {name: arrays[f"{kind}_{name}"] for name in WIDTH_EFFECTS} for kind in KINDS},
        junction_a_per_m={kind: float(arrays[f"{kind}_junction"]) for kind in KINDS},
    )


def _extracted(plan: TablePlan, pool: SimulatorPool) -> dict[str, Array]:
    """Every array of the tables' file."""
    places = [(plan.width_m, length) for length in plan.lengths_m]
    every = [(width, length) for width in plan.widths_m for length in plan.lengths_m]
    inner = ("id", "gm", "gds", "gmbs", *CAPACITANCES, "capbd", "capbs", "vth")
    sweeps = {
        (kind, vsb): pool.submit(request(_sweep_deck(plan, kind, vsb, places, plan.vds_v, inner), "dc"))
        for kind in KINDS
        for vsb in plan.vsb_v
    }
    arrays: dict[str, Array] = {}
    for kind in KINDS:
        fixed = _fixed_capacitances(plan, kind, pool)
        parts = [_tables_of(sweeps[kind, vsb], kind, len(places), len(plan.vds_v), inner) for vsb in plan.vsb_v]
        table = {name: np.stack([part[name] for part in parts], axis=1) / plan.width_m for name in inner}
        table["vth"] = table["vth"] * plan.width_m
        for name in ("id", "gm", "gds", "gmbs"):
            table[name] = np.maximum(np.abs(table[name]), 1e-30)
        _add_outer_capacitances(table, {name: value / plan.width_m for name, value in fixed.items()})
        answers = answers_of_places(pool, partial(_width_request, plan, kind), every, f"a sweep of {kind}")
        wide = [_tables_of(answer, kind, len(some), 1, _OF_WIDTH) for some, answer in answers]
        others = [place for some, _ in answers for place in some]
        widths = np.array([width for width, _ in others])[:, None]
        per_width = {
            name: over_places(
                np.maximum(np.abs(np.concatenate([part[name][:, 0] for part in wide])), 1e-30) / widths,
                others,
                plan.widths_m,
                plan.lengths_m,
            )
            for name in _OF_WIDTH
        }
        effects = _width_effects(plan, table, per_width)
        arrays |= {f"{kind}_{name}": table[name].astype(np.float32) for name in QUANTITIES}
        arrays |= {f"{kind}_{name}": effects[name] for name in WIDTH_EFFECTS}
        arrays[f"{kind}_junction"] = np.array(_junction_current(plan, kind, pool))
    return arrays


def _width_request(plan: TablePlan, kind: str, places: Sequence[Place]) -> dict[str, Any]:
    """The sweep that widths are compared in."""
    return request(_sweep_deck(plan, kind, 0.0, places, [plan.supply_v / 2], _OF_WIDTH), "dc")


def _sweep_deck(
    plan: TablePlan,
    kind: str,
    vsb_v: float,
    places: Sequence[Place],
    vds_v: Sequence[float],
    quantities: Sequence[str],
) -> str:
    """Transistors of every place and drain voltage with one gate, swept together."""
    sign = 1 if kind == "nmos" else -1
    lines = [f"Vg g 0 0\nVb b 0 {-sign * vsb_v!r}\n"]
    lines += [f"Vd{index} d{index} 0 {sign * vds!r}\n" for index, vds in enumerate(vds_v)]
    saved = []
    for row, place in enumerate(places):
        for column in range(len(vds_v)):
            name = f"m{row}_{column}"
            lines.append(plan.transistor(name, kind, (f"d{column}", "g", "0", "b"), place))
            saved += [f"@{name}[{quantity}]" for quantity in quantities]
    step = plan.vgs_v[1]
    lines.append(f".dc Vg 0 {sign * (plan.vgs_v[-1] + step / 1000)!r} {sign * step!r}\n")
    lines += [f".save {' '.join(saved[start : start + 40])}\n" for start in range(0, len(saved), 40)]
    return plan.header(kind, places) + "".join(lines) + ".end\n"


def _tables_of(
    future: Future[dict[str, Any]], kind: str, rows: int, columns: int, quantities: Sequence[str]
) -> dict[str, Array]:
    """Every quantity over place, drain and gate voltage, as ngspice says them."""
    vectors = vectors_of(future, f"a sweep of {kind}")
    return {
        quantity: np.array(
            [[vectors[f"@m{row}_{column}[{quantity}]"] for column in range(columns)] for row in range(rows)],
            dtype=np.float64,
        )
        for quantity in quantities
    }


def _fixed_capacitances(plan: TablePlan, kind: str, pool: SimulatorPool) -> dict[str, Array]:
    """By length, overlap and fringe capacitances in farad, which models count apart: gate to drain, source and bulk.

    They hardly depend on the bias, so they are taken at half the supply: what currents of an AC analysis say, less the
    charges that the model tells of.
    """
    sign = 1 if kind == "nmos" else -1
    middle = sign * plan.supply_v / 2
    places = [(plan.width_m, length) for length in plan.lengths_m]
    lines = [f"Vg g 0 dc {middle!r} ac 1\n"]
    for index, place in enumerate(places):
        lines.append(f"Vd{index} d{index} 0 {middle!r}\nVs{index} s{index} 0 0\nVb{index} b{index} 0 0\n")
        lines.append(plan.transistor(f"m{index}", kind, (f"d{index}", "g", f"s{index}", f"b{index}"), place))
    deck = plan.header(kind, places) + "".join(lines)
    inner = ("cdg", "csg", "cbg")
    parameters = [f"@m{index}[{name}]" for index in range(len(places)) for name in inner]
    point = pool.submit(request(f"{deck}.op\n.end\n", "op", parameters))
    response = pool.submit(request(f"{deck}.ac lin 1 1meg 1meg\n.end\n", "ac"))
    currents = vectors_of(response, f"the AC analysis of {kind}")
    vectors_of(point, f"the operating point of {kind}")
    told = point.result()["parameters"]
    found: dict[str, list[float]] = {"drain": [], "source": [], "bulk": []}
    for index in range(len(places)):
        for (end, values), name in zip(found.items(), inner, strict=True):
            whole = currents[f"v{end[0]}{index}#branch"]["imaginary"][0] / (2 * math.pi * 1e6)
            values.append(max(whole + (told[f"@m{index}[{name}]"] or 0.0), 0.0))
    return {end: np.array(values) for end, values in found.items()}


def _add_outer_capacitances(table: dict[str, Array], fixed: Mapping[str, Array]) -> None:
    """Overlaps and junctions are part of the charges' matrix; `fixed` is by length."""
    drain, source, bulk = (fixed[end][:, None, None, None] for end in ("drain", "source", "bulk"))
    junction_d, junction_s = np.abs(table["capbd"]), np.abs(table["capbs"])
    table["cgg"] = table["cgg"] + drain + source + bulk
    table["cgd"], table["cdg"] = table["cgd"] - drain, table["cdg"] - drain
    table["cgb"], table["cbg"] = table["cgb"] - bulk, table["cbg"] - bulk
    table["cdd"] = table["cdd"] + drain + junction_d
    table["cdb"], table["cbd"] = table["cdb"] - junction_d, table["cbd"] - junction_d
    table["cbb"] = table["cbb"] + bulk + junction_d + junction_s


def _junction_current(plan: TablePlan, kind: str, pool: SimulatorPool) -> float:
    """Saturation current of a bulk junction in amperes per metre of width."""
    sign = 1 if kind == "nmos" else -1
    place = (plan.width_m, plan.lengths_m[len(plan.lengths_m) // 2])
    deck = (
        plan.header(kind, [place])
        + plan.transistor("m0", kind, ("0", "0", "0", "b"), place)
        + f"Vb b 0 {sign * _JUNCTION_V!r}\n.op\n.end\n"
    )
    point = pool.submit(request(deck, "op", ["@m0[ibs]"]))
    vectors_of(point, f"the junctions of {kind}")
    current = abs(point.result()["parameters"]["@m0[ibs]"] or 0.0)
    return float(current / plan.width_m / math.expm1(_JUNCTION_V / thermal_voltage(plan.celsius)))


def _width_effects(plan: TablePlan, table: Mapping[str, Array], swept: Mapping[str, Array]) -> dict[str, Array]:
    """What widths change at half the supply between drain and source: `WIDTH_EFFECTS` over width and length.

    The logarithm of a current is the reference's at a shifted gate, plus a constant. Both numbers are the least-squares
    fit over all gate voltages at which the transistor conducts.
    """
    gate, drain = np.array(plan.vgs_v), np.sqrt(plan.vds_v)
    upper = int(np.searchsorted(drain, math.sqrt(plan.supply_v / 2)))
    share = float((math.sqrt(plan.supply_v / 2) - drain[upper - 1]) / (drain[upper] - drain[upper - 1]))

    def reference(name: str) -> Array:
        logs = np.log(table[name][:, 0])
        return np.asarray((1 - share) * logs[:, upper - 1] + share * logs[:, upper])

    currents, conductances = reference("id"), reference("gds")
    effects = {name: np.zeros((len(plan.widths_m), len(plan.lengths_m))) for name in WIDTH_EFFECTS}
    for width, length in np.ndindex(effects["shift_v"].shape):
        wanted = np.log(np.maximum(swept["id"][width, length], 1e-30))
        chosen = (swept["id"][width, length] * plan.lengths_m[length] > _CONDUCTS_A) & (gate <= plan.supply_v)
        if np.count_nonzero(chosen) < 4:
            continue
        shift, gain = _shifted_fit(gate, currents[length], wanted, chosen)
        effects["shift_v"][width, length], effects["log_current"][width, length] = shift, gain
        ratio = np.log(swept["gds"][width, length]) - wanted
        moved = np.interp(gate - shift, gate, conductances[length] - currents[length])
        effects["log_conductance"][width, length] = float(np.mean((ratio - moved)[chosen]))
    return effects


def _shifted_fit(gate: Array, reference: Array, wanted: Array, chosen: NDArray[np.bool_]) -> tuple[float, float]:
    """Shift and constant with which ``reference(gate - shift) + constant`` is nearest to `wanted` where `chosen`."""
    slope, shift, constant = np.gradient(reference, gate), 0.0, 0.0
    for _ in range(4):
        left = wanted - np.interp(gate - shift, gate, reference)
        columns = np.stack([-np.interp(gate - shift, gate, slope), np.ones_like(gate)], axis=1)
        step, constant = np.linalg.lstsq(columns[chosen], left[chosen], rcond=None)[0]
        shift = float(np.clip(shift + step, -0.5, 0.5))
    return shift, float(constant)


def _names() -> Iterator[str]:
    for kind in KINDS:
        for name in (*QUANTITIES, *WIDTH_EFFECTS, "junction"):
            yield f"{kind}_{name}"
