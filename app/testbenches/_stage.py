"""What the benches of linear stages share: one input ``v(tb_in)``, one output ``v(tb_out)``, what is read from them.

The runs are named ``gain`` (AC from the input), ``output`` (AC from a current into the output), ``noise`` and ``swing``
(a DC sweep).
"""

from __future__ import annotations

import numpy as np

from app.testbenches._base import BenchCircuit, ComplexWave, Reading, RunFailed, Undefined, Wave
from app.testbenches._transfer import lower_cutoff, peaking_db, reference_index, rms_over, upper_cutoff
from app.testbenches._waveforms import crossings, value_at

INPUT, OUTPUT = "v(tb_in)", "v(tb_out)"

BAND = "dec 10 10 100g"
NOISE_BAND_HZ = (10.0, 10e9)
NOISE_BAND = f"dec 5 {NOISE_BAND_HZ[0]:g} {NOISE_BAND_HZ[1]:g}"

#: Where noise densities and the input's capacitance are read.
SPOT_HZ = 1e6


def input_cards(circuit: BenchCircuit) -> tuple[str, ...]:
    """What puts v(tb_in) on the input, or between the two inputs of a pair."""
    middle = circuit.settings["common_mode_v"]
    cards = [f"v_tb_vcm {circuit.node('common_mode')} vss DC {middle:.12g}"] if circuit.has("common_mode") else []
    if not circuit.has("negative_input"):
        return (*cards, f"e_tb_plus {circuit.node('input')} vss tb_in vss 1")
    return (
        *cards,
        f"v_tb_cm tb_cm vss DC {middle:.12g}",
        f"e_tb_plus {circuit.node('input')} tb_cm tb_in vss 0.5",
        f"e_tb_minus {circuit.node('negative_input')} tb_cm tb_in vss -0.5",
    )


def output_cards(circuit: BenchCircuit) -> tuple[str, ...]:
    """Loads, a current source that is off, and ``tb_out``, whether the output is one net or the difference of two."""
    out, load = circuit.node("output"), circuit.settings["load_f"]
    if not circuit.has("negative_output"):
        return (
            f"c_tb_load {out} vss {load:.12g}",
            f"e_tb_out tb_out vss {out} vss 1",
            f"i_tb_out vss {out} DC 0 AC 0",
        )
    other = circuit.node("negative_output")
    return (
        f"c_tb_load {out} vss {load:.12g}",
        f"c_tb_load_n {other} vss {load:.12g}",
        f"e_tb_out tb_out vss {out} {other} 1",
        f"i_tb_out {other} {out} DC 0 AC 0",
    )


def output_level_v(reading: Reading) -> float:
    """The output at the operating point."""
    return reading.run("op").at_op(OUTPUT)


def transfer(reading: Reading) -> tuple[Wave, ComplexWave]:
    """Frequency in hertz and the output per unit of the input."""
    waves = reading.run("gain")
    return waves.scale, waves.complex(OUTPUT)


def gain(reading: Reading) -> float:
    """Magnitude of the transfer where its gain is read; raises RunFailed where there is none."""
    _, response = transfer(reading)
    found = float(np.abs(response[reference_index(response)]))
    if not found > 0:
        raise RunFailed("nothing of the input reaches the output", "circuit")
    return found


def bandwidth_hz(reading: Reading) -> float | Undefined:
    """The upper cutoff."""
    gain(reading)
    found = upper_cutoff(*transfer(reading))
    return Undefined("the gain does not fall by 3 dB up to 100 GHz") if found is None else found


def low_cutoff_hz(reading: Reading) -> float | Undefined:
    """The lower cutoff."""
    gain(reading)
    found = lower_cutoff(*transfer(reading))
    return Undefined("the gain does not fall by 3 dB down to 10 Hz") if found is None else found


def response_peaking_db(reading: Reading) -> float:
    """The largest gain relative to the one that is read."""
    gain(reading)
    return peaking_db(transfer(reading)[1])


def output_resistance_ohm(reading: Reading) -> float:
    """What a current into the output sees at 10 Hz."""
    return float(np.real(reading.run("output").complex(OUTPUT)[0]))


def supply_gain(reading: Reading) -> float:
    """Volts at the output per volt on VDD at 10 Hz; raises RunFailed where there are none."""
    found = float(np.abs(reading.run("supply").complex(OUTPUT)[0]))
    if not found > 0:
        raise RunFailed("nothing of the supply reaches the output", "circuit")
    return found


def input_noise_density(reading: Reading) -> float:
    """Input-referred noise per root hertz at 1 MHz."""
    noise = reading.run("noise")
    return value_at(np.log10(noise.scale), noise.real("inoise_spectrum"), float(np.log10(SPOT_HZ)))


def input_noise(reading: Reading) -> float | Undefined:
    """Input-referred noise between the cutoffs, root mean square."""
    noise, top = reading.run("noise"), reading.number("bandwidth_hz")
    bottom = lower_cutoff(*transfer(reading)) or NOISE_BAND_HZ[0]
    if top <= bottom:
        return Undefined("the bandwidth lies below the noise band")
    return rms_over(noise.scale, noise.real("inoise_spectrum"), bottom, min(top, NOISE_BAND_HZ[1]))


def output_noise_v(reading: Reading) -> float:
    """Output noise over the noise band, root mean square."""
    noise = reading.run("noise")
    return rms_over(noise.scale, noise.real("onoise_spectrum"), *NOISE_BAND_HZ)


def swept_curve(reading: Reading, vector: str) -> tuple[Wave, Wave]:
    """Input and output of the sweep, ascending in the input; raises RunFailed where the output stands still."""
    waves = reading.run("swing")
    inputs, outputs = waves.real(vector), waves.real(OUTPUT)
    if np.ptp(outputs) < 1e-6 or np.ptp(inputs) == 0:
        raise RunFailed("the output does not move when the input is swept", "circuit")
    order = np.argsort(inputs)
    return inputs[order], outputs[order]


def linear_range(inputs: Wave, outputs: Wave, at: float) -> tuple[float, float]:
    """The inputs around `at` between which the slope is within 3 dB of the one there; the sweep's ends at most."""
    slope = np.abs(np.gradient(outputs, inputs))
    edges = crossings(inputs, slope, value_at(inputs, slope, at) / np.sqrt(2))
    below, above = edges[edges <= at], edges[edges > at]
    return (
        float(below[-1]) if below.size else float(inputs[0]),
        float(above[0]) if above.size else float(inputs[-1]),
    )
