"""Comparators, continuous in time or clocked: what they decide, how fast, and how far off zero.

A continuous one is balanced first: a servo moves the differential input until the output sits in the middle, which is
the offset; sweeps up and down then show hysteresis, and a step to either side the delay.

A clocked one decides twice, once for either sign of the input (and once before, so that both start alike). Before the
decision is large, the outputs are a linear function of input less offset, so both decisions together tell the offset
without a search; then they grow exponentially, which is the regeneration. Which clock level evaluates follows from the
transistors that the clock and the inputs control.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from app.testbenches._base import (
    BenchCircuit,
    Bound,
    Metric,
    Reading,
    Role,
    Run,
    Setting,
    Setup,
    Testbench,
    Undefined,
    Wave,
    testbenches,
)
from app.testbenches._common import common_metrics, op_run
from app.testbenches._waveforms import (
    crossing_frequency,
    crossings,
    decibels,
    first_crossing,
    mean_over,
    value_at,
)
from app.testbenches.opamp import tell_inputs_apart

#: Servo of the balanced deck: volts of input per volt at the output, and the input that it reaches at most.
_SERVO_GAIN = 1e3
_SERVO_REACH_V = 0.3

#: Steps of the input's sweep from end to end.
_STEPS = 100

#: A step of a continuous comparator lasts so many times 1/(2 pi ugf), within these limits.
_PERIODS = 60.0
_SHORTEST_S, _LONGEST_S, _USUAL_S = 2e-8, 1e-3, 1e-6

#: Levels between which the decision's growth is taken, and the level at which the offset is read, over the supply.
_GROWTH = (0.03, 0.2)
_SMALL = 0.05

#: The largest offset that is told, in overdrives: beyond it the decisions differ by too little.
_FARTHEST = 100.0

#: Time of the clock's first active edge, and how long its edges take, in periods. The decision after the first edge is
#: not measured: it leaves behind what an earlier decision leaves.
_FIRST, _EDGE = 0.1, 0.005

#: Longest step of the clocked transient, as a part of the period, and the care that edges are followed with.
_POINTS = 200
_TRANSIENT = ("trtol=1",)

#: Samples of a decision after the clock's edge.
_SAMPLES = 4000


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    return (_clocked(circuit),) if circuit.has("clock") else _continuous(circuit)


def _outputs(circuit: BenchCircuit) -> tuple[str, ...]:
    return tuple(circuit.node(role) for role in ("output", "output_complement") if circuit.has(role))


def _around(circuit: BenchCircuit) -> tuple[str, ...]:
    """Inputs at half of v(tb_id) above and below the common mode, and the loads."""
    settings = circuit.settings
    plus, minus = circuit.node("positive_input"), circuit.node("negative_input")
    return (
        f"v_tb_cm tb_cm vss DC {settings['common_mode_v']:.12g}",
        f"e_tb_plus {plus} tb_cm tb_id vss 0.5",
        f"e_tb_minus {minus} tb_cm tb_id vss -0.5",
        *(f"c_tb_load_{node} {node} vss {settings['load_f']:.12g}" for node in _outputs(circuit)),
    )


def _continuous(circuit: BenchCircuit) -> tuple[Setup, ...]:
    around, outputs, settings = _around(circuit), _outputs(circuit), circuit.settings
    vectors = tuple(f"v({node})" for node in outputs)
    middle = f"v({outputs[1]})" if len(outputs) == 2 else f"{circuit.corner.supply_v / 2:.12g}"
    servo = f"{_SERVO_REACH_V:g}*tanh({-_SERVO_GAIN / _SERVO_REACH_V:g}*(v({outputs[0]})-{middle}))"
    balanced = Setup(
        "balanced",
        (
            *around,
            f"b_tb_servo tb_servo vss v={servo}",
            "l_tb_servo tb_servo tb_id 1g",
            "c_tb_servo tb_id tb_ac 1g",
            "v_tb_ac tb_ac vss DC 0 AC 1",
        ),
        (
            op_run(*vectors, "v(tb_id)"),
            Run("gain", "ac", "ac dec 10 10 10g", vectors),
            Run("noise", "noise", f"noise {vectors[0]} v_tb_ac dec 1 1k 10k", ("inoise_spectrum",)),
        ),
    )
    reach, step = settings["sweep_v"], 2 * settings["sweep_v"] / _STEPS
    swept = Setup(
        "swept",
        (*around, "v_tb_id tb_id vss DC 0"),
        (
            Run("up", "dc", f"dc v_tb_id {-reach:.12g} {reach:.12g} {step:.12g}", vectors),
            Run("down", "dc", f"dc v_tb_id {reach:.12g} {-reach:.12g} {-step:.12g}", vectors),
        ),
    )
    over = settings["step_v"]
    pulse = f"PULSE({-over:.12g} {over:.12g} {{tb_rise}} {{tb_edge}} {{tb_edge}} {{tb_width}} {{tb_period}})"
    decide = Setup(
        "decide",
        (*around, f"v_tb_id tb_id vss DC {-over:.12g} {pulse}"),
        (Run("decide", "tran", "tran {tb_step} {tb_stop}", vectors),),
        options=_TRANSIENT,
        after=("op", "gain"),
    )
    return balanced, swept, decide


def _clocked(circuit: BenchCircuit) -> Setup:
    settings = circuit.settings
    period, over = 1.0 / settings["clock_hz"], settings["overdrive_v"]
    edge, supply = _EDGE * period, circuit.corner.supply_v
    rest, active = (0.0, supply) if _evaluates_high(circuit) else (supply, 0.0)

    def clock(name: str, role: str, before: float, after: float) -> str:
        times = " ".join(f"{value * period:.12g}" for value in (_FIRST, _EDGE, _EDGE, 0.5 - _EDGE, 1.0))
        return f"v_tb_{name} {circuit.node(role)} vss DC {before:.12g} PULSE({before:.12g} {after:.12g} {times})"

    cards = [*_around(circuit), clock("clock", "clock", rest, active)]
    if circuit.has("clock_complement"):
        cards.append(clock("barred", "clock_complement", active, rest))
    instants = [(_FIRST + when) * period + late for when in (0.7, 1.7) for late in (0.0, edge)]
    points = zip(instants, (-over, over, over, -over), strict=True)
    change = " ".join(f"{instant:.12g} {level:.12g}" for instant, level in points)
    cards.append(f"v_tb_id tb_id vss DC {-over:.12g} PWL(0 {-over:.12g} {change})")
    vectors = tuple(f"v({node})" for node in _outputs(circuit))
    stop = (_FIRST + 2.5) * period
    tran = Run("decide", "tran", f"tran {period / _POINTS:.12g} {stop:.12g}", ("i(v_vdd)", *vectors))
    return Setup("decide", tuple(cards), (op_run(*vectors), tran), options=_TRANSIENT)


def _evaluates_high(circuit: BenchCircuit) -> bool:
    """True where a high clock makes the comparator decide.

    A transistor of the clock that ties an output to a rail resets it; else a tail conducts when its pair is to decide,
    and is of the pair's kind.
    """
    pins_of, port_of = circuit.netlist.pins_of, circuit.wiring.port_of
    outputs = {port_of[role] for role in ("output", "output_complement") if role in port_of}
    rail_of = {"nmos": "VSS", "pmos": "VDD"}
    for device, pin in pins_of[port_of["clock"]]:
        ends = {device.nets[0], device.nets[2]} if device.kind_of.is_mos else set()
        if pin == "gate" and rail_of[device.kind] in ends and ends & outputs:
            return device.kind == "pmos"
    kinds = [device.kind for device, _ in pins_of[port_of["positive_input"]]]
    return kinds.count("pmos") + kinds.count("pnp") <= kinds.count("nmos") + kinds.count("npn")


def _time_scale(reading: Reading) -> Mapping[str, float]:
    """How long a continuous comparator is given, from the speed of its small signals in balance; none where clocked."""
    if "clock" in reading.node:
        return {}
    speed = _ugf(reading)
    window = _USUAL_S if speed is None else min(max(_PERIODS / (2 * np.pi * speed), _SHORTEST_S), _LONGEST_S)
    edge = window / 1000
    return {
        "tb_rise": 0.1 * window,
        "tb_edge": edge,
        "tb_width": window - edge,
        "tb_period": 4 * window,
        "tb_step": window / 100,
        "tb_stop": 2.1 * window,
    }


def _ugf(reading: Reading) -> float | None:
    """The unity-gain frequency in balance, None where there is none."""
    if isinstance(reading.value("gain_db"), Undefined):
        return None
    run = reading.run("gain")
    return crossing_frequency(run.scale, decibels(_differential(reading, run.vectors)))


def _differential(reading: Reading, vectors: Mapping[str, np.ndarray]) -> np.ndarray:
    """First less second output; the output alone where there is one."""
    output = vectors[reading.v("output")]
    return output - vectors[reading.v("output_complement")] if "output_complement" in reading.node else output


def _is_clocked(reading: Reading) -> Undefined | None:
    if "clock" not in reading.node:
        return None
    return Undefined("a clocked comparator has no static transfer: it holds nothing between its decisions")


def _is_continuous(reading: Reading) -> Undefined | None:
    if "clock" in reading.node:
        return None
    return Undefined("the comparator has no clock: it decides continuously")


def _wave(reading: Reading) -> tuple[Wave, Wave]:
    """Time and differential (or only) output of the decisions."""
    run = reading.run("decide")
    return run.scale, np.real(_differential(reading, run.vectors)).astype(np.float64)


def _decisions(reading: Reading) -> tuple[float, float]:
    """What the output (first less second) comes to for a positive and for a negative input."""
    time, wave = _wave(reading)
    if "clock" in reading.node:
        return value_at(time, wave, _instant(reading, 1.499)), float(wave[-1])
    window = float(time[-1]) / 2.1
    return value_at(time, wave, 1.09 * window), float(wave[-1])


def _swing(reading: Reading) -> float:
    """How far apart the decisions are, over the supply; 0 where both inputs lead to one decision."""
    positive, negative = _decisions(reading)
    supply = reading.corner.supply_v
    if "output_complement" not in reading.node:
        return abs(positive - negative) / supply
    return min(abs(positive), abs(negative)) / supply if positive * negative < 0 else 0.0


def _no_decision(reading: Reading) -> Undefined | None:
    if _swing(reading) > 0.02:
        return None
    return Undefined("the comparator does not decide: both signs of the input lead to the same output")


def _offset(reading: Reading) -> float | Undefined:
    return _clocked_offset(reading) if "clock" in reading.node else _balanced_offset(reading)


def _balanced_offset(reading: Reading) -> float | Undefined:
    found = reading.run("op").at_op("v(tb_id)")
    if abs(found) > 0.9 * _SERVO_REACH_V:
        return Undefined(f"no differential input within {_SERVO_REACH_V:g} V balances the output")
    return found


def _halves(reading: Reading) -> tuple[Wave, Wave, Wave]:
    """Time since the clock's edge, and the differential output for a positive and for a negative input."""
    time, wave = _wave(reading)
    since = np.linspace(0.0, 0.49 / reading.settings["clock_hz"], _SAMPLES)
    positive, negative = (np.interp(_instant(reading, edge + _EDGE / 2) + since, time, wave) for edge in (1, 2))
    return since, positive, negative


def _instant(reading: Reading, periods: float) -> float:
    """The time so many periods after the clock's first active edge."""
    return (_FIRST + periods) / reading.settings["clock_hz"]


def _needs_both_outputs(reading: Reading) -> Undefined | None:
    return None if "output_complement" in reading.node else Undefined("the comparator has only one output")


def _clocked_offset(reading: Reading) -> float | Undefined:
    """Where the outputs would not part: they start from the input less this, times one gain for both decisions."""
    missing = _needs_both_outputs(reading)
    if missing:
        return missing
    _, positive, negative = _halves(reading)
    large = np.flatnonzero(np.maximum(np.abs(positive), np.abs(negative)) >= _SMALL * reading.corner.supply_v)
    if not large.size:
        return Undefined("the outputs do not part after the clock's edge")
    first = int(large[0])
    apart = positive[first] - negative[first]
    both = positive[first] + negative[first]
    if abs(both) > _FARTHEST * abs(apart):
        return Undefined(f"both signs of the input lead to the same output: it is off by over {_FARTHEST:g} overdrives")
    return -reading.settings["overdrive_v"] * float(both / apart)


def _gain(reading: Reading) -> float | Undefined:
    clocked = _is_clocked(reading)
    if clocked:
        return clocked
    reading.number("offset_v")
    return float(decibels(_differential(reading, reading.run("gain").vectors))[0])


def _noise(reading: Reading) -> float | Undefined:
    clocked = _is_clocked(reading)
    if clocked:
        return clocked
    reading.number("offset_v")
    return float(reading.run("noise").real("inoise_spectrum")[0])


def _threshold(reading: Reading, name: str) -> float | None:
    """The differential input at which a sweep changes the decision; None where it does not."""
    run = reading.run(name)
    wave = np.real(_differential(reading, run.vectors)).astype(np.float64)
    level = 0.0 if "output_complement" in reading.node else reading.corner.supply_v / 2
    order = slice(None) if name == "up" else slice(None, None, -1)
    found = crossings(run.scale[order], wave[order], level)
    return float(found[0]) if found.size == 1 else None


def _hysteresis(reading: Reading) -> float | Undefined:
    clocked = _is_clocked(reading)
    if clocked:
        return clocked
    up, down = _threshold(reading, "up"), _threshold(reading, "down")
    if up is None or down is None:
        return Undefined("a sweep of the input by sweep_v to either side does not change the decision")
    return max(0.0, up - down)


def _delay(reading: Reading) -> float | Undefined:
    undecided = _no_decision(reading)
    if undecided:
        return undecided
    return _clocked_delay(reading) if "clock" in reading.node else _continuous_delay(reading)


def _clocked_delay(reading: Reading) -> float | Undefined:
    missing = _needs_both_outputs(reading)
    if missing:
        return missing
    since, *waves = _halves(reading)
    found = [_first_half(since, wave, final) for wave, final in zip(waves, _decisions(reading), strict=True)]
    return max(found)


def _first_half(since: Wave, wave: Wave, final: float) -> float:
    """When the wave has come to half of its final value for good."""
    outside = np.flatnonzero(wave / final < 0.5)
    if not outside.size:
        return float(since[0])
    last = int(outside[-1])
    return value_at(wave[last : last + 2] / final, since[last : last + 2], 0.5)


def _continuous_delay(reading: Reading) -> float | Undefined:
    time, wave = _wave(reading)
    positive, negative = _decisions(reading)
    window = float(time[-1]) / 2.1
    middle = 0.5 * (positive + negative)
    edge = window / 2000
    slowest = 0.0
    for begin in (0.1 * window + edge, 1.1 * window + edge):
        inside = (time >= begin) & (time <= begin + window)
        found = first_crossing(time[inside], wave[inside], middle)
        if found is None:
            return Undefined("the output does not pass the middle between its levels after both steps")
        slowest = max(slowest, found - begin)
    return slowest


def _level(reading: Reading, *, is_high: bool) -> float:
    run = reading.run("decide")
    output = run.real(reading.v("output"))
    middle = _instant(reading, 1.499) if "clock" in reading.node else float(run.scale[-1]) * 1.09 / 2.1
    levels = (value_at(run.scale, output, middle), float(output[-1]))
    return max(levels) if is_high else min(levels)


def _regeneration(reading: Reading) -> float | Undefined:
    continuous = _is_continuous(reading) or _needs_both_outputs(reading) or _no_decision(reading)
    if continuous:
        return continuous
    since, *waves = _halves(reading)
    slowest = 0.0
    low, high = (share * reading.corner.supply_v for share in _GROWTH)
    for wave, final in zip(waves, _decisions(reading), strict=True):
        size = np.sign(final) * wave
        ends = [crossings(since, size, level, +1) for level in (low, high)]
        if not ends[0].size or not ends[1].size or ends[1][-1] <= ends[0][-1]:
            return Undefined("the outputs do not grow from 3 to 20 % of the supply after the clock's edge")
        slowest = max(slowest, float((ends[1][-1] - ends[0][-1]) / np.log(high / low)))
    return slowest


def _residue(reading: Reading) -> float | Undefined:
    missing = _is_continuous(reading) or _needs_both_outputs(reading)
    if missing:
        return missing
    time, wave = _wave(reading)
    return max(abs(value_at(time, wave, _instant(reading, number))) for number in (1, 2))


def _energy(reading: Reading) -> float | Undefined:
    continuous = _is_continuous(reading)
    if continuous:
        return continuous
    run = reading.run("decide")
    begin, end = _instant(reading, 1.5), _instant(reading, 2.5)
    return -reading.corner.supply_v * (end - begin) * mean_over(run.scale, run.real("i(v_vdd)"), begin, end)


def _metrics() -> tuple[Metric, ...]:
    clocked = "the comparator is clocked"
    continuous = "the comparator has no clock"
    undecided = "both signs of the input lead to the same output"
    decide = ("decide",)
    return (
        *common_metrics(),
        Metric(
            "gain_db",
            "dB",
            "small-signal gain at 10 Hz from differential input to output, in balance",
            f"{clocked}; or no input balances it",
            ("op", "gain"),
            _gain,
            "higher",
        ),
        Metric(
            "input_noise_v_per_rthz",
            "V/sqrt(Hz)",
            "input-referred noise density of the first output at 1 kHz, in balance",
            f"{clocked}; or no input balances it",
            ("op", "noise"),
            _noise,
            "lower",
        ),
        Metric(
            "hysteresis_v",
            "V",
            "input at which the output changes when it rises, less that at which it changes when it falls; or 0",
            f"{clocked}; or a sweep by sweep_v to either side does not change the decision",
            ("up", "down"),
            _hysteresis,
        ),
        Metric(
            "offset_v",
            "V",
            "differential input that leaves the output undecided: in balance; clocked, where both decisions part",
            "no input balances it; or clocked, and the outputs do not part, or there is one only",
            ("op", "decide"),
            _offset,
        ),
        Metric(
            "output_high_v",
            "V",
            "the higher of the output's levels after a positive and after a negative input",
            "the transient has no result",
            decide,
            lambda reading: _level(reading, is_high=True),
            "higher",
        ),
        Metric(
            "output_low_v",
            "V",
            "the lower of the output's levels after a positive and after a negative input",
            "the transient has no result",
            decide,
            lambda reading: _level(reading, is_high=False),
            "lower",
        ),
        Metric(
            "decision_swing",
            "1",
            "distance of both decisions over the supply; with two outputs the smaller of their differences, 0 unless"
            " these differ in sign",
            "the transient has no result",
            decide,
            _swing,
            "higher",
        ),
        Metric(
            "propagation_delay_s",
            "s",
            "longer of both decisions' delays, from the middle of the input's step (the clock's edge) until the output"
            " is half-way (the outputs are half as far apart as in the end), at step_v (clocked: overdrive_v)",
            f"{undecided}; or clocked with one output",
            decide,
            _delay,
            "lower",
        ),
        Metric(
            "regeneration_time_constant_s",
            "s",
            "time in which the outputs' difference grows e-fold, between 3 and 20 % of the supply, slower decision",
            f"{continuous}; or one output only; or {undecided}",
            decide,
            _regeneration,
            "lower",
        ),
        Metric(
            "reset_residue_v",
            "V",
            "difference of the outputs that is left of a decision when the reset ends",
            f"{continuous}; or one output only",
            decide,
            _residue,
            "lower",
        ),
        Metric(
            "energy_per_decision_j",
            "J",
            "energy from VDD in one period of the clock, without the clock's own drivers",
            continuous,
            decide,
            _energy,
            "lower",
        ),
    )


testbenches.add(
    "comparator",
    Testbench(
        name="comparator",
        version=1,
        summary="comparators, continuous or clocked: decisions, offset, hysteresis, delay, regeneration, energy",
        types=("comparator",),
        roles=(
            Role("positive_input", ("VIN1",), "one of the compared voltages"),
            Role("negative_input", ("VIN2", "VREF1", "VB1"), "the other of the compared voltages"),
            Role("output", ("VOUT1", "LOGICQ1"), "the decision"),
            Role("output_complement", ("VOUT2", "LOGICQ2"), "the opposite decision", False),
            Role("clock", ("VCLK1", "VLATCH1"), "the clock that makes it decide", False),
            Role("clock_complement", ("VCLK2", "VTRACK1"), "the opposite clock", False),
        ),
        settings=(
            Setting("common_mode_v", "V", "mean of both inputs", 0.5, 0.0, 1.0, of_supply=True),
            Setting("overdrive_v", "V", "differential input of a clocked decision, to either side", 1e-3, 1e-6, 1.0),
            Setting("step_v", "V", "differential input of a continuous decision, to either side", 0.05, 1e-4, 1.0),
            Setting("sweep_v", "V", "reach of the input's sweep to either side", 0.1, 1e-4, 1.0),
            Setting("load_f", "F", "capacitance at every output", 2e-14, 0.0, 1e-6),
            Setting("clock_hz", "Hz", "frequency of the clock", 5e7, 1e3, 1e11),
        ),
        metrics=_metrics(),
        setups=_setups,
        derive=MappingProxyType({"decide": _time_scale}),
        works=(Bound("decision_swing", low=0.2), Bound("propagation_delay_s", low=0.0)),
        resolve=tell_inputs_apart,
    ),
)
