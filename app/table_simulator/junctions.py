"""Bipolar transistors and diodes by their equations: the Gummel-Poon model [gummel1970integral] as SPICE has it.

Left out are what this project's cards do not set: high injection at the collector, base resistance that falls with the
current, breakdown, excess phase, recombination at the collector. Series resistances are elements of their own
(`cards`). Currents go on as straight lines far above what a device survives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.table_simulator.device_tables import thermal_voltage
from app.table_simulator.devices import junction

Array = NDArray[np.float64]

#: Temperature at which the cards' numbers hold.
_NOMINAL_C = 27.0

#: Forward bias as a share of the built-in potential above which a depletion capacitance goes on as a straight line.
_FORWARD = 0.5

#: The least that the Early effect leaves of the base's charge.
_LEAST_CHARGE = 0.05


@dataclass(frozen=True, eq=False)
class Flows:
    """Currents into the terminals, their slopes ``slopes[i][j]`` over the voltage of j, and capacitances alike."""

    currents: list[Array]
    slopes: list[list[Array]]
    capacitances: list[list[Array]]

    def of(self, number: int) -> Flows:
        """Those of one device."""
        slopes, capacitances = (
            [[entry[number] for entry in row] for row in matrix] for matrix in (self.slopes, self.capacitances)
        )
        return Flows([current[number] for current in self.currents], slopes, capacitances)


def flows(kind: str, model: Mapping[str, float], celsius: float, area: Array | float, voltages: list[Array]) -> Flows:
    """Of an ``npn`` or ``pnp`` at (collector, base, emitter) or a ``diode`` at (anode, cathode).

    Args:
        kind: Of the device.
        model: The numbers of its card, at 27 C and of a unit device.
        celsius: Its temperature.
        area: In unit devices.
        voltages: Of its terminals, an array each.
    """
    if kind == "diode":
        return _diode(model, celsius, area, *voltages)
    return _bipolar(model, celsius, area, *voltages, sign=1.0 if kind == "npn" else -1.0)


def _diode(model: Mapping[str, float], celsius: float, area: Array | float, anode: Array, cathode: Array) -> Flows:
    ideality, thermal = model.get("n", 1.0), thermal_voltage(celsius)
    saturation = model["is"] * _growth(model, celsius) ** (1 / ideality) * area
    voltage = anode - cathode
    current, slope = junction(voltage, saturation * np.ones_like(voltage), ideality * thermal)
    charge = model.get("tt", 0.0) * slope
    charge = charge + area * _depletion(voltage, model.get("cjo", 0.0), model.get("vj", 1.0), model.get("m", 0.5))
    return Flows([current, -current], [[slope, -slope], [-slope, slope]], [[charge, -charge], [-charge, charge]])


def _bipolar(
    model: Mapping[str, float],
    celsius: float,
    area: Array | float,
    collector: Array,
    base: Array,
    emitter: Array,
    *,
    sign: float,
) -> Flows:
    thermal, ratio = thermal_voltage(celsius), _ratio(celsius)
    growth, gain = _growth(model, celsius), ratio ** model.get("xtb", 0.0)
    v_be, v_bc = sign * (base - emitter), sign * (base - collector)
    ones = np.ones_like(v_be)
    saturation = model["is"] * growth * area * ones
    leak_n = model.get("ne", 1.5)
    leakage = model.get("ise", 0.0) * growth ** (1 / leak_n) / gain * area * ones
    forward, forward_slope = junction(v_be, saturation, model.get("nf", 1.0) * thermal)
    reverse, reverse_slope = junction(v_bc, saturation, model.get("nr", 1.0) * thermal)
    leak, leak_slope = junction(v_be, leakage, leak_n * thermal)
    early = 1.0 - v_bc / model.get("vaf", np.inf) - v_be / model.get("var", np.inf)
    inside = early > _LEAST_CHARGE
    first = 1.0 / np.maximum(early, _LEAST_CHARGE)
    knee = model.get("ikf", np.inf) * area
    root = np.sqrt(1.0 + 4.0 * np.maximum(forward / knee, -0.2))
    charge = first * (1.0 + root) / 2
    over_be = charge * first * inside / model.get("var", np.inf) + first * forward_slope / knee / root
    over_bc = charge * first * inside / model.get("vaf", np.inf)
    carried = (forward - reverse) / charge
    carried_be = forward_slope / charge - carried / charge * over_be
    carried_bc = -reverse_slope / charge - carried / charge * over_bc
    forward_gain, reverse_gain = model.get("bf", 100.0) * gain, model.get("br", 1.0) * gain
    into_collector = carried - reverse / reverse_gain
    into_base = forward / forward_gain + leak + reverse / reverse_gain
    collector_be, collector_bc = carried_be, carried_bc - reverse_slope / reverse_gain
    base_be, base_bc = forward_slope / forward_gain + leak_slope, reverse_slope / reverse_gain
    slopes = [_over_terminals(collector_be, collector_bc), _over_terminals(base_be, base_bc)]
    stored_be = model.get("tf", 0.0) * carried_be + area * _depletion(
        v_be, model.get("cje", 0.0), model.get("vje", 0.75), model.get("mje", 0.33)
    )
    stored_bc = model.get("tr", 0.0) * reverse_slope + area * _depletion(
        v_bc, model.get("cjc", 0.0), model.get("vjc", 0.75), model.get("mjc", 0.33)
    )
    substrate = area * _depletion(
        -np.abs(collector), model.get("cjs", 0.0), model.get("vjs", 0.75), model.get("mjs", 0.0)
    )
    none = np.zeros_like(v_be)
    capacitances = [
        [stored_bc + substrate, -stored_bc, none],
        [-stored_bc, stored_bc + stored_be, -stored_be],
        [none, -stored_be, stored_be],
    ]
    currents = [sign * into_collector, sign * into_base]
    return Flows(
        [*currents, -(currents[0] + currents[1])],
        [*slopes, [-(a + b) for a, b in zip(*slopes, strict=True)]],
        capacitances,
    )


def _over_terminals(over_be: Array, over_bc: Array) -> list[Array]:
    """Slopes over collector, base and emitter from those over the junctions' voltages, whatever the polarity."""
    return [-over_bc, over_be + over_bc, -over_be]


def _ratio(celsius: float) -> float:
    return thermal_voltage(celsius) / thermal_voltage(_NOMINAL_C)


def _growth(model: Mapping[str, float], celsius: float) -> float:
    """By how much temperature multiplies a saturation current of ideality 1."""
    ratio = _ratio(celsius)
    exponent = (ratio - 1.0) * model.get("eg", 1.11) / thermal_voltage(celsius)
    return float(np.exp(exponent + model.get("xti", 3.0) * np.log(ratio)))


def _depletion(voltage: Array, zero_bias: float, built_in: float, grading: float) -> Array:
    """Capacitance of a junction in farad per unit device."""
    reach = _FORWARD * built_in
    below = zero_bias * (1.0 - np.minimum(voltage, reach) / built_in) ** -grading
    slope = zero_bias * grading / built_in * (1.0 - _FORWARD) ** (-grading - 1.0)
    return np.asarray(below + slope * np.maximum(voltage - reach, 0.0))
