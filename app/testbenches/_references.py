"""What references of a voltage and of a current are asked alike: temperature, and starting from no supply."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.testbenches._base import BenchCircuit, Reading, Run, Setting, Undefined, Wave
from app.testbenches._waveforms import settling_time

_COLDEST_C, _MIDDLE_C, _HOTTEST_C = -40.0, 27.0, 125.0
_COLD_STEPS, _HOT_STEPS = 5, 7

#: The runs of `temperature_runs`.
TEMPERATURE_RUNS = ("cold", "hot")

#: How close to its operating point a reference has started.
_STARTED = 0.1

START_SETTINGS = (
    Setting("ramp_s", "s", "time in which the supply rises from 0 V", 1e-6, 1e-9, 1.0),
    Setting("startup_window_s", "s", "time that is simulated from the start of the supply's ramp", 20e-6, 1e-8, 10.0),
)


def start_supply(circuit: BenchCircuit) -> str:
    """A supply that rises from 0 V and stays."""
    return f"DC 0 PWL(0 0 {circuit.settings['ramp_s']:.12g} {circuit.corner.supply_v:.12g})"


def start_run(settings: Mapping[str, float], *vectors: str) -> Run:
    """The transient named ``start`` over the window."""
    window = settings["startup_window_s"]
    return Run("start", "tran", f"tran {window / 100:.6g} {window:.12g}", vectors)


def startup_time(time: Wave, curve: Wave, final: float, settings: Mapping[str, float]) -> float | Undefined:
    """When the curve enters 90 to 110 % of `final` for good, from the start of the ramp."""
    if final == 0:
        return Undefined("the operating point is zero, so there is nothing to start")
    found = settling_time(time, curve, final, _STARTED * abs(final))
    if found is None:
        return Undefined(f"it does not start within {settings['startup_window_s']:g} s")
    return found


def temperature_runs(*vectors: str) -> tuple[Run, Run]:
    """Two sweeps from 27 C outwards: a circuit with two solutions stays in the one that it has there."""
    cold, hot = (_COLDEST_C - _MIDDLE_C) / _COLD_STEPS, (_HOTTEST_C - _MIDDLE_C) / _HOT_STEPS
    return (
        Run("cold", "dc", f"dc temp {_MIDDLE_C:g} {_COLDEST_C - 0.01:g} {cold:g}", vectors),
        Run("hot", "dc", f"dc temp {_MIDDLE_C:g} {_HOTTEST_C + 0.01:g} {hot:g}", vectors),
    )


def temperature_coefficient(reading: Reading, vector: str) -> float | Undefined:
    """The box method in parts per million and degree: spread over mean and over the range of temperatures."""
    curve = np.concatenate([reading.run(name).real(vector) for name in TEMPERATURE_RUNS])
    mean = abs(float(np.mean(curve)))
    if mean == 0:
        return Undefined("the mean over temperature is zero")
    return 1e6 * float(np.ptp(curve)) / mean / (_HOTTEST_C - _COLDEST_C)
