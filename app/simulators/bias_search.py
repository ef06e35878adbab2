"""The bias at which most of a circuit conducts: a bounded search over what the outside sets at its ports.

`bias_plan` guesses levels from wiring alone, so a circuit may be off for no fault of its own. The search starts there
and moves bias voltages, common modes, reference currents and clock levels; sizes stay as they are. It is a pattern
search with joint random moves [hooke1961direct], in a fixed sequence: the same netlist gives the same answer, whichever
worker it is asked of. A circuit for which it finds nothing is not proven dead.

The loop runs in the worker that holds the loaded deck (`ngspice_worker`); this module knows no simulator.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from app.analog.netlist import Netlist, port_role
from app.errors import SimulatorFailure
from app.simulators.bias import LOGIC_ROLES, Bias, CurrentSource, bias_plan, conducts_downwards, is_diode_connected
from app.simulators.dc_paths import floating_nets
from app.simulators.deck import SUPPLY_SOURCE, default_sizes, instance_names, operating_point_deck
from app.simulators.operating_point import CONDUCTING_A, Status, message_of
from app.simulators.processes import WorkerPool
from app.technologies._base import Technology

LeverKind = Literal["voltage", "clock", "current", "injection"]

#: Decades of current around the technology's bias current, half of them to each side.
_DECADES = 4.0

#: First step of a lever and the smallest and largest it may become, and the spread of a joint move, in full ranges.
_STEP, _LEAST_STEP, _MOST_STEP, _SPREAD = 0.11, 0.011, 0.28, 0.083

#: A success makes a lever's step longer, a failure to both sides shorter. Every so many moves all levers move at once.
_GROWTH, _SHRINKAGE, _JOINT_EVERY = 1.5, 0.5, 3

#: What a transistor that is off counts as nearer to conducting, in decades below; short of saturation, in volts.
_SOFT_DECADES, _SOFT_V = 6.0, 1.0

#: Weight of being nearer against being there.
_SOFT_WEIGHT = 0.1

_SEED = 1

#: Roles of bias ports that a current from outside may set, where a diode-connected transistor makes it a voltage.
_REFERRED_ROLES = frozenset({"", "VB", "VBB", "VCM"})


@dataclass(frozen=True, slots=True)
class Lever:
    """One thing that the outside sets, in volts above VSS or amperes.

    ``voltage`` runs from 0 to `high`; ``clock`` is 0 or `high`; ``current`` is `high` or down to `_DECADES` below;
    ``injection`` likewise, or nothing at all. Levers of one `group` also move together.
    """

    kind: LeverKind
    start: float
    high: float
    group: str = ""

    def place_of(self, value: float) -> float:
        """Where a value lies from 0 to 1, so that steps of every lever are alike."""
        if self.kind in ("voltage", "clock"):
            return min(1.0, max(0.0, value / self.high))
        return max(0.0, 1.0 + math.log10(value / self.high) / _DECADES) if value > 0 else 0.0

    def value_at(self, place: float) -> float:
        """The value at a place."""
        if self.kind == "voltage":
            return place * self.high
        if self.kind == "clock":
            return self.high if place >= 0.5 else 0.0
        if self.kind == "injection" and place <= 0.0:
            return 0.0
        return float(self.high * 10 ** (_DECADES * (place - 1.0)))

    def moved(self, place: float, step: float) -> float:
        """The place after a step; a clock changes its level, an injection that starts begins in the middle."""
        if self.kind == "clock":
            return 1.0 - place
        if self.kind == "injection" and place <= 0.0:
            return 0.5 if step > 0 else 0.0
        return min(1.0, max(0.0, place + step))


@dataclass(frozen=True, slots=True)
class Judged:
    """How well a circuit is biased at one point.

    `conducting` is the share of transistors that carry more than `CONDUCTING_A`, `saturated` that of MOS which are
    saturated as well; None where there are none. `score` is the mean of `conducting` and of the share of all
    transistors that are saturated or, being bipolar, active. `goal` also counts how near the others are. `supply_a` is
    drawn from VDD, `largest_a` carried by the transistor that carries most.
    """

    conducting: float | None
    saturated: float | None
    score: float
    goal: float
    supply_a: float
    largest_a: float


def judge(mos: Sequence[tuple[float, float, float]], bipolar: Sequence[float], supply_a: float) -> Judged:
    """The figures of one point, from (current, drain-source voltage, saturation voltage) of MOS and other currents."""
    count = len(mos) + len(bipolar)
    if not count:
        return Judged(None, None, 1.0, 1.0, supply_a, 0.0)
    soft, conducting, saturated = 0.0, 0, 0
    for current, drain_v, saturation_v in mos:
        is_on = abs(current) > CONDUCTING_A
        headroom_v = abs(drain_v) - abs(saturation_v)
        conducting += is_on
        saturated += is_on and headroom_v >= 0
        soft += _nearness(current) + max(-1.0, min(0.0, headroom_v / _SOFT_V))
    for current in bipolar:
        conducting += abs(current) > CONDUCTING_A
        soft += _nearness(current)
    active = conducting - sum(abs(current) > CONDUCTING_A for current, *_ in mos)
    score = (conducting + saturated + active) / (2 * count)
    largest = max(abs(current) for current in (*(values[0] for values in mos), *bipolar))
    return Judged(
        conducting / count,
        saturated / len(mos) if mos else None,
        score,
        score + _SOFT_WEIGHT * soft / count,
        supply_a,
        largest,
    )


def _nearness(current: float) -> float:
    """From -1 (no current) to 0 (conducting)."""
    decades = math.log10(max(abs(current), 1e-30) / CONDUCTING_A)
    return max(-1.0, min(0.0, decades / _SOFT_DECADES))


@dataclass
class Trail:
    """What a search has seen: the figures at the plan, the best ones and the values that gave them."""

    values: list[float]
    plan: Judged | None = None
    best: Judged | None = None
    tried: int = 0
    converged: int = 0


def search_levers(levers: Sequence[Lever], evaluate: Callable[[Sequence[float]], Judged | None], points: int) -> Trail:
    """The best of at most `points` evaluations, the first of them at the start of every lever.

    `evaluate` takes a value for each lever and gives None where there is no operating point; until there is one, points
    are drawn from everywhere. The search ends early where everything conducts and is saturated, and at once where there
    is no lever.
    """
    places = [lever.place_of(lever.start) for lever in levers]
    trail = Trail([lever.start for lever in levers])
    trail.plan = _try(trail, evaluate, list(trail.values))
    if not levers:
        return trail
    rng = random.Random(_SEED)
    groups = _groups(levers)
    steps = [_STEP] * len(groups)
    while trail.tried < points and not (trail.best is not None and trail.best.score >= 1.0):
        wanted = list(places)
        number = rng.randrange(len(groups))
        is_joint = trail.tried % _JOINT_EVERY == 0 or trail.best is None
        if trail.best is None:
            wanted = [rng.random() for _ in levers]
        elif is_joint:
            for index, lever in enumerate(levers):
                if lever.kind != "clock":
                    wanted[index] = lever.moved(places[index], rng.gauss(0.0, _SPREAD))
        else:
            for index in groups[number]:
                wanted[index] = levers[index].moved(places[index], steps[number])
        before = trail.best
        values = [lever.value_at(place) for lever, place in zip(levers, wanted, strict=True)]
        _try(trail, evaluate, values)
        has_improved = trail.best is not before
        if has_improved:
            places = wanted
        if not is_joint:
            steps[number] = _next_step(steps[number], has_improved)
    return trail


def _try(trail: Trail, evaluate: Callable[[Sequence[float]], Judged | None], values: list[float]) -> Judged | None:
    found = evaluate(values)
    trail.tried += 1
    if found is not None:
        trail.converged += 1
        if trail.best is None or found.goal > trail.best.goal:
            trail.best, trail.values = found, values
    return found


def _next_step(step: float, has_improved: bool) -> float:
    """Longer after a success; after a failure the other way, and shorter once both ways failed."""
    if has_improved:
        return math.copysign(min(_MOST_STEP, abs(step) * _GROWTH), step)
    return -step if step > 0 else max(_LEAST_STEP, -step * _SHRINKAGE)


def _groups(levers: Sequence[Lever]) -> list[tuple[int, ...]]:
    """Every lever by itself, and those of one group together."""
    together: dict[str, list[int]] = {}
    for index, lever in enumerate(levers):
        if lever.group:
            together.setdefault(lever.group, []).append(index)
    shared = [tuple(members) for members in together.values() if len(members) > 1]
    return [*shared, *((index,) for index in range(len(levers)))]


#: Figures of one point as a worker answers them.
_Answer: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class BiasSearchResult:
    """What the search found. With a status other than ``ok`` no point converged, and `message` says why.

    Shares are as in `OperatingPoint`, `plan_` ones those at `bias_plan` (None where it does not converge);
    `score` is `Judged.score`. `largest_current_a` is that of the transistor which carries most. `bias` is what gives
    these figures: the deck of the netlist with it has them too.
    """

    status: Status
    points_tried: int = 0
    points_converged: int = 0
    bias: Bias | None = None
    conducting_share: float | None = None
    saturated_share: float | None = None
    score: float | None = None
    plan_conducting_share: float | None = None
    plan_saturated_share: float | None = None
    supply_current_a: float | None = None
    largest_current_a: float | None = None
    message: str = ""
    floating: tuple[str, ...] = ()


def search_bias(netlist: Netlist, technology: Technology, pool: WorkerPool, *, points: int) -> BiasSearchResult:
    """Blocks until at most `points` operating points of the netlist at default sizes have been tried.

    Raises SimulatorFailure where the simulator crashed, hung or was stopped; that says nothing of the circuit.
    """
    plan = _searched_plan(netlist, technology)
    floating = floating_nets(netlist, plan)
    if floating:
        return BiasSearchResult(
            "no_dc_path", message=f"no direct current can reach net {floating[0]}", floating=floating
        )
    places, levers = _levers(plan, technology)
    sized = default_sizes(netlist, technology)
    instance_of = {device: name.lower() for device, name in instance_names(sized).items()}
    mos = [instance_of[device.name] for device in sized.devices if device.kind_of.is_mos]
    bipolar = [instance_of[device.name] for device in sized.devices if device.kind in ("npn", "pnp")]
    names = {net: f"bias_{index}" for index, net in enumerate(places)}
    saved = [f"i({SUPPLY_SOURCE.lower()})", *saved_vectors(mos, bipolar)]
    deck = operating_point_deck(netlist, technology, plan, parameter_of=names, saved=saved)
    request = {
        "search": {
            "deck": deck.text,
            "parameters": list(names.values()),
            "levers": [asdict(lever) for lever in levers],
            "mos": mos,
            "bipolar": bipolar,
            "supply": f"{SUPPLY_SOURCE.lower()}#branch",
            "points": points,
        }
    }
    try:
        answer = pool.submit(request).result()
    except CancelledError:
        raise SimulatorFailure("the simulation was stopped before it had a result; ask again") from None
    return _read(answer, plan, dict(zip(places, answer["values"], strict=True)))


def saved_vectors(mos: Sequence[str], bipolar: Sequence[str]) -> list[str]:
    """What is read of transistors: current, drain-source and saturation voltage of MOS, collector current of others."""
    return [
        *(f"@{name}[{parameter}]" for name in mos for parameter in ("id", "vds", "vdsat")),
        *(f"@{name}[ic]" for name in bipolar),
    ]


def _searched_plan(netlist: Netlist, technology: Technology) -> Bias:
    """The plan, and a current of nothing into every bias port that a diode-connected transistor makes a voltage of.

    Such a port is loaded in the plan, since the circuit may set it itself; where the circuit is drawn without what
    starts it, or at these sizes has no current of its own, the outside has to.
    """
    plan = bias_plan(netlist, technology)
    referred = tuple(
        CurrentSource(load.net, 0.0, conducts_downwards(netlist, load.net))
        for load in plan.loads
        if _role(load.net) in _REFERRED_ROLES
        and any(is_diode_connected(device, load.net) for device, _ in netlist.pins_of[load.net])
    )
    return replace(plan, currents=(*plan.currents, *referred))


def _role(net: str) -> str:
    return (port_role(net) or ("", 0))[0]


def _levers(plan: Bias, technology: Technology) -> tuple[list[str], list[Lever]]:
    """Nets in the order of their names, and the lever at each."""
    found: dict[str, Lever] = {}
    for source in plan.voltages:
        role = _role(source.net)
        if source.net == "VDD":
            continue
        kind: LeverKind = "clock" if role in LOGIC_ROLES else "voltage"
        group = "clock" if kind == "clock" else role if role == "VIN" else ""
        found[source.net] = Lever(kind, source.volts, technology.supply_v, group)
    highest_a = technology.bias_a * 10 ** (_DECADES / 2)
    for current in plan.currents:
        found[current.net] = Lever("current" if current.amperes else "injection", current.amperes, highest_a)
    nets = sorted(found)
    return nets, [found[net] for net in nets]


def _read(answer: _Answer, plan: Bias, value_of: Mapping[str, float]) -> BiasSearchResult:
    status: Status = answer["status"]
    counts = {"points_tried": answer["points_tried"], "points_converged": answer["points_converged"]}
    if status != "ok":
        return BiasSearchResult(status, **counts, message=message_of(status, tuple(answer["messages"])))
    best, at_plan = answer["best"], answer["plan"] or {}
    bias = Bias(
        tuple(replace(source, volts=value_of.get(source.net, source.volts)) for source in plan.voltages),
        tuple(replace(source, amperes=value_of[source.net]) for source in plan.currents if value_of[source.net] > 0),
        plan.loads,
    )
    return BiasSearchResult(
        status,
        **counts,
        bias=bias,
        conducting_share=best["conducting"],
        saturated_share=best["saturated"],
        score=best["score"],
        plan_conducting_share=at_plan.get("conducting"),
        plan_saturated_share=at_plan.get("saturated"),
        supply_current_a=best["supply_a"],
        largest_current_a=best["largest_a"],
    )
