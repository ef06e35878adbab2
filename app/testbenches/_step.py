"""The response of a unity-gain loop to a step up and a step down: levels, timing, and the metrics read from it.

The step's duration follows the loop's own speed: `time_scale` derives it from the unity-gain frequency, so that a
microwatt amplifier and a gigahertz one are sampled alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from app.testbenches._base import Metric, Reading, Run, Undefined, Wave
from app.testbenches._waveforms import edge_rate, settling_time

#: Half a period of the step in time constants 1/(2 pi ugf): linear settling takes 7 of them to 0.1 %, slewing about as
#: many as the step has units of 0.1 V (a pair with gm/Id near 10 /V).
_TIME_CONSTANTS = 40.0

#: When the step rises, and when it falls (half a period and one edge later), in half periods.
_RISES, _FALLS, _ENDS = 0.05, 1.051, 2.05

NO_STEP = "there is no unity-gain frequency, or the output does not follow the step"

#: From a reading: time and the output, which follows the input's step of `Levels` with gain 1.
Output = Callable[[Reading], tuple[Wave, Wave]]
Levels = Callable[[Reading], tuple[float, float]]


def pulse(low: float, high: float) -> str:
    """The source value of the step, in the parameters that `time_scale` derives."""
    times = f"{{tb_half*{_RISES}}} {{tb_half*1e-3}} {{tb_half*1e-3}} {{tb_half}} {{tb_half*10}}"
    return f"PULSE({low:.12g} {high:.12g} {times})"


def step_run(*vectors: str) -> Run:
    """The run named ``step``."""
    return Run("step", "tran", "tran {tb_step:.12g} {tb_stop:.12g}", vectors)


def time_scale(reading: Reading) -> Mapping[str, float]:
    """The step's timing from the unity-gain frequency; none where there is no such frequency."""
    half = _TIME_CONSTANTS / (2 * np.pi * reading.number("ugf_hz"))
    return {"tb_half": half, "tb_step": half / 200, "tb_stop": _ENDS * half}


def step_metrics(output: Output, levels: Levels, runs: tuple[str, ...]) -> tuple[Metric, ...]:
    """Step error, slew rate, settling to 1 and 0.1 %, overshoot; `runs` are all that the step takes."""

    def edges(reading: Reading) -> tuple[tuple[Wave, Wave], tuple[Wave, Wave]]:
        """(time from the edge, output) of the rising and of the falling edge."""
        time, curve = output(reading)
        half = time[-1] / _ENDS
        rising = (time >= _RISES * half) & (time < _FALLS * half)
        falling = time >= _FALLS * half
        return (time[rising] - _RISES * half, curve[rising]), (time[falling] - _FALLS * half, curve[falling])

    def step_error(reading: Reading) -> float:
        low, high = levels(reading)
        (_, up), (_, down) = edges(reading)
        return float((up[-1] - down[-1]) / (high - low) - 1.0)

    def follows(reading: Reading) -> Undefined | None:
        return Undefined("the output does not follow the step") if abs(step_error(reading)) > 0.5 else None

    def slew_rate(reading: Reading) -> float | Undefined:
        low, high = levels(reading)
        (rise_time, up), (fall_time, down) = edges(reading)
        centre = (up[-1] + down[-1] - low - high) / 2
        rates = (
            edge_rate(rise_time, up, low + centre, high + centre),
            edge_rate(fall_time, down, high + centre, low + centre),
        )
        if rates[0] is None or rates[1] is None:
            return Undefined("the output does not pass 20 and 80 % of the step on both edges")
        return min(rates[0], rates[1])

    def settling(band: float) -> Callable[[Reading], float | Undefined]:
        def measure(reading: Reading) -> float | Undefined:
            astray = follows(reading)
            if astray:
                return astray
            low, high = levels(reading)
            allowed = band * (high - low)
            slowest = 0.0
            for time, curve in edges(reading):
                found = settling_time(time, curve, float(curve[-1]), allowed)
                if found is None or np.ptp(curve[time >= 0.8 * time[-1]]) > allowed:
                    return Undefined(f"the output does not stay within {band:.1%} of the step")
                slowest = max(slowest, found)
            return slowest

        return measure

    def overshoot(reading: Reading) -> float | Undefined:
        astray = follows(reading)
        if astray:
            return astray
        low, high = levels(reading)
        (_, up), (_, down) = edges(reading)
        return float(max(up.max() - up[-1], down[-1] - down.min(), 0.0) / (high - low))

    rings = f"{NO_STEP}, or rings on"
    return (
        Metric(
            "step_error",
            "1",
            "height of the output's step relative to the input's, minus 1",
            "there is no unity-gain frequency",
            runs,
            step_error,
        ),
        Metric(
            "slew_rate_v_per_s",
            "V/s",
            "slope between 20 and 80 % of the step, the slower of both edges",
            NO_STEP,
            runs,
            slew_rate,
            "higher",
        ),
        Metric(
            "settling_time_s",
            "s",
            "from the edge to the last entry into +-1 % of the step around the final value, the slower edge",
            rings,
            runs,
            settling(0.01),
            "lower",
        ),
        Metric("settling_time_fine_s", "s", "as settling_time_s, to +-0.1 %", rings, runs, settling(0.001), "lower"),
        Metric(
            "overshoot",
            "1",
            "largest excursion beyond the final value relative to the step, the worse edge",
            NO_STEP,
            runs,
            overshoot,
            "lower",
        ),
    )
