"""Current mirrors and self-biased current references: a current goes in (or none), the output is held at a voltage.

Everything is said of the voltage *across* the output: from VSS to the port where the circuit sinks the current, from
the port to VDD where it sources it. So a mirror of NMOS and its PMOS twin have the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from app.simulators.bias import conducts_downwards
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
from app.testbenches._kick import KICKED, kicked_setup, settled, settled_cards
from app.testbenches._references import (
    START_SETTINGS,
    TEMPERATURE_RUNS,
    start_run,
    start_supply,
    startup_time,
    temperature_coefficient,
    temperature_runs,
)
from app.testbenches._waveforms import crossing_frequency, crossings, decibels, value_at

_CURRENT = "i(v_tb_out)"
_SPOT_HZ = 1e3

#: Steps of the output's voltage from rail to rail.
_STEPS = 60

#: Share of the nominal current that the output still carries at its compliance.
_COMPLIANT = 0.95


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    supply, settings = circuit.corner.supply_v, circuit.settings
    out = f"v_tb_out {circuit.node('output')} vss DC {settings['output_v']:.12g}"
    if not circuit.has("input"):
        held = (circuit.wiring.port_of["output"],)
        kicked = kicked_setup(circuit, (out,), held, settings["startup_window_s"])
        cards = (out, _NOISE_CARD, *settled_cards(circuit, held))
        static = Setup("static", cards, _static_runs(supply, ()), after=(KICKED,))
        start = Setup("start", (out,), (start_run(settings, _CURRENT),), supply=start_supply(circuit))
        return kicked, static, start
    node = circuit.node("input")
    downwards = conducts_downwards(circuit.netlist, circuit.wiring.port_of["input"])
    ends, room = (f"vdd {node}", f"{supply:.12g}-v({node})") if downwards else (f"{node} vss", f"v({node})")
    into = (
        f"b_tb_in {ends} i={settings['input_a']:.12g}*tanh(({room})/{_FADES_V:g})",
        f"i_tb_in {ends} DC 0 AC 0",
    )
    return (Setup("static", (out, *into, _NOISE_CARD), _static_runs(supply, (f"v({node})",))),)


#: The input's current fades where it has less than a few times this voltage left: no input goes beyond its rail.
_FADES_V = 0.05

#: A voltage that equals the output's current in amperes: noise is read from voltages only.
_NOISE_CARD = "h_tb_noise tb_noise vss v_tb_out 1"


def _static_runs(supply: float, inputs: tuple[str, ...]) -> tuple[Run, ...]:
    one = "ac lin 1 1 1"
    runs = [op_run(_CURRENT, *inputs), Run("output", "ac", one, (_CURRENT,), before=("alter v_tb_out acmag=1",))]
    quiet = ["alter v_tb_out acmag=0"]
    if inputs:
        sweep = "ac dec 10 1k 100g"
        runs.append(Run("transfer", "ac", sweep, (_CURRENT,), before=(*quiet, "alter i_tb_in acmag=1")))
        quiet = ["alter i_tb_in acmag=0"]
    runs.append(Run("supply", "ac", one, (_CURRENT,), before=(*quiet, "alter v_vdd acmag=1")))
    noise = f"noise v(tb_noise) v_vdd dec 1 {_SPOT_HZ:g} {10 * _SPOT_HZ:g}"
    runs.append(Run("noise", "noise", noise, ("onoise_spectrum",)))
    runs.append(Run("sweep", "dc", f"dc v_tb_out 0 {supply:.12g} {supply / _STEPS:.12g}", (_CURRENT,)))
    runs += temperature_runs(_CURRENT)
    return tuple(runs)


def _settled(reading: Reading) -> Mapping[str, float]:
    """Where a circuit without an input settles; a mirror has one operating point."""
    return {} if "input" in reading.node else settled(reading)


def _into(reading: Reading) -> float:
    """The nominal current into the output port; negative where the circuit sources it."""
    return -reading.run("op").at_op(_CURRENT)


def _output_current(reading: Reading) -> float:
    return abs(_into(reading))


def _no_input(reading: Reading) -> Undefined | None:
    return None if "input" in reading.node else Undefined("the circuit has no input: it makes its current itself")


def _current_ratio(reading: Reading) -> float | Undefined:
    return _no_input(reading) or _output_current(reading) / reading.settings["input_a"]


def _input_voltage(reading: Reading) -> float | Undefined:
    missing = _no_input(reading)
    if missing:
        return missing
    voltage = reading.run("op").at_op(reading.v("input"))
    return voltage if _into(reading) >= 0 else reading.corner.supply_v - voltage


def _output_resistance(reading: Reading) -> float | Undefined:
    conductance = -float(reading.run("output").complex(_CURRENT)[0].real)
    return 1 / conductance if conductance > 0 else Undefined("the conductance of the output is not positive")


def _current_gain(reading: Reading) -> float | Undefined:
    return _no_input(reading) or float(abs(reading.run("transfer").complex(_CURRENT)[0]))


def _bandwidth(reading: Reading) -> float | Undefined:
    missing = _no_input(reading)
    if missing:
        return missing
    run = reading.run("transfer")
    gain = decibels(run.complex(_CURRENT))
    found = crossing_frequency(run.scale, gain, float(gain[0]) - 10 * np.log10(2))
    return Undefined("the current gain does not fall by 3 dB up to 100 GHz") if found is None else found


def _supply_sensitivity(reading: Reading) -> float | Undefined:
    nominal = reading.number("output_current_a")
    change = float(abs(reading.run("supply").complex(_CURRENT)[0]))
    if nominal == 0 or change == 0:
        return Undefined("nothing of the supply reaches the output")
    return change / nominal


def _noise(reading: Reading) -> float:
    return float(reading.run("noise").real("onoise_spectrum")[0])


def _across(reading: Reading) -> tuple[Wave, Wave, float]:
    """Voltage across the output, ascending, the current in its nominal direction, and the nominal voltage."""
    run = reading.run("sweep")
    voltage, current, nominal = run.scale, -run.real(_CURRENT), reading.settings["output_v"]
    if _into(reading) >= 0:
        return voltage, current, nominal
    supply = reading.corner.supply_v
    return (supply - voltage)[::-1], -current[::-1], supply - nominal


def _compliance(reading: Reading) -> float | Undefined:
    voltage, current, nominal = _across(reading)
    rises = crossings(voltage, current, _COMPLIANT * reading.number("output_current_a"), +1)
    below = rises[rises <= nominal]
    return float(below[-1]) if below.size else Undefined("the current does not fall below 95 % at any output voltage")


def _variation(reading: Reading) -> float | Undefined:
    voltage, current, nominal = _across(reading)
    middle = reading.number("output_current_a")
    if middle == 0:
        return Undefined("there is no output current")
    values = np.append(current[voltage >= nominal], value_at(voltage, current, nominal))
    return float(np.ptp(values)) / middle


def _temperature_coefficient(reading: Reading) -> float | Undefined:
    return temperature_coefficient(reading, _CURRENT)


def _startup_time(reading: Reading) -> float | Undefined:
    if "input" in reading.node:
        return Undefined("the circuit has an input: it does not start by itself")
    run = reading.run("start")
    return startup_time(run.scale, -run.real(_CURRENT), _into(reading), reading.settings)


def _metrics() -> tuple[Metric, ...]:
    always = "the operating point does not converge"
    made = "the circuit has no input, it makes its current itself"
    none = "there is no output current"
    return (
        *common_metrics(),
        Metric(
            "output_current_a",
            "A",
            "magnitude of the current through the output, held at output_v",
            always,
            ("op",),
            _output_current,
        ),
        Metric("current_ratio", "1", "output current over input current", made, ("op",), _current_ratio),
        Metric(
            "input_voltage_v",
            "V",
            "voltage across the input: to VSS of a mirror that sinks its output current, to VDD of one that sources it",
            made,
            ("op",),
            _input_voltage,
            "lower",
        ),
        Metric(
            "output_resistance_ohm",
            "ohm",
            "one over the real part of the output's admittance at 1 Hz",
            "the conductance of the output is not positive",
            ("output",),
            _output_resistance,
            "higher",
        ),
        Metric(
            "current_gain",
            "1",
            "magnitude of the small-signal output current over the input current at 1 kHz",
            made,
            ("transfer",),
            _current_gain,
        ),
        Metric(
            "bandwidth_hz",
            "Hz",
            "frequency at which the current gain has fallen by 3 dB from its value at 1 kHz",
            f"{made}; or the gain does not fall by 3 dB up to 100 GHz",
            ("transfer",),
            _bandwidth,
            "higher",
        ),
        Metric(
            "supply_sensitivity_per_v",
            "1/V",
            "relative change of the output current for a volt of supply, at 1 Hz, the output's voltage to VSS held",
            "nothing of the supply reaches the output, as where a mirror is connected to VSS alone",
            ("op", "supply"),
            _supply_sensitivity,
            "lower",
        ),
        Metric(
            "output_noise_a_per_rthz",
            "A/sqrt(Hz)",
            "density of the output's noise current at 1 kHz",
            always,
            ("noise",),
            _noise,
            "lower",
        ),
        Metric(
            "compliance_v",
            "V",
            "least voltage across the output at which it carries 95 % of its nominal current",
            "the current does not fall below 95 % at any output voltage",
            ("op", "sweep"),
            _compliance,
            "lower",
        ),
        Metric(
            "output_variation",
            "1",
            "largest less smallest current over nominal current, for voltages across the output from nominal to supply",
            none,
            ("op", "sweep"),
            _variation,
            "lower",
        ),
        Metric(
            "temperature_coefficient_ppm_per_c",
            "ppm/C",
            "box method: largest less smallest output current over their mean and the range of -40 to 125 C",
            none,
            TEMPERATURE_RUNS,
            _temperature_coefficient,
            "lower",
        ),
        Metric(
            "startup_time_s",
            "s",
            "time from the start of the supply's ramp until the output current stays within 10 % of its nominal value",
            "the circuit has an input; or it does not start within startup_window_s",
            ("op", "start"),
            _startup_time,
            "lower",
        ),
    )


testbenches.add(
    "current_mirror",
    Testbench(
        name="current_mirror",
        version=1,
        summary="current mirrors and self-biased current references: ratio, output resistance, compliance, start-up",
        types=("current_mirror",),
        roles=(
            Role("output", ("IOUT1",), "the port whose current is the result"),
            Role("input", ("IIN1", "IREF1", "IB1"), "the port that the current to be copied goes into", False),
        ),
        settings=(
            Setting("input_a", "A", "current into the input", 10e-6, 1e-9, 0.1),
            Setting("output_v", "V", "voltage that the output is held at", 0.5, 0.02, 0.98, of_supply=True),
            *START_SETTINGS,
        ),
        metrics=_metrics(),
        setups=_setups,
        derive=MappingProxyType({"static": _settled}),
        works=(Bound("output_current_a", low=1e-7), Bound("output_variation", high=0.5)),
        supplies=(),
    ),
)
