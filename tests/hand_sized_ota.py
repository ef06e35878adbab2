"""A five-transistor OTA by hand formulas in place of ngspice: square-law transistors, two poles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.analog.corpus import read_archetypes
from app.sizes.space import SizeSpace
from app.sizing._base import Forecast
from app.sizing.problem import SizingProblem
from app.specification import Specification, merged, parse_bound
from app.technologies._base import technologies
from app.testbenches._base import testbenches
from app.testbenches._simulator import Bench, SimulationRow, prepare_bench

Floats = NDArray[np.float64]

#: A/V^2, V, V/m of early voltage for each meter of length, F of the load, F/m^2 of gate, V of supply.
_KP, _THRESHOLD_V, _EARLY, _LOAD_F, _OXIDE, _SUPPLY_V = 200e-6, 0.45, 8e6, 1e-12, 8e-3, 1.8

#: Few random sizings around the start meet this, and any good method finds one.
HARD = ("gain_db>43", "ugf_hz>120e6", "phase_margin_deg>75", "power_w<250u")


def ota_bench(metrics: Sequence[str]) -> Bench:
    """The bench of the OTA; its start is the technology's default sizes."""
    netlist = next(each.netlist for each in read_archetypes() if each.id == "opamp/five_transistor_ota")
    return prepare_bench(netlist, testbenches["opamp"], technologies["generic180"], metrics=metrics)


def ota_problem(*bounds: str, batch: int = 4, space: SizeSpace | None = None, **fields: Any) -> SizingProblem:
    """The OTA's problem with these bounds; with `space` its variables are others."""
    specification = Specification(merged([parse_bound(each) for each in bounds]), corners="nominal", **fields)
    bench = ota_bench(specification.metrics)
    return SizingProblem(specification, (bench if space is None else replace(bench, space=space),), batch)


def ota_metrics(sizes: Mapping[str, float]) -> dict[str, float | None]:
    """What the OTA does; nothing but its power where its tail is off."""
    overdrive = sizes["vb1_v"] - _THRESHOLD_V
    ratio = sizes["w_m5"] / sizes["l_m5"] * sizes["m_m5"]
    tail = 0.5 * _KP * ratio * max(overdrive, 1e-3) ** 2
    power = tail * _SUPPLY_V
    if overdrive <= 0:
        return {"gain_db": None, "ugf_hz": None, "phase_margin_deg": None, "power_w": power}
    pair = math.sqrt(_KP * sizes["w_m1"] / sizes["l_m1"] * sizes["m_m1"] * tail)
    load = math.sqrt(0.3 * _KP * sizes["w_m3"] / sizes["l_m3"] * sizes["m_m3"] * tail)
    output = 1 / (tail / 2 * (1 / (_EARLY * sizes["l_m1"]) + 1 / (_EARLY * sizes["l_m3"])))
    unity = pair / (2 * math.pi * _LOAD_F)
    mirror = load / (2 * math.pi * (2 * sizes["w_m3"] * sizes["l_m3"] * sizes["m_m3"] * _OXIDE))
    return {
        "gain_db": 20 * math.log10(pair * output),
        "ugf_hz": unity,
        "phase_margin_deg": 90 - math.degrees(math.atan(unity / mirror) - math.atan(unity / (2 * mirror))),
        "power_w": power,
    }


@dataclass
class ClosedForm:
    """Implements `app.sizing.run.Simulator`; `is_dead` circuits have no metrics."""

    is_dead: bool = False
    simulated: int = 0

    def run(self, bench: Bench, vectors: Sequence[Sequence[float]], /) -> Iterator[SimulationRow]:
        """Rows, the last one first."""
        for index, vector in reversed(list(enumerate(vectors))):
            self.simulated += 1
            sizes = bench.space.as_sizing(vector)
            found = {} if self.is_dead else self.metrics(bench, sizes)
            yield {
                "index": index,
                "status": "ok",
                "sizes": sizes,
                "metrics": {metric.name: found.get(metric.name) for metric in bench.metrics},
                "undefined": {},
                "timings": {"simulate_s": 0.0},
            }

    def metrics(self, bench: Bench, sizes: Mapping[str, float]) -> dict[str, float | None]:
        """Of one sizing."""
        return ota_metrics(sizes)


@dataclass
class BiasedModel:
    """An offline model that is off by `bias` [L] everywhere, and says so if `spread` is as large. Learns nothing.

    `is_over` says that the budget's time has ended.
    """

    problem: SizingProblem
    bias: Sequence[float]
    spread: float = 0.05
    evaluations: int = 0
    is_over: bool = False
    learnt: list[SimulationRow] = field(default_factory=list)

    def forecast(self, points: Floats) -> Forecast:
        """The formulas' answer, and the bias."""
        self.evaluations += len(points)
        space = self.problem.space
        metrics = [ota_metrics(space.as_sizing(self.problem.vector(point))) for point in points]
        margins = np.array([self.problem.margins(each) for each in metrics]) + np.asarray(self.bias)
        gains = np.array([self.problem.gain(each) for each in metrics])
        return Forecast(margins, np.full_like(margins, self.spread), gains, np.full_like(gains, self.spread))

    def learn(self, corner: int, rows: Sequence[SimulationRow]) -> None:
        """Remembers them."""
        self.learnt += rows

    def report(self) -> Mapping[str, Any]:
        """How many rows it was told."""
        return {"rows": len(self.learnt)}
