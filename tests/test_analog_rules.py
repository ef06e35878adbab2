"""Electrical rules: each one on a circuit that breaks it and nothing else."""

from __future__ import annotations

import pytest

from app.analog.netlist import Device, Netlist
from app.analog.repair import remaining_faults
from app.analog.rules import electrical_findings
from app.analog.spice import parse_spice
from app.findings import has_errors

GOOD = """
* ports: VDD VSS VIN1 VOUT1
M1 VOUT1 VIN1 VSS VSS nmos
R1 VDD VOUT1 1k
"""

#: Finding code, its severity, its sentence, and what to add to GOOD to get it.
BROKEN = [
    ("floating_net", "error", "net LOOSE touches only R2", "R2 VOUT1 LOOSE"),
    ("floating_net", "error", "net LOOSE touches only M2", "M2 LOOSE LOOSE VSS VSS nmos"),
    (
        "undriven_gate",
        "error",
        "net G holds only gates, bulks and logic inputs, so nothing sets its voltage",
        "M2 VOUT1 G VSS VSS nmos\nM3 VOUT1 G VSS VSS nmos",
    ),
    (
        "undriven_gate",
        "error",
        "net G holds only gates, bulks and logic inputs, so nothing sets its voltage",
        "M2 VOUT1 G VSS VSS nmos\nX1 G VOUT1 VDD VSS inverter",
    ),
    ("bulk_floating", "error", "net WELL holds only the bulk of M2", "M2 VOUT1 VIN1 VDD WELL pmos"),
    ("shorted_device", "error", "both ends of C1 are on VOUT1", "C1 VOUT1 VOUT1"),
    ("dead_device", "warning", "M2 can carry no current: its pins are all on VSS", "M2 VSS VSS VSS VDD nmos"),
    ("dead_device", "warning", "Q1 can carry no current: its pins are all on VSS", "Q1 VSS VSS VSS npn"),
    (
        "gate_tied_to_source",
        "note",
        "the gate of M2 is tied to its source, so it is off or a diode",
        "M2 VOUT1 VSS VSS VSS nmos",
    ),
    ("supply_short", "warning", "R2 lies straight between VDD and VSS", "R2 VDD VSS"),
    ("supply_short", "warning", "D1 lies straight between VDD and VSS", "D1 VSS VDD diode"),
    ("supply_short", "error", "L1 lies straight between VDD and VSS", "L1 VDD VSS"),
    ("supply_short", "note", "C1 lies straight between VDD and VSS", "C1 VSS VDD"),
    ("supply_short", "warning", "M2 lies straight between VDD and VSS", "M2 VDD VIN1 VSS VSS nmos"),
    ("disconnected", "error", "R2, R3: wired to no port or supply", "R2 A B\nR3 A B"),
    (
        "disconnected",
        "warning",
        "R2: wired to no net of the rest of the circuit",
        "* ports: VB1 VB2\nR2 VB1 VB2",
    ),
    ("unconnected_port", "warning", "no pin is on port VB7", "* ports: VB7"),
    (
        "no_dc_path",
        "warning",
        "no direct current can reach net G, so its voltage is undefined",
        "C1 VIN1 G\nM2 VOUT1 G VSS VSS nmos",
    ),
    (
        "undriven_output",
        "warning",
        "port VOUT2 is an output and holds only gates, bulks and logic inputs, so nothing drives it",
        "* ports: VOUT2\nM2 VOUT1 VOUT2 VSS VSS nmos",
    ),
]


def test_a_good_circuit_has_no_finding() -> None:
    netlist = parse_spice(GOOD).netlist
    assert electrical_findings(netlist) == ()
    assert remaining_faults(netlist) == ()


@pytest.mark.parametrize(("code", "severity", "sentence", "lines"), BROKEN)
def test_each_rule_finds_what_breaks_it_and_nothing_else(code: str, severity: str, sentence: str, lines: str) -> None:
    findings = electrical_findings(parse_spice(GOOD + lines).netlist)
    assert [(f.code, f.severity, f.message) for f in findings] == [(code, severity, sentence)]
    assert has_errors(findings) == (severity == "error")


def test_a_circuit_without_ground_is_told_so() -> None:
    (finding,) = electrical_findings(parse_spice("* ports: VIN1 VOUT1\nR1 VIN1 VOUT1\n").netlist)
    assert finding.code == "no_ground"
    assert finding.message == "no pin is at VSS, so no net has a defined voltage"


def test_a_netlist_without_devices_is_told_so() -> None:
    (finding,) = electrical_findings(Netlist((), ()))
    assert finding.message == "the circuit has no device"


def test_a_port_that_the_language_does_not_know_is_a_fault() -> None:
    netlist = Netlist((Device("R1", "resistor", ("OUTPUT", "VSS")),), ("OUTPUT", "VSS"))
    assert remaining_faults(netlist) == ("unknown_port: port OUTPUT has no role in the language",)
    over = Netlist((Device("R1", "resistor", ("VBB3", "VSS")),), ("VBB3", "VSS"))
    assert remaining_faults(over) == ("unknown_port: port VBB3 has no role in the language",)


def test_a_supply_in_use_that_is_no_port_is_a_fault() -> None:
    netlist = Netlist((Device("R1", "resistor", ("VDD", "VSS")),), ("VSS",))
    assert remaining_faults(netlist) == ("undeclared_supply: VDD is used and not a port",)


def test_a_large_circuit_is_checked_in_linear_time() -> None:
    devices = tuple(Device(f"R{i}", "resistor", (f"N{i}", f"N{i + 1}")) for i in range(20_000))
    findings = electrical_findings(Netlist(devices, ("N0", "N20000")))
    assert [finding.code for finding in findings] == ["no_ground"]
