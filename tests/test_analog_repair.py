"""Repair of drawn netlists: each mend on the smallest circuit that needs it."""

from __future__ import annotations

import json

import pytest

from app.analog.repair import DraftDevice, Repaired, RepairReport, remaining_faults, repair

STAGE: list[DraftDevice] = [
    ("nmos", ("VOUT1", "VIN1", "VSS", "VSS")),
    ("resistor", ("VDD", "VOUT1")),
]
PORTS = ["VDD", "VSS", "VIN1", "VOUT1"]


def mended(extra: list[DraftDevice], ports: list[str] | None = None) -> tuple[list[tuple[str, ...]], Repaired]:
    """Nets of the added devices after repair, and the whole outcome, which is fit for a corpus."""
    outcome = repair([*STAGE, *extra], PORTS if ports is None else ports)
    assert outcome.netlist is not None, outcome.dropped
    assert remaining_faults(outcome.netlist) == ()
    return [device.nets for device in outcome.netlist.devices[len(STAGE) :]], outcome


def test_a_sound_circuit_only_gets_its_names() -> None:
    nets, outcome = mended([("resistor", ("VOUT1", "net5")), ("resistor", ("net5", "VSS"))])
    assert nets == [("VOUT1", "N1"), ("N1", "VSS")]
    assert not outcome.mends
    assert outcome.netlist is not None
    assert [device.name for device in outcome.netlist.devices] == ["M1", "R1", "R2", "R3"]
    assert outcome.netlist.ports == tuple(PORTS)


@pytest.mark.parametrize(
    ("extra", "ports", "nets", "mends"),
    [
        pytest.param(
            [("pmos", ("VOUT1", "VIN1", "VDD", "w")), ("pmos", ("VOUT1", "VIN1", "VDD", "w"))],
            None,
            [("VOUT1", "VIN1", "VDD", "VDD")] * 2,
            {"bulk_tied_to_source": 1},
            id="bulks of one source",
        ),
        pytest.param(
            [("pmos", ("VSS", "VIN1", "VOUT1", "w")), ("pmos", ("VOUT1", "VIN1", "VDD", "w"))],
            None,
            [("VSS", "VIN1", "VOUT1", "VDD"), ("VOUT1", "VIN1", "VDD", "VDD")],
            {"bulk_tied_to_rail": 1},
            id="bulks of different sources",
        ),
        pytest.param(
            [("nmos", ("VDD", "g", "VOUT1", "VSS")), ("nmos", ("VDD", "g", "VOUT1", "VSS"))],
            None,
            [("VDD", "VB1", "VOUT1", "VSS")] * 2,
            {"undriven_gate_promoted": 1},
            id="undriven gates",
        ),
        pytest.param(
            [("nmos", ("VDD", "g", "VOUT1", "VSS")), ("nmos", ("VDD", "VB1", "VOUT1", "VSS"))],
            [*PORTS, "VB1"],
            [("VDD", "VB2", "VOUT1", "VSS"), ("VDD", "VB1", "VOUT1", "VSS")],
            {"undriven_gate_promoted": 1},
            id="undriven gate beside a bias port",
        ),
        pytest.param(
            [("nmos", ("VOUT1", "VB3", "VSS", "0"))],
            None,
            [("VOUT1", "VB3", "VSS", "VSS")],
            {"rail_renamed": 1, "port_like_net_promoted": 1},
            id="forgotten port, node 0",
        ),
        pytest.param(
            [("nmos", ("VOUT1", "IN2", "VSS", "VSS"))],
            [*PORTS, "IN2"],
            [("VOUT1", "VIN2", "VSS", "VSS")],
            {"port_renamed": 1},
            id="foreign spelling of a port",
        ),
        pytest.param(
            [("nmos", ("VOUT1", "VCLK2", "VSS", "VSS"))],
            [*PORTS, "VCKL2"],
            [("VOUT1", "VCLK2", "VSS", "VSS")],
            {"unused_port_removed": 1, "port_like_net_promoted": 1},
            id="misspelt and unused port",
        ),
        pytest.param(
            [("capacitor", ("VOUT1", "VOUT1")), ("nmos", ("VDD", "VDD", "VDD", "VSS"))],
            None,
            [],
            {"shorted_device_removed": 1, "dead_device_removed": 1},
            id="useless devices",
        ),
        pytest.param(
            [("capacitor", ("VB1", "VB1"))],
            [*PORTS, "VB1"],
            [],
            {"shorted_device_removed": 1, "unused_port_removed": 1},
            id="a port that only a useless device uses",
        ),
        pytest.param(
            [("resistor", ("VOUT1", "a<1>")), ("capacitor", ("a<1>", "VSS"))],
            None,
            [("VOUT1", "N1"), ("N1", "VSS")],
            {},
            id="a net with an odd name",
        ),
        pytest.param(
            [("resistor", ("VOUT1", "a")), ("capacitor", ("a", "b"))],
            None,
            [],
            {"dead_end_removed": 2},
            id="a dead end of two devices",
        ),
        pytest.param(
            [("resistor", ("a", "b")), ("capacitor", ("a", "b"))],
            None,
            [],
            {"floating_island_removed": 1},
            id="an island",
        ),
        pytest.param(
            [("pmos", ("VOUT1", "VIN1", "VDD", "IIN1"))],
            None,
            [("VOUT1", "VIN1", "VDD", "VDD")],
            {"bulk_tied_to_source": 1},
            id="a labelled well is no port",
        ),
    ],
)
def test_each_defect_is_mended_and_counted(
    extra: list[DraftDevice], ports: list[str] | None, nets: list[tuple[str, ...]], mends: dict[str, int]
) -> None:
    found, outcome = mended(extra, ports)
    assert found == nets
    assert dict(outcome.mends) == mends


def test_supplies_in_use_become_ports() -> None:
    _, outcome = mended([], ["VIN1", "VOUT1"])
    assert outcome.netlist is not None
    assert outcome.netlist.ports == ("VIN1", "VOUT1", "VDD", "VSS")
    assert outcome.mends["supply_declared"] == 2


@pytest.mark.parametrize(
    ("devices", "ports", "reason"),
    [
        ([*STAGE, ("nmos", ("net1", "VIN1", "VSS", "VSS"))], PORTS, "floating_net"),
        ([*STAGE, ("resistor", ("SPARE", "VSS"))], [*PORTS, "SPARE"], "unknown port name"),
        ([*STAGE, *(("resistor", (f"VBB{i}", "VSS")) for i in (1, 2, 3))], PORTS, "no free VBB port"),
        ([("resistor", ("a", "b"))], [], "no device left"),
        ([("resistor", ("VIN1", "VOUT1"))], ["VIN1", "VOUT1"], "no_ground"),
        ([*STAGE, ("resistor", ("VB1", "VB2"))], [*PORTS, "VB1", "VB2"], "disconnected"),
        ([*STAGE, ("inverter", ("a", "VOUT1", "VDD", "VSS")), ("inverter", ("a", "VOUT1", "VDD", "VSS"))], PORTS,
         "undriven_gate"),
    ],
)  # fmt: skip
def test_what_cannot_be_mended_is_dropped_with_a_reason(
    devices: list[DraftDevice], ports: list[str], reason: str
) -> None:
    outcome = repair(devices, ports)
    assert outcome.netlist is None
    assert outcome.dropped == reason


def test_repair_finds_nothing_more_the_second_time() -> None:
    _, outcome = mended([("pmos", ("VOUT1", "g", "VDD", "w")), ("pmos", ("VOUT1", "g", "VDD", "w"))])
    assert outcome.netlist is not None
    again = repair([(device.kind, device.nets) for device in outcome.netlist.devices], outcome.netlist.ports)
    assert again.netlist == outcome.netlist
    assert not again.mends


def test_the_report_says_how_many_and_which() -> None:
    report = RepairReport()
    report.note("7", repair([*STAGE, ("capacitor", ("VOUT1", "VOUT1"))], PORTS))
    report.note("8", repair([*STAGE, ("nmos", ("net1", "VIN1", "VSS", "VSS"))], PORTS))
    report.note("9", repair(STAGE, PORTS))
    assert report.as_text().splitlines() == [
        "2 of 3 circuits kept",
        "  mended  shorted_device_removed: 1 times in 1 circuits (7)",
        "  dropped floating_net: 1 circuits (8)",
    ]
    assert json.loads(json.dumps(report.as_json())) == {
        "read": 3,
        "kept": 2,
        "mended": {"shorted_device_removed": {"times": 1, "circuits": ["7"]}},
        "dropped": {"floating_net": ["8"]},
    }
