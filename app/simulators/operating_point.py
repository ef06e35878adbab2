"""The DC operating point of a netlist: does it exist, what does it draw, and which transistors conduct."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any, Literal

from app.analog.netlist import Device, Netlist
from app.errors import SimulatorFailure
from app.simulators.bias import Bias, bias_plan
from app.simulators.dc_paths import floating_nets
from app.simulators.deck import SUPPLY_SOURCE, Deck, operating_point_deck
from app.simulators.processes import WorkerPool
from app.technologies._base import Technology

#: A transistor carries a current above this, in amperes.
CONDUCTING_A = 10e-9

Region = Literal["off", "linear", "saturated", "active"]
Status = Literal["ok", "no_dc_path", "not_converged", "simulator_gave_up", "bad_deck"]

_MOS_PARAMETERS = ("id", "vgs", "vds", "vth", "vdsat", "gm", "gds")
_BIPOLAR_PARAMETERS = ("ic",)


@dataclass(frozen=True, slots=True)
class TransistorState:
    """One transistor at the operating point.

    `region` is ``off`` up to `CONDUCTING_A`; a MOS that conducts is ``saturated`` where its drain-source voltage
    reaches the saturation voltage and ``linear`` below; a bipolar one is ``active``. Of a MOS, current and voltages
    are positive the way its polarity conducts (drain to source for an nmos, source to drain for a pmos); of a bipolar
    transistor, the current is positive into the collector, and the rest is None.
    """

    region: Region
    current_a: float
    vgs_v: float | None = None
    vds_v: float | None = None
    threshold_v: float | None = None
    saturation_v: float | None = None
    gm_s: float | None = None
    gds_s: float | None = None


@dataclass(frozen=True)
class OperatingPoint:
    """What the simulator found. Everything but `status`, `message` and `notes` is empty or None unless `status` is ok.

    `supply_current_a` is drawn from VDD. `devices` holds the transistors of the netlist's top level, by name.
    `conducting_share` and `saturated_share` are of those (of the MOS among them), None where there are none.
    `relaxed` tells that only the second try, with relaxed tolerances, converged. `message` says why there is no result;
    with status ``no_dc_path`` nothing was simulated, since the voltage of `floating` nets is undefined.
    """

    status: Status
    supply_current_a: float | None = None
    node_voltages_v: Mapping[str, float] = field(default_factory=dict)
    devices: Mapping[str, TransistorState] = field(default_factory=dict)
    relaxed: bool = False
    message: str = ""
    notes: tuple[str, ...] = ()
    floating: tuple[str, ...] = ()

    @property
    def converged(self) -> bool:
        """True when there is an operating point."""
        return self.status == "ok"

    @property
    def conducting_share(self) -> float | None:
        """The share of transistors that are not off."""
        return _share([state.region != "off" for state in self.devices.values()])

    @property
    def saturated_share(self) -> float | None:
        """The share of MOS transistors that are saturated."""
        return _share([state.region == "saturated" for state in self.devices.values() if state.vds_v is not None])


def _share(statements: list[bool]) -> float | None:
    return sum(statements) / len(statements) if statements else None


class OperatingPointSimulator:
    """Operating points of netlists in one technology, through a pool of ngspice workers. Thread-safe."""

    def __init__(self, pool: WorkerPool, technology: Technology) -> None:
        self.pool = pool
        self.technology = technology

    def run(self, netlist: Netlist, bias: Bias | None = None) -> OperatingPoint:
        """Blocks until it is known whether the netlist, at default sizes, has an operating point, and which.

        The bias is `bias_plan`'s where none is given.

        Raises SimulatorFailure where the simulator crashed, hung or was stopped; that says nothing of the circuit.
        """
        bias = bias_plan(netlist, self.technology) if bias is None else bias
        floating = floating_nets(netlist, bias)
        if floating:
            shown = f"net {floating[0]}" + (f" and {len(floating) - 1} more" if len(floating) > 1 else "")
            return OperatingPoint("no_dc_path", message=f"no direct current can reach {shown}", floating=floating)
        deck = operating_point_deck(netlist, self.technology, bias)
        parameters = [
            f"@{deck.instance_of[device.name]}[{parameter}]"
            for device in netlist.devices
            for parameter in _parameters_of(device)
        ]
        request = {"deck": deck.text, "analysis": "op", "parameters": parameters}
        try:
            answer = self.pool.submit(request).result()
        except CancelledError:
            raise SimulatorFailure("the simulation was stopped before it had a result; ask again") from None
        return _read(answer, netlist, deck)


def _parameters_of(device: Device) -> tuple[str, ...]:
    if device.kind_of.is_mos:
        return _MOS_PARAMETERS
    return _BIPOLAR_PARAMETERS if device.kind in ("npn", "pnp") else ()


def _read(answer: Mapping[str, Any], netlist: Netlist, deck: Deck) -> OperatingPoint:
    status: Status = answer["status"]
    notes = tuple(answer["messages"])
    if status != "ok":
        return OperatingPoint(status, message=message_of(status, notes), notes=notes)
    vectors = answer["vectors"]
    voltages = {net: vectors[node][0] for net, node in deck.node_of.items() if node in vectors}
    return OperatingPoint(
        status,
        supply_current_a=-vectors[f"{SUPPLY_SOURCE.lower()}#branch"][0],
        node_voltages_v=voltages,
        devices={
            device.name: _state(device, deck.instance_of[device.name], answer["parameters"])
            for device in netlist.devices
            if _parameters_of(device)
        },
        relaxed=answer["relaxed"],
        notes=notes,
    )


def message_of(status: Status, notes: tuple[str, ...]) -> str:
    """Why there is no operating point."""
    reason = {
        "no_dc_path": "",
        "not_converged": "ngspice found no operating point",
        "simulator_gave_up": "ngspice gave up",
        "bad_deck": "ngspice did not accept the deck",
        "ok": "",
    }[status]
    return f"{reason}: {'; '.join(notes)}" if notes else reason


def _state(device: Device, instance: str, parameters: Mapping[str, float | None]) -> TransistorState:
    values = {name: parameters[f"@{instance}[{name}]"] for name in _parameters_of(device)}
    if not device.kind_of.is_mos:
        current = values["ic"] or 0.0
        return TransistorState("active" if abs(current) > CONDUCTING_A else "off", current)
    current, vds, vdsat = values["id"] or 0.0, values["vds"] or 0.0, values["vdsat"] or 0.0
    region: Region = "off"
    if abs(current) > CONDUCTING_A:
        region = "saturated" if abs(vds) >= abs(vdsat) else "linear"
    return TransistorState(region, current, values["vgs"], vds, values["vth"], vdsat, values["gm"], values["gds"])
