"""Sameness of circuits: laws over every archetype, with a plain graph search as the second opinion."""

from __future__ import annotations

import random
import time

import networkx as nx
import pytest

from app.analog.canonical import are_isomorphic, canonical_hash, wiring_hash, wl_labels
from app.analog.corpus import CorpusCircuit, read_archetypes
from app.analog.kinds import KINDS, SUPPLY_NETS
from app.analog.netlist import Device, Netlist, port_role
from app.analog.spice import parse_spice

ARCHETYPES = read_archetypes()


def renamed(netlist: Netlist, seed: int) -> Netlist:
    """The same circuit: device order, device and net names, port indices and exchangeable pins are shuffled."""
    rng = random.Random(seed)
    free = [net for net in netlist.nets if net not in SUPPLY_NETS and net not in netlist.ports]
    names = dict(zip(free, rng.sample([f"X{i}" for i in range(900)], len(free)), strict=True))
    by_role: dict[str, list[str]] = {}
    for port in netlist.ports:
        if (role := port_role(port)) is not None:
            by_role.setdefault(role[0], []).append(port)
    for ports in by_role.values():
        names.update(zip(ports, rng.sample(ports, len(ports)), strict=True))
    devices = []
    for number, device in enumerate(rng.sample(netlist.devices, len(netlist.devices))):
        pins = dict(device.pins())
        swap = device.kind_of.exchangeable
        if swap and rng.random() < 0.5:
            pins[swap[0]], pins[swap[1]] = pins[swap[1]], pins[swap[0]]
        nets = tuple(names.get(net, net) for net in pins.values())
        devices.append(Device(f"{device.kind_of.letter}{number}", device.kind, nets))
    return Netlist(tuple(devices), tuple(names.get(port, port) for port in netlist.ports))


def moved_pin(netlist: Netlist, seed: int) -> Netlist:
    """The circuit with one pin on another net."""
    rng = random.Random(seed)
    devices = list(netlist.devices)
    position = rng.randrange(len(devices))
    device = devices[position]
    nets = list(device.nets)
    pin = rng.randrange(len(nets))
    nets[pin] = rng.choice([net for net in netlist.nets if net != nets[pin]])
    devices[position] = Device(device.name, device.kind, tuple(nets))
    return Netlist(tuple(devices), netlist.ports)


def plain_graph(netlist: Netlist) -> nx.Graph:
    """Device, pin and net nodes, nothing merged and nothing refined: the slow and obvious view."""
    graph = nx.Graph()
    for net in {*netlist.nets, *netlist.ports}:
        role = port_role(net) if net in netlist.ports else None
        label = net if net in SUPPLY_NETS else role[0] if role else "net"
        graph.add_node(("net", net), label=f"net {label}")
    for device in netlist.devices:
        graph.add_node(("device", device.name), label=device.kind)
        for pin, net in device.pins():
            kind = KINDS[device.kind]
            label = "either" if pin in kind.exchangeable else pin
            graph.add_node(("pin", device.name, pin), label=f"pin {label}")
            graph.add_edge(("device", device.name), ("pin", device.name, pin))
            graph.add_edge(("pin", device.name, pin), ("net", net))
    return graph


def second_opinion(first: Netlist, second: Netlist) -> bool:
    match = nx.isomorphism.categorical_node_match("label", None)
    return bool(nx.is_isomorphic(plain_graph(first), plain_graph(second), node_match=match))


@pytest.mark.parametrize("circuit", ARCHETYPES, ids=lambda circuit: circuit.id)
def test_a_renamed_circuit_is_the_same_circuit(circuit: CorpusCircuit) -> None:
    for seed in range(3):
        other = renamed(circuit.netlist, seed)
        assert are_isomorphic(circuit.netlist, other)
        assert canonical_hash(circuit.netlist) == canonical_hash(other)
        assert wl_labels(circuit.netlist) == wl_labels(other)


@pytest.mark.parametrize("circuit", ARCHETYPES, ids=lambda circuit: circuit.id)
def test_a_moved_pin_is_judged_as_a_plain_graph_search_judges_it(circuit: CorpusCircuit) -> None:
    for seed in range(3):
        other = renamed(moved_pin(circuit.netlist, seed), seed)
        same = are_isomorphic(circuit.netlist, other)
        assert same == second_opinion(circuit.netlist, other)
        if same:
            assert canonical_hash(circuit.netlist) == canonical_hash(other)


def test_what_a_port_is_called_counts_for_the_circuit_and_not_for_its_wiring() -> None:
    first, second = (
        parse_spice(f"* ports: {port}\nM1 {port} VB1 0 0 nmos\nR1 VDD {port}\n").netlist for port in ("VOUT1", "IIN1")
    )
    assert canonical_hash(first) != canonical_hash(second)
    assert wiring_hash(first) == wiring_hash(second)
    assert wiring_hash(first) != wiring_hash(parse_spice("M1 VOUT1 VB1 0 0 nmos\nR1 0 VOUT1\n").netlist)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("M1 a g s b nmos", "M1 s g a b nmos", True),
        ("M1 a g s b nmos", "M1 a g s b pmos", False),
        ("M1 a g a b nmos", "M1 a g s b nmos", False),
        ("R1 a 0", "R1 0 a", True),
        ("D1 a 0 d", "D1 0 a d", False),
        ("R1 vin1 vout1", "R1 vin2 vout3", True),
        ("R1 vin1 vout1", "R1 vin1 vb1", False),
        ("R1 vdd a", "R1 vss a", False),
        ("R1 a b 1k", "R1 a b 2k", True),
        ("R1 a b\nR2 a b", "R1 a b", False),
        ("R1 a b\nR2 a b\nR3 b c", "R1 a b\nR2 b c\nR3 b c", True),
        ("R1 a b\nR2 a b\nR3 b c\nR4 c d", "R1 a b\nR2 b c\nR3 b c\nR4 c d", False),
        ("X1 a b c vdd vss transmission_gate", "X1 b a c vdd vss transmission_gate", True),
        ("X1 a b vdd vss y xor", "X1 b a vdd vss y xor", True),
        ("X1 vin1 a vdd vss inverter", "X1 a vin1 vdd vss inverter", False),
    ],
)
def test_what_counts_as_the_same_circuit(first: str, second: str, same: bool) -> None:
    one, other = (parse_spice(f"* t\n{text}\n").netlist for text in (first, second))
    assert are_isomorphic(one, other) is same
    assert are_isomorphic(other, one) is same
    assert second_opinion(one, other) is same


def ring(size: int, tag: str) -> list[Device]:
    return [Device(f"R{tag}{i}", "resistor", (f"{tag}{i}", f"{tag}{(i + 1) % size}")) for i in range(size)]


def test_rings_that_refinement_cannot_tell_apart_are_told_apart() -> None:
    one = Netlist(tuple(ring(6, "A")), ())
    two = Netlist((*ring(3, "A"), *ring(3, "B")), ())
    assert canonical_hash(one) == canonical_hash(two)
    assert not are_isomorphic(one, two)
    assert are_isomorphic(one, renamed(one, 1))


@pytest.mark.parametrize(
    "devices",
    [
        pytest.param([Device(f"R{i}", "resistor", ("VDD", "VSS")) for i in range(255)], id="a parallel bank"),
        pytest.param([Device(f"R{i}", "resistor", (f"N{i}", f"N{i + 1}")) for i in range(255)], id="a ladder"),
        pytest.param(ring(255, "N"), id="a ring"),
        pytest.param([d for k in range(51) for d in ring(5, f"K{k}_")], id="51 equal rings"),
        pytest.param(
            [Device(f"R{i}_{j}", "resistor", (f"A{i}", f"B{j}")) for i in range(15) for j in range(15)], id="a crossbar"
        ),
        pytest.param(
            [Device(f"{k}{i}", "resistor", (a, b)) for i in range(120) for k, a, b in
             (("R", "VDD", f"N{i}"), ("S", f"N{i}", "VSS"))],
            id="120 equal dividers",
        ),
        pytest.param(
            [Device(f"M{i}", "nmos", (f"Q{i}", f"Q{i ^ 1}", "VSS", "VSS")) for i in range(254)], id="127 equal latches"
        ),
    ],
)  # fmt: skip
def test_symmetric_circuits_are_compared_quickly(devices: list[Device]) -> None:
    netlist = Netlist(tuple(devices), ())
    start = time.process_time()
    assert are_isomorphic(netlist, renamed(netlist, 4))
    assert not are_isomorphic(netlist, Netlist(tuple(devices[1:]), ()))
    assert time.process_time() - start < 5.0


def test_labels_are_the_same_on_every_machine() -> None:
    netlist = parse_spice("* t\nM1 VOUT1 VIN1 0 0 nmos\nR1 VDD VOUT1\n").netlist
    labels = wl_labels(netlist)
    assert all(0 <= label < 2**63 for label in labels)
    assert sum(labels.values()) == 4 * (2 + 4)
    assert canonical_hash(netlist) == "bac9e050383a5956137bff0b5a187401"
    assert min(labels) == 215193731489055995


def test_deeper_labels_tell_more() -> None:
    netlist = ARCHETYPES[0].netlist
    assert wl_labels(netlist, depth=0) < wl_labels(netlist, depth=1) < wl_labels(netlist)
