"""Circuits whose gates depend on bits measured before.

Reference:
    [nielsen2010quantum] §1.3.7 for teleportation, [griffiths1996semiclassical] for the transform,
    [dobsicek2007arbitrary] for phase estimation with one qubit, [raussendorf2001oneway] for computing by measurement,
    [baumer2024efficient] for gates and states over a distance.
"""

from __future__ import annotations

import math
import random

from app.quantum.families._base import Builder, builder_groups, ladder
from app.quantum.families._draft import Draft
from app.quantum.program import QuantumProgram


def _teleportation(size: int, rng: random.Random) -> QuantumProgram:
    """A random state is handed over `size` entangled pairs in a row, each time corrected by two measured bits."""
    draft = Draft(2 * size + 1, registers=(1, 2 * size))
    draft.gate("u", 0, angles=[rng.uniform(0, math.pi), rng.uniform(-math.pi, math.pi), rng.uniform(-math.pi, math.pi)])
    has_barriers = rng.random() < 0.5
    for pair in range(size):
        source, near, far = 2 * pair, 2 * pair + 1, 2 * pair + 2
        draft.h(near)
        draft.cx(near, far)
        if has_barriers:
            draft.barrier((source, near, far))
        draft.cx(source, near)
        draft.h(source)
        phase, flip = draft.measure_each((source, near))
        draft.gate("x", far, when=(flip, 1))
        draft.gate("z", far, when=(phase, 1))
    draft.measure_each([2 * size])
    return draft.program(rng)


def _ghz_fused(size: int, rng: random.Random) -> QuantumProgram:
    """Pairs in a row are fused to one GHZ state by the measured parity of neighbours; all but helpers are measured."""
    draft = Draft(3 * size - 1)
    kept = [qubit for qubit in range(draft.qubits) if qubit % 3 != 2]
    for pair in range(size):
        draft.h(3 * pair)
        draft.cx(3 * pair, 3 * pair + 1)
    parities = draft.bits(size - 1)
    for joint, bit in enumerate(parities):
        draft.cx(3 * joint + 1, 3 * joint + 2)
        draft.cx(3 * joint + 3, 3 * joint + 2)
        draft.measure(3 * joint + 2, bit)
    for joint, bit in enumerate(parities):
        for qubit in kept[2 * joint + 2 :]:
            draft.gate("x", qubit, when=(bit, 1))
    draft.measure_each(kept)
    return draft.program(rng)


def _long_range_cx(size: int, rng: random.Random) -> QuantumProgram:
    """A controlled X between the ends of a line, over pairs of helpers between them that are measured."""
    draft = Draft(2 * size + 2)
    last = 2 * size + 1
    draft.gate("ry", 0, angle=rng.uniform(0, math.pi))
    if rng.random() < 0.5:
        draft.x(last)
    for first in range(1, last - 1, 2):
        draft.h(first)
        draft.cx(first, first + 1)
    for first in range(0, last, 2):
        draft.cx(first, first + 1)
    draft.h(*range(2, last, 2))
    flips, phases = draft.bits(size), draft.bits(size)
    for step in range(size):
        draft.measure(2 * step + 1, flips[step])
        draft.measure(2 * step + 2, phases[step])
    for flip, phase in zip(flips, phases, strict=True):
        draft.gate("x", last, when=(flip, 1))
        draft.gate("z", 0, when=(phase, 1))
    draft.measure_each((0, last))
    return draft.program(rng)


def _measurement_based(size: int, rng: random.Random) -> QuantumProgram:
    """`size` rotations H Rz one after the other, each by a measurement along a line of entangled qubits."""
    is_clifford = rng.random() < 0.4
    draft = Draft(size + 1)
    draft.h(*range(size + 1))
    if rng.random() < 0.5:
        for qubit in range(size):
            draft.gate("cz", qubit, qubit + 1)
        is_entangled = True
    else:
        is_entangled = False
    outcomes = draft.bits(size)
    for step, bit in enumerate(outcomes):
        if not is_entangled:
            draft.gate("cz", step, step + 1)
        angle = math.pi / 2 * rng.randint(0, 3) if is_clifford else rng.uniform(-math.pi, math.pi)
        draft.gate("rz", step, angle=-angle)
        draft.h(step)
        draft.measure(step, bit)
        draft.gate("x", step + 1, when=(bit, 1))
        if is_entangled and step + 2 <= size:
            draft.gate("z", step + 2, when=(bit, 1))
    draft.measure_each([size])
    return draft.program(rng)


def _bit_flip_code(size: int, rng: random.Random) -> QuantumProgram:
    """`size` rounds of the three-qubit code: one error, two syndromes, and the flip that they call for."""
    draft = Draft(6, registers=(3, 3))
    if rng.random() < 0.5:
        draft.x(0)
    draft.cx(0, 1)
    draft.cx(0, 2)
    helpers, is_reset = (3, 4), rng.random() < 0.5
    for _ in range(size):
        if rng.random() < 0.8:
            draft.x(rng.randrange(3))
        draft.barrier()
        for helper in helpers:
            draft.cx(helper - 3, helper)
            draft.cx(helper - 2, helper)
        for target, (left, right) in enumerate(((1, 0), (1, 1), (0, 1))):
            zeros = [helper for helper, is_one in zip(helpers, (left, right), strict=True) if not is_one]
            draft.x(*zeros)
            draft.gate("ccx", *helpers, 5)
            draft.x(*zeros)
            (bit,) = draft.measure_each([5])
            draft.gate("x", target, when=(bit, 1))
            _cleared(draft, 5, bit, is_reset)
        for helper, bit in zip(helpers, draft.measure_each(helpers), strict=True):
            _cleared(draft, helper, bit, is_reset)
    draft.measure_each(range(3))
    return draft.program(rng)


def _cleared(draft: Draft, qubit: int, bit: int, is_reset: bool) -> None:
    """The qubit that was just measured into the bit is zero."""
    if is_reset:
        draft.reset(qubit)
    else:
        draft.gate("x", qubit, when=(bit, 1))


def _phase_repair(size: int, rng: random.Random) -> QuantumProgram:
    """A phase-flip code of `size` qubits in which a helper a neighbour tells who flipped, and each flip is undone."""
    draft = Draft(2 * size - 1, registers=(size, size - 1))
    draft.h(*range(size))
    flipped = rng.randrange(size)
    draft.gate("z", flipped)
    draft.barrier(range(size))
    bits = draft.bits(size - 1)
    for step, bit in enumerate(bits):
        helper = size + step
        draft.h(helper)
        draft.cx(helper, step)
        draft.cx(helper, step + 1)
        draft.h(helper)
        draft.measure(helper, bit)
        for qubit in range(step + 1, size):
            draft.gate("z", qubit, when=(bit, 1))
    draft.h(*range(size))
    draft.measure_each(range(size))
    return draft.program(rng)


def _semiclassical_transform(size: int, rng: random.Random) -> QuantumProgram:
    """The Fourier transform of a random product state, each qubit measured before it turns the next ones."""
    draft = Draft(size)
    is_loaded = rng.random() < 0.5
    for qubit in range(size):
        if is_loaded:
            if rng.random() < 0.5:
                draft.x(qubit)
        else:
            draft.h(qubit)
            draft.gate("p", qubit, angle=2 * math.pi * rng.random())
    bits = draft.bits(size)
    for high in reversed(range(size)):
        draft.h(high)
        draft.measure(high, bits[size - 1 - high])
        for low in reversed(range(high)):
            draft.gate("p", low, angle=math.pi / 2 ** (high - low), when=(bits[size - 1 - high], 1))
    return draft.program(rng)


def _iterative_estimation(size: int, rng: random.Random) -> QuantumProgram:
    """The phase of a diagonal gate in `size` bits, least significant first, all read by one qubit."""
    phase = rng.randint(1, 2**size - 1) / 2**size if rng.random() < 0.6 else rng.uniform(0.01, 0.99)
    draft = Draft(2, registers=(1, 1))
    draft.x(1)
    bits, is_reset = draft.bits(size), rng.random() < 0.5
    for step, bit in enumerate(bits):
        draft.h(0)
        draft.gate("cp", 0, 1, angle=2 * math.pi * (phase * 2 ** (size - 1 - step) % 1))
        for known in range(step):
            draft.gate("p", 0, angle=-math.pi / 2 ** (step - known), when=(bits[known], 1))
        draft.h(0)
        draft.measure(0, bit)
        if step + 1 < size:
            _cleared(draft, 0, bit, is_reset)
    return draft.program(rng)


builder_groups.add(
    "feed_forward",
    (
        Builder("teleportation_dynamic", "relay", _teleportation, ladder(1, 32), 3),
        Builder("ghz_dynamic", "fused_pairs", _ghz_fused, ladder(2, 24), 2),
        Builder("long_range_cx", "helpers", _long_range_cx, ladder(1, 60), 2),
        Builder("measurement_based", "line", _measurement_based, ladder(1, 64), 4),
        Builder("qec_dynamic", "bit_flip", _bit_flip_code, ladder(1, 16), 5),
        Builder("qec_dynamic", "phase_flip", _phase_repair, ladder(2, 20), 3),
        Builder("qft_dynamic", "product_state", _semiclassical_transform, ladder(2, 40), 3),
        Builder("qpe_iterative", "diagonal", _iterative_estimation, ladder(2, 32), 4),
    ),
)
