"""The same devices wired at random: what checks are worth on circuits that nobody designed."""

from __future__ import annotations

import random
from dataclasses import replace

from app.analog.netlist import Netlist


def rewired(netlist: Netlist, share: float, rng: random.Random) -> Netlist:
    """The netlist with `share` of its pins, drawn by `rng`, trading their nets at random; ports stay as declared.

    Devices keep their names, kinds, sizes and numbers of pins, and every net keeps its number of pins. At least two
    pins trade where there are two, and they may fall back into their places.

    Args:
        share: Above 0 and up to 1, which is random wiring.
    """
    assert 0 < share <= 1, "a share of pins"
    nets = [net for device in netlist.devices for net in device.nets]
    trading = sorted(rng.sample(range(len(nets)), min(len(nets), max(2, round(share * len(nets))))))
    offered = [nets[pin] for pin in trading]
    rng.shuffle(offered)
    for pin, net in zip(trading, offered, strict=True):
        nets[pin] = net
    waiting = iter(nets)
    devices = tuple(replace(device, nets=tuple(next(waiting) for _ in device.nets)) for device in netlist.devices)
    return Netlist(devices, netlist.ports)
