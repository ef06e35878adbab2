"""Fully differential operational amplifiers: two inputs, two outputs, common mode set by the circuit itself.

Ideal sources split differential signals evenly around the common mode and close the loops, so nothing but the load
capacitances loads the outputs. Open loop: an inductor of 1 GH and a capacitor of 1 GF close the differential loop at DC
only. Transient: the differential output is subtracted from the step, a unity-gain loop.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.analog.netlist import Netlist
from app.analog.polarity import signal_polarity
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
from app.testbenches._open_loop import (
    AC_BAND,
    NO_GAIN,
    noise_metrics,
    open_loop_metrics,
)
from app.testbenches._step import pulse, step_metrics, step_run, time_scale
from app.testbenches._waveforms import decibels

_NOISE_BAND = "dec 5 10 100meg"

#: Outputs this close to a rail, relative to the supply, amplify nothing.
_RAIL = 0.02


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    settings = circuit.settings
    plus, minus = circuit.node("positive_input"), circuit.node("negative_input")
    high, low = circuit.node("positive_output"), circuit.node("negative_output")
    half = settings["step_v"] / 2
    common = [
        f"v_tb_common s_tb_common vss DC {settings['common_mode_v']:.12g} AC 0",
        f"e_tb_plus {plus} s_tb_common s_tb_error vss 0.5",
        f"e_tb_minus {minus} s_tb_common s_tb_error vss -0.5",
        f"c_tb_high {high} vss {settings['load_f']:.12g}",
        f"c_tb_low {low} vss {settings['load_f']:.12g}",
    ]
    if circuit.has("output_common_mode"):
        level = settings["output_common_mode_v"]
        common.append(f"v_tb_reference {circuit.node('output_common_mode')} vss DC {level:.12g}")
    outputs = (f"v({high})", f"v({low})")
    ac = (f"ac {AC_BAND}", outputs)
    open_loop = Setup(
        "open_loop",
        (
            *common,
            f"e_tb_sense s_tb_sense vss {high} {low} 1",
            "l_tb_loop s_tb_sense s_tb_back 1g",
            "c_tb_loop s_tb_back vss 1g",
            "v_tb_in s_tb_error s_tb_flip DC 0 AC 1",
            "e_tb_flip s_tb_flip vss s_tb_back vss -1",
        ),
        (
            op_run(*outputs),
            Run("differential", "ac", *ac),
            Run("common_mode", "ac", *ac, before=("alter v_tb_in acmag=0", "alter v_tb_common acmag=1")),
            Run("supply", "ac", *ac, before=("alter v_tb_common acmag=0", "alter v_vdd acmag=1")),
            Run(
                "noise",
                "noise",
                f"noise v({high},{low}) v_tb_in {_NOISE_BAND}",
                ("inoise_spectrum",),
                before=("alter v_vdd acmag=0", "alter v_tb_in acmag=1"),
            ),
        ),
    )
    buffer = Setup(
        "buffer",
        (
            *common,
            f"v_tb_in s_tb_in vss {pulse(-half, half)}",
            f"e_tb_error s_tb_error s_tb_in {low} {high} 1",
        ),
        (step_run(*outputs),),
    )
    return open_loop, buffer


def _transfer(reading: Reading, run: str) -> tuple[Wave, ComplexWave]:
    curves = reading.run(run)
    return curves.scale, curves.complex(reading.v("positive_output")) - curves.complex(reading.v("negative_output"))


def _common_mode_v(reading: Reading) -> float:
    op = reading.run("op")
    return (op.at_op(reading.v("positive_output")) + op.at_op(reading.v("negative_output"))) / 2


def _rail(reading: Reading) -> Undefined | None:
    level, supply = _common_mode_v(reading), reading.corner.supply_v
    if _RAIL * supply < level < (1 - _RAIL) * supply:
        return None
    return Undefined(f"the outputs' common mode sits at {level:.3g} V, at a rail")


def _common_mode_gain_db(run: str) -> Metric:
    what = "both inputs together" if run == "common_mode" else "VDD"

    def measure(reading: Reading) -> float | Undefined:
        outside = _rail(reading)
        if outside:
            return outside
        curves = reading.run(run)
        both = curves.complex(reading.v("positive_output")) + curves.complex(reading.v("negative_output"))
        gain = float(decibels(both / 2)[0])
        return gain if np.isfinite(gain) else Undefined("nothing of it reaches the outputs")

    name = "common_mode_gain_db" if run == "common_mode" else "supply_gain_db"
    definition = f"gain at 10 Hz from {what} to the outputs' common mode"
    return Metric(name, "dB", definition, NO_GAIN, ("op", run), measure, "lower")


def _step_output(reading: Reading) -> tuple[Wave, Wave]:
    waves = reading.run("step")
    return waves.scale, waves.real(reading.v("positive_output")) - waves.real(reading.v("negative_output"))


def _tell_outputs_apart(netlist: Netlist, ports: Mapping[str, str]) -> Mapping[str, str]:
    """The outputs exchanged where the netlist's own signal path says that the first input inverts to the first one."""
    if signal_polarity(netlist, ports["positive_input"], ports["positive_output"]) == -1:
        high, low = ports["positive_output"], ports["negative_output"]
        return {**ports, "positive_output": low, "negative_output": high}
    return ports


_LOOP = ("op", "differential")

testbenches.add(
    "fully_differential_opamp",
    Testbench(
        name="fully_differential_opamp",
        version=1,
        summary="fully differential operational amplifier: open loop and in a differential unity-gain loop",
        types=("opamp",),
        roles=(
            Role("positive_input", ("VIN1",), "one input"),
            Role("negative_input", ("VIN2",), "the other input"),
            Role("positive_output", ("VOUT1",), "the output that follows the positive input"),
            Role("negative_output", ("VOUT2",), "the output that opposes the positive input"),
            Role("output_common_mode", ("VCM1",), "the level that the outputs' mean is to have", is_required=False),
        ),
        settings=(
            Setting("common_mode_v", "V", "level of both inputs", 0.5, 0.0, 1.0, of_supply=True),
            Setting("output_common_mode_v", "V", "level asked of the outputs' mean", 0.5, 0.0, 1.0, of_supply=True),
            Setting("load_f", "F", "capacitance at each output", 1e-12, 0.0, 1e-6),
            Setting("step_v", "V", "height of the differential step around 0", 0.2, 0.01, 1.8, of_supply=True),
        ),
        metrics=(
            *common_metrics(),
            Metric(
                "output_common_mode_level_v",
                "V",
                "mean of both outputs at the operating point",
                "the operating point does not converge",
                ("op",),
                _common_mode_v,
            ),
            *open_loop_metrics(_transfer, _rail, _LOOP),
            _common_mode_gain_db("common_mode"),
            _common_mode_gain_db("supply"),
            *noise_metrics(_LOOP),
            *step_metrics(
                _step_output,
                lambda reading: (-reading.settings["step_v"] / 2, reading.settings["step_v"] / 2),
                (*_LOOP, "step"),
            ),
        ),
        setups=_setups,
        works=(Bound("gain_db", low=20.0), Bound("ugf_hz", low=1e3), Bound("phase_margin_deg", low=0.0, high=180.0)),
        derive={"buffer": time_scale},
        resolve=_tell_outputs_apart,
    ),
)
