"""Does the circuit have a DC operating point, and does anything conduct there? Asks ngspice, at default sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from app.analog.netlist import Netlist
from app.errors import SimulatorFailure
from app.findings import Finding
from app.simulators.operating_point import OperatingPoint
from app.technologies._base import Technology
from app.validators._base import Rung, Subject, ValidationTools, Verdict, validators

#: More than this from the supply, in amperes, at default sizes, means that something shorts it.
OVERCURRENT_A = 20e-3

#: Nodes this far outside the supply, in volts, are driven by nothing but an ideal source.
MARGIN_V = 1.0


class OperatingPointValidator:
    """Simulates ``.op`` with the simulator it is given.

    Without one it says so in a note. What the simulator could not do is no verdict: SimulatorFailure is raised.
    """

    kind: Literal["analog", "quantum"] = "analog"
    rung: Rung = "operating_point"
    summary = "ngspice finds a DC operating point at default sizes and bias, and transistors conduct there"
    accepts = """\
* a common-source stage with a diode-connected load
* ports: VDD VSS VIN1 VOUT1
M1 VOUT1 VIN1 VSS VSS nmos
M2 VOUT1 VOUT1 VDD VDD pmos
.end
"""
    rejects = """\
* the gates of an inverter between capacitors: nothing sets their voltage
* ports: VDD VSS VIN1 VOUT1
M1 VOUT1 N1 VSS VSS nmos
M2 VOUT1 N1 VDD VDD pmos
C1 VIN1 N1 1p
C2 N1 VOUT1 1p
.end
"""

    def check(self, circuit: Subject, tools: ValidationTools) -> Verdict:
        """The findings; facts hold the operating point's figures (amperes, volts by net, shares from 0 to 1)."""
        assert circuit.netlist is not None, "an analog subject carries its netlist"
        if tools.simulator is None:
            reason = Finding(
                "op_not_run",
                "note",
                "the operating point was not simulated: there is no simulator here",
                hint="run 'josephson doctor' to see what is missing",
            )
            return Verdict((reason,))
        too_small = tuple(_too_small(circuit.netlist, tools.simulator.technology))
        if too_small:
            return Verdict(too_small)
        point = tools.simulator.run(circuit.netlist)
        if point.status in ("bad_deck", "simulator_gave_up"):
            raise SimulatorFailure(f"{point.message}; this says nothing about the circuit")
        technology = tools.simulator.technology
        return Verdict(
            tuple(_findings(point, technology.supply_v)),
            {
                "technology": technology.name,
                "converged": point.converged,
                "relaxed": point.relaxed,
                "supply_current_a": point.supply_current_a,
                "conducting_share": point.conducting_share,
                "saturated_share": point.saturated_share,
                "node_voltages_v": dict(point.node_voltages_v),
            },
        )


def _too_small(netlist: Netlist, technology: Technology) -> Iterator[Finding]:
    """MOS sizes below what the technology can make; its device models mean nothing there."""
    limits = {"length_m": ("long", technology.length_min_m), "width_m": ("wide", technology.width_min_m)}
    for device in netlist.devices:
        if device.kind_of.is_mos:
            for size, (word, least) in limits.items():
                value = device.sizes.get(size, least)
                if value < least * (1 - 1e-9):
                    yield Finding(
                        "size_below_minimum",
                        "error",
                        f"{device.name} is {value * 1e9:.4g} nm {word}, "
                        f"{technology.name} makes nothing below {least * 1e9:g} nm",
                        where=device.name,
                        hint="SPICE sizes are in metres: write 0.5u for half a micron",
                    )


def _findings(point: OperatingPoint, supply_v: float) -> Iterator[Finding]:
    if point.status == "no_dc_path":
        yield Finding(
            "no_dc_path",
            "error",
            f"{point.message}, so its voltage is undefined",
            where=f"net {point.floating[0]}",
            hint="connect it through something that conducts, for example a bias resistor",
        )
        return
    if not point.converged:
        yield Finding(
            "op_not_converged", "error", point.message, hint="look for loops of sources and inductors, and open nets"
        )
        return
    if point.relaxed:
        yield Finding("op_relaxed", "note", "the operating point converged only with relaxed tolerances")
    if point.supply_current_a is not None and abs(point.supply_current_a) > OVERCURRENT_A:
        yield Finding(
            "supply_overcurrent",
            "warning",
            f"the supply delivers {point.supply_current_a * 1e3:.3g} mA, more than {OVERCURRENT_A * 1e3:g} mA",
            where="net VDD",
            hint="something low-ohmic connects VDD and VSS",
        )
    far = {net: volts for net, volts in point.node_voltages_v.items() if not -MARGIN_V <= volts <= supply_v + MARGIN_V}
    if far:
        net, volts = max(far.items(), key=lambda item: abs(item[1]))
        yield Finding(
            "op_beyond_supply",
            "warning",
            f"net {net} sits at {volts:.3g} V, far outside the supply of {supply_v:g} V",
            where=f"net {net}",
            hint="its bias current has no way to flow",
        )
    if point.conducting_share == 0:
        yield Finding(
            "no_conducting_device",
            "warning",
            "no transistor conducts at the operating point",
            hint="check that gates are biased and that a path leads from VDD to VSS",
        )


validators.add("operating_point", OperatingPointValidator())
