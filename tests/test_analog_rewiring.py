"""Random wiring keeps what it should: devices, pins, and how many pins a net has."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from app.analog.canonical import are_isomorphic
from app.analog.corpus import read_archetypes
from app.analog.netlist import Netlist
from app.analog.rewiring import rewired

CIRCUITS = [circuit.netlist for circuit in read_archetypes()[::12]]


def pins(netlist: Netlist) -> list[str]:
    return [net for device in netlist.devices for net in device.nets]


@pytest.mark.parametrize("share", [0.05, 0.2, 1.0])
def test_random_wiring_keeps_the_devices_and_how_many_pins_each_net_has(share: float):
    for netlist in CIRCUITS:
        wired = rewired(netlist, share, random.Random(1))
        assert [(d.name, d.kind, d.sizes) for d in wired.devices] == [
            (d.name, d.kind, d.sizes) for d in netlist.devices
        ]
        assert Counter(pins(wired)) == Counter(pins(netlist))
        assert wired.ports == netlist.ports


def test_no_more_pins_trade_nets_than_the_share_says():
    for netlist in CIRCUITS:
        total = len(pins(netlist))
        for share in (0.05, 0.2):
            wired = rewired(netlist, share, random.Random(2))
            moved = sum(old != new for old, new in zip(pins(netlist), pins(wired), strict=True))
            assert moved <= max(2, round(share * total))


def test_the_same_seed_gives_the_same_wiring_and_all_of_the_pins_another_circuit():
    netlist = max(CIRCUITS, key=lambda netlist: len(netlist.devices))
    wired = rewired(netlist, 1.0, random.Random(3))
    assert wired == rewired(netlist, 1.0, random.Random(3))
    assert not are_isomorphic(wired, netlist)
