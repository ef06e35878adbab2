"""What a predictor sees of sizings: numbers of every element and of the conditions. Knows no store and no simulator.

Rows of simulations and sizings that nobody simulated take the same way: a `WiredTopology` says where each element finds
its sizes in a vector, a `TechnologyProfile` what a transistor of a length does at fixed inversion levels
[silveira1996gmid].
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.analog.kinds import SUPPLY_NETS
from app.analog.netlist import Device, Netlist
from app.errors import InvalidInput, UnknownName
from app.neural_simulator.arrays import (
    ELEMENT_FEATURE_NAMES,
    ELEMENT_FEATURES,
    ELEMENT_KINDS,
    PINS,
    Structure,
    condition_names,
    net_classes,
)
from app.simulators.bias import Bias, conducts_downwards
from app.sizes.space import SizeVariable
from app.technologies._base import Technology
from app.technologies._gmid import DESCRIPTOR_SHARES, KINDS, GmIdTables
from app.testbenches._base import Setting, Testbench, testbenches
from app.testbenches._simulator import Bench

Floats = NDArray[np.float64]
Features = NDArray[np.float32]

#: Sizes of an element, by the names that devices give them; `value` is the only one of what is no MOS.
_SIZES = ("width_m", "length_m", "multiplier", "value")
_VALUE_OF: Mapping[str, tuple[str, float]] = {
    "resistor": ("resistance_ohm", 10e3),
    "capacitor": ("capacitance_f", 1e-12),
    "inductor": ("inductance_h", 1e-9),
    **dict.fromkeys(("npn", "pnp", "diode"), ("area", 1.0)),
}

_HAVE_VALUES = frozenset({*_VALUE_OF, "voltage_source", "current_source"})

#: Currents are counted in the bias current of a small circuit, gate capacitances in what a small transistor has.
_CURRENT_A, _GATE_F = 10e-6, 10e-15

#: Below this no size is told apart from none: logarithms of a current or a load that is switched off.
_LEAST = 1e-6

#: Settings are counted in these; what has a share for its unit is told as it is.
_UNITS: Mapping[str, float] = {
    "V": 1.0, "A": _CURRENT_A, "F": 1e-12, "ohm": 10e3, "Hz": 100e6, "s": 1e-6, "dBm": 30.0, "1": 1.0,
}  # fmt: skip

#: The inversion level, a position in `DESCRIPTOR_SHARES`, at which the gate capacitance is told.
_MIDDLE = len(DESCRIPTOR_SHARES) // 2

_FEATURE = {name: index for index, name in enumerate(ELEMENT_FEATURE_NAMES)}
_OF_LEVELS = slice(_FEATURE[f"log_current_{DESCRIPTOR_SHARES[0]:g}"], _FEATURE["log_gate_capacitance"])


@dataclass(frozen=True, eq=False)
class TechnologyProfile:
    """A technology as predictors see it: P process corners, L lengths.

    `levels` are `GmIdTables.inversion_levels` and `descriptors` are `GmIdTables.descriptor` of every corner.
    """

    name: str
    supply_v: float
    processes: tuple[str, ...]
    lengths_m: Floats  # [L]
    levels: Floats  # [P, nmos and pmos, L, DESCRIPTOR_SHARES, 6]
    descriptors: Floats  # [P, DESCRIPTOR_SIZE]

    @classmethod
    def of(cls, tables: Sequence[GmIdTables]) -> TechnologyProfile:
        """The profile from one technology's tables, one process corner each."""
        first = tables[0]
        return cls(
            first.technology,
            first.supply_v,
            tuple(each.process for each in tables),
            first.lengths_m,
            np.stack([[each.inversion_levels(kind) for kind in KINDS] for each in tables]),
            np.stack([each.descriptor() for each in tables]),
        )

    def places(self, process: NDArray[np.str_]) -> NDArray[np.intp]:
        """The position of each process corner in `processes`. Raises UnknownName."""
        names, inverse = np.unique(process, return_inverse=True)
        for name in names.tolist():
            if name not in self.processes:
                raise UnknownName(f"process corner in the tables of {self.name}", name, self.processes)
        places = np.array([self.processes.index(name) for name in names.tolist()], dtype=np.intp)
        return places[inverse]


@dataclass(frozen=True, eq=False)
class Sizings:
    """What n sizings of a wired topology are in numbers; `sizes` follow its variables, `settings` its structure's."""

    sizes: Floats  # [n, V], SI units
    supply_v: Floats  # [n]
    celsius: Floats  # [n]
    process: NDArray[np.str_]  # [n]
    settings: Floats  # [n, S], NaN where unknown

    def __len__(self) -> int:
        return len(self.sizes)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Sizings:
        """These sizings, by number or by a mask, in this order."""
        return Sizings(
            self.sizes[rows], self.supply_v[rows], self.celsius[rows], self.process[rows], self.settings[rows]
        )

    @classmethod
    def of_bench(cls, bench: Bench, vectors: Sequence[Sequence[float]] | Floats) -> Sizings:
        """Vectors of the bench's size space in its corner, with its settings."""
        sizes = np.asarray(vectors, dtype=np.float64).reshape(-1, len(bench.space.variables))
        count = len(sizes)
        settings = [bench.settings[setting.name] for setting in bench.testbench.settings]
        return cls(
            sizes,
            np.full(count, bench.corner.supply_v),
            np.full(count, bench.corner.celsius),
            np.full(count, bench.corner.process),
            np.broadcast_to(np.array(settings, dtype=np.float64), (count, len(settings))),
        )


@dataclass(frozen=True, eq=False)
class WiredTopology:
    """A structure, and where in a vector of V variables its elements find their sizes. E elements.

    ``variable[e, s]`` is the position of the variable that gives element e its width, length, multiplier or value, -1
    where none does; ``fixed[e, s]`` is what it has then. `follows_supply` are the voltage sources that are held against
    VDD: in a corner their level moves with the supply.
    """

    structure: Structure
    variable: NDArray[np.int32]  # [E, 4]
    fixed: Floats  # [E, 4]
    follows_supply: NDArray[np.bool_]  # [E]

    @classmethod
    def of_bench(cls, bench: Bench, topology_id: str) -> WiredTopology:
        """The circuit of a bench; `topology_id` is its canonical hash."""
        return wired_topology(
            bench.topology,
            bench.space.variables,
            bench.wiring.port_of,
            bench.testbench,
            topology_id=topology_id,
            metrics=[metric.name for metric in bench.metrics],
            following=ports_that_follow_the_supply(bench.bias, bench.technology),
        )


def ports_that_follow_the_supply(bias: Bias, technology: Technology) -> frozenset[str]:
    """Bias ports whose source testbenches hold against VDD: those above half of the nominal supply."""
    return frozenset(source.net for source in bias.voltages if source.volts > technology.supply_v / 2)


def wired_topology(
    netlist: Netlist,
    variables: Sequence[SizeVariable],
    ports: Mapping[str, str],
    testbench: Testbench,
    *,
    topology_id: str,
    metrics: Sequence[str],
    following: Collection[str],
) -> WiredTopology:
    """The netlist as elements with their places in a vector of these variables.

    Args:
        netlist: Sizes that no variable gives are its own; a multiplier or an area is 1 without.
        variables: Of a size space, those of bias sources with their port.
        ports: Role of the testbench -> port that plays it.
        testbench: Whose settings the structure has.
        topology_id: What the structure is called.
        metrics: What is measured, cheap to costly.
        following: Bias ports whose level moves with the supply.

    Raises:
        InvalidInput: a device has no size, or none of the known roles is played.
    """
    sources = [(index, variable) for index, variable in enumerate(variables) if variable.port is not None]
    place_of = {place: index for index, variable in enumerate(variables) for place in variable.places}
    variable = np.full((len(netlist.devices) + len(sources), len(_SIZES)), -1, dtype=np.int32)
    fixed = np.ones(variable.shape)
    for row, device in enumerate(netlist.devices):
        for column, size in _sizes_of(device):
            if (device.name, size) in place_of:
                variable[row, column] = place_of[device.name, size]
            elif size in device.sizes:
                fixed[row, column] = device.sizes[size]
            elif size not in ("multiplier", "area"):
                raise InvalidInput(f"device {device.name} has no {size}, and no variable gives it one")
    for row, (index, _) in enumerate(sources, start=len(netlist.devices)):
        variable[row, _SIZES.index("value")] = index
    wires = [(device.name, device.kind, _told_nets(device)) for device in netlist.devices]
    wires += [_source(netlist, each) for _, each in sources]
    structure = _structure(netlist, wires, ports, testbench, topology_id, metrics)
    follows = [False] * len(netlist.devices) + [each.unit == "V" and each.port in following for _, each in sources]
    return WiredTopology(structure, variable, fixed, np.array(follows, dtype=np.bool_))


def _sizes_of(device: Device) -> list[tuple[int, str]]:
    """(column of `_SIZES`, the size's name on the device); none for a block."""
    if device.kind_of.is_mos:
        return [(column, size) for column, size in enumerate(_SIZES) if size != "value"]
    return [(_SIZES.index("value"), _VALUE_OF[device.kind][0])] if device.kind in _VALUE_OF else []


def _told_nets(device: Device) -> tuple[str, ...]:
    """The nets of the first pins, where there are too many those at a block's supplies last."""
    pins = sorted(device.pins(), key=lambda pin: pin[0] in ("vdd", "vss"))
    return tuple(net for _, net in pins[:PINS])


def _source(netlist: Netlist, variable: SizeVariable) -> tuple[str, str, tuple[str, str]]:
    """A bias source as an element: its port, then the supply that its current comes from or goes to."""
    port = variable.port or ""
    if not variable.is_current:
        return variable.name, "voltage_source", (port, "VSS")
    return variable.name, "current_source", (port, "VDD" if conducts_downwards(netlist, port) else "VSS")


def _structure(
    netlist: Netlist,
    wires: Sequence[tuple[str, str, tuple[str, ...]]],
    ports: Mapping[str, str],
    testbench: Testbench,
    topology_id: str,
    metrics: Sequence[str],
) -> Structure:
    class_of = {port: f"role:{role}" for role, port in ports.items()} | {net: net for net in SUPPLY_NETS}
    classes = {name: index for index, name in enumerate(net_classes())}
    number_of = {net: number for number, net in enumerate(netlist.nets)}
    nets = np.zeros((len(wires), PINS), dtype=np.int16)
    numbers = np.full((len(wires), PINS), -1)
    for row, (_, _, each) in enumerate(wires):
        for pin, net in enumerate(each):
            name = class_of.get(net, "bias" if net in netlist.ports else "internal")
            if name not in classes:
                raise InvalidInput(f"no testbench has a {name.removeprefix('role:')!r}, which port {net} is said to be")
            nets[row, pin] = classes[name]
            numbers[row, pin] = -1 if net in SUPPLY_NETS else number_of[net]
    is_same = numbers[:, None, :, None] == numbers[None, :, None, :]
    shared = is_same & (numbers >= 0)[:, None, :, None]
    return Structure(
        topology_id,
        testbench.name,
        tuple(metrics),
        tuple(setting.name for setting in testbench.settings),
        tuple(name for name, _, _ in wires),
        np.array([ELEMENT_KINDS.index(kind) for _, kind, _ in wires], dtype=np.int8),
        nets,
        shared.reshape(len(wires), len(wires), PINS * PINS),
    )


def element_features(wired: WiredTopology, profile: TechnologyProfile, sizings: Sizings) -> Features:
    """``elements`` of `Rows`: sizing x element x `ELEMENT_FEATURE_NAMES`.

    Sizes are logarithms (base 10): total width and length in um, W/L, resistances in 10 kohm, capacitances in pF,
    inductances in nH, areas in unit devices, bias currents in 10 uA. Of a MOS follow, at each of `DESCRIPTOR_SHARES` of
    the highest gm/Id at its own length: the logarithm of the current that it carries then in 10 uA, gm/Id in 30 /V, Vgs
    as a share of the supply, log10(gm/gds) - 1.5 and log10 of fT in GHz; then log10 of its gate capacitance in 10 fF.
    Levels of voltage sources count from VSS, as a share of the supply and in volts, and from VDD, in volts.

    Raises:
        UnknownName: a process corner that the profile lacks.
    """
    found = np.zeros((len(sizings), len(wired.structure.names), ELEMENT_FEATURES), dtype=np.float32)
    kinds = np.array([ELEMENT_KINDS[kind] for kind in wired.structure.kinds])
    _add_transistors(found, np.flatnonzero(np.isin(kinds, KINDS)), kinds, wired, profile, sizings)
    for kind, (_, unit) in {**_VALUE_OF, "current_source": ("", _CURRENT_A)}.items():
        rows = np.flatnonzero(kinds == kind)
        values = _size(wired, rows, "value", sizings)
        found[:, rows, _FEATURE["log_value"]] = np.log10(np.maximum(values / unit, _LEAST))
    _add_voltages(found, np.flatnonzero(kinds == "voltage_source"), wired, profile, sizings)
    return found


def element_sizes(wired: WiredTopology, sizings: Sizings) -> Mapping[str, tuple[NDArray[np.intp], Floats]]:
    """By the name of a size (width_m, length_m, multiplier, value): which elements have it, and sizing x element."""
    is_mos = np.array([ELEMENT_KINDS[kind] in KINDS for kind in wired.structure.kinds])
    has_value = np.array([ELEMENT_KINDS[kind] in _HAVE_VALUES for kind in wired.structure.kinds])
    places = {size: np.flatnonzero(has_value if size == "value" else is_mos) for size in _SIZES}
    return {size: (rows, _size(wired, rows, size, sizings)) for size, rows in places.items()}


def _size(wired: WiredTopology, rows: NDArray[np.intp], size: str, sizings: Sizings) -> Floats:
    """Sizing x row: what these elements have of a size."""
    column = _SIZES.index(size)
    variable, fixed = wired.variable[rows, column], wired.fixed[rows, column]
    if not sizings.sizes.shape[1]:
        return np.broadcast_to(fixed, (len(sizings), len(rows)))
    return np.where(variable >= 0, sizings.sizes[:, variable], fixed)


def _add_transistors(
    found: Features,
    rows: NDArray[np.intp],
    kinds: NDArray[np.str_],
    wired: WiredTopology,
    profile: TechnologyProfile,
    sizings: Sizings,
) -> None:
    width, length, multiplier = (_size(wired, rows, size, sizings) for size in _SIZES[:3])
    log_width, log_length = np.log10(width * multiplier), np.log10(length)
    levels = _levels_at(profile, profile.places(sizings.process), kinds[rows] == "pmos", log_length)
    current, gm_over_id, gate_v, gain, speed, capacitance = np.moveaxis(levels, -1, 0)
    told = np.stack(
        [
            current + (log_width - np.log10(_CURRENT_A))[..., None],
            gm_over_id / 30,
            gate_v / sizings.supply_v[:, None, None],
            gain - 1.5,
            speed - 9,
        ],
        axis=-1,
    )
    found[:, rows, _OF_LEVELS] = told.reshape(*told.shape[:2], _OF_LEVELS.stop - _OF_LEVELS.start)
    found[:, rows, _FEATURE["log_width"]] = log_width + 6
    found[:, rows, _FEATURE["log_length"]] = log_length + 6
    found[:, rows, _FEATURE["log_aspect"]] = np.log10(width) - log_length
    found[:, rows, _FEATURE["log_multiplier"]] = np.log10(multiplier)
    found[:, rows, _FEATURE["log_gate_capacitance"]] = capacitance[..., _MIDDLE] + log_width - np.log10(_GATE_F)


def _levels_at(
    profile: TechnologyProfile, processes: NDArray[np.intp], is_pmos: NDArray[np.bool_], log_length: Floats
) -> Floats:
    """Sizing x transistor x inversion level x number: linear over the log of the length, the nearest end outside."""
    kinds = is_pmos.astype(np.intp)
    axis = np.log10(profile.lengths_m)
    lower = np.clip(np.searchsorted(axis, log_length) - 1, 0, max(len(axis) - 2, 0))
    upper = np.minimum(lower + 1, len(axis) - 1)
    step = np.where(upper > lower, axis[upper] - axis[lower], 1.0)
    share = np.clip((log_length - axis[lower]) / step, 0.0, 1.0)[..., None, None]
    below, above = (profile.levels[processes[:, None], kinds[None, :], index] for index in (lower, upper))
    return np.asarray(below * (1 - share) + above * share)


def _add_voltages(
    found: Features,
    rows: NDArray[np.intp],
    wired: WiredTopology,
    profile: TechnologyProfile,
    sizings: Sizings,
) -> None:
    follows, supply_v = wired.follows_supply[rows], sizings.supply_v[:, None]
    level_v = _size(wired, rows, "value", sizings) + np.where(follows, supply_v - profile.supply_v, 0.0)
    found[:, rows, _FEATURE["level_share"]] = level_v / supply_v
    found[:, rows, _FEATURE["level"]] = level_v
    found[:, rows, _FEATURE["level_below_supply"]] = supply_v - level_v
    found[:, rows, _FEATURE["follows_supply"]] = follows


def condition_features(structure: Structure, profile: TechnologyProfile, sizings: Sizings) -> Features:
    """``conditions`` of `Rows`: sizing x `condition_names`, NaN where the testbench lacks the setting.

    log10 of the supply in volts, the supply over the nominal one, and hundreds of degrees from 27 C. A setting that is
    a share of the supply on any testbench is told as that; one that is positive over decades as log10 in 10 uA, pF, 10
    kohm, 100 MHz or us; a current of either sign as asinh over ln(10), which is linear near 0; others as they are.
    """
    names = condition_names()
    found = np.full((len(sizings), len(names)), np.nan, dtype=np.float32)
    found[:, 0] = np.log10(sizings.supply_v)
    found[:, 1] = sizings.supply_v / profile.supply_v
    found[:, 2] = (sizings.celsius - 27.0) / 100.0
    for column, name in enumerate(structure.settings):
        found[:, names.index(f"setting:{name}")] = _told_setting(name, sizings.settings[:, column], sizings.supply_v)
    return found


def _told_setting(name: str, values: Floats, supply_v: Floats) -> Floats:
    alike = [setting for testbench in testbenches.values() for setting in testbench.settings if setting.name == name]
    if any(setting.of_supply for setting in alike):
        return values / supply_v
    scaled = values / _UNITS[alike[0].unit]
    if any(_is_signed(setting) for setting in alike):
        return np.asarray(np.arcsinh(scaled) / np.log(10))
    if all(_is_linear(setting) for setting in alike):
        return scaled
    return np.asarray(np.log10(np.maximum(scaled, _LEAST)))


def _is_signed(setting: Setting) -> bool:
    return setting.low < 0 and setting.unit != "dBm"


def _is_linear(setting: Setting) -> bool:
    return setting.unit == "dBm" or (setting.unit == "1" and setting.high <= 1.0)
