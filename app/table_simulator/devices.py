"""Transistors out of tables, many at once: currents with slopes for Newton's method, conductances and charges for AC.

Tables hold a *level* instead of a current, after the interpolation between weak and strong inversion of the EKV model
[enz1995analytical] Eq. (29): ``id = W/L I0 (1 - exp(-vds/VT)) ln^2(1 + exp(level/2))``. The level is nearly a straight
line over the gate voltage, in weak inversion as in strong one, and over the root of the drain voltage, so that few
points are enough, and a straight line outside of the tables means a square law above and an exponential below.

Between points the level is interpolated linearly over every voltage and over the logarithm of the length, so a current
and its slopes belong together. What an AC analysis takes is not a slope of these: gm, gds and gmb as shares of the
current, and the charges' matrix, come out of tables of their own over the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.table_simulator.device_tables import CAPACITANCES, DeviceTables
from app.table_simulator.table_plans import KINDS

Array = NDArray[np.float64]
Places = NDArray[np.int32]

#: Between two drain voltages of the tables lie so many of the look-up's.
_FINER = 2

#: Levels that small-signal tables are over: ``_BEND sinh`` of even steps, dense around the threshold.
_BEND, _LOWEST, _LEVELS = 4.0, -24.0, 32

#: I0 is read where gm/Id is this share of 1/VT: in moderate inversion, whatever leaks far below the threshold.
_MODERATE = 0.45

#: Conductance of every junction at the bulk, as ngspice adds it.
GMIN = 1e-12

#: A junction's current in amperes goes on as a straight line above this.
_JUNCTION_MOST_A = 1.0

#: Of each transistor at its operating point, in SI units and positive the way its polarity conducts.
DEVICE_FACTS = ("id", "gm", "gds", "vgs", "vds", "vth")

_SHARES = ("gm", "gds", "gmbs")
_SMALL_SIGNAL = (*_SHARES, *CAPACITANCES, "vth")


class MosLookup:
    """One corner's tables of both polarities, made ready to be looked up."""

    def __init__(self, tables: DeviceTables) -> None:
        self.tables = tables
        self.thermal_v = tables.thermal_v
        self._log_lengths = np.log(tables.lengths_m)
        self._log_widths = np.log(tables.widths_m)
        self._vds_v = _finer_axis(tables.vds_v)
        self.specific_a = np.array([_specific_current(tables, kind) for kind in KINDS])
        levels = np.stack([self._levels(kind) for kind in KINDS])
        self._levels_at = levels
        self._fine = np.ascontiguousarray(_finer(tables, levels, self.thermal_v, self.specific_a))
        self._bends = np.arcsinh(np.array([_LOWEST, max(float(levels.max()), 1.0)]) / _BEND)
        self._small = np.stack([self.over_levels(row, _small_signals(tables, kind)) for row, kind in enumerate(KINDS)])
        self._effects = np.stack(
            [np.stack([tables.widths[kind][name] for name in tables.widths[kind]], axis=-1) for kind in KINDS]
        )
        self._effect_names = tuple(tables.widths[KINDS[0]])
        self.junction_a_per_m = np.array([tables.junction_a_per_m[kind] for kind in KINDS])

    def _levels(self, kind: str) -> Array:
        tables = self.tables
        table, row = tables.values[kind]["id"].astype(np.float64), KINDS.index(kind)
        saturated = -np.expm1(-tables.vds_v / self.thermal_v)[None, None, :, None]
        ratio = table * tables.lengths_m[:, None, None, None] / saturated / self.specific_a[row]
        return level_of(np.maximum(ratio, 1e-24))

    def over_levels(self, row: int, values: Array, at: tuple[NDArray[np.intp], ...] = ()) -> NDArray[np.float32]:
        """Quantities of a kind over length, source-bulk and drain voltage and level, from those over the gate voltage.

        Quantities are the last axis; `at` are the positions of their source-bulk, drain-source and gate voltages in the
        tables, which are all by default.
        """
        levels = self._levels_at[row]
        if at:
            levels = levels[np.ix_(np.arange(len(levels)), *at)]
        axis = _BEND * np.sinh(np.linspace(self._bends[0], self._bends[1], _LEVELS))
        found = np.empty((*levels.shape[:3], _LEVELS, values.shape[-1]), dtype=np.float32)
        tiny = 1e-9 * np.arange(levels.shape[3])
        for place in np.ndindex(levels.shape[:3]):
            known = np.maximum.accumulate(levels[place]) + tiny
            lower = np.clip(np.searchsorted(known, axis) - 1, 0, len(known) - 2)
            share = np.clip((axis - known[lower]) / (known[lower + 1] - known[lower]), 0.0, 1.0)[:, None]
            found[place] = (1 - share) * values[place][lower] + share * values[place][lower + 1]
        return found

    def place_of(self, level: Array) -> tuple[Places, Array]:
        """Where a level is in what `over_levels` gives: the lower point, and the share of the way to the next."""
        first, last = self._bends
        place = np.clip((np.arcsinh(level / _BEND) - first) / (last - first) * (_LEVELS - 1), 0.0, _LEVELS - 1.0)
        lower = np.minimum(place.astype(np.int32), _LEVELS - 2)
        return lower, place - lower

    def group(self, kinds: Sequence[str], width_m: Array, length_m: Array, multiplier: Array) -> MosGroup:
        """Transistors of a batch of designs: `kinds` of M, sizes M x design."""
        rows = np.array([KINDS.index(kind) for kind in kinds], dtype=np.int32)[:, None]
        lengths = self._log_lengths
        at = np.clip(np.searchsorted(lengths, np.log(length_m)) - 1, 0, max(len(lengths) - 2, 0))
        upper = np.minimum(at + 1, len(lengths) - 1)
        step = np.where(upper > at, lengths[upper] - lengths[at], 1.0)
        share = np.clip((np.log(length_m) - lengths[at]) / step, 0.0, 1.0)
        log_width = np.log(width_m)
        effects = over_widths(self._effects, self._log_widths, log_width, rows, at, upper, share)
        named = dict(zip(self._effect_names, np.moveaxis(effects, -1, 0), strict=True))
        whole = width_m * multiplier
        return MosGroup(
            lookup=self,
            rows=rows,
            sign=np.where(rows == KINDS.index("nmos"), 1.0, -1.0),
            lower=at.astype(np.int32),
            step=(upper - at).astype(np.int32),
            share=share,
            shift_v=named["shift_v"],
            strength_a=self.specific_a[rows] * whole / length_m * np.exp(named["log_current"]),
            conductance=np.exp(named["log_conductance"]),
            width_m=whole,
            area_m2=whole * length_m,
            log_unit_width=log_width,
            junction_a=self.junction_a_per_m[rows] * whole,
        )

    def level(
        self, rows: Places, lower: Places, step: Places, share: Array, vgs: Array, vds: Array, vsb: Array
    ) -> tuple[Array, Array, Array, Array]:
        """The level and its slopes over vgs, vds and vsb. Voltages are not held within the tables."""
        fine, tables = self._fine, self.tables
        _, lengths, of_bulk, of_drain, of_gate = fine.shape
        gate, gate_step, along_gate = _even_place(tables.vgs_v, vgs)
        drain, drain_step, along_drain = _square_place(self._vds_v, vds)
        bulk, bulk_step, along_bulk = _square_place(tables.vsb_v, vsb)
        base = (((rows * lengths + lower) * of_bulk + bulk) * of_drain + drain) * of_gate + gate
        next_length = step * (of_bulk * of_drain * of_gate)
        flat = fine.reshape(-1)
        offsets = np.array([0, of_drain * of_gate], dtype=np.int32)[:, None] + np.array([0, 1, of_gate, of_gate + 1])
        place = base + offsets.T.reshape(-1, *(1,) * base.ndim).astype(np.int32)
        first = flat.take(place)
        corners = first + share * (flat.take(place + next_length) - first)
        # Of each pair the first is at the lower source-bulk voltage; pairs run over the gate first, then the drain.
        rise = corners[1::2] - corners[::2]
        low = corners[::2] + along_bulk * rise
        at_low, slope_low = low[0] + along_gate * (low[1] - low[0]), low[1] - low[0]
        at_high, slope_high = low[2] + along_gate * (low[3] - low[2]), low[3] - low[2]
        level = at_low + along_drain * (at_high - at_low)
        over_gate = (slope_low + along_drain * (slope_high - slope_low)) / gate_step
        over_drain = (at_high - at_low) / drain_step
        rise_low, rise_high = rise[0] + along_gate * (rise[1] - rise[0]), rise[2] + along_gate * (rise[3] - rise[2])
        over_bulk = (rise_low + along_drain * (rise_high - rise_low)) / bulk_step
        return level, over_gate, over_drain, over_bulk

    def small_signal(
        self, rows: Places, lower: Places, step: Places, share: Array, level: Array, vds: Array, vsb: Array
    ) -> dict[str, Array]:
        """Shares of the current (``gm``, ``gmbs``; 1/V), capacitances in F/m and ``vth`` at a level.

        ``gds`` is a share of the current that would flow at a high drain voltage with this level: with none it is the
        channel's conductance.
        """
        drain, _, along_drain = _square_place(self.tables.vds_v, vds)
        bulk, _, along_bulk = _square_place(self.tables.vsb_v, vsb)
        at, along = self.place_of(level)
        shares = (np.clip(along_bulk, -0.5, 2.0), np.clip(along_drain, 0.0, 2.0), along)
        found = blended(self._small, (rows, lower, bulk, drain, at), step, (share, *shares))
        named = dict(zip(_SMALL_SIGNAL, np.moveaxis(found, -1, 0), strict=True))
        return {name: np.exp(value) if name in _SHARES else value for name, value in named.items()}


@dataclass(frozen=True, eq=False)
class Currents:
    """Currents into the drain and into the bulk, and their slopes over (drain, gate, source, bulk); M x design each.

    The source takes the rest, the gate nothing.
    """

    drain: Array
    bulk: Array
    drain_slopes: tuple[Array, Array, Array, Array]
    bulk_slopes: tuple[Array, Array, Array, Array]


@dataclass(frozen=True, eq=False)
class Channels:
    """What makes noise in the transistors of a batch of designs: M x design each.

    Voltages are those of the end that acts as the source, positive the way the polarity conducts; `conductance_s` is
    gm + gds + gmb.
    """

    group: MosGroup
    level: Array
    vds: Array
    vsb: Array
    current_a: Array
    conductance_s: Array


@dataclass(frozen=True, eq=False)
class SmallSignal:
    """Conductances and capacitances between (drain, gate, source, bulk), 4 x 4 of M x design, and `DEVICE_FACTS`.

    ``conductance[i][j]`` is the current into terminal i over the voltage of terminal j.
    """

    conductance: list[list[Array]]
    capacitance: list[list[Array]]
    facts: dict[str, Array]
    channels: Channels


@dataclass(frozen=True, eq=False)
class MosGroup:
    """The transistors of a batch of designs with everything that does not depend on voltages. M x design.

    `rows` are positions in `KINDS`, `lower` and `share` the place between two lengths (`step` is 0 where there is only
    one), `width_m` and `area_m2` include the multiplier, `log_unit_width` does not.
    """

    lookup: MosLookup
    rows: Places
    sign: Array
    lower: Places
    step: Places
    share: Array
    shift_v: Array
    strength_a: Array
    conductance: Array
    width_m: Array
    area_m2: Array
    log_unit_width: Array
    junction_a: Array

    def take(self, designs: NDArray[np.intp]) -> MosGroup:
        """Only these designs."""
        return MosGroup(
            self.lookup, self.rows, self.sign, self.lower[:, designs], self.step[:, designs], self.share[:, designs],
            self.shift_v[:, designs], self.strength_a[:, designs], self.conductance[:, designs],
            self.width_m[:, designs], self.area_m2[:, designs], self.log_unit_width[:, designs],
            self.junction_a[:, designs],
        )  # fmt: skip

    def currents(self, drain: Array, gate: Array, source: Array, bulk: Array) -> Currents:
        """At these voltages, M x design each."""
        vds, vgs, vsb, is_forward = self._oriented(drain, gate, source, bulk)
        level, over_gate, over_drain, over_bulk = self.lookup.level(
            self.rows, self.lower, self.step, self.share, vgs - self.shift_v, vds, vsb
        )
        root, bent = _softplus_half(level)
        fade = np.exp(-vds / self.lookup.thermal_v)
        opened = self.strength_a * (1.0 - fade)
        current, slope = opened * root * root, opened * root * bent
        gm, gmb = slope * over_gate, -slope * over_bulk
        gds = slope * over_drain + self.strength_a * root * root * fade / self.lookup.thermal_v
        into_drain = self.sign * np.where(is_forward, current, -current)
        rest = gm + gds + gmb
        slopes = (
            np.where(is_forward, gds, rest),
            np.where(is_forward, gm, -gm),
            np.where(is_forward, -rest, -gds),
            np.where(is_forward, gmb, -gmb),
        )
        to_drain, drain_slope = self._junction(self.sign * (bulk - drain))
        to_source, source_slope = self._junction(self.sign * (bulk - source))
        return Currents(
            drain=into_drain - self.sign * to_drain,
            bulk=self.sign * (to_drain + to_source),
            drain_slopes=(slopes[0] + drain_slope, slopes[1], slopes[2], slopes[3] - drain_slope),
            bulk_slopes=(-drain_slope, np.zeros_like(gm), -source_slope, drain_slope + source_slope),
        )

    def small_signal(self, drain: Array, gate: Array, source: Array, bulk: Array) -> SmallSignal:
        """At these voltages, M x design each."""
        vds, vgs, vsb, is_forward = self._oriented(drain, gate, source, bulk)
        place = (self.rows, self.lower, self.step, self.share)
        level, *_ = self.lookup.level(*place, vgs - self.shift_v, vds, vsb)
        told = self.lookup.small_signal(*place, level, vds, vsb)
        root, _ = _softplus_half(level)
        current = self.strength_a * -np.expm1(-vds / self.lookup.thermal_v) * root * root
        gm, gmb = told["gm"] * current, told["gmbs"] * current
        gds = told["gds"] * self.conductance * self.strength_a * root * root
        effective = _four_by_four(gm, gds, gmb), _charges(told, self.width_m)
        conductance, capacitance = (_exchanged(matrix, is_forward) for matrix in effective)
        _, drain_slope = self._junction(self.sign * (bulk - drain))
        _, source_slope = self._junction(self.sign * (bulk - source))
        for end, slope in ((0, drain_slope), (2, source_slope)):
            for first, second, part in ((end, end, 1), (3, 3, 1), (end, 3, -1), (3, end, -1)):
                conductance[first][second] = conductance[first][second] + part * slope
        facts = {
            "id": current,
            "gm": gm,
            "gds": gds,
            "vgs": self.sign * (gate - source),
            "vds": self.sign * (drain - source),
            "vth": told["vth"] + self.shift_v,
        }
        channels = Channels(self, level, vds, vsb, current, gm + gds + gmb)
        return SmallSignal(conductance, capacitance, facts, channels)

    def _oriented(
        self, drain: Array, gate: Array, source: Array, bulk: Array
    ) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
        """vds, vgs and vsb with the terminal that acts as the source, and whether that is the source."""
        vds = self.sign * (drain - source)
        is_forward = vds >= 0
        low = np.where(is_forward, source, drain)
        return np.abs(vds), self.sign * (gate - low), self.sign * (low - bulk), is_forward

    def _junction(self, forward_v: Array) -> tuple[Array, Array]:
        """Current and slope of a bulk junction."""
        return junction(forward_v, self.junction_a, self.lookup.thermal_v)


def junction(forward_v: Array, saturation_a: Array, thermal_v: float) -> tuple[Array, Array]:
    """Current and slope of a junction with `GMIN` beside it, a straight line far above."""
    place = forward_v / thermal_v
    within = np.minimum(place, np.log(_JUNCTION_MOST_A / np.maximum(saturation_a, 1e-40)))
    grown = saturation_a * np.exp(within)
    current = grown * (1.0 + place - within) - saturation_a + GMIN * forward_v
    return current, grown / thermal_v + GMIN


def level_of(ratio: Array) -> Array:
    """The level whose ``ln^2(1 + exp(level/2))`` is the ratio, above 0."""
    root = np.sqrt(ratio)
    small = np.minimum(root, 30.0)
    return np.asarray(2.0 * np.where(root > 30.0, root, np.log(np.expm1(small))))


def _softplus_half(level: Array) -> tuple[Array, Array]:
    """``s = ln(1 + exp(level/2))``, and twice the slope of s, so that ``s^2`` has the slope ``s * that``."""
    half = 0.5 * level
    decay = np.exp(-np.abs(half))
    root = np.maximum(half, 0.0) + np.log1p(decay)
    return root, np.where(half > 0, 1.0, decay) / (1.0 + decay)


def _four_by_four(gm: Array, gds: Array, gmb: Array) -> list[list[Array]]:
    none = np.zeros_like(gm)
    drain = [gds, gm, -(gm + gds + gmb), gmb]
    return [drain, [none] * 4, [-value for value in drain], [none] * 4]


def _charges(told: dict[str, Array], width_m: Array) -> list[list[Array]]:
    """The capacitances between (drain, gate, source, bulk) out of those that leave the source away."""
    rows = [[told[f"c{row}{column}"] * width_m for column in "dgb"] for row in "dgb"]
    for row in rows:
        row.insert(2, -(row[0] + row[1] + row[2]))
    drain, gate, bulk = rows
    source = [-(a + b + c) for a, b, c in zip(drain, gate, bulk, strict=True)]
    return [drain, gate, source, bulk]


def _exchanged(matrix: list[list[Array]], is_forward: NDArray[np.bool_]) -> list[list[Array]]:
    """Drain and source exchanged where the channel conducts backwards."""
    if np.all(is_forward):
        return matrix
    other = (2, 1, 0, 3)
    return [
        [np.where(is_forward, matrix[row][column], matrix[other[row]][other[column]]) for column in range(4)]
        for row in range(4)
    ]


def _specific_current(tables: DeviceTables, kind: str) -> float:
    """I0: the current of a square transistor of middling length at moderate inversion, in amperes."""
    length, drain = len(tables.lengths_m) // 2, 2 * len(tables.vds_v) // 3
    current = tables.values[kind]["id"][length, 0, drain].astype(np.float64)
    over_id = tables.values[kind]["gm"][length, 0, drain] / current
    falling = np.maximum.accumulate(over_id[::-1])[::-1]
    found = np.interp(-_MODERATE / tables.thermal_v, -falling, np.log(current))
    return float(np.exp(found) * tables.lengths_m[length])


def _finer_axis(vds_v: Array) -> Array:
    steps = _FINER * (len(vds_v) - 1)
    return np.asarray(vds_v[-1] * (np.arange(steps + 1) / steps) ** 2)


def _finer(tables: DeviceTables, levels: Array, thermal_v: float, specific_a: Array) -> NDArray[np.float32]:
    """Levels of both kinds over a finer axis of the drain voltage: cubic over its root, with the slopes that gds says.

    Level is kind x length x source-bulk x drain x gate.
    """
    vds = tables.vds_v[:, None]
    root, bent = _softplus_half(levels)
    share = np.stack([tables.values[kind]["gds"] / tables.values[kind]["id"] for kind in KINDS]).astype(np.float64)
    fade = np.exp(-vds / thermal_v)
    over_drain = (share - fade / (1.0 - fade) / thermal_v) * root / bent
    place = np.sqrt(tables.vds_v / tables.vds_v[-1]) * (len(tables.vds_v) - 1)
    place[0] = 0.0
    slope = over_drain * (2 * tables.vds_v[-1] * place / (len(tables.vds_v) - 1) ** 2)[:, None]
    # Where hardly any current flows its slope is noise; a chord's is not.
    chord = np.gradient(levels, axis=3)
    slope = np.where((root > 1e-6) & (np.abs(slope) < 4 * np.abs(chord) + 0.1), slope, chord)
    lower, upper = levels[..., :-1, :], levels[..., 1:, :]
    rising, falling = slope[..., :-1, :], slope[..., 1:, :]
    shape = (*levels.shape[:3], _FINER * (levels.shape[3] - 1) + 1, levels.shape[4])
    fine = np.empty(shape, dtype=np.float32)
    fine[..., _FINER * (levels.shape[3] - 1), :] = levels[..., -1, :]
    for index in range(_FINER):
        t = index / _FINER
        hermite = (1 + 2 * t) * (1 - t) ** 2 * lower + t * t * (3 - 2 * t) * upper
        hermite = hermite + t * (1 - t) ** 2 * rising - t * t * (1 - t) * falling
        fine[..., index : shape[3] - 1 : _FINER, :] = hermite
    return fine


def _small_signals(tables: DeviceTables, kind: str) -> Array:
    """`_SMALL_SIGNAL` over length, source-bulk, drain and gate voltage; shares as logarithms."""
    values = {name: table.astype(np.float64) for name, table in tables.values[kind].items()}
    opened = -np.expm1(-tables.vds_v / tables.thermal_v)[:, None]
    shares = {name: values[name] / values["id"] * (opened if name == "gds" else 1.0) for name in _SHARES}
    columns = [np.log(np.maximum(share, 1e-12)) for share in shares.values()]
    columns += [values[name] for name in (*CAPACITANCES, "vth")]
    return np.stack(columns, axis=-1)


def over_widths(
    table: Array,
    log_widths: Array,
    log_width: Array,
    rows: Places,
    lower: NDArray[np.integer],
    upper: NDArray[np.integer],
    share: Array,
) -> Array:
    """Numbers between the points of a table over kind, width and length, whose last axis they are.

    `lower`, `upper` and `share` are the place between two lengths.
    """
    at = np.clip(np.searchsorted(log_widths, log_width) - 1, 0, max(len(log_widths) - 2, 0))
    above = np.minimum(at + 1, len(log_widths) - 1)
    step = np.where(above > at, log_widths[above] - log_widths[at], 1.0)
    across = np.clip((log_width - log_widths[at]) / step, 0.0, 1.0)[..., None]
    along = share[..., None]
    low = (1 - along) * table[rows, at, lower] + along * table[rows, at, upper]
    high = (1 - along) * table[rows, above, lower] + along * table[rows, above, upper]
    return np.asarray((1 - across) * low + across * high)


def blended(
    table: NDArray[np.float32],
    lower: tuple[Places, Places, Places, Places, Places],
    step: Places,
    shares: Sequence[Array],
) -> Array:
    """Numbers between the points of a table over kind, length, source-bulk and drain voltage and level.

    `lower` are the lower points' positions; `step` is 0 where there is only one length; `shares` of the ways to the
    next points are of all but the kind. The numbers are the last axis, as in the table.
    """
    _, lengths, of_bulk, of_drain, of_level, numbers = table.shape
    row, length, bulk, drain, level = lower
    base = (((row * lengths + length) * of_bulk + bulk) * of_drain + drain) * of_level + level
    offsets = (step * (of_bulk * of_drain * of_level), of_drain * of_level, of_level, 1)
    flat = table.reshape(-1, numbers)
    found = np.zeros((*level.shape, numbers))
    for corner in range(16):
        weight: Array | float = 1.0
        index = base
        for bit, (part, offset) in enumerate(zip(shares, offsets, strict=True)):
            is_upper = bool(corner >> bit & 1)
            weight = weight * (part if is_upper else 1.0 - part)
            index = index + offset if is_upper else index
        found += np.asarray(weight)[..., None] * flat.take(index, axis=0)
    return found


def _even_place(axis: Array, value: Array) -> tuple[Places, float, Array]:
    """Lower point, step and share of a value on an even axis that starts at 0; shares go beyond 0 and 1 outside."""
    step = float(axis[1])
    place = value / step
    at = np.clip(place, 0.0, len(axis) - 2.0).astype(np.int32)
    return at, step, place - at


def _square_place(axis: Array, value: Array) -> tuple[Places, Array, Array]:
    """As `_even_place` on an axis that grows as squares."""
    steps = len(axis) - 1
    place = np.sqrt(np.maximum(value, 0.0) * (steps * steps / axis[-1]))
    at = np.minimum(place, steps - 1.0).astype(np.int32)
    points = axis.take(at)
    step = axis.take(at + 1) - points
    return at, step, (value - points) / step
