"""Which way an output goes: by hand for textbook circuits, and against what ngspice finds."""

from __future__ import annotations

import random
import time
from itertools import pairwise
from pathlib import Path

import pytest

from app.analog.corpus import read_analoggenie, read_archetypes
from app.analog.netlist import Device, Netlist
from app.analog.polarity import signal_polarity
from app.analog.spice import parse_spice
from app.errors import InvalidInput
from app.simulators.bias import bias_plan
from app.simulators.dc_paths import floating_nets
from app.simulators.deck import operating_point_deck
from app.simulators.processes import WorkerPool
from app.technologies._base import technologies

ARCHETYPES = {circuit.id: circuit for circuit in read_archetypes()}


def polarity(*cards: str, source: str = "VIN1", sink: str = "VOUT1", ports: str = "VDD VSS VIN1 VOUT1") -> int | None:
    return signal_polarity(parse_spice("\n".join(("* circuit", f"* ports: {ports}", *cards))).netlist, source, sink)


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        (("M1 vout1 vin1 0 0 nmos", "R1 vdd vout1"), -1),
        (("M1 vout1 vin1 vdd vdd pmos", "R1 vout1 0"), -1),
        (("M1 vdd vin1 vout1 0 nmos", "R1 vout1 0"), 1),
        (("M1 vout1 vdd vin1 0 nmos", "R1 vdd vout1"), 1),
        (("Q1 vout1 vin1 0 npn", "R1 vdd vout1"), -1),
        (("Q1 vdd vin1 vout1 npn", "R1 vout1 0"), 1),
        (("Q1 0 vin1 vout1 pnp", "R1 vdd vout1"), 1),
        (("X1 vin1 vout1 vdd 0 inverter",), -1),
        (("X1 vin1 a vdd 0 inverter", "X2 a vout1 vdd 0 inverter"), 1),
        (("R1 vin1 vout1", "R2 vout1 0"), 1),
        (("L1 vin1 vout1", "R2 vout1 0"), 1),
        (("D1 vin1 vout1 diode", "R2 vout1 0"), 1),
        (("C1 vin1 vout1", "R2 vout1 0"), None),
        (("M1 a vin1 0 0 nmos", "R1 vdd a", "R2 vout1 0", "C1 a vout1"), None),
        (("R1 vin1 x", "R2 x vout1", "M1 vout1 x 0 0 nmos", "R3 vdd vout1"), -1),
        (("M1 a vin1 0 0 nmos", "M2 a a vdd vdd pmos", "M3 vout1 a vdd vdd pmos", "R1 vout1 0"), 1),
        (("M1 vout1 vin1 0 0 nmos", "M2 b vin1 0 0 nmos", "M4 b b vdd vdd pmos", "M3 vout1 b vdd vdd pmos"), None),
    ],
)
def test_a_stage_follows_or_inverts(cards: tuple[str, ...], expected: int | None) -> None:
    assert polarity(*cards) == expected


def test_a_net_that_the_outside_holds_ends_a_path() -> None:
    cards = ("R1 vin1 vref1", "M1 vout1 vref1 0 0 nmos", "R2 vdd vout1")
    assert polarity(*cards) == -1
    held = ("M2 vb1 vin1 0 0 nmos", "M1 vout1 vb1 0 0 nmos", "R2 vdd vout1")
    ports = "VDD VSS VIN1 VOUT1 VB1"
    assert polarity(*held, ports=ports) is None
    assert polarity(*held, "M3 vb1 vb1 vdd vdd pmos", ports=ports) == 1
    assert polarity(*held, sink="VB1", ports=ports) == -1


@pytest.mark.parametrize(
    ("archetype", "first", "second"),
    [
        ("opamp/five_transistor_ota", 1, -1),
        ("opamp/two_stage_miller", -1, 1),
        ("opamp/folded_cascode", 1, -1),
        ("opamp/telescopic_cascode", 1, -1),
        ("opamp/current_mirror_ota", -1, 1),
        ("opamp/bipolar_two_stage", 1, -1),
        ("opamp/fully_differential_ota", -1, 1),
        ("comparator/hysteresis", -1, 1),
        ("comparator/strongarm", -1, 1),
        ("comparator/double_tail", 1, -1),
        ("amplifier/bipolar_differential_pair", -1, 1),
        ("other/level_shifter", -1, 1),
    ],
)
def test_the_inputs_of_a_differential_circuit(archetype: str, first: int, second: int) -> None:
    netlist = ARCHETYPES[archetype].netlist
    assert signal_polarity(netlist, "VIN1", "VOUT1") == first
    assert signal_polarity(netlist, "VIN2", "VOUT1") == second
    if "VOUT2" in netlist.ports:
        assert signal_polarity(netlist, "VIN1", "VOUT2") == -first
        assert signal_polarity(netlist, "VIN2", "VOUT2") == -second


@pytest.mark.parametrize(
    ("archetype", "source", "expected"),
    [
        ("amplifier/cascode", "VIN1", -1),
        ("amplifier/gain_boosted_cascode", "VIN1", -1),
        ("amplifier/super_source_follower", "VIN1", 1),
        ("amplifier/transimpedance", "IIN1", -1),
        ("filter/sallen_key", "VIN1", 1),
        ("filter/mosfet_c_integrator", "VIN1", -1),
        ("ldo/pmos_pass", "VREF1", 1),
        ("ldo/nmos_pass", "VREF1", 1),
        ("lna/common_gate", "VIN1", 1),
        ("other/schmitt_trigger", "VIN1", -1),
        ("power_amp/class_ab", "VIN1", None),
    ],
)
def test_the_input_of_an_amplifier(archetype: str, source: str, expected: int | None) -> None:
    assert signal_polarity(ARCHETYPES[archetype].netlist, source, "VOUT1") == expected


def test_a_net_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput, match="the circuit has no net 'VIN7', so no signal passes there"):
        polarity("M1 vout1 vin1 0 0 nmos", source="VIN7")


def test_a_circuit_of_two_hundred_devices_takes_less_than_a_second() -> None:
    devices = [Device(f"M{i}", "nmos", (f"N{i}", f"N{i - 1}" if i else "VIN1", "VSS", "VSS")) for i in range(100)] + [
        Device(f"R{i}", "resistor", ("VDD", f"N{i}")) for i in range(100)
    ]
    start = time.process_time()
    assert signal_polarity(Netlist(tuple(devices), ("VIN1",)), "VIN1", "N99") == 1
    assert time.process_time() - start < 3


def swept(pool: WorkerPool, netlist: Netlist, source: str, sink: str) -> int | None:
    """The sign of the steepest part of the static curve from source to sink, at default sizes; None if it is flat."""
    technology = technologies["generic180"]
    deck = operating_point_deck(netlist, technology)
    supply = technology.supply_v
    text = deck.text.replace("\n.op\n", f"\n.dc V_{source} 0 {supply} {supply / 60}\n")
    answer = pool.submit({"deck": text, "analysis": "dc", "parameters": []}).result()
    if answer["status"] != "ok":
        return None
    steps = [after - before for before, after in pairwise(answer["vectors"][deck.node_of[sink]])]
    up, down = max(steps), -min(steps)
    if max(up, down) < 5e-3 or min(up, down) > 0.5 * max(up, down):
        return None
    return 1 if up > down else -1


@pytest.mark.simulator
def test_ngspice_agrees_on_every_archetype_with_a_static_curve(ngspice: WorkerPool) -> None:
    clocked = {"comparator/strongarm", "comparator/double_tail"}
    compared = 0
    for name, circuit in ARCHETYPES.items():
        if circuit.type not in ("opamp", "comparator", "amplifier") or name in clocked:
            continue
        for source in (port for port in circuit.netlist.ports if port.startswith("VIN")):
            for sink in (port for port in circuit.netlist.ports if port.startswith("VOUT")):
                found = swept(ngspice, circuit.netlist, source, sink)
                if found is not None:
                    assert signal_polarity(circuit.netlist, source, sink) == found, (name, source, sink)
                    compared += 1
    assert compared >= 25


@pytest.mark.simulator
def test_ngspice_nearly_always_agrees_on_amplifiers_of_the_corpus(ngspice: WorkerPool, shared_data: Path) -> None:
    circuits = [c for c in read_analoggenie(shared_data / "analoggenie").circuits if c.type == "opamp"]
    agreed, compared = 0, 0
    for circuit in random.Random(5).sample(circuits, 60):
        netlist = circuit.netlist
        ends = [port for port in ("VIN1", "VIN2", "VOUT1", "VDD") if port in netlist.pins_of]
        if len(ends) < 4 or floating_nets(netlist, bias_plan(netlist, technologies["generic180"])):
            continue
        for source in ("VIN1", "VIN2"):
            found = swept(ngspice, netlist, source, "VOUT1")
            if found is not None:
                agreed += signal_polarity(netlist, source, "VOUT1") == found
                compared += 1
    assert compared >= 30
    assert agreed >= 0.9 * compared
