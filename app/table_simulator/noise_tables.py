"""Tables of the noise of a technology's transistors: of their channels and of the traps beside them, over the bias.

A noise analysis of single transistors with their terminals held says the density of each one's drain current at two
frequencies: one part of it is the same at both, the other one falls with a power of the frequency. What other widths
than the reference change is told as factors at one bias. Knows no circuit.

They are extracted the first time that somebody wants the noise of a circuit, apart from the other tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import SimulatorFailure, Unavailable
from app.resources import user_data_dir
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
Places = NDArray[np.intp]

#: Of the tables' layout and of how they are extracted; other versions' files are not read.
VERSION = 1

#: What tables hold: the density of the white and of the flicker noise current, the latter at 1 Hz, in square amperes
#: per hertz and metre of width.
QUANTITIES = ("white", "flicker")

#: The points of the other tables that these have: every so many gate voltages, some drain and source-bulk voltages.
_GATE_STRIDE, _DRAINS, _BULKS = 4, (0, 2, 4, 6, 8, 11, 15), (0, 5)

#: Every so many widths are compared with the reference, at this share of the gate voltages and of the drain voltages.
_WIDTH_STRIDE, _GATE_SHARE, _DRAIN_SHARE = 3, 0.5, 0.7

#: The two frequencies, in hertz: traps rule at the first. What is left of them at the second is known by then; above it
#: noise of the bulk comes along through its capacitance.
_LOW_HZ, _HIGH_HZ = 1.0, 1e6

_BOLTZMANN_J_PER_K = 1.380649e-23

_NAMES = tuple(f"{kind}_{name}" for kind in KINDS for name in (*QUANTITIES, "width_effects", "exponent"))
_FACTS = ("id", "gm", "gds", "gmbs")


def thermal_noise(celsius: float) -> float:
    """4 k T in joules: the density of the noise current of a conductance over that conductance."""
    return 4 * _BOLTZMANN_J_PER_K * kelvin(celsius)


@dataclass(frozen=True, eq=False)
class NoiseTables:
    """Noise of both polarities at one process corner and temperature.

    `values` holds an array by kind and one of `QUANTITIES` over the lengths and some source-bulk, drain-source and
    gate-source voltages of `DeviceTables`; `places` are these voltages' positions there. `widths` says by kind the
    logarithm of what another width multiplies them with, beyond the conductance that makes the white noise and the
    square of the current over the area that makes the other, over `widths_m`, lengths and `QUANTITIES`. `exponents`
    says with which power of the frequency the flicker noise falls.
    """

    places: tuple[Places, Places, Places]
    widths_m: Array
    values: Mapping[str, Mapping[str, Array]]
    widths: Mapping[str, Array]
    exponents: Mapping[str, float]


def noise_tables(
    technology: Technology,
    pool: SimulatorPool | None,
    process: str | None = None,
    celsius: float | None = None,
    *,
    folder: Path | None = None,
) -> NoiseTables:
    """The tables of a process corner and temperature (the nominal ones by default), from the cache or extracted.

    The cache is ``noise`` in the `folder` of the other tables.

    Raises:
        UnknownName: no such corner.
        Unavailable: the cards are not on this machine, or nothing is cached and there is no pool.
        SimulatorFailure: ngspice could not do an analysis.
    """
    models = technology.device_models(process)
    plan = TablePlan.of(technology, models, technology.celsius if celsius is None else celsius)
    folder = user_data_dir() / "device_tables" if folder is None else folder
    path = folder / "noise" / f"{models.card_hash}-{plan.key(VERSION)}.npz"
    arrays = read_arrays(path, _NAMES)
    if arrays is None:
        if pool is None:
            raise Unavailable(
                f"the noise of transistors of {technology.name} at {models.process} and {plan.celsius:g} C was never "
                "extracted on this machine; ask again with a pool of ngspice workers"
            )
        arrays = _extracted(plan, pool)
        write_arrays(path, arrays)
    return NoiseTables(
        places=_places(plan),
        widths_m=np.array(plan.widths_m[::_WIDTH_STRIDE]),
        values={kind: {name: arrays[f"{kind}_{name}"] for name in QUANTITIES} for kind in KINDS},
        widths={kind: arrays[f"{kind}_width_effects"] for kind in KINDS},
        exponents={kind: float(arrays[f"{kind}_exponent"]) for kind in KINDS},
    )


def _places(plan: TablePlan) -> tuple[Places, Places, Places]:
    return np.array(_BULKS), np.array(_DRAINS), np.arange(0, len(plan.vgs_v), _GATE_STRIDE)


def _extracted(plan: TablePlan, pool: SimulatorPool) -> dict[str, Array]:
    """Every array of the tables' file."""
    of_length = [(plan.width_m, length) for length in plan.lengths_m]
    widths = (plan.width_m, *plan.widths_m[::_WIDTH_STRIDE])
    every = [(width, length) for width in widths for length in plan.lengths_m]
    bulks, drains, gates = (
        [axis[place] for place in places]
        for axis, places in zip((plan.vsb_v, plan.vds_v, plan.vgs_v), _places(plan), strict=True)
    )
    asked = {
        (kind, bulk, drain): pool.submit(_request(plan, kind, of_length, [(gate, drain, bulk) for gate in gates]))
        for kind in KINDS
        for bulk in bulks
        for drain in drains
    }
    arrays: dict[str, Array] = {}
    for kind in KINDS:
        densities = np.stack(
            [
                np.stack([_densities(asked[kind, bulk, drain], kind, len(gates), len(of_length)) for drain in drains])
                for bulk in bulks
            ]
        )
        answers = answers_of_places(pool, partial(_width_request, plan, kind), every, f"the noise of {kind}")
        exponents, compared = zip(*(_compared(answer, kind, some) for some, answer in answers), strict=True)
        exponent = float(np.median(exponents))
        of_width = [place for some, _ in answers for place in some]
        effects = over_places(np.concatenate(compared), of_width, widths, plan.lengths_m)
        arrays[f"{kind}_exponent"] = np.array(exponent)
        arrays[f"{kind}_width_effects"] = np.nan_to_num(effects[1:] - effects[:1], posinf=0.0, neginf=0.0)
        # source-bulk x drain x gate x length x frequency -> length x source-bulk x drain x gate x frequency
        for name, part in zip(QUANTITIES, _parted(np.moveaxis(densities, 3, 0), exponent), strict=True):
            arrays[f"{kind}_{name}"] = (part / plan.width_m).astype(np.float32)
    return arrays


def _width_request(plan: TablePlan, kind: str, places: Sequence[Place]) -> dict[str, Any]:
    """The analysis that widths are compared in."""
    gate, drain = (
        axis[round(share * (len(axis) - 1))] for axis, share in ((plan.vgs_v, _GATE_SHARE), (plan.vds_v, _DRAIN_SHARE))
    )
    return _request(plan, kind, places, [(gate, drain, 0.0)], with_facts=True)


def _request(
    plan: TablePlan,
    kind: str,
    places: Sequence[Place],
    biases: Sequence[tuple[float, float, float]],
    *,
    with_facts: bool = False,
) -> dict[str, Any]:
    """Transistors of every bias (vgs, vds, vsb) and place in one deck, each one's drain current copied to the output.

    Facts are those of the operating point that `_compared` takes, and the flicker noise by itself.
    """
    sign = 1 if kind == "nmos" else -1
    lines, saved, parameters = ["Vin in 0 DC 0 AC 1\nRin in out 1\n"], [], []
    for row, (gate, drain, bulk) in enumerate(biases):
        lines.append(f"Vg{row} g{row} 0 {sign * gate!r}\nVb{row} b{row} 0 {-sign * bulk!r}\n")
        for column, place in enumerate(places):
            name = _name(row, column)
            lines.append(f"V{name} d{name} 0 {sign * drain!r}\nF{name} out 0 V{name} 1\n")
            lines.append(plan.transistor(name, kind, (f"d{name}", f"g{row}", "0", f"b{row}"), place))
            saved.append(f"onoise.{name}")
            if with_facts:
                saved.append(f"onoise.{name}.1overf")
                parameters += [f"@{name}[{fact}]" for fact in _FACTS]
    # What is not wanted is not saved: ngspice looks vectors up one by one.
    lines += [f".save {' '.join(saved[start : start + 40])}\n" for start in range(0, len(saved), 40)]
    lines.append(f".noise v(out) Vin lin 2 {_LOW_HZ!r} {_HIGH_HZ!r} 1\n.end\n")
    return request(plan.header(kind, places) + "".join(lines), "noise", parameters)


def _name(row: int, column: int) -> str:
    return f"m{row}_{column}"


def _densities(future: Future[dict[str, Any]], kind: str, rows: int, columns: int, part: str = "") -> Array:
    """Square amperes per hertz over bias, place and frequency."""
    vectors = vectors_of(future, f"the noise of {kind}")
    names = [[f"onoise.{_name(row, column)}{part}" for column in range(columns)] for row in range(rows)]
    if not all(name in vectors for row in names for name in row):
        raise SimulatorFailure(f"ngspice does not part the noise of {kind} into kinds; check the technology's cards")
    return np.asarray([[vectors[name] for name in row] for row in names], dtype=np.float64) ** 2


def _parted(densities: Array, exponent: float) -> tuple[Array, Array]:
    """White noise, and flicker noise at 1 Hz, from the densities at both frequencies (the last axis)."""
    fall = _HIGH_HZ**-exponent
    flicker = np.maximum(densities[..., 0] - densities[..., 1], 0.0) / (_LOW_HZ**-exponent - fall)
    return np.maximum(densities[..., 1] - fall * flicker, 0.0), flicker


def _compared(future: Future[dict[str, Any]], kind: str, places: Sequence[Place]) -> tuple[float, Array]:
    """With which power of the frequency flicker noise falls, and logarithms of what widths change, by place."""
    whole, traps = (_densities(future, kind, 1, len(places), part)[0] for part in ("", ".1overf"))
    numbers = future.result()["parameters"]
    current, *slopes = (
        np.abs([numbers[f"@{_name(0, column)}[{fact}]"] or 0.0 for column in range(len(places))]) for fact in _FACTS
    )
    width, length = np.array(places).T
    with np.errstate(divide="ignore", invalid="ignore"):
        falls = -np.log(traps[:, 1] / traps[:, 0]) / math.log(_HIGH_HZ / _LOW_HZ)
        exponent = float(np.median(falls)) if np.all(np.isfinite(falls)) else 1.0
        white, flicker = _parted(whole, exponent)
        return exponent, np.log(np.stack([white / sum(slopes), flicker * width * length / current**2], axis=-1))
