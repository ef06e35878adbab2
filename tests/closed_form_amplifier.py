"""An op-amp whose metrics are formulas of its sizes, in place of ngspice: what sizing loops are tested on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.analog.spice import parse_spice
from app.resources import data_path
from app.sizing.setup import SizingSetup, sizing_setup
from app.specification import CornerSet, Objective, specification_of
from app.technologies._base import Technology, technologies
from app.testbenches._base import Corner, testbenches
from app.testbenches._simulator import Bench, SimulationRow

#: What one run costs, in processor seconds, says the amplifier.
SECONDS = 0.25


class NoTables:
    """A provider of gm/Id tables that has none: circuits start at the sizes that they bring along."""

    def tables(self, technology: Technology, process: str | None = None) -> Any:
        """Nothing."""


@dataclass
class ClosedFormAmplifier:
    """Metrics of a two-stage amplifier as formulas of two lengths, one width and a current.

    Hot corners lose `drift_db` of gain. Sizings whose width exceeds `breaks_at_m` have no unity-gain frequency.
    `simulated` counts the runs by corner.
    """

    drift_db: float = 6.0
    breaks_at_m: float = math.inf
    simulated: dict[str, int] = field(default_factory=dict)

    def run(self, bench: Bench, vectors: Sequence[Sequence[float]], /) -> Iterator[SimulationRow]:
        """A row for every vector, the last one first."""
        names = [metric.name for metric in bench.metrics]
        for index in reversed(range(len(vectors))):
            self.simulated[str(bench.corner)] = self.simulated.get(str(bench.corner), 0) + 1
            told = self.metrics(bench.corner, bench.space.as_sizing(tuple(vectors[index])))
            metrics = {name: told.get(name) for name in names}
            undefined = {name: {"cause": "circuit", "reason": "no formula"} for name in names if metrics[name] is None}
            yield bench.row(
                index,
                tuple(vectors[index]),
                {
                    "status": "ok", "metrics": metrics, "undefined": undefined, "relaxed": False, "derived": {},
                    "cpu_s": SECONDS, "facts": {},
                },
            )  # fmt: skip

    def metrics(self, corner: Corner, sizes: Mapping[str, float]) -> dict[str, float | None]:
        """What the formulas say."""
        current, width, length = sizes["ib1_a"], sizes["w_m1"], sizes["l_m1"]
        gain_db = 65 + 20 * math.log10(length / 0.5e-6) + 10 * math.log10(width / 10e-6)
        gain_db -= 10 * math.log10(current / 10e-6)
        gain_db -= self.drift_db * (corner.celsius > 100)
        ugf_hz = 20e6 * math.sqrt(current / 10e-6 * width / 10e-6) / (length / 0.5e-6)
        phase_margin_deg = 90 - 1e-6 * ugf_hz * (width / 40e-6) * (length / 1e-6) / 8
        return {
            "gain_db": gain_db,
            "ugf_hz": ugf_hz if width <= self.breaks_at_m else None,
            "phase_margin_deg": phase_margin_deg if width <= self.breaks_at_m else None,
            "power_w": 2 * current * corner.supply_v,
        }


def amplifier_setup(*bounds: str, corners: CornerSet = "nominal", objective: Objective | None = None) -> SizingSetup:
    """The problem of a two-stage amplifier with these bounds in the technology that always is there."""
    text = (data_path("archetypes") / "opamp" / "two_stage_miller.cir").read_text(encoding="utf-8")
    specification = specification_of(bounds, corners=corners, objective=objective)
    return sizing_setup(
        parse_spice(text).netlist, testbenches["opamp"], technologies["generic180"], specification, NoTables()
    )
