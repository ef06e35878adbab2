"""The noise of transistors out of tables, many at once.

Tables hold densities; what is looked up are two numbers that are nearly alike wherever a transistor is put. White noise
is a multiple of what a conductance as large as all of the channel's (gm + gds + gmb) would make: 2/3 of a long channel
in saturation, 1/2 in weak inversion, 1 without a drain voltage. Flicker noise at 1 Hz, times the gate's area, is a
multiple of the square of the current. So both follow what a circuit's own transistors conduct.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.table_simulator.device_tables import DeviceTables
from app.table_simulator.devices import Channels, MosLookup, blended, over_widths
from app.table_simulator.noise_tables import NoiseTables, thermal_noise
from app.table_simulator.table_plans import KINDS

Array = NDArray[np.float64]

#: Between these shares of the channel's conductance it is the channel that makes noise, not what leaks beside it.
_LEAST_SHARE, _MOST_SHARE = 0.2, 8.0

#: What stands for no flicker noise, which cards may leave out.
_NO_FLICKER = 1e-40

#: How far beyond the tables' highest source-bulk voltage their slope is trusted, over that voltage.
_BEYOND = 1.5


class MosNoise:
    """One corner's noise of both polarities, made ready to be looked up."""

    def __init__(self, lookup: MosLookup, tables: NoiseTables) -> None:
        self.lookup, self.tables = lookup, tables
        self._thermal = thermal_noise(lookup.tables.celsius)
        gates = np.arange(tables.places[2][-1] + 1)
        self._table = np.stack(
            [
                lookup.over_levels(row, _told(lookup.tables, tables, kind, self._thermal), (*tables.places[:2], gates))
                for row, kind in enumerate(KINDS)
            ]
        )
        bulks, drains, _ = tables.places
        self._highest_bulk_v = float(lookup.tables.vsb_v[bulks[-1]])
        self._root_drains = np.sqrt(lookup.tables.vds_v[drains])
        self._widths = np.stack([tables.widths[kind] for kind in KINDS])
        self._log_widths = np.log(tables.widths_m)
        self._exponents = np.array([tables.exponents[kind] for kind in KINDS])

    def densities(self, channels: Channels) -> tuple[Array, Array, Array]:
        """White noise, flicker noise at 1 Hz, and with which power of the frequency the latter falls.

        Densities are of the current between drain and source, in square amperes per hertz, M x design; powers are of M.
        """
        group = channels.group
        level, along_level = self.lookup.place_of(channels.level)
        root = np.sqrt(channels.vds)
        drain = np.clip(np.searchsorted(self._root_drains, root) - 1, 0, len(self._root_drains) - 2).astype(np.int32)
        points = self._root_drains
        along_drain = np.clip((root - points[drain]) / (points[drain + 1] - points[drain]), 0.0, 1.0)
        along_bulk = np.clip(channels.vsb / self._highest_bulk_v, 0.0, _BEYOND)
        found = blended(
            self._table,
            (group.rows, group.lower, np.zeros_like(level), drain, level),
            group.step,
            (group.share, along_bulk, along_drain, along_level),
        )
        found += over_widths(
            self._widths, self._log_widths, group.log_unit_width, group.rows, group.lower, group.lower + group.step,
            group.share,
        )  # fmt: skip
        share, flicker = np.moveaxis(np.exp(found), -1, 0)
        white = share * self._thermal * channels.conductance_s
        return white, flicker * channels.current_a**2 / group.area_m2, self._exponents[group.rows[:, 0]]


def _told(tables: DeviceTables, noise: NoiseTables, kind: str, thermal: float) -> Array:
    """Logarithms of the share of the conductance and of the flicker noise over length, bulk, drain and gate voltage."""
    of = {name: tables.values[kind][name].astype(np.float64) for name in ("id", "gm", "gds", "gmbs")}
    at = np.ix_(np.arange(len(tables.lengths_m)), *noise.places)
    current, conductance = of["id"][at], (of["gm"] + of["gds"] + of["gmbs"])[at]
    length = tables.lengths_m[:, None, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = noise.values[kind]["white"] / (thermal * conductance)
        flicker = noise.values[kind]["flicker"] * length / current**2
        told = np.log(np.stack([share, flicker if flicker.any() else np.full_like(flicker, _NO_FLICKER)], axis=-1))
    told[~np.isfinite(told).all(axis=-1) | (share < _LEAST_SHARE) | (share > _MOST_SHARE)] = np.nan
    # Where a transistor is off, what it does at the next higher gate voltage; where it is off at all of them (no card
    # of this project has such a place), what a shorter one does.
    for place in range(told.shape[3] - 2, -1, -1):
        column = told[:, :, :, place]
        np.copyto(column, told[:, :, :, place + 1], where=np.isnan(column))
    for place in range(1, len(told)):
        np.copyto(told[place], told[place - 1], where=np.isnan(told[place]))
    return _finer(told, noise.places[2])


def _finer(values: Array, places: NDArray[np.intp]) -> Array:
    """Values at every gate voltage from those at some, an even stride apart: cubic, through all points, over axis 3."""
    stride = int(places[1] - places[0])
    at = np.arange(places[-1] + 1)
    lower = np.minimum(at // stride, len(places) - 2)
    share = (at - lower * stride)[:, None] / stride
    slopes = np.gradient(values, axis=3)
    low, high = values[:, :, :, lower], values[:, :, :, lower + 1]
    rising, falling = slopes[:, :, :, lower], slopes[:, :, :, lower + 1]
    hermite = (1 + 2 * share) * (1 - share) ** 2 * low + share**2 * (3 - 2 * share) * high
    return np.asarray(hermite + share * (1 - share) ** 2 * rising - share**2 * (1 - share) * falling)
