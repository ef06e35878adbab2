"""Linear regulators: the output against load and supply, and the loop that holds it.

The loop is opened for every frequency but DC where the other half of the reference's pair is controlled: an inductor of
1 GH keeps the operating point, a capacitor of 1 GF drives the pair.

The load draws its current whatever the voltage is, but fades below 0.1 V: it is no source that could pull a dead output
below VSS.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from app.analog.kinds import SUPPLY_NETS
from app.analog.netlist import Netlist
from app.errors import InvalidRequest
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
from app.testbenches._pairs import CONTROL_PINS, other_halves, pair_partner, tails
from app.testbenches._transfer import rms_over
from app.testbenches._waveforms import (
    crossing_frequency,
    crossings,
    decibels,
    settling_time,
    unwrapped_degrees,
    value_at,
)

_FEEDBACK = "v(tb_feedback)"
_OPEN = "v(tb_open)"
_LOAD = "i(v_tb_load)"

_NO_PAIR = "the netlist shows no pair that compares the output with the reference"

#: Supply at the upper end of its sweep, over the nominal one, and the sweep's steps.
_SUPPLY_TOP = 1.1
_LINE_STEPS = 99
_LOAD_STEPS = 12

#: Share of the nominal output that is lost in dropout, and the slope above which the output follows the supply.
_LOST = 0.02
_FOLLOWS = 0.5

_SETTLED = 0.01
_NOISE_BAND_HZ = (10.0, 1e5)

#: Either side of the load's step takes so many periods of the loop's unity-gain frequency, within these limits.
_PERIODS = 10.0
_SHORTEST_S, _LONGEST_S = 5e-8, 1e-2


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    settings, out = circuit.settings, circuit.node("output")
    full, light = settings["load_a"], settings["light_load"] * settings["load_a"]
    output = (f"v({out})",)
    feedback = _feedback_net(circuit)
    cards = _outside(circuit)
    opened: tuple[Setup, ...] = ()
    if feedback is not None:
        cards = (*cards, f"e_tb_feedback tb_feedback vss {circuit.node_of[feedback]} vss 1")
        opened = (_opened(circuit, feedback, cards, full),)
    top, (low, high) = _SUPPLY_TOP * circuit.corner.supply_v, _NOISE_BAND_HZ
    static = Setup(
        "static",
        (*cards, f"v_tb_current tb_current vss DC {full:.12g}", f"i_tb_out vss {out} DC 0 AC 0"),
        (
            op_run(*output, _LOAD, *((_FEEDBACK,) if opened else ())),
            Run("output", "ac", "ac dec 5 1 10g", output, before=("alter i_tb_out acmag=1",)),
            Run("supply", "ac", "ac dec 5 1 1g", output, before=("alter i_tb_out acmag=0", "alter v_vdd acmag=1")),
            Run("noise", "noise", f"noise {output[0]} v_vdd dec 5 {low:g} {high:g}", ("onoise_spectrum",)),
            Run("load", "dc", f"dc v_tb_current {full:.12g} {light:.12g} {(light - full) / _LOAD_STEPS:.12g}", output),
            Run("line", "dc", f"dc v_vdd {top:.12g} 0 {-top / _LINE_STEPS:.12g}", output),
        ),
    )
    step = Setup(
        "step",
        (
            *cards,
            f"v_tb_current tb_current vss DC {light:.12g} PWL(0 {light:.12g} {{tb_rise}} {light:.12g}"
            f" {{tb_risen}} {full:.12g} {{tb_fall}} {full:.12g} {{tb_fallen}} {light:.12g})",
        ),
        (Run("step", "tran", "tran {tb_step} {tb_stop}", output),),
        after=("loop", "output"),
    )
    return static, *opened, step


def _opened(circuit: BenchCircuit, feedback: str, cards: tuple[str, ...], load_a: float) -> Setup:
    """The loop driven at the other half of the reference's pair, closed at DC."""
    halves = other_halves(circuit.netlist, circuit.wiring.port_of["reference"])
    pins = ((device, pin) for device, _ in halves for pin, net in device.pins() if net == feedback)
    return Setup(
        "loop",
        (
            *cards,
            f"v_tb_current tb_current vss DC {load_a:.12g}",
            f"l_tb_loop {circuit.node_of[feedback]} {_OPEN[2:-1]} 1g",
            f"c_tb_loop {_OPEN[2:-1]} tb_drive 1g",
            "v_tb_drive tb_drive vss DC 0 AC 1",
        ),
        (Run("loop", "ac", "ac dec 10 1 10g", (_FEEDBACK, _OPEN)),),
        moved={(device.name, pin): _OPEN[2:-1] for device, pin in pins if pin in CONTROL_PINS},
    )


def _outside(circuit: BenchCircuit) -> tuple[str, ...]:
    """Reference, unregulated input, load and capacitor."""
    settings, out = circuit.settings, circuit.node("output")
    cards = [
        f"v_tb_load {out} tb_load DC 0",
        "b_tb_load tb_load vss i=v(tb_current)*tanh(v(tb_load)/0.05)",
        f"c_tb_load {out} vss {settings['load_f']:.12g}",
    ]
    if circuit.has("reference"):
        cards.append(f"v_tb_ref {circuit.node('reference')} vss DC {settings['reference_v']:.12g}")
    if circuit.has("input"):
        cards.append(f"v_tb_in {circuit.node('input')} vdd DC 0")
    return tuple(cards)


def _feedback_net(circuit: BenchCircuit) -> str | None:
    """The net that the reference is compared with: its pair's other half, where resistors join that to the output."""
    reference = circuit.wiring.port_of.get("reference")
    partner = None if reference is None else pair_partner(circuit.netlist, reference)
    return partner if partner in _over_resistors(circuit.netlist, circuit.wiring.port_of["output"]) else None


def _is_followed(netlist: Netlist, control: str, output: str) -> bool:
    """True where a transistor that the net controls has its source or emitter at the output."""
    return any(tail == output for _, tail in tails(netlist, control))


def _with_reference(netlist: Netlist, ports: Mapping[str, str]) -> Mapping[str, str]:
    """Without a port named as one, the bias port that the output follows is the reference.

    Raises:
        InvalidRequest: The circuit has neither VDD nor an unregulated input.
    """
    if "VDD" not in netlist.pins_of and "input" not in ports:
        raise InvalidRequest(
            "testbench ldo cannot drive this circuit: no device is connected to VDD, and it has no input (the"
            " unregulated voltage); name the port VIN1, or say which it is under 'ports'",
            pointer="/netlist",
        )
    if "reference" in ports:
        return ports
    followed = [
        port
        for port in netlist.ports
        if port in netlist.pins_of and port not in SUPPLY_NETS and _is_followed(netlist, port, ports["output"])
    ]
    return {**ports, "reference": followed[0]} if len(followed) == 1 else ports


def _over_resistors(netlist: Netlist, start: str) -> set[str]:
    """The net and every other one that resistors join to it without a supply in between."""
    found, waiting = {start}, [start]
    while waiting:
        net = waiting.pop()
        for device, _ in netlist.pins_of[net]:
            if device.kind == "resistor":
                new = {other for other in device.nets if other not in SUPPLY_NETS} - found
                found |= new
                waiting += new
    return found


def _time_scale(reading: Reading) -> Mapping[str, float]:
    """When the load steps, from the loop's speed: its unity-gain frequency, else where the output impedance falls."""
    speed = reading.value("loop_ugf_hz")
    if isinstance(speed, Undefined):
        run = reading.run("output")
        impedance = np.abs(run.complex(reading.v("output")))
        after = run.scale >= run.scale[int(np.argmax(impedance))]
        peak = float(impedance.max())
        found = crossing_frequency(run.scale[after], decibels(impedance[after] / peak), -10 * np.log10(2))
        speed = 1e6 if found is None else found
    window = min(max(_PERIODS / speed, _SHORTEST_S), _LONGEST_S)
    edge = window / 5000
    times = {"rise": 0.1 * window, "risen": 0.1 * window + edge, "fall": 1.1 * window, "fallen": 1.1 * window + edge}
    return {f"tb_{name}": value for name, value in {**times, "stop": 2.1 * window, "step": window / 200}.items()}


def _output(reading: Reading) -> float:
    return reading.run("op").at_op(reading.v("output"))


def _quiescent(reading: Reading) -> float:
    return reading.number("supply_current_a") - reading.run("op").at_op(_LOAD)


def _has_no_loop(reading: Reading) -> Undefined | None:
    if "loop" in reading.runs or "loop" in reading.failed:
        return None
    return Undefined(_NO_PAIR)


def _regulation_error(reading: Reading) -> float | Undefined:
    run = reading.run("op")
    if _FEEDBACK not in run.vectors:
        return Undefined(_NO_PAIR)
    return run.at_op(_FEEDBACK) / reading.settings["reference_v"] - 1.0


def _loop_gain(reading: Reading) -> tuple[Wave, ComplexWave]:
    """Frequency and loop gain, positive at DC where the feedback is negative."""
    run = reading.run("loop")
    return run.scale, -run.complex(_FEEDBACK) / run.complex(_OPEN)


def _loop_gain_db(reading: Reading) -> float | Undefined:
    return _has_no_loop(reading) or float(decibels(_loop_gain(reading)[1])[0])


def _loop_ugf(reading: Reading) -> float | Undefined:
    if reading.number("loop_gain_db") <= 0:
        return Undefined("the loop gain is not above 0 dB at 1 Hz")
    frequency, gain = _loop_gain(reading)
    found = crossing_frequency(frequency, decibels(gain))
    return Undefined("the loop gain stays above 0 dB up to 10 GHz") if found is None else found


def _phase_margin(reading: Reading) -> float:
    crossing = reading.number("loop_ugf_hz")
    frequency, gain = _loop_gain(reading)
    return 180.0 + value_at(np.log10(frequency), unwrapped_degrees(gain), float(np.log10(crossing)))


def _output_resistance(reading: Reading) -> float:
    return float(reading.run("output").complex(reading.v("output"))[0].real)


def _impedance_peak(reading: Reading) -> float:
    return float(np.max(np.abs(reading.run("output").complex(reading.v("output")))))


def _rejection(reading: Reading) -> tuple[Wave, Wave] | Undefined:
    run = reading.run("supply")
    rejection = -decibels(run.complex(reading.v("output")))
    if not np.all(np.isfinite(rejection)):
        return Undefined("nothing of the supply reaches the output")
    return run.scale, rejection


def _psrr(reading: Reading) -> float | Undefined:
    found = _rejection(reading)
    return found if isinstance(found, Undefined) else float(found[1][0])


def _psrr_at(reading: Reading) -> float | Undefined:
    found = _rejection(reading)
    if isinstance(found, Undefined):
        return found
    return value_at(np.log10(found[0]), found[1], float(np.log10(reading.settings["psrr_hz"])))


def _noise_v(reading: Reading) -> float:
    run = reading.run("noise")
    return rms_over(run.scale, run.real("onoise_spectrum"), *_NOISE_BAND_HZ)


def _load_regulation(reading: Reading) -> float | Undefined:
    output = reading.run("load").real(reading.v("output"))
    light = float(output[-1])
    return abs(light - float(output[0])) / light if light > 0 else Undefined("the output is not above 0 V")


def _line_curve(reading: Reading) -> tuple[Wave, Wave]:
    """Supply voltage, ascending, and output voltage."""
    run = reading.run("line")
    return run.scale[::-1], run.real(reading.v("output"))[::-1]


def _line_regulation(reading: Reading) -> float:
    supply, output = _line_curve(reading)
    nominal = reading.corner.supply_v
    top = _SUPPLY_TOP * nominal
    return abs(value_at(supply, output, top) - value_at(supply, output, nominal)) / (top - nominal)


def _dropout(reading: Reading) -> float | Undefined:
    supply, output = _line_curve(reading)
    if reading.number("line_regulation_v_per_v") > _FOLLOWS:
        return Undefined("the output follows the supply: it is not regulated at the nominal supply")
    nominal = value_at(supply, output, reading.corner.supply_v)
    held = (1.0 - _LOST) * nominal
    entries = crossings(supply, output, held, +1)
    below = entries[entries <= reading.corner.supply_v]
    return float(below[-1]) - held if below.size else Undefined("the output is 2 % lower at no supply")


def _parts(reading: Reading) -> tuple[tuple[Wave, Wave], tuple[Wave, Wave], float]:
    """(time since the step, output) after the load rises and after it falls, and the output before."""
    run = reading.run("step")
    time, output = run.scale, run.real(reading.v("output"))
    window = float(time[-1]) / 2.1
    rise, fall = 0.1 * window, 1.1 * window
    heavy, light = (time >= rise) & (time < fall), time >= fall
    return (time[heavy] - rise, output[heavy]), (time[light] - fall, output[light]), value_at(time, output, rise)


def _undershoot(reading: Reading) -> float:
    (_, heavy), _, before = _parts(reading)
    return max(0.0, before - float(heavy.min()))


def _overshoot(reading: Reading) -> float:
    _, (_, light), before = _parts(reading)
    return max(0.0, float(light.max()) - before)


def _settling(reading: Reading) -> float | Undefined:
    slowest = 0.0
    for time, output in _parts(reading)[:2]:
        final = float(output[-1])
        still = output[time >= 0.8 * time[-1]]
        found = settling_time(time, output, final, _SETTLED * abs(final))
        if found is None or np.ptp(still) > 2 * _SETTLED * abs(final):
            return Undefined("the output does not stay within 1 % after a step of the load")
        slowest = max(slowest, found)
    return slowest


def _metrics() -> tuple[Metric, ...]:
    never = "a run that it needs has no result"
    silent = "nothing of the supply reaches the output"
    return (
        *common_metrics(),
        Metric("output_v", "V", "output voltage at full load", never, ("op",), _output),
        Metric(
            "quiescent_current_a",
            "A",
            "current drawn from the supply less the load's current, at full load",
            never,
            ("op",),
            _quiescent,
            "lower",
        ),
        Metric(
            "regulation_error",
            "1",
            "voltage at the other half of the reference's pair over the reference voltage, less one, at full load",
            _NO_PAIR,
            ("op",),
            _regulation_error,
        ),
        Metric(
            "loop_gain_db",
            "dB",
            "loop gain at 1 Hz and full load",
            _NO_PAIR,
            ("loop",),
            _loop_gain_db,
            "higher",
        ),
        Metric(
            "loop_ugf_hz",
            "Hz",
            "frequency of the loop gain's first downward passage of 0 dB, at full load",
            f"{_NO_PAIR}; or the loop gain is not above 0 dB at 1 Hz, or always is",
            ("loop",),
            _loop_ugf,
            "higher",
        ),
        Metric(
            "phase_margin_deg",
            "deg",
            "180 degrees plus the loop gain's unwrapped phase at loop_ugf_hz",
            "there is no unity-gain frequency",
            ("loop",),
            _phase_margin,
            "higher",
        ),
        Metric(
            "output_resistance_ohm",
            "ohm",
            "real part of the closed loop's output impedance at 1 Hz and full load",
            never,
            ("output",),
            _output_resistance,
            "lower",
        ),
        Metric(
            "output_impedance_peak_ohm",
            "ohm",
            "largest magnitude of the output impedance between 1 Hz and 10 GHz at full load",
            never,
            ("output",),
            _impedance_peak,
            "lower",
        ),
        Metric(
            "psrr_db",
            "dB",
            "supply rejection at 1 Hz and full load: minus the decibels of output over supply",
            silent,
            ("supply",),
            _psrr,
            "higher",
        ),
        Metric(
            "psrr_at_frequency_db",
            "dB",
            "supply rejection at psrr_hz and full load",
            silent,
            ("supply",),
            _psrr_at,
            "higher",
        ),
        Metric(
            "output_noise_v",
            "V",
            "noise voltage of the output from 10 Hz to 100 kHz at full load, root mean square",
            never,
            ("noise",),
            _noise_v,
            "lower",
        ),
        Metric(
            "load_regulation",
            "1",
            "output voltage lost from light to full load, relative to that at light load",
            "the output is not above 0 V",
            ("load",),
            _load_regulation,
            "lower",
        ),
        Metric(
            "line_regulation_v_per_v",
            "V/V",
            "change of the output over that of the supply, from the nominal supply to 1.1 times as much, at full load",
            never,
            ("line",),
            _line_regulation,
            "lower",
        ),
        Metric(
            "dropout_v",
            "V",
            "supply less output where a falling supply has taken 2 % of the output, at full load",
            "the output follows the supply already at its nominal value",
            ("line",),
            _dropout,
            "lower",
        ),
        Metric(
            "undershoot_v",
            "V",
            "how far the output falls below where it was, when the load rises from light to full",
            never,
            ("step",),
            _undershoot,
            "lower",
        ),
        Metric(
            "overshoot_v",
            "V",
            "how far the output rises above where it was at light load, when the load falls back",
            never,
            ("step",),
            _overshoot,
            "lower",
        ),
        Metric(
            "settling_time_s",
            "s",
            "longer of the times from a step of the load until the output stays within 1 %; 0 where it never leaves",
            "the output does not stay within 1 % after a step of the load",
            ("step",),
            _settling,
            "lower",
        ),
    )


testbenches.add(
    "ldo",
    Testbench(
        name="ldo",
        version=1,
        summary="linear regulators: load and line regulation, dropout, supply rejection, loop stability, load steps",
        types=("ldo",),
        roles=(
            Role("output", ("VOUT1",), "the regulated voltage"),
            Role("reference", ("VREF1",), "the voltage that the output is compared with", False),
            Role("input", ("VIN1",), "the unregulated voltage, where it is not VDD", False),
        ),
        settings=(
            Setting("reference_v", "V", "voltage of the reference", 0.4, 0.02, 0.98, of_supply=True),
            Setting("load_a", "A", "current of the full load", 1e-4, 1e-9, 10.0),
            Setting("light_load", "1", "light load over full load", 0.1, 0.0, 0.9),
            Setting("load_f", "F", "capacitance at the output beside the netlist's own", 1e-11, 0.0, 1e-2),
            Setting("psrr_hz", "Hz", "frequency of psrr_at_frequency_db", 1e5, 1.0, 1e9),
        ),
        metrics=_metrics(),
        setups=_setups,
        derive=MappingProxyType({"step": _time_scale}),
        works=(
            Bound("output_v", low=0.1),
            Bound("load_regulation", high=0.1),
            Bound("line_regulation_v_per_v", high=0.1),
        ),
        supplies=("VSS",),
        resolve=_with_reference,
    ),
)
