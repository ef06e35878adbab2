"""Power stages of switched converters: buck, boost, buck-boost and charge pumps, open loop at a fixed duty cycle.

What a control port drives is read off the netlist: a switch between the input and a coil, or between a coil's far end
and VSS, is on in phase 1; the ones that take over its current are on in phase 2. Gate drivers reach the rail that turns
the switch off; what they draw counts as input power.

The periodic steady state is not waited for. A first transient of a few periods starts from the lossless converter's
state; output voltage and coil currents at the same instant of every period follow a nearly linear map, and its fixed
point, found by least squares, is where the next transient starts: Newton's method, two steps at most. Figures are read
from the last periods of the last transient, and only where the same map says that nothing more will change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import numpy as np

from app.analog.netlist import Device, Netlist, port_role
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
    Wave,
    Waveforms,
    testbenches,
)
from app.testbenches._common import common_metrics
from app.testbenches._waveforms import crossings, mean_over

#: The transients and their periods. The last is run where the one before has not settled.
_PERIODS = {"approach": 12, "closer": 10, "closest": 10}

#: Periods at the end of a transient over which figures are read.
_READ = 4

#: Periods that the map is not fitted to: what the start upset.
_UPSET = 3

#: Length of every edge as a share of the period, and time steps in a period.
_EDGE = 0.002
_STEPS = 60

#: What the output may still change, relatively, to count as settled, and to do without the last transient.
_SETTLED, _WELL_SETTLED = 0.01, 0.002

#: For circuits with coils. 1 fF at every node: without it the node between a coil and its resistance has no capacitance
#: at all and transients creep, some without end. Gear's method: it does not follow a tiny coil's ringing after every
#: edge. It loses charge where capacitors are connected to one another, so charge pumps keep trapezoids.
_COIL_OPTIONS = ("cshunt=1e-15", "method=gear")

#: Charge is counted by the simulator itself, which knows how it stepped through the spike of every edge; a sum over its
#: time points does not. A volt on this capacitor is so many coulombs; the resistor only gives it an operating point.
_COUNTER_F, _COUNTER_OHM = 1e-9, 1e15

_CONTROLS = tuple(f"control_{index}" for index in range(1, 7))
_CLOCKS = tuple(f"clock_{index}" for index in range(1, 5))


@dataclass(frozen=True)
class _PowerStage:
    """What the netlist says about how its switches take turns."""

    circuit: BenchCircuit

    @cached_property
    def input_net(self) -> str:
        return self.circuit.wiring.port_of.get("input", "VDD")

    @cached_property
    def output_net(self) -> str:
        return self.circuit.wiring.port_of["output"]

    @cached_property
    def input_v(self) -> float:
        return self.circuit.settings["input_v"] if self.circuit.has("input") else self.circuit.corner.supply_v

    @cached_property
    def coils(self) -> tuple[Device, ...]:
        return tuple(device for device in self.circuit.netlist.devices if device.kind == "inductor")

    def switches(self, role: str) -> tuple[Device, ...]:
        """The transistors whose gates a control holds."""
        pins = self.circuit.netlist.pins_of[self.circuit.wiring.port_of[role]]
        return tuple(device for device, pin in pins if device.kind_of.is_mos and pin == "gate")

    def phase(self, role: str) -> int:
        """The phase, 1 or 2, that a control is on in."""
        for switch in self.switches(role):
            ends = (switch.nets[0], switch.nets[2])
            if self.input_net in ends:
                return 1
            if self.output_net in ends:
                return 2
            if "VSS" in ends:
                far = ends[0] if ends[1] == "VSS" else ends[1]
                return 2 if self._leads_to_input(far) else 1
        return 1 if int(role.rpartition("_")[2]) % 2 else 2

    def _leads_to_input(self, net: str) -> bool:
        """True where a switch or diode lies between the net and the input."""
        for device, _ in self.circuit.netlist.pins_of[net]:
            ends = (device.nets[0], device.nets[2]) if device.kind_of.is_mos else device.nets
            if (device.kind_of.is_mos or device.kind == "diode") and net in ends and self.input_net in ends:
                return True
        return False

    @cached_property
    def lossless_ratio(self) -> float:
        """Output over input of the converter without losses; 1 for one without coils, of which nothing is known."""
        if not self.coils:
            return 1.0
        duty = self.circuit.settings["duty"]
        return (duty if self._steps_down else 1.0) / (1 - duty if self._steps_up else 1.0)

    @cached_property
    def _steps_down(self) -> bool:
        return any(self.input_net in switch.nets[:3] for role in self.controls for switch in self.switches(role))

    @cached_property
    def _steps_up(self) -> bool:
        first = [role for role in self.controls if self.phase(role) == 1]
        return any("VSS" in switch.nets[:3] for role in first for switch in self.switches(role))

    @cached_property
    def controls(self) -> tuple[str, ...]:
        return tuple(role for role in _CONTROLS if self.circuit.has(role))

    @cached_property
    def clocks(self) -> tuple[str, ...]:
        return tuple(role for role in _CLOCKS if self.circuit.has(role))

    @property
    def coil_current_a(self) -> float:
        """Mean current of the lossless converter's coil, from the input's side to the output's."""
        load = self.lossless_ratio * self.input_v / self.circuit.settings["load_ohm"]
        return load / (1 - self.circuit.settings["duty"]) if self._steps_up else load

    def is_forward(self, coil: Device) -> bool:
        """True where the coil's first net is on the input's side."""
        first, second = coil.nets
        return (
            self.output_net == second
            or self.input_net == first
            or (self.output_net != first and self.input_net != second and self._leads_to_input(first))
        )

    def driver_cards(self, role: str, phases: Sequence[str]) -> Iterator[str]:
        """A driver from 0 V to the level that turns the switch off (p) or on (n); ``v_tb_<role>`` is its ammeter."""
        node, wave = self.circuit.node(role), phases[self.phase(role) - 1]
        switch = next(iter(self.switches(role)), None)
        out, high = self.circuit.node("output"), f"{self.input_v:.12g}"
        state = f"v({wave})"
        if switch is not None and switch.kind == "pmos":
            state = f"(1-v({wave}))"
            if self.output_net in switch.nets[:3]:
                high = f"max(v({out}),{high})"
        elif switch is not None and "VSS" not in switch.nets[:3]:
            high = f"({high}+{f'v({out})' if self.output_net in switch.nets[:3] else high})"
        yield f"b_tb_{role} tb_{role} vss V={high}*{state}"
        yield f"v_tb_{role} tb_{role} {node} DC 0"


def _setups(circuit: BenchCircuit) -> tuple[Setup, ...]:
    stage = _PowerStage(circuit)
    start = stage.lossless_ratio * stage.input_v
    coils = {circuit.instance_of[coil.name]: coil for coil in stage.coils}
    held = _held_nodes(stage)
    currents = [stage.coil_current_a * (1 if stage.is_forward(coil) else -1) for coil in stage.coils]
    vectors = (
        f"v({circuit.node('output')})",
        *(f"v(tb_{role})" for role in (*stage.controls, *stage.clocks)),
        *(f"v(tb_charge_{name})" for name in _charges(stage)),
        *(f"i({name})" for name in coils),
        *(f"v({node})" for node in held),
    )

    def setup(name: str, output: str, coil_currents: Sequence[str], levels: Sequence[str]) -> Setup:
        period, periods = 1 / circuit.settings["frequency_hz"], _PERIODS[name]
        cards = [
            *_outside(stage, periods),
            f".ic v({circuit.node('output')})={output}",
            *(f".ic v({node})={level}" for node, level in zip(held, levels, strict=bool(levels))),
        ]
        for number, (coil, current) in enumerate(zip(coils.values(), coil_currents, strict=True)):
            first, second = (circuit.node_of[net] for net in coil.nets)
            cards.append(f"i_tb_start_{number} {second} {first} PWL(0 {current} {_EDGE * period:.9g} 0)")
        command = f"tran {period / _STEPS:.9g} {periods * period:.12g}"
        return Setup(name, tuple(cards), (Run(name, "tran", command, vectors),), options=_COIL_OPTIONS if coils else ())

    coil_names = [f"{{tb_coil_{number}}}" for number in range(len(coils))]
    held_names = [f"{{tb_held_{number}}}" for number in range(len(held))]
    return (
        setup("approach", f"{start:.12g}", [f"{current:.9g}" for current in currents], ()),
        setup("closer", "{tb_output}", coil_names, held_names),
        setup("closest", "{tb_output}", coil_names, held_names),
    )


def _charges(stage: _PowerStage) -> dict[str, tuple[str, int]]:
    """What the charge is counted of -> (the source that it flows through, the sign of what flows into the circuit)."""
    drivers = {role: (f"v_tb_{role}", 1) for role in (*stage.controls, *stage.clocks)}
    return {"supply": ("v_vdd", -1), **({"input": ("v_tb_input", -1)} if stage.circuit.has("input") else {}), **drivers}


def _held_nodes(stage: _PowerStage) -> tuple[str, ...]:
    """Inner nodes of capacitors: their voltages are states that the next transient takes over."""
    circuit = stage.circuit
    nodes = []
    for net in circuit.netlist.internal_nets:
        kinds = {device.kind for device, _ in circuit.netlist.pins_of[net]}
        if port_role(net) is None and "capacitor" in kinds and "inductor" not in kinds:
            nodes.append(circuit.node_of[net])
    return tuple(nodes)


def _outside(stage: _PowerStage, periods: int) -> Iterator[str]:
    circuit, settings = stage.circuit, stage.circuit.settings
    out = circuit.node("output")
    yield f"r_tb_load {out} vss {settings['load_ohm']:.12g}"
    yield f"c_tb_load {out} vss {settings['load_f']:.12g}"
    if circuit.has("input"):
        yield f"v_tb_input {circuit.node('input')} vss DC {stage.input_v:.12g}"
    for name, (source, sign) in _charges(stage).items():
        yield f"f_tb_charge_{name} vss tb_charge_{name} {source} {sign}"
        yield f"c_tb_charge_{name} tb_charge_{name} vss {_COUNTER_F:g}"
        yield f"r_tb_charge_{name} tb_charge_{name} vss {_COUNTER_OHM:g}"
        yield f".ic v(tb_charge_{name})=0"
    for name, is_on in (("gate", False), ("clock", True)):
        for phase in (1, 2):
            yield f"v_tb_{name}{phase} tb_{name}{phase} vss {_phase(circuit, phase, periods, is_on)}"
    for role in stage.controls:
        yield from stage.driver_cards(role, ("tb_gate1", "tb_gate2"))
    for role in stage.clocks:
        yield from stage.driver_cards(role, ("tb_clock1", "tb_clock2"))


def _phase(circuit: BenchCircuit, phase: int, periods: int, is_on: bool) -> str:
    """A source of 1 V while the phase is on. Phase 1 is centred on the start of every period, so its first is a half.

    Switches are off at the operating point, so that the coils carry what they are told to; clocks (`is_on`) are not.
    """
    duty, dead = circuit.settings["duty"], circuit.settings["dead_share"]
    gap = duty / 2 if phase == 1 else duty / 2 + _EDGE + dead
    points: list[tuple[float, float]] = []
    if phase == 1:
        points = [(0.0, 1.0)] if is_on else [(0.0, 0.0), (_EDGE, 1.0)]
        windows = [(index - 1 + (1 - gap), index + gap) for index in range(1, periods + 1)]
        points += [(gap - _EDGE / 2, 1.0), (gap + _EDGE / 2, 0.0)]
    else:
        points = [(0.0, 0.0)]
        windows = [(index + gap, index + 1 - gap) for index in range(periods)]
    for begin, end in windows:
        points += [(begin - _EDGE / 2, 0.0), (begin + _EDGE / 2, 1.0), (end - _EDGE / 2, 1.0), (end + _EDGE / 2, 0.0)]
    period = 1 / circuit.settings["frequency_hz"]
    return f"PWL({' '.join(f'{at * period:.9g} {level:g}' for at, level in points)})"


def _states(reading: Reading, run: str) -> Wave:
    """Output and coil currents at the start of every period: one row each."""
    waves = reading.run(run)
    names = (reading.v("output"), *_coil_vectors(waves))
    instants = np.arange(_PERIODS[run] + 1) / reading.settings["frequency_hz"]
    return np.stack([np.interp(instants, waves.scale, waves.real(name)) for name in names], axis=1)


def _coil_vectors(waves: Waveforms) -> list[str]:
    return [name for name in waves.vectors if name.startswith("i(l")]


def _remaining(states: Wave) -> Wave:
    """What the states will still change by, from the linear map that fits their changes from period to period."""
    scale = np.maximum(np.ptp(states[_UPSET:], axis=0), 1e-12)
    here = (states[_UPSET:-1] - states[-1]) / scale
    change = np.diff(states[_UPSET:], axis=0) / scale
    fitted, *_ = np.linalg.lstsq(np.hstack((here, np.ones((len(here), 1)))), change, rcond=1e-6)
    slope, change_now = fitted[:-1].T, fitted[-1]
    step = np.linalg.lstsq(-slope, change_now, rcond=1e-3)[0]
    return np.asarray(np.clip(step, -5.0, 5.0) * scale, dtype=np.float64)


def _fixed_point(reading: Reading, run: str) -> Mapping[str, float]:
    """The periodic steady state that a transient leads to."""
    waves, states = reading.run(run), _states(reading, run)
    goal = states[-1] + _remaining(states)
    held = [name for name in waves.vectors if name.startswith("v(n_")]
    return {
        "tb_output": float(goal[0]),
        **{f"tb_coil_{number}": float(current) for number, current in enumerate(goal[1:])},
        **{f"tb_held_{number}": float(waves.real(name)[-1]) for number, name in enumerate(held)},
    }


def _if_needed(reading: Reading) -> Mapping[str, float] | Undefined:
    """The start of the last transient; none where the one before is good enough."""
    if _drift(reading, "closer") <= _WELL_SETTLED:
        return Undefined("the output has settled before")
    return _fixed_point(reading, "closer")


def _drift(reading: Reading, run: str) -> float:
    """What the mean output changes by in the last periods of a transient, or still will, relative to itself."""
    waves, states = reading.run(run), _states(reading, run)
    output = waves.real(reading.v("output"))
    ends = np.arange(_PERIODS[run] - _READ, _PERIODS[run] + 1) / reading.settings["frequency_hz"]
    means = [mean_over(waves.scale, output, begin, end) for begin, end in pairwise(ends)]
    scale = max(abs(means[-1]), 0.01 * reading.corner.supply_v)
    return max(float(np.ptp(means)), abs(float(_remaining(states)[0]))) / scale


def _window(reading: Reading) -> tuple[Waveforms, float, float]:
    """The last transient and the instants between which it is read; raises RunFailed where it has not settled."""
    run = "closest" if "closest" in reading.runs else "closer"
    drift = _drift(reading, run)
    if drift > _SETTLED:
        raise RunFailed(f"the output has not settled: it still changes by {drift:.1%}", "circuit")
    begin, end = (periods / reading.settings["frequency_hz"] for periods in (_PERIODS[run] - _READ, _PERIODS[run]))
    return reading.run(run), begin, end


def _charge_c(reading: Reading, name: str, begin: float, end: float) -> float:
    """The charge that flowed between two instants."""
    waves, _, _ = _window(reading)
    before, after = np.interp((begin, end), waves.scale, waves.real(f"v(tb_charge_{name})"))
    return float(after - before) * _COUNTER_F


def _mean_current_a(reading: Reading, name: str) -> float:
    _, begin, end = _window(reading)
    return _charge_c(reading, name, begin, end) / (end - begin)


def _input_v(reading: Reading) -> float:
    return reading.settings["input_v"] if "input" in reading.node else reading.corner.supply_v


def _output_v(reading: Reading) -> float:
    waves, begin, end = _window(reading)
    return mean_over(waves.scale, waves.real(reading.v("output")), begin, end)


def _conversion_ratio(reading: Reading) -> float:
    return reading.number("output_v") / _input_v(reading)


def _load_current_a(reading: Reading) -> float:
    return reading.number("output_v") / reading.settings["load_ohm"]


def _input_current_a(reading: Reading) -> float:
    return _mean_current_a(reading, "input" if "input" in reading.node else "supply")


def _drive_power_w(reading: Reading) -> float:
    """What drivers draw from their rail while they are high, the rising edge with it; falling edges return nothing."""
    waves, begin, end = _window(reading)
    energy = 0.0
    for role in (*_CONTROLS, *_CLOCKS):
        if role in reading.node:
            level = waves.real(f"v(tb_{role})")
            for since, until in _while_high(waves.scale, level, begin, end, _EDGE / reading.settings["frequency_hz"]):
                energy += float(level.max()) * _charge_c(reading, role, since, until)
    return energy / (end - begin)


def _while_high(time: Wave, level: Wave, begin: float, end: float, edge: float) -> Iterator[tuple[float, float]]:
    """Pairs of instants: from the start of each rising edge to the start of the next falling one, cut at the ends."""
    half = float(level.max()) / 2
    rises, falls = (crossings(time, level, half, direction) - edge / 2 for direction in (+1, -1))
    is_high = bool(np.interp(begin, time, level) > half)
    since = [begin, *rises[(rises > begin) & (rises < end)]] if is_high else [*rises[(rises > begin) & (rises < end)]]
    yield from zip(since, [*falls[(falls > begin) & (falls < end)], end], strict=False)


def _input_power_w(reading: Reading) -> float:
    supply = _mean_current_a(reading, "supply") * reading.corner.supply_v
    if "input" in reading.node:
        supply += reading.number("input_current_a") * _input_v(reading)
    return supply + reading.number("drive_power_w")


def _output_power_w(reading: Reading) -> float:
    waves, begin, end = _window(reading)
    return mean_over(waves.scale, waves.real(reading.v("output")) ** 2, begin, end) / reading.settings["load_ohm"]


def _efficiency(reading: Reading) -> float | Undefined:
    taken, given = reading.number("input_power_w"), reading.number("output_power_w")
    return given / taken if taken > 0 else Undefined("the converter takes no power")


def _loss_w(reading: Reading) -> float:
    return reading.number("input_power_w") - reading.number("output_power_w")


def _ripple_v(reading: Reading) -> float:
    waves, _, end = _window(reading)
    time, output = waves.scale, waves.real(reading.v("output"))
    begin = end - 1 / reading.settings["frequency_hz"]
    ends = np.interp((begin, end), time, output)
    last = (time >= begin) & (time <= end)
    return float(np.ptp(output[last] - np.interp(time[last], (begin, end), ends)))


def _coil_peak_a(reading: Reading) -> float | Undefined:
    waves, begin, _ = _window(reading)
    coils = _coil_vectors(waves)
    if not coils:
        return Undefined("the circuit has no inductor")
    return float(max(np.abs(waves.real(name)[waves.scale >= begin]).max() for name in coils))


def _has_control(netlist: Netlist, ports: Mapping[str, str]) -> Mapping[str, str]:
    """The ports as they are; InvalidRequest where nothing switches the converter."""
    if not any(role in ports for role in (*_CONTROLS, *_CLOCKS)):
        raise InvalidRequest(
            "testbench power_converter cannot drive this circuit: it has no control and no clock (what switches it);"
            " name the port VCONT1 or VCLK1, or say which it is under 'ports'",
            pointer="/netlist",
        )
    return ports


_RUNS = tuple(_PERIODS)
_UNSETTLED = "the transient does not finish, or the output has not settled"

testbenches.add(
    "power_converter",
    Testbench(
        name="power_converter",
        version=1,
        summary="power stage of a switched converter or a charge pump, open loop at a fixed duty cycle",
        types=("power_converter",),
        roles=(
            Role("output", ("VOUT1",), "the output that is loaded"),
            Role("input", ("VIN1",), "the voltage that is converted; VDD where there is none", is_required=False),
            *(
                Role(role, (f"VCONT{index}",), "gates of a switch", is_required=False)
                for index, role in enumerate(_CONTROLS, 1)
            ),
            *(
                Role(role, (f"VCLK{index}",), "a clock: odd ones in phase 1, even ones in phase 2", is_required=False)
                for index, role in enumerate(_CLOCKS, 1)
            ),
        ),
        settings=(
            Setting("frequency_hz", "Hz", "switching frequency; edges take 0.2 % of a period", 50e6, 1e3, 5e9),
            Setting("duty", "1", "share of the period that phase 1 is on", 0.5, 0.05, 0.95),
            Setting("dead_share", "1", "share of the period between the phases, twice a period", 0.004, 0.0, 0.02),
            Setting("input_v", "V", "voltage at the input port", 1.0, 0.1, 2.0, of_supply=True),
            Setting("load_ohm", "ohm", "resistance at the output", 500.0, 1e-2, 1e9),
            Setting("load_f", "F", "capacitance at the output, beside the circuit's own", 1e-9, 0.0, 1e-2),
        ),
        metrics=(
            *(metric for metric in common_metrics() if metric.name == "area_m2"),
            Metric("output_v", "V", "mean output over the last four periods", _UNSETTLED, _RUNS, _output_v),
            Metric(
                "conversion_ratio", "1", "mean output over the input voltage", _UNSETTLED, _RUNS, _conversion_ratio,
            ),
            Metric("load_current_a", "A", "mean current into the load", _UNSETTLED, _RUNS, _load_current_a),
            Metric("input_current_a", "A", "mean current from the input", _UNSETTLED, _RUNS, _input_current_a, "lower"),
            Metric(
                "drive_power_w", "W", "power that the drivers of switches and clocks take from their rails", _UNSETTLED,
                _RUNS, _drive_power_w, "lower",
            ),
            Metric(
                "input_power_w", "W", "power from the input, from VDD and into the drivers", _UNSETTLED, _RUNS,
                _input_power_w, "lower",
            ),
            Metric("output_power_w", "W", "power into the load", _UNSETTLED, _RUNS, _output_power_w, "higher"),
            Metric(
                "efficiency", "1", "output_power_w over input_power_w", _UNSETTLED + ", or it takes no power", _RUNS,
                _efficiency, "higher",
            ),
            Metric("loss_w", "W", "input_power_w minus output_power_w", _UNSETTLED, _RUNS, _loss_w, "lower"),
            Metric(
                "ripple_v", "V", "peak-to-peak output over the last period, what it still drifts left out", _UNSETTLED,
                _RUNS, _ripple_v, "lower",
            ),
            Metric(
                "coil_peak_a", "A", "largest magnitude of a coil's current", _UNSETTLED + ", or there is no inductor",
                _RUNS, _coil_peak_a, "lower",
            ),
        ),
        setups=_setups,
        works=(Bound("conversion_ratio", low=0.1, high=10.0), Bound("efficiency", low=0.1, high=1.0)),
        supplies=("VSS",),
        derive={"closer": partial(_fixed_point, run="approach"), "closest": _if_needed},
        resolve=_has_control,
    ),
)  # fmt: skip
