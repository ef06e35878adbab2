"""Driving ports at radio frequency, and the tones of a transient with several of them. Pure; knows no circuit.

All tones of a transient are whole multiples of one base frequency, so that one of its periods holds them all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from app.analog.kinds import SUPPLY_NETS
from app.analog.netlist import Netlist
from app.testbenches._base import RunFailed, Undefined, Wave

#: Tolerances of a transient with a steady step that has to show products 100 dB below a tone: Newton's iteration stops
#: far below them, and the truncation error does not cut the step (the product of reltol and trtol is the default one).
#: A smaller abstol would stop the iteration at the rounding of currents, and cut the step a thousandfold.
TONE_OPTIONS = ("reltol=1e-5 trtol=700 vntol=1e-10",)

#: How far a transient goes beyond its last period, in periods. The simulator cuts the step before it stops; with steps
#: all equal, tones that are not asked for leave no trace.
AFTER = 0.05

#: A transient that takes this many times its points is stopped.
_CUT = 2

#: Conductance of a coupling capacitor at the lowest frequency, relative to the source's.
_BLOCK = 100.0

#: Products this far below a tone, in decibels, are the simulator's rounding.
FLOOR_DB = 120.0

#: How much a product of the last period may differ from the one before, relatively, once all has settled.
_SETTLED = 0.1

#: The fifth-order product is this far below the third-order one where the third-order intercept means something.
_WEAK_DB = 12.0


def amplitude_of_power(dbm: float, source_ohm: float) -> float:
    """Peak open-circuit voltage of a source whose available power is given in dBm."""
    return float(np.sqrt(8 * source_ohm * 1e-3 * 10 ** (dbm / 10)))


def steady_transient(step_s: float, stop_s: float) -> tuple[str, str]:
    """The command of a transient with a steady step, and the one that stops it where steps are cut too often."""
    points = round(_CUT * stop_s / step_s)
    return f"tran {step_s:.15g} {stop_s:.15g} 0 {step_s:.15g}", f"stop after {points}"


def blocking_capacitance(lowest_hz: float, source_ohm: float) -> float:
    """A capacitor that passes `lowest_hz`, in farads.

    No larger than needed: its current is rounded in proportion to its conductance, and drowns small products.
    """
    return _BLOCK / (2 * np.pi * lowest_hz * source_ohm)


def needs_bias(netlist: Netlist, port: str, biased: Collection[str]) -> bool:
    """True where nothing inside the circuit sets the port's direct voltage.

    From the port over resistors and coils: what meets a supply VDD, a bias port, or a pin that carries a transistor's
    current has a level of its own. What meets only gates, bases, capacitors and VSS is waiting for one.
    """
    seen, waiting = {port}, [port]
    while waiting:
        for device, pin in netlist.pins_of[waiting.pop()]:
            if device.kind in ("resistor", "inductor"):
                for net in device.nets:
                    if net == "VDD" or net in biased:
                        return False
                    if net not in seen and net not in SUPPLY_NETS:
                        seen.add(net)
                        waiting.append(net)
            elif pin in ("drain", "source", "collector", "emitter") or device.kind == "diode":
                return False
    return True


def tones(
    time: Wave, curve: Wave, base_hz: float, numbers: Sequence[int], end_s: float
) -> tuple[Mapping[int, complex], Mapping[int, complex]]:
    """Complex peak amplitudes of multiples of the base frequency, in its last two periods before `end_s`.

    The last period comes first. By least squares on the samples as they are: interpolating between uneven ones would
    add products of its own. What the mean drifts from one period to the other (a coupling capacitor that charges) is
    taken away as a straight line. Phases count from the same instant in both.

    Raises:
        RunFailed: the record ends before.
    """
    if end_s * base_hz < 2 or time[-1] < end_s:
        raise RunFailed("the simulator cut its time step so often that the transient was stopped", "simulator")
    periods = [(time > end_s - (ago + 1) / base_hz) & (time <= end_s - ago / base_hz) for ago in (0, 1)]
    drift = (curve[periods[0]].mean() - curve[periods[1]].mean()) * base_hz
    found = []
    for inside in periods:
        angles = 2 * np.pi * base_hz * np.outer(time[inside], np.asarray(numbers, dtype=np.float64))
        rows = np.hstack((np.ones((angles.shape[0], 1)), np.cos(angles), np.sin(angles)))
        parts, *_ = np.linalg.lstsq(rows, curve[inside] - drift * (time[inside] - end_s), rcond=None)
        cosines, sines = parts[1 : 1 + len(numbers)], parts[1 + len(numbers) :]
        found.append(dict(zip(numbers, (cosines - 1j * sines).tolist(), strict=True)))
    return found[0], found[1]


def intercept_db(
    last: Mapping[int, complex],
    before: Mapping[int, complex],
    pair: tuple[int, int],
) -> float | Undefined:
    """Half the distance of the tones from their third-order products, in decibels: intercept over input level.

    `pair` are the numbers of the two tones at the output; `last` and `before` are those of the last two periods. The
    larger of both products and the smaller tone count.
    """
    low, high = pair
    wanted, products = (low, high), (2 * low - high, 2 * high - low)
    tone = min(abs(last[number]) for number in wanted)
    product = max(products, key=lambda number: abs(last[number]))
    level = abs(last[product])
    if tone == 0 or level < tone * 10 ** (-FLOOR_DB / 20):
        return Undefined(f"the third-order products are more than {FLOOR_DB:g} dB below the tones")
    if abs(last[product] - before[product]) > _SETTLED * level:
        return Undefined("the circuit has not settled by the end of the two-tone transient", "simulator")
    fifth = max(abs(last[number]) for number in (3 * low - 2 * high, 3 * high - 2 * low) if number > 0)
    if fifth > level * 10 ** (-_WEAK_DB / 20):
        return Undefined(
            f"the tones compress: the fifth-order products are within {_WEAK_DB:g} dB of the third-order ones"
        )
    return float(10 * np.log10(tone / level))
