"""gm/Id tables of a transistor that follows from a formula, for tests that have no simulator."""

from __future__ import annotations

import numpy as np

from app.technologies._base import Technology
from app.technologies._gmid import KINDS, GmIdTables

#: Slope factor times thermal voltage, threshold and gate capacitance per area of every analytic transistor.
SLOPE_V, THRESHOLD_V, CAPACITANCE_F_PER_M2 = 1.3 * 0.02585, 0.45, 5e-3

#: Drain current in amperes of a square transistor in moderate inversion, by kind; pmos conduct less.
SCALE_A = {"nmos": 1e-6, "pmos": 3e-7}


def analytic_tables(technology: Technology, process: str | None = None, *, factor: float = 1.0) -> GmIdTables:
    """Transistors with Id = `factor` x scale x W/L x ln(1 + exp((Vgs - Vt) / 2nUt))^2, saturated at any Vds.

    gds falls with the length, so that gm/gds grows with it; the gate capacitance is that of its area. No bulk effect.
    """
    supply_v = technology.supply_v
    lengths = np.geomspace(technology.length_min_m, technology.length_max_m, 6)
    vsb, vds, vgs = np.array([0.0, 0.5 * supply_v]), np.linspace(0.1, 1.0, 3) * supply_v, np.linspace(0, supply_v, 61)
    shape = (len(lengths), len(vsb), len(vds), len(vgs))
    over_v = (vgs - THRESHOLD_V) / (2 * SLOPE_V)
    soft = np.log1p(np.exp(over_v))
    length = lengths[:, None, None, None]
    values = {}
    for kind in KINDS:
        current = factor * SCALE_A[kind] * soft**2 / length
        values[kind] = {
            "id": np.broadcast_to(current, shape),
            "gm": np.broadcast_to(current / soft / (1 + np.exp(-over_v)) / SLOPE_V, shape),
            "gds": np.broadcast_to(current * 0.05e-6 / length, shape),
            "cgg": np.broadcast_to(CAPACITANCE_F_PER_M2 * length, shape),
            "vth": np.full(shape, THRESHOLD_V),
            "vdsat": np.broadcast_to(2 * SLOPE_V * np.sqrt(soft), shape),
        }
    process = technology.processes[0] if process is None else process
    return GmIdTables(technology.name, process, "0" * 16, supply_v, lengths, vsb, vds, vgs, values)
