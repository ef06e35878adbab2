"""Mixers: a radio signal above the local oscillator comes out at the difference of both frequencies.

A port pair is driven and read balanced. The radio input is driven through a capacitor where the circuit sets its level;
gates and bases get the level that turns on the transistors behind them (`bias_plan`), the gates of switches that sit
on the radio input itself the same above half the supply; both can be shifted. The difference frequency is a whole
fraction of the local oscillator's, so that one of its periods holds all tones, and the transient's step is steady.

There is no noise figure: noise in a circuit that its oscillator drives needs periodic noise analysis, which the
simulator lacks. The transistors of a pair are equal, so what only their mismatch lets through has no value. The
intercept of passive switches is the device model's: few are smooth in the third derivative at zero drain voltage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from app.analog.netlist import Netlist, port_role
from app.simulators.bias import bias_plan
from app.testbenches._base import (
    BenchCircuit,
    Bound,
    ComplexWave,
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
from app.testbenches._loads import output_load
from app.testbenches._tones import (
    AFTER,
    FLOOR_DB,
    TONE_OPTIONS,
    amplitude_of_power,
    blocking_capacitance,
    intercept_db,
    needs_bias,
    steady_transient,
    tones,
)
from app.testbenches._waveforms import mean_over

_STEPS_PER_LO = 32

#: Periods of the difference frequency that are simulated; the last two are compared, the last one counts.
_PERIODS = 5

#: How much the wanted tone of the last period may differ from that of the one before, relatively.
_SETTLED = 0.01

#: The two tones come out at these multiples of a base frequency, on both sides of the difference frequency.
_PAIR = (2, 3)
_PAIR_PERIODS = 4
_PAIR_NUMBERS = (1, 2, 3, 4, 5, 6)


def _lo_cycles(settings: Mapping[str, float]) -> int:
    """Periods of the local oscillator in one of the difference frequency."""
    return round(settings["lo_over_if"])


def _pair_cycles(settings: Mapping[str, float]) -> int:
    """Periods of the local oscillator in one of the two-tone transient's base frequency."""
    return round(sum(_PAIR) / 2 * _lo_cycles(settings))


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    settings = circuit.settings
    lo_hz, cycles = settings["lo_frequency_hz"], _lo_cycles(settings)
    if_nodes = _nodes(circuit, "if_output")
    reads = tuple(f"v({node})" for node in (*if_nodes, *_nodes(circuit, "rf_input")))
    level, amplitude = _lo_level(circuit) + settings["lo_offset_v"], settings["lo_amplitude_v"]
    common = [
        *_rf_cards(circuit),
        *(card for node in if_nodes for card in output_load(node, settings["load_f"])),
    ]
    static = []
    for number, (node, sign) in enumerate(zip(_nodes(circuit, "lo_input"), (1, -1), strict=False), 1):
        peak = sign * amplitude
        common.append(f"v_tb_lo_{number} {node} vss DC {level:.12g} SIN({level:.12g} {peak:.12g} {lo_hz:.15g})")
        static.append(f"alter v_tb_lo_{number} dc={level + peak:.12g}")
    if_hz = lo_hz / cycles
    rf_hz = lo_hz + if_hz
    mixing = Setup(
        "mixing",
        (*common, f"v_tb_tone tb_tone vss DC 0 AC 1 SIN(0 {settings['rf_amplitude_v']:.12g} {rf_hz:.15g})"),
        (
            op_run(),
            Run("static", "ac", f"ac lin 1 {if_hz:.15g} {if_hz:.15g}", reads[: len(if_nodes)], before=tuple(static)),
            _transient("conversion", lo_hz, cycles, _PERIODS, (*reads, "i(v_vdd)")),
        ),
        options=TONE_OPTIONS,
    )
    base_hz = lo_hz / _pair_cycles(settings)
    peak = amplitude_of_power(settings["tone_dbm"], settings["source_ohm"])
    low, high = (lo_hz + number * base_hz for number in _PAIR)
    two_tone = Setup(
        "two_tone",
        (
            *common,
            f"v_tb_tone tb_tone tb_tone_2 SIN(0 {peak:.12g} {low:.15g})",
            f"v_tb_tone_2 tb_tone_2 vss SIN(0 {peak:.12g} {high:.15g})",
        ),
        (_transient("two_tone", lo_hz, _pair_cycles(settings), _PAIR_PERIODS, reads[: len(if_nodes)]),),
        options=TONE_OPTIONS,
    )
    return mixing, two_tone


def _transient(name: str, lo_hz: float, cycles: int, periods: int, vectors: tuple[str, ...]) -> Run:
    """A transient of some periods of so many cycles each."""
    step, stop = 1 / (lo_hz * _STEPS_PER_LO), (periods + AFTER) * cycles / lo_hz
    command, limit = steady_transient(step, stop)
    return Run(name, "tran", command, vectors, before=(limit,))


def _nodes(circuit: BenchCircuit, role: str) -> list[str]:
    return [circuit.node(name) for name in (role, f"{role}_2") if circuit.has(name)]


def _rf_cards(circuit: BenchCircuit) -> list[str]:
    """From the tone (node tb_tone) to the radio input: half of tone, resistance and sign on each side of a pair."""
    settings, ports = circuit.settings, circuit.wiring
    nodes = _nodes(circuit, "rf_input")
    is_direct = needs_bias(circuit.netlist, ports.port_of["rf_input"], ports.biased)
    level = _turn_on(circuit, "rf_input") + settings["rf_offset_v"] if is_direct else 0.0
    source = settings["source_ohm"] / len(nodes)
    block = blocking_capacitance(settings["lo_frequency_hz"], source)
    cards = [f"v_tb_level tb_level vss DC {level:.12g}"]
    for number, node in enumerate(nodes, 1):
        share = (1 if number == 1 else -1) / len(nodes)
        cards.append(f"e_tb_rf_{number} tb_rf_{number} tb_level tb_tone vss {share:g}")
        cards.append(f"r_tb_rf_{number} tb_rf_{number} tb_in_{number} {source:.12g}")
        into = f"v_tb_in_{number} tb_in_{number} {node} DC 0"
        cards.append(into if is_direct else f"c_tb_in_{number} tb_in_{number} {node} {block:.6g}")
    return cards


def _turn_on(circuit: BenchCircuit, role: str) -> float:
    """The level that turns on the transistors behind a port."""
    port = circuit.wiring.port_of[role]
    sources = bias_plan(circuit.netlist, circuit.technology).voltages
    return next((source.volts for source in sources if source.net == port), circuit.corner.supply_v / 2)


def _lo_level(circuit: BenchCircuit) -> float:
    """The local oscillator's level before its offset."""
    port_of, technology = circuit.wiring.port_of, circuit.technology
    inputs = {port_of[name] for name in ("rf_input", "rf_input_2") if name in port_of}
    for device, pin in circuit.netlist.pins_of[port_of["lo_input"]]:
        if pin == "gate" and inputs & set(device.nets[:3:2]):
            sign = 1 if device.kind == "nmos" else -1
            return circuit.corner.supply_v / 2 + sign * technology.gate_bias_v
    return _turn_on(circuit, "lo_input")


def _across(reading: Reading, role: str, waves: Mapping[str, ComplexWave]) -> ComplexWave:
    """The voltage between the two ports of a role, or of its only one."""
    first = waves[reading.v(role)]
    return first - waves[reading.v(f"{role}_2")] if f"{role}_2" in reading.node else first


def _curve(reading: Reading, run: str, role: str) -> tuple[Wave, Wave]:
    waves = reading.run(run)
    return waves.scale, _across(reading, role, {name: waves.complex(name) for name in waves.vectors}).real


def _tones(reading: Reading, role: str) -> tuple[Mapping[str, complex], Mapping[str, complex]]:
    """Amplitudes at the difference frequency (``if``), the oscillator's (``lo``) and the radio signal's (``rf``).

    Those of the last period and of the one before.
    """
    settings = reading.settings
    cycles, lo_hz = _lo_cycles(settings), settings["lo_frequency_hz"]
    numbers = sorted({1, 2, *(harmonic * cycles + side for harmonic in (1, 2) for side in (-1, 0, 1)), cycles + 2})
    found = tones(*_curve(reading, "conversion", role), lo_hz / cycles, numbers, _PERIODS * cycles / lo_hz)
    last, before = ({"if": each[1], "lo": each[cycles], "rf": each[cycles + 1]} for each in found)
    return last, before


def _static_gain(reading: Reading) -> float | Undefined:
    waves = reading.run("static")
    transfer = abs(_across(reading, "if_output", {name: waves.complex(name) for name in waves.vectors})[0])
    return float(20 * np.log10(transfer)) if transfer > 0 else Undefined("nothing reaches the output")


def _conversion_gain(reading: Reading) -> float | Undefined:
    last, before = (abs(each["if"]) for each in _tones(reading, "if_output"))
    amplitude = reading.settings["rf_amplitude_v"]
    if last < amplitude * 10 ** (-FLOOR_DB / 20):
        return Undefined(f"the difference frequency is more than {FLOOR_DB:g} dB below the radio signal")
    if abs(last - before) > _SETTLED * last:
        return Undefined(
            f"the output has not settled after {_PERIODS} periods of the difference frequency", "simulator"
        )
    return float(20 * np.log10(last / amplitude))


def _isolation(tone: str, role: str) -> Callable[[Reading], float | Undefined]:
    """How far a tone at a port is below what drives it, in decibels."""

    def measure(reading: Reading) -> float | Undefined:
        settings = reading.settings
        lo_peak = settings["lo_amplitude_v"] * (2 if "lo_input_2" in reading.node else 1)
        source = lo_peak if tone == "lo" else settings["rf_amplitude_v"]
        found = abs(_tones(reading, role)[0][tone])
        if found < source * 10 ** (-FLOOR_DB / 20):
            return Undefined(f"it is more than {FLOOR_DB:g} dB down: equal transistors cancel it")
        return float(20 * np.log10(source / found))

    return measure


def _mean_current(reading: Reading) -> float:
    waves, settings = reading.run("conversion"), reading.settings
    period = _lo_cycles(settings) / settings["lo_frequency_hz"]
    return mean_over(waves.scale, -waves.real("i(v_vdd)"), (_PERIODS - 1) * period, _PERIODS * period)


def _mean_power(reading: Reading) -> float:
    return reading.corner.supply_v * reading.number("driven_current_a")


def _iip3(reading: Reading) -> float | Undefined:
    cycles, lo_hz = _pair_cycles(reading.settings), reading.settings["lo_frequency_hz"]
    time, curve = _curve(reading, "two_tone", "if_output")
    found = tones(time, curve, lo_hz / cycles, _PAIR_NUMBERS, _PAIR_PERIODS * cycles / lo_hz)
    distance = intercept_db(*found, _PAIR)
    return distance if isinstance(distance, Undefined) else reading.settings["tone_dbm"] + distance


def keep_pairs(netlist: Netlist, ports: Mapping[str, str]) -> Mapping[str, str]:
    """The ports without a second one whose name is not like the first one's (VRF1 and VIN2 are no pair)."""
    kept = dict(ports)
    for role, port in ports.items():
        first, second = port_role(ports.get(role.removesuffix("_2"), "")), port_role(port)
        if role.endswith("_2") and first is not None and second is not None and first[0] != second[0]:
            del kept[role]
    return kept


def _pair(name: str, ports: Sequence[str], summary: str) -> tuple[Role, Role]:
    """The role of a port and that of its opposite."""
    return (
        Role(name, tuple(f"{port}1" for port in ports), summary),
        Role(f"{name}_2", tuple(f"{port}2" for port in ports), f"the opposite of the {name}", is_required=False),
    )


_FAILS = "the transient fails"
_EQUAL = f"it is more than {FLOOR_DB:g} dB down"

testbenches.add(
    "mixer",
    Testbench(
        name="mixer",
        version=1,
        summary="mixer with a sinusoidal local oscillator: conversion gain, feedthrough and intercept by transient",
        types=("mixer",),
        roles=(
            *_pair("rf_input", ("VRF", "VIN", "VBB"), "the input of the radio signal"),
            *_pair("lo_input", ("VLO", "VCLK"), "the input of the local oscillator"),
            *_pair("if_output", ("VIF", "VOUT"), "the output of the difference frequency"),
        ),
        settings=(
            Setting("lo_frequency_hz", "Hz", "frequency of the local oscillator", 1e9, 1e4, 1e11),
            Setting(
                "lo_over_if", "1", "local oscillator over difference frequency, rounded to a whole number", 10, 4, 40
            ),
            Setting("lo_amplitude_v", "V", "peak of each local oscillator input", 0.25, 0.0, 2.0, of_supply=True),
            Setting("lo_offset_v", "V", "rise of the local oscillator's level", 0.0, -1.0, 1.0, of_supply=True),
            Setting("rf_amplitude_v", "V", "peak of the radio source, open circuit, between a pair", 5e-3, 1e-6, 1.0),
            Setting(
                "rf_offset_v", "V", "rise of the radio input's level, where it is driven directly", 0.0, -1.0, 1.0, True
            ),
            Setting("source_ohm", "ohm", "resistance of the radio source, between a pair", 50.0, 0.001, 1e4),
            Setting("load_f", "F", "capacitance at each output", 20e-15, 0.0, 1e-9),
            Setting("tone_dbm", "dBm", "available power of each of the two tones", -35.0, -80.0, 10.0),
        ),
        metrics=(
            *common_metrics(),
            Metric(
                "static_gain_db",
                "dB",
                "gain at the difference frequency with the local oscillator stopped at its positive peak",
                "the AC analysis fails",
                ("static",),
                _static_gain,
                "higher",
            ),
            Metric(
                "conversion_gain_db",
                "dB",
                "tone at the difference frequency between the outputs over the open-circuit amplitude of the source",
                f"the tone is more than {FLOOR_DB:g} dB down, or still changes by more than 1 % a period",
                ("conversion",),
                _conversion_gain,
                "higher",
            ),
            Metric(
                "lo_if_isolation_db",
                "dB",
                "amplitude between the local oscillator inputs over the tone of its frequency between the outputs",
                _EQUAL,
                ("conversion",),
                _isolation("lo", "if_output"),
                "higher",
            ),
            Metric(
                "rf_if_isolation_db",
                "dB",
                "open-circuit amplitude of the radio source over the tone of its frequency between the outputs",
                _EQUAL,
                ("conversion",),
                _isolation("rf", "if_output"),
                "higher",
            ),
            Metric(
                "lo_rf_isolation_db",
                "dB",
                "amplitude between the local oscillator inputs over the tone of its frequency between the radio inputs",
                _EQUAL,
                ("conversion",),
                _isolation("lo", "rf_input"),
                "higher",
            ),
            Metric(
                "driven_current_a",
                "A",
                "current drawn from VDD, averaged over a period of the difference frequency",
                _FAILS,
                ("conversion",),
                _mean_current,
                "lower",
            ),
            Metric(
                "driven_power_w",
                "W",
                "supply voltage times driven_current_a",
                _FAILS,
                ("conversion",),
                _mean_power,
                "lower",
            ),
            Metric(
                "iip3_dbm",
                "dBm",
                "third-order intercept: available power per tone at which the third-order product at the output, going "
                "up by 3 dB for each dB of two tones of tone_dbm, would reach them",
                "the products are below the simulator's rounding, the tones compress, or the circuit has not settled",
                ("two_tone",),
                _iip3,
                "higher",
            ),
        ),
        setups=_setups,
        works=(Bound("conversion_gain_db", low=-20.0),),
        supplies=("VSS",),
        resolve=keep_pairs,
    ),
)
