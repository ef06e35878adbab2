"""Wiring rules: floating nets, shorted devices, ports that nothing touches. Knows no sizes, bias or waveforms."""

from __future__ import annotations

from typing import Literal

from app.analog.rules import electrical_findings
from app.validators._base import Rung, Subject, ValidationTools, Verdict, validators


class ElectricalRules:
    """The rules of `app.analog.rules` as a validator; needs no tools."""

    kind: Literal["analog", "quantum"] = "analog"
    rung: Rung = "structure"
    summary = "wiring rules: every net driven and closed, no device shorted, ports and supplies in use"
    accepts = """\
* a common-source stage
* ports: VDD VSS VIN1 VOUT1
M1 VOUT1 VIN1 VSS VSS nmos
R1 VDD VOUT1 10k
.end
"""
    rejects = """\
* the gate of M2 hangs on a net that nothing drives
* ports: VDD VSS VIN1 VOUT1
M1 VOUT1 VIN1 VSS VSS nmos
M2 VOUT1 N1 VDD VDD pmos
.end
"""

    def check(self, circuit: Subject, tools: ValidationTools) -> Verdict:
        """The findings of every rule; facts count devices and nets."""
        assert circuit.netlist is not None, "an analog subject carries its netlist"
        netlist = circuit.netlist
        return Verdict(
            electrical_findings(netlist),
            {"device_count": len(netlist.devices), "net_count": len(netlist.nets)},
        )


validators.add("electrical_rules", ElectricalRules())
