"""Noise of a batch of designs over frequency, at an output and referred to the input, as SPICE has them.

Resistors make thermal noise, channels thermal and flicker noise (`mos_noise`), junctions shot noise. Left out are
flicker noise of junctions, which this project's cards do not have, and the noise that a channel induces in its gate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.table_simulator.expressions import Number
from app.table_simulator.linearised import SmallSignals, junction_flows
from app.table_simulator.mos_noise import MosNoise
from app.table_simulator.network import System
from app.table_simulator.noise_tables import thermal_noise
from app.table_simulator.response import ResponseSolver, Transfers

Array = NDArray[np.float64]

#: Twice the charge of an electron in coulombs: the density of shot noise over its current.
_TWICE_CHARGE = 2 * 1.602176634e-19

#: Noise is referred to an input through this gain at least, as in ngspice.
_LEAST_GAIN = 1e-10


@dataclass
class NoiseSource:
    """The noise currents between two nodes: densities in square amperes per hertz, numbers or arrays over the designs.

    `flicker` is the density at 1 Hz by the power of the frequency with which it falls.
    """

    white: Number = 0.0
    flicker: dict[float, Number] = field(default_factory=dict)


def noise_sources(
    system: System, unknowns: Array, small: SmallSignals, mos: MosNoise | None
) -> Mapping[tuple[int, int], NoiseSource]:
    """The noise of everything at operating points, by the lower and the higher of both nodes.

    Without `mos` there are no transistors in the system.
    """
    found: dict[tuple[int, int], NoiseSource] = defaultdict(NoiseSource)

    def add(first: int, second: int, white: Number) -> NoiseSource:
        source = found[min(first, second), max(first, second)]
        source.white = source.white + white
        return source

    thermal = thermal_noise(system.celsius)
    for element in system.network.cards.elements:
        if element.letter == "r":
            first, second = (system.network.index[node] for node in element.nodes)
            add(first, second, thermal / np.abs(element.value.value(system.parameters)))
    for nodes, at in junction_flows(system, unknowns):
        for node, current in zip(nodes[:-1], at.currents[:-1], strict=True):
            add(node, nodes[-1], _TWICE_CHARGE * np.abs(current))
    if mos is not None and small.channels is not None:
        white, flicker, exponents = mos.densities(small.channels)
        for number, (drain, _, low, _) in enumerate(system.network.terminals.tolist()):
            source = add(drain, low, white[number])
            exponent = float(exponents[number])
            source.flicker[exponent] = source.flicker.get(exponent, 0.0) + flicker[number]
    return {nodes: source for nodes, source in found.items() if nodes[0] != nodes[1]}


def noise_spectra(
    solver: ResponseSolver,
    system: System,
    small: SmallSignals,
    sources: Mapping[tuple[int, int], NoiseSource],
    frequencies: Array,
    output: tuple[int, int],
    amplitudes: Mapping[str, Number],
) -> dict[str, Array]:
    """``onoise_spectrum`` and ``inoise_spectrum``, design x frequency, per root hertz.

    The output is the difference of two unknowns. What is referred to the input is over the gain from all sources with
    `amplitudes`.
    """
    falls = {exponent: frequencies**-exponent for source in sources.values() for exponent in source.flicker}
    shape = (system.count, len(frequencies))
    at_output, gain = np.empty(shape), np.empty(shape)
    for part in solver.transfers(system, small, frequencies, output, amplitudes):
        at_output[part.designs] = _density(part, sources, falls)
        gain[part.designs] = np.abs(part.gain)
    spectrum = np.sqrt(at_output)
    return {"onoise_spectrum": spectrum, "inoise_spectrum": spectrum / np.maximum(gain, _LEAST_GAIN)}


def _density(
    part: Transfers, sources: Mapping[tuple[int, int], NoiseSource], falls: Mapping[float, Array]
) -> Array | float:
    """The square of the noise voltage at the output over design and frequency."""
    whole: Array | float = 0.0
    for nodes, source in sources.items():
        first, second = (part.reached.get(node, 0.0) for node in nodes)
        reached = first - second
        if isinstance(reached, float) and reached == 0.0:
            continue
        strength = _column(source.white, part.designs)
        for exponent, flicker in source.flicker.items():
            strength = strength + _column(flicker, part.designs) * falls[exponent]
        whole = whole + (np.real(reached) ** 2 + np.imag(reached) ** 2) * strength
    return whole


def _column(value: Number, designs: slice) -> Number:
    return value[designs, None] if isinstance(value, np.ndarray) else value
