"""Sampling circuits under two-phase clocks: track-and-holds, sample-and-holds, switched-capacitor integrators.

The input moves in the middle of every hold phase, so that a circuit that does not hold is found out. What the output
does from clock to clock is described by three numbers, the least-squares fit of ``held[k] = offset + gain x input[k] +
memory x held[k-1]``: a sampler has the memory 0, an integrator the memory 1, what shares charge lies in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from app.testbenches._base import (
    BenchCircuit,
    Bound,
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
from app.testbenches._transfer import rms_over
from app.testbenches._waveforms import crossing_frequency, decibels, mean_over, settling_time

#: Input levels by clock period, in units of ``amplitude_v`` around ``input_v``.
_LEVELS = (0, 0, 1, 1, -1, -1, 0)

#: Shares of a clock period: the phases, the length of every edge, and where the input moves (in the hold phase).
_TRACK = (0.02, 0.48)
_HOLD = (0.52, 0.98)
_EDGE = 0.002
_MOVE = 0.75

#: Just before the end of the track phase, before the input moves, and before the end of the hold phase.
_TRACK_END, _HOLD_MIDDLE, _HOLD_END = 0.475, 0.745, 0.975

#: Clock periods of the long hold phase, and where in it the droop is read.
_LONG_HOLD, _DROOP_FROM = 100, 10

#: Changes of a held voltage below this are the simulator's, not the circuit's.
_RESOLUTION_V = 1e-6

_NOISE_BAND_HZ = (1e3, 100e9)


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    settings, high = circuit.settings, circuit.corner.supply_v
    source, out = circuit.node("input"), circuit.node("output")
    middle, amplitude, period = settings["input_v"], settings["amplitude_v"], 1 / settings["clock_hz"]
    levels = [middle + amplitude * level for level in _LEVELS]
    shared = [f"c_tb_load {out} vss {settings['load_f']:.12g}"]
    if circuit.has("common_mode"):
        shared.append(f"v_tb_common {circuit.node('common_mode')} vss DC {middle:.12g}")
    clocks = _clocks(circuit)

    def driven(track: str, hold: str, signal: str) -> tuple[str, ...]:
        drives = [f"v_tb_{role} {node} vss {track if follows else hold}" for role, node, follows in clocks]
        return (*drives, f"v_tb_in {source} vss {signal}", *shared)

    tracking = Setup(
        "tracking",
        driven(f"DC {high:.12g}", "DC 0", f"DC {middle:.12g} AC 1"),
        (
            op_run(f"v({out})"),
            Run("track_ac", "ac", "ac dec 20 1k 100g", (f"v({out})",)),
            Run(
                "track_noise",
                "noise",
                f"noise v({out}) v_tb_in dec 10 {_NOISE_BAND_HZ[0]:g} {_NOISE_BAND_HZ[1]:g}",
                ("onoise_spectrum",),
            ),
        ),
    )
    # Both phases are on at the operating point, so that no capacitor's charge is left to chance.
    phases = range(len(_LEVELS))
    sampling = Setup(
        "sampling",
        (
            *driven(
                _pulses([(0, _TRACK[1]), *((k + _TRACK[0], k + _TRACK[1]) for k in phases[1:])], period, 0, high),
                _pulses([(0, _TRACK[0]), *((k + _HOLD[0], k + _HOLD[1]) for k in phases)], period, 0, high),
                _steps(levels, period),
            ),
            f".ic v({out})={middle:.12g}",
        ),
        (
            Run(
                "samples",
                "tran",
                f"tran {period / 100:.12g} {len(_LEVELS) * period:.12g}",
                (f"v({out})", "i(v_vdd)", *(f"i(v_tb_{role})" for role, _, _ in clocks)),
            ),
        ),
    )
    holding = Setup(
        "holding",
        (
            *driven(
                _pulses([(0, _TRACK[1])], period, 0, high),
                _pulses([(0, _TRACK[0]), (_HOLD[0], 2 * _LONG_HOLD)], period, 0, high),
                _steps(levels[1:3], period),
            ),
            f".ic v({out})={middle:.12g}",
        ),
        (Run("long_hold", "tran", f"tran {period:.12g} {_LONG_HOLD * period:.12g}", (f"v({out})",)),),
    )
    return tracking, sampling, holding


def _clocks(circuit: BenchCircuit) -> list[tuple[str, str, bool]]:
    """(role, node, is on while the circuit tracks) of every clock that the circuit has."""
    roles = (("track_clock", True), ("hold_clock", False), ("second_track_clock", True), ("second_hold_clock", False))
    return [(role, circuit.node(role), follows) for role, follows in roles if circuit.has(role)]


def _pulses(windows: Sequence[tuple[float, float]], period: float, low: float, high: float) -> str:
    """A source that is high in the windows, given in periods; one from 0 is high from the start."""
    points = [] if windows[0][0] == 0 else [(0.0, low)]
    for begin, end in windows:
        points += [(0.0, high)] if begin == 0 else [(begin, low), (begin + _EDGE, high)]
        points += [(end, high), (end + _EDGE, low)]
    return _piecewise(points, period)


def _steps(levels: Sequence[float], period: float) -> str:
    """A source that goes to each level in the hold phase of the period before."""
    points = [(0.0, levels[0])]
    for index, (before, after) in enumerate(pairwise(levels)):
        points += [(index + _MOVE, before), (index + _MOVE + _EDGE, after)]
    return _piecewise(points, period)


def _piecewise(points: Sequence[tuple[float, float]], period: float) -> str:
    return f"PWL({' '.join(f'{at * period:.9g} {level:.9g}' for at, level in points)})"


def _inputs(reading: Reading) -> Wave:
    return reading.settings["input_v"] + reading.settings["amplitude_v"] * np.array(_LEVELS, dtype=np.float64)


def _outputs(reading: Reading, share: float) -> Wave:
    """The output at this share of every clock period."""
    waves = reading.run("samples")
    instants = (np.arange(len(_LEVELS)) + share) / reading.settings["clock_hz"]
    return np.asarray(np.interp(instants, waves.scale, waves.real(reading.v("output"))), dtype=np.float64)


def _fit(reading: Reading) -> tuple[float, float, float]:
    """Gain, memory and the root mean square of what they do not explain, relative to the spread of the held output."""
    held, inputs = _outputs(reading, _HOLD_END), _inputs(reading)
    spread = float(np.ptp(held))
    if spread < max(1e-3 * reading.settings["amplitude_v"], 10 * _RESOLUTION_V):
        raise RunFailed("the held output does not change with the input", "circuit")
    columns = np.stack((np.ones(len(held) - 1), inputs[1:], held[:-1]), axis=1)
    found, *_ = np.linalg.lstsq(columns, held[1:], rcond=None)
    rest = held[1:] - columns @ found
    return float(found[1]), float(found[2]), float(np.sqrt(np.mean(rest**2)) / spread)


def _sample_gain(reading: Reading) -> float:
    return _fit(reading)[0]


def _sample_gain_db(reading: Reading) -> float | Undefined:
    gain = reading.number("sample_gain")
    return float(20 * np.log10(abs(gain))) if gain else Undefined("the held output does not change with the input")


def _memory(reading: Reading) -> float:
    return _fit(reading)[1]


def _fit_error(reading: Reading) -> float:
    return _fit(reading)[2]


def _no_sampler(reading: Reading) -> Undefined | None:
    """Why figures of a sampler have no meaning here."""
    memory = reading.number("memory")
    return None if abs(memory) < 0.1 else Undefined(f"the output remembers {memory:.3g} of its previous sample")


def _gain_error(reading: Reading) -> float | Undefined:
    return _no_sampler(reading) or abs(reading.number("sample_gain")) - 1.0


def _at_middle(reading: Reading, share: float) -> float:
    """The output at this share of a period, over those whose input is in the middle and was before."""
    return float(_outputs(reading, share)[1])


def _offset_v(reading: Reading) -> float | Undefined:
    return _no_sampler(reading) or _at_middle(reading, _HOLD_END) - reading.settings["input_v"]


def _bow_v(reading: Reading) -> float | Undefined:
    held = _outputs(reading, _HOLD_END)
    return _no_sampler(reading) or float(held[1] - (held[3] + held[5]) / 2)


def _step_offset_v(reading: Reading) -> float | Undefined:
    memory = reading.number("memory")
    if memory < 0.9:
        return Undefined(f"the output keeps only {memory:.3g} of its previous sample, it does not integrate")
    held = _outputs(reading, _HOLD_END)
    return float(held[1] - held[0])


def _does_not_track(reading: Reading) -> Undefined | None:
    """Why figures of the track phase have no meaning here."""
    other = _no_sampler(reading)
    if other:
        return other
    slope = float(np.polyfit(_inputs(reading), _outputs(reading, _TRACK_END), 1)[0])
    if 0.5 < slope / reading.number("sample_gain") < 2:
        return None
    return Undefined("the output does not follow the input in the track phase")


def _pedestal_v(reading: Reading) -> float | Undefined:
    missing = _does_not_track(reading)
    return missing or _at_middle(reading, _HOLD_MIDDLE) - _at_middle(reading, _TRACK_END)


def _settling(begin: float, end: float) -> Callable[[Reading], float | Undefined]:
    """The slower of both steps of the input: from the middle of a clock's edge until the output stays within 1 %."""
    start = begin + _EDGE / 2

    def measure(reading: Reading) -> float | Undefined:
        missing = _does_not_track(reading) if begin == _TRACK[0] else None
        if missing:
            return missing
        waves, period = reading.run("samples"), 1 / reading.settings["clock_hz"]
        gain, inputs = abs(reading.number("sample_gain")), _inputs(reading)
        slowest = 0.0
        for index in (2, 4):
            inside = (waves.scale >= (index + start) * period) & (waves.scale <= (index + end) * period)
            time, output = waves.scale[inside] - (index + start) * period, waves.real(reading.v("output"))[inside]
            band = 0.01 * gain * abs(inputs[index] - inputs[index - 1])
            found = settling_time(time, output, float(output[-1]), band)
            still = output[time >= 0.8 * time[-1]]
            if found is None or np.ptp(still) > band:
                return Undefined("the output is still moving at the end of the phase")
            slowest = max(slowest, found)
        return slowest

    return measure


def _feedthrough_db(reading: Reading) -> float | Undefined:
    before, after = (_outputs(reading, share)[3] for share in (_HOLD_MIDDLE, _HOLD_END))
    if abs(after - before) < _RESOLUTION_V:
        return Undefined("the held output moves by less than 1 uV, which the simulation does not resolve")
    return float(20 * np.log10(abs(after - before) / (2 * reading.settings["amplitude_v"])))


def _energy_j(reading: Reading) -> float:
    """The supply's energy and, at the supply's voltage, the charge that clock drivers deliver; none flows back."""
    waves, period = reading.run("samples"), 1 / reading.settings["clock_hz"]
    clocks = [waves.real(name) for name in waves.vectors if name.startswith("i(v_tb_")]
    current = -waves.real("i(v_vdd)") + sum(np.maximum(-drive, 0.0) for drive in clocks)
    return reading.corner.supply_v * period * mean_over(waves.scale, current, period, len(_LEVELS) * period)


def _droop(reading: Reading) -> float | Undefined:
    waves, period = reading.run("long_hold"), 1 / reading.settings["clock_hz"]
    early, late = np.interp((_DROOP_FROM * period, _LONG_HOLD * period), waves.scale, waves.real(reading.v("output")))
    if abs(late - early) < _RESOLUTION_V:
        return Undefined("the held output moves by less than 1 uV, which the simulation does not resolve")
    return float((late - early) / ((_LONG_HOLD - _DROOP_FROM) * period))


def _track_gain(reading: Reading) -> float:
    gain = float(np.abs(reading.run("track_ac").complex(reading.v("output"))[0]))
    if gain < 0.1:
        raise RunFailed("the output does not follow the input in the track phase", "circuit")
    return gain


def _track_bandwidth_hz(reading: Reading) -> float | Undefined:
    waves, gain = reading.run("track_ac"), _track_gain(reading)
    magnitude = decibels(waves.complex(reading.v("output")))
    found = crossing_frequency(waves.scale, magnitude, float(20 * np.log10(gain / np.sqrt(2))))
    return Undefined("the gain does not fall by 3 dB up to 100 GHz") if found is None else found


def _track_noise_v(reading: Reading) -> float:
    _track_gain(reading)
    noise = reading.run("track_noise")
    return rms_over(noise.scale, noise.real("onoise_spectrum"), *_NOISE_BAND_HZ)


_TRACKED = ("track_ac",)
_SAMPLED = ("samples",)
_NO_TRACK = "the output does not follow the input at DC while the track clock is on"
_NO_FOLLOWER = "the output does not follow the input in the track phase, or it integrates"
_NO_OUTPUT = "the transient does not finish, or the held output does not change with the input"
_NO_SAMPLER = _NO_OUTPUT + ", or the output remembers more than 0.1 of its previous sample"
_BELOW = "the change is below 1 uV, or the transient does not finish"

testbenches.add(
    "sampler",
    Testbench(
        name="sampler",
        version=1,
        summary="switched-capacitor sampler or integrator under two-phase clocks, its input moving while it holds",
        types=("switched_cap",),
        roles=(
            Role("input", ("VIN1",), "the voltage that is sampled"),
            Role("output", ("VOUT1",), "the output that holds"),
            Role("track_clock", ("VCLK1", "VTRACK1"), "the clock that is high while the circuit takes its sample"),
            Role("hold_clock", ("VCLK2", "VHOLD1"), "the clock that is high while it holds", is_required=False),
            Role("second_track_clock", ("VCLK3",), "a further clock in step with the track clock", is_required=False),
            Role("second_hold_clock", ("VCLK4",), "a further clock in step with the hold clock", is_required=False),
            Role("common_mode", ("VCM1",), "the level that signals swing around", is_required=False),
        ),
        settings=(
            Setting("clock_hz", "Hz", "frequency of the clocks; edges take 0.2 % of a period", 1e6, 1e3, 1e9),
            Setting("input_v", "V", "middle of the input levels, and the common mode", 0.5, 0.0, 1.0, of_supply=True),
            Setting("amplitude_v", "V", "distance of the input levels", 0.1, 0.001, 0.5, of_supply=True),
            Setting("load_f", "F", "capacitance at the output", 100e-15, 0.0, 1e-6),
        ),
        metrics=(
            *common_metrics(),
            Metric(
                "track_bandwidth_hz", "Hz",
                "frequency at which the gain is 3.01 dB below its value at 1 kHz, at the operating point with the track"
                " clock on (a gate voltage that only clocking lifts is not there)",
                _NO_TRACK, _TRACKED, _track_bandwidth_hz, "higher",
            ),
            Metric(
                "track_noise_v", "V",
                "output noise from 1 kHz to 100 GHz with the track clock on, rms: what a passive sampler holds, kT/C",
                _NO_TRACK, (*_TRACKED, "track_noise"), _track_noise_v, "lower",
            ),
            Metric(
                "sample_gain", "1", "change of the held output per change of the sampled input, the sign with it",
                _NO_OUTPUT, _SAMPLED, _sample_gain,
            ),
            Metric("sample_gain_db", "dB", "magnitude of sample_gain", _NO_OUTPUT, _SAMPLED, _sample_gain_db),
            Metric(
                "memory", "1", "share of the previous sample in the held output: 0 of a sampler, 1 of an integrator",
                _NO_OUTPUT, _SAMPLED, _memory,
            ),
            Metric(
                "fit_error", "1",
                "what gain, offset and memory do not explain, rms relative to the spread of the held output",
                _NO_OUTPUT, _SAMPLED, _fit_error, "lower",
            ),
            Metric(
                "gain_error", "1", "magnitude of sample_gain minus 1", _NO_SAMPLER, _SAMPLED, _gain_error,
            ),
            Metric(
                "offset_v", "V", "held output minus input at the middle level", _NO_SAMPLER, _SAMPLED, _offset_v,
            ),
            Metric(
                "bow_v", "V",
                "held output at the middle level minus the mean of those at the outer levels: even distortion",
                _NO_SAMPLER, _SAMPLED, _bow_v,
            ),
            Metric(
                "pedestal_v", "V", "held output minus the output at the end of the track phase, at the middle level",
                _NO_FOLLOWER, _SAMPLED, _pedestal_v,
            ),
            Metric(
                "step_offset_v", "V", "change of an integrator's output per clock with the input at the common mode",
                "the output keeps less than 0.9 of its previous sample", _SAMPLED, _step_offset_v,
            ),
            Metric(
                "acquisition_time_s", "s",
                "from the start of the track phase until the output stays within 1 % of the step, the slower step",
                _NO_FOLLOWER + ", or it is still moving at the end of the phase", _SAMPLED,
                _settling(_TRACK[0], _TRACK_END), "lower",
            ),
            Metric(
                "hold_settling_time_s", "s",
                "from the end of the track phase until the held output stays within 1 % of the step, the slower step",
                _NO_OUTPUT + ", or the output is still moving", _SAMPLED, _settling(_TRACK[1], _HOLD_MIDDLE), "lower",
            ),
            Metric(
                "hold_feedthrough_db", "dB",
                "change of the held output relative to a step of the input in the hold phase",
                _BELOW, _SAMPLED, _feedthrough_db, "lower",
            ),
            Metric(
                "energy_per_sample_j", "J", "energy from the supply and the drivers of the clocks in one clock period",
                "the transient does not finish", _SAMPLED, _energy_j, "lower",
            ),
            Metric(
                "droop_v_per_s", "V/s", "slope of the held output from 10 to 100 clock periods into a long hold phase",
                _BELOW, ("long_hold",), _droop,
            ),
        ),
        setups=_setups,
        supplies=("VSS",),
        works=(Bound("sample_gain_db", low=-20.0), Bound("fit_error", high=0.05)),
    ),
)  # fmt: skip
