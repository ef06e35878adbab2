"""Low-noise amplifiers: a source of 50 ohm at the input, a capacitance and a high resistance at the output.

The input is driven through a capacitor where the circuit sets its level, else directly at a given level. The output is
not matched, as on a chip; with `load_ohm` at 50 the gain is the scattering parameter S21. Two outputs are one
differential port.

The noise figure refers to a source at 290 K, as the IEEE defines it, whatever the temperature of the circuit.
"""

from __future__ import annotations

import numpy as np

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
from app.testbenches._tones import (
    AFTER,
    TONE_OPTIONS,
    amplitude_of_power,
    blocking_capacitance,
    intercept_db,
    needs_bias,
    steady_transient,
    tones,
)
from app.testbenches._waveforms import crossings, decibels, value_at

#: The sweeps cover a decade on both sides of the frequency; 1/gain is interpolated, so that a sharp peak is not missed.
_DECADE = 10.0
_POINTS, _NOISE_POINTS, _SUBDIVISION = 100, 20, 16

#: An input that reflects no more takes half the available power.
_MATCHED_DB = -3.0

_BOLTZMANN = 1.380649e-23
_REFERENCE_K = 290.0

#: The two tones are these multiples of a base frequency, symmetrical about the testbench's frequency.
_TONES = (16, 17)
_STEPS_PER_PERIOD = 600
_NUMBERS = (1, 2, *range(13, 21), *range(31, 36), *range(47, 53))

#: Base periods of the two-tone transient: for settling to 1e-5 at the measured bandwidth, within these limits.
_FEWEST_PERIODS, _MOST_PERIODS = 6, 10
_SETTLED = 1e-5


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    settings = circuit.settings
    frequency, source = settings["frequency_hz"], settings["source_ohm"]
    ports = circuit.wiring
    node = circuit.node("input")
    outs = [circuit.node(role) for role in ("output", "output_2") if circuit.has(role)]
    is_direct = needs_bias(circuit.netlist, ports.port_of["input"], ports.biased)
    level = settings["input_bias_v"] if is_direct else 0.0
    block = f"{blocking_capacitance(frequency / _DECADE, source):.6g}"
    into = f"v_tb_in tb_in {node} DC 0" if is_direct else f"c_tb_in tb_in {node} {block}"
    cards = [f"r_tb_source tb_rf tb_in {source:.12g}", into, "v_tb_back tb_back_1 vss DC 0 AC 0"]
    if len(outs) > 1:
        cards.append("e_tb_back tb_back_2 vss tb_back_1 vss -1")
    for number, out in enumerate(outs, 1):
        cards += output_load(out, settings["load_f"])
        cards.append(f"c_tb_block_{number} {out} tb_out_{number} {block}")
        cards.append(f"r_tb_load_{number} tb_out_{number} tb_back_{number} {settings['load_ohm']:.12g}")
    reads = (f"v({node})", *(f"v({out})" for out in outs))
    inner = (*reads, "v(tb_in)", *(f"v(tb_out_{number})" for number, _ in enumerate(outs, 1)))
    band = f"{frequency / _DECADE:.12g} {frequency * _DECADE:.12g}"
    forward = ("alter v_tb_back acmag=0", "alter v_tb_rf acmag=1")
    backward = ("alter v_tb_rf acmag=0", "alter v_tb_back acmag=1")
    small = Setup(
        "small_signal",
        (*cards, f"v_tb_rf tb_rf vss DC {level:.12g} AC 1"),
        (
            op_run(),
            Run("spot", "ac", f"ac lin 1 {frequency:.12g} {frequency:.12g}", reads),
            Run("sweep", "ac", f"ac dec {_POINTS} {band}", inner),
            Run("reverse", "ac", f"ac dec {_POINTS} {band}", inner, before=backward),
            Run(
                "noise",
                "noise",
                f"noise v({','.join(outs)}) v_tb_rf dec {_NOISE_POINTS} {band}",
                ("inoise_spectrum",),
                before=forward,
            ),
        ),
    )
    peak = amplitude_of_power(settings["tone_dbm"], source)
    low, high = (number * _base_hz(frequency) for number in _TONES)
    _, limit = steady_transient(1 / _STEPS_PER_PERIOD, _MOST_PERIODS)
    two_tone = Setup(
        "two_tone",
        (
            *cards,
            f"v_tb_rf tb_rf tb_rf_2 SIN(0 {peak:.12g} {low:.15g})",
            f"v_tb_rf_2 tb_rf_2 vss SIN({level:.12g} {peak:.12g} {high:.15g})",
        ),
        (Run("two_tone", "tran", "tran {tb_step:.15g} {tb_stop:.15g} 0 {tb_step:.15g}", reads[1:], before=(limit,)),),
        options=TONE_OPTIONS,
    )
    return small, two_tone


def _base_hz(frequency_hz: float) -> float:
    return frequency_hz / (sum(_TONES) / 2)


def _time_scale(reading: Reading) -> dict[str, float]:
    """Step and length of the two-tone transient; the bandwidth says how long the circuit takes to settle."""
    base = _base_hz(reading.settings["frequency_hz"])
    bandwidth = reading.value("bandwidth_hz")
    periods = float(_FEWEST_PERIODS)
    if not isinstance(bandwidth, Undefined):
        settling = np.ceil(-np.log(_SETTLED) / (np.pi * bandwidth) * base)
        periods = float(np.clip(2 + settling, _FEWEST_PERIODS, _MOST_PERIODS))
    return {"tb_step": 1 / (_STEPS_PER_PERIOD * base), "tb_stop": (periods + AFTER) / base}


def _out(reading: Reading, run: str) -> ComplexWave:
    """The output's voltage; between both where there are two."""
    waves = reading.run(run)
    voltage = waves.complex(reading.v("output"))
    return voltage - waves.complex(reading.v("output_2")) if "output_2" in reading.node else voltage


def _gain(reading: Reading) -> float | Undefined:
    transfer = 2 * abs(_out(reading, "spot")[0])
    return float(20 * np.log10(transfer)) if transfer > 0 else Undefined("nothing reaches the output")


def _reflection(reading: Reading) -> complex:
    """S11 at the frequency: the source's open-circuit voltage is 1 V, so the input's is (1 + S11) / 2."""
    return complex(2 * reading.run("spot").complex(reading.v("input"))[0] - 1)


def _s11(reading: Reading) -> float | Undefined:
    reflection = abs(_reflection(reading))
    return float(20 * np.log10(reflection)) if reflection > 0 else Undefined("nothing is reflected")


def _input_impedance(reading: Reading) -> complex:
    reflection = _reflection(reading)
    if reflection == 1:
        raise RunFailed("the input takes no current", "circuit")
    return reading.settings["source_ohm"] * (1 + reflection) / (1 - reflection)


def _input_resistance(reading: Reading) -> float:
    return _input_impedance(reading).real


def _input_reactance(reading: Reading) -> float:
    return _input_impedance(reading).imag


def _fine(reading: Reading) -> tuple[Wave, Wave]:
    """(log10 of the frequency, gain in dB) between the points of the sweep: the inverse of a resonance is smooth."""
    transfer = 2 * _out(reading, "sweep")
    if not np.all(np.abs(transfer) > 0):
        raise RunFailed("nothing reaches the output", "circuit")
    coarse = np.log10(reading.run("sweep").scale)
    fine = np.linspace(coarse[0], coarse[-1], _SUBDIVISION * (coarse.size - 1) + 1)
    inverse = 1 / transfer
    return fine, -decibels(np.interp(fine, coarse, inverse.real) + 1j * np.interp(fine, coarse, inverse.imag))


def _peak_gain(reading: Reading) -> float:
    return float(_fine(reading)[1].max())


def _center(reading: Reading) -> float | Undefined:
    decade, gain = _fine(reading)
    best = int(gain.argmax())
    if best in (0, gain.size - 1):
        return Undefined("the gain has its maximum at an end of the sweep")
    return float(10 ** decade[best])


def _bandwidth(reading: Reading) -> float | Undefined:
    decade, gain = _fine(reading)
    best = int(gain.argmax())
    edges = crossings(decade, gain, float(gain[best]) - 10 * np.log10(2))
    below, above = edges[edges < decade[best]], edges[edges > decade[best]]
    if not below.size or not above.size:
        return Undefined("the gain does not fall by 3 dB on both sides of its maximum within the sweep")
    return float(10 ** above[0] - 10 ** below[-1])


def _s11_at_peak(reading: Reading) -> float | Undefined:
    sweep = reading.run("sweep")
    reflection = decibels(2 * sweep.complex(reading.v("input")) - 1)
    if not np.all(np.isfinite(reflection)):
        return Undefined("nothing is reflected")
    decade, gain = _fine(reading)
    return value_at(np.log10(sweep.scale), reflection, float(decade[gain.argmax()]))


def _matched_gain(reading: Reading) -> float | Undefined:
    sweep = reading.run("sweep")
    is_matched = decibels(2 * sweep.complex(reading.v("input")) - 1) <= _MATCHED_DB
    if not is_matched.any():
        return Undefined(f"the input reflects more than {_MATCHED_DB:g} dB at every frequency")
    gain = decibels(2 * _out(reading, "sweep")[is_matched])
    return float(gain.max()) if np.isfinite(gain.max()) else Undefined("nothing reaches the output")


def _two_port(reading: Reading, run: str) -> tuple[ComplexWave, ComplexWave, ComplexWave, ComplexWave]:
    """Voltage and current of the input and of the output, currents into the circuit."""
    waves, settings = reading.run(run), reading.settings
    emf = 1.0 if run == "sweep" else 0.0
    current_in = (emf - waves.complex("v(tb_in)")) / settings["source_ohm"]
    back = (1 - emf) - waves.complex("v(tb_out_1)")
    if "output_2" in reading.node:
        back = (back + (1 - emf) + waves.complex("v(tb_out_2)")) / 2
    return waves.complex(reading.v("input")), current_in, _out(reading, run), back / settings["load_ohm"]


def _isolation(reading: Reading) -> float | Undefined:
    voltage_in, _, voltage_out, _ = _two_port(reading, "reverse")
    with np.errstate(divide="ignore", invalid="ignore"):
        isolation = decibels(voltage_out / voltage_in)
    if not np.all(np.isfinite(isolation)):
        return Undefined("nothing of the output reaches the input")
    frequency = reading.run("reverse").scale
    return value_at(np.log10(frequency), isolation, float(np.log10(reading.settings["frequency_hz"])))


def _stability(reading: Reading) -> float | Undefined:
    forward, reverse = _two_port(reading, "sweep"), _two_port(reading, "reverse")
    voltages = np.array([[forward[0], reverse[0]], [forward[2], reverse[2]]])
    currents = np.array([[forward[1], reverse[1]], [forward[3], reverse[3]]])
    determinant = voltages[0, 0] * voltages[1, 1] - voltages[0, 1] * voltages[1, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        y11 = (currents[0, 0] * voltages[1, 1] - currents[0, 1] * voltages[1, 0]) / determinant
        y12 = (currents[0, 1] * voltages[0, 0] - currents[0, 0] * voltages[0, 1]) / determinant
        y21 = (currents[1, 0] * voltages[1, 1] - currents[1, 1] * voltages[1, 0]) / determinant
        y22 = (currents[1, 1] * voltages[0, 0] - currents[1, 0] * voltages[0, 1]) / determinant
        loop = y12 * y21
        factor = (2 * y11.real * y22.real - loop.real) / np.abs(loop)
    if not np.all(np.isfinite(factor)):
        return Undefined("the circuit passes signals in one direction only, or not at all")
    return float(factor.min())


def _noise_figures(reading: Reading) -> tuple[Wave, Wave]:
    """(log10 of the frequency, noise figure in dB)."""
    noise, source = reading.run("noise"), reading.settings["source_ohm"]
    kelvin = reading.corner.celsius + 273.15
    added = noise.real("inoise_spectrum") ** 2 - 4 * _BOLTZMANN * kelvin * source
    factor = 1 + np.maximum(added, 0.0) / (4 * _BOLTZMANN * _REFERENCE_K * source)
    return np.log10(noise.scale), 10 * np.log10(factor)


def _noise_figure(reading: Reading) -> float:
    return value_at(*_noise_figures(reading), float(np.log10(reading.settings["frequency_hz"])))


def _noise_figure_at_peak(reading: Reading) -> float:
    return value_at(*_noise_figures(reading), float(np.log10(reading.number("center_frequency_hz"))))


def _iip3(reading: Reading) -> float | Undefined:
    waves, base = reading.run("two_tone"), _base_hz(reading.settings["frequency_hz"])
    curve, end = _out(reading, "two_tone").real, np.floor(waves.scale[-1] * base) / base
    distance = intercept_db(*tones(waves.scale, curve, base, _NUMBERS, end), _TONES)
    return distance if isinstance(distance, Undefined) else reading.settings["tone_dbm"] + distance


_FAILS = "the AC analysis fails"
_NO_PEAK = "the gain has its maximum at an end of the sweep, a decade from frequency_hz"

testbenches.add(
    "lna",
    Testbench(
        name="lna",
        version=1,
        summary="low-noise amplifier between a source of 50 ohm and a capacitive load: match, gain, noise, intercept",
        types=("lna",),
        roles=(
            Role("input", ("VIN1",), "the input that the source drives"),
            Role("output", ("VOUT1",), "the output that is loaded"),
            Role("output_2", ("VOUT2",), "the opposite output; the gain is to their difference", is_required=False),
        ),
        settings=(
            Setting("frequency_hz", "Hz", "frequency that the amplifier is for", 2.4e9, 1e5, 2e11),
            Setting("source_ohm", "ohm", "resistance of the source", 50.0, 1.0, 1e4),
            Setting(
                "input_bias_v", "V", "level of the input where the circuit sets none", 0.4, 0.0, 1.0, of_supply=True
            ),
            Setting("load_f", "F", "capacitance at each output", 50e-15, 0.0, 1e-9),
            Setting("load_ohm", "ohm", "resistance at each output, behind a capacitor", 1e6, 1.0, 1e9),
            Setting("tone_dbm", "dBm", "available power of each of the two tones", -30.0, -80.0, 10.0),
        ),
        metrics=(
            *common_metrics(),
            Metric(
                "gain_db",
                "dB",
                "output voltage over half the source's open-circuit voltage at frequency_hz; S21 where load_ohm is "
                "source_ohm",
                _FAILS,
                ("spot",),
                _gain,
                "higher",
            ),
            Metric("s11_db", "dB", "input reflection at frequency_hz", _FAILS, ("spot",), _s11, "lower"),
            Metric(
                "input_resistance_ohm",
                "ohm",
                "real part of the input impedance at frequency_hz",
                _FAILS,
                ("spot",),
                _input_resistance,
                "target",
            ),
            Metric(
                "input_reactance_ohm",
                "ohm",
                "imaginary part of the input impedance at frequency_hz",
                _FAILS,
                ("spot",),
                _input_reactance,
                "target",
            ),
            Metric(
                "peak_gain_db",
                "dB",
                "largest gain, as gain_db, from a tenth to ten times frequency_hz",
                _FAILS,
                ("sweep",),
                _peak_gain,
                "higher",
            ),
            Metric("center_frequency_hz", "Hz", "frequency of peak_gain_db", _NO_PEAK, ("sweep",), _center, "target"),
            Metric(
                "bandwidth_hz",
                "Hz",
                "distance of the frequencies around that of peak_gain_db where the gain is 3.01 dB lower",
                "the gain does not fall that far on both sides within the sweep",
                ("sweep",),
                _bandwidth,
                "higher",
            ),
            Metric(
                "s11_at_peak_db",
                "dB",
                "input reflection at the frequency of peak_gain_db",
                _FAILS,
                ("sweep",),
                _s11_at_peak,
                "lower",
            ),
            Metric(
                "matched_gain_db",
                "dB",
                "largest gain, as gain_db, where the input reflection is at most -3 dB, from a tenth to ten times "
                "frequency_hz",
                "the input reflects more than -3 dB at every frequency",
                ("sweep",),
                _matched_gain,
                "higher",
            ),
            Metric(
                "reverse_isolation_db",
                "dB",
                "voltage at the output over what it causes at the input, at frequency_hz, the input at source_ohm",
                "nothing of the output reaches the input",
                ("reverse",),
                _isolation,
                "higher",
            ),
            Metric(
                "stability_factor",
                "1",
                "Rollett's K of the circuit with load_f, the least from a tenth to ten times frequency_hz; above 1 no "
                "passive source and load make it oscillate",
                "the circuit passes signals in one direction only",
                ("sweep", "reverse"),
                _stability,
                "higher",
            ),
            Metric(
                "noise_figure_db",
                "dB",
                "noise figure at frequency_hz with the source at 290 K",
                "the noise analysis fails",
                ("noise",),
                _noise_figure,
                "lower",
            ),
            Metric(
                "noise_figure_at_peak_db",
                "dB",
                "noise figure at center_frequency_hz",
                _NO_PEAK,
                ("sweep", "noise"),
                _noise_figure_at_peak,
                "lower",
            ),
            Metric(
                "iip3_dbm",
                "dBm",
                "third-order intercept: available power per tone at which the third-order product, going up by 3 dB "
                "for each dB of two tones of tone_dbm around frequency_hz, would reach them",
                "the products are below the simulator's rounding, the tones compress, or the circuit has not settled",
                ("sweep", "two_tone"),
                _iip3,
                "higher",
            ),
        ),
        setups=_setups,
        works=(Bound("matched_gain_db", low=0.0),),
        derive={"two_tone": _time_scale},
    ),
)
