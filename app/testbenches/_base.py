"""What a testbench is: the ports it drives, the decks it runs, the metrics it reads. Knows no process and no sizing.

A testbench is data with functions in it. `Testbench.setups` turns a wired circuit into decks; `Metric.measure` turns
the vectors of their runs into one number, or says why there is none. Both are pure: decks are written in the service's
process, vectors are read in the worker that simulated them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.analog.kinds import SUPPLY_NETS
from app.analog.netlist import Netlist
from app.errors import InvalidRequest, UnknownName
from app.registry import Registry
from app.technologies._base import Technology

Analysis = Literal["op", "ac", "noise", "dc", "tran"]

#: From the cheapest to the costliest; metrics are listed in this order.
ANALYSES: tuple[Analysis, ...] = ("op", "ac", "noise", "dc", "tran")

#: Who is to blame where a metric has no value: the circuit has none, the simulator failed, or it was not asked.
Cause = Literal["circuit", "simulator", "not_run"]

Wave = NDArray[np.floating[Any]]
ComplexWave = NDArray[np.complexfloating[Any, Any]]


@dataclass(frozen=True, slots=True)
class Undefined:
    """A metric has no value; `reason` is a sentence without a full stop."""

    reason: str
    cause: Cause = "circuit"


@dataclass(frozen=True, slots=True)
class Role:
    """A part that a port plays. `ports` are the names it may have, the likelier first; the first that exists is it."""

    name: str
    ports: tuple[str, ...]
    summary: str
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class Setting:
    """A condition that the caller may choose. A default that is a fraction of the supply is given by `of_supply`."""

    name: str
    unit: str
    summary: str
    default: float
    low: float
    high: float
    of_supply: bool = False


@dataclass(frozen=True, slots=True)
class Corner:
    """Process, supply and temperature of a simulation."""

    process: str
    supply_v: float
    celsius: float

    def __str__(self) -> str:
        return f"{self.process},{self.supply_v:g}V,{self.celsius:g}C"


@dataclass(frozen=True, slots=True)
class Run:
    """One analysis on a loaded deck.

    `command` is ngspice's (``ac dec 20 10 10g``); `before` are ``alter`` commands that hold for this run and those
    after it in the same setup. `vectors` are what is read (``v(vout1)``, ``i(v_vdd)``); the scale comes with them.
    """

    name: str
    analysis: Analysis
    command: str
    vectors: tuple[str, ...]
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setup:
    """One deck around the circuit, loaded once, and the analyses on it.

    `cards` are sources, loads and wires outside the circuit. Supply, bias sources, devices and device models are added
    by the deck writer. `supply` replaces the DC value of the supply's source (``PWL(0 0 1u 1.8)``).

    Where `Testbench.derive` has an entry of the setup's name, its numbers (a time scale found by an earlier setup) are
    parameters of the deck (``{tb_time}`` in cards), and fill the runs' commands, ``tran {tb_step} {tb_stop}``.

    `after` are the runs of earlier setups that these numbers are derived from. `moved` takes pins off their nets, to
    open a loop: (device, pin) -> a node of the cards.
    """

    name: str
    cards: tuple[str, ...]
    runs: tuple[Run, ...]
    supply: str | None = None
    options: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    moved: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wiring:
    """Which port plays which role, and the ports that are left for bias sources. Net names as in the netlist."""

    port_of: Mapping[str, str]
    biased: tuple[str, ...]


@dataclass(frozen=True)
class BenchCircuit:
    """A circuit as the testbench sees it while it writes its setups.

    `node_of` gives the deck's name of a net, `instance_of` that of a device.
    """

    netlist: Netlist
    wiring: Wiring
    technology: Technology
    corner: Corner
    settings: Mapping[str, float]
    node_of: Mapping[str, str]
    instance_of: Mapping[str, str]

    def node(self, role: str) -> str:
        """The deck's node of a role's port; KeyError where the circuit has no such port."""
        return self.node_of[self.wiring.port_of[role]]

    def has(self, role: str) -> bool:
        """True where the circuit has a port of this role."""
        return role in self.wiring.port_of


class RunFailed(Exception):
    """The run that a metric needs has no result. `cause` and the sentence go into the answer."""

    def __init__(self, reason: str, cause: Cause) -> None:
        super().__init__(reason)
        self.undefined = Undefined(reason, cause)


@dataclass(frozen=True)
class Waveforms:
    """The vectors of one finished run. `scale` is time, frequency or the swept value; one point for an ``op``."""

    scale: Wave
    vectors: Mapping[str, Wave | ComplexWave]

    def real(self, name: str) -> Wave:
        """A real vector as it was asked for."""
        return np.real(self.vectors[name]).astype(np.float64)

    def complex(self, name: str) -> ComplexWave:
        """A vector of an AC run."""
        return np.asarray(self.vectors[name], dtype=np.complex128)

    def at_op(self, name: str) -> float:
        """The single value of an operating point."""
        return float(np.real(self.vectors[name][0]))


@dataclass
class Reading:
    """What the metrics of one sizing are read from.

    `runs` holds what finished, `failed` why the others did not. `node` gives deck names by role, so that a metric finds
    its vectors. `sizes` are the values of the deck's parameters; `area_m2` is the sum of W x L x m over the MOS.
    """

    runs: Mapping[str, Waveforms]
    failed: Mapping[str, Undefined]
    node: Mapping[str, str]
    settings: Mapping[str, float]
    corner: Corner
    sizes: Mapping[str, float]
    area_m2: float
    metrics: Mapping[str, Metric]
    _values: dict[str, float | Undefined] = field(default_factory=dict)

    def run(self, name: str) -> Waveforms:
        """The vectors of a run; raises RunFailed, which makes the metric undefined, where it has none."""
        if name in self.runs:
            return self.runs[name]
        undefined = self.failed.get(name, Undefined(f"the run {name} was not asked for", "not_run"))
        raise RunFailed(undefined.reason, undefined.cause)

    def v(self, role: str) -> str:
        """The vector of a role's voltage: ``v(vout1)``."""
        return f"v({self.node[role]})"

    def value(self, metric: str) -> float | Undefined:
        """Another metric of the same sizing, computed once."""
        if metric not in self._values:
            try:
                found = self.metrics[metric].measure(self)
            except RunFailed as failure:
                found = failure.undefined
            if isinstance(found, float) and not np.isfinite(found):
                found = Undefined("the value is not a finite number")
            self._values[metric] = found
        return self._values[metric]

    def number(self, metric: str) -> float:
        """As `value`, where the metric that asks has none either if this one has none."""
        found = self.value(metric)
        if isinstance(found, Undefined):
            raise RunFailed(found.reason, found.cause)
        return found


@dataclass(frozen=True)
class Metric:
    """One figure of merit.

    `definition` and `undefined` are sentences for people. `runs` are what `measure` reads, and what the setups of these
    runs derive their numbers from.
    """

    name: str
    unit: str
    definition: str
    undefined: str
    runs: tuple[str, ...]
    measure: Callable[[Reading], float | Undefined]
    better: Literal["higher", "lower", "target"] = "target"


#: Numbers of a setup from the runs of earlier setups, or why there are none.
Derive = Callable[[Reading], Mapping[str, float] | Undefined]


@dataclass(frozen=True, slots=True)
class Bound:
    """`metric` is at least `low` and at most `high`."""

    metric: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Testbench:
    """How circuits of `types` are driven and measured.

    `version` grows whenever a number could change. `metrics` stand from cheap to costly in the order of `ANALYSES`.
    `works` is the least that a circuit of the type does: what the function check asks for. `supplies` are the
    supply nets that its devices must be connected to. `derive` gives, by setup, the numbers that depend on what earlier
    setups found (every name starts with ``tb_``); where they cannot be had, no run of the setup has a result.
    `resolve` may correct the wiring that port names suggest.
    """

    name: str
    version: int
    summary: str
    types: tuple[str, ...]
    roles: tuple[Role, ...]
    settings: tuple[Setting, ...]
    metrics: tuple[Metric, ...]
    setups: Callable[[BenchCircuit], tuple[Setup, ...]]
    works: tuple[Bound, ...]
    supplies: tuple[str, ...] = SUPPLY_NETS
    derive: Mapping[str, Derive] = field(default_factory=dict)
    resolve: Callable[[Netlist, Mapping[str, str]], Mapping[str, str]] | None = None

    @cached_property
    def metric_of(self) -> Mapping[str, Metric]:
        """Metrics by name, cheap to costly."""
        return {metric.name: metric for metric in self.metrics}

    def wire(self, netlist: Netlist, chosen: Mapping[str, str] | None = None) -> Wiring:
        """Roles matched to the netlist's ports; `chosen` (role -> port) goes before names.

        Raises:
            UnknownName: `chosen` names a role that there is not.
            InvalidRequest: A required port is missing, or one port would play two roles.
        """
        chosen = dict(chosen or {})
        known = {role.name for role in self.roles}
        for name, port in chosen.items():
            if name not in known:
                raise UnknownName(f"role of testbench {self.name}", name, known, pointer="/ports")
            if port not in netlist.pins_of:
                raise InvalidRequest(
                    f"the netlist has no net {port[:40]!r} to be the {name} of testbench {self.name}", pointer="/ports"
                )
        for net in self.supplies:
            if net not in netlist.pins_of:
                raise InvalidRequest(
                    f"testbench {self.name} cannot drive this circuit: no device is connected to {net}",
                    pointer="/netlist",
                )
        port_of = {}
        for role in self.roles:
            found = chosen.get(role.name) or next((port for port in role.ports if port in netlist.pins_of), None)
            if found is not None:
                port_of[role.name] = found
            elif role.is_required:
                raise InvalidRequest(
                    f"testbench {self.name} cannot drive this circuit: it has no {role.name.replace('_', ' ')} "
                    f"({role.summary}); name the port {' or '.join(role.ports)}, or say which it is under 'ports'",
                    pointer="/netlist",
                )
        if self.resolve is not None:
            port_of = {**self.resolve(netlist, port_of), **chosen}
        if len(set(port_of.values())) != len(port_of):
            raise InvalidRequest(
                f"one port plays two roles of testbench {self.name}: {dict(sorted(port_of.items()))}", pointer="/ports"
            )
        taken = {*port_of.values(), *SUPPLY_NETS}
        biased = tuple(port for port in netlist.ports if port not in taken and port in netlist.pins_of)
        return Wiring(port_of, biased)

    def settings_for(self, corner: Corner, chosen: Mapping[str, float] | None = None) -> dict[str, float]:
        """Every setting's value: the caller's, else the default.

        Raises:
            UnknownName: a setting that there is not.
            InvalidRequest: a value outside the setting's range.
        """
        chosen = dict(chosen or {})
        known = {setting.name: setting for setting in self.settings}
        for name in chosen:
            if name not in known:
                raise UnknownName(f"setting of testbench {self.name}", name, known, pointer="/settings")
        values = {}
        for name, setting in known.items():
            scale = corner.supply_v if setting.of_supply else 1.0
            value = chosen.get(name, setting.default * scale)
            if not setting.low * scale <= value <= setting.high * scale:
                raise InvalidRequest(
                    f"setting {name} is {value:g} {setting.unit}, testbench {self.name} takes "
                    f"{setting.low * scale:g} to {setting.high * scale:g} {setting.unit}",
                    pointer=f"/settings/{name}",
                )
            values[name] = float(value)
        return values

    def wanted(self, metrics: Sequence[str] | None) -> tuple[Metric, ...]:
        """The metrics to measure, cheap to costly; all where none are named. UnknownName for one there is not."""
        known = self.metric_of
        for name in metrics or ():
            if name not in known:
                raise UnknownName(f"metric of testbench {self.name}", name, known, pointer="/metrics")
        return tuple(metric for name, metric in known.items() if metrics is None or name in metrics)


#: Every testbench by name: one module of `app.testbenches` each.
testbenches: Registry[Testbench] = Registry("testbench", "app.testbenches")
