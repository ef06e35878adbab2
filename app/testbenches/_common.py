"""Metrics that most testbenches share. Each is read from a run named ``op`` with the vectors `OP_VECTORS`."""

from __future__ import annotations

from app.testbenches._base import Metric, Reading, Run, Undefined

#: What an operating point reads for the metrics below; a testbench adds its own.
OP_VECTORS = ("i(v_vdd)",)


def op_run(*vectors: str) -> Run:
    """The run named ``op``, with the vectors that `common_metrics` need and `vectors`."""
    return Run("op", "op", "op", (*OP_VECTORS, *vectors))


def common_metrics() -> tuple[Metric, ...]:
    """Supply current, power and area: what every circuit has."""
    return (
        Metric(
            "supply_current_a",
            "A",
            "current drawn from VDD at the operating point",
            "the operating point does not converge",
            ("op",),
            lambda reading: 0.0 - reading.run("op").at_op("i(v_vdd)"),
            "lower",
        ),
        Metric(
            "power_w",
            "W",
            "supply voltage times supply current at the operating point",
            "the operating point does not converge",
            ("op",),
            lambda reading: reading.corner.supply_v * reading.number("supply_current_a"),
            "lower",
        ),
        Metric(
            "area_m2",
            "m^2",
            "sum of width x length x multiplier over the MOS transistors",
            "the circuit has no MOS transistor",
            (),
            _area,
            "lower",
        ),
    )


def _area(reading: Reading) -> float | Undefined:
    return reading.area_m2 if reading.area_m2 > 0 else Undefined("the circuit has no MOS transistor")
