"""LC oscillators: a resonator of coils and capacitors, and transistors that take away its loss.

Small signal: a current between the outputs (from VSS to a single output) meets the admittance Y = G + jB. The resonance
is where B passes zero upwards; the oscillation starts if G is negative there, and grows with the time constant
(dB/dw) / -G: the pole of G + (dB/dw)(s - jw0) = 0 in s.

Large signal: step and length of the transient follow from that resonance. Growth from noise takes hundreds of periods
and tells nothing that the time constant does not, so the transient begins with a current in the coils that swings the
outputs by half the supply. Where it is not steady by its end, a second one begins with the swing it is heading for.

There is no phase noise: Leeson's formula needs the noise factor of the saturated oscillator, which small-signal noise
analysis does not give.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

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
    RunFailed,
    Setting,
    Setup,
    Testbench,
    Undefined,
    Wave,
    testbenches,
)
from app.testbenches._common import common_metrics, op_run
from app.testbenches._loads import output_load
from app.testbenches._oscillation import (
    Oscillation,
    expected_swing,
    find_oscillation,
    mean_supply_current,
    oscillating_power,
)
from app.testbenches._waveforms import tone

_BAND = "ac dec 40 1meg 200g"

#: Amplitude between the outputs that the first transient begins with, relative to the supply.
_FIRST_AMPLITUDE = 0.5

#: A steady step, small enough for the fifth harmonic. It makes the trapezoidal rule slow by 0.25 %, which is corrected.
_STEPS_PER_PERIOD = 36

#: Periods of the first transient, and for each time constant of the growth besides; of those that follow.
_FIRST_PERIODS, _PERIODS_PER_GROWTH, _MOST_FIRST_PERIODS, _NEXT_PERIODS = 48.0, 8.0, 80.0, 160.0

#: A transient with more points has its step cut again and again, and is stopped.
_MOST_POINTS = 12_000

#: A swing below this share of the supply is no oscillation.
_LEAST_SWING = 0.02

#: How much the mean swing of a third of the periods may differ from the third before: where amplitude and frequency are
#: read, and where a frequency that follows the amplitude (a varactor) is compared with another one.
_STEADY_SWING, _STEADIER_SWING = 0.02, 0.008

#: The disturbance that the start-up time counts from, in volts: what noise and mismatch surely exceed.
_DISTURBANCE_V = 1e-3

_HARMONICS = (2, 3, 4, 5)


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    plus, settings = circuit.node("output"), circuit.settings
    nodes = [circuit.node(role) for role in ("output", "output_2") if circuit.has(role)]
    minus = nodes[1] if len(nodes) > 1 else "vss"
    reads = tuple(f"v({node})" for node in nodes)
    common = [card for node in nodes for card in output_load(node, settings["load_f"])]
    low, high = settings["control_v"], settings["control_v"] + settings["control_step_v"]
    if circuit.has("control"):
        common.append(f"v_tb_control {circuit.node('control')} vss DC {low:.12g}")
    tune = f"alter v_tb_control dc={high:.12g}"
    small = [op_run(), Run("impedance", "ac", _BAND, reads)]
    if circuit.has("control"):
        small.append(Run("tuned_impedance", "ac", _BAND, reads, before=(tune,)))
    kick = f"i_tb_kick {minus} {plus} DC 0 PWL(0 {{tb_kick}} {{tb_step}} 0)"
    transient = "tran {tb_step:.12g} {tb_stop:.12g} 0 {tb_step:.12g}"

    def large(name: str, *before: str) -> Setup:
        run = Run(name, "tran", transient, (*reads, "i(v_vdd)"), before=(*before, f"stop after {_MOST_POINTS}"))
        return Setup(name, (*common, kick), (run,))

    setups = [Setup("small_signal", (*common, f"i_tb_drive {minus} {plus} DC 0 AC 1"), tuple(small))]
    setups += [large("first"), large("second")]
    if circuit.has("control"):
        setups.append(large("tuned", tune))
    return tuple(setups)


def _between(reading: Reading, waves: Mapping[str, ComplexWave]) -> ComplexWave:
    """The voltage across the outputs, or of the only one."""
    across = waves[reading.v("output")]
    return across - waves[reading.v("output_2")] if "output_2" in reading.node else across


def _resonance(reading: Reading, run: str = "impedance") -> tuple[float, float, float]:
    """(frequency, conductance, slope of the susceptance in farads) at the resonance where the conductance is lowest."""
    curves = reading.run(run)
    frequency, admittance = curves.scale, 1 / _between(reading, {name: curves.complex(name) for name in curves.vectors})
    susceptance = admittance.imag
    steps = np.flatnonzero((susceptance[:-1] < 0) & (susceptance[1:] >= 0))
    if not steps.size:
        raise RunFailed("there is no parallel resonance at the outputs between 1 MHz and 200 GHz", "circuit")
    share = susceptance[steps] / (susceptance[steps] - susceptance[steps + 1])

    def at_crossings(curve: Wave) -> Wave:
        return np.asarray(curve[steps] + share * (curve[steps + 1] - curve[steps]), dtype=np.float64)

    conductance = at_crossings(admittance.real)
    best = int(np.argmin(conductance))
    slope = at_crossings(np.gradient(susceptance, 2 * np.pi * frequency))
    return float(at_crossings(frequency)[best]), float(conductance[best]), float(slope[best])


def _resonance_hz(reading: Reading) -> float:
    return _resonance(reading)[0]


def _conductance(reading: Reading) -> float:
    return _resonance(reading)[1]


def _growth_time(reading: Reading) -> float | Undefined:
    _, conductance, slope = _resonance(reading)
    if conductance >= 0:
        return Undefined(f"it does not start: at its resonance the outputs have a conductance of +{conductance:.3g} S")
    return slope / -conductance


def _resonance_tuning(reading: Reading) -> float | Undefined:
    if "control" not in reading.node:
        return Undefined("the circuit has no control port")
    return (_resonance(reading, "tuned_impedance")[0] - _resonance(reading)[0]) / reading.settings["control_step_v"]


def _scale(reading: Reading, amplitude_v: float, periods: float) -> Mapping[str, float]:
    """Step, length and initial current of a transient that begins with an amplitude between the outputs."""
    frequency, _, slope = _resonance(reading)
    curves = reading.run("impedance")
    resistance = abs(_between(reading, {name: curves.complex(name) for name in curves.vectors})[0])
    # A resonator of capacitance C = slope / 2 swings by I / (w C); an output behind a resistor is not pulled further.
    volts_per_ampere = max(1 / (np.pi * frequency * slope), float(resistance))
    return {
        "tb_step": 1 / (_STEPS_PER_PERIOD * frequency),
        "tb_stop": periods / frequency,
        "tb_kick": amplitude_v / volts_per_ampere,
    }


def _first_scale(reading: Reading) -> Mapping[str, float]:
    """The first transient; none where nothing grows."""
    growth_periods = reading.number("growth_time_s") * reading.number("resonance_hz")
    periods = min(_FIRST_PERIODS + _PERIODS_PER_GROWTH * growth_periods, _MOST_FIRST_PERIODS)
    return _scale(reading, _FIRST_AMPLITUDE * reading.corner.supply_v, periods)


def _second_scale(reading: Reading) -> Mapping[str, float] | Undefined:
    """The second transient; none where the first one is steady, or leads nowhere."""
    found = _found(reading, "first", _STEADIER_SWING)
    if not isinstance(found, Undefined):
        return Undefined("the first transient is steady")
    expected = expected_swing(*_waves(reading, "first"), _LEAST_SWING * reading.corner.supply_v)
    # Without a cause of its own: the metrics say what they find in the first transient.
    return (
        Undefined(expected.reason) if isinstance(expected, Undefined) else _scale(reading, expected / 2, _NEXT_PERIODS)
    )


def _tuned_scale(reading: Reading) -> Mapping[str, float] | Undefined:
    """The transient at the other control voltage begins with the amplitude at the nominal one; none without that."""
    found = _found(reading, _steady_run(reading), _STEADIER_SWING)
    return Undefined(found.reason) if isinstance(found, Undefined) else _scale(reading, found.swing / 2, _NEXT_PERIODS)


def _waves(reading: Reading, run: str) -> tuple[Wave, Wave]:
    waves = reading.run(run)
    return waves.scale, _between(reading, {name: waves.complex(name) for name in waves.vectors}).real


def _found(reading: Reading, run: str, tolerance: float) -> Oscillation | Undefined:
    return find_oscillation(*_waves(reading, run), _LEAST_SWING * reading.corner.supply_v, tolerance)


def _steady_run(reading: Reading) -> str:
    """The run that shows the steady oscillation, if there is one."""
    return "second" if "second" in reading.runs else "first"


def _oscillation(reading: Reading, run: str | None = None, tolerance: float = _STEADY_SWING) -> Oscillation:
    """The steady oscillation, or that of one run; raises RunFailed where there is none."""
    found = _found(reading, _steady_run(reading) if run is None else run, tolerance)
    if isinstance(found, Undefined):
        raise RunFailed(found.reason, found.cause)
    return found


def _true_frequency(oscillation: Oscillation) -> float:
    """The frequency before the trapezoidal rule, which maps w to (2 / step) arctan(w step / 2)."""
    # The step is the transient's, relative to the small-signal resonance: near enough for a correction of 0.25 %.
    return oscillation.frequency_hz * float(np.tan(np.pi / _STEPS_PER_PERIOD) / (np.pi / _STEPS_PER_PERIOD))


def _frequency(reading: Reading) -> float:
    return _true_frequency(_oscillation(reading))


def _harmonic(reading: Reading, number: int) -> float:
    """Peak amplitude of a harmonic over the steady periods."""
    steady = _oscillation(reading)
    time, curve = _waves(reading, _steady_run(reading))
    # Whole periods of the fundamental are whole ones of its harmonics.
    return abs(tone(time, curve, number * steady.frequency_hz, steady.begin_s, number * steady.periods))


def _amplitude(reading: Reading) -> float:
    return _harmonic(reading, 1)


def _distortion(reading: Reading) -> float:
    harmonics = sum(_harmonic(reading, number) ** 2 for number in _HARMONICS)
    return float(10 * np.log10(harmonics) - 20 * np.log10(reading.number("amplitude_v")))


def _mean_current(reading: Reading) -> float:
    return mean_supply_current(reading.run(_steady_run(reading)), _oscillation(reading))


def _startup(reading: Reading) -> float:
    return reading.number("growth_time_s") * float(np.log(0.9 * reading.number("amplitude_v") / _DISTURBANCE_V))


def _kvco(reading: Reading) -> float | Undefined:
    if "control" not in reading.node:
        return Undefined("the circuit has no control port")
    frequency, tuned = (
        _true_frequency(_oscillation(reading, run, _STEADIER_SWING)) for run in (_steady_run(reading), "tuned")
    )
    return (tuned - frequency) / reading.settings["control_step_v"]


def demand_coils(netlist: Netlist, ports: Mapping[str, str]) -> Mapping[str, str]:
    """The ports as they are; InvalidRequest where the circuit has no coil to resonate."""
    if not any(device.kind == "inductor" for device in netlist.devices):
        raise InvalidRequest(
            "testbench lc_oscillator cannot drive this circuit: it has no coil; use testbench ring_oscillator",
            pointer="/testbench",
        )
    return ports


_SMALL = ("impedance",)
_LARGE = ("impedance", "first", "second")

_NO_RESONANCE = "the outputs have no parallel resonance between 1 MHz and 200 GHz"
_NO_START = _NO_RESONANCE + ", or their conductance at it is not negative"
_NONE = _NO_START + "; the oscillation dies away, or is not steady after 240 periods"

testbenches.add(
    "lc_oscillator",
    Testbench(
        name="lc_oscillator",
        version=1,
        summary="oscillator with coils: start-up condition from small signals, then its steady oscillation",
        types=("oscillator",),
        roles=(
            Role("output", ("VOUT1",), "the output, or one end of the resonator"),
            Role("output_2", ("VOUT2",), "the opposite output; all is measured between both", is_required=False),
            Role("control", ("VCONT1",), "the voltage that tunes the frequency", is_required=False),
        ),
        settings=(
            Setting("load_f", "F", "capacitance at each output", 10e-15, 0.0, 1e-9),
            Setting("control_v", "V", "control voltage, and where tuning gains begin", 0.5, 0.0, 1.5, of_supply=True),
            Setting("control_step_v", "V", "rise of the control voltage for tuning", 0.05, 0.001, 0.5, of_supply=True),
        ),
        metrics=(
            *common_metrics(),
            Metric(
                "resonance_hz",
                "Hz",
                "where the small-signal susceptance between the outputs passes zero upwards; of several resonances the "
                "one of the lowest conductance",
                _NO_RESONANCE,
                _SMALL,
                _resonance_hz,
                "target",
            ),
            Metric(
                "startup_conductance_s",
                "S",
                "small-signal conductance between the outputs at resonance_hz: the oscillation starts where it is "
                "negative, and could bear that much more loss",
                _NO_RESONANCE,
                _SMALL,
                _conductance,
                "lower",
            ),
            Metric(
                "growth_time_s",
                "s",
                "time in which a small oscillation grows by e: slope of the susceptance over minus the conductance",
                _NO_START,
                _SMALL,
                _growth_time,
                "lower",
            ),
            Metric(
                "resonance_tuning_hz_per_v",
                "Hz/V",
                "change of resonance_hz when the control voltage rises by control_step_v, over that step",
                _NO_RESONANCE + ", or the circuit has no control port",
                ("impedance", "tuned_impedance"),
                _resonance_tuning,
                "target",
            ),
            Metric(
                "frequency_hz",
                "Hz",
                "one over the mean period of the last third of the periods of the transient",
                _NONE,
                _LARGE,
                _frequency,
                "target",
            ),
            Metric(
                "amplitude_v",
                "V",
                "peak amplitude of the fundamental between the outputs, over the steady periods",
                _NONE,
                _LARGE,
                _amplitude,
                "higher",
            ),
            Metric(
                "distortion_db",
                "dB",
                "harmonics 2 to 5 between the outputs, root of the sum of squares, over the fundamental",
                _NONE,
                _LARGE,
                _distortion,
                "lower",
            ),
            Metric(
                "oscillating_current_a",
                "A",
                "current drawn from VDD, averaged over the steady periods",
                _NONE,
                _LARGE,
                _mean_current,
                "lower",
            ),
            Metric(
                "oscillating_power_w",
                "W",
                "supply voltage times oscillating_current_a",
                _NONE,
                _LARGE,
                oscillating_power,
                "lower",
            ),
            Metric(
                "startup_time_s",
                "s",
                "time that growth with growth_time_s takes from 1 mV to 90 % of amplitude_v",
                _NONE,
                _LARGE,
                _startup,
                "lower",
            ),
            Metric(
                "kvco_hz_per_v",
                "Hz/V",
                "tuning gain: change of frequency_hz when the control voltage rises by control_step_v, over that step",
                _NONE + "; the circuit has no control port",
                (*_LARGE, "tuned"),
                _kvco,
                "target",
            ),
        ),
        setups=_setups,
        works=(Bound("startup_conductance_s", high=0.0), Bound("amplitude_v", low=0.1)),
        derive={"first": _first_scale, "second": _second_scale, "tuned": _tuned_scale},
        resolve=demand_coils,
    ),
)
