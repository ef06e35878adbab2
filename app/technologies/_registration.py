"""Whether a technology's transistors behave like transistors, asked of ngspice. Knows no circuit.

Cards that fail this would poison everything built on them: sizing that follows a slope of the wrong sign, corners that
are mixed up, results that differ from run to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.analog.netlist import Device
from app.errors import InvalidRequest
from app.technologies._base import DeviceModels, Technology
from app.technologies._gmid import KINDS, SimulatorPool, reference_width_m
from app.units import format_spice_number

#: What gm/Id may be, in 1/V, where a square of channel carries the currents below (amperes): weak to strong inversion.
LOWEST_GM_OVER_ID, HIGHEST_GM_OVER_ID = 1.0, 40.0
_SQUARE_A = (1e-9, 1e-5)

_LENGTHS = (1.0, 3.0, 10.0)
_STEPS = 50

#: How far a current may fall from one point to the next: rounding, and leakage that the gate does not control.
_FALL_SHARE, _FALL_A = 1e-4, 1e-10

_FAST, _SLOW = "ff", "ss"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Sweep:
    """Drain currents of one kind at one corner: an axis each for length, gate and drain voltage. Positive when on."""

    kind: str
    process: str
    lengths_m: Sequence[float]
    width_m: float
    volts: Array
    current_a: Array

    def where(self, length: int) -> str:
        """The transistor, for a sentence."""
        return f"{self.kind} of {self.lengths_m[length] * 1e6:.3g} um length at corner {self.process!r}"


def check_registration(technology: Technology, pool: SimulatorPool) -> tuple[str, ...]:
    """A sentence for everything that is wrong with the technology's transistors; empty where nothing is.

    Checked at every corner: both kinds load; Id rises with Vg and with Vd; gm/Id lies between 1 and 40 /V from weak to
    strong inversion; the same deck twice gives the same digits. Across corners: ``ff`` drives more than the nominal
    one, ``ss`` less. Raises SimulatorFailure where the simulator could not be asked, and Unavailable without the cards.
    """
    asked = []
    for process in technology.processes:
        models = technology.device_models(process)
        for kind in KINDS:
            deck = _deck(technology, models, kind)
            request = {"deck": deck, "analysis": "dc", "parameters": []}
            asked.append((kind, process, pool.submit(request), pool.submit(request)))
    problems: list[str] = []
    drives: dict[tuple[str, str], float] = {}
    for kind, process, first, second in asked:
        sweep = _read(technology, kind, process, first, problems)
        if sweep is None:
            continue
        if second.result().get("vectors") != first.result().get("vectors"):
            problems.append(f"{kind} at corner {process!r}: the same deck gave different digits the second time")
        problems += _shape_problems(sweep)
        drives[kind, process] = float(sweep.current_a[0, -1, -1])
    return (*problems, *_corner_problems(technology, drives))


def require_registration(technology: Technology, pool: SimulatorPool) -> None:
    """Raises InvalidRequest with the first problems of `check_registration` where there are any."""
    problems = check_registration(technology, pool)
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise InvalidRequest(
            f"technology {technology.name!r} fails its registration check: {'; '.join(problems[:3])}{more}"
        )


def _deck(technology: Technology, models: DeviceModels, kind: str) -> str:
    sign = 1 if kind == "nmos" else -1
    width = reference_width_m(technology)
    lengths = _lengths(technology)
    lines = [f"registration\n{models.text_for([kind], {kind: [(width, length) for length in lengths]})}"]
    lines.append(f".options temp={technology.celsius!r}\nVg g 0 0\nVd d 0 0")
    for index, length in enumerate(lengths):
        sizes = {"width_m": format_spice_number(width), "length_m": format_spice_number(length)}
        lines.append(models.device_card(Device(f"M{index}", kind, (f"d{index}", "g", "0", "0")), sizes))
        lines.append(f"Vi{index} d d{index} 0")
    step = sign * technology.supply_v / _STEPS
    end = sign * technology.supply_v * (1 + 1e-6)
    lines.append(f".dc Vd 0 {end!r} {step!r} Vg 0 {end!r} {step!r}")
    lines.append(".save " + " ".join(f"i(vi{index})" for index in range(len(lengths))))
    return "\n".join((*lines, ".end\n"))


def _lengths(technology: Technology) -> list[float]:
    wanted = (min(technology.length_min_m * multiple, technology.length_max_m) for multiple in _LENGTHS)
    return list(dict.fromkeys(wanted))


def _read(
    technology: Technology, kind: str, process: str, future: Future[dict[str, Any]], problems: list[str]
) -> _Sweep | None:
    answer = future.result()
    if answer["status"] != "ok":
        reasons = "; ".join(answer["messages"]) or answer["status"]
        problems.append(f"{kind} at corner {process!r}: ngspice could not simulate it ({reasons})")
        return None
    lengths = _lengths(technology)
    sign = 1 if kind == "nmos" else -1
    rows = [answer["vectors"][f"vi{index}#branch"] for index in range(len(lengths))]
    currents = sign * np.array(rows, dtype=np.float64).reshape(len(lengths), _STEPS + 1, _STEPS + 1)
    volts: Array = np.arange(_STEPS + 1, dtype=np.float64) * (technology.supply_v / _STEPS)
    return _Sweep(kind, process, lengths, reference_width_m(technology), volts, currents)


def _shape_problems(sweep: _Sweep) -> list[str]:
    """At most one sentence of each sort for a length."""
    problems = []
    for index, currents in enumerate(sweep.current_a):
        for axis, swept, held in ((0, "Vg", "Vd"), (1, "Vd", "Vg")):
            fall = _first_fall(currents[:, 1:] if axis == 0 else currents, axis)
            if fall is not None:
                at = sweep.volts[fall[axis]]
                other = sweep.volts[fall[1 - axis] + (1 if axis == 0 else 0)]
                problems.append(
                    f"{sweep.where(index)}: Id falls as {swept} rises, at |{swept}| = {at:.3g} V and "
                    f"|{held}| = {other:.3g} V"
                )
        problems += _slope_problems(sweep, index)
    return problems


def _first_fall(currents: Array, axis: int) -> tuple[int, int] | None:
    """The first indices (gate, drain) at which the current is below that of the point before it along the axis."""
    before = currents[:-1] if axis == 0 else currents[:, :-1]
    after = currents[1:] if axis == 0 else currents[:, 1:]
    falls = np.argwhere(after < before - np.maximum(_FALL_SHARE * np.abs(before), _FALL_A))
    if not len(falls):
        return None
    gate, drain = (int(number) for number in falls[0])
    return (gate + 1, drain) if axis == 0 else (gate, drain + 1)


def _slope_problems(sweep: _Sweep, index: int) -> list[str]:
    """About gm/Id, with the whole supply between drain and source."""
    currents = sweep.current_a[index][:, -1]
    squares = sweep.width_m / sweep.lengths_m[index]
    low, high = (amperes * squares for amperes in _SQUARE_A)
    inside = (currents[1:] >= low) & (currents[:-1] <= high)
    if currents[-1] < high or not inside.any():
        return [
            f"{sweep.where(index)}: it carries {currents[0]:.3g} A with the gate off and {currents[-1]:.3g} A with it "
            f"on, which does not cover {low:.3g} to {high:.3g} A"
        ]
    slopes = np.diff(np.log(np.maximum(currents, 1e-30)))[inside] / (sweep.volts[1] - sweep.volts[0])
    for slope in (float(slopes.min()), float(slopes.max())):
        if not LOWEST_GM_OVER_ID <= slope <= HIGHEST_GM_OVER_ID:
            return [
                f"{sweep.where(index)}: gm/Id is {slope:.3g} /V, outside {LOWEST_GM_OVER_ID:g} to "
                f"{HIGHEST_GM_OVER_ID:g} /V"
            ]
    return []


def _corner_problems(technology: Technology, drives: dict[tuple[str, str], float]) -> list[str]:
    nominal = technology.processes[0]
    problems = []
    for kind in KINDS:
        for process, is_faster in ((_FAST, True), (_SLOW, False)):
            both = drives.get((kind, process)), drives.get((kind, nominal))
            if process == nominal or both[0] is None or both[1] is None or (both[0] > both[1]) == is_faster:
                continue
            word = "more" if is_faster else "less"
            problems.append(
                f"{kind}: corner {process!r} should drive {word} than {nominal!r}, but carries {both[0]:.3g} A "
                f"against {both[1]:.3g} A"
            )
    return problems
