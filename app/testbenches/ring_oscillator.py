"""Ring and relaxation oscillators: circuits that swing without a coil.

The frequency spans decades over sizings and is unknown before the transient. So a coarse transient ends after a number
of points, and the simulator's error control chooses the step (`_oscillation.py`); it says how long a period and the
start are, and the fine one that is measured follows from that. In both a net of the loop is held at VSS until the
transient begins, which starts any ring at once, also one that would need noise to leave its balance. Noise in a
transient is beyond the simulator, so there is no jitter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.analog.kinds import SUPPLY_NETS
from app.analog.netlist import Netlist
from app.errors import InvalidRequest
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
    testbenches,
)
from app.testbenches._common import common_metrics, op_run
from app.testbenches._loads import output_load
from app.testbenches._oscillation import (
    Oscillation,
    expected_period,
    find_oscillation,
    high_share,
    mean_supply_current,
    oscillating_power,
)

#: Points of the coarse transient, ten to fifty periods; the most of a fine one.
_COARSE_POINTS, _FINE_POINTS = 600, 2000

#: From 10 kHz on an oscillator ends by its points, not by this time; the longest step ends a still one at once.
_COARSE = "tran 1p 10m 0 100u"

_FINE = "tran {tb_step:.12g} {tb_stop:.12g} 0 {tb_step:.12g}"

#: Steps in a period of the fine transient (the trapezoidal rule is slow by 0.13 % then), its length in periods after
#: the start, and its whole length where the coarse one was not steady.
_STEPS_PER_PERIOD, _PERIODS, _MOST_PERIODS = 50, 10.0, 40.0

_OPTIONS = ("reltol=1e-4",)

#: A swing below this share of the supply is no oscillation.
_LEAST_SWING = 0.02

#: Rise of the supply for the supply's influence on the frequency, relative.
_PUSH = 0.05

_FURTHER = ("output_2", "output_3", "output_4")


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    out, settings = circuit.node("output"), circuit.settings
    loaded = [circuit.node(role) for role in ("output", *_FURTHER) if circuit.has(role)]
    cards = [card for node in loaded for card in output_load(node, settings["load_f"])]
    swing, current = f"v({out})", "i(v_vdd)"
    stop = f"stop after {_FINE_POINTS}"
    pushed = [stop, f"alter v_vdd dc={circuit.corner.supply_v * (1 + _PUSH):.12g}"]
    coarse = (
        op_run(),
        Run("coarse", "tran", _COARSE, (swing,), before=(f"stop after {_COARSE_POINTS}",)),
    )
    fine = [Run("swing", "tran", _FINE, (swing, current), before=(stop,))]
    if circuit.has("control"):
        low, high = settings["control_v"], settings["control_v"] + settings["control_step_v"]
        cards.append(f"v_tb_control {circuit.node('control')} vss DC {low:.12g}")
        fine.append(Run("tuned", "tran", _FINE, (swing,), before=(stop, f"alter v_tb_control dc={high:.12g}")))
        pushed.append(f"alter v_tb_control dc={low:.12g}")
    fine.append(Run("pushed", "tran", _FINE, (swing,), before=tuple(pushed)))
    held = held_net(circuit.netlist, circuit.wiring.port_of["output"])
    cards.append(f".ic v({circuit.node_of[held]})=0")
    return (
        Setup("coarse", tuple(cards), coarse, options=_OPTIONS),
        Setup("fine", tuple(cards), tuple(fine), options=_OPTIONS),
    )


def held_net(netlist: Netlist, output: str) -> str:
    """A net whose level goes round a loop of transistors and comes back: the output where it does, else the first.

    A level goes from a gate, base or logic input to the other pins of its device, and both ways along channels,
    resistors and diodes. A diode-connected transistor is no loop.
    """
    controlled: dict[str, set[str]] = {}
    joined: dict[str, set[str]] = {}
    for device in netlist.devices:
        senses = device.kind_of.sense_pins | {"base"}
        ends = {net for pin, net in device.pins() if pin not in senses and net not in SUPPLY_NETS}
        for pin, net in device.pins():
            if pin in senses and pin != "bulk":
                controlled.setdefault(net, set()).update(ends - {net})
        if device.kind != "capacitor" and (not device.kind_of.is_block or device.kind == "transmission_gate"):
            for net in ends:
                joined.setdefault(net, set()).update(ends)

    def reaches(net: str, goal: str) -> bool:
        seen: set[str] = set()
        waiting = list(controlled[net])
        while waiting:
            here = waiting.pop()
            if here == goal:
                return True
            if here not in seen:
                seen.add(here)
                waiting += controlled.get(here, set()) | joined.get(here, set())
        return False

    looped = [net for net in netlist.nets if net in controlled and net not in SUPPLY_NETS and reaches(net, net)]
    if output in looped:
        return output
    return next((net for net in looped if reaches(net, output)), output)


def _fine_scale(reading: Reading) -> Mapping[str, float] | Undefined:
    """Step and length of the fine transients; none where the coarse one shows that the circuit does not oscillate."""
    waves, least = reading.run("coarse"), _LEAST_SWING * reading.corner.supply_v
    output = waves.real(reading.v("output"))
    found = find_oscillation(waves.scale, output, least)
    if isinstance(found, Oscillation):
        return {
            "tb_step": 1 / (_STEPS_PER_PERIOD * found.frequency_hz),
            "tb_stop": found.started_s + _PERIODS / found.frequency_hz,
        }
    period = expected_period(waves.scale, output, least)
    if found.cause == "circuit" or isinstance(period, Undefined):
        return Undefined(found.reason)
    return {"tb_step": period / _STEPS_PER_PERIOD, "tb_stop": _MOST_PERIODS * period}


def _oscillation(reading: Reading, run: str = "swing") -> Oscillation:
    """The steady oscillation of a run; raises RunFailed where there is none."""
    waves = reading.run(run if run in reading.runs else "coarse")
    found = find_oscillation(waves.scale, waves.real(reading.v("output")), _LEAST_SWING * reading.corner.supply_v)
    if run not in reading.runs and isinstance(found, Oscillation):
        reading.run(run)
    if isinstance(found, Undefined):
        raise RunFailed(found.reason, found.cause)
    return found


def _frequency(reading: Reading) -> float:
    return _oscillation(reading).frequency_hz


def _swing(reading: Reading) -> float:
    return _oscillation(reading).swing


def _duty(reading: Reading) -> float | Undefined:
    waves, half = reading.run("swing"), reading.corner.supply_v / 2
    share = high_share(waves.scale, waves.real(reading.v("output")), half, _oscillation(reading))
    return Undefined("the output does not pass half the supply") if share is None else share


def _mean_current(reading: Reading) -> float:
    return mean_supply_current(reading.run("swing"), _oscillation(reading))


def _energy(reading: Reading) -> float:
    return reading.number("oscillating_power_w") / reading.number("frequency_hz")


def _startup(reading: Reading) -> float:
    return _oscillation(reading).started_s


def _slope(run: str, step: Callable[[Reading], float]) -> Callable[[Reading], float | Undefined]:
    """The frequency's change from the run ``swing`` to another, over the step of what differs."""

    def measure(reading: Reading) -> float | Undefined:
        if run == "tuned" and "control" not in reading.node:
            return Undefined("the circuit has no control port")
        return (_oscillation(reading, run).frequency_hz - reading.number("frequency_hz")) / step(reading)

    return measure


def refuse_coils(netlist: Netlist, ports: Mapping[str, str]) -> Mapping[str, str]:
    """The ports as they are; InvalidRequest where the circuit has a coil, which holding the output would short."""
    coils = [device.name for device in netlist.devices if device.kind == "inductor"]
    if coils:
        raise InvalidRequest(
            f"testbench ring_oscillator cannot drive this circuit: it has a coil ({coils[0][:40]}); "
            "use testbench lc_oscillator",
            pointer="/testbench",
        )
    return ports


_NONE = "the output settles, its oscillation dies away, or no steady swing shows within 2000 points"

testbenches.add(
    "ring_oscillator",
    Testbench(
        name="ring_oscillator",
        version=1,
        summary="oscillator without coils: frequency, swing, current, tuning; its loop is held at VSS until t = 0",
        types=("oscillator",),
        roles=(
            Role("output", ("VOUT1",), "the output whose swing is measured"),
            Role("control", ("VCONT1",), "the voltage that tunes the frequency", is_required=False),
            *(Role(name, (f"VOUT{name[-1]}",), "further output, loaded alike", is_required=False) for name in _FURTHER),
        ),
        settings=(
            Setting("load_f", "F", "capacitance at each output", 10e-15, 0.0, 1e-9),
            Setting("control_v", "V", "control voltage, and where kvco_hz_per_v begins", 0.5, 0.0, 1.5, of_supply=True),
            Setting(
                "control_step_v", "V", "rise of the control voltage for kvco_hz_per_v", 0.05, 0.001, 0.5, of_supply=True
            ),
        ),
        metrics=(
            *common_metrics(),
            Metric(
                "frequency_hz",
                "Hz",
                "one over the mean period of the last third of the periods, between upward passages of the middle",
                _NONE,
                ("coarse", "swing"),
                _frequency,
                "target",
            ),
            Metric(
                "swing_v",
                "V",
                "highest minus lowest output voltage, the mean over the steady periods",
                _NONE,
                ("coarse", "swing"),
                _swing,
                "higher",
            ),
            Metric(
                "duty_cycle",
                "1",
                "share of the steady periods that the output is above half the supply",
                _NONE + ", or the output does not pass half the supply",
                ("coarse", "swing"),
                _duty,
                "target",
            ),
            Metric(
                "oscillating_current_a",
                "A",
                "current drawn from VDD, averaged over the steady periods",
                _NONE,
                ("coarse", "swing"),
                _mean_current,
                "lower",
            ),
            Metric(
                "oscillating_power_w",
                "W",
                "supply voltage times oscillating_current_a",
                _NONE,
                ("coarse", "swing"),
                oscillating_power,
                "lower",
            ),
            Metric(
                "energy_per_cycle_j",
                "J",
                "oscillating_power_w over frequency_hz",
                _NONE,
                ("coarse", "swing"),
                _energy,
                "lower",
            ),
            Metric(
                "startup_time_s",
                "s",
                "time from the release of the loop to the period from which on both period and swing "
                "stay within 10 % of the final ones",
                _NONE,
                ("coarse", "swing"),
                _startup,
                "lower",
            ),
            Metric(
                "kvco_hz_per_v",
                "Hz/V",
                "tuning gain: change of frequency_hz when the control voltage rises by control_step_v, over that step",
                _NONE + "; the circuit has no control port",
                ("coarse", "swing", "tuned"),
                _slope("tuned", lambda reading: reading.settings["control_step_v"]),
                "target",
            ),
            Metric(
                "supply_pushing_hz_per_v",
                "Hz/V",
                "change of frequency_hz when the supply rises by 5 %, over that rise, "
                "with bias and control voltages as they were",
                _NONE,
                ("coarse", "swing", "pushed"),
                _slope("pushed", lambda reading: _PUSH * reading.corner.supply_v),
                "target",
            ),
        ),
        setups=_setups,
        derive={"fine": _fine_scale},
        works=(Bound("frequency_hz", low=1.0), Bound("swing_v", low=0.1)),
        resolve=refuse_coils,
    ),
)
