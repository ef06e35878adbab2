"""What of a simulation no circuit can have: numbers that a simulator answered with, and that are no truth to learn.

The bounds are those of physics and of double precision, the same for every circuit; none was fitted to any rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.errors import UnknownName
from app.testbenches._base import Metric, Testbench

#: By unit the least and the greatest value that is one. 200 dB are ten decades: of a linear system solved in double
#: precision, with 1e-12 S from every node to ground, what is smaller is rounding. A resistor of an ohm has 1.3e-10
#: V/sqrt(Hz) of thermal noise, and an input that sees 1 V/sqrt(Hz) sees more than any supply within 15 Hz. No
#: integrated circuit has a microfarad at its input.
BY_UNIT: Mapping[str, tuple[float, float]] = {
    "dB": (-200.0, 200.0),
    "dBm": (-200.0, 200.0),
    "V/sqrt(Hz)": (1e-10, 1.0),
    "F": (-1e-6, 1e-6),
}

#: Voltages at an operating point, by testbench, and the role of the port that they are of: a node between the rails,
#: since nothing there stores energy, or the difference of two where the circuit has the role's negative as well.
NODES: Mapping[str, Mapping[str, str]] = {
    "amplifier": {"input_bias_v": "input", "output_v": "output"},
    "bandgap": {"reference_v": "output"},
    "current_mirror": {"input_voltage_v": "input"},
    "filter": {"output_v": "output"},
    "fully_differential_opamp": {"output_common_mode_level_v": "output_common_mode"},
    "ldo": {"output_v": "output"},
    "transimpedance": {"input_v": "input", "output_v": "output"},
}

#: How far such a voltage goes when something is swept at DC, likewise.
SWINGS: Mapping[str, Mapping[str, str]] = {
    "amplifier": {"output_swing_v": "output"},
    "transimpedance": {"output_swing_v": "output"},
}

#: How far beyond the rails a node still counts as within, in volts: drops of leakage, tolerances of the simulator.
SLACK_V = 0.1

_OPERATING_POINT = "op"


def is_implausible(
    testbench: Testbench, ports: Collection[str], metrics: Sequence[str], values: NDArray[np.float64],
    supply_v: NDArray[np.float64],
) -> NDArray[np.bool_]:  # fmt: skip
    """[n, M], where there is a value that is not to be believed; False where there is none.

    A run that gave a value outside of its range is wrong as a whole: no metric that is read from it is believed, be its
    own value in range or not. A metric accuses the last of its runs, which is the one that it is for. Where the
    operating point is wrong, so is all that was simulated around it; what follows from sizes alone is not.

    Args:
        testbench: What was simulated.
        ports: The roles that the circuit has ports for.
        metrics: Its metrics that the columns are of.
        values: n x M, SI units, NaN where there is none.
        supply_v: Of each row [n].

    Raises:
        UnknownName: the testbench has no such metric.
    """
    runs_of: list[tuple[str, ...]] = []
    wrong: dict[str, NDArray[np.bool_]] = {}
    for place, name in enumerate(metrics):
        if name not in testbench.metric_of:
            raise UnknownName(f"metric of testbench {testbench.name}", name, testbench.metric_of)
        metric = testbench.metric_of[name]
        runs_of.append(metric.runs)
        if metric.runs:
            low, high = _range(testbench.name, metric, ports, supply_v)
            is_outside = (values[:, place] < low) | (values[:, place] > high)
            last = metric.runs[-1]
            wrong[last] = wrong.get(last, np.False_) | is_outside
    nothing = np.zeros(len(values), dtype=np.bool_)
    point = wrong.get(_OPERATING_POINT, nothing)
    told = [
        np.logical_or.reduce([point, *(wrong.get(run, nothing) for run in runs)]) if runs else nothing
        for runs in runs_of
    ]
    return np.stack(told, axis=1, dtype=np.bool_) & np.isfinite(values)


def _range(
    testbench: str, metric: Metric, ports: Collection[str], supply_v: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and the greatest value of the metric in each row [n] that is one."""
    rails = supply_v + 2 * SLACK_V
    if metric.name in (nodes := NODES.get(testbench, {})):
        is_pair = f"negative_{nodes[metric.name]}" in ports
        return (-rails, rails) if is_pair else (np.full_like(rails, -SLACK_V), supply_v + SLACK_V)
    if metric.name in (swings := SWINGS.get(testbench, {})):
        is_pair = f"negative_{swings[metric.name]}" in ports
        return np.zeros_like(rails), 2 * rails if is_pair else rails
    low, high = BY_UNIT.get(metric.unit, (-np.inf, np.inf))
    return np.full_like(rails, low), np.full_like(rails, high)
