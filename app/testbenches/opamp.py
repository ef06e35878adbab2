"""Single-ended operational amplifiers: differential input, one output, measured open loop and as a unity-gain buffer.

Open loop: an inductor of 1 GH closes the loop at DC, so that the output sits where the feedback puts it, and a
capacitor of 1 GF grounds the feedback for every other frequency. Transient: the output drives the inverting input.
"""

from __future__ import annotations

from collections.abc import Mapping

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
    rejection_db,
)
from app.testbenches._step import pulse, step_metrics, step_run, time_scale

_NOISE_BAND = "dec 5 10 100meg"

#: An output this close to a rail, relative to the supply, amplifies nothing.
_RAIL = 0.02


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    plus, minus, out = (circuit.node(role) for role in ("positive_input", "negative_input", "output"))
    common = circuit.settings["common_mode_v"]
    load = f"c_tb_load {out} vss {circuit.settings['load_f']:.12g}"
    ac = (f"ac {AC_BAND}", (f"v({out})",))
    open_loop = Setup(
        "open_loop",
        (
            f"v_tb_in {plus} vss DC {common:.12g} AC 1",
            f"l_tb_loop {out} {minus} 1g",
            f"c_tb_loop {minus} s_tb_common 1g",
            "v_tb_common s_tb_common vss DC 0 AC 0",
            load,
        ),
        (
            op_run(f"v({out})", f"v({plus})"),
            Run("differential", "ac", *ac),
            Run("common_mode", "ac", *ac, before=("alter v_tb_common acmag=1",)),
            Run(
                "supply",
                "ac",
                *ac,
                before=("alter v_tb_common acmag=0", "alter v_tb_in acmag=0", "alter v_vdd acmag=1"),
            ),
            Run(
                "noise",
                "noise",
                f"noise v({out}) v_tb_in {_NOISE_BAND}",
                ("inoise_spectrum",),
                before=("alter v_vdd acmag=0", "alter v_tb_in acmag=1"),
            ),
        ),
    )
    buffer = Setup(
        "buffer",
        (
            f"v_tb_in {plus} vss {pulse(*_levels(common, circuit.settings['step_v']))}",
            f"v_tb_loop {out} {minus} DC 0",
            load,
        ),
        (step_run(f"v({out})"),),
    )
    return open_loop, buffer


def _levels(common_mode_v: float, step_v: float) -> tuple[float, float]:
    return common_mode_v - step_v / 2, common_mode_v + step_v / 2


def _transfer(reading: Reading, run: str) -> tuple[Wave, ComplexWave]:
    curves = reading.run(run)
    return curves.scale, curves.complex(reading.v("output"))


def _rail(reading: Reading) -> Undefined | None:
    output = reading.run("op").at_op(reading.v("output"))
    supply = reading.corner.supply_v
    if _RAIL * supply < output < (1 - _RAIL) * supply:
        return None
    return Undefined(f"with its loop closed the output sits at {output:.3g} V, at a rail")


def _offset_v(reading: Reading) -> float:
    op = reading.run("op")
    return op.at_op(reading.v("output")) - op.at_op(reading.v("positive_input"))


def _step_output(reading: Reading) -> tuple[Wave, Wave]:
    waves = reading.run("step")
    return waves.scale, waves.real(reading.v("output"))


def tell_inputs_apart(netlist: Netlist, ports: Mapping[str, str]) -> Mapping[str, str]:
    """The inputs exchanged where the netlist's own signal path says that the first one inverts."""
    polarity = signal_polarity(netlist, ports["positive_input"], ports["output"])
    if polarity is None:
        other = signal_polarity(netlist, ports["negative_input"], ports["output"])
        polarity = None if other is None else -other
    if polarity == -1:
        return {**ports, "positive_input": ports["negative_input"], "negative_input": ports["positive_input"]}
    return ports


_LOOP = ("op", "differential")

testbenches.add(
    "opamp",
    Testbench(
        name="opamp",
        version=1,
        summary="single-ended operational amplifier: open loop at its own operating point, and as a unity-gain buffer",
        types=("opamp",),
        roles=(
            Role("positive_input", ("VIN1",), "the input that the output follows"),
            Role("negative_input", ("VIN2",), "the input that the output opposes"),
            Role("output", ("VOUT1",), "the output that is loaded"),
        ),
        settings=(
            Setting("common_mode_v", "V", "level of both inputs", 0.5, 0.0, 1.0, of_supply=True),
            Setting("load_f", "F", "capacitance at the output", 1e-12, 0.0, 1e-6),
            Setting("step_v", "V", "height of the buffer's step around common_mode_v", 0.2, 0.01, 0.9, of_supply=True),
        ),
        metrics=(
            *common_metrics(),
            Metric(
                "offset_v",
                "V",
                "output minus input with the loop closed at DC: the systematic offset",
                "the operating point does not converge",
                ("op",),
                _offset_v,
            ),
            *open_loop_metrics(_transfer, _rail, _LOOP),
            Metric(
                "cmrr_db",
                "dB",
                "gain_db minus the gain from both inputs together at 10 Hz",
                NO_GAIN,
                (*_LOOP, "common_mode"),
                rejection_db(_transfer, "common_mode"),
                "higher",
            ),
            Metric(
                "psrr_db",
                "dB",
                "gain_db minus the gain from VDD at 10 Hz",
                NO_GAIN,
                (*_LOOP, "supply"),
                rejection_db(_transfer, "supply"),
                "higher",
            ),
            *noise_metrics(_LOOP),
            *step_metrics(
                _step_output,
                lambda reading: _levels(reading.settings["common_mode_v"], reading.settings["step_v"]),
                (*_LOOP, "step"),
            ),
        ),
        setups=_setups,
        works=(Bound("gain_db", low=20.0), Bound("ugf_hz", low=1e3), Bound("phase_margin_deg", low=0.0, high=180.0)),
        derive={"buffer": time_scale},
        resolve=tell_inputs_apart,
    ),
)
