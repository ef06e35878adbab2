"""Device tables of a transistor that follows from a formula, for tests of the table simulator that have no ngspice."""

from __future__ import annotations

import numpy as np

from app.table_simulator.device_tables import CAPACITANCES, WIDTH_EFFECTS, DeviceTables, thermal_voltage
from app.table_simulator.noise_tables import NoiseTables, thermal_noise
from app.table_simulator.table_plans import KINDS
from app.technologies._base import Technology

#: Of every transistor: slope factor, threshold, current of a square one at moderate inversion, channel-length
#: modulation at 1 um, gate-source, gate-drain and drain-bulk capacitance per width.
SLOPE, THRESHOLD_V, SCALE_A, MODULATION_PER_V = 1.3, 0.45, {"nmos": 4e-7, "pmos": 1.5e-7}, 0.08
GATE_SOURCE_F_PER_M, GATE_DRAIN_F_PER_M, DRAIN_BULK_F_PER_M = 2e-9, 3e-10, 8e-10

#: Of every transistor: white noise over that of its channel's conductance; flicker noise at 1 Hz and of a square metre
#: of gate over the square of the current, and with which power of the frequency it falls.
NOISE_SHARE, FLICKER_M2_PER_HZ, EXPONENTS = 0.7, {"nmos": 4e-20, "pmos": 5e-21}, {"nmos": 0.9, "pmos": 1.1}


def ekv_current(
    kind: str,
    width_m: float,
    length_m: float | np.ndarray,
    vgs: np.ndarray,
    vds: np.ndarray,
    vsb: np.ndarray,
    celsius: float = 27.0,
) -> np.ndarray:
    """The drain current in amperes; voltages are positive the way the polarity conducts."""
    thermal = thermal_voltage(celsius)
    pinch_off = (vgs - THRESHOLD_V - (SLOPE - 1) * vsb) / SLOPE
    forward, reverse = (np.logaddexp(0, (pinch_off - end) / (2 * thermal)) ** 2 for end in (0.0, vds))
    modulated = 1 + MODULATION_PER_V * 1e-6 / length_m * vds
    return np.asarray(SCALE_A[kind] * width_m / length_m * (forward - reverse) * modulated)


def ekv_tables(technology: Technology, process: str, celsius: float) -> DeviceTables:
    """The tables of such transistors, their slopes by differences. Widths change nothing."""
    supply = technology.supply_v
    lengths = np.geomspace(technology.length_min_m, technology.length_max_m, 12)
    widths = np.geomspace(technology.width_min_m, technology.width_max_m, 3)
    vgs = np.linspace(0, 1.2 * supply, 61)
    vds, vsb = 1.2 * supply * (np.arange(16) / 15) ** 2, 0.9 * supply * (np.arange(6) / 5) ** 2
    vds[0] = 1e-3
    at = np.meshgrid(lengths, vsb, vds, vgs, indexing="ij")
    values = {}
    for kind in KINDS:

        def current(gate: float = 0.0, drain: float = 0.0, bulk: float = 0.0, kind: str = kind) -> np.ndarray:
            return ekv_current(kind, 1.0, at[0], at[3] + gate, at[2] + drain, at[1] + bulk, celsius)

        step = 1e-5
        table = {
            "id": current(),
            "gm": (current(gate=step) - current(gate=-step)) / (2 * step),
            "gds": (current(drain=step) - current(drain=-step)) / (2 * step),
            "gmbs": (current(bulk=-step) - current(bulk=step)) / (2 * step),
            "vth": THRESHOLD_V + (SLOPE - 1) * at[1],
        }
        charges = {
            "cgg": GATE_SOURCE_F_PER_M + GATE_DRAIN_F_PER_M, "cgd": -GATE_DRAIN_F_PER_M, "cdg": -GATE_DRAIN_F_PER_M,
            "cdd": GATE_DRAIN_F_PER_M + DRAIN_BULK_F_PER_M, "cdb": -DRAIN_BULK_F_PER_M, "cbd": -DRAIN_BULK_F_PER_M,
            "cbb": DRAIN_BULK_F_PER_M,
        }  # fmt: skip
        values[kind] = table | {name: np.full_like(at[0], charges.get(name, 0.0)) for name in CAPACITANCES}
    nothing = {name: np.zeros((len(widths), len(lengths))) for name in WIDTH_EFFECTS}
    return DeviceTables(
        technology.name, process, celsius, supply, lengths, widths, vsb, vds, vgs, values,
        dict.fromkeys(KINDS, nothing), dict.fromkeys(KINDS, 1e-11),
    )  # fmt: skip


def ekv_noise(tables: DeviceTables) -> NoiseTables:
    """The noise of such transistors; that of wide ones is no other."""
    places = np.array([0, 5]), np.arange(0, 16, 5), np.arange(0, 61, 4)
    at = np.ix_(np.arange(len(tables.lengths_m)), *places)
    values = {}
    for kind in KINDS:
        told = tables.values[kind]
        conductance = (told["gm"] + told["gds"] + told["gmbs"])[at]
        flicker = FLICKER_M2_PER_HZ[kind] * told["id"][at] ** 2 / tables.lengths_m[:, None, None, None]
        values[kind] = {"white": NOISE_SHARE * thermal_noise(tables.celsius) * conductance, "flicker": flicker}
    nothing = np.zeros((len(tables.widths_m), len(tables.lengths_m), 2))
    return NoiseTables(places, tables.widths_m, values, dict.fromkeys(KINDS, nothing), EXPONENTS)


class EkvTables:
    """Where a table simulator gets these tables from."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, float], DeviceTables] = {}
        self._noise: dict[tuple[str, str, float], NoiseTables] = {}

    def tables(self, technology: Technology, process: str, celsius: float) -> DeviceTables:
        """The same object for the same question."""
        key = (technology.name, process, celsius)
        if key not in self._known:
            self._known[key] = ekv_tables(technology, process, celsius)
        return self._known[key]

    def noise(self, technology: Technology, process: str, celsius: float) -> NoiseTables:
        """The same object for the same question."""
        key = (technology.name, process, celsius)
        if key not in self._noise:
            self._noise[key] = ekv_noise(self.tables(technology, process, celsius))
        return self._noise[key]
