"""Where transistors of a technology are looked at for its tables, and how ngspice is asked about them there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.analog.netlist import Device
from app.technologies._base import DeviceModels, Technology
from app.technologies._gmid import SimulatorPool, reference_width_m, vectors_of
from app.units import format_spice_number

Array = NDArray[np.float64]

#: Width and length of a transistor in metres.
Place = tuple[float, float]

#: Transistors that have tables.
KINDS = ("nmos", "pmos")

_LENGTHS, _WIDTHS = 18, 22
_VGS_STEPS, _VDS_STEPS, _VSB_STEPS = 60, 15, 5

#: The highest gate and drain voltage over the nominal supply, and the highest source-bulk voltage.
_REACH, _BULK_REACH = 1.2, 0.9

#: What stands for no drain voltage: the current over it is the channel's conductance.
_LEAST_VDS_V = 1e-3


@dataclass(frozen=True)
class TablePlan:
    """The sizes and voltages of one technology's tables, at a process corner and temperature."""

    models: DeviceModels
    width_m: float
    celsius: float
    supply_v: float
    lengths_m: Sequence[float]
    widths_m: Sequence[float]
    vsb_v: Sequence[float]
    vds_v: Sequence[float]
    vgs_v: Sequence[float]

    @classmethod
    def of(cls, technology: Technology, models: DeviceModels, celsius: float) -> TablePlan:
        """The plan that covers the technology's sizes and supply. Lengths are densest near the shortest."""
        supply, shortest = technology.supply_v, technology.length_min_m
        offset = 0.6 * shortest
        lengths = offset + _spaced(shortest - offset, technology.length_max_m - offset, _LENGTHS)
        widths = _spaced(technology.width_min_m, technology.width_max_m, _WIDTHS)
        drain = _squares(_REACH * supply, _VDS_STEPS)
        return cls(
            models=models,
            width_m=reference_width_m(technology),
            celsius=celsius,
            supply_v=supply,
            lengths_m=_rounded(lengths),
            widths_m=_rounded(widths),
            vsb_v=_squares(_BULK_REACH * supply, _VSB_STEPS),
            vds_v=[_LEAST_VDS_V, *drain[1:]],
            vgs_v=[_REACH * supply * index / _VGS_STEPS for index in range(_VGS_STEPS + 1)],
        )

    def key(self, version: int) -> str:
        """Eight digits that change with the version and with every number of the plan."""
        axes = (self.lengths_m, self.widths_m, self.vsb_v, self.vds_v, self.vgs_v)
        numbers = (self.width_m, self.celsius, self.supply_v, *(number for axis in axes for number in axis))
        return hashlib.sha256(f"{version} {numbers!r}".encode()).hexdigest()[:8]

    def header(self, kind: str, places: Sequence[Place]) -> str:
        """Title, temperature and the cards of transistors of these widths and lengths."""
        return (
            f"device tables of {kind}\n{self.models.text_for([kind], {kind: places})}\n.options temp={self.celsius!r}\n"
        )

    def transistor(self, name: str, kind: str, nets: tuple[str, str, str, str], place: Place) -> str:
        """One element card."""
        sizes = dict(zip(("width_m", "length_m"), map(format_spice_number, place), strict=True))
        return self.models.device_card(Device(name, kind, nets), sizes) + "\n"


def kelvin(celsius: float) -> float:
    """The absolute temperature."""
    return celsius + 273.15


def request(deck: str, analysis: str, parameters: Sequence[str] = ()) -> dict[str, Any]:
    """What a pool is asked: a deck, and the device parameters that its answer is to tell."""
    return {"deck": deck, "analysis": analysis, "parameters": list(parameters)}


def answers_of_places(
    pool: SimulatorPool,
    request_of: Callable[[Sequence[Place]], Mapping[str, Any]],
    places: Sequence[Place],
    what: str,
) -> list[tuple[Sequence[Place], Future[dict[str, Any]]]]:
    """Answers about transistors of these places, and which each is about: one of all places where ngspice accepts that.

    Otherwise halves are asked about, and so on; a place that it does not accept at all is left out. Of a binned card
    ngspice may take another bin's model at the edge of one where the deck has both, and with a parameter beyond its
    limits.

    Raises SimulatorFailure, which calls the decks `what`, where no place is left.
    """
    answer = pool.submit(request_of(places))
    if answer.result()["status"] == "ok":
        return [(places, answer)]
    waiting, found = _halves(places), []
    while waiting:
        part = waiting.pop()
        one = pool.submit(request_of(part))
        if one.result()["status"] == "ok":
            found.append((part, one))
        else:
            waiting += _halves(part)
    if not found:
        vectors_of(answer, what)
    return found


def _halves(places: Sequence[Place]) -> list[Sequence[Place]]:
    middle = len(places) // 2
    return [places[:middle], places[middle:]] if middle else []


def over_places(values: Array, found: Sequence[Place], widths_m: Sequence[float], lengths_m: Sequence[float]) -> Array:
    """Values by place over width and length, where there is none those of the nearest width that has some.

    The first axis is that of the places `found`. A length at which no width has any has zeros.
    """
    place_of = {place: number for number, place in enumerate(found)}
    whole = np.zeros((len(widths_m), len(lengths_m), *values.shape[1:]))
    for column, length in enumerate(lengths_m):
        there = [row for row, width in enumerate(widths_m) if (width, length) in place_of]
        for row in range(len(widths_m)) if there else ():
            nearest = min(there, key=lambda other: abs(other - row))
            whole[row, column] = values[place_of[widths_m[nearest], length]]
    return whole


def _spaced(low: float, high: float, count: int) -> Array:
    """Numbers of equal ratio; one where the range is one number."""
    return np.geomspace(low, high, count) if high > low * 1.0001 else np.array([low])


def _squares(reach: float, steps: int) -> list[float]:
    return [reach * (index / steps) ** 2 for index in range(steps + 1)]


def _rounded(values: Array) -> list[float]:
    """Four digits of each but of the ends, which stay within the range."""
    last = len(values) - 1
    return [float(value) if index in (0, last) else float(f"{value:.4g}") for index, value in enumerate(values)]
